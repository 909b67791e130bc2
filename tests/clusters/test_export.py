"Clusters as files: tables, copies, links, Label Studio; nothing is replaced, nothing lost, nothing half done."

import csv
import errno
import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from dcacn_nb.clusters.export import (
    export_clusters,
    flat_folders,
    flat_names,
    label_studio_tasks,
    sort_images,
    write_label_studio,
)

NAMES = ["a/1.jpg", "b/1.JPG", "b/deep/1.jpg", "b/2 ü&?.png", "c/a__1.jpg"]


@pytest.fixture
def photos(tmp_path):
    "Five files below photos/, three of one name, each with its own content."
    for name in NAMES:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(name.encode())
    return [str(tmp_path / "photos" / name) for name in NAMES]


@pytest.fixture
def table(photos):
    "Their clusters after edits by hand: group 0 has no name, group 12 a hostile one."
    return pd.DataFrame(
        {
            "index": range(5),
            "path": photos,
            "cluster": [0, 0, 0, 1, 0],
            "group": [0, 0, 0, 12, 0],
            "name": ["", "", "", '<b>"cats"</b> & co', ""],
            "confidence": [0.9, 0.8, 0.7, 0.6, 0.51234567],
        }
    )


def contents(folder):
    "Relative name -> content of every file of a folder."
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["copy", "link", "hardlink"])
def test_sorted_images_lie_flat_under_names_of_their_own(photos, tmp_path, how):
    assert sort_images(photos, [0, 0, 1, 1, 2], tmp_path / "new" / "sorted", how) == tmp_path / "new" / "sorted"
    names = ["a__1.jpg", "b__1.JPG", "1.jpg", "2 ü&?.png", "a__1.jpg"]
    places = [f"cluster_{cluster}/{name}" for cluster, name in zip([0, 0, 1, 1, 2], names)]
    assert contents(tmp_path / "new" / "sorted") == {place: name.encode() for place, name in zip(places, NAMES)}
    first = tmp_path / "new" / "sorted" / places[0]
    assert first.is_symlink() == (how == "link") and (first.stat().st_ino == os.stat(photos[0]).st_ino) == (
        how != "copy"
    )


@pytest.mark.parametrize("to", ["links", "copies"])
def test_flat_folders_lose_no_file(table, photos, tmp_path, to):
    "Files of the same name get their folders in front; a name taken by such a one gets a number; the table knows all."
    assert export_clusters(table, to, tmp_path / "out") == tmp_path / "out"
    folder, other = "cluster_00", "cluster_12__b__cats___b_ & co"
    expected = dict(zip([f"{folder}/a__1.jpg", f"{folder}/b__1.JPG", f"{folder}/b__deep__1.jpg"], NAMES))
    expected |= {f"{other}/2 ü&?.png": NAMES[3], f"{folder}/a__1_2.jpg": NAMES[4]}
    found = contents(tmp_path / "out")
    with open(tmp_path / "out" / "clusters.csv", newline="", encoding="utf-8-sig") as file:
        listed = {row["file"]: row["path"] for row in csv.DictReader(file)}
    found.pop("clusters.csv")
    assert found == {place: name.encode() for place, name in expected.items()}
    assert listed == {place: photos[NAMES.index(name)] for place, name in expected.items()}
    assert (tmp_path / "out" / folder / "a__1.jpg").is_symlink() == (to == "links")


def test_names_in_one_folder_differ_whatever_they_are():
    "Also where case is ignored, and where a name is longer than a file system takes."
    long = "x" * 250
    paths = ["/p/a/N.png", "/p/b/n.png", "/p/c/b__n.png", "/p/c/B__N.png", f"/p/a/{long}.png", f"/p/b/{long}.png"]
    names = flat_names(paths)
    assert names[:2] == ["a__N.png", "b__n.png"] and len({name.casefold() for name in names}) == 6
    assert all(len(name.encode()) <= 255 and name.lower().endswith(".png") for name in names)
    naive = ["__".join(Path(path).relative_to("/p").parts[-1:]) for path in paths]
    assert len({name.casefold() for name in naive}) < 6


def test_long_names_are_cut_between_characters():
    "And only where they are longer than a file system takes, whatever follows the last dot."
    for name in ("照" * 83 + ".jpg", "x" * 251 + ".jpg", "a." + "照" * 80):
        assert flat_names([f"/p/{name}"]) == [name]
    assert flat_names([f"/p/a/{'照' * 83}.jpg", f"/p/b/{'照' * 83}.jpg"]) == [f"{n}__{'照' * 82}.jpg" for n in "ab"]


def test_tasks_for_label_studio(table, photos, tmp_path):
    "As its documentation wants pre-annotated tasks: data, and predictions that name the interface's own tags."
    assert write_label_studio(table, tmp_path / "tasks.json") == tmp_path / "tasks.json"
    tasks = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    view = ElementTree.parse(tmp_path / "tasks.xml").getroot()
    image, choices = view.find("Image"), view.find("Choices")
    assert len(tasks) == 5 and view.tag == "View" and image.get("value") == "$image"
    assert choices.get("toName") == image.get("name")
    assert [choice.get("value") for choice in choices] == ["cluster 0", '<b>"cats"</b> & co']
    for task, path, group, confidence in zip(tasks, photos, table["group"], table["confidence"]):
        url = urlsplit(task["data"]["image"])
        assert url.path == "/data/local-files/" and parse_qs(url.query)["d"] == [os.path.relpath(path, tmp_path)]
        [prediction] = task["predictions"]
        [result] = prediction["result"]
        assert prediction["score"] == pytest.approx(confidence, abs=1e-6) and result["type"] == "choices"
        assert (result["from_name"], result["to_name"]) == (choices.get("name"), image.get("name"))
        assert result["value"] == {"choices": [choices[int(group > 0)].get("value")]}
    assert len({task["predictions"][0]["result"][0]["id"] for task in tasks}) == 5
    with pytest.raises(ValueError, match="root must be a folder above all images"):
        label_studio_tasks(table, tmp_path / "photos" / "a")


def test_a_selection_and_a_table(table, tmp_path):
    export_clusters(table.iloc[[3]], "copies", tmp_path / "one")
    assert len(contents(tmp_path / "one")) == 2
    export_clusters(table.drop(columns="path"), "csv", tmp_path / "all.csv")
    assert pd.read_csv(tmp_path / "all.csv")["group"].tolist() == table["group"].tolist()


@pytest.mark.parametrize("to, name", [("csv", "t.csv"), ("links", "t"), ("copies", "t"), ("label-studio", "t.json")])
def test_nothing_is_replaced(table, tmp_path, to, name):
    "Neither a file nor a folder, nor a link that leads nowhere; for Label Studio neither of its two files."
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="exists already; give a new place"):
        export_clusters(table, to, tmp_path / name)
    if to == "label-studio":
        (tmp_path / name).unlink()
        (tmp_path / "t.xml").write_text("mine")
        with pytest.raises(FileExistsError):
            export_clusters(table, to, tmp_path / name)
        assert not (tmp_path / name).exists() and (tmp_path / "t.xml").read_text() == "mine"


def test_a_full_disk_leaves_nothing(table, photos, tmp_path):
    full = mock.Mock(side_effect=[None, None, OSError(errno.ENOSPC, "No space left on device")])
    before = sorted(tmp_path.iterdir())
    for function, args in (
        (flat_folders, (table, tmp_path / "x", "copy")),
        (sort_images, (photos, [0] * 5, tmp_path / "x")),
    ):
        full.side_effect = [None, None, OSError(errno.ENOSPC, "No space left on device")]
        with mock.patch("shutil.copy2", full), pytest.raises(OSError, match="No space"):
            function(*args)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "change, to, target, error, message",
    [
        ({}, "zip", "x", ValueError, "did you mean|must be one of"),
        ({}, "csv", "x.txt", ValueError, "must end in .csv"),
        ({}, "label-studio", "x.txt", ValueError, "must end in .json"),
        ({"drop": "path"}, "links", "x", ValueError, "column 'path'"),
        ({"rows": 0}, "links", "x", ValueError, "at least one image"),
        ({"gone": True}, "copies", "x", FileNotFoundError, r"is gone \(1 of 5 images are\)"),
    ],
)
def test_bad_input(table, tmp_path, change, to, target, error, message):
    table = table.drop(columns=change["drop"]) if "drop" in change else table.iloc[: change.get("rows", 5)]
    if "gone" in change:
        os.remove(table["path"][2])
    with pytest.raises(error, match=message):
        export_clusters(table, to, tmp_path / target)
    assert not (tmp_path / target).exists()


def test_what_a_killed_process_left_is_removed_and_what_another_fills_stays(photos, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    left, filled, other = (tmp_path / name for name in ("sorted-abcd1234.part", "sorted-x_yz5678.part", "notes.part"))
    for folder in (left, filled, other):
        (folder / "all" / "cluster_0").mkdir(parents=True)
    held = os.open(filled, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    (tmp_path / "sorted-linked00.part").symlink_to(tmp_path / "photos")
    mine = [tmp_path / name for name in ("sorted-20240131.part", "sorted-20240201.part", "sorted-ABCD1234.part")]
    for folder, inside in zip(mine, ("a.jpg", "all/a.jpg", "all/cluster_0/a.jpg")):
        (folder / inside).parent.mkdir(parents=True)
        (folder / inside).write_bytes(b"mine")
    sort_images(photos, [0, 0, 1, 1, 0], tmp_path / "sorted")
    os.close(held)
    assert [len(contents(folder)) for folder in mine] == [1, 1, 1], "of other people"
    assert not left.exists() and filled.exists() and other.exists() and all(map(os.path.exists, photos))
    assert len(list((tmp_path / "sorted").rglob("*.*"))) == 5
