"`dcacn fit FOLDER --encoder`: from photographs to sorted copies, and what cannot be."

import json

import numpy as np
import pytest
from command import dcacn, machine
from PIL import Image
from sklearn.datasets import load_sample_images

import dcacn_nb as dc

QUICK = ["--epochs", "2", "--set", "snapshot_every=0", "--device", "cpu"]


def photos(folder, each=8):
    "Parts of two photographs, one sub-folder for each."
    for name, photo in zip(("temple", "flower"), load_sample_images().images):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            y, x = np.random.default_rng(i).integers(0, (280, 480))
            Image.fromarray(photo[y : y + 140, x : x + 140]).save(folder / name / f"{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def sorted_photos(tmp_path_factory):
    "A run on features, from a folder to sorted copies."
    home = tmp_path_factory.mktemp("encoder")
    album = photos(home / "album")
    answer = machine("fit", album, "-k", 2, "--run-dir", home / "run", "--sort-into", home / "sorted", *QUICK)
    return home, album, answer


@pytest.mark.slow
def test_photographs_are_sorted_on_features(sorted_photos):
    "Without an option the encoder is taken, which is said and kept; every file is copied."
    home, _, answer = sorted_photos
    assert answer["status"] == "completed" and sum(answer["cluster_sizes"]) == 16
    about = json.loads((home / "run" / "config.json").read_text())
    assert about["encoder"]["name"] == "lite0" and about["options"]["features"] == 1280
    assert json.loads((home / "run" / "source.json").read_text())["encoder"] == "lite0"
    assert len(list((home / "sorted").rglob("*.jpg"))) == 16


@pytest.mark.slow
def test_new_photos_by_the_same_encoder(sorted_photos, tmp_path):
    "predict and evaluate read the encoder from the run, and give the training images their clusters."
    home, album, answer = sorted_photos
    dcacn("predict", home / "run", album, "-o", tmp_path / "new.csv")
    again = [line.split(",")[1] for line in (tmp_path / "new.csv").read_text().splitlines()]
    before = [line.split(",")[1] for line in (home / "run" / "clusters.csv").read_text().splitlines()]
    assert again == before
    assert machine("evaluate", home / "run")["scores"]["acc"] == pytest.approx(answer["scores"]["acc"])
    dcacn("report", home / "run")
    photo = next((album / "temple").iterdir())
    out = dcacn("predict", home / "run", photo, "-o", tmp_path / "one.csv")
    assert f"{photo.name} belongs to cluster " in out.stdout and "with a probability of" in out.stdout
    assert "clusters of sizes" not in out.stdout


@pytest.mark.slow
def test_photographs_are_compared_on_features(sorted_photos):
    "compare takes the encoder that fit would take, and says so; methods on images alone are compared on images."
    home, album, _ = sorted_photos
    line = ["compare", album, "--seeds", "0", "--folder"]
    out = dcacn(*line, home / "heads", "--methods", "kmeans")
    assert "Encoder lite0: 100% of a sample look like photographs" in out.stdout
    out = dcacn(*line, home / "more", "--methods", "kmeans,spherical_kmeans")
    assert "Encoder lite0: method 'spherical_kmeans' works on features" in out.stdout
    tiny = ["--image-size", 16, "--set", "width=2", "--set", "n_local=0", "--set", "epochs=1", "--set", "device=cpu"]
    assert "Encoder" not in dcacn(*line, home / "pixels", "--methods", "kmeans", *tiny).stdout


@pytest.mark.slow
def test_a_finished_run_resumes_to_the_same(sorted_photos):
    "resume embeds by the run's encoder, from the cache, and has nothing left to do."
    home, _, answer = sorted_photos
    assert machine("resume", home / "run")["scores"] == answer["scores"]


@pytest.mark.slow
def test_the_way_is_said(tmp_path):
    "One line names the encoder and the reason; from scratch it says so, too."
    album = photos(tmp_path / "album", each=4)
    out = dcacn("fit", album, "-k", 2, "--run-dir", tmp_path / "a", "--no-labels", *QUICK)
    assert "Encoder lite0: 100% of a sample look like photographs" in out.stdout
    tiny = ["--width", 2, "--image-size", 16, "--set", "n_local=0"]
    out = dcacn("fit", album, "-k", 2, "--run-dir", tmp_path / "b", *tiny, *QUICK)
    assert "Encoder" not in out.stdout
    assert json.loads((tmp_path / "b" / "config.json").read_text())["encoder"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, words",
    [
        (["--encoder", "lite9"], "did you mean"),
        (["--encoder", "lite0", "--width", "8"], "width is for training from scratch; leave it or --encoder out"),
        (["--encoder", "lite0", "--image-size", "32"], "image_size is for training from scratch"),
        (["--encoder", "lite0", "--method", "iic"], "method 'iic' works on images alone: leave the encoder out"),
        (["--encoder", "none", "--method", "temi"], "method 'temi' works on features alone: give an encoder"),
        (["--encoder", "no.onnx"], "no.onnx"),
        (["-k", "some"], "'some' is not a whole number, and not 'auto'"),
        (["-k", "auto", "--encoder", "none"], "-k auto needs features; give --encoder lite0, or a number"),
    ],
)
def test_bad_input(options, words, tmp_path):
    "One clear line, exit code 2, and no run folder."
    album = photos(tmp_path / "album", each=2)
    number = [] if "-k" in options else ["-k", 2]
    out = dcacn("fit", album, *number, *options, "--run-dir", tmp_path / "run", code=2)
    assert words in " ".join(out.stderr.replace("│", " ").split())
    assert not (tmp_path / "run" / "config.json").exists()


def test_features_take_no_encoder(tmp_path):
    "A file of features is a source; what only images have is refused."
    features = np.random.default_rng(0).normal(size=(30, 8)) + 4 * np.eye(8)[np.arange(30) % 3]
    path = dc.save_features(dc.FeatureSet(features.astype("float32")), tmp_path / "features.npz")
    answer = machine("fit", path, "-k", 3, "--method", "kmeans", "--run-dir", tmp_path / "run")
    assert sorted(answer["cluster_sizes"]) == [10, 10, 10]
    out = dcacn("fit", path, "-k", 3, "--encoder", "lite0", "--run-dir", tmp_path / "b", code=2)
    assert "holds features; leave it out" in out.stderr
    np.save(tmp_path / "bad.npy", np.full((4, 3), np.nan))
    out = dcacn("fit", tmp_path / "bad.npy", "-k", 2, "--run-dir", tmp_path / "c", code=2)
    assert "features must be finite, got NaN or infinity in 4 of 4 rows" in out.stderr


def test_auto_number_on_few_and_on_equal_images(tmp_path):
    "A sensible answer, or one clear line."
    few = dc.save_features(dc.FeatureSet(np.random.default_rng(0).normal(size=(5, 8))), tmp_path / "few.npz")
    alike = dc.save_features(dc.FeatureSet(np.ones((40, 8))), tmp_path / "alike.npz")
    for path in (few, alike):
        out = dcacn("fit", path, "-k", "auto", "--method", "kmeans", "--run-dir", tmp_path / path.stem, code=None)
        assert out.exit_code in (0, 2) and len(out.stdout + out.stderr) > 20
