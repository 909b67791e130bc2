"Pictures: readable on both papers, small, the same file every time, harmless names, true words."

import html
import io
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image

from dcacn_nb.report.palette import SCORES, THEMES
from dcacn_nb.report.picture import FORMATS, Picture, empty_picture, plain_text

POINTS = {"acc": [0.11, 0.204], "nmi": [0.02, 0.153], "ari": [0.0, 0.031]}


def draw_scores(name="digits"):
    "A picture of your own, as the documentation shows it: scores over the epochs, with their words."
    figure, words = Picture(figsize=(6, 2.4), layout="constrained"), []
    axis = figure.add_subplot(xlabel="epoch", ylim=(0, 1), title=plain_text(name))
    for key, (label, color, marker) in SCORES.items():
        axis.plot([0, 1], POINTS[key], color=color, marker=marker, label=label)
        words.append(f"{label} {POINTS[key][-1]:.3f}")
    axis.legend()
    figure.alt = f"Scores of {name}. At the end: {', '.join(words)}."
    return figure


@pytest.fixture(scope="module")
def figure():
    "One picture for the tests that only look."
    return draw_scores()


def pixels(png: bytes) -> np.ndarray:
    "A PNG file, decoded: (H,W,3) in [0,255]."
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def luminance(rgb) -> np.ndarray:
    "Relative luminance (WCAG 2.1) of colours in [0,255]."
    c = np.asarray(rgb) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(png: bytes) -> float:
    "Of the pixel that differs most from the paper, which is the pixel in the corner."
    light = luminance(pixels(png)) + 0.05
    return float(np.maximum(light / light[0, 0], light[0, 0] / light).max())


def test_readable_on_both_papers(figure):
    "WCAG asks for a contrast of 4.5; the wrong variant changes the paper and forgets the ink."
    nothing = empty_picture("no optimisation step yet", "Nothing to draw yet.")
    for theme, (_, paper) in THEMES.items():
        for shown in (nothing, figure):
            png = shown.png(theme)
            assert "#" + bytes(pixels(png)[0, 0]).hex() == paper and contrast(png) > 4.5
    paper_only = io.BytesIO()
    empty_picture("no ink", "").savefig(paper_only, format="png", facecolor=THEMES["dark"][1])
    assert contrast(paper_only.getvalue()) < 1.5, "the wrong variant must be caught"


def test_256_colours_are_enough(figure):
    "The mean difference is below one step of 255, and the file is less than two thirds as large."
    few, full = figure.png("light", 100), io.BytesIO()
    figure.savefig(full, format="png", dpi=100, facecolor=THEMES["light"][1])
    assert np.abs(pixels(few).astype(float) - pixels(full.getvalue())).mean() < 1
    assert len(few) < 0.66 * len(full.getvalue())


STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def saved(figure: Picture, folder, suffix: str) -> bytes:
    "The bytes of a file for print."
    return figure.save(folder / f"scores{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_same_picture_same_file(suffix, tmp_path):
    "Saved twice, saved after it was shown on dark paper, drawn again: the file changes only with its numbers."
    first = draw_scores()
    files = [saved(first, tmp_path, suffix), saved(first, tmp_path, suffix)]
    first.png("dark", 50)
    files += [saved(first, tmp_path, suffix), saved(draw_scores(), tmp_path, suffix)]
    assert len(set(files)) == 1 and files[0].startswith(STARTS[suffix])
    assert saved(draw_scores("other digits"), tmp_path, suffix) != files[0], "another picture is another file"


def test_the_session_changes_nothing(monkeypatch):
    "Lessons let matplotlib lay out every figure; a picture keeps the places it was given, the second time as well."

    def placed():
        picture = Picture(figsize=(3, 2))
        picture.add_subplot(title="a panel")
        return picture

    usual = placed().png()
    monkeypatch.setitem(matplotlib.rcParams, "figure.constrained_layout.use", True)
    picture = placed()
    assert picture.png() == usual == picture.png() and picture.html() == picture.html()


def test_matplotlib_alone_is_not_reproducible():
    "The wrong variant: an SVG as matplotlib writes it holds random names and the time."

    def as_it_comes():
        file = io.BytesIO()
        draw_scores().savefig(file, format="svg")
        return file.getvalue()

    assert as_it_comes() != as_it_comes()


def words_in_svg(figure: Picture) -> str:
    "All text of a picture, with text kept as text."
    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg")
    return " ".join(ElementTree.fromstring(file.getvalue()).itertext())


def test_names_are_no_formulas():
    "A dollar sign stays a dollar sign; the wrong variant gives the name to matplotlib as it is."
    money, raw = draw_scores("$5 < $6"), draw_scores()
    raw.axes[0].set_title("$5 < $6")
    assert "$5 < $6" in words_in_svg(money) and "$5 < $6" not in words_in_svg(raw)


class Reader(HTMLParser):
    "Collects the tags and the text alternatives of a page."

    def __init__(self, page):
        super().__init__()
        self.tags, self.alts = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.alts += [value for key, value in attributes if key == "alt"]


def test_names_are_no_html():
    "A parser finds four kinds of element, and the words unchanged; without escaping it finds a script."
    script = draw_scores('"><script>alert(1)</script>')
    page = script.html()
    assert Reader(page).tags == {"figure", "picture", "source", "img", "figcaption"}
    assert Reader(page).alts == [script.alt]
    assert "script" in Reader(page.replace(html.escape(script.alt), script.alt)).tags, "the wrong variant"


def test_plain_text_cuts_by_width():
    "A Chinese character takes two columns; white space is tidied up."
    cut = [plain_text("数字图像", 5), plain_text("digits", 5), plain_text(" a\n b "), plain_text("数字", 4)]
    assert cut == ["数字…", "digi…", "a b", "数字"]


def test_html_keeps_to_its_size(figure):
    "A picture that would be too large gets fewer pixels; without dark paper it takes half."
    assert len(figure.html(most=1500, dark=False)) < 0.8 * len(figure.html(dark=False)) < 0.5 * len(figure.html())


def test_refused(figure, tmp_path):
    "An unknown format and an unknown paper are named."
    with pytest.raises(ValueError, match=r"path must end in .*scores\.jpg"):
        figure.save(tmp_path / "scores.jpg")
    with pytest.raises(ValueError, match="theme must be one of .*'sepia'"):
        figure.png("sepia")


def test_notebook_shows_it(figure):
    "Jupyter asks for a PNG; pyplot is not needed."
    assert figure._repr_png_().startswith(STARTS[".png"])
