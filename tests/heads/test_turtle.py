"""TURTLE on features: the inner and the outer loss, three groups of points, spaces, a resumed warm start, the score."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.fitting import fit, settings_for
from dcacn_nb.heads.turtle import adam_steps, generalisation_score, new_classifier, turtle, turtle_loss
from dcacn_nb.methods import find_method

QUICK = dict(lr=0.05, device="cpu", snapshot_every=0, eval_every=60)


def test_the_inner_loop_is_adam_on_the_cross_entropy():
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(20, 6, generator=draw, dtype=torch.float64)
    labels = torch.randn(20, 4, generator=draw, dtype=torch.float64).softmax(1)
    classifier = new_classifier(4, 6, draw, rows)
    weights = classifier["weights"].clone().requires_grad_()
    assert 0 < weights.abs().max() <= 5**-0.5
    optimizer = torch.optim.Adam([weights], lr=0.003)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(rows @ weights.T, labels).backward()
        optimizer.step()
    adam_steps(rows, labels, classifier, steps=10, lr=0.003)
    ours = adam_steps(rows, labels, classifier, steps=15, taken=10, lr=0.003)
    torch.testing.assert_close(ours, weights.detach(), rtol=0, atol=1e-9)


def test_the_outer_loss_and_its_gradient_are_those_of_the_formula():
    draws = np.random.default_rng(1)
    logits, free = draws.normal(size=(2, 5, 3)), draws.normal(0, 2, (2, 5, 3))

    def by_numpy(free):
        p = np.exp(free) / np.exp(free).sum(-1, keepdims=True)
        known = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        error = -sum((p.mean(0) * known[r]).sum(-1).mean() for r in range(2))
        shares = p.mean(1)
        return error + 7.0 * sum(np.log(3) + (shares[r] * np.log(shares[r])).sum() for r in range(2))

    given = torch.from_numpy(free).requires_grad_()
    loss = turtle_loss(list(torch.from_numpy(logits)), list(given.softmax(-1)), gamma=7.0)["total"]
    assert loss.item() == pytest.approx(by_numpy(free), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, given)
    for place in ((0, 0, 0), (1, 4, 2), (1, 2, 1)):
        up, down = free.copy(), free.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        assert gradient[place].item() == pytest.approx((by_numpy(up) - by_numpy(down)) / 2e-5, abs=1e-8)


def test_three_groups_are_found(blobs):
    run = fit(blobs, n_clusters=3, method=turtle(8, steps=60, inner_lr=0.05), labels=blobs.labels, **QUICK)
    assert run.scores["acc"] > 0.98 and run.state.step == 60


def test_spaces_are_scaled_and_counted_each_for_itself(blobs):
    far = torch.cat([blobs.features, 1000 * blobs.features + 5], 1)
    method = turtle(16, spaces=[8, 8], steps=60, inner_lr=0.05)
    run = fit(FeatureSet(far), n_clusters=3, method=method, labels=blobs.labels, **QUICK)
    first, second = run.model.backbone(far).split(8, dim=1)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    assert run.scores["acc"] > 0.98
    with torch.no_grad():
        each = run.model.assign(torch.cat([first, second], 1))
    torch.testing.assert_close(run.probabilities, (each[0] + each[1]) / 2)


@pytest.mark.parametrize("n, epochs", [(300, 500), (3000, 500), (8500, 250), (20_000, 100)])
def test_the_default_budget_is_a_number_of_steps(n, epochs):
    config = settings_for(FeatureSet(torch.rand(n, 4)), 3, method="turtle")
    assert config.lr == 0.25
    assert (config.epochs, config.batch_size) == (epochs, min(n, 4000))


def test_a_resumed_warm_start_ends_with_the_same_bits(stopped_and_resumed):
    method = find_method("turtle", features=8, warm_start=True)
    saved = stopped_and_resumed(method, 13, QUICK | dict(epochs=12, batch_size=60))
    assert saved.keys() >= {"memory.weights.0", "memory.first.0", "memory.second.0"} and saved["memory.taken"] == 130


def test_the_score_knows_labels_that_can_be_learned(blobs):
    shuffled = np.random.default_rng(0).permutation(blobs.labels)
    assert generalisation_score(blobs.features, blobs.labels) == 1.0
    assert generalisation_score(blobs.features, shuffled) < 0.6
    assert generalisation_score(blobs.features, np.zeros(120), folds=3) == 1.0


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(steps=0), "steps must be >= 1, got 0"),
        (dict(gamma=-1), "gamma must be >= 0, got -1"),
        (dict(inner_lr=0), "inner_lr must be > 0, got 0"),
        (dict(spaces=[3, 4]), r"spaces must add up to the length of a feature, 8, got \[3, 4\]"),
        (dict(spaces=[8, 0]), r"spaces\[1\] must be >= 1, got 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        turtle(8, **options)
