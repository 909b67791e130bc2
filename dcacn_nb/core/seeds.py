"""Random numbers as a function of (seed, purpose, step)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dcacn_nb.core.checks import check_int

_DRAWING = threading.RLock()  # PyTorch's own generators belong to the whole process


def generator(
    seed: int,  # the run's seed, >= 0
    *stream: int,  # integers >= 0 naming what the draws are for, e.g. (purpose, step)
    device: "torch.device | str" = "cpu",  # where the numbers are drawn
) -> torch.Generator:  # freshly seeded; the same arguments always give the same draws on the same kind of device
    "A random generator that is a function of `(seed, *stream)` alone (mixed by NumPy's SeedSequence)."
    for i, part in enumerate((seed, *stream)):
        check_int("seed" if i == 0 else f"stream[{i - 1}]", part, low=0)
    state = np.random.SeedSequence((seed, *stream)).generate_state(2, np.uint32)
    return torch.Generator(device=device).manual_seed(int(state[0]) << 31 ^ int(state[1]))


@contextmanager
def fixed_draws(
    seed: int,  # >= 0
    *stream: int,  # as for `generator`; none: the seed as it is
    device: "torch.device | str" = "cpu",  # where numbers are drawn beside the CPU
) -> "Iterator[None]":
    """Inside, PyTorch's own draws, such as first weights, are a function of (seed, *stream).

    Afterwards the caller's random state is as it was. Of several threads one at a time is inside."""
    number = generator(seed, *stream).initial_seed() if stream else check_int("seed", seed, low=0)
    kind = torch.device(device).type
    with _DRAWING, torch.random.fork_rng(devices=[device] if kind == "cuda" else []):
        (torch.default_generator.manual_seed if kind == "cpu" else torch.manual_seed)(number)
        yield
