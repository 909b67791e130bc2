"What a run leaves behind, and where its images came from: the steps that several commands share."

import csv
import errno
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from command import folder_of_images

from dcacn_nb.cli.output import BadInput
from dcacn_nb.cli.reading import network_of, of_run, open_source, remembered, safe_name, whole_path
from dcacn_nb.cli.results import leave_clusters, write_clusters
from dcacn_nb.cli.running import configure, new_run_dir, run_training
from dcacn_nb.runs.folder import trained_shape

TINY = {"epochs": 2, "batch_size": 8, "width": 2, "n_local": 0, "snapshot_every": 0, "device": "cpu"}


def test_cluster_table_is_real_csv(tmp_path):
    "Names with commas, quotes and line breaks; the wrong variant, lines joined by hand, breaks at a comma."
    names = ["a.png", "b, c.png", 'say "hi".png', "two\nlines.png", "中文.png"]
    p = np.random.default_rng(0).dirichlet([0.3] * 4, 5)
    write_clusters(tmp_path / "clusters.csv", names, p)
    with open(tmp_path / "clusters.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == names and [int(row["cluster"]) for row in rows] == p.argmax(1).tolist()
    assert np.allclose([float(row["confidence"]) for row in rows], p.max(1), atol=5e-5)
    lines = [f"{n},{k},{c:.4f}" for n, k, c in zip(names, p.argmax(1), p.max(1))]
    naive = "\n".join(["path,cluster,confidence", *lines])
    assert [row["path"] for row in csv.DictReader(naive.splitlines())] != names


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "A run on sixteen pictures, made of the shared steps, and what it needs to be repeated."
    root = tmp_path_factory.mktemp("shared_steps")
    reading = {"source": whole_path(str(folder_of_images(root / "pictures", size=16))), "seed": 0, "labels": True}
    images = open_source(**reading)
    config = configure(images, None, True, "default", None, TINY)
    run_dir = new_run_dir(root / "run", "pictures", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        run = run_training(images, config, run_dir, reading)
    return SimpleNamespace(root=root, reading=reading, images=images, config=config, run_dir=run_dir, run=run)


def test_the_table_is_written_once(trained):
    "By `fit`, with each file's cluster; the command only says where it is, and what to do if it is not there."
    table = trained.run_dir / "clusters.csv"
    before = table.stat()
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == trained.images.paths
    assert [int(row["cluster"]) for row in rows] == trained.run.assignments.tolist()
    assert leave_clusters(trained.run, trained.images, trained.run_dir) == {"clusters": table}
    assert (table.stat().st_ino, table.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with pytest.raises(BadInput, match="could not be written; make room there, then: dcacn resume"):
        leave_clusters(trained.run, trained.images, trained.root)


def test_a_run_is_known_as_ones_own_by_the_key_in_the_cache(trained, monkeypatch):
    assert remembered(trained.run_dir) == of_run(trained.run_dir) == trained.reading
    monkeypatch.setenv("DCACN_CACHE", "another")
    assert remembered(trained.run_dir) == trained.reading | {"then": {}, "fetch": False}
    with pytest.raises(BadInput, match="was not started by you .*; to have them read there, give --source"):
        of_run(trained.run_dir)
    assert of_run(trained.run_dir, trained.reading["source"])["source"] == trained.reading["source"]


def test_sorted_copies(trained):
    t = trained
    assert t.config.n_clusters == 2
    left = leave_clusters(t.run, t.images, t.run_dir, t.root / "sorted")
    assert left == {"clusters": t.run_dir / "clusters.csv", "sorted": t.root / "sorted"}
    copies = {(p.parent.name, p.read_bytes()) for p in (t.root / "sorted").glob("*/*.png")}
    assert len(copies) == 16
    clusters = [f"cluster_{cluster}" for cluster in t.run.assignments]
    assert copies == {(name, Path(path).read_bytes()) for name, path in zip(clusters, t.images.paths)}


def test_sorted_links(trained):
    leave_clusters(trained.run, trained.images, trained.run_dir, trained.root / "links", "link")
    links = list((trained.root / "links").rglob("*.png"))
    assert len(links) == 16 and all(link.is_symlink() for link in links)
    assert {str(link.resolve()) for link in links} == {str(Path(path).resolve()) for path in trained.images.paths}


def test_empty_clusters_are_named(trained, capsys, monkeypatch):
    "A cluster without images gets no folder."
    monkeypatch.setattr("dcacn_nb.cli.output.call.json", False)  # an earlier command of this process may have set it
    p = torch.tensor([[0.9, 0.1]]).repeat(16, 1)
    collapsed = SimpleNamespace(probabilities=p, assignments=np.zeros(16, int), config=trained.config)
    leave_clusters(collapsed, trained.images, trained.run_dir, trained.root / "one")
    assert capsys.readouterr().out.endswith("No folder for 1 of 2 clusters, which hold no image: 1\n")


def test_a_full_disk_leaves_no_half(trained, capsys):
    "It is full after five copies; the table of clusters is there."
    full = mock.Mock(side_effect=[None] * 5 + [OSError(errno.ENOSPC, "No space left on device")])
    with mock.patch("shutil.copy2", full):
        left = leave_clusters(trained.run, trained.images, trained.run_dir, trained.root / "full")
    assert left == {"clusters": trained.run_dir / "clusters.csv"} and full.call_count == 6
    assert "No space left on device; to another place: dcacn resume" in capsys.readouterr().err
    assert not list(trained.root.glob("full*"))


def test_a_run_from_python_is_remembered_by_its_protocol(trained):
    "Without source.json, as a run that was started from Python."
    source = trained.run_dir / "source.json"
    kept = source.read_bytes()
    source.unlink()
    again = open_source(**remembered(trained.run_dir))
    source.write_bytes(kept)
    assert np.array_equal(again.images.numpy(), trained.images.images.numpy()) and again.paths == trained.images.paths
    model, config = network_of(trained.run_dir, "last")
    assert config == trained.config and trained_shape(trained.run_dir, config) == (1, 16, 16)
    assert model.n_clusters == 2


def test_bad_input_is_refused(trained):
    unlabelled, no_folder = SimpleNamespace(labels=None), trained.run_dir / "config.json"
    for function, args, message in [
        (open_source, ["cifar1O"], "did you mean 'cifar10'"),
        (new_run_dir, [trained.run_dir, "pictures", 0], "already holds a run; resume it: dcacn resume"),
        (new_run_dir, [no_folder, "pictures", 0], "is a file; give a folder"),
        (remembered, [trained.root], "holds no run"),
        (configure, [unlabelled, None, True, "default", None, {}], "give the number of clusters, e.g. -k 10"),
        (configure, [trained.images, 1, True, "default", None, {}], "n_clusters must be >= 2"),
        (run_training, [trained.images, trained.config, no_folder, trained.reading], "cannot be written to"),
        (network_of, [Path("nowhere"), "last"], "nowhere is not a folder"),
    ]:
        with pytest.raises(BadInput, match=message):
            function(*args)


def test_sources_give_safe_names(tmp_path):
    for source, name in [
        ("my photos", "my_photos"),
        (".", tmp_path.name),
        ("shard-*.tar", "shard-_.tar"),
        ("/", "images"),
    ]:
        assert safe_name(source) == name


def test_terms_are_explained_where_they_stand(finished):
    "Each term that the sentences use, and no other; nothing where they use none."
    from dcacn_nb.cli.results import TERMS, explained
    from dcacn_nb.core.words import load_words
    from dcacn_nb.report import diagnosis

    words = load_words(Path(diagnosis.__file__).parent / "words", "en")["health"]
    assert set(TERMS) <= set(words.values())
    (line,) = explained(["all in use, balance entropy 1.00, neighbour agreement 0.87"])
    assert line.startswith("(balance entropy: 1 where") and "; neighbour agreement: how often" in line
    assert "information" not in line and explained(["The groups are loose."]) == []
