"Images that belong nowhere: planted ones, and scores against scikit-learn's neighbours."

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from dcacn_nb.clusters import outliers as module
from dcacn_nb.clusters.outliers import find_outliers, outlier_scores


@pytest.fixture(scope="module")
def digits():
    "Digits, the last ten of them with their pixels shuffled: the same grey values, no digit."
    draw, rows = np.random.default_rng(0), load_digits().data[:600].astype(np.float32)
    rows[-10:] = draw.permuted(rows[-10:], axis=1)
    return rows


def by_neighbours(rows, k):
    "Mean cosine distance to the k nearest, by scikit-learn."
    return NearestNeighbors(n_neighbors=k, metric="cosine").fit(rows).kneighbors()[0].mean(1)


def test_scores_agree_with_scikit_learn(digits):
    "Distance as a multiple of the usual one; with clusters, of the usual one in its cluster if that has 20 images."
    distances, clusters = by_neighbours(digits, 7), load_digits().target[:600].copy()
    assert np.allclose(outlier_scores(digits, k=7), distances / np.median(distances), rtol=1e-3, atol=1e-4)
    clusters[:3] = 10  # a cluster of three
    usual = [np.median(distances[clusters == c]) if c < 10 else np.median(distances) for c in clusters]
    assert np.allclose(outlier_scores(digits, clusters, 7), distances / usual, rtol=1e-3, atol=1e-4)
    assert np.allclose(outlier_scores(digits, np.eye(11)[clusters], 7), distances / usual, rtol=1e-3, atol=1e-4)


def test_planted_outliers_come_first(digits):
    "They are the farthest, and the default threshold names them with few others."
    planted = np.arange(600) >= 590
    assert roc_auc_score(planted, outlier_scores(digits)) > 0.98
    found, scores = find_outliers(digits)
    assert planted[found].sum() >= 9 and (np.diff(scores) <= 0).all() and scores.min() >= module.NEARLY_USUAL
    assert len(found) < 0.08 * 600
    assert roc_auc_score(planted, -outlier_scores(digits)) < 0.02  # the wrong way round


def test_a_large_set_is_compared_with_a_part_of_it(digits, monkeypatch):
    "Neighbours among evenly spaced images: other values, the same outliers."
    whole = outlier_scores(digits)
    monkeypatch.setattr(module, "REFERENCES", 200)
    part = outlier_scores(digits)
    assert not np.allclose(whole, part) and np.corrcoef(whole, part)[0, 1] > 0.8
    assert roc_auc_score(np.arange(600) >= 590, part) > 0.95


def test_copies_alone_are_no_outliers():
    "Where all images are the same nothing is far; three images are enough."
    assert (outlier_scores(np.ones((5, 4))) < 1).all() and len(find_outliers(np.eye(3))[0]) == 0


@pytest.mark.parametrize(
    "features, options, message",
    [
        (np.eye(2), {}, "at least 3 images"),
        (np.eye(4), {"assignments": [0, 1]}, "for each of 4 images"),
        (np.eye(4), {"assignments": [0, 1, -1, 0]}, "cluster number >= 0"),
        (np.eye(4), {"k": 0}, "k must be >= 1"),
        (np.eye(4), {"threshold": 0.5}, "threshold must be >= 1"),
    ],
)
def test_bad_input(features, options, message):
    with pytest.raises(ValueError, match=message):
        find_outliers(features, **options)
