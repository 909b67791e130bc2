// @ts-check
// The panels of the curves, drawn on a canvas.
import {
  axisMarks,
  formatNumber,
  headStarts,
  heightRange,
  lastEpoch,
  linear,
  lowerBound,
  nearest,
  visibleLines,
} from "./curves_data.js";
import {line as drawSegment, mark, pen, polyline} from "./canvas.js";
import {h} from "./dom.js";
import {ticks} from "./numbers.js";

/** @import {Line, Panel, Shown} from "./curves_data.js" */
/** @import {Pen, Theme} from "./canvas.js" */
/** @import {CurvesView} from "./curves.js" */
/**
 * @typedef {{left: number, right: number, top: number, bottom: number}} Box
 * @typedef {{width: number, height: number, scale: number, colors: Theme, span: number[], near: boolean, log:
 *   boolean, heads: number[]}} Look near: only a part of the axis is in sight; heads: where cluster heads were set
 * @typedef {{key: string, node: HTMLCanvasElement, box: Box, x: (value: number) => number, y: (value: number) =>
 *   number}} Layer
 */

const DASHES = [[], [6, 3], [1.5, 2.5], [9, 3, 1.5, 3], [14, 4], [4, 2, 1, 2, 1, 2], [3, 5], [14, 3, 5, 3]];
const MARGIN = {left: 50, right: 12, top: 8, bottom: 36};

/** Both axes; returns the scales to the right and upwards. */
function drawAxes(context, box, {colors, span, log}, heights, t) {
  const x = linear(span[0], span[1], box.left, box.right);
  const y = linear(heights[0], heights[1], box.bottom, box.top);
  const pens = {font: colors.font, fillStyle: colors.soft, strokeStyle: colors.line, lineWidth: 1};
  Object.assign(context, pens, {textBaseline: "middle", textAlign: "right"});
  for (const [value, text] of axisMarks(heights[0], heights[1], log, box.bottom - box.top)) {
    drawSegment(context, box.left, y(value), box.right, y(value));
    context.fillText(text, box.left - 6, y(value));
  }
  context.textAlign = "center";
  for (const value of ticks(span[0], span[1], Math.max(2, (box.right - box.left) / 70))) {
    drawSegment(context, x(value), box.bottom, x(value), box.bottom + 4);
    context.fillText(formatNumber(value, 6), x(value), box.bottom + 12);
  }
  context.fillText(t("epoch"), (box.left + box.right) / 2, box.bottom + 27);
  return [x, y];
}

/** Every how many points a line has a mark: a power of two, so that marks keep their places during the run. */
function markEvery(points) {
  const wide = points.length > 1 ? (points[points.length - 1][0] - points[0][0]) / (points.length - 1) : 99;
  return 2 ** Math.max(0, Math.ceil(Math.log2(45 / Math.max(wide, 0.01))));
}

/**
 * One line with gaps where there is no value.
 * @param {Pen} context
 * @param {Shown} shown
 * @param {(value: number) => number} x
 * @param {(value: number) => number} y
 * @param {number[]} span
 */
function drawLine(context, {line, l, r, xs, ys}, x, y, [a, b]) {
  const from = Math.max(0, lowerBound(xs, a) - 1);
  const to = Math.min(xs.length - 1, lowerBound(xs, b));
  const points = [];
  for (let i = from; i <= to; i++) points.push([x(xs[i]), y(ys[i])]);
  Object.assign(context, {strokeStyle: line.color, fillStyle: line.color, lineWidth: r ? 1.5 : 2, lineJoin: "bevel"});
  context.setLineDash(DASHES[r]);
  polyline(context, points);
  context.setLineDash([]);
  const known = i => Number.isFinite(points[i]?.[1]);
  const every = markEvery(points);
  const first = Math.floor((l * every) / 3) % every; // each line at other places
  points.forEach(([px, py], i) => {
    const alone = !known(i - 1) && !known(i + 1);
    if (known(i) && (alone || (from + i) % every === first)) mark(context, line.shape, px, py, 3.5);
  });
}

/** A dotted line where K-Means set the cluster head. */
function drawHead(context, x, box, colors, text) {
  Object.assign(context, {strokeStyle: colors.soft, fillStyle: colors.soft, lineWidth: 1.5, font: colors.font});
  context.setLineDash([1.5, 3]);
  drawSegment(context, x, box.top, x, box.bottom);
  context.setLineDash([]);
  Object.assign(context, {textAlign: x > (box.left + box.right) / 2 ? "right" : "left", textBaseline: "top"});
  context.fillText(text, x + (context.textAlign === "right" ? -4 : 4), box.top);
}

/** The upright line, and the points whose values are given in words. */
function drawCross(context, {box, x, y}, colors, lines, at) {
  Object.assign(context, {strokeStyle: colors.ink, lineWidth: 1});
  context.setLineDash([4, 3]);
  drawSegment(context, x(at), box.top, x(at), box.bottom);
  context.setLineDash([]);
  for (const {line, xs, ys} of lines) {
    const i = nearest(xs, at);
    const py = i < 0 ? NaN : y(ys[i]);
    if (!Number.isFinite(py)) continue;
    context.fillStyle = colors.paper;
    mark(context, line.shape, x(xs[i]), py, 6.5);
    context.fillStyle = line.color;
    mark(context, line.shape, x(xs[i]), py, 4.5);
  }
}

/**
 * Axes and lines, on a canvas of their own.
 * @param {Look} look
 * @param {Panel} panel
 * @param {Shown[]} lines
 */
function drawLayer(look, panel, lines, t) {
  const {width, height, scale, span, log} = look;
  const node = h("canvas", {width: Math.round(width * scale), height: Math.round(height * scale)});
  const context = pen(node);
  const {left, right, top, bottom} = MARGIN;
  const box = {left, right: width - right, top, bottom: height - bottom};
  context.scale(scale, scale);
  const [x, level] = drawAxes(context, box, look, heightRange(lines, span, panel, look), t);
  const y = value => level(log ? Math.log10(value) : value); // not finite for what has no logarithm: a gap
  context.beginPath();
  context.rect(box.left - 5, 0, box.right - box.left + 10, box.bottom + 5); // room for marks at the ends
  context.clip();
  for (const epoch of look.heads) drawHead(context, x(epoch), box, look.colors, t("head"));
  for (const line of [...lines].reverse()) drawLine(context, line, x, y, span); // the first run on top
  return {node, box, x, y};
}

/**
 * A panel. Lines are drawn again only when they have changed: while the pointer moves, the layer stays and the cross
 * alone is drawn.
 * @param {Pen} context
 * @param {number} width
 * @param {number} height
 * @param {Theme} colors
 * @param {Panel & {layer?: Layer}} panel
 * @param {CurvesView} view
 */
export function drawPanel(context, width, height, colors, panel, {runs, state, t, version}) {
  const scale = window.devicePixelRatio || 1;
  const span = state.range ?? [0, lastEpoch(runs, state.hidden)];
  const heads = headStarts(runs, state.hidden);
  const look = {width, height, scale, colors, span, near: state.range !== null, log: state.log.has(panel.key), heads};
  const lines = visibleLines(panel, runs, state.hidden);
  const key = JSON.stringify([look, [...state.hidden], version]);
  if (panel.layer?.key !== key) panel.layer = {key, ...drawLayer(look, panel, lines, t)};
  const {node, box, x} = panel.layer;
  context.drawImage(node, 0, 0, width, height);
  if (state.band) {
    const [from, to] = state.band.map(x);
    Object.assign(context, {fillStyle: colors.accent, globalAlpha: 0.2});
    context.fillRect(from, box.top, to - from, box.bottom - box.top);
    context.globalAlpha = 1;
  }
  const {at} = state;
  if (at !== null && at >= span[0] && at <= span[1]) drawCross(context, panel.layer, colors, lines, at);
}

/** A piece of a line, for legends: its colour is the same on any paper. */
export function lineSwatch({color, shape}) {
  const scale = window.devicePixelRatio || 1;
  const size = {width: 30 * scale, height: 14 * scale};
  const node = h("canvas", {...size, class: "dcacn-curves-swatch", "aria-hidden": "true"});
  const context = pen(node);
  context.scale(scale, scale);
  context.fillStyle = color;
  context.fillRect(0, 6, 30, 2);
  mark(context, shape, 15, 7, 4);
  return node;
}

/** The dashes of a run, in the colour of the text around. */
export function dashSwatch(r) {
  const make = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
    return node;
  };
  const dashes = {"stroke-width": 2, "stroke-dasharray": DASHES[r].join(" ")};
  const picture = make("svg", {class: "dcacn-curves-swatch", "aria-hidden": "true"});
  picture.append(make("line", {x1: 0, x2: 40, y1: 7, y2: 7, stroke: "currentColor", ...dashes}));
  return picture;
}
