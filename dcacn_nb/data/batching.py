"""The way out of an image set: batches by index, from wherever the images are."""

import ctypes
import mmap
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_int
from dcacn_nb.data.image_set import ImageSet

LARGE = 2**28  # bytes from which on images may lie on the disk, and are read ahead
READERS = 4  # threads that wait for the disk
_NORMAL, _RANDOM = 0, 1  # MADV_NORMAL and MADV_RANDOM of Linux


def fetch(
    images: "ImageSet | Tensor",  # (N,...) images or features, on any device, memory-mapped or not
    indices: "Tensor | np.ndarray | list",  # (B,) positions, in any order
    device: "torch.device | str | None" = None,  # where the batch goes; None: where the images are
) -> Tensor:  # (B,...), as stored
    "One batch by index: gathered on the images' device, then moved if that is another one."
    tensor = images.images if isinstance(images, ImageSet) else images
    batch = tensor.index_select(0, torch.as_tensor(indices, dtype=torch.int64, device=tensor.device))
    return _moved(batch, tensor.device if device is None else torch.device(device))


def _moved(batch: Tensor, device: torch.device) -> Tensor:
    "A batch on the device."
    if device.type == "cuda" and not batch.is_cuda:
        # from pinned memory the copy runs beside the computation
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def fetch_ahead(
    wanted: "Iterable[tuple]",  # (images, positions, ...): as of `fetch`, and whatever belongs to the batch
    device: "torch.device | str",  # where batches go
) -> "Generator[tuple, None, None]":  # (batch, positions, ...) in the same order, the same bits as by `fetch`
    "Batch after batch. Of images that may be on the disk, the next one is read while this one is used."
    with ThreadPoolExecutor(READERS, "dcacn-fetch") as pool, ExitStack() as until_the_end:
        before: Callable | None = None
        known: set[int] = set()
        for request in wanted:
            if _is_large(request[0]) and request[0].data_ptr() not in known:
                known.add(request[0].data_ptr())
                until_the_end.enter_context(read_at_random(request[0].detach().numpy()))
            coming = _begin(pool, request, torch.device(device))
            if before is not None:
                yield before()
            before = coming
        if before is not None:
            yield before()


def _is_large(images: Tensor) -> bool:
    "Whether images may lie on the disk."
    return images.device.type == "cpu" and images.numel() * images.element_size() >= LARGE


@contextmanager
def read_at_random(
    array: np.ndarray,  # C-contiguous; its file may be mapped into memory
) -> Iterator[None]:
    """While single rows are read in any order, have the system read the pages asked for and no others (Linux).

    It reads 128 kB around every page otherwise. Where the file is larger than the memory, that throws out what other
    rows need."""
    start = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    length = array.ctypes.data + array.nbytes - start
    advise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None
    say = lambda how: advise and advise(ctypes.c_void_p(start), ctypes.c_size_t(length), how)
    say(_RANDOM)
    try:
        yield
    finally:
        say(_NORMAL)


def _begin(pool: ThreadPoolExecutor, request: tuple, device: torch.device) -> Callable:
    "Start to read a batch, if that may take long; a function that returns it."
    images, positions, *rest = request
    if not _is_large(images):
        return lambda: (fetch(images, positions, device), positions, *rest)
    rows, chosen = images.detach().numpy(), np.asarray(positions)
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(rows):
        raise IndexError(f"positions must be in 0..{len(rows) - 1}, got {chosen.min()}..{chosen.max()}")
    found = np.empty((len(chosen), *rows.shape[1:]), rows.dtype)
    size = max(1, -(-len(chosen) // READERS))
    parts = [slice(start, start + size) for start in range(0, len(chosen), size)]
    # NumPy, not PyTorch: in a new thread, this would start threads of its own
    read = [pool.submit(np.take, rows, chosen[part], 0, found[part], "clip") for part in parts]

    def arrived() -> tuple:
        for one in read:
            one.result()
        return _moved(torch.from_numpy(found), device), positions, *rest

    return arrived


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
