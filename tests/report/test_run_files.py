"What a run folder holds beside its events: written and read again, chance against a count, bad values refused."

import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from dcacn_nb.report.run_files import (
    chance_scores,
    keep_pictures,
    read_confidence,
    read_groups,
    read_pictures,
    read_reference,
    write_reference,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 200, 100), dtype=np.uint8)


FOUND = {
    "telling": {"0": [3, 1], "4": []},
    "duplicates": {"groups": [{"keep": 5, "copies": [4], "exact": [True]}]},
    "outliers": {"images": [19]},
    "merges": [{"into": 0, "cluster": 4, "gain": 0.25}],
}


def test_groups_and_their_pictures(tmp_path):
    "The same numbers; a small picture for each image named, the mean of blocks of pixels; its file."
    (tmp_path / "groups.json").write_text(json.dumps(FOUND))
    keep_pictures(tmp_path, FOUND, IMAGES, [f"a/{i}é.jpg" for i in range(20)])
    groups, (pictures, paths) = read_groups(tmp_path), read_pictures(tmp_path)
    assert groups.telling == {0: [3, 1], 4: []} and groups.merges == [(0, 4)] and groups.outliers == [19]
    assert groups.duplicates[0].images == [5, 4] and groups.duplicates[0].exact
    assert sorted(pictures) == sorted(paths) == [1, 3, 4, 5, 19] and paths[3] == "a/3é.jpg"
    assert pictures[3].shape == (3, 66, 33) and pictures[3][1, 2, 5] == round(IMAGES[3, 1, 6:9, 15:18].mean())


def test_no_files(tmp_path):
    "Nothing there is not an error."
    assert read_groups(tmp_path) is read_reference(tmp_path) is read_confidence(tmp_path) is None
    assert read_pictures(tmp_path) == ({}, {})


def test_groups_name_images_that_there_are(tmp_path):
    "A position beyond the set is refused before anything is written of its pictures."
    with pytest.raises(ValueError, match="groups name image 20, but there are 20 images"):
        keep_pictures(tmp_path, {"outliers": {"images": [20]}}, IMAGES)
    assert not list(tmp_path.iterdir())


REFUSED = [
    [],
    {"outliers": {"images": [-1]}},
    {"outliers": {"images": [True]}},
    {"merges": [{"into": 1}]},
    {"telling": 3},
    {"version": 2, "telling": {}},  # written by a newer program
]


@pytest.mark.parametrize("values", REFUSED)
def test_groups_refused(values, tmp_path):
    "Not an object, negative numbers, half a pair: one kind of error, which names the file."
    (tmp_path / "groups.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="groups.json was not understood"):
        read_groups(tmp_path)


def test_chance_is_the_mean_over_all_orders():
    "Four images: the mean over every order of the clusters, counted; ARI is zero in the mean."
    from itertools import permutations

    from dcacn_nb.method.metrics import clustering_accuracy

    labels, clusters = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    exact = np.mean([clustering_accuracy(labels, np.array(order)) for order in permutations(clusters)])
    found = chance_scores(labels, clusters, draws=2000)
    assert abs(found["acc"] - exact) < 0.02 and abs(found["ari"]) < 0.03
    assert found["acc"] > 0.6, "the wrong variant is 1/K: matching makes the best of chance"


def test_reference_there_and_back(tmp_path):
    "Rows are the classes that occur, columns all clusters, also empty ones."
    labels, clusters = np.array([2, 2, 5, 5, 5]), np.array([0, 3, 3, 3, 0])
    names = ["a", "b", "cats", "d", "e", "dogs"]
    write_reference(tmp_path, labels, clusters, 4, names, {"acc": 0.6, "nmi": float("nan"), "other": 1})
    reference = read_reference(tmp_path)
    assert reference.classes == ["cats", "dogs"] and reference.kmeans == {"acc": 0.6}
    assert reference.confusion.tolist() == [[1, 0, 0, 1], [1, 0, 0, 2]]
    assert set(reference.chance) == {"acc", "nmi", "ari"}
    assert abs(reference.chance["ari"]) < 0.5 and adjusted_rand_score(labels, labels) == 1


def test_a_reference_may_hold_kmeans_alone(tmp_path):
    "What another part of the program wrote."
    (tmp_path / "reference.json").write_text(json.dumps({"kmeans": {"acc": 0.5, "nmi": 0.4, "ari": 0.3}}))
    reference = read_reference(tmp_path)
    assert reference.kmeans["nmi"] == 0.4 and reference.chance == {} and reference.confusion is None


def test_lengths_must_agree(tmp_path):
    "Labels of other images are refused."
    with pytest.raises(ValueError, match="two lists of one length"):
        write_reference(tmp_path, np.zeros(4, int), np.zeros(5, int), 2)


def test_both_tables_are_read(tmp_path):
    "That of the command, in the order of the images, and that of the cluster browser, with positions."
    (tmp_path / "clusters.csv").write_text('path,cluster,confidence\n"a,b.jpg",1,0.5\nc.jpg,0,0.75\n')
    table = read_confidence(tmp_path)
    assert (
        table.paths == ["a,b.jpg", "c.jpg"] and table.clusters.tolist() == [1, 0] and table.indices.tolist() == [0, 1]
    )
    text = "index,cluster,group,name,confidence\r\n7,1,1,cats,0.5\r\n"
    (tmp_path / "clusters.csv").write_bytes(text.encode("utf-8-sig"))
    table = read_confidence(tmp_path)
    assert table.indices.tolist() == [7] and table.confidence.tolist() == [0.5] and table.paths == [""]
