"""Images in tar files (WebDataset's `KEY.jpg` beside `KEY.cls`, or a packed folder): read where they are, not unpacked.

A tar file may come from a stranger. Nothing in it becomes a file: links, devices and names that lead out of the archive
are left out and counted, a member never reaches beyond its file, and headers are read within bounds."""

import io
import os
import re
import sys
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from dcacn_nb.core.files import open_regular
from dcacn_nb.data.image_file import Inside, image_suffixes, in_words, suffix_of
from dcacn_nb.data.tree import is_left_out

HIDDEN, NO_SUFFIX, SPECIAL = "(hidden)", "(no suffix)", "(not a regular file)"
BAD_NAME, TWICE = "(name that leads out of the archive, or is too long)", "(name that was there before)"
MOST = 2**28  # bytes of an image in an archive
HEADER = 2**20  # bytes of a header, at most: names and attributes
LABEL = 200  # bytes of a label, at most
NAME = 1000  # characters of a name, at most
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"(\xb5": "zstd"}  # first bytes of compressed files
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Shards:
    "Where each image is: of a million, 24 MB."

    root: Path  # of the names
    files: "list[str]"  # the tar files, relative to it
    stamps: "list[str]"  # size and time of change of each
    names: "list[str]"  # of the images, the file's name first
    where: np.ndarray  # (N,3) int64: which file, offset and size there

    def place(self, number: int) -> Inside:
        "Where an image is."
        file, offset, size = self.where[number].tolist()
        return Inside(str(self.root / self.names[number]), lambda: _read(self.root / self.files[file], offset, size))

    def stamp(self, number: int) -> str:
        "What changes when an image does."
        file, offset, size = self.where[number].tolist()
        return f"{self.stamps[file]}\0{offset}\0{size}"

    def subset(self, chosen: Sequence[int]) -> "Shards":
        "Some of the images, in the order given."
        rows = self.where[np.asarray(chosen, np.int64)]
        return replace(self, names=[self.names[i] for i in chosen], where=rows)


def _read(path: Path, offset: int, size: int) -> bytes:
    "The bytes of a member."
    if size > MOST:
        raise OSError(f"too large: {size:,} bytes, an image in an archive may have {MOST:,}")
    with open_regular(path) as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) < size:
        raise OSError(f"{path.name} has been cut since it was listed")
    return data


@dataclass
class Members:
    "What tar files hold."

    names: "list[str]" = field(default_factory=list)  # of the images, the tar file's first
    own: "list[str]" = field(default_factory=list)  # their names in it
    where: "array[int]" = field(default_factory=lambda: array("q"))  # three numbers for each image, as of `Shards`
    labels: "list[str]" = field(default_factory=list)  # what the .cls file of each says; "" where there is none
    ignored: "Counter[str]" = field(default_factory=Counter)  # suffix, or reason in brackets -> members left out
    system: "Counter[str]" = field(default_factory=Counter)  # name -> system and hidden folders left out
    unreadable: "dict[str, str]" = field(default_factory=dict)  # tar file -> what is wrong with it


class SeveralLabels(ValueError):
    "A sample with more than one label: no file of the archive is damaged, but none says which is meant."


def read_members(
    root: Path,
    files: "list[str]",  # tar files, relative to it
) -> Members:
    "All images and labels, in the order in which they are packed."
    found = Members()
    for number, name in enumerate(files):
        labels: dict[str, str] = {}
        before = len(found.names)
        try:
            with open_regular(root / name) as file:
                _read_shard(number, name, file, found, labels)
        except SeveralLabels as error:
            raise ValueError(f"{root / name}: {error}") from None
        except Exception as error:  # of a damaged file tarfile raises errors of many kinds
            found.unreadable[name] = f"{in_words(error)}; {len(found.names) - before:,} images come before that"
        found.labels += [labels.get(_key(own), "") for own in found.own[before:]]
    return found


def _read_shard(number: int, shard: str, file: BinaryIO, found: Members, labels: "dict[str, str]") -> None:
    "The members of one tar file; the labels by key."
    kind = COMPRESSED.get(file.read(2))
    if kind:
        raise ValueError(f"it is compressed ({kind}), so single images cannot be read from it; decompress it first")
    known, seen, system = image_suffixes(), set(), set()
    for member in _members(file):
        name = member.name.removeprefix("./")
        own, suffix = name.rpartition("/")[2], suffix_of(name)
        folder = "" if _leads_out(name) else _system_folder(name if member.isdir() else name.rpartition("/")[0])
        if folder:
            found.system.update([] if folder in system else [folder.rpartition("/")[2]])
            system.add(folder)
        elif not member.isreg() or member.issparse():
            found.ignored.update([] if member.isdir() else [SPECIAL])
        elif _leads_out(name):
            found.ignored[BAD_NAME] += 1
        elif own.startswith("."):
            found.ignored.update([HIDDEN] if suffix in known else [])
        elif suffix == ".cls":
            _add_label(labels, _key(name), _label(file, member))
        elif suffix not in known:
            found.ignored[suffix or NO_SUFFIX] += 1
        elif name in seen:
            found.ignored[TWICE] += 1
        else:
            seen.add(name)
            found.own.append(name)
            found.names.append(f"{shard}/{name}")
            found.where.extend((number, member.offset_data, member.size))


def _add_label(labels: "dict[str, str]", key: str, label: str) -> None:
    "Note the label of a sample; a second one that differs is refused."
    if labels.setdefault(key, sys.intern(label)) != label:
        text = f"the files of key {key!r} must have one label, got {labels[key]!r} and {label!r}"
        raise SeveralLabels(f"{text}; a key is the name up to its first dot: rename the files, or leave one .cls out")


@lru_cache
def _system_folder(folder: str) -> str:
    "The first system or hidden folder on a way into an archive; empty if there is none."
    parts = folder.split("/")
    for i, part in enumerate(parts):
        if part not in ("", ".") and is_left_out(part):
            return "/".join(parts[: i + 1])
    return ""


def _leads_out(name: str) -> bool:
    "Whether a name is absolute on some system, climbs, or is longer than any file's."
    climbs = name.startswith("/") or ".." in name.split("/") or bool(re.match("[A-Za-z]:", name))
    return climbs or "\\" in name or "\0" in name or len(name) > NAME


class _Bounded(io.RawIOBase):
    "A file of which no more than a header is read for each member."

    def __init__(self, file: BinaryIO):
        self.file, self.room = file, HEADER

    def read(self, size: int = -1) -> bytes:
        "Bytes from here on."
        if not 0 <= size <= self.room:
            raise ValueError(f"a member's header has more than {HEADER:,} bytes")
        self.room -= size
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        "Go to a place."
        return self.file.seek(place, whence)

    def tell(self) -> int:
        "Where this is."
        return self.file.tell()


def _members(file: BinaryIO) -> "Iterator[tarfile.TarInfo]":
    "Member after member; none is kept, none reaches beyond the end of the file, and none comes before the last."
    end, last, bounded = file.seek(0, os.SEEK_END), -1, _Bounded(file)
    file.seek(0)
    with tarfile.open(fileobj=cast(BinaryIO, bounded), mode="r:") as opened:
        while (member := opened.next()) is not None:
            if member.offset <= last:
                raise tarfile.ReadError("its members run in a circle")
            if member.isreg() and not member.issparse() and not 0 <= member.size <= end - member.offset_data:
                there = f"{max(0, end - member.offset_data):,} of {member.size:,} bytes"
                raise tarfile.ReadError(f"it is cut short: of {member.name[:80]!r} it has {there}")
            last, bounded.room = member.offset, HEADER
            yield member
            opened.members.clear()  # type: ignore[attr-defined]  # else all would be kept
        file.seek(opened.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # tarfile stops at a damaged header without a word
            raise tarfile.ReadError(f"it is damaged at byte {opened.offset:,}")


def _key(name: str) -> str:
    "What the files of one sample have in common: the name up to its first dot."
    folder, slash, own = name.rpartition("/")
    return f"{folder}{slash}{own.partition('.')[0]}"


def _label(file: BinaryIO, member: tarfile.TarInfo) -> str:
    "The text of a .cls file; empty if it is none. The place in the file is kept."
    if member.size > LABEL:
        return ""
    place = file.tell()
    file.seek(member.offset_data)
    data = file.read(member.size)
    file.seek(place)
    return data.decode("utf-8", "replace").strip()


def classes_of(
    texts: "list[str]",  # what names the class of each image; "" where nothing does
    where: str,  # what holds these, for messages
) -> "tuple[list[int] | None, list[str] | None, str]":  # a class number per image, their names; else why there are none
    "The classes, if every image has one; numbers are sorted as numbers."
    different = set(texts)
    if different <= {""}:
        return None, None, ""
    if "" in different:
        missing = f"{texts.count(''):,} of {len(texts):,} images have no label ({where})"
        return None, None, f"{missing}: all are taken, without labels"
    numbers = all(re.fullmatch(r"-?\d{1,18}", text) for text in different)
    names = sorted(different, key=int) if numbers else sorted(different)
    if len(names) < 2:
        return None, None, f"all images have the same label ({where}): a single class is not a grouping"
    place = {name: i for i, name in enumerate(names)}
    return [place[text] for text in texts], names, ""


def shard_files(
    source: object,  # a tar file; with {000..010} or *, several
) -> "list[Path]":  # in order; empty if no tar files are meant
    "The tar files that a source names."
    if not isinstance(source, (str, Path)) or not str(source).lower().endswith(".tar"):
        return []
    path = Path(source).expanduser()
    if path.exists():
        return [] if path.is_dir() else [path]  # a folder may have such a name, too
    if _RANGE.search(path.name):
        return _counted(path)
    return sorted(path.parent.glob(path.name)) if "*" in path.name else []


def _counted(path: Path) -> "list[Path]":
    "The files that a name with {000..010} stands for; an error names the first that is missing."
    found = _RANGE.search(path.name)
    assert found is not None
    first, last = map(int, found.groups())
    if not 0 <= last - first < 100_000:
        raise ValueError(f"source {str(path)!r} must count up, from the smaller to the larger number")
    names = [_RANGE.sub(f"{i:0{len(found[1])}}", path.name, count=1) for i in range(first, last + 1)]
    files = [path.parent / name for name in names]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"source {str(path)!r}: {len(missing):,} of its files are missing, e.g. {missing[0]}")
    return files
