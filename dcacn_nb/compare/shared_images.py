"""The images of a grid as one file in its folder, so that workers anywhere can map it instead of being sent a copy."""

import functools
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dcacn_nb.core.files import atomic_write
from dcacn_nb.data.feature_set import FeatureSet, load_features, save_features, training_tensor
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.runs.folder import fingerprint


def keep_images(
    images,  # ImageSet, a uint8 tensor (N,C,H,W), or a FeatureSet
    labels: "np.ndarray | None",  # to score the evaluations with; those of the set itself are not kept
    folder: Path,  # of the grid
) -> Path:  # the file; written once for the same images and labels
    "Keep images and labels for workers."
    extra = getattr(images, "extra", None)
    digest = hashlib.sha256(b"" if labels is None else np.asarray(labels).tobytes()).hexdigest()[:8]
    known = fingerprint(training_tensor(images), getattr(extra, "images", extra))
    kind = "features" if isinstance(images, FeatureSet) else "images"
    path = folder / f"{kind}-{known}-{digest}.safetensors"
    if not path.exists():
        labels = None if labels is None else np.asarray(labels)
        if isinstance(images, FeatureSet):
            save_features(replace(images, labels=labels), path)
        else:
            _save(images if isinstance(images, ImageSet) else ImageSet(images), labels, path)
    return path


def _save(images: ImageSet, labels: "np.ndarray | None", path: Path) -> None:
    "Write a set of images."
    about = {"protocol": images.protocol, "class_names": images.class_names, "paths": images.paths}
    text = json.dumps(about, default=str).encode()  # a tensor as well: paths can be too many for the file's header
    tensors = {"images": images.images, "about": torch.frombuffer(bytearray(text), dtype=torch.uint8)}
    if labels is not None:
        tensors["labels"] = torch.from_numpy(labels.astype(np.int64))
    if images.extra is not None:
        tensors["extra"] = images.extra.images
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    atomic_write(path, lambda file: save_file(tensors, file.name), home=path.parent)


@functools.lru_cache(maxsize=1)
def load_images_of_grid(
    path: Path,  # as keep_images returns it
) -> "ImageSet | FeatureSet":  # its images mapped from the file
    "The images of a grid, once in a process that runs several cells."
    if path.name.startswith("features-"):
        return load_features(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    about = json.loads(tensors["about"].numpy().tobytes())
    labels = tensors["labels"].numpy() if "labels" in tensors else None
    extra = ImageSet(tensors["extra"]) if "extra" in tensors else None
    return ImageSet(tensors["images"], labels, extra=extra, **about)
