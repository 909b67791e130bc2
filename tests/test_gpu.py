"""The same code on a CUDA device: agreement with the processor, no waiting in the loop, a whole run with its resume.

Skipped where there is no such device."""

import dataclasses
import gc
import threading

import numpy as np
import pytest
import torch

from dcacn_nb.core.events import Evaluated, StepDone
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.batching import fetch, to_storage
from dcacn_nb.data.loading import load_images
from dcacn_nb.estimator import DCACN
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import build_model, build_views, preset
from dcacn_nb.method.step import Batch, Stepper, TrainState, encode, place, train_step
from dcacn_nb.method.train import train
from dcacn_nb.method.views import augment, crop_resize, draw_augmentation, sample_boxes
from dcacn_nb.methods import find_method
from dcacn_nb.runs.checkpoint import latest_checkpoint, load_checkpoint
from dcacn_nb.runs.folder import load_run
from dcacn_nb.runs.graphs import RecordedStepper
from dcacn_nb.runs.log import read_events

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
BOTH = {"n_local": 2, "cluster_start": 0.0}  # all crops and all losses from the first step
GRADIENT_METHODS = ["dcacn", "cc", "simclr", "iic", "pica", "scan", "dec", "dcec", "ae", "dcacn_selflabel", "propos"]


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


@pytest.fixture(scope="module")
def colours():
    "Colour images of 32 pixels, random but smooth."
    noise = torch.rand(256, 3, 8, 8, generator=generator(0))
    return torch.nn.functional.interpolate(noise, 32, mode="bilinear").mul(255).to(torch.uint8)


@pytest.fixture()
def exact():
    "Convolutions in full float32, so that both devices compute the same."
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_views_are_those_of_the_processor(colours, exact):
    config = preset("default", colours, 10)
    views, images = build_views(config), colours.float() / 255
    draws = generator(3)
    boxes = sample_boxes(len(images), 32, 32, views.local_scale, views.ratio, draws)
    flip = torch.rand(len(images), generator=draws) < 0.5
    knobs = dataclasses.replace(views.strong, rotation=15.0, shear=0.1)
    parameters = draw_augmentation(len(images), 16, knobs, draws)
    here = augment(crop_resize(images, boxes, 16, flip), parameters, knobs)
    there = augment(
        crop_resize(images.to(DEVICE), boxes.to(DEVICE), 16, flip.to(DEVICE)),
        type(parameters)(*(x.to(DEVICE) for x in parameters)),
        knobs,
    )
    difference = (there.cpu() - here).abs()
    assert difference.mean() < 1e-4  # the hue of a nearly grey pixel may jump, so not the largest one
    assert difference.flatten(1).mean(1).max() < 1e-2
    assert (views.plain(colours.to(DEVICE)).cpu() - views.plain(colours)).abs().max() < 1e-5


def test_losses_and_gradients_are_those_of_the_processor(colours, exact):
    config = preset("default", colours, 10, device="cpu", amp="off", **BOTH)
    crops = build_views(config)(colours[:64], generator(1))
    terms, gradients = {}, {}
    for device in ("cpu", DEVICE):
        state = TrainState(build_model(config), dataclasses.replace(config, device=device))
        place(state.model, state.config)
        state.model.train()
        moved = type(crops)(*(x if x is None else x.to(device) for x in crops))
        batch = Batch(colours[:64].to(device), lambda images, draws, moved=moved: moved, None)
        losses = find_method("dcacn").loss(state, batch)
        losses["total"].backward()
        terms[device] = {name: value.item() for name, value in losses.items()}
        gradients[device] = torch.cat([p.grad.flatten().cpu() for p in state.model.parameters()])
    assert terms[DEVICE] == pytest.approx(terms["cpu"], abs=1e-3)
    cosine = torch.cosine_similarity(gradients["cpu"], gradients[DEVICE], dim=0)
    assert cosine > 0.999 and gradients[DEVICE].norm() == pytest.approx(gradients["cpu"].norm().item(), rel=1e-2)


@pytest.mark.parametrize("name", GRADIENT_METHODS)
@pytest.mark.parametrize("source", ["digits", "colours"])
def test_no_step_waits_for_the_device(name, source, digits, colours):
    "Every phase of every method: between two reports the host runs ahead of the device."
    images = digits.images[:512] if source == "digits" else colours
    method = find_method(name)
    steps = dict(epochs=5, device=DEVICE, batch_size=64, n_local=2, eval_every=1, snapshot_every=0)
    config = method.settings(preset("default", images, 10, **steps))
    state = TrainState(method.network(config), config)
    place(state.model, config)
    views, store, checked = build_views(config), images.to(DEVICE), 0
    state.store = store
    for epoch in range(config.epochs):
        state.epoch = epoch
        for _ in method.between_epochs(state, store, views, epoch) if method.between_epochs else ():
            pass
        for step in range(2):  # the first fills caches of the libraries
            chosen, draws = torch.arange(step * 64, step * 64 + 64, device=DEVICE), generator(0, 1, step, device=DEVICE)
            state.model.train()
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error" if step else "default")
            try:
                batch = Batch(fetch(store, chosen, DEVICE), views, draws, chosen)
                losses = train_step(state, batch, 1e-3, loss=method.loss)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            checked += step
            assert all(value.isfinite() for value in losses.values())
    assert checked == config.epochs


@pytest.mark.parametrize("name", [name for name in GRADIENT_METHODS if name != "propos"])
def test_a_recorded_step_is_the_step_itself(name, digits, exact):
    "Every phase of every method: with the same state, draws, rates and images, recorded steps give the same losses."
    images, method = digits.images[:320].to(DEVICE), find_method(name)
    steps = dict(epochs=5, device=DEVICE, amp="off", batch_size=32, n_local=2, eval_every=1, snapshot_every=0)
    config = method.settings(preset("default", digits, 10, **steps))
    state, views = TrainState(method.network(config), config), build_views(config)
    place(state.model, config)
    state.store = images

    def losses(stepper) -> list:
        totals = []
        for step in range(8):
            chosen = torch.arange(32 * step, 32 * step + 32, device=DEVICE)
            state.model.train()
            totals.append(stepper(images[chosen], chosen, config.lr * (step + 1) / 8, False)["total"].item())
            state.step += 1
        return totals

    # kept over the epochs: each must be recorded again
    plain_steps, recorded_steps = (stepper(state, views, method) for stepper in (Stepper, RecordedStepper))
    for state.epoch in range(config.epochs):
        for _ in method.between_epochs(state, images, views, state.epoch) if method.between_epochs else ():
            pass
        saved, meta = {name: value.clone() for name, value in state.tensors().items()}, state.meta()
        plain = losses(plain_steps)
        state.restore(saved, meta)
        recorded = losses(recorded_steps)
        close = 5e-3 * max(1.0, *map(abs, plain))  # an information near zero is a difference of larger terms
        assert recorded == pytest.approx(plain, rel=5e-3, abs=close), f"epoch {state.epoch}"
        assert np.std(plain) > 0 or state.epoch, "self-labels may all be missing in a last stage, but not in the first"


def steps_of(images, config, extra=None):
    "The reports of a run, whose steps are recorded where its settings allow it, as in `fit`."
    events = train(build_model(config), images, config, extra=extra, recorder=RecordedStepper)
    return [event for event in events if isinstance(event, StepDone)]


def reported(images, extra=None, **changes):
    "What each step of a DCACN run of four epochs reports."
    config = preset(
        "default",
        images,
        10,
        epochs=4,
        seed=0,
        device=DEVICE,
        amp="off",
        batch_size=32,
        snapshot_every=0,
        log_every=1,
        **BOTH,
        **changes,
    )
    return steps_of(images, config, extra)


def test_extra_images_have_a_recording_of_their_own(digits, exact):
    images, extra = digits.images[:320], digits.images[320:480]
    plain, recorded = (reported(images, extra, cuda_graphs=recorded) for recorded in (False, True))
    # five steps on extra images, ten on the others
    ours, theirs = ([event.losses["total"] for event in steps[:15]] for steps in (recorded, plain))
    assert len(plain) == len(recorded) == 60 and ours == pytest.approx(theirs, rel=1e-2)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no second CUDA device on this machine")
def test_the_second_device_records_too(digits):
    config = preset(
        "default",
        digits,
        10,
        epochs=2,
        seed=0,
        device="cuda:1",
        amp="off",
        batch_size=32,
        snapshot_every=0,
        log_every=1,
    )
    ours, theirs = (
        [event.losses["total"] for event in steps_of(digits.images[:320], c)]
        for c in (config, dataclasses.replace(config, cuda_graphs=False))
    )
    assert ours[:10] == pytest.approx(theirs[:10], rel=1e-2)


def test_a_loss_that_asks_for_the_step_is_not_frozen(digits):
    method = dataclasses.replace(find_method("propos"), recordable=True)
    with pytest.raises(RuntimeError, match="propos could not be recorded.*recordable=False"):
        fit(digits.images[:320], preset("default", digits, 10, epochs=2, device=DEVICE), method=method)


def test_a_recording_is_worth_it_while_others_use_the_device(digits):
    "A thread keeps computing on the device, as widgets do; the recorded run is faster all the same."
    over, sums, pictures = threading.Event(), [], torch.ones(64, 64, device=DEVICE)

    def others():
        while not over.wait(0.01):
            sums.append((pictures @ pictures).sum().item())

    busy = threading.Thread(target=others)
    busy.start()
    try:
        rates = {}
        for recorded in (False, True):
            config = preset(
                "default",
                digits,
                10,
                epochs=4,
                seed=0,
                device=DEVICE,
                snapshot_every=0,
                log_every=28,
                cuda_graphs=recorded,
                **BOTH,
            )
            rates[recorded] = steps_of(digits.images, config)[-1].images_per_second
    finally:
        over.set()
        busy.join()
    assert set(sums) == {64.0**3} and rates[True] > 2 * rates[False]


def test_an_old_recording_does_not_end_a_new_one(digits):
    "Recordings that only the garbage collector can free, while the next one is made: without care, a run fails."
    config = preset("default", digits, 10, epochs=2, device=DEVICE, snapshot_every=0)
    before = gc.get_threshold()
    gc.set_threshold(50)  # collects all the time
    try:
        for seed in range(3):
            changed = dataclasses.replace(config, seed=seed)
            steps = train(build_model(config), digits.images[:320], changed, recorder=RecordedStepper)
            kept = list(steps)
            ring = [steps, kept]
            ring.append(ring)
            del steps, ring
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("changes", [{}, {"amp": "off"}, {"compile": True}, {"channels_last": False}], ids=str)
def test_a_run_learns(changes, digits):
    config = preset("default", digits, 10, epochs=6, seed=0, device=DEVICE, **changes)
    seen = []
    run = fit(digits, config, labels=digits.labels, observers=[seen.append])
    accuracy = [event.scores["acc"] for event in seen if isinstance(event, Evaluated)]
    assert accuracy[-1] > max(0.35, accuracy[0])
    assert next(run.model.parameters()).device.type == DEVICE


def test_a_run_resumes_where_it_was_stopped(digits, tmp_path):
    config = preset("default", digits, 10, epochs=3, device=DEVICE, amp="off", log_every=1)

    class Stop:
        def __call__(self, event):
            if isinstance(event, StepDone) and event.step == 40:
                self.run.stop()

    stop = Stop()
    stop.run = fit(digits, config, run_dir=tmp_path / "stopped", observers=[stop], start=False)
    stop.run.drive()
    left = stop.run.state.tensors()
    assert 40 <= stop.run.state.step < 84
    resumed = fit(digits, config, run_dir=tmp_path / "stopped", resume=True, start=False)
    back = TrainState(resumed.model, config)
    place(resumed.model, config)
    back.restore(*load_checkpoint(latest_checkpoint(tmp_path / "stopped" / "checkpoints")))
    assert back.tensors().keys() == left.keys() and all(
        torch.equal(value, back.tensors()[name]) for name, value in left.items()
    ), "every bit is back on the device"
    resumed.drive()
    whole = fit(digits, config, run_dir=tmp_path / "whole")
    losses = [
        [event.losses["total"] for event in read_events(path) if isinstance(event, StepDone)]
        for path in (tmp_path / "whole", tmp_path / "stopped")
    ]
    assert resumed.state.step == whole.state.step and len(losses[0]) == len(losses[1]) == 84
    # sums on a GPU come in no fixed order, and training makes differences of rounding grow: an H200 showed 0.025 after
    # 33 steps, without any stop between
    assert losses[1][:20] == pytest.approx(losses[0][:20], abs=0.02)
    assert losses[1] == pytest.approx(losses[0], abs=0.3)


def test_a_model_of_the_gpu_answers_on_the_processor(digits, tmp_path):
    config = preset("default", digits, 10, epochs=2, device=DEVICE, amp="off")
    run = fit(digits, config, run_dir=tmp_path)
    there = encode(run.model, digits.images[:200], config)
    model, _ = load_run(tmp_path)
    here = encode(model.cpu(), digits.images[:200], dataclasses.replace(config, device="cpu"))
    assert (there - here).abs().max() < 2e-2 and (there.argmax(1) == here.argmax(1)).float().mean() > 0.98


def test_images_larger_than_the_device_are_streamed(digits, monkeypatch):
    assert to_storage(digits.images, DEVICE).device.type == DEVICE
    assert to_storage(digits.images, DEVICE, limit_bytes=0).device.type == "cpu"
    config = preset("default", digits, 10, epochs=1, device=DEVICE, amp="off", log_every=1)
    losses = []
    for streamed in (False, True):
        if streamed:
            monkeypatch.setattr("dcacn_nb.data.batching._free_bytes", lambda device: 0)
        losses.append([event.losses["total"] for event in steps_of(digits.images, config)])
    assert losses[0][:5] == pytest.approx(losses[1][:5], abs=0.02)


def test_the_estimator_predicts_with_the_gpu(digits):
    X = digits.images[:400].numpy()
    found = DCACN(10, epochs=2, device=DEVICE, random_state=0).fit(X)
    assert found.predict(X).shape == (400,) and np.allclose(found.predict_proba(X).sum(1), 1, atol=1e-5)
    assert (found.predict(X) == found.labels_).mean() > 0.99
