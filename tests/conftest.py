"Settings that must stand before torch or matplotlib is first imported, and the browser fixtures."

import gc
import os
import signal
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
os.environ["MPLBACKEND"] = "Agg"
if "DCACN_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="dcacn-cache-")  # removed when the process ends
    os.environ["DCACN_CACHE"] = _cache.name

import pytest
from browser import JupyterLab, find_browser, launch, new_page
from project import ROOT


def pytest_configure():
    "In a job in the background these signals are ignored, and every process that a test starts would ignore them too."
    for name, default in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
            signal.signal(getattr(signal, name), default)


def pytest_collection_finish():
    "Libraries hold a million objects that stay: to go through them again and again takes a tenth of the time."
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "With several workers, the tests of a file share its fixtures on one of them; notebooks go wherever there is room."
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(
        LoadScopeScheduling
    ):  # `--dist loadgroup` does not group with pytest 9.2 and xdist 3.8: it writes a node id that is no longer read
        def _split_scope(self, nodeid):
            return nodeid if "test_notebooks.py" in nodeid else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _few_threads():
    "Keep torch to the threads asked for, whatever an earlier test set (only once torch is there)."
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    yield


@pytest.fixture(scope="session")
def artifacts():
    "Folder for screenshots, ignored by git."
    folder = ROOT / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def chromium():
    "A running Chromium, or a skip that says why."
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    with sync_api.sync_playwright() as playwright:
        path = find_browser(playwright)
        if path is None:
            pytest.skip("no browser: neither chromium nor google-chrome is on PATH, and playwright brings none")
        browser = launch(playwright, path)
        yield browser
        browser.close()


LABS: list = []  # those that are running: one, or none


@pytest.fixture(scope="session")
def lab(chromium, tmp_path_factory):
    "A JupyterLab on a free port, with empty settings, stopped at the end. All tests share it: name notebooks apart."
    server = JupyterLab(tmp_path_factory.mktemp("lab"))
    server.start()
    LABS.append(server)
    yield server
    LABS.remove(server)
    server.stop()


@pytest.fixture(scope="module", autouse=True)
def _no_kernel_stays():
    "The Lab is shared; what the tests of one file have started in it is not."
    yield
    for server in LABS:
        server.end_kernels()


@pytest.fixture
def page(chromium):
    "A fresh browser page that remembers what its console complained about (`page.complaints`)."
    tab = new_page(chromium)
    yield tab
    tab.close()
