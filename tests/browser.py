"Drive a real JupyterLab: start it, open a notebook, run it, and read what the page then holds."

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from project import ROOT

SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Without this, cells out of sight are not in the page, and a picture of the whole notebook cannot be taken.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
OPEN = """async ([path, options]) => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook', ...options});
  await panel.context.ready;
  await panel.sessionContext.ready;
  window.testPanel = panel;
  const kernel = panel.sessionContext.session?.kernel;
  await kernel?.info;  // before this, running cells asks for a kernel and waits for ever
}"""
NO_KERNEL = {"kernelPreference": {"shouldStart": False, "canStart": False, "shouldReuse": False}}
WARM = "import dcacn_nb.widgets.dashboard, dcacn_nb.fitting, dcacn_nb.widgets.loss_lab"
CLEAN = "import ipywidgets; ipywidgets.Widget.close_all(); get_ipython().run_line_magic('reset', '-f')"
STATE = """() => {
  const panel = window.testPanel, code = panel.content.widgets.filter(c => c.model.type === 'code');
  const cells = code.filter(c => c.model.sharedModel.source.trim());
  const outputs = cells.flatMap(c => c.model.outputs.toJSON());
  return {
    waiting: cells.filter(c => c.model.executionCount === null).length,
    errors: outputs.filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`),
    status: panel.sessionContext.session.kernel.status,
    cells: cells.length,
    outputs: outputs.length,
  };
}"""

PRINTED = """async code => {
  const future = window.testPanel.sessionContext.session.kernel.requestExecute({code});
  let text = "";
  future.onIOPub = message => {
    if (message.header.msg_type === "stream") text += message.content.text;
    if (message.header.msg_type === "error") text += message.content.evalue;
  };
  await future.done;
  return text;
}"""
HARMLESS = {
    # Exact console texts that say nothing about our notebooks, each with its reason.
}


def find_browser(playwright) -> "str | None":
    "Path of a Chromium or Chrome: one named in CHROMIUM, one on PATH, or playwright's own."
    named = os.environ.get("CHROMIUM")
    on_path = (shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    own = playwright.chromium.executable_path
    return named or next(filter(None, on_path), None) or (own if Path(own).exists() else None)


def free_port() -> int:
    "A free port."
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class JupyterLab:
    "A JupyterLab server in its own folders: `root` holds the notebooks, nothing of the user's is read or written."

    def __init__(self, folder: Path):
        self.folder, self.root = folder, folder / "root"
        self.root.mkdir()
        self.port, self.token = free_port(), secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.kernel: str | None = None  # the one that notebooks share: importing torch takes seconds

    def environment(self) -> "dict[str, str]":
        "This process's environment with every Jupyter folder moved into `folder`."
        for plugin, values in SETTINGS.items():
            path = self.folder / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        own = {
            name: str(self.folder / name.lower())
            for name in (
                "HOME",
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
                "JUPYTERLAB_WORKSPACES_DIR",
                "IPYTHONDIR",
            )
        }
        for path in own.values():
            Path(path).mkdir(exist_ok=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER") and k != "MPLBACKEND"}
        return {**env, **own, "JUPYTERLAB_SETTINGS_DIR": str(self.folder / "settings"), "PYTHONPATH": str(ROOT)}

    def start(self, seconds: float = 90) -> None:
        "Start the server and wait until it answers."
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--expose-app-in-browser",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.root}",
            "--LabApp.extension_manager=readonly",
        ]
        if os.geteuid() == 0:
            command.append("--allow-root")
        with open(self.folder / "lab.log", "w") as log:
            self.process = subprocess.Popen(
                command, env=self.environment(), stdout=log, stderr=subprocess.STDOUT, cwd=self.root
            )
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        self.stop()
        raise RuntimeError(
            f"JupyterLab did not answer in {seconds} s:\n{(self.folder / 'lab.log').read_text()[-3000:]}"
        )

    def stop(self) -> None:
        "Stop the server; it takes its kernels with it."
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def ask(self, path: str, method: str = "GET"):
        "What the server's REST interface answers."
        data, headers = b"{}" if method == "POST" else None, {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def end_kernels(self) -> None:
        "Empty the shared kernel and shut down every other: each holds a gigabyte, and may still be at work."
        for kernel in self.ask("kernels"):
            if kernel["id"] != self.kernel:
                self.ask(f"kernels/{kernel['id']}", "DELETE")
        if self.kernel is not None:
            self.execute(CLEAN)

    def shared_kernel(self) -> str:
        "The id of the kernel that notebooks share: it has imported what they need, which takes seconds."
        if self.kernel not in {kernel["id"] for kernel in self.ask("kernels")}:
            self.kernel = self.ask("kernels", "POST")["id"]
            self.execute(WARM)
        return self.kernel

    def execute(self, code: str) -> None:
        "Run code in the shared kernel, without a page."
        from jupyter_client import BlockingKernelClient

        file = self.folder / "jupyter_runtime_dir" / f"kernel-{self.kernel}.json"
        client = BlockingKernelClient(connection_file=str(file))
        client.load_connection_file()
        client.start_channels()
        try:
            self._wait_for(client)
            reply = client.execute(code, reply=True, timeout=120)
        finally:
            client.stop_channels()
        assert reply["content"]["status"] == "ok", reply["content"]

    def _wait_for(self, client, seconds: float = 90) -> None:
        "Until the shared kernel answers. One that is still starting has no heart beat yet, and counts as dead there."
        end = time.monotonic() + seconds
        while True:
            try:
                return client.wait_for_ready(60)
            except RuntimeError:
                if time.monotonic() > end or self.kernel not in {kernel["id"] for kernel in self.ask("kernels")}:
                    raise
                time.sleep(0.5)

    def open(
        self,
        page,
        path: str,  # of the notebook, relative to `root`
        kernel: "str | None" = "shared",  # "own": started for it, or the one it has; None: none, as when it has ended
    ) -> None:
        "Open a notebook and wait for its kernel. The shared one works in `root`; each test file finds it empty."
        options = {} if kernel == "own" else NO_KERNEL if kernel is None else {"kernel": {"id": self.shared_kernel()}}
        page.goto(f"{self.url}/lab?token={self.token}&reset")  # reset: no tabs of an earlier test
        page.wait_for_function("() => window.jupyterapp", timeout=90_000)
        page.without_kernel = kernel is None
        page.evaluate(OPEN, [path, options])
        change_theme(page, "Light")  # the settings are the server's: an earlier test may have left the other one


MODULES = "http://modules.test/"


def open_modules(page) -> None:
    "An empty page that can import the widgets' modules: `await import('/numbers.js')`."

    def serve(route):
        file = ROOT / "dcacn_nb" / "widgets" / "static" / route.request.url.removeprefix(MODULES)
        if file.is_file():
            route.fulfill(path=file, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    page.route(f"{MODULES}*", serve)
    page.goto(MODULES)


def launch(playwright, path: str):
    "A Chromium without a window, which asks nothing of the network."
    flags = [
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox refuses to run as root
    return playwright.chromium.launch(executable_path=path, args=flags)


def new_page(chromium, height: int = 900):
    "A page that remembers what its console complained about (`page.complaints`); pages share their cache."
    context = (
        chromium.contexts[0] if chromium.contexts else chromium.new_context(viewport={"width": 1280, "height": 900})
    )
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": height})
    page.complaints, page.without_kernel = [], False

    def complain(text: str) -> None:
        # ipywidgets looks for the kernel of a notebook that was opened without one
        if not (page.without_kernel and text == "Cannot read properties of null (reading 'kernel')"):
            page.complaints.append(text)

    page.on("console", lambda message: message.type == "error" and complain(message.text))
    page.on("pageerror", lambda error: complain(str(error)))
    return page


def write_notebook(path: Path, *sources: str) -> None:
    "A small notebook of code cells."
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{i}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for i, source in enumerate(sources)
    ]
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    path.write_text(
        json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )


def run_python(page, code: str) -> None:
    "Run code in the open notebook's kernel, beside its cells, and wait for it; an error fails the test."
    done = page.evaluate(
        """async code => {
      const {kernel} = window.testPanel.sessionContext.session;
      return (await kernel.requestExecute({code}).done).content.status;
    }""",
        code,
    )
    assert done == "ok", code


def printed(page, code: str) -> str:
    "What a line of Python prints in the kernel of the open notebook, beside its cells; or the message of its error."
    return page.evaluate(PRINTED, code).strip()


def appears(place, text) -> None:
    "Wait until an element holds a text."
    place.filter(has_text=text).first.wait_for(timeout=30_000)


def change_theme(page, name: str) -> None:
    'JupyterLab in another dress: "Dark" or "Light".'
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {name}")
    page.wait_for_function(
        "light => document.body.dataset.jpThemeLight === light", arg=str(name == "Light").lower(), timeout=60_000
    )


def run_all(page, seconds: float = 300) -> dict:
    "Run every cell of the open notebook; return its state once all have run, or once one has failed."
    page.evaluate("() => { window.testPanel && window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    return wait_for_cells(page, seconds)


def wait_for_cells(page, seconds: float = 300) -> dict:
    "Wait until every code cell has a number and the kernel rests, or until there is an error."
    end = time.monotonic() + seconds
    state = page.evaluate(STATE)
    while time.monotonic() < end:
        page.wait_for_timeout(300)
        state = page.evaluate(STATE)
        if state["status"] == "idle" and (state["errors"] or not state["waiting"]):
            return state
    raise TimeoutError(f"the notebook did not finish in {seconds} s: {state}")


def save(page) -> None:
    "Save the open notebook, as a user would."
    page.evaluate("() => window.testPanel.context.save()")


def picture(page, path: Path) -> None:
    "Save a picture of the whole notebook: the window is made as tall as it needs (at most 8000 pixels)."
    height = page.evaluate(
        "() => Math.max(...[...document.querySelectorAll('.jp-WindowedPanel-outer')].map(e => e.scrollHeight))"
    )
    page.set_viewport_size({"width": 1280, "height": int(min(max(height + 150, 900), 8000))})
    page.wait_for_timeout(700)
    page.screenshot(path=str(path))
    page.set_viewport_size({"width": 1280, "height": 900})
