"The curves widget without a browser: what it keeps, sends, describes and refuses."

import math
import threading
import time
import timeit

import numpy as np
import pytest

from dcacn_nb.core.events import EpochDone, Evaluated, HeadSet, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs.log import RunLog, read_events
from dcacn_nb.widgets import curves
from dcacn_nb.widgets.curves import POINTS, Curves, Rows
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.live import LiveWidget


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
            run |= {name: content[name] for name in ("label", "terms", "begun", "head")}
            return
        part = content["part"]
        width = 4 + len(run["terms"]) if part == "steps" else 4
        if content["restart"]:
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


def run_of(epochs, per_epoch=10, begin=True):
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
    for event in run_of(2):
        widget(event)
    run = mirror.runs[0]
    assert run["terms"] == ["total", "instance"] and run["begun"] and run["label"] == "this run"
    n = np.arange(1, 21)
    assert np.allclose(run["steps"], np.stack([n / 10, n / 1000, 400 + n, n / 10, 10 / n, 5 / n], 1), rtol=1e-6)
    assert np.allclose(run["scores"], [[1, 0.01, 0.005, 0.0025], [2, 0.02, 0.01, 0.005]], rtol=1e-6)


def test_the_start_of_the_cluster_head_arrives(monkeypatch):
    "In a live run and for a late view, with all rows; the words and the printed figure say it too."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    events = run_of(2)
    for event in [*events[:11], HeadSet(1, 10, 0.9), *events[11:]]:
        widget(event)
    late = Mirror(widget, monkeypatch)
    late.hello()
    for run in (mirror.runs[0], late.runs[0]):
        assert run["head"] == 1 and len(run["steps"]) == 20
    assert "The cluster head was set by K-Means after epoch 1 (dotted line)." in widget.describe()
    assert "K-Means set the cluster head after epoch 1" in widget.figure().alt
    widget(start())
    assert late.runs[0]["head"] is None


def test_silent_without_a_view(monkeypatch):
    "Nothing is sent before a view says hello, then everything."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    for event in run_of(3):
        widget(event)
    assert mirror.log == []
    mirror.hello()
    assert len(mirror.runs[0]["steps"]) == 30 and len(mirror.runs[0]["scores"]) == 3


def test_a_second_view_changes_nothing_for_the_first(monkeypatch):
    "The answer to a hello goes to all views: it must not double what they hold."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in run_of(3):
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


def test_methods_that_report_epochs_only(monkeypatch):
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
    content, [buffer] = rows.changes()
    assert (
        content == {"restart": True, "kept": 3}
        and np.frombuffer(buffer, "<f4").tolist() == [0, 4, 8]
        and rows.changes() is None
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


def test_a_second_run_starts_over(monkeypatch):
    "A run that begins again starts from nothing, also in the browser."
    widget = Curves()
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in [*run_of(5), start(8)]:
        widget(event)
    assert mirror.runs[0]["steps"] == [] and mirror.runs[0]["scores"] == [] and mirror.runs[0]["terms"] == []
    assert widget.summary == "Epoch 0 of 8: nothing reported yet."


def test_words():
    "The summary, at every stage and in both languages."
    widget = Curves()
    assert widget.summary == "Waiting for the run to begin."
    for event in run_of(12):
        widget(event)
    assert widget.summary == "Epoch 12 of 12: ACC 0.120, NMI 0.060, ARI 0.030; total loss 0.0833; 520 images/s."
    widget.lang = "zh"
    assert widget.summary == "第 12 轮（共 12 轮）：ACC 0.120, NMI 0.060, ARI 0.030; 总损失 0.0833; 每秒 520 张图像。"
    silent = Curves()
    for event in [start(), Evaluated(1, 10, {"view_information": 0.5})]:
        silent(event)
    assert silent.summary == "Epoch 1 of 30: no labels, so no scores."
    silent.lang = "zh"
    silent(next(iter(run_of(30))))
    assert silent.summary == "第 0 轮（共 30 轮）：尚无数据。" and not len(silent._tracks[0].steps.rows)


def test_several_runs(monkeypatch, tmp_path):
    "A folder, events and a Run beside the run itself; each with its label, all in figure and summary."

    class Hearing:
        folder = None

        def subscribe(self, observer):
            self.observer = observer

    run, log = Hearing(), RunLog(tmp_path / "plain")
    for event in [*run_of(4), RunFinished("completed", 40, 4)]:
        log(event)
    widget = Curves(compare={"plain": tmp_path / "plain", "listed": run_of(2), "other": run}, label="own")
    mirror = Mirror(widget, monkeypatch)
    mirror.hello()
    for event in run_of(3):
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
    widget = Curves(compare={"a": run_of(2)})
    assert not widget.settled
    widget = Curves(compare={"a": [*run_of(2), RunFinished("completed", 20, 2)]})
    assert (
        widget.settled
        and widget.summary.startswith("a, epoch 2: ACC 0.020")
        and "Scores at the end: ACC 0.020" in widget.figure().alt
    )
    assert "dcacn-last" in widget._lasting_bundle()["text/html"]


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
    "Curves of a folder, and of a shared history that holds events already."
    log = RunLog(tmp_path / "run")
    for event in [*run_of(3), RunFinished("completed", 30, 3)]:
        log(event)
    widget = Curves.attach(tmp_path / "run")
    assert widget.wait(20) and widget.summary.startswith("Epoch 3 of 3: ACC 0.030")
    history = History()
    for event in run_of(2):
        history(event)
    child = Curves(history=history)
    assert (
        isinstance(child, LiveWidget)
        and child.describe().startswith("Epoch 2 of 2: ACC 0.020")
        and len(child._tracks[0].steps.rows) == 20
    )
    history(step(21))
    child.handle(step(21))
    assert len(child._tracks[0].steps.rows) == 21


def test_printed_twin():
    "The figure shows the same numbers; before the run it says so."
    widget = Curves()
    assert "Nothing to draw yet" in widget.figure().alt
    for event in run_of(4):
        widget(event)
    assert (
        "Scores at the end: ACC 0.040, NMI 0.020, ARI 0.010." in widget.figure().alt and len(widget.figure().axes) == 4
    )


@pytest.mark.parametrize(
    "compare, error, words",
    [
        (["a"], TypeError, "compare must be like"),
        ({"a": "no/such"}, ValueError, "which is not a folder"),
        ({"a": 3}, TypeError, r"compare\['a'\] must be a folder, a Run or a list of events, got int"),
        ({"": []}, ValueError, "its own label"),
        ({"this run": []}, ValueError, "label of the run itself"),
        ({str(i): [] for i in range(8)}, ValueError, "at most 7 runs, got 8"),
    ],
)
def test_refused(compare, error, words):
    "What is not a run is refused at the call, with what would be right."
    with pytest.raises(error, match=words):
        Curves(compare=compare)


# --- against a reference that picks from all events
class Hoarder(Mirror):
    "Wrong: keeps preliminary rows."

    def __call__(self, content, buffers):
        run = self.runs.get(content["run"])
        if run and content["kind"] == "rows" and not content["restart"]:
            run["kept"][content["part"]] = len(run[content["part"]])
        super().__call__(content, buffers)


def rough(epochs, per_epoch=20, every=2, seed=0):
    "A run of any length, with a loss that goes wrong now and then, and a term that begins late."
    draw = np.random.default_rng(seed)
    yield RunStarted("dcacn", {}, {}, 1000, epochs * per_epoch, per_epoch)
    for epoch in range(1, epochs + 1):
        for n in range((epoch - 1) * per_epoch + every, epoch * per_epoch + 1, every):
            losses = {"total": 5 / epoch + draw.random(), "instance": draw.choice([4 / epoch, math.nan, math.inf])}
            losses |= {"late": 1.0} if epoch > 2 else {}
            yield StepDone(n, epoch, losses, 1e-3, draw.random(), images_per_second=450.0)
        yield EpochDone(epoch, epoch * per_epoch, {"total": 5 / epoch})
        scores = {"acc": 1 - 0.9 / epoch, "nmi": 1 - 0.8 / epoch} if epoch % 3 else None
        yield Evaluated(epoch, epoch * per_epoch, {}, scores)


def kept_of(rows, limit=POINTS):
    "The rows that must be kept of all rows: every 2^k-th, with the smallest k that fits, and the newest."
    stride = 1
    while math.ceil(len(rows) / stride) > limit:
        stride *= 2
    return np.array([rows[i] for i in sorted({*range(0, len(rows), stride), len(rows) - 1})], np.float32)


def expected(events, per_epoch=20):
    "The rows of steps and scores, from all events."
    number = lambda x: x if x is not None and math.isfinite(x) else math.nan
    terms = ("total", "instance", "late")
    steps = [
        [e.step / per_epoch, e.lr, e.images_per_second, e.grad_norm, *(number(e.losses.get(name)) for name in terms)]
        for e in events
        if isinstance(e, StepDone)
    ]
    scores = [
        [e.epoch, *(number((e.scores or {}).get(name)) for name in ("acc", "nmi", "ari"))]
        for e in events
        if isinstance(e, Evaluated)
    ]
    return {"steps": kept_of(steps), "scores": kept_of(scores)}


def show(mirror_class, events, hello, monkeypatch):
    "What the browser holds in the end; views say hello before the events of these numbers."
    widget, clock = Curves(), iter(0.03 * i for i in range(10**6))
    mirror = mirror_class(widget, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr("time.monotonic", lambda: next(clock))  # a message every third report or so
        for i, event in enumerate(events):
            if i in hello:
                mirror.hello()
            widget(event)
    return mirror.runs[0]


def agrees(run, events):
    "Whether the browser holds exactly what it must."
    return all(
        np.array_equal(np.array(run[part], np.float32), rows, equal_nan=True) for part, rows in expected(events).items()
    )


@pytest.mark.parametrize("epochs", [3, 40, 200])
def test_the_browser_ends_with_the_rows_of_a_reference(epochs, monkeypatch):
    "Whenever a view appears, and also if a second one does."
    events = [*rough(epochs, seed=epochs), RunFinished("completed", 20 * epochs, epochs)]
    n = len(events) - 1
    for hello in ({0}, {n // 3, n // 2}, {n - 2}):
        assert agrees(show(Mirror, events, hello, monkeypatch), events), hello


def test_a_browser_that_keeps_preliminary_rows_is_caught(monkeypatch):
    events = [*rough(200, seed=200), RunFinished("completed", 4000, 200)]
    assert not agrees(show(Hoarder, events, {0}, monkeypatch), events)


def test_an_update_is_cheap_and_so_is_sending_everything_again(monkeypatch):
    "Processor time of the training thread, over the kernel's real channel: below 1 ms, and 5 ms for a full run."
    widget, times = Curves(), []
    send, mirror = widget.send, Mirror(widget, monkeypatch)
    monkeypatch.setattr(widget, "send", lambda content, buffers: (mirror(content, buffers), send(content, buffers)))
    widget._viewed = True
    for event in rough(400, per_epoch=50, every=1, seed=1):
        begin = time.thread_time()
        widget(event)
        times.append(time.thread_time() - begin)
    assert mirror.most <= POINTS + 1 and np.mean(times) < 1e-3

    def send_all():
        for content, buffers in widget.backlog():
            send(content, buffers=buffers)

    assert min(timeit.repeat(send_all, number=1, repeat=20, timer=time.thread_time)) < 5e-3


def test_messages_follow_the_pause_between_them(monkeypatch):
    "500 reports a second for four seconds: about 40 messages at 0.1 s, fewer at 1 s."

    def messages(pause):
        widget, clock = Curves(), iter(i / 500 / 2 for i in range(10**6))  # about two readings of the clock per event
        mirror = Mirror(widget, monkeypatch)
        with monkeypatch.context() as patched:
            patched.setattr(curves, "PAUSE", pause)
            patched.setattr("time.monotonic", lambda: next(clock))
            mirror.hello()
            for event in [start(20, 100), *(StepDone(i, 1, {"total": 1.0}, 1e-3, 1.0) for i in range(1, 2001))]:
                widget(event)
        return len(mirror.log)

    assert messages(0.0) > 2000 > 100 > messages(0.1) > messages(1.0)


def test_two_real_runs_from_their_folders(run, plain_run):
    "Live beside a run, and attached to two folders: each has its values in the summary and in print."
    both = Curves.attach(run.folder, label="attention", compare={"plain": plain_run.folder})
    assert both.wait()
    alone = Curves.attach(run.folder)
    assert alone.wait() and alone.summary.startswith("Epoch 3 of 3: ACC 0.")
    assert both.summary.startswith(alone.summary) and "plain, epoch 3: ACC 0." in both.summary
    assert "attention: ACC" in both.figure().alt and "plain: ACC" in both.figure().alt
    scores = evaluate_last(run)
    assert f"ACC {scores['acc']:.3f}, NMI {scores['nmi']:.3f}" in alone.summary


def evaluate_last(run):
    "The last scores in the log of a run."
    return [event for event in read_events(run.folder) if isinstance(event, Evaluated)][-1].scores
