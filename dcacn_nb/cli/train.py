"""Commands that train: fit, resume, demo."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, call, checking, complain, guarded, refuse_idle, say
from dcacn_nb.cli.reading import (
    check_encoder,
    check_number,
    check_options,
    check_source,
    is_run,
    of_run,
    open_source,
    pick_encoder,
    run_settings,
    weights_to_tune,
    whole_path,
)
from dcacn_nb.cli.running import (
    check_files,
    check_launch,
    check_sort_into,
    claimed,
    configure,
    finish,
    longer,
    new_run_dir,
    number_of_clusters,
    run_training,
    words_of,
)
from dcacn_nb.cli.settings import check_device, check_settings, check_together, given, parse_settings
from dcacn_nb.cli.which import say_changes
from dcacn_nb.core.downloads import no_downloads
from dcacn_nb.core.launch import restarted


@guarded
def fit(
    source: o.Source,
    clusters: o.Clusters = None,
    encoder: o.EncoderName = "auto",
    encoder_weights: o.EncoderWeights = None,
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
    sort_how: o.SortHow = o.SortBy.copy,
    names: o.Names = None,
    as_json: o.AsJson = False,
) -> None:
    "Cluster the images of a known source or of a folder."
    if restarted() and run_dir is not None and is_run(run_dir):
        return resume(run_dir, as_json=as_json)
    _check_sort_how(sort_into)
    check_launch(run_dir, None)
    default_name, run_dir = run_dir is None, new_run_dir(run_dir, source, seed)
    method = "finetune" if (preset, method) == (o.Preset.finetune, "dcacn") else method
    then = check_sort_into(sort_into, source, run_dir, sort_how.value)
    named = given(epochs=epochs, batch_size=batch_size, amp=amp, backbone=backbone, width=width, attention=attention)
    named |= {"seed": seed, "device": device}
    changes = _changes(named, settings, clusters, method, image_size=image_size)
    check_source(source)
    check_options(source)
    tuned, encoder_weights = weights_to_tune(method, encoder_weights)
    weights = check_encoder(encoder, encoder_weights)
    check_number(source, changes.get("n_clusters", clusters), labels)
    with checking():
        check_together(changes)
    asked = changes | given(image_size=image_size, upright=upright)
    encoder = pick_encoder(source, encoder, method, asked)
    check_launch(run_dir, encoder)
    then |= words_of(names, encoder)
    reading = dict(source=whole_path(source), root=str(root.expanduser().resolve()), split=split.value, limit=limit)
    reading |= dict(encoder=encoder, image_size=image_size, on_error=on_error.value, seed=seed)
    reading |= dict(extra=extra, labels=labels, then=then, **weights)
    images = open_source(**reading, download=download)
    check_files(images, then)
    clusters, number = number_of_clusters(images, clusters, seed)
    config = configure(images, clusters, labels, preset.value, upright, changes, method)
    run_dir = claimed(run_dir) if default_name else run_dir
    run = run_training(images, config, run_dir, reading, method=method, number=number, **tuned)
    finish(run, images, run_dir, then)


def _changes(
    named: dict, settings: "list[str] | None", clusters: "int | None" = None, method: str = "dcacn", **more
) -> dict:
    "Fields of TrainConfig from options and from `--set`; refused if wrong for any images, or given twice."
    with checking():
        asked = {name: value for name, value in named.items() if name in call.given}  # a seed has a default
        changes = named | parse_settings(settings, n_clusters=clusters, **more, **asked)
        check_settings(changes, clusters, method)
    return changes


@guarded
def resume(
    run_dir: o.RunDir,
    epochs: o.MoreEpochs = None,
    device: o.OtherDevice = None,
    source: o.MovedTo = None,
    encoder_weights: o.MovedWeights = None,
    root: o.OtherRoot = None,
    sort_into: o.SortInto = None,
    sort_how: o.SortHow = o.SortBy.copy,
    as_json: o.AsJson = False,
) -> None:
    "Resume a run that was interrupted or killed, from its last checkpoint, with all that was to follow it."
    _check_sort_how(sort_into)
    with checking():
        check_device(device or "auto")
    reading, about = of_run(run_dir, source, encoder_weights), run_settings(run_dir)
    moved = source is not None or encoder_weights is not None
    then, fetch = reading.get("then", {}), reading.pop("fetch", True)
    check_launch(run_dir, reading.get("encoder"))
    check_options(reading["source"])
    unasked = then.pop("unasked", None)
    reading["then"] = then | check_sort_into(sort_into, reading["source"], run_dir, sort_how.value)
    if unasked and sort_into is None:
        complain(
            f"The run asks for sorted copies in {unasked}. It was not started here, so none are made; "
            f"if you want them: --sort-into {shlex.quote(unasked)}"
        )
    notes = {} if epochs is None else longer(run_dir, epochs)
    about["config"] |= {} if epochs is None else {"epochs": epochs}
    from dcacn_nb.encoders import ENGINES
    from dcacn_nb.method.config import from_dict

    # the same engine: others differ in the last digits of the features, and the run would not know them again
    engine = ((about["protocol"] or {}).get("encoder") or {}).get("engine")
    same = {"engine": engine} if engine in ENGINES and reading.get("encoder") else {}
    images = open_source(**(reading | same | ({"root": str(root)} if root else {})), fetch=fetch)
    say_changes(images, run_dir)
    check_files(images, reading["then"])
    with checking():
        config = from_dict(about["config"] | ({"device": device} if device else {}))
    known = {"resume": True, "moved": moved, "notes": notes, "method": about["method"]}
    with no_downloads(not fetch):
        run = run_training(images, config, run_dir, reading, **known, options=about["options"])
    finish(run, images, run_dir, reading["then"])


def _check_sort_how(sort_into: "Path | None") -> None:
    "Refuse a way of sorting where nothing is sorted."
    if sort_into is None:
        refuse_idle("--sort-into, which is not given", "sort_how")


@guarded
def demo(
    what: Annotated[o.Demo, typer.Argument(help="digits: from scratch; photos: with a pretrained encoder.")] = (
        o.Demo.digits
    ),
    epochs: o.DemoEpochs = None,
    seed: o.Seed = 0,
    run_dir: o.NewRunDir = None,
    limit: o.Limit = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Measure K-Means and UMAP + K-Means too.")
    ] = True,
    settings: o.Settings = None,
    as_json: o.AsJson = False,
) -> None:
    "Cluster handwritten digits and compare with two baselines, or sort crops of photographs that libraries ship."
    default_name, run_dir = run_dir is None, new_run_dir(run_dir, "demo", seed)
    changes = _changes({"seed": seed} | given(epochs=epochs), settings)
    if what is o.Demo.photos:
        refuse_idle("the digits, and these are photos", "baselines")
        _demo_photos(claimed(run_dir) if default_name else run_dir, seed, limit, changes)
        return
    changes = {"epochs": o.DEMO_EPOCHS} | changes
    with checking():
        check_together(changes)
    reading = dict(source="digits", limit=limit, seed=seed, extra=False, labels=True, then={"baselines": baselines})
    images = open_source(**reading)
    config = configure(images, None, True, "default", None, changes)
    run_dir = claimed(run_dir) if default_name else run_dir
    say("Handwritten digits, clustered without their labels.")
    started = time.perf_counter()
    run = run_training(images, config, run_dir, reading)
    finish(run, images, run_dir, reading["then"], time.perf_counter() - started)


def _demo_photos(run_dir: Path, seed: int, limit: "int | None", changes: dict) -> None:
    "The main path of a person's folder, on photographs that come with libraries."
    from dcacn_nb.data.demo_photos import demo_photos
    from dcacn_nb.encoders import DEFAULT

    folder = run_dir.parent / f"{run_dir.name}-photos"
    if folder.exists():
        raise BadInput(f"{folder} exists already; give another --run-dir, beside which the photos are written")
    with checking(ModuleNotFoundError):
        files = demo_photos(folder, seed=seed)
    say(f"{len(files)} crops of photographs in {folder}, clustered without their labels.")
    reading = dict(source=whole_path(str(folder)), encoder=DEFAULT, limit=limit, seed=seed, labels=True, then={})
    images = open_source(**reading)
    config = configure(images, None, True, "default", None, changes)
    run = run_training(images, config, run_dir, reading)
    finish(run, images, run_dir, {})
