"MapViewer in a real JupyterLab: pointer and keys, both themes, Chinese, a narrow page, and what stays."

import re

import browser
import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 60_000  # milliseconds: the machine may be busy
RUN = """
import numpy as np
from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.widgets.map import MapViewer

N = 90
draw, cluster = np.random.default_rng(0), np.arange(N) % 3
cloud, spots = draw.normal(size=(N, 5)), draw.normal(size=(3, 5))
images = np.stack([np.full((3, 8, 8), 40 * k, np.uint8) for k in cluster + 1])
images[:, 0] = 250

def snapshot(epoch):
    p = (0.05 + 0.85 * np.eye(3)[cluster]).astype(np.float32)
    arrays = {"h": (cloud + 2 * epoch * spots[cluster]).astype(np.float32), "p": p}
    return SnapshotTaken(epoch, epoch, 1000 + np.arange(N), arrays | ({"images": images} if epoch == 0 else {}))

view = MapViewer(labels=np.arange(2000) % 2, class_names=["<b>cat</b>", "dog"])
view(RunStarted("dcacn", {}, {}, N, 30, 10))
for epoch in range(3):
    view(snapshot(epoch))
assert view.wait(120)
view
"""
INK = """node => {  // pixels of the map that differ from its paper, and the paper
  const {data} = node.getContext('2d').getImageData(0, 0, node.width, node.height);
  const paper = data.slice(-4 * 40, -4 * 40 + 3);  // beside the corner
  let found = 0;
  const off = i => Math.abs(data[i] - paper[0]) + Math.abs(data[i + 1] - paper[1]) + Math.abs(data[i + 2] - paper[2]);
  for (let i = 0; i < data.length; i += 4) found += off(i) > 60;
  return [found, [...paper]];
}"""
AT_REST = """async node => {  // the picture, once it no longer changes
  let last = null;
  for (let i = 0; i < 100; i++) {
    const now = node.toDataURL();
    if (now === last) return now;
    last = now;
    await new Promise(done => setTimeout(done, 150));
  }
}"""


@pytest.fixture(scope="module")
def shown(lab, chromium):
    "A page with the widget, all of whose maps are made."
    browser.write_notebook(lab.root / "map_live.ipynb", RUN)
    page = browser.new_page(chromium)
    lab.open(page, "map_live.ipynb")
    assert browser.run_all(page, 180)["errors"] == []
    page.locator(".dcacn-legend button").nth(2).wait_for(timeout=WAIT)
    yield page
    page.close()


def the_map(page):
    "The canvas, in sight and at rest."
    canvas = page.locator("canvas[data-map]").first
    canvas.scroll_into_view_if_needed()
    canvas.evaluate(AT_REST)
    return canvas


def summary(page, text):
    "Wait until the summary, which Python writes, holds a text."
    page.locator(".dcacn-summary", has_text=text).first.wait_for(timeout=WAIT)


def a_point(canvas):
    "Where on the canvas a mark is: the middle of a patch of the first cluster's blue."
    return canvas.evaluate("""node => {
      const {data} = node.getContext('2d').getImageData(0, 0, node.width, node.height);
      const blue = i => data[i] < 20 && Math.abs(data[i + 1] - 114) < 20 && Math.abs(data[i + 2] - 178) < 20;
      let i = 4 * node.width * 30;
      while (!blue(i) && i < data.length) i += 4;
      const [x, y] = [i / 4 % node.width, Math.floor(i / 4 / node.width)];
      return {x: x * node.clientWidth / node.width, y: y * node.clientHeight / node.height + 2};
    }""")


def test_pointer(shown, artifacts):
    "Points are drawn; hovering shows image and words, names as text; a rectangle selects, in Python as well."
    canvas = the_map(shown)
    assert canvas.evaluate(INK)[0] > 1500
    shown.screenshot(path=str(artifacts / "map-light.png"))
    canvas.hover(position=a_point(canvas))
    tip = shown.locator(".dcacn-tip")
    tip.wait_for(timeout=WAIT)
    words = tip.inner_text()
    index = int(re.search(r"image (\d+)", words).group(1))
    assert re.search(r"cluster 0\b", words) and "confidence 0.90" in words and (index - 1000) % 3 == 0
    assert ("class: <b>cat</b>" if index % 2 == 0 else "class: dog") in words and shown.locator(
        ".dcacn-tip b"
    ).count() == 0
    red, green, blue = tip.locator("canvas").evaluate(
        "node => [...node.getContext('2d').getImageData(48, 48, 1, 1).data].slice(0, 3)"
    )
    assert (red, green, blue) == (250, 40, 40)
    shown.screenshot(path=str(artifacts / "map-hover.png"))
    box = canvas.bounding_box()
    shown.mouse.move(box["x"] + 3, box["y"] + 3)
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] - 3, steps=4)
    shown.mouse.up()
    summary(shown, "; 90 images selected.")
    assert shown.locator(".dcacn-gallery li").count() == 90
    browser.run_python(shown, "assert sorted(view.selected) == list(range(1000, 1090))")
    shown.get_by_label("select cluster").select_option(label="cluster 1")
    summary(shown, "; 30 images selected.")
    browser.run_python(shown, "assert sorted(view.selected) == list(range(1001, 1090, 3))")
    shown.screenshot(path=str(artifacts / "map-selected.png"))
    browser.run_python(shown, "view.selection = [1004]")
    shown.locator(".dcacn-gallery li").nth(1).wait_for(state="detached", timeout=WAIT)
    assert "image 1004" in shown.locator(".dcacn-gallery canvas").get_attribute("aria-label")
    shown.get_by_role("button", name="Clear selection").click()
    summary(shown, "coloured by 3 clusters.")


def drag(page, *places):
    "Press, move along places and let go."
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up()


def test_lasso_move_and_zoom(shown):
    "A lasso takes what is inside it, not what is in its box; moving and zooming change the view; Reset undoes it."
    canvas, mode = the_map(shown), shown.get_by_label("drag to")
    box, whole = canvas.bounding_box(), canvas.evaluate(AT_REST)
    left, top, right, bottom = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] - 2, box["y"] + box["height"] - 2
    point = a_point(canvas)
    x, y = box["x"] + point["x"], box["y"] + point["y"]
    mode.select_option("lasso")
    drag(shown, (left, top), (right, top), (right, bottom), (left, bottom))
    summary(shown, "; 90 images selected.")
    drag(shown, (left, top), (right, top), (left, bottom), (left, top + 9))  # a triangle: a part of them
    shown.wait_for_function(
        "node => !node.textContent.includes('; 90 images')",
        arg=shown.locator(".dcacn-summary").element_handle(),
        timeout=WAIT,
    )
    browser.run_python(shown, "assert 0 < len(view.selected) < 90")
    drag(
        shown,
        (left, top),
        (left, bottom),
        (right, bottom),
        (right, bottom - 4),
        (left + 4, bottom - 4),
        (left + 4, top),
    )  # an L along two edges, whose box is the whole map
    summary(shown, "coloured by 3 clusters.")
    mode.select_option("move")
    browser.run_python(shown, "view.selection = []")
    summary(shown, "coloured by 3 clusters.")
    drag(shown, (x, y), (x + 60, y + 40))
    shown.mouse.move(5, 5)
    assert canvas.evaluate(AT_REST) != whole
    summary(shown, "coloured by 3 clusters.")
    shown.get_by_role("button", name="Reset view").click()
    assert canvas.evaluate(AT_REST) == whole
    canvas.hover(position={"x": 30, "y": 60})
    assert canvas.evaluate(AT_REST) == whole  # no point is near
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -300)
    shown.wait_for_function(
        "([node, before]) => node.toDataURL() !== before", arg=[canvas.element_handle(), whole], timeout=WAIT
    )
    shown.keyboard.up("Control")
    shown.get_by_role("button", name="Reset view").click()
    assert canvas.evaluate(AT_REST) == whole
    mode.select_option("area")


def test_keys(shown):
    "Arrow keys go from point to point and say what is there; with Shift they draw a rectangle; the notebook stays."
    canvas, spoken = the_map(shown), shown.locator(".dcacn-spoken")
    canvas.focus()
    shown.keyboard.press("ArrowRight")
    spoken.filter(has_text=re.compile(r"cluster \d, class: .*, confidence 0.90, image 10\d\d")).wait_for(timeout=WAIT)
    first = spoken.inner_text()
    shown.keyboard.press("ArrowRight")
    shown.wait_for_function(
        "([node, before]) => node.textContent !== before", arg=[spoken.element_handle(), first], timeout=WAIT
    )
    shown.keyboard.press("Enter")
    summary(shown, "; 1 image selected.")
    for _ in range(60):
        shown.keyboard.press("Shift+ArrowRight")
        shown.keyboard.press("Shift+ArrowDown")
    shown.keyboard.press("Enter")
    summary(shown, "; 90 images selected.")
    shown.keyboard.press("Escape")
    summary(shown, "coloured by 3 clusters.")
    before = canvas.evaluate(AT_REST)
    shown.keyboard.press("+")
    assert canvas.evaluate(AT_REST) != before
    shown.keyboard.press("0")
    shown.keyboard.press("0")
    assert canvas.evaluate("node => document.activeElement === node") and shown.locator(".jp-Dialog").count() == 0


def test_scrubber_and_menus(shown, artifacts):
    "The slider goes back in the run, by keys too; play ends at the newest; method, colours and highlights work."
    canvas, scrubber, place = the_map(shown), shown.locator(".dcacn-wide input"), shown.locator(".dcacn-wide output")
    canvas.evaluate("node => node.blur()")
    newest = canvas.evaluate(AT_REST)
    scrubber.focus()
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("ArrowLeft")
    assert place.inner_text() == "epoch 0 (1 of 3)"
    first = canvas.evaluate(AT_REST)
    shown.get_by_role("button", name="Play").click()
    shown.wait_for_function("node => node.textContent === 'epoch 2 (3 of 3)'", arg=place.element_handle(), timeout=WAIT)
    shown.get_by_role("button", name="Play").wait_for(timeout=WAIT)
    assert first != newest == canvas.evaluate(AT_REST)
    shown.locator(".dcacn-legend button").nth(1).click()
    dimmed = canvas.evaluate(AT_REST)
    assert dimmed != newest and shown.locator(".dcacn-legend button").nth(1).get_attribute("aria-pressed") == "true"
    shown.locator(".dcacn-legend button").nth(1).click()
    assert canvas.evaluate(AT_REST) == newest
    pictures = {newest, dimmed}
    for value in ("class", "confidence"):
        shown.get_by_label("colour by").select_option(value)
        summary(shown, {"class": "coloured by 2 classes", "confidence": "coloured by confidence (mean 0.90)"}[value])
        pictures.add(canvas.evaluate(AT_REST))
        shown.screenshot(path=str(artifacts / f"map-{value}.png"))
    shown.get_by_label("colour by").select_option("cluster")
    shown.get_by_label("map", exact=True).select_option("pca")
    summary(shown, "PCA of 90 images at epoch 2 (snapshot 3 of 3)")
    pictures.add(canvas.evaluate(AT_REST))
    assert len(pictures) == 5
    shown.get_by_label("map", exact=True).select_option("tsne")
    summary(shown, "t-SNE of 90")


def test_reduced_motion_and_a_helper_that_fails(shown):
    "With reduced motion there are steps, each drawn at once. When t-SNE does not work, the view offers PCA."
    canvas, scrubber, place = the_map(shown), shown.locator(".dcacn-wide input"), shown.locator(".dcacn-wide output")
    shown.emulate_media(reduced_motion="reduce")
    newest = canvas.evaluate(AT_REST)
    scrubber.fill("0")
    first = canvas.evaluate(
        "node => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(node.toDataURL()))))"
    )
    assert first == canvas.evaluate(AT_REST) != newest
    shown.get_by_role("button", name="Play").click()
    shown.get_by_role("button", name="Pause").wait_for(timeout=WAIT)
    shown.wait_for_function("node => node.textContent === 'epoch 2 (3 of 3)'", arg=place.element_handle(), timeout=WAIT)
    shown.get_by_role("button", name="Play").wait_for(timeout=WAIT)
    assert canvas.evaluate(AT_REST) == newest
    shown.emulate_media(reduced_motion="no-preference")
    browser.run_python(shown, "view._problem = 'no_helper', {'why': '<i>no memory</i>'}; view._post_state()")
    shown.get_by_text("t-SNE does not work here: <i>no memory</i>").wait_for(timeout=WAIT)
    shown.get_by_role("button", name="Show PCA").click()
    summary(shown, "PCA of 90 images")
    shown.get_by_role("button", name="Show PCA").wait_for(state="detached", timeout=WAIT)
    assert shown.get_by_label("map", exact=True).input_value() == "pca"
    browser.run_python(shown, "view._problem = None; view._post_state(); view.method = 'tsne'")
    summary(shown, "t-SNE of 90")


def test_dark_chinese_and_narrow(shown, artifacts):
    "The dark theme has a dark map; every word is Chinese if asked for; 400 pixels are enough."
    canvas = the_map(shown)
    browser.change_theme(shown, "Dark")
    canvas.evaluate(AT_REST)
    ink, paper = canvas.evaluate(INK)
    assert ink > 1500 and max(paper) < 60
    shown.screenshot(path=str(artifacts / "map-dark.png"))
    browser.run_python(shown, "view.lang = 'zh'")
    shown.get_by_role("button", name="播放").wait_for(timeout=WAIT)
    summary(shown, "90 张图像的 t-SNE")
    shown.locator(".dcacn-legend button").nth(2).wait_for(timeout=WAIT)
    the_map(shown)
    words = shown.locator(".dcacn").first.evaluate(
        """node => {
      const parts = [...node.querySelectorAll('button, select, input, canvas, option')];
      return parts.map(part => part.getAttribute('aria-label') ?? part.textContent).join(' ');
    }"""
    )
    assert not re.findall(r"(?<![\w-])[A-Za-z]{4,}", re.sub("Shift|t-SNE|PCA|Esc", "", words)), words
    shown.screenshot(path=str(artifacts / "map-zh.png"))
    browser.change_theme(shown, "Light")
    browser.run_python(shown, "view.lang = 'en'")
    summary(shown, "t-SNE of 90")
    section = shown.locator(".dcacn").first
    section.evaluate("node => { node.parentElement.style.width = '400px'; }")
    shown.wait_for_function(
        "node => node.clientWidth > 300 && node.clientWidth <= 400", arg=the_map(shown).element_handle(), timeout=WAIT
    )
    the_map(shown)
    assert section.evaluate("node => node.scrollWidth <= 400")
    section.screenshot(path=str(artifacts / "map-narrow.png"))
    section.evaluate("node => { node.parentElement.style.width = ''; }")


def test_a_running_film_and_what_is_left(lab, shown, artifacts):
    "A new map appears unless an earlier one is shown; the widget outlives the run; reopened, the picture is there."
    place = shown.locator(".dcacn-wide output").first
    the_map(shown)
    browser.run_python(shown, "view(snapshot(3)); assert view.wait(60)")
    place.filter(has_text="epoch 3 (4 of 4)").wait_for(timeout=WAIT)
    shown.locator(".dcacn-wide input").first.fill("1")
    browser.run_python(shown, "view(snapshot(4)); assert view.wait(60)")
    place.filter(has_text="epoch 1 (2 of 5)").wait_for(timeout=WAIT)
    browser.run_python(shown, "view(RunFinished('completed', 30, 4)); assert view.wait(60)")
    shown.locator(".dcacn-place .dcacn-legend button").nth(2).wait_for(timeout=WAIT)
    assert not shown.locator(".dcacn-last").first.is_visible()
    summary(shown, "t-SNE of 90 images at epoch 4 (snapshot 5 of 5), coloured by 3 clusters.")
    browser.save(shown)
    assert shown.complaints == []
    lab.open(shown, "map_live.ipynb", kernel=None)
    last = shown.locator(".dcacn-last").first
    last.wait_for(timeout=WAIT)
    assert last.is_visible() and "epoch 4 (snapshot 5 of 5)" in last.inner_text()
    shown.screenshot(path=str(artifacts / "map-last.png"))
    pixels = last.locator("img").evaluate("""async node => {
      await node.decode();
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [node.naturalWidth, node.naturalHeight];
      const context = canvas.getContext('2d');
      context.drawImage(node, 0, 0);
      return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
    }""")
    colours = np.array(pixels).reshape(-1, 4)[:, :3]
    for wanted in ((0, 114, 178), (230, 159, 0), (0, 158, 115)):  # the three clusters
        assert (np.abs(colours - wanted).sum(1) < 90).sum() > 20, wanted
