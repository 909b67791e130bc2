"""OpenMP threads that only wait: keep them from spinning on processors that others want.

PyTorch computes with a team of OpenMP threads, and every Python thread that has ever computed keeps a team of its own.
The members of a GNU OpenMP team wait busily for more work, up to a millisecond each time; a training step waits
hundreds of times. Beside another busy program they take the processor from the member that still computes, and a step
can take ten times as long. As soon as all teams together have more members than the machine has processors, waiting
members sleep at once and have to be woken again: beside others that is the faster way, alone it is the slower one.

So threads are given back that nobody needs (`release_threads`): a single large product in a cell made a run in the
background slow, an epoch of the digits took 9.7 to 11.7 s instead of 6.1 to 7.9 s (default settings, two cores of an
AMD EPYC, torch 2.14.1, two threads, six epochs each, alternating). And while others are busy, idle members are added on
purpose (`Neighbours`), which changes how threads wait and no result: `benchmarks/beside_others.py` measures it."""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache

import psutil
import torch
from threadpoolctl import threadpool_info

from dcacn_nb.core.text import logger

log = logger(__name__)


@lru_cache(1)
def _openmp() -> "list[ctypes.CDLL]":
    "The copies of GNU's OpenMP, loaded by the time of the first call, that can give threads back (GCC 9 and later)."
    copies = [ctypes.CDLL(library["filepath"]) for library in threadpool_info() if library["prefix"] == "libgomp"]
    return [copy for copy in copies if hasattr(copy, "omp_pause_resource_all")]


def release_threads() -> None:
    "Give back the OpenMP threads that the calling thread keeps from earlier work (OpenMP 5.0, omp_pause_soft)."
    for library in _openmp():
        library.omp_pause_resource_all(1)


def release_after_cells(
    ended: Callable[[], bool],  # whether the run has ended: the last time
) -> None:
    "In a notebook, release the threads after every cell and every message of a widget, until the run has ended."
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return

    def release():
        release_threads()
        if ended():
            shell.events.unregister("post_execute", release)

    shell.events.register("post_execute", release)


class Neighbours:
    "`with Neighbours(): ...`: while other programs want the processors, waiting OpenMP threads sleep at once."

    BUSY = 0.25  # processors that others must use, beyond those that this process leaves free
    FIRST, EVERY = 0.5, 1.0  # seconds until the first look, and between two

    def __init__(self):
        self.calm = False  # whether threads sleep now
        self._end = threading.Event()
        # a thread of its own: beside others, the step in progress may take ten seconds
        self._thread = threading.Thread(target=self._watch, name="dcacn-neighbours", daemon=True)

    def __enter__(self) -> "Neighbours":
        if "OMP_WAIT_POLICY" not in os.environ:  # else the user has decided
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        if self._thread.ident:
            self._thread.join()

    def _watch(self) -> None:
        "See how busy others are, and let threads sleep or spin accordingly."
        before, pause = usage(), self.FIRST
        while not self._end.wait(pause):
            now, pause = usage(), self.EVERY
            others = (now[1] - before[1]) / (now[0] - before[0])
            wanted = others + torch.get_num_threads() > len(_processors()) + self.BUSY
            if wanted and not self.calm:
                _crowd()
                _say_once()
            elif self.calm and not wanted:
                release_threads()
            self.calm, before = wanted, now
        release_threads()


def usage() -> "tuple[float, float]":  # seconds on the wall, seconds of all processors together
    "The clock, and what other processes have used of the processors that this one may use."
    each = psutil.cpu_times(percpu=True)
    used = 0.0
    for number in _processors() & set(range(len(each))):
        spent = each[number]._asdict()
        guests = spent.get("guest", 0.0) + spent.get("guest_nice", 0.0)  # counted as user and nice time, too
        used += sum(spent.values()) - spent["idle"] - spent.get("iowait", 0.0) - guests
    return time.monotonic(), used - time.process_time()


def _processors() -> "set[int]":
    "Those that this process may use."
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _crowd() -> None:
    "Give this thread idle OpenMP threads, one more than processors: while it keeps them, no thread of GNU's spins."
    for library in _openmp():
        nothing = ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p)  # a function that returns at once
        library.GOMP_parallel(nothing, None, len(_processors()) + 1, 0)


@lru_cache(1)
def _say_once() -> None:
    "What is done beside other programs, or what the user could do."
    if _openmp():
        log.info("other programs are busy: OpenMP threads that wait now sleep")
    else:
        text = "other programs are busy, and threads that wait may slow training down several times"
        log.warning("%s; set OMP_WAIT_POLICY=PASSIVE before Python starts", text)
