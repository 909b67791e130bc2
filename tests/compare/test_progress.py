"How far a grid is, from run folders that other machines write."

import io
import json
import time

import pytest

from dcacn_nb.compare import progress
from dcacn_nb.compare.progress import GridState, GridWatch, grid_progress, plan_cells
from dcacn_nb.core.events import EpochDone, RunFinished, RunStarted, StepDone
from dcacn_nb.core.locks import lock
from dcacn_nb.runs.log import RunLog, first_event, last_event, last_events, read_events


def run(folder, path, steps, of=100, end=None, seconds=2.0):
    "A run of `of` steps that has done `steps` of them, one in `seconds`."
    log, start = RunLog(folder / path), time.time() - steps * seconds
    log(RunStarted("dcacn", {}, {}, 10, of, 10, time=start))
    for step in range(1, steps + 1):
        log(StepDone(step, 1, {"total": 1.0}, 0.1, 1.0, time=start + step * seconds))
        if step % 10 == 0:
            log(EpochDone(step // 10, step, {"total": 1.0}, time=start + step * seconds))
    if end:
        log(RunFinished(end, steps, steps // 10))
    return folder / path


@pytest.fixture
def grid(tmp_path):
    "A grid of six cells, each in another state."
    (tmp_path / "grid.json").write_text("{}")
    names = ["finished", "running", "interrupted", "failed", "waiting", "damaged"]
    plan_cells(tmp_path, [f"dcacn/{name}/seed-0" for name in names])
    run(tmp_path, "dcacn/finished/seed-0", 100, end="completed")
    held = lock(run(tmp_path, "dcacn/running/seed-0", 25) / ".lock")
    run(tmp_path, "dcacn/interrupted/seed-0", 50, end="interrupted")
    (run(tmp_path, "dcacn/failed/seed-0", 10, end="failed") / "failed.json").write_text("{}")
    (run(tmp_path, "dcacn/damaged/seed-0", 3) / "events.jsonl").write_text("{}\n")
    yield tmp_path
    held.release()


def test_each_state_is_seen(grid):
    state = grid_progress(grid)
    assert [cell.path.split("/")[1] for cell in state.cells if cell.path.split("/")[1] == cell.state] == [
        *("finished", "running", "interrupted", "failed", "waiting")
    ]
    assert state.counts == {"finished": 1, "running": 1, "interrupted": 1, "failed": 2, "waiting": 1}
    assert [cell.share for cell in state.cells[:3]] == [1.0, 0.25, 0.5]
    # 2 seconds a step: three quarters of one run, half of one, and one whole; one runs at a time
    assert state.seconds_left == pytest.approx(200 * (0.75 + 0.5 + 1), rel=0.02)
    assert str(state).startswith("1 of 6 runs finished, 1 running, 1 interrupted, 2 failed; time left 07:")


def test_two_at_a_time_take_half_as_long_and_settings_have_their_own_speed(tmp_path):
    (tmp_path / "grid.json").write_text("{}")
    plan_cells(tmp_path, ["a/x/seed-0", "a/x/seed-1", "b/x/seed-0", "b/x/seed-1"])
    run(tmp_path, "a/x/seed-0", 100, end="completed", seconds=1)
    run(tmp_path, "b/x/seed-0", 100, end="completed", seconds=9)
    assert grid_progress(tmp_path).seconds_left == pytest.approx(100 + 900, rel=0.02)
    one, two = run(tmp_path, "a/x/seed-1", 50, seconds=1), run(tmp_path, "b/x/seed-1", 50, seconds=9)
    with lock(one / ".lock"), lock(two / ".lock"):
        assert grid_progress(tmp_path).seconds_left == pytest.approx((50 + 450) / 2, rel=0.02)


def cost(folder, path, **values):
    "What the process of a cell wrote down at its end."
    (folder / path / "cost.json").write_text(json.dumps({"reported": True} | values))


def test_a_run_takes_what_finished_ones_took_set_up_evaluations_and_report_included(tmp_path):
    "Its steps alone are 8 of the 33 seconds."
    (tmp_path / "grid.json").write_text("{}")
    plan_cells(tmp_path, [f"a/x/seed-{seed}" for seed in range(11)] + ["b/y/seed-0"])
    run(tmp_path, "a/x/seed-0", 100, end="completed", seconds=0.08)
    cost(tmp_path, "a/x/seed-0", training_seconds=18.0, other_seconds=15.0, resumed_share=0.0)
    assert grid_progress(tmp_path).seconds_left == pytest.approx(11 * 33)
    run(tmp_path, "a/x/seed-1", 50, end="failed", seconds=5)
    (tmp_path / "a/x/seed-1/failed.json").write_text("{}")
    one = run(tmp_path, "a/x/seed-2", 50, seconds=0.08)
    two = run(tmp_path, "b/y/seed-0", 50, seconds=1)  # at its own pace, with the others' report
    with lock(one / ".lock"), lock(two / ".lock"):
        left = 8 * 33 + (9 + 15) + (50 + 15)
        assert grid_progress(tmp_path).seconds_left == pytest.approx(left / 2, rel=0.02)


def test_a_pause_between_two_processes_does_not_count(tmp_path):
    "A day lies between the halves of two runs; the last process of the finished one trained for 60 seconds."
    (tmp_path / "grid.json").write_text("{}")
    for seed in (0, 1):
        log, day, start = RunLog(tmp_path / f"a/x/seed-{seed}"), 86_400, time.time() - 200_000
        log(RunStarted("dcacn", {}, {}, 10, 100, 10, time=start))
        for step in range(1, 76):
            log(StepDone(step, 1, {"total": 1.0}, 0.1, 1.0, time=start + step + (day if step > 50 else 0)))
        if seed == 0:
            assert grid_progress(tmp_path).seconds_left == pytest.approx(25, rel=0.02)
            log(RunFinished("completed", 100, 10))
            cost(tmp_path, "a/x/seed-0", training_seconds=60.0, other_seconds=5.0, resumed_share=0.5)
    state = grid_progress(tmp_path)
    assert state.cells[0].training == pytest.approx(60 + 50)
    assert state.seconds_left == pytest.approx(110 / 4 + 5)


def test_a_run_that_writes_its_report_or_is_tried_again_is_running(tmp_path):
    (tmp_path / "grid.json").write_text("{}")
    for seed in (0, 1):
        where = run(tmp_path, f"a/x/seed-{seed}", 100, end="completed", seconds=1)
    cost(tmp_path, "a/x/seed-0", training_seconds=100, other_seconds=20)
    cost(tmp_path, "a/x/seed-1", training_seconds=100, reported=False)
    failed = run(tmp_path, "a/x/seed-2", 50, seconds=1)
    (failed / "failed.json").write_text("{}")
    with lock(where / ".lock"), lock(failed / ".lock"):
        state = grid_progress(tmp_path)
        assert state.counts == {"finished": 1, "running": 2}
        assert state.seconds_left == pytest.approx((20 + 50 + 20) / 2)
    assert grid_progress(tmp_path).counts == {"finished": 2, "failed": 1}


@pytest.mark.parametrize(
    "text", ["[", "[]", '{"training_seconds": "x", "other_seconds": -1}', '{"training_seconds": NaN}']
)
def test_a_damaged_cost_is_an_unknown_one(tmp_path, text):
    (tmp_path / "grid.json").write_text("{}")
    plan_cells(tmp_path, ["a/x/seed-0", "a/x/seed-1"])
    (run(tmp_path, "a/x/seed-0", 100, end="completed", seconds=1) / "cost.json").write_text(text)
    assert grid_progress(tmp_path).seconds_left == pytest.approx(100, rel=0.02)


def test_a_grid_that_has_not_begun_has_no_time_left(tmp_path):
    (tmp_path / "grid.json").write_text("{}")
    plan_cells(tmp_path, ["a/x/seed-0"])
    state = grid_progress(tmp_path)
    assert state.seconds_left is None and str(state) == "0 of 1 runs finished"
    assert str(GridState([])) == "0 of 0 runs finished"


def test_a_plan_grows_and_is_checked(tmp_path):
    plan_cells(tmp_path, ["a"])
    plan_cells(tmp_path, ["b", "a"])
    assert json.loads((tmp_path / "cells.json").read_text()) == {"cells": ["a", "b"]}
    for text in ("[]", '{"cells": 3}', '{"cells": [1]}', "{"):
        (tmp_path / "cells.json").write_text(text)
        with pytest.raises(ValueError, match="cells"):
            plan_cells(tmp_path, ["a"])
    with pytest.raises(FileNotFoundError, match="grid.json"):
        grid_progress(tmp_path / "nowhere")


def test_a_table_for_notebooks(grid):
    "Names come from outside: they are escaped; each state has a sign and a word."
    (grid / "dcacn" / "<b>").mkdir()
    run(grid, "dcacn/<b>/seed-7", 3)
    text = grid_progress(grid)._repr_html_()
    assert "<b>" not in text and "dcacn/&lt;b&gt;" in text and "▶ 25%" in text and 'title="running"' in text


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_the_watch_shows_lines_or_a_bar(grid, kind):
    "Lines only when something has changed; what is damaged in the meantime does not end the grid."
    file = kind()
    with GridWatch(grid, file) as watch:
        for _ in range(3):
            watch.show()
        run(grid, "dcacn/finished/seed-1", 100, end="completed")
        watch.show()
        (grid / "cells.json").write_text("[")
        watch.show()
    text = file.getvalue()
    assert "2 of 7 runs finished" in text
    assert kind is Terminal or (len(text.splitlines()) == 2 and "time left" in text)


def test_in_a_notebook_one_table_is_kept_up_to_date(grid, monkeypatch):
    "Shown once, then updated; finished runs are not read again."
    shown, updates = [], []

    class Handle:
        def update(self, state):
            updates.append(state)

    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda state, display_id: shown.append(state) or Handle())
    with GridWatch(grid) as watch:
        watch.show()
        (grid / "dcacn/finished/seed-0/events.jsonl").write_text("damaged, and not looked at")
        run(grid, "dcacn/finished/seed-1", 100, end="completed")
        watch.show()
    assert len(shown) == 1 and shown[0].counts["finished"] == 1 and updates[-1].counts["finished"] == 2
    assert "✓" in updates[-1]._repr_html_()


@pytest.mark.parametrize("size", [1, 30, 2**16])
def test_the_end_of_a_log_is_that_of_the_whole(tmp_path, size):
    where = run(tmp_path, "x", 25, end="stopped")
    with open(where / "events.jsonl", "ab") as file:
        file.write(b'{"event": "St')  # torn off by a kill
    events = read_events(where)
    last = last_events(where, size)
    assert last and events[-len(last) :] == last and (size < 2**16 or events == last)
    assert last_event(where) == events[-1] and first_event(where) == events[0]


def test_the_end_of_a_damaged_log_names_the_line(tmp_path):
    where = run(tmp_path, "x", 3)
    with open(where / "events.jsonl", "ab") as file:
        file.write(b"{}\n")
    with pytest.raises(ValueError, match="line 5 is damaged"):
        last_event(where)
    (where / "events.jsonl").write_text("")
    assert last_event(where) is None and first_event(where) is None
    with pytest.raises(FileNotFoundError, match="no run log at"):
        last_event(tmp_path / "nowhere")
