"fit, resume and demo on tiny data: results in words and as JSON, Ctrl-C, and resuming."

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import TINY, dcacn, folder_of_images, machine
from PIL import Image
from project import ROOT
from running import full_disk


def settings_of(folder):
    "The settings that a run was started with."
    return json.loads((Path(folder) / "config.json").read_text())["config"]


# --- fit


def test_fit_says_what_came_out():
    line = ("fit", "digits", "--limit", 30, "--epochs", 1, *TINY)
    result = dcacn(*line)
    out = result.stdout
    assert result.stderr.count("epoch 1/1  view information") == 1 and "\r" not in result.stderr, (
        "plain lines and no bar, where there is no terminal"
    )
    assert "30 images in 10 clusters of sizes" in out and "ACC 0." in out and "never in training" in out
    assert f"Run folder: {os.path.join('runs', 'digits-0-1')}" in out
    assert "to 30, the number of images" in result.stderr and "batch_size" not in out
    assert "runs/digits-0-2" in dcacn(*line).stdout.replace("\\", "/")


def test_what_is_announced_is_what_is_trained():
    "The method's own settings count: K-Means takes one epoch, whatever the preset's number."
    said = dcacn("fit", "digits", "--limit", 30, "--method", "kmeans", "--run-dir", "r", *TINY).stdout
    assert "30 images, 10 clusters, 1 epoch; the run is kept in r" in said and settings_of("r")["epochs"] == 1


def test_a_full_disk_says_how_to_go_on_and_the_run_does(monkeypatch):
    "The run has saved what it could; the line that is printed ends it."
    from dcacn_nb.runs import checkpoint

    line = ("fit", "digits", "--limit", 40, "--batch-size", 20, "--epochs", 2, "--run-dir", "r", *TINY)
    with monkeypatch.context() as patch:
        full_disk(patch, checkpoint, "atomic_write", 3)
        failed = dcacn(*line, "--set", "checkpoint_seconds=0", code=1)
    assert "No space left on device" in failed.stderr and "dcacn resume r" in failed.stderr.splitlines()[-1]
    assert "resuming at step 2" in dcacn("resume", "r").stdout


def test_fit_json_is_one_object_on_stdout():
    result = machine("fit", "digits", "--limit", 30, "--epochs", 1, "--no-labels", "-k", 3, "--run-dir", "here", *TINY)
    assert result["status"] == "completed" and result["run_dir"] == "here" and result["scores"] is None
    assert sum(result["cluster_sizes"]) == result["n_images"] == 30 and len(result["cluster_sizes"]) == 3
    config = settings_of("here")
    assert (config["width"], config["epochs"], config["batch_size"], config["n_clusters"]) == (2, 1, 30, 3)


def test_options_reach_the_settings():
    named = "--limit 24 --epochs 1 --batch-size 12 --seed 5 --amp off --no-attention --image-size 12 --upright"
    more = "--device cpu --run-dir r --set lr=0.003 --set global_scale=0.6,1 --set channels_last=no"
    machine("fit", "digits", *named.split(), *TINY[:-2], *more.split())
    expected = dict(
        batch_size=12,
        seed=5,
        amp="off",
        attention=False,
        image_size=12,
        flip=0.0,
        device="cpu",
        lr=0.003,
        global_scale=[0.6, 1.0],
        channels_last=False,
    )
    config = settings_of("r")
    assert {name: config[name] for name in expected} == expected


def test_set_reaches_every_field():
    "Classes are counted only if n_clusters is not set."
    fields = "--set epochs=2 --set n_clusters=5 --run-dir knob"
    result = machine("fit", "digits", "--limit", 40, "--batch-size", 20, *TINY, *fields.split())
    config = settings_of("knob")
    assert (config["epochs"], config["n_clusters"]) == (2, 5) and len(result["cluster_sizes"]) == 5


# --- demo


def test_demo(monkeypatch):
    "The table has DCACN and the baselines with their seconds; a missing UMAP is reported, not passed over."
    monkeypatch.setitem(sys.modules, "umap", None)
    args = ("demo", "--limit", 40, "--epochs", 1, *TINY)
    first = machine(*args, "--run-dir", "d")
    assert [row["name"] for row in first["methods"]] == ["DCACN", "K-Means on pixels", "UMAP + K-Means"]
    assert first["methods"][1]["scores"]["acc"] > 0.4 and first["methods"][2]["scores"] is None
    again = machine("resume", "d")["methods"]
    assert [(row["name"], row["scores"]) for row in again] == [
        (row["name"], row["scores"]) for row in first["methods"]
    ], "a resumed demo ends as a demo"
    assert again[0]["seconds"] is None and again[0]["note"] == "resumed"
    result = dcacn(*args)
    assert "pip install umap-learn" in result.stdout and "40 digits" in result.stdout and "demo-0-1" in result.stdout
    assert "K-Means" not in dcacn(*args, "--no-baselines").stdout
    machine("demo", "--limit", 40, *TINY, "--no-baselines", "--run-dir", "short")
    assert settings_of("short")["epochs"] == 30, "half of the preset's"


# --- resume


def test_a_folder_with_a_run_is_not_overwritten(finished, monkeypatch):
    "The printed command works as it is, also where the program is not on the PATH (after `make demo`)."
    args = ("fit", "digits", "--limit", 30, "--run-dir", finished, *TINY)
    assert ": dcacn resume" in dcacn(*args, code=2).stderr
    monkeypatch.setattr(sys, "argv", [".venv/bin/dcacn"])
    monkeypatch.setenv("PATH", "")
    assert ": .venv/bin/dcacn resume" in dcacn(*args, code=2).stderr


def test_ctrl_c_after_the_training_says_how_to_resume(tmp_path, monkeypatch):
    "While copies are made: no half of them is left, and the printed command makes them."
    copy = shutil.copy2

    def interrupt(source, target):
        copy(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copy2", interrupt)
    images = folder_of_images(tmp_path / "pics")
    line = ("fit", images, "--epochs", 1, "--run-dir", "r", "--sort-into", "sorted", *TINY)
    result = machine(*line, code=130)
    assert result == {"status": "interrupted", "run_dir": "r", "resume": "dcacn resume r"}
    assert not list(tmp_path.glob("sorted*"))
    monkeypatch.setattr("shutil.copy2", copy)
    assert machine("resume", "r")["sorted"] == str(tmp_path / "sorted")
    assert len(list(Path("sorted").rglob("*.png"))) == 16


def test_resuming_a_finished_run_changes_nothing(finished):
    before = machine("evaluate", finished)["scores"]
    assert machine("resume", finished)["status"] == "completed"
    assert machine("evaluate", finished)["scores"] == before


def test_resume_without_source_json_uses_the_protocol(finished, tmp_path):
    "A run that was started from Python has no source.json."
    shutil.copytree(finished, tmp_path / "copy")
    (tmp_path / "copy" / "source.json").unlink()
    assert machine("resume", "copy")["status"] == "completed"
    about = json.loads((tmp_path / "copy" / "config.json").read_text())
    about["protocol"]["source"] = "array"
    (tmp_path / "copy" / "config.json").write_text(json.dumps(about))
    assert "images in memory" in dcacn("resume", "copy", code=2).stderr


@pytest.mark.slow
def test_what_a_stranger_wrote_is_asked_about_not_obeyed(tmp_path):
    "A place for copies counts if this user's command wrote it, and has not been changed since."
    images = folder_of_images(tmp_path / "pics")
    dcacn("fit", images, "--epochs", 1, "--run-dir", "r", *TINY)
    source = tmp_path / "r" / "source.json"
    reading = json.loads(source.read_text())
    reading["then"] = {"sort_into": str(tmp_path / "copies")}
    source.write_text(json.dumps(reading))
    assert f"give --source {images}" in dcacn("resume", "r", code=2).stderr
    told = dcacn("resume", "r", "--source", images).stderr
    assert "was not started here" in told and f"--sort-into {tmp_path / 'copies'}" in told
    assert not (tmp_path / "copies").exists()
    dcacn("resume", "r", "--sort-into", tmp_path / "copies")
    assert len(list((tmp_path / "copies").rglob("*.png"))) == 16
    shutil.rmtree(tmp_path / "copies")
    dcacn("resume", "r")  # confirmed once: now it is this user's own
    assert len(list((tmp_path / "copies").rglob("*.png"))) == 16


WRONG = [
    ("download", True),
    ("cache", "/elsewhere"),
    ("progress", False),
    ("source", ["a"]),
    ("limit", "3"),
    ("limit", -1),
    ("image_size", 10**6),
    ("channels", True),
    ("on_error", "ignore"),
    ("root", None),
    ("then", {"run": "x"}),
    ("then", {"sort_into": 3}),
    ("then", []),
    ("seed", -1),
    ("labels", 1),
]


@pytest.mark.parametrize("key, value", WRONG)
def test_only_known_keys_and_values_of_source_json_are_taken(finished, tmp_path, key, value):
    shutil.copytree(finished, tmp_path / "r")
    reading = json.loads((tmp_path / "r" / "source.json").read_text())
    (tmp_path / "r" / "source.json").write_text(json.dumps(reading | {key: value}))
    for command in ("resume", "evaluate"):
        assert "source.json' is" in dcacn(command, "r", code=2).stderr


def test_resume_with_other_images_is_refused(tmp_path):
    images = folder_of_images(tmp_path / "pics")
    dcacn("fit", images, "--epochs", 1, "--run-dir", "r", *TINY)
    Image.new("L", (8, 8)).save(images / "dark" / "0.png")
    assert "images: not the ones" in dcacn("resume", "r", code=2).stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    "Interrupted in its own process, then resumed here to its end, with the losses of an uninterrupted run."
    options = "--limit 48 --batch-size 12 --epochs 20 --set log_every=1 --set eval_every=20"
    fit = lambda folder: ["fit", "digits", *options.split(), "--run-dir", folder, *TINY]
    command = [sys.executable, "-m", "dcacn_nb", *fit("r"), "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, env=env)
    log, deadline = tmp_path / "r" / "events.jsonl", time.monotonic() + 300
    while not (log.exists() and '"StepDone"' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "dcacn_nb resume r" not in err and "dcacn resume r" in err
    assert json.loads(out) == {"status": "interrupted", "run_dir": "r", "resume": "dcacn resume r"}
    assert machine("resume", "r")["status"] == "completed"
    machine(*fit("whole"))
    losses = lambda name: [
        (e["step"], e["losses"])
        for line in (tmp_path / name / "events.jsonl").read_text().splitlines()
        if (e := json.loads(line))["event"] == "StepDone"
    ]
    assert losses("r") == losses("whole") and len(losses("whole")) == 80


def test_a_plan(own_folder, tmp_path):
    "Measured and calculated, each said as what it is; nothing is written."
    line = ("plan", "digits", "--limit", 60, "--set", "epochs=50", "--set", "batch_size=20", *TINY)
    result = machine(*line, "--images", 10**7, "--ranks", 8)
    assert result["as asked"]["measured"] and result["as asked"]["steps"] == 150
    assert not result["calculated"]["measured"] and result["calculated"]["steps"] == 50 * (10**7 // 160)
    assert "150 steps" in dcacn(*line).stdout and [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert "--set lr" in dcacn("plan", "digits", "--set", "lr", code=2).stderr


def test_a_plan_of_photographs_says_that_fit_would_take_an_encoder(own_folder, monkeypatch):
    "Measured is training from scratch, which is not what `fit` would do there."
    from dcacn_nb import encoders
    from dcacn_nb.encoders.suitable import Choice

    folder_of_images(Path("folder"), each=8)
    for name, said in (("lite0", True), (None, False)):
        monkeypatch.setattr(encoders, "choose_encoder", lambda folder, name=name: Choice(name, "why"))
        line = ("plan", "folder", "-k", 2, "--set", "epochs=1", "--set", "batch_size=8", "--set", "device=cpu")
        assert ("with lite0" in dcacn(*line).stderr) is said
