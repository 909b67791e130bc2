"""Features computed once by a frozen encoder, and apart from them what is known about their images."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file as save_safetensors
from torch import Tensor

from dcacn_nb.core.checks import check_features, check_in, describe
from dcacn_nb.core.files import atomic_write
from dcacn_nb.data.cache import BLOCK
from dcacn_nb.data.catalogue import FEATURE_SUFFIXES
from dcacn_nb.data.image_set import ImageSet, checked_labels, checked_positions
from dcacn_nb.data.scratch import empty_rows, float_rows

MAPPED = 2**28  # bytes from which on a .npy or .safetensors file is mapped into memory, privately, and not read


def training_tensor(
    images: Any,  # an ImageSet, a FeatureSet, or a tensor
) -> Tensor:  # images (N,C,H,W) uint8, or features (N,D) or (N,V,D) float32
    "What training is given of a set: nothing else of it."
    return images.features if isinstance(images, FeatureSet) else getattr(images, "images", images)


@dataclass(eq=False)
class FeatureSet:
    "Features of images and, apart from them, what is known about the images. Training is given `.features` alone."

    features: Tensor  # (N,D) float32, or (N,V,D): the whole image first, then V - 1 crops of it
    images: "Tensor | None" = None  # (N,C,H,W) uint8, small pictures to show; training never sees them
    labels: "np.ndarray | None" = None  # (N,) int64 class numbers, for evaluation only
    class_names: "list[str] | None" = None  # one name per class
    paths: "list[str] | None" = None  # one file per image
    protocol: dict = field(default_factory=dict)  # what was loaded and by which encoder; plain values

    def __post_init__(self):
        self.features = _checked_features(self.features)
        n = len(self.features)
        if self.images is not None and len(ImageSet(self.images)) != n:
            raise ValueError(f"images must hold one picture per row of features, {n}, got {len(self.images)}")
        if self.labels is not None:
            self.labels = checked_labels(self.labels, n, self.class_names)
        if self.paths is not None and len(self.paths) != n:
            raise ValueError(f"paths must name one file per row of features, {n}, got {len(self.paths)}")
        base = {"source": "features", "split": "all", "splits": {"all": n}, "count": n, "encoder": None}
        size = [32, 32] if self.images is None else list(self.images.shape[2:])
        channels = 3 if self.images is None else self.images.shape[1]
        rest = {"image_size": size, "channels": channels, "limit": None, "seed": None, "skipped": {}}
        self.protocol = base | rest | self.protocol

    def __len__(self) -> int:
        return len(self.features)

    @property
    def dim(self) -> int:
        "D, the length of a feature."
        return self.features.shape[-1]

    @property
    def whole(self) -> Tensor:
        "(N,D) the features of whole images."
        return self.features if self.features.ndim == 2 else self.features[:, 0]

    def subset(
        self,
        indices: "np.ndarray | Tensor | list",  # positions, or a boolean mask
    ) -> "FeatureSet":  # the same kinds of fields, chosen rows
        "The chosen rows with their pictures, labels and paths, in the order given."
        chosen = checked_positions(indices, len(self))
        rows = torch.from_numpy(chosen)
        return replace(
            self,
            features=self.features[rows],
            images=None if self.images is None else self.images[rows],
            labels=None if self.labels is None else self.labels[chosen],
            paths=None if self.paths is None else [self.paths[i] for i in chosen],
            protocol={**self.protocol, "count": len(chosen)},
        )

    def __repr__(self) -> str:
        views = f"{self.features.shape[1]} views of " if self.features.ndim == 3 else ""
        encoder = (self.protocol["encoder"] or {}).get("name", "an encoder unknown here")
        classes = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        name = Path(self.protocol["source"]).name
        return f"FeatureSet({name}: {len(self):,} images, {views}{self.dim} features by {encoder}, {classes})"


def _checked_features(features: Any) -> Tensor:
    "Finite float32 features of two or three axes, or an error that says what is wrong."
    is_array = isinstance(features, np.ndarray)
    if is_array and features.dtype.kind != "f":
        raise ValueError(f"features must be floating-point numbers, got {features.dtype}; convert with .astype(float)")
    if not (is_array or (isinstance(features, Tensor) and features.is_floating_point())) or features.ndim not in (2, 3):
        raise ValueError(f"features must be a float array (N,D) or (N,V,D), got {describe(features)}")
    if 0 in features.shape:
        raise ValueError(f"features must not be empty, got shape {tuple(features.shape)}")
    check_features(features)
    if is_array:
        ready = features.dtype == np.float32 and features.flags.c_contiguous and features.flags.writeable
        features = torch.from_numpy(features if ready else float_rows(features))
    return features.detach().to("cpu", torch.float32).contiguous()


def save_features(
    features: FeatureSet,
    path: "str | Path",  # ends in .npz, .safetensors, or .npy (the features alone)
) -> Path:  # the file, whole or not at all
    "Write features, and what is known about their images, as one file that can run no code."
    path = Path(path).expanduser()
    check_in("suffix of the features file", path.suffix.lower(), FEATURE_SUFFIXES)
    known = {"images": features.images, "labels": features.labels}
    arrays = {"features": features.features.numpy()}
    arrays |= {name: np.asarray(value) for name, value in known.items() if value is not None}
    about = {"protocol": features.protocol, "class_names": features.class_names, "paths": features.paths}
    if path.suffix.lower() == ".npy":
        return atomic_write(path, lambda file: np.save(file, arrays["features"], allow_pickle=False))
    text = json.dumps(about, default=str)
    if path.suffix.lower() == ".safetensors":
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return atomic_write(path, lambda file: save_safetensors(arrays, file.name, {"dcacn_nb": text}))
    return atomic_write(path, lambda file: np.savez(cast(Any, file), **cast(Any, arrays), dcacn_nb=np.array(text)))


def load_features(
    path: "str | Path",  # .npy (N,D); .npz or .safetensors with "features" and, if there are, images, labels, paths
) -> FeatureSet:  # checked
    "Read features from a file; a lone array of any name counts as the features."
    path = Path(path).expanduser()
    check_in("suffix of the features file", path.suffix.lower(), FEATURE_SUFFIXES)
    if not path.is_file():
        raise FileNotFoundError(f"features file {str(path)!r} does not exist")
    try:
        arrays, text = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_numpy(path)
        about = _checked_about(text)
    except Exception as error:  # of a damaged file NumPy, zipfile and zlib raise errors of many kinds
        text = f"features file {str(path)!r} cannot be read ({error})"
        if not isinstance(error, (OSError, MemoryError)):  # these say what to do, or that memory is short
            text += "; write it again with np.save, np.savez or save_features"
        raise ValueError(text) from error
    try:
        return _as_set(path, arrays, about)
    except (ValueError, TypeError, MemoryError, RuntimeError) as error:  # RuntimeError: PyTorch's lack of memory
        raise ValueError(f"features file {str(path)!r}: {error}") from error


def _as_set(path: Path, arrays: "dict[str, np.ndarray]", about: dict) -> FeatureSet:
    "The features and what is known about them, checked."
    if "features" not in arrays:
        if len(arrays) != 1:
            raise ValueError(f"it must hold an array named 'features', it holds {', '.join(arrays) or 'nothing'}")
        arrays = {"features": next(iter(arrays.values()))}
    paths = about.get("paths")
    if paths is None and "paths" in arrays:
        paths = _names(arrays["paths"])
    images = None if "images" not in arrays else torch.from_numpy(np.ascontiguousarray(arrays["images"]))
    protocol = {"source": str(path)} | about.get("protocol", {})
    features = cast(Any, arrays["features"])  # FeatureSet makes a tensor of it
    return FeatureSet(features, images, arrays.get("labels"), about.get("class_names"), paths, protocol)


def _names(paths: np.ndarray) -> "list[str]":
    "The files that an array names."
    if paths.ndim != 1:
        raise ValueError(f"paths must name one file per row of features, got shape {paths.shape}")
    if paths.dtype.kind == "S":
        return [name.decode("utf-8") for name in paths.tolist()]
    return [str(name) for name in paths]


def _checked_about(text: str) -> dict:
    "What is known about features, from the JSON text beside them."
    about = json.loads(text) if text else {}
    kinds = {"protocol": dict, "class_names": list, "paths": list}
    wrong = [name for name, kind in kinds.items() if not isinstance(about.get(name), (kind, type(None)))]
    if wrong:
        raise ValueError(f"{wrong[0]} must be a {kinds[wrong[0]].__name__}, got {describe(about[wrong[0]])}")
    return {name: about[name] for name in kinds if about.get(name) is not None}


def _read_numpy(path: Path) -> "tuple[dict[str, np.ndarray], str]":
    "The arrays of a .npy or .npz file, and the JSON text that `save_features` adds."
    mode = "c" if _is_large(path) else None  # only .npy can be mapped
    loaded = np.load(path, mmap_mode=cast(Any, mode), allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"features": loaded}, ""
    with loaded:
        arrays = {name: _member(loaded, name) for name in loaded.files}
    text = arrays.pop("dcacn_nb", None)
    return arrays, "" if text is None else str(text)


def _member(loaded: Any, name: str) -> np.ndarray:
    "An array of a .npz file, a block at a time: a large one is never in memory whole. Its checksum is compared."
    entry = f"{name}.npy"
    if entry not in loaded.zip.namelist():
        raise ValueError(f"{name} is not an array")
    with loaded.zip.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"{name} is in version {version} of NumPy's format, which is for named columns alone")
        shape, in_columns, dtype = read(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError(f"{name} must hold numbers or text, got {dtype} of shape {shape}")
        if size > loaded.zip.getinfo(entry).file_size:  # before room is taken for it
            raise ValueError(f"{name} is cut short")
        array = empty_rows(shape[::-1] if in_columns else shape, dtype)
        filled, room = 0, array.reshape(-1).view(np.uint8).data if size else memoryview(b"")
        while data := file.read(BLOCK):  # up to the end, where the checksum is
            room[filled : filled + len(data)] = data
            filled += len(data)
        if filled < size:
            raise ValueError(f"{name} is cut short")
    return array.T if in_columns else array


def _read_safetensors(path: Path) -> "tuple[dict[str, np.ndarray], str]":
    "The arrays of a .safetensors file, and the JSON text that `save_features` adds."
    with safe_open(path, "pt" if _is_large(path) else "np") as file:  # PyTorch's tensors are mapped, NumPy's read
        arrays = {name: np.asarray(file.get_tensor(name)) for name in list(file.keys())}
        return arrays, (file.metadata() or {}).get("dcacn_nb", "")


def _is_large(path: Path) -> bool:
    "Whether a file is mapped: not a small one, so that rewriting it in place cannot pull it from under its reader."
    return path.stat().st_size >= MAPPED
