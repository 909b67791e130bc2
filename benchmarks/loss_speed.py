"""The instance loss of many crops with its gradient: tables shared by all pairs, and pair by pair; then its memory.

Projections of 128 numbers, two global and six local crops, one CSV row per case, size and turn. `off` is the largest
difference to pair by pair, of the value and of the gradient (relative to its largest entry). The last row is one large
batch in a process of its own; `peak_mb` is the most memory that this process had, PyTorch included (Linux only).
Example: python benchmarks/loss_speed.py --output benchmarks/loss_speed.csv
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from turns import by_turns, main, times

from dcacn_nb.core.seeds import generator
from dcacn_nb.method.losses import contrast, multicrop_instance_loss, view_pairs

VIEWS = 8


def projections(images: int) -> torch.Tensor:
    "Unit rows, views of one image near each other."
    draws = generator(0)
    base = torch.randn(images, 128, generator=draws)
    z = base + 0.5 * torch.randn(VIEWS, images, 128, generator=draws)
    return F.normalize(z, dim=2).requires_grad_()


def pair_by_pair(z: torch.Tensor) -> torch.Tensor:
    "Every pair by itself."
    return torch.stack([contrast(z[g], z[v]) for g, v in view_pairs(2, len(z))]).mean()


def gradient(loss, z: torch.Tensor) -> "tuple[torch.Tensor, torch.Tensor]":
    "Value and gradient."
    value = loss(z)
    return value.detach(), torch.autograd.grad(value, z)[0]


def memory(images: int) -> None:
    "In a process of its own: milliseconds, and the most megabytes it had. (`ru_maxrss` would count its parent's.)"
    z, began = projections(images), time.perf_counter()
    gradient(multicrop_instance_loss, z)
    seconds, status = time.perf_counter() - began, Path("/proc/self/status").read_text()
    print(json.dumps({"ms": 1e3 * seconds, "peak_mb": int(status.split("VmHWM:")[1].split()[0]) / 1024}))


def measure(options) -> "list[dict]":
    "Both by turns, then the memory of a large batch."
    images, large = (512, 600) if options.small else (1024, 8192)
    z = projections(images)
    (value, slope), (right, expected) = gradient(multicrop_instance_loss, z), gradient(pair_by_pair, z)
    off = max(float((value - right).abs()), float((slope - expected).abs().max() / expected.abs().max()))
    cases = {"dcacn": lambda: gradient(multicrop_instance_loss, z), "pair by pair": lambda: gradient(pair_by_pair, z)}
    rows = by_turns(cases, options.turns, options.seconds, size=f"B = {images:,}", off=f"{off:.1e}")
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import loss_speed, torch; "
    code += f"torch.set_num_threads({options.threads}); loss_speed.memory({large})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    last = {name: round(number) for name, number in json.loads(done.stdout).items()}
    return [*times(rows, "dcacn"), {"size": f"B = {large:,}", "case": "dcacn", "turn": 0} | last]


if __name__ == "__main__":
    main(measure, __doc__, threads=1)
