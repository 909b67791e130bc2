"""The front door of training: images and settings in, a finished or running `Run` out; and the clusters of new images."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dcacn_nb.baselines import find_method
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.events import Event
from dcacn_nb.data.image_set import ImageSet, load_like
from dcacn_nb.method.config import TrainConfig, preset
from dcacn_nb.method.model import ClusterNet
from dcacn_nb.method.step import Method, TrainState, encode
from dcacn_nb.method.train import check_run, train
from dcacn_nb.report.page import write_report
from dcacn_nb.runs.driver import Run
from dcacn_nb.runs.folder import RunFolder, describe_run, load_run
from dcacn_nb.runs.graphs import RecordedStepper
from dcacn_nb.runs.progress import ProgressBar

log = logging.getLogger(__name__)


def settings_for(
    images: ImageSet,  # the images to be clustered: only their number, size, colour and orientation are looked at
    n_clusters: int,  # K, clusters looked for
    preset_name: str = "default",  # "default" or "paper"
    upright: "bool | None" = None,  # images that must not be mirrored; None: decided by the preset
    **changes,  # other fields of TrainConfig
) -> TrainConfig:
    "A preset's settings with the changes asked for; its batch size, unless asked for, is lowered to the number of images."
    config = preset(preset_name, images, n_clusters, upright=upright, **changes)
    if "batch_size" in changes or config.batch_size <= len(images) or len(images) < 2:
        return config
    log.warning("batch_size lowered from %d to %d, the number of images", config.batch_size, len(images))
    return replace(config, batch_size=len(images))


def fit(
    images,  # (N,C,H,W) uint8 tensor, or an ImageSet (its images; its labels are not looked at)
    config: "TrainConfig | None" = None,  # every setting; None: the default preset, with `n_clusters` and `settings`
    *,
    n_clusters: "int | None" = None,  # K, clusters looked for, where no config is given
    labels: "np.ndarray | None" = None,  # (N,) to score evaluations with, for nothing else
    extra=None,  # further unlabeled images for the instance loss alone; taken from an ImageSet that has them
    run_dir: "str | Path | None" = None,  # folder for settings, events, checkpoints and report; None: nothing is written
    observers: "Sequence[Callable[[Event], None]]" = (),  # each is called with every event
    progress: bool = False,  # show a progress bar (one more observer)
    background: bool = False,  # train in a daemon thread and return at once
    start: bool = True,  # False: make ready and return; run.start() trains in a thread, run.drive() in the foreground
    resume: bool = False,  # resume the run in run_dir; with no checkpoint in it yet, start over
    model: "ClusterNet | None" = None,  # a network of your own; built from the settings if None
    method: "Method | str" = "dcacn",  # a method's name, or one of your own
    report: bool = True,  # write report.html into run_dir at the end; its pictures take some seconds
    **settings,  # fields of TrainConfig where no config is given, e.g. epochs=5
) -> Run:
    "Train, and return the run: in the foreground when it has ended, in the background at once."
    method = find_method(method) if isinstance(method, str) else method
    config = method.settings(_config(images, config, n_clusters, settings))
    extra = getattr(images, "extra", None) if extra is None else extra
    protocol = getattr(images, "protocol", None)
    images, extra = getattr(images, "images", images), getattr(extra, "images", extra)
    check_run(images, config, labels, extra)
    pick_device(config.device)
    _check_parts(observers, model, config, run_dir, resume)
    state = TrainState(method.network(config) if model is None else model, config)
    steps = train(
        state.model,
        images,
        config,
        labels=labels,
        extra=extra,
        state=state,
        protocol=protocol,
        method=method,
        recorder=RecordedStepper,
    )
    about = describe_run(method, config, images, extra)
    folder = None if run_dir is None else RunFolder(run_dir, state, about, protocol, resume)
    watching = [*observers, *([ProgressBar()] if progress else [])]
    run = Run(steps, state, images, folder, watching, labels, write_report if report else None)
    if not start:
        return run
    return run.start() if background else run.drive()


def _config(images, config: "TrainConfig | None", n_clusters: "int | None", settings: dict) -> TrainConfig:
    "The settings of a run: as they were given whole, or the default preset with what was given as keywords."
    if config is None:
        if n_clusters is None:
            raise TypeError("fit needs n_clusters=K, the number of clusters looked for, or config=preset(...)")
        return settings_for(images, n_clusters, **settings)
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, got {config!r}; pass the number of clusters as n_clusters=")
    given = ([] if n_clusters is None else ["n_clusters"]) + list(settings)
    if given:
        raise TypeError(
            f"config holds every setting already, got {', '.join(given)} beside it; use dataclasses.replace(config, ...)"
        )
    return config


def _check_parts(observers, model, config: TrainConfig, run_dir, resume: bool) -> None:
    "Refuse observers, networks and folders that cannot serve."
    if callable(observers) or not all(map(callable, observers)):
        raise TypeError(f"observers must be a list of functions of one event, got {observers!r}")
    if model is not None and model.n_clusters != config.n_clusters:
        raise ValueError(f"model has {model.n_clusters} clusters, but n_clusters={config.n_clusters} in the settings")
    if resume and run_dir is None:
        raise ValueError("resume=True needs run_dir, the folder of the run to resume")


def predict(
    run: "Run | str | Path",  # a run of this session, or the folder of one
    source,  # new images: a folder, an ImageSet, or an array as `load_images` takes
    **options,  # on_error, progress, ... for load_images
) -> np.ndarray:  # (N,K) probability of each cluster; argmax(1) gives the cluster
    "Where new images belong, by a trained network; they are fitted to the size of the images it was trained on."
    model, config = (run.model, run.config) if isinstance(run, Run) else load_run(run)
    images = load_like(source, (config.channels, config.image_size, config.image_size), **options)
    return encode(model, images.images, config).numpy()
