"""Networks in ONNX files: what they take and give is read from the graph and found by one trial."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime

from dcacn_nb.encoders.networks import Network

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def open_session(
    model: "bytes | Path",  # an ONNX file, or its content
) -> onnxruntime.InferenceSession:
    "A session of ONNX Runtime on one thread of the CPU, or an error that says what is wrong with the file."
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen classes of errors, without a common one
        where = "the exported network" if isinstance(model, bytes) else f"ONNX file {str(model)!r}"
        reason = (str(error).splitlines() or [""])[0][:300]
        raise ValueError(f"{where} cannot be read ({reason}); export or copy it again") from error


def onnx_network(
    path: "str | Path",  # .onnx
    size: "int | None" = None,  # px; None: read from the graph
) -> Network:
    "A network from an ONNX file that takes normalised float images (B,3,S,S)."
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"ONNX file {str(path)!r} does not exist")
    session = open_session(path)
    batch, side = _input_of(session, path, size)
    try:
        found = session.run(None, {session.get_inputs()[0].name: np.zeros((batch or 1, 3, side, side), np.float32)})[0]
    except Exception as error:  # see open_session
        reason = (str(error).splitlines() or [""])[0][:300]
        raise ValueError(
            f"ONNX file {str(path)!r} fails on images of {side} px ({reason}); give another size="
        ) from error
    dim = pooled(found).shape[1]
    sha = hashlib.sha256(path.read_bytes())
    outside = path.with_name(path.name + ".data")  # where exporters put the weights of large networks
    if outside.is_file():
        sha.update(outside.read_bytes())
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    return Network(path.stem, sha.hexdigest(), side, dim, mean, std, onnx=path, batch=batch)


def _input_of(session: onnxruntime.InferenceSession, path: Path, size: "int | None") -> "tuple[int | None, int]":
    "The batch size that the graph insists on, if it does, and the side of its images."
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "none"
    text = f"ONNX file {str(path)!r} must have one input, float images (B,3,S,S); it has {found}"
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4:
        raise ValueError(text)
    if isinstance(shape[1], int) and shape[1] != 3:
        raise ValueError(f"{text}; export it with channels first and three of them")
    sides = {side for side in shape[2:] if isinstance(side, int)}
    if len(sides) > 1:
        raise ValueError(f"{text}; the images must be square")
    if size is None and not sides:
        raise ValueError(f"ONNX file {str(path)!r} takes images of any size; say which one, such as size=224")
    if size is not None and sides and sides != {size}:
        raise ValueError(f"size must be {sides.pop()}, which the graph of {str(path)!r} asks for, got {size}")
    return shape[0] if isinstance(shape[0], int) else None, size or sides.pop()


def pooled(
    output: np.ndarray,  # (B,D), (B,D,h,w) or (B,T,D)
) -> np.ndarray:  # (B,D)
    "One feature per image: maps are averaged over places, sequences over tokens."
    if output.ndim == 4:
        return output.mean((2, 3))
    if output.ndim == 3:
        return output.mean(1)
    if output.ndim != 2:
        raise ValueError(f"the network must give (B,D), (B,D,h,w) or (B,T,D), got {output.shape}")
    return output
