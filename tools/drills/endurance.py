"""Many short runs and dashboards in one process: memory, open files and threads do not grow."""

import os
from pathlib import Path

from drills.children import Rules, mark, run
from drills.rows import Row
from drills.worlds import features

MOST = 64 << 20  # bytes that the second half may add; a leak of one run's pictures and log would be more


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "`size` rounds of a run in a folder, a run without one, a grid's cell read back, and a dashboard attached."
    row = Row("endurance", seed, keep_going)
    child = run(lambda: _rounds(scratch, size), scratch, Rules((scratch,), limit=1500))
    if child.how != "done":
        row.attempt()
        row.violation("hangs" if child.how == "hang" else "raw", str(child))
        return row.done()
    for _ in range(size):
        row.attempt()
    half, end = child.value
    for text in child.outside:
        row.violation("outside", text)
    for name, allowed in (("memory", MOST), ("files", 2), ("threads", 2)):
        if end[name] > half[name] + allowed:
            row.violation("lost", f"{name} grow: {half[name]:,} after {size // 2} rounds, {end[name]:,} after {size}")
    grown = (end["memory"] - half["memory"]) / 2**20
    return row.done(f"second half: {grown:+.0f} MB, {end['files'] - half['files']:+d} files, "
                    f"{end['threads'] - half['threads']:+d} threads")  # fmt: skip


def _rounds(scratch: Path, size: int) -> list:
    "What the process holds after half of the rounds, and after all."
    import gc
    import shutil

    file, held = features(scratch / "features.npz"), []
    for i in range(size):
        mark(str(i))
        folder = scratch / "run"
        shutil.rmtree(folder, ignore_errors=True)
        _round(file, folder)
        if i + 1 in (max(1, size // 2), size):
            gc.collect()
            held.append(_held())
    return held


def _round(file: Path, folder: Path) -> None:
    "A run and a dashboard that follows its folder, both ended."
    from dcacn_nb import Dashboard, fit, load_features, load_run

    images = load_features(file)
    settings = dict(n_clusters=2, epochs=1, batch_size=8, device="cpu", report=False)
    panel = Dashboard.attach(folder, method="pca")
    fit(images, run_dir=folder, background=True, **settings).wait(60)
    fit(images, **settings)
    load_run(folder)
    panel.close()


def _held() -> dict:
    "Memory, open files and threads of this process."
    import psutil

    process = psutil.Process()
    return {
        "memory": process.memory_info().rss,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": process.num_threads(),
    }
