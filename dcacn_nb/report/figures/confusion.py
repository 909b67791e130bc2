"""Which class is in which cluster: the confusion matrix, its clusters matched with the classes."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from dcacn_nb.report.picture import OWN_COLOR, Picture, empty_picture, plain_text

MOST = 40  # rows or columns; more cannot be read
NUMBERED = 16  # rows and columns up to which every cell has its number


def matched_order(
    table: np.ndarray,  # (classes, K) images of each class in each cluster
) -> "tuple[np.ndarray, np.ndarray]":  # order of rows, order of columns
    "Classes and clusters in an order that puts the most images on the diagonal (Hungarian method)."
    rows, columns = linear_sum_assignment(table, maximize=True)
    rest = np.setdiff1d(np.arange(table.shape[1]), columns)
    order = np.concatenate([rows, np.setdiff1d(np.arange(len(table)), rows)])
    return order, np.concatenate([columns, rest[np.argsort(-table[:, rest].sum(0), kind="stable")]])


def plot_confusion(
    table: np.ndarray,  # (classes, K) images of each class in each cluster
    classes: "Sequence[str]",  # names of the rows
    names: "dict[int, str] | None" = None,  # cluster -> name
) -> Picture:  # rows: true classes; columns: clusters, each under the class it is matched with
    "Which class is in which cluster. Colour: the share of the class; number: images."
    table, names = np.asarray(table), names or {}
    if table.ndim != 2 or len(table) != len(classes) or not table.size:
        raise ValueError(f"table must have one row for each of {len(classes)} classes, got shape {table.shape}")
    rows, columns = matched_order(table)
    diagonal = table[np.ix_(rows, columns)].diagonal().sum() / max(1, table.sum())
    if max(table.shape) > MOST:
        words = f"{len(classes)} classes and {table.shape[1]} clusters are too many for a confusion matrix"
        return empty_picture(words, f"Confusion matrix: {words}.")
    cells = table[np.ix_(rows, columns)]
    share = cells / np.maximum(cells.sum(1, keepdims=True), 1)
    side = min(0.62, 7 / max(cells.shape))
    figure = Picture(figsize=(9, 1.1 + side * len(cells)), layout="compressed")
    axis = figure.add_subplot()
    mesh = axis.imshow(share, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(mesh, ax=axis, pad=0.02, label="share of the class")
    _label(axis, [classes[i] for i in rows], [(k, names.get(int(k), "")) for k in columns])
    if max(cells.shape) <= NUMBERED:
        for (i, j), count in np.ndenumerate(cells):
            color = "black" if share[i, j] > 0.55 else "white"
            axis.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8, color=color, gid=OWN_COLOR)
    most = "; ".join(
        f"{classes[i]}: {share[r].max():.0%} in cluster {columns[share[r].argmax()]}" for r, i in enumerate(rows)
    )
    figure.alt = (
        f"Confusion matrix of {len(classes)} classes and {table.shape[1]} clusters, matched one to one; "
        f"{diagonal:.0%} of the images are on the diagonal. The cluster with most images of each class: {most}."
    )
    return figure


def _label(axis, classes: "list[str]", clusters: "list[tuple[int, str]]") -> None:
    "Classes along the left side, clusters along the bottom."
    texts = [f"{k} {plain_text(name, 12)}".strip() for k, name in clusters]
    long = max(map(len, texts)) > 3
    axis.set(xticks=range(len(clusters)), yticks=range(len(classes)), xlabel="cluster", ylabel="true class")
    axis.set_xticklabels(texts, fontsize=9, rotation=45 if long else 0, ha="right" if long else "center")
    axis.set_yticklabels([plain_text(name, 18) for name in classes], fontsize=9)
