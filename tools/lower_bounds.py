"""Install the oldest versions that settings.ini allows in a fresh environment, and run the quick tests there.

`python tools/lower_bounds.py` makes build/lower_bounds; `--dry-run` only asks whether pip can find such a set. Where a
version has no wheel for this Python, use the oldest Python that the project supports: `python3.10 tools/...`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from licences import requirements  # noqa: E402

TESTS = ("tests/core", "tests/data", "tests/clusters", "tests/heads", "tests/cli")
TESTS += tuple(f"tests/runs/test_{name}.py" for name in ("checkpoint", "folder", "log"))  # others need Jupyter
TOOLS = ("pytest", "pytest-timeout", "setuptools>=77")  # of these the newest will do


def constraints() -> str:
    "One line per package that is always installed: exactly its lower bound."
    return "".join(f"{name}=={bound}\n" for name, extra, bound in requirements() if extra == "everything")


def main() -> int:
    "Install, and test."
    home = ROOT / "build" / "lower_bounds"
    home.mkdir(parents=True, exist_ok=True)
    (home / "constraints.txt").write_text(constraints(), encoding="utf-8")
    asked = [line.replace("==", ">=") for line in constraints().split()]
    wanted = ["-c", str(home / "constraints.txt"), *asked, *TOOLS]
    if "--dry-run" in sys.argv:
        return subprocess.call([sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", *wanted])
    subprocess.check_call([sys.executable, "-m", "venv", str(home / "venv")])
    python = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.check_call([str(python), "-m", "pip", "install", *wanted])
    tests = [test for test in TESTS if (ROOT / test).exists()]
    found = {**os.environ, "PYTHONPATH": str(ROOT)}  # by the processes that tests start, too
    return subprocess.call([str(python), "-m", "pytest", "-q", "-m", "not slow", *tests], cwd=ROOT, env=found)


if __name__ == "__main__":
    sys.exit(main())
