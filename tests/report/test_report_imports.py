"Only drawing loads matplotlib: training, reading logs and diagnosing do without."

import subprocess
import sys

WITHOUT = (
    "dcacn_nb.runs.driver",
    "dcacn_nb.runs.folder",
    "dcacn_nb.method.train",
    "dcacn_nb.baselines",
    "dcacn_nb.clusters.assigned",
    "dcacn_nb.report.record",
    "dcacn_nb.report.maps",
    "dcacn_nb.report.diagnosis",
    "dcacn_nb.report.page",
    "dcacn_nb.fitting",
)


def loads(module: str, other: str) -> bool:
    "Whether a fresh Python that imports one module has the other one, too."
    code = f"import sys, {module}; sys.exit({other!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr.startswith("Traceback"), done.stderr
    return done.returncode == 1


def test_training_draws_nothing():
    "One process imports them one after the other, and names the first that loads a drawing library."
    steps = (
        "import importlib, sys",
        f"for module in {WITHOUT!r}:",
        "    importlib.import_module(module)",
        "    assert not {'matplotlib', 'seaborn'} & set(sys.modules), module",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(steps)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_drawing_needs_matplotlib():
    "The check can fail: a picture loads it; a diagnosis does not even need PyTorch."
    assert loads("dcacn_nb.report.picture", "matplotlib")
    assert not loads("dcacn_nb.report.diagnosis", "torch")
