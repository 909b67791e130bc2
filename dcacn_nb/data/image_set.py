"""A set of images, and apart from them what is known about them: labels, names, paths, a record of the loading."""

import base64
import html
import io
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcacn_nb.core.checks import describe
from dcacn_nb.data.pixels import from_chw


@dataclass(eq=False)
class ImageSet:
    "Images and, apart from them, what is known about them. Training is given `.images` alone."

    images: Tensor  # (N,C,H,W) uint8, C 1 or 3; may be a memory-mapped file
    labels: "np.ndarray | None" = None  # (N,) int64 class numbers, for evaluation only
    class_names: "list[str] | None" = None  # one name per class
    paths: "list[str] | None" = None  # one file per image
    protocol: dict = field(default_factory=dict)  # what was loaded, and how; plain values
    extra: "ImageSet | None" = None  # unlabelled images for the instance loss only (STL-10)

    def __post_init__(self):
        if not isinstance(self.images, Tensor) or self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images must be a uint8 tensor (N,C,H,W), got {describe(self.images)}; load_images converts arrays"
            )
        if self.images.shape[1] not in (1, 3) or 0 in self.images.shape:
            raise ValueError(
                f"images must be (N,C,H,W) with C 1 or 3 and no empty axis, got {tuple(self.images.shape)}"
            )
        if self.labels is not None:
            self.labels = checked_labels(self.labels, len(self.images), self.class_names)
        if self.paths is not None and len(self.paths) != len(self.images):
            raise ValueError(f"paths must name one file per image: got {len(self.paths)} for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def subset(
        self,
        indices: "np.ndarray | Tensor | list",  # positions, or a boolean mask
    ) -> "ImageSet":  # the same kinds of fields, chosen rows
        "The chosen images with their labels and paths, in the order given."
        chosen = checked_positions(indices, len(self))
        return replace(
            self,
            images=self.images[torch.from_numpy(chosen)],
            labels=None if self.labels is None else self.labels[chosen],
            paths=None if self.paths is None else [self.paths[i] for i in chosen],
            protocol={**self.protocol, "count": len(chosen)},
        )

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        classes = 0 if self.labels is None else len(np.unique(self.labels))
        labels = f"{classes} {'class' if classes == 1 else 'classes'}" if classes else "no labels"
        extra = "" if self.extra is None else f", {len(self.extra):,} extra unlabelled"
        return (
            f"ImageSet({Path(self.protocol.get('source', 'images')).name}: {n:,} images, {c}x{h}x{w}, {labels}{extra})"
        )

    def _repr_html_(self) -> str:
        names = "" if not self.class_names else "<br>" + html.escape(", ".join(map(str, self.class_names[:20])))
        picture = base64.b64encode(contact_sheet(self.images)).decode()
        image = f'<img alt="a sample of the images" src="data:image/png;base64,{picture}">'
        return f"<div>{html.escape(repr(self))}{names}<br>{image}</div>"


def checked_positions(
    indices: "np.ndarray | Tensor | list",  # positions, or a boolean mask
    count: int,  # images there are
) -> np.ndarray:  # (n,) int64
    "Chosen positions, or an error that says what is wrong."
    chosen = np.asarray(indices)
    chosen = np.flatnonzero(chosen) if chosen.dtype == bool and chosen.shape == (count,) else chosen
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.size == 0:
        raise ValueError(
            f"indices must be a non-empty list of positions or a mask of {count} booleans, got {describe(indices)}"
        )
    if chosen.min() < 0 or chosen.max() >= count:
        raise IndexError(f"indices must be in 0..{count - 1}, got {chosen.min()}..{chosen.max()}")
    return chosen.astype(np.int64)


def checked_labels(labels: object, count: int, class_names: "list | None") -> np.ndarray:
    "Labels as (count,) int64, or an error that says what is wrong."
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"labels must hold one class number per image, ({count},), got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be whole numbers, got {labels.dtype}; "
            "np.unique(labels, return_inverse=True) turns names into numbers"
        )
    if class_names is not None and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise ValueError(
            f"labels must be in 0..{len(class_names) - 1}, the positions in class_names, "
            f"got {labels.min()}..{labels.max()}"
        )
    if labels.dtype.kind == "u" and labels.size and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"labels must be below 2**63, got {labels.max()}; "
            "np.unique(labels, return_inverse=True) turns them into class numbers"
        )
    return labels.astype(np.int64)


def contact_sheet(
    images: Tensor,  # (N,C,H,W) uint8
    count: int = 12,  # pictures at most
    side: int = 56,  # height of each, px
    width: int = 700,  # of the strip at most, px
) -> bytes:  # a PNG file
    "A strip of images evenly spaced through the set, as a small PNG."
    wide = max(1, min(width, round(side * images.shape[3] / images.shape[2])))
    count = max(1, min(count, width // (wide + 2)))
    chosen = images[np.unique(np.linspace(0, len(images) - 1, count).astype(int))].cpu()
    sheet = Image.new("RGB", (len(chosen) * (wide + 2), side), "white")
    for i, pixels in enumerate(chosen):
        method = Image.Resampling.NEAREST if pixels.shape[1] < side else Image.Resampling.BOX
        sheet.paste(from_chw(pixels.numpy()).resize((wide, side), method), (i * (wide + 2), 0))
    file = io.BytesIO()
    sheet.quantize(64).save(file, "png", optimize=True)
    return file.getvalue()


def make_protocol(
    source: str,  # what was loaded: a name, a folder, "array"
    images: Tensor,  # (N,C,H,W) uint8
    split: str = "all",  # "train", "test" or "all"
    splits: "dict[str, int] | None" = None,  # split -> number of images; None: one split holds all
    **facts: object,  # further plain values, or other ones for these
) -> dict:  # plain values that fit into a run log
    "The record of what was loaded, and how."
    n, c, h, w = images.shape
    base = {
        "source": source,
        "split": split,
        "splits": splits or {split: n},
        "count": n,
        "extra_unlabeled": 0,
        "image_size": [h, w],
        "channels": c,
        "limit": None,
        "seed": None,
        "resize": "none",
        "skipped": {},
    }
    return {**base, **facts}
