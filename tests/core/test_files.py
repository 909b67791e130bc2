"Files that are whole or absent; locks that are held once, and that a kill sets free."

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from dcacn_nb.core import files
from dcacn_nb.core.files import Busy, atomic_write, lock

HOLDER = """
import sys, time
from dcacn_nb.core.files import lock
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


def test_a_lock_is_refused_until_it_is_released(tmp_path):
    held = lock(tmp_path / ".lock")
    assert held.is_locked
    with pytest.raises(Busy, match=r"\.lock is locked"):
        lock(tmp_path / ".lock")
    held.release()
    with lock(str(tmp_path / ".lock")) as again:
        assert again.is_locked
    assert not again.is_locked
    lock(tmp_path / "other").release()


def test_a_lock_of_another_process_ends_with_it_even_if_it_is_killed(tmp_path, holder):
    with pytest.raises(Busy):
        lock(tmp_path / ".lock")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock(tmp_path / ".lock").release()


def test_another_thread_may_release_a_lock(tmp_path):
    held = lock(tmp_path / ".lock")
    thread = threading.Thread(target=held.release)
    thread.start()
    thread.join()
    lock(tmp_path / ".lock").release()


def test_a_lock_leaves_contents_alone_and_follows_no_link(tmp_path):
    (tmp_path / ".lock").write_text("kept")
    lock(tmp_path / ".lock").release()
    assert (tmp_path / ".lock").read_text() == "kept"
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    for name in ("link", "dangling"):
        with pytest.raises(OSError, match="symbolic link") as caught:
            lock(tmp_path / name)
        assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "precious").read_text() == "precious" and not (tmp_path / "new").exists()


def test_a_lock_makes_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder"):
        lock(tmp_path / "absent" / ".lock")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock here")])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, error):
    def refuse(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(files.HeldLock, "acquire", refuse)
    held = lock(tmp_path / ".lock")
    assert not held.is_locked and str(error.args[-1]) in caplog.text and "only one process" in caplog.text
    held.release()


def test_other_errors_are_not_hidden(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.HeldLock, "acquire", refuse)
    with pytest.raises(PermissionError):
        lock(tmp_path / ".lock")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    target = atomic_write(tmp_path / "new" / "report.txt", b"first")
    with pytest.raises(TypeError, match="bytes-like"):
        atomic_write(target, lambda file: file.write("not bytes"))
    assert target.read_bytes() == b"first" and list(target.parent.iterdir()) == [target]
    assert atomic_write(target, b"second").read_bytes() == b"second"
    assert atomic_write(str(target), lambda file: file.write(b"third")).read_bytes() == b"third"


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "report.txt", interrupted)
    assert not list(tmp_path.iterdir())


def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    assert atomic_write(tmp_path / "x", b"").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="flock is a call of POSIX systems")
def test_no_marker_file_takes_the_place_of_a_lock(tmp_path, monkeypatch, caplog):
    "Where flock is missing, a warning is logged; a marker with a process number would outlive a kill."
    import fcntl

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    held = files.lock(tmp_path / ".lock")
    assert not held.is_locked and "cannot be locked" in caplog.text
    assert not (tmp_path / ".lock").exists() or (tmp_path / ".lock").read_bytes() == b""
