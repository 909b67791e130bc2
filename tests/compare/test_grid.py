"A grid at work: failures are recorded, interrupts are resumed, finished and held cells are left alone."

import dataclasses
import json
import shutil
import time
from itertools import product
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from dcacn_nb.compare.cells import make_cell, make_grid
from dcacn_nb.compare.grid import (
    COLUMNS,
    _describe_grid,
    _open_grid,
    _protocol_in_words,
    collect,
    count_finished,
    failures,
    finished,
    run_grid,
)
from dcacn_nb.compare.progress import grid_progress, plan_cells
from dcacn_nb.core.events import Evaluated, StepDone
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset
from dcacn_nb.method.step import TrainState
from dcacn_nb.methods import find_method
from dcacn_nb.runs.folder import RunFolder, describe_run
from dcacn_nb.runs.log import read_events

FEW = dict(epochs=2, width=2, batch_size=60, lr=0.01, snapshot_every=0, snapshot_size=60, eval_every=1)
FEW |= dict(device="cpu", n_local=1, projection_dim=4)
WILD = {"lr": 1e30, "warmup_epochs": 0.0, "optimizer": "adam"}  # diverges at once
SAME = ["method", "seed", "acc", "nmi", "ari", "view_information"]
METHODS = ["dcacn", "cc", "kmeans"]


@pytest.fixture(scope="module")
def few_digits():
    return load_images("digits", limit=120)


@pytest.fixture(scope="module")
def cells(few_digits):
    "Three methods and two seeds, and a setting that cannot work."
    good = make_grid(few_digits, 10, METHODS, seeds=[0, 1], **FEW)
    return good + make_grid(few_digits, 10, ["dcacn"], {"wild": WILD}, [0], **FEW)


def run(cells, images, folder, **options):
    "A grid without reports."
    options = {"labels": images.labels, "budget": "2 epochs", "report": False} | options
    return run_grid(cells, images, folder, **options)


@pytest.fixture(scope="module")
def grid(few_digits, cells, tmp_path_factory):
    "The grid, run once: its folder and its table."
    folder = tmp_path_factory.mktemp("grids") / "grid"
    return folder, run(cells, few_digits, folder)


def test_a_failure_is_recorded_and_the_rest_runs(grid):
    folder, table = grid
    assert len(table) == 6 and list(failures(folder)) == ["dcacn/wild/seed-0"]
    assert failures(folder)["dcacn/wild/seed-0"].startswith("TrainingDiverged: ")
    assert list(table.columns) == COLUMNS and set(table.budget) == {"2 epochs"}
    assert not list(folder.glob("**/report.html"))


def test_rows_are_those_of_runs_made_by_hand(grid, few_digits):
    "Scores by scikit-learn from the assignments. The wrong variant, the best epoch by labels, would have flattered."
    _, table = grid
    events = []
    for method, seed in product(METHODS, [0, 1]):
        config = dataclasses.replace(preset("default", few_digits, 10, **FEW), seed=seed)
        options = dict(labels=few_digits.labels, observers=[events.append], method=find_method(method))
        by_hand = fit(few_digits, config, **options)
        row = table[(table.method == method) & (table.seed == seed)].iloc[0]
        expected = [
            score(few_digits.labels, by_hand.assignments)
            for score in (normalized_mutual_info_score, adjusted_rand_score)
        ]
        np.testing.assert_allclose([row.nmi, row.ari], expected, rtol=1e-9)
        assert row.parameters == sum(p.numel() for p in by_hand.model.parameters())
        assert row.view_information == by_hand.health["view_information"]
    flattering = max(event.scores["nmi"] for event in events if isinstance(event, Evaluated) and event.epoch)
    assert flattering >= table.nmi.max()


def test_an_interrupted_grid_is_resumed(grid, cells, few_digits, tmp_path):
    "The second cell is interrupted at its third step; the second call does what is missing, and nothing twice."
    _, table = grid
    short = [dataclasses.replace(c, config=dataclasses.replace(c.config, log_every=1)) for c in cells[:3]]

    def observers(cell):
        def interrupt(event):
            if isinstance(event, StepDone) and event.step >= 3:
                raise KeyboardInterrupt(f"at step {event.step}")

        return [interrupt] if cell.folder.as_posix() == "cc/default/seed-0" else []

    with pytest.raises(KeyboardInterrupt, match="at step 3"):
        run(short, few_digits, tmp_path, observers=observers)
    first, second = (tmp_path / cell.folder for cell in short[:2])
    assert finished(first) and not finished(second) and len(collect(tmp_path)) == 1
    assert list(collect(tmp_path, unfinished=True).method) == ["cc", "dcacn"]
    modified = (first / "events.jsonl").stat().st_mtime_ns
    again = run(short, few_digits, tmp_path)
    assert (first / "events.jsonl").stat().st_mtime_ns == modified, "a finished cell must not be touched"
    pd.testing.assert_frame_equal(again[SAME], table[table.seed == 0][SAME].reset_index(drop=True))


def test_the_time_left_is_that_of_whole_cells(cells, few_digits, tmp_path, monkeypatch):
    "The report takes a second. The first call is interrupted half way, and what it did counts."
    config = dataclasses.replace(cells[0].config, log_every=1, checkpoint_seconds=0.001)
    one = dataclasses.replace(cells[0], config=config)

    def interrupt(event):
        if isinstance(event, StepDone) and event.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("dcacn_nb.fitting.write_report", lambda folder: time.sleep(1))
    with pytest.raises(KeyboardInterrupt):
        run([one], few_digits, tmp_path, observers=lambda cell: [interrupt])
    began = time.monotonic()
    run([one], few_digits, tmp_path, report=True)
    wall = time.monotonic() - began
    plan_cells(tmp_path, ["dcacn/default/seed-1"])
    cost = json.loads((tmp_path / one.folder / "cost.json").read_text())
    assert cost["other_seconds"] >= 1 and 0 < cost["resumed_share"] < 1
    assert cost["training_seconds"] + cost["other_seconds"] <= wall
    state = grid_progress(tmp_path)
    assert state.cells[0].training > cost["training_seconds"]
    assert state.seconds_left == state.cells[0].training + cost["other_seconds"]


def test_failed_cells_are_tried_again_only_if_asked(cells, few_digits, tmp_path):
    wild = [cell for cell in cells if cell.setting == "wild"]
    started = []
    for retry in (False, False, True):
        run(wild, few_digits, tmp_path, retry_failed=retry, observers=lambda cell: started.append(cell) or [])
    assert len(started) == 2, "the first call, and the one that asks for it"


def test_a_timed_grid_keeps_its_first_timing(few_digits, tmp_path):
    "The second call timed three epochs; its seed gets the one epoch of the first. Reports are made where asked for."
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", reports.append)
        for seed, epochs in ((0, 1), (1, 3)):
            cell = make_cell(few_digits, 10, "cc", {}, seed, **FEW | {"epochs": epochs})
            timed = [dataclasses.replace(cell, timed=True)]
            table = run(timed, few_digits, tmp_path, budget="4 seconds", report=seed == 1)
    assert table.epochs.tolist() == [1, 1]
    assert [path.name for path in reports] == ["seed-1"]


def test_held_cells_are_left_alone(cells, few_digits, tmp_path):
    "The lock is taken by hand here; another test does it with two real processes."
    cell = cells[0]
    state = TrainState(cell.method.network(cell.config), cell.config)
    about = describe_run(cell.method, cell.config, few_digits.images)
    held = RunFolder(tmp_path / cell.folder, state, about, few_digits.protocol)
    assert list(run(cells[:2], few_digits, tmp_path).method) == ["cc"]
    held.close()
    assert sorted(run(cells[:2], few_digits, tmp_path).method) == ["cc", "dcacn"]


def page(path, *cells):
    "A notebook with a parameter `run_dir`."
    shell = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    made = [nbformat.v4.new_code_cell("run_dir = ''", metadata={"tags": ["parameters"]})]
    nb = nbformat.v4.new_notebook(metadata=shell, cells=[*made, *map(nbformat.v4.new_code_cell, cells)])
    nbformat.write(nb, path)
    return path


@pytest.mark.slow
def test_a_page_for_each_cell(cells, few_digits, tmp_path, caplog):
    "A notebook about a run, executed for each finished cell, later too; one that fails is kept up to there."
    one = cells[1:2]
    where = tmp_path / "grid" / one[0].folder
    run(one, few_digits, tmp_path / "grid")
    count = "from dcacn_nb.runs.log import read_events\nlen(read_events(run_dir, arrays=False))"
    run(one, few_digits, tmp_path / "grid", notebook=page(tmp_path / "good.ipynb", count))
    made = nbformat.read(where / "notebook.ipynb", as_version=4)
    assert made.cells[-1].outputs[0].data["text/plain"] == str(len(read_events(where)))
    (where / "notebook.ipynb").unlink()
    run(one, few_digits, tmp_path / "grid", notebook=page(tmp_path / "bad.ipynb", "1 / 0"))
    assert "division by zero" in caplog.text and (where / "notebook.ipynb").exists()
    assert not list(where.glob(".*.ipynb"))


def test_other_images_or_budgets_are_refused(grid, cells, few_digits):
    folder, _ = grid
    with pytest.raises(ValueError, match="holds another grid; .*\n  budget: '2 epochs' there, '60 epochs' now"):
        run(cells, few_digits, folder, budget="60 epochs")
    with pytest.raises(ValueError, match="holds another grid; .*\n  source: 'digits' there, 'array' now"):
        run_grid(cells, few_digits.images[:60], folder, budget="2 epochs")
    with pytest.raises(FileNotFoundError, match="folder must hold a grid, that is, a grid.json"):
        collect(folder.parent)
    with pytest.raises(FileNotFoundError, match="notebook must be the path of a notebook, got 'none.ipynb'"):
        run(cells, few_digits, folder, notebook="none.ipynb")


def test_reasons_in_other_words_are_the_same_grid(tmp_path):
    images = load_images("digits", limit=8)
    for reason, note in (("torn", "3 pages not read"), ("broken", "3 pages or frames not read")):
        images.protocol |= {"skipped": {"a.png": reason}, "notes": [note]}
        _open_grid(tmp_path, _describe_grid(images, "2 epochs"))
    images.protocol["skipped"] = {"b.png": "torn"}
    with pytest.raises(ValueError, match=r"skipped: \['a.png'\] there, \['b.png'\] now"):
        _open_grid(tmp_path, _describe_grid(images, "2 epochs"))


def test_tables_name_the_images_in_a_line_that_can_be_written():
    protocol = {"source": "/p/f\udcfc\nr", "count": 3, "skipped": {"a.png": "torn"}, "seed": 0, "limit": None}
    protocol |= {"ignored": {".txt": 2}, "notes": ["2 files left out"]}
    assert _protocol_in_words(protocol) == r"source=f\udcfc\nr, count=3, skipped=1, seed=0"


# --- what kills, damage and strangers leave -----------------------------------------------------------------------
@pytest.fixture
def copied(grid, tmp_path):
    "A copy of the finished grid."
    return Path(shutil.copytree(grid[0], tmp_path / "grid"))


def test_a_cell_that_was_killed_in_its_report_gets_its_cost_and_its_report(cells, few_digits, tmp_path):
    class Killed(BaseException):
        pass

    def kill(folder):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", kill)
        with pytest.raises(Killed):
            run(cells[:1], few_digits, tmp_path, report=True)
    where = tmp_path / cells[0].folder
    assert finished(where) and not (where / "report.html").exists()
    cost = json.loads((where / "cost.json").read_text())
    assert cost["memory_mib"] > 50 and cost["parameters"] > 1000 and not cost["reported"]
    assert cost.pop("training_seconds") > 0 and cost.pop("resumed_share") == 0
    for expected in (cost | {"reported": True}, cost | {"memory_mib": None, "reported": True}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dcacn_nb.fitting.write_report", lambda folder: (folder / "report.html").write_text("page"))
            run(cells[:1], few_digits, tmp_path, report=True)
        found = json.loads((where / "cost.json").read_text())
        assert found.pop("other_seconds") > 0 and found.items() >= expected.items()
        assert (where / "report.html").read_text() == "page" and len(collect(tmp_path)) == 1
        (where / "cost.json").unlink()  # as an earlier version left it


DAMAGE = {
    "events.jsonl": b'{"event": "StepDone"}\n',
    "config.json": b"[" * 10**5,
    "cost.json": b"[]",
    "failed.json": b"{",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_cell_costs_itself_and_is_named(cells, few_digits, copied, name, caplog):
    bad = cells[0].folder if name != "failed.json" else Path("dcacn/wild/seed-0")
    (copied / bad / name).write_bytes(DAMAGE[name])
    table = run(cells, few_digits, copied, retry_failed=name == "failed.json")
    assert len(table) == (6 if name == "failed.json" else 5)
    assert name == "failed.json" or f"{bad} is left out" in caplog.text
    assert count_finished(cells, copied) >= 5 and all(isinstance(text, str) for text in failures(copied).values())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"protocol": 3, "budget": "x"}', b"[" * 10**5, b"\xff"])
def test_a_damaged_grid_is_named(cells, few_digits, copied, data):
    (copied / "grid.json").write_bytes(data)
    for call in (lambda: run(cells, few_digits, copied), lambda: collect(copied)):
        with pytest.raises(ValueError, match=r"grid\.json' is damaged"):
            call()


@pytest.mark.parametrize(
    "cells_json", ["", "{}", "[]", '{"cells": 5}', '{"cells": null}', '{"cells": [3]}', '{"cells": ["../../x"]}']
)
def test_a_damaged_list_of_cells_is_named(cells, few_digits, copied, cells_json):
    (copied / "cells.json").write_text(cells_json)
    for call in (lambda: run(cells, few_digits, copied), lambda: grid_progress(copied)):
        with pytest.raises(ValueError, match=r"cells\.json' is damaged"):
            call()


def test_a_cell_that_is_a_link_to_elsewhere_is_left_alone(cells, few_digits, copied, tmp_path, caplog):
    where = copied / cells[0].folder
    shutil.move(where, tmp_path / "away")
    where.symlink_to(tmp_path / "away")
    (tmp_path / "away" / "cost.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "away").rglob("*")}
    run(cells, few_digits, copied)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "away").rglob("*")} == before
    assert "leads out of" in caplog.text
