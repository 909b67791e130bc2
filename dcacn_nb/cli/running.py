"""A run in the foreground that Ctrl-C ends well: its folder, its settings, its training, and what follows it."""

import json
import os
import sys
from pathlib import Path

import typer

from dcacn_nb.cli.baselines import comparison
from dcacn_nb.cli.output import BadInput, answer, checking, complain, resume_command, say
from dcacn_nb.cli.reading import count_classes
from dcacn_nb.cli.results import leave_clusters, summarise


def new_run_dir(
    run_dir: "Path | None",  # --run-dir
    name: str,  # of the images: part of the folder's name if none was given
    seed: int,
) -> Path:
    "The folder asked for, which must hold no run, or the first free one of runs/NAME-SEED-N."
    if run_dir is None:
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(name).resolve().name) or "images"
        run_dir = next(p for n in range(1, 10**6) if not (p := Path("runs") / f"{stem}-{seed}-{n}").exists())
    if (run_dir / "config.json").exists():
        raise BadInput(
            f"{run_dir} already holds a run; resume it: {resume_command(run_dir)}, or give another --run-dir"
        )
    if run_dir.exists() and not run_dir.is_dir():
        raise BadInput(f"--run-dir {run_dir} is a file; give a folder")
    return run_dir


def check_sort_into(
    sort_into: "Path | None",  # --sort-into
    source: str,  # the images
    run_dir: Path,
) -> dict:  # what follows the run, as its folder keeps it
    "The place for sorted copies, which must be new, and neither among the images nor the run's own folder."
    if sort_into is None:
        return {}
    with checking():
        place = sort_into.expanduser().resolve()
        if place.exists():
            raise BadInput(f"--sort-into {sort_into} exists already; give a new folder")
        if place == run_dir.resolve() or Path(source).expanduser().resolve() in place.parents:
            raise BadInput(
                f"--sort-into {sort_into} is among the images or is the run's own folder; give a folder elsewhere"
            )
        existing = next(parent for parent in place.parents if parent.exists())
        if not (existing.is_dir() and os.access(existing, os.W_OK)):
            raise BadInput(
                f"--sort-into {sort_into} cannot be created: {existing} is not a folder that can be written to"
            )
    return {"sort_into": str(place)}


def check_files(
    images,  # ImageSet
    then: dict,  # what follows the run
) -> None:
    "Only files can be copied."
    if "sort_into" in then and images.paths is None:
        raise BadInput("--sort-into is for folders of images, and these images are not files; leave it out")


def configure(
    images,  # ImageSet
    clusters: "int | None",  # None: as many as there are classes
    labels: bool,  # whether labels may be used to count classes
    preset: str,  # "default" or "paper"
    upright: "bool | None",  # images that must not be mirrored; None: decided by the preset
    changes: dict,  # field of TrainConfig -> value
):  # TrainConfig
    "The settings of a run; the default number of clusters is that of the classes."
    from dcacn_nb.fitting import settings_for

    with checking():
        changes = dict(changes)
        if clusters is None and "n_clusters" not in changes:
            clusters = count_classes(images, labels)
        clusters = changes.pop("n_clusters", clusters)
        return settings_for(images, clusters, preset, upright, **changes)


def run_training(
    images,  # ImageSet
    config,  # TrainConfig
    run_dir: Path,
    reading: dict,  # where the images came from; kept in the run's folder
    resume: bool = False,
    method: str = "dcacn",
    **method_options,
):  # the finished Run
    "Train in the foreground with a progress bar; Ctrl-C saves, prints how to resume, and exits with 130."
    run = _prepare(images, config, run_dir, reading, resume, method, method_options)
    epochs = f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    start = f"resuming at step {run.state.step}" if resume else f"the run is kept in {run_dir}"
    say(f"{len(images):,} images, {config.n_clusters} clusters, {epochs}; {start}")
    try:
        return run.drive()
    except KeyboardInterrupt:
        twice = run.error is not None  # the second Ctrl-C breaks off the step
        kept = "what came after its last checkpoint is lost" if twice else "everything so far is saved"
        raise interrupted(run_dir, kept) from None


def _prepare(images, config, run_dir: Path, reading: dict, resume: bool, method: str, method_options: dict):
    "A run that is ready to start; whatever is wrong with images, settings or folder shows here."
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
    return run


def interrupted(
    run_dir: Path,  # the run that Ctrl-C stopped
    kept: str,  # what of it is saved, in words
) -> typer.Exit:  # to be raised
    "Say how to resume after Ctrl-C, to a person or to a machine."
    command = resume_command(run_dir)
    complain(f"Stopped; {kept}. Resume with:\n  {command}")
    answer({"status": "interrupted", "run_dir": run_dir, "resume": command})
    return typer.Exit(130)


def finish(
    run,  # a finished Run
    images,  # ImageSet
    run_dir: Path,
    then: dict,  # what follows: {"sort_into": folder}, or {"baselines": bool} for the demo
    seconds: "float | None" = None,  # the training took, if it was not interrupted
) -> None:
    "What follows a run: a summary, a table of clusters, sorted copies; for the demo, other methods' scores."
    try:
        result = summarise(run, images, run_dir)
        if "baselines" in then:
            result["methods"] = comparison(run, images, seconds, then["baselines"])
        sort_into = Path(then["sort_into"]) if "sort_into" in then else None
        answer(result | leave_clusters(run, images, run_dir, sort_into))
    except KeyboardInterrupt:
        raise interrupted(run_dir, "the training is done and saved, what follows it is not") from None
