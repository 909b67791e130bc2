"""More like this: images whose features point in the same direction, found block by block."""

from collections.abc import Iterator, Sequence

import numpy as np

from dcacn_nb.core.checks import check_features, check_int, describe

BLOCK = 8_000_000  # cosines held at once: 32 MB
PIECE = 8192  # rows held at once


class UnitRows:
    "Features seen as rows of length 1, whose dot products are cosines. No second copy of all of them is made."

    def __init__(
        self,
        rows: np.ndarray,  # (N,D) float32, as `check_features` wants; may be mapped from a file larger than memory
    ):
        self.rows, self.shape = rows, rows.shape
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        self.lengths = np.where(lengths, lengths, 1)  # a row of zeros stays one

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen) -> np.ndarray:
        "Some rows."
        return self.rows[chosen] / self.lengths[chosen][..., None]

    def cosines(
        self,
        unit: np.ndarray,  # (n,D) unit rows
    ) -> np.ndarray:  # (n,N)
        "Of some rows with all of these."
        found = unit @ self.rows.T
        found /= self.lengths
        return found

    def pieces(
        self,
        chosen: "np.ndarray | None" = None,  # (m,) positions; None: all
    ) -> "Iterator[np.ndarray]":
        "Some rows, a few thousand at a time."
        for start in range(0, len(self if chosen is None else chosen), PIECE):
            part = slice(start, start + PIECE)
            yield self[part if chosen is None else chosen[part]]

    def mean(
        self,
        chosen: np.ndarray,  # (m,) positions, at least one
    ) -> np.ndarray:  # (D,)
        "The mean of some rows."
        return sum(piece.sum(0) for piece in self.pieces(chosen)) / np.float32(len(chosen))


def unit_rows(
    features: object,  # FeatureSet, UnitRows, or (N,D) array or tensor; of (N,V,D) the whole images
) -> UnitRows:
    "Features as rows of length 1, checked."
    if isinstance(features, UnitRows):
        return features
    checked = hasattr(features, "whole")  # a FeatureSet: these may be many, and were looked at when it was made
    rows = getattr(features, "whole", features)
    rows = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows)
    if rows.ndim == 3 and rows.shape[1]:
        rows = rows[:, 0]
    if rows.ndim != 2 or rows.dtype.kind != "f" or 0 in rows.shape:
        raise ValueError(f"features must be floating-point numbers (N,D), got {describe(rows)}")
    if not checked:
        check_features(rows)
    return UnitRows(np.asarray(rows, np.float32))


def nearest_images(
    features: object,  # FeatureSet, or (N,D) array or tensor
    k: int = 10,  # neighbours of each image, 1 to N - 1
) -> "tuple[np.ndarray, np.ndarray]":  # (N,k) int64 which images, nearest first; (N,k) float32 their cosines
    "The nearest other images of every image."
    unit = unit_rows(features)
    return nearest_among(unit, np.arange(len(unit)), k)


def nearest_among(
    unit: UnitRows,  # N of them
    rows: np.ndarray,  # (n,) the images whose neighbours are wanted
    k: int,  # neighbours of each, at least 1, fewer than there are images to choose from
    among: "np.ndarray | None" = None,  # (m,) rising, the images to choose from; None: all
) -> "tuple[np.ndarray, np.ndarray]":  # (n,k) int64 which of the N images, nearest first; (n,k) float32 their cosines
    "The nearest other images of some images, block by block: N x N cosines are never held."
    others = np.arange(len(unit)) if among is None else among
    check_int("k", k, 1, len(others) - 1)
    candidates = unit if among is None else UnitRows(unit[among])
    found, cosines = np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32)
    size = max(1, BLOCK // len(others))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        block = candidates.cosines(unit[part])
        place = np.minimum(np.searchsorted(others, part), len(others) - 1)
        itself = np.flatnonzero(others[place] == part)
        block[itself, place[itself]] = -np.inf
        places, cosines[start : start + size] = _highest(block, k)
        found[start : start + size] = others[places]
    return found, cosines


def _highest(cosines: np.ndarray, k: int) -> "tuple[np.ndarray, np.ndarray]":
    "Places and values of the k highest in each row, the highest first."
    places = np.sort(np.argpartition(cosines, -k, axis=1)[:, -k:], axis=1)
    values = np.take_along_axis(cosines, places, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(places, order, 1), np.take_along_axis(values, order, 1)


def most_similar(
    features: object,  # FeatureSet, or (N,D) array or tensor
    query: "int | Sequence[int] | np.ndarray",  # an image of the set, several, or features (D,) or (m,D) of others
    n: int = 12,  # images wanted; fewer if there are no more
) -> "tuple[np.ndarray, np.ndarray]":  # (n,) int64 which images, most similar first; (n,) float32 cosines
    "Images like these: the nearest to the mean direction of the query, whose own images are left out."
    unit = unit_rows(features)
    n = check_int("n", n, 1)
    own, direction = _direction(unit, query)
    cosines = unit.cosines(direction[None])[0]
    cosines[own] = -np.inf
    n = min(n, len(unit) - len(own))
    if not n:
        raise ValueError(f"query must leave out some of the {len(unit)} images, it names all of them")
    places, values = _highest(cosines[None], n)
    return places[0], values[0]


def _direction(unit: UnitRows, query: object) -> "tuple[np.ndarray, np.ndarray]":
    "The images that a query names, and (D,) its mean direction."
    wanted = np.asarray(query.detach().cpu() if hasattr(query, "detach") else query)
    if wanted.size and wanted.ndim < 2 and wanted.dtype.kind in "iu":
        own = np.unique(wanted)
        if own[0] < 0 or own[-1] >= len(unit):
            raise IndexError(f"query must name images in 0..{len(unit) - 1}, got {own[0]}..{own[-1]}")
        return own, UnitRows(unit.mean(own)[None])[0]
    if wanted.dtype.kind != "f" or wanted.ndim not in (1, 2) or wanted.shape[-1] != unit.shape[1] or not wanted.size:
        raise ValueError(
            f"query must be an image's number, several, or features of length {unit.shape[1]} "
            f"by the same encoder, got {describe(wanted)}"
        )
    others = unit_rows(np.atleast_2d(wanted))
    return np.zeros(0, np.int64), UnitRows(others.mean(np.arange(len(others)))[None])[0]
