"Weights of a user's own file: computed with, cached by their content, recorded, and found again."

import shutil

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import dcacn_nb as dc
from dcacn_nb.compare.grid import _describe_grid
from dcacn_nb.runs.inputs import describe_input, encoder_source, read_like

ARCHITECTURE = "test_vit"
OPTIONS = dict(engine="torch", device="cpu", progress=False)


def weights_file(path, seed, architecture=ARCHITECTURE):
    "Weights of a tiny network of timm, drawn anew."
    torch.manual_seed(seed)
    state = timm.create_model(architecture).state_dict()
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    "Two files of weights for one architecture."
    home = tmp_path_factory.mktemp("weights")
    return [weights_file(home / f"{seed}.safetensors", seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)


def test_the_file_computes_the_features_and_is_recorded(files, images):
    first, second = (dc.embed(images, ARCHITECTURE, weights=path, **OPTIONS) for path in files)
    assert not torch.allclose(first.features, second.features, atol=1e-3)
    wanted = dc.load_encoder(ARCHITECTURE, weights=files[0], engine="torch", device="cpu")
    assert first.protocol["encoder"] == wanted.about()
    assert first.protocol["encoder"]["weights_file"] == str(files[0]) and wanted.name == ARCHITECTURE
    assert encoder_source(first.protocol["encoder"]) == (ARCHITECTURE, str(files[0]))


def test_the_cache_goes_by_the_content_of_the_file(files, images, tmp_path):
    "Another file is computed, the same at another place is not, and then the new place is recorded."
    seen = []
    work = dict(cache=tmp_path / "cache", observer=seen.append, **OPTIONS)
    dc.embed(images, ARCHITECTURE, weights=files[0], **work)
    dc.embed(images, ARCHITECTURE, weights=files[1], **work)
    assert sum(seen) == 12
    moved = shutil.copy(files[0], tmp_path / "moved.safetensors")
    again = dc.embed(images, ARCHITECTURE, weights=moved, **work)
    assert sum(seen) == 12 and again.protocol["encoder"]["weights_file"] == str(moved)


def test_new_images_by_the_file_of_the_run(files, images, tmp_path):
    "Read again from where it was, or from where it is now; never by another file or another network."
    own = shutil.copy(files[0], tmp_path / "own.safetensors")
    features = dc.embed(images, ARCHITECTURE, weights=own, **OPTIONS)
    about = describe_input(features)
    options = dict(device="cpu", progress=False)
    torch.testing.assert_close(read_like(images, about, **options).features, features.features, rtol=1e-3, atol=1e-4)
    (tmp_path / "own.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="not at .*own.safetensors any more; .*--encoder-weights NEW"):
        read_like(images, about, **options)
    again = read_like(images, about, weights=files[0], **options).features
    torch.testing.assert_close(again, features.features, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="must come from the encoder of the run, test_vit with weights"):
        read_like(images, about, weights=files[1], **options)
    pixels = describe_input(dc.load_images("digits", limit=4))
    with pytest.raises(ValueError, match="weights must be None: the network was trained on images"):
        read_like("digits", pixels, weights=files[0])


def test_a_grid_does_not_depend_on_the_place_of_the_file(files, images, tmp_path):
    moved = shutil.copy(files[0], tmp_path / "moved.safetensors")
    grids = [_describe_grid(dc.embed(images, ARCHITECTURE, weights=w, **OPTIONS), "") for w in (files[0], moved)]
    other = _describe_grid(dc.embed(images, ARCHITECTURE, weights=files[1], **OPTIONS), "")
    assert grids[0] == grids[1] != other


@pytest.mark.parametrize(
    "encoder, name, message",
    [
        ("lite0", "w.safetensors", "encoder 'lite0' comes with its weights: leave weights= out"),
        (ARCHITECTURE, "none.safetensors", "weights file '.*none.safetensors' does not exist"),
        (ARCHITECTURE, "w.ckpt", "w.ckpt' must end in .* save the tensors alone: safetensors"),
        (ARCHITECTURE, "folder.pth", "folder.pth' is not a file"),
        ("test_vitt", "w.safetensors", "did you mean"),
    ],
)
def test_wrong_weights_are_refused_before_images_are_read(encoder, name, message, tmp_path):
    (tmp_path / "w.safetensors").touch(), (tmp_path / "w.ckpt").touch(), (tmp_path / "folder.pth").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        dc.embed(tmp_path / "no such folder", encoder, weights=tmp_path / name)


def test_weights_without_a_name_to_load(files, images):
    loaded = dc.load_encoder(ARCHITECTURE, weights=files[0], engine="torch", device="cpu")
    with pytest.raises(ValueError, match="weights must be None with an encoder that is loaded already"):
        dc.embed(images, loaded, weights=files[0])
    with pytest.raises(ValueError, match="weights must be None where features are given"):
        dc.embed(np.zeros((4, 3), np.float32), ARCHITECTURE, weights=files[0])


def test_the_estimator_takes_and_keeps_the_file(files, images, tmp_path):
    "By name and file, or as an encoder; a saved estimator finds the file again, or where it has moved."
    own = shutil.copy(files[0], tmp_path / "own.safetensors")
    settings = dict(epochs=1, device="cpu", settings={"projection_dim": 4})
    model = dc.DCACN(2, encoder=ARCHITECTURE, encoder_weights=own, **settings).fit(images)
    labels = model.predict(images)
    again = dc.DCACN.load(model.save(tmp_path / "model.safetensors"), device="cpu")
    assert again.encoder_weights == str(own) and np.array_equal(again.predict(images), labels)
    (tmp_path / "own.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="own.safetensors"):
        again.predict(images)
    assert np.array_equal(again.set_params(encoder_weights=files[0]).predict(images), labels)
    loaded = dc.load_encoder(ARCHITECTURE, weights=files[0], engine="torch", device="cpu")
    by_object = dc.DCACN(2, encoder=loaded, **settings).fit(images)
    again = dc.DCACN.load(by_object.save(tmp_path / "object.safetensors"), device="cpu")
    assert (again.encoder, again.encoder_weights) == (ARCHITECTURE, str(files[0]))
    with pytest.raises(ValueError, match="encoder_weights needs encoder"):
        dc.DCACN(2, encoder_weights=files[0]).fit(images)
