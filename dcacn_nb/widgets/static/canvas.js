// @ts-check
// Drawing: canvases that follow the page, marks, axes.
import {h} from "./dom.js";
import {colorOf, shapeOf} from "./palette.js";

/** @import {Cleanup} from "./dom.js" */

/**
 * @typedef {{ink: string, soft: string, line: string, paper: string, accent: string, font: string}} Theme
 * @typedef {CanvasRenderingContext2D} Pen
 * @typedef {{node: HTMLCanvasElement, redraw: () => void}} Plot
 */

/**
 * The context of a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [options]
 */
export const pen = (canvas, options) => /** @type {Pen} */ (canvas.getContext("2d", options));

/**
 * The colours of the page around: JupyterLab's variables in its light and dark themes, the system's elsewhere.
 * @param {Element} node
 * @returns {Theme}
 */
function theme(node) {
  const style = getComputedStyle(node);
  const read = name => style.getPropertyValue(`--dcacn-${name}`).trim();
  return {
    ink: read("ink"),
    soft: read("soft"),
    line: read("line"),
    paper: read("paper"),
    accent: read("accent"),
    font: `12px ${style.fontFamily || "sans-serif"}`,
  };
}

/** Fit the pixels of a canvas to its size on the screen; null if it cannot be seen. */
function fit(node) {
  const width = node.clientWidth;
  const height = node.clientHeight;
  if (!width || !height || !node.isConnected) return null;
  const scale = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)];
  if (node.width !== across || node.height !== down) Object.assign(node, {width: across, height: down});
  const context = pen(node);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return {context, width, height};
}

/**
 * A canvas as wide as its parent, sharp on any screen, drawn again at most once per frame. In a hidden tab it waits
 * until it is seen.
 * @param {{height?: number, label: string, draw: (context: Pen, width: number, height: number, colors: Theme) => void,
 *          stop: Cleanup, attributes?: Record<string, any>}} options
 * @returns {Plot}
 */
export function plot({height = 220, label, draw, stop, attributes = {}}) {
  const given = {class: "dcacn-canvas", role: "img", "aria-label": label, style: `height: ${height}px`, ...attributes};
  const node = h("canvas", given);
  let asked = 0;
  const paint = () => {
    asked = 0;
    const fitted = fit(node);
    if (fitted) draw(fitted.context, fitted.width, fitted.height, theme(node));
  };
  const redraw = () => {
    asked ||= requestAnimationFrame(paint);
  };
  const size = new ResizeObserver(redraw);
  const look = new MutationObserver(redraw);
  size.observe(node);
  const themed = ["data-jp-theme-light", "data-jp-theme-name", "class"];
  look.observe(document.body, {attributes: true, attributeFilter: themed});
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);
  stop.add(() => {
    cancelAnimationFrame(asked);
    size.disconnect();
    look.disconnect();
    dark.removeEventListener("change", redraw);
  });
  return {node, redraw};
}

/**
 * Where on an element the pointer is, in the element's pixels.
 * @returns {[number, number]}
 */
export function spot(event, node) {
  const box = node.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** The corners of a plus, turned by an angle: four times the three corners of its upper arm. */
function plusCorners(x, y, r, turn) {
  const [long, half] = [r * 1.15, r * 0.4];
  const arm = [
    [-half, -long],
    [half, -long],
    [half, -half],
  ];
  return [0, 1, 2, 3].flatMap(i => {
    const [c, s] = [Math.cos(turn + (i * Math.PI) / 2), Math.sin(turn + (i * Math.PI) / 2)];
    return arm.map(([u, v]) => [x + c * u - s * v, y + s * u + c * v]);
  });
}

/** The corners of a regular shape; those of a star are far and near in turn. */
function regularCorners(x, y, r, shape) {
  const n = {triangle: 3, down: 3, diamond: 4, star: 10}[shape];
  const start = shape === "down" ? Math.PI / 2 : -Math.PI / 2;
  return Array.from({length: n}, (_, i) => {
    const reach = shape === "star" && i % 2 ? r * 0.55 : r * 1.25;
    const angle = start + (i * 2 * Math.PI) / n;
    return [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
  });
}

/** One mark of a scatter plot or a legend, filled with the caller's fillStyle. */
export function mark(context, shape, x, y, r) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
  else if (shape === "plus") outline(context, plusCorners(x, y, r, 0));
  else if (shape === "cross") outline(context, plusCorners(x, y, r, Math.PI / 4));
  else outline(context, regularCorners(x, y, r, shape));
  context.fill();
}

/** A closed path through corners [[x, y], ...]; the caller strokes or fills it. */
export function outline(context, corners) {
  corners.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x, y));
  context.closePath();
}

/** One straight line. */
export function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

/** A line through points [[x, y], ...] with gaps where y is not a finite number. */
export function polyline(context, points) {
  let down = false;
  context.beginPath();
  for (const [x, y] of points) {
    const known = Number.isFinite(y);
    if (known) context[down ? "lineTo" : "moveTo"](x, y);
    down = known;
  }
  context.stroke();
}

/** A small canvas with the mark of a cluster or class. */
export function swatch(shape, color, r = 10, attributes = {}) {
  const node = h("canvas", {width: 32, height: 32, class: "dcacn-swatch", "aria-hidden": "true", ...attributes});
  const context = pen(node);
  context.fillStyle = color;
  mark(context, shape, 16, 16, r);
  return node;
}

export const clusterSwatch = (k, r = 10) => swatch(shapeOf(k), colorOf(k), r);

/**
 * An image of one pixel per value, as a canvas; transparent where `color` gives null.
 * @param {number} width
 * @param {number} height
 * @param {(i: number) => ArrayLike<number> | null} color value i, row by row, as [red, green, blue]
 */
export function raster(width, height, color) {
  const node = h("canvas", {width, height});
  const context = pen(node);
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const rgb = color(i);
    if (rgb) image.data.set([rgb[0], rgb[1], rgb[2], 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return node;
}

/** Whether the person asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
