"""Full disks: a small file system that others fill before or during the work; then space again, and the same bits."""

import contextlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from drills.children import Rules, mark, run
from drills.kills import SCENARIOS, Scenario
from drills.rows import Row
from drills.worlds import features, leftovers, photos, plain_pictures

SPACE = 24 * 2**20  # bytes of the small file system
SAID = ("space", "room", "quota", "No space", "disk", "full")  # one of these is in the message


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "About `size` full disks, spread over the kinds of work that the kills have."
    row, rng = Row("full disks", seed, keep_going), random.Random(seed)
    inputs = scratch / "inputs"
    photos(inputs / "photos"), features(inputs / "features.npz")
    with _small_disk(scratch / "disk") as (disk, real):
        chosen = rng.sample(SCENARIOS, min(size // 2, len(SCENARIOS)))
        for scenario in chosen:
            _fill_one(row, rng, scenario, disk, inputs, -(-size // len(chosen)))
    return row.done("a file system of 24 MB" if real else "no file system could be mounted: files of limited size")


@contextlib.contextmanager
def _small_disk(folder: Path) -> "Iterator[tuple[Path, bool]]":
    "A file system of its own where this user may mount one."
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder)]
    real = subprocess.run(line, capture_output=True).returncode == 0
    try:
        yield folder, real
    finally:
        if real:
            subprocess.run(["umount", str(folder)], check=True)


def _fill_one(row: Row, rng: random.Random, scenario: Scenario, disk: Path, inputs: Path, count: int) -> None:
    "Let the disk of one kind of work be full `count` times."
    work = partial(_work, scenario, disk / "work")
    _fresh(disk, inputs)
    whole = run(work, disk / "work", Rules(allowed=(disk / "work",), at=(10**9, print)))
    if whole.how != "done":
        raise RuntimeError(f"{scenario.name} fails with enough space: {whole}")
    for i in range(count):
        row.attempt()
        _fresh(disk, inputs)
        number = 1 + int((i + rng.random()) * whole.operations / count)
        left = rng.choice((0, 0, 4096, 20_000))
        point = f"{scenario.name}, {left:,} bytes left before file operation {number}"
        rules = Rules(allowed=(disk,), at=(number, partial(_fill, disk / "others", left)))
        _judge(row, run(work, disk / "work", rules), point, whole.value)
        (disk / "others").unlink(missing_ok=True)
        again = run(partial(_again, scenario, disk / "work"), disk / "work", Rules(allowed=(disk / "work",)))
        if again.how != "done":
            row.violation("hangs" if again.how == "hang" else "lost", f"{point}: it cannot be resumed: {again}")
        elif again.value != json.loads(json.dumps(whole.value)):
            row.violation("lost", f"{point}: another result: {str(again.value)[:300]}")
        elif left_behind := leftovers(disk / "work"):
            row.violation("lost", f"{point}: temporary files stay: {left_behind}")


def _fresh(disk: Path, inputs: Path) -> None:
    "The folder as it was before."
    (disk / "others").unlink(missing_ok=True)
    shutil.rmtree(disk / "work", ignore_errors=True)
    shutil.copytree(inputs, disk / "work")


def _fill(path: Path, left: int) -> None:
    "What other programs write until `left` bytes are free; without a disk of its own, nothing longer may be written."
    if not os.path.ismount(path.parent):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (left, resource.RLIM_INFINITY))
        return
    free = shutil.disk_usage(path.parent).free
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (max(0, free - left), 4096 if not left else 0):
            file.write(bytes(size))


def _work(scenario: Scenario, folder: Path):
    "The work; an exit code other than 0, or its result."
    plain_pictures()
    mark("work")
    code = scenario.first(folder)
    return {"code": code} if code else scenario.result(folder)


def _again(scenario: Scenario, folder: Path):
    "What a person does once there is space."
    plain_pictures()
    code = scenario.again(folder)
    if code:
        raise RuntimeError(f"exit code {code}")
    return scenario.result(folder)


def _judge(row: Row, child, point: str, expected: object) -> None:
    "It ends well, or with an error that says that there is no space."
    for text in child.outside:
        row.violation("outside", f"{point}: {text}")
    if child.how == "hang":
        row.violation("hangs", f"{point}: {child}")
    elif child.how == "crashed" or (child.how == "raised" and child.error not in ("OSError", "ValueError")):
        row.violation("raw", f"{point}: {child}")
    elif child.value != json.loads(json.dumps(expected)):
        said = child.text + child.output
        if not any(word in said for word in SAID):
            row.violation("raw", f"{point}: nothing says that the disk is full: {child}")
        if "Traceback" in child.output and child.how == "done" and "Failed" in child.output:
            row.violation("raw", f"{point}: a traceback: {child}")
