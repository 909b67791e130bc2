"Files of features: a damaged one is named, whatever NumPy, zipfile, zlib or safetensors raise."

import io
import json
import zipfile

import numpy as np
import pytest
import torch

from dcacn_nb.data import feature_set as module
from dcacn_nb.data import scratch
from dcacn_nb.data.feature_set import FeatureSet, load_features, save_features

FEATURES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def saved(path):
    return save_features(FeatureSet(torch.from_numpy(FEATURES), paths=list("abcde")), path)


def zipped(**members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def header(shape, kind="<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_every_cut_and_many_flips_are_read_or_named(suffix, tmp_path):
    "Of a file that is not whole, the error names the file; one flipped bit gives values or such an error."
    whole = saved(tmp_path / f"whole{suffix}").read_bytes()
    assert np.array_equal(load_features(tmp_path / f"whole{suffix}").whole, FEATURES)
    path = tmp_path / f"damaged{suffix}"
    flips = [bytes([*whole[:at], whole[at] ^ 1 << at % 8, *whole[at + 1 :]]) for at in range(0, len(whole), 53)]
    refused = 0
    for data in [*(whole[:at] for at in range(0, len(whole) - 1, 97)), *flips]:
        path.write_bytes(data)
        try:
            load_features(path)
        except ValueError as error:
            refused += 1
            assert path.name in str(error) or "must" in str(error), error
    assert refused >= len(whole) // 97, "every cut is refused"


TORN_HEADER = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,(".ljust(127) + b"\n"
ABOUT = ("[1]", '{"paths": 3}', '{"protocol": []}', '{"class_names": "ab"}', "{", "[" * 10**5)


@pytest.mark.parametrize(
    "name, data",
    [
        (
            "a.npy",
            b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,(".ljust(127) + b"\n",
        ),
        ("a.npy", header((10**12, 2))),
        ("a.npz", zipped(features=header((10**12, 2)))),
        ("a.npz", zipped(features=header((-1, 2)))),
        ("a.npz", zipped(features=header((2,), "|O"))),
        ("a.npz", zipped(features=b"")),
        ("a.npz", b"PK\x03\x04 torn"),
        ("a.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0[]"),
    ],
)
def test_forged_files_are_named(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"features file .*{name}.* cannot be read"):
        load_features(tmp_path / name)


@pytest.mark.parametrize(
    "about", ["[1]", '{"paths": 3}', '{"protocol": []}', '{"class_names": "ab"}', "{", "[" * 10**5]
)
def test_what_stands_beside_the_features_is_checked(about, tmp_path):
    np.savez(tmp_path / "a.npz", features=FEATURES, dcacn_nb=np.array(about))
    with pytest.raises(ValueError, match=r"features file .*a\.npz.* cannot be read"):
        load_features(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", features=FEATURES, dcacn_nb=np.array(json.dumps({"paths": list("abcde"), "more": 1})))
    assert load_features(tmp_path / "a.npz").paths == list("abcde")


def test_memory_is_measured_by_what_an_array_declares(tmp_path, monkeypatch):
    "Not by the file: a small compressed one may hold gigabytes. Large rows are put in a mapped file, in any order."
    taken = []
    monkeypatch.setattr(scratch, "LARGE", 1000)
    monkeypatch.setattr(scratch, "check_room", lambda folder, size, what: taken.append(size))
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    rows = np.ones((500, 30))
    for order in "CF":
        np.savez_compressed(tmp_path / "a.npz", features=np.asarray(rows, order=order))
        assert (tmp_path / "a.npz").stat().st_size < 2000
        assert np.array_equal(load_features(tmp_path / "a.npz").features.numpy(), rows)
    assert taken == [120_000, 60_000] * 2, "as float64 and as float32"
    (tmp_path / "a.npz").write_bytes(zipped(features=header((10**6, 2))))
    with pytest.raises(ValueError, match=r"a\.npz' cannot be read \(features is cut short\)"):
        load_features(tmp_path / "a.npz")
    assert len(taken) == 4, "no room is taken for what is not there"


def no_memory(*args):
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize(
    "arrays, says",
    [
        ({"features": np.full((5, 3), np.nan)}, "features must be finite, got NaN"),
        ({"features": np.ones((5, 3), int)}, r"features must be floating-point numbers, got int64; convert"),
        ({"features": FEATURES * np.float32(1e20)}, r"between 1e-21 and 1e\+15 .*, got \d\.\d+e\+20 in row \d; divide"),
        ({"features": FEATURES * np.float32(1e-42)}, r"got \d\.\d+e-42 in row \d; divide"),
        ({"features": FEATURES.astype(float) * 1e300}, r"got \d\.\d+e\+300 in row \d; divide"),
        ({"features": FEATURES, "paths": np.array([["p", "q"]] * 5)}, r"paths must name one file per row .*\(5, 2\)"),
        ({"features": FEATURES, "paths": np.array([b"\xff"] * 5)}, "can't decode byte 0xff"),
        ({"features": FEATURES, "labels": np.arange(5, dtype=np.uint64) + 2**63}, r"labels must be below 2\*\*63"),
        ({"x": FEATURES, "y": FEATURES}, "must hold an array named 'features', it holds x, y"),
    ],
)
def test_what_is_wrong_with_features_names_their_file(arrays, says, tmp_path):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ValueError, match=rf"^features file '.*wrong\.npz'[: ].*{says}"):
        load_features(tmp_path / "wrong.npz")


def test_a_lack_of_memory_names_the_file(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.npz")
    monkeypatch.setattr(module, "FeatureSet", no_memory)
    with pytest.raises(ValueError, match=r"a\.npz': .*can't allocate memory"):
        load_features(path)


def test_names_may_be_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", features=FEATURES, paths=np.array([f"é{i}.png".encode() for i in range(5)]))
    assert load_features(tmp_path / "a.npz").paths == [f"é{i}.png" for i in range(5)]
