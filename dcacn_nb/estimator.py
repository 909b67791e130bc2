"""`DCACN().fit(X).predict(X)`: the whole method behind scikit-learn's conventions.

`__init__` only stores its arguments, as `clone` and grid searches need; everything is checked in `fit`.
"""

import dataclasses
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import load_images, load_like
from dcacn_nb.fitting import fit, settings_for
from dcacn_nb.method.config import TrainConfig, build_model, from_dict
from dcacn_nb.method.step import encode, place
from dcacn_nb.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)


# settings that have their own argument
RESERVED = {"n_clusters": "n_clusters", "seed": "random_state", "device": "device", "image_size": "image_size"}


class DCACN(ClusterMixin, TransformerMixin, BaseEstimator):
    "Deep image clustering by decoupled contrastive learning with multi-crop views and attention, for scikit-learn."

    def __init__(
        self,
        n_clusters=10,  # K, clusters to find, 2 to the number of images
        *,
        preset="default",  # "default" or "paper"
        epochs=None,  # passes over the images; None: the preset's number
        random_state=0,  # whole number (the seed), a numpy RandomState, or None: another seed each time
        run_dir=None,  # new folder for settings, events, checkpoints and report; None: nothing is written
        upright=None,  # True: never mirror (digits, clothes, text); None: decided by the preset
        image_size=None,  # side to fit the images to, pixels; None: as they are
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
        self.settings = settings
        self.verbose = verbose
        self.device = device

    def fit(
        self,
        X,  # (N,H,W), (N,H,W,C) or (N,C,H,W), uint8 or float in [0,1]; or a folder; or an ImageSet
        y=None,  # ignored: labels never enter training
    ) -> "DCACN":  # self
        "Train on images alone; sets labels_, probabilities_, n_clusters_, health_, config_, model_ and image_shape_."
        images = self._read_new(X)
        config = self._configure(images)
        run = fit(images, config, run_dir=self.run_dir, progress=bool(self.verbose))
        self.config_, self.model_, self.health_ = config, run.model, run.health
        self.image_shape_ = tuple(images.images.shape[1:])
        self.probabilities_ = run.probabilities.numpy()
        self.labels_ = run.assignments
        self.n_clusters_ = len(np.unique(self.labels_))
        return self

    def _read_new(self, X) -> ImageSet:
        "The images to train on."
        return load_images(X, image_size=self.image_size, progress=bool(self.verbose))

    def _read_like(self, X) -> ImageSet:
        "Images in the form that was trained on."
        return load_like(X, self.image_shape_, progress=bool(self.verbose))

    def _configure(self, images: ImageSet) -> TrainConfig:
        "The settings of the run, from the arguments and the images."
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
        return settings_for(
            images, self.n_clusters, self.preset, self.upright, seed=seed, device=str(self.device), **changes
        )

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
        "The backbone's features h of each image, for k nearest neighbours, plots, or other clusterings."
        return self._encode(X, "h")

    def _encode(self, X, output: str) -> np.ndarray:
        "One of the network's outputs for new images."
        check_is_fitted(self)
        return encode(self.model_, self._read_like(X).images, self.config_, output).numpy()

    def save(
        self,
        path: "str | Path",  # the file to write, e.g. "digits.safetensors"
    ) -> Path:  # the path written
        "Write the fitted estimator as one sealed safetensors file."
        check_is_fitted(self)
        tensors = {f"model.{name}": value for name, value in self.model_.state_dict().items()}
        tensors |= {"labels": torch.from_numpy(self.labels_), "probabilities": torch.from_numpy(self.probabilities_)}
        plain = lambda value: str(value) if isinstance(value, (Path, torch.device)) else value
        params = {name: plain(value) for name, value in self.get_params().items()}
        if isinstance(self.random_state, np.random.RandomState):
            params["random_state"] = self.config_.seed  # the seed drawn from it
        meta = {
            "estimator": type(self).__name__,
            "params": params,
            "config": dataclasses.asdict(self.config_),
            "health": self.health_,
            "image_shape": list(self.image_shape_),
        }
        return save_checkpoint(path, tensors, meta)

    @classmethod
    def load(
        cls,
        path: "str | Path",  # a file written by save
        device: str = "auto",  # where the network goes; need not be the device it was trained on
    ) -> "DCACN":  # fitted, with equal parameters and predictions
        "Read an estimator back; the file is verified, and can run no code."
        tensors, meta = load_checkpoint(path)
        if meta.get("estimator") != cls.__name__:
            text = f"{path} does not hold a {cls.__name__} estimator"
            raise CheckpointError(f"{text}; a run's checkpoint is read by dcacn_nb.load_run")
        params = meta["params"]
        if params["settings"] is not None:  # JSON has no tuples, and no setting is a list
            params["settings"] = {k: tuple(v) if isinstance(v, list) else v for k, v in params["settings"].items()}
        self = cls(**params)
        self.config_, self.health_ = from_dict(meta["config"]), meta["health"]
        self.image_shape_ = tuple(meta["image_shape"])
        self.model_ = build_model(self.config_)
        weights = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
        self.model_.load_state_dict(weights)
        place(self.model_, replace(self.config_, device=str(device)))
        self.model_.eval()
        self.labels_, self.probabilities_ = tensors["labels"].numpy(), tensors["probabilities"].numpy()
        self.n_clusters_ = len(np.unique(self.labels_))
        return self

    def __sklearn_tags__(self):
        "For scikit-learn: this estimator takes images, not tables."
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags
