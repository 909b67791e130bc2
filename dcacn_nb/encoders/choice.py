"""Which engine is the fastest on this machine: measured once for each network, and remembered."""

import hashlib
import json
import platform
import time
from pathlib import Path

import torch

from dcacn_nb.core.files import atomic_write, read_json
from dcacn_nb.core.text import logger
from dcacn_nb.data.cache import cache_folder
from dcacn_nb.encoders.engines import BATCH, Run, start_engine, usable_engines, version
from dcacn_nb.encoders.networks import Network

log = logger(__name__)

SECONDS = 0.3  # of measuring for each engine
_TOLERANCE = {"torch-bf16": 0.1, "openvino-bf16": 0.1}  # relative; of every other engine 1e-3


def choose_engine(
    network: Network,
    device: torch.device,
    cache: "str | Path | bool | None" = None,  # folder; None: the default one; False: nothing is read or remembered
) -> "tuple[str, Run]":  # name, function from images to features
    "The engine that took the least time here, from an earlier measurement or from one made now."
    engines = usable_engines(network, device)
    if not engines:
        raise ImportError(f"no engine can compute encoder {network.name!r}; run: pip install onnxruntime")
    if len(engines) == 1:
        return engines[0], start_engine(engines[0], network, device, cache)
    kept = None if cache is False else _kept(network, engines, cache)
    remembered = None if kept is None else _remembered(kept)
    if remembered in engines:
        return remembered, start_engine(remembered, network, device, cache)
    started = _started(engines, network, device, cache)
    rates = measure(started, network.size, SECONDS)
    best = max(rates, key=lambda engine: rates[engine])
    found = ", ".join(f"{engine} {rate:.0f}" for engine, rate in rates.items())
    log.info("encoder %s: engine %s is the fastest here (images/s: %s)", network.name, best, found)
    if kept is not None:
        atomic_write(kept, json.dumps({"engine": best, "images_per_second": rates}).encode())
    return best, started[best]


def measure(
    engines: "dict[str, Run]",  # name -> function from images to features
    size: int,  # px
    seconds: float = SECONDS,  # of measuring for each engine
) -> "dict[str, float]":  # images/s of those engines whose answers agree
    "The rate of each engine, measured by turns: one batch of each, again and again, and the fastest batch counts."
    images = torch.randint(
        0, 256, (BATCH, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = images[: _batch_for(next(iter(engines.values())), images[:1], seconds)]
    answers = {name: run(images) for name, run in engines.items()}  # the first call also warms up
    first = next(iter(answers.values()))
    best: dict[str, float] = {}
    for name, answer in answers.items():
        off = float((answer - first).norm() / first.norm())
        if answer is first or off <= _TOLERANCE.get(name, 1e-3):  # of damaged weights `off` is NaN, also for the first
            best[name] = 0.0
        else:
            log.warning("engine %s is left out: its answers differ by %.1e from PyTorch's", name, off)
    stop = time.perf_counter() + seconds * len(best)
    while not all(best.values()) or time.perf_counter() < stop:
        for name in best:
            began = time.perf_counter()
            engines[name](images)
            best[name] = max(best[name], len(images) / (time.perf_counter() - began))
    return best


def _batch_for(run: Run, image: torch.Tensor, seconds: float) -> int:
    "How many images fit the time: a large network on a slow machine must not be measured for minutes."
    run(image)
    began = time.perf_counter()
    run(image)
    return min(BATCH, max(1, int(seconds / (time.perf_counter() - began))))


def _started(
    engines: "list[str]", network: Network, device: torch.device, cache: "str | Path | bool | None"
) -> "dict[str, Run]":
    "Those engines that can take the network; the others are named in a warning."
    started = {}
    for engine in engines:
        try:
            started[engine] = start_engine(engine, network, device, cache)
        except Exception as error:  # exporters and engines each have errors of their own, and PyTorch is there without
            if engine == engines[-1] and not started:
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            log.warning("engine %s cannot compute encoder %s (%s)", engine, network.name, reason)
    return started


def _kept(network: Network, engines: "list[str]", cache: "str | Path | bool | None") -> Path:
    "The file that remembers the choice: one for each processor, number of threads, network and set of versions."
    versions = {name: version(name) for name in {e.removesuffix("-bf16") for e in engines}}
    facts = [network.weights, network.size, processor(), torch.get_num_threads(), sorted(versions.items()), engines]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    return cache_folder(cache) / "encoders" / f"engine-{key}.json"


def _remembered(path: Path) -> "str | None":
    "The engine that an earlier measurement chose."
    try:
        return read_json(path)["engine"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.debug("no measurement of engines in %s: %s", path, error)
        return None


def processor() -> str:  # as its maker calls it, where the system says so
    "The processor's name."
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
