"""From many runs to one table: means with intervals over seeds, and paired differences between settings."""

import math
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import pandas as pd
from scipy import stats

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.text import logger

log = logger(__name__)
SCORES = ("acc", "nmi", "ari")
RUN = ("method", "setting", "seed")  # columns that name a run
SAME = ("protocol", "budget")  # columns that must hold one value each in a table of results
LABEL_FREE = ("view_information", "view_agreement", "neighbour_information", "balance_entropy")  # higher is better
# An interval needs four values: of three, one resample in 27 holds the smallest alone, more than the 2.5 % cut off.
FEWEST = 4


def load_results(
    name: str,  # e.g. "digits_40_views"; an unknown name is refused with the list of all
) -> pd.DataFrame:  # one row per run
    "Results that come with the package, measured beforehand: method, setting, seed, scores, cost, protocol, budget."
    folder = files("dcacn_nb.compare") / "results"
    names = sorted(path.name.removesuffix(".csv") for path in folder.iterdir() if path.name.endswith(".csv"))
    check_in("name", name, names)
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def comparable(
    table: pd.DataFrame,  # one row per run
    force: bool = False,  # True: accept mixed rows, marked in a column `measured_under`
) -> pd.DataFrame:  # the table itself, or a marked copy
    "Refuse a table whose rows were measured on other images or under another budget."
    _check_rows(table)
    mixed = {name: sorted(map(str, table[name].unique())) for name in SAME if table[name].nunique() > 1}
    repeated = table[table.duplicated([*RUN, *mixed])]
    if len(repeated):
        method, setting, seed = repeated.iloc[0][list(RUN)]
        raise ValueError(f"table must have each seed of a setting once, got seed {seed} of {method}, {setting} again")
    if not mixed:
        return table
    if not force:
        values = "; ".join(f"{name}: {' | '.join(values)}" for name, values in mixed.items())
        raise ValueError(
            f"table mixes results that cannot be compared ({values}); "
            "keep one of them, or give force=True to have each row marked"
        )
    return table.assign(measured_under=table[list(mixed)].astype(str).agg(" | ".join, axis=1))


def _check_rows(table: pd.DataFrame) -> None:
    "Refuse a table that does not say of every run which one it is and under what it was measured."
    missing = [name for name in (*RUN, *SAME) if name not in table]
    if missing:
        raise ValueError(
            f"table must have the columns method, setting, seed, protocol and budget; {', '.join(missing)} not found"
        )
    if table.empty:
        raise ValueError("table must have one row per run, got none")
    unknown = [name for name in (*RUN, *SAME) if table[name].isna().any()]
    if unknown:
        raise ValueError(
            f"table must give {', '.join(unknown)} for every run, got empty cells "
            "(a table read from CSV: read_csv(..., keep_default_na=False) keeps names like 'None')"
        )


def bootstrap_interval(
    values: "Sequence[float]",  # (n,) one value per seed
) -> "tuple[float, float]":  # bounds of the mean; NaN for fewer than four values, or if one of them is NaN
    "95 % percentile bootstrap interval of the mean (Efron 1979), with 10,000 resamples from a fixed seed."
    x = np.asarray(values, float)
    if x.ndim != 1:
        raise ValueError(f"values must have one axis, got shape {x.shape}")
    if len(x) < FEWEST or np.isnan(x).any():
        return math.nan, math.nan
    if np.ptp(x) == 0:
        return float(x[0]), float(x[0])
    rng = np.random.default_rng(0)
    found = stats.bootstrap(
        (x,), np.mean, confidence_level=0.95, n_resamples=10_000, method="percentile", random_state=rng
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def summarise(
    table: pd.DataFrame,  # one row per run, as `collect` returns it
    scores: "Sequence[str]" = SCORES,  # columns to summarise, fractions from 0 to 1
    force: bool = False,  # see `comparable`
) -> pd.DataFrame:  # one row per method and setting; columns seeds, acc, acc_std, acc_low, acc_high, ...
    "Mean, standard deviation (n - 1) and 95 % bootstrap interval over seeds; the best mean of the first score first."
    table = comparable(table, force)
    for score in scores:
        check_in("scores", score, list(table.columns))
    keys = ["method", "setting", *(["measured_under"] if "measured_under" in table else [])]
    rows = []
    for key, group in table.groupby(keys, sort=False):
        row = dict(zip(keys, key)) | {"seeds": len(group)}
        for score in scores:
            row |= _spread(group, score)
        rows.append(row)
    if table.groupby(keys).seed.agg(frozenset).nunique() > 1:
        seeds = (f"{' '.join(map(str, key))}: {sorted(seeds)}" for key, seeds in table.groupby(keys).seed)
        log.warning("the means are of different seeds: %s", "; ".join(seeds))
    return pd.DataFrame(rows).sort_values(scores[0], ascending=False, kind="stable", ignore_index=True)


def _spread(group: pd.DataFrame, score: str) -> dict:
    "Mean, standard deviation and interval of one score over the seeds of a setting."
    lacking = group[score].isna()
    if 0 < lacking.sum() < len(group):
        method, setting = group.iloc[0][["method", "setting"]]
        raise ValueError(
            f"table must have {score} for all seeds of {method}, {setting} or for none, "
            f"got none for seed {', '.join(map(str, group.seed[lacking]))}"
        )
    low, high = bootstrap_interval(group[score])
    mean, std = group[score].mean(), group[score].std(ddof=1)
    return {score: mean, f"{score}_std": std, f"{score}_low": low, f"{score}_high": high}


def paired_differences(
    table: pd.DataFrame,  # one row per run
    reference: "tuple[str, str]",  # method and setting that all others are compared with
    score: str = "acc",  # "acc", "nmi" or "ari", fractions from 0 to 1
) -> pd.DataFrame:  # one row per other method and setting: seeds, difference, std, low, high, effect_size, better
    "Differences to a reference over shared seeds: mean, interval, Cohen's d_z, and on how many seeds it is better."
    check_in("score", score, SCORES)
    wide = comparable(table).pivot(index="seed", columns=["method", "setting"], values=score)
    if tuple(reference) not in list(wide.columns):
        raise ValueError(
            f"reference must be a method and a setting of the table, one of {', '.join(map(str, wide.columns))}; "
            f"got {reference!r}"
        )
    rows = []
    for method, setting in wide.columns.drop(tuple(reference)):
        difference = (wide[method, setting] - wide[tuple(reference)]).dropna()
        rows.append({"method": method, "setting": setting} | _paired(difference))
    columns = ("method", "setting", "seeds", "difference", "std", "low", "high", "effect_size", "better")
    return pd.DataFrame(rows, columns=columns)


def _paired(difference: pd.Series) -> dict:
    "What is reported of one setting's differences, one value per shared seed."
    std = difference.std(ddof=1) if len(difference) > 1 else math.nan
    low, high = bootstrap_interval(difference)
    return {
        "seeds": len(difference),
        "difference": difference.mean(),
        "std": std,
        "low": low,
        "high": high,
        "effect_size": difference.mean() / std if std > 1e-12 else math.nan,
        "better": int((difference > 0).sum()),
    }


def choose_unlabelled(
    table: pd.DataFrame,  # one row per run
    by: str = "view_information",  # or "view_agreement", "balance_entropy": higher is better
) -> "tuple[str, str]":  # method and setting
    "The method and setting with the highest mean of a label-free figure; columns of scores are refused."
    if by in SCORES:
        raise ValueError(f"by must be a figure that needs no labels, got {by!r}, which needs them")
    check_in("by", by, [name for name in LABEL_FREE if name in table])
    means = comparable(table).groupby(["method", "setting"], sort=False)[by].mean()
    if means.isna().all():
        raise ValueError(f"by={by!r} has no value in any row")
    return means.idxmax()
