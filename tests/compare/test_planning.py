"What a run will take: the counts and the disk are those of the run itself; times are put together as it spends them."

import dataclasses
import tempfile
import time

import psutil
import pytest
import torch

import dcacn_nb as dc
from dcacn_nb.compare import planning
from dcacn_nb.compare.memory import EVERY, PeakMemory
from dcacn_nb.compare.planning import LINK, Plan, plan, plan_changes
from dcacn_nb.core.events import Evaluated, SnapshotTaken
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import TrainConfig, preset
from dcacn_nb.method.head_start import joint_from

TINY = dict(width=2, batch_size=20, n_local=1, projection_dim=4, snapshot_size=60, device="cpu", log_every=1)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", limit=150)


@pytest.fixture(scope="module")
def config(images):
    return preset("default", images, 10, epochs=7, eval_every=3, snapshot_every=2, **TINY)


@pytest.fixture(scope="module")
def made(images, config):
    "The plan of a run of seven epochs, from a short one."
    return plan(images, config, steps=6)


def by_hand(**changes):
    "A plan of round numbers."
    config = TrainConfig(epochs=10, batch_size=50, eval_every=2, snapshot_every=5, checkpoint_seconds=100.0)
    values = dict(n_images=1000, ranks=1, step_seconds=2.0, evaluation_seconds=3.0, snapshot_seconds=1.0)
    values |= dict(save_seconds=0.5, start_seconds=10.0, memory=10**9, checkpoint_bytes=100, best_bytes=40)
    values |= dict(snapshot_bytes=7, event_bytes=0.5, parameters=10**6, measured=True)
    return Plan(**dict(config=config) | values | changes)


def test_counts_and_disk_are_those_of_the_run(made, images, config, tmp_path):
    seen = []
    fit(images, config, run_dir=tmp_path / "run", report=False, observers=[seen.append])
    kinds = [type(event) for event in seen]
    assert made.steps == seen[-1].step == 49
    assert made.evaluations + 1 == kinds.count(Evaluated) and made.snapshots + 1 == kinds.count(SnapshotTaken)
    size = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert made.disk == pytest.approx(size, rel=0.15)
    assert made.measured and made.parameters == sum(p.numel() for p in dc.load_run(tmp_path / "run")[0].parameters())


def test_every_part_was_measured(made):
    "None is zero, none is out of all proportion; the speed itself is measured by a benchmark."
    assert 1e-4 < made.step_seconds < 5 and 0 < made.evaluation_seconds < 30 and 0 < made.start_seconds < 60
    assert 100 * 2**20 < made.memory < 100 * 2**30 and made.save_seconds > 0


def test_times_add_up():
    "200 steps, 5 evaluations, 2 snapshots; a checkpoint each 100 seconds, at the end, and for half of the evaluations."
    one = by_hand()
    assert (one.steps, one.evaluations, one.snapshots) == (200, 5, 2)
    work = 200 * 2 + 5 * 3 + 2 * 1 + 10
    assert one.seconds == pytest.approx(work + 0.5 * (1 + 2.5 + work / 100))
    assert one.disk == 2 * 100 + 40 + 3 * 7 + 100
    none = by_hand(config=dataclasses.replace(one.config, snapshot_every=0, epochs=3))
    assert (none.snapshots, none.evaluations, none.disk) == (0, 2, 2 * 100 + 40 + 30)


@pytest.mark.parametrize(
    "seconds, said",
    [
        *[(1e-7, "0.0001 ms"), (0.000456, "0.456 ms"), (0.0123, "12.3 ms"), (0.99949, "999 ms")],
        *[(0.9996, "1 s"), (1.15, "1.15 s"), (120.0, "120 s"), (12345.0, "12300 s")],
    ],
)
def test_numbers_are_plain_at_every_magnitude(seconds, said):
    assert f"({said} a step)" in str(by_hand(step_seconds=seconds))
    assert "130 GiB of memory" in str(by_hand(memory=int(128.4 * 2**30))) and "e+" not in str(by_hand(memory=10**15))


def test_steps_before_and_after_the_head_start_count_by_their_share(config):
    "8 of 10 epochs wait: 0.8 x 1 s + 0.2 x 3 s; a short run has both kinds, or the only one there is."
    one = dataclasses.replace(config, epochs=10, cluster_start=0.8)
    gaps = {4: 1.0, 5: 1.0, 6: 9.0, 8: 3.0, 9: 3.0, 10: 3.0, 11: 3.0}
    assert planning._step_seconds(one, gaps, begun=7) == pytest.approx(1.4)
    assert planning._step_seconds(one, gaps, begun=0) == 3.0
    short = planning._short(one, 80, 6)
    assert (short.epochs, joint_from(short)) == (3, 1)
    never, always = (
        planning._short(dataclasses.replace(one, **c), 80, 6) for c in ({"epochs": 1}, {"cluster_start": 1})
    )
    assert joint_from(never) == 0 and joint_from(always) == always.epochs


def test_other_numbers_are_calculated_and_say_so():
    "Twice the images on four processes: each has a batch of its own; gradients go round in a ring."
    one = by_hand()
    four = one.scaled(2000, 4)
    assert four.steps == 10 * (2000 // 200) and not four.measured and "calculated, not measured" in str(four)
    assert four.step_seconds == pytest.approx(2 + 2 * 3 / 4 * 4e6 / LINK)
    assert four.evaluation_seconds == pytest.approx(3 * 2 / 4)
    assert four.memory - one.memory == 1000 * (one.config.channels * 32 * 32 + 3 * 4 * 10)
    assert "measured here" in str(one) and "on 4 processes" in str(four)
    large = one.scaled(10**7, 8)
    assert large.steps == 10 * (10**7 // 400) and large.seconds > large.steps * 2
    for wrong in (dict(ranks=0), dict(n_images=1), dict(ranks=1.5)):
        with pytest.raises((ValueError, TypeError)):
            one.scaled(**wrong)


@pytest.mark.slow
def test_changes_are_measured_one_by_one(images, config):
    small = dataclasses.replace(config, batch_size=10, snapshot_every=0)
    found = plan_changes(images, small, steps=3)
    assert set(found) == {"batch_size / 2", "batch_size x 2", "n_local = 0", "n_local + 2", "width x 2", "crops x 1.5"}
    assert found["width x 2"].parameters > 2 * found["n_local = 0"].parameters
    assert found["batch_size x 2"].steps == 7 * (150 // 20) and found["n_local + 2"].config.n_local == 3


@pytest.mark.parametrize("method", ["kmeans", "scan"])
def test_heads_on_features_are_planned_too(method):
    features = dc.FeatureSet(torch.randn(90, 6, generator=torch.Generator().manual_seed(0)))
    settings = dc.fitting.settings_for(features, 3, method=method, epochs=4, batch_size=30, device="cpu")
    one = plan(features, settings, method, steps=3)
    assert one.n_images == 90 and one.seconds > 0


def test_nothing_is_left_and_bad_input_is_refused(images, config, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="steps"):
        plan(images, config, steps=1)
    with pytest.raises(ValueError, match="batch_size"):
        plan(images, dataclasses.replace(config, batch_size=200), steps=3)
    plan(images, dataclasses.replace(config, epochs=1), steps=3)
    assert not list(tmp_path.iterdir())


def test_memory_that_comes_and_goes_counts():
    with PeakMemory() as memory:
        before = psutil.Process().memory_info().rss
        block = bytearray(b"x") * (1 << 27)
        time.sleep(10 * EVERY)
        del block
    assert memory.peak - before > 2**27 - 2**24
