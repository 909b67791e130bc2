"Points in clear groups, and runs that are stopped and resumed, for heads."

import numpy as np
import pytest
import torch

from dcacn_nb.core.events import StepDone
from dcacn_nb.data.feature_set import FeatureSet
from dcacn_nb.fitting import fit
from dcacn_nb.runs.checkpoint import latest_checkpoint, load_checkpoint


@pytest.fixture(scope="session")
def blobs():
    "Three groups of 40 points in eight dimensions."
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    points = 4 * np.eye(3, 8)[labels] + draws.normal(0, 0.5, (120, 8))
    return FeatureSet(torch.from_numpy(points.astype(np.float32)), labels=labels)


@pytest.fixture
def stopped_and_resumed(blobs, tmp_path):
    "A function: train, stop at a step, resume; the last checkpoint is that of a run that was not stopped, to the bit."

    def trained(name, method, settings, stop_at=None):
        folder = tmp_path / name
        known = dict(method=method, run_dir=folder, resume=folder.exists(), report=False, start=False, log_every=1)
        run = fit(blobs, n_clusters=3, **known, **settings)
        if stop_at:
            run.subscribe(lambda e: run.stop() if isinstance(e, StepDone) and e.step >= stop_at else None)
        run.drive()
        return run, load_checkpoint(latest_checkpoint(folder / "checkpoints"))[0]

    def check(method, stop_at, settings):
        _, expected = trained("straight", method, settings)
        halted, saved = trained("halted", method, settings, stop_at)
        assert halted.status == "stopped" and halted.state.step == stop_at
        _, ended = trained("halted", method, settings)
        assert ended.keys() == expected.keys()
        assert [name for name in expected if not torch.equal(ended[name], expected[name])] == []
        return saved

    return check
