"""Where images come from: a source named on the command line, or the one that a run remembers.

A *reading* describes how images were read: the arguments of `open_source`. A run's folder keeps it in source.json."""

import os
import shlex
import sys
from pathlib import Path

from dcacn_nb.cli.output import BadInput, call, checking, refuse_idle, say
from dcacn_nb.core.downloads import no_downloads


def whole_path(
    source: str,  # known name or folder
) -> str:
    "A folder's full path, so that a run can be resumed from anywhere; a known name, or a wrong one, as it is."
    from dcacn_nb.data.catalogue import SOURCES

    folder = Path(source).expanduser()
    return str(folder.absolute()) if source not in SOURCES and _is_there(source) else source


def safe_name(
    source: str,  # known name, folder, or files
) -> str:  # part of a folder's name on any system
    "What to call the folder of something made of these images."
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(source).resolve().name) or "images"


def _is_there(source: str) -> bool:
    "Whether a path is there, or some files for a name such as shard-{000..010}.tar."
    if os.path.exists(os.path.expanduser(source)):
        return True
    if not source.lower().endswith((".tar", ".parquet")):
        return False
    from dcacn_nb.data.listing import names_packed

    with checking():
        return names_packed(source)


def check_source(
    source: str,  # known name, folder, or file of features
) -> None:
    "Refuse at once what is neither."
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES, SOURCES

    path = Path(source).expanduser()
    if source in SOURCES or path.is_dir() or (path.suffix.lower() in FEATURE_SUFFIXES and path.is_file()):
        return
    from dcacn_nb.data.listing import list_source

    with checking():
        list_source(source)


PIXELS = ("image_size", "upright", "backbone", "width", "attention")  # options of training from scratch
ENCODING = ("encoder", "encoder_weights")


def check_options(
    source: str,  # known name, folder, or file of features
) -> None:
    "Refuse options that do nothing for images of this kind."
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES, SOURCES, SYNSETS

    path = Path(source).expanduser()
    if source in SOURCES:
        refuse_idle(f"sources with unlabelled images (stl10), and {source} has none", *["extra"][source == "stl10" :])
        refuse_idle(f"images in files, and those of {source} are not", *["on_error"][source in SYNSETS :])
    elif path.suffix.lower() in FEATURE_SUFFIXES and path.is_file():
        refuse_idle(f"known sources, and {source} is a file", "root", "split", "download", "extra")
        refuse_idle(f"images, and {source} holds features", *ENCODING, *PIXELS, "on_error", "views")
    elif path.is_dir():
        refuse_idle(f"known sources, and {source} is a folder", "root", "split", "download", "extra")


def check_encoder(
    encoder: "str | None",  # --encoder
    weights: "Path | None" = None,  # --encoder-weights
) -> dict:  # of the reading: where the weights are, if a file was given
    "Refuse at once a name that no library knows, and weights without their architecture."
    from dcacn_nb.core.weights import check_weights_file
    from dcacn_nb.encoders.names import check_name

    if encoder not in (None, "auto", "none"):
        with checking():
            check_name(encoder, weights)
    elif weights is not None:
        text = f"--encoder-weights {weights} needs --encoder NAME, the architecture of the weights"
        raise BadInput(f"{text}, such as --encoder resnet50")
    if weights is None:
        return {}
    return {"encoder_weights": str(check_weights_file(weights))}


def weights_to_tune(
    method: str,  # --method
    weights: "Path | None",  # --encoder-weights
) -> "tuple[dict, Path | None]":  # options of the method; the weights, if they are for an encoder
    "The method that tunes a pretrained network takes a weights file itself."
    from dcacn_nb.core.weights import check_weights_file

    if method != "finetune" or weights is None:
        return {}, weights
    with checking():
        return {"weights": str(check_weights_file(weights))}, None


def open_source(
    source: str,  # known name, folder, or file of features
    *,
    encoder: "str | None" = None,  # a pretrained network: features are read, not pixels
    encoder_weights: "str | None" = None,  # a file of weights for it
    extra: bool = True,  # keep the further unlabelled images of a source that has them
    labels: bool = True,  # whether labels score; reading ignores it
    then: "dict | None" = None,  # what follows the run; reading ignores it
    fetch: bool = True,  # False: the weights of an encoder must be on this computer already
    **reading,  # root, split, download, limit, image_size, channels, on_error, seed: for load_images
):  # ImageSet, or FeatureSet
    "The images of a source; a limit applies to its unlabelled images too, so that a small trial stays small."
    from dcacn_nb.data.loading import load_images

    with checking(RuntimeError), no_downloads(not fetch):  # an encoder that cannot be had
        if encoder:
            return _encoded(source, encoder, reading | {"weights": encoder_weights})
        images = load_images(source, progress=sys.stderr.isatty() and not call.rank, **reading)
        if not extra or not hasattr(images, "extra"):
            images.extra = None
        if images.extra is not None and reading.get("limit"):
            images.extra = load_images(images.extra, limit=reading["limit"], seed=reading["seed"])
    return images


def _encoded(source: str, encoder: str, reading: dict):
    "The features of a source."
    from dcacn_nb.encoders import embed

    if reading.get("image_size"):
        raise ValueError("--image-size is for training from scratch: an encoder takes images in its own size")
    rest = {name: value for name, value in reading.items() if name not in ("image_size", "channels")}
    return embed(source, encoder, progress=sys.stderr.isatty(), **rest)


def pick_encoder(
    source: str,  # known name, folder, or file of features
    encoder: str,  # --encoder
    method: str,  # --method
    asked: dict,  # settings and options given
) -> "str | None":  # None: train from scratch
    "The encoder asked for, or the one that suits the images; which and why is said in one line."
    if encoder == "none":
        return None
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES

    scratch = _of_pixels(asked)
    if Path(source).suffix.lower() in FEATURE_SUFFIXES:
        if scratch:
            raise BadInput(f"{scratch[0]} is for training from scratch, and {source} holds features; leave it out")
        return None
    if encoder == "auto":
        return None if scratch else _suitable_encoder(source, method)
    if scratch:
        raise BadInput(f"{scratch[0]} is for training from scratch; leave it or --encoder out")
    return whole_path(encoder) if encoder.endswith(".onnx") else encoder


def _of_pixels(asked: dict) -> "list[str]":
    "Those of the settings that only training from scratch has: views, network, size and orientation of images."
    from dataclasses import fields

    from dcacn_nb.method.config import TrainConfig

    groups = {field.name: field.metadata["group"] for field in fields(TrainConfig) if field.name != "projection_dim"}
    return [name for name in asked if groups.get(name, "images") in ("images", "views", "network")]


def _suitable_encoder(source: str, method: str) -> "str | None":
    "The encoder that suits folder and method; benchmarks are trained from scratch."
    from dcacn_nb.data.catalogue import SOURCES
    from dcacn_nb.encoders import DEFAULT, choose_encoder
    from dcacn_nb.methods import method_names

    if source in SOURCES or method not in method_names(frozen=True):
        return None
    if method not in method_names():
        say(f"Encoder {DEFAULT}: method {method!r} works on features (--encoder NAME: another one)")
        return DEFAULT
    with checking():
        choice = choose_encoder(source)
    say(choice.why)
    return choice.encoder


def count_classes(
    images,  # ImageSet
    use_labels: bool = True,  # whether its labels may be used
) -> int:
    "The number of classes; an error if there are no labels to count them by."
    if images.labels is None or not use_labels:
        raise ValueError(f"the images have no labels to count classes by; {_NUMBER}")
    return len(set(images.labels.tolist()))


_NUMBER = "give the number of clusters, e.g. -k 10, or for photographs -k auto"


def check_number(
    source: str,  # known name, folder, or file of features
    clusters: "int | str | None",  # -k
    labels: bool,  # whether labels may be used
) -> None:
    "Refuse at once a folder without classes where no number is given; other sources show when they are read."
    from dcacn_nb.data.catalogue import SOURCES
    from dcacn_nb.data.listing import list_source

    folder = Path(source).expanduser()
    if clusters is not None or source in SOURCES or not folder.is_dir():
        return
    with checking():
        listing = list_source(folder)
        if not labels or listing.labels is None:
            why = f" ({listing.no_labels})" if labels and listing.no_labels else ""
            raise ValueError(f"the images have no labels to count classes by{why}; {_NUMBER}")


def remembered(
    run_dir: Path,  # a run folder
    weights: "Path | None" = None,  # --encoder-weights: where the encoder's weights are now
) -> dict:  # a reading
    """How the images of a run were read, whether labels score, and what follows the run.

    What this user did not write is not obeyed where it would look or write elsewhere or fetch something: a folder of
    data sets is left out then, a place for copies is under "unasked", and "fetch" is false."""
    from dcacn_nb.runs.description import is_own, read_reading

    about = run_settings(run_dir)
    with checking():
        found = read_reading(run_dir)
    reading, own = found or (_from_protocol(run_dir, about), is_own(about["protocol"], about.get("seal")))
    reading = reading | _moved_weights(reading, weights)
    if own:
        return reading
    then = {{"sort_into": "unasked"}.get(name, name): value for name, value in reading.get("then", {}).items()}
    return {name: value for name, value in reading.items() if name != "root"} | {"then": then, "fetch": False}


def _moved_weights(reading: dict, weights: "Path | None") -> dict:
    "Where the weights file of a run's encoder is; an error if it is gone, or if there is none."
    from dcacn_nb.core.weights import check_weights_file

    known = reading.get("encoder_weights")
    if weights is None and known is not None and not Path(known).is_file():
        text = f"the encoder's weights are not at {known} any more"
        raise BadInput(f"{text}; if they have moved, give --encoder-weights NEW")
    if weights is None:
        return {}
    if known is None:
        raise BadInput(f"--encoder-weights {weights}: the encoder of this run was not loaded from a file; leave it out")
    with checking():
        return {"encoder_weights": str(check_weights_file(weights))}


def of_run(
    run_dir: Path,  # a run folder
    source: "str | None" = None,  # --source: where its images are now
    weights: "Path | None" = None,  # --encoder-weights: where the encoder's weights are now
) -> dict:  # a reading
    "How the images of a run were read, at the place where they are now. A place that another person names is not read."
    from dcacn_nb.data.catalogue import SOURCES

    reading = remembered(run_dir, weights)
    if source is not None:
        check_source(source)
        return reading | {"source": whole_path(source)}
    place = reading["source"]
    if place in SOURCES:
        return reading
    if not _is_there(place):
        raise BadInput(f"the images of {run_dir} are not at {place} any more; if they have moved, give --source NEW")
    if not reading.get("fetch", True):
        raise BadInput(
            f"{run_dir} was not started by you on this computer (or its cache was deleted), and says that its images "
            f"are at {place}; to have them read there, give --source {shlex.quote(place)}"
        )
    return reading


def is_run(
    folder: Path,
) -> bool:
    "Whether a folder is a run's, though the file that makes it one may be damaged."
    return os.path.lexists(folder / "config.json")


def run_settings(
    run_dir: Path,  # a run folder
) -> dict:
    "What a run's config.json holds."
    from dcacn_nb.runs.description import read_about

    try:
        with checking():
            return read_about(run_dir)
    except BadInput as error:
        if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            text = f"{run_dir} holds no run (no config.json in it); give the folder that `dcacn fit` named"
            raise BadInput(text) from None
        raise


def _from_protocol(run_dir: Path, about: dict) -> dict:
    "The reading of a run that was started from Python, which has no source.json."
    protocol = about["protocol"] or {}
    encoder = protocol.get("encoder") or {}
    source = protocol.get("source", "array")
    if source in ("array", "features", "dataset"):
        raise BadInput(
            f"{run_dir} was trained on images in memory, which this command cannot read again; "
            "resume it in Python: fit(images, config, run_dir=..., resume=True)"
        )
    resized = protocol.get("resize", "none").endswith("(as asked)")
    return {
        "source": source,
        "encoder": encoder.get("file") or encoder.get("name"),
        "encoder_weights": encoder.get("weights_file"),
        "split": protocol.get("split", "all"),
        "limit": protocol.get("limit"),
        "seed": protocol.get("seed") or 0,
        "image_size": about["config"].get("image_size") if resized else None,
        "channels": None if "features" in about["options"] else about["config"].get("channels"),
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
