"The confusion matrix: its order against a search of all matchings, its words against counts."

from itertools import permutations

import numpy as np
import pytest

from dcacn_nb.report.figures.confusion import matched_order, plot_confusion


def test_the_diagonal_holds_the_most_images():
    "No other matching of clusters to classes holds more, whichever side has more members."
    draw = np.random.default_rng(0)
    for shape in ((3, 3), (3, 5), (4, 2)):
        table = draw.integers(0, 50, shape)
        rows, columns = matched_order(table)
        assert sorted(rows) == list(range(shape[0])) and sorted(columns) == list(range(shape[1]))
        n = min(shape)
        found = table[np.ix_(rows, columns)].diagonal().sum()
        picks = [
            table[list(r), list(c)].sum()
            for r in permutations(range(shape[0]), n)
            for c in permutations(range(shape[1]), n)
        ]
        assert found == max(picks)


def test_words_and_numbers():
    "The text alternative counts; each cell has its number."
    table = np.array([[1, 8], [9, 2]])
    figure = plot_confusion(table, ["cats", "dogs $x"], {0: "my dogs"})
    assert "85% of the images are on the diagonal" in figure.alt and "cats: 89% in cluster 1" in figure.alt
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["8", "1", "2", "9"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "0 my dogs"]
    assert figure.png()


def test_too_many_to_read():
    "A hundred classes are not drawn."
    assert "too many" in plot_confusion(np.ones((100, 100), int), [str(i) for i in range(100)]).alt


def test_names_must_fit():
    "One name for each row."
    with pytest.raises(ValueError, match="one row for each of 1 classes, got shape"):
        plot_confusion(np.ones((2, 2), int), ["a"])
