"""What a run survives and what it refuses: pauses, faults, full disks, foreign files, Ctrl-C.

Also that labels never reach training."""

import asyncio
import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from running import full_disk, in_a_loop, same, until, weights

from dcacn_nb import fitting
from dcacn_nb.core.events import Evaluated, RunFinished, RunStarted, StepDone
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method import step as steps_module
from dcacn_nb.method.config import build_model, build_views, preset
from dcacn_nb.method.step import VIEWS, Batch, Method, TrainingDiverged, TrainState, encode, train_step
from dcacn_nb.runs import checkpoint, threads
from dcacn_nb.runs.checkpoint import CheckpointError, list_checkpoints, load_checkpoint, save_checkpoint
from dcacn_nb.runs.driver import Run
from dcacn_nb.runs.folder import RunFolder, describe_run, load_run
from dcacn_nb.runs.log import read_events, watch
from dcacn_nb.runs.progress import ProgressBar
from dcacn_nb.runs.threads import release_threads


@pytest.fixture(scope="module", autouse=True)
def no_report():
    "Reports have tests of their own, and their pictures take longer than these runs."
    before, fitting.write_report = fitting.write_report, lambda folder: None
    yield
    fitting.write_report = before


# --- pause and stop -----------------------------------------------------------------------------------------------
def test_pause_and_stop_act_within_a_step(digits, endless, tmp_path, monkeypatch):
    "After pause() or stop() returns, at most the step under way is finished."
    run = fit(digits, endless, run_dir=tmp_path, background=True)
    assert run._thread.daemon
    until(lambda: run.state.step >= 3)
    run.pause()
    at = run.state.step
    until(lambda: run.status == "paused")
    assert run.state.step <= at + 1
    held = run.state.step
    assert [int(p.stem.split("_")[1]) for p in list_checkpoints(tmp_path / "checkpoints")] == [held], (
        "a paused run is saved"
    )
    time.sleep(0.2)
    assert run.state.step == held
    run.resume()
    until(lambda: run.state.step > held)
    run.stop()
    at = run.state.step
    run.wait(60)
    assert run.status == "stopped" and run.state.step <= at + 1
    assert list_checkpoints(tmp_path / "checkpoints")[-1].stem.endswith(f"{run.state.step:08d}")
    assert read_events(tmp_path)[-1] == RunFinished("stopped", run.state.step, run.state.epoch)


def test_stop_ends_a_paused_run_and_a_later_pause_does_not_undo_it(digits, endless):
    run = fit(digits, endless, background=True)
    run.pause()
    until(lambda: run.status == "paused")
    run.stop()
    run.pause()
    run.wait(60)
    assert run.status == "stopped"


def test_pause_in_the_middle_of_an_evaluation(digits, endless, monkeypatch):
    many = digits.images.repeat(30, 1, 1, 1)
    run = fit(many, endless, background=True)
    until(lambda: run.status == "running")
    run.pause()
    until(lambda: run.status == "paused", 20)
    assert run.state.step == 0
    with pytest.raises(RuntimeError, match="not evaluated yet"):
        _ = run.probabilities
    run.stop()
    assert run.wait(60).status == "stopped"
    assert run.probabilities.shape == (3600, 10)


def test_a_pause_is_not_slowness(digits, endless):
    rates = []
    run = fit(
        digits,
        endless,
        observers=[lambda e: rates.append(e.images_per_second) if isinstance(e, StepDone) else None],
        background=True,
    )
    until(lambda: len(rates) > 2)
    run.pause()
    until(lambda: run.status == "paused")
    before = len(rates)
    time.sleep(3)
    run.resume()
    until(lambda: len(rates) > before + 1)
    run.stop()
    run.wait()
    assert rates[before] > 40 / 3 * 2, (
        f"two steps of 40 images and a pause of three seconds were reported as {rates[before]:.1f} images/s"
    )


# --- faults -------------------------------------------------------------------------------------------------------
def test_an_observer_that_raises_is_reported_once_and_dropped(digits, config, caplog):
    received, broken = [], []

    def faulty(event):
        broken.append(event)
        if isinstance(event, StepDone):
            raise ZeroDivisionError("a picture of nothing")

    run = fit(digits, config, observers=[faulty, received.append])
    assert run.status == "completed" and isinstance(received[-1], RunFinished)
    assert [type(e) for e in broken].count(StepDone) == 1 and isinstance(broken[-1], StepDone)
    reports = [r for r in caplog.records if "faulty" in r.getMessage()]
    assert len(reports) == 1 and reports[0].exc_info[0] is ZeroDivisionError


def test_divergence_names_the_step_and_keeps_the_good_checkpoint(digits, config, tmp_path, monkeypatch):
    real, calls = steps_module.dcacn_loss, [0]

    def poisoned(*args, **kwargs):
        losses = real(*args, **kwargs)
        calls[0] += 1
        return losses if calls[0] < 5 else {name: value * float("nan") for name, value in losses.items()}

    monkeypatch.setattr(steps_module, "dcacn_loss", poisoned)
    run = fit(digits, replace(config, epochs=3, log_every=3, checkpoint_seconds=0.0), run_dir=tmp_path, background=True)
    with pytest.raises(TrainingDiverged, match=r"not finite at step 5 \(total nan.*grad_norm nan\).*smaller lr"):
        run.wait(60)
    assert run.status == "failed" and "step 5" in repr(run)
    kept = list_checkpoints(tmp_path / "checkpoints")
    assert kept[-1].stem == "step_00000004"
    assert all(value.isfinite().all() for path in kept for value in load_checkpoint(path)[0].values())
    last = read_events(tmp_path)[-1]
    assert last.reason == "failed" and last.message.startswith("TrainingDiverged: ")


def test_a_weight_that_is_not_finite_is_not_saved(digits, config, tmp_path):
    def spoil(event):
        if isinstance(event, StepDone):
            with torch.no_grad():
                run.model.cluster_head[2].bias[0] = float("inf")
            run.stop()

    run = fit(digits, config, run_dir=tmp_path, observers=[spoil], start=False)
    with pytest.raises(TrainingDiverged, match="cluster_head.2.bias is not finite after step 2"):
        run.drive()
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_disk_full_at_a_checkpoint(digits, config, tmp_path, monkeypatch):
    full_disk(monkeypatch, checkpoint, "atomic_write", 4)
    with pytest.raises(
        OSError, match="could not write the checkpoint.*No space left on device; free some space"
    ) as caught:
        fit(digits, replace(config, checkpoint_seconds=0.0), run_dir=tmp_path)
    assert caught.value.errno == errno.ENOSPC
    kept = list_checkpoints(tmp_path / "checkpoints")
    assert kept and load_checkpoint(kept[-1])[1]["step"] == 3
    events = read_events(tmp_path)
    assert events[-1].reason == "failed" and "No space left" in events[-1].message and isinstance(events[0], RunStarted)
    monkeypatch.undo()
    assert fit(digits, config, run_dir=tmp_path, resume=True).status == "completed"


def test_disk_full_at_the_log_still_ends_the_run(digits, config, tmp_path, monkeypatch):
    "Not even the last event can be written: wait() returns, observers receive the end, the folder is free again."
    from dcacn_nb.runs import log as runlog

    received = []
    full_disk(monkeypatch, runlog.Appender, "__call__", 3)
    run = fit(digits, config, run_dir=tmp_path, observers=[received.append], background=True)
    with pytest.raises(OSError, match="No space left on device"):
        run.wait(60)
    assert run._done.is_set() and received[-1].reason == "failed"
    monkeypatch.undo()
    assert fit(digits, config, run_dir=tmp_path, resume=True).status == "completed"


def test_a_failing_report_does_not_lose_the_run(digits, config, tmp_path, monkeypatch, caplog):
    def failing(folder):
        raise KeyError("no such figure")

    monkeypatch.setattr(fitting, "write_report", failing)
    run = fit(digits, config, run_dir=tmp_path)
    assert run.status == "completed" and run.error is None and read_events(tmp_path)[-1].reason == "completed"
    assert any("report could not be written" in r.getMessage() for r in caplog.records)


def test_a_fault_in_the_background_surfaces(digits, config, monkeypatch, caplog):
    def failing(*args, **kwargs):
        raise MemoryError("no room for the crops")

    monkeypatch.setattr(steps_module, "train_step", failing)
    run = fit(digits, config, background=True)
    with pytest.raises(MemoryError, match="no room for the crops"):
        run.wait(60)

    async def awaiting():
        return await run

    with pytest.raises(MemoryError, match="no room for the crops"):
        in_a_loop(awaiting)
    assert any("no room for the crops" in r.getMessage() for r in caplog.records), (
        "a fault in a run that is not awaited must be in the log"
    )


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_to_write(digits, config, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="run_dir cannot be written to"):
        fit(digits, config, run_dir=tmp_path / "run")


def test_a_run_dir_that_is_a_file(digits, config, tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match="run_dir cannot be written to"):
            fit(digits, config, run_dir=target)


# --- interrupts ---------------------------------------------------------------------------------------------------
INTERRUPTED = r"""
import sys
from dcacn_nb.method.config import preset
from dcacn_nb.data.loading import load_images
from dcacn_nb.core.events import StepDone
from dcacn_nb.fitting import fit
digits = load_images("digits", limit=120)
config = preset("default", digits, 10, width=4, projection_dim=8, batch_size=40, n_local=1, epochs=100_000,
                eval_every=100_000, log_every=1, snapshot_every=0, checkpoint_seconds=1e9, device="cpu")
def say(event):
    if isinstance(event, StepDone):
        print("step", event.step, flush=True)
try:
    fit(digits, config, run_dir=sys.argv[1], observers=[say])
except KeyboardInterrupt as error:
    print("interrupted:", error, flush=True)
    sys.exit(130)
"""


def test_ctrl_c_ends_cleanly_with_a_checkpoint(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout.readline().startswith("step")
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=240)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    last = read_events(tmp_path / "run")[-1]
    assert last.reason == "interrupted"
    assert [load_checkpoint(p)[1]["step"] for p in list_checkpoints(tmp_path / "run" / "checkpoints")] == [last.step]
    assert f"interrupted: The run was stopped at step {last.step}; to resume it, call fit again with resume=True" in out


def test_the_handler_of_ctrl_c_is_put_back(digits, config):
    before = signal.getsignal(signal.SIGINT)
    seen = []
    fit(digits, replace(config, epochs=1), observers=[lambda e: seen.append(signal.getsignal(signal.SIGINT))])
    assert signal.getsignal(signal.SIGINT) is before and seen[0] != before
    threading.Thread(
        target=lambda: seen.append(fit(digits, replace(config, epochs=1)).status)
    ).start()  # signals belong to the main thread
    until(lambda: seen[-1] == "completed")


def test_a_cancelled_await_stops_the_run(digits, endless, tmp_path):
    run = fit(digits, endless, run_dir=tmp_path, background=True)
    until(lambda: run.state.step >= 1)

    async def cancelled():
        task = asyncio.ensure_future(run._watch())
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        in_a_loop(cancelled)
    assert run.status == "interrupted" and len(list_checkpoints(tmp_path / "checkpoints")) == 1
    assert read_events(tmp_path)[-1].reason == "interrupted"


def test_an_interrupted_wait_stops_the_run(digits, endless):
    run, before = fit(digits, endless, background=True), signal.getsignal(signal.SIGINT)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step \d+; it has no folder to resume from"):
        run.wait()
    assert run.status == "interrupted" and signal.getsignal(signal.SIGINT) is before


# --- resuming -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def finished(digits, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return fit(digits, config, labels=digits.labels, run_dir=folder), folder


def test_resume_with_other_settings_lists_the_differences(digits, config, finished):
    run, folder = finished
    events = read_events(folder)
    with pytest.raises(ValueError) as caught:
        fit(
            digits.images.flip(0),
            replace(config, lr=0.5, epochs=9, keep_last=7),
            run_dir=folder,
            resume=True,
            method=Method(name="other"),
        )
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "method: 'dcacn' in the run, 'other' now",
        "epochs: 2 in the run, 9 now",
        "lr: 0.01 in the run, 0.5 now",
        "images: not the ones the run was started with",
    ]
    with pytest.raises(ValueError, match="images: not the ones"):
        fit(digits, config, extra=digits.images, run_dir=folder, resume=True)
    with pytest.raises(FileExistsError, match="already holds a run; resume it with resume=True"):
        fit(digits, config, run_dir=folder)
    assert read_events(folder) == events, "a refused resume must not touch the log"


def test_resume_of_a_completed_run_changes_nothing(digits, config, finished):
    run, folder = finished
    events, before = read_events(folder), weights(run)
    received = []
    again = fit(digits, config, labels=digits.labels, run_dir=folder, resume=True, observers=[received.append])
    assert again.status == "completed" and same(weights(again), before) and read_events(folder) == events == received
    assert (
        again.scores == run.scores
        and again.health == run.health
        and torch.equal(again.probabilities, run.probabilities)
    )


def test_foreign_and_damaged_checkpoints(digits, config, tmp_path):
    stopped = fit(digits, replace(config, checkpoint_seconds=0.0), run_dir=tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    newest = list_checkpoints(folder)[-1]
    newest.write_bytes(newest.read_bytes()[:-9])  # damaged: the one before it is taken
    again = fit(digits, config, run_dir=tmp_path / "run", resume=True)
    assert again.state.step == stopped.state.step and same(weights(again), weights(stopped))
    assert same(
        {k: v for k, v in load_checkpoint(newest)[0].items() if k.startswith("model.")},
        {f"model.{k}": v for k, v in weights(stopped).items()},
    )
    fit(digits, replace(config, seed=1), run_dir=tmp_path / "other")  # another run's file of the right kind
    newest.write_bytes(list_checkpoints(tmp_path / "other" / "checkpoints")[-1].read_bytes())
    with pytest.raises(ValueError, match="seed: 1 in the run, 0 now"):
        fit(digits, config, run_dir=tmp_path / "run", resume=True)
    save_checkpoint(newest, {"x": torch.zeros(1)}, {"something": "else"})
    with pytest.raises(ValueError, match="cannot resume.*step_"):
        fit(digits, config, run_dir=tmp_path / "run", resume=True)
    for path in list_checkpoints(folder):
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoint"):
        fit(digits, config, run_dir=tmp_path / "run", resume=True)
    (tmp_path / "other" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json.*damaged"):
        fit(digits, replace(config, seed=1), run_dir=tmp_path / "other", resume=True)


def test_an_observer_of_a_resumed_run_receives_its_start(digits, config, finished):
    _, folder = finished
    run, received = fit(digits, config, labels=digits.labels, run_dir=folder, resume=True, start=False), []
    run.subscribe(received.append)
    assert received == read_events(folder)[:1] and isinstance(received[0], RunStarted)
    assert run.drive().status == "completed"
    with pytest.raises(RuntimeError, match="already been started"):
        run.drive()


def test_a_damaged_log_does_not_keep_the_folder_locked(digits, config, tmp_path):
    fit(digits, config, run_dir=tmp_path)
    log = tmp_path / "events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"StepDone"', b'"StepDune"', 1))
    with pytest.raises(ValueError, match="damaged") as caught:
        fit(digits, config, run_dir=tmp_path, resume=True)
    log.write_bytes(whole)
    assert fit(digits, config, run_dir=tmp_path, resume=True).status == "completed", (
        f"{caught.value} must not keep the lock"
    )


def test_two_runs_cannot_share_a_folder(digits, endless, tmp_path):
    run = fit(digits, endless, run_dir=tmp_path, background=True)
    with pytest.raises(RuntimeError, match="in use by a run that has not ended"):
        fit(digits, endless, run_dir=tmp_path, resume=True)
    run.stop()
    run.wait()
    with pytest.raises(ValueError, match="seed"):
        fit(digits, replace(endless, seed=5), run_dir=tmp_path, resume=True)
    again = fit(
        digits, endless, run_dir=tmp_path, resume=True, background=True
    )  # neither the end nor the refusal keeps the lock
    again.stop()
    assert again.wait().status == "stopped"


def test_the_best_weights_are_those_of_the_best_evaluation(digits, config, tmp_path):
    fit(digits, replace(config, epochs=4), run_dir=tmp_path)
    evaluated = [e for e in read_events(tmp_path) if isinstance(e, Evaluated) and e.epoch > 0]
    best = max(evaluated, key=lambda e: e.health["view_information"])
    model, _ = load_run(tmp_path, "best")
    assert load_checkpoint(tmp_path / "checkpoints" / "best.safetensors")[1]["step"] == best.step
    p = encode(model, digits.images, config)
    np.testing.assert_allclose(p.numpy().mean(0), best.health["cluster_mass"], atol=1e-6)


def test_dropout_is_a_function_of_the_step_too(digits, config, tmp_path):
    "A network with its own draws is resumed bit for bit, and the caller's random state is left alone."

    def network():
        model = build_model(config)
        model.instance_head.insert(1, torch.nn.Dropout(0.5))
        return model

    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole = fit(digits, config, model=network())
    assert torch.equal(torch.get_rng_state(), before)
    stop = lambda e: run.stop() if isinstance(e, StepDone) else None
    run = fit(digits, config, model=network(), run_dir=tmp_path, observers=[stop], start=False)
    assert run.drive().status == "stopped" and 0 < run.state.step < 6
    torch.manual_seed(2)
    assert same(weights(fit(digits, config, model=network(), run_dir=tmp_path, resume=True)), weights(whole))


# --- what training may see ----------------------------------------------------------------------------------------
def test_labels_never_reach_training(digits, config, finished):
    "Shuffled labels, no labels, or an image set that carries them: the same weights, bit for bit."
    run, _ = finished
    shuffled = np.random.default_rng(0).permutation(digits.labels)
    others = [
        fit(digits.images, config, labels=shuffled),
        fit(digits.images, config),
        fit(ImageSet(digits.images, shuffled, protocol=digits.protocol), config),
    ]
    assert all(same(weights(other), weights(run)) for other in others)
    assert others[0].scores != run.scores and others[1].scores is None
    assert others[2].scores is None, "an image set's labels are used only where they are given as labels"


def test_extra_images_come_first_and_see_the_instance_loss_alone(digits, config, monkeypatch):
    real, seen = steps_module.train_step, []

    def watching(state, batch, *more):
        seen.append((batch.instance_only, {bytes(image.numpy()) for image in batch.images}))
        return real(state, batch, *more)

    monkeypatch.setattr(steps_module, "train_step", watching)
    first, rest = digits.images[:80], digits.images[80:]
    steps = []
    run = fit(
        ImageSet(rest, extra=ImageSet(first)),
        replace(config, cluster_start=0.0),
        observers=[lambda e: steps.append(e) if isinstance(e, StepDone) else None],
    )
    assert [kind for kind, _ in seen] == [True, True, False] * 2 and run.assignments.shape == (40,)
    extra = {bytes(image.numpy()) for image in first}
    assert all((images <= extra) == kind for kind, images in seen)
    assert [sorted(e.losses) for e in steps[:2]] == [["instance", "total"], ["balance", "cluster", "instance", "total"]]


def test_bf16_and_compile_settings(digits, config):
    "bfloat16 on the processor trains and evaluates with figures in float32."
    run = fit(digits, replace(config, amp="bf16", epochs=1))
    exact = fit(digits, replace(config, amp="off", epochs=1))
    assert run.probabilities.dtype == torch.float32 and not same(weights(run), weights(exact))
    assert (run.probabilities - exact.probabilities).abs().max() < 0.1


# --- observers ------------------------------------------------------------------------------------------------------
def test_watch_drops_a_failing_observer(finished, caplog):
    _, folder = finished
    received = []
    watch(folder, [lambda event: 1 / 0, received.append])
    assert received == read_events(folder) and len(caplog.records) == 1


def test_a_run_is_started_once(digits, config):
    "Many threads start it at the same moment: one of them does."
    run = fit(digits, replace(config, epochs=1), start=False)
    began, barrier = [], threading.Barrier(8)
    real = run._steps

    def counted():
        began.append(threading.current_thread().name)
        yield from real

    run._steps = counted()

    def start():
        barrier.wait()
        run.start()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.wait(60).status == "completed" and began == ["dcacn-train"]
    with pytest.raises(RuntimeError, match="already been started"):
        run.drive()


def test_ctrl_c_before_the_first_step_starts_no_second_driver(digits, config, monkeypatch):
    "It comes after the handler was set and before training begins; the foreground ends, and no thread was made."
    run = fit(digits, config, start=False)
    real = run._drive

    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        real()

    monkeypatch.setattr(run, "_drive", interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 0"):
        run.drive()
    assert run._thread is None and run.state.step == 0 and run.status == "interrupted"


def test_an_interrupt_at_the_very_end_frees_the_folder(digits, config, tmp_path, monkeypatch):
    "A second Ctrl-C hits the last event: it is raised, and the folder can be opened again."
    run = fit(digits, replace(config, epochs=1), run_dir=tmp_path, start=False)

    def interrupted(event):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_log_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.drive()
    assert (
        run._done.is_set()
        and fit(digits, replace(config, epochs=1), run_dir=tmp_path, resume=True).status == "completed"
    )


def test_waiting_for_a_run_that_was_not_started(digits, config):
    "Blocking would wait for ever, so it is refused; awaiting leaves room for a button that starts the run."
    run = fit(digits, config, start=False)
    with pytest.raises(RuntimeError, match="has not been started"):
        run.wait(60)

    async def awaiting():
        asyncio.get_running_loop().call_later(0.2, run.start)
        return await run

    assert in_a_loop(awaiting).status == "completed"


def test_a_training_without_the_label_free_figure_keeps_no_best_weights(digits, config, tmp_path, monkeypatch):
    "Evaluated need not have `view_information`: NaN or nothing must not fail."

    def other(event):
        return (
            replace(event, health={"n_empty": 0} if event.epoch == 1 else {"view_information": float("nan")})
            if isinstance(event, Evaluated)
            else event
        )

    run = fit(digits, config, run_dir=tmp_path, start=False)
    real = run._steps
    run._steps = (other(event) for event in real)
    assert run.drive().status == "completed" and not (tmp_path / "checkpoints" / "best.safetensors").exists()


def test_an_observer_that_unsubscribes_and_then_fails_is_reported_once(digits, config, caplog):
    run = fit(digits, replace(config, epochs=1), start=False)

    def leaving(event):
        run.unsubscribe(leaving)
        raise ZeroDivisionError("after that")

    run.subscribe(leaving)
    assert (
        run.drive().status == "completed"
        and len([r for r in caplog.records if "gets no further events" in r.getMessage()]) == 1
    )


# --- another training than the method's: the whole contract in a dozen lines --------------------------------------
@pytest.fixture(scope="module")
def toy():
    "Images, settings and views of a short training by hand."
    images = load_images("digits", limit=240).images
    quick = {"width": 4, "projection_dim": 8, "batch_size": 40, "n_local": 1, "epochs": 2}
    config = preset("default", images, 10, lr=0.01, checkpoint_seconds=1e9, device="cpu", upright=True, **quick)
    return SimpleNamespace(images=images, config=config, views=build_views(config))


@pytest.fixture(scope="module")
def short(toy):
    "A training of a fixed number of steps; continues where the state is."

    def short(state, n_steps=12):
        if state.step == 0:
            yield RunStarted("short", {}, {}, len(toy.images), n_steps, 6)
        while state.step < n_steps:
            yield None
            yield one_step(toy, state)
        yield None
        yield RunFinished("completed", state.step, state.epoch)

    return short


def one_step(toy, state):
    "A step by hand, as an event."
    i = state.step % 6
    batch = Batch(toy.images[40 * i : 40 * i + 40], toy.views, generator(0, VIEWS, state.step))
    losses = {name: float(value) for name, value in train_step(state, batch, 0.01).items()}
    state.step += 1
    return StepDone(state.step, 1 + (state.step - 1) // 6, losses, 0.01, losses.pop("grad_norm"))


def careless(toy):
    "A wrong variant: its None comes after the weights have moved, and before the step is counted."

    def careless(state, n_steps=12):
        while state.step < n_steps:
            event = one_step(toy, state)
            state.step -= 1
            yield None
            state.step += 1
            yield event

    return careless


def new_state(toy):
    "A new state, always the same."
    return TrainState(build_model(toy.config).train(), toy.config)


def driven(toy, training, *args, **options):
    "A run of such a training, ready to start."
    state = new_state(toy)
    return Run(training(state, *args), state, toy.images, **options)


@pytest.fixture(scope="module")
def by_hand(toy, short):
    "The plain loop: its events, and the state after it."
    state = new_state(toy)
    return SimpleNamespace(events=[event for event in short(state) if event is not None], state=state)


def test_the_driver_adds_nothing_to_a_plain_loop(toy, short, by_hand):
    received = []
    run = driven(toy, short, observers=[received.append, ProgressBar(io.StringIO())]).drive()
    assert received == by_hand.events and same(run.state.tensors(), by_hand.state.tensors())
    assert torch.equal(run.probabilities, encode(by_hand.state.model, toy.images, toy.config))
    assert run.assignments.shape == (240,)


def test_the_life_of_a_background_run(toy, short):
    "Paused, watched from then on, resumed, stopped; observers that come late receive how it began and ended."
    run, late, after = driven(toy, short, 100_000), [], []
    assert run.status == "ready" and run.state.step == 0
    run.start()
    until(lambda: run.state.step >= 5)
    run.pause()
    until(lambda: run.status == "paused")
    at = run.state.step
    time.sleep(0.3)
    assert run.state.step == at, "a paused run does not move"
    run.subscribe(late.append)
    assert [type(event) for event in late] == [RunStarted] and run.asked == "pause"
    run.resume()
    until(lambda: run.state.step > at)
    run.stop()
    assert in_a_loop(run._watch) is run
    assert run.status == "stopped" and late[-1].reason == "stopped" and late[1].step == at + 1
    run.subscribe(after.append)
    assert [type(event) for event in after] == [RunStarted, RunFinished]


def test_a_run_that_is_stopped_before_it_was_started_ends_before_its_first_step(toy, short):
    never = driven(toy, short)
    never.stop()
    in_a_loop(never._watch)
    assert never.status == "stopped" and never.state.step == 0


def one_life(toy, folder, training, stop_at=None, report=None):
    "One life of a run: open the folder, resume, and stop after a step."
    state, seen = new_state(toy), []
    about = describe_run(Method(name="short"), toy.config, toy.images)

    def watcher(event):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == stop_at:
            run.stop()

    disk = RunFolder(folder, state, about, resume=True)
    run = Run(training(state), state, toy.images, disk, [watcher], report=report)
    return run.start().wait(), seen


def test_stopped_and_resumed_again_and_again(toy, short, by_hand, tmp_path):
    "Each time by a new Run that knows the folder alone; observers of a resumed run receive its past first."
    reported = []
    for stop_at in (2, 3, 7, 11, None):
        assert not reported
        run, seen = one_life(
            toy, tmp_path, short, stop_at, None if stop_at else lambda run: reported.append(run.folder)
        )
        steps = [e.step for e in seen if isinstance(e, StepDone)]
        assert steps == list(range(1, (stop_at or 12) + 1))
    saved, _ = load_checkpoint(list_checkpoints(tmp_path / "checkpoints")[-1])
    assert run.status == "completed" and same(saved, by_hand.state.tensors())
    assert read_events(tmp_path) == by_hand.events == seen and reported == [tmp_path]


def test_a_none_in_the_middle_of_a_step_is_noticed(toy, short, by_hand, tmp_path):
    "The driver can be no better than the Nones it is given: a step that was done, but not counted, is done twice."
    uninterrupted, _ = one_life(toy, tmp_path / "uninterrupted", careless(toy))
    assert same(weights(uninterrupted), dict(by_hand.state.model.state_dict())), "right, as long as it is not stopped"
    for stop_at in (4, None):
        run, _ = one_life(toy, tmp_path / "careless", careless(toy), stop_at)
    assert not same(weights(run), weights(uninterrupted))


def test_a_failing_training_in_front_and_in_the_background(toy, short, caplog):
    def failing(state):
        for event in short(state):
            if state.step == 3:
                raise MemoryError("no room for the crops")
            yield event

    received = []
    broken = driven(toy, failing, observers=[received.append])
    with pytest.raises(MemoryError, match="no room for the crops"):
        broken.drive()
    assert received[-1].reason == "failed" and received[-1].message == "MemoryError: no room for the crops"
    assert "failed" in repr(broken) and "no room for the crops" in repr(broken) and not caplog.records
    late = driven(toy, failing).start()
    with pytest.raises(MemoryError, match="no room for the crops"):
        late.wait(60)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the run failed at step 3: MemoryError: no room for the crops"]
    with pytest.raises(RuntimeError, match="already been started"):
        broken.drive()


def test_a_faulty_observer_is_dropped_also_after_the_end(toy, short, caplog):
    def faulty(event):
        calls.append(event)
        raise ZeroDivisionError("a picture of nothing")

    calls = []
    done = driven(toy, short, 2, observers=[faulty]).drive()
    assert done.status == "completed" and len(calls) == 1 == len(caplog.records)
    done.subscribe(faulty)
    assert len(calls) == 2 == len(caplog.records), "it fails at RunStarted, and RunFinished is not tried"


def test_calls_that_are_refused(toy, short):
    fresh = driven(toy, short)
    with pytest.raises(ValueError, match="reason must be one of 'stopped', 'interrupted', got 'bored'"):
        fresh.stop("bored")
    with pytest.raises(RuntimeError, match=r"not evaluated yet \(step 0\)"):
        _ = fresh.probabilities
    with pytest.raises(RuntimeError, match="has not been started"):
        fresh.wait()


@pytest.mark.parametrize("batch_size", [40, 160])
def test_a_pause_takes_hold_within_two_steps(toy, batch_size):
    "Half a step on average; between asking and reading the counter one more step may end, hence two at most."

    def without_end(state):
        yield RunStarted("without end", {}, {}, len(toy.images), 100_000, 6)
        while True:
            yield None
            train_step(state, Batch(toy.images[:batch_size], toy.views, generator(0, VIEWS, state.step)), 0.01)
            state.step += 1

    run, steps = driven(toy, without_end).start(), []
    until(lambda: run.state.step >= 3)
    for _ in range(5):
        before = run.state.step
        run.pause()
        until(lambda: run.status == "paused")
        steps.append(run.state.step - before)
        run.resume()
        time.sleep(0.05)
    run.stop()
    run.wait(60)
    assert max(steps) <= 2, steps


# --- threads that wait --------------------------------------------------------------------------------------------
def test_waiting_threads_are_given_back():
    "One thread less, and it comes back when there is work."
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.rand(1_000_000).sin()  # large enough for two
    many = psutil.Process().num_threads()
    release_threads()
    few = psutil.Process().num_threads()
    torch.rand(1_000_000).sin()
    again = psutil.Process().num_threads()
    release_threads()
    torch.set_num_threads(before)
    assert not threads._openmp() or few < min(many, again)


def test_a_notebook_releases_threads_after_each_cell_until_the_run_has_ended(toy, short, monkeypatch):
    import IPython
    from IPython.core.events import EventManager

    shell = SimpleNamespace(events=EventManager(None, {"post_execute": lambda: None}))
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    hooks = shell.events.callbacks["post_execute"]
    run = driven(toy, short, 100_000).start()
    assert len(hooks) == 1
    shell.events.trigger("post_execute")  # as after every cell
    assert len(hooks) == 1
    run.stop()
    run.wait(60)
    shell.events.trigger("post_execute")
    assert not hooks, "a run that has ended leaves nothing behind"
