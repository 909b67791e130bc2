"""IDX files, the format of MNIST (LeCun et al. 1998)."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np


def read_idx(
    path: "str | Path",  # an IDX file of bytes, packed (.gz) or not
) -> np.ndarray:  # uint8, with the axes that the file states
    "An IDX file of unsigned bytes."
    try:
        with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
            data = file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again") from error
    axes = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = tuple(np.frombuffer(data, ">u4", axes, 4).tolist()) if len(data) >= 4 + 4 * axes else ()
    if not shape or len(data) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(
            f"{path} is not a complete IDX file of bytes: {len(data)} bytes, header {data[:4].hex()}, shape {shape}"
        )
    return np.frombuffer(bytearray(data), np.uint8, offset=4 + 4 * axes).reshape(shape)
