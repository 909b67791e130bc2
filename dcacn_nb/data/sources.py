"""The public sources: where their files are, how they are read, and how a missing or damaged file is reported."""

import http.client
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST
from torchvision.datasets.utils import check_integrity

from dcacn_nb.core.text import logger
from dcacn_nb.data.catalogue import (
    CIFAR100_SUPERCLASSES,
    FASHION_CLASSES,
    SOURCES,
    STL_CLASSES,
    SYNSETS,
    superclass_of,
)
from dcacn_nb.data.idx import read_idx
from dcacn_nb.data.imagenet import find_synsets
from dcacn_nb.data.listing import list_images

log = logger(__name__)


@dataclass(frozen=True)
class RawSource:
    "Images of one source as read, before any choice of size or subset."

    images: Tensor  # (N,C,H,W) uint8
    labels: np.ndarray  # (N,) int64
    class_names: list[str]  # one per class
    splits: dict[str, int]  # split -> number of images, in order
    extra: "Tensor | None" = None  # (M,C,H,W) uint8, unlabelled


def _parts(split: str) -> "tuple[str, ...]":
    "The parts that make up a split; 'all' is train then test, as in the clustering literature."
    return ("train", "test") if split == "all" else (split,)


def _home(root: Path, source: str, folder: str) -> "Path | None":
    "The folder that holds a source's files: root/folder, root/source/folder, or root itself if it is that folder."
    places = [root / folder, root / source / folder] + ([root] if root.name == Path(folder).name else [])
    return next((place for place in places if place.is_dir()), None)


_TORCHVISION: "dict[str, Any]" = {"cifar10": CIFAR10, "cifar100_20": CIFAR100, "stl10": STL10}


def _by_hand(source: str) -> "tuple[list[str], str]":
    "(URLs, folder below root where the files fetched by hand belong)."
    if source == "fashion_mnist":
        return [FashionMNIST.mirrors[0] + name for name, _ in FashionMNIST.resources], "FashionMNIST/raw"
    return [_TORCHVISION[source].url], ""


def _absent(source: str, root: Path, why: str) -> FileNotFoundError:
    "The error for missing files: the argument that fetches them, the address, and where to put them by hand."
    urls, folder = _by_hand(source)
    return FileNotFoundError(
        f"{source}: {why}. To download: load_images({source!r}, root={str(root)!r}, download=True). "
        f"By hand: fetch {' '.join(urls)} into {(root / folder).resolve()}{os.sep} and make the same call "
        "(a file that is there is not fetched again, only unpacked)"
    )


def _download(source: str, root: Path) -> None:
    "Let torchvision fetch and unpack a source; whatever fails ends in one message that says what to do by hand."
    try:
        if source == "fashion_mnist":
            FashionMNIST(root, download=True)
        else:
            _TORCHVISION[source](root, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        # no network (URLError is an OSError), no room, no right to write, a wrong sum
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise _absent(source, root, f"the download failed ({reason})") from error


def _digits(root: Path, split: str) -> RawSource:
    "scikit-learn's 8x8 digits, grey values 0..16 scaled to 0..255."
    if split != "all":
        raise ValueError(f"split must be 'all' for digits, which has no parts, got {split!r}")
    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    return RawSource(images, bunch.target.astype(np.int64), [str(digit) for digit in range(10)], {"all": len(images)})


_IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MNIST_STARTS = [[5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]]  # first labels of MNIST's two parts


def _find_idx(root: Path, name: str) -> "Path | None":
    "An IDX file in the places where it may be, packed or not."
    places = [root, root / "FashionMNIST" / "raw", root / "fashion_mnist"]
    return next(
        (place / f"{name}{end}" for place in places for end in ("", ".gz") if (place / f"{name}{end}").is_file()), None
    )


def _fashion(root: Path, split: str) -> RawSource:
    "Fashion-MNIST (Xiao et al. 2017) from IDX files in `root` or where torchvision puts them."
    parts = {part: _fashion_part(root, part) for part in _parts(split)}
    images = torch.cat([torch.from_numpy(pixels)[:, None] for pixels, _ in parts.values()])
    labels = np.concatenate([numbers.astype(np.int64) for _, numbers in parts.values()])
    splits = {part: len(numbers) for part, (_, numbers) in parts.items()}
    return RawSource(images, labels, list(FASHION_CLASSES), splits)


def _fashion_part(root: Path, part: str) -> "tuple[np.ndarray, np.ndarray]":
    "Images (N,28,28) and labels (N,) of one part, checked against each other."
    paths = []
    for name in _IDX_NAMES[part]:
        path = _find_idx(root, name)
        if path is None:
            raise _absent("fashion_mnist", root, f"{name}[.gz] is not in {root} nor in {root / 'FashionMNIST' / 'raw'}")
        paths.append(path)
    pixels, numbers = map(read_idx, paths)
    if pixels.ndim != 3 or numbers.shape != pixels.shape[:1]:
        raise ValueError(f"{paths[0]} and {paths[1]} do not belong together: shapes {pixels.shape} and {numbers.shape}")
    if numbers[:10].tolist() in _MNIST_STARTS:
        raise ValueError(
            f"{paths[1]} holds the labels of MNIST's handwritten digits, "
            "whose files have the same names as Fashion-MNIST's"
        )
    return pixels, numbers


def _cifar(root: Path, split: str, source: str) -> RawSource:
    "CIFAR-10 or CIFAR-100 with fine labels (Krizhevsky 2009), read by torchvision."
    kind = _TORCHVISION[source]
    home = _home(root, source, kind.base_folder)
    if home is None:
        raise _absent(source, root, f"no folder {kind.base_folder} in {root}")
    try:
        parts = {part: kind(home.parent, train=part == "train") for part in _parts(split)}
    except RuntimeError as error:  # a file is missing or its MD5 sum is wrong
        raise _absent(
            source, root, f"{home} is incomplete or damaged (verify({source!r}, root) names the files)"
        ) from error
    channels_first = [np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)) for part in parts.values()]
    images = torch.cat([torch.from_numpy(pixels) for pixels in channels_first])
    labels = np.concatenate([np.array(part.targets, np.int64) for part in parts.values()])
    splits = {name: len(part) for name, part in parts.items()}
    return RawSource(images, labels, list(parts[_parts(split)[0]].classes), splits)


def _cifar10(root: Path, split: str) -> RawSource:
    "CIFAR-10 (Krizhevsky 2009)."
    return _cifar(root, split, "cifar10")


def _cifar100_20(root: Path, split: str) -> RawSource:
    "CIFAR-100 with its 20 superclasses as classes (Krizhevsky 2009), as Contrastive Clustering uses it."
    fine, coarse = _cifar(root, split, "cifar100_20"), superclass_of()
    table = np.array([coarse[name] for name in fine.class_names])
    return replace(fine, labels=table[fine.labels], class_names=list(CIFAR100_SUPERCLASSES))


_STL_BYTES = 3 * 96 * 96  # of one image


def _stl_images(path: Path) -> Tensor:
    "An STL-10 image file as a private memory map, (N,3,96,96)."
    size = path.stat().st_size
    if size == 0 or size % _STL_BYTES:
        raise ValueError(
            f"{path} has {size} bytes, not a multiple of an image's {_STL_BYTES}: cut short? fetch it again"
        )
    array = np.memmap(path, np.uint8, "c", shape=(size // _STL_BYTES, 3, 96, 96))
    return torch.from_numpy(array).transpose(2, 3)  # each image is stored column by column


def _stl_part(home: Path, part: str) -> "tuple[Tensor, np.ndarray]":
    "Images and labels of one part, checked against each other."
    pixels = _stl_images(home / f"{part}_X.bin")
    numbers = np.fromfile(home / f"{part}_y.bin", np.uint8).astype(np.int64) - 1  # the files count from 1
    if len(pixels) != len(numbers):
        raise ValueError(
            f"{home / part}_X.bin holds {len(pixels)} images, {part}_y.bin {len(numbers)} labels: fetch them again"
        )
    return pixels, numbers


def _stl10(root: Path, split: str) -> RawSource:
    "STL-10 (Coates et al. 2011); the unlabelled images as `extra`, if their file is there."
    home = _home(root, "stl10", STL10.base_folder) or root / STL10.base_folder
    names = [f"{part}_{end}" for part in _parts(split) for end in ("X.bin", "y.bin")]
    missing = [name for name in names if not (home / name).is_file()]
    if missing:
        raise _absent("stl10", root, f"{', '.join(missing)} not in {home}")
    parts = {part: _stl_part(home, part) for part in _parts(split)}
    images = [pixels for pixels, _ in parts.values()]
    labels = np.concatenate([numbers for _, numbers in parts.values()])
    splits = {part: len(numbers) for part, (_, numbers) in parts.items()}
    unlabelled = home / "unlabeled_X.bin"
    extra = _stl_images(unlabelled) if unlabelled.is_file() else None
    if extra is None:
        log.warning("stl10: %s is absent, so there are no extra unlabelled images", unlabelled)
    return RawSource(torch.cat(images) if len(images) > 1 else images[0], labels, list(STL_CLASSES), splits, extra)


def read_source(
    source: str,  # a name in SOURCES other than an ImageNet subset
    root: "str | Path" = "data",  # where the files are
    split: str = "all",  # "train", "test", "all"
    download: bool = False,  # fetch what is missing
) -> RawSource:  # images, labels, names, counts
    "The images of a source known by name."
    root = Path(root).expanduser()
    try:
        return _READERS[source](root, split)
    except FileNotFoundError:
        if not download:
            raise
    _download(source, root)
    return _READERS[source](root, split)


_READERS = {
    "digits": _digits,
    "fashion_mnist": _fashion,
    "stl10": _stl10,
    "cifar10": _cifar10,
    "cifar100_20": _cifar100_20,
}


def _verify_idx(root: Path) -> "list[dict[str, str]]":
    "Fashion-MNIST's four files, by content: gzip and the header show damage. MD5 sums differ between packers."
    rows = []
    for part, expected in (("train", 60000), ("test", 10000)):
        for name in _IDX_NAMES[part]:
            path = _find_idx(root, name)
            try:
                count = None if path is None else len(read_idx(path))
                status = "missing" if path is None else "ok" if count == expected else f"{count} of {expected}"
            except ValueError:
                status = "damaged"
            rows.append({"name": str(path or name), "status": status})
    return rows


def _verify_md5(source: str, root: Path) -> "list[dict[str, str]]":
    "The files of CIFAR or STL-10 against the MD5 sums that torchvision publishes."
    kind = _TORCHVISION[source]
    home = _home(root, source, kind.base_folder) or root / kind.base_folder
    rows = []
    for name, md5 in [*kind.train_list, *kind.test_list]:
        path = home / name
        status = "missing" if not path.is_file() else "ok" if check_integrity(path, md5) else "damaged"
        rows.append({"name": str(path), "status": status})
    return rows


def verify(
    source: "str | Path",  # a known source or a folder of images
    root: "str | Path" = "data",  # where known sources are
) -> "list[dict[str, str]]":  # per file or class folder: name, status ("ok", "missing", "damaged", or a count in words)
    "What is there of a source, file by file; MD5 sums where they are published."
    root, name = Path(root).expanduser(), str(source)
    if name == "digits":
        return [{"name": "scikit-learn's load_digits", "status": "ok"}]
    if name in SYNSETS:
        counts = find_synsets(name, root).class_counts()
        return [
            {"name": f"{synset} {words}", "status": f"{counts[words]} images" if words in counts else "missing"}
            for synset, words in SYNSETS[name].items()
        ]
    if name in SOURCES:
        return _verify_idx(root) if name == "fashion_mnist" else _verify_md5(name, root)
    listing = list_images(Path(source).expanduser())
    counts = listing.class_counts() or {name: len(listing.files)}
    return [{"name": label, "status": f"{count} images"} for label, count in counts.items()]
