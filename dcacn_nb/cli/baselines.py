"""Two baselines for `dcacn demo`: K-Means on pixels, and UMAP + K-Means, measured in the same process.

UMAP is a strong baseline on digits: a table without it would flatter DCACN.
If it is not installed, the table says so."""

import time
from collections.abc import Callable

from rich.table import Table

from dcacn_nb.cli.output import complain, say


def comparison(
    run,  # a finished Run
    images,  # ImageSet with labels
    seconds: "float | None",  # the run took; None: it was resumed
    measure: bool,  # whether to measure the baselines too
) -> "list[dict]":  # name, seconds, scores and note of each method
    "Print DCACN beside the baselines."
    note = "resumed" if seconds is None else ""
    rows = [{"name": "DCACN", "seconds": seconds, "scores": run.scores, "note": note}]
    if measure:
        complain("Measuring the baselines ...")
        rows += measure_baselines(images.images, images.labels, run.config.n_clusters, run.config.seed)
    say(_table(rows, len(images), run.config.seed))
    return rows


def measure_baselines(
    images,  # (N,C,H,W) uint8 tensor
    labels,  # (N,) to score with
    n_clusters: int,  # K
    seed: int,  # of K-Means and UMAP
) -> "list[dict]":  # name, seconds, scores (None if it could not be run) and a note
    "K-Means on pixels, and UMAP + K-Means, with their scores and seconds on this machine."
    pixels = images.numpy().reshape(len(images), -1) / 255.0
    rows = [_measure("K-Means on pixels", lambda: pixels, labels, n_clusters, seed)]
    try:
        from umap import UMAP
    except ImportError:
        missing = "not installed: pip install umap-learn"
        return [*rows, {"name": "UMAP + K-Means", "seconds": None, "scores": None, "note": missing}]
    neighbors = min(15, len(pixels) - 1)
    umap = UMAP(n_components=n_clusters, n_neighbors=neighbors, min_dist=0.0, random_state=seed, n_jobs=1)
    return [*rows, _measure("UMAP + K-Means", lambda: umap.fit_transform(pixels), labels, n_clusters, seed)]


def _measure(name: str, features: Callable, labels, n_clusters: int, seed: int) -> dict:
    "The row of one baseline: K-Means on some features."
    from sklearn.cluster import KMeans

    from dcacn_nb.method.metrics import evaluate_clustering

    started = time.perf_counter()
    clusters = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(features())
    seconds = time.perf_counter() - started
    return {"name": name, "seconds": seconds, "scores": evaluate_clustering(labels, clusters).as_dict(), "note": ""}


def _table(rows: "list[dict]", n_images: int, seed: int) -> Table:
    "The methods side by side."
    table = Table(title=f"{n_images:,} digits, one run each, seed {seed}, on this machine; no method used a label")
    for column in ("method", "ACC", "NMI", "ARI", "seconds"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        scores = [f"{row['scores'][name]:.3f}" for name in ("acc", "nmi", "ari")] if row["scores"] else ["-"] * 3
        name = f"{row['name']} ({row['note']})" if row["note"] else row["name"]
        table.add_row(name, *scores, "-" if row["seconds"] is None else f"{row['seconds']:.1f}")
    return table
