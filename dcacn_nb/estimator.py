"""`DCACN().fit(X).predict(X)`: the whole method behind scikit-learn's conventions.

`__init__` only stores its arguments, as `clone` and grid searches need; everything is checked in `fit`.
"""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state, validation
from sklearn.utils.validation import check_is_fitted

from dcacn_nb.core.files import user_path
from dcacn_nb.data.feature_set import FeatureSet, training_tensor
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.listing import is_path_list
from dcacn_nb.data.loading import load_images
from dcacn_nb.encoders import embed
from dcacn_nb.fitting import fit, method_for, settings_for
from dcacn_nb.method.config import TrainConfig, from_dict
from dcacn_nb.method.step import Method, encode, place
from dcacn_nb.methods import build_network, find_method
from dcacn_nb.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from dcacn_nb.runs.inputs import describe_input, encoder_source, read_like

# settings that have their own argument
RESERVED = {"n_clusters": "n_clusters", "seed": "random_state", "device": "device", "image_size": "image_size"}


class DCACN(ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, BaseEstimator):
    "Deep image clustering by decoupled contrastive learning with multi-crop views and attention, for scikit-learn."

    def __init__(
        self,
        n_clusters=10,  # K, clusters to find, 2 to the number of images
        *,
        preset="default",  # "default" or "paper"
        epochs=None,  # passes over the images; None: the preset's number
        random_state=0,  # whole number (the seed), a numpy RandomState, or None: another seed each time
        run_dir=None,  # new folder for settings, events, checkpoints and report; None: nothing is written
        upright=None,  # True: never mirror (digits, text); None: the images say (data.mirror)
        image_size=None,  # side to fit the images to, pixels; None: as they are (not with an encoder)
        # "lite0", a timm model, a file, what load_encoder returns: heads on its features; None: trained from scratch
        encoder=None,
        encoder_weights=None,  # a local file of weights, with the name of their architecture as encoder
        settings=None,  # further fields of TrainConfig, e.g. {"lr": 1e-3}
        verbose=False,  # show a progress bar
        device="auto",  # "auto", "cpu", "cuda", "mps"
    ):
        self.n_clusters = n_clusters
        self.preset = preset
        self.epochs = epochs
        self.random_state = random_state
        self.run_dir = run_dir
        self.upright = upright
        self.image_size = image_size
        self.encoder = encoder
        self.encoder_weights = encoder_weights
        self.settings = settings
        self.verbose = verbose
        self.device = device

    def fit(
        self,
        # (N,H,W), (N,H,W,C) or (N,C,H,W), uint8 or float in [0,1]; a folder; a list of files; an ImageSet;
        X,  # features (N,D), also as a DataFrame
        y=None,  # ignored: labels never enter training
    ) -> "DCACN":  # self
        "Train on images alone; sets labels_, probabilities_, n_clusters_, health_, config_, model_ and input_."
        self._check_run_dir()
        self._check_names(X, reset=True)
        images = self._read_new(X)
        method = method_for("dcacn", images)
        config = self._configure(images, method)
        run = fit(images, config, method=method, run_dir=self.run_dir, progress=bool(self.verbose))
        self.config_, self.model_, self.health_ = run.config, run.model, run.health
        self.input_, self.options_ = describe_input(images), method.options
        self.probabilities_ = run.probabilities.numpy()
        self.labels_ = run.assignments
        self.n_clusters_ = len(np.unique(self.labels_))
        self.n_features_in_ = self._numbers_in()
        return self

    def _check_names(self, X, reset: bool) -> None:
        "Set feature_names_in_ from a DataFrame, or refuse columns of other names or in another order, as scikit-learn."
        older = getattr(BaseEstimator, "_check_feature_names", None)  # before scikit-learn 1.6
        if older is not None:
            older(self, X, reset=reset)
        else:
            validation.validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)

    def _check_run_dir(self) -> None:
        "Refuse a folder that holds a run: a fit starts a new run, and never replaces one."
        if self.run_dir is not None and (user_path(self.run_dir, "run_dir") / "config.json").exists():
            text = f"run_dir {str(self.run_dir)!r} already holds a run; every fit needs a new folder"
            raise FileExistsError(f"{text}: set_params(run_dir='NEW'), or run_dir=None to keep nothing")

    def _numbers_in(self) -> int:
        "The length of a feature, or the number of values of an image."
        return self.input_["dim"] if "dim" in self.input_ else int(np.prod(self.input_["shape"]))

    def _read_new(self, X) -> "ImageSet | FeatureSet":
        "The images to train on, or their features."
        X = _array(X)
        if self.encoder is None:
            if self.encoder_weights is not None:
                text = f"encoder_weights needs encoder, the name of their architecture, got {self.encoder_weights!r}"
                raise ValueError(f"{text}; e.g. encoder='resnet50'")
            return load_images(X, image_size=self.image_size, progress=bool(self.verbose))
        if self.image_size is not None:
            raise ValueError("image_size must be None with an encoder, which takes images in its own size")
        options = dict(progress=bool(self.verbose), device=str(self.device))
        return embed(X, self.encoder, weights=self.encoder_weights, **options)

    def _read_like(self, X) -> "ImageSet | FeatureSet":
        "Images in the form that was trained on, or their features by the same encoder."
        encoder = None if self.encoder is None or isinstance(self.encoder, (str, Path)) else self.encoder
        options = dict(device=str(self.device), progress=bool(self.verbose), weights=self.encoder_weights)
        return read_like(_array(X), self.input_, encoder=encoder, **options)

    def _configure(self, images: "ImageSet | FeatureSet", method: Method) -> TrainConfig:
        "The settings of the run, from the arguments and the images."
        if not isinstance(self.settings, (dict, type(None))):
            raise TypeError(f"settings must be a dict of fields of TrainConfig, or None, got {self.settings!r}")
        changes = dict(self.settings or {})
        for name, argument in RESERVED.items():
            if name in changes:
                raise ValueError(f"settings must not hold {name!r}; give {argument}={changes[name]!r} instead")
        if self.epochs is not None:
            if "epochs" in changes:
                raise ValueError("settings must not hold 'epochs' when epochs is given too")
            changes["epochs"] = self.epochs
        seed = self.random_state
        if seed is None or isinstance(seed, np.random.RandomState):
            seed = int(check_random_state(seed).randint(2**31 - 1))
        changes |= dict(seed=seed, device=str(self.device))
        return settings_for(images, self.n_clusters, self.preset, self.upright, method, **changes)

    @property
    def image_shape_(self) -> "tuple[int, int, int]":  # (C,H,W)
        "The shape of the images trained on; without one after a fit on features."
        return tuple(self.input_["shape"])

    @property
    def _n_features_out(self) -> int:
        "D, the number of columns of `transform`: the network tells it of one empty image."
        shape = [1, self.input_["dim"]] if "dim" in self.input_ else [1, *self.input_["shape"]]
        empty = torch.zeros(shape) if "dim" in self.input_ else torch.zeros(shape, dtype=torch.uint8)
        return encode(self.model_, empty, self.config_, "h").shape[1]

    def predict_proba(
        self,
        X,  # images as in fit
    ) -> np.ndarray:  # (N,K) float32, rows sum to 1
        "Soft assignments of any images, seen or not."
        return self._encode(X, "p")

    def predict(
        self,
        X,  # images as in fit
    ) -> np.ndarray:  # (N,) clusters 0..K-1
        "The cluster of each image: the largest soft assignment."
        return self._encode(X, "p").argmax(1)

    def transform(
        self,
        X,  # images as in fit
    ) -> np.ndarray:  # (N,D) float32
        "The features h of each image, for k nearest neighbours, plots, or other clusterings."
        return self._encode(X, "h")

    def _encode(self, X, output: str) -> np.ndarray:
        "One of the network's outputs for new images."
        check_is_fitted(self)
        self._check_names(X, reset=False)
        return encode(self.model_, training_tensor(self._read_like(X)), self.config_, output).numpy()

    def save(
        self,
        path: "str | Path",  # the file to write, e.g. "digits.safetensors"
    ) -> Path:  # the path written
        "Write the fitted estimator as one sealed safetensors file."
        check_is_fitted(self)
        tensors = {f"model.{name}": value for name, value in self.model_.state_dict().items()}
        tensors |= {"labels": torch.from_numpy(self.labels_), "probabilities": torch.from_numpy(self.probabilities_)}
        params = self.get_params()
        if callable(getattr(self.encoder, "about", None)):  # its name, and its weights file if there is one
            params["encoder"], params["encoder_weights"] = encoder_source(self.encoder.about())
        params = {name: _plain(name, value) for name, value in params.items()}
        if isinstance(self.random_state, np.random.RandomState):
            params["random_state"] = self.config_.seed  # the seed drawn from it
        meta = {
            "estimator": type(self).__name__,
            "params": params,
            "config": dataclasses.asdict(self.config_),
            "health": self.health_,
            "input": self.input_,
            "options": self.options_,
            "feature_names": [str(name) for name in getattr(self, "feature_names_in_", [])],
        }
        return save_checkpoint(path, tensors, meta)

    @classmethod
    def load(
        cls,
        path: "str | Path",  # a file written by save
        device: str = "auto",  # where the network goes; need not be the device it was trained on
        encoder=None,  # what load_encoder returns, if it was made with weights of your own or another size
    ) -> "DCACN":  # fitted, with equal parameters and predictions
        "Read an estimator back; the file is verified, and can run no code."
        tensors, meta = load_checkpoint(path)
        if meta.get("estimator") != cls.__name__:
            text = f"{path} does not hold a {cls.__name__} estimator"
            raise CheckpointError(f"{text}; a run's checkpoint is read by dcacn_nb.load_run")
        try:
            own = {} if encoder is None else {"encoder": encoder, "encoder_weights": None}
            self = cls(**(_params(meta) | own))
            self._restore(tensors, meta, device)
        # whatever a file may lack, or hold instead; RuntimeError: weights of another network
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{path} does not hold a whole estimator ({what}); save it again") from error
        return self

    def _restore(self, tensors: dict, meta: dict, device: str) -> None:
        "Set what a fit would have set."
        self.config_, self.health_ = from_dict(meta["config"]), meta["health"]
        self.input_ = meta.get("input") or {"encoder": None, "shape": meta["image_shape"]}  # files of earlier versions
        self.options_ = meta.get("options", {})
        if meta.get("feature_names"):
            self.feature_names_in_ = np.array(meta["feature_names"], object)
        self.model_ = build_network(find_method("dcacn", **self.options_), self.config_)
        weights = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
        self.model_.load_state_dict(weights)
        place(self.model_, replace(self.config_, device=str(device)))
        self.model_.eval()
        self.labels_, self.probabilities_ = tensors["labels"].numpy(), tensors["probabilities"].numpy()
        self.n_clusters_, self.n_features_in_ = len(np.unique(self.labels_)), self._numbers_in()

    def __sklearn_tags__(self):
        "For scikit-learn: this estimator takes images, not tables."
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags


def _params(meta: dict) -> dict:
    "The arguments of an estimator from its file."
    params = dict(meta["params"])
    if params["settings"] is not None:  # JSON has no tuples, and no setting is a list
        params["settings"] = {k: tuple(v) if isinstance(v, list) else v for k, v in params["settings"].items()}
    return params


def _array(X):
    "A DataFrame of features as an array, a Series or array of paths as a list; anything else as it is."
    is_frame = hasattr(X, "to_numpy") and hasattr(X, "columns")
    values = X.to_numpy() if hasattr(X, "to_numpy") else X
    if is_frame and values.dtype.kind != "f":
        raise ValueError(f"features must be floating-point numbers, got {values.dtype}; convert with X.astype(float)")
    if isinstance(values, np.ndarray) and values.ndim == 1 and is_path_list(values.tolist()):
        return values.tolist()
    return values if is_frame else X


def _plain(name: str, value):
    "A parameter as JSON holds it: NumPy's numbers as Python's."
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(f"{name}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, (Path, torch.device)):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str, np.random.RandomState)):
        return value
    raise TypeError(f"{name} must be a number, text or None to be saved, got {value!r} ({type(value).__name__})")
