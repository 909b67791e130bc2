"The benchmark of the heads: rows are added once, and differences are paired."

import importlib.util

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from project import ROOT
from sklearn.datasets import load_digits

from dcacn_nb.data.feature_set import FeatureSet, save_features


@pytest.fixture(scope="module")
def bench():
    "The script as a module."
    spec = importlib.util.spec_from_file_location("heads_on_features", ROOT / "benchmarks" / "heads_on_features.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows():
    "Two sets, two methods, four seeds."
    draw = np.random.default_rng(0)
    cells = [(s, m, seed) for s in ("a", "b") for m in ("kmeans", "other") for seed in range(4)]
    table = pd.DataFrame(cells, columns=["set", "method", "seed"])
    return table.assign(acc=draw.uniform(0.4, 0.6, len(table)))


def test_differences_are_paired_by_seed_and_by_set(bench, rows):
    each = bench.per_set(rows).set_index(["method", "set"])
    values = {key: group.sort_values("seed")["acc"].to_numpy() for key, group in rows.groupby(["method", "set"])}
    for name in "ab":
        test = scipy.stats.ttest_rel(values["other", name], values["kmeans", name])
        low, high = test.confidence_interval(0.95)
        row = each.loc["other", name]
        assert (row["difference"] - row["half"], row["difference"] + row["half"]) == pytest.approx((low, high))
        assert row["mean"] == pytest.approx(values["other", name].mean()) and row["seeds"] == 4
    overall = bench.over_sets(rows).set_index("method")
    gaps = [(values["other", name] - values["kmeans", name]).mean() for name in "ab"]
    low, high = scipy.stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    row = overall.loc["other"]
    assert (row["difference"] - row["half"], row["difference"] + row["half"]) == pytest.approx((low, high))
    assert overall.loc["kmeans", "difference"] == 0


def test_a_method_that_ran_on_one_set_only_has_no_overall_mean(bench, rows):
    part = rows[(rows["method"] == "kmeans") | (rows["set"] == "a")]
    assert list(bench.over_sets(part)["method"]) == ["kmeans"]
    lines = bench.markdown(part).splitlines()
    assert len(lines) == 4 and lines[-1].startswith("| other |") and lines[-1].endswith("|  |  |")


def test_rows_that_are_there_are_not_computed_again(bench, tmp_path, capsys):
    digits = load_digits()
    features = FeatureSet((digits.data[:150] / 16).astype(np.float32), labels=digits.target[:150])
    file, output = save_features(features, tmp_path / "digits.npz"), tmp_path / "rows.csv"
    bench.run_all([file], ["kmeans"], [0], output)
    first = output.read_text()
    bench.run_all([file], ["kmeans", "spherical_kmeans"], [0], output)
    assert output.read_text().startswith(first)
    rows = pd.read_csv(output)
    assert list(rows["method"]) == ["kmeans", "spherical_kmeans"] and (rows["acc"] > 0.5).all()
    assert (rows["n_clusters"] == 10).all() and (rows["set"] == "digits").all()
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_features_without_labels_are_refused(bench, tmp_path):
    file = save_features(FeatureSet(np.eye(20, dtype=np.float32)), tmp_path / "plain.npz")
    with pytest.raises(ValueError, match="'plain' holds no labels"):
        bench.run_all([file], ["kmeans"], [0], tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()
