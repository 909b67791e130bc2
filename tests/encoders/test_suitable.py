"Which path suits a folder."

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits, load_sample_images

from dcacn_nb.encoders import choose_encoder
from dcacn_nb.encoders.suitable import solidity


def put(folder, pictures):
    "Pictures as PNG files."
    folder.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


def tiles(grey: bool):
    "Parts of two photographs, in colour or grey."
    parts = [p[y : y + 120, x : x + 120] for p in load_sample_images().images for y in (0, 150) for x in (0, 200, 400)]
    return [np.asarray(Image.fromarray(p).convert("L")) for p in parts] if grey else parts


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_photographs_take_the_encoder(grey, tmp_path):
    "Colour or black and white."
    choice = choose_encoder(put(tmp_path / "photos", tiles(grey)))
    assert choice.encoder == "lite0" and "look like photographs" in choice.why and "--encoder none" in choice.why


def test_digits_take_none(tmp_path):
    "Drawings on an even ground are learned from scratch."
    digits = [(image * 15).astype(np.uint8) for image in load_digits().images[:30]]
    choice = choose_encoder(put(tmp_path / "digits", digits))
    assert choice.encoder is None and re.search("(9[0-9]|100)% of a sample look like drawings", choice.why)


SHIRT = [
    (30, 20),
    (50, 10),
    (70, 10),
    (90, 20),
    (105, 50),
    (90, 60),
    (84, 45),
    (84, 110),
    (36, 110),
    (36, 45),
    (30, 60),
    (15, 50),
]
SHOE = [(10, 60), (50, 58), (70, 35), (100, 40), (108, 75), (108, 90), (10, 90)]
BAG = [(20, 40), (45, 40), (50, 20), (70, 20), (75, 40), (100, 40), (105, 100), (15, 100)]


def product(outline, ground, seed):
    "A grey photo of one thing: woven cloth, brighter on one side, on an even ground."
    rng = np.random.default_rng(seed)
    side, shift = 120, rng.integers(-6, 7, 2)
    mask = Image.new("1", (side, side))
    ImageDraw.Draw(mask).polygon([(int(x + shift[0]), int(y + shift[1])) for x, y in outline], fill=1)
    cloth = 100 + np.linspace(0, 70, side)[None] + rng.normal(0, 12, (side, side))
    return np.where(np.asarray(mask), cloth.clip(0, 255), ground).astype(np.uint8)


@pytest.mark.parametrize("size", [28, 120])
@pytest.mark.parametrize("ground", [0, 255], ids=["black", "white"])
def test_grey_products_on_an_even_ground_take_the_encoder(ground, size, tmp_path):
    "Photographs of single things, as shops have them; also very small ones."
    shots = [product((SHIRT, SHOE, BAG)[i % 3], ground, i) for i in range(12)]
    small = [np.asarray(Image.fromarray(shot).resize((size, size), Image.Resampling.BOX)) for shot in shots]
    assert choose_encoder(put(tmp_path / "shop", small)).encoder == "lite0"


@pytest.mark.parametrize("ground", [0, 255], ids=["black", "white"])
@pytest.mark.parametrize("width", [1, 3, 6])
def test_line_drawings_take_none(width, ground, tmp_path):
    "Strokes of any width."
    rng, drawings = np.random.default_rng(width), []
    for _ in range(12):
        drawing = Image.new("L", (100, 100), ground)
        points = [tuple(map(int, point)) for point in rng.integers(10, 90, (5, 2))]
        ImageDraw.Draw(drawing).line(points, fill=255 - ground, width=width)
        drawings.append(np.asarray(drawing))
    assert choose_encoder(put(tmp_path / "lines", drawings)).encoder is None


def test_solidity_is_the_share_of_the_hull():
    "A square fills its hull, an L seven eighths less an eighth, a frame its sides; nothing fills nothing."
    square, ell, frame = np.zeros((3, 64, 64))
    square[10:50, 20:60] = 200
    ell[10:50, 10:50] = 200
    ell[10:30, 30:50] = 0
    frame[10:50, 10:50] = 200
    frame[15:45, 15:45] = 0
    assert solidity(square) == pytest.approx(1)
    assert solidity(ell) == pytest.approx(1200 / 1400)
    assert solidity(frame) == pytest.approx(1 - 30**2 / 40**2)
    assert solidity(np.zeros((64, 64))) == 0


def test_files_that_cannot_be_read_do_not_decide(tmp_path):
    "They are named when the images are read."
    folder = put(tmp_path / "photos", tiles(False)[:3])
    (folder / "broken.png").write_bytes(b"no picture")
    assert choose_encoder(folder).encoder == "lite0"


def test_photos_of_telephones_are_looked_at(tmp_path):
    "HEIC files need a package that Pillow does not know of by itself."
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = tmp_path / "drawings"
    folder.mkdir()
    for i, digit in enumerate(load_digits().images[:6]):
        tone = np.kron(np.uint8(digit * 15), np.ones((16, 16), np.uint8))
        pillow_heif.from_pillow(Image.fromarray(tone).convert("RGB")).save(folder / f"{i}.heic")
    assert choose_encoder(folder).encoder is None
