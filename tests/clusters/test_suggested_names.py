"Names from the text tower of an encoder, in every view of a run; skipped where open_clip is not installed."

import csv
import json

import numpy as np
import pytest
import torch
from command import dcacn, machine
from PIL import Image
from sklearn.datasets import load_sample_images
from tiny_clip import tiny_clip

import dcacn_nb as dc
from dcacn_nb.clusters.groups import GroupingFile
from dcacn_nb.clusters.names import name_clusters, suggest_names
from dcacn_nb.clusters.summary import after_groups, keep_names
from dcacn_nb.clusters.vocabulary import VOCABULARY
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.encoders import embed, load_encoder

WORDS = ["temple", "flower", "lake", "mountain", "dog"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    "A small encoder that reads text."
    folder = tmp_path_factory.mktemp("clip")
    _, _, weights = tiny_clip(folder)
    return load_encoder("open_clip:tiny-test", weights=weights, engine="torch", device="cpu", cache=folder)


@pytest.fixture
def found_again(encoder, monkeypatch):
    "As if its weights had been published: it is loaded by its name."
    monkeypatch.setattr("dcacn_nb.encoders.encoder.load_encoder", lambda name, **options: encoder)


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    "Parts of two photographs."
    folder = tmp_path_factory.mktemp("names") / "album"
    folder.mkdir()
    for name, photo in zip(("a", "b"), load_sample_images().images):
        for i in range(8):
            y, x = np.random.default_rng(i).integers(0, (280, 480))
            Image.fromarray(photo[y : y + 140, x : x + 140]).save(folder / f"{name}{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def features(album, encoder):
    return embed(album, encoder, progress=False, cache=False)


def test_names_are_those_of_the_text_tower(features, encoder, found_again):
    "The same as by hand, with the words of the user or a list of our own; each once, in one line."
    clusters = np.arange(16) % 3
    text = encoder.encode_text([f"a photo of {word}" for word in WORDS])
    assert suggest_names(features, clusters, WORDS) == name_clusters(features, clusters, text, WORDS)
    assert suggest_names(features, clusters, WORDS, encoder) == suggest_names(features, clusters, WORDS)
    ours = suggest_names(features, clusters)
    short = {word.split(" ", 1)[1] if word.split()[0] in ("a", "an", "the") else word for word in VOCABULARY}
    assert {name.word for name in ours.values()} <= short and len(short) == len(VOCABULARY) > 200


def test_without_a_text_tower_there_are_no_names(features, encoder, monkeypatch, caplog):
    "Another encoder, none that is known, one that cannot be had, one with other weights, too few words."
    assert suggest_names(FeatureSet(np.eye(4)), [0, 0, 1, 1]) == {}
    other = FeatureSet(np.eye(4), protocol={"encoder": {"name": "lite0", "weights": "a"}})
    assert suggest_names(other, [0, 0, 1, 1]) == {} and not caplog.text
    gone = FeatureSet(features.features, protocol={"encoder": encoder.about() | {"weights_file": "gone.safetensors"}})
    assert suggest_names(gone, np.zeros(16, int)) == {}
    assert "clusters get no names, because their encoder could not be loaded again" in caplog.text
    monkeypatch.setattr("dcacn_nb.encoders.encoder.load_encoder", lambda name, **options: encoder)
    changed = FeatureSet(features.features, protocol={"encoder": encoder.about() | {"weights": "b"}})
    assert suggest_names(changed, np.zeros(16, int)) == {} and "has other weights now" in caplog.text
    monkeypatch.setattr("dcacn_nb.clusters.names.VOCABULARY", ["a dog"])
    assert suggest_names(features, np.arange(16) % 2) == {} and "there are 1 words for 2 clusters" in caplog.text


def rows_of(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_every_view_shows_the_names(features, found_again, tmp_path):
    "The table, the cluster browser's file, the report; what a person has named stays."
    settings = dict(n_clusters=2, method="kmeans", run_dir=tmp_path / "run", names=WORDS)
    run = dc.fit(features, **settings)
    names = {k: name.word for k, name in suggest_names(features, run.probabilities, WORDS).items()}
    assert [row["name"] for row in rows_of(tmp_path / "run" / "clusters.csv")] == [names[k] for k in run.assignments]
    assert GroupingFile(tmp_path / "run").read(2).names == names
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(f"Cluster {k}: {name}" in page for k, name in names.items()) and "They are guesses" in page
    file = GroupingFile(tmp_path / "run")
    grouping = file.read(2)
    grouping.rename(0, "mine")
    file.write(grouping)
    dc.fit(features, **settings, resume=True)
    assert GroupingFile(tmp_path / "run").read(2).names == names | {0: "mine"}
    assert json.loads((tmp_path / "run" / "groups.json").read_text())["names"]["0"]["word"] == names[0]


@pytest.mark.parametrize("file", ["clusters.json", "groups.json"])
def test_a_damaged_file_is_left_alone(file, features, found_again, tmp_path, caplog):
    "Clusters stay without names, which is said."
    (tmp_path / file).write_text("{")
    keep_names(suggest_names(features, np.arange(16) % 2, WORDS), tmp_path, 2)
    assert (tmp_path / file).read_text() == "{" and "clusters get no names" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.slow
def test_the_command_names_clusters(album, found_again, tmp_path, monkeypatch):
    "From a file of words to folders with names; resume keeps to the file's words."
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "words.txt").write_text("\ufefftemple\n\n  flower \nlake\n", encoding="utf-8")
    options = ["--encoder", "open_clip:tiny-test", "--method", "kmeans", "--run-dir", tmp_path / "run"]
    answer = machine("fit", album, "-k", 2, *options, "--names", tmp_path / "words.txt")
    assert set(answer["names"].values()) <= {"temple", "flower", "lake"} and len(answer["names"]) == 2
    dcacn("export", tmp_path / "run", tmp_path / "out", "--to", "links")
    folders = {f"cluster_{int(k):02}_{name}" for k, name in answer["names"].items()}
    assert {path.name for path in (tmp_path / "out").iterdir()} == folders | {"clusters.csv"}
    assert machine("resume", tmp_path / "run")["names"] == answer["names"]


@pytest.mark.parametrize(
    "names, error, message",
    [
        ("dog", TypeError, "names must be a list of words, got"),
        ([1, 2], TypeError, "names must be a list of words"),
        (["dog", "dog ", ""], ValueError, "at least 2 different words, one per cluster, got 1"),
        (["dog", "cat"], ValueError, "an encoder that reads text, such as open_clip:ViT-B-32/openai, got 'lite0'"),
    ],
)
def test_wrong_names_are_refused_before_any_work(names, error, message, tmp_path):
    features = FeatureSet(torch.eye(8), protocol={"encoder": {"name": "lite0", "weights": "a"}})
    with pytest.raises(error, match=message):
        dc.fit(features, n_clusters=2, method="kmeans", names=names, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_files_of_names_are_refused(album, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("none.txt", "bytes.txt", "."):
        out = dcacn("fit", album, "-k", 2, "--encoder", "open_clip:tiny-test", "--names", name, code=2)
        assert "give a text file with one word per line" in out.stderr
    (tmp_path / "words.txt").write_text("dog\ncat\n")
    out = dcacn("fit", album, "-k", 2, "--encoder", "lite0", "--names", "words.txt", code=2)
    assert "--names needs an encoder that reads text" in out.stderr and not (tmp_path / "runs").exists()


def test_groups_keep_the_names(features, found_again):
    "As plain values."
    clusters = np.arange(16) % 2
    names = suggest_names(features, clusters, WORDS)
    found = json.loads(json.dumps(after_groups(features, clusters, names=names), allow_nan=False))
    assert {int(k): name["word"] for k, name in found["names"].items()} == {k: n.word for k, n in names.items()}
