"Locks that are held once, on file systems without flock too, and that a kill sets free."

import errno
import gc
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dcacn_nb.core import locks
from dcacn_nb.core.locks import Busy, is_held, lock

HOLDER = """
import sys, time
from dcacn_nb.core.locks import lock
held = lock(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    "Another process that holds `<tmp_path>/.lock`."
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def left_by(path, number=1, age=0.0, **changes):
    "The file of a hold whose holder is not of this machine."
    file = path.with_name(f"{path.name}.{number}")
    about = {"host": "elsewhere", "pid": 4, "path": str(file), "token": "x"} | changes
    file.write_text(json.dumps(about))
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_a_lock_is_refused_until_it_is_released(tmp_path):
    held = lock(tmp_path / ".lock")
    assert held.is_locked
    with pytest.raises(Busy, match=rf"\.lock is locked by process {os.getpid()} on {socket.gethostname()}"):
        lock(tmp_path / ".lock")
    held.release()
    with lock(str(tmp_path / ".lock")) as again:
        assert again.is_locked
    assert not again.is_locked
    lock(tmp_path / "other").release()


def test_a_lock_of_another_process_ends_with_it_even_if_it_is_killed(tmp_path, holder):
    with pytest.raises(Busy, match=f"process {holder.pid} on"):
        lock(tmp_path / ".lock")
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet buried by its parent
    lock(tmp_path / ".lock").release()


def test_whether_a_lock_is_held(tmp_path, holder):
    "Held by a process, by this one, by none; a kill frees it. A look makes no file, and follows no link."
    path = tmp_path / ".lock"
    assert is_held(path) is True
    holder.kill()
    holder.wait()
    assert is_held(path) is False
    with lock(path):
        assert is_held(path) is True
    assert is_held(path) is False and is_held(tmp_path / "absent" / ".lock") is None
    names = os.listdir(tmp_path)
    assert is_held(tmp_path / "other") is None and os.listdir(tmp_path) == names
    (tmp_path / "other.1").symlink_to(tmp_path / ".lock.1")
    assert is_held(tmp_path / "other") is None


def test_another_thread_may_release_a_lock(tmp_path):
    held = lock(tmp_path / ".lock")
    thread = threading.Thread(target=held.release)
    thread.start()
    thread.join()
    lock(tmp_path / ".lock").release()


def test_a_lock_that_nothing_refers_to_is_released(tmp_path):
    held = lock(tmp_path / ".lock")
    with pytest.raises(Busy):
        lock(tmp_path / ".lock")
    del held
    gc.collect()
    lock(tmp_path / ".lock").release()


def test_a_folder_that_was_moved_is_free_once_its_lock_is_released(tmp_path):
    (tmp_path / "before").mkdir()
    held = lock(tmp_path / "before" / ".lock")
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(Busy):
        lock(tmp_path / "after" / ".lock")
    held.release()
    lock(tmp_path / "after" / ".lock").release()


def test_a_copy_of_a_held_folder_is_free(tmp_path, holder):
    (tmp_path / "copy").mkdir()
    shutil.copy2(tmp_path / ".lock.1", tmp_path / "copy")
    assert is_held(tmp_path / ".lock") is True and is_held(tmp_path / "copy" / ".lock") is False
    lock(tmp_path / "copy" / ".lock").release()


@pytest.mark.parametrize("age, held", [(0, True), (locks.STALE - 30, True), (locks.STALE + 30, False)])
def test_a_holder_on_another_machine_is_believed_as_long_as_it_gives_signs_of_life(tmp_path, age, held):
    left_by(tmp_path / ".lock", age=age)
    assert is_held(tmp_path / ".lock") is held
    if held:
        with pytest.raises(Busy, match="process 4 on elsewhere"):
            lock(tmp_path / ".lock")
    else:
        with lock(tmp_path / ".lock"):
            assert os.listdir(tmp_path) == [".lock.2"]


def test_a_number_that_another_process_has_now_holds_nothing(tmp_path):
    "This machine was started again: the process of that number is younger than the last sign of life."
    path = tmp_path / ".lock"
    for age, held in ((0, True), (400 * 86400, False)):
        left_by(path, age=age, host=locks._host(), pid=os.getppid())
        assert is_held(path) is held


@pytest.mark.parametrize("text", ["", '{"released": true}   ', "{", "[]", "[" * 1000, '{"host": 1}'])
def test_a_file_that_names_no_holder_is_free(tmp_path, text):
    "An empty one is being made at this instant, unless it is old."
    (tmp_path / ".lock.3").write_text(text)
    if not text:
        with pytest.raises(Busy, match="since this instant"):
            lock(tmp_path / ".lock")
        os.utime(tmp_path / ".lock.3", (1e9, 1e9))
    with lock(tmp_path / ".lock"):
        assert os.listdir(tmp_path) == [".lock.4"]


def test_who_comes_late_to_a_stale_lock_does_not_get_it(tmp_path, monkeypatch):
    "Both have seen that hold 3 is stale. The second one has taken hold 4, or taken it and freed it, and 5 is held."
    true, path = locks._holder, tmp_path / ".lock"
    for number in (4, 5):
        left_by(path, 3, age=1e6)

        def overtaken(path, newest, number=number):
            holder = true(path, newest)
            (tmp_path / ".lock.3").unlink()
            left_by(path, number)
            return holder

        monkeypatch.setattr(locks, "_holder", overtaken)
        with pytest.raises(Busy):
            lock(path)
        assert os.listdir(tmp_path) == [f".lock.{number}"]
        (tmp_path / f".lock.{number}").unlink()


def test_a_holder_that_seemed_dead_notices_that_it_was_taken_over(tmp_path, monkeypatch):
    held = lock(tmp_path / ".lock")
    assert held.is_mine()
    os.utime(tmp_path / ".lock.1", (1e9, 1e9))
    held.beat()
    assert time.time() - os.stat(tmp_path / ".lock.1").st_mtime < 60 and held.is_mine()
    left_by(tmp_path / ".lock", 2)
    assert held.is_mine(), "between two signs of life, nothing is looked up"
    monkeypatch.setattr(locks, "STALE", 0.0)
    assert not held.is_mine() and not held.is_locked
    held.release()
    assert json.loads((tmp_path / ".lock.2").read_text())["host"] == "elsewhere"


def test_signs_of_life_come_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    monkeypatch.setattr(locks.threading, "enumerate", list)  # the thread of another test may sleep
    with lock(tmp_path / ".lock"):
        os.utime(tmp_path / ".lock.1", (1e9, 1e9))
        deadline = time.monotonic() + 10
        while os.stat(tmp_path / ".lock.1").st_mtime == 1e9:
            assert time.monotonic() < deadline, "no sign of life"
            time.sleep(0.02)


def contender(path, results, go):
    go.wait()
    try:
        held = lock(path)
        results.put(held.number)
        time.sleep(1)
    except Busy:
        results.put(0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_of_many_takers_one_gets_it(tmp_path):
    "Ten processes take a stale lock at one instant, several times."
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        left_by(tmp_path / ".lock", 7, age=1e6)
        results, go = context.Queue(), context.Event()
        takers = [context.Process(target=contender, args=(tmp_path / ".lock", results, go)) for _ in range(10)]
        for taker in takers:
            taker.start()
        go.set()
        assert sorted(results.get(timeout=60) for _ in takers) == [0] * 9 + [8]
        for taker in takers:
            taker.join()
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_releases_nothing(tmp_path):
    held = lock(tmp_path / ".lock")
    child = os.fork()
    if not child:
        held.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert is_held(tmp_path / ".lock") is True
    held.release()
    assert is_held(tmp_path / ".lock") is False


def test_a_lock_makes_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder"):
        lock(tmp_path / "absent" / ".lock")
    assert not (tmp_path / "absent").exists()


def test_a_full_disk_leaves_no_lock(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(locks.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        lock(tmp_path / ".lock")
    assert not os.listdir(tmp_path)


# --- what is no ordinary file -------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", ["precious", "new", ".lock.1", "."])
def test_a_lock_follows_no_link(tmp_path, target):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".lock.1").symlink_to(tmp_path / target)
    with pytest.raises(OSError, match="symbolic link") as caught:
        lock(tmp_path / ".lock")
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "precious").read_text() == "precious" and not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "huge"])
def test_a_lock_is_an_ordinary_small_file(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo(".lock.1")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as new:
            new.bind(".lock.1")
    elif kind == "folder":
        os.mkdir(".lock.1")
    else:
        (tmp_path / ".lock.1").write_bytes(b" " * 10_000)
    with pytest.raises(OSError, match="ordinary file|too long"):
        lock(tmp_path / ".lock")


def test_another_file_of_that_name_is_not_written_to(tmp_path):
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / ".lock.1")
    lock(tmp_path / ".lock").release()
    assert (tmp_path / "precious").read_text() == "precious"
