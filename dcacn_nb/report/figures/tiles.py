"""Images as tiles of one size."""

import numpy as np
from PIL import Image


def rgb(
    image: np.ndarray,  # (C,H,W)
) -> np.ndarray:  # (H,W,3)
    "An image with three channels last; one or two channels as grey."
    return np.ascontiguousarray((np.repeat(image[:1], 3, 0) if len(image) < 3 else image[:3]).transpose(1, 2, 0))


def tiles(
    images: np.ndarray,  # (n,C,H,W) uint8
    side: int = 40,  # pixels
) -> np.ndarray:  # (n,side,side,4) uint8
    "Images scaled to fit, centred, transparent around."
    result = np.zeros((len(images), side, side, 4), np.uint8)
    for i, image in enumerate(images):
        h, w = image.shape[1:]
        size = max(1, round(w * side / max(h, w))), max(1, round(h * side / max(h, w)))
        small = Image.fromarray(rgb(image)).resize(size, Image.NEAREST if max(h, w) < side else Image.BOX)
        y, x = (side - size[1]) // 2, (side - size[0]) // 2
        result[i, y : y + size[1], x : x + size[0], :3] = np.asarray(small)
        result[i, y : y + size[1], x : x + size[0], 3] = 255
    return result
