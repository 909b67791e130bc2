"evaluate, predict and report: what a trained network is used for."

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command import TINY, dcacn, folder_of_images, machine
from PIL import Image
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def test_evaluate(finished):
    result = machine("evaluate", finished)
    lines = [line for line in (finished / "events.jsonl").read_text().splitlines() if '"Evaluated"' in line]
    assert result["scores"] == pytest.approx(json.loads(lines[-1])["scores"], abs=1e-9) and result["n_images"] == 40
    assert machine("evaluate", finished, "--which", "best")["which"] == "best"
    other = folder_of_images(finished.parent / "other")
    assert machine("evaluate", finished, "--source", other)["n_images"] == 16
    assert "ACC" in dcacn("evaluate", finished).stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    "A folder of dark and light images, and a run on it."
    root = tmp_path_factory.mktemp("photos")
    images = folder_of_images(root / "pictures", size=16)
    more = "--epochs 4 --batch-size 8 --set lr=0.01 --set jitter=0 --set eval_every=4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        dcacn("fit", images, "--run-dir", root / "run", *TINY, *more.split())
    return images, root / "run"


def test_predict_and_evaluate_against_scikit_learn(photos):
    "ARI and NMI of the CSV file and the folders' names; the wrong variant, clusters that slipped by a row, is caught."
    images, run = photos
    dcacn("predict", run, images, "-o", "new.csv")
    scores = machine("evaluate", run)["scores"]
    rows = [line.rsplit(",", 2) for line in Path("new.csv").read_text().splitlines()[1:]]
    kinds, clusters = [Path(path).parent.name for path, _, _ in rows], [int(cluster) for _, cluster, _ in rows]
    assert np.isclose(scores["ari"], adjusted_rand_score(kinds, clusters))
    assert np.isclose(scores["nmi"], normalized_mutual_info_score(kinds, clusters))
    assert len(set(clusters)) == 2 and adjusted_rand_score(kinds, np.roll(clusters, 1)) != scores["ari"]


def test_predict_new_images(photos):
    "A file name with a comma; other sizes and colours are fitted to the network."
    _, run = photos
    new = Path("new")
    new.mkdir()
    Image.new("RGB", (20, 30), "white").save(new / "a, b.png")
    assert machine("predict", run, new, "-o", "out.csv")["n_images"] == 1
    with open("out.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"].endswith("a, b.png") and row["cluster"] in "01"


def test_predict_refuses_to_overwrite(photos):
    images, run = photos
    Path("clusters.csv").write_text("mine")
    assert "give another file, or --overwrite" in dcacn("predict", run, images, code=2).stderr
    assert Path("clusters.csv").read_text() == "mine"
    dcacn("predict", run, images, "--overwrite")
    assert Path("clusters.csv").read_text().startswith("path,cluster,confidence")
    for place, message in [
        (images, "is a folder; give the CSV file to write"),
        (run / "config.json" / "x.csv", "cannot be written"),
    ]:
        assert message in dcacn("predict", run, images, "-o", place, code=2).stderr


def test_predict_replaces_no_picture(photos):
    "Whatever --overwrite says: neither an image of the folder nor the image itself, which may have any name."
    images, run = photos
    image = images / "dark" / "0.png"
    before = image.read_bytes()
    assert "must end in .csv" in dcacn("predict", run, images, "-o", image, "--overwrite", code=2).stderr
    odd = Path("odd.csv")
    odd.write_bytes(before)
    assert "is the image to assign" in dcacn("predict", run, odd, "-o", odd, "--overwrite", code=2).stderr
    assert image.read_bytes() == odd.read_bytes() == before


def test_report(finished):
    result = machine("report", finished)
    assert result["run_dir"] == str(finished) and result["reports"] == [str(finished / "report.html")]
    assert result["diagnosis"] and all(len(line) > 20 for line in result["diagnosis"])
    assert (finished / "report.html").read_text().startswith("<!DOCTYPE html>")
    (finished / "report of mine.txt").write_text("notes")  # not a report of ours
    lines = dcacn("report", finished).stdout.splitlines()
    (finished / "report of mine.txt").unlink()
    assert [line for line in lines if "eport" in line] == [f"Report: {finished / 'report.html'}"], (
        "the report is named once"
    )


def test_predict_features(photos, tmp_path):
    "Of a run on features the rows have numbers; a run on images refuses them, and names no option that nobody gave."
    rows = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    np.savez("rows.npz", features=rows)
    dcacn("fit", "rows.npz", "-k", 2, "--epochs", 1, "--run-dir", "heads", "--set", "device=cpu")
    dcacn("predict", "heads", "rows.npz", "-o", "heads.csv")
    with open("heads.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(i) for i in range(16)]
    np.savez("one.npz", features=rows[:1])
    assert "0 belongs to cluster" in dcacn("predict", "heads", "one.npz", "-o", "one.csv").stdout
    error = dcacn("predict", photos[1], "rows.npz", "-o", "x.csv", code=2).stderr
    assert "must be images, like those trained on, got features" in error and "image_size" not in error
