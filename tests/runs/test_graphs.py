"""Recorded steps: a stand-in for the CUDA graph shows, on any machine, that everything around the graph is right.

That the graph itself computes what the plain step does is checked on a CUDA device, in `tests/test_gpu.py`."""

import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from dcacn_nb.core.seeds import generator
from dcacn_nb.data.loading import load_images
from dcacn_nb.method.config import build_model, build_views, preset
from dcacn_nb.method.step import Method, Stepper, TrainState, multicrop_objective
from dcacn_nb.runs.graphs import _RECORDING, RecordedStepper, _undisturbed

DIGITS = load_images("digits", limit=240)
TINY = preset(
    "default",
    DIGITS,
    10,
    width=4,
    projection_dim=8,
    batch_size=16,
    n_local=1,
    cluster_start=0.0,
    clip_norm=1.0,
    weight_decay=0.1,
    instance_temperature=0.5,
    decoupled_instance=True,
    decoupled_cluster=True,
    optimizer="adamw",
    device="cpu",
)
VIEWS = build_views(TINY)
IMAGE_WEIGHTS = torch.rand(160, generator=generator(5))
# DCACN with a weight for each image, so that it matters which images a step is given
WEIGHTED = Method(
    "weighted",
    loss=lambda state, batch: {
        name: value * IMAGE_WEIGHTS[batch.chosen].mean() for name, value in multicrop_objective(state, batch).items()
    },
)


def stand_in(made: list):
    "A recorder that is not a graph: it keeps the function, and calls it at each replay."

    def record(function, draws):
        made.append(function)
        return function

    return record


def at_once(function, draws):
    "A recorder that runs the Python code while it records, as a graph does."
    losses = function()
    return lambda: losses


def weights_after(stepper_of, method=WEIGHTED, extra=2):
    "All weights after two epochs of five steps, the first `extra` of each with the instance loss alone."
    state = TrainState(build_model(TINY).train(), TINY)
    state.memory["queue"] = torch.zeros(4)
    stepper = stepper_of(state, method)
    for state.step in range(10):
        state.epoch = state.step // 5
        chosen = torch.arange(16 * state.step, 16 * state.step + 16)
        rate = 2.0 ** -(7 + state.step % 4)  # single precision holds it exactly
        stepper(DIGITS.images[chosen], chosen, rate, state.step % 5 < extra)
    return torch.cat([p.detach().flatten() for p in state.model.parameters()])


def plain_weights(extra):
    return weights_after(lambda state, method: Stepper(state, VIEWS, method), extra=extra)


@pytest.mark.parametrize("extra, recordings", [(2, 4), (0, 2)])
def test_recorded_steps_end_with_the_bits_of_plain_ones(extra, recordings):
    "Every input reaches the place that is read; each epoch, and extra images, get a recording of their own."
    made = []
    recorded = weights_after(lambda state, method: RecordedStepper(state, VIEWS, method, stand_in(made)), extra=extra)
    assert len(made) == recordings and torch.equal(recorded, plain_weights(extra))


class Stuck(RecordedStepper):
    "A wrong variant: its recording reads the same of one thing at every replay."

    def __init__(self, forgotten, state, method):
        super().__init__(state, VIEWS, method, stand_in([]))
        self.forgotten = forgotten

    def _record(self, batch, chosen, draws):
        replay = super()._record(batch, chosen, draws)
        again = {
            "images": lambda: self.images.copy_(batch.images),
            "choice": lambda: self.chosen.copy_(chosen),
            "draws": lambda: self.draws.manual_seed(1),
            "learning rate": lambda: self.lr.fill_(0.01),
        }
        return lambda: (again[self.forgotten](), replay())[1]


def test_a_recording_that_is_not_given_everything_is_noticed():
    plain = plain_weights(extra=0)
    differences = {}
    for forgotten in ("images", "choice", "draws", "learning rate"):
        wrong = weights_after(partial(Stuck, forgotten), extra=0)
        differences[forgotten] = (wrong - plain).abs().max().item()
    assert min(differences.values()) > 1e-3, differences


# --- what is refused ----------------------------------------------------------------------------------------------
def asks(state, batch):
    "Three times the loss in all steps but the first."
    factor = 1.0 if state.step == 0 else 3.0
    return {name: value * factor for name, value in multicrop_objective(state, batch).items()}


def exchanges(state, batch):
    "A queue that is built again at each step."
    state.memory["queue"] = torch.cat([state.memory["queue"][1:], torch.ones(1)])
    return multicrop_objective(state, batch)


def fills(state, batch):
    "The same queue, written into its own place."
    state.memory["queue"].copy_(torch.cat([state.memory["queue"][1:], torch.ones(1)]))
    return multicrop_objective(state, batch)


def recorded_with(loss):
    method = Method(loss.__name__, loss=loss)
    return weights_after(lambda state, method: RecordedStepper(state, VIEWS, method, at_once), method)


@pytest.mark.parametrize("loss, reason", [(asks, "no attribute 'step'"), (exchanges, "in the place of queue")])
def test_a_loss_that_a_recording_would_freeze_is_refused(loss, reason):
    with pytest.raises(RuntimeError, match=f"a step of {loss.__name__} could not be recorded.*{reason}"):
        recorded_with(loss)


def test_a_loss_may_write_into_a_tensor_of_the_state():
    recorded_with(fills)


def test_another_number_of_images_than_was_recorded_is_refused():
    stepper = RecordedStepper(TrainState(build_model(TINY).train(), TINY), VIEWS, Method(), at_once)
    for _ in range(2):
        stepper(DIGITS.images[:16], torch.arange(16), 0.01, False)
    with pytest.raises(ValueError, match="shape of the recorded step"):
        stepper(DIGITS.images[:1], torch.arange(1), 0.01, False)


# --- while a recording is made ------------------------------------------------------------------------------------
def collections(n=5000):
    "How often Python's garbage collector, set to run after each 500 objects, runs while `n` are made."
    runs, before = [], gc.get_threshold()
    gc.callbacks.append(lambda phase, info: runs.append(phase))
    gc.set_threshold(500)
    try:
        kept = [[i] for i in range(n)]
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)
    return len(runs) if kept else 0


def test_the_garbage_collector_rests_and_a_second_recording_waits():
    def inside():
        with _undisturbed():
            quiet = collections()
            with ThreadPoolExecutor(1) as other:
                waits = not other.submit(_RECORDING.acquire, timeout=0.1).result()
            seen.extend((quiet, waits))
            raise KeyError

    seen = []
    with pytest.raises(KeyError):
        inside()
    assert seen == [0, True] and collections() > 0 and gc.isenabled()


def test_the_garbage_collector_is_left_as_it_was_found():
    gc.disable()
    try:
        with _undisturbed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
