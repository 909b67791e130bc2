"Two short real runs that the tests of the widgets share: nothing is trained twice."

import dataclasses

import pytest


@pytest.fixture(scope="session")
def digits():
    "200 handwritten digits."
    from dcacn_nb.data.loading import load_images

    return load_images("digits", limit=200)


@pytest.fixture(scope="session")
def short_config(digits):
    "Settings of a run of about two seconds."
    from dcacn_nb.method.config import preset

    settings = {"epochs": 3, "width": 4, "eval_every": 1, "log_every": 1, "snapshot_every": 1, "snapshot_size": 120}
    return preset("default", digits, n_clusters=10, seed=0, device="cpu", **settings)


@pytest.fixture(scope="session")
def run(digits, short_config, tmp_path_factory):
    "A finished run with attention; tests must not change its folder."
    from dcacn_nb.fitting import fit

    folder = tmp_path_factory.mktemp("runs") / "attention"
    return fit(digits, short_config, labels=digits.labels, run_dir=folder, report=False)


@pytest.fixture(scope="session")
def plain_run(digits, short_config, tmp_path_factory):
    "The same run without attention."
    from dcacn_nb.fitting import fit

    folder = tmp_path_factory.mktemp("runs") / "plain"
    config = dataclasses.replace(short_config, attention=False)
    return fit(digits, config, labels=digits.labels, run_dir=folder, report=False)


@pytest.fixture
def run_copy(run, tmp_path):
    "A copy of that run's folder, to be changed."
    import shutil

    return shutil.copytree(run.folder, tmp_path / "run")
