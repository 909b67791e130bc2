"Files of features: the same values from every kind, whether the file is read or mapped into memory."

import numpy as np
import pytest
import torch

from dcacn_nb.data import feature_set as module
from dcacn_nb.data.feature_set import FEATURE_SUFFIXES, FeatureSet, load_features, save_features


@pytest.fixture(params=[(), (3,)], ids=["images", "views"])
def features(request):
    "Features with all that may be known about them."
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (20, 3, 8, 8), np.uint8))
    rows = rng.normal(size=(20, *request.param, 6)).astype(np.float32)
    paths = [f"/photos/{i}, é.jpg" for i in range(20)]
    return FeatureSet(rows, images, np.arange(20) % 2, ["a", "b"], paths, {"source": "photos"})


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("suffix", FEATURE_SUFFIXES)
def test_what_is_saved_is_loaded(suffix, mapped, features, tmp_path, monkeypatch):
    "Bit for bit; .npy holds the features alone. What is done to them in memory does not reach the file."
    monkeypatch.setattr(module, "MAPPED", 0 if mapped else 2**60)
    path = save_features(features, tmp_path / f"f{suffix}")
    content = path.read_bytes()
    found = load_features(path)
    assert torch.equal(found.features, features.features)
    if suffix != ".npy":
        assert torch.equal(found.images, features.images) and np.array_equal(found.labels, features.labels)
        assert (found.paths, found.class_names) == (features.paths, ["a", "b"])
        assert found.protocol["source"] == "photos"
    found.features.zero_()
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", FEATURE_SUFFIXES)
def test_a_large_file_that_was_cut_is_refused(suffix, features, tmp_path, monkeypatch):
    "Also where it would be mapped: before anything reads behind its end."
    monkeypatch.setattr(module, "MAPPED", 0)
    path = save_features(features, tmp_path / f"f{suffix}")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cannot be read .*; write it again with"):
        load_features(path)
