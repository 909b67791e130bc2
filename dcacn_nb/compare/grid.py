"""A grid of methods, settings and seeds, each cell a run folder: interrupted and gone on with, shared by several processes, and read back as one tidy table."""

import dataclasses
import importlib.util
import itertools
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from dcacn_nb.baselines import find_method
from dcacn_nb.compare.tables import SCORES
from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import EpochDone, Evaluated, Event, RunFinished, RunStarted
from dcacn_nb.core.files import atomic_write
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import TrainConfig, preset
from dcacn_nb.method.step import Method
from dcacn_nb.method.train import train
from dcacn_nb.runs.folder import FolderInUse, read_about
from dcacn_nb.runs.log import read_events

log = logging.getLogger(__name__)
BUDGETS = ("epochs", "images", "seconds")
_UNFIT = '/\\:*?"<>|'  # in names of folders


@dataclass(frozen=True)
class Cell:
    "One run of a grid: a method with its options, a setting, a seed."

    method: Method  # as find_method gives it, or one of your own
    setting: str  # what the setting is called; "default" for none
    config: TrainConfig  # every setting, the method's own ones applied, seed and epochs included
    timed: bool = False  # whether the epochs come from a timing, which another day would give otherwise

    @property
    def folder(self) -> Path:
        "Where the run lies, from the grid's folder."
        return Path(self.method.name, self.setting, f"seed-{self.config.seed}")


def setting_name(
    changes: dict,  # settings and their values
) -> str:  # fit for a folder's name
    '`attention=False,n_local=0`; "default" for no changes.'
    return ",".join(f"{name}={value}" for name, value in changes.items()) or "default"


def make_cell(
    images,  # ImageSet or tensor: size, colour and orientation are looked at
    n_clusters: int,  # K
    method: "str | Method",  # a name, or a method of your own
    setting: dict,  # settings of the run and, as "NAME.option", options of the method
    seed: int,  # its seed
    *,
    label: str = "",  # what to call the setting; made from the changes if empty
    upright: "bool | None" = None,  # as in `preset`
    **base,  # settings of all cells
) -> Cell:  # with the epochs of the preset, or of `base`
    "The cell of a method, a setting and a seed."
    if set(label) & set(_UNFIT) or label.startswith("."):
        raise ValueError(
            f"label must be fit for a folder's name, got {label!r}; leave out {' '.join(_UNFIT)} and a leading dot"
        )
    mark = f"{method}."
    options = {
        name[len(mark) :]: value for name, value in setting.items() if isinstance(method, str) and name.startswith(mark)
    }
    changes = {name: value for name, value in setting.items() if "." not in name}
    unknown = [name for name in setting if "." in name and not name.startswith(mark)]
    if unknown:
        raise ValueError(
            f"setting {unknown[0]!r} is an option of another method than {getattr(method, 'name', method)!r}"
        )
    if isinstance(method, str):
        method = find_method(method, **options)
    config = method.settings(
        preset("default", images, n_clusters, upright=upright, **(base | changes | {"seed": seed}))
    )
    undone = [name for name in changes if getattr(config, name) != changes[name]]
    if undone:
        raise ValueError(
            f"setting {undone[0]}={changes[undone[0]]!r} is fixed by the method {method.name!r} at {getattr(config, undone[0])!r}"
        )
    return Cell(method, label or setting_name(setting), config)


def seconds_an_epoch(
    cell: Cell,  # what to time
    images,  # (N,C,H,W) uint8 tensor
) -> float:  # seconds of one epoch's steps, its evaluation not counted
    "Time a run of two epochs: of a method with phases, one of each of the first two."
    config = cell.method.settings(
        dataclasses.replace(cell.config, epochs=2, log_every=1, eval_every=2, snapshot_every=0)
    )
    done = [
        event
        for event in train(cell.method.network(config), images, config, method=cell.method)
        if isinstance(event, EpochDone)
    ]
    return sum(event.seconds for event in done) / len(done)


def under_budget(
    cell: Cell,  # its epochs are what changes
    kind: str,  # "epochs", "images" or "seconds"
    amount: float,  # epochs; passes an image; or seconds
    images,  # (N,C,H,W) uint8 tensor
) -> Cell:  # at least one epoch
    "The cell with as many epochs as the budget allows."
    check_in("budget", kind, BUDGETS)
    each = {
        "epochs": lambda: 1,
        "images": lambda: cell.method.passes(cell.config),
        "seconds": lambda: seconds_an_epoch(cell, images),
    }[kind]()
    return _with_epochs(dataclasses.replace(cell, timed=kind == "seconds"), max(1, round(amount / each)))


def _with_epochs(cell: Cell, epochs: int) -> Cell:
    "The cell with another number of epochs."
    return dataclasses.replace(cell, config=cell.method.settings(dataclasses.replace(cell.config, epochs=epochs)))


def make_grid(
    images,  # ImageSet, or a uint8 tensor (N,C,H,W)
    n_clusters: int,  # K
    methods: "Sequence[str | Method]" = ("dcacn",),  # names of method_names(), or methods of your own
    settings: "dict[str, dict] | Sequence[dict]" = (
        {},
    ),  # the changes of each setting, or label -> changes; for each method
    seeds: "Sequence[int]" = range(5),  # the same ones for all
    *,
    budget: str = "epochs",  # "epochs", "images" or "seconds"
    amount: "float | None" = None,  # of the budget; None: what DCACN's preset uses (not for seconds)
    upright: "bool | None" = None,  # as in `preset`
    **base,  # settings of all cells, e.g. width=8
) -> "list[Cell]":  # seed by seed, so that a stopped grid has whole seeds
    "The cells of methods x settings x seeds under one budget."
    check_in("budget", budget, BUDGETS)
    reference = preset("default", images, n_clusters, upright=upright, **base)
    if amount is None and budget == "seconds":
        raise ValueError("amount must be given for budget='seconds': the seconds of each run")
    if amount is None:
        amount = reference.epochs * (1 if budget == "epochs" else 2 + reference.n_local)
    named = settings if isinstance(settings, dict) else {setting_name(changes): changes for changes in settings}
    tensor, cells, epochs = getattr(images, "images", images), [], {}
    for seed, method, (label, changes) in itertools.product(seeds, methods, named.items()):
        cell = make_cell(images, n_clusters, method, changes, seed, label=label, upright=upright, **base)
        if cell.folder.parent not in epochs:  # the same for all seeds of a setting: one timing
            epochs[cell.folder.parent] = under_budget(cell, budget, amount, tensor).config.epochs
        cells.append(_with_epochs(dataclasses.replace(cell, timed=budget == "seconds"), epochs[cell.folder.parent]))
    return cells


FACTORS = {  # factor -> alternatives to the default, by label
    "multi-crop": {"no local crops": {"n_local": 0}, "4 local crops": {"n_local": 4}},
    "attention": {
        "no attention": {"attention": False},
        "channel only": {"attention": "channel"},
        "spatial only": {"attention": "spatial"},
    },
    "decoupling": {
        "instance coupled": {"decoupled_instance": False},
        "cluster coupled": {"decoupled_cluster": False},
        "both coupled": {"decoupled_instance": False, "decoupled_cluster": False},
    },
    "cluster axis": {"columns": {"cluster_axis": "cluster"}},
    "balance": {"no balance term": {"balance_weight": 0.0}, "balance x 2": {"balance_weight": 2.0}},
}
NONE_OF_THE_THREE = {"n_local": 0, "attention": False, "decoupled_instance": False, "decoupled_cluster": False}


def one_at_a_time(
    factors: "dict[str, dict[str, dict]]" = FACTORS,  # factor -> label -> changes
) -> "dict[str, dict]":  # label -> changes, the default first, all three ideas switched off last
    "The default, each alternative alone and, if all of them are among the factors, none of the paper's three ideas."
    none = (
        {"none of the three": NONE_OF_THE_THREE} if {"multi-crop", "attention", "decoupling"} <= factors.keys() else {}
    )
    return (
        {"default": {}} | {label: changes for options in factors.values() for label, changes in options.items()} | none
    )


def full_factorial(
    factors: "dict[str, dict[str, dict]]" = FACTORS,  # factor -> label -> changes
) -> "dict[str, dict]":  # label -> changes, the default first
    "Every combination of the alternatives of all factors, the default of each among them."
    settings = {}
    for choice in itertools.product(*([("", {}), *options.items()] for options in factors.values())):
        label = " + ".join(name for name, _ in choice if name) or "default"
        settings[label] = {name: value for _, changes in choice for name, value in changes.items()}
    return settings


class _Cost:
    "An observer that watches the process's resident memory."

    def __init__(self):
        self.process, self.peak = psutil.Process(), 0

    def __call__(self, event: Event) -> None:
        self.peak = max(self.peak, self.process.memory_info().rss)


def finished(
    folder: "str | Path",  # a run folder, or nothing yet
) -> bool:  # whether the run has come to its end by itself
    "Whether a cell is done."
    if not (Path(folder) / "events.jsonl").exists():
        return False
    events = read_events(folder, arrays=False)
    return bool(events) and isinstance(events[-1], RunFinished) and events[-1].reason == "completed"


def _about_grid(images, budget: str) -> dict:
    "What all cells of a folder share."
    protocol = getattr(images, "protocol", None) or {
        "source": "array",
        "shape": list(getattr(images, "images", images).shape),
    }
    return json.loads(json.dumps({"protocol": protocol, "budget": budget}, default=str))


def _open_grid(folder: Path, about: dict) -> None:
    "Write grid.json, or refuse a folder that holds results of other images or another budget."
    path = folder / "grid.json"
    if path.exists():
        before = json.loads(path.read_text())
        there, here = ({**known["protocol"], "budget": known["budget"]} for known in (before, about))
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
    else:
        atomic_write(path, json.dumps(about, indent=1).encode())


def run_grid(
    cells: "Sequence[Cell]",  # as make_grid gives them
    images,  # ImageSet, or a uint8 tensor (N,C,H,W): the same for all
    folder: "str | Path",  # of this grid; made if missing, gone on with if it is there
    *,
    labels: "np.ndarray | None" = None,  # to score the evaluations with, for nothing else
    budget: str = "",  # how the budget is called in the table, e.g. "30 epochs"
    observers: "Callable[[Cell], Sequence[Callable]]" = lambda cell: (),  # what watches each run
    retry_failed: bool = False,  # try again what failed before
    notebook: "str | Path | None" = None,  # a notebook with a parameter `run_dir`, run by papermill for each finished cell and kept in its folder
    report: bool = True,  # a report.html in each run's folder, too; its pictures take some seconds a run
) -> pd.DataFrame:  # what `collect(folder)` gives at the end
    "Run every cell that is neither finished nor held by another process; failures are written down, and the rest goes on."
    folder = Path(folder)
    if notebook is not None and not Path(notebook).is_file():
        raise FileNotFoundError(f"notebook must be a notebook's path, got {str(notebook)!r}, which is not there")
    if notebook is not None and importlib.util.find_spec("papermill") is None:
        raise ModuleNotFoundError("notebook needs papermill, which is not installed: pip install 'dcacn_nb[lab]'")
    folder.mkdir(parents=True, exist_ok=True)
    _open_grid(folder, _about_grid(images, budget))
    for cell in cells:
        where = folder / cell.folder
        cell = _as_begun(cell, where.parent / "epochs.json") if cell.timed else cell
        if not finished(where) and (retry_failed or not (where / "failed.json").exists()):
            _run_cell(cell, images, where, labels, observers(cell), report)
        if notebook is not None and finished(where) and not (where / "notebook.ipynb").exists():
            _make_page(notebook, where)
    return collect(folder)


def _as_begun(cell: Cell, path: Path) -> Cell:
    "The cell with the epochs that its setting began with: a timing is never quite the same again."
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(cell.config.epochs).encode())
    return _with_epochs(cell, json.loads(path.read_text()))


def _make_page(notebook: "str | Path", where: Path) -> None:
    "A notebook about one run, executed in a kernel of its own; one that fails is kept as far as it came, and told of."
    import papermill

    half = where / ".notebook.ipynb"
    try:
        papermill.execute_notebook(notebook, half, parameters={"run_dir": str(where.resolve())}, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        log.error("the notebook of %s failed: %s", where, error.evalue)
    half.replace(where / "notebook.ipynb")


def _run_cell(cell: Cell, images, where: Path, labels, observers, report: bool) -> None:
    "One cell, from nothing or from its last checkpoint to its end or its failure."
    cost, failure = _Cost(), where / "failed.json"
    try:
        run = fit(
            images,
            cell.config,
            labels=labels,
            run_dir=where,
            resume=True,
            observers=[*observers, cost],
            method=cell.method,
            report=report,
        )
    except FolderInUse:
        log.info("%s is being run by another process", cell.folder.as_posix())
        return
    except Exception as error:  # whatever it was: it is written down, and the other cells go on
        log.error("%s failed: %s", cell.folder.as_posix(), error)
        atomic_write(
            failure,
            json.dumps(
                {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}, indent=1
            ).encode(),
        )
        return
    failure.unlink(missing_ok=True)
    told = {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "memory_mib": round(cost.peak / 2**20),
        "passes": cell.method.passes(cell.config) * cell.config.epochs * len(run.images) // 1000,
    }
    atomic_write(where / "cost.json", json.dumps(told).encode())


def collect(
    *folders: "str | Path",  # grids; their rows are put one under another
    unfinished: bool = False,  # take runs that are not done yet as well
) -> pd.DataFrame:  # one row a run; empty, with all columns, if nothing is done
    "One row a finished run: method, setting, seed, scores of the last epoch, label-free figures, cost, protocol, budget, versions."
    rows = [row for folder in folders for row in _rows(Path(folder), unfinished)]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    "method",
    "setting",
    "seed",
    *SCORES,
    "view_information",
    "view_agreement",
    "balance_entropy",
    "assignment_entropy",
    "n_empty",
    "epochs",
    "passes",
    "seconds",
    "memory_mib",
    "parameters",
    "n_images",
    "protocol",
    "budget",
    "dcacn_nb",
    "torch",
    "python",
    "machine",
    "threads",
    "cuda",
]


def _rows(folder: Path, unfinished: bool) -> "Iterator[dict]":
    "The rows of one grid."
    if not (folder / "grid.json").exists():
        raise FileNotFoundError(f"folder must hold a grid, that is, a grid.json, got {str(folder)!r}")
    about = json.loads((folder / "grid.json").read_text())
    for path in sorted(folder.glob("*/*/seed-*")):
        if (path / "config.json").exists() and (unfinished or finished(path)):
            yield _row(path) | {"protocol": _in_words(about["protocol"]), "budget": about["budget"]}


def _row(path: Path) -> dict:
    "One run's row."
    about, events = read_about(path), read_events(path, arrays=False)
    start = next((e for e in events if isinstance(e, RunStarted)), None)
    last = next((e for e in reversed(events) if isinstance(e, Evaluated)), None)
    cost = json.loads((path / "cost.json").read_text()) if (path / "cost.json").exists() else {}
    row = {
        "method": about["method"],
        "setting": path.parent.name,
        "seed": about["config"]["seed"],
        "epochs": last.epoch if last else 0,
        "seconds": round(sum(e.seconds for e in events if isinstance(e, EpochDone)), 1),
    } | cost
    if last is not None:
        row |= (last.scores or {}) | {name: value for name, value in last.health.items() if name in COLUMNS}
    if start is not None:
        row |= {"n_images": start.n_images} | {name: value for name, value in start.versions.items() if name in COLUMNS}
    return row


def _in_words(protocol: dict) -> str:
    "A protocol in one line."
    return ", ".join(
        f"{name}={Path(str(value)).name if name == 'source' else value}"
        for name, value in protocol.items()
        if value not in (None, "", [], {})
    )


def failures(
    folder: "str | Path",  # of a grid
) -> "dict[str, str]":  # the cell's path -> what went wrong
    "The cells that failed."
    folder = Path(folder)
    return {
        p.parent.relative_to(folder).as_posix(): json.loads(p.read_text())["error"]
        for p in sorted(folder.glob("*/*/seed-*/failed.json"))
    }
