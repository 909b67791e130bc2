"The `dcacn` command: every subcommand on tiny data, bad input, JSON, Ctrl-C and resuming."

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import ROOT
from typer.testing import CliRunner

from dcacn_nb.cli import app as cli
from dcacn_nb.cli.output import BadInput
from dcacn_nb.data import sources

SETTINGS = ["width=2", "n_local=0", "projection_dim=4", "snapshot_every=0", "warmup_epochs=0", "device=cpu"]
TINY = [part for setting in SETTINGS for part in ("--set", setting)]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    "Every test in a folder of its own, so that runs/ and the cache land there."
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        "dcacn_nb.fitting.write_report", lambda folder: None
    )  # its pictures take seconds; one test draws them


def dcacn(*args, code=0):
    "Run a command in this process; its result, after its exit code was checked."
    result = CliRunner().invoke(cli.app, [str(arg) for arg in args])
    assert result.exit_code == code, (
        f"exit code {result.exit_code}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
    )
    assert "Traceback" not in result.output
    return result


def machine(*args, code=0):
    "The JSON object of a command, which must be all of its standard output."
    return json.loads(dcacn(*args, "--json", code=code).stdout)


def folder_of_images(root, classes=("dark", "light"), each=8, size=8):
    for c, name in enumerate(classes):
        for i in range(each):
            pixels = np.random.default_rng(10 * c + i).integers(0, 100, (size, size), dtype=np.uint8) + 150 * c
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    "One finished run on 40 digits."
    folder = tmp_path_factory.mktemp("finished") / "run"
    dcacn("fit", "digits", "--limit", 40, "--epochs", 2, "--batch-size", 20, "--run-dir", folder, *TINY)
    return folder


# ---------------------------------------------------------------- help


def test_help_is_quick():
    "No command line waits for torch before it needs it: none of the slow libraries is imported by the module."
    code = "import sys, dcacn_nb.cli; print([m for m in ('torch', 'numpy', 'pandas', 'sklearn', 'matplotlib', 'rich.progress') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["fit"],
        ["demo"],
        ["resume"],
        ["evaluate"],
        ["predict"],
        ["report"],
        ["data"],
        ["data", "list"],
        ["data", "download"],
        ["data", "verify"],
    ],
    ids=" ".join,
)
def test_help(command):
    assert "Usage" in dcacn(*command, "--help").stdout


def test_version():
    from dcacn_nb import __version__

    assert dcacn("--version").stdout.strip() == f"dcacn_nb {__version__}"


# ---------------------------------------------------------------- fit, evaluate, report, demo


def test_fit_says_what_came_out(finished):
    result = dcacn("fit", "digits", "--limit", 30, "--epochs", 1, *TINY)
    out = result.stdout
    assert result.stderr.count("epoch 1/1  view information") == 1 and "\r" not in result.stderr, (
        "plain lines and no bar, where there is no terminal"
    )
    assert "30 images in 10 clusters of sizes" in out and "ACC 0." in out and "never in training" in out
    assert f"Run folder: {os.path.join('runs', 'digits-0-1')}" in out
    assert "to 30, the number of images" in result.stderr and "batch_size" not in out
    assert "runs/digits-0-2" in dcacn("fit", "digits", "--limit", 30, "--epochs", 1, *TINY).stdout.replace("\\", "/")


def test_fit_json_is_one_object_on_stdout(tmp_path):
    told = machine("fit", "digits", "--limit", 30, "--epochs", 1, "--no-labels", "-k", 3, "--run-dir", "here", *TINY)
    assert told["status"] == "completed" and told["run_dir"] == "here" and told["scores"] is None
    assert sum(told["cluster_sizes"]) == told["n_images"] == 30 and len(told["cluster_sizes"]) == 3
    config = json.loads((tmp_path / "here" / "config.json").read_text())["config"]
    assert (config["width"], config["epochs"], config["batch_size"], config["n_clusters"]) == (2, 1, 30, 3)


def test_options_reach_the_settings(tmp_path):
    machine(
        "fit",
        "digits",
        "--limit",
        24,
        "--epochs",
        1,
        "--batch-size",
        12,
        "--seed",
        5,
        "--amp",
        "off",
        "--no-attention",
        "--image-size",
        12,
        "--upright",
        "--device",
        "cpu",
        "--run-dir",
        "r",
        *TINY[:-2],
        "--set",
        "lr=0.003",
        "--set",
        "global_scale=0.6,1",
        "--set",
        "channels_last=no",
    )
    config = json.loads((tmp_path / "r" / "config.json").read_text())["config"]
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
    assert {name: config[name] for name in expected} == expected


def test_evaluate(finished):
    told = machine("evaluate", finished)
    last = json.loads(
        [line for line in (finished / "events.jsonl").read_text().splitlines() if '"Evaluated"' in line][-1]
    )
    assert told["scores"] == pytest.approx(last["scores"], abs=1e-9) and told["n_images"] == 40
    assert machine("evaluate", finished, "--which", "best")["which"] == "best"
    other = folder_of_images(finished.parent / "other")
    assert machine("evaluate", finished, "--source", other)["n_images"] == 16
    assert "ACC" in dcacn("evaluate", finished).stdout


def test_report(finished):
    told = machine("report", finished)
    assert told["run_dir"] == str(finished) and told["reports"] == [str(finished / "report.html")]
    assert told["diagnosis"] and all(len(line) > 20 for line in told["diagnosis"])
    assert (finished / "report.html").read_text().startswith("<!DOCTYPE html>")
    (finished / "report of mine.txt").write_text("notes")  # not a report of ours
    lines = dcacn("report", finished).stdout.splitlines()
    (finished / "report of mine.txt").unlink()
    assert [line for line in lines if "eport" in line] == [f"Report: {finished / 'report.html'}"], (
        "the report is named once"
    )


def test_demo(monkeypatch):
    "The table has DCACN and the baselines with their seconds; a missing UMAP is said, not passed over."
    monkeypatch.setitem(sys.modules, "umap", None)
    args = ("demo", "--limit", 40, "--epochs", 1, *TINY)
    told = machine(*args, "--run-dir", "d")
    assert [row["name"] for row in told["methods"]] == ["DCACN", "K-Means on pixels", "UMAP + K-Means"]
    assert told["methods"][1]["scores"]["acc"] > 0.4 and told["methods"][2]["scores"] is None
    again = machine("resume", "d")["methods"]
    assert [(row["name"], row["scores"]) for row in again] == [
        (row["name"], row["scores"]) for row in told["methods"]
    ], "a demo resumed ends as a demo"
    assert again[0]["seconds"] is None and again[0]["note"] == "resumed"
    result = dcacn(*args)
    assert "pip install umap-learn" in result.stdout and "40 digits" in result.stdout and "demo-0-1" in result.stdout
    assert "K-Means" not in dcacn(*args, "--no-baselines").stdout


# ---------------------------------------------------------------- folders


def test_folder_from_fit_to_sorted_copies(tmp_path):
    images = folder_of_images(tmp_path / "pics")
    (images / "dark" / "broken.png").write_bytes(b"no image")
    args = ("fit", images, "--epochs", 1, "--run-dir", "r", *TINY)
    err = dcacn(*args, code=2).stderr
    assert "broken.png" in err and "--on-error skip goes on" in err
    told = machine(*args, "--on-error", "skip", "--sort-into", "sorted")
    rows = list(csv.DictReader(open(told["clusters"], newline="")))
    assert len(rows) == 16 and all(os.path.exists(row["path"]) and 0.5 <= float(row["confidence"]) <= 1 for row in rows)
    for row in rows:
        copy = tmp_path / "sorted" / f"cluster_{row['cluster']}" / os.path.relpath(row["path"], images)
        assert copy.read_bytes() == open(row["path"], "rb").read()
    (tmp_path / "file").touch()
    for place, message in [
        ("sorted", "exists already"),
        ("pics/dark/sorted", "among the images"),
        ("new", "the run's own folder"),
        ("file/x", "is no folder that can be written to"),
    ]:
        assert (
            message in dcacn("fit", images, "--sort-into", place, "--run-dir", "new", *TINY, code=2).stderr
            and not Path("new").exists()
        )
    assert "sorted: exists already; to another place: dcacn resume r --sort-into NEW" in dcacn("resume", "r").stderr
    copies = {path.relative_to("sorted") for path in Path("sorted").rglob("*.png")}
    shutil.rmtree("sorted")
    for more in ([], ["--sort-into", "other"]):  # where it was asked for at the start; elsewhere
        place = Path(machine("resume", "r", *more)["sorted"])
        assert (
            place.name == (more or ["sorted"])[-1]
            and {path.relative_to(place) for path in place.rglob("*.png")} == copies
        )
    assert machine("evaluate", "r")["n_images"] == 16, "broken files are skipped as in training"
    assert (
        "broken.png" in dcacn("evaluate", "r", "--on-error", "raise", code=2).stderr
        and "broken.png" in dcacn("evaluate", "r", "--source", images, code=2).stderr
    )
    assert machine("evaluate", "r", "--source", images, "--on-error", "skip")["n_images"] == 16
    assert (
        "--on-error skip goes on" in dcacn("compare", images, code=2).stderr
        and "--on-error skip goes on" in dcacn("ablate", images, code=2).stderr
    )
    assert (
        machine(
            "compare", images, "--methods", "kmeans", "--seeds", 0, "--set", "batch_size=8", "--on-error", "skip", *TINY
        )["runs"][0]["acc"]
        > 0.5
    )
    unlabelled = dcacn(
        "compare",
        images / "dark",
        "-k",
        2,
        "--methods",
        "kmeans",
        "--seeds",
        0,
        "--set",
        "batch_size=8",
        "--on-error",
        "skip",
        "--folder",
        "grid",
        *TINY,
    ).stdout
    assert "view information" in unlabelled and "No labels, so no scores" in unlabelled and "ACC" not in unlabelled
    new = tmp_path / "new"
    new.mkdir()
    Image.new("RGB", (20, 30), "white").save(new / "a, b.png")
    assert machine("predict", "r", new, "-o", "out.csv")["n_images"] == 1
    (row,) = csv.DictReader(open("out.csv", newline=""))
    assert row["path"].endswith("a, b.png") and row["cluster"] in "01"
    for place, message in [
        (new, "is a folder; give the CSV file to write"),
        (tmp_path / "r" / "config.json" / "x.csv", "cannot be written"),
    ]:
        assert message in dcacn("predict", "r", new, "-o", place, code=2).stderr
    # the images trained on are given their clusters again
    Path("clusters.csv").write_text("mine")
    assert (
        "give another file, or --overwrite" in dcacn("predict", "r", images, code=2).stderr
        and Path("clusters.csv").read_text() == "mine"
    )
    dcacn("predict", "r", "pics", "--on-error", "skip", "--overwrite")
    assert [r["path"] for r in csv.DictReader(open("clusters.csv", newline=""))] == [r["path"] for r in rows], (
        "whole paths, as fit writes them"
    )
    assert [r["cluster"] for r in csv.DictReader(open("clusters.csv", newline=""))] == [r["cluster"] for r in rows]


def test_unlabelled_folder(tmp_path):
    images = folder_of_images(tmp_path / "pics") / "dark"
    assert "give the number of clusters, e.g. -k 10" in dcacn("fit", images, *TINY, code=2).stderr
    result = dcacn("fit", images, "-k", 2, "--epochs", 1, *TINY)
    assert "8 images in 2 clusters" in result.stdout and "ACC" not in result.stdout


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "args, message",
    [
        (["fit", "cifar1O"], "did you mean 'cifar10'"),
        (["fit", "cifar10"], "To download"),
        (["fit", "digits", "--set", "lr=fast"], "--set lr=fast: lr must be a number"),
        (["fit", "digits", "--set", "lr"], "write NAME=VALUE"),
        (["fit", "digits", "--set", "learning_rate=1"], "setting must be one of"),
        (["fit", "digits", "--set", "xyzzy=1"], "known ones, got 'xyzzy'; the known ones are 'n_clusters'"),
        (["fit", "digits", "--set", "batchsize=1"], "got 'batchsize'; did you mean 'batch_size'"),
        (
            ["compare", "cifar10", "--methods", "cc,decc"],
            "did you mean 'dec'",
        ),  # as with fit, before the images are looked for
        (["compare", "cifar10", "--seeds", "x"], "--seeds x"),
        (["ablate", "cifar10", "--set", "epochs=0"], "epochs must be >= 1"),
        (["ablate", "cifar10", "--seeds", "1,1"], "each once"),
        (
            ["fit", "cifar10", "--epochs", "0"],
            "epochs must be >= 1",
        ),  # said before it is said that the images are not there
        (["fit", "cifar10", "--method", "decc"], "did you mean 'dec'"),
        (["fit", "cifar10", "-k", "1"], "-k must be >= 2"),
        (["fit", "digits", "--limit", "30", "--sort-into", "x"], "these images are no files"),
        (["fit", "digits", "--limit", "30", "--batch-size", "31"], "batch_size"),
        (["fit", "digits", "--limit", "5", "-k", "6"], "n_clusters must be <= the number of images, 5"),
        (["fit", "digits", "--backbone", "resnet19"], "did you mean"),
        (["fit", "cifar10", "--device", "gpu"], "device must be"),
        (["fit", "digits", "--preset", "papers"], "papers"),
        (["fit", "digits", "--nonsense"], "nonsense"),
        (["fit"], "Missing argument"),
        (["fit", "digits", "--run-dir", "file"], "--run-dir file is a file; give a folder"),
        (["fit", "digits", "--limit", "30", "--run-dir", "file/run"], "Error: file/run: run_dir cannot be written to"),
        (["resume", "nowhere"], "holds no run"),
        (["evaluate", "nowhere"], "is no folder"),
        (["predict", "nowhere", "."], "is no folder"),
        (["report", "nowhere"], "holds no run log"),
        (["data", "download", "imagenet10"], "cannot be downloaded"),
        (["data", "download", "mnist"], "did you mean 'fashion_mnist'"),
        (["data", "verify", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(args, message, tmp_path):
    "Exit code 2, one clear message on standard error, nothing on standard output, and no folder left behind."
    (tmp_path / "file").touch()
    result = dcacn(*args, code=2)
    assert message in " ".join(result.stderr.replace("│", " ").split()) and result.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_a_run_is_not_written_over(finished, monkeypatch):
    "What is to be typed instead works as it is printed, also where the program is not on the PATH (after `make demo`)."
    args = ("fit", "digits", "--limit", 30, "--run-dir", finished, *TINY)
    assert ": dcacn resume" in dcacn(*args, code=2).stderr
    monkeypatch.setattr(sys, "argv", [".venv/bin/dcacn"])
    monkeypatch.setenv("PATH", "")
    assert ": .venv/bin/dcacn resume" in dcacn(*args, code=2).stderr


def test_debug_shows_the_traceback_wherever_it_stands():
    for args in (["--debug", "fit", "nowhere"], ["fit", "nowhere", "--debug"]):
        result = CliRunner().invoke(cli.app, args)
        assert isinstance(result.exception, BadInput) and result.exit_code == 1


def test_a_failure_is_no_bad_input(monkeypatch, finished):
    "Whatever goes wrong after the checks ends with 1 and one line."

    def broken(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("dcacn_nb.report.page.write_report", broken)  # imported when the command runs
    assert "Failed: RuntimeError: the disk is on fire" in dcacn("report", finished, code=1).stderr


# ---------------------------------------------------------------- resume


def test_ctrl_c_after_the_training_says_how_to_go_on(tmp_path, monkeypatch):
    "While copies are made: nothing half is left, and the command that is printed makes them."
    copy = shutil.copy2

    def interrupt(source, target):
        copy(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copy2", interrupt)
    told = machine(
        "fit",
        folder_of_images(tmp_path / "pics"),
        "--epochs",
        1,
        "--run-dir",
        "r",
        "--sort-into",
        "sorted",
        *TINY,
        code=130,
    )
    assert told == {"status": "interrupted", "run_dir": "r", "go_on": "dcacn resume r"} and not list(
        tmp_path.glob("sorted*")
    )
    monkeypatch.setattr("shutil.copy2", copy)
    assert (
        machine("resume", "r")["sorted"] == str(tmp_path / "sorted") and len(list(Path("sorted").rglob("*.png"))) == 16
    )


def test_resume_of_a_finished_run_changes_nothing(finished):
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
    assert "array in memory" in dcacn("resume", "copy", code=2).stderr


def test_resume_with_other_images_is_refused(tmp_path):
    images = folder_of_images(tmp_path / "pics")
    dcacn("fit", images, "--epochs", 1, "--run-dir", "r", *TINY)
    Image.new("L", (8, 8)).save(images / "dark" / "0.png")
    assert "images: not the ones" in dcacn("resume", "r", code=2).stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    "Interrupted in a process of its own, then resumed here to its end, with the losses of a run that nobody interrupted."

    def fit(folder):
        return [
            "fit",
            "digits",
            "--limit",
            "48",
            "--batch-size",
            "12",
            "--epochs",
            "20",
            "--set",
            "log_every=1",
            "--set",
            "eval_every=20",
            "--run-dir",
            folder,
            *TINY,
        ]

    command = [sys.executable, "-c", "from dcacn_nb.cli import main; main()", *fit("r"), "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env
    )
    log, deadline = tmp_path / "r" / "events.jsonl", time.monotonic() + 300
    while not (log.exists() and '"StepDone"' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "dcacn resume r" in err and json.loads(out) == {
        "status": "interrupted",
        "run_dir": "r",
        "go_on": "dcacn resume r",
    }
    assert machine("resume", "r")["status"] == "completed"
    machine(*fit("whole"))
    losses = lambda name: [
        (e["step"], e["losses"])
        for line in (tmp_path / name / "events.jsonl").read_text().splitlines()
        if (e := json.loads(line))["event"] == "StepDone"
    ]
    assert losses("r") == losses("whole") and len(losses("whole")) == 80


# ---------------------------------------------------------------- data


def test_data_list():
    assert [row["name"] for row in machine("data", "list")["sources"]] == list(sources.SOURCES)
    told = dcacn("data", "list").stdout
    assert "imagenet_dogs" in told and "dcacn data download cifar10" in told and "download=True" not in told


def test_data_verify(tmp_path):
    assert machine("data", "verify", "digits")["complete"] is True
    assert machine("data", "verify", "cifar10", "--root", tmp_path, code=1)["complete"] is False
    assert machine("data", "verify", folder_of_images(tmp_path / "pics"))["complete"] is True


def test_data_download(monkeypatch, tmp_path):
    assert machine("data", "download", "digits")["n_images"] == 1797

    def offline(source, root):
        raise FileNotFoundError("cifar10: the download failed")

    monkeypatch.setattr(sources, "_download", offline)
    assert "the download failed" in dcacn("data", "download", "cifar10", "--root", tmp_path, code=1).stderr


# ---------------------------------------------------------------- the full-scale recipes, on tiny fake data


def fake_cifar10(root, monkeypatch):
    "Files in CIFAR-10's layout, 12 images in all; their sums are not looked at."
    home = root / "cifar-10-batches-py"
    home.mkdir(parents=True)
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        pixels = np.random.default_rng(i).integers(0, 256, (2, 3072), dtype=np.uint8)
        (home / name).write_bytes(pickle.dumps({"data": pixels, "labels": [(2 * i) % 10, (2 * i + 1) % 10]}))
    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)


def fake_stl10(root, monkeypatch):
    "Files in STL-10's layout: 6 training, 6 test and 20 unlabelled images."
    home = root / "stl10_binary"
    home.mkdir(parents=True)
    for name, count in (("train", 6), ("test", 6), ("unlabeled", 20)):
        np.random.default_rng(count).integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(home / f"{name}_X.bin")
        if name != "unlabeled":
            (np.arange(count) % 10 + 1).astype(np.uint8).tofile(home / f"{name}_y.bin")


def fake_imagenet10(root, monkeypatch):
    "The ten synset folders with one image each."
    for synset in sources.SYNSETS["imagenet10"]:
        (root / synset).mkdir(parents=True)
        Image.new("RGB", (60, 50), "white").save(root / synset / "a.JPEG")


@pytest.mark.parametrize(
    "source, fake", [("cifar10", fake_cifar10), ("stl10", fake_stl10), ("imagenet10", fake_imagenet10)]
)
def test_full_scale_recipes_start(source, fake, tmp_path, monkeypatch):
    "The recipe as documented, with smaller views and network: it parses, finds its data, trains a step, and keeps the paper's settings."
    fake(tmp_path / "data", monkeypatch)
    small = [
        "--limit",
        10,
        "--batch-size",
        10,
        "--epochs",
        1,
        "--set",
        "global_size=16",
        "--set",
        "local_size=8",
        *TINY,
    ]
    small += ["--download"] if source != "imagenet10" else []
    told = machine("fit", source, "--preset", "paper", "-k", 3, "--root", "data", "--run-dir", "r", *small)
    about = json.loads((tmp_path / "r" / "config.json").read_text())["config"]
    assert told["status"] == "completed" and told["n_images"] == 10
    assert (about["backbone"], about["schedule"], about["balance_weight"], about["lr"]) == (
        "resnet34",
        "constant",
        0.0,
        3e-4,
    )
    started = json.loads((tmp_path / "r" / "events.jsonl").read_text().splitlines()[0])
    assert started["steps_per_epoch"] == (2 if source == "stl10" else 1), "STL-10 has a step of unlabelled images first"
    if source == "stl10":
        told = machine("fit", source, "--no-extra", "-k", 3, "--root", "data", "--run-dir", "r2", *small)
        assert json.loads((tmp_path / "r2" / "events.jsonl").read_text().splitlines()[0])["steps_per_epoch"] == 1
