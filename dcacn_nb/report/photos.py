"""Photos in the page: each one a small file of its own inside the HTML, with its text alternative."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from markupsafe import Markup
from PIL import Image

HEIGHT = 76  # pixels of a photo in the page
WIDEST = 2.0  # width over height; a wider photo loses its ends, a narrower one than 1/2 its top and bottom
QUALITY = 78  # of JPEG
TINY = 40  # pixels; a smaller image is kept exactly and enlarged without blur


def photo(
    image: np.ndarray,  # (C,H,W) uint8
    alt: str,  # what the photo is
) -> Markup:  # <img>
    "One photo as HTML that needs no other file."
    picture = _trimmed(Image.fromarray(_rgb(image)))
    file, tiny = io.BytesIO(), max(picture.size) <= TINY
    if tiny:
        picture.save(file, "png", optimize=True)
    else:
        picture.thumbnail((round(HEIGHT * WIDEST), HEIGHT), Image.Resampling.LANCZOS)
        picture.save(file, "jpeg", quality=QUALITY, optimize=True)
    kind, data = "png" if tiny else "jpeg", base64.b64encode(file.getvalue()).decode()
    width, text = round(HEIGHT * picture.width / picture.height), html.escape(alt, quote=True)
    sharp = ' class="tiny"' if tiny else ""
    size = f'width="{width}" height="{HEIGHT}"'
    return Markup(f'<img{sharp} {size} alt="{text}" title="{text}" src="data:image/{kind};base64,{data}">')


def photos(
    images: "Iterable[tuple[np.ndarray, str]]",  # (C,H,W) uint8 and what it is
) -> Markup:
    "Photos side by side."
    return Markup("\n").join(photo(image, alt) for image, alt in images)


def _rgb(image: np.ndarray) -> np.ndarray:
    "(H,W) grey or (H,W,3)."
    return np.ascontiguousarray(image[0] if len(image) < 3 else image[:3].transpose(1, 2, 0))


def _trimmed(picture: Image.Image) -> Image.Image:
    "The middle of a picture that is much wider than high, or much higher than wide."
    width, height = picture.size
    wide, high = min(width, max(1, round(height * WIDEST))), min(height, max(1, round(width * WIDEST)))
    left, top = (width - wide) // 2, (height - high) // 2
    return picture.crop((left, top, left + wide, top + high))
