"""Scores, loss terms, learning rate, speed and gradient norm over the epochs, of one run or of several overlaid."""

import math
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from dcacn_nb.core.events import EpochDone, Evaluated, Event, HeadSet, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.report.figures.curves import plot_curves
from dcacn_nb.report.palette import SCORES
from dcacn_nb.report.picture import Picture
from dcacn_nb.runs.thinned import ThinnedList
from dcacn_nb.widgets.feed import Follower, History
from dcacn_nb.widgets.live import STATIC, LiveWidget, float_bytes, widget_words

POINTS = 1200  # points kept of a line: every evaluation of 1,000 epochs, and about twice the pixels of a panel
PAUSE = 0.1  # seconds between two messages: a run may report hundreds of steps a second
MOST = 8  # runs in one picture: as many as there are kinds of dashes


_LARGEST = float(np.finfo(np.float32).max)
_GAP = float_bytes([math.nan])


def _row(values: "Iterable[float | None]") -> bytes:
    "One point of several lines as float32. A value that is missing or not finite is NaN, drawn as a gap."
    return float_bytes([value if value is not None and abs(value) <= _LARGEST else math.nan for value in values])


class Rows:
    "Points over the epochs, thinned, and how many of them the browser has."

    def __init__(
        self,
        limit: int = POINTS,  # rows kept besides the newest
    ):
        self.rows, self.width = ThinnedList(limit), 0
        self.restart, self._unsent, self._changed = True, 0, True

    def append(self, values: "Iterable[float | None]") -> None:
        "Add a row: the epoch, then a number for each line."
        row = _row(values)
        self.width = max(self.width, len(row))
        self.restart |= self.rows.append(row)
        self._unsent += self._spare == 0
        self._changed = True

    @property
    def _spare(self) -> int:
        "1 if the newest row is preliminary: the next one replaces it."
        return int(self.rows.seen > 0 and (self.rows.seen - 1) % self.rows.stride > 0)

    def changes(self) -> "tuple[dict, list[bytes]] | None":  # None: the browser has everything
        "What the browser must do to have the same rows; the rows then count as sent."
        if not (self._changed or self.restart):
            return None
        rows, spare = list(self.rows), self._spare
        kept = len(rows) - spare if self.restart else self._unsent
        data = b"".join(row + _GAP * ((self.width - len(row)) // 4) for row in rows[len(rows) - spare - kept :])
        content = {"restart": self.restart, "kept": kept}
        self.restart, self._unsent, self._changed = False, 0, False
        return content, [data]


class Track:
    "The lines of one run: its events as rows of numbers, and as messages for the browser."

    def __init__(
        self,
        history: History,  # of the run: receives every event before `add` does
    ):
        self.history = history
        self.clear()
        for event in history.events():  # those from before the widget was made
            self.add(event)

    def clear(self) -> None:
        "Forget all rows."
        self.steps, self.scores, self.terms, self.by_epoch = Rows(), Rows(), [], True
        self.announce = True  # the browser must be sent the run itself

    def add(self, event: Event) -> None:
        "Add one event."
        if isinstance(event, RunStarted):
            self.clear()
        elif isinstance(event, HeadSet):
            self.announce = True
        elif isinstance(event, Evaluated):
            self.announce |= not len(self.scores.rows)  # this may be the first event of the run
            self.scores.append([event.epoch, *((event.scores or {}).get(name) for name in SCORES)])
        elif isinstance(event, StepDone):
            if self.by_epoch:  # steps are reported, so means over epochs are not needed
                self.steps, self.by_epoch, self.announce = Rows(), False, True
            self._add_losses(
                event.losses, [self.history.epoch_of(event.step), event.lr, event.images_per_second, event.grad_norm]
            )
        elif isinstance(event, EpochDone) and self.by_epoch:
            self._add_losses(event.losses, [event.epoch, None, None, None])

    def _add_losses(self, losses: dict, first: list) -> None:
        "Add a row of steps; a new loss term makes all rows wider."
        new = [name for name in losses if name not in self.terms]
        if new:
            self.terms += new
            self.announce = True
        self.steps.append([*first, *(losses.get(name) for name in self.terms)])

    @property
    def begun(self) -> bool:
        "Whether the run has reported anything."
        return self.history.start is not None or len(self.steps.rows) > 0 or len(self.scores.rows) > 0

    def messages(self, run: int, label: str) -> "Iterable[tuple[dict, list[bytes]]]":
        "What the browser does not yet have of this run."
        if self.announce:
            head = self.history.head_set and self.history.head_set.epoch
            about = {"label": label, "terms": list(self.terms), "begun": self.begun, "head": head}
            yield {"kind": "run", "run": run, **about}, []
            self.announce, self.steps.restart, self.scores.restart = False, True, True
        for part in ("steps", "scores"):
            changes = getattr(self, part).changes()
            if changes is not None:
                yield {"kind": "rows", "run": run, "part": part, **changes[0]}, changes[1]


def _check_compare(
    compare: "dict | None",  # {label: run}
    label: str,  # of the run itself
) -> dict:
    "Refuse what is not a run, too many runs, and two runs of one name."
    if compare is not None and not isinstance(compare, dict):
        raise TypeError(f"compare must be like {{'no attention': 'runs/plain'}}, got {type(compare).__name__}")
    compare = compare or {}
    if len(compare) >= MOST:
        raise ValueError(
            f"compare must hold at most {MOST - 1} runs, got {len(compare)}; more lines cannot be distinguished"
        )
    for name, source in compare.items():
        if not isinstance(name, str) or not name.strip() or name == label:
            raise ValueError(
                f"compare must have its own label for every run, got {name!r}"
                + (", which is the label of the run itself" if name == label else "")
            )
        if isinstance(source, (str, Path)) and not Path(source).is_dir():
            raise ValueError(
                f"compare[{name!r}] must be the folder of a run, got {str(source)!r}, which is not a folder"
            )
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

    ESM = STATIC / "curves.js"
    WORDS = widget_words("curves")

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the widget
        *,
        compare: "dict | None" = None,  # {label: folder, Run, or events}: at most 7 runs to overlay
        label: str = "",  # of this run beside others; "": "this run"
        history: "History | None" = None,  # shared: its owner also calls `handle`; None: the widget keeps one
        folder: "str | Path | None" = None,  # of the run; None: the run's own
        lang: str = "en",  # "en" or "zh"
    ):
        self.label, self._compare, self._followers = label, compare, []
        super().__init__(run, history=history, folder=folder, lang=lang)

    def prepare(self) -> None:
        "Make the lines of the run, and of each run beside it."
        self._compare, self._sent = _check_compare(self._compare, self.label or self.WORDS["en"]["this_run"]), 0.0
        self._tracks = [Track(self.history), *(Track(History()) for _ in self._compare)]
        for track, source in zip(self._tracks[1:], self._compare.values()):
            observer = partial(self._handle_other, track)
            folder = source if isinstance(source, (str, Path)) else getattr(source, "folder", None)
            if folder is not None:
                self._followers.append(Follower(folder, [observer]))
            elif hasattr(source, "subscribe"):
                source.subscribe(observer)
            else:
                for event in source:
                    observer(event)

    def update(self, event: Event) -> None:
        "Add a row."
        self._add(self._tracks[0], event)

    def _add(self, track: Track, event: Event) -> None:
        "Add an event to a run's lines. Reports of steps are sent together, so that messages stay few."
        track.add(event)
        if self._viewed and (not isinstance(event, StepDone) or time.monotonic() - self._sent > PAUSE):
            self._sent = time.monotonic()
            for content, buffers in self._messages():
                self.post(buffers=buffers, **content)

    def _handle_other(self, track: Track, event: Event) -> None:
        "Receive an event of a run beside this one."
        if isinstance(event, SnapshotTaken):
            return  # large, and not drawn here
        with self._lock:
            track.history(event)
            self._add(track, event)
            if isinstance(event, RunFinished) or time.monotonic() - self._described_at > 0.25:
                self.summary, self._described_at = self.describe(), time.monotonic()
            over = isinstance(event, RunFinished) and all(
                track.history.end for track in self._tracks[0 if self._tracks[0].begun else 1 :]
            )
        if over:
            self.settle()

    def _labels(self) -> "list[str]":
        "The labels of the runs, this one first."
        return [self.label or self.text("this_run"), *self._compare]

    def _messages(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "What the browser does not yet have."
        for i, (track, label) in enumerate(zip(self._tracks, self._labels())):
            yield from track.messages(i, label)

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "Everything."
        for track in self._tracks:
            track.announce = True
        return self._messages()

    def figure(self) -> Picture:
        "The curves for print: `report.figures.plot_curves` of the same runs."
        with self._lock:
            runs = {label: track.history.events() for track, label in zip(self._tracks, self._labels()) if track.begun}
        return plot_curves(runs)

    def describe(self) -> str:
        "How far each run is, with its last scores, loss and speed."
        sentences = []
        for i, (track, label) in enumerate(zip(self._tracks, self._labels())):
            if not track.begun:
                continue
            start, epoch, values = track.history.start, track.history.epoch, self._latest(track.history)
            if i:
                sentences.append(self.text("beside", label=label, epoch=epoch, values=values))
            elif start and start.n_steps:
                epochs = math.ceil(start.n_steps / max(1, start.steps_per_epoch))
                sentences.append(self.text("place", epoch=epoch, epochs=epochs, values=values))
            else:
                sentences.append(self.text("place_open", epoch=epoch, values=values))
            if track.history.head_set is not None and not i:
                sentences.append(self.text("head_set", epoch=track.history.head_set.epoch))
        return " ".join(sentences) or self.text("waiting")

    def _latest(self, history: History) -> str:
        "The last scores, loss and speed of a run."
        scored, step, parts = history.evaluations.last, history.steps.last or history.epochs.last, []
        if scored is not None:
            scores = {name: (scored.scores or {}).get(key) for key, (name, *_) in SCORES.items()}
            known = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None)
            parts.append(known or self.text("value_unlabelled"))
        losses = {name: value for name, value in (step.losses if step else {}).items() if value is not None}
        if losses:
            term = "total" if "total" in losses else next(iter(losses))
            name = self.text(f"term_{term}") if f"term_{term}" in self.WORDS[self.lang] else term
            parts.append(self.text("value_loss", term=name, value=losses[term]))
        speed = getattr(step, "images_per_second", None)
        if speed is not None and math.isfinite(speed):
            parts.append(self.text("value_speed", value=speed))
        return "; ".join(parts) or self.text("value_none")

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all events of finished runs have arrived (at most `timeout` seconds each). True if they have."
        return all([super().wait(timeout), *(follower.wait(timeout) for follower in self._followers)])

    def close(self) -> None:
        "Close the widget: it stops following the runs, and its views disappear."
        for follower in self._followers:
            follower.close()
        super().close()
