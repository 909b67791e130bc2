"""One call turns a name, a folder or an array into a set of images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcacn_nb.core.checks import check_in, check_int, describe
from dcacn_nb.core.seeds import generator
from dcacn_nb.core.text import logger
from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.catalogue import SOURCES, SYNSETS
from dcacn_nb.data.depth import deep_colours, few_levels
from dcacn_nb.data.feature_set import FEATURE_SUFFIXES, FeatureSet, load_features
from dcacn_nb.data.folders import decode_folder, plan_size, readable, say_what_was_done
from dcacn_nb.data.image_set import ImageSet, make_protocol
from dcacn_nb.data.imagenet import find_synsets
from dcacn_nb.data.listing import Listing, is_path_list, list_source
from dcacn_nb.data.pixels import from_chw, to_chw
from dcacn_nb.data.scratch import float_rows
from dcacn_nb.data.sources import read_source
from dcacn_nb.data.tables import is_dataset

log = logger(__name__)

LIMIT_STREAM = 10  # names the draw of subsets among all draws of a seed


def load_images(
    source: object,  # a known source; a folder, files, tar or parquet files, a data set; an array, an ImageSet
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
) -> "ImageSet | FeatureSet":  # and apart from images or features labels, names, paths, protocol
    """Images from a name, a folder or an array, with a record of what was loaded.

    Arrays are (N,H,W[,C]) or (N,C,H,W). `shard-{000..010}.tar` and `*.tar` name several tar files; a data set is one of
    Hugging Face `datasets`, or a folder that `save_to_disk` wrote. Nothing is unpacked.
    Features are taken, too: a FeatureSet, an array (N,D) of floats, a .npy, .npz or .safetensors file.
    """
    check_in("split", split, ("all", "train", "test"))
    check_in("channels", channels, (None, 1, 3))
    limit = None if limit is None else check_int("limit", limit, low=1)
    image_size = None if image_size is None else check_int("image_size", image_size, low=1)
    options = dict(image_size=image_size, channels=channels, on_error=on_error, progress=progress, cache=cache)
    features = as_features(source)
    if features is not None:
        if image_size or channels or split != "all":
            raise ValueError("features have no image_size, channels or split; leave these out")
        chosen = choose(len(features), limit, seed)
        return features if chosen is None else features.subset(chosen)
    say_which(source)
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
    if is_files(source):
        listing = list_source(source)
        return _load_listing(source_name(source, listing), listing, limit, seed, options)
    images = source if isinstance(source, ImageSet) else from_arrays(source)  # type: ignore[arg-type]  # it checks
    return _finish(images, limit, seed, image_size, channels)


def as_features(source: object) -> "FeatureSet | None":
    "Features where features are given: a set of them, a file of them, an array (N,D) of floats. None: images."
    if isinstance(source, FeatureSet):
        return source
    if isinstance(source, np.ndarray) and source.ndim == 2 and source.dtype.kind == "f":
        copy: Any = float_rows(source) if source.dtype == np.float32 else source  # FeatureSet copies other kinds
        return FeatureSet(copy)
    if isinstance(source, torch.Tensor) and source.ndim == 2 and source.is_floating_point():
        return FeatureSet(source)
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() in FEATURE_SUFFIXES:
        return load_features(source) if Path(source).expanduser().is_file() else None
    return None


def _from_source(source: str, root: "str | Path", split: str, download: bool) -> ImageSet:
    "An image set from what `read_source` read; unlabelled images stay a set of their own."
    raw = read_source(source, root, split, download)
    extra = None
    if raw.extra is not None:
        extra = ImageSet(raw.extra, protocol=make_protocol(f"{source} unlabelled", raw.extra))
    protocol = make_protocol(source, raw.images, split, raw.splits, extra_unlabeled=0 if extra is None else len(extra))
    return ImageSet(raw.images, raw.labels, raw.class_names, protocol=protocol, extra=extra)


def is_files(
    source: object,
) -> bool:
    "Whether a source has to be listed (a folder, files, a data set), rather than a known source or images in memory."
    known = isinstance(source, str) and source in SOURCES
    return (isinstance(source, (str, Path)) and not known) or is_path_list(source) or is_dataset(source)


def source_name(source: object, listing: Listing) -> str:
    "What the record of loading calls a source."
    return str(source) if isinstance(source, (str, Path)) else str(listing.root)


def say_which(
    source: object,
) -> None:
    "Say what is meant where a known source and a folder here have the same name."
    if isinstance(source, str) and source in SOURCES and Path(source).is_dir():
        text = "%r means the known source (dcacn data list), not the folder of that name here; for the folder, give %r"
        log.warning(text, source, f"./{source}")


def choose(count: int, limit: "int | None", seed: int) -> "np.ndarray | None":
    "Positions of a random subset, in order; a smaller limit with the same seed gives a part of it. None: all."
    if limit is None or limit >= count:
        return None
    return torch.randperm(count, generator=generator(seed, LIMIT_STREAM))[:limit].sort().values.numpy()


def choose_files(
    listing: Listing,
    limit: "int | None",  # files at most; None: all
    seed: int,  # of the draw
) -> "tuple[Listing, int | None, int | None]":  # the chosen files; limit and seed, None if nothing was left out
    "A random subset of the files of a listing, blind to labels, in order."
    chosen = choose(len(listing.files), limit, seed)
    if chosen is None:
        return listing, None, None
    return listing.subset(chosen.tolist()), limit, seed


def _finish(
    images: ImageSet, limit: "int | None", seed: int, image_size: "int | None", channels: "int | None"
) -> ImageSet:
    "Subset, channels and size of a set in memory."
    chosen = choose(len(images), limit, seed)
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
    listing, kept_limit, kept_seed = choose_files(listing, limit, seed)
    array, facts = decode_folder(listing, **options)
    remarks = [facts["pages"], deep_colours(listing), few_levels(array)]
    notes = [*listing.notes, *filter(None, remarks)]
    say_what_was_done(replace(listing, notes=tuple(notes)), facts["resize"])
    kept = readable(listing, facts["skipped"])
    images = torch.from_numpy(array)
    protocol = make_protocol(
        source,
        images,
        split,
        resize=facts["resize"],
        skipped=listing.all_unread(facts["skipped"]),
        ignored=listing.ignored,
        notes=notes,
        limit=kept_limit,
        seed=kept_seed,
    )
    labels = None if listing.labels is None else np.array(listing.labels)[kept]
    return ImageSet(images, labels, listing.class_names, [listing.full_name(i) for i in kept], protocol)


def load_like(
    source: object,  # array, folder, image files or ImageSet
    shape: "tuple[int, int, int]",  # (C,H,W) of the images trained on
    **options: Any,  # on_error, progress, ... for load_images
) -> ImageSet:  # (N,C,H,W); H and W differ from `shape` only if the trained images were not square
    "Images in the form that a network was trained on: sizes are fitted; only a folder's colours are converted."
    features = as_features(source)
    if features is not None:
        raise ValueError(f"X must be images, like those trained on, got features: {features!r}")
    channels, height, width = shape
    images = load_images(
        source,
        image_size=height if height == width else None,
        channels=channels if is_files(source) else None,
        **options,
    )
    assert isinstance(images, ImageSet)  # features were refused
    if images.images.shape[1] != channels:
        raise ValueError(
            f"X must have {channels} channel(s), like the images trained on, got {images.images.shape[1]}; "
            f"load_images(X, channels={channels}) converts"
        )
    return images
