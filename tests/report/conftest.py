"Runs to draw: one trained for seconds, whose log is also read without our code, and one written by hand."

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.method.metrics import assignment_health, evaluate_clustering
from dcacn_nb.runs.log import RunLog

N, K, EPOCHS = 300, 10, 8


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    "Two hundred digits, four epochs, four channels, with attention; and two epochs without attention, in a list."
    from dcacn_nb.data.loading import load_images
    from dcacn_nb.fitting import fit
    from dcacn_nb.method.config import preset

    folder = tmp_path_factory.mktemp("runs") / "attention"
    images = load_images("digits", limit=200)
    settings = dict(width=4, epochs=4, batch_size=40, warmup_epochs=1, eval_every=1, snapshot_every=1, log_every=1)
    settings |= dict(n_local=2, cluster_start=0.0)  # both kinds of crops, and all losses in every epoch
    config = preset("default", images, K, cluster_axis="cluster", lr=0.01, seed=0, device="cpu", **settings)
    fit(images, config, labels=images.labels, observers=[RunLog(folder)])  # the log alone, no checkpoints, no report
    plain = []
    without = dataclasses.replace(config, attention=False, epochs=2)
    fit(images, without, labels=images.labels, observers=[plain.append])
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return SimpleNamespace(folder=folder, images=images, config=config, plain=plain, lines=lines)


@pytest.fixture(scope="session")
def settings():
    "The settings of the run written by hand."
    options = dict(image_size=8, channels=1, global_size=8, local_size=4, balance_weight=0.5)
    return dataclasses.asdict(TrainConfig(n_clusters=K, **options))


@pytest.fixture(scope="session")
def made_up(settings):
    """Events of a run that goes well, written by hand: every number in it is known.

    The images are real digits. The "network" moves towards one place per class; labels stand in for it here."""
    digits = load_digits()
    images, flat = (digits.images[:N] * 15.9).astype(np.uint8)[:, None], digits.data[:N] / 16
    centres = np.stack([flat[digits.target[:N] == k].mean(0) for k in range(K)])
    distance = ((flat[:, None] - centres) ** 2).sum(-1)
    protocol = {
        "source": "digits",
        "split": "all",
        "splits": {"train": 200, "test": 100},
        "size": [8, 8],
        "limit": None,
    }

    def epoch_events(epoch, rng, scored, snapshots):
        "What one epoch reports."
        for step in range(5 * epoch - 4, 5 * epoch + 1) if epoch else ():
            total = 2 + 3 * np.exp(-step / 10) + 0.05 * np.sin(7 * step)
            losses = {"total": total, "instance": 0.7 * total, "cluster": 0.3 * total}
            speed = 900 + 50 * np.sin(step)
            yield StepDone(step, epoch, losses, lr=0.002 * (1 - step / 41), grad_norm=1.0, images_per_second=speed)
        if epoch:
            yield EpochDone(epoch, 5 * epoch, {"total": 2 + 3 * np.exp(-epoch / 2)}, seconds=1.0)
        logits = -distance * epoch / 4 + rng.normal(size=(N, K)) * 0.3
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        health = assignment_health(p, np.roll(p, 1, axis=0) if epoch == 0 else p)
        scores = evaluate_clustering(digits.target[:N], p.argmax(1)).as_dict() if scored else None
        yield Evaluated(epoch, 5 * epoch, health, scores)
        if snapshots and epoch % 2 == 0:
            arrays = {"h": (flat + epoch / 2 * p @ centres).astype(np.float32), "p": p.astype(np.float32)}
            arrays["spatial_attention.layer1.0"] = rng.random((8, 1, 8, 8)).astype(np.float32)
            pictures = {"images": images} if epoch == 0 else {}
            yield SnapshotTaken(epoch, 5 * epoch, np.arange(N), arrays | pictures)

    def events(scored=True, snapshots=True):
        "Eight epochs."
        rng = np.random.default_rng(0)
        versions = {"dcacn_nb": "test"}
        first = RunStarted("dcacn", settings, protocol, N, EPOCHS * 5, 5, versions=versions, time=1.79e9)
        between = [e for epoch in range(EPOCHS + 1) for e in epoch_events(epoch, rng, scored, snapshots)]
        return [first, *between, RunFinished("completed", 5 * EPOCHS, EPOCHS, seconds=8.0, time=1.79e9 + 8)]

    return events
