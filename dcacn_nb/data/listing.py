"""What a folder of images holds: files in a fixed order, and the classes that sub-folders name."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True)
class Listing:
    "What a folder holds: image files in a fixed order, and labels if sub-folders name classes."

    root: Path  # the folder
    files: list[str]  # paths relative to it, with forward slashes
    labels: "list[int] | None" = None  # one class number per file
    class_names: "list[str] | None" = None  # one name per class
    ignored: dict[str, int] = field(default_factory=dict)  # suffix -> number of files that are not images
    notes: tuple[str, ...] = ()  # decisions taken, in words

    def class_counts(self) -> "dict[str, int]":  # class name -> number of images; empty without labels
        "How many images each class has."
        counts = Counter(self.labels or [])
        return {name: counts[number] for number, name in enumerate(self.class_names or [])}


def _hidden(name: str) -> bool:
    "Names that the user did not choose: dot files, and what macOS adds to archives."
    return name.startswith(".") or name == "__MACOSX"


def _suffix(name: str) -> str:
    "The suffix of a file name, in lower case."
    return Path(name).suffix.lower()


def _walk(folder: Path) -> Iterator[Path]:
    "Visible files below `folder`, sorted; links are followed, a folder is entered once even if links form a ring."

    def stop(error: OSError) -> NoReturn:  # os.walk would leave out what it cannot enter
        raise error

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=stop):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else sorted(name for name in folders if not _hidden(name))
        if real not in seen:
            yield from (Path(here, name) for name in sorted(files) if not _hidden(name))
        seen.add(real)


def _count_others(names: Iterable[str]) -> "Counter[str]":
    "Suffix -> number of files that are not images."
    return Counter(_suffix(name) or "(no suffix)" for name in names if _suffix(name) not in IMAGE_SUFFIXES)


def list_classes(
    root: "str | Path",  # folder that holds the class folders
    folders: list[str],  # the class folders' names, in label order
    class_names: "list[str] | None" = None,  # readable names, same order; None: the folders' names
) -> Listing:  # files class by class, with labels
    "The images of given class folders; folders without an image are left out, and a note says so."
    root = Path(root)
    files: list[str] = []
    labels: list[int] = []
    kept: list[str] = []
    empty: list[str] = []
    ignored: Counter[str] = Counter()
    for folder, name in zip(folders, class_names or folders):
        visible = [path.relative_to(root).as_posix() for path in _walk(root / folder)]
        found = [path for path in visible if _suffix(path) in IMAGE_SUFFIXES]
        ignored.update(_count_others(visible))
        if not found:
            empty.append(folder)
            continue
        files += found
        labels += [len(kept)] * len(found)
        kept.append(name)
    notes = (f"sub-folders without images, left out: {', '.join(empty)}",) if empty else ()
    return Listing(root, files, labels, kept, dict(ignored), notes)


def list_images(
    folder: "str | Path",  # class sub-folders that hold images, or images side by side
) -> Listing:  # files in sorted order, labels None if nothing names classes
    "What is in a folder of images: two or more sub-folders with images are classes, everything else is unlabelled."
    folder = Path(folder)
    visible = sorted(entry for entry in folder.iterdir() if not _hidden(entry.name))
    subfolders = [entry.name for entry in visible if entry.is_dir()]
    loose = [entry.name for entry in visible if not entry.is_dir()]
    flat = [name for name in loose if _suffix(name) in IMAGE_SUFFIXES]
    listing = list_classes(folder, subfolders)
    ignored = dict(Counter(listing.ignored) + _count_others(loose))
    classes = list(listing.class_counts())
    _check_layout(listing, flat, ignored, subfolders)
    if flat:
        return Listing(folder, flat, ignored=ignored, notes=listing.notes)
    if len(classes) == 1:
        note = (
            f"only one sub-folder ({classes[0]}) holds images: a single class is not a grouping, so taken as unlabelled"
        )
        return Listing(folder, listing.files, ignored=ignored, notes=(*listing.notes, note))
    return Listing(folder, listing.files, listing.labels, classes, ignored, listing.notes)


def _check_layout(listing: Listing, flat: list[str], ignored: "dict[str, int]", subfolders: list[str]) -> None:
    "Refuse folders whose layout has no single reading, saying what was found."
    folder, classes = listing.root, list(listing.class_counts())
    if flat and classes:
        raise ValueError(
            f"folder {folder} holds {len(flat)} images beside {len(classes)} sub-folders with images "
            f"(e.g. {flat[0]} and {listing.files[0]}): move the images into class folders, or give one sub-folder"
        )
    if not flat and not classes:
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items())) or "no files"
        raise ValueError(
            f"folder {folder} holds no images: found {found} and {len(subfolders)} sub-folders; "
            f"image files end in {' '.join(IMAGE_SUFFIXES)}"
        )
    if classes and {name.lower() for name in classes} <= SPLIT_NAMES:
        raise ValueError(
            f"folder {folder} holds {', '.join(classes)}: these are splits, not classes; "
            f"give one of them, e.g. {folder / classes[0]}"
        )
