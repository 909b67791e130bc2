"""From a folder of images of any size and kind to one block of bytes, decoded once and cached."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import cache_folder, cache_key, read_entry
from dcacn_nb.data.depth import BitsInUse
from dcacn_nb.data.image_file import HEIF_SUFFIXES, AnImage, UnreadableImage, count_pages, in_words, suffix_of
from dcacn_nb.data.listing import PACKED, Listing, few_words
from dcacn_nb.data.pixels import from_chw, measure_image, read_image, to_chw
from dcacn_nb.data.rows import new_rows, note_measured, read_measured, work_folder

log = logger(__name__)

LARGEST = 224  # px of the shorter side, where no size is asked for
PAGED = {  # kinds of files that may hold several pictures; the layers of .psd are parts of one
    *(".tif", ".tiff", ".gif", ".webp", ".apng", ".png", ".avif", ".avifs", ".mpo", ".dcx", ".fli", ".flc"),
    *HEIF_SUFFIXES,
}
NAMED = 10  # unreadable files that the log names; the protocol has all
AHEAD = 64  # decoded images that may wait to be written
NOTED = 30.0  # seconds between two notes of what has been measured
MANY = 1000  # files from which on measuring them is worth a note


def in_order(
    function: Callable,  # of one item
    items: Iterable,  # taken one by one
    ahead: int = 4096,  # results at most that wait to be taken: what is finished early stays in memory
    threads: "int | None" = None,  # None: one more than there are cores, at most 16
) -> "Generator[Any, None, None]":  # results in the order of the items
    "Results in order, from a few threads: Pillow lets go of Python's lock while it decodes."
    pool = ThreadPoolExecutor(threads or min(16, (os.cpu_count() or 1) + 1))
    waiting: deque[Future] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _with_bar(
    function: Callable, items: Sequence, title: str, progress: bool, ahead: int = 4096, before: int = 0
) -> Iterator:
    "Results in order, under a progress bar; so many items were dealt with before."
    with (
        tqdm(
            total=before + len(items),
            initial=before,
            desc=title,
            unit="image",
            disable=not progress,
            leave=False,
            delay=0.5,
        ) as bar,
        closing(in_order(function, items, ahead)) as results,
    ):
        for result in results:
            bar.update()
            yield result


def or_error(function: Callable) -> Callable:
    "`function`, but of an image that cannot be read the reason is returned, so one bad file need not end the loop."

    def attempt(item):
        try:
            return function(item)
        except UnreadableImage as error:
            return error.reason
        except MemoryError as error:
            return in_words(error)

    return attempt


def plan_size(
    sizes: "np.ndarray | list",  # (n,2) height and width of every image, px
    image_size: "int | None" = None,  # side asked for, px
) -> "tuple[tuple[int, int], int | None, str]":  # (height, width), side to fit or None, the rule in words
    "The common size of a set of images, and the rule that led to it."
    if image_size is not None:
        rule = f"shorter side to {image_size} px, then the central square (as asked)"
        return (image_size, image_size), image_size, rule
    sizes = np.asarray(sizes)
    height, width = map(int, sizes[0])
    equal = bool((sizes == sizes[0]).all())
    if equal and min(height, width) <= LARGEST and max(height, width) <= 2 * LARGEST:
        return (height, width), None, "all images have the same size: kept"
    median = float(np.median(sizes.min(1)))
    side = max(8, 8 * round(min(LARGEST, median) / 8))
    found = f"all images have {width} x {height} px" if equal else "sizes differ"
    rule = (
        f"{found}: shorter side to {side} px, the median ({median:g}) at most {LARGEST} in steps of 8, "
        "then the central square"
    )
    return (side, side), side, rule


def refuse_or_log(
    root: Path,
    bad: "dict[str, str]",  # file or sub-folder -> reason
    on_error: str,  # "raise" or "skip"
    before: int = 0,  # how many were logged earlier in the same work
) -> None:
    "Raise for the first unreadable file or folder, or log the first ones."
    if bad and on_error == "raise":
        name, reason = next(iter(bad.items()))
        kind = "folder" if (root / name).is_dir() else "file" if Path(name).suffix in PACKED else "image"
        raise ValueError(
            f"cannot read {kind} {root / name} ({reason}); {len(bad)} such file(s) so far; "
            "pass on_error='skip' to leave them out"
        )
    for name, reason in list(bad.items())[: max(0, NAMED - before)]:
        log.warning("skipped %s (%s)", root / name, reason)
    if before <= NAMED < before + len(bad):
        log.warning("further files that cannot be read are not named here")


def unread_pages(
    listing: Listing,
    progress: bool,  # show a bar
) -> "str | None":  # None: every file holds one picture
    "A sentence on the pages and frames of files of which only the first is read."
    paged = [number for number, name in enumerate(listing.files) if suffix_of(name) in PAGED]
    pages = _with_bar(lambda number: count_pages(listing.place(number)), paged, "counting pages", progress)
    return _more_pages({listing.files[number]: count - 1 for number, count in zip(paged, pages) if count > 1})


def _more_pages(more: "dict[str, int]") -> "str | None":
    "The sentence, from files and the pages of each beyond the first."
    total = sum(more.values())
    return f"{total:,} page{'s' * (total > 1)} or frames not read ({few_words(more)})" if more else None


def say_what_was_done(
    listing: Listing,
    rule: str = "",  # how sizes were fitted
) -> None:
    "Log what a person should know of a folder: what was left out, and if pictures were made smaller."
    for note in listing.notes:
        log.warning("%s: %s", listing.root, note)
    if "median" in rule:
        log.warning("%s: %s (another side: image_size, --image-size)", listing.root, rule)


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
    refuse_or_log(listing.root, listing.unreadable, on_error)
    target = None if cache is False else cache_folder(cache) / f"{cache_key(listing, image_size, channels)}.npy"
    found = None if target is None else read_entry(target)
    if found is None:
        with work_folder(target) as work:
            return _decode_all(listing, image_size, channels, on_error, target, work, progress)
    array, facts = found
    refuse_or_log(listing.root, facts["skipped"], on_error)
    check_any_left(listing, len(array), facts["skipped"])
    if "pages" not in facts:  # an entry from before these were noted
        facts["pages"] = unread_pages(listing, progress)
    return array, {**facts, "cached": True}


def _decode_all(
    listing: Listing,
    image_size: "int | None",
    channels: "int | None",
    on_error: str,
    target: "Path | None",
    work: "Path | None",
    progress: bool,
) -> "tuple[np.ndarray, dict]":
    "Measure, plan, decode in parallel, and store."
    measured, bad = _measure(listing, on_error, work, progress)
    chosen = np.flatnonzero(measured[:, 0] >= 0)
    sizes, grey, pages = measured[chosen, :2], measured[chosen, 2], measured[chosen, 3]
    channels = channels or (1 if grey.all() else 3)
    (height, width), side, rule = plan_size(sizes, image_size)
    more = {listing.files[chosen[i]]: int(pages[i]) - 1 for i in np.flatnonzero(pages > 1)}
    shape, source = (len(chosen), channels, height, width), str(listing.root)
    with new_rows(target, work, shape, chosen, source) as rows:
        refuse_or_log(listing.root, rows.skipped, on_error)  # those of an earlier call
        read = or_error(_reader(listing, (height, width), side, channels))
        left = chosen[rows.files :].tolist()
        for number, result in zip(left, _with_bar(read, left, "decoding", progress, AHEAD, rows.files)):
            name = listing.files[number]
            if isinstance(result, str):  # if it is refused, the next call begins with it
                refuse_or_log(listing.root, {name: result}, on_error, len(rows.skipped))
            rows.add(name, result)
        check_any_left(listing, rows.count, rows.skipped)
        facts = {"skipped": {**bad, **rows.skipped}, "resize": rule, "source": source, "pages": _more_pages(more)}
        array = rows.finish(facts)
    return array, {**facts, "cached": False}


def _reader(listing: Listing, shape: "tuple[int, int]", side: "int | None", channels: int) -> Callable:
    "A function from a file's number to its pixels (C,H,W). A header that lied about the size does no harm."
    used = BitsInUse(listing)

    def read(number: int) -> np.ndarray:
        pixels = read_image(listing.place(number), side, channels, used)
        if pixels.shape[1:] != shape:
            pixels = to_chw(from_chw(pixels).resize(shape[::-1]))
        return pixels

    return read


def _measure(
    listing: Listing, on_error: str, work: "Path | None", progress: bool
) -> "tuple[np.ndarray, dict[str, str]]":  # (N,4) as of `read_measured`; file -> reason of those it lacks
    "Sizes and kinds of all files from their headers, noted in the work folder now and then."
    found = read_measured(work, len(listing.files))
    known = found[:, 0] >= 0
    bad: dict[str, str] = {}
    noted = time.monotonic()
    for number, result in check_all(listing, np.flatnonzero(~known).tolist(), progress, _facts):
        if isinstance(result, str):
            bad[listing.files[number]] = result
        else:
            found[number] = result
        if work is not None and time.monotonic() - noted > NOTED:
            note_measured(work, found)
            noted = time.monotonic()
    refuse_or_log(listing.root, bad, on_error)
    check_any_left(listing, len(listing.files) - len(bad), bad)
    if work is not None and not known.all() and len(listing.files) > MANY:
        note_measured(work, found)
    return found, bad


def _facts(path: AnImage) -> "tuple[int, int, int, int]":
    "Height, width, whether it is grey, and pages."
    height, width, grey = measure_image(path)
    return height, width, grey, count_pages(path) if suffix_of(str(path)) in PAGED else 1


def check_all(
    listing: Listing,
    numbers: "list[int]",  # of the images looked at
    progress: bool,  # show a bar
    function: Callable,  # of whatever opens one
) -> "Iterator[tuple[int, Any]]":
    "Number and result of each image; the reason where one cannot be read."
    look = or_error(lambda number: function(listing.place(number)))
    before = len(listing.files) - len(numbers)
    yield from zip(numbers, _with_bar(look, numbers, "measuring", progress, before=before))


def readable(
    listing: Listing,
    skipped: "dict[str, str]",  # file -> reason
) -> Sequence[int]:
    "The images of which there are pixels."
    if not skipped:
        return range(len(listing.files))
    return [number for number, name in enumerate(listing.files) if name not in skipped]


def check_any_left(listing: Listing, readable: int, bad: "dict[str, str]") -> None:
    "Refuse a folder of which no image can be read, also when single files may be skipped."
    if not readable:
        example = next(iter(bad.items()))
        raise ValueError(
            f"none of the {len(listing.files)} image files in {listing.root} can be read, "
            f"e.g. {example[0]} ({example[1]})"
        )
