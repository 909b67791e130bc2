"The demo's photos: there without a network, the same for a seed, different crops, in groups of uneven size."

import importlib.util
import socket

import numpy as np
import pytest
from PIL import Image

from dcacn_nb.data.demo_photos import PHOTOS, SIDE, demo_photos
from dcacn_nb.data.loading import load_images

needs_photos = pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    "Few photos, written while any connection is refused."

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        folder = tmp_path_factory.mktemp("demo")
        return folder, demo_photos(folder, each=4)


@needs_photos
@pytest.mark.slow
def test_groups_of_photos(written):
    "One folder for each photograph, of uneven size; read as labelled images; large enough for an encoder."
    folder, files = written
    assert sorted({path.parent.name for path in files}) == sorted(PHOTOS) and len(files) == sum(
        1 for _ in folder.glob("*/*")
    )
    images = load_images(folder, image_size=16)
    sizes = np.bincount(images.labels)
    assert images.class_names == sorted(PHOTOS) and sizes.max() > sizes.min() > 1 and len(images) == len(files)
    sides = [max(Image.open(path).size) for path in files]
    assert max(sides) <= SIDE and min(sides) > 100


@needs_photos
@pytest.mark.slow
def test_crops_differ_and_a_seed_repeats_them(written, tmp_path):
    "No two files are the same; the same seed writes the same bytes, another seed writes others."
    folder, files = written
    data = [path.read_bytes() for path in files]
    assert len(set(data)) == len(data)
    again = demo_photos(tmp_path / "again", each=4)
    other = demo_photos(tmp_path / "other", each=4, seed=1)
    assert [path.read_bytes() for path in again] == data
    assert not any(path.read_bytes() in data for path in other)


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    "Without the library, before anything is written."
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-image"):
        demo_photos(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_each_is_a_number(tmp_path):
    "At least one crop."
    with pytest.raises(ValueError, match="each must be"):
        demo_photos(tmp_path, each=0)
