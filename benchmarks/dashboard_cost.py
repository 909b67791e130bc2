"""What an open dashboard costs a training run: a real JupyterLab, a real Chromium, and the same short run with and without it, in turns.

Each repetition trains the digits (1,797 images, `default` preset, snapshots every epoch) three times in one kernel with the page open: with nothing on the page, with the dashboard and its map as
PCA, and with the dashboard and t-SNE of 1,000 points every 5 epochs. Time runs from the end of the first epoch to the end of the run. One CSV row a run, with the processor seconds that kernel, map helper, server and browser
spent meanwhile: wall time alone cannot tell a costly dashboard from a busy machine.
Example: python benchmarks/dashboard_cost.py --repetitions 3 --epochs 11 --output benchmarks/dashboard_cost.csv
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

SETUP = """
import json, psutil, tempfile, time
from pathlib import Path
from dcacn_nb.config import preset
from dcacn_nb.data import load_images
from dcacn_nb.events import EpochDone, RunFinished
from dcacn_nb.train import fit
from dcacn_nb.widgets import Dashboard
images, results = load_images("digits"), []

def spent():
    "Processor seconds so far: this kernel, its map helper, the server, the browser, everything on this machine."
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
    return {"kernel": seconds([kernel]), "map_helper": seconds(kernel.children(recursive=True)), "server": seconds([kernel.parent()]), "browser": seconds(browser),
            "all": sum(machine) - machine.idle - machine.iowait}

class Clock:
    "Wall and processor time from the end of the first epoch to the end of the run."
    def __call__(self, event):
        if isinstance(event, EpochDone) and event.epoch == 1:
            self.first, self.spent = time.perf_counter(), spent()
        if isinstance(event, RunFinished):
            self.told = {"seconds": time.perf_counter() - self.first} | {f"cpu_{name}": value - self.spent[name] for name, value in spent().items()}
"""
RUN = """
clock, config = Clock(), preset("default", images, 10, epochs={epochs}, seed={seed}, eval_every=1, snapshot_every=1)
run = fit(images, config, labels=images.labels, run_dir=tempfile.mkdtemp(), observers=[clock], background=True, start=False)
dashboard = {dashboard}
run.start()
dashboard
"""
END = "await run\nresults.append(clock.told)\nprint(json.dumps(results))"
CASES = {"none": "None", "dashboard, PCA": "Dashboard(run, method='pca', tab='{tab}')", "dashboard, t-SNE every 5 epochs": "Dashboard(run, method='tsne', every=5, tab='{tab}')"}


def notebook(path: Path, epochs: int, seed: int, order: list, tab: str) -> None:
    "A notebook that trains once for each case, in this order."
    sources = [SETUP]
    for name in order:
        sources += [RUN.format(epochs=epochs, seed=seed, dashboard=CASES[name].format(tab=tab)), END]
    browser.write_notebook(path, *sources)


def measured(page) -> list:
    "What the last cell printed: one dictionary a case."
    texts = page.evaluate("() => window.testPanel.content.widgets.flatMap(c => c.model.outputs ? c.model.outputs.toJSON() : []).filter(o => o.output_type === 'stream').map(o => [o.text].flat().join(''))")
    return json.loads(texts[-1].strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=11)
    parser.add_argument("--tab", default="map", help="the tab that is open")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright
    rows, cases = [], list(CASES)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        lab = browser.JupyterLab(Path(work))
        lab.start()
        chromium = browser.launch(playwright, browser.find_browser(playwright))
        for repetition in range(args.repetitions):
            order = cases[repetition % 3:] + cases[:repetition % 3]  # no case is always the first
            notebook(lab.root / f"cost{repetition}.ipynb", args.epochs, repetition, order, args.tab)
            page = browser.new_page(chromium)
            lab.open(page, f"cost{repetition}.ipynb")
            state = browser.run_all(page, 3600)
            assert state["errors"] == [], state
            for name, told in zip(order, measured(page)):
                rows.append({"case": name, "repetition": repetition} | {key: round(value, 2) for key, value in told.items()} | {"epochs": args.epochs - 1, "tab": args.tab,
                             "threads": os.environ.get("OMP_NUM_THREADS", ""), "wait_policy": os.environ.get("OMP_WAIT_POLICY", ""), "spin": os.environ.get("GOMP_SPINCOUNT", ""),
                             "cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()})
                print(rows[-1], flush=True)
            page.evaluate("() => window.testPanel.sessionContext.shutdown()")
            page.context.close()
        chromium.close()
        lab.stop()
    table = pd.DataFrame(rows)
    table.to_csv(args.output, index=False)
    wide = table.pivot(index="repetition", columns="case", values="seconds")
    print((wide["none"].to_numpy()[:, None] / wide).round(3).to_string())  # speed, as a share of the speed without
    print(table.groupby("case")[[name for name in table if name.startswith(("seconds", "cpu_"))]].mean().round(1).to_string())


if __name__ == "__main__":
    main()
