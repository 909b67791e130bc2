"The loss lab in a real JupyterLab: mouse, finger and keyboard, both pages, themes, Chinese, narrow, what stays."

import json
import math
import time

import browser
import pytest
from browser import HARMLESS, appears, printed

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SETUP = """
import json, torch
torch.set_num_threads(1)
from dcacn_nb.widgets import LossLab
"""
WAIT = 30_000
HIDDEN = "root => [...root.querySelectorAll('.dcacn-losslab-stage')].map(e => e.getBoundingClientRect().width > 0)"


def ask(page, expression, name="w"):
    "What an expression about a lab gives in the kernel, through JSON; `w` is the lab."
    return json.loads(printed(page, f"w_ = {name}; print(json.dumps({expression.replace('w.', 'w_.')}))"))


def becomes(page, expression, wanted, name="w"):
    "Wait until an expression gives what is wanted (a value, or a function of the value)."
    good = wanted if callable(wanted) else lambda found: found == wanted
    end = time.monotonic() + WAIT / 1000
    while not good(found := ask(page, expression, name)):
        assert time.monotonic() < end, f"{expression} gives {found}"
        page.wait_for_timeout(100)
    return found


def picture(stage):
    "The picture on a canvas, to compare."
    return stage.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def centre(handle):
    "Where a handle is on the page."
    box = handle.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, handle, x, y, steps=8):
    "Take a handle with the mouse and bring it to a place."
    page.mouse.move(*centre(handle))
    page.mouse.down()
    page.mouse.move(x, y, steps=steps)
    page.mouse.up()


def look(page, artifacts, place, name):
    "A picture of the widget, for people."
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    place.screenshot(path=str(artifacts / f"losslab-{name}.png"))


@pytest.fixture
def labs(lab, page):
    "A notebook with two labs, `w` in English and `v` in Chinese, already settled: their places in the page."
    browser.write_notebook(
        lab.root / "losslab_view.ipynb", SETUP, "w = LossLab()\nw", "v = LossLab(lang='zh')\nv.settle()\nv"
    )
    page.set_viewport_size({"width": 1280, "height": 1200})
    lab.open(page, "losslab_view.ipynb")
    assert browser.run_all(page, 120)["errors"] == []
    page.wait_for_function(
        "() => document.querySelectorAll('.dcacn-place .dcacn-losslab-round').length === 6", timeout=WAIT
    )  # each has settled: picture and living widget
    places = page.locator(".dcacn-place > .dcacn")
    appears(places.nth(0).locator("output"), "0.565")
    return places.nth(0), places.nth(1)


def test_loss_lab(lab, page, artifacts, labs):
    "One visit: drag points and images; temperature, downhill, examples; dark, narrow, Chinese; open the file again."
    english, chinese = labs
    look(page, artifacts, english, "points")
    mouse_on_the_circle(page, english)
    finger_on_the_circle(page, english)
    keyboard_on_the_circle(page, english)
    downhill_on_the_circle(page, english)
    mouse_in_the_triangle(page, english)
    keyboard_in_the_triangle(page, english)
    look(page, artifacts, english, "assignments")
    examples(page, english)
    look(page, artifacts, english, "collapsed")
    looks(page, english, artifacts)
    in_chinese(page, chinese, artifacts)
    what_stays(lab, page, english, artifacts)
    assert [c for c in page.complaints if c not in HARMLESS] == []


def reads(page, root):
    "The page says what Python says: both losses, to the last digit shown."
    for form in ("coupled", "decoupled"):
        value = ask(page, "w.losses")[form]
        appears(root.locator(f".dcacn-losslab-value[data-form={form}] output"), f"{value:.3f}".replace("-", "−"))


def mouse_on_the_circle(page, root):
    "A2 is dragged to 190°: Python has that angle, both losses follow, the picture is another one."
    stage, before = root.locator(".dcacn-losslab-stage").first, ask(page, "w.losses")
    a2, old = root.get_by_role("slider", name="A2: image A, view 2"), picture(stage)
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    drag(page, a2, x - 150 * math.cos(math.radians(10)), y + 150 * math.sin(math.radians(10)))
    becomes(page, "w.state.angles[3]", lambda angle: abs(angle - 190) < 1)
    after = ask(page, "w.losses")
    assert (
        after["coupled"] > before["coupled"] + 0.2 and after["decoupled"] > before["decoupled"] + 0.2
    )  # the views of A are now far apart
    reads(page, root)
    assert (
        picture(stage) != old
        and a2.get_attribute("aria-valuenow") == "190"
        and a2.get_attribute("aria-valuetext") == "190°"
    )
    left, top = centre(a2)
    assert math.hypot(left - x, top - y) == pytest.approx(0.36 * box["width"], abs=2)  # it stays on the circle
    assert ask(page, "w.state.angles[:3]") == [10, 165, 255]
    root.get_by_role("button", name="Reset").click()
    becomes(page, "w.state.angles[3]", 80)


def finger_on_the_circle(page, root):
    "A touch drags as a mouse does, and does not scroll the notebook."
    c1 = root.get_by_role("slider", name="C1: image C, view 1")
    x, y = centre(c1)
    session = page.context.new_cdp_session(page)
    send = lambda kind, *points: session.send(
        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]}
    )
    send("touchStart", (x, y))
    for part in range(1, 6):
        send("touchMove", (x + 12 * part, y + 3 * part))
    send("touchEnd")
    becomes(page, "w.state.angles[2]", lambda angle: 260 < angle < 300)
    assert centre(c1)[0] > x + 20
    root.get_by_role("button", name="Reset").click()
    becomes(page, "w.state.angles[2]", 255)


def keyboard_on_the_circle(page, root):
    "Tab goes from point to point; arrow keys turn them by 5°, with Shift by 1°; the temperature is a slider."
    root.get_by_role("slider", name="A1: image A, view 1").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "B1: image B, view 1"
    page.keyboard.press("ArrowRight")
    becomes(page, "w.state.angles[1]", 170)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowLeft")
    becomes(page, "w.state.angles[1]", 174)
    assert page.evaluate("() => document.activeElement.getAttribute('aria-valuenow')") == "174"
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none"  # the focus is seen
    reads(page, root)
    heat = root.get_by_role("slider", name="temperature τ")
    heat.first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    becomes(page, "w.state.temperature", 0.47)
    reads(page, root)
    controls = root.locator("input, select, button").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')?.textContent)"
    )
    assert all(controls) and len(controls) > 30


def downhill_on_the_circle(page, root):
    "Each button rolls down its own loss."
    root.get_by_role("button", name="Reset").click()
    before = becomes(page, "w.losses", lambda losses: abs(losses["coupled"] - 0.5654) < 1e-3)
    root.get_by_role("button", name="Downhill: decoupled").click()
    becomes(page, "w.losses['decoupled']", lambda value: value < before["decoupled"] - 1)
    reads(page, root)
    root.get_by_role("button", name="Reset").click()
    becomes(page, "w.state.angles[3]", 80)
    root.get_by_role("button", name="Downhill: InfoNCE").click()
    becomes(page, "w.losses['coupled']", lambda value: value < before["coupled"] - 0.2)
    reads(page, root)


def mouse_in_the_triangle(page, root):
    "The other page; A of view 1 is dragged up, to cluster 2; its view 2 stays, unless both move together."
    root.get_by_role("button", name="Six images, three clusters").click()
    becomes(page, "w.state.page", "assignments")
    assert root.evaluate(HIDDEN) == [False, True]
    stage, disc = root.locator(".dcacn-losslab-stage").nth(1), root.locator("[data-point=A1]")
    before, old, frame = ask(page, "w.losses"), picture(stage), ask(page, "w.state.p[1][0]")
    box = stage.bounding_box()
    drag(page, disc, box["x"] + box["width"] / 2 + 24, box["y"] + 0.2 * box["height"])
    row = becomes(page, "w.state.p[0][0]", lambda row: row[2] > 0.95)
    assert sum(row) == pytest.approx(1) and ask(page, "w.state.p[1][0]") == frame
    after = ask(page, "w.losses")
    assert after["sample_decoupled"] > before["sample_decoupled"] + 0.05 and picture(stage) != old
    appears(root.locator("table").filter(has_text="contrast only"), f"▸ {after['sample_decoupled']:.3f}")
    appears(root.locator(".dcacn-losslab-matrix tbody tr").first, f"{row[2]:.2f}")
    assert f"{round(100 * row[2])} % cluster 2" in disc.get_attribute("aria-label")
    root.get_by_label("both views move together").check()
    drag(page, disc, box["x"] + 0.2 * box["width"], box["y"] + 0.75 * box["height"])
    becomes(page, "w.state.p[0][0] == w.state.p[1][0] and w.state.p[0][0][0] > 0.8", True)
    root.get_by_label("both views move together").uncheck()


def keyboard_in_the_triangle(page, root):
    "Tab, arrow keys and choices; the arrows are those of the loss chosen."
    root.locator("[data-point=A1]").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.dataset.point") == "B1"
    before = ask(page, "w.state.p[0][1]")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    becomes(page, "w.state.p[0][1][2]", lambda share: share > before[2] + 0.05)
    stage = root.locator(".dcacn-losslab-stage").nth(1)
    rows = picture(stage)
    root.get_by_label("arrows of").select_option("cluster")
    root.get_by_label("with balance").check()
    becomes(page, "[w.state.axis, w.state.balance]", ["cluster", True])
    appears(root, "Arrows: columns (clusters), decoupled, with balance")
    page.wait_for_function(
        "([old]) => [...document.querySelectorAll('.dcacn-losslab-stage canvas')][1].toDataURL() !== old",
        arg=[rows],
        timeout=WAIT,
    )
    before = ask(page, "w.losses")
    root.get_by_role("button", name="Downhill", exact=True).click()
    becomes(page, "w.losses['cluster_decoupled']", lambda value: value < before["cluster_decoupled"] - 0.05)


def examples(page, root):
    "The buttons make the examples, the table has the figures of the text, and a corner has no arrows."
    large = root.locator("table").filter(has_text="250")
    for name, figures in {
        "Balanced, one-hot": ("1.890", "0.000", "5.364"),
        "Uniform": ("2.890", "0.000", "6.211"),
        "Collapsed, 1 % left": ("1.958", "2.231", "6.211"),
    }.items():
        root.get_by_role("button", name=name, exact=True).click()
        row = large.locator("tbody tr").filter(has_text=name)
        appears(row, "▸")
        assert tuple(row.locator("td").all_inner_texts()) == figures
        assert root.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
    assert large.locator("tbody tr").filter(has_text="▸").count() == 1
    root.get_by_role("button", name="Collapsed, exactly").click()
    appears(root, "No arrows")
    root.get_by_role("button", name="Collapsed, 1 % left").click()
    becomes(page, "w.state.p[0][1][1]", lambda share: abs(share - 0.01) < 1e-9)


def looks(page, root, artifacts):
    "Narrow and dark, both pages: nothing sticks out, and the ink is light."
    page.evaluate("() => { document.querySelectorAll('.dcacn-place')[0].style.width = '400px'; }")
    page.wait_for_function(
        """() => {
      const stages = [...document.querySelector('.dcacn-place').querySelectorAll('.dcacn-losslab-stage')];
      return stages.every(stage => stage.getBoundingClientRect().width <= 400);
    }""",
        timeout=WAIT,
    )
    for name, button in {"assignments": "Six images, three clusters", "points": "Six points on a circle"}.items():
        root.get_by_role("button", name=button).click()
        becomes(page, "w.state.page", name)
        look(page, artifacts, root, f"narrow-{name}")
        assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
    page.evaluate("() => { document.querySelectorAll('.dcacn-place')[0].style.width = ''; }")
    browser.change_theme(page, "Dark")
    ink = root.evaluate("root => getComputedStyle(root.querySelector('td')).color")
    assert sum(int(x) for x in ink[4:-1].replace("(", "").split(",")[:3]) > 450, ink  # light ink on dark paper
    look(page, artifacts, root, "dark-points")
    root.get_by_role("button", name="Six images, three clusters").click()
    becomes(page, "w.state.page", "assignments")
    look(page, artifacts, root, "dark-assignments")
    browser.change_theme(page, "Light")


def in_chinese(page, root, artifacts):
    "All texts are Chinese but for names and formulas; a change of language keeps the state."
    appears(root.locator("h3"), "损失实验室")
    for button in ("圆上的六个点", "六幅图像，三个簇"):
        root.get_by_role("button", name=button).click()
        page.wait_for_timeout(300)
        words = root.evaluate(
            """root => {
          const parts = [...root.querySelectorAll('button, caption, th, span, p')];
          const leaves = parts.filter(part => !part.children.length), names = /InfoNCE|softmax|logit|Shift/g;
          return leaves.map(part => part.textContent).filter(text => /[a-z]{4}/.test(text.replace(names, '')));
        }"""
        )
        assert words == []
        look(page, artifacts, root, f"chinese-{'points' if button.startswith('圆') else 'assignments'}")
    browser.run_python(page, "v.show(temperature=0.2, example='uniform'); v.lang = 'en'")
    appears(root.locator("h3"), "Loss lab")
    appears(root.locator(".dcacn-summary"), "33%, 33%, 33%")
    assert ask(page, "w.state.temperature", "v") == 0.2


def what_stays(lab, page, root, artifacts):
    "The picture is renewed by its button; the saved file opened without a kernel shows it with its words."
    root.get_by_role("button", name="Six points on a circle").click()
    root.get_by_role("button", name="Reset").click()
    becomes(page, "[w.state.page, w.state.angles[3]]", ["points", 80])
    browser.run_python(page, "w.show(temperature=0.25)")
    root.get_by_role("button", name="Keep this picture").click()
    page.wait_for_function(
        """() => {
      const outputs = window.testPanel.content.widgets[1].model.outputs.toJSON();
      return outputs.some(output => JSON.stringify(output.data).includes('temperature 0.25'));
    }""",
        timeout=WAIT,
    )
    page.wait_for_function(
        "() => document.querySelector('.dcacn-place .dcacn-losslab-round')", timeout=WAIT
    )  # and it is still alive
    appears(page.locator(".dcacn-place > .dcacn").first.locator(".dcacn-summary"), "temperature 0.25")
    browser.save(page)
    lab.open(page, "losslab_view.ipynb", kernel=None)
    page.locator(".dcacn-last img").nth(1).wait_for(timeout=WAIT)
    assert page.locator(".dcacn-place > .dcacn").count() == 0 and page.get_by_text("model not found").count() == 0
    appears(page.locator(".dcacn-last figcaption").first, "Six points at temperature 0.25: InfoNCE")
    assert "Six points on a circle" in page.locator(".dcacn-last img").first.get_attribute("alt")
    browser.picture(page, artifacts / "losslab-reopened.png")
