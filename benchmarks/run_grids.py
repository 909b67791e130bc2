"""Run every method, and DCACN's ablation or what its paper leaves open, on one source over several seeds.

Each run sees each image equally often. One CSV row per run: the last epoch. Both tables come from one folder, so that
the default DCACN is trained once. Stop it and start it again, or start it in several processes at once: they share the
work. Labels score the evaluations and are used for nothing else.
Example:
python benchmarks/run_grids.py digits --seeds 0-4 --views 40 --run-dir runs/digits-40 --output digits_40_views.csv
"""

import argparse
from pathlib import Path

from dcacn_nb.cli.settings import parse_seeds
from dcacn_nb.compare.cells import make_grid, one_at_a_time
from dcacn_nb.compare.grid import collect, failures, finished, run_grid
from dcacn_nb.data.loading import load_images

METHODS = ("kmeans", "ae", "dec", "dcec", "iic", "pica", "simclr", "cc", "scan", "propos", "dcacn", "dcacn_selflabel")
CODES = {
    "stacked, gmm": {"ae.clusterer": "gmm"},
    "convolutional, kmeans": {"ae.kind": "convolutional"},
    "convolutional, gmm": {"ae.kind": "convolutional", "ae.clusterer": "gmm"},
}

BEFORE = {"n_local": 2, "cluster_start": 0.0}  # what the default was before the head start
OPEN = {  # what the paper leaves open: temperatures, lambda, and how much the local crops show; changes of BEFORE
    "instance temperature 0.2": {"instance_temperature": 0.2},
    "instance temperature 1": {"instance_temperature": 1.0},
    "cluster temperature 0.2": {"cluster_temperature": 0.2},
    "cluster temperature 0.5": {"cluster_temperature": 0.5},
    "lambda 0.5": {"cluster_weight": 0.5},
    "lambda 2": {"cluster_weight": 2.0},
    "larger local crops": {"local_scale": (0.4, 0.8)},
    "columns, no attention": {"cluster_axis": "cluster", "attention": False},
}
START = {  # the default has a head start at 80 % and no local crops
    "default": {},
    "before": BEFORE,
    "head start, local crops": {"n_local": 2},
    "head start at 90 %": {"cluster_start": 0.9},
}
THREE = ("2 local crops", "no attention", "both coupled", "none of the three")
IDEAS = {"default": {}} | {name: one_at_a_time()[name] for name in THREE}  # what each idea is worth inside the default
SETTINGS = {"ablation": one_at_a_time(), "ideas": IDEAS, "start": START, "none": {}}
SETTINGS["open"] = {name: BEFORE | changes for name, changes in OPEN.items()}


def grid(images, seeds: list, views: float, methods: "tuple[str, ...]", settings: dict) -> list:
    "All cells, seed by seed: methods with their defaults, the other auto-encoders, DCACN's settings."
    cells, knobs = [], dict(budget="images", amount=views)
    for seed in seeds:
        cells += make_grid(images, len(images.class_names), methods, seeds=[seed], **knobs)
        if "ae" in methods:
            cells += make_grid(images, len(images.class_names), ["ae"], CODES, [seed], **knobs)
        if settings:
            cells += [
                cell
                for cell in make_grid(images, len(images.class_names), ["dcacn"], settings, [seed], **knobs)
                if cell.setting != "default" or "dcacn" not in methods
            ]
    return cells


def announce(cell) -> list:
    "Print which run comes next; no observers."
    print(cell.folder.as_posix(), f"{cell.config.epochs} epochs", flush=True)
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--root", default="data")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seeds", type=parse_seeds, default=[0])
    parser.add_argument(
        "--views", type=float, default=40, help="how often a run shows each image to its network, all views counted"
    )
    parser.add_argument("--methods", type=lambda text: tuple(text.split(",")), default=METHODS)
    parser.add_argument(
        "--settings",
        choices=SETTINGS,
        default="ablation",
        help="of DCACN, beside its default: the ablation, its ideas, what the paper leaves open, a head start, or none",
    )
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--output", help="CSV; written at the end")
    args = parser.parse_args()
    images = load_images(args.source, root=args.root, limit=args.limit)
    cells = grid(images, args.seeds, args.views, args.methods, SETTINGS[args.settings])
    missing = sum(not finished(args.run_dir / cell.folder) for cell in cells)
    print(f"{len(cells)} runs, {missing} to do", flush=True)
    run_grid(
        cells,
        images,
        args.run_dir,
        labels=images.labels,
        budget=f"{args.views:g} views of each image",
        observers=announce,
    )
    for path, error in failures(args.run_dir).items():
        print("failed:", path, error)
    if args.output:
        wanted = {(cell.method.name, cell.setting) for cell in cells}
        table = collect(args.run_dir)
        table = table[[pair in wanted for pair in zip(table.method, table.setting)]]
        Path(args.output).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.output, index=False, float_format="%.6g")
        print(f"{len(table)} rows in {args.output}")


if __name__ == "__main__":
    main()
