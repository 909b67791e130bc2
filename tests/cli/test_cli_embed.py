"dcacn embed: features of a folder as one file."

from pathlib import Path

import numpy as np
import pytest
import torch
from command import dcacn, folder_of_images, machine
from fake_encoder import FakeEncoder

from dcacn_nb.data.feature_set import load_features
from dcacn_nb.encoders import embed


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    "The encoder that the command loads; what it was asked for is noted."
    encoder = FakeEncoder(name="lite0")
    encoder.asked = []
    load = lambda name, **options: (encoder.asked.append((name, options)), encoder)[1]
    monkeypatch.setattr("dcacn_nb.encoders.encoder.load_encoder", load)
    return encoder


def test_features_are_computed_written_and_found_again(fake):
    images = folder_of_images(Path("photos"), each=5)
    result = machine("embed", images, "-o", "out.npz")
    assert result["n_images"] == fake.seen == 10 and result["dim"] == 12 and result["encoded"] == 10
    assert result["encoder"] == fake.about() and result["skipped"] == {} and result["output"] == "out.npz"
    found = load_features("out.npz")
    wanted = embed(images, FakeEncoder(), cache=False, progress=False)
    assert torch.equal(found.features, wanted.features) and found.paths == wanted.paths
    assert found.labels.tolist() == [0] * 5 + [1] * 5 and found.class_names == ["dark", "light"]
    said = dcacn("embed", images, "-o", "out.safetensors").stdout
    assert "10 images were encoded before" in said and "Features: out.safetensors" in said and fake.seen == 10
    dcacn("embed", images, "-o", "out.npy")
    assert np.array_equal(np.load("out.npy"), wanted.features.numpy())


def test_what_is_said_of_fresh_work(fake):
    folder_of_images(Path("photos"), each=5)
    (Path("photos") / "light" / "4.png").write_bytes(b"no image")
    said = dcacn("embed", "photos", "--on-error", "skip").stdout
    assert "10 images read and encoded in" in said and "images/s" in said
    assert "1 of 10 files could not be read: listed in features_unreadable.csv" in said
    assert "Features: features.npz" in said and len(load_features("features.npz")) == 9


def test_options_reach_the_work(fake):
    images = folder_of_images(Path("photos"))
    machine("embed", images, "--encoder", "lite2", "--views", 2, "--limit", 6, "--seed", 4, "--device", "cpu")
    found = load_features("features.npz")
    assert fake.asked == [("lite2", {"device": "cpu", "engine": "auto", "weights": None})]
    assert found.features.shape == (6, 3, 12)
    assert found.protocol["limit"] == 6 and found.protocol["views"] == {"count": 2, "seed": 4}
    machine("embed", "digits", "--limit", 5, "-o", "digits.npz")
    assert load_features("digits.npz").protocol["source"] == "digits"


def test_bad_input_is_refused_before_the_work(fake):
    images = folder_of_images(Path("photos"), each=2)
    Path("mine.npz").write_text("mine")
    Path("folder.npz").mkdir()
    (images / "dark" / "0.png").write_bytes(b"no image")
    for arguments, message in [
        ((images, "-o", "mine.npz"), "--output mine.npz: mine.npz exists already; give another file, or --overwrite"),
        ((images, "-o", "folder.npz"), "is a folder; give the file to write"),
        ((images, "-o", "out.txt"), "--output out.txt must end in one of .npy .npz .safetensors"),
        (("nowhere",), "neither a known source"),
        ((images, "--split", "train"), "--split is for known sources"),
        ((images,), "dark/0.png"),
        ((images,), "--on-error skip"),
    ]:
        assert message in dcacn("embed", *arguments, code=2).stderr
    assert fake.seen == 0 and Path("mine.npz").read_text() == "mine" and not Path("features.npz").exists()
    dcacn("embed", images, "-o", "mine.npz", "--overwrite", "--on-error", "skip")
    assert len(load_features("mine.npz")) == 3


def test_an_encoder_that_cannot_be_had_is_bad_input(monkeypatch):
    images = folder_of_images(Path("photos"), each=2)

    def refuse(name, **options):
        raise RuntimeError(f"{name} cannot be downloaded; pass a file")

    monkeypatch.setattr("dcacn_nb.encoders.encoder.load_encoder", refuse)
    assert (
        "resnet18 cannot be downloaded; pass a file" in dcacn("embed", images, "--encoder", "resnet18", code=2).stderr
    )
