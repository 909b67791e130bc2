"""The front door of training: images and settings in, a finished or running `Run` out; the clusters of new images."""

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from dcacn_nb.baselines._parts.centroids import fit_centres, squared_distances
from dcacn_nb.clusters.export import cluster_csv
from dcacn_nb.clusters.names import ClusterName, check_names, suggest_names
from dcacn_nb.clusters.summary import after_groups, keep_names, write_groups
from dcacn_nb.core.checks import check_in
from dcacn_nb.core.devices import pick_device
from dcacn_nb.core.events import Event
from dcacn_nb.core.files import atomic_write, user_path
from dcacn_nb.core.ranks import join, rank
from dcacn_nb.core.text import logger
from dcacn_nb.data.arrays import from_arrays
from dcacn_nb.data.feature_set import FeatureSet, training_tensor
from dcacn_nb.data.image_set import ImageSet
from dcacn_nb.data.loading import as_features
from dcacn_nb.data.unread import UNREADABLE, unread, unread_csv
from dcacn_nb.heads._parts.fitted import check_distinct, sampled
from dcacn_nb.method.config import TrainConfig
from dcacn_nb.method.config import preset as make_preset
from dcacn_nb.method.metrics import evaluate_clustering
from dcacn_nb.method.model import ClusterNet
from dcacn_nb.method.step import Method, TrainState, encode
from dcacn_nb.method.train import check_run, check_shared, train
from dcacn_nb.methods import build_network, find_method
from dcacn_nb.report.page import write_report
from dcacn_nb.report.run_files import keep_pictures, write_reference
from dcacn_nb.runs.driver import Run
from dcacn_nb.runs.folder import RunFolder, describe_run, given_back, load_run
from dcacn_nb.runs.graphs import RecordedStepper
from dcacn_nb.runs.inputs import describe_input, read_like, trained_input
from dcacn_nb.runs.progress import ProgressBar
from dcacn_nb.runs.together import begin_together

log = logger(__name__)


def settings_for(
    images: "ImageSet | FeatureSet",  # to be clustered: only their number, size, colour and orientation are used
    n_clusters: int,  # K, clusters to find
    preset: str = "default",  # "default", "paper", or "finetune" with the method of that name
    upright: "bool | None" = None,  # True: never mirror the images; None: decided by the preset
    method: "Method | str" = "dcacn",  # its own defaults come before those of the preset
    **changes,  # other fields of TrainConfig
) -> TrainConfig:
    "A preset's settings with your changes; its batch size, if not given, is lowered to the number of images."
    if len(images) == 1:
        raise ValueError("images: one image cannot be clustered; give several")
    method = method_for(method, images)
    if preset == "finetune" and method.name != "finetune":
        text = "preset 'finetune' is for the method 'finetune', which loads pretrained weights"
        raise ValueError(f"{text}, got method {method.name!r}; give that method, or another preset")
    own = {name: value(len(images)) if callable(value) else value for name, value in method.defaults.items()}
    config = make_preset(preset, images, n_clusters, upright=upright, **(own | changes))
    if "batch_size" in changes or config.batch_size <= len(images) or len(images) < 2:
        return config
    if "batch_size" not in method.defaults:
        log.warning("batch_size lowered from %d to %d, the number of images", config.batch_size, len(images))
    return replace(config, batch_size=len(images))


def method_for(
    method: "Method | str",  # a method's name, or your own
    images,  # an ImageSet, a FeatureSet or a tensor
    **options,  # the method's own knobs
) -> Method:
    "The method of that name for these images: on features, a head that takes features of their length."
    if not isinstance(method, str):
        return method
    features = {"features": images.dim} if isinstance(images, FeatureSet) else {}
    return find_method(method, **(options | features))


def fit(
    images,  # an ImageSet from load_images (its labels are not used), a tensor (N,C,H,W) uint8, a NumPy array, features
    config: "TrainConfig | None" = None,  # every setting; None: `preset` with `n_clusters` and `settings`
    *,
    n_clusters: "int | None" = None,  # K, clusters to find, where no config is given
    preset: "str | None" = None,  # "default", "paper" or "finetune", where no config is given; None: "default"
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
    names: "Sequence[str] | None" = None,  # words to name clusters with, where the encoder reads text; None: a list
    notes: "dict[str, bytes] | None" = None,  # further files for run_dir, by name: there before the run is
    **settings,  # fields of TrainConfig, and `upright`, where no config is given: epochs=5, lr=1e-3
) -> Run:
    "Train, and return the run: in the foreground when it has ended, in the background at once."
    images = _accepted(images)
    method = method_for("finetune" if (preset, method) == ("finetune", "dcacn") else method, images)
    config = method.settings(_config(images, config, n_clusters, preset, settings, method))
    extra = getattr(images, "extra", None) if extra is None else _accepted(extra, "extra")
    source, images, extra = images, training_tensor(images), getattr(extra, "images", extra)
    _check_kind(images, method, extra)
    check_run(images, config, labels, extra)
    names = None if names is None else check_names(names, source, config.n_clusters)
    if "features" in method.options:
        check_distinct(images if images.ndim == 2 else images[:, 0], config.n_clusters)
    pick_device(config.device)
    join(config.device)  # if there are several processes: the folder and the observers are the first one's
    check_shared(method, config)
    _check_parts(observers, model, config, run_dir, resume)
    state = TrainState(build_network(method, config) if model is None else model, config)
    protocol = getattr(source, "protocol", None)
    notes = (notes or {}) | ({UNREADABLE: unread_csv(protocol)} if protocol and unread(protocol) else {})
    known = {"labels": labels, "extra": extra, "protocol": protocol, "method": method}
    state.pictures = source.images if isinstance(source, FeatureSet) else None
    steps = train(state.model, images, config, state=state, recorder=RecordedStepper, **known)
    about = describe_run(method, config, images, extra, encoder=(protocol or {}).get("encoder"))
    folder = None if run_dir is None or rank() else RunFolder(run_dir, state, about, protocol, resume, notes)
    with given_back(folder):
        begin_together(state, about)
    watching: list[Callable[[Event], None]] = [] if rank() else [*observers, *([ProgressBar()] if progress else [])]
    run = Run(steps, state, images, folder, watching, labels, partial(_report, words=names) if report else None, source)
    if not start:
        return run
    return run.start() if background else run.drive()


def _report(run: Run, words: "Sequence[str] | None") -> None:
    "The clusters of files and the report; on features, what a person asks for once groups are there comes with it."
    folder, source = cast(Path, run.folder), run.source
    names = suggest_names(source, run.probabilities, words) if isinstance(source, FeatureSet) else {}
    paths, kmeans = getattr(source, "paths", None), None
    if paths is not None:
        table = cluster_csv(paths, run.probabilities, {cluster: name.word for cluster, name in names.items()})
        atomic_write(folder / "clusters.csv", table, home=folder)
    if isinstance(run.source, FeatureSet):
        keep_names(names, folder, run.config.n_clusters)
        _look_closer(run, run.source, folder, names)
        kmeans = None if run.labels is None else _kmeans_scores(run, run.source)
    if run.labels is not None:
        names = getattr(run.source, "class_names", None)
        write_reference(folder, run.labels, run.assignments, run.config.n_clusters, names, kmeans)
    write_report(folder)


def _look_closer(run: Run, source: FeatureSet, folder: Path, names: "dict[int, ClusterName]") -> None:
    "Keep copies, outliers and telling images."
    found = after_groups(source, run.probabilities, names=names)
    write_groups(found, folder)
    if source.images is not None:
        keep_pictures(folder, found, source.images, source.paths)


def _kmeans_scores(run: Run, source: FeatureSet) -> "dict[str, float]":
    "What K-Means on the same features scores."
    some = sampled(source.whole, source.dim, run.config.seed)
    centres = fit_centres(some, run.config.n_clusters, run.config.seed, restarts=3)
    return evaluate_clustering(run.labels, squared_distances(source.whole, centres).argmin(1).numpy()).as_dict()


def _accepted(images, name: str = "images"):
    "An array as a set of images or features; a set or a tensor as it is. What has to be read is refused."
    if isinstance(images, (str, Path)):
        text = f"{name} must be images, got the path or name {str(images)!r}"
        raise TypeError(f"{text}; load them first: fit(load_images({str(images)!r}), ...)")
    features = as_features(images)
    if features is not None:
        return features
    return from_arrays(images) if isinstance(images, np.ndarray) else images


def _check_kind(store, method: Method, extra) -> None:
    "Refuse a method for images with features, and a head with images."
    if "features" in method.options and (store.ndim not in (2, 3) or store.shape[-1] != method.options["features"]):
        text = f"method {method.name!r} is a head on features of length {method.options['features']}"
        raise ValueError(f"{text}, got {tuple(store.shape)}; give embed(images) of the same encoder")
    if "features" not in method.options and store.ndim in (2, 3) and store.is_floating_point():
        text = f"method {method.name!r} works on images, got features {tuple(store.shape)}"
        raise ValueError(f"{text}; find_method({method.name!r}, features={store.shape[-1]}) gives a head on features")
    if extra is not None and store.ndim in (2, 3):
        raise ValueError("extra must be None where features are clustered: a frozen encoder learns nothing from more")


def _config(
    images, config: "TrainConfig | None", n_clusters: "int | None", preset: "str | None", settings: dict, method: Method
) -> TrainConfig:
    "The settings of a run: a whole config, or a preset with the keywords that were given."
    if config is None:
        for name in settings:
            check_in("keyword", name, _keywords())
        if n_clusters is None:
            raise TypeError("fit needs n_clusters=K, the number of clusters to find, or config=preset(...)")
        return settings_for(images, n_clusters, preset or "default", method=method, **settings)
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
    return list(dict.fromkeys([*arguments, "upright", *TrainConfig.__dataclass_fields__]))


def _check_parts(observers, model, config: TrainConfig, run_dir, resume: bool) -> None:
    "Refuse observers, networks and folders that cannot serve."
    if callable(observers) or not all(map(callable, observers)):
        raise TypeError(f"observers must be a list of functions of one event, got {observers!r}")
    if model is not None and model.n_clusters != config.n_clusters:
        raise ValueError(f"model has {model.n_clusters} clusters, but n_clusters={config.n_clusters} in the settings")
    if run_dir is not None:
        user_path(run_dir, "run_dir")
    if resume and run_dir is None:
        raise ValueError("resume=True needs run_dir, the folder of the run to resume")


def predict(
    run: "Run | str | Path",  # a run of this session that is not training, or the folder of one
    source,  # new images: a folder, an ImageSet, or an array as `load_images` takes
    **options,  # on_error, progress, ... for load_images
) -> np.ndarray:  # (N,K) probability of each cluster; argmax(1) gives the cluster
    "The clusters of new images by a trained network; they are fitted to the size of the images it was trained on."
    if isinstance(run, Run):
        model, config = _trained(run)
        about = describe_input(run.source)
    else:
        model, config = load_run(run)
        about = trained_input(run, config)
    return encode(model, training_tensor(read_like(source, about, **options)), config).numpy()


def _trained(run: Run):
    "Network and settings of a run. Evaluating a network switches its mode, which must not happen during training."
    if run.status in ("ready", "running"):
        problem = "has not been started; start() it" if run.status == "ready" else "is still training; pause() it"
        raise RuntimeError(f"the run {problem}, or wait for its end")
    return copy.deepcopy(run.model) if run.status == "paused" else run.model, run.config
