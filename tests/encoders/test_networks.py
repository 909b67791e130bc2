"Networks: the same numbers as an independent implementation, the right size and normalisation, clear errors."

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision.transforms.functional import center_crop, resize

from dcacn_nb.encoders import load_encoder
from dcacn_nb.encoders.networks import Pixels, packaged_network, timm_network
from dcacn_nb.encoders.weights import PACKAGED, packaged_state


def pattern(size: int) -> torch.Tensor:
    "One image (1,3,S,S) uint8 that is the same everywhere."
    y, x = np.mgrid[:size, :size]
    planes = [(x * 3 + y) % 256, (x * y) // 7 % 256, (y * 5 + x // 2) % 256]
    return torch.from_numpy(np.stack(planes).astype(np.uint8))[None]


# By efficientnet-lite-pytorch 0.1.0 (PyPI) with the same weights: the mean of each eighth of the features of `pattern`.
REFERENCE = {
    "lite0": [0.166391, 0.166128, 0.177994, 0.132548, 0.178487, 0.23356, 0.137731, 0.1521],
    "lite2": [0.23817, 0.147943, 0.142392, 0.129023, 0.087721, 0.227802, 0.19943, 0.183959],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", PACKAGED)
def test_features_are_those_of_another_implementation(name, cache):
    encoder = load_encoder(name, engine="torch", device="cpu", cache=cache)
    features = encoder(pattern(encoder.size))[0]
    assert encoder.size == {"lite0": 224, "lite2": 260}[name]
    np.testing.assert_allclose(features.reshape(8, 160).mean(1), REFERENCE[name], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_features_are_those_of_the_package_efficientnet_lite_pytorch(name, cache, tmp_path):
    other = pytest.importorskip("efficientnet_lite_pytorch")
    own = packaged_network(name, cache=cache)
    reference = other.EfficientNet.from_name(f"efficientnet-{name}").eval()
    state = packaged_state(name, cache)
    reference.load_state_dict(dict(zip(reference.state_dict(), state.values(), strict=True)))
    images = (torch.randint(0, 256, (2, 3, own.size, own.size)).float() - 127) / 128
    with torch.inference_mode():
        torch.testing.assert_close(own.module(images), reference.extract_features(images).mean((2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name, classes", [("lite0", [698, 985]), ("lite2", [698, 599])])  # palace; daisy, honeycomb
def test_photos_get_sensible_classes_of_imagenet(name, classes, cache):
    network = packaged_network(name, cache=cache)
    whole = timm.create_model(PACKAGED[name].network)
    whole.load_state_dict(dict(zip(whole.state_dict(), packaged_state(name, cache).values(), strict=True)))
    photos = [torch.from_numpy(photo.copy()).permute(2, 0, 1) for photo in load_sample_images().images]  # china, flower
    images = torch.stack([resize(center_crop(photo, [427, 427]), [network.size] * 2) for photo in photos])
    with torch.inference_mode():
        found = Pixels(whole, network.mean, network.std).eval()(images).argmax(1)
    assert found.tolist() == classes


def test_pixels_are_normalised_as_the_weights_expect(cache):
    network = packaged_network("lite0", cache=cache)
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    got = Pixels(nn.Identity(), network.mean, network.std)(images)
    torch.testing.assert_close(got, (images.float() - 127) / 128)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    by_hand = torch.stack([(images[:, c] / 255 - mean[c]) / std[c] for c in range(3)], 1)
    torch.testing.assert_close(Pixels(nn.Identity(), mean, std)(images), by_hand)


def test_grey_images_are_repeated_and_arrays_are_taken(cache):
    encoder = load_encoder("lite0", engine="torch", device="cpu", size=64, cache=cache)
    grey = pattern(64)[:, :1]
    wanted = encoder(grey.repeat(1, 3, 1, 1))
    assert torch.equal(encoder(grey), wanted) and torch.equal(encoder(grey.numpy()), wanted)
    assert wanted.dtype == torch.float32 and wanted.shape == (1, encoder.dim) == (1, 1280)
    assert encoder.about() == {
        "name": "lite0",
        "weights": PACKAGED["lite0"].digest,
        "size": 64,
        "engine": "torch",
        "licence": "Apache-2.0",
        "trained_on": "ImageNet-1k with labels",
    }
    for wrong in (pattern(32), pattern(64).float(), pattern(64)[0], pattern(64)[:, :2], pattern(64)[:0], [1, 2]):
        with pytest.raises(ValueError, match=r"images must be uint8 of shape \(B,3,64,64\).*resize"):
            encoder(wrong)


@pytest.fixture
def vit_file(tmp_path):
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


def test_a_timm_model_brings_its_size_and_normalisation(vit_file):
    encoder = load_encoder("timm:test_vit", weights=vit_file, engine="torch", device="cpu")
    assert (encoder.size, encoder.dim, encoder.interpolation) == (160, 64, "bicubic")
    network = timm_network("test_vit", vit_file)
    assert network.mean == network.std == (0.5, 0.5, 0.5)
    images = pattern(160)
    with torch.inference_mode():
        wanted = network.module(images / 127.5 - 1)
    torch.testing.assert_close(encoder(images), wanted, rtol=1e-4, atol=1e-5)
    moved = load_encoder("test_vit", weights=vit_file, engine="torch", device="cpu", mean=(0, 0, 0), std=[1, 1, 1])
    with torch.inference_mode():
        torch.testing.assert_close(moved(images), network.module(images / 255), rtol=1e-4, atol=1e-5)


def test_another_size_is_built_where_the_network_allows_it(vit_file):
    encoder = load_encoder("test_vit", weights=vit_file, engine="torch", device="cpu", size=96)
    assert encoder(pattern(96)).shape == (1, 64) and encoder.maps(pattern(96)).shape == (1, 6, 6)
    with pytest.raises(ValueError, match="size 97 does not suit encoder 'test_vit'"):
        load_encoder("test_vit", weights=vit_file, size=97)


def test_maps_of_a_transformer_are_its_class_token_attention(vit_file):
    encoder = load_encoder("test_vit", weights=vit_file, engine="torch", device="cpu")
    module, seen = timm_network("test_vit", vit_file).module, []
    attention = module.blocks[-1].attn
    attention.fused_attn = False  # then timm itself computes the attention, and drops none of it
    attention.attn_drop.register_forward_hook(lambda _m, _in, out: seen.append(out))
    images = torch.cat([pattern(160), 255 - pattern(160)])
    with torch.inference_mode():
        module(images / 127.5 - 1)
    wanted = seen[0].mean(1)[:, 0, 1:].reshape(2, 10, 10)
    wanted = wanted / wanted.sum((1, 2), keepdim=True)
    torch.testing.assert_close(encoder.maps(images), wanted, rtol=1e-3, atol=1e-6)


def test_maps_of_a_convolutional_network_are_the_length_of_its_features(cache):
    encoder = load_encoder("lite0", engine="torch", device="cpu", cache=cache)
    features = packaged_network("lite0", cache=cache).module.forward_features((pattern(224).float() - 127) / 128)
    energy = features.detach().pow(2).sum(1).sqrt()
    torch.testing.assert_close(encoder.maps(pattern(224)), energy / energy.sum(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "name, message",
    [
        ("lite1", "got 'lite1'; did you mean 'lite"),
        ("resnet5O", "got 'resnet5O'; did you mean 'resnet50'"),
        ("vit_small_patch14_dinov3", "did you mean .*'vit_small_patch14_dinov2'"),
        ("qqqqqqqqq", "encoder must be 'lite0', 'lite2', a model of timm or an ONNX file, got 'qqqqqqqqq'; timm"),
        ("weights.safetensors", "must name an architecture, got the weights file 'weights.safetensors'"),
        ("none.onnx", "ONNX file 'none.onnx' does not exist"),
        ("vit_base_patch18", "did you mean"),
        ("resnet50.no_such_tag", "got 'resnet50.no_such_tag'; did you mean"),
    ],
)
def test_a_name_that_is_not_known_is_explained(name, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_encoder(name)


def test_a_timm_model_without_weights_asks_for_a_file():
    with pytest.raises(ValueError, match="timm has no weights for .*weights='FILE'"):
        load_encoder(next(name for name in timm.list_models() if not timm.is_model_pretrained(name)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"engine": "onxruntime"}, "engine must be one of .*did you mean 'onnxruntime'"),
        ({"device": "gpu"}, "device must be"),
        ({"size": 0}, "size must be >= 8, got 0"),
        ({"mean": 0.5}, "mean must hold three numbers.*got 0.5"),
        ({"std": (0.0, 1.0, 1.0)}, "std must be > 0.0"),
        ({"weights": "x.pth"}, "encoder 'lite0' comes with its weights.*got 'x.pth'"),
    ],
)
def test_wrong_options_are_named(options, message, cache):
    with pytest.raises(ValueError, match=message):
        load_encoder("lite0", cache=cache, **options)
