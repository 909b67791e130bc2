"""The one style of the lessons' pictures: readable from the back row, and by colour-blind readers."""

import io

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from dcacn_nb.report.palette import COLORS
from dcacn_nb.report.picture import Picture, compact_png

STYLE = {
    "figure.figsize": (8, 3),  # inches: 800 pixels wide
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.frameon": False,
}


def lesson_style() -> None:
    "Draw all pictures of this session in the lessons' style, and store them small. Call it after importing pyplot."
    matplotlib.rcParams.update(STYLE)
    try:
        from IPython import get_ipython
    except ImportError:  # a plain script
        return
    if (shell := get_ipython()) is not None:
        import matplotlib.pyplot as plt

        plt.switch_backend(matplotlib.get_backend())  # a notebook's backend, loaded later, would take its format back
        png = shell.display_formatter.formatters["image/png"]
        png.for_type(Figure, _small_png)
        png.for_type(Picture, Picture._repr_png_)  # laid out once, and the same in every session


def _small_png(figure: Figure) -> bytes:
    "The figure in 256 colours."
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi, bbox_inches=None)
    return compact_png(file)
