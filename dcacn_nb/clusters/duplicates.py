"""Copies among images: the same bytes, the same picture saved again, and images so similar that one of them will do."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcacn_nb.clusters.similar import BLOCK, UnitRows, nearest_among, unit_rows
from dcacn_nb.core.checks import check_float

NEARER = 0.2  # a near-duplicate is this share of the usual distance to the 10th nearest image away
LOWEST, HIGHEST = 0.90, 0.99  # bounds of the cosine that follows
SAMPLE = 2000  # images on which the usual distance is measured
SHORT = 64  # components in which candidates are looked for, in large sets; more where these hold less than
SHARE = 0.35  # of how neighbours differ: copies differ by a fifth, so that mere neighbours do not look like copies
ROUNDING = 1e-4  # of float32, by which candidates may miss the threshold before they are looked at closely
LARGE = 5_000  # images from which on that pays
GRID = 8  # squares by squares of a picture whose mean colours are compared
SMALLEST = 32  # pixels of a side from which on these say something
SHAPE = 0.99  # correlation of the grey tones of two pictures that show the same
COLOUR = 3.0  # mean difference of their colours, of 255


@dataclass(frozen=True)
class Duplicates:
    "One image to keep, and its copies. Every copy is close to the image kept, not only to another copy."

    keep: int  # the image of the largest file; of equals the first
    copies: "tuple[int, ...]"  # the other images, most similar features first
    cosines: "tuple[float, ...]"  # of each copy with the image kept
    exact: "tuple[bool, ...]"  # whether each copy has the same bytes (of the file, or of the pixels)


def near_threshold(
    features: object,  # FeatureSet, or (N,D) array or tensor
) -> float:  # cosine
    "The cosine from which on images of this set count as near-duplicates: a fifth of the usual distance apart."
    return _threshold(unit_rows(features))


def _threshold(unit: UnitRows) -> float:
    "That cosine, from unit rows."
    if len(unit) < 3:
        return (LOWEST + HIGHEST) / 2
    rows = np.unique(np.linspace(0, len(unit) - 1, min(SAMPLE, len(unit))).astype(int))
    _, cosines = nearest_among(unit, rows, min(10, len(unit) - 1))
    return float(np.clip(1 - NEARER * (1 - float(np.median(cosines[:, -1]))), LOWEST, HIGHEST))


def find_duplicates(
    features: object,  # FeatureSet, or (N,D) array or tensor; None: exact copies alone
    threshold: "float | None" = None,  # cosine from which on images count as copies; None: `near_threshold`
    paths: "Sequence[str] | None" = None,  # a file per image; None: those of the FeatureSet
    images: object = None,  # (N,C,H,W) uint8, small pictures; None: those of the FeatureSet
) -> "list[Duplicates]":  # the largest groups first
    "Groups of copies: the same bytes, or as the image kept a cosine of at least `threshold` or the same small picture."
    paths = getattr(features, "paths", None) if paths is None else list(paths)
    images = getattr(features, "images", None) if images is None else images
    known = [values for values in (features, paths, images) if values is not None]
    if not known:
        raise ValueError("features must be given, or paths or images to compare byte by byte, got none of them")
    if len({len(values) for values in known}) > 1:
        raise ValueError(f"features, paths and images must be of one length, got {[len(values) for values in known]}")
    if threshold is not None:
        check_float("threshold", threshold, 0, 1, open_low=True)
    count = len(known[0])
    sizes = _sizes(paths, count)
    same = _same_bytes(sizes, paths, images)
    order = np.lexsort((np.arange(count), -sizes))  # the first of a group is kept
    first = order[np.sort(np.unique(same[order], return_index=True)[1])]  # one image for each content
    if features is None:
        near = {int(image): [(int(image), 1.0)] for image in first}
    else:
        unit = unit_rows(features)
        near = _stars(unit, first, _threshold(unit) if threshold is None else threshold, _looks(images))
    return _groups(near, same, order)


def _sizes(paths: "Sequence[str] | None", count: int) -> np.ndarray:
    "Bytes of every file; -1 where there is none."
    if paths is None:
        return np.full(count, -1, np.int64)
    found = [Path(path) for path in paths]
    return np.array([path.stat().st_size if path.is_file() else -1 for path in found], np.int64)


def _same_bytes(sizes: np.ndarray, paths: "Sequence[str] | None", images: object) -> np.ndarray:  # (N,) int64
    "A number for each image, the same for the same bytes: of its file; of its pixels if it is not a file."
    keys: list[object] = list(range(len(sizes)))
    values, counts = np.unique(sizes, return_counts=True)
    shared = set(values[counts > 1].tolist()) - {-1}  # only files of one size can be equal: the others are not read
    for i, size in enumerate(sizes.tolist()):
        if size in shared and paths is not None:
            keys[i] = _digest(paths[i])
        elif size < 0 and images is not None:
            keys[i] = hashlib.sha256(np.ascontiguousarray(images[i]).tobytes()).digest()  # type: ignore[index]
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _digest(path: str) -> bytes:
    "SHA-256 of a file, read in pieces."
    state = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            state.update(piece)
    return state.digest()


@dataclass(frozen=True)
class Looks:
    "What small pictures look like from afar; a picture that was saved again or made smaller looks the same."

    colours: np.ndarray  # (N,C,GRID,GRID) float16, mean colours
    shapes: np.ndarray  # (N,GRID * GRID) float32, grey tones less their mean, of length 1

    def __getitem__(self, chosen) -> "Looks":
        "Some of them."
        return Looks(self.colours[chosen], self.shapes[chosen])

    def same(self, other: "Looks") -> np.ndarray:  # bool
        "Which pictures show the same as another one, or as one of each."
        apart = np.abs(self.colours - other.colours).mean((-3, -2, -1), dtype=np.float32)
        return (apart <= COLOUR) & ((self.shapes * other.shapes).sum(-1) >= SHAPE)


def _looks(images: Any) -> "Looks | None":  # None: there are no pictures, or too small ones
    "The looks of small pictures, which may be mapped from a file."
    if images is None or min(images.shape[2:]) < SMALLEST:
        return None
    pieces = [np.asarray(images[i : i + 1024]) for i in range(0, len(images), 1024)]
    colours = np.concatenate([_mean_colours(piece) for piece in pieces])
    grey = colours.astype(np.float32).mean(1).reshape(len(colours), -1)
    grey -= grey.mean(1, keepdims=True)
    return Looks(colours, grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6))


def _mean_colours(images: np.ndarray) -> np.ndarray:  # (n,C,GRID,GRID) float16
    "The mean colour of each square; what is over at the edges is left out."
    n, channels, *sides = images.shape
    (height, top), (width, left) = ((side // GRID, side % GRID // 2) for side in sides)
    inside = images[:, :, top : top + GRID * height, left : left + GRID * width]
    return inside.reshape(n, channels, GRID, height, GRID, width).mean((3, 5), dtype=np.float32).astype(np.float16)


def _stars(
    unit: UnitRows, order: np.ndarray, threshold: float, looks: "Looks | None"
) -> "dict[int, list[tuple[int, float]]]":
    "Image kept -> itself and the images close to it; an image goes to the first in `order` that it is close to."
    free, stars = np.ones(len(order), bool), {}
    short = _Shadows(_shortened(unit)[order]) if len(order) > LARGE else None
    looks = None if looks is None else looks[order]
    size = max(1, BLOCK // len(order))
    for start in range(0, len(order), size):
        rows = np.arange(start, min(start + size, len(order)))
        rows = rows[free[rows]]
        if not len(rows):
            continue
        which, places = np.nonzero(_candidates(unit, order, short, looks, rows, threshold))
        cuts = np.searchsorted(which, np.arange(len(rows) + 1))
        for i, likely in zip(rows, np.split(places + rows[0], cuts[1:-1])):
            if not free[i]:
                continue
            others = likely[(likely > i) & free[likely]]
            if not len(others):  # as with most images
                stars[int(order[i])] = [(int(order[i]), 1.0)]
                continue
            others, cosines = _close(unit, order, looks, i, others, threshold)
            members = [(int(order[j]), float(c)) for j, c in zip(others, cosines)]
            stars[int(order[i])] = [(int(order[i]), 1.0), *members]
            free[others] = free[i] = False
    return stars


def _candidates(
    unit: UnitRows,
    order: np.ndarray,
    short: "_Shadows | None",
    looks: "Looks | None",
    rows: np.ndarray,  # (n,) places in `order`
    threshold: float,
) -> np.ndarray:  # (n, N - rows[0]) bool
    "Which images from rows[0] on may be close to which of some."
    start = rows[0]
    if short is None:
        found = unit[order[rows]] @ unit[order[start:]].T >= threshold - ROUNDING
    else:
        found = short.near(rows, start, 2 - 2 * threshold + ROUNDING)
    if looks is not None:
        found |= looks.shapes[rows] @ looks.shapes[start:].T >= SHAPE - ROUNDING
    return found


def _close(
    unit: UnitRows, order: np.ndarray, looks: "Looks | None", i: int, others: np.ndarray, threshold: float
) -> "tuple[np.ndarray, np.ndarray]":
    "Those of some places in `order` that are close to place i, and their cosines."
    one = unit[order[i]]
    cosines = np.concatenate([piece @ one for piece in unit.pieces(order[others])] or [np.empty(0, np.float32)])
    near = cosines >= threshold
    if looks is not None:
        near |= looks[others].same(looks[i])
    return others[near], cosines[near]


class _Shadows:
    "Rows in a few of their components. A shadow is never longer than the thing: |Pu - Pv|^2 <= |u - v|^2 = 2 - 2 cos."

    def __init__(
        self,
        rows: np.ndarray,  # (N,d)
    ):
        half, one = -np.einsum("nd,nd->n", rows, rows)[:, None] / 2, np.ones((len(rows), 1), np.float32)
        self.left, self.right = np.hstack([rows, half, one]), np.hstack([rows, one, half])  # product: -|Pu - Pv|^2 / 2

    def near(
        self,
        rows: np.ndarray,  # (n,)
        start: int,
        square: float,
    ) -> np.ndarray:  # (n, N - start) bool
        "Of which rows from `start` on the shadow is at most so far away, squared, from that of some."
        return self.left[rows] @ self.right[start:].T >= -square / 2


def _shortened(unit: UnitRows) -> np.ndarray:  # (N,d) float32
    "The rows in the components in which neighbours differ most."
    rows = np.arange(0, len(unit), max(1, len(unit) // SAMPLE))
    nearest, _ = nearest_among(unit, rows, 1, rows)
    apart = (unit[rows] - unit[nearest[:, 0]]).astype(np.float64)
    axes = np.linalg.eigh(apart[::2].T @ apart[::2])[1][:, ::-1]  # the largest first
    spread = ((apart[1::2] @ axes) ** 2).sum(0)  # of other images: those that made the axes would flatter them
    held = np.cumsum(spread) / max(spread.sum(), 1e-300)
    axes = axes[:, : max(SHORT, int(np.searchsorted(held, SHARE)) + 1)].astype(np.float32)
    return np.concatenate([piece @ axes for piece in unit.pieces()])


def _groups(near: dict, same: np.ndarray, order: np.ndarray) -> "list[Duplicates]":
    "Groups of more than one image, from images that are close and images of the same bytes."
    alike = defaultdict(list)
    for image in order.tolist():
        alike[same[image]].append(image)
    groups = []
    for keep, members in near.items():
        every = [(image, cosine) for one, cosine in members for image in alike[same[one]]]
        copies = sorted((pair for pair in every if pair[0] != keep), key=lambda pair: -pair[1])
        if copies:
            exact = tuple(bool(same[image] == same[keep]) for image, _ in copies)
            cosines = tuple(min(1.0, round(cosine, 6)) for _, cosine in copies)
            groups.append(Duplicates(keep, tuple(image for image, _ in copies), cosines, exact))
    return sorted(groups, key=lambda group: (-len(group.copies), group.keep))


def duplicates_table(
    groups: "Sequence[Duplicates]",
    paths: "Sequence[str] | None" = None,  # a file per image
) -> pd.DataFrame:  # columns group, index, path (if there are any), keep, exact, cosine
    "One row per image of a group: the one to keep, then its copies."
    rows: list[tuple] = []
    for number, group in enumerate(groups):
        rows.append((number, group.keep, "yes", "", 1.0))
        rows += [
            (number, image, "no", "yes" if exact else "no", cosine)
            for image, cosine, exact in zip(group.copies, group.cosines, group.exact)
        ]
    table = pd.DataFrame(rows, columns=["group", "index", "keep", "exact", "cosine"])
    if paths is not None:
        table.insert(2, "path", [str(paths[i]) for i in table["index"]])
    return table
