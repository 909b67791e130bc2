"What users install: the wheel holds what it should, and works away from the checkout."

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from project import PACKAGE, ROOT, copy_project, project_files

pytestmark = pytest.mark.slow


def call(*command, cwd, seconds=600):
    "Run a command without anything of this process's Python set-up; return its output."
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "COVERAGE_"))}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "The wheel, built by way of the source archive from a copy of the project (so MANIFEST.in is tried, too)."
    folder = copy_project(tmp_path_factory.mktemp("build"))
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", "out", cwd=folder)
    assert len(list((folder / "out").glob("*.tar.gz"))) == 1
    (made,) = (folder / "out").glob("*.whl")
    return made


def test_contents(wheel):
    "All modules, texts, pages, scripts and stored results; no notebooks, no tests, nothing else."
    held = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    kinds = (".py", ".js", ".css", ".csv", ".html", ".json")
    ours = {p for p in project_files() if p.is_relative_to(PACKAGE) and p.suffix in kinds}
    assert held == {p.relative_to(ROOT).as_posix() for p in ours}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    "A virtual environment elsewhere with the wheel in it, which borrows this one's packages but not our checkout."
    folder = tmp_path_factory.mktemp("elsewhere")
    call(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder)
    binaries = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    # Install first and borrow afterwards: pip must not meet, and uninstall, the package of this environment.
    call(
        sys.executable,
        "-m",
        "pip",
        "--python",
        binaries / "python",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        wheel,
        cwd=folder,
    )
    site = Path(
        call(binaries / "python", "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip()
    )
    # A path in a .pth file is only appended; .pth files in it, such as the editable install's, are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder, binaries


def test_imports_from_the_wheel(installed):
    "Python there finds the package in the wheel, not in the checkout."
    folder, binaries = installed
    where = call(binaries / "python", "-c", "import dcacn_nb; print(dcacn_nb.__file__)", cwd=folder).strip()
    assert Path(where).is_relative_to(folder)


def test_widgets_from_the_wheel(installed):
    "The widgets find their JavaScript there, all parts of it."
    folder, binaries = installed
    code = "from dcacn_nb.widgets import Dashboard; d = Dashboard(); print(len(d._esm), sorted(d.parts))"
    length, _, parts = call(binaries / "python", "-c", code, cwd=folder).strip().partition(" ")
    assert int(length) > 20_000 and "'curves'" in parts and "'clusters'" in parts


def test_command_line(installed):
    "The command explains itself, and a demonstration of one epoch runs, with its report, away from the checkout."
    folder, binaries = installed
    assert "demo" in call(binaries / "dcacn", "--help", cwd=folder)
    call(binaries / "dcacn", "demo", "--epochs", "1", "--no-baselines", cwd=folder)
