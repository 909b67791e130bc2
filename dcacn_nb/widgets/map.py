"""The paper's Figure 4, live: the features of the same images in two dimensions, snapshot after snapshot."""

import math
import threading
import time
from collections.abc import Iterable, Sequence

import numpy as np
import traitlets

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.events import Event, RunStarted, SnapshotTaken
from dcacn_nb.core.text import logger
from dcacn_nb.report.figures.map import scatter_clusters
from dcacn_nb.report.picture import Picture, empty_picture
from dcacn_nb.report.record import nearest_snapshots
from dcacn_nb.widgets.live import STATIC, LiveWidget, shown_name, sprite_sheet, widget_words
from dcacn_nb.widgets.map_film import Film, MapFrame
from dcacn_nb.widgets.projector import Projector, next_map, quantised, unit_map

log = logger(__name__)
METHODS = {"tsne": "t-SNE", "pca": "PCA"}
COLOR_BY = ("cluster", "last", "class", "confidence")
UNKNOWN = 65535  # the class of an image without a label


def _fits(event: SnapshotTaken) -> bool:
    "Whether a snapshot has features and assignments of at least three images."
    h, p = event.arrays.get("h"), event.arrays.get("p")
    return h is not None and p is not None and h.ndim == p.ndim == 2 and len(h) == len(p) == len(event.indices) > 2


def _whole_labels(labels: "Sequence[int] | np.ndarray | None") -> "np.ndarray | None":
    "Labels as uint16, for colouring."
    if labels is None:
        return None
    array = np.asarray(labels)
    if (
        array.ndim != 1
        or array.dtype.kind not in "iu"
        or (array.size and not (array.min() >= 0 and array.max() < UNKNOWN))
    ):
        raise ValueError(
            f"labels must be one whole number from 0 to {UNKNOWN - 1} for each image of the set, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.uint16)


class MapViewer(LiveWidget):
    "t-SNE or PCA of the same images at every snapshot; points move and do not jump (the paper's Figure 4)."

    ESM = STATIC / "map.js"
    WORDS = widget_words("map")
    method = traitlets.Enum(tuple(METHODS), "tsne").tag(sync=True)
    color_by = traitlets.Enum(COLOR_BY, "cluster").tag(sync=True)
    selection = traitlets.List(traitlets.Int()).tag(sync=True)  # indices in the data set, set here or in the browser

    def __init__(
        self,
        run=None,  # a run of this kernel, or None: events come by calling the widget
        *,
        method: str = "tsne",  # map shown first; "pca": no t-SNE until someone chooses it
        every: int = 1,  # t-SNE of every n-th snapshot only
        max_points: int = 10_000,  # images shown at most, evenly spaced among the snapshot's
        tsne_points: int = 1000,  # of these, images in a t-SNE at most; its time grows with them
        labels: "Sequence[int] | None" = None,  # class of each image of the set, only for colouring
        class_names: "Sequence[str]" = (),  # their names
        color_by: str = "cluster",  # "cluster", "last" (cluster at the newest snapshot), "class" or "confidence"
        frames: int = 200,  # maps kept of each method, evenly spaced over the run
        **kwargs,  # history, folder, lang: as for every widget
    ):
        self.projector, self._thread, self._closed, self._failures = Projector(), None, False, 0
        self._news, self._idle, self._pictures, self._names = threading.Event(), threading.Event(), None, {}
        check_in("method", method, METHODS)
        check_in("color_by", color_by, COLOR_BY)
        self.max_points, self.tsne_points = (
            check_int("max_points", max_points, 3),
            check_int("tsne_points", tsne_points, 3),
        )
        self._every, self._limit = check_int("every", every, 1), check_int("frames", frames, 2)
        self.labels, self.class_names = _whole_labels(labels), [shown_name(name) for name in class_names]
        if color_by == "class" and labels is None:
            raise ValueError(
                'color_by "class" needs labels, got None; give labels=, the class of each image of the set'
            )
        self._methods = ("pca", "tsne") if method == "tsne" else ("pca",)
        self._begin(np.zeros(0, np.int64))
        super().__init__(run, method=method, color_by=color_by, **kwargs)

    def prepare(self) -> None:
        "Use what a shared history already holds; observe the choices."
        self.observe(lambda change: self._choose_method(), "method")
        self.observe(lambda change: setattr(self, "summary", self.describe()), ["color_by", "selection"])
        for event in self.history.snapshots:
            self.update(event)

    def _begin(self, indices: np.ndarray) -> None:
        "Start a new film, of these images."
        self.indices = indices[:: max(1, math.ceil(len(indices) / self.max_points))]
        self._all, self._stride = indices, max(1, math.ceil(len(self.indices) / self.tsne_points))
        self.film = Film(self._methods, self._every, self._limit)
        self._sheet, self._making, self._problem, self._failures = None, None, None, 0
        self._idle.set()

    # ---- events
    def update(self, event: Event) -> None:
        "A snapshot waits for its maps; a new run empties the view."
        if isinstance(event, RunStarted):
            self._begin(np.zeros(0, np.int64))
            self._restart()
        if not isinstance(event, SnapshotTaken) or not _fits(event):
            return
        if not np.array_equal(event.indices, self._all):
            self._begin(event.indices)
            self._restart()
        if "images" in event.arrays:
            self._pictures = event.indices, event.arrays["images"]
        if self.film.count and event.epoch <= self.film.frames.last.epoch:  # received before
            return
        step = max(1, math.ceil(len(self._all) / self.max_points))
        self.film.add(event.epoch, event.arrays["h"][::step], event.arrays["p"][::step])
        self._wake()
        self._post_state()

    def _restart(self) -> None:
        "Make all views forget what they show."
        self.selection = []
        kind, content, buffers = self._start()
        self.post(kind, buffers, **content)

    def _wake(self) -> None:
        "Wake the thread that makes maps."
        self._idle.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="dcacn-maps", daemon=True)
            self._thread.start()
        self._news.set()

    # ---- maps
    def _work(self) -> None:
        "The thread's work: make maps while any are missing, then wait."
        while not self._closed:
            self._news.wait()
            self._news.clear()
            while (job := self._next_job()) is not None:
                self._make(*job)
            self._post_state()
            if self.history.end is not None:  # no more snapshots: free the helper's 250 MB
                self.projector.rest()
            if self.settled and not self._closed:  # the picture in the notebook lacks the last maps
                self.settle()
            with self._lock:
                if not self._news.is_set():
                    self._idle.set()

    def _next_job(self) -> "tuple[Film, MapFrame, np.ndarray, np.ndarray, list[str]] | None":
        "The maps to make next: film, frame, its features and assignments, and the methods."
        with self._lock:
            frame = None if self._closed else self.film.next_frame()
            if frame is None:
                self._making = None
                return None
            return self.film, frame, frame.h, frame.p, self.film.missing(frame)

    def _make(self, film: Film, frame: MapFrame, h: np.ndarray, p: np.ndarray, methods: "list[str]") -> None:
        "Make the maps of a frame, and show each."
        self._gather(film)
        frame.assign(p)
        for method in methods:
            with self._lock:
                start, steps = film.start_of(frame, method)
                self._making = {"method": METHODS[method], "epoch": frame.epoch}
            self._post_state()
            points, explained = self._map(
                film, frame, method, h[:: self._stride if method == "tsne" else 1], start, steps
            )
            with self._lock:
                if self._closed or film is not self.film:
                    return
                film.add_map(frame, method, points, explained)
                if points is not None:
                    message, buffers = self._message(frame, method)
                    self.post(buffers=buffers, **message)
                self.summary = self.describe()

    def _map(self, film, frame, method, h, start, steps) -> "tuple[np.ndarray | None, float | None]":
        "One map; None if there is none, with the reason in `_problem`."
        try:
            return self.projector.map(method, np.ascontiguousarray(h), start, steps)
        except ValueError as error:  # for example features that are not finite
            self._problem = "no_map", {"epoch": frame.epoch, "why": str(error)}
        except RuntimeError as error:
            self._failures += 1
            if method == "pca" and not self._closed:  # PCA is quick enough here
                return next_map(method, h, start)
            if self._failures < 2 and not self._closed:  # the helper may have been killed from outside
                return self._map(film, frame, method, h, start, steps)
            if not self._closed:
                log.warning("no t-SNE: %s", error)
                self._problem, film.methods = ("no_helper", {"why": str(error)}), ("pca",)
        return None, None

    def _gather(self, film: Film) -> None:
        "Read the names of clusters and make the sheet of images, outside the training thread."
        self._names = self.named_clusters()
        if self._sheet is not None or self._pictures is None:
            return
        indices, images = self._pictures
        row_of = {int(index): row for row, index in enumerate(indices)}
        rows = [row_of.get(int(index)) for index in self.indices]
        if None in rows:
            return
        sheet = sprite_sheet(images[rows], most=int(np.clip((10.5e6 / len(rows)) ** 0.5, 16, 64)))
        with self._lock:
            if film is self.film:
                self._sheet = sheet
                self.post("sheet", buffers=[sheet[0]], **sheet[1])

    # ---- messages
    def _start(self) -> "tuple[str, dict, list[bytes]]":
        "The sample: indices, strides, classes."
        labels = [] if self.labels is None else [self._classes().astype("<u2").tobytes()]
        return (
            "start",
            {"n": len(self.indices), "strides": {"pca": 1, "tsne": self._stride}, "classes": self.class_names},
            [self.indices.astype("<i4").tobytes(), *labels],
        )

    def _message(self, frame: MapFrame, method: str) -> "tuple[dict, list[bytes]]":
        "A map for the browser, and which maps of its method to keep."
        points, scale = quantised(frame.maps[method])
        confidence = np.round(255 * frame.confidence).astype(np.uint8)
        return {
            "kind": "map",
            "id": frame.number,
            "epoch": frame.epoch,
            "method": method,
            "scale": scale,
            "explained": frame.explained if method == "pca" else None,
            "keep": [other.number for other in self.film.mapped(method)],
        }, [points, frame.cluster.astype("<u2").tobytes(), confidence.tobytes()]

    def _state(self) -> dict:
        "What is being computed, what failed, and the names of clusters."
        problem = "" if self._problem is None else self.text(self._problem[0], **self._problem[1])
        return {
            "waiting": self.film.waiting,
            "making": self._making,
            "dropped": self.film.dropped,
            "problem": problem,
            "names": {str(k): name for k, name in self._names.items()},
        }

    def _post_state(self) -> None:
        "Send that state."
        with self._lock:
            self.post("state", **self._state())

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "The sample, its pictures, the state and all maps."
        kind, content, buffers = self._start()
        yield {"kind": kind, **content}, buffers
        if self._sheet is not None:
            yield {"kind": "sheet", **self._sheet[1]}, [self._sheet[0]]
        yield {"kind": "state", **self._state()}, []
        for method in METHODS:
            for frame in self.film.mapped(method):
                yield self._message(frame, method)

    # ---- selection, words and print
    @property
    def selected(self) -> np.ndarray:
        "(n,) int64 indices in the data set of the selected images."
        return np.array(self.selection, np.int64)

    def _choose_method(self) -> None:
        "Make t-SNE from now on if it was not made so far, the newest snapshot first."
        with self._lock:
            if self.method not in self._methods:
                self._methods = self.film.methods = ("pca", "tsne")
                if self.film.count:
                    self._wake()
            self.summary = self.describe()

    def describe(self) -> str:
        "Which map, of how many images, and what its colours mean."
        shown = self.film.mapped(self.method)
        if not shown:
            return (
                self.text("first_map", method=METHODS[self.method])
                if self.film.count
                else self.text("waiting_snapshot")
            )
        frame, rows = shown[-1], self._rows()
        what = {
            "cluster": ("n_clusters", {"n": len(np.unique(frame.cluster[rows]))}),
            "confidence": ("mean_confidence", {"mean": float(frame.confidence[rows].mean())}),
            "class": ("n_classes", {"n": len(np.unique(self._classes()[rows]))}),
        }["cluster" if self.color_by == "last" else self.color_by]
        text = self.text(
            "described",
            method=METHODS[self.method],
            n=len(frame.maps[self.method]),
            epoch=frame.epoch,
            i=frame.number + 1,
            count=self.film.count,
            what=self.text(what[0], **what[1]),
        )
        chosen = len(self.selection)
        return (
            text
            + (self.text("and") + self.text("selected_1" if chosen == 1 else "selected_n", n=chosen) if chosen else "")
            + self.text("stop")
        )

    def _classes(self) -> np.ndarray:
        "The classes of the sample's images."
        known = np.zeros(0, np.uint16) if self.labels is None else self.labels
        return np.array([known[i] if 0 <= i < len(known) else UNKNOWN for i in self.indices], np.uint16)

    def _rows(self) -> slice:
        "Which images of the sample the maps of the present method show."
        return slice(None, None, self._stride if self.method == "tsne" else 1)

    def figure(self) -> Picture:
        "Up to four maps, the first and last among them; colour and marker: the cluster at the last one, or the class."
        with self._lock:
            shown = self.film.mapped(self.method)
            frames = [shown[i] for i in sorted(nearest_snapshots([frame.epoch for frame in shown], None))]
        if not frames:
            return empty_picture(self.describe(), self.describe())
        by_class = self.color_by == "class"
        groups, names = (
            (self._classes(), dict(enumerate(self.class_names))) if by_class else (frames[-1].cluster, self._names)
        )
        maps = [unit_map(frame.maps[self.method]) for frame in frames]
        limit = 1.05 * max(np.abs(points).max() for points in maps) or 1.0
        figure = Picture(figsize=(10.4, 3.2), layout="constrained")
        for i, (frame, points) in enumerate(zip(frames, maps)):
            axis = figure.add_subplot(1, len(frames), i + 1, xlim=(-limit, limit), ylim=(-limit, limit))
            scatter_clusters(axis, points, groups[self._rows()], names if i == len(frames) - 1 else None)
            axis.set_title(self.text("epoch_n", epoch=frame.epoch), fontsize=9)
        if (legend := figure.axes[-1].get_legend()) is not None:
            legend.set_title(self.text("class" if by_class else "cluster"))
        figure.alt = self.describe()
        return figure

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all events of a finished run have arrived and are mapped (at most `timeout` seconds). True if so."
        end = None if timeout is None else time.monotonic() + timeout
        return super().wait(timeout) and self._idle.wait(None if end is None else max(0.0, end - time.monotonic()))

    def close(self) -> None:
        "Close the widget and its helper process."
        self._closed = True
        self._news.set()
        self.projector.close()
        super().close()
