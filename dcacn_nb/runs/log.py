"""Every event of a run as one line of JSON on the disk: to read back, to watch from another process, to resume from.

A file that is only appended to can be damaged in one place only: its end. A line counts once its newline is there. That
one rule serves the follower, which waits a little, and the reader of a crashed run, which leaves the torn tail out."""

import json
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

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
from dcacn_nb.core.files import atomic_write, inside, open_regular, sweep, user_path
from dcacn_nb.core.text import logger
from dcacn_nb.runs.lines import CHUNK, Appender, Tail, complete_lines
from dcacn_nb.runs.snapshots import DamagedSnapshot, read_snapshot, write_snapshot

log = logger(__name__)
EVENTS = "events.jsonl"
SAID = 3  # damaged snapshots that are named one by one


def _file(path: "str | Path") -> Path:
    "The log file of a run folder, or the file itself."
    path = user_path(path)
    return path if path.suffix == ".jsonl" else path / EVENTS


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
        self.folder = Path(folder).absolute()  # a notebook may change the working directory in mid-run
        self.path = self.folder / EVENTS
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume_count is None and os.path.lexists(self.path) and (self.path.is_symlink() or _size(self.path)):
            raise FileExistsError(
                f"{self.path} already holds a run; give another folder, or resume_count to continue it"
            )
        self.count = 0 if resume_count is None else truncate_events(self.folder, resume_count)  # events in the log
        self._append = Appender(self.path, new=self.count == 0)

    def __call__(self, event: Event) -> None:
        "Write one event; once this returns, other processes can see it."
        values = to_dict(event, arrays=False)
        if isinstance(event, RunStarted) and self.count:
            self._renew_first(event, values)
            return
        if isinstance(event, SnapshotTaken):
            # the count makes the name unique: two snapshots may share an epoch
            values["file"] = f"snapshots/epoch_{event.epoch:05d}_{self.count:07d}.npz"
            write_snapshot(self.folder, values["file"], event)
        self._append(_line(values))
        self.count += 1

    def sync(self) -> None:
        "Wait until all events are on the disk: a checkpoint that counts on them may only follow."
        self._append.sync()

    def _renew_first(self, event: RunStarted, values: dict) -> None:
        "A resumed run announces itself: line 1 is replaced if a setting has changed."
        with open_regular(self.path) as old:
            first = old.readline()
            if _parse(first, 1, self.path)[0] != event:
                atomic_write(self.path, lambda file: _copy(old, file, head=_line(values)), home=self.folder)
                self._append.replaced()


def _size(path: Path) -> int:
    "The length of an ordinary file; whatever else stands there is refused."
    with open_regular(path) as file:
        return os.fstat(file.fileno()).st_size


def _copy(old: BinaryIO, new: BinaryIO, length: "int | None" = None, head: bytes = b"") -> None:
    "Write `head`, and then what follows in `old`, or `length` bytes of it."
    new.write(head)
    while data := old.read(CHUNK if length is None else min(CHUNK, length)):
        length = None if length is None else length - len(data)
        new.write(data)


def _parse(line: bytes, number: int, path: Path) -> "tuple[Event, object]":
    "One line as an event without arrays, and the file that holds these, or None; a ValueError names file and line."
    try:
        values = json.loads(line)
        name = values.pop("file", None) if isinstance(values, dict) else None
        return from_dict(values), name
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}, line {number} is damaged: {error}; restore the file, or keep what comes before "
            f"with truncate_events(folder, {number - 1})"
        ) from error


class _Arrays:
    "Adds the arrays to the snapshots of a log, of each file once: a log that repeats one could fill any memory."

    def __init__(self, path: Path):
        self.path = path
        self._read: set[str] = set()
        self._lost = 0

    def add(self, event: SnapshotTaken, name: object) -> SnapshotTaken:
        "A snapshot with its arrays; one that has no file is as it is."
        if name is None:
            return event
        place = os.path.normpath(str(name))
        if place in self._read:
            raise DamagedSnapshot(f"its file {str(name)[:200]!r} belongs to an earlier snapshot")
        self._read.add(place)
        return SnapshotTaken(event.epoch, event.step, **read_snapshot(self.path.parent, name), time=event.time)

    def left_out(self, number: int, error: DamagedSnapshot) -> None:
        "Say that a snapshot is missing from what is read: a damaged file costs itself and no more."
        self._lost += 1
        if self._lost <= SAID:
            log.warning("%s, line %d is left out: %s", self.path, number, error)
        elif self._lost == SAID + 1:
            log.warning("%s: more snapshots are left out", self.path)


def read_events(
    path: "str | Path",  # a run's folder, or its events.jsonl
    arrays: bool = True,  # load the snapshots' arrays; False is much faster
) -> "list[Event]":  # in the order of emission
    """All complete events of a log; one torn last line (of a killed writer) is left out.

    A snapshot whose arrays cannot be read is left out with a warning."""
    return list(read_chosen(path) if arrays else each_event(path))


def each_event(
    path: "str | Path",  # a run's folder, or its events.jsonl
) -> "Iterator[Event]":  # in the order of emission, snapshots without their arrays
    "`read_events` without the list: a log of a million lines need not fit into memory."
    return (event for _, event, _ in _read(path))


def first_event(
    path: "str | Path",  # a run's folder, or its events.jsonl
) -> "Event | None":  # None: nothing has been written yet
    "The first event of a log."
    return next(each_event(path), None)


def last_events(
    path: "str | Path",  # a run's folder, or its events.jsonl
    size: int = 2**16,  # bytes to read from the end of the log; more, if these hold no complete line
) -> "list[Event]":  # in the order of emission, snapshots without their arrays
    "The last events of a log, however long it is: they say how far a run is, and how fast."
    path = _file(path)
    try:
        with open_regular(path) as file:
            start = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(start)
            lines = file.read(size).split(b"\n")[1 if start else 0 : -1]
    except FileNotFoundError:
        raise _no_log(path) from None
    if start and not lines:
        return last_events(path, 16 * size)
    try:
        return [_parse(line, 0, path)[0] for line in lines]
    except ValueError:  # the error that is raised here knows the number of the line
        return list(each_event(path))[-len(lines) :]


def last_event(
    path: "str | Path",  # a run's folder, or its events.jsonl
) -> "Event | None":  # None: nothing has been written yet
    "The last event of a log."
    return next(reversed(last_events(path, 4096)), None)


def read_chosen(
    path: "str | Path",  # a run's folder, or its events.jsonl
    # given the epochs of the snapshots since the run last started: the places of those that are wanted; None: all
    choose: "Callable[[Sequence[int]], Iterable[int]] | None" = None,
    count: "int | None" = None,  # how many lines to read, from the first on; None: all
) -> "Iterator[Event]":  # in the order of emission, without the other snapshots
    "All complete events of a log, and some of its snapshots: a long run has more of these than fit into memory."
    wanted = None if choose is None else _wanted_lines(_file(path), choose, count)
    arrays = _Arrays(_file(path))
    for number, event, name in _read(path, count=count):
        if not isinstance(event, SnapshotTaken):
            yield event
        elif wanted is None or number in wanted:
            try:
                event = arrays.add(event, name)
            except DamagedSnapshot as error:
                arrays.left_out(number, error)
                continue
            yield event


def _wanted_lines(path: Path, choose: "Callable[[Sequence[int]], Iterable[int]]", count: "int | None") -> "set[int]":
    "The numbers of the lines with the snapshots that are wanted."
    numbers, epochs = array("q"), array("q")
    few = (b'"RunStarted"', b'"SnapshotTaken"')  # only lines that hold one of these words are parsed here
    for number, event, _ in _read(path, lambda line: any(word in line for word in few), count):
        if isinstance(event, RunStarted):
            del numbers[:], epochs[:]
        elif isinstance(event, SnapshotTaken):
            numbers.append(number)
            epochs.append(event.epoch)
    return {numbers[place] for place in choose(epochs)}


def _read(
    path: "str | Path", only: "Callable[[bytes], bool]" = lambda line: True, count: "int | None" = None
) -> "Iterator[tuple[int, Event, object]]":
    "Number and event of each line, without arrays, and of a snapshot the file that holds these."
    path = _file(path)
    try:
        with open_regular(path) as file:
            for number, line in enumerate(islice(complete_lines(file), count), start=1):
                if only(line):
                    yield number, *_parse(line, number, path)
    except FileNotFoundError:
        raise _no_log(path) from None


def _no_log(path: Path) -> FileNotFoundError:
    "There is no log."
    return FileNotFoundError(f"no run log at {path}; give the folder of a run that was started with a RunLog")


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


def _follow(path: Path, poll: float, stop: "Callable[[], bool]", arrays: bool) -> "Iterator[Event]":
    "The generator behind `follow_events` (apart from it, so that bad arguments are refused at the call)."
    tail, reader = Tail(path), _Arrays(path)
    while True:
        ending = stop()  # asked before looking: what was written before it became true is still read
        found = tail.look()
        if found is None:
            tail.restart()
            reader = _Arrays(path)
            continue
        for line in found[0]:
            try:
                event = _event(line, tail, reader if arrays else None)
            except ValueError:
                if not tail.is_same():
                    break  # the log was cut back just now, and this line's snapshot with it
                raise
            tail.passed(line)
            if event is not None:
                yield event
            if isinstance(event, RunFinished):
                return
        if found[1]:
            continue
        if ending:
            return
        time.sleep(poll)


def _event(line: bytes, tail: Tail, arrays: "_Arrays | None") -> "Event | None":
    "The event of the line that comes next; None for a snapshot whose arrays are damaged."
    event, name = _parse(line, tail.number + 1, tail.path)
    if arrays is None or not isinstance(event, SnapshotTaken):
        return event
    try:
        return arrays.add(event, name)
    except DamagedSnapshot as error:
        if not tail.is_same():
            raise
        arrays.left_out(tail.number + 1, error)
        return None


def notify(
    observers: "list[Callable[[Event], None]]",  # changed in place: one that raises is taken out
    event: Event,  # what happened
) -> None:
    "Give an event to every observer; one that raises is reported once and dropped, and training continues."
    for observer in list(observers):
        try:
            observer(event)
        except Exception:
            log.exception(
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
    path = _file(folder).absolute()
    try:
        with open_regular(path) as file:
            kept, length, named = _first_lines(file, count, path)
            own = not path.is_symlink() and os.fstat(file.fileno()).st_nlink == 1
            # an unchanged file is left alone, so that followers need not start over; one that has another name
            # elsewhere is replaced by a copy, since what is appended here would appear there
            if not own or length != os.fstat(file.fileno()).st_size:
                file.seek(0)
                atomic_write(path, lambda new: _copy(file, new, length), home=path.parent)
    except FileNotFoundError:
        kept, named = 0, set()
    if kept < count:
        log.warning("%s holds %d events, %d were expected; continuing with those", path, kept, count)
    snapshots = inside(path.parent, path.parent / "snapshots" / "x").parent
    for stray in snapshots.glob("*.npz"):
        if stray.name not in named and (stray.is_symlink() or not stray.is_dir()):
            stray.unlink(missing_ok=True)
    sweep(snapshots)
    sweep(path.parent)
    return kept


def _first_lines(file: BinaryIO, count: int, path: Path) -> "tuple[int, int, set[str]]":
    "How many of the first `count` lines there are, their length in bytes, and the snapshot files that they name."
    kept, length, named = 0, 0, set()
    lines = complete_lines(file)
    while kept < count and (line := next(lines, None)) is not None:
        kept, length = kept + 1, length + len(line) + 1
        if b'"file"' in line:
            name = _parse(line, kept, path)[1]
            named.add(Path(str(name)).name)
    return kept, length, named


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
