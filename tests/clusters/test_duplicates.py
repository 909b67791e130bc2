"Copies of images: files of the same bytes, features close to the image kept; against a plain loop over all pairs."

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from dcacn_nb.clusters import duplicates as module
from dcacn_nb.clusters.duplicates import Duplicates, duplicates_table, find_duplicates, near_threshold
from dcacn_nb.data.feature_set import FeatureSet


def planted(n=300, seed=0):
    "Unrelated unit rows, the last forty of which are noisy copies of the first forty."
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((n, 32))
    rows[-40:] = rows[:40] + 0.02 * draw.standard_normal((40, 32))
    return rows.astype(np.float32)


def by_loops(rows, threshold):
    "Image kept -> its copies, one image after the other."
    unit, taken, groups = rows / np.linalg.norm(rows, axis=1, keepdims=True), set(), {}
    for i in range(len(unit)):
        if i in taken:
            continue
        copies = [j for j in range(i + 1, len(unit)) if j not in taken and float(unit[i] @ unit[j]) >= threshold]
        taken |= {i, *copies}
        groups |= {i: copies} if copies else {}
    return groups


@pytest.mark.parametrize("large", [10_000, 1])
@pytest.mark.parametrize("threshold", [0.9, 0.97])
def test_groups_agree_with_loops(large, threshold, monkeypatch):
    "Digits have whole chains of similar images; the short cut of large sets loses none; block size does not matter."
    monkeypatch.setattr(module, "LARGE", large)
    monkeypatch.setattr(module, "SHORT", 8)
    monkeypatch.setattr(module, "BLOCK", 5000)
    rows = load_digits().data[:500].astype(np.float32)
    expected = by_loops(rows, threshold)
    found = {group.keep: sorted(group.copies) for group in find_duplicates(rows, threshold)}
    assert found == expected and (threshold > 0.9 or max(map(len, expected.values())) > 5)


def test_planted_copies_are_found_and_nothing_else():
    "With the threshold that the set itself suggests."
    rows = planted()
    found = find_duplicates(rows)
    assert {group.keep: group.copies for group in found} == {i: (260 + i,) for i in range(40)}
    assert all(min(group.cosines) > 0.99 and not any(group.exact) for group in found)


def test_the_threshold_follows_the_encoder():
    "An encoder whose features all point much the same way gets a higher one, within bounds."
    draw = np.random.default_rng(0)
    wide = draw.standard_normal((200, 64))
    narrow = wide + 6
    assert near_threshold(wide) == 0.9 and 0.98 < near_threshold(narrow) <= 0.99
    assert near_threshold(np.ones((50, 3))) == 0.99 and 0.9 < near_threshold(np.eye(2)) < 0.99


def test_few_images_are_compared_closely(monkeypatch):
    "Without any structure, 64 of 900 components say too little: more are taken, and hardly a pair is looked at twice."
    monkeypatch.setattr(module, "LARGE", 1)
    looked, close = [], module._close
    monkeypatch.setattr(module, "_close", lambda *args: looked.append(len(args[4])) or close(*args))
    rows = np.random.default_rng(0).standard_normal((900, 900)).astype(np.float32)
    rows[-40:] = rows[:40] + 0.02
    found = find_duplicates(rows, 0.9)
    assert {group.keep: group.copies for group in found} == {i: (860 + i,) for i in range(40)}
    assert sum(looked) < 900


def test_a_group_is_tight():
    "A is close to B and B to C, but A not to C: C is not thrown away for A."
    angles = np.deg2rad([0, 10, 20])
    rows = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert find_duplicates(rows, 0.98) == [Duplicates(0, (1,), (pytest.approx(0.984808, abs=1e-5),), (False,))]


@pytest.fixture
def files(tmp_path):
    "Five files: b and e have the bytes of a; d has their length alone."
    contents = {
        "a": b"same bytes",
        "b": b"same bytes",
        "c": b"much longer than that",
        "d": b"same bytez",
        "e": b"same bytes",
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    return [str(tmp_path / f"{name}.jpg") for name in contents]


def test_files_of_the_same_bytes(files, monkeypatch):
    "Without features; only files of the same length are read; sha256 of the standard library on the whole file agrees."
    read, digest = [], module._digest
    monkeypatch.setattr(module, "_digest", lambda path: read.append(path) or digest(path))
    assert find_duplicates(None, paths=files) == [Duplicates(0, (1, 4), (1.0, 1.0), (True, True))]
    assert read == [files[0], files[1], files[3], files[4]]
    assert digest(files[2]) == hashlib.sha256(b"much longer than that").digest()


def test_the_largest_file_is_kept_and_brings_exact_copies_together(files):
    "c is the largest; a is close to it, and so b and e, which have a's bytes, whatever their features."
    rows = np.array([[1, 0.05, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    found = find_duplicates(FeatureSet(rows, paths=files), 0.9)
    assert found == [Duplicates(2, (0, 1, 4), (pytest.approx(0.998752, abs=1e-5),) * 3, (False,) * 3)]
    table = duplicates_table(found, files)
    assert table["index"].tolist() == [2, 0, 1, 4] and table["keep"].tolist() == ["yes", "no", "no", "no"]
    assert table["path"].tolist() == [files[i] for i in (2, 0, 1, 4)] and set(table["group"]) == {0}


def test_images_that_are_not_files_are_compared_by_their_pixels():
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 4), np.uint8)
    images[4] = images[1]
    assert find_duplicates(None, images=images) == [Duplicates(1, (4,), (1.0,), (True,))]
    gone = [f"/nowhere/{i}.png" for i in range(6)]
    assert find_duplicates(None, paths=gone, images=images) == [Duplicates(1, (4,), (1.0,), (True,))]


def saved(photo, quality, share=1.0, grey=False):
    "A photo after it was made smaller and saved as JPEG."
    picture = Image.fromarray(photo).convert("L" if grey else "RGB")
    picture = picture.resize([round(side * share) for side in picture.size], Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=quality)
    return Image.open(file)


def thumbnails(pictures, side):
    "Small pictures as `embed` keeps them."
    rows = [np.asarray(p.convert("RGB").resize((side, side), Image.Resampling.BOX)) for p in pictures]
    return np.stack(rows).transpose(0, 3, 1, 2)


def views_of_photos():
    "Parts of two photographs: eighteen different pictures, neighbours with half of it in common."
    parts = [
        p[y : y + 200, x : x + 300] for p in load_sample_images().images for y in (0, 100, 200) for x in (0, 150, 300)
    ]
    return [np.ascontiguousarray(part) for part in parts]


@pytest.mark.parametrize("large", [10_000, 1])
@pytest.mark.parametrize("side", [32, 50, 64])
@pytest.mark.parametrize("quality, share", [(40, 1.0), (60, 1.0), (90, 1.0), (90, 0.5), (60, 0.5), (75, 0.3)])
def test_a_photo_saved_again_or_made_smaller_is_a_copy(quality, share, side, large, monkeypatch):
    "By its small picture, whatever its features; photos of nearly the same place are none."
    monkeypatch.setattr(module, "LARGE", large)
    photos = views_of_photos()
    pictures = [Image.fromarray(p) for p in photos] + [saved(p, quality, share) for p in photos]
    features = np.random.default_rng(0).standard_normal((36, 256)).astype(np.float32)  # far from one another
    found = find_duplicates(features, images=thumbnails(pictures, side))
    assert {group.keep: group.copies for group in found} == {i: (18 + i,) for i in range(18)}
    assert not any(group.exact[0] for group in found)


def test_pictures_that_say_too_little_do_not_decide():
    "Very small ones, ones of a single colour, and the same tones in another colour."
    photos = [Image.fromarray(p) for p in views_of_photos()]
    pictures = thumbnails([*photos, *(saved(np.asarray(p), 60) for p in photos)], 28)
    features = np.random.default_rng(0).standard_normal((36, 256)).astype(np.float32)
    assert find_duplicates(features, images=pictures) == []
    flat = np.arange(36, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 64, 64), np.uint8)
    assert find_duplicates(features, images=flat) == []
    colours = thumbnails(photos, 64)
    turned = np.concatenate([colours, colours[:, [1, 2, 0]]])
    assert find_duplicates(features, images=turned) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"features": None}, "got none of them"),
        ({"features": np.eye(3), "threshold": 1.5}, "threshold must be > 0 and <= 1"),
        ({"features": np.eye(3), "paths": ["a"]}, r"one length, got \[3, 1\]"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        find_duplicates(**options)
