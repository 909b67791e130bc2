"""One file per checkpoint, whole or absent, verified to the last bit when it is read, and never able to run code.

The file is in the safetensors format: a table of names, dtypes, shapes and offsets, then the numbers. Its metadata hold
`format`, `version`, `meta` (a description, as JSON text) and `sha256`, which covers all of these and every tensor."""

import errno
import hashlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import BinaryIO

import psutil
import safetensors.torch
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.files import NotAFile, atomic_write, open_regular
from dcacn_nb.core.text import logger

log = logger(__name__)
FORMAT = "dcacn_nb.checkpoint"
VERSION = 1
LONGEST_HEADER = 100_000_000  # bytes, at most: what the safetensors library accepts
_REMEDY = {errno.ENOSPC: "free some space", errno.EDQUOT: "free some space in your quota"}
_NAME = re.compile(r"step_(\d{8,})\.safetensors")


class CheckpointError(ValueError):
    "A checkpoint is missing, damaged, foreign, or from a newer version."


def _digest(tensors: "dict[str, Tensor]", meta_text: str, version: int) -> str:
    "SHA-256 over format, version, meta, and each tensor's name, dtype, shape and bytes, by sorted name."
    sha = hashlib.sha256(json.dumps([FORMAT, version, meta_text, len(tensors)]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # as bytes, since NumPy has no bfloat16
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _check_keys(value: object, place: str) -> None:
    "A TypeError if some dict inside `value` has a key that is not text (JSON would quietly turn it into text)."
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{place} must have text keys, got {key!r} ({type(key).__name__}); use str(key)")
            _check_keys(item, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check_keys(item, f"{place}[{i}]")


def _meta_text(meta: dict) -> str:
    "`meta` as strict JSON text."
    if not isinstance(meta, dict):
        raise TypeError(f"meta must be a dict, got {type(meta).__name__}")
    _check_keys(meta, "meta")
    try:
        return json.dumps(meta, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        text = f"meta must hold only what strict JSON can (no NaN, no arrays, no objects): {error}"
        raise type(error)(text) from None


def _own_copies(tensors: "dict[str, Tensor]") -> "dict[str, Tensor]":
    "Private contiguous CPU copies, so that shared and strided tensors can be stored."
    if not isinstance(tensors, dict):
        raise TypeError(f"tensors must be a dict of tensors, got {type(tensors).__name__}")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"tensors must have text names other than '__metadata__', got {name!r}")
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            kind = tensor.layout if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"tensors[{name!r}] must be a dense tensor, got {kind}; put plain values into meta")
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def save_checkpoint(
    path: "str | Path",  # the file to write, e.g. checkpoint_path(folder, step)
    tensors: "dict[str, Tensor]",  # name -> tensor of any shape, dtype and device
    meta: dict,  # plain description: strict JSON, e.g. {"step": 1234}
    home: "str | Path | None" = None,  # a run folder that must exist, and that the file must stay in
) -> Path:  # the path written
    "Write one sealed safetensors file, atomically: on any failure the older file is untouched."
    path, copies, text = Path(path), _own_copies(tensors), _meta_text(meta)
    metadata = {"format": FORMAT, "version": str(VERSION), "meta": text, "sha256": _digest(copies, text, VERSION)}
    data = safetensors.torch.save(copies, metadata)
    try:
        return atomic_write(path, data, home=home)
    except OSError as error:
        remedy = _REMEDY.get(error.errno or 0, "check that its folder can be written to")
        text = f"could not write the checkpoint ({len(data):,} bytes): {error.strerror}; {remedy}"
        # the errno picks the subclass (PermissionError, ...), so callers can distinguish the cases
        raise OSError(error.errno, f"{text}; an older file of this name is untouched", str(path)) from error


def _metadata(data: bytes, path: Path) -> "dict[str, str]":
    "The metadata in the header of a safetensors file whose layout has been checked."
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file, but not a checkpoint of dcacn_nb; "
            "load plain weights with safetensors.torch.load_file"
        )
    version = metadata.get("version", "")
    if not version.isdecimal():
        raise CheckpointError(f"{path} is damaged (version {version!r}); use an older checkpoint")
    if int(version) > VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version}, this dcacn_nb reads up to {VERSION}; upgrade dcacn_nb"
        )
    return metadata


def load_checkpoint(
    path: "str | Path",  # a file written by save_checkpoint
    device: "str | torch.device" = "cpu",  # where the tensors go
) -> "tuple[dict[str, Tensor], dict]":  # tensors by name, meta
    "Read and verify a checkpoint; a CheckpointError says what is wrong with the file."
    path, device = Path(path), pick_device(device)
    try:
        tensors, metadata = _read(path)
        text = metadata.get("meta", "")
        whole = _digest(tensors, text, int(metadata["version"])) == metadata.get("sha256")
        meta = json.loads(text) if whole else None
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can fail in any way, also for want of memory
        text = f"{path} is damaged or not a safetensors file ({type(error).__name__}: {error})"
        raise CheckpointError(f"{text}; use an older checkpoint") from error
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path} is damaged: its content does not match its SHA-256; use an older checkpoint")
    return {name: tensor.to(device) for name, tensor in tensors.items()}, meta


def _read(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    "The tensors and metadata of a checkpoint whose layout has been checked, its digest not yet."
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; use latest_checkpoint(folder) or name a file in it")
    try:
        with open_regular(path) as file:
            _check_size(file, path)
            data = file.read()
    except FileNotFoundError:
        others = [p.name for p in list_checkpoints(path.parent)]
        found = f"{len(others)} checkpoint(s), the newest {others[-1]}" if others else "no checkpoints"
        raise CheckpointError(f"{path} does not exist; that folder has {found}") from None
    except NotAFile as error:
        raise CheckpointError(f"{path} {error.strerror}") from None
    return safetensors.torch.load(data), _metadata(data, path)


def _check_size(file: BinaryIO, path: Path) -> None:
    "Refuse a file that is not as long as its header says, or too long for this machine, before it is read."
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LONGEST_HEADER):
        raise ValueError(f"{size:,} bytes")
    header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if max(ends, default=0) != size - 8 - length:
        raise ValueError(f"{size:,} bytes, its header is of another length")
    free = psutil.virtual_memory().available
    if 2 * size > free:  # the file, and the tensors
        raise CheckpointError(f"{path} needs {2 * size / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free")
    file.seek(0)


def checkpoint_path(
    folder: "str | Path",  # the run's checkpoint folder
    step: int,  # optimisation steps done, >= 0
) -> Path:  # folder/step_00001234.safetensors
    "The name of the checkpoint of a step."
    return Path(folder) / f"step_{check_int('step', step, low=0):08d}.safetensors"


def list_checkpoints(
    folder: "str | Path",  # may be missing
) -> "list[Path]":  # by step, oldest first; not verified
    "The checkpoints in a folder; other files are left alone."
    folder = Path(folder)
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def latest_checkpoint(
    folder: "str | Path",  # the run's checkpoint folder
) -> Path:  # the newest checkpoint that verifies
    "The newest whole checkpoint; damaged newer ones are skipped with a warning."
    folder = Path(folder)
    found = list_checkpoints(folder)
    for path in reversed(found):
        try:
            load_checkpoint(path)
            return path
        except CheckpointError as error:
            log.warning("skipping a checkpoint: %s", error)
    if found:
        text = f"none of the {len(found)} checkpoint(s) in {folder} can be read; see the warnings"
        raise CheckpointError(f"{text}; start the run again in another folder")
    if (folder.parent / "config.json").is_file():
        again = f"if it no longer runs, resume it: dcacn resume {shlex.quote(str(folder.parent))}"
        raise CheckpointError(f"no checkpoint in {folder}: the run has kept none yet; {again}")
    raise CheckpointError(f"no checkpoint in {folder}; check the folder's name")


def prune_checkpoints(
    folder: "str | Path",  # the run's checkpoint folder
    keep_last: int,  # how many of the newest to keep, >= 1
    keep: "tuple | list" = (),  # paths to keep too, e.g. the best one by a label-free score
) -> "list[Path]":  # what was deleted
    "Delete old checkpoints, and temporary files of writers that were killed."
    folder = Path(folder)
    check_int("keep_last", keep_last, low=1)
    kept = {Path(path).name for path in keep}
    old = [path for path in list_checkpoints(folder)[:-keep_last] if path.name not in kept]
    removed = []
    for path in old + sorted(folder.glob(".*.safetensors.*.tmp")):
        try:
            path.unlink(missing_ok=True)
            removed.append(path)
        except OSError as error:  # a file that cannot be deleted must not end a run
            log.warning("could not delete %s: %s", path, error)
    return removed
