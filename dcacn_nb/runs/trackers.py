"""Observers that show a run in other programs: TensorBoard, and Weights & Biases. Both are optional."""

import contextlib
import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import EpochDone, Evaluated, Event, RunFinished, RunStarted, StepDone
from dcacn_nb.core.files import inside

TRACKERS = ("tensorboard", "wandb")
MODES = ("offline", "online", "disabled")  # of Weights & Biases
_SUFFIX = ".dcacn"  # ends the names of our files for TensorBoard


def check_installed(
    package: str,  # one of TRACKERS
) -> None:
    "Refuse, with what to do, where a package is missing."
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(f"{package} is not installed: pip install 'dcacn_nb[track]'")


def figures(
    event: Event,  # any event
) -> "Iterator[tuple[str, float]]":  # name, with the name of its group before a slash, and value
    "The finite numbers of an event, by the names under which both programs show them."
    groups: dict[str, dict] = {}
    if isinstance(event, StepDone):
        speed = {"lr": event.lr, "grad_norm": event.grad_norm, "images_per_second": event.images_per_second}
        groups = {"step": event.losses | speed}
    elif isinstance(event, EpochDone):
        groups = {"epoch": event.losses | {"seconds": event.seconds}}
    elif isinstance(event, Evaluated):
        groups = {"health": event.health, "scores": event.scores or {}}
    for group, values in groups.items():
        for name, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield f"{group}/{name}", float(value)


class TensorBoard:
    "An observer that writes losses, health and scores for TensorBoard."

    def __init__(
        self,
        folder: "str | Path",  # for TensorBoard's files, e.g. RUN/tensorboard; made if missing
    ):
        check_installed("tensorboard")
        self.folder = Path(folder)
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._open(event)
        elif self._writer is not None:
            for name, value in figures(event):
                self._writer.add_scalar(name, value, event.step, walltime=event.time)  # type: ignore[attr-defined]
        if isinstance(event, RunFinished):
            self.close()

    def _open(self, event: RunStarted) -> None:
        "New files: a resumed run reports again from its first event on, and what was written before would be twice."
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            inside(self.folder, old).unlink(missing_ok=True)
        self._writer = SummaryWriter(str(self.folder), filename_suffix=_SUFFIX)
        settings = "\n".join(f"| {name} | {value} |" for name, value in event.config.items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{settings}", 0, walltime=event.time)
        self._writer.add_text("method", event.method, 0, walltime=event.time)

    def close(self) -> None:
        "Write what is left, and close the file."
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandB:
    "An observer that logs a run for Weights & Biases: offline, unless asked otherwise; `wandb sync` uploads it."

    def __init__(
        self,
        project: str = "dcacn_nb",
        *,
        folder: "str | Path" = ".",  # wandb's files go into a folder `wandb` in it
        mode: str = "offline",  # "online" sends everything to the account of `wandb login`; "disabled" does nothing
        **options,  # of wandb.init: name, group, tags, ...
    ):
        check_in("mode", mode, MODES)
        check_installed("wandb")
        self.options = {"project": project, "dir": str(folder), "mode": mode} | options
        self._run: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._open(event)
        elif self._run is not None:
            values = dict(figures(event))
            if values:
                self._run.log(values, step=event.step)  # type: ignore[attr-defined]
        if isinstance(event, RunFinished) and self._run is not None:
            self._run.summary["reason"] = event.reason
            self.close()

    def _open(self, event: RunStarted) -> None:
        "A new run there."
        import wandb

        self.close()
        Path(self.options["dir"]).mkdir(parents=True, exist_ok=True)
        config = event.config | {"method": event.method, "protocol": event.protocol, "versions": event.versions}
        settings = wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True)
        with _no_environment("WANDB_MODE"):  # it would outvote the mode asked for
            self._run = wandb.init(config=config, settings=settings, reinit="finish_previous", **self.options)

    def close(self) -> None:
        "Write what is left."
        if self._run is not None:
            self._run.finish()
            self._run = None


@contextlib.contextmanager
def _no_environment(name: str) -> "Iterator[None]":
    "Without an environment variable for a while."
    before = os.environ.pop(name, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before


def make_tracker(
    name: str,  # one of TRACKERS
    folder: "str | Path",  # for its files
    **options,  # of WandB
) -> "TensorBoard | WandB":
    "An observer by the name of its program."
    check_in("to", name, TRACKERS)
    return TensorBoard(folder, **options) if name == "tensorboard" else WandB(folder=folder, **options)
