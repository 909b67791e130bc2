"What the cache holds: listed with size, age and source; cleared without touching what is not ours or in use."

import json
import os
import time

import pytest
from fake_encoder import FakeEncoder
from pictures import class_tree, load

from dcacn_nb.core.locks import lock
from dcacn_nb.data.kept import clear, kept_entries
from dcacn_nb.encoders import embed


@pytest.fixture
def filled(tmp_path, own_cache):
    "A cache with one entry of each kind, and things that are not ours."
    root = class_tree(tmp_path / "x")
    load(root), embed(root, FakeEncoder(), progress=False)
    (own_cache / ".part-abc").mkdir()
    (own_cache / ".part-abc" / "part.npy").write_bytes(bytes(100))
    os.utime(own_cache / ".part-abc" / "part.npy", (1, 1))
    (own_cache / "encoders").mkdir()
    (own_cache / "encoders" / "net-0.onnx").write_bytes(bytes(50))
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("part.npy", "state.json", "mine.txt"):
        (outside / name).write_text("mine")
    (own_cache / "notes.txt").write_text("mine")
    (own_cache / ("features-" + "0" * 40)).symlink_to(outside)
    (own_cache / ("1" * 64 + ".npy")).symlink_to(outside / "part.npy")
    (own_cache / ("features-" + "2" * 40)).mkdir()
    (own_cache / ("features-" + "2" * 40) / "state.json").symlink_to(outside / "state.json")
    (own_cache / ("features-" + "2" * 40) / "mine.txt").write_text("mine")
    return own_cache, root, outside


def test_entries_are_listed_with_size_age_and_source(filled):
    folder, root, _ = filled
    found = {entry.kind: entry for entry in kept_entries() if entry.size}
    assert set(found) == {"decoded images", "features", "unfinished", "network"}
    assert found["decoded images"].source == found["features"].source == str(root)
    assert found["features"].size == sum(file.stat().st_size for file in found["features"].path.iterdir())
    assert found["features"].age < 60 < found["unfinished"].age and found["network"].source == "net-0"
    assert kept_entries(folder / "nowhere") == []


def test_clearing_leaves_alone_what_is_not_ours(filled):
    folder, root, outside = filled
    removed, busy = clear(kept_entries())
    assert len(removed) == 4 and not busy
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted(["1" * 64 + ".npy", "encoders", "features-" + "0" * 40, "features-" + "2" * 40, "notes.txt"])
    assert sorted(path.name for path in outside.iterdir()) == ["mine.txt", "part.npy", "state.json"]
    assert (folder / ("features-" + "2" * 40) / "mine.txt").read_text() == "mine"
    encoder = FakeEncoder()
    assert len(load(root)) == len(embed(root, encoder, progress=False)) == encoder.seen == 6


def test_what_is_in_use_or_was_used_lately_stays(filled):
    folder, root, _ = filled
    removed, busy = clear(kept_entries(), older_than=3600)
    assert [entry.kind for entry in removed] == ["unfinished"] and not busy
    entry = next(entry for entry in kept_entries() if entry.kind == "features" and entry.size)
    with lock(entry.path / ".lock"):
        removed, busy = clear([entry])
        assert removed == [] and busy == {entry: "in use"} and (entry.path / "features.npy").exists()


def test_a_use_makes_an_entry_young_again(filled):
    folder, root, _ = filled
    old = time.time() - 9e6
    for path in folder.rglob("*.*"):
        if not path.is_symlink():
            os.utime(path, (old, old))
    load(root), embed(root, FakeEncoder(), progress=False)
    ages = {entry.kind: entry.age for entry in kept_entries() if entry.source == str(root)}
    assert max(ages.values()) < 60


@pytest.mark.parametrize("noted", ["[]", "null", "7", '"x"', "{", '{"source": 3}', "[" * 5000])
def test_a_note_of_any_shape_does_no_harm(filled, noted):
    folder, root, _ = filled
    for side in [*folder.glob("*.json"), *folder.glob("features-*/state.json")]:
        side.write_text(noted) if not side.is_symlink() else None
    assert len(kept_entries()) == 4
    encoder = FakeEncoder()
    assert len(load(root)) == len(embed(root, encoder, progress=False)) == encoder.seen == 6


FACTS = ("shape", "skipped", "resize", "source", "crc")


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("value", [None, 3, [1], {"a": 1}, "x", True])
def test_facts_of_a_wrong_type_mean_decoding_again(tmp_path, own_cache, name, value):
    root = class_tree(tmp_path / "x", each=1)
    wanted = load(root).images.clone()
    (side,) = own_cache.glob("*.json")
    facts = json.loads(side.read_text())
    side.write_text(json.dumps(facts | {name: value}))
    assert bool((load(root).images == wanted).all())


@pytest.mark.parametrize("name", ["complete", "about", "source", "crc", "images", "rows", "skipped"])
@pytest.mark.parametrize("value", [None, -3, [1], {"a": 1}, "x"])
def test_a_state_of_a_wrong_type_means_computing_again(tmp_path, own_cache, name, value):
    root = class_tree(tmp_path / "x", each=2)
    wanted = embed(root, FakeEncoder(), progress=False)
    (side,) = own_cache.glob("features-*/state.json")
    side.write_text(json.dumps(json.loads(side.read_text()) | {name: value}))
    assert bool((embed(root, FakeEncoder(), progress=False).features == wanted.features).all())


@pytest.mark.parametrize("bit", range(0, 8, 3))
@pytest.mark.parametrize("at", [256, 300, -1])
def test_flipped_bits_are_noticed(tmp_path, own_cache, caplog, at, bit):
    root = class_tree(tmp_path / "x")
    images, features = load(root).images.clone(), embed(root, FakeEncoder(), progress=False)
    for file in [*own_cache.glob("*.npy"), *own_cache.glob("features-*/*.npy")]:
        data = bytearray(file.read_bytes())
        data[at] ^= 1 << bit
        file.write_bytes(data)
    encoder = FakeEncoder()
    assert bool((load(root).images == images).all()) and "is damaged" in caplog.text
    assert bool((embed(root, encoder, progress=False).features == features.features).all()) and encoder.seen == 6
    assert bool((embed(root, encoder, progress=False).images == features.images).all()) and encoder.seen == 6
