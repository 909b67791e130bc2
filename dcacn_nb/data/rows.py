"""Rows of decoded pixels on their way into the cache: written as they come, noted now and then, resumed after a kill.

The work folder of an entry is `.part-KEY` in the cache folder. It holds `measured.npy`, what is known of the files so
far; `part.npy`, the rows; and `state.json`, how many of them can be relied on."""

import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from dcacn_nb.core.files import atomic_write, read_json
from dcacn_nb.core.locks import Busy, HeldLock, lock
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import HEADER, check_room, checksum_of_rows, named_errors, npy_header

log = logger(__name__)

CHECKPOINT = 5.0  # seconds between two notes of what is done: a killed process loses no more than this
MEASURED, ROWS, STATE = "measured.npy", "part.npy", "state.json"


class MemoryRows:
    "Rows of pixels kept in memory, and the reasons why files gave none."

    def __init__(self, shape: "tuple[int, ...]"):
        self.shape = shape
        self.files = 0  # dealt with, from the first on
        self.count = 0  # rows: one for each of them that could be decoded
        self.skipped: dict[str, str] = {}  # file -> reason, of the others
        self.array = np.empty(shape if type(self) is MemoryRows else 0, np.uint8)

    def add(
        self,
        name: str,
        result: "np.ndarray | str",  # (C,H,W) uint8, or why there is none
    ) -> None:
        "Deal with the next file."
        if isinstance(result, str):
            self.skipped[name] = result
        else:
            self._write(result)
            self.count += 1
        self.files += 1

    def _write(self, row: np.ndarray) -> None:
        "Add a row."
        self.array[self.count] = row

    def finish(self, facts: dict) -> np.ndarray:
        "The rows."
        return self.array[: self.count]


class FileRows(MemoryRows):
    "Rows written to a file, never through a memory map: a disk that fills up is an error, not a signal."

    def __init__(
        self,
        target: Path,  # the entry's .npy file, once all is done
        work: Path,  # the folder that holds the rows until then
        shape: "tuple[int, ...]",  # (n,C,H,W) of the array: so many rows at most
        chosen: np.ndarray,  # (n,) which files of the listing these are
        source: str,  # what the images are called, for a list of what is kept
    ):
        super().__init__(shape)
        self.target, self.work, self._crc = target, work, 0
        self._about = {"shape": list(shape), "chosen": zlib.crc32(chosen.tobytes()), "source": source}
        self._size = math.prod(shape[1:])  # bytes of a row
        self._resume()
        check_room(target.parent, (shape[0] - self.count) * self._size)
        self._file = open(work / ROWS, "r+b" if self.count else "w+b")  # noqa: SIM115  closed by `new_rows`
        self._file.truncate(HEADER + self.count * self._size)
        self._file.seek(0, os.SEEK_END)
        self._noted = time.monotonic()

    def _resume(self) -> None:
        "Take over what an earlier process has noted, as far as it can be relied on."
        try:
            state = read_json(self.work / STATE)
        except (OSError, ValueError):
            return
        if not isinstance(state, dict) or not _fits(state, self._about) or "MemoryError" in str(state["skipped"]):
            return
        if checksum_of_rows(self.work / ROWS, state["rows"] * self._size) != state["crc"]:
            log.warning("what was decoded before is damaged (%s): it is decoded again", self.work)
            return
        self.files, self.count, self._crc, self.skipped = (state[key] for key in ("files", "rows", "crc", "skipped"))
        log.info("resumed: %d of %d images were decoded before", self.files, self.shape[0])

    def add(self, name: str, result: "np.ndarray | str") -> None:
        "Deal with the next file, and now and then note how far this has come."
        super().add(name, result)
        if time.monotonic() - self._noted > CHECKPOINT:
            self.note()

    def _write(self, row: np.ndarray) -> None:
        data = np.ascontiguousarray(row, np.uint8).data.cast("B")
        self._file.write(data)
        self._crc = zlib.crc32(data, self._crc)

    def note(self) -> None:
        "Note how far this has come, after the rows themselves have reached the disk."
        self._file.flush()
        os.fsync(self._file.fileno())
        done = {"files": self.files, "rows": self.count, "crc": self._crc, "skipped": self.skipped}
        atomic_write(self.work / STATE, json.dumps(self._about | done).encode())
        self._noted = time.monotonic()

    def finish(self, facts: dict) -> np.ndarray:
        "The rows, mapped from the file, which now has its name."
        shape = (self.count, *self.shape[1:])
        self._file.seek(0)
        self._file.write(npy_header(np.uint8, shape))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._file.name, self.target)
        noted = facts | {"shape": list(shape), "crc": self._crc}
        atomic_write(self.target.with_suffix(".json"), json.dumps(noted).encode())
        return np.load(self.target, mmap_mode="c", allow_pickle=False)

    def close(self) -> None:
        "Note what is done, unless it is finished, and close the file."
        with suppress(OSError):  # the disk is full: the last note that could be written counts
            if self.count and not self._file.closed:
                self.note()
        with suppress(OSError):  # rows that were not noted are lost; the error that is on its way says more
            self._file.close()


def _fits(state: dict, about: dict) -> bool:
    "Whether a note is whole, and about these very rows."
    known = {"files": int, "rows": int, "crc": int, "skipped": dict}
    if not all(isinstance(state.get(name), kind) for name, kind in known.items()):
        return False
    return about.items() <= state.items() and 0 <= state["rows"] <= state["files"] <= about["shape"][0]


@contextmanager
def work_folder(
    target: "Path | None",  # the entry's .npy file; None: no entry is made
) -> "Iterator[Path | None]":  # held by this process; None without a target
    """The folder in which an entry is made. If it is not finished it stays, so that the next call resumes there.

    If another process makes the same entry at this moment, this one gets a folder of its own, which never stays."""
    if target is None:
        yield None
        return
    work, held = _own_folder(target)
    try:
        with held, named_errors(target.parent, "decoded images"):  # the lock says to others that this process lives
            yield work
    except BaseException:  # a bad file, a full disk, Ctrl-C
        if work != _resumed(target) or not any((work / name).exists() for name in (MEASURED, STATE)):
            shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


def _resumed(target: Path) -> Path:
    "The work folder in which a later call resumes."
    return target.parent / f".part-{target.stem}"


def _own_folder(target: Path) -> "tuple[Path, HeldLock]":
    "The work folder of an entry, or while another process uses that one, a new one; and the lock on it."
    work = _resumed(target)
    with suppress(FileExistsError):
        work.mkdir()
    try:
        return work, lock(work / ".lock")
    except Busy:
        work = Path(mkdtemp(dir=target.parent, prefix=".part-"))
        return work, lock(work / ".lock")


@contextmanager
def new_rows(
    target: "Path | None",  # the entry's .npy file; None: in memory, no entry
    work: "Path | None",  # as `work_folder` gives it
    shape: "tuple[int, ...]",  # (n,C,H,W) of the array: so many rows at most
    chosen: np.ndarray,  # (n,) which files of the listing these are
    source: str,
) -> "Iterator[MemoryRows]":
    "Rows to fill: in memory, or in a file that gets the name `target` only when it is finished."
    if target is None or work is None:
        yield MemoryRows(shape)
        return
    rows = FileRows(target, work, shape, chosen, source)
    try:
        yield rows
    finally:
        rows.close()


def read_measured(
    work: "Path | None",  # as `work_folder` gives it
    count: int,  # files
) -> np.ndarray:  # (count,4) int32: height, width, grey, pages; -1: not known
    "What an earlier process has measured."
    found = np.full((count, 4), -1, np.int32)
    if work is not None:
        with suppress(OSError, ValueError, EOFError):  # none, or damaged: measure
            before = np.load(work / MEASURED, allow_pickle=False)
            if before.shape == found.shape and before.dtype == found.dtype:
                return before
    return found


def note_measured(
    work: Path,
    found: np.ndarray,  # as `read_measured` gives it
) -> None:
    "Keep what has been measured so far."
    atomic_write(work / MEASURED, lambda file: np.save(file, found, allow_pickle=False))
