"The progress bar: a bar that moves and ends, lines of text for files, and a resumed run that counts only new steps."

import io
import math
from dataclasses import replace

import pytest
from running import until

from dcacn_nb import fitting
from dcacn_nb.core.events import Evaluated, HeadSet, RunFinished, RunStarted, StepDone
from dcacn_nb.fitting import fit
from dcacn_nb.runs.log import read_events, watch
from dcacn_nb.runs.progress import ProgressBar


@pytest.fixture(scope="module", autouse=True)
def no_report():
    "Reports have tests of their own, and their pictures take longer than these runs."
    before, fitting.write_report = fitting.write_report, lambda folder: None
    yield
    fitting.write_report = before


def toy_step(step):
    "Three steps per epoch."
    return StepDone(step, 1 + step // 4, {"total": 5 - 0.1 * step}, 0.01, 1.0, images_per_second=1000.0)


TOY_RUN = [
    RunStarted("toy", {}, {}, 120, 6, 3),
    *map(toy_step, range(1, 4)),
    Evaluated(1, 3, {"view_information": 0.5}, {"acc": 0.31}),
    *map(toy_step, range(4, 7)),
    Evaluated(2, 6, {"view_information": 0.5}, {"acc": 0.42}),
    RunFinished("completed", 6, 2),
]


@pytest.mark.parametrize("plain", [False, True])
def test_both_forms_at_their_end(plain):
    "Events made by hand are enough; the last score is there at the end."
    file = io.StringIO()
    bar = ProgressBar(file, plain)
    for event in TOY_RUN:
        bar(replace(event, time=bar.born + 1))
    text = file.getvalue()
    assert ("6/6" in text) != plain and text.count("\n") == (2 if plain else 1)
    assert ("ACC 0.420" if plain else "ACC=0.420") in text
    if not plain:  # with a bar of some width, this has to fit into 80 columns
        last = text.splitlines()[-1].split("\r")[-1]
        assert "epoch 2/2: 100%|" in last and len(last.replace("#", "")) < 75


@pytest.mark.parametrize("plain", [False, True])
def test_the_start_of_the_cluster_head_is_said_once(plain):
    "A resumed run does not say again what was said before."
    bar = ProgressBar(file := io.StringIO(), plain)
    for moment in (bar.born - 1, bar.born + 1):
        for event in (TOY_RUN[0], HeadSet(1, 3, 0.9)):
            bar(replace(event, time=moment))
    bar.close()
    assert file.getvalue().count("epoch 1/2  K-Means on the features has set the cluster head\n") == 1


def lines_of(epochs, pause, gone=0.0, eval_every=1):
    "Lines of a run with epochs of 4 steps that take `pause` seconds; `gone` epochs were done before it was resumed."
    bar = ProgressBar(file := io.StringIO(), plain=True)
    bar(RunStarted("toy", {}, {}, 120, 4 * epochs, 4, time=bar.born if not gone else bar.born - 1000))
    for step in range(4 * epochs + 1):
        moment = bar.born + (step / 4 - gone) * pause - 100 * (step <= 4 * gone) * (gone > 0)
        if step:
            bar(StepDone(step, math.ceil(step / 4), {"total": 1.0}, 0.1, 1.0, time=moment))
        if step % (4 * eval_every) == 0:
            bar(Evaluated(step // 4, step, {}, time=moment))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("epochs", [1, 10, 19, 25, 200])
def test_quick_epochs_give_some_ten_lines_and_the_last(epochs):
    lines = lines_of(epochs, 0.1)
    assert min(epochs, 8) < len(lines) <= 11 and lines[-1] == f"epoch {epochs}/{epochs}"


def test_slow_epochs_give_a_line_per_minute():
    assert len(lines_of(200, 30)) == 101


def test_the_time_left():
    assert lines_of(40, 10)[1:3] == ["epoch 4/40  time left 06:00", "epoch 8/40  time left 05:20"]


def test_the_time_left_of_a_resumed_run_counts_only_new_steps():
    "Wherever it was interrupted."
    assert lines_of(40, 10, gone=20.5)[0] == "epoch 21/40  time left 03:10"
    assert lines_of(30, 60, gone=3.75, eval_every=2)[0] == "epoch 4/30  time left 26:00"


def test_progress_of_a_real_run(digits, config, tmp_path, capsys):
    "The bar of `fit`, and the same bar fed from the folder afterwards."
    fit(digits, replace(config, epochs=1), labels=digits.labels, progress=True, run_dir=tmp_path)
    text = capsys.readouterr().err
    assert "3/3" in text and "ACC=0." in text and "images/s=" in text and "loss=" in text
    file = io.StringIO()
    watch(tmp_path, [ProgressBar(file)])
    assert "3/3" in file.getvalue()


def test_progress_of_a_resumed_run_counts_only_new_steps(digits, endless, tmp_path):
    run = fit(digits, replace(endless, log_every=1), run_dir=tmp_path, background=True)
    until(lambda: run.state.step >= 4)
    run.stop()
    run.wait()
    bar = ProgressBar(io.StringIO())
    for event in read_events(tmp_path)[:-1]:
        bar(event)
    assert bar.bar.initial == bar.bar.n == run.state.step
    bar.close()


@pytest.mark.parametrize("pair", ["view", "neighbour"])
def test_the_label_free_figure_has_its_own_name(pair):
    "On features neighbours stand where views do: the line must not say that views agree."
    bar = ProgressBar(file := io.StringIO(), plain=True)
    bar(Evaluated(1, 3, {f"{pair}_information": 0.5}, time=bar.born))
    assert f"{pair} information 0.500" in file.getvalue() and file.getvalue().count("information") == 1
