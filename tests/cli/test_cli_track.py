"`dcacn track`: a run shown in other programs, from its folder."

import importlib.util

import pytest
from command import dcacn, machine


def test_a_finished_run_in_tensorboard(finished, tmp_path):
    pytest.importorskip("tensorboard")
    result = machine("track", finished, "-o", "board")
    assert result["events"] > 4 and len(list((tmp_path / "board").iterdir())) == 1
    assert "tensorboard --logdir board" in dcacn("track", finished, "-o", "board").stdout
    assert len(list((tmp_path / "board").iterdir())) == 1, "the second call replaced the files of the first"


def test_a_run_that_was_killed_is_shown_up_to_there(finished, tmp_path):
    "No process holds it: nothing is waited for."
    pytest.importorskip("tensorboard")
    run = tmp_path / "killed"
    run.mkdir()
    (run / "config.json").write_bytes((finished / "config.json").read_bytes())
    lines = (finished / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    assert machine("track", run)["events"] == len(lines) - 1 and (run / "tensorboard").is_dir()


def test_bad_input(finished, tmp_path, monkeypatch):
    assert "holds no run" in dcacn("track", tmp_path, code=2).stderr
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'dcacn_nb[track]'" in dcacn("track", finished, code=2).stderr
