"""`dcacn fit FOLDER -k 10`: cluster images, resume, score, sort new ones, and read the report, without writing a line of Python."""

import json
import logging
import os
import sys
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dcacn_nb.cli.grids import ablate, compare
from dcacn_nb.cli.output import answer, checking, complain, guarded, options, rows_table, say
from dcacn_nb.cli.runs import (
    OnError,
    Unreadable,
    check_settings,
    configure,
    in_words,
    interrupted,
    leave_clusters,
    measure_baselines,
    network_of,
    new_run_dir,
    open_source,
    parse_settings,
    remembered,
    report_files,
    run_training,
    summarise,
    trained_shape,
    whole_path,
    write_clusters,
)


class Group(typer.core.TyperGroup):
    "A group of commands that understands `--debug` anywhere on the line."

    def parse_args(self, ctx, args: "list[str]"):
        "Move `--debug` to the front, where it belongs to the program and not to a command."
        rest = [arg for arg in args if arg != "--debug"]
        return super().parse_args(ctx, ["--debug"] * (len(rest) < len(args)) + rest)


class Preset(str, Enum):
    "The names of the presets."

    default = "default"
    paper = "paper"


class Which(str, Enum):
    "Which of a run's networks."

    last = "last"
    best = "best"


RunDir = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, everything else on standard error.")
]
Root = Annotated[Path, typer.Option(help="Folder of the known sources.")]
Seed = Annotated[int, typer.Option(help="All random draws are a function of it.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the images (default: the preset's).", show_default=False)]
NewRunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", help="New folder for the run (default: runs/SOURCE-SEED-N).", show_default=False),
]
Limit = Annotated[int | None, typer.Option(help="Use a random subset of this many images.", show_default=False)]
Weights = Annotated[Which, typer.Option("--which", help="The last network, or the best one by the label-free score.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any field of TrainConfig; repeatable.", show_default=False),
]

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Deep image clustering: decoupled contrastive learning with multi-crop views and attention.",
)
data_app = typer.Typer(no_args_is_help=True, help="The data sets known by name: list, download, verify.")
app.add_typer(data_app, name="data")


def _version(wanted: bool) -> None:
    "Print the version and leave."
    if wanted:
        from dcacn_nb import __version__

        say(f"dcacn_nb {__version__}")
        raise typer.Exit()


@app.callback()
def start(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    "Deep image clustering: decoupled contrastive learning with multi-crop views and attention."
    options.debug, options.json = debug, False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger("dcacn_nb").handlers[:] = [handler]  # not the root: other libraries talk too much


@app.command()
@guarded
def fit(
    source: Annotated[
        str, typer.Argument(help="A known source (see: dcacn data list) or a folder of images.", show_default=False)
    ],
    clusters: Annotated[
        int | None,
        typer.Option(
            "--clusters",
            "-k",
            help="Number of clusters (default: the number of classes, if the source has labels).",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="dcacn, or a baseline: kmeans, ae, dec, dcec, iic, pica, simclr, cc, ...")
    ] = "dcacn",
    preset: Annotated[Preset, typer.Option(help="One rule for all images, or the paper's settings.")] = Preset.default,
    epochs: Epochs = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step (default: the preset's).", show_default=False)
    ] = None,
    seed: Seed = 0,
    run_dir: NewRunDir = None,
    root: Root = Path("data"),
    split: Annotated[str, typer.Option(help="all, train or test (known sources).")] = "all",
    limit: Limit = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side to bring the images to, pixels.", show_default=False)
    ] = None,
    upright: Annotated[
        bool | None,
        typer.Option(
            "--upright/--mirror", help="Images that must not be mirrored (digits, clothes, text).", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    amp: Annotated[str | None, typer.Option(help="auto, bf16 or off.", show_default=False)] = None,
    backbone: Annotated[str | None, typer.Option(help="resnet18, resnet34 or resnet50.", show_default=False)] = None,
    width: Annotated[int | None, typer.Option(help="Channels of the first stage.", show_default=False)] = None,
    attention: Annotated[
        bool | None, typer.Option("--attention/--no-attention", help="CBAM in every block.", show_default=False)
    ] = None,
    settings: Settings = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch a known source that is not there.")] = False,
    on_error: Unreadable = OnError.error,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Score with the source's labels.")] = True,
    extra: Annotated[
        bool, typer.Option("--extra/--no-extra", help="Use the unlabelled images of a source that has them (STL-10).")
    ] = True,
    sort_into: Annotated[
        Path | None, typer.Option(help="New folder: copy the images there, a folder a cluster.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    "Cluster the images of a known source or of a folder."
    options.json = as_json
    run_dir = new_run_dir(run_dir, source, seed)
    named = {
        "epochs": epochs,
        "batch_size": batch_size,
        "amp": amp,
        "backbone": backbone,
        "width": width,
        "attention": attention,
    }
    changes = {"seed": seed, "device": device} | {name: value for name, value in named.items() if value is not None}
    with checking():
        check_settings(changes := changes | parse_settings(settings or []), clusters, method)
        then = _then(sort_into, source, run_dir)
    reading = {
        "source": whole_path(source),
        "root": str(root.expanduser().resolve()),
        "split": split,
        "limit": limit,
        "image_size": image_size,
        "on_error": on_error.value,
        "seed": seed,
        "extra": extra,
        "labels": labels,
        "then": then,
    }
    images = open_source(**reading, download=download)
    _check_files(images, then)
    config = configure(images, clusters, labels, preset.value, upright, changes)
    run = run_training(images, config, run_dir, reading, method=method)
    _finish(run, images, run_dir, then)


def _then(sort_into: "Path | None", source: str, run_dir: Path) -> dict:
    "What the end of a run leads to, as it is kept in the run's folder: copies sorted by cluster."
    if sort_into is None:
        return {}
    place = sort_into.expanduser().resolve()
    if place.exists():
        raise ValueError(f"--sort-into {sort_into} exists already; give a new folder")
    if place == run_dir.resolve() or Path(source).expanduser().resolve() in place.parents:
        raise ValueError(
            f"--sort-into {sort_into} lies among the images or is the run's own folder; give a folder elsewhere"
        )
    existing = next(parent for parent in place.parents if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise ValueError(f"--sort-into {sort_into} cannot be made: {existing} is no folder that can be written to")
    return {"sort_into": str(place)}


def _check_files(images, then: dict) -> None:
    "Only files can be copied."
    with checking():
        if "sort_into" in then and images.paths is None:
            raise ValueError("--sort-into is for folders of images, and these images are no files; leave it out")


def _finish(run, images, run_dir: Path, then: dict, seconds: "float | None" = None) -> None:
    "What the end of a run leads to: a summary, a table of clusters, sorted copies; for the demo, other methods' scores."
    try:
        result = summarise(run, images, run_dir)
        if "baselines" in then:
            rows = [
                {
                    "name": "DCACN",
                    "seconds": seconds,
                    "scores": run.scores,
                    "note": "resumed" if seconds is None else "",
                }
            ]
            if then["baselines"]:
                complain("Measuring the baselines ...")
                rows += measure_baselines(images.images, images.labels, run.config.n_clusters, run.config.seed)
            say(_demo_table(rows, len(images), run.config.seed))
            result["methods"] = rows
        answer(result | leave_clusters(run, images, run_dir, Path(then["sort_into"]) if "sort_into" in then else None))
    except KeyboardInterrupt:
        raise interrupted(run_dir, "the training is done and saved, what follows it is not") from None


@app.command()
@guarded
def resume(
    run_dir: RunDir,
    device: Annotated[
        str | None, typer.Option(help="Another device than the run was started on.", show_default=False)
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the known sources are now, if they were moved.", show_default=False)
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(help="New folder for sorted copies (default: as when the run was started).", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    "Go on with a run that was interrupted or killed, from its last checkpoint, and with what was asked for at its end."
    from dcacn_nb.method.config import from_dict

    options.json = as_json
    reading = remembered(run_dir)
    with checking():
        reading["then"] = reading.get("then", {}) | _then(sort_into, reading["source"], run_dir)
    images = open_source(**(reading | ({"root": str(root)} if root else {})))
    _check_files(images, reading["then"])
    with checking():
        about = json.loads((run_dir / "config.json").read_text())
        config = from_dict(about["config"] | ({"device": device} if device else {}))
    run = run_training(
        images, config, run_dir, reading, resume=True, method=about["method"], **about.get("options", {})
    )
    _finish(run, images, run_dir, reading["then"])


@app.command()
@guarded
def evaluate(
    run_dir: RunDir,
    which: Weights = Which.last,
    source: Annotated[
        str | None,
        typer.Option(help="Other images than those trained on: a known source or a folder.", show_default=False),
    ] = None,
    on_error: Annotated[
        OnError | None,
        typer.Option(
            help="Files that cannot be read: skip them, or stop (default: as in training; stop for other images).",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the known sources are (default: as in training).", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    "Assign images with a trained network, and score them if they have labels."
    from dcacn_nb.method.metrics import assignment_health, evaluate_clustering
    from dcacn_nb.method.step import encode

    options.json = as_json
    model, config = network_of(run_dir, which.value)
    reading = (
        {"extra": False, "channels": config.channels}
        | ({"root": str(root)} if root else {})
        | ({"on_error": on_error.value} if on_error else {})
    )
    if source is None:
        images = open_source(**(remembered(run_dir) | reading))
    else:
        images = open_source(source, **reading, image_size=trained_shape(run_dir, config)[1])
    p = encode(model, images.images, config).numpy()
    health = assignment_health(p)
    scores = None if images.labels is None else evaluate_clustering(images.labels, p.argmax(1))
    say(f"{len(images):,} images, {which.value} network of {run_dir}")
    say(scores.summary() if scores else "no labels, so no scores")
    say("share of images by cluster: " + ", ".join(f"{share:.3f}" for share in health["cluster_share"]))
    answer(
        {
            "run_dir": run_dir,
            "which": which.value,
            "n_images": len(images),
            "scores": scores and scores.as_dict(),
            "health": health,
        }
    )


@app.command()
@guarded
def predict(
    run_dir: RunDir,
    folder: Annotated[Path, typer.Argument(help="Folder of images.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="CSV file to write: path, cluster, confidence.")
    ] = Path("clusters.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a file of that name.")] = False,
    which: Weights = Which.last,
    on_error: Unreadable = OnError.error,
    as_json: AsJson = False,
) -> None:
    "Assign the images of a folder to a trained network's clusters."
    from dcacn_nb.data.image_set import load_like
    from dcacn_nb.method.step import encode

    options.json = as_json
    model, config = network_of(run_dir, which.value)
    with checking():
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder; give a folder of images")
        if output.is_dir():
            raise ValueError(f"--output {output} is a folder; give the CSV file to write")
        if output.exists() and not overwrite:
            raise ValueError(f"--output {output} exists already; give another file, or --overwrite")
        images = load_like(
            folder.absolute(), trained_shape(run_dir, config), on_error=on_error.value, progress=sys.stderr.isatty()
        )
    p = encode(model, images.images, config).numpy()
    write_clusters(output, images.paths, p)
    sizes = [int((p.argmax(1) == k).sum()) for k in range(config.n_clusters)]
    say(f"{len(images):,} images in {config.n_clusters} clusters of sizes {', '.join(map(str, sizes))}")
    say(f"Clusters: {output}")
    answer({"output": output, "n_images": len(images), "cluster_sizes": sizes, "skipped": images.protocol["skipped"]})


@app.command()
@guarded
def report(run_dir: RunDir, as_json: AsJson = False) -> None:
    "Write the report of a run again, from its log."
    from dcacn_nb.report.page import write_report

    options.json = as_json
    with checking():
        if not (run_dir / "events.jsonl").exists():
            raise ValueError(f"{run_dir} holds no run log (events.jsonl); give the folder that `dcacn fit` named")
        write_report(run_dir)
    words = in_words(run_dir)
    for line in [*words, *(f"Report: {path}" for path in report_files(run_dir))]:
        say(line)
    answer({"run_dir": run_dir, "diagnosis": words, "reports": report_files(run_dir)})


@app.command()
@guarded
def demo(
    epochs: Epochs = None,
    seed: Seed = 0,
    run_dir: NewRunDir = None,
    limit: Limit = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Measure K-Means and UMAP + K-Means too.")
    ] = True,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    "Cluster scikit-learn's handwritten digits, and compare with two baselines measured in the same run."
    options.json = as_json
    run_dir = new_run_dir(run_dir, "demo", seed)
    reading = {
        "source": "digits",
        "limit": limit,
        "seed": seed,
        "extra": False,
        "labels": True,
        "then": {"baselines": baselines},
    }
    with checking():
        check_settings(
            changes := {"seed": seed}
            | ({"epochs": epochs} if epochs is not None else {})
            | parse_settings(settings or [])
        )
    images = open_source(**reading)
    config = configure(images, None, True, "default", None, changes)
    say("Handwritten digits, clustered without their labels.")
    started = time.perf_counter()
    run = run_training(images, config, run_dir, reading)
    _finish(run, images, run_dir, reading["then"], time.perf_counter() - started)


def _demo_table(rows: "list[dict]", n_images: int, seed: int) -> Table:
    "The methods side by side."
    table = Table(title=f"{n_images:,} digits, one run each, seed {seed}, on this machine; no method saw a label")
    for column in ("method", "ACC", "NMI", "ARI", "seconds"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        scores = [f"{row['scores'][name]:.3f}" for name in ("acc", "nmi", "ari")] if row["scores"] else ["-"] * 3
        table.add_row(
            f"{row['name']} ({row['note']})" if row["note"] else row["name"],
            *scores,
            f"{row['seconds']:.1f}" if row["seconds"] is not None else "-",
        )
    return table


for command in (compare, ablate):
    app.command()(command)


@data_app.command("list")
@guarded
def list_sources(as_json: AsJson = False) -> None:
    "The data sets that `dcacn fit` knows by name."
    from dcacn_nb.data.sources import known_sources

    options.json = as_json
    rows = known_sources()
    people = [row | {"how": row["how"].replace("download=True", f"dcacn data download {row['name']}")} for row in rows]
    say(
        rows_table(
            people,
            name="name",
            images="images",
            classes="classes",
            px="px",
            how="how to get it",
            licence="licence, source",
        )
    )
    answer({"sources": rows})


@data_app.command()
@guarded
def download(
    source: Annotated[str, typer.Argument(help="A known source.", show_default=False)],
    root: Root = Path("data"),
    as_json: AsJson = False,
) -> None:
    "Fetch a known source; what is there already is not fetched again."
    from dcacn_nb.core.checks import check_in
    from dcacn_nb.data.image_set import load_images
    from dcacn_nb.data.sources import SOURCES, SYNSETS

    options.json = as_json
    with checking():
        check_in("source", source, list(SOURCES))
        if source in SYNSETS:
            raise ValueError(f"{source} cannot be downloaded: {SOURCES[source][-1]}")
    images = load_images(source, root=root, download=True)
    say(repr(images))
    answer({"source": source, "root": root, "n_images": len(images), "protocol": images.protocol})


@data_app.command()
@guarded
def verify(
    source: Annotated[str, typer.Argument(help="A known source or a folder of images.", show_default=False)],
    root: Root = Path("data"),
    as_json: AsJson = False,
) -> None:
    "What is there of a source, file by file; exit code 1 if something is missing or damaged."
    from dcacn_nb.data.sources import verify as look

    options.json = as_json
    with checking():
        rows = look(source, root)
    bad = [row["name"] for row in rows if row["status"] in ("missing", "damaged")]
    say(rows_table(rows, name="file or class", status="status"))
    answer({"source": source, "complete": not bad, "files": rows})
    if bad:
        raise typer.Exit(1)
