"""The methods to compare DCACN with: one module each, found by its name."""

import importlib
import pkgutil

from dcacn_nb.core.checks import check_in
from dcacn_nb.method.step import Method


def method_names() -> "list[str]":  # "dcacn" first, then the baselines in alphabetical order
    "All methods that come with this package."
    return [
        "dcacn",
        *sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")),
    ]


def find_method(
    name: str,  # one of method_names()
    **options,  # the method's own knobs
) -> Method:  # its settings still have to be applied: fit does
    "The method of that name: `dcacn_nb.baselines.NAME.NAME(**options)`."
    check_in("method", name, method_names())
    if name == "dcacn" and options:
        raise ValueError(
            f"dcacn has no options, got {', '.join(options)}; its knobs are the settings, fields of TrainConfig"
        )
    return (
        Method() if name == "dcacn" else getattr(importlib.import_module(f"dcacn_nb.baselines.{name}"), name)(**options)
    )
