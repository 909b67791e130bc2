"What is generated is what the notebooks generate: modules, cleaned notebooks, README. Tried in a copy."

import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT, copy_project, made_by

BIN = Path(sys.executable).parent


def run(folder, *command):
    "Run a command of this environment in `folder`."
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def texts(folder, pattern):
    "Relative name -> content of the files that match."
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob(pattern)
        if not {"__pycache__", ".ipynb_checkpoints"} & set(p.parts)
    }


def export_again(folder):
    "Throw all generated modules away and export them again."
    for path in (folder / "dcacn_nb").rglob("*.py"):
        if made_by(path.read_text(encoding="utf-8")):
            path.unlink()
    run(folder, sys.executable, "tools/export.py")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    "A copy of the project in which everything was generated again, and what it held before."
    folder = copy_project(tmp_path_factory.mktemp("fresh"))
    before = {pattern: texts(folder, pattern) for pattern in ("*.py", "*.ipynb")}
    export_again(folder)
    run(folder, "nbdev-clean")
    return folder, before


@pytest.mark.parametrize("pattern", ["*.py", "*.ipynb"])
def test_fresh(fresh, pattern):
    "Modules are what `make export` makes, no more and no fewer; notebooks are cleaned. (Else: make export)"
    folder, before = fresh
    after, before = texts(folder, pattern), before[pattern]
    assert sorted(after) == sorted(before), "a module without its notebook, or a notebook never exported"
    assert [name for name in after if after[name] != before[name]] == []


def test_readme_is_fresh(fresh):
    "README.md is made from nbs/index.ipynb. (Else: make readme)"
    folder, _ = fresh
    recipe = [".venv/.setup-dev", ".venv/.created"]
    (folder / ".venv" / "bin").mkdir(parents=True)
    os.symlink(BIN / "jupyter", folder / ".venv" / "bin" / "jupyter")
    run(folder, "make", *(flag for name in recipe for flag in ("-o", name)), "readme")
    assert (folder / "README.md").read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_hand_edit_is_found(tmp_path):
    "A generated module edited by hand does not survive the export: the comparison above can fail."
    folder = copy_project(tmp_path)
    module = folder / "dcacn_nb" / "method" / "cbam.py"
    original = module.read_text(encoding="utf-8")
    module.write_text(original + "\nedited = True\n", encoding="utf-8")
    export_again(folder)
    assert module.read_text(encoding="utf-8") == original
