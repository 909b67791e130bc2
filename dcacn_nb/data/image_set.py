"""One call turns a name, a folder or an array into a set of images, and keeps the labels where training cannot see them."""

import base64
import difflib
import html
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.folders import Listing, decode_folder, list_images, to_chw
from dcacn_nb.data.sources import SOURCES, SYNSETS, find_synsets, read_source

log = logging.getLogger(__name__)

LIMIT_STREAM = 10  # names the draw of subsets among all draws of a seed


@dataclass(eq=False)
class ImageSet:
    "Images and, apart from them, what is known about them. Training is given `.images` alone."

    images: Tensor  # (N,C,H,W) uint8, C 1 or 3; may be a memory-mapped file
    labels: "np.ndarray | None" = None  # (N,) int64 class numbers, for evaluation only
    class_names: "list | None" = None  # one name per class
    paths: "list | None" = None  # one file per image
    protocol: dict = field(default_factory=dict)  # what was loaded, and how; plain values
    extra: "ImageSet | None" = None  # unlabelled images for the instance loss only (STL-10)

    def __post_init__(self):
        if not isinstance(self.images, Tensor) or self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images must be a uint8 tensor (N,C,H,W), got {_describe(self.images)}; load_images converts arrays"
            )
        if self.images.shape[1] not in (1, 3) or 0 in self.images.shape:
            raise ValueError(
                f"images must be (N,C,H,W) with C 1 or 3 and no empty axis, got {tuple(self.images.shape)}"
            )
        if self.labels is not None:
            self.labels = _checked_labels(self.labels, len(self.images), self.class_names)
        if self.paths is not None and len(self.paths) != len(self.images):
            raise ValueError(f"paths must name one file per image: got {len(self.paths)} for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def subset(
        self,
        indices: "np.ndarray | Tensor | list",  # positions, or a boolean mask
    ) -> "ImageSet":  # the same kinds of fields, chosen rows
        "The chosen images with their labels and paths, in the order given."
        chosen = np.asarray(indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool and chosen.shape == (len(self),) else chosen
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.size == 0:
            raise ValueError(
                f"indices must be a non-empty list of positions or a mask of {len(self)} booleans, got {_describe(indices)}"
            )
        if chosen.min() < 0 or chosen.max() >= len(self):
            raise IndexError(f"indices must lie in 0..{len(self) - 1}, got {chosen.min()}..{chosen.max()}")
        return replace(
            self,
            images=self.images[torch.from_numpy(chosen.astype(np.int64))],
            labels=None if self.labels is None else self.labels[chosen],
            paths=None if self.paths is None else [self.paths[i] for i in chosen],
            protocol={**self.protocol, "count": len(chosen)},
        )

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        labels = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        extra = "" if self.extra is None else f", {len(self.extra):,} extra unlabelled"
        return (
            f"ImageSet({Path(self.protocol.get('source', 'images')).name}: {n:,} images, {c}x{h}x{w}, {labels}{extra})"
        )

    def _repr_html_(self) -> str:
        names = "" if not self.class_names else "<br>" + html.escape(", ".join(map(str, self.class_names[:20])))
        picture = base64.b64encode(contact_sheet(self.images)).decode()
        return f'<div>{html.escape(repr(self))}{names}<br><img alt="a sample of the images" src="data:image/png;base64,{picture}"></div>'


def _describe(value: object) -> str:
    "Type, shape and dtype of anything, for messages."
    shape = (
        f" {tuple(value.shape)} {value.dtype}"
        if hasattr(value, "shape") and hasattr(value, "dtype")
        else f" of length {len(value)}"
        if hasattr(value, "__len__")
        else ""
    )
    return f"{type(value).__name__}{shape}"


def _checked_labels(labels: object, count: int, class_names: "list | None") -> np.ndarray:
    "Labels as (count,) int64, or an error that says what is wrong."
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"labels must hold one class number per image, ({count},), got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be whole numbers, got {labels.dtype}; names turn into numbers with np.unique(labels, return_inverse=True)"
        )
    if class_names is not None and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise ValueError(
            f"labels must lie in 0..{len(class_names) - 1}, the positions in class_names, got {labels.min()}..{labels.max()}"
        )
    return labels.astype(np.int64)


def contact_sheet(
    images: Tensor,  # (N,C,H,W) uint8
    count: int = 12,  # pictures at most
    side: int = 48,  # height of each, px
) -> bytes:  # a PNG file
    "A strip of images evenly spaced through the set, as a small PNG."
    width = max(1, min(600, round(side * images.shape[3] / images.shape[2])))
    count = max(1, min(count, 600 // (width + 2)))
    chosen = images[np.unique(np.linspace(0, len(images) - 1, count).astype(int))].cpu()
    sheet = Image.new("RGB", (len(chosen) * (width + 2), side), "white")
    for i, pixels in enumerate(chosen):
        method = Image.Resampling.NEAREST if pixels.shape[1] < side else Image.Resampling.BOX
        sheet.paste(_picture(pixels).resize((width, side), method), (i * (width + 2), 0))
    file = io.BytesIO()
    sheet.quantize(64).save(file, "png", optimize=True)
    return file.getvalue()


def _picture(pixels: Tensor) -> Image.Image:
    "A (C,H,W) uint8 tensor as a Pillow image."
    array = pixels.numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def _layout(shape: tuple) -> str:
    "Which axes an array of images has: 'NHW', 'NHWC' or 'NCHW'; unclear ones are refused."
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"images must be (N,H,W), (N,H,W,C) or (N,C,H,W) and not empty, got shape {shape}")
    if len(shape) == 3:
        if shape[0] == 3 or (shape[2] in (3, 4) and shape[0] == shape[1]):
            raise ValueError(
                f"shape {shape} is ambiguous: one colour image, or {shape[0]} grey ones? "
                "Give images[None] for one image, images[:, None] for grey ones"
            )
        return "NHW"
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        raise ValueError(
            f"shape {shape} is ambiguous: axis 1 and axis 3 could both be channels; such images must come as a folder or be padded"
        )
    if not first and not last:
        raise ValueError(
            f"images need 1 or 3 channels on axis 1 (N,C,H,W) or axis 3 (N,H,W,C), got shape {shape}; drop an alpha channel first"
        )
    return "NCHW" if first else "NHWC"


def _to_uint8(values: Tensor) -> Tensor:
    "uint8 as it is, float in [0,1] times 255; anything else is refused."
    if values.dtype == torch.uint8:
        brightest = values[:: max(1, len(values) // 1000)].max().item()  # a thousand images tell
        if 0 < brightest < 32:
            log.warning(
                "images: the brightest value is %d of 255, so they are nearly black; if %d is white, give images / %d",
                *[brightest] * 3,
            )
        return values
    if not values.is_floating_point():
        raise ValueError(
            f"images must be uint8 or float in [0, 1], got {values.dtype}; values 0..255 become uint8 with images.astype('uint8')"
        )
    low, high = values.min().item(), values.max().item()
    if not (low >= 0 and high <= 1):  # NaN compares false, so it lands here too
        finite = np.isfinite([low, high]).all()
        advice = (
            "replace NaN and infinite values"
            if not finite
            else "undo the normalisation"
            if low < 0
            else f"divide by the value that white has, such as 255 (or {high:g}, if nothing is brighter)"
        )
        raise ValueError(f"float images must lie in [0, 1], got min {low:g} and max {high:g}; {advice}")
    return (values * 255).round().to(torch.uint8)


def from_arrays(
    images: "np.ndarray | Tensor",  # (N,H,W), (N,H,W,C) or (N,C,H,W), uint8 or float in [0,1]
    labels: "np.ndarray | list | None" = None,  # (N,) class numbers, for evaluation only
    class_names: "list | None" = None,  # one name per class
) -> ImageSet:  # the checked set
    "An image set from arrays in memory."
    if not isinstance(images, (np.ndarray, Tensor)):
        raise TypeError(f"images must be a NumPy array or a tensor, got {_describe(images)}")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "uif":
        raise ValueError(f"images must be uint8 or float in [0, 1], got {images.dtype}")
    layout = _layout(tuple(images.shape))
    tensor = _to_uint8(images.detach().cpu() if isinstance(images, Tensor) else _shared(images))
    tensor = tensor[:, None] if layout == "NHW" else tensor.permute(0, 3, 1, 2) if layout == "NHWC" else tensor
    return ImageSet(tensor, labels, class_names, protocol=_protocol("array", tensor))


def _shared(array: np.ndarray) -> Tensor:
    "A tensor on the array's memory; copied only where PyTorch cannot share it (foreign byte order, reversed axes)."
    if array.dtype.byteorder not in "=|" or any(stride < 0 for stride in array.strides):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    with (
        warnings.catch_warnings()
    ):  # PyTorch warns of read-only memory (a map opened with "r"); nothing here writes to images
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ", category=UserWarning)
        return torch.from_numpy(array)


def _protocol(source: str, images: Tensor, split: str = "all", splits: "dict | None" = None, **facts) -> dict:
    "What was loaded, as plain values that fit into a run log."
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


def load_images(
    source: object,  # a known source's name, a folder, an array (N,H,W[,C]) or (N,C,H,W), or an ImageSet
    *,
    root: "str | Path" = "data",  # where known sources live or are downloaded to
    split: str = "all",  # "train", "test" or "all" (known sources only)
    download: bool = False,  # fetch missing files of a torchvision source
    limit: "int | None" = None,  # a random subset of this many images, blind to labels
    image_size: "int | None" = None,  # side in px; None keeps the size (folders of mixed sizes: see protocol)
    channels: "int | None" = None,  # 1 or 3; None keeps them
    on_error: str = "raise",  # "raise" or "skip" unreadable files of a folder
    seed: int = 0,  # of the subset
    progress: bool = True,  # show a bar while a folder is decoded
    cache: "str | Path | bool | None" = None,  # where a decoded folder is kept; False: nowhere
) -> ImageSet:  # images, and apart from them labels, names, paths, protocol
    "Images from a name, a folder or an array, with a record of what was loaded."
    check_in("split", split, ("all", "train", "test"))
    check_in("channels", channels, (None, 1, 3))
    limit = None if limit is None else check_int("limit", limit, low=1)
    image_size = None if image_size is None else check_int("image_size", image_size, low=1)
    options = {
        "image_size": image_size,
        "channels": channels,
        "on_error": on_error,
        "progress": progress,
        "cache": cache,
    }
    if isinstance(source, str) and source in SYNSETS:
        if download:
            raise ValueError(f"download must be False for {source}: {SOURCES[source][-1]}")
        return _load_listing(source, find_synsets(source, root, split), limit, seed, options, split)
    if isinstance(source, str) and source in SOURCES:
        return _finish(_from_source(source, root, split, download), limit, seed, image_size, channels)
    if split != "all":
        raise ValueError(
            f"split={split!r} is for known sources; {_describe(source)} has no splits: give the part you want"
        )
    if isinstance(source, (str, Path)):
        return _load_listing(str(source), list_images(_existing_folder(source)), limit, seed, options)
    images = source if isinstance(source, ImageSet) else from_arrays(source)
    return _finish(images, limit, seed, image_size, channels)


def _from_source(source: str, root: "str | Path", split: str, download: bool) -> ImageSet:
    "An image set from what `read_source` read; unlabelled images stay a set of their own."
    raw = read_source(source, root, split, download)
    extra = None if raw.extra is None else ImageSet(raw.extra, protocol=_protocol(f"{source} unlabelled", raw.extra))
    protocol = _protocol(source, raw.images, split, raw.splits, extra_unlabeled=0 if extra is None else len(extra))
    return ImageSet(raw.images, raw.labels, raw.class_names, protocol=protocol, extra=extra)


def _existing_folder(source: "str | Path") -> Path:
    "The folder meant, or an error that names what comes nearest."
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ValueError(
            f"source {str(source)!r} is a file; give the folder that holds the images, or an array (np.load reads .npy)"
        )
    beside = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, [*SOURCES, *beside], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"source {str(source)!r} is neither a known source ({', '.join(SOURCES)}) nor a folder{hint}")


def _choose(count: int, limit: "int | None", seed: int) -> "np.ndarray | None":
    "Positions of a random subset, in order; a smaller limit with the same seed gives a part of it. None: all."
    if limit is None or limit >= count:
        return None
    return torch.randperm(count, generator=generator(seed, LIMIT_STREAM))[:limit].sort().values.numpy()


def _finish(images: ImageSet, limit, seed: int, image_size, channels) -> ImageSet:
    "Subset, channels and size of a set in memory."
    chosen = _choose(len(images), limit, seed)
    if chosen is not None:
        images = images.subset(chosen)
        images.protocol.update(limit=limit, seed=seed)
    images = _resized(images, image_size, channels)
    extra = None if images.extra is None else _resized(images.extra, image_size, channels)
    return images if extra is images.extra else replace(images, extra=extra)


def _resized(images: ImageSet, image_size: "int | None", channels: "int | None") -> ImageSet:
    "The set with another size or number of channels, by the same rule as for folders; itself if there is nothing to do."
    n, c, h, w = images.images.shape
    side = image_size or h
    if channels in (None, c) and (image_size is None or (h, w) == (side, side)):
        return images
    shape = (n, channels or c, *((h, w) if image_size is None else (side, side)))
    pixels = torch.empty(shape, dtype=torch.uint8)
    for i in range(n):
        pixels[i] = torch.from_numpy(np.array(to_chw(_picture(images.images[i]), image_size, channels)))
    rule = (
        images.protocol.get("resize", "none")
        if image_size is None
        else f"shorter side to {side} px, then the central square (as asked)"
    )
    return replace(
        images,
        images=pixels,
        protocol={**images.protocol, "image_size": list(shape[2:]), "channels": shape[1], "resize": rule},
    )


def _load_listing(source: str, listing: Listing, limit, seed: int, options: dict, split: str = "all") -> ImageSet:
    "Decode the chosen files of a listing; a subset is chosen before anything is decoded."
    chosen = _choose(len(listing.files), limit, seed)
    if chosen is not None:
        labels = None if listing.labels is None else [listing.labels[i] for i in chosen]
        listing = replace(listing, files=[listing.files[i] for i in chosen], labels=labels)
    array, facts = decode_folder(listing, **options)
    for note in listing.notes:
        log.warning("%s: %s", source, note)
    kept = [i for i, name in enumerate(listing.files) if name not in facts["skipped"]]
    images = torch.from_numpy(array)
    protocol = _protocol(
        source,
        images,
        split,
        resize=facts["resize"],
        skipped=facts["skipped"],
        ignored=listing.ignored,
        notes=list(listing.notes),
        limit=None if chosen is None else limit,
        seed=None if chosen is None else seed,
    )
    labels = None if listing.labels is None else np.array(listing.labels)[kept]
    return ImageSet(images, labels, listing.class_names, [str(listing.root / listing.files[i]) for i in kept], protocol)


def fetch(
    images: "ImageSet | Tensor",  # (N,C,H,W) uint8, on any device, memory-mapped or not
    indices: "Tensor | np.ndarray | list",  # (B,) positions, in any order
    device: "torch.device | str | None" = None,  # where the batch goes; None: where the images are
) -> Tensor:  # (B,C,H,W) uint8
    "One batch by index: gathered on the images' device, then moved if that is another one."
    tensor = images.images if isinstance(images, ImageSet) else images
    batch = tensor.index_select(0, torch.as_tensor(indices, dtype=torch.int64, device=tensor.device))
    device = tensor.device if device is None else torch.device(device)
    if device.type == "cuda" and not batch.is_cuda:
        return batch.pin_memory().to(
            device, non_blocking=True
        )  # from pinned memory the copy runs beside the computation
    return batch.to(device)


def batches(
    images: "ImageSet | Tensor",  # (N,C,H,W) uint8
    batch_size: int,  # images per batch; the last may be smaller
    device: "torch.device | str | None" = None,  # where batches go; None: where the images are
    indices: "Tensor | np.ndarray | list | None" = None,  # (M,) positions in order; None: all
) -> Iterator[Tensor]:  # (B,C,H,W) uint8
    "The images in order, batch by batch: the one way in for sets larger than memory."
    check_int("batch_size", batch_size, low=1)
    positions = torch.arange(len(images)) if indices is None else torch.as_tensor(indices, dtype=torch.int64)
    for start in range(0, len(positions), batch_size):
        yield fetch(images, positions[start : start + batch_size], device)


def to_storage(
    images: "ImageSet | Tensor",  # (N,C,H,W) uint8
    device: "torch.device | str",  # where training computes
    limit_bytes: "int | None" = None,  # most the images may take there; None: half of the free memory
) -> Tensor:  # the same images, resident on the device or left where they are
    "Move all images to the device if they take at most half of its free memory; else leave them, for `fetch` to stream."
    tensor = images.images if isinstance(images, ImageSet) else images
    device = torch.device(device)
    if device.type == tensor.device.type:
        return tensor
    if limit_bytes is None:
        limit_bytes = _free_bytes(device) // 2
    return tensor.to(device) if tensor.numel() <= limit_bytes else tensor


def _free_bytes(device: torch.device) -> int:
    "Memory free on a device, in bytes."
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return 0  # an unknown kind of device: stream


def load_like(
    source,  # array, folder or ImageSet
    shape: "tuple[int, int, int]",  # (C,H,W) of the images trained on
    **options,  # on_error, progress, ... for load_images
) -> ImageSet:  # (N,C,H,W); H and W differ from `shape` only if the trained images were not square
    "Images in the form a network was trained on: another size is fitted, a folder's colours are converted, an array's are not."
    channels, height, width = shape
    is_folder = isinstance(source, (str, Path))
    images = load_images(
        source, image_size=height if height == width else None, channels=channels if is_folder else None, **options
    )
    if images.images.shape[1] != channels:
        raise ValueError(
            f"X must have {channels} channel(s), like the images trained on, got {images.images.shape[1]}; "
            f"load_images(X, channels={channels}) converts"
        )
    return images
