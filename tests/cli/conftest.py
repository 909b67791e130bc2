"What the tests of the command share: a folder per test, and one finished run."

import shutil

import pytest
from command import TINY, dcacn

from dcacn_nb.data.cache import default_cache
from dcacn_nb.runs import description


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    "Every test runs in its own folder, so that runs/ and the cache are created there; the user's key stays the same."
    description._own_key(make=True)
    (tmp_path / "cache").mkdir()
    shutil.copy(default_cache() / "key", tmp_path / "cache" / "key")
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    # the pictures of a report take seconds; one test draws them
    monkeypatch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    "One finished run on 40 digits."
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        dcacn("fit", "digits", "--limit", 40, "--epochs", 2, "--batch-size", 20, "--run-dir", folder, *TINY)
    return folder
