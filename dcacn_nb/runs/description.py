"""What a run folder says about itself, in JSON: `config.json`, which makes it a run, and `source.json`.

Both may come from a stranger, so both are checked when they are read: every key, every type, every size. Whatever
would read or write outside the folder is obeyed only if this user wrote it: `source.json`, and in `config.json` what is
said of the images, carry a seal that the key in the user's own cache gives them, and that nobody else can make."""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcacn_nb.core.files import read_json, read_regular, user_path
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import default_cache

log = logger(__name__)

CONFIG, SOURCE = "config.json", "source.json"
LARGEST = 16_384  # px, side of an image
_REMEDY = "restore it, or start again in another folder"

Check = Callable[[Any], bool]


def _whole(low: int, high: int = 2**62) -> Check:
    "A whole number in a range."
    return lambda value: type(value) is int and low <= value <= high


def _is(*kinds: type) -> Check:
    "A value of one of these types."
    return lambda value: type(value) in kinds


def _or_none(check: Check) -> Check:
    "Nothing, or what passes the check."
    return lambda value: value is None or check(value)


_FLAG, _TEXT, _SIDE = _is(bool), _is(str), _whole(1, LARGEST)
_ENCODER: "dict[str, Check]" = {
    "name": _TEXT,
    "file": _or_none(_TEXT),
    "weights_file": _or_none(_TEXT),
    "size": _or_none(_SIDE),
}
_PROTOCOL: "dict[str, Check]" = {
    "source": _TEXT,
    "split": _TEXT,
    "limit": _or_none(_whole(1)),
    "seed": _or_none(_whole(0)),
    "resize": _TEXT,
    "image_size": lambda value: type(value) is list and len(value) == 2 and all(map(_SIDE, value)),
    "encoder": _or_none(_is(dict)),
}
_CONFIG: "dict[str, Check]" = {"image_size": _SIDE, "channels": lambda value: type(value) is int and value in (1, 3)}
_ABOUT: "dict[str, Check]" = {
    "method": _TEXT,
    "options": _is(dict),
    "config": _is(dict),
    "fingerprint": _TEXT,
    "encoder": _or_none(_is(dict)),
    "protocol": _or_none(_is(dict)),
    "seal": _TEXT,
}
_WORDS: Check = lambda value: type(value) is list and all(map(_TEXT, value))
_HOW: Check = lambda value: value in ("copy", "link", "hardlink")
_THEN: "dict[str, Check]" = {"sort_into": _TEXT, "sort_how": _HOW, "baselines": _FLAG, "names": _WORDS}
_READING: "dict[str, Check]" = {
    "source": _TEXT,
    "encoder": _or_none(_TEXT),
    "encoder_weights": _or_none(_TEXT),
    "root": _TEXT,
    "split": lambda value: value in ("all", "train", "test"),
    "limit": _or_none(_whole(1)),
    "image_size": _or_none(_SIDE),
    "channels": lambda value: value is None or (type(value) is int and value in (1, 3)),
    "on_error": lambda value: value in ("raise", "skip"),
    "seed": _whole(0),
    "extra": _FLAG,
    "labels": _FLAG,
    "then": _is(dict),
}


def read_about(
    folder: "str | Path",  # a run folder
) -> dict:  # method, options, config, fingerprint, encoder, protocol; the last three may be empty
    "A run's config.json; a ValueError names what is wrong with it."
    path = user_path(folder) / CONFIG
    return check_complete(read_json(path, _REMEDY), path)


def check_complete(
    values: object,  # of a config.json, or the meta data of a checkpoint
    path: Path,  # where they were read, for the message
) -> dict:  # the values; what earlier versions left out is empty
    "Refuse a description of a run that lacks something, or has something of a wrong type."
    # runs of earlier versions have no options and no encoder
    about = {"options": {}, "encoder": None, "protocol": None} | check_about(values, path)
    missing = [name for name in ("method", "config", "fingerprint") if name not in about]
    if missing:
        raise ValueError(f"{str(path)!r} is damaged (it lacks {missing[0]!r}); {_REMEDY}")
    about["protocol"] = about["protocol"] or {}
    _checked(about["config"], _CONFIG, path, "config")
    _checked(about["protocol"], _PROTOCOL, path, "protocol")
    for encoder in (about["encoder"], about["protocol"].get("encoder")):
        _checked(encoder or {}, _ENCODER, path, "encoder")
    return about


def check_about(
    values: object,  # of a config.json, or the meta data of a checkpoint
    path: Path,  # where they were read, for the message
) -> dict:  # the values
    "Refuse a description of a run that has something of a wrong type."
    return _checked(values, _ABOUT, path)


def _checked(values: object, checks: "dict[str, Check]", path: Path, where: str = "") -> dict:
    "The values; refused if they are no object, or hold something under a known key that cannot be right."
    if not isinstance(values, dict):
        text = f"{where or 'it'} must be an object, got {type(values).__name__}"
        raise ValueError(f"{str(path)!r} is damaged ({text}); {_REMEDY}")
    wrong = [name for name, check in checks.items() if name in values and not check(values[name])]
    if wrong:
        shown = repr(values[wrong[0]])[:80]
        name = f"{where}.{wrong[0]}" if where else wrong[0]
        raise ValueError(f"{str(path)!r} is damaged ({name} cannot be {shown}); {_REMEDY}")
    return values


# ---- how the images were read, and what follows the run
def reading_bytes(
    reading: dict,  # how the images were read, and under "then" what follows the run
) -> bytes:  # of source.json
    "What `read_reading` reads, sealed as this user's own."
    return json.dumps(reading | {"seal": seal(reading)}, indent=1).encode("utf-8", "surrogateescape")


def read_reading(
    folder: "str | Path",  # a run folder
) -> "tuple[dict, bool] | None":  # the reading, and whether this user wrote it; None: there is none
    "A run's source.json; only keys that are known, with values that can be right."
    path = user_path(folder) / SOURCE
    try:
        values = read_json(path, _REMEDY)
    except FileNotFoundError:
        return None
    found = values.pop("seal", None) if isinstance(values, dict) else None
    reading = _checked(values, _READING, path)
    then = _checked(reading.get("then", {}), _THEN, path, "then")
    unknown = sorted([name for name in reading if name not in _READING] + [name for name in then if name not in _THEN])
    if unknown or "source" not in reading:
        text = f"it must not hold {unknown[0][:80]!r}" if unknown else "it lacks 'source'"
        raise ValueError(f"{str(path)!r} is not a source.json that this version wrote ({text}); {_REMEDY}")
    return reading, is_own(reading, found)


def seal(
    values: dict,  # a reading, or the protocol of a set of images
    make: bool = True,  # make a key if there is none
) -> str:
    "What only the holder of the user's key can compute; empty without a key."
    key = _own_key(make)
    plain = json.loads(json.dumps(values, default=str))  # as a file gives them back
    text = json.dumps(plain, sort_keys=True).encode("utf-8", "surrogateescape")
    return hmac.new(key, text, hashlib.sha256).hexdigest() if key else ""


def is_own(
    values: dict,  # a reading, or the protocol of a set of images, as a file holds it
    found: object,  # the seal beside it
) -> bool:
    "Whether this user wrote them."
    expected = seal(values, make=False)
    return isinstance(found, str) and bool(expected) and hmac.compare_digest(found.encode(), expected.encode())


def _make_key(path: Path) -> None:
    "A new secret, readable by its owner alone; of two processes that make one, both go on with the first."
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, new = tempfile.mkstemp(prefix=".key-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        os.unlink(new)


def _own_key(make: bool) -> bytes:
    "The user's secret, kept in the cache folder; empty if there is none and none can be made."
    path = default_cache() / "key"
    try:
        if make and not path.exists():
            _make_key(path)
        return read_regular(path, 32)
    except OSError as error:
        if make:  # then a resume asks again for what is to be written elsewhere
            log.info("no key for run folders (%s)", error)
        return b""
