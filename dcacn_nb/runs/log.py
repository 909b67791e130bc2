"""Every event of a run as one line of JSON on the disk: to read back, to watch from another process, to resume from.

A file that is only appended to can be damaged in one place only: its end. A line counts once its newline is there. That
one rule serves the follower, which waits a little, and the reader of a crashed run, which leaves the torn tail out."""

import json
import logging
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcacn_nb.core.events import (
    EpochDone,
    Evaluated,
    Event,
    RunFinished,
    RunStarted,
    SnapshotTaken,
    from_dict,
    to_dict,
)
from dcacn_nb.core.files import atomic_write

logger = logging.getLogger(__name__)
_FILE = "events.jsonl"


def _file(path: "str | Path") -> Path:
    "The log file of a run folder, or the file itself."
    path = Path(path)
    return path if path.suffix == ".jsonl" else path / _FILE


def _append(path: Path, data: bytes) -> None:
    "Append all of `data`, or nothing: after a full disk, the next line must not continue half a line."
    with open(path, "ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except BaseException as error:
            file.truncate(before)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(path)  # a failed write does not say which file it was
            raise


def _line(values: dict) -> bytes:
    "One line of strict JSON."
    return json.dumps(values, allow_nan=False).encode() + b"\n"


class RunLog:
    "An observer that appends each event to `folder/events.jsonl`, a snapshot's arrays to a file beside it."

    def __init__(
        self,
        folder: "str | Path",  # the run's folder; made if missing
        resume_count: "int | None" = None,  # events to keep of an earlier log, from the checkpoint; None: a new run
    ):
        self.folder = Path(folder)
        self.path = self.folder / _FILE
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume_count is None and self.path.exists() and self.path.stat().st_size:
            raise FileExistsError(
                f"{self.path} already holds a run; give another folder, or resume_count to continue it"
            )
        self.count = 0 if resume_count is None else truncate_events(self.folder, resume_count)  # events in the log

    def __call__(self, event: Event) -> None:
        "Write one event; once this returns, other processes can see it."
        values = to_dict(event, arrays=False)
        if isinstance(event, RunStarted) and self.count:
            self._renew_first(event, values)
            return
        if isinstance(event, SnapshotTaken):
            # the count makes the name unique: two snapshots may share an epoch
            values["file"] = f"snapshots/epoch_{event.epoch:05d}_{self.count:07d}.npz"
            (self.folder / "snapshots").mkdir(exist_ok=True)
            arrays = {f"array:{name}": array for name, array in event.arrays.items()}
            atomic_write(self.folder / values["file"], lambda file: np.savez(file, indices=event.indices, **arrays))
        _append(self.path, _line(values))
        self.count += 1

    def _renew_first(self, event: RunStarted, values: dict) -> None:
        "A resumed run announces itself: line 1 is replaced if a setting has changed."
        first, rest = self.path.read_bytes().split(b"\n", 1)
        if _parse(first, 1, self.path, arrays=False) != event:
            atomic_write(self.path, lambda file: file.write(_line(values) + rest))


def _complete_lines(data: bytes) -> "list[bytes]":
    "The lines that end in a newline; what follows the last newline is not finished."
    return data.split(b"\n")[:-1]


def _load_arrays(folder: Path, name: str) -> dict:
    "The arrays of a snapshot file inside `folder`."
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"snapshot file {name!r} is outside the run's folder")
    try:
        with np.load(folder / name, allow_pickle=False) as stored:
            arrays = {key[len("array:") :]: stored[key] for key in stored.files if key != "indices"}
            return {"indices": stored["indices"], "arrays": arrays}
    except (EOFError, KeyError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"snapshot file {name!r} cannot be read ({error})") from error


def _parse(line: bytes, number: int, path: Path, arrays: bool) -> Event:
    "One line as an event; a ValueError names the file and the line."
    try:
        values = json.loads(line)
        name = values.pop("file", None) if isinstance(values, dict) else None
        if arrays and name is not None:
            values.update(_load_arrays(path.parent, name))
        return from_dict(values)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}, line {number} is damaged: {error}; restore the file, or keep what comes before "
            f"with truncate_events(folder, {number - 1})"
        ) from error


def read_events(
    path: "str | Path",  # a run's folder, or its events.jsonl
    arrays: bool = True,  # load the snapshots' arrays; False is much faster
) -> "list[Event]":  # in the order of emission
    "All complete events of a log; one torn last line (of a killed writer) is left out."
    path = _file(path)
    if not path.exists():
        raise FileNotFoundError(f"no run log at {path}; give the folder of a run that was started with a RunLog")
    lines = _complete_lines(path.read_bytes())
    return [_parse(line, number, path, arrays) for number, line in enumerate(lines, start=1)]


def follow_events(
    path: "str | Path",  # a run's folder, or its events.jsonl; may not exist yet
    poll: float = 0.2,  # seconds between looks at the file
    stop: "Callable[[], bool] | None" = None,  # asked at every look; true ends the following once all is read
    arrays: bool = True,  # load the snapshots' arrays
) -> "Iterator[Event]":  # from the first event on; starts over with RunStarted if the run was resumed meanwhile
    "Yield every event of a run, those still to come as well, until `RunFinished` or `stop()`."
    if not poll > 0:
        raise ValueError(f"poll must be > 0 seconds, got {poll}")
    return _follow(_file(path), poll, stop or (lambda: False), arrays)


def _look(path: Path, inode: "int | None", offset: int, last: bytes) -> "tuple[int | None, bytes | None]":
    "The file's inode, and its bytes from `offset` on, or None if this is not the file that was read so far."
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno()).st_ino
            file.seek(offset - len(last))
            same = (inode is None or found == inode) and file.read(len(last)) == last
            return found, file.read() if same else None
    except FileNotFoundError:
        return None, b"" if inode is None else None


def _follow(path: Path, poll: float, stop: "Callable[[], bool]", arrays: bool) -> "Iterator[Event]":
    "The generator behind `follow_events` (apart from it, so that bad arguments are refused at the call)."
    inode, offset, number, last = None, 0, 0, b""
    while True:
        ending = stop()  # asked before looking: what was written before it became true is still read
        inode, data = _look(path, inode, offset, last)
        if data is None:
            inode, offset, number, last = None, 0, 0, b""
            continue
        for line in _complete_lines(data):
            try:
                event = _parse(line, number + 1, path, arrays)
            except ValueError:
                if _look(path, inode, offset, last)[1] is None:
                    break  # the log was cut back just now, and this line's snapshot with it
                raise
            offset, number, last = offset + len(line) + 1, number + 1, line + b"\n"
            yield event
            if isinstance(event, RunFinished):
                return
        if ending:
            return
        time.sleep(poll)


def notify(
    observers: "list[Callable[[Event], None]]",  # changed in place: one that raises is taken out
    event: Event,  # what happened
) -> None:
    "Give an event to every observer; one that raises is reported once and dropped, and training continues."
    for observer in list(observers):
        try:
            observer(event)
        except Exception:
            logger.exception(
                "observer %r failed at %s and gets no further events; training continues",
                observer,
                type(event).__name__,
            )
            if observer in observers:  # it may have unsubscribed before
                observers.remove(observer)


def watch(
    folder: "str | Path",  # the folder of a run: finished, or still running in any process
    observers: "Sequence[Callable[[Event], None]]",  # each is called with every event, from the first on
    stop: "Callable[[], bool] | None" = None,  # asked now and then whether to end the watch
) -> None:
    "Feed observers from a run's log until the run has finished; one that raises is dropped, as in a run."
    observers = list(observers)
    for event in follow_events(folder, stop=stop):
        notify(observers, event)


def truncate_events(
    folder: "str | Path",  # the run's folder
    count: int,  # how many events to keep, from the first on
) -> int:  # how many were kept: fewer than `count` only if the log was shorter
    "Cut a log back to its first `count` events, atomically, and delete snapshots that it no longer names."
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
        raise ValueError(f"count must be a whole number >= 0, got {count!r}")
    path = _file(folder)
    data = path.read_bytes() if path.exists() else b""
    lines = _complete_lines(data)[:count]
    if len(lines) < count:
        logger.warning("%s holds %d events, %d were expected; continuing with those", path, len(lines), count)
    kept = b"".join(line + b"\n" for line in lines)
    if kept != data:  # an unchanged file is left alone: followers need not start over
        atomic_write(path, lambda file: file.write(kept))
    events = [_parse_values(line, i, path) for i, line in enumerate(lines, start=1) if b'"file"' in line]
    named = {Path(values["file"]).name for values in events if "file" in values}
    snapshots = path.parent / "snapshots"
    for stray in [*snapshots.glob("*.npz"), *snapshots.glob(".*.tmp"), *path.parent.glob(f".{_FILE}.*.tmp")]:
        if stray.name not in named:
            stray.unlink(missing_ok=True)
    return len(lines)


def _parse_values(line: bytes, number: int, path: Path) -> dict:
    "The JSON object of a line; a ValueError names the line."
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number} is damaged: {error}") from error


def history(
    events: "Iterable[Event]",  # e.g. read_events(folder)
) -> pd.DataFrame:  # columns epoch, step, then losses, scores and health figures; NaN where there is none
    "One row per epoch: mean losses, scores and health."
    rows: dict[int, dict] = {}
    columns: tuple[dict, dict, dict] = {}, {}, {}  # names of losses, scores and health figures, as ordered sets
    for event in events:
        if isinstance(event, RunStarted):  # start over
            rows, columns = {}, ({}, {}, {})
        if isinstance(event, EpochDone):
            parts = [(columns[0], event.losses)]
        elif isinstance(event, Evaluated):
            parts = [(columns[1], event.scores or {}), (columns[2], event.health)]
        else:
            continue
        row = rows.setdefault(event.epoch, {})
        row.update(epoch=event.epoch, step=event.step)
        for names, values in parts:
            numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
            names.update(numbers)
            row.update(numbers)
    order = list(dict.fromkeys(["epoch", "step", *columns[0], *columns[1], *columns[2]]))
    return pd.DataFrame([rows[epoch] for epoch in sorted(rows)], columns=order)
