"""All widgets on one page, with the run's controls: what one opens in class, on a laptop, or on a server."""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import traitlets

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import REASONS, Event, RunFinished
from dcacn_nb.report.picture import FORMATS
from dcacn_nb.widgets.attention import AttentionViewer
from dcacn_nb.widgets.clusters import ClusterBrowser
from dcacn_nb.widgets.crops import CropViewer
from dcacn_nb.widgets.curves import Curves
from dcacn_nb.widgets.health import ClusterHealth
from dcacn_nb.widgets.live import LiveWidget
from dcacn_nb.widgets.map import MapViewer

logger = logging.getLogger(__name__)
PARTS = {
    "curves": Curves,
    "health": ClusterHealth,
    "map": MapViewer,
    "attention": AttentionViewer,
    "crops": CropViewer,
    "clusters": ClusterBrowser,
}
WORDS = {
    "title": ("Dashboard", "训练面板"),
    "controls": ("Controls of the run", "训练控制"),
    "progress": ("Progress of the run", "训练进度"),
    "start": ("Start", "开始"),
    "resume": ("Resume", "继续"),
    "stop": ("Stop", "停止"),
    "stop_hint": (
        "End after the step under way; a run with a folder keeps a checkpoint",
        "完成当前步后结束；有文件夹的训练会保存检查点",
    ),
    "tabs": ("Views of the run", "视图"),
    "tab_curves": ("Curves", "曲线"),
    "tab_health": ("Health", "健康度"),
    "tab_map": ("Map", "嵌入图"),
    "tab_attention": ("Attention", "注意力"),
    "tab_crops": ("Crops", "裁剪"),
    "tab_clusters": ("Clusters", "簇"),
    "language": ("Language", "语言"),
    "format": ("Format", "格式"),
    "save_figure": ("Save figure", "保存图片"),
    "saving": ("Drawing …", "正在绘制……"),
    "saved": ("Saved as {path}.", "已保存为 {path}。"),
    "download": ("Download", "下载"),
    "place": ("epoch {epoch} of {epochs} · {share} %", "第 {epoch}/{epochs} 轮 · {share} %"),
    "left": ("about {time} left", "约剩 {time}"),
    "s": ("s", "秒"),
    "min": ("min", "分"),
    "h": ("h", "小时"),
    "is_waiting": ("Waiting for the run", "等待训练"),
    "is_ready": ("Ready", "就绪"),
    "is_running": ("Training", "训练中"),
    "is_pausing": ("Pausing …", "正在暂停……"),
    "is_paused": ("Paused", "已暂停"),
    "is_stopping": ("Stopping …", "正在停止……"),
    "is_completed": ("Completed", "已完成"),
    "is_stopped": ("Stopped", "已停止"),
    "is_interrupted": ("Interrupted", "已中断"),
    "is_failed": ("Failed", "失败"),
    "elsewhere": (
        "This run belongs to another process: it is watched here, and stopped there (Ctrl-C saves it).",
        "该训练属于另一进程：此处仅可观察；请在其所在处停止（Ctrl-C 会保存）。",
    ),
    "gone": ("The kernel no longer has this view. Run the cell again.", "内核中已无此视图，请重新运行该单元格。"),
    "part_failed": ("This view failed and was left out: {error}", "该视图出错，已停用：{error}"),
    "after": ("{status} at epoch {epoch}.", "{status}（第 {epoch} 轮）。"),
}


class Dashboard(LiveWidget):
    "The widgets of a run in tabs, with its controls, its progress and a button that saves figures."

    NAMES = ("curves", "health", "map", "attention", "crops", "clusters", "dashboard")
    WORDS = WORDS
    children: "dict[str, LiveWidget]" = {}  # tab -> its widget; here too, so that a dashboard whose arguments were refused can be closed
    state = traitlets.Dict().tag(sync=True)  # status, done, planned, epoch, epochs, left, controls, note
    parts = traitlets.Dict().tag(sync=True)  # tab -> reference to its widget
    name = traitlets.Unicode("").tag(sync=True)  # of the run
    tab = traitlets.Enum(tuple(PARTS), "curves").tag(sync=True)  # the open one

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the dashboard, or by `attach`
        *,
        labels: "Sequence[int] | None" = None,  # class of each image, to colour the map by, if one wants that; None: those the run is scored with
        class_names: "Sequence[str] | None" = None,  # their names; None: those of the run's images
        method: str = "tsne",  # map shown first; "pca": no t-SNE unless somebody asks for it
        every: int = 1,  # t-SNE of every n-th snapshot only
        **kwargs,  # lang, tab, folder, history: as for LiveWidget
    ):
        labels = labels if labels is not None else getattr(run, "labels", None)
        names = class_names if class_names is not None else getattr(getattr(run, "images", None), "class_names", None)
        self._map_options = {"labels": labels, "class_names": names or (), "method": method, "every": every}
        self._closed = threading.Event()
        super().__init__(run, **kwargs)

    def prepare(self) -> None:
        "The parts, which share the history, and a thread that watches the status of a run of this kernel."
        options = {name: self._map_options if name == "map" else {} for name in PARTS}
        self.children = {
            name: part(self.run, history=self.history, folder=self.folder, lang=self.lang, **options[name])
            for name, part in PARTS.items()
        }
        self.parts = {name: f"IPY_MODEL_{child.model_id}" for name, child in self.children.items()}
        self.name = "" if self.folder is None else self.folder.name
        self.broken: dict[str, str] = {}  # part -> why it was left out
        self._unreadable: Exception | None = (
            None  # why a folder cannot be read any further; may be told before the follower is known here
        )
        self.state = self._state()
        if self.run is not None:
            threading.Thread(target=self._watch, name="dcacn-dashboard", daemon=True).start()

    # ---- events
    def update(self, event: Event) -> None:
        "Hand the event to every part; one that fails is left out, and the others go on."
        for name, child in self.children.items():
            if name in self.broken:
                continue
            try:
                with child._lock:  # its view may be asking at this moment
                    child.take(event)
            except Exception as error:  # whatever a part does, the run and the other parts go on
                logger.exception("the part %r of the dashboard failed and was left out", name)
                self.broken[name] = f"{type(error).__name__}: {error}"
                child.summary = self.say("part_failed", error=self.broken[name])
        self._show_state()
        if isinstance(event, RunFinished) and self._handles:
            threading.Thread(target=self._settle_late, name="dcacn-late", daemon=True).start()

    def _status(self) -> str:
        "What the run does just now; what was asked for counts as begun."
        status, asked = self._run_status(), getattr(self.run, "asked", "")
        return {("running", "pause"): "pausing", ("running", "stop"): "stopping", ("paused", "stop"): "stopping"}.get(
            (status, asked), status
        )

    def _run_status(self) -> str:
        "The run's own word for it; for a run elsewhere, what its events tell."
        if self.run is not None:
            return self.run.status
        return self.history.end.reason if self.history.end else "running" if self.history.start else "waiting"

    def _state(self) -> dict:
        "All that the controls show."
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
        "What the controls have to say beside the status."
        end, broken, lost = self.history.end, getattr(self.run, "error", None), self._unreadable
        if status == "failed":
            return end.message if end else f"{type(broken).__name__}: {broken}" if broken else ""
        if lost is not None:
            return self.say("unreadable", error=lost)
        return "" if self.run is not None or status in (*REASONS, "waiting") else self.say("elsewhere")

    def lost(self, error: Exception) -> None:
        "The folder cannot be read any further: the controls say so."
        self._unreadable = error
        super().lost(error)
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
                if self._status() != self.state["status"]:  # all else changes with events only
                    self._show_state()
            if self._run_status() in REASONS:
                return

    # ---- the browser asks
    def on_message(self, content: dict, buffers: list) -> None:
        "A button was pressed."
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
        "Draw the picture of a tab and write it; in a thread, because that takes a second and other buttons must not wait for it."
        try:
            path = self.save_part(part, kind)
        except Exception as error:  # the page says what went wrong; nobody else is there to hear it
            logger.exception("no figure was saved")
            self.tell(
                "failed", message=f"{type(error).__name__}: {error}", token=token
            )  # of the view that asked: there may be several
        else:
            self.tell("saved", [path.read_bytes()], path=str(path), name=path.name, format=kind, token=token)

    def save_part(
        self,
        part: str,  # a tab: "curves", "health", "map", "attention", "crops" or "clusters"
        kind: str = "png",  # or "svg", "pdf"
    ) -> Path:  # folder/figures/<part>-epoch<n>.<kind>; in the working directory if the run has no folder
        "Write a tab's picture, ready for a paper."
        check_in("part", part, PARTS)
        check_in("kind", kind, [suffix[1:] for suffix in FORMATS])
        folder = (self.folder or Path()) / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        return self.children[part].save_figure(folder / f"{part}-epoch{self.history.epoch}.{kind}")

    # ---- words and pictures
    def _change_language(self) -> None:
        "The parts speak as the dashboard does."
        for child in self.children.values():
            child.lang = self.lang
        super()._change_language()
        self.state = self._state()

    def describe(self) -> str:
        "Where the run is, and what the curves and the health say."
        status = self._status()
        if status == "waiting":
            return self.say("waiting")
        place = self.say("after", status=self.say(f"is_{status}"), epoch=self.history.epoch)
        return " ".join(
            [place, *(self.children[name].summary for name in ("curves", "health") if name not in self.broken)]
        )

    def figure(self):
        "The picture of the open tab."
        return self.children[self.tab].figure()

    def lasting(self, **options) -> str:
        "The picture of every tab, each with its words; six at once, so they are small, and on light paper alone."
        options = {"most": 11_000, "dark": False} | options
        return "".join(
            f"<h4>{self.say(f'tab_{name}')}</h4>{child.lasting(**options)}" for name, child in self.children.items()
        )

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until a finished run is in the pictures, the last map included (at most `timeout` seconds for each of the two); whether that is so."
        done = super().wait(timeout) and self.children["map"].wait(timeout)
        if self.history.end is not None:
            self.settle()
        return done and self.history.end is not None

    def _settle_late(self) -> None:
        "The last map comes after the end of the run: then the pictures are drawn once more."
        if not self.children["map"].wait(0):
            self.children["map"].wait(600)
            if not self._closed.is_set():
                self.settle()

    def close(self) -> None:
        "End the dashboard and its parts; the run goes on."
        self._closed.set()
        for child in self.children.values():
            child.close()
        super().close()
