"""Weights files: tensors by name, read without running any code in them. Checking a path loads no PyTorch."""

import os
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from dcacn_nb.core.files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
_CONVERT = "save the tensors alone: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"


def check_weights_file(
    path: "str | Path",
) -> Path:  # the whole path
    "Refuse what is not a file of weights, as far as its name and place say."
    path = Path(path).expanduser()
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        raise ValueError(f"weights file {str(path)!r} must end in {' or '.join(WEIGHT_SUFFIXES)}; {_CONVERT}")
    if not path.exists():
        raise FileNotFoundError(f"weights file {str(path)!r} does not exist; give an existing file")
    if not path.is_file():
        raise ValueError(f"weights file {str(path)!r} is not a file; give a .safetensors or .pth file")
    return path.absolute()


def read_weights(
    path: "str | Path",  # .safetensors, or .pth of which only tensors are read
) -> "dict[str, Tensor]":  # name -> tensor
    "The tensors of a weights file, or an error that says what is wrong. Code in a file is never run."
    import torch
    from safetensors.torch import load_file

    path = check_weights_file(path)
    _check_size(path)
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other kinds, which are refused with a word of ours
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        _check_start(path)
        if type(error).__name__ == "UnpicklingError":
            raise ValueError(
                f"weights file {str(path)!r} holds Python objects that could run code, or is damaged; "
                f"they are not loaded: {_CONVERT}"
            ) from error
        raise ValueError(
            f"weights file {str(path)!r} cannot be read ({_short(error)}); it is cut short or damaged: "
            "copy or download it again"
        ) from error
    return _tensors(content, path)


def _check_start(path: Path) -> None:
    "Refuse a text, a web page or an empty file by its first bytes, which no weights file has."
    with open_regular(path) as file:
        start = file.read(24)
    as_saved = start[8:9] == b"{" if path.suffix.lower() == ".safetensors" else start.startswith((b"PK", b"\x80"))
    if not as_saved:
        found = f"it begins with {start!r}" if start else "it is empty"
        raise ValueError(
            f"weights file {str(path)!r} is not a weights file: {found}; copy or download it again, or {_CONVERT}"
        )


def _check_size(path: Path) -> None:
    "Refuse a file that this machine's memory cannot hold, before any of it is taken; also one that unpacks to that."
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        with suppress(Exception):  # a .pth file is an archive; whatever is wrong with it shows when it is read
            size = max(size, sum(member.file_size for member in zipfile.ZipFile(file).infolist()))
    free = psutil.virtual_memory().available
    if size > free:
        raise ValueError(
            f"weights file {str(path)!r} needs {size / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; "
            "it is damaged, or needs a larger machine"
        )


def _tensors(content: object, path: Path) -> "dict[str, Tensor]":
    "The state_dict in what a .pth file holds: the whole, or one entry of a checkpoint."
    from torch import Tensor

    for key in ("state_dict_ema", "state_dict", "model_ema", "model", "teacher"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"weights file {str(path)!r} must hold a state_dict (names and tensors), it holds "
            f"{type(content).__name__}; save model.state_dict()"
        )
    return content


def _short(error: Exception) -> str:
    "The first line of a long message."
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
