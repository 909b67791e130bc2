"The page of a run on frozen features, with what was found in its groups; damaged files cost their part alone."

import json
import re

import numpy as np
import pytest
from pages import checked, headings, written
from sklearn.datasets import load_digits

from dcacn_nb.core.events import Evaluated, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report import page
from dcacn_nb.report.page import write_report
from dcacn_nb.report.run_files import keep_pictures, parse_groups, write_reference

N, K = 60, 3
CLUSTERS = np.arange(N) % K
ENCODER = {"name": "lite0", "weights": "ab" * 32, "size": 224, "licence": None, "trained_on": "ImageNet-1k with labels"}
PATHS = [f"/photos/me/photos/set{i % 2}/{i:02d}.jpg" for i in range(N)]
GROUPS = {  # as `clusters.summary.after_groups` makes it; a test below compares the keys
    "version": 1,
    "n_images": N,
    "telling": {"0": [30, 33, 0], "1": [31, 1], "2": [2, 5]},
    "duplicates": {
        "threshold": 0.9,
        "groups": [
            {"keep": 1, "copies": [4, 7], "cosines": [0.95, 0.93], "exact": [False, True]},
            {"keep": 3, "copies": [6], "cosines": [1.0], "exact": [True]},
        ],
        "copies": 3,
        "bytes": 1234,
    },
    "outliers": {"limit": 2.5, "images": [50, 11], "scores": [3.5, 2.9]},
    "merges": [{"into": 0, "cluster": 2, "gain": 0.5}],
    "names": {},
}


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    "Pages here need not be pretty."
    monkeypatch.setattr(page, "DPI", 30)


def pictures() -> np.ndarray:
    "Real digits in three channels, 8 pixels."
    grey = (load_digits().images[:N] * 15.9).astype(np.uint8)[:, None]
    return np.repeat(grey, 3, 1)


def frozen(folder, health=None, scores=None, source="/photos/me/photos", encoder=ENCODER):
    "A run on features: its snapshot shows the first half of the images."
    p = 0.02 + 0.94 * np.eye(K)[CLUSTERS]
    p[::10] = [0.4, 0.35, 0.25]
    shares = {"cluster_share": [1 / 3] * 3, "cluster_mass": [1 / 3] * 3, "balance_entropy": 1.0}
    health = {"assignment_entropy": 0.1, "n_empty": 0, "neighbour_agreement": 0.9} | shares | (health or {})
    arrays = {"h": np.random.default_rng(0).normal(size=(N // 2, 5)), "p": p[: N // 2], "images": pictures()[: N // 2]}
    start = RunStarted("neighbours", {"n_clusters": K, "lr": 0.1}, {"source": source, "encoder": encoder}, N, 4, 1)
    events = [start, Evaluated(1, 4, health, scores), SnapshotTaken(1, 4, np.arange(N // 2), arrays)]
    return written(folder, [*events, RunFinished("completed", 4, 1, seconds=2.0)])


def write_table(folder, confidence=0.95):
    "The clusters.csv of the command."
    rows = [f"{PATHS[i]},{CLUSTERS[i]},{confidence}" for i in range(N)]
    (folder / "clusters.csv").write_text("\n".join(["path,cluster,confidence", *rows]) + "\n")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    "A run folder with every file there may be, and its page."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "DPI", 30)
        folder = frozen(tmp_path_factory.mktemp("frozen") / "run", scores={"acc": 0.5, "nmi": 0.25, "ari": 0.125})
        (folder / "groups.json").write_text(json.dumps(GROUPS))
        keep_pictures(folder, GROUPS, pictures(), PATHS)
        labels = (np.arange(N) // 2) % K
        kmeans = {"acc": 0.456, "nmi": 0.234, "ari": 0.123}
        write_reference(folder, labels, CLUSTERS, K, ["cats", "<dogs>", "birds"], kmeans)
        write_table(folder)
        return folder, write_report(folder)


def alts(path, heading: str) -> "list[int]":
    "The images whose photos are in one section, in order."
    text = path.read_text(encoding="utf-8")
    section = text[text.index(f"<h2>{heading}</h2>") :]
    return [int(i) for i in re.findall(r'alt="image (\d+)', section[: section.index("<h2>", 4)])]


def test_order_of_a_frozen_run(full):
    "Groups first, then how sure, duplicates, outliers, merges, map, labels; no views and no attention."
    top = ["The groups", "How sure?", "Duplicates", "Belongs nowhere", "Could be one group", "Map"]
    after = ["Compared with the labels", "The encoder", "Words explained", "How it was trained", "The run"]
    assert headings(full[1]) == [*top, *after, "Images and protocol", "How this report was made"]
    assert re.findall("<h3>([A-Z][a-z]+)</h3>", full[1].read_text(encoding="utf-8")) == ["Curves", "Health"]


def test_the_file_is_the_one_that_is_written():
    "The floor beside this one writes groups.json; both must agree on its keys, down to each set of copies."
    from dcacn_nb.clusters.summary import after_groups

    features = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    features[1] = features[0]
    found = json.loads(json.dumps(after_groups(features, CLUSTERS)))

    def shape(values, key=""):
        "The keys, at every depth; images by their number are not keys."
        if isinstance(values, dict) and key != "telling":
            return {name: shape(value, name) for name, value in values.items()}
        return [shape(values[0])] if isinstance(values, list) and values and isinstance(values[0], dict) else None

    assert shape(found) | {"merges": None} == shape(GROUPS) | {"merges": None}
    assert parse_groups(found).telling.keys() == {0, 1, 2} and parse_groups(found).duplicates[0].images == [0, 1]
    assert all(set(pair) == {"into", "cluster", "gain"} for pair in found["merges"])


def test_title_names_the_folder_of_photos(full, tmp_path):
    "Of a source on any system, the last part of its path."
    assert "<h1>photos: 60 images in 3 groups</h1>" in full[1].read_text(encoding="utf-8")
    path = write_report(frozen(tmp_path / "run", source="C:\\me\\my pets"))
    assert "<h1>my pets: 60 images in 3 groups</h1>" in path.read_text(encoding="utf-8")


def test_pictures_are_those_named(full):
    "Telling images first, in their order, also those outside the snapshot; duplicates, outliers and merges likewise."
    first = full[1].read_text(encoding="utf-8").split("Cluster 1")[0]
    assert [int(i) for i in re.findall(r'alt="image (\d+)', first)][:3] == [30, 33, 0]
    assert "3 images could go" in " ".join(checked(full[1]).split())
    assert alts(full[1], "Duplicates") == [1, 4, 7, 3, 6] and alts(full[1], "Belongs nowhere") == [50, 11]
    assert alts(full[1], "Could be one group") == [30, 33, 0, 2, 5]
    assert "set1/01.jpg, set0/04.jpg, set1/07.jpg (nearly the same)" in checked(full[1])
    assert "/photos/me" not in "".join(re.findall(r'alt="[^"]*"', full[1].read_text(encoding="utf-8")))


def test_labels_beside_chance_and_kmeans(full):
    "Every score beside both; chance is what a count of random assignments gives."
    text = " ".join(checked(full[1]).split())
    assert "50% of the images are in the group of their class" in text and "K-Means 46%" in text
    chance = json.loads((full[0] / "reference.json").read_text())["chance"]
    cells = re.findall(r'<th scope="row">ACC</th>.*?</tr>', full[1].read_text(encoding="utf-8"), re.S)[0]
    assert "0.500" in cells and "0.456" in cells and f"{chance['acc']:.3f}" in cells
    assert "cats" in text + full[1].read_text(encoding="utf-8")


def test_the_encoder_is_named(full):
    "Its name, weights and what it learned from; and what that means for results on ImageNet."
    text = " ".join(checked(full[1]).split())
    assert "method neighbours on features of lite0" in text and "ImageNet-1k with labels" in text
    assert "ab" * 32 in text and "not unsupervised" in text


@pytest.mark.parametrize("encoder", [None, {}, {"weights": "ab"}, "lite0"])
def test_an_unknown_encoder_is_said_to_be_unknown(encoder, tmp_path):
    "Features from a file name no encoder."
    text = " ".join(checked(write_report(frozen(tmp_path / "run", encoder=encoder))).split())
    assert "method neighbours on features of an unknown encoder" in text


def test_all_images_are_counted_where_there_is_a_table(full):
    "The table knows all sixty; the snapshot only thirty."
    text = " ".join(checked(full[1]).split())
    assert "Of 60 images, 100% are sure" in text


def test_without_anything_more(tmp_path):
    "No groups.json, no table, no labels: nothing is claimed."
    path = write_report(frozen(tmp_path / "run"))
    text = " ".join(checked(path).split())
    assert "Duplicates" not in headings(path) and "Compared with the labels" not in headings(path)
    assert "Of 30 images (the sample of the snapshots), 90% are sure" in text and "No scores" in text


def test_nothing_found_is_said(tmp_path):
    "That nobody looked differs from that nothing was found."
    folder = frozen(tmp_path / "run")
    (folder / "groups.json").write_text("{}")
    text = checked(write_report(folder))
    assert "no two images are nearly the same" in text and "every image has others like it" in text


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("groups.json", b"{", "groups.json was not understood"),
        ("groups.json", b'{"telling": {"0": [-1]}}', "number images and clusters from 0, got -1"),
        ("groups.json", b'{"merges": [{"into": 1}]}', "groups.json was not understood (KeyError: 'cluster')"),
        ("groups_images.safetensors", b"nonsense", "groups_images.safetensors cannot be read"),
        ("reference.json", b'{"classes": ["a"], "confusion": [[1], [2]]}', "reference.json was not understood"),
        ("clusters.csv", b"path,cluster\na,0\n", "clusters.csv was not understood"),
        ("clusters.csv", b"path,cluster,confidence\na,0,nan\n", "clusters.csv was not understood"),
    ],
)
def test_a_damaged_file_costs_its_part(name, content, words, tmp_path):
    "The page is whole, and says what it left out."
    folder = frozen(tmp_path / "run")
    (folder / name).write_bytes(content)
    path = write_report(folder)
    assert words in checked(path) and "The groups" in headings(path) and "Duplicates" not in headings(path)


def test_verdict_of_groups_at_chance(tmp_path):
    "Neighbours in the same cluster as often as at random: the first sentence says so."
    path = write_report(frozen(tmp_path / "run", {"neighbour_agreement": 0.35}))
    text = path.read_text(encoding="utf-8")
    assert 'class="verdict bad">The groups are not better than chance.' in text
    assert "at random it would be 33%" in text


def test_the_verdict_names_a_cluster_that_is_less_sure(tmp_path):
    "By the table of all images."
    folder = frozen(tmp_path / "run")
    rows = [f"{PATHS[i]},{CLUSTERS[i]},{0.6 if i % 6 == 1 else 0.95}" for i in range(N)]
    (folder / "clusters.csv").write_text("\n".join(["path,cluster,confidence", *rows]) + "\n")
    said = "are together. Look first at cluster 1: only 50% of its images are sure.</p>"
    assert said in write_report(folder).read_text(encoding="utf-8")


def test_how_the_number_was_chosen(tmp_path):
    "Its sentence is at the top, its picture after the groups."
    folder = frozen(tmp_path / "run")
    found = {"candidates": [2, 3, 4], "curves": {"coding": [0.1, 0.9, 0.4]}, "best": {"coding": 3}, "choice": 3}
    (folder / "number.json").write_text(json.dumps(found | {"low": 2, "high": 4, "sentence": "Three groups it is."}))
    path = write_report(folder)
    assert headings(path)[:2] == ["The groups", "How many groups?"] and "Three groups it is." in checked(path)
    assert "Numbers of clusters from 2 to 4" in path.read_text(encoding="utf-8")


def test_what_is_not_pictured_is_said(tmp_path):
    "Empty clusters by number; of many clusters the largest are shown."
    k = 25
    share = np.r_[0.0, np.full(k - 1, 1 / (k - 1))].tolist()
    start = RunStarted("dcacn", {"n_clusters": k}, {"source": "digits"}, 240, 4, 1)
    p = np.eye(k)[1 + np.arange(N) % (k - 1)]
    arrays = {"p": p, "images": pictures(), "h": p}
    health = {"cluster_share": share, "cluster_mass": share, "n_empty": 1}
    events = [start, Evaluated(1, 4, health), SnapshotTaken(1, 4, np.arange(N), arrays)]
    path = write_report(written(tmp_path / "run", events))
    text = " ".join(checked(path).split())
    assert "<h1>digits: 240 images in 24 groups</h1>" in path.read_text(encoding="utf-8")
    assert "4 smaller clusters are not shown" in text and "Without an image: cluster 0." in text
    assert len(re.findall("<h3>Cluster", path.read_text(encoding="utf-8"))) == 20
    assert "gives each image one cluster and no probability" in text and 'class="split"' not in path.read_text()
