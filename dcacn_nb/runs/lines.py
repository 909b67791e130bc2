"""A file of lines that is only appended to: by one writer, and read from its start, or followed while it grows.

A line counts once its newline is there. No more than one chunk and one line are in memory at a time, and a line has a
largest length: a damaged file may hold a hundred gigabytes without a newline."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dcacn_nb.core.files import NotAFile, open_regular

LONGEST = 64 * 2**20  # bytes of a line, at most
CHUNK = 2**22  # bytes read at once
_CHECKED = 256  # bytes before one's place that are compared, to notice that the file was cut and has grown again


def complete_lines(file: BinaryIO) -> "Iterator[bytes]":
    """The lines that end in a newline, without it; what follows the last newline is not finished.

    Only what is there at the start is read: a writer may be faster than its reader."""
    left = os.fstat(file.fileno()).st_size - file.tell()
    while left > 0 and (line := file.readline(LONGEST + 1)):
        left -= len(line)
        if not line.endswith(b"\n"):
            _check_length(line, file.name)
            return
        yield line[:-1]


def _check_length(line: "bytes | bytearray", path: object) -> None:
    "Refuse what is no line that this package wrote."
    if len(line) > LONGEST:
        raise NotAFile(errno.EFBIG, f"is damaged: it holds a line of more than {LONGEST:,} bytes", str(path))


class Appender:
    "Appends to a file that it made, or that was there before; never to another one that has taken its place."

    def __init__(
        self,
        path: Path,
        new: bool,  # whether the first line makes the file
    ):
        self.path, self.new = path, new
        self._file: tuple[int, int] | None = None  # device and inode of the file

    def __call__(self, data: bytes) -> None:
        "Append all of `data`, or nothing: after a full disk, the next line must not continue half a line."
        with open(self.path, "ab", buffering=0, opener=self._open) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                while data:
                    data = data[file.write(data) :]
            except BaseException as error:
                file.truncate(before)
                if isinstance(error, OSError) and error.filename is None:
                    error.filename = str(self.path)  # a failed write does not say which file it was
                raise

    def sync(self) -> None:
        "Wait until all that was appended is on the disk."
        if self._file is not None:
            with open(self.path, "ab", buffering=0, opener=self._open) as file:
                os.fsync(file.fileno())

    def replaced(self) -> None:
        "The file was written again as a whole."
        self._file, self.new = None, False

    def _open(self, path: str, flags: int) -> int:
        "Open the file: no link is followed, no pipe waited for, and a file that is gone stays away."
        more = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"))
        flags |= more
        descriptor = os.open(path, flags if self.new else flags & ~os.O_CREAT, 0o666)
        found = os.fstat(descriptor)
        identity = (found.st_dev, found.st_ino)
        if stat.S_ISREG(found.st_mode) and self._file in (None, identity):
            self._file, self.new = identity, False
            return descriptor
        os.close(descriptor)
        if self._file is None:
            raise NotAFile(errno.EINVAL, "is no ordinary file; remove it", path)
        raise FileNotFoundError(errno.ENOENT, "was deleted, and another file has taken its place", path)


class Tail:
    "Reads the lines of a file that another process appends to, cuts back and continues."

    def __init__(self, path: Path):
        self.path = path
        self.restart()

    def restart(self) -> None:
        "Begin at the file's first line."
        self.number = 0  # lines read so far
        self._inode: int | None = None
        self._offset = 0  # where the next line begins
        self._last = b""  # the end of the line before it
        self._pending = bytearray()  # what was read from there on, and is not passed yet

    def look(self) -> "tuple[list[bytes], bool] | None":
        "New complete lines, and whether there is more to read; None if this is not the file that was read so far."
        try:
            with open_regular(self.path) as file:
                if not self._is_same(file):
                    return None
                data = file.read(CHUNK)
        except FileNotFoundError:
            return ([], False) if self._inode is None else None
        self._pending += data
        if b"\n" not in data:
            _check_length(self._pending, self.path)
            return [], len(data) == CHUNK
        return bytes(self._pending).split(b"\n")[:-1], len(data) == CHUNK

    def passed(self, line: bytes) -> None:
        "Note that a line has been dealt with."
        self.number, self._offset = self.number + 1, self._offset + len(line) + 1
        self._last = (line + b"\n")[-_CHECKED:]
        del self._pending[: len(line) + 1]

    def is_same(self) -> bool:
        "Whether the file is still the one that was read so far."
        try:
            with open_regular(self.path) as file:
                return self._is_same(file)
        except OSError:
            return False

    def _is_same(self, file: BinaryIO) -> bool:
        "Whether an open file holds what was read so far; its place is behind that then."
        found = os.fstat(file.fileno()).st_ino
        if self._inode not in (None, found):
            return False
        self._inode = found
        known = bytes(self._last) + bytes(self._pending[:_CHECKED])
        file.seek(self._offset - len(self._last))
        if file.read(len(known)) != known:
            return False
        tail = bytes(self._pending[-_CHECKED:])
        file.seek(self._offset + len(self._pending) - len(tail))
        return file.read(len(tail)) == tail
