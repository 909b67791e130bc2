"""OpenMP threads that only wait: give them back, so that a background run is not slowed down by the cells around it.

PyTorch computes with a team of OpenMP threads, and every Python thread that has ever computed keeps a team of its own.
The members of a GNU OpenMP team wait busily for more work. As soon as all teams together have more members than the
machine has processors, waiting members go to sleep at once and have to be woken again and again. A single large product
in a cell made a run in the background slow: an epoch of the digits took 9.7 to 11.7 s instead of 6.1 to 7.9 s (default
settings, two cores of an AMD EPYC, torch 2.14.1, two threads, six epochs each, alternating)."""

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache

from threadpoolctl import threadpool_info


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
