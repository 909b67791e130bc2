"`dcacn duplicates`: by bytes alone, by features, as a table; nothing is deleted, nothing replaced."

import csv
import shutil

import numpy as np
import pytest
from command import dcacn, folder_of_images, machine

from dcacn_nb.data.feature_set import FeatureSet, save_features


@pytest.fixture
def photos(tmp_path):
    "Sixteen images, one of them twice, and features in which two others are close to one another."
    folder = folder_of_images(tmp_path / "photos")
    shutil.copy(folder / "dark" / "1.png", folder / "light" / "again.png")
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    rows = np.random.default_rng(0).standard_normal((17, 32))
    rows[16] = rows[1]  # light/again.png, dark/1.png
    rows[12] = rows[3] + 0.05 * rows[5]  # dark/3.png and light/4.png
    save_features(FeatureSet(rows, paths=paths), tmp_path / "features.npz")
    return paths


def test_the_same_bytes(photos):
    answer = machine("duplicates", "photos", "--exact")
    assert [(group["keep"], group["copies"], group["exact"]) for group in answer["groups"]] == [(1, [16], [True])]
    assert answer["threshold"] is None and answer["groups"][0]["path"] == photos[1] and answer["bytes"] > 0


def test_features_a_table_and_words(photos, tmp_path):
    "Images close to each other count too; the table names the one to keep; all files are still there."
    shown = dcacn("duplicates", "features.npz", "-o", "copies.csv").stdout
    assert "2 copies of 2 images" in shown and "a cosine of at least 0.9" in shown and "light/again.png" in shown
    with open("copies.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    kept = [row["path"] for row in rows if row["keep"] == "yes"]
    gone = [(row["path"], row["exact"]) for row in rows if row["keep"] == "no"]
    assert len(rows) == 4 and photos[1] in kept and (photos[16], "yes") in gone
    assert {photos[3], photos[12]} <= {row["path"] for row in rows}
    assert sorted(str(path) for path in (tmp_path / "photos").rglob("*.png")) == photos
    assert len(machine("duplicates", "features.npz", "--threshold", 1.0)["groups"]) == 1


def test_copies_of_one_image_stand_below_each_other(tmp_path):
    rows = np.eye(6, 4, dtype=np.float32)[[0, 0, 0, 1, 2, 3]]
    np.savez("rows.npz", features=rows)
    shown = dcacn("duplicates", "rows.npz").stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert "2 copies of 1 image" in shown and [row[1] for row in cells] == ["1", "2"], shown


def test_files_that_are_gone(photos, tmp_path):
    "Features alone are compared, and that is said."
    shutil.rmtree("photos")
    shown = dcacn("duplicates", "features.npz").stdout
    assert "compared by their features alone" in shown and "2 copies of 2 images" in shown


def test_bad_input(photos):
    for args, message in [
        (["features.npz", "-o", "x.txt"], "must end in .csv"),
        (["features.npz", "-o", "features.npz"], "must end in .csv"),
        (["photos", "--exact", "--threshold", 0.9], "leave one out"),
        (["features.npz", "--threshold", 2], "'--threshold': Input should be less than or equal to 1"),
        (["nowhere"], "neither a run"),
    ]:
        assert message in dcacn("duplicates", *args, code=2).stderr
    dcacn("duplicates", "features.npz", "-o", "x.csv")
    assert "x.csv exists already" in dcacn("duplicates", "features.npz", "-o", "x.csv", code=2).stderr
    np.save("f.npy", np.eye(4, dtype=np.float32))
    assert "the images of f.npy are none" in dcacn("duplicates", "f.npy", "--exact", code=2).stderr


def test_what_is_not_compared_byte_by_byte_is_said(photos, tmp_path, caplog, monkeypatch):
    "Files that are left out, and a file that cannot be opened."
    from dcacn_nb.cli import duplicates

    def closed(path, *mode):
        if path == photos[1]:
            raise PermissionError(13, "Permission denied", path)
        return open(path, *mode)

    (tmp_path / "photos" / "notes.txt").write_text("x")
    monkeypatch.setattr(duplicates, "open", closed, raising=False)
    error = dcacn("duplicates", "photos", "--exact", code=2).stderr
    assert "dark/1.png (PermissionError" in error and "pass --on-error skip" in error
    shown = dcacn("duplicates", "photos", "--exact", "--on-error", "skip").stdout
    assert "No duplicates" in shown and "1 of 17 files could not be read" in shown
    assert "1 file left out (.txt 1)" in caplog.text
    assert list(machine("duplicates", "photos", "--exact", "--on-error", "skip")["skipped"]) == ["dark/1.png"]


def test_images_inside_other_files_have_no_bytes_to_compare(tmp_path):
    datasets = pytest.importorskip("datasets")
    images = [
        {"bytes": path.read_bytes(), "path": None} for path in sorted(folder_of_images(tmp_path / "p").rglob("*.png"))
    ]
    kinds = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": images[:2] * 2}, features=kinds).save_to_disk(tmp_path / "saved")
    assert "the images of saved are inside other files" in dcacn("duplicates", "saved", "--exact", code=2).stderr
