"""The crops of one image, step by step: the draws of `MultiCrop` made again, and computed up to any step."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.seeds import generator
from dcacn_nb.method.views import (
    Augmentation,
    Crops,
    Draws,
    MultiCrop,
    as_float,
    augment,
    crop_resize,
    draw_augmentation,
    sample_boxes,
)


class Drawn(NamedTuple):
    "What MultiCrop draws for the n crops of one kind, global or local, of one image."

    size: int  # side of the crops, pixels
    knobs: Augmentation  # how strongly they are distorted
    boxes: Tensor  # (n,4) top, left, height, width in pixels
    flip: Tensor  # (n,) bool
    draws: Draws  # of n crops


def replay(
    views: MultiCrop,  # the settings
    height: int,  # of the image, pixels
    width: int,  # of the image, pixels
    generator: torch.Generator,  # in the state in which MultiCrop would get it
) -> "tuple[Drawn, Drawn]":  # for the global and for the local crops
    "The draws of `MultiCrop` for one image, in the same order, so that they are the same."
    kinds = (
        (2, views.global_size, views.global_scale, views.weak),
        (views.n_local, views.local_size, views.local_scale, views.strong),
    )
    drawn = []
    for n, size, scale, knobs in kinds:
        boxes = sample_boxes(n, height, width, scale, views.ratio, generator)
        flip = torch.rand(n, generator=generator) < knobs.flip
        drawn.append(Drawn(size, knobs, boxes, flip, draw_augmentation(n, size, knobs, generator)))
    return tuple(drawn)


COLOURS = ("brightness", "contrast", "saturation", "hue")  # the numbers in Draws.order


def step_names(
    channels: int,  # 1 grey, 3 colour
) -> "tuple[str, ...]":  # in the order in which they happen
    "The steps from image to view; grey images skip saturation, hue and grayscale."
    changes = [f"colour_{i + 1}" for i in range(4 if channels == 3 else 2)]
    return ("crop", "flip", "tilt", *changes, *(["grayscale"] if channels == 3 else []), "blur")


_KNOB_OF = {
    "tilt": ("rotation", "shear"),
    "colour_1": ("jitter",),
    "grayscale": ("grayscale",),
    "blur": ("blur",),
}  # step -> what is 0 before it


def until(
    drawn: Drawn,  # the draws of n crops
    image: Tensor,  # (1,C,H,W) float in [0,1]
    step: int,  # number of the last step to take, from 0
) -> Tensor:  # (n,C,size,size) float in [0,1]
    "The crops after the first steps: the same draws, with the knobs of all later steps at zero."
    done = step_names(image.shape[1])[: step + 1]
    neutral = {knob: 0.0 for name, knobs in _KNOB_OF.items() if name not in done for knob in knobs}
    changes = sum(name.startswith("colour") for name in done)
    order = drawn.draws.order  # each crop has its own; -1: a change that does not happen (yet)
    acting = order < (4 if image.shape[1] == 3 else 2)
    order = order.masked_fill(acting.cumsum(1) > changes, -1)
    if len(drawn.boxes) == 0:
        return image.new_zeros(0, image.shape[1], drawn.size, drawn.size)
    crops = crop_resize(image, drawn.boxes, drawn.size, drawn.flip if "flip" in done else None)
    return augment(crops, drawn.draws._replace(order=order), replace(drawn.knobs, **neutral))


def crops_at(
    views: MultiCrop,  # the settings
    image: Tensor,  # (1,C,H,W) uint8, or float in [0,1]
    seed: int,  # of the draws, >= 0
    step: "int | None" = None,  # number of the last step to take, from 0; None: all of them
) -> Crops:  # with boxes
    "The crops of one image after a step; after the last step, the result of MultiCrop itself."
    last = len(step_names(image.shape[1])) - 1
    if step is None or check_int("step", step, 0, last) == last:
        return views(image, generator(seed), return_boxes=True)
    drawn = replay(views, *image.shape[2:], generator(seed))
    pixels = [until(kind, as_float(image), step)[:, None] for kind in drawn]
    return Crops(*pixels, *(kind.boxes[:, None] for kind in drawn))


def effect(
    drawn: Drawn,  # the draws of some crops of one kind
    i: int,  # which of them
    name: str,  # a step
    channels: int,  # of the image
) -> "tuple[str, dict]":  # a key of the widget's texts that starts with did_ or not_, and what to fill in
    "What a step does to a crop, as a text of the widget."
    d = drawn.draws
    if name.startswith("colour"):
        order = [k for k in d.order[i].tolist() if k < (4 if channels == 3 else 2)]
        kind = order[int(name[-1]) - 1]
        return (f"did_{COLOURS[kind]}", {"x": d.factors[i, kind].item()}) if d.jittered[i] else ("not_colour", {})
    angle, shear, sigma = (values[i].item() for values in (d.angle, d.shear, d.sigma))
    done, values = {
        "flip": (drawn.flip[i], {}),
        "tilt": (angle or shear, {"angle": angle, "shear": shear}),
        "grayscale": (d.greyed[i], {}),
        "blur": (sigma > 0 and drawn.knobs.sigma[1] > 0, {"x": sigma}),
    }[name]
    return f"did_{name}" if done else f"not_{name}", values
