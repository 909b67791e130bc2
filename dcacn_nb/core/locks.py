"""One lock for every file system: a small file that only one process can make, and that is touched while it lives.

`.lock.7` is the seventh hold of `.lock`. Making a file that must not exist is atomic on network file systems as well;
`flock` is often missing there, or known to one machine alone. The highest number counts. The file says which process
on which machine holds it. Seen from the same machine, a process that has ended holds nothing; seen from another one,
a file that was not touched for `STALE` seconds can be taken over. Numbers only grow: of two takers, one must fail."""

import contextlib
import errno
import functools
import json
import os
import re
import secrets
import socket
import stat
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from dcacn_nb.core.files import NotAFile, open_regular
from dcacn_nb.core.text import logger

log = logger(__name__)
BEAT = 20.0  # seconds between two signs of life
STALE = 180.0  # seconds without any, after which a holder on another machine counts as dead; NFS keeps ages for 60
_LONGEST = 4096  # bytes of a lock file, at most
_SOMEONE = "another process since this instant"  # whose name cannot be read yet


class Busy(RuntimeError):
    "Another process, or another part of this one, holds the lock."


class HeldLock:
    "A lock as `lock` returns it: held already, so that a `with` block only releases it. Any thread may release it."

    def __init__(self, path: Path, number: int, file: BinaryIO, token: str):
        self.path, self.number, self.token = path, number, token
        self.taken = False  # whether another process has taken the lock over: this one seemed to be dead
        self._beaten = time.time()
        self.release = weakref.finalize(self, _release, file, os.getpid())
        _held.add(self)
        _keep_alive()

    @property
    def is_locked(self) -> bool:
        "Whether this process still holds it."
        return self.release.alive and not self.taken

    def beat(self) -> None:
        "Give a sign of life, and notice if it comes too late."
        with contextlib.suppress(OSError):  # the folder may have been moved
            follow = os.utime not in os.supports_follow_symlinks  # only where there is no other way
            os.utime(_numbered(self.path, self.number), follow_symlinks=follow)
            self._beaten = time.time()
        with contextlib.suppress(OSError):
            self.taken = self.taken or max(_numbers(self.path), default=0) > self.number

    def is_mine(self) -> bool:
        "Whether nobody has taken the lock over; costs nothing as long as signs of life come in time."
        if time.time() - self._beaten > STALE / 2:  # the machine slept, or the file system hung
            self.beat()
        return not self.taken

    def __enter__(self) -> "HeldLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


_held: "weakref.WeakSet[HeldLock]" = weakref.WeakSet()


def _keep_alive() -> None:
    "Start the thread that gives signs of life, if it does not run in this process."
    if not any(thread.name == "dcacn-locks" for thread in threading.enumerate()):
        threading.Thread(target=_beat, name="dcacn-locks", daemon=True).start()


def _beat() -> None:
    "The thread's work; it ends when nothing is held."
    while sum(map(_beaten, list(_held))):
        time.sleep(BEAT)


def _beaten(held: HeldLock) -> bool:
    "Give a sign of life of one lock; whether it is held. In a function of its own, so that nothing keeps the lock."
    if held.is_locked:
        held.beat()
    return held.is_locked


def _release(file: BinaryIO, pid: int) -> None:
    "Write down that a lock is free: into the open file, wherever it has been moved to. Not from a forked child."
    with contextlib.suppress(OSError), file:
        if os.getpid() == pid:
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            file.write(b'{"released": true}'.ljust(length))  # never shorter: a reader sees the old text or the new one


@dataclass(frozen=True)
class Holder:
    "Which process holds a lock, as its file says."

    host: str
    pid: int
    path: str  # of the lock file, as the holder knows it
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}"


def lock(
    path: "str | Path",  # the lock's name; files of that name and a number are made beside it; its folder must exist
) -> HeldLock:  # `.release()` it, or use it in a `with` statement
    """Hold a lock until `.release()`, the end of a `with` block, or the end of the process (also by a kill).

    Raises `Busy` at once if the lock is held elsewhere: by another process, or by another call in this one.
    Raises `OSError` if no file can be made, or if what is there is no ordinary file: a link is not followed.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder of the lock file does not exist", str(path))
    before = _numbers(path)
    newest = max(before, default=0)
    held_by = _holder(path, newest) if newest else None
    if held_by is not None:
        raise _busy(path, held_by)
    made = _numbered(path, newest + 1)
    token = secrets.token_hex(8)
    try:
        file = _write(made, Holder(_host(), os.getpid(), str(made.absolute()), token))
    except FileExistsError:
        raise _busy(path, _SOMEONE) from None
    if max(_numbers(path), default=0) > newest + 1:  # what was read above was out of date
        file.close()
        made.unlink(missing_ok=True)
        raise _busy(path, _SOMEONE)
    for number in before:
        with contextlib.suppress(OSError):
            _numbered(path, number).unlink()
    return HeldLock(path, newest + 1, file, token)


def _busy(path: Path, holder: "Holder | str") -> Busy:
    "The error that says who holds a lock."
    return Busy(f"{path} is locked by {holder}; wait until it has ended")


def is_held(
    path: "str | Path",  # a lock's name
) -> "bool | None":  # None: nobody can tell, because it was never held, or cannot be read
    "Whether a process holds a lock."
    try:
        newest = max(_numbers(Path(path)), default=0)
        return _holder(Path(path), newest) is not None if newest else None
    except OSError:
        return None


def _numbered(path: Path, number: int) -> Path:
    "The file of one hold of a lock."
    return path.with_name(f"{path.name}.{number}")


def _numbers(path: Path) -> "set[int]":
    "The holds of a lock of which there are files."
    pattern = re.compile(re.escape(path.name) + r"\.([1-9]\d*)")
    return {int(match[1]) for name in os.listdir(path.parent) if (match := pattern.fullmatch(name))}


def _write(made: Path, holder: Holder) -> BinaryIO:
    "The file of a new hold, open, with who holds it in it."
    file = open(made, "xb", buffering=0)  # noqa: SIM115  # stays open until the release
    try:
        file.write(json.dumps(vars(holder)).encode())
        os.fsync(file.fileno())
    except BaseException:
        file.close()
        made.unlink(missing_ok=True)
        raise
    return file


def _holder(path: Path, number: int) -> "Holder | str | None":
    "Who holds a lock; None: nobody, because it was released, or its process has ended."
    file = _numbered(path, number)
    try:
        data, touched = _read(file)
    except FileNotFoundError:
        return _SOMEONE
    if not data:
        return _SOMEONE if _age(file, touched) < STALE else None
    try:
        about = json.loads(data)
        holder = Holder(str(about["host"]), int(about["pid"]), str(about["path"]), str(about["token"]))
    except (ValueError, TypeError, KeyError, RecursionError):  # released, or damaged
        return None
    if holder.pid == os.getpid() and holder.host == _host():
        return holder if any(held.token == holder.token and held.is_locked for held in list(_held)) else None
    age = _age(file, touched)
    if holder.host == _host():
        return holder if _runs(holder.pid, age) and _is_here(file, holder, age) else None
    return holder if age < STALE else None


def _read(file: Path) -> "tuple[bytes, float]":
    "What a lock file holds, and when it was last touched."
    if stat.S_ISLNK(os.lstat(file).st_mode):
        raise OSError(errno.ELOOP, "a lock file must not be a symbolic link; remove it", str(file))
    with open_regular(file) as opened:
        found = os.fstat(opened.fileno())
        if found.st_size > _LONGEST:
            raise NotAFile(errno.EFBIG, "is too long for a lock file; remove it", str(file))
        return opened.read(_LONGEST), found.st_mtime


def _runs(pid: int, age: float) -> bool:
    "Whether a process of this machine runs, and did so when the file was touched: numbers are used again."
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and time.time() - process.create_time() > age - 1
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _is_here(file: Path, holder: Holder, age: float) -> bool:
    "Whether this is the file that its holder made, and no copy of the folder."
    try:
        return os.path.samefile(file, holder.path)
    except OSError:  # the folder was moved: its holder will notice
        return age < STALE


def _age(file: Path, touched: float) -> float:
    "Seconds since a file was touched, by the clock of its file system: that of another machine may be wrong."
    try:
        with tempfile.TemporaryFile(dir=file.parent) as probe:
            return os.fstat(probe.fileno()).st_mtime - touched
    except OSError:  # a folder that one may only read
        return time.time() - touched


@functools.cache
def _host() -> str:
    "This machine; containers of one machine have process numbers of their own."
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino}"
    return socket.gethostname()
