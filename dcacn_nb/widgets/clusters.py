"""The most and the least confident images of every cluster; names, merges and splits by hand, kept with the run."""

import threading
from pathlib import Path

import pandas as pd
import traitlets

from dcacn_nb.clusters.assigned import (
    AssignedImages,
    assigned_set,
    assigned_snapshots,
    assignments,
    csv_bytes,
    write_table,
)
from dcacn_nb.clusters.groups import LONGEST
from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import REASONS, Event, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.core.text import logger
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.report.figures.clusters import plot_clusters
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.clusters_arranged import ENDS, Arrangement
from dcacn_nb.widgets.clusters_edits import NO_CLUSTERS, EditsByHand
from dcacn_nb.widgets.clusters_found import FindsByFeatures
from dcacn_nb.widgets.clusters_saved import SavedGrouping
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.live import STATIC, LiveWidget, widget_words

log = logger(__name__)
TO_SEND = 20_000_000  # bytes of CSV sent to the browser


def _share(x: float) -> str:
    "A share in percent; small ones with one more digit."
    return f"{x:.0%}" if x >= 0.01 else f"{x:.1%}"


class ClusterBrowser(FindsByFeatures, EditsByHand, LiveWidget):
    "The images of each cluster, most confident first; names, merges and splits by hand, kept with the run."

    ESM = STATIC / "clusters.js"
    WORDS = widget_words("clusters")
    STORED = {"most": 34_000, "dark": False, "photo": True}  # photographs take much room, and any paper will do
    per_cluster = traitlets.Int(6).tag(sync=True)  # images shown at either end to begin with
    longest = traitlets.Int(LONGEST).tag(sync=True)  # characters of a name

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the widget
        *,
        images: object = None,  # a whole set instead: ImageSet, FeatureSet, array or tensor (may be memory-mapped)
        probabilities: object = None,  # (N,K) soft assignments of these images
        per_cluster: int = 6,  # images shown at either end, 1 to 24
        history: "History | None" = None,  # shared: its owner also calls `handle`; None: the widget keeps one
        folder: "str | Path | None" = None,  # of clusters.json and clusters.csv; None: the run's own
        lang: str = "en",  # "en" or "zh"
    ):
        check_int("per_cluster", per_cluster, 1, ENDS)
        if (images is None) != (probabilities is None):
            raise ValueError("images and probabilities belong together: give both, or neither (a run has its own)")
        self._given = None if images is None else assigned_set(images, probabilities)
        self.assigned: AssignedImages | None = None  # the images that are shown
        self._arrangement: Arrangement | None = None  # of these images, after all edits
        self._whole, self._loader = False, None  # all images of a run are here; the thread that reads them
        self._use_features(getattr(run, "source", None) if images is None else images)
        self._token, self._asking = 0, ""  # the set of pictures a browser may keep; the view that asks just now
        super().__init__(run, history=history, folder=folder, lang=lang, per_cluster=per_cluster)

    # ---- where images come from
    def prepare(self) -> None:
        "Show what is there from the beginning: a given set, or the snapshots of a history."
        self._saved = SavedGrouping(self.folder)
        if self._given is not None:
            self._whole = self.settled = True  # no run will end: the picture is left in the notebook at once
            self._show_images(self._given)
            return
        self._show_images(self._sample())
        if self.history.end is not None or (self.folder is None and getattr(self.run, "status", "") in REASONS):
            self._load_all()

    def update(self, event: Event) -> None:
        "A new snapshot brings new assignments; the end of a run of this kernel brings all its images."
        if self._given is not None:
            return
        if isinstance(event, RunStarted):
            self._whole, self.assigned = False, None
            self._publish()
        elif isinstance(event, SnapshotTaken) and not self._whole:
            self._show_images(self._sample())
        elif isinstance(event, RunFinished):
            self._load_all()

    def _sample(self) -> "AssignedImages | None":
        "The images of the snapshots."
        return assigned_snapshots(self.history.snapshots, self.history.start.n_images if self.history.start else 0)

    def _load_all(self) -> None:
        "Read all images of a finished run, in a thread: it may have to encode them first."
        if hasattr(self.run, "images"):
            self._loader = threading.Thread(target=self._read_run, name="dcacn-clusters", daemon=True)
            self._loader.start()

    def _read_run(self) -> None:
        "The thread's work. If a run has no usable assignments, the sample stays."
        try:
            if callable(getattr(self.run, "wait", None)):
                self.run.wait(60)
        except Exception:  # a failed run raises its error here; what it has done until then can be shown
            log.info("the run in the cluster browser has failed", exc_info=True)
        try:
            source = getattr(self.run, "source", None)  # files and small pictures; training had the tensor alone
            known = isinstance(source, (ImageSet, FeatureSet))
            assigned = assigned_set(source if known else self.run.images, self.run.probabilities)
        except Exception as error:
            log.warning("the cluster browser shows the sample only, not all images: %s", error)
            return
        with self._lock:
            self._whole = True
            self._show_images(assigned)
            self.summary = self.describe()

    def _show_images(self, assigned: "AssignedImages | None") -> None:
        "Show other images, or the same images in other clusters."
        if assigned is None:
            return
        if self.assigned is None or assigned.images is not self.assigned.images:
            self._token += 1  # the pictures that a browser holds belong to the old images
        self.assigned = assigned
        if self.grouping is None or self.grouping.n_clusters != assigned.n_clusters:
            self._saved.read(assigned.n_clusters)
        self._arrange()
        self._publish()

    def _arrange(self) -> None:
        "Sort the images into groups again."
        self._arrangement = Arrangement(self.assigned, self.grouping)

    # ---- results
    def table(self) -> pd.DataFrame:  # columns index, path (if there are files), cluster, group, name, confidence
        "One row per image that is shown: the network's cluster, and its group and name after all edits."
        if self._loader is not None:
            self._loader.join()
        with self._lock:
            return self._rows()

    def _rows(self) -> pd.DataFrame:
        "That table of the images that are here now."
        if self.assigned is None:
            raise ValueError(NO_CLUSTERS)
        groups = self.grouping.assign(self.assigned.indices, self.assigned.clusters)
        return assignments(self.assigned, groups, self._saved.names)

    def export(
        self,
        path: "str | Path | None" = None,  # ends in .csv; None: clusters.csv in the run's folder
    ) -> Path:  # the file
        "Write the table as CSV; names that a spreadsheet would run as formulas get an apostrophe in front."
        if path is None and self.folder is None:
            raise ValueError("path must be given, because there is no run folder: export('clusters.csv')")
        return write_table(self.table(), self.folder / "clusters.csv" if path is None else path)

    # ---- messages
    def _publish(self, said: str = "", made: "int | None" = None) -> None:
        "Send the present state to all views."
        if self._viewed:
            content, buffers = self._state()
            self.post(content.pop("kind"), buffers, **content, said=said, by=self._asking, made=made)

    def _state(self) -> "tuple[dict, list[bytes]]":
        "All groups with the images at their ends, and whether edits are saved."
        empty = {"groups": [], "undo": 0, "redo": 0, "n": 0, "k": 0}
        content, buffers = (empty, []) if self.assigned is None else self._arrangement.state()
        saved = {"damaged": False, "trouble": ""}
        if self.assigned is not None:
            saved = {"damaged": self._saved.damaged, "trouble": self._saved.problem}
        has = {"folder": self._saved.file is not None, "features": self._source is not None}
        has["files"] = self.assigned is not None and self.assigned.paths is not None
        return {"kind": "state", "token": self._token, **has, **saved, **content}, buffers

    def backlog(self):
        "The present state."
        said = self._refresh()
        content, buffers = self._state()
        yield {**content, "said": said, "by": "", "made": None}, buffers

    def on_message(self, content: dict, buffers: list) -> None:
        "Do what a person asks for; what cannot be done is answered in words."
        action = {
            "rename": lambda: self.rename(content["group"], content["name"]),
            "merge": lambda: self.merge(content["groups"]),
            "split": lambda: self.split(content["images"]),
            "move": lambda: self.move(content["images"], content["group"]),
            "apart": lambda: self.take_apart(content["group"]),
            "undo": self.undo,
            "redo": self.redo,
            "start_over": self.start_over,
            "members": lambda: self._send_members(content["group"], content["start"]),
            "tiles": lambda: self._send_tiles(content["images"]),
            "export": self._write_csv,
            "download": self._send_csv,
            "find": lambda: self.find(content["what"], content["images"]),
            "export_as": lambda: self.export_as(content["to"], content["images"]),
        }.get(content.get("kind"))
        self._asking = str(content.get("view", ""))
        try:
            if action is not None:
                action()
        except (ValueError, TypeError, KeyError, OSError) as error:
            self._publish(str(error))
        finally:
            self._asking = ""

    def _send_members(self, group: int, start: int) -> None:
        "One page of all images of a group."
        if self.assigned is not None:
            content, buffers = self._arrangement.page(group, start)
            self.post("members", buffers, view=self._asking, **content)

    def _send_tiles(self, images: "list[int]") -> None:
        "The pictures of some images."
        message = None if self.assigned is None else self._arrangement.tiles(images)
        if message is not None:
            self.post("tiles", message[1], token=self._token, **message[0])

    def _write_csv(self) -> None:
        "Write the table into the run's folder."
        if self.folder is not None:
            self._publish(self.text("did_export", file=write_table(self._rows(), self.folder / "clusters.csv")))

    def _send_csv(self) -> None:
        "Send the table for the browser to save."
        data = csv_bytes(self._rows())
        if len(data) > TO_SEND:
            raise ValueError(self.text("too_large"))
        self.post("csv", [data], view=self._asking, file="clusters.csv")

    # ---- in words, and for print
    def describe(self) -> str:
        "How many clusters, the largest and the smallest, what was edited by hand, and where that is kept."
        with self._lock:  # all images of a run come in another thread
            if self.assigned is None:
                return self.text("nothing" if self.history.start is not None else "waiting")
            return "".join([self._describe_sizes(), self._describe_edits()])

    def _describe_sizes(self) -> str:
        "How many images and clusters, the largest and the smallest."
        sizes = {group: len(members) for group, members in self._arrangement.members.items()}
        n, used = len(self.assigned.indices), {group: size for group, size in sizes.items() if size}
        counts = {"n": f"{n:,}", "groups": len(sizes), "named": len(self._saved.names)}
        if self.assigned.epoch is None:
            sentence = self.text("say_all", **counts)
        else:
            sentence = self.text("say_sample", epoch=self.assigned.epoch, total=f"{self.assigned.total:,}", **counts)
        if len(used) < len(sizes):
            sentence += self.text("say_empty", empty=len(sizes) - len(used))
        ends = {}
        for name, group in (("large", max(used, key=used.get)), ("small", min(used, key=used.get))):
            ends |= {name: self.label(group), f"{name}_size": f"{used[group]:,}"}
            ends[f"{name}_share"] = _share(used[group] / n)
        return sentence + self.text("say_ends", **ends)

    def _describe_edits(self) -> str:
        "What was moved by hand, and whether edits are saved."
        moved, sentence = len(self.grouping.moved), ""
        drifted = self.grouping.drifted(self.assigned.indices, self.assigned.clusters)
        if moved:
            sentence += self.text("say_moved", moved=f"{moved:,}")
        if drifted:
            sentence += self.text("say_drifted", drifted=f"{drifted:,}")
        if self._saved.problem:
            return sentence + self.text("say_unsaved", why=self._saved.problem.rstrip("."))
        return sentence + self.text("say_memory" if self._saved.file is None else "say_kept")

    def figure(self) -> Picture:
        "Both ends of every cluster, after all edits, with the names; of a large set, evenly spaced images of it."
        with self._lock:
            if self.assigned is None:
                return plot_clusters(self.history.events())
            return self._arrangement.picture(self._saved.names)

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all events and all images of a finished run have arrived (`timeout` seconds each). True if so."
        done = super().wait(timeout)
        if self._loader is not None:
            self._loader.join(timeout)
        return done and not (self._loader is not None and self._loader.is_alive())
