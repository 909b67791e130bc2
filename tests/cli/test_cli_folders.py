"A folder of images from fit to sorted copies: broken files, labels, places for the copies, and resuming."

import csv
import os
import shutil
from pathlib import Path

import pytest
from command import TINY, dcacn, folder_of_images, machine

ONE = ("--seeds", 0, "--methods", "kmeans", "--set", "batch_size=8", *TINY)  # the quickest grid


@pytest.fixture(scope="module")
def sorted_run(tmp_path_factory):
    "A run on a folder with a broken file, and its copies sorted by cluster: root, images, result."
    root = tmp_path_factory.mktemp("sorted_run")
    images = folder_of_images(root / "pics")
    (images / "dark" / "broken.png").write_bytes(b"no image")
    line = ("fit", images, "--epochs", 1, "--run-dir", root / "r", "--on-error", "skip", *TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        patch.setenv("DCACN_CACHE", str(root / "cache"))  # it holds the key by which a user knows own runs
        return root, images, machine(*line, "--sort-into", root / "sorted")


def table(path):
    "The rows of a CSV file."
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_broken_files_stop_or_are_skipped(sorted_run, monkeypatch):
    "One choice for every command that reads images."
    root, images, result = sorted_run
    monkeypatch.setenv("DCACN_CACHE", str(root / "cache"))
    run = root / "r"
    assert result["unreadable"] == str(run / "unreadable.csv")
    assert f"1 of 17 files could not be read: listed in {run}" in dcacn("resume", run).stdout
    for line in (
        ["fit", images, *TINY],
        ["compare", images],
        ["ablate", images],
        ["evaluate", run, "--source", images],
    ):
        error = dcacn(*line, code=2).stderr
        assert "broken.png" in error and "--on-error skip" in error, line
    assert [Path(row["path"]).name for row in table(run / "unreadable.csv")] == ["broken.png"]
    assert machine("evaluate", run)["n_images"] == 16, "broken files are skipped as in training"
    assert "broken.png" in dcacn("evaluate", run, "--on-error", "raise", code=2).stderr
    assert machine("evaluate", run, "--source", images, "--on-error", "skip")["n_images"] == 16
    said = dcacn("compare", images, "--on-error", "skip", "--folder", "grid", *ONE).stdout
    assert "1 of 17 files could not be read: listed in grid/unreadable.csv" in said.replace(os.sep, "/")
    assert [Path(row["path"]).name for row in table("grid/unreadable.csv")] == ["broken.png"]
    assert machine("compare", images, "--on-error", "skip", "--folder", "grid", *ONE)["runs"][0]["acc"] > 0.5


def test_copies_are_sorted_by_cluster(sorted_run):
    root, _, result = sorted_run
    rows = table(result["clusters"])
    assert len(rows) == 16 and all(os.path.exists(row["path"]) and 0.5 <= float(row["confidence"]) <= 1 for row in rows)
    placed = {(path.parent.name, path.read_bytes()) for path in (root / "sorted").glob("cluster_*/*.png")}
    assert placed == {(f"cluster_{row['cluster']}", Path(row["path"]).read_bytes()) for row in rows}
    assert len(placed) == 16


def test_images_trained_on_get_their_clusters_again(sorted_run, monkeypatch):
    root, _, result = sorted_run
    monkeypatch.chdir(root)
    line = ("predict", "r", "pics", "--on-error", "skip", "-o", root / "again.csv")
    assert f"1 of 17 files could not be read: listed in {root / 'again_unreadable.csv'}" in dcacn(*line).stdout
    assert [Path(row["path"]).name for row in table(root / "again_unreadable.csv")] == ["broken.png"]
    assert "again.csv exists already" in dcacn(*line, code=2).stderr
    names = ("path", "cluster")
    again, rows = table(root / "again.csv"), table(result["clusters"])
    assert [[row[name] for name in names] for row in again] == [[row[name] for name in names] for row in rows], (
        "whole paths, as fit writes them"
    )


@pytest.mark.parametrize(
    "place, message",
    [
        ("sorted", "exists already"),
        ("pics/dark/sorted", "among the images"),
        ("new", "the run's own folder"),
        ("file/x", "is not a folder that can be written to"),
    ],
)
def test_places_for_copies_are_refused(place, message):
    "Before anything is trained."
    folder_of_images(Path("pics"))
    Path("file").touch()
    Path("sorted").mkdir()
    assert message in dcacn("fit", "pics", "--sort-into", place, "--run-dir", "new", *TINY, code=2).stderr
    assert not Path("new").exists()


def test_copies_are_made_again_or_elsewhere(sorted_run, monkeypatch):
    "A place that exists is refused with the command that sorts into another one."
    root, _, _ = sorted_run
    monkeypatch.chdir(root)
    monkeypatch.setenv("DCACN_CACHE", str(root / "cache"))
    error = dcacn("resume", "r").stderr
    assert "sorted: exists already; to another place: dcacn resume r --sort-into NEW" in error
    copies = {path.relative_to("sorted") for path in Path("sorted").rglob("*.png")}
    shutil.rmtree("sorted")
    for more in ([], ["--sort-into", "other"]):  # as asked for at the start; elsewhere
        place = Path(machine("resume", "r", *more)["sorted"])
        assert place.name == (more or ["sorted"])[-1]
        assert {path.relative_to(place) for path in place.rglob("*.png")} == copies and len(copies) == 16


def test_unlabelled_folder(tmp_path):
    images = folder_of_images(tmp_path / "pics") / "dark"
    assert "give the number of clusters, e.g. -k 10" in dcacn("fit", images, *TINY, code=2).stderr
    result = dcacn("fit", images, "-k", 2, "--epochs", 1, *TINY)
    assert "8 images in 2 clusters" in result.stdout and "ACC" not in result.stdout
    unlabelled = dcacn("compare", images, "-k", 2, "--folder", "grid", *ONE).stdout
    assert "view information" in unlabelled and "No labels, so no scores" in unlabelled and "ACC" not in unlabelled
