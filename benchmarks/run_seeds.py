"""Train the `default` preset on one source over several seeds and write one CSV row per run.

Labels score the last epoch and are used for nothing else. The settings of a row are the preset's, except for what the
command line changes.
Example: python benchmarks/run_seeds.py digits --seeds 0-4 --epochs 40 --baselines --output benchmarks/digits_seeds.csv
"""

import argparse
import os
import platform
import time
from pathlib import Path

import pandas as pd
import torch
from sklearn.cluster import KMeans

from dcacn_nb import __version__
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset
from dcacn_nb.method.metrics import evaluate_clustering


def seeds(text: str) -> list:
    "'0-4' or '0,3,7' as a list of whole numbers."
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(s) for s in text.split(",")]


def value(text: str):
    "A setting's value from the command line: a number, True, False, or text."
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"True": True, "False": False}.get(text, text)


def row(method: str, seed: int, images, predicted, seconds: float, settings: dict) -> dict:
    "One line of the table."
    scores = evaluate_clustering(images.labels, predicted)
    return dict(
        method=method,
        source=Path(str(images.protocol["source"])).name,
        images=len(images),
        seed=seed,
        acc=scores.acc,
        nmi=scores.nmi,
        ari=scores.ari,
        clusters_used=len(scores.cluster_sizes),
        seconds=round(seconds, 1),
        **settings,
        threads=torch.get_num_threads(),
        cpus=os.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        torch=torch.__version__,
        dcacn_nb=__version__,
    )


def baselines(images, seed: int):
    "K-Means on pixels, and UMAP + K-Means: simple alternatives."
    import umap

    pixels, k = images.images.flatten(1).numpy() / 255.0, len(images.class_names)
    started = time.perf_counter()
    yield "kmeans_pixels", KMeans(k, n_init=10, random_state=seed).fit_predict(pixels), time.perf_counter() - started
    started = time.perf_counter()
    flat = umap.UMAP(random_state=seed).fit_transform(pixels)
    yield "umap_kmeans", KMeans(k, n_init=10, random_state=seed).fit_predict(flat), time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--root", default="data")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--split", default="all")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--seeds", type=seeds, default=[0])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting to change; may be repeated"
    )
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--run-dir", help="keep run folders below this folder")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    images = load_images(args.source, root=args.root, limit=args.limit, split=args.split, download=args.download)
    changes = {name: value(text) for name, _, text in (item.partition("=") for item in args.set)}
    changes |= {"epochs": args.epochs} if args.epochs else {}
    for seed in args.seeds:
        config = preset("default", images, len(images.class_names), seed=seed, **changes)
        started = time.perf_counter()
        folder = Path(args.run_dir) / f"{Path(args.source).name}-{seed}" if args.run_dir else None
        run = fit(images, config, labels=images.labels, run_dir=folder)
        settings = {
            "epochs": config.epochs,
            "cluster_axis": config.cluster_axis,
            "balance_weight": config.balance_weight,
            "width": config.width,
        }
        rows = [row("dcacn", seed, images, run.assignments, time.perf_counter() - started, settings | changes)]
        if args.baselines:
            rows += [
                row(name, seed, images, predicted, seconds, {}) for name, predicted, seconds in baselines(images, seed)
            ]
        before = pd.read_csv(args.output).to_dict("records") if Path(args.output).exists() else []
        pd.DataFrame(before + rows).to_csv(args.output, index=False)
        print(
            pd.DataFrame(rows)[["method", "seed", "acc", "nmi", "ari", "clusters_used", "seconds"]].to_string(
                index=False, header=False
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
