"Ten colours that readers can tell apart, and that small files do not merge."

import io
import itertools
import re

import numpy as np
import pytest
from PIL import Image
from project import PACKAGE

from dcacn_nb.report.figures.map import scatter_clusters
from dcacn_nb.report.palette import COLORS, DASHES, MARKERS, THEMES, color_of, dash_of, marker_of
from dcacn_nb.report.picture import Picture, compact_png

# Machado, Oliveira and Fernandes (2009), full severity; rows give red, green, blue
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9690]],
}
LEAST = {"normal": 0.1, "protanopia": 0.08, "deuteranopia": 0.06}  # smallest distance of two colours in OKLab
OKABE_ITO_WITH_GREY = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999")


def rgb(color: str) -> np.ndarray:
    "The three parts of a colour, 0 to 255."
    return np.array(list(bytes.fromhex(color[1:])))


def linear(color: str) -> np.ndarray:
    "Linear light, 0 to 1."
    c = rgb(color) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    "Ottosson's OKLab, in which distances are about as large as they look."
    to_cones = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]])
    to_lab = np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]])
    return to_lab @ np.cbrt(to_cones @ np.clip(light, 0, 1))


def smallest_distance(colors, vision) -> float:
    "Between any two of some colours, as a kind of eye sees them."
    seen = [oklab(np.asarray(VISION[vision]) @ linear(color)) for color in colors]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_told_apart(vision):
    "Any two of the ten colours; with the lighter grey that many palettes have, pink and grey would be one."
    assert len(COLORS) >= 10 and smallest_distance(COLORS, vision) > LEAST[vision]
    if vision == "deuteranopia":
        assert smallest_distance(OKABE_ITO_WITH_GREY, vision) < 0.02, "the wrong variant must be caught"


def test_visible_on_both_papers():
    "Every colour has some contrast to white and to black paper."
    luminance = lambda color: linear(color) @ [0.2126, 0.7152, 0.0722] + 0.05
    for _, paper in THEMES.values():
        for color in COLORS:
            low, high = sorted((luminance(color), luminance(paper)))
            assert high / low > 1.5, (color, paper)


def test_as_many_pairs_as_promised():
    "Colour and marker repeat after 40 clusters; lines have dashes as well."
    pairs = [(color_of(k), marker_of(k)) for k in range(41)]
    assert len(set(pairs[:40])) == 40 and pairs[40] == pairs[0]
    assert [dash_of(k) for k in range(5)] == [*DASHES, DASHES[0]] and len(set(MARKERS)) == len(MARKERS)


def test_browser_has_the_same_colours():
    "The widgets draw clusters in the colours of the report."
    found = re.search(r"COLORS = \[(.*?)\]", (PACKAGE / "widgets/static/palette.js").read_text(), re.DOTALL).group(1)
    assert tuple(re.findall(r"#[0-9A-Fa-f]{6}", found)) == COLORS


def png(pixels: np.ndarray) -> io.BytesIO:
    "Pixels (H,W,3) as a PNG file."
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file


def decoded(data: bytes) -> np.ndarray:
    "The pixels of a PNG file."
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("photograph", [False, True], ids=["chart", "photograph"])
def test_small_files_keep_every_colour(photograph):
    "Thin lines of each colour, alone and over a photograph; median cut alone would merge them."
    draw = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 200, 240), np.linspace(0, 50, 320))[..., None] * [1, 0.8, 0.6]
    pixels = (smooth + draw.normal(size=smooth.shape) * 9).clip(0, 255).astype(np.uint8)
    pixels = pixels if photograph else np.full_like(pixels, 255)
    for k, color in enumerate(COLORS):
        pixels[20 * k + 10, 30:60] = rgb(color)
    small = decoded(compact_png(png(pixels)))
    kept = [(small[20 * k + 10, 30:60] == rgb(color)).all() for k, color in enumerate(COLORS)]
    assert all(kept) and len(np.unique(small.reshape(-1, 3), axis=0)) <= 256
    if photograph:
        cut = Image.open(png(pixels)).quantize(256, dither=Image.Dither.NONE).convert("RGB")
        lost = [(np.asarray(cut)[20 * k + 10, 30:60] != rgb(color)).any() for k, color in enumerate(COLORS)]
        assert any(lost), "the wrong variant must be caught"


def test_few_colours_stay_exact():
    "A picture of at most 256 colours is not changed at all."
    pixels = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)[np.arange(4096).reshape(64, 64) % 256]
    assert (decoded(compact_png(png(pixels))) == pixels).all()


def test_a_chart_as_webp_keeps_our_colours():
    "Fewer colours than a PNG has, and ours among them; what is made for photographs would change them."
    figure = Picture(figsize=(4, 3))
    axis = figure.add_subplot()
    for k, color in enumerate(COLORS):
        axis.plot([0, 1], [k, k], color=color, lw=3)
    there = lambda picture: [(picture.reshape(-1, 3) == rgb(color)).all(1).any() for color in COLORS]
    assert all(there(decoded(figure.webp())))
    lossy = io.BytesIO()
    Image.open(io.BytesIO(figure.png())).convert("RGB").save(lossy, "webp", quality=60)
    assert not all(there(decoded(lossy.getvalue()))), "the wrong variant must be caught"


def test_a_dot_of_a_rare_colour_stays():
    "One image in each of nine clusters beside 300 in the first, half transparent: no pixel becomes another colour."
    cluster = np.array([0] * 300 + list(range(1, 10)))
    points = np.random.default_rng(0).normal(size=(len(cluster), 2))
    figure = Picture(figsize=(4, 4))
    scatter_clusters(figure.add_subplot(), points, cluster, {})
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=100)
    pixels = decoded(full.getvalue()).astype(float)
    off = lambda other: np.linalg.norm(decoded(other) - pixels, axis=-1).max()
    assert off(compact_png(full)) < 24
    cut, merged = Image.open(full).convert("RGB").quantize(64, dither=Image.Dither.NONE), io.BytesIO()
    cut.save(merged, "png")
    assert off(merged.getvalue()) > 40, "the wrong variant must be caught"
