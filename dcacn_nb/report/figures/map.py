"""The paper's Figure 4: the same images in two dimensions, at several epochs."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Event, SnapshotTaken
from dcacn_nb.report.maps import METHODS, MapSequence
from dcacn_nb.report.palette import color_of, marker_of
from dcacn_nb.report.picture import Picture, empty_picture, plain_text
from dcacn_nb.report.record import RunRecord, nearest_snapshots, read_record


def plot_map_evolution(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    epochs: "Sequence[int] | None" = None,  # the nearest snapshots to these; four, evenly spread, if None
    method: str = "pca",  # or "tsne": of 1,000 images at most, some seconds
) -> Picture:  # one panel per snapshot; colour and marker: the cluster at the last one
    "How the features of the same images move apart: `h` in two dimensions, each panel continued from the one before."
    check_in("method", method, METHODS)
    record = read_record(run, epochs)
    usable = _usable(record, epochs)
    if not usable:
        return empty_picture(
            "no snapshot with finite features in the log",
            "Features in two dimensions: no snapshot with finite features.",
        )
    last, figure = usable[-1], Picture(figsize=(10.4, 3.2), layout="constrained")
    kept = np.arange(len(last.indices))[:: math.ceil(len(last.indices) / 1000) if method == "tsne" else 1]
    planes = _planes(usable, kept, method)
    limit = 1.05 * max(np.abs(points).max() for points, _ in planes) or 1.0
    cluster = last.arrays["p"][kept].argmax(1)
    for i, (snapshot, (points, explained)) in enumerate(zip(usable, planes)):
        axis = figure.add_subplot(1, len(usable), i + 1, xlim=(-limit, limit), ylim=(-limit, limit))
        scatter_clusters(axis, points, cluster, record.names if snapshot is last else None)
        share = "" if explained is None else f" ({explained:.0%} of variance)"
        axis.set_title(f"epoch {snapshot.epoch}{share}", fontsize=10)
    figure.alt = (
        f"Features of {len(kept)} images in two dimensions ({'t-SNE' if method == 'tsne' else 'principal components'}) "
        f"at epochs {', '.join(str(s.epoch) for s in usable)}, coloured by the {len(np.unique(cluster))} clusters "
        "found at the last one."
    )
    return figure


def plot_map(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    method: str = "tsne",  # of 1,000 images at most, some seconds; or "pca"
) -> Picture:  # one large panel with a legend
    "The images of the last snapshot in two dimensions: similar ones are near one another."
    check_in("method", method, METHODS)
    record = read_record(run)
    last = next((s for s in reversed(record.snapshots) if _plottable(s)), None)
    if last is None:
        return empty_picture("no snapshot with finite features in the log", "Map: no snapshot with finite features.")
    kept = np.arange(len(last.indices))[:: math.ceil(len(last.indices) / 1000)]
    sequence = MapSequence(method)
    points, explained = sequence.add(last.arrays["h"][kept]), sequence.explained
    cluster = last.arrays["p"][kept].argmax(1)
    figure = Picture(figsize=(9, 5.4), layout="constrained")
    axis = figure.add_subplot()
    scatter_clusters(axis, points, cluster, record.names)
    how = "t-SNE" if explained is None else f"principal components, {explained:.0%} of the variance"
    sizes = ", ".join(f"cluster {k} {n}" for k, n in zip(*np.unique(cluster, return_counts=True)))
    figure.alt = f"Map of {len(kept)} images ({how}); similar images are near one another. Images shown: {sizes}."
    return figure


def _planes(usable: "list[SnapshotTaken]", kept: np.ndarray, method: str) -> "list[tuple[np.ndarray, float | None]]":
    "Points (n,2) of each snapshot, and the share of the variance that they show."
    sequence, planes = MapSequence(method), []
    for snapshot in usable:
        steps = 300 if planes and method == "tsne" else None  # three times the usual: panels are many epochs apart
        planes.append((sequence.add(snapshot.arrays["h"][kept], n_iter=steps), sequence.explained))
    return planes


def _usable(record: RunRecord, epochs: "Sequence[int] | None") -> "list[SnapshotTaken]":
    "The snapshots asked for that show the same images as the last one."
    if epochs is not None and not len(epochs):
        raise ValueError(f"epochs must name one epoch at least, got {epochs!r}; None shows four")
    usable = [s for s in record.snapshots if _plottable(s)]
    usable = [s for s in usable if np.array_equal(s.indices, usable[-1].indices)]
    # the first and the last were loaded too, asked for or not
    return [usable[i] for i in sorted(nearest_snapshots([s.epoch for s in usable], epochs))]


def _plottable(s: SnapshotTaken) -> bool:
    "Whether a snapshot has finite features and assignments of at least three images."
    h, p = s.arrays.get("h"), s.arrays.get("p")
    fits = h is not None and p is not None and h.ndim == p.ndim == 2 and len(h) == len(p) == len(s.indices) > 2
    return bool(fits and np.isfinite(h).all())


def scatter_clusters(
    axis,  # matplotlib Axes
    points: np.ndarray,  # (n,2)
    cluster: np.ndarray,  # (n,) which cluster each belongs to
    legend: "dict[int, str] | None" = None,  # cluster -> name, some or none of them; None: no legend
) -> None:
    "Points with the colour and the marker of their cluster."
    found = np.unique(cluster)
    for k in found:
        style = dict(s=9, color=color_of(k), marker=marker_of(k), linewidths=0, alpha=0.8)
        label = plain_text((legend or {}).get(int(k), k), 18)
        # snapped to pixels, a small plus would vanish
        axis.scatter(*points[cluster == k].T, label=label, snap=False, **style)
    axis.set(xticks=[], yticks=[], aspect="equal")
    if legend is not None and len(found) <= 24:
        # one column of many clusters would be higher than the picture
        place = dict(loc="center left", bbox_to_anchor=(1, 0.5), ncols=1 + (len(found) > 12))
        axis.legend(title="cluster", fontsize=8, title_fontsize=9, markerscale=1.6, **place)
