"""Image sets from arrays in memory: which axis is which, and which numbers mean black and white."""

import warnings

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import describe
from dcacn_nb.core.text import logger
from dcacn_nb.data.image_set import ImageSet, make_protocol

log = logger(__name__)


def from_arrays(
    images: "np.ndarray | Tensor",  # (N,H,W), (N,H,W,C) or (N,C,H,W), uint8 or float in [0,1]
    labels: "np.ndarray | list | None" = None,  # (N,) class numbers, for evaluation only
    class_names: "list[str] | None" = None,  # one name per class
) -> ImageSet:  # the checked set
    "An image set from arrays in memory."
    if not isinstance(images, (np.ndarray, Tensor)):
        raise TypeError(f"images must be a NumPy array or a tensor, got {describe(images)}")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "uif":
        raise ValueError(f"images must be uint8 or float in [0, 1], got {images.dtype}")
    layout = _layout(tuple(images.shape))
    tensor = _to_uint8(images.detach().cpu() if isinstance(images, Tensor) else _shared(images))
    tensor = tensor[:, None] if layout == "NHW" else tensor.permute(0, 3, 1, 2) if layout == "NHWC" else tensor
    numbers = None if labels is None else np.asarray(labels)
    return ImageSet(tensor, numbers, class_names, protocol=make_protocol("array", tensor))


def _layout(shape: tuple) -> str:
    "Which axes an array of images has: 'NHW', 'NHWC' or 'NCHW'; unclear ones are refused."
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"images must be (N,H,W), (N,H,W,C) or (N,C,H,W) and not empty, got shape {shape}")
    if len(shape) == 3:
        if shape[0] == 3 or (shape[2] in (3, 4) and shape[0] == shape[1]):
            raise ValueError(
                f"shape {shape} is ambiguous: one colour image, or {shape[0]} grey ones? "
                "Give images[None] for one image, images[:, None] for grey ones"
            )
        return "NHW"
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        raise ValueError(
            f"shape {shape} is ambiguous: axis 1 and axis 3 could both be channels; "
            "pad the images, or give a folder of image files"
        )
    if not first and not last:
        raise ValueError(
            f"images need 1 or 3 channels on axis 1 (N,C,H,W) or axis 3 (N,H,W,C), got shape {shape}; "
            "drop an alpha channel first"
        )
    return "NCHW" if first else "NHWC"


def _to_uint8(values: Tensor) -> Tensor:
    "uint8 as it is, float in [0,1] times 255; anything else is refused."
    if values.dtype == torch.uint8:
        brightest = values[:: max(1, len(values) // 1000)].max().item()  # a thousand images are enough to see it
        if 0 < brightest < 32:
            log.warning(
                "images: the brightest value is %d of 255, so they are nearly black; if %d is white, give images / %d",
                *[brightest] * 3,
            )
        return values
    if not values.is_floating_point():
        raise ValueError(
            f"images must be uint8 or float in [0, 1], got {values.dtype}; "
            "if the values are 0..255, give images.astype('uint8')"
        )
    low, high = values.min().item(), values.max().item()
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        advice = _advice(low, high)
        raise ValueError(f"float images must be in [0, 1], got min {low:g} and max {high:g}; {advice}")
    return (values * 255).round().to(torch.uint8)


def _advice(low: float, high: float) -> str:
    "What to do with float images outside of [0, 1]."
    if not np.isfinite([low, high]).all():
        return "replace NaN and infinite values"
    if low < 0:
        return "undo the normalisation"
    return f"divide by the value that white has, such as 255 (or {high:g}, if nothing is brighter)"


def _shared(array: np.ndarray) -> Tensor:
    "A tensor on the array's memory; copied only where PyTorch cannot share it (foreign byte order, reversed axes)."
    if array.dtype.byteorder not in "=|" or any(stride < 0 for stride in array.strides):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    with warnings.catch_warnings():
        # PyTorch warns of read-only memory, such as a map opened with "r"; nothing here writes to images
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ", category=UserWarning)
        return torch.from_numpy(array)
