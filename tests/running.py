"What tests of runs share: to wait for something, to compare weights, to await outside a notebook, to fill the disk."

import asyncio
import errno
import time
from concurrent.futures import ThreadPoolExecutor

import torch


def in_a_loop(function):
    "Run a coroutine function in a new event loop, also where notebooks have left one running in this process."
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(function())).result()


def until(condition, seconds=60):
    "Wait until a condition is true."
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.005)


def weights(run):
    "A copy of a run's weights."
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(a, b):
    "Equal names, equal bits."
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def full_disk(monkeypatch, owner, name, from_call):
    "Let a function fail as on a full disk, from its n-th call on."
    real, calls = getattr(owner, name), [0]

    def failing(*args, **kwargs):
        calls[0] += 1
        if calls[0] >= from_call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)
