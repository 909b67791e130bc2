"The record of a run against its log's lines, read without our code; the nearest snapshots; names of clusters."

import logging
from collections import Counter

import numpy as np
import pytest

from dcacn_nb.report.record import cluster_names, nearest_snapshots, read_record
from dcacn_nb.runs.log import read_events


def parts(record) -> tuple:
    "What two records of one run have in common."
    return record.start, record.steps, record.evaluations, record.snapshots, record.end


def test_everything_in_the_log(trained):
    "As many events of each kind, the same losses, the same arrays."
    record, kinds = read_record(trained.folder), Counter(line["event"] for line in trained.lines)
    counts = [len(record.steps), len(record.epochs), len(record.evaluations)]
    assert counts == [kinds[k] for k in ("StepDone", "EpochDone", "Evaluated")]
    assert [e.losses for e in record.steps] == [x["losses"] for x in trained.lines if x["event"] == "StepDone"]
    # 200 images in batches of 40
    assert [record.epoch_of(e.step) for e in record.steps][4::5] == [1.0, 2.0, 3.0, 4.0]
    files = {x["epoch"]: x["file"] for x in trained.lines if x["event"] == "SnapshotTaken"}
    assert record.snapshots and record.end.reason == "completed"
    for snapshot in record.snapshots:
        with np.load(trained.folder / files[snapshot.epoch]) as stored:
            assert all(np.array_equal(snapshot.arrays[name], stored[f"array:{name}"]) for name in ("h", "p"))


def test_a_resumed_run_is_counted_once(trained):
    "It announces itself again and reports everything from the start; folder, file and list give the same."
    record, events = read_record(trained.folder), read_events(trained.folder)
    for other in (read_record(events), read_record(events[:9] + events), read_record(trained.folder / "events.jsonl")):
        assert parts(other) == parts(record)
    assert read_record(record) is record


def test_only_the_snapshots_wanted(trained):
    "The first and the last are always among them."
    assert [s.epoch for s in read_record(trained.folder, (2,)).snapshots] == [0, 2, 4]
    assert read_record(trained.folder, snapshots=False).snapshots == []
    assert [s.epoch for s in read_record(trained.folder).snapshots] == [0, 1, 3, 4]


def test_nearest_snapshots():
    "Against a plain search; the wrong variant takes the last one before the epoch asked for."
    draws, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        there = np.unique(draws.integers(0, 100, size=draws.integers(1, 12))).tolist()
        asked = draws.integers(-5, 110, size=3).tolist()
        nearest = {min(range(len(there)), key=lambda i, e=epoch: abs(there[i] - e)) for epoch in asked}
        assert nearest_snapshots(there, asked) == nearest
        wrong += {max(0, int(np.searchsorted(there, epoch, side="right")) - 1) for epoch in asked} != nearest
    assert wrong > 50, "the wrong variant must be caught"
    assert nearest_snapshots([0, 50, 100], [99]) == {2} and nearest_snapshots(range(101)) == {0, 33, 67, 100}
    assert nearest_snapshots([7]) == {0} and nearest_snapshots([]) == set()


def test_no_events():
    "A run that has just begun is an empty record, not an error."
    empty = read_record([])
    assert empty.start is None and not (empty.steps or empty.snapshots) and empty.epoch_of(7) == 7.0


@pytest.mark.parametrize(
    "text, names, warned",
    [
        ('{"names": {"3": "$5 <b>", "4": " "}}', {3: "$5 <b>"}, False),
        ('{"names": {"x": "cats"}}', {}, True),
        ("[]", {}, True),
        ("{", {}, True),
        (None, {}, False),
    ],
)
def test_names_of_clusters(text, names, warned, tmp_path, caplog):
    "A file that makes no sense costs the names, and a line in the program's log, never the picture."
    if text is not None:
        (tmp_path / "clusters.json").write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "dcacn_nb.report.record"):
        assert cluster_names(tmp_path) == names == cluster_names(tmp_path / "events.jsonl")
    assert bool(caplog.records) == warned


@pytest.mark.parametrize("source", ["nowhere", 3, ["a", "b"]])
def test_sources_refused(source, tmp_path, monkeypatch):
    "A folder without a log, and values that are not a run."
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, FileNotFoundError), match="no run log at|the run must be given as its folder"):
        read_record(source)


@pytest.mark.parametrize("epochs", [5, ["last"], [np.nan]])
def test_epochs_refused(epochs, trained):
    "Epochs are a list of finite numbers."
    with pytest.raises(ValueError, match="epochs must be a list of numbers"):
        read_record(trained.folder, epochs)
