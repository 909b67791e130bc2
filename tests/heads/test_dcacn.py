"""DCACN's heads on features: Eq. 8 of a panel, features in form, the vote, groups of points, a resumed run."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from dcacn_nb.core.events import Evaluated
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.fitting import fit
from dcacn_nb.heads._parts import merges
from dcacn_nb.heads._parts.merges import group_steps, grown_groups, merge_steps, merged, modularity, shared_neighbours
from dcacn_nb.heads.dcacn import EvenFeatures, dcacn, matched, parallel_balance, parallel_contrast
from dcacn_nb.methods import find_method

SMALL = dict(heads=4, vote=2, components=0, neighbours=5)
QUICK = dict(epochs=16, batch_size=40, device="cpu", snapshot_every=0, eval_every=8)


@pytest.fixture(scope="module")
def blobs():
    "Three groups of 60, 40 and 20 points in eight dimensions."
    draws, labels = np.random.default_rng(0), np.repeat(np.arange(3), (60, 40, 20))
    points = 4 * np.eye(3, 8)[labels] + draws.normal(0, 0.5, (120, 8))
    return FeatureSet(torch.from_numpy(points.astype(np.float32)), labels=labels)


def eq_6(a, b, temperature, decoupled):
    "The contrast of two matrices in NumPy, row by row."
    rows = np.concatenate([a, b])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n, total = len(a), 0.0
    for i, row in enumerate(rows):
        positive = (i + n) % (2 * n)
        negatives = [j for j in range(2 * n) if j != i and not (decoupled and j == positive)]
        total += np.log(np.exp(rows[negatives] @ row / temperature).sum()) - rows[positive] @ row / temperature
    return total / (2 * n)


@pytest.mark.parametrize("decoupled", [True, False])
def test_contrast_of_each_head_is_eq_6(decoupled):
    a, b = np.random.default_rng(1).uniform(size=(2, 3, 4, 6))
    found = parallel_contrast(torch.from_numpy(a), torch.from_numpy(b), 0.7, decoupled)
    assert found.tolist() == pytest.approx([eq_6(*pair, 0.7, decoupled) for pair in zip(a, b)], abs=1e-12)


def test_balance_is_zero_for_the_shares_that_are_wanted():
    shares = torch.tensor([[0.7, 0.2, 0.1], [1 / 3] * 3])
    p = torch.stack([shares[:1].expand(10, 3)] * 2)[None].expand(2, -1, -1, -1)  # both heads: 70, 20 and 10 per cent
    kept, even = parallel_balance(p, shares).tolist()
    expected = 2 * sum(share * math.log(3 * share) for share in (0.7, 0.2, 0.1))
    assert kept == pytest.approx(0, abs=1e-6) and even == pytest.approx(expected, abs=1e-6)


def test_modularity_by_counting():
    clusters = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]])
    neighbours = torch.tensor([[1], [0], [3], [2]])  # pairs (0,1) and (2,3)
    assert [modularity(neighbours, each) for each in clusters] == [0.5, -0.5, 0]


def test_groups_of_any_size_hang_together():
    "A wide group of 150 points and six small ones: K-Means cuts the first, merges do not."
    draws, sizes = np.random.default_rng(1), (150, *[30] * 6)
    angles = np.linspace(0, 2 * np.pi, 7)[:6]
    centres = np.repeat([[0, 0], *np.c_[6 * np.cos(angles), 6 * np.sin(angles)]], sizes, 0)
    points = centres + draws.normal(size=centres.shape) * np.repeat([1.6, *[0.3] * 6], sizes)[:, None]
    labels, points = np.repeat(np.arange(7), sizes), torch.from_numpy(points).float()
    near = torch.cdist(points, points).fill_diagonal_(torch.inf).topk(8, largest=False).indices
    found = [adjusted_rand_score(labels, grown_groups(points, near, 7, seed)) for seed in range(5)]
    plain = [
        adjusted_rand_score(labels, KMeans(7, n_init=1, random_state=seed).fit_predict(points)) for seed in range(5)
    ]
    assert np.mean(found) > np.mean(plain) + 0.1, (found, plain)


def test_very_many_small_clusters_come_in_two_rounds(monkeypatch):
    "As good as in one round, a function of the seed, and with a pause after each part."
    draws = np.random.default_rng(0)
    labels = draws.integers(30, size=900)
    points = torch.from_numpy(6 * draws.normal(size=(30, 8))[labels] + draws.normal(size=(900, 8))).float()
    near = torch.cdist(points, points).fill_diagonal_(torch.inf).topk(10, largest=False).indices
    one = [adjusted_rand_score(labels, grown_groups(points, near, 30, seed)) for seed in range(3)]
    assert sum(1 for _ in group_steps(points, near, 30, 0)) == 1
    monkeypatch.setattr(merges, "ONE_ROUND", 50)
    two = [grown_groups(points, near, 30, seed) for seed in range(3)]
    assert np.mean([adjusted_rand_score(labels, groups) for groups in two]) > np.mean(one) - 0.02
    assert torch.equal(two[0], grown_groups(points, near, 30, 0)) and two[0].unique().tolist() == list(range(30))
    assert sum(1 for _ in group_steps(points, near, 30, 0)) > 5
    monkeypatch.setattr(merges, "TABLE", 60)
    assert sum(1 for _ in group_steps(points, near, 30, 0)) == round(60**0.5) + 1  # parts, and one more
    copies = points[:3].repeat(300, 1)
    assert grown_groups(copies, near, 30, 0).max() < 3


def test_merges_join_what_shares_most_beyond_chance():
    clusters, neighbours = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([[1], [2], [1], [2], [5], [4]])
    shared = shared_neighbours(clusters, neighbours, 3)
    assert [step[:2] for step in merge_steps(shared)] == [(0, 1), (0, 2)]
    assert merged(clusters, neighbours, 2).tolist() == [0, 0, 0, 0, 1, 1]
    assert merged(clusters, neighbours, 3).tolist() == clusters.tolist()


def test_clusters_are_renamed_one_to_one():
    first = torch.arange(12) % 4
    other = (first + 1) % 4
    noisy = torch.where(torch.arange(12) == 5, 3, other)
    assert matched(torch.stack([first, other, noisy]), 4).tolist() == [[0, 1, 2, 3], [1, 2, 3, 0], [1, 2, 3, 0]]


@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_square_root_only_where_no_feature_is_negative(shift):
    features = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)) + shift
    even = EvenFeatures(6, components=0)
    even.fit(features)
    rooted = features.numpy() ** 0.5 if shift == 0 else features.numpy()
    rooted = rooted / np.linalg.norm(rooted, axis=1, keepdims=True)
    centred = rooted - rooted.mean(0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True) * 6**0.5
    np.testing.assert_allclose(even(features).numpy(), expected, atol=1e-5)


def test_uneven_groups_are_found_and_the_heads_of_highest_modularity_vote(blobs):
    run = fit(blobs, n_clusters=3, method=dcacn(8, **SMALL), labels=blobs.labels, **QUICK)
    assert run.scores["acc"] > 0.95
    model = run.model
    with torch.no_grad():
        each = model.cluster_heads(model.backbone(blobs.features)).argmax(2)
    worth = [modularity(run.state.memory["neighbours"], clusters) for clusters in each]
    assert model.members.tolist() == sorted(range(len(worth)), key=lambda h: -worth[h])[:2]


def test_each_head_starts_from_groups_of_its_own_and_keeps_near_their_sizes(blobs):
    seen = []
    run = fit(blobs, n_clusters=3, method=dcacn(8, **SMALL), labels=blobs.labels, **QUICK, observers=[seen.append])
    first = next(event for event in seen if isinstance(event, Evaluated))
    assert first.epoch == 0 and first.scores["acc"] > 0.95  # before any step
    for shares in run.model.shares:
        expected = [0.75 * size + 0.25 / 3 for size in (1 / 6, 1 / 3, 1 / 2)]
        assert sorted(shares.tolist()) == pytest.approx(expected, abs=0.02)


def test_a_resumed_run_ends_with_the_same_bits(stopped_and_resumed):
    saved = stopped_and_resumed(find_method("dcacn", features=8, **SMALL), 25, QUICK)
    assert saved.keys() >= {"model.members", "model.shares", "memory.neighbours"}


@pytest.mark.parametrize(
    ("options", "word"),
    [({"vote": 30}, "vote"), ({"neighbours": 0}, "neighbours"), ({"heads": 0}, "heads")],
)
def test_options_out_of_range_are_named(options, word):
    with pytest.raises(ValueError, match=word):
        dcacn(8, **options)


def test_fewer_images_than_neighbours(blobs):
    run = fit(blobs.subset([0, 1, 70, 71, 110]), n_clusters=2, method=dcacn(8, heads=2, vote=1), epochs=2, device="cpu")
    assert run.state.memory["neighbours"].shape == (5, 1) and run.probabilities.isfinite().all()
