"The one large map of a report: its points against the map they come from, its words against a count, many clusters."

import warnings

import numpy as np

from dcacn_nb.core.events import SnapshotTaken
from dcacn_nb.report.figures.map import plot_map, plot_map_evolution
from dcacn_nb.report.maps import MapSequence

N = 240
FEATURES = np.random.default_rng(0).normal(size=(N, 5))


def snapshot(k: int, epoch: int = 1) -> SnapshotTaken:
    "Images dealt into k clusters."
    return SnapshotTaken(epoch, epoch, np.arange(N), {"p": np.eye(k)[np.arange(N) % k], "h": FEATURES})


def test_points_and_words():
    "Each cluster's points are those of the map; the sizes are in the text alternative."
    figure = plot_map([snapshot(3)], "pca")
    points = MapSequence("pca").add(FEATURES)
    for k, drawn in enumerate(figure.axes[0].collections):
        assert np.allclose(drawn.get_offsets(), points[np.arange(N) % 3 == k])
    assert "cluster 0 80, cluster 1 80, cluster 2 80" in figure.alt and "Map of 240 images" in figure.alt


def test_the_last_usable_snapshot_is_shown():
    "One with features that are not finite is passed over; with none left the picture says why."
    broken = SnapshotTaken(2, 2, np.arange(N), {"p": np.eye(3)[np.arange(N) % 3], "h": FEATURES * np.nan})
    assert plot_map([snapshot(3), broken], "pca").alt == plot_map([snapshot(3)], "pca").alt
    assert "no snapshot with finite features" in plot_map([broken], "pca").alt


def test_the_legend_of_many_clusters_fits():
    "In one column, twenty-four of them were higher than the picture, and nothing was laid out."
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for figure in (
            plot_map_evolution([snapshot(24, epoch) for epoch in range(4)]),
            plot_map([snapshot(24)], "pca"),
        ):
            figure.png(dpi=30)
