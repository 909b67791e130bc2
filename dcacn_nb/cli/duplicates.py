"""`dcacn duplicates`: files of the same bytes, and images so similar that one of them will do."""

import os
from pathlib import Path

from dcacn_nb.cli import options as o
from dcacn_nb.cli.output import BadInput, answer, checking, guarded, refuse_idle, rows_table, say
from dcacn_nb.cli.reading import is_run, whole_path
from dcacn_nb.cli.similar import features_of, short_names

SHOWN = 20  # groups


@guarded
def duplicates(
    where: o.RunOrFeatures,
    threshold: o.NearThreshold = None,
    exact: o.ExactOnly = False,
    output: o.TableFile = None,
    encoder: o.FeatureEncoder = "lite0",
    encoder_weights: o.EncoderWeights = None,
    source: o.RunSource = None,
    on_error: o.Unreadable = o.OnError.error,
    as_json: o.AsJson = False,
) -> None:
    "Find copies among images, and which of each group to keep: the largest file. Nothing is deleted."
    check_new(output, ".csv")
    if exact and threshold is not None:
        raise BadInput("--threshold is for similar images, and --exact is for the same bytes alone; leave one out")
    features, paths, protocol = _read(where, exact, encoder, on_error.value, encoder_weights, source)
    from dcacn_nb.clusters.assigned import write_table
    from dcacn_nb.clusters.duplicates import duplicates_table, find_duplicates, near_threshold
    from dcacn_nb.data.unread import unread, unread_in_words

    with checking():
        if not exact and threshold is None:
            threshold = near_threshold(features)
        groups = find_duplicates(features, threshold, paths)
        table = duplicates_table(groups, paths)
        if output is not None:
            write_table(table, output)
    size = sum(Path(paths[i]).stat().st_size for group in groups for i in group.copies) if paths else None
    _report(groups, paths, threshold, size)
    for line in unread_in_words(protocol, len(paths if features is None else features)):
        say(line)
    if output is not None:
        say(f"Table: {output}")
    found = [vars(group) | ({} if paths is None else {"path": paths[group.keep]}) for group in groups]
    answer({"threshold": threshold, "groups": found, "bytes": size, "output": output, "skipped": unread(protocol)})


def check_new(
    output: "Path | None",  # a file to write
    suffix: str,  # what its name must end in
) -> None:
    "Refuse a file that cannot be written, or would replace another, before any work."
    if output is None:
        return
    if output.suffix.lower() != suffix:
        raise BadInput(f"{output} must end in {suffix}")
    if output.exists():
        raise BadInput(f"{output} exists already; give another file")


def _read(where: Path, exact: bool, encoder: str, on_error: str, weights: "Path | None", source: "str | None") -> tuple:
    "Features, unless the bytes suffice; the files of the images if these are there; what was loaded."
    from dcacn_nb.data.catalogue import FEATURE_SUFFIXES

    if exact and source is None and where.is_dir() and not is_run(where):
        refuse_idle("similar images, and --exact compares bytes", "encoder", "encoder_weights")
        with checking():
            return _files(where, on_error)
    if where.suffix.lower() in FEATURE_SUFFIXES and where.is_file():
        refuse_idle(f"images, and {where} holds features", "encoder_weights")
    features = features_of(where, encoder, on_error, weights, source).features
    paths = features.paths
    if paths is not None and not all(os.path.isfile(path) and os.access(path, os.R_OK) for path in paths):
        say("Some files of the images are gone or cannot be read; images are compared by their features alone.")
        paths = None
    if exact and paths is None:
        raise BadInput(f"--exact compares files, and the images of {where} are none; leave it out")
    return (None if exact else features), paths, features.protocol


def _files(folder: Path, on_error: str) -> tuple:
    "The image files of a folder, as `_read` gives them; those that cannot be opened are refused or left out."
    from dcacn_nb.data.folders import check_any_left, refuse_or_log, say_what_was_done
    from dcacn_nb.data.image_file import in_words
    from dcacn_nb.data.listing import list_source

    listing = list_source(whole_path(str(folder)))
    if listing.packed is not None:
        raise BadInput(f"--exact compares files, and the images of {folder} are inside other files; leave it out")
    say_what_was_done(listing)
    refuse_or_log(listing.root, listing.unreadable, on_error)
    paths: list[str] = []
    bad: dict[str, str] = {}
    for number, name in enumerate(listing.files):
        path = listing.full_name(number)
        try:
            open(path, "rb").close()
            paths.append(path)
        except OSError as error:
            refuse_or_log(listing.root, {name: in_words(error)}, on_error, len(bad))
            bad[name] = in_words(error)
    check_any_left(listing, len(paths), bad)
    return None, paths, {"skipped": listing.all_unread(bad)}


def _report(groups: list, paths: "list[str] | None", threshold: "float | None", size: "int | None") -> None:
    "How many copies there are, and the largest groups."
    copies = sum(len(group.copies) for group in groups)
    similar = "" if threshold is None else f", a cosine of at least {threshold:.3f}, or the same small picture"
    rule = f"the same bytes{similar}"
    freed = f", {_in_words(size)}" if size else ""
    if not groups:
        say(f"No duplicates ({rule})")
        return
    of = f"{len(groups):,} image{'s' * (len(groups) > 1)}"
    say(f"{copies:,} {'copy' if copies == 1 else 'copies'} of {of}{freed} ({rule})")
    every = [image for group in groups[:SHOWN] for image in (group.keep, *group.copies)]
    name = dict(zip(every, short_names(paths, every)))
    rows = [
        {
            "keep": name[group.keep],
            "copies": [name[i] for i in group.copies[:5]] + ["…"] * (len(group.copies) > 5),
            "cosine": ["same" if e else f"{c:.3f}" for e, c in list(zip(group.exact, group.cosines))[:5]],
        }
        for group in groups[:SHOWN]
    ]
    if rows:
        say(rows_table(rows, keep="keep", copies="copies", cosine="cosine"))
    if len(groups) > SHOWN:
        say(f"… and {len(groups) - SHOWN:,} more groups; --output FILE.csv lists all")


def _in_words(size: int) -> str:
    "Bytes as people read them."
    return f"{size / 2**20:,.1f} MB" if size >= 2**20 else f"{size / 2**10:,.0f} kB"
