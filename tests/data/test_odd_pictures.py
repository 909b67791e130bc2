"Pictures from strangers: formats, modes, tags, sizes, names and damage; each is read rightly or refused by name."

import io
import struct
import threading

import numpy as np
import pytest
from odd_pictures import drill, jpeg_with_tag, strip_png, write_odd
from pictures import class_tree, load, noise, save
from PIL import Image, ImageFile, ImageOps

from dcacn_nb.data import image_file, pixels
from dcacn_nb.data.image_file import Room, UnreadableImage, open_image
from dcacn_nb.data.pixels import measure_image, read_image, read_upright


def test_odd_pictures_are_read_rightly_or_refused_by_name(tmp_path):
    found = drill(tmp_path, 120, seed=1)
    assert found["read"] > 60 and found["refused"] > 10


@pytest.mark.slow
def test_a_folder_of_odd_pictures(tmp_path):
    "What is read and what is skipped make up the whole, and each image is that of its path."
    made = write_odd(tmp_path / "x", range(150), seed=2)
    images = load(tmp_path / "x", on_error="skip")
    assert len(images) + len(images.protocol["skipped"]) + sum(images.protocol["ignored"].values()) == len(made)
    good = {str(tmp_path / "x" / odd.name) for odd in made if odd.size is not None}
    hidden = {path for path in good if path.rpartition("/")[2].startswith(".")}
    assert good - hidden <= set(images.paths)
    size = images.images.shape[2]
    for path, row in list(zip(images.paths, images.images))[::10]:
        np.testing.assert_array_equal(read_image(path, size, 3), row.numpy())
    again = load(tmp_path / "x", on_error="skip")  # from the cache
    assert again.paths == images.paths and bool((again.images == images.images).all())


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "I;16"])
def test_turned_tiff_scans_are_upright(tmp_path, turn, mode):
    "Pillow turns TIFF by itself; a grey one that is mapped into memory comes out with rows of the wrong length."
    grey = noise(30, 50, 1)
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    (tmp_path / "x").mkdir()
    picture.save(tmp_path / "x" / "scan.tif", tiffinfo={0x0112: turn})
    wanted = Image.fromarray(grey).convert("CMYK" if mode == "CMYK" else "L").convert("L")
    wanted.getexif()[0x0112] = turn
    wanted = np.asarray(ImageOps.exif_transpose(wanted))
    assert measure_image(tmp_path / "x" / "scan.tif")[:2] == wanted.shape
    np.testing.assert_array_equal(load(tmp_path / "x", channels=1).images[0, 0].numpy(), wanted)


@pytest.mark.parametrize("kind", range(14))
def test_an_orientation_of_any_type_does_no_harm(tmp_path, kind):
    "A tag of the wrong type, with none, one or many values: the picture is read without it."
    for count in (0, 1, 2, 7):
        path = tmp_path / f"{count}.jpg"
        path.write_bytes(jpeg_with_tag(kind, count, b"\0\6\0\0"))
        assert measure_image(path)[:2] == read_image(path).shape[1:]
        assert read_image(path).shape[1:] in ((30, 40), (40, 30))


ERRORS = [struct.error, TypeError, KeyError, SyntaxError, MemoryError, RecursionError, OverflowError, AssertionError]


@pytest.mark.parametrize("error", [*ERRORS, ZeroDivisionError, AttributeError, Image.DecompressionBombError])
def test_whatever_a_decoder_raises_is_skipped_by_name(tmp_path, monkeypatch, error):
    root, true_load = class_tree(tmp_path / "x", each=3), ImageFile.ImageFile.load

    def broken(self):
        if self.fp is not None and str(getattr(self.fp, "name", "")).endswith("1.png"):
            raise error("odd")
        return true_load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", broken)
    with pytest.raises(ValueError, match=r"ant/1.png \(.*odd.*on_error='skip'"):
        load(root, cache=False)
    images = load(root, cache=False, on_error="skip")
    assert list(images.protocol["skipped"]) == ["ant/1.png", "bee/1.png"] and len(images) == 4
    with pytest.raises(UnreadableImage, match="1.png.*odd"):
        read_image(root / "ant" / "1.png")


def test_too_little_memory_once_is_not_remembered(tmp_path, monkeypatch):
    root = class_tree(tmp_path / "x", each=2)
    with monkeypatch.context() as patch:
        patch.setattr(pixels, "_convert", lambda *args: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(ValueError, match="none of the 4 image files.*MemoryError"):
            load(root, on_error="skip")
    assert len(load(root, on_error="skip")) == 4


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (3, 60_000)])
def test_long_strips_take_little_memory(tmp_path, shape):
    import tracemalloc

    path = tmp_path / "strip.png"
    path.write_bytes(strip_png(*shape))
    tracemalloc.start()
    assert read_image(path, 224).shape == (1, 224, 224)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    picture = pixels.fit_square(Image.new("L", shape, 7), 224)
    assert picture.size == (224, 224) and picture.getextrema() == (7, 7)


def test_a_size_beyond_the_bound_is_refused_before_anything_is_decoded(tmp_path):
    root = class_tree(tmp_path / "x", ("ant",))
    (root / "ant" / "huge.png").write_bytes(strip_png(60_000, 60_000))
    with pytest.raises(ValueError, match="huge.png.*too large: it declares 3600000000 pixels.*on_error='skip'"):
        load(root)
    assert len(load(root, on_error="skip")) == 3


def test_a_very_large_picture_is_converted_in_bands(tmp_path, monkeypatch):
    "The same pixels as in one piece; where a small side is enough, about the same after a reduction."
    path = save(tmp_path / "a.png", noise(64, 50, seed=3))
    deep = tmp_path / "deep.png"
    Image.fromarray(noise(64, 50, 1).astype(np.uint16) * 16).save(deep)
    whole, whole_deep = read_image(path), read_image(deep)
    small = np.asarray(read_upright(path).resize((10, 10), Image.Resampling.BOX), int)
    monkeypatch.setattr(pixels, "LARGE", 400)
    np.testing.assert_array_equal(read_image(path), whole)
    np.testing.assert_array_equal(read_image(deep), whole_deep)
    reduced = read_upright(path, 5)
    assert reduced.size == (10, 13)
    assert abs(np.asarray(reduced.resize((10, 10), Image.Resampling.BOX), int) - small).mean() < 25


def test_only_so_many_pixels_are_decoded_at_once():
    room, log = Room(100), []

    def use(count):
        with room.for_pixels(count):
            log.append(room.used)

    threads = [threading.Thread(target=use, args=(count,)) for count in [40, 500, 60, 30, 100] * 20]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(log) == 100 and room.used == 0
    assert all(used <= 100 or used == 500 for used in log), "a larger one is alone"


def test_warnings_of_the_decoder_name_the_file(tmp_path, caplog, monkeypatch):
    path = save(tmp_path / "pano.png", noise(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    read_image(path)
    assert f"{path} is a very large picture" in caplog.text and "decompression bomb" not in caplog.text
    with pytest.warns(UserWarning, match="mine"), image_file.reading(path):
        thread = threading.Thread(target=lambda: __import__("warnings").warn("mine", stacklevel=1))
        thread.start()
        thread.join()
    assert "mine" not in caplog.text, "what other threads warn of is theirs"


@pytest.mark.parametrize("wrong", ["a.jpg", "a.tif", "a.gif", "a.bmp", "a", "IMG_2024.12.31"])
def test_content_decides_and_not_the_suffix(tmp_path, wrong):
    pixels_in = noise(12, 9)
    (tmp_path / "x").mkdir()
    file = io.BytesIO()
    Image.fromarray(pixels_in).save(file, "PNG")
    (tmp_path / "x" / wrong).write_bytes(file.getvalue())
    np.testing.assert_array_equal(load(tmp_path / "x").images[0].numpy().transpose(1, 2, 0), pixels_in)


def test_heic_under_another_name(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: pip install pillow-heif")
    heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(tmp_path / "a.heic")
    (tmp_path / "a.heic").rename(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (3, 48, 64)


def test_no_picture_starts_another_program(tmp_path):
    "Pillow would hand PostScript to Ghostscript."
    path = tmp_path / "a.jpg"
    Image.new("L", (20, 20)).save(path, "EPS")
    with pytest.raises(UnreadableImage, match="a.jpg"):
        read_image(path)


def test_a_file_is_not_mapped_while_it_is_decoded(tmp_path):
    "Whoever cuts a mapped file ends the process that reads it."
    path = tmp_path / "a.bmp"
    Image.fromarray(noise(8, 8, 1)).save(path)
    with open_image(path) as image:
        image.load()
        assert getattr(image, "map", None) is None
