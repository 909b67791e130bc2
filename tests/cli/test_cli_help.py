"Help and wrong arguments answer at once: without PyTorch."

import subprocess
import sys

import pytest
from command import dcacn
from project import ROOT

SLOW = ("torch", "numpy", "pandas", "sklearn", "matplotlib", "rich.progress")
LOADED = f"print([m for m in {SLOW} if m in sys.modules])"
COMMANDS = ["", "fit", "demo", "resume", "evaluate", "predict", "report", "compare", "ablate"]
COMMANDS += ["data", "data list", "data download", "data verify"]


def python(*args, **options):
    "Run Python in a process of its own."
    return subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, cwd=ROOT, **options)


def test_help_does_not_import_torch():
    "None of the slow libraries is imported for `dcacn fit --help`."
    code = "import sys; from dcacn_nb.cli.app import app; app(['fit', '--help'], standalone_mode=False); "
    done = python("-c", code + LOADED)
    assert "Usage" in done.stdout and done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_wrong_arguments_are_refused_before_torch_is_imported(tmp_path):
    "What can be known without the images, settings and methods is checked first."
    (tmp_path / "file").touch()
    lines = [
        ["fit", "digits", "--epochs", "0"],
        ["fit", "digits", "-k", "1"],
        ["fit", "digits", "--backbone", "resnet19"],
        ["fit", "digits", "--set", "lr"],
        ["fit", "digits", "--run-dir", f"{tmp_path}/file"],
        ["fit", "digits", "--sort-into", f"{tmp_path}/file"],
        ["demo", "--limit", "0"],
        ["resume", "nowhere"],
        ["evaluate", "nowhere"],
        ["predict", "nowhere", "."],
        ["report", "nowhere"],
        ["compare", "digits", "--seeds", "x"],
        ["compare", "digits", "--budget", "steps"],
        ["ablate", "digits", "--set", "lr"],
    ]
    code = f"""import sys
from typer.testing import CliRunner
from dcacn_nb.cli.app import app
for line in {lines}:
    assert CliRunner().invoke(app, line).exit_code == 2, line
    assert "torch" not in sys.modules, line
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    assert "Usage" in dcacn(*command.split(), "--help").stdout


def test_every_option_has_a_help_text():
    "No option is left to be guessed."
    import typer

    from dcacn_nb.cli.app import app

    def options(command, path=""):
        for name, sub in getattr(command, "commands", {}).items():
            yield from options(sub, f"{path} {name}")
        yield from ((f"{path} {parameter.name}", getattr(parameter, "help", None)) for parameter in command.params)

    found = dict(options(typer.main.get_command(app)))
    assert len(found) > 80 and [name for name, text in found.items() if not text] == []


def test_version():
    from dcacn_nb import __version__

    assert dcacn("--version").stdout.strip() == f"dcacn_nb {__version__}"


def test_python_dash_m():
    "`python -m dcacn_nb` is the same command."
    from dcacn_nb import __version__

    done = python("-m", "dcacn_nb", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"dcacn_nb {__version__}"), done.stderr


def test_choices_are_those_of_the_settings():
    "Backbones, precisions, budgets and the paper's images are written once more in the options: they must agree."
    from dataclasses import replace

    from dcacn_nb.cli import options
    from dcacn_nb.compare.cells import BUDGETS
    from dcacn_nb.compare.paper import PAPER_SETS
    from dcacn_nb.method.config import BACKBONES, TrainConfig

    assert tuple(b.value for b in options.Backbone) == BACKBONES
    assert [replace(TrainConfig(), amp=amp.value).amp for amp in options.Amp] == ["auto", "bf16", "off"]
    assert tuple(budget.value for budget in options.Budget) == BUDGETS
    assert tuple(images.value for images in options.PaperSet) == PAPER_SETS


def test_smallest_values_are_those_of_the_settings():
    "An option refuses what the settings refuse, and nothing else."
    from dataclasses import replace

    from dcacn_nb.cli import options
    from dcacn_nb.method.config import TrainConfig

    names = {"Clusters": "n_clusters", "Epochs": "epochs", "BatchSize": "batch_size", "Width": "width", "Seed": "seed"}
    for option, name in names.items():
        low = getattr(options, option).__metadata__[0].min
        assert getattr(replace(TrainConfig(), **{name: low}), name) == low
        with pytest.raises(ValueError, match=f"{name} must be >= {low}"):
            replace(TrainConfig(), **{name: low - 1})


def test_factors_of_an_ablation_are_named():
    from dcacn_nb.cli import grids
    from dcacn_nb.compare.cells import FACTORS

    assert ",".join(FACTORS) == grids.FACTORS
    assert all(name in dcacn("ablate", "--help").stdout for name in FACTORS)
