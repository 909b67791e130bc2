"""A matplotlib figure that carries its text alternative, and how it becomes a file."""

import base64
import html
import io
from functools import lru_cache, partial
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
from dcacn_nb.report.palette import COLORS, THEMES

FORMATS = (".png", ".svg", ".pdf")
OWN_COLOR = "own colour"  # the gid of a text that keeps its colour on any paper
_KEPT = 64  # colours that a PNG of 256 colours keeps exactly: ours and the most frequent ones, then outliers
_OURS = [int(color[1:], 16) for color in (*COLORS, *sum(THEMES.values(), ()))]
_CHINESE = (  # fonts with Chinese characters; matplotlib's own has none
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
)


@lru_cache(maxsize=1)
def _fonts() -> "list[str]":
    "matplotlib's font, then the fonts of this machine that have Chinese characters."
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CHINESE if name in installed)]


class Picture(Figure):
    "A matplotlib figure with a text alternative; a notebook shows it without pyplot."

    alt = ""  # what the picture shows, in words and numbers
    _laid_out = False  # whether the axes have their places

    def __init__(self, *args, layout: str = "none", **options):
        super().__init__(*args, layout=layout, **options)  # never the session's default: the same picture everywhere

    def _dress(self, theme: str) -> str:
        "Set ink and paper of a theme, and lay the axes out once; the paper's colour."
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
        if self.axes and not self._laid_out and self.get_layout_engine() is not None:
            self.get_layout_engine().execute(self)
        # once: a second layout would move the axes a little; and savefig may have put the session's default back
        self._laid_out = True
        self.set_layout_engine("none")
        return paper

    def png(
        self,
        theme: str = "light",  # or "dark"
        dpi: float = 100,  # pixels per inch
    ) -> bytes:  # the PNG file, in 256 colours
        "The picture as a small PNG, on light or dark paper."
        paper, file = self._dress(theme), io.BytesIO()
        self.savefig(file, format="png", dpi=dpi, facecolor=paper, pil_kwargs={"compress_level": 1})
        return compact_png(file)

    def webp(
        self,
        theme: str = "light",  # or "dark"
        dpi: float = 100,  # pixels per inch
        photo: bool = False,  # photographs may lose what nobody sees; lines and text stay as they are
    ) -> bytes:  # the WebP file
        "The picture as WebP: some two thirds of the PNG, and less than half of one with photographs."
        paper, drawn = self._dress(theme), io.BytesIO()
        self.savefig(drawn, format="png", dpi=dpi, facecolor=paper, pil_kwargs={"compress_level": 1})
        flat = _webp(_in_few_colors(Image.open(drawn), 96), lossless=True)
        return min(flat, _webp(Image.open(drawn), quality=60), key=len) if photo else flat

    def html(
        self,
        caption: "str | None" = None,  # below the picture; None: `alt`
        dpi: float = 60,  # pixels per inch; fewer if a file would be larger than `most`
        most: int = 40_000,  # bytes
        dark: bool = True,  # False: for light paper alone, half as large
        photo: bool = False,  # with photographs, which as WebP may lose what nobody sees
        small: bool = False,  # as WebP in any case
    ) -> str:  # a <figure> that needs no other file
        "The picture as HTML, for light and for dark paper, with its text alternative."
        drawn = partial(self.webp, photo=photo) if photo or small else self.png
        light = drawn("light", dpi)
        if len(light) > most:
            dpi = max(20, dpi * (most / len(light)) ** 0.5)
            light = drawn("light", dpi)
        alt, below = (html.escape(text, quote=True) for text in (self.alt, self.alt if caption is None else caption))
        night = ""
        if dark:
            night = f'<source media="(prefers-color-scheme: dark)" srcset="{_data_url(drawn("dark", dpi))}">'
        return (
            f'<figure><picture>{night}<img alt="{alt}" src="{_data_url(light)}"></picture>'
            f"<figcaption>{below}</figcaption></figure>"
        )

    def save(
        self,
        path: "str | Path",  # ends in .png, .svg or .pdf
    ) -> Path:  # the file, whole or not at all
        "Write the picture for print, on white: a PNG at 300 dpi, or an SVG or PDF that stays sharp at any size."
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in FORMATS:
            raise ValueError(f"path must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {str(path)!r}")
        paper, file = self._dress("light"), io.BytesIO()
        undated = {".svg": {"metadata": {"Date": None}}, ".pdf": {"metadata": {"CreationDate": None}}}
        # 42: fonts that journals accept and editors can edit; no date, a fixed salt: the same picture, the same file
        with rc_context({"pdf.fonttype": 42, "svg.hashsalt": "dcacn_nb"}):
            self.savefig(file, format=suffix[1:], dpi=300, facecolor=paper, **undated.get(suffix, {}))
        return atomic_write(path, file.getvalue())

    def _repr_png_(self) -> bytes:
        return self.png(dpi=80)


def _webp(picture: Image.Image, **options) -> bytes:
    "A picture as a WebP file."
    file = io.BytesIO()
    picture.convert("RGB").save(file, "webp", method=4, **options)
    return file.getvalue()


def _data_url(file: bytes) -> str:
    "A PNG or WebP inside the page."
    kind = "png" if file.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def compact_png(
    png: io.BytesIO,  # a PNG file
) -> bytes:  # a PNG file with a palette
    "The same picture in 256 colours, a third of the size; no colour is lost because few pixels have it."
    file = io.BytesIO()
    _in_few_colors(Image.open(png), 256).save(file, "png", optimize=True)
    return file.getvalue()


def _in_few_colors(picture: Image.Image, most: int) -> Image.Image:
    "The picture with a palette of so many colours; no colour is lost because few pixels have it."
    picture = picture.convert("RGB")
    pixels = np.asarray(picture).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    values, first, inverse, counts = np.unique(pixels, return_index=True, return_inverse=True, return_counts=True)
    colors = np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.float32)
    kept = min(_KEPT, most // 2)
    if len(values) <= most:
        palette, place = colors, np.arange(len(values))
    else:
        cut = picture.quantize(most - kept, dither=Image.Dither.NONE)
        palette = np.array(cut.getpalette(), np.float32).reshape(-1, 3)
        counts[np.isin(values, _OURS)] += pixels.size
        palette, place = _with_kept(colors, counts, palette, np.asarray(cut).reshape(-1)[first].astype(int), kept)
    small = Image.fromarray(place[inverse].reshape(pixels.shape).astype(np.uint8))
    small.putpalette(palette.astype(np.uint8).ravel().tolist())
    return small


def _with_kept(
    colors: np.ndarray, counts: np.ndarray, palette: np.ndarray, place: np.ndarray, many: int
) -> "tuple[np.ndarray, np.ndarray]":
    "A palette with the most frequent colours, and then those that it would change most; where each colour is in it."
    error = np.linalg.norm(colors - palette[place], axis=1)
    frequent = np.argsort(-counts, kind="stable")[: many // 2]
    for i in range(many):
        # lines and dots of a chart are few pixels beside a photograph, and averages would merge their colours
        kept = frequent[i] if i < len(frequent) else error.argmax()
        near = np.linalg.norm(colors - colors[kept], axis=1)
        place = np.where(near < error, len(palette), place)
        error, palette = np.minimum(near, error), np.concatenate([palette, colors[[kept]]])
        place[kept] = len(palette) - 1
    return palette, place


def empty_picture(
    why: str,  # why there is nothing to see, in a few words
    alt: str,  # the text alternative
) -> Picture:  # one line of text
    "A picture that says why there is nothing to see."
    figure = Picture(figsize=(9, 0.8), layout="constrained")
    figure.text(0.5, 0.5, why, ha="center", va="center")
    figure.alt = alt
    return figure


def plain_text(
    name: object,  # a name from outside
    longest: "int | None" = None,  # columns it may take; a Chinese character takes two; None: any number
) -> str:
    "A name that matplotlib takes literally (a dollar sign would start a formula), cut if it is long."
    text = " ".join(str(name).split())
    ends = np.cumsum([1 + (east_asian_width(sign) in "WF") for sign in text])
    if longest is not None and len(text) and ends[-1] > longest:
        text = text[: int((ends < longest).sum())] + "…"
    return text.replace("$", r"\$")
