"The six pictures of a run against its log, read without our code: lines, words, tiles, planes, maps and crops."

import colorsys
import dataclasses
import itertools
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from dcacn_nb.core.events import Evaluated, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.core.seeds import generator
from dcacn_nb.method.config import build_views, from_dict
from dcacn_nb.report.figures.attention import plot_attention
from dcacn_nb.report.figures.clusters import plot_clusters
from dcacn_nb.report.figures.curves import plot_curves
from dcacn_nb.report.figures.health import plot_health
from dcacn_nb.report.figures.map import plot_map_evolution
from dcacn_nb.report.figures.views import plot_crops, plot_views
from dcacn_nb.report.health import similarity
from dcacn_nb.runs.log import read_events


def lines_of(trained, kind: str) -> "list[dict]":
    "The log's lines of one kind of event."
    return [line for line in trained.lines if line["event"] == kind]


@pytest.fixture(scope="module")
def last(trained):
    "The arrays of the last snapshot's file, read by NumPy."
    with np.load(trained.folder / lines_of(trained, "SnapshotTaken")[-1]["file"]) as stored:
        arrays = {name.removeprefix("array:"): stored[name] for name in stored.files}
    return arrays | {name: arrays[name].astype(np.float64) for name in ("p", "h")}


@pytest.fixture(scope="module")
def curves(trained):
    "Curves of one run."
    return plot_curves(trained.folder)


@pytest.fixture(scope="module")
def health(trained):
    "Health of the same run."
    return plot_health(trained.folder)


@pytest.fixture(scope="module")
def several(trained):
    "Curves of two runs."
    return plot_curves({"attention": trained.folder, "plain": trained.plain})


def drawn(picture, title: str) -> "dict[str, np.ndarray]":
    "Label -> points of the lines in the panel with this title."
    axis = next(axis for axis in picture.axes if axis.get_title().startswith(title))
    name = lambda line: line.get_label() if title == "loss terms" else line.get_label().rsplit(" ", 1)[0]
    return {name(line): np.column_stack(line.get_data()) for line in axis.lines}


# --- curves and health --------------------------------------------------------------------------------------------
def test_scores_are_the_log(trained, curves):
    "Every point of every line."
    for name, points in drawn(curves, "scores").items():
        logged = [(line["epoch"], line["scores"][name.lower()]) for line in lines_of(trained, "Evaluated")]
        np.testing.assert_array_equal(points, logged)


def test_losses_are_the_log(trained, curves):
    "A step is at step / steps per epoch; the wrong variant puts it at the end of its epoch."
    per_epoch, steps = trained.lines[0]["steps_per_epoch"], lines_of(trained, "StepDone")
    found = drawn(curves, "loss terms")
    assert "total" in found
    for name, points in found.items():
        losses = [line["losses"][name] for line in steps]
        np.testing.assert_array_equal(points, [(s["step"] / per_epoch, x) for s, x in zip(steps, losses)])
        assert not np.allclose(points, [(s["epoch"], x) for s, x in zip(steps, losses)]), "the wrong variant"
    for axis, part in zip(curves.axes[2:], ("lr", "images_per_second")):
        np.testing.assert_array_equal(axis.lines[0].get_ydata(), [line[part] for line in steps])


def test_health_is_the_log(trained, health):
    "The numbers without labels, and the mass of each cluster as a multiple of its even share."
    evaluated = lines_of(trained, "Evaluated")
    numbers = drawn(health, "numbers that need no labels")
    assert len(numbers) == 4
    for name, points in numbers.items():
        logged = [(line["epoch"], line["health"][name.replace(" ", "_")]) for line in evaluated]
        np.testing.assert_array_equal(points, logged)
    mass = next(axis for axis in health.axes if axis.get_title().startswith("mass")).collections[0].get_array()
    logged = 10 * np.array([line["health"]["cluster_mass"] for line in evaluated]).T
    np.testing.assert_allclose(np.asarray(mass).reshape(10, -1), logged)


def test_several_runs_are_their_logs(trained, several):
    "The first line of a panel is the first run's, the second the second's."
    panel = {axis.get_title(): [x.get_ydata() for x in axis.lines if len(x.get_ydata())] for axis in several.axes}
    acc = [line["scores"]["acc"] for line in lines_of(trained, "Evaluated")]
    np.testing.assert_array_equal(panel["ACC"][0], acc)
    plain_acc = [e.scores["acc"] for e in trained.plain if isinstance(e, Evaluated)]
    np.testing.assert_array_equal(panel["ACC"][1], plain_acc)
    plain_loss = [e.losses["instance"] for e in trained.plain if isinstance(e, StepDone)]
    np.testing.assert_array_equal(panel["loss: instance"][1], plain_loss)
    for label, value in {"attention": acc[-1], "plain": plain_acc[-1]}.items():
        assert f"{label}: ACC {value:.3g}," in several.alt


def test_only_what_runs_have_is_compared(trained):
    "Evaluations alone give the panels of evaluations."
    kept = lambda events: [e for e in events if isinstance(e, (RunStarted, Evaluated))]
    figure = plot_curves({"attention": kept(read_events(trained.folder)), "plain": kept(trained.plain)})
    assert [a.get_title() for a in figure.axes] == ["ACC", "NMI", "ARI", "view information", "balance entropy"]


def test_words_are_true(trained, curves):
    "The last scores, and not the first, are in the text alternative."
    first, final = (lines_of(trained, "Evaluated")[i]["scores"] for i in (0, -1))
    assert f"ACC {final['acc']:.3f}, NMI {final['nmi']:.3f}, ARI {final['ari']:.3f}" in curves.alt
    assert f"ACC {first['acc']:.3f}" not in curves.alt


def test_colours_are_the_papers(curves):
    "Red, blue and green, in degrees of the circle of hues."
    hue = {x.get_label().split()[0]: 360 * colorsys.rgb_to_hsv(*to_rgb(x.get_color()))[0] for x in curves.axes[0].lines}
    assert hue["ACC"] < 30 and 180 < hue["NMI"] < 260 and 90 < hue["ARI"] < 170


def test_panels_do_not_overlap(trained):
    "Without scores three panels are left, the first of which takes a whole row; titles and labels included."
    unscored = [dataclasses.replace(e, scores=None) if isinstance(e, Evaluated) else e for e in trained.plain]
    figure = plot_curves(unscored)
    figure.draw_without_rendering()
    boxes = [axis.get_tightbbox() for axis in figure.axes]
    assert len(boxes) == 3 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_similarity(last, health):
    "scikit-learn's cosine similarity; the wrong variants compare images, or take the mean off first."
    p = last["p"]
    shown = next(axis for axis in health.axes if axis.get_title().startswith("similarity")).images[0].get_array()
    np.testing.assert_allclose(shown, cosine_similarity(p.T), atol=1e-12)
    assert not np.allclose(similarity(p), similarity(p.T[:, :10]))
    assert np.abs(similarity(p) - np.corrcoef(p.T)).max() > 0.1
    # nothing is assigned to cluster 3
    assert np.allclose(similarity(np.eye(4)[[0, 1, 2, 0]]), np.diag([1, 1, 1, 0]))


# --- clusters -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def clusters(trained):
    "Six images at either end; two clusters have names that are no plain text."
    path = trained.folder / "clusters.json"
    path.write_text(json.dumps({"names": {"0": "$5 < $6", "1": "<b>bold</b>"}}), encoding="utf-8")
    picture = plot_clusters(trained.folder, per_cluster=6)
    path.unlink()
    return picture


def test_right_images_at_the_right_end(trained, last, clusters):
    "By loops: the surest image first, the most doubtful first right of the middle; exchanged ends are noticed."
    p, indices, canvas = last["p"], last["indices"], np.asarray(clusters.axes[0].images[0].get_array())
    step, exchanged, looked = canvas.shape[0] // 10, 0, 0
    large = lambda index: np.kron(trained.images.images[index, 0].numpy(), np.ones((5, 5), np.uint8))
    for k in range(10):
        members = [i for i in range(len(p)) if max(range(10), key=lambda j, i=i: p[i, j]) == k]
        assert f"cluster {k} {len(members)}" in clusters.alt or f") {len(members)}" in clusters.alt
        if len(members) > 12:
            row, middle = canvas[k * step : k * step + step - 2, :, 0], 6 * step + step // 2
            surest, doubtful = (end(members, key=lambda i: p[i, k]) for end in (max, min))
            assert np.array_equal(row[:, : step - 2], large(indices[surest]))
            assert np.array_equal(row[:, middle : middle + step - 2], large(indices[doubtful]))
            exchanged += np.array_equal(row[:, : step - 2], large(indices[doubtful]))
            looked += 1
    assert looked >= 3 and exchanged == 0


class Tags(HTMLParser):
    "Collects the tags of a page."

    def __init__(self, page):
        super().__init__()
        self.seen = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)


def test_names_are_harmless(clusters):
    "Dollar signs are dollar signs, and in HTML a name stays a name."
    labels = [text.get_text() for text in clusters.axes[0].get_yticklabels()]
    assert labels[0].startswith(r"\$5 < \$6") and labels[1].startswith("<b>bold</b>")
    assert labels[2].startswith("cluster 2") and "cluster 0 ($5 < $6)" in clusters.alt
    page = clusters.html()
    assert "b" not in Tags(page).seen
    assert "b" in Tags(page.replace("&lt;", "<").replace("&gt;", ">")).seen, "the wrong variant must be caught"


# --- maps ---------------------------------------------------------------------------------------------------------
def test_plane_is_the_plane(trained, last):
    "Distances in the last panel against scikit-learn's PCA; the wrong variant shows the first two features."
    panel, best = plot_map_evolution(trained.folder, [0, 4]).axes[-1], last["p"].argmax(1)
    points = np.zeros((len(best), 2))
    for k, dots in zip(np.unique(best), panel.collections):
        points[best == k] = dots.get_offsets()
    same_shape = lambda plane: np.corrcoef(pdist(points), pdist(plane))[0, 1]
    assert same_shape(PCA(2).fit_transform(last["h"])) > 0.999999
    assert same_shape(last["h"][:, :2]) < 0.99, "the wrong variant must be caught"


def titles(picture) -> "list[str]":
    "Titles of the panels without the share of the variance."
    return [axis.get_title().split(" (")[0] for axis in picture.axes]


def test_epochs_asked_for(trained):
    "With t-SNE as with PCA; of an epoch without a snapshot the nearest one is shown, and its panel says which."
    evolution = plot_map_evolution(trained.folder, epochs=[0, 2, 4], method="tsne")
    assert titles(evolution) == ["epoch 0", "epoch 2", "epoch 4"] and "t-SNE" in evolution.alt
    assert titles(plot_map_evolution(trained.folder, [-3, 99])) == ["epoch 0", "epoch 4"]


# --- attention and views ------------------------------------------------------------------------------------------
def test_maps_are_of_the_last_block(trained, last):
    "Straight from the snapshot's file, over the images they belong to; the wrong variant takes the first block."
    first_three = [
        dataclasses.replace(e, arrays={n: a[:3] if n.startswith("spatial") else a for n, a in e.arrays.items()})
        if isinstance(e, SnapshotTaken)
        else e
        for e in read_events(trained.folder)
    ]
    attention = plot_attention(first_three)
    attention.png(dpi=30)  # labels have their places only once they are drawn
    for row, stage in enumerate(("layer1", "layer2", "layer3", "layer4"), start=1):
        of_stage = [values for name, values in last.items() if "spatial" in name and f".{stage}." in name]
        assert attention.axes[row].yaxis.label.get_window_extent().x0 >= 0, "the label is cut"
        for column in range(3):
            overlay = np.asarray(attention.axes[row].images[2 * column + 1].get_array())  # behind it, the image in grey
            np.testing.assert_array_equal(overlay, of_stage[-1][column])
            assert not np.allclose(overlay, of_stage[0][column]), "the wrong variant must be caught"
    for column in range(3):
        shown = last["indices"][last["mapped"][column]]
        large = np.kron(trained.images.images[shown, 0].numpy(), np.ones((12, 12), np.uint8))
        np.testing.assert_array_equal(attention.axes[0].images[column].get_array()[..., 0], large)


@pytest.fixture(scope="module")
def views(trained):
    "The crops of the fourth image."
    return plot_views(trained.folder, image=3)


def test_crops_are_the_runs_own(trained, last, views):
    "The views built from the settings in the log's first line give the same crops; another seed gives others."
    shown = [np.asarray(image.get_array())[..., 0] for image in views.axes[0].images[:-1]]
    own, fourth = build_views(from_dict(trained.lines[0]["config"])), last["indices"][3]

    def flat(seed):
        crops = own(trained.images.images[fourth : fourth + 1], generator(seed))
        return [(c[0, 0].numpy() * 255).round() for group in (crops.global_crops, crops.local_crops) for c in group]

    assert all(np.array_equal(a, b) for a, b in zip(shown, flat(0), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(shown, flat(1))), "another seed must be noticed"


def test_shares_are_those_of_the_boxes(views):
    "The words say how much of the image each drawn box covers."
    left, right, bottom, top = views.axes[0].images[-1].get_extent()
    boxes = [patch for patch in views.axes[0].patches if patch.get_x() < right]
    whole = (right - left) * (bottom - top)
    shares = [f"{box.get_width() * box.get_height() / whole:.0%}" for box in boxes]
    assert len(shares) > 2 and f"which show {', '.join(shares)} of its area" in views.alt


def test_crops_of_your_own(trained):
    "Other settings than the run's, on any image."
    images = trained.images.images[5:6]
    changes = dict(n_local=4, local_scale=(0.5, 0.9), jitter=0, local_blur=0)
    mine = build_views(dataclasses.replace(trained.config, **changes))
    crops = plot_crops(images[0].numpy(), mine(images, generator(1), return_boxes=True), "The sixth digit", "unblurred")
    assert len(crops.axes[0].images) == 1 + 2 + 4
    assert crops.alt.startswith("The sixth digit, 8 by 8 pixels") and "unblurred" in crops.alt
    assert "pixels wide) and 4 local crops (8 pixels wide), which show" in crops.alt
    only = dataclasses.replace(mine, n_local=0)(images, generator(1), return_boxes=True)
    assert "(1, 2; 16 pixels wide), no local ones, which show" in plot_crops(images[0].numpy(), only).alt


@pytest.mark.parametrize("suffix, start", [(".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_saved_twice_is_the_same_file(suffix, start, trained, views, tmp_path):
    "And another picture is another file."
    path = tmp_path / f"views{suffix}"
    first, second = views.save(path).read_bytes(), views.save(path).read_bytes()
    assert first == second and first.startswith(start)
    assert first != plot_views(trained.folder, image=4).save(path).read_bytes()


# --- limits -------------------------------------------------------------------------------------------------------
def diverged(event):
    "The same event, had the network become NaN."
    if isinstance(event, SnapshotTaken):
        nan = {n: a if n == "images" else np.full_like(a, np.nan) for n, a in event.arrays.items()}
        return dataclasses.replace(event, arrays=nan)
    if isinstance(event, Evaluated):
        nan = {n: [math.nan] * 10 if isinstance(v, list) else math.nan for n, v in event.health.items()}
        return dataclasses.replace(event, scores=None, health=nan)
    if isinstance(event, StepDone):
        return dataclasses.replace(event, losses=dict.fromkeys(event.losses, math.nan))
    return event


@pytest.fixture(scope="module")
def odd_runs(trained):
    "Runs that have just begun, lack something, or went wrong."
    events = read_events(trained.folder)
    start = dataclasses.replace(events[0], method="kmeans", config={"n_clusters": 10})
    return {
        "no events": [],
        "no snapshots": [e for e in events if not isinstance(e, SnapshotTaken)],
        "NaN": [diverged(e) for e in events],
        "K-Means": [start, *events[1:]],
    }


@pytest.mark.parametrize(
    "run, function",
    [
        *itertools.product(["no events"], [plot_curves, plot_health]),
        *itertools.product(["no snapshots"], [plot_clusters, plot_map_evolution, plot_attention]),
        *itertools.product(["NaN"], [plot_curves, plot_clusters, plot_map_evolution, plot_health]),
        ("K-Means", plot_views),
    ],
)
def test_a_missing_thing_is_said(run, function, odd_runs):
    "Each gives a picture, and words that say what is missing."
    picture = function(odd_runs[run])
    said = ("othing to draw", "no snapshot", "no maps", "no images", "nan")
    assert picture.png(dpi=20).startswith(b"\x89PNG") and any(words in picture.alt for words in said)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda run: plot_curves("nowhere"), "no run log at nowhere"),
        (lambda run: plot_curves(3), "the run must be given as its folder"),
        (lambda run: plot_curves([run, run]), "run must name each folder once"),
        (lambda run: plot_clusters(run, 0), "per_cluster must be >= 1, got 0"),
        (lambda run: plot_clusters(run, names=["cats"]), "names must be like"),
        (lambda run: plot_map_evolution(run, method="umap"), "method must be one of 'pca', 'tsne', got 'umap'"),
        (lambda run: plot_map_evolution(run, epochs=4), "epochs must be a list of numbers"),
        (lambda run: plot_map_evolution(run, epochs="4"), "epochs must be a list of numbers"),
        (lambda run: plot_map_evolution(run, epochs=[]), "epochs must name one epoch at least"),
        (lambda run: plot_attention(run, kind="channel"), "kind must be one of 'auto', 'spatial', 'activation'"),
        (lambda run: plot_views(run, image=300), "image must be .*, got 300"),
    ],
)
def test_refused(call, message, trained):
    "What cannot be meant is refused, by name."
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        call(trained.folder)
