"Image sets: arrays of every layout, bad input, subsets, sizes, and the way batches leave."

import json

import numpy as np
import pytest
import torch
from pictures import load, noise
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from torchvision.transforms import v2

from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.batching import batches, fetch, to_storage
from dcacn_nb.data.image_set import ImageSet


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def photos():
    "Two photographs, (2,48,72,3) bytes."
    return np.stack([photo[:384:8, :576:8] for photo in load_sample_images().images])


# --- arrays -------------------------------------------------------------------------------------------------------
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


def test_both_layouts_and_floats_are_the_same_photos(photos):
    "The wrong variant, a `reshape` for a transposition, has the right shape and the right histogram."
    last, first = photos, np.ascontiguousarray(photos.transpose(0, 3, 1, 2))
    for given in (first, last, torch.from_numpy(first), last / 255, (last / 255).astype(np.float32)):
        assert torch.equal(load(given).images, torch.from_numpy(first))
    wrong = last.reshape(first.shape)
    assert np.array_equal(np.bincount(wrong.ravel()), np.bincount(first.ravel()))
    assert not torch.equal(load(last).images, torch.from_numpy(wrong))


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


@pytest.mark.parametrize(
    "brightest, warned", [(0, False), (1, True), (16, True), (31, True), (32, False), (255, False)]
)
def test_bytes_that_are_nearly_black_give_a_warning(caplog, brightest, warned):
    images = np.zeros((3000, 2, 4), np.uint8)
    images[::3] = brightest
    assert torch.equal(from_arrays(images).images[:, 0], torch.from_numpy(images))
    assert (f"{brightest} of 255" in caplog.text and f"images / {brightest}" in caplog.text) == warned


# --- the set ------------------------------------------------------------------------------------------------------
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


def test_subset_keeps_rows_together(digits):
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


def test_digits_are_scaled_exactly(digits):
    raw = load_digits()
    assert digits.images.shape == (1797, 1, 8, 8) and digits.images.max() == 255
    np.testing.assert_array_equal(digits.images[:, 0].numpy(), np.rint(raw.images * 255 / 16))
    np.testing.assert_array_equal(digits.labels, raw.target)
    assert json.loads(json.dumps(digits.protocol)) == digits.protocol
    with pytest.raises(ValueError, match="digits"):
        load("digits", split="train")


def test_limit_is_random_nested_and_blind_to_labels(digits):
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


def test_a_stratified_subset_would_follow_the_labels(digits):
    "The wrong variant: as many of each class. A blind subset stays the same when the labels are shuffled."
    shuffled = ImageSet(digits.images, np.random.default_rng(1).permutation(digits.labels))
    assert torch.equal(load(digits, limit=200).images, load(shuffled, limit=200).images)
    stratified = lambda labels: np.sort(np.concatenate([np.flatnonzero(labels == k)[:20] for k in range(10)]))
    assert not np.array_equal(stratified(digits.labels), stratified(shuffled.labels))
    assert np.bincount(load("digits", limit=200).labels).tolist() == [20, 27, 18, 18, 15, 23, 21, 20, 17, 21]


def test_small_subsets_miss_classes_as_often_as_random_draws(digits):
    "Of ten classes, n blind draws meet 10 (1 - 0.9^n) on average."
    for n in (10, 30, 100):
        met = [len(np.unique(load(digits, limit=n, seed=seed).labels)) for seed in range(40)]
        assert abs(np.mean(met) - 10 * (1 - 0.9**n)) < 0.6


def test_resizing_a_set_agrees_with_torchvision():
    pixels = np.stack([noise(20, 30, seed=i) for i in range(3)])
    ours = load(pixels, image_size=12).images
    theirs = v2.Compose([v2.Resize(12), v2.CenterCrop(12), v2.PILToTensor()])
    squashed = v2.Compose([v2.Resize((12, 12)), v2.PILToTensor()])
    assert torch.equal(ours, torch.stack([theirs(Image.fromarray(p)) for p in pixels]))
    assert not torch.equal(ours, torch.stack([squashed(Image.fromarray(p)) for p in pixels]))
    assert load(pixels, channels=1).images.shape == (3, 1, 20, 30)
    assert load("digits", channels=3, limit=4).protocol["channels"] == 3
    for name, bad in [("image_size", 0), ("channels", 2), ("split", "tset")]:
        with pytest.raises(ValueError, match=name):
            load("digits", **{name: bad})


# --- batches ------------------------------------------------------------------------------------------------------
def test_batches_are_the_images_in_order(digits):
    parts = list(batches(digits, 100))
    assert [len(part) for part in parts] == [100] * 17 + [97] and torch.equal(torch.cat(parts), digits.images)
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(list(batches(digits.images, 64, indices=order, device="cpu"))), digits.images[order])
    for kind in (list, np.array, torch.tensor):
        assert torch.equal(fetch(digits, kind([7, 7, 1])), digits.images[[7, 7, 1]])
    with pytest.raises(ValueError, match="batch_size"):
        next(batches(digits, 0))


def test_storage_is_decided_by_size(digits):
    assert to_storage(digits, "cpu") is digits.images
    assert to_storage(digits.images, "meta").device.type == "cpu"  # an unknown kind of device: streamed
    assert to_storage(digits, "meta", limit_bytes=digits.images.numel()).device.type == "meta"
    assert to_storage(digits, "meta", limit_bytes=digits.images.numel() - 1).device.type == "cpu"
