"""Views of a batch: the package's, Pillow + torchvision image by image, and kornia, a CSV row per case, size and turn.

Images of 32 px, as CIFAR-10's. All draw the same kinds of distortion with the same probabilities: random resized crop,
mirror image, colour jitter, grayscale and, for local crops, Gaussian blur. Pillow is given images that are already
decoded. One thread, unless told otherwise. `times` is how many times as long as the package's views a case took, by
turn. Without kornia its row is missing, and the script says so.
Example: python benchmarks/view_speed.py --output benchmarks/view_speed.csv
"""

import torch
from PIL import Image
from torchvision import transforms as T
from turns import by_turns, main, times

from dcacn_nb.core.seeds import generator
from dcacn_nb.method.views import Augmentation, MultiCrop

SIDE, SCALE, LOCAL_SCALE, JITTER = 32, (0.3, 1.0), (0.1, 0.5), (0.4, 0.4, 0.4, 0.1)
SIZES = {"2 x 32 px": (32, 16, 0), "2 x 32 + 4 x 18 px": (32, 18, 4)}  # sides, local crops
WEAK, STRONG = Augmentation(grayscale=0.2), Augmentation(grayscale=0.2, blur=0.5)


def ours(images: torch.Tensor, sides: tuple):
    "The package's views."
    large, small, n = sides
    knobs = {"global_scale": SCALE, "local_scale": LOCAL_SCALE, "weak": WEAK, "strong": STRONG}
    views, draws = MultiCrop(large, small, n, **knobs), generator(0)
    return lambda: views(images, draws)


def pillow(images: torch.Tensor, sides: tuple):
    "One image after the other, as a data set's transform sees them."
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    views = [pipeline(sides[0], SCALE, False)] * 2 + [pipeline(sides[1], LOCAL_SCALE, True)] * sides[2]
    return lambda: [torch.stack([view(picture) for picture in pictures]) for view in views]


def pipeline(side: int, scale: tuple, blur: bool) -> T.Compose:
    "The transform of one kind of view."
    steps = [T.RandomResizedCrop(side, scale), T.RandomHorizontalFlip()]
    steps += [T.RandomApply([T.ColorJitter(*JITTER)], 0.8), T.RandomGrayscale(0.2)]
    if blur:
        radius = max(1, round(3 * 0.04 * side))
        steps += [T.RandomApply([T.GaussianBlur(2 * radius + 1, (0.004 * side, 0.04 * side))], 0.5)]
    return T.Compose([*steps, T.ToTensor()])


def batched(images: torch.Tensor, sides: tuple):
    "kornia's augmentations, which draw for each image of a batch."
    import kornia.augmentation as K

    def steps(side: int, scale: tuple, blur: bool):
        parts = [K.RandomResizedCrop((side, side), scale), K.RandomHorizontalFlip(), K.ColorJitter(*JITTER, p=0.8)]
        parts += [K.RandomGrayscale(p=0.2)]
        if blur:
            radius = max(1, round(3 * 0.04 * side))
            parts += [K.RandomGaussianBlur((2 * radius + 1,) * 2, (0.004 * side, 0.04 * side), p=0.5)]
        return torch.nn.Sequential(*parts)

    views = [steps(sides[0], SCALE, False)] * 2 + [steps(sides[1], LOCAL_SCALE, True)] * sides[2]
    return lambda: [view(images.float().div(255)) for view in views]


CASES = {"dcacn": ours, "Pillow + torchvision": pillow, "kornia": batched}


def measure(options) -> "list[dict]":
    "All cases by turns."
    n, rows = 16 if options.small else 256, []
    images = torch.randint(0, 256, (n, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator(0))
    for name, sides in SIZES.items():
        cases = {}
        for case, make in CASES.items():
            try:
                cases[case] = make(images, sides)
            except ImportError as error:
                print(f"{case} is left out: {error}")
        rows += by_turns(cases, options.turns, options.seconds, size=name, images=n)
    return times(rows, "dcacn")


if __name__ == "__main__":
    main(measure, __doc__, threads=1)
