"""Settings and seeds from text."""

import dataclasses
import re
from collections.abc import Callable


def given(
    **options: object,  # None: not given
) -> dict:
    "The options that were given, as plain values."
    return {name: getattr(value, "value", value) for name, value in options.items() if value is not None}


def parse_value(
    name: str,  # a field of TrainConfig
    text: str,  # what follows the equals sign
    default: object,  # the field's default, which decides the type
) -> object:  # a value of that type
    "A setting's value from text."
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(default, bool) and text.lower() in words:
        return words[text.lower()]
    if name == "attention":  # true, false, or one of its halves
        return text
    wanted, read = _TYPES[type(default)]
    try:
        if "_" in text and wanted != "a word":  # Python reads 1_0 as 10
            raise ValueError(text)
        return read(text)
    except ValueError:
        raise ValueError(f"--set {name}={text}: {name} must be {wanted}") from None


def _pair(text: str) -> "tuple[float, ...]":
    "Numbers with commas between."
    return tuple(float(part) for part in text.split(","))


def _neither(text: str):
    "Refuse a text that is neither true nor false."
    raise ValueError(text)


_TYPES: "dict[type, tuple[str, Callable]]" = {
    int: ("a whole number", int),
    float: ("a number", float),
    str: ("a word", str),
    bool: ("true or false", _neither),
    tuple: ("two numbers with a comma, such as 0.5,1", _pair),
}


def parse_settings(
    pairs: "list[str] | None",  # ["lr=0.001", ...]
    **options: object,  # field of TrainConfig -> value of the option that sets it; None: not given
) -> dict:  # field of TrainConfig -> value
    "The `--set` options as a dictionary; what is given twice with different values is refused."
    for pair in pairs or []:  # before torch is loaded
        if "=" not in pair:
            raise ValueError(f"--set {pair}: write NAME=VALUE, e.g. --set lr=0.001")
    if not pairs:
        return {}
    from dcacn_nb.core.checks import check_in
    from dcacn_nb.method.config import TrainConfig

    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    settings: dict = {}
    known = {name: value for name, value in options.items() if value is not None}
    for pair in pairs:
        name, _, text = pair.partition("=")
        check_in("setting", name, list(defaults))
        settings[name] = parse_value(name, text, defaults[name])
        if known.get(name, settings[name]) != settings[name]:
            raise ValueError(f"--set {pair}: {name} is given as {known[name]} too; give it once")
    return settings


def parse_seeds(
    text: str,  # "0-4" or "0,3,7" or "5"
) -> "list[int]":
    "Seeds from text."
    try:
        if "_" in text:
            raise ValueError(text)
        first, dash, last = text.partition("-")
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {text}: write 0-4, or 0,3,7") from None
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {text}: give at least one seed, each once, and none below 0")
    return seeds


def check_settings(
    changes: dict,  # field of TrainConfig -> value
    clusters: "int | str | None" = None,  # -k
    method: str = "dcacn",
) -> None:
    "Refuse what is wrong for any images, before PyTorch is loaded, which takes long; the rest is checked with images."
    from dcacn_nb.core.checks import check_in, check_int
    from dcacn_nb.core.knobs import check_knob
    from dcacn_nb.method.config import TrainConfig
    from dcacn_nb.methods import method_names

    if clusters not in (None, "auto"):
        check_int("-k", clusters, low=2)
    check_in("method", method, list(dict.fromkeys([*method_names(), *method_names(frozen=True)])))
    check_device(changes.get("device", "auto"))
    for field in dataclasses.fields(TrainConfig):
        if field.name in changes:
            check_knob(field, changes[field.name])


def check_device(
    device: str,  # --device
) -> None:
    "Refuse a word that names no device; whether this machine has it, only PyTorch can tell."
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got {device!r}")


def check_together(
    changes: dict,  # field of TrainConfig -> value, each checked already
) -> None:
    "Refuse settings that do not go together, or not with this machine, before images are read."
    from dcacn_nb.core.devices import pick_device
    from dcacn_nb.method.config import TrainConfig

    pick_device(changes.get("device", "auto"))
    sizes = ("image_size", "global_size", "local_size")  # these must fit together, and fit the images
    TrainConfig(**{name: value for name, value in changes.items() if name not in sizes})
