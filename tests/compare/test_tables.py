"Means, intervals and differences over seeds, against sums written out, all resamples, and SciPy."

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dcacn_nb.compare.tables import (
    SCORES,
    bootstrap_interval,
    choose_unlabelled,
    load_results,
    paired_differences,
    summarise,
)

BASES = [0.82, 0.91, 0.86, 0.88, 0.93]
FOUR = [0.80, 0.87, 0.95, 0.84]
UNDER = {"protocol": "toy", "budget": "30 epochs"}


@pytest.fixture
def small():
    "Two settings, five seeds; one is better every time."
    rows = [
        {"method": "dcacn", "setting": setting, "seed": seed, "acc": base + gain, "nmi": base, "ari": base - 0.1}
        for seed, base in enumerate(BASES)
        for setting, gain in (("plain", 0.0), ("with attention", 0.01 + 0.003 * seed))
    ]
    return pd.DataFrame(rows).assign(**UNDER)


# --- intervals


def test_bootstrap_against_all_resamples():
    "Four values have 4^4 = 256 equally likely resamples: the quantiles must be those of this small distribution."
    every = sorted(sum(draw) / 4 for draw in product(FOUR, repeat=4))
    cumulated = np.arange(1, 257) / 256
    exact = every[np.searchsorted(cumulated, 0.025)], every[np.searchsorted(cumulated, 0.975)]
    ours = bootstrap_interval(FOUR)
    np.testing.assert_allclose(ours, exact, atol=1e-9)
    assert min(FOUR) < ours[0] < ours[1] < max(FOUR)
    assert bootstrap_interval(FOUR) == ours, "the same values, the same interval"


def test_no_interval_of_too_little():
    assert np.isnan(bootstrap_interval(FOUR[:3])).all() and np.isnan(bootstrap_interval([*FOUR, math.nan])).all()
    assert bootstrap_interval([0.5] * 5) == (0.5, 0.5)
    with pytest.raises(ValueError, match=r"values must have one axis, got shape \(1, 2\)"):
        bootstrap_interval([[0.1, 0.2]])


def test_how_often_the_interval_holds_the_mean():
    "Of five normal values, a nominal 95 % covers about 84 %; of thirty, more."
    rng = np.random.default_rng(1)
    holds = lambda n: (lambda bounds: bounds[0] <= 0 <= bounds[1])(bootstrap_interval(rng.normal(size=n)))
    assert 0.79 < np.mean([holds(5) for _ in range(1000)]) < 0.88
    covered = {n: np.mean([holds(n) for _ in range(150)]) for n in (4, 30)}
    assert covered[4] < covered[30]


# --- means


def test_means_against_the_sums_written_out(small):
    "The wrong variant, the standard deviation of the values for that of their mean, is too wide by about sqrt(n)."
    row = summarise(small).set_index("setting").loc["plain"]
    mean = sum(BASES) / 5
    spread = (sum((x - mean) ** 2 for x in BASES) / 4) ** 0.5
    np.testing.assert_allclose([row.acc, row.acc_std], [mean, spread], rtol=1e-12)
    wrong = mean - 1.96 * spread, mean + 1.96 * spread
    assert wrong[1] - wrong[0] > 1.5 * (row.acc_high - row.acc_low) > 0


def test_intervals_of_every_score(small):
    "Mean and median differ here."
    uneven = small.assign(acc=[0.2, 0.21, 0.3, 0.31, 0.4, 0.41, 0.5, 0.51, 0.9, 0.91])
    row = summarise(uneven).set_index("setting").loc["plain"]
    for score in SCORES:
        values = uneven[uneven.setting == "plain"][score]
        ours = [row[score], row[f"{score}_low"], row[f"{score}_high"]]
        np.testing.assert_allclose(ours, [sum(values) / 5, *bootstrap_interval(values)], rtol=1e-12)
        assert row[f"{score}_low"] < row[score] < row[f"{score}_high"]


def test_other_seeds_are_reported(small, caplog):
    first = small.index[(small.setting == "plain") & (small.seed == 0)]
    summarise(small.drop(index=first))
    assert "different seeds" in caplog.text and "[1, 2, 3, 4]" in caplog.text


def test_one_seed_has_no_spread(toy):
    one = summarise(toy[toy.seed == 0])
    assert one.acc_std.isna().all() and one.acc_low.isna().all(), "none is invented"


# --- differences


def test_differences_against_scipy(small):
    "SciPy's paired t is d_z * sqrt(n). The wrong variant, samples taken as independent, sees next to nothing."
    found = paired_differences(small, ("dcacn", "plain")).iloc[0]
    plain, other = (small[small.setting == s].sort_values("seed").acc.to_numpy() for s in ("plain", "with attention"))
    t = found.effect_size * np.sqrt(5)
    np.testing.assert_allclose(t, stats.ttest_rel(other, plain).statistic, rtol=1e-9)
    np.testing.assert_allclose(found.difference, np.mean(other) - np.mean(plain), rtol=1e-12)
    assert found.better == 5 and stats.ttest_ind(other, plain).statistic < 0.1 * t
    assert (found.low, found.high) == bootstrap_interval(other - plain) and found.low < found.difference < found.high


def test_only_shared_seeds_are_subtracted(small):
    "A seed that only one of them has; a loss, a tie."
    gaps = small[~((small.setting == "plain") & (small.seed == 4))].copy()
    gaps.loc[(gaps.setting == "with attention") & (gaps.seed == 0), "acc"] = 0.5
    gaps.loc[(gaps.setting == "with attention") & (gaps.seed == 1), "acc"] = 0.91
    row = paired_differences(gaps, ("dcacn", "plain")).iloc[0]
    assert row.seeds == 4 and row.better == 2
    assert np.isclose(row.difference, (0.5 - 0.82 + 0 + 0.016 + 0.019) / 4)
    flat = paired_differences(small.assign(acc=0.5), ("dcacn", "plain"))
    assert np.isnan(flat.effect_size[0]), "no spread, no effect size"


# --- a choice without labels


def test_a_choice_without_labels(toy):
    labelled = toy.assign(view_information=[0.5, 0.6, 0.55, 0.57, 0.9, 0.62, 0.7, 0.61, 0.3, 0.3, 0.3, 0.3])
    assert choose_unlabelled(labelled) == ("cc", "default")
    steady = labelled.assign(view_information=[0.5, 0.6, 0.55, 0.57, 0.1, 0.9, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3])
    assert choose_unlabelled(steady) == ("dcacn", "default"), "the mean counts, not the luckiest run"
    with pytest.raises(ValueError, match="by must be a figure that needs no labels, got 'acc'"):
        choose_unlabelled(labelled, "acc")
    with pytest.raises(ValueError, match="each seed of a setting once"):
        choose_unlabelled(pd.concat([labelled, labelled.iloc[:1]]))
    with pytest.raises(ValueError, match="has no value in any row"):
        choose_unlabelled(toy.assign(view_information=math.nan))


# --- what may be compared


def test_mixed_tables_are_refused(toy):
    "Other budgets, other images, missing columns, repeated seeds, scores in part."
    other = toy.assign(budget="60 epochs").iloc[:4]
    foreign = other.assign(budget="30 epochs", protocol="another toy")
    for table, message in [
        (pd.concat([toy, other]), "cannot be compared \\(budget: 30 epochs | 60 epochs\\)"),
        (pd.concat([toy[toy.method == "cc"], foreign]), "cannot be compared \\(protocol: another toy | toy\\)"),
        (toy.drop(columns="budget"), "budget not found"),
        (toy.iloc[:0], "one row per run, got none"),
        (pd.concat([toy, toy.iloc[:1]]), "got seed 0 of dcacn, default again"),
        (
            toy.assign(acc=[math.nan, *toy.acc[1:]]),
            "acc for all seeds of dcacn, default or for none, got none for seed 0",
        ),
        (toy.assign(budget=[math.nan, *toy.budget[1:]]), "must give budget for every run"),
    ]:
        with pytest.raises(ValueError, match=message):
            summarise(table)
    with pytest.raises(ValueError, match="cannot be compared"):
        paired_differences(pd.concat([toy, other]), ("dcacn", "default"))


def test_mixed_rows_can_be_forced(toy):
    "Each row says what it was measured under."
    other = toy.assign(budget="60 epochs").iloc[:4]
    forced = summarise(pd.concat([toy[toy.method != "dcacn"], other]), force=True)
    assert dict(zip(forced.method, forced.measured_under)) == {
        "dcacn": "60 epochs",
        "cc": "30 epochs",
        "simclr": "30 epochs",
    }


def test_wrong_names_are_refused(toy):
    with pytest.raises(ValueError, match="scores must be one of"):
        summarise(toy, ("accuracy",))
    with pytest.raises(ValueError, match="score must be one of 'acc', 'nmi', 'ari', got 'accuracy'"):
        paired_differences(toy, ("dcacn", "default"), "accuracy")
    with pytest.raises(ValueError, match=r"one of \('dcacn', 'default'\), .*; got \('dcac', 'default'\)"):
        paired_differences(toy, ("dcac", "default"))


# --- stored results


@pytest.mark.parametrize(
    "name, runs, seeds",
    [
        ("digits_40_views", 135, 5),
        ("digits_40_views_open", 40, 5),
        ("digits_40_views_head_start", 30, 10),
        ("digits_120_views", 10, 5),
        ("digits_120_views_selflabel", 10, 5),
        ("cifar10_10k_80_views", 24, 3),
        ("cifar10_10k_240_views_cc", 3, 3),
    ],
)
def test_stored_results_can_be_compared(name, runs, seeds):
    "Every stored table is complete: each setting on all seeds, under one protocol and one budget."
    table = load_results(name)
    assert len(table) == runs and set(summarise(table).seeds) == {seeds}


def test_unknown_results_are_refused():
    assert list(load_results("cifar10_10k_240_views_curves").columns)[:3] == ["method", "seed", "epoch"]
    assert len(load_results("default_choice")) == 12
    with pytest.raises(ValueError, match="name must be one of .*got 'digits_40'; did you mean 'digits_40_views'"):
        load_results("digits_40")
