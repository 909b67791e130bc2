"""Where images come from: a source named on the command line, or the one that a run remembers.

A *reading* describes how images were read: the arguments of `open_source`. A run's folder keeps it in source.json."""

import json
import sys
from pathlib import Path

from dcacn_nb.cli.output import BadInput, checking


def whole_path(
    source: str,  # known name or folder
) -> str:
    "A folder's full path, so that a run can be resumed from anywhere; a known name, or a wrong one, as it is."
    from dcacn_nb.data.catalogue import SOURCES

    folder = Path(source).expanduser()
    return str(folder.absolute()) if source not in SOURCES and folder.exists() else source


def open_source(
    source: str,  # known name or folder
    *,
    extra: bool = True,  # keep the further unlabelled images of a source that has them
    labels: bool = True,  # whether labels score; reading ignores it
    then: "dict | None" = None,  # what follows the run; reading ignores it
    **reading,  # root, split, download, limit, image_size, channels, on_error, seed: for load_images
):  # ImageSet
    "The images of a source; a limit applies to its unlabelled images too, so that a small trial stays small."
    from dcacn_nb.data.loading import load_images

    with checking():
        images = load_images(source, progress=sys.stderr.isatty(), **reading)
        if not extra:
            images.extra = None
        if images.extra is not None and reading.get("limit"):
            images.extra = load_images(images.extra, limit=reading["limit"], seed=reading["seed"])
    return images


def count_classes(
    images,  # ImageSet
    use_labels: bool = True,  # whether its labels may be used
) -> int:
    "The number of classes; an error if there are no labels to count them by."
    if images.labels is None or not use_labels:
        raise ValueError("the images have no labels to count classes by; give the number of clusters, e.g. -k 10")
    return len(set(images.labels.tolist()))


def remembered(
    run_dir: Path,  # a run folder
) -> dict:  # a reading
    "How the images of a run were read, whether labels score, and what follows the run."
    about = run_settings(run_dir)
    with checking():
        if (run_dir / "source.json").exists():
            return json.loads((run_dir / "source.json").read_text())
    return _from_protocol(run_dir, about)


def run_settings(
    run_dir: Path,  # a run folder
) -> dict:
    "What a run's config.json holds."
    if not (run_dir / "config.json").exists():
        raise BadInput(f"{run_dir} holds no run (no config.json in it); give the folder that `dcacn fit` named")
    with checking():
        return json.loads((run_dir / "config.json").read_text())


def _from_protocol(run_dir: Path, about: dict) -> dict:
    "The reading of a run that was started from Python, which has no source.json."
    protocol = about["protocol"]
    source = protocol.get("source", "array")
    if source == "array":
        raise BadInput(
            f"{run_dir} was trained on an array in memory, which this command cannot read again; "
            "resume it in Python: fit(images, config, run_dir=..., resume=True)"
        )
    resized = protocol.get("resize", "none").endswith("(as asked)")
    return {
        "source": source,
        "split": protocol.get("split", "all"),
        "limit": protocol.get("limit"),
        "seed": protocol.get("seed") or 0,
        "image_size": about["config"]["image_size"] if resized else None,
        "channels": about["config"]["channels"],
        "on_error": "skip" if protocol.get("skipped") else "raise",
        "labels": True,
    }


def network_of(
    run_dir: Path,  # a run folder
    which: str,  # "last" or "best"
):  # ClusterNet on the best device, TrainConfig
    "A run's network, and its settings."
    if not run_dir.is_dir():
        raise BadInput(f"{run_dir} is not a folder; give the folder that `dcacn fit` named")
    from dcacn_nb.core.devices import pick_device
    from dcacn_nb.runs.folder import load_run

    with checking():
        model, config = load_run(run_dir, which)
    return model.to(pick_device("auto")), config
