"What a run keeps for its report: plain values that agree with the functions they come from."

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dcacn_nb.clusters.duplicates import find_duplicates, near_threshold
from dcacn_nb.clusters.names import telling_images
from dcacn_nb.clusters.number import merge_suggestions
from dcacn_nb.clusters.outliers import find_outliers
from dcacn_nb.clusters.summary import FILE, after_groups, write_groups
from dcacn_nb.data.feature_set import FeatureSet


@pytest.fixture(scope="module")
def digits():
    "Digits with an image twice, one digit split in two clusters, and the pixels of another image shuffled."
    data = load_digits()
    rows, clusters = data.data[:500].astype(np.float32), data.target[:500].copy()
    rows[499] = rows[11]
    rows[498] = np.random.default_rng(0).permuted(rows[498])
    clusters[np.flatnonzero(clusters == 0)[::2]] = 10
    return rows, np.eye(11, dtype=np.float32)[clusters], clusters


def test_values_agree_with_the_functions(digits, tmp_path):
    rows, p, clusters = digits
    found = after_groups(rows, p, telling=4)
    groups = find_duplicates(rows)
    assert found["version"] == 1 and found["n_images"] == 500
    assert [(group["keep"], tuple(group["copies"])) for group in found["duplicates"]["groups"]] == [
        (group.keep, group.copies) for group in groups
    ]
    assert found["duplicates"]["threshold"] == pytest.approx(near_threshold(rows), abs=1e-4)
    assert 499 in [image for group in groups for image in group.copies] and found["duplicates"]["bytes"] is None
    assert found["duplicates"]["copies"] == sum(len(group.copies) for group in groups)
    assert found["outliers"]["images"] == find_outliers(rows)[0].tolist() and 498 in found["outliers"]["images"]
    assert {int(k): few for k, few in found["telling"].items()} == telling_images(rows, clusters, 4)
    assert found["merges"][0].items() >= {"into": 0, "cluster": 10}.items() and found["merges"][0]["gain"] > 0
    pairs = merge_suggestions(rows, clusters)
    assert [(m["into"], m["cluster"]) for m in found["merges"]] == [(a, b) for a, b, gain in pairs if gain > 0]
    assert len(found["merges"]) < len(pairs)
    write_groups(found, tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == json.loads(json.dumps(found))


def test_files_say_what_could_be_saved(tmp_path):
    "The bytes of the copies, not of the images kept."
    for name, size in (("a", 10), ("b", 10), ("c", 99)):
        (tmp_path / name).write_bytes(b"x" * size)
    features = FeatureSet(np.eye(3), paths=[str(tmp_path / name) for name in "abc"])
    found = after_groups(features, [0, 0, 1])
    assert found["duplicates"]["bytes"] == 10 and found["duplicates"]["groups"][0]["exact"] == (True,)
    assert found["merges"] == [] and found["telling"] == {"0": [0, 1], "1": [2]}


@pytest.mark.parametrize("rows", [np.ones((1, 4)), np.ones((30, 4)), np.zeros((9, 4))])
def test_degenerate_sets_have_an_answer(rows):
    "One image, copies alone, features of nothing."
    found = after_groups(rows, np.arange(len(rows)) % 2)
    assert json.loads(json.dumps(found, allow_nan=False))["outliers"]["images"] == []
