"""Images per second of a whole training step, from images to updated weights, against scripts as people write them.

CIFAR-sized images, the default network (ResNet-18 with CBAM, width 16), batches of 64, two processor threads; one CSV
row per case, size and turn.
- dcacn: `preset("default")` with `n_local=2`, after its head start: two views of 24 px and two of 12 px, all losses.
- lightly: the same network and sizes; its SwAV transform of PIL images in a DataLoader with 0 or 2 workers, its DCL
  loss on every pair with a global crop, no loss on clusters; each view goes through the network alone.
- dcacn as CC: method `cc`: two views of 24 px, no attention.
- CC: the same network and sizes, in the steps of its authors' code: transforms of PIL images in a DataLoader, a forward
  pass for each view, losses that pick positives and negatives with Boolean masks.
A call takes four batches; the workers of a DataLoader have started and filled their queue before the first. `times` is
how many times as long as the package's step a case took, in the same turn.
Example: python benchmarks/end_to_end.py --output benchmarks/end_to_end.csv
"""

import contextlib
import itertools

import torch
from lightly.loss import DCLLoss
from lightly.transforms.swav_transform import SwaVTransform
from PIL import Image
from step_speed import prepared
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from turns import by_turns, main, times

from dcacn_nb.core.seeds import generator
from dcacn_nb.method.config import build_model, preset
from dcacn_nb.method.losses import view_pairs
from dcacn_nb.method.step import Stepper
from dcacn_nb.methods import find_method

BATCH, SIDE = 64, 32


class Pictures(Dataset):
    "Decoded PIL images, and a transform that makes a list of views."

    def __init__(self, images: torch.Tensor, transform):
        self.pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int):
        return self.transform(self.pictures[index])


def ours(images: torch.Tensor, method: str = "dcacn"):
    "The package's own step."
    changes = {} if method == "dcacn" else {"n_local": 0, "attention": False}
    state, views, _ = prepared("default", 3, SIDE, "cpu", changes)
    state.config = find_method(method).settings(state.config)
    stepper, batches = Stepper(state, views, find_method(method)), itertools.cycle(range(len(images) // BATCH))

    def step():
        chosen = torch.arange(BATCH) + BATCH * next(batches)
        stepper(images[chosen], chosen, 1e-3, False)

    return step


def script(images: torch.Tensor, transform, losses, workers: int, stack: contextlib.ExitStack, **changes):
    "A training script around a DataLoader; `losses` is a function of network and views."
    config = preset("default", images, 10, device="cpu", upright=False, **changes)
    model = build_model(config).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    data = Pictures(images, transform)
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0)

    def forever():
        while True:
            yield from loader

    batches = forever()
    stack.callback(batches.close)

    def step():
        total = losses(model, next(batches))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def swav_transform():
    "lightly's, with the package's sizes and areas of crops, without ImageNet's normalisation."
    return SwaVTransform(
        crop_sizes=(24, 12),
        crop_counts=(2, 2),
        crop_min_scales=(0.3, 0.1),
        crop_max_scales=(1.0, 0.5),
        cj_strength=0.5,
        normalize=None,
    )


def lightly_losses(model, views) -> torch.Tensor:
    "DCL of every pair with a global crop."
    z = [model.encode(view).z for view in views]
    return sum(DCLLoss(0.5)(z[g], z[v]) for g, v in view_pairs(2, len(z))) / len(view_pairs(2, len(z)))


def cc_transform():
    "CC's augmentation of a small image, twice."
    jitter = T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8)
    one = T.Compose([T.RandomResizedCrop(24), T.RandomHorizontalFlip(), jitter, T.RandomGrayscale(0.2), T.ToTensor()])
    return lambda picture: [one(picture), one(picture)]


def masked(rows: torch.Tensor, temperature: float) -> torch.Tensor:
    "InfoNCE of 2n rows as CC's code has it: a Boolean mask picks the negatives, cross entropy does the rest."
    n = len(rows) // 2
    rows = torch.nn.functional.normalize(rows, dim=1)
    similarity = rows @ rows.T / temperature
    positive = torch.cat([similarity.diagonal(n), similarity.diagonal(-n)])[:, None]
    others = ~torch.eye(2 * n, dtype=torch.bool)
    others[torch.arange(2 * n), (torch.arange(2 * n) + n) % (2 * n)] = False
    logits = torch.cat([positive, similarity[others].reshape(2 * n, -1)], 1)
    return torch.nn.functional.cross_entropy(logits, torch.zeros(2 * n, dtype=torch.long))


def cc_losses(model, views) -> torch.Tensor:
    "Instances, clusters and the entropy of both views' shares."
    one, two = (model.encode(view) for view in views)
    shares = [out.p.mean(0) for out in (one, two)]
    balance = sum((q * q.log()).sum() for q in shares)
    return masked(torch.cat([one.z, two.z]), 0.5) + masked(torch.cat([one.p.T, two.p.T]), 1.0) + balance


def measure(options) -> "list[dict]":
    "Both comparisons, each by turns."
    n = 2 * BATCH if options.small else 1024
    images = torch.randint(0, 256, (n, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator(0))
    (steps, rest), rows = (1, 0) if options.small else (4, 1), []
    comparisons = {  # name, the package's case, its method, the others' transform, losses and settings
        "multi-crop": ("dcacn", "dcacn", "lightly", swav_transform(), lightly_losses, {"n_local": 2}),
        "two views": ("dcacn as CC", "cc", "CC", cc_transform(), cc_losses, {"n_local": 0, "attention": False}),
    }
    for size, (first, method, other, transform, losses, changes) in comparisons.items():
        with contextlib.ExitStack() as stack:
            cases = {first: ours(images, method)}
            for workers in (0, 2):
                step = script(images, transform, losses, workers, stack, **changes)
                cases[f"{other}, {workers} workers"] = step
            found = by_turns(several(cases, steps), options.turns, options.seconds, rest, size=size)
            rows += times(found, first)
    return [row | {"images_a_second": round(steps * BATCH / row["ms"] * 1e3, 1)} for row in rows]


def several(cases: dict, n: int) -> dict:
    "Each case as `n` steps: a queue that was filled before the clock started counts less."
    return {name: lambda step=step: [step() for _ in range(n)] for name, step in cases.items()}


if __name__ == "__main__":
    main(measure, __doc__)
