"""Attention and activation maps in bytes: a snapshot's maps, and those of a run, thinned."""

from dataclasses import dataclass

import numpy as np

from dcacn_nb.core.events import RunStarted, SnapshotTaken
from dcacn_nb.runs.thinned import ThinnedList

# kind of map -> prefix of its arrays in a snapshot
KINDS = {"spatial": "spatial_attention.", "activation": "activation.", "channel": "channel_attention."}
BUDGET = 24_000_000  # bytes of all maps of one run, here and in the browser
PLACES = 6  # cells per side that a map needs to be shown first


def quantise(
    values: np.ndarray,  # (n,L) float: n images, and all their maps side by side in one row
    lengths: "list[int]",  # of the maps in a row, sum L
) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":  # codes (n,L) uint8; lows and highs (n, number of maps) float32
    "Each map in steps of 1/255 of its own range. A map with a value that is not finite gets NaN ends and code 0."
    values, starts = values.astype(np.float32, copy=False), np.cumsum([0, *lengths[:-1]])
    lows, highs = np.minimum.reduceat(values, starts, axis=1), np.maximum.reduceat(values, starts, axis=1)
    bad = ~(np.isfinite(lows) & np.isfinite(highs))
    if bad.any():
        lows[bad] = highs[bad] = np.nan
        values = np.where(np.repeat(bad, lengths, axis=1), 0, values)
    span = np.where(bad, 0, highs - lows)
    factor = np.divide(255, span, out=np.zeros_like(span), where=span > 0)
    shift = np.where(bad, 0, lows)
    codes = (values - np.repeat(shift, lengths, axis=1)) * np.repeat(factor, lengths, axis=1) + 0.5
    return codes.astype(np.uint8), lows, highs


def restore(
    codes: np.ndarray,  # (n,L) uint8, of one map
    lows: np.ndarray,  # (n,)
    highs: np.ndarray,  # (n,)
) -> np.ndarray:  # (n,L) float32, within (high - low) / 510 of what was quantised
    "The values behind the codes of `quantise`."
    return (lows[:, None] + codes * ((highs - lows) / np.float32(255))[:, None]).astype(np.float32)


@dataclass(frozen=True)
class EncodedMaps:
    "The maps of one snapshot, in bytes."

    number: int  # of the snapshot within its run, from 0
    epoch: int  # epochs done
    indices: "list[int]"  # (n,) which images of the data set
    parts: "list[tuple[str, str, int, int]]"  # kind, block, height, width (channels: 1, C), in the order of the codes
    codes: np.ndarray  # (n,L) uint8
    lows: np.ndarray  # (n, parts) float32
    highs: np.ndarray  # (n, parts) float32

    def values(self, kind: str, block: str) -> "np.ndarray | None":
        "The maps of one kind of a block, as numbers: (n,h,w), or (n,C) for channels; None if there are none."
        start = 0
        for i, (found, name, height, width) in enumerate(self.parts):
            stop = start + height * width
            if (found, name) == (kind, block):
                numbers = restore(self.codes[:, start:stop], self.lows[:, i], self.highs[:, i])
                return numbers if kind == "channel" else numbers.reshape(-1, height, width)
            start = stop
        return None

    def blocks(self) -> "list[str]":
        "Names of the blocks with maps, from the image to the output."
        return list(dict.fromkeys(name for _, name, _, _ in self.parts))


def encode_maps(
    snapshot: SnapshotTaken,
    number: int,  # of the snapshot within its run, from 0
) -> "EncodedMaps | None":
    "The maps of a snapshot in bytes; None if it has none."
    parts, arrays = [], []
    for kind, prefix in KINDS.items():
        for name, array in snapshot.arrays.items():
            if name.startswith(prefix) and array.ndim >= 2 and array.size:
                tall, wide = (1, array.shape[1]) if kind == "channel" else array.shape[-2:]
                parts.append((kind, name[len(prefix) :], int(tall), int(wide)))
                arrays.append(array.reshape(len(array), -1))
    n = min([len(snapshot.indices), *(len(array) for array in arrays)])
    if not parts or not n:
        return None
    indices = snapshot.indices[snapshot.mapped_rows(n)].tolist()
    coded = quantise(np.concatenate([array[:n] for array in arrays], axis=1), [h * w for _, _, h, w in parts])
    return EncodedMaps(number, snapshot.epoch, indices, parts, *coded)


class RunMaps:
    "The maps of a run's snapshots, thinned, and the images they belong to."

    def __init__(self, limit: int = 40):
        "Keep at most `limit` snapshots besides the newest."
        self.limit, self.runs = limit, 0  # runs seen so far: a resumed run counts again
        self.clear()

    def clear(self, start: "RunStarted | None" = None) -> None:
        "Forget all maps; `start` is the run that begins."
        self.start, self.frames, self.images, self.indices, self.snapshots = start, ThinnedList(self.limit), None, [], 0
        self.runs += 1

    def add(self, snapshot: SnapshotTaken) -> "EncodedMaps | None":
        "Add a snapshot; its encoded maps, if it has any."
        frame = encode_maps(snapshot, self.snapshots)
        self.snapshots += 1
        if frame is None:
            return None
        if not self.frames.seen:
            self.frames.limit = max(2, min(self.limit, BUDGET // frame.codes.nbytes))
        self.frames.append(frame)
        if self.images is None and len(snapshot.arrays.get("images", ())) == len(snapshot.indices):
            rows = snapshot.mapped_rows(len(frame.indices))
            self.images, self.indices = snapshot.arrays["images"][rows], frame.indices
        return frame

    @property
    def attention(self) -> "bool | str | None":
        "The setting `attention` of the run; None if unknown."
        return self.start.config.get("attention") if self.start else None

    def numbers(self) -> "list[int]":
        "The numbers of the snapshots kept."
        return [frame.number for frame in self.frames]

    def nearest(self, epoch: "int | None") -> "EncodedMaps | None":
        "The maps nearest to an epoch; the newest if it is None."
        return (
            self.frames.last
            if epoch is None
            else min(self.frames, key=lambda frame: abs(frame.epoch - epoch), default=None)
        )

    def first_block(self) -> "str | None":
        "The block to show first: the deepest whose maps still have enough cells to tell places apart."
        last = self.frames.last
        if last is None:
            return None
        fine = [name for kind, name, height, width in last.parts if kind != "channel" and max(height, width) >= PLACES]
        return max(fine, key=last.blocks().index) if fine else last.blocks()[0]
