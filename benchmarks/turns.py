"""What the comparisons share: cases by turns within one run, and what else the machine was doing meanwhile."""

import argparse
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from dcacn_nb.encoders.choice import processor
from dcacn_nb.runs.threads import Neighbours, usage


def timed(
    function: "Callable[[], object]",
    seconds: float,  # repeat it for at least so long, once at least
) -> dict:  # milliseconds of the median call, and processors that other processes used meanwhile
    "Time a function."
    each: list[float] = []
    before, end = usage(), time.perf_counter() + seconds
    while not each or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        each.append(time.perf_counter() - start)
    now = usage()
    return {"ms": round(1e3 * median(each), 3), "others": round((now[1] - before[1]) / (now[0] - before[0]), 2)}


def by_turns(
    cases: "dict[str, Callable[[], object]]",  # name -> what is timed
    turns: int,
    seconds: float,  # for each case and turn
    rest: float = 0.0,  # seconds before each, in which the workers of others come to rest
    **about,  # further columns
) -> "list[dict]":
    "One row for each turn and case. Every case warms up with one call."
    rows = []
    with Neighbours():  # as in a run; for every case alike
        for function in cases.values():
            function()
        for turn in range(turns):
            for name, function in cases.items():
                time.sleep(rest)
                rows.append(about | {"case": name, "turn": turn} | timed(function, seconds))
    return rows


def times(
    rows: "list[dict]",  # of `by_turns`
    first: str,  # a case
) -> "list[dict]":  # the same rows
    "Add to each row how many times as long as `first` it took, in the same size and turn."
    of = {(row.get("size"), row["turn"]): row["ms"] for row in rows if row["case"] == first}
    for row in rows:
        row["times"] = round(row["ms"] / of[row.get("size"), row["turn"]], 2)
    return rows


def where() -> dict:
    "Columns that say on what a row was measured."
    names = ("torch", "torchvision", "lightly", "pillow")
    found = {"processor": processor(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    return found | {name: version(name) for name in names}


def main(measure: "Callable[[argparse.Namespace], list[dict]]", about: str, threads: int = 2, flags=()) -> None:
    "The command line of a comparison: `measure` is given its options, and gives rows."
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case and turn")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--small", action="store_true", help="tiny sizes: only to see that it works")
    parser.add_argument("--output", type=Path)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = pd.DataFrame(measure(options)).assign(**where())
    if options.output:
        table.to_csv(options.output, index=False)
    named = [name for name in ("size", "beside", "case") if name in table]
    shown = [name for name in ("ms", "others", "times") if name in table]
    print(table.groupby(named, sort=False)[shown].median().to_string())
