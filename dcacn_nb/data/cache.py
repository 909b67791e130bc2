"""The cache of decoded folders: an entry is a memory-mapped array and a small JSON file, and it is whole or absent."""

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from dcacn_nb.core.files import Busy, lock
from dcacn_nb.data.listing import Listing

log = logging.getLogger(__name__)

RULES = 1  # version of the rules from files to pixels: a new one makes all old entries useless
_MINUTE, _DAY = 60, 86400  # seconds


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
    digest = hashlib.sha256(json.dumps([RULES, str(listing.root.resolve()), image_size, channels]).encode())
    for name in listing.files:
        try:
            stat = os.stat(listing.root / name)
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        except OSError:  # a link to nowhere: it will fail, and be reported, when it is decoded
            digest.update(f"{name}\0missing\0".encode("utf-8", "surrogateescape"))
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


def read_entry(
    target: Path,  # the entry's .npy file
) -> "tuple[np.ndarray, dict] | None":  # (array, facts), or None if the entry is not complete
    "A complete cache entry. The file is mapped privately (mode 'c'): writing to the array does not change it."
    try:
        facts = json.loads(target.with_suffix(".json").read_text("utf-8"))
        array = np.load(target, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:  # absent, cut short, or not JSON: decode again
        log.debug("no cache entry %s: %s", target, error)
        return None
    return (array, facts) if list(array.shape) == facts.get("shape") and array.dtype == np.uint8 else None


@contextmanager
def new_array(
    target: "Path | None",  # the entry's .npy file; None: in memory, no entry
    shape: "tuple[int, ...]",  # of the array
) -> Iterator[np.ndarray]:  # zeroed uint8
    "An array to fill: in memory, or in a file that gets the name `target` only when the block ends well."
    if target is None:
        yield np.zeros(shape, np.uint8)
        return
    _sweep(target.parent)
    _check_room(target.parent, math.prod(shape))
    work = Path(mkdtemp(dir=target.parent, prefix=".part-"))
    try:
        with lock(work / ".lock"):  # says to `_sweep` that this process is alive
            array = np.lib.format.open_memmap(work / "part.npy", "w+", np.uint8, shape)
            yield array
            array.flush()
            os.replace(work / "part.npy", target)
    finally:  # also on Ctrl-C; only a killed process leaves its work folder, and that is swept later
        shutil.rmtree(work, ignore_errors=True)


def _sweep(folder: Path) -> None:
    "Remove the work folders of killed processes."
    for work in folder.glob(".part-*"):
        with suppress(OSError):  # swept by another process, or another user's: housekeeping must not stop a load
            if _is_abandoned(work, time.time() - work.stat().st_mtime):
                shutil.rmtree(work, ignore_errors=True)


def _is_abandoned(work: Path, age: float) -> bool:
    "Whether the process that made a work folder has ended; a folder `age` seconds old may not be locked yet."
    if age < _MINUTE:
        return False
    try:
        with lock(work / ".lock") as held:
            return held.is_locked or age > _DAY  # without locks, only its age shows it
    except Busy:
        return False


def _check_room(folder: Path, size: int) -> None:
    "Refuse before the work if the disk is too small: a full disk kills a process that writes to a memory map."
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"cache folder {folder} has {free / 2**30:.1f} GB free, the decoded images need {size / 2**30:.1f} GB; "
            "give another folder as cache= or in the environment variable DCACN_CACHE"
        )
