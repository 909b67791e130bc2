"""The register of methods: DCACN and its baselines on images, heads on frozen features, each found by its name."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

import psutil

from dcacn_nb import baselines, heads
from dcacn_nb.core.checks import check_in

if TYPE_CHECKING:  # names are checked before PyTorch is loaded
    from torch import nn

    from dcacn_nb.method.config import TrainConfig
    from dcacn_nb.method.step import Method


def method_names(
    frozen: bool = False,  # True: those that work on features; False: those that work on images
) -> "list[str]":  # "dcacn" first, then the others in alphabetical order
    "All methods that come with this package."
    place = heads if frozen else baselines
    found = {module.name for module in pkgutil.iter_modules(place.__path__) if not module.name.startswith("_")}
    return ["dcacn", *sorted(found - {"dcacn"})]


def find_method(
    name: str,  # one of method_names()
    **options,  # the method's own knobs; with features=D, the length of a feature, it is a head on frozen features
) -> "Method":  # its settings still have to be applied: fit does
    "The method of that name: `dcacn_nb.baselines.NAME.NAME(**options)`, or the same of `dcacn_nb.heads`."
    frozen = "features" in options
    if name in set(method_names(not frozen)) - set(method_names(frozen)):
        where, way = ("images", "leave the encoder out") if frozen else ("features", "give an encoder, such as 'lite0'")
        raise ValueError(f"method {name!r} works on {where} alone: {way}, or choose from {method_names(frozen)}")
    check_in("method", name, method_names(frozen))
    if name == "dcacn" and not frozen:
        if options:
            text = f"dcacn has no options, got {', '.join(options)}"
            raise ValueError(f"{text}; its knobs are the settings, fields of TrainConfig")
        from dcacn_nb.method.step import Method

        return Method()
    place = heads if frozen else baselines
    return getattr(importlib.import_module(f"{place.__name__}.{name}"), name)(**options)


def build_network(
    method: "Method",
    config: "TrainConfig",  # with the method's own settings
) -> "nn.Module":  # on the CPU
    "A method's network; settings that this machine's memory cannot hold are refused before any of it is taken."
    needed, free = _bytes_needed(method, config), psutil.virtual_memory().available
    if needed > free:
        text = f"need {needed / 1e9:,.1f} GB of memory for training, {free / 1e9:,.1f} GB are free"
        raise ValueError(f"these settings {text}; choose a smaller width, batch_size or size of crops")
    return method.network(config)


def _bytes_needed(method: "Method", config: "TrainConfig") -> int:
    "Memory of the weights, their gradients and two moments of each, and of a batch's crops."
    import torch

    try:
        with torch.device("meta"):  # shapes without memory
            weights = method.network(config).state_dict().values()
    except NotImplementedError:  # a network of one's own that looks at its numbers while it is made
        weights = ()
    needed = 4 * sum(value.numel() * value.element_size() for value in weights)
    if "features" in method.options:
        return needed
    pixels = 2 * config.global_size**2 + config.n_local * config.local_size**2
    return needed + 4 * config.batch_size * config.channels * pixels
