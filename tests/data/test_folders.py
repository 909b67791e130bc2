"Folders of images: what counts as a class, which files are read, and what becomes of every kind of pixel."

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import class_tree, load, noise, save
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2

from dcacn_nb.data import folders
from dcacn_nb.data.folders import decode_folder
from dcacn_nb.data.listing import list_images
from dcacn_nb.data.pixels import from_chw, measure_image, read_image, to_8bit, to_chw


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    "Four crops of each of two photographs, of different sizes: a folder with two classes."
    root, draw = tmp_path_factory.mktemp("crops"), np.random.default_rng(0)
    for name, photo in zip(("temple", "flower"), load_sample_images().images):
        for i in range(4):
            height, width = draw.integers(120, 300, 2)
            top, left = draw.integers(0, photo.shape[0] - height), draw.integers(0, photo.shape[1] - width)
            save(root / name / f"{i}.png", photo[top : top + height, left : left + width])
    return root


# --- which files --------------------------------------------------------------------------------------------------
def test_class_folders_give_labels(tmp_path):
    root = class_tree(tmp_path / "insects", ("bee", "ant", "wasp"))
    for junk in [".DS_Store", "__MACOSX/bee/._0.png", "ant/notes.txt", "ant/.hidden.png", ".git/x.png"]:
        (root / junk).parent.mkdir(parents=True, exist_ok=True)
        (root / junk).write_bytes(b"junk")
    images = load(root)
    assert images.class_names == ["ant", "bee", "wasp"] and images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert images.protocol["ignored"] == {".txt": 1, "(hidden)": 1} and images.protocol["skipped"] == {}
    for path, pixels in zip(images.paths, images.images):
        np.testing.assert_array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), pixels.numpy())
    assert load(str(root)).paths == images.paths


def test_flat_single_and_empty_subfolders(tmp_path, caplog):
    flat = class_tree(tmp_path / "flat", (".",))
    assert load(flat).labels is None and load(flat).class_names is None and len(load(flat)) == 3
    single = class_tree(tmp_path / "single", ("only",))
    (single / "empty").mkdir()
    images = load(single)
    assert (
        images.labels is None
        and "a single class is not a grouping" in caplog.text
        and "empty" in images.protocol["notes"][0]
    )
    two = class_tree(tmp_path / "two")
    (two / "cicada").mkdir()
    assert load(two).class_names == ["ant", "bee"] and "left out: cicada" in load(two).protocol["notes"][0]


def test_bad_folders_say_what_was_found(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    (tmp_path / "photos.tar.gz").write_bytes(b"x")
    splits = class_tree(tmp_path / "splits", ("train", "test"))
    for source, words in [
        ("empty", "no files"),
        ("texts", "1 .txt"),
        ("texts/a.txt", "is a file, but not an image"),
        ("photos.tar.gz", "is packed; unpack it and give the folder"),
        ("emtpy", "did you mean 'empty'"),
        ("cifar-10", "did you mean 'cifar10'"),
    ]:
        with pytest.raises(ValueError, match=words):
            load(str(tmp_path / source))
    with pytest.raises(ValueError, match="fashion_mnist"):
        load("fashionmnist")
    with pytest.raises(ValueError, match="has no splits"):
        load(splits, split="train")
    assert len(load(splits / "train")) == 3


def test_links_and_rings_of_links(tmp_path):
    real = class_tree(tmp_path / "real", ("ant",))
    root = class_tree(tmp_path / "linked", ("bee",))
    (root / "ant").symlink_to(real / "ant")
    (root / "bee" / "ring").symlink_to(root / "bee")
    images = load(root)
    assert images.class_names == ["ant", "bee"] and np.bincount(images.labels).tolist() == [3, 3]
    (root / "bee" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    again = load(root)
    assert again.paths == images.paths and again.protocol["ignored"] == {
        "(broken link)": 1,
        "(link to a folder taken already)": 1,
    }


def test_limit_decodes_only_what_it_keeps(tmp_path, monkeypatch):
    root, calls = class_tree(tmp_path / "x", each=20), []
    true_read = folders.read_image
    monkeypatch.setattr(folders, "read_image", lambda *a: (calls.append(a), true_read(*a))[1])
    images = load(root, limit=7)
    assert len(images) == len(calls) == 7
    assert [Path(p).parent.name for p in images.paths] == [images.class_names[i] for i in images.labels]


# --- files that cannot be read ------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", [b"", b"no image at all", "truncated"])
def test_unreadable_files_raise_or_are_skipped(tmp_path, caplog, content):
    root = class_tree(tmp_path / "x", each=3)
    whole = save(tmp_path / "whole.png", noise(8, 8)).read_bytes()
    bad = root / "ant" / "1.png"
    bad.write_bytes(whole[: len(whole) // 2] if content == "truncated" else content)
    with pytest.raises(ValueError, match="1.png.*on_error='skip'"):
        load(root)
    for _ in range(2):  # decoded, then found in the cache
        images = load(root, on_error="skip")
        assert (
            list(images.protocol["skipped"]) == ["ant/1.png"]
            and images.labels.tolist() == [0, 0, 1, 1, 1]
            and "ant/1.png" in caplog.text
        )
        for path, pixels in zip(images.paths, images.images):
            np.testing.assert_array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), pixels.numpy())
    with pytest.raises(ValueError, match="1.png"):  # also where the cache knows of it
        load(root)
    with pytest.raises(ValueError, match="on_error"):
        load(root, on_error="ignore")


def test_nothing_readable_is_an_error_even_when_skipping(tmp_path):
    root = tmp_path / "x"
    root.mkdir()
    (root / "a.png").write_bytes(b"no")
    with pytest.raises(ValueError, match="none of the 1 image files"):
        load(root, on_error="skip")
    assert not list((tmp_path / "cache").iterdir())


# --- pixels -------------------------------------------------------------------------------------------------------
def test_modes_become_8_bit_with_exact_values(tmp_path):
    root, grey = tmp_path / "modes", noise(8, 8, 1)
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    alpha = np.array([[0, 255], [128, 255]], np.uint8).repeat(4, 0).repeat(4, 1)
    cases = {
        "a_grey": (grey, grey),
        "b_16bit": (deep, np.rint(deep / 257.0)),
        "c_bilevel": (None, (grey > 127) * 255),
        "d_grey_alpha": (np.dstack([grey, alpha]), np.rint(grey * (alpha / 255.0) + 255 - alpha)),
    }
    for name, (pixels, _) in cases.items():
        save(root / f"{name}.png", pixels) if pixels is not None else root.joinpath(f"{name}.png").write_bytes(
            _png(Image.fromarray(grey > 127))
        )
    palette = Image.fromarray(grey).convert("P")
    palette.save(root / "e_palette.png")
    images = load(root)
    assert images.images.shape == (5, 1, 8, 8)  # all grey, so one channel
    got = {Path(path).stem: pixels[0].numpy().astype(int) for path, pixels in zip(images.paths, images.images)}
    for name, (_, wanted) in cases.items():
        assert abs(got[name] - wanted).max() <= (1 if name == "d_grey_alpha" else 0), name
    np.testing.assert_array_equal(got["e_palette"], grey)
    assert abs(got["b_16bit"] - (deep >> 8)).max() > 0, "cutting the low byte off must not pass for scaling"
    colour = noise(8, 8)
    save(root / "f_colour.png", colour)
    save(root / "g_rgba.png", np.dstack([colour, alpha]))
    Image.fromarray(colour).convert("CMYK").save(root / "h_cmyk.tif")
    images = load(root)
    assert images.images.shape == (8, 3, 8, 8)
    got = {Path(path).stem: pixels.numpy().astype(int) for path, pixels in zip(images.paths, images.images)}
    np.testing.assert_array_equal(got["a_grey"], np.stack([grey] * 3))
    np.testing.assert_array_equal(got["f_colour"], colour.transpose(2, 0, 1))
    wanted = np.rint(colour * (alpha[..., None] / 255.0) + 255 - alpha[..., None]).transpose(2, 0, 1)
    assert abs(got["g_rgba"] - wanted).max() <= 1 and (got["g_rgba"][:, :4, :4] == 255).all()
    assert abs(got["h_cmyk"] - colour.transpose(2, 0, 1)).max() <= 2
    assert load(root, channels=1).images.shape == (8, 1, 8, 8)


def _png(image):
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def test_all_16_bit_values_are_scaled_by_the_full_range():
    "The wrong variant, cutting off the low byte, is one step off for a quarter of the values."
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    ours = np.asarray(to_8bit(Image.fromarray(ramp)))
    assert np.array_equal(ours, np.rint(ramp / 257).astype(np.uint8))
    assert 0.2 < (ours != ramp >> 8).mean() < 0.3


def test_half_transparent_black_is_mixed_with_white():
    glass = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert np.asarray(to_8bit(glass)).ravel().tolist() == [127] * 12  # 255 (1 - 128/255)


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_and_pictures_are_inverse(channels):
    pixels = np.moveaxis(noise(6, 9, 3)[..., :channels], -1, 0)
    np.testing.assert_array_equal(to_chw(from_chw(pixels)), pixels)


def test_float_tiff_outside_the_unit_interval_is_refused(tmp_path):
    for name, values in [("good", 0.5), ("bad", 3.0)]:
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), values, np.float32)).save(tmp_path / name / "x.tiff")
    assert (load(tmp_path / "good").images == 128).all()
    with pytest.raises(ValueError, match=r"0\.\.1, found 3"):
        load(tmp_path / "bad")


@pytest.mark.parametrize("channels", [1, 3])
def test_exif_orientation_is_applied(tmp_path, channels):
    "The stored picture is white on top; its tag says to turn it a quarter clockwise, so that white is on the right."
    tall = np.zeros((16, 8, 3)[: 2 + channels // 3], np.uint8)
    tall[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "x" / "turned.png", tall, exif=exif)
    images = load(tmp_path / "x").images
    assert images.shape == (1, channels, 8, 16) and np.array_equal(images[0].numpy(), read_image(path))
    assert (images[..., 8:] == 255).all() and (images[..., :8] == 0).all()
    assert measure_image(path) == (8, 16, channels == 1)
    assert np.asarray(Image.open(path)).shape[:2] == (16, 8), "without the tag it is on its side"


# --- sizes --------------------------------------------------------------------------------------------------------
def test_mixed_sizes_agree_with_torchvision(tmp_path):
    sizes = [(40, 60), (50, 45), (44, 44), (100, 30)]
    for i, (height, width) in enumerate(sizes):
        save(tmp_path / "x" / f"{i}.png", noise(height, width, seed=i))
    images = load(tmp_path / "x")
    assert images.images.shape == (4, 3, 40, 40) and "median (42)" in images.protocol["resize"]  # 42 in steps of 8
    reference = v2.Compose([v2.Resize(40), v2.CenterCrop(40), v2.PILToTensor()])
    squashed = v2.Compose([v2.Resize((40, 40)), v2.PILToTensor()])
    for path, pixels in zip(images.paths, images.images):
        assert torch.equal(pixels, reference(Image.open(path)))
    assert not torch.equal(images.images[0], squashed(Image.open(images.paths[0])))
    assert load(tmp_path / "x", image_size=24).images.shape == (4, 3, 24, 24)


def test_photographs_are_resized_as_torchvision_does(crops):
    "The wrong variants: squashing to a square, and resizing without antialiasing."
    listing = list_images(crops)
    ours, facts = decode_folder(listing, 32, cache=False, progress=False)
    wanted = v2.Compose([v2.Resize(32), v2.CenterCrop(32), v2.PILToTensor()])
    others = {
        "squashed": v2.Compose([v2.Resize((32, 32)), v2.PILToTensor()]),
        "aliased": v2.Compose([v2.PILToTensor(), v2.Resize(32, antialias=False), v2.CenterCrop(32)]),
    }
    errors = dict.fromkeys(["ours", *others], 0.0)
    for name, pixels in zip(listing.files, ours):
        picture = Image.open(crops / name)
        reference = wanted(picture).numpy().astype(int)
        for label, got in {"ours": pixels, **{label: view(picture).numpy() for label, view in others.items()}}.items():
            errors[label] += abs(got - reference).mean() / len(ours)
    assert errors["ours"] == 0 and errors["squashed"] > 1 and errors["aliased"] > 0.5
    assert facts["resize"] == "shorter side to 32 px, then the central square (as asked)"


def test_the_median_side_is_taken_where_none_is_asked_for(crops):
    listing = list_images(crops)
    array, facts = decode_folder(listing, cache=False, progress=False)
    assert array.shape == (8, 3, 200, 200) and array.dtype == np.uint8 and listing.class_names == ["flower", "temple"]
    assert facts["resize"].startswith("sizes differ: shorter side to 200 px, the median (200) at most 224")
    for bad in ({"channels": 2}, {"image_size": 0}, {"on_error": "ignore"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            decode_folder(listing, cache=False, progress=False, **bad)


def test_one_size_is_kept_even_if_not_square(tmp_path):
    root = class_tree(tmp_path / "x", size=(9, 14))
    assert load(root).images.shape == (6, 3, 9, 14) and "kept" in load(root).protocol["resize"]


@pytest.mark.skipif("DCACN_DEV_CIFAR" not in os.environ, reason="DCACN_DEV_CIFAR names no folder of CIFAR-10 images")
def test_a_real_folder(own_cache):
    images = load(os.environ["DCACN_DEV_CIFAR"])
    assert images.images.shape[1:] == (3, 32, 32) and len(images.class_names) == 10
    again = load(os.environ["DCACN_DEV_CIFAR"])
    assert torch.equal(again.images, images.images) and len(list(own_cache.glob("*.npy"))) == 1


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    class_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(load(".")) == 6
    with pytest.raises(ValueError, match="source must name a folder, got ''"):
        load("")
