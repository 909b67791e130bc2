"The words of a report are explained on the page: each name in its pictures, and no word that the page does not use."

import ast
import json
import re

import numpy as np
import pytest
from pages import checked, written
from project import ROOT

from dcacn_nb.clusters import number
from dcacn_nb.core.events import Evaluated, HeadSet, RunStarted, StepDone
from dcacn_nb.report import page
from dcacn_nb.report.figures.curves import plot_curves
from dcacn_nb.report.figures.health import plot_health
from dcacn_nb.report.figures.number import plot_number
from dcacn_nb.report.glossary import CRITERIA, HEALTH_EXPLAINED, LOSSES_EXPLAINED, glossary
from dcacn_nb.report.health import HEALTH
from dcacn_nb.report.page import write_report
from dcacn_nb.report.record import read_record


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    "Pages here need not be pretty."
    monkeypatch.setattr(page, "DPI", 30)


def explained(path) -> "list[str]":
    "The words that a page explains, in small letters."
    words = re.findall("<dt>(.*?)</dt>", path.read_text(encoding="utf-8"))
    return [word.replace("&#39;", "'").lower() for word in words]


def in_legends(figure) -> "set[str]":
    "The names in all legends of a figure, without the values behind them."
    legends = [axis.get_legend() for axis in figure.axes] + list(figure.legends)
    texts = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    return {re.sub(r":? -?[\d.]+$", "", text).lower() for text in texts}


def loss_terms() -> "set[str]":
    "The names of loss terms in the code of all methods: beside a total, or as the one term of a head that is fitted."
    names = set()
    for folder in ("method", "baselines", "heads"):
        for file in (ROOT / "dcacn_nb" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Dict):
                    keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                    names |= keys if "total" in keys else set()
                elif isinstance(node, ast.keyword) and node.arg == "term" and isinstance(node.value, ast.Constant):
                    names.add(node.value.value)
    return names


def test_nothing_is_left_unexplained():
    "Every number of a run's health, every loss term of any method, every curve of the choice of a number."
    assert HEALTH_EXPLAINED.keys() == HEALTH.keys() and CRITERIA.keys() == number.CRITERIA.keys()
    assert {"instance", "cluster", "balance", "inertia", "cosine_distance"} <= loss_terms() <= set(LOSSES_EXPLAINED)
    texts = [*HEALTH_EXPLAINED.values(), *LOSSES_EXPLAINED.values(), *(text for _, text in CRITERIA.values())]
    assert all(text.endswith(".") and len(text) > 30 for text in texts)


def test_names_in_the_pictures_are_explained(made_up, tmp_path):
    "What the legends of the curves and of the health say is among the words."
    events = made_up()
    events.insert(-1, HeadSet(4, 20, 0.9))
    words = explained(write_report(written(tmp_path / "run", events)))
    losses = {"total", "instance", "cluster"}
    names = in_legends(plot_curves(events)) | in_legends(plot_health(events))
    assert {"acc", "view agreement", "assignment entropy", "cluster head set"} | losses <= names
    assert {f"{name} (loss)" if name in losses else name for name in names} <= set(words)
    assert {"median confidence", "snapshots' sample", "collapse", "similarity of clusters"} <= set(words)
    assert not {"balance (loss)", "neighbour agreement", "halves agree", "encoder, features"} & set(words)


def test_every_number_of_the_health_is_explained_where_it_was_recorded():
    "And only there."
    for key, name in HEALTH.items():
        events = [Evaluated(1, 1, {"cluster_share": [0.5, 0.5], key: 0.9}), StepDone(1, 1, {"balance": 1.0}, 0.1, 1.0)]
        words = glossary(read_record(events), "Fine.", frozen=False, graded=False, scores=False, number=False)
        assert {word.lower() for word in words} & set(HEALTH.values()) == {name} and "balance (loss)" in words
        assert not {"Collapse", "ACC", "K-Means", "Median confidence"} & set(words)


def test_every_curve_of_the_number_is_explained_below_it(tmp_path):
    "All seven, the same names as in the picture; of a damaged file, none."
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    found = number.choose_k(features, high=5).as_dict()
    folder = written(tmp_path / "run", [RunStarted("x", {}, {}, 60, 1, 1)])
    (folder / "number.json").write_text(json.dumps(found))
    text = checked(write_report(folder))
    names = in_legends(plot_number(found))
    assert len(names) == 7 and names <= set(explained(folder / "report.html")) and "none of them decides alone" in text
    (folder / "number.json").write_text(json.dumps({"sentence": "Three.", "curves": [1]}))
    assert not names & set(explained(write_report(folder)))
