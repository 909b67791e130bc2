"SCAN's head: the loss against loops, the choice of the head, resume, new images, bad input."

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dcacn_nb.core.events import StepDone
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.fitting import fit, predict
from dcacn_nb.heads.scan import LinearHeads, neighbourhood_losses, scan
from dcacn_nb.method.metrics import clustering_accuracy
from dcacn_nb.method.step import encode
from dcacn_nb.runs.folder import load_run


@pytest.fixture(scope="module")
def features():
    "The pixels of 200 digits as features."
    digits = load_digits()
    return FeatureSet((digits.data[:200] / 16).astype(np.float32), labels=digits.target[:200])


def train(features, stop_at=None, n_clusters=10, epochs=3, **knobs):
    "A run with four steps per epoch, started or resumed, stopped after a step if asked to."
    options = dict(
        batch_size=50, epochs=epochs, log_every=1, eval_every=1, snapshot_every=0, device="cpu", report=False
    )
    method = scan(features.dim, heads=3, neighbours=5)
    run = fit(features, n_clusters=n_clusters, method=method, start=False, **(options | knobs))
    if stop_at:
        run.subscribe(lambda event: run.stop() if isinstance(event, StepDone) and event.step == stop_at else None)
    return run.drive()


def test_the_loss_over_all_pairs_is_that_of_loops():
    draws = torch.Generator().manual_seed(0)
    p = torch.randn(2, 7, 4, generator=draws, dtype=torch.float64).softmax(2)
    near = torch.stack([torch.randperm(7, generator=draws)[:3] for _ in range(7)])
    for head, found in zip(p, neighbourhood_losses(p, near, 2.0, piece=3)):
        together = sum(math.log(head[i] @ head[j]) for i in range(7) for j in near[i].tolist()) / 21
        mean = head.mean(0)
        expected = -together + 2 * (math.log(4) + sum(m * math.log(m) for m in mean.tolist()))
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_heads_that_disagree_with_certainty_have_a_finite_loss():
    certain = torch.eye(2)[[0, 1, 0, 1]][None]
    assert neighbourhood_losses(certain, torch.tensor([[1], [0], [3], [2]]), 5.0).isfinite().all()


def test_each_head_starts_elsewhere_and_the_chosen_one_answers():
    network = LinearHeads(6, n_clusters=3, heads=4, seed=1)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    every = network.assign(x)
    assert every.shape == (4, 5, 3) and len({p.sum(0).argmax().item() for p in every} | {tuple(every[0, 0])}) > 1
    for head in range(4):
        network.chosen.fill_(head)
        weight, bias = network.linear.weight[3 * head : 3 * head + 3], network.linear.bias[3 * head : 3 * head + 3]
        torch.testing.assert_close(network(x).p, (x @ weight.T + bias).softmax(1))
    again = LinearHeads(6, n_clusters=3, heads=4, seed=1)
    assert torch.equal(again.linear.weight, network.linear.weight), "weights are a function of the seed"


@pytest.mark.parametrize("stop_at", [6, 8], ids=["within an epoch", "before an evaluation"])
def test_a_stopped_run_resumes_to_the_same_bits(stop_at, features, tmp_path):
    whole = train(features, run_dir=tmp_path / "whole")
    stopped = train(features, stop_at, run_dir=tmp_path / "stopped")
    assert stopped.status == "stopped" and stopped.state.step == stop_at
    resumed = train(features, run_dir=tmp_path / "stopped", resume=True)
    ours, theirs = resumed.state.tensors(), whole.state.tensors()
    assert ours.keys() == theirs.keys() and "memory.neighbours" in ours
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    model, config = load_run(tmp_path / "stopped")
    assert torch.equal(encode(model, features.features, config), whole.probabilities)
    some = features.subset([7, 3, 150])
    assert (predict(tmp_path / "whole", some).argmax(1) == whole.assignments[[7, 3, 150]]).all()


def test_it_learns_and_keeps_the_head_with_the_lowest_loss(features):
    start, run = train(features, epochs=1, lr=1e-9), train(features, epochs=25)
    before, after = (clustering_accuracy(features.labels, r.assignments) for r in (start, run))
    assert after > max(0.6, before + 0.15), (before, after)
    with torch.no_grad():
        every = run.model.assign(features.features)
    reached = neighbourhood_losses(every, run.state.memory["neighbours"], 5.0)
    assert int(run.model.chosen) == int(reached.argmin()) and reached.max() > reached.min()
    assert torch.equal(every[int(reached.argmin())].argmax(1), torch.from_numpy(run.assignments))


def test_the_scale_of_the_features_does_not_count(features):
    other = train(FeatureSet(features.features * 1000 + 7))
    assert (other.assignments == train(features).assignments).mean() > 0.98


@pytest.mark.parametrize("n, n_clusters, k", [(5, 2, 1), (24, 4, 3), (40, 4, 5), (3, 3, 1)])
def test_small_groups_have_few_neighbours(n, n_clusters, k, features):
    "Of N images in K groups, at most N / 2K: more would mostly be strangers."
    run = train(features.subset(range(n)), n_clusters=n_clusters, batch_size=n, epochs=1)
    assert run.status == "completed" and run.state.memory["neighbours"].shape == (n, k)


def test_bad_input_is_refused(features):
    with pytest.raises(ValueError, match="n_clusters must be <= the number of images, 9, got 10"):
        train(features.subset(range(9)), batch_size=9)
    with pytest.raises(ValueError, match="n_clusters must be <= the number of different features, 1, got 10"):
        train(FeatureSet(np.ones((100, 64), np.float32)))
    for options, message in (({"heads": 0}, "heads"), ({"neighbours": 0}, "neighbours")):
        with pytest.raises(ValueError, match=f"{message} must be >= 1, got 0"):
            scan(64, **options)
    with pytest.raises(ValueError, match="entropy_weight must be >= 0, got -1"):
        scan(64, entropy_weight=-1)
