"Features that are computed on disk: killed, interrupted, damaged, filled by two at once, swept, on a full disk."

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_encoder import FakeEncoder
from pictures import class_tree

from dcacn_nb.core.locks import lock
from dcacn_nb.data import cache
from dcacn_nb.encoders import embed as public_embed
from dcacn_nb.encoders import feature_cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def embed(source, encoder=None, **options):
    return public_embed(source, encoder or FakeEncoder(), progress=False, **{"batch_size": 4, **options})


class Stops(FakeEncoder):
    "An encoder that ends the work after so many images."

    def __init__(self, after, how=KeyboardInterrupt):
        super().__init__()
        self.after, self.how = after, how

    def __call__(self, images):
        if self.seen >= self.after:
            raise self.how
        return super().__call__(images)


def entries(folder):
    return sorted(folder.glob("features-*"))


KILLED = """
import os, sys, time
from pathlib import Path
from fake_encoder import FakeEncoder
from dcacn_nb.encoders import embed, feature_cache
feature_cache.CHECKPOINT = 0  # note every batch
class Dying(FakeEncoder):
    def __call__(self, images):
        if self.seen >= 12:  # the first batch is noted by another thread, perhaps a moment later
            end = time.monotonic() + 20
            while not list(Path(os.environ["DCACN_CACHE"]).glob("*/state.json")) and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(os.getpid(), 9)
        return super().__call__(images)
embed(sys.argv[1], Dying(), views=1, batch_size=4, progress=False)
"""


@pytest.mark.slow
def test_a_killed_call_is_resumed_to_the_same_bits(tmp_path, own_cache):
    root = class_tree(tmp_path / "x", each=15, size=(20, 14))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, str(root)]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert ended.returncode == -9, ended.stderr
    (entry,) = entries(own_cache)
    assert json.loads((entry / "state.json").read_text())["images"] == 4  # 12 squares: 4 images, 4 views, 4 images
    encoder = FakeEncoder()
    found = embed(root, encoder, views=1)
    assert encoder.seen == 2 * 26 and len(found) == 30
    whole = embed(root, views=1, cache=tmp_path / "uninterrupted")
    assert torch.equal(found.features, whole.features) and torch.equal(found.images, whole.images)
    assert entries(own_cache) == [entry] and embed(root, encoder, views=1).paths == whole.paths and encoder.seen == 52


@pytest.mark.parametrize("how", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_call_loses_nothing_that_was_encoded(tmp_path, how):
    root, encoder = class_tree(tmp_path / "x", each=10), FakeEncoder()
    with pytest.raises(how):
        embed(root, Stops(12, how))
    found = embed(root, encoder)
    assert encoder.seen == 8
    assert torch.equal(found.features, embed(root, cache=False).features)


def test_a_resumed_call_still_refuses_what_an_earlier_one_skipped(tmp_path):
    root, encoder = class_tree(tmp_path / "x", each=10), FakeEncoder()
    (root / "ant" / "1.png").write_bytes(b"no image")
    with pytest.raises(KeyboardInterrupt):
        embed(root, Stops(8), on_error="skip")
    with pytest.raises(ValueError, match="ant/1.png.*on_error='skip'"):
        embed(root, encoder)
    found = embed(root, encoder, on_error="skip")
    assert encoder.seen == 8 and list(found.protocol["skipped"]) == ["ant/1.png"] and len(found) == 19
    assert torch.equal(found.features, embed(root, cache=False, on_error="skip").features)


def test_rows_after_the_last_note_are_written_again(tmp_path, own_cache):
    "A killed process may leave rows that are not noted, or a part of one: they are cut off."
    root = class_tree(tmp_path / "x", each=10)
    with pytest.raises(KeyboardInterrupt):
        embed(root, Stops(8))
    (entry,) = entries(own_cache)
    with open(entry / "features.npy", "ab") as file:
        file.write(b"\xff" * 101)
    assert torch.equal(embed(root).features, embed(root, cache=False).features)


BROKEN = {  # what takes the place of features.npy
    "empty": b"",
    "half a header": b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'shape': (",
    "a zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_numpy_raises_an_entry_is_made_again(tmp_path, own_cache, kind):
    root = class_tree(tmp_path / "x", each=3)
    wanted = embed(root)
    (entry,) = entries(own_cache)
    (entry / "features.npy").write_bytes(BROKEN[kind])
    encoder = FakeEncoder()
    assert torch.equal(embed(root, encoder).features, wanted.features) and encoder.seen == 6


@pytest.mark.parametrize("damage", ["features.npy", "images.npy", "state.json", "half state", "other state"])
@pytest.mark.parametrize("after", [8, 99])
def test_damaged_entries_are_made_again(tmp_path, own_cache, damage, after):
    root = class_tree(tmp_path / "x", each=10)
    wanted = embed(root, cache=False)
    try:
        embed(root, Stops(after))
    except KeyboardInterrupt:
        assert after == 8
    (entry,) = entries(own_cache)
    state = entry / "state.json"
    if damage.endswith("npy"):
        (entry / damage).write_bytes((entry / damage).read_bytes()[:400])
    elif damage == "state.json":
        state.unlink()
    else:
        state.write_text(state.read_text()[:20] if damage == "half state" else "[1, 2]")
    encoder = FakeEncoder()
    found = embed(root, encoder)
    assert encoder.seen == 20 and torch.equal(found.features, wanted.features)
    assert torch.equal(found.images, wanted.images) and len(embed(root, encoder)) == encoder.seen == 20


def test_an_unfinished_entry_is_never_read(tmp_path, own_cache):
    "Whole or absent: until it is finished, an entry has rows but nobody reads them."
    root = class_tree(tmp_path / "x", each=10)
    with pytest.raises(KeyboardInterrupt):
        embed(root, Stops(16))
    (entry,) = entries(own_cache)
    shapes = {"features": (np.dtype(np.float32), (12,)), "images": (np.dtype(np.uint8), (3, 64, 64))}
    assert feature_cache.read_entry(entry, shapes) is None
    embed(root)
    whole = feature_cache.read_entry(entry, shapes)
    features = whole.arrays["features"]
    assert features.shape == (20, 12) and whole.skipped == {} and isinstance(features, np.memmap)
    assert np.array_equal(np.load(entry / "features.npy"), features), "any reader of .npy reads it"
    assert feature_cache.read_entry(entry, {"features": (np.dtype(np.float32), (13,))}) is None


def test_two_at_once_fill_one_entry_once(tmp_path, monkeypatch, caplog):
    "The second waits, and finds what the first has made."
    monkeypatch.setattr(feature_cache, "_WAIT", 0.01)
    root, started, go, found = class_tree(tmp_path / "x", each=6), threading.Event(), threading.Event(), {}

    class Slow(FakeEncoder):
        def __call__(self, images):
            started.set()
            assert go.wait(60)
            return super().__call__(images)

    first, second = Slow(), FakeEncoder()
    threads = [threading.Thread(target=lambda: found.update(a=embed(root, first)))]
    threads[0].start()
    assert started.wait(60)
    threads.append(threading.Thread(target=lambda: found.update(b=embed(root, second))))
    threads[1].start()
    limit = time.monotonic() + 30
    while "waiting for it to finish" not in caplog.text and time.monotonic() < limit:
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join(60)
    assert first.seen == 12 and second.seen == 0 and torch.equal(found["a"].features, found["b"].features)


def test_only_abandoned_unfinished_entries_are_swept(tmp_path, own_cache):
    done, new, old, used = (class_tree(tmp_path / name) for name in ("done", "new", "old", "used"))
    names, month = {}, time.time() - 30 * 86400
    for root, after in ((done, 99), (new, 4), (old, 4), (used, 4)):
        before = set(entries(own_cache))
        try:
            embed(root, Stops(after))
        except KeyboardInterrupt:
            assert after == 4
        (names[root],) = set(entries(own_cache)) - before
        if root != new:
            for path in names[root].iterdir():
                os.utime(path, (month, month))
    with lock(names[used] / ".lock"):
        os.utime(next(names[used].glob(".lock.*")), (month, month))
        embed(class_tree(tmp_path / "another"))
    left = set(entries(own_cache))
    assert {names[done], names[new], names[used]} < left and names[old] not in left


def test_a_full_disk_says_where_and_keeps_what_there_is(tmp_path, monkeypatch):
    root, encoder = class_tree(tmp_path / "x", each=10), FakeEncoder()
    with monkeypatch.context() as patch:
        patch.setattr(cache.shutil, "disk_usage", lambda path: type("U", (), {"free": 10}))
        with pytest.raises(OSError, match="10 B free, the features need .*DCACN_CACHE"):
            embed(root, encoder)
    assert encoder.seen == 0
    true_append, calls = feature_cache.FileRows.checkpoint, []

    def full(self, complete=False):
        calls.append(complete)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        true_append(self, complete)

    monkeypatch.setattr(feature_cache, "CHECKPOINT", -1)
    monkeypatch.setattr(feature_cache.FileRows, "checkpoint", full)
    with pytest.raises(OSError, match=f"{tmp_path / 'cache'}.*No space left.*make room.*resumes.*DCACN_CACHE"):
        embed(root, encoder)
    again = FakeEncoder()
    assert len(embed(root, again)) == 20 and again.seen < 20


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    root = class_tree(tmp_path / "x")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="not writable.*DCACN_CACHE.*cache=False"):
        embed(root)
    assert len(embed(root, cache=False)) == 6
