"""All widgets on one page, with the run's controls."""

import threading
from collections.abc import Sequence
from pathlib import Path

import traitlets

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import REASONS, Event, RunFinished
from dcacn_nb.core.files import inside
from dcacn_nb.core.text import logger
from dcacn_nb.report.picture import FORMATS
from dcacn_nb.widgets.attention import AttentionViewer
from dcacn_nb.widgets.clusters import ClusterBrowser
from dcacn_nb.widgets.crops import CropViewer
from dcacn_nb.widgets.curves import Curves
from dcacn_nb.widgets.health import ClusterHealth
from dcacn_nb.widgets.live import STATIC, LiveWidget, shown_name, widget_words
from dcacn_nb.widgets.map import MapViewer

log = logger(__name__)
PARTS = {
    "curves": Curves,
    "health": ClusterHealth,
    "map": MapViewer,
    "attention": AttentionViewer,
    "crops": CropViewer,
    "clusters": ClusterBrowser,
}


class Dashboard(LiveWidget):
    "The widgets of a run in tabs, with its controls, its progress and a button that saves figures."

    ESM = STATIC / "dashboard.js"
    WORDS = widget_words("dashboard")
    children: "dict[str, LiveWidget]" = {}  # tab -> widget; on the class too, for a dashboard with bad arguments
    state = traitlets.Dict().tag(sync=True)  # status, done, planned, epoch, epochs, left, controls, note
    parts = traitlets.Dict().tag(sync=True)  # tab -> reference to its widget
    name = traitlets.Unicode("").tag(sync=True)  # of the run
    tab = traitlets.Enum(tuple(PARTS), "curves").tag(sync=True)  # the open one

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the dashboard, or by `attach`
        *,
        labels: "Sequence[int] | None" = None,  # class of each image, to colour the map; None: those of the run
        class_names: "Sequence[str] | None" = None,  # their names; None: those of the run's images
        method: str = "tsne",  # map shown first; "pca": no t-SNE until someone chooses it
        every: int = 1,  # t-SNE of every n-th snapshot only
        **kwargs,  # lang, tab, folder, history: as for LiveWidget
    ):
        labels = labels if labels is not None else getattr(run, "labels", None)
        names = class_names if class_names is not None else getattr(getattr(run, "source", None), "class_names", None)
        self._map_options = {"labels": labels, "class_names": names or (), "method": method, "every": every}
        self._closed = threading.Event()
        super().__init__(run, **kwargs)

    def prepare(self) -> None:
        "Make the parts, which share the history, and watch the status of a run of this kernel."
        options = {name: self._map_options if name == "map" else {} for name in PARTS}
        self.children = {
            name: part(self.run, history=self.history, folder=self.folder, lang=self.lang, **options[name])
            for name, part in PARTS.items()
        }
        self.parts = {name: f"IPY_MODEL_{child.model_id}" for name, child in self.children.items()}
        self.name = "" if self.folder is None else shown_name(self.folder.name)
        self.broken: dict[str, str] = {}  # part -> why it was disabled
        self._unreadable: Exception | None = None  # why the folder can no longer be read
        self.state = self._state()
        if self.run is not None:
            threading.Thread(target=self._watch, name="dcacn-dashboard", daemon=True).start()

    # ---- events
    def update(self, event: Event) -> None:
        "Pass the event to every part; one that fails is disabled, and the others continue."
        for name, child in self.children.items():
            if name in self.broken:
                continue
            try:
                with child._lock:  # its view may be sending a message at this moment
                    child.handle(event)
            except Exception as error:  # whatever a part does, the run and the other parts continue
                log.exception("the part %r of the dashboard failed and was disabled", name)
                self.broken[name] = f"{type(error).__name__}: {error}"
                child.summary = self.text("part_failed", error=self.broken[name])
        self._show_state()
        if isinstance(event, RunFinished) and self._handles:
            threading.Thread(target=self._settle_late, name="dcacn-late", daemon=True).start()

    def _status(self) -> str:
        "The status of the run; what was asked for counts as begun."
        status, asked = self._run_status(), getattr(self.run, "asked", "")
        return {("running", "pause"): "pausing", ("running", "stop"): "stopping", ("paused", "stop"): "stopping"}.get(
            (status, asked), status
        )

    def _run_status(self) -> str:
        "The run's own status; for a run elsewhere, the status by its events."
        if self.run is not None:
            return self.run.status
        if self.history.end:
            return self.history.end.reason
        if self._unreadable is not None:
            return "unreadable"
        return "lost" if self.notice else "running" if self.history.start else "waiting"

    def _state(self) -> dict:
        "Everything that the controls show."
        start, (done, planned) = self.history.start, self.history.progress()
        status = self._status()
        return {
            "status": status,
            "done": done,
            "planned": planned,
            "epoch": self.history.epoch,
            "epochs": round(planned / max(1, start.steps_per_epoch)) if start else 0,
            "left": self.history.seconds_left(),
            "controls": self.run is not None,
            "note": self._note(status),
        }

    def _note(self, status: str) -> str:
        "The note beside the status."
        end, broken, lost = self.history.end, getattr(self.run, "error", None), self._unreadable
        if status == "failed":
            return end.message if end else f"{type(broken).__name__}: {broken}" if broken else ""
        if lost is not None:
            return self.text("unreadable", error=lost)
        return "" if self.run is not None or status in (*REASONS, "waiting", "lost") else self.text("elsewhere")

    def follow_lost(self, lost: bool) -> None:
        "Show in the controls that no process holds the run, or that one does again."
        super().follow_lost(lost)
        with self._lock:
            self.summary = self.describe()
            self._show_state()

    def follow_failed(self, error: Exception) -> None:
        "Show in the controls that the folder can no longer be read."
        self._unreadable = error
        super().follow_failed(error)
        with self._lock:
            self._show_state()

    def _show_state(self) -> None:
        "Send the state if it has changed."
        state = self._state()
        if state != self.state:
            self.state = state

    def _watch(self) -> None:
        "Show changes of status, which emit no event, until the run has ended."
        while not self._closed.wait(0.1):
            with self._lock:
                if self._status() != self.state["status"]:  # everything else changes with events only
                    self._show_state()
            if self._run_status() in REASONS:
                return

    # ---- the browser asks
    def on_message(self, content: dict, buffers: list) -> None:
        "Act on a button."
        kind = content.get("kind")
        if kind == "save":
            threading.Thread(
                target=self._save,
                args=(content.get("part"), content.get("format"), content.get("token")),
                name="dcacn-figure",
                daemon=True,
            ).start()
        elif kind in ("start", "pause", "resume", "stop") and self.run is not None:
            getattr(self.run, kind)()
            self._show_state()

    def _save(self, part: str, kind: str, token: "str | None") -> None:
        "Draw and write the picture of a tab; in a thread, since it takes a second."
        try:
            path = self.save_part(part, kind)
        except Exception as error:  # a thread has no caller: the page shows what went wrong
            log.exception("no figure was saved")
            self.post("failed", message=f"{type(error).__name__}: {error}", token=token)  # of the view that asked
        else:
            self.post("saved", [path.read_bytes()], path=str(path), name=path.name, format=kind, token=token)

    def save_part(
        self,
        part: str,  # a tab: "curves", "health", "map", "attention", "crops" or "clusters"
        kind: str = "png",  # or "svg", "pdf"
    ) -> Path:  # folder/figures/<part>-epoch<n>.<kind>; in the working directory if the run has no folder
        "Write a tab's picture, ready for a paper."
        check_in("part", part, PARTS)
        check_in("kind", kind, [suffix[1:] for suffix in FORMATS])
        home = self.folder or Path()
        file = inside(home, home / "figures" / f"{part}-epoch{self.history.epoch}.{kind}")
        file.parent.mkdir(exist_ok=True)  # never the run's folder itself: it may have been moved
        return self.children[part].save_figure(file)

    # ---- words and pictures
    def _change_language(self) -> None:
        "The parts change their language with the dashboard."
        for child in self.children.values():
            child.lang = self.lang
        super()._change_language()
        self.state = self._state()

    def describe(self) -> str:
        "The status of the run, and the summaries of curves and health."
        status = self._status()
        if status == "waiting":
            return self.text("waiting")
        place = self.text("after", status=self.text(f"is_{status}"), epoch=self.history.epoch)
        news = [self.notice] if status == "lost" else []
        return " ".join(
            [place, *news, *(self.children[name].summary for name in ("curves", "health") if name not in self.broken)]
        )

    def figure(self):
        "The picture of the open tab."
        return self.children[self.tab].figure()

    def lasting_html(self, **options) -> str:
        "The pictures of all tabs with their summaries: small, and for light pages only."
        options = {"most": 15_000, "dark": False, "small": True, "dpi": 90} | options
        return "".join(
            f"<h4>{self.text(f'tab_{name}')}</h4>{child.lasting_html(**options)}"
            for name, child in self.children.items()
        )

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until a finished run and its last map are shown (at most `timeout` seconds each). True if they are."
        done = super().wait(timeout) and self.children["map"].wait(timeout)
        if self.history.end is not None:
            self.settle()
        return done and self.history.end is not None

    def _settle_late(self) -> None:
        "Draw the pictures again when the last map is made, which is after the end of the run."
        if not self.children["map"].wait(0):
            self.children["map"].wait(600)
            if not self._closed.is_set():
                self.settle()

    def close(self) -> None:
        "Close the dashboard and its parts; the run continues."
        self._closed.set()
        for child in self.children.values():
            child.close()
        super().close()
