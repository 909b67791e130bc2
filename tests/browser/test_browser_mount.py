"A widget and its kernel: a notebook opened again holds one widget or one picture; a view without a kernel says so."

import browser
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WAIT = 60_000  # milliseconds: the machine may be busy
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
# What is seen of the widget: in its place, as a picture; and how often the place was filled within a second.
SEEN = """async () => {
  const places = [...document.querySelectorAll('.dcacn-place')];
  let added = 0;
  const observer = new MutationObserver(all => { for (const one of all) added += one.addedNodes.length; });
  for (const place of places) observer.observe(place, {childList: true});
  await new Promise(done => setTimeout(done, 1000));
  observer.disconnect();
  const widgets = places.flatMap(place => [...place.children]).filter(node => node.clientHeight > 0).length;
  const pictures = [...document.querySelectorAll('.dcacn-last')].filter(node => node.clientHeight > 0).length;
  return {places: places.length, widgets, pictures, added};
}"""
WIDGET_ALONE = {"places": 1, "widgets": 1, "pictures": 0, "added": 0}
PICTURE_ALONE = {"places": 1, "widgets": 0, "pictures": 1, "added": 0}


@pytest.fixture
def ended(lab, page):
    "A saved notebook whose run has ended, with its own kernel: its widget lives in the place beside the picture."
    browser.write_notebook(lab.root / "mount.ipynb", WIDGET)
    lab.open(page, "mount.ipynb", kernel="own")
    assert browser.run_all(page, 120)["errors"] == []
    page.locator("section.dcacn canvas.dcacn-canvas:visible").first.wait_for(timeout=WAIT)
    browser.run_python(page, END)
    page.locator(".dcacn-place > section canvas.dcacn-canvas:visible").first.wait_for(timeout=WAIT)
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


def test_reopened_with_its_kernel(lab, ended):
    "One widget that obeys its kernel: in the same page, where an older model still watches, and in a new page."
    assert ended.evaluate(SEEN) == WIDGET_ALONE
    close_tab(ended)
    reopen(ended)
    ended.locator(".dcacn-place > section canvas.dcacn-canvas:visible").first.wait_for(timeout=WAIT)
    assert ended.evaluate(SEEN) == WIDGET_ALONE
    lab.open(ended, "mount.ipynb", kernel="own")
    ended.locator(".dcacn-place > section canvas.dcacn-canvas:visible").first.wait_for(timeout=WAIT)
    assert ended.evaluate(SEEN) == WIDGET_ALONE
    browser.run_python(ended, "curves.lang = 'zh'")
    ended.locator(".dcacn-place > section[lang=zh-Hans]").wait_for(timeout=WAIT)
    assert ended.complaints == []


def test_kernel_restarted(ended):
    "The picture comes back at once, and stays when the notebook is opened again."
    ended.evaluate("() => window.testPanel.sessionContext.restartKernel()")
    ended.locator(".dcacn-last img").wait_for(timeout=10_000)
    assert ended.evaluate(SEEN) == PICTURE_ALONE
    close_tab(ended)
    reopen(ended)
    ended.locator(".dcacn-last img").wait_for(timeout=WAIT)
    assert ended.evaluate(SEEN) == PICTURE_ALONE
    assert [text for text in ended.complaints if "debug" not in text] == []  # JupyterLab asks after its debugger


def test_kernel_gone(ended):
    "The same when it is shut down, and the notebook opened again has none."
    ended.evaluate("() => window.testPanel.sessionContext.shutdown()")
    ended.locator(".dcacn-last img").wait_for(timeout=10_000)
    assert ended.evaluate(SEEN) == PICTURE_ALONE
    close_tab(ended)
    reopen(ended, **browser.NO_KERNEL)
    ended.locator(".dcacn-last img").wait_for(timeout=WAIT)
    assert ended.evaluate(SEEN) == PICTURE_ALONE


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
