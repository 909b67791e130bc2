"The run folder: what it keeps, what it refuses, and a run by hand that is killed and resumed to the same bits."

import hashlib
import os
import re
from dataclasses import replace

import pytest
import torch
from running import same
from safetensors import safe_open

from dcacn_nb.core.events import StepDone
from dcacn_nb.core.locks import lock
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.loading import load_images
from dcacn_nb.method.config import build_model, build_views, preset
from dcacn_nb.method.step import VIEWS, Batch, Method, TrainState, encode, train_step
from dcacn_nb.runs.checkpoint import list_checkpoints
from dcacn_nb.runs.folder import FolderInUse, RunFolder, describe_run, fingerprint, load_run, read_about
from dcacn_nb.runs.log import read_events


@pytest.fixture(scope="module")
def more_digits():
    return load_images("digits", limit=240)


@pytest.fixture(scope="module")
def tiny(more_digits):
    quick = {"width": 4, "projection_dim": 8, "batch_size": 40, "n_local": 1}
    return preset("default", more_digits, 10, lr=0.01, keep_last=2, device="cpu", **quick)


@pytest.fixture(scope="module")
def opened(more_digits, tiny):
    "A function that opens a folder with a new state."
    about = describe_run(Method(), tiny, more_digits.images)

    def opened(path, resume=False, seed=0):
        state = TrainState(build_model(replace(tiny, seed=seed)).train(), tiny)
        return RunFolder(path, state, about, more_digits.protocol, resume)

    return opened


@pytest.fixture(scope="module")
def go(more_digits, tiny):
    "A function that takes steps up to a number, logs each, and saves after some of them."
    views = build_views(tiny)

    def go(folder, until, save_at=()):
        state = folder.state
        while state.step < until:
            i = state.step % 6
            images = more_digits.images[40 * i : 40 * i + 40]
            terms = train_step(state, Batch(images, views, generator(0, VIEWS, state.step)), 0.01)
            state.step += 1
            losses = {name: float(value) for name, value in terms.items()}
            folder.log(StepDone(state.step, 1, losses, 0.01, losses.pop("grad_norm")))
            if state.step in save_at:
                folder.save()

    return go


@pytest.fixture(scope="module")
def whole(opened, go, tmp_path_factory):
    "A run of six steps that was never killed, and is closed."
    folder = opened(tmp_path_factory.mktemp("runs") / "whole")
    go(folder, 6, save_at=[6])
    folder.close()
    return folder


def tensors_of(path):
    "The last checkpoint's tensors, read by the safetensors library."
    with safe_open(list_checkpoints(path / "checkpoints")[-1], "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is not a dict


# --- what identifies a run ----------------------------------------------------------------------------------------
def test_the_fingerprint_is_a_digest_of_shape_and_bytes(more_digits):
    "Written again with hashlib, on a set so small that all of its images count."
    images = more_digits.images
    by_hand = hashlib.sha256(b"(240, 1, 8, 8)" + images.numpy().tobytes()).hexdigest()[:16]
    assert fingerprint(images) == fingerprint(images, None) == by_hand


def test_a_fingerprint_of_the_bytes_alone_would_not_do(more_digits):
    "A wrong variant: it cannot distinguish a set from its reshaped self."
    images = more_digits.images
    reshaped = images.reshape(240, 1, 4, 16)
    bytes_only = lambda images: hashlib.sha256(images.numpy().tobytes()).hexdigest()
    assert bytes_only(reshaped) == bytes_only(images) and fingerprint(reshaped) != fingerprint(images)


# --- killed and resumed -------------------------------------------------------------------------------------------
def test_a_killed_run_resumes_to_the_bits_of_one_that_was_not(opened, go, whole, tmp_path, more_digits, tiny):
    "Saved after step 3 of 6, closed as a kill would, opened with other weights: all of them must come from the file."
    killed = opened(tmp_path / "killed")
    go(killed, 6, save_at=[3])
    killed.close()
    assert len(read_events(tmp_path / "killed")) == 6 and len(list_checkpoints(tmp_path / "killed/checkpoints")) == 1
    back = opened(tmp_path / "killed", resume=True, seed=5)
    assert back.state.step == 3 and [event.step for event in back.past()] == [1, 2, 3]
    go(back, 6, save_at=[4, 5, 6])
    back.save_best(step=6, view_information=0.5)
    back.close()
    assert same(tensors_of(whole.path), tensors_of(tmp_path / "killed"))
    assert read_events(whole.path) == read_events(tmp_path / "killed")
    files = {p.relative_to(back.path).as_posix() for p in back.path.rglob("*") if p.is_file()} - {".lock.2"}
    kept = {f"checkpoints/{name}.safetensors" for name in ("best", "step_00000005", "step_00000006")}
    assert files == {"config.json", "events.jsonl"} | kept
    best, _ = load_run(tmp_path / "killed", "best")
    assert torch.equal(encode(best, more_digits.images, tiny), encode(whole.state.model, more_digits.images, tiny))


def test_without_cutting_the_log_steps_would_be_reported_twice(opened, go, whole, tmp_path):
    "A wrong variant of resuming."
    uncut = opened(tmp_path / "uncut")
    go(uncut, 6, save_at=[3])
    uncut.close()
    lines = (tmp_path / "uncut" / "events.jsonl").read_bytes()
    again = opened(tmp_path / "uncut", resume=True)
    again.begin().path.write_bytes(lines)  # as if the log had not been cut
    go(again, 6)
    again.close()
    assert read_events(tmp_path / "uncut") != read_events(whole.path)
    assert [event.step for event in read_events(tmp_path / "uncut")] == [1, 2, 3, 4, 5, 6, 4, 5, 6]


def test_killed_before_its_first_checkpoint_a_run_starts_over(opened, go, tmp_path):
    young = opened(tmp_path / "young")
    go(young, 2)
    young.close()
    over = opened(tmp_path / "young", resume=True)
    assert over.state.step == 0 and list(over.past()) == []
    over.close()


def test_load_run_gives_network_and_settings(whole, more_digits, tiny):
    model, config = load_run(whole.path)
    p = encode(model, more_digits.images, tiny)
    assert config == tiny and torch.equal(p, encode(whole.state.model, more_digits.images, tiny))
    assert not model.training and read_about(whole.path)["protocol"] == more_digits.protocol


# --- limits -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def reopened(more_digits, tiny):
    "A function that opens a folder with other settings or images."

    def reopened(path, resume=True, **changes):
        images = changes.pop("images", more_digits.images)
        config = replace(tiny, **changes)
        about = describe_run(Method(), config, images)
        return RunFolder(path, TrainState(build_model(config), config), about, {}, resume)

    return reopened


def test_what_is_refused(reopened, whole, tmp_path, more_digits):
    with pytest.raises(FileExistsError, match="already holds a run; resume it with resume=True, or choose another"):
        reopened(whole.path, resume=False)
    with pytest.raises(OSError, match="run_dir cannot be written to"):
        reopened(whole.path / "config.json")
    with pytest.raises(ValueError) as caught:
        reopened(whole.path, lr=0.02, epochs=5, images=more_digits.images.flip(0))
    message = str(caught.value)
    assert "lr: 0.01 in the run, 0.02 now" in message and "images: not the ones" in message and "epochs: " in message
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json' is damaged .*; restore it, or start again in another folder"):
        reopened(tmp_path)
    with pytest.raises(ValueError, match="which must be one of 'last', 'best', got 'latest'"):
        load_run(whole.path, "latest")
    with pytest.raises(ValueError, match="no checkpoint in .*nowhere"):
        load_run(whole.path / "nowhere")


def test_settings_that_do_not_affect_the_result_may_change(reopened, whole):
    reopened(whole.path, keep_last=5, checkpoint_seconds=1.0).close()


def test_a_folder_in_use_is_refused_until_it_is_closed(opened, tmp_path):
    busy = opened(tmp_path / "busy")
    with pytest.raises(FolderInUse, match="is in use by a run that has not ended; stop that one first, or choose"):
        opened(tmp_path / "busy", resume=True)
    busy.close()
    opened(tmp_path / "busy", resume=True).close()


def test_the_lock_is_the_one_of_the_core(opened, tmp_path):
    "What `core.locks.lock` holds, a run does not take; and a refusal at the folder's content frees it."
    tmp_path.joinpath("held").mkdir()
    with lock(tmp_path / "held" / ".lock"), pytest.raises(FolderInUse):
        opened(tmp_path / "held")
    (tmp_path / "held" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError):
        opened(tmp_path / "held")
    lock(tmp_path / "held" / ".lock").release()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_lock_that_is_a_link_is_not_followed(opened, tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock.1").symlink_to(target)
    with pytest.raises(OSError, match="run_dir cannot be written to .*symbolic link"):
        opened(tmp_path / "run")
    assert target.read_text() == "kept"


@pytest.mark.parametrize("wrong", [None, 5, ["run"]])
def test_what_is_not_a_path_names_its_argument(wrong):
    with pytest.raises(TypeError, match=rf"folder must be a path, got {re.escape(repr(wrong))}"):
        load_run(wrong)


def test_a_folder_in_the_home_and_one_without_a_name(opened, tmp_path, monkeypatch):
    "`~` is the home folder, to write and to read; an empty name is not the current folder."
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    opened("~/run").close()
    assert read_about("~/run")["method"] == "dcacn" and not (tmp_path / "~").exists()
    assert (tmp_path / "home" / "run" / "config.json").exists()
    with pytest.raises(ValueError, match="run_dir must name a folder, got ''"):
        opened("")
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
