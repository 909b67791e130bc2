"""Image files of any origin: known by name or content, opened within bounds, and named in whatever goes wrong."""

import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError, features

from dcacn_nb.core.text import logger

log = logger(__name__)

HEIF_SUFFIXES = (".heic", ".heif", ".hif")  # what telephones write; read by the optional package pillow-heif
NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}  # drawn by another program, or not pictures
SIGNED = ("AVIF", "GIF", "JPEG", "JPEG2000", "PNG", "PSD", "QOI", "TIFF", "WEBP", "BMP")  # known by their first bytes
AT_ONCE = 64_000_000  # px that all threads may decode at the same time; a larger picture is decoded alone
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 256, 257  # tags of EXIF and TIFF
_SUFFIX = re.compile(r"\.[a-z][a-z0-9_~-]{0,6}")  # what counts as a suffix: not "4567" of "IMG.4567"


@dataclass(frozen=True)
class Inside:
    "An image inside another file. It is read where it is, and never written to the disk."

    name: str  # that file and the name in it, for messages
    read: Callable[[], bytes]  # its bytes; may raise whatever goes wrong

    def __str__(self) -> str:
        return self.name


AnImage = str | Path | Inside  # what can be opened


class UnreadableImage(ValueError):
    "An image file that cannot be read: which one, and why."

    def __init__(self, path: AnImage, reason: str):
        super().__init__(f"cannot read image {path} ({reason})")
        self.reason = reason


def in_words(error: BaseException) -> str:
    "Kind and text of an error."
    return f"{type(error).__name__}: {error}"


@contextmanager
def reading(
    path: AnImage,
) -> Iterator[None]:
    "Whatever a decoder raises or warns of in this block names the file."
    with _NAMED.reading(path):
        try:
            yield
        except UnreadableImage:
            raise
        except Exception as error:  # struct.error, KeyError, zlib.error, MemoryError: a decoder can raise anything
            raise UnreadableImage(path, in_words(error)) from error


class _NamedWarnings:
    "While files are read, Pillow's warnings go to the log with the name of the file that the thread is reading."

    def __init__(self) -> None:
        self._lock, self._readers, self._thread = threading.Lock(), 0, threading.local()
        self._before: Callable = warnings.showwarning

    @contextmanager
    def reading(self, path: AnImage) -> Iterator[None]:
        "The thread reads this file."
        outer, self._thread.path = getattr(self._thread, "path", None), path
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._before, warnings.showwarning = warnings.showwarning, self._show
        try:
            yield
        finally:
            self._thread.path = outer
            with self._lock:
                self._readers -= 1
                if not self._readers and warnings.showwarning == self._show:
                    warnings.showwarning = self._before

    def _show(self, message: Any, category: Any, *where: Any, **more: Any) -> None:
        "Log a warning of this thread's file; others go where they went before."
        path = getattr(self._thread, "path", None)
        if path is None:
            self._before(message, category, *where, **more)
        elif issubclass(category, Image.DecompressionBombWarning):
            log.warning("%s is a very large picture: it is decoded alone, which takes memory and time", path)
        else:
            log.warning("%s: %s", path, " ".join(str(message).split()))


_NAMED = _NamedWarnings()


class Room:
    "Pixels that all threads may decode at once. A picture larger than all the room waits until it is alone."

    def __init__(self, total: int):
        self.total, self.used, self._changed = total, 0, threading.Condition()

    @contextmanager
    def for_pixels(self, count: int) -> Iterator[None]:
        "Wait until there is room for a picture, and take it."
        with self._changed:
            self._changed.wait_for(lambda: not self.used or self.used + count <= self.total)
            self.used += count
        try:
            yield
        finally:
            with self._changed:
                self.used -= count
                self._changed.notify_all()


ROOM = Room(AT_ONCE)


def unreadable_kinds() -> "dict[str, str]":  # suffix -> what to do about it; empty where everything is installed
    "Kinds of image files that cannot be read here, because a package is missing."
    missing: dict[str, str] = {}
    if find_spec("pillow_heif") is None:
        missing |= dict.fromkeys(HEIF_SUFFIXES, "install pillow-heif to read such files: pip install pillow-heif")
    if not features.check("avif"):
        missing[".avif"] = "install a newer Pillow to read such files: pip install -U pillow"
    return missing


@cache
def _pillow_suffixes() -> "frozenset[str]":
    "The suffixes of all formats that Pillow reads as pictures; .mpo, several photos in one file, it opens as JPEG."
    Image.init()
    known = Image.registered_extensions().items()
    read = frozenset(suffix for suffix, kind in known if kind in Image.OPEN and kind not in NOT_READ)
    return read | {".avif", ".mpo"}


def image_suffixes() -> "frozenset[str]":
    "The suffixes of image files that can be read here: HEIC needs an optional package."
    return (_pillow_suffixes() | set(HEIF_SUFFIXES)) - unreadable_kinds().keys()


def suffix_of(name: str) -> str:
    "The suffix of a file name in lower case; empty if what follows the last dot is no suffix."
    suffix = os.path.splitext(name)[1].lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def is_image_inside(
    path: "str | Path",  # a regular file whose name does not say what it is
) -> bool:
    "Whether a file is an image by its first bytes and its header."
    try:
        with open(path, "rb") as file:
            start = file.read(16)
        known = [Image.OPEN[kind][1] for kind in SIGNED if _pillow_suffixes() and kind in Image.OPEN]
        if not (b"ftyp" in start or any(accept and accept(start) is True for accept in known)):
            return False
        with reading(path), open_image(path):
            return True
    except (OSError, UnreadableImage):
        return False


@cache
def _register_heif() -> bool:
    "Teach Pillow to open HEIC files, once in a process; whether that can be done."
    if find_spec("pillow_heif") is None:
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return True


def open_image(
    path: AnImage,
) -> Image.Image:  # its header is read, no pixel decoded
    "Open a regular file, or an image inside one, whatever its suffix; HEIC where pillow-heif is installed."
    if isinstance(path, Inside):
        file: Any = io.BytesIO(path.read())
    else:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe or a device would block
            raise OSError("not a regular file")
        file = path
    if suffix_of(str(path)) in HEIF_SUFFIXES:
        _register_heif()
    try:
        return _open(file)
    except UnidentifiedImageError:
        if _heif_inside(file) and _register_heif():
            return _open(file)
        raise


def _open(file: "str | Path | io.BytesIO") -> Image.Image:
    "Open with the formats that are read here, and within the bound on the size."
    _pillow_suffixes()  # makes Pillow know all its formats
    try:
        image = Image.open(file, formats=[kind for kind in Image.ID if kind not in NOT_READ])
    except UnidentifiedImageError:  # Pillow's text ends in an address in memory, another one in every process
        raise UnidentifiedImageError("not an image of a known kind") from None
    except Image.DecompressionBombError as error:  # the bound is Pillow's: twice PIL.Image.MAX_IMAGE_PIXELS
        size = str(error).partition("(")[2].partition(")")[0] or "its size"
        raise OSError(f"too large: it declares {size}; make it smaller, or leave it out") from error
    # Without a name, no memory map: Pillow 13 maps turned TIFF files with rows of the wrong length, and a map of a file
    # that is cut meanwhile ends the process.
    image.filename = ""
    return image


def _heif_inside(file: "str | Path | io.BytesIO") -> bool:
    "Whether a file of another suffix holds HEIC."
    if isinstance(file, io.BytesIO):
        start = file.getvalue()[:12]
    else:
        with open(file, "rb") as opened:
            start = opened.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")


def orientation(
    image: Image.Image,  # opened
) -> int:  # 1 to 8; 1, upright, where the tag is absent or broken
    "How a picture has to be turned, by its EXIF tag. Of a PNG file this decodes the pixels."
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a picture without a usable tag is still a picture
        log.debug("no orientation: %s", in_words(error))
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_size(
    image: Image.Image,  # opened
) -> "tuple[int, int]":  # width, height, px
    "The size after turning. Pillow turns TIFF by itself, and from some release on says so in advance."
    width, height = image.size
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        width, height = tags.get(_WIDTH, width), tags.get(_HEIGHT, height)
    return (height, width) if orientation(image) >= 5 else (width, height)


def _is_animated(path: AnImage) -> bool:
    "Whether a PNG file has the mark of an animation, which stands near its start."
    if isinstance(path, Inside):
        return b"acTL" in path.read()[: 2**14]
    if not stat.S_ISREG(os.stat(path).st_mode):
        return False
    with open(path, "rb") as file:
        return b"acTL" in file.read(2**14)


def count_pages(
    path: AnImage,
) -> int:  # pages or frames; 1 where it cannot be told
    "How many pictures a file holds, from its directory of pages."
    try:
        with reading(path):
            if suffix_of(str(path)) == ".png" and not _is_animated(path):
                return 1
            with open_image(path) as image:
                return int(getattr(image, "n_frames", 1))
    except UnreadableImage:
        return 1
