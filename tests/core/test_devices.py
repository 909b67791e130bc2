"What a processor can do, and the precision that follows from it."

import contextlib

import pytest
import torch

from dcacn_nb.core.devices import cpu_has
from dcacn_nb.method import step
from dcacn_nb.method.config import TrainConfig


@pytest.mark.parametrize(
    "flags, either, amx",
    [
        ("fpu avx2 avx512_bf16", True, False),
        ("amx_tile amx_bf16 avx512_bf16", True, True),
        ("amx_bf16", True, True),
        ("avx512f avx512_bf16x amx_tile avx_ne_convert", False, False),
    ],
)
def test_a_processor_says_whether_it_has_bfloat16(flags, either, amx, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    assert cpu_has("amx_bf16", "avx512_bf16", cpuinfo=file) is either and cpu_has("amx_bf16", cpuinfo=file) is amx
    assert not cpu_has("amx_bf16", cpuinfo=tmp_path / "none")


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
