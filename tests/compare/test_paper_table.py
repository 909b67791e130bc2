"The paper's Table 2 beside our own figures, and tables as Markdown and LaTeX, letter by letter."

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from dcacn_nb.compare.paper import _LATEX, PAPER_SETS, beside_the_paper, paper_table, to_latex, to_markdown
from dcacn_nb.compare.tables import SCORES, summarise


def test_the_quoted_figures():
    "Spot checks, and the sum of all."
    assert {name: paper_table(name).loc["cc", list(SCORES)].tolist() for name in PAPER_SETS} == {
        "ImageNet-10": [89.3, 85.9, 82.2],
        "CIFAR-10": [79.0, 70.5, 63.7],
        "STL-10": [85.0, 76.4, 72.6],
    }
    total = sum(paper_table(name)[list(SCORES)].sum().sum() for name in PAPER_SETS)
    assert np.isclose(total, 3516.5), "a figure of the paper was changed"
    with pytest.raises(ValueError, match="dataset must be one of 'ImageNet-10', .*; did you mean 'CIFAR-10'"):
        paper_table("CIFAR10")


def test_ours_and_theirs_in_columns_of_their_own(toy):
    both = beside_the_paper(summarise(toy), "CIFAR-10")
    assert list(both.method)[:3] == ["DCACN", "CC", "SimCLR"] and both.iloc[-1, 1] == "not run"
    expected = ["DCACN", "91.5 ± 1.3", "80.0 ± 0.0", "70.0 ± 0.0", 4, "91.8", "83.2", "82.1"]
    assert both.iloc[0].tolist() == expected
    assert both.iloc[2].tolist()[5:] == ["–"] * 3, "the paper has no SimCLR"


def test_changed_settings_are_not_quoted(toy):
    "The paper measured no such setting; nothing is quoted unless a set of images is named."
    changed = summarise(toy.assign(setting="no attention"))
    assert set(beside_the_paper(changed, "CIFAR-10")["ACC, paper (CIFAR-10)"][:3]) == {"–"}
    assert beside_the_paper(changed, "CIFAR-10").method[0] == "DCACN (no attention)"
    alone = beside_the_paper(changed)
    assert list(alone) == ["method", "ACC, ours", "NMI, ours", "ARI, ours", "seeds"] and len(alone) == 3


def test_forced_tables_say_what_each_row_was_measured_under(toy):
    other = toy.assign(budget="60 epochs").iloc[:4]
    forced = summarise(pd.concat([toy[toy.method != "dcacn"], other]), force=True)
    assert set(beside_the_paper(forced, "CIFAR-10")["measured under"]) == {"30 epochs", "60 epochs", "–"}


WILD = pd.DataFrame({"method": ["a|b", "50 % & _x_", "two\nlines"], "ACC": ["1.0 ± 0.1", "–", "`c` *d* <b> $e$"]})


def test_markdown(toy):
    "What Markdown would take for orders is escaped."
    assert to_markdown(WILD).splitlines() == [
        "| method | ACC |",
        "| --- | --- |",
        r"| a\|b | 1.0 ± 0.1 |",
        r"| 50 % & \_x\_ | – |",
        r"| two lines | \`c\` \*d\* \<b\> \$e\$ |",
    ]
    both = beside_the_paper(summarise(toy), "CIFAR-10")
    assert Counter(line.count("|") for line in to_markdown(both).splitlines()) == {9: len(both) + 2}


def test_latex():
    "What LaTeX would take for orders is escaped, each character of them."
    tex = to_latex(WILD)
    assert r"50 \% \& \_x\_ & -- \\" in tex and r"a\textbar{}b & 1.0 $\pm$ 0.1 \\" in tex and tex.count(r"\\") == 4
    for plain, escaped in _LATEX.items():
        assert f"x{escaped}y" in to_latex(pd.DataFrame({"a": [f"x{plain}y"]}))
    assert tex.splitlines()[:2] == [r"\begin{tabular}{lr}", r"\toprule"] and tex.endswith("\\end{tabular}\n")
