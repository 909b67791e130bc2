"""A trained clusterer as one file for programs without this package: ONNX, or PyTorch's exported program (.pt2).

It takes uint8 images, as they are stored, and gives the probability of each cluster and the embedding. The file is read
back and compared with the network before it gets its name."""

import inspect
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.files import atomic_write, user_path
from dcacn_nb.encoders.encoder import load_encoder
from dcacn_nb.encoders.networks import Network, Pixels
from dcacn_nb.encoders.onnx_files import open_session
from dcacn_nb.method.config import build_views
from dcacn_nb.report.model_card import model_card
from dcacn_nb.runs.checkpoint import load_checkpoint
from dcacn_nb.runs.folder import checkpoint_of, load_run
from dcacn_nb.runs.inputs import encoder_source, trained_input

FORMATS = (".onnx", ".pt2")
TOLERANCE = 1e-3  # largest difference of a probability, or of an embedding in units of its largest value
BATCHES = (2, 1, 5)  # sizes of the batches that are compared; the first is the one that is exported


class Clusterer(nn.Module):
    "From uint8 images to probabilities and embedding, whatever is in between."

    def __init__(
        self,
        model: nn.Module,  # gives Outputs(h, z, p)
        prepare: "Callable[[Tensor], Tensor]",  # (B,C,H,W) uint8 -> what the model takes
        features: "nn.Module | None" = None,  # the encoder, if the model is a head; its features are the embedding
    ):
        super().__init__()
        self.model, self.prepare, self.features = model, prepare, features

    def forward(
        self,
        images: Tensor,  # (B,C,H,W) uint8
    ) -> "tuple[Tensor, Tensor]":  # (B,K) probabilities, (B,D) embedding
        "Probabilities and embedding."
        if self.features is None:
            out = self.model(self.prepare(images))
            return out.p, out.h
        features = self.features(images)
        return self.model(features).p, features


@dataclass(frozen=True)
class Exported:
    "What was written."

    path: Path
    card: Path  # the model card beside it
    shape: "tuple[int, int, int]"  # (C,H,W) of the images
    difference: float  # the largest one found between the file and the network, as TOLERANCE measures it


def export_network(
    run_dir: "str | Path",  # a run folder
    target: "str | Path",  # new file, .onnx or .pt2; the model card .md is written beside it
    which: str = "last",  # "last", or "best" by the label-free score
    weights: "str | Path | None" = None,  # the encoder's weights file, if it has moved
) -> Exported:
    "Write a run's network, and a model card beside it; nothing is written if the file would not say the same."
    run_dir, target = user_path(run_dir, "run_dir"), Path(target).expanduser()
    check_in("ending of the file", target.suffix.lower(), FORMATS)
    card = target.with_suffix(".md")
    for path in (target, card):
        if path.exists():
            raise FileExistsError(f"{path} exists already; give a new place")
    kept = checkpoint_of(run_dir, which)
    clusterer, shape = load_clusterer(run_dir, kept, weights)
    trials = [_images(count, shape) for count in BATCHES]
    write, read = (_write_onnx, _read_onnx) if target.suffix.lower() == ".onnx" else (_write_pt2, _read_pt2)
    content = write(clusterer, trials[0])
    difference = compare(clusterer, read(content), trials)
    text = model_card(run_dir, target.name, which, load_checkpoint(kept)[1]["step"], shape, difference)
    atomic_write(target, content)
    atomic_write(card, text.encode())
    return Exported(target, card, shape, difference)


def load_clusterer(
    run_dir: Path,  # a run folder
    kept: Path,  # one of its checkpoints
    weights: "str | Path | None",  # the encoder's weights file, if it has moved
) -> "tuple[Clusterer, tuple[int, int, int]]":  # on the processor, in evaluation mode; and (C,H,W) of its images
    "A run's network, with what turns images into its input."
    model, config = load_run(kept)
    about = trained_input(run_dir, config)
    if "dim" not in about:
        channels, height, width = about["shape"]
        return Clusterer(model, build_views(config).plain).eval(), (channels, height, width)
    if about["encoder"] is None:
        raise ValueError(
            "the run was trained on features of an encoder unknown here; only its clusters can be exported"
        )
    name, file = encoder_source(about["encoder"])
    network = load_encoder(name, device="cpu", engine="torch", weights=weights or file).network
    pixels = Pixels(_module(network), network.mean, network.std)
    return Clusterer(model, nn.Identity(), pixels).eval(), (3, network.size, network.size)


def _module(network: Network) -> nn.Module:
    "The encoder's layers."
    if network.module is None:
        raise ValueError(f"encoder {network.name!r} is an ONNX file, which cannot be joined with the head; use both")
    return network.module


def _images(count: int, shape: "tuple[int, int, int]") -> Tensor:
    "Images to compare with: noise that gets smoother from one to the next, the same each time."
    draws = torch.rand(count, *shape, generator=torch.Generator().manual_seed(count))
    for i in range(1, count):
        draws[i] = nn.functional.avg_pool2d(draws[i][None], 2 * i + 1, stride=1, padding=i)[0]
    low, high = draws.amin((1, 2, 3), keepdim=True), draws.amax((1, 2, 3), keepdim=True)
    return (255 * (draws - low) / (high - low).clamp_min(1e-6)).to(torch.uint8)


Answers = Callable[[Tensor], "tuple[np.ndarray, np.ndarray]"]


def compare(
    clusterer: Clusterer,
    read: Answers,  # the file that was read back
    trials: "list[Tensor]",  # batches of images
) -> float:  # the largest difference, as TOLERANCE measures it
    "Refuse a file that does not answer as the network does."
    largest = 0.0
    for images in trials:
        with torch.no_grad():
            wanted = [part.float().numpy() for part in clusterer(images)]
        for name, one, other in zip(("probabilities", "embedding"), wanted, read(images)):
            if one.shape != other.shape:
                raise ValueError(f"the exported file gives {name} of shape {other.shape}, the network {one.shape}")
            difference = float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))
            if not difference <= TOLERANCE:
                text = f"the {name} of the exported file differ from the network's by {difference:.2g}"
                raise ValueError(f"{text}, more than {TOLERANCE:g}; nothing was written")
            largest = max(largest, difference)
    return largest


def _write_onnx(clusterer: Clusterer, images: Tensor) -> bytes:
    "As ONNX; the number of images is free."
    # The older exporter needs the package onnx only, and a tenth of the time of the newer one.
    older: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    names = ("images", "probabilities", "embedding")
    options: dict[str, Any] = {"input_names": names[:1], "output_names": names[1:], "opset_version": 17}
    file: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # it says that it is the older one, and names what tracing makes constant
        axes = {name: {0: "batch"} for name in names}
        torch.onnx.export(clusterer, (images,), file, dynamic_axes=axes, **options, **older)
    return file.getvalue()


def _read_onnx(content: bytes) -> Answers:
    "ONNX Runtime's answers."
    session = open_session(content)
    return lambda images: tuple(session.run(["probabilities", "embedding"], {"images": images.numpy()}))


def _write_pt2(clusterer: Clusterer, images: Tensor) -> bytes:
    "As a program of `torch.export`; the number of images is free."
    file = io.BytesIO()
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(clusterer, (images,), dynamic_shapes={"images": {0: batch}})
    torch.export.save(program, file)
    return file.getvalue()


def _read_pt2(content: bytes) -> Answers:
    "PyTorch's answers."
    module = torch.export.load(io.BytesIO(content)).module()

    def answers(images: Tensor) -> "tuple[np.ndarray, np.ndarray]":
        with torch.no_grad():
            probabilities, embedding = module(images)
        return probabilities.numpy(), embedding.numpy()

    return answers
