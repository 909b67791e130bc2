"Paths on the command line: `~` after an equals sign, empty ones, names that no disk takes."

import os
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from command import dcacn, folder_of_images
from typer import BadParameter

from dcacn_nb.cli import options as o
from dcacn_nb.cli.app import app


def options(program):
    "Type and declaration of every option and argument of the commands, those in groups too."
    for command in program.registered_commands:
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            if hasattr(hint, "__metadata__"):
                yield name, hint.__origin__, hint.__metadata__[0]
    for group in program.registered_groups:
        yield from options(group.typer_instance)


def test_every_path_is_read_alike():
    "No command has a path or a source of its own kind."
    declared = list(options(app))
    paths = [(name, option.parser) for name, kind, option in declared if Path in (kind, *get_args(kind))]
    assert len(paths) > 30 and {parser for _, parser in paths} == {o.path, o.new_file}, paths
    sources = [option for name, kind, option in declared if name == "source" and option.help != "A known source."]
    assert len(sources) > 8 and {option.parser for option in sources} == {o.source}


def test_home_is_expanded_once(tmp_path, monkeypatch):
    "A shell leaves the `~` of --output=~/x as it is; a file whose own name begins so is found too."
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert o.path("~/f.npz") == tmp_path / "home" / "f.npz" and o.source("~/x") == str(tmp_path / "home" / "x")
    assert o.path("./~x") == tmp_path / "~x" and o.source("~nobody-of-that-name") == str(
        tmp_path / "~nobody-of-that-name"
    )
    assert o.path("runs/a") == Path("runs/a") and o.source("digits") == "digits" and o.source("./a/") == "./a/"


def test_a_file_in_the_home_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "f.npz").write_text("mine")
    folder_of_images(tmp_path / "images", each=1)
    assert "exists already" in dcacn("embed", "images", "--output=~/f.npz", code=2).stderr
    assert (tmp_path / "f.npz").read_text() == "mine" and not os.path.exists("~")


LONG = "n" * 300


@pytest.mark.parametrize(
    "wrong, message", [("", "must name"), (LONG, "a name of 300 bytes"), ("a/" * 3000, "too long")]
)
@pytest.mark.parametrize(
    "line",
    ["fit {}", "fit images -k 2 --run-dir {}", "fit images -k 2 --sort-into {}", "embed {}", "embed images -o {}"]
    + ["predict images {}", "predict {} images", "predict images images -o {}", "evaluate {}", "report {}"]
    + ["evaluate images --source {}", "duplicates {}", "export {} x.csv", "export images {}", "similar {} 0"],
)
def test_paths_that_cannot_be(tmp_path, line, wrong, message):
    "An empty path is not the current folder; a name too long is refused before any work."
    folder_of_images(tmp_path / "images", each=1)
    said = " ".join(
        re.sub("[─│╭╮╰╯]", " ", dcacn(*(part.format(wrong) for part in line.split()), code=2).stderr).split()
    )
    assert message in said and len(said) < 500


def test_names_leave_room_while_a_file_is_written(tmp_path):
    "The longest name that is taken is written; of the next one, that is said before any work."
    images = folder_of_images(tmp_path / "images", each=1)
    longest = next(n for n in range(255, 0, -1) if not refused("n" * n))
    dcacn("duplicates", images, "--exact", "-o", "n" * (longest - 4) + ".csv")
    for line in ("embed images -o {}.npz", "predict images images -o {}.csv", "export images {}.csv"):
        words = line.format("n" * (longest - 3)).split()
        assert f"at most {longest} are possible" in dcacn(*words, code=2).stderr
    assert o.path("n" * 255).name == "n" * 255


def refused(name):
    "Whether the name of a new file is refused."
    try:
        return not o.new_file(name)
    except BadParameter:
        return True
