"The curves widget without a browser: what it keeps, what it tells, what it says, and what it refuses."

import math
import re
import threading

import numpy as np
import pytest

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs.log import RunLog
from dcacn_nb.widgets import curves
from dcacn_nb.widgets.curves import POINTS, Curves, Rows
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.live import STATIC, LiveWidget


class Mirror:
    "The browser's half in Python: applies messages as curves.js does."

    def __init__(self, widget, monkeypatch):
        self.runs, self.log, self.most = {}, [], 0
        monkeypatch.setattr(widget, "send", self)
        self.widget = widget

    def hello(self):
        self.widget._on_message(self.widget, {"kind": "hello"}, [])

    def __call__(self, content, buffers):
        self.log.append(content)
        run = self.runs.setdefault(content["run"], {"steps": [], "scores": [], "kept": {"steps": 0, "scores": 0}})
        if content["kind"] == "run":
            run |= {name: content[name] for name in ("label", "terms", "begun")}
            return
        part = content["part"]
        width = 4 + len(run["terms"]) if part == "steps" else 4
        if content["anew"]:
            run[part], run["kept"][part] = [], 0
        run[part] = run[part][: run["kept"][part]] + np.frombuffer(buffers[0], "<f4").reshape(-1, width).tolist()
        run["kept"][part] += content["kept"]
        self.most = max(self.most, len(run[part]))


def start(epochs=30, per_epoch=10):
    return RunStarted("dcacn", {}, {}, 100, epochs * per_epoch, per_epoch)


def step(n, per_epoch=10, **losses):
    return StepDone(
        n,
        (n - 1) // per_epoch + 1,
        losses or {"total": 10 / n, "instance": 5 / n},
        n / 1000,
        n / 10,
        images_per_second=400.0 + n,
    )


def scored(epoch, per_epoch=10):
    return Evaluated(epoch, epoch * per_epoch, {}, {"acc": epoch / 100, "nmi": epoch / 200, "ari": epoch / 400})


def told(epochs, per_epoch=10, begin=True):
    "A run whose numbers can be computed in the head."
    events = [start(epochs)] if begin else []
    for epoch in range(1, epochs + 1):
        events += [step(n) for n in range((epoch - 1) * per_epoch + 1, epoch * per_epoch + 1)]
        events += [EpochDone(epoch, epoch * per_epoch, {"total": 1.0}), scored(epoch)]
    return events


def test_every_number_arrives(monkeypatch):
    "Epoch, rate, speed, gradient and loss terms of a step; epoch, ACC, NMI and ARI of an evaluation."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in told(2):
        widget(event)
    run = mirror.runs[0]
    assert run["terms"] == ["total", "instance"] and run["begun"] and run["label"] == "this run"
    n = np.arange(1, 21)
    assert np.allclose(run["steps"], np.stack([n / 10, n / 1000, 400 + n, n / 10, 10 / n, 5 / n], 1), rtol=1e-6)
    assert np.allclose(run["scores"], [[1, 0.01, 0.005, 0.0025], [2, 0.02, 0.01, 0.005]], rtol=1e-6)


def test_silent_without_a_view(monkeypatch):
    "Nothing is sent before a view says hello, then everything."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    for event in told(3):
        widget(event)
    assert mirror.log == []
    mirror.hello()
    assert len(mirror.runs[0]["steps"]) == 30 and len(mirror.runs[0]["scores"]) == 3


def test_a_second_view_changes_nothing_for_the_first(monkeypatch):
    "The answer to a hello goes to all views: it must not double what they hold."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in told(3):
        widget(event)
    before = mirror.runs[0]["steps"], mirror.runs[0]["scores"]
    mirror.hello()
    assert (mirror.runs[0]["steps"], mirror.runs[0]["scores"]) == before
    late = Mirror(widget, monkeypatch)
    late.hello()
    assert (late.runs[0]["steps"], late.runs[0]["scores"], late.runs[0]["terms"]) == (*before, ["total", "instance"])
    monkeypatch.setattr(widget, "send", mirror)
    widget(step(31))
    widget(scored(4))
    assert len(mirror.runs[0]["steps"]) == 31 and mirror.runs[0]["steps"][-1][0] == pytest.approx(3.1)


def test_gaps(monkeypatch):
    "None, NaN, infinities and what float32 cannot hold are gaps; no number near them is harmed."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    widget(start())
    for i, loss in enumerate([1.5, None, math.nan, math.inf, -math.inf, 1e300, 2.5], start=1):
        widget(StepDone(i, 1, {"total": loss, "instance": 7.0}, 1e-3, math.nan))
    widget(Evaluated(1, 10, {}, {"acc": 0.5, "nmi": None}))
    steps = np.array(mirror.runs[0]["steps"])
    assert (
        np.array_equal(np.isnan(steps[:, 4]), [False, True, True, True, True, True, False])
        and steps[0, 4] == 1.5
        and steps[-1, 4] == 2.5
    )
    assert (steps[:, 5] == 7).all() and np.isnan(steps[:, 2:4]).all()
    assert np.array_equal(mirror.runs[0]["scores"], [[1, 0.5, math.nan, math.nan]], equal_nan=True)
    assert widget.summary == "Epoch 1 of 30: ACC 0.500; total loss 2.5."


def test_a_term_that_begins_late(monkeypatch):
    "A loss term that was not there at first makes all rows wider; the earlier ones have a gap."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in (start(), step(1, total=3.0), step(2, total=2.0, cluster=9.0), step(3, cluster=8.0), scored(1)):
        widget(event)
    assert mirror.runs[0]["terms"] == ["total", "cluster"]
    assert np.array_equal(
        [row[4:] for row in mirror.runs[0]["steps"]], [[3, math.nan], [2, 9], [math.nan, 8]], equal_nan=True
    )


def test_methods_that_tell_epochs_only(monkeypatch):
    "One point an epoch where no step is reported; as soon as steps are, those alone."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in (start(), EpochDone(1, 10, {"inertia": 4.0}), EpochDone(2, 20, {"inertia": 3.0})):
        widget(event)
    assert mirror.runs[0]["terms"] == ["inertia"] and [[row[0], row[4]] for row in mirror.runs[0]["steps"]] == [
        [1, 4],
        [2, 3],
    ]
    for event in (step(21, inertia=2.0), EpochDone(3, 30, {"inertia": 2.5})):
        widget(event)
    assert [row[0] for row in mirror.runs[0]["steps"]] == [pytest.approx(2.1)]


def test_bounded(monkeypatch):
    "However long the run, Python and the browser hold the same few rows, the newest among them."
    monkeypatch.setattr(curves, "PAUSE", 0.0)
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    widget(start(1000))
    for n in range(1, 10_001):
        widget(step(n, total=float(n)))
    found = [row[4] for row in mirror.runs[0]["steps"]]
    assert mirror.most <= POINTS + 1 and len(widget._tracks[0].steps.rows) <= POINTS + 1
    assert found == [n for n in range(1, 10_001) if (n - 1) % 16 == 0] + [
        10_000
    ]  # 10,000 / 16 = 625 rows; 8 would be too many
    rows = Rows(limit=4)
    for n in range(9):
        rows.append([n])
    content, [buffer] = rows.news()
    assert (
        content == {"anew": True, "kept": 3}
        and np.frombuffer(buffer, "<f4").tolist() == [0, 4, 8]
        and rows.news() is None
    )


def test_reports_wait_for_one_another(monkeypatch):
    "Hundreds of steps in a moment make one message, and none is lost."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    widget(start())
    before = len(mirror.log)
    for n in range(1, 301):
        widget(step(n))
    assert len(mirror.log) == before
    now[0] = 0.2
    widget(step(301))
    assert (
        len(mirror.log) == before + 3 and len(mirror.runs[0]["steps"]) == 301
    )  # its loss terms, steps and (no) scores


def test_anew(monkeypatch):
    "A run that begins again starts from nothing, also in the browser."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in [*told(5), start(8)]:
        widget(event)
    assert mirror.runs[0]["steps"] == [] and mirror.runs[0]["scores"] == [] and mirror.runs[0]["terms"] == []
    assert widget.summary == "Epoch 0 of 8: nothing reported yet."


def test_words():
    "The summary, at every stage and in both languages."
    widget = Curves()
    assert widget.summary == "Waiting for the run to begin."
    for event in told(12):
        widget(event)
    assert widget.summary == "Epoch 12 of 12: ACC 0.120, NMI 0.060, ARI 0.030; total loss 0.0833; 520 images/s."
    widget.lang = "zh"
    assert widget.summary == "第 12 轮（共 12 轮）：ACC 0.120, NMI 0.060, ARI 0.030; 总损失 0.0833; 每秒 520 张图像。"
    silent = Curves()
    for event in [start(), Evaluated(1, 10, {"view_information": 0.5})]:
        silent(event)
    assert silent.summary == "Epoch 1 of 30: no labels, so no scores."
    assert all(len(pair) == 2 and all(pair) for pair in Curves.WORDS.values())


def test_browser_words_exist():
    "Every text that curves.js asks for is there."
    source = (STATIC / "curves.js").read_text(encoding="utf-8")
    asked = set(re.findall(r'\bt\([^)]*?"(\w+)"', source)) | set(re.findall(r'{key: "(\w+)", part', source))
    assert {"waiting", "scores", "gradient", "log", "epoch"} <= asked
    assert asked - set(Curves().words) == set()


def test_several_runs(monkeypatch, tmp_path):
    "A folder, events and a Run beside the run itself; each with its label, all in figure and summary."

    class Hearing:
        folder = None

        def subscribe(self, observer):
            self.observer = observer

    run, log = Hearing(), RunLog(tmp_path / "plain")
    for event in [*told(4), RunFinished("completed", 40, 4)]:
        log(event)
    widget = Curves(compare={"plain": tmp_path / "plain", "listed": told(2), "other": run}, label="own")
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in told(3):
        widget(event)
    run.observer(start())
    run.observer(scored(9))
    assert widget.wait(20)
    assert [mirror.runs[i]["label"] for i in range(4)] == ["own", "plain", "listed", "other"]
    assert [len(mirror.runs[i]["scores"]) for i in range(4)] == [3, 4, 2, 1] and mirror.runs[3]["scores"][0][:2] == [
        9,
        pytest.approx(0.09),
    ]
    said = widget.describe()
    assert (
        said.startswith("Epoch 3 of 3: ACC 0.030")
        and "plain, epoch 4: ACC 0.040" in said
        and "listed, epoch 2: ACC 0.020" in said
    )
    assert all(f"{label}: ACC" in widget.figure().alt for label in ("own", "plain", "listed", "other"))
    widget.close()


def test_only_runs_to_compare():
    "Without a run of its own the widget leaves its picture when all others have ended."
    widget = Curves(compare={"a": told(2)})
    assert not widget._settled
    widget = Curves(compare={"a": [*told(2), RunFinished("completed", 20, 2)]})
    assert (
        widget._settled
        and widget.summary.startswith("a, epoch 2: ACC 0.020")
        and "Scores at the end: ACC 0.020" in widget.figure().alt
    )
    assert "dcacn-last" in widget._last()["text/html"]


def test_a_compared_run_that_goes_on(tmp_path):
    "A run beside this one is followed while it trains in another thread; a snapshot of it is not kept."
    log = RunLog(tmp_path / "run")
    log(start())
    widget = Curves(compare={"other": tmp_path / "run"})
    events = [
        step(1),
        SnapshotTaken(0, 1, np.arange(2), {"h": np.zeros((2, 2), np.float32)}),
        scored(1),
        RunFinished("completed", 10, 1),
    ]
    thread = threading.Thread(target=lambda: [log(event) for event in events])
    thread.start()
    assert widget.wait(20)
    thread.join()
    assert widget.summary.startswith("other, epoch 1: ACC 0.010") and widget._tracks[1].history.snapshots == []


def test_attached(tmp_path):
    "Curves of a folder, and of a history that somebody else keeps and has filled."
    log = RunLog(tmp_path / "run")
    for event in [*told(3), RunFinished("completed", 30, 3)]:
        log(event)
    widget = Curves.attach(tmp_path / "run")
    assert widget.wait(20) and widget.summary.startswith("Epoch 3 of 3: ACC 0.030")
    history = History()
    for event in told(2):
        history(event)
    child = Curves(history=history)
    assert (
        isinstance(child, LiveWidget)
        and child.describe().startswith("Epoch 2 of 2: ACC 0.020")
        and len(child._tracks[0].steps.rows) == 20
    )
    history(step(21))
    child.take(step(21))
    assert len(child._tracks[0].steps.rows) == 21


def test_printed_twin():
    "The figure shows the same numbers; before the run it says so."
    widget = Curves()
    assert "Nothing to draw yet" in widget.figure().alt
    for event in told(4):
        widget(event)
    assert (
        "Scores at the end: ACC 0.040, NMI 0.020, ARI 0.010." in widget.figure().alt and len(widget.figure().axes) == 4
    )


@pytest.mark.parametrize(
    "compare, error, words",
    [
        (["a"], TypeError, "compare must be like"),
        ({"a": "no/such"}, ValueError, "which is no folder"),
        ({"a": 3}, TypeError, r"compare\['a'\] must be a folder, a Run or a list of events, got int"),
        ({"": []}, ValueError, "text of its own"),
        ({"this run": []}, ValueError, "label of the run itself"),
        ({str(i): [] for i in range(8)}, ValueError, "at most 7 runs, got 8"),
    ],
)
def test_refused(compare, error, words):
    "What is no run is refused at the call, with what would be right."
    with pytest.raises(error, match=words):
        Curves(compare=compare)
