"""What attention, 16 bits and compiling cost or save in a training step on a processor, a CSV row per case and turn.

CIFAR-sized images, `preset("default")` with two local crops and every loss (ResNet-18, batches of 64) at two widths.
`times` is how many times as long as the first case of its size a case took, in the same turn. `--compile` adds
torch.compile, which takes minutes to begin.
Example: python benchmarks/step_variants.py --output benchmarks/step_variants.csv
"""

import torch
from step_speed import prepared
from turns import by_turns, main, times

from dcacn_nb.method.step import Method, Stepper

CASES = {
    "without attention": {"attention": False, "amp": "off"},
    "with attention (CBAM)": {"amp": "off"},
    "with attention, bfloat16": {"amp": "bf16"},
}
COMPILED = {"with attention, compiled": {"amp": "off", "compile": True}}


def one_step(changes: dict):
    "A step with these settings."
    state, views, images = prepared("default", 3, 32, "cpu", changes)
    stepper, chosen = Stepper(state, views, Method()), torch.arange(len(images))
    return lambda: stepper(images, chosen, 1e-3, False)


def measure(options) -> "list[dict]":
    "All cases of a width by turns."
    rows, cases = [], CASES | (COMPILED if options.compile else {})
    for width in (16,) if options.small else (16, 32):
        steps = {name: one_step(changes | {"width": width}) for name, changes in cases.items()}
        found = by_turns(steps, options.turns, options.seconds, size=f"width {width}")
        rows += times(found, "without attention")
    return rows


if __name__ == "__main__":
    main(measure, __doc__, flags=("compile",))
