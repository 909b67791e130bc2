"The dashboard in a real JupyterLab, with real runs: controls under Run All, a run in another process, what stays."

import subprocess
import sys
from pathlib import Path

import browser
import nbformat
import pytest
from nbconvert import HTMLExporter

from dcacn_nb.core.events import StepDone
from dcacn_nb.runs.log import read_events

pytestmark = [pytest.mark.browser, pytest.mark.alone, pytest.mark.slow]
TABS = ("Curves", "Health", "Map", "Attention", "Crops", "Clusters")
SETUP = """
import dcacn_nb as dc

digits = dc.load_images("digits", limit=200)
every = dict(log_every=1, eval_every=1, snapshot_every=1)
config = dc.preset("default", digits, n_clusters=10, epochs={epochs}, width=4, seed=0, **every)
run = dc.fit(digits, config, labels=digits.labels, run_dir={folder!r}, background=True, start=False)
"""
TRACEBACKS = """() => window.testPanel.content.widgets
  .flatMap(cell => cell.model.outputs?.toJSON() ?? [])
  .filter(output => output.output_type === 'error')
  .map(output => output.traceback.join('\\n'))"""
SHOW = "dashboard = dc.Dashboard(run, method='pca')\ndashboard"
# In the page: when was the button pressed, and when did the word of the status become another one?
PRESS = """([name, wanted, key]) => new Promise((done, fail) => {
  const status = document.querySelector('.dcacn-dashboard-status');
  const button = [...document.querySelectorAll('.dcacn-row button')].find(b => b.textContent === name);
  let began = 0;
  const start = () => { began = performance.now(); };
  button.addEventListener('click', start, {once: true, capture: true}); // a key makes a click, too
  const look = new MutationObserver(() => {
    if (status.dataset.status !== wanted) return;
    look.disconnect();
    done((performance.now() - began) / 1000);
  });
  look.observe(status, {attributes: true, childList: true});
  setTimeout(() => fail(new Error(`still ${status.dataset.status} after 30 s`)), 30000);
  button.focus();
  if (!key) button.click();
})"""


def status(page):
    "What the controls say of the run."
    return page.locator(".dcacn-dashboard-status").first.get_attribute("data-status")


def button(page, name):
    "A button of the dashboard: JupyterLab has others."
    return page.locator("section.dcacn").first.get_by_role("button", name=name, exact=True)


def wait_for(page, wanted, seconds=90):
    "Wait until the run has this status."
    page.wait_for_function(
        "wanted => document.querySelector('.dcacn-dashboard-status')?.dataset.status === wanted",
        arg=wanted,
        timeout=1000 * seconds,
    )


def ask(page, code):
    "What the kernel answers to an expression, as JSON, once no cell is under way: until then the question waits."
    return page.evaluate(
        """async code => {
      let reply;
      do { // right after an interrupt, the kernel throws away what is asked
        await new Promise(done => setTimeout(done, 200));
        const {kernel} = window.testPanel.sessionContext.session;
        reply = await kernel.requestExecute({code: '', user_expressions: {answer: code}, silent: true}).done;
      } while (reply.content.status === 'aborted');
      return JSON.parse(reply.content.user_expressions.answer.data['text/plain'].slice(1, -1));
    }""",
        f"__import__('json').dumps({code})",
    )


def steps(folder):
    "The steps that a run has reported so far, read from its folder."
    return [event for event in read_events(folder, arrays=False) if isinstance(event, StepDone)]


def canvas(page):
    "The first drawing of the page, as data."
    return page.evaluate(
        "() => document.querySelector('.dcacn-dashboard-panel:not([hidden]) canvas.dcacn-canvas').toDataURL()"
    )


def test_controls_under_run_all(lab, page, artifacts):
    "Start, Pause, Resume and Stop act while a cell awaits the run; the picture changes; the cells after it wait."
    browser.write_notebook(
        lab.root / "dashboard_controls.ipynb",
        SETUP.format(epochs=2000, folder="run_controls"),
        SHOW,
        "await run\nrun.status",
    )
    folder = lab.root / "run_controls"
    lab.open(page, "dashboard_controls.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.locator(".dcacn-dashboard-status").first.wait_for(timeout=90_000)
    assert status(page) == "ready"
    button(page, "Start").focus()
    page.keyboard.press("Enter")
    wait_for(page, "running")
    assert page.evaluate("() => document.activeElement.textContent") == "Pause", (
        "Start is disabled now: the focus moves to the next button"
    )
    page.locator(".dcacn-dashboard-panel:not([hidden]) canvas.dcacn-canvas").first.wait_for(timeout=30_000)
    page.wait_for_function("() => document.querySelector('.dcacn-dashboard-bar').value > 0", timeout=60_000)
    before = canvas(page)
    page.wait_for_function(
        "old => document.querySelector('.dcacn-dashboard-panel:not([hidden]) canvas.dcacn-canvas').toDataURL() !== old",
        arg=before,
        timeout=60_000,
    )
    assert page.evaluate(browser.STATE)["waiting"] == 1  # the last cell is under way: nothing below counts unless it is

    # measured from the click, which a key makes, too, to the new word on the page; the step under way may end first
    taken = {"pause by click": page.evaluate(PRESS, ["Pause", "paused", ""])}
    held = len(steps(folder))
    page.wait_for_timeout(1000)
    assert len(steps(folder)) == held
    button(page, "Resume").focus()
    page.keyboard.press("Enter")
    wait_for(page, "running")
    page.wait_for_function(
        "old => document.querySelector('.dcacn-dashboard-panel:not([hidden]) canvas.dcacn-canvas').toDataURL() !== old",
        arg=canvas(page),
        timeout=60_000,
    )
    page.screenshot(path=str(artifacts / "dashboard-running.png"))
    pressed = page.evaluate_handle(
        "args => { const wait = (" + PRESS + ")(args); return {wait}; }", ["Pause", "paused", "key"]
    )
    page.keyboard.press("Space")
    taken["pause by key"] = pressed.evaluate("p => p.wait")
    button(page, "Resume").click()
    wait_for(page, "running")
    pressed = page.evaluate_handle(
        "args => { const wait = (" + PRESS + ")(args); return {wait}; }", ["Stop", "stopped", "key"]
    )
    page.keyboard.press("Enter")
    taken["stop by key"] = pressed.evaluate("p => p.wait")
    state = browser.wait_for_cells(page, 60)
    assert state["errors"] == [] and state["waiting"] == 0
    assert ask(
        page, "[run.status, (run.folder / 'events.jsonl').exists(), bool(list(run.folder.rglob('*.safetensors')))]"
    ) == ["stopped", True, True]
    times = sorted(b.time - a.time for a, b in zip(steps(folder), steps(folder)[1:]))
    step = times[int(0.99 * len(times)) - 2]  # one of the slowest, with an evaluation in it; not the pauses
    print({name: round(seconds, 2) for name, seconds in taken.items()}, "slow step", round(step, 2))
    assert max(taken.values()) < 0.5 + step
    assert page.complaints == []


def test_stop_by_click(lab, page):
    "The Stop button, pressed by the pointer, ends the run, and the message says so; the checkpoint is there."
    browser.write_notebook(
        lab.root / "dashboard_stop.ipynb",
        SETUP.format(epochs=2000, folder="run_stop"),
        SHOW,
        "run.start()\nawait run",
        "run.status",
    )
    lab.open(page, "dashboard_stop.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.locator(".dcacn-dashboard-status").first.wait_for(timeout=90_000)
    wait_for(page, "running")
    page.wait_for_function("() => document.querySelector('.dcacn-dashboard-bar').value > 0", timeout=60_000)
    button(page, "Stop").click()
    wait_for(page, "stopped", 10)
    assert browser.wait_for_cells(page, 60)["errors"] == []
    assert ask(page, "run.status") == "stopped" and button(page, "Stop").is_disabled()


def test_every_tab_and_what_stays(lab, page, artifacts):
    "All tabs show something in both themes, by keyboard; a figure is saved; reopened and exported, the pictures stay."
    browser.write_notebook(
        lab.root / "dashboard_tabs.ipynb",
        SETUP.format(epochs=2, folder="run_tabs"),
        SHOW,
        "run.start()\nawait run\ndashboard.wait()",
    )
    lab.open(page, "dashboard_tabs.ipynb")
    assert browser.run_all(page, 120)["errors"] == []
    wait_for(page, "completed")
    first = page.get_by_role("tab", name="Curves")
    first.wait_for()
    first.focus()
    for i, name in enumerate(TABS):
        assert page.get_by_role("tab", name=name).get_attribute("aria-selected") == "true"
        panel = page.locator(".dcacn-dashboard-panel:not([hidden])")
        panel.locator("canvas, img").first.wait_for(timeout=30_000)
        page.wait_for_timeout(400)
        page.locator("section.dcacn").first.screenshot(path=str(artifacts / f"dashboard-{name.lower()}.png"))
        if i + 1 < len(TABS):
            page.keyboard.press("ArrowRight")
    browser.change_theme(page, "Dark")
    page.locator("section.dcacn").first.get_by_label("Language").focus()
    page.locator("section.dcacn").first.get_by_label("Language").select_option("zh")
    page.get_by_role("tab", name="曲线").wait_for()
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "语言", (
        "the focus stays where it was"
    )
    page.get_by_role("tab", name="健康度").click()
    page.wait_for_timeout(600)
    page.locator("section.dcacn").first.screenshot(path=str(artifacts / "dashboard-dark-zh.png"))
    button(page, "保存图片").focus()
    page.keyboard.press("Enter")
    link = page.locator("a[download]").first
    link.wait_for(timeout=60_000)
    assert page.evaluate("() => document.activeElement.textContent") == "保存图片"
    assert link.get_attribute("download") == "health-epoch2.png"
    assert ask(page, "(run.folder / 'figures' / 'health-epoch2.png').read_bytes()[:4].hex()") == "89504e47"
    browser.change_theme(page, "Light")
    assert page.complaints == []

    browser.save(page)
    saved = lab.root / "dashboard_tabs.ipynb"
    lab.open(page, "dashboard_tabs.ipynb", kernel=None)
    page.locator(".dcacn-last img").first.wait_for(timeout=30_000)
    assert page.locator(".dcacn-last img").count() == len(TABS) and page.locator(".dcacn-last img").first.is_visible()
    assert page.get_by_text("model not found").count() == 0 and page.get_by_text("Error displaying widget").count() == 0
    page.screenshot(path=str(artifacts / "dashboard-reopened.png"))
    exported, _ = HTMLExporter().from_notebook_node(nbformat.read(saved, as_version=4))
    assert exported.count('alt="Curves over the epochs.') == 1 and exported.count("<figcaption>") == len(TABS)


def test_a_run_in_another_process(lab, page, artifacts):
    "A run of `dcacn fit` is watched from its first event on, buttons off; in a page opened later nothing is missing."
    folder = lab.root / "elsewhere"
    browser.write_notebook(
        lab.root / "dashboard_attach.ipynb",
        f"import dcacn_nb as dc\n\ndashboard = dc.Dashboard.attach({str(folder)!r}, method='pca')\ndashboard",
    )
    command = [
        str(Path(sys.executable).with_name("dcacn")),
        "fit",
        "digits",
        "-k",
        "10",
        "--limit",
        "200",
        "--width",
        "4",
        "--epochs",
        "500",
        "--run-dir",
        str(folder),
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lab.open(page, "dashboard_attach.ipynb")
        assert browser.run_all(page, 90)["errors"] == []
        assert process.poll() is None, process.communicate()
        wait_for(page, "running", 120)
        assert all(button(page, name).is_disabled() for name in ("Start", "Pause", "Stop"))
        assert page.get_by_text("This run belongs to another process").count() == 1
        page.wait_for_function("() => document.querySelector('.dcacn-dashboard-bar').value > 0", timeout=90_000)
        before = page.locator(".dcacn-dashboard-bar").first.evaluate("bar => bar.value")
        page.goto("about:blank")  # the reader closes the browser; the kernel and the run continue
        lab.open(page, "dashboard_attach.ipynb")
        assert browser.run_all(page, 90)["errors"] == []
        wait_for(page, "running", 60)
        page.wait_for_function(
            "old => document.querySelector('.dcacn-dashboard-bar').value > old", arg=before, timeout=90_000
        )
        page.screenshot(path=str(artifacts / "dashboard-attached.png"))
        known, written = ask(page, "[e.step for e in dashboard.history.steps]"), [event.step for event in steps(folder)]
        assert known and known == written[: len(known)]  # from the first event on
        process.send_signal(2)  # Ctrl-C, where the run lives
        process.wait(60)
        wait_for(page, "interrupted", 30)
        assert page.complaints == []
    finally:
        process.kill()
        process.communicate()


def test_kernel_interrupt_keeps_a_checkpoint(lab, page):
    "The kernel's own stop button ends the awaiting cell and the run, and leaves a checkpoint."
    browser.write_notebook(
        lab.root / "dashboard_interrupt.ipynb",
        SETUP.format(epochs=2000, folder="run_interrupt"),
        SHOW,
        "run.start()\nawait run",
    )
    lab.open(page, "dashboard_interrupt.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.locator(".dcacn-dashboard-status").first.wait_for(timeout=90_000)
    wait_for(page, "running")
    page.wait_for_function("() => document.querySelector('.dcacn-dashboard-bar').value > 0", timeout=60_000)
    page.evaluate("() => window.testPanel.sessionContext.session.kernel.interrupt()")
    wait_for(page, "interrupted", 30)
    browser.wait_for_cells(page, 60)
    said = page.evaluate(TRACEBACKS)
    assert len(said) == 1 and said[0].startswith("The run was stopped at step") and "resume=True" in said[0]
    assert len(said[0].splitlines()) == 1  # not the 23 lines of a CancelledError
    assert ask(page, "[run.status, bool(list(run.folder.rglob('*.safetensors')))]") == ["interrupted", True]
