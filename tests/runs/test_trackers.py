"TensorBoard and Weights & Biases are given what the events say, once."

import importlib.util
import json
import math
import time

import pytest

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, StepDone
from dcacn_nb.runs.trackers import TensorBoard, WandB, figures, make_tracker

EVENTS = [
    RunStarted("dcacn", {"lr": 0.1, "name": "a|b"}, {"source": "x"}, 100, 20, 10, time=1000.0),
    StepDone(5, 1, {"total": 3.5, "instance": 2.0}, 0.01, 1.5, images_per_second=math.nan, time=1010.0),
    StepDone(10, 1, {"total": 2.5, "instance": math.inf}, 0.02, 1.0, images_per_second=9.0, time=1020.0),
    EpochDone(1, 10, {"total": 3.0}, 20.0, time=1021.0),
    Evaluated(1, 10, {"view_information": 0.5, "cluster_mass": [0.5, 0.5]}, {"acc": 0.75}, time=1022.0),
    RunFinished("completed", 10, 1),
]
SCALARS = {
    "step/total": [(5, 3.5, 1010.0), (10, 2.5, 1020.0)],
    "step/instance": [(5, 2.0, 1010.0)],
    "step/lr": [(5, 0.01, 1010.0), (10, 0.02, 1020.0)],
    "step/grad_norm": [(5, 1.5, 1010.0), (10, 1.0, 1020.0)],
    "step/images_per_second": [(10, 9.0, 1020.0)],
    "epoch/total": [(10, 3.0, 1021.0)],
    "epoch/seconds": [(10, 20.0, 1021.0)],
    "health/view_information": [(10, 0.5, 1022.0)],
    "scores/acc": [(10, 0.75, 1022.0)],
}


def read(folder):
    "The scalars that TensorBoard would show: name -> (step, value, time)."
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(e.step, pytest.approx(e.value), e.wall_time) for e in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }, found.Tags()["tensors"]


def test_tensorboard_shows_every_finite_figure(tmp_path):
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path / "board")
    for event in EVENTS:
        board(event)
    scalars, texts = read(tmp_path / "board")
    assert scalars == SCALARS and len(texts) == 2, "and the settings and the method as text"


def test_a_resumed_run_is_shown_once(tmp_path):
    "Its earlier events come again. Files of others in the folder stay."
    pytest.importorskip("tensorboard")
    (tmp_path / "events.out.tfevents.1.other").write_bytes(b"")
    for until in (3, 6):
        board = TensorBoard(tmp_path)
        for event in EVENTS[:until]:
            board(event)
        board.close()
    assert read(tmp_path)[0] == SCALARS
    assert len(list(tmp_path.iterdir())) == 2 and (tmp_path / "events.out.tfevents.1.other").exists()


def test_events_before_a_start_are_passed_over(tmp_path):
    "An observer that subscribes late."
    pytest.importorskip("tensorboard")
    board = TensorBoard(tmp_path / "board")
    for event in EVENTS[1:]:
        board(event)
    assert not (tmp_path / "board").exists()


def records(path):
    "The records of a .wandb file: LevelDB's log format, after a header of seven bytes; all in its first block."
    from wandb.proto import wandb_internal_pb2

    data, at = path.read_bytes(), 7
    assert data[:4] == b":W&B" and len(data) < 2**15
    while at < len(data):
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        assert kind == 1, "a whole record"
        yield wandb_internal_pb2.Record.FromString(data[at + 7 : at + 7 + length])
        at += 7 + length


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    "Nothing is sent, whatever the environment says; what `wandb sync` would upload is read back."
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    tracker = WandB("project", folder=tmp_path, name="run")
    for event in EVENTS:
        tracker(event)
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    deadline, rows = time.monotonic() + 20, {}
    while not any(record.HasField("exit") for record in records(path)):  # wandb's own process writes it
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for record in records(path):
        for item in record.history.item:
            rows.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    assert {name: values for name, values in rows.items() if not name.startswith("_")} == {
        name: [value for _, value, _ in values] for name, values in SCALARS.items()
    }
    assert rows["_step"] == [5, 10]


def test_what_is_missing_or_wrong_is_said(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'tensorboard', 'wandb'"):
        make_tracker("mlflow", tmp_path)
    with pytest.raises(ValueError, match="'offline', 'online', 'disabled'"):
        WandB(mode="on")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(ModuleNotFoundError, match=rf"{name} is not installed: pip install 'dcacn_nb\[track\]'"):
            make_tracker(name, tmp_path)


def test_names_are_the_same_in_both():
    assert {name for event in EVENTS for name, _ in figures(event)} == set(SCALARS)
