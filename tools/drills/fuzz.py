"""Damaged input, many thousand times: every reader gives a value or a documented error, in bounded time and memory."""

import io
import json
import math
import random
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from drills.children import Rules, mark, run
from drills.mutate import mutate_bytes, mutate_json
from drills.rows import Row
from drills.worlds import picture

CHUNK = 2500  # inputs a child
SLOW = 10.0  # seconds that one input may take
MEMORY = 2 << 30  # bytes beyond what the child starts with
# errors of other libraries tell a person nothing, so they must not get through, though some are ValueErrors
FOREIGN = (
    *("UnicodeDecodeError", "UnicodeEncodeError", "JSONDecodeError"),
    *("BadZipFile", "ParserError", "SafetensorError"),
)


@dataclass(frozen=True)
class Target:
    "A kind of file, and what reads it."

    name: str
    file: str  # its path in a folder
    seeds: "Callable[[], Iterable[bytes]]"  # whole files
    read: "Callable[[Path], object]"  # of the file's path
    share: float = 1.0  # of the inputs
    mutate: Callable = mutate_bytes
    named: bool = True  # whether an error must name the file
    errors: "tuple[str, ...]" = ()  # names of further documented errors


class Slow(BaseException):
    "An input took too long. Not an Exception, so that nothing on the way takes it for its own."


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "At least `size` inputs, spread over the targets."
    row = Row("fuzz", seed, keep_going)
    total = sum(target.share for target in TARGETS)
    for target in TARGETS:
        count = math.ceil(size * target.share / total)
        for first in range(0, count, CHUNK):
            _chunk(row, target, scratch, range(first, min(count, first + CHUNK)))
    return row.done(f"{len(TARGETS)} kinds of files; each with a limit of {SLOW:.0f} s and {MEMORY >> 30} GB")


def make(target: Target, seeds: "list[bytes]", seed: int, number: int) -> bytes:
    "The input of that number."
    rng = random.Random(f"{seed}/{target.name}/{number}")
    return target.mutate(rng.choice(seeds), rng)


def _chunk(row: Row, target: Target, scratch: Path, numbers: range) -> None:
    "Some inputs in one child; after a crash or a hang, the rest in another."
    folder = scratch / "fuzz"
    folder.mkdir(exist_ok=True)
    begin = numbers.start
    while begin < numbers.stop:
        rest = range(begin, numbers.stop)
        child = run(
            partial(_read_all, target, folder, row.seed, rest), folder, Rules((folder,), limit=900, memory=MEMORY)
        )
        last = numbers.stop - 1 if child.how == "done" else int(child.mark or rest.start)
        found = {number: (kind, text) for number, kind, text in child.value or []} if child.how == "done" else {}
        if child.how != "done":
            found[last] = ("hangs" if child.how == "hang" or child.error == "Slow" else "raw", str(child)[:600])
        for number in range(begin, last + 1):
            row.attempt()
            if number in found:
                kind, text = found[number]
                row.violation(kind, f"{target.name} {number}: {text}")
        for text in child.outside:
            row.violation("outside", f"{target.name}: {text}")
        begin = last + 1


def _read_all(target: Target, folder: Path, seed: int, numbers: range) -> list:
    "Read the inputs one after another; what went wrong: number, kind, text."
    import logging
    import warnings

    logging.disable(logging.CRITICAL), warnings.simplefilter("ignore")
    seeds = list(target.seeds())
    path = folder / target.name.replace(" ", "-") / target.file
    path.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, _too_slow)
    found = []
    for number in numbers:
        data = make(target, seeds, seed, number)
        path.write_bytes(data)
        mark(str(number))
        signal.setitimer(signal.ITIMER_REAL, SLOW)
        try:
            target.read(path)
        except Exception as error:
            wrong = _undocumented(error, target, path)
            if wrong:
                found.append((number, "raw", wrong))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if len(found) >= 20:  # enough to see the kinds
            return found
    return found


def _too_slow(*_):
    raise Slow


def _undocumented(error: Exception, target: Target, path: Path) -> str:
    "What is wrong with an error; empty if it is one that the reader promises, and says which file it is about."
    import traceback

    name, text = type(error).__name__, str(error)
    frames = traceback.extract_tb(error.__traceback__)
    at = "; ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-3:])
    if name not in target.errors and (not isinstance(error, (ValueError, OSError)) or name in FOREIGN):
        return f"{name}: {text[:300]} [{at}]"
    known = (path.name, path.stem, path.parent.name)
    if target.named and not any(part in text or part in str(getattr(error, "filename", "")) for part in known):
        return f"{name} does not name the file: {text[:300]} [{at}]"
    return ""


# ---- the seeds
PICTURES = (
    *(("png", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(
        ("jpeg", mode, options)
        for mode, options in (("L", {}), ("RGB", {}), ("CMYK", {}), ("RGB", {"progressive": True}))
    ),
    *(
        ("gif", "P", {}),
        ("bmp", "RGB", {}),
        ("bmp", "P", {}),
        ("webp", "RGBA", {}),
        ("webp", "RGB", {"lossless": True}),
    ),
    *(("tiff", mode, {}) for mode in ("1", "L", "RGB", "I;16", "F", "CMYK")),
    *(("tiff", "RGB", {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
    *(("ppm", "RGB", {}), ("tga", "RGBA", {}), ("pcx", "RGB", {}), ("ico", "RGBA", {}), ("jpeg2000", "RGB", {})),
    *(("avif", "RGB", {}), ("sgi", "RGB", {}), ("dds", "RGBA", {}), ("icns", "RGBA", {}), ("im", "RGB", {})),
    *(("msp", "1", {}), ("qoi", "RGB", {}), ("mpo", "RGB", {}), ("xbm", "1", {}), ("pdf", "RGB", {})),
)


def in_mode(mode: str, size: int = 24, seed: int = 0) -> Image.Image:
    "A small picture of a mode."
    colour = picture(seed, size, 100)
    if mode in ("I;16", "F"):
        grey = np.asarray(colour.convert("L"))
        return Image.fromarray(grey.astype(np.uint16) * 256 if mode == "I;16" else grey.astype(np.float32) / 255)
    return colour.convert(mode)


def pictures() -> "list[bytes]":
    "A small file of each kind that can be written here, and one with a camera's tags where there can be some."
    made = []
    for kind, mode, options in PICTURES:
        for exif in (False, True):
            file = io.BytesIO()
            tags = Image.Exif()
            tags[0x0112], tags[0x010E] = 6, "a picture"
            extra = {"exif": tags} if exif and kind in ("jpeg", "png", "webp", "tiff", "avif") else {}
            if exif and not extra:
                continue
            try:
                in_mode(mode).save(file, kind, **options, **extra)
            except (OSError, KeyError, ValueError):  # this Pillow cannot write it
                continue
            made.append(file.getvalue())
    return made


def _json(value: object) -> "Callable[[], list[bytes]]":
    return lambda: [json.dumps(value).encode()]


def _events() -> "list[bytes]":
    "A short log."
    from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, StepDone, to_dict

    health = {"cluster_mass": [0.5, 0.5], "assignment_entropy": 0.3, "view_information": float("nan")}
    events = [
        RunStarted("dcacn", {"epochs": 2, "n_clusters": 2}, {"source": "x"}, 16, 4, 2),
        StepDone(1, 1, {"total": 1.0}, 0.1, 2.0),
        EpochDone(1, 2, {"total": 1.0}),
        Evaluated(1, 2, health, {"acc": 0.5, "nmi": 0.1, "ari": 0.0}),
        RunFinished("completed", 4, 2),
    ]
    return [b"".join(json.dumps(to_dict(event, arrays=False)).encode() + b"\n" for event in events)]


def _npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _feature_arrays() -> "dict[str, np.ndarray]":
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    return {"features": values, "labels": np.array([0, 1, 0, 1, 0])}


def _npz_features() -> "list[bytes]":
    about = json.dumps({"protocol": {"source": "x"}, "class_names": ["a", "b"], "paths": list("abcde")})
    packed = io.BytesIO()
    np.savez_compressed(packed, **_feature_arrays())
    return [
        _npz(**_feature_arrays(), dcacn_nb=np.array(about)),
        _npz(x=_feature_arrays()["features"]),
        packed.getvalue(),
    ]


def _npy() -> "list[bytes]":
    file = io.BytesIO()
    np.save(file, _feature_arrays()["features"])
    return [file.getvalue()]


def _safetensors() -> "list[bytes]":
    from safetensors.numpy import save

    return [save(_feature_arrays(), {"dcacn_nb": json.dumps({"class_names": ["a", "b"]})})]


def _snapshot() -> "list[bytes]":
    values = _feature_arrays()["features"]
    return [_npz(indices=np.arange(5), **{"array:h": values, "array:p": np.abs(values)})]


def _checkpoint() -> "list[bytes]":
    import tempfile

    import torch

    from dcacn_nb.runs.checkpoint import save_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        meta = {"step": 3, "events": 5, "method": "dcacn", "config": {"epochs": 2}}
        return [save_checkpoint(Path(folder, "a.safetensors"), {"model.w": torch.arange(6.0)}, meta).read_bytes()]


def _csv() -> "list[bytes]":
    return [b"path,cluster,confidence\r\n/a/b.png,0,0.9\r\n/a/c.png,1,0.8\r\n", b'path,cluster,confidence\n"=x",1,1\n']


# ---- the readers
def _read_picture(path: Path) -> None:
    "As a folder is measured, decoded and encoded; the first error ends none of the others."
    from dcacn_nb.data.image_file import UnreadableImage
    from dcacn_nb.data.pixels import measure_image, read_image, read_upright

    for read in (measure_image, lambda file: read_image(file, 16, 3), lambda file: read_upright(file, 16)):
        try:
            read(path)
        except UnreadableImage as error:
            if str(path) not in str(error):
                raise


def _read_log(path: Path) -> None:
    from dcacn_nb.runs.log import history, read_events

    history(read_events(path, arrays=False))


def _read_snapshot(path: Path) -> None:
    from dcacn_nb.runs.log import read_events

    log = path.parent.parent / "events.jsonl"
    if not log.exists():
        log.write_text('{"event": "SnapshotTaken", "epoch": 0, "step": 0, "time": 1.0, "file": "snapshots/a.npz"}\n')
    read_events(log)


def _in_folder(module: str, name: str, *more) -> "Callable[[Path], object]":
    "A function of the file's folder."

    def read(path: Path):
        import importlib

        return getattr(importlib.import_module(f"dcacn_nb{module}"), name)(path.parent, *more)

    return read


def _of_file(module: str, name: str, *more) -> "Callable[[Path], object]":
    "A function of the file."

    def read(path: Path):
        import importlib

        return getattr(importlib.import_module(f"dcacn_nb{module}"), name)(path, *more)

    return read


def _read_edits(path: Path) -> None:
    from dcacn_nb.clusters.groups import GroupingFile

    GroupingFile(path.parent).read(4)


SHAPES = {"features": (np.dtype(np.float32), (3,))}
CONFIG = {
    "method": "dcacn",
    "options": {},
    "config": {"epochs": 2, "n_clusters": 2, "image_size": 8, "channels": 3},
    "fingerprint": "0" * 16,
    "encoder": None,
    "protocol": {"source": "/x", "image_size": [8, 8], "skipped": {}, "resize": "none"},
}
SOURCE = {"source": "/x", "root": "/x", "split": "all", "limit": None, "encoder": None, "image_size": None} | {
    "on_error": "skip", "seed": 0, "extra": True, "labels": False, "then": {"sort_into": "/y"}
}  # fmt: skip
STATE = {"complete": True, "images": 5, "rows": 5, "skipped": {}, "about": {"name": "grid"}}
GROUPS = {"telling": {"0": [1, 2]}, "duplicates": {"groups": [{"keep": 1, "copies": [2], "exact": [True]}]}} | {
    "outliers": {"images": [3]}, "merges": [{"into": 0, "cluster": 1}]
}  # fmt: skip
REFERENCE = {"classes": ["a", "b"], "confusion": [[1, 2], [3, 4]], "chance": {"acc": 0.5}, "kmeans": None}
EDITS = {"version": 1, "clusters": 4, "names": {"0": "cats"}, "merged": {"1": 0}, "moved": {"3": 2}}

TARGETS = (
    Target("pictures", "a.png", pictures, _read_picture, 26),
    Target("log", "events.jsonl", _events, _read_log, 6, mutate_json),
    Target("snapshots", "snapshots/a.npz", _snapshot, _read_snapshot, 3),
    Target("config", "config.json", _json(CONFIG), _in_folder(".runs.folder", "read_about"), 2, mutate_json),
    Target(
        "source",
        "source.json",
        _json(SOURCE),
        _in_folder(".cli.reading", "remembered"),
        2,
        mutate_json,
        errors=("BadInput",),
    ),
    Target("features npz", "a.npz", _npz_features, _of_file("", "load_features"), 3),
    Target("features npy", "a.npy", _npy, _of_file("", "load_features"), 2),
    Target("features safetensors", "a.safetensors", _safetensors, _of_file("", "load_features"), 2),
    Target("checkpoints", "a.safetensors", _checkpoint, _of_file(".runs.checkpoint", "load_checkpoint"), 3),
    Target(
        "cache state",
        "state.json",
        _json(STATE),
        _in_folder(".encoders.feature_cache", "read_entry", SHAPES),
        2,
        mutate_json,
    ),
    Target("cache array", "features.npy", _npy, _in_folder(".encoders.feature_cache", "read_entry", SHAPES), 1),
    Target(
        "cache facts",
        "a.json",
        _json({"shape": [5, 3], "count": 5, "skipped": {}, "resize": "none"}),
        lambda path: _cached(path),
        1,
        mutate_json,
    ),
    Target("groups", "groups.json", _json(GROUPS), _in_folder(".report.run_files", "read_groups"), 2, mutate_json),
    Target(
        "reference",
        "reference.json",
        _json(REFERENCE),
        _in_folder(".report.run_files", "read_reference"),
        1,
        mutate_json,
    ),
    Target(
        "number",
        "number.json",
        _json({"choice": 3, "clear": True}),
        _in_folder(".report.run_files", "read_number"),
        0.5,
        mutate_json,
    ),
    Target("clusters table", "clusters.csv", _csv, _in_folder(".report.run_files", "read_confidence"), 1),
    Target("edits", "clusters.json", _json(EDITS), _read_edits, 2, mutate_json),
    Target("names", "clusters.json", _json(EDITS), _in_folder(".report.record", "cluster_names"), 1, mutate_json),
    Target("idx", "a.idx", lambda: [b"\0\0\x08\x02\0\0\0\2\0\0\0\3abcdef"], _of_file(".data.idx", "read_idx"), 1),
)


def _cached(path: Path) -> None:
    "What a folder decoded before is read from."
    from dcacn_nb.data.cache import read_entry

    target = path.with_suffix(".npy")
    if not target.exists():
        np.save(target, np.zeros((5, 3), np.uint8))
    found = read_entry(target)
    if found is not None:
        found[1]["skipped"].items(), found[0][: found[1]["count"]]
