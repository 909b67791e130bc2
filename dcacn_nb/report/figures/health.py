"""Health over the epochs: numbers that need no labels."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from dcacn_nb.core.events import Evaluated, Event
from dcacn_nb.report.figures.curves import epoch_axis
from dcacn_nb.report.health import HEALTH, similarity
from dcacn_nb.report.palette import COLORS, color_of, marker_of
from dcacn_nb.report.picture import Picture, empty_picture
from dcacn_nb.report.record import RunRecord, read_record


def plot_health(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
) -> Picture:  # share of each cluster over epochs; numbers without labels; similarity of clusters; empty clusters
    "How the images spread over the clusters, how sure the network is, whether two views agree and clusters differ."
    record = read_record(run)
    evaluations = [e for e in record.evaluations if e.health.get("cluster_mass")]
    if not evaluations:
        return empty_picture("no evaluation in the log yet", "Health over the epochs: nothing to draw yet.")
    p = _last_assignments(record)
    figure = Picture(figsize=(9, 3.6 if p is None else 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1) if p is None else (1, 1))
    mass = figure.add_subplot(grid[:, 0] if p is None else grid[0, 0])
    right, below = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    _draw_mass(figure, mass, evaluations)
    _draw_numbers(right, evaluations)
    _draw_empty(below, evaluations)
    right.sharex(below)
    right.tick_params(labelbottom=False)
    alike = "" if p is None else _draw_similarity(figure, figure.add_subplot(grid[1, 0]), similarity(p))
    figure.alt = _alt(evaluations) + alike
    return figure


def _alt(evaluations: "list[Evaluated]") -> str:
    "The last evaluation in words."
    n, final = len(evaluations), evaluations[-1].health
    mass, empty = final["cluster_mass"], final.get("n_empty", "an unknown number")
    numbers = ", ".join(f"{name} {final[key]:.2f}" for key, name in HEALTH.items() if key in final)
    return (
        f"Health over {n} evaluation{'s' * (n != 1)}. At the end the {len(mass)} clusters hold from {min(mass):.1%} "
        f"to {max(mass):.1%} of the images, {empty} are empty; {numbers}."
    )


def _last_assignments(record: RunRecord) -> "np.ndarray | None":
    "Assignments (n,K) of the last snapshot that has some."
    found = [s.arrays["p"] for s in record.snapshots if "p" in s.arrays and s.arrays["p"].ndim == 2]
    return found[-1] if found and found[-1].shape[1] > 1 and len(found[-1]) and np.isfinite(found[-1]).all() else None


def _draw_similarity(figure: Picture, axis, alike: np.ndarray) -> str:
    "A heat map of how alike the clusters are; the most similar pair in words."
    k = len(alike)
    mesh = axis.imshow(alike, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    ticks = range(0, k, max(1, math.ceil(k / 12)))
    title = "similarity of clusters, last snapshot"
    axis.set(title=title, xlabel="cluster", ylabel="cluster", xticks=ticks, yticks=ticks)
    figure.colorbar(mesh, ax=axis, pad=0.02)
    i, j = np.unravel_index(np.argmax(np.triu(alike, 1)), alike.shape)
    return (
        f" The most similar are clusters {i} and {j}: cosine similarity {alike[i, j]:.2f} of their columns "
        "of assignments."
    )


def _draw_numbers(axis, evaluations: "list[Evaluated]") -> None:
    "The numbers between 0 and 1, those that were recorded."
    for i, (key, name) in enumerate(HEALTH.items()):
        points = [(e.epoch, e.health[key]) for e in evaluations if key in e.health]
        if points:
            every, label = max(1, len(points) // 10), f"{name} {points[-1][1]:.2f}"
            style = dict(color=color_of(i), marker=marker_of(i), markersize=4, markevery=every)
            axis.plot(*zip(*points), label=label, **style)
    axis.set(title="numbers that need no labels", ylim=(-0.03, 1.03))
    axis.grid(alpha=0.25)
    if axis.lines:
        axis.legend(fontsize=8.5, frameon=True)  # lines pass behind it


def _draw_empty(axis, evaluations: "list[Evaluated]") -> None:
    "How many clusters are empty."
    empty = [e.health.get("n_empty", math.nan) for e in evaluations]
    axis.step([e.epoch for e in evaluations], empty, where="post", color=COLORS[3])
    label = "empty clusters" if len(axis.figure.axes) > 3 else "empty\nclusters"
    axis.set(ylabel=label, ylim=(-0.2, np.nanmax([1, *empty]) + 0.2))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    epoch_axis(axis)


def _draw_mass(figure: Picture, axis, evaluations: "list[Evaluated]") -> None:
    "A heat map: one column per evaluation, one row per cluster; 1 is an even share."
    k = len(evaluations[-1].health["cluster_mass"])
    evaluations = [e for e in evaluations if len(e.health["cluster_mass"]) == k]
    share = np.array([e.health["cluster_mass"] for e in evaluations]).T * k
    epochs = np.array([e.epoch for e in evaluations], dtype=float)
    middle = (epochs[1:] + epochs[:-1]) / 2
    width = np.diff(epochs).min() / 2 if len(epochs) > 1 and np.diff(epochs).min() > 0 else 0.5
    edges = np.concatenate([[epochs[0] - width], middle, [epochs[-1] + width]])
    top = max(2.0, float(share[np.isfinite(share)].max(initial=0)))
    mesh = axis.pcolormesh(edges, np.arange(k + 1) - 0.5, share, cmap="cividis", vmin=0, vmax=top)
    axis.set(title="mass of each cluster (1: an even share)", xlabel="epoch", ylabel="cluster")
    ticks = MaxNLocator(integer=True).tick_values(edges[0], edges[-1])
    axis.set_xticks([epoch for epoch in ticks if epochs[0] <= epoch <= epochs[-1]])
    axis.set_yticks(range(0, k, max(1, math.ceil(k / 12))))
    figure.colorbar(mesh, ax=axis, pad=0.02)
