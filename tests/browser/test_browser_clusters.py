"The cluster browser in a real JupyterLab: images, edits by mouse and by keyboard, files, themes, Chinese, what stays."

import json
import re

import browser
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SETUP = """
import numpy as np
from pathlib import Path
from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.widgets import ClusterBrowser

N, K = 1400, 14
i = np.arange(N)
pixels = np.stack([i % 256, i * 7 % 256, i * 13 % 256], 1).astype(np.uint8)
images = np.broadcast_to(pixels[:, :, None, None], (N, 3, 8, 8)).copy()

def assigned(shift=0):
    p = np.full((N, K), 0.0, np.float32)
    sure = 0.51 + 0.44 * (i // K) / (N // K)  # in each cluster, the later an image the surer
    p[i, (i + shift) % K], p[i, (i + shift + 1) % K] = sure, 1 - sure
    return p

def snapshot(epoch, shift=0):
    rows = i[::10]
    arrays = {"p": assigned(shift)[rows]} | ({"images": images[rows]} if epoch == 0 else {})
    return SnapshotTaken(epoch, epoch, rows, arrays)

Path("clusters_damaged").mkdir(exist_ok=True)
Path("clusters_damaged/clusters.json").write_text('{"names": {"0": "prec')
whole = ClusterBrowser(images=images, probabilities=assigned(), folder="clusters_run")
damaged = ClusterBrowser(images=images[:28], probabilities=assigned()[:28], folder="clusters_damaged")
live = ClusterBrowser()
for event in (RunStarted("dcacn", {}, {}, N, 100, 10), snapshot(0)):
    live(event)
"""
READING, SAID = ".dcacn-clusters-reading", ".dcacn-clusters-said"


class View:
    "One view of a browser in the page."

    def __init__(self, page, cell):
        self.page, self.root = page, page.locator(".jp-CodeCell").nth(cell).locator("section.dcacn-clusters")
        self.root.locator(".dcacn-clusters-card").first.wait_for(timeout=90_000)

    def card(self, label):
        return self.root.locator(f'article[aria-label="{label}"]')

    def press(self, text):
        self.root.get_by_role("button", name=text, exact=True).click()

    def says(self, where, text):
        "Wait until a line holds a text."
        self.root.locator(where).filter(has_text=text).wait_for(timeout=30_000)

    def drawn(self, images):
        "Wait until pictures are there; the upper left pixel of each."
        handle = images.element_handles()
        self.page.wait_for_function("all => all.every(b => b.firstChild.width > 1)", arg=handle, timeout=30_000)
        return [
            self.page.evaluate("b => [...b.firstChild.getContext('2d').getImageData(0, 0, 1, 1).data].slice(0, 3)", one)
            for one in handle
        ]


def strip(card, which):
    "The pictures at one end of a card."
    return card.locator(".dcacn-clusters-strip").nth(which).locator("button")


def numbers(images):
    "Which images they say they are."
    return [
        int(re.match(r"image (\d+)", text).group(1)) for text in images.evaluate_all("all => all.map(b => b.ariaLabel)")
    ]


def test_clusters_by_hand(lab, page, artifacts):
    "Look, name, merge, split, undo, page, export: by mouse and by keyboard, with a second view in step."
    browser.write_notebook(lab.root / "clusters_live.ipynb", SETUP, "whole", "whole", "damaged", "live")
    lab.open(page, "clusters_live.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    assert browser.run_all(page, 120)["errors"] == []
    view, other = View(page, 1), View(page, 2)
    look_at_pictures(page, view)
    view.root.screenshot(path=str(artifacts / "clusters-light.png"))
    name_and_merge(page, view, other, lab.root / "clusters_run" / "clusters.json")
    split_by_keyboard(page, view, other)
    show_all_and_sort(page, view, artifacts)
    take_home(page, view, lab.root / "clusters_run" / "clusters.csv")
    set_aside(View(page, 3), lab.root / "clusters_damaged")
    train_on(page, View(page, 4))
    assert page.complaints == []
    browser.save(page)


def look_at_pictures(page, view):
    "The right images at either end, each with its own pixels, and in words what the network thinks of it."
    card = view.card("cluster 3")
    surest, doubtful = strip(card, 0), strip(card, 1)
    assert numbers(surest) == [1389, 1375, 1361, 1347, 1333, 1319] and numbers(doubtful) == [3, 17, 31, 45, 59, 73]
    for images in (surest, doubtful):
        assert view.drawn(images) == [[n % 256, n * 7 % 256, n * 13 % 256] for n in numbers(images)]
    doubtful.nth(0).hover()
    view.says(READING, "image 3: cluster 3 0.51, second cluster 4 0.49")
    assert "100 images, 7.1 %" in card.inner_text()
    view.root.locator("input[type=range]").fill("2")
    assert surest.count() == 2
    view.root.locator("input[type=range]").fill("6")


def name_and_merge(page, view, other, file):
    "A name is text, whatever it looks like; two clusters become one under it; the other view follows, the file too."
    box = view.card("cluster 3").get_by_role("textbox")
    box.fill("<i>threes</i> & co")
    page.keyboard.press("Enter")
    view.says(SAID, "cluster 3 is now called <i>threes</i> & co.")
    assert other.card("<i>threes</i> & co").get_by_role("textbox").input_value() == "<i>threes</i> & co"
    assert json.loads(file.read_text())["names"] == {"3": "<i>threes</i> & co"}
    view.card("<i>threes</i> & co").get_by_role("checkbox").check()
    view.card("cluster 5").get_by_role("checkbox").check()
    view.press("Merge 2 clusters")
    view.says(SAID, "Merged into <i>threes</i> & co.")
    assert page.evaluate("document.activeElement.ariaLabel") == "name of clusters 3 + 5"  # where work continues
    assert (
        other.root.locator("article").count() == 12
        and other.card("cluster 5").count() == 0
        and "200 images" in other.card("<i>threes</i> & co").inner_text()
    )
    view.press("Take apart")
    view.says(SAID, "was taken apart")
    view.press("Undo")
    view.says(SAID, "Undone.")
    assert "clusters 3 + 5" in view.card("<i>threes</i> & co").inner_text()


def split_by_keyboard(page, view, other):
    "Arrows, Space and Tab alone; keys that mean something to JupyterLab around stay in the widget."
    first = strip(view.card("cluster 1"), 0).nth(0)
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    view.says(READING, "image 1317: cluster 1")
    assert strip(view.card("cluster 1"), 0).evaluate_all("all => all.map(b => b.ariaPressed)") == [
        "false",
        "true",
        "false",
        "false",
        "false",
        "true",
    ]
    for key in "ddjx":
        page.keyboard.press(key)  # in JupyterLab these would delete, leave and cut the cell
    assert page.locator(".jp-CodeCell").count() == 5 and page.evaluate("document.activeElement.className").startswith(
        "dcacn-clusters-image"
    )
    assert other.root.locator("[aria-pressed=true]").count() == 0  # a selection is one view's own
    view.root.get_by_role("button", name="Split off", exact=True).focus()
    page.keyboard.press("Enter")
    view.says(SAID, "Split off 2 image(s): new cluster 14.")
    page.wait_for_function(
        "document.activeElement.ariaLabel === 'name of new cluster 14'"
    )  # on the second page of cards, which it turned to
    page.keyboard.type("odd ones")
    page.keyboard.press("Enter")
    view.says(SAID, "new cluster 14 is now called odd ones.")
    assert (
        numbers(view.card("odd ones").locator(".dcacn-clusters-image")) == [1373, 1317]
        and view.root.locator("article").count() == 2
    )
    view.root.get_by_role("button", name="Previous", exact=True).last.click()
    strip(view.card("cluster 0"), 1).nth(0).click()
    strip(view.card("cluster 0"), 1).nth(3).click(modifiers=["Shift"])
    assert view.root.locator(".dcacn-clusters-count").inner_text() == "4 selected"
    view.root.get_by_label("cluster to move to").select_option(label="odd ones")
    view.press("Move to")
    view.says(SAID, "4 image(s) moved to odd ones.")
    assert "96 images" in view.card("cluster 0").inner_text() and "96 images" in other.card("cluster 0").inner_text()


def show_all_and_sort(page, view, artifacts):
    "Everything between the ends, page by page, in both themes; cards in other orders."
    card = view.card("cluster 2")
    card.get_by_role("button", name="Show all 100").click()
    images = card.locator(".dcacn-clusters-between .dcacn-clusters-image")
    page.wait_for_function(
        "() => document.querySelectorAll('.dcacn-clusters-between:not([hidden]) .dcacn-clusters-image').length === 60",
        timeout=30_000,
    )
    seen = numbers(images)
    card.get_by_role("button", name="Next", exact=True).click()
    page.wait_for_function(
        "() => document.querySelectorAll('.dcacn-clusters-between:not([hidden]) .dcacn-clusters-image').length === 40",
        timeout=30_000,
    )
    assert seen + numbers(images) == list(range(1388, 0, -14))
    assert view.drawn(images)[39] == [2, 14, 26]
    light = page.evaluate("getComputedStyle(document.querySelector('.dcacn-clusters-card')).backgroundColor")
    browser.change_theme(page, "Dark")
    assert page.evaluate("getComputedStyle(document.querySelector('.dcacn-clusters-card')).backgroundColor") != light
    view.root.screenshot(path=str(artifacts / "clusters-dark.png"))
    browser.change_theme(page, "Light")
    card.get_by_role("button", name="Show less").click()
    view.root.get_by_label("sort by").select_option("size")
    assert view.root.locator("article").first.get_attribute("aria-label") == "<i>threes</i> & co"
    view.root.get_by_label("sort by").select_option("name")
    assert view.root.locator("article").evaluate_all("all => all.slice(0, 3).map(a => a.ariaLabel)") == [
        "<i>threes</i> & co",
        "odd ones",
        "cluster 0",
    ]


def take_home(page, view, file):
    "The table as a file of the run, and as a download: the same."
    view.press("Write clusters.csv")
    view.says(SAID, "clusters_run/clusters.csv")
    with page.expect_download(timeout=30_000) as download:
        view.press("Download CSV")
    data = download.value.path().read_bytes()
    assert data == file.read_bytes() and download.value.suggested_filename == "clusters.csv"
    rows = data.decode("utf-8-sig").splitlines()
    assert (
        len(rows) == 1401
        and rows[0] == "index,cluster,group,name,confidence"
        and rows[1 + 1373].startswith("1373,1,14,odd ones,0.9")
    )


def set_aside(view, folder):
    "A damaged file: said, left alone, set aside when asked."
    assert (
        "stays as it is" in view.root.get_by_role("alert").inner_text()
        and view.root.locator("input[type=checkbox]").count() == 12
    )
    view.press("Set the file aside and start over")
    view.says(SAID, "clusters.damaged-1.json")
    assert (
        not view.root.get_by_role("alert").is_visible()
        and (folder / "clusters.damaged-1.json").read_text() == '{"names": {"0": "prec'
    )


def train_on(page, view):
    "A snapshot while a name is being typed: the cards change, the text and the focus stay. The view outlives the run."
    box = view.card("cluster 2").get_by_role("textbox")
    box.click()
    page.keyboard.type("half a na")
    before = numbers(strip(view.card("cluster 2"), 0))
    browser.run_python(page, "live(snapshot(1, shift=2))")
    view.says(".dcacn-summary", "Epoch 1: 140 of 1,400 images (the sample) in 14 clusters")
    assert box.input_value() == "half a na" and box.evaluate("b => b === document.activeElement")
    assert before and numbers(strip(view.card("cluster 2"), 0)) not in ([], before)
    page.keyboard.type("me")
    page.keyboard.press("Enter")
    view.says(SAID, "cluster 2 is now called half a name.")
    browser.run_python(page, "live(RunFinished('completed', 100, 10))")
    again = View(page, 4)
    page.locator(".jp-CodeCell").nth(4).locator(".dcacn-place .dcacn-clusters").wait_for(timeout=30_000)
    again.card("half a name").get_by_role("textbox").fill("after the end")
    page.keyboard.press("Enter")
    again.says(SAID, "half a name is now called after the end.")
    assert (
        page.locator(".dcacn-last").evaluate_all("all => all.map(e => e.offsetHeight)") == [0] * 4
    )  # pictures wait behind the views


def test_clusters_narrow_chinese_and_what_stays(lab, page, artifacts):
    "The notebook opened again has the names, fits 400 pixels, speaks Chinese; without its kernel the picture stays."
    lab.open(page, "clusters_live.ipynb")
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    browser.run_python(page, "whole.lang = 'zh'")
    view = View(page, 1)
    view.card("<i>threes</i> & co").wait_for(timeout=30_000)
    assert (
        view.root.get_by_role("button", name="撤销", exact=True).is_enabled()
        and "个簇" in view.root.locator(".dcacn-summary").inner_text()
    )
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_function("() => document.querySelector('.dcacn-clusters').clientWidth < 400")
    assert page.evaluate(
        """() => {
      const parts = [...document.querySelectorAll('.dcacn-clusters, .dcacn-clusters-card')];
      return parts.every(part => part.scrollWidth <= part.clientWidth + 1);
    }"""
    )
    view.drawn(strip(view.card("<i>threes</i> & co"), 0))
    view.root.scroll_into_view_if_needed()
    page.screenshot(path=str(artifacts / "clusters-narrow-zh.png"))
    page.set_viewport_size({"width": 1280, "height": 900})
    stored = json.loads((lab.root / "clusters_live.ipynb").read_text())["cells"][4]["outputs"][1]["data"]
    assert "data:image/webp;base64" in "".join(stored["text/html"]) and "half a name" in "".join(
        stored["text/plain"]
    ) + "".join(stored["text/html"])
    lab.open(page, "clusters_live.ipynb", kernel=None)
    last = page.locator(".jp-CodeCell").nth(4).locator(".dcacn-last")
    last.wait_for(timeout=60_000)
    assert page.locator(".dcacn-last").count() == 4 and page.get_by_text("Loading widget").count() == 0
    assert last.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    last.scroll_into_view_if_needed()
    page.screenshot(path=str(artifacts / "clusters-stays.png"))
