"""Run `nursery.py FOLDER`: one process imports everything once, then forks groups of 1, 2 and 4 that train together.

What the first of each group finds is left in FOLDER as safetensors and JSON, for the tests to compare."""

import json
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from dcacn_nb import fitting
from dcacn_nb.core import ranks
from dcacn_nb.core.seeds import generator
from dcacn_nb.data.batching import fetch
from dcacn_nb.data.loading import load_images
from dcacn_nb.method import step as steps
from dcacn_nb.method.config import preset
from dcacn_nb.method.train import train
from dcacn_nb.methods import build_network, find_method

FOLDER = Path(sys.argv[1])
DIGITS = load_images("digits", limit=96)
TINY = preset("default", DIGITS, 10, upright=True, width=2, projection_dim=8, batch_size=24, n_local=1, epochs=2)
TINY = replace(TINY, lr=0.01, log_every=2, eval_every=1, snapshot_every=0, snapshot_size=40, device="cpu")
TINY = replace(TINY, checkpoint_seconds=0.0, keep_last=99, warmup_epochs=0.0)
METHODS = {
    "dcacn": {},
    "cc": {},
    "simclr": {},
    "iic": {},
    "pica": {},
    "dcacn_selflabel": dict(threshold=0.1, share=0.5),
}
TINY = replace(TINY, cluster_start=0.0)
DCACN = {"columns": dict(cluster_axis="cluster"), "coupled": dict(decoupled_instance=False, decoupled_cluster=False)}
fitting.write_report = lambda folder: None  # its pictures have tests of their own


def state_of(method, config):
    "A network in double precision, before its first step."
    model = build_network(method, config).double().train()
    model.backbone.register_forward_pre_hook(lambda module, args: (args[0].double(),))
    ranks.share_statistics(model)
    state = steps.TrainState(model, config)
    state.epoch = config.epochs - 1  # the last stage of methods that have several
    return state


def gradients(name, **changes):
    "Loss terms and every gradient of the first step."
    method = find_method(name, **METHODS[name])
    config = method.settings(replace(TINY, **changes))
    state, chosen = state_of(method, config), ranks.share(torch.arange(24))
    draws, views = generator(0, steps.VIEWS, 0), steps.views_for(DIGITS.images, config)
    batch = steps.Batch(fetch(DIGITS.images, chosen), views, draws, chosen)
    losses = method.loss(state, batch)
    losses["total"].backward()
    ranks.sum_gradients(state.model.parameters())
    found = {f"gradient {key}": p.grad for key, p in state.model.named_parameters() if p.grad is not None}
    found |= {f"buffer {key}": value for key, value in state.model.named_buffers()}
    return found | {f"loss {key}": value.detach() for key, value in losses.items()}


def first_steps():
    "The same of every method, of both axes, and of wrong ways to do it."
    found = {name: gradients(name) for name in METHODS}
    found |= {name: gradients("dcacn", **changes) for name, changes in DCACN.items()}
    right = steps.gather
    steps.gather = lambda own, dim=0: own  # each process compares its own images alone
    found["local negatives"] = gradients("dcacn")
    steps.gather = lambda own, dim=0: _constant_others(own, dim)
    found["others without gradient"] = gradients("dcacn")
    steps.gather = right
    share = ranks.share_statistics
    ranks.share_statistics = lambda model: None
    found["local statistics"] = gradients("dcacn")
    ranks.share_statistics = share
    return found


def _constant_others(own, dim):
    "What the first process has said is a constant: without a gradient, its images teach nothing."
    parts = list(ranks.gather(own.detach(), dim).chunk(ranks.world(), dim))
    parts[ranks.rank()] = own if ranks.rank() else own * 0 + own.detach()
    return torch.cat(parts, dim)


def twenty_steps(**changes):
    "The weights after twenty steps, extra images among them, by the training loop itself."
    config = replace(TINY, epochs=5, eval_every=100, **changes)
    state, extra = state_of(find_method("dcacn"), config), DIGITS.images[:24].flip(0)
    state.epoch = 0
    for event in train(state.model, DIGITS.images[:72], config, state=state, extra=extra):
        if event is None and state.step == 20:
            break
    assert state.step == 20
    return dict(state.model.state_dict())


def fitted(run_dir, resume=False, epochs=2, stop_at=None, die_at=None):
    "A run of `fit` in its folder, stopped or bereft of its last process on the way."
    config = replace(TINY, epochs=epochs)
    run = fitting.fit(DIGITS, config, labels=DIGITS.labels, run_dir=FOLDER / run_dir, resume=resume, start=False)
    real = run._stopped

    def at_a_step():
        if run.state.step == die_at and ranks.rank() == ranks.world() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if run.state.step == stop_at and ranks.rank() == ranks.world() - 1:  # any of them may ask
            run._stop = "stopped"
        return real()

    run._stopped = at_a_step
    return run


def refused(method="dcacn", **changes):
    "What is said when a method or setting cannot be shared."
    try:
        fitting.fit(DIGITS, replace(TINY, **changes), method=method)
    except ValueError as error:
        return str(error)
    return ""


def work(world):
    "What each process of a group does."
    torch.set_num_threads(1)
    ranks.join("cpu")
    first = ranks.rank() == 0
    found = (
        {"dcacn": gradients("dcacn")}
        if world == 4
        else first_steps()
        | {
            "twenty": twenty_steps(cluster_start=0.0),
            "head start": twenty_steps(cluster_start=0.4),
        }
    )
    for name, tensors in found.items() if first else ():
        kept = {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
        safetensors.torch.save_file(kept, FOLDER / f"{name}-{world}")
    if world == 1:
        fitted("whole").drive()
        return
    if world == 2:
        told = {name: refused(method=name) for name in ("dec", "kmeans", "propos", "scan")}
        told |= {"batch": refused(batch_size=25), "pieces": refused(pieces=9)}
        if first:
            (FOLDER / "refused.json").write_text(json.dumps(told))
        fitted("moved", stop_at=3).drive()
        paused()
        return
    fitted("moved", resume=True).drive()  # begun by two, ended by four
    try:
        fitted("bereft", die_at=5).drive()
    except ranks.RankLost as error:
        if first:
            (FOLDER / "lost.txt").write_text(str(error))


def paused():
    "Pause in the first process: the others wait, and no step is taken."
    run = fitted("paused")
    if ranks.rank():
        run.drive()
        return
    from dcacn_nb.runs import driver

    driver.STILL_HOLDING = 0.05
    run.start()
    while run.state.step < 2:
        time.sleep(0.005)
    run.pause()
    while run.status != "paused":
        time.sleep(0.005)
    before = run.state.step
    time.sleep(0.5)
    held = run.status == "paused" and run.state.step == before
    run.resume()
    run.wait()
    (FOLDER / "paused.json").write_text(json.dumps({"held": held, "status": run.status}))


def group(world):
    "Fork the processes of a group, and wait for all of them; their exit codes."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            os.environ |= dict(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            code = 1
            try:
                work(world)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    codes = {}
    for world in (1, 2, 4):
        began = time.perf_counter()
        codes[world] = group(world)
        print(world, codes[world], f"{time.perf_counter() - began:.1f} s", file=sys.stderr)
    (FOLDER / "codes.json").write_text(json.dumps(codes))
