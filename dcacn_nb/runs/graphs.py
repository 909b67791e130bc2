"""On CUDA: a training step recorded once and replayed, instead of asking the device for each of its parts every time."""

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
    "One recording at a time, and no garbage collection in it: an old recording that is thrown away in this thread would end the new one."
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
    draws: torch.Generator,  # what its random numbers come from, on that device
) -> (
    "Callable[[], dict[str, Tensor]]"
):  # does that work and gives the tensors that `function` gave: the same ones at each call, with new values
    "Record `function` as a CUDA graph, doing nothing of it yet."
    device = draws.device  # PyTorch records what goes to the current one
    with _undisturbed(), torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(draws)
        with torch.cuda.graph(
            graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local"
        ):  # other threads may go on using the device
            told = function()

    def replay() -> "dict[str, Tensor]":
        with torch.cuda.device(device):
            graph.replay()
        return told

    return replay


class RecordedStepper(Stepper):
    "Takes the steps of a run: an epoch's first as it comes, all others as replays of one that was recorded. A restored state needs a new one."

    def __init__(
        self,
        state: TrainState,  # changed in place; its step and epoch are moved on by the caller
        views: Callable,  # the augmentation: (images, generator) -> Crops
        method: Method,  # what a step is
        record: Callable = record_graph,  # records a function, and returns one that replays it
    ):
        super().__init__(state, views, method)
        self.record = record
        self.kind: "tuple[int, bool] | None" = None  # epoch, and instance loss alone: what was recorded serves no other
        self.replay: "Callable | None" = None

    def take(self, batch: Batch, lr: float) -> "dict[str, Tensor]":
        "The step on `batch`: loss terms and gradient norm, valid until the next step."
        kind = (self.state.epoch, batch.instance_only)
        if kind != self.kind:
            self.kind, self.replay = kind, None  # an old recording gives its memory back first
            return super().take(batch, lr)
        if self.replay is None:
            self._record(batch)
        if batch.images.shape != self.batch.images.shape:
            raise ValueError(
                f"images must have the shape of the recorded step, {tuple(self.batch.images.shape)}, got {tuple(batch.images.shape)}"
            )
        self.batch.images.copy_(batch.images)
        self.batch.chosen.copy_(batch.chosen)
        self.lr.fill_(lr)
        self.batch.draws.manual_seed(batch.draws.initial_seed())
        return self.replay()

    def _record(self, batch: Batch) -> None:
        "Record a step that reads its images, learning rate and draws from places of its own."
        self.batch = dataclasses.replace(batch, images=batch.images.clone(), chosen=batch.chosen.clone())
        self.lr = torch.zeros((), device=batch.images.device)
        shown = copy.copy(self.state)  # what the loss is shown: what it asks of Python would be frozen
        del shown.step
        before = vars(shown) | shown.memory
        try:
            self.replay = self.record(lambda: train_step(shown, self.batch, self.lr, self.method.loss), batch.draws)
            exchanged = [name for name, value in (vars(shown) | shown.memory).items() if value is not before.get(name)]
            if exchanged:
                raise RuntimeError(
                    f"its loss puts something else in the place of {', '.join(exchanged)}, which a replay would not; write into the tensor that is there"
                )
        except (RuntimeError, TypeError, AttributeError) as error:
            self.kind = None
            raise RuntimeError(
                f"a step of {self.method.name} could not be recorded as a CUDA graph ({error}); "
                "set cuda_graphs=False, or recordable=False in the method"
            ) from error
