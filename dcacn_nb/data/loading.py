"""One call turns a name, a folder or an array into a set of images."""

import difflib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcacn_nb.core.checks import check_in, check_int, describe
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.catalogue import SOURCES, SYNSETS
from dcacn_nb.data.folders import decode_folder, plan_size
from dcacn_nb.data.image_set import ImageSet, make_protocol
from dcacn_nb.data.imagenet import find_synsets
from dcacn_nb.data.listing import Listing, list_images
from dcacn_nb.data.pixels import from_chw, to_chw
from dcacn_nb.data.sources import read_source

log = logging.getLogger(__name__)

LIMIT_STREAM = 10  # names the draw of subsets among all draws of a seed


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
    options = dict(image_size=image_size, channels=channels, on_error=on_error, progress=progress, cache=cache)
    if isinstance(source, str) and source in SYNSETS:
        if download:
            raise ValueError(f"download must be False for {source}: {SOURCES[source][-1]}")
        return _load_listing(source, find_synsets(source, root, split), limit, seed, options, split)
    if isinstance(source, str) and source in SOURCES:
        return _finish(_from_source(source, root, split, download), limit, seed, image_size, channels)
    if split != "all":
        raise ValueError(
            f"split={split!r} is for known sources; {describe(source)} has no splits: give the part you want"
        )
    if isinstance(source, (str, Path)):
        return _load_listing(str(source), list_images(_existing_folder(source)), limit, seed, options)
    images = source if isinstance(source, ImageSet) else from_arrays(source)  # type: ignore[arg-type]  # it checks
    return _finish(images, limit, seed, image_size, channels)


def _from_source(source: str, root: "str | Path", split: str, download: bool) -> ImageSet:
    "An image set from what `read_source` read; unlabelled images stay a set of their own."
    raw = read_source(source, root, split, download)
    extra = None
    if raw.extra is not None:
        extra = ImageSet(raw.extra, protocol=make_protocol(f"{source} unlabelled", raw.extra))
    protocol = make_protocol(source, raw.images, split, raw.splits, extra_unlabeled=0 if extra is None else len(extra))
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


def _finish(
    images: ImageSet, limit: "int | None", seed: int, image_size: "int | None", channels: "int | None"
) -> ImageSet:
    "Subset, channels and size of a set in memory."
    chosen = _choose(len(images), limit, seed)
    if chosen is not None:
        images = images.subset(chosen)
        images.protocol.update(limit=limit, seed=seed)
    images = _resized(images, image_size, channels)
    extra = None if images.extra is None else _resized(images.extra, image_size, channels)
    return images if extra is images.extra else replace(images, extra=extra)


def _resized(images: ImageSet, image_size: "int | None", channels: "int | None") -> ImageSet:
    "The set with another size or number of channels, by the rule for folders; itself if there is nothing to do."
    n, c, h, w = images.images.shape
    height, width = (h, w) if image_size is None else (image_size, image_size)
    if channels in (None, c) and (height, width) == (h, w):
        return images
    pixels = torch.empty((n, channels or c, height, width), dtype=torch.uint8)
    for i in range(n):
        pixels[i] = torch.from_numpy(np.array(to_chw(from_chw(images.images[i].numpy()), image_size, channels)))
    rule = images.protocol.get("resize", "none") if image_size is None else plan_size([], image_size)[2]
    changed = {"image_size": [height, width], "channels": pixels.shape[1], "resize": rule}
    return replace(images, images=pixels, protocol={**images.protocol, **changed})


def _load_listing(
    source: str, listing: Listing, limit: "int | None", seed: int, options: dict, split: str = "all"
) -> ImageSet:
    "Decode the chosen files of a listing; a subset is chosen before anything is decoded."
    chosen = _choose(len(listing.files), limit, seed)
    if chosen is not None:
        kept_labels = None if listing.labels is None else [listing.labels[i] for i in chosen]
        listing = replace(listing, files=[listing.files[i] for i in chosen], labels=kept_labels)
    array, facts = decode_folder(listing, **options)
    for note in listing.notes:
        log.warning("%s: %s", source, note)
    kept = [i for i, name in enumerate(listing.files) if name not in facts["skipped"]]
    images = torch.from_numpy(array)
    protocol = make_protocol(
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


def load_like(
    source: object,  # array, folder or ImageSet
    shape: "tuple[int, int, int]",  # (C,H,W) of the images trained on
    **options: Any,  # on_error, progress, ... for load_images
) -> ImageSet:  # (N,C,H,W); H and W differ from `shape` only if the trained images were not square
    "Images in the form that a network was trained on: sizes are fitted; only a folder's colours are converted."
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
