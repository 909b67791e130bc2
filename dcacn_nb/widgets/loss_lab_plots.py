"""The pages of the loss lab as pictures for print."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.report.palette import COLORS
from dcacn_nb.report.picture import OWN_COLOR, Picture
from dcacn_nb.widgets.loss_lab_losses import (
    IMAGES,
    POINTS,
    ROWS_DECOUPLED,
    START,
    START_P,
    ClusterLoss,
    assignment_losses,
    point_losses,
    pushes,
)

# form -> name, colour, dashes, radius of the arrows
_STYLE = {"coupled": ("InfoNCE", COLORS[0], "-", 1.14), "decoupled": ("decoupled", COLORS[3], "--", 0.86)}
_ARC = 0.55  # radians of arrow for a slope of 1 / temperature
_DARK = {"color": "white", "fontsize": 8, "ha": "center", "va": "center", "gid": OWN_COLOR}
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])  # of the triangle
# each letter is drawn beside its place, so that none covers another
_BESIDE = 0.07 * np.array([[math.cos(i * math.pi / 3), math.sin(i * math.pi / 3)] for i in range(6)])


def _draw_arrow(axis, start: float, slope: float, temperature: float, form: str) -> None:
    "The arrow of one loss at one point, along the circle."
    _, color, dash, radius = _STYLE[form]
    arc = np.linspace(start, start - _ARC * temperature * slope / radius, 20)
    axis.plot(radius * np.cos(arc), radius * np.sin(arc), dash, color=color, lw=1.6)
    axis.plot(
        radius * math.cos(arc[-1]),
        radius * math.sin(arc[-1]),
        marker=(3, 0, math.degrees(arc[-1]) + (180 if slope > 0 else 0)),  # a triangle that points along the arrow
        color=color,
        ms=6,
        fillstyle="full" if form == "coupled" else "none",
    )


def _draw_circle(axis, turns: np.ndarray, temperature: float, losses: dict) -> None:
    "The circle, its pairs, two arrows at each point."
    around = np.linspace(0, 2 * math.pi, 200)
    axis.plot(np.cos(around), np.sin(around), color="#888888", lw=1)
    for i in range(3):
        axis.plot(np.cos(turns[[i, i + 3]]), np.sin(turns[[i, i + 3]]), ":", color="#888888")
    for form, (name, color, dash, _) in _STYLE.items():
        axis.plot([], [], dash, color=color, label=f"{name} {losses[form]:.3f}")
        for start, slope in zip(turns, losses[f"{form}_slope"]):
            _draw_arrow(axis, start, slope, temperature, form)
    for name, turn in zip(POINTS, turns):
        box = {"boxstyle": "circle" if name[1] == "1" else "square", "facecolor": "#555555", "edgecolor": "#888888"}
        axis.text(math.cos(turn), math.sin(turn), name, bbox=box, **_DARK)
    axis.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.25), aspect="equal", title=f"temperature {temperature:g}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0.04), ncols=2, fontsize=8, frameon=False)
    axis.axis("off")


def plot_points(
    angles: "Iterable[float]" = START,  # six angles in degrees
    temperature: float = 0.5,  # > 0
) -> Picture:  # left: the circle; right: the factor of each anchor
    "Six points on a circle, where two losses push them, and the factor between the losses."
    losses, figure = point_losses(angles, temperature), Picture(figsize=(6, 3.1), layout="constrained")
    circle, bars = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _draw_circle(circle, np.deg2rad(np.asarray(angles, dtype=float)), temperature, losses)
    bars.barh(POINTS, losses["multiplier"], color="#888888")
    for row, factor in enumerate(losses["multiplier"]):
        bars.text(factor + 0.02, row, f"{factor:.3g}", va="center", fontsize=8)
    bars.set(xlim=(0, 1.2), xticks=(0, 0.5, 1), title="1 − share of the positive")
    bars.invert_yaxis()
    factors = ", ".join(f"{name} {factor:.2g}" for name, factor in zip(POINTS, losses["multiplier"]))
    places = ", ".join(f"{name} {angle:.0f}°" for name, angle in zip(POINTS, angles))
    figure.alt = (
        f"Six points on a circle at {places}, temperature {temperature:g}: InfoNCE {losses['coupled']:.3f}, "
        f"decoupled {losses['decoupled']:.3f}. One minus the share of the positive: {factors}."
    )
    return figure


def _draw_triangle(axis, p: np.ndarray, moves: np.ndarray) -> None:
    "The triangle, both views of each image, and an arrow at each."
    axis.plot(*CORNERS[[0, 1, 2, 0]].T, color="#888888", lw=1)
    for k, (x, y) in enumerate(CORNERS):
        axis.text(x, y + (0.2 if k == 2 else -0.23), f"cluster {k}", ha="center", fontsize=8)
    places, longest = p @ CORNERS + _BESIDE, np.linalg.norm(moves @ CORNERS, axis=-1).max()
    for i, letter in enumerate(IMAGES):
        axis.plot(*places[:, i].T, "-", color="#888888", lw=1)
        axis.plot(*places[1, i], "s", mfc="none", mec="#888888", ms=13)
        axis.text(
            *places[0, i],
            letter,
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": "#555555", "edgecolor": "none"},
            **_DARK,
        )
    if longest > 1e-9:
        arrows = 0.25 * (moves @ CORNERS).reshape(-1, 2) / longest
        axis.quiver(
            *places.reshape(-1, 2).T, *arrows.T, angles="xy", scale_units="xy", scale=1, color=COLORS[3], width=0.008
        )
    axis.set(xlim=(-0.2, 1.2), ylim=(-0.28, 1.2), aspect="equal")
    axis.axis("off")


def _draw_table(axis, p: np.ndarray, title: str) -> None:
    "The assignments of one view as numbers on grey."
    axis.imshow(p, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    for (i, k), value in np.ndenumerate(p):
        axis.text(k, i, f"{value:.2f}", **{**_DARK, "color": "white" if value > 0.5 else "black"})
    axis.set(title=title, xticks=range(3), yticks=range(6), yticklabels=IMAGES, xlabel="cluster")


def plot_assignments(
    p: "Tensor | tuple" = START_P,  # (2,6,3) assignments
    loss: ClusterLoss = ROWS_DECOUPLED,  # whose arrows are drawn
) -> Picture:  # left: the triangle; right: both tables
    "Six images between three clusters, where one of the losses pushes them, and the values of all."
    p, losses = torch.as_tensor(p, dtype=torch.float64), assignment_losses(p, loss.temperature)
    moves, figure = pushes(p, loss), Picture(figsize=(6.4, 3.3), layout="constrained")
    triangle, *tables = figure.subplots(1, 3, width_ratios=(2.6, 1, 1))
    _draw_triangle(triangle, p.numpy(), moves.numpy())
    for view, table in enumerate(tables):
        _draw_table(table, p[view].numpy(), f"view {view + 1}")
    form = "decoupled" if loss.decoupled else "coupled"
    name = f"{'rows' if loss.axis == 'sample' else 'columns'}, {form}{', with balance' if loss.balance else ''}"
    triangle.set_title(f"arrows: {name};\nthe longest is {moves.norm(dim=-1).max():.1g}", fontsize=8)
    values = (
        f"rows {losses['sample_coupled']:.3f} coupled, {losses['sample_decoupled']:.3f} decoupled; "
        f"columns {losses['cluster_coupled']:.3f} coupled, {losses['cluster_decoupled']:.3f} decoupled; "
        f"balance {sum(losses['balance']):.3f}"
    )
    figure.suptitle(values, fontsize=7.5)
    settings = f"two views, temperature {loss.temperature:g}"
    figure.alt = f"Six images between three clusters, {settings}: {values}. Arrows of: {name}."
    return figure
