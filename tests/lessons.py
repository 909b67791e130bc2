"Lessons with less to do, for tests that run them."

import shutil

import nbformat
from project import ROOT

# What a lesson's code says -> what it says in the tests, which then take seconds; readers have what the notebook says.
HALF = {"batch_size=50": "batch_size=25"}  # of half the images: as many steps
OF_400, OF_500, OF_600 = (HALF | {f"limit={n}": f"limit={n // 2}"} for n in (400, 500, 600))
SHORTER = {
    "baselines/05_iic": OF_600 | {"[:300]": "[:150]"},
    "baselines/06_pica": OF_600,
    "baselines/08_simclr": OF_600,
    "baselines/11_propos": OF_400,
    "baselines/parts/03_selflabel": OF_400,
    "course/01_quickstart": {"EPOCHS = 20": "EPOCHS = 2", 'load_images("digits")': 'load_images("digits", limit=600)'},
    "course/02_step_by_step": {
        "EPOCHS = 15": "EPOCHS = 2",
        'load_images("digits")': 'load_images("digits", limit=600)',
    },
    "course/03_watch_it_learn": {"EPOCHS = 12": "EPOCHS = 1", "LIMIT = None": "LIMIT = 300"},
    "course/05_one_run": {"limit=600": "limit=300"},
    "course/08_ablation_lab": {"IMAGES = 500": "IMAGES = 250"},
    "course/09_table2": {"IMAGES = 400": "IMAGES = 200"},
    "course/12_read_a_report": OF_500,
    "course/14_the_command": {"--epochs 10": "--epochs 5", "--set epochs=6": "--set epochs=2"},
    "method/10_head_start": OF_500 | {"45_000": "22_500", "500 * (": "250 * ("},
}


def shortened(path, folder):
    "The notebook itself, or a copy in `folder` with less to do."
    changes = SHORTER.get(path.relative_to(ROOT / "nbs").with_suffix("").as_posix())
    if changes is None:
        return path
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for old, new in changes.items():
        assert any(old in cell.source for cell in code), f"{path.name} says nowhere {old!r}"
        for cell in code:
            cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, folder / path.name)
    shutil.copy(ROOT / "pyproject.toml", folder)  # nbdev looks for its settings above a notebook
    return folder / path.name
