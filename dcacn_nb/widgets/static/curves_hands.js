// @ts-check
// What a person does with the curves: zoom, move the cross, read values with pointer and keys.
import {lastEpoch, linear, nearest, visibleLines} from "./curves_data.js";
import {clamp, hasModifier} from "./dom.js";
import {spot} from "./canvas.js";

/** @import {CurvesView, ShownPanel} from "./curves.js" */

/**
 * Zoom about the cross, or the middle.
 * @param {CurvesView} view
 * @param {number} factor
 */
export function zoomBy(view, factor) {
  const end = lastEpoch(view.runs, view.state.hidden);
  const [a, b] = view.state.range ?? [0, end];
  const centre = view.state.at ?? (a + b) / 2;
  const span = Math.min(end, Math.max(end / 2000, (b - a) * factor));
  showRange(view, Math.max(0, centre - ((centre - a) / (b - a)) * span), span);
}

/** Show a part of the axis, as far as there is one. */
function showRange(view, from, span) {
  const end = lastEpoch(view.runs, view.state.hidden);
  const start = Math.max(0, Math.min(from, end - span));
  view.state.range = span >= end * 0.999 ? null : [start, start + span];
  view.refresh();
}

export function resetView(view) {
  Object.assign(view.state, {range: null, band: null});
  view.refresh();
}

/** The cross goes to another point of the panel's first line; the axis follows. */
function stepCross(view, panel, move) {
  const {at, range} = view.state;
  const xs = visibleLines(panel, view.runs, view.state.hidden)[0]?.xs;
  if (!xs) return;
  const last = xs.length - 1;
  const i = nearest(xs, Math.min(at ?? range?.[1] ?? Infinity, xs[last]));
  const next = xs[clamp(i + move, 0, last)];
  view.state.at = next;
  if (range && (next < range[0] || next > range[1])) {
    showRange(view, next - (range[1] - range[0]) / 2, range[1] - range[0]);
  } else view.refresh();
}

export function keyHandler(view, panel) {
  const step = (event, sign) => stepCross(view, panel, sign * (event.shiftKey ? 10 : 1));
  const keys = {
    ArrowRight: event => step(event, 1),
    ArrowLeft: event => step(event, -1),
    Home: () => stepCross(view, panel, -1e9),
    End: () => stepCross(view, panel, 1e9),
    "+": () => zoomBy(view, 0.5),
    "=": () => zoomBy(view, 0.5),
    "-": () => zoomBy(view, 2),
    0: () => resetView(view),
    Escape: () => {
      view.state.at = null;
      view.refresh();
    },
  };
  return event => {
    if (hasModifier(event) || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key](event);
  };
}

/**
 * Hovering reads values; a drag along the axis zooms.
 * @param {CurvesView} view
 * @param {ShownPanel} panel
 */
export function pointerHandlers(view, panel) {
  const {state} = view;
  /** @type {{pixel: number, epoch: number} | null} where a drag began */
  let start = null;
  const epochAt = event => {
    const [a, b] = state.range ?? [0, lastEpoch(view.runs, state.hidden)];
    if (!panel.layer) return a;
    const {left, right} = panel.layer.box;
    return clamp(linear(left, right, a, b)(spot(event, panel.node)[0]), a, b);
  };
  const read = event => {
    const xs = visibleLines(panel, view.runs, state.hidden)[0]?.xs;
    const i = xs ? nearest(xs, epochAt(event)) : -1;
    state.at = i < 0 ? (xs?.at(-1) ?? null) : xs[i];
    view.refresh();
  };
  const leave = () => {
    start = null;
    Object.assign(state, {band: null, at: null});
    view.refresh();
  };
  return {
    onpointerdown(event) {
      if (event.button !== 0) return;
      start = {pixel: event.clientX, epoch: epochAt(event)};
      panel.node.setPointerCapture(event.pointerId);
    },
    onpointermove(event) {
      const dragged = start && Math.abs(event.clientX - start.pixel) > 4;
      if (start && dragged) state.band = [start.epoch, epochAt(event)].sort((a, b) => a - b);
      read(event);
    },
    onpointerup(event) {
      const [from, to] = state.band ?? [0, 0];
      state.band = start = null;
      const least = lastEpoch(view.runs, state.hidden) / 2000;
      if (to > from) showRange(view, from, Math.max(to - from, least));
      else read(event);
    },
    onpointerleave: leave,
    onpointercancel: leave,
    ondblclick: () => resetView(view),
  };
}
