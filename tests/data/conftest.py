"Tests of image sets keep their cache in the test's own folder."

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
