"""Commands that use a trained network: evaluate, predict, report."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, checking, guarded, refuse_idle, say
from dcacn_nb.cli.reading import check_options, check_source, network_of, of_run, open_source
from dcacn_nb.cli.results import (
    explained,
    in_words,
    list_unread,
    report_files,
    sizes_in_words,
    unread_place,
    write_clusters,
)
from dcacn_nb.cli.which import say_changes
from dcacn_nb.core.downloads import no_downloads


@guarded
def evaluate(
    run_dir: o.RunDir,
    which: o.Weights = o.Which.last,
    source: o.OtherSource = None,
    encoder_weights: o.MovedWeights = None,
    on_error: o.OtherUnreadable = None,
    root: o.OtherRoot = None,
    as_json: o.AsJson = False,
) -> None:
    "Assign images with a trained network, and score them if they have labels."
    if source is not None:
        check_source(source)
        check_options(source)
    known = None if source is not None else of_run(run_dir, None, encoder_weights)
    model, config = network_of(run_dir, which.value)
    from dcacn_nb.data.feature_set import training_tensor
    from dcacn_nb.method.metrics import assignment_health, evaluate_clustering
    from dcacn_nb.method.step import encode
    from dcacn_nb.runs.inputs import check_input, encoder_source, trained_input

    about = trained_input(run_dir, config)
    reading: dict = {"extra": False} | ({} if "dim" in about else {"channels": config.channels})
    reading |= {"root": str(root)} if root else {}
    reading |= {"on_error": on_error.value} if on_error else {}
    if not about["encoder"]:
        refuse_idle(f"features by an encoder, and {run_dir} was not trained on such", "encoder_weights")
    if known is not None:
        check_options(known["source"])
        images = open_source(**(known | reading))
    elif about["encoder"]:
        name, file = encoder_source(about["encoder"])
        images = open_source(source, encoder=name, encoder_weights=encoder_weights or file, fetch=False, **reading)
    else:
        images = open_source(source, **reading, image_size=about["shape"][1] if "shape" in about else None)
    with checking():
        check_input(images, about)
    changed = say_changes(images, run_dir, others=source is not None)
    p = encode(model, training_tensor(images), config).numpy()
    health = assignment_health(p)
    scores = None if images.labels is None else evaluate_clustering(images.labels, p.argmax(1))
    from dcacn_nb.data.unread import unread_in_words

    say(f"{len(images):,} images, {which.value} network of {run_dir}")
    for line in unread_in_words(images.protocol, len(images)):
        say(line)
    say(scores.summary() if scores else "no labels, so no scores")
    say("share of images by cluster: " + ", ".join(f"{share:.3f}" for share in health["cluster_share"]))
    scored = {"scores": scores and scores.as_dict(), "health": health, "pictures_changed": changed}
    scored["skipped"] = images.protocol["skipped"]
    answer({"run_dir": run_dir, "which": which.value, "n_images": len(images)} | scored)


@guarded
def predict(
    run_dir: o.RunDir,
    folder: Annotated[Path, typer.Argument(parser=o.path, help="Folder of images, or one image.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", parser=o.new_file, help="CSV file to write: path, cluster, confidence.")
    ] = Path("clusters.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    which: o.Weights = o.Which.last,
    encoder_weights: o.MovedWeights = None,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Assign the images of a folder, or one image, to a trained network's clusters."
    _check_paths(run_dir, folder, output, overwrite)
    model, config = network_of(run_dir, which.value)
    from dcacn_nb.data.feature_set import training_tensor
    from dcacn_nb.method.step import encode
    from dcacn_nb.runs.inputs import read_like, trained_input

    with checking(), no_downloads():
        options = {"on_error": on_error.value, "progress": sys.stderr.isatty(), "weights": encoder_weights}
        images = read_like(folder.absolute(), trained_input(run_dir, config), **options)
    p = encode(model, training_tensor(images), config).numpy()
    names = images.paths or [str(i) for i in range(len(p))]  # features of unknown images have numbers
    write_clusters(output, names, p)
    sizes = [int((p.argmax(1) == k).sum()) for k in range(config.n_clusters)]
    say(_of_one(names[0], p[0]) if len(p) == 1 else sizes_in_words(sizes))
    say(f"Clusters: {output}")
    found = {"output": output, "n_images": len(images), "cluster_sizes": sizes}
    answer(found | list_unread(images, output))


def _of_one(path: str, p) -> str:
    "Where a single image belongs, in a sentence."
    best = int(p.argmax())
    return f"{Path(path).name} belongs to cluster {best}, with a probability of {p[best]:.2f}"


def _check_paths(run_dir: Path, folder: Path, output: Path, overwrite: bool) -> None:
    "Refuse wrong paths of `predict` before anything is loaded."
    if not run_dir.is_dir():
        raise BadInput(f"{run_dir} is not a folder; give the folder that `dcacn fit` named")
    if not folder.exists():
        raise BadInput(f"{folder} does not exist; give a folder of images, or one image")
    if output.is_dir():
        raise BadInput(f"--output {output} is a folder; give the CSV file to write")
    if output.suffix.lower() != ".csv":
        raise BadInput(f"--output {output} must end in .csv")
    if output.resolve() == folder.resolve():
        raise BadInput(f"--output {output} is the image to assign; give another file")
    for path in (output, unread_place(output)):
        if path.exists() and not overwrite:
            raise BadInput(f"--output {output}: {path} exists already; give another file, or --overwrite")


@guarded
def report(run_dir: o.RunDir, as_json: o.AsJson = False) -> None:
    "Write the report of a run again, from its log."
    if not (run_dir / "events.jsonl").exists():
        raise BadInput(f"{run_dir} holds no run log (events.jsonl); give the folder that `dcacn fit` named")
    from dcacn_nb.report.page import write_report

    with checking():
        write_report(run_dir)
    words, files = in_words(run_dir), report_files(run_dir)
    for line in [*words, *explained(words), *(f"Report: {path}" for path in files)]:
        say(line)
    answer({"run_dir": run_dir, "diagnosis": words, "reports": files})
