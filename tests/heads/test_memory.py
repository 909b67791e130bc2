"Memory on features: of a large set no copy is held, from its file to its clusters, and none changes a result."

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from dcacn_nb.core.steps import run_through
from dcacn_nb.data import scratch
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.heads._parts import fitted, frozen

CODE = """
import json, sys, threading, time
import numpy as np, psutil
import dcacn_nb as dc
from dcacn_nb.data import feature_set, scratch
from dcacn_nb.heads._parts import fitted
from dcacn_nb.methods import find_method

scratch.LARGE = feature_set.MAPPED = fitted.MOST = 2**23  # 8 MB stand for 134 MB
process = psutil.Process()

def held():  # without the pages of files, which the system drops where memory is short
    memory = process.memory_info()
    return (memory.rss - memory.shared) / 2**20

def watch():
    while True:
        peak[0] = max(peak[0], held())
        time.sleep(0.002)

def work(source):
    features = dc.load_images(source)
    head = find_method("kmeans", features=features.dim, n_init=1)
    dc.fit(features, n_clusters=2, method=head, epochs=1, device="cpu", snapshot_size=50, snapshot_every=0)

peak = [0]
work(np.random.default_rng(0).normal(size=(300, 640)).astype("float32"))  # all that is imported on first use
base = held()
threading.Thread(target=watch, daemon=True).start()
work(sys.argv[1])
print(json.dumps(peak[0] - base))
"""


@pytest.mark.slow
def test_no_copy_of_many_features_is_held(tmp_path, monkeypatch):
    "Of 123 MB of features the rows are kept in a file, and K-Means sees a sample; three copies were held before."
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    rows = np.random.default_rng(0).normal(size=(48_000, 640)).astype("float32")
    np.savez(tmp_path / "features.npz", features=rows)
    command = [sys.executable, "-c", CODE, str(tmp_path / "features.npz")]
    freed = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is given back leaves the process at once
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | freed)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout.splitlines()[-1])
    assert grown < 150, grown  # MB: some thousand rows are worked on at once
    assert not list((tmp_path / "cache").glob("tmp*"))  # files of rows have no name


def test_rows_in_a_file_are_those_in_memory(tmp_path, monkeypatch):
    "Neighbours and changed rows are the same to the bit, wherever they are kept."
    rows = torch.randn(300, 12, generator=torch.Generator().manual_seed(0))
    known = run_through(frozen.neighbour_steps(rows, 5))
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path))
    monkeypatch.setattr(scratch, "LARGE", 100)
    monkeypatch.setattr(frozen, "PIECE", 64)
    doubled = frozen.each_piece(lambda piece: piece * 2, rows)
    assert torch.equal(doubled, rows * 2) and torch.equal(run_through(frozen.neighbour_steps(rows, 5)), known)
    assert isinstance(scratch.empty_rows((30, 4)).base, np.memmap)
    assert not list(tmp_path.iterdir())  # such a file has no name


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_large_file_gives_what_a_small_one_does(dtype, save, tmp_path, monkeypatch):
    "Whatever the type and the packing; a damaged one is refused either way."
    from dcacn_nb.data import feature_set

    path = tmp_path / "features.npz"
    save(path, features=np.random.default_rng(0).normal(size=(40, 6)).astype(dtype), labels=np.arange(40) % 3)
    small = feature_set.load_features(path)
    monkeypatch.setattr(feature_set, "MAPPED", 100)
    monkeypatch.setattr(scratch, "LARGE", 100)
    large = feature_set.load_features(path)
    assert torch.equal(large.features, small.features) and np.array_equal(large.labels, small.labels)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 4] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="cannot be read"):
        feature_set.load_features(path)


def test_a_sample_of_many_rows(monkeypatch):
    "Few rows are all seen; of many a random sample in order, another one for another seed."
    rows = torch.arange(100.0)[:, None]
    assert fitted.sampled(rows, 1, 0) is rows
    monkeypatch.setattr(fitted, "MOST", 4 * 30)
    first = fitted.sampled(rows, 1, 0)[:, 0]
    assert len(first) == 30 and torch.equal(first, first.sort().values) and len(first.unique()) == 30
    assert torch.equal(fitted.sampled(rows, 1, 0)[:, 0], first)
    assert not torch.equal(fitted.sampled(rows, 1, 1)[:, 0], first)


def test_rows_that_cannot_be_written_to_are_taken():
    "An array of the user's, mapped for reading alone, is copied."
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    rows.flags.writeable = False
    assert np.array_equal(FeatureSet(rows).features.numpy(), rows)
