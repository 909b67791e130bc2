"The cluster health without a browser: numbers, findings, similarity, names, bounds, and cost."

import dataclasses
import json
import math
import re
import threading
from time import thread_time
from timeit import repeat

import numpy as np
import pytest

from dcacn_nb.core.events import Evaluated, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.method.metrics import assignment_health
from dcacn_nb.report.diagnosis import SEVERITY, diagnose
from dcacn_nb.report.health import HEALTH
from dcacn_nb.runs.log import RunLog
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.health import ClusterHealth, limits, row
from dcacn_nb.widgets.live import STATIC

START = RunStarted("dcacn", {"balance_weight": 0.0, "epochs": 9, "n_clusters": 4}, {}, 8, 90, 10)
SURE = np.eye(4)[[0, 0, 0, 1, 1, 2, 2, 3]] * 0.96 + 0.01  # 8 images, 4 clusters
LOST = SURE[:, [0, 1, 2, 3]] @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]])  # cluster 3 is empty


def evaluated(epoch, p, other=None):
    "An evaluation of these assignments."
    return Evaluated(epoch, 10 * epoch, assignment_health(p, other))


def snapshot(epoch, p):
    "A snapshot of these assignments."
    return SnapshotTaken(epoch, 10 * epoch, np.arange(len(p)), {"p": p.astype(np.float32)})


def watched(*events, **kwargs):
    "A widget that has heard the events, and all that a view got which was there from the beginning."
    widget, sent = ClusterHealth(**kwargs), []
    widget.send = lambda content, buffers=(): sent.append(
        (json.loads(json.dumps(content, allow_nan=False)), [np.frombuffer(b, "<f4") for b in buffers])
    )
    widget._on_message(widget, {"kind": "hello"}, [])
    for event in events:
        widget(event)
    return widget, sent


def asked(widget, sent, epoch):
    "The answer to a view that asks for the similarity at an epoch; None if there is none."
    before = len(sent)
    widget._on_message(widget, {"kind": "similarity", "epoch": epoch}, [])
    return sent[-1] if len(sent) > before else None


def test_numbers_arrive():
    "The row holds mass, share, four figures and the empty clusters, in this order; NaN where nothing is known."
    _, sent = watched(START, evaluated(1, SURE, SURE), evaluated(2, LOST))
    (first, [numbers]), (second, [later]) = sent[-2:]
    assert (
        first["kind"],
        first["k"],
        first["epochs"],
        second["kind"],
        second["epoch"],
        second["at"],
        second["halve"],
    ) == ("reset", 4, [1], "append", 2, 1, False)
    assert np.allclose(numbers[:4], SURE.sum(0) / 8) and np.allclose(numbers[4:8], [3 / 8, 2 / 8, 2 / 8, 1 / 8])
    entropy = lambda p: -sum(x * math.log(x) for x in p) / math.log(4)
    information, agreement, balance, mean = numbers[8:12]
    assert agreement == 1 and math.isclose(information, entropy([3 / 8, 2 / 8, 2 / 8, 1 / 8]), rel_tol=1e-6)
    assert math.isclose(balance, entropy(SURE.sum(0) / 8), rel_tol=1e-6) and math.isclose(
        mean, entropy([0.97, 0.01, 0.01, 0.01]), rel_tol=1e-6
    )
    assert np.isnan(later[8:10]).all() and later[-1] == 1 and numbers[-1] == 0


def test_findings_follow_the_epoch_and_the_language():
    "Each epoch has its own findings, with the run's settings in them; severities are those the browser has icons for."
    widget, sent = watched(START, evaluated(0, SURE), evaluated(1, LOST), evaluated(2, SURE), lang="en")
    found = widget.backlog()[0][0]["found"]
    assert [severity for severity, _ in found[0]] == ["note", "good"] and found[0][0][1].startswith("Epoch 0")
    assert found[1] == [
        (
            "warning",
            "1 of 4 clusters is empty or nearly so (under a tenth of an even share). "
            "What to try: raise balance_weight (now 0, usually 1); "
            "raise epochs (now 9); lower n_clusters (now 4) if you expect fewer groups.",
        )
    ]
    widget.lang = "zh"
    assert widget.backlog()[0][0]["found"][1][0][1].startswith("4 个簇中有 1 个为空") and widget.summary.startswith(
        "第 2 轮：4 个簇"
    )
    script = (STATIC / "health.js").read_text(encoding="utf-8")
    icons = re.search(r"\bICONS = \{(.*?)\}", script, re.DOTALL)[1]
    assert {part.split(":")[0].strip() for part in icons.split(",") if part.strip()} == set(SEVERITY.values())


def test_similarity_is_asked_for():
    "Only epochs with a comparable snapshot; the answer names the most similar pair; twins only if both have images."
    between = SURE.copy()
    between[3:7, 1:3] = 0.485  # the images of clusters 1 and 2 lie between them
    between[[3, 5], 1] += 0.01
    between[[4, 6], 2] += 0.01
    between /= between.sum(1, keepdims=True)
    broken = np.where(np.arange(4) == 1, np.nan, SURE)
    widget, sent = watched(
        START, evaluated(2, between), snapshot(2, between), snapshot(3, broken), snapshot(4, np.ones((8, 1)))
    )
    assert sent[-1][0] == {"kind": "snapshots", "epochs": [2]}
    content, [matrix] = asked(widget, sent, 2)
    matrix = matrix.reshape(4, 4)
    p = np.float32(between).astype(float)
    assert np.allclose(
        matrix,
        [
            [p[:, i] @ p[:, j] / math.sqrt((p[:, i] @ p[:, i]) * (p[:, j] @ p[:, j])) for j in range(4)]
            for i in range(4)
        ],
        atol=1e-6,
    )
    assert (
        content["pair"] == [1, 2]
        and content["found"][0][0] == "warning"
        and content["found"][0][1].startswith("Clusters 1 and 2 are near twins")
    )
    assert [asked(widget, sent, epoch) for epoch in (0, 3, 4, None, "2", [2])] == [None] * 6

    widget, sent = watched(START, evaluated(1, LOST), snapshot(1, LOST))  # cluster 3 is like nothing, and empty
    content, [matrix] = asked(widget, sent, 1)
    assert content["found"] == [] and (matrix.reshape(4, 4)[3] == 0).all() and 3 not in content["pair"]


@pytest.mark.parametrize("limit, epochs", [(2, 40), (7, 300), (50, 1000)])
def test_bounded(limit, epochs):
    "However long the run: the list and the browser's copy stay small, evenly spaced, and end with the newest."
    widget, sent = watched(START, limit=limit)
    copy, longest = [], 0
    for epoch in range(epochs):
        widget(Evaluated(epoch, epoch, {"cluster_mass": [0.5, 0.5], "n_empty": 0}))
        content, _ = sent[-1]
        sent.clear()
        if content["kind"] == "reset":
            copy = content["epochs"]
        else:
            copy = (copy[::2] if content["halve"] else copy)[: content["at"]] + [content["epoch"]]
        longest = max(longest, len(copy))
        assert copy == [event.epoch for event in widget.evaluations] and copy[-1] == epoch
    gaps = {b - a for a, b in zip(copy[:-1], copy[1:-1])}
    assert longest <= limit + 1 and len(gaps) <= 1


def test_little_is_known():
    "Figures that a method does not take are not mentioned; sizes that are missing or not numbers do no harm."
    widget, _ = watched(
        RunStarted("kmeans", {"n_clusters": 3}, {}, 9, 1, 1),
        Evaluated(1, 1, {"cluster_share": [0.5, 0.5, 0.0], "n_empty": 1}),
    )
    assert not any(word in widget.summary for word in ("view", "entropy", "balance_weight", "nan"))
    assert row({"cluster_share": [0.5, 0.5, 0.0]}, 3)[:6] == [0.5, 0.5, 0.0] * 2
    widget(Evaluated(2, 2, {}))
    assert widget.summary.startswith("Epoch 2.") and len(widget.backlog()[0][1][0]) == 4 * 2 * (2 * 3 + len(HEALTH) + 1)
    widget(Evaluated(3, 3, {"cluster_mass": [math.nan] * 3}))
    assert widget.backlog()[0][0]["found"][2][0][0] == "bad"
    assert (
        watched()[0].summary == "Waiting for the run to begin." and watched(START)[0].summary == "Nothing to show yet."
    )


def test_another_run_starts_over():
    "A second run in the same widget forgets the first, also if it has another number of clusters."
    widget, sent = watched(START, evaluated(1, SURE), snapshot(1, SURE))
    assert asked(widget, sent, 1)
    widget(START)
    assert sent[-1][0]["epochs"] == [] and sent[-1][0]["snapshots"] == [] and asked(widget, sent, 1) is None
    widget(Evaluated(1, 10, {"cluster_mass": [0.5, 0.3, 0.2], "n_empty": 0}))
    assert sent[-1][0]["kind"] == "reset" and sent[-1][0]["k"] == 3


def test_a_shared_history():
    "What a shared history holds is taken over; its owner passes events on by `update`."
    history = History()
    for event in (START, evaluated(1, SURE), snapshot(1, SURE)):
        history(event)
    child = ClusterHealth(history=history)
    assert [event.epoch for event in child.evaluations] == [1] and child.backlog()[0][0]["snapshots"] == [1]
    event = evaluated(2, LOST)
    history(event)
    child.update(event)
    assert (
        child.describe().startswith("Epoch 2: 4 clusters of 0.0% to 37.5% of the images, balance entropy")
        and "1 empty" in child.describe()
    )
    assert child.figure().alt.startswith("Health over 2 evaluations")


def test_names_are_plain_text(tmp_path):
    "Names come from the run's folder, as text."
    (tmp_path / "clusters.json").write_text(json.dumps({"names": {"1": "<img src=x>"}}))
    widget, sent = watched(START, evaluated(1, SURE), snapshot(1, SURE), folder=tmp_path)
    assert asked(widget, sent, 1)[0]["names"] == {"1": "<img src=x>"} and widget.backlog()[0][0]["names"] == {
        1: "<img src=x>"
    }


def test_questions_while_training():
    "Views may ask on one thread while events come on another."
    widget, sent = watched(START, evaluated(1, SURE), snapshot(1, SURE))
    questions = threading.Semaphore(0)

    def train():
        "After every fifth epoch at the latest a question has come in between, however the threads are scheduled."
        for epoch in range(2, 60):
            widget(evaluated(epoch, SURE))
            widget(snapshot(epoch, SURE))
            if epoch % 5 == 0:
                assert questions.acquire(timeout=20)

    thread = threading.Thread(target=train)
    thread.start()
    while thread.is_alive():
        widget._on_message(widget, {"kind": "similarity", "epoch": widget._snapshots()[-1]}, [])
        widget._on_message(widget, {"kind": "hello"}, [])
        questions.release()
    thread.join()
    widget(RunFinished("completed", 590, 59))
    assert len([1 for content, _ in sent if content["kind"] == "similarity"]) > 0 and len(widget.evaluations) == 59


# --- a run that goes wrong, against an independent count
def soft(logits):
    "Rows of probabilities."
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def failing_run(k=10, n=400, epochs=40, every=5):
    "The network becomes confident; from epoch 10 three clusters die, and clusters 1 and 4 grow alike."
    rng = np.random.default_rng(0)
    place, noise, other = np.arange(n) % k, rng.normal(size=(n, k)), rng.normal(size=(n, k))
    settings = dataclasses.asdict(TrainConfig(n_clusters=k, epochs=epochs, balance_weight=0.0))
    yield RunStarted("dcacn", settings, {}, n, epochs * 5, 5)
    for epoch in range(epochs + 1):
        logits = 8 * epoch / epochs * np.eye(k)[place] + 0.7 * noise
        logits[:, [k // 3, k // 2, k - 1]] -= 0.6 * max(0, epoch - 10)
        rows = np.ix_(np.isin(place, (1, 4)), (1, 4))
        logits[rows] += (logits[rows].mean(1, keepdims=True) - logits[rows]) * 0.95 * epoch / epochs
        p, second = soft(logits), soft(logits + (1 + 2 / (1 + epoch)) * other)
        yield Evaluated(epoch, 5 * epoch, assignment_health(p, second))
        if epoch % every == 0:
            arrays = {"h": p[:, :2].astype(np.float32), "p": p.astype(np.float32)}
            yield SnapshotTaken(epoch, 5 * epoch, np.arange(n), arrays)
    yield RunFinished("completed", 5 * epochs, epochs)


@pytest.fixture(scope="module")
def failing():
    "Its events."
    return list(failing_run())


class Browser:
    "Takes messages as health.js does."

    careless = False

    def __init__(self, widget):
        self.widget, self.epochs, self.rows, self.found, self.answers = widget, [], [], [], {}
        widget.send = self.take
        widget._on_message(widget, {"kind": "hello"}, [])

    def take(self, content, buffers=()):
        json.dumps(content, allow_nan=False)  # what is not binary must be strict JSON
        getattr(self, f"on_{content['kind']}")(content, *(np.frombuffer(buffer, "<f4") for buffer in buffers))

    def on_reset(self, content, numbers):
        self.k, self.snapshots = content["k"], content["snapshots"]
        self.epochs, self.found = list(content["epochs"]), list(content["found"])
        self.rows = list(numbers.reshape(len(self.epochs), -1)) if self.epochs else []

    def on_append(self, content, numbers):
        for kept, new in ((self.epochs, content["epoch"]), (self.rows, numbers), (self.found, content["found"])):
            if content["halve"]:
                kept[:] = kept[::2]
            if not self.careless:
                del kept[content["at"] :]
            kept.append(new)

    def on_snapshots(self, content, *_):
        self.snapshots = content["epochs"]

    def on_similarity(self, content, numbers):
        self.answers[content["epoch"]] = content, numbers.reshape(content["k"], -1)

    def ask(self, epoch):
        "The similarity at an epoch: what is said of it, and the numbers; None if there is no answer."
        self.widget._on_message(self.widget, {"kind": "similarity", "epoch": epoch}, [])
        return self.answers.pop(epoch, None)


class Careless(Browser):
    "Wrong: appends each row without looking at its place."

    careless = True


def test_the_smallest_row():
    "One evaluation of four clusters; two measures are missing, since there is no second view."
    shares = {"cluster_mass": [0.45, 0.3, 0.2, 0.05], "cluster_share": [0.5, 0.3, 0.2, 0.0]}
    numbers = row({**shares, "assignment_entropy": 0.3, "n_empty": 1}, 4)
    assert numbers[:8] == shares["cluster_mass"] + shares["cluster_share"] and numbers[-1] == 1
    known = dict(zip(HEALTH, numbers[8:-1]))
    assert known.pop("assignment_entropy") == 0.3 and all(map(math.isnan, known.values()))


def test_the_browser_holds_what_a_count_gives(failing):
    "Masses and shares counted from the assignments; similarity as two loops."
    widget = ClusterHealth()
    browser = Browser(widget)
    for event in failing:
        widget(event)
    last = [event for event in failing if isinstance(event, SnapshotTaken)][-1].arrays["p"]
    assert browser.epochs == list(range(41)) and browser.k == 10
    assert [numbers.size for numbers in browser.rows] == 41 * [2 * 10 + len(HEALTH) + 1]
    assert np.allclose(browser.rows[-1][:10], [sum(column) / 400 for column in last.T], atol=1e-6)
    assert np.allclose(browser.rows[-1][10:20], [sum(one.argmax() == k for one in last) / 400 for k in range(10)])
    assert browser.rows[-1][-1] == 3 and browser.found[-1][0] == ("warning", str(diagnose(failing)[0]))

    content, matrix = browser.ask(40)
    for i in range(10):
        for j in range(10):
            a, b = last[:, i].astype(float), last[:, j].astype(float)
            assert abs(matrix[i, j] - sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5) < 1e-6
    off = matrix - 2 * np.eye(10)
    assert content["pair"] == sorted(np.unravel_index(off.argmax(), off.shape)) == [1, 4]
    assert content["found"][0][0] == "warning"
    assert browser.ask(39) is None and browser.ask("<script>") is None  # there is no snapshot at this epoch


@pytest.mark.parametrize("browser_class, right", [(Browser, True), (Careless, False)])
def test_the_browsers_copy_is_the_kernels_list_at_every_epoch(failing, browser_class, right):
    "1,000 epochs with room for 50; a browser that ignores the place keeps too much, and is caught."
    health = assignment_health(failing[-2].arrays["p"])
    widget, same, longest = ClusterHealth(limit=50), True, 0
    copy = browser_class(widget)
    widget(RunStarted("dcacn", {"balance_weight": 0.0}, {}, 400, 5000, 5))
    for epoch in range(1000):
        widget(Evaluated(epoch, 5 * epoch, health))
        kept = [event.epoch for event in widget.evaluations]
        same &= copy.epochs == kept and len(copy.rows) == len(copy.found) == len(copy.epochs)
        longest = max(longest, len(copy.epochs))
    assert copy.epochs[-1] == 999 and len(widget.evaluations) <= 51
    assert same is right and (longest == 51 if right else longest > 400)


@pytest.mark.parametrize("k", [2, 3, 10, 40, 200])
def test_the_marks_are_those_of_the_diagnosis(k):
    "From both sides of each threshold, for few and many clusters."
    empty, large = limits(k)
    for share, mark in ((large + 1e-6, True), (large - 1e-6, False)):
        if share < 0.9 or k == 2:
            health = {"cluster_share": [share] + [(1 - share) / (k - 1)] * (k - 1), "n_empty": 0}
            assert bool({finding.key for finding in diagnose(health)} & {"large", "collapse"}) is mark, share
    counts = np.full(k, 100)
    counts[0] = round(empty * 100 * (k - 1) / (1 - empty))
    for count, mark in ((counts[0] - 2, True), (counts[0] + 2, False)):
        p = np.eye(k)[np.repeat(np.arange(k), [count, *counts[1:]])]
        assert bool(p[:, 0].mean() < empty) is (assignment_health(p)["n_empty"] == 1) is mark


@pytest.mark.parametrize("k", [2, 10, 50, 200])
def test_an_event_costs_training_less_than_a_millisecond(k):
    "With a view: row, diagnosis and summary; processor time, best of five rounds."
    p = soft(4 * np.random.default_rng(0).normal(size=(1000, k)))
    evaluation = Evaluated(1, 5, assignment_health(p, p))
    taken = SnapshotTaken(1, 5, np.arange(1000), {"p": p.astype(np.float32)})
    widget, _ = watched(START)
    widget.send = lambda content, buffers=None: None  # messages are made, and thrown away
    for event in (evaluation, taken):
        best = min(repeat(lambda event=event: widget(event), number=100, repeat=5, timer=thread_time)) / 100
        assert best < 1e-3, f"{1e3 * best:.2f} ms for {type(event).__name__}"


def test_little_is_known_and_then_another_run_comes(failing):
    "A baseline that knows sizes only, an evaluation without sizes, one that diverged; then a full run."
    widget = ClusterHealth()
    copy = Browser(widget)
    widget(RunStarted("kmeans", {"n_clusters": 4, "seed": 0}, {}, 400, 1, 1))
    widget(Evaluated(1, 1, {"cluster_share": [0.5, 0.3, 0.2, 0.0], "n_empty": 1}))
    assert np.array_equal(copy.rows[0][:8], np.float32([0.5, 0.3, 0.2, 0] * 2)) and np.isnan(copy.rows[0][8:14]).all()
    assert copy.snapshots == []
    widget(Evaluated(2, 2, {"n_empty": 0}))
    assert len(copy.rows) == 2 and np.isnan(copy.rows[1][:12]).all()
    assert widget.summary.startswith("Epoch 2, none empty.")
    widget(Evaluated(3, 3, {"cluster_mass": [float("nan")] * 4, "n_empty": 0}))
    assert copy.found[-1][0][0] == "bad" and "diverged" in widget.summary
    alone = ClusterHealth()
    for event in failing:
        widget(event)
        alone(event)
    assert copy.k == 10 and copy.epochs == list(range(41)) and widget.summary == alone.summary


def test_a_late_widget_and_one_of_a_folder_show_the_same(failing, tmp_path):
    "Names come from the folder; the language may change; the picture can be saved."
    shared, log = History(), RunLog(tmp_path / "run")
    early, _ = watched(*failing)
    for event in failing:
        shared(event)
        log(event)
    late = ClusterHealth(history=shared)
    assert late.summary == early.summary and late.backlog()[0][1] == early.backlog()[0][1]
    (tmp_path / "run" / "clusters.json").write_text(json.dumps({"names": {"4": "<b>fours</b>"}}))
    attached = ClusterHealth.attach(tmp_path / "run", lang="zh")
    assert attached.wait(20) and attached.summary.startswith("第 40 轮：10 个簇")
    assert attached.named_clusters() == {4: "<b>fours</b>"}
    attached.lang = "en"
    assert attached.summary == early.summary
    assert attached.save_figure(tmp_path / "health.pdf").stat().st_size > 10_000


def test_a_real_run_in_two_languages(run):
    "A run of three epochs is far too short, and the widget says so."
    widget = ClusterHealth.attach(run.folder)
    assert widget.wait(20) and widget.summary.startswith("Epoch 3: 10 clusters of ")
    finding = widget._found(widget.evaluations.last)[0]
    assert finding[0] in SEVERITY.values() and widget.summary.endswith(finding[1])
    widget.lang = "zh"
    assert widget.summary.startswith("第 3 轮：10 个簇")


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"limit": 1}, ValueError, "limit must be >= 2, got 1"),
        ({"limit": 2.5}, TypeError, "limit must be a whole number"),
        ({"lang": "fr"}, ValueError, "lang must be one of"),
    ],
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        ClusterHealth(**arguments)


def test_the_similarity_needs_a_snapshot():
    widget, _ = watched(START, evaluated(1, SURE), snapshot(1, SURE))
    with pytest.raises(ValueError, match=r"epoch must be that of a snapshot: one of \[1\], got 39"):
        widget.similarity(39)
