"Heads that are fitted once: stopped and resumed, loaded, new images, bad input, against scikit-learn."

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

from dcacn_nb.core.events import StepDone
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.fitting import fit, predict
from dcacn_nb.heads._parts.fitted import check_distinct
from dcacn_nb.heads.spherical_kmeans import spherical_lloyd
from dcacn_nb.heads.umap_kmeans import MapHead, umap_kmeans
from dcacn_nb.method.metrics import clustering_accuracy
from dcacn_nb.method.step import encode
from dcacn_nb.methods import find_method
from dcacn_nb.runs.folder import load_run

OPTIONS = {
    "kmeans": {"n_init": 3},
    "spherical_kmeans": {"n_init": 3},
    "gmm": {"components": 8, "n_init": 2},
    "umap_kmeans": {"map_dim": 2, "n_init": 2},
}
umap_missing = pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
# UMAP compiles for many seconds
HEADS = [pytest.param(name, marks=[umap_missing, pytest.mark.slow] if "umap" in name else []) for name in OPTIONS]


@pytest.fixture(scope="module")
def features():
    "The pixels of 200 digits as features."
    digits = load_digits()
    return FeatureSet((digits.data[:200] / 16).astype(np.float32), labels=digits.target[:200])


def train(features, name, n_clusters=10, stop_at=None, **knobs):
    "A run of one pass with four steps."
    method = find_method(name, features=features.dim, **OPTIONS[name])
    settings = dict(batch_size=50, log_every=1, snapshot_every=0, device="cpu", report=False)
    run = fit(features, n_clusters=n_clusters, method=method, start=False, **(settings | knobs))
    if stop_at:
        run.subscribe(lambda event: run.stop() if isinstance(event, StepDone) and event.step == stop_at else None)
    return run.drive()


@pytest.mark.parametrize("name", HEADS)
def test_a_stopped_run_resumes_to_the_same_bits_and_assigns_new_images(name, features, tmp_path):
    whole = train(features, name, run_dir=tmp_path / "whole")
    stopped = train(features, name, stop_at=2, run_dir=tmp_path / "stopped")
    assert stopped.status == "stopped" and stopped.state.step == 2
    resumed = train(features, name, run_dir=tmp_path / "stopped", resume=True)
    ours, theirs = resumed.state.tensors(), whole.state.tensors()
    assert resumed.status == "completed" and ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    model, config = load_run(tmp_path / "stopped")
    assert torch.equal(encode(model, features.features, config), whole.probabilities)
    some = features.subset([7, 3, 150])
    assert (predict(tmp_path / "whole", some).argmax(1) == whole.assignments[[7, 3, 150]]).all()
    assert clustering_accuracy(features.labels, whole.assignments) > 0.6  # chance is about 0.2
    assert len(np.unique(whole.assignments)) == 10


@pytest.mark.parametrize("name", HEADS)
def test_more_clusters_than_images_or_than_different_images_are_refused(name, features):
    with pytest.raises(ValueError, match="n_clusters must be <= the number of images, 9, got 10"):
        train(features.subset(range(9)), name, batch_size=9)
    constant = FeatureSet(np.ones((100, 64), np.float32))
    with pytest.raises(ValueError, match="n_clusters must be <= the number of different features, 1, got 10"):
        train(constant, name)
    copies = features.subset(np.tile(np.arange(10), 10))  # ten different images are enough for ten clusters
    if name != "umap_kmeans":
        assert (np.bincount(train(copies, name).assignments) == 10).all()


@pytest.mark.parametrize("name", HEADS)
def test_another_seed_is_another_start_and_the_same_seed_the_same_run(name, features):
    first, again = (train(features, name, seed=5).model.state_dict() for _ in range(2))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    other = train(features, name, seed=6).model.state_dict()
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_kmeans_is_scikit_learns(features):
    run = train(features, "kmeans", n_clusters=7, seed=3)
    expected = KMeans(7, n_init=3, random_state=3).fit(features.features.numpy())
    assert clustering_accuracy(expected.labels_, run.assignments) == 1


def test_length_does_not_count_in_spherical_kmeans(features):
    lengths = np.random.default_rng(0).uniform(0.2, 5, (200, 1)).astype(np.float32)
    longer = FeatureSet(features.features.numpy() * lengths)
    runs = {name: [train(f, name).assignments for f in (features, longer)] for name in ("kmeans", "spherical_kmeans")}
    assert clustering_accuracy(*runs["spherical_kmeans"]) == 1
    assert clustering_accuracy(*runs["kmeans"]) < 0.9


def test_spherical_kmeans_settles_where_every_image_has_its_nearest_direction(features):
    u = features.features.double().numpy()
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    centres, cosine = spherical_lloyd(u, u[:10])
    labels = (u @ centres.T).argmax(1)
    sums = np.array([u[labels == k].sum(0) for k in range(10)])
    np.testing.assert_allclose(centres, sums / np.linalg.norm(sums, axis=1, keepdims=True), atol=1e-12)
    assert cosine == pytest.approx((u * centres[labels]).sum(1).mean())
    away = np.full((1, 64), -1 / 8)  # no image is nearest to it: it stays empty, and where it is
    kept, _ = spherical_lloyd(u, np.concatenate([u[:3], away]))
    assert np.array_equal(kept[3], away[0])


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_the_mixtures_probabilities_are_scikit_learns(covariance, features):
    method = find_method("gmm", features=64, components=6, covariance=covariance, n_init=1)
    run = fit(features, n_clusters=4, method=method, batch_size=50, snapshot_every=0, report=False)
    x = run.model.backbone(features.features).double().numpy()
    reference = GaussianMixture(4, covariance_type=covariance, random_state=0, max_iter=300, reg_covar=0.01 * x.var())
    np.testing.assert_allclose(run.probabilities, reference.fit(x).predict_proba(x), atol=1e-4)
    assert 0 < run.probabilities[run.probabilities < 1].max() < 1, "some image is not certain"


def test_umap_kmeans_without_umap_is_refused_before_any_work(features, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"umap_kmeans needs umap-learn.*pip install 'dcacn_nb\[compare\]'"):
        fit(features, n_clusters=10, method="umap_kmeans")


def test_a_map_head_loads_as_many_images_as_were_saved():
    saved, head = MapHead(2, dim=3, map_dim=2), MapHead(2, dim=3, map_dim=2)
    saved.reference, saved.places = torch.eye(3), torch.tensor([[0.0, 0], [1, 1], [1, 0]])
    saved.centres.copy_(torch.tensor([[0.0, 0], [1, 1]]))
    with pytest.raises(RuntimeError, match="has not been laid out yet"):
        head(torch.eye(3))
    head.load_state_dict(saved.state_dict())
    assert head(torch.tensor([[9.0, 1, 0], [0, 2, 1]])).argmax(1).tolist() == [0, 1]


@umap_missing
def test_too_few_images_for_the_neighbours_are_refused(features):
    with pytest.raises(ValueError, match="neighbours must be >= 2 and <= 11, got 15"):
        fit(features.subset(range(12)), n_clusters=3, method=umap_kmeans(64), report=False)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("kmeans", {"n_init": 0}, "n_init must be >= 1, got 0"),
        ("spherical_kmeans", {"n_init": 0}, "n_init must be >= 1, got 0"),
        ("gmm", {"covariance": "round"}, "covariance must be one of"),
        ("gmm", {"components": 0}, "components must be >= 1, got 0"),
        ("umap_kmeans", {"neighbours": 1}, "neighbours must be >= 2, got 1"),
        ("umap_kmeans", {"map_dim": 0}, "map_dim must be >= 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        find_method(name, features=64, **options)


def test_rows_are_counted_once():
    check_distinct(torch.eye(4).repeat(5, 1), 4)
    with pytest.raises(ValueError, match="the number of different features, 4, got 5"):
        check_distinct(torch.eye(4).repeat(5, 1), 5)
