"""One line of text that moves: how far a run is, and how long it will still take."""

import math
import sys
import time

from tqdm import tqdm

from dcacn_nb.core.events import Evaluated, Event, RunFinished, RunStarted, StepDone


class ProgressBar:
    "An observer: steps done, time left, loss, rate, and ACC where it is known, in one line of text."

    def __init__(
        self,
        file=None,  # where the line goes; None: standard error
        plain: bool = False,  # a line now and then instead of a moving bar: for files
    ):
        self.file, self.plain, self.bar, self.epochs, self.born, self.shown = (
            file or sys.stderr,
            plain,
            None,
            1,
            time.time(),
            {},
        )
        self.steps, self.began, self.told = 0, (0, self.born), (-math.inf, self.born)

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._open(event)
        if isinstance(event, Evaluated):
            self.shown["ACC"] = f"{event.scores['acc']:.3f}" if event.scores else None
            if self.bar is not None:
                self._show()
            if self.plain and event.time >= self.born:
                self._line(event)
        if isinstance(event, StepDone) and self.bar is not None:
            self._step(event)
        if isinstance(event, (StepDone, Evaluated)) and event.time < self.born:  # a resumed run's former life
            self.began = (event.step, self.born)
        if isinstance(event, RunFinished):
            self.close()

    def _open(self, event: RunStarted) -> None:
        "A new bar; the one before it, if a run starts over, is ended."
        self.close()
        self.epochs, self.shown = max(1, math.ceil(event.n_steps / max(1, event.steps_per_epoch))), {}
        self.steps, self.began = (
            event.n_steps,
            (0, max(event.time, self.born)),
        )  # step and time from which speed is measured
        self.told = (-math.inf, self.began[1])  # epoch and time of the last line
        if not self.plain:
            self.bar = tqdm(total=event.n_steps, desc=event.method, unit="step", file=self.file, dynamic_ncols=True)

    def _step(self, event: StepDone) -> None:
        "Move the bar; steps from before the bar was made (a resumed run's) move its start, and do not count as speed."
        speed = "" if math.isnan(event.images_per_second) else f"{event.images_per_second:.0f}"
        self.shown |= {
            "epoch": f"{event.epoch}/{self.epochs}",
            "loss": f"{event.losses['total']:.3f}",
            "images/s": speed,
        }
        self._show()
        if event.time < self.born:
            self.bar.initial = self.bar.n = self.bar.last_print_n = event.step
        else:
            self.bar.update(event.step - self.bar.n)

    def _show(self) -> None:
        "What stands behind the bar; drawn at its next move, or at its end."
        self.bar.set_postfix({name: value for name, value in self.shown.items() if value}, refresh=False)

    def _line(self, event: Evaluated) -> None:
        "An evaluation as a line of its own, now and then."
        epoch, moment = self.told
        if event.epoch == self.epochs or event.epoch - epoch >= self.epochs / 10 or event.time - moment >= 60:
            self.told = (event.epoch, event.time)
            scores = "".join(f"  {name.upper()} {value:.3f}" for name, value in (event.scores or {}).items())
            known = (
                f"  view information {event.health['view_information']:.3f}"
                if "view_information" in event.health
                else ""
            )
            self.file.write(f"epoch {event.epoch}/{self.epochs}{known}{scores}{self._left(event)}\n")
            self.file.flush()

    def _left(self, event: Evaluated) -> str:
        "The time left, if the steps to come take as long as those of this life."
        done, left = event.step - self.began[0], self.steps - event.step
        return (
            f"  time left {tqdm.format_interval((event.time - self.began[1]) * left / done)}"
            if done > 0 and left > 0
            else ""
        )

    def close(self) -> None:
        "End the line."
        if self.bar is not None:
            self.bar.refresh()
            self.bar.close()
            self.bar = None
