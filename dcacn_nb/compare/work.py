"""What a process does for one cell of a grid: run it from its start or its last checkpoint, and write down its cost."""

import contextlib
import importlib.util
import json
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcacn_nb.compare.cells import Cell, total_passes, with_epochs
from dcacn_nb.compare.memory import PeakMemory
from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Evaluated, Event, RunFinished
from dcacn_nb.core.files import atomic_write, inside, is_full_disk, read_json
from dcacn_nb.core.text import logger
from dcacn_nb.fitting import fit
from dcacn_nb.runs.driver import Run
from dcacn_nb.runs.folder import FolderInUse
from dcacn_nb.runs.log import last_event

log = logger(__name__)
Observer = Callable[[Event], None]
LOOK = 5.0  # seconds between two looks at a cell that another process holds


@dataclass(frozen=True)
class Work:
    "What is to be done with each cell of a grid, in whatever process."

    folder: Path  # of the grid
    observers: "Callable[[Cell], Sequence[Observer]]"  # of each run
    retry_failed: bool  # run again what failed before
    notebook: "str | Path | None"  # papermill runs it for each finished cell
    report: bool  # write a report.html for each run
    patience: float = 0.0  # seconds to wait for a cell that another process holds: it may have died elsewhere

    def do(
        self,
        cell: Cell,
        images,  # ImageSet, tensor or FeatureSet
        labels,  # (N,) or None
        begin: "Callable[[Run], object]" = Run.drive,  # trains the prepared run, until its end
    ) -> None:
        "Do what is missing of a cell; a damaged one costs itself, not the grid."
        where = self.folder / cell.folder
        try:
            inside(self.folder, where / "any file")
            cell = _with_first_epochs(cell, where.parent / "epochs.json", self.folder) if cell.timed else cell
            self._run(cell, images, where, labels, begin)
            if self.notebook is not None and finished(where) and not (where / "notebook.ipynb").exists():
                began = time.monotonic()
                _run_notebook(self.notebook, where)
                _add_seconds(where, time.monotonic() - began)
        except (ValueError, OSError) as error:
            if is_full_disk(error):
                raise
            log.error("%s is left out: %s; remove its folder to run it again", cell.folder.as_posix(), error)

    def is_settled(self, cell: Cell) -> bool:
        "Whether a worker would find nothing to do; one whose files are damaged is for the worker to name."
        where = self.folder / cell.folder
        with contextlib.suppress(ValueError, OSError):
            noted = self.notebook is None or (where / "notebook.ipynb").exists()
            return (_done(where) and noted) or (not self.retry_failed and (where / "failed.json").exists())
        return False

    def _run(self, cell: Cell, images, where: Path, labels, begin) -> None:
        "Run a cell, unless it is done, has failed, or stays in the hands of another process."
        until = time.monotonic() + self.patience
        while not _done(where) and (self.retry_failed or not (where / "failed.json").exists()):
            try:
                _run_cell(cell, images, where, labels, self.observers(cell), self.report, begin)
                return
            except FolderInUse as held:
                if time.monotonic() >= until:
                    log.info("%s is being run by another process: %s", cell.folder.as_posix(), held)
                    return
            time.sleep(LOOK)


def finished(
    folder: "str | Path",  # a run folder, which need not exist yet
) -> bool:
    "Whether a run has come to its own end."
    try:
        last = last_event(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return isinstance(last, RunFinished) and last.reason == "completed"


def _done(where: Path) -> bool:
    "Whether nothing is left to do for a cell. One that was killed in its report lacks that, or its cost."
    cost = where / "cost.json"
    return finished(where) and cost.exists() and bool(read_object(cost).get("reported", True))


def read_object(path: Path) -> dict:
    "The object that a JSON file holds; a ValueError names a file that is damaged."
    values = read_json(path)
    if not isinstance(values, dict):
        raise ValueError(f"{str(path)!r} is damaged (it must hold an object); restore it, or remove it")
    return values


def seconds_in(
    cost: dict,  # as cost.json holds it
    name: str,  # "training_seconds" or "other_seconds"
) -> float:  # NaN: unknown, as in a file of an earlier version, or in a damaged one
    "What one part of a run took, as its process wrote it down."
    value = cost.get(name)
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e10 else math.nan


def write_object(path: Path, value: object, home: Path) -> None:
    "Write a JSON file, whole or not at all, in a folder that is there."
    atomic_write(path, json.dumps(value, indent=1).encode(), home=home)


def check_notebook(notebook: "str | Path | None") -> None:
    "Refuse a notebook that cannot be run."
    if notebook is None:
        return
    if not Path(notebook).is_file():
        raise FileNotFoundError(f"notebook must be the path of a notebook, got {str(notebook)!r}, which does not exist")
    if importlib.util.find_spec("papermill") is None:
        raise ModuleNotFoundError("notebook needs papermill, which is not installed: pip install 'dcacn_nb[lab]'")


def _with_first_epochs(cell: Cell, path: Path, home: Path) -> Cell:
    "The cell with the epochs that its setting started with: a second timing would give others."
    if not path.exists():
        write_object(path, cell.config.epochs, home)
    return with_epochs(cell, check_int(f"{path}: epochs", read_json(path), low=1))


def _run_notebook(notebook: "str | Path", where: Path) -> None:
    "Execute a notebook about one run in its own kernel; one that fails is logged, and kept up to the cell that failed."
    import papermill

    half = where / ".notebook.ipynb"
    half.unlink(missing_ok=True)  # a link there would be written through
    try:
        papermill.execute_notebook(notebook, half, parameters={"run_dir": str(where.resolve())}, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        log.error("the notebook of %s failed: %s", where, error.evalue)
    half.replace(where / "notebook.ipynb")


def _add_seconds(where: Path, seconds: float) -> None:
    "Count what came after a run as part of what its cell took."
    cost = read_object(where / "cost.json")
    before = seconds_in(cost, "other_seconds")
    total = seconds if math.isnan(before) else before + seconds
    write_object(where / "cost.json", cost | {"other_seconds": round(total, 3)}, where)


class _KeepCost:
    "An observer that writes down what a run took before it is finished: a kill in the report must not lose it."

    def __init__(self, cell: Cell, run: Run, where: Path, memory: PeakMemory):
        self.cell, self.run, self.where, self.memory = cell, run, where, memory
        self.first, self.began = run.state.step, time.monotonic()
        self.trained = 0.0  # seconds of training in this process

    def __call__(self, event: Event) -> None:
        if isinstance(event, Evaluated) and event.epoch == self.cell.config.epochs:
            self.trained = time.monotonic() - self.began
            times = {"training_seconds": round(self.trained, 3), "resumed_share": self.first / max(1, event.step)}
            memory = {"memory_mib": round(self.memory.peak / 2**20)}
            self.write(memory | _cost(self.cell, self.run) | times, False)

    def write(self, cost: dict, reported: bool) -> None:
        write_object(self.where / "cost.json", cost | {"reported": reported}, self.where)


def _run_cell(cell: Cell, images, where: Path, labels, observers: "Sequence[Observer]", report: bool, begin) -> None:
    "One cell, from the start or from its last checkpoint, to its end or its failure."
    failure, began = where / "failed.json", time.monotonic()
    options = dict(labels=labels, run_dir=where, resume=True, method=cell.method, report=report, start=False)
    try:
        run = fit(images, cell.config, observers=observers, **options)
        with PeakMemory() as memory:
            keeper = _KeepCost(cell, run, where, memory)
            run.subscribe(keeper)
            begin(run)
    except FolderInUse:
        raise
    except Exception as error:  # any error is recorded, and the other cells run
        if is_full_disk(error):  # no fault of the cell: the same call goes on with it
            raise
        log.error("%s failed: %s", cell.folder.as_posix(), error)
        found = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        if where.is_dir():
            write_object(failure, found, where)
        return
    failure.unlink(missing_ok=True)
    path = where / "cost.json"  # none if the cell was finished before, by a process that was killed: memory is unknown
    cost = read_object(path) if path.exists() else _cost(cell, run) | {"memory_mib": None}
    keeper.write(cost | {"other_seconds": round(time.monotonic() - began - keeper.trained, 3)}, True)


def _cost(cell: Cell, run: Run) -> dict:
    "What a run took: parameters, and images through the network, each view once, in thousands."
    return {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "passes": total_passes(cell) * len(run.images) // 1000,
    }
