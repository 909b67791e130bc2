"The dashboard without a browser: its parts see what they see alone; pause, failures, figures and refusals."

import time

import pytest
import traitlets

from dcacn_nb.core.events import RunFinished
from dcacn_nb.core.locks import lock
from dcacn_nb.fitting import fit
from dcacn_nb.widgets import AttentionViewer, ClusterHealth, Curves, Dashboard
from dcacn_nb.widgets.dashboard import PARTS


def until(condition, seconds=30):
    "Wait for something that another thread does."
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.fixture(scope="module")
def dashboard(run):
    "The dashboard of a finished run of this kernel."
    board = Dashboard(run, method="pca")
    assert board.wait()
    yield board
    board.close()


def test_an_empty_dashboard_waits_in_both_languages():
    "Its buttons need a run of this kernel."
    english, chinese = Dashboard(), Dashboard(lang="zh")
    assert english.state["status"] == "waiting" and not english.state["controls"]
    assert (english.summary, chinese.summary) == ("Waiting for the run to begin.", "等待训练开始。")
    english.close()
    chinese.close()


def test_every_part_has_a_tab_of_its_name():
    words = Dashboard().words
    assert set(PARTS) == {key.removeprefix("tab_") for key in words if key.startswith("tab_")}
    assert set(PARTS) == set(Dashboard().parts)


@pytest.mark.parametrize("name, part", [("curves", Curves), ("health", ClusterHealth), ("attention", AttentionViewer)])
def test_a_part_shows_what_it_shows_alone(dashboard, run, name, part):
    "The same folder, followed by a widget alone."
    alone = part.attach(run.folder)
    assert alone.wait() and alone.summary == dashboard.children[name].summary != part().summary
    alone.close()


def test_the_state_of_a_finished_run(dashboard, run):
    state = dashboard.state
    assert (state["status"], state["done"], state["epoch"], state["epochs"]) == ("completed", run.state.step, 3, 3)
    assert state["done"] == state["planned"] and state["controls"]


def test_a_run_that_is_ready_is_started_by_the_button(digits, short_config):
    "Then paused, which emits no event, and stopped while it is paused."
    run = fit(digits, short_config, start=False, report=False)
    board = Dashboard(run, method="pca")
    assert board.state["status"] == "ready"
    board.on_message({"kind": "start"}, [])
    assert until(lambda: board.state["status"] == "running")
    board.on_message({"kind": "pause"}, [])
    assert board.state["status"] in ("pausing", "paused")
    assert until(lambda: board.state["status"] == "paused") and run.status == "paused"
    steps = run.state.step
    board.on_message({"kind": "stop"}, [])
    assert until(lambda: board.state["status"] == "stopped") and run.state.step == steps
    board.close()


def test_a_part_that_fails_is_disabled_and_the_others_go_on(dashboard, monkeypatch, caplog):
    board = Dashboard()

    def fail(event):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(board.children["health"], "update", fail)
    for event in dashboard.history.events():
        board(event)
    assert list(board.broken) == ["health"] and "on purpose" in board.children["health"].summary
    assert board.children["curves"].summary == dashboard.children["curves"].summary
    assert "the part 'health' of the dashboard failed" in caplog.text
    board.close()


def test_a_damaged_log_is_reported(run, tmp_path, caplog):
    "The third line is damaged; the dashboard says so, also if the follower fails before the dashboard knows it."
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    lines = (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (damaged / "events.jsonl").write_text("".join([*lines[:2], "{no json\n", *lines[3:]]), encoding="utf-8")
    board = Dashboard.attach(damaged, method="pca")
    assert not board.wait(10) and "line 3" in board.state["note"]
    board.close()
    early = Dashboard()
    early.follow_failed(ValueError("line 3"))
    assert "line 3" in early.state["note"]
    early.close()


@pytest.mark.parametrize("kind, head", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_picture_of_a_tab_is_saved_into_the_run_folder(run_copy, kind, head):
    board = Dashboard.attach(run_copy, method="pca")
    assert board.wait()
    file = board.save_part("curves", kind)
    assert file == run_copy / "figures" / f"curves-epoch3.{kind}" and file.read_bytes().startswith(head)
    board.close()


def test_pictures_are_saved_nowhere_else(run_copy, tmp_path):
    "Neither through a link, nor in the place of a folder that has been moved."
    board = Dashboard.attach(run_copy, method="pca")
    assert board.wait()
    (tmp_path / "away").mkdir()
    (run_copy / "figures").symlink_to(tmp_path / "away")
    with pytest.raises(OSError, match="leads out of"):
        board.save_part("curves")
    (run_copy / "figures").unlink()
    moved = run_copy.rename(tmp_path / "moved")
    with pytest.raises(OSError):
        board.save_part("curves")
    assert not run_copy.exists() and not list((tmp_path / "away").iterdir())
    moved.rename(run_copy)
    board.close()


def test_what_stays_is_a_picture_of_every_tab(dashboard):
    html = dashboard.lasting_html()
    assert html.count("<h4>") == html.count("<img") == len(PARTS)
    assert all(f"<h4>{dashboard.words[f'tab_{name}']}</h4>" in html for name in PARTS)


def test_an_unopened_dashboard_costs_training_little(dashboard):
    "Processor time of one report of steps; the aim is 1 ms."
    board = Dashboard()
    for event in dashboard.history.events():
        if not isinstance(event, RunFinished):
            board(event)
    step, best = dashboard.history.steps.last, 1.0
    for _ in range(5):
        begin = time.thread_time()
        for _ in range(50):
            board(step)
        best = min(best, (time.thread_time() - begin) / 50)
    assert best < 5e-3
    board.close()


def test_bad_arguments(dashboard):
    with pytest.raises(ValueError, match="lang must be one of"):
        Dashboard(lang="fr")
    with pytest.raises(ValueError, match="part must be one of.*did you mean 'curves'"):
        dashboard.save_part("curve")
    with pytest.raises(ValueError, match="kind must be one of"):
        dashboard.save_part("curves", "gif")
    with pytest.raises(traitlets.TraitError, match="tab"):
        Dashboard(tab="loss")


def cut_short(run_copy):
    "The folder of a run that was killed: without its last event, its lock free."
    log = run_copy / "events.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    assert "RunFinished" in lines[-1]
    log.write_text("".join(lines[:-1]), encoding="utf-8")
    (run_copy / ".lock.1").write_text('{"released": true}')
    return run_copy


def test_a_killed_run_is_not_shown_as_training(run_copy):
    "No time left, no buttons; what holds, and how to go on, is said in the page and in the picture that stays."
    board = Dashboard.attach(cut_short(run_copy), method="pca")
    assert until(lambda: board.state["status"] == "lost", 5)
    assert not board.state["controls"] and board.state["note"] == ""
    assert board.notice.startswith("No process holds this run") and f"dcacn resume {run_copy}" in board.notice
    assert board.summary.startswith("No longer running at epoch 3.") and board.notice in board.summary
    board.lang = "zh"
    assert board.summary.startswith("已不在运行")
    board.close()


def test_a_run_that_dies_while_it_is_watched(run_copy):
    "Held at first: training, elsewhere. Within five seconds of its end it is lost; resumed, it is training again."
    cut_short(run_copy)
    with lock(run_copy / ".lock"):
        board = Dashboard.attach(run_copy, method="pca")
        assert until(lambda: board.state["status"] == "running" and "another process" in board.state["note"])
        assert not until(lambda: board.notice, 2.5)
    assert until(lambda: board.state["status"] == "lost", 5) and board.state["note"] == ""
    with lock(run_copy / ".lock"):
        assert until(lambda: board.state["status"] == "running", 5) and not board.notice
    board.close()


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "text", "link"])
def test_a_damaged_snapshot_is_one_sentence(run_copy, damage, caplog):
    "The dashboard names the file, and nothing is raised in a thread or written elsewhere."
    file = sorted((run_copy / "snapshots").iterdir())[1]
    content = file.read_bytes()
    file.unlink()
    if damage == "link":
        (run_copy.parent / "outside.npz").write_bytes(content)
        file.symlink_to(run_copy.parent / "outside.npz")
    elif damage != "missing":
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"no arrays"}[damage])
    board = Dashboard.attach(run_copy, method="pca")
    board.follower.wait(30)
    said = board.state["note"]
    assert board.state["status"] == "completed" or said.startswith("The run can no longer be followed:")
    assert board.state["status"] in ("completed", "unreadable") and (not said or file.name in said)
    assert board.lasting_html().count("<h4>") == len(PARTS)
    board.close()
