"""`dcacn similar`: more like this."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, checking, guarded, refuse_idle, rows_table, say
from dcacn_nb.cli.reading import check_encoder, is_run, network_of, of_run, open_source
from dcacn_nb.cli.which import say_changes


class Known(NamedTuple):
    "Images as features, and how to get those of another image."

    features: object  # FeatureSet
    encode: Callable  # (1,C,H,W) uint8 array -> (1,D) array
    channels: int = 3  # C


@guarded
def similar(
    where: o.RunOrFeatures,
    image: o.QueryImage,
    n: o.HowMany = 12,
    encoder: o.FeatureEncoder = "lite0",
    encoder_weights: o.EncoderWeights = None,
    source: o.RunSource = None,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Find the images most like one of a run's or a folder's images, or like another image file."
    _check_query(where, image)
    known = features_of(where, encoder, on_error.value, encoder_weights, source)
    from dcacn_nb.clusters.similar import most_similar
    from dcacn_nb.data.unread import unread_in_words

    paths = known.features.paths
    own = find_image(image, paths, len(known.features))
    with checking():
        query = own if own is not None else _encoded(known, image)
        found, cosines = most_similar(known.features, query, n)
    rows = [
        {"image": int(i), "path": None if paths is None else paths[i], "cosine": round(float(cosine), 4)}
        for i, cosine in zip(found, cosines)
    ]
    shown = short_names(paths, found)
    titles = {"image": "image", "cosine": "cosine"} | ({} if paths is None else {"file": "file"})
    say(rows_table([row | {"file": name} for row, name in zip(rows, shown)], **titles))
    for line in unread_in_words(known.features.protocol, len(known.features)):
        say(line)
    answer({"query": image, "in_set": own is not None, "images": rows})


def _check_query(where: Path, image: str) -> None:
    "Refuse at once an image that is neither in the folder nor a file elsewhere."
    if where.is_dir() and not is_run(where):
        from dcacn_nb.data.listing import list_source

        with checking():
            listing = list_source(where)
        find_image(image, [listing.full_name(i) for i in range(len(listing.files))], len(listing.files))


def short_names(
    paths: "list[str] | None",  # of the images of the set
    images,  # (n,) which of them
) -> "list[str]":
    "Files relative to the folder of all, which is said once; numbers where images are not files."
    if paths is None:
        return [str(i) for i in images]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    if len(images):
        say(f"Files in {root}:")
    return [os.path.relpath(os.path.abspath(paths[i]), root) for i in images]


def features_of(
    where: Path,  # folder of a run, file of features, or folder of images
    encoder: str,  # for a folder of images
    on_error: str = "raise",  # or "skip": unreadable files of such a folder
    weights: "Path | None" = None,  # of the encoder; of a run, where they are now
    source: "str | None" = None,  # where the images of a run are now
) -> Known:
    "The features that a run was trained on or has learned, those of a file, or those of a folder's images."
    wrong = BadInput(f"{where} is neither a run, nor a file of features, nor a folder of images")
    if not where.exists():
        raise wrong
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES

    kind = "a run" if is_run(where) else "a file of features" if not where.is_dir() else ""
    if kind:
        refuse_idle(f"a folder of images, and {where} is {kind}", "encoder", "on_error")
    if is_run(where):
        return _of_run(where, weights, source)
    if source is not None:
        raise BadInput(f"--source says where the images of a run are now, and {where} is no run; leave it out")
    if where.suffix.lower() in FEATURE_SUFFIXES and not where.is_dir():
        from dcacn_nb.data.feature_set import load_features

        with checking():
            return _frozen(load_features(where), weights)
    if not where.is_dir():
        raise wrong
    reading = dict(encoder=encoder, extra=False, on_error=on_error) | check_encoder(encoder, weights)
    # a whole path: a folder may have the name of a known source
    return _frozen(open_source(str(where.absolute()), **reading))


def _frozen(features, weights: "Path | None" = None) -> Known:
    "Features by an encoder, which also encodes other images if it is known."
    from dcacn_nb.runs.inputs import read_like

    about = {"encoder": features.protocol["encoder"], "dim": features.dim}
    options = dict(thumbnails=0, progress=False, weights=weights)
    return Known(features, lambda pixels: read_like(pixels, about, **options).whole.numpy())


def _of_run(run_dir: Path, weights: "Path | None", source: "str | None") -> Known:
    "The frozen features of a run; of one that was trained on pixels, the features of its own network."
    images = open_source(**(of_run(run_dir, source, weights) | {"extra": False}))
    say_changes(images, run_dir)
    if hasattr(images, "whole"):
        return _frozen(images, weights)
    from dcacn_nb.data.feature_set import FeatureSet
    from dcacn_nb.method.step import encode
    from dcacn_nb.runs.inputs import read_like, trained_input

    model, config = network_of(run_dir, "last")
    about = trained_input(run_dir, config)
    learned = encode(model, images.images, config, "h")
    about_images = {"skipped": images.protocol["skipped"]}
    features = FeatureSet(learned, images.images, images.labels, images.class_names, images.paths, about_images)
    encoded = lambda pixels: encode(model, read_like(pixels, about).images, config, "h").numpy()
    return Known(features, encoded, config.channels)


def find_image(
    image: str,  # a file, the end of a file's path, or a number
    paths: "list[str] | None",  # of the images of the set
    count: int,  # images of the set
) -> "int | None":  # None: another image file
    "Which image of the set is meant."
    whole = os.path.realpath(os.path.expanduser(image))
    known = {os.path.realpath(path): i for i, path in enumerate(paths or [])}
    if whole in known:
        return known[whole]
    if os.path.isfile(whole):
        return None
    ends = [i for i, path in enumerate(paths or []) if Path(path).parts[-len(Path(image).parts) :] == Path(image).parts]
    if len(ends) == 1:
        return ends[0]
    if len(ends) > 1:
        raise BadInput(f"IMAGE {image} is the name of {len(ends)} images, e.g. {paths[ends[0]]}; give its folder too")
    if image.isdecimal() and int(image) < count:
        return int(image)
    raise BadInput(
        f"IMAGE {image} is not an image file, nor one of the {count:,} images: a file of theirs, or 0 to {count - 1}"
    )


def _encoded(known: Known, image: str):
    "The feature of another image file."
    from dcacn_nb.data.pixels import read_image

    return known.encode(read_image(os.path.expanduser(image), channels=known.channels)[None])
