"""Photos to try things on, without a network: crops of the few photographs that libraries ship."""

import importlib.util
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.files import atomic_write

SIDE = 256  # pixels of the longer side
PHOTOS = {  # group -> (function of skimage.data, or file of scikit-learn, crops out of 20)
    "astronaut": ("astronaut", 20),  # NASA, public domain
    "brick": ("brick", 14),  # CC0
    "cat": ("cat", 24),  # CC0, Stefan van der Walt
    "coffee": ("coffee", 20),  # CC0, Rachel Michetti
    "flower": ("flower.jpg", 24),  # CC BY 2.0, flickr user vultilion
    "galaxies": ("hubble_deep_field", 16),  # NASA, public domain
    "grass": ("grass", 14),  # CC0
    "retina": ("retina", 16),  # CC0
    "rocket": ("rocket", 16),  # SpaceX, public domain
    "temple": ("china.jpg", 28),  # CC BY 2.0, flickr user danielbuechele
    "tissue": ("immunohistochemistry", 18),  # no known restrictions
}


def demo_photos(
    folder: "str | Path",  # made if it is missing; one sub-folder for each group
    each: int = 20,  # crops of a photo, about; groups are of uneven size, as in life
    seed: int = 0,  # of the crops
) -> "list[Path]":  # the JPEG files
    "Write crops of eleven photographs, one group for each photograph: an easy task that needs no download."
    check_int("each", each, 1)
    if importlib.util.find_spec("skimage") is None:
        raise ModuleNotFoundError("the demo photos are in scikit-image; install it with `pip install scikit-image`")
    files = []
    for number, (group, (source, share)) in enumerate(PHOTOS.items()):
        picture, rng = _photograph(source), np.random.default_rng([seed, number])
        for i in range(max(1, round(each * share / 20))):
            path = Path(folder) / group / f"{group}_{i:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            files.append(atomic_write(path, _jpeg(_crop(picture, rng))))
    return files


def _photograph(source: str) -> Image.Image:
    "A photograph out of scikit-learn or scikit-image; nothing is downloaded."
    if source.endswith(".jpg"):
        from sklearn.datasets import load_sample_image

        return Image.fromarray(load_sample_image(source)).convert("RGB")
    from skimage import data

    return Image.fromarray(getattr(data, source)()).convert("RGB")


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    "A part of a photograph as if it had been taken again: another place, distance, side and light."
    width, height = picture.size
    area, shape = rng.uniform(0.15, 0.5) * width * height, np.exp(rng.uniform(-0.29, 0.29))
    wide, high = min(width, round(np.sqrt(area * shape))), min(height, round(np.sqrt(area / shape)))
    left, top = rng.integers(0, width - wide + 1), rng.integers(0, height - high + 1)
    crop = picture.crop((int(left), int(top), int(left + wide), int(top + high)))
    crop.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return ImageEnhance.Brightness(crop).enhance(float(rng.uniform(0.75, 1.25)))


def _jpeg(picture: Image.Image) -> bytes:
    "A picture as a JPEG file."
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=88)
    return file.getvalue()
