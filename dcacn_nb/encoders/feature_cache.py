"""Rows of features that grow on disk while images are encoded: an entry is whole or unfinished, and can be resumed."""

import hashlib
import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dcacn_nb.core.files import atomic_write
from dcacn_nb.core.locks import Busy, HeldLock, lock
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import HEADER, check_room, checksum, checksum_of_rows, named_errors, npy_header

log = logger(__name__)

CHECKPOINT = 5.0  # seconds between two notes of what is done: a killed run loses no more than this
_WEEK = 7 * 86400  # seconds after which an unfinished entry counts as abandoned
_WAIT = 0.5  # seconds between two looks at another process's lock

Shapes = dict[str, "tuple[np.dtype, tuple[int, ...]]"]  # name of an array -> type and shape of one of its rows


def entry_key(
    *facts: Any,  # plain values: everything that decides the features
) -> str:  # 40 hexadecimal digits
    "A name for what decides the features."
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:40]


@dataclass(frozen=True)
class Done:
    "How far the work has come. It is replaced as a whole: a call may be interrupted anywhere."

    images: int = 0  # dealt with, from the first on
    rows: int = 0  # written: one for each of them that could be read
    skipped: dict[str, str] = field(default_factory=dict)  # file -> reason, of the others

    def plus(self, block: "dict[str, np.ndarray]", images: int, skipped: "dict[str, str]") -> "Done":
        "What it is after further rows."
        n = len(next(iter(block.values()))) if block else 0
        return Done(images, self.rows + n, self.skipped | skipped if skipped else self.skipped)


@dataclass(frozen=True)
class Entry:
    "What a whole entry holds."

    arrays: dict[str, np.ndarray]
    skipped: dict[str, str]  # file -> reason, of files that gave no row
    about: dict  # the encoder


class MemoryRows:
    "Rows that are kept in memory and nowhere else."

    def __init__(
        self,
        shapes: Shapes,
        count: int,  # rows at most
        about: dict,  # the encoder
    ):
        self.about = about
        self.arrays = {name: np.empty((count, *shape), dtype) for name, (dtype, shape) in shapes.items()}
        self.done = Done()

    def append(
        self,
        block: "dict[str, np.ndarray]",  # further rows of every array; empty: no image of the batch could be read
        images: int,  # dealt with so far
        skipped: "dict[str, str]",  # file -> reason, of those among them that gave no row
    ) -> None:
        "Add rows."
        done = self.done.plus(block, images, skipped)
        for name, rows in block.items():
            self.arrays[name][self.done.rows : done.rows] = rows
        self.done = done

    def finish(self) -> Entry:
        "The arrays, as long as there are rows."
        arrays = {name: array[: self.done.rows] for name, array in self.arrays.items()}
        return Entry(arrays, self.done.skipped, self.about)


class FileRows:
    "Rows in files of a folder. What an earlier process has noted as done there is kept."

    def __init__(
        self,
        folder: Path,  # the entry; this process holds its lock
        shapes: Shapes,
        count: int,  # rows at most
        about: dict,  # the encoder
        source: str = "",  # what the images are called, for a list of what is kept
    ):
        self.folder, self.shapes, self.about, self.source = folder, shapes, about, source
        self._crc = dict.fromkeys(shapes, 0)
        self.done = self._resumable()
        left = (count - self.done.rows) * sum(self._row_bytes(name) for name in shapes)
        check_room(folder.parent, left, "the features")
        self._files = {name: self._open(name) for name in shapes}
        self._noted, self._changed = time.monotonic(), False

    def _row_bytes(self, name: str) -> int:
        "How many bytes a row of an array has."
        dtype, shape = self.shapes[name]
        return np.dtype(dtype).itemsize * math.prod(shape)

    def _resumable(self) -> Done:
        "What is noted as done and can be relied on."
        state = read_state(self.folder)
        if state is None:
            return Done()
        for name in self.shapes:
            found = checksum_of_rows(self.folder / f"{name}.npy", state["rows"] * self._row_bytes(name))
            if found is None or found != state["crc"].get(name):
                log.warning("cache entry %s is damaged: its features are computed again", self.folder)
                return Done()
        self._crc = {name: state["crc"][name] for name in self.shapes}
        return Done(state["images"], state["rows"], state["skipped"])

    def _open(self, name: str) -> BinaryIO:
        "An array's file, cut after its last row that is noted as done."
        path = self.folder / f"{name}.npy"
        path.touch()
        file = open(path, "r+b")  # noqa: SIM115  closed by `close`
        file.truncate(HEADER + self.done.rows * self._row_bytes(name))
        file.seek(0, os.SEEK_END)
        return file

    def append(
        self,
        block: "dict[str, np.ndarray]",  # further rows of every array; empty: no image of the batch could be read
        images: int,  # dealt with so far
        skipped: "dict[str, str]",  # file -> reason, of those among them that gave no row
    ) -> None:
        "Add rows, and now and then note how far this has come."
        with named_errors(self.folder.parent, "features"):
            for name, rows in block.items():
                data = np.ascontiguousarray(rows, self.shapes[name][0]).data.cast("B")
                self._files[name].write(data)
                self._crc[name] = zlib.crc32(data, self._crc[name])
            self.done, self._changed = self.done.plus(block, images, skipped), True
            if time.monotonic() - self._noted > CHECKPOINT:
                self.checkpoint()

    def checkpoint(self, complete: bool = False) -> None:
        "Note how far this has come, after the rows themselves have reached the disk."
        for name, file in self._files.items():
            if complete:
                file.seek(0)
                file.write(npy_header(self.shapes[name][0], (self.done.rows, *self.shapes[name][1])))
            file.flush()
            os.fsync(file.fileno())
        state = {"complete": complete, "about": self.about, "source": self.source, "crc": self._crc}
        state |= asdict(self.done)
        atomic_write(self.folder / "state.json", json.dumps(state).encode("utf-8", "surrogateescape"))
        self._noted, self._changed = time.monotonic(), False

    def finish(self) -> Entry:
        "Make the entry whole."
        with named_errors(self.folder.parent, "features"):
            self.checkpoint(complete=True)
        found = read_entry(self.folder, self.shapes)
        if found is None:
            raise OSError(f"cache entry {self.folder} was removed or changed while it was written; embed again")
        return found

    def close(self) -> None:
        "Note what is done, unless nothing is new, and close the files."
        if self._changed:
            with suppress(OSError):  # the disk is full: the last note that could be written counts
                self.checkpoint()
        for file in self._files.values():
            with suppress(OSError):  # rows that were not noted are lost; the error that is on its way says more
                file.close()


def read_state(
    folder: Path,  # an entry
) -> "dict | None":  # None: there is none, or it is damaged
    "What is noted in an entry."
    known = {"complete": bool, "images": int, "rows": int, "skipped": dict, "about": dict, "crc": dict, "source": str}
    try:
        state = json.loads((folder / "state.json").read_text("utf-8"))
        right = isinstance(state, dict) and all(isinstance(state.get(name), kind) for name, kind in known.items())
        if right and 0 <= state["rows"] <= state["images"]:
            return state if all(isinstance(reason, str) for reason in state["skipped"].values()) else None
    except (OSError, ValueError, RecursionError) as error:
        log.debug("no state in %s: %s", folder, error)
    return None


def read_entry(
    folder: Path,
    shapes: Shapes,
) -> "Entry | None":  # None: it is not whole
    "A whole entry. Its files are mapped privately (mode 'c'): writing to an array does not change them."
    state = read_state(folder)
    if state is None or not state["complete"]:
        return None
    try:
        arrays = {name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="c") for name in shapes}
    except Exception as error:  # a file is gone or damaged: NumPy raises whatever its header leads to
        log.debug("entry %s is damaged: %s", folder, error)
        return None
    for name, (dtype, shape) in shapes.items():
        array = arrays[name]
        if array.shape != (state["rows"], *shape) or array.dtype != dtype or not array.flags.c_contiguous:
            return None
        if checksum(array) != state["crc"].get(name):
            return None
    with suppress(OSError):  # so that the entry's age tells when it was last of use
        os.utime(folder / "state.json")
    return Entry(arrays, state["skipped"], state["about"])


@contextmanager
def held(
    folder: Path,  # of an entry; made if it is missing
) -> Iterator[None]:
    "Hold the lock of an entry; while another process fills it, wait for that one."
    folder.mkdir(exist_ok=True)
    with _wait_for(folder / ".lock", folder):
        yield


def _wait_for(path: Path, folder: Path) -> HeldLock:
    "A lock, as soon as it is free."
    waits = False
    while True:
        try:
            return lock(path)
        except Busy:
            if not waits:
                log.warning("another process computes these features; waiting for it to finish (%s)", folder)
            waits = True
            time.sleep(_WAIT)


def sweep(
    cache: Path,  # the cache folder
    prefix: str,  # of the names of entries
) -> None:
    "Remove unfinished entries that nothing has touched for a week."
    for folder in cache.glob(f"{prefix}*"):
        with suppress(OSError, Busy):  # in use, or another user's: housekeeping must not stop the work
            state = read_state(folder)
            newest = max((file.stat().st_mtime for file in folder.iterdir()), default=folder.stat().st_mtime)
            if (state is None or not state["complete"]) and time.time() - newest > _WEEK:
                with lock(folder / ".lock"):
                    shutil.rmtree(folder, ignore_errors=True)
