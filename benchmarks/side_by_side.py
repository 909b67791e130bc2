"""`make bench`: every comparison, each by turns within one run; their tables in benchmarks/, and docs/benchmarks.md.

python benchmarks/side_by_side.py [--only view_speed,loss_speed] [--small --folder DIR]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from dcacn_nb.core.files import atomic_write

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
PARTS = {  # script -> its options, heading, what is said above its table
    "end_to_end": (
        ["--turns", "3", "--seconds", "6"],
        "A training step, from images to updated weights",
        "CIFAR-sized images, the default network, with two local crops and every loss, batches of 64. lightly: its "
        "SwAV transform and DCL loss in a plain script with a DataLoader. CC: the steps of its authors' code on the "
        "same network, two views.",
    ),
    "beside_others": (
        ["--turns", "3", "--seconds", "3"],
        "A training step beside a busy program",
        "The default preset, with two local crops and every loss. Spinning: PyTorch as it comes. Torch first: a "
        "notebook that imports torch, then dcacn_nb. Dcacn first: the command. Passive: `OMP_WAIT_POLICY=PASSIVE`.",
    ),
    "step_variants": (
        ["--turns", "3", "--seconds", "3"],
        "What attention and 16 bits cost or save",
        "The default network at two widths, with two local crops and every loss, on a processor.",
    ),
    "view_speed": (
        ["--turns", "3", "--seconds", "2"],
        "Views, one thread",
        "256 images of 32 px. Pillow + torchvision take one image after the other.",
    ),
    "loss_speed": (
        ["--turns", "3", "--seconds", "2"],
        "The instance loss with its gradient, one thread",
        "Two global and six local crops, 128 numbers each. `off` is the largest difference in value and gradient; "
        "`peak_mb` all memory of a process that computes one large batch.",
    ),
}
SHOWN = ("size", "beside", "case", "ms", "least", "most", "times", "images_a_second", "others", "off", "peak_mb")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    "One row per case and size: medians over the turns, and the least and the most milliseconds."
    named = [name for name in ("size", "beside", "case") if name in table]
    groups = table.groupby(named, sort=False)
    found = groups.median(numeric_only=True).assign(least=groups["ms"].min(), most=groups["ms"].max())
    if "off" in table:
        found["off"] = groups["off"].first()
    found = found.reset_index()
    if "beside" in found:
        found["beside"] = found["beside"].map({True: "a busy program", False: "nothing"})
    return found[[name for name in SHOWN if name in found]]


def markdown(table: pd.DataFrame) -> str:
    "A table for a page."
    number = lambda value: f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    cell = lambda value: "" if pd.isna(value) else number(value) if isinstance(value, float) else str(value)
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(folder: Path) -> str:
    "The page, from the tables there are."
    text = [
        "# Benchmarks",
        "`make bench` measures everything here side by side, each case by turns within one run, and writes this page. "
        "Milliseconds are medians of the turns, between the least and the most of them. `times` is how many times as "
        "long as the package a case took in the same turn (median). `others` is how many processors other processes "
        "used meanwhile: figures are those of a quiet machine where it is about 0.",
    ]
    for name, (_, heading, about) in PARTS.items():
        file = folder / f"{name}.csv"
        if file.exists():
            table = pd.read_csv(file)
            first = table.iloc[0]
            libraries = [f"{library} {first[library]}" for library in ("torch", "torchvision", "lightly", "pillow")]
            where = f"{first['processor']}, {first['threads']} thread(s), {table['turn'].max() + 1} turns"
            text += [f"## {heading}", about, markdown(summary(table)), f"*{where}; {', '.join(libraries)}; {name}.csv*"]
    return "\n\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--small", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--folder", type=Path, help="where tables and page go; default: benchmarks/ and docs/")
    options = parser.parse_args()
    if options.small and options.folder is None:
        parser.error("--small needs --folder: its figures say nothing")
    folder, target = options.folder or HERE, options.folder / PAGE.name if options.folder else PAGE
    for name in options.only:
        began = time.perf_counter()
        more = ["--small", "--turns", "1", "--seconds", "0"] if options.small else PARTS[name][0]
        subprocess.run([sys.executable, HERE / f"{name}.py", "--output", folder / f"{name}.csv", *more], check=True)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    atomic_write(target, page(folder).encode())


if __name__ == "__main__":
    main()
