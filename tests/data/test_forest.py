"Likely neighbours against all pairs: most are found, the same each time, and none twice."

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from dcacn_nb.core.steps import run_through
from dcacn_nb.data.forest import likely_neighbours
from dcacn_nb.heads._parts import frozen
from dcacn_nb.heads._parts.frozen import neighbour_steps

N, K = 3000, 10


@pytest.fixture(scope="module")
def rows():
    "Rows of 64 numbers that vary in twelve directions, and a little in all."
    draws = np.random.default_rng(0)
    curved = np.tanh(draws.normal(size=(N, 12)) @ draws.normal(size=(12, 64)))
    return torch.from_numpy((curved + 0.1 * draws.normal(size=(N, 64))).astype(np.float32))


@pytest.fixture(scope="module")
def exact(rows):
    "The nearest by cosine, by scikit-learn."
    found = NearestNeighbors(n_neighbors=K + 1, metric="cosine", algorithm="brute").fit(rows.numpy())
    return found.kneighbors(rows.numpy())[1][:, 1:]


def test_a_head_finds_most_neighbours_of_very_many_images(rows, exact, monkeypatch):
    "From MANY images on; sorted, distinct, never the image itself; twice the same. Fewer images: exact as ever."
    monkeypatch.setattr(frozen, "MANY", N)
    monkeypatch.setattr("dcacn_nb.data.forest.LOOKED", 300)  # a tenth of all, as in a large set
    found = run_through(neighbour_steps(rows, K)).numpy()
    share = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact)])
    assert 0.9 < share < 1 and (found != np.arange(N)[:, None]).all()
    assert all(len(set(row)) == K for row in found)
    unit = torch.nn.functional.normalize(rows, dim=1)
    cosines = (unit[:, None] * unit[found]).sum(2)
    assert (cosines[:, 1:] <= cosines[:, :-1] + 1e-6).all()
    assert (found == run_through(neighbour_steps(rows, K)).numpy()).all()
    monkeypatch.setattr(frozen, "MANY", N + 1)
    few = run_through(neighbour_steps(rows, K)).numpy()
    assert np.mean([len(set(a) & set(b)) / K for a, b in zip(few, exact)]) > 0.999


def test_copies_alone_have_neighbours_too():
    "Five hundred times the same row, and as many neighbours as there are others."
    same = torch.nn.functional.normalize(torch.ones(500, 8), dim=1)
    found = run_through(likely_neighbours(same, same, 20))
    assert found.shape == (500, 20) and (found != torch.arange(500)[:, None]).all()
    few = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    found = run_through(likely_neighbours(few, few, 5)).sort(1).values
    assert (found == torch.tensor([[j for j in range(6) if j != i] for i in range(6)])).all()
