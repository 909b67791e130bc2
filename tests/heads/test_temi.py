"""TEMI on features: the loss term by term, the teachers' step, the chosen head, groups of points, a resumed run."""

import numpy as np
import pytest
import torch

from dcacn_nb.core.events import StepDone
from dcacn_nb.fitting import fit
from dcacn_nb.heads.temi import momentum_for, temi, temi_loss
from dcacn_nb.methods import find_method

SMALL = dict(heads=3, hidden=8, bottleneck=6, neighbours=5)
QUICK = dict(epochs=15, batch_size=30, lr=0.01, warmup_epochs=1.0, device="cpu", snapshot_every=0, eval_every=15)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def by_numpy(student, teacher, sizes, beta):
    "The mean loss of all heads, from plain probabilities (2,H,B,K)."
    _, heads, images, _ = student.shape
    total = 0.0
    for b in range(images):
        weight = np.mean([teacher[0, h, b] @ teacher[1, h, b] for h in range(heads)])
        for h in range(heads):
            for x, other in ((0, 1), (1, 0)):
                total -= weight * np.log(((student[x, h, b] * teacher[other, h, b]) ** beta / sizes[h]).sum()) / 2
    return total / (heads * images)


@pytest.mark.parametrize("beta", [0.5, 0.6, 1.0])
def test_loss_and_gradient_are_those_of_the_formula(beta):
    draws = np.random.default_rng(3)
    logits, sizes = draws.normal(0, 2, (2, 2, 3, 4, 5)), softmax(draws.normal(size=(3, 5)))
    given = torch.from_numpy(logits).requires_grad_()
    loss = temi_loss(*given.log_softmax(-1), torch.from_numpy(sizes), beta).mean()
    assert loss.item() == pytest.approx(by_numpy(*softmax(logits), sizes, beta), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, given)
    assert gradient[1].abs().max() == 0  # the teachers
    for place in ((0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 2, 3)):
        moved = [logits.copy(), logits.copy()]
        for sign, each in zip((1, -1), moved):
            each[(0, *place)] += sign * 1e-5
        slope = [by_numpy(*softmax(each), sizes, beta) for each in moved]
        assert gradient[(0, *place)].item() == pytest.approx((slope[0] - slope[1]) / 2e-5, abs=1e-8)


def test_three_groups_are_found_and_the_head_with_the_lowest_loss_predicts(blobs):
    run = fit(blobs, n_clusters=3, method=temi(8, **SMALL), labels=blobs.labels, **QUICK)
    assert run.scores["acc"] > 0.98
    assert run.model.best.item() == run.model.losses.argmin()
    h = run.model.eval().backbone(blobs.features)
    with torch.no_grad():
        chosen = run.model.log_assignments(run.model.teacher, h)[run.model.best.item()].exp()
    torch.testing.assert_close(run.probabilities, chosen)


def test_teachers_follow_by_the_momentum_of_the_run(blobs):
    assert [momentum_for(0.996, steps) for steps in (1, 20, 40, 200, 5000)] == [0, 0, 0.5, 0.9, 0.996]
    seen = []
    run = fit(blobs, n_clusters=3, method=temi(8, **SMALL), start=False, log_every=1, **(QUICK | {"epochs": 10}))
    model = run.state.model
    note = lambda: seen.append((model.teacher.first.clone(), model.student.first.detach().clone()))
    run.subscribe(lambda event: note() if isinstance(event, StepDone) else None)
    run.drive()
    assert len(seen) == 40
    for (teacher, student), (after, _) in zip(seen, seen[1:]):
        torch.testing.assert_close(after, 0.5 * teacher + 0.5 * student)


def test_a_resumed_run_ends_with_the_same_bits(stopped_and_resumed):
    saved = stopped_and_resumed(find_method("temi", features=8, **SMALL), 30, QUICK | dict(epochs=12))
    assert saved.keys() >= {"model.sizes", "model.best", "model.teacher.first", "memory.neighbours"}


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(heads=0), "heads must be >= 1, got 0"),
        (dict(beta=1.2), "beta must be >= 0 and <= 1, got 1.2"),
        (dict(temperature=0), "temperature must be > 0, got 0"),
        (dict(momentum=-0.1), "momentum must be >= 0 and <= 1, got -0.1"),
        (dict(components=-1), "components must be >= 0, got -1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        temi(8, **options)
