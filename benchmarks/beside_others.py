"""A training step alone, and beside one program that keeps one processor busy, one CSV row per case, size and turn.

- spinning: PyTorch as it comes. Threads that wait spin.
- torch first: a notebook that imports torch, then dcacn_nb. `Neighbours` lets threads sleep while others are busy.
- dcacn first: the command, or a script that imports dcacn_nb first. It also sets GOMP_SPINCOUNT.
- passive: OMP_WAIT_POLICY=PASSIVE, set by the user. Threads that wait always sleep.
Each case is a process of its own, because OpenMP reads these variables once; they take turns. `others` is how many
processors other processes used meanwhile: a row is "alone" only if it is about 0.
Example: python benchmarks/beside_others.py --output benchmarks/beside_others.csv
"""

import contextlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

CASES = {  # what is imported first, whether a run's `Neighbours` look, environment
    "spinning": ("torch", False, {}),
    "torch first": ("torch", True, {}),
    "dcacn first": ("dcacn_nb", True, {}),
    "passive": ("torch", False, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
SIZES = {"digits": (1, 8), "CIFAR-10": (3, 32)}  # channels and side


def work(looks: bool) -> None:
    "A process that takes training steps for as long as it is asked to, and writes what it measured."
    import torch
    from step_speed import prepared
    from turns import timed

    from dcacn_nb.method.step import Method, Stepper
    from dcacn_nb.runs.threads import Neighbours

    steppers: dict = {}

    def step(size: str) -> None:
        if size not in steppers:
            state, views, images = prepared("default", *SIZES[size], "cpu", {})
            steppers[size] = Stepper(state, views, Method()), images, torch.arange(len(images))
        stepper, images, chosen = steppers[size]
        stepper(images, chosen, 1e-3, False)

    with Neighbours() if looks else contextlib.nullcontext():
        for line in sys.stdin:
            size, seconds = json.loads(line)
            print(json.dumps(timed(partial(step, size), seconds)), flush=True)


@contextlib.contextmanager
def worker(case: str, threads: int):
    "A process for a case, as a function (size, seconds) -> row."
    first, looks, variables = CASES[case]
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"OMP_NUM_THREADS": str(threads)} | variables
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import {first}, beside_others"
    command = [sys.executable, "-c", f"{code}; beside_others.work({looks})"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, **pipes) as process:

        def ask(size: str, seconds: float) -> dict:
            print(json.dumps([size, seconds]), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@contextlib.contextmanager
def busy(wanted: bool):
    "Another program that computes all the time, or none."
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def measure(options) -> "list[dict]":
    "All cases by turns: alone, then beside a busy program."
    rows, sizes, cases = [], list(SIZES), list(CASES)
    if options.small:
        sizes, cases = sizes[:1], cases[1:2]
    with contextlib.ExitStack() as stack:
        workers = {case: stack.enter_context(worker(case, options.threads)) for case in cases}
        for size in sizes:
            for turn in range(0 if options.small else -1, options.turns):  # the first warms up
                for beside in (False, True):
                    with busy(beside):
                        for case, ask in workers.items():
                            about = {"size": size, "beside": beside, "case": case, "turn": turn}
                            rows.append(about | ask(size, options.seconds))
    return [row for row in rows if row["turn"] >= 0]


if __name__ == "__main__":
    from turns import main

    main(measure, __doc__)
