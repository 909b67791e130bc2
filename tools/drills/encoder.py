"""A tiny encoder: means over a grid."""

import hashlib

import torch


class GridEncoder:
    "What load_encoder returns, as far as `embed` looks at it."

    interpolation, name, size, dim = "bilinear", "grid", 16, 12

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5)).flatten(1) / 255

    def about(self) -> dict:
        "What decides the features."
        return {"name": self.name, "weights": hashlib.sha256(b"grid").hexdigest(), "size": self.size, "engine": "hand"}
