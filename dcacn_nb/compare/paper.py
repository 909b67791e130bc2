"""The paper's Table 2 beside our own figures, as Markdown and LaTeX too."""

import math
import re

import pandas as pd

from dcacn_nb.compare.tables import SCORES
from dcacn_nb.core.checks import check_in

PAPER_SETS = ("ImageNet-10", "CIFAR-10", "STL-10")
# The paper's Table 2: ACC, NMI, ARI in percent on ImageNet-10, CIFAR-10, STL-10
_QUOTED: "dict[str, tuple]" = {
    "kmeans": ("K-Means", (24.1, 11.9, 5.7), (22.9, 8.7, 4.9), (19.2, 12.5, 6.1)),
    "dec": ("DEC", (38.1, 28.2, 20.3), (30.1, 25.7, 16.1), (35.9, 27.6, 18.6)),
    "dcec": ("DCEC", (40.1, 30.2, 28.7), (35.2, 34.2, 23.9), (38.9, 34.7, 25.5)),
    "iic": ("IIC", None, (61.7, 55.1, 41.1), (59.6, 49.6, 39.7)),
    "pica": ("PICA", (87.0, 80.2, 76.1), (69.6, 59.1, 51.2), (71.3, 61.1, 53.1)),
    "cc": ("CC", (89.3, 85.9, 82.2), (79.0, 70.5, 63.7), (85.0, 76.4, 72.6)),
    "sccmd": ("SCCMD", None, (90.3, 81.4, 80.5), (79.3, 75.6, 73.3)),
    "dcacn": ("DCACN", (93.5, 88.7, 86.4), (91.8, 83.2, 82.1), (87.6, 78.9, 75.8)),
}
# methods of this package that the paper does not have
_OURS = {
    "ae": "Auto-encoder",
    "simclr": "SimCLR",
    "scan": "SCAN",
    "propos": "ProPos",
    "dcacn_selflabel": "DCACN + self-labels",
}


def paper_table(
    dataset: str,  # "ImageNet-10", "CIFAR-10" or "STL-10"
) -> pd.DataFrame:  # index method (as in `fit`); columns name, acc, nmi, ari in percent, NaN where there is no figure
    "The paper's Table 2 for one set of images, as printed there."
    check_in("dataset", dataset, PAPER_SETS)
    which = PAPER_SETS.index(dataset)
    rows = {method: (name, *(sets[which] or (math.nan,) * 3)) for method, (name, *sets) in _QUOTED.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["name", *SCORES]).rename_axis("method")


def beside_the_paper(
    summary: pd.DataFrame,  # as `summarise` returns it
    dataset: "str | None" = None,  # the paper's images to quote, e.g. "CIFAR-10"; None: our figures alone
) -> pd.DataFrame:  # texts: one row per method and setting of ours, and one per quoted method
    "Our means and standard deviations in percent; in columns of their own, the paper's figures for default settings."
    quoted = None if dataset is None else paper_table(dataset)
    names = _OURS | {method: name for method, (name, *_) in _QUOTED.items()}
    rows = []
    for _, r in summary.iterrows():
        plain = r.setting == "default"
        row = {"method": names.get(r.method, r.method) + ("" if plain else f" ({r.setting})")}
        row |= {f"{s.upper()}, ours": _mean(r, s) for s in SCORES} | {"seeds": r.seeds}
        if quoted is not None:
            row |= _quote(quoted, r.method if plain else None, dataset)
        rows.append(row | ({"measured under": r.measured_under} if "measured_under" in summary else {}))
    for method in () if quoted is None else quoted.index.difference(summary.method, sort=False):
        row = {"method": names[method]} | {f"{s.upper()}, ours": "not run" for s in SCORES} | {"seeds": 0}
        row |= _quote(quoted, method, dataset)
        rows.append(row | ({"measured under": "–"} if "measured_under" in summary else {}))
    return pd.DataFrame(rows)


def _number(x: float) -> str:
    "One decimal, or a dash."
    return "–" if math.isnan(x) else f"{x:.1f}"


def _mean(row: pd.Series, score: str) -> str:
    "A mean with its standard deviation, if it has one, in percent."
    std = row[f"{score}_std"]
    return _number(100 * row[score]) + ("" if math.isnan(std) else f" ± {100 * std:.1f}")


def _quote(quoted: pd.DataFrame, method: "str | None", dataset: "str | None") -> dict:
    "The paper's figures for a method; dashes where it has none."
    known = method in quoted.index
    return {f"{s.upper()}, paper ({dataset})": _number(quoted.loc[method, s]) if known else "–" for s in SCORES}


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
    begin = r"\begin{tabular}{l" + "r" * (len(table.columns) - 1) + "}"
    body = [line(row) for row in table.itertuples(index=False)]
    parts = [begin, r"\toprule", line(table.columns), r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(parts) + "\n"
