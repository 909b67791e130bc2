"Every notebook runs from top to bottom, in this process, so that what it runs can count towards coverage."

import os
import signal
import sys

import matplotlib.pyplot as plt
import nbformat
import pytest
from lessons import SHORTER, shortened
from nbdev.config import get_config
from nbdev.test import test_nb as run_notebook  # under another name: pytest collects what starts with `test_`
from project import ROOT, notebooks

SKIP_FLAGS = get_config(ROOT).tst_flags
SKIP_FLAGS = SKIP_FLAGS.split() if isinstance(SKIP_FLAGS, str) else list(SKIP_FLAGS)


def beside(path):
    "What lies in a notebook's folder, apart from notebooks and caches."
    return {p.name for p in path.parent.iterdir() if p.suffix != ".ipynb" and not p.name.startswith((".", "__"))}


def execute(path):
    "Run a notebook under nbdev; leave the process as it was (nbdev takes over Ctrl-C and sys.path)."
    handler, sys_path, folder = signal.getsignal(signal.SIGINT), list(sys.path), os.getcwd()
    try:
        passed, _ = run_notebook(path, skip_flags=SKIP_FLAGS, basepath=ROOT)
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.path[:] = sys_path
        os.chdir(folder)
        plt.close("all")
    return passed


FOR_QUICK = ("method/02_cbam", "method/06_metrics")  # what `make quick` runs


def as_test(path):
    """A notebook as a parameter. Before Python 3.12, coverage is measured by tracing, which slows notebooks that train
    or draw by a third: there only those of the method count, and the coverage reported is less than it is."""
    name = path.relative_to(ROOT / "nbs").with_suffix("").as_posix()
    counts = sys.version_info >= (3, 12) or name.startswith("method/")
    marks = [] if counts else [pytest.mark.no_cover]
    return pytest.param(path, id=name, marks=marks + ([] if name in FOR_QUICK else [pytest.mark.slow]))


@pytest.mark.parametrize("path", list(map(as_test, notebooks())))
def test_notebook(path, tmp_path, capfd):
    "No cell raises, and nothing is left behind in the folder of the notebooks."
    before = beside(path)
    passed = execute(shortened(path, tmp_path))
    assert passed, f"a cell of {path.relative_to(ROOT)} failed:\n{capfd.readouterr().err}"
    assert beside(path) - before == set(), "the notebook leaves files in its folder; write them to a temporary one"


def test_every_notebook_named_here_exists():
    "The tables above name no notebook that is gone."
    assert [name for name in (*SHORTER, *FOR_QUICK) if not (ROOT / "nbs" / f"{name}.ipynb").exists()] == []


def test_failing_notebook_is_caught(tmp_path, capfd):
    "A false assertion in a cell fails the run, its message is shown, and cells flagged `slow` are left out."
    shell = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    for name, cells in {
        "good": ["x = 1", "#| slow\nraise SystemError", "assert x == 1"],
        "bad": ["x = 1", "assert x == 2, 'seen'"],
    }.items():
        nb = nbformat.v4.new_notebook(metadata=shell, cells=[nbformat.v4.new_code_cell(c) for c in cells])
        nbformat.write(nb, tmp_path / f"{name}.ipynb")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    assert execute(tmp_path / "good.ipynb")
    assert not execute(tmp_path / "bad.ipynb")
    assert "seen" in capfd.readouterr().err
