"""The snapshots of a run and their maps, in bounded memory, and the order in which maps are made."""

from dataclasses import dataclass, field

import numpy as np

from dcacn_nb.runs.thinned import ThinnedList


@dataclass(eq=False)
class MapFrame:
    "A snapshot and its maps."

    number: int  # of the snapshot in the run, from 0
    epoch: int
    h: "np.ndarray | None"  # (N,D) features, until they are no longer needed
    p: "np.ndarray | None"  # (N,K) assignments, likewise
    cluster: "np.ndarray | None" = None  # (N,) uint16
    confidence: "np.ndarray | None" = None  # (N,) float32, the largest p of each row
    maps: "dict[str, np.ndarray]" = field(default_factory=dict)  # method -> points (N,2)
    explained: "float | None" = None  # PCA: share of the variance
    failed: "set[str]" = field(default_factory=set)  # methods that have no map of these features

    def assign(
        self,
        p: np.ndarray,  # (N,K) assignments
    ) -> None:
        "Keep clusters and confidences."
        p = np.nan_to_num(p)
        self.cluster, self.confidence = p.argmax(1).astype(np.uint16), p.max(1).astype(np.float32)


def _bytes(frame: MapFrame) -> int:
    "Memory that a frame's features hold; a strided view of a matrix holds the whole matrix."
    return sum((array if array.base is None else array.base).nbytes for array in (frame.h, frame.p))


class Film:
    "The frames of a run in bounded memory; says which maps to make next, and where each starts."

    def __init__(
        self,
        methods: "tuple[str, ...]" = ("pca", "tsne"),  # maps to make of a frame, in this order
        every: int = 1,  # t-SNE of every n-th snapshot only, >= 1
        limit: int = 200,  # frames kept besides the newest, evenly spaced
        budget: int = 128 << 20,  # bytes of features that may wait
    ):
        self.methods, self.every, self.budget = methods, every, budget
        self.frames, self.count, self.dropped = ThinnedList(limit), 0, 0

    def add(
        self,
        epoch: int,  # epochs done
        h: np.ndarray,  # (N,D) features; kept as they are, not copied
        p: np.ndarray,  # (N,K) assignments
    ) -> MapFrame:
        "Add a snapshot."
        last = self.frames.last
        frame = MapFrame(self.count, epoch, h, p)
        self.frames.append(frame)
        self.count += 1
        if last is not None:
            self._release(last)
        self._thin()
        return frame

    def missing(self, frame: MapFrame) -> "list[str]":
        "The methods whose maps of a frame are still to be made."
        if frame.h is None:
            return []
        return [
            method
            for method in self.methods
            if method not in frame.maps
            and method not in frame.failed
            and (method != "tsne" or frame.number % self.every == 0)
        ]

    def _release(self, frame: MapFrame) -> None:
        "Free features that no map needs; those of the newest frame stay, in case another method is asked for."
        if frame is not self.frames.last and not self.missing(frame):
            frame.h = frame.p = None

    def _thin(self) -> None:
        "Drop every second waiting frame, never the newest, until the rest fits the budget."
        while True:
            waiting = [frame for frame in self.frames if frame is not self.frames.last and self.missing(frame)]
            if not waiting or sum(map(_bytes, waiting)) <= self.budget:
                return
            for frame in waiting[len(waiting) % 2 == 0 :: 2]:
                frame.h = frame.p = None
                self.dropped += 1

    def next_frame(self) -> "MapFrame | None":  # None: all maps are made
        "The frame to map next: the first, then the newest, then the middle of the widest gap."
        frames = list(self.frames)
        todo = [frame for frame in frames if self.missing(frame)]
        made = [frame.number for frame in frames if frame.maps]
        if not todo:
            return None
        if not made:
            return todo[0]
        if todo[-1] is frames[-1]:
            return todo[-1]
        distance = np.abs(np.subtract.outer([frame.number for frame in todo], made)).min(1)
        return todo[int(distance.argmax())]

    def start_of(
        self,
        frame: MapFrame,  # about to get a map
        method: str,  # "pca" or "tsne"
    ) -> "tuple[np.ndarray | None, int | None]":  # where the map starts, and steps of t-SNE; None: from scratch
        "The map before it, or the place between two neighbours; more steps if they are farther away."
        mapped = [
            other
            for other in self.frames
            if other is not frame and method in other.maps and np.ptp(other.maps[method]) > 0
        ]
        before = [other for other in mapped if other.number < frame.number][-1:]
        after = [other for other in mapped if other.number > frame.number][:1]
        near = before + after
        if not near:
            return None, None
        steps = 100 * min([3, *(abs(other.number - frame.number) for other in near)])
        w = (frame.number - near[0].number) / (near[-1].number - near[0].number) if len(near) == 2 else 0
        return (1 - w) * near[0].maps[method] + w * near[-1].maps[method], steps

    def add_map(
        self,
        frame: MapFrame,  # of this film
        method: str,  # "pca" or "tsne"
        points: "np.ndarray | None",  # (N,2); None: these features have no map
        explained: "float | None" = None,  # PCA: share of the variance
    ) -> None:
        "Keep a map that has been made."
        if points is None:
            frame.failed.add(method)
        else:
            frame.maps[method] = points
            frame.explained = explained if method == "pca" else frame.explained
        self._release(frame)

    def mapped(self, method: str) -> "list[MapFrame]":
        "The frames that have a map, in the order of the run."
        return [frame for frame in self.frames if method in frame.maps]

    @property
    def waiting(self) -> int:
        "How many frames still lack a map."
        return sum(bool(self.missing(frame)) for frame in self.frames)
