"A network as a file for other programs: what it answers is what the run's own network answers, or there is no file."

import shutil

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import save_file

import dcacn_nb as dc
from dcacn_nb.data.image_set import ImageSet, make_protocol
from dcacn_nb.method.step import encode
from dcacn_nb.methods import method_names
from dcacn_nb.report import network_file
from dcacn_nb.report.network_file import Clusterer, export_network
from dcacn_nb.runs.folder import load_run

TINY = dict(epochs=1, width=2, batch_size=12, n_local=0, projection_dim=4, snapshot_every=0, device="cpu", report=False)


@pytest.fixture(scope="module")
def images():
    "Colour images that are not square."
    return torch.randint(0, 256, (24, 3, 10, 14), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    "A run with attention, on labelled images: its folder."
    folder = tmp_path_factory.mktemp("network") / "run"
    labels = np.arange(24) % 3
    protocol = make_protocol("/mnt/someone/photos | <b>", images)
    known = ImageSet(images, labels, ["a", "b", "c"], protocol=protocol)
    dc.fit(known, n_clusters=3, labels=labels, run_dir=folder, **TINY)
    return folder


def answers(path, images):
    "What a file says of images."
    if path.suffix == ".onnx":
        return onnxruntime.InferenceSession(path).run(None, {"images": images.numpy()})
    with torch.no_grad():
        return [part.numpy() for part in torch.export.load(path).module()(images)]


@pytest.mark.parametrize(
    "suffix, which", [(".onnx", "last"), (".onnx", "best"), pytest.param(".pt2", "last", marks=pytest.mark.slow)]
)
def test_the_file_answers_as_the_run(run, images, tmp_path, suffix, which):
    "Any number of images; the independent answer is `encode`, which training uses."
    made = export_network(run, tmp_path / f"model{suffix}", which)
    assert made.shape == (3, 10, 14) and made.difference < 1e-4
    model, config = load_run(run, which)
    for part in (images, images[:1], images[:7]):
        p, h = answers(made.path, part)
        np.testing.assert_allclose(p, encode(model, part, config).numpy(), atol=1e-5)
        np.testing.assert_allclose(h, encode(model, part, config, "h").numpy(), atol=1e-4)
    with pytest.raises(FileExistsError, match="exists already; give a new place"):
        export_network(run, made.path)
    with pytest.raises(FileExistsError, match="model.md"):
        made.path.unlink()
        export_network(run, made.path)


@pytest.mark.parametrize("method", ["ae", "kmeans", "dec"])
def test_networks_of_other_methods(images, tmp_path, method):
    run = dc.fit(images[:, :1, :8, :8], n_clusters=2, method=method, run_dir=tmp_path / "run", **TINY)
    made = export_network(tmp_path / "run", tmp_path / "model.onnx")
    p, _ = answers(made.path, run.images)
    np.testing.assert_allclose(p, run.probabilities.numpy(), atol=1e-4)


def test_an_encoder_and_a_head_become_one_network(images, tmp_path):
    "With the licence of the encoder's weights in the card."
    torch.manual_seed(0)
    weights = tmp_path / "own.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), weights)
    options = dict(engine="torch", device="cpu")
    encoder = dc.load_encoder("test_vit", weights=weights, **options)
    features = dc.embed(images.permute(0, 2, 3, 1).numpy(), encoder, progress=False, cache=False)
    run = dc.fit(features, n_clusters=2, method="kmeans", run_dir=tmp_path / "run", report=False, device="cpu")
    made = export_network(tmp_path / "run", tmp_path / "model.onnx")
    assert made.shape == (3, encoder.size, encoder.size)
    resized = torch.nn.functional.interpolate(images.float(), encoder.size, mode="nearest").byte()
    p, embedding = answers(made.path, resized)
    np.testing.assert_allclose(embedding, encoder(resized).numpy(), atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(p, run.model(encoder(resized)).p.numpy(), atol=1e-3)
    text = made.card.read_text()
    assert "test_vit" in text and encoder.weights in text and "look it up before you pass the file on" in text
    shutil.move(weights, tmp_path / "moved.safetensors")
    with pytest.raises((OSError, ValueError), match="own.safetensors"):
        export_network(tmp_path / "run", tmp_path / "again.onnx")
    export_network(tmp_path / "run", tmp_path / "again.onnx", weights=tmp_path / "moved.safetensors")


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    "Features of two kinds of pictures, by an encoder whose weights are a file."
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("encoder") / "own.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), weights)
    pictures = torch.randint(0, 256, (60, 8, 8, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    pictures[::2] //= 4
    encoder = dc.load_encoder("test_vit", weights=weights, engine="torch", device="cpu")
    return dc.embed(pictures, encoder, progress=False, cache=False)


@pytest.mark.slow
@pytest.mark.parametrize("method", method_names(frozen=True))
def test_every_head_can_be_exported_with_its_encoder(described, tmp_path, monkeypatch, method):
    "Batches of other sizes than the one that was traced are compared before a file is kept."
    monkeypatch.setattr("dcacn_nb.heads.umap_kmeans.lay_out", lambda h, k, m, seed: h[:, :m])  # UMAP compiles for long
    options = dict(epochs=1) if method in ("dcacn", "scan", "temi", "turtle") else {}
    dc.fit(described, n_clusters=2, method=method, run_dir=tmp_path / "run", report=False, device="cpu", **options)
    for suffix in (".onnx", ".pt2") if method == "dcacn" else (".onnx",):  # a .pt2 takes ten seconds
        assert export_network(tmp_path / "run", tmp_path / f"as{suffix[1:]}{suffix}").difference < 1e-3


class WrongBatch(Clusterer):
    "Right for the batch that was exported, and for no other."

    def forward(self, images):
        p, h = super().forward(images)
        return p, h * len(images)


class WrongValues(Clusterer):
    "A little off."

    def forward(self, images):
        p, h = super().forward(images)
        return p + 0.002, h


@pytest.mark.parametrize("wrong", [WrongBatch, WrongValues])
def test_a_file_that_answers_differently_is_not_kept(run, tmp_path, monkeypatch, wrong):
    true = network_file._write_onnx
    bad = lambda clusterer, images: true(wrong(clusterer.model, clusterer.prepare), images)
    monkeypatch.setattr(network_file, "_write_onnx", bad)
    with pytest.raises(ValueError, match="differ from the network's by .* nothing was written"):
        export_network(run, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_bad_input(run, tmp_path):
    with pytest.raises(ValueError, match="ending of the file"):
        export_network(run, tmp_path / "model.pt")
    features = torch.randn(30, 4).numpy()
    dc.fit(features, n_clusters=2, method="kmeans", run_dir=tmp_path / "run", report=False, device="cpu")
    with pytest.raises(ValueError, match="an encoder unknown here; only its clusters can be exported"):
        export_network(tmp_path / "run", tmp_path / "model.onnx")


def test_images_to_compare_with_differ_from_each_other():
    made = network_file._images(5, (3, 10, 14))
    assert made.dtype == torch.uint8 and made.amax() == 255 and made.amin() == 0
    rough = made.float().diff(dim=3).abs().mean((1, 2, 3))
    assert rough[0] > 2 * rough[4] and torch.equal(made, network_file._images(5, (3, 10, 14)))


@pytest.mark.parametrize("stop, said", [(1, "None: the exported weights"), (3, "Measured at epoch 1, before the")])
def test_the_card_of_an_interrupted_run_does_not_give_its_weights_the_scores_of_others(images, tmp_path, stop, said):
    "Stopped amid an epoch (two steps each), the last weights were never evaluated; the best ones were."
    settings = TINY | dict(epochs=4, eval_every=1, log_every=1)
    run = dc.fit(images, n_clusters=2, run_dir=tmp_path / "run", start=False, **settings)
    run.subscribe(lambda event: run.stop() if type(event).__name__ == "StepDone" and event.step == stop else None)
    run.drive()
    assert run.status == "stopped" and run.state.step == stop
    text = export_network(tmp_path / "run", tmp_path / "model.onnx").card.read_text(encoding="utf-8")
    assert said in text and f"(step {stop})" in text
    if stop > 2:
        best = export_network(tmp_path / "run", tmp_path / "best.onnx", "best").card.read_text(encoding="utf-8")
        assert "Measured at epoch 1 (the best network by the label-free score)" in best


def test_the_card_says_what_was_measured_and_how(run, tmp_path):
    "Names from outside cannot change its structure, and tell nothing of the user's folders."
    made = export_network(run, tmp_path / "model.onnx")
    text = made.card.read_text(encoding="utf-8")
    last = [event for event in dc.read_events(run, arrays=False) if type(event).__name__ == "Evaluated"][-1]
    assert f"| ACC | {last.scores['acc']:.4f} |" in text and "on the images that it was trained on" in text
    assert "uint8, (N,3,10,14)" in text and "| batch\\_size | 12 |".replace("\\_", "_") in text
    assert "someone" not in text and "<b>" not in text and "photos \\| \\<b\\>" in text
    assert "All weights were trained in this run" in text
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == ["# model.onnx", *(f"## {name}" for name in "Use Data Scores Limits Licences Settings".split())]
