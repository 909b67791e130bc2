"The cluster browser looks for images by features, and exports: messages, what is shown, what is refused."

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dcacn_nb.clusters.number import merge_suggestions
from dcacn_nb.clusters.outliers import find_outliers
from dcacn_nb.clusters.similar import most_similar
from dcacn_nb.core.events import RunFinished
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.widgets.clusters import ClusterBrowser

N = 300


@pytest.fixture
def digits(tmp_path):
    "Digits as files and features: the last one is a copy, the one before it has its pixels shuffled, zeros are split."
    data = load_digits()
    rows, clusters = data.data[:N].astype(np.float32), data.target[:N].copy()
    rows[N - 1], clusters[N - 1] = rows[11], clusters[11]
    rows[N - 2] = np.random.default_rng(0).permuted(rows[N - 2])
    clusters[np.flatnonzero(clusters == 0)[::2]] = 10
    images = torch.from_numpy((rows.reshape(N, 1, 8, 8) * 15).astype(np.uint8))
    paths = [tmp_path / "photos" / f"{i}.png" for i in range(N)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        path.write_bytes(rows[i].tobytes())
    p = (0.9 * np.eye(11, dtype=np.float32)[clusters] + 0.1 / 11).astype(np.float32)
    return FeatureSet(rows, images, paths=[str(path) for path in paths]), p, clusters


def watched(digits, **kwargs):
    "A browser with one view, and what it hears."
    widget, heard = ClusterBrowser(images=digits[0], probabilities=digits[1], **kwargs), []
    widget.send = lambda content, buffers=None: heard.append((content, list(buffers or [])))
    widget._on_message(None, {"kind": "hello"}, [])
    return widget, heard


def ask(widget, kind, **content):
    "A message from a view."
    widget._on_message(None, {"kind": kind, "view": "v1", **content}, [])


def rows_of(message):
    "Images of each row that was found."
    content, buffers = message
    numbers, at, rows = np.frombuffer(buffers[0], "<i4").reshape(-1, 4)[:, 0].tolist(), 0, []
    for row in content["rows"]:
        rows.append(numbers[at : at + row["count"]])
        at += row["count"]
    assert content["kind"] == "found" and content["view"] == "v1" and at == len(numbers)
    return rows


def test_more_like_the_selected(digits):
    widget, heard = watched(digits)
    assert heard[0][0]["features"] and heard[0][0]["files"] and not heard[0][0]["folder"]
    ask(widget, "find", what="similar", images=[5, 17])
    assert rows_of(heard[-1]) == [most_similar(digits[0], [5, 17], 48)[0].tolist()]
    assert heard[-1][0]["title"].startswith("48 images most like the 2 selected")
    ask(widget, "find", what="similar", images=[])
    assert heard[-1][0]["kind"] == "state" and "query must be" in heard[-1][0]["said"]


def test_copies_and_outliers(digits):
    "The image to keep comes first; the same bytes are said to be identical."
    widget, heard = watched(digits)
    ask(widget, "find", what="copies", images=[])
    rows = rows_of(heard[-1])
    assert [11, N - 1] in rows and heard[-1][0]["rows"][rows.index([11, N - 1])]["label"] == "identical"
    ask(widget, "find", what="outliers", images=[])
    assert rows_of(heard[-1]) == [find_outliers(digits[0])[0].tolist()] and N - 2 in rows_of(heard[-1])[0]


def test_clusters_to_merge_follow_the_edits(digits):
    "Zeros were split in two: that pair comes first, and is gone after the merge."
    widget, heard = watched(digits)
    ask(widget, "find", what="merges", images=[])
    expected = [[a, b] for a, b, gain in merge_suggestions(digits[0], digits[2]) if gain > 0]
    assert [row["groups"] for row in heard[-1][0]["rows"]] == expected and expected[0] == [0, 10]
    assert heard[-1][0]["rows"][0]["label"] == "cluster 0 + cluster 10"
    first = rows_of(heard[-1])[0]
    assert digits[2][first].tolist() == [0] * 5 + [10] * 5
    ask(widget, "merge", groups=[0, 10])
    ask(widget, "find", what="merges", images=[])
    assert [0, 10] not in [row["groups"] for row in heard[-1][0]["rows"]]


def test_exports(digits, tmp_path):
    "All images, or the selected ones, each time to a new place in the run's folder."
    widget, heard = watched(digits, folder=tmp_path / "run")
    widget.rename(3, "threes")
    ask(widget, "export_as", to="links", images=[])
    links = tmp_path / "run" / "clusters_links"
    assert len(list(links.rglob("*.png"))) == N and (links / "cluster_03_threes").is_dir()
    assert str(links) in heard[-1][0]["said"]
    ask(widget, "export_as", to="links", images=[4, 9])
    assert len(list((tmp_path / "run" / "clusters_links-2").rglob("*.png"))) == 2
    ask(widget, "export_as", to="label-studio", images=[3])
    [task] = json.loads((tmp_path / "run" / "clusters_label_studio.json").read_text())
    assert task["predictions"][0]["result"][0]["value"] == {"choices": ["threes"]}
    ask(widget, "export_as", to="zip", images=[])
    assert "to must be one of" in heard[-1][0]["said"]


def test_what_is_not_there_is_said_in_the_language_of_the_view(digits):
    "Images without features, or without a folder."
    widget, heard = watched((digits[0].images, digits[1]), lang="zh")
    assert not heard[0][0]["features"] and not heard[0][0]["files"]
    ask(widget, "find", what="copies", images=[])
    assert "没有可比较的特征" in heard[-1][0]["said"]
    ask(widget, "export_as", to="links", images=[])
    assert "没有可导出到的训练文件夹" in heard[-1][0]["said"]
    ask(ClusterBrowser(), "find", what="copies", images=[])  # no images yet: nothing breaks
    with pytest.raises(ValueError, match="what must be one of"):
        widget.find("cats")


def test_a_run_on_features_shows_small_pictures_and_files(digits):
    "Its training has features alone; what the run was given has the pictures."
    features, p, _ = digits
    run = SimpleNamespace(images=features.features, source=features, probabilities=torch.from_numpy(p), folder=None)
    run.subscribe = run.unsubscribe = lambda observer: None
    run.status, run.wait = "completed", lambda timeout: True
    widget = ClusterBrowser(run)
    assert widget.wait(30) and threading.active_count() < 50
    assert widget.assigned.paths == features.paths and widget.assigned.images is features.images
    assert widget.find("similar", [5])[0]["images"] == most_similar(features, [5], 48)[0].tolist()
    assert widget.table()["path"].tolist() == features.paths
    widget(RunFinished("completed", 1, 1))


def test_features_without_pictures(digits):
    "Black tiles; files and edits are there all the same."
    bare = FeatureSet(digits[0].features, paths=digits[0].paths)
    widget, heard = watched((bare, digits[1]))
    ask(widget, "tiles", images=[3])
    assert heard[-1][0]["images"] == [3] and heard[-1][0]["files"] == ["3.png"]
