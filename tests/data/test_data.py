"Image sets: every kind of source, every bad input, the cache of decoded folders, and the way batches leave."

import gzip
import json
import logging
import os
import pickle
import struct
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as tv
from torchvision.transforms import v2

from dcacn_nb.data import cache, folders, sources
from dcacn_nb.data import image_set as data
from dcacn_nb.data.image_set import ImageSet, batches, fetch, from_arrays, load_images, to_storage

FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def class_tree(root, names=("ant", "bee"), each=3, size=(8, 8)):
    for c, name in enumerate(names):
        for i in range(each):
            save(root / name / f"{i}.png", noise(*size, seed=10 * c + i))
    return root


def load(source, **options):
    return load_images(source, progress=False, **options)


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((5, 8, 9), (5, 1, 8, 9)),
        ((5, 8, 9, 3), (5, 3, 8, 9)),
        ((5, 3, 8, 9), (5, 3, 8, 9)),
        ((5, 8, 9, 1), (5, 1, 8, 9)),
        ((1, 8, 9), (1, 1, 8, 9)),
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "tensor", "half"])
def test_arrays_keep_their_pixels(shape, expected, kind):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    given = {
        "uint8": pixels,
        "tensor": torch.from_numpy(pixels),
        "half": torch.from_numpy(pixels / np.float32(255)).half(),
    }.get(kind)
    images = load(pixels.astype(kind) / 255 if given is None else given).images
    assert images.shape == expected and images.dtype == torch.uint8
    wanted = pixels.reshape(expected) if len(shape) == 3 or shape[1] == 3 else pixels.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(images.numpy(), wanted)


@pytest.mark.parametrize(
    "bad, words",
    [
        (np.full((2, 8, 8), np.nan), "nan"),
        (np.full((2, 8, 8), 1.5), "max 1.5"),
        (np.full((2, 8, 8), -0.1), "min -0.1"),
        (np.zeros((2, 8, 8), np.int64), "int64"),
        (np.zeros((2, 8, 8), bool), "bool"),
        (np.zeros((2, 8, 8), complex), "complex"),
        (np.zeros((2, 8), np.uint8), r"\(2, 8\)"),
        (np.zeros((0, 8, 8), np.uint8), "not empty"),
        (np.zeros((2, 8, 8, 4), np.uint8), "alpha"),
        (np.zeros((8, 8, 3), np.uint8), "ambiguous"),
        (np.zeros((3, 8, 8), np.uint8), "ambiguous"),
        (np.zeros((2, 3, 8, 3), np.uint8), "ambiguous"),
        (np.zeros((2, 1, 8, 3), np.uint8), "ambiguous"),
        (np.zeros((2, 5, 8, 8), np.uint8), "1 or 3 channels"),
    ],
)
def test_bad_arrays_are_refused_by_name(bad, words):
    with pytest.raises(ValueError, match=words):
        load(bad)


@pytest.mark.parametrize("bad", [[1, 2], None, 3, {"a": 1}])
def test_other_objects_are_a_type_error(bad):
    with pytest.raises(TypeError, match="array or a tensor"):
        load(bad)


def test_awkward_memory_is_read_without_a_warning(tmp_path, recwarn):
    pixels = noise(8, 8, 1)[None].repeat(4, 0)
    pixels[2] = 7
    np.save(tmp_path / "x.npy", pixels)
    for given in (
        pixels[::-1],
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        (pixels / 255).astype(">f4"),
        pixels[:, ::-1, ::2],
    ):
        wanted = np.rint(np.asarray(given, np.float64) * 255) if given.dtype.kind == "f" else given
        np.testing.assert_array_equal(load(given).images[:, 0].numpy(), wanted)
    assert not recwarn.list


# ---------------------------------------------------------------- ImageSet


def test_labels_are_checked():
    images = np.zeros((4, 8, 8), np.uint8)
    assert from_arrays(images, [0, 1, 1, 0]).labels.dtype == np.int64
    for labels, words in [
        ([0, 1], r"got shape \(2,\)"),
        ([0.0, 1, 1, 0], "float64"),
        (list("abba"), "return_inverse"),
        ([[0, 1, 1, 0]], r"\(1, 4\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            from_arrays(images, labels)
    with pytest.raises(ValueError, match="class_names"):
        from_arrays(images, [0, 1, 2, 0], ["a", "b"])


@pytest.mark.parametrize(
    "brightest, remarked", [(0, False), (1, True), (16, True), (31, True), (32, False), (255, False)]
)
def test_bytes_that_are_nearly_black_are_remarked(caplog, brightest, remarked):
    images = np.zeros((3000, 2, 4), np.uint8)
    images[::3] = brightest
    assert torch.equal(from_arrays(images).images[:, 0], torch.from_numpy(images))
    assert (f"{brightest} of 255" in caplog.text and f"images / {brightest}" in caplog.text) == remarked


def test_image_sets_check_their_images():
    for bad, words in [
        (np.zeros((2, 3, 4, 4), np.uint8), "ndarray"),
        (torch.zeros(2, 3, 4, 4), "float32"),
        (torch.zeros(2, 2, 4, 4, dtype=torch.uint8), "C 1 or 3"),
        (torch.zeros(0, 3, 4, 4, dtype=torch.uint8), "empty"),
    ]:
        with pytest.raises(ValueError, match=words):
            ImageSet(bad)
    with pytest.raises(ValueError, match="paths"):
        ImageSet(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), paths=["a"])


def test_subset_keeps_rows_together():
    digits = load("digits")
    chosen = digits.subset([5, 2, 9])
    np.testing.assert_array_equal(chosen.labels, digits.labels[[5, 2, 9]])
    assert (
        torch.equal(chosen.images, digits.images[[5, 2, 9]])
        and chosen.protocol["count"] == 3
        and digits.protocol["count"] == 1797
    )
    mask = digits.labels == 3
    assert (digits.subset(mask).labels == 3).all() and len(digits.subset(mask)) == mask.sum()
    for bad, error in [
        ([1797], IndexError),
        ([-1], IndexError),
        ([], ValueError),
        ([0.5], ValueError),
        ([[1]], ValueError),
        ([True], ValueError),
    ]:
        with pytest.raises(error, match="indices"):
            digits.subset(bad)


def test_repr_escapes_names_and_stays_small():
    images = from_arrays(np.zeros((4, 8, 8), np.uint8), [0, 1, 1, 0], ["<script>", "b&c"])
    page = images._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;, b&amp;c" in page and "data:image/png;base64," in page
    large = from_arrays(np.stack([noise(96, 300, seed=i) for i in range(20)]))
    assert len(large._repr_html_()) < 40_000 and len(repr(large)) < 120


def test_digits_are_scaled_exactly():
    from sklearn.datasets import load_digits

    digits, raw = load("digits"), load_digits()
    assert digits.images.shape == (1797, 1, 8, 8) and digits.images.max() == 255
    np.testing.assert_array_equal(digits.images[:, 0].numpy(), np.rint(raw.images * 255 / 16))
    np.testing.assert_array_equal(digits.labels, raw.target)
    json.dumps(digits.protocol)
    with pytest.raises(ValueError, match="digits"):
        load("digits", split="train")


def test_limit_is_random_nested_and_blind_to_labels():
    digits = load("digits")
    few, more, other = load("digits", limit=50), load("digits", limit=200), load("digits", limit=50, seed=1)
    rows = lambda part: {bytes(image.numpy().tobytes()) for image in part.images}
    assert len(few) == 50 and rows(few) < rows(more) and rows(few) != rows(other)
    assert few.protocol["limit"] == 50 and few.protocol["seed"] == 0 and few.protocol["count"] == 50
    relabelled = ImageSet(digits.images, digits.labels[::-1].copy())
    assert torch.equal(load(relabelled, limit=50).images, few.images)
    assert load(digits) is digits and len(load(digits, limit=10**6)) == 1797
    for bad, error in [(0, ValueError), (-3, ValueError), (2.5, TypeError), (True, TypeError)]:
        with pytest.raises(error, match="limit"):
            load("digits", limit=bad)


def test_resizing_a_set_agrees_with_torchvision():
    pixels = np.stack([noise(20, 30, seed=i) for i in range(3)])
    ours = load(pixels, image_size=12).images
    theirs = v2.Compose([v2.Resize(12), v2.CenterCrop(12), v2.PILToTensor()])
    assert torch.equal(ours, torch.stack([theirs(Image.fromarray(p)) for p in pixels]))
    assert load(pixels, channels=1).images.shape == (3, 1, 20, 30)
    assert load("digits", channels=3, limit=4).protocol["channels"] == 3
    for name, bad in [("image_size", 0), ("channels", 2), ("split", "tset")]:
        with pytest.raises(ValueError, match=name):
            load("digits", **{name: bad})


# ---------------------------------------------------------------- folders


def test_class_folders_give_labels(tmp_path):
    root = class_tree(tmp_path / "insects", ("bee", "ant", "wasp"))
    for junk in [".DS_Store", "__MACOSX/bee/._0.png", "ant/notes.txt", "ant/.hidden.png", ".git/x.png"]:
        (root / junk).parent.mkdir(parents=True, exist_ok=True)
        (root / junk).write_bytes(b"junk")
    images = load(root)
    assert images.class_names == ["ant", "bee", "wasp"] and images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert images.protocol["ignored"] == {".txt": 1} and images.protocol["skipped"] == {}
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
        images.labels is None and "a single class is not a grouping" in caplog.text and "empty" in images.protocol["notes"][0]
    )
    two = class_tree(tmp_path / "two")
    (two / "cicada").mkdir()
    assert load(two).class_names == ["ant", "bee"] and "left out: cicada" in load(two).protocol["notes"][0]


def test_bad_folders_say_what_was_found(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    mixed = class_tree(tmp_path / "mixed")
    save(mixed / "loose.png", noise(8, 8))
    splits = class_tree(tmp_path / "splits", ("train", "test"))
    for source, words in [
        ("empty", "no files"),
        ("texts", "1 .txt"),
        ("mixed", "loose.png"),
        ("splits", "splits, not classes"),
        ("texts/a.txt", "is a file"),
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
    with pytest.raises(ValueError, match="gone.png"):
        load(root)


@pytest.mark.parametrize("content", [b"", b"no image at all", "truncated"])
def test_unreadable_files_raise_or_are_skipped(tmp_path, caplog, content):
    root = class_tree(tmp_path / "x", each=3)
    whole = save(tmp_path / "whole.png", noise(8, 8)).read_bytes()
    bad = root / "ant" / "1.png"
    bad.write_bytes(whole[: len(whole) // 2] if content == "truncated" else content)
    with pytest.raises(ValueError, match="1.png.*on_error='skip'"):
        load(root)
    for cached in (False, True):
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
    import io

    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def test_float_tiff_outside_the_unit_interval_is_refused(tmp_path):
    for name, values in [("good", 0.5), ("bad", 3.0)]:
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((8, 8), values, np.float32)).save(tmp_path / name / "x.tiff")
    assert (load(tmp_path / "good").images == 128).all()
    with pytest.raises(ValueError, match=r"0\.\.1, found 3"):
        load(tmp_path / "bad")


def test_exif_orientation_is_applied(tmp_path):
    tall = np.zeros((16, 8, 3), np.uint8)
    tall[:8] = 255  # the stored picture: white on top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: white on the right
    save(tmp_path / "x" / "turned.png", tall, exif=exif)
    images = load(tmp_path / "x").images
    assert images.shape == (1, 3, 8, 16)
    assert (images[..., 8:] == 255).all() and (images[..., :8] == 0).all()


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


def test_one_size_is_kept_even_if_not_square(tmp_path):
    root = class_tree(tmp_path / "x", size=(9, 14))
    assert load(root).images.shape == (6, 3, 9, 14) and "kept" in load(root).protocol["resize"]


def test_limit_decodes_only_what_it_keeps(tmp_path, monkeypatch):
    root, calls = class_tree(tmp_path / "x", each=20), []
    true_read = folders.read_image
    monkeypatch.setattr(folders, "read_image", lambda *a: (calls.append(a), true_read(*a))[1])
    images = load(root, limit=7)
    assert len(images) == len(calls) == 7
    assert [Path(p).parent.name for p in images.paths] == [images.class_names[i] for i in images.labels]


# ---------------------------------------------------------------- the cache


def test_cache_is_hit_and_notices_changes(tmp_path, own_cache, monkeypatch):
    root = class_tree(tmp_path / "x")
    first = load(root)
    count = lambda: len(list(own_cache.glob("*.npy")))
    assert count() == 1 and len(list(own_cache.iterdir())) == 2
    with monkeypatch.context() as patch:
        patch.setattr(folders, "_decode_all", None)  # would fail if anything were decoded
        second = load(root)
    assert torch.equal(first.images, second.images) and second.paths == first.paths
    second.images[0] = 0  # a private map: neither the file nor other readers see it
    assert torch.equal(load(root).images, first.images)
    changed = root / "ant" / "0.png"
    save(changed, noise(8, 8, seed=99))
    os.utime(changed, ns=(1, 1))
    np.testing.assert_array_equal(load(root).images[0].numpy(), noise(8, 8, seed=99).transpose(2, 0, 1))
    assert count() == 2
    load(root, image_size=4), load(root, channels=1)
    assert count() == 4
    assert torch.equal(load(root, cache=False).images, load(root, cache=tmp_path / "other").images) and count() == 4


@pytest.mark.parametrize("damage", ["cut", "no json", "half json", "other shape"])
def test_damaged_cache_entries_are_made_anew(tmp_path, own_cache, damage):
    root = class_tree(tmp_path / "x")
    wanted = load(root).images.clone()
    (array,) = own_cache.glob("*.npy")
    side = array.with_suffix(".json")
    if damage == "cut":
        array.write_bytes(array.read_bytes()[:300])
    elif damage == "no json":
        side.unlink()
    elif damage == "half json":
        side.write_text(side.read_text()[:10])
    else:
        np.save(array, np.zeros((1, 3, 8, 8), np.uint8))
    assert torch.equal(load(root).images, wanted)


KILLED = """
import os, sys
from dcacn_nb.data import folders
from dcacn_nb.data.image_set import load_images
true_read, seen = folders.read_image, []
def dying(*args):
    seen.append(1)
    if len(seen) > 4:
        os.kill(os.getpid(), 9)
    return true_read(*args)
folders.read_image = dying
load_images(sys.argv[1], progress=False)
"""


def test_killed_while_writing_leaves_no_half_cache(tmp_path, own_cache):
    root = class_tree(tmp_path / "x", each=8)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(root)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode == -9, ended.stderr
    assert (
        not list(own_cache.glob("*.npy"))
        and not list(own_cache.glob("*.json"))
        and len(list(own_cache.glob(".part-*"))) == 1
    )
    for work in own_cache.glob(".part-*"):
        os.utime(work, (time.time() - 90000,) * 2)  # two days on, the rest is swept
    assert len(load(root)) == 16 and not list(own_cache.glob(".part-*"))


def test_interrupted_while_writing_cleans_up(tmp_path, own_cache, monkeypatch):
    root = class_tree(tmp_path / "x")

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert not list(own_cache.iterdir())


def test_unusable_cache_folder_says_what_to_do(tmp_path, monkeypatch):
    root = class_tree(tmp_path / "x")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="not writable.*DCACN_CACHE.*cache=False"):
        load(root)
    assert len(load(root, cache=False)) == 6
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("U", (), {"free": 10}))
    with pytest.raises(OSError, match="GB free.*DCACN_CACHE"):
        load(root)


# ---------------------------------------------------------------- known sources


def test_superclasses_are_complete():
    table = sources.superclass_of()
    assert len(table) == 100 and np.bincount(list(table.values())).tolist() == [5] * 20
    published = [
        4,
        1,
        14,
        8,
        0,
        6,
        7,
        7,
        18,
        3,
        3,
        14,
        9,
        18,
        7,
        11,
        3,
        9,
        7,
        11,
        6,
        11,
        5,
        10,
        7,
        6,
        13,
        15,
        3,
        15,
        0,
        11,
        1,
        10,
        12,
        14,
        16,
        9,
        11,
        5,
        5,
        19,
        8,
        8,
        15,
        13,
        14,
        17,
        18,
        10,
        16,
        4,
        17,
        4,
        2,
        0,
        17,
        4,
        18,
        17,
        10,
        3,
        2,
        12,
        12,
        16,
        12,
        1,
        9,
        19,
        2,
        10,
        0,
        1,
        16,
        12,
        9,
        13,
        15,
        13,
        16,
        19,
        2,
        4,
        6,
        19,
        5,
        5,
        8,
        19,
        18,
        1,
        2,
        15,
        6,
        0,
        17,
        8,
        14,
        13,
    ]  # coarse label of each fine label, as in the archive
    assert [table[name] for name in sorted(table)] == published
    assert [row["name"] for row in sources.known_sources()] == list(sources.SOURCES) and set(
        sources.known_sources()[0]
    ) == {
        "name",
        "images",
        "classes",
        "px",
        "licence",
        "how",
    }
    assert {name: len(sources.SYNSETS[name]) for name in sources.SYNSETS} == {"imagenet10": 10, "imagenet_dogs": 15}


@pytest.mark.parametrize("source", ["fashion_mnist", "cifar10", "cifar100_20", "stl10"])
def test_absent_files_say_how_to_get_them(tmp_path, source, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=rf"load_images\('{source}', root=.*download=True.*By hand: fetch http"
    ) as caught:
        load(source, root=tmp_path / "data")
    assert str(tmp_path / "data") in str(caught.value)

    def unplugged(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    with pytest.raises(FileNotFoundError, match="download failed.*By hand: fetch http"):
        load(source, root=tmp_path / "data", download=True)


def write_idx(path, array, pack=gzip.compress):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()))


def fake_fashion(root, suffix=".gz"):
    pack = gzip.compress if suffix else bytes
    for part, count in [("train", 6), ("t10k", 4)]:
        write_idx(
            root / f"{part}-images-idx3-ubyte{suffix}",
            np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8),
            pack,
        )
        write_idx(root / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8), pack)


@pytest.mark.parametrize("place", [".", "FashionMNIST/raw", "fashion_mnist"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_from_any_folder(tmp_path, place, suffix):
    fake_fashion(tmp_path / place, suffix)
    images = load("fashion_mnist", root=tmp_path)
    assert images.images.shape == (10, 1, 28, 28) and images.labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert (
        images.protocol["splits"] == {"train": 6, "test": 4}
        and len(load("fashion_mnist", root=tmp_path, split="test")) == 4
    )
    reference = tv.mnist.read_image_file(str(tmp_path / place / "t10k-images-idx3-ubyte")) if not suffix else None
    assert reference is None or torch.equal(images.images[6:, 0], reference)


def test_damaged_and_confused_idx_files_are_named(tmp_path):
    fake_fashion(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (
        whole[:-20],
        b"not gzip",
        gzip.compress(b"\0\0\x08\x03"),
        gzip.compress(gzip.decompress(whole)[:-1]),
        b"",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="train-images"):
            load("fashion_mnist", root=tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").rename(tmp_path / "hidden")
    assert [row["status"] for row in sources.verify("fashion_mnist", tmp_path)] == [
        "damaged",
        "6 of 60000",
        "4 of 10000",
        "missing",
    ]
    (tmp_path / "hidden").rename(tmp_path / "t10k-labels-idx1-ubyte.gz")
    path.write_bytes(whole)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(5, dtype=np.uint8))
    with pytest.raises(ValueError, match="do not belong together"):
        load("fashion_mnist", root=tmp_path)
    write_idx(path, np.zeros((10, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], np.uint8))
    with pytest.raises(ValueError, match="MNIST's handwritten digits"):
        load("fashion_mnist", root=tmp_path)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_real_fashion_mnist():
    images = load("fashion_mnist", root=FASHION)
    assert images.images.shape == (70000, 1, 28, 28) and np.bincount(images.labels).tolist() == [7000] * 10
    assert images.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert [row["status"] for row in sources.verify("fashion_mnist", FASHION)] == ["ok"] * 4


def fake_cifar(root, kind, names, key, monkeypatch):
    home, rng = root / kind.base_folder, np.random.default_rng(0)
    home.mkdir(parents=True)
    for name, _ in [*kind.train_list, *kind.test_list]:
        batch = {"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), key: rng.integers(0, len(names), 4).tolist()}
        (home / name).write_bytes(pickle.dumps(batch))
    (home / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: list(names)}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a, **k: True)
    return home


def test_cifar10_order_and_splits(tmp_path, monkeypatch):
    names = [f"class{i}" for i in range(10)]
    home = fake_cifar(tmp_path / "data", tv.CIFAR10, names, "labels", monkeypatch)
    images = load("cifar10", root=tmp_path / "data")
    assert (
        images.images.shape == (24, 3, 32, 32)
        and images.protocol["splits"] == {"train": 20, "test": 4}
        and images.class_names == names
    )
    last = pickle.loads((home / "test_batch").read_bytes())
    np.testing.assert_array_equal(images.images[-4:].numpy().reshape(4, -1), last["data"])
    assert images.labels[-4:].tolist() == last["labels"]
    assert len(load("cifar10", root=home, split="train")) == 20  # the inner folder itself is understood too
    (tmp_path / "other").mkdir()
    (tmp_path / "data").rename(tmp_path / "other" / "cifar10")
    assert len(load("cifar10", root=tmp_path / "other")) == 24
    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a, **k: False)
        with pytest.raises(FileNotFoundError, match="incomplete or damaged"):
            load("cifar10", root=tmp_path / "other")
    rows = sources.verify("cifar10", tmp_path / "other")
    assert {row["status"] for row in rows} == {"damaged"} and len(rows) == 6
    assert {row["status"] for row in sources.verify("cifar10", tmp_path / "none")} == {"missing"}


def test_cifar100_is_read_as_superclasses(tmp_path, monkeypatch):
    names = sorted(sources.superclass_of())
    home = fake_cifar(tmp_path, tv.CIFAR100, names, "fine_labels", monkeypatch)
    images = load("cifar100_20", root=tmp_path, split="test")
    fine = pickle.loads((home / "test").read_bytes())["fine_labels"]
    assert images.labels.tolist() == [sources.superclass_of()[names[i]] for i in fine]
    assert len(images.class_names) == 20 and images.class_names[14] == "people"


def fake_stl(root, unlabeled=5):
    home = root / "stl10_binary"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in [("train", 4), ("test", 3), ("unlabeled", unlabeled)]:
        rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(home / f"{part}_X.bin")
        if part != "unlabeled":
            (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(home / f"{part}_y.bin")
    return home


def test_stl10_agrees_with_torchvision_and_maps_the_unlabelled(tmp_path, monkeypatch, caplog):
    home = fake_stl(tmp_path)
    images = load("stl10", root=tmp_path)
    assert (
        images.images.shape == (7, 3, 96, 96)
        and images.labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
        and images.protocol["extra_unlabeled"] == 5
    )
    monkeypatch.setattr(tv.STL10, "_check_integrity", lambda self: True)
    assert (tv.STL10(tmp_path, split="test").data == images.images[4:].numpy()).all()
    assert (tv.STL10(tmp_path, split="unlabeled").data == images.extra.images.numpy()).all()
    assert images.extra.labels is None and images.extra.extra is None
    assert load("stl10", root=tmp_path, image_size=32, limit=2).extra.images.shape == (5, 3, 32, 32)
    assert load("stl10", root=home, split="train").images.shape == (4, 3, 96, 96)
    (home / "unlabeled_X.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match="unlabeled_X.bin.*cut short"):
        load("stl10", root=tmp_path)
    (home / "unlabeled_X.bin").unlink()
    assert load("stl10", root=tmp_path).extra is None and "no extra unlabelled" in caplog.text
    (home / "test_y.bin").write_bytes(b"\1")
    with pytest.raises(ValueError, match="holds 3 images, test_y.bin 1 labels"):
        load("stl10", root=tmp_path)
    (home / "test_y.bin").unlink()
    with pytest.raises(FileNotFoundError, match="test_y.bin"):
        load("stl10", root=tmp_path)


def test_imagenet10_wherever_the_synsets_lie(tmp_path, caplog):
    names = list(sources.SYNSETS["imagenet10"])
    train = class_tree(tmp_path / "imagenet" / "ILSVRC" / "train", names[::-1] + ["n01440764"], each=2)
    class_tree(tmp_path / "imagenet" / "ILSVRC" / "val", names, each=1)
    for root in (train, train.parent, tmp_path, str(tmp_path)):
        images = load("imagenet10", root=root)
        assert (
            len(images) == 20
            and images.labels.tolist() == sorted(list(range(10)) * 2)
            and images.protocol["notes"] == []
        )
        assert images.class_names[0] == "king penguin" and names[0] in images.paths[0] and "train" in images.paths[0]
    with pytest.raises(FileNotFoundError, match="single synset folder; give the folder above"):
        load("imagenet10", root=train / names[0])
    for file in (train / names[3]).iterdir():
        file.unlink()
    images = load("imagenet10", root=tmp_path)
    assert (
        len(images.class_names) == 9
        and "n02690373 (airliner)" in images.protocol["notes"][0]
        and "1 of 10 synsets" in caplog.text
    )
    status = {row["name"]: row["status"] for row in sources.verify("imagenet10", tmp_path)}
    assert status["n02690373 airliner"] == "missing" and status["n07747607 orange"] == "2 images"
    with pytest.raises(ValueError, match="split"):
        load("imagenet10", root=tmp_path, split="test")
    with pytest.raises(ValueError, match="download"):
        load("imagenet10", root=tmp_path, download=True)
    with pytest.raises(FileNotFoundError, match="fewer than two of 15"):  # Maltese dog is in both subsets
        load("imagenet_dogs", root=tmp_path)
    class_tree(tmp_path / "b" / "x")
    for root in (tmp_path / "b", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="image-net.org"):
            load("imagenet10", root=root)


@pytest.mark.skipif("DCACN_DEV_CIFAR" not in os.environ, reason="DCACN_DEV_CIFAR names no folder of CIFAR-10 images")
def test_a_real_folder(own_cache):
    images = load(os.environ["DCACN_DEV_CIFAR"])
    assert images.images.shape[1:] == (3, 32, 32) and len(images.class_names) == 10
    begin = time.perf_counter()
    again = load(os.environ["DCACN_DEV_CIFAR"], limit=None)
    assert torch.equal(again.images, images.images)
    logging.getLogger(__name__).info("%d images again in %.2f s", len(again), time.perf_counter() - begin)


def test_verify_counts_folders_and_knows_digits(tmp_path):
    assert sources.verify(class_tree(tmp_path / "x")) == [
        {"name": "ant", "status": "3 images"},
        {"name": "bee", "status": "3 images"},
    ]
    assert sources.verify(str(class_tree(tmp_path / "y", (".",))))[0]["status"] == "3 images"
    assert sources.verify("digits")[0]["status"] == "ok"


# ---------------------------------------------------------------- batches


def test_batches_are_the_images_in_order(tmp_path):
    digits = load("digits")
    parts = list(batches(digits, 100))
    assert [len(part) for part in parts] == [100] * 17 + [97] and torch.equal(torch.cat(parts), digits.images)
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(list(batches(digits.images, 64, indices=order, device="cpu"))), digits.images[order])
    for kind in (list, np.array, torch.tensor):
        assert torch.equal(fetch(digits, kind([7, 7, 1])), digits.images[[7, 7, 1]])
    with pytest.raises(ValueError, match="batch_size"):
        next(batches(digits, 0))
    fake_stl(tmp_path)  # transposed, mapped from a file
    extra = load("stl10", root=tmp_path).extra
    assert torch.equal(fetch(extra, [4, 0]), extra.images[[4, 0]])


def test_storage_is_decided_by_size():
    digits = load("digits")
    assert to_storage(digits, "cpu") is digits.images
    assert to_storage(digits.images, "meta").device.type == "cpu"  # an unknown kind of device: streamed
    assert to_storage(digits, "meta", limit_bytes=digits.images.numel()).device.type == "meta"
    assert to_storage(digits, "meta", limit_bytes=digits.images.numel() - 1).device.type == "cpu"


STREAM = """
import sys, resource, numpy as np, torch
from dcacn_nb.data.image_set import fetch
from dcacn_nb.data.sources import _stl_images
from pathlib import Path
images = _stl_images(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(3):
    assert fetch(images, [0, len(images) // 2, len(images) - 1]).shape == (3, 3, 96, 96)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files and ru_maxrss in KB")
def test_a_mapped_file_larger_than_needed_is_not_read_whole(tmp_path):
    path = tmp_path / "unlabeled_X.bin"
    with open(path, "wb") as file:
        file.truncate(27648 * 100_000)  # 2.7 GB that take no room
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200, f"{done.stdout} MB were touched for three images"
