"`dcacn export`: a run's clusters after edits by hand, in every form."

import csv
import json
import os

import pytest
from command import TINY, dcacn, folder_of_images, machine

from dcacn_nb.clusters.groups import Grouping, GroupingFile


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A run on sixteen files; its clusters, and the file of each image."
    root = tmp_path_factory.mktemp("export")
    folder_of_images(root / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        options = ["--encoder", "none", "--epochs", 1, "--batch-size", 8, "--run-dir", root / "run"]
        dcacn("fit", root / "photos", "-k", 2, *options, *TINY)
    return root / "run"


def rows_of(path):
    "A CSV file as dictionaries."
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def edited(run):
    "Image 0 in a new group called `odd one`; the file is removed at the end."
    before = rows_of(run / "clusters.csv")
    grouping, file = Grouping(2), GroupingFile(run)
    file.read(2)
    new = grouping.split([0], [int(before[0]["cluster"])], "odd one")
    file.write(grouping)
    yield before, new
    os.remove(run / "clusters.json")


@pytest.mark.slow
def test_a_table_with_the_edits(run, edited):
    before, new = edited
    answer = machine("export", run, "out.csv")
    rows = rows_of("out.csv")
    assert [row["path"] for row in rows] == [row["path"] for row in before] and answer["n_images"] == 16
    assert rows[0]["group"] == str(new) and rows[0]["name"] == "odd one" and rows[0]["cluster"] == before[0]["cluster"]
    assert all(row["group"] == row["cluster"] == old["cluster"] for row, old in zip(rows[1:], before[1:]))
    assert "exists already" in dcacn("export", run, "out.csv", code=2).stderr


@pytest.mark.slow
def test_folders_and_tasks(run, edited, tmp_path):
    before, new = edited
    dcacn("export", run, "links", "--to", "links")
    assert (tmp_path / "links" / "cluster_02_odd one").is_dir() and len(rows_of("links/clusters.csv")) == 16
    files = list((tmp_path / "links").rglob("*.png"))
    assert len(files) == 16 and all(path.is_symlink() for path in files)
    assert sorted(os.path.realpath(path) for path in files) == sorted(row["path"] for row in before)
    shown = dcacn("export", run, "tasks.json", "--to", "label-studio").stdout
    assert (
        "16 images" in shown and "tasks.xml" in shown and len(json.loads((tmp_path / "tasks.json").read_text())) == 16
    )
    dcacn("export", run, "one", "--to", "copies", "--only", "odd one")
    assert [path.name for path in (tmp_path / "one").rglob("*.png")] == [os.path.basename(before[0]["path"])]
    assert "--only 7 is no cluster" in dcacn("export", run, "two", "--to", "copies", "--only", 7, code=2).stderr


@pytest.mark.slow
def test_without_a_table_the_network_is_asked(run, finished):
    "A run whose clusters.csv is gone; a run on images that are not files has no paths."
    kept = (run / "clusters.csv").rename(run / "kept.csv")
    dcacn("export", run, "again.csv")
    kept.rename(run / "clusters.csv")
    again = rows_of("again.csv")
    assert [(row["path"], row["cluster"]) for row in again] == [
        (row["path"], row["cluster"]) for row in rows_of(run / "clusters.csv")
    ]
    dcacn("export", finished, "digits.csv")
    assert len(rows_of("digits.csv")) == 40 and "path" not in rows_of("digits.csv")[0]
    assert "column 'path'" in dcacn("export", finished, "x", "--to", "links", code=2).stderr


@pytest.mark.slow
def test_images_that_have_moved_are_named(run):
    "For export without its table, similar images and duplicates; other sources of the command have no such option."
    photos = run.parent / "photos"
    moved = photos.rename(run.parent / "moved")
    try:
        for line in (("similar", run, 0), ("duplicates", run), ("export", run, "new.csv", "--source", photos)):
            assert "photos" in dcacn(*line, code=2).stderr, line
        for line in (("similar", run, "dark/0.png"), ("duplicates", run, "--exact"), ("export", run, "new.csv")):
            machine(*line, "--source", moved)
        rows = rows_of("new.csv")
        assert {os.path.dirname(row["path"]) for row in rows} == {str(moved / "dark"), str(moved / "light")}
        assert [row["cluster"] for row in rows] == [row["cluster"] for row in rows_of(run / "clusters.csv")]
        assert "is no run" in dcacn("similar", moved, 0, "--source", moved, code=2).stderr
    finally:
        moved.rename(photos)


def test_bad_input(tmp_path):
    assert "holds no run" in dcacn("export", tmp_path, "x.csv", code=2).stderr


def test_a_network_and_its_card(finished):
    "By the ending of the file; what belongs to clusters is refused."
    result = machine("export", finished, "model.onnx")
    assert result["images"] == [1, 8, 8] and result["difference"] < 1e-4
    with open(result["card"], encoding="utf-8") as file:
        assert file.read().startswith("# model.onnx")
    assert "exists already" in dcacn("export", finished, "model.onnx", code=2).stderr
    for line, message in (
        (("other.onnx", "--only", "1"), "--only is for clusters"),
        (
            ("other",),
            "other must end in .csv for a table, .onnx or .pt2 for the network, .json with --to label-studio;",
        ),
        (("other.json",), "--to links or --to copies makes a folder"),
        (("other.onnx", "--to", "pt2"), "must end in .pt2 for --to pt2"),
        (("other", "--to", "onnx"), "must end in .onnx for --to onnx"),
        (("other.csv", "--which", "best"), "--which is for networks"),
        (("model.md", "--to", "onnx"), "exists already"),
    ):
        assert message in dcacn("export", finished, *line, code=2).stderr


@pytest.fixture
def table(run):
    "The lines of clusters.csv; the file is put back at the end."
    file = run / "clusters.csv"
    kept = file.read_bytes()
    yield kept.decode("utf-8-sig").splitlines()
    file.write_bytes(kept)


@pytest.mark.slow
def test_what_a_spreadsheet_adds_does_not_move_the_columns(run, table):
    dcacn("export", run, "before.csv")
    (run / "clusters.csv").write_text("\n".join([table[0], *(f"{line}," for line in table[1:])]), "utf-8")
    dcacn("export", run, "after.csv")
    assert rows_of("after.csv") == rows_of("before.csv")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda lines: lines[:1], "lists no image"),
        (lambda lines: [lines[0], lines[1].rpartition(",")[0]], "image 1 must have"),
        (lambda lines: [*lines[:2], f"{lines[2]},7"], "image 2 must have"),
        (
            lambda lines: [lines[0], changed(lines, cluster="2")],
            "cluster of image 1 must be a whole number from 0 to 1",
        ),
        (lambda lines: [lines[0], changed(lines, cluster="9" * 30)], "cluster of image 1 must be"),
        (lambda lines: [lines[0], changed(lines, cluster="0.5")], "cluster of image 1 must be"),
        (lambda lines: [lines[0], changed(lines, confidence="nan")], "confidence of image 1 must be a number"),
        (lambda lines: ["cluster,confidence", "0,1"], "must have the columns path"),
        (lambda lines: [f"index,{lines[0]}", f"5,{lines[1]}", f"5,{lines[2]}"], "index must not repeat"),
    ],
)
def test_a_damaged_table_is_named(run, table, change, message):
    (run / "clusters.csv").write_text("\n".join(change(table)), "utf-8")
    stderr = dcacn("export", run, "out.csv", code=2).stderr
    assert "clusters.csv" in stderr and message in " ".join(stderr.split())


def changed(lines, **values):
    "The first row with other values."
    row = dict(zip(lines[0].split(","), lines[1].split(","))) | values
    return ",".join(row.values())


@pytest.mark.slow
def test_a_table_of_some_of_the_images_says_so(run, table):
    (run / "clusters.csv").write_text("\n".join(table[:4]), "utf-8")
    assert "3 of the 16 images of the run are listed" in " ".join(dcacn("export", run, "out.csv").stderr.split())
