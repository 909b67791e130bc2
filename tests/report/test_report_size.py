"The report of a large run: its size does not follow the number of images."

import csv
import json
import time

import numpy as np
import pytest

from dcacn_nb.core.events import Evaluated, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report.page import write_report
from dcacn_nb.report.run_files import keep_pictures
from dcacn_nb.runs.log import RunLog

IMAGES, K, MOST = 100_000, 40, 2_000_000  # bytes: a page that can be sent by mail


@pytest.fixture
def large_run(tmp_path, settings):
    "The folder of a run on features of 100,000 images: every fifth has a copy, every fiftieth is an outlier."
    draws = np.random.default_rng(0)
    clusters = draws.integers(K, size=IMAGES)
    sample = np.arange(0, IMAGES, 100)
    p = np.full((len(sample), K), 0.2 / (K - 1), np.float32)
    p[np.arange(len(sample)), clusters[sample]] = 0.8
    h = draws.normal(size=(len(sample), 16)).astype(np.float32) + 4 * p @ draws.normal(size=(K, 16)).astype(np.float32)
    images = np.broadcast_to(draws.integers(0, 256, (3, 48, 48), np.uint8), (IMAGES, 3, 48, 48))
    share = (np.bincount(clusters, minlength=K) / IMAGES).tolist()
    log = RunLog(tmp_path)
    protocol = {"source": "photos", "encoder": {"name": "lite0"}, "count": IMAGES}
    log(RunStarted("dcacn", settings | {"n_clusters": K}, protocol, IMAGES, 10, 10))
    log(Evaluated(1, 10, {"cluster_share": share}, {}))
    log(SnapshotTaken(1, 10, sample, {"h": h, "p": p, "images": images[sample]}))
    log(RunFinished("completed", 10, 1))
    paths = [f"/photos/a folder with a long name/{i:06}.jpg" for i in range(IMAGES)]
    with open(tmp_path / "clusters.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "cluster", "confidence"])
        writer.writerows(zip(paths, clusters.tolist(), draws.uniform(0.3, 1, IMAGES).round(4).tolist()))
    pairs = [{"keep": i, "copies": [i + 1], "cosines": [0.99], "exact": [False]} for i in range(0, IMAGES, 5)]
    found = {
        "version": 1,
        "n_images": IMAGES,
        "duplicates": {"threshold": 0.95, "groups": pairs, "copies": len(pairs), "bytes": None},
        "outliers": {"limit": 1.5, "images": list(range(3, IMAGES, 50)), "scores": [2.0] * len(range(3, IMAGES, 50))},
        "telling": {str(k): np.flatnonzero(clusters == k)[:12].tolist() for k in range(K)},
        "merges": [{"into": 0, "cluster": 1, "gain": 0.01}],
        "names": {},
    }
    (tmp_path / "groups.json").write_text(json.dumps(found))
    keep_pictures(tmp_path, found, images, paths)
    return tmp_path


def test_a_hundred_thousand_images_make_a_small_page(large_run):
    "Under two megabytes, in bounded time; it names the whole set and the counts of what it leaves out."
    began = time.process_time()
    page = write_report(large_run)
    assert time.process_time() - began < 60  # seconds of a processor, of which t-SNE takes most
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < MOST and text.count("data:image") > 10
    assert "100,000" in text and "20,000" in text and "2,000" in text  # images, copies, outliers
