"What `make lab` adds to JupyterLab."

import copy
import json
import runpy
from types import SimpleNamespace

import pytest
from project import ROOT

CONFIG = ROOT / "tools" / "jupyter" / "jupyter_server_config.py"
OURS = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
NOTED = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "version": "3.14.1"},
}


@pytest.fixture
def save(tmp_path):
    "What a save makes of the content of a notebook."
    config = SimpleNamespace(ContentsManager=SimpleNamespace())
    runpy.run_path(str(CONFIG), {"c": config})

    def saved(content, kind="notebook"):
        model = {"type": kind, "content": copy.deepcopy(content)}
        config.ContentsManager.pre_save_hook(model, "a.ipynb", SimpleNamespace(root_dir=str(tmp_path)))
        return model["content"]

    return saved


def test_a_notebook_that_was_only_opened_is_saved_as_it_was(save, tmp_path):
    "JupyterLab notes the kernel in it; git would show a change. What a person changes is saved."
    before = {"cells": [], "metadata": OURS | {"title": "old"}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "a.ipynb").write_text(json.dumps(before), encoding="utf-8")
    assert save(before | {"metadata": NOTED | {"title": "old"}}) == before
    assert save(before | {"metadata": NOTED | {"title": "new"}})["metadata"] == OURS | {"title": "new"}


def test_other_files_and_new_notebooks_are_saved_as_they_come(save, tmp_path):
    new = {"cells": [], "metadata": NOTED, "nbformat": 4, "nbformat_minor": 5}
    assert save(new) == new
    assert save("text", "file") == "text"


def test_make_lab_uses_it():
    assert f"lab: export JUPYTER_CONFIG_PATH := $(CURDIR)/{CONFIG.parent.relative_to(ROOT)}" in (
        ROOT / "Makefile"
    ).read_text(encoding="utf-8")
