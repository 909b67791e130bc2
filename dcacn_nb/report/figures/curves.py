"""Scores, loss terms, learning rate and speed over the epochs, of one run or of several."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from dcacn_nb.core.events import Evaluated, Event
from dcacn_nb.report.health import HEALTH
from dcacn_nb.report.palette import COLORS, SCORES, color_of, dash_of
from dcacn_nb.report.picture import Picture, empty_picture, plain_text
from dcacn_nb.report.record import RunRecord, read_record


def plot_curves(
    # a run folder or its events; several: a list of folders, or {label: folder}
    run: "str | Path | Sequence[Event] | RunRecord | Sequence[str | Path] | dict",
) -> Picture:  # one run: up to four panels over epochs; several: one panel per quantity, one line per run
    "Scores (the paper's Figure 3), loss terms, learning rate and speed over the epochs, of one run or of several."
    records = _records(run)
    if len(records) > 1:
        return _compare(records)
    record = next(iter(records.values()))
    scored = [e for e in record.evaluations if e.scores]
    draw = [(_draw_scores, scored)] if scored else []
    if record.steps or record.epochs:
        draw += [(_draw_losses, record), (_draw_rate, record), (_draw_speed, record)]
    if not draw:
        return empty_picture(
            "no optimisation step and no score in the log yet", "Curves over the epochs. Nothing to draw yet."
        )
    rows = math.ceil(len(draw) / 2)
    figure = Picture(figsize=(9, 2.7 * rows), layout="constrained")
    words, grid = [], figure.add_gridspec(rows, 2)  # one grid for all, or the layout lets them overlap
    for i, (function, data) in enumerate(draw):
        # three panels: the first one takes the whole upper row
        place = grid[0, :] if len(draw) == 3 and i == 0 else grid[divmod(i + (len(draw) == 3), 2)]
        axis = figure.add_subplot(place)
        if record.head_set:
            _draw_start(axis, record.head_set.epoch)
        words.append(function(axis, data))
        epoch_axis(axis)
    if record.head_set:
        words.append(f"Dotted: K-Means set the cluster head after epoch {record.head_set.epoch}.")
    figure.alt = "Curves over the epochs. " + " ".join(words)
    return figure


def _records(runs) -> "dict[str, RunRecord]":
    "Every run under its label: its folder's name, with as much of the path as distinguishes it from the others."
    if isinstance(runs, dict):
        return {str(label): read_record(run, snapshots=False) for label, run in runs.items()} or {"": RunRecord()}
    if (
        isinstance(runs, (str, Path, RunRecord))
        or not isinstance(runs, Iterable)
        or all(isinstance(e, Event) for e in runs)
    ):
        return {"": read_record(runs, snapshots=False)}
    paths = [
        Path(run).absolute().parts if isinstance(run, (str, Path)) else (f"run {i}",)
        for i, run in enumerate(runs, start=1)
    ]
    if len(set(paths)) < len(paths):
        raise ValueError(f"run must name each folder once, got {[str(run) for run in runs]}")
    return {_label(path, paths): read_record(run, snapshots=False) for path, run in zip(paths, runs)}


def _label(path: "tuple[str, ...]", paths: "list[tuple[str, ...]]") -> str:
    "The shortest end of a path that no other path has."
    lengths = (n for n in range(1, len(path) + 1) if sum(other[-n:] == path[-n:] for other in paths) == 1)
    return "/".join(path[-next(lengths, len(path)) :])


def epoch_axis(
    axis,  # matplotlib Axes
) -> None:
    "Whole epochs along the bottom."
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.25)


def _draw_start(axis, epoch: int, color: str = "0.4", label: str = "cluster head set") -> None:
    "An upright dotted line where K-Means set the cluster head."
    axis.axvline(epoch, color=color, linestyle=":", linewidth=1.2, label=label)


def _losses(record: RunRecord) -> "dict[str, list]":
    "Points (epoch, value) of every loss term: step reports where there are some, else means of epochs."
    reports = [(record.epoch_of(e.step), e.losses) for e in record.steps] or [
        (e.epoch, e.losses) for e in record.epochs
    ]
    names = dict.fromkeys(name for _, losses in reports for name in losses)
    return {name: [(x, losses[name]) for x, losses in reports if name in losses] for name in names}


def _draw_scores(axis, scored: "list[Evaluated]") -> str:
    "ACC, NMI and ARI."
    words = []
    for key, (name, color, marker) in SCORES.items():
        points = [(e.epoch, e.scores[key]) for e in scored if key in e.scores]
        if points:
            label = f"{name} {points[-1][1]:.3f}"
            every = max(1, len(points) // 12)  # a marker at every point of a long run would hide the line
            axis.plot(*zip(*points), color=color, marker=marker, markersize=4, markevery=every, label=label)
            words.append(label)
    # the upper end is always 1: a curve that fills its panel would look like success
    axis.set(title="scores (only these use labels)", ylim=(min(0, axis.get_ylim()[0]), 1.03))
    axis.legend(fontsize=9)
    return f"Scores at the end: {', '.join(words)}."


def _draw_losses(axis, record: RunRecord) -> str:
    "Every loss term."
    lines = _losses(record)
    for i, (name, points) in enumerate(lines.items()):
        axis.plot(*zip(*points), color=color_of(i), linestyle=dash_of(i), linewidth=1.4, label=plain_text(name))
    axis.set_title("loss terms")
    if lines:
        axis.legend(fontsize=9)
    return f"Loss terms at the end: {', '.join(f'{name} {points[-1][1]:.3g}' for name, points in lines.items())}."


def _draw_rate(axis, record: RunRecord) -> str:
    "Learning rate."
    axis.plot([record.epoch_of(e.step) for e in record.steps], [e.lr for e in record.steps], color=COLORS[5])
    axis.set(title="learning rate", ylim=(0, None))
    return f"Highest learning rate {max((e.lr for e in record.steps), default=math.nan):.3g}."


def _draw_speed(axis, record: RunRecord) -> str:
    "Images per second."
    rates = [e.images_per_second for e in record.steps]
    axis.plot([record.epoch_of(e.step) for e in record.steps], rates, color=COLORS[4])
    known = [rate for rate in rates if math.isfinite(rate)]
    axis.set(title="images per second", ylim=(0, 1.1 * max(known, default=1)))
    return f"Median speed {np.median(known):,.0f} images per second." if known else "Speed unknown."


def _quantities(record: RunRecord) -> "dict[str, list]":
    "Points (epoch, value) of everything by which runs can be compared."
    scores = {
        name: [(e.epoch, e.scores[key]) for e in record.evaluations if key in (e.scores or {})]
        for key, (name, _, _) in SCORES.items()
    }
    health = {
        HEALTH[key]: [(e.epoch, e.health[key]) for e in record.evaluations if key in e.health]
        for key in ("view_information", "balance_entropy")
    }
    rate = {
        "learning rate": [(record.epoch_of(e.step), e.lr) for e in record.steps],
        "images per second": [(record.epoch_of(e.step), e.images_per_second) for e in record.steps],
    }
    losses = {f"loss: {name}": points for name, points in _losses(record).items()}
    return {name: points for name, points in (scores | health | losses | rate).items() if points}


def _compare(records: "dict[str, RunRecord]") -> Picture:
    "One panel per quantity, one line per run: the same colour and the same dashes in all panels."
    runs = {label: _quantities(record) for label, record in records.items()}
    names = list(dict.fromkeys(name for quantities in runs.values() for name in quantities))
    if not names:
        return empty_picture(
            "no optimisation step and no score in the logs yet",
            f"Curves of {len(runs)} runs over the epochs. Nothing to draw yet.",
        )
    rows = math.ceil(len(names) / 3)
    figure = Picture(figsize=(9, 2.1 * rows + 0.3 * math.ceil(len(runs) / 4)), layout="constrained")
    starts = [record.head_set.epoch if record.head_set else None for record in records.values()]
    for i, name in enumerate(names):
        axis = figure.add_subplot(rows, 3, i + 1)
        _draw_quantity(axis, name, runs, bottom=i + 3 >= len(names))
        for j, epoch in enumerate(starts):
            if epoch is not None:
                _draw_start(axis, epoch, color_of(j))
    lines = [figure.axes[0].plot([], [], color=color_of(j), linestyle=dash_of(j))[0] for j in range(len(runs))]
    labels = [plain_text(label, 40) for label in runs]
    figure.legend(lines, labels, loc="outside upper center", ncols=min(4, len(runs)), fontsize=9)
    ends = {
        label: ", ".join(f"{name} {points[-1][1]:.3g}" for name, points in quantities.items())
        for label, quantities in runs.items()
    }
    values = "; ".join(f"{label}: {end or 'nothing yet'}" for label, end in ends.items())
    figure.alt = f"Curves of {len(runs)} run{'s' * (len(runs) != 1)} over the epochs. At the end: {values}."
    return figure


def _draw_quantity(axis, name: str, runs: "dict[str, dict[str, list]]", bottom: bool) -> None:
    "One panel of a comparison: a line for each run that has this quantity."
    for j, quantities in enumerate(runs.values()):
        if name in quantities:
            axis.plot(*zip(*quantities[name]), color=color_of(j), linestyle=dash_of(j), linewidth=1.4)
    axis.set_title(plain_text(name), fontsize=10)
    axis.tick_params(labelsize=9)
    epoch_axis(axis)
    axis.set_xlabel("epoch" if bottom else "", fontsize=9)
