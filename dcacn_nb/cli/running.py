"""A run in the foreground that Ctrl-C ends well: its folder, its settings, its training, and what follows it."""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from dcacn_nb.cli import signals
from dcacn_nb.cli.baselines import comparison
from dcacn_nb.cli.output import BadInput, answer, call, checking, complain, resume_command, say, say_text
from dcacn_nb.cli.reading import count_classes, is_run, safe_name
from dcacn_nb.cli.results import leave_clusters, summarise
from dcacn_nb.cli.which import pictures_note


def new_run_dir(
    run_dir: "Path | None",  # --run-dir
    name: str,  # of the images: part of the folder's name if none was given
    seed: int,
) -> Path:
    "The folder asked for, which must hold no run, or the first free one of runs/NAME-SEED-N."
    if run_dir is None:
        stem = f"{safe_name(name)}-{seed}"
        run_dir = next(p for n in range(1, 10**6) if not (p := Path("runs", f"{stem}-{n}")).exists())
    if call.rank:  # of several processes, the first has the folder
        return run_dir
    if is_run(run_dir):
        raise BadInput(
            f"{run_dir} already holds a run; resume it: {resume_command(run_dir)}, or give another --run-dir"
        )
    if run_dir.exists() and not run_dir.is_dir():
        raise BadInput(f"--run-dir {run_dir} is a file; give a folder")
    return run_dir


def claimed(
    run_dir: Path,  # the first free default name
) -> Path:
    "A folder that is this process's own: another one, started at the same time, may have taken the name meanwhile."
    if call.rank:
        return run_dir
    stem, _, number = run_dir.name.rpartition("-")
    for n in itertools.count(int(number)):
        with checking(), contextlib.suppress(FileExistsError):
            run_dir.with_name(f"{stem}-{n}").mkdir(parents=True)
            return run_dir.with_name(f"{stem}-{n}")
    raise AssertionError("numbers do not end")


def longer(
    run_dir: Path,  # a run folder
    epochs: int,  # --epochs
) -> "dict[str, bytes]":  # notes for the resumed run
    "Let a run train to another number of epochs, and say what that means for its result."
    from dcacn_nb.runs.folder import with_epochs

    if call.rank:
        return {}
    with checking():
        notes, before, done = with_epochs(run_dir, epochs)
    if epochs != before:
        say_text(
            f"{epochs} epochs instead of {before}; {done} are done. The learning rate, and whatever else depends on "
            f"the length of the run, follows the new length from here on: a run of {epochs} epochs from the start "
            "would differ, unless its schedule is constant."
        )
    return notes


def check_sort_into(
    sort_into: "Path | None",  # --sort-into
    source: str,  # the images
    run_dir: Path,
    how: str = "copy",  # --sort-how
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
    return {"sort_into": str(place), "sort_how": how}


def words_of(
    names: "Path | None",  # --names
    encoder: "str | None",  # of the images; None: none, or the one that computed a file of features
) -> dict:  # what follows the run, as its folder keeps it
    "The words of a file, one per line."
    if names is None:
        return {}
    if encoder is not None and not encoder.startswith("open_clip:"):
        raise BadInput(f"--names needs an encoder that reads text, such as open_clip:ViT-B-32/openai, got {encoder}")
    try:
        lines = names.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--names {names} cannot be read ({error}); give a text file with one word per line") from error
    return {"names": [line.strip() for line in lines if line.strip()]}


def check_launch(
    run_dir: "Path | None",  # --run-dir, if it was given
    encoder: "str | None",  # of the images
) -> None:
    "Refuse what several processes cannot share, before any long work."
    from dcacn_nb.core.launch import launched, restarts

    world = launched()[1]
    if world > 1 and encoder:
        raise BadInput(
            f"a head on the features of {encoder} trains within minutes in one process, and {world} were started; "
            "start it without torchrun, or give --encoder none to train a network on the pixels"
        )
    if restarts() and run_dir is None:
        raise BadInput("torchrun --max-restarts needs --run-dir, so that a restarted run finds what it had saved")


def check_files(
    images,  # ImageSet
    then: dict,  # what follows the run
) -> None:
    "Only files can be copied."
    if "sort_into" in then and (images.paths is None or not os.path.isfile(images.paths[0])):  # in a tar file
        raise BadInput("--sort-into is for folders of images, and these images are not files; leave it out")


def configure(
    images,  # ImageSet
    clusters: "int | None",  # None: as many as there are classes
    labels: bool,  # whether labels may be used to count classes
    preset: str,  # "default" or "paper"
    upright: "bool | None",  # images that must not be mirrored; None: decided by the preset
    changes: dict,  # field of TrainConfig -> value
    method: str = "dcacn",
):  # TrainConfig
    "The settings of a run; the default number of clusters is that of the classes."
    from dcacn_nb.data.mirror import must_stay_upright
    from dcacn_nb.fitting import settings_for

    with checking():
        changes = dict(changes)
        if clusters is None and "n_clusters" not in changes:
            clusters = count_classes(images, labels)
        clusters = changes.pop("n_clusters", clusters)
        if upright is None and not hasattr(images, "features"):
            upright, why = must_stay_upright(images.images)
            complain(
                f"{why[0].upper()}{why[1:]}".replace("upright=False", "--mirror").replace("upright=True", "--upright")
            )
        return settings_for(images, clusters, preset, upright, method, **changes)


def number_of_clusters(
    images,  # ImageSet or FeatureSet
    clusters: "int | str | None",  # -k
    seed: int,
):  # (int or None, NumberOfClusters or None)
    "The number asked for; for `auto`, the estimate, which is said in one sentence."
    if clusters != "auto":
        return clusters, None
    from dcacn_nb.clusters.number import choose_k
    from dcacn_nb.data.feature_set import FeatureSet

    with checking():
        if not isinstance(images, FeatureSet):
            raise ValueError("-k auto needs features; give --encoder lite0, or a number: -k 10")
        complain("Estimating the number of clusters ...")
        number = choose_k(images, seed=seed)
    say_text(number.sentence)
    return number.choice, number


def run_training(
    images,  # ImageSet
    config,  # TrainConfig
    run_dir: Path,
    reading: dict,  # where the images came from; kept in the run's folder
    resume: bool = False,
    method: str = "dcacn",
    moved: bool = False,  # the images of the run are at a new place
    number=None,  # the estimated number of clusters, for the report
    notes: "dict[str, bytes] | None" = None,  # further files for the run's folder
    options: "dict | None" = None,  # of the method
):  # the finished Run
    "Train in the foreground with a progress bar; Ctrl-C saves, prints how to resume, and exits with 130."
    from tqdm import tqdm

    notes = (notes or {}) | _notes(reading, not resume or moved, number) | ({} if resume else pictures_note(images))
    run = _prepare(images, config, run_dir, reading, resume, method, options or {}, notes)
    config = run.config  # with the method's own settings
    epochs = f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    start = f"resuming at step {run.state.step}" if resume else f"the run is kept in {run_dir}"
    with tqdm.external_write_mode():  # a resumed run's bar is there already
        say(f"{len(images):,} images, {config.n_clusters} clusters, {epochs}; {start}")
    try:
        return run.drive()
    except KeyboardInterrupt:
        twice = run.error is not None  # the second Ctrl-C breaks off the step
        kept = "what came after its last checkpoint is lost" if twice else "everything so far is saved"
        raise interrupted(run_dir, kept) from None
    except OSError:  # such as a full disk
        call.on_failure = f"Once that is put right, the run goes on from what it has saved: {resume_command(run_dir)}"
        raise


def _notes(reading: dict, new: bool, number) -> "dict[str, bytes]":
    "What the folder keeps beside the run: written before the run begins, so that a kill cannot make it forgotten."
    from dcacn_nb.runs.description import SOURCE, reading_bytes

    # a place for sorted copies may have come with the resume
    notes = {SOURCE: reading_bytes(reading)} if new or reading.get("then") else {}
    return notes if number is None else notes | {"number.json": json.dumps(number.as_dict()).encode()}


def _prepare(
    images, config, run_dir: Path, reading: dict, resume: bool, method: str, options: dict, notes: "dict[str, bytes]"
):
    "A run that is ready to start; whatever is wrong with images, settings or folder shows here."
    from dcacn_nb.fitting import fit, method_for
    from dcacn_nb.runs.progress import ProgressBar

    with _left_as_it_was(run_dir), checking(RuntimeError):  # a folder that is in use
        return fit(
            images,
            config,
            labels=images.labels if reading["labels"] else None,
            run_dir=run_dir,
            resume=resume,
            start=False,
            method=method_for(method, images, **options),
            observers=[ProgressBar(plain=not sys.stderr.isatty()), _say_the_end],
            notes=notes,
            names=reading.get("then", {}).get("names"),
        )


@contextlib.contextmanager
def _left_as_it_was(run_dir: Path) -> "Iterator[None]":
    "If a run cannot begin, an empty folder made for it goes again."
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty, or not there
            run_dir.rmdir()
            run_dir.parent.rmdir()
        raise


def _say_the_end(event) -> None:
    "The pictures of the report take some seconds, in which nothing else is said."
    if type(event).__name__ == "RunFinished" and event.reason == "completed":
        complain("Writing the report ...")


def interrupted(
    run_dir: Path,  # the run that Ctrl-C stopped
    kept: str,  # what of it is saved, in words
) -> typer.Exit:  # to be raised
    "Say how to resume after Ctrl-C, to a person or to a machine."
    signals.let_go()
    command = resume_command(run_dir)
    complain(f"Stopped; {kept}. Resume with:\n  {command}")
    answer({"status": "interrupted", "run_dir": run_dir, "resume": command})
    return typer.Exit(signals.exit_code())


def finish(
    run,  # a finished Run
    images,  # ImageSet
    run_dir: Path,
    then: dict,  # what follows: {"sort_into": folder}, or {"baselines": bool} for the demo
    seconds: "float | None" = None,  # the training took, if it was not interrupted
) -> None:
    "What follows a run: a summary, a table of clusters, sorted copies; for the demo, other methods' scores."
    if call.rank:
        return
    try:
        result = summarise(run, images, run_dir)
        if "baselines" in then:
            result["methods"] = comparison(run, images, seconds, then["baselines"])
        sort_into = Path(then["sort_into"]) if "sort_into" in then else None
        answer(result | leave_clusters(run, images, run_dir, sort_into, then.get("sort_how", "copy")))
    except KeyboardInterrupt:
        raise interrupted(run_dir, "the training is done and saved, what follows it is not") from None
