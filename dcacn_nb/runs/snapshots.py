"""The arrays of a snapshot: one .npz file beside the log, whose sizes are compared with the file's before any is made.

NumPy would believe what a file says of itself: a few kilobytes can declare, or unpack to, all of a machine's memory.
What this package writes is not compressed, so that no array is larger than its file."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dcacn_nb.core.events import SnapshotTaken
from dcacn_nb.core.files import atomic_write, inside, open_regular

LARGEST = 2**31  # bytes of a snapshot, at most: one of the largest settings holds some 50 MB
_PREFIX = "array:"


class DamagedSnapshot(ValueError):
    "The arrays of a snapshot cannot be read; the rest of the run can."


def write_snapshot(
    folder: Path,  # a run folder
    name: str,  # of the file in it
    event: SnapshotTaken,
) -> None:
    "Keep the arrays of a snapshot."
    arrays = {f"{_PREFIX}{key}": array for key, array in event.arrays.items()}
    atomic_write(folder / name, lambda file: np.savez(file, indices=event.indices, **arrays), home=folder)


def read_snapshot(
    folder: Path,  # a run folder
    name: object,  # of the file in it, as the log says
) -> "dict[str, Any]":  # "indices" and "arrays", as SnapshotTaken takes them
    "The arrays of a snapshot; DamagedSnapshot says what is wrong with the file."
    try:
        path = inside(folder, folder / str(name))
        if path.is_symlink():
            raise ValueError("it is a link")
        with open_regular(path) as file, zipfile.ZipFile(file) as stored:
            arrays = _arrays(stored, path.stat().st_size)
        indices = arrays.pop("indices")
        values: dict[str, Any] = {
            "indices": indices,
            "arrays": {key.removeprefix(_PREFIX): array for key, array in arrays.items()},
        }
        SnapshotTaken(0, 0, **values)
        return values
    except Exception as error:  # a damaged archive can fail in any way
        text = f"snapshot file {str(name)[:200]!r} cannot be read ({type(error).__name__}: {error})"
        raise DamagedSnapshot(text) from error


def _arrays(stored: zipfile.ZipFile, size: int) -> "dict[str, np.ndarray]":
    "All arrays of an archive."
    members = stored.infolist()
    declared = sum(member.file_size for member in members)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or declared > min(size, LARGEST):
        raise ValueError(f"it declares {declared:,} bytes of arrays in a file of {size:,}")
    return {member.filename.removesuffix(".npy"): _array(stored.read(member)) for member in members}


def _array(data: bytes) -> np.ndarray:
    "The array in the bytes of a .npy file."
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read_header(file)
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"an array of shape {shape} and {dtype} is declared in {len(data):,} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
