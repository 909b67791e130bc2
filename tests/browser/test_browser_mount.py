"A widget and its kernel: a notebook opened again holds one widget or one picture; a view without a kernel says so."

import subprocess
import sys

import browser
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 60_000  # milliseconds: the machine may be busy
SOON = 10_000  # for what nobody should wait for
WIDGET = """
from dcacn_nb.core.events import RunFinished, RunStarted, StepDone
from dcacn_nb.widgets.curves import Curves

curves = Curves()
curves(RunStarted("dcacn", {}, {}, 100, 10, 10))
for step in range(1, 4):
    curves(StepDone(step, step / 10, {"total": 1 / step}, 0.01, 1.0, 10, 0.0))
curves
"""
END = "curves(RunFinished('completed', 3, 1))"
# What is seen in three seconds: widgets, pictures, lines about the kernel; and how often something was put in a place.
SEEN = """async () => {
  const places = [...document.querySelectorAll('.dcacn-place')];
  let added = 0;
  const observer = new MutationObserver(all => { for (const one of all) added += one.addedNodes.length; });
  for (const place of places) observer.observe(place.parentElement, {childList: true});
  for (const place of places) observer.observe(place, {childList: true});
  await new Promise(done => setTimeout(done, 3000));
  observer.disconnect();
  const seen = selector => [...document.querySelectorAll(selector)].filter(node => node.clientHeight > 0).length;
  return {
    places: places.length,
    widgets: seen('section.dcacn'),
    pictures: seen('.dcacn-last'),
    lines: seen('.dcacn-kernel'),
    added,
  };
}"""
WIDGET_ALONE = {"places": 1, "widgets": 1, "pictures": 0, "lines": 0, "added": 0}
WIDGET_OF_THE_PAST = WIDGET_ALONE | {"lines": 1}
PICTURE_ALONE = {"places": 1, "widgets": 0, "pictures": 1, "lines": 0, "added": 0}
PICTURE_WITH_LINE = PICTURE_ALONE | {"lines": 1}
LIVING = ".dcacn-place > section canvas.dcacn-canvas:visible"
NOISE = ("debug", "Canceled future")  # JupyterLab asks a kernel that is restarting


@pytest.fixture
def opened(lab, page):
    "A notebook with its own kernel, in mid-run: its widget lives in a place, and its picture is kept below it."
    browser.write_notebook(lab.root / "mount.ipynb", WIDGET)
    lab.open(page, "mount.ipynb", kernel="own")
    assert browser.run_all(page, 120)["errors"] == []
    page.locator(LIVING).first.wait_for(timeout=WAIT)
    page.locator(".dcacn-last img").wait_for(state="attached", timeout=WAIT)
    browser.save(page)
    yield page
    lab.end_kernels()


def close_tab(page):
    "Close the notebook in the page; the kernel, and what the page knows of it, stay."
    page.evaluate("() => window.jupyterapp.commands.execute('application:close-all')")
    page.locator(".dcacn-place").wait_for(state="detached", timeout=WAIT)


def reopen(page, **options):
    "Open the notebook again, in the same page."
    page.evaluate(browser.OPEN, ["mount.ipynb", options])
    page.locator(".dcacn-last").wait_for(state="attached", timeout=WAIT)


def obeys(page, lang):
    "Whether the widget is one of its kernel: the language changes."
    browser.run_python(page, f"curves.lang = '{lang}'")
    page.locator(f".dcacn-place > section[lang={'zh-Hans' if lang == 'zh' else 'en'}]").wait_for(timeout=WAIT)
    return page.evaluate(SEEN) == WIDGET_ALONE


def test_reopened_with_its_kernel(lab, opened):
    "One widget that obeys: in the same page, where an older model still watches, in a new page, after the end."
    assert opened.evaluate(SEEN) == WIDGET_ALONE
    saved = (lab.root / "mount.ipynb").read_text(encoding="utf-8")
    assert "widget-view" not in saved and "dcacn-last" in saved and len(saved) < 200_000
    close_tab(opened)
    reopen(opened)
    opened.locator(LIVING).first.wait_for(timeout=WAIT)
    assert obeys(opened, "zh")
    lab.open(opened, "mount.ipynb", kernel="own")
    opened.locator(LIVING).first.wait_for(timeout=WAIT)
    assert obeys(opened, "en")
    browser.run_python(opened, END)
    assert obeys(opened, "zh")
    assert opened.complaints == []


def test_kernel_restarted(lab, opened):
    "In mid-run the widget stays as it was, with a line above it; after the end, and opened again, there is a picture."
    opened.evaluate("() => window.testPanel.sessionContext.restartKernel()")
    opened.locator(".dcacn-kernel", has_text="The kernel no longer answers").wait_for(timeout=5_000)
    assert opened.evaluate(SEEN) == WIDGET_OF_THE_PAST
    assert opened.locator(".dcacn-place").locator("button:enabled, input:enabled").count() == 0
    close_tab(opened)
    reopen(opened)
    opened.locator(".dcacn-last img").wait_for(timeout=SOON)
    assert opened.evaluate(SEEN) == PICTURE_ALONE
    assert browser.run_all(opened, 120)["errors"] == []
    opened.locator(LIVING).first.wait_for(timeout=WAIT)
    browser.run_python(opened, END)
    opened.locator(".dcacn-last img").wait_for(state="attached", timeout=WAIT)
    assert opened.evaluate(SEEN) == WIDGET_ALONE
    opened.evaluate("() => window.testPanel.sessionContext.restartKernel()")
    opened.locator(".dcacn-last img").wait_for(timeout=SOON)
    assert opened.evaluate(SEEN) == PICTURE_WITH_LINE
    assert [text for text in opened.complaints if not any(part in text for part in NOISE)] == []


def test_kernel_gone(lab, opened):
    "Shut down in mid-run: the notebook opened again without a kernel shows how far the run was, in any page."
    opened.evaluate("() => window.testPanel.sessionContext.shutdown()")
    opened.locator(".dcacn-kernel", has_text="The kernel no longer answers").wait_for(timeout=5_000)
    assert opened.evaluate(SEEN) == WIDGET_OF_THE_PAST
    close_tab(opened)
    reopen(opened, **browser.NO_KERNEL)
    opened.locator(".dcacn-last img").wait_for(timeout=SOON)
    assert opened.evaluate(SEEN) == PICTURE_ALONE
    lab.open(opened, "mount.ipynb", kernel=None)
    opened.locator(".dcacn-last img").wait_for(timeout=SOON)
    assert opened.evaluate(SEEN) == PICTURE_ALONE
    assert "loss 0.333" in opened.locator(".dcacn-last figcaption").inner_text()


BROKEN = """
from dcacn_nb.widgets.live import LiveWidget

class Broken(LiveWidget):
    ESM = '''import {live} from "./mount.js";
const render = ({root}) => {
  root.append("half");
  throw new Error("on <b>purpose</b>");
};
export default live(render);
'''

Broken()
"""


def test_a_view_that_fails_leaves_one_sentence(lab, page):
    browser.write_notebook(lab.root / "broken_view.ipynb", BROKEN)
    lab.open(page, "broken_view.ipynb")
    assert browser.run_all(page, 60)["errors"] == []
    line = page.locator(".dcacn-place > section > .dcacn-kernel")
    line.wait_for(timeout=WAIT)
    assert page.evaluate(SEEN) == WIDGET_OF_THE_PAST
    assert line.inner_text().startswith("This view cannot be shown: Error: on <b>purpose</b>. Run the cell again")
    assert page.get_by_text("half", exact=True).count() == 0


DASHBOARD = """
import os
import dcacn_nb as dc

digits = dc.load_images("digits", limit=100)
config = dc.preset("default", digits, n_clusters=10, epochs=2, width=4)
run = dc.fit(digits, config, background=True, start=False)
dc.Dashboard(run, method="pca")
"""
END_OF_KERNEL = {
    "killed": "() => { window.testPanel.sessionContext.session.kernel.requestExecute({code: 'os._exit(1)'}); }",
    "restarted": "() => { window.testPanel.sessionContext.restartKernel(); }",
    "shut down": "() => { window.testPanel.sessionContext.shutdown(); }",
}
STEADY = "() => ['idle', 'unknown'].includes(window.testPanel.sessionContext.session?.kernel?.status ?? 'unknown')"


def test_a_dashboard_without_its_kernel(lab, page):
    "Within seconds a line says that the kernel no longer answers, and the controls are off."
    browser.write_notebook(lab.root / "gone.ipynb", DASHBOARD)
    for how, end in END_OF_KERNEL.items():
        lab.open(page, "gone.ipynb", kernel="own")
        assert browser.run_all(page, 120)["errors"] == []
        controls = page.get_by_role("group", name="Controls of the run").get_by_role("button")
        page.locator(".dcacn-dashboard-status[data-status=ready]").wait_for(timeout=WAIT)
        assert controls.evaluate_all("all => all.map(button => button.disabled)") == [False, True, False], how
        assert not page.locator(".dcacn-kernel").is_visible()
        page.evaluate(end)
        line = page.locator(".dcacn-kernel", has_text="The kernel no longer answers")
        line.wait_for(timeout=5_000)
        assert controls.evaluate_all("all => all.map(button => button.disabled)") == [True] * 3, how
        assert line.get_attribute("role") == "alert"
        page.wait_for_function(STEADY, timeout=WAIT)  # the server cannot end a kernel that it is restarting
        lab.end_kernels()


HOLDER = """
import sys, time
from dcacn_nb.core.events import RunStarted, StepDone
from dcacn_nb.core.locks import lock
from dcacn_nb.runs.log import RunLog

log, held = RunLog(sys.argv[1]), lock(sys.argv[1] + "/.lock")
log(RunStarted("dcacn", {"epochs": 30}, {}, 100, 300, 10))
for step in range(1, 10_000):
    log(StepDone(step % 200 + 1, 1, {"total": 1 / step}, 0.01, 1.0))
    time.sleep(0.1)
"""


def test_a_dashboard_whose_run_was_killed(lab, page):
    "Within five seconds of the end of another process: no time left, but how to resume; also when attached later."
    folder = lab.root / "killed run"
    attach = f"import dcacn_nb as dc\ndc.Dashboard.attach({str(folder)!r}, method='pca')"
    browser.write_notebook(lab.root / "killed.ipynb", attach)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)])
    try:
        lab.open(page, "killed.ipynb")
        assert browser.run_all(page, 120)["errors"] == []
        page.locator(".dcacn-dashboard-status[data-status=running]").wait_for(timeout=WAIT)
        page.locator(".dcacn-dashboard-place", has_text="left").wait_for(timeout=WAIT)
    finally:
        process.kill()
        process.wait()
    for again in (False, True):
        if again:
            assert browser.run_all(page, 120)["errors"] == []
        page.locator(".dcacn-dashboard-status[data-status=lost]").wait_for(timeout=WAIT if again else 5_000)
        line = page.locator(".dcacn-kernel")
        assert line.inner_text().startswith("No process holds this run") and f"resume '{folder}'" in line.inner_text()
        assert "left" not in page.locator(".dcacn-dashboard-place").inner_text()
        assert page.get_by_role("group", name="Controls of the run").locator("button:enabled").count() == 0
