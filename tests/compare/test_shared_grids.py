"Grids of the command that are shared by two processes, killed and resumed; and the worked example of CONTRIBUTING.md."

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from command import dcacn
from project import ROOT

from dcacn_nb import baselines
from dcacn_nb.compare.grid import collect, failures
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.methods import find_method, method_names
from dcacn_nb.runs.folder import load_run
from dcacn_nb.runs.log import read_events

SETTINGS = ("width=2", "n_local=1", "projection_dim=4", "batch_size=40", "snapshot_every=0", "warmup_epochs=0")
SETTINGS += ("log_every=1", "device=cpu")
GRID = ["compare", "digits", "--limit", 120, *(part for setting in SETTINGS for part in ("--set", setting))]
FIGURES = ["method", "setting", "seed", "acc", "nmi", "ari", "view_information", "epochs", "passes"]
NO_REPORT = "from dcacn_nb import fitting; fitting.write_report = lambda folder: None; "
NO_FLOCK = """
import errno, fcntl
def missing(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = fcntl.lockf = missing
"""


def started(*args):
    "A `dcacn` of its own process, without pictures there too, and as on a file system without flock."
    code = NO_FLOCK + NO_REPORT + "from dcacn_nb.cli import main; main()"
    line = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_share_a_grid(tmp_path):
    "All cells are done, each by one of them, and the table is that of one process."
    line = [*GRID, "--methods", "kmeans,dcacn,cc", "--seeds", "0-1", "--set", "epochs=2"]
    both = [started(*line, "--folder", tmp_path / "shared") for _ in range(2)]
    output = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    dcacn(*line, "--folder", tmp_path / "alone")
    shared, expected = collect(tmp_path / "shared"), collect(tmp_path / "alone")
    assert len(shared) == 6 and failures(tmp_path / "shared") == {}
    pd.testing.assert_frame_equal(shared[FIGURES], expected[FIGURES])
    for path in (tmp_path / "shared").glob("*/*/seed-*"):
        kinds = [type(event).__name__ for event in read_events(path, arrays=False)]
        assert kinds.count("RunStarted") == kinds.count("RunFinished") == 1


@pytest.mark.slow
def test_a_killed_grid_is_resumed(tmp_path):
    "SIGKILL in the middle of a cell: the same line again makes the table of a grid that was not killed."
    line = [*GRID, "--methods", "dcacn", "--seeds", "0-1", "--set", "epochs=6", "--set", "checkpoint_seconds=0"]
    process = started(*line, "--folder", tmp_path / "killed")
    log = tmp_path / "killed" / "dcacn" / "default" / "seed-0" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("StepDone") >= 5):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for folder in ("killed", "whole"):
        dcacn(*line, "--folder", tmp_path / folder)
    killed, whole = collect(tmp_path / "killed"), collect(tmp_path / "whole")
    assert [path.name for path in log.parent.glob(".lock.*")] == [".lock.2"], "taken over from the dead process"
    names = [name for name in FIGURES if name != "passes"]
    assert len(whole) == 2
    pd.testing.assert_frame_equal(killed[names], whole[names])


@pytest.fixture
def example(tmp_path, monkeypatch):
    "The method of CONTRIBUTING.md, its cells exported as nbdev would: its name."
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text[text.index("## Add a method") :]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    name = re.search(r"#\| default_exp baselines\.(\w+)", code).group(1)
    assert name not in method_names()
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / f"{name}.py").write_text(code)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"dcacn_nb.baselines.{name}", raising=False)
    return name


def test_the_example_of_contributing_is_a_method(example, tmp_path):
    "It is found by name, compared, reported and resumed, with no change elsewhere."
    assert example in method_names()
    line = [*GRID, "--set", "epochs=3", "--methods", f"{example},dcacn", "--seeds", "0-1"]
    dcacn(*line, "--folder", tmp_path / "grid")
    table = collect(tmp_path / "grid")
    assert sorted(set(table.method)) == ["dcacn", example]
    assert np.isfinite(table.acc).all() and failures(tmp_path / "grid") == {}
    where = tmp_path / "grid" / example / "default" / "seed-0"
    digits, config = load_images("digits", limit=120), load_run(where)[1]
    run = fit(digits, config, run_dir=where, resume=True, method=find_method(example))
    assert run.status == "completed" and example in (tmp_path / "grid" / "table.md").read_text()
