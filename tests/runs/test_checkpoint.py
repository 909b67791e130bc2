"Checkpoints: whole or absent, verified to the last bit; full disks, killed writers, foreign and damaged files."

import errno
import hashlib
import json
import logging
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_digits

from dcacn_nb.runs.checkpoint import (
    FORMAT,
    CheckpointError,
    _digest,
    checkpoint_path,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from dcacn_nb.runs.log import RunLog


def test_one_flipped_byte_in_a_large_checkpoint(tmp_path):
    older = save_checkpoint(checkpoint_path(tmp_path, 1), {"w": torch.ones(3)}, {"step": 1})
    newer = save_checkpoint(checkpoint_path(tmp_path, 2), {"w": torch.randn(100, 1000)}, {"step": 2})
    data = bytearray(newer.read_bytes())
    data[len(data) // 2] ^= 1
    newer.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"step_00000002\.safetensors is damaged.*SHA-256.*older checkpoint"):
        load_checkpoint(newer)
    assert latest_checkpoint(tmp_path) == older
    older.unlink()
    with pytest.raises(CheckpointError, match="none of the 1 checkpoint"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch, call):
    path = save_checkpoint(checkpoint_path(tmp_path, 7), {"w": torch.ones(3)}, {"step": 7})

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(OSError, match="step_00000007.*untouched|untouched.*step_00000007") as caught:
            save_checkpoint(path, {"w": torch.zeros(3)}, {"step": 8})
    assert caught.value.errno == errno.ENOSPC and "free some space" in str(caught.value)
    tensors, meta = load_checkpoint(path)
    assert torch.equal(tensors["w"], torch.ones(3)) and meta == {"step": 7}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_without_permission_is_a_permission_error(tmp_path, monkeypatch):
    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", closed)  # root passes over file modes, so the refusal is played
    with pytest.raises(PermissionError, match="folder can be written to"):
        save_checkpoint(tmp_path / "x.safetensors", {}, {})


def test_a_path_below_a_file_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="could not write the checkpoint"):
        save_checkpoint(tmp_path / "file" / "x.safetensors", {}, {})
    with pytest.raises(OSError):
        RunLog(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_writer_killed_while_saving(tmp_path):
    code = (
        "import sys, torch\nfrom dcacn_nb.runs.checkpoint import checkpoint_path, prune_checkpoints, save_checkpoint\n"
        "for step in range(1, 10**6):\n"
        "    weights = {'w': torch.full((500_000,), float(step))}\n"
        "    save_checkpoint(checkpoint_path(sys.argv[1], step), weights, {'step': step})\n"
        "    prune_checkpoints(sys.argv[1], keep_last=2)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list_checkpoints(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=30)
    for path in list_checkpoints(tmp_path):
        tensors, meta = load_checkpoint(path)
        assert (tensors["w"] == meta["step"]).all() and path == checkpoint_path(tmp_path, meta["step"])
    prune_checkpoints(tmp_path, keep_last=1)
    assert len(list(tmp_path.iterdir())) == 1, "also the temporary file of the killed writer is gone"


# --- stopped, resumed, and ended with the same bits ---------------------------------------------------------------
IMAGES, TARGETS = load_digits(return_X_y=True)
X, Y = torch.tensor(IMAGES[:256] / 16, dtype=torch.float32), torch.tensor(TARGETS[:256])


def fresh():
    "A classifier of digits (labels give the shortest training loop) and its optimiser."
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Linear(64, 10)
    return model, torch.optim.Adam(model.parameters(), lr=1e-2)


def steps(model, optimizer, first, last):
    for step in range(first, last):
        batch = slice(step % 4 * 64, step % 4 * 64 + 64)
        loss = torch.nn.functional.cross_entropy(model(X[batch]), Y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def pack(model, optimizer):
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in slots.items()}
    return tensors


def unpack(model, optimizer, tensors):
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    state = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, i, slot = name.split(".")
            state.setdefault(int(i), {})[slot] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    "A checkpoint after 10 steps, and the model and optimiser after 20."
    folder = tmp_path_factory.mktemp("halfway")
    model, optimizer = fresh()
    steps(model, optimizer, 0, 10)
    save_checkpoint(checkpoint_path(folder, 10), pack(model, optimizer), {"step": 10})
    steps(model, optimizer, 10, 20)
    return folder, model, optimizer


def test_resumed_from_a_checkpoint_ends_with_the_same_bits(halfway):
    folder, model, optimizer = halfway
    resumed, resumed_optimizer = fresh()
    tensors, meta = load_checkpoint(latest_checkpoint(folder))
    unpack(resumed, resumed_optimizer, tensors)
    steps(resumed, resumed_optimizer, meta["step"], 20)
    uninterrupted, resumed = pack(model, optimizer), pack(resumed, resumed_optimizer)
    assert uninterrupted.keys() == resumed.keys()
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)


def test_without_the_optimiser_it_is_another_run(halfway):
    "A wrong variant: Adam's moments are left out, as many scripts do."
    folder, model, _ = halfway
    tensors, _ = load_checkpoint(latest_checkpoint(folder))
    forgetful, forgetful_optimizer = fresh()
    forgetful.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    steps(forgetful, forgetful_optimizer, 10, 20)
    assert (forgetful.weight - model.weight).abs().max().item() > 1e-3


def test_struct_json_and_numpy_read_the_same(halfway):
    "An independent reader: the format is simple enough."
    path = checkpoint_path(halfway[0], 10)
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    tensors, meta = load_checkpoint(path)
    assert header.keys() == tensors.keys()
    for name, entry in header.items():
        part = data[8 + size :][slice(*entry["data_offsets"])]
        by_hand = np.frombuffer(part, {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]).reshape(entry["shape"])
        np.testing.assert_array_equal(by_hand, tensors[name].numpy())
    assert json.loads(metadata["meta"]) == meta == {"step": 10}
    assert sorted(metadata) == ["format", "meta", "sha256", "version"]


def test_a_checkpoint_holds_weights_and_two_moments(halfway):
    "650 weights, two moments each and a step count per tensor in single precision, and less than a kilobyte besides."
    size = checkpoint_path(halfway[0], 10).stat().st_size
    assert 0 < size - 4 * (3 * 650 + 2) < 1100


# --- every kind of tensor -----------------------------------------------------------------------------------------
def test_every_kind_of_tensor_comes_back(tmp_path):
    "Also those that share memory, are transposed, or have no dimension or no element."
    base = torch.arange(12.0).reshape(3, 4)
    zoo = {
        "shared": base,
        "tied": base,
        "view": base[1:, :2],
        "transposed": base.T,
        "expanded": torch.ones(1).expand(5),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 7),
        "bool": torch.tensor([True, False]),
        "int64": torch.tensor([2**62, -1]),
        "uint8": torch.arange(256).to(torch.uint8),
        "bfloat16": torch.randn(5).bfloat16(),
        "half": torch.randn(5).half(),
        "double": torch.randn(3, dtype=torch.float64),
        "nan": torch.tensor([float("nan"), float("-inf"), -0.0]),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        '\u6743\u91cd "x"': torch.ones(2),
        "grad": torch.ones(2, requires_grad=True),
    }
    rich = {"text": "\u4e2d\u6587 \u2028", "list": [1, 2.5, None, True], "nested": {"a": {"b": []}}, "big": 2**70}
    back, meta = load_checkpoint(save_checkpoint(tmp_path / "zoo.safetensors", zoo, rich | {"tuple": (1, 2)}))
    assert back.keys() == zoo.keys() and meta == rich | {"tuple": [1, 2]}
    for name, tensor in zoo.items():
        assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape, name
        torch.testing.assert_close(back[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)
    assert load_checkpoint(save_checkpoint(tmp_path / "nothing.safetensors", {}, {})) == ({}, {})
    back["tied"][0, 0] = -1
    assert back["shared"][0, 0] == 0 and base[0, 0] == 0, "after loading, nothing shares memory"


# --- the seal -----------------------------------------------------------------------------------------------------
def is_accepted(path, data):
    path.write_bytes(data)
    try:
        load_checkpoint(path)
    except CheckpointError:
        return False
    return True


def test_every_single_flipped_bit_and_every_cut_is_noticed(tmp_path):
    small = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(7)}
    whole = save_checkpoint(tmp_path / "small.safetensors", small, {"step": 3}).read_bytes()
    victim = tmp_path / "victim.safetensors"
    assert is_accepted(victim, whole)
    flipped = []
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        flipped += [bit] if is_accepted(victim, damaged) else []
    assert flipped == []
    assert [length for length in range(len(whole)) if is_accepted(victim, whole[:length])] == []


def test_a_digest_of_the_bytes_alone_would_not_do(tmp_path):
    "A wrong variant: it cannot distinguish a matrix from its reshaped self, nor notice swapped names."

    def bytes_only(tensors):
        return hashlib.sha256(b"".join(tensors[n].numpy().tobytes() for n in sorted(tensors))).hexdigest()

    tall, wide = {"w": torch.arange(6.0).reshape(3, 2)}, {"w": torch.arange(6.0).reshape(2, 3)}
    assert bytes_only(tall) == bytes_only(wide) and _digest(tall, "{}", 1) != _digest(wide, "{}", 1)
    renamed = {"v": torch.arange(6.0).reshape(3, 2)}
    assert bytes_only(tall) == bytes_only(renamed) and _digest(tall, "{}", 1) != _digest(renamed, "{}", 1)


# --- a folder of checkpoints --------------------------------------------------------------------------------------
def test_retention_and_a_damaged_newest_file(tmp_path, caplog):
    for step in (10, 30, 40, 50):
        save_checkpoint(checkpoint_path(tmp_path, step), {"w": torch.full((2,), float(step))}, {"step": step})
    (tmp_path / ".step_00000060.safetensors.abc.tmp").write_bytes(b"half a fi")  # what a killed writer leaves
    removed = prune_checkpoints(tmp_path, keep_last=2, keep=[checkpoint_path(tmp_path, 10)])
    assert [p.name for p in removed] == ["step_00000030.safetensors", ".step_00000060.safetensors.abc.tmp"]
    assert [p.name for p in list_checkpoints(tmp_path)] == [f"step_{s:08d}.safetensors" for s in (10, 40, 50)]
    newest = checkpoint_path(tmp_path, 50)
    newest.write_bytes(newest.read_bytes()[:-1])  # one byte short
    with caplog.at_level(logging.WARNING, "dcacn_nb"):
        assert latest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 40)
    assert len(caplog.records) == 1 and "skipping a checkpoint: " in caplog.text
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(newest)


GOOD = {"w": torch.ones(2)}


def test_files_that_are_refused(tmp_path):
    foreign, newer = tmp_path / "foreign.safetensors", tmp_path / "newer.safetensors"
    safetensors.torch.save_file(GOOD, foreign)
    safetensors.torch.save_file(GOOD, newer, {"format": FORMAT, "version": "9", "meta": "{}", "sha256": ""})
    (tmp_path / "notes.txt").write_text("not a checkpoint at all")
    save_checkpoint(checkpoint_path(tmp_path, 50), GOOD, {})
    for path, message in [
        (checkpoint_path(tmp_path, 99), r"does not exist; that folder has 1 checkpoint\(s\), the newest step_00000050"),
        (tmp_path, "is a folder; use latest_checkpoint"),
        (foreign, "is a safetensors file, but not a checkpoint of dcacn_nb"),
        (newer, "has checkpoint format 9, this dcacn_nb reads up to 1; upgrade"),
        (tmp_path / "notes.txt", "is damaged or not a safetensors file"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no checkpoint in .*; check the folder's name"):
        latest_checkpoint(tmp_path / "elsewhere")


def test_a_run_killed_before_its_first_checkpoint_is_to_be_resumed(tmp_path):
    "The command can be pasted, whatever the folder is called."
    run = tmp_path / "my run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has kept none yet; if it no longer runs, resume it") as raised:
        latest_checkpoint(run / "checkpoints")
    assert str(raised.value).endswith(f": dcacn resume '{run}'")


@pytest.mark.parametrize(
    "tensors, meta, message",
    [
        ({"w": [1.0]}, {}, r"tensors\['w'\] must be a dense tensor, got list"),
        ({3: torch.ones(1)}, {}, "tensors must have text names"),
        ({"w": torch.ones(2).to_sparse()}, {}, "must be a dense tensor, got torch.sparse"),
        (GOOD, {"best": float("nan")}, "meta must hold only what strict JSON can"),
        (GOOD, {"sizes": {3: 10}}, r"meta\['sizes'\] must have text keys, got 3 \(int\)"),
        (GOOD, {"path": Path()}, "meta must hold only what strict JSON can"),
    ],
)
def test_what_cannot_be_saved(tmp_path, tensors, meta, message):
    with pytest.raises((TypeError, ValueError), match=message):
        save_checkpoint(tmp_path / "x.safetensors", tensors, meta)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="keep_last must be >= 1, got 0"):
        prune_checkpoints(tmp_path, keep_last=0)
    with pytest.raises(ValueError, match="step must be >= 0, got -1"):
        checkpoint_path(tmp_path, -1)
