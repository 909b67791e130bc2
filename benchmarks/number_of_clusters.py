"""How often the number of clusters is right: `choose_k` on sets whose number of classes is known.

Each features file (.npz or .safetensors with labels) gives: all of its classes; random subsets of them; and uneven
subsets, in which each class has three quarters of the images of the one before. Labels make the sets and score the
answer; `choose_k` does not see them. One CSV row per set; a second table counts, for each criterion and for the choice,
how often it is exact, within a fifth of the truth, and inside the range. The weights of `choose_k` were chosen on the
sets of the files named in TUNED; all others are held out (CIFAR-10: other images of the same classes).
Example, which wrote number_of_clusters.csv (features by EfficientNet-Lite0; pixels for the two files named so):
python benchmarks/number_of_clusters.py cifar.npz fmnist.npz fmnist_pixels.npz trash.npz digits.npz digits_pixels.npz
    --draws 1 --output number_of_clusters.csv
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dcacn_nb.clusters.number import CRITERIA, choose_k
from dcacn_nb.data.feature_set import FeatureSet, load_features

TUNED = ("signs", "clothes", "cifar_train")


def known_sets(name: str, features: FeatureSet, sizes: "list[int]", draws: int) -> Iterator[tuple]:
    "Sets of known K as (name, K, kind, rows)."
    labels = np.asarray(features.labels)
    classes = np.unique(labels)
    yield name, len(classes), "all", np.arange(len(labels))
    for k in [k for k in sizes if k < len(classes)]:
        for draw in range(draws):
            rng = np.random.default_rng((k, draw))
            chosen = rng.permutation(classes)[:k]
            yield f"{name} {k}.{draw}", k, "subset", np.flatnonzero(np.isin(labels, chosen))
        yield f"{name} {k} uneven", k, "uneven", uneven(labels, chosen, rng)
    rng = np.random.default_rng(0)
    yield f"{name} uneven", len(classes), "uneven", uneven(labels, rng.permutation(classes), rng)


def uneven(labels: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    "Rows in which each class has three quarters of the images of the one before, and at least 25."
    each = [rng.permutation(np.flatnonzero(labels == c)) for c in classes]
    return np.concatenate([rows[: max(25, int(len(each[0]) * 0.75**i))] for i, rows in enumerate(each)])


def measure(path: Path, sizes: "list[int]", draws: int, seed: int) -> Iterator[dict]:
    "One row per set of a features file; the curves go along for a closer look."
    features = load_features(path)
    for name, k, kind, rows in known_sets(path.stem, features, sizes, draws):
        found = choose_k(features.subset(rows), seed=seed)
        row = dict(part="tuned" if path.stem in TUNED else "held out", set=name, kind=kind, images=len(rows), classes=k)
        row |= dict(seed=seed, choice=found.choice, low=found.low, high=found.high, clear=found.clear)
        yield row | found.best | {"found": found.as_dict()}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    "How often each criterion's own number, and the choice, is right; by which factor it is off (geometric mean)."
    rows = []
    numbers = {name: table[name] for name in CRITERIA if name != "together"}
    numbers |= {f"always {k}": pd.Series(k, table.index) for k in (5, 6, 7)} | {"choice": table["choice"]}
    for name, number in numbers.items():
        off, factor = (number - table["classes"]).abs(), np.exp(np.log(number / table["classes"]).abs().mean())
        fifth = (off <= 0.2 * table["classes"] + 1e-9).mean()
        rows.append(dict(by=name, exact=(off == 0).mean(), fifth=fifth, factor=factor))
    rows[-1]["inside"] = table["classes"].between(table["low"], table["high"]).mean()
    rows[-1]["width"] = np.exp(np.log(table["high"] / table["low"]).mean())
    return pd.DataFrame(rows).set_index("by").round(3)


def main() -> None:
    "Measure, write the table, print the counts."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", nargs="+", type=Path)
    parser.add_argument("--subsets", default="3,4,5,6,8", help="numbers of classes to draw")
    parser.add_argument("--draws", type=int, default=2, help="random subsets of each size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("number_of_clusters.csv"))
    parser.add_argument("--curves", type=Path, help="a .jsonl file for all curves")
    args = parser.parse_args()
    sizes, rows = [int(k) for k in args.subsets.split(",")], []
    for path in args.features:
        for row in measure(path, sizes, args.draws, args.seed):
            found = row.pop("found")
            rows.append(row)
            print(row, flush=True)
            pd.DataFrame(rows).to_csv(args.output, index=False)
            if args.curves:
                with args.curves.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row | {"found": found}) + "\n")
    for part, table in pd.DataFrame(rows).groupby("part"):
        print(f"{part}: {len(table)} sets\n{summary(table).to_string()}")


if __name__ == "__main__":
    main()
