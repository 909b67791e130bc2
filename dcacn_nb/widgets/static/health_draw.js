// @ts-check
// Pieces of the health panels, drawn on a canvas. `c` is its context, `colors` the page's.
import {line, mark, polyline, raster} from "./canvas.js";
import {labelStep, nearestIndex, ticks} from "./numbers.js";
import {RED, colorOf, shade, shapeOf} from "./palette.js";

/** @import {Pen, Theme} from "./canvas.js" */
/** @import {State} from "./health_state.js" */
/** @typedef {ReturnType<typeof epochAxis>} Axis */

const DASHES = [[], [7, 3], [2, 2.5], [9, 3, 2, 3]];

export function percent(x) {
  if (!Number.isFinite(x)) return "–";
  return x > 0 && x < 1e-4 ? "<0.01 %" : `${Number((100 * x).toPrecision(3))} %`;
}
export const fixed = x => (Number.isFinite(x) ? x.toFixed(2) : "–");

/** Values as shades, one pixel each; transparent where there is none. */
export const shadeImage = (width, height, value, top) =>
  raster(width, height, i => {
    const v = value(i % width, Math.floor(i / width));
    return Number.isFinite(v) ? shade(v / top) : null;
  });

/**
 * @param {Pen} c
 * @param {Theme} colors
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {Partial<{textAlign: CanvasTextAlign, textBaseline: CanvasTextBaseline, fillStyle: string, font: string}>}
 *   style
 */
export function write(c, colors, text, x, y, style = {}) {
  const plain = {textAlign: "left", textBaseline: "middle", fillStyle: colors.soft, font: colors.font};
  Object.assign(c, plain, style);
  c.fillText(text, x, y);
}

/** Instead of a picture. */
export const writeInstead = (c, colors, text, width, height) =>
  write(c, colors, text, width / 2, height / 2, {textAlign: "center"});

/** Horizontal lines with their values. */
export function drawRules(c, colors, values, show, y, left, right) {
  Object.assign(c, {strokeStyle: colors.line, lineWidth: 1});
  for (const v of values) {
    line(c, left, y(v), right, y(v));
    write(c, colors, show(v), left - 6, y(v), {textAlign: "right"});
  }
}

/** Oblique lines: seen without colour. */
function hatch(c, color, x, y, width, height) {
  c.save();
  c.beginPath();
  c.rect(x, y, width, height);
  c.clip();
  Object.assign(c, {strokeStyle: color, lineWidth: 1.5});
  for (let i = -height; i < width; i += 7) line(c, x + i, y + height, x + i + height, y);
  c.restore();
}

/**
 * One bar, a short line at the share of the images, a letter if the cluster is empty or very large.
 * @param {Pen} c
 * @param {Theme} colors
 * @param {State} s
 * @param {number} k
 * @param {{x: number, pitch: number, y: (value: number) => number, low: number}} place
 */
export function drawBar(c, colors, s, k, {x, pitch, y, low}) {
  const wide = Math.max(1, pitch - Math.max(0.5, Math.min(6, 0.25 * pitch)));
  const size = s.sizeOf(s.at, k);
  const top = y(s.mass(s.at, k) || 0);
  const share = y(s.share(s.at, k) || 0);
  const left = x + (pitch - wide) / 2;
  if (k === s.cluster) {
    c.fillStyle = colors.line;
    c.fillRect(x, 4, pitch, low - 4);
  }
  c.fillStyle = size === "large" ? RED : colors.accent;
  c.fillRect(left, top, wide, low - top);
  if (size === "large" && wide >= 5) hatch(c, colors.paper, left, top, wide, low - top);
  c.fillStyle = colors.ink;
  if (pitch >= 5) c.fillRect(x + 0.5, share - 1, pitch - 1, 2);
  if (!size) return;
  const above = Math.min(top, share) - 3;
  const bold = {fillStyle: colors.ink, font: colors.font.replace("12px", "bold 12px")};
  if (pitch >= 9) {
    write(c, colors, s.t(`letter_${size}`), x + pitch / 2, above, {
      ...bold,
      textAlign: "center",
      textBaseline: "bottom",
    });
    return;
  }
  const notch = size === "empty" ? low + 1 : above - 5; // too narrow for letters: below the axis, or above the bar
  c.fillRect(x, notch, Math.max(1.5, pitch * 0.7), 5);
}

/** Numbers of the clusters, as many as there is room for; names where they fit. */
export function drawNumbers(c, colors, s, {left, right, pitch, low}) {
  const step = labelStep(s.k, right - left, 26);
  const named = Object.keys(s.names).length > 0 && pitch >= 44;
  c.font = colors.font;
  for (let k = 0; k < s.k; k += step) {
    let text = named && s.names[k] ? `${k} ${s.names[k]}` : String(k);
    while (named && text.length > 2 && c.measureText(text).width > pitch - 4) text = `${text.slice(0, -2)}…`;
    write(c, colors, text, left + (k + 0.5) * pitch, low + 12, {textAlign: "center"});
  }
}

/** The axis of epochs that two panels share. */
export function epochAxis({epochs}, left, right) {
  const n = epochs.length;
  const gaps = epochs.slice(1).map((epoch, i) => epoch - epochs[i]);
  const gap = n > 1 ? Math.max(...gaps) / 2 || 0.5 : 0.5;
  const [first, last] = [epochs[0] - gap, epochs[n - 1] + gap];
  const x = epoch => left + ((epoch - first) / (last - first)) * (right - left);
  const edge = i => {
    if (i <= 0) return left;
    return i >= n ? right : x((epochs[i - 1] + epochs[i]) / 2);
  };
  return {
    x,
    edge,
    at: px => nearestIndex(epochs, first + ((px - left) / (right - left)) * (last - first)),
    inside: px => px !== null && px >= left && px <= right,
  };
}

export function drawEpochs(c, colors, s, axis, left, right, y) {
  for (const epoch of ticks(s.epochs[0], s.epochs.at(-1), Math.max(2, (right - left) / 60))) {
    if (!Number.isInteger(Number(epoch.toFixed(6)))) continue;
    write(c, colors, String(Math.round(epoch)), axis.x(epoch), y + 10, {textAlign: "center"});
  }
  write(c, colors, s.t("epoch"), (left + right) / 2, y + 26, {textAlign: "center"});
}

/** Where the epoch shown is. */
export function drawCursor(c, colors, x, top, low) {
  Object.assign(c, {strokeStyle: colors.paper, lineWidth: 4});
  line(c, x, top, x, low);
  Object.assign(c, {strokeStyle: colors.ink, lineWidth: 1.5});
  line(c, x, top, x, low);
  c.fillStyle = colors.ink;
  mark(c, "down", x, top - 3, 4);
}

/** A light line through a row of the heat map for as long as its cluster is empty. */
export function drawEmpty(c, s, axis, top, tall) {
  if (tall < 4) return;
  Object.assign(c, {strokeStyle: "#ffffff", lineWidth: 1});
  c.setLineDash([3, 3]);
  for (let k = 0; k < s.k; k++) {
    for (let i = 0; i < s.rows.length; i++) {
      const y = top + (k + 0.5) * tall;
      if (s.sizeOf(i, k) === "empty") line(c, axis.edge(i), y, axis.edge(i + 1), y);
    }
  }
  c.setLineDash([]);
}

/** The key to the shades, with numbers at some values. */
export function drawShades(c, colors, x, top, low, values, show) {
  for (let y = top; y < low; y++) {
    c.fillStyle = `rgb(${shade((low - y) / (low - top))})`;
    c.fillRect(x, y, 9, 1.5);
  }
  const most = values.at(-1);
  for (const v of values) {
    const y = Math.min(low - 5, Math.max(top + 5, low - (v / most) * (low - top)));
    write(c, colors, show(v), x + 13, y);
  }
}

/**
 * A figure over the epochs, or its sample in the legend; gaps where a value is unknown. Every n-th point from `first`
 * has a mark.
 */
export function drawFigure(c, f, points, every, first = 0) {
  Object.assign(c, {strokeStyle: colorOf(f), fillStyle: colorOf(f), lineWidth: 2});
  c.setLineDash(DASHES[f % 4]);
  polyline(c, points);
  c.setLineDash([]);
  points.forEach(([x, y], i) => {
    if (i % every === first && Number.isFinite(y)) mark(c, shapeOf(f), x, y, 3.5);
  });
}

/** Names, dashes, marks and values of the figures; returns the height of the legend. */
export function drawLegend(c, colors, s, figures, i, width) {
  const columns = width > 430 ? 2 : 1;
  figures.forEach(({name, f}, j) => {
    const x = 34 + ((j % columns) * (width - 40)) / columns;
    const y = 10 + Math.floor(j / columns) * 17;
    const sample = [x, x + 15, x + 30].map(px => [px, y]);
    drawFigure(c, f, sample, 3, 1);
    write(c, colors, `${s.t(name)} ${fixed(s.figure(i, f))}`, x + 37, y, {fillStyle: colors.ink});
  });
  return Math.ceil(figures.length / columns) * 17 + 4;
}

/** The number of empty clusters, as steps. */
export function drawEmptyCount(c, colors, s, axis, left, right, top, low) {
  const most = Math.max(1, ...s.rows.map((_, i) => s.empty(i) || 0));
  const y = v => low - (v / most) * (low - top - 14);
  drawRules(c, colors, [0, most], String, y, left, right);
  write(c, colors, s.t("empty_clusters"), left + 2, top + 5);
  Object.assign(c, {strokeStyle: RED, lineWidth: 2});
  const steps = s.rows.flatMap((_, i) => [axis.edge(i), axis.edge(i + 1)].map(x => [x, y(s.empty(i))]));
  polyline(c, steps);
}

/** A frame that is seen on light and on dark shades. */
export function drawRing(c, x, y, size) {
  const grow = Math.max(0, 4 - size / 2);
  const box = [x - grow, y - grow, size + 2 * grow, size + 2 * grow];
  Object.assign(c, {strokeStyle: "#000000", lineWidth: 4});
  c.strokeRect(...box);
  Object.assign(c, {strokeStyle: "#ffffff", lineWidth: 2});
  c.strokeRect(...box);
}
