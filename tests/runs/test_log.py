"The event log: killed writers, followers in other threads and processes, damaged files, a full disk."

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs import lines as lines_module
from dcacn_nb.runs.log import RunLog, each_event, follow_events, history, read_events, truncate_events
from dcacn_nb.runs.snapshots import write_snapshot

WRITER = """
import sys, time
import numpy as np
from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs.log import RunLog
folder, n, pause, size = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
log = RunLog(folder)
log(RunStarted("test", {"n": n}, {}, 1, n, n))
for step in range(1, n + 1):
    log(StepDone(step, 1, {"total": 1 / step, "padding": list(range(size))}, 0.1, 1.0))
    if step % 5 == 0:
        log(SnapshotTaken(1, step, [step], {"h": np.full((1, 3), step, np.float32)}))
    time.sleep(pause)
log(RunFinished("completed", n, 1))
"""


def start_writer(folder, n, pause=0.0, size=0):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(n), str(pause), str(size)])


def expected(n):
    events = [RunStarted("test", {"n": n}, {}, 1, n, n)]
    for step in range(1, n + 1):
        events.append(StepDone(step, 1, {"total": 1 / step, "padding": []}, 0.1, 1.0))
        if step % 5 == 0:
            events.append(SnapshotTaken(1, step, [step], {"h": np.full((1, 3), step, np.float32)}))
    return events + [RunFinished("completed", n, 1)]


def test_follow_a_run_in_another_process(tmp_path):
    writer = start_writer(tmp_path / "run", 12, pause=0.01)
    seen = list(follow_events(tmp_path / "run", poll=0.02, stop=lambda: writer.poll() is not None))
    assert writer.wait(timeout=30) == 0
    assert seen == expected(12) == read_events(tmp_path / "run")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_writer_leaves_a_log_that_reads_and_resumes(tmp_path):
    folder = tmp_path / "run"
    writer = start_writer(folder, 100_000, size=2000)
    deadline = time.monotonic() + 30
    while not (folder / "events.jsonl").exists() or len(read_events(folder, arrays=False)) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=30)
    killed = read_events(folder)
    assert len(killed) >= 20
    log = RunLog(folder, resume_count=13)
    assert log.count == 13 and read_events(folder) == killed[:13]
    named = {f"epoch_00001_{i:07d}.npz" for i, e in enumerate(killed[:13]) if isinstance(e, SnapshotTaken)}
    assert {p.name for p in (folder / "snapshots").iterdir()} == named and len(named) == 2
    for event in killed[13:20]:
        log(event)
    assert read_events(folder) == killed[:20]


def test_a_resume_with_a_changed_setting_renews_the_first_line(tmp_path):
    events = expected(12)
    log = RunLog(tmp_path)
    for event in events[:9]:
        log(event)
    log = RunLog(tmp_path, resume_count=4)
    log(RunStarted("test", {"n": 99}, {}, 1, 99, 99))
    other = [StepDone(s, 1, {"total": -1.0}, 0.1, 0.0) for s in range(4, 30)] + [RunFinished("completed", 30, 1)]
    for event in other:
        log(event)
    rest = list(follow_events(tmp_path, poll=0.01))
    assert rest == [RunStarted("test", {"n": 99}, {}, 1, 99, 99), *events[1:4], *other]


def test_a_live_follower_notices_a_log_that_was_cut_and_has_grown_past_its_place(tmp_path):
    events = expected(12)
    log = RunLog(tmp_path)
    for event in events[:6]:
        log(event)
    follower = follow_events(tmp_path, poll=0.01)
    assert [next(follower) for _ in range(6)] == events[:6]
    log = RunLog(tmp_path, resume_count=3)
    for event in events[3:]:
        log(event)
    assert list(follower) == events, "the events after the cut are new ones, so the whole log is reported again"


def test_a_resume_with_the_same_settings_leaves_no_trace(tmp_path):
    events = expected(10)
    for name in ("whole", "resumed"):
        log = RunLog(tmp_path / name)
        for event in events[:7] if name == "resumed" else events:
            log(event)
    log(RunFinished("interrupted", 6, 0))
    log = RunLog(tmp_path / "resumed", resume_count=5)
    for event in [events[0], *events[5:]]:
        log(event)
    assert read_events(tmp_path / "whole") == read_events(tmp_path / "resumed") == events
    assert log.count == len(events)
    inode = (tmp_path / "whole" / "events.jsonl").stat().st_ino
    assert truncate_events(tmp_path / "whole", len(events)) == len(events)
    assert (tmp_path / "whole" / "events.jsonl").stat().st_ino == inode, "nothing to cut: followers are not disturbed"


def test_history_joins_losses_scores_and_health():
    events = [
        RunStarted("m", {}, {}, 1, 4, 2),
        Evaluated(0, 0, {"n_empty": 9, "cluster_mass": [1.0, 0.0]}),
        EpochDone(1, 2, {"total": 2.0}),
        EpochDone(2, 4, {"total": 1.0, "cluster": 0.5}),
        Evaluated(2, 4, {"n_empty": 1}, {"acc": 0.7, "nmi": 0.6, "ari": 0.5}),
    ]
    table = history(events)
    assert table.columns.tolist() == ["epoch", "step", "total", "cluster", "acc", "nmi", "ari", "n_empty"]
    assert table["epoch"].tolist() == [0, 1, 2] and table["step"].tolist() == [0, 2, 4]
    assert table["total"].tolist()[1:] == [2.0, 1.0] and table["acc"].isna().tolist() == [True, True, False]


# --- what is read is what was written -----------------------------------------------------------------------------
def kmeans_events(epochs=4, batch=600, seed=0):
    "Mini-batch K-Means on the digits, reporting on itself; the labels serve the score only."
    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    model = MiniBatchKMeans(10, random_state=seed, n_init=1)
    steps = len(images) // batch
    yield RunStarted("kmeans", {"seed": seed}, {"source": "digits"}, len(images), epochs * steps, steps)
    order, step = np.random.default_rng(seed), 0
    for epoch in range(1, epochs + 1):
        losses = []
        for part in np.array_split(order.permutation(len(images)), steps):
            model.partial_fit(images[part])
            step += 1
            losses.append(-model.score(images[part]) / len(part))
            yield StepDone(step, epoch, {"total": losses[-1]}, lr=0.0, grad_norm=0.0)
        yield EpochDone(epoch, step, {"total": float(np.mean(losses))})
        found = model.predict(images)
        mass = np.bincount(found, minlength=10) / len(images)
        health = {"cluster_mass": mass.tolist(), "n_empty": int((mass == 0).sum())}
        yield Evaluated(epoch, step, health, {"nmi": float(normalized_mutual_info_score(digits.target, found))})
        arrays = {"h": images[:100], "p": np.eye(10, dtype=np.float32)[found[:100]]}
        yield SnapshotTaken(epoch, step, np.arange(100), arrays)
    yield RunFinished("completed", step, epochs)


@pytest.fixture(scope="module")
def emitted():
    "The events of a real run, 22 of them."
    return list(kmeans_events())


@pytest.fixture(scope="module")
def written(emitted, tmp_path_factory):
    "The folder of a log that holds them."
    folder = tmp_path_factory.mktemp("written")
    log = RunLog(folder)
    for event in emitted:
        log(event)
    assert log.count == len(emitted)
    return folder


def write(folder, events, **options):
    "A log with these events."
    log = RunLog(folder, **options)
    for event in events:
        log(event)
    return log


ODD = StepDone(1, 1, {"total": float("nan"), "text \n": float("inf")}, 0.1, float("-inf"))


def odd_snapshot():
    return SnapshotTaken(0, 0, [], {"a/b:c": np.zeros((0, 3), np.float16), "file": np.array(3)})


def test_what_is_read_is_what_was_written(emitted, written):
    assert read_events(written) == emitted == read_events(written / "events.jsonl")
    assert sorted(p.name for p in written.rglob("*") if p.is_file()) == [
        "epoch_00001_0000005.npz",
        "epoch_00002_0000010.npz",
        "epoch_00003_0000015.npz",
        "epoch_00004_0000020.npz",
        "events.jsonl",
    ]


def test_an_independent_reader_sees_the_same_numbers(emitted, written):
    "Plain json, which refuses a bare NaN."

    def refuse_constant(word):
        raise AssertionError(f"{word} is not JSON")

    lines = (written / "events.jsonl").read_text().splitlines()
    plain = [json.loads(line, parse_constant=refuse_constant) for line in lines]
    totals = [e.losses["total"] for e in emitted if isinstance(e, StepDone)]
    assert [d["losses"]["total"] for d in plain if d["event"] == "StepDone"] == totals
    assert history(emitted)["nmi"].tolist() == [d["scores"]["nmi"] for d in plain if d["event"] == "Evaluated"]


def test_odd_numbers_names_and_arrays(tmp_path):
    write(tmp_path, [ODD, odd_snapshot()])
    assert read_events(tmp_path) == [ODD, odd_snapshot()]


def test_a_writer_killed_at_any_byte(emitted, written, tmp_path):
    "Exactly the events whose newline survived; splitlines and json.loads, a wrong variant, fail at nearly every cut."
    whole = b"".join(line + b"\n" for line in (written / "events.jsonl").read_bytes().split(b"\n")[:5])
    naive_failures = 0
    for length in range(len(whole) + 1):
        (tmp_path / "events.jsonl").write_bytes(whole[:length])
        assert read_events(tmp_path) == emitted[: whole[:length].count(b"\n")]
        try:
            for line in whole[:length].decode().splitlines():
                json.loads(line)
        except ValueError:
            naive_failures += 1
    assert naive_failures > 0.9 * len(whole)


def test_resumed_equals_uninterrupted(emitted, tmp_path):
    "Killed in the middle of a line, some events after a checkpoint, and resumed from the checkpoint's count."
    log = write(tmp_path, emitted[:9])
    count = log.count  # what the driver stores in the checkpoint
    for event in emitted[9:14]:
        log(event)
    with open(log.path, "ab") as file:
        file.write(b'{"event": "StepDo')  # the writer dies here
    assert read_events(tmp_path) == emitted[:14]
    log = RunLog(tmp_path, resume_count=count)
    assert read_events(tmp_path) == emitted[:9] and log.count == 9
    kept = sum(isinstance(e, SnapshotTaken) for e in emitted[:9])
    assert len(list((tmp_path / "snapshots").iterdir())) == kept
    log(emitted[0])
    for event in emitted[9:]:
        log(event)
    assert read_events(tmp_path) == emitted and log.count == len(emitted)


# --- following ----------------------------------------------------------------------------------------------------
def test_a_live_follower_starts_over_when_the_run_is_resumed(emitted, tmp_path):
    "It begins before there is a log; after its last RunStarted it has seen exactly what is in the log."

    def write_slowly():
        log = RunLog(tmp_path / "live")
        for event in emitted[:14]:
            log(event)
            time.sleep(0.01)
        time.sleep(0.15)
        log = RunLog(tmp_path / "live", resume_count=9)
        log(emitted[0])
        for event in emitted[9:]:
            log(event)
            time.sleep(0.01)

    writer = threading.Thread(target=write_slowly)
    follower = follow_events(tmp_path / "live", poll=0.02, stop=lambda: False)
    writer.start()
    seen = list(follower)
    writer.join()
    starts = [i for i, event in enumerate(seen) if isinstance(event, RunStarted)]
    assert seen[starts[-1] :] == emitted
    assert seen[: starts[-1]] == emitted[: starts[-1]], "nothing wrong was reported before"


def naive_follow(path, offset):
    "A wrong variant: it remembers only how far it has read."
    data = path.read_bytes()[offset:]
    return data[: data.rfind(b"\n") + 1].decode(), offset + len(data)


def test_a_follower_that_remembers_only_its_place_is_wrong(emitted, tmp_path):
    log = write(tmp_path, emitted[:14])
    before, offset = naive_follow(log.path, 0)
    ours = follow_events(tmp_path, poll=0.01)
    assert [next(ours) for _ in range(14)] == emitted[:14]
    log = write(tmp_path, [ODD, *emitted[9:]], resume_count=9)
    after, _ = naive_follow(log.path, offset)
    assert before + after != log.path.read_text(), "the naive follower reports events that are nowhere in the log"
    second = list(ours)
    assert second == read_events(tmp_path) and isinstance(second[0], RunStarted)


# --- limits -------------------------------------------------------------------------------------------------------
def test_a_line_torn_in_the_middle_of_the_log_is_an_error(written, tmp_path):
    lines = (written / "events.jsonl").read_bytes().split(b"\n")
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([lines[0], lines[1][:20], lines[2], b""]))
    with pytest.raises(ValueError, match=r"line 2 is damaged.*truncate_events\(folder, 1\)"):
        read_events(tmp_path)


def test_a_snapshot_file_outside_the_folder_is_not_read(tmp_path, caplog):
    line = '{"event": "SnapshotTaken", "epoch": 1, "step": 1, "file": "../odd/x.npz"}\n'
    (tmp_path / "events.jsonl").write_text(line)
    (tmp_path.parent / "odd").mkdir(exist_ok=True)
    write_snapshot(tmp_path.parent / "odd", "x.npz", odd_snapshot())
    assert read_events(tmp_path) == [] and "leads out of" in caplog.text


def test_a_damaged_snapshot_costs_itself_and_no_more(emitted, tmp_path, caplog):
    write(tmp_path, emitted)
    sorted((tmp_path / "snapshots").iterdir())[1].write_bytes(b"PK\x03\x04 damaged")
    lost = [event for event in emitted if isinstance(event, SnapshotTaken)][1]
    rest = [event for event in emitted if event is not lost]
    assert read_events(tmp_path) == rest and list(follow_events(tmp_path, poll=0.01, stop=lambda: True)) == rest
    assert len(re.findall(r"line \d+ is left out: snapshot file .* cannot be read", caplog.text)) == 2


def test_what_is_refused(written, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="no run log at .*; give the folder of a run"):
        read_events(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="already holds a run; give another folder"):
        RunLog(written)
    with pytest.raises(OSError):
        RunLog(tmp_path / "file")
    with pytest.raises(ValueError, match="count must be a whole number >= 0, got -1"):
        RunLog(written, resume_count=-1)
    with pytest.raises(ValueError, match="poll must be > 0 seconds, got 0"):
        follow_events(written, poll=0)
    with pytest.raises((TypeError, ValueError)):
        RunLog(tmp_path / "new")({"event": "StepDone"})


def test_an_empty_log_a_missing_one_and_a_follower_that_is_stopped(tmp_path):
    (tmp_path / "events.jsonl").write_bytes(b"")
    assert read_events(tmp_path) == [] and history([]).columns.tolist() == ["epoch", "step"]
    assert list(follow_events(tmp_path / "never", poll=0.01, stop=lambda: True)) == []
    write(tmp_path / "odd", [ODD, odd_snapshot()])
    assert list(follow_events(tmp_path / "odd", poll=0.01, stop=lambda: True)) == [ODD, odd_snapshot()]


def test_a_log_shorter_than_the_checkpoint_says_is_continued_with_a_warning(tmp_path, caplog):
    write(tmp_path, [ODD, odd_snapshot()])
    with caplog.at_level(logging.WARNING, "dcacn_nb"):
        assert RunLog(tmp_path, resume_count=5).count == 2
    assert "events.jsonl holds 2 events, 5 were expected; continuing with those" in caplog.text


class FullDisk:
    "A file that takes ten bytes and then no more."

    def __init__(self, file):
        self.file, self.room = file, 10

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        self.room = 0
        return self.file.write(data[:10])


def test_half_a_line_is_taken_back_when_the_disk_is_full(emitted, tmp_path, monkeypatch):
    "The log stays readable, and can be continued once there is room."
    log = write(tmp_path, emitted[:1])
    with monkeypatch.context() as patch:
        full = lambda *args, **options: FullDisk(open(*args, **options))  # noqa: SIM115
        patch.setattr(lines_module, "open", full, raising=False)
        with pytest.raises(OSError, match=r"No space left on device.*events\.jsonl"):
            log(emitted[1])
    assert log.count == 1 and read_events(tmp_path) == emitted[:1]
    log(emitted[1])
    assert read_events(tmp_path) == emitted[:2]


def test_a_reader_ends_where_the_log_ended_when_it_began(tmp_path):
    "A writer may be faster than its reader, which would have no end otherwise."
    log, events, seen = RunLog(tmp_path), expected(9), 0
    for event in events:
        log(event)
    for seen, _ in enumerate(each_event(tmp_path), start=1):
        log(StepDone(100 + seen, 1, {"total": 1.0}, 0.1, 0.0))
        assert seen <= len(events)
    assert seen == len(events) and len(read_events(tmp_path, arrays=False)) == 2 * seen
