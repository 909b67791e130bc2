"""Which pictures a run was trained on: noted in its folder, compared when it is used again."""

import json
import os
from pathlib import Path

from dcacn_nb.cli.output import complain
from dcacn_nb.cli.reading import run_settings
from dcacn_nb.core.files import read_json

NOTE = "pictures.json"  # names, sizes and checksums of the files, in the run folder


def pictures_note(
    images,  # ImageSet or FeatureSet
) -> "dict[str, bytes]":  # name of the note -> its content; empty if the images are not files
    "A note of the files of the images, for the run folder."
    from dcacn_nb.data.pictures import picture_record

    record = picture_record(images)
    return {} if record is None else {NOTE: json.dumps(record).encode()}


def say_changes(
    images,  # ImageSet or FeatureSet, as read now
    run_dir: Path,  # a run folder
    others: bool = False,  # they may be others altogether, of which nothing is said
) -> "dict | None":  # numbers of added, removed and changed files; None: nothing to compare with
    "Say what has changed among the pictures since the run was started."
    from dcacn_nb.data.pictures import picture_changes, picture_record

    before, now = _read_note(run_dir / NOTE), picture_record(images)
    found = picture_changes(before, now)
    if found is None and now is not None and os.path.lexists(run_dir / NOTE):
        complain(f"Note: {run_dir / NOTE} is damaged, so nobody can tell whether the pictures have changed")
    if others and (found is None or len(found.removed) + len(found.changed) > len(before["files"]) / 2):
        return None
    if found is None:
        _say_another_number(len(images), run_dir)
        return None
    if found:
        complain(f"Note: {found.in_words()}")
    return {"added": len(found.added), "removed": len(found.removed), "changed": len(found.changed)}


def _read_note(path: Path) -> object:
    "What a note holds; None if it is absent or damaged, which costs the comparison, not the command."
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _say_another_number(
    now: int,  # images
    run_dir: Path,
) -> None:
    "Without a note of the pictures, as of a run started from Python, only the numbers of images can be compared."
    then = (run_settings(run_dir)["protocol"] or {}).get("count")
    if type(then) is int and then != now:
        complain(
            f"Note: {now:,} images now, {then:,} in training: the images have changed, or the run was started from "
            "Python with a part of them; what follows is about those that are there now"
        )
