"""Comparisons as pictures: every run as a dot, means and differences with their intervals."""

import math

import pandas as pd

from dcacn_nb.compare.tables import FEWEST, SCORES, summarise
from dcacn_nb.core.checks import check_in
from dcacn_nb.report.palette import COLORS
from dcacn_nb.report.picture import Picture, plain_text

DOT, MEAN = COLORS[0], COLORS[3]  # blue and vermilion: apart for colour-blind people too


def plot_comparison(
    table: pd.DataFrame,  # one row per run
    score: str = "acc",  # "acc", "nmi" or "ari", fractions from 0 to 1
    summary: "pd.DataFrame | None" = None,  # of the same table, if it is there already
) -> Picture:
    "Every run as a dot, and the mean of each method and setting with its 95 % bootstrap interval; the best on top."
    check_in("score", score, SCORES)
    summary = summarise(table, (score,)) if summary is None else summary
    figure, axis = _rows_of(summary)
    for y, row in summary.iterrows():
        runs = table[(table.method == row.method) & (table.setting == row.setting)][score]
        axis.plot(runs, [y] * len(runs), "o", color=DOT, markersize=6, alpha=0.6)
        axis.plot([row[f"{score}_low"], row[f"{score}_high"]], [y, y], color=MEAN, linewidth=2.5)
        axis.plot(row[score], y, marker="D", color=MEAN, markersize=7)
    line = "; line: its 95 % interval" if summary[f"{score}_low"].notna().any() else f"; fewer than {FEWEST} seeds"
    axis.set_xlabel(f"{score.upper()} (dot: run; diamond: mean{line})")
    figure.alt = f"{score.upper()} of {len(table)} runs, means{_with_intervals(summary[f'{score}_low'])}: " + "; ".join(
        f"{label} {row[score]:.3f}{_interval(row[f'{score}_low'], row[f'{score}_high'])}"
        for label, (_, row) in zip(_labels(summary), summary.iterrows())
    )
    return figure


def plot_differences(
    differences: pd.DataFrame,  # as `paired_differences` returns it
    reference: str,  # what they are differences to, in words
) -> Picture:
    "Paired differences with their intervals: right of zero is better than the reference."
    shown = differences.sort_values("difference", ascending=False, ignore_index=True)
    figure, axis = _rows_of(shown)
    axis.axvline(0, color="#888888", linewidth=1)
    for y, row in shown.iterrows():
        apart = row.low > 0 or row.high < 0
        axis.plot([100 * row.low, 100 * row.high], [y, y], color=DOT, linewidth=2.5, alpha=1 if apart else 0.45)
        marker = dict(marker="o", markerfacecolor=DOT) if apart else dict(marker="s", markerfacecolor="white")
        axis.plot(100 * row.difference, y, color=DOT, markersize=7, **marker)
    meaning = "filled: interval without zero" if shown.low.notna().any() else f"fewer than {FEWEST} seeds: no interval"
    axis.set_xlabel(f"percentage points against {plain_text(reference)} ({meaning})")
    figure.alt = f"Percentage points against {reference}, means{_with_intervals(shown.low)}: " + "; ".join(
        f"{label} {round(100 * row.difference, 1) + 0.0:+.1f}{_interval(100 * row.low, 100 * row.high, 1)}"
        for label, (_, row) in zip(_labels(shown), shown.iterrows())
    )
    return figure


def _rows_of(table: pd.DataFrame):
    "A picture with a row for each method and setting, the first on top; and its axis."
    figure = Picture(figsize=(8, 0.9 + 0.28 * len(table)), dpi=100, layout="constrained")
    axis = figure.add_subplot()
    labels = [plain_text(label) for label in _labels(table)]
    axis.set(yticks=range(len(table)), yticklabels=labels, ylim=(len(table) - 0.3, -0.7))
    axis.tick_params(labelsize=11)
    axis.xaxis.label.set_fontsize(11)
    axis.grid(axis="x", alpha=0.3)
    return figure, axis


def _labels(table: pd.DataFrame) -> "list[str]":
    "What the rows are called: by their settings alone if they share a method and differ in the setting."
    if len(table) > 1 and table.method.nunique() == 1:
        return list(table.setting)
    return [m if s == "default" else f"{m}, {s}" for m, s in zip(table.method, table.setting)]


def _with_intervals(low: pd.Series) -> str:
    "What is said of means if at least one has an interval."
    return " with intervals" if low.notna().any() else ""


def _interval(low: float, high: float, digits: int = 3) -> str:
    "An interval in words, if there is one."
    return "" if math.isnan(low) else f" ({low:.{digits}f} to {high:.{digits}f})"
