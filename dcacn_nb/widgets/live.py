"""What all widgets have in common: they listen to a run, speak two languages, survive the end of the run, and are drawn by a browser."""

import html
import io
import logging
import math
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from IPython.display import display
from PIL import Image

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Event, RunFinished, RunStarted, StepDone
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.feed import Follower, History

logger = logging.getLogger(__name__)
LANGUAGES = ("en", "zh")
STATIC = Path(__file__).parent / "static"
COMMON_WORDS = {  # key -> (English, Chinese)
    "title": ("Widget", "组件"),
    "epoch": ("epoch", "轮次"),
    "epoch_n": ("epoch {epoch}", "第 {epoch} 轮"),
    "step": ("step", "步"),
    "cluster": ("cluster", "簇"),
    "cluster_n": ("cluster {k}", "簇 {k}"),
    "class": ("class", "类别"),
    "confidence": ("confidence", "置信度"),
    "image": ("image", "图像"),
    "waiting": ("Waiting for the run to begin.", "等待训练开始。"),
    "unreadable": ("The run can no longer be followed: {error}", "无法继续跟踪该训练：{error}"),
    "nothing": ("Nothing to show yet.", "暂无内容。"),
    "undo": ("Undo", "撤销"),
    "play": ("Play", "播放"),
    "pause": ("Pause", "暂停"),
    "reset_view": ("Reset view", "重置视图"),
}


def esm(
    *names: str,  # files of widgets/static, without .js; the last one defines `render<Name>`
) -> str:  # one ES module
    "The browser half of a widget: `common.js`, the files named, and the entry point."
    parts = [(STATIC / f"{name}.js").read_text(encoding="utf-8") for name in ("common", *names)]
    return "\n".join([*parts, f"export default live(render{names[-1].title().replace('_', '')});\n"])


def stylesheet() -> str:
    "The style all widgets share."
    return (STATIC / "live.css").read_text(encoding="utf-8")


def sprite_sheet(
    images: np.ndarray,  # (n,C,H,W) uint8, C = 1 or 3
    most: int = 64,  # longest side of a tile, pixels: larger images are shrunk
) -> "tuple[bytes, dict]":  # a PNG, and {"n", "columns", "width", "height"}: tiles, tiles in a row, size of a tile
    "All images in one PNG, row by row, each in a tile of the same size."
    n, channels, tall, wide = images.shape
    scale = min(1.0, most / max(tall, wide))
    width, height, columns = max(1, round(wide * scale)), max(1, round(tall * scale)), max(1, math.ceil(math.sqrt(n)))
    sheet = Image.new("L" if channels == 1 else "RGB", (columns * width, max(1, math.ceil(n / columns)) * height))
    for i, image in enumerate(images):
        tile = Image.fromarray(image[0] if channels == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        sheet.paste(
            tile if scale == 1 else tile.resize((width, height), Image.Resampling.BOX),
            (i % columns * width, i // columns * height),
        )
    file = io.BytesIO()
    sheet.save(file, "png", compress_level=1)
    return file.getvalue(), {"n": n, "columns": columns, "width": width, "height": height}


def float_bytes(values: "Sequence[float] | np.ndarray") -> bytes:
    "Numbers as little-endian float32, for a Float32Array."
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


class LiveWidget(anywidget.AnyWidget):
    "Base of all widgets: an observer of events with a view in the browser, two languages and a picture that lasts."

    NAMES: "tuple[str, ...]" = ()
    WORDS: dict = {}
    follower, run = None, None  # here too, so that a widget whose arguments were refused can be closed
    lang = traitlets.Enum(LANGUAGES, "en").tag(sync=True)
    words = traitlets.Dict().tag(sync=True)  # the texts in `lang`
    summary = traitlets.Unicode("").tag(sync=True)  # what is seen, in words
    key = traitlets.Unicode().tag(sync=True)  # names this widget in the page

    def __init_subclass__(cls, **kwargs):
        "Every subclass with files of its own gets its browser half."
        if "NAMES" in vars(cls) and cls.NAMES:
            cls._esm, cls._css = esm(*cls.NAMES), stylesheet()
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        run=None,  # a Run of this kernel (anything with .folder and .subscribe), or None: events come by calling the widget
        *,
        history: "History | None" = None,  # kept by somebody else, who also calls `update`; None: kept here
        folder: "str | Path | None" = None,  # of the run, where what belongs to it is kept (names of clusters, say); None: the run's own
        lang: str = "en",  # "en" or "zh"
        **traits,
    ):
        check_in("lang", lang, LANGUAGES)
        self._lock, self._handles, self._viewed, self._settled, self._told = threading.RLock(), [], False, False, 0.0
        folder = folder if folder is not None else getattr(run, "folder", None)
        self.run, self.folder = run, None if folder is None else Path(folder)
        self._ended, self._settling = False, threading.Lock()
        self._owns_history, self.history = history is None, history or History()
        self.follower: Follower | None = None
        super().__init__(lang=lang, words=self._texts(lang), key=uuid.uuid4().hex, **traits)
        self.prepare()
        self.summary = self.describe()
        self.on_msg(self._on_message)
        self.observe(lambda change: self._change_language(), "lang")
        if run is not None and self._owns_history:
            self.listen(run)

    @classmethod
    def attach(
        cls,
        folder: "str | Path",  # of a run: finished, going on in any process, or about to begin
        **kwargs,  # as for the class
    ) -> "LiveWidget":
        "A widget fed by a run's folder, from the first event on."
        if Path(folder).is_file():
            raise ValueError(
                f"folder must be the folder of a run, got the file {str(folder)!r}; give {str(Path(folder).parent)!r}"
            )
        widget = cls(folder=folder, **kwargs)
        widget.follow(folder)
        return widget

    def listen(self, run) -> None:
        "Get the events of a run of this kernel: all of them if it has a folder, else those from now on."
        if run.folder is not None:
            self.follow(run.folder)
        else:
            run.subscribe(self)

    def follow(self, folder: "str | Path") -> None:
        "Get all events of a run's folder."
        self.follower = Follower(folder, [self], self.lost)

    def lost(self, error: Exception) -> None:
        "The folder cannot be read any further: the summary says so."
        self.summary = self.say("unreadable", error=error)

    # ---- what subclasses fill in
    def prepare(self) -> None:
        "What must exist before the first event; the history, the run and the folder are there."

    def update(self, event: Event) -> None:
        "What an event changes; the history already holds it."

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "Messages that bring a new view up to date: (content with its kind, buffers)."
        return ()

    def figure(self) -> Picture:
        "The same as a printed picture."
        raise NotImplementedError(f"{type(self).__name__} has no printed picture")

    def describe(self) -> str:
        "The summary: what is seen, in words and figures, in the language of the widget."
        return self.say("nothing")

    def on_message(self, content: dict, buffers: list) -> None:
        "What a message from the browser asks for."

    # ---- what they can use
    def say(self, key: str, **values) -> str:
        "A text in the widget's language, with {name} filled in."
        pair = self.WORDS.get(key) or COMMON_WORDS[key]
        return pair[LANGUAGES.index(self.lang)].format(**values)

    def tell(self, kind: str, buffers: "Sequence[bytes]" = (), **content) -> None:
        "Send a message to all views, if there are any."
        if self._viewed:
            self.send({"kind": kind, **content}, buffers=list(buffers))

    # ---- how it works
    def __call__(self, event: Event) -> None:
        "Take in one event; the widget is an observer."
        if self._ended:
            return
        with self._lock:
            if self._owns_history:
                self.history(event)
            self.take(event)
        if isinstance(event, RunStarted):
            self._settled = False
        if isinstance(event, RunFinished):
            self.settle()

    def take(self, event: Event) -> None:
        "What an event changes, summary included; the history holds it already."
        self.update(event)
        if not isinstance(event, StepDone) or time.monotonic() - self._told > 0.25:  # nobody reads faster
            self.summary, self._told = self.describe(), time.monotonic()

    def _texts(self, lang: str) -> "dict[str, str]":
        "All texts in one language."
        return {key: pair[LANGUAGES.index(lang)] for key, pair in (COMMON_WORDS | self.WORDS).items()}

    def _change_language(self) -> None:
        "New texts and a new summary; the views build themselves anew."
        self.words = self._texts(self.lang)
        self.summary = self.describe()

    def _on_message(self, _, content: dict, buffers: list) -> None:
        "A view says hello, or asks for something."
        with self._lock:
            if content.get("kind") != "hello":
                self.on_message(content, buffers)
                return
            self._viewed = True
            for message, parts in self.backlog():
                self.send(message, buffers=list(parts))

    # ---- how it is shown, and what is left of it
    def _ipython_display_(self, **kwargs) -> None:
        "Show the widget where a picture can take its place later."
        if self._settled:
            handle = display(self._last(), raw=True, display_id=True)
        else:
            data, metadata = self._repr_mimebundle_()
            handle = display(data, metadata=metadata, raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)

    def settle(self) -> None:
        "Leave a picture and its text in the notebook; called when the run ends, and by hand before a notebook is saved in the middle of one."
        self._settled = True
        if self._handles:
            with self._settling:  # who draws last has seen most
                bundle = self._last()
                for handle in self._handles:
                    handle.update(bundle, raw=True)

    def lasting(
        self,
        **options,  # of Picture.html
    ) -> str:
        "The picture and its words as HTML."
        try:
            return self.figure().html(caption=self.summary, **options)
        except Exception:  # the end of a run must not fail over a picture
            logger.exception("the last picture of %s could not be drawn", type(self).__name__)
            return f"<p>{html.escape(self.summary)}</p>"

    def _last(self) -> dict:
        "The lasting form: the picture, and before it an empty place in which the widget goes on while the kernel lives."
        place = f'<div class="dcacn-place" data-dcacn="{self.key}"></div>'
        return {"text/html": f'{place}<div class="dcacn-last">{self.lasting()}</div>', "text/plain": self.summary}

    def save_figure(
        self,
        path: "str | Path",  # ends in .png, .svg or .pdf
    ) -> Path:
        "Write the printed picture, ready for a paper."
        with self._lock:
            return self.figure().save(path)

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all that a finished run has told is in the picture (at most `timeout` seconds); whether that is so."
        return self.follower is None or self.follower.wait(timeout) and self.follower.error is None

    def close(self) -> None:
        "End the widget: nothing is followed any more, and its views disappear."
        self._ended = True
        if self.follower is not None:
            self.follower.close()
        if hasattr(self.run, "unsubscribe"):
            self.run.unsubscribe(self)
        super().close()
