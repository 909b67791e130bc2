"""Where the network looks, block by block and epoch by epoch, over the images; with and without CBAM side by side."""

from pathlib import Path

import matplotlib
import numpy as np
import traitlets

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Event, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report.figures.attention import plot_attention
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.attention_maps import EncodedMaps, RunMaps
from dcacn_nb.widgets.feed import Follower, History
from dcacn_nb.widgets.live import STATIC, LiveWidget, sprite_sheet, widget_words

# setting `attention` -> key of its text
LABELS = {True: "with", False: "without", "channel": "half_channel", "spatial": "half_spatial"}


def colour_table(name: str = "viridis") -> bytes:
    "The 256 colours of a colour map as RGB bytes. Viridis is perceptually uniform and safe for colour-blind readers."
    return np.ascontiguousarray(matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]).tobytes()


class AttentionViewer(LiveWidget):
    "Spatial attention and activation over images, and channel attention, over the epochs of one run or of two."

    ESM = STATIC / "attention.js"
    WORDS = widget_words("attention")
    STORED = {"most": 34_000, "dark": False, "photo": True}  # photographs take much room, and any paper will do
    colours = traitlets.Bytes().tag(sync=True)  # 256 x RGB
    follower = _second = None  # on the class too, so that a widget with bad arguments can be closed

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the widget
        *,
        without=None,  # a second run or its folder, usually trained with attention=False, shown beside this one
        history: "History | None" = None,  # shared: its owner also calls `handle`; None: the widget keeps one
        lang: str = "en",  # "en" or "zh"
        limit: int = 40,  # snapshots kept besides the newest, >= 2
        **kwargs,  # folder, as for LiveWidget
    ):
        self.maps, self.other = (RunMaps(check_int("limit", limit, low=2)) for _ in range(2))
        self.without, self._second, self._look = _checked(without), None, (None, None)
        super().__init__(run, history=history, lang=lang, colours=colour_table(), **kwargs)
        folder = getattr(without, "folder", without)
        if folder is not None:
            self._second = Follower(folder, [self.handle_other])
        elif without is not None:
            without.subscribe(self.handle_other)

    def prepare(self) -> None:
        "Use what a shared history already holds."
        for event in [self.history.start, *self.history.snapshots]:
            if event is not None:
                self._absorb(0, event)

    def update(self, event: Event) -> None:
        "Keep the maps of a snapshot, and send them."
        self._absorb(0, event)

    def handle_other(self, event: Event) -> None:
        "Receive one event of the other run."
        with self._lock:
            if self._absorb(1, event):
                self.summary = self.describe()
        if isinstance(event, RunFinished) and self.settled:
            self.settle()  # the text under the picture is about the other run too

    def _absorb(self, side: int, event: Event) -> bool:
        "Keep and send the maps in an event of one of the two runs. True if it changed anything."
        maps = (self.maps, self.other)[side]
        if isinstance(event, RunStarted):
            maps.clear(event)
            self._pass_on(self._run_message, side)
        elif isinstance(event, SnapshotTaken):
            frame = maps.add(event)
            if maps.snapshots == 1 or (frame is not None and frame.indices is maps.indices):
                self._pass_on(self._run_message, side)  # the images, or the note that there are no maps
            if frame is not None:
                self._pass_on(self._frame_message, side, frame)
        return isinstance(event, (RunStarted, SnapshotTaken))

    # ---- messages
    def _pass_on(self, make, *args) -> None:
        "Make and send a message, if there is a view."
        if self._viewed:
            content, buffers = make(*args)
            self.send(content, buffers=buffers)

    def _run_message(self, side: int) -> "tuple[dict, list[bytes]]":
        "The settings of a run, with its images."
        maps = (self.maps, self.other)[side]
        content = {
            "kind": "run",
            "side": side,
            "token": maps.runs,
            "attention": maps.attention,
            "block": maps.first_block(),
            "note": self._note(maps),
            "comparing": self.without is not None,
            "code": self.comparison_code(),
            "keep": maps.numbers(),
            "images": None,
        }
        if maps.images is None:
            return content, []
        sheet, layout = sprite_sheet(maps.images, 128)
        return content | {"images": {**layout, "indices": maps.indices}}, [sheet]

    def _frame_message(self, side: int, frame: EncodedMaps) -> "tuple[dict, list[bytes]]":
        "One snapshot's maps."
        maps = (self.maps, self.other)[side]
        content = {
            "kind": "frame",
            "side": side,
            "token": maps.runs,
            "number": frame.number,
            "epoch": frame.epoch,
            "indices": frame.indices,
            "parts": frame.parts,
            "block": maps.first_block(),
            "note": self._note(maps),
            "keep": maps.numbers(),
        }
        return content, [frame.codes.tobytes(), frame.lows.astype("<f4").tobytes(), frame.highs.astype("<f4").tobytes()]

    def backlog(self):
        "Both runs and all maps kept."
        for side, maps in enumerate((self.maps, self.other)):
            yield self._run_message(side)
            yield from (self._frame_message(side, frame) for frame in maps.frames)

    def on_message(self, content: dict, buffers: list) -> None:
        "Take note of the block and epoch that are chosen, for the summary."
        block, epoch = content.get("block"), content.get("epoch")
        if content.get("kind") == "look" and isinstance(block, str) and (epoch is None or isinstance(epoch, int)):
            self._look = block, epoch
            self.summary = self.describe()

    # ---- in words
    def _note(self, maps: RunMaps) -> "str | None":
        "The key of the text that says why there are no maps, or only some."
        if maps.frames.seen:
            return (
                "no_attention"
                if maps is self.maps and all(kind == "activation" for kind, *_ in maps.frames.last.parts)
                else None
            )
        if maps.start is not None and maps.start.config.get("snapshot_every") == 0:
            return "no_snapshots"
        return "no_maps" if maps.snapshots else None

    def describe(self) -> str:
        "Epoch, block and range of its maps, also for the other run."
        frame, note = self.maps.nearest(self._look[1]), self._note(self.maps)
        if frame is None:
            return self.text(note or ("waiting" if self.maps.start is None else "nothing"))
        block = self._look[0] if self._look[0] in frame.blocks() else self.maps.first_block()
        places = self._describe_part(frame, "spatial", block) or self._describe_part(frame, "activation", block)
        parts = self.text("semicolon").join(filter(None, [places, self._describe_part(frame, "channel", block)]))
        sentences = [self.text("say_head", epoch=frame.epoch, block=block) + parts + self.text("stop")]
        beside = self.other.nearest(frame.epoch)
        what = beside and self._describe_part(beside, "activation", block)
        if what:
            sentences.append(
                self.text(
                    "say_other",
                    label=self.text(LABELS.get(self.other.attention, "other_run")),
                    epoch=beside.epoch,
                    what=what,
                )
            )
        return " ".join([*sentences, *([self.text(note)] if note else [])])

    def _describe_part(self, frame: EncodedMaps, kind: str, block: str) -> "str | None":
        "The range of a block's maps, or its strongest channel; None if there are no maps."
        values = frame.values(kind, block)
        if values is None:
            return None
        if kind == "channel":
            mean = values.mean(0)
            return self.text("say_channel", n=len(mean), value=f"{mean.max():.2f}", channel=int(mean.argmax()))
        return self.text(
            "say_map", kind=self.text(kind), n=len(values), low=f"{values.min():.2f}", high=f"{values.max():.2f}"
        )

    def comparison_code(self) -> str:
        "Python code that trains the counterpart, with attention or without, and shows both; empty if both are there."
        if self.without is not None:
            return ""
        has, known = self.maps.attention is not False, hasattr(self.run, "config")
        this, of = "run" if known or self.folder is None else repr(str(self.folder)), "run." if known else ""
        show = f"({this}, without=other)" if has else f"(other, without={this})"
        load = [f"config = load_run({this})[1]  # its settings; images: those it was trained on"]
        load = [] if this == "run" else load
        return "\n".join(
            [
                "from dataclasses import replace",
                "from dcacn_nb import fit, load_run",
                *load,
                f"other = fit({of}images, replace({of}config, attention={not has}), "
                f"run_dir='{'without' if has else 'with'}_cbam', background=True)",
                f"AttentionViewer{'.attach' if has and this != 'run' else ''}{show}",
            ]
        )

    # ---- the rest of the widget
    def figure(self) -> Picture:
        "The maps of the last snapshot, stage by stage."
        return plot_attention(self.history.events())

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all events of both runs have arrived (at most `timeout` seconds each). True if they have."
        return super().wait(timeout) and (self._second is None or self._second.wait(timeout))

    def close(self) -> None:
        "Close the widget: it stops following the runs, and its views disappear."
        if self._second is not None:
            self._second.close()
        super().close()


def _checked(without: object) -> object:
    "The second run, checked."
    if isinstance(without, (str, Path)) and Path(without).is_file():
        raise ValueError(
            f"without must be the folder of a run, got the file {str(without)!r}; give {str(Path(without).parent)!r}"
        )
    if not (
        without is None
        or isinstance(without, (str, Path))
        or hasattr(without, "folder")
        and hasattr(without, "subscribe")
    ):
        raise TypeError(f"without must be a run, or the folder of one, got {without!r} ({type(without).__name__})")
    return without
