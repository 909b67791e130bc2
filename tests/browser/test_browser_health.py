"ClusterHealth in a real JupyterLab: words and pictures, pointer and keyboard, themes, languages, widths, what stays."

import json

import browser
import matplotlib
import numpy as np
import pytest
from browser import HARMLESS

from dcacn_nb.runs.thinned import ThinnedList

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONG = 60_000
# Four clusters, 80 images. Up to epoch 2 all is well; at epoch 3 cluster 1 is empty; from epoch 4 on everything is in
# cluster 2. Snapshots at 0 and 3.
EVENTS = """
import json
import numpy as np
from dcacn_nb.core.events import Evaluated, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.method.metrics import assignment_health
from dcacn_nb.widgets.health import ClusterHealth

def assignments(epoch, k=4):
    hard = np.arange(80) % k
    if epoch == 3:
        hard[hard == 1] = 0
    if epoch > 3:
        hard[:] = 2
    return 0.9 * np.eye(k)[hard] + 0.1 / k

def evaluated(epoch, k=4):
    return Evaluated(epoch, 10 * epoch, assignment_health(assignments(epoch, k), assignments(epoch, k)))

def snapshot(epoch):
    return SnapshotTaken(epoch, 10 * epoch, np.arange(80), {"p": assignments(epoch).astype(np.float32)})
"""
RUN = """
from pathlib import Path
Path("health_run").mkdir(exist_ok=True)
Path("health_run/clusters.json").write_text(json.dumps({"names": {"2": "<b>twos</b>"}}))
w = ClusterHealth(folder="health_run")
w(RunStarted("dcacn", {"balance_weight": 0.0, "epochs": 9, "lr": 0.002, "n_clusters": 4}, {}, 80, 90, 10))
for epoch in range(6):
    w(evaluated(epoch))
    if epoch % 3 == 0:
        w(snapshot(epoch))
w
"""
PIXEL = """(node, place) => {
  const [x, y] = place.map(share => Math.round(share * devicePixelRatio));
  return [...node.getContext('2d').getImageData(x, y, 1, 1).data];
}"""
PRINT = """node => {
  const {data} = node.getContext('2d').getImageData(0, 0, node.width, node.height);
  return data.reduce((sum, value) => (sum * 31 + value) >>> 0, 0);
}"""


class View:
    "The widget in the page."

    def __init__(self, page):
        self.page, self.root = page, page.locator(".dcacn").first
        self.panels = self.root.locator(".dcacn-health-panel")
        self.slider, self.list = self.root.get_by_role("slider"), self.root.locator(".dcacn-health-list")

    def canvas(self, i):
        "The canvas of a panel: sizes, over time, figures, likeness."
        return self.panels.nth(i).locator("canvas")

    def reading(self, i):
        "What the line under a panel says."
        return self.panels.nth(i).locator(".dcacn-health-reading")

    def says(self, locator, text):
        "Wait until an element holds a text."
        self.page.wait_for_function(
            "([node, text]) => node.textContent.includes(text)", arg=[locator.element_handle(), text], timeout=LONG
        )

    def point(self, i, x, y):
        "Move the pointer to a place in a canvas."
        self.canvas(i).scroll_into_view_if_needed()
        self.canvas(i).hover(position={"x": x, "y": y})

    def size(self, i):
        "Width and height of a canvas."
        box = self.canvas(i).bounding_box()
        return box["width"], box["height"]

    def prints(self):
        "A number for each picture, drawn again."
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return [self.canvas(i).evaluate(PRINT) for i in range(4)]


def opened(lab, page, name, *cells):
    "A notebook that has run, and the widget in it."
    browser.write_notebook(lab.root / name, EVENTS, *cells)
    lab.open(page, name)
    assert browser.run_all(page, 240)["errors"] == []
    view = View(page)
    view.panels.nth(3).wait_for(timeout=LONG)
    return view


def cell(view, epoch, cluster, n=6, k=4):
    "Middle of a cell of the heat map: its axes are those that health.js draws (34 left, 46 right, 12 above, 34 below)."
    width, height = view.size(1)
    return 34 + (epoch + 0.5) / n * (width - 80), 12 + (cluster + 0.5) / k * (height - 46)


def test_health_while_it_trains(lab, page, artifacts):
    "Diagnosis, readings, similarity, keyboard, following, languages; then the end of the run and what stays."
    view = opened(lab, page, "health_live.ipynb", RUN)
    # the newest epoch: collapse, with the present settings; similarity of the snapshot before it
    view.says(
        view.list,
        "✕ ProblemCollapse: cluster 2 holds 100% of the images. "
        "What to try: raise balance_weight (now 0, usually 1); lower lr (now 0.002).",
    )
    assert view.list.locator("..").get_attribute("role") == "status" and view.list.locator("li").count() == 1
    view.says(view.panels.nth(3), "Similarity of clusters, snapshot of epoch 3")
    p = np.float32(
        page.evaluate("() => 0.025") + 0.9 * np.eye(4)[[0, 0, 2, 3]]
    )  # what the images of each kind get at epoch 3
    like = (p.T @ p) / np.sqrt(np.outer((p**2).sum(0), (p**2).sum(0)))
    pair = max(((i, j) for i in range(4) for j in range(i + 1, 4)), key=lambda ij: like[ij])
    names = ["cluster 2 (<b>twos</b>)" if k == 2 else f"cluster {k}" for k in pair]
    view.says(view.reading(3), f"The most similar: {' and '.join(names)}, {like[pair]:.2f}.")
    page.set_viewport_size({"width": 1280, "height": 1700})
    view.prints()
    view.root.screenshot(path=str(artifacts / "health-live.png"))

    # pointer: a bar, a cell of the heat map (its colour is matplotlib's), a pair
    width, height = view.size(0)
    view.point(0, 46 + 2.5 / 4 * (width - 76), height / 2)
    view.says(
        view.reading(0),
        "cluster 2 (<b>twos</b>): mass 92.5 %, 3.70 times an even share; 100 % of the images · L: large",
    )
    view.point(1, *cell(view, 3, 1))
    view.says(view.reading(1), "epoch 3, cluster 1: 0.10 times an even share (2.5 %) · E: empty or nearly so")
    shade = [round(255 * c) for c in matplotlib.colormaps["cividis"](1 / 3)]
    x, y = cell(view, 1, 3)
    assert np.abs(np.subtract(view.canvas(1).evaluate(PIXEL, [x, y + 12]), shade)).max() <= 4
    width, height = view.size(3)
    side = min(width - 80, height - 44)
    left = max(34, (width - side - 46) / 2)
    view.point(3, left + 3.5 / 4 * side, 6 + 0.5 / 4 * side)
    view.says(view.reading(3), f"cluster 0 and cluster 3: {like[0, 3]:.2f}")
    assert (
        np.abs(
            np.subtract(
                view.canvas(3).evaluate(PIXEL, [left + 0.3 / 4 * side, 6 + 0.4 / 4 * side]), [254, 232, 56, 255]
            )
        ).max()
        <= 4
    )

    # a click chooses the epoch; the keys continue from there; new evaluations do not take it away
    view.canvas(1).click(position=dict(zip("xy", cell(view, 3, 0))))
    view.says(view.list, "! Warning1 of 4 clusters is empty")
    view.slider.focus()
    page.keyboard.press("ArrowLeft")
    view.says(view.list, "✓ GoodNo sign of collapse: all 4 clusters are in use, view information 1.00")
    view.says(view.panels.nth(3), "snapshot of epoch 0")
    assert view.slider.get_attribute("aria-valuetext") == "epoch 2"
    view.canvas(2).focus()
    page.keyboard.press("ArrowRight")
    view.says(view.reading(2), "epoch 3: view information ")
    view.canvas(0).focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    view.says(view.reading(0), "cluster 1: mass 2.5 %")
    browser.run_python(page, "w(evaluated(6))")
    page.wait_for_function("node => node.max === '6'", arg=view.slider.element_handle(), timeout=LONG)
    assert view.slider.input_value() == "3" and "newest" not in view.root.inner_text()
    view.slider.focus()
    page.keyboard.press("End")
    view.says(view.root, "newest: follows the run")
    browser.run_python(page, "w(evaluated(7)); w(snapshot(7))")
    view.says(view.root, "epoch 7newest")
    view.says(view.panels.nth(3), "snapshot of epoch 7")

    # playing goes from the beginning to the end, and stops
    play = view.root.get_by_role("button", name="Play")
    play.click()
    view.says(view.list, "Epoch 0: the network is not trained yet.")
    assert view.list.locator("..").get_attribute("aria-live") == "off"
    view.root.get_by_role("button", name="Pause").wait_for(timeout=LONG)
    view.says(view.root, "epoch 7newest")
    play.wait_for(timeout=LONG)

    # Chinese: the epoch chosen stays
    view.slider.focus()
    page.keyboard.press("Home")
    browser.run_python(page, "w.lang = 'zh'")
    view.says(view.list, "第 0 轮：网络尚未训练")
    view.says(view.reading(0), "平均份额为 25 %")
    assert view.slider.input_value() == "0" and view.root.get_attribute("lang") == "zh-Hans"
    view.root.screenshot(path=str(artifacts / "health-zh.png"))

    # the end: the widget continues in its place, and a notebook opened again has the picture
    browser.run_python(page, "w.lang = 'en'; w(RunFinished('completed', 80, 8))")
    page.locator(".dcacn-last", has_text="Epoch 7: 4 clusters").wait_for(state="attached", timeout=LONG)
    view.says(page.locator(".dcacn-place"), "Epoch 0: the network is not trained yet")  # what was chosen stays chosen
    assert not page.locator(".dcacn-last").is_visible()
    assert [c for c in page.complaints if c not in HARMLESS] == []
    browser.save(page)
    saved = json.loads((lab.root / "health_live.ipynb").read_text(encoding="utf-8"))
    text = "".join(saved["cells"][-1]["outputs"][1]["data"]["text/html"])  # below the place of the widget
    assert (
        "Epoch 7: 4 clusters of 0.0% to 100.0% of the images" in text
        and "Health over 8 evaluations" in text
        and "data:image/png;base64" in text
    )


def test_health_looks_well(lab, page, artifacts):
    "Light, dark, narrow, 200 clusters: four pictures, nothing sticks out, no numbers overlap; a long run is thinned."
    many = """
rng = np.random.default_rng(0)
w = ClusterHealth()
w(RunStarted("dcacn", {"balance_weight": 1.0}, {}, 1000, 90, 10))
for epoch in range(30):
    empty = 20 * (np.arange(200) % 50 == 49) * (epoch > 20)
    logits = epoch / 3 * np.eye(200)[np.arange(1000) % 200] + 0.3 * rng.normal(size=(1000, 200)) - empty
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    w(Evaluated(epoch, 10 * epoch, assignment_health(p)))
w(SnapshotTaken(29, 290, np.arange(1000), {"p": p.astype(np.float32)}))
w
"""
    view = opened(lab, page, "health_many.ipynb", many, "small = ClusterHealth(limit=4)\nsmall")
    view.says(view.list, "4 of 200 clusters are empty")
    view.says(view.panels.nth(3), "snapshot of epoch 29")
    text = view.root.inner_text()
    assert (
        "view" not in text
        and "Good: high balance entropy, low assignment entropy, none empty." in text
        and "assignment entropy 0." in text
        and "NaN" not in text
    )
    light = view.prints()
    view.root.screenshot(path=str(artifacts / "health-many.png"))
    browser.change_theme(page, "Dark")
    page.wait_for_function(
        "([node, print, was]) => new Function('node', `return (${print})(node)`)(node) !== was",
        arg=[view.canvas(3).element_handle(), PRINT, light[3]],
        timeout=LONG,
    )
    dark = view.prints()
    assert all(a != b for a, b in zip(light, dark)) and len(set(dark)) == 4
    view.root.screenshot(path=str(artifacts / "health-many-dark.png"))

    page.evaluate("""() => {
      window.drawn = new Map();
      const fill = CanvasRenderingContext2D.prototype.fillText, clear = CanvasRenderingContext2D.prototype.clearRect;
      CanvasRenderingContext2D.prototype.clearRect = function(...a) {
        window.drawn.set(this.canvas, []);
        return clear.apply(this, a);
      };
      CanvasRenderingContext2D.prototype.fillText = function(text, x, y) {
        const wide = this.measureText(text).width;
        const left = x - wide * ({center: 0.5, right: 1}[this.textAlign] ?? 0);
        window.drawn.get(this.canvas)?.push([text, left, y - 6, left + wide, y + 6]);
        return fill.call(this, text, x, y);
      };
    }""")
    view.root.evaluate("node => { node.style.width = '380px'; }")
    page.wait_for_function(
        "() => window.drawn.size >= 4 && [...window.drawn.values()].every(list => list.length)", timeout=LONG
    )
    view.prints()
    assert view.root.evaluate("node => node.scrollWidth <= node.clientWidth && node.clientWidth <= 380")
    for texts, width in page.evaluate("() => [...window.drawn].map(([node, texts]) => [texts, node.clientWidth])"):
        assert all(left >= -1 and right <= width + 1 for _, left, _, right, _ in texts), texts
        overlaps = [
            (a[0], b[0])
            for i, a in enumerate(texts)
            for b in texts[:i]
            if a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]
        ]
        assert overlaps == []
    page.set_viewport_size({"width": 1000, "height": 2300})
    view.root.screenshot(path=str(artifacts / "health-narrow.png"))

    # the browser forgets what Python forgets: its slider goes through the epochs of the thinned list, in this order
    kept = ThinnedList(4)
    for epoch in range(23):
        kept.append(f"epoch {epoch}")
    browser.run_python(page, "for epoch in range(23): small(evaluated(epoch))")
    slider = page.locator(".dcacn").nth(1).get_by_role("slider")
    page.wait_for_function(
        "node => node.getAttribute('aria-valuetext') === 'epoch 22'", arg=slider.element_handle(), timeout=LONG
    )
    slider.focus()
    page.keyboard.press("Home")
    seen = [slider.get_attribute("aria-valuetext")]
    for _ in range(int(slider.get_attribute("max"))):
        page.keyboard.press("ArrowRight")
        seen.append(slider.get_attribute("aria-valuetext"))
    assert seen == list(kept) and len(seen) <= 5
    assert [c for c in page.complaints if c not in HARMLESS] == []
