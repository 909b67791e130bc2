"""For `make lab`: a notebook that was only opened is saved as it was, so that git shows no change.

JupyterLab notes the kernel's name and Python's version in every notebook that it opens, and saves them on its own.
"""

import json
from pathlib import Path

NOTED = ("kernelspec", "language_info")


def keep_metadata(model, path, contents_manager, **_):
    "Before a save: what JupyterLab notes about the kernel is left as the file has it."
    file = Path(contents_manager.root_dir) / path
    if model["type"] != "notebook" or model["content"]["nbformat"] != 4 or not file.is_file():
        return
    before = json.loads(file.read_text(encoding="utf-8"))["metadata"]
    metadata = {name: value for name, value in model["content"]["metadata"].items() if name not in NOTED}
    model["content"]["metadata"] = metadata | {name: before[name] for name in NOTED if name in before}


c.ContentsManager.pre_save_hook = keep_metadata  # noqa: F821 - Jupyter gives `c` to its configuration files
