"""Files that are whole or absent: atomic writes."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
