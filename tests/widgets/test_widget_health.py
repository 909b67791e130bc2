"What ClusterHealth tells the browser, without a browser: numbers, findings, likeness, names, and bounds."

import json
import math
import threading

import numpy as np
import pytest

from dcacn_nb.core.events import Evaluated, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.method.metrics import assignment_health
from dcacn_nb.report.diagnosis import SEVERITY
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.health import ClusterHealth, row
from dcacn_nb.widgets.live import esm

START = RunStarted("dcacn", {"balance_weight": 0.0, "epochs": 9, "n_clusters": 4}, {}, 8, 90, 10)
SURE = np.eye(4)[[0, 0, 0, 1, 1, 2, 2, 3]] * 0.96 + 0.01  # 8 images, 4 clusters
LOST = SURE[:, [0, 1, 2, 3]] @ np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
)  # nobody is in cluster 3


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
    "The answer to a view that asks for the likeness at an epoch; None if there is none."
    before = len(sent)
    widget._on_message(widget, {"kind": "alike", "epoch": epoch}, [])
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
    assert np.isnan(later[8:10]).all() and later[12] == 1 and numbers[12] == 0


def test_findings_follow_the_epoch_and_the_language():
    "Each epoch has its own findings, with the run's settings in them; severities are those the browser has icons for."
    widget, sent = watched(START, evaluated(0, SURE), evaluated(1, LOST), evaluated(2, SURE), lang="en")
    found = widget.backlog()[0][0]["found"]
    assert [severity for severity, _ in found[0]] == ["note", "good"] and found[0][0][1].startswith("Epoch 0")
    assert found[1] == [
        (
            "warning",
            "1 of 4 clusters is empty or nearly so (under a tenth of an even share). What to try: raise balance_weight (now 0, usually 1); "
            "raise epochs (now 9); lower n_clusters (now 4) if you expect fewer groups.",
        )
    ]
    widget.lang = "zh"
    assert widget.backlog()[0][0]["found"][1][0][1].startswith("4 个簇中有 1 个为空") and widget.summary.startswith(
        "第 2 轮：4 个簇"
    )
    script = esm("health").split("const HEALTH_ICONS = {")[1].split("}")[0]
    assert {part.split(":")[0].strip() for part in script.split(",")} == set(SEVERITY.values())


def test_likeness_is_asked_for():
    "Only epochs with a comparable snapshot can be asked for; the answer names the most alike pair, and twins only if both have images."
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
    content, [likeness] = asked(widget, sent, 2)
    likeness = likeness.reshape(4, 4)
    p = np.float32(between).astype(float)
    assert np.allclose(
        likeness,
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
    content, [likeness] = asked(widget, sent, 1)
    assert content["found"] == [] and (likeness.reshape(4, 4)[3] == 0).all() and 3 not in content["pair"]


@pytest.mark.parametrize("limit, epochs", [(2, 40), (7, 300), (50, 1000)])
def test_bounded(limit, epochs):
    "However long the run: the list, the history's part in it and the browser's copy stay small, evenly spread, and end with the newest."
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
    "Figures that a method does not take are not spoken of; sizes that are missing or not numbers do no harm."
    widget, _ = watched(
        RunStarted("kmeans", {"n_clusters": 3}, {}, 9, 1, 1),
        Evaluated(1, 1, {"cluster_share": [0.5, 0.5, 0.0], "n_empty": 1}),
    )
    assert not any(word in widget.summary for word in ("view", "entropy", "balance_weight", "nan"))
    assert row({"cluster_share": [0.5, 0.5, 0.0]}, 3)[:6] == [0.5, 0.5, 0.0] * 2
    widget(Evaluated(2, 2, {}))
    assert widget.summary.startswith("Epoch 2.") and len(widget.backlog()[0][1][0]) == 4 * 2 * (2 * 3 + 5)
    widget(Evaluated(3, 3, {"cluster_mass": [math.nan] * 3}))
    assert widget.backlog()[0][0]["found"][2][0][0] == "bad"
    assert (
        watched()[0].summary == "Waiting for the run to begin." and watched(START)[0].summary == "Nothing to show yet."
    )


def test_another_run_begins_anew():
    "A second run in the same widget forgets the first, also if it has another number of clusters."
    widget, sent = watched(START, evaluated(1, SURE), snapshot(1, SURE))
    assert asked(widget, sent, 1)
    widget(START)
    assert sent[-1][0]["epochs"] == [] and sent[-1][0]["snapshots"] == [] and asked(widget, sent, 1) is None
    widget(Evaluated(1, 10, {"cluster_mass": [0.5, 0.3, 0.2], "n_empty": 0}))
    assert sent[-1][0]["kind"] == "reset" and sent[-1][0]["k"] == 3


def test_somebody_elses_history():
    "With a history kept by somebody else: what it holds is taken over, and events are handed on by `update`."
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
        widget._on_message(widget, {"kind": "alike", "epoch": widget._snapshots()[-1]}, [])
        widget._on_message(widget, {"kind": "hello"}, [])
        questions.release()
    thread.join()
    widget(RunFinished("completed", 590, 59))
    assert len([1 for content, _ in sent if content["kind"] == "alike"]) > 0 and len(widget.evaluations) == 59
