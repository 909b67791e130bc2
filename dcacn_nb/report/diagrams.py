"""Diagrams of networks, drawn from the networks themselves: boxes, arrows, shapes and numbers of parameters."""

import math

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from dcacn_nb.core.checks import check_int
from dcacn_nb.method.backbone import (
    AttentionBasicBlock,
    AttentionBottleneck,
    Backbone,
    Row,
    block_table,
    count_parameters,
    describe,
)
from dcacn_nb.method.model import ClusterNet, architecture

LINE = "0.35"  # grey of edges and arrows
PLAIN, ATTENTIVE, IMAGE, CROPS, LOSS = "#e8eef7", "#fbe9d0", "#f3f3f3", "#e3f1e4", "#f7e6ee"  # fills of boxes
FONT = 10  # points


def draw_box(
    axes,  # matplotlib Axes
    x: float,  # the box's middle, data coordinates
    y: float,
    width: float,
    height: float,
    text: str,  # may have several lines
    colour: str = PLAIN,  # of the fill
    fontsize: float = FONT,  # points
) -> None:
    "A rounded box with text in its middle."
    corner, shape = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=shape, facecolor=colour, edgecolor=LINE, linewidth=0.8)
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=fontsize, color="black", linespacing=1.25)


def draw_arrow(
    axes,  # matplotlib Axes
    start: "tuple[float, float]",  # data coordinates
    end: "tuple[float, float]",
    style: str = "arc3",  # a matplotlib connection style, for arrows around a corner
) -> None:
    "An arrow from point to point."
    arrow = dict(arrowstyle="-|>", color=LINE, linewidth=0.9, connectionstyle=style, shrinkA=0, shrinkB=0)
    axes.annotate("", end, start, arrowprops=arrow)


def blank_figure(
    width: float,  # inches
    height: float,
) -> "tuple[Figure, object]":  # the figure and its axes, in units of inches
    "A white figure with one axes and no frame. It needs no pyplot, so it may be made on any thread."
    figure = Figure(figsize=(width, height), facecolor="white", layout="none")
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def draw_encoder(
    backbone: Backbone,  # the network to draw
    image_size: int,  # side of the images, pixels
) -> Figure:
    "The encoder: every part with its output shape and its number of parameters, read from a forward pass."
    rows = describe(backbone, image_size)
    texts = _encoder_texts(backbone, image_size, rows)
    sides = [image_size, rows[2].shape[1], *(row.shape[1] for row in rows[3:7]), 1]
    attentive = any(
        isinstance(block, (AttentionBasicBlock, AttentionBottleneck)) for block in backbone.blocks().values()
    )
    step = 1.3
    figure, axes = blank_figure(step * len(texts), 2)
    for i, text in enumerate(texts):
        height = 0.9 + 0.5 * math.log(sides[i]) / math.log(image_size)  # the maps shrink on their way
        colour = ATTENTIVE if attentive and 2 <= i <= 5 else PLAIN
        draw_box(axes, step * (i + 0.5), 1.2, step - 0.2, height, text, colour)
        if i:
            draw_arrow(axes, (step * i - 0.1, 1.2), (step * i + 0.1, 1.2))
    note = "coloured: CBAM in every block" if attentive else "no attention"
    axes.text(0.1, 0.15, f"{count_parameters(backbone):,} parameters; {note}", fontsize=FONT)
    return figure


def _encoder_texts(backbone: Backbone, image_size: int, rows: "list[Row]") -> "list[str]":
    "What the boxes of the encoder say: image, stem, four stages, average."
    stem_parameters = rows[0].parameters + rows[1].parameters
    return [
        f"image\n{_size((backbone.in_channels, image_size, image_size))}",
        f"stem\n{_size(rows[2].shape)}\n{stem_parameters:,}",
        *(
            f"{row.name}\n{len(getattr(backbone, row.name))} blocks\n{_size(row.shape)}\n{row.parameters:,}"
            for row in rows[3:7]
        ),
        f"average\nh: {backbone.num_features}",
    ]


def _size(shape: "tuple[int, ...]") -> str:
    "A shape in a few characters."
    return "×".join(map(str, shape))


def draw_block(
    backbone: Backbone,  # the network
    image_size: int,  # side of the images, pixels
    block: str = "layer1.0",  # which residual block
) -> Figure:
    "One residual block with shapes and numbers of parameters, read from a forward pass (the paper's Fig. 2)."
    rows = block_table(backbone, image_size, block)
    shortcut = next((row for row in rows if row.name.endswith("downsample")), None)
    path = [row for row in rows if row is not shortcut]
    middle, step = 1.6, 1.15
    figure, axes = blank_figure(step * (len(path) + 2), 2.3)
    axes.text(0.2, middle, "x", ha="center", va="center", fontsize=FONT + 2)
    titles = {"attention.channel": "channel\nattention", "attention.spatial": "spatial\nattention"}
    for i, row in enumerate(path):
        name, x = row.name.removeprefix(block + "."), step * (i + 1) - 0.2
        text = f"{titles.get(name, name)}\n{_size(row.shape)}\n{row.parameters:,}"
        draw_box(axes, x, middle, step - 0.2, 1.05, text, ATTENTIVE if name in titles else PLAIN)
        draw_arrow(axes, (x - step / 2 - 0.1 if i else 0.3, middle), (x - step / 2 + 0.1, middle))
    last = step * (len(path) + 1) - 0.2
    draw_arrow(axes, (last - step / 2 - 0.1, middle), (last - 0.14, middle))
    _draw_shortcut(axes, last, middle, shortcut)
    axes.text(last + 0.2, middle, "ReLU", va="center", fontsize=FONT)
    return figure


def _draw_shortcut(axes, last: float, middle: float, shortcut: "Row | None") -> None:
    "The way around the block, and the sum where it comes back."
    ring = dict(boxstyle="circle,pad=0.1", facecolor="white", edgecolor=LINE)
    axes.text(last, middle, "+", ha="center", va="center", fontsize=FONT + 2, bbox=ring)
    axes.plot([0.2, 0.2, last], [middle - 0.15, 0.4, 0.4], color=LINE, linewidth=0.9)
    draw_arrow(axes, (last, 0.4), (last, middle - 0.16))
    label = "x unchanged"
    if shortcut is not None:
        label = f"downsample {_size(shortcut.shape)}, {shortcut.parameters:,}"
    behind = dict(facecolor="white", edgecolor="none", pad=1.5)
    axes.text(last / 2, 0.4, label, ha="center", va="center", fontsize=FONT, bbox=behind)


def draw_network(
    model: ClusterNet,  # the model to draw
    global_size: int,  # side of the global crops, pixels
    local_size: int,  # side of the local crops, pixels
    n_local: int,  # local crops per image, >= 0
) -> Figure:
    "The whole method with shapes and numbers of parameters, read from a forward pass (the paper's Fig. 1)."
    check_int("n_local", n_local, low=0)
    backbone, instance, cluster = architecture(model, global_size)
    figure, axes = blank_figure(10, 3)
    _draw_inputs(axes, model.backbone.in_channels, global_size, local_size, n_local)
    draw_box(axes, 4.4, 1.55, 1.5, 1.0, f"backbone\none for all views\n{backbone.parameters:,}", ATTENTIVE)
    axes.text(5.4, 1.55, f"h\n{backbone.shape[0]}", ha="center", va="center", fontsize=FONT)
    for y, row, output, loss in [
        (2.25, instance, "z, length 1", "instance loss"),
        (0.85, cluster, "p, sum 1", "cluster loss"),
    ]:
        draw_arrow(axes, (5.15, 1.55), (5.75, y))
        draw_box(axes, 6.4, y, 1.3, 0.9, f"{row.name.replace('_', ' ')}\n{row.shape[0]}\n{row.parameters:,}")
        draw_arrow(axes, (7.05, y), (8.25, y))
        axes.text(7.63, y + 0.06, output, ha="center", va="bottom", fontsize=FONT)
        draw_box(axes, 9.05, y, 1.6, 0.9, f"{loss}\n{2 + n_local} views per image", LOSS)
    axes.text(0.15, 0.1, f"{count_parameters(model):,} parameters", fontsize=FONT)
    return figure


def _draw_inputs(axes, channels: int, global_size: int, local_size: int, n_local: int) -> None:
    "The image and its crops, on their way into the backbone."
    draw_box(axes, 0.6, 1.55, 0.9, 0.7, "image", IMAGE)
    crops = [(2.25, f"2 global crops\n{_size((channels, global_size, global_size))}")]
    if n_local:
        crops.append((0.85, f"{n_local} local crops\n{_size((channels, local_size, local_size))}"))
    for y, text in crops:
        draw_box(axes, 2.35, y, 1.5, 0.9, text, CROPS)
        draw_arrow(axes, (1.05, 1.55), (1.6, y))
        draw_arrow(axes, (3.1, y), (3.65, 1.55))
