"""Settings that describe themselves: default, range, help and source are written once, beside the field."""

from dataclasses import MISSING, Field, field, fields
from typing import Any

from dcacn_nb.core.checks import allowed_range, check_float, check_in, check_int


def knob(
    default: object,  # its type is the setting's kind: bool, int, float, str, or a pair (smallest, largest)
    help: str,  # what it does and its unit, one line
    *,
    low: "float | None" = None,  # smallest valid value
    high: "float | None" = None,  # largest valid value
    open_low: bool = False,  # whether `low` itself is excluded
    choices: "tuple | None" = None,  # the valid values, where they can be listed; (True, False) for a bool
    paper: object = MISSING,  # the value in the "paper" preset, where it is one value
    source: str = "",  # where the paper's value comes from
    group: str = "",  # heading under which it is listed
    before: object = MISSING,  # what runs did that were made before the setting existed, where that is not the default
) -> Any:  # a dataclass field with this metadata
    "A dataclass field that knows its range, its help text and its source."
    if choices is None and isinstance(default, bool):
        choices = (True, False)
    metadata = dict(help=help, low=low, high=high, open_low=open_low, choices=choices, source=source, group=group)
    known = {name: value for name, value in dict(paper=paper, before=before).items() if value is not MISSING}
    return field(default=default, metadata=metadata | known)


def check_knobs(
    settings: Any,  # a dataclass object, also a frozen one, all of its fields made by `knob`
) -> None:
    "Check every field, and write it back as a plain Python value: NumPy numbers do not go into JSON."
    for one in fields(settings):
        object.__setattr__(settings, one.name, check_knob(one, getattr(settings, one.name)))


def check_knob(
    one: Field,  # a field made by `knob`
    value: object,  # what the caller gave
) -> object:  # the value, as a plain Python one
    "`value` if the field allows it, else a TypeError or ValueError that names the field."
    name, limits = one.name, one.metadata
    if isinstance(one.default, int) and not isinstance(one.default, bool):
        value = check_int(name, value, limits["low"], limits["high"])
    if limits["choices"] is not None:
        check_in(name, value, limits["choices"])
        return next(option for option in limits["choices"] if option == value)
    if isinstance(one.default, int):
        return value
    if isinstance(one.default, float):
        return check_float(name, value, limits["low"], limits["high"], limits["open_low"])
    if isinstance(one.default, tuple):
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"{name} must be a pair (smallest, largest), got {value!r}")
        return tuple(check_float(name, x, limits["low"], limits["high"], limits["open_low"]) for x in value)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {value!r}; it is {limits['help']}")
    return value


def allowed(
    one: Field,  # a field made by `knob`
) -> str:  # e.g. "> 0 and <= 1", "'adamw', 'adam'"
    "The values that a field allows, in words."
    limits = one.metadata
    if limits["choices"] is not None:
        return ", ".join(map(repr, limits["choices"]))
    values = allowed_range(limits["low"], limits["high"], limits["open_low"])
    return f"two numbers {values}".strip() if isinstance(one.default, tuple) else values or "any text"
