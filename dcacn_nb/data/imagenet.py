"""ImageNet subsets: the synset folders of a benchmark, wherever they are below a folder."""

import os
import re
from dataclasses import replace
from pathlib import Path

from dcacn_nb.core.checks import check_in
from dcacn_nb.data.catalogue import REQUEST, SYNSETS
from dcacn_nb.data.listing import Listing, list_classes

_SYNSET = re.compile(r"n\d{8}")  # the name of a synset folder


def find_synsets(
    source: str,  # "imagenet10" or "imagenet_dogs"
    root: "str | Path" = "data",  # the folder of the synset folders, or one above it
    split: str = "all",  # "all" and "train" are the same: the protocol uses training images only
) -> Listing:  # the images, class by class, in the paper's order
    "The images of an ImageNet subset, wherever its synset folders are below `root`."
    check_in("split", split, ("all", "train"))
    root, synsets = Path(root).expanduser(), SYNSETS[source]
    best, present = _best_folder(source, root)
    listing = list_classes(best, present, [synsets[synset] for synset in present])
    with_images = listing.class_counts()
    missing = [f"{synset} ({name})" for synset, name in synsets.items() if name not in with_images]
    if len(missing) >= len(synsets) - 1:
        raise FileNotFoundError(
            f"{source}: fewer than two of {len(synsets)} synset folders in {best} hold images; "
            f"missing: {', '.join(missing)}"
        )
    note = f"{len(missing)} of {len(synsets)} synsets are missing in {best}: {', '.join(missing)}"
    return replace(listing, notes=(note,) if missing else ())


def _best_folder(source: str, root: Path) -> "tuple[Path, list[str]]":
    "The folder that holds most synset folders of a source, validation folders last; and these synsets in order."
    synsets = SYNSETS[source]
    if not root.is_dir():
        raise FileNotFoundError(
            f"{source}: no folder {root}; root must hold the folders {', '.join(synsets)}. To get them: {REQUEST}"
        )
    if _SYNSET.fullmatch(root.resolve().name):
        raise FileNotFoundError(
            f"{source}: root={root} is a single synset folder; give the folder above it, {root.resolve().parent}"
        )
    found = _synset_folders(root, set(synsets))
    if not found:
        raise FileNotFoundError(
            f"{source}: no synset folder ({', '.join(synsets)}) in {root} nor four levels below. To get them: {REQUEST}"
        )
    best = max(found, key=lambda folder: (not folder.name.startswith(("val", "test")), len(found[folder])))
    return best, [synset for synset in synsets if synset in found[best]]


def _synset_folders(root: Path, wanted: "set[str]", depth: int = 4) -> "dict[Path, list[str]]":
    "Folders at or below `root` that hold wanted synset folders, which are not entered: {folder: names}."
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    here = [name for name in names if name in wanted]
    found = {root: here} if here else {}
    if depth:
        for name in names:
            if not _SYNSET.fullmatch(name):
                found.update(_synset_folders(root / name, wanted, depth - 1))
    return found
