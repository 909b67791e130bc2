"""From a folder of images of any size and kind to one block of bytes, decoded once and cached."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.files import atomic_write
from dcacn_nb.data.cache import cache_folder, cache_key, new_array, read_entry
from dcacn_nb.data.listing import Listing
from dcacn_nb.data.pixels import UNREADABLE, measure_image, read_image

log = logging.getLogger(__name__)


def _parallel(function: Callable, items: list, title: str, progress: bool) -> Iterator:
    "Results in order, from a few threads: Pillow lets go of Python's lock while it decodes."
    pool = ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1))
    try:
        with tqdm(total=len(items), desc=title, unit="image", disable=not progress, leave=False, delay=0.5) as bar:
            for start in range(0, len(items), 4096):  # a million waiting futures would fill the memory
                for result in pool.map(function, items[start : start + 4096]):
                    bar.update()
                    yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _or_error(function: Callable) -> Callable:
    "`function`, but what Pillow raises on bad files is returned as text, so one bad file need not end the loop."

    def attempt(item):
        try:
            return function(item)
        except UNREADABLE as error:
            return f"{type(error).__name__}: {error}"

    return attempt


def plan_size(
    sizes: "list[tuple[int, int]]",  # (height, width) of every image, px
    image_size: "int | None" = None,  # side asked for, px
) -> "tuple[tuple[int, int], int | None, str]":  # (height, width), side to fit or None, the rule in words
    "The common size of a set of images, and the rule that led to it."
    if image_size is not None:
        rule = f"shorter side to {image_size} px, then the central square (as asked)"
        return (image_size, image_size), image_size, rule
    if len(set(sizes)) == 1:
        return sizes[0], None, "all images have the same size: kept"
    median = float(np.median([min(size) for size in sizes]))
    side = max(8, 8 * round(min(224, median) / 8))
    rule = (
        f"sizes differ: shorter side to {side} px, the median ({median:g}) at most 224 in steps of 8, "
        "then the central square"
    )
    return (side, side), side, rule


def _refuse_or_log(root: Path, bad: "dict[str, str]", on_error: str) -> None:
    "Raise for the first unreadable file, or log them all."
    if bad and on_error == "raise":
        name, reason = next(iter(bad.items()))
        raise ValueError(
            f"cannot read image {root / name} ({reason}); {len(bad)} such file(s) so far; "
            "pass on_error='skip' to leave them out"
        )
    for name, reason in bad.items():
        log.warning("skipped %s (%s)", root / name, reason)


def decode_folder(
    listing: Listing,  # from list_images or list_classes
    image_size: "int | None" = None,  # side in px; None: see plan_size
    channels: "int | None" = None,  # 1 or 3; None: 1 if every file is grey, else 3
    on_error: str = "raise",  # "raise" or "skip" unreadable files
    cache: "str | Path | bool | None" = None,  # folder; None: default_cache(); False: memory, no cache
    progress: bool = True,  # show a bar
) -> "tuple[np.ndarray, dict]":  # (n,C,H,W) uint8; facts: skipped {file: reason}, resize rule, cached
    "Decode every file once into one memory-mapped array, or find it decoded already."
    image_size = None if image_size is None else check_int("image_size", image_size, low=1)
    check_in("channels", channels, (None, 1, 3))
    check_in("on_error", on_error, ("raise", "skip"))
    target = None if cache is False else cache_folder(cache) / f"{cache_key(listing, image_size, channels)}.npy"
    found = None if target is None else read_entry(target)
    if found is None:
        return _decode_all(listing, image_size, channels, on_error, target, progress)
    array, facts = found
    _refuse_or_log(listing.root, facts["skipped"], on_error)
    return array[: facts["count"]], {**facts, "cached": True}


def _decode_all(
    listing: Listing,
    image_size: "int | None",
    channels: "int | None",
    on_error: str,
    target: "Path | None",
    progress: bool,
) -> "tuple[np.ndarray, dict]":
    "Measure, plan, decode in parallel, and store."
    headers, bad = _measure_all(listing, on_error, progress)
    names = list(headers)
    channels = channels or (1 if all(grey for _, _, grey in headers.values()) else 3)
    (height, width), side, rule = plan_size([header[:2] for header in headers.values()], image_size)
    shape = (len(names), channels, height, width)
    with new_array(target, shape) as array:
        broken = _fill(array, [listing.root / name for name in names], side, channels, progress)
        late = {names[i]: reason for i, reason in broken.items()}
        _refuse_or_log(listing.root, late, on_error)
        _check_any_left(listing, len(names) - len(late), late)
        for new, old in enumerate(i for i in range(len(names)) if i not in broken):
            if new != old:  # close the gaps which unreadable files left
                array[new] = array[old]
        facts = {"shape": list(shape), "count": len(names) - len(late), "skipped": {**bad, **late}, "resize": rule}
        if target is None:
            return array[: facts["count"]], {**facts, "cached": False}
        atomic_write(target.with_suffix(".json"), json.dumps(facts).encode())
    stored = read_entry(target)
    if stored is None:
        raise OSError(f"cache entry {target} was removed or changed while it was written; load the images again")
    return stored[0][: facts["count"]], {**facts, "cached": False}


def _measure_all(listing: Listing, on_error: str, progress: bool) -> "tuple[dict[str, tuple], dict[str, str]]":
    "File -> (height, width, grey) of those whose header can be read, and file -> reason of the others."
    measure = _or_error(lambda name: measure_image(listing.root / name))
    headers = dict(zip(listing.files, _parallel(measure, listing.files, "measuring", progress)))
    bad = {name: header for name, header in headers.items() if isinstance(header, str)}
    _refuse_or_log(listing.root, bad, on_error)
    _check_any_left(listing, len(headers) - len(bad), bad)
    return {name: header for name, header in headers.items() if name not in bad}, bad


def _check_any_left(listing: Listing, readable: int, bad: "dict[str, str]") -> None:
    "Refuse a folder of which no image can be read, also when single files may be skipped."
    if not readable:
        example = next(iter(bad.items()))
        raise ValueError(
            f"none of the {len(listing.files)} image files in {listing.root} can be read, "
            f"e.g. {example[0]} ({example[1]})"
        )


def _fill(array: np.ndarray, paths: list, side: "int | None", channels: int, progress: bool) -> dict:
    "Decode `paths` into the rows of `array`; returns {row: reason} for those that failed."

    def put(i):
        array[i] = read_image(paths[i], side, channels)

    results = _parallel(_or_error(put), list(range(len(paths))), "decoding", progress)
    return {i: reason for i, reason in enumerate(results) if reason is not None}
