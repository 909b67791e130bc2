"Telling images and names of clusters: against plain loops, and on synthetic features with a known answer."

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dcacn_nb.clusters.names import ClusterName, name_clusters, telling_images


def test_telling_images_agree_with_loops():
    "The nearest to the centre first; then, among the half nearest to it, the least similar to any chosen one."
    data = load_digits()
    rows, clusters = data.data[:300], data.target[:300] + 3  # clusters 0 to 2 are empty
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    told = telling_images(rows, clusters, 5)
    assert sorted(told) == list(range(3, 13))
    for cluster, images in told.items():
        members = [i for i in range(300) if clusters[i] == cluster]
        centre = sum(unit[i] for i in members) / len(members)
        typical = sorted(members, key=lambda i: -float(unit[i] @ centre))[: int(np.ceil(len(members) / 2))]
        expected = [typical[0]]
        while len(expected) < 5:
            rest = [i for i in typical if i not in expected]
            expected.append(min(rest, key=lambda i: max(float(unit[i] @ unit[j]) for j in expected)))
        assert images == expected


def test_telling_images_are_typical_and_different():
    "Nearer to the centre than most, and less alike than the nearest ones are; a small cluster tells all it has."
    data = load_digits()
    rows, clusters = data.data[:600], data.target[:600]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for cluster, images in telling_images(rows, clusters, 6).items():
        members = np.flatnonzero(clusters == cluster)
        near = unit @ unit[members].mean(0)
        assert near[images].min() >= np.median(near[members]) - 1e-6
        top = members[np.argsort(-near[members])[:6]]
        alike = lambda some: np.mean([unit[a] @ unit[b] for a, b in itertools.combinations(some, 2)])
        assert alike(images) < alike(top)
    assert telling_images(np.eye(3), [0, 1, 1], 6)[0] == [0] and len(telling_images(np.eye(3), [0, 1, 1], 6)[1]) == 2


def named(seed=0):
    "Sixty images around three directions, four words: two fit the first cluster, and one of these the second as well."
    draw = np.random.default_rng(seed)
    axes = np.eye(8)
    clusters = np.repeat([0, 1, 4], 20)
    images = axes[np.repeat([0, 1, 2], 20)] + 0.05 * draw.standard_normal((60, 8))
    texts = np.stack([axes[0] + 0.95 * axes[1], axes[0] + 1.2 * axes[3], axes[2], axes[5]])
    return images, clusters, texts, ["animal", "dog", "ship", "nothing"]


def test_names_are_the_best_ones_together():
    "`animal` is the only word for cluster 1, so cluster 0 takes its second best; by trying all ways to give names."
    images, clusters, texts, words = named()
    names = name_clusters(images, clusters, texts, words, 0.1)
    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    text = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    p = np.exp(unit @ text.T / 0.1)
    shares = {c: (p / p.sum(1, keepdims=True))[clusters == c].mean(0) for c in (0, 1, 4)}
    ways = itertools.permutations(range(4), 3)
    best = max(ways, key=lambda way: sum(np.log(shares[c][w]) for c, w in zip((0, 1, 4), way)))
    assert {c: name.word for c, name in names.items()} == {c: words[w] for c, w in zip((0, 1, 4), best)}
    assert {c: name.word for c, name in names.items()} == {0: "dog", 1: "animal", 4: "ship"}
    assert all(names[c].share == pytest.approx(shares[c][words.index(names[c].word)], abs=1e-5) for c in names)
    assert shares[0].argmax() == shares[1].argmax() == 0  # each by itself would take the same word
    assert names[0].runner_up == "animal" and len({name.word for name in names.values()}) == 3


def test_one_cluster_and_one_word():
    assert name_clusters(np.ones((2, 3)), [0, 0], np.ones((1, 3)), ["thing"]) == {0: ClusterName("thing", 1.0, "")}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"words": ["a", "b"]}, "one per row of text_features, got 2 words"),
        ({"words": ["a", "a", "b", "c"]}, "3 different"),
        ({"text_features": np.eye(4)}, "length 8, got 4"),
        ({"assignments": np.arange(60)}, "at least as many as the 60 clusters"),
        ({"temperature": 0}, "temperature must be > 0"),
        ({"assignments": np.zeros(60)}, "cluster number >= 0 for each of 60 images"),
    ],
)
def test_bad_input(change, message):
    images, clusters, texts, words = named()
    given = dict(features=images, assignments=clusters, text_features=texts, words=words) | change
    with pytest.raises(ValueError, match=message):
        name_clusters(**given)
