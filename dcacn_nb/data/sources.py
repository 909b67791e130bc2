"""Where the benchmark images come from, in which order their classes stand, and how a file that is missing or damaged is reported."""

import gzip
import http.client
import logging
import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, STL10, FashionMNIST
from torchvision.datasets.utils import check_integrity

from dcacn_nb.core.checks import check_in
from dcacn_nb.data.folders import Listing, list_classes, list_images

log = logging.getLogger(__name__)


_FETCH = "download=True, or by hand"
_REQUEST = "registration at https://image-net.org (ILSVRC2012, training images); cannot be downloaded from here"
SOURCES = {  # images, classes, px, licence and source, how to get it
    "digits": (1797, 10, "8", "CC BY 4.0, UCI Optical Recognition of Handwritten Digits", "comes with scikit-learn"),
    "fashion_mnist": (
        70000,
        10,
        "28",
        "MIT, Zalando Research (Xiao et al. 2017)",
        f"{_FETCH}; Debian: dataset-fashion-mnist",
    ),
    "cifar10": (60000, 10, "32", "none stated, University of Toronto (Krizhevsky 2009)", _FETCH),
    "cifar100_20": (60000, 20, "32", "none stated, University of Toronto (Krizhevsky 2009)", _FETCH),
    "stl10": (
        13000,
        10,
        "96",
        "none stated, Stanford (Coates et al. 2011); images from ImageNet; 100,000 more unlabelled",
        _FETCH,
    ),
    "imagenet10": (13000, 10, "varies", "ImageNet terms of access, non-commercial research", _REQUEST),
    "imagenet_dogs": (19500, 15, "varies", "ImageNet terms of access, non-commercial research", _REQUEST),
}

SYNSETS = {  # Contrastive Clustering (Li et al. 2021), in the order of its repository: the position is the class number
    "imagenet10": {
        "n02056570": "king penguin",
        "n02085936": "Maltese dog",
        "n02128757": "snow leopard",
        "n02690373": "airliner",
        "n02692877": "airship",
        "n03095699": "container ship",
        "n04254680": "soccer ball",
        "n04285008": "sports car",
        "n04467665": "trailer truck",
        "n07747607": "orange",
    },
    "imagenet_dogs": {
        "n02085936": "Maltese dog",
        "n02086646": "Blenheim spaniel",
        "n02088238": "basset",
        "n02091467": "Norwegian elkhound",
        "n02097130": "giant schnauzer",
        "n02099601": "golden retriever",
        "n02101388": "Brittany spaniel",
        "n02101556": "clumber",
        "n02102177": "Welsh springer spaniel",
        "n02105056": "groenendael",
        "n02105412": "kelpie",
        "n02105855": "Shetland sheepdog",
        "n02107142": "Doberman",
        "n02110958": "pug",
        "n02112137": "chow",
    },
}

CIFAR100_SUPERCLASSES = {  # Krizhevsky 2009; in the data set's own (alphabetical) order
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}


def known_sources() -> list:  # one dict per source: name, images, classes, px, licence, how
    "The sources `load_images` knows by name."
    return [
        dict(zip(("name", "images", "classes", "px", "licence", "how"), (name, *row))) for name, row in SOURCES.items()
    ]


@dataclass(frozen=True)
class RawSource:
    "Images of one source as read, before any choice of size or subset."

    images: Tensor  # (N,C,H,W) uint8
    labels: np.ndarray  # (N,) int64
    class_names: list  # one per class
    splits: dict  # split -> number of images, in order
    extra: "Tensor | None" = None  # (M,C,H,W) uint8, unlabelled


def _parts(split: str) -> tuple:
    "The files a split stands for; 'all' is train then test, as in the clustering literature."
    return ("train", "test") if split == "all" else (split,)


def _home(root: Path, source: str, folder: str) -> "Path | None":
    "The folder that holds a source's files: root/folder, root/source/folder, or root itself if it is that folder."
    places = [root / folder, root / source / folder] + ([root] if root.name == Path(folder).name else [])
    return next((place for place in places if place.is_dir()), None)


def _by_hand(source: str) -> tuple:
    "(URLs, folder below root where the files fetched by hand belong)."
    if source == "fashion_mnist":
        return [FashionMNIST.mirrors[0] + name for name, _ in FashionMNIST.resources], "FashionMNIST/raw"
    return [{"cifar10": CIFAR10, "cifar100_20": CIFAR100, "stl10": STL10}[source].url], ""


def _absent(source: str, root: Path, why: str) -> FileNotFoundError:
    "The error for missing files: the argument that fetches them, the address, and where to put them by hand."
    urls, folder = _by_hand(source)
    return FileNotFoundError(
        f"{source}: {why}. To download: load_images({source!r}, root={str(root)!r}, download=True). By hand: fetch {' '.join(urls)} "
        f"into {(root / folder).resolve()}{os.sep} and make the same call (a file that is there is not fetched again, only unpacked)"
    )


def _download(source: str, root: Path) -> None:
    "Let torchvision fetch and unpack a source; whatever fails ends in one message that says what to do by hand."
    try:
        if source == "fashion_mnist":
            FashionMNIST(root, download=True)
        elif source == "stl10":
            STL10(root, split="train", download=True)
        else:
            (CIFAR10 if source == "cifar10" else CIFAR100)(root, download=True)
    except (
        OSError,
        RuntimeError,
        http.client.HTTPException,
    ) as error:  # no network (URLError is an OSError), no room, no right to write, bad sum
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise _absent(source, root, f"the download failed ({reason})") from error


def _digits(root: Path, split: str) -> RawSource:
    "scikit-learn's 8x8 digits, grey values 0..16 scaled to 0..255."
    if split != "all":
        raise ValueError(f"split must be 'all' for digits, which has no parts, got {split!r}")
    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    return RawSource(images, bunch.target.astype(np.int64), [str(digit) for digit in range(10)], {"all": len(images)})


FASHION_CLASSES = [
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
_IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


_MNIST_STARTS = [[5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]]  # first labels of MNIST's two parts


def read_idx(
    path: "str | Path",  # an IDX file of bytes, packed (.gz) or not
) -> np.ndarray:  # uint8, as many axes as the file says
    "An IDX file of unsigned bytes (LeCun's format of MNIST)."
    try:
        with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as file:
            data = file.read()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}); fetch it again") from error
    axes = data[3] if data[:3] == b"\0\0\x08" else 0
    shape = tuple(np.frombuffer(data, ">u4", axes, 4).tolist()) if len(data) >= 4 + 4 * axes else ()
    if not shape or len(data) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(
            f"{path} is no complete IDX file of bytes: {len(data)} bytes, header {data[:4].hex()}, shape {shape}"
        )
    return np.frombuffer(bytearray(data), np.uint8, offset=4 + 4 * axes).reshape(shape)


def _find_idx(root: Path, name: str) -> "Path | None":
    "An IDX file in the places it may lie in, packed or not."
    places = [root, root / "FashionMNIST" / "raw", root / "fashion_mnist"]
    return next(
        (place / f"{name}{end}" for place in places for end in ("", ".gz") if (place / f"{name}{end}").is_file()), None
    )


def _fashion(root: Path, split: str) -> RawSource:
    "Fashion-MNIST (Xiao et al. 2017) from IDX files in `root` or where torchvision puts them."
    images, labels, splits = [], [], {}
    for part in _parts(split):
        paths = [_find_idx(root, name) for name in _IDX_NAMES[part]]
        if None in paths:
            raise _absent(
                "fashion_mnist",
                root,
                f"{_IDX_NAMES[part][paths.index(None)]}[.gz] is not in {root} nor in {root / 'FashionMNIST' / 'raw'}",
            )
        pixels, numbers = map(read_idx, paths)
        if pixels.ndim != 3 or numbers.shape != pixels.shape[:1]:
            raise ValueError(
                f"{paths[0]} and {paths[1]} do not belong together: shapes {pixels.shape} and {numbers.shape}"
            )
        if numbers[:10].tolist() in _MNIST_STARTS:
            raise ValueError(
                f"{paths[1]} holds the labels of MNIST's handwritten digits, whose files have the same names as Fashion-MNIST's"
            )
        images.append(torch.from_numpy(pixels)[:, None])
        labels.append(numbers.astype(np.int64))
        splits[part] = len(numbers)
    return RawSource(torch.cat(images), np.concatenate(labels), FASHION_CLASSES, splits)


def superclass_of() -> dict:  # fine name -> 0..19
    "The superclass number of each of CIFAR-100's hundred classes."
    return {fine: number for number, group in enumerate(CIFAR100_SUPERCLASSES.values()) for fine in group.split()}


def _cifar(root: Path, split: str, source: str, kind: type) -> RawSource:
    "CIFAR-10 or CIFAR-100 with fine labels (Krizhevsky 2009), read by torchvision."
    home = _home(root, source, kind.base_folder)
    if home is None:
        raise _absent(source, root, f"no folder {kind.base_folder} in {root}")
    try:
        parts = {part: kind(home.parent, train=part == "train") for part in _parts(split)}
    except RuntimeError as error:  # a file is missing or its MD5 sum is wrong
        raise _absent(
            source, root, f"{home} is incomplete or damaged (verify({source!r}, root) names the files)"
        ) from error
    images = torch.cat(
        [torch.from_numpy(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))) for part in parts.values()]
    )
    labels = np.concatenate([np.array(part.targets, np.int64) for part in parts.values()])
    splits = {name: len(part) for name, part in parts.items()}
    return RawSource(images, labels, list(parts[_parts(split)[0]].classes), splits)


def _cifar10(root: Path, split: str) -> RawSource:
    "CIFAR-10 (Krizhevsky 2009)."
    return _cifar(root, split, "cifar10", CIFAR10)


def _cifar100_20(root: Path, split: str) -> RawSource:
    "CIFAR-100 with its 20 superclasses as classes (Krizhevsky 2009; used so by CC)."
    fine, coarse = _cifar(root, split, "cifar100_20", CIFAR100), superclass_of()
    table = np.array([coarse[name] for name in fine.class_names])
    return replace(fine, labels=table[fine.labels], class_names=list(CIFAR100_SUPERCLASSES))


STL_CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]


def _stl_images(path: Path) -> Tensor:
    "An STL-10 image file as a private memory map, (N,3,96,96)."
    size = path.stat().st_size
    if size == 0 or size % (3 * 96 * 96):
        raise ValueError(f"{path} has {size} bytes, no multiple of an image's {3 * 96 * 96}: cut short? fetch it again")
    return torch.from_numpy(np.memmap(path, np.uint8, "c", shape=(size // (3 * 96 * 96), 3, 96, 96))).transpose(2, 3)


def _stl10(root: Path, split: str) -> RawSource:
    "STL-10 (Coates et al. 2011); the unlabelled images as `extra`, if their file is there."
    home = _home(root, "stl10", STL10.base_folder)
    names = [f"{part}_{end}" for part in _parts(split) for end in ("X.bin", "y.bin")]
    missing = names if home is None else [name for name in names if not (home / name).is_file()]
    if missing:
        raise _absent("stl10", root, f"{', '.join(missing)} not in {home or root / STL10.base_folder}")
    images = [_stl_images(home / f"{part}_X.bin") for part in _parts(split)]
    labels = [
        np.fromfile(home / f"{part}_y.bin", np.uint8).astype(np.int64) - 1 for part in _parts(split)
    ]  # the files count from 1
    for part, pixels, numbers in zip(_parts(split), images, labels):
        if len(pixels) != len(numbers):
            raise ValueError(
                f"{home / part}_X.bin holds {len(pixels)} images, {part}_y.bin {len(numbers)} labels: fetch them again"
            )
    splits = {part: len(numbers) for part, numbers in zip(_parts(split), labels)}
    unlabeled = home / "unlabeled_X.bin"
    extra = _stl_images(unlabeled) if unlabeled.is_file() else None
    if extra is None:
        log.warning("stl10: %s is absent, so there are no extra unlabelled images", unlabeled)
    return RawSource(
        torch.cat(images) if len(images) > 1 else images[0], np.concatenate(labels), STL_CLASSES, splits, extra
    )


def read_source(
    source: str,  # a name in SOURCES that is no ImageNet subset
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


def _synset_folders(root: Path, wanted: set, depth: int = 4) -> dict:
    "Folders at or below `root` that hold wanted synset folders: {folder: names}; synset folders themselves are not entered."
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    here = [name for name in names if name in wanted]
    found = {root: here} if here else {}
    if depth:
        for name in names:
            if not re.fullmatch(r"n\d{8}", name):
                found.update(_synset_folders(root / name, wanted, depth - 1))
    return found


def find_synsets(
    source: str,  # "imagenet10" or "imagenet_dogs"
    root: "str | Path" = "data",  # the folder of the synset folders, or one above it
    split: str = "all",  # "all" and "train" are the same: the protocol uses training images only
) -> Listing:  # the images, class by class, in the paper's order
    "The images of an ImageNet subset, wherever its synset folders lie below `root`."
    check_in("split", split, ("all", "train"))
    root, synsets = Path(root).expanduser(), SYNSETS[source]
    if not root.is_dir():
        raise FileNotFoundError(
            f"{source}: no folder {root}; root must hold the folders {', '.join(synsets)}. To get them: {_REQUEST}"
        )
    if re.fullmatch(r"n\d{8}", root.resolve().name):
        raise FileNotFoundError(
            f"{source}: root={root} is a single synset folder; give the folder above it, {root.resolve().parent}"
        )
    found = _synset_folders(root, set(synsets))
    if not found:
        raise FileNotFoundError(
            f"{source}: no synset folder ({', '.join(synsets)}) in {root} nor four levels below. To get them: {_REQUEST}"
        )
    best = max(found, key=lambda folder: (not folder.name.startswith(("val", "test")), len(found[folder])))
    present = [synset for synset in synsets if synset in found[best]]  # in the paper's order
    listing = list_classes(best, present, [synsets[synset] for synset in present])
    missing = [f"{synset} ({name})" for synset, name in synsets.items() if name not in listing.class_names]
    if len(missing) >= len(synsets) - 1:
        raise FileNotFoundError(
            f"{source}: fewer than two of {len(synsets)} synset folders in {best} hold images; missing: {', '.join(missing)}"
        )
    notes = (
        (f"{len(missing)} of {len(synsets)} synsets are missing in {best}: {', '.join(missing)}",) if missing else ()
    )
    return Listing(best, listing.files, listing.labels, listing.class_names, listing.ignored, notes)


def _verify_idx(root: Path) -> list:
    "Fashion-MNIST's four files, by content: packed anew by others, their MD5 sums differ, but gzip and the header tell damage."
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


def _verify_md5(source: str, root: Path) -> list:
    "The files of CIFAR or STL-10 against the MD5 sums which torchvision publishes."
    kind = {"cifar10": CIFAR10, "cifar100_20": CIFAR100, "stl10": STL10}[source]
    home = _home(root, source, kind.base_folder) or root / kind.base_folder
    rows = []
    for name, md5 in [*kind.train_list, *kind.test_list]:
        path = home / name
        status = "missing" if not path.is_file() else "ok" if check_integrity(path, md5) else "damaged"
        rows.append({"name": str(path), "status": status})
    return rows


def verify(
    source: "str | Path",  # a known source or a folder of images
    root: "str | Path" = "data",  # where known sources live
) -> list:  # one dict per file or class folder: name, status ("ok", "missing", "damaged", or a count in words)
    "What is there of a source, file by file; MD5 sums where they are published."
    root = Path(root).expanduser()
    if source == "digits":
        return [{"name": "scikit-learn's load_digits", "status": "ok"}]
    if source in SYNSETS:
        listing = find_synsets(source, root)
        counts = {name: listing.labels.count(i) for i, name in enumerate(listing.class_names)}
        return [
            {"name": f"{synset} {name}", "status": f"{counts[name]} images" if name in counts else "missing"}
            for synset, name in SYNSETS[source].items()
        ]
    if source not in SOURCES:
        listing = list_images(Path(source).expanduser())
        if listing.labels is None:
            return [{"name": str(source), "status": f"{len(listing.files)} images"}]
        return [
            {"name": name, "status": f"{listing.labels.count(i)} images"} for i, name in enumerate(listing.class_names)
        ]
    return _verify_idx(root) if source == "fashion_mnist" else _verify_md5(source, root)
