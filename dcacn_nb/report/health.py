"""Numbers that say, without labels, whether a clustering is healthy: their names, and how alike clusters are."""

from pathlib import Path

import numpy as np

from dcacn_nb.core.words import load_words

HEALTH = load_words(Path(__file__).parent / "words", "en")["health"]  # numbers in [0, 1] of an Evaluated event -> names


def similarity(
    p: np.ndarray,  # (N,K) soft assignments
) -> np.ndarray:  # (K,K) in [0,1]; 1 on the diagonal; 0 for a cluster to which nothing is assigned
    "Cosine similarity of the columns, which the cluster loss pushes apart. 0: no image in doubt between two; 1: twins."
    p = np.asarray(p, dtype=np.float64)
    norm = np.sqrt((p**2).sum(0))
    return (p.T @ p) / np.maximum(np.outer(norm, norm), 1e-300)
