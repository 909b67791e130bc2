"""A figure that knows its own words."""

import base64
import html
import io
import logging
from functools import lru_cache
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from PIL import Image

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.files import atomic_write

logger = logging.getLogger(__name__)
COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#999999",
)  # Okabe and Ito; grey for their black
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # 7 colours and 8 markers: 56 pairs before one comes again
DASHES = ("-", "--", "-.", ":")
SCORES = {
    "acc": ("ACC", "#D55E00", "o"),
    "nmi": ("NMI", "#0072B2", "s"),
    "ari": ("ARI", "#009E73", "^"),
}  # the paper's red, blue, green
THEMES = {"light": ("#1f2328", "#ffffff"), "dark": ("#e6e8eb", "#16181d")}  # ink and paper
FORMATS = (".png", ".svg", ".pdf")
OWN_COLOR = "own colour"  # the gid of a text that keeps its colour on any paper
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)  # fonts with Chinese signs; matplotlib's own has none


@lru_cache(maxsize=1)
def _fonts() -> "list[str]":
    "matplotlib's font, then those on this machine that know Chinese."
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CHINESE if name in installed)]


class Picture(Figure):
    "A matplotlib figure with its text alternative; shows itself in a notebook without pyplot."

    alt = ""  # what the picture shows, in words and figures

    def _dress(self, theme: str) -> str:
        "Ink and paper of a theme, and a place for everything; the paper's colour."
        ink, paper = THEMES[check_in("theme", theme, list(THEMES))]
        for text in self.findobj(Text):
            if text.get_gid() != OWN_COLOR:
                text.set_color(ink)
            if not text.get_text().isascii():
                text.set_fontfamily(_fonts())
        for axis in self.axes:
            axis.set_facecolor(paper)
            axis.tick_params(colors=ink)
            for spine in axis.spines.values():
                spine.set_edgecolor(ink)
        for legend in [*self.legends, *(axis.get_legend() for axis in self.axes)]:
            if legend:
                legend.get_frame().set(facecolor=paper, edgecolor="#888888")
        if self.axes and self.get_layout_engine() is not None:
            self.get_layout_engine().execute(self)
            self.set_layout_engine(
                "none"
            )  # the places are found once: a second search would move them a little, and cost as much time
        return paper

    def png(
        self,
        theme: str = "light",  # or "dark"
        dpi: float = 100,  # pixels an inch
    ) -> bytes:  # the PNG file, in 256 colours
        "The picture as a small PNG, on light or dark paper."
        paper, file = self._dress(theme), io.BytesIO()
        self.savefig(file, format="png", dpi=dpi, facecolor=paper, pil_kwargs={"compress_level": 1})
        return _compact(file)

    def html(
        self,
        caption: "str | None" = None,  # under the picture; None: `alt`
        dpi: float = 60,  # pixels an inch; fewer if a PNG would be larger than `most`
        most: int = 40_000,  # bytes
        dark: bool = True,  # False: for light paper alone, half as large
    ) -> str:  # a <figure> that needs no other file
        "The picture as HTML, for light and for dark paper, with its words for those who cannot see it."
        light = self.png("light", dpi)
        if len(light) > most:
            dpi = max(20, dpi * (most / len(light)) ** 0.5)
            light = self.png("light", dpi)
        source = "data:image/png;base64,"
        other = (
            f'<source media="(prefers-color-scheme: dark)" srcset="{source}{base64.b64encode(self.png("dark", dpi)).decode()}">'
            if dark
            else ""
        )
        words, below = (html.escape(text, quote=True) for text in (self.alt, self.alt if caption is None else caption))
        return (
            f'<figure><picture>{other}<img alt="{words}" src="{source}{base64.b64encode(light).decode()}"></picture>'
            f"<figcaption>{below}</figcaption></figure>"
        )

    def save(
        self,
        path: "str | Path",  # ends in .png, .svg or .pdf
    ) -> Path:  # the file, whole or not at all
        "Write the picture for print: white paper, 300 dpi (PNG) or lines that stay sharp at any size (SVG, PDF)."
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            raise ValueError(f"path must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {str(path)!r}")
        paper, file = self._dress("light"), io.BytesIO()
        stamp = (
            {} if suffix == ".png" else {"metadata": {"Date" if suffix == ".svg" else "CreationDate": None}}
        )  # the same picture, the same file
        with rc_context(
            {"pdf.fonttype": 42, "svg.hashsalt": "dcacn_nb"}
        ):  # 42: fonts that journals accept, and editors can edit
            self.savefig(file, format=suffix[1:], dpi=300, facecolor=paper, **stamp)
        return atomic_write(path, file.getvalue())

    def _repr_png_(self) -> bytes:
        return self.png(dpi=60)


def _compact(png: io.BytesIO) -> bytes:
    "The same picture in 256 colours: a third of the size, and hardly a difference to the eye."
    file = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    return file.getvalue()


def empty_picture(
    why: str,  # why there is nothing to see, in a few words
    alt: str,  # the text alternative
) -> Picture:  # one line of text
    "A picture that says why there is none."
    figure = Picture(figsize=(9, 0.8), layout="constrained")
    figure.text(0.5, 0.5, why, ha="center", va="center")
    figure.alt = alt
    return figure


def plain_text(
    name: object,  # a name from outside
    longest: "int | None" = None,  # columns it may take; a Chinese sign takes two; None: any number
) -> str:
    "A name that matplotlib takes literally (a dollar sign would start a formula), cut if it is long."
    text = " ".join(str(name).split())
    ends = np.cumsum([1 + (east_asian_width(sign) in "WF") for sign in text])
    if longest is not None and len(text) and ends[-1] > longest:
        text = text[: int((ends < longest).sum())] + "…"
    return text.replace("$", r"\$")
