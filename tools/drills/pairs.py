"""Two processes on one thing: one wins with a clear word for the other, or both share the work; nothing is spoiled."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drills import kills
from drills.children import Outcome, Rules, start
from drills.rows import Row
from drills.worlds import command, digest_run, features, leftovers, photos, plain_pictures

REFUSED = ("is in use", "already holds a run", "holds no run", "exists already", "locked by another")


@dataclass(frozen=True)
class Pair:
    "Work for two processes at once."

    name: str
    before: "Callable[[Path], object] | None"  # done before both
    first: "Callable[[Path], object]"
    second: "Callable[[Path], object]"
    result: "Callable[[Path], object]"  # must be readable at the end, and the same as of the first alone
    both: bool = False  # whether both must end well


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "About `size` meetings, the second process at random moments of the first."
    row, rng = Row("two processes", seed, keep_going), random.Random(seed)
    inputs = scratch / "inputs"
    photos(inputs / "photos"), features(inputs / "features.npz")
    chosen = rng.sample(PAIRS, min(size, len(PAIRS)))
    for pair in chosen:
        alone = _meet(pair, scratch / "pair", inputs, None)[0]
        if alone.how != "done" or alone.value not in (0, None):
            raise RuntimeError(f"{pair.name} fails alone: {alone}")
        expected = pair.result(scratch / "pair")
        for _ in range(-(-size // len(chosen))):
            row.attempt()
            wait = rng.choice((0, 0, rng.uniform(0, alone.seconds)))
            children = _meet(pair, scratch / "pair", inputs, wait)
            _judge(row, pair, children, expected, scratch / "pair", f"{pair.name}, {wait:.2f} s apart")
    return row.done(", ".join(pair.name for pair in chosen))


def _meet(pair: Pair, folder: Path, inputs: Path, wait: "float | None") -> "list[Outcome]":
    "Both processes; without `wait` the first alone."
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    rules = Rules(allowed=(folder,), limit=90)
    if pair.before is not None:
        start(partial(_plain, pair.before, folder), folder, rules).wait()
    children = [start(partial(_plain, pair.first, folder), folder, rules)]
    if wait is not None:
        time.sleep(wait)
        children.append(start(partial(_plain, pair.second, folder), folder, rules))
    return [child.wait() for child in children]


def _plain(work: Callable, folder: Path):
    plain_pictures()
    return work(folder)


def _judge(row: Row, pair: Pair, children: "list[Outcome]", expected: object, folder: Path, at: str) -> None:
    "One of them did it, the other too or was refused in clear words."
    fine = [child for child in children if child.how == "done" and child.value in (0, None)]
    for child in children:
        for text in child.outside:
            row.violation("outside", f"{at}: {text}")
        if child.how == "hang":
            row.violation("hangs", f"{at}: {child}")
        elif child not in fine and (pair.both or not any(word in str(child) for word in REFUSED)):
            row.violation("raw", f"{at}: {child}")
    if not fine:
        row.violation("lost", f"{at}: neither of them did it: {[str(child)[-300:] for child in children]}")
        return
    try:
        found = pair.result(folder)
    except Exception as error:
        row.violation("lost", f"{at}: {type(error).__name__}: {error}")
        return
    if found != expected:
        row.violation("lost", f"{at}: another result: {kills._difference(expected, found)[:600]}")
    elif left := leftovers(folder):
        row.violation("lost", f"{at}: temporary files stay: {left}")


def _embed_twice(folder: Path) -> None:
    kills._embed(folder)


def _interrupted(folder: Path) -> int:
    "A run that was stopped after its first epoch."
    import dcacn_nb.runs.driver as driver

    def stop(event) -> None:
        if type(event).__name__ == "EpochDone":
            raise KeyboardInterrupt

    passed_on = driver.Run._pass_on

    def breaking(self, event):
        passed_on(self, event)
        stop(event)

    driver.Run._pass_on = breaking
    return kills._fit_features(folder)


def _resume(folder: Path) -> int:
    return command("resume", folder / "run")


def _run(folder: Path) -> dict:
    return digest_run(folder / "run")


PAIRS = (
    Pair("two fits in one folder", None, kills._fit_features, kills._fit_features, _run),
    Pair("two resumes", _interrupted, _resume, _resume, _run),
    Pair("resume beside fit", None, kills._fit_features, _resume, _run),
    Pair("two embeds in one cache", None, kills._embed, _embed_twice, kills._embedded, both=True),
    Pair("two grids in one folder", None, kills._compare, kills._compare, kills._grid, both=True),
    Pair("two loads of one folder", None, kills._load, kills._load, kills._loaded, both=True),
)
