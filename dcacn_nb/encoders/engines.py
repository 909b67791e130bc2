"""Engines that compute a network: PyTorch, ONNX Runtime or OpenVINO."""

import hashlib
import inspect
import io
import re
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcacn_nb.core.files import atomic_write
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import cache_folder
from dcacn_nb.encoders.networks import Network, Pixels

log = logger(__name__)

ENGINES = ("torch", "onnxruntime", "openvino", "torch-bf16", "openvino-bf16")
BATCH = 16  # images at a time: more is not faster on a CPU, and needs more memory

Run = Callable[[Tensor], Tensor]  # (B,3,S,S) uint8 -> (B,D) float32
Answer = Callable[[np.ndarray], np.ndarray]  # the same, or what a user's file takes and gives


def has_amx(
    cpuinfo: "str | Path" = "/proc/cpuinfo",  # where Linux describes the processor
) -> bool:
    "Whether the processor multiplies matrices of bfloat16 in hardware (AMX). Known on Linux only."
    try:
        return "amx_bf16" in Path(cpuinfo).read_text("utf-8", "replace").split()
    except OSError:
        return False


def version(
    library: str,  # as it is imported
) -> str:
    "The version of an engine's library; some builds have another name on PyPI than onnxruntime."
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return import_module(library).__version__


def usable_engines(
    network: Network,
    device: torch.device,
) -> "list[str]":  # the engines that `auto` chooses from
    "Engines that are installed, suit the device, and are not slower by design."
    if device.type != "cpu":
        return ["torch-bf16" if device.type == "cuda" else "torch"]
    found = [engine for engine in ENGINES if has_amx() or not engine.endswith("bf16")]
    return [e for e in found if find_spec(e.removesuffix("-bf16")) and (network.module is not None or "torch" not in e)]


def start_engine(
    engine: str,  # one of ENGINES
    network: Network,
    device: torch.device,
    cache: "str | Path | bool | None" = None,  # folder of exported networks; None: the default one; False: none
) -> Run:
    "A function from images to features, computed by one engine."
    library = engine.removesuffix("-bf16")
    if device.type != "cpu" and library != "torch":
        raise ValueError(f"engine must be 'torch' or 'torch-bf16' on device {str(device)!r}, got {engine!r}")
    if not find_spec(library):
        raise ImportError(f"engine {engine!r} is not installed; run: pip install {library}")
    if library == "torch" and network.module is None:
        raise ValueError(f"engine must be 'onnxruntime' or 'openvino' for an ONNX file, got {engine!r}")
    if library == "torch":
        return torch_engine(network, device, engine.endswith("bf16"))
    model = network.onnx or exported(network, cache)
    threads = torch.get_num_threads()
    answer = onnxruntime_engine(model) if library == "onnxruntime" else openvino_engine(model, threads, engine)
    run = side_by_side(answer, threads, network.batch)
    return lambda images: run(images.numpy()) if network.onnx is None else _by_file(network, run, images)


def torch_engine(
    network: Network,
    device: torch.device,
    bf16: bool = False,  # compute in bfloat16 where PyTorch deems it safe
) -> Run:
    "The network in PyTorch. A GPU takes the same code in bfloat16; that is untested on a GPU."
    assert network.module is not None
    pixels = Pixels(network.module, network.mean, network.std).eval()
    pixels.to(device).to(memory_format=torch.channels_last)

    def run(images: Tensor) -> Tensor:
        images = images.to(device, memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return pixels(images).float().cpu()

    return run


def onnxruntime_engine(
    model: "bytes | Path",  # an ONNX file, or its content
) -> Answer:
    "A graph in ONNX Runtime on one thread of the CPU."
    from dcacn_nb.encoders.onnx_files import open_session

    session = open_session(model)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def openvino_engine(
    model: "bytes | Path",  # an ONNX file, or its content
    threads: int,  # that may call at the same time
    engine: str = "openvino",  # "openvino-bf16": in bfloat16
) -> Answer:
    "A graph in OpenVINO on the CPU. The precision is named, since on some processors the default is bfloat16."
    import openvino

    core = openvino.Core()
    precision = "bf16" if engine.endswith("bf16") else "f32"
    graph = core.read_model(model if isinstance(model, bytes) else str(model))
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
    compiled, own = core.compile_model(graph, "CPU", options), threading.local()

    def answer(images: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):  # one computes for one thread at a time
            own.request = compiled.create_infer_request()
        return own.request.infer([images])[0]  # infer copies its answers

    return answer


def side_by_side(
    answer: Answer,  # by one thread, called by several at once
    threads: int,
    size: "int | None" = None,  # images that a call must have; None: any number
) -> "Callable[[np.ndarray], Tensor]":
    "A batch in pieces, a thread for each: threads that share a piece would wait for one another at every layer."
    pool = ThreadPoolExecutor(threads, "encoder")

    def run(images: np.ndarray) -> Tensor:
        step = size or -(-len(images) // threads)
        pieces = [images[i : i + step] for i in range(0, len(images), step)]
        return torch.from_numpy(np.concatenate(list(pool.map(answer, pieces))))

    return run


def _by_file(network: Network, run: "Callable[[np.ndarray], Tensor]", images: Tensor) -> Tensor:
    "Features by a user's ONNX file: images normalised before, in batches of the size that it insists on, pooled after."
    from dcacn_nb.encoders.onnx_files import pooled

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (network.mean, network.std))
    ready = ((images.float() - mean) / std).numpy()
    fill = -len(ready) % (network.batch or 1)
    ready = np.concatenate([ready, ready[:1].repeat(fill, 0)])
    return torch.from_numpy(pooled(run(ready).numpy())[: len(images)].astype(np.float32))


def exported(
    network: Network,
    cache: "str | Path | bool | None" = None,  # folder; None: the default one; False: keep nothing
) -> "bytes | Path":  # an ONNX file from uint8 images (B,3,S,S) to features, B free
    "The network as an ONNX file: from the cache, where its name holds its checksum, else exported and kept."
    if cache is False:
        return export_onnx(network)
    folder = cache_folder(cache) / "encoders"
    facts = [network.weights, network.size, network.mean, network.std, torch.__version__, metadata.version("timm")]
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    stem = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', network.name)[:60]}-{key}"
    damaged = []
    for path in folder.glob(f"{stem}-*.onnx"):
        if _is_whole(path):
            return path
        log.warning("%s is damaged; the network is exported again", path)
        damaged.append(path)
    content = export_onnx(network)
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    for other in set(damaged) - {path}:
        other.unlink(missing_ok=True)
    return path if _is_whole(path) else atomic_write(path, content)  # another process may have written it meanwhile


def _is_whole(path: Path) -> bool:
    "Whether a file is there and has the checksum that ends its name."
    return path.is_file() and path.stem.endswith(hashlib.sha256(path.read_bytes()).hexdigest()[:16])


def export_onnx(
    network: Network,
) -> bytes:  # an ONNX file from uint8 images (B,3,S,S) to features, B free
    "The network as ONNX, normalisation included."
    assert network.module is not None
    example = torch.zeros(2, 3, network.size, network.size, dtype=torch.uint8)
    # The older exporter needs the package onnx only, and a tenth of the time of the newer one.
    older: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    pixels: nn.Module = Pixels(network.module, network.mean, network.std).cpu().eval()
    axes = {"images": {0: "batch"}, "features": {0: "batch"}}
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["features"], "dynamic_axes": axes}
    file: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # it says that it is the older one, and names what tracing makes constant
        torch.onnx.export(pixels, (example,), file, opset_version=17, **names, **older)
    return file.getvalue()
