"""The paper's Figure 4, live: the features of the same images in two dimensions, snapshot after snapshot."""

import functools
import math
import threading
import time
from collections.abc import Iterable, Sequence

import numpy as np
import traitlets

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.events import Event, RunStarted, SnapshotTaken
from dcacn_nb.core.text import logger
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.report.figures.map import scatter_clusters
from dcacn_nb.report.maps import leading_components
from dcacn_nb.report.picture import Picture, empty_picture
from dcacn_nb.report.record import nearest_snapshots
from dcacn_nb.widgets.live import STATIC, LiveWidget, shown_name, sprite_sheet, widget_words
from dcacn_nb.widgets.map_film import Film, MapFrame
from dcacn_nb.widgets.projector import Projector, next_map, quantised, unit_map

log = logger(__name__)
METHODS = {"tsne": "t-SNE", "pca": "PCA"}
COLOR_BY = ("cluster", "last", "class", "confidence")
UNKNOWN = 65535  # the class of an image without a label
SHEET = 10_000  # pictures that are sent together; of more, those that are looked at are asked for
TILES = 256  # pictures in an answer
LARGE = 2**26  # bytes of features from which on only their leading components go to the helper
POINTS = 4_000_000  # points of all maps of a method together: what a browser is to hold
DRAWN = 10_000  # points in the printed picture


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


def _matrix(name: str, values: object, like: "np.ndarray | None" = None) -> np.ndarray:
    "Floating-point numbers (N,D), N >= 3, one row for each of `like`; not copied."
    whole = getattr(values, "whole", values)
    array = whole.detach().cpu().numpy() if hasattr(whole, "detach") else np.asarray(whole)
    n = len(array) if like is None else len(like)
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != n or n < 3:
        wanted = "(N,D) with N >= 3" if like is None else f"(N,K) with one row for each of {n} images"
        raise ValueError(f"{name} must be floating-point numbers {wanted}, got {array.dtype} of shape {array.shape}")
    return array


class MapViewer(LiveWidget):
    """t-SNE or PCA of the same images at every snapshot; points move and do not jump (the paper's Figure 4).

    With `features` and `probabilities` it is one map of a whole set, for example of a run on features:
    `MapViewer(features=features, probabilities=run.probabilities)`."""

    ESM = STATIC / "map.js"
    WORDS = widget_words("map")
    method = traitlets.Enum(tuple(METHODS), "tsne").tag(sync=True)
    color_by = traitlets.Enum(COLOR_BY, "cluster").tag(sync=True)
    selection = traitlets.List(traitlets.Int()).tag(sync=True)  # indices in the data set, set here or in the browser

    def __init__(
        self,
        run=None,  # a run of this kernel, or None: events come by calling the widget
        *,
        features: object = None,  # of a whole set instead: FeatureSet, or (N,D) array or tensor (may be memory-mapped)
        probabilities: object = None,  # (N,K) soft assignments of these images
        method: str = "tsne",  # map shown first; "pca": no t-SNE until someone chooses it
        every: int = 1,  # t-SNE of every n-th snapshot only
        max_points: "int | None" = None,  # images shown at most, evenly spaced; None: 10,000; of a whole set 100,000
        tsne_points: "int | None" = None,  # images that t-SNE is fitted to at most, evenly spaced; the others are
        # placed among them. None: 1,000; of a whole set 2,000
        labels: "Sequence[int] | None" = None,  # class of each image of the set, only for colouring
        class_names: "Sequence[str]" = (),  # their names
        color_by: str = "cluster",  # "cluster", "last" (cluster at the newest snapshot), "class" or "confidence"
        frames: int = 200,  # maps kept of each method at most, evenly spaced over the run; fewer of many points
        **kwargs,  # history, folder, lang: as for every widget
    ):
        self.projector, self._thread, self._closed, self._failures = Projector(), None, False, 0
        self._news, self._idle, self._pictures, self._names = threading.Event(), threading.Event(), None, {}
        check_in("method", method, METHODS)
        check_in("color_by", color_by, COLOR_BY)
        if (features is None) != (probabilities is None):
            raise ValueError("features and probabilities belong together: give both, or neither (a run has its own)")
        self._given = None if features is None else self._whole_set(features, probabilities)
        points, fitted = (10_000, 1000) if features is None else (100_000, 2000)
        self.max_points = check_int("max_points", points if max_points is None else max_points, 3)
        self.tsne_points = check_int("tsne_points", fitted if tsne_points is None else tsne_points, 3)
        self._every, self._limit = check_int("every", every, 1), check_int("frames", frames, 2)
        self.labels, self.class_names = _whole_labels(labels), [shown_name(name) for name in class_names]
        if color_by == "class" and labels is None:
            raise ValueError(
                'color_by "class" needs labels, got None; give labels=, the class of each image of the set'
            )
        self._methods, self._token = ("pca", "tsne") if method == "tsne" else ("pca",), 0
        self._begin(np.zeros(0, np.int64))
        super().__init__(run, method=method, color_by=color_by, **kwargs)

    def _whole_set(self, features: object, probabilities: object) -> "tuple[np.ndarray, np.ndarray]":
        "Features and assignments of a whole set, checked; its small pictures, if it has any, are shown."
        h = _matrix("features", features)
        if isinstance(features, FeatureSet) and features.images is not None:
            self._pictures = np.arange(len(h)), features.images
        return h, _matrix("probabilities", probabilities, h)

    def prepare(self) -> None:
        "Use what a shared history already holds, or the whole set; observe the choices."
        self.observe(lambda change: self._choose_method(), "method")
        self.observe(lambda change: setattr(self, "summary", self.describe()), ["color_by", "selection"])
        if self._given is not None:
            self.settled = True  # no run will end: the picture is left in the notebook as soon as it is made
            self._begin(np.arange(len(self._given[0])))
            self._add(0, *self._given)
            return
        for event in self.history.snapshots:
            self.update(event)

    def _begin(self, indices: np.ndarray) -> None:
        "Start a new film, of these images."
        self.indices = indices[:: max(1, math.ceil(len(indices) / self.max_points))]
        self._all, self._token = indices, self._token + 1
        limit = min(self._limit, max(2, POINTS // max(1, len(self.indices))))
        self.film = Film(self._methods, self._every, limit)
        self._sheet, self._making, self._problem, self._failures = None, None, None, 0
        self._idle.set()

    # ---- events
    def update(self, event: Event) -> None:
        "A snapshot waits for its maps; a new run empties the view."
        if self._given is not None:
            return
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
        self._add(event.epoch, event.arrays["h"], event.arrays["p"])

    def _add(self, epoch: int, h: np.ndarray, p: np.ndarray) -> None:
        "Features and assignments of which maps are to be made."
        step = max(1, math.ceil(len(self._all) / self.max_points))
        self.film.add(epoch, h[::step], p[::step])
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
            if self.history.end is not None or self._given is not None:  # no more snapshots: free the helper's 250 MB
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
        leading = functools.cache(lambda: leading_components(h, 50))  # once for both methods
        for method in methods:
            with self._lock:
                start, steps = film.start_of(frame, method)
                self._making = {"method": METHODS[method], "epoch": frame.epoch if self._given is None else None}
            self._post_state()
            points, explained = self._map(film, frame, method, h, leading, start, steps)
            with self._lock:
                if self._closed or film is not self.film:
                    return
                film.add_map(frame, method, points, explained)
                if points is not None:
                    message, buffers = self._message(frame, method)
                    self.post(buffers=buffers, **message)
                self.summary = self.describe()

    def _map(self, film, frame, method, h, leading, start, steps) -> "tuple[np.ndarray | None, float | None]":
        "One map; None if there is none, with the reason in `_problem`."
        try:
            if h.nbytes > LARGE:  # too much to copy to the helper
                h, shares = leading()
                if method == "pca":
                    return np.pad(h[:, :2], ((0, 0), (0, max(0, 2 - h.shape[1])))), float(shares[:2].sum())
            return self.projector.map(method, np.ascontiguousarray(h), start, steps, self.tsne_points)
        except ValueError as error:  # for example features that are not finite
            self._problem = "no_map", {"epoch": frame.epoch, "why": str(error)}
        except RuntimeError as error:
            self._failures += 1
            if method == "pca" and not self._closed:  # PCA is quick enough here
                return next_map(method, h, start)
            if self._failures < 2 and not self._closed:  # the helper may have been killed from outside
                return self._map(film, frame, method, h, leading, start, steps)
            if not self._closed:
                log.warning("no t-SNE: %s", error)
                self._problem, film.methods = ("no_helper", {"why": str(error)}), ("pca",)
        return None, None

    def _gather(self, film: Film) -> None:
        "Read the names of clusters and make the sheet of images, outside the training thread."
        self._names = self.named_clusters()
        if self._sheet is not None or self._pictures is None or len(self.indices) > SHEET:
            return
        images = self._pixels(self.indices)
        if len(images) < len(self.indices):
            return
        sheet = sprite_sheet(images, most=int(np.clip((10.5e6 / len(images)) ** 0.5, 16, 64)))
        with self._lock:
            if film is self.film:
                self._sheet = sheet
                self.post("sheet", buffers=[sheet[0]], **sheet[1])

    def _pixels(self, wanted: "Sequence[int] | np.ndarray") -> np.ndarray:  # (n,C,H,W) uint8
        "The pictures of some images of the set; those that are not here are left out."
        indices, images = self._pictures
        order = np.argsort(indices)
        rows = order[np.minimum(np.searchsorted(indices, wanted, sorter=order), len(order) - 1)]
        pixels = images[rows[indices[rows] == wanted].tolist()]
        return pixels.numpy() if hasattr(pixels, "numpy") else pixels

    # ---- messages
    def on_message(self, content: dict, buffers: list) -> None:
        "Send the pictures that are looked at."
        if content.get("kind") != "look" or self._pictures is None:
            return
        asked = [i for i in content.get("images", []) if isinstance(i, int)]
        for start in range(0, len(asked), TILES):
            part = np.intersect1d(asked[start : start + TILES], self._pictures[0])
            if len(part):
                sheet, layout = sprite_sheet(self._pixels(part), 64)
                self.post("tiles", [sheet], token=self._token, images=part.tolist(), files=None, layout=layout)

    def _start(self) -> "tuple[str, dict, list[bytes]]":
        "The sample: indices, classes, and the token of pictures that are to be asked for."
        labels = [] if self.labels is None else [self._classes().astype("<u2").tobytes()]
        return (
            "start",
            {
                "n": len(self.indices),
                "classes": self.class_names,
                "asked": self._token if self._pictures is not None and len(self.indices) > SHEET else None,
            },
            [self.indices.astype("<i4").tobytes(), *labels],
        )

    def _message(self, frame: MapFrame, method: str) -> "tuple[dict, list[bytes]]":
        "A map for the browser, and which maps of its method to keep."
        points, scale = quantised(frame.maps[method])
        confidence = np.round(255 * frame.confidence).astype(np.uint8)
        return {
            "kind": "map",
            "id": frame.number,
            "epoch": frame.epoch if self._given is None else None,
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
        frame = shown[-1]
        what = {
            "cluster": ("n_clusters", {"n": len(np.unique(frame.cluster))}),
            "confidence": ("mean_confidence", {"mean": float(frame.confidence.mean())}),
            "class": ("n_classes", {"n": len(np.unique(self._classes()))}),
        }["cluster" if self.color_by == "last" else self.color_by]
        text = self.text(
            "described" if self._given is None else "described_set",
            method=METHODS[self.method],
            n=self._count(),
            fitted=self._fitted(),
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

    def _count(self) -> str:
        "How many images there are in the map, and of how many."
        n, start = len(self.indices), self.history.start
        total = len(self._all) if start is None else start.n_images
        return self.text("n_of", n=f"{n:,}", total=f"{total:,}") if total > n else f"{n:,}"

    def _fitted(self) -> str:
        "How many of them t-SNE was fitted to, if not to all."
        n, every = len(self.indices), math.ceil(len(self.indices) / self.tsne_points)
        return self.text("fitted", n=f"{math.ceil(n / every):,}") if self.method == "tsne" and every > 1 else ""

    def _classes(self) -> np.ndarray:
        "The classes of the sample's images."
        classes = np.full(len(self.indices), UNKNOWN, np.uint16)
        if self.labels is not None:
            known = (self.indices >= 0) & (self.indices < len(self.labels))
            classes[known] = self.labels[self.indices[known]]
        return classes

    def figure(self) -> Picture:
        "Up to four maps, the first and last among them; colour and marker: the cluster at the last one, or the class."
        with self._lock:
            shown = self.film.mapped(self.method)
            frames = [shown[i] for i in sorted(nearest_snapshots([frame.epoch for frame in shown], None))]
        if not frames:
            return empty_picture(self.describe(), self.describe())
        by_class, rows = self.color_by == "class", slice(None, None, math.ceil(len(self.indices) / DRAWN))
        groups, names = (
            (self._classes(), dict(enumerate(self.class_names))) if by_class else (frames[-1].cluster, self._names)
        )
        maps = [unit_map(frame.maps[self.method])[rows] for frame in frames]
        limit = 1.05 * max(np.abs(points).max() for points in maps) or 1.0
        figure = Picture(figsize=(10.4, 3.2), layout="constrained")
        for i, (frame, points) in enumerate(zip(frames, maps)):
            axis = figure.add_subplot(1, len(frames), i + 1, xlim=(-limit, limit), ylim=(-limit, limit))
            scatter_clusters(axis, points, groups[rows], names if i == len(frames) - 1 else None)
            if self._given is None:
                axis.set_title(self.text("epoch_n", epoch=frame.epoch), fontsize=9)
        if (legend := figure.axes[-1].get_legend()) is not None:
            legend.set_title(self.text("class" if by_class else "cluster"))
        figure.alt = self.describe()
        if len(maps[0]) < len(self.indices):
            figure.alt += " " + self.text("drawn", n=f"{len(maps[0]):,}")
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
