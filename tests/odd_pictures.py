"""Pictures from strangers: formats x modes x tags x sizes x names x damage, each a function of (seed, number)."""

import io
import struct
import time
import tracemalloc
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, __version__, features

from dcacn_nb.data.image_file import UnreadableImage
from dcacn_nb.data.pixels import measure_image, read_image, read_upright

MODES = {  # format -> modes that Pillow writes
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB"),
    "TGA": ("L", "RGB", "RGBA"),
    "PCX": ("L", "RGB"),
    "ICO": ("RGBA",),
    "DDS": ("RGB", "RGBA"),
    "SGI": ("L", "RGB"),
    "QOI": ("RGB", "RGBA"),
    "JPEG2000": ("L", "RGB"),
    "AVIF": ("RGB", "RGBA"),
    "MPO": ("RGB",),
}
SUFFIXES = {
    "PNG": (".png", ".PNG", ".apng"),
    "JPEG": (".jpg", ".JPG", ".jpeg", ".jpe", ".jfif"),
    "TIFF": (".tif", ".TIFF"),
    "PPM": (".ppm", ".pnm", ".pgm"),
    "JPEG2000": (".jp2", ".j2k"),
    "MPO": (".jpg",),
}
PILLOW = int(__version__.partition(".")[0])  # before 13 it misreads narrow PCX files and its own TIFF files in YCbCr
EXACT = ("PNG", "TIFF", "BMP", "PPM", "TGA", "PCX", "SGI", "QOI")  # formats without loss
TURNED = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "MPO")  # formats that hold an EXIF orientation
SIZES = ((1, 1), (1, 40), (37, 1), (8, 8), (30, 50), (50, 30), (33, 64), (3, 300), (257, 129))
NAMES = (
    *("plain", "two words", "-dash", "--on-error", ".", "a.b.c", "%s {} $(x)", "line\nbreak", "tab\there"),
    *("\x1b[31mred", "照片", "naïve", "=1+1", "'quoted\"", "x" * 240, b"\xff\xe9".decode("utf-8", "surrogateescape")),
)
DAMAGE = ("cut", "flips", "zeros", "garbage", "inserted", "other header", "empty", "text", "huge", "tag", "ring")


@dataclass(frozen=True)
class Odd:
    "One file."

    name: str
    data: bytes
    size: "tuple[int, int] | None"  # width and height when upright; None: damaged, so anything but a crash is right
    what: str  # for messages
    pixels: "np.ndarray | None" = None  # (H,W,3), where the format keeps them exactly


def odd_picture(
    seed: int,
    number: int,
) -> Odd:
    "The picture of that number."
    rng = np.random.default_rng([seed, number])
    kinds = [kind for kind in MODES if (kind != "AVIF" or features.check("avif")) and (kind != "PCX" or PILLOW >= 13)]
    kind = kinds[number % len(kinds)]
    modes = [mode for mode in MODES[kind] if mode != "YCbCr" or PILLOW >= 13]
    mode = modes[rng.integers(len(modes))]
    width, height = SIZES[rng.integers(len(SIZES))]
    width, height = (min(width, 256), min(height, 256)) if kind == "ICO" else (width, height)
    turn = int(rng.integers(1, 9)) if kind in TURNED and rng.random() < 0.6 else 1
    picture = _picture(rng, mode, width, height)
    data = _encoded(picture, kind, turn)
    suffixes = SUFFIXES.get(kind, (f".{kind.lower()}",))
    suffix = suffixes[rng.integers(len(suffixes))]
    if kind not in ("TGA", "PCX") and rng.random() < 0.1:
        suffix = (".jpg", ".png", ".bmp")[rng.integers(3)]  # a wrong one
    name = f"{NAMES[rng.integers(len(NAMES))]}{number}{suffix}"
    damage = DAMAGE[rng.integers(len(DAMAGE))] if rng.random() < 0.5 else ""
    what = f"{kind} {mode} {width}x{height} turned {turn} {damage}".strip()
    if not damage:
        exact = kind in EXACT and mode in ("1", "L", "P", "RGB", "CMYK")
        return Odd(name, data, (height, width) if turn >= 5 else (width, height), what, _upright(picture, turn, exact))
    return Odd(name, _damaged(rng, data, damage), None, what)


def _picture(rng: np.random.Generator, mode: str, width: int, height: int) -> Image.Image:
    "Noise in a mode; 16 bits of which 12 are used, floats from 0 to 1."
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 4096, (height, width)).astype(np.uint16))
    if mode == "F":
        return Image.fromarray(rng.random((height, width), np.float32))
    colour = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8))
    return colour if mode == "RGBA" else colour.convert("RGB").convert(mode)


def _encoded(picture: Image.Image, kind: str, turn: int) -> bytes:
    "The file of a picture, with an orientation."
    file, options = io.BytesIO(), {}
    if turn > 1 and kind == "TIFF":
        options["tiffinfo"] = {0x0112: turn}
    elif turn > 1:
        exif = Image.Exif()
        exif[0x0112] = turn
        options["exif"] = exif
    if kind == "MPO":
        options |= {"save_all": True, "append_images": [picture]}
    if kind == "ICO":
        options["sizes"] = [picture.size]
    picture.save(file, kind, **options)
    return file.getvalue()


def _upright(picture: Image.Image, turn: int, exact: bool) -> "np.ndarray | None":
    "The pixels that should be read, turned by Pillow in memory."
    if not exact:
        return None
    colour = picture.convert("RGB")
    colour.getexif()[0x0112] = turn
    return np.asarray(ImageOps.exif_transpose(colour))


def _damaged(rng: np.random.Generator, data: bytes, damage: str) -> bytes:
    "A file with something wrong."
    array = bytearray(data)
    at = int(rng.integers(len(array)))
    if damage == "cut":
        return bytes(array[:at])
    if damage == "flips":
        for i in rng.integers(0, len(array), int(rng.integers(1, 30))):
            array[i] ^= 1 << int(rng.integers(8))
    elif damage == "zeros":
        array[at : at + 64] = bytes(len(array[at : at + 64]))
    elif damage == "garbage":
        array[at:] = rng.bytes(len(array) - at)
    elif damage == "inserted":
        array[at:at] = rng.bytes(int(rng.integers(1, 40)))
    elif damage == "other header":
        array[:8] = (b"GIF89a\1\0", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"\xff\xd8\xff\xe0JFIF", b"8BPS\0\1\0\0")[
            at % 5
        ]
    elif damage == "empty":
        return b""
    elif damage == "text":
        return b"<html>404 not found</html>" * (at % 9)
    elif damage == "huge":
        return strip_png(*((1, 100_000), (100_000, 1), (60_000, 60_000), (0, 5), (2**31 - 1, 2**31 - 1))[at % 5])
    elif damage == "tag":
        return jpeg_with_tag(int(rng.integers(0, 14)), int(rng.integers(0, 5)), rng.bytes(4))
    else:
        return tiff_ring()
    return bytes(array)


def strip_png(width: int, height: int) -> bytes:
    "A small file that declares a size; with pixels where these are few."
    rows = bytes(height * (1 + width)) if width * height <= 200_000 else bytes(1000)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg_with_tag(kind: int, count: int, value: bytes) -> bytes:
    "A good picture whose EXIF orientation has a type, a count and a value that may be nonsense."
    ifd = struct.pack("<HHHI4sI", 1, 0x0112, kind, count, value, 0)
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "JPEG", exif=b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd)
    return file.getvalue()


def tiff_ring() -> bytes:
    "A TIFF file whose directory of pages leads back to itself."
    file = io.BytesIO()
    Image.new("L", (8, 8), 77).save(file, "TIFF")
    data = bytearray(file.getvalue())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    return bytes(data)


def write_odd(
    folder: Path,
    numbers: range,
    seed: int,
) -> "list[Odd]":
    "Write these pictures; what the file system refuses is left out."
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in numbers:
        odd = odd_picture(seed, number)
        (folder / odd.name).write_bytes(odd.data)
        made.append(odd)
    return made


def try_one(
    path: Path,
    odd: Odd,
) -> str:  # "read" or "refused"
    "Read one file in every way; AssertionError names what went wrong."
    try:
        height, width, grey = measure_image(path)
        pixels, small = read_image(path), read_image(path, 24, 3)
        upright = read_upright(path, 16)
    except UnreadableImage as error:
        assert odd.size is None, f"{odd.what}: {error}"
        assert str(path) in str(error), f"{odd.what}: the file is not named in {error}"
        return "refused"
    assert small.shape == (3, 24, 24) and small.dtype == pixels.dtype == np.uint8, odd.what
    assert upright.mode in ("L", "RGB"), odd.what
    if odd.size is not None:
        assert (width, height) == odd.size == pixels.shape[:0:-1], f"{odd.what}: {(width, height)}, {pixels.shape}"
        assert grey == (len(pixels) == 1), odd.what
    if odd.pixels is not None:
        assert np.array_equal(read_image(path, None, 3).transpose(1, 2, 0), odd.pixels), f"{odd.what}: other pixels"
    return "read"


def drill(
    folder: Path,  # scratch space
    count: int,
    seed: int = 0,
) -> dict:  # how many files were read and refused; the slowest, s; the largest amount of Python memory, MB
    "Try `count` pictures; the first that goes wrong raises AssertionError with its number."
    found: Counter = Counter()
    slowest, peak = 0.0, 0
    tracemalloc.start()
    for number in range(count):
        odd = odd_picture(seed, number)
        path = folder / odd.name
        path.write_bytes(odd.data)
        began = time.perf_counter()
        try:
            found[try_one(path, odd)] += 1
        except Exception as error:
            raise AssertionError(f"picture {number} of seed {seed} ({odd.what}): {error!r}") from error
        slowest = max(slowest, time.perf_counter() - began)
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        path.unlink()
    tracemalloc.stop()
    return {**found, "slowest": round(slowest, 3), "peak_mb": round(peak / 2**20, 1)}
