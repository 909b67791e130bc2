"""How far a run is, and how long it will still take: a bar that moves, or a line of text now and then."""

import math
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from dcacn_nb.core.events import Evaluated, Event, HeadSet, RunFinished, RunStarted, StepDone
from dcacn_nb.core.text import printable


def seconds_per_step(
    reports: "Sequence[StepDone]",  # of one run, in order
) -> "float | None":  # None: they do not tell
    "The pace between reports of steps. Evaluations in between count; pauses, and the time before a resume, do not."
    spans = [(b.step - a.step, b.time - a.time) for a, b in zip(reports, reports[1:])]
    spans = [(steps, seconds) for steps, seconds in spans if steps > 0 and seconds > 0]
    if not spans:
        return None
    paces = sorted(seconds / steps for steps, seconds in spans)
    most = 20 * paces[len(paces) // 2]
    kept = [(steps, seconds) for steps, seconds in spans if seconds / steps <= most]
    return sum(seconds for _, seconds in kept) / sum(steps for steps, _ in kept)


class ProgressBar:
    "An observer: epoch, steps done, time left, loss, rate, and ACC where it is known, in one line of text."

    def __init__(
        self,
        file: "TextIO | None" = None,  # where the text goes; None: standard error
        plain: bool = False,  # a line now and then instead of a moving bar: for files
    ):
        self.file, self.plain, self.born = file or sys.stderr, plain, time.time()
        self.bar: tqdm | None = None
        self.postfix: dict[str, str | None] = {}  # what is shown behind the bar
        self.epochs, self.steps = 1, 0
        self.began = (0, self.born)  # step and time from which speed is measured
        self.last_line = (-math.inf, self.born)  # epoch and time of the last line

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._open(event)
        if isinstance(event, Evaluated):
            self.postfix["ACC"] = f"{event.scores['acc']:.3f}" if event.scores else None
            if self.bar is not None:
                self._show(self.bar)
            if self.plain and event.time >= self.born:
                self._line(event)
        if isinstance(event, HeadSet) and event.time >= self.born:
            self._say(f"epoch {event.epoch}/{self.epochs}  K-Means on the features has set the cluster head")
        if isinstance(event, StepDone) and self.bar is not None:
            self._step(self.bar, event)
        if isinstance(event, (StepDone, Evaluated)) and event.time < self.born:  # before a resumed run was resumed
            self.began = (event.step, self.born)
        if isinstance(event, RunFinished):
            self.close()

    def _open(self, event: RunStarted) -> None:
        "A new bar; the one before it, if a run starts over, is ended."
        self.close()
        self.epochs, self.postfix = max(1, math.ceil(event.n_steps / max(1, event.steps_per_epoch))), {}
        self.steps, self.began = event.n_steps, (0, max(event.time, self.born))
        self.last_line = (-math.inf, self.began[1])
        if not self.plain:
            self.bar = tqdm(
                total=event.n_steps,
                desc=f"epoch 0/{self.epochs}: ",
                file=self.file,
                dynamic_ncols=True,
                # images per second say how fast it is; steps per second would leave no room for the bar in 80 columns
                bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )

    def _step(self, bar: tqdm, event: StepDone) -> None:
        "Move the bar; steps from before the bar was made (a resumed run's) move its start, and do not count as speed."
        speed = "" if math.isnan(event.images_per_second) else f"{event.images_per_second:.0f}"
        bar.set_description(f"epoch {event.epoch}/{self.epochs}", refresh=False)
        self.postfix |= {"loss": f"{event.losses['total']:.3f}", "images/s": speed}
        self._show(bar)
        if event.time < self.born:
            bar.initial = bar.n = bar.last_print_n = event.step
        else:
            bar.update(event.step - bar.n)

    def _say(self, line: str) -> None:
        "A line of text, above the bar if there is one."
        if self.bar is not None:
            self.bar.clear()
        self.file.write(f"{printable(line)}\n")  # a log may come from a stranger
        self.file.flush()

    def _show(self, bar: tqdm) -> None:
        "What is shown behind the bar; drawn at its next move, or at its end."
        bar.set_postfix({name: value for name, value in self.postfix.items() if value}, refresh=False)

    def _line(self, event: Evaluated) -> None:
        "An evaluation as a line of text: a tenth of the run or a minute after the line before, and at the end."
        epoch, moment = self.last_line
        if event.epoch == self.epochs or event.epoch - epoch >= self.epochs / 10 or event.time - moment >= 60:
            self.last_line = (event.epoch, event.time)
            scores = "".join(f"  {name.upper()} {value:.3f}" for name, value in (event.scores or {}).items())
            known = [name for name in ("view_information", "neighbour_information") if name in event.health][:1]
            figure = "".join(f"  {name.replace('_', ' ')} {event.health[name]:.3f}" for name in known)
            self._say(f"epoch {event.epoch}/{self.epochs}{figure}{scores}{self._left(event)}")

    def _left(self, event: Evaluated) -> str:
        "The time left, if the steps to come take as long as those since the start or the last resume."
        done, left = event.step - self.began[0], self.steps - event.step
        if done <= 0 or left <= 0:
            return ""
        return f"  time left {tqdm.format_interval((event.time - self.began[1]) * left / done)}"

    def close(self) -> None:
        "End the line."
        if self.bar is not None:
            self.bar.refresh()
            self.bar.close()
            self.bar = None
