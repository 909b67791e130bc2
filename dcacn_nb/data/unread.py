"""Which files of a folder could not be read, and why: a list that can be found after the work."""

import csv
import io
import os
from pathlib import Path

from dcacn_nb.core.files import atomic_write
from dcacn_nb.core.text import csv_cell

UNREADABLE = "unreadable.csv"  # in a run folder


def unread(
    protocol: object,  # of an ImageSet or a FeatureSet; may come from a file that holds anything
) -> "dict[str, str]":  # file, or folder with a slash at its end -> reason; empty: all could be read
    "What could not be read of the images that a protocol tells of."
    found = protocol.get("skipped") if isinstance(protocol, dict) else None
    return {str(name): str(why) for name, why in found.items()} if isinstance(found, dict) else {}


def unread_csv(
    protocol: dict,  # of an ImageSet or a FeatureSet
) -> bytes:
    "A table of path and reason."
    root = str(protocol.get("source", ""))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "reason"])
    for name, why in unread(protocol).items():
        path = os.path.abspath(os.path.join(root, name)) if os.path.isdir(root) else name
        writer.writerow([csv_cell(path), csv_cell(why)])
    return text.getvalue().encode("utf-8")


def keep_unread(
    protocol: dict,  # of an ImageSet or a FeatureSet
    path: Path,  # the table; replaced if it is there
) -> "Path | None":  # the table; None: all could be read
    "Write the table of what could not be read; one of an earlier call goes if there is nothing to tell any more."
    if unread(protocol):
        return atomic_write(path, unread_csv(protocol))
    path.unlink(missing_ok=True)
    return None


def unread_in_words(
    protocol: dict,  # of an ImageSet or a FeatureSet
    count: int,  # images that were read
    where: "Path | None" = None,  # the table
) -> "list[str]":  # one sentence, or none
    "How many files could not be read, and where they are listed."
    found = unread(protocol)
    folders = sum(name.endswith("/") for name in found)
    files = len(found) - folders
    parts = [f"{files:,} of {count + files:,} files"] if files else []
    parts += [f"{folders:,} folder{'s' * (folders > 1)}"] if folders else []
    listed = f": listed in {where}" if where else ""
    return [f"{' and '.join(parts)} could not be read{listed}"] if parts else []
