"""What the cache folder holds, and how to make room in it: only files that this program has put there."""

import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dcacn_nb.core.files import read_json
from dcacn_nb.core.locks import Busy, lock
from dcacn_nb.data.cache import default_cache

_DECODED = re.compile(r"[0-9a-f]{64}\.npy")
_FEATURES = re.compile(r"features-[0-9a-f]{40}")
_WORK = re.compile(r"\.(part|probe)-\w+")
_NETWORK = re.compile(r"[^.].*\.(onnx|safetensors)")
_TEMPORARY = r"\.(state\.json|measured\.npy)\.\w+\.tmp"
_OURS = re.compile(rf"\w+\.npy|state\.json|\.lock(\.\d+)?|{_TEMPORARY}")  # files of an entry that is a folder
IN_USE = "in use"
_FRESH = 5  # seconds in which a process that begins may not have locked its folder yet


@dataclass(frozen=True)
class Kept:
    "One entry of the cache."

    path: Path  # its file or folder
    kind: str  # "decoded images", "features", "unfinished" or "network"
    size: int  # bytes
    age: float  # seconds since it was made or last used
    source: str  # the folder of the images, or the name of the network; "" if unknown
    files: "tuple[Path, ...]"  # what it consists of


def kept_entries(
    folder: "str | Path | None" = None,  # the cache folder; None: default_cache()
) -> "list[Kept]":  # the largest first
    "What the cache holds. Links, and files that this program does not make, are passed over."
    folder = default_cache() if folder is None else Path(folder)
    found = [entry for path in _inside(folder) if (entry := _entry(path)) is not None]
    networks = folder / "encoders"
    if not networks.is_symlink():
        found += [_made("network", path, [path], path.stem) for path in _inside(networks) if _is_network(path)]
    return sorted(found, key=lambda entry: -entry.size)


def clear(
    entries: Iterable[Kept],
    older_than: float = 0,  # seconds: entries used since then stay
) -> "tuple[list[Kept], dict[Kept, str]]":  # removed; not removed, and why
    "Remove entries of the cache; what is in use by another process stays."
    removed: list[Kept] = []
    left: dict[Kept, str] = {}
    for entry in entries:
        if entry.age >= older_than:
            why = _remove(entry)
            if why:
                left[entry] = why
            else:
                removed.append(entry)
    return removed, left


def _inside(folder: Path) -> "Iterator[Path]":
    "What is in a folder, if it can be read."
    try:
        yield from sorted(folder.iterdir())
    except OSError:
        return


def _mode(path: Path) -> int:
    "What kind of file a path is, links not followed; 0 where there is none."
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _is_network(path: Path) -> bool:
    "Whether a file is a network that was written out."
    return bool(_NETWORK.fullmatch(path.name)) and stat.S_ISREG(_mode(path))


def _entry(path: Path) -> "Kept | None":
    "The entry of a path, or None."
    mode = _mode(path)
    if _DECODED.fullmatch(path.name) and stat.S_ISREG(mode):
        side = path.with_suffix(".json")
        files = [path, side] if stat.S_ISREG(_mode(side)) else [path]
        return _made("decoded images", path, files, _noted(side).get("source"))
    if stat.S_ISDIR(mode) and (_FEATURES.fullmatch(path.name) or _WORK.fullmatch(path.name)):
        files = [file for file in _inside(path) if _OURS.fullmatch(file.name) and stat.S_ISREG(_mode(file))]
        if not files and not _WORK.fullmatch(path.name):
            return None
        noted = _noted(path / "state.json")
        kind = "features" if noted.get("complete") is True else "unfinished"
        return _made(kind, path, files, noted.get("source"))
    return None


def _made(kind: str, path: Path, files: "list[Path]", source: object) -> Kept:
    "An entry with its size and age."
    found = [os.lstat(file) for file in (files or [path])]
    size = sum(one.st_size for one in found) if files else 0
    age = max(0.0, time.time() - max(one.st_mtime for one in found))
    return Kept(path, kind, size, age, source if isinstance(source, str) else "", tuple(files))


def _noted(path: Path) -> dict:
    "What is noted beside an entry, if it can be read."
    try:
        noted = read_json(path) if stat.S_ISREG(_mode(path)) else {}
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _remove(entry: Kept) -> str:  # why it could not be; empty: it is gone
    "Remove an entry, unless another process uses it."
    try:
        if entry.path.is_symlink():
            return "became a link"
        if not entry.path.is_dir():
            for file in reversed(entry.files):  # the note first: without it, the rest is no entry
                file.unlink(missing_ok=True)
            return ""
        if entry.kind == "unfinished" and entry.age < _FRESH:
            return IN_USE
        with lock(entry.path / ".lock"):
            for file in entry.files:
                if not file.name.startswith(".lock"):
                    file.unlink(missing_ok=True)
        if all(_OURS.fullmatch(file.name) for file in _inside(entry.path)):  # else it holds what is not ours
            shutil.rmtree(entry.path)
        return ""
    except Busy:
        return IN_USE
    except OSError as error:
        return error.strerror or str(error)
