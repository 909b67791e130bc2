"""What a cluster shows: its most telling images, and a name from a list of words where an encoder reads text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from dcacn_nb.clusters.groups import clean_name
from dcacn_nb.clusters.similar import UnitRows, unit_rows
from dcacn_nb.clusters.vocabulary import VOCABULARY
from dcacn_nb.core.checks import check_float, check_int, describe
from dcacn_nb.core.text import logger
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.runs.inputs import encoder_source

log = logger(__name__)

TEXT = "open_clip:"  # how the names of encoders begin that read text
TYPICAL = 0.5  # share of a cluster, the nearest to its centre, among which telling images are looked for


def cluster_numbers(
    assignments: object,  # (N,) whole numbers >= 0, or (N,K) probabilities
    count: int,  # N, images there are
) -> np.ndarray:  # (N,) int64
    "The cluster of every image, checked."
    values = np.asarray(assignments.detach().cpu() if hasattr(assignments, "detach") else assignments)
    if values.ndim == 2 and values.dtype.kind == "f" and values.shape[1]:
        values = values.argmax(1)
    if values.shape != (count,) or values.dtype.kind not in "iu" or (count and values.min() < 0):
        raise ValueError(
            f"assignments must hold a cluster number >= 0 for each of {count} images, got {describe(assignments)}"
        )
    return values.astype(np.int64)


def telling_images(
    features: object,  # FeatureSet, or (N,D) array or tensor
    assignments: object,  # (N,) cluster of each, or (N,K) probabilities
    n: int = 6,  # images of each cluster; fewer where it has fewer
) -> "dict[int, list[int]]":  # cluster -> images, the most typical first; empty clusters are left out
    "For each cluster the image nearest to its centre, then the most different of the typical ones."
    unit = unit_rows(features)
    check_int("n", n, 1)
    clusters, found = cluster_numbers(assignments, len(unit)), {}
    for cluster in np.unique(clusters).tolist():
        members = np.flatnonzero(clusters == cluster)
        centre = unit.mean(members)
        near = np.concatenate([piece @ centre for piece in unit.pieces(members)])
        count = min(len(members), max(n, int(np.ceil(TYPICAL * len(members)))))
        typical = members[np.argsort(-near, kind="stable")[:count]]
        found[cluster] = typical[_spread(unit[typical], n)].tolist()
    return found


def _spread(unit: np.ndarray, n: int) -> "list[int]":
    "The first row, then again and again the row farthest from all chosen ones (Gonzalez 1985)."
    chosen, closest = [0], unit @ unit[0]
    while len(chosen) < min(n, len(unit)):
        closest[chosen] = np.inf
        chosen.append(int(closest.argmin()))
        closest = np.maximum(closest, unit @ unit[chosen[-1]])
    return chosen


@dataclass(frozen=True)
class ClusterName:
    "A word for a cluster, and how well it fits."

    word: str
    share: float  # mean probability of the word, among all words, over the cluster's images
    runner_up: str  # the word of the highest share among the others; "" if there is only one


def suggest_names(
    features: FeatureSet,
    assignments: object,  # (N,) cluster of each, or (N,K) probabilities
    words: "Sequence[str] | None" = None,  # at least as many as there are clusters; None: `VOCABULARY`
    encoder: Any = None,  # the Encoder that computed the features; None: it is loaded again by its name
) -> "dict[int, ClusterName]":  # cluster -> its name; empty if the encoder reads no text, or cannot be had
    "Names for clusters from a list of words, by the encoder's own text tower."
    encoder = _text_encoder(features) if encoder is None else encoder
    if encoder is None:
        return {}
    given = VOCABULARY if words is None else check_names(words, features, 1)
    used = len(np.unique(cluster_numbers(assignments, len(features))))
    if len(given) < used:
        log.warning("clusters get no names: there are %d words for %d clusters", len(given), used)
        return {}
    text = encoder.encode_text([f"a photo of {word}" for word in given])
    short = given if words is not None else [re.sub("^(an?|the) ", "", word) for word in given]
    return name_clusters(features, assignments, text, short)


def check_names(
    words: object,  # as given by the user
    features: object,  # what is to be clustered
    n_clusters: int,  # K
) -> "list[str]":
    "Refuse words that cannot name clusters before any long work; without repetitions."
    if isinstance(words, str) or not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"names must be a list of words, got {describe(words)}")
    found = list(dict.fromkeys(clean for word in words if (clean := clean_name(word))))
    if len(found) < n_clusters:
        raise ValueError(f"names must hold at least {n_clusters} different words, one per cluster, got {len(found)}")
    known = (features.protocol["encoder"] or {}).get("name") if isinstance(features, FeatureSet) else None
    if not str(known).startswith(TEXT):
        raise ValueError(
            f"names need features by an encoder that reads text, such as {TEXT}ViT-B-32/openai, got {known!r}"
        )
    return found


def _text_encoder(features: FeatureSet) -> Any:  # Encoder, or None
    "The encoder that computed the features, if it reads text."
    about = features.protocol["encoder"] or {}
    if not str(about.get("name")).startswith(TEXT):
        return None
    from dcacn_nb.encoders.encoder import load_encoder  # only here: it loads what computes features

    name, file = encoder_source(about)
    try:
        encoder = load_encoder(name, engine="torch", weights=file)
    except (OSError, ValueError, ImportError) as error:
        log.warning("clusters get no names, because their encoder could not be loaded again: %s", error)
        return None
    if encoder.weights != about.get("weights"):
        log.warning("clusters get no names: encoder %s has other weights now than its features", about["name"])
        return None
    return encoder


def name_clusters(
    features: object,  # FeatureSet, or (N,D) array or tensor, by an encoder that also reads text
    assignments: object,  # (N,) cluster of each, or (N,K) probabilities
    text_features: object,  # (W,D) of the words, by the same encoder
    words: "Sequence[str]",  # W different ones, at least as many as there are clusters
    temperature: float = 0.01,  # of the softmax over words; CLIP's own after training (Radford et al. 2021)
) -> "dict[int, ClusterName]":  # cluster -> its name; no two the same
    "The best fitting words for all clusters together: zero-shot probabilities, each word given once."
    unit, text, words = unit_rows(features), unit_rows(text_features), list(words)
    check_float("temperature", temperature, 0, open_low=True)
    clusters = cluster_numbers(assignments, len(unit))
    used = np.unique(clusters)
    _check_words(words, text, unit.shape[1], len(used))
    shares = np.stack([_word_shares(unit.pieces(np.flatnonzero(clusters == k)), text[:], temperature) for k in used])
    rows, columns = linear_sum_assignment(-np.log(np.maximum(shares, 1e-12)))
    names = {}
    for row, column in zip(rows, columns):
        others = np.delete(np.arange(len(words)), column)
        second = words[others[shares[row, others].argmax()]] if len(others) else ""
        names[int(used[row])] = ClusterName(words[column], float(shares[row, column]), second)
    return names


def _check_words(words: "list[str]", text: UnitRows, dim: int, clusters: int) -> None:
    "One different word per row of text features, of the images' length, and enough of them."
    if len(words) != len(text) or len(set(words)) != len(words):
        raise ValueError(
            f"words must be different, one per row of text_features, "
            f"got {len(words)} words ({len(set(words))} different) and {len(text)} rows"
        )
    if text.shape[1] != dim:
        raise ValueError(f"text_features must come from the encoder of the images: length {dim}, got {text.shape[1]}")
    if len(words) < clusters:
        raise ValueError(f"words must be at least as many as the {clusters} clusters with images, got {len(words)}")


def _word_shares(pieces: "Iterable[np.ndarray]", text: np.ndarray, temperature: float) -> np.ndarray:  # (W,)
    "The mean over images of the softmax over words."
    total, count = np.zeros(len(text)), 0
    for unit in pieces:
        logits = (unit @ text.T).astype(np.float64) / temperature
        p = np.exp(logits - logits.max(1, keepdims=True))
        total += (p / p.sum(1, keepdims=True)).sum(0)
        count += len(unit)
    return total / count
