"The picture of the number of clusters."

import pytest

from dcacn_nb.report.figures.number import plot_number

FOUND = {
    "candidates": [2, 3, 4, 5],
    "curves": {"neighbours": [0.3, 0.5, 0.4, 0.2], "stability": [0.9, 0.9, 0.9, 0.9]},
    "best": {"neighbours": 3, "stability": 2},
    "choice": 3,
    "low": 3,
    "high": 4,
    "sentence": "3 clusters fit these 40 images best; 3 to 4 are about as good.",
}


def test_curves_range_and_choice():
    "Each curve runs from its worst to its best value, a flat one lies at 0; the picture is told in words."
    figure = plot_number(FOUND)
    axis = figure.axes[0]
    choice, neighbours, stability = axis.get_lines()
    assert set(choice.get_xdata()) == {3}
    assert neighbours.get_ydata() == pytest.approx([1 / 3, 1, 2 / 3, 0]) and neighbours.get_markevery() == [1]
    assert stability.get_ydata() == pytest.approx([0, 0, 0, 0])
    span = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (span.x0, span.x1) == pytest.approx((2.6, 4.4))
    assert "3 clusters fit" in figure.alt and "halves agree 2" in figure.alt


def test_one_number_only():
    "Copies of three images: no curve, but a picture that says so."
    figure = plot_number(FOUND | {"candidates": [3], "curves": {}, "best": {}, "sentence": "Three groups."})
    assert "Three groups." in figure.alt


def test_refused():
    "Something else than a finding."
    with pytest.raises(ValueError, match="NumberOfClusters.as_dict, it lacks choice"):
        plot_number({name: value for name, value in FOUND.items() if name != "choice"})
