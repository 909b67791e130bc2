"The front door: keywords or a config, presets and methods by name, arrays; and the clusters of new images."

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from running import same, until, weights

import dcacn_nb as dc
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import load_images
from dcacn_nb.fitting import fit, predict, settings_for
from dcacn_nb.method.config import preset
from dcacn_nb.method.step import Method, encode

QUICK = {
    "width": 4,
    "projection_dim": 8,
    "batch_size": 40,
    "n_local": 1,
    "epochs": 1,
    "snapshot_every": 0,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def digits():
    return load_images("digits", limit=80)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    "A run by keywords, with a folder and its report."
    folder = tmp_path_factory.mktemp("fitting") / "run"
    return fit(digits, n_clusters=10, run_dir=folder, labels=digits.labels, **QUICK)


# --- the ways to say the same -------------------------------------------------------------------------------------
def test_keywords_and_a_config_give_the_same_weights(digits, trained):
    config = preset("default", digits, 10, **QUICK)
    assert trained.config == config and same(weights(fit(digits, config)), weights(trained))


def test_a_second_fit_starts_from_scratch(digits, trained):
    "A training cell that is run again builds a new network, and so gives the same bits; whatever torch's seed is."
    torch.manual_seed(123)
    again = fit(digits, n_clusters=10, **QUICK)
    assert again.model is not trained.model and same(weights(again), weights(trained))
    other = fit(digits, n_clusters=10, seed=1, **QUICK)
    assert not same(weights(other), weights(trained))


def test_an_image_set_a_tensor_and_arrays_of_any_layout_are_the_same_images(digits, trained):
    array = digits.images.numpy()
    for images in (digits.images, array, array[:, 0], array.transpose(0, 2, 3, 1), array / 255.0):
        run = fit(images, n_clusters=10, upright=True, **QUICK)  # only an ImageSet says that digits are not mirrored
        assert same(weights(run), weights(trained))


def test_the_public_names_are_these(digits):
    assert dc.fit is fit and dc.predict is predict and dc.preset is preset


def test_presets_by_name(digits):
    run = fit(digits, n_clusters=10, preset="paper", start=False, **QUICK)
    assert run.config == preset("paper", digits, 10, **QUICK) != preset("default", digits, 10, **QUICK)
    run.stop()
    assert settings_for(digits, 10, preset="paper", **QUICK) == run.config


def test_methods_by_name(digits):
    run = fit(digits, n_clusters=10, method="kmeans", **QUICK)
    assert run.status == "completed" and run.assignments.shape == (80,)


def test_a_batch_size_nobody_gave_is_lowered(digits, caplog):
    settings = {name: value for name, value in QUICK.items() if name != "batch_size"}
    with caplog.at_level(logging.WARNING, "dcacn_nb"):
        run = fit(digits.subset(range(40)), n_clusters=10, start=False, **settings)
    assert run.config.batch_size == 40 and "to 40, the number of images" in caplog.text
    run.stop()


def test_extra_images_may_be_an_array(digits):
    extra = digits.images[:40]
    runs = [fit(digits, n_clusters=10, extra=x, **QUICK) for x in (extra, extra.numpy(), ImageSet(extra))]
    runs.append(fit(replace(digits, extra=ImageSet(extra)), n_clusters=10, **QUICK))
    assert all(same(weights(run), weights(runs[0])) for run in runs)


def test_a_report_is_written_unless_it_was_declined(digits, trained, tmp_path):
    assert "<html" in (trained.folder / "report.html").read_text()
    fit(digits, n_clusters=10, run_dir=tmp_path / "plain", report=False, **QUICK)
    assert not (tmp_path / "plain" / "report.html").exists()


# --- what is refused ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({}, TypeError, r"fit needs n_clusters=K, the number of clusters to find, or config=preset\(...\)"),
        ({"config": 10}, TypeError, "config must be a TrainConfig, got 10; pass the number of clusters as n_clusters="),
        ({"n_clusters": 10, "epoch": 1}, ValueError, "keyword must be one of .* got 'epoch'; did you mean 'epochs'"),
        ({"n_clusters": 10, "rundir": "x"}, ValueError, "got 'rundir'; did you mean 'run_dir'"),
        ({"n_cluster": 10}, ValueError, "got 'n_cluster'; did you mean 'n_clusters'"),
        ({"n_clusters": 10, "preset": "papers"}, ValueError, "preset must be one of .*; did you mean 'paper'"),
        ({"n_clusters": 10, "method": "kmean"}, ValueError, "'kmean'; did you mean 'kmeans'"),
        ({"n_clusters": 1}, ValueError, "n_clusters must be >= 2"),
        ({"n_clusters": 81}, ValueError, "n_clusters must be <= the number of images, 80, got 81"),
        ({"n_clusters": 10, "batch_size": 99}, ValueError, "80 images are fewer than batch_size=99"),
        ({"n_clusters": 10, "labels": [1]}, ValueError, "labels must have one entry"),
        ({"n_clusters": 10, "resume": True}, ValueError, "resume=True needs run_dir, the folder of the run to resume"),
        ({"n_clusters": 10, "observers": print}, TypeError, "observers must be a list of functions of one event"),
        ({"n_clusters": 10, "device": "gpu"}, ValueError, "device must be"),
    ],
)
def test_arguments_that_are_refused(digits, arguments, error, message):
    with pytest.raises(error, match=message):
        fit(digits, **arguments)


def test_one_image_is_refused(digits):
    with pytest.raises(ValueError, match="one image cannot be clustered"):
        fit(digits.subset([0]), n_clusters=2)


@pytest.mark.parametrize(
    "more, named", [({"n_clusters": 10}, "n_clusters"), ({"preset": "paper", "epochs": 1}, "preset, epochs")]
)
def test_a_config_and_keywords_together_are_refused(digits, more, named):
    message = f"config already holds every setting, got {named} as well; change the config with dataclasses.replace"
    with pytest.raises(TypeError, match=message):
        fit(digits, preset("default", digits, 10, **QUICK), **more)


@pytest.mark.parametrize("source", ["digits", "photos/cats"])
def test_a_path_or_a_name_is_not_images_yet(digits, source, tmp_path):
    message = (
        rf"images must be images, got the path or name '{source}'; load them first: fit\(load_images\('{source}'\)"
    )
    with pytest.raises(TypeError, match=message):
        fit(source, n_clusters=10)
    with pytest.raises(TypeError, match=r"load_images\("):
        fit(tmp_path, n_clusters=10)
    with pytest.raises(TypeError, match="extra must be images, got the path"):
        fit(digits, n_clusters=10, extra=source)


def test_a_network_with_other_clusters_is_refused(digits):
    config = preset("default", digits, 10, **QUICK)
    with pytest.raises(ValueError, match="model has 10 clusters, but n_clusters=9 in the settings"):
        fit(digits, replace(config, n_clusters=9), model=Method().network(config))


# --- the clusters of new images -----------------------------------------------------------------------------------
def test_predict_by_a_run_and_by_its_folder(digits, trained):
    expected = encode(trained.model, digits.images, trained.config).numpy()
    assert expected.shape == (80, 10)
    np.testing.assert_array_equal(predict(trained, digits), expected)
    np.testing.assert_array_equal(predict(trained.folder, digits), expected)
    np.testing.assert_array_equal(predict(str(trained.folder), digits.images.numpy()), expected)
    np.testing.assert_array_equal(predict(trained, digits).argmax(1), trained.assignments)


def test_predict_fits_new_images_to_the_size_trained_on(digits, trained):
    "Doubling every pixel and halving the size again gives the image back, so the answers must agree."
    large = np.kron(digits.images[:10, 0].numpy(), np.ones((1, 2, 2), np.uint8))
    p = predict(trained, large)
    assert p.shape == (10, 10)
    np.testing.assert_allclose(p, predict(trained, digits.images[:10]), atol=0.02)
    with pytest.raises(ValueError, match=r"must have 1 channel"):
        predict(trained, np.repeat(large[..., None], 3, axis=3))


def test_predict_for_a_folder_of_images(digits, trained, tmp_path):
    for i, pixels in enumerate(digits.images[:4, 0].numpy()):
        Image.fromarray(pixels).convert("RGB").resize((16, 16 + 4 * i)).save(tmp_path / f"{i}.png")
    assert predict(trained, tmp_path, progress=False).shape == (4, 10)


def test_predict_leaves_a_run_in_progress_alone(digits):
    "Evaluating switches the network's mode; while it is paused, a copy is evaluated."
    endless = QUICK | {"epochs": 100_000, "eval_every": 100_000}
    run = fit(digits, n_clusters=10, background=True, **endless)
    until(lambda: run.state.step >= 2)
    with pytest.raises(RuntimeError, match=r"the run is still training; pause\(\) it, or wait for its end"):
        predict(run, digits)
    run.pause()
    until(lambda: run.status == "paused")
    run.model.train()
    assert predict(run, digits).shape == (80, 10) and run.model.training
    run.stop()
    run.wait(60)
    assert predict(run, digits).shape == (80, 10)


def test_predict_keeps_the_shape_of_images_that_are_not_square(tmp_path):
    "What a run gave its own images, predict gives them again: from the run, and from its folder."
    images = dc.load_images(np.random.default_rng(0).integers(0, 256, (24, 16, 28), dtype=np.uint8))
    settings = dict(epochs=1, width=2, n_local=0, batch_size=12, projection_dim=4, snapshot_every=0, device="cpu")
    run = dc.fit(images, n_clusters=3, run_dir=tmp_path / "run", report=False, **settings)
    assert tuple(run.images.shape[1:]) == (1, 16, 28)
    for source in (run, run.folder):
        np.testing.assert_array_equal(dc.predict(source, images), run.probabilities.numpy())


def test_a_run_that_has_not_been_started_predicts_nothing(tmp_path):
    "An untrained network is not asked."
    images = dc.load_images("digits", limit=40)
    run = dc.fit(images, n_clusters=10, epochs=1, batch_size=20, width=2, start=False)
    with pytest.raises(RuntimeError, match=r"has not been started; start\(\) it"):
        dc.predict(run, images)


def test_finetune_settings_are_for_pretrained_weights(monkeypatch):
    "With another method nothing would load the weights that its small steps are made for."
    images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    for refused in (
        lambda: dc.fit(images, n_clusters=2, preset="finetune", method="cc"),
        lambda: dc.DCACN(2, preset="finetune").fit(images),
    ):
        with pytest.raises(ValueError, match="preset 'finetune' is for the method 'finetune'.*got method '(cc|dcacn)'"):
            refused()
