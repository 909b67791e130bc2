"Images and settings of the runs that these tests train."

from dataclasses import replace

import pytest

from dcacn_nb.data.loading import load_images
from dcacn_nb.method.config import preset


@pytest.fixture(scope="session")
def digits():
    return load_images("digits", limit=120)


@pytest.fixture(scope="session")
def config(digits):
    "Two epochs of three steps; nothing is saved unless a test asks for it."
    return preset(
        "default",
        digits,
        10,
        width=4,
        projection_dim=8,
        batch_size=40,
        n_local=1,
        epochs=2,
        lr=0.01,
        log_every=2,
        eval_every=1,
        snapshot_every=0,
        snapshot_size=40,
        checkpoint_seconds=1e9,
        device="cpu",
    )


@pytest.fixture
def endless(config):
    "Settings of a run that only a stop ends."
    return replace(config, epochs=100_000, eval_every=100_000)
