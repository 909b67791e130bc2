"`dcacn similar`: on a file of features, on a run; an image of the set by its file, its name, its number; another file."

import numpy as np
import pytest
from command import TINY, dcacn, folder_of_images, machine
from PIL import Image

from dcacn_nb.clusters.similar import most_similar
from dcacn_nb.data.feature_set import FeatureSet, save_features


@pytest.fixture
def photos(tmp_path):
    "Sixteen images in two folders, and a file of features of them: their mean and their first pixels."
    folder = folder_of_images(tmp_path / "photos")
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    rows = [np.asarray(Image.open(path), np.float32).ravel()[:6] + 1 for path in paths]
    features = FeatureSet(np.stack(rows), paths=paths, protocol={"source": str(folder)})
    save_features(features, tmp_path / "features.npz")
    return features


def test_an_image_of_the_set_by_any_of_its_names(photos, tmp_path):
    found, cosines = most_similar(photos, 3, 5)
    for name in (photos.paths[3], "photos/dark/3.png", "dark/3.png", 3):
        answer = machine("similar", "features.npz", name, "-n", 5)
        assert answer["in_set"] and [row["image"] for row in answer["images"]] == found.tolist()
        assert [row["path"] for row in answer["images"]] == [photos.paths[i] for i in found]
        assert [row["cosine"] for row in answer["images"]] == pytest.approx(cosines.tolist(), abs=1e-4)
    shown = dcacn("similar", "features.npz", 3, "-n", 2).stdout
    assert f"Files in {tmp_path / 'photos'}:" in shown and "/".join(photos.paths[found[0]].split("/")[-2:]) in shown


def test_features_alone(tmp_path):
    "Without files there are numbers."
    np.save("f.npy", np.eye(4, dtype=np.float32) + 0.1)
    answer = machine("similar", "f.npy", 2, "-n", 9)
    assert len(answer["images"]) == 3 and answer["images"][0]["path"] is None


@pytest.mark.slow
def test_a_run_trained_on_pixels_and_another_image(photos, tmp_path):
    "Its own network gives the features, of a copy of an image too, which finds that image first."
    dcacn("fit", "photos", "-k", 2, "--encoder", "none", "--epochs", 1, "--batch-size", 8, "--run-dir", "run", *TINY)
    (tmp_path / "copy.png").write_bytes((tmp_path / "photos" / "light" / "5.png").read_bytes())
    answer = machine("similar", "run", "copy.png", "-n", 1)
    assert not answer["in_set"] and answer["images"][0]["path"].endswith("light/5.png")
    assert answer["images"][0]["cosine"] == pytest.approx(1, abs=1e-3)
    assert machine("duplicates", "run", "--exact")["groups"] == []


def test_bad_input(photos, tmp_path):
    Image.new("L", (4, 4)).save("new.png")
    for args, message in [
        (["nowhere", 1], "nowhere is neither a run, nor a file of features, nor a folder of images"),
        (["features.npz", "3.png"], "is the name of 2 images, e.g. "),
        (["features.npz", "99"], "nor one of the 16 images: a file of theirs, or 0 to 15"),
        (["features.npz", "new.png"], "unknown here"),
        (["gone.npz", 1], "neither a run"),
    ]:
        assert message in dcacn("similar", *args, code=2).stderr.replace("\n", " ")
