"""How many clusters: one sweep over features, several criteria, a range and a choice; and which clusters to merge."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import entropy
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, mutual_info_score, pairwise_distances
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from dcacn_nb.core.checks import check_features, check_int, describe
from dcacn_nb.heads._parts.merges import merge_steps, modularity, shared_neighbours

LARGEST = 2000  # images that are looked at; of more, a random sample
DIM = 50  # principal components that are kept
NEIGHBOURS = 15  # of each image, by cosine
EPSILON = 0.1  # squared distortion of the coding length
FEWEST = 30  # distinct images below which no number can stand out
STANDS_OUT = 0.15  # by how much neighbours must agree beyond what features without groups reach
WEIGHTS = {"neighbours": 1.0, "information": 0.5, "silhouette": 0.25}  # of logarithms; chosen on sets of known K
CODING_WEIGHT = 0.01  # of the coding length itself, in nats per image
ABOUT_AS_GOOD = 0.12  # numbers that lose less than this are in the range: 8 of 10 ranges then held the truth
BY_HAND = 'dc.Dashboard.attach("RUN_FOLDER", tab="clusters")'  # opens the cluster browser
CRITERIA = {  # what each curve shows; larger is better
    "together": "the weighted sum of the next four: the choice is where it is largest",
    "neighbours": "share of neighbours in the same cluster, beyond chance",
    "information": "what an image's cluster says about the clusters of its neighbours",
    "silhouette": "how compact and separate the clusters are",
    "coding": "how short a description is that codes each cluster by itself",
    "stability": "agreement of K-Means fitted to different halves",
    "prediction": "how well a linear classifier finds the clusters again, beyond chance",
}


@dataclass(frozen=True, eq=False)
class NumberOfClusters:
    "How many clusters the features suggest."

    choice: int  # the number to use
    low: int  # of the range of numbers that are about as good
    high: int
    clear: bool  # whether the features have groups at all, as far as can be seen
    sentence: str  # the finding in plain words
    candidates: "list[int]"  # numbers tried, rising
    curves: "dict[str, list[float]]"  # criterion -> one value per candidate, larger is better
    best: "dict[str, int]"  # criterion -> the candidate where it is largest
    images: int  # looked at: distinct ones, a sample of them if there are many
    total: int  # images given
    seconds: float  # it took

    def as_dict(self) -> dict:
        "Plain values, for JSON and for `plot_number`."
        return asdict(self)


def choose_k(
    features: Any,  # FeatureSet, or float array or tensor (N,D)
    low: int = 2,  # smallest number to try
    high: int = 50,  # largest; half the number of distinct images, if that is smaller
    seed: int = 0,  # of the sample, the halves and the K-Means starts
    largest: int = LARGEST,  # images looked at, at most
) -> NumberOfClusters:  # range, choice, and one curve per criterion
    "The number of clusters as a range and a choice, from features alone: nothing is trained, labels are not seen."
    start = time.perf_counter()
    low, high = check_int("low", low, low=2), check_int("high", high, low=2)
    check_int("seed", seed, low=0)
    check_int("largest", largest, low=100)
    if low > high:
        raise ValueError(f"low must be at most high, got low={low} and high={high}")
    rows = _checked(features)
    distinct = _distinct(rows)
    if len(distinct) < 4:
        return _few_distinct(len(distinct), len(rows), time.perf_counter() - start)
    if low > len(distinct) // 2:
        half = f"{len(distinct) // 2}, half the number of distinct images"
        raise ValueError(f"low must be at most {half}, got {low}; pass a smaller one, or more images")
    rng = np.random.default_rng(seed)
    chosen = distinct if len(distinct) <= largest else np.sort(rng.permutation(distinct)[:largest])
    points = reduced(rows[chosen])
    candidates = list(range(low, min(high, len(chosen) // 2) + 1))
    with threadpool_limits(1):  # hundreds of small K-Means: beside other work, threads would wait for one another
        curves, gap = _curves(points, candidates, seed)
    return _found(candidates, curves, gap, len(chosen), len(rows), start)


def _checked(features: Any) -> np.ndarray:
    "Finite float32 rows (N,D), at least four, from a feature set, a tensor or an array."
    if hasattr(features, "whole"):
        features = features.whole
    if hasattr(features, "detach"):
        features = features.detach().cpu().numpy()
    if not isinstance(features, np.ndarray) or features.ndim != 2 or features.dtype.kind != "f" or not features.size:
        raise ValueError(f"features must be a FeatureSet or a float array (N,D), got {describe(features)}")
    check_features(features)
    if len(features) < 4:
        raise ValueError(f"at least 4 images are needed to choose a number of clusters, got {len(features)}")
    return np.ascontiguousarray(features, np.float32)


def _distinct(rows: np.ndarray) -> np.ndarray:
    "Positions of the first of each set of identical rows, rising: copies say nothing about the number of groups."
    first: dict[int, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(hash(row.tobytes()), i)  # a hash of 64 bits: no second copy of all features
    return np.array(list(first.values()))


def _few_distinct(distinct: int, total: int, seconds: float) -> NumberOfClusters:
    "The answer where nearly all images are copies of one another."
    if distinct == 1:
        raise ValueError(
            f"features must differ between images, got {total} identical images; there is nothing to cluster"
        )
    sentence = f"The {total:,} images are copies of only {distinct}, so there are {distinct} groups."
    return NumberOfClusters(distinct, distinct, distinct, True, sentence, [distinct], {}, {}, distinct, total, seconds)


def reduced(
    rows: np.ndarray,  # (n,D) float32
    dim: int = DIM,  # components kept, at most
) -> np.ndarray:  # (n,d) float32
    "Rows of unit length, centred, on their principal components: distances are those of the cosine."
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return PCA(min(dim, *unit.shape), random_state=0).fit_transform(unit).astype(np.float32)


def neighbours(
    points: np.ndarray,  # (n,d)
    count: int = NEIGHBOURS,  # of each point
) -> np.ndarray:  # (n,count) int64; fewer columns for a few points
    "The nearest other points of each point."
    count = max(1, min(count, len(points) // 4))
    return NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)


# --- criteria: each a function of one clustering, larger is better -------------------------------------------------
def neighbour_information(
    near: np.ndarray,  # (n,k) neighbours of each image
    clusters: np.ndarray,  # (n,) int
) -> float:  # 0 to 1
    "Mutual information of the clusters of two neighbours, as a share of the clusters' entropy."
    one, two = np.repeat(clusters, near.shape[1]), clusters[near.ravel()]
    ends = np.concatenate([one, two]), np.concatenate([two, one])  # each pair counts both ways
    return float(mutual_info_score(*ends) / max(entropy(np.bincount(ends[0])), 1e-12))


def coding_length(
    points: np.ndarray,  # (n,d) rows; brought to unit length here
    clusters: np.ndarray,  # (n,) int
    epsilon: float = EPSILON,  # squared distortion
) -> float:  # nats
    "Length of a description that codes each cluster by itself, up to a distortion (Ma 2007; Chu 2023, CPP)."
    rows = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    (n, d), total = rows.shape, 0.0
    for cluster in np.unique(clusters):
        inside = rows[clusters == cluster].astype(np.float64)
        m = len(inside)
        scatter = np.eye(d) + d / (epsilon * m) * inside.T @ inside
        total += (m + d) / 2 * np.linalg.slogdet(scatter)[1] - m * np.log(m / n)
    return float(total)


def silhouette(
    distances: np.ndarray,  # (n,n)
    clusters: np.ndarray,  # (n,) int, at least two different
) -> float:  # -1 to 1
    "Mean silhouette (Rousseeuw 1987), from distances computed once for all numbers of clusters."
    names, clusters = np.unique(clusters, return_inverse=True)
    member = np.eye(len(names), dtype=np.float32)[clusters]
    sizes, rows = member.sum(0), np.arange(len(clusters))
    sums = distances @ member
    own = sums[rows, clusters] / np.maximum(sizes[clusters] - 1, 1)
    means = sums / sizes
    means[rows, clusters] = np.inf
    other = means.min(1)
    values = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(sizes[clusters] > 1, values, 0).mean())


def predictability(
    points: np.ndarray,  # (n,d)
    clusters: np.ndarray,  # (n,) int
    folds: int = 3,  # parts, each predicted from the others
) -> float:  # 1: every cluster is found again; 0: no better than guessing by size
    "Accuracy of a linear classifier on clusters of images it has not seen, beyond chance (after Gadetsky 2024)."
    rows = np.c_[points, np.ones(len(points))].astype(np.float64)
    target, fold = np.eye(int(clusters.max()) + 1)[clusters], np.arange(len(points)) % folds
    hit = np.zeros(len(points), bool)
    for part in range(folds):
        train, test = fold != part, fold == part
        gram = rows[train].T @ rows[train]
        ridge = 1e-3 * np.trace(gram) / len(gram) * np.eye(len(gram))
        weight = np.linalg.solve(gram + ridge, rows[train].T @ target[train])
        hit[test] = (rows[test] @ weight).argmax(1) == clusters[test]
    chance = (target.mean(0) ** 2).sum()
    return float((hit.mean() - chance) / max(1 - chance, 1e-12))


def _stability(points: np.ndarray, k: int, rng: np.random.Generator, pairs: int = 4) -> float:
    "Mean ARI of K-Means fitted to two overlapping halves, compared on all points (Ben-Hur 2002)."
    scores = []
    for _ in range(pairs):
        halves = [rng.permutation(len(points))[: max(k, int(0.6 * len(points)))] for _ in range(2)]
        fits = [KMeans(k, n_init=1, random_state=int(rng.integers(2**31))).fit(points[half]) for half in halves]
        scores.append(adjusted_rand_score(*(fit.predict(points) for fit in fits)))
    return float(np.mean(scores))


# --- the sweep, and what is made of its curves -----------------------------------------------------------------------
def _curves(points: np.ndarray, candidates: "list[int]", seed: int) -> "tuple[dict[str, list[float]], float]":
    "One value per criterion and candidate, and how far neighbours agree beyond features without groups."
    near, rng = neighbours(points), np.random.default_rng(seed)
    distances = pairwise_distances(points).astype(np.float32)
    curves: dict[str, list[float]] = {name: [] for name in CRITERIA if name != "together"}
    for k in candidates:
        clusters = KMeans(k, n_init=3, random_state=seed).fit(points).labels_
        curves["neighbours"].append(modularity(near, clusters))
        curves["information"].append(neighbour_information(near, clusters))
        curves["silhouette"].append(silhouette(distances, clusters))
        curves["coding"].append(-coding_length(points, clusters) / len(points))
        curves["stability"].append(_stability(points, k, rng))
        curves["prediction"].append(predictability(points, clusters))
    return curves, _beyond_no_groups(points, near, candidates, rng)


def _beyond_no_groups(points: np.ndarray, near: np.ndarray, candidates: "list[int]", rng: np.random.Generator) -> float:
    "Modularity, as a share of what K clusters can reach, less that of Gaussian points of the same spread; the largest."
    smooth = (rng.normal(size=points.shape) * points.std(0)).astype(np.float32)
    graphs, gaps = ((points, near), (smooth, neighbours(smooth))), []
    for k in [k for k in (2, 3, 5, 8, 12, 20) if k in candidates] or candidates[:1]:
        real, null = (
            modularity(graph, KMeans(k, n_init=2, random_state=0).fit(rows).labels_) / (1 - 1 / k)
            for rows, graph in graphs
        )
        gaps.append(real - null)
    return float(max(gaps))


def _found(
    candidates: "list[int]", curves: "dict[str, list[float]]", gap: float, images: int, total: int, start: float
) -> NumberOfClusters:
    "Choice, range and sentence from the curves."
    curves = {"together": together(curves).tolist(), **curves}
    choice, low, high = choose(candidates, curves["together"])
    clear = images >= FEWEST and gap >= STANDS_OUT
    best = {name: candidates[int(np.argmax(values))] for name, values in curves.items()}
    sentence = _sentence(choice, low, high, clear, images, total)
    seconds = time.perf_counter() - start
    return NumberOfClusters(choice, low, high, clear, sentence, candidates, curves, best, images, total, seconds)


def together(
    curves: "dict[str, list[float]]",  # criterion -> one value per candidate
) -> np.ndarray:  # one value per candidate
    "The criteria that together were right most often: a weighted sum of logarithms, and of the coding length."
    floor = 0.02  # a criterion near or below zero counts as this
    logarithms = sum(weight * np.log(np.maximum(curves[name], floor)) for name, weight in WEIGHTS.items())
    return logarithms + CODING_WEIGHT * np.array(curves["coding"])


def choose(
    candidates: "list[int]",  # numbers tried, rising
    values: "list[float]",  # how good each is: what `together` gives
) -> "tuple[int, int, int]":  # choice, and the range that is about as good
    "The best number; the range spans all numbers that lose little against it."
    good = np.flatnonzero(np.array(values) >= max(values) - ABOUT_AS_GOOD)
    return candidates[int(np.argmax(values))], candidates[good[0]], candidates[good[-1]]


def _sentence(choice: int, low: int, high: int, clear: bool, images: int, total: int) -> str:
    "The finding in plain words."
    if images < FEWEST:
        return (
            f"{images} different images are too few to say how many groups there are; "
            f"{choice} is only a starting point. Pass the number yourself, or at least {FEWEST} images."
        )
    if not clear:
        return (
            f"No number of clusters stands out: images without any groups would look much the same to this encoder. "
            f"{choice} is only a starting point; pass the number yourself if you know it."
        )
    if low == high:
        return f"{choice} clusters fit these {total:,} images best, and no other number is about as good."
    found = f"{choice} clusters fit these {total:,} images best, and auto takes {choice}"
    more = f"If these groups are too coarse for you, pass {high} and merge" if high > choice else "Merge by hand"
    return f"{found}; {low} to {high} are about as good. {more} those that belong together, in a notebook: {BY_HAND}"


# --- merges ----------------------------------------------------------------------------------------------------------
def merge_suggestions(
    features: Any,  # FeatureSet, or float array or tensor (N,D)
    assignments: Any,  # (N,) int, the cluster of each image
    largest: int = 5000,  # images looked at, at most
) -> "list[tuple[int, int, float]]":  # (a, b, gain), in the order to merge: b goes into a, the smaller number
    """Merges of clusters, best first, down to one cluster: each joins the two that share most neighbours beyond chance.

    Gain is the change of modularity: above 0 the two belong together more than by chance, below 0 they do not. Once no
    merge gains, those come first that share most in proportion to chance."""
    rows = _checked(features)
    clusters = np.asarray(assignments.detach().cpu() if hasattr(assignments, "detach") else assignments)
    if clusters.shape != (len(rows),) or clusters.dtype.kind not in "iu":
        raise ValueError(f"assignments must be {len(rows)} whole numbers, one per image, got {describe(clusters)}")
    if len(rows) > largest:
        chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:largest])
        rows, clusters = rows[chosen], clusters[chosen]
    names, inside = np.unique(clusters, return_inverse=True)
    shared = shared_neighbours(*map(torch.as_tensor, (inside, neighbours(reduced(rows)))), len(names))
    return [(int(names[a]), int(names[b]), gain) for a, b, gain in merge_steps(shared)]
