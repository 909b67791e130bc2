"The precision of the computation."

import contextlib

import pytest
import torch

from dcacn_nb.method import step
from dcacn_nb.method.config import TrainConfig


@pytest.mark.parametrize(
    "amp, device, wanted",
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("auto", "mps", False),
        ("bf16", "cpu", True),
        ("off", "cpu", False),
        ("off", "cuda", False),
    ],
)
def test_auto_takes_bfloat16_on_cuda_alone(amp, device, wanted, monkeypatch):
    "Asked for is asked for; left open, it depends on the device."
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: (kind, dtype))
    found = step.autocast(TrainConfig(amp=amp), torch.device(device))
    assert found == (device, torch.bfloat16) if wanted else isinstance(found, contextlib.nullcontext)
