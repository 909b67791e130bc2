"The page of licences is complete: every requirement, with its lower bound and a licence."

import re

from project import ROOT, setting_lines

EXTRAS = ("requirements", "lab_requirements", "compare_requirements", "photos_requirements", "dev_requirements")


def test_every_requirement_has_a_row():
    "`tools/licences.py` writes the page again."
    rows = [
        line.strip("| ").split(" | ") for line in (ROOT / "docs" / "licences.md").read_text("utf-8").splitlines()[7:]
    ]
    rows = {row[0]: row for row in rows if len(row) == 4}
    asked = [re.match(r"([\w.-]+).*?>=([\w.]+)", line).groups() for name in EXTRAS for line in setting_lines(name)]
    assert [(name, rows[name][2]) for name, _ in asked if name in rows] == asked
    assert {name for name, row in rows.items() if row[3].strip() in ("", "not stated", "not installed here")} == set()
