"""Room for many rows: in memory, or where they are large in a file without a name, which the system may page out."""

import math
import os
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from dcacn_nb.data.cache import cache_folder, check_room

LARGE = 2**27  # bytes from which on rows are kept in a file
PIECE = 8192  # rows converted at once


def empty_rows(
    shape: "tuple[int, ...]",
    dtype: Any = np.float32,
) -> np.ndarray:  # writable, contiguous; nothing in it yet
    "An array for rows. A large one is a mapped file in the cache folder, which is gone when the array is."
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    folder = cache_folder(None)
    check_room(folder, size, "the features")
    with TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # or a disk that fills up meanwhile would end the process
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape).view(np.ndarray)


def float_rows(
    rows: np.ndarray,  # (N,...) numbers; may be mapped from a file larger than the memory
) -> np.ndarray:  # of float32, contiguous and writable; a copy
    "Rows as float32, piece by piece: of a large array no second copy is held in memory."
    found = empty_rows(rows.shape)
    for start in range(0, len(rows), PIECE):
        found[start : start + PIECE] = rows[start : start + PIECE]
    return found
