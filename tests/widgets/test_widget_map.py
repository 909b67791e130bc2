"The map viewer without a browser: what is sent, what happens at once, and what happens when something fails."

import io
import threading
import time
from timeit import repeat

import numpy as np
import pytest
import torch
from PIL import Image

from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.map import MapViewer
from dcacn_nb.widgets.projector import Projector


def snapshot(epoch, n=12, first=0, images=False):
    "A snapshot of n images on three spots."
    draw, cluster = np.random.default_rng(epoch), np.arange(n) % 3
    h = 5 * np.eye(3, dtype=np.float32)[cluster] + draw.normal(size=(n, 3)).astype(np.float32)
    arrays = {"h": h, "p": np.eye(3, dtype=np.float32)[cluster] * 0.9 + 0.03}
    if images:
        arrays["images"] = np.full((n, 1, 4, 4), 9, np.uint8)
    return SnapshotTaken(epoch, epoch, first + np.arange(n), arrays)


START = RunStarted("dcacn", {}, {}, 12, 20, 10)


class StandIn:
    "In place of the helper: a map at once, or when the gate opens; or an error."

    def __init__(self, gate=None, error=None):
        self.gate, self.error, self.calls, self.widths = gate, error, [], []

    def map(self, method, h, start, steps, fitted):
        self.calls.append((method, len(h), start, steps))
        self.widths.append(h.shape[1])
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return h[:, :2].copy(), 0.5

    rests = 0

    def rest(self):
        "A process would end here."
        self.rests += 1

    def close(self):
        pass


@pytest.fixture
def make():
    "Views with a stand-in for the helper; closed at the end."
    views = []

    def build(helper=None, **kwargs):
        view = MapViewer(**kwargs)
        view.projector = helper or StandIn()
        views.append(view)
        return view

    yield build
    for view in views:
        view.close()


def sent(view):
    "What a view that says hello is sent."
    out = []
    view.send = lambda content, buffers=(): out.append((content, buffers))
    view._on_message(view, {"kind": "hello"}, [])
    del view.send
    return out


# ---- the widget
def test_the_training_thread_never_waits(make):
    "While a map takes forever, two hundred snapshots are taken in at once, and a hello is answered."
    gate = threading.Event()
    view = make(StandIn(gate))
    view(START)
    begin = time.monotonic()
    for epoch in range(200):
        view(snapshot(epoch))
    kinds = [content["kind"] for content, _ in sent(view)]
    assert time.monotonic() - begin < 3 and kinds == ["start", "state"]
    gate.set()
    assert view.wait(30)
    epochs = [frame.epoch for frame in view.film.mapped("tsne")]
    assert epochs == sorted(epochs) and epochs[-1] == 199 and len(epochs) > 100


def test_the_newest_goes_first(make):
    "Snapshots that came while a map was made: the newest is next."
    gate = threading.Event()
    view = make(helper := StandIn(gate))
    view(snapshot(0))
    while not helper.calls:
        time.sleep(0.01)
    for epoch in range(1, 9):
        view(snapshot(epoch))
    order, add_map = [], view.film.add_map
    view.film.add_map = lambda frame, method, *rest: (
        order.append((method, frame.epoch)),
        add_map(frame, method, *rest),
    )
    gate.set()
    assert view.wait(30)
    assert [epoch for method, epoch in order if method == "tsne"][:3] == [0, 8, 4] and len(order) == 18


def test_a_new_run_and_other_images_begin_a_new_film(make):
    "RunStarted and other images start a new film; a map still being made for the old one is not shown."
    gate = threading.Event()
    view = make(helper := StandIn(gate))
    view(START)
    view(snapshot(0))
    while not helper.calls:
        time.sleep(0.01)
    view(START)
    assert view.summary == view.text("waiting_snapshot")
    gate.set()
    view(snapshot(3))
    assert view.wait(30) and [frame.epoch for frame in view.film.mapped("tsne")] == [3]
    view.selection = [1, 2]
    view(snapshot(4, first=50))
    assert (
        view.wait(30)
        and [frame.epoch for frame in view.film.mapped("tsne")] == [4]
        and view.indices[0] == 50
        and view.selection == []
    )


def test_samples(make):
    "max_points thins the sample; t-SNE is fitted to tsne_points of it, which the summary says."
    view = make(helper := StandIn(), max_points=50, tsne_points=15)
    view(snapshot(0, n=120))
    assert view.wait(30)
    assert [(method, n) for method, n, *_ in helper.calls] == [("pca", 40), ("tsne", 40)]
    messages = sent(view)
    assert messages[0][0] == {"kind": "start", "n": 40, "classes": [], "asked": None}
    assert np.frombuffer(messages[0][1][0], "<i4").tolist() == list(range(0, 120, 3))
    sizes = {
        content["method"]: [len(part) for part in buffers] for content, buffers in messages if content["kind"] == "map"
    }
    assert sizes == {"pca": [160, 80, 40], "tsne": [160, 80, 40]}
    assert "t-SNE of 40 of 120 images" in view.summary and "fitted to 14 of them" in view.summary


def features_of(n, dim=3):
    "Features and assignments of n images on three spots."
    cluster = np.arange(n) % 3
    h = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    h[:, :3] += 5 * np.eye(3, dtype=np.float32)[cluster]
    return h, np.eye(3, dtype=np.float32)[cluster] * 0.9 + 0.03


def test_a_hundred_thousand_images(make):
    "A whole set: 11 bytes per point and map, no sheet of pictures; those that are looked at are sent, at most 256."
    from dcacn_nb.data.feature_set import FeatureSet

    h, p = features_of(100_000)
    pictures = (torch.arange(100_000) % 251).byte()[:, None, None, None].expand(-1, 1, 32, 32)
    view = make(features=FeatureSet(h, pictures), probabilities=torch.from_numpy(p))
    assert view.wait(60)
    messages = sent(view)
    assert [content["kind"] for content, _ in messages] == ["start", "state", "map", "map"]
    assert sum(len(part) for _, buffers in messages for part in buffers) <= 100_000 * (4 + 2 * 7)
    assert view.summary == "t-SNE of 100,000 images, fitted to 2,000 of them, coloured by 3 clusters."
    assert "10,000 of them are drawn" in view.figure().alt
    view(START)  # belongs to no run: events change nothing
    assert view.summary.startswith("t-SNE of 100,000")
    answers = []
    view.send = lambda content, buffers=(): answers.append((content, buffers))
    view._on_message(view, {"kind": "look", "images": [77_777, 3, -1, 10**9, "x", *range(1000, 1500)]}, [])
    del view.send
    assert [len(content["images"]) <= 256 for content, _ in answers] == [True] * len(answers) and len(answers) == 2
    content, (png,) = answers[0]
    layout = content["layout"]
    place = content["images"].index(77_777)
    x, y = (place % layout["columns"]) * layout["width"], place // layout["columns"] * layout["height"]
    assert np.asarray(Image.open(io.BytesIO(png)))[y, x] == 77_777 % 251
    assert content["token"] == messages[0][0]["asked"] and sum(map(len, (c["images"] for c, _ in answers))) == 502


def test_large_features_are_not_copied_to_the_helper(make, monkeypatch):
    "Of large features the helper gets 50 components; their plane is PCA's, with its share of the variance."
    from sklearn.decomposition import PCA

    h, p = features_of(2000, 100)
    monkeypatch.setattr("dcacn_nb.widgets.map.LARGE", h.nbytes - 1)
    view = make(helper := StandIn(), features=h, probabilities=p)
    assert view.wait(60) and [call[:2] for call in helper.calls] == [("tsne", 2000)] and helper.widths == [50]
    frame = view.film.mapped("pca")[0]
    reference = PCA(2, svd_solver="covariance_eigh").fit(h)
    assert np.isclose(frame.explained, reference.explained_variance_ratio_.sum(), rtol=1e-3)
    same = np.abs(np.corrcoef(frame.maps["pca"].T, reference.transform(h).T)[:2, 2:])
    assert np.allclose(same, np.eye(2), atol=1e-2)


@pytest.mark.parametrize(
    "given, text",
    [
        ({"features": np.zeros((5, 2))}, "features and probabilities belong together"),
        ({"features": np.zeros((5, 2), int), "probabilities": np.ones((5, 2))}, "features must be floating-point"),
        ({"features": np.zeros((2, 2)), "probabilities": np.ones((2, 2))}, "N >= 3, got float64 of shape .2, 2."),
        ({"features": np.zeros((5, 2)), "probabilities": np.ones((4, 2))}, "probabilities .* each of 5 images"),
    ],
)
def test_a_whole_set_is_checked(given, text):
    with pytest.raises(ValueError, match=text):
        MapViewer(**given)


def test_many_points_fewer_maps(make):
    "Maps of a film hold four million points together at most."
    view = make(StandIn(), max_points=100_000)
    view(snapshot(0, n=100_000))
    assert view.wait(60) and view.film.frames.limit == 40


def test_no_tsne_until_it_is_chosen(make):
    'method="pca" makes no t-SNE; choosing it makes that of the newest snapshot, and of all that follow.'
    view = make(helper := StandIn(), method="pca")
    for epoch in range(3):
        view(snapshot(epoch))
        assert view.wait(30)
    assert [call[0] for call in helper.calls] == ["pca"] * 3
    view.method = "tsne"
    assert view.wait(30)
    view(snapshot(3))
    assert (
        view.wait(30)
        and [frame.epoch for frame in view.film.mapped("tsne")] == [2, 3]
        and view.summary.startswith("t-SNE of 12 images at epoch 3 (snapshot 4 of 4)")
    )


def test_a_helper_that_fails_is_named_and_pca_goes_on(make, caplog):
    "After two failures t-SNE is disabled, with the reason; PCA goes on. A killed helper alone does no harm."
    view = make(StandIn(error=RuntimeError("no memory for a process")))
    for epoch in range(3):
        view(snapshot(epoch))
        assert view.wait(30)
    assert "no memory for a process" in view._state()["problem"] and "no t-SNE" in caplog.text
    assert len(view.film.mapped("pca")) == 3 and not view.film.mapped("tsne") and view.film.waiting == 0
    view.lang = "zh"
    assert "t-SNE 无法在此运行" in view._state()["problem"]

    killed = make(Projector())
    killed(snapshot(0))
    assert killed.wait(60)
    killed.projector.process.kill()
    killed(snapshot(1))
    assert (
        killed.wait(60)
        and killed._state()["problem"] == ""
        and [frame.epoch for frame in killed.film.mapped("tsne")] == [0, 1]
    )


def test_the_picture_is_settled_again_when_the_last_map_comes(make):
    "The run ends before its maps are made: the picture in the notebook is replaced once more, with the last map."
    gate, settled = threading.Event(), []
    view = make(StandIn(gate))

    class Handle:
        def update(self, bundle, raw):
            settled.append(bundle["text/plain"])

    view._handles.append(Handle())
    for event in (START, snapshot(0), snapshot(1), RunFinished("completed", 1, 1)):
        view(event)
    assert settled == ["The first map (t-SNE) is being made."]
    assert view.projector.rests == 0
    gate.set()
    assert view.wait(30) and view.projector.rests >= 1  # nothing more will come: the helper ends
    assert settled[-1] == "t-SNE of 12 images at epoch 1 (snapshot 2 of 2), coloured by 3 clusters."


def test_a_shared_history(make):
    "With history= the owner calls update; what it already holds is caught up with, and nothing is taken twice."
    history = History()
    for event in (START, snapshot(0, images=True), snapshot(1)):
        history(event)
    view = make(history=history)
    view.update(snapshot(1))
    view.update(snapshot(2))
    assert view.wait(30) and [frame.epoch for frame in view.film.mapped("pca")] == [0, 1, 2]
    assert [content["kind"] for content, _ in sent(view)][:3] == ["start", "sheet", "state"]


def test_names_of_clusters_and_classes(make, tmp_path):
    "Names come from the run's folder; indices without a label are unknown, never an error in the training thread."
    (tmp_path / "clusters.json").write_text('{"names": {"1": "cats & <dogs>"}}')
    view = make(folder=tmp_path, labels=[0, 1, 1, 0], class_names=["a", "b"], color_by="class")
    view(snapshot(0, first=2))
    assert view.wait(30)
    messages = sent(view)
    assert np.frombuffer(messages[0][1][1], "<u2").tolist() == [1, 0] + [65535] * 10 and messages[0][0]["classes"] == [
        "a",
        "b",
    ]
    assert [content["names"] for content, _ in messages if content["kind"] == "state"] == [{"1": "cats & <dogs>"}]
    assert "3 classes" in view.summary and view.figure().axes[-1].get_legend().get_title().get_text() == "class"


def test_the_selection_is_data_set_indices(make):
    "selected is an array of indices; observers hear of it; the summary counts it."
    view, heard = make(), []
    view.observe(lambda change: heard.append(change["new"]), "selection")
    view(snapshot(0, first=100))
    assert view.wait(30)
    view.selection = [103, 101]
    assert (
        heard == [[103, 101]]
        and view.selected.tolist() == [103, 101]
        and view.selected.dtype == np.int64
        and view.summary.endswith("; 2 images selected.")
    )


@pytest.mark.parametrize(
    "arrays", [{}, {"h": np.zeros((2, 3)), "p": np.ones((2, 2))}, {"h": np.zeros((4, 3, 1)), "p": np.ones((4, 2))}]
)
def test_snapshots_without_features_are_left_out(make, arrays):
    "No h, too few images, or a wrong shape: nothing is drawn, nothing is raised."
    view = make()
    view(SnapshotTaken(0, 0, np.arange(len(arrays.get("h", ()))), arrays))
    assert view.wait(5) and view.film.count == 0 and view.figure().alt == "Waiting for the first snapshot."


def test_every_cluster_is_in_the_printed_picture(make):
    "Even the sixth, a small plus, which vanishes if it is snapped to pixels."
    from dcacn_nb.report.palette import COLORS

    cluster = np.arange(60) % 6
    view = make()
    view(
        SnapshotTaken(
            0,
            0,
            np.arange(60),
            {
                "h": np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32),
                "p": np.eye(6, dtype=np.float32)[cluster],
            },
        )
    )
    assert view.wait(30)
    figure = view.figure()
    figure.axes[0].get_legend().remove()
    ink = 255.0 - np.asarray(Image.open(io.BytesIO(figure.png(dpi=60))).convert("RGB")).reshape(
        -1, 3
    )  # what is taken off white: pale or not, its direction tells the colour
    ink = ink[ink.sum(1) > 80]
    for color in COLORS[:6]:
        own = np.array([255.0 - int(color[i : i + 2], 16) for i in (1, 3, 5)])
        assert (ink @ own / np.linalg.norm(ink, axis=1) / np.linalg.norm(own) > 0.995).sum() > 5, color


# ---- against an independent computation
def spots(epoch, n=12, D=4, seed=0, K=3):
    "A snapshot of n images on K spots; `epoch` says how far these are apart."
    draw, cluster = np.random.default_rng(seed), np.arange(n) % K
    h = epoch * 3 * np.random.default_rng(1).normal(size=(K, D))[cluster] + draw.normal(size=(n, D))
    p = np.full((n, K), 0.4 / (K - 1)) + np.eye(K)[cluster] * (0.6 - 0.4 / (K - 1))
    arrays = {"h": h.astype(np.float32), "p": p.astype(np.float32)}
    if epoch == 0:
        arrays["images"] = draw.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return SnapshotTaken(epoch, 10 * epoch, 100 + np.arange(n), arrays)


def distances(points):
    "All distances between points, in units of the spread; a plane may be turned."
    points = points - points.mean(0)
    return np.linalg.norm(points[:, None] - points, axis=-1) / np.sqrt((points**2).sum(1).mean())


def check_maps(messages):
    "Compare the maps in messages with principal components from NumPy, clusters and confidences with p."
    maps = [(content, buffers) for content, buffers in messages if content["kind"] == "map"]
    assert [content["epoch"] for content, _ in maps] == [0, 1, 2]
    for content, (xy, cluster, confidence) in maps:
        event = spots(content["epoch"])
        points = np.frombuffer(xy, "<i2").reshape(-1, 2) * (content["scale"] / 32767)
        u, s, _ = np.linalg.svd((event.arrays["h"] - event.arrays["h"].mean(0)).astype(float))
        np.testing.assert_allclose(distances(points), distances(u[:, :2] * s[:2]), atol=2e-3)
        np.testing.assert_allclose(np.sqrt((points**2).sum(1).mean()), 1, atol=1e-3)
        np.testing.assert_allclose(content["explained"], (s[:2] ** 2).sum() / (s**2).sum(), rtol=1e-5)
        assert np.frombuffer(cluster, "<u2").tolist() == event.arrays["p"].argmax(1).tolist()
        np.testing.assert_allclose(np.frombuffer(confidence, np.uint8) / 255, event.arrays["p"].max(1), atol=1 / 255)


def test_what_reaches_the_browser_is_what_numpy_computes():
    "Positions within the rounding of 16 bits, indices, labels, tiles; another snapshot's scale is noticed."
    view = MapViewer(method="pca", labels=np.arange(200) % 3, class_names=["cat", "dog", "ship"])
    for event in [START, *(spots(epoch) for epoch in (0, 1, 2)), RunFinished("completed", 20, 2)]:
        view(event)
    assert view.wait(60)
    messages = sent(view)
    check_maps(messages)
    (_, (indices, labels)), (layout, (png,)) = messages[0], messages[1]
    assert np.frombuffer(indices, "<i4").tolist() == list(range(100, 112))
    assert np.frombuffer(labels, "<u2").tolist() == [i % 3 for i in range(100, 112)]
    tiles = np.asarray(Image.open(io.BytesIO(png)))
    for i, image in enumerate(spots(0).arrays["images"]):
        y, x = i // layout["columns"] * 8, i % layout["columns"] * 8
        assert (tiles[y : y + 8, x : x + 8] == image[0]).all()
    wrong = [(c | {"scale": 2 * c["scale"]} if c.get("epoch") == 2 else c, buffers) for c, buffers in messages]
    with pytest.raises(AssertionError):
        check_maps(wrong)
    view.close()


def test_a_run_of_a_thousand_epochs_leaves_a_bounded_film(make):
    "At most 20 maps and the newest, and every message names those to keep."
    view, keep = make(frames=20), {}
    view._viewed = True
    view.send = lambda content, buffers: keep.update({content["method"]: content["keep"]} if "keep" in content else {})
    for epoch in range(1000):
        view(spots(epoch))
        if epoch % 50 == 49:
            assert view.wait(20)
    assert len(view.film.frames) <= 21 and set(keep) == {"pca", "tsne"}
    assert all(numbers[-1] == 999 and len(numbers) <= 21 for numbers in keep.values())


def test_ten_thousand_points_cost_little(make):
    "The training thread's part of a snapshot, and rounding and packing of a map: ten times what is aimed at."
    view = make(method="pca")
    view._viewed, view.send = True, lambda content, buffers: None
    sample = spots(0, 10_000, 512, K=10)
    arrays = {"h": sample.arrays["h"], "p": sample.arrays["p"]}
    snapshots = iter(SnapshotTaken(epoch, epoch, sample.indices, arrays) for epoch in range(60))
    view(next(snapshots))
    assert view.wait(60)
    updates = repeat(lambda: view.update(next(snapshots)), lambda: view.wait(20), number=1, repeat=20)
    assert view.wait(60)
    messages = repeat(lambda: view._message(view.film.frames.last, "pca"), number=1, repeat=20)
    assert sorted(updates)[10] + sorted(messages)[10] < 0.02


@pytest.mark.parametrize(
    "lang, no_map, no_helper", [("en", "has no map", "does not work here"), ("zh", "没有图", "无法在此运行")]
)
def test_what_has_no_map_is_named_in_both_languages(make, lang, no_map, no_helper, caplog):
    "Features that are not finite; a helper that cannot start, which leaves PCA."
    diverged = spots(0)
    diverged.arrays["h"][3] = np.nan
    view = make(Projector(), lang=lang)
    view(diverged)
    assert view.wait(60) and no_map in view._state()["problem"] and not view.film.mapped("pca")
    view = make(StandIn(error=RuntimeError("could not be started: no memory")), lang=lang)
    view(spots(0))
    assert view.wait(60) and no_helper in view._state()["problem"] and "no memory" in view._state()["problem"]
    assert view.film.mapped("pca") and not view.film.mapped("tsne")


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"method": "umap"}, "method must be one of"),
        ({"color_by": "class"}, "needs labels"),
        ({"labels": [0.5, 1]}, "labels must be one whole number"),
        ({"max_points": 2}, "max_points must be >= 3"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        MapViewer(**arguments)


# ---- a real run
def test_a_real_run_is_mapped_and_selected_from(run, digits):
    "t-SNE of every snapshot, or of every third; a selection is a list of images in Python."
    view = MapViewer.attach(run.folder, labels=digits.labels, class_names=list("0123456789"))
    sparse = MapViewer.attach(run.folder, every=3)
    assert view.wait(120) and [frame.epoch for frame in view.film.mapped("tsne")] == [0, 1, 2, 3]
    frame = view.film.mapped("tsne")[-1]
    unsure = np.argsort(np.where(frame.cluster == frame.cluster[0], frame.confidence, 2))[:8]
    view.selection = view.indices[unsure].tolist()
    assert view.selected.tolist() == view.indices[unsure].tolist() and view.summary.endswith("; 8 images selected.")
    assert sparse.wait(120) and [frame.epoch for frame in sparse.film.mapped("tsne")] == [0, 3]
    assert [frame.epoch for frame in sparse.film.mapped("pca")] == [0, 1, 2, 3]
    view.close()
    sparse.close()
