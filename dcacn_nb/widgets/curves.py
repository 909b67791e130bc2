"""Scores, loss terms, learning rate, speed and gradient norm over the epochs, of one run or of several laid over one another, while they train."""

import math
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from dcacn_nb.core.events import EpochDone, Evaluated, Event, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.report.figures import plot_curves
from dcacn_nb.report.picture import SCORES, Picture
from dcacn_nb.widgets.feed import Follower, History, Thinned
from dcacn_nb.widgets.live import LiveWidget, float_bytes

POINTS = 1200  # points of a line that are kept: every evaluation of 1,000 epochs, and about twice the pixels of a panel
PAUSE = 0.1  # seconds between two messages: a run may report hundreds of steps a second
MOST = 8  # runs in one picture: there are as many kinds of dashes
WORDS = {  # key -> (English, Chinese)
    "title": ("Curves over the epochs", "训练曲线"),
    "scores": ("scores", "聚类指标"),
    "losses": ("loss terms", "损失项"),
    "rate": ("learning rate", "学习率"),
    "speed": ("images a second", "每秒图像数"),
    "gradient": ("gradient norm", "梯度范数"),
    "loss": ("loss", "损失"),
    "term_total": ("total", "总损失"),
    "term_instance": ("instance", "实例级"),
    "term_cluster": ("cluster", "聚类级"),
    "term_balance": ("balance", "均衡"),
    "by_epoch": ("{what} by epoch", "{what}随轮次的变化"),
    "runs": ("runs", "训练"),
    "this_run": ("this run", "本次训练"),
    "log": ("log scale", "对数坐标"),
    "no_log": (
        "Values of zero or less have no place on a log scale; they are left out.",
        "小于或等于零的值无法用对数坐标表示，已略去。",
    ),
    "zoom_in": ("Zoom in", "放大"),
    "zoom_out": ("Zoom out", "缩小"),
    "hint": (
        "Drag: zoom. Arrow keys on a panel: read values; + and −: zoom; 0: everything.",
        "拖动可缩放；选中图后，方向键读取数值，+ 和 − 缩放，0 显示全部。",
    ),
    "values_at": ("Values at epoch {epoch}", "第 {epoch} 轮的数值"),
    "values_last": ("Latest values", "最新数值"),
    "no_scores": ("The images have no labels, so there are no scores.", "图像没有标签，因此没有指标。"),
    "untold": ("Not reported so far.", "尚无数据。"),
    "place": ("Epoch {epoch} of {epochs}: {told}.", "第 {epoch} 轮（共 {epochs} 轮）：{told}。"),
    "place_open": ("Epoch {epoch}: {told}.", "第 {epoch} 轮：{told}。"),
    "beside": ("{label}, epoch {epoch}: {told}.", "{label}，第 {epoch} 轮：{told}。"),
    "told_loss": ("{term} loss {value:.3g}", "{term} {value:.3g}"),
    "told_speed": ("{value:,.0f} images/s", "每秒 {value:,.0f} 张图像"),
    "told_none": ("no labels, so no scores", "没有标签，因此没有指标"),
    "told_nothing": ("nothing reported yet", "尚无数据"),
}


_LARGEST = float(np.finfo(np.float32).max)
_GAP = float_bytes([math.nan])


def _row(values: "Iterable[float | None]") -> bytes:
    "One point of several lines, as float32; what is missing or not finite is NaN: a gap."
    return float_bytes([value if value is not None and abs(value) <= _LARGEST else math.nan for value in values])


class Rows:
    "Points over the epochs, thinned, and how much of them the browser has."

    def __init__(
        self,
        limit: int = POINTS,  # rows kept, beside the newest
    ):
        self.rows, self.width = Thinned(limit), 0
        self.anew, self._unsent, self._changed = True, 0, True

    def append(self, values: "Iterable[float | None]") -> None:
        "Take in one more row: the epoch, then a number for each line."
        row = _row(values)
        self.width = max(self.width, len(row))
        self.anew |= self.rows.append(row)
        self._unsent += self._spare == 0
        self._changed = True

    @property
    def _spare(self) -> int:
        "1 if the newest row is preliminary: the next one takes its place."
        return int(self.rows.seen > 0 and (self.rows.seen - 1) % self.rows.stride > 0)

    def news(self) -> "tuple[dict, list[bytes]] | None":  # None: the browser has everything
        "What the browser must do to have the same rows. From then on it counts as done."
        if not (self._changed or self.anew):
            return None
        rows, spare = list(self.rows), self._spare
        kept = len(rows) - spare if self.anew else self._unsent
        told = b"".join(row + _GAP * ((self.width - len(row)) // 4) for row in rows[len(rows) - spare - kept :])
        content = {"anew": self.anew, "kept": kept}
        self.anew, self._unsent, self._changed = False, 0, False
        return content, [told]


class Track:
    "One run's lines: its events as rows of numbers, and as messages for the browser."

    def __init__(
        self,
        history: History,  # of the run: hears every event before `take` does
    ):
        self.history = history
        self.clear()
        for event in history.events():  # what was told before the widget was there
            self.take(event)

    def clear(self) -> None:
        "Forget all rows."
        self.steps, self.scores, self.terms, self.by_epoch = Rows(), Rows(), [], True
        self.fresh = True  # the browser must hear of the run itself

    def take(self, event: Event) -> None:
        "Take in one event."
        if isinstance(event, RunStarted):
            self.clear()
        elif isinstance(event, Evaluated):
            self.fresh |= not len(self.scores.rows)  # perhaps the first that is heard of this run
            self.scores.append([event.epoch, *((event.scores or {}).get(name) for name in SCORES)])
        elif isinstance(event, StepDone):
            if self.by_epoch:  # steps are told, so means over epochs are not needed
                self.steps, self.by_epoch, self.fresh = Rows(), False, True
            self._losses(
                event.losses, [self.history.epoch_of(event.step), event.lr, event.images_per_second, event.grad_norm]
            )
        elif isinstance(event, EpochDone) and self.by_epoch:
            self._losses(event.losses, [event.epoch, None, None, None])

    def _losses(self, losses: dict, first: list) -> None:
        "A row of steps; a new loss term makes all rows wider."
        new = [name for name in losses if name not in self.terms]
        if new:
            self.terms += new
            self.fresh = True
        self.steps.append([*first, *(losses.get(name) for name in self.terms)])

    @property
    def begun(self) -> bool:
        "Whether the run has told anything."
        return self.history.start is not None or len(self.steps.rows) > 0 or len(self.scores.rows) > 0

    def messages(self, run: int, label: str) -> "Iterable[tuple[dict, list[bytes]]]":
        "What the browser does not know yet of this run."
        if self.fresh:
            yield {"kind": "run", "run": run, "label": label, "terms": list(self.terms), "begun": self.begun}, []
            self.fresh, self.steps.anew, self.scores.anew = False, True, True
        for part in ("steps", "scores"):
            news = getattr(self, part).news()
            if news is not None:
                yield {"kind": "rows", "run": run, "part": part, **news[0]}, news[1]


def _check_compare(
    compare: "dict | None",  # {label: run}
    label: str,  # of the run itself
) -> dict:
    "Refuse what is no run, too many runs, and two of one name."
    if compare is not None and not isinstance(compare, dict):
        raise TypeError(f"compare must be like {{'no attention': 'runs/plain'}}, got {type(compare).__name__}")
    compare = compare or {}
    if len(compare) >= MOST:
        raise ValueError(
            f"compare must hold at most {MOST - 1} runs, got {len(compare)}; more lines cannot be told apart"
        )
    for name, source in compare.items():
        if not isinstance(name, str) or not name.strip() or name == label:
            raise ValueError(
                f"compare must have a text of its own for every run, got {name!r}"
                + (", which is the label of the run itself" if name == label else "")
            )
        if isinstance(source, (str, Path)) and not Path(source).is_dir():
            raise ValueError(f"compare[{name!r}] must be the folder of a run, got {str(source)!r}, which is no folder")
        if (
            not isinstance(source, (str, Path))
            and not hasattr(source, "subscribe")
            and not (isinstance(source, list) and all(isinstance(e, Event) for e in source))
        ):
            raise TypeError(
                f"compare[{name!r}] must be a folder, a Run or a list of events, got {type(source).__name__}"
            )
    return compare


class Curves(LiveWidget):
    "Scores, losses, learning rate, speed and gradient norm over the epochs, of one run or of several."

    NAMES = ("curves",)
    WORDS = WORDS

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the widget
        *,
        compare: "dict | None" = None,  # {label: folder of a run, a Run, or its events}: runs to lay over this one, at most 7
        label: str = "",  # what this run is called beside others; "": "this run"
        history: "History | None" = None,  # kept by somebody else, who also calls `take`
        folder: "str | Path | None" = None,  # of the run; None: the run's own
        lang: str = "en",  # "en" or "zh"
    ):
        self.label, self._compare, self._followers = label, compare, []
        super().__init__(run, history=history, folder=folder, lang=lang)

    def prepare(self) -> None:
        "The run's own track, and one for each run beside it."
        self._compare, self._sent = _check_compare(self._compare, self.label or WORDS["this_run"][0]), 0.0
        self._tracks = [Track(self.history), *(Track(History()) for _ in self._compare)]
        for track, source in zip(self._tracks[1:], self._compare.values()):
            hear = partial(self._hear, track)
            folder = source if isinstance(source, (str, Path)) else getattr(source, "folder", None)
            if folder is not None:
                self._followers.append(Follower(folder, [hear]))
            elif hasattr(source, "subscribe"):
                source.subscribe(hear)
            else:
                for event in source:
                    hear(event)

    def update(self, event: Event) -> None:
        "A row more."
        self._add(self._tracks[0], event)

    def _add(self, track: Track, event: Event) -> None:
        "A row more of a run. Reports of steps wait for one another, so that there are not too many messages."
        track.take(event)
        if self._viewed and (not isinstance(event, StepDone) or time.monotonic() - self._sent > PAUSE):
            self._sent = time.monotonic()
            for content, buffers in self._messages():
                self.tell(buffers=buffers, **content)

    def _hear(self, track: Track, event: Event) -> None:
        "An event of a run beside this one."
        if isinstance(event, SnapshotTaken):
            return  # large, and not drawn here
        with self._lock:
            track.history(event)
            self._add(track, event)
            if isinstance(event, RunFinished) or time.monotonic() - self._told > 0.25:
                self.summary, self._told = self.describe(), time.monotonic()
            over = isinstance(event, RunFinished) and all(
                track.history.end for track in self._tracks[0 if self._tracks[0].begun else 1 :]
            )
        if over:
            self.settle()

    def _labels(self) -> "list[str]":
        "What the runs are called, this one first."
        return [self.label or self.say("this_run"), *self._compare]

    def _messages(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "What the browser does not know yet."
        for i, (track, label) in enumerate(zip(self._tracks, self._labels())):
            yield from track.messages(i, label)

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "Everything."
        for track in self._tracks:
            track.fresh = True
        return self._messages()

    def figure(self) -> Picture:
        "The curves in print: `figures.plot_curves` of the same runs."
        with self._lock:
            told = {label: track.history.events() for track, label in zip(self._tracks, self._labels()) if track.begun}
        return plot_curves(told)

    def describe(self) -> str:
        "How far each run is, with its last scores, loss and speed."
        said = []
        for i, (track, label) in enumerate(zip(self._tracks, self._labels())):
            if not track.begun:
                continue
            start, epoch, told = track.history.start, track.history.epoch, self._figures(track.history)
            if i:
                said.append(self.say("beside", label=label, epoch=epoch, told=told))
            elif start and start.n_steps:
                said.append(
                    self.say(
                        "place", epoch=epoch, epochs=math.ceil(start.n_steps / max(1, start.steps_per_epoch)), told=told
                    )
                )
            else:
                said.append(self.say("place_open", epoch=epoch, told=told))
        return " ".join(said) or self.say("waiting")

    def _figures(self, history: History) -> str:
        "The last scores, loss and speed of a run."
        scored, step = history.evaluations.last, history.steps.last or history.epochs.last
        told = []
        if scored is not None:
            scores = {name: (scored.scores or {}).get(key) for key, (name, *_) in SCORES.items()}
            told.append(
                ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None)
                or self.say("told_none")
            )
        losses = {name: value for name, value in (step.losses if step else {}).items() if value is not None}
        if losses:
            term = "total" if "total" in losses else next(iter(losses))
            told.append(
                self.say(
                    "told_loss", term=self.say(f"term_{term}") if f"term_{term}" in WORDS else term, value=losses[term]
                )
            )
        speed = getattr(step, "images_per_second", None)
        if speed is not None and math.isfinite(speed):
            told.append(self.say("told_speed", value=speed))
        return "; ".join(told) or self.say("told_nothing")

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all that finished runs have told is in the picture (at most `timeout` seconds each); whether that is so."
        return all([super().wait(timeout), *(follower.wait(timeout) for follower in self._followers)])

    def close(self) -> None:
        "End the widget: nothing is followed any more, and its views disappear."
        for follower in self._followers:
            follower.close()
        super().close()
