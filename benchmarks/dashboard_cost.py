"""What an open dashboard costs a training run: real JupyterLab, real Chromium, and three equal runs that take turns.

Digits (1,797 images, `default` preset, snapshots every epoch): one run without a dashboard, one with the dashboard and
its map as PCA, one with the dashboard and t-SNE of 1,000 points every 5 epochs. All three are in one kernel with the
page open, and only one of them trains at a time: five epochs, then it is the next one's turn. So each rotation compares
figures that are a minute apart, on machines whose speed changes from minute to minute. Turns change in the middle of an
epoch: what an epoch's end causes (map, messages, drawing) is in the same turn; each turn holds one t-SNE.
One CSV row per turn, with the processor seconds that kernel, map helper, server and browser spent meanwhile.
Example: python benchmarks/dashboard_cost.py --rotations 6 --output benchmarks/dashboard_cost.csv
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import browser  # noqa: E402 - the driver that the tests use

EPOCHS = 5  # of a turn
SETUP = """
import json, psutil, tempfile, threading, time
from IPython.display import display
from dcacn_nb.method.config import preset
from dcacn_nb.data.loading import load_images
from dcacn_nb.core.events import StepDone
from dcacn_nb.runs.threads import release_threads
from dcacn_nb.fitting import fit
from dcacn_nb.widgets import Dashboard
images = load_images("digits")

def spent():
    "Processor seconds so far: this kernel, its map helpers, the server, the browser, everything on this machine."
    def seconds(processes):
        total = 0.0
        for process in processes:
            try:
                total += sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                pass
        return total
    kernel, machine = psutil.Process(), psutil.cpu_times()
    browser = [p for p in psutil.process_iter(["name"]) if "chrom" in (p.info["name"] or "")]
    parts = {"kernel": [kernel], "map_helper": kernel.children(recursive=True)}
    parts |= {"server": [kernel.parent()], "browser": browser}
    spent = {name: seconds(processes) for name, processes in parts.items()}
    return spent | {"all": sum(machine) - machine.idle - machine.iowait}

class Turns:
    "Lets one run train at a time; keeps how long each turn took."
    def __init__(self, names, epochs, rotations, steps_per_epoch):
        # no case is always the first; the first turn of each warms up
        order = [names[(i + r) % len(names)] for r in range(rotations) for i in range(len(names))]
        self.order, self.rows, self.turn = [*names, *order], [], threading.Condition()
        # in the middle of the third epoch, the eighth, ...
        self.switch = lambda step: (step - steps_per_epoch // 2) % (epochs * steps_per_epoch) == 2 * steps_per_epoch
    def watcher(self, name):
        "An observer that holds its run back until it is its turn."
        begun = None
        def watch(event):
            nonlocal begun
            if not isinstance(event, StepDone) or event.step > 14 and not self.switch(event.step):
                return
            with self.turn:
                if event.step > 14:
                    now = {"seconds": time.perf_counter() - begun[0]}
                    now |= {f"cpu_{part}": value - begun[1][part] for part, value in spent().items()}
                    self.rows.append({"case": name, "from_step": begun[2], "to_step": event.step} | now)
                    self.order.pop(0)
                    self.turn.notify_all()
                release_threads()  # a waiting run must not slow the others
                self.turn.wait_for(lambda: not self.order or self.order[0] == name)
            time.sleep(1)  # let the page draw what the previous turn left
            begun = time.perf_counter(), spent(), event.step
        return watch

names = ["none", "dashboard, PCA", "dashboard, t-SNE every 5 epochs"]
turns = Turns(names, {epochs}, {rotations}, len(images) // 64)
total = {epochs} * ({rotations} + 1) + 3
config = preset("default", images, 10, epochs=total, seed=0, eval_every=1, snapshot_every=1, log_every=14)
folders = tempfile.TemporaryDirectory()
options = dict(labels=images.labels, background=True, start=False)
runs = [fit(images, config, run_dir=f"{folders.name}/{i}", observers=[turns.watcher(name)], **options)
        for i, name in enumerate(names)]
shown = [Dashboard(runs[1], method='pca', tab='{tab}'), Dashboard(runs[2], method='tsne', every=5, tab='{tab}')]
"""
RUN = """
display(*shown)
for run in runs:
    run.start()
"""
END = """
import asyncio
while turns.order:
    await asyncio.sleep(0.5)
for run in runs:
    run.stop()
    await run
print(json.dumps(turns.rows))
"""


def measured(page) -> list:
    "What the last cell printed: one dictionary a case."
    texts = page.evaluate(
        """() => window.testPanel.content.widgets
          .flatMap(c => c.model.outputs ? c.model.outputs.toJSON() : [])
          .filter(o => o.output_type === 'stream')
          .map(o => [o.text].flat().join(''))"""
    )
    return json.loads(texts[-1].strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rotations", type=int, default=6, help="turns of each run")
    parser.add_argument("--tab", default="map", help="the tab that is open")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        lab = browser.JupyterLab(Path(work))
        lab.start()
        chromium = browser.launch(playwright, browser.find_browser(playwright))
        setup = (
            SETUP.replace("{epochs}", str(EPOCHS))
            .replace("{rotations}", str(args.rotations))
            .replace("{tab}", args.tab)
        )
        browser.write_notebook(lab.root / "cost.ipynb", setup, RUN, END)
        page = browser.new_page(chromium)
        lab.open(page, "cost.ipynb")
        state = browser.run_all(page, 7200)
        assert state["errors"] == [], state
        rows = measured(page)
        chromium.close()
        lab.stop()
    where = {
        "epochs": EPOCHS,
        "tab": args.tab,
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "spin": os.environ.get("GOMP_SPINCOUNT", ""),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    table = pd.DataFrame(
        [
            {
                "rotation": i // 3,
                **{name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()},
                **where,
            }
            for i, row in enumerate(rows[3:])
        ]
    )
    table.to_csv(args.output, index=False)
    wide = table.pivot(index="rotation", columns="case", values="seconds")
    speed = wide["none"].to_numpy()[:, None] / wide  # as a share of the speed without
    print(speed.round(3).to_string())
    print(
        pd.DataFrame(
            {"mean": speed.mean(), "standard error": speed.sem(), "of the sums": wide["none"].sum() / wide.sum()}
        )
        .round(3)
        .to_string()
    )
    print(
        table.groupby("case")[[name for name in table if name.startswith(("seconds", "cpu_"))]]
        .mean()
        .round(1)
        .to_string()
    )


if __name__ == "__main__":
    main()
