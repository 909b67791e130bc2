"""Commands that train: fit, resume, demo."""

import time
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import checking, guarded, say
from dcacn_nb.cli.reading import open_source, remembered, run_settings, whole_path
from dcacn_nb.cli.running import check_files, check_sort_into, configure, finish, new_run_dir, run_training
from dcacn_nb.cli.settings import check_settings, parse_settings


@guarded
def fit(
    source: o.Source,
    clusters: o.Clusters = None,
    method: o.MethodName = "dcacn",
    preset: o.PresetName = o.Preset.default,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    seed: o.Seed = 0,
    run_dir: o.NewRunDir = None,
    root: o.Root = Path("data"),
    split: o.PartOfSource = o.Split.all,
    limit: o.Limit = None,
    image_size: o.ImageSize = None,
    upright: o.Upright = None,
    device: o.Device = "auto",
    amp: o.Precision = None,
    backbone: o.BackboneName = None,
    width: o.Width = None,
    attention: o.Attention = None,
    settings: o.Settings = None,
    download: o.Download = False,
    on_error: o.Unreadable = o.OnError.error,
    labels: o.Labels = True,
    extra: o.Extra = True,
    sort_into: o.SortInto = None,
    as_json: o.AsJson = False,
) -> None:
    "Cluster the images of a known source or of a folder."
    run_dir = new_run_dir(run_dir, source, seed)
    then = check_sort_into(sort_into, source, run_dir)
    named = _given(epochs=epochs, batch_size=batch_size, amp=amp, backbone=backbone, width=width, attention=attention)
    changes = _changes({"seed": seed, "device": device} | named, settings, clusters, method)
    reading = dict(source=whole_path(source), root=str(root.expanduser().resolve()), split=split.value, limit=limit)
    reading |= dict(image_size=image_size, on_error=on_error.value, seed=seed, extra=extra, labels=labels, then=then)
    images = open_source(**reading, download=download)
    check_files(images, then)
    config = configure(images, clusters, labels, preset.value, upright, changes)
    run = run_training(images, config, run_dir, reading, method=method)
    finish(run, images, run_dir, then)


def _given(**options) -> dict:
    "The options that were given, as plain values."
    return {name: getattr(value, "value", value) for name, value in options.items() if value is not None}


def _changes(named: dict, settings: "list[str] | None", clusters: "int | None" = None, method: str = "dcacn") -> dict:
    "Fields of TrainConfig from options and from `--set`, which comes last; refused if wrong for any images."
    with checking():
        changes = named | parse_settings(settings)
        check_settings(changes, clusters, method)
    return changes


@guarded
def resume(
    run_dir: o.RunDir,
    device: o.OtherDevice = None,
    root: o.OtherRoot = None,
    sort_into: o.SortInto = None,
    as_json: o.AsJson = False,
) -> None:
    "Resume a run that was interrupted or killed, from its last checkpoint, with all that was to follow it."
    reading, about = remembered(run_dir), run_settings(run_dir)
    reading["then"] = reading.get("then", {}) | check_sort_into(sort_into, reading["source"], run_dir)
    from dcacn_nb.method.config import from_dict

    images = open_source(**(reading | ({"root": str(root)} if root else {})))
    check_files(images, reading["then"])
    with checking():
        config = from_dict(about["config"] | ({"device": device} if device else {}))
    method = {"method": about["method"], **about.get("options", {})}
    run = run_training(images, config, run_dir, reading, resume=True, **method)
    finish(run, images, run_dir, reading["then"])


@guarded
def demo(
    epochs: o.Epochs = None,
    seed: o.Seed = 0,
    run_dir: o.NewRunDir = None,
    limit: o.Limit = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Measure K-Means and UMAP + K-Means too.")
    ] = True,
    settings: o.Settings = None,
    as_json: o.AsJson = False,
) -> None:
    "Cluster scikit-learn's handwritten digits, and compare with two baselines measured in the same run."
    run_dir = new_run_dir(run_dir, "demo", seed)
    changes = _changes({"seed": seed} | _given(epochs=epochs), settings)
    reading = dict(source="digits", limit=limit, seed=seed, extra=False, labels=True, then={"baselines": baselines})
    images = open_source(**reading)
    config = configure(images, None, True, "default", None, changes)
    say("Handwritten digits, clustered without their labels.")
    started = time.perf_counter()
    run = run_training(images, config, run_dir, reading)
    finish(run, images, run_dir, reading["then"], time.perf_counter() - started)
