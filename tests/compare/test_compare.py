"Every method on the same spine; grids that are shared, killed and gone on with; and the worked example of CONTRIBUTING.md."

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from project import ROOT
from typer.testing import CliRunner

from dcacn_nb import baselines
from dcacn_nb.baselines import find_method, method_names
from dcacn_nb.cli import app as cli
from dcacn_nb.compare.grid import collect, failures
from dcacn_nb.core.events import RunFinished, RunStarted
from dcacn_nb.data.image_set import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset
from dcacn_nb.method.step import encode
from dcacn_nb.report.figures import plot_curves, plot_health
from dcacn_nb.runs.folder import load_run, read_about
from dcacn_nb.runs.log import read_events

METHODS = method_names()
GRID = [
    "compare",
    "digits",
    "--limit",
    "120",
    "--set",
    "width=2",
    "--set",
    "n_local=1",
    "--set",
    "projection_dim=4",
    "--set",
    "batch_size=40",
    "--set",
    "snapshot_every=0",
    "--set",
    "warmup_epochs=0",
    "--set",
    "log_every=1",
    "--set",
    "device=cpu",
]


@pytest.fixture(scope="module")
def digits():
    return load_images("digits", limit=150)


def tiny(digits, **changes):
    "Settings of a run that takes a moment."
    return preset(
        "default",
        digits,
        10,
        **(
            {
                "epochs": 4,
                "width": 2,
                "n_local": 1,
                "projection_dim": 4,
                "batch_size": 50,
                "snapshot_every": 2,
                "snapshot_size": 40,
                "eval_every": 1,
                "warmup_epochs": 0.0,
                "device": "cpu",
            }
            | changes
        ),
    )


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    "Pictures have tests of their own."
    monkeypatch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)


# --- methods ------------------------------------------------------------------------------------------------------
def test_the_methods_of_the_table_are_there():
    assert METHODS[0] == "dcacn" and {"kmeans", "ae", "dec", "dcec", "iic", "pica", "cc", "simclr"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_applied_once(name, digits):
    method = find_method(name)
    once = method.settings(tiny(digits))
    assert method.settings(once) == once and method.name == name
    assert once.seed == tiny(digits).seed and method.settings(tiny(digits, seed=5)).seed == 5
    json.dumps(method.options)
    assert method.passes(once) >= 1


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_what_dcacn_leaves(name, digits, tmp_path):
    "Events, folder, network and pictures; the labels move nothing."
    method = find_method(name)
    run = fit(digits, tiny(digits), labels=digits.labels, run_dir=tmp_path / "run", method=method)
    p = run.probabilities
    assert p.shape == (150, 10) and torch.allclose(p.sum(1), torch.ones(150), atol=1e-4)
    events = read_events(tmp_path / "run")
    assert (
        isinstance(events[0], RunStarted)
        and events[0].method == name
        and isinstance(events[-1], RunFinished)
        and events[-1].reason == "completed"
    )
    model, config = load_run(tmp_path / "run")
    assert config == run.config and torch.equal(encode(model, digits.images, config), p)
    assert read_about(tmp_path / "run")["options"] == json.loads(json.dumps(method.options))
    assert plot_curves(events).alt and plot_health(events).alt
    blind = fit(digits, tiny(digits), method=find_method(name))
    assert torch.equal(blind.probabilities, p), "labels must not reach training"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_stopped_anywhere_goes_on_to_the_same_bits(name, digits, tmp_path):
    "Stopped after each third step, as often as it takes."
    config = tiny(digits, log_every=1)
    whole = fit(digits, config, run_dir=tmp_path / "whole", method=find_method(name))
    for life in range(40):

        def stop(event, last=[None]):
            step = getattr(event, "step", 0)
            if type(event).__name__ == "StepDone" and step == 3 * (life + 1):
                run.stop()

        run = fit(
            digits,
            config,
            run_dir=tmp_path / "lives",
            resume=True,
            observers=[stop],
            start=False,
            method=find_method(name),
        )
        run.drive()
        if run.status == "completed":
            break
    assert run.status == "completed" and (life >= 2 or name == "kmeans")
    assert read_events(tmp_path / "lives") == read_events(tmp_path / "whole")
    ours, expected = run.state.tensors(), whole.state.tensors()
    assert ours.keys() == expected.keys() and all(torch.equal(ours[key], expected[key]) for key in ours)


def test_options_are_remembered_and_compared(digits, tmp_path):
    run = fit(
        digits, tiny(digits, epochs=1), run_dir=tmp_path / "run", method=find_method("iic", heads=2, overclusters=15)
    )
    model, config = load_run(tmp_path / "run")
    assert torch.equal(encode(model, digits.images, config), run.probabilities)
    with pytest.raises(ValueError, match="options: .*'heads': 2.* in the run, .*'heads': 3.* now"):
        fit(
            digits,
            tiny(digits, epochs=1),
            run_dir=tmp_path / "run",
            resume=True,
            method=find_method("iic", heads=3, overclusters=15),
        )


# --- grids --------------------------------------------------------------------------------------------------------
def started(*args):
    "A `dcacn` of its own process, without pictures there too."
    code = "from dcacn_nb import fitting; fitting.write_report = lambda folder: None; from dcacn_nb.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_two_processes_share_a_grid(tmp_path):
    "All cells are done, each by one of them, and the table is that of one process."
    line = [*GRID, "--methods", "kmeans,dcacn,cc", "--seeds", "0-2", "--set", "epochs=2"]
    both = [started(*line, "--folder", tmp_path / "shared") for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert CliRunner().invoke(cli.app, [*line, "--folder", str(tmp_path / "alone")]).exit_code == 0
    shared, expected = collect(tmp_path / "shared"), collect(tmp_path / "alone")
    figures = ["method", "setting", "seed", "acc", "nmi", "ari", "view_information", "epochs", "passes"]
    assert len(shared) == 9 and failures(tmp_path / "shared") == {}
    pd.testing.assert_frame_equal(shared[figures], expected[figures])
    for path in (tmp_path / "shared").glob("*/*/seed-*"):
        kinds = [type(event).__name__ for event in read_events(path, arrays=False)]
        assert kinds.count("RunStarted") == kinds.count("RunFinished") == 1


@pytest.mark.slow
def test_a_killed_grid_goes_on(tmp_path):
    "SIGKILL in the middle of a cell: the same line again makes the table of a grid that nobody killed."
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
        assert CliRunner().invoke(cli.app, [*line, "--folder", str(tmp_path / folder)]).exit_code == 0
    figures = ["method", "seed", "acc", "nmi", "ari", "view_information", "epochs"]
    killed, whole = collect(tmp_path / "killed"), collect(tmp_path / "whole")
    assert len(whole) == 2
    pd.testing.assert_frame_equal(killed[figures], whole[figures])


# --- the worked example -------------------------------------------------------------------------------------------
def test_the_example_of_contributing_is_a_method(tmp_path, monkeypatch):
    "Its cells, exported as nbdev would, are found by name, compared, reported and resumed, with no change elsewhere."
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text[text.index("## Add a method") :]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    name = re.search(r"#\| default_exp baselines\.(\w+)", code).group(1)
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / f"{name}.py").write_text(code)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"dcacn_nb.baselines.{name}", raising=False)
    assert name in method_names() and name not in METHODS
    result = CliRunner().invoke(
        cli.app,
        [
            *GRID,
            "--set",
            "epochs=3",
            "--methods",
            f"{name},dcacn",
            "--seeds",
            "0-1",
            "--folder",
            str(tmp_path / "grid"),
        ],
    )
    assert result.exit_code == 0, result.output
    table = collect(tmp_path / "grid")
    assert (
        sorted(set(table.method)) == ["dcacn", name]
        and np.isfinite(table.acc).all()
        and failures(tmp_path / "grid") == {}
    )
    digits = load_images("digits", limit=120)
    where = tmp_path / "grid" / name / "default" / "seed-0"
    run = fit(digits, replace(load_run(where)[1]), run_dir=where, resume=True, method=find_method(name))
    assert run.status == "completed" and name in (tmp_path / "grid" / "table.md").read_text()
