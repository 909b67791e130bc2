"""Run a grid of cells, each in a run folder of its own, and read the results back as one tidy table.

A grid can be interrupted and resumed, and several processes can share it: the run folders are all it keeps."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pandas as pd

from dcacn_nb.compare.cells import Cell
from dcacn_nb.compare.engines import ENGINES, check_engine, run_on_joblib, run_on_slurm
from dcacn_nb.compare.progress import GridWatch, plan_cells
from dcacn_nb.compare.shared_images import keep_images
from dcacn_nb.compare.tables import SCORES
from dcacn_nb.compare.work import Observer, Work, check_notebook, finished, read_object, write_object
from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import EpochDone, Evaluated, RunStarted
from dcacn_nb.core.files import sweep, user_path
from dcacn_nb.core.launch import check_alone
from dcacn_nb.core.text import logger, one_line
from dcacn_nb.data.feature_set import training_tensor
from dcacn_nb.data.unread import unread
from dcacn_nb.encoders.names import PLACES
from dcacn_nb.runs.folder import read_about
from dcacn_nb.runs.log import each_event

log = logger(__name__)
COLUMNS = [
    *("method", "setting", "seed", *SCORES),
    *("view_information", "view_agreement", "neighbour_information", "neighbour_agreement"),
    *("balance_entropy", "assignment_entropy", "n_empty"),
    *("epochs", "passes", "seconds", "memory_mib", "parameters", "n_images", "protocol", "budget"),
    *("dcacn_nb", "torch", "python", "machine", "threads", "cuda"),
]


def run_grid(
    cells: Sequence[Cell],  # as make_grid returns them
    images,  # ImageSet, a uint8 tensor (N,C,H,W), or a FeatureSet: the same for all
    folder: "str | Path",  # of this grid; created if missing, resumed if it exists
    *,
    labels: "np.ndarray | None" = None,  # to score the evaluations with, for nothing else
    budget: str = "",  # name of the budget in the table, e.g. "30 epochs"
    observers: "Callable[[Cell], Sequence[Observer]]" = lambda cell: (),  # observers of each run
    retry_failed: bool = False,  # run again what failed before
    notebook: "str | Path | None" = None,  # has a parameter `run_dir`; papermill runs it for each finished cell
    report: bool = True,  # write a report.html for each run; its pictures take some seconds per run
    on: str = "local",  # "local": here, one after another; "joblib": its workers; "slurm": jobs, through submitit
    resources: "dict | None" = None,  # joblib: n_jobs; slurm: of each job, as submitit names them, e.g. timeout_min
    wait: bool = True,  # False, with "slurm": return once the jobs are queued
    progress: bool = False,  # show how far the whole grid is
) -> pd.DataFrame:  # what `collect(folder)` returns at the end
    "Run every cell that is neither finished nor held by another process; a failure is recorded, and the rest runs."
    folder, resources = user_path(folder), resources or {}
    check_alone("run_grid")  # processes share a grid by its folder, each with cells of its own
    check_in("on", on, ENGINES)
    check_engine(on, resources)
    check_notebook(notebook)
    folder.mkdir(parents=True, exist_ok=True)
    _open_grid(folder, _describe_grid(images, budget))
    plan_cells(folder, [cell.folder.as_posix() for cell in cells])
    sweep(folder)
    work = Work(folder, observers, retry_failed, notebook, report)
    with GridWatch(folder) if progress else nullcontext():
        if on == "local":
            for cell in cells:
                work.do(cell, images, labels)
            return collect(folder)
        kept = keep_images(images, labels, folder)
        cells = [cell for cell in cells if not work.is_settled(cell)]
        if on == "joblib":
            run_on_joblib(work, cells, kept, resources)
        elif cells:
            run_on_slurm(work, cells, kept, resources, wait)
    return collect(folder)


def collect(
    *folders: "str | Path",  # grids; their rows are put one under another
    unfinished: bool = False,  # include runs that are not done yet
) -> pd.DataFrame:  # one row per run; empty, with all columns, if none is done
    "One row per finished run: its scores at the last epoch, label-free figures, cost, protocol, budget and versions."
    rows = [row for folder in folders for row in _rows(user_path(folder), unfinished)]
    return pd.DataFrame(rows, columns=COLUMNS)


def failures(
    folder: "str | Path",  # of a grid
) -> "dict[str, str]":  # the cell's path -> what went wrong
    "The cells that failed."
    folder = user_path(folder)
    found = {}
    for path in sorted(folder.glob("*/*/seed-*/failed.json")):
        try:
            error = str(read_object(path).get("error", "unknown"))
        except (ValueError, OSError) as damaged:
            error = str(damaged)
        found[path.parent.relative_to(folder).as_posix()] = error
    return found


def count_finished(
    cells: Sequence[Cell],  # of a grid
    folder: "str | Path",  # of the grid
) -> int:
    "How many of the cells are finished; one whose log is damaged is not."
    count = 0
    for cell in cells:
        with suppress(ValueError, OSError):  # `run_grid` names it
            count += finished(Path(folder, cell.folder))
    return count


def _describe_grid(images, budget: str) -> dict:
    "What all cells of a folder share, as plain values."
    shape = list(training_tensor(images).shape)
    protocol = dict(getattr(images, "protocol", None) or {"source": "array", "shape": shape})
    if protocol.get("encoder"):  # engine and places of files vary from machine to machine
        vary = ("engine", *PLACES)
        protocol["encoder"] = {part: value for part, value in protocol["encoder"].items() if part not in vary}
    return json.loads(json.dumps({"protocol": protocol, "budget": budget}, default=str))


def _open_grid(folder: Path, about: dict) -> None:
    "Write grid.json, or refuse a folder that holds results of other images or another budget."
    path = folder / "grid.json"
    if not path.exists():
        write_object(path, about, folder)
        return
    there, here = (_shared(known, path) for known in (read_object(path), about))
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


def _shared(about: dict, path: Path) -> dict:
    "What a grid.json says of its images and budget, in one dictionary."
    if not isinstance(about.get("protocol"), dict) or not isinstance(about.get("budget"), str):
        raise ValueError(f"{str(path)!r} is damaged (it lacks protocol or budget); restore it, or take a new folder")
    texts = {"skipped": sorted(unread(about["protocol"])), "notes": None}  # reasons may be worded otherwise elsewhere
    return {**about["protocol"], **texts, "budget": about["budget"]}


def _rows(folder: Path, unfinished: bool) -> "Iterator[dict]":
    "The rows of one grid."
    if not (folder / "grid.json").exists():
        raise FileNotFoundError(f"folder must hold a grid, that is, a grid.json, got {str(folder)!r}")
    about = read_object(folder / "grid.json")
    _shared(about, folder / "grid.json")
    shared = {"protocol": _protocol_in_words(about["protocol"]), "budget": about["budget"]}
    for path in sorted(folder.glob("*/*/seed-*")):
        try:
            if (path / "config.json").exists() and (unfinished or finished(path)):
                yield _row(path) | shared
        except (ValueError, OSError) as error:  # a damaged run costs its row, not the table
            log.warning("%s is left out: %s", path, error)


def _row(path: Path) -> dict:
    "The row of one run."
    about, start, last, seconds = read_about(path), None, None, 0.0
    for event in each_event(path):
        if isinstance(event, RunStarted):
            start = start or event
        elif isinstance(event, Evaluated):
            last = event
        elif isinstance(event, EpochDone):
            seconds += event.seconds
    row = {
        "method": about["method"],
        "setting": path.parent.name,
        "seed": about["config"].get("seed"),
        "epochs": last.epoch if last else 0,
        "seconds": round(seconds, 1),
    }
    if (path / "cost.json").exists():
        row |= _known_columns(read_object(path / "cost.json"))
    if last is not None:
        row |= (last.scores or {}) | _known_columns(last.health)
    if start is not None:
        row |= {"n_images": start.n_images} | _known_columns(start.versions)
    return row


def _known_columns(values: dict) -> dict:
    "Only what has a column in the table."
    return {name: value for name, value in values.items() if name in COLUMNS}


def _protocol_in_words(protocol: dict) -> str:
    "A protocol in one line; what was left out of the folder is in the log of each run."
    shown = {name: value for name, value in protocol.items() if name not in ("ignored", "notes")}
    shown |= {"skipped": len(unread(protocol)) or None, "source": Path(str(protocol.get("source", ""))).name}
    return one_line(", ".join(f"{name}={value}" for name, value in shown.items() if value not in (None, "", [], {})))
