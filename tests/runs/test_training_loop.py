"Training put together by `fit`: what observers, log, folder and checkpoints hold, and a stop that leaves no trace."

import json
from dataclasses import asdict, replace

import pytest
import torch
from running import in_a_loop, same, until

from dcacn_nb.core.events import EpochDone, HeadSet, StepDone
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import build_model, from_dict
from dcacn_nb.method.step import TrainingDiverged, TrainState, encode, place
from dcacn_nb.method.train import train
from dcacn_nb.runs.checkpoint import (
    checkpoint_path,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from dcacn_nb.runs.folder import load_run
from dcacn_nb.runs.log import read_events, watch


@pytest.fixture(scope="module")
def settings(config):
    "Six steps, a head start after three; every second one is reported, and two snapshots are taken."
    return replace(config, snapshot_every=2, cluster_start=0.5)


@pytest.fixture(scope="module")
def whole(digits, settings, tmp_path_factory):
    "A run that nothing interrupts: the run, its folder, and what an observer received."
    folder, received = tmp_path_factory.mktemp("loop") / "whole", []
    run = fit(digits, settings, labels=digits.labels, run_dir=folder, observers=[received.append], report=False)
    return run, folder, received


def final_tensors(folder):
    return load_checkpoint(latest_checkpoint(folder / "checkpoints"))[0]


def test_observers_log_and_folder_agree(digits, settings, whole):
    run, folder, received = whole
    assert run.status == "completed" and run.state.step == 6
    assert [type(event).__name__ for event in received][-1] == "RunFinished"
    assert received == read_events(folder)
    model, config = load_run(folder)
    assert config == settings and torch.equal(encode(model, digits.images, settings), run.probabilities)
    assert {"config.json", "checkpoints"} <= {path.name for path in folder.iterdir()}


def test_watching_a_folder_gives_the_same_events(whole):
    _, folder, received = whole
    seen = []
    watch(folder, [seen.append])
    assert seen == received


def test_a_run_in_the_background_is_stopped_and_awaited(digits, endless, tmp_path):
    run = fit(digits, endless, run_dir=tmp_path, background=True, report=False)
    until(lambda: run.state.step >= 5)
    run.stop()

    async def wait():
        await run

    in_a_loop(wait)
    assert run.status == "stopped" and read_events(tmp_path)[-1].reason == "stopped"
    checkpoints = tmp_path / "checkpoints"
    assert list_checkpoints(checkpoints)[-1] == checkpoint_path(checkpoints, run.state.step)


# --- the same bits ------------------------------------------------------------------------------------------------
def drive(digits, settings, state, until=None):
    "Drive the generator from a state to its end, or to the None at a step; returns the events."
    events, known = [], {"labels": digits.labels, "protocol": digits.protocol}
    for event in train(state.model, digits.images, settings, state=state, **known):
        if event is None and state.step == until:
            break
        events += [] if event is None else [event]
    return events


def interrupted(digits, settings, folder, before_saving):
    "Stop after 5 of 6 steps, in the middle of an epoch and of a report; save to a file, load, continue."
    state = TrainState(build_model(settings), settings)
    events = drive(digits, settings, state, until=5)
    assert len(state.window) == 1
    before_saving(state)
    path = save_checkpoint(folder / "by_hand.safetensors", state.tensors(), state.meta())
    other = TrainState(build_model(replace(settings, seed=7)), settings)  # other weights: all must come from the file
    place(other.model, settings)
    other.restore(*load_checkpoint(path))
    events += drive(digits, settings, other)
    return other.tensors(), events


def test_resumed_by_hand_gives_the_same_bits_and_events(digits, settings, whole, tmp_path):
    _, folder, received = whole
    tensors, events = interrupted(digits, settings, tmp_path, lambda state: None)
    assert same(tensors, final_tensors(folder)) and events == received


def test_without_the_unreported_losses_the_events_differ(digits, settings, whole, tmp_path):
    "A wrong variant: the weights come out the same, but the next report and the mean of the epoch miss a step."
    _, folder, received = whole
    tensors, events = interrupted(digits, settings, tmp_path, lambda state: state.window.clear())
    assert same(tensors, final_tensors(folder))
    different = [type(a).__name__ for a, b in zip(received, events) if a != b]
    assert different == ["StepDone", "EpochDone"]


def test_stopped_by_an_observer_and_resumed_by_fit(digits, settings, whole, tmp_path):
    "The second call knows nothing but the folder, and its observers receive all events from the beginning."
    _, folder, received = whole

    def stop_at_2(event):
        if isinstance(event, StepDone) and event.step >= 2:
            stopped.stop()

    known = {"labels": digits.labels, "run_dir": tmp_path, "report": False}
    stopped = fit(digits, settings, observers=[stop_at_2], start=False, **known)
    stopped.drive()
    assert stopped.status == "stopped" and 2 <= stopped.state.step < 6
    replayed = []
    resumed = fit(digits, settings, resume=True, observers=[replayed.append], **known)
    assert resumed.status == "completed" and resumed.state.step == 6
    assert same(final_tensors(tmp_path), final_tensors(folder))
    assert replayed == received == read_events(tmp_path)


# --- the start of the cluster head --------------------------------------------------------------------------------
AROUND = {
    "the last step before it": lambda event: isinstance(event, StepDone) and event.step == 3,
    "the start itself": lambda event: isinstance(event, HeadSet),
    "the end of its epoch": lambda event: isinstance(event, EpochDone),
    "the first step after it": lambda event: isinstance(event, StepDone) and event.step == 4,
}


def test_the_start_is_reported_once_and_the_cluster_losses_follow_it(whole):
    _, _, received = whole
    place = [type(event).__name__ for event in received].index("HeadSet")
    before, after = ([e for e in part if isinstance(e, StepDone)] for part in (received[:place], received[place:]))
    assert before and all(set(event.losses) == {"total", "instance"} for event in before)
    assert after and all({"cluster", "balance"} < set(event.losses) for event in after)
    assert sum(isinstance(event, HeadSet) for event in received) == 1 and received[place].epoch == 1


@pytest.mark.parametrize("name", AROUND)
def test_stopped_around_the_start_and_resumed(name, digits, settings, tmp_path, by_step):
    "The same bits and events, wherever the run is left."
    stop = lambda event: stopped.stop() if AROUND[name](event) else None
    known = {"labels": digits.labels, "run_dir": tmp_path, "report": False}
    stopped = fit(digits, replace(settings, log_every=1), observers=[stop], start=False, **known)
    stopped.drive()
    assert stopped.status == "stopped" and 3 <= stopped.state.step <= 4
    fit(digits, replace(settings, log_every=1), resume=True, **known)
    events, tensors = by_step
    assert read_events(tmp_path) == events and same(final_tensors(tmp_path), tensors)


@pytest.fixture(scope="module")
def by_step(digits, settings, tmp_path_factory):
    "Events and final tensors of a run that reports each step."
    folder = tmp_path_factory.mktemp("by_step")
    fit(digits, replace(settings, log_every=1), labels=digits.labels, run_dir=folder, report=False)
    return read_events(folder), final_tensors(folder)


def without_the_setting(folder):
    "Make the folder that of a run from before the setting existed."
    about = json.loads((folder / "config.json").read_text())
    about["config"].pop("cluster_start")
    (folder / "config.json").write_text(json.dumps(about))
    for path in list_checkpoints(folder / "checkpoints"):
        tensors, meta = load_checkpoint(path)
        meta["config"].pop("cluster_start")
        save_checkpoint(path, tensors, meta)
    return from_dict(about["config"])


def test_a_run_from_before_the_setting_stays_what_it_was(digits, settings, tmp_path):
    plain = replace(settings, cluster_start=0.0)
    whole = fit(digits, plain)
    stopped = fit(digits, plain, run_dir=tmp_path, report=False, start=False)
    stopped.subscribe(lambda event: stopped.stop() if isinstance(event, StepDone) else None)
    assert stopped.drive().status == "stopped" and stopped.state.step == 2
    old = without_the_setting(tmp_path)
    assert old == plain and asdict(load_run(tmp_path)[1])["cluster_start"] == 0
    with pytest.raises(ValueError, match="cluster_start: 0.0 in the run, 0.5 now"):
        fit(digits, settings, run_dir=tmp_path, resume=True)
    resumed = fit(digits, old, run_dir=tmp_path, resume=True, report=False)
    assert same(resumed.state.tensors(), whole.state.tensors())


# --- what is refused ----------------------------------------------------------------------------------------------
def test_a_run_that_diverges_fails_and_saves_only_what_is_finite(digits, settings, tmp_path):
    wild = replace(settings, lr=1e30, warmup_epochs=0.0, optimizer="adam")
    with pytest.raises(TrainingDiverged, match="not finite at step"):
        fit(digits, wild, run_dir=tmp_path, report=False)
    last = read_events(tmp_path)[-1]
    assert last.reason == "failed" and "not finite" in last.message
    for path in list_checkpoints(tmp_path / "checkpoints"):
        assert all(value.isfinite().all() for value in load_checkpoint(path)[0].values())


def test_a_folder_that_holds_a_run_is_not_overwritten(digits, settings, whole):
    with pytest.raises((ValueError, OSError), match="resume=True"):
        fit(digits, settings, run_dir=whole[1])


def test_what_differs_from_the_run_to_resume_is_listed(digits, settings, whole):
    changed = replace(settings, lr=0.02, epochs=5)
    with pytest.raises(ValueError) as caught:
        fit(digits.images.flip(0), changed, run_dir=whole[1], resume=True)
    for difference in ("epochs: 2 in the run, 5 now", "lr: 0.01 in the run, 0.02 now", "images: not the ones"):
        assert difference in str(caught.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: {"images": x.images.float()}, "images must be a uint8 tensor"),
        (lambda x: {"images": x.images[:30]}, "30 images are fewer than batch_size=40"),
        (lambda x: {"images": x.images.repeat(1, 3, 1, 1)}, "images have 3 channels, but channels=1"),
        (lambda x: {"labels": x.labels[:5]}, "labels must have one entry per image, 120, got 5"),
        (lambda x: {"extra": x.images[:5]}, "extra: 5 images are fewer than batch_size=40"),
        (lambda x: {"observers": print}, "observers must be a list of functions"),
        (lambda x: {"resume": True}, "resume=True needs run_dir"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(digits, settings, change, message):
    arguments = {"images": digits} | change(digits)
    with pytest.raises((TypeError, ValueError), match=message):
        fit(arguments.pop("images"), settings, **arguments)


def test_numbers_of_clusters_that_cannot_work_are_refused(digits, settings):
    with pytest.raises(ValueError, match="n_clusters must be <= the number of images, 120, got 121"):
        fit(digits, replace(settings, n_clusters=121))
    with pytest.raises(ValueError, match="model has 3 clusters, but n_clusters=10"):
        fit(digits, settings, model=build_model(replace(settings, n_clusters=3)))
