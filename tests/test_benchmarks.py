"The comparisons of `make bench`, each at a tiny size, and the page made from their tables."

import importlib
import re
import sys
import time
from argparse import Namespace
from dataclasses import replace

import pandas as pd
import pytest
import torch
from project import ROOT

from dcacn_nb.core.events import StepDone
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset

TINY = Namespace(small=True, turns=2, seconds=0.0, threads=1, compile=False)
CASES = {  # script -> what its rows compare
    "end_to_end": {
        "dcacn",
        "lightly, 0 workers",
        "lightly, 2 workers",
        "dcacn as CC",
        "CC, 0 workers",
        "CC, 2 workers",
    },
    "step_variants": {"without attention", "with attention (CBAM)", "with attention, bfloat16"},
    "view_speed": {"dcacn", "Pillow + torchvision"},
    "loss_speed": {"dcacn", "pair by pair"},
    "beside_others": {"torch first"},
}


@pytest.fixture
def script(monkeypatch):
    "A script of the folder benchmarks/ as a module."
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_comparison_gives_a_row_for_each_case_and_turn(script, name, capsys):
    rows = pd.DataFrame(script(name).measure(TINY))
    assert CASES[name] <= set(rows["case"]) and (rows["ms"] > 0).all()
    compared = rows[rows["turn"] == 1]
    assert CASES[name] <= set(compared["case"])
    if name == "loss_speed":
        assert (rows["off"].dropna().astype(float) < 1e-5).all() and 100 < rows["peak_mb"].iloc[-1] < 2000
    if name == "view_speed" and "kornia" not in set(rows["case"]):
        assert "kornia is left out: No module named 'kornia'" in capsys.readouterr().out


def test_times_compare_within_a_turn_and_size(script):
    rows = [
        {"size": size, "turn": turn, "case": case, "ms": ms}
        for size, turn, case, ms in [("a", 0, "x", 2.0), ("a", 0, "y", 6.0), ("a", 1, "x", 4.0), ("a", 1, "y", 4.0)]
        + [("b", 0, "y", 1.0), ("b", 0, "x", 10.0)]
    ]
    assert [row["times"] for row in script("turns").times(rows, "x")] == [1, 3, 1, 1, 0.1, 1]


def test_turns_go_round(script):
    "Case after case, turn after turn; each has warmed up."
    calls = []
    rows = script("turns").by_turns({"x": lambda: calls.append("x"), "y": lambda: calls.append("y")}, 2, 0.0, size="s")
    assert calls == list("xyxyxy") and [(row["case"], row["turn"]) for row in rows] == [*zip("xyxy", (0, 0, 1, 1))]


def test_the_page_shows_medians_of_the_tables_there_are(script, tmp_path):
    bench = script("side_by_side")
    turns = [("x", (1, 9, 2)), ("y", (30, 31, 3))]
    rows = [{"size": "s", "case": case, "turn": i, "ms": ms} for case, each in turns for i, ms in enumerate(each)]
    pd.DataFrame(rows).assign(**script("turns").where()).to_csv(tmp_path / "view_speed.csv", index=False)
    text = bench.page(tmp_path)
    assert "| s | x | 2 | 1 | 9 |" in text and "| s | y | 30 | 3 | 31 |" in text
    assert re.findall("^## (.*)", text, re.M) == [bench.PARTS["view_speed"][1]] and "3 turns" in text


def test_every_part_of_make_bench_is_a_script_that_is_tested(script):
    assert set(script("side_by_side").PARTS) == set(CASES)
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in CASES)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    "Images and settings of a run of four steps, and the run in one piece."
    images = load_images("digits", limit=80)
    small = {"width": 2, "projection_dim": 4, "batch_size": 40, "epochs": 2, "n_local": 1, "backbone": "resnet18"}
    config = preset("paper", images, 10, upright=True, eval_every=1, snapshot_every=0, device="cpu", **small)
    folder = tmp_path_factory.mktemp("pieces")
    return images, config, fit(images, config=config, labels=images.labels, run_dir=folder / "whole", report=False)


@pytest.mark.slow
def test_sessions_on_several_machines_join_to_the_bits_of_one_run(script, pieces, tmp_path, monkeypatch):
    "Each session stops after a step, and finds nothing but the parts of the last; parts are small."
    gpu, (images, config, whole) = script("gpu_session"), pieces
    monkeypatch.setattr(gpu, "PART", 20_000)

    def one_step(*args, start, progress, **options):
        run = fit(*args, **options, start=False, report=False)
        run.subscribe(lambda event: counted(run, event))  # not while a resumed run's earlier events are given again
        return run

    def counted(run, event):
        if isinstance(event, StepDone) and event.step < 4:
            run.stop()

    monkeypatch.setattr(gpu, "fit", one_step)
    config = replace(config, log_every=1)
    for number in range(9):
        run = gpu.session(images, config, tmp_path / f"machine{number}", tmp_path / "kept", 10)
        assert all(part.stat().st_size <= 20_000 for part in (tmp_path / "kept").glob("*.part"))
        if run.status == "completed":
            break
    assert number >= 2
    expected = whole.state.tensors()
    assert all(torch.equal(value, expected[name]) for name, value in run.state.tensors().items())
    text = gpu.curve(tmp_path / f"machine{number}", 2)
    assert re.search(r"^    2  .*epoch 2: 91.8 \(Table 2\)$", text, re.M)


def test_a_damaged_part_is_named(script, tmp_path, monkeypatch):
    gpu = script("gpu_session")
    monkeypatch.setattr(gpu, "PART", 4000)
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").write_bytes(bytes(range(256)) * 64)
    gpu.keep(run, tmp_path / "kept")
    gpu.put_together(tmp_path / "kept", tmp_path / "again")
    assert (tmp_path / "again" / "events.jsonl").read_bytes() == (run / "events.jsonl").read_bytes()
    part = min((tmp_path / "kept").glob("*.part"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(ValueError, match=part.name):
        gpu.put_together(tmp_path / "kept", tmp_path / "third")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads anonymous memory from /proc")
def test_time_and_memory_are_measured_at_each_size(script, tmp_path):
    "A new row takes the place of the earlier one of its section and size; the page shows all."
    scale = script("scale")
    with scale.measured() as found:
        held = torch.ones(100_000_000, dtype=torch.uint8)  # over 32 MB: never from memory that was freed before
        time.sleep(0.1)
    assert 0.1 < found.seconds < 5 and 80 < found.peak_mb < 140 and len(held)
    assert scale.row(found, 1000)["rate"] == pytest.approx(1000 / found.seconds, rel=1e-3)
    table = tmp_path / "scale.csv"
    rows = scale.run_one("list", 40, tmp_path)
    scale.keep([found | {"seconds": 9.0, "machine": "m", "versions": "v"} for found in rows], table)
    scale.keep([found | {"n": 30, "machine": "m", "versions": "v"} for found in rows], table)
    scale.keep([found | {"seconds": 7.0, "machine": "m", "versions": "v"} for found in rows], table)
    assert [(row.n, row.seconds == 7) for row in pd.read_csv(table).itertuples()] == [(30, False), (40, True)]
    assert re.search(r"^\| 30 .*\n\| 40 \| 7 \|", scale.page(table), re.M)
