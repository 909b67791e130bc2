"""The way out of an image set: batches by index, from wherever the images are."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_int
from dcacn_nb.data.image_set import ImageSet


def fetch(
    images: "ImageSet | Tensor",  # (N,...) images or features, on any device, memory-mapped or not
    indices: "Tensor | np.ndarray | list",  # (B,) positions, in any order
    device: "torch.device | str | None" = None,  # where the batch goes; None: where the images are
) -> Tensor:  # (B,...), as stored
    "One batch by index: gathered on the images' device, then moved if that is another one."
    tensor = images.images if isinstance(images, ImageSet) else images
    batch = tensor.index_select(0, torch.as_tensor(indices, dtype=torch.int64, device=tensor.device))
    device = tensor.device if device is None else torch.device(device)
    if device.type == "cuda" and not batch.is_cuda:
        # from pinned memory the copy runs beside the computation
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def batches(
    images: "ImageSet | Tensor",  # (N,C,H,W) uint8
    batch_size: int,  # images per batch; the last may be smaller
    device: "torch.device | str | None" = None,  # where batches go; None: where the images are
    indices: "Tensor | np.ndarray | list | None" = None,  # (M,) positions in order; None: all
) -> Iterator[Tensor]:  # (B,C,H,W) uint8
    "The images in order, batch by batch: the one way in for sets larger than memory."
    check_int("batch_size", batch_size, low=1)
    positions = torch.arange(len(images)) if indices is None else torch.as_tensor(indices, dtype=torch.int64)
    for start in range(0, len(positions), batch_size):
        yield fetch(images, positions[start : start + batch_size], device)


def to_storage(
    images: "ImageSet | Tensor",  # (N,C,H,W) uint8
    device: "torch.device | str",  # where training computes
    limit_bytes: "int | None" = None,  # most the images may take there; None: half of the free memory
) -> Tensor:  # the same images, resident on the device or left where they are
    "Move all images to the device if they take at most half of its free memory; else leave them for `fetch` to stream."
    tensor = images.images if isinstance(images, ImageSet) else images
    device = torch.device(device)
    if device.type == tensor.device.type:
        return tensor
    if limit_bytes is None:
        limit_bytes = _free_bytes(device) // 2
    return tensor.to(device) if tensor.numel() * tensor.element_size() <= limit_bytes else tensor


def _free_bytes(device: torch.device) -> int:
    "Memory free on a device, in bytes."
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return 0  # an unknown kind of device: stream
