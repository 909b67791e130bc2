"""From files or arrays to rows of features: decoded in threads, encoded in batches, written as they come."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from dcacn_nb.core.seeds import generator
from dcacn_nb.data.depth import BitsInUse
from dcacn_nb.data.folders import check_all, check_any_left, in_order, or_error, refuse_or_log
from dcacn_nb.data.image_file import AnImage, open_image, reading
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.listing import Listing
from dcacn_nb.data.pixels import from_chw, read_upright, squeeze_square, to_chw
from dcacn_nb.encoders.feature_cache import FileRows, MemoryRows, Shapes
from dcacn_nb.method.views import Draws, MultiCrop, as_float, augment, crop_resize, draw_augmentation, sample_boxes

RULES = 5  # version of the rules from files to features: a new one makes all old entries useless
VIEW_STREAM = 11  # names the draws of views among all draws of a seed
DECODERS = 2  # threads that decode
_AHEAD = 2  # batches that may wait, decoded, beside the two that the encoder has

Picture = tuple[np.ndarray, np.ndarray]  # (3,S,S) for the encoder, (3,T,T) to show


@dataclass(frozen=True)
class Pictures:
    "Images to encode, read one at a time."

    root: Path  # folder of the files; of an array: what an error calls it
    names: list[str]  # one per image, for errors
    read: Callable[[int, int], Image.Image]  # (number, side needed in px) -> picture
    check: "Callable[[str, bool], object]" = lambda on_error, progress: None  # called before any work


def pictures_of_files(listing: Listing) -> Pictures:
    "The files of a folder. Their headers are read first: a file that is no image ends the call before any work."
    used = BitsInUse(listing)
    read = lambda i, size: read_upright(listing.place(i), size, used)
    return Pictures(listing.root, listing.files, read, partial(_open_all, listing))


def _open_all(listing: Listing, on_error: str, progress: bool) -> None:
    "Read all headers, and no more: to ask a PNG file for its orientation would decode it."
    found = check_all(listing, list(range(len(listing.files))), progress, _open)
    bad = {listing.files[i]: reason for i, reason in found if reason is not None}
    refuse_or_log(listing.root, bad, on_error)
    check_any_left(listing, len(listing.files) - len(bad), bad)


def _open(path: AnImage) -> None:
    "Read the header."
    with reading(path), open_image(path):
        pass


def pictures_of_tensor(images: ImageSet) -> Pictures:
    "Images in memory."
    name = Path(str(images.protocol.get("source", "array")))
    return Pictures(name, [f"image {i}" for i in range(len(images))], lambda i, _: from_chw(images.images[i].numpy()))


@dataclass(frozen=True)
class Plan:
    "What is made of every image."

    size: int  # side of the square that is encoded, px
    dim: int  # D, length of a feature
    resample: Image.Resampling  # how images are resized to it
    thumbnail: int  # side of the small picture, px; 0: none
    crops: "tuple[MultiCrop, int, int] | None" = None  # of the views: how they are drawn, how many, the seed

    @property
    def views(self) -> int:
        "Number of views beside the whole image."
        return 0 if self.crops is None else self.crops[1]

    def shapes(self) -> Shapes:
        "The arrays that are written, and what one row of each is."
        row = (1 + self.views, self.dim) if self.views else (self.dim,)
        thumbs: Any = {"images": (np.dtype(np.uint8), (3, self.thumbnail, self.thumbnail))} if self.thumbnail else {}
        return {"features": (np.dtype(np.float32), row)} | thumbs

    def prepare(self, pictures: Pictures, number: int) -> Picture:
        "One image as the square that is encoded, and as a small picture."
        picture = pictures.read(number, self.size).convert("RGB")
        square = to_chw(squeeze_square(picture, self.size, self.resample))
        return square, to_chw(picture, self.thumbnail) if self.thumbnail else square[:, :0, :0]


def encode_all(
    pictures: Pictures,
    encoder: Callable[[Tensor], Tensor],  # (B,3,S,S) uint8 -> (B,D)
    plan: Plan,
    rows: "FileRows | MemoryRows",  # filled; may hold the rows of an earlier, interrupted call
    batch_size: int,  # images encoded at once
    on_error: str,  # "raise" or "skip" unreadable files
    progress: bool,  # show a bar
    observer: "Callable[[int], object]",  # called after every batch with its number of images
) -> None:
    "Decode, encode and write every image that has no row yet."
    count, before = len(pictures.names), rows.done.images
    numbers = range(before, count)
    decoded = in_order(or_error(partial(plan.prepare, pictures)), numbers, _AHEAD * batch_size, DECODERS)
    batches = _batches(zip(numbers, decoded), batch_size)
    # While batches are computed, the next one is gathered and the last one written.
    encoded = in_order(partial(_encode_batch, pictures, encoder, plan), batches, 2, getattr(encoder, "at_once", 1))
    bar = tqdm(total=count, initial=before, desc="encoding", unit="image", disable=not progress, leave=False)
    with closing(decoded), closing(encoded), bar:
        for block, bad, done in encoded:
            refuse_or_log(pictures.root, bad, on_error, len(rows.done.skipped))
            size = done - rows.done.images
            rows.append(block, done, bad)
            bar.update(size)
            observer(size)


def _batches(items: Iterable, size: int) -> "Iterator[list]":
    "Lists of `size` items, the last one shorter."
    while batch := list(islice(items, size)):
        yield batch


def _encode_batch(
    pictures: Pictures, encoder: Callable[[Tensor], Tensor], plan: Plan, batch: "list[tuple[int, Picture | str]]"
) -> "tuple[dict[str, np.ndarray], dict[str, str], int]":
    "The rows of a few images, the reasons why some have none, and how many images are dealt with after them."
    bad = {pictures.names[i]: result for i, result in batch if isinstance(result, str)}
    made = {i: result for i, result in batch if not isinstance(result, str)}
    return _rows(made, pictures, encoder, plan) if made else {}, bad, batch[-1][0] + 1


def _rows(
    made: "dict[int, Picture]", pictures: Pictures, encoder: Callable[[Tensor], Tensor], plan: Plan
) -> "dict[str, np.ndarray]":
    "The rows of images that could be read."
    squares = torch.from_numpy(np.stack([square for square, _ in made.values()]))
    features = [encoder(squares)]
    if plan.crops is not None:
        crops, count, seed = plan.crops
        features += [encoder(view) for view in draw_crops(squares, list(made), crops, count, seed)]
    for view in features:
        _check_output(view, [pictures.names[i] for i in made], encoder, plan.dim)
    block = {"features": (torch.stack(features, 1) if plan.views else features[0]).numpy()}
    return block | ({"images": np.stack([small for _, small in made.values()])} if plan.thumbnail else {})


def _check_output(features: Tensor, names: "list[str]", encoder: object, dim: int) -> None:
    "Refuse features that are not what the encoder promised."
    if tuple(features.shape) != (len(names), dim):
        raise ValueError(f"encoder {encoder!r} must give features ({len(names)},{dim}), got {tuple(features.shape)}")
    wrong = ~features.isfinite().all(1)
    if wrong.any():
        first = names[int(wrong.nonzero()[0])]
        raise ValueError(
            f"encoder {encoder!r} gave NaN or infinity for {int(wrong.sum())} of {len(names)} images, "
            f"the first of them {first}; its weights may be damaged: load them again, or take another encoder"
        )


def draw_crops(
    squares: Tensor,  # (B,3,S,S) uint8
    numbers: "list[int]",  # of the images: what is drawn is a function of seed and number
    crops: MultiCrop,  # how strongly views differ
    count: int,  # views of each image: two global crops, then local ones
    seed: int,
) -> "list[Tensor]":  # `count` of (B,3,S,S) uint8
    "Random crops of every image, each enlarged to the size of the image."
    kinds = [(crops.global_scale, crops.weak)] * min(2, count)
    kinds += [(crops.local_scale, crops.strong)] * (count - len(kinds))
    generators = [generator(seed, VIEW_STREAM, i) for i in numbers]
    images, size = as_float(squares), squares.shape[-1]
    made = []
    for scale, knobs in kinds:
        boxes = torch.cat([sample_boxes(1, size, size, scale, crops.ratio, g) for g in generators])
        flip = torch.cat([torch.rand(1, generator=g) for g in generators]) < knobs.flip
        draws = zip(*(draw_augmentation(1, size, knobs, g) for g in generators))
        view = augment(crop_resize(images, boxes, size, flip), Draws(*map(torch.cat, draws)), knobs)
        made.append(view.mul(255).round().to(torch.uint8))
    return made
