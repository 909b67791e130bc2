"Encoders with a text tower; skipped where open_clip is not installed."

import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import tiny_clip

from dcacn_nb.encoders import load_encoder
from dcacn_nb.encoders.encoder import Encoder


@pytest.fixture
def clip(tmp_path):
    "A small network of open_clip with random weights, its tokenizer, and the file that holds the weights."
    return tiny_clip(tmp_path)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_images_and_texts_share_a_space(clip, engine, tmp_path):
    model, tokenizer, path = clip
    encoder: Encoder = load_encoder("open_clip:tiny-test", weights=path, engine=engine, device="cpu", cache=tmp_path)
    assert encoder.has_text and (encoder.size, encoder.dim) == (32, 16) and not encoder.has_maps
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
    with torch.inference_mode():
        torch.testing.assert_close(
            encoder(images), model.encode_image((images / 255 - mean) / std), rtol=1e-3, atol=1e-5
        )
        torch.testing.assert_close(
            encoder.encode_text(["a cat", "a dog"]), model.encode_text(tokenizer(["a cat", "a dog"]))
        )
    for wrong in ("a cat", [], [3]):
        with pytest.raises(ValueError, match="texts must be a list of strings"):
            encoder.encode_text(wrong)


def test_wrong_names_and_files_are_explained(clip, tmp_path):
    with pytest.raises(ValueError, match="open_clip model must be .*did you mean 'ViT-B-32'"):
        load_encoder("open_clip:ViT-B32/openai")
    with pytest.raises(ValueError, match="pretrained weights of 'ViT-B-32' must be one of .*did you mean 'openai'"):
        load_encoder("open_clip:ViT-B-32/openia")
    save_file({"visual.proj": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other.safetensors' is for another architecture than open_clip's 'tiny-test'"):
        load_encoder("open_clip:tiny-test", weights=tmp_path / "other.safetensors")


def test_a_download_is_announced_and_fails_clearly(monkeypatch, caplog):
    pytest.importorskip("open_clip")

    def offline(*args):
        raise OSError("no such host")

    monkeypatch.setattr("dcacn_nb.encoders.networks.getaddrinfo", offline)
    monkeypatch.setattr("dcacn_nb.encoders.networks.getproxies", dict)
    with pytest.raises(OSError, match="no such host.*weights='FILE.safetensors'"):
        load_encoder("open_clip:RN50/openai")
    assert "about 408 MB of weights from huggingface.co/timm/resnet50_clip.openai" in caplog.text
    assert "initialized randomly" not in caplog.text


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("dcacn_nb.encoders.clip.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install open_clip_torch"):
        load_encoder("open_clip:ViT-B-32/openai")
