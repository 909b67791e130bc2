"""The events of a run, sorted by kind: what every picture is drawn from."""

import math
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dcacn_nb.core.events import EpochDone, Evaluated, Event, HeadSet, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.core.files import read_json, user_path
from dcacn_nb.core.text import logger
from dcacn_nb.runs.log import read_chosen
from dcacn_nb.runs.thinned import ThinnedList

log = logger(__name__)
KEPT = 10_000  # events of a kind: more than any picture has pixels across


@dataclass
class RunRecord:
    "The events of one run, sorted by kind."

    start: "RunStarted | None" = None
    # of these three kinds at most KEPT each: a longer list is thinned evenly, and the newest is always in it
    steps: "list[StepDone]" = field(default_factory=list)
    epochs: "list[EpochDone]" = field(default_factory=list)
    evaluations: "list[Evaluated]" = field(default_factory=list)
    snapshots: "list[SnapshotTaken]" = field(default_factory=list)  # those that were asked for
    head_set: "HeadSet | None" = None  # when K-Means set the cluster head
    end: "RunFinished | None" = None
    seconds: float = 0.0  # that all epochs took together
    lost: int = 0  # snapshots that were asked for and cannot be read
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
    asked: set[int] = set()

    def choose(available: "Sequence[int]") -> "set[int]":
        asked.update(_wanted(available, epochs) if snapshots else ())
        return asked

    record = _sorted(read_chosen(source, choose) if in_file else source)  # type: ignore[arg-type]
    if not in_file:
        wanted = choose([event.epoch for event in record.snapshots])
        record.snapshots = [event for place, event in enumerate(record.snapshots) if place in wanted]
    record.lost = len(asked) - len(record.snapshots)
    record.names = cluster_names(source) if in_file else {}  # type: ignore[arg-type]
    return record


def _wanted(available: "Sequence[int]", epochs: "Sequence[int] | None") -> "set[int]":
    "The places of the snapshots nearest to some epochs, the first and the last of the run among them."
    return nearest_snapshots(available, epochs) | ({0, len(available) - 1} if len(available) else set())


def _sorted(events: "Iterable[Event]") -> RunRecord:
    "The events of the last start by kind: a resumed run announces itself again, and reports all from the start."
    record, kinds = RunRecord(), _kinds()
    for event in events:
        if isinstance(event, RunStarted):
            record, kinds = RunRecord(start=event), _kinds()
        elif isinstance(event, RunFinished):
            record.end = event
        elif isinstance(event, SnapshotTaken):
            record.snapshots.append(event)
        elif isinstance(event, HeadSet):
            record.head_set = event
        else:
            kinds[type(event)].append(event)
            if isinstance(event, EpochDone) and math.isfinite(event.seconds):
                record.seconds += event.seconds
    record.steps, record.epochs, record.evaluations = map(list, kinds.values())
    return record


def _kinds() -> "dict[type, ThinnedList]":
    "An empty list for each kind of which a run has many."
    return {kind: ThinnedList(KEPT) for kind in (StepDone, EpochDone, Evaluated)}


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
    path = user_path(folder)
    path = (path.parent if path.suffix == ".jsonl" else path) / "clusters.json"
    try:
        names = read_json(path)["names"]
        return {int(cluster): str(name) for cluster, name in names.items() if str(name).strip()}
    except FileNotFoundError:
        return {}
    # a picture without names is better than none
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s was not understood (%s: %s); clusters stay without names", path, type(error).__name__, error)
        return {}
