"Pictures of comparisons: what is drawn is what the tables say."

import sys

import numpy as np
import pytest

from dcacn_nb.compare.figures import plot_comparison, plot_differences
from dcacn_nb.compare.tables import paired_differences


def lines(figure, *markers):
    "The lines of a picture with one of these markers."
    return [line for line in figure.axes[0].lines if line.get_marker() in markers]


def test_every_run_and_every_mean(toy):
    figure = plot_comparison(toy)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["dcacn", "cc", "simclr"]
    assert np.allclose([line.get_xdata()[0] for line in lines(figure, "D")], [0.915, 0.865, 0.815])
    assert np.allclose([sorted(line.get_xdata()) for line in lines(figure, "o")][1], [0.85, 0.86, 0.87, 0.88])
    assert "dcacn 0.915 (0.90" in figure.alt and "12 runs" in figure.alt
    few = plot_comparison(toy[toy.seed < 3])
    assert "fewer than 4 seeds" in few.axes[0].get_xlabel() and "nan" not in few.alt
    assert "with intervals" in figure.alt and "with intervals" not in few.alt


def test_differences_are_filled_if_zero_is_outside(toy):
    acc = [0.9, 0.91, 0.92, 0.93, 0.89, 0.92, 0.91, 0.94, 0.8, 0.81, 0.82, 0.84]
    near = paired_differences(toy.assign(acc=acc), ("dcacn", "default"))
    figure = plot_differences(near, "DCACN")
    points = {line.get_ydata()[0]: (line.get_xdata()[0], line.get_marker()) for line in lines(figure, "o", "s")}
    assert np.isclose(points[0][0], 0) and points[0][1] == "s", points
    assert np.isclose(points[1][0], -9.75) and points[1][1] == "o", points
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["cc", "simclr"]
    assert "simclr -9.8 (-10.0 to -9.3)" in figure.alt and "cc +0.0 (" in figure.alt


def test_no_pyplot(toy, monkeypatch):
    "Pictures are drawn without pyplot, so that they can be drawn in any thread."
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert plot_comparison(toy).png().startswith(b"\x89PNG")


def test_wrong_score_is_refused(toy):
    with pytest.raises(ValueError, match="score must be one of 'acc', 'nmi', 'ari', got 'accuracy'"):
        plot_comparison(toy, "accuracy")


def test_rows_of_one_method_are_called_by_their_settings(toy):
    "The method's name would be the same in each."
    one = toy.assign(setting=toy.method, method="dcacn")
    ticks = lambda table: [text.get_text() for text in plot_comparison(table).axes[0].get_yticklabels()]
    assert ticks(one) == ["dcacn", "cc", "simclr"]
    assert ticks(toy.assign(setting="no attention")) == [f"{m}, no attention" for m in ("dcacn", "cc", "simclr")]
