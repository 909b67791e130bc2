"""The six pictures of a run, for the page, the paper and the notebook that is closed: each drawn from the events, each with its words."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.events import Evaluated, Event, SnapshotTaken
from dcacn_nb.core.seeds import generator
from dcacn_nb.method.config import build_views, from_dict
from dcacn_nb.method.views import Crops
from dcacn_nb.report.maps import METHODS, MapSequence
from dcacn_nb.report.picture import COLORS, DASHES, MARKERS, OWN_COLOR, SCORES, Picture, empty_picture, plain_text
from dcacn_nb.report.record import RunRecord, nearest_snapshots, read_record


def plot_curves(
    run: "str | Path | Sequence[Event] | RunRecord | Sequence[str | Path] | dict",  # a run folder or its events; several: a list of folders, or {label: folder}
) -> Picture:  # one run: up to four panels over epochs; several: one panel a quantity, one line a run
    "Scores (the paper's Figure 3), loss terms, learning rate and speed over the epochs, of one run or of several laid over one another."
    stories = _stories(run)
    if len(stories) > 1:
        return _compare(stories)
    story = next(iter(stories.values()))
    scored = [e for e in story.evaluations if e.scores]
    draw = [(_draw_scores, scored)] if scored else []
    draw += [(_draw_losses, story), (_draw_rate, story), (_draw_speed, story)] if story.steps or story.epochs else []
    if not draw:
        return empty_picture(
            "no optimisation step and no score in the log yet", "Curves over the epochs. Nothing to draw yet."
        )
    rows = math.ceil(len(draw) / 2)
    figure = Picture(figsize=(9, 2.7 * rows), layout="constrained")
    said, grid = [], figure.add_gridspec(rows, 2)  # one grid for all, or the layout lets them overlap
    for i, (function, data) in enumerate(draw):
        # three panels: the first one takes the whole upper row
        place = grid[0, :] if len(draw) == 3 and i == 0 else grid[divmod(i + (len(draw) == 3), 2)]
        axis = figure.add_subplot(place)
        said.append(function(axis, data))
        _epoch_axis(axis)
    figure.alt = "Curves over the epochs. " + " ".join(said)
    return figure


def _stories(runs) -> "dict[str, RunRecord]":
    "Every run under its label: the folder's name, with as much of the way to it as tells it from the others."
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


def _epoch_axis(axis) -> None:
    "Whole epochs along the bottom."
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.25)


def _losses(story: RunRecord) -> "dict[str, list]":
    "Points (epoch, value) of every loss term: step reports where there are some, else means of epochs."
    told = [(story.epoch_of(e.step), e.losses) for e in story.steps] or [(e.epoch, e.losses) for e in story.epochs]
    names = dict.fromkeys(name for _, losses in told for name in losses)
    return {name: [(x, losses[name]) for x, losses in told if name in losses] for name in names}


def _draw_scores(axis, scored: "list[Evaluated]") -> str:
    "ACC, NMI and ARI."
    said = []
    for key, (name, color, marker) in SCORES.items():
        points = [(e.epoch, e.scores[key]) for e in scored if key in e.scores]
        if points:
            every = max(1, len(points) // 12)  # a marker at every point of a long run would hide the line
            axis.plot(
                *zip(*points),
                color=color,
                marker=marker,
                markersize=4,
                markevery=every,
                label=f"{name} {points[-1][1]:.3f}",
            )
            said.append(f"{name} {points[-1][1]:.3f}")
    axis.set(title="scores (labels were used for these alone)", ylim=(min(0, axis.get_ylim()[0]), 1.03))
    axis.legend(fontsize=8)
    return f"Scores at the end: {', '.join(said)}."


def _draw_losses(axis, story: RunRecord) -> str:
    "Every loss term."
    lines = _losses(story)
    for i, (name, points) in enumerate(lines.items()):
        axis.plot(*zip(*points), color=COLORS[i % 7], linestyle=DASHES[i % 4], linewidth=1.4, label=plain_text(name))
    axis.set_title("loss terms")
    if lines:
        axis.legend(fontsize=8)
    return f"Loss terms at the end: {', '.join(f'{name} {points[-1][1]:.3g}' for name, points in lines.items())}."


def _draw_rate(axis, story: RunRecord) -> str:
    "Learning rate."
    axis.plot([story.epoch_of(e.step) for e in story.steps], [e.lr for e in story.steps], color=COLORS[5])
    axis.set(title="learning rate", ylim=(0, None))
    return f"Highest learning rate {max((e.lr for e in story.steps), default=math.nan):.3g}."


def _draw_speed(axis, story: RunRecord) -> str:
    "Images a second."
    rates = [e.images_per_second for e in story.steps]
    axis.plot([story.epoch_of(e.step) for e in story.steps], rates, color=COLORS[4])
    known = [rate for rate in rates if math.isfinite(rate)]
    axis.set(title="images a second", ylim=(0, 1.1 * max(known, default=1)))
    return f"Median speed {np.median(known):,.0f} images a second." if known else "Speed unknown."


HEALTH = {
    "view_information": "view information",
    "view_agreement": "view agreement",
    "balance_entropy": "balance entropy",
    "assignment_entropy": "assignment entropy",
}  # figures in [0, 1]


def _quantities(story: RunRecord) -> "dict[str, list]":
    "Points (epoch, value) of everything that runs can be compared by."
    scores = {
        name: [(e.epoch, e.scores[key]) for e in story.evaluations if key in (e.scores or {})]
        for key, (name, _, _) in SCORES.items()
    }
    health = {
        HEALTH[key]: [(e.epoch, e.health[key]) for e in story.evaluations if key in e.health]
        for key in ("view_information", "balance_entropy")
    }
    rate = {
        "learning rate": [(story.epoch_of(e.step), e.lr) for e in story.steps],
        "images a second": [(story.epoch_of(e.step), e.images_per_second) for e in story.steps],
    }
    return scores | health | {f"loss: {name}": points for name, points in _losses(story).items()} | rate


def _compare(stories: "dict[str, RunRecord]") -> Picture:
    "One panel a quantity, one line a run: the same colour and the same dashes in all panels."
    told = {
        label: {name: points for name, points in _quantities(story).items() if points}
        for label, story in stories.items()
    }
    names = list(dict.fromkeys(name for quantities in told.values() for name in quantities))
    if not names:
        return empty_picture(
            "no optimisation step and no score in the logs yet",
            f"Curves of {len(told)} runs over the epochs. Nothing to draw yet.",
        )
    rows = math.ceil(len(names) / 3)
    figure = Picture(figsize=(9, 2 * rows + 0.25 * math.ceil(len(told) / 4)), layout="constrained")
    for i, name in enumerate(names):
        axis = figure.add_subplot(rows, 3, i + 1)
        for j, (label, quantities) in enumerate(told.items()):
            if name in quantities:
                axis.plot(*zip(*quantities[name]), color=COLORS[j % 7], linestyle=DASHES[j % 4], linewidth=1.4)
        axis.set_title(plain_text(name), fontsize=9)
        axis.tick_params(labelsize=7)
        _epoch_axis(axis)
        axis.set_xlabel("epoch" if i + 3 >= len(names) else "", fontsize=8)
    key = [figure.axes[0].plot([], [], color=COLORS[j % 7], linestyle=DASHES[j % 4])[0] for j in range(len(told))]
    figure.legend(
        key, [plain_text(label, 40) for label in told], loc="outside upper center", ncols=min(4, len(told)), fontsize=8
    )
    ends = {
        label: ", ".join(f"{name} {points[-1][1]:.3g}" for name, points in quantities.items())
        for label, quantities in told.items()
    }
    figure.alt = (
        f"Curves of {len(told)} run{'s' * (len(told) != 1)} over the epochs. At the end: "
        + "; ".join(f"{label}: {end or 'nothing yet'}" for label, end in ends.items())
        + "."
    )
    return figure


def plot_health(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
) -> Picture:  # share of each cluster over epochs; label-free figures; likeness of clusters; empty clusters
    "How the images spread over the clusters, how sure the network is, whether two views agree and clusters differ: no labels needed."
    story = read_record(run)
    told = [e for e in story.evaluations if e.health.get("cluster_mass")]
    if not told:
        return empty_picture("no evaluation in the log yet", "Health over the epochs: nothing to draw yet.")
    p = _last_assignments(story)
    figure = Picture(figsize=(9, 3.6 if p is None else 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1) if p is None else (1, 1))
    mass = figure.add_subplot(grid[:, 0] if p is None else grid[0, 0])
    right, below = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    _draw_mass(figure, mass, told)
    _draw_figures(right, told)
    _draw_empty(below, told)
    right.sharex(below)
    right.tick_params(labelbottom=False)
    alike = "" if p is None else _draw_similarity(figure, figure.add_subplot(grid[1, 0]), similarity(p))
    final = told[-1].health
    said = ", ".join(f"{name} {final[key]:.2f}" for key, name in HEALTH.items() if key in final)
    figure.alt = (
        f"Health over {len(told)} evaluation{'s' * (len(told) != 1)}. At the end the {len(final['cluster_mass'])} clusters hold from {min(final['cluster_mass']):.1%} to "
        f"{max(final['cluster_mass']):.1%} of the images, {final.get('n_empty', 'an unknown number')} are empty; {said}.{alike}"
    )
    return figure


def similarity(
    p: np.ndarray,  # (N,K) soft assignments
) -> np.ndarray:  # (K,K) in [0,1]; 1 on the diagonal; 0 for a cluster to which nothing is assigned
    "Cosine similarity of the columns: what the cluster loss pushes apart. 0: no image in doubt between two clusters; 1: twins."
    p = np.asarray(p, dtype=np.float64)
    norm = np.sqrt((p**2).sum(0))
    return (p.T @ p) / np.maximum(np.outer(norm, norm), 1e-300)


def _last_assignments(story: RunRecord) -> "np.ndarray | None":
    "Assignments (n,K) of the last snapshot that has some."
    found = [s.arrays["p"] for s in story.snapshots if "p" in s.arrays and s.arrays["p"].ndim == 2]
    return found[-1] if found and found[-1].shape[1] > 1 and len(found[-1]) and np.isfinite(found[-1]).all() else None


def _draw_similarity(figure: Picture, axis, alike: np.ndarray) -> str:
    "A heat map of the clusters' likeness; the most alike pair in words."
    k = len(alike)
    mesh = axis.imshow(alike, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    ticks = range(0, k, max(1, math.ceil(k / 12)))
    axis.set(
        title="likeness of clusters, last snapshot", xlabel="cluster", ylabel="cluster", xticks=ticks, yticks=ticks
    )
    figure.colorbar(mesh, ax=axis, pad=0.02)
    i, j = np.unravel_index(np.argmax(np.triu(alike, 1)), alike.shape)
    return f" The most alike are clusters {i} and {j}: cosine similarity {alike[i, j]:.2f} of their columns of assignments."


def _draw_figures(axis, told: "list[Evaluated]") -> None:
    "The figures between 0 and 1, as far as they were taken."
    for i, (key, name) in enumerate(HEALTH.items()):
        points = [(e.epoch, e.health[key]) for e in told if key in e.health]
        if points:
            every = max(1, len(points) // 10)
            axis.plot(
                *zip(*points),
                color=COLORS[i],
                marker=MARKERS[i],
                markersize=4,
                markevery=every,
                label=f"{name} {points[-1][1]:.2f}",
            )
    axis.set(title="figures without labels", ylim=(-0.03, 1.03))
    axis.grid(alpha=0.25)
    if axis.lines:
        axis.legend(fontsize=7.5)


def _draw_empty(axis, told: "list[Evaluated]") -> None:
    "How many clusters are empty."
    empty = [e.health.get("n_empty", math.nan) for e in told]
    axis.step([e.epoch for e in told], empty, where="post", color=COLORS[3])
    axis.set(
        ylabel="empty clusters" if len(axis.figure.axes) > 3 else "empty\nclusters",
        ylim=(-0.2, np.nanmax([1, *empty]) + 0.2),
    )
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    _epoch_axis(axis)


def _draw_mass(figure: Picture, axis, told: "list[Evaluated]") -> None:
    "A heat map: one column an evaluation, one row a cluster; 1 is an even share."
    k = len(told[-1].health["cluster_mass"])
    told = [e for e in told if len(e.health["cluster_mass"]) == k]
    share = np.array([e.health["cluster_mass"] for e in told]).T * k
    epochs = np.array([e.epoch for e in told], dtype=float)
    middle = (epochs[1:] + epochs[:-1]) / 2
    width = np.diff(epochs).min() / 2 if len(epochs) > 1 and np.diff(epochs).min() > 0 else 0.5
    edges = np.concatenate([[epochs[0] - width], middle, [epochs[-1] + width]])
    mesh = axis.pcolormesh(
        edges,
        np.arange(k + 1) - 0.5,
        share,
        cmap="cividis",
        vmin=0,
        vmax=max(2.0, float(share[np.isfinite(share)].max(initial=0))),
    )
    axis.set(title="mass of each cluster (1: an even share)", xlabel="epoch", ylabel="cluster")
    axis.set_xticks(
        [
            epoch
            for epoch in MaxNLocator(integer=True).tick_values(edges[0], edges[-1])
            if epochs[0] <= epoch <= epochs[-1]
        ]
    )
    axis.set_yticks(range(0, k, max(1, math.ceil(k / 12))))
    figure.colorbar(mesh, ax=axis, pad=0.02)


def plot_clusters(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    per_cluster: int = 8,  # images at either end, >= 1
    max_clusters: int = 20,  # the largest ones, if there are more
    names: "dict[int, str] | None" = None,  # cluster -> name; None: those in the run's clusters.json, if there is one
) -> Picture:  # one row a cluster: the surest images left, the most doubtful right
    "What is in the clusters: the images that the last snapshot assigns most and least firmly."
    check_int("per_cluster", per_cluster, low=1)
    check_int("max_clusters", max_clusters, low=1)
    story = read_record(run)
    found = _pictured(story)
    if found is None:
        return empty_picture(
            "no snapshot with images and finite assignments in the log",
            "Clusters in pictures: the log holds no snapshot with images and finite assignments.",
        )
    names = _names(story, names)
    p, images = found
    sizes = np.bincount(p.argmax(1), minlength=p.shape[1])
    shown = np.sort(np.argsort(-sizes, kind="stable")[:max_clusters])
    canvas, step, middle = _canvas(p, _tiles(images), shown, per_cluster)
    height = 9 * 0.88 * canvas.shape[0] / canvas.shape[1]
    figure = Picture(figsize=(9, height + 0.35))
    axis = figure.add_axes((0.12, 0.0, 0.88, height / (height + 0.35)))
    axis.imshow(canvas, interpolation="nearest", aspect="auto")
    axis.set(xticks=[], yticks=[(row + 0.5) * step for row in range(len(shown))])
    axis.set_yticklabels(
        [f"{plain_text(names[k], 14)}\n{k}: {sizes[k]}" if k in names else f"cluster {k}: {sizes[k]}" for k in shown],
        fontsize=8,
    )
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    which = f" (the {len(shown)} largest of {p.shape[1]} clusters)" if len(shown) < p.shape[1] else ""
    for x, words in ((0, f"surest first{which}"), (middle, "most doubtful first")):
        axis.text(x, -step * 0.15, words, fontsize=9)
    inside = ", ".join(f"cluster {k}{f' ({names[k]})' if k in names else ''} {sizes[k]}" for k in shown)
    figure.alt = (
        f"One row for each of {len(shown)} of {p.shape[1]} clusters, up to {per_cluster} surest and {per_cluster} most doubtful of {len(p)} "
        f"images. Images in them: {inside}."
    )
    return figure


def _names(story: RunRecord, names: "dict[int, str] | None") -> "dict[int, str]":
    "The names given, or those of the run; clusters may be numbers or their texts, as in JSON."
    try:
        return story.names if names is None else {int(cluster): str(name) for cluster, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"names must be like {{0: 'cats', 3: 'ships'}}, got {names!r}") from None


def _canvas(p: np.ndarray, tiles: np.ndarray, shown: np.ndarray, columns: int) -> "tuple[np.ndarray, int, int]":
    "One picture of all rows, pixels from row to row, and where the right half begins; transparent where there is no image."
    best, sure = p.argmax(1), p.max(1)
    step = tiles.shape[1] + 2
    middle = columns * step + step // 2
    canvas = np.zeros((len(shown) * step, middle + columns * step, 4), np.uint8)
    for row, cluster in enumerate(shown):
        members = np.flatnonzero(best == cluster)
        members = members[np.argsort(-sure[members], kind="stable")]
        surest, rest = members[:columns], members[columns:]  # no image stands at both ends
        for left, chosen in ((0, surest), (middle, rest[::-1][:columns])):
            for column, image in enumerate(chosen):
                x, y = left + column * step, row * step
                canvas[y : y + step - 2, x : x + step - 2] = tiles[image]
    return canvas, step, middle


def _pictured(story: RunRecord) -> "tuple[np.ndarray, np.ndarray] | None":
    "Assignments (n,K) of the last snapshot, and the pictures (n,C,H,W) of the same images."
    with_images = [s for s in story.snapshots if "images" in s.arrays and len(s.arrays["images"]) == len(s.indices)]
    with_p = [s for s in story.snapshots if "p" in s.arrays and len(s.arrays["p"]) == len(s.indices)]
    if not with_images or not with_p:
        return None
    first, last = with_images[0], with_p[-1]
    _, a, b = np.intersect1d(first.indices, last.indices, return_indices=True)
    p = last.arrays["p"][b].astype(np.float64)
    return (p, first.arrays["images"][a]) if p.ndim == 2 and len(p) and np.isfinite(p).all() else None


def _rgb(image: np.ndarray) -> np.ndarray:
    "(C,H,W) -> (H,W,3): one or two channels as grey."
    return np.ascontiguousarray((np.repeat(image[:1], 3, 0) if len(image) < 3 else image[:3]).transpose(1, 2, 0))


def _tiles(images: np.ndarray, side: int = 40) -> np.ndarray:
    "(n,C,H,W) uint8 -> (n,side,side,4): scaled to fit, centred, transparent around."
    result = np.zeros((len(images), side, side, 4), np.uint8)
    for i, image in enumerate(images):
        h, w = image.shape[1:]
        size = max(1, round(w * side / max(h, w))), max(1, round(h * side / max(h, w)))
        small = Image.fromarray(_rgb(image)).resize(size, Image.NEAREST if max(h, w) < side else Image.BOX)
        y, x = (side - size[1]) // 2, (side - size[0]) // 2
        result[i, y : y + size[1], x : x + size[0], :3] = np.asarray(small)
        result[i, y : y + size[1], x : x + size[0], 3] = 255
    return result


def plot_map_evolution(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    epochs: "Sequence[int] | None" = None,  # the nearest snapshots to these; four, evenly spread, if None
    method: str = "pca",  # or "tsne": of 1,000 images at most, some seconds
) -> Picture:  # one panel a snapshot; colour and marker: the cluster at the last one
    "How the features of the same images move apart: two dimensions of `h` at several snapshots, each going on from the one before."
    check_in("method", method, METHODS)
    story = read_record(run, epochs)
    usable = _usable(story, epochs)
    if not usable:
        return empty_picture(
            "no snapshot with finite features in the log",
            "Features in two dimensions: no snapshot with finite features.",
        )
    last, sequence, planes = usable[-1], MapSequence(method), []
    kept = np.arange(len(last.indices))[:: math.ceil(len(last.indices) / 1000) if method == "tsne" else 1]
    for snapshot in usable:  # three times the usual steps: many epochs lie between two panels
        planes.append(
            (
                sequence.add(snapshot.arrays["h"][kept], n_iter=300 if planes and method == "tsne" else None),
                sequence.explained,
            )
        )
    limit = 1.05 * max(np.abs(points).max() for points, _ in planes) or 1.0
    cluster = last.arrays["p"][kept].argmax(1)
    figure = Picture(figsize=(10.4, 3.2), layout="constrained")
    for i, (snapshot, (points, explained)) in enumerate(zip(usable, planes)):
        axis = figure.add_subplot(1, len(usable), i + 1, xlim=(-limit, limit), ylim=(-limit, limit))
        scatter_clusters(axis, points, cluster, story.names if snapshot is last else None)
        axis.set_title(
            f"epoch {snapshot.epoch}" + ("" if explained is None else f" ({explained:.0%} of the variance)"), fontsize=9
        )
    figure.alt = (
        f"Features of {len(kept)} images in two dimensions ({'t-SNE' if method == 'tsne' else 'principal components'}) at epochs "
        f"{', '.join(str(s.epoch) for s in usable)}, coloured by the {len(np.unique(cluster))} clusters found at the last one."
    )
    return figure


def _usable(story: RunRecord, epochs: "Sequence[int] | None") -> "list[SnapshotTaken]":
    "The snapshots asked for, as far as they show the same images as the last one."
    if epochs is not None and not len(epochs):
        raise ValueError(f"epochs must name one epoch at least, got {epochs!r}; None shows four")
    usable = [s for s in story.snapshots if _plottable(s)]
    usable = [s for s in usable if np.array_equal(s.indices, usable[-1].indices)]
    # the first and the last were loaded too, asked for or not
    return [usable[i] for i in sorted(nearest_snapshots([s.epoch for s in usable], epochs))]


def _plottable(s: SnapshotTaken) -> bool:
    "Whether a snapshot has finite features and assignments of at least three images."
    h, p = s.arrays.get("h"), s.arrays.get("p")
    fits = h is not None and p is not None and h.ndim == p.ndim == 2 and len(h) == len(p) == len(s.indices) > 2
    return bool(fits and np.isfinite(h).all())


def scatter_clusters(axis, points: np.ndarray, cluster: np.ndarray, legend: "dict[int, str] | None") -> None:
    "Points by cluster: colour and marker both tell. With names, also the legend."
    found = np.unique(cluster)
    for k in found:
        label = plain_text((legend or {}).get(int(k), k), 18)
        axis.scatter(
            *points[cluster == k].T,
            s=9,
            color=COLORS[k % 7],
            marker=MARKERS[k % 8],
            linewidths=0,
            alpha=0.8,
            label=label,
            snap=False,
        )  # snapped to pixels, a small plus would vanish
    axis.set(xticks=[], yticks=[], aspect="equal")
    if legend is not None and len(found) <= 24:
        axis.legend(
            title="cluster", fontsize=7, title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.6
        )


MAPS = {
    "spatial": ("spatial_attention.", "spatial attention"),
    "activation": ("activation.", "mean square activation"),
}  # array names, words


def plot_attention(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    kind: str = "auto",  # "spatial" (CBAM), "activation" (any network), or "auto": spatial where there is some
) -> Picture:  # first row: images; then one row a stage, the map of its last block laid over them
    "Where the network of the last snapshot looks, stage by stage: spatial attention (CBAM; the paper's Eq. 3-4) or strength of activation."
    check_in("kind", kind, ["auto", *MAPS])
    story = read_record(run)
    for chosen in MAPS if kind == "auto" else [kind]:
        maps, images = _maps(story, MAPS[chosen][0])
        if maps:
            break
    else:
        words = "attention or activation" if kind == "auto" else MAPS[kind][1]
        return empty_picture(f"no maps of {words} in the log", f"Attention: the log holds no maps of {words}.")
    figure = Picture(figsize=(0.7 + 1.04 * len(images), 1.05 * (len(maps) + 1)), layout="constrained")
    tiles = _tiles(images, 96)
    for axis, (name, values) in zip(
        figure.subplots(len(maps) + 1, squeeze=False)[:, 0], [("image", None), *maps.items()]
    ):
        for i, tile in enumerate(tiles):
            _lay_over(axis, 104 * i, tile, None if values is None else values[i])
        axis.set(
            xlim=(0, 104 * len(tiles) - 8), ylim=(96, 0), xticks=[], yticks=[]
        )  # one axes for a row: forty of them take seconds
        axis.spines[:].set_visible(False)
        axis.set_anchor("E")  # a row that is narrower than its place leaves the rest to its label
        label = name if values is None else f"{plain_text(name)}\n{values.min():.2f}-{values.max():.2f}"
        axis.set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center")
    ranges = ", ".join(f"{name} {values.min():.2f} to {values.max():.2f}" for name, values in maps.items())
    figure.alt = f"{len(images)} images, and over them the {MAPS[chosen][1]} of the last block of each stage; bright is strong. Range of the values: {ranges}."
    return figure


def _lay_over(axis, left: int, tile: np.ndarray, values: "np.ndarray | None") -> None:
    "An image as it is, or in grey under a map; 96 wide, from `left` on."
    place = (left, left + 96, 96, 0)
    if values is None:
        axis.imshow(tile, extent=place)
    else:
        axis.imshow(tile[..., :3].mean(-1), cmap="gray", vmin=0, vmax=255, extent=place)
        # viridis, as in the widget: it has no grey in it, so the image's grey is never taken for a value
        axis.imshow(values, cmap="viridis", alpha=0.65, interpolation="bilinear", extent=place)


def _maps(story: RunRecord, prefix: str) -> "tuple[dict[str, np.ndarray], np.ndarray]":
    "The maps (n,h,w) of the last block of each stage, and the images they belong to."
    last = story.snapshots[-1] if story.snapshots else None
    pictures = [s for s in story.snapshots if "images" in s.arrays]
    if last is None or not pictures:
        return {}, np.zeros((0, 3, 1, 1), np.uint8)
    stages = {}
    for name, values in last.arrays.items():  # blocks come in order: a later block of a stage replaces an earlier one
        if name.startswith(prefix):
            values = values[:, 0] if values.ndim == 4 else values
            stages[name[len(prefix) :].rpartition(".")[0] or name[len(prefix) :]] = values
    n = min([8, *(len(values) for values in stages.values())])
    at = {index: i for i, index in enumerate(pictures[0].indices.tolist())}
    rows = [i for i, index in enumerate(last.indices[:n].tolist()) if index in at]  # maps belong to the first n images
    images = pictures[0].arrays["images"][[at[int(last.indices[i])] for i in rows]]
    maps = {name: values[rows].astype(np.float64) for name, values in stages.items()} if rows else {}
    return maps, images


def plot_views(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events: with settings, and a snapshot with images
    image: int = 0,  # which image of the snapshot, >= 0
    seed: int = 0,  # another seed, other crops
) -> Picture:  # left: the image and the boxes of its crops; right: the crops, all on one scale
    "What the network is shown of one image: two global and some local crops, drawn as this run draws them (the paper's section 3.2)."
    story = read_record(run, ())
    pictures = [s.arrays["images"] for s in story.snapshots if "images" in s.arrays]
    views = _own_views(story)
    if not pictures or not len(pictures[0]) or views is None:
        return empty_picture(
            "no snapshot with images, or no settings of views, in the log",
            "Views: the log holds no images, or no settings of views.",
        )
    shown = pictures[0][check_int("image", image, 0, len(pictures[0]) - 1)]
    figure = plot_crops(
        shown,
        views(torch.from_numpy(shown[None]), generator(seed), return_boxes=True),
        f"Image {image} of the snapshot",
    )
    figure.alt += " The boxes are drawn before the crops are tilted." if views.weak.rotation or views.weak.shear else ""
    return figure


def plot_crops(
    image: np.ndarray,  # (C,H,W) uint8
    crops: Crops,  # what MultiCrop gave for this image alone, with the boxes
    name: str = "An image",  # how the words call it
    state: str = "as the network sees them",  # how they call the crops
) -> Picture:  # left: the image and the boxes of its crops; right: the crops, all on one scale
    "An image, where its crops were cut from, and the crops."
    boxes = [box for group in (crops.global_boxes, crops.local_boxes) for box in group[:, 0].tolist()]
    pixels = [crop.numpy() for group in (crops.global_crops, crops.local_crops) for crop in group[:, 0]]
    figure = Picture(figsize=(9, 3.4), layout="constrained")
    axis = figure.add_subplot(aspect="equal")
    axis.axis("off")
    _draw_boxes(axis, image, boxes, tall=_draw_crops(axis, pixels))
    height, width = image.shape[1:]
    shares = ", ".join(f"{h * w / (height * width):.0%}" for _, _, h, w in boxes)
    figure.alt = (
        f"{name}, {width} by {height} pixels, with the boxes of two global crops (1, 2; {crops.global_crops.shape[-1]} pixels wide) and "
        f"{len(crops.local_crops)} local crops ({crops.local_crops.shape[-1]} pixels wide), which show {shares} of its area; beside it the crops "
        f"{state}, all on one scale."
    )
    return figure


def _own_views(story: RunRecord):
    "The augmentation that the run's settings describe; None if they describe none (K-Means, say)."
    try:
        return (
            build_views(from_dict(story.start.config)) if story.start and "global_size" in story.start.config else None
        )
    except (ValueError, TypeError):
        return None


def _view_style(i: int) -> dict:
    "Colour and dashes of a view: solid lines for the two global ones."
    return {"edgecolor": COLORS[i % 7], "linestyle": "-" if i < 2 else "--", "linewidth": 2, "fill": False}


def _draw_crops(axis, crops: "list[np.ndarray]") -> float:
    "The crops from x = 0 on, one unit a pixel: global ones in the upper row, local ones below; the height they take."
    largest = crops[0].shape[1]
    gap = max(1.0, 0.12 * largest)
    x, y, right = 0.0, 0.0, 0.0
    for i, crop in enumerate(crops):
        if i == 2:
            x, y = 0.0, largest + 2 * gap
        side = crop.shape[1]
        axis.imshow(
            (_rgb(crop) * 255).round().astype(np.uint8), extent=(x, x + side, y + side, y), interpolation="nearest"
        )
        axis.add_patch(Rectangle((x, y), side, side, **_view_style(i)))
        axis.text(x, y - 0.2 * gap, f"{i + 1}: {side} px", fontsize=8, va="bottom")
        x, right = x + side + gap, max(right, x + side)
    bottom = y + crops[-1].shape[1]
    axis.set(xlim=(0, right + gap / 4), ylim=(bottom + gap / 4, -1.2 * gap))
    return bottom


def _draw_boxes(axis, image: np.ndarray, boxes: "list[list[float]]", tall: float) -> None:
    "The image, as tall as all crops together, to their left, and on it each view's box with its number."
    height, width = image.shape[1:]
    unit = tall / height
    x = -width * unit - 0.2 * tall
    axis.imshow(_rgb(image), extent=(x, x + width * unit, tall, 0), interpolation="nearest")
    for i, (top, left, h, w) in enumerate(boxes):
        axis.add_patch(Rectangle((x + left * unit, top * unit), w * unit, h * unit, **_view_style(i)))
        # each number at another place of its upper edge: boxes with a common corner must not hide one another's
        axis.text(
            x + (left + w * (i + 0.5) / len(boxes)) * unit,
            top * unit,
            str(i + 1),
            color="white",
            gid=OWN_COLOR,
            fontsize=8,
            va="center",
            ha="center",
            bbox={"facecolor": COLORS[i % 7], "edgecolor": "none", "pad": 1.5},
        )
    axis.text(x, tall, f"image: {width} × {height} px", fontsize=8, va="top")
    axis.set_xlim(x - 0.01 * tall, axis.get_xlim()[1])
