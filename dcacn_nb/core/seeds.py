"""Random numbers as a function of (seed, purpose, step)."""

import numpy as np
import torch

from dcacn_nb.core.checks import check_int


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
