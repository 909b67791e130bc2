"""Which path suits a folder: a pretrained encoder for photographs, training from scratch for digits and scans."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial import ConvexHull, QhullError

from dcacn_nb.data.image_file import AnImage, UnreadableImage
from dcacn_nb.data.listing import list_source
from dcacn_nb.data.loading import choose
from dcacn_nb.data.pixels import read_upright
from dcacn_nb.encoders.weights import DEFAULT

SAMPLE = 100  # images looked at
ENOUGH = 0.4  # share of photographs among them: of digits up to 0.2 pass for some, of small grey clothes 0.65
COLOURED = 8  # of 255, mean difference of the colours of a pixel from which on a picture counts as coloured
EVEN = 0.4  # share of one grey tone from which on a picture has an even ground
SOLID = 0.75  # share of its convex hull that a thing on an even ground fills: strokes fill less
INK = 0.4  # of the strongest contrast with the ground, from which on a pixel belongs to the thing


class Choice(NamedTuple):
    "An encoder, and the reason."

    encoder: "str | None"  # None: train from scratch
    why: str  # one line


def choose_encoder(
    source: "str | Path",  # a folder of images
) -> Choice:
    "The encoder for these images: the default one for photographs, none for strokes on an even ground."
    listing = list_source(source)
    chosen = choose(len(listing.files), SAMPLE, 0)
    files = range(len(listing.files)) if chosen is None else chosen.tolist()
    looks = [look for look in (_is_photograph(listing.place(i)) for i in files) if look is not None]
    share = float(np.mean(looks)) if looks else 1.0
    if share >= ENOUGH:
        why = f"Encoder {DEFAULT}: {share:.0%} of a sample look like photographs (--encoder none: train from scratch)"
        return Choice(DEFAULT, why)
    why = f"No encoder, trained from scratch: {1 - share:.0%} of a sample look like drawings, digits or scans"
    return Choice(None, f"{why} (--encoder {DEFAULT}: use a pretrained one)")


def _is_photograph(path: AnImage) -> "bool | None":
    "Colour, no even ground, or a solid thing on it; None for a file that cannot be read."
    try:
        pixels = np.asarray(read_upright(path, 128).convert("RGB").resize((64, 64), Image.Resampling.BOX), np.int16)
    except (UnreadableImage, MemoryError):
        return None
    grey = pixels.mean(2)
    tones = np.bincount(grey.astype(int).ravel() // 16, minlength=16)
    if (pixels.max(2) - pixels.min(2)).mean() > COLOURED or tones.max() < EVEN * grey.size:
        return True
    return solidity(np.abs(grey - (tones.argmax() * 16 + 8))) >= SOLID


def solidity(
    contrast: np.ndarray,  # (H,W) how far the grey of each pixel is from that of the ground
) -> float:  # 0 to 1; 0 where there is nothing
    "Which share of its convex hull a thing fills: nearly all for a shirt or a bag, less for a digit or a drawing."
    y, x = np.nonzero(contrast > INK * max(np.quantile(contrast, 0.98), 48))
    corners = np.concatenate([np.c_[x + right, y + down] for right in (0, 1) for down in (0, 1)])
    try:
        return len(x) / ConvexHull(corners).volume
    except (QhullError, ValueError):  # no pixel at all
        return 0.0
