"data list, verify and download; and the full-scale recipes, started on tiny fake data."

import json

import numpy as np
import pytest
from command import TINY, dcacn, fake_cifar10, folder_of_images, machine
from PIL import Image

from dcacn_nb.cli.output import BadInput
from dcacn_nb.cli.reading import check_number
from dcacn_nb.data import sources


def test_data_list():
    assert [row["name"] for row in machine("data", "list")["sources"]] == list(sources.SOURCES)
    out = dcacn("data", "list").stdout
    assert "imagenet_dogs" in out and "dcacn data download cifar10" in out and "download=True" not in out


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
    "The recipe with smaller views and network: it finds its data, trains a step, and keeps the paper's settings."
    fake(tmp_path / "data", monkeypatch)
    small = ["--limit", 10, "--batch-size", 10, "--epochs", 1, "-k", 3, "--root", "data"]
    small += ["--set", "global_size=16", "--set", "local_size=8"]
    small += [*TINY, *(["--download"] if source != "imagenet10" else [])]
    result = machine("fit", source, "--preset", "paper", "--run-dir", "r", *small)
    about = json.loads((tmp_path / "r" / "config.json").read_text())["config"]
    assert result["status"] == "completed" and result["n_images"] == 10
    names = ("backbone", "schedule", "balance_weight", "lr")
    assert [about[name] for name in names] == ["resnet34", "constant", 0.0, 3e-4]
    started = json.loads((tmp_path / "r" / "events.jsonl").read_text().splitlines()[0])
    assert started["steps_per_epoch"] == (2 if source == "stl10" else 1), "STL-10 has a step of unlabelled images first"
    if source == "stl10":
        machine("fit", source, "--no-extra", "--run-dir", "r2", *small)
        assert json.loads((tmp_path / "r2" / "events.jsonl").read_text().splitlines()[0])["steps_per_epoch"] == 1


def test_classes_of_a_saved_data_set_are_counted(tmp_path):
    "Before anything is read it is known whether a number of clusters has to be given."
    datasets = pytest.importorskip("datasets")
    files = sorted(folder_of_images(tmp_path / "pictures").rglob("*.png"))
    cells = {"image": [{"bytes": path.read_bytes(), "path": None} for path in files], "label": [0] * 8 + [1] * 8}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])})
    datasets.Dataset.from_dict(cells, features=kinds).save_to_disk(tmp_path / "saved")
    check_number(str(tmp_path / "saved"), None, True)
    with pytest.raises(BadInput, match="no labels to count classes by.*-k 10"):
        check_number(str(tmp_path / "saved"), None, False)
