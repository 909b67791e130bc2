"More like this, against scikit-learn and against plain loops; several queries; blocks; bad input."

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from dcacn_nb.clusters import similar
from dcacn_nb.clusters.similar import most_similar, nearest_images, unit_rows
from dcacn_nb.data.feature_set import FeatureSet


@pytest.fixture(scope="module")
def rows():
    "Digits as features: 400 rows of 64 values."
    return load_digits().data[:400].astype(np.float32)


@pytest.mark.parametrize("block", [1, 7 * 400, 10**9])
def test_neighbours_agree_with_scikit_learn(rows, block, monkeypatch):
    "Whatever the size of the blocks; an image is not its own neighbour."
    monkeypatch.setattr(similar, "BLOCK", block)
    found, cosines = nearest_images(rows, 9)
    distances, expected = NearestNeighbors(n_neighbors=9, metric="cosine").fit(rows).kneighbors()
    assert np.allclose(cosines, 1 - distances, atol=1e-5) and (np.diff(cosines) <= 1e-6).all()
    assert (found == expected).mean() > 0.99 and (found != np.arange(400)[:, None]).all()  # ties may change places


def test_neighbours_among_some_images(rows):
    "Only images of the list are found, and none is its own neighbour."
    among = np.arange(0, 400, 3)
    found, cosines = similar.nearest_among(unit_rows(rows), np.arange(400), 5, among)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for i in (0, 1, 3, 399):
        others = [j for j in among if j != i]
        expected = sorted((float(unit[i] @ unit[j]) for j in others), reverse=True)[:5]
        assert np.allclose(cosines[i], expected, atol=1e-5) and set(found[i]) <= set(others)


def test_more_like_one_image_and_like_several(rows):
    "Cosine with the mean direction; the images asked about are left out."
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for query in (17, [17, 40, 3]):
        own = np.atleast_1d(query)
        direction = unit[own].mean(0)
        cosines = [float(unit[i] @ direction / np.linalg.norm(direction)) for i in range(400)]
        expected = [i for i in np.argsort(cosines)[::-1] if i not in own][:6]
        found, values = most_similar(rows, query, 6)
        assert found.tolist() == expected and np.allclose(values, [cosines[i] for i in expected], atol=1e-5)


def test_more_like_a_new_image(rows):
    "A feature of length D may find the image itself; arrays, tensors and feature sets give the same."
    found, cosines = most_similar(rows, rows[5] * 3)
    assert found[0] == 5 and cosines[0] == pytest.approx(1) and len(found) == 12
    views = torch.from_numpy(np.stack([rows, rows[::-1]], 1))  # the crop beside the whole image does not count
    for features in (torch.from_numpy(rows), views.numpy(), FeatureSet(rows), FeatureSet(views)):
        assert most_similar(features, torch.from_numpy(rows[5]), 12)[0].tolist() == found.tolist()
    assert len(most_similar(rows[:4], 0, 12)[0]) == 3  # there are no more


@pytest.mark.parametrize(
    "features, query, n, error, message",
    [
        (np.ones((3, 2), int), 0, 1, ValueError, "floating-point numbers"),
        (np.array([[1.0, np.nan], [1, 2]]), 0, 1, ValueError, "NaN or infinity in 1 of 2 rows"),
        (np.eye(3), 3, 1, IndexError, "images in 0..2, got 3..3"),
        (np.eye(3), [-1, 0], 1, IndexError, "got -1..0"),
        (np.eye(3), [0, 1, 2], 1, ValueError, "names all of them"),
        (np.eye(3), np.ones(4), 1, ValueError, "features of length 3"),
        (np.eye(3), [], 1, ValueError, "query must be"),
        (np.eye(3), 0, 0, ValueError, "n must be >= 1"),
    ],
)
def test_bad_input(features, query, n, error, message):
    with pytest.raises(error, match=message):
        most_similar(features, query, n)
    assert np.array_equal(unit_rows(np.zeros((2, 3))), np.zeros((2, 3)))  # a black image's feature may be zero
