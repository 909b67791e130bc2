"The cache of decoded folders: found again, never half written, swept, and never in the way."

import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pictures import class_tree, load, noise, save

from dcacn_nb.core.locks import lock
from dcacn_nb.data import cache, folders
from dcacn_nb.data.folders import decode_folder
from dcacn_nb.data.listing import list_images


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
from dcacn_nb.data import folders
from dcacn_nb.data.listing import list_images
true_read, seen = folders.read_image, []
def dying(*args):
    seen.append(1)
    if len(seen) > 4:
        os.kill(os.getpid(), 9)
    return true_read(*args)
folders.read_image = dying
folders.decode_folder(list_images(sys.argv[1]), progress=False)
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
        os.utime(work, (time.time() - 61,) * 2)  # a minute later, the rest is swept
    assert len(load(root)) == 16 and not list(own_cache.glob(".part-*"))


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
    with pytest.raises(OSError, match="10 B free.*cache clear.*DCACN_CACHE"):
        load(root)


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
