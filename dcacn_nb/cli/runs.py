"""Settings from text, images from a name, a run in the foreground that Ctrl-C can end well, and what a run leaves behind."""

import dataclasses
import errno
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli.output import BadInput, answer, checking, complain, say


def parse_value(
    name: str,  # a field of TrainConfig
    text: str,  # what stands behind the equals sign
    default: object,  # the field's default: its kind decides
) -> object:  # a value of that kind
    "A setting's value from text."
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(default, bool) and text.lower() in words:
        return words[text.lower()]
    kinds = {
        int: ("a whole number", int),
        float: ("a number", float),
        str: ("a word", str),
        bool: ("true or false", None),
        tuple: ("two numbers with a comma, such as 0.5,1", lambda pair: tuple(float(part) for part in pair.split(","))),
    }
    wanted, read = kinds[type(default)]
    if name == "attention":  # true, false, or one of its halves
        return text
    try:
        return read(text)
    except (ValueError, TypeError):
        raise ValueError(f"--set {name}={text}: {name} must be {wanted}") from None


def parse_settings(
    pairs: "list[str]",  # ["lr=0.001", ...]
) -> dict:  # field of TrainConfig -> value
    "The `--set` options as a dictionary."
    from dcacn_nb.core.checks import check_in
    from dcacn_nb.method.config import TrainConfig

    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair}: write NAME=VALUE, e.g. --set lr=0.001")
        check_in("setting", name, list(defaults))
        settings[name] = parse_value(name, text, defaults[name])
    return settings


def check_settings(
    changes: dict,  # field of TrainConfig -> value
    clusters: "int | None" = None,  # -k
    method: str = "dcacn",
) -> None:
    "Refuse what is wrong whatever the images are, before they are read; the rest is checked with them."
    from dcacn_nb.baselines import find_method
    from dcacn_nb.core.checks import check_int
    from dcacn_nb.core.devices import pick_device
    from dcacn_nb.method.config import TrainConfig

    if clusters is not None:
        check_int("-k", clusters, low=2)
    find_method(method)
    pick_device(changes.get("device", "auto"))
    sizes = ("image_size", "global_size", "local_size")  # these must fit together, and with the images
    TrainConfig(**{name: value for name, value in changes.items() if name not in sizes})


def whole_path(
    source: str,  # known name or folder
) -> str:
    "A folder's full path, so that a run can be resumed from anywhere; a known name, or a wrong one, as it is."
    from dcacn_nb.data.sources import SOURCES

    folder = Path(source).expanduser()
    return str(folder.absolute()) if source not in SOURCES and folder.exists() else source


class OnError(str, Enum):
    "What to do about files that cannot be read."

    skip = "skip"
    error = "raise"


Unreadable = Annotated[OnError, typer.Option("--on-error", help="Files that cannot be read: skip them, or stop.")]


def open_source(
    source: str,  # known name or folder
    *,
    extra: bool = True,  # keep the further unlabelled images of a source that has them
    labels: bool = True,  # whether labels score; reading takes no notice of this
    then: "dict | None" = None,  # what the end of the run leads to; nor of this
    **reading,  # root, split, download, limit, image_size, channels, on_error, seed: for load_images
):  # ImageSet
    "The images of a source; a limit applies to its unlabelled images too, so that a small try stays small."
    from dcacn_nb.data.image_set import load_images

    with checking():
        images = load_images(source, progress=sys.stderr.isatty(), **reading)
        if not extra:
            images.extra = None
        if images.extra is not None and reading.get("limit"):
            images.extra = load_images(images.extra, limit=reading["limit"], seed=reading["seed"])
    return images


def _program() -> str:
    "What to type for `dcacn` here: with its folder where that is not on the PATH, as after `make demo`."
    called, found = Path(sys.argv[0]), shutil.which("dcacn")
    return (
        "dcacn"
        if called.stem != "dcacn" or (found and called.exists() and called.samefile(found))
        else shlex.quote(str(called))
    )


def interrupted(
    run_dir: Path,  # the run that Ctrl-C came to
    kept: str,  # what of it is saved, in words
) -> typer.Exit:  # to be raised
    "Say how to go on after Ctrl-C, to a person or to a machine."
    go_on = f"{_program()} resume {shlex.quote(str(run_dir))}"
    complain(f"Stopped; {kept}. Go on with:\n  {go_on}")
    answer({"status": "interrupted", "run_dir": run_dir, "go_on": go_on})
    return typer.Exit(130)


def new_run_dir(run_dir: "Path | None", name: str, seed: int) -> Path:
    "The folder asked for, which must hold no run, or the first free one of runs/NAME-SEED-N."
    if run_dir is None:
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(name).resolve().name) or "images"
        run_dir = next(p for n in range(1, 10**6) if not (p := Path("runs") / f"{stem}-{seed}-{n}").exists())
    if (run_dir / "config.json").exists():
        raise BadInput(
            f"{run_dir} already holds a run; go on with it: {_program()} resume {shlex.quote(str(run_dir))}, or give another --run-dir"
        )
    if run_dir.exists() and not run_dir.is_dir():
        raise BadInput(f"--run-dir {run_dir} is a file; give a folder")
    return run_dir


def remembered(run_dir: Path) -> dict:
    "How the images of a run were read, whether labels score, and what its end leads to: what `open_source` takes."
    with checking():
        if not (run_dir / "config.json").exists():
            raise ValueError(f"{run_dir} holds no run (no config.json in it); give the folder that `dcacn fit` named")
        if (run_dir / "source.json").exists():
            return json.loads((run_dir / "source.json").read_text())
        about = json.loads((run_dir / "config.json").read_text())
        protocol = about["protocol"]
        source = protocol.get("source", "array")
        if source == "array":
            raise ValueError(
                f"{run_dir} was trained on an array in memory, which this command cannot read again; "
                "go on in Python: fit(images, config, run_dir=..., resume=True)"
            )
        size = about["config"]["image_size"] if protocol.get("resize", "none").endswith("(as asked)") else None
        return {
            "source": source,
            "split": protocol.get("split", "all"),
            "limit": protocol.get("limit"),
            "seed": protocol.get("seed") or 0,
            "image_size": size,
            "channels": about["config"]["channels"],
            "on_error": "skip" if protocol.get("skipped") else "raise",
            "labels": True,
        }


def configure(
    images,  # ImageSet
    clusters: "int | None",  # None: as many as there are classes
    labels: bool,  # whether labels may be looked at to count them
    preset: str,  # "default" or "paper"
    upright: "bool | None",  # images that must not be mirrored; None: decided by the preset
    changes: dict,  # field of TrainConfig -> value
):  # TrainConfig
    "The settings of a run; the number of clusters falls back on that of the classes."
    from dcacn_nb.fitting import settings_for

    with checking():
        if clusters is None and "n_clusters" not in changes:
            if images.labels is None or not labels:
                raise ValueError(
                    "the images have no labels to count classes by; give the number of clusters, e.g. -k 10"
                )
            clusters = len(set(images.labels.tolist()))
        clusters = changes.pop("n_clusters", clusters)
        return settings_for(images, clusters, preset, upright, **changes)


def run_training(
    images, config, run_dir: Path, reading: dict, resume: bool = False, method: str = "dcacn", **method_options
):
    "Train in the foreground with a progress bar; Ctrl-C saves, says how to go on, and leaves with 130."
    from dcacn_nb.baselines import find_method
    from dcacn_nb.core.files import atomic_write
    from dcacn_nb.fitting import fit
    from dcacn_nb.runs.progress import ProgressBar

    with checking(RuntimeError):  # a folder that is in use
        run = fit(
            images,
            config,
            labels=images.labels if reading["labels"] else None,
            run_dir=run_dir,
            resume=resume,
            start=False,
            method=find_method(method, **method_options),
            observers=[ProgressBar(plain=not sys.stderr.isatty())],
        )
        if not resume or reading.get("then"):  # a place for sorted copies may have come with the resume
            atomic_write(run_dir / "source.json", json.dumps(reading, indent=1).encode())
    say(
        f"{len(images):,} images, {config.n_clusters} clusters, {config.epochs} epoch{'s' * (config.epochs > 1)}; "
        + (f"going on from step {run.state.step}" if resume else f"the run is kept in {run_dir}")
    )
    try:
        return run.drive()
    except KeyboardInterrupt:
        kept = (
            "everything so far is saved" if run.error is None else "what came after its last checkpoint is lost"
        )  # Ctrl-C, twice
        raise interrupted(run_dir, kept) from None


def in_words(
    run_dir: Path,  # a run folder
) -> "list[str]":  # one sentence each
    "The report's plain sentences on a run's health."
    from dcacn_nb.report.diagnosis import diagnose
    from dcacn_nb.runs.log import read_events

    return diagnose(read_events(run_dir, arrays=False))


def report_files(
    run_dir: Path,  # a run folder
) -> "list[Path]":  # one, or none if it could not be written
    "The report that a run left."
    return [path for path in [run_dir / "report.html"] if path.is_file()]


def summarise(run, images, run_dir: Path) -> dict:
    "Print how a run went, for people, and return the same as a dictionary."
    import numpy as np

    sizes = np.bincount(run.assignments, minlength=run.config.n_clusters).tolist()
    files, words = report_files(run_dir), in_words(run_dir)
    say(f"{len(images):,} images in {run.config.n_clusters} clusters of sizes {', '.join(map(str, sizes))}")
    if run.scores:
        say(
            "ACC {acc:.3f}  NMI {nmi:.3f}  ARI {ari:.3f}  (labels were used for these scores alone, never in training)".format(
                **run.scores
            )
        )
    for line in words:
        say(line)
    say(f"Run folder: {run_dir}")
    for path in files:
        say(f"Report: {path}")
    return {
        "status": run.status,
        "run_dir": run_dir,
        "n_images": len(images),
        "cluster_sizes": sizes,
        "scores": run.scores,
        "health": run.health,
        "diagnosis": words,
        "reports": files,
    }


def write_clusters(path: Path, names: "list[str]", probabilities) -> None:
    "A CSV file of path, cluster, confidence."
    import csv
    import io

    from dcacn_nb.core.files import atomic_write

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "cluster", "confidence"])
    for name, row in zip(names, probabilities):
        writer.writerow([name, int(row.argmax()), f"{float(row.max()):.4f}"])
    try:
        # file names that are no text in this machine's encoding keep their bytes
        atomic_write(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}); give another place for the table of clusters"
        ) from error


def sort_images(images, clusters, root: Path, target: Path) -> None:
    "Copy every image into target/cluster_K, with the sub-folders it had; target, which must not exist, appears when all are copied."
    if target.exists():
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{target.name}-", suffix=".part", dir=target.parent
    ) as part:  # removed whatever happens, but a kill
        for name, cluster in zip(images.paths, clusters):
            place = Path(part) / "all" / f"cluster_{cluster}" / os.path.relpath(name, root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, place)
        (Path(part) / "all").rename(target)


def leave_clusters(
    run,  # a finished run
    images,  # the ImageSet it was trained on
    run_dir: Path,  # where clusters.csv goes
    sort_into: "Path | None" = None,  # new folder for sorted copies
) -> dict:  # what was written, by kind
    "The table of clusters for images that are files, and copies sorted by cluster."
    if images.paths is None:
        return {}
    table = run_dir / "clusters.csv"
    write_clusters(table, images.paths, run.probabilities.numpy())
    say(f"Clusters: {table}")
    if sort_into is None:
        return {"clusters": table}
    try:
        sort_images(
            images, run.assignments, Path(os.path.commonpath([os.path.dirname(p) for p in images.paths])), sort_into
        )
    except OSError as error:  # the run itself is done
        complain(
            f"No sorted copies: {error.filename or sort_into}: {error.strerror}; to another place: {_program()} resume {shlex.quote(str(run_dir))} --sort-into NEW"
        )
        return {"clusters": table}
    say(f"Sorted copies: {sort_into}")
    empty = sorted(set(range(run.config.n_clusters)) - set(map(int, run.assignments)))
    if empty:
        say(
            f"No folder for {len(empty)} of {run.config.n_clusters} clusters, which hold no image: {', '.join(map(str, empty))}"
        )
    return {"clusters": table, "sorted": sort_into}


def network_of(
    run_dir: Path,  # a run folder
    which: str,  # "last" or "best"
):  # ClusterNet on the best device at hand, TrainConfig
    "A run's network, and its settings."
    from dcacn_nb.core.devices import pick_device
    from dcacn_nb.runs.folder import load_run

    with checking():
        if not run_dir.is_dir():
            raise ValueError(f"{run_dir} is no folder; give the folder that `dcacn fit` named")
        model, config = load_run(run_dir, which)
    return model.to(pick_device("auto")), config


def trained_shape(
    run_dir: Path,  # a run folder
    config,  # its settings
) -> "tuple[int, int, int]":  # (C,H,W)
    "The shape of the images that a run was trained on."
    protocol = (
        json.loads((run_dir / "config.json").read_text())["protocol"] if (run_dir / "config.json").exists() else {}
    )
    height, width = protocol.get("image_size", [config.image_size] * 2)
    return config.channels, height, width


def measure_baselines(
    images,  # (N,C,H,W) uint8 tensor
    labels,  # (N,) to score with
    n_clusters: int,  # K
    seed: int,  # of K-Means and UMAP
) -> "list[dict]":  # name, seconds, scores (None if it could not be run) and a note
    "K-Means on pixels, and UMAP + K-Means, with their scores and seconds on this machine."
    from sklearn.cluster import KMeans

    from dcacn_nb.method.metrics import evaluate_clustering

    pixels, rows = images.numpy().reshape(len(images), -1) / 255.0, []

    def measure(name: str, prepare: Callable) -> None:
        started = time.perf_counter()
        clusters = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(prepare(pixels))
        seconds = time.perf_counter() - started
        rows.append(
            {"name": name, "seconds": seconds, "scores": evaluate_clustering(labels, clusters).as_dict(), "note": ""}
        )

    measure("K-Means on pixels", lambda x: x)
    try:
        from umap import UMAP
    except ImportError:
        rows.append(
            {"name": "UMAP + K-Means", "seconds": None, "scores": None, "note": "not installed: pip install umap-learn"}
        )
        return rows
    measure(
        "UMAP + K-Means",
        UMAP(
            n_components=n_clusters, n_neighbors=min(15, len(pixels) - 1), min_dist=0.0, random_state=seed, n_jobs=1
        ).fit_transform,
    )
    return rows
