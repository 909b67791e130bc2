"""How long a training step takes on this machine, what it computes and how much memory it needs, one CSV row per case.

The paper's three recipes and the default preset (with two local crops, and every loss), on made-up images with the real
views, networks, losses and updates; no figure here is about accuracy. On a GPU each case is measured twice: every step
as it comes, and recorded as a CUDA graph.
Example: python benchmarks/step_speed.py --device cuda --output benchmarks/step_speed.csv
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from dcacn_nb.core.seeds import generator
from dcacn_nb.method.config import build_model, build_views, preset
from dcacn_nb.method.step import Method, Stepper, TrainState, place
from dcacn_nb.runs.graphs import RecordedStepper

CASES = [  # (recipe, preset, channels, side, changes)
    ("CIFAR-10", "paper", 3, 32, {}),
    ("STL-10", "paper", 3, 96, {}),
    ("ImageNet-10", "paper", 3, 224, {}),
    ("ImageNet-10, single precision", "paper", 3, 224, {"amp": "off"}),
    ("CIFAR-10, compiled", "paper", 3, 32, {"compile": True}),
    ("digits", "default", 1, 8, {}),
    ("Fashion-MNIST", "default", 1, 28, {}),
    ("CIFAR-10", "default", 3, 32, {}),
    ("digits, compiled", "default", 1, 8, {"compile": True}),
    ("CIFAR-10, compiled", "default", 3, 32, {"compile": True}),
]


FULL = {"n_local": 2, "cluster_start": 0.0}  # of the default preset: both kinds of crops, and every loss at once


def prepared(name: str, channels: int, side: int, device: str, changes: dict) -> tuple:
    "State, views and one batch of images."
    shape = (1024, channels, side, side)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0))
    config = preset(name, images, 10, device=device, **((FULL if name == "default" else {}) | changes))
    state = TrainState(build_model(config), config)
    place(state.model, config)
    if config.compile:
        state.model.backbone.compile()
    state.model.train()
    return state, build_views(config), images[: config.batch_size].to(device)


def forward_flops(config) -> int:
    "Floating-point operations of the forward pass of all views of one image."
    with torch.device("meta"):
        model = build_model(config)
        views = [
            torch.empty(n, 1, config.channels, side, side)
            for n, side in ((2, config.global_size), (config.n_local, config.local_size))
            if n
        ]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(views)
    return counter.get_total_flops()


def measured(state: TrainState, stepper: Stepper, images: torch.Tensor, steps: int, warm_up: int) -> dict:
    "Milliseconds of a step, and until the host has asked for all of it; memory, and on CUDA the kernels."
    chosen = torch.arange(len(images), device=images.device)
    cuda = images.is_cuda
    wait = torch.cuda.synchronize if cuda else lambda: None

    def take(n: int) -> None:
        for _ in range(n):
            stepper(images, chosen, 1e-3, False)
            state.step += 1

    take(warm_up)
    wait()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    take(steps)
    asked = time.perf_counter() - began
    wait()
    found = {"ms_a_step": 1e3 * (time.perf_counter() - began) / steps, "ms_to_ask": 1e3 * asked / steps}
    if cuda:
        found |= {
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
            "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        }
        found |= kernels_of(lambda: (take(1), wait()))
    return found


def kernels_of(function) -> dict:
    "Number of CUDA kernels, and the milliseconds they take."
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
        function()
    kernels = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return {"kernels": len(kernels), "ms_of_kernels": sum(event.time_range.elapsed_us() for event in kernels) / 1e3}


def row(
    recipe: str, name: str, channels: int, side: int, changes: dict, stepper_class: type, device: str, *counts: int
) -> dict:
    "The row of one case; `counts`: steps to measure, and to warm up with."
    state, views, images = prepared(name, channels, side, device, changes)
    config = state.config
    found = measured(state, stepper_class(state, views, Method()), images, *counts)
    flops = 3 * forward_flops(config) * len(images)
    found |= {"images_a_second": len(images) / found["ms_a_step"] * 1e3, "tflops": flops / found["ms_a_step"] / 1e9}
    place_name = torch.cuda.get_device_name() if device == "cuda" else "processor"
    return {
        "recipe": recipe,
        "preset": name,
        "image": side,
        "backbone": config.backbone,
        "width": config.width,
        "batch": len(images),
        "recorded": stepper_class is RecordedStepper,
        **{key: round(value, 2) for key, value in found.items()},
        "torch": torch.__version__,
        "device": place_name,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--cases",
        type=lambda text: [int(i) for i in text.split(",")],
        default=range(len(CASES)),
        help="numbers of the cases, from 0",
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows = []
    for number in args.cases:
        for stepper_class in (Stepper, RecordedStepper) if args.device == "cuda" else (Stepper,):
            rows.append(row(*CASES[number], stepper_class, args.device, args.steps, args.warm_up))
            print(rows[-1], flush=True)
            if args.output:
                pd.DataFrame(rows).to_csv(args.output, index=False)
    print(pd.DataFrame(rows).drop(columns=["torch", "device"]).to_string(index=False))


if __name__ == "__main__":
    main()
