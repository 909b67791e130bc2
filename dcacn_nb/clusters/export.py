"""Clusters as files for other programs: a table, folders of copies or links, tasks for Label Studio."""

import csv
import errno
import glob
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd

from dcacn_nb.clusters.assigned import csv_bytes, write_table
from dcacn_nb.core.checks import check_in
from dcacn_nb.core.files import atomic_write, try_lock
from dcacn_nb.core.text import csv_cell

HOW = ("copy", "link", "hardlink")
TO = ("csv", "links", "copies", "label-studio")
LONGEST = 255  # bytes of a name, on most systems
SUFFIX = 20  # bytes of a suffix; what follows the last dot and is longer is part of the name
PART = re.compile(r"[a-z0-9_]{8}\.part")  # how tempfile ends the names of our folders while they are filled
UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')  # in names of folders, on some system


def export_clusters(
    table: pd.DataFrame,  # as `assignments` makes it, or some rows of that; with the column "path" except for "csv"
    to: str,  # one of TO
    target: "str | Path",  # new file or folder
) -> Path:  # the file or folder, whole or not at all
    "Write a table of clusters, or a selection of it, in the form that another program wants. Nothing is replaced."
    check_in("to", to, TO)
    target = _new(target)
    if to == "csv":
        return write_table(table, target)
    if "path" not in table:
        raise ValueError(f"table must have a column 'path' to export {to}; images that are not files have none")
    if not len(table):
        raise ValueError("table must hold at least one image, got none")
    if to == "label-studio":
        return write_label_studio(table, target)
    return flat_folders(table, target, "link" if to == "links" else "copy")


def _new(target: "str | Path") -> Path:
    "A place where nothing is yet."
    target = Path(target).expanduser()
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "exists already; give a new place", str(target))
    return target


@contextmanager
def _held(folder: Path) -> "Iterator[bool]":
    "Hold a folder while it is filled; yields whether nobody else does. Without such locks (Windows), never."
    if os.name == "nt":  # folders cannot be opened there
        yield False
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:  # a link, a file, or gone: not a folder that this program left
        yield False
        return
    try:
        yield try_lock(descriptor) is True
    finally:
        os.close(descriptor)


def _is_ours(left: Path, name: str) -> bool:
    "Whether a folder has the name and holds nothing but what a process leaves that is killed while it exports."
    inside = list(left.iterdir())
    if not PART.fullmatch(left.name.removeprefix(f"{name}-")) or not {path.name for path in inside} <= {"all"}:
        return False
    if not all(path.is_dir() and not path.is_symlink() for path in inside):
        return False
    return all(re.match(r"cluster_\d", path.name) or path.name == "clusters.csv" for path in left.glob("all/*"))


@contextmanager
def _new_folder(target: "str | Path") -> "Iterator[Path]":
    """A folder to fill, which becomes `target` when all went well, and is removed on any error.

    What a killed process left is removed by the next one that fills the same target."""
    target = _new(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f"{glob.escape(target.name)}-????????.part"):
        with _held(left) as free:
            if free and _is_ours(left, target.name):
                shutil.rmtree(left, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=f"{target.name}-", suffix=".part", dir=target.parent) as part,
        _held(Path(part)),
    ):
        whole = Path(part) / "all"
        whole.mkdir()
        yield whole
        whole.rename(target)


def _placer(how: str) -> "Callable[[str, Path], object]":
    "How a file gets to its new place. Names are looked up at every call, so that a test can stand in for the disk."
    check_in("how", how, HOW)
    if how == "copy":
        return lambda path, place: shutil.copy2(path, place)
    if how == "link":
        return lambda path, place: os.symlink(os.path.abspath(path), place)
    return lambda path, place: os.link(path, place)


def _check_files(paths: "Sequence[str]") -> None:
    "Refuse before any work what cannot be copied or linked."
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(errno.ENOENT, f"is gone ({len(missing)} of {len(paths)} images are)", missing[0])


def sort_images(
    paths: "Sequence[str]",  # the images' files
    clusters: "Sequence[int]",  # (N,) cluster of each
    target: "str | Path",  # new folder; it appears when all files are there
    how: str = "copy",  # "copy", "link" (symbolic) or "hardlink" (on the same disk)
) -> Path:  # the folder
    "Put every image into target/cluster_K; files of the same name are kept apart by the folders they came from."
    place_file = _placer(how)
    _check_files(paths)
    with _new_folder(target) as folder:
        for cluster in sorted(set(map(int, clusters))):
            own = [path for path, number in zip(paths, clusters) if int(number) == cluster]
            (folder / f"cluster_{cluster}").mkdir()
            for path, name in zip(own, flat_names(own)):
                place_file(path, folder / f"cluster_{cluster}" / name)
    return Path(target).expanduser()


def flat_folders(
    table: pd.DataFrame,  # columns path, group (or cluster) and name, as `assignments` makes it
    target: "str | Path",  # new folder
    how: str = "link",  # "copy", "link" (symbolic) or "hardlink" (on the same disk)
) -> Path:  # the folder: cluster_00, cluster_01_NAME, …, and clusters.csv, which says where every file came from
    "One flat folder per group, files of the same name kept apart by the folders they came from."
    place_file, paths = _placer(how), [str(path) for path in table["path"]]
    _check_files(paths)
    numbers = _group_numbers(table)
    folders = _folder_names(table)
    placed = np.empty(len(paths), object)
    with _new_folder(target) as home:
        for number, name in folders.items():
            rows = np.flatnonzero(numbers == number)
            (home / name).mkdir()
            for row, file in zip(rows, flat_names([paths[row] for row in rows])):
                place_file(paths[row], home / name / file)
                placed[row] = f"{name}/{file}"
        listed = table.copy()
        listed.insert(0, "file", placed)
        (home / "clusters.csv").write_bytes(csv_bytes(listed))
    return Path(target).expanduser()


def _group_numbers(table: pd.DataFrame) -> np.ndarray:
    "The group of every row; its cluster where nothing was edited by hand."
    return table["group" if "group" in table else "cluster"].to_numpy()


def _group_names(table: pd.DataFrame) -> "dict[int, str]":
    "Group -> its name, or its number in words; in order of the numbers."
    named = table["name"].astype(str) if "name" in table else pd.Series("", index=table.index)
    names = dict(zip(_group_numbers(table).tolist(), named.tolist()))
    return {number: names[number] or f"cluster {number}" for number in sorted(names)}


def _folder_names(table: pd.DataFrame) -> "dict[int, str]":
    "Group -> a name for its folder: its number, and what it is called."
    names = _group_names(table)
    digits = max(2, len(str(max(names))))
    folders = {}
    for number, name in names.items():
        called = "" if name == f"cluster {number}" else "_" + UNSAFE.sub("_", name).strip(" .")
        folders[number] = _fitting(f"cluster_{number:0{digits}d}{called}").rstrip(" .")
    return folders


def flat_names(
    paths: "Sequence[str]",  # files that are to lie in one folder
) -> "list[str]":  # a different name for each, also on systems that ignore case
    "Each file's own name; where several share one, the folders in front of it; where that is not enough, a number."
    whole = [os.path.abspath(path) for path in paths]
    root = os.path.commonpath([os.path.dirname(path) for path in whole])
    own = [os.path.basename(path) for path in whole]
    counts: dict[str, int] = {}
    for name in own:
        counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
    long = ["__".join(Path(os.path.relpath(path, root)).parts) for path in whole]
    wanted = [name if counts[name.casefold()] == 1 else other for name, other in zip(own, long)]
    used, names = set(), []
    for name in wanted:
        stem, suffix = os.path.splitext(name)
        stem, suffix = (stem, suffix) if len(os.fsencode(suffix)) <= SUFFIX else (name, "")
        name, number = _fitting(stem, suffix), 1
        while name.casefold() in used:
            number += 1
            name = _fitting(stem, f"_{number}{suffix}")
        used.add(name.casefold())
        names.append(name)
    return names


def _fitting(stem: str, end: str = "") -> str:
    "A name of at most LONGEST bytes: where it would be longer, the stem loses characters, never a part of one."
    while len(os.fsencode(stem + end)) > LONGEST:
        stem = stem[:-1]
    return stem + end


def label_studio_tasks(
    table: pd.DataFrame,  # columns path and group (or cluster); and name, confidence, index where there are any
    root: "str | Path | None" = None,  # Label Studio's LOCAL_FILES_DOCUMENT_ROOT; None: the folder above the images'
) -> "list[dict]":  # one task per image
    "Images with their clusters as predictions, in Label Studio's JSON format for pre-annotated tasks."
    paths = [os.path.abspath(str(path)) for path in table["path"]]
    home = Path(os.path.commonpath([os.path.dirname(path) for path in paths])).parent if root is None else Path(root)
    outside = next((path for path in paths if not Path(path).is_relative_to(home.absolute())), None)
    if outside is not None:
        raise ValueError(f"root must be a folder above all images, got {str(home)!r}, and {outside!r} is not below it")
    names, numbers = _group_names(table), _group_numbers(table).tolist()
    scores = table["confidence"].tolist() if "confidence" in table else [None] * len(paths)
    indices = table["index"].tolist() if "index" in table else range(len(paths))
    tasks = []
    for index, path, number, score in zip(indices, paths, numbers, scores):
        result = {"id": f"image-{index}", "from_name": "cluster", "to_name": "image", "type": "choices"}
        prediction = {"model_version": "dcacn_nb", "result": [result | {"value": {"choices": [names[number]]}}]}
        prediction |= {} if score is None else {"score": round(float(score), 6)}
        url = "/data/local-files/?d=" + quote(
            Path(path).relative_to(home.absolute()).as_posix(), errors="surrogateescape"
        )
        tasks.append({"data": {"image": url}, "predictions": [prediction]})
    return tasks


def label_studio_config(
    table: pd.DataFrame,
) -> str:  # XML, for the project's labelling interface
    "The labelling interface that the tasks of `label_studio_tasks` belong to: one choice per group."
    choices = dict.fromkeys(_group_names(table).values())
    lines = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in choices)
    return (
        f'<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="cluster" toName="image" choice="single">\n{lines}\n  </Choices>\n</View>\n'
    )


def write_label_studio(
    table: pd.DataFrame,
    target: "str | Path",  # new .json file; the labelling interface goes beside it, as .xml
    root: "str | Path | None" = None,  # as for `label_studio_tasks`
) -> Path:  # the .json file
    "Write tasks for Label Studio, and the labelling interface that they belong to."
    target = Path(target).expanduser()
    if target.suffix.lower() != ".json":
        raise ValueError(f"target must end in .json, got {str(target)!r}")
    target, config = _new(target), _new(target.with_suffix(".xml"))
    tasks = json.dumps(label_studio_tasks(table, root), ensure_ascii=False, indent=1)
    atomic_write(config, label_studio_config(table).encode("utf-8"))
    return atomic_write(target, (tasks + "\n").encode("utf-8"))


def cluster_csv(
    paths: "Sequence[str]",  # one file per image
    probabilities,  # (N,K)
    names: "dict[int, str] | None" = None,  # cluster -> name; if there are any, a column holds them
) -> bytes:
    "A table of path, cluster, confidence; see `csv_cell` on file names that are no text, or would be formulas."
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "cluster", "confidence", *(["name"] if names else [])])
    for path, row in zip(paths, probabilities):
        cluster = int(row.argmax())
        name = [csv_cell(names.get(cluster, ""))] if names else []
        writer.writerow([csv_cell(path), cluster, f"{float(row.max()):.4f}", *name])
    return text.getvalue().encode("utf-8")
