"""From one image file of any kind to 8-bit pixels, channels first."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# what Pillow raises on bad files
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def is_grey(
    image: Image.Image,  # opened, not necessarily decoded
) -> bool:  # judged by the file's mode: an RGB file of grey pixels counts as colour
    "Whether a file stores grey values (bilevel, grey, grey with alpha, 16 bit, float, or a palette of greys)."
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], int).reshape(-1, 3)  # decodes: palettes are rare, and small
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")


def to_8bit(
    image: Image.Image,  # any mode Pillow reads
) -> Image.Image:  # mode "L" or "RGB"
    "One 8-bit picture: 16 bit scaled by the full range 0..65535, float by 0..1, transparency composited on white."
    if image.mode == "I" or image.mode.startswith("I;16"):
        values, top = np.asarray(image).astype(np.int64), 65535
    elif image.mode == "F":
        values, top = np.asarray(image).astype(np.float64), 1
    else:
        if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
            grey = is_grey(image)
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("L" if grey else "RGB")
        return image.convert("L" if is_grey(image) else "RGB")
    if not (values.min() >= 0 and values.max() <= top):  # written so that NaN fails too
        raise ValueError(f"values must be in 0..{top}, found {values.min()}..{values.max()}")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def fit_square(
    image: Image.Image,  # "L" or "RGB"
    size: int,  # side of the result, px
) -> Image.Image:  # (size, size)
    "Shorter side to `size` (bilinear with antialiasing), then the central square: torchvision's Resize and CenterCrop."
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if short != size:
        target = max(size, int(size * long / short))
        width, height = (size, target) if width <= height else (target, size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def to_chw(
    image: Image.Image,  # "L" or "RGB"
    size: "int | None" = None,  # side in px; None keeps the size
    channels: "int | None" = None,  # 1 or 3; None keeps them
) -> np.ndarray:  # (C,H,W) uint8
    "A picture as an array, channels first."
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = fit_square(image, size)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_image(
    path: "str | Path",  # an image file; of several frames, the first
    size: "int | None" = None,  # side in px; None keeps the size
    channels: "int | None" = None,  # 1 or 3; None: as the file has it
) -> np.ndarray:  # (C,H,W) uint8
    "One file, turned upright by its EXIF tag, as 8-bit pixels."
    with Image.open(path) as image:
        return to_chw(to_8bit(ImageOps.exif_transpose(image)), size, channels)


def measure_image(
    path: "str | Path",  # an image file
) -> "tuple[int, int, bool]":  # height and width when upright, px; whether it is grey
    "Size and kind of a file from its header alone; no pixel is decoded."
    with Image.open(path) as image:
        width, height = image.size
        sideways = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the axes
        return (width, height, is_grey(image)) if sideways else (height, width, is_grey(image))


def from_chw(
    pixels: np.ndarray,  # (C,H,W) uint8, C 1 or 3
) -> Image.Image:  # mode "L" or "RGB"
    "An array, channels first, as a picture: the inverse of `to_chw`."
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
