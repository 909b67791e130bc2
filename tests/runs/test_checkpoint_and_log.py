"What crosses processes and the disk: killed writers, followers elsewhere, damaged files, full and closed disks."

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs.checkpoint import (
    CheckpointError,
    checkpoint_path,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from dcacn_nb.runs.log import RunLog, follow_events, history, read_events, truncate_events

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
    assert list(follower) == events, "the events after the cut are new ones, so the whole story is told again"


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


def test_one_flipped_byte_in_a_large_checkpoint(tmp_path):
    older = save_checkpoint(checkpoint_path(tmp_path, 1), {"w": torch.ones(3)}, {"step": 1})
    newer = save_checkpoint(checkpoint_path(tmp_path, 2), {"w": torch.randn(100, 1000)}, {"step": 2})
    data = bytearray(newer.read_bytes())
    data[len(data) // 2] ^= 1
    newer.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"step_00000002\.safetensors is damaged.*SHA-256.*older checkpoint"):
        load_checkpoint(newer)
    assert latest_checkpoint(tmp_path) == older
    older.unlink()
    with pytest.raises(CheckpointError, match="none of the 1 checkpoint"):
        latest_checkpoint(tmp_path)


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch, call):
    path = save_checkpoint(checkpoint_path(tmp_path, 7), {"w": torch.ones(3)}, {"step": 7})

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(OSError, match="step_00000007.*untouched|untouched.*step_00000007") as caught:
            save_checkpoint(path, {"w": torch.zeros(3)}, {"step": 8})
    assert caught.value.errno == errno.ENOSPC and "free some space" in str(caught.value)
    tensors, meta = load_checkpoint(path)
    assert torch.equal(tensors["w"], torch.ones(3)) and meta == {"step": 7}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_folder_without_permission_is_a_permission_error(tmp_path, monkeypatch):
    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", closed)  # root passes over file modes, so the refusal is played
    with pytest.raises(PermissionError, match="folder can be written to"):
        save_checkpoint(tmp_path / "x.safetensors", {}, {})


def test_a_path_below_a_file_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="could not write the checkpoint"):
        save_checkpoint(tmp_path / "file" / "x.safetensors", {}, {})
    with pytest.raises(OSError):
        RunLog(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_writer_killed_while_saving(tmp_path):
    code = (
        "import sys, torch\nfrom dcacn_nb.runs.checkpoint import checkpoint_path, prune_checkpoints, save_checkpoint\n"
        "for step in range(1, 10**6):\n"
        "    save_checkpoint(checkpoint_path(sys.argv[1], step), {'w': torch.full((500_000,), float(step))}, {'step': step})\n"
        "    prune_checkpoints(sys.argv[1], keep_last=2)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list_checkpoints(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=30)
    for path in list_checkpoints(tmp_path):
        tensors, meta = load_checkpoint(path)
        assert (tensors["w"] == meta["step"]).all() and path == checkpoint_path(tmp_path, meta["step"])
    prune_checkpoints(tmp_path, keep_last=1)
    assert len(list(tmp_path.iterdir())) == 1, "also the temporary file of the killed writer is gone"
