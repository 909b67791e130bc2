"Runs on features: the spine that images take, from store to events, folder, resume and new images."

import json

import numpy as np
import pytest
import torch

import dcacn_nb as dc
from dcacn_nb.core.events import Evaluated, SnapshotTaken
from dcacn_nb.data.feature_set import FeatureSet, save_features
from dcacn_nb.method.step import encode
from dcacn_nb.methods import find_method, method_names
from dcacn_nb.runs.log import read_events

LITE = {"name": "lite0", "weights": "a" * 64, "size": 224, "engine": "torch"}
FEW = dict(epochs=3, batch_size=20, device="cpu", eval_every=1, snapshot_every=1, projection_dim=4, seed=1)


def three_groups(n=60, dim=12, encoder=LITE, seed=0):
    "Features in three clear groups, with small pictures, labels and paths."
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = rng.normal(0, 0.3, (n, dim)) + 3 * np.eye(dim)[labels]
    images = torch.from_numpy(rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8))
    paths = [f"/photos/{i}.jpg" for i in range(n)]
    about = {"encoder": encoder, "source": "photos"}
    return FeatureSet(torch.from_numpy(features).float(), images, labels, list("abc"), paths, about)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A finished run of DCACN's heads."
    features = three_groups()
    folder = tmp_path_factory.mktemp("frozen") / "run"
    return dc.fit(features, n_clusters=3, labels=features.labels, run_dir=folder, **FEW)


def test_events_tell_of_features(run):
    "Neighbours stand where views do in the health figures; snapshots show the small pictures."
    events = read_events(run.folder)
    evaluations = [e for e in events if isinstance(e, Evaluated)]
    assert len(evaluations) == 4 and all("view_agreement" not in e.health for e in evaluations)
    assert 0 <= evaluations[-1].health["neighbour_agreement"] <= 1
    first = next(e for e in events if isinstance(e, SnapshotTaken))
    np.testing.assert_array_equal(first.arrays["images"], run.source.images[first.indices].numpy())
    about = json.loads((run.folder / "config.json").read_text())
    assert (
        about["encoder"] == {"name": "lite0", "weights": "a" * 64, "size": 224} and about["options"]["features"] == 12
    )


def test_neighbour_agreement_is_what_it_says(run):
    "The share of an image's ten nearest neighbours that are in its cluster, by a loop."
    x = torch.nn.functional.normalize(run.source.features, dim=1)
    clusters, cosines = run.assignments, (x @ x.T).fill_diagonal_(-2)
    same = [clusters[i] == clusters[j] for i in range(len(x)) for j in cosines[i].topk(10).indices]
    assert run.health["neighbour_agreement"] == pytest.approx(np.mean(same))


def test_what_a_run_on_features_leaves(run):
    "Clusters of every file, groups with pictures, chance and K-Means, a report."
    names = {path.name for path in run.folder.iterdir()}
    assert {"clusters.csv", "groups.json", "reference.json", "report.html"} <= names
    rows = (run.folder / "clusters.csv").read_text().splitlines()
    assert len(rows) == 61 and rows[1].startswith("/photos/0.jpg,")
    reference = json.loads((run.folder / "reference.json").read_text())
    assert np.sum(reference["confusion"]) == 60 and reference["kmeans"]["acc"] == 1 and reference["chance"]["acc"] < 0.6


def test_new_features_get_the_clusters_of_training(run):
    "From the run in memory and from its folder; a probability for every cluster."
    p = dc.predict(run, run.source)
    np.testing.assert_allclose(p, run.probabilities.numpy(), atol=1e-6)
    np.testing.assert_allclose(dc.predict(run.folder, run.source), p, atol=1e-6)
    assert p.shape == (60, 3) and np.allclose(p.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("method", [name for name in method_names(frozen=True) if name != "umap_kmeans"])
def test_every_head_resumes_bit_for_bit(method, tmp_path):
    "Stopped in the middle and resumed, a run ends with the weights of one that was not. UMAP: `test_classical.py`."
    features = three_groups()
    name = find_method(method, features=12)
    settings = FEW | {"epochs": 3 if name.defaults.get("epochs", 3) != 1 else 1, "snapshot_every": 0}
    whole = dc.fit(features, n_clusters=3, method=method, run_dir=tmp_path / "whole", report=False, **settings)
    broken = dc.fit(
        features, n_clusters=3, method=method, run_dir=tmp_path / "a", report=False, start=False, **settings
    )
    steps, count = broken._steps, 0
    for event in steps:
        broken._disk.log(event) if event is not None else None
        count += event is None and broken.state.step > 0
        if count == 2:
            break
    broken._save()
    broken._disk.close()
    again = dc.fit(features, n_clusters=3, method=method, run_dir=tmp_path / "a", report=False, resume=True, **settings)
    for ours, theirs in zip(again.model.state_dict().values(), whole.model.state_dict().values()):
        assert torch.equal(ours, theirs)
    assert torch.equal(again.probabilities, whole.probabilities)


@pytest.mark.parametrize("method", method_names(frozen=True))
def test_of_several_views_the_whole_image_counts(method):
    "Features (N,V,D) give what the first view alone gives."
    plain, settings = three_groups(), FEW | {"snapshot_every": 0, "report": False, "n_clusters": 3}
    noise = torch.randn(60, 12, generator=torch.Generator().manual_seed(0))
    views = FeatureSet(torch.stack([plain.features, noise], 1))
    runs = [dc.fit(features, method=method, **settings) for features in (plain, views)]
    assert torch.equal(runs[0].probabilities, runs[1].probabilities)


def test_features_of_another_encoder_are_refused(run, tmp_path):
    "Also where only the weights differ, and where only the length does."
    other = three_groups(encoder=LITE | {"weights": "b" * 64})
    with pytest.raises(ValueError, match="must come from the encoder of the run, lite0 with weights a"):
        dc.predict(run, other)
    with pytest.raises(ValueError, match="must have length 12, like those trained on, got 5"):
        dc.predict(run, three_groups(dim=5))
    with pytest.raises(ValueError, match="encoder: .*in the run"):
        dc.fit(other, n_clusters=3, run_dir=run.folder, resume=True, **FEW)
    with pytest.raises(ValueError, match="the network was trained on features, got ImageSet"):
        from dcacn_nb.runs.inputs import check_input, describe_input

        check_input(dc.load_images("digits", limit=4), describe_input(run.source))


def test_methods_for_the_other_kind_are_refused():
    "A method on images says what to do with features, and the reverse."
    features = three_groups()
    with pytest.raises(ValueError, match="method 'iic' works on images alone"):
        dc.fit(features, n_clusters=3, method="iic")
    with pytest.raises(ValueError, match="method 'temi' works on features alone: give an encoder"):
        dc.fit(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), n_clusters=3, method="temi")
    with pytest.raises(ValueError, match="is a head on features of length 7"):
        dc.fit(features, n_clusters=3, method=find_method("dcacn", features=7))
    with pytest.raises(ValueError, match="extra must be None where features are clustered"):
        dc.fit(features, n_clusters=3, extra=torch.zeros(4, 1, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "npy"])
def test_files_of_features_stand_where_images_do(suffix, run, tmp_path):
    "A saved set comes back with all that is known; .npy keeps the features alone."
    path = save_features(run.source, tmp_path / f"features.{suffix}")
    back = dc.load_images(str(path))
    assert torch.equal(back.features, run.source.features)
    if suffix != "npy":
        assert back.paths == run.source.paths and back.class_names == list("abc")
        assert torch.equal(back.images, run.source.images) and back.protocol["encoder"] == LITE
    assert np.array_equal(dc.predict(run, str(path)).argmax(1), run.assignments)


def test_bad_features_are_refused(tmp_path):
    "NaN, another length than the labels, numbers of the wrong kind, damaged files, pickles."
    good = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    bad = good.copy()
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="got NaN or infinity in 1 of 6 rows, the first of them row 2"):
        FeatureSet(torch.from_numpy(bad))
    with pytest.raises(ValueError, match="one file per row of features, 6, got 5"):
        FeatureSet(torch.from_numpy(good), paths=list("abcde"))
    with pytest.raises(ValueError, match="one picture per row of features, 6, got 5"):
        FeatureSet(torch.from_numpy(good), torch.zeros(5, 3, 4, 4, dtype=torch.uint8))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="objects.npy' cannot be read"):
        dc.load_features(tmp_path / "objects.npy")
    path = save_features(FeatureSet(torch.from_numpy(good)), tmp_path / "cut.safetensors")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cut.safetensors' cannot be read"):
        dc.load_features(path)
    np.savez(tmp_path / "two.npz", a=good, b=good)
    with pytest.raises(ValueError, match="must hold an array named 'features', it holds a, b"):
        dc.load_features(tmp_path / "two.npz")


def test_several_views_are_one_store():
    "(N,V,D): heads see the whole image where one feature is wanted."
    features = three_groups()
    views = torch.stack([features.features, features.features + 0.1], 1)
    run = dc.fit(FeatureSet(views), n_clusters=3, **FEW)
    assert torch.equal(run.probabilities, encode(run.model, features.features, run.config))
