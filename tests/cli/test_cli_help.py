"Help and wrong arguments answer at once: without PyTorch."

import re
import subprocess
import sys
from enum import Enum
from typing import get_args

import pytest
from command import dcacn
from project import ROOT

SLOW = ("torch", "numpy", "pandas", "sklearn", "matplotlib", "rich.progress")
LOADED = f"print([m for m in {SLOW} if m in sys.modules])"
COMMANDS = ["", "fit", "plan", "demo", "resume", "evaluate", "predict", "report", "compare", "ablate", "grid"]
COMMANDS += ["similar", "duplicates", "export", "track", "data", "data list", "data download", "data verify"]
COMMANDS += ["embed", "cache", "cache clear"]


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
        ["similar", "nowhere", "1"],
        ["duplicates", "nowhere"],
        ["duplicates", ".", "--output", "x.txt"],
        ["export", "nowhere", "x.csv"],
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
    shown = dcacn(*command.split(), "--help").stdout
    assert "Usage" in shown and "bool" not in shown.lower(), "a switch takes no value"


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


SETTINGS = {
    "Clusters": "n_clusters",
    "Epochs": "epochs",
    "BatchSize": "batch_size",
    "Seed": "seed",
    "Device": "device",
    "Precision": "amp",
    "BackboneName": "backbone",
    "Width": "width",
    "Attention": "attention",
}


@pytest.mark.parametrize("option, name", SETTINGS.items())
def test_options_agree_with_the_settings(option, name):
    "Range, choices and help text of an option are those of the field; written again so that --help needs no torch."
    from dataclasses import fields

    from dcacn_nb.cli import options
    from dcacn_nb.method.config import TrainConfig

    (about,) = (field.metadata for field in fields(TrainConfig) if field.name == name)
    kind, option = getattr(options, option).__origin__, getattr(options, option).__metadata__[0]
    assert option.min == about["low"]
    enums = [part for part in get_args(kind) if isinstance(part, type) and issubclass(part, Enum)]
    if enums:
        assert tuple(choice.value for choice in enums[0]) == about["choices"]
    first_clause = about["help"].partition(":")[0].replace("'", "").removeprefix("K, ")
    assert first_clause.lower() in option.help.lower()


@pytest.mark.parametrize("option, name", SETTINGS.items())
def test_a_value_is_called_the_default_only_if_every_preset_has_it(option, name):
    "Otherwise the text says whose value it is."
    from dcacn_nb.cli import options
    from dcacn_nb.data.loading import load_images
    from dcacn_nb.method.config import PRESETS, preset

    found = re.search(r"\(default: ([\w.]+)\)", getattr(options, option).__metadata__[0].help)
    if found:
        images = load_images("digits", limit=20)
        assert {str(getattr(preset(p, images, 2, upright=True), name)) for p in PRESETS} == {found[1]}


def test_the_demo_names_its_own_number_of_epochs():
    "Half of the preset's for the digits; the photos train a head."
    assert "(default: 30 for the digits, the head's for photos)" in " ".join(dcacn("demo", "--help").stdout.split())


def test_choices_of_grids_are_those_of_the_functions():
    from dcacn_nb.cli import options
    from dcacn_nb.compare.cells import BUDGETS
    from dcacn_nb.compare.paper import PAPER_SETS

    assert tuple(budget.value for budget in options.Budget) == BUDGETS
    assert tuple(images.value for images in options.PaperSet) == PAPER_SETS


def test_factors_of_an_ablation_are_named():
    from dcacn_nb.cli import grids
    from dcacn_nb.compare.cells import FACTORS

    assert ",".join(FACTORS) == grids.FACTORS
    assert all(name in dcacn("ablate", "--help").stdout for name in FACTORS)
