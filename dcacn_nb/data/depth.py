"""What the pixels of a folder use of their range: the bits of 16-bit images, and the grey levels that are left."""

import threading
from collections.abc import Iterator
from itertools import islice

import numpy as np

from dcacn_nb.core.text import logger
from dcacn_nb.data.image_file import Inside, UnreadableImage, open_image, reading
from dcacn_nb.data.listing import Listing
from dcacn_nb.data.pixels import DEPTHS, brightest, is_deep, is_grey, white_for

log = logger(__name__)

SAMPLE = 32  # images looked at
FEW = 16  # grey levels below which a folder is remarked


class BitsInUse:
    "The largest value of a folder's 16-bit images, by a sample of them that is read when the first is met."

    def __init__(self, listing: Listing):
        self.listing = listing
        self._lock, self._found = threading.Lock(), -1

    def __call__(self) -> int:
        "The largest value of the sample; 0 where every pixel is black, or none of them can be read."
        with self._lock:
            if self._found < 0:
                self._found, file = max(islice(self._deep(), SAMPLE), default=(0, ""))
                white = white_for(self._found)
                if self._found > 0 and white < DEPTHS[-1]:
                    text = "%s: of 16 bits only %d are in use (values up to %d, in %s): %d is taken as white"
                    log.warning(text, self.listing.root, white.bit_length(), self._found, file, white)
            return self._found

    def _deep(self) -> "Iterator[tuple[int, str]]":
        "Largest value and name of the images of more than 8 bits, in a fixed random order; others cost their header."
        for number in np.random.default_rng(0).permutation(len(self.listing.files)).tolist():
            value = self._brightest(self.listing.place(number))
            if value is not None:
                yield value, self.listing.files[number]

    def _brightest(self, path: "str | Inside") -> "int | None":
        "The largest value of one image; None for one of another kind."
        try:
            with reading(path), open_image(path) as image:
                return brightest(image) if is_deep(image) else None
        except UnreadableImage:
            return None


def deep_colours(
    listing: Listing,
) -> "str | None":  # a remark, or None where there is nothing to remark
    "A remark on colour images of 16 bits, found by a sample of headers: Pillow reads the upper 8 of them alone."
    files = listing.files
    chosen = {round(i * (len(files) - 1) / (SAMPLE - 1)) for i in range(SAMPLE)} if files else ()
    found = [files[i] for i in sorted(chosen) if _is_deep_colour(listing.place(i))]
    if not found:
        return None
    text = f"colour images of 16 bits, such as {found[0]}, are read by their upper 8 bits"
    return f"{text}; if fewer than 16 are in use they come out dark: save them with 8 bits"


def _is_deep_colour(path: "str | Inside") -> bool:
    "Whether a file holds colours of more than 8 bits each."
    try:
        with reading(path), open_image(path) as image:
            return not is_grey(image) and ";16" in str(image.tile)  # how Pillow will decode it
    except UnreadableImage:
        return False


def few_levels(
    images: np.ndarray,  # (N,C,H,W) uint8
) -> "str | None":  # a remark, or None where there is nothing to remark
    "A remark on images whose pixels are alike, or use few grey levels."
    if not len(images):
        return None
    chosen = images[np.unique(np.linspace(0, len(images) - 1, 2 * SAMPLE).astype(int))]
    levels = np.flatnonzero(np.bincount(np.asarray(chosen).reshape(-1), minlength=256))
    if len(levels) == 1:
        return f"every pixel has the value {levels[0]} of 255: there is nothing by which to tell these images apart"
    if len(levels) < FEW:
        return f"the images use only {len(levels)} of 256 grey levels, from {levels[0]} to {levels[-1]}"
    return None
