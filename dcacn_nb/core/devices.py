"""Where to compute, and what a run's figures depend on."""

import platform

import numpy as np
import torch

from dcacn_nb import __version__
from dcacn_nb.core.ranks import world


def pick_device(
    device: "str | torch.device" = "auto",  # "auto", "cpu", "cuda", "cuda:1", "mps" or a torch.device
) -> torch.device:  # a device that exists on this machine
    "The device to compute on: a named one if it is there, else (`auto`) CUDA, then MPS, then CPU."
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}") from None
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(chosen.type, False):
        raise ValueError(f"device {str(chosen)!r} is not available on this machine; use 'auto' or 'cpu'")
    if chosen.type == "cuda" and chosen.index is not None and chosen.index >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(chosen)!r} does not exist: this machine has {torch.cuda.device_count()} CUDA device(s)"
        )
    return chosen


def versions() -> "dict[str, str]":
    "What the figures of a run depend on beside its settings."
    return {
        "dcacn_nb": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
        "processes": str(world()),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
