"""Files that are whole or absent, and locks that end with their process."""

import errno
import inspect
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # what file systems without locks answer


class Busy(RuntimeError):
    "Another process, or another part of this one, holds the lock."


# Newer releases would put a marker file where the system has no locks: it would outlive a killed process.
_HARD: "dict[str, Any]" = (
    {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters else {}
)


class HeldLock(FileLock):
    "A lock as `lock` returns it: held already, so that a `with` block only releases it."

    def __enter__(self) -> "HeldLock":
        return self


def atomic_write(
    path: "str | Path",  # the file to write
    data: "bytes | Callable[[BinaryIO], object]",  # its whole content, or a function that writes it into a file
) -> Path:  # the path written
    "Write `data` to `path` so that a crash at any instant leaves the old file or the new one, never a part."
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data) if isinstance(data, bytes) else data(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:  # also on Ctrl-C: the half-written temporary file must not stay behind
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    "The process's file creation mask (mkstemp ignores it, ordinary files follow it)."
    mask = os.umask(0)
    os.umask(mask)
    return mask


def lock(
    path: "str | Path",  # the lock file; made if it is missing, its content left alone; its folder must exist
) -> HeldLock:  # `.release()` it, or use it in a `with` statement
    """Hold a lock file until `.release()`, the end of a `with` block, or the end of the process (also by a kill).

    Raises `Busy` at once if the lock is held elsewhere: by another process, or by another call in this one.
    Raises `OSError` if the file cannot be opened or is a symbolic link, which is not followed.
    On a file system without locks, a warning is logged and the lock is returned with `.is_locked` false.
    """
    path = Path(path)
    if path.is_symlink():  # opening would create or truncate whatever it points to
        raise OSError(errno.ELOOP, "a lock file must not be a symbolic link; remove it", str(path))
    if not path.parent.is_dir():  # filelock would make it
        raise FileNotFoundError(errno.ENOENT, "the folder of the lock file does not exist", str(path))
    held = HeldLock(path, timeout=0, thread_local=False, **_HARD)  # any thread of the process may release it
    try:
        held.acquire()
    except Timeout:
        raise Busy(f"{path} is locked by another process; wait until it has ended") from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        log.warning("%s cannot be locked (%s): let only one process at a time work here", path, error)
    return held
