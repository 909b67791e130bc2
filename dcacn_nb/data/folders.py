"""From a folder of pictures of any size and kind to one block of bytes, decoded once and kept on disk."""

import hashlib
import json
import logging
import math
import os
import shutil
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.files import atomic_write

log = logging.getLogger(__name__)


IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True)
class Listing:
    "What a folder holds: image files in a fixed order, and labels if sub-folders name classes."

    root: Path  # the folder
    files: list  # paths relative to it, with forward slashes
    labels: "list | None" = None  # one class number per file
    class_names: "list | None" = None  # one name per class
    ignored: dict = field(default_factory=dict)  # suffix -> count of the files that are no images
    notes: tuple = ()  # decisions taken, in words


def _hidden(name: str) -> bool:
    "Names that no person put there: dot files, and what macOS adds to archives."
    return name.startswith(".") or name == "__MACOSX"


def _walk(folder: Path) -> Iterator[Path]:
    "Visible files below `folder`, sorted; links are followed, a folder is entered once even if links form a ring."

    def stop(error):
        raise error

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=stop):
        real = os.path.realpath(here)
        folders[:] = [] if real in seen else sorted(name for name in folders if not _hidden(name))
        if real not in seen:
            yield from (Path(here, name) for name in sorted(files) if not _hidden(name))
        seen.add(real)


def _images_in(folder: Path, root: Path, ignored: Counter) -> list:
    "Image files anywhere below `folder`, relative to `root`; other files are counted in `ignored`."
    found = []
    for path in _walk(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(path.relative_to(root).as_posix())
        else:
            ignored[path.suffix.lower() or "(no suffix)"] += 1
    return found


def list_classes(
    root: "str | Path",  # folder that holds the class folders
    folders: list,  # the class folders' names, in label order
    class_names: "list | None" = None,  # readable names, same order; None: the folders' names
) -> Listing:  # files class by class, with labels
    "The images of given class folders; folders without an image are left out, and a note says so."
    root, ignored, files, labels, kept, empty = Path(root), Counter(), [], [], [], []
    for folder, name in zip(folders, class_names or folders):
        found = _images_in(root / folder, root, ignored)
        if not found:
            empty.append(folder)
            continue
        files += found
        labels += [len(kept)] * len(found)
        kept.append(name)
    notes = (f"sub-folders without images, left out: {', '.join(empty)}",) if empty else ()
    return Listing(root, files, labels, kept, dict(ignored), notes)


def list_images(
    folder: "str | Path",  # class sub-folders that hold images, or images side by side
) -> Listing:  # files in sorted order, labels None if nothing names classes
    "What is in a folder of images: two or more sub-folders with images are classes, everything else is unlabelled."
    folder = Path(folder)
    visible = sorted(entry for entry in folder.iterdir() if not _hidden(entry.name))
    subfolders = [entry.name for entry in visible if entry.is_dir()]
    listing = list_classes(folder, subfolders)
    ignored = Counter(listing.ignored)
    loose = [entry.name for entry in visible if not entry.is_dir()]
    ignored.update(
        Path(name).suffix.lower() or "(no suffix)" for name in loose if Path(name).suffix.lower() not in IMAGE_SUFFIXES
    )
    flat = [name for name in loose if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    _check_layout(folder, listing, flat, ignored, subfolders)
    if flat:
        return Listing(folder, flat, ignored=dict(ignored), notes=listing.notes)
    if len(listing.class_names) == 1:
        note = f"only one sub-folder ({listing.class_names[0]}) holds images: one class is no grouping, so taken as unlabelled"
        return Listing(folder, listing.files, ignored=dict(ignored), notes=(*listing.notes, note))
    return Listing(folder, listing.files, listing.labels, listing.class_names, dict(ignored), listing.notes)


def _check_layout(folder: Path, listing: Listing, flat: list, ignored: Counter, subfolders: list) -> None:
    "Refuse folders whose layout has no single reading, saying what was found."
    if flat and listing.files:
        raise ValueError(
            f"folder {folder} holds {len(flat)} images beside {len(listing.class_names)} sub-folders with images "
            f"(e.g. {flat[0]} and {listing.files[0]}): move the images into class folders, or give one sub-folder"
        )
    if not flat and not listing.files:
        found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items())) or "no files"
        raise ValueError(
            f"folder {folder} holds no images: found {found} and {len(subfolders)} sub-folders; "
            f"image files end in {' '.join(IMAGE_SUFFIXES)}"
        )
    if listing.files and {name.lower() for name in listing.class_names} <= SPLIT_NAMES:
        raise ValueError(
            f"folder {folder} holds {', '.join(listing.class_names)}: these are splits, not classes; "
            f"give one of them, e.g. {folder / listing.class_names[0]}"
        )


UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)  # what Pillow raises on bad files


def is_grey(
    image: Image.Image,  # opened, not necessarily decoded
) -> bool:  # judged by the file's mode: an RGB file of grey pixels counts as colour
    "Whether a file stores grey values (bilevel, grey, grey with alpha, 16 bit, float, or a palette of greys)."
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB"), (-1, 3))  # decodes the file: palettes are rare, and small
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")


def to_8bit(
    image: Image.Image,  # any mode Pillow reads
) -> Image.Image:  # mode "L" or "RGB"
    "One 8-bit picture: 16 bit scaled by the full range 0..65535, float by 0..1, transparency composited on white."
    if image.mode == "I" or image.mode.startswith("I;16"):
        values, top = np.asarray(image).astype(np.int64), 65535
    elif image.mode == "F":
        values, top = np.asarray(image).astype(np.float64), 1
    else:
        if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
            grey = is_grey(image)
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("L" if grey else "RGB")
        return image.convert("L" if is_grey(image) else "RGB")
    if not (values.min() >= 0 and values.max() <= top):  # written so that NaN fails too
        raise ValueError(f"values must lie in 0..{top}, found {values.min()}..{values.max()}")
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def fit_square(
    image: Image.Image,  # "L" or "RGB"
    size: int,  # side of the result, px
) -> Image.Image:  # (size, size)
    "Shorter side to `size` (bilinear with antialiasing), then the central square: torchvision's Resize and CenterCrop."
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if short != size:
        target = max(size, int(size * long / short))
        width, height = (size, target) if width <= height else (target, size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def to_chw(
    image: Image.Image,  # "L" or "RGB"
    size: "int | None" = None,  # side in px; None keeps the size
    channels: "int | None" = None,  # 1 or 3; None keeps them
) -> np.ndarray:  # (C,H,W) uint8
    "A picture as an array, channels first."
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = fit_square(image, size)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_image(
    path: "str | Path",  # an image file; of several frames, the first
    size: "int | None" = None,  # side in px; None keeps the size
    channels: "int | None" = None,  # 1 or 3; None: as the file has it
) -> np.ndarray:  # (C,H,W) uint8
    "One file, turned upright by its EXIF tag, as 8-bit pixels."
    with Image.open(path) as image:
        return to_chw(to_8bit(ImageOps.exif_transpose(image)), size, channels)


def measure_image(
    path: "str | Path",  # an image file
) -> tuple:  # (height, width, grey?) as it will stand upright
    "Size and kind of a file from its header alone; no pixel is decoded."
    with Image.open(path) as image:
        width, height = image.size
        sideways = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the axes
        return (width, height, is_grey(image)) if sideways else (height, width, is_grey(image))


def _parallel(function: Callable, items: list, title: str, progress: bool) -> Iterator:
    "Results in order, from a few threads: Pillow lets go of Python's lock while it decodes."
    pool = ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1))
    try:
        with tqdm(total=len(items), desc=title, unit="image", disable=not progress, leave=False) as bar:
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
    sizes: list,  # (height, width) of every image
    image_size: "int | None" = None,  # side asked for, px
) -> tuple:  # ((height, width), side to fit or None, the rule in words)
    "The common size of a set of images, and the rule that led to it."
    if image_size is not None:
        return (
            (image_size, image_size),
            image_size,
            f"shorter side to {image_size} px, then the central square (as asked)",
        )
    if len(set(sizes)) == 1:
        return sizes[0], None, "all images have the same size: kept"
    median = float(np.median([min(size) for size in sizes]))
    side = max(8, 8 * round(min(224, median) / 8))
    return (
        (side, side),
        side,
        f"sizes differ: shorter side to {side} px, the median ({median:g}) at most 224 in steps of 8, then the central square",
    )


def default_cache() -> Path:  # the folder; not made yet
    "Where decoded images are kept: the environment's DCACN_CACHE, else dcacn_nb in the user's cache folder."
    if os.environ.get("DCACN_CACHE"):
        return Path(os.environ["DCACN_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dcacn_nb"


def cache_key(
    listing: Listing,  # the files
    image_size: "int | None",  # as asked
    channels: "int | None",  # as asked
) -> str:  # 64 hexadecimal digits
    "SHA-256 of what decides the pixels: folder, names, sizes, times of change, and the size and channels asked for."
    digest = hashlib.sha256(
        json.dumps([1, str(listing.root.resolve()), image_size, channels]).encode()
    )  # 1: version of the rules
    for name in listing.files:
        try:
            stat = os.stat(listing.root / name)
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        except OSError:  # a link to nowhere: it will fail, and be reported, when it is decoded
            digest.update(f"{name}\0missing\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@contextmanager
def _new_array(target: "Path | None", shape: tuple) -> Iterator[np.ndarray]:
    "A zeroed uint8 array to fill: in memory, or in a file that gets the name `target` only when the block ends well."
    if target is None:
        yield np.zeros(shape, np.uint8)
        return
    _sweep(target.parent)
    _check_room(target.parent, math.prod(shape))
    work = Path(mkdtemp(dir=target.parent, prefix=".part-"))
    try:
        array = np.lib.format.open_memmap(work / "part.npy", "w+", np.uint8, shape)
        yield array
        array.flush()
        os.replace(work / "part.npy", target)
    finally:  # also on Ctrl-C; only a killed process leaves its work folder, which nobody reads
        shutil.rmtree(work, ignore_errors=True)


def _sweep(folder: Path) -> None:
    "Remove what killed processes left more than a day ago."
    for work in folder.glob(".part-*"):
        try:
            if time.time() - work.stat().st_mtime > 86400:
                shutil.rmtree(work, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process swept it


def _check_room(folder: Path, size: int) -> None:
    "Refuse before the work if the disk is too small: a full disk kills a process that writes to a memory map."
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            f"cache folder {folder} has {free / 2**30:.1f} GB free, the decoded images need {size / 2**30:.1f} GB; "
            "give another folder as cache= or in the environment variable DCACN_CACHE"
        )


def _cache_folder(cache: "str | Path | None") -> Path:
    "The cache folder, made if need be, or an error that says how to name another one."
    folder = default_cache() if cache is None else Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(mkdtemp(dir=folder, prefix=".probe-")).rmdir()  # permissions alone do not tell on every file system
    except OSError as error:
        raise OSError(
            f"cache folder {folder} is not writable ({error}); give another folder as cache=, "
            "set the environment variable DCACN_CACHE, or pass cache=False to decode into memory"
        ) from error
    return folder


def _read_cache(target: Path) -> "tuple | None":
    "(array, facts) of a complete cache entry, else None. Mode 'c' maps the file privately: nobody can spoil it."
    try:
        facts = json.loads(target.with_suffix(".json").read_text("utf-8"))
        array = np.load(target, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:  # absent, cut short, or no JSON: decoded afresh
        log.debug("no cache entry %s: %s", target, error)
        return None
    return (array, facts) if list(array.shape) == facts.get("shape") and array.dtype == np.uint8 else None


def _refuse_or_log(root: Path, bad: dict, on_error: str) -> None:
    "Raise for the first unreadable file, or log them all."
    if bad and on_error == "raise":
        name, reason = next(iter(bad.items()))
        raise ValueError(
            f"cannot read image {root / name} ({reason}); {len(bad)} such file(s) so far; on_error='skip' goes on without them"
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
) -> tuple:  # ((n,C,H,W) uint8 array, facts: skipped {file: reason}, resize rule, cached)
    "Decode every file once into one memory-mapped array, or find it decoded already."
    image_size = None if image_size is None else check_int("image_size", image_size, low=1)
    check_in("channels", channels, (None, 1, 3))
    check_in("on_error", on_error, ("raise", "skip"))
    target = None if cache is False else _cache_folder(cache) / f"{cache_key(listing, image_size, channels)}.npy"
    found = None if target is None else _read_cache(target)
    if found is None:
        return _decode_all(listing, image_size, channels, on_error, target, progress)
    array, facts = found
    _refuse_or_log(listing.root, facts["skipped"], on_error)
    return array[: facts["count"]], {**facts, "cached": True}


def _decode_all(listing: Listing, image_size, channels, on_error: str, target: "Path | None", progress: bool) -> tuple:
    "Measure, plan, decode in parallel, and store."
    headers = list(
        _parallel(_or_error(lambda name: measure_image(listing.root / name)), listing.files, "measuring", progress)
    )
    bad = {name: header for name, header in zip(listing.files, headers) if isinstance(header, str)}
    _refuse_or_log(listing.root, bad, on_error)
    good = [(name, header) for name, header in zip(listing.files, headers) if not isinstance(header, str)]
    if not good:
        raise ValueError(
            f"none of the {len(listing.files)} image files in {listing.root} can be read, e.g. {next(iter(bad.items()))}"
        )
    channels = channels or (1 if all(grey for _, (_, _, grey) in good) else 3)
    (height, width), side, rule = plan_size([header[:2] for _, header in good], image_size)
    shape = (len(good), channels, height, width)
    with _new_array(target, shape) as array:
        broken = _fill(array, [listing.root / name for name, _ in good], side, channels, progress)
        late = {good[i][0]: reason for i, reason in broken.items()}
        _refuse_or_log(listing.root, late, on_error)
        if len(late) == len(good):
            raise ValueError(
                f"none of the {len(listing.files)} image files in {listing.root} can be read, e.g. {next(iter(late.items()))}"
            )
        for new, old in enumerate(i for i in range(len(good)) if i not in broken):
            if new != old:  # close the gaps which unreadable files left
                array[new] = array[old]
        facts = {"shape": list(shape), "count": len(good) - len(late), "skipped": {**bad, **late}, "resize": rule}
        if target is None:
            return array[: facts["count"]], {**facts, "cached": False}
        atomic_write(target.with_suffix(".json"), json.dumps(facts).encode())
    stored, _ = _read_cache(target)
    return stored[: facts["count"]], {**facts, "cached": False}


def _fill(array: np.ndarray, paths: list, side: "int | None", channels: int, progress: bool) -> dict:
    "Decode `paths` into the rows of `array`; returns {row: reason} for those that failed."

    def put(i):
        array[i] = read_image(paths[i], side, channels)

    results = _parallel(_or_error(put), list(range(len(paths))), "decoding", progress)
    return {i: reason for i, reason in enumerate(results) if reason is not None}
