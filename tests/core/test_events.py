"Events: plain values only, equal when they mean the same, and unchanged by strict JSON."

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits

from dcacn_nb.core.events import (
    EpochDone,
    Evaluated,
    HeadSet,
    RunFinished,
    RunStarted,
    SnapshotTaken,
    StepDone,
    from_dict,
    to_dict,
)

AWKWARD = [
    *(math.nan, math.inf, -math.inf, 0.1 + 0.2, 1e-308, -0.0, 2**63, True, None),
    *("", "NaN", "\\NaN", "\\\\Infinity", "-Infinity", "nan", '\u4e2d\u6587 \u2028 "quote"\n'),
    *([], {}, [[math.nan]]),
]


def kmeans_events(images, n_clusters=10, epochs=2, batch=600, seed=0):
    "Mini-batch K-Means that reports on itself: any loop can emit events."
    model = MiniBatchKMeans(n_clusters, random_state=seed, n_init=1)
    steps = len(images) // batch
    config = {"n_clusters": n_clusters, "seed": seed}
    yield RunStarted("kmeans", config, {"source": "digits"}, len(images), epochs * steps, steps)
    order = np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        for i, part in enumerate(np.array_split(order.permutation(len(images)), steps), (epoch - 1) * steps + 1):
            model.partial_fit(images[part])
            loss = -model.score(images[part]) / len(part)
            yield StepDone(i, epoch, {"total": loss}, lr=0.0, grad_norm=0.0)
        share = np.bincount(model.predict(images), minlength=n_clusters) / len(images)
        yield Evaluated(epoch, epoch * steps, {"cluster_mass": share.tolist()})
    yield SnapshotTaken(epochs, epochs * steps, np.arange(5), {"h": images[:5].astype(np.float32)})
    yield RunFinished("completed", epochs * steps, epochs)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data / 16


@pytest.fixture(scope="module")
def seen(digits):
    "The events of one run."
    return list(kmeans_events(digits))


def refuse_constant(word):
    raise AssertionError(f"{word} is not JSON")


def through_json(event):
    "An event written and read; `parse_constant` makes Python's reader fail on a bare NaN."
    text = json.dumps(to_dict(event, arrays=False), allow_nan=False)
    return from_dict(json.loads(text, parse_constant=refuse_constant))


def test_equal_means_the_same_experiment(digits, seen):
    assert list(kmeans_events(digits)) == seen and replace(seen[0], time=0.0) == seen[0]
    assert list(kmeans_events(digits, seed=1)) != seen
    assert replace(seen[1], images_per_second=7.0) == seen[1] != replace(seen[1], lr=0.5)


def test_the_start_of_the_cluster_head_is_an_event():
    event = HeadSet(5, 140, 0.93)
    assert through_json(event) == event == HeadSet(5, 140, 0.93, time=0.0) != HeadSet(5, 140, 0.94)
    with pytest.raises(ValueError, match="HeadSet.cosine must be a number"):
        from_dict({"event": "HeadSet", "epoch": 5, "step": 140, "cosine": "high"})


def test_a_round_trip_changes_nothing(seen):
    plain = [event for event in seen if not isinstance(event, SnapshotTaken)]
    assert len(plain) == len(seen) - 1 and [through_json(event) for event in plain] == plain
    assert all(from_dict(to_dict(event)) == event for event in seen)
    written = {**to_dict(seen[1]), "time": 0.0}
    assert list(written) == ["event", "step", "epoch", "losses", "lr", "grad_norm", "images_per_second", "time"]
    assert written["event"] == "StepDone" and written["images_per_second"] == "NaN"


def test_awkward_values_survive_with_their_types():
    event = RunStarted("m", {"values": AWKWARD}, {}, 1, 1, 1)
    back = through_json(event)
    assert back == event
    assert [type(value) for value in back.config["values"]] == [type(value) for value in AWKWARD]


def test_nan_is_not_null():
    "The wrong variants: NaN as null, and a plain comparison of dictionaries."
    diverged = StepDone(1, 1, {"total": float("nan")}, lr=1e-3, grad_norm=float("inf"))
    assert through_json(diverged) == diverged
    as_null = json.loads(json.dumps(to_dict(diverged)).replace('"NaN"', "null"))
    with pytest.raises(ValueError, match="images_per_second must be a number, got 'None'"):
        from_dict(as_null)
    null_loss = from_dict(as_null | {"images_per_second": 1.0})
    assert null_loss != diverged, "null would lose the difference between NaN and 'not measured'"
    assert {"total": float("nan")} != {"total": float("nan")}, "so a plain comparison of dictionaries is not enough"


def test_a_snapshot_keeps_its_own_copy():
    h = np.ones((3, 2), np.float32)
    snapshot = SnapshotTaken(1, 1, [0, 1, 2], {"h": h})
    h[:] = 0
    assert snapshot.arrays["h"].sum() == 6, "what happens to the model later must not change history"
    assert SnapshotTaken(1, 1, [], {}) == through_json(snapshot), "without its arrays a snapshot comes back empty"


def test_arrays_are_compared_by_type_shape_and_content():
    ones = np.ones((3, 2), np.float32)
    snapshot = SnapshotTaken(1, 1, [0, 1, 2], {"h": ones})
    assert snapshot == SnapshotTaken(1, 1, np.arange(3), {"h": ones.copy()})
    for other in ({"h": ones.astype(float)}, {"h": ones.reshape(2, 3)}, {"p": ones}, {"h": np.zeros_like(ones)}):
        assert snapshot != SnapshotTaken(1, 1, np.arange(3), other)


def test_equality_has_no_tolerance():
    "A resumed run repeats the uninterrupted one bit by bit; doubles near 1 are 2.2e-16 apart."
    at = lambda loss: StepDone(1, 1, {"total": loss}, 0.1, 0.0)
    assert at(1.0) == at(1.0 + 1e-16) and at(1.0) != at(1.0 + 1e-15)


class Tensor:
    "In the place of a live tensor of any library."


@pytest.mark.parametrize(
    "make, error, words",
    [
        (
            lambda: EpochDone(1, 4, {"total": Tensor()}),
            TypeError,
            r"EpochDone.losses\['total'\] must be a plain number",
        ),
        (lambda: Evaluated(1, 4, {"cluster_mass": {0: 0.5}}), TypeError, r"must have text keys, got 0 \(int\)"),
        (lambda: SnapshotTaken(1, 4, [0], {"h": Tensor()}), TypeError, r"arrays\['h'\] must be a numeric NumPy array"),
        (lambda: SnapshotTaken(1, 4, [0], [1]), TypeError, "arrays must be a dict of NumPy arrays, got list"),
        (lambda: SnapshotTaken(1, 4, [0.5], {}), ValueError, "must be a list of whole numbers, got float64"),
        (lambda: RunFinished("done", 4, 1), ValueError, "reason must be one of 'completed', .*got 'done'"),
        (lambda: from_dict({"event": "StepDon"}), ValueError, "did you mean 'StepDone'"),
        (lambda: from_dict({"event": "EpochDone", "epoch": 1}), ValueError, "not a complete EpochDone: .*'losses'"),
        (
            lambda: from_dict({"event": "EpochDone", "epoch": 1, "step": 1, "losses": {}, "memory": 3}),
            ValueError,
            "EpochDone has no field 'memory'; was it written by a newer version",
        ),
        *(
            (lambda d=d: from_dict({"event": "EpochDone", "epoch": 1, "step": 1, "losses": {}} | d), ValueError, words)
            for d, words in (
                ({"epoch": "1"}, "EpochDone.epoch must be a whole number, got '1'"),
                ({"epoch": True}, "epoch must be a whole number, got 'True'"),
                ({"step": 10**30}, "step must be a whole number"),
                ({"step": 1.5}, "step must be a whole number, got '1.5'"),
                ({"losses": [1]}, "losses must be an object"),
                ({"seconds": None}, "seconds must be a number, got 'None'"),
                ({"time": "now"}, "time must be a number"),
            )
        ),
        (lambda: to_dict({"step": 1}), TypeError, "event must be one of RunStarted, .*got dict"),
        (lambda: hash(RunFinished("completed", 4, 1)), TypeError, "unhashable"),
    ],
)
def test_bad_events_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_an_event_cannot_change(seen):
    with pytest.raises(FrozenInstanceError):
        seen[0].method = "other"
