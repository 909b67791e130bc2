"The short form of the drills: `make drill` is the long one. The first test waits for all of them."

import json
import os
import subprocess
import sys

import pytest
from project import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the drills fork, mount and set limits as Linux does"),
]
SHORT = ("kills", "disks", "hostile", "fuzz", "strangers", "endurance", "pairs")


@pytest.fixture(scope="module")
def rows():
    "The row of each drill."
    path = os.pathsep.join(map(str, (ROOT / "tools", ROOT, ROOT / "tests")))
    line = [sys.executable, "-m", "drills", "--short", "--keep-going", "--only", ",".join(SHORT)]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    found = [json.loads(text) for text in done.stdout.splitlines()]
    assert len(found) == len(SHORT), done.stderr[-3000:]
    return dict(zip(SHORT, found))


@pytest.mark.parametrize("name", SHORT)
def test_everything_is_survived(rows, name):
    "Nothing lost, nothing outside, no undocumented exception, no hang."
    row = rows[name]
    assert row["found"] == [] and row["tried"] == row["survived"] > 0
