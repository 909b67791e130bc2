"""Argument checks: an error names the argument, the value found, and what would be right."""

import difflib
import math
from typing import Any

import numpy as np

TINY, HUGE = 1e-21, 1e15  # of the largest feature: float32 holds sums of squares, though of few digits near TINY


def allowed_range(low, high, open_low=False) -> str:
    "The allowed range in words, for messages."
    left = "" if low is None else f"{'>' if open_low else '>='} {low}"
    right = "" if high is None else f"<= {high}"
    return " and ".join(part for part in (left, right) if part)


def check_int(
    name: str,  # the argument's name, for the message
    value: object,  # what the caller gave
    low: "int | None" = None,  # smallest valid value
    high: "int | None" = None,  # largest valid value
) -> int:  # the value as a plain int
    "`value` if it is a whole number in [low, high], else a TypeError or ValueError that names the argument."
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {value!r} ({type(value).__name__})")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{name} must be {allowed_range(low, high)}, got {value}")
    return int(value)


def check_float(
    name: str,  # the argument's name, for the message
    value: object,  # what the caller gave
    low: "float | None" = None,  # smallest valid value
    high: "float | None" = None,  # largest valid value
    open_low: bool = False,  # whether `low` itself is excluded
) -> float:  # the value as a plain float
    "`value` if it is a finite real number in the range, else a TypeError or ValueError that names the argument."
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    too_low = low is not None and (value <= low if open_low else value < low)
    if not math.isfinite(value) or too_low or (high is not None and value > high):
        allowed = allowed_range(low, high, open_low) or "finite"
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return float(value)


def check_in(
    name: str,  # the argument's name, for the message
    value: object,  # what the caller gave
    options: "list | tuple",  # the valid values
) -> object:  # the value
    "`value` if it is one of `options`, else a ValueError that suggests the nearest of them."
    if value in options:
        return value
    near = difflib.get_close_matches(str(value), [str(o) for o in options], n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    known = ", ".join(map(repr, options))
    if len(options) > 12:  # a long list would hide the hint
        text = f"{name} must be one of the {len(options)} known ones, got {value!r}"
        raise ValueError(text + (hint or f"; the known ones are {known}"))
    raise ValueError(f"{name} must be one of {known}, got {value!r}{hint}")


def describe(
    value: object,  # anything
) -> str:  # type, and shape and dtype or length where it has them
    "What a value is, for messages."
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} {tuple(value.shape)} {value.dtype}"
    return f"{type(value).__name__} of length {len(value)}" if hasattr(value, "__len__") else type(value).__name__


def check_features(
    features: Any,  # float array or tensor (N,D) or (N,V,D), not empty; may be mapped from a file larger than memory
) -> None:
    "Refuse NaN, infinity, and numbers so large or small that float32 cannot hold their squares or sums of them."
    found = [_largest(features[start : start + 1024]) for start in range(0, len(features), 1024)]
    largest = np.concatenate(found)
    wrong = ~np.isfinite(largest)
    if wrong.any():
        raise ValueError(
            f"features must be finite, got NaN or infinity in {int(wrong.sum())} of {len(features)} rows, "
            f"the first of them row {int(wrong.argmax())}; compute these again, or leave them out"
        )
    row, top = int(largest.argmax()), float(largest.max())
    if top > HUGE or 0 < top < TINY:
        raise ValueError(
            f"features must have a largest value between {TINY:g} and {HUGE:g} (float32 must hold their squares), "
            f"got {top:g} in row {row}; divide all of them by one number, e.g. by {top:g}"
        )


def _largest(rows: Any) -> np.ndarray:  # (n,); NaN or infinity where a row has one
    "The largest absolute value of each row."
    if hasattr(rows, "detach"):  # a tensor: NumPy has no bfloat16
        rows = rows.detach().cpu()
        rows = (rows.float() if rows.element_size() < 4 else rows).numpy()
    flat = np.asarray(rows).reshape(len(rows), -1)  # of a masked array all values, as they are used
    return np.maximum(flat.max(1), -flat.min(1))
