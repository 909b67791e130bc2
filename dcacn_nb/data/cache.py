"""The cache of decoded folders: an entry is an array in a file and a small JSON file with its checksum."""

import errno
import hashlib
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from dcacn_nb.core.files import read_json, sweep
from dcacn_nb.core.locks import Busy, lock
from dcacn_nb.core.text import logger
from dcacn_nb.data.listing import Listing

log = logger(__name__)

RULES = 4  # version of the rules from files to pixels: a new one makes all old entries useless
HEADER = 256  # bytes before the rows of a .npy file, room for any shape
BLOCK = 2**24  # bytes of which a checksum is taken at once
_FRESH = 5  # seconds in which a process that begins may not have locked its work folder yet
_WEEK = 7 * 86400  # seconds
_RESUMED = re.compile(r"\.part-[0-9a-f]{64}")  # names of work folders that the next call for the same images resumes


def default_cache() -> Path:  # the folder; not made yet
    "Where decoded images are kept: the environment's DCACN_CACHE, else dcacn_nb in the user's cache folder."
    if os.environ.get("DCACN_CACHE"):
        return Path(os.environ["DCACN_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dcacn_nb"


def cache_key(
    listing: Listing,  # the files
    image_size: "int | None",  # as asked
    channels: "int | None",  # as asked
) -> str:  # 64 hexadecimal digits
    "SHA-256 of what decides the pixels: folder, names, sizes, times of change, and the size and channels asked for."
    root = listing.root.resolve() if listing.root.exists() else listing.root  # a data set in memory has no place
    digest = hashlib.sha256(json.dumps([RULES, str(root), image_size, channels]).encode())
    for number, name in enumerate(listing.files):
        digest.update(f"{name}\0{listing.stamp(number)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def cache_folder(
    cache: "str | Path | bool | None",  # the folder; None or True: default_cache()
) -> Path:  # an existing, writable folder
    "The cache folder, made if it is missing, or an error that says how to name another one."
    folder = default_cache() if cache is None or cache is True else Path(str(cache))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(mkdtemp(dir=folder, prefix=".probe-")).rmdir()  # on some file systems permissions alone do not decide
    except OSError as error:
        raise OSError(
            f"cache folder {folder} is not writable ({error}); give another folder as cache=, "
            "set the environment variable DCACN_CACHE, or pass cache=False to decode into memory"
        ) from error
    return folder


def npy_header(
    dtype: Any,
    shape: "tuple[int, ...]",
) -> bytes:  # HEADER of them
    "The first bytes of a .npy file (format version 1.0), padded to a fixed length."
    text = repr({"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape})
    length = HEADER - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode("ascii") + b"\n"


def checksum(
    array: np.ndarray,  # contiguous; may be a mapped file larger than the memory
) -> int:
    "CRC-32 of an array's bytes: it notices every single flipped bit."
    data, found = array.reshape(-1).view(np.uint8).data, 0
    for start in range(0, len(data), BLOCK):
        found = zlib.crc32(data[start : start + BLOCK], found)
    return found


def checksum_of_rows(
    path: Path,  # a .npy file with a header of HEADER bytes, which may not be written yet
    size: int,  # bytes of rows
) -> "int | None":  # None: the file is shorter
    "CRC-32 of the first `size` bytes after the header."
    found = 0
    try:
        with open(path, "rb") as file:
            file.seek(HEADER)
            while size and (data := file.read(min(size, BLOCK))):
                found, size = zlib.crc32(data, found), size - len(data)
    except OSError:
        return None
    return None if size else found


def read_entry(
    target: Path,  # the entry's .npy file
) -> "tuple[np.ndarray, dict] | None":  # (array, facts), or None if the entry is not complete
    "A complete cache entry. The file is mapped privately (mode 'c'): writing to the array does not change it."
    _sweep(target.parent)
    try:
        facts = read_json(target.with_suffix(".json"))
        array = np.lib.format.open_memmap(target, mode="c")
    except FileNotFoundError:
        return None
    except Exception as error:  # of a damaged file NumPy raises errors of many kinds: decode again
        log.warning("cache entry %s is damaged (%s): the images are decoded again", target, error)
        return None
    if isinstance(facts, dict) and "MemoryError" in str(facts.get("skipped")):
        return None  # there may be more memory now
    if not _as_written(array, facts):
        log.warning("cache entry %s is damaged: the images are decoded again", target)
        return None
    with suppress(OSError):  # so that the entry's age tells when it was last of use
        os.utime(target.with_suffix(".json"))
    return array, facts


def _as_written(array: np.ndarray, facts: object) -> bool:
    "Whether an array and the facts beside it are those that were written."
    known = {"shape": list, "skipped": dict, "resize": str, "source": str, "crc": int}
    if not isinstance(facts, dict) or not all(isinstance(facts.get(name), kind) for name, kind in known.items()):
        return False
    reasons = facts["skipped"].values()
    if not all(isinstance(reason, str) for reason in reasons) or list(array.shape) != facts["shape"]:
        return False
    return array.dtype == np.uint8 and array.flags.c_contiguous and checksum(array) == facts["crc"]


def _sweep(folder: Path) -> None:
    "Remove the work folders and temporary files of killed processes."
    sweep(folder)
    for work in folder.glob(".part-*"):
        with suppress(OSError):  # swept by another process, or another user's: housekeeping must not stop a load
            if _is_abandoned(work, time.time() - work.stat().st_mtime):
                shutil.rmtree(work, ignore_errors=True)


def _is_abandoned(work: Path, age: float) -> bool:
    "Whether nothing comes of a work folder: its process has ended, and for a week nobody resumed the work."
    if age < (_WEEK if _RESUMED.fullmatch(work.name) else _FRESH):
        return False
    try:
        with lock(work / ".lock"):
            return True
    except Busy:
        return False


def check_room(
    folder: Path,  # where it will be written
    size: int,  # bytes needed
    what: str = "the decoded images",  # what needs them
) -> None:
    "Refuse before the work if the disk is too small."
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            errno.ENOSPC,
            f"cache folder {folder} has {size_in_words(free)} free, {what} need {size_in_words(size)}; make room there "
            "(dcacn cache clear), or give another folder as cache= or in the environment variable DCACN_CACHE",
        )


@contextmanager
def named_errors(
    folder: Path,  # the cache folder
    what: str,  # is written there
) -> Iterator[None]:
    "Name the cache folder where writing fails; what was written before stays, and is resumed."
    try:
        yield
    except OSError as error:
        if "DCACN_CACHE" in str(error):  # it says what can be done
            raise
        raise OSError(
            error.errno or errno.EIO,
            f"cannot write {what} into cache folder {folder} ({error}); make room there and repeat the call, "
            "which resumes, or give another folder as cache= or in the environment variable DCACN_CACHE",
        ) from error


def size_in_words(
    size: float,  # bytes
) -> str:
    "A size as people read it."
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
