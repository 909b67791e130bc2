"Bad input: exit code 2, one clear message on standard error, and no folder left behind."

from pathlib import Path

import pytest
from command import dcacn
from typer.testing import CliRunner

from dcacn_nb.cli.app import app
from dcacn_nb.cli.output import BadInput

# cifar10 is not there: what is refused with it is refused before images are read
CASES = [
    ("fit cifar1O", "did you mean 'cifar10'"),
    ("fit cifar10", "To download"),
    ("fit digits --set lr=fast", "--set lr=fast: lr must be a number"),
    ("fit digits --set lr", "write NAME=VALUE"),
    ("fit digits --set learning_rate=1", "setting must be one of"),
    ("fit digits --set learning_rate=1 --epochs 1", "setting must be one of"),
    ("fit digits --set xyzzy=1", "known ones, got 'xyzzy'; the known ones are 'n_clusters'"),
    ("fit digits --set batchsize=1", "got 'batchsize'; did you mean 'batch_size'"),
    ("fit cifar10 --set epochs=0", "epochs must be >= 1"),
    ("fit cifar10 --epochs 0", "Invalid value for '--epochs'"),
    ("fit cifar10 --method decc", "did you mean 'dec'"),
    ("fit cifar10 -k 1", "Invalid value for '--clusters' / '-k'"),
    ("fit digits --limit 30 --sort-into x", "these images are not files"),
    ("fit digits --limit 30 --batch-size 31", "batch_size"),
    ("fit digits --limit 5 -k 6", "n_clusters must be <= the number of images, 5"),
    ("fit digits --limit 5 -k 6 --device cpu", "n_clusters must be <= the number of images, 5"),
    ("fit digits --backbone resnet19", "'resnet19' is not one of 'resnet18'"),
    ("fit digits --set backbone=resnet19", "did you mean"),
    ("fit cifar10 --device gpu", "device must be"),
    ("fit digits --preset papers", "papers"),
    ("fit digits --split half", "'half' is not one of 'all'"),
    ("fit digits --nonsense", "nonsense"),
    ("fit", "Missing argument"),
    ("fit digits --run-dir file", "--run-dir file is a file; give a folder"),
    ("fit digits --limit 30 --run-dir file/run", "Error: file/run: run_dir cannot be written to"),
    ("compare cifar10 --methods cc,decc", "did you mean 'dec'"),
    ("compare cifar10 --methods ,", "give at least one name"),
    ("compare cifar10 --seeds x", "--seeds x"),
    ("compare digits --methods dcac", "did you mean 'dcacn'"),
    ("compare digits --budget seconds", "amount must be given for budget='seconds'"),
    ("compare nowhere", "nowhere"),
    ("compare digits --paper MNIST", "'MNIST' is not one of 'ImageNet-10'"),
    ("fit digits --split tets", "'tets' is not one of 'all', 'train', 'test'. Did you mean 'test'?"),
    ("fit digits --sort-how hardlnk", "Did you mean 'hardlink'?"),
    ("ablate cifar10 --set epochs=0", "epochs must be >= 1"),
    ("ablate cifar10 --seeds 1,1", "each once"),
    ("ablate cifar10 --factors balanse", "did you mean 'balance'"),
    ("resume nowhere", "holds no run"),
    ("evaluate nowhere", "holds no run"),
    ("predict nowhere .", "is not a folder"),
    ("report nowhere", "holds no run log"),
    ("data download imagenet10", "cannot be downloaded"),
    ("data download mnist", "did you mean 'fashion_mnist'"),
    ("data verify nowhere", "nowhere"),
]


@pytest.mark.parametrize("line, message", CASES, ids=[line for line, _ in CASES])
def test_bad_input(line, message):
    Path("file").touch()
    result = dcacn(*line.split(), code=2)
    assert message in " ".join(result.stderr.replace("│", " ").split()) and result.stdout == ""
    assert not Path("runs").exists()


def test_debug_shows_the_traceback_wherever_it_stands():
    for line in ("--debug fit nowhere", "fit nowhere --debug"):
        result = CliRunner().invoke(app, line.split())
        assert isinstance(result.exception, BadInput) and result.exit_code == 1


def test_a_failure_is_not_bad_input(monkeypatch, finished):
    "What goes wrong after the checks ends with 1 and one line."

    def broken(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("dcacn_nb.report.page.write_report", broken)  # imported when the command runs
    assert "Failed: RuntimeError: the disk is on fire" in dcacn("report", finished, code=1).stderr
