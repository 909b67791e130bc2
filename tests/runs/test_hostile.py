"Run folders of strangers, moved folders, damaged snapshots: nothing is written elsewhere, nothing hangs."

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dcacn_nb import fitting
from dcacn_nb.core.events import SnapshotTaken, StepDone
from dcacn_nb.fitting import fit, predict
from dcacn_nb.method.config import from_dict
from dcacn_nb.methods import build_network, find_method
from dcacn_nb.report.page import write_report
from dcacn_nb.runs import description
from dcacn_nb.runs import snapshots as snapshots_module
from dcacn_nb.runs.checkpoint import (
    CheckpointError,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from dcacn_nb.runs.folder import FolderGone, load_run, read_about
from dcacn_nb.runs.inputs import trained_input
from dcacn_nb.runs.log import RunLog, read_events
from dcacn_nb.runs.snapshots import DamagedSnapshot, read_snapshot, write_snapshot

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(fitting, "write_report", lambda folder: None)


@pytest.fixture(scope="module")
def settings(config):
    return replace(config, snapshot_every=1, keep_last=1)


@pytest.fixture(scope="module")
def stopped(digits, settings, tmp_path_factory):
    "A run of two epochs that was stopped in its second."
    folder = tmp_path_factory.mktemp("stopped") / "run"

    def stop(event):
        if isinstance(event, StepDone) and event.epoch == 2:
            run.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "write_report", lambda folder: None)
        run = fit(digits, settings, run_dir=folder, observers=[stop], start=False)
        run.drive()
    assert run.status == "stopped" and run.state.step == 4
    return folder


@pytest.fixture
def copied(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def contents(folder):
    "Every file below a folder, with its bytes."
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resume(digits, settings, folder):
    return fit(digits, settings, run_dir=folder, resume=True)


# --- links --------------------------------------------------------------------------------------------------------
PARTS = [".lock.1", "config.json", "events.jsonl", "snapshots", "checkpoints", "checkpoints/step_00000004.safetensors"]


@pytest.mark.parametrize("part", [*PARTS, "checkpoints/best.safetensors"])
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_what_lies_elsewhere_stays_as_it_is(digits, settings, copied, tmp_path, part, kind):
    "A part of the folder is moved away, with more of its kind beside it, and a link takes its place."
    away = tmp_path / "away"
    away.mkdir()
    place = copied / part
    shutil.move(place, away / "target")
    if place.name == ".lock.1":
        (away / "target").write_text("precious")
    if kind == "hard link":
        if (away / "target").is_dir():
            pytest.skip("folders have no hard links")
        os.link(away / "target", place)
    else:
        place.symlink_to(away / "target")
    if (away / "target").is_dir():
        for name in ("epoch_00009_0000009.npz", "step_00000001.safetensors", ".x.npz.abcdefgh.tmp"):
            (away / "target" / name).write_bytes(b"precious")
    before = contents(away)
    try:
        resume(digits, settings, copied)
    except (OSError, ValueError) as error:
        assert part.split("/")[0].strip(".") in str(error) or "leads out" in str(error)
    assert contents(away) == before


def test_a_new_run_follows_no_link_either(digits, settings, tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x").write_text("precious")
    for name in (".lock.1", "config.json", "events.jsonl", "snapshots", "checkpoints"):
        for target in (tmp_path / "away", tmp_path / "away" / "x", tmp_path / "away" / "new"):
            run_dir = tmp_path / f"{name}-{target.name}"
            run_dir.mkdir()
            (run_dir / name).symlink_to(target)
            with pytest.raises((OSError, ValueError)):
                fit(digits, settings, run_dir=run_dir)
    assert contents(tmp_path / "away") == {(tmp_path / "away" / "x").relative_to(tmp_path / "away"): b"precious"}


def test_a_run_folder_may_be_reached_through_a_link(digits, settings, copied, tmp_path):
    (tmp_path / "link").symlink_to(copied)
    assert resume(digits, settings, tmp_path / "link").status == "completed"


@pytest.mark.parametrize("part", ["config.json", "events.jsonl", "checkpoints/step_00000004.safetensors", ".lock.1"])
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(digits, settings, copied, part):
    (copied / part).unlink()
    os.mkfifo(copied / part)
    with pytest.raises((OSError, ValueError), match="pipe|none of the 1 checkpoint"):
        resume(digits, settings, copied)


def kept(folder):
    "The same without what the lock itself notes."
    return {path: data for path, data in contents(folder).items() if not path.name.startswith(".lock")}


# --- a refusal changes nothing ------------------------------------------------------------------------------------
def first(lines, line):
    return [line, *lines[1:]]


DAMAGED = {
    "no JSON": lambda lines: first(lines, b"{\n"),
    "no object": lambda lines: first(lines, b"[]\n"),
    "an unknown event": lambda lines: [*lines[:2], lines[2].replace(b'"event": "', b'"event": "Un'), *lines[3:]],
    "a text in the place of a number": lambda lines: [
        *lines[:3],
        lines[3].replace(b'"step": ', b'"step": "x", "y": '),
        *lines[4:],
    ],
    "nested": lambda lines: [*lines[:4], b"[" * 10**5 + b"\n", *lines[5:]],
    "zeros": lambda lines: [lines[0], bytes(len(lines[1]) - 1) + b"\n", *lines[2:]],
    "not UTF-8": lambda lines: first(lines, b'{"event": "\xff"}\n'),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_log_is_refused_as_it_is(digits, settings, copied, kind):
    "It is longer than the last checkpoint, as after a kill; what it is cut back to is read first."
    log = copied / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(DAMAGED[kind]([*lines, *lines[-3:]])))
    (copied / "checkpoints" / ".x.safetensors.abcdefgh.tmp").touch()
    before = kept(copied)
    with pytest.raises(ValueError, match="events.jsonl, line . is damaged"):
        fit(digits, settings, run_dir=copied, resume=True, notes={"source.json": b"{}"})
    assert kept(copied) == before


def test_what_comes_after_the_last_checkpoint_may_be_damaged(digits, settings, copied):
    with open(copied / "events.jsonl", "ab") as log:
        log.write(b"{]\n")
    assert resume(digits, settings, copied).status == "completed"


@pytest.mark.parametrize("value", ["NaN", "much", None, [1], {"a": 1}, True])
def test_a_score_that_is_no_number_is_no_score(digits, settings, copied, value):
    log = copied / "events.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    for event in events:
        if event["event"] == "Evaluated":
            event["health"]["view_information"] = value
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert resume(digits, settings, copied).status == "completed"


IN_PLACE = [
    "checkpoints/step_00000006.safetensors",
    "checkpoints/best.safetensors",
    "snapshots/epoch_00009_0000999.npz",
]


@pytest.mark.parametrize("part", IN_PLACE)
def test_a_folder_in_the_place_of_a_file_is_named(digits, settings, copied, part):
    (copied / part).unlink(missing_ok=True)
    (copied / part).mkdir()
    before = kept(copied)
    with pytest.raises(OSError, match=f"is a folder in the place of a file; remove it.*{part}"):
        resume(digits, settings, copied)
    assert kept(copied) == before


def test_a_network_without_its_settings_file_is_described_by_its_checkpoint(copied, tmp_path):
    features = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
    fit(features, n_clusters=2, epochs=1, batch_size=8, device="cpu", run_dir=tmp_path / "head")
    for folder, (new, dim) in {copied: ("images", None), tmp_path / "head": ("features", 6)}.items():
        (folder / "config.json").unlink()
        alone = shutil.copy(list_checkpoints(folder / "checkpoints")[-1], tmp_path / f"{new}.safetensors")
        for place in (folder, alone):
            assert trained_input(place, load_run(place)[1]).get("dim") == dim
        (folder / "config.json").symlink_to("config.json")
        with pytest.raises(OSError, match="config.json"):
            trained_input(folder, load_run(folder)[1])
    assert predict(tmp_path / "features.safetensors", features).shape == (24, 2)


# --- a folder that moves ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("part", ["checkpoints", "snapshots"])
@pytest.mark.parametrize("kind", ["file", "pipe", "loop"])
def test_something_else_in_the_place_of_a_folder_is_named(digits, settings, copied, part, kind):
    "Before the log is cut back."
    shutil.rmtree(copied / part)
    {"file": Path.touch, "pipe": os.mkfifo, "loop": lambda path: path.symlink_to(part)}[kind](copied / part)
    log = (copied / "events.jsonl").read_bytes()
    with pytest.raises(OSError, match=part):
        fit(digits, settings, run_dir=copied, resume=True)
    assert (copied / "events.jsonl").read_bytes() == log


def test_a_relative_folder_stays_where_it_was(digits, settings, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    run = fit(digits, settings, run_dir="run", observers=[lambda event: os.chdir(tmp_path / "other")])
    assert run.status == "completed" and run.folder == tmp_path / "run" and not list((tmp_path / "other").iterdir())
    assert load_run(run.folder)[1] == settings


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced", "emptied"])
@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_folder_that_is_gone_ends_the_run(digits, settings, tmp_path, monkeypatch, how, seconds):
    "The network is saved elsewhere, and nothing takes the folder's place."
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    place = tmp_path / "run"

    def vanish(event):
        if not isinstance(event, StepDone) or event.step != 2:
            return
        if how in ("moved", "replaced"):
            place.rename(tmp_path / "moved")
        else:
            shutil.rmtree(place)
        if how in ("replaced", "emptied"):
            place.mkdir()

    run = fit(digits, replace(settings, checkpoint_seconds=seconds), run_dir=place, observers=[vanish], start=False)
    with pytest.raises(FolderGone, match="is gone: it was moved or deleted") as caught:
        run.drive()
    assert run.status == "failed" and str(place) in str(caught.value)
    assert not place.exists() or not list(place.iterdir())
    (kept,) = (tmp_path / "temporary").rglob("step_*.safetensors")
    assert str(kept) in str(caught.value) and load_checkpoint(kept)[1]["step"] == run.state.step
    model, _ = load_run(kept)
    assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in model.state_dict().items())
    if how == "moved":
        assert resume(digits, settings, tmp_path / "moved").status == "completed"


# --- snapshots ----------------------------------------------------------------------------------------------------
def test_a_resume_reads_few_snapshots(digits, tmp_path, settings, monkeypatch):
    fit(digits, settings, run_dir=tmp_path / "run")
    names = [f"snapshots/{path.name}" for path in sorted((tmp_path / "run" / "snapshots").iterdir())]
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines(keepends=True)
    one = next(line for line in lines if '"SnapshotTaken"' in line)
    more = [f"snapshots/{i}.npz" for i in range(300)]
    for name in more:
        os.link(tmp_path / "run" / names[0], tmp_path / "run" / name)
    place = lines.index(one) + 1
    between = [one.replace(names[0], name) for name in more]
    (tmp_path / "run" / "events.jsonl").write_text("".join([*lines[:place], *between, *lines[place:]]))
    meta_of = checkpoint_path(tmp_path / "run" / "checkpoints", 6)
    tensors, meta = load_checkpoint(meta_of)
    save_checkpoint(meta_of, tensors, meta | {"events": meta["events"] + 300})
    read, seen = [], []
    monkeypatch.setattr("dcacn_nb.runs.log.read_snapshot", lambda f, n: read.append(n) or read_snapshot(f, n))
    fit(digits, settings, run_dir=tmp_path / "run", resume=True, observers=[seen.append])
    assert len(read) == 8 and {read[0], read[-1]} == {names[0], names[-1]}
    assert sum(isinstance(event, SnapshotTaken) for event in seen) == 8


def test_a_damaged_snapshot_stops_neither_a_resume_nor_a_report(digits, settings, copied, caplog):
    first, second = sorted((copied / "snapshots").iterdir())
    first.write_bytes(first.read_bytes()[:-100])
    assert resume(digits, settings, copied).status == "completed"
    assert "is left out: snapshot file" in caplog.text
    page = write_report(copied).read_text()
    assert "1 of the snapshots shown here could not be read" in page and "Features" in page


def test_a_log_that_repeats_a_snapshot_reads_it_once(copied, caplog):
    "Its copies could fill any memory."
    log = copied / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    one = next(line for line in lines if b"SnapshotTaken" in line)
    whole = read_events(copied)
    log.write_bytes(b"".join([*lines, *[one] * 2000, one.replace(b"snapshots/", b"./snapshots//")]))
    assert len(read_events(copied)) == len(whole) and len(read_events(copied, arrays=False)) == len(lines) + 2001
    assert "belongs to an earlier snapshot" in caplog.text and "more snapshots are left out" in caplog.text
    assert len(caplog.records) == 4


def zipped(**arrays):
    "A compressed archive of arrays: much larger than its file."
    return lambda path: np.savez_compressed(path, **arrays)


def declared(shape, data=b""):
    "An archive whose array declares a shape that it does not hold."
    import io
    import zipfile

    def write(path):
        with zipfile.ZipFile(path, "w") as file:
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
            file.writestr("indices.npy", header.getvalue() + data)

    return write


def sparse(path):
    with open(path, "wb") as file:
        file.truncate(10**11)


BOMBS = {
    "compressed": zipped(indices=np.zeros(10**6, np.int64)),
    "declared": declared((10**12,)),
    "negative": declared((-5,), b"\0" * 8),
    "short": declared((3,), b"\0" * 23),
    "no indices": zipped(),
    "text": lambda path: path.write_bytes(b"no archive"),
    "empty": lambda path: path.write_bytes(b""),
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "sparse": sparse,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_sizes_are_compared_before_a_snapshot_is_read(tmp_path, kind):
    BOMBS[kind](tmp_path / "x.npz")
    with pytest.raises(DamagedSnapshot, match=r"x\.npz' cannot be read"):
        read_snapshot(tmp_path, "x.npz")


def test_a_snapshot_comes_back(tmp_path):
    event = SnapshotTaken(1, 2, [3, 4], {"h": np.eye(2, dtype=np.float32), "indices": np.arange(3), "x": np.zeros(0)})
    write_snapshot(tmp_path, "x.npz", event)
    assert SnapshotTaken(1, 2, **read_snapshot(tmp_path, "x.npz")) == event
    assert snapshots_module.LARGEST > 10**9


# --- sizes that settings and files declare ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name, value", [("width", 10**6), ("epochs", 10**15), ("image_size", 10**6), ("n_local", 10**4), ("width", 10**400)]
)
def test_settings_out_of_proportion_are_refused(stopped, name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        from_dict(read_about(stopped)["config"] | {name: value})


@pytest.mark.parametrize(
    "changes", [{"width": 4000}, {"global_size": 10_000, "image_size": 16_000, "batch_size": 10**4}]
)
def test_settings_that_the_memory_cannot_hold_are_refused_before_it_is_taken(config, changes):
    with pytest.raises(ValueError, match=r"need .* GB of memory for training, .* GB are free"):
        build_network(find_method("dcacn"), replace(config, **changes))


def test_a_checkpoint_of_100_gigabytes_is_not_read(tmp_path):
    path = checkpoint_path(tmp_path, 1)
    header = json.dumps({"w": {"dtype": "F32", "shape": [25 * 10**9], "data_offsets": [0, 10**11]}}).encode()
    for content, message in ((b"", "damaged"), (len(header).to_bytes(8, "little") + header, "GB of memory")):
        path.write_bytes(content)
        os.truncate(path, len(content) + 10**11)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)


def test_an_unfinished_line_without_end_is_not_read(tmp_path):
    log = RunLog(tmp_path)
    log(StepDone(1, 1, {}, 0.1, 1.0))
    os.truncate(log.path, 10**11)
    with pytest.raises(ValueError, match="line of more than"):
        read_events(tmp_path)


def test_the_key_of_a_user_is_made_once_and_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    first = description._own_key(make=True)
    description._make_key(tmp_path / "cache" / "key")  # another process, at the same moment
    assert len(first) == 32 and description._own_key(make=True) == first
    assert (tmp_path / "cache" / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["key"]
