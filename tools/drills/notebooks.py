"""Notebooks in Chromium: closed and opened again, kernels restarted and gone; the browser tests, counted."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from drills.rows import Row

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/browser/test_browser_mount.py",)


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "Each of the tests is an attempt; one that is skipped is none."
    row, results = Row("notebooks in Chromium", seed, keep_going), scratch / "results.xml"
    files = [test for test in TESTS if (ROOT / test).exists()]
    line = [sys.executable, "-m", "pytest", "-q", "-m", "browser", f"--junitxml={results}", "-p", "no:cacheprovider"]
    try:
        # standard output is for the rows
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([*line, *files], cwd=ROOT, env=env, timeout=900, stdout=sys.stderr)
    except subprocess.TimeoutExpired:
        row.attempt()
        row.violation("hangs", "the browser tests did not end in 900 s")
        return row.done()
    skipped = ""
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if case.find("skipped") is not None:
            skipped = str(case.find("skipped").get("message"))
            continue
        row.attempt()
        if problem is not None:
            row.violation("lost", f"{case.get('name')}: {str(problem.get('message'))[:500]}")
    return row.done(skipped or "closed and opened again; kernel alive, restarted, gone")
