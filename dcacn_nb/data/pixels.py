"""From one image file of any kind to 8-bit pixels, channels first."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from dcacn_nb.data.image_file import ROOM, AnImage, open_image, orientation, reading, upright_size

FAINT = 224  # on white, a picture that is nowhere darker cannot be seen
LARGE = 2**24  # px; a larger picture is converted band by band, so that memory holds it once
DEPTHS = (255, 1023, 4095, 16383, 65535)  # what white can be in 16 bits: cameras and scanners use 8 to 16 of them
HOT = 16  # pixels of an image whose value may be that of no light
LONGEST = 16  # times the shorter side: what is beyond is cut off before a picture is resized to a square
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_grey(
    image: Image.Image,  # opened, not necessarily decoded
) -> bool:  # judged by the file's mode: an RGB file of grey pixels counts as colour
    "Whether a file stores grey values (bilevel, grey, grey with alpha, 16 bit, float, or a palette of greys)."
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], int).reshape(-1, 3)  # decodes: palettes are rare, and small
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")


def is_deep(image: Image.Image) -> bool:
    "Whether an image stores whole numbers of more than 8 bits."
    return image.mode == "I" or image.mode.startswith("I;16")


def brightest(
    image: Image.Image,  # for which `is_deep`
) -> int:
    "The largest value of an image, but for a few pixels: hot ones of a camera say nothing of its bits."
    return max(_largest(np.asarray(band).reshape(-1)) for band in _bands(image, 1))


def _largest(values: np.ndarray) -> int:
    "The largest value but for one pixel in a thousand, and at most `HOT`: more are a signal, such as stars."
    place = len(values) - 1 - min(len(values) // 1000, HOT)
    return int(np.partition(values, place)[place])


def white_for(
    value: int,  # the largest value found
) -> int:  # 255, 1023, 4095, 16383 or 65535
    "Which value is white, by the number of bits in use: a camera of 12 bits leaves 4 of 16 empty."
    return next((depth for depth in DEPTHS if value <= depth), DEPTHS[-1])


def to_8bit(
    image: Image.Image,  # any mode Pillow reads
    least: "int | None" = None,  # px; a very large picture may be reduced, its shorter side not below twice this
    used: "Callable[[], int]" = lambda: 0,  # the largest value of the 16-bit images among which this one is
) -> Image.Image:  # mode "L" or "RGB"
    "One 8-bit picture: 16 bit scaled by the bits in use, float by 0..1, transparency composited so that it is seen."
    image.load()
    found = brightest(image) if is_deep(image) else 0
    if found > DEPTHS[-1]:
        raise ValueError(f"values must be in 0..{DEPTHS[-1]}, found up to {found}")
    white = white_for(max(used(), found)) if is_deep(image) else 0
    if image.width * image.height <= LARGE:
        return _convert(image, white)
    shrink = max(1, min(image.size) // (2 * least)) if least else 1
    bands = [_convert(band, white, "white") for band in _bands(image, shrink)]
    bands = [band.reduce(shrink) for band in bands] if shrink > 1 else bands
    whole = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    top = 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.height
    return whole


def _bands(image: Image.Image, step: int) -> Iterator[Image.Image]:
    "The parts of an image from top to bottom, each a multiple of `step` rows high but the last."
    rows = max(1, LARGE // 4 // image.width // step) * step
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(image.height, top + rows)))


def _convert(image: Image.Image, white: int, ground: "str | None" = None) -> Image.Image:
    "A loaded picture in mode L or RGB; None as the ground of a transparent one: the one on which it is seen."
    if is_deep(image) or image.mode == "F":
        values = np.asarray(image)
        return _scaled(values.clip(max=white), white) if is_deep(image) else _scaled(values, 1)
    wanted = "L" if is_grey(image) else "RGB"
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = _on_ground(image.convert("RGBA"), ground)
    return image.copy() if image.mode == wanted else image.convert(wanted)


def _scaled(values: np.ndarray, white: float) -> Image.Image:
    "Numbers from 0 to `white` as grey values."
    if not (values.min() >= 0 and values.max() <= white):  # written so that NaN fails too
        raise ValueError(f"values must be in 0..{white}, found {values.min()}..{values.max()}")
    return Image.fromarray(np.rint(values.astype(np.float32) * np.float32(255 / white)).astype(np.uint8))


def _on_ground(image: Image.Image, ground: "str | None") -> Image.Image:
    "A transparent picture on white; on black if on white nothing would be seen, as of white icons."
    on_white = Image.alpha_composite(Image.new("RGBA", image.size, ground or "white"), image)
    opacity = image.getchannel("A").getextrema()
    if ground is None and opacity[0] != opacity[1] and np.asarray(on_white).min() >= FAINT:
        return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return on_white


def fit_square(
    image: Image.Image,  # "L" or "RGB"
    size: int,  # side of the result, px
) -> Image.Image:  # (size, size)
    "Shorter side to `size` (bilinear with antialiasing), then the central square: torchvision's Resize and CenterCrop."
    width, height = image.size
    short = min(width, height)
    if max(width, height) > LONGEST * short:  # resized whole, a strip of 1 x 100,000 px would take gigabytes
        image = _central(image, min(width, LONGEST * short), min(height, LONGEST * short))
        width, height = image.size
    short, long = min(width, height), max(width, height)
    if short != size:
        target = max(size, int(size * long / short))
        width, height = (size, target) if width <= height else (target, size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _central(image: Image.Image, width: int, height: int) -> Image.Image:
    "The central part of that size."
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def squeeze_square(
    image: Image.Image,  # "L" or "RGB"
    size: int,  # side of the result, px
    resample: Image.Resampling = Image.Resampling.BILINEAR,  # all of them with antialiasing
    longest: int = 2,  # of a picture whose longer side is more than this times the shorter, the central part
) -> Image.Image:  # (size, size)
    "The whole picture squeezed to a square, so that nothing at its ends is lost."
    width, height = image.size
    wide, high = min(width, longest * height), min(height, longest * width)
    if (wide, high) != (width, height):
        image = _central(image, wide, high)
    return image.resize((size, size), resample)


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
    path: AnImage,  # of several frames, the first
    size: "int | None" = None,  # side in px; None keeps the size
    channels: "int | None" = None,  # 1 or 3; None: as the file has it
    used: "Callable[[], int]" = lambda: 0,  # as in `to_8bit`
) -> np.ndarray:  # (C,H,W) uint8
    "One file, turned upright by its EXIF tag, as 8-bit pixels."
    return to_chw(read_upright(path, size, used), size, channels)


def read_upright(
    path: AnImage,  # of several frames, the first
    least: "int | None" = None,  # px; a JPEG may be decoded at a reduced size, its shorter side not below this
    used: "Callable[[], int]" = lambda: 0,  # as in `to_8bit`
) -> Image.Image:  # "L" or "RGB"
    "One file as an 8-bit picture, turned upright by its EXIF tag."
    with reading(path), open_image(path) as image:
        if least is not None:
            image.draft(None, (least, least))  # 1/2, 1/4 or 1/8, from the JPEG's own coefficients: several times faster
        with ROOM.for_pixels(image.width * image.height):
            picture = to_8bit(image, least, used)
            turn = _TURN.get(orientation(image))  # after loading: Pillow turns some formats by itself
            return picture if turn is None else picture.transpose(turn)


def measure_image(
    path: AnImage,
) -> "tuple[int, int, bool]":  # height and width when upright, px; whether it is grey
    "Size and kind of a file from its header; pixels are decoded only where tag or palette come after them."
    with reading(path), open_image(path) as image, ROOM.for_pixels(image.width * image.height):
        width, height = upright_size(image)
        return height, width, is_grey(image)


def from_chw(
    pixels: np.ndarray,  # (C,H,W) uint8, C 1 or 3
) -> Image.Image:  # mode "L" or "RGB"
    "An array, channels first, as a picture: the inverse of `to_chw`."
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
