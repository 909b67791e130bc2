"Engines: the same answers, the fastest chosen once, ONNX files of a user, and errors that say what is wrong."

import json
import logging
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import dcacn_nb as dc
from dcacn_nb.encoders import choice, engines, load_encoder
from dcacn_nb.encoders.choice import choose_engine, measure
from dcacn_nb.encoders.engines import ENGINES, exported, has_amx, side_by_side, start_engine, usable_engines
from dcacn_nb.encoders.networks import packaged_network, timm_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def lite(cache):
    "EfficientNet-Lite0 at a small size: quick, and odd enough for TensorFlow's padding to differ on the two sides."
    return packaged_network("lite0", 74, cache)


def images(size: int, n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    "Relative difference."
    assert found.shape == wanted.shape and found.dtype == torch.float32
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("n", [1, 3, 17])
def test_engines_agree_for_any_batch(engine, n, lite, cache):
    pytest.importorskip(engine)
    pixels = images(74, n)
    wanted = start_engine("torch", lite, CPU)(pixels)
    run = start_engine(engine, lite, CPU, cache)
    assert off(run(pixels), wanted) < 2e-4
    first = run(pixels)
    run(255 - pixels)
    assert off(first, wanted) < 2e-4  # an answer is not overwritten by the next one


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_batches_may_be_computed_at_the_same_time(engine, lite, cache):
    "Every thread gets the answers to its own images, whatever the others ask."
    pytest.importorskip(engine)
    batches = list(images(74, 40).split(5))
    run = start_engine(engine, lite, CPU, cache)
    wanted = [run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, batches * 3))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted * 3))


@pytest.mark.parametrize("size, sizes", [(None, [3, 3, 1]), (2, [2, 2, 2, 1]), (7, [7])])
def test_a_batch_is_computed_in_pieces(size, sizes):
    "One piece for each thread, or pieces of the size that a file insists on; answers in the order of the images."
    seen = []
    run = side_by_side(lambda piece: seen.append(len(piece)) or 2 * piece, 3, size)
    rows = np.arange(14.0).reshape(7, 2)
    assert torch.equal(run(rows), torch.from_numpy(2 * rows)) and sorted(seen, reverse=True) == sizes


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_engines_agree_at_full_size(engine, name, cache):
    pytest.importorskip(engine)
    network = packaged_network(name, cache=cache)
    pixels = images(network.size, 2)
    assert off(start_engine(engine, network, CPU, cache)(pixels), start_engine("torch", network, CPU)(pixels)) < 2e-4


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_engines_agree_for_other_architectures(name, tmp_path):
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), tmp_path / "w.safetensors")
    network = timm_network(name, tmp_path / "w.safetensors")
    wanted = start_engine("torch", network, CPU)(images(network.size))
    assert off(start_engine("onnxruntime", network, CPU, tmp_path)(images(network.size)), wanted) < 2e-4


@pytest.mark.parametrize("engine", ["torch-bf16", "openvino-bf16"])
def test_bfloat16_is_near(engine, lite, cache):
    pytest.importorskip(engine.removesuffix("-bf16"))
    pixels = images(74)
    wanted = start_engine("torch", lite, CPU)(pixels)
    found = off(start_engine(engine, lite, CPU, cache)(pixels), wanted)
    assert found < 0.1
    if engine == "torch-bf16" or "BF16" in openvino_can():  # on other processors OpenVINO keeps to float32
        assert found > 1e-5


def openvino_can():
    "What OpenVINO says that this processor computes in."
    return pytest.importorskip("openvino").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_exported_networks_are_kept_checked_and_exported_again(lite, tmp_path, monkeypatch, caplog):
    path = exported(lite, tmp_path)
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(engines, "export_onnx", None)  # would fail if it were exported again
        assert exported(lite, tmp_path) == path
    path.write_bytes(content[:-100])
    assert exported(lite, tmp_path).read_bytes() == content and "damaged" in caplog.text
    assert isinstance(exported(lite, False), bytes)
    wanted = start_engine("torch", lite, CPU)(images(74))
    assert off(start_engine("onnxruntime", lite, CPU, False)(images(74)), wanted) < 2e-4


def test_another_process_that_exports_the_same_network_is_no_harm(lite, tmp_path, monkeypatch):
    "It removed the damaged file and wrote a whole one while this process exported: that one is left alone, and used."
    path = exported(lite, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    path.with_name(f"{path.stem[:-1]}x.onnx").write_bytes(b"damaged, and of another name")

    def meanwhile(network):
        for other in path.parent.glob("*.onnx"):
            other.unlink()
        path.write_bytes(content)
        return content

    monkeypatch.setattr(engines, "export_onnx", meanwhile)
    monkeypatch.setattr(engines, "atomic_write", None)  # on some systems a file in use cannot be replaced
    assert exported(lite, tmp_path) == path and list(path.parent.glob("*.onnx")) == [path]


def test_amx_is_read_from_the_processor(tmp_path):
    almost = "fpu avx512f amx_bf16x amx_tile avx512_bf16"
    for flags, known in (("fpu avx512f amx_bf16 amx_tile", True), (almost, False)):
        (tmp_path / "cpuinfo").write_text(f"model name : A\nflags : {flags}\n")
        assert has_amx(tmp_path / "cpuinfo") is known
    assert has_amx(tmp_path / "none") is False


def test_engines_to_choose_from(lite, monkeypatch):
    for library in ("onnxruntime", "openvino"):
        pytest.importorskip(library)
    monkeypatch.setattr(engines, "has_amx", lambda: False)
    assert usable_engines(lite, CPU) == ["torch", "onnxruntime", "openvino"]
    monkeypatch.setattr(engines, "has_amx", lambda: True)
    assert usable_engines(lite, CPU) == list(ENGINES)
    assert usable_engines(lite, torch.device("cuda")) == ["torch-bf16"]
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "openvino" else name)
    assert usable_engines(lite, CPU) == ["torch", "onnxruntime", "torch-bf16"]


def of_speed(seconds: float, shift: float = 0.0):
    "A made-up engine: a row of ones per image after a while."

    def run(pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        return torch.ones(len(pixels), 4) + shift

    return run


@pytest.fixture
def made_up(monkeypatch):
    "Engines whose speed is known; returns those that were started."
    speeds, started = {"torch": 0.01, "onnxruntime": 0.002, "openvino": 0.005}, []
    monkeypatch.setattr(choice, "SECONDS", 0.02)
    monkeypatch.setattr(choice, "usable_engines", lambda network, device: list(speeds))
    monkeypatch.setattr(choice, "version", lambda library: "1.0")  # OpenVINO need not be installed for these

    def start(engine, *args):
        started.append(engine)
        return of_speed(speeds[engine])

    monkeypatch.setattr(choice, "start_engine", start)
    return started


def test_the_fastest_engine_is_chosen_once(made_up, lite, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert choose_engine(lite, CPU, tmp_path)[0] == "onnxruntime"
    assert made_up == ["torch", "onnxruntime", "openvino"] and "onnxruntime is the fastest here" in caplog.text
    (kept,) = (tmp_path / "encoders").glob("engine-*.json")
    assert json.loads(kept.read_text())["engine"] == "onnxruntime"
    made_up.clear()
    assert choose_engine(lite, CPU, tmp_path)[0] == "onnxruntime" and made_up == ["onnxruntime"]
    kept.write_text("{")  # damaged: measured again
    made_up.clear()
    assert choose_engine(lite, CPU, tmp_path)[0] == "onnxruntime" and len(made_up) == 3
    made_up.clear()
    choose_engine(lite, CPU, False), choose_engine(lite, CPU, False)
    assert len(made_up) == 6  # nothing remembered


def test_a_choice_holds_for_one_machine_and_number_of_threads(made_up, lite, tmp_path, monkeypatch):
    choose_engine(lite, CPU, tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    choose_engine(lite, CPU, tmp_path)
    monkeypatch.setattr(choice, "processor", lambda: "another one")
    choose_engine(lite, CPU, tmp_path)
    assert len(made_up) == 9 and len(list((tmp_path / "encoders").glob("engine-*.json"))) == 3


def test_an_engine_with_other_answers_is_left_out(caplog):
    rates = measure({"torch": of_speed(0.005), "onnxruntime": of_speed(0.001, shift=0.1)}, 8, seconds=0.02)
    assert list(rates) == ["torch"] and "onnxruntime is left out: its answers differ by 1.0e-01" in caplog.text


def test_damaged_weights_leave_an_engine():
    "All answers are NaN: whoever checks the features reports it, not a measurement without a result."
    broken = lambda images: torch.full((len(images), 4), torch.nan)
    assert list(measure({"torch": broken, "onnxruntime": broken}, 8, seconds=0.02)) == ["torch"]


def test_slow_networks_are_measured_with_few_images():
    seen = []

    def run(pixels):
        seen.append(len(pixels))
        time.sleep(0.02 * len(pixels))
        return torch.ones(len(pixels), 4)

    measure({"torch": run}, 8, seconds=0.08)
    assert max(seen) <= 4


def test_a_network_that_cannot_be_exported_stays_in_pytorch(lite, monkeypatch, tmp_path, caplog):
    def refuse(network):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(engines, "export_onnx", refuse)
    monkeypatch.setattr(choice, "SECONDS", 0.02)
    assert choose_engine(lite, CPU, tmp_path)[0] == "torch"
    assert "engine onnxruntime cannot compute encoder lite0 (no such operator)" in caplog.text


def test_engines_that_do_not_fit_are_refused(lite, monkeypatch):
    with pytest.raises(ValueError, match="engine must be 'torch' or 'torch-bf16' on device 'cuda', got 'openvino'"):
        start_engine("openvino", lite, torch.device("cuda"))
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="'openvino-bf16' is not installed; run: pip install openvino$"):
        start_engine("openvino-bf16", lite, CPU)


class Tiny(nn.Module):
    "Three averages of places, as (B,3), or the places themselves."

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.pool = kind, nn.AvgPool2d(2)

    def forward(self, x, other=None):
        x = x.permute(0, 3, 1, 2) if self.kind == "last" else x
        x = x if other is None else x + other
        x = self.pool(x.float()) if x.ndim == 4 else x * 2
        return {"maps": x, "tokens": x.flatten(2).transpose(1, 2)}.get(self.kind, x.flatten(2).mean(2))


def onnx_file(path, kind="vector", shape=(2, 3, 8, 8), free=("batch",), dtype=torch.float32, inputs=1):
    "A small ONNX file, with the axes in `free` left open."
    axes = {number: name for number, name in ((0, "batch"), (2, "height"), (3, "width")) if name in free}
    names = ["images", "other"][:inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Tiny(kind).eval(), (torch.zeros(shape, dtype=dtype),) * inputs, str(path), dynamo=False, opset_version=17,
            input_names=names, dynamic_axes=dict.fromkeys(names, axes) if axes else None,
        )  # fmt: skip
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "auto"])
@pytest.mark.parametrize("kind", ["vector", "maps", "tokens"])
def test_any_onnx_file_is_an_encoder(engine, kind, tmp_path):
    if engine != "auto":
        pytest.importorskip(engine)
    encoder = load_encoder(onnx_file(tmp_path / "own.onnx", kind), engine=engine, cache=tmp_path)
    assert (encoder.name, encoder.size, encoder.dim) == ("own", 8, 3) and not encoder.has_maps and not encoder.has_text
    pixels = images(8, 5)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = (pixels.numpy().mean((2, 3)) / 255 - mean) / std
    np.testing.assert_allclose(encoder(pixels), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="encoder 'own' has no maps"):
        encoder.maps(pixels)
    with pytest.raises(ValueError, match="encoder 'own' has no text tower"):
        encoder.encode_text(["a cat"])


def test_a_run_on_an_onnx_file_takes_new_images(tmp_path, monkeypatch):
    "The run remembers the file; features by it are also taken as what they are."
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    path, pixels = onnx_file(tmp_path / "own.onnx"), images(8, 12)
    monkeypatch.chdir(tmp_path)
    features = dc.embed(pixels, "own.onnx")
    run = dc.fit(features, n_clusters=2, method="kmeans", run_dir=tmp_path / "run", device="cpu", report=False)
    assert features.protocol["encoder"]["file"] == str(path) and dc.embed(features, path).features is features.features
    monkeypatch.chdir("/")
    np.testing.assert_allclose(dc.predict(tmp_path / "run", pixels), run.probabilities.numpy(), atol=1e-6)


def test_an_onnx_file_of_fixed_batch_takes_any_number(tmp_path):
    path = onnx_file(tmp_path / "two.onnx", free=())
    encoder = load_encoder(str(path), engine="onnxruntime", mean=(0, 0, 0), std=(1, 1, 1))
    for n in (1, 2, 5):
        np.testing.assert_allclose(encoder(images(8, n)), images(8, n).numpy().mean((2, 3)) / 255, rtol=1e-5)


def test_an_onnx_file_of_any_size_asks_for_one(tmp_path):
    path = onnx_file(tmp_path / "any.onnx", free=("batch", "height", "width"))
    with pytest.raises(ValueError, match="any.onnx' takes images of any size; say which one, such as size=224"):
        load_encoder(path)
    assert load_encoder(path, size=12, engine="onnxruntime")(images(12)).shape == (3, 3)
    with pytest.raises(ValueError, match="size must be 8, which the graph .* asks for, got 16"):
        load_encoder(onnx_file(tmp_path / "eight.onnx"), size=16)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shape": (2, 8, 8, 3), "kind": "last"}, "channels first"),
        ({"shape": (2, 3, 8, 10)}, "the images must be square"),
        ({"shape": (2, 3, 8)}, r"must have one input, float images \(B,3,S,S\); it has images tensor\(float\)"),
        ({"dtype": torch.uint8}, r"must have one input.*tensor\(uint8\)"),
        ({"inputs": 2}, "must have one input.*other"),
    ],
)
def test_an_onnx_file_that_takes_no_images_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_encoder(onnx_file(tmp_path / "odd.onnx", **options))


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_onnx_file_is_named(damage, tmp_path):
    path = onnx_file(tmp_path / "own.onnx")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello world", "empty": b""}[damage])
    with pytest.raises(ValueError, match="ONNX file '.*own.onnx' (cannot be read|must have one input)"):
        load_encoder(path)


def test_pytorch_cannot_compute_an_onnx_file(tmp_path):
    with pytest.raises(ValueError, match="engine must be 'onnxruntime' or 'openvino' for an ONNX file, got 'torch'"):
        load_encoder(onnx_file(tmp_path / "own.onnx"), engine="torch")
