"""The front door of training: images and settings in, a finished or running `Run` out; the clusters of new images."""

import copy
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dcacn_nb.baselines import find_method
from dcacn_nb.core.checks import check_in
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.events import Event
from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import load_like
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.method.config import preset as make_preset
from dcacn_nb.method.model import ClusterNet
from dcacn_nb.method.step import Method, TrainState, encode
from dcacn_nb.method.train import check_run, train
from dcacn_nb.report.page import write_report
from dcacn_nb.runs.driver import Run
from dcacn_nb.runs.folder import RunFolder, describe_run, load_run, trained_shape
from dcacn_nb.runs.graphs import RecordedStepper
from dcacn_nb.runs.progress import ProgressBar

log = logging.getLogger(__name__)


def settings_for(
    images: ImageSet,  # the images to be clustered: only their number, size, colour and orientation are used
    n_clusters: int,  # K, clusters to find
    preset: str = "default",  # "default" or "paper"
    upright: "bool | None" = None,  # True: never mirror the images; None: decided by the preset
    **changes,  # other fields of TrainConfig
) -> TrainConfig:
    "A preset's settings with your changes; its batch size, if not given, is lowered to the number of images."
    config = make_preset(preset, images, n_clusters, upright=upright, **changes)
    if "batch_size" in changes or config.batch_size <= len(images) or len(images) < 2:
        return config
    log.warning("batch_size lowered from %d to %d, the number of images", config.batch_size, len(images))
    return replace(config, batch_size=len(images))


def fit(
    images,  # an ImageSet from load_images (its labels are not used), a tensor (N,C,H,W) uint8, or a NumPy array
    config: "TrainConfig | None" = None,  # every setting; None: `preset` with `n_clusters` and `settings`
    *,
    n_clusters: "int | None" = None,  # K, clusters to find, where no config is given
    preset: "str | None" = None,  # "default" or "paper", where no config is given; None: "default"
    method: "Method | str" = "dcacn",  # a method's name (method_names() lists them), or your own
    labels: "np.ndarray | None" = None,  # (N,) to score evaluations with, for nothing else
    extra=None,  # further unlabeled images for the instance loss alone; taken from an ImageSet that has them
    run_dir: "str | Path | None" = None,  # folder for settings, events, checkpoints, report; None: nothing is written
    resume: bool = False,  # resume the run in run_dir; if it has no checkpoint yet, start over
    observers: "Sequence[Callable[[Event], None]]" = (),  # each is called with every event
    progress: bool = False,  # show a progress bar (one more observer)
    background: bool = False,  # train in a daemon thread and return at once
    start: bool = True,  # False: prepare and return; run.start() trains in a thread, run.drive() in the foreground
    model: "ClusterNet | None" = None,  # your own network, trained in place; None: a new one, from the settings
    report: bool = True,  # write report.html into run_dir at the end; its pictures take some seconds
    **settings,  # fields of TrainConfig, and `upright`, where no config is given: epochs=5, lr=1e-3
) -> Run:
    "Train, and return the run: in the foreground when it has ended, in the background at once."
    images = _accepted(images)
    method = find_method(method) if isinstance(method, str) else method
    config = method.settings(_config(images, config, n_clusters, preset, settings))
    extra = getattr(images, "extra", None) if extra is None else _accepted(extra, "extra")
    protocol = getattr(images, "protocol", None)
    images, extra = getattr(images, "images", images), getattr(extra, "images", extra)
    check_run(images, config, labels, extra)
    pick_device(config.device)
    _check_parts(observers, model, config, run_dir, resume)
    state = TrainState(method.network(config) if model is None else model, config)
    known = {"labels": labels, "extra": extra, "protocol": protocol, "method": method}
    steps = train(state.model, images, config, state=state, recorder=RecordedStepper, **known)
    about = describe_run(method, config, images, extra)
    folder = None if run_dir is None else RunFolder(run_dir, state, about, protocol, resume)
    watching: list[Callable[[Event], None]] = [*observers, *([ProgressBar()] if progress else [])]
    run = Run(steps, state, images, folder, watching, labels, write_report if report else None)
    if not start:
        return run
    return run.start() if background else run.drive()


def _accepted(images, name: str = "images"):
    "An array as an ImageSet; an ImageSet or a tensor as it is. What has to be read from the disk is refused."
    if isinstance(images, (str, Path)):
        text = f"{name} must be images, got the path or name {str(images)!r}"
        raise TypeError(f"{text}; load them first: fit(load_images({str(images)!r}), ...)")
    return from_arrays(images) if isinstance(images, np.ndarray) else images


def _config(
    images, config: "TrainConfig | None", n_clusters: "int | None", preset: "str | None", settings: dict
) -> TrainConfig:
    "The settings of a run: a whole config, or a preset with the keywords that were given."
    if config is None:
        if n_clusters is None:
            raise TypeError("fit needs n_clusters=K, the number of clusters to find, or config=preset(...)")
        for name in settings:
            check_in("keyword", name, _keywords())
        return settings_for(images, n_clusters, preset or "default", **settings)
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, got {config!r}; pass the number of clusters as n_clusters=")
    given = [name for name, value in (("n_clusters", n_clusters), ("preset", preset)) if value is not None]
    given += settings
    if given:
        text = f"config already holds every setting, got {', '.join(given)} as well"
        raise TypeError(f"{text}; change the config with dataclasses.replace(config, ...)")
    return config


def _keywords() -> "list[str]":
    "Every keyword that `fit` understands, settings included."
    arguments = [name for name in inspect.signature(fit).parameters if name not in ("images", "settings")]
    return [*arguments, "upright", *TrainConfig.__dataclass_fields__]


def _check_parts(observers, model, config: TrainConfig, run_dir, resume: bool) -> None:
    "Refuse observers, networks and folders that cannot serve."
    if callable(observers) or not all(map(callable, observers)):
        raise TypeError(f"observers must be a list of functions of one event, got {observers!r}")
    if model is not None and model.n_clusters != config.n_clusters:
        raise ValueError(f"model has {model.n_clusters} clusters, but n_clusters={config.n_clusters} in the settings")
    if resume and run_dir is None:
        raise ValueError("resume=True needs run_dir, the folder of the run to resume")


def predict(
    run: "Run | str | Path",  # a run of this session that is not training, or the folder of one
    source,  # new images: a folder, an ImageSet, or an array as `load_images` takes
    **options,  # on_error, progress, ... for load_images
) -> np.ndarray:  # (N,K) probability of each cluster; argmax(1) gives the cluster
    "The clusters of new images by a trained network; they are fitted to the size of the images it was trained on."
    if isinstance(run, Run):
        (model, config), shape = _trained(run), tuple(run.images.shape[1:])
    else:
        model, config = load_run(run)
        shape = trained_shape(run, config)
    images = load_like(source, shape, **options)
    return encode(model, images.images, config).numpy()


def _trained(run: Run):
    "Network and settings of a run. Evaluating a network switches its mode, which must not happen during training."
    if run.status in ("ready", "running"):
        problem = "has not been started; start() it" if run.status == "ready" else "is still training; pause() it"
        raise RuntimeError(f"the run {problem}, or wait for its end")
    return copy.deepcopy(run.model) if run.status == "paused" else run.model, run.config
