"The number of clusters: each criterion against a reference, the choice on groups that are known, bad input, merges."

import ast
import json

import numpy as np
import pytest
from project import ROOT
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_score

import dcacn_nb
from dcacn_nb.cli.export import export
from dcacn_nb.clusters.number import (
    BY_HAND,
    CRITERIA,
    _sentence,
    choose,
    choose_k,
    coding_length,
    merge_suggestions,
    modularity,
    neighbour_information,
    neighbours,
    predictability,
    reduced,
    silhouette,
    together,
)
from dcacn_nb.data.feature_set import FeatureSet


def groups(count, each, dim=16, spread=0.15, seed=0):
    "Round groups around random directions, and the group of each row."
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:count]
    truth = np.repeat(np.arange(count), each)
    return (centres[truth] + spread * rng.normal(size=(len(truth), dim))).astype(np.float32), truth


# --- criteria -----------------------------------------------------------------------------------------------------
def test_silhouette_is_sklearns():
    "The same number as scikit-learn's, with a cluster of one image and an empty number."
    points, clusters = groups(4, 10)
    clusters = np.r_[clusters[:-1], 7]
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert silhouette(distances, clusters) == pytest.approx(silhouette_score(points, clusters), abs=1e-6)


def test_modularity_against_loops():
    "Counted pair by pair; one cluster has none, and shuffled clusters nearly none."
    points, clusters = groups(3, 12)
    near = neighbours(points, 4)
    inside = degree = 0
    for i, row in enumerate(near):
        inside += sum(clusters[i] == clusters[j] for j in row) / near.size
    for k in range(3):
        ends = sum(int(clusters[i] == k) + int(clusters[j] == k) for i, row in enumerate(near) for j in row)
        degree += (ends / (2 * near.size)) ** 2
    assert modularity(near, clusters) == pytest.approx(inside - degree)
    assert modularity(near, np.zeros(36, int)) == pytest.approx(0)
    assert abs(modularity(near, np.random.default_rng(0).permutation(clusters))) < 0.15


def test_neighbour_information_against_loops():
    "Mutual information of the two ends of all neighbour pairs, each counted both ways; separate groups: 1."
    points, clusters = groups(3, 12, spread=0.3)
    near, joint = neighbours(points, 4), np.zeros((3, 3))
    for i, row in enumerate(near):
        for j in row:
            joint[clusters[i], clusters[j]] += 1 / (2 * near.size)
            joint[clusters[j], clusters[i]] += 1 / (2 * near.size)
    share = joint.sum(1)
    pairs = [(a, b) for a in range(3) for b in range(3) if joint[a, b]]
    information = sum(joint[a, b] * np.log(joint[a, b] / (share[a] * share[b])) for a, b in pairs)
    expected = information / -(share * np.log(share)).sum()
    assert neighbour_information(near, clusters) == pytest.approx(expected) and 0.05 < expected < 0.95
    apart, names = groups(3, 12, spread=0.01)
    assert neighbour_information(neighbours(apart, 4), names) == pytest.approx(1)
    assert neighbour_information(near, np.zeros(36, int)) == pytest.approx(0)


def test_neighbours_leave_the_point_out():
    "No point is its own neighbour, also where two lie at one place."
    points = np.array([[0.0], [0.0], [1.0], [1.1], [5.0], [5.2], [9.0], [9.1]])
    assert neighbours(points, 1)[:, 0].tolist() == [1, 0, 3, 2, 5, 4, 7, 6]


def test_coding_length_against_loops():
    "The formula with singular values; the true groups need fewer nats than one cluster or shuffled ones."
    points, clusters = groups(3, 30)
    rows = points / np.linalg.norm(points, axis=1, keepdims=True)
    n, d = rows.shape
    expected = 0.0
    for k in range(3):
        values = np.linalg.svd(rows[clusters == k], compute_uv=False) ** 2
        expected += (30 + d) / 2 * sum(np.log1p(d / (0.1 * 30) * value) for value in values) - 30 * np.log(30 / n)
    assert coding_length(points, clusters) == pytest.approx(expected, rel=1e-6)
    shuffled = np.random.default_rng(0).permutation(clusters)
    assert expected < coding_length(points, shuffled)


def test_predictability():
    "Separate groups are found again; random ones are not."
    points, clusters = groups(4, 40)
    assert predictability(points, clusters) > 0.95
    assert abs(predictability(points, np.random.default_rng(0).integers(4, size=160))) < 0.15


def test_the_sentence_says_what_is_used_and_how_to_merge():
    "One number is used; the higher one is advised only to whom the groups are too coarse; the code opens the browser."
    coarse = _sentence(11, 8, 12, True, 200, 1213)
    assert coarse.startswith(
        "11 clusters fit these 1,213 images best, and auto takes 11; 8 to 12 are about as good. If"
    )
    assert "too coarse for you, pass 12 and merge" in coarse and coarse.endswith(BY_HAND)
    assert "pass" not in _sentence(12, 8, 12, True, 200, 1213), "it is the highest already"
    call = ast.parse(BY_HAND, mode="eval").body
    dashboard = pytest.importorskip("dcacn_nb.widgets.dashboard", reason="needs Jupyter's widgets")
    assert callable(getattr(getattr(dcacn_nb, call.func.value.attr), call.func.attr))
    assert call.keywords[0].arg == "tab" and call.keywords[0].value.value in dashboard.PARTS
    readme, report = (ROOT / "README.md"), (ROOT / "dcacn_nb/report/page.html")
    assert all(BY_HAND in file.read_text(encoding="utf-8") for file in (readme, report)) and BY_HAND in export.__doc__


# --- choice -------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 7])
def test_known_groups(count):
    "Clear groups are counted, the same on every call, and everything is plain values."
    points, _ = groups(count, 40)
    found = choose_k(points, high=12)
    assert found.choice == count and found.low <= count <= found.high and found.clear
    assert set(found.curves) == set(CRITERIA) and found.candidates == list(range(2, 13))
    assert str(count) in found.sentence and f"{found.total:,} images" in found.sentence
    again = choose_k(FeatureSet(points), high=12)
    assert again.curves == found.curves, "a FeatureSet is the same as its array"
    assert json.loads(json.dumps(found.as_dict()))["choice"] == count


@pytest.mark.slow
def test_digits():
    "Ten kinds of digits: within a fifth or two of it, and inside the range."
    found = choose_k(load_digits().data.astype(np.float32), high=20, largest=900)
    assert 8 <= found.choice <= 13 and found.low <= 10 <= found.high and found.clear
    assert found.images == 900 and found.total == 1797


@pytest.mark.slow
def test_one_group():
    "Points without groups: no number stands out, and the sentence says so."
    points = np.random.default_rng(1).normal(size=(150, 20)).astype(np.float32)
    found = choose_k(points, high=6)
    assert not found.clear and found.sentence.startswith("No number of clusters stands out")


def test_views_take_the_whole_image():
    "Of several views per image the first, the whole image, counts."
    points, _ = groups(3, 12)
    views = np.stack([points, points[::-1]], 1)
    assert choose_k(FeatureSet(views), high=5).curves == choose_k(points, high=5).curves


# --- bad input ----------------------------------------------------------------------------------------------------
def test_five_images():
    "Too few to say; a starting point all the same."
    found = choose_k(groups(5, 1)[0])
    assert found.choice == 2 and not found.clear and "too few" in found.sentence


@pytest.mark.parametrize("n", [5, 40])
def test_identical_images(n):
    "Nothing to cluster."
    with pytest.raises(ValueError, match=f"features must differ between images, got {n} identical images"):
        choose_k(np.ones((n, 8), np.float32))


def test_copies_are_counted_once():
    "Hundreds of copies of three images are three groups; copies added to a set change nothing."
    found = choose_k(np.repeat(np.eye(3, 8, dtype=np.float32), 100, axis=0))
    assert (found.low, found.choice, found.high) == (3, 3, 3) and "copies of only 3" in found.sentence
    points, _ = groups(3, 12)
    many = np.concatenate([points, np.repeat(points[:1], 500, axis=0)])
    assert choose_k(many, high=5).curves == choose_k(points, high=5).curves


def test_high_above_n():
    "Numbers above half of the images are not tried."
    assert choose_k(groups(4, 5)[0], high=500).candidates == list(range(2, 11))


@pytest.mark.parametrize(
    "features, options, message",
    [
        (np.ones((3, 4), np.float32), {}, "at least 4 images .*, got 3"),
        (
            np.full((9, 4), np.nan, np.float32),
            {},
            "finite, got NaN or infinity in 9 of 9 rows, the first of them row 0",
        ),
        (np.ones((9, 4), int), {}, "float array"),
        (np.ones(9, np.float32), {}, "float array"),
        ([[1.0, 2.0]], {}, "float array"),
        (np.eye(20, dtype=np.float32), {"low": 9, "high": 8}, "low must be at most high"),
        (np.eye(20, dtype=np.float32), {"low": 11}, "low must be at most 10, half the number of distinct images"),
        (np.eye(20, dtype=np.float32), {"low": 1}, "low must be >= 2"),
    ],
)
def test_refused(features, options, message):
    "An error names the argument, the value found, and what would be right."
    with pytest.raises(ValueError, match=message):
        choose_k(features, **options)


def test_range_spans_what_is_about_as_good():
    "All numbers within 0.12 of the best, whatever lies between them; a lone peak is its own range."
    assert choose([2, 3, 4, 5, 6], [0.87, 0.89, 0.5, 1.0, 0.87]) == (5, 3, 5)
    assert choose([2, 3, 4], [0.1, 0.9, 0.2]) == (3, 3, 3)


def test_together_weighs_logarithms():
    "By hand; a silhouette below zero counts as 0.02 and does not break it."
    curves = {"neighbours": [0.5, 0.6], "information": [0.9, 0.8], "silhouette": [0.2, -0.1], "coding": [-9.0, -8.0]}
    first = np.log(0.5) + 0.5 * np.log(0.9) + 0.25 * np.log(0.2) - 0.09
    second = np.log(0.6) + 0.5 * np.log(0.8) + 0.25 * np.log(0.02) - 0.08
    assert together(curves) == pytest.approx([first, second])


# --- merges -------------------------------------------------------------------------------------------------------
def test_halves_are_merged_first():
    "Three groups cut into six: the halves come first with a gain above zero, whole groups after with one below."
    points, truth = groups(3, 60)
    cut = truth * 10 + np.random.default_rng(0).integers(2, size=len(truth))
    merges = merge_suggestions(points, cut)
    assert {pair[:2] for pair in merges[:3]} == {(0, 1), (10, 11), (20, 21)}
    assert all(gain > 0 for *_, gain in merges[:3]) and all(gain < 0 for *_, gain in merges[3:])


def test_gain_is_the_change_of_modularity():
    "Step by step, down to one cluster."
    points, truth = groups(4, 30, spread=0.4)
    near, clusters = neighbours(reduced(points)), truth.copy()
    for a, b, gain in merge_suggestions(points, truth):
        before = modularity(near, clusters)
        clusters[clusters == b] = a
        assert a < b and gain == pytest.approx(modularity(near, clusters) - before, abs=1e-9)
    assert len(np.unique(clusters)) == 1


@pytest.mark.parametrize("wrong", [np.zeros(5, int), np.zeros(36), np.zeros((36, 1), int)])
def test_merges_refused(wrong):
    "One whole number per image."
    with pytest.raises(ValueError, match="assignments must be 36 whole numbers"):
        merge_suggestions(groups(3, 12)[0], wrong)


def test_one_cluster_has_no_merges():
    "Nothing to merge."
    assert merge_suggestions(groups(3, 12)[0], np.zeros(36, int)) == []
