"""The part `map` of scale.py: frames per second of the map at many points, and what the browser is sent.

Made-up maps go to a real Chromium (headless, drawing by software), in a plain page without JupyterLab. One thing is
done at every frame of the browser for some seconds: the map is moved, zoomed or pointed at, the slider is dragged, or
the film plays. Drawings of the map that were really made are counted; 60 per second is what the browser shows at most.
"""

import os
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
import widget_frames as frames  # noqa: E402
from browser import find_browser  # noqa: E402 - what the tests use

frames.FRAMES = 10  # the clouds drift apart within the film
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
  document.querySelector('canvas[data-map]').dispatchEvent(new Event('redraw'));
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
  const round = n => [0.5 + 0.2 * Math.cos(n / 9), 0.5 + 0.2 * Math.sin(n / 9)];
  const slider = document.querySelector('input[type=range]');
  const press = () => document.querySelector('button').click();  // play, pause
  const step = {
    pan: n => pointer('pointermove', ...round(n)),
    zoom: n => map.dispatchEvent(new WheelEvent('wheel', {...at(...round(n)), deltaY: 20 * Math.sin(n / 20), ctrlKey: true})),
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
  return [1000 * drawn / passed, longest];
}"""


def open_map(browser, points: int):
    "A page with a film of so many points at rest; and the milliseconds from the first map's message to its picture."
    page = frames.open_view(browser)
    frames.send(page, *start_message(points))
    kept = frames.ThinnedList(FILM)
    page.evaluate(f"() => {{ window.began = performance.now(); window.first = ({FIRST})(); }}")
    frames.feed(page, 1, points, kept)
    first = page.evaluate("() => window.first")
    frames.feed(page, FILM - 1, points, kept)
    page.wait_for_timeout(1000)
    return page, first


def start_message(points: int):
    "The sample, as Python announces it."
    about = {"kind": "start", "n": points, "classes": [], "asked": None}
    return about, [np.arange(points, dtype="<i4").tobytes()]


def flags() -> "list[str]":
    "How Chromium is started."
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return ["--disable-background-networking", "--disable-dev-shm-usage", *root]


def measure(points: int, seconds: float = 4, ways=WAYS) -> "dict[str, tuple[float, float]]":
    "Drawings per second and the longest gap in ms of each way; under 'first' the ms until the first picture."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=flags())
        page, first = open_map(browser, points)
        found = {way: tuple(page.evaluate(COUNT, [way, seconds])) for way in ways}
        browser.close()
    return {"first": (first, first), **found}


if __name__ == "__main__":
    for n in map(int, sys.argv[1:] or (10_000, 100_000)):
        for way, (rate, longest) in measure(n).items():
            print(n, way, round(rate, 1), round(longest))
