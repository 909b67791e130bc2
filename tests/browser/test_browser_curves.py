"The curves in a real JupyterLab: pointer and keyboard, light and dark, wide and narrow, both languages."

import json
import re

import browser
import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 60_000  # milliseconds: the machine may be busy
RUN = """
import math
from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, StepDone
from dcacn_nb.widgets.curves import Curves

def run_events(epochs, best=0.9, per=10, labels=True):
    yield RunStarted("dcacn", {}, {}, 1000, 30 * per, per)
    for epoch in range(1, epochs + 1):
        for i in range(1, per + 1):
            x = epoch - 1 + i / per
            losses = {"total": 6 * math.exp(-x / 8) + 3, "instance": 4 * math.exp(-x / 6) + 2.5}
            losses["balance"] = 0.3 * math.exp(-x / 3) - 0.02
            speed = math.nan if 3 < x < 4 else 430 + 20 * math.cos(9 * x)
            rate, gradient = 2e-3 * min(1, x / 4), 1.5 + math.sin(x)
            yield StepDone((epoch - 1) * per + i, epoch, losses, rate, gradient, images_per_second=speed)
        yield EpochDone(epoch, epoch * per, {"total": 3.0})
        f = best * (1 - math.exp(-epoch / 7))
        yield Evaluated(epoch, epoch * per, {}, {"acc": f, "nmi": f * 0.95, "ari": f * 0.9} if labels else None)
"""
ACC, NMI = (213, 94, 0), (0, 114, 178)
PIXELS = """(node, [r, g, b]) => {  // pixels of one colour in a canvas
  const {data} = node.getContext('2d').getImageData(0, 0, node.width, node.height);
  let found = 0;
  for (let i = 0; i < data.length; i += 4) {
    const off = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b);
    found += data[i + 3] > 200 && off < 12;
  }
  return found;
}"""
PIXELS_CHANGED = f"([node, colour, before]) => ({PIXELS})(node, colour) !== before"


def acc(epoch, best=0.9):
    "The score of RUN, computed here once more."
    return f"{best * (1 - np.exp(-epoch / 7)):.3f}"


@pytest.fixture(scope="module")
def shown(lab, chromium):
    "A page with three widgets: one run, two runs over one another, and a run without labels."
    browser.write_notebook(
        lab.root / "curves.ipynb",
        RUN + "one = Curves()\none",
        "for event in run_events(20):\n    one(event)",
        "other = [*run_events(30, 0.8), RunFinished('completed', 300, 30)]\n"
        "two = Curves(compare={'plain <b>': other}, label='DCACN')\ntwo",
        "for event in run_events(12):\n    two(event)",
        "three = Curves()\nthree",
        "for event in run_events(3, labels=False):\n    three(event)",
    )
    page = browser.new_page(chromium, 1200)
    lab.open(page, "curves.ipynb")
    assert browser.run_all(page, 120)["errors"] == []
    page.locator(".dcacn table").nth(2).wait_for(timeout=WAIT)
    yield page
    page.close()


def part(page, i):
    "The i-th widget."
    return page.locator(".dcacn").nth(i)


def row(widget, name, column=0):
    "A value of the table."
    return (
        widget.locator("tr", has=widget.page.get_by_role("rowheader", name=name, exact=True)).locator("td").nth(column)
    )


def expect_text(locator, text):
    "Wait until an element has exactly this text."
    pattern = re.compile(f"^{re.escape(text)}$")
    locator.filter(has_text=pattern).wait_for(timeout=WAIT)


def test_values_under_the_pointer(shown, artifacts):
    "All panels are drawn; the pointer moves one cross through them, and the table shows the values."
    one = part(shown, 0)
    one.scroll_into_view_if_needed()
    canvases = one.locator("canvas.dcacn-canvas")
    assert canvases.count() == 5 and canvases.nth(0).evaluate(PIXELS, list(ACC)) > 100
    assert one.locator(".dcacn-summary").inner_text().startswith(f"Epoch 20 of 30: ACC {acc(20)}")
    assert row(one, "ACC").inner_text() == acc(20) and one.locator("caption").inner_text() == "Latest values"
    one.screenshot(path=str(artifacts / "curves-light.png"))
    box = canvases.nth(0).bounding_box()
    x = 50 + (box["width"] - 62) * 8 / 20  # epoch 8, by the margins of the panel
    canvases.nth(0).hover(position={"x": x, "y": 60})
    expect_text(one.locator("caption"), "Values at epoch 8")
    assert row(one, "ACC").inner_text() == acc(8) and float(row(one, "loss: total").inner_text()) == pytest.approx(
        6 * np.exp(-1) + 3, abs=5e-3
    )
    assert canvases.nth(0).get_attribute("aria-valuetext").startswith(f"epoch 8: ACC {acc(8)}, NMI")
    one.screenshot(path=str(artifacts / "curves-hover.png"))
    canvases.nth(3).hover(position={"x": 50 + (box["width"] - 62) * 3.5 / 20, "y": 60})
    expect_text(one.locator("caption"), "Values at epoch 3.5")
    assert row(one, "images per second").inner_text() == "–"  # not a number: a gap
    shown.mouse.move(5, 5)
    expect_text(one.locator("caption"), "Latest values")


def test_keyboard_alone(shown):
    "Arrow keys read values, + and - zoom, 0 shows all; the keys stay in the widget (0 twice would restart the kernel)."
    one = part(shown, 0)
    scores, reset = one.locator("canvas.dcacn-canvas").nth(0), one.get_by_role("button", name="Reset view")
    shown.evaluate(
        """() => {
      window.executed = [];
      window.jupyterapp.commands.commandExecuted.connect((_, {id}) => window.executed.push(id));
    }"""
    )
    scores.focus()
    shown.keyboard.press("ArrowLeft")
    expect_text(one.locator("caption"), "Values at epoch 19")
    shown.keyboard.press("Shift+ArrowLeft")
    expect_text(one.locator("caption"), "Values at epoch 9")
    assert row(one, "ACC").inner_text() == acc(9) and scores.get_attribute("aria-valuenow") == "9"
    assert reset.is_disabled()
    shown.keyboard.press("+")
    shown.keyboard.press("+")
    assert reset.is_enabled()
    for _ in range(3):
        shown.keyboard.press("ArrowRight")  # beyond the part in sight: it follows
    expect_text(one.locator("caption"), "Values at epoch 12")
    assert scores.evaluate(PIXELS, list(ACC)) > 50
    shown.keyboard.press("0")
    shown.keyboard.press("0")
    assert reset.is_disabled() and scores.evaluate("node => document.activeElement === node")
    shown.keyboard.press("Escape")
    expect_text(one.locator("caption"), "Latest values")
    assert shown.evaluate("() => window.executed") == [], "JupyterLab took a key for one of its commands"


def test_drag_log_and_legend(shown):
    "A drag zooms all panels; the log scale and the switches of the legend change the picture, and change it back."
    one = part(shown, 0)
    canvases, reset = one.locator("canvas.dcacn-canvas"), one.get_by_role("button", name="Reset view")
    whole = canvases.nth(1).evaluate("node => node.toDataURL()")
    changed = "([node, before]) => node.toDataURL() !== before"
    box = canvases.nth(0).bounding_box()
    shown.mouse.move(box["x"] + 120, box["y"] + 80)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 220, box["y"] + 90, steps=4)
    shown.mouse.up()
    shown.mouse.move(5, 5)
    assert reset.is_enabled()
    shown.wait_for_function(changed, arg=[canvases.nth(1).element_handle(), whole], timeout=WAIT)
    reset.click()
    shown.wait_for_function(
        "([node, before]) => node.toDataURL() === before", arg=[canvases.nth(1).element_handle(), whole], timeout=WAIT
    )
    log = one.get_by_role("checkbox", name="loss terms: log scale")
    log.check()
    one.get_by_text("Values of zero or less cannot be shown on a log scale").wait_for(timeout=WAIT)
    shown.wait_for_function(changed, arg=[canvases.nth(1).element_handle(), whole], timeout=WAIT)
    log.uncheck()
    before = canvases.nth(0).evaluate(PIXELS, list(NMI))
    switch = one.get_by_role("button", name="NMI", exact=True)
    switch.click()
    shown.wait_for_function(PIXELS_CHANGED, arg=[canvases.nth(0).element_handle(), list(NMI), before], timeout=WAIT)
    assert (
        before > 100
        and switch.get_attribute("aria-pressed") == "false"
        and canvases.nth(0).evaluate(PIXELS, list(NMI)) == 0
    )
    switch.click()
    assert switch.get_attribute("aria-pressed") == "true"


def test_several_runs_and_none_labelled(shown, artifacts):
    "Two runs have a column each, and a switch each; names are text, not markup. Without labels, one line says so."
    two, three = part(shown, 1), part(shown, 2)
    two.scroll_into_view_if_needed()
    assert [two.locator("thead th").nth(i).inner_text() for i in range(2)] == ["DCACN", "plain <b>"] and two.locator(
        "b"
    ).count() == 0
    assert (row(two, "ACC", 0).inner_text(), row(two, "ACC", 1).inner_text()) == (acc(12), acc(30, 0.8))
    assert (
        two.locator("svg").first.evaluate("node => node.clientHeight") == 14
    )  # JupyterLab's own style for pictures must not reach it
    two.screenshot(path=str(artifacts / "curves-two.png"))
    scores = two.locator("canvas.dcacn-canvas").nth(0)
    before = scores.evaluate(PIXELS, list(ACC))
    two.get_by_role("button", name="plain <b>").click()
    shown.wait_for_function(PIXELS_CHANGED, arg=[scores.element_handle(), list(ACC), before], timeout=WAIT)
    two.get_by_role("button", name="plain <b>").click()
    assert three.get_by_text("The images have no labels, so there are no scores.").is_visible()
    assert (
        not three.locator("canvas.dcacn-canvas").nth(0).is_visible()
        and three.locator("canvas.dcacn-canvas").nth(1).is_visible()
    )


def test_dark_narrow_chinese(shown, artifacts):
    "Every form is drawn, in its own colours and words."
    two = part(shown, 1)
    canvas = two.locator("canvas.dcacn-canvas").nth(0)
    light = canvas.evaluate("node => node.toDataURL()")
    browser.change_theme(shown, "Dark")
    shown.wait_for_function(
        "([node, before]) => node.toDataURL() !== before", arg=[canvas.element_handle(), light], timeout=WAIT
    )
    two.scroll_into_view_if_needed()
    two.screenshot(path=str(artifacts / "curves-dark.png"))
    browser.run_python(shown, "two.lang = 'zh'")
    two.locator("caption").filter(has_text="最新数值").wait_for(timeout=WAIT)
    assert two.get_by_role("button", name="重置视图").count() == 1 and two.locator(
        ".dcacn-summary"
    ).inner_text().startswith("第 12 轮（共 30 轮）：ACC")
    browser.change_theme(shown, "Light")
    two.evaluate("node => { node.parentElement.style.width = '400px'; }")
    shown.wait_for_function(
        """node => {
      const sharp = Math.abs(node.width - node.clientWidth * devicePixelRatio) < 1;
      return node.clientWidth > 300 && node.clientWidth <= 400 && sharp;
    }""",
        arg=two.locator("canvas.dcacn-canvas").nth(0).element_handle(),
        timeout=WAIT,
    )
    assert two.evaluate("node => node.scrollWidth <= 400")
    shown.set_viewport_size({"width": 1280, "height": 2300})
    two.screenshot(path=str(artifacts / "curves-narrow-zh.png"))
    shown.set_viewport_size({"width": 1280, "height": 1200})
    two.evaluate("node => { node.parentElement.style.width = ''; }")
    browser.run_python(shown, "two.lang = 'en'")
    two.locator("caption").filter(has_text="Latest values").wait_for(timeout=WAIT)


def test_what_lasts(shown, lab, artifacts):
    "When the run ends, the widget continues; in the saved notebook a picture with its words is in its place."
    browser.run_python(shown, "one(RunFinished('completed', 200, 20))")
    shown.locator(".dcacn-last", has_text=f"ACC {acc(20)}").first.wait_for(state="attached", timeout=WAIT)
    place = shown.locator(".dcacn-place .dcacn").first
    expect_text(row(place, "ACC"), acc(20))
    assert not shown.locator(".dcacn-last").first.is_visible() and shown.complaints == []
    browser.save(shown)
    saved = json.dumps(json.loads((lab.root / "curves.ipynb").read_text(encoding="utf-8"))["cells"][0]["outputs"])
    assert "dcacn-last" in saved and f"ACC {acc(20)}" in saved and "data:image/png" in saved


def test_the_browser_keeps_few_rows(page):
    "The rows of a long run in the browser are the ones that Python keeps; the newest, if preliminary, is replaced."
    from dcacn_nb.widgets.curves import POINTS, Rows

    rows, messages = Rows(), []
    for n in range(20_000):
        rows.append([n, n % 7])
        if n % 50 == 49:
            content, [buffer] = rows.changes()
            messages.append([content, np.frombuffer(buffer, "<f4").tolist()])
    browser.open_modules(page)
    most, first, second = page.evaluate(
        """async messages => {
      const {takeRows} = await import('/curves_data.js'), part = {columns: [], kept: 0};
      let most = 0;
      for (const [content, values] of messages) {
        takeRows(part, 2, content, Float32Array.from(values));
        most = Math.max(most, part.columns[0].length);
      }
      return [most, ...part.columns];
    }""",
        messages,
    )
    expected = [n for n in range(20_000) if n % 32 == 0] + [19_999]
    assert first == expected and second == [n % 7 for n in expected] and most <= POINTS + 1


def test_numbers_along_a_log_axis(page):
    "However much of it is in sight, a logarithmic axis has at least two numbers, each at its own height."
    browser.open_modules(page)
    for low, high in [(0.4, 0.6), (0.38, 0.47), (-0.02, 0.98), (-0.3, 1.5), (-1.5, 1), (-6, 3)]:
        marks = page.evaluate(
            "async ([low, high]) => (await import('/curves_data.js')).axisMarks(low, high, true, 166)",
            [low, high],
        )
        assert 2 <= len(marks) <= 8, (low, high, marks)
        assert all(low <= y <= high and y == pytest.approx(np.log10(float(text)), abs=1e-6) for y, text in marks)
