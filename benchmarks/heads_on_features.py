"""Run every head on features from files over several seeds: one CSV row per run, and the table made of them.

All heads get the same features, and as many clusters as there are classes. Labels score the last epoch and are used for
nothing else. Stop it and start it again, or start it in several processes on other files: runs in the CSV are skipped.
Example:
python benchmarks/heads_on_features.py trash.npz digits.npz --seeds 0-4 --output heads.csv
python benchmarks/heads_on_features.py --output heads.csv --table
"""

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats
import torch

from dcacn_nb import __version__
from dcacn_nb.cli.settings import parse_seeds
from dcacn_nb.data.feature_set import FeatureSet, load_features
from dcacn_nb.fitting import fit
from dcacn_nb.method.metrics import evaluate_clustering
from dcacn_nb.methods import find_method, method_names

SCORES = ("acc", "nmi", "ari")
COLUMNS = ("set", "method", "seed", *SCORES, "seconds", "images", "features", "n_clusters", "clusters_used")
MACHINE = {
    "cpus": os.cpu_count(),
    "threads": torch.get_num_threads(),
    "torch": torch.__version__,
    "dcacn_nb": __version__,
}


def one_run(name: str, features: FeatureSet, method: str, seed: int) -> dict:
    "Train one head, and its row."
    if features.labels is None:
        raise ValueError(f"features file of {name!r} holds no labels, so nothing can be scored; save it with labels")
    k = len(np.unique(features.labels))
    began = time.perf_counter()
    head = find_method(method, features=features.dim)
    run = fit(features, n_clusters=k, method=head, seed=seed, snapshot_every=0, report=False)
    seconds = time.perf_counter() - began
    scores = evaluate_clustering(features.labels, run.assignments)
    row = dict(set=name, method=method, seed=seed, seconds=round(seconds, 1), images=len(features))
    row |= {score: round(value, 5) for score, value in scores.as_dict().items()}
    return row | dict(features=features.dim, n_clusters=k, clusters_used=scores.n_clusters_found) | MACHINE


def done(path: Path) -> "set[tuple]":
    "Set, method and seed of the rows that are there."
    if not path.exists():
        return set()
    rows = pd.read_csv(path, dtype={"set": str})
    return set(zip(rows["set"], rows["method"], rows["seed"]))


def append(path: Path, row: dict) -> None:
    "Add one row in one write, so that processes can share a file."
    columns = [*COLUMNS, *MACHINE]
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def run_all(files: list, methods: list, seeds: list, path: Path) -> None:
    "Every cell that is not there yet, seed by seed, so that an early stop leaves whole comparisons."
    sets = {Path(file).stem: load_features(file) for file in files}
    if len(sets) < len(files):
        raise ValueError(f"files must have different names, which name the sets, got {', '.join(map(str, files))}")
    for seed in seeds:
        for name, features in sets.items():
            for method in methods:
                if (name, method, seed) not in done(path):
                    row = one_run(name, features, method, seed)
                    append(path, row)
                    print(*(f"{row[column]}" for column in COLUMNS[:7]), sep="\t", flush=True)


def interval(values) -> "tuple[float, float]":
    "Mean and half width of its 95 % interval by Student's t; NaN for a single value."
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(scipy.stats.t.ppf(0.975, len(values) - 1) * error)


def per_set(rows: pd.DataFrame, score: str = "acc", reference: str = "kmeans") -> pd.DataFrame:
    "Mean over seeds, and the difference to the reference paired by seed: one row per method and set."
    wide = rows.pivot(index=["set", "seed"], columns="method", values=score)
    found = []
    for name, group in wide.groupby(level="set"):
        for method in wide.columns:
            paired = group[[method]].assign(reference=group[reference]).dropna()
            if len(paired):
                mean, half = interval(paired[method] - paired["reference"])
                found.append(dict(method=method, set=name, mean=paired[method].mean(), difference=mean, half=half))
                found[-1]["seeds"] = len(paired)
    return pd.DataFrame(found)


def over_sets(rows: pd.DataFrame, score: str = "acc", reference: str = "kmeans") -> pd.DataFrame:
    "Mean of the sets' means, and the difference to the reference paired by set, for methods that ran on every set."
    each = per_set(rows, score, reference)
    sets = each["set"].nunique()
    found = []
    for method, group in each.groupby("method"):
        if len(group) == sets:
            mean, half = interval(group["difference"])
            found.append(dict(method=method, mean=group["mean"].mean(), difference=mean, half=half, sets=sets))
    return pd.DataFrame(found).sort_values("mean", ascending=False, ignore_index=True)


def markdown(rows: pd.DataFrame, score: str = "acc", reference: str = "kmeans") -> str:
    "The table: a line per method, best first; in brackets the paired difference and its 95 % interval, in points."
    each, overall = per_set(rows, score, reference), over_sets(rows, score, reference)
    cell = lambda r: f"{r['mean']:.3f} ({100 * r['difference']:+.1f} ± {100 * r['half']:.1f})"
    sets = sorted(each["set"].unique())
    cells = {(r["method"], r["set"]): cell(r) for r in each.to_dict("records")}
    means = {r["method"]: cell(r) for r in overall.to_dict("records")}
    order = [*means, *sorted(set(each["method"]) - set(means))]
    lines = [["method", *sets, "mean of the sets"], ["---"] * (len(sets) + 2)]
    lines += [[m, *(cells.get((m, name), "") for name in sets), means.get(m, "")] for m in order]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help=".npz, .safetensors: features with labels")
    parser.add_argument("--seeds", type=parse_seeds, default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", type=lambda text: text.split(","), default=method_names(frozen=True))
    parser.add_argument("--output", type=Path, required=True, help="the CSV file; its rows are kept")
    parser.add_argument("--table", action="store_true", help="print the tables of what is there")
    parser.add_argument("--reference", default="kmeans")
    args = parser.parse_args()
    run_all(args.files, args.methods, args.seeds, args.output)
    if args.table:
        rows = pd.read_csv(args.output, dtype={"set": str})
        for score in SCORES:
            print(f"\n{score}\n\n{markdown(rows, score, args.reference)}")


if __name__ == "__main__":
    main()
