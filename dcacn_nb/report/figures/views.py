"""What the network is shown of an image: its crops, and where they were cut from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.patches import Rectangle

from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import Event
from dcacn_nb.core.seeds import generator
from dcacn_nb.method.config import build_views, from_dict
from dcacn_nb.method.views import Crops
from dcacn_nb.report.figures.tiles import rgb
from dcacn_nb.report.palette import color_of
from dcacn_nb.report.picture import OWN_COLOR, Picture, empty_picture
from dcacn_nb.report.record import RunRecord, read_record


def plot_views(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events: settings, a snapshot with images
    image: int = 0,  # which image of the snapshot, >= 0
    seed: int = 0,  # another seed, other crops
) -> Picture:  # left: the image and the boxes of its crops; right: the crops, all on one scale
    "Two global and some local crops of an image, drawn as this run draws them (the paper's section 3.2)."
    record = read_record(run, ())
    pictures = [s.arrays["images"] for s in record.snapshots if "images" in s.arrays]
    views = _own_views(record)
    if not pictures or not len(pictures[0]) or views is None:
        return empty_picture(
            "no snapshot with images, or no settings of views, in the log",
            "Views: the log holds no images, or no settings of views.",
        )
    shown = pictures[0][check_int("image", image, 0, len(pictures[0]) - 1)]
    crops = views(torch.from_numpy(shown[None]), generator(seed), return_boxes=True)
    figure = plot_crops(shown, crops, f"Image {image} of the snapshot")
    figure.alt += " The boxes are drawn before the crops are tilted." if views.weak.rotation or views.weak.shear else ""
    return figure


def plot_crops(
    image: np.ndarray,  # (C,H,W) uint8
    crops: Crops,  # what MultiCrop gave for this image alone, with the boxes
    name: str = "An image",  # what the text alternative calls it
    state: str = "as the network sees them",  # what it calls the crops
) -> Picture:  # left: the image and the boxes of its crops; right: the crops, all on one scale
    "An image, where its crops were cut from, and the crops."
    boxes = [box for group in (crops.global_boxes, crops.local_boxes) for box in group[:, 0].tolist()]
    pixels = [crop.numpy() for group in (crops.global_crops, crops.local_crops) for crop in group[:, 0]]
    figure = Picture(figsize=(9, 3.4), layout="constrained")
    axis = figure.add_subplot(aspect="equal")
    axis.axis("off")
    _draw_boxes(axis, image, boxes, tall=_draw_crops(axis, pixels))
    height, width = image.shape[1:]
    shares = ", ".join(f"{h * w / (height * width):.0%}" for _, _, h, w in boxes)
    few, side = len(crops.local_crops), crops.local_crops.shape[-1]
    local = f" and {few} local crop{'s' * (few > 1)} ({side} pixels wide)" if few else ", no local ones"
    figure.alt = (
        f"{name}, {width} by {height} pixels, with the boxes of two global crops "
        f"(1, 2; {crops.global_crops.shape[-1]} pixels wide){local}, which show {shares} of its area; beside it the "
        f"crops {state}, all on one scale."
    )
    return figure


def _own_views(record: RunRecord):
    "The augmentation that the run's settings describe; None if they describe none (K-Means, say)."
    try:
        return (
            build_views(from_dict(record.start.config))
            if record.start and "global_size" in record.start.config
            else None
        )
    except (ValueError, TypeError):
        return None


def _view_style(i: int) -> dict:
    "Colour and dashes of a view: solid lines for the two global ones."
    return {"edgecolor": color_of(i), "linestyle": "-" if i < 2 else "--", "linewidth": 2, "fill": False}


def _draw_crops(axis, crops: "list[np.ndarray]") -> float:
    "The crops from x = 0 on, one unit per pixel: global ones in the upper row, local ones below; their height."
    largest = crops[0].shape[1]
    gap = max(1.0, 0.12 * largest)
    x, y, right = 0.0, 0.0, 0.0
    for i, crop in enumerate(crops):
        if i == 2:
            x, y = 0.0, largest + 2 * gap
        side, pixels = crop.shape[1], (rgb(crop) * 255).round().astype(np.uint8)
        axis.imshow(pixels, extent=(x, x + side, y + side, y), interpolation="nearest")
        axis.add_patch(Rectangle((x, y), side, side, **_view_style(i)))
        axis.text(x, y - 0.2 * gap, f"{i + 1}: {side} px", fontsize=9, va="bottom")
        x, right = x + side + gap, max(right, x + side)
    bottom = y + crops[-1].shape[1]
    axis.set(xlim=(0, right + gap / 4), ylim=(bottom + gap / 4, -1.2 * gap))
    return bottom


def _draw_boxes(axis, image: np.ndarray, boxes: "list[list[float]]", tall: float) -> None:
    "The image, as tall as all crops together, to their left, and on it each view's box with its number."
    height, width = image.shape[1:]
    unit = tall / height
    x = -width * unit - 0.2 * tall
    axis.imshow(rgb(image), extent=(x, x + width * unit, tall, 0), interpolation="nearest")
    for i, (top, left, h, w) in enumerate(boxes):
        axis.add_patch(Rectangle((x + left * unit, top * unit), w * unit, h * unit, **_view_style(i)))
        # each number at another place of its upper edge: boxes with a common corner must not hide one another's
        where = x + (left + w * (i + 0.5) / len(boxes)) * unit, top * unit
        label = {"facecolor": color_of(i), "edgecolor": "none", "pad": 1.5}
        style = dict(color="white", gid=OWN_COLOR, fontsize=9, va="center", ha="center")
        axis.text(*where, str(i + 1), bbox=label, **style)
    axis.text(x, tall, f"image: {width} × {height} px", fontsize=9, va="top")
    axis.set_xlim(x - 0.01 * tall, axis.get_xlim()[1])
