"""Where the network looks, block by block and epoch by epoch, over the images themselves; with CBAM and without it, side by side."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import traitlets

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Event, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report.figures import plot_attention
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.feed import Follower, History, Thinned
from dcacn_nb.widgets.live import LiveWidget, sprite_sheet


def quantise(
    values: np.ndarray,  # (n,L) float: n images, and all their maps side by side in one row
    lengths: "list[int]",  # of the maps in a row, sum L
) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":  # codes (n,L) uint8; lows and highs (n, number of maps) float32
    "Each map in steps of 1/255 of its own range; a map that is not finite has the ends NaN and the code 0."
    values, starts = values.astype(np.float32, copy=False), np.cumsum([0, *lengths[:-1]])
    lows, highs = np.minimum.reduceat(values, starts, axis=1), np.maximum.reduceat(values, starts, axis=1)
    bad = ~(np.isfinite(lows) & np.isfinite(highs))
    if bad.any():
        lows[bad] = highs[bad] = np.nan
        values = np.where(np.repeat(bad, lengths, axis=1), 0, values)
    span = np.where(bad, 0, highs - lows)
    factor = np.divide(255, span, out=np.zeros_like(span), where=span > 0)
    shift = np.where(bad, 0, lows)
    codes = (values - np.repeat(shift, lengths, axis=1)) * np.repeat(factor, lengths, axis=1) + 0.5
    return codes.astype(np.uint8), lows, highs


def restore(
    codes: np.ndarray,  # (n,L) uint8, of one map
    lows: np.ndarray,  # (n,)
    highs: np.ndarray,  # (n,)
) -> np.ndarray:  # (n,L) float32, within (high - low) / 510 of what was quantised
    "What `quantise` made, as numbers again."
    return (lows[:, None] + codes * ((highs - lows) / np.float32(255))[:, None]).astype(np.float32)


KINDS = {
    "spatial": "spatial_attention.",
    "activation": "activation.",
    "channel": "channel_attention.",
}  # what a map is -> its arrays in a snapshot
BUDGET = 24_000_000  # bytes that the frames of one run may take, here and in the browser
PLACES = 6  # a map must have so many cells a side to be shown first


@dataclass(frozen=True)
class Frame:
    "The maps of one snapshot, in bytes."

    number: int  # of the snapshot within its run, from 0
    epoch: int  # epochs done
    indices: "list[int]"  # (n,) which images of the data set
    parts: "list[tuple[str, str, int, int]]"  # kind, block, height and width (of channels: 1 and C), in the order of the codes
    codes: np.ndarray  # (n,L) uint8
    lows: np.ndarray  # (n, parts) float32
    highs: np.ndarray  # (n, parts) float32

    def values(self, kind: str, block: str) -> "np.ndarray | None":
        "The maps of one kind of a block, as numbers: (n,h,w), or (n,C) for channels; None if there are none."
        start = 0
        for i, (found, name, height, width) in enumerate(self.parts):
            stop = start + height * width
            if (found, name) == (kind, block):
                numbers = restore(self.codes[:, start:stop], self.lows[:, i], self.highs[:, i])
                return numbers if kind == "channel" else numbers.reshape(-1, height, width)
            start = stop
        return None

    def blocks(self) -> "list[str]":
        "Names of the blocks with maps, from the image to the output."
        return list(dict.fromkeys(name for _, name, _, _ in self.parts))


def frame_of(snapshot: SnapshotTaken, number: int) -> "Frame | None":
    "A snapshot's maps in bytes; `number` says which of its run it is. None if it holds no maps."
    parts, arrays = [], []
    for kind, prefix in KINDS.items():
        for name, array in snapshot.arrays.items():
            if name.startswith(prefix) and array.ndim >= 2 and array.size:
                tall, wide = (1, array.shape[1]) if kind == "channel" else array.shape[-2:]
                parts.append((kind, name[len(prefix) :], int(tall), int(wide)))
                arrays.append(array.reshape(len(array), -1))
    n = min([len(snapshot.indices), *(len(array) for array in arrays)])
    if not parts or not n:
        return None
    coded = quantise(np.concatenate([array[:n] for array in arrays], axis=1), [h * w for _, _, h, w in parts])
    return Frame(number, snapshot.epoch, snapshot.indices[:n].tolist(), parts, *coded)


class Maps:
    "What one run's snapshots tell of attention: frames, thinned, and the images they belong to."

    def __init__(self, limit: int = 40):
        "Keep at most `limit` frames, beside the newest."
        self.limit, self.runs = limit, 0  # runs seen so far: a resumed run begins anew
        self.clear()

    def clear(self, start: "RunStarted | None" = None) -> None:
        "Forget all but the settings of the run that begins."
        self.start, self.frames, self.images, self.indices, self.snapshots = start, Thinned(self.limit), None, [], 0
        self.runs += 1

    def add(self, snapshot: SnapshotTaken) -> "Frame | None":
        "Take in a snapshot; its frame, if it has maps."
        frame = frame_of(snapshot, self.snapshots)
        self.snapshots += 1
        if frame is None:
            return None
        if not self.frames.seen:
            self.frames.limit = max(2, min(self.limit, BUDGET // frame.codes.nbytes))
        self.frames.append(frame)
        if self.images is None and len(snapshot.arrays.get("images", ())) >= len(frame.indices):
            self.images, self.indices = snapshot.arrays["images"][: len(frame.indices)].copy(), frame.indices
        return frame

    @property
    def attention(self) -> "bool | str | None":
        "The run's setting of that name; None if it is not known."
        return self.start.config.get("attention") if self.start else None

    def numbers(self) -> "list[int]":
        "Which frames are kept."
        return [frame.number for frame in self.frames]

    def nearest(self, epoch: "int | None") -> "Frame | None":
        "The frame nearest to an epoch; the newest if that is None."
        return (
            self.frames.last
            if epoch is None
            else min(self.frames, key=lambda frame: abs(frame.epoch - epoch), default=None)
        )

    def first_block(self) -> "str | None":
        "The block to show before anybody has chosen one: the deepest whose map still tells places apart."
        last = self.frames.last
        if last is None:
            return None
        fine = [name for kind, name, height, width in last.parts if kind != "channel" and max(height, width) >= PLACES]
        return max(fine, key=last.blocks().index) if fine else last.blocks()[0]


WORDS = {  # key -> (English, Chinese)
    "title": ("Attention", "注意力"),
    "block": ("block", "模块"),
    "shown": ("maps", "显示"),
    "both": ("attention and activation", "注意力与激活"),
    "spatial": ("spatial attention", "空间注意力"),
    "activation": ("activation strength", "激活强度"),
    "channel": ("channel attention", "通道注意力"),
    "strength": ("overlay", "叠加强度"),
    "stretch": ("each map over its own range", "每幅图按自身范围着色"),
    "smooth": ("smooth", "平滑"),
    "images": ("images", "图像"),
    "image_n": ("image {index}", "图像 {index}"),
    "choose": ("Choose an image.", "请选择图像。"),
    "same_scale": ("One scale for all images and epochs of a run.", "一次训练的所有图像和轮次使用同一色标。"),
    "own_scale": ("Each map is coloured from its lowest to its highest value.", "每幅图从其最小值到最大值着色。"),
    "lowest": ("lowest", "最小"),
    "highest": ("highest", "最大"),
    "range": ("{low} to {high}", "{low} 至 {high}"),
    "map_label": (
        "{kind}, image {index}, {block}, epoch {epoch}: {low} to {high}",
        "{kind}，图像 {index}，{block}，第 {epoch} 轮：{low} 至 {high}",
    ),
    "maps_label": (
        "Maps. The arrow keys move a place that is marked in all of them; Escape ends this.",
        "注意力图。方向键移动所有图中标出的位置，Esc 键取消。",
    ),
    "maps_hint": (
        "Point at a map, or use the arrow keys: the same place is marked in all.",
        "用鼠标指向一幅图或使用方向键：所有图中标出同一位置。",
    ),
    "place": ("row {row} of {rows}, column {column} of {columns}", "第 {row}/{rows} 行，第 {column}/{columns} 列"),
    "not_mapped": ("not mapped in this run", "该训练中没有此图"),
    "bars": ("Channel attention of {block}, mean of the chosen images", "{block} 的通道注意力，所选图像的平均值"),
    "bars_label": (
        "Channel attention as bars. The arrow keys go from channel to channel.",
        "通道注意力条形图。方向键逐个选择通道。",
    ),
    "bars_legend": ("bars: epoch {epoch}; line: epoch {first}", "条形：第 {epoch} 轮；折线：第 {first} 轮"),
    "bars_hint": ("Point at a bar, or use the arrow keys.", "用鼠标指向条形或使用方向键。"),
    "bar": (
        "channel {channel}: {value} (epoch {first}: {before})",
        "通道 {channel}：{value}（第 {first} 轮：{before}）",
    ),
    "sorted": ("sorted", "排序"),
    "no_channel": ("This run has no channel attention.", "该训练没有通道注意力。"),
    "this_run": ("this run", "本次训练"),
    "other_run": ("other run", "另一次训练"),
    "with": ("with CBAM", "有 CBAM"),
    "without": ("without CBAM", "无 CBAM"),
    "half_channel": ("CBAM, channels only", "CBAM，仅通道"),
    "half_spatial": ("CBAM, places only", "CBAM，仅空间"),
    "no_attention": (
        "This run has no attention (attention=False): only the strength of activation is shown.",
        "本次训练没有注意力（attention=False）：只显示激活强度。",
    ),
    "no_maps": (
        "The snapshots of this run hold no maps: its backbone has no attention_maps() and activation_maps().",
        "本次训练的快照中没有注意力图：其骨干网络没有 attention_maps() 和 activation_maps()。",
    ),
    "no_snapshots": (
        "This run takes no snapshots (snapshot_every=0), so there are no maps.",
        "本次训练不保存快照（snapshot_every=0），因此没有注意力图。",
    ),
    "other_waiting": ("Waiting for the maps of the other run.", "等待另一次训练的注意力图。"),
    "other_images": (
        "The other run mapped other images. Train both on the same images with the same seed.",
        "另一次训练使用了不同的图像。请用相同的图像和随机种子训练两者。",
    ),
    "other_block": ("The other run has no block {block}.", "另一次训练没有模块 {block}。"),
    "compare": ("With and without CBAM side by side: run this code", "并排比较有无 CBAM：运行以下代码"),
    "say_head": ("Epoch {epoch}, block {block}: ", "第 {epoch} 轮，模块 {block}："),
    "say_map": ("{kind} of {n} images from {low} to {high}", "{n} 幅图像的{kind}为 {low} 至 {high}"),
    "say_channel": (
        "{n} channels, the strongest {value} (channel {channel})",
        "{n} 个通道，最强为 {value}（通道 {channel}）",
    ),
    "say_other": ("Other run, {label}, epoch {epoch}: {what}.", "另一次训练，{label}，第 {epoch} 轮：{what}。"),
    "semicolon": ("; ", "；"),
    "stop": (".", "。"),
}
LABELS = {
    True: "with",
    False: "without",
    "channel": "half_channel",
    "spatial": "half_spatial",
}  # setting `attention` -> key of its word


def colour_table(name: str = "viridis") -> bytes:
    "Red, green and blue of the values 0 to 255, of a colour map of matplotlib: this one is perceptually uniform, and safe for colour-blind eyes."
    return np.ascontiguousarray(matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]).tobytes()


class AttentionViewer(LiveWidget):
    "Spatial attention and activation over images, channel attention as bars, over the epochs of one run or of two side by side: an observer."

    NAMES = ("attention",)
    WORDS = WORDS
    colours = traitlets.Bytes().tag(sync=True)  # 256 x RGB
    follower = _second = None  # of the class, too: Python closes what it could not build

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the widget
        *,
        without=None,  # a second run, or its folder, shown beside this one; trained with attention=False, usually
        history: "History | None" = None,  # kept by somebody else, who also calls `take`; None: kept here
        lang: str = "en",  # "en" or "zh"
        limit: int = 40,  # snapshots kept, >= 2, beside the newest
        **kwargs,  # folder, as for LiveWidget
    ):
        self.maps, self.other = (Maps(check_int("limit", limit, low=2)) for _ in range(2))
        self.without, self._second, self._look = _checked(without), None, (None, None)
        super().__init__(run, history=history, lang=lang, colours=colour_table(), **kwargs)
        folder = getattr(without, "folder", without)
        if folder is not None:
            self._second = Follower(folder, [self.take_other])
        elif without is not None:
            without.subscribe(self.take_other)

    def prepare(self) -> None:
        "What a history knows already, if it is somebody else's."
        for event in [self.history.start, *self.history.snapshots]:
            if event is not None:
                self._absorb(0, event)

    def update(self, event: Event) -> None:
        "Keep a snapshot's maps, and send them."
        self._absorb(0, event)

    def take_other(self, event: Event) -> None:
        "Take in one event of the other run."
        with self._lock:
            if self._absorb(1, event):
                self.summary = self.describe()
        if isinstance(event, RunFinished) and self._settled:
            self.settle()  # the text under the lasting picture tells of the other run, too

    def _absorb(self, side: int, event: Event) -> bool:
        "Keep and send what an event of one of the two runs tells; whether that was anything."
        maps = (self.maps, self.other)[side]
        if isinstance(event, RunStarted):
            maps.clear(event)
            self._pass_on(self._run_message, side)
        elif isinstance(event, SnapshotTaken):
            frame = maps.add(event)
            if (
                maps.snapshots == 1 or frame is not None and frame.indices is maps.indices
            ):  # images, or the news that there are no maps
                self._pass_on(self._run_message, side)
            if frame is not None:
                self._pass_on(self._frame_message, side, frame)
        return isinstance(event, (RunStarted, SnapshotTaken))

    # ---- messages
    def _pass_on(self, make, *args) -> None:
        "Make and send a message, if there is anybody to see it."
        if self._viewed:
            content, buffers = make(*args)
            self.send(content, buffers=buffers)

    def _run_message(self, side: int) -> "tuple[dict, list[bytes]]":
        "What a run is, with its images."
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

    def _frame_message(self, side: int, frame: Frame) -> "tuple[dict, list[bytes]]":
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
        "Both runs and all frames kept."
        for side, maps in enumerate((self.maps, self.other)):
            yield self._run_message(side)
            yield from (self._frame_message(side, frame) for frame in maps.frames)

    def on_message(self, content: dict, buffers: list) -> None:
        "What a person looks at now: the summary speaks of it."
        block, epoch = content.get("block"), content.get("epoch")
        if content.get("kind") == "look" and isinstance(block, str) and (epoch is None or isinstance(epoch, int)):
            self._look = block, epoch
            self.summary = self.describe()

    # ---- in words
    def _note(self, maps: Maps) -> "str | None":
        "The key of the sentence that says why there are no maps, or only some."
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
        "Epoch, block, and between which values its maps lie; of the other run, too."
        frame, note = self.maps.nearest(self._look[1]), self._note(self.maps)
        if frame is None:
            return self.say(note or ("waiting" if self.maps.start is None else "nothing"))
        block = self._look[0] if self._look[0] in frame.blocks() else self.maps.first_block()
        places = self._say_part(frame, "spatial", block) or self._say_part(frame, "activation", block)
        parts = self.say("semicolon").join(filter(None, [places, self._say_part(frame, "channel", block)]))
        sentences = [self.say("say_head", epoch=frame.epoch, block=block) + parts + self.say("stop")]
        beside = self.other.nearest(frame.epoch)
        what = beside and self._say_part(beside, "activation", block)
        if what:
            sentences.append(
                self.say(
                    "say_other",
                    label=self.say(LABELS.get(self.other.attention, "other_run")),
                    epoch=beside.epoch,
                    what=what,
                )
            )
        return " ".join([*sentences, *([self.say(note)] if note else [])])

    def _say_part(self, frame: Frame, kind: str, block: str) -> "str | None":
        "The range of a block's maps, or its strongest channel; None if the frame has none."
        values = frame.values(kind, block)
        if values is None:
            return None
        if kind == "channel":
            mean = values.mean(0)
            return self.say("say_channel", n=len(mean), value=f"{mean.max():.2f}", channel=int(mean.argmax()))
        return self.say(
            "say_map", kind=self.say(kind), n=len(values), low=f"{values.min():.2f}", high=f"{values.max():.2f}"
        )

    def comparison_code(self) -> str:
        "Python code that trains the other run, with attention if this one has none, and shows both; empty if both are there."
        if self.without is not None:
            return ""
        has, known = self.maps.attention is not False, hasattr(self.run, "config")
        this, of = "run" if known or self.folder is None else repr(str(self.folder)), "run." if known else ""
        show = f"({this}, without=other)" if has else f"(other, without={this})"
        return "\n".join(
            [
                "from dataclasses import replace",
                "from dcacn_nb import fit, load_run",
                *(
                    []
                    if this == "run"
                    else [f"config = load_run({this})[1]  # its settings; images: those it was trained on"]
                ),
                f"other = fit({of}images, replace({of}config, attention={not has}), run_dir='{'without' if has else 'with'}_cbam', background=True)",
                f"AttentionViewer{'.attach' if has and this != 'run' else ''}{show}",
            ]
        )

    # ---- the rest of the widget
    def figure(self) -> Picture:
        "The maps of the last snapshot, stage by stage."
        return plot_attention(self.history.events())

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all that finished runs have told is in the picture (at most `timeout` seconds, each); whether that is so."
        return super().wait(timeout) and (self._second is None or self._second.wait(timeout))

    def close(self) -> None:
        "End the widget: nothing is followed any more, and its views disappear."
        if self._second is not None:
            self._second.close()
        super().close()


def _checked(without: object) -> object:
    "The second run, if it is one."
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
