"""What a run folder holds beside its events: its groups looked at more closely, and what its scores are worth.

| file | holds |
|---|---|
| `groups.json` | the most telling images of each cluster, duplicates, outliers, clusters that might be one |
| `groups_images.safetensors` | small pictures and files of the images that it names |
| `reference.json` | scores of chance and of K-Means on the same images, and the confusion matrix |
| `number.json` | how the number of clusters was chosen |
| `clusters.csv` | path, cluster and confidence of every image |"""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from dcacn_nb.core.files import atomic_write, open_regular, read_json, read_regular
from dcacn_nb.core.text import from_csv_cell
from dcacn_nb.report.palette import SCORES

GROUPS, PICTURES, REFERENCE = "groups.json", "groups_images.safetensors", "reference.json"
NUMBER, TABLE = "number.json", "clusters.csv"
VERSION = 1  # of groups.json
LONGEST = 96  # pixels of a stored picture's longer side
MAX_PICTURES, MAX_TABLE = 2**28, 2**30  # bytes of the files, at most
DRAWS = 20  # random assignments whose mean score is chance


@dataclass
class Copies:
    "Images that are the same or nearly so."

    images: "list[int]"  # the one to keep, then its copies
    exact: bool  # whether all are the same to the last bit


@dataclass
class Groups:
    "What was found in the clusters of a run; numbers are positions in the set of images."

    telling: "dict[int, list[int]]" = field(default_factory=dict)  # cluster -> its images, the most telling first
    duplicates: "list[Copies]" = field(default_factory=list)  # the largest sets first
    outliers: "list[int]" = field(default_factory=list)  # images like no other, the strangest first
    merges: "list[tuple[int, int]]" = field(default_factory=list)  # clusters that might be one, the closest first
    names: "dict[int, str]" = field(default_factory=dict)  # cluster -> the word that its encoder found for it

    def shown(self) -> "list[int]":
        "The images that a page may want to show."
        chosen = [image for images in self.telling.values() for image in images[:24]]
        chosen += [image for copies in self.duplicates[:50] for image in copies.images[:8]]
        return sorted({*chosen, *self.outliers[:50]})


@dataclass
class Reference:
    "What the scores of a run are worth."

    chance: "dict[str, float]" = field(default_factory=dict)  # "acc", "nmi", "ari" of random assignments
    kmeans: "dict[str, float]" = field(default_factory=dict)  # of K-Means on the same images or features
    classes: "list[str]" = field(default_factory=list)  # names of the rows
    confusion: "np.ndarray | None" = None  # (classes, K) images of each class in each cluster


@dataclass
class Table:
    "The rows of clusters.csv."

    indices: np.ndarray  # (n,) which images
    clusters: np.ndarray  # (n,)
    confidence: np.ndarray  # (n,)
    paths: "list[str]"  # empty texts where the images came from no file


def keep_pictures(
    folder: "str | Path",  # a run folder
    found: dict,  # what its groups.json holds
    images: Any,  # (N,C,H,W) uint8 array or tensor, small pictures of the whole set
    paths: "Sequence[str] | None" = None,  # (N,) the file of each image
) -> Path:  # folder/groups_images.safetensors
    "Keep small pictures of the images that groups.json names, for the report."
    chosen = parse_groups(found).shown()
    if chosen and chosen[-1] >= len(images):
        raise ValueError(f"the groups name image {chosen[-1]}, but there are {len(images)} images")
    pictures = images[chosen]
    pictures = pictures.cpu().numpy() if hasattr(pictures, "cpu") else np.asarray(pictures)
    step = max(1, -(-max(pictures.shape[2:]) // LONGEST))
    arrays = {"indices": np.array(chosen, np.int64), "images": np.ascontiguousarray(_shrunk(pictures, step))}
    named = {} if paths is None else {str(i): str(paths[i]) for i in chosen}
    about = {"paths": json.dumps(named, ensure_ascii=False).encode("utf-8", "replace").decode()}
    return atomic_write(Path(folder) / PICTURES, to_safetensors(arrays, about), home=folder)


def _shrunk(pictures: np.ndarray, step: int) -> np.ndarray:
    "Every `step` by `step` pixels as their mean."
    if step == 1:
        return pictures
    n, channels, height, width = pictures.shape
    height, width = height // step, width // step
    blocks = pictures[:, :, : height * step, : width * step].reshape(n, channels, height, step, width, step)
    return blocks.mean((3, 5)).round().astype(np.uint8)


def parse_groups(
    found: object,  # what groups.json holds
) -> Groups:
    "The groups from plain values, as `clusters.summary.after_groups` makes them; what does not fit is an error."
    if not isinstance(found, dict):
        raise ValueError(f"it must be an object, got {type(found).__name__}")
    if found.get("version", VERSION) != VERSION:
        version = found["version"]
        raise ValueError(f"it has version {version!r}, this program knows {VERSION}; a newer one may have written it")
    copies = [
        Copies([_whole(i) for i in (group["keep"], *group["copies"])], all(group.get("exact") or [False]))
        for group in found.get("duplicates", {}).get("groups", [])
    ]
    return Groups(
        telling={int(k): [_whole(i) for i in images] for k, images in found.get("telling", {}).items()},
        duplicates=copies,
        outliers=[_whole(i) for i in found.get("outliers", {}).get("images", [])],
        merges=[(_whole(pair["into"]), _whole(pair["cluster"])) for pair in found.get("merges", [])],
        names={int(k): str(name["word"]) for k, name in found.get("names", {}).items()},
    )


def _whole(value: object) -> int:
    "The position of an image or the number of a cluster."
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"it must number images and clusters from 0, got {value!r}")
    return int(value)


def write_reference(
    folder: "str | Path",  # a run folder
    labels: "Sequence[int] | np.ndarray",  # (N,) class of each image
    clusters: "Sequence[int] | np.ndarray",  # (N,) cluster of each image
    n_clusters: int,  # K; some clusters may be empty
    class_names: "Sequence[str] | None" = None,  # None: the numbers of the classes
    kmeans: "dict[str, float] | None" = None,  # "acc", "nmi", "ari" of K-Means on the same images or features
) -> Path:  # folder/reference.json
    "Keep what the scores of a run are worth: chance, K-Means, and which class is in which cluster."
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels and clusters must be two lists of one length, got {labels.shape}, {clusters.shape}")
    found, codes = np.unique(labels, return_inverse=True)
    names = [str(k) if class_names is None else str(class_names[int(k)]) for k in found]
    table = np.bincount(codes * n_clusters + clusters, minlength=len(found) * n_clusters)
    values = {
        "classes": names,
        "confusion": table.reshape(len(found), n_clusters).tolist(),
        "chance": chance_scores(labels, clusters),
        "kmeans": kmeans,
    }
    text = json.dumps(values, ensure_ascii=False)
    return atomic_write(Path(folder) / REFERENCE, text.encode("utf-8", "replace"), home=folder)


def chance_scores(
    labels: np.ndarray,  # (N,) class of each image
    clusters: np.ndarray,  # (N,) cluster of each image
    draws: int = DRAWS,  # random assignments
) -> "dict[str, float]":  # mean "acc", "nmi", "ari"
    "What clusters of these sizes would score if the images were dealt into them at random."
    from dcacn_nb.method.metrics import evaluate_clustering  # SciPy is not needed to read a report's files

    rng = np.random.default_rng(0)
    scores = [evaluate_clustering(labels, rng.permutation(clusters)).as_dict() for _ in range(draws)]
    return {key: float(np.mean([score[key] for score in scores])) for key in SCORES}


def read_groups(
    folder: "str | Path",  # a run folder
) -> "Groups | None":  # None: there is no groups.json
    "What was found in the clusters of a run."
    values = _read_json(Path(folder) / GROUPS)
    try:
        return None if values is None else parse_groups(values)
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError(f"{GROUPS} was not understood ({type(error).__name__}: {error})") from error


def read_pictures(
    folder: "str | Path",  # a run folder
) -> "tuple[dict[int, np.ndarray], dict[int, str]]":  # image -> (C,H,W) uint8, image -> file; empty without a file
    "The small pictures that are kept for the groups of a run."
    path = Path(folder) / PICTURES
    if not path.exists():
        return {}, {}
    try:
        _check_size(path)
        with safe_open(path, "np") as file:
            indices, images = file.get_tensor("indices"), file.get_tensor("images")
            paths = json.loads((file.metadata() or {}).get("paths", "{}"))
        paths = {int(image): str(name) for image, name in paths.items()}
    except (SafetensorError, OSError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{PICTURES} cannot be read ({error})") from error
    if images.ndim != 4 or images.dtype != np.uint8 or indices.shape != images.shape[:1]:
        shapes = f"{images.dtype} {images.shape} and {indices.shape}"
        raise ValueError(f"{PICTURES} must hold (n,C,H,W) uint8 images and n indices, got {shapes}")
    return dict(zip(indices.tolist(), images)), paths


def _check_size(path: Path) -> None:
    "Refuse what is no ordinary file, or larger than pictures can be."
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size > MAX_PICTURES:
        raise ValueError(f"it holds {size:,} bytes, and should hold at most {MAX_PICTURES:,}")


def read_number(
    folder: "str | Path",  # a run folder
) -> "dict | None":  # plain values, as `plot_number` takes them; None: there is no number.json
    "How the number of clusters was chosen."
    values = _read_json(Path(folder) / NUMBER)
    if values is not None and not isinstance(values, dict):
        raise ValueError(f"{NUMBER} was not understood (it must be an object, got {type(values).__name__})")
    return values


def read_reference(
    folder: "str | Path",  # a run folder
) -> "Reference | None":  # None: there is no reference.json
    "What the scores of a run are worth."
    values = _read_json(Path(folder) / REFERENCE)
    if values is None:
        return None
    try:
        table = values.get("confusion")
        confusion = None if table is None else np.array(table, np.int64)
        classes = [str(name) for name in values.get("classes") or []]
        if confusion is not None and (confusion.ndim != 2 or len(confusion) != len(classes)):
            raise ValueError(f"confusion has shape {confusion.shape} for {len(classes)} classes")
        chance, kmeans = (_scores(values.get(name)) for name in ("chance", "kmeans"))
        return Reference(chance, kmeans, classes, confusion)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{REFERENCE} was not understood ({error})") from error


def _scores(values: "dict | None") -> "dict[str, float]":
    "The scores that are finite numbers."
    found = {key: float(value) for key, value in (values or {}).items() if key in SCORES and value is not None}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def read_confidence(
    folder: "str | Path",  # a run folder
) -> "Table | None":  # None: there is no table
    "The table of a run's clusters."
    path = Path(folder) / TABLE
    try:
        text = read_regular(path, MAX_TABLE).decode("utf-8-sig", "replace")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        # the cluster browser's table has a column of positions; that of the command holds every image in order
        indices = np.array([int(row.get("index") or i) for i, row in enumerate(rows)], np.int64)
        clusters = np.array([int(row["cluster"]) for row in rows], np.int64)
        confidence = np.array([float(row["confidence"]) for row in rows])
        paths = [from_csv_cell(str(row.get("path") or "")) for row in rows]
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{TABLE} was not understood ({type(error).__name__}: {error})") from error
    if not rows or not np.isfinite(confidence).all() or clusters.min() < 0:
        raise ValueError(f"{TABLE} was not understood: it must hold a cluster and a confidence for each image")
    return Table(indices, clusters, confidence, paths)


def _read_json(path: Path) -> Any:
    "The values of a file; None if there is none."
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} was not understood ({error})") from error
