"""Which pictures: a short record of the files of a set, and what has changed since it was written."""

import os
import zlib
from dataclasses import dataclass
from typing import Any

from dcacn_nb.core.files import open_regular
from dcacn_nb.data.tree import in_order

MANY = 100_000  # files; of more, only the first are noted, and the number of all
CHECKED = 5_000  # files, the first, that are read at their ends; of the others sizes alone are noted
END = 4096  # bytes at the start and at the end of a file that count for its checksum


def picture_record(
    images: Any,  # an ImageSet or a FeatureSet
) -> "dict | None":  # plain values for a JSON file; None: the images are not files
    "Names of the files of a set, relative to the folder of all, with sizes, and checksums of their ends for the first."
    if not getattr(images, "paths", None):
        return None
    paths = [os.path.abspath(path) for path in images.paths]
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
        names = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    except ValueError:  # on several drives
        root, names = "", paths
    noted = list(zip(names, paths))[:MANY]
    files: dict[str, Any] = {name: _size_and_ends(path) for name, path in noted[:CHECKED]}
    files |= {name: _size(path) for name, path in noted[CHECKED:]}
    return {"root": root, "count": len(paths), "files": files}


def _size(path: str) -> int:
    "Bytes of a file; -1 if it is gone."
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _size_and_ends(path: str) -> "list[int] | int":
    "Bytes of a file, and a checksum of its first and last ones; -1 if it cannot be read."
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            ends = file.read(END)
            file.seek(max(END, size - END))
            return [size, zlib.crc32(ends + file.read(END))]
    except OSError:
        return -1


def _differs(old: Any, new: Any) -> bool:
    "Whether a file has changed; of two notes of which one is a size alone, sizes are compared."
    if isinstance(old, list) and isinstance(new, list):
        return old != new
    return _bytes(old) != _bytes(new)


def _bytes(note: Any) -> Any:
    "The size in a note; -1: the file is gone."
    return note[0] if isinstance(note, list) and note else note


@dataclass(frozen=True)
class Changes:
    "What differs between two records of pictures."

    added: "list[str]"
    removed: "list[str]"
    changed: "list[str]"  # of another size, or with other bytes at an end
    beyond: int = 0  # how many more there are, or fewer, among those of which no names are kept

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.beyond)

    def in_words(self) -> str:
        "One clause, empty if nothing differs."
        parts = [
            f"{len(names):,} {what} (e.g. {names[0]})"
            for what, names in (("added", self.added), ("removed", self.removed), ("changed", self.changed))
            if names
        ]
        if self.beyond:
            more = "more" if self.beyond > 0 else "fewer"
            parts.append(f"{abs(self.beyond):,} {more} beyond the first {MANY:,}")
        return f"pictures changed since training: {', '.join(parts)}" if parts else ""


def picture_changes(
    before: Any,  # a record from a file, which may hold anything
    now: "dict | None",  # as `picture_record` gives it
) -> "Changes | None":  # None: there is no record to compare with
    "What differs; that the folder moved as a whole is no difference."
    old = before.get("files") if isinstance(before, dict) else None
    if now is None or not isinstance(old, dict):
        return None
    new = {name: note for name, note in now["files"].items() if _bytes(note) != -1 or _bytes(old.get(name)) == -1}
    added = _up_to_end([name for name in new if name not in old], before, old)
    removed = _up_to_end([name for name in old if name not in new], now, new)
    changed = [name for name in new if name in old and _differs(old[name], new[name])]
    count = before.get("count", len(old))
    beyond = now["count"] - count - len(added) + len(removed) if type(count) is int else 0
    return Changes(added, removed, changed, beyond)


def _up_to_end(names: "list[str]", record: Any, files: "dict[str, Any]") -> "list[str]":
    "Of some names, those that a record would hold: one of very many files ends in the middle."
    if not files or record.get("count", len(files)) == len(files):
        return names
    end = max(map(in_order, files))
    return [name for name in names if in_order(name) < end]
