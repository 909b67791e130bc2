"""What is in the clusters: their surest and their most doubtful images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Event
from dcacn_nb.report.figures.tiles import tiles
from dcacn_nb.report.picture import Picture, empty_picture, plain_text
from dcacn_nb.report.record import RunRecord, read_record


def plot_clusters(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    per_cluster: int = 8,  # images at either end, >= 1
    max_clusters: int = 20,  # the largest ones, if there are more
    names: "dict[int, str] | None" = None,  # cluster -> name; None: those in the run's clusters.json, if there is one
) -> Picture:  # one row per cluster: the surest images left, the most doubtful right
    "What is in the clusters: the images that the last snapshot assigns most and least firmly."
    check_int("per_cluster", per_cluster, low=1)
    check_int("max_clusters", max_clusters, low=1)
    record = read_record(run)
    found = _pictured(record)
    if found is None:
        return empty_picture(
            "no snapshot with images and finite assignments in the log",
            "Clusters in pictures: the log holds no snapshot with images and finite assignments.",
        )
    names = _names(record, names)
    p, images = found
    sizes = np.bincount(p.argmax(1), minlength=p.shape[1])
    shown = np.sort(np.argsort(-sizes, kind="stable")[:max_clusters])
    canvas, step, middle = _canvas(p, tiles(images), shown, per_cluster)
    which = f" (the {len(shown)} largest of {p.shape[1]} clusters)" if len(shown) < p.shape[1] else ""
    figure = _draw_rows(canvas, step, {0: f"surest first{which}", middle: "most doubtful first"})
    figure.axes[0].set_yticklabels([_row_label(k, sizes[k], names) for k in shown], fontsize=9)
    inside = ", ".join(f"cluster {k}{f' ({names[k]})' if k in names else ''} {sizes[k]}" for k in shown)
    figure.alt = (
        f"One row for each of {len(shown)} of {p.shape[1]} clusters, up to {per_cluster} surest and {per_cluster} "
        f"most doubtful of {len(p)} images. Images in them: {inside}."
    )
    return figure


def _draw_rows(canvas: np.ndarray, step: int, heads: "dict[int, str]") -> Picture:
    "The canvas in a picture of 9 inches, room for the names of the rows to its left, and the heads of its two halves."
    height = 9 * 0.86 * canvas.shape[0] / canvas.shape[1]
    figure = Picture(figsize=(9, height + 0.35), layout="none")
    axis = figure.add_axes((0.14, 0.0, 0.86, height / (height + 0.35)))
    axis.imshow(canvas, interpolation="nearest", aspect="auto")
    axis.set(xticks=[], yticks=[(row + 0.5) * step for row in range(canvas.shape[0] // step)])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for x, words in heads.items():
        axis.text(x, -step * 0.15, words, fontsize=10)
    return figure


def _row_label(cluster: int, size: int, names: "dict[int, str]") -> str:
    "The label to the left of a row."
    if cluster in names:
        return f"{plain_text(names[cluster], 14)}\n{cluster}: {size}"
    return f"cluster {cluster}: {size}"


def _names(record: RunRecord, names: "dict[int, str] | None") -> "dict[int, str]":
    "The names given, or those of the run; clusters may be numbers or, as in JSON, their texts."
    try:
        return record.names if names is None else {int(cluster): str(name) for cluster, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"names must be like {{0: 'cats', 3: 'ships'}}, got {names!r}") from None


def _canvas(p: np.ndarray, pictures: np.ndarray, shown: np.ndarray, columns: int) -> "tuple[np.ndarray, int, int]":
    "All rows as one image, pixels per row, and where the right half begins; transparent where there is no image."
    best, sure = p.argmax(1), p.max(1)
    step = pictures.shape[1] + 2
    middle = columns * step + step // 2
    canvas = np.zeros((len(shown) * step, middle + columns * step, 4), np.uint8)
    for row, cluster in enumerate(shown):
        members = np.flatnonzero(best == cluster)
        members = members[np.argsort(-sure[members], kind="stable")]
        surest, rest = members[:columns], members[columns:]  # no image is at both ends
        for left, chosen in ((0, surest), (middle, rest[::-1][:columns])):
            for column, image in enumerate(chosen):
                x, y = left + column * step, row * step
                canvas[y : y + step - 2, x : x + step - 2] = pictures[image]
    return canvas, step, middle


def _pictured(record: RunRecord) -> "tuple[np.ndarray, np.ndarray] | None":
    "Assignments (n,K) of the last snapshot, and the pictures (n,C,H,W) of the same images."
    with_images = [s for s in record.snapshots if "images" in s.arrays and len(s.arrays["images"]) == len(s.indices)]
    with_p = [s for s in record.snapshots if "p" in s.arrays and len(s.arrays["p"]) == len(s.indices)]
    if not with_images or not with_p:
        return None
    first, last = with_images[0], with_p[-1]
    _, a, b = np.intersect1d(first.indices, last.indices, return_indices=True)
    p = last.arrays["p"][b].astype(np.float64)
    return (p, first.arrays["images"][a]) if p.ndim == 2 and len(p) and np.isfinite(p).all() else None
