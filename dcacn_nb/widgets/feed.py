"""The events of a run in bounded memory, and a thread that follows a run's log."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dcacn_nb.core.events import EpochDone, Evaluated, Event, HeadSet, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.core.files import user_path
from dcacn_nb.core.locks import is_held
from dcacn_nb.core.text import logger
from dcacn_nb.runs.log import watch
from dcacn_nb.runs.progress import seconds_per_step
from dcacn_nb.runs.thinned import ThinnedList

log = logger(__name__)


class History:
    "An observer that keeps the events of a run, thinned to a bounded size."

    def __init__(
        self,
        limit: int = 2000,  # events kept of each kind: StepDone, EpochDone, Evaluated
        snapshots: int = 8,  # snapshots kept: their arrays are large
    ):
        self.limit, self.n_snapshots = limit, snapshots
        self.start: RunStarted | None = None
        self.clear()

    def clear(self) -> None:
        "Forget everything."
        self.start, self.end, self.first_snapshot = None, None, None
        self.head_set: HeadSet | None = None
        self.kinds = {
            StepDone: ThinnedList(self.limit),
            EpochDone: ThinnedList(self.limit),
            Evaluated: ThinnedList(self.limit),
            SnapshotTaken: ThinnedList(self.n_snapshots),
        }

    def __call__(self, event: Event) -> None:
        "Receive one event."
        if isinstance(event, RunStarted):
            self.clear()
            self.start = event
        elif isinstance(event, RunFinished):
            self.end = event
        elif isinstance(event, HeadSet):
            self.head_set = event
        else:
            self.kinds[type(event)].append(event)
            if isinstance(event, SnapshotTaken) and self.first_snapshot is None:
                self.first_snapshot = event

    @property
    def steps(self) -> ThinnedList:
        "The StepDone events kept."
        return self.kinds[StepDone]

    @property
    def epochs(self) -> ThinnedList:
        "The EpochDone events kept."
        return self.kinds[EpochDone]

    @property
    def evaluations(self) -> ThinnedList:
        "The Evaluated events kept."
        return self.kinds[Evaluated]

    @property
    def snapshots(self) -> "list[SnapshotTaken]":
        "The snapshots kept, the first one always among them."
        kept = list(self.kinds[SnapshotTaken])
        return kept if not kept or kept[0] is self.first_snapshot else [self.first_snapshot, *kept]

    def events(self) -> "list[Event]":
        "All events kept, as one list in the order of a log, for the functions of `report.figures`."
        head = [] if self.head_set is None else [self.head_set]
        kept = [*self.steps, *head, *self.epochs, *self.evaluations, *self.snapshots]
        ordered = sorted(kept, key=lambda event: event.step)
        return [event for event in (self.start, *ordered, self.end) if event is not None]

    @property
    def epoch(self) -> int:
        "Epochs done."
        return max([thinned.last.epoch for thinned in (self.epochs, self.evaluations) if len(thinned)], default=0)

    def epoch_of(self, step: int) -> float:
        "The position of a step on the axis of epochs."
        return step / max(1, self.start.steps_per_epoch) if self.start else float(step)

    def progress(self) -> "tuple[int, int]":
        "Optimisation steps done, and planned (0 if unknown)."
        done = max(
            [thinned.last.step for thinned in (self.steps, self.epochs, self.evaluations) if len(thinned)], default=0
        )
        return done, self.start.n_steps if self.start else 0

    def seconds_left(self) -> "float | None":
        "Time left at the pace of the last 200 reports; None if unknown."
        recent, (done, planned) = list(self.steps)[-200:], self.progress()
        pace = seconds_per_step(recent)
        return None if self.end is not None or not planned or pace is None else (planned - done) * pace


class Follower:
    "A thread that passes every event of a run's folder to observers, until the run ends or `close()` is called."

    LOOK = 1.0  # seconds between looks at whether a process holds the run

    def __init__(
        self,
        folder: "str | Path",  # of a run: finished, running in any process, or about to begin
        observers: "Sequence[Callable[[Event], None]]",  # each is called with every event; one that raises is dropped
        failed: "Callable[[Exception], None] | None" = None,  # called if the log cannot be read any further
        lost: "Callable[[bool], None] | None" = None,  # called if no process holds the run any more, or one does again
    ):
        self.folder, self.error, self._failed, self._changed = user_path(folder), None, failed, lost
        self.lost = False  # whether no process holds the run, though it has not ended
        self._events, self._looked = 0, (0.0, -1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, args=(list(observers),), name="dcacn-follow", daemon=True)
        self._thread.start()

    def _follow(self, observers) -> None:
        "The thread's work. A log that cannot be read ends it; the reason is kept in `error` and logged."
        try:
            watch(self.folder, [self._count, *observers], stop=self._between)
        except Exception as error:
            self.error = error
            log.exception("the run in %s can no longer be followed", self.folder)
            if self._failed is not None:
                self._failed(error)

    def _count(self, event: Event) -> None:
        "Note that an event came; after the last one, no process need hold the run."
        self._events += 1
        if isinstance(event, RunFinished):
            self._set_lost(False)

    def _between(self) -> bool:
        "Called between two looks at the log: see who holds the run; whether to end."
        at, events = self._looked
        if self._changed is not None and time.monotonic() - at >= self.LOOK:
            self._looked = time.monotonic(), self._events
            # an event since the last look: there may be more of them, and the end of the run among those
            self._set_lost(events == self._events and is_held(self.folder / ".lock") is False)
        return self._closed.is_set()

    def _set_lost(self, lost: bool) -> None:
        "Pass on a change."
        if lost != self.lost:
            self.lost = lost
            self._changed(lost)

    @property
    def alive(self) -> bool:
        "Whether events may still come."
        return self._thread.is_alive()

    def wait(self, timeout: "float | None" = None) -> bool:
        "Wait until all events have been passed on (at most `timeout` seconds). True if they have."
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        "Stop following."
        self._closed.set()
