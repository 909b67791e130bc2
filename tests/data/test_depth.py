"What pixels use of their range: 12 of 16 bits, white on nothing, few levels, and large photos of one size."

import struct
import zlib

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from pictures import load, noise, save
from PIL import Image

from dcacn_nb.data.depth import deep_colours, few_levels
from dcacn_nb.data.image_file import UnreadableImage
from dcacn_nb.data.listing import Listing
from dcacn_nb.data.pixels import read_image, white_for
from dcacn_nb.encoders import embed


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_white_is_what_the_bits_in_use_can_hold(tmp_path, caplog, bits):
    draw, root = np.random.default_rng(0), tmp_path / "x"
    scans = [draw.integers(0, 2**bits, (16, 16)).astype(np.uint16) for _ in range(6)]
    for i, scan in enumerate(scans):
        save(root / f"{i}.png", scan)
    save(root / "dark.png", scans[0] // 8)
    images = load(root)
    wanted = np.rint(np.stack([*scans, scans[0] // 8]) * (255 / (2**bits - 1)))
    assert np.array_equal(images.images[:, 0].numpy(), wanted), "one rule for all: the dark one stays dark"
    assert len(images.images.unique()) > 200
    assert (f"of 16 bits only {bits} are in use" in caplog.text) == (bits < 16)
    top = max(scan.max() for scan in scans)
    places = [f"(values up to {top}, in {i}.png)" for i in range(6) if scans[i].max() == top]
    assert bits == 16 or any(place in caplog.text for place in places)
    assert embed(root, FakeEncoder(), progress=False).images.float().std() > 20


@pytest.mark.parametrize(
    "top, said", [(45800, ""), (0, ""), (3000, "only 12 are in use (values up to 3000, in 50.png)")]
)
@pytest.mark.parametrize("read", ["load", "embed"])
def test_few_scans_among_many_photos_share_one_white(tmp_path, caplog, top, said, read):
    "A sample of any images would miss them: each would be stretched by its own maximum, and a word said of no bits."
    photo, scan = noise(16, 16), np.full((16, 16), top, np.uint16)
    for i in range(82):
        save(tmp_path / "x" / (f"{i:02}.png" if i in (50, 51) else f"{i:02}.jpg"), photo)
    save(tmp_path / "x" / "50.png", scan)
    save(tmp_path / "x" / "51.png", scan // 10)
    found = load(tmp_path / "x") if read == "load" else embed(tmp_path / "x", FakeEncoder(), progress=False)
    assert ("of 16 bits" in caplog.text) == bool(said) and said in caplog.text
    if read == "load":
        bright, dark = (int(found.images[i].max()) for i in (50, 51))
        assert dark == pytest.approx(bright / 10, abs=1), "one white for both"


@pytest.mark.parametrize("read", ["load", "embed"])
def test_hot_pixels_do_not_darken_a_folder(tmp_path, caplog, read):
    "In pictures of the sample, which would make all of them dark, and in others, which would be darker than the rest."
    for i in range(60):
        scan = noise(40, 40, 1, seed=i).astype(np.uint16) * 15
        if i % 10 == 0:
            scan[3, 4] = 65535
        save(tmp_path / "x" / f"{i:02}.png", scan)
    source = tmp_path / "x"
    found = load(source) if read == "load" else embed(source, FakeEncoder(), thumbnails=40, progress=False)
    means = found.images.float().mean((1, 2, 3))
    assert abs(means - 119).max() < 8 and "only 12 are in use" in caplog.text
    if read == "load":
        assert found.images[0, 0, 3, 4] == 255


def test_a_few_bright_spots_are_a_signal(tmp_path):
    "Stars, or cells that shine: more pixels than a camera has hot ones."
    sky = np.full((200, 200), 150, np.uint16)
    sky[:6, :4], sky[20, :8] = 20000, 40000
    save(tmp_path / "x" / "sky.png", sky)
    found = load(tmp_path / "x").images[0, 0]
    assert found[100, 100] == 1 and 70 < found[0, 0] < 90 and 140 < found[20, 0] < 170


def test_more_than_16_bits_are_refused(tmp_path):
    path = tmp_path / "x" / "wide.tif"
    path.parent.mkdir()
    Image.fromarray(np.linspace(0, 500_000, 2500).reshape(50, 50).astype(np.int32)).save(path)
    with pytest.raises(UnreadableImage, match="values must be in 0..65535, found up to"):
        read_image(path)


def test_what_counts_as_white():
    assert [white_for(v) for v in (0, 255, 256, 1023, 3103, 4096, 16384, 65535)] == [
        *(255, 255, 1023, 1023, 4095, 16383, 65535, 65535)
    ]


@pytest.mark.parametrize("file", ["x.png", "x.tif", "alpha.png"])
@pytest.mark.parametrize("read", ["load", "embed"])
def test_colours_of_16_bits_are_remarked(tmp_path, caplog, file, read):
    "Written by another library, since Pillow cannot; in a folder with others."
    pixels = np.random.default_rng(0).integers(0, 2**16, (16, 16, 4 if "alpha" in file else 3)).astype(np.uint16)
    (tmp_path / "x").mkdir()
    deep_file(tmp_path / "x" / file, pixels)
    save(tmp_path / "x" / "a.png", noise(16, 16))
    load(tmp_path / "x") if read == "load" else embed(tmp_path / "x", FakeEncoder(), progress=False)
    assert f"colour images of 16 bits, such as {file}, are read by their upper 8 bits" in caplog.text
    assert np.abs(read_image(tmp_path / "x" / file)[0].astype(int) - pixels[..., 0] // 256).max() <= (
        255 if "alpha" in file else 0
    )
    assert deep_colours(Listing(tmp_path / "x", ["a.png"])) is None and deep_colours(Listing(tmp_path, [])) is None


def deep_file(path, pixels):
    "A PNG or TIFF file of 16-bit colours, without compression."
    height, width, channels = pixels.shape
    if path.suffix == ".tif":
        entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 150), (259, 3, 1, 1), (262, 3, 1, 2)]
        entries += [(273, 4, 1, 200), (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, pixels.nbytes)]
        table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        head = (b"II*\0" + struct.pack("<I", 8) + table).ljust(150, b"\0") + struct.pack("<HHH", 16, 16, 16)
        path.write_bytes(head.ljust(200, b"\0") + pixels.astype("<u2").tobytes())
        return
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_white_icons_on_nothing_are_seen(tmp_path, mode):
    icon = np.zeros((16, 16, 4), np.uint8)
    icon[..., :3] = 255
    icon[4:9, 4:9, 3] = 255
    Image.fromarray(icon).convert(mode).save(tmp_path / "icon.png")
    pixels = read_image(tmp_path / "icon.png", None, 3)
    assert (pixels[:, 4:9, 4:9] == 255).all() and (pixels[:, :4] == 0).all()


def test_dark_icons_stay_on_white(tmp_path):
    icon = np.zeros((16, 16, 4), np.uint8)
    icon[4:9, 4:9, 3] = 255
    Image.fromarray(icon).save(tmp_path / "icon.png")
    pixels = read_image(tmp_path / "icon.png")
    assert (pixels[:, 4:9, 4:9] == 0).all() and (pixels[:, :4] == 255).all()
    Image.fromarray(np.full((8, 8, 4), (255, 255, 255, 0), np.uint8)).save(tmp_path / "nothing.png")
    assert (read_image(tmp_path / "nothing.png") == 255).all()


def test_few_levels_are_remarked(tmp_path, caplog):
    constant, few = np.full((5, 1, 8, 8), 7, np.uint8), np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8) % 6 + 3
    assert few_levels(constant).startswith("every pixel has the value 7 of 255")
    assert few_levels(few) == "the images use only 6 of 256 grey levels, from 3 to 8"
    assert few_levels(noise(8, 8).transpose(2, 0, 1)[None]) is None
    for i in range(3):
        save(tmp_path / "x" / f"{i}.png", np.full((8, 8, 3), 200, np.uint8))
    assert "every pixel has the value 200" in load(tmp_path / "x").protocol["notes"][0]
    caplog.clear()
    embed(tmp_path / "x", FakeEncoder(), progress=False)
    assert "every pixel has the value 200" in caplog.text


@pytest.mark.parametrize("last", [600, 599])
def test_large_photos_are_made_smaller_whether_their_sizes_are_equal_or_not(tmp_path, caplog, last):
    for i, height in enumerate([600, 600, last]):
        save(tmp_path / "x" / f"{i}.jpg", noise(height, 800, seed=i))
    images = load(tmp_path / "x")
    assert images.images.shape == (3, 3, 224, 224)
    assert "shorter side to 224 px" in images.protocol["resize"] and "shorter side to 224 px" in caplog.text
    assert load(tmp_path / "x", image_size=300).images.shape == (3, 3, 300, 300)


@pytest.mark.parametrize("size, kept", [((224, 224), True), ((96, 448), True), ((225, 225), False), ((96, 449), False)])
def test_small_images_of_one_size_are_kept(tmp_path, size, kept):
    for i in range(2):
        save(tmp_path / "x" / f"{i}.png", noise(*size, seed=i))
    assert (load(tmp_path / "x").images.shape[2:] == size) == kept
