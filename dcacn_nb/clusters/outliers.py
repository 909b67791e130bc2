"""Images that belong nowhere: far from their nearest images, compared with how far images of the set usually are."""

import numpy as np

from dcacn_nb.clusters.names import cluster_numbers
from dcacn_nb.clusters.similar import UnitRows, nearest_among, unit_rows
from dcacn_nb.core.checks import check_float, check_int

NEARLY_USUAL = 1.25  # times as far as usual: an image up to here is never an outlier
FEW = 20  # images: smaller clusters say little about what is usual
REFERENCES = 5_000  # images, evenly spaced, among which neighbours are looked for in larger sets


def outlier_scores(
    features: object,  # FeatureSet, or (N,D) array or tensor, N >= 3
    assignments: object = None,  # (N,) cluster of each, or (N,K) probabilities; None: all images are one group
    k: int = 10,  # nearest images looked at; fewer where there are no more
) -> np.ndarray:  # (N,) float64, >= 0; 1: as far from its nearest images as usual, 2: twice as far
    "How many times farther than usual an image is from its k nearest images (mean of 1 - cosine)."
    unit = unit_rows(features)
    if len(unit) < 3:
        raise ValueError(f"features must hold at least 3 images to say what is usual, got {len(unit)}")
    distances = _mean_distances(unit, min(check_int("k", k, 1), len(unit) - 1))
    usual = np.full(len(unit), np.median(distances))
    clusters = np.zeros(len(unit), int) if assignments is None else cluster_numbers(assignments, len(unit))
    for cluster, size in zip(*np.unique(clusters, return_counts=True)):
        if size >= FEW:
            usual[clusters == cluster] = np.median(distances[clusters == cluster])
    return distances / np.maximum(usual, 1e-6)  # of copies alone: no image is far


def _mean_distances(unit: UnitRows, k: int) -> np.ndarray:
    "Mean of 1 - cosine to the k nearest other images; in a large set, to the k nearest of evenly spaced ones."
    large = len(unit) > REFERENCES
    among = np.unique(np.linspace(0, len(unit) - 1, REFERENCES).astype(int)) if large else None
    _, cosines = nearest_among(unit, np.arange(len(unit)), k, among)
    return np.maximum(0, 1 - cosines.mean(1, dtype=np.float64))


def far_limit(
    scores: np.ndarray,  # (N,) from `outlier_scores`
) -> float:  # times as far as usual
    "The score from which on images belong nowhere: the upper whisker of a box plot (Tukey 1977)."
    low, high = np.quantile(scores, [0.25, 0.75])
    return max(NEARLY_USUAL, float(high + 1.5 * (high - low)))


def find_outliers(
    features: object,  # FeatureSet, or (N,D) array or tensor, N >= 3
    assignments: object = None,  # (N,) cluster of each, or (N,K) probabilities
    threshold: "float | None" = None,  # times as far from its nearest images as usual, >= 1; None: `far_limit`
    k: int = 10,  # nearest images looked at
) -> "tuple[np.ndarray, np.ndarray]":  # (n,) int64 which images, the farthest first; (n,) float64 their scores
    "The images that belong nowhere."
    if threshold is not None:
        check_float("threshold", threshold, 1)
    scores = outlier_scores(features, assignments, k)
    found = np.flatnonzero(scores >= (far_limit(scores) if threshold is None else threshold))
    found = found[np.argsort(-scores[found], kind="stable")]
    return found, scores[found]
