"""Images and the cluster of each: read in pieces, one picture at a time, and exported as a table."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dcacn_nb.core.events import SnapshotTaken
from dcacn_nb.core.files import atomic_write
from dcacn_nb.core.text import csv_cell
from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.data.image_set import ImageSet

PIECE = 65_536  # rows of probabilities read at once


def _numpy(values) -> np.ndarray:
    "An array from an array or a tensor, on whatever device that is."
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


@dataclass(frozen=True, eq=False)
class AssignedImages:
    "Some images of a set, and the cluster that the network assigns to each."

    indices: np.ndarray  # (n,) int64, rising: which images of the set
    clusters: np.ndarray  # (n,) int64
    confidence: np.ndarray  # (n,) float32
    probabilities: object  # (n,K): array, memory map or tensor
    images: object  # (m,C,H,W) uint8: array, memory map or tensor
    places: np.ndarray  # (n,) where in `images` each of them is
    paths: "list | None" = None  # the file of each of the m images
    total: int = 0  # images in the whole set; 0: unknown
    epoch: "int | None" = None  # of the snapshot; None: a whole set

    @property
    def n_clusters(self) -> int:
        "K, clusters of the network."
        return self.probabilities.shape[1]

    def rows(self, indices: "Sequence[int]") -> np.ndarray:
        "The rows of images of the set; images that are not here are left out."
        wanted = np.asarray(indices, np.int64).reshape(-1)
        rows = np.minimum(np.searchsorted(self.indices, wanted), len(self.indices) - 1)
        return rows[self.indices[rows] == wanted]

    def pixels(self, rows: "Sequence[int]") -> np.ndarray:  # (len(rows),C,H,W)
        "The pictures of a few rows; nothing else is read."
        return _numpy(self.images[self.places[rows].tolist()])

    def files(self, rows: "Sequence[int]") -> "list[str] | None":
        "The files of a few rows, if the images came from files."
        return None if self.paths is None else [str(self.paths[place]) for place in self.places[rows]]

    def seconds(self, rows: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
        "For each row the second most probable cluster, and its probability; -1 and 0 if there is only one."
        if self.n_clusters == 1 or not len(rows):
            return np.full(len(rows), -1), np.zeros(len(rows))
        p = _numpy(self.probabilities[rows.tolist()]).astype(np.float32)
        p[np.arange(len(p)), self.clusters[rows]] = -1
        return p.argmax(1), p.max(1)


def assigned_set(
    images: object,  # ImageSet, FeatureSet, or an array or tensor as for `from_arrays`; may be memory-mapped
    probabilities: object,  # (N,K): array, memory map or tensor
) -> AssignedImages:  # all images
    "Every image of a set, with its cluster."
    images = images if isinstance(images, (ImageSet, FeatureSet)) else from_arrays(images)
    pictures = images.images
    if pictures is None:  # features without pictures
        pictures = np.broadcast_to(np.zeros((1, 1, 1, 1), np.uint8), (len(images), 1, 1, 1))
    shape = tuple(getattr(probabilities, "shape", ()))
    if len(shape) != 2 or shape[0] != len(images) or not shape[1]:
        wanted = f"(N,K) with one row for each of {len(images)} images"
        raise ValueError(f"probabilities must be {wanted}, got {shape or type(probabilities).__name__}")
    clusters, confidence = _assigned(probabilities)
    every = np.arange(len(images))
    return AssignedImages(every, clusters, confidence, probabilities, pictures, every, images.paths, len(images))


def assigned_snapshots(
    snapshots: "Sequence[SnapshotTaken]",  # of one run, in order
    total: int = 0,  # images in the set
) -> "AssignedImages | None":  # None if they hold no images or no usable probabilities
    "The images in the snapshots of a run, with their clusters in the last one."
    pictured = next((s for s in snapshots if len(s.arrays.get("images", ())) == len(s.indices) > 0), None)
    last = next((s for s in reversed(snapshots) if getattr(s.arrays.get("p"), "ndim", 0) == 2), None)
    if pictured is None or last is None:
        return None
    indices, a, b = np.intersect1d(pictured.indices, last.indices, return_indices=True)
    try:
        clusters, confidence = _assigned(last.arrays["p"][b])
    except ValueError:  # the run has diverged
        return None
    return (
        AssignedImages(
            indices, clusters, confidence, last.arrays["p"][b], pictured.arrays["images"], a, None, total, last.epoch
        )
        if len(indices)
        else None
    )


def _assigned(probabilities) -> "tuple[np.ndarray, np.ndarray]":
    "Cluster and confidence of every row, piece by piece."
    n = len(probabilities)
    clusters, confidence = np.empty(n, np.int64), np.empty(n, np.float32)
    for start in range(0, n, PIECE):
        piece = _numpy(probabilities[start : start + PIECE])
        clusters[start : start + PIECE], confidence[start : start + PIECE] = piece.argmax(1), piece.max(1)
    if not np.isfinite(confidence).all():  # NaN wins every max
        wrong = int((~np.isfinite(confidence)).sum())
        raise ValueError(f"probabilities must be finite, got {wrong} rows with NaN or infinity; has the run diverged?")
    return clusters, confidence


COLUMNS = ("index", "path", "cluster", "group", "name", "confidence")


def assignments(
    assigned: AssignedImages,
    groups: "np.ndarray | None" = None,  # (n,) the group of each image after edits by hand; None: its cluster
    names: "dict[int, str] | None" = None,  # group -> name
) -> pd.DataFrame:  # columns index, path (if there are any), cluster, group, name, confidence
    "One row per image: its cluster, its group after all edits, and the name of that group."
    groups, names = assigned.clusters if groups is None else np.asarray(groups), names or {}
    every = [names.get(group, "") for group in groups.tolist()]
    columns = {
        "index": assigned.indices,
        "path": assigned.files(np.arange(len(assigned.indices))),
        "cluster": assigned.clusters,
        "group": groups,
        "name": np.array(every, object),
        "confidence": assigned.confidence,
    }
    return pd.DataFrame({name: columns[name] for name in COLUMNS if columns[name] is not None})


def csv_bytes(
    table: pd.DataFrame,
) -> bytes:  # UTF-8 with a byte order mark
    "A table as CSV whose texts no spreadsheet runs as formulas."
    safe = table.copy()
    for column in safe.columns:
        if safe[column].dtype == object or isinstance(safe[column].dtype, pd.StringDtype):
            values, first = np.unique(safe[column].astype(str), return_inverse=True)
            safe[column] = (
                np.array([csv_cell(value) for value in values], object)[first] if len(values) else safe[column]
            )
    file = io.StringIO()
    safe.to_csv(file, index=False, float_format="%.6g", lineterminator="\r\n")
    return file.getvalue().encode("utf-8-sig")


def write_table(
    table: pd.DataFrame,
    path: "str | Path",  # ends in .csv
) -> Path:  # the file, whole or not at all
    "Write a table as CSV."
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise ValueError(f"path must end in .csv, got {str(path)!r}")
    return atomic_write(path, csv_bytes(table))
