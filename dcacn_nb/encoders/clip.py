"""Networks that were trained with images and texts, from the optional package open_clip."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcacn_nb.core.checks import check_in
from dcacn_nb.encoders.networks import Network, announce, download
from dcacn_nb.encoders.weights import digest, read_weights


class ImageTower(nn.Module):
    "The half that takes images."

    def __init__(
        self,
        clip: nn.Module,  # a network of open_clip
    ):
        super().__init__()
        self.clip: Any = clip

    def forward(
        self,
        images: Tensor,  # (B,3,S,S) normalised
    ) -> Tensor:  # (B,D)
        return self.clip.encode_image(images)


def clip_network(
    name: str,  # "NAME/PRETRAINED" as open_clip.list_pretrained() has them; "NAME" with a weights file
    weights: "str | Path | None" = None,  # a local .safetensors or .pth; None: those named, downloaded if need be
    size: "int | None" = None,  # px; None: the one it was trained with
) -> Network:
    "A network of open_clip, with its text tower."
    if not find_spec("open_clip"):
        raise ImportError(f"encoder 'open_clip:{name}' needs the package open_clip; run: pip install open_clip_torch")
    import open_clip

    model, _, tag = name.partition("/")
    check_in("open_clip model", model, open_clip.list_models())
    clip = (_from_file(model, weights, size) if weights is not None else _from_hub(model, tag, size)).eval()
    tokenizer = open_clip.get_tokenizer(model)

    def text(texts: "list[str]") -> Tensor:
        with torch.inference_mode():
            return clip.encode_text(tokenizer(texts).to(next(clip.parameters()).device)).float().cpu()

    side = clip.visual.image_size if isinstance(clip.visual.image_size, int) else clip.visual.image_size[0]
    with torch.inference_mode():
        dim = clip.encode_image(torch.zeros(1, 3, side, side)).shape[1]
    facts = {"licence": None, "trained_on": None if weights is not None else f"{tag}: images with texts from the web"}
    mean, std = clip.visual.preprocess_cfg["mean"], clip.visual.preprocess_cfg["std"]
    rest: dict[str, Any] = {"module": ImageTower(clip).eval(), "text": text, "facts": facts}
    return Network(f"open_clip:{name}", digest(clip.state_dict()), side, dim, mean, std, "bicubic", **rest)


def _from_file(model: str, path: "str | Path", size: "int | None") -> Any:
    "The network with the tensors of a local file."
    import open_clip

    read_weights(path)  # a damaged file, or one with code in it, is found here
    try:
        return open_clip.create_model(model, pretrained=str(path), force_image_size=size, weights_only=True)
    except RuntimeError as error:
        differ = (str(error).splitlines()[1:] or [str(error)])[0].strip()[:200]
        raise ValueError(
            f"weights file {str(path)!r} is for another architecture than open_clip's {model!r} ({differ}); "
            "name its own encoder"
        ) from error


def _from_hub(model: str, tag: str, size: "int | None") -> Any:
    "The network with its published weights."
    import open_clip

    check_in(f"pretrained weights of {model!r}", tag, open_clip.list_pretrained_tags_by_model(model))
    cfg = dict(open_clip.get_pretrained_cfg(model, tag))
    cfg["hf_hub_id"] = (cfg.get("hf_hub") or "").strip("/")
    name, root = f"open_clip:{model}/{tag}", logging.getLogger()
    expected = lambda record: "initialized randomly" not in record.getMessage()  # true here, and no reason to worry
    root.addFilter(expected)
    try:
        announce(name, open_clip.create_model(model, load_weights=False), cfg)
    finally:
        root.removeFilter(expected)
    with download(name, cfg):
        return open_clip.create_model(model, pretrained=tag, force_image_size=size, weights_only=True)
