"""From many runs to one table: means with intervals, paired differences between settings, and the paper's Table 2 beside our own figures."""

import logging
import math
import re
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from scipy import stats

from dcacn_nb.core.checks import check_in

SCORES = ("acc", "nmi", "ari")
log = logging.getLogger(__name__)
SAME = ("protocol", "budget")  # columns that must hold one value each in a table of results
FEWEST = 4  # values that an interval is made of: of three, one resample in 27 holds the smallest alone, more than the 2.5 % looked for


def comparable(
    table: pd.DataFrame,  # one row a run
    force: bool = False,  # True: let mixed rows pass, marked in a column `measured_under`
) -> pd.DataFrame:  # the table itself, or a marked copy
    "Refuse a table whose rows were measured on other images or under another budget."
    keys = ("method", "setting", "seed")
    missing = [name for name in (*keys, *SAME) if name not in table]
    if missing:
        raise ValueError(
            f"table must have the columns method, setting, seed, protocol and budget; {', '.join(missing)} not found"
        )
    if table.empty:
        raise ValueError("table must have one row a run, got none")
    unknown = [name for name in (*keys, *SAME) if table[name].isna().any()]
    if unknown:
        raise ValueError(
            f"table must say {', '.join(unknown)} of every run, got empty cells (a table read from CSV: read_csv(..., keep_default_na=False) keeps names like 'None')"
        )
    mixed = {name: sorted(map(str, table[name].unique())) for name in SAME if table[name].nunique() > 1}
    twice = table[table.duplicated([*keys, *mixed])]
    if len(twice):
        method, setting, seed = twice.iloc[0][list(keys)]
        raise ValueError(f"table must have each seed of a setting once, got seed {seed} of {method}, {setting} again")
    if not mixed:
        return table
    if not force:
        told = "; ".join(f"{name}: {' | '.join(values)}" for name, values in mixed.items())
        raise ValueError(
            f"table mixes results that cannot be compared ({told}); keep one of them, or give force=True to have each row marked"
        )
    return table.assign(measured_under=table[list(mixed)].astype(str).agg(" | ".join, axis=1))


def bootstrap_interval(
    values: "Sequence[float]",  # (n,) one value a seed
) -> (
    "tuple[float, float]"
):  # lower and upper bound of the mean; NaN for fewer than four values, or where one of them is NaN
    "95 % percentile bootstrap interval of the mean (Efron 1979), with 10,000 resamples from a fixed seed."
    values = np.asarray(values, float)
    if values.ndim != 1:
        raise ValueError(f"values must have one axis, got shape {values.shape}")
    if len(values) < FEWEST or np.isnan(values).any():
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.95,
        n_resamples=10_000,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def summarise(
    table: pd.DataFrame,  # one row a run, as `compare.collect` gives it
    scores: "Sequence[str]" = SCORES,  # columns to summarise, shares from 0 to 1
    force: bool = False,  # see `comparable`
) -> pd.DataFrame:  # one row for each method and setting; columns seeds, acc, acc_std, acc_low, acc_high, ...
    "Mean, standard deviation (n - 1) and 95 % bootstrap interval over seeds, best mean of the first score first. ValueError: scores missing in part."
    table = comparable(table, force)
    for score in scores:
        check_in("scores", score, list(table.columns))
    keys = ["method", "setting", *(["measured_under"] if "measured_under" in table else [])]
    rows = []
    for key, group in table.groupby(keys, sort=False):
        row = dict(zip(keys, key)) | {"seeds": len(group)}
        for score in scores:
            if 0 < (lacking := group[score].isna()).sum() < len(group):
                raise ValueError(
                    f"table must have {score} for all seeds of {key[0]}, {key[1]} or for none, got none for seed {', '.join(map(str, group.seed[lacking]))}"
                )
            low, high = bootstrap_interval(group[score])
            row |= {
                score: group[score].mean(),
                f"{score}_std": group[score].std(ddof=1),
                f"{score}_low": low,
                f"{score}_high": high,
            }
        rows.append(row)
    if table.groupby(keys).seed.agg(frozenset).nunique() > 1:
        log.warning(
            "the means are of different seeds: %s",
            "; ".join(f"{' '.join(map(str, key))}: {sorted(seeds)}" for key, seeds in table.groupby(keys).seed),
        )
    return pd.DataFrame(rows).sort_values(scores[0], ascending=False, kind="stable", ignore_index=True)


def paired_differences(
    table: pd.DataFrame,  # one row a run
    reference: "tuple[str, str]",  # method and setting that all others are compared with
    score: str = "acc",  # "acc", "nmi" or "ari", shares from 0 to 1
) -> pd.DataFrame:  # one row for each other method and setting: seeds, difference, std, low, high, effect_size, better
    "Differences to a reference over the seeds that both have: mean, interval, Cohen's d_z, and in how many seeds it is better."
    check_in("score", score, SCORES)
    wide = comparable(table).pivot(index="seed", columns=["method", "setting"], values=score)
    if tuple(reference) not in list(wide.columns):
        raise ValueError(
            f"reference must be a method and a setting of the table, one of {', '.join(map(str, wide.columns))}; got {reference!r}"
        )
    rows = []
    for method, setting in wide.columns.drop(tuple(reference)):
        d = (wide[method, setting] - wide[tuple(reference)]).dropna()
        spread = d.std(ddof=1) if len(d) > 1 else math.nan
        low, high = bootstrap_interval(d)
        rows.append(
            {
                "method": method,
                "setting": setting,
                "seeds": len(d),
                "difference": d.mean(),
                "std": spread,
                "low": low,
                "high": high,
                "effect_size": d.mean() / spread if spread > 1e-12 else math.nan,
                "better": int((d > 0).sum()),
            }
        )
    return pd.DataFrame(
        rows, columns=["method", "setting", "seeds", "difference", "std", "low", "high", "effect_size", "better"]
    )


_QUOTED = {  # the paper's Table 2: ACC, NMI, ARI in percent on ImageNet-10, CIFAR-10, STL-10
    "kmeans": ("K-Means", (24.1, 11.9, 5.7), (22.9, 8.7, 4.9), (19.2, 12.5, 6.1)),
    "dec": ("DEC", (38.1, 28.2, 20.3), (30.1, 25.7, 16.1), (35.9, 27.6, 18.6)),
    "dcec": ("DCEC", (40.1, 30.2, 28.7), (35.2, 34.2, 23.9), (38.9, 34.7, 25.5)),
    "iic": ("IIC", None, (61.7, 55.1, 41.1), (59.6, 49.6, 39.7)),
    "pica": ("PICA", (87.0, 80.2, 76.1), (69.6, 59.1, 51.2), (71.3, 61.1, 53.1)),
    "cc": ("CC", (89.3, 85.9, 82.2), (79.0, 70.5, 63.7), (85.0, 76.4, 72.6)),
    "sccmd": ("SCCMD", None, (90.3, 81.4, 80.5), (79.3, 75.6, 73.3)),
    "dcacn": ("DCACN", (93.5, 88.7, 86.4), (91.8, 83.2, 82.1), (87.6, 78.9, 75.8)),
}
PAPER_SETS = ("ImageNet-10", "CIFAR-10", "STL-10")


def paper_table(
    dataset: str,  # "ImageNet-10", "CIFAR-10" or "STL-10"
) -> (
    pd.DataFrame
):  # index method (as in `fit`), columns name, acc, nmi, ari in percent; NaN where the paper has no figure
    "The paper's Table 2 for one set of images, as printed there."
    which = PAPER_SETS.index(check_in("dataset", dataset, PAPER_SETS))
    rows = {method: (name, *(sets[which] or (math.nan,) * 3)) for method, (name, *sets) in _QUOTED.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["name", *SCORES]).rename_axis("method")


def beside_the_paper(
    summary: pd.DataFrame,  # as `summarise` gives it
    dataset: "str | None" = "CIFAR-10",  # the paper's column to quote; None: our figures alone
) -> pd.DataFrame:  # texts: one row for each method and setting of ours and each quoted method
    "Our means and standard deviations in percent, and the paper's figures for `dataset`, in distinct columns; a changed setting is nobody's but ours."
    quoted, rows = paper_table(dataset or PAPER_SETS[0]), []  # of any set, for the names
    number = lambda x: "–" if math.isnan(x) else f"{x:.1f}"
    own = lambda r, s: number(100 * r[s]) + ("" if math.isnan(r[f"{s}_std"]) else f" ± {100 * r[f'{s}_std']:.1f}")
    told = lambda value: {f"{s.upper()}, paper ({dataset})": value(s) for s in SCORES} if dataset else {}
    marked = "measured_under" in summary
    for _, r in summary.iterrows():
        known, plain = r.method in quoted.index, r.setting == "default"
        name = (quoted.loc[r.method, "name"] if known else r.method) + ("" if plain else f" ({r.setting})")
        rows.append(
            {"method": name}
            | {f"{s.upper()}, ours": own(r, s) for s in SCORES}
            | {"seeds": r.seeds}
            | told(lambda s: number(quoted.loc[r.method, s]) if known and plain else "–")
            | ({"measured under": r.measured_under} if marked else {})
        )
    for method in quoted.index.difference(summary.method, sort=False) if dataset else ():
        rows.append(
            {"method": quoted.loc[method, "name"]}
            | {f"{s.upper()}, ours": "not run" for s in SCORES}
            | {"seeds": 0}
            | told(lambda s: number(quoted.loc[method, s]))
            | ({"measured under": "–"} if marked else {})
        )
    return pd.DataFrame(rows)


def to_markdown(
    table: pd.DataFrame,  # any table of texts and numbers
) -> str:
    "A table in Markdown."
    cell = lambda value: re.sub(r"([\\|*_`<>$~\[\]])", r"\\\1", str(value).replace("\n", " "))
    lines = [
        [cell(c) for c in table.columns],
        ["---"] * len(table.columns),
        *([cell(v) for v in row] for row in table.itertuples(index=False)),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "\n": " ",
}


def to_latex(
    table: pd.DataFrame,  # any table of texts and numbers
) -> str:  # needs the package booktabs
    "A table in LaTeX, special characters escaped."
    cell = lambda value: "".join(_LATEX.get(c, c) for c in str(value))
    line = lambda values: " & ".join(map(cell, values)) + r" \\"
    body = [line(row) for row in table.itertuples(index=False)]
    return (
        "\n".join(
            [
                r"\begin{tabular}{l" + "r" * (len(table.columns) - 1) + "}",
                r"\toprule",
                line(table.columns),
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )
        + "\n"
    )


def _label(method: str, setting: str) -> str:
    "What a row is called in a picture."
    return method if setting == "default" else f"{method}, {setting}"


def plot_comparison(
    table: pd.DataFrame,  # one row a run
    score: str = "acc",  # "acc", "nmi" or "ari", shares from 0 to 1
):  # matplotlib Figure
    "Every run as a dot, the mean of each method and setting with its 95 % bootstrap interval, the best on top."
    summary = summarise(table, (check_in("score", score, SCORES),))
    shown = table.assign(row=[_label(m, s) for m, s in zip(table.method, table.setting)])
    order = [_label(m, s) for m, s in zip(summary.method, summary.setting)]
    figure, axis = plt.subplots(figsize=(6.5, 0.8 + 0.32 * len(order)), dpi=80, layout="constrained")
    sns.stripplot(shown, x=score, y="row", order=order, color="#0072B2", size=5, alpha=0.6, jitter=False, ax=axis)
    for y, r in summary.iterrows():
        axis.plot([r[f"{score}_low"], r[f"{score}_high"]], [y, y], color="#D55E00", linewidth=2)
        axis.plot(r[score], y, marker="D", color="#D55E00", markersize=6)
    intervals = summary[f"{score}_low"].notna().any()
    axis.set(
        xlabel=f"{score.upper()} (dots: runs; diamond: mean"
        + ("; line: its 95 % interval)" if intervals else f"; fewer than {FEWEST} seeds: no interval)"),
        ylabel="",
        ylim=(len(order) - 0.3, -0.7),
    )
    axis.grid(axis="x", alpha=0.3)
    return figure


def plot_differences(
    differences: pd.DataFrame,  # as `paired_differences` gives it
    reference: str,  # what they are differences to, in words
):  # matplotlib Figure
    "Paired differences with their intervals: what lies right of zero is better than the reference."
    shown = differences.sort_values("difference", ignore_index=True)
    figure, axis = plt.subplots(figsize=(6.5, 0.8 + 0.32 * len(shown)), dpi=80, layout="constrained")
    axis.axvline(0, color="0.4", linewidth=1)
    for y, r in shown.iterrows():
        apart = r.low > 0 or r.high < 0
        axis.plot([100 * r.low, 100 * r.high], [y, y], color="#0072B2", linewidth=2, alpha=1 if apart else 0.45)
        axis.plot(
            100 * r.difference,
            y,
            marker="o" if apart else "s",
            color="#0072B2",
            markerfacecolor="#0072B2" if apart else "white",
            markersize=6,
        )
    meaning = (
        "filled: the 95 % bootstrap interval leaves zero out"
        if shown.low.notna().any()
        else f"fewer than {FEWEST} seeds: no interval"
    )
    axis.set(
        yticks=range(len(shown)),
        yticklabels=[_label(r.method, r.setting) for _, r in shown.iterrows()],
        ylim=(-0.7, len(shown) - 0.3),
        xlabel=f"points against {reference} ({meaning})",
    )
    axis.grid(axis="x", alpha=0.3)
    return figure


def choose_unlabelled(
    table: pd.DataFrame,  # one row a run
    by: str = "view_information",  # or "view_agreement", "balance_entropy": no labels needed, higher is better
) -> "tuple[str, str]":  # method and setting
    "The method and setting with the highest mean of a label-free figure; columns of scores are refused."
    if by in SCORES:
        raise ValueError(f"by must be a figure that needs no labels, got {by!r}, which does")
    check_in("by", by, [name for name in ("view_information", "view_agreement", "balance_entropy") if name in table])
    means = comparable(table).groupby(["method", "setting"], sort=False)[by].mean()
    if means.isna().all():
        raise ValueError(f"by={by!r} has no value in any row")
    return means.idxmax()
