"Batches read ahead: the same bits, in the same order, while the batch before is used."

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from dcacn_nb.data import batching
from dcacn_nb.data.batching import fetch, fetch_ahead
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import TrainConfig


@pytest.fixture
def mapped(tmp_path):
    "Images in a mapped file, as the cache gives them."
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))


@pytest.mark.parametrize("large", [0, 2**40])
@pytest.mark.parametrize("kind", ["images", "features"])
def test_what_is_read_ahead_is_what_fetch_gives(mapped, monkeypatch, large, kind):
    monkeypatch.setattr(batching, "LARGE", large)
    store = mapped if kind == "images" else mapped.float().flatten(2)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    wanted = [(store, rows, f"batch {i}") for i, rows in enumerate(order.split(7))]
    found = list(fetch_ahead(iter(wanted), "cpu"))
    assert len(found) == 9 and list(fetch_ahead(iter([]), "cpu")) == []
    for (batch, rows, name), (_, asked, called) in zip(found, wanted):
        assert torch.equal(batch, fetch(store, asked)) and rows is asked and name == called
        batch.zero_()  # a copy of its own
    assert store.count_nonzero()


def test_the_next_batch_is_read_while_this_one_is_used(mapped, monkeypatch):
    "Nobody asks for it; and reading stops there, one batch ahead."
    monkeypatch.setattr(batching, "LARGE", 0)
    read, second, asked, true_take = [], threading.Event(), [], np.take

    def take(rows, chosen, *rest):
        read.extend(chosen.tolist())
        if 15 in read:
            second.set()
        return true_take(rows, chosen, *rest)

    monkeypatch.setattr(batching.np, "take", take)
    wanted = ((mapped, asked.append(i) or torch.arange(10 * i, 10 * i + 10)) for i in range(6))
    batches = fetch_ahead(wanted, "cpu")
    next(batches)
    assert second.wait(10), "the second batch is not read before it is asked for"
    assert asked == [0, 1] and max(read) < 20
    batches.close()
    assert not any("dcacn-fetch" in thread.name for thread in threading.enumerate())


def test_what_goes_wrong_while_reading_ahead_is_raised(mapped, monkeypatch):
    monkeypatch.setattr(batching, "LARGE", 0)
    for bad in (60, -1):
        batches = fetch_ahead(iter([(mapped, torch.arange(3)), (mapped, torch.tensor([3, bad]))]), "cpu")
        with pytest.raises(IndexError, match=rf"positions must be in 0\.\.59, got .*{bad}"):
            list(batches)
    monkeypatch.setattr(batching.np, "take", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(fetch_ahead(iter([(mapped, torch.arange(3))]), "cpu"))


@pytest.mark.slow
def test_a_run_is_the_same_with_and_without(mapped, monkeypatch, tmp_path):
    "Interrupted in the middle of an epoch and resumed, too."
    config = TrainConfig(
        n_clusters=3, epochs=2, batch_size=20, image_size=8, width=4, n_local=0, device="cpu", log_every=1
    )
    found = {}
    for large in (2**40, 0):
        monkeypatch.setattr(batching, "LARGE", large)
        stop = lambda event: run.stop() if getattr(event, "step", 0) == 4 else None  # noqa: B023
        run = fit(mapped, config, run_dir=tmp_path / str(large), start=False, report=False, observers=[stop])
        run.drive()
        assert run.state.step < 6
        run = fit(mapped, config, run_dir=tmp_path / str(large), resume=True, report=False)
        assert run.state.step == 6
        found[large] = {name: value.clone() for name, value in run.model.state_dict().items()}
    assert all(torch.equal(value, found[0][name]) for name, value in found[2**40].items())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a file is mapped")
def test_pages_around_those_asked_for_are_not_read(mapped, monkeypatch, tmp_path):
    "While batches are read; afterwards, and of small images, they are again."
    flags = lambda: [line for line in _mapping(tmp_path / "images.npy") if line.startswith("VmFlags")]
    wanted = [(mapped, torch.arange(3)), (mapped, torch.arange(4, 9))]
    for large, advised in ((0, True), (2**40, False)):
        monkeypatch.setattr(batching, "LARGE", large)
        batches = fetch_ahead(iter(wanted), "cpu")
        next(batches)
        assert [" rr" in line for line in flags()] == [advised]
        batches.close()
        assert [" rr" in line for line in flags()] == [False]


def _mapping(path):
    "What the system says of the mapping of a file."
    found, inside = [], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:  # the first line of a mapping
            inside = line.endswith(str(path))
        found += [line] if inside else []
    return found
