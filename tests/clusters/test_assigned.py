"The cluster of every image against plain loops; images read only when asked for; a table safe in spreadsheets."

import csv

import numpy as np
import pandas as pd
import pytest
import torch

from dcacn_nb.clusters import assigned as module
from dcacn_nb.clusters.assigned import (
    COLUMNS,
    AssignedImages,
    assigned_set,
    assigned_snapshots,
    assignments,
    write_table,
)
from dcacn_nb.core.events import SnapshotTaken
from dcacn_nb.data.image_set import ImageSet


@pytest.fixture
def draw():
    "The same random numbers for every test."
    return np.random.default_rng(0)


class Counting(np.memmap):
    "A memory map that counts the images read from it."

    read = 0

    def __getitem__(self, rows):
        Counting.read += len(rows) if isinstance(rows, list) else self.shape[0] if isinstance(rows, slice) else 1
        return np.asarray(super().__getitem__(rows))


def test_a_set_on_disk_is_not_read(draw, tmp_path):
    "Two thumbnails read two images."
    p = draw.dirichlet(np.full(3, 0.4), 40).astype(np.float32)
    np.save(tmp_path / "images.npy", draw.integers(0, 256, (40, 1, 6, 6), np.uint8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assigned = assigned_set(mapped, p)
    counted = AssignedImages(**{**vars(assigned), "images": mapped.view(Counting)})
    Counting.read = 0
    assert (counted.pixels(assigned.rows([7, 3])) == mapped[[7, 3]]).all() and Counting.read == 2
    assert (assigned.clusters == p.argmax(1)).all() and (assigned.confidence == p.max(1)).all()
    second, at = assigned.seconds(np.arange(40))
    assert (np.sort(p, 1)[:, 1] == at).all() and (np.argsort(p, 1)[:, 1] == second).all()
    assert assigned.rows([39, 40, -1, 0]).tolist() == [39, 0], "images that are not there are left out"


def by_hand(rows: np.ndarray) -> list:
    "Cluster, confidence and second cluster of each row, by loops."
    result = []
    for row in rows.tolist():
        order = sorted(range(len(row)), key=lambda k: -row[k])
        result.append((order[0], row[order[0]], order[1] if len(row) > 1 else -1))
    return result


def looked_up(assigned: AssignedImages) -> list:
    "The same from the module."
    every = np.arange(len(assigned.indices))
    return [*zip(assigned.clusters.tolist(), assigned.confidence.tolist(), assigned.seconds(every)[0].tolist())]


@pytest.mark.parametrize("n, k", [(1, 2), (7, 1), (50, 3), (999, 20)])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("piece", [7, 65_536])
def test_clusters_by_loops(n, k, kind, piece, draw, monkeypatch):
    "Several sizes, K and kinds of arrays; in pieces smaller than the set, too."
    monkeypatch.setattr(module, "PIECE", piece)
    p, images = draw.dirichlet(np.full(k, 0.4), n).astype(np.float32), draw.integers(0, 256, (n, 1, 4, 4), np.uint8)
    assert looked_up(assigned_set(images, kind(p))) == by_hand(p)


def test_snapshots_in_another_order(draw):
    "The last snapshot has the same images in another order; the wrong variant takes them as they come."
    mixed = draw.permutation(100)[:60]
    pictures = draw.integers(0, 256, (60, 3, 4, 4), np.uint8)
    p = draw.dirichlet(np.full(4, 0.4), 60).astype(np.float32)
    turned, order = draw.permutation(60), np.argsort(mixed)
    first = SnapshotTaken(0, 0, mixed, {"images": pictures, "p": p})
    sample = assigned_snapshots([first, SnapshotTaken(3, 9, mixed[turned], {"p": p[turned]})], total=100)
    assert (sample.pixels(np.arange(60)) == pictures[order]).all() and looked_up(sample) == by_hand(p[order])
    assert (sample.epoch, sample.total, len(sample.indices)) == (3, 100, 60)
    wrong = AssignedImages(**{**vars(sample), "clusters": p[turned].argmax(1)})
    assert looked_up(wrong) != by_hand(p[order]), "the wrong variant must be caught"


def test_table_is_no_program(draw, tmp_path):
    "A name that a spreadsheet would run as a formula gets an apostrophe, in the file alone."
    nasty = ["=1+1", "@SUM(A1)", " +49", "-cats", "＝1", "\tx", 'a "b", c', "猫", "it's", "3-4"]
    safe = ["'=1+1", "'@SUM(A1)", "' +49", "'-cats", "'＝1", "'\tx", 'a "b", c', "猫", "it's", "3-4"]
    images = ImageSet(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), paths=[f"a/{name}.png" for name in nasty])
    assigned = assigned_set(images, draw.dirichlet(np.ones(4), 10))
    table = assignments(assigned, np.arange(10), dict(enumerate(nasty)))
    path = write_table(table, tmp_path / "clusters.csv")
    back = pd.read_csv(path, keep_default_na=False)
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert table["name"].tolist() == nasty
    assert [row["name"] for row in rows] == back["name"].tolist() == safe
    assert list(back.columns) == list(COLUMNS) and back["group"].tolist() == list(range(10))
    assert np.allclose(back["confidence"], table["confidence"], atol=1e-6)


IMAGES = np.zeros((5, 1, 4, 4), np.uint8)


@pytest.mark.parametrize(
    "images, probabilities, message",
    [
        (IMAGES, np.ones((4, 3)), r"one row for each of 5 images, got \(4, 3\)"),
        (IMAGES, [0, 1, 2, 0, 1], "one row for each of 5 images, got list"),
        (IMAGES, np.full((5, 3), np.nan), "finite, got 5 rows with NaN"),
        (IMAGES[0, 0], np.ones((4, 3)), "images"),
    ],
)
def test_refused(images, probabilities, message):
    "What cannot be a set and its assignments."
    with pytest.raises(ValueError, match=message):
        assigned_set(images, probabilities)


def test_only_csv(draw, tmp_path):
    "A table is written as CSV and nothing else."
    table = assignments(assigned_set(IMAGES, draw.dirichlet(np.ones(3), 5)))
    with pytest.raises(ValueError, match="path must end in .csv"):
        write_table(table, tmp_path / "clusters.xlsx")


def test_a_run_that_diverged():
    "And one without snapshots: there is nothing to show, and no error."
    nan = np.full((5, 3), np.nan, np.float32)
    assert assigned_snapshots([SnapshotTaken(1, 1, np.arange(5), {"images": IMAGES, "p": nan})]) is None
    assert assigned_snapshots([]) is None
