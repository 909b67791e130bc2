"""How many clusters: the curve of each criterion over the numbers tried, the range and the choice."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from dcacn_nb.report.glossary import CRITERIA
from dcacn_nb.report.palette import COLORS, dash_of, marker_of
from dcacn_nb.report.picture import Picture, empty_picture

FIELDS = ("candidates", "curves", "best", "choice", "low", "high", "sentence")
NAMES = {key: name for key, (name, _) in CRITERIA.items()}


def plot_number(
    found: dict,  # as `NumberOfClusters.as_dict` gives it
) -> Picture:  # one line per criterion, each scaled to its own span; range shaded, choice dashed
    "How good each number of clusters is by each criterion, and which range and number were chosen."
    missing = [name for name in FIELDS if name not in found]
    if missing:
        raise ValueError(f"found must come from NumberOfClusters.as_dict, it lacks {', '.join(missing)}")
    candidates, curves = found["candidates"], found["curves"]
    if len(candidates) < 2 or not curves:
        return empty_picture("one number only: nothing to compare", f"Number of clusters: {found['sentence']}")
    figure = Picture(figsize=(8, 3.6), layout="constrained")
    axis = figure.add_subplot()
    axis.axvspan(found["low"] - 0.4, found["high"] + 0.4, color=COLORS[6], alpha=0.2, lw=0)
    axis.axvline(found["choice"], color=COLORS[6], lw=1.5, ls="--")
    for i, (name, values) in enumerate(curves.items()):
        _draw_curve(axis, i, name, candidates, np.asarray(values, float), found["best"][name])
    axis.set(xlabel="number of clusters", ylabel="worst to best", yticks=[])
    axis.set_title(f"{found['choice']} clusters, range {found['low']} to {found['high']}", fontsize=12)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", fontsize=10, frameon=False)
    figure.alt = _alt(found)
    return figure


def _draw_curve(axis, i: int, name: str, candidates: "list[int]", values: np.ndarray, best: int) -> None:
    "One criterion from its smallest to its largest value, a marker at its best number."
    span = values.max() - values.min()
    height = (values - values.min()) / (span if span > 0 else 1)
    label = f"{NAMES.get(name, name)}: {best}"
    at = candidates.index(best)
    style = dict(color=COLORS[i % len(COLORS)], marker=marker_of(i), markevery=[at], markersize=9)
    axis.plot(candidates, height, ls=dash_of(i), lw=2.2 if i == 0 else 1.3, label=label, **style)


def _alt(found: dict) -> str:
    "The picture in words."
    tried = found["candidates"]
    each = ", ".join(f"{NAMES.get(name, name)} {best}" for name, best in found["best"].items())
    return f"Numbers of clusters from {tried[0]} to {tried[-1]}. {found['sentence']} Best by each criterion: {each}."
