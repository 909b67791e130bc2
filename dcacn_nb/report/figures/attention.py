"""Where the network looks: maps of attention or activation over the images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Event
from dcacn_nb.report.figures.tiles import tiles
from dcacn_nb.report.picture import Picture, empty_picture, plain_text
from dcacn_nb.report.record import RunRecord, read_record

MAPS = {  # kind -> start of the array names, words
    "spatial": ("spatial_attention.", "spatial attention"),
    "activation": ("activation.", "mean square activation"),
}
SIDE, STEP = 96, 104  # width of a tile, from tile to tile


def plot_attention(
    run: "str | Path | Sequence[Event] | RunRecord",  # a run folder or its events
    kind: str = "auto",  # "spatial" (CBAM), "activation" (any network), or "auto": spatial where there is some
) -> Picture:  # first row: images; then one row per stage, the map of its last block over them
    "Where the last snapshot's network looks, per stage: spatial attention (the paper's Eq. 3-4), or activation."
    check_in("kind", kind, ["auto", *MAPS])
    record = read_record(run)
    for chosen in MAPS if kind == "auto" else [kind]:
        maps, images = _maps(record, MAPS[chosen][0])
        if maps:
            break
    else:
        words = "attention or activation" if kind == "auto" else MAPS[kind][1]
        return empty_picture(f"no maps of {words} in the log", f"Attention: the log holds no maps of {words}.")
    figure = Picture(figsize=(0.9 + 1.04 * len(images), 1.05 * (len(maps) + 1)), layout="constrained")
    axes = figure.subplots(len(maps) + 1, squeeze=False)[:, 0]  # one per row: forty of them would take seconds
    pictures = tiles(images, SIDE)
    for axis, (name, values) in zip(axes, [("image", None), *maps.items()]):
        _draw_row(axis, pictures, name, values)
    ranges = ", ".join(f"{name} {values.min():.2f} to {values.max():.2f}" for name, values in maps.items())
    figure.alt = (
        f"{len(images)} images, and over them the {MAPS[chosen][1]} of the last block of each stage; bright is strong. "
        f"Range of the values: {ranges}."
    )
    return figure


def _draw_row(axis, pictures: np.ndarray, name: str, values: "np.ndarray | None") -> None:
    "The images side by side, alone or under one map each, and the name and the range to their left."
    for i, tile in enumerate(pictures):
        _lay_over(axis, STEP * i, tile, None if values is None else values[i])
    axis.set(xlim=(0, STEP * len(pictures) - (STEP - SIDE)), ylim=(SIDE, 0), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_anchor("E")  # a row that is narrower than its place leaves the rest to its label
    label = name if values is None else f"{plain_text(name)}\n{values.min():.2f}-{values.max():.2f}"
    axis.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")


def _lay_over(axis, left: int, tile: np.ndarray, values: "np.ndarray | None") -> None:
    "An image as it is, or in grey under a map; from `left` on."
    place = (left, left + SIDE, SIDE, 0)
    if values is None:
        axis.imshow(tile, extent=place)
    else:
        axis.imshow(tile[..., :3].mean(-1), cmap="gray", vmin=0, vmax=255, extent=place)
        # viridis, as in the widget: it has no grey in it, so the image's grey is never taken for a value
        axis.imshow(values, cmap="viridis", alpha=0.65, interpolation="bilinear", extent=place)


def _maps(record: RunRecord, prefix: str) -> "tuple[dict[str, np.ndarray], np.ndarray]":
    "The maps (n,h,w) of the last block of each stage, and the images they belong to."
    last = record.snapshots[-1] if record.snapshots else None
    pictures = [s for s in record.snapshots if "images" in s.arrays]
    if last is None or not pictures:
        return {}, np.zeros((0, 3, 1, 1), np.uint8)
    stages = {}
    for name, values in last.arrays.items():  # blocks come in order: a later block of a stage replaces an earlier one
        if name.startswith(prefix):
            values = values[:, 0] if values.ndim == 4 else values
            stages[name[len(prefix) :].rpartition(".")[0] or name[len(prefix) :]] = values
    n = min([8, *(len(values) for values in stages.values())])
    at = {index: i for i, index in enumerate(pictures[0].indices.tolist())}
    mapped = last.indices[last.mapped_rows(n)].tolist()
    rows = [i for i, index in enumerate(mapped) if index in at]
    images = pictures[0].arrays["images"][[at[mapped[i]] for i in rows]]
    maps = {name: values[rows].astype(np.float64) for name, values in stages.items()} if rows else {}
    return maps, images
