"""`make bench-scale`: time and memory against the number of images; benchmarks/scale.csv, and SCALE.md made from it.

    python benchmarks/scale.py [--only list,decode] [--sizes 1000,10000] [--work DIR] [--folder DIR]

Every section is measured at every size in a process of its own. A section is a function in `scale_*.py`; to add one,
write `def section(n, work)`, which yields a `row(...)` for each case, and name it in SECTIONS. Linux only."""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from dcacn_nb.core.files import atomic_write

HERE = Path(__file__).resolve().parent
SIZES = (1_000, 10_000, 100_000, 1_000_000)
COLUMNS = ["section", "n", "seconds", "cpu_seconds", "peak_mb", "rate", "note", "machine", "versions"]


@dataclass(frozen=True)
class Section:
    "What is measured, and how the page introduces it."

    function: str  # module:function, in this folder
    heading: str
    about: str
    most: int = SIZES[-1]  # larger sizes are left out
    least: int = 0  # smaller sizes are left out


SECTIONS: "dict[str, Section]" = {  # in the order of the page
    "list": Section(
        "scale_data:list_folder",
        "Listing a folder",
        "Twenty class folders of JPEG files of 16 px; 4,096 of them differ, the others are hard links to these.",
    ),
    "decode": Section(
        "scale_data:decode", "Decoding and caching a folder", "The same files, all pixels in one mapped file."
    ),
    "resume": Section(
        "scale_data:resume", "Resuming", "Decoding is stopped in its second half; the row is the call that follows."
    ),
    "shards": Section(
        "scale_data:shards", "Tar shards", "The same pictures and their classes in ten tar files (WebDataset)."
    ),
    "stream": Section(
        "scale_data:stream",
        "Training from a file larger than memory",
        "Random batches of 256, a ResNet-18 of width 4, one thread; by turns. The last rows "
        "gather batches and compute nothing.",
        least=1_000_000,
    ),
    "features": Section(
        "scale_data:features",
        "Features",
        "The same files. The encoder is a stand-in that costs next to nothing: a real one adds its own time (lite0 "
        "on a processor: 13 to 16 ms per image and core).",
    ),
    "clusters": Section("scale_data:clusters", "K-Means and prediction on features", "Features around 1,000 centres."),
    "neighbours": Section("scale_data:neighbours", "Nearest neighbours", "The rate counts the images asked about."),
    "predictions": Section(
        "scale_data:predictions", "Prediction by a network", "From a mapped file of images.", most=100_000
    ),
    "map": Section(
        "scale_map:frames_drawn",
        "Frames of the map",
        "Ten made-up maps in a plain page. Something is done at every frame for four seconds; *per second*: drawings "
        "of the map, 60 at most. *Hover*: frames of the page.",
        most=100_000,
    ),
    "set": Section(
        "scale_map:whole_set",
        "A map of a whole set, and its clusters",
        "What Python does, and what it sends to the browser; 512 numbers per image, ten clusters.",
        most=100_000,
    ),
    "copies": Section(
        "scale_map:near_images",
        "Copies, outliers, neighbours",
        "On features of 64 and of 1280 numbers in fifty loose groups; no pictures.",
        most=100_000,
    ),
    "report": Section(
        "scale_map:report",
        "The report",
        "A run of K-Means on features with small pictures, then its report once more.",
        most=100_000,
    ),
}


class Measured:
    "What a block took."

    seconds = 0.0
    cpu = 0.0  # seconds of processors, all threads; 0: not measured
    peak_mb = 0.0  # of anonymous memory, beyond what the process held before: mapped files are the system's to drop


def anonymous_mb() -> float:
    "Memory of this process that no file stands behind."
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024


@contextmanager
def measured() -> Iterator[Measured]:
    "Time a block, and watch its memory a hundred times a second."
    found, over, before = Measured(), threading.Event(), anonymous_mb()

    def look() -> None:
        found.peak_mb = max(found.peak_mb, anonymous_mb() - before)

    def watch() -> None:
        while not over.wait(0.01):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    began, used = time.perf_counter(), time.process_time()
    try:
        yield found
        found.seconds, found.cpu = time.perf_counter() - began, time.process_time() - used
        look()  # on a busy machine the thread may not have had its turn
    finally:
        over.set()
        thread.join()


def row(
    found: Measured,
    n: int,  # of what the rate counts
    note: str = "",
) -> dict:
    "A row of the table."
    return {
        "seconds": round(found.seconds, 4),
        "cpu_seconds": round(found.cpu, 4) if found.cpu else "",
        "peak_mb": round(found.peak_mb, 1),
        "rate": float(f"{n / max(found.seconds, 1e-9):.4g}"),
        "note": note,
    }


def where() -> dict:
    "On what a row was measured."
    from dcacn_nb.encoders.choice import processor

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GB"
    versions = f"python {platform.python_version()}, torch {version('torch')}, pillow {version('pillow')}"
    return {"machine": machine, "versions": versions}


def _with_load(note: str) -> str:
    "A note that says so where others were busy on this machine."
    load = os.getloadavg()[0]
    busy = f"busy machine (load {load:.0f})" if load > len(os.sched_getaffinity(0)) + 1 else ""
    return "; ".join(filter(None, [note, busy]))


def run_one(name: str, n: int, work: Path) -> "list[dict]":
    "Measure a section at one size, in this process."
    module, function = SECTIONS[name].function.split(":")
    sys.modules.setdefault("scale", sys.modules[__name__])  # when this file is the program itself
    return [{"section": name, "n": n} | found for found in getattr(importlib.import_module(module), function)(n, work)]


def call(name: str, n: int, work: Path) -> "list[dict]":
    "Measure a section at one size, in a fresh process."
    line = [sys.executable, __file__, "--one", name, "--sizes", str(n), "--work", str(work)]
    done = subprocess.run(
        line, stdout=subprocess.PIPE, text=True, env=os.environ | {"DCACN_CACHE": str(work / "cache")}
    )
    if done.returncode:
        print(f"{name} at {n:,} failed (exit code {done.returncode}); its rows are left out", flush=True)
        return []
    return json.loads(done.stdout.splitlines()[-1])


def keep(rows: "list[dict]", file: Path) -> None:
    "Put rows in the place of earlier ones of the same section and size."
    new = pd.DataFrame(rows, columns=COLUMNS)
    if file.exists():
        old = pd.read_csv(file, keep_default_na=False)
        known = set(zip(new["section"], new["n"]))
        kept = [pair not in known for pair in zip(old["section"], old["n"])]
        new = pd.concat([old[kept], new]) if any(kept) else new
    place = {name: i for i, name in enumerate(SECTIONS)}
    new = new.sort_values(["section", "n"], key=lambda column: column.map(lambda x: place.get(x, x)), kind="stable")
    atomic_write(file, new.reindex(columns=COLUMNS, fill_value="").fillna("").to_csv(index=False).encode())


def page(file: Path) -> str:
    "The page, from the table there is."
    table = pd.read_csv(file, keep_default_na=False).reindex(columns=COLUMNS, fill_value="")
    text = [
        "# Time and memory against the number of images",
        "`make bench-scale` measures everything here, and writes this page from `benchmarks/scale.csv`. **All images "
        "and features here are synthetic.** Each row is one run in a process of its own. *Peak MB* is anonymous memory "
        "beyond what the process held before: pages of mapped files are not counted, as the system may drop them. "
        "*Processor s* is the time that processors worked on it: on a machine that others use, it tells more than "
        "*seconds*, the time that went by.",
    ]
    for name, section in SECTIONS.items():
        rows = table[table["section"] == name]
        if len(rows):
            text += [f"## {section.heading}", section.about, _markdown(rows)]
            for machine, group in rows.groupby("machine", sort=False):
                text.append(f"*{machine}; {', '.join(dict.fromkeys(group['versions']))}; `--only {name}`*")
    return "\n\n".join(text) + "\n"


def _markdown(rows: pd.DataFrame) -> str:
    "The rows of a section."
    lines = ["| images | seconds | processor s | peak MB | per second | |", "|--:|--:|--:|--:|--:|:--|"]
    for one in rows.itertuples():
        worked = "" if one.cpu_seconds == "" else f"{float(one.cpu_seconds):,.3g}"
        lines.append(
            f"| {one.n:,} | {one.seconds:,.3g} | {worked} | {one.peak_mb:,.0f} | {one.rate:,.4g} | {one.note} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=list(SIZES))
    parser.add_argument(
        "--work", type=Path, help="where synthetic files go, and stay; default: a folder that is deleted"
    )
    parser.add_argument("--folder", type=Path, help="where table and page go; default: benchmarks/ and the root")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a section, measured in this process
    options = parser.parse_args()
    unknown = set([options.one] if options.one else options.only) - set(SECTIONS)
    if unknown:
        parser.error(f"--only knows {', '.join(SECTIONS)}, got {', '.join(sorted(unknown))}")
    if options.one:
        print(json.dumps(run_one(options.one, options.sizes[0], options.work)))
        return
    file = (options.folder or HERE) / "scale.csv"
    target = (options.folder or HERE.parent) / "SCALE.md"
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            for n in [n for n in options.sizes if SECTIONS[name].least <= n <= SECTIONS[name].most]:
                began = time.perf_counter()
                rows = call(name, n, options.work or Path(folder))
                keep([found | where() | {"note": _with_load(found["note"])} for found in rows], file)
                print(f"{name} {n:,}: {time.perf_counter() - began:.0f} s", flush=True)
    atomic_write(target, page(file).encode())


if __name__ == "__main__":
    main()
