"""Colours, markers and dashes of every picture: distinct on light and dark paper, and for colour-blind readers."""

COLORS = (
    # the six bright ones of Okabe and Ito (2008)
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#D55E00",  # vermilion
    "#56B4E9",  # sky blue
    "#CC79A7",  # pink
    # four more, as far from those and from each other as CVD simulation allows
    "#6E6E6E",  # grey
    "#6A3D9A",  # purple
    "#DCCF1E",  # yellow
    "#7F3F00",  # brown
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # with the colours: 40 pairs before one comes again
DASHES = ("-", "--", "-.", ":")
SCORES = {  # the paper's red, blue, green
    "acc": ("ACC", COLORS[3], "o"),
    "nmi": ("NMI", COLORS[0], "s"),
    "ari": ("ARI", COLORS[2], "^"),
}
THEMES = {"light": ("#1f2328", "#ffffff"), "dark": ("#e6e8eb", "#16181d")}  # ink and paper


def color_of(
    k: int,  # number of a cluster, a line or a view
) -> str:  # six hexadecimal digits
    "Its colour; after ten, from the start."
    return COLORS[k % len(COLORS)]


def marker_of(k: int) -> str:
    "Its marker in a scatter plot."
    return MARKERS[k % len(MARKERS)]


def dash_of(k: int) -> str:
    "Its line style."
    return DASHES[k % len(DASHES)]
