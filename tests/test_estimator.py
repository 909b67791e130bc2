"""The scikit-learn estimator: conventions, inputs of every layout, unseen images, saving.

An estimator whose tags exclude tables is asked little by `check_estimator`. So a subclass that turns each row of a
table into a small picture goes through scikit-learn's whole list, about fifty checks. Those on the number of columns
and on sparse, complex and text data are answered by the wrapper's `validate_data`: they test the wrapper alone.
"""

import logging
import pickle
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fake_encoder import FakeEncoder
from PIL import Image
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator
from sklearn.utils.validation import validate_data

from dcacn_nb.data.loading import load_images, load_like
from dcacn_nb.estimator import DCACN
from dcacn_nb.fitting import settings_for
from dcacn_nb.method.config import build_views
from dcacn_nb.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

TINY = dict(width=2, n_local=0, batch_size=12, snapshot_every=0, warmup_epochs=0.0, projection_dim=4)


def tiny(**arguments):
    return DCACN(**{"n_clusters": 3, "epochs": 1, "settings": TINY, "device": "cpu", **arguments})


@pytest.fixture(scope="module")
def X():
    return load_images("digits").images[:36, 0].numpy()


@pytest.fixture(scope="module")
def fitted(X):
    return tiny().fit(X)


# ---------------------------------------------------------------- scikit-learn's checks


class TableDCACN(DCACN):
    "DCACN on tables: each row becomes a square picture by a squashing of that row alone."

    def _picture(self, X):
        side = max(4, int(np.ceil(np.sqrt(X.shape[1]))))
        pixels = np.zeros((len(X), side * side), np.float32)
        pixels[:, : X.shape[1]] = 1 / (1 + np.exp(-np.clip(X, -50, 50)))
        return pixels.reshape(-1, 1, side, side)

    def _read_new(self, X):
        return super()._read_new(self._picture(validate_data(self, X, ensure_min_samples=2)))

    def _read_like(self, X):
        return super()._read_like(self._picture(validate_data(self, X, reset=False)))

    def _numbers_in(self):
        return self.n_features_in_  # of the table

    def _configure(self, images, method):
        several = clone(self).set_params(n_clusters=max(2, self.n_clusters))  # some checks ask for one cluster
        return DCACN._configure(several, images, method)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags


LEFT_OUT = {  # check: why it says nothing about an estimator of images
    "check_clustering": "asks for well separated 2-D points to be found after a training of two steps",
}
TABLE = TableDCACN(
    2,
    epochs=1,
    device="cpu",
    settings=dict(
        width=1,
        n_local=0,
        global_size=8,
        local_size=8,
        snapshot_every=0,
        projection_dim=2,
        attention=False,
        warmup_epochs=0.0,
    ),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator, check",
    list(estimator_checks_generator(TABLE, expected_failed_checks=LEFT_OUT, mark="skip")),
    ids=lambda value: getattr(getattr(value, "func", value), "__name__", ""),
)
def test_scikit_learn_checks(estimator, check):
    "Every check of scikit-learn for a clusterer and transformer, apart from those in LEFT_OUT."
    check(estimator)


def test_scikit_learn_checks_without_the_wrapper():
    "What is asked of an estimator that takes no tables: nothing fails, and it can be cloned."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that it cannot test what takes no tables
        results = check_estimator(DCACN(), on_skip=None, on_fail="raise")
    assert any(result["status"] == "passed" for result in results)


def test_a_clone_knows_nothing(fitted):
    assert clone(fitted).get_params() == fitted.get_params() and not hasattr(clone(fitted), "labels_")


def test_in_a_pipeline(X):
    steps = make_pipeline(tiny(), KMeans(2, n_init=1, random_state=0)).fit(X)
    assert steps.predict(X).shape == (36,) and set(steps.predict(X)) <= {0, 1}


def test_tables_are_refused_with_a_message(X):
    assert not get_tags(DCACN()).input_tags.two_d_array
    with pytest.raises(ValueError, match=r"images must be .* got shape \(36, 64\)"):
        tiny().fit(X.reshape(36, 64))


def test_floats_outside_0_to_1_are_refused(X):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        tiny().fit(X.astype(float))


# ---------------------------------------------------------------- fit and predict


def test_fit_sets_what_it_promises(X, fitted):
    assert fitted.labels_.shape == (36,) and fitted.probabilities_.shape == (36, 3)
    assert np.array_equal(fitted.labels_, fitted.probabilities_.argmax(1))
    assert fitted.n_clusters_ == len(set(fitted.labels_.tolist())) and fitted.image_shape_ == (1, 8, 8)
    assert fitted.config_.n_clusters == 3 and fitted.config_.epochs == 1 and fitted.config_.width == 2
    np.testing.assert_allclose(fitted.predict_proba(X).sum(1), 1, atol=1e-6)
    assert np.array_equal(fitted.predict(X), fitted.labels_) and fitted.transform(X).shape == (36, 16)
    assert np.array_equal(tiny().fit_predict(X), fitted.labels_), "the same seed must give the same clusters"


def test_every_layout_gives_the_same_answer(X, fitted):
    expected = fitted.predict_proba(X)
    layouts = (
        X[:, None],
        X[..., None],
        X / 255.0,
        (X / 255).astype(np.float32),
        torch.from_numpy(X),
        load_images(X),
        np.asfortranarray(X),
    )
    for other in layouts:
        assert np.array_equal(fitted.predict_proba(other), expected)
    assert np.array_equal(tiny().fit(X[..., None] / 255.0).probabilities_, fitted.probabilities_)


def test_unseen_images_one_by_one_and_together(fitted):
    unseen = load_images("digits").images[500:520, 0].numpy()
    for method in (fitted.predict_proba, fitted.transform):
        together = method(unseen)
        for size in (1, 7):
            parts = np.concatenate([method(unseen[i : i + size]) for i in range(0, 20, size)])
            np.testing.assert_allclose(parts, together, atol=1e-5)
        np.testing.assert_allclose(method(unseen[::-1])[::-1], together, atol=1e-5)


def test_predictions_are_the_formula(X, fitted):
    "The largest softmax of the cluster head on the plain view, written out; in evaluation mode."
    pixels = build_views(fitted.config_).plain(torch.from_numpy(X)[:, None])
    with torch.no_grad():
        logits = fitted.model_.cluster_head(fitted.model_.backbone(pixels))
    by_hand = (torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True)).numpy()
    np.testing.assert_allclose(fitted.predict_proba(X), by_hand, atol=1e-5)
    assert np.array_equal(fitted.predict(X), by_hand.argmax(1))


def test_a_network_in_training_mode_would_mix_the_images_of_a_batch(fitted):
    "A wrong variant, which the check of unseen images catches."
    model, unseen = pickle.loads(pickle.dumps(fitted.model_)).train(), load_images("digits").images[500:512]

    def wrong(images):
        return model(build_views(fitted.config_).plain(images)).p.detach().numpy()

    in_pairs = np.concatenate([wrong(unseen[i : i + 2]) for i in range(0, 12, 2)])
    assert np.abs(in_pairs - wrong(unseen)).max() > 1e-2


def test_labels_are_ignored(X, fitted):
    with_labels = load_images(X)
    with_labels.labels = np.arange(36) % 3
    assert np.array_equal(tiny().fit(with_labels, np.zeros(36)).probabilities_, fitted.probabilities_)


def test_folder(tmp_path, X):
    "A folder of mixed sizes is fitted; another folder is read with the size and channels of the trained one."
    for i, pixels in enumerate(X[:24]):
        Image.fromarray(pixels).resize((16, 16) if i % 2 else (16, 20)).save(tmp_path / f"{i:02}.png")
    model = tiny(image_size=8).fit(str(tmp_path))
    assert model.image_shape_ == (1, 8, 8) and len(model.predict(tmp_path)) == 24
    other = tmp_path / "colour"
    other.mkdir()
    Image.fromarray(X[0]).convert("RGB").resize((30, 40)).save(other / "a.png")
    assert model.predict(other).shape == (1,)


def test_another_size_is_fitted_and_other_channels_refused(X, fitted):
    large = np.kron(X, np.ones((1, 2, 2), np.uint8))
    assert load_like(large, fitted.image_shape_).images.shape == (36, 1, 8, 8)
    # doubling every pixel and halving again gives the picture back, so the answers must agree
    np.testing.assert_allclose(fitted.predict_proba(large), fitted.predict_proba(X), atol=0.02)
    with pytest.raises(ValueError, match="must have 1 channel.* got 3"):
        fitted.predict(np.repeat(X[..., None], 3, axis=3))


def test_images_that_are_not_square(X):
    wide = np.concatenate([X, X[:, :, :4]], 2)
    model = tiny().fit(wide)
    assert model.image_shape_ == (1, 8, 12) and model.config_.image_size == 12
    assert np.array_equal(model.predict(wide), model.labels_)


# ---------------------------------------------------------------- parameters


def test_batch_size_is_lowered_only_if_it_was_not_given(X, caplog):
    settings = {k: v for k, v in TINY.items() if k != "batch_size"}
    with caplog.at_level(logging.WARNING, "dcacn_nb"):
        assert tiny(settings=settings).fit(X).config_.batch_size == 36
    default = settings_for(load_images("digits"), 10).batch_size
    assert default > 36 and f"batch_size lowered from {default} to 36, the number of images" in caplog.text
    with pytest.raises(ValueError, match="batch_size=40; use a batch_size of at most 36"):
        tiny(settings=dict(settings, batch_size=40)).fit(X)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_clusters": 37}, "n_clusters must be <= the number of images, 36"),
        ({"n_clusters": 1}, "n_clusters must be >= 2"),
        ({"preset": "papers"}, "did you mean 'paper'"),
        ({"settings": {"learning_rate": 1}}, "setting must be one of .*'learning_rate'"),
        ({"settings": {"seed": 1}}, "give random_state=1 instead"),
        ({"settings": {"epochs": 1}}, "must not hold 'epochs'"),
        ({"device": "gpu"}, "device must be"),
        ({"settings": TINY | {"batch_size": 40}}, "36 images are fewer than batch_size=40"),
    ],
)
def test_bad_parameters(X, arguments, message):
    "Refused by fit, not by __init__."
    model = tiny(**arguments)
    with pytest.raises(ValueError, match=message):
        model.fit(X)


@pytest.mark.parametrize(
    "arguments, message",
    [({"settings": [1]}, r"settings must be a dict .*, got \[1\]"), ({"run_dir": 5}, "run_dir must be a path, got 5")],
)
def test_arguments_of_the_wrong_kind_are_named(X, arguments, message):
    with pytest.raises(TypeError, match=message):
        tiny(**arguments).fit(X)


def test_random_state(X):
    "A number is the seed; a RandomState gives another seed at each fit; None too."
    state = np.random.RandomState(5)
    first, second = tiny(random_state=state).fit(X), tiny(random_state=state).fit(X)
    again = tiny(random_state=np.random.RandomState(5)).fit(X)
    assert first.config_.seed == again.config_.seed != second.config_.seed
    assert tiny(random_state=7).fit(X).config_.seed == 7
    assert tiny(random_state=None).fit(X).config_.seed != tiny(random_state=None).fit(X).config_.seed


def test_run_dir_and_verbose(X, tmp_path, capsys):
    model = tiny(run_dir=tmp_path / "run", verbose=True).fit(X)
    assert (tmp_path / "run" / "events.jsonl").exists() and "epoch 1" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match=r"already holds a run.*set_params\(run_dir='NEW'\)"):
        model.fit(X)
    assert model.set_params(run_dir=None).fit(X) is model


# ---------------------------------------------------------------- saving


def test_save_and_load(X, fitted, tmp_path):
    path = fitted.save(tmp_path / "model.safetensors")
    again = DCACN.load(path, device="cpu")
    assert (
        again.get_params() == fitted.get_params()
        and again.config_ == fitted.config_
        and again.health_ == fitted.health_
    )
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X)) and np.array_equal(
        again.transform(X), fitted.transform(X)
    )
    assert np.array_equal(again.labels_, fitted.labels_) and np.array_equal(again.probabilities_, fitted.probabilities_)
    assert (again.n_clusters_, again.image_shape_) == (fitted.n_clusters_, fitted.image_shape_)
    assert np.array_equal(clone(again).fit_predict(X), fitted.labels_)


def test_save_keeps_tuples_paths_and_seeds(X, tmp_path):
    model = tiny(
        settings=dict(TINY, global_scale=(0.6, 1.0)), run_dir=tmp_path / "run", random_state=np.random.RandomState(1)
    ).fit(X)
    again = DCACN.load(model.save(tmp_path / "m.safetensors"))
    assert (
        again.settings == model.settings
        and again.run_dir == str(tmp_path / "run")
        and again.random_state == model.config_.seed
    )


def test_numpy_numbers_are_saved_as_plain_ones(X, tmp_path):
    "As a grid search over np.arange leaves them."
    numbers = dict(n_clusters=np.int64(3), epochs=np.int32(1), random_state=np.uint8(4), verbose=np.bool_(False))
    settings = {**TINY, "lr": np.float32(0.01), "width": np.int64(2), "global_scale": (np.float64(0.6), 1.0)}
    model = tiny(**numbers, settings=settings).fit(X)
    again = DCACN.load(model.save(tmp_path / "m.safetensors"), device="cpu")
    assert again.get_params() == model.get_params()
    assert {type(value) for value in (again.n_clusters, again.epochs, again.settings["width"])} == {int}
    assert np.array_equal(clone(again).fit(X).labels_, model.labels_)


def test_what_json_cannot_hold_is_refused_by_name(fitted, tmp_path):
    odd = clone(fitted)
    odd.__dict__.update({name: value for name, value in vars(fitted).items() if name.endswith("_")})
    odd.set_params(preset=object())
    with pytest.raises(TypeError, match="preset must be a number, text or None to be saved, got <object"):
        odd.save(tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("part", ["params", "config", "health", "input", "labels", "probabilities", "model"])
@pytest.mark.parametrize("wrong", ["missing", "other"])
def test_a_file_that_holds_other_things_is_refused(fitted, tmp_path, part, wrong):
    "The checksum is right, and the content is not."
    tensors, meta = load_checkpoint(fitted.save(tmp_path / "m.safetensors"))
    changed = tensors if part in ("labels", "probabilities", "model") else meta
    names = [name for name in changed if name.split(".")[0] == part]
    for name in names:
        kept = changed.pop(name)
        if wrong == "other":
            changed[name] = torch.zeros(1, 1, 1) if changed is tensors else [kept]
    if (part, wrong) in {("health", "other"), ("labels", "other"), ("probabilities", "other")}:
        return  # figures that nothing is computed from
    with pytest.raises(CheckpointError, match=r"m2\.safetensors does not hold a whole estimator"):
        DCACN.load(save_checkpoint(tmp_path / "m2.safetensors", tensors, meta))


def test_a_network_too_large_for_memory_is_refused(fitted, tmp_path, monkeypatch):
    "Before any of it is taken: a small file may declare a large one."
    path = fitted.save(tmp_path / "m.safetensors")
    little = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr("dcacn_nb.methods.psutil", little)
    with pytest.raises(CheckpointError, match="GB of memory for training"):
        DCACN.load(path)


def test_columns_have_names_and_frames_come_out(X, fitted):
    names = [f"dcacn{i}" for i in range(16)]
    assert fitted.get_feature_names_out().tolist() == names and fitted.n_features_in_ == 64
    frame = pickle.loads(pickle.dumps(fitted)).set_output(transform="pandas").transform(X)
    assert list(frame.columns) == names and np.array_equal(frame.to_numpy(), fitted.transform(X))


def test_features_in_a_frame():
    "What a pipeline with set_output hands on; its row names are kept."
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    table = pd.DataFrame(rows, index=[f"r{i}" for i in range(40)], columns=list("abcdef"))
    head = DCACN(3, epochs=1, device="cpu", settings={"projection_dim": 4})
    model = head.fit(table)
    assert model.n_features_in_ == 6 and np.array_equal(model.predict(table), model.labels_)
    assert model.config_.cluster_start == 0, "the settings of the run: a head on features has no head start"
    assert list(model.set_output(transform="pandas").transform(table).index) == list(table.index)


def test_columns_must_be_those_trained_on(tmp_path):
    "Of the same names in the same order, also after saving; scikit-learn's own messages say what differs."
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    table = pd.DataFrame(rows, columns=list("abcdef"))
    model = DCACN(3, epochs=1, device="cpu", settings={"projection_dim": 4}).fit(table)
    for known in (model, DCACN.load(model.save(tmp_path / "m.safetensors"), device="cpu")):
        assert known.feature_names_in_.tolist() == list("abcdef")
        assert np.array_equal(known.predict(table), model.labels_)
        with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
            known.predict(table[list("bacdef")])
        with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- z"):
            known.transform(table.rename(columns={"a": "z"}))
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            assert np.array_equal(known.predict(rows), model.labels_)
    assert not hasattr(clone(model), "feature_names_in_")
    assert not hasattr(clone(model).fit(pd.DataFrame(rows)), "feature_names_in_"), "columns without names"


@pytest.mark.parametrize("kind", ["int64", "bool", "object"])
def test_frames_of_other_than_floats_are_refused(kind):
    table = pd.DataFrame(np.ones((40, 6))).astype(kind)
    with pytest.raises(ValueError, match=rf"floating-point numbers, got {kind}; convert with X.astype\(float\)"):
        DCACN(3, epochs=1, device="cpu").fit(table)


def test_paths_in_an_array_or_a_series(tmp_path, X, fitted):
    "The same as in a list."
    files = [str(tmp_path / f"{i}.png") for i in range(4)]
    for file, pixels in zip(files, X):
        Image.fromarray(pixels).save(file)
    expected = fitted.predict(files)
    for given in (pd.Series(files), np.array(files), np.array([*map(Path, files)])):
        assert np.array_equal(fitted.predict(given), expected)


def test_an_encoder_object(X, tmp_path, monkeypatch):
    "It serves for new images, too; a file names it, and takes it again where the name does not suffice."
    loaded = []

    def load(name, **options):
        loaded.append(name)
        return FakeEncoder(name=name, size=32)

    monkeypatch.setattr("dcacn_nb.encoders.encoder.load_encoder", load)
    own = FakeEncoder(name="own", size=16)
    model = DCACN(2, epochs=1, device="cpu", encoder=own, settings={"projection_dim": 4}).fit(X)
    labels = model.predict(X)
    assert loaded == [] and clone(model).encoder is not None
    path = model.save(tmp_path / "m.safetensors")
    assert np.array_equal(DCACN.load(path, device="cpu", encoder=own).predict(X), labels) and loaded == []
    again = DCACN.load(path, device="cpu")
    assert again.encoder == "own"
    with pytest.raises(ValueError, match="own with size 16, got own with size 32; give that encoder, as load_encoder"):
        again.predict(X)


def test_what_cannot_be_saved_or_loaded(fitted, tmp_path):
    with pytest.raises(NotFittedError):
        DCACN().save(tmp_path / "x.safetensors")
    with pytest.raises(NotFittedError):
        DCACN().predict(np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(CheckpointError, match="does not exist"):
        DCACN.load(tmp_path / "x.safetensors")
    foreign = save_checkpoint(tmp_path / "foreign.safetensors", {"a": torch.zeros(1)}, {"step": 1})
    with pytest.raises(CheckpointError, match="does not hold a DCACN estimator"):
        DCACN.load(foreign)
    data = bytearray(fitted.save(tmp_path / "bad.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        DCACN.load(tmp_path / "bad.safetensors")


def test_survives_what_joblib_does(X, fitted):
    "Grid searches send estimators to other processes by pickle; the saved file contains none."
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.labels_)
