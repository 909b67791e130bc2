"""How fast MapViewer draws in a browser: frames per second while its slider is dragged, and while the film plays.

Two hundred made-up maps of ten thousand points go to a real Chromium (headless, drawing by software), in a plain page
without JupyterLab. The slider is moved at every frame of the browser. The frames really drawn are counted (calls of
putImageData on the map), over some seconds, three times, and the longest time between two of them is kept. The browser
shows 60 per second at most. Then maps of 800 further epochs follow, thinned as Python thins them, and the page's memory
is read again. On a busy machine: chrt -r 1 python benchmarks/widget_frames.py [--seconds 5]. Writes widget_frames.csv.
"""

import argparse
import csv
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from dcacn_nb.widgets.feed import ThinnedList
from dcacn_nb.widgets.live import sprite_sheet, stylesheet
from dcacn_nb.widgets.map import MapViewer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from browser import find_browser  # noqa: E402 - what the tests use

FRAMES, POINTS, RUNS = 200, 10_000, 3
HEAP = "() => { gc(); return performance.memory.usedJSHeapSize / 2 ** 20; }"
MODEL = """async ([code, values]) => {
  const listeners = {};
  window.model = {
    values, sent: [],
    get: name => values[name],
    set(name, value) { values[name] = value; this.fire('change:' + name); },
    save_changes() {},
    send(content) { this.sent.push(content); },
    on(name, f) { (listeners[name] ??= []).push(f); },
    off(name, f) { listeners[name] = (listeners[name] ?? []).filter(g => g !== f); },
    fire(name, ...args) { for (const f of [...(listeners[name] ?? [])]) f(...args); },
  };
  const module = await import(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})));
  module.default.render({model: window.model, el: document.querySelector('#here')});
}"""
SEND = """([content, buffers]) => {
  const bytes = text => {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return new DataView(out.buffer);
  };
  window.model.fire('msg:custom', content, buffers.map(bytes));
}"""
MAKE = """([first, keeps, n, film]) => {  // ten clouds that drift apart
  const random = () => Math.random() + Math.random() + Math.random() - 1.5;
  window.cloud ??= Float32Array.from({length: 2 * n}, random);
  window.centre ??= Float32Array.from({length: 20}, random);
  for (const [j, keep] of keeps.entries()) {
    const apart = 3 * Math.min(1, (first + j) / film);
    const cluster = new Uint16Array(n).map((_, i) => i % 10);
    const confidence = new Uint8Array(n).map((_, i) => 90 + i % 160);
    const place = i => 6000 * (window.cloud[i] + apart * window.centre[2 * (i >> 1) % 20 + i % 2]);
    const xy = new Int16Array(2 * n).map((_, i) => place(i));
    const about = {id: first + j, epoch: first + j, method: 'tsne', scale: 4, explained: null, keep};
    const parts = [xy, cluster, confidence].map(part => new DataView(part.buffer));
    window.model.fire('msg:custom', {kind: 'map', ...about}, parts);
  }
}"""
COUNT = """async ([seconds, scrub]) => {
  const original = CanvasRenderingContext2D.prototype.putImageData;
  let drawn = 0, frames = 0, last = performance.now(), longest = 0;
  CanvasRenderingContext2D.prototype.putImageData = function (...args) {
    if (this.canvas.dataset.map) {
      drawn++;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
    return original.apply(this, args);
  };
  const input = document.querySelector('input[type=range]'), begin = performance.now();
  const press = () => document.querySelector('button').click();  // play, pause
  if (!scrub) press();
  await new Promise(done => { const step = () => {
    frames++;
    if (scrub) {
      input.value = frames % (Number(input.max) + 1);
      input.dispatchEvent(new Event('input', {bubbles: true}));
    }
    performance.now() - begin < 1000 * seconds ? requestAnimationFrame(step) : done();
  }; requestAnimationFrame(step); });
  if (!scrub) press();
  CanvasRenderingContext2D.prototype.putImageData = original;
  return [1000 * drawn / (performance.now() - begin), longest];
}"""


def send(page, content, buffers=()):
    "A message to the widget, as Python would send it."
    import base64

    page.evaluate(SEND, [content, [base64.b64encode(part).decode() for part in buffers]])


def open_view(browser, lang="en", width=1280, **values):
    "A page with the widget in it and nothing else."
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_content(f"<style>body {{ font-family: sans-serif }} {stylesheet()}</style><div id=here></div>")
    view = MapViewer(lang=lang)
    page.evaluate(
        MODEL,
        [
            view._esm,
            {
                "words": view.words,
                "lang": lang,
                "summary": "",
                "key": "k",
                "method": "tsne",
                "color_by": "cluster",
                "selection": [],
                **values,
            },
        ],
    )
    return page


def feed(page, frames, points, kept):
    "Further maps, thinned as Python thins them; made in the page, so that no copy is left outside it."
    first = kept.seen
    keeps = [list(kept) for i in range(first, first + frames) if kept.append(i) is not None]
    page.evaluate(MAKE, [first, keeps, points, FRAMES])


def start(page, points):
    "The sample and its images."
    send(
        page,
        {"kind": "start", "n": points, "classes": [], "asked": None},
        [np.arange(points, dtype="<i4").tobytes()],
    )
    png, layout = sprite_sheet(np.random.default_rng(0).integers(0, 256, (points, 1, 8, 8), dtype=np.uint8))
    send(page, {"kind": "sheet", **layout}, [png])


def measure(seconds):
    "One row for each way of moving."
    with sync_playwright() as playwright:
        flags = [
            "--disable-background-networking",
            "--disable-dev-shm-usage",
            "--js-flags=--expose-gc",
            "--enable-precise-memory-info",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=flags)
        page = open_view(browser)
        kept = ThinnedList(FRAMES)
        start(page, POINTS)
        feed(page, FRAMES, POINTS, kept)
        page.wait_for_timeout(1500)
        memory = [page.evaluate(HEAP)]
        found = [
            (way, sorted(page.evaluate(COUNT, [seconds, way == "scrub"]) for _ in range(RUNS)))
            for way in ("scrub", "play")
        ]
        feed(page, 800, POINTS, kept)
        memory.append(page.evaluate(HEAP))
        where = {
            "browser": f"Chromium {browser.version}, headless, software drawing",
            "python": platform.python_version(),
            "anywidget": version("anywidget"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
            + (", real-time priority" if os.sched_getscheduler(0) else ""),
        }
        browser.close()
    return [
        {
            "way": way,
            "points": POINTS,
            "maps": FRAMES,
            "runs": RUNS,
            "seconds": seconds,
            "drawn_per_second_median": round(runs[RUNS // 2][0], 1),
            "drawn_per_second_lowest": round(runs[0][0], 1),
            "longest_gap_ms": round(max(gap for _, gap in runs)),
            "heap_mib": round(memory[0]),
            "heap_mib_after_1000_epochs": round(memory[1]),
            **where,
        }
        for way, runs in found
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    rows = measure(parser.parse_args().seconds)
    with open(HERE / "widget_frames.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(row)
