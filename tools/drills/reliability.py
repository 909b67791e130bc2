"""The table of the drills, and RELIABILITY.md, which is made from it."""

import csv
import io
import platform
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE, PAGE = ROOT / "benchmarks" / "drills.csv", ROOT / "RELIABILITY.md"
COUNTS = ("tried", "survived", "lost", "outside", "raw", "hangs")
COLUMNS = ("drill", "seed", *COUNTS, "seconds", "note", "machine", "versions")
TITLES = {
    "drill": "drill",
    "tried": "tried",
    "survived": "survived",
    "lost": "data lost",
    "outside": "writes outside",
    "raw": "raw exceptions",
    "hangs": "hangs",
    "seconds": "seconds",
    "note": "what was done",
}


def write(rows: "list[dict]") -> None:
    "Write the table, in which other drills keep their last rows, and the page."
    from dcacn_nb.core.files import atomic_write

    known = {row["drill"]: row for row in _read()}
    about = {"machine": machine(), "versions": versions()}
    for row in rows:
        known[row["drill"]] = {name: str(value) for name, value in (row | about).items()}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(known.values())
    atomic_write(TABLE, text.getvalue().encode())
    atomic_write(PAGE, page(list(known.values())).encode())


def _read() -> "list[dict]":
    "The rows of the last runs."
    if not TABLE.exists():
        return []
    with open(TABLE, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def machine() -> str:
    "System and number of cores."
    import os

    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def versions() -> str:
    "Versions on which the outcome depends."
    from dcacn_nb import __version__

    names = ("torch", "numpy", "pillow", "safetensors")
    python = f"dcacn_nb {__version__}, Python {platform.python_version()}"
    return ", ".join([python, *(f"{name} {version(name)}" for name in names)])


def page(
    rows: "list[dict]",  # of the table
) -> str:
    "RELIABILITY.md."
    lines = ["| " + " | ".join(TITLES.values()) + " |", "|---|" + "---:|" * 7 + "---|"]
    for row in rows:
        lines.append("| " + " | ".join(_cell(name, row[name]) for name in TITLES) + " |")
    total = {name: sum(int(row[name]) for row in rows) for name in COUNTS}
    sums = [f"**{total[name]:,}**" if name in total else "" for name in TITLES]
    sums[0] = "**all**"
    where = " · ".join(sorted({f"{row['machine']}; {row['versions']}" for row in rows}))
    frame = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    return frame.format(table="\n".join([*lines, "| " + " | ".join(sums) + " |"]), where=where)


def _cell(name: str, value: str) -> str:
    "A number with separators, or a text that ends no cell."
    return f"{int(value):,}" if value.isdecimal() and name != "seconds" else value.replace("|", "/")
