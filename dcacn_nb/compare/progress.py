"""How far a grid is, and how long it will take, read from its run folders: on any machine that sees them."""

import contextlib
import dataclasses
import html
import math
import os
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from tqdm import tqdm

from dcacn_nb.compare.work import read_object, seconds_in, write_object
from dcacn_nb.core.events import RunFinished, RunStarted, StepDone
from dcacn_nb.core.files import user_path
from dcacn_nb.core.locks import is_held
from dcacn_nb.core.text import logger, printable
from dcacn_nb.runs.log import first_event, last_events
from dcacn_nb.runs.progress import seconds_per_step

log = logger(__name__)
CELLS = "cells.json"
STATES = ("finished", "running", "interrupted", "failed", "waiting")
_EVERY = 2.0  # seconds between two looks at the folders


@dataclass(frozen=True)
class CellState:
    "How far one cell is."

    path: str  # of its run within the grid
    state: str  # one of STATES
    share: float = 0.0  # of its steps that are done
    training: float = float("nan")  # seconds of all its steps and evaluations, if they are known
    other: float = float("nan")  # seconds of its set-up and its report, known of a finished run

    @property
    def setting(self) -> str:
        "Method and setting: the path without the seed."
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class GridState:
    "How far a grid is. Shows itself as a line of text, and in a notebook as a table."

    cells: "list[CellState]"

    @property
    def counts(self) -> "dict[str, int]":
        "State -> number of cells."
        found = Counter(cell.state for cell in self.cells)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def seconds_left(self) -> "float | None":
        "If each run takes as long as finished ones of its setting, and as many as now run at a time; None: unknown."
        finished = [cell for cell in self.cells if cell.state == "finished"]
        begun = [cell for cell in self.cells if cell.state in ("running", "interrupted")]
        training = _medians(begun, "training") | _medians(finished, "training")
        other = _medians(finished, "other")
        if not training:
            return None
        usual, rest = statistics.median(training.values()), statistics.median(other.values() or [0.0])
        left = sum(
            training.get(cell.setting, usual) * (1 - cell.share) + other.get(cell.setting, rest)
            for cell in self.cells
            if cell.state not in ("finished", "failed")
        )
        return left / max(1, self.counts.get("running", 0))

    def __str__(self) -> str:
        counts = self.counts
        parts = [f"{counts.get('finished', 0)} of {len(self.cells)} runs finished"]
        parts += [f"{count} {state}" for state, count in counts.items() if state not in ("finished", "waiting")]
        left = self.seconds_left
        return ", ".join(parts) + (f"; time left {tqdm.format_interval(left)}" if left else "")

    def _repr_html_(self) -> str:
        rows: dict[str, list[CellState]] = {}
        for cell in self.cells:
            rows.setdefault(cell.setting, []).append(cell)
        lines = "".join(_row(name, cells) for name, cells in rows.items())
        done = sum(cell.share for cell in self.cells) / max(1, len(self.cells))
        bar = f'<progress value="{done:.3f}" max="1" aria-label="share of all steps that are done"></progress>'
        head = "<tr><th>setting</th><th>seeds</th></tr>"
        return f"<div>{bar} {html.escape(str(self))}<table>{head}{lines}</table></div>"


def _medians(cells: "list[CellState]", part: str) -> "dict[str, float]":
    "Setting -> the median of what its runs took for one part, as far as it is known."
    known: dict[str, list[float]] = {}
    for cell in cells:
        if not math.isnan(seconds := getattr(cell, part)):
            known.setdefault(cell.setting, []).append(seconds)
    return {setting: statistics.median(values) for setting, values in known.items()}


_SIGNS = {"finished": "✓", "running": "▶", "interrupted": "‖", "failed": "✗", "waiting": "·"}


def _row(name: str, cells: "list[CellState]") -> str:
    "One setting: a sign and, while it runs, a percentage for each seed."
    shown = []
    for cell in cells:
        seed = printable(cell.path.rpartition("seed-")[2])
        more = f" {cell.share:.0%}" if cell.state in ("running", "interrupted") else ""
        shown.append(f'<span title="{html.escape(cell.state)}">{html.escape(seed)} {_SIGNS[cell.state]}{more}</span>')
    return f"<tr><td>{html.escape(printable(name))}</td><td>{' &nbsp; '.join(shown)}</td></tr>"


def _planned(folder: Path) -> "list[str]":
    "The cells that were written down; each is the path of a folder in the grid."
    if not os.path.lexists(folder / CELLS):
        return []
    known = read_object(folder / CELLS).get("cells")
    if not isinstance(known, list) or not all(isinstance(path, str) and _is_inside(path) for path in known):
        raise ValueError(f"{str(folder / CELLS)!r} is damaged (cells must be a list of paths in the grid); remove it")
    return known


def _is_inside(path: str) -> bool:
    "Whether a path leads to a place below the folder that it is relative to."
    return bool(path) and "\0" not in path and not PurePosixPath(path).is_absolute() and ".." not in path.split("/")


def plan_cells(folder: Path, paths: "list[str]") -> None:
    "Write down which cells a grid has; those of earlier calls stay."
    known = _planned(folder)
    if set(paths) - set(known):
        write_object(folder / CELLS, {"cells": [*known, *(path for path in paths if path not in known)]}, folder)


def grid_progress(
    folder: "str | Path",  # of a grid
    finished: "dict[str, CellState] | None" = None,  # of an earlier look, not read again; those found now are added
) -> GridState:
    "How far a grid is."
    known = {} if finished is None else finished
    folder = user_path(folder)
    if not (folder / "grid.json").exists():
        raise FileNotFoundError(f"folder must hold a grid, that is, a grid.json, got {str(folder)!r}")
    there = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*/seed-*")) if path.is_dir()]
    cells = [known.get(path) or _state(folder, path) for path in dict.fromkeys([*_planned(folder), *there])]
    known.update({cell.path: cell for cell in cells if cell.state == "finished"})
    return GridState([_with_seconds(folder, cell) for cell in cells])


def _state(folder: Path, path: str) -> CellState:
    "The state of one cell; what is damaged counts as failed."
    where = folder / path
    held = bool(is_held(where / ".lock"))  # before the log: a run that ends in between must not seem interrupted
    begun = "running" if held else "failed" if (where / "failed.json").exists() else "waiting"
    try:
        first, last = first_event(where), last_events(where)
    except FileNotFoundError:
        return CellState(path, begun)
    except (ValueError, OSError):
        return CellState(path, "failed")
    if not isinstance(first, RunStarted) or not last:
        return CellState(path, begun)
    pace = seconds_per_step([event for event in last if isinstance(event, StepDone)])
    training = math.nan if pace is None else first.n_steps * pace
    share = getattr(last[-1], "step", 0) / max(1, first.n_steps)
    if held:  # also one that is trained, and writes its report, or one that failed and is run again
        return CellState(path, "running", share, training)
    if isinstance(last[-1], RunFinished) and last[-1].reason == "completed":
        return CellState(path, "finished", 1.0, last[-1].seconds if pace is None else training)
    if begun == "failed":
        return CellState(path, "failed", share)
    return CellState(path, "interrupted", share, training)


def _with_seconds(folder: Path, cell: CellState) -> CellState:
    "A finished cell with the seconds that its process has written down; an earlier version wrote none."
    if cell.state != "finished":
        return cell
    cost = {}
    with contextlib.suppress(ValueError, OSError):  # `collect` names a damaged file
        cost = read_object(folder / cell.path / "cost.json")
    trained, other = seconds_in(cost, "training_seconds"), seconds_in(cost, "other_seconds")
    if not math.isnan(trained):  # the steps of an earlier process, before a pause, at the pace of the log
        before = cost.get("resumed_share")
        trained += cell.training * before if isinstance(before, float) and 0 < before <= 1 else 0.0
    return dataclasses.replace(cell, training=cell.training if math.isnan(trained) else trained, other=other)


class GridWatch:
    "Shows how far a grid is while a `with` block runs: a bar or lines in a terminal, a table in a notebook."

    def __init__(self, folder: Path, file: "TextIO | None" = None):
        self.folder, self.file = folder, file or sys.stderr
        self._end = threading.Event()
        self._shown: Any = None  # the bar of a terminal, or the display of a notebook
        self._line, self._finished = "", dict[str, CellState]()
        self._thread = threading.Thread(target=self._watch, name="dcacn-grid", daemon=True)

    def __enter__(self) -> "GridWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
        self.show()
        if isinstance(self._shown, tqdm):
            self._shown.close()

    def _watch(self) -> None:
        "Look now and then: less often where a look takes long, as in a thousand folders on a network."
        took = 0.0
        while not self._end.wait(max(_EVERY, 10 * took)):
            began = time.monotonic()
            self.show()
            took = time.monotonic() - began

    def show(self) -> None:
        "Look, and show what there is; nothing that goes wrong here may end the grid."
        try:
            state = grid_progress(self.folder, self._finished)
            if _in_notebook():
                self._show_table(state)
            elif self.file.isatty():
                self._show_bar(state)
            else:
                self._show_line(state)
        except (ValueError, OSError) as error:
            log.debug("the grid's progress cannot be shown: %s", error)

    def _show_table(self, state: GridState) -> None:
        from IPython.display import display

        if self._shown is None:
            self._shown = display(state, display_id=True)
        else:
            self._shown.update(state)

    def _show_bar(self, state: GridState) -> None:
        if self._shown is None:
            layout = "{percentage:3.0f}%|{bar}| {desc}"
            self._shown = tqdm(total=1.0, file=self.file, dynamic_ncols=True, bar_format=layout)
        self._shown.n = sum(cell.share for cell in state.cells) / max(1, len(state.cells))
        self._shown.set_description_str(printable(str(state)))

    def _show_line(self, state: GridState) -> None:
        "A line when the states have changed, without the times that always do."
        line = str(state).partition(";")[0]
        if line != self._line:
            self._line = line
            self.file.write(f"{printable(str(state))}\n")
            self.file.flush()


def _in_notebook() -> bool:
    "Whether this is the kernel of a notebook."
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")
