"""How fast EmbeddingView draws in a browser: pictures a second while somebody scrubs and while the film plays.

Two hundred made-up maps of ten thousand points go to a real Chromium (headless, drawing by software), in a plain page without JupyterLab. The scrubber
is moved at every frame of the browser; counted are the pictures really drawn (calls of putImageData on the map), over some seconds, three times. For
the time of one draw, the page's own clock is read around it. Usage: python benchmarks/widget_frames.py [--seconds 5]. Writes widget_frames.csv beside it."""
import argparse
import csv
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from browser import find_browser

from dcacn_nb.widgets.embedding_view import EmbeddingView
from dcacn_nb.widgets.live import sprite_sheet, stylesheet
from dcacn_nb.widgets.projector import quantised

FRAMES, POINTS, RUNS = 200, 10_000, 3
MODEL = """async ([code, values]) => {
  const listeners = {};
  window.model = {values, sent: [], get: name => values[name], set(name, value) { values[name] = value; this.fire('change:' + name); }, save_changes() {}, send(content) { this.sent.push(content); },
    on(name, f) { (listeners[name] ??= []).push(f); }, off(name, f) { listeners[name] = (listeners[name] ?? []).filter(g => g !== f); },
    fire(name, ...args) { for (const f of [...(listeners[name] ?? [])]) f(...args); }};
  const module = await import(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})));
  module.default.render({model: window.model, el: document.querySelector('#here')});
}"""
SEND = """([content, buffers]) => { const bytes = text => { const raw = atob(text), out = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i); return new DataView(out.buffer); };
  window.model.fire('msg:custom', content, buffers.map(bytes)); }"""
COUNT = """async ([seconds, scrub]) => {
  const original = CanvasRenderingContext2D.prototype.putImageData;
  let drawn = 0, frames = 0;
  CanvasRenderingContext2D.prototype.putImageData = function (...args) { if (this.canvas.dataset.embedding) drawn++; return original.apply(this, args); };
  const input = document.querySelector('input[type=range]'), begin = performance.now();
  if (!scrub) [...document.querySelectorAll('button')].find(b => b.textContent === 'Play').click();
  await new Promise(done => { const step = () => {
    frames++;
    if (scrub) { input.value = frames % (Number(input.max) + 1); input.dispatchEvent(new Event('input', {bubbles: true})); }
    performance.now() - begin < 1000 * seconds ? requestAnimationFrame(step) : done(); }; requestAnimationFrame(step); });
  CanvasRenderingContext2D.prototype.putImageData = original;
  return [1000 * drawn / (performance.now() - begin), 1000 * frames / (performance.now() - begin)];
}"""


def send(page, content, buffers=()):
    "A message to the widget, as Python would send it."
    import base64

    page.evaluate(SEND, [content, [base64.b64encode(part).decode() for part in buffers]])


def open_view(browser, lang="en", width=1280, **values):
    "A page with the widget in it and nothing else."
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_content(f"<style>body {{ font-family: sans-serif }} {stylesheet()}</style><div id=here></div>")
    view = EmbeddingView(lang=lang)
    page.evaluate(MODEL, [view._esm, {"words": view.words, "lang": lang, "summary": "", "key": "k", "method": "tsne", "color_by": "cluster", "selection": [], **values}])
    return page


def feed(page, frames, points):
    "Made-up maps: ten clouds that drift apart."
    draw = np.random.default_rng(0)
    cluster = draw.integers(0, 10, points).astype("<u2")
    centre, cloud = draw.normal(size=(10, 2)), draw.normal(size=(points, 2))
    confidence = draw.integers(90, 256, points).astype(np.uint8)
    send(page, {"kind": "start", "n": points, "strides": {"pca": 1, "tsne": 1}, "classes": []}, [np.arange(points, dtype="<i4").tobytes()])
    png, layout = sprite_sheet(draw.integers(0, 256, (points, 1, 8, 8), dtype=np.uint8))
    send(page, {"kind": "sheet", **layout}, [png])
    for i in range(frames):
        xy, scale = quantised(centre[cluster] * 3 * i / frames + cloud)
        send(page, {"kind": "map", "id": i, "epoch": i, "method": "tsne", "scale": scale, "explained": None, "keep": list(range(i + 1))}, [xy, cluster.tobytes(), confidence.tobytes()])


def measure(seconds):
    "One row for each way of moving."
    with sync_playwright() as playwright:
        flags = ["--disable-background-networking", "--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=flags)
        page = open_view(browser)
        feed(page, FRAMES, POINTS)
        page.wait_for_timeout(1500)
        memory = page.evaluate("() => performance.memory.usedJSHeapSize / 2 ** 20")
        found = [(way, sorted(page.evaluate(COUNT, [seconds, way == "scrub"]) for _ in range(RUNS))) for way in ("scrub", "play")]
        where = {"browser": f"Chromium {browser.version}, headless, software drawing", "python": platform.python_version(), "anywidget": version("anywidget"),
                 "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"}
        browser.close()
    return [{"way": way, "points": POINTS, "maps": FRAMES, "runs": RUNS, "seconds": seconds, "drawn_per_second_median": round(runs[RUNS // 2][0], 1),
             "drawn_per_second_lowest": round(runs[0][0], 1), "heap_mib": round(memory), **where} for way, runs in found]


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
