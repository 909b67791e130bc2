"Whether images may be mirrored is found from the images alone."

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

import dcacn_nb as dc
from dcacn_nb.data import mirror
from dcacn_nb.data.mirror import must_stay_upright, told_apart

DIGITS = torch.from_numpy((load_digits().images * 255 / 16).round().astype(np.uint8))[:, None]


def symmetric(n: int, seed: int = 0) -> torch.Tensor:
    "Colour images which occur as often as their mirror images."
    noise = torch.randint(0, 256, (n, 3, 12, 12), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return torch.where(torch.arange(n)[:, None, None, None] % 2 == 0, noise, noise.flip(3))


def test_digits_stay_upright_and_noise_is_mirrored():
    assert told_apart(DIGITS) > 0.9 and abs(told_apart(symmetric(600)) - 0.5) < 0.08
    assert must_stay_upright(DIGITS) == (
        True,
        f"mirror images are told apart in {told_apart(DIGITS):.0%}: " + "not mirrored; upright=False mirrors them",
    )
    assert must_stay_upright(symmetric(600))[0] is False


def test_images_that_are_their_own_mirror_images_say_nothing():
    half = torch.randint(0, 256, (100, 1, 8, 4), dtype=torch.uint8)
    assert told_apart(torch.cat([half, half.flip(3)], 3)) == 0.5
    assert told_apart(torch.full((60, 3, 9, 9), 7, dtype=torch.uint8)) == 0.5


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 20), (3, 50)])
def test_an_arrow_is_told_in_any_colour_and_size(channels, side):
    "A bright left half, more or less of it; its contrast does not matter."
    draws = np.random.default_rng(0)
    images = draws.integers(0, 40, (80, channels, side, side)).astype(np.uint8)
    for image in images:
        image[:, :, : side // 2] += np.uint8(draws.integers(20, 200))
    assert told_apart(torch.from_numpy(images)) > 0.95
    both = torch.from_numpy(np.concatenate([images, images[..., ::-1]]))
    assert told_apart(both) < 0.6


def test_the_share_is_that_of_ridge_regression_by_scikit_learn():
    "Rows of differences with both signs, grouped by image, without a constant."
    grey = mirror._grey(DIGITS[:120])
    filters = torch.randn(64, 1, 5, 5, generator=torch.Generator().manual_seed(3))
    rows = (mirror._means(grey, filters) - mirror._means(grey.flip(3), filters)).double().numpy()
    rows /= np.sqrt((rows**2).sum(1).mean())
    right = []
    for k in range(4):
        asked = np.arange(120) % 4 == k
        learned = np.concatenate([rows[~asked], -rows[~asked]])
        answers = np.repeat([1, -1], (~asked).sum())
        model = RidgeClassifier(alpha=0.2, fit_intercept=False).fit(learned, answers)  # each image counts twice
        right += (model.decision_function(rows[asked]) > 0).tolist()
    assert mirror._right(grey, filters) == pytest.approx(np.mean(right), abs=1e-6)


def test_few_images_say_nothing():
    upright, why = must_stay_upright(DIGITS[:20])
    assert not upright and "too few images (20)" in why


def test_arrays_and_named_sources_get_the_same_settings():
    named = dc.preset("default", dc.load_images("digits"), 10)
    given = dc.preset("default", DIGITS, 10)
    assert named == given and named.flip == 0 and named.rotation > 0
    assert dc.preset("default", DIGITS, 10, upright=False).flip > 0
    assert dc.preset("default", symmetric(200), 10).flip > 0


def test_subsets_of_digits_are_found_too():
    draws = np.random.default_rng(0)
    assert all(must_stay_upright(DIGITS[draws.permutation(1797)[:n]])[0] for n in (60, 100, 300, 1000))
