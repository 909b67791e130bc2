"""What a long run will take, before it is started: a short run of the same settings is measured, and the rest counted.

The short run is real: the same network, views, losses, log and checkpoints, on some of the images, in a folder that is
removed. Its report is not drawn. Other numbers of images, and other numbers of processes, are calculated."""

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dcacn_nb.compare.memory import PeakMemory
from dcacn_nb.core.checks import check_int
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.events import EpochDone, Evaluated, Event, HeadSet, StepDone
from dcacn_nb.data.feature_set import training_tensor
from dcacn_nb.fitting import fit, method_for
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.method.head_start import MOST, joint_from
from dcacn_nb.method.step import Method, encode

WARM = 3  # steps before those that are timed: memory and caches are set up in them
LINK = 10e9  # bytes per second between two processes that exchange gradients: an assumption


@dataclass(frozen=True)
class Plan:
    "What a run takes. Shows itself as lines of text."

    config: TrainConfig
    n_images: int
    ranks: int  # processes that share each step
    step_seconds: float  # of one step
    evaluation_seconds: float  # of one evaluation, all images assigned
    snapshot_seconds: float  # of one snapshot
    save_seconds: float  # of one checkpoint
    start_seconds: float  # before the first step
    memory: int  # bytes, the most that the process holds (on CUDA: that the device holds)
    checkpoint_bytes: int  # of one checkpoint
    best_bytes: int  # of the best weights
    snapshot_bytes: int  # of one snapshot
    event_bytes: float  # of the log, per step
    parameters: int
    measured: bool  # False: calculated from another plan

    @property
    def steps(self) -> int:
        "Optimisation steps of the whole run."
        return self.config.epochs * max(1, self.n_images // (self.config.batch_size * self.ranks))

    @property
    def evaluations(self) -> int:
        "Evaluations after the first one, which counts as part of the start."
        return _times(self.config.epochs, self.config.eval_every)

    @property
    def snapshots(self) -> int:
        "Snapshots after the first one."
        return _times(self.config.epochs, self.config.snapshot_every)

    @property
    def seconds(self) -> float:
        "The whole run, without its report."
        work = self.steps * self.step_seconds + self.evaluations * self.evaluation_seconds
        work += self.snapshots * self.snapshot_seconds + self.start_seconds
        saves = 1 + self.evaluations / 2 + work / max(1.0, self.config.checkpoint_seconds)
        return work + saves * self.save_seconds

    @property
    def disk(self) -> int:
        "Bytes of the run folder at its end, without the report."
        kept = min(self.config.keep_last, 1 + self.seconds // max(1.0, self.config.checkpoint_seconds))
        log = self.steps * self.event_bytes
        snapshots = (self.snapshots + 1) * self.snapshot_bytes if self.config.snapshot_every else 0
        return int(kept * self.checkpoint_bytes + self.best_bytes + snapshots + log)

    def scaled(
        self,
        n_images: "int | None" = None,  # of the run; None: as it is
        ranks: "int | None" = None,  # processes, one GPU each, each with `batch_size` images of a step; None: as it is
    ) -> "Plan":
        "The same run with other numbers: calculated, not measured."
        n = check_int("n_images", self.n_images if n_images is None else n_images, low=2)
        ranks = check_int("ranks", self.ranks if ranks is None else ranks, low=1)
        growth, shared = n / self.n_images, 4 * self.parameters
        exchange = 2 * (ranks - 1) / ranks * shared / LINK if ranks > 1 else 0.0  # ring all-reduce
        return dataclasses.replace(
            self,
            n_images=n,
            ranks=ranks,
            step_seconds=self.step_seconds + exchange,
            evaluation_seconds=self.evaluation_seconds * growth / ranks,
            start_seconds=self.start_seconds * max(1.0, growth / ranks),
            memory=int(self.memory + self.memory_per_image * (n - self.n_images)),
            measured=False,
        )

    @property
    def memory_per_image(self) -> float:
        "Bytes that one more image takes: its pixels, and its probabilities as they are assigned and measured."
        side = self.config.image_size
        return self.config.channels * side * side + 3 * 4 * self.config.n_clusters

    @property
    def step_time(self) -> str:
        "What a step takes: milliseconds, or seconds from one second on."
        seconds = self.step_seconds
        return f"{_plain(seconds, 3)} s" if seconds >= 0.9995 else f"{_plain(1000 * seconds, 3)} ms"

    def as_dict(self) -> dict:
        "Plain values."
        figures = {name: getattr(self, name) for name in ("steps", "seconds", "memory", "disk", "n_images", "ranks")}
        return figures | {"step_seconds": self.step_seconds, "measured": self.measured}

    def __str__(self) -> str:
        how = "measured here" if self.measured else "calculated, not measured"
        ranks = f" on {self.ranks} processes" if self.ranks > 1 else ""
        return (
            f"{self.n_images:,} images, {self.steps:,} steps{ranks}: {tqdm.format_interval(self.seconds)} "
            f"({self.step_time} a step), {_plain(self.memory / 2**30, 2)} GiB of memory, "
            f"{self.disk / 2**20:,.0f} MiB on the disk ({how})"
        )


def _plain(value: float, digits: int) -> str:
    "A number with so many significant digits, and never as a power of ten."
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")


def _times(epochs: int, every: int) -> int:
    "How often something happens that is due every so many epochs, and in the last one."
    return math.ceil(epochs / every) if every else 0


def plan(
    images,  # ImageSet, a uint8 tensor (N,C,H,W), or a FeatureSet
    config: TrainConfig,  # every setting of the run
    method: "Method | str" = "dcacn",
    steps: int = 12,  # to measure, after the first WARM; more are more exact
) -> Plan:
    "Measure some steps of a run, and what comes between them; nothing of it is kept."
    check_int("steps", steps, low=3)
    method = method_for(method, images)
    config = method.settings(config)
    tensor = training_tensor(images)
    part = _part(tensor, config, steps)
    short = _short(config, len(part), steps)
    times: list[tuple[Event, float]] = []
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        began = time.perf_counter()
        observer = lambda event: times.append((event, time.perf_counter()))
        where = Path(folder) / "run"
        run = fit(part, short, method=method, run_dir=where, observers=[observer], report=False)
        held = _held(memory, config.device)
        per_image = _seconds_per_image(run.model, part, config)
        return _plan(config, len(tensor), len(part), times, began, run, per_image, held)


def _held(memory: PeakMemory, device: str) -> int:
    "Bytes that the process, on CUDA the device, has held at most."
    where = pick_device(device)
    return torch.cuda.max_memory_allocated(where) if where.type == "cuda" else memory.peak


def plan_changes(
    images,  # ImageSet, or a uint8 tensor (N,C,H,W)
    config: TrainConfig,  # every setting of the run
    method: "Method | str" = "dcacn",
    steps: int = 5,  # to measure of each
) -> "dict[str, Plan]":  # what is changed -> its plan
    "The same run with other batches, crops, width and size: each measured, in turn."
    changes: dict[str, dict] = {
        "batch_size / 2": {"batch_size": max(2, config.batch_size // 2)},
        "batch_size x 2": {"batch_size": min(2 * config.batch_size, len(training_tensor(images)))},
        "n_local = 0": {"n_local": 0},
        "n_local + 2": {"n_local": config.n_local + 2},
        "width x 2": {"width": 2 * config.width},
        "crops x 1.5": {"global_size": 3 * config.global_size // 2, "local_size": 3 * config.local_size // 2},
    }
    known = method_for(method, images)
    made = {name: known.settings(dataclasses.replace(config, **new)) for name, new in changes.items()}
    return {name: plan(images, changed, known, steps) for name, changed in made.items() if changed != config}


def _part(images: Tensor, config: TrainConfig, steps: int) -> Tensor:
    "Some of the images: enough for an epoch of half the steps."
    wanted = config.batch_size * max(1, math.ceil((steps + WARM) / 2))
    return images[: max(wanted, min(len(images), 2 * config.batch_size))]


def _short(config: TrainConfig, n: int, steps: int) -> TrainConfig:
    "The settings of the short run: enough epochs, each evaluated, and a snapshot in the last one alone."
    epochs = max(2, math.ceil((steps + WARM) / max(1, n // config.batch_size)))
    start = round(joint_from(config) / config.epochs, 6)
    if 0 < start < 1:  # steps before and after it, and an evaluation after it without a snapshot
        start, epochs = 0.5, max(3, epochs)
    short = dataclasses.replace(config, epochs=epochs, cluster_start=start, log_every=1, eval_every=1)
    return dataclasses.replace(short, snapshot_every=epochs if config.snapshot_every else 0)


def _step_seconds(config: TrainConfig, gaps: "dict[int, float]", begun: int) -> float:
    "Of a step of the whole run, on average: before the head start there are no local crops and no cluster losses."
    before, after = ([seconds for step, seconds in gaps.items() if (step <= begun) == early] for early in (True, False))
    if not (before and after):
        return statistics.median(gaps.values())
    share = joint_from(config) / config.epochs
    return share * statistics.median(before) + (1 - share) * statistics.median(after)


def _seconds_per_image(model, images: Tensor, config: TrainConfig) -> float:
    "What assigning one image takes, in batches."
    began = time.perf_counter()
    encode(model, images, config)
    return (time.perf_counter() - began) / len(images)


def _plan(config, n: int, n_part: int, times, began: float, run, per_image: float, memory: int) -> Plan:
    "The figures of the short run, put together."
    folder = run.folder
    stepped = [(event.step, at) for event, at in times if isinstance(event, StepDone)]
    epoch_ends = {event.step for event, _ in times if isinstance(event, EpochDone)}
    gaps = {t: b - a for (s, a), (t, b) in zip(stepped, stepped[1:]) if s not in epoch_ends and s >= WARM}
    begun = next((event.step for event, _ in times if isinstance(event, HeadSet)), 0)
    ends = [at for event, at in times if isinstance(event, Evaluated) and event.epoch]
    befores = [max(at for step, at in stepped if at <= end) for end in ends]
    evaluations = [end - before for end, before in zip(ends, befores)]
    # the last one came with a snapshot; the one before the first step set up memory; the one at the head start has
    # ten starts of K-Means, those before it have three
    with_snapshot = evaluations[-1]
    plain = min(evaluations[:-1]) if evaluations[:-1] else with_snapshot
    kmeans = 0.3 * max(0.0, evaluations[0] - plain) * min(n, MOST) / n_part if begun else 0.0
    growth = (n - n_part) * per_image
    first = next(at for event, at in times if isinstance(event, Evaluated))
    sizes = _sizes(folder)
    return Plan(
        config,
        n_images=n,
        ranks=1,
        step_seconds=_step_seconds(config, gaps, begun) if gaps else _rest(stepped),
        evaluation_seconds=plain + growth + kmeans * joint_from(config) / config.epochs,
        snapshot_seconds=max(0.0, with_snapshot - plain) if config.snapshot_every else 0.0,
        save_seconds=_save_seconds(run, folder),
        start_seconds=first - began + growth,
        memory=memory + int(3 * 4 * config.n_clusters * (n - n_part)),
        checkpoint_bytes=sizes["checkpoint"],
        best_bytes=sizes["best"],
        snapshot_bytes=sizes["snapshot"],
        event_bytes=sizes["log"] / max(1, len(stepped)) / max(1, config.log_every),
        parameters=sum(p.numel() for p in run.model.parameters()),
        measured=True,
    )


def _rest(stepped: "Sequence[tuple[int, float]]") -> float:
    "Seconds of a step where each epoch has but one."
    return (stepped[-1][1] - stepped[0][1]) / max(1, stepped[-1][0] - stepped[0][0])


def _sizes(folder: Path) -> "dict[str, int]":
    "Bytes of what a run writes."

    def largest(pattern: str) -> int:
        return max((path.stat().st_size for path in folder.glob(pattern)), default=0)

    return {
        "checkpoint": largest("checkpoints/step_*"),
        "best": largest("checkpoints/best*"),
        "snapshot": largest("snapshots/*"),
        "log": largest("events.jsonl"),
    }


def _save_seconds(run, folder: Path) -> float:
    "What a checkpoint takes."
    from dcacn_nb.runs.checkpoint import save_checkpoint

    began = time.perf_counter()
    save_checkpoint(folder / "again.safetensors", run.state.finite_tensors(), {})
    return time.perf_counter() - began
