"""SIGKILL at random instants and before the n-th file operation; then what a person does next: the same bits."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills.children import Rules, mark, run
from drills.rows import Row
from drills.worlds import SETTINGS, TINY, command, digest_run, features, leftovers, photos, plain_pictures, tree


@dataclass(frozen=True)
class Scenario:
    "Work that is killed."

    name: str
    first: "Callable[[Path], object]"  # the work, in a folder; raises or returns an exit code
    again: "Callable[[Path], object]"  # what a person does after the kill, in the same folder
    result: "Callable[[Path], object]"  # what must be the same as without the kill


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "About `size` kills, spread over the scenarios."
    row, rng = Row("kills", seed, keep_going), random.Random(seed)
    inputs = scratch / "inputs"
    if not inputs.exists():
        photos(inputs / "photos"), features(inputs / "features.npz")
    chosen = rng.sample(SCENARIOS, min(size // 2, len(SCENARIOS)))
    for scenario in chosen:
        _kill_one(row, rng, scenario, scratch / "killed", inputs, -(-size // len(chosen)))
    return row.done(f"{len(chosen)} kinds of work, killed at random instants and before the n-th file operation")


def _kill_one(row: Row, rng: random.Random, scenario: Scenario, folder: Path, inputs: Path, count: int) -> None:
    "Kill one kind of work `count` times."
    _fresh(folder, inputs)
    whole = run(lambda: _work(scenario, folder), folder, Rules(allowed=(folder,), kill_before=10**9))
    if whole.how != "done":
        raise RuntimeError(f"{scenario.name} fails without a kill: {whole}")
    points: list = [{"kill_before": 1 + i * whole.operations // -(-count // 2)} for i in range(-(-count // 2))]
    points += [{"kill_after": rng.uniform(0.02, whole.seconds)} for _ in range(count // 2)]
    for point in points:
        row.attempt()
        _fresh(folder, inputs)
        killed = run(lambda: _work(scenario, folder), folder, Rules(allowed=(folder,), **point))
        for child in (killed, _recovered(row, scenario, folder, whole.value, point)):
            for text in child.outside:
                row.violation("outside", f"{scenario.name} {point}: {text}")


def _fresh(folder: Path, inputs: Path) -> None:
    "The folder as it was before."
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)


def _work(scenario: Scenario, folder: Path):
    "The work without a kill, and its result."
    plain_pictures()
    code = scenario.first(folder)
    if code not in (0, None):
        raise RuntimeError(f"exit code {code}")
    return scenario.result(folder)


def _recovered(row: Row, scenario: Scenario, folder: Path, expected: object, point: dict):
    "Do what a person does after the kill, and compare."
    _age(folder)

    def recover():
        plain_pictures()
        mark("again")
        code = scenario.again(folder)
        if code not in (0, None):
            raise RuntimeError(f"exit code {code}")
        mark("compared")
        return scenario.result(folder)

    child = run(recover, folder, Rules(allowed=(folder,)))
    at = f"{scenario.name} {point}"
    if child.how == "hang":
        row.violation("hangs", f"{at}: {child}")
    elif child.how != "done":
        row.violation("lost", f"{at}: it cannot be resumed: {child}")
    else:
        found, wanted = child.value, json.loads(json.dumps(expected))
        if found != wanted:
            row.violation("lost", f"{at}: {_difference(wanted, found)}")
        left = leftovers(folder)
        if left:
            row.violation("lost", f"{at}: temporary files stay: {left}")
    return child


def _age(folder: Path) -> None:
    "Let some time pass: what the killed process left is eight days old."
    past = time.time() - 8 * 86400
    for place, _, files in os.walk(folder / ".home"):
        for name in [*(files or []), ""]:
            os.utime(os.path.join(place, name), (past, past))


def _difference(wanted: object, found: object) -> str:
    "Where two results differ."
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = sorted(wanted.keys() | found.keys())
        pairs = ((name, wanted.get(name), found.get(name)) for name in names)
        return "; ".join(f"{name}: {_difference(a, b)}" for name, a, b in pairs if a != b)
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return "; ".join(f"{i}: {_difference(a, b)}" for i, (a, b) in enumerate(zip(wanted, found)) if a != b)
    return f"{wanted} -> {found}"


# ---- the kinds of work
def _fit(folder: Path, *more) -> int:
    return command("fit", *more, "-k", 2, "--run-dir", folder / "run", *TINY)


FROM_IMAGES = ("--encoder", "none", "--epochs", 2, "--on-error", "skip", "--no-labels")


def _fit_images(folder: Path) -> int:
    "From scratch, with options that must not be forgotten."
    return _fit(folder, folder / "photos", *FROM_IMAGES, "--sort-into", folder / "sorted")


def _resumed(first: "Callable[[Path], int]") -> "Callable[[Path], int]":
    "Resume, if there is a run; else the same line again."

    def again(folder: Path) -> int:
        if (folder / "run" / "config.json").exists():
            return command("resume", folder / "run")
        return first(folder)

    return again


def _run_and_sorted(folder: Path) -> dict:
    return digest_run(folder / "run") | {"sorted": tree(folder / "sorted")}


def _fit_features(folder: Path) -> int:
    of_networks = ("width", "n_local", "projection_dim")  # refused where there is none
    chosen = [part for text in SETTINGS if not text.startswith(of_networks) for part in ("--set", text)]
    return command("fit", folder / "features.npz", "-k", 2, "--epochs", 3, "--run-dir", folder / "run", *chosen)


def _embed(folder: Path) -> None:
    "Features by an encoder, through the cache, which notes its state after every batch."
    import dcacn_nb.encoders.feature_cache as feature_cache
    from dcacn_nb import embed, save_features
    from drills.encoder import GridEncoder

    feature_cache.CHECKPOINT = 0.0
    found = embed(folder / "photos", GridEncoder(), on_error="skip", batch_size=2, progress=False)
    save_features(found, folder / "embedded.npz")


def _embedded(folder: Path) -> dict:
    import numpy as np

    with np.load(folder / "embedded.npz") as arrays:
        return {name: str(arrays[name].tolist())[:20000] for name in ("features", "images")}


def _compare(folder: Path) -> int:
    return command(
        *("compare", folder / "photos", "--methods", "dcacn,cc", "--seeds", "0", "-k", 2, "--on-error", "skip"),
        *("--amount", 1, "--folder", folder / "grid", *TINY),
    )


def _grid(folder: Path) -> dict:
    from dcacn_nb.compare import collect, failures

    table = collect(folder / "grid").sort_values("method")
    kept = table.drop(columns=["seconds", "memory_mib", "dcacn_nb", "torch", "python", "machine", "threads", "cuda"])
    cells = {
        path.parent.relative_to(folder).as_posix(): digest_run(path.parent) for path in folder.rglob("config.json")
    }
    return {"table": kept.astype(str).to_dict("list"), "failures": failures(folder / "grid"), "cells": cells}


def _load(folder: Path) -> None:
    "A folder decoded into the cache."
    from dcacn_nb import load_images

    load_images(folder / "photos", on_error="skip", progress=False)


def _loaded(folder: Path) -> str:
    import torch

    from dcacn_nb import load_images

    images = load_images(folder / "photos", on_error="skip", progress=False).images
    return str(torch.as_tensor(images).flatten().tolist()[:3000])


def _exported(folder: Path) -> int:
    "A run that is whole, a report of it, copies of its images by cluster."
    code = 0 if (folder / "run" / "report.html").exists() else _fit(folder, folder / "photos", *FROM_IMAGES)
    return (
        code
        or command("report", folder / "run")
        or command("export", folder / "run", folder / "copies", "--to", "copies")
    )


def _exported_again(folder: Path) -> int:
    from dcacn_nb.runs.log import read_events

    log = folder / "run" / "events.jsonl"  # a run that failed has a table of clusters, too
    events = read_events(log, arrays=False) if log.exists() else []
    if not any(getattr(event, "reason", "") == "completed" for event in events):
        code = _resumed(lambda where: _fit(where, where / "photos", *FROM_IMAGES))(folder)
        if code:
            return code
    if (folder / "copies").exists():
        return 0
    return command("report", folder / "run") or command("export", folder / "run", folder / "copies", "--to", "copies")


SCENARIOS = (
    Scenario("fit images", _fit_images, _resumed(_fit_images), _run_and_sorted),
    Scenario("fit features", _fit_features, _resumed(_fit_features), lambda f: digest_run(f / "run")),
    Scenario("embed", _embed, _embed, _embedded),
    Scenario("compare", _compare, _compare, _grid),
    Scenario("load images", _load, _load, _loaded),
    Scenario("report and export", _exported, _exported_again, lambda f: digest_run(f / "run") | tree(f / "copies")),
)
