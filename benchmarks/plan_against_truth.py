"""How well `plan` predicts: three settings, each planned and then run in a process of its own, by turns.

    python benchmarks/plan_against_truth.py --turns 2 --output benchmarks/plan_against_truth.csv

A busy machine changes between plan and run; the turns show how much. With `--clock cpu`, both are counted in seconds of
the processor (set OMP_NUM_THREADS=1): this shows how well the counting is, whatever else the machine does."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

SETTINGS = {  # images of the digits, then settings
    "default, narrow": (1797, dict(width=8, epochs=3)),
    "large batch, local crops": (1797, dict(width=8, epochs=6, batch_size=256, n_local=2)),
    "wide, few images": (600, dict(width=24, epochs=3, batch_size=60)),
}
PROGRAM = """
import json, sys, time
from pathlib import Path
import psutil, threading
import dcacn_nb as dc
what, limit, settings, folder = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
if sys.argv[5] == "cpu":
    time.perf_counter = time.process_time
images = dc.load_images("digits", limit=None if limit == 1797 else limit)
config = dc.preset("default", images, 10, device="cpu", **settings)
if what == "plan":
    made = dc.plan(images, config)
    found = {"seconds": made.seconds, "memory": made.memory, "disk": made.disk}
else:
    began, peak = time.perf_counter(), [0]
    def look(event):
        peak[0] = max(peak[0], psutil.Process().memory_info().rss)
    dc.fit(images, config, run_dir=folder, report=False, observers=[look])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = {"seconds": time.perf_counter() - began, "memory": peak[0], "disk": size}
print(json.dumps(found))
"""


def call(what: str, limit: int, settings: dict, clock: str) -> dict:
    "Plan or run in a fresh process."
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-c", PROGRAM, what, str(limit), json.dumps(settings), f"{folder}/run", clock]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    rows = []
    for turn in range(given.turns):
        for name, (limit, settings) in SETTINGS.items():
            planned, true = (call(what, limit, settings, given.clock) for what in ("plan", "run"))
            row = {"turn": turn, "setting": name, "clock": given.clock}
            for part in ("seconds", "memory", "disk"):
                row |= {f"planned_{part}": planned[part], f"true_{part}": true[part]}
                row[f"{part}_error"] = planned[part] / true[part] - 1
            rows.append(row)
            print(
                {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )
    if given.output:
        pd.DataFrame(rows).to_csv(given.output, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
