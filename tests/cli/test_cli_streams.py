"Standard output that is full or closed, and a current folder that is gone."

import os
import subprocess
import sys

import pytest
from project import ROOT

COMMAND = f"{sys.executable} -m dcacn_nb"
pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a shell and /dev/full")


def shell(line, cwd=None):
    "Run a line of a shell, in which `dcacn` is the command; exit code, standard output, standard error."
    line = f'dcacn() {{ {COMMAND} "$@"; }}; {line}'
    known = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=cwd, env=known)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("line", ["data list --json", "data list", "--version", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_standard_output_is_a_failure(line, unbuffered):
    code, _, said = shell(f"export PYTHONUNBUFFERED={unbuffered}; dcacn {line} >/dev/full")
    assert code == 1 and said.endswith("standard output: No space left on device\n") and "Traceback" not in said


def test_closed_streams_are_nobody_who_listens():
    assert shell("dcacn data list --json >&-")[0] == 0
    code, out, _ = shell("dcacn data list --json 2>&-")
    assert code == 0 and '"sources"' in out
    assert shell("dcacn data verify nowhere <&- >&- 2>&-") == (2, "", "")


def test_a_current_folder_that_is_gone_is_named(tmp_path):
    for line in ("fit ../pics", "report /runs/a"):
        code, _, said = shell(f"mkdir gone; cd gone; rmdir ../gone; dcacn {line}", tmp_path)
        assert code == 2 and said.startswith("Error: the current folder cannot be used (No such file"), said
        assert said.count("\n") == 1
