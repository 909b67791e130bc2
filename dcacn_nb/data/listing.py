"""What a folder of images holds: files in a fixed order, and the classes that sub-folders name."""

import difflib
import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dcacn_nb.core.files import user_path
from dcacn_nb.data.catalogue import SOURCES
from dcacn_nb.data.image_file import Inside, image_suffixes, is_image_inside, suffix_of, unreadable_kinds
from dcacn_nb.data.shards import Shards, classes_of, read_members, shard_files
from dcacn_nb.data.tables import Table, is_dataset, is_saved, read_dataset, read_parquet, table_files
from dcacn_nb.data.tree import Found, walk

SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}
PACKED = {".tar", ".parquet"}  # files that hold images
SHOWN = 8  # kinds of files or folders that a sentence names


def file_stamp(path: str) -> str:
    "Size and time of change of a file."
    try:
        found = os.stat(path)
        return f"{found.st_size}\0{found.st_mtime_ns}"
    except OSError:  # a link to nowhere: it will fail, and be reported, when it is read
        return "missing"


class Packed(Protocol):
    "Images inside other files."

    def place(self, number: int) -> Inside:
        "Where an image is."

    def stamp(self, number: int) -> str:
        "What changes when an image does."

    def subset(self, chosen: Sequence[int]) -> "Packed":
        "Some of the images."


@dataclass(frozen=True)
class Listing:
    "What a folder holds: image files in a fixed order, and labels if sub-folders name classes."

    root: Path  # the folder
    files: list[str]  # paths relative to it, with forward slashes
    labels: "list[int] | None" = None  # one class number per file
    class_names: "list[str] | None" = None  # one name per class
    ignored: dict[str, int] = field(default_factory=dict)  # suffix, or reason in brackets -> files left out
    notes: tuple[str, ...] = ()  # decisions taken, in words
    unreadable: dict[str, str] = field(default_factory=dict)  # sub-folder, or file that holds images -> why not
    no_labels: str = ""  # why nothing here names classes, in words
    packed: "Packed | None" = None  # where the images are, if not in files of their own

    def place(self, number: int) -> "str | Inside":
        "Where an image is, for whatever opens images."
        return self.full_name(number) if self.packed is None else self.packed.place(number)

    def full_name(self, number: int) -> str:
        "An image's path; of one inside another file, that file's path and the name in it."
        root, name = str(self.root), self.files[number]
        name = name if os.sep == "/" else name.replace("/", os.sep)
        return name if root == "." else os.path.join(root, name)

    def stamp(self, number: int) -> str:
        "What changes when an image does."
        return file_stamp(self.full_name(number)) if self.packed is None else self.packed.stamp(number)

    def subset(self, chosen: Sequence[int]) -> "Listing":
        "Some of the images, in the order given."
        labels = None if self.labels is None else [self.labels[i] for i in chosen]
        packed = None if self.packed is None else self.packed.subset(chosen)
        return replace(self, files=[self.files[i] for i in chosen], labels=labels, packed=packed)

    def all_unread(
        self,
        files: "dict[str, str]",  # file -> why it could not be read
    ) -> "dict[str, str]":
        "Sub-folders that could not be entered, with a slash at the end, and files."
        end = "/" if self.packed is None else ""
        return {f"{name}{end}": reason for name, reason in self.unreadable.items()} | files

    def class_counts(self) -> "dict[str, int]":  # class name -> number of images; empty without labels
        "How many images each class has."
        counts = Counter(self.labels or [])
        return {name: counts[number] for number, name in enumerate(self.class_names or [])}


def few_words(
    counts: "dict[str, int]",  # name -> number
) -> str:
    "Names with their numbers, the most frequent first."
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = len(ranked) - SHOWN
    return ", ".join(f"{name} {n:,}" for name, n in ranked[:SHOWN]) + (f", and {rest} more" if rest > 0 else "")


def _left_out(ignored: "dict[str, int]", system: "dict[str, int]") -> "tuple[str, ...]":
    "Sentences on what is left out: files by suffix, system and hidden folders, photos for which a package is missing."
    notes = []
    count = sum(ignored.values())
    if count:
        notes.append(f"{count:,} file{'s' * (count > 1)} left out ({few_words(ignored)})")
    count = sum(system.values())
    if count:
        notes.append(f"{count:,} system or hidden folder{'s' * (count > 1)} left out ({few_words(system)})")
    missing = [(kind, ignored[kind], remedy) for kind, remedy in unreadable_kinds().items() if kind in ignored]
    notes += [f"{n} {kind} {'file is' if n == 1 else 'files are'} left out; {remedy}" for kind, n, remedy in missing]
    return tuple(notes)


def _empty(base: str, found: Found, classes: Iterable[str]) -> "tuple[str, ...]":
    "A sentence on those folders directly in `base` that hold no image."
    names = {name.removeprefix(base).partition("/")[0] for name in found.folders if name.startswith(base)}
    empty = sorted(names - {""} - set(classes))
    more = f", and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
    return (f"sub-folders without images, left out: {', '.join(empty[:SHOWN])}{more}",) if empty else ()


def list_classes(
    root: "str | Path",  # folder that holds the class folders
    folders: list[str],  # the class folders' names, in label order
    class_names: "list[str] | None" = None,  # readable names, same order; None: the folders' names
) -> Listing:  # files class by class, with labels
    "The images of given class folders; folders without an image are left out, and a note says so."
    files: list[str] = []
    labels: list[int] = []
    kept: list[str] = []
    whole = Found()
    for folder, name in zip(folders, class_names or folders):
        found = walk(Path(root) / folder)
        whole.ignored += found.ignored
        whole.system += found.system
        whole.unreadable |= {f"{folder}/{path}": reason for path, reason in found.unreadable.items()}
        files += [f"{folder}/{path}" for path in found.files]
        labels += [len(kept)] * len(found.files)
        kept += [name] if found.files else []
        whole.folders += [] if found.files else [folder]
    notes = _empty("", whole, []) + _left_out(whole.ignored, whole.system)
    return Listing(Path(root), files, labels, kept, dict(whole.ignored), notes, whole.unreadable)


def list_images(
    folder: "str | Path",  # class sub-folders that hold images, or images anywhere below
) -> Listing:  # files in sorted order, labels None if nothing names classes
    "All images below a folder. Two or more sub-folders with images, and none beside them, are classes."
    folder = Path(folder)
    found = walk(folder)
    if not found.files:
        raise ValueError(_no_images(folder, found))
    base, classes, reason = _layout(found.files)
    notes = (
        _empty(base, found, classes) if classes else _empty("", found, (file.partition("/")[0] for file in found.files))
    )
    listing = Listing(folder, found.files, None, None, dict(found.ignored), (), found.unreadable)
    if not classes:
        notes += (reason,) if reason else ()
    elif {name.lower() for name in classes} <= SPLIT_NAMES:
        reason = f"{', '.join(classes)} are splits, not classes: all images are taken, without labels; "
        reason += f"for the classes of one part, give that folder, e.g. {folder / base / classes[0]}"
        notes, classes = (reason, *notes), []
    elif base:
        notes = (f"the class folders are in {folder / base}: {', '.join(classes[:SHOWN])}", *notes)
    notes += _left_out(found.ignored, found.system)
    if not classes:
        return replace(listing, notes=notes, no_labels=reason)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers[file[len(base) :].partition("/")[0]] for file in found.files]
    return replace(listing, labels=labels, class_names=classes, notes=notes)


def _layout(files: "list[str]") -> "tuple[str, list[str], str]":
    "The folder that holds the class folders ('' or 'a/b/'), the classes, and if there are none, why."
    base = ""
    while True:
        loose = [file for file in files if "/" not in file[len(base) :]]
        tops = list(dict.fromkeys(file[len(base) :].partition("/")[0] for file in files if "/" in file[len(base) :]))
        if loose and tops:
            what = f"{len(loose):,} {'image' if len(loose) == 1 else 'images'} (e.g. {loose[0]})"
            beside = f"{len(tops):,} {'sub-folder' if len(tops) == 1 else 'sub-folders'} with images (e.g. {tops[0]})"
            return base, [], f"{what} beside {beside}: all are taken, without labels"
        if loose:
            only = f"only one sub-folder ({base.rstrip('/')}) holds images: a single class is not a grouping, "
            return base, [], f"{only}so taken as unlabelled" if base else ""
        if len(tops) > 1:
            return base, sorted(tops), ""
        base += f"{tops[0]}/"


def _no_images(folder: Path, found: Found) -> str:
    "What a folder without images holds."
    here = ", ".join(f"{count} {suffix}" for suffix, count in sorted(found.ignored.items())) or "no files"
    closed = "".join(f"; {folder / name} could not be read ({why})" for name, why in found.unreadable.items())
    return (
        f"folder {folder} holds no images: found {here} and {len(found.folders)} sub-folders; "
        f"image files end in .jpg .png .tif .webp or one of {len(image_suffixes())} suffixes"
        + closed
        + "".join(
            f"; for the images in {kind} files, give '{folder / f'*{kind}'}'" for kind in PACKED & set(found.ignored)
        )
        + "".join(f"; {note}" for note in _left_out({}, found.system) + _left_out(found.ignored, {})[1:])
    )


def list_files(
    paths: "Sequence[str | Path]",  # image files, of any suffix; folders stand for what is below them
) -> Listing:  # in the order given, unlabelled
    "A list of files as if it were a folder. A file that is missing fails when it is read."
    files: list[str] = []
    ignored: Counter[str] = Counter()
    system: Counter[str] = Counter()
    closed: dict[str, str] = {}
    for path in [os.path.abspath(os.path.expanduser(path)) for path in paths]:
        if os.path.isdir(path):
            found = walk(Path(path))
            files += [os.path.join(path, name) for name in found.files]
            ignored += found.ignored
            system += found.system
            closed |= {os.path.join(path, name): reason for name, reason in found.unreadable.items()}
        else:
            files.append(path)
    if not files:
        raise ValueError(f"the list of {len(paths)} paths holds no images; give image files, or folders of them")
    notes = _left_out(ignored, system)
    try:
        root = os.path.commonpath([os.path.dirname(file) for file in files])
    except ValueError:  # on several drives
        return Listing(Path(), files, ignored=dict(ignored), notes=notes, unreadable=closed)
    names = [os.path.relpath(file, root).replace(os.sep, "/") for file in files]
    closed = {os.path.relpath(name, root): reason for name, reason in closed.items()}
    return Listing(Path(root), names, None, None, dict(ignored), notes, closed)


def list_shards(
    files: "Sequence[Path]",  # tar files
) -> Listing:
    "The images in tar files, as if it were one folder; classes are what .cls files say, else folders in the archives."
    paths = [os.path.abspath(file) for file in files]
    root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    names = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    found = read_members(root, names)
    notes = _left_out(found.ignored, found.system)
    if not found.names:
        bad = "".join(f"; {root / name} could not be read ({why})" for name, why in found.unreadable.items())
        left = "".join(f"; {note}" for note in notes)
        raise ValueError(f"{paths[0]}{' ...' * (len(paths) > 1)} holds no images{bad}{left}")
    labels, classes, reason = classes_of(found.labels, ".cls")
    if labels is None and not reason:
        labels, classes, reason = _classes_by_folder(found.own)
    stamps = [file_stamp(path) for path in paths]
    packed = Shards(root, names, stamps, found.names, np.array(found.where).reshape(-1, 3))
    notes = (reason, *notes) if reason else notes
    return Listing(root, found.names, labels, classes, dict(found.ignored), notes, found.unreadable, reason, packed)


def _classes_by_folder(files: "list[str]") -> "tuple[list[int] | None, list[str] | None, str]":
    "The classes that folders in an archive name."
    base, folders, reason = _layout(files)
    if {name.lower() for name in folders} <= SPLIT_NAMES:
        splits = f"{', '.join(folders)} are splits, not classes: all images are taken, without labels"
        return None, None, splits if folders else reason
    place = {name: number for number, name in enumerate(folders)}
    return [place[name[len(base) :].partition("/")[0]] for name in files], folders, ""


def list_table(
    root: Path,  # what the images are called
    table: Table,
) -> Listing:
    "The images of a table, as if it were a folder."
    count = len(table.rows.numbers)
    if not count:
        raise ValueError(f"source {str(root)!r} holds no images: it has no rows")
    names, notes = [f"{number:07}" for number in range(count)], (table.note,) if table.note else ()
    return Listing(root, names, table.labels, table.class_names, {}, notes, {}, table.note, table.rows)


def _list_packed(source: Any) -> "Listing | None":  # None: the source is something else
    "The images inside other files: tar files, parquet files, data sets."
    if is_dataset(source) or is_saved(source):
        return list_table(Path(source) if is_saved(source) else Path("dataset"), read_dataset(source))
    given = source if is_path_list(source) else [source]
    for kind, files_of, listed in (
        ("tar", shard_files, list_shards),
        ("parquet", table_files, lambda files: list_table(_called(files), read_parquet(files))),
    ):
        found = [files_of(one) for one in given]
        if any(found) and not all(found):
            other = str(given[found.index([])])
            if not os.path.exists(os.path.expanduser(other)):
                raise FileNotFoundError(errno.ENOENT, "does not exist", other)
            raise ValueError(f"source must name {kind} files alone, or none, got {other!r} too; load it by itself")
        if any(found):
            return listed([file for files in found for file in files])
    return None


def names_packed(source: str) -> bool:
    "Whether a source names tar or parquet files that are there."
    return bool(shard_files(source) or table_files(source))


def _called(files: "list[Path]") -> Path:
    "What the images of a few files are called."
    return files[0] if len(files) == 1 else files[0].parent


def is_path_list(
    source: object,
) -> bool:
    "Whether a source is a list of paths."
    return isinstance(source, (list, tuple)) and bool(source) and all(isinstance(p, (str, Path)) for p in source)


def list_source(
    source: Any,  # a folder, an image file, a list of paths, tar or parquet files, a data set
) -> Listing:
    "The images meant, or an error that names what comes nearest."
    packed = _list_packed(source)
    if packed is not None:
        return packed
    if is_path_list(source):
        return list_files(source)
    path = user_path(source, "source")
    if path.is_dir():
        return list_images(path)
    if path.is_file() and (suffix_of(path.name) in image_suffixes() or is_image_inside(path)):
        return list_files([path])
    if path.is_file() and path.suffix.lower() in (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        raise ValueError(f"source {str(source)!r} is packed; unpack it and give the folder, or give a plain .tar file")
    if path.exists():
        raise ValueError(
            f"source {str(source)!r} is a file, but not an image; give a folder of images, an image, "
            "or a file of features that ends in .npy, .npz or .safetensors"
        )
    beside = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*SOURCES, *beside], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"source {str(source)!r} is neither a known source ({', '.join(SOURCES)}) nor a folder{hint}")
