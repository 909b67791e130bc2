"Methods with options of their own: stopped and resumed to the same bits, loaded from the folder, refused under others."

from pathlib import Path

import pytest
import torch

from dcacn_nb.core.events import StepDone
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset
from dcacn_nb.method.step import encode
from dcacn_nb.methods import find_method
from dcacn_nb.runs.checkpoint import latest_checkpoint, load_checkpoint
from dcacn_nb.runs.folder import load_run
from dcacn_nb.runs.log import read_events

OPTIONS = {
    "cc": {"strong": True},
    "simclr": {"restarts": 3},
    "iic": {"heads": 3, "overclusters": 20, "alternate": True},
    "pica": {"weight": 1.5},
}
OTHER_OPTIONS = {
    "cc": {},
    "simclr": {"restarts": 3, "decoupled": True},
    "iic": {"heads": 3, "overclusters": 20},
    "pica": {"weight": 2.0},
}
NETWORKS = {"cc": "ClusterNet", "simclr": "ContrastNet", "iic": "SubHeadNet", "pica": "ClusterNet"}


@pytest.fixture(scope="module")
def digits():
    return load_images("digits", limit=150)


def tiny(digits):
    "Settings of a run of two epochs, three steps each."
    knobs = dict(width=2, projection_dim=4, batch_size=50, epochs=2, warmup_epochs=0.0, lr=0.005, device="cpu")
    return preset("default", digits, 10, log_every=1, eval_every=1, snapshot_every=0, **knobs)


def train(digits, folder: Path, method, stop_at=None):
    "Start or resume the run in a folder; stop it after a step if asked to."
    knobs = dict(labels=digits.labels, method=method, run_dir=folder, resume=folder.exists(), report=False)
    run = fit(digits, tiny(digits), start=False, **knobs)
    if stop_at:
        run.subscribe(lambda event: run.stop() if isinstance(event, StepDone) and event.step == stop_at else None)
    run.drive()
    return run


def saved(folder: Path):
    "All tensors of the newest checkpoint, and all events."
    return load_checkpoint(latest_checkpoint(folder / "checkpoints"))[0], read_events(folder)


@pytest.fixture(scope="module", params=sorted(OPTIONS))
def straight(request, digits, tmp_path_factory):
    "Name, folder and run of a method that was never stopped."
    folder = tmp_path_factory.mktemp("straight") / request.param
    return request.param, folder, train(digits, folder, find_method(request.param, **OPTIONS[request.param]))


@pytest.mark.parametrize("stop_at", [5, 6], ids=["within an epoch", "before the last evaluation"])
def test_a_stopped_run_resumes_to_the_same_bits(stop_at, straight, digits, tmp_path):
    name, folder, _ = straight
    method, halted_folder = find_method(name, **OPTIONS[name]), tmp_path / "halted"
    halted = train(digits, halted_folder, method, stop_at)
    assert halted.status == "stopped" and halted.state.step == stop_at
    assert train(digits, halted_folder, method).status == "completed"
    (tensors, events), (expected_tensors, expected_events) = saved(halted_folder), saved(folder)
    assert tensors.keys() == expected_tensors.keys() and events == expected_events
    assert [key for key in tensors if not torch.equal(tensors[key], expected_tensors[key])] == []


def test_the_network_is_loaded_from_the_folder_alone(straight, digits):
    name, folder, run = straight
    model, config = load_run(folder)
    assert type(model).__name__ == NETWORKS[name]
    assert config == find_method(name, **OPTIONS[name]).settings(tiny(digits))
    assert torch.equal(encode(model, digits.images, config), run.probabilities)
    assert getattr(model, "heads", 3) == 3, "IIC's sub-heads are those of the options"


def test_a_run_is_not_resumed_under_other_options_or_another_method(straight, digits):
    name, folder, _ = straight
    with pytest.raises(ValueError, match="options"):
        train(digits, folder, find_method(name, **OTHER_OPTIONS[name]))
    with pytest.raises(ValueError, match="method"):
        train(digits, folder, find_method("dcacn"))
