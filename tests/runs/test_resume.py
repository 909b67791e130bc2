"""A run that is killed with SIGKILL again and again, and resumed, ends with the bits and events of one that never was.

One child process imports everything once and forks a grandchild for every attempt: all kills cost one import of torch.
"""

import json
import os
import random
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

NURSERY = r"""
import json, os, signal, sys, threading, time
import torch
torch.set_num_threads(1)
from dataclasses import replace
from dcacn_nb import fitting
from dcacn_nb.runs import driver
from dcacn_nb.runs import folder as run_folder
from dcacn_nb.runs import log as runlog
from dcacn_nb.method import step as steps
from dcacn_nb.method import train
from dcacn_nb.method.config import preset
from dcacn_nb.data.loading import load_images

digits = load_images("digits", limit=100)
config = preset("default", digits, 10, width=4, projection_dim=8, batch_size=25, n_local=1, epochs=3, lr=0.01,
                log_every=3, eval_every=1, snapshot_every=2, snapshot_size=25, checkpoint_seconds=0.0, keep_last=1,
                device="cpu")
fitting.write_report = lambda folder: None  # its pictures have tests of their own
OWNERS = {"os": os, "fitting": fitting, "train": train, "run": driver, "run_folder": run_folder, "runlog": runlog,
          "steps": steps}

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_at(place, call, after=False):
    "Die at the n-th call of a function, before or after it has done its work."
    owner, name = OWNERS[place.split(".")[0]], place.split(".")[1]
    real, calls = getattr(owner, name), [0]
    def wrapper(*args, **kwargs):
        calls[0] += 1
        if calls[0] < call:
            return real(*args, **kwargs)
        if after:
            real(*args, **kwargs)
        die()
    setattr(owner, name, wrapper)

def torn_line(call):
    "Die when half of the n-th line of the log is on the disk."
    real, calls = runlog.Appender.__call__, [0]
    def wrapper(self, data):
        calls[0] += 1
        if calls[0] == call:
            real(self, data[:len(data) // 2])
            die()
        real(self, data)
    runlog.Appender.__call__ = wrapper

def count_calls(limit):
    "Count the calls of the training thread, of Python functions and of C ones; die at one of them, wherever that is."
    def profile(frame, event, argument):
        if event in ("call", "c_call"):
            counted[0] += 1
            if counted[0] == limit:
                die()
    threading.setprofile(profile)

counted = [0]

def attempt(folder, plan):
    "One life of the run."
    if "share" in plan:
        count_calls(int(plan["share"] * total))
    if "measure" in plan:
        count_calls(None)
    settings = replace(config, checkpoint_seconds=plan.get("seconds", 0.0))
    if "place" in plan:
        kill_at(plan["place"], plan["call"], plan.get("after", False))
    if "torn" in plan:
        torn_line(plan["torn"])
    holder, real, calls = [], steps.train_step, [0]
    def stopping(*args):
        losses = real(*args)
        calls[0] += 1
        while not holder:
            time.sleep(0.01)
        if calls[0] == plan["stop"]:
            holder[0].stop()
        return losses
    if "stop" in plan:
        steps.train_step = stopping
    run = fitting.fit(digits, settings, labels=digits.labels, run_dir=folder, resume=os.path.exists(folder),
                      background=True)
    holder.append(run)
    run.wait()
    if "measure" in plan:
        threading.setprofile(None)
        with open(os.path.join(root, "calls"), "w") as file:
            file.write(str(counted[0]))

def live(folder, plan):
    "Fork; returns the signal or exit code."
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            attempt(folder, plan)
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

root, chains, total, ends = sys.argv[1], json.loads(sys.argv[2]), 0, {}
for name, plans in chains.items():
    ends[name] = [live(os.path.join(root, name), plan) for plan in plans]
    total = total or int(open(os.path.join(root, "calls")).read())  # the first chain is the uninterrupted run
print(json.dumps(ends))
"""

# where and at which call a life ends; `seconds`: how often it saves (0: at every chance, 1e9: never)
PLANNED = [
    {"place": "os.replace", "call": 1},  # config.json is not there yet
    {"place": "train.assignment_health", "call": 1},  # the first evaluation: nothing is saved at step 0
    {"place": "steps.train_step", "call": 3, "after": True},  # weights moved, step not counted
    {"torn": 1},  # half a StepDone
    {"place": "os.replace", "call": 3},  # a checkpoint under its temporary name
    {"place": "os.replace", "call": 4, "after": True},  # a checkpoint in place, the old one not yet deleted
    {"place": "os.fsync", "call": 2},  # a checkpoint not yet on the disk
    {"place": "run_folder.prune_checkpoints", "call": 1},
    {"place": "steps.train_step", "call": 2, "seconds": 1e9},
    {
        "place": "train.evaluate_clustering",
        "call": 1,
        "seconds": 1e9,
    },  # a whole piece of an epoch lost, its events in the log
    {"place": "train._snapshot", "call": 1},
    {"place": "fitting.write_report", "call": 1},  # all done but the report
]


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    "All chains of lives, run once: folder, and how each life ended."
    root = tmp_path_factory.mktemp("lives")
    draw = random.Random(20)
    chains = {
        "whole": [{"measure": True}],
        "planned": PLANNED + [{}],
        "random": [{"share": draw.uniform(0.02, 0.16)} for _ in range(8)] + [{}],
        "stopped": [{"stop": 2}, {"stop": 3, "seconds": 1e9}, {"stop": 1}, {}],
    }
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-c", NURSERY, str(root), json.dumps(chains)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert child.returncode == 0, child.stderr
    return root, json.loads(child.stdout.splitlines()[-1]), child.stderr


def assert_same_run(one, other):
    "Equal in every bit of weights, optimiser and figures, and in every event."
    from dcacn_nb.runs.checkpoint import latest_checkpoint, load_checkpoint
    from dcacn_nb.runs.log import read_events

    events, again = read_events(one), read_events(other)
    assert [(type(e).__name__, e.step) if hasattr(e, "step") else type(e).__name__ for e in events] == [
        (type(e).__name__, e.step) if hasattr(e, "step") else type(e).__name__ for e in again
    ]
    assert events == again
    for path in (
        lambda run: latest_checkpoint(run / "checkpoints"),
        lambda run: run / "checkpoints" / "best.safetensors",
    ):
        (tensors, meta), (others, other_meta) = load_checkpoint(path(one)), load_checkpoint(path(other))
        assert tensors.keys() == others.keys()
        different = [
            name for name, value in tensors.items() if value.numpy().tobytes() != others[name].numpy().tobytes()
        ]
        assert different == []
        for settings in (meta.pop("config"), other_meta.pop("config")):
            settings.pop("checkpoint_seconds")  # the one setting that the lives differ in
        assert meta == other_meta


def test_the_uninterrupted_run_ends(ends):
    from dcacn_nb.runs.log import read_events

    root, codes, errors = ends
    assert codes["whole"] == [0], errors
    events = read_events(root / "whole")
    steps = [e.step for e in events if type(e).__name__ == "StepDone"]
    assert steps == [3, 4, 6, 8, 9, 12] and events[-1].reason == "completed"


@pytest.mark.parametrize("place", range(len(PLANNED)), ids=lambda i: "-".join(str(v) for v in PLANNED[i].values()))
def test_each_planned_kill_happened(ends, place):
    root, codes, errors = ends
    assert codes["planned"][place] == -9, f"this life ended with {codes['planned'][place]}, not by its kill\n{errors}"


def test_killed_at_planned_places(ends):
    root, codes, errors = ends
    assert codes["planned"][-1] == 0, errors
    assert_same_run(root / "whole", root / "planned")
    assert not list((root / "planned").rglob("*.tmp")), "temporary files of the killed writers are left behind"


def test_killed_at_random_instants(ends):
    root, codes, errors = ends
    assert codes["random"][-1] == 0 and codes["random"].count(-9) >= 6, (codes["random"], errors)
    assert_same_run(root / "whole", root / "random")


def test_stopped_in_the_middle_of_a_report(ends):
    root, codes, errors = ends
    assert codes["stopped"] == [0, 0, 0, 0], errors
    assert_same_run(root / "whole", root / "stopped")
