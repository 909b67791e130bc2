"""Where an encoder looks: attention of the class token, or the energy of the last layer."""

from typing import Any

import torch
from torch import Tensor, nn


def attention_maps(
    module: Any,  # a network of timm
    images: Tensor,  # (B,3,S,S) normalised
) -> Tensor:  # (B,h,w) >= 0, sum 1
    "A map per image: the class token's attention in a plain transformer, elsewhere the length of the features."
    blocks = getattr(module, "blocks", None)
    attn: Any = getattr(blocks[-1], "attn", None) if isinstance(blocks, nn.Sequential | nn.ModuleList) else None
    seen: dict[str, Tensor] = {}
    hooks = []
    plain = type(attn).__name__ == "Attention" and hasattr(attn, "q_norm")  # others turn the queries after this point
    if plain and getattr(module, "cls_token", None) is not None:
        for name in ("q_norm", "k_norm"):
            layer = getattr(attn, name)
            hooks.append(layer.register_forward_hook(lambda _m, _in, out, name=name: seen.update({name: out})))
    try:
        with torch.inference_mode():
            features = module.forward_features(images)
    finally:
        for hook in hooks:
            hook.remove()
    extra = getattr(module, "num_prefix_tokens", 0)
    if seen:
        logits = seen["q_norm"][:, :, :1] @ seen["k_norm"].transpose(-2, -1) * attn.scale  # of the class token
        found = logits.softmax(-1)[:, :, 0, extra:].mean(1)  # mean of the heads
        return _square(found, module)
    if features.ndim == 3:
        return _square(features[:, extra:].norm(dim=-1), module)
    if getattr(module, "output_fmt", "NCHW") == "NHWC":
        features = features.permute(0, 3, 1, 2)
    energy = features.norm(dim=1)
    return energy / energy.sum((1, 2), keepdim=True).clamp_min(1e-12)


def _square(tokens: Tensor, module: Any) -> Tensor:
    "Values of patches as maps (B,h,w), sum 1."
    grid = getattr(getattr(module, "patch_embed", None), "grid_size", None)
    side = round(tokens.shape[1] ** 0.5)
    height, width = grid or (side, side)
    tokens = tokens / tokens.sum(1, keepdim=True).clamp_min(1e-12)
    return tokens.reshape(-1, height, width)
