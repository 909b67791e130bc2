"The attention viewer in a real JupyterLab: colours, keyboard, epochs, two runs, themes, languages, what stays."

import browser
import matplotlib
import pytest
from browser import HARMLESS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LONG = 60_000
# One cell of the attention map is 0.92, all others are 0.12; it moves down one row per epoch. Activation is twice that
# with CBAM, and eight times without.
EVENTS = """
import numpy as np
from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.widgets.attention import AttentionViewer

def snapshot(epoch, attention=True):
    rows, arrays = np.arange(8), {"h": np.zeros((8, 4), np.float32), "p": np.full((8, 2), 0.5, np.float32)}
    for block, side, channels in [("layer1.0", 8, 6), ("layer2.0", 4, 12)]:
        maps = np.full((8, side, side), 0.12, np.float32)
        maps[:, min(epoch, side - 1), 1] = 0.92
        arrays[f"activation.{block}"] = (2 if attention else 8) * maps
        if attention:
            arrays[f"spatial_attention.{block}"] = maps[:, None]
            weights = np.roll(np.linspace(0.2, 0.8, channels), epoch)
            arrays[f"channel_attention.{block}"] = np.tile(weights, (8, 1)).astype(np.float32)
    if epoch == 0:
        y, x = np.mgrid[:16, :16]
        images = [[(x * 16 + 20 * i) % 256, y * 16, np.full((16, 16), 30 * i)] for i in range(8)]
        arrays["images"] = np.stack(images).astype(np.uint8)
    return SnapshotTaken(epoch, epoch, 10 + rows, arrays)

class Stub:
    "A run with nothing but observers."
    folder = None
    def subscribe(self, observer):
        self.observer = observer

def start(attention):
    return RunStarted("dcacn", {"attention": attention}, {}, 8, 10, 1)

other = Stub()
w = AttentionViewer(without=other)
w(start(True)); other.observer(start(False))
for epoch in range(4):
    w(snapshot(epoch))
    if epoch != 3:
        other.observer(snapshot(epoch, False))
w
"""
PIXEL = """(node, [x, y]) => {
  const [column, row] = [Math.floor(x * node.width), Math.floor(y * node.height)];
  return [...node.getContext('2d').getImageData(column, row, 1, 1).data].slice(0, 3);
}"""


def colour(share):
    "The colour of a value, 0 to 1, from matplotlib itself."
    return [round(255 * c) for c in matplotlib.colormaps["viridis"](round(255 * share))[:3]]


def near(found, wanted):
    "Whether two colours are the same but for rounding."
    return all(abs(a - b) <= 2 for a, b in zip(found, wanted))


def wait_text(page, locator, text):
    "Wait until an element holds a text."
    page.wait_for_function(
        "([node, text]) => node.textContent.includes(text)", arg=[locator.element_handle(), text], timeout=LONG
    )


def wait_pixel(page, canvas, place, wanted):
    "Wait until a drawing has a colour at a place (shares of width and height)."
    page.wait_for_function(
        f"([node, place, wanted]) => ({PIXEL})(node, place).every((c, i) => Math.abs(c - wanted[i]) <= 2)",
        arg=[canvas.element_handle(), place, wanted],
        timeout=LONG,
    )


@pytest.fixture
def viewer(lab, page):
    "The notebook with a living viewer of two runs, its `section`."
    browser.write_notebook(lab.root / "attention_live.ipynb", EVENTS)
    page.set_viewport_size(
        {"width": 1280, "height": 1900}
    )  # high enough for a picture of the whole widget, narrow or wide
    lab.open(page, "attention_live.ipynb")
    assert browser.run_all(page, 120)["errors"] == []
    section = page.locator("section.dcacn").first
    section.locator("figure canvas").first.wait_for(timeout=LONG)
    return section


def test_attention_viewer(lab, page, artifacts, viewer):
    "All of it on one page, because a page takes long to open."
    parts = viewer.locator(".dcacn-attention-maps > .dcacn-attention-part")
    check_start(page, viewer, parts)
    viewer.screenshot(path=str(artifacts / "attention-light.png"))
    check_colours(page, viewer, parts)
    check_keyboard(page, viewer, parts)
    check_bars(page, viewer)
    check_epochs(page, viewer, parts)
    check_language_and_themes(page, viewer, artifacts)
    check_end(lab, page, artifacts)
    assert [c for c in page.complaints if c not in HARMLESS] == []


def check_start(page, viewer, parts):
    "Both runs are there, each at its newest or nearest epoch, with four images chosen."
    wait_text(page, parts.nth(2), "epoch 2")
    assert [" ".join(parts.nth(i).get_attribute("aria-label").split()) for i in range(parts.count())] == [
        "spatial attention, this run · with CBAM · epoch 3",
        "activation strength, this run · with CBAM · epoch 3",
        "activation strength, other run · without CBAM · epoch 2",
    ]
    thumbs = viewer.locator(".dcacn-attention-thumb")
    assert thumbs.count() == 8 and viewer.locator(".dcacn-attention-thumb[aria-pressed=true]").count() == 4
    assert parts.nth(0).locator("figure").count() == 4
    assert (
        "Epoch 3, block layer1.0: spatial attention of 8 images from 0.12 to 0.92; "
        "6 channels, the strongest 0.80 (channel 2)." in viewer.inner_text()
    )
    thumbs.nth(6).focus()
    page.keyboard.press("Space")
    parts.nth(0).locator("figure[data-image='16']").wait_for(timeout=LONG)
    thumbs.nth(0).click()
    parts.nth(0).locator("figure[data-image='10']").wait_for(state="detached", timeout=LONG)
    assert parts.nth(2).locator("figure").evaluate_all("all => all.map(f => f.dataset.image)") == [
        "11",
        "12",
        "13",
        "16",
    ]


def check_colours(page, viewer, parts):
    "Without the image below, a cell has exactly the colour of its value; smoothing and stretching change it."
    canvas, activation, beside = (parts.nth(i).locator("canvas[role=img]").first for i in range(3))
    inside, outside = [1.5 / 8, 3.5 / 8], [6.5 / 8, 6.5 / 8]
    grey = canvas.evaluate(PIXEL, outside)
    strength = viewer.get_by_label("overlay")
    strength.focus()
    page.keyboard.press("Home")  # nothing over the image: red and green 104, blue 30 of image 11, in grey
    page.wait_for_function(
        f"([node, place]) => {{ const [r, g, b] = ({PIXEL})(node, place); return r === g && g === b; }}",
        arg=[canvas.element_handle(), outside],
        timeout=LONG,
    )
    page.keyboard.press("End")
    wait_pixel(page, canvas, inside, colour(0.92))
    assert near(canvas.evaluate(PIXEL, outside), colour(0.12)) and not near(grey, colour(0.12))
    assert near(activation.evaluate(PIXEL, inside), colour(1)) and near(
        activation.evaluate(PIXEL, outside), colour(0.12 / 0.92)
    )
    assert near(beside.evaluate(PIXEL, [1.5 / 8, 2.5 / 8]), colour(1))  # its own scale, and its epoch 2
    corner = [1.02 / 8, 3.02 / 8]
    assert near(canvas.evaluate(PIXEL, corner), colour(0.92))  # true cells: one colour up to the edge
    viewer.get_by_label("smooth").check()
    page.wait_for_function(
        f"([node, place, was]) => ({PIXEL})(node, place).some((c, i) => Math.abs(c - was[i]) > 20)",
        arg=[canvas.element_handle(), corner, colour(0.92)],
        timeout=LONG,
    )
    viewer.get_by_label("smooth").uncheck()
    viewer.get_by_label("each map over its own range").check()
    wait_pixel(page, canvas, inside, colour(1))
    assert near(canvas.evaluate(PIXEL, outside), colour(0))
    assert (
        "lowest" in parts.nth(0).inner_text()
        and "0.12 to 0.92" in parts.nth(0).locator("figcaption").first.inner_text()
    )
    viewer.get_by_label("each map over its own range").uncheck()
    wait_pixel(page, canvas, inside, colour(0.92))


def check_keyboard(page, viewer, parts):
    "Pointer and arrow keys mark the same place in all maps and read its values."
    reading, canvas = viewer.locator(".dcacn-attention-reading").first, parts.nth(0).locator("canvas[role=img]").first
    canvas.hover(
        position={"x": canvas.bounding_box()["width"] * 1.5 / 8, "y": canvas.bounding_box()["height"] * 3.5 / 8}
    )
    wait_text(
        page,
        reading,
        "row 4 of 8, column 2 of 8 · this run, spatial attention 0.92, 0.92, 0.92, 0.92 "
        "· this run, activation strength 1.84",
    )
    assert "other run, activation strength 0.96, 0.96" in reading.inner_text()  # its bright cell is one row higher
    page.mouse.move(5, 5)
    wait_text(page, reading, "arrow keys")
    viewer.locator(".dcacn-attention-maps").focus()
    page.keyboard.press("ArrowLeft")
    wait_text(page, reading, "row 5 of 8, column 5 of 8")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    wait_text(page, reading, "row 4 of 8, column 1 of 8 · this run, spatial attention 0.12")
    page.keyboard.press("ArrowRight")
    wait_text(page, reading, "row 4 of 8, column 2 of 8 · this run, spatial attention 0.92")
    page.keyboard.press("Escape")
    wait_text(page, reading, "arrow keys")


def check_bars(page, viewer):
    "Channels by the arrow keys and by the pointer, in order or sorted, with the value at the first epoch."
    reading, bars = viewer.locator(".dcacn-attention-reading").last, viewer.locator(".dcacn-attention-bars")
    bars.focus()
    page.keyboard.press("ArrowRight")
    wait_text(page, reading, "channel 0: 0.56 (epoch 0: 0.20)")  # rolled by three: 0.2 + 0.12 * 3
    page.keyboard.press("End")
    wait_text(page, reading, "channel 5: 0.44 (epoch 0: 0.80)")
    viewer.get_by_label("sorted").check()
    bars.focus()
    page.keyboard.press("Home")
    wait_text(page, reading, "channel 2: 0.80 (epoch 0: 0.44)")
    viewer.get_by_label("sorted").uncheck()
    box = bars.bounding_box()
    bars.hover(position={"x": 30 + (box["width"] - 34) * 2.5 / 6, "y": 60})
    wait_text(page, reading, "channel 2: 0.80 (epoch 0: 0.44)")


def check_epochs(page, viewer, parts):
    "The slider, Play, and a snapshot that comes while an older one is shown."
    canvas, epoch = parts.nth(0).locator("canvas[role=img]").first, viewer.get_by_label("epoch", exact=True)
    epoch.focus()
    page.keyboard.press("Home")
    wait_pixel(page, canvas, [1.5 / 8, 0.5 / 8], colour(0.92))
    wait_text(page, parts.nth(2), "epoch 0")
    wait_text(page, viewer, "Epoch 0, block layer1.0")  # Python's sentence follows
    browser.run_python(page, "w(snapshot(4))")
    page.wait_for_function("node => node.max === '4'", arg=epoch.element_handle(), timeout=LONG)
    assert epoch.get_attribute("aria-valuetext") == "0"  # an old epoch that is shown stays
    viewer.get_by_role("button", name="Play").click()
    viewer.get_by_role("button", name="Pause").wait_for(timeout=LONG)
    viewer.get_by_role("button", name="Play").wait_for(timeout=LONG)
    wait_pixel(page, canvas, [1.5 / 8, 4.5 / 8], colour(0.92))
    browser.run_python(page, "w(snapshot(5))")
    wait_pixel(page, canvas, [1.5 / 8, 5.5 / 8], colour(0.92))  # at the newest one, it follows the run
    viewer.get_by_label("block").select_option("layer2.0")
    wait_text(page, viewer, "Epoch 5, block layer2.0: spatial attention of 8 images from 0.12 to 0.92; 12 channels")
    wait_pixel(page, canvas, [1.5 / 4, 3.5 / 4], colour(0.92))
    viewer.get_by_label("maps").first.select_option("activation")
    page.wait_for_function(
        "node => node.children.length === 2", arg=viewer.locator(".dcacn-attention-maps").element_handle(), timeout=LONG
    )
    viewer.get_by_label("maps").first.select_option("both")


def check_language_and_themes(page, viewer, artifacts):
    "Chinese, dark, and narrow; what was chosen stays chosen."
    browser.run_python(page, "w.lang = 'zh'")
    wait_text(page, viewer, "空间注意力")
    viewer.locator("figure canvas").first.wait_for(timeout=LONG)
    page.wait_for_function(
        "node => node.querySelectorAll('.dcacn-attention-thumb canvas').length === 8",
        arg=viewer.element_handle(),
        timeout=LONG,
    )
    page.wait_for_timeout(500)  # for the picture only
    viewer.screenshot(path=str(artifacts / "attention-zh.png"))
    assert (
        viewer.get_by_label("模块").input_value() == "layer2.0"
        and viewer.locator(".dcacn-attention-thumb[aria-pressed=true]").count() == 4
    )
    browser.run_python(page, "w.lang = 'en'")
    wait_text(page, viewer, "spatial attention")
    before = viewer.evaluate("node => getComputedStyle(node).color")
    browser.change_theme(page, "Dark")
    page.wait_for_function(
        "([node, was]) => getComputedStyle(node).color !== was", arg=[viewer.element_handle(), before], timeout=LONG
    )
    page.wait_for_timeout(500)
    viewer.screenshot(path=str(artifacts / "attention-dark.png"))
    browser.change_theme(page, "Light")
    viewer.evaluate("node => { node.parentElement.style.width = '380px'; }")
    page.wait_for_timeout(500)
    viewer.screenshot(path=str(artifacts / "attention-narrow.png"))
    assert viewer.evaluate("node => node.scrollWidth <= node.clientWidth")
    viewer.evaluate("node => { node.parentElement.style.width = ''; }")


def check_end(lab, page, artifacts):
    "After the run's end the widget continues as it was; the notebook, opened again, holds the picture and its words."
    browser.run_python(page, "w(RunFinished('completed', 10, 5)); other.observer(RunFinished('completed', 10, 2))")
    again = page.locator(".dcacn-place section.dcacn")
    again.locator("figure canvas").first.wait_for(timeout=LONG)
    assert again.get_by_label("block").input_value() == "layer2.0"  # what was chosen before
    assert not page.locator(".dcacn-last").first.is_visible()
    again.locator(".dcacn-attention-maps").focus()
    for _ in range(2):  # the first key marks the middle; here, too, keys belong to the widget and not to the notebook
        page.keyboard.press("ArrowUp")
    wait_text(page, again.locator(".dcacn-attention-reading").first, "row 2 of 4, column 3 of 4")
    browser.save(page)
    lab.open(page, "attention_live.ipynb", kernel=None)  # nothing lives
    page.locator(".dcacn-last img").wait_for(timeout=LONG)
    assert (
        page.locator(".dcacn-last img").get_attribute("alt").startswith("8 images, and over them the spatial attention")
    )
    assert (
        "Other run, without CBAM, epoch 2" in page.locator(".dcacn-last").inner_text()
        and page.locator("section.dcacn").count() == 0
    )
    page.locator(".dcacn-last").screenshot(path=str(artifacts / "attention-last.png"))
