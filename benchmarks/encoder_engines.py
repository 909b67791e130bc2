"""Images per second of the packaged encoders in each engine, on the CPU: a CSV row per encoder, engine, batch and turn.

Features are made of random pixels that are already in memory: nothing is decoded or resized. "plain" is the network as
PyTorch runs it without any care: contiguous memory, `model.eval()`, no gradients. The engines take turns, so that other
work on the machine meets all of them; `cpu_ms_an_image` counts this process alone, all its threads. `off` is the
relative difference to the plain answers.
Example: python benchmarks/encoder_engines.py --threads 2 --output benchmarks/encoder_engines.csv
"""

import argparse
import os
import time
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from dcacn_nb.core.seeds import generator
from dcacn_nb.encoders.choice import processor
from dcacn_nb.encoders.engines import ENGINES, start_engine
from dcacn_nb.encoders.networks import Network, Pixels, packaged_network

CPU = torch.device("cpu")


def plain_engine(network: Network):
    "PyTorch without any care."
    pixels = Pixels(deepcopy(network.module), network.mean, network.std).eval()

    def run(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return pixels(images)

    return run


def rate(run, images: torch.Tensor, seconds: float) -> "dict[str, float]":
    "Images per second over at least `seconds`, and the processor's time for one."
    run(images)
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        run(images)
        count += len(images)
    speed = count / (time.perf_counter() - began)
    return {"images_a_second": round(speed, 1), "cpu_ms_an_image": round(1e3 * (time.process_time() - cpu) / count, 2)}


def rows(name: str, batches: "list[int]", turns: int, seconds: float) -> "list[dict]":
    "All engines of one encoder, by turns."
    network = packaged_network(name)
    engines = {"plain": plain_engine(network)}
    engines |= {engine: start_engine(engine, network, CPU) for engine in ENGINES}
    found = []
    for batch in batches:
        shape = (batch, 3, network.size, network.size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0))
        wanted = engines["plain"](images)
        off = {engine: float((run(images) - wanted).norm() / wanted.norm()) for engine, run in engines.items()}
        for turn in range(turns):
            for engine, run in engines.items():
                case = {"encoder": name, "px": network.size, "engine": engine, "batch": batch, "turn": turn}
                found.append(
                    case
                    | rate(run, images, seconds)
                    | {"off": f"{off[engine]:.1e}", "load": round(os.getloadavg()[0], 1)}
                )
                print(found[-1], flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=["lite0", "lite2"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 16, 32])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = pd.DataFrame([r for name in args.encoders for r in rows(name, args.batches, args.turns, args.seconds)])
    table["threads"], table["processor"] = args.threads, processor()
    for library in ("torch", "onnxruntime", "openvino"):
        table[library] = version(library)
    if args.output:
        table.to_csv(args.output, index=False)
    for column in ("images_a_second", "cpu_ms_an_image"):
        median = table.pivot_table(column, ["encoder", "batch"], "engine", "median")
        print(
            column, median.to_string(), "of plain", median.div(median["plain"], axis=0).round(2).to_string(), sep="\n"
        )


if __name__ == "__main__":
    main()
