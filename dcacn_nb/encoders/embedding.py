"""`embed`: features of images by a pretrained encoder, computed once, kept, and resumed where a call was stopped."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dcacn_nb.core.checks import check_in, check_int, describe
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import cache_folder, cache_key
from dcacn_nb.data.catalogue import SOURCES, SYNSETS
from dcacn_nb.data.depth import deep_colours, few_levels
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.data.folders import check_any_left, readable, refuse_or_log, say_what_was_done, unread_pages
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.imagenet import find_synsets
from dcacn_nb.data.listing import Listing, list_source
from dcacn_nb.data.loading import as_features, choose_files, is_files, load_images, say_which, source_name
from dcacn_nb.data.mirror import must_stay_upright
from dcacn_nb.encoders.feature_cache import Entry, FileRows, MemoryRows, entry_key, held, read_entry, sweep
from dcacn_nb.encoders.names import PLACES, check_name
from dcacn_nb.encoders.stream import RULES, Pictures, Plan, encode_all, pictures_of_files, pictures_of_tensor
from dcacn_nb.method.views import multicrop_for

log = logger(__name__)

BATCH, GPU_BATCH = 8, 128  # more is not faster on a CPU (13 to 16 ms of a core per image), and takes memory
_PREFIX = "features-"  # of the folders of entries in the cache


def embed(
    source: object,  # a folder, image files, a known source, an array (N,H,W[,C]) or (N,C,H,W), an ImageSet; features
    encoder: object = "lite0",  # for load_encoder: a name, a file; or an Encoder
    *,
    weights: "str | Path | None" = None,  # for load_encoder: a local file, with the name of its architecture
    views: int = 0,  # random crops of each image that are encoded beside the whole image
    thumbnails: int = 64,  # side of the small pictures that are kept to show, px; 0: none
    on_error: str = "raise",  # "raise" or "skip" unreadable files of a folder
    limit: "int | None" = None,  # a random subset of this many images, blind to labels
    seed: int = 0,  # of the subset and the views
    root: "str | Path" = "data",  # where known sources live or are downloaded to
    split: str = "all",  # "train", "test" or "all" (known sources only)
    download: bool = False,  # fetch missing files of a torchvision source
    progress: bool = True,  # show a bar
    cache: "str | Path | bool | None" = None,  # where features are kept; None: arrays nowhere; False: all nowhere
    batch_size: "int | None" = None,  # images encoded at once; None: 8 on a CPU, else 128
    device: str = "auto",  # for load_encoder
    engine: str = "auto",  # for load_encoder
    observer: "Callable[[int], object]" = lambda images: None,  # called after every batch with its number of images
) -> FeatureSet:  # features, and apart from them small pictures, labels, names, paths, protocol
    "Features of images by a pretrained encoder; a second call finds them computed, an interrupted one continues."
    _check_options(views, thumbnails, on_error, limit, seed, batch_size)
    _check_weights(encoder, weights)
    given = as_features(source)
    if given is not None:
        if weights is not None:
            raise ValueError(f"weights must be None where features are given, got {str(weights)!r}; leave it out")
        return _as_asked(given, encoder, views, limit, seed)
    listing, images, facts = _find(source, limit, seed, root, split, download, progress)
    encoder = _loaded(encoder, weights, device, engine)
    plan = _plan(encoder, images, thumbnails, views, seed)
    batch_size = batch_size or (BATCH if pick_device(device).type == "cpu" else GPU_BATCH)
    work = dict(batch_size=batch_size, on_error=on_error, progress=progress, observer=observer)
    if listing is not None:
        refuse_or_log(listing.root, listing.unreadable, on_error)
        found = _compute(pictures_of_files(listing), _identity(listing, cache), encoder, plan, cache, work)
        check_any_left(listing, len(found.arrays["features"]), found.skipped)
        remark = few_levels(found.arrays["images"]) if "images" in found.arrays else None
        deep = deep_colours(listing)
        notes = [*listing.notes, *filter(None, [unread_pages(listing, progress), deep, remark])]
        listing = replace(listing, notes=tuple(notes))
        say_what_was_done(listing)
        return _of_files(listing, found, facts | _protocol(found, plan, encoder))
    kept = cache if cache is not None or facts["source"] in SOURCES else False
    found = _compute(pictures_of_tensor(images), _identity(images, kept), encoder, plan, kept, work)
    arrays = found.arrays
    shown = torch.from_numpy(arrays["images"]) if "images" in arrays else images.images if thumbnails else None
    features = torch.from_numpy(arrays["features"])
    protocol = {**images.protocol, **_protocol(found, plan, encoder)}
    return FeatureSet(features, shown, images.labels, images.class_names, images.paths, protocol)


def _check_options(
    views: object, thumbnails: object, on_error: object, limit: object, seed: object, batch_size: object
) -> None:
    "Refuse wrong options before any work."
    check_int("views", views, low=0)
    check_int("thumbnails", thumbnails, low=0)
    check_in("on_error", on_error, ("raise", "skip"))
    check_int("seed", seed, low=0)
    for name, value in (("batch_size", batch_size), ("limit", limit)):
        if value is not None:
            check_int(name, value, low=1)


def _check_weights(encoder: object, weights: "str | Path | None") -> None:
    "Refuse a weights file that does not go with the encoder, before any work."
    if weights is None:
        return
    if not isinstance(encoder, (str, Path)):
        raise ValueError(f"weights must be None with an encoder that is loaded already, got {str(weights)!r}")
    check_name(str(encoder), weights)


def _loaded(encoder: object, weights: "str | Path | None", device: str, engine: str) -> Any:
    "The encoder itself where a name or a file is given."
    if isinstance(encoder, (str, Path)):
        from dcacn_nb.encoders.encoder import load_encoder

        return load_encoder(str(encoder), device=device, engine=engine, weights=weights)
    if not callable(encoder) or not hasattr(encoder, "about"):
        raise TypeError(f"encoder must be a name, a file or what load_encoder returns, got {describe(encoder)}")
    return encoder


def _as_asked(features: FeatureSet, encoder: object, views: int, limit: "int | None", seed: int) -> FeatureSet:
    "Features that are there already, if they are what was asked for."
    known = features.protocol["encoder"]
    asked = getattr(encoder, "name", None)
    if isinstance(encoder, (str, Path)):
        asked = Path(encoder).stem if str(encoder).endswith(".onnx") else str(encoder).removeprefix("timm:")
    if known is not None and known.get("name") != asked:
        raise ValueError(
            f"encoder must be the one that computed these features, {known.get('name')!r}, got {asked!r}; "
            "to use another one, embed the images again"
        )
    found = features.features.shape[1] - 1 if features.features.ndim == 3 else 0
    if views and views != found:
        raise ValueError(f"views must be {found}, as these features have, got {views}; embed the images again for more")
    chosen: Any = load_images(features, limit=limit, seed=seed)
    return chosen


def _find(
    source: Any, limit: "int | None", seed: int, root: "str | Path", split: str, download: bool, progress: bool
) -> "tuple[Listing | None, Any, dict]":
    "The files of a folder, or images in memory, and what is known about the loading."
    check_in("split", split, ("all", "train", "test"))
    known = isinstance(source, str) and source in SOURCES
    say_which(source)
    if is_files(source) or (known and source in SYNSETS and not download):
        if split != "all" and not known:
            raise ValueError(f"split={split!r} is for known sources; a folder has no splits: give the part you want")
        listing = find_synsets(source, root, split) if known else list_source(source)
        listing, limit, chosen_seed = choose_files(listing, limit, seed)
        name = str(source) if known else os.path.abspath(os.path.expanduser(source_name(source, listing)))
        return listing, None, {"source": name, "split": split, "limit": limit, "seed": chosen_seed}
    images: Any = load_images(
        source, root=root, split=split, download=download, limit=limit, seed=seed, progress=progress
    )
    return None, replace(images, extra=None), images.protocol


def _plan(encoder: Any, images: "ImageSet | None", thumbnails: int, views: int, seed: int) -> Plan:
    "What is made of every image. Images in memory that are small already serve as their own small pictures."
    if images is not None and max(images.images.shape[2:]) <= thumbnails:
        thumbnails = 0
    resample = Image.Resampling[getattr(encoder, "interpolation", "bilinear").upper()]
    if not views:
        return Plan(encoder.size, encoder.dim, resample, thumbnails)
    upright = images is not None and must_stay_upright(images.images)[0]
    crops = multicrop_for(encoder.size, upright=upright)
    return Plan(encoder.size, encoder.dim, resample, thumbnails, (crops, views, seed))


def _protocol(found: Entry, plan: Plan, encoder: Any) -> dict:
    "What computed the features, in plain values."
    rule = f"squeezed to a square of {plan.size} px; of pictures over 2:1, the central part"
    views = None if plan.crops is None else {"count": plan.views, "seed": plan.crops[2]}
    # features from the cache: by the engine of then, and files that may be elsewhere now
    about = encoder.about() | {"engine": found.about.get("engine")}
    return {"encoder": about, "resize": rule, "views": views}


def _identity(images: "Listing | ImageSet", cache: object) -> "str | None":
    "What decides whether features found in the cache are those of these images."
    if cache is False:
        return None
    return _pixels_digest(images) if isinstance(images, ImageSet) else cache_key(images, None, None)


def _decisive(encoder: Any) -> dict:
    "What decides an encoder's features: engines agree to the fifth digit, but not those that compute in bfloat16."
    about = dict(encoder.about())
    for place in PLACES:  # the checksum of a file counts, not its place
        about.pop(place, None)
    engine = str(about.pop("engine", ""))
    pixels = {name: getattr(encoder, name, None) for name in ("interpolation", "mean", "std")}
    return about | pixels | {"bfloat16": engine.endswith("bf16")}


def _compute(pictures: Pictures, identity: "str | None", encoder: Any, plan: Plan, cache: Any, work: dict) -> Entry:
    "The rows of all images: from the cache, or computed, and then kept there."
    shapes, count = plan.shapes(), len(pictures.names)
    if cache is False:
        _check_first(pictures, work)
        rows = MemoryRows(shapes, count, encoder.about())
        encode_all(pictures, encoder, plan, rows, **work)
        return rows.finish()
    home = cache_folder(cache)
    entry = home / f"{_PREFIX}{entry_key(RULES, identity, _decisive(encoder), plan.thumbnail, repr(plan.crops))}"
    whole = read_entry(entry, shapes)
    if whole is None:
        sweep(home, _PREFIX)
        with held(entry):
            whole = read_entry(entry, shapes)  # another process may have made it
            if whole is None:
                return _fill(entry, pictures, encoder, plan, work)
    refuse_or_log(pictures.root, whole.skipped, work["on_error"])
    return whole


def _check_first(pictures: Pictures, work: dict) -> None:
    "If one bad file is to end the call, let it do so before the work and not in the middle."
    if work["on_error"] == "raise":
        pictures.check("raise", work["progress"])


def _fill(entry: Path, pictures: Pictures, encoder: Any, plan: Plan, work: dict) -> Entry:
    "Compute an entry of the cache, or the rest of one."
    rows = FileRows(entry, plan.shapes(), len(pictures.names), encoder.about(), str(pictures.root))
    try:
        if rows.done.images:
            log.info("resumed: %d of %d images were encoded before", rows.done.images, len(pictures.names))
            refuse_or_log(pictures.root, rows.done.skipped, work["on_error"])
        else:
            _check_first(pictures, work)
        encode_all(pictures, encoder, plan, rows, **work)
        return rows.finish()
    finally:
        rows.close()


def _pixels_digest(images: ImageSet) -> str:
    "SHA-256 of images in memory."
    digest = hashlib.sha256(repr(tuple(images.images.shape)).encode())
    for block in images.images.split(4096):
        digest.update(block.contiguous().numpy())
    return digest.hexdigest()


def _of_files(listing: Listing, found: Entry, protocol: dict) -> FeatureSet:
    "Features with what the folder says about its files."
    arrays, skipped = found.arrays, found.skipped
    kept, here = readable(listing, skipped), os.getcwd()
    labels = None if listing.labels is None else np.array(listing.labels)[kept]
    paths = [os.path.join(here, listing.full_name(i)) for i in kept]
    facts = dict(
        skipped=listing.all_unread(skipped), ignored=listing.ignored, notes=list(listing.notes), count=len(kept)
    )
    facts |= {"splits": {protocol["split"]: len(kept)}}
    images = torch.from_numpy(arrays["images"]) if "images" in arrays else None
    features = torch.from_numpy(arrays["features"])
    return FeatureSet(features, images, labels, listing.class_names, paths, protocol | facts)
