"""On CUDA: a training step recorded once and replayed, instead of asking the device for each of its parts again.

A step of a small network is about three thousand small pieces of work. The device does each within microseconds, but
the processor needs longer to ask for it (figures: `benchmarks/step_speed.csv`). A CUDA graph asks for all at once."""

import contextlib
import copy
import dataclasses
import gc
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dcacn_nb.method.step import Batch, Method, Stepper, TrainState, train_step

_RECORDING = threading.Lock()


@contextlib.contextmanager
def _undisturbed() -> "Iterator[None]":
    "One recording at a time, without garbage collection: freeing an old recording here would end the new one."
    with _RECORDING:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


def record_graph(
    function: "Callable[[], dict[str, Tensor]]",  # asks the CUDA device for work, and never waits for it
    draws: torch.Generator,  # the source of its random numbers, on that device
) -> "Callable[[], dict[str, Tensor]]":  # does that work; returns the tensors of `function`, with new values
    "Record `function` as a CUDA graph, without doing any of its work yet."
    device = draws.device  # PyTorch records what goes to the current one
    with _undisturbed(), torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(draws)
        # thread_local: other threads may use the device meanwhile
        with torch.cuda.graph(graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local"):
            losses = function()

    def replay() -> "dict[str, Tensor]":
        with torch.cuda.device(device):
            graph.replay()
        return losses

    return replay


class RecordedStepper(Stepper):
    "Takes an epoch's first step as it is, and replays a recorded one for all others; serves one state only."

    def __init__(
        self,
        state: TrainState,  # changed in place; the caller advances its step and epoch
        views: Callable,  # the augmentation: (images, generator) -> Crops
        method: Method,  # what a step is
        record: Callable = record_graph,  # records a function, and returns one that replays it
    ):
        super().__init__(state, views, method)
        self.record = record
        # epoch, and instance loss alone: what was recorded serves no other
        self.kind: tuple[int, bool] | None = None
        self.replay: Callable[[], dict[str, Tensor]] | None = None

    def take(self, batch: Batch, lr: float) -> "dict[str, Tensor]":
        "The step on `batch`: loss terms and gradient norm, valid until the next step."
        kind = (self.state.epoch, batch.instance_only)
        if kind != self.kind:
            self.kind, self.replay = kind, None  # an old recording frees its memory first
            return super().take(batch, lr)
        chosen, draws = batch.chosen, batch.draws
        if chosen is None or draws is None:
            raise ValueError("a recorded step needs a batch with `chosen` and `draws`")
        if self.replay is None:
            self.replay = self._record(batch, chosen, draws)
        recorded, found = tuple(self.images.shape), tuple(batch.images.shape)
        if found != recorded:
            raise ValueError(f"images must have the shape of the recorded step, {recorded}, got {found}")
        self.images.copy_(batch.images)
        self.chosen.copy_(chosen)
        self.lr.fill_(lr)
        self.draws.manual_seed(draws.initial_seed())
        return self.replay()

    def _record(self, batch: Batch, chosen: Tensor, draws: torch.Generator) -> "Callable[[], dict[str, Tensor]]":
        "Record a step that reads its images, learning rate and draws from its own places; returns its replay."
        self.images, self.chosen, self.draws = batch.images.clone(), chosen.clone(), draws
        self.lr = torch.zeros((), device=batch.images.device)
        recorded = dataclasses.replace(batch, images=self.images, chosen=self.chosen)
        shown = copy.copy(self.state)  # what the loss is shown: a number it asks Python for would be frozen
        del shown.step
        before = vars(shown) | shown.memory
        try:
            replay = self.record(lambda: train_step(shown, recorded, self.lr, self.method.loss), draws)
            exchanged = [name for name, value in (vars(shown) | shown.memory).items() if value is not before.get(name)]
            if exchanged:
                text = f"its loss puts something else in the place of {', '.join(exchanged)}, which a replay would not"
                raise RuntimeError(f"{text}; write into the tensor that is there")
        except (RuntimeError, TypeError, AttributeError) as error:
            self.kind = None
            text = f"a step of {self.method.name} could not be recorded as a CUDA graph ({error})"
            raise RuntimeError(f"{text}; set cuda_graphs=False, or recordable=False in the method") from error
        return replay
