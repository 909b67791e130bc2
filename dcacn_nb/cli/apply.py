"""Commands that use a trained network: evaluate, predict, report."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, checking, guarded, say
from dcacn_nb.cli.reading import network_of, open_source, remembered
from dcacn_nb.cli.results import in_words, report_files, sizes_in_words, write_clusters


@guarded
def evaluate(
    run_dir: o.RunDir,
    which: o.Weights = o.Which.last,
    source: o.OtherSource = None,
    on_error: o.OtherUnreadable = None,
    root: o.OtherRoot = None,
    as_json: o.AsJson = False,
) -> None:
    "Assign images with a trained network, and score them if they have labels."
    model, config = network_of(run_dir, which.value)
    from dcacn_nb.method.metrics import assignment_health, evaluate_clustering
    from dcacn_nb.method.step import encode
    from dcacn_nb.runs.folder import trained_shape

    reading: dict = {"extra": False, "channels": config.channels}
    reading |= {"root": str(root)} if root else {}
    reading |= {"on_error": on_error.value} if on_error else {}
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
    scored = {"scores": scores and scores.as_dict(), "health": health}
    answer({"run_dir": run_dir, "which": which.value, "n_images": len(images)} | scored)


@guarded
def predict(
    run_dir: o.RunDir,
    folder: Annotated[Path, typer.Argument(help="Folder of images.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="CSV file to write: path, cluster, confidence.")
    ] = Path("clusters.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    which: o.Weights = o.Which.last,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Assign the images of a folder to a trained network's clusters."
    _check_paths(run_dir, folder, output, overwrite)
    model, config = network_of(run_dir, which.value)
    from dcacn_nb.data.loading import load_like
    from dcacn_nb.method.step import encode
    from dcacn_nb.runs.folder import trained_shape

    with checking():
        shape, progress = trained_shape(run_dir, config), sys.stderr.isatty()
        images = load_like(folder.absolute(), shape, on_error=on_error.value, progress=progress)
    p = encode(model, images.images, config).numpy()
    write_clusters(output, images.paths, p)
    sizes = [int((p.argmax(1) == k).sum()) for k in range(config.n_clusters)]
    say(sizes_in_words(sizes))
    say(f"Clusters: {output}")
    answer({"output": output, "n_images": len(images), "cluster_sizes": sizes, "skipped": images.protocol["skipped"]})


def _check_paths(run_dir: Path, folder: Path, output: Path, overwrite: bool) -> None:
    "Refuse wrong paths of `predict` before anything is loaded."
    if not run_dir.is_dir():
        raise BadInput(f"{run_dir} is not a folder; give the folder that `dcacn fit` named")
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; give a folder of images")
    if output.is_dir():
        raise BadInput(f"--output {output} is a folder; give the CSV file to write")
    if output.exists() and not overwrite:
        raise BadInput(f"--output {output} exists already; give another file, or --overwrite")


@guarded
def report(run_dir: o.RunDir, as_json: o.AsJson = False) -> None:
    "Write the report of a run again, from its log."
    if not (run_dir / "events.jsonl").exists():
        raise BadInput(f"{run_dir} holds no run log (events.jsonl); give the folder that `dcacn fit` named")
    from dcacn_nb.report.page import write_report

    with checking():
        write_report(run_dir)
    words, files = in_words(run_dir), report_files(run_dir)
    for line in [*words, *(f"Report: {path}" for path in files)]:
        say(line)
    answer({"run_dir": run_dir, "diagnosis": words, "reports": files})
