"""Files that are whole or absent, stay in their folder, and are what they should be.

A folder may come from a stranger. What is read there is opened by `open_regular`, which waits for no pipe. What is
written or deleted there is named by `inside`, or written with `home=`: no link on the way leads out of the folder."""

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from dcacn_nb.core.text import logger

try:
    import fcntl
except ImportError:  # on Windows, where nobody can delete an open file
    fcntl = None  # type: ignore[assignment]

log = logger(__name__)

MAX_JSON = 64 * 2**20  # bytes of a JSON file, at most
_RANDOM = r"(?!\d{8}\.)[a-z0-9_]{8}"  # as `mkstemp` makes it; not a date, which a person may have written
_OURS = re.compile(rf"\..+\.{_RANDOM}\.tmp")  # names of temporary files of `atomic_write`
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFile(OSError, ValueError):
    "Something else stands where an ordinary file should be: a pipe, a device, a folder, or more than is sensible."


def open_regular(
    path: "str | Path",  # the file to read; a link to an ordinary file is followed
) -> BinaryIO:
    "Open an ordinary file to read it. Anything else is refused at once: a pipe would block, a device never ends."
    _check_regular(os.stat(path), path)  # before opening: that alone may do something to a device
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(found: os.stat_result, path: "str | Path") -> None:
    "Refuse what is not an ordinary file."
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no ordinary file")
        raise NotAFile(errno.EINVAL, f"is {kind}, where an ordinary file should be; remove it", str(path))


def read_regular(
    path: "str | Path",
    limit: int = MAX_JSON,  # bytes, at most
) -> bytes:
    "The bytes of an ordinary file; one that is longer than `limit` is refused before any of it is read."
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise NotAFile(errno.EFBIG, f"holds {size:,} bytes, and should hold at most {limit:,}", str(path))
        return file.read(limit)


def read_json(
    path: "str | Path",
    remedy: str = "restore it, or remove it",  # for the message
) -> Any:
    "What a JSON file holds; a ValueError names a file that is damaged."
    data = read_regular(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); {remedy}") from None


def user_path(
    path: Any,  # given by a user; `~` is the home folder
    name: str = "folder",  # of the argument, for the message
) -> Path:
    "A path as it is meant; an empty one is refused: for `Path` it would be the current folder."
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {path!r} ({type(path).__name__})")
    if not str(path):
        raise ValueError(f"{name} must name a folder, got {path!r}")
    return Path(path).expanduser()


def inside(
    home: "str | Path",  # a folder; may itself be reached through a link
    path: "str | Path",  # of a file to be written, renamed or deleted in it
) -> Path:  # the path
    "Refuse a path that leads out of its folder: `..`, or a sub-folder that is a link to elsewhere."
    real, parent = os.path.realpath(home), os.path.realpath(Path(path).parent)
    if parent != real and Path(real) not in Path(parent).parents:
        text = f"leads out of {str(home)!r}, to {parent!r}; remove the link"
        raise OSError(errno.ELOOP, text, str(path))
    return Path(path)


def _make_parent(path: Path, home: "Path | None") -> None:
    "Make the folder of a file that is to be written; of `home` only what is below it."
    if home is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if not home.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder is gone", str(home))
    folder = Path(os.path.realpath(home))
    for part in Path(os.path.realpath(inside(home, path).parent)).relative_to(folder).parts:
        folder /= part
        with suppress(FileExistsError):
            folder.mkdir()


def atomic_write(
    path: "str | Path",  # the file to write
    data: "bytes | Callable[[BinaryIO], object]",  # its whole content, or a function that writes it into a file
    home: "str | Path | None" = None,  # a folder that must exist, and that `path` must stay in; None: any, made
) -> Path:  # the path written
    "Write `data` to `path` so that a crash at any instant leaves the old file or the new one, never a part."
    path = Path(path)
    _make_parent(path, None if home is None else Path(home))
    if home is None and fcntl is not None:  # a file by itself: nobody else sweeps where it is
        sweep(path.parent, path.name)
    descriptor, temporary = _temporary(path)
    try:
        # held, and with its path as .name, for writers that take no open file
        with open(temporary, "wb", opener=lambda *_: descriptor) as file:
            file.write(data) if isinstance(data, bytes) else data(file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            if fcntl is not None:  # here the name changes while the file is held: nobody takes it for a leftover
                os.replace(temporary, path)
        if fcntl is None:
            os.replace(temporary, path)
    except BaseException as error:  # also on Ctrl-C: the half-written temporary file must not stay behind
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename == temporary:
            raise _about(path, error) from error
        raise
    return path


def _about(path: Path, error: OSError) -> OSError:
    "The same error of the file that was to be written: nobody knows the temporary one."
    return OSError(error.errno, error.strerror, str(path))


def _temporary(path: Path) -> "tuple[int, str]":
    "A new file beside `path`, held as long as it is open, so that `sweep` can tell it from a leftover."
    while True:
        try:
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        except OSError as error:
            raise _about(path, error) from error
        if try_lock(descriptor) is not False and os.path.exists(name):
            return descriptor, name
        os.close(descriptor)  # swept in the instant before it was held


def try_lock(
    descriptor: int,  # of an open file or folder
) -> "bool | None":  # False: another process holds it; None: there are no such locks, here or on this file system
    "Lock what is open, until it is closed."
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_full_disk(
    error: BaseException,
) -> bool:  # whether there is no room for a file, on the disk or in the user's share of it
    "Whether an error comes from a full disk: the same call works once there is room."
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def sweep(
    folder: "str | Path",  # that this program writes into; its sub-folders are left alone
    of: str = "",  # the name of the one file whose temporary files are meant; empty: of all
) -> "list[Path]":  # what was deleted
    "Delete temporary files that `atomic_write` left when its process was killed, and no others."
    ours = re.compile(rf"\.{re.escape(of)}\.{_RANDOM}\.tmp") if of else _OURS
    try:
        names = [name for name in os.listdir(folder) if ours.fullmatch(name)]
    except OSError:
        return []
    return [path for name in names if _is_leftover(path := Path(folder, name)) and _removed(path)]


def _is_leftover(path: Path) -> bool:
    "Whether a temporary file is an ordinary one that no process is writing."
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        if fcntl is None:
            return True
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return try_lock(descriptor) is True  # where there are no locks, nobody can tell
    finally:
        os.close(descriptor)


def _removed(path: Path) -> bool:
    "Delete a file; False if that is not possible: a leftover must not stop a run."
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("could not delete %s: %s", path, error)
        return False
    return True


def _umask() -> int:
    "The process's file creation mask (mkstemp ignores it, ordinary files follow it)."
    mask = os.umask(0)
    os.umask(mask)
    return mask
