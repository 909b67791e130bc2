"""`load_encoder`: a pretrained network by its name or file, ready to turn images into features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_float, check_in, check_int, describe
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.weights import check_weights_file
from dcacn_nb.encoders.choice import choose_engine
from dcacn_nb.encoders.engines import ENGINES, Run, start_engine
from dcacn_nb.encoders.names import check_name
from dcacn_nb.encoders.networks import Network, Pixels, packaged_network, timm_network
from dcacn_nb.encoders.weights import DEFAULT, PACKAGED


class Encoder:
    "A pretrained network: images in, features out."

    def __init__(
        self,
        network: Network,
        engine: str,  # one of ENGINES
        run: Run,  # the network in that engine
    ):
        self.name, self.weights, self.size, self.dim = network.name, network.weights, network.size, network.dim
        self.interpolation = network.interpolation  # for resizing images to `size`
        self.mean, self.std = network.mean, network.std  # per channel, pixels in [0, 1]
        self.engine, self._network, self._run = engine, network, run
        self.at_once = 1 if engine.startswith("torch") else 2  # calls that do not hinder one another

    def __call__(
        self,
        images: "Tensor | np.ndarray",  # (B,C,S,S) uint8, C 1 or 3, S = self.size
    ) -> Tensor:  # (B,D) float32, on the CPU
        "Features of a batch of images."
        return self._run(self._checked(images))

    @property
    def network(self) -> Network:
        "The network in itself, whatever engine computes it."
        return self._network

    @property
    def has_maps(self) -> bool:
        "Whether `maps` works: it does for networks of timm."
        return hasattr(self._network.module, "forward_features")

    def maps(
        self,
        images: "Tensor | np.ndarray",  # (B,C,S,S) uint8
    ) -> Tensor:  # (B,h,w) float32 >= 0, each of sum 1
        "Where the network looks: the class token's attention where there is one, else the length of the last features."
        from dcacn_nb.encoders.maps import attention_maps

        module = self._network.module
        if module is None or not self.has_maps:
            raise ValueError(f"encoder {self.name!r} has no maps; use 'lite0' or a model of timm")
        pixels = Pixels(torch.nn.Identity(), self._network.mean, self._network.std)
        device = next(module.parameters()).device
        return attention_maps(module, pixels(self._checked(images)).to(device)).float().cpu()

    @property
    def has_text(self) -> bool:
        "Whether `encode_text` works: it does for networks that were trained with texts."
        return self._network.text is not None

    def encode_text(
        self,
        texts: "list[str]",
    ) -> Tensor:  # (n,D) float32, to compare with features of images by cosine
        "Features of texts."
        if self._network.text is None:
            raise ValueError(f"encoder {self.name!r} has no text tower; load one named 'open_clip:NAME/PRETRAINED'")
        if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"texts must be a list of strings, got {texts!r}")
        return self._network.text(list(texts))

    def about(self) -> dict:  # plain values
        "What computed the features."
        facts = {key: self._network.facts.get(key) for key in ("licence", "trained_on")}
        places = {"file": self._network.onnx, "weights_file": self._network.file}
        facts |= {part: str(path.absolute()) for part, path in places.items() if path is not None}
        return {"name": self.name, "weights": self.weights, "size": self.size, "engine": self.engine} | facts

    def _checked(self, images: "Tensor | np.ndarray") -> Tensor:
        "The images as a tensor with three channels, or an error that says what is wrong."
        images = torch.from_numpy(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
        ok = isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 4 and len(images) > 0
        if not ok or images.shape[1] not in (1, 3) or images.shape[2:] != (self.size, self.size):
            side = f"{self.size},{self.size}"
            raise ValueError(
                f"images must be uint8 of shape (B,3,{side}) or (B,1,{side}), got {describe(images)}; "
                f"resize them to the size of encoder {self.name!r}, {self.size} px"
            )
        return images.cpu().expand(-1, 3, -1, -1).contiguous()

    def __repr__(self) -> str:
        return f"Encoder({self.name}: {self.size} px -> {self.dim} features, by {self.engine})"


def load_encoder(
    name: "str | Path" = DEFAULT,  # "lite0", "lite2", a model of timm, "open_clip:NAME/PRETRAINED", or an .onnx file
    device: "str | torch.device" = "auto",  # "auto", "cpu", "cuda", "mps"
    engine: str = "auto",  # "auto": the fastest one, by a measurement of about a second; or one of ENGINES
    weights: "str | Path | None" = None,  # a local .safetensors or .pth; None: the encoder's own
    size: "int | None" = None,  # px, side of the images; None: what the network was trained with
    mean: "tuple | None" = None,  # of red, green, blue in [0, 1]; None: what the network was trained with
    std: "tuple | None" = None,  # likewise
    cache: "str | Path | bool | None" = None,  # folder of weights and exported networks; None: default; False: none
) -> Encoder:
    "A pretrained encoder by its name or file. On a GPU it computes in bfloat16, which is untested on a GPU."
    check_in("engine", engine, ("auto", *ENGINES))
    size = None if size is None else check_int("size", size, low=8)
    where = pick_device(device)
    check_name(str(name), weights)
    file = None if weights is None else check_weights_file(weights)
    network = _network(str(name), file, size, cache)
    network = replace(network, mean=_three("mean", mean, network.mean), std=_three("std", std, network.std), file=file)
    if engine == "auto":
        engine, run = choose_engine(network, where, cache)
    else:
        run = start_engine(engine, network, where, cache)
    return Encoder(network, engine, run)


def _network(name: str, weights: "Path | None", size: "int | None", cache: "str | Path | bool | None") -> Network:
    "The network of that name, which is checked."
    if name.startswith("open_clip:"):
        from dcacn_nb.encoders.clip import clip_network

        return clip_network(name.removeprefix("open_clip:"), weights, size)
    if name in PACKAGED:
        return packaged_network(name, size, cache)
    if name.endswith(".onnx"):
        from dcacn_nb.encoders.onnx_files import onnx_network

        return onnx_network(name, size)
    return timm_network(name.removeprefix("timm:"), weights, size)


def _three(name: str, values: "tuple | None", default: "tuple[float, ...]") -> "tuple[float, ...]":
    "One value per colour, checked."
    if values is None:
        return tuple(default)
    if not isinstance(values, (tuple, list, np.ndarray)) or len(values) != 3:
        raise ValueError(f"{name} must hold three numbers, for red, green and blue in [0, 1], got {values!r}")
    return tuple(check_float(name, value, 0.0, 1.0, open_low=name == "std") for value in values)
