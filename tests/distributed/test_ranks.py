"Two and four processes train as one does: the same losses, gradients, weights and run; and end well if one is lost."

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from project import ROOT

from dcacn_nb.core.events import Evaluated, RunFinished, StepDone
from dcacn_nb.runs.checkpoint import latest_checkpoint, load_checkpoint
from dcacn_nb.runs.log import each_event

gloo = torch.distributed.is_available() and torch.distributed.is_gloo_available()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (hasattr(os, "fork") and gloo), reason="needs fork, and PyTorch with gloo"),
]
EXACT = ("dcacn", "columns", "coupled", "cc", "dcacn_selflabel", "simclr", "iic", "pica", "twenty")
WRONG = ("local negatives", "others without gradient", "local statistics")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    "What groups of 1, 2 and 4 processes left behind; they are started once for all tests."
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(Path(__file__).with_name("nursery.py")), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "codes.json").read_text()) == {"1": [0], "2": [0, 0], "4": [0, 0, 0, -9]}, done.stderr
    return folder


def difference(folder, name, world):
    "The largest difference to one process, as a share of the largest number of that tensor."
    one, many = (safetensors.torch.load_file(folder / f"{name}-{n}") for n in (1, world))
    assert one.keys() == many.keys() and len(one) > 50
    return max(float((many[key] - one[key]).abs().max() / one[key].abs().max().clamp_min(1e-9)) for key in one)


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_are_one(found, name):
    "Loss terms, every gradient and BatchNorm's averages of the first step; `twenty`: all weights after twenty steps."
    assert difference(found, name, 2) < 1e-8


def test_the_head_start_is_that_of_one(found):
    "K-Means on the features of all images, in single precision, sets the same head; then both losses go on."
    assert difference(found, "head start", 2) < 1e-4
    assert difference(found, "twenty", 2) < 1e-8


def test_four_processes_are_one(found):
    "The same with four."
    assert difference(found, "dcacn", 4) < 1e-8


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ways_are_caught(found, name):
    "Negatives of a process's own, answers of others without gradient, BatchNorm of a process's own: other gradients."
    assert difference(found, name, 2) > 0.1


def events(folder, *kinds):
    "The events of some kinds."
    return [event for event in each_event(folder) if isinstance(event, kinds)]


def test_a_run_is_the_same_on_any_number_of_processes(found):
    "Begun by two, stopped by the second of them, ended by four: the losses and scores of the run of one process."
    whole, moved = (events(found / name, StepDone, Evaluated, RunFinished) for name in ("whole", "moved"))
    assert [type(event) for event in whole] == [type(event) for event in moved] and len(whole) > 5
    for one, many in zip(whole[:-1], moved[:-1]):
        assert (one.step, one.epoch) == (many.step, many.epoch)
        if isinstance(one, StepDone):
            # the balance, near zero, is a difference of large numbers
            assert many.losses == pytest.approx(one.losses, rel=1e-4, abs=1e-6)
            assert many.grad_norm == pytest.approx(one.grad_norm, rel=1e-2)
        else:
            assert many.health["cluster_mass"] == pytest.approx(one.health["cluster_mass"], abs=0.03)
    assert moved[-1].reason == "completed"


def test_a_pause_holds_all_processes(found):
    "The first one pauses, the others wait; then the run goes on to its end."
    assert json.loads((found / "paused.json").read_text()) == {"held": True, "status": "completed"}


def test_a_lost_process_ends_the_run_with_a_checkpoint(found):
    "The others say what happened; the log says so; the last checkpoint is that of the step before."
    said = (found / "lost.txt").read_text()
    assert "another process of this run has ended" in said and "resume from the last checkpoint" in said
    (end,) = events(found / "bereft", RunFinished)
    assert end.reason == "failed" and "RankLost" in end.message
    assert load_checkpoint(latest_checkpoint(found / "bereft" / "checkpoints"))[1]["step"] in (4, 5)


def test_what_cannot_be_shared_is_refused(found):
    "A method whose loss is not of the whole batch, a batch that cannot be divided, pieces too small."
    said = json.loads((found / "refused.json").read_text())
    for name in ("dec", "kmeans", "propos", "scan"):
        assert f"method {name!r} computes its loss" in said[name] and "got 2 processes" in said[name]
    assert said["batch"] == "batch_size must be a multiple of the number of processes, 2, got 25; try 24"
    assert said["pieces"].endswith("got 9 for 12 images; use at most 6")
