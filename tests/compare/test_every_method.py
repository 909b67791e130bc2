"Every method on the same spine: settings, events, folder, network and pictures; stopped and resumed to the same bits."

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from dcacn_nb.core.events import RunFinished, RunStarted, StepDone
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit
from dcacn_nb.method.config import preset
from dcacn_nb.method.step import Method, encode, head_start
from dcacn_nb.methods import find_method, method_names
from dcacn_nb.report.figures.curves import plot_curves
from dcacn_nb.report.figures.health import plot_health
from dcacn_nb.report.glossary import LOSSES_EXPLAINED
from dcacn_nb.runs.folder import load_run, read_about
from dcacn_nb.runs.log import read_events

METHODS = method_names()
QUICK = dict(epochs=4, width=2, n_local=1, projection_dim=4, batch_size=50, snapshot_every=2, snapshot_size=40)
QUICK |= dict(eval_every=1, warmup_epochs=0.0, device="cpu")


@pytest.fixture(scope="module")
def of_name(tmp_path_factory):
    "A method by its name; fine-tuning with a file of weights, so that nothing is downloaded."
    weights = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    torch.manual_seed(0)
    save_file(dict(resnet18().state_dict()), weights)
    return lambda name: find_method(name, **({"weights": str(weights)} if name == "finetune" else {}))


def tiny(digits, **changes):
    "Settings of a run that takes a moment."
    return preset("default", digits, 10, **(QUICK | changes))


def images_and_config(name, digits, **changes):
    "What a method trains on; fine-tuning's network is a thousand times as large as the others' and gets less."
    if name != "finetune":
        return digits, tiny(digits, **changes)
    few = load_images("digits", limit=30)
    return few, tiny(few, epochs=2, batch_size=10, snapshot_size=20, **changes)


def test_the_methods_of_the_table_are_there():
    assert METHODS[0] == "dcacn" and {"kmeans", "ae", "dec", "dcec", "iic", "pica", "cc", "simclr"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_applied_once(name, digits):
    method = find_method(name)
    once = method.settings(tiny(digits))
    assert method.settings(once) == once and method.name == name
    assert once.seed == tiny(digits).seed and method.settings(tiny(digits, seed=5)).seed == 5
    json.dumps(method.options)
    assert method.passes(once) >= 1


@pytest.mark.parametrize("name", METHODS)
def test_a_head_start_is_dcacns_alone(name, digits):
    "What no other method does is not among its settings; fine-tuning has one where it is asked for."
    asked = tiny(digits, cluster_start=0.5)
    assert find_method(name).settings(asked).cluster_start == (0.5 if name in ("dcacn", "finetune") else 0)
    assert tiny(digits).cluster_start == 0.8 and preset("finetune", digits, 10).cluster_start == 0


@pytest.mark.parametrize("make", [lambda loss: Method("mine", loss=loss), lambda loss: replace(Method(), loss=loss)])
def test_a_loss_of_its_own_has_no_head_start_however_it_was_given(make, digits):
    "A method made of DCACN with another loss is the method that was given this loss at once; asked for, a start stays."
    method = make(lambda state, batch: {})
    assert method.between_epochs is None and method.settings(tiny(digits)).cluster_start == 0
    asked = Method(loss=method.loss, refit=head_start)
    assert asked.between_epochs is head_start and asked.settings(tiny(digits)).cluster_start == 0.8


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_what_dcacn_leaves(name, digits, tmp_path, of_name):
    "Events, folder, network and pictures; the labels move nothing."
    method = of_name(name)
    images, config = images_and_config(name, digits)
    run = fit(images, config, labels=images.labels, run_dir=tmp_path / "run", method=method)
    p = run.probabilities
    assert p.shape == (len(images), 10) and torch.allclose(p.sum(1), torch.ones(len(p)), atol=1e-4)
    events = read_events(tmp_path / "run")
    assert isinstance(events[0], RunStarted) and events[0].method == name
    assert isinstance(events[-1], RunFinished) and events[-1].reason == "completed"
    model, kept = load_run(tmp_path / "run")
    assert kept == run.config and torch.equal(encode(model, images.images, kept), p)
    assert read_about(tmp_path / "run")["options"] == json.loads(json.dumps(method.options))
    assert plot_curves(events).alt and plot_health(events).alt
    assert {term for e in events if isinstance(e, StepDone) for term in e.losses} <= set(LOSSES_EXPLAINED)
    blind = fit(images, config, method=method)
    assert torch.equal(blind.probabilities, p), "labels must not reach training"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_stopped_anywhere_resumes_to_the_same_bits(name, digits, tmp_path, of_name):
    "Stopped after each third step, or second of few, as often as it takes."
    images, config = images_and_config(name, digits, log_every=1)
    each = 2 if name == "finetune" else 3
    whole = fit(images, config, run_dir=tmp_path / "whole", method=of_name(name))
    options = dict(run_dir=tmp_path / "lives", resume=True, start=False)
    for life in range(40):
        run = fit(images, config, method=of_name(name), **options)
        run.subscribe(lambda event, run=run, last=each * (life + 1): stop_at(last, event, run))
        run.drive()
        if run.status == "completed":
            break
    assert run.status == "completed" and (life >= 2 or name == "kmeans")
    assert read_events(tmp_path / "lives") == read_events(tmp_path / "whole")
    ours, expected = run.state.tensors(), whole.state.tensors()
    assert ours.keys() == expected.keys() and all(torch.equal(ours[key], expected[key]) for key in ours)


def stop_at(step, event, run):
    "Stop a run at a step."
    if isinstance(event, StepDone) and event.step == step:
        run.stop()


def test_options_are_remembered_and_compared(digits, tmp_path):
    config, method = tiny(digits, epochs=1), lambda heads: find_method("iic", heads=heads, overclusters=15)
    run = fit(digits, config, run_dir=tmp_path / "run", method=method(2))
    model, settings = load_run(tmp_path / "run")
    assert torch.equal(encode(model, digits.images, settings), run.probabilities)
    with pytest.raises(ValueError, match="options: .*'heads': 2.* in the run, .*'heads': 3.* now"):
        fit(digits, config, run_dir=tmp_path / "run", resume=True, method=method(3))
