"""Which of several processes this one is, as `torchrun` and other launchers say it; needs no PyTorch."""

import os


def launched() -> "tuple[int, int]":  # rank, from 0, and number of processes
    "This process among those that were started together, by the variables RANK and WORLD_SIZE; (0, 1) without them."
    found = []
    for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")):
        value = os.environ.get(name) or default
        if not value.isdecimal():
            raise ValueError(f"{name} in the environment must be a whole number, got {value!r}; torchrun sets it")
        found.append(int(value))
    rank, world = found
    if world > 1 and rank >= world:
        raise ValueError(f"RANK in the environment must be less than WORLD_SIZE={world}, got {rank}")
    return (rank, world) if world > 1 else (0, 1)


def check_alone(
    what: str,  # what each of several processes would do for itself
) -> None:
    "Refuse processes that were started together."
    world = launched()[1]
    if world > 1:
        text = f"{what} works in one process, and {world} were started (WORLD_SIZE in the environment)"
        raise ValueError(f"{text}; start it without torchrun. What many processes share is `fit` and `resume`")


def restarts() -> bool:
    "Whether `torchrun --max-restarts` will start all processes again if one of them ends too early."
    return os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") not in ("", "0")


def restarted() -> bool:
    "Whether it has done so."
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")
