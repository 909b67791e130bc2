"Cells in joblib's workers and as jobs of submitit: the table is that of a grid which ran here, one cell after another."

import dataclasses
import importlib.util
import json
import os
import signal
import time

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from dcacn_nb.compare import engines
from dcacn_nb.compare.cells import make_grid
from dcacn_nb.compare.grid import collect, failures, run_grid
from dcacn_nb.compare.shared_images import keep_images, load_images_of_grid
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import load_images
from dcacn_nb.method.step import Method
from dcacn_nb.methods import find_method
from dcacn_nb.runs.log import read_events

FEW = dict(epochs=2, width=2, batch_size=60, lr=0.01, snapshot_every=0, snapshot_size=60, eval_every=1)
FEW |= dict(device="cpu", n_local=1, projection_dim=4)
SAME = ["method", "setting", "seed", "acc", "nmi", "view_information", "epochs", "n_images", "protocol", "budget"]


@pytest.fixture(scope="module")
def few():
    return load_images("digits", limit=120)


@pytest.fixture(scope="module")
def cells(few):
    "Two methods, one of them with an option, and a setting that cannot work."
    wild = {"lr": 1e30, "warmup_epochs": 0.0, "optimizer": "adam"}
    return (
        make_grid(few, 10, ["kmeans", "dcacn"], seeds=[0], **FEW) + make_grid(few, 10, ["cc"], {"w": wild}, **FEW)[:1]
    )


@pytest.fixture(scope="module")
def expected(few, cells, tmp_path_factory):
    "The table of the grid, computed here."
    folder = tmp_path_factory.mktemp("here") / "grid"
    return run_grid(cells, few, folder, labels=few.labels, budget="b", report=False)


def check(folder, table, expected):
    pd.testing.assert_frame_equal(table[SAME], expected[SAME])
    assert list(failures(folder)) == ["cc/w/seed-0"]


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_cells_in_workers_of_joblib(backend, cells, few, expected, tmp_path, capsys):
    "The user's context decides on the backend, as it would for Dask or Ray. A second call finds all done."
    options = dict(labels=few.labels, budget="b", report=False, on="joblib")
    with joblib.parallel_config(backend=backend, n_jobs=2):
        table = run_grid(cells, few, tmp_path, progress=True, **options)
        check(tmp_path, table, expected)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("events.jsonl")}
        run_grid(cells, few, tmp_path, **options)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("events.jsonl")}
    assert "2 of 3 runs finished, 1 failed" in capsys.readouterr().err
    if backend == "loky":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


@pytest.mark.slow
def test_a_job_that_is_preempted_is_queued_again_and_resumed(few, cells, expected, tmp_path, monkeypatch):
    "submitit's own executor, and the signal that Slurm sends: the run stops after its step, and goes on from there."
    pytest.importorskip("submitit")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    slow = [dataclasses.replace(cells[1], config=dataclasses.replace(cells[1].config, log_every=1, epochs=30))]
    queued = run_grid(
        *(slow, few, tmp_path),
        labels=few.labels,
        budget="b",
        report=False,
        on="slurm",
        resources={"cluster": "local", "timeout_min": 5},
        wait=False,
    )
    where = tmp_path / slow[0].folder
    until(lambda: (where / "events.jsonl").exists() and len(read_events(where, arrays=False)) > 4)
    os.kill(json.loads((where / ".lock.1").read_text())["pid"], signal.SIGUSR2)
    until(lambda: len(collect(tmp_path)))
    assert not len(queued) and failures(tmp_path) == {}
    steps = [event.step for event in read_events(where, arrays=False) if type(event).__name__ == "StepDone"]
    assert steps == list(range(1, 61)), "each step once: it was resumed where it stopped"
    logs = "".join(path.read_text() for path in tmp_path.glob("jobs/*/*log*"))
    assert "preempted" in logs and [path.name for path in where.glob(".lock.*")] == [".lock.2"]
    here = run_grid(slow, few, tmp_path.with_name("here"), labels=few.labels, budget="b", report=False)
    pd.testing.assert_frame_equal(collect(tmp_path)[SAME], here[SAME])


def until(what):
    deadline = time.monotonic() + 180
    while not what():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.1)


def test_jobs_that_end_badly_are_named(few, cells, tmp_path, monkeypatch, caplog):
    "submitit's executor for debugging: in this process, where a full disk is found."
    submitit = pytest.importorskip("submitit")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engines.Work, "do", full)
    monkeypatch.setattr(submitit.DebugJob, "done", lambda self: True)
    run_grid(cells[:1], few, tmp_path, on="slurm", resources={"cluster": "debug"}, report=False)
    assert "the job of kmeans/default/seed-0" in caplog.text and "No space left" in caplog.text


def test_what_is_wrong_with_an_engine_is_said_before_any_work(few, cells, tmp_path, monkeypatch):
    def refused(error, match, **options):
        with pytest.raises(error, match=match):
            run_grid(cells, few, tmp_path / "new", **options)
        assert not (tmp_path / "new").exists()

    refused(ValueError, "on: .*'cloud'|'cloud'", on="cloud")
    refused(ValueError, "on='local' takes no resources, got 'n_jobs'", resources={"n_jobs": 2})
    refused(ValueError, "takes n_jobs alone; joblib.parallel_config", on="joblib", resources={"backend": "loky"})
    monkeypatch.setenv("PATH", str(tmp_path))
    if importlib.util.find_spec("submitit"):
        refused(FileNotFoundError, "needs Slurm's command sbatch.* login node", on="slurm")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused(ModuleNotFoundError, r"needs submitit.* pip install 'dcacn_nb\[slurm\]'", on="slurm")


@pytest.mark.parametrize("resources", [{"cpu": 3}, {"timeout_min": "long"}, {"slurm_colour": "red"}])
def test_unknown_resources_are_refused(few, cells, tmp_path, resources):
    pytest.importorskip("submitit")
    with pytest.raises(ValueError, match="resources are not as submitit takes them"):
        run_grid(cells, few, tmp_path, on="slurm", resources={"cluster": "local"} | resources)


def test_cells_are_spread_over_the_gpus_of_a_machine(cells, monkeypatch):
    auto = dataclasses.replace(cells[0], config=dataclasses.replace(cells[0].config, device="auto"))
    for count, device in ((0, "auto"), (1, "auto"), (4, "cuda:1")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert engines._on_device(auto, 5).config.device == device
        assert engines._on_device(cells[0], 5).config.device == "cpu", "what was asked for stays"


SETS = {
    "images": lambda: ImageSet(torch.randint(0, 256, (6, 3, 5, 4), dtype=torch.uint8), np.arange(6) % 2, ["a", "b"]),
    "extra": lambda: ImageSet(
        torch.zeros(4, 1, 8, 8, dtype=torch.uint8), extra=ImageSet(torch.ones(9, 1, 8, 8).byte())
    ),
    "paths": lambda: ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), paths=["a\udcff.png", "猫.png"]),
    "view": lambda: ImageSet(torch.arange(384).reshape(2, 3, 8, 8).byte().transpose(2, 3)),
    "features": lambda: FeatureSet(torch.randn(5, 3), paths=list("abcde"), protocol={"encoder": {"name": "x"}}),
}


@pytest.mark.parametrize("name", SETS)
def test_images_come_back_from_the_grid_s_folder(name, tmp_path):
    made = SETS[name]()
    for labels in (None, np.arange(len(made)) % 2):
        path = keep_images(made, labels, tmp_path)
        back = load_images_of_grid(path)
        assert type(back) is type(made) and back.paths == made.paths and back.protocol == made.protocol
        assert (back.labels is None) if labels is None else np.array_equal(back.labels, labels)
        for part in ("features", "images"):
            one, other = getattr(made, part, None), getattr(back, part, None)
            assert (one is None and other is None) or torch.equal(one, other)
        extra = getattr(made, "extra", None)
        assert extra is None or torch.equal(extra.images, back.extra.images)
        stamp = path.stat().st_mtime_ns
        assert keep_images(made, labels, tmp_path) == path and path.stat().st_mtime_ns == stamp
    assert len(list(tmp_path.iterdir())) == 2, "one file for each labelling"


def test_a_method_of_one_s_own_runs_in_workers(few, tmp_path):
    "With functions that no module holds."
    own = find_method("kmeans")
    mine = Method("mine", **{f.name: getattr(own, f.name) for f in dataclasses.fields(own) if f.name != "name"})
    mine = dataclasses.replace(mine, settings=lambda config: own.settings(config))
    made = make_grid(few, 10, [mine], seeds=[0], **FEW)
    with joblib.parallel_config(backend="threading", n_jobs=1):
        table = run_grid(made, few, tmp_path, labels=few.labels, report=False, on="joblib")
    assert table.method.tolist() == ["mine"]
