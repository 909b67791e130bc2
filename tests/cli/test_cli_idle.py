"An option that does nothing for this kind of input is refused, before any work: nobody gives one for nothing."

import os
import shutil

import numpy as np
import pytest
import typer
from command import TINY, dcacn, folder_of_images

from dcacn_nb.cli import options as o
from dcacn_nb.cli.app import app

FOLDER = ("fit", "compare", "ablate", "plan", "embed")
# what says how images are read -> for which kinds of source it does something; a new option needs a line here
READING = {
    "root": "known",
    "split": "known",
    "download": "known",
    "extra": "known",
    "on_error": "folder",
    "image_size": "known folder",
    "upright": "known folder",
    "encoder": "known folder",
    "encoder_weights": "known folder",
    "views": "known folder",
    "limit": "known folder features",
    "labels": "known folder features",
    "seed": "known folder features",
}
VALUES = {
    "on_error": ["skip"],
    "split": ["train"],
    "image_size": [8],
    "encoder": ["lite0"],
    "views": [2],
    "root": ["x"],
}
VALUES |= {"encoder_weights": ["w.pth"], "limit": [5], "seed": [0]}


@pytest.fixture(autouse=True)
def sources(own_folder):
    folder_of_images(_path("folder"), each=2)
    np.savez("rows.npz", features=np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32))
    _path("w.pth").touch()


def _path(name):
    from pathlib import Path

    return Path(name)


def idle():
    "Every option of how images are read, with every kind of source for which it does nothing."
    commands = typer.main.get_command(app).commands
    sources = {"known": "digits", "folder": "folder", "features": "rows.npz"}
    for name in FOLDER:
        for option in commands[name].params:
            if getattr(option, "rich_help_panel", "") == o.IMAGES or option.name == "views":
                flag = option.secondary_opts[0] if option.name in ("extra", "labels") else option.opts[0]
                for kind in sources.keys() - set(READING[option.name].split()):
                    if (name, kind) != ("embed", "features"):
                        yield name, sources[kind], flag, *VALUES.get(option.name, [])


@pytest.mark.parametrize("line", sorted(idle(), key=str), ids=lambda line: " ".join(map(str, line)))
def test_how_other_images_are_read(line):
    error = dcacn(*line, code=2).stderr
    assert f"Error: {line[2]} is for " in error and "; leave it out" in error


@pytest.mark.parametrize(
    "line, why",
    [
        ("embed rows.npz -o other.npz", "rows.npz holds features already; give images"),
        ("fit digits --no-extra", "--no-extra is for sources with unlabelled images (stl10), and digits has none"),
        ("fit rows.npz -k 2 --width 8", "--width is for images, and rows.npz holds features"),
        ("fit rows.npz -k 2 --set width=8", "width is for training from scratch, and rows.npz holds features"),
        ("fit folder --sort-how link", "--sort-how is for --sort-into, which is not given"),
        ("demo photos --no-baselines", "--no-baselines is for the digits"),
        ("similar rows.npz 0 --encoder lite2", "--encoder is for a folder of images"),
        ("similar rows.npz 0 --on-error skip", "--on-error is for a folder of images"),
        ("duplicates rows.npz --encoder lite2", "--encoder is for a folder of images"),
        ("duplicates rows.npz --encoder-weights w.pth", "--encoder-weights is for images"),
        ("duplicates folder --exact --encoder lite2", "--encoder is for similar images"),
    ],
)
def test_what_has_nothing_to_do(line, why):
    error = dcacn(*line.split(), code=2).stderr
    assert why in error and ("leave it out" in error or "give images" in error)


@pytest.mark.parametrize(
    "line, flag",
    [
        ("similar run 0 --encoder lite2", "--encoder"),
        ("duplicates run --on-error skip", "--on-error"),
        ("resume run --sort-how link", "--sort-how"),
        ("resume run --root x", "--root"),
        ("evaluate run --root x", "--root"),
        ("evaluate run --source folder --encoder-weights w.pth", "--encoder-weights"),
        ("export run net.onnx --source folder", "--source"),
        ("export run table.csv --encoder-weights w.pth", "--encoder-weights"),
        ("track run --project x", "--project"),
    ],
)
def test_what_a_run_has_no_use_for(line, flag, own_run):
    assert f"{flag} is for " in dcacn(*line.split(), code=2).stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("idle")
    images = folder_of_images(root / "folder", each=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        dcacn("fit", images, "--epochs", 1, "--encoder", "none", "--run-dir", root / "run", *TINY)
    return root / "run"


@pytest.fixture
def own_run(trained):
    shutil.copytree(trained, "run")
    assert os.path.exists("run/clusters.csv")
