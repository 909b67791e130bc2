"""The events of a run, sorted by kind: what every picture is drawn from."""

import json
import logging
import math
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dcacn_nb.core.events import EpochDone, Evaluated, Event, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs.log import follow_events, read_events

logger = logging.getLogger(__name__)


@dataclass
class RunRecord:
    "The events of one run, sorted by kind."

    start: "RunStarted | None" = None
    steps: "list[StepDone]" = field(default_factory=list)
    epochs: "list[EpochDone]" = field(default_factory=list)
    evaluations: "list[Evaluated]" = field(default_factory=list)
    snapshots: "list[SnapshotTaken]" = field(default_factory=list)  # those that were asked for
    end: "RunFinished | None" = None
    names: "dict[int, str]" = field(default_factory=dict)  # cluster -> the name that a person gave it

    def epoch_of(self, step: int) -> float:
        "Where a step is on the axis of epochs."
        return step / max(1, self.start.steps_per_epoch) if self.start else float(step)


def read_record(
    source: "str | Path | Sequence[Event] | RunRecord",  # a run folder, its events, or a record read before
    # which snapshots to load: the nearest to these epochs; None: four, evenly spread
    epochs: "Sequence[int] | None" = None,
    *,
    snapshots: bool = True,  # False: none of them, which is faster
) -> RunRecord:  # the first and the last snapshot are always in it
    "Read a run, and only a few of its snapshots: a long run has more than fit into memory."
    if isinstance(source, RunRecord):
        return source
    in_file = isinstance(source, (str, Path))
    if not in_file and not (isinstance(source, Iterable) and all(isinstance(e, Event) for e in source)):
        raise TypeError(
            f"the run must be given as its folder, a list of its events, or a RunRecord, got {reprlib.repr(source)}"
        )
    events = read_events(source, arrays=False) if in_file else list(source)
    # a resumed run announces itself again, and then reports everything from the start
    events = events[max((i for i, e in enumerate(events) if isinstance(e, RunStarted)), default=0) :]
    at = [e.epoch for e in events if isinstance(e, SnapshotTaken)] if snapshots else []
    wanted = nearest_snapshots(at, epochs) | ({0, len(at) - 1} if at else set())
    if in_file and wanted:  # a second pass, one snapshot in memory at a time
        events = follow_events(source, stop=lambda: True)
    record = _sorted(events, wanted)
    record.names = cluster_names(source) if in_file else {}
    return record


def _sorted(events: "Iterable[Event]", wanted: "set[int]") -> RunRecord:
    "The events by kind; of the snapshots those at the positions wanted."
    record, seen = RunRecord(), 0
    for event in events:
        if isinstance(event, RunStarted):
            record, seen = RunRecord(start=event), 0
        elif isinstance(event, SnapshotTaken):
            record.snapshots += [event] if seen in wanted else []
            seen += 1
        elif isinstance(event, RunFinished):
            record.end = event
        else:
            kinds = {StepDone: record.steps, EpochDone: record.epochs, Evaluated: record.evaluations}
            kinds[type(event)].append(event)
    return record


def nearest_snapshots(
    available: "Sequence[int]",  # epochs that have a snapshot, rising
    # epochs asked for; None: four, evenly spread, the first and the last among them
    epochs: "Sequence[int] | None" = None,
) -> "set[int]":  # positions in `available`
    "The snapshots nearest to the epochs asked for."
    if epochs is not None and not (
        isinstance(epochs, Iterable)
        and all(isinstance(e, (int, float, np.number)) and math.isfinite(e) for e in epochs)
    ):
        raise ValueError(f"epochs must be a list of numbers such as [0, 10, 20], got {epochs!r}")
    if not len(available):
        return set()
    if epochs is None:
        return {round(i * (len(available) - 1) / 3) for i in range(4)}
    return {int(np.abs(np.array(available) - epoch).argmin()) for epoch in epochs}


def cluster_names(
    folder: "str | Path",  # a run folder, or its events.jsonl
) -> "dict[int, str]":  # cluster -> name; empty if none has one
    'The names in a run\'s clusters.json, which looks like {"names": {"0": "cats"}}.'
    path = Path(folder)
    path = (path.parent if path.suffix == ".jsonl" else path) / "clusters.json"
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["names"]
        return {int(cluster): str(name) for cluster, name in names.items() if str(name).strip()}
    except FileNotFoundError:
        return {}
    # a picture without names is better than none
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s was not understood (%s: %s); clusters stay without names", path, type(error).__name__, error)
        return {}
