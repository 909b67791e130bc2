"Lessons with shorter parameters, for tests that run them."

import shutil

import nbformat
from project import ROOT

# Shorter parameters for the tests, so that a lesson takes seconds; the reader has the values in the notebook.
SHORTER = {
    "course/01_quickstart": {"EPOCHS": 2},
    "course/02_step_by_step": {"EPOCHS": 2},
    "course/03_watch_it_learn": {"EPOCHS": 1, "LIMIT": 600},
}


def shortened(path, folder):
    "The notebook itself, or a copy in `folder` whose cell tagged `parameters` ends with shorter ones."
    values = SHORTER.get(path.relative_to(ROOT / "nbs").with_suffix("").as_posix())
    if values is None:
        return path
    notebook = nbformat.read(path, 4)
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    unknown = [name for name in values if f"{name} =" not in cell.source]
    assert not unknown, f"{path.name} has no parameter {unknown}"
    cell.source += "\n" + "\n".join(f"{name} = {value!r}" for name, value in values.items())
    nbformat.write(notebook, folder / path.name)
    shutil.copy(ROOT / "pyproject.toml", folder)  # nbdev looks for its settings above a notebook
    return folder / path.name
