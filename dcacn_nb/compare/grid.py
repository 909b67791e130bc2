"""Run a grid of cells, each in a run folder of its own, and read the results back as one tidy table.

A grid can be interrupted and resumed, and several processes can share it: the run folders are all it keeps."""

import importlib.util
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from dcacn_nb.compare.cells import Cell, with_epochs
from dcacn_nb.compare.tables import SCORES
from dcacn_nb.core.events import EpochDone, Evaluated, Event, RunFinished, RunStarted
from dcacn_nb.core.files import atomic_write
from dcacn_nb.fitting import fit
from dcacn_nb.runs.driver import Run
from dcacn_nb.runs.folder import FolderInUse, read_about
from dcacn_nb.runs.log import read_events

log = logging.getLogger(__name__)
Observer = Callable[[Event], None]
COLUMNS = [
    *("method", "setting", "seed", *SCORES),
    *("view_information", "view_agreement", "balance_entropy", "assignment_entropy", "n_empty"),
    *("epochs", "passes", "seconds", "memory_mib", "parameters", "n_images", "protocol", "budget"),
    *("dcacn_nb", "torch", "python", "machine", "threads", "cuda"),
]


def run_grid(
    cells: Sequence[Cell],  # as make_grid returns them
    images,  # ImageSet, or a uint8 tensor (N,C,H,W): the same for all
    folder: "str | Path",  # of this grid; created if missing, resumed if it exists
    *,
    labels: "np.ndarray | None" = None,  # to score the evaluations with, for nothing else
    budget: str = "",  # name of the budget in the table, e.g. "30 epochs"
    observers: "Callable[[Cell], Sequence[Observer]]" = lambda cell: (),  # observers of each run
    retry_failed: bool = False,  # run again what failed before
    notebook: "str | Path | None" = None,  # has a parameter `run_dir`; papermill runs it for each finished cell
    report: bool = True,  # write a report.html for each run; its pictures take some seconds per run
) -> pd.DataFrame:  # what `collect(folder)` returns at the end
    "Run every cell that is neither finished nor held by another process; a failure is recorded, and the rest runs."
    folder = Path(folder)
    _check_notebook(notebook)
    folder.mkdir(parents=True, exist_ok=True)
    _open_grid(folder, _describe_grid(images, budget))
    for cell in cells:
        where = folder / cell.folder
        cell = _with_first_epochs(cell, where.parent / "epochs.json") if cell.timed else cell
        if not finished(where) and (retry_failed or not (where / "failed.json").exists()):
            _run_cell(cell, images, where, labels, observers(cell), report)
        if notebook is not None and finished(where) and not (where / "notebook.ipynb").exists():
            _run_notebook(notebook, where)
    return collect(folder)


def finished(
    folder: "str | Path",  # a run folder, which need not exist yet
) -> bool:
    "Whether a run has come to its own end."
    if not (Path(folder) / "events.jsonl").exists():
        return False
    events = read_events(folder, arrays=False)
    return bool(events) and isinstance(events[-1], RunFinished) and events[-1].reason == "completed"


def collect(
    *folders: "str | Path",  # grids; their rows are put one under another
    unfinished: bool = False,  # include runs that are not done yet
) -> pd.DataFrame:  # one row per run; empty, with all columns, if none is done
    "One row per finished run: its scores at the last epoch, label-free figures, cost, protocol, budget and versions."
    rows = [row for folder in folders for row in _rows(Path(folder), unfinished)]
    return pd.DataFrame(rows, columns=COLUMNS)


def failures(
    folder: "str | Path",  # of a grid
) -> "dict[str, str]":  # the cell's path -> what went wrong
    "The cells that failed."
    folder = Path(folder)
    return {
        path.parent.relative_to(folder).as_posix(): _read_json(path)["error"]
        for path in sorted(folder.glob("*/*/seed-*/failed.json"))
    }


def _read_json(path: Path):
    "What a JSON file holds."
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, value: object) -> None:
    "Write a JSON file, whole or not at all."
    atomic_write(path, json.dumps(value, indent=1).encode())


def _check_notebook(notebook: "str | Path | None") -> None:
    "Refuse a notebook that cannot be run."
    if notebook is None:
        return
    if not Path(notebook).is_file():
        raise FileNotFoundError(f"notebook must be the path of a notebook, got {str(notebook)!r}, which does not exist")
    if importlib.util.find_spec("papermill") is None:
        raise ModuleNotFoundError("notebook needs papermill, which is not installed: pip install 'dcacn_nb[lab]'")


def _describe_grid(images, budget: str) -> dict:
    "What all cells of a folder share, as plain values."
    shape = list(getattr(images, "images", images).shape)
    protocol = getattr(images, "protocol", None) or {"source": "array", "shape": shape}
    return json.loads(json.dumps({"protocol": protocol, "budget": budget}, default=str))


def _open_grid(folder: Path, about: dict) -> None:
    "Write grid.json, or refuse a folder that holds results of other images or another budget."
    path = folder / "grid.json"
    if not path.exists():
        _write_json(path, about)
        return
    there, here = ({**known["protocol"], "budget": known["budget"]} for known in (_read_json(path), about))
    changed = [
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} now"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
    if changed:
        raise ValueError(
            f"folder {str(folder)!r} holds another grid; choose a new folder, since these differ:\n  "
            + "\n  ".join(changed)
        )


def _with_first_epochs(cell: Cell, path: Path) -> Cell:
    "The cell with the epochs that its setting started with: a second timing would give others."
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_json(path, cell.config.epochs)
    return with_epochs(cell, _read_json(path))


def _run_notebook(notebook: "str | Path", where: Path) -> None:
    "Execute a notebook about one run in its own kernel; one that fails is logged, and kept up to the cell that failed."
    import papermill

    half = where / ".notebook.ipynb"
    try:
        papermill.execute_notebook(notebook, half, parameters={"run_dir": str(where.resolve())}, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        log.error("the notebook of %s failed: %s", where, error.evalue)
    half.replace(where / "notebook.ipynb")


class _PeakMemory:
    "An observer that records the process's largest resident memory."

    def __init__(self) -> None:
        self.process, self.peak = psutil.Process(), 0

    def __call__(self, event: Event) -> None:
        self.peak = max(self.peak, self.process.memory_info().rss)


def _run_cell(cell: Cell, images, where: Path, labels, observers: "Sequence[Observer]", report: bool) -> None:
    "One cell, from the start or from its last checkpoint, to its end or its failure."
    memory, failure = _PeakMemory(), where / "failed.json"
    watching: list[Observer] = [*observers, memory]
    options = dict(labels=labels, run_dir=where, resume=True, method=cell.method, report=report)
    try:
        run = fit(images, cell.config, observers=watching, **options)
    except FolderInUse:
        log.info("%s is being run by another process", cell.folder.as_posix())
        return
    except Exception as error:  # any error is recorded, and the other cells run
        log.error("%s failed: %s", cell.folder.as_posix(), error)
        _write_json(failure, {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})
        return
    failure.unlink(missing_ok=True)
    _write_json(where / "cost.json", _cost(cell, run, memory.peak))


def _cost(cell: Cell, run: Run, peak: int) -> dict:
    "What a run took: parameters, memory, and images through the network, each view once, in thousands."
    return {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "memory_mib": round(peak / 2**20),
        "passes": cell.method.passes(cell.config) * cell.config.epochs * len(run.images) // 1000,
    }


def _rows(folder: Path, unfinished: bool) -> "Iterator[dict]":
    "The rows of one grid."
    if not (folder / "grid.json").exists():
        raise FileNotFoundError(f"folder must hold a grid, that is, a grid.json, got {str(folder)!r}")
    about = _read_json(folder / "grid.json")
    shared = {"protocol": _protocol_in_words(about["protocol"]), "budget": about["budget"]}
    for path in sorted(folder.glob("*/*/seed-*")):
        if (path / "config.json").exists() and (unfinished or finished(path)):
            yield _row(path) | shared


def _row(path: Path) -> dict:
    "The row of one run."
    about, events = read_about(path), read_events(path, arrays=False)
    start = next((e for e in events if isinstance(e, RunStarted)), None)
    last = next((e for e in reversed(events) if isinstance(e, Evaluated)), None)
    row = {
        "method": about["method"],
        "setting": path.parent.name,
        "seed": about["config"]["seed"],
        "epochs": last.epoch if last else 0,
        "seconds": round(sum(e.seconds for e in events if isinstance(e, EpochDone)), 1),
    }
    if (path / "cost.json").exists():
        row |= _read_json(path / "cost.json")
    if last is not None:
        row |= (last.scores or {}) | _known_columns(last.health)
    if start is not None:
        row |= {"n_images": start.n_images} | _known_columns(start.versions)
    return row


def _known_columns(values: dict) -> dict:
    "Only what has a column in the table."
    return {name: value for name, value in values.items() if name in COLUMNS}


def _protocol_in_words(protocol: dict) -> str:
    "A protocol in one line."
    return ", ".join(
        f"{name}={Path(str(value)).name if name == 'source' else value}"
        for name, value in protocol.items()
        if value not in (None, "", [], {})
    )
