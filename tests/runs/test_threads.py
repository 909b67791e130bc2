"Beside other programs, OpenMP threads that wait sleep instead of spinning; no result changes."

import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
import torch
from project import ROOT

from dcacn_nb.fitting import fit
from dcacn_nb.runs import threads
from dcacn_nb.runs.threads import Neighbours, usage


@pytest.fixture
def others(monkeypatch):
    "How many processors others use, as this test says; a second passes between two looks."
    said = SimpleNamespace(cores=0.0, wall=0.0, used=0.0)

    def fake():
        said.wall, said.used = said.wall + 1, said.used + said.cores
        return said.wall, said.used

    monkeypatch.setattr(threads, "usage", fake)
    monkeypatch.setattr(Neighbours, "FIRST", 0.001)
    monkeypatch.setattr(Neighbours, "EVERY", 0.001)
    monkeypatch.setattr(threads, "_processors", lambda: set(range(torch.get_num_threads() + 2)))  # two are free
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    return said


def until(condition, seconds=10) -> bool:
    "Whether it becomes true, soon."
    end = time.perf_counter() + seconds
    while not condition() and time.perf_counter() < end:
        time.sleep(0.005)
    return condition()


def watching() -> bool:
    "Whether a thread looks at others."
    return any(thread.name == "dcacn-neighbours" for thread in threading.enumerate())


@pytest.mark.parametrize("cores, sleep", [(0.0, False), (2.1, False), (2.4, True), (9.0, True)])
def test_threads_sleep_only_while_others_need_the_processors_in_use(others, cores, sleep):
    "Two processors are free: up to two busy neighbours disturb nobody. It ends when they have gone, and at the end."
    with Neighbours() as neighbours:
        for busy, expected in ((cores, sleep), (0.0, False), (cores, sleep)):
            others.cores, several_looks = busy, others.wall + 5
            assert until(partial(lambda wall: others.wall > wall, several_looks))
            assert neighbours.calm == expected
    assert not watching()


def test_idle_threads_come_and_go(others):
    "One more than processors, so that GNU's OpenMP counts more threads than it can run at once; in mid-step, too."
    number = psutil.Process().num_threads
    with Neighbours() as neighbours:
        before = number()
        others.cores = 9.0
        expected = before + len(threads._openmp()) * len(threads._processors())
        assert until(lambda: neighbours.calm and number() >= expected)
        others.cores = 0.0
        assert until(lambda: number() <= before)
        others.cores = 9.0
        assert until(lambda: number() >= expected)
    assert until(lambda: number() < before)


def test_who_set_a_policy_keeps_it(others, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    others.cores = 9.0
    with Neighbours() as neighbours:
        assert not watching() and not neighbours.calm


@pytest.mark.parametrize("openmp, level, words", [(True, "INFO", "now sleep"), (False, "WARNING", "OMP_WAIT_POLICY")])
def test_it_is_said_once(others, monkeypatch, caplog, openmp, level, words):
    "Without GNU's OpenMP, the user hears what to do."
    threads._say_once.cache_clear()
    monkeypatch.setattr(threads, "_openmp", lambda: ["gnu"] if openmp else [])
    monkeypatch.setattr(threads, "_crowd", lambda: None)
    monkeypatch.setattr(threads, "release_threads", lambda: None)
    others.cores = 9.0
    with caplog.at_level(logging.INFO, logger=threads.__name__):
        for _ in range(3):
            with Neighbours() as neighbours:
                assert until(lambda: neighbours.calm)
    assert [(r.levelname, words in r.message) for r in caplog.records] == [(level, True)]


@pytest.mark.slow
def test_only_others_count():
    "This process's own work does not count; that of another process does."

    def during(work) -> float:
        before = usage()
        work()
        now = usage()
        return now[1] - before[1]

    def burn():
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass

    child = lambda: subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"])
    assert during(child) > 0.4
    assert min(during(burn) - during(lambda: time.sleep(0.5)) for _ in range(2)) < 0.4


@pytest.mark.slow
def test_a_run_sleeps_beside_others_and_gets_the_same_bits(digits, config, others, monkeypatch):
    "A run looks while it trains, and leaves no thread behind."
    config, crowds = replace(config, epochs=1, eval_every=5), []
    quiet = fit(digits, config=config, progress=False)
    really = threads._crowd
    monkeypatch.setattr(threads, "_crowd", lambda: (crowds.append(threading.current_thread().name), really()))
    others.cores = 9.0
    busy = fit(digits, config=config, progress=False)
    assert crowds == ["dcacn-neighbours"] and not watching()
    ours, theirs = quiet.state.tensors(), busy.state.tensors()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(
    "before, environment, expected",
    [
        ("", {}, "30000"),
        ("", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("", {"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ("import types; sys.modules['torch'] = types.ModuleType('torch'); ", {}, None),  # too late: nothing is claimed
    ],
)
def test_the_environment_is_set_before_torch_where_the_user_has_set_nothing(before, environment, expected):
    clean = {name: v for name, v in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = f"import os, sys; {before}import dcacn_nb; print(os.environ.get('GOMP_SPINCOUNT'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)
