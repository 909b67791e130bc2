"The crop viewer in a real JupyterLab: true pixels at one scale, boxes, knobs, steps, keyboard, themes, what stays."

import json
import time

import browser
import numpy as np
import pytest
import torch
from browser import HARMLESS, appears
from browser import printed as ask

from dcacn_nb.core.seeds import generator
from dcacn_nb.method.views import multicrop_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SETUP = """
import numpy as np, torch
torch.set_num_threads(1)
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image
from dcacn_nb.method.views import multicrop_for
from dcacn_nb.widgets.crops import CropViewer
digits = (load_digits().images[:20] * 255 / 16).round().astype(np.uint8)
sources = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
photos = np.stack([np.asarray(image.crop((100, 0, 527, 427)).resize((224, 224))) for image in sources])
"""
WAIT = 30_000
PIXELS = "(canvas) => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"
SCALES = """root => {
  const all = [...root.querySelectorAll('.dcacn-crop-pixels')];
  return all.map(canvas => (canvas.getBoundingClientRect().width - 6) / canvas.width);
}"""
SECOND = "document.querySelectorAll('.dcacn-place > .dcacn')[1]"


def becomes(page, code, wanted):
    "Wait until a line of Python prints what is wanted."
    end = time.monotonic() + WAIT / 1000
    while (found := ask(page, code)) != wanted:
        assert time.monotonic() < end, f"{code} gives {found}, not {wanted}"
        page.wait_for_timeout(100)


def until(page, script, argument=None):
    "Wait until a script of the page says yes."
    page.wait_for_function(script, arg=argument, timeout=WAIT)


def image_of(canvas):
    "The picture on a canvas, to compare."
    return canvas.evaluate("canvas => canvas.toDataURL()")


def slider(place, label):
    "A slider by its label."
    return place.get_by_role("slider", name=label, exact=True)


def press(control, key):
    "Focus a control and press a key."
    control.focus()
    control.press(key)


@pytest.fixture
def viewers(lab, page):
    "A notebook with two viewers, `w` on digits and `v` on photographs: where they are, in place of their pictures."
    browser.write_notebook(
        lab.root / "crops_view.ipynb",
        SETUP,
        "w = CropViewer(images=digits, views=multicrop_for(8, channels=1, upright=True, n_local=2))\nw",
        "v = CropViewer(images=photos, views=multicrop_for(224, n_local=2))\nv",
    )
    page.set_viewport_size({"width": 1280, "height": 1200})
    lab.open(page, "crops_view.ipynb")
    assert browser.run_all(page, 120)["errors"] == []
    until(
        page, "() => document.querySelectorAll('.dcacn-place .dcacn-crop-pixels').length === 8"
    )  # each has settled: picture and living widget
    places = page.locator(".dcacn-place > .dcacn")
    assert places.count() == 2
    return places.nth(0), places.nth(1)


def look(page, artifacts, place, name):
    "A picture of one widget, for people."
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    place.screenshot(path=str(artifacts / f"crops-{name}.png"))


def test_crops(lab, page, artifacts, viewers):
    "One visit: see, point, step, draw again, turn knobs, make a mistake; Chinese, dark, narrow; open the file again."
    digits, photos = viewers
    pixels_are_true(page, photos)
    pointing(page, digits)
    look(page, artifacts, digits, "digits")
    keyboard(page, photos)
    stepping(page, photos)
    drawing_again(page, photos)
    knobs(page, photos)
    look(page, artifacts, photos, "photos-knobs")
    mistake(page, photos, artifacts)
    looks(page, photos, artifacts)
    what_stays(lab, page, artifacts)
    assert [c for c in page.complaints if c not in HARMLESS] == []


def pixels_are_true(page, photos):
    "Each canvas holds the crop that MultiCrop gives, to the bit; all are at one scale, in whole screen pixels."
    raw = np.asarray(json.loads(ask(page, "import json; print(json.dumps(photos[:1].tolist()))")), dtype=np.uint8)
    image = torch.from_numpy(raw).permute(0, 3, 1, 2).contiguous()
    truth = multicrop_for(224, n_local=2)(image, generator(0), return_boxes=True)
    for i, crop in enumerate([*truth.global_crops[:, 0], *truth.local_crops[:, 0]]):
        side = crop.shape[-1]
        shown = np.array(photos.locator(".dcacn-crop-pixels").nth(i).evaluate(PIXELS)).reshape(side, side, 4)
        wanted = (crop * 255).round().byte().permute(1, 2, 0).numpy()
        assert (
            np.abs(shown[..., :3].astype(int) - wanted).max() <= 1
        )  # threads may round differently in another process
        assert (shown[..., :3] == wanted).mean() > 0.999
    scales = photos.evaluate(SCALES)
    assert max(scales) - min(scales) < 0.02 and abs(scales[0] - round(scales[0])) < 0.02, scales
    assert f"1 pixel of a crop = {round(scales[0])} pixels of the screen" in photos.inner_text()


def pointing(page, digits):
    "A crop lights up its box, a box its crop; the words say where from."
    image, detail, tiles = (
        digits.locator(".dcacn-crops-image"),
        digits.locator(".dcacn-crops-detail"),
        digits.locator(".dcacn-crop"),
    )
    appears(detail, "Point at a crop or a box")
    before = image_of(image)
    tiles.nth(2).hover()
    appears(detail, "Crop 3, local, 8 × 8 px: shows 39% of the image")
    until(page, "before => document.querySelector('.dcacn-crops-image').toDataURL() !== before", before)
    assert "dcacn-crop-lit" in tiles.nth(2).get_attribute("class") and "dcacn-crop-dim" in tiles.nth(0).get_attribute(
        "class"
    )
    page.mouse.move(0, 0)
    appears(detail, "Point at a crop or a box")
    until(page, "before => document.querySelector('.dcacn-crops-image').toDataURL() === before", before)
    box = [float(x) for x in ask(page, "print(*w.crops.local_boxes[0, 0].tolist())").split()]
    bounds = image.bounding_box()
    unit = (bounds["height"] - 18) / 8
    left = bounds["x"] + (bounds["width"] - 8 * unit) / 2
    page.mouse.move(left + (box[1] + 0.3) * unit, bounds["y"] + 9 + (box[0] + 0.3) * unit)
    appears(detail, "Crop 3, local")
    assert "dcacn-crop-lit" in tiles.nth(2).get_attribute("class")
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(0, 0)
    appears(detail, "Crop 3, local")  # a click keeps it
    assert tiles.nth(2).get_attribute("aria-pressed") == "true"
    tiles.nth(2).click()
    page.mouse.move(0, 0)
    until(page, "() => document.querySelector('.dcacn-crop[aria-pressed=true]') === null")


def keyboard(page, photos):
    "Arrow keys on the image go from box to box; Tab comes to the crops."
    image, detail = photos.locator(".dcacn-crops-image"), photos.locator(".dcacn-crops-detail")
    press(image, "ArrowRight")
    appears(detail, "Crop 1, global, 168 × 168 px")
    press(image, "ArrowLeft")
    appears(detail, "Crop 4, local, 84 × 84 px")
    press(image, "Escape")
    appears(detail, "Point at a crop or a box")
    image.press("Tab")
    appears(detail, "Crop 1, global")
    assert page.evaluate("() => document.activeElement.className.includes('dcacn-crop')")
    page.keyboard.press("Tab")
    appears(detail, "Crop 2, global")
    page.evaluate("() => document.activeElement.blur()")
    controls = photos.locator("input, select, button, canvas[tabindex]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || e.textContent.trim())"
    )
    assert all(controls) and len(controls) > 40


def stepping(page, photos):
    "The steps run from the bare crop to what the network gets, and the captions say what each did."
    appears(photos, "9 of 9: + blur: as the network sees them")
    last = image_of(photos.locator(".dcacn-crop-pixels").first)
    photos.get_by_role("button", name="Previous step").click()
    appears(photos, "8 of 9: + grayscale")
    appears(photos.locator(".dcacn-crop-caption").first, "grayscale")  # crop 1 of seed 0
    press(slider(photos, "step"), "Home")
    appears(photos, "1 of 9: crop and resize")
    until(
        page,
        f"last => {SECOND}.querySelector('.dcacn-crop-pixels').toDataURL() !== last",
        last,
    )
    pixels = np.array(photos.locator(".dcacn-crop-pixels").first.evaluate(PIXELS)).reshape(-1, 4)
    assert (pixels[:, 0] != pixels[:, 2]).mean() > 0.5  # still in colour
    assert ask(page, "print(v.crops.global_crops[0, 0].std(0).mean().item() > 0.02)") == "True"
    press(slider(photos, "step"), "End")
    appears(photos, "9 of 9")
    until(
        page,
        f"last => {SECOND}.querySelector('.dcacn-crop-pixels').toDataURL() === last",
        last,
    )


def drawing_again(page, photos):
    "The next seed gives other crops, and says so; the next image as well."
    before = image_of(photos.locator(".dcacn-crop-pixels").nth(2))
    photos.get_by_role("button", name="Draw again").click()
    appears(photos.locator(".dcacn-summary"), "seed 1")
    assert (
        photos.get_by_role("spinbutton", name="seed").input_value() == "1"
        and image_of(photos.locator(".dcacn-crop-pixels").nth(2)) != before
    )
    photos.get_by_role("button", name="Next image").click()
    appears(photos.locator(".dcacn-summary"), "Image 1 of 0 to 1")
    assert photos.get_by_role("button", name="Next image").is_visible()
    seed = photos.get_by_role("spinbutton", name="seed")
    seed.fill("0")
    seed.press("Enter")
    appears(photos.locator(".dcacn-summary"), "seed 0")


def knobs(page, photos):
    "Every knob has a slider; what it is set to is what `views` in Python is; dragging does not flood the kernel."
    photos.locator("summary").filter(has_text="Sizes and areas").click()
    assert photos.locator(".dcacn-crops-grid input").count() == int(
        ask(page, "from dcacn_nb.widgets.crops import knobs_of; print(len(knobs_of(v.views)))")
    )
    press(slider(photos, "number of local crops"), "End")
    until(
        page,
        "() => document.querySelectorAll('.dcacn-place > .dcacn')[1].querySelectorAll('.dcacn-crop').length === 10",
    )
    press(slider(photos, "number of local crops"), "Home")
    appears(photos, "no local crops (n_local is 0)")
    for _ in range(3):
        slider(photos, "number of local crops").press("ArrowRight")
    until(
        page, "() => document.querySelectorAll('.dcacn-place > .dcacn')[1].querySelectorAll('.dcacn-crop').length === 5"
    )
    ask(
        page,
        "sent = []; real = v.send; v.send = lambda content, buffers=(): "
        "(sent.append(content['kind']), real(content, buffers=buffers))[1]",
    )
    photos.locator("summary").filter(has_text="Strong augmentation").click()
    photos.get_by_role("slider", name="rotation, ± degrees").evaluate(
        "input => { for (let i = 1; i <= 90; i++) { input.value = i; input.dispatchEvent(new Event('input')); } }"
    )
    becomes(page, "print(v.views.strong.rotation, v.views.weak.rotation, v.views.n_local)", "90.0 0.0 3")
    assert int(ask(page, "print(len(sent))")) <= 4  # of ninety wishes
    until(
        page,
        f"() => {SECOND}.querySelectorAll('.dcacn-crop')[4].getAttribute('aria-label').includes('rotated')",
    )
    assert photos.locator("details[open]").count() == 1  # the crops stay in sight


def mistake(page, photos, artifacts):
    "What cannot be is refused in words; the last good crops stay; the reset brings all back."
    photos.locator("summary").filter(has_text="Sizes and areas").click()
    before = image_of(photos.locator(".dcacn-crop-pixels").first)
    press(slider(photos, "area of global crops, largest"), "Home")
    problem = photos.get_by_role("alert")
    appears(problem, "global_scale must be ordered (smallest, largest)")
    assert image_of(photos.locator(".dcacn-crop-pixels").first) == before
    assert (
        slider(photos, "area of global crops, largest").input_value() == "0.01"
        and ask(page, "print(v.views.global_scale)") == "(0.3, 1.0)"
    )
    look(page, artifacts, photos, "mistake")
    photos.get_by_role("button", name="Reset knobs").click()
    until(
        page,
        "() => document.querySelectorAll('.dcacn-place > .dcacn')[1].querySelector('[role=alert]').textContent === ''",
    )
    assert (
        slider(photos, "area of global crops, largest").input_value() == "1"
        and ask(page, "print(v.views == v._first)") == "True"
    )


def looks(page, photos, artifacts):
    "Narrow, dark and Chinese: nothing sticks out, and the canvas follows the theme."
    page.evaluate("() => { document.querySelectorAll('.dcacn-place')[1].style.width = '400px'; }")
    until(
        page,
        f"() => {SECOND}.querySelector('.dcacn-crop-pixels').getBoundingClientRect().width < 400",
    )
    page.wait_for_timeout(200)
    assert photos.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
    look(page, artifacts, photos, "narrow")
    page.evaluate("() => { document.querySelectorAll('.dcacn-place')[1].style.width = ''; }")
    browser.change_theme(page, "Dark")
    ink = photos.evaluate("root => getComputedStyle(root.querySelector('.dcacn-crop-name')).color")
    assert sum(int(x) for x in ink[4:-1].replace("(", "").split(",")[:3]) > 450, ink  # light ink on dark paper
    photos.locator(".dcacn-crop").nth(2).hover()
    look(page, artifacts, photos, "dark")
    ask(page, "v.lang = 'zh'")
    appears(photos.locator("h3"), "图像的裁剪视图")
    appears(photos, "第 9 / 9 步：+ 模糊：网络得到的视图")
    appears(photos.locator(".dcacn-summary"), "随机种子")
    assert (
        photos.evaluate(
            """root => {
          const parts = [...root.querySelectorAll('button, summary, span, p')].filter(part => !part.children.length);
          return parts.map(part => part.textContent).filter(text => /[a-z]{4}/.test(text));
        }"""
        )
        == []
    )
    look(page, artifacts, photos, "chinese")
    browser.change_theme(page, "Light")
    ask(page, "v.lang = 'en'; v.settle()")
    appears(photos.locator("h3"), "Crops of an image")


def what_stays(lab, page, artifacts):
    "The saved file opened without that kernel shows the picture and the words, and no dead widget."
    browser.save(page)
    lab.open(page, "crops_view.ipynb", kernel=None)
    page.locator(".dcacn-last img").nth(1).wait_for(timeout=WAIT)
    assert page.locator(".dcacn-place > .dcacn").count() == 0 and page.get_by_text("model not found").count() == 0
    appears(page.locator(".dcacn-last figcaption").nth(1), "Image 1 of 0 to 1 (224 × 224 px), seed 0")
    browser.picture(page, artifacts / "crops-reopened.png")
