"""Write the modules of nbs/method, nbs/baselines and nbs/heads: `make export`.

This is nbdev's own export of each notebook, without what `nbdev-export` does besides: it would list modules in the
docstring of dcacn_nb/__init__.py and write an index and a text file that nothing here uses."""

from pathlib import Path

from nbdev.export import nb_export

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    for folder in ("method", "baselines", "heads"):
        for notebook in sorted((ROOT / "nbs" / folder).rglob("*.ipynb")):
            if ".ipynb_checkpoints" not in notebook.parts:
                nb_export(notebook)
