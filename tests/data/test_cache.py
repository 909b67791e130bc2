"The cache of decoded folders: found again, never half written, swept, and never in the way."

import errno
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pictures import class_tree, load, noise, save

from dcacn_nb.core.locks import lock
from dcacn_nb.data import cache, folders, rows
from dcacn_nb.data.folders import decode_folder
from dcacn_nb.data.listing import list_images
from dcacn_nb.data.pixels import measure_image, read_image


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


def test_the_second_call_maps_the_file_of_the_first(tmp_path, own_cache):
    listing = list_images(class_tree(tmp_path / "x"))
    array, first = decode_folder(listing, progress=False)
    again, second = decode_folder(listing, progress=False)
    os.utime(tmp_path / "x" / "ant" / "0.png", ns=(1, 1))
    changed, third = decode_folder(listing, progress=False)
    assert (first["cached"], second["cached"], third["cached"]) == (False, True, False)
    assert np.array_equal(again, array) and np.array_equal(changed, array) and isinstance(again, np.memmap)
    assert len(list(own_cache.glob("*.npy"))) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "zip", "no json", "half json", "other shape"])
def test_damaged_cache_entries_are_made_again(tmp_path, own_cache, damage):
    root = class_tree(tmp_path / "x")
    wanted = load(root).images.clone()
    (array,) = own_cache.glob("*.npy")
    side = array.with_suffix(".json")
    if damage == "cut":
        array.write_bytes(array.read_bytes()[:300])
    elif damage == "empty":
        array.write_bytes(b"")
    elif damage == "header":  # a bracket that is never closed
        array.write_bytes(array.read_bytes().replace(b"(", b"{", 1))
    elif damage == "zip":
        with open(array, "wb") as file:
            np.savez(file, array=wanted.numpy())
    elif damage == "no json":
        side.unlink()
    elif damage == "half json":
        side.write_text(side.read_text()[:10])
    else:
        np.save(array, np.zeros((1, 3, 8, 8), np.uint8))
    assert torch.equal(load(root).images, wanted)


KILLED = """
import os, sys
from dcacn_nb.data import folders, rows
from dcacn_nb.data.listing import list_images
from dcacn_nb.data.pixels import measure_image, read_image
rows.CHECKPOINT, folders.MANY = -1, 0  # note every row
true_read, seen = folders.read_image, []
def dying(*args):
    seen.append(1)
    if len(seen) > 12:
        os.kill(os.getpid(), 9)
    return true_read(*args)
folders.read_image, folders.AHEAD = dying, 4
folders.decode_folder(list_images(sys.argv[1]), progress=False)
"""


@pytest.fixture
def killed(tmp_path, own_cache):
    "The folder of images and the work folder of a process that was killed while it decoded them."
    root = class_tree(tmp_path / "x", each=8)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", KILLED, str(root)], env=env, capture_output=True, timeout=120)
    assert ended.returncode == -9, ended.stderr
    assert not list(own_cache.glob("*.npy")) and not list(own_cache.glob("*.json")), "no half entry"
    (work,) = own_cache.glob(".part-*")
    return root, work


@pytest.mark.parametrize("damage", ["none", "rows", "cut", "note", "measured"])
def test_a_killed_decoding_is_resumed(killed, own_cache, monkeypatch, damage):
    "What was decoded before is not decoded again, unless it is damaged; the pixels are the same."
    root, work = killed
    done = json.loads((work / "state.json").read_text())["files"]
    assert 6 <= done <= 12
    if damage == "rows":  # one bit
        data = bytearray((work / "part.npy").read_bytes())
        data[cache.HEADER + 5] ^= 1
        (work / "part.npy").write_bytes(data)
    elif damage == "cut":
        os.truncate(work / "part.npy", cache.HEADER + 10)
    elif damage == "note":
        (work / "state.json").write_text("{")
    elif damage == "measured":
        (work / "measured.npy").write_bytes(b"nothing")
    read, measured = [], []
    monkeypatch.setattr(folders, "read_image", lambda *given: read.append(1) or read_image(*given))
    monkeypatch.setattr(folders, "measure_image", lambda *given: measured.append(1) or measure_image(*given))
    found = load(root)
    assert len(read) == (16 - done if damage in ("none", "measured") else 16)
    assert len(measured) == (16 if damage == "measured" else 0)
    assert torch.equal(found.images, load(root, cache=False).images)
    assert not list(own_cache.glob(".part-*"))


def test_what_nobody_resumes_goes_after_a_week(killed, own_cache, tmp_path):
    _, work = killed
    for days, there in ((6, True), (8, False)):
        os.utime(work, (time.time() - days * 86400,) * 2)
        load(class_tree(tmp_path / "other"))
        assert work.exists() == there


def test_two_calls_at_once_do_not_share_a_work_folder(killed, own_cache):
    "While another process holds it, this one decodes in a folder of its own."
    root, work = killed
    with lock(work / ".lock"):
        assert len(load(root)) == 16
        assert (work / "state.json").exists(), "it is the other one's"


def test_temporary_files_of_killed_processes_are_swept(tmp_path, own_cache):
    own_cache.mkdir(parents=True, exist_ok=True)
    (own_cache / ".0a.json.abcd_123.tmp").write_bytes(b"{")
    (own_cache / ".of-someone-else.tmp").write_bytes(b"{")
    load(class_tree(tmp_path / "x"))
    assert [path.name for path in own_cache.glob(".*")] == [".of-someone-else.tmp"]


def test_what_another_process_is_writing_is_not_swept(tmp_path, own_cache):
    "A work folder belongs to a living process as long as its lock is held, however old it is."
    for name, age in (("alive", 90_000), ("dead", 120), ("new", 1)):
        (own_cache / f".part-{name}").mkdir(parents=True)
        (own_cache / f".part-{name}" / ".lock").touch()
        os.utime(own_cache / f".part-{name}", (time.time() - age,) * 2)
    with lock(own_cache / ".part-alive" / ".lock"):
        load(class_tree(tmp_path / "x"))
    assert sorted(path.name for path in own_cache.glob(".part-*")) == [".part-alive", ".part-new"]


@pytest.mark.parametrize("after", [0, 3])
def test_ctrl_c_keeps_what_is_done(tmp_path, own_cache, monkeypatch, after):
    root, read = class_tree(tmp_path / "x"), []

    def interrupted(*given):
        read.append(1)
        if len(read) > after:
            raise KeyboardInterrupt
        return read_image(*given)

    monkeypatch.setattr(folders, "read_image", interrupted)
    monkeypatch.setattr(folders, "in_order", lambda function, items, ahead: (function(item) for item in items))
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert len(list(own_cache.iterdir())) == bool(after)
    read.clear()
    monkeypatch.setattr(folders, "read_image", lambda *given: read.append(1) or read_image(*given))
    assert len(load(root)) == 6 and len(read) == 6 - after


def test_a_bad_file_leaves_nothing_behind(tmp_path, own_cache):
    "It is reported when it is met, not after all others."
    root = class_tree(tmp_path / "x")
    data = (root / "ant" / "0.png").read_bytes()
    (root / "ant" / "0.png").write_bytes(data[:-40])  # the header is whole
    with pytest.raises(ValueError, match="cannot read image .*0.png"):
        load(root)
    assert not list(own_cache.iterdir())
    assert len(load(root, on_error="skip")) == 5


def cut_short(path):
    "Cut a picture after its header, so that it shows only when it is decoded."
    path.write_bytes(path.read_bytes()[:-40])


def count_reads(monkeypatch):
    "The files that are decoded from now on."
    read = []
    monkeypatch.setattr(folders, "read_image", lambda *given: read.append(given[0]) or read_image(*given))
    return read


def test_a_bad_file_costs_no_decoded_row(tmp_path, own_cache, monkeypatch):
    "The next call begins with it, and with on_error='skip' decodes the rest only."
    root = class_tree(tmp_path / "x", each=20)
    cut_short(root / "bee" / "15.png")
    name = str(root / "bee" / "15.png")
    with pytest.raises(ValueError, match="15.png"):
        load(root)
    before = json.loads(next(own_cache.glob(".part-*/state.json")).read_text())["files"]
    monkeypatch.setattr(folders, "AHEAD", 1)
    read = count_reads(monkeypatch)
    with pytest.raises(ValueError, match="15.png.*on_error='skip'"):
        load(root)
    assert read == [name]
    read.clear()
    images = load(root, on_error="skip")
    assert len(read) == 40 - before and list(images.protocol["skipped"]) == ["bee/15.png"]
    assert images.images.equal(load(root, on_error="skip", cache=False).images)
    assert not list(own_cache.glob(".part-*"))


def test_what_an_earlier_call_left_out_is_refused_at_once(tmp_path, own_cache, monkeypatch):
    root = class_tree(tmp_path / "x")
    cut_short(root / "ant" / "1.png")

    def interrupted(path, *rest):
        if path.endswith("bee/2.png"):
            raise KeyboardInterrupt
        return read_image(path, *rest)

    monkeypatch.setattr(folders, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(root, on_error="skip")
    read = count_reads(monkeypatch)
    with pytest.raises(ValueError, match="1.png"):
        load(root)
    assert not read
    assert len(load(root, on_error="skip")) == 5 and len(read) == 1


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_full_disk_costs_no_decoded_row(tmp_path, own_cache, monkeypatch, when):
    root, whole = class_tree(tmp_path / "x"), rows.FileRows._write

    def full(self, row):
        if self.count == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, row)

    monkeypatch.setattr(rows.FileRows, "_write", full)
    with pytest.raises(OSError, match="No space left.*repeat the call, which resumes") as caught:
        load(root)
    assert caught.value.errno == errno.ENOSPC
    if when == "before":  # the disk has filled up further
        with monkeypatch.context() as patch:
            patch.setattr(cache.shutil, "disk_usage", lambda path: type("U", (), {"free": 10}))
            with pytest.raises(OSError, match="10 B free"):
                load(root)
    monkeypatch.setattr(rows.FileRows, "_write", whole)
    read = count_reads(monkeypatch)
    assert len(load(root)) == 6 and len(read) == 2


def test_a_folder_of_its_own_does_not_stay(tmp_path, own_cache):
    "Nobody would resume what a second process decoded there."
    root = class_tree(tmp_path / "x")
    cut_short(root / "bee" / "2.png")
    with pytest.raises(ValueError, match="2.png"):
        load(root)
    (work,) = own_cache.glob(".part-*")
    before = (work / "state.json").read_bytes()
    with lock(work / ".lock"), pytest.raises(ValueError, match="2.png"):
        load(root)
    assert list(own_cache.glob(".part-*")) == [work] and (work / "state.json").read_bytes() == before


def test_unusable_cache_folder_says_what_to_do(tmp_path, monkeypatch):
    root = class_tree(tmp_path / "x")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="not writable.*DCACN_CACHE.*cache=False"):
        load(root)
    assert len(load(root, cache=False)) == 6
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("U", (), {"free": 10}))
    with pytest.raises(OSError, match="10 B free.*cache clear.*DCACN_CACHE") as caught:
        load(root)
    assert caught.value.errno == errno.ENOSPC and str(caught.value).count("DCACN_CACHE") == 1


def test_the_work_folder_of_another_user_does_not_stop_a_load(tmp_path, monkeypatch):
    "A folder that may not be entered is left alone."
    work = tmp_path / ".part-theirs"
    work.mkdir()
    os.utime(work, (0, 0))

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(cache, "lock", refuse)
    cache._sweep(tmp_path)
    assert work.is_dir()


def test_what_a_killed_process_left_goes_also_where_the_entry_is_whole(tmp_path):
    root = class_tree(tmp_path / "x")
    load(root, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").rglob("*.npy")
    left = entry.parent / ".part-killed"
    left.mkdir()
    os.utime(left, (1, 1))
    load(root, cache=tmp_path / "cache")
    assert not left.exists() and entry.exists()
