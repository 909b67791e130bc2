"Files of features: a damaged one is named, whatever NumPy, zipfile, zlib or safetensors raise."

import io
import json
import zipfile

import numpy as np
import pytest
import torch

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
