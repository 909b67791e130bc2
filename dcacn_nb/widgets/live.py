"""The base of all widgets: follows a run, speaks two languages, leaves a picture behind, is drawn by a browser."""

import html
import io
import math
import shlex
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
from dcacn_nb.core.files import user_path
from dcacn_nb.core.text import logger, printable
from dcacn_nb.core.words import LANGUAGES, load_words
from dcacn_nb.report.picture import Picture
from dcacn_nb.report.record import cluster_names
from dcacn_nb.widgets.feed import Follower, History
from dcacn_nb.widgets.modules import bundle

log = logger(__name__)
STATIC = Path(__file__).parent / "static"
LONGEST, LONGEST_VALUE = 60, 1000  # characters of a name from outside; of any value within a text
FIRST_PICTURE, NEXT_PICTURE = 5.0, 20.0  # seconds of a run before a picture of it is kept, and until the next one


def widget_words(
    section: str,  # of the files in widgets/words: a widget's name, or "common"
) -> "dict[str, dict[str, str]]":  # language -> key -> text
    "The texts of one widget in all languages."
    return {lang: load_words(Path(__file__).parent / "words", lang)[section] for lang in LANGUAGES}


COMMON_WORDS = widget_words("common")


def esm(
    source: "Path | str",  # a file, or the text of a module whose imports are files of widgets/static
) -> str:  # one ES module
    "The browser half of a widget: a module and all that it imports."
    if isinstance(source, Path):
        return bundle(source.parent, source.stem)
    return bundle(STATIC, "widget", source)


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


def shown_name(
    name: object,  # of a class, a cluster, a file or a folder: whatever someone else has written
) -> str:  # one line without control characters
    "A name from outside as a page shows it."
    line = printable(" ".join(str(name).split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def float_bytes(values: "Sequence[float] | np.ndarray") -> bytes:
    "Numbers as little-endian float32, for a Float32Array."
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


class LiveWidget(anywidget.AnyWidget):
    "Base of all widgets: an observer of events with a view in the browser, two languages and a lasting picture."

    ESM: "Path | str" = ""  # the browser half: a file, or an ES module as text, which may import from `static/`
    STORED: "dict" = {"most": 18_000}  # of Picture.html: bounds what one widget adds to a notebook to about 50 kB
    WORDS: "dict[str, dict[str, str]]" = {}  # language -> key -> text; COMMON_WORDS are there without being named
    follower, run = None, None  # on the class too, so that a widget with bad arguments can be closed
    lang = traitlets.Enum(LANGUAGES, "en").tag(sync=True)
    words = traitlets.Dict().tag(sync=True)  # the texts in `lang`
    summary = traitlets.Unicode("").tag(sync=True)  # a text alternative: what the picture shows
    notice = traitlets.Unicode("").tag(sync=True)  # a line above the widget, when no process holds its run any more
    settled = traitlets.Bool(False).tag(sync=True)  # the picture in the notebook shows the end
    key = traitlets.Unicode().tag(sync=True)  # identifies this widget in the page

    def __init_subclass__(cls, **kwargs):
        "A subclass with an ES module gets its browser half."
        if vars(cls).get("ESM"):
            cls._esm, cls._css = esm(cls.ESM), stylesheet()
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        run=None,  # a Run of this kernel (.folder and .subscribe), or None: events come by calling the widget
        *,
        history: "History | None" = None,  # shared: its owner also calls `handle`; None: the widget keeps one
        folder: "str | Path | None" = None,  # of the run, where names of clusters are; None: that of `run`
        lang: str = "en",  # "en" or "zh"
        **traits,
    ):
        check_in("lang", lang, LANGUAGES)
        self._lock, self._described_at, self._viewed = threading.RLock(), 0.0, False
        self._places: list = []  # the outputs that hold the widget itself, and no place for it yet
        self._handles: list = []  # the outputs below them, which hold the picture
        self._held, self._waits, self._picture_due = False, False, 0.0
        folder = folder if folder is not None else getattr(run, "folder", None)
        self.run, self.folder = run, None if folder is None else user_path(folder)
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
        folder: "str | Path",  # of a run: finished, running in any process, or about to begin
        **kwargs,  # as for the class
    ) -> "LiveWidget":
        "A widget that follows a run's folder from the first event on."
        folder = user_path(folder)
        if folder.is_file():
            raise ValueError(
                f"folder must be the folder of a run, got the file {str(folder)!r}; give {str(folder.parent)!r}"
            )
        widget = cls(folder=folder, **kwargs)
        widget.follow(folder)
        return widget

    def listen(self, run) -> None:
        "Receive the events of a run of this kernel: all of them if it has a folder, else those from now on."
        if run.folder is not None:
            self.follow(run.folder)
        else:
            run.subscribe(self)

    def follow(self, folder: "str | Path") -> None:
        "Receive all events of a run's folder."
        self.follower = Follower(folder, [self], self.follow_failed, self.follow_lost)

    def follow_lost(self, lost: bool) -> None:
        "Say that no process holds the run, which has not ended; or take that back when it was resumed."
        self.notice = self.text("lost", command=f"dcacn resume {shlex.quote(str(self.folder))}") if lost else ""
        self._keep_picture()

    def follow_failed(self, error: Exception) -> None:
        "Say in the summary that the folder can no longer be read."
        self.summary = self.text("unreadable", error=error)

    # ---- what subclasses define
    def prepare(self) -> None:
        "Set up what must exist before the first event; history, run and folder are known."

    def update(self, event: Event) -> None:
        "React to an event; the history already holds it."

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "The messages that bring a new view up to date: (content with its kind, buffers)."
        return ()

    def figure(self) -> Picture:
        "The view as a picture for print."
        raise NotImplementedError(f"{type(self).__name__} has no printed picture")

    def describe(self) -> str:
        "The summary: what the view shows, in words and numbers, in the widget's language."
        return self.text("nothing")

    def on_message(self, content: dict, buffers: list) -> None:
        "Answer a message from the browser."

    # ---- what they can use
    def text(self, key: str, **values) -> str:
        "A text in the widget's language, with {name} filled in."
        clean = {
            name: printable(str(value))[:LONGEST_VALUE] if isinstance(value, (str, Path, Exception)) else value
            for name, value in values.items()
        }
        return self._texts(self.lang)[key].format(**clean)

    def named_clusters(self) -> "dict[int, str]":
        "Names given to clusters by hand, from the run's folder."
        found = {} if self.folder is None else cluster_names(self.folder)
        return {cluster: shown_name(name) for cluster, name in found.items()}

    def post(self, kind: str, buffers: "Sequence[bytes]" = (), **content) -> None:
        "Send a message to all views, if there are any."
        if self._viewed:
            self.send({"kind": kind, **content}, buffers=list(buffers))

    # ---- how it works
    def __call__(self, event: Event) -> None:
        "Receive one event: the widget is an observer."
        if self._ended:
            return
        with self._lock:
            if self._owns_history:
                self.history(event)
            self.handle(event)
        if isinstance(event, RunStarted):
            self.settled = False
        if isinstance(event, RunFinished):
            self.settle()
        else:
            self._keep_picture()

    def handle(self, event: Event) -> None:
        "React to an event and renew the summary; the history already holds it."
        self.update(event)
        if not isinstance(event, StepDone) or time.monotonic() - self._described_at > 0.25:  # faster than anyone reads
            self.summary, self._described_at = self.describe(), time.monotonic()

    def _texts(self, lang: str) -> "dict[str, str]":
        "All texts in one language."
        return COMMON_WORDS[lang] | self.WORDS.get(lang, {})

    def _change_language(self) -> None:
        "New texts and a new summary; the views rebuild themselves."
        self.words = self._texts(self.lang)
        self.summary = self.describe()

    def _on_message(self, _, content: dict, buffers: list) -> None:
        "Answer a new view with the backlog, and any other message by `on_message`."
        with self._lock:
            if content.get("kind") != "hello":
                self.on_message(content, buffers)
                return
            self._viewed = True
            for message, parts in self.backlog():
                self.send(message, buffers=list(parts))
            if content.get("holds") and not self._held:
                self._held = True
                self._show_places()

    # ---- how it is shown, and what stays in the notebook
    def _ipython_display_(self, **kwargs) -> None:
        "Show the widget in one output, and keep another one below it for its picture."
        data, metadata = (self._place_bundle(), {}) if self.settled else self._repr_mimebundle_()
        picture = self._lasting_bundle() if self.settled else {"text/html": "", "text/plain": ""}
        place = display(data, metadata=metadata, raw=True, display_id=True)
        handle = display(picture, raw=True, display_id=True)
        if place is not None and handle is not None:
            self._places += [] if self.settled else [place]
            self._handles.append(handle)
        self._picture_due = time.monotonic() + FIRST_PICTURE

    def _show_places(self) -> None:
        """Put empty places where the widget is shown: in a page that can hold it, it continues there at once.

        A notebook saved from now on names no widget, which nothing but this kernel could show."""
        while self._places:
            self._places.pop().update(self._place_bundle(), raw=True)
        self._keep_picture()

    def settle(self) -> None:
        "Leave a picture and its text in the notebook. A run calls it at its end; call it to save a notebook earlier."
        self.settled = True
        if self._handles:
            with self._settling:  # the last to draw has the latest state
                bundle = self._lasting_bundle()
                for handle in self._handles:
                    handle.update(bundle, raw=True)
            self._show_places()

    def _keep_picture(self) -> None:
        "Soon renew the picture in the notebook, so that one saved before the end of the run shows how far it was."
        if self._held and self._handles and not self._waits and not self.settled:
            self._waits = True
            timer = threading.Timer(max(0.0, self._picture_due - time.monotonic()), self._renew_picture)
            timer.name, timer.daemon = "dcacn-picture", True
            timer.start()

    def _renew_picture(self) -> None:
        "Draw that picture; the next one comes so late that drawing takes a fiftieth of the time at most."
        began, self._waits = time.monotonic(), False
        with self._settling:
            if not self.settled and not self._ended:
                with self._lock:
                    self.summary = self.describe()  # of several reports in a moment, the last ones were left out
                bundle = self._lasting_bundle()
                for handle in self._handles:
                    handle.update(bundle, raw=True)
        self._picture_due = time.monotonic() + max(NEXT_PICTURE, 50 * (time.monotonic() - began))

    def lasting_html(
        self,
        **options,  # of Picture.html
    ) -> str:
        "The picture and its summary as HTML."
        try:
            return self.figure().html(caption=self.summary, **self.STORED | options)
        except Exception:  # the end of a run must not fail over a picture
            log.exception("the last picture of %s could not be drawn", type(self).__name__)
            return f"<p>{html.escape(self.summary)}</p>"

    def _place_bundle(self) -> dict:
        "An empty element, in which the live widget continues while the kernel runs."
        return {"text/html": f'<div class="dcacn-place" data-dcacn="{self.key}"></div>', "text/plain": ""}

    def _lasting_bundle(self) -> dict:
        "The picture; a page hides it while the live widget is in its place."
        said = f'<p class="dcacn-kernel">{html.escape(self.notice)}</p>' if self.notice else ""
        last = f'<div class="dcacn-last" data-dcacn="{self.key}">{said}{self.lasting_html()}</div>'
        return {"text/html": last, "text/plain": self.summary}

    def save_figure(
        self,
        path: "str | Path",  # ends in .png, .svg or .pdf
    ) -> Path:
        "Write the picture to a file, ready for a paper."
        with self._lock:
            return self.figure().save(path)

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all events of a finished run have arrived (at most `timeout` seconds). True if they have."
        return self.follower is None or self.follower.wait(timeout) and self.follower.error is None

    def close(self) -> None:
        "Close the widget: it stops following the run, and its views disappear."
        self._ended = True
        if self.follower is not None:
            self.follower.close()
        if hasattr(self.run, "unsubscribe"):
            self.run.unsubscribe(self)
        super().close()
