"""Features in two dimensions: PCA and t-SNE that continue from the previous snapshot instead of starting again."""

import math

import numpy as np
from sklearn.decomposition import PCA

from dcacn_nb.core.checks import check_in, check_int

METHODS = ("pca", "tsne")
PIECE = 8192  # rows looked at together


def _matrix(name: str, values: object, rows: int, columns: "int | None" = None) -> np.ndarray:
    "`values` as a finite float64 matrix with at least so many rows, else an error that names the argument."
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a matrix of numbers, got {type(values).__name__}") from None
    wanted = f"(N,{columns or 'D'}) with N >= {rows}"
    if matrix.ndim != 2 or len(matrix) < rows or matrix.shape[1] < 1 or columns not in (None, matrix.shape[1]):
        raise ValueError(f"{name} must be a matrix {wanted}, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        wrong = int((~np.isfinite(matrix)).sum())
        raise ValueError(f"{name} must be finite, got {wrong} values that are NaN or infinite; has the run diverged?")
    return matrix


def _collapsed(h: np.ndarray) -> bool:
    "Whether the rows differ by no more than the rounding of float32."
    return bool(np.ptp(h, axis=0).max() <= 1e-6 * np.abs(h).max())


def _components(h: np.ndarray, n: int) -> "tuple[np.ndarray, float]":
    "The first n principal components (zeros if all rows are alike), and their share of the variance."
    if _collapsed(h):
        return np.zeros((len(h), n)), 0.0
    centred = h - h.mean(0)
    size = np.abs(centred).max()
    scores = PCA(min(n, *h.shape), svd_solver="full").fit_transform(centred / size)
    return scores * size, float((scores**2).sum() / ((centred / size) ** 2).sum())


def leading_components(
    h: np.ndarray,  # (N,D) features, N >= 3; may be mapped from a file
    n: int,  # components wanted; fewer if D is smaller
) -> "tuple[np.ndarray, np.ndarray]":  # (N,n) float32, centred, in units of h; (n,) share of the variance of each
    "Principal components of very many rows, in pieces: no copy of all of them is made."
    pieces = lambda: (h[i : i + PIECE].astype(np.float64) for i in range(0, len(h), PIECE))
    centre = sum(piece.sum(0) for piece in pieces()) / len(h)
    if not np.isfinite(centre).all():
        wrong = sum(int((~np.isfinite(piece)).sum()) for piece in pieces())
        raise ValueError(f"h must be finite, got {wrong} values that are NaN or infinite; has the run diverged?")
    spread, axes = np.linalg.eigh(sum((piece - centre).T @ (piece - centre) for piece in pieces()))  # rising
    spread, axes = np.maximum(spread[::-1], 0), axes[:, ::-1][:, :n]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])  # else the sign is arbitrary
    rows = np.concatenate([((piece - centre) @ axes).astype(np.float32) for piece in pieces()])
    return rows, spread[: axes.shape[1]] / max(spread.sum(), 1e-300)


def _planar(points: np.ndarray) -> np.ndarray:
    "The first two columns; zeros in place of a missing one."
    return np.pad(points[:, :2], ((0, 0), (0, max(0, 2 - points.shape[1]))))


def pca(
    h: np.ndarray,  # (N,D) features, N >= 3
) -> "tuple[np.ndarray, float]":  # (N,2) float32, centred, in units of h; the share of the variance that they show
    "The plane in which the features vary most (Pearson 1901; Hotelling 1933)."
    points, explained = _components(_matrix("h", h, rows=3), 2)
    return _planar(points).astype(np.float32), explained


def _spread(points: np.ndarray) -> float:
    "Root mean square distance from the mean."
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def _unit(points: np.ndarray) -> np.ndarray:
    "Centred, and of spread 1 (zeros if all points are one)."
    spread = _spread(points)
    return (points - points.mean(0)) / spread if spread > 0 else np.zeros_like(points)


def _rotation(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    "(2,2) rotation or reflection that brings `points` closest to `target` (orthogonal Procrustes; Schönemann 1966)."
    u, _, vt = np.linalg.svd(points.T @ target)
    return u @ vt


def align(
    points: np.ndarray,  # (N,2), N >= 1
    target: np.ndarray,  # (N,2): where the same images were before
) -> np.ndarray:  # (N,2) float32: the same map with the centre and the spread of `target`
    "Turn, mirror, shift and scale a map as a whole so that it is as close to another as it can be (Procrustes)."
    points, target = _matrix("points", points, 1, columns=2), _matrix("target", target, 1, columns=2)
    if len(points) != len(target):
        raise ValueError(f"points and target must hold the same images, got {len(points)} and {len(target)} rows")
    shape, goal = _unit(points), _unit(target)
    return (shape @ _rotation(shape, goal) * _spread(target) + target.mean(0)).astype(np.float32)


def _start(plane: np.ndarray, seed: int) -> np.ndarray:
    "The plane shrunk to 1e-4, where t-SNE starts, with noise a hundred times smaller: equal points could never part."
    noise = np.random.default_rng(seed).normal(size=plane.shape)
    return 1e-4 * (_unit(plane) + 0.01 * noise)


def tsne(
    h: np.ndarray,  # (N,D) features, N >= 3
    start: "np.ndarray | None" = None,  # (N,2) what `tsne` returned for the same images before; None: from scratch
    *,
    perplexity: float = 30,  # about how many neighbours an image is to keep, >= 1; at most (N-1)/3 are taken
    n_iter: "int | None" = None,  # steps; None: 100 from `start`; from scratch 500, after 250 with early exaggeration
    fitted: "int | None" = None,  # rows fitted at most, >= 3, evenly spaced; the others are placed among them
    seed: int = 0,  # of the noise at the start
    n_jobs: int = 1,  # threads; -1: all
) -> np.ndarray:  # (N,2) float32, centred, in t-SNE's unit; the same arguments give the same points
    "Neighbours stay neighbours: t-SNE (van der Maaten and Hinton 2008), from PCA or from earlier positions."
    h, seed = _matrix("h", h, rows=3), check_int("seed", seed, 0)
    every = 1 if fitted is None else math.ceil(len(h) / check_int("fitted", fitted, 3))
    every = min(every, (len(h) - 1) // 2)  # three rows at least
    if isinstance(perplexity, bool) or not isinstance(perplexity, (int, float, np.number)) or not perplexity >= 1:
        raise ValueError(f"perplexity must be a number >= 1, got {perplexity!r}")
    n_iter = (500 if start is None else 100) if n_iter is None else check_int("n_iter", n_iter, 1)
    if start is not None and (start := _matrix("start", start, 3, columns=2)).shape[0] != len(h):
        raise ValueError(f"start must hold a position for each of the {len(h)} rows of h, got {len(start)}")
    # imported here: openTSNE (Poličar et al. 2024) takes seconds, and PCA needs none of it
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import Sklearn

    parts, _ = _components(h, 50)
    parts = parts / max(np.abs(parts).max(), 1e-300)  # t-SNE has no unit; squares of tiny features would lose digits
    options = {"n_jobs": n_jobs, "random_state": seed}
    some = parts[::every]
    perplexity = min(perplexity, (len(some) - 1) / 3)
    # asked for exact neighbours by name, openTSNE first imports pynndescent, which may compile for a minute
    index = Sklearn(some, k=min(len(some) - 1, int(3 * perplexity)), metric="euclidean", **options)
    near = PerplexityBasedNN(knn_index=index, perplexity=perplexity, **options)
    map_ = TSNEEmbedding(_start(_planar(some), seed) if start is None else start[::every], near, **options)
    if start is None:
        map_ = map_.optimize(n_iter=250, exaggeration=12, momentum=0.8)
    map_ = map_.optimize(n_iter=n_iter, momentum=0.8)
    points = np.empty((len(h), 2))
    points[::every] = map_
    if every > 1:
        others = np.arange(len(h)) % every > 0
        points[others] = _placed(map_, parts[others])
    return (points - points.mean(0)).astype(np.float32)


def _placed(
    fitted,  # TSNEEmbedding
    others: np.ndarray,  # (m,D)
) -> np.ndarray:  # (m,2)
    "Further rows in a map that stays as it is: at their nearest neighbours, then 50 steps of t-SNE (Poličar et al.)."
    placed = []
    for start in range(0, len(others), PIECE):
        near = {
            "initialization": "weighted",
            "k": min(10, len(fitted) - 1),
            "perplexity": min(5, (len(fitted) - 1) / 3),
        }
        piece = fitted.prepare_partial(others[start : start + PIECE], **near)
        placed.append(np.asarray(piece.optimize(n_iter=50, learning_rate=0.1, exaggeration=1.5, momentum=0.8)))
    return np.concatenate(placed)


class MapSequence:
    "Maps of the same images, snapshot after snapshot, in which points move and do not jump."

    def __init__(
        self,
        method: str = "tsne",  # or "pca"
        *,
        seed: int = 0,  # of t-SNE
        perplexity: float = 30,  # of t-SNE
        n_jobs: int = 1,  # threads of t-SNE
        fitted: "int | None" = None,  # images that t-SNE is fitted to at most; the others are placed among them
        start: "np.ndarray | None" = None,  # (N,2) the `raw` of an earlier sequence, to continue from there
    ):
        self.method = check_in("method", method, METHODS)
        self.options = {"seed": seed, "perplexity": perplexity, "n_jobs": n_jobs, "fitted": fitted}
        self.explained: float | None = None  # PCA: share of the variance in the last map
        # t-SNE's positions in its unit, where the next snapshot starts; the last map that was more than one point
        self._raw: np.ndarray | None = None if start is None else _matrix("start", start, 3, columns=2)
        self._shown: np.ndarray | None = None if start is None else _unit(self._raw).astype(np.float32)

    def add(
        self,
        h: np.ndarray,  # (N,D) features of a snapshot, the same images each time
        n_iter: "int | None" = None,  # steps of t-SNE
    ) -> np.ndarray:  # (N,2) float32, centred, of spread 1, turned to match the map before
        "The map of the next snapshot."
        if self._shown is not None and len(h) != len(self._shown):
            raise ValueError(
                f"h must hold the same {len(self._shown)} images as before, got {len(h)} rows; begin a new MapSequence"
            )
        h = _matrix("h", h, rows=3)
        if _collapsed(h):  # one point, by either method; the next map continues from the last that was more than that
            self.explained = 0.0 if self.method == "pca" else None
            return np.zeros((len(h), 2), np.float32)
        if self.method == "pca":
            points, self.explained = pca(h)
        else:
            points = self._raw = tsne(h, self._raw, n_iter=n_iter, **self.options)
        points = _unit(points.astype(np.float64))
        self._shown = points.astype(np.float32) if self._shown is None else align(points, self._shown)
        return self._shown.copy()

    @property
    def raw(self) -> "np.ndarray | None":  # (N,2) float32; None before the first map
        "The last map that was more than one point, in t-SNE's unit: the `start` of a sequence that continues here."
        return None if self._shown is None else self._shown * (1 if self._raw is None else _spread(self._raw))
