"compare and ablate: the tables they write are those of the functions, and whose figures are quoted beside them."

import importlib.util
import math
import re
import shutil

import joblib
import pandas as pd
import pytest
from command import dcacn, fake_cifar10, folder_of_images, machine

from dcacn_nb.cli.grids import _present
from dcacn_nb.compare.grid import collect
from dcacn_nb.compare.tables import SCORES

NAMES = ("width=2", "n_local=1", "projection_dim=4", "batch_size=40", "snapshot_every=0", "epochs=2", "device=cpu")
SMALL = [part for setting in NAMES for part in ("--set", setting)]
ONE = ("--methods", "kmeans", "--seeds", "0")


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    "Two methods, two seeds: the folder, and the command line."
    folder = tmp_path_factory.mktemp("compared") / "grid"
    line = ["compare", "digits", "--limit", 80, "--methods", "kmeans,dcacn", "--seeds", "0-1", "--folder", folder]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        dcacn(*line, *SMALL)
    return folder, [*line, *SMALL]


def test_the_second_call_finds_everything_done(grid):
    folder, line = grid
    result = dcacn(*line)
    assert "4 runs in" in result.stdout and "4 of them done; budget: 2 epochs" in result.stdout
    assert "Best first; mean ± standard deviation over seeds" in result.stdout and "1/4" not in result.stderr
    again = machine(*line)
    assert len(again["runs"]) == 4 and {run["method"] for run in again["runs"]} == {"kmeans", "dcacn"}
    files = ["runs.csv", "summary.csv", "table.md", "table.tex", "differences.csv", "comparison.png", "differences.png"]
    assert again["files"] == [str(folder / name) for name in files] and all((folder / name).exists() for name in files)


def test_the_table_is_that_of_the_functions(grid):
    folder, _ = grid
    names = ["method", "seed", "acc", "passes"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "runs.csv")[names], collect(folder)[names])


def test_another_budget_in_the_same_folder_is_refused(grid):
    "Its rows could not be compared."
    _, line = grid
    result = dcacn(*line, "--set", "epochs=3", code=2)
    assert "holds another grid" in result.stderr and "'2 epochs' there, '3 epochs' now" in result.stderr


def test_ablation_of_one_factor():
    line = ("ablate", "digits", "--limit", 80, "--factors", "balance", "--seeds", "0", "--folder", "balance", *SMALL)
    result = machine(*line)
    assert [run["setting"] for run in result["runs"]] == ["balance x 2", "default", "no balance term"]
    out = dcacn(*line).stdout
    assert "balance x 2" in out and "nan" not in out, "one seed has no spread"
    with open("balance/table.md", encoding="utf-8") as file:
        text = file.read()
    assert "quoted" not in text and "80" in text


def test_a_budget_of_images():
    "K-Means is fitted once under any budget, and DCACN is the reference itself: neither gets more epochs."
    line = ("compare", "digits", "--limit", 80, "--methods", "kmeans,dcacn", "--seeds", "0", "--folder", "images")
    result = machine(*line, "--budget", "images", *SMALL)
    assert {run["method"]: run["epochs"] for run in result["runs"]} == {"dcacn": 2, "kmeans": 1}


def test_the_paper_is_quoted_for_its_own_images_alone(tmp_path, monkeypatch):
    "Not beside your own photos or digits, unless asked for; beside CIFAR-10, its CIFAR-10 figures."
    fake_cifar10(tmp_path / "data", monkeypatch)
    images = folder_of_images(tmp_path / "cifar10 photos")
    tiny = [*SMALL, "--set", "batch_size=8", *ONE]
    for number, (source, more, quoted) in enumerate(
        [
            (images, (), None),
            ("cifar10", ("-k", 3), "CIFAR-10"),
            (images, ("--paper", "STL-10"), "STL-10"),
        ]
    ):
        machine("compare", source, *more, "--folder", f"g{number}", *tiny)
        with open(f"g{number}/table.md", encoding="utf-8") as file:
            text = file.read()
        assert ("paper" in text) == (quoted is not None)
        assert quoted is None or f"ACC, paper ({quoted})" in text and f"are quoted: {quoted}," in text


def test_the_ideas_that_the_command_names_are_those_that_there_are():
    "They are checked before the module that defines them is imported."
    from dcacn_nb.cli.grids import FACTORS as named
    from dcacn_nb.compare import FACTORS

    assert named.split(",") == list(FACTORS)


def test_how_far_a_grid_is(grid):
    "From its folder alone; the tables are made again."
    folder, _ = grid
    (folder / "table.md").unlink()
    result = machine("grid", folder)
    assert result["counts"] == {"finished": 4} and len(result["runs"]) == 4 and (folder / "table.md").exists()
    assert "4 of 4 runs finished" in dcacn("grid", folder).stdout
    assert "must hold a grid" in dcacn("grid", folder.parent, code=2).stderr


def made_up(seeds, methods=("dcacn", "kmeans")):
    "A table of runs, 0.0025 apart."
    rows = [
        {"method": method, "setting": "default", "seed": seed, **dict.fromkeys(SCORES, 0.9 - 0.0025 * number)}
        for number, method in enumerate(methods)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows).assign(protocol="toy", budget="2 epochs")


def test_intervals_are_named_where_there_are_some(tmp_path, capsys):
    "Few seeds have none, and a single row has no differences."
    note = {}
    for seeds, methods in ((3, ("dcacn", "kmeans")), (4, ("dcacn", "kmeans")), (4, ("dcacn",))):
        _present(made_up(seeds, methods), tmp_path, None)
        note[seeds, len(methods)] = capsys.readouterr().out
    assert "seed by seed: differences.csv" in note[3, 2]
    assert "seed by seed, with intervals: differences.csv" in note[4, 2]
    assert "Best first" in note[4, 1] and "ifferences" not in note[4, 1]


def test_without_labels_there_are_means_too(tmp_path, capsys):
    "One row for each method, the best first; each run is in runs.csv."
    table = made_up(2, ("kmeans", "ae", "dcacn")).assign(acc=math.nan, nmi=math.nan, ari=math.nan)
    table = table.assign(neighbour_information=math.nan, view_information=[0.5, 0.7, math.nan, math.nan, 0.8, 0.9])
    _present(table, tmp_path, None)
    out = capsys.readouterr().out
    rows = [re.sub(r"[│\s]+", " ", line).strip() for line in out.splitlines() if "default" in line]
    assert rows == ["dcacn default 2 0.850 ± 0.071", "kmeans default 2 0.600 ± 0.141", "ae default 2 –"]
    assert "view information" in out and "Best first" in out and "differences" not in out
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 6 and not (tmp_path / "summary.csv").exists()


def test_derived_figures_have_six_digits(tmp_path):
    "A difference of two floats has a tail of digits that mean nothing."
    _present(made_up(4), tmp_path, None)
    (row,) = pd.read_csv(tmp_path / "differences.csv", dtype=str).to_dict("records")
    assert row["difference"] == row["low"] == "-0.0025" and row["std"] == "0" and row["better"] == "0"
    assert pd.read_csv(tmp_path / "summary.csv", dtype=str).acc.tolist() == ["0.9", "0.8975"]


def test_an_unfinished_grid_warns_once_that_seeds_differ(grid, tmp_path, caplog):
    folder = shutil.copytree(grid[0], tmp_path / "copy")
    shutil.rmtree(folder / "kmeans/default/seed-1")
    dcacn("grid", folder)
    assert caplog.text.count("the means are of different seeds: ") == 1


@pytest.mark.parametrize(
    "options, message",
    [
        (("--jobs", 2), "--jobs is for --on joblib, got --on local"),
        (("--slurm", "timeout_min=5"), "--slurm is for --on slurm, got --on local"),
        (("--slurm", "timeout"), "--slurm timeout: write NAME=VALUE"),
        (("--no-wait", "--on", "joblib"), "--no-wait is for --on slurm, got --on joblib"),
        (("--on", "slurm"), "sbatch|submitit"),
        (("--on", "cloud"), "cloud"),
    ],
)
def test_engines_that_cannot_serve_are_refused(options, message, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for command in ("compare", "ablate"):
        assert re.search(message, dcacn(command, "digits", *options, code=2).stderr)


def test_slurm_without_its_library_is_bad_input(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "submitit" else found(name, *more)
    )
    stderr = dcacn("compare", "digits", "--on", "slurm", code=2).stderr
    assert "needs submitit" in stderr and "dcacn_nb[slurm]" in stderr


def test_runs_in_workers(monkeypatch):
    "The number of workers is the option's; here the workers are threads."
    seen = []
    true = joblib.parallel_config
    config = lambda backend, n_jobs: seen.append((backend, n_jobs)) or true("threading", n_jobs=n_jobs)
    monkeypatch.setattr(joblib, "parallel_config", config)
    line = ("compare", "digits", "--limit", 80, "--methods", "kmeans", "--seeds", "0-1", "--on", "joblib", "--jobs", 2)
    result = dcacn(*line, "--folder", "workers", *SMALL)
    assert seen == [("loky", 2)] and "2 of 2 runs finished" in result.stderr and "kmeans" in result.stdout
