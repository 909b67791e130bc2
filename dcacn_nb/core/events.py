"""What training reports: seven frozen dataclasses, equal when they mean the same, and their form as strict JSON.

Training emits events; an observer is any callable that takes one event. An event is a value: complete in itself,
unable to change afterwards, comparable and writable. Fields that only say when and how fast take no part in `==`,
so two runs of the same experiment have equal events."""

import difflib
import math
from dataclasses import dataclass, field, fields
from pathlib import PurePath
from time import time as now
from typing import Any

import numpy as np

_SCALARS = frozenset((type(None), bool, int, float, str))


def _plain(value: object, place: str) -> object:
    "A copy of `value` made of None, bool, int, float, str, list and dict with text keys; else a TypeError."
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), place)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        if all(type(key) is str and type(item) in _SCALARS for key, item in value.items()):  # a log has millions
            return dict(value)
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise TypeError(f"{place} must have text keys, got {wrong[0]!r} ({type(wrong[0]).__name__}); use str(key)")
        return {key: _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{place} must be a plain number, text, list or dict, got {type(value).__name__}; "
        "use .item(), .tolist() or str()"
    )


def _same(a: object, b: object) -> bool:
    "Equality of plain values and arrays in which NaN equals NaN: a run that diverged equals its own log."
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return a == b


@dataclass(frozen=True, eq=False)
class Event:
    "Base of all events: plain values only, frozen, and equal when all fields but the wall-clock ones are."

    def __post_init__(self):
        for name, value in list(vars(self).items()):
            if type(value) not in _SCALARS:
                object.__setattr__(self, name, _plain(value, f"{type(self).__name__}.{name}"))

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.compare)

    __hash__ = None  # type: ignore[assignment]  # its lists and dictionaries cannot be hashed


@dataclass(frozen=True, eq=False)
class RunStarted(Event):
    "A run starts or is resumed."

    method: str  # name of the method: "dcacn" or a baseline's
    config: dict  # every setting of the run
    protocol: dict  # which images, which split, which size
    n_images: int  # images trained on
    n_steps: int  # optimisation steps planned
    steps_per_epoch: int  # optimisation steps in an epoch
    versions: dict = field(default_factory=dict, compare=False)  # library name -> version
    time: float = field(default_factory=now, compare=False)  # seconds since 1970


@dataclass(frozen=True, eq=False)
class StepDone(Event):
    "Some optimisation steps are done; losses are means since the previous `StepDone`."

    step: int  # optimisation steps done, from 1
    epoch: int  # the epoch they belong to, from 1
    losses: dict  # "total", "instance", "cluster", ... -> float
    lr: float  # learning rate of this step
    grad_norm: float  # norm of the gradient over all parameters
    images_per_second: float = field(default=math.nan, compare=False)  # images, not views
    time: float = field(default_factory=now, compare=False)  # seconds since 1970


@dataclass(frozen=True, eq=False)
class EpochDone(Event):
    "An epoch is done; losses are means over it."

    epoch: int  # from 1
    step: int  # optimisation steps done so far
    losses: dict  # "total", ... -> float
    seconds: float = field(default=math.nan, compare=False)  # duration of the epoch
    time: float = field(default_factory=now, compare=False)  # seconds since 1970


@dataclass(frozen=True, eq=False)
class Evaluated(Event):
    "The model was evaluated: health without labels always, scores only if the image set has labels."

    epoch: int  # epochs done
    step: int  # optimisation steps done
    health: dict  # "cluster_mass" (list of K), "assignment_entropy", "view_information", ...
    scores: "dict | None" = None  # "acc", "nmi", "ari" -> float in [0, 1] ("ari" may be negative)
    time: float = field(default_factory=now, compare=False)  # seconds since 1970


@dataclass(frozen=True, eq=False)
class HeadSet(Event):
    "K-Means on the features of all images has set the cluster head; from here on, its losses take part."

    epoch: int  # epochs done
    step: int  # optimisation steps done
    cosine: float  # mean cosine of an image's features with the direction of its cluster
    time: float = field(default_factory=now, compare=False)  # seconds since 1970


@dataclass(frozen=True, eq=False)
class RunFinished(Event):
    "The run is over, for one of four reasons."

    reason: str  # "completed", "stopped" (by the user's button), "failed" (an exception) or "interrupted" (Ctrl-C)
    step: int  # optimisation steps done
    epoch: int  # epochs done
    message: str = ""  # for "failed": what went wrong
    seconds: float = field(default=math.nan, compare=False)  # duration of the run
    time: float = field(default_factory=now, compare=False)  # seconds since 1970

    def __post_init__(self):
        super().__post_init__()
        if self.reason not in REASONS:
            raise ValueError(f"reason must be one of {', '.join(map(repr, REASONS))}, got {self.reason!r}")


REASONS = ("completed", "stopped", "failed", "interrupted")


@dataclass(frozen=True, eq=False)
class SnapshotTaken(Event):
    "Features and assignments of some images, for the embedding and attention widgets."

    epoch: int  # epochs done
    step: int  # optimisation steps done
    indices: np.ndarray  # (n,) int64, which images
    arrays: dict  # "h" (n,D), "p" (n,K) float32, "spatial_attention.<block>" (m,...) ... of the rows "mapped" (m,)
    time: float = field(default_factory=now, compare=False)  # seconds since 1970

    def __post_init__(self):
        if not isinstance(self.arrays, dict):
            raise TypeError(f"SnapshotTaken.arrays must be a dict of NumPy arrays, got {type(self.arrays).__name__}")
        for name, array in self.arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype == object:
                raise TypeError(
                    f"SnapshotTaken.arrays[{name!r}] must be a numeric NumPy array, "
                    f"got {type(array).__name__}; use tensor.detach().cpu().numpy()"
                )
        indices = np.array(self.indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise ValueError(
                f"SnapshotTaken.indices must be a list of whole numbers, got {indices.dtype} of shape {indices.shape}"
            )
        copies = {name: np.array(array) for name, array in self.arrays.items()}
        for name, value in {"epoch": self.epoch, "step": self.step, "time": self.time}.items():
            object.__setattr__(self, name, _plain(value, f"SnapshotTaken.{name}"))
        object.__setattr__(self, "indices", indices.astype(np.int64))
        object.__setattr__(self, "arrays", copies)

    def mapped_rows(
        self,
        n: int,  # maps that a block has
    ) -> np.ndarray:  # (at most n,) int64, rows of `indices`
        'The images to which attention maps belong: "mapped"; without it, as in older runs, the first ones.'
        rows = self.arrays.get("mapped", np.zeros(0))
        whole = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) >= n
        if not whole or not ((rows >= 0) & (rows < len(self.indices))).all():
            rows = np.arange(len(self.indices))
        return rows[:n].astype(np.int64)


_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _encode(value: object) -> object:
    "Plain value -> strict JSON value: a browser refuses a bare NaN, so such floats are words, and such words escaped."
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str) and value.lstrip("\\") in _WORDS:
        return "\\" + value
    return value


def _decode(value: object) -> object:
    "The inverse of `_encode`."
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, str) and value.lstrip("\\") in _WORDS:
        return _WORDS[value] if value in _WORDS else value[1:]
    return value


_ARRAYS = ("indices", "arrays")
EVENTS: dict[str, type[Event]] = {
    cls.__name__: cls for cls in (RunStarted, StepDone, EpochDone, HeadSet, Evaluated, SnapshotTaken, RunFinished)
}


def to_dict(
    event: Event,  # any event
    arrays: bool = True,  # keep a snapshot's arrays (as they are), or leave them out
) -> dict:  # strict-JSON values, with the class name under "event"
    "The event as a dictionary that `json.dumps(..., allow_nan=False)` accepts (if it holds no arrays)."
    if type(event) not in EVENTS.values():
        raise TypeError(f"event must be one of {', '.join(EVENTS)}, got {type(event).__name__}")
    result: dict[str, object] = {"event": type(event).__name__}
    for f in fields(event):
        is_array = isinstance(event, SnapshotTaken) and f.name in _ARRAYS
        if arrays or not is_array:
            result[f.name] = getattr(event, f.name) if is_array else _encode(getattr(event, f.name))
    return result


def from_dict(
    d: dict,  # as made by `to_dict`; a snapshot without arrays gets empty ones
) -> Event:  # equal to the event that was written
    "The inverse of `to_dict`."
    name = d.get("event") if isinstance(d, dict) else None
    if not isinstance(name, str) or name not in EVENTS:
        near = difflib.get_close_matches(str(name), EVENTS, n=1)
        raise ValueError(
            f"event must be one of {', '.join(EVENTS)}, got {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    cls = EVENTS[name]
    values: dict[str, Any] = {
        key: item if key in _ARRAYS or type(item) in (int, float) else _decode(item)  # a log has millions of numbers
        for key, item in d.items()
        if key != "event"
    }
    if cls is SnapshotTaken:
        values = {"indices": np.zeros(0, np.int64), "arrays": {}, **values}
    unknown = values.keys() - _FIELDS[cls].keys()
    if unknown:
        raise ValueError(f"{name} has no field {min(unknown)!r}; was it written by a newer version of dcacn_nb?")
    try:
        event = cls(**values)
    except TypeError as error:
        raise ValueError(f"not a complete {name}: {error}") from None
    _check_kinds(event)
    return event


# annotation of a field -> types of its value, and these in words
_KINDS: "dict[Any, tuple]" = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    dict: ((dict,), "an object"),
    "dict | None": ((dict, type(None)), "an object or null"),
}
# class -> field -> the same for it, looked up once: a log has millions of lines
_FIELDS = {cls: {f.name: _KINDS.get(f.type, ((object,), "")) for f in fields(cls)} for cls in EVENTS.values()}
_LARGEST = 2**53  # whole numbers beyond it are none of ours, and no float holds them exactly


def _check_kinds(event: Event) -> None:
    "Refuse values of other kinds than the fields have: a log may be damaged, and what draws it would fail later."
    for name, (kinds, words) in _FIELDS[type(event)].items():
        value = getattr(event, name)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if not fits or (isinstance(value, int) and abs(value) > _LARGEST):
            raise ValueError(f"{type(event).__name__}.{name} must be {words}, got {str(value)[:100]!r}")
