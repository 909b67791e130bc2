"Sections of scale.py about what a browser shows: the map, the cluster browser, the report."

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import sync_playwright
from scale import Measured, measured, row

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
import widget_frames as frames  # noqa: E402
from browser import find_browser  # noqa: E402 - what the tests use

frames.FRAMES = 10  # the made-up clouds drift apart within the film
WAYS = ("pan", "zoom", "hover", "scrub", "play")
FILM = 10  # maps: as many as show a film
FIRST = """() => new Promise(done => {  // milliseconds until the map has been drawn once more
  const began = performance.now(), original = CanvasRenderingContext2D.prototype.clearRect;
  CanvasRenderingContext2D.prototype.clearRect = function (...args) {
    if (this.canvas.dataset.map) {
      CanvasRenderingContext2D.prototype.clearRect = original;
      requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
    }
    return original.apply(this, args);
  };
})"""
COUNT = """async ([way, seconds]) => {
  const map = document.querySelector('canvas[data-map]');
  const original = CanvasRenderingContext2D.prototype.clearRect;
  let drawn = 0, frames = 0, last = performance.now(), longest = 0;
  CanvasRenderingContext2D.prototype.clearRect = function (...args) {
    if (this.canvas.dataset.map) {
      drawn++;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
    return original.apply(this, args);
  };
  map.setPointerCapture = () => {};  // made-up pointers cannot be captured
  const box = map.getBoundingClientRect();
  const at = (x, y) => ({clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true});
  const pointer = (kind, x, y, more) => map.dispatchEvent(new PointerEvent(kind, {...at(x, y), pointerId: 1, ...more}));
  const wheel = (by, x, y) => map.dispatchEvent(new WheelEvent('wheel', {...at(x, y), deltaY: by, ctrlKey: true}));
  const round = n => [0.5 + 0.2 * Math.cos(n / 9), 0.5 + 0.2 * Math.sin(n / 9)];
  const slider = document.querySelector('input[type=range]');
  const press = () => document.querySelector('button').click();  // play, pause
  const step = {
    pan: n => pointer('pointermove', ...round(n)),
    zoom: n => wheel(20 * Math.sin(n / 20), ...round(n)),
    hover: n => pointer('pointermove', ...round(n)),
    scrub: n => {
      slider.value = n % (Number(slider.max) + 1);
      slider.dispatchEvent(new Event('input', {bubbles: true}));
    },
    play: () => { if (document.querySelector('button').textContent === 'Play') press(); },
  }[way];
  if (way === 'pan') pointer('pointerdown', ...round(0), {altKey: true, button: 0});
  const begin = performance.now();
  await new Promise(done => { const next = () => {
    step(frames++);
    performance.now() - begin < 1000 * seconds ? requestAnimationFrame(next) : done();
  }; requestAnimationFrame(next); });
  const passed = performance.now() - begin;
  if (way === 'pan') pointer('pointerup', ...round(0));
  if (way === 'play') press();
  CanvasRenderingContext2D.prototype.clearRect = original;
  return [1000 * (way === 'hover' ? frames : drawn) / passed, longest];
}"""


def open_map(
    browser,
    n: int,  # points
    asked: "int | None" = None,  # the token of pictures that are asked for; None: there are none
):
    "A page with a film of so many points at rest; and the milliseconds from the first map's message to its picture."
    page = frames.open_view(browser)
    about = {"kind": "start", "n": n, "classes": [], "asked": asked}
    frames.send(page, about, [np.arange(n, dtype="<i4").tobytes()])
    kept = frames.ThinnedList(FILM)
    page.evaluate(f"() => {{ window.first = ({FIRST})(); }}")
    frames.feed(page, 1, n, kept)
    first = page.evaluate("() => window.first")
    frames.feed(page, FILM - 1, n, kept)
    page.wait_for_timeout(1000)
    return page, first


def flags() -> "list[str]":
    "How Chromium is started."
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return ["--disable-background-networking", "--disable-dev-shm-usage", *root]


def frames_drawn(n: int, work: Path) -> Iterator[dict]:
    "Drawings per second, and time until the first picture."
    seconds = 4.0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=flags())
        page, first = open_map(browser, n)
        about = f"headless Chromium {browser.version.split('.')[0]}, no graphics card"
        about += ", real-time priority" if os.sched_getscheduler(0) else ""
        yield row(_took(first / 1000), 1, f"first picture, {about}")
        for way in WAYS:
            rate, longest = page.evaluate(COUNT, [way, seconds])
            note = f"{way}: frames; the longest gap {longest:.0f} ms"
            yield row(_took(seconds), round(rate * seconds), note)
        browser.close()


def grouped(n: int, dim: int) -> "tuple[np.ndarray, np.ndarray]":
    "Features in fifty loose groups, and the group of each; one in fifty is nearly the copy of another."
    draws = np.random.default_rng(0)
    groups = draws.integers(50, size=n)
    rows = 0.7 * draws.normal(size=(50, dim)).astype(np.float32)[groups]
    for start in range(0, n, 10_000):
        rows[start : start + 10_000] += draws.standard_normal((len(rows[start : start + 10_000]), dim), np.float32)
    rows[1::50] = rows[: -(-(n - 1) // 50) * 50 : 50] + 0.01
    return rows, groups


def whole_set(n: int, work: Path) -> Iterator[dict]:
    "A map of all images, and the cluster browser's messages."
    from dcacn_nb.clusters.assigned import assigned_set
    from dcacn_nb.clusters.groups import Grouping
    from dcacn_nb.data.feature_set import FeatureSet
    from dcacn_nb.widgets.clusters_arranged import Arrangement
    from dcacn_nb.widgets.map import MapViewer

    rows, groups = grouped(n, 512)
    p = np.full((n, 10), 0.02, np.float32)
    p[np.arange(n), groups % 10] = 0.82
    features = FeatureSet(rows)
    with measured() as found:
        view = MapViewer(features=features, probabilities=p)
        assert view.wait(600)
    yield row(found, n, f"PCA and t-SNE; {_bytes(view.backlog()):,} bytes to the browser")
    view.close()
    with measured() as found:
        arranged = Arrangement(assigned_set(features, p), Grouping(10))
        message = arranged.state()
    yield row(found, n, f"cluster browser, as after every edit; {_bytes([message]):,} bytes")


def _bytes(messages) -> int:
    "What is sent."
    return sum(len(json.dumps(content)) + sum(map(len, buffers)) for content, buffers in messages)


def near_images(n: int, work: Path) -> Iterator[dict]:
    "What looks at pairs of images."
    from dcacn_nb.clusters.duplicates import find_duplicates
    from dcacn_nb.clusters.outliers import find_outliers
    from dcacn_nb.core.steps import run_through
    from dcacn_nb.heads._parts.frozen import neighbour_steps

    for dim in (64, 1280):
        rows, _ = grouped(n, dim)
        works = {
            "copies": partial(find_duplicates, rows),
            "outliers": partial(find_outliers, rows),
            "20 neighbours of every image": lambda rows=rows: run_through(neighbour_steps(torch.from_numpy(rows), 20)),
        }
        for name, do in works.items():
            with measured() as found:
                do()
            yield row(found, n, f"{name}; {dim} numbers")


def report(n: int, work: Path) -> Iterator[dict]:
    "The page of a run on features with pictures."
    from dcacn_nb.data.feature_set import FeatureSet
    from dcacn_nb.fitting import fit
    from dcacn_nb.report.page import write_report

    rows, groups = grouped(n, 64)
    pictures = np.random.default_rng(0).integers(0, 256, (n, 3, 32, 32), np.uint8)
    features = FeatureSet(rows, torch.from_numpy(pictures), labels=groups)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        with measured() as found:
            fit(features, n_clusters=10, method="kmeans", labels=groups, run_dir=folder)
        yield row(found, n, "the whole run: K-Means, copies, outliers, report")
        with measured() as found:
            page = write_report(folder)
        yield row(found, n, f"report.html of {page.stat().st_size:,} bytes")


def _took(seconds: float) -> Measured:
    "A measurement of a time that was taken elsewhere."
    found = Measured()
    found.seconds = seconds
    return found
