"The course as a student meets it: a real JupyterLab in a real browser, Run All Cells, no error anywhere."

import json

import browser
import pytest
from browser import HARMLESS
from lessons import shortened
from project import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]
QUICKSTART = ROOT / "nbs" / "course" / "01_quickstart.ipynb"


def test_a_broken_notebook_is_caught(lab, page):
    "The driver sees an error of a cell, in the model and in the page: a check that cannot fail is none."
    browser.write_notebook(lab.root / "broken.ipynb", "1 + 1", "raise ValueError('on purpose')", "2 + 2")
    lab.open(page, "broken.ipynb")
    state = browser.run_all(page, 60)
    assert state["errors"] == ["ValueError: on purpose"]
    assert page.locator("text=on purpose").count() > 0


def test_live_widget_appears(lab, page, artifacts):
    "Widgets render in this Lab: a button is there, can be pressed, and Python hears of it."
    browser.write_notebook(
        lab.root / "widget.ipynb",
        "import ipywidgets\nfrom IPython.display import display",
        "button = ipywidgets.Button(description='press me')\nlabel = ipywidgets.Label('waiting')\n"
        "button.on_click(lambda _: setattr(label, 'value', 'heard'))\ndisplay(ipywidgets.VBox([button, label]))",
    )
    lab.open(page, "widget.ipynb")
    assert browser.run_all(page, 60)["errors"] == []
    page.get_by_role("button", name="press me").click()
    page.get_by_text("heard", exact=True).wait_for(timeout=10_000)
    browser.picture(page, artifacts / "widget.png")
    assert [c for c in page.complaints if c not in HARMLESS] == []


def test_quickstart(lab, page, artifacts):
    "The first lesson runs from top to bottom, shows no error, and is saved with its results."
    folder = lab.root / "course"
    folder.mkdir(exist_ok=True)
    shortened(QUICKSTART, folder)
    lab.open(page, f"course/{QUICKSTART.name}", kernel="own")  # it works in its own folder
    page.screenshot(path=str(artifacts / "quickstart-before.png"))
    state = browser.run_all(page, 600)
    browser.picture(page, artifacts / "quickstart.png")
    assert state["errors"] == [] and state["waiting"] == 0 and state["outputs"] > 0
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert page.get_by_text("Error displaying widget").count() == 0 and page.get_by_text("model not found").count() == 0
    assert [c for c in page.complaints if c not in HARMLESS] == []
    browser.save(page)
    saved = json.loads((folder / QUICKSTART.name).read_text(encoding="utf-8"))
    assert any(cell.get("outputs") for cell in saved["cells"])
