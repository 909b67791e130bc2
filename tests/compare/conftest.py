"What the tests of comparisons share: few digits, and no pictures."

import pandas as pd
import pytest

from dcacn_nb.data.loading import load_images


@pytest.fixture(scope="session")
def digits():
    return load_images("digits", limit=150)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    "Pictures have their own tests."
    monkeypatch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)


@pytest.fixture
def toy():
    "Three methods, four seeds, on the same images and budget; SimCLR is not in the paper."
    rows = [
        {"method": m, "setting": "default", "seed": s, "acc": a + 0.01 * s, "nmi": a - 0.1, "ari": a - 0.2}
        for m, a in (("dcacn", 0.9), ("cc", 0.85), ("simclr", 0.8))
        for s in range(4)
    ]
    return pd.DataFrame(rows).assign(protocol="toy", budget="30 epochs")
