// @ts-check
// The state of one view of the map, and what can be asked of it.
import {calm, pen} from "./canvas.js";
import {h} from "./dom.js";
import {Film, Motion} from "./map_film.js";
import {PAIRS, levelOf} from "./map_paint.js";

/** @import {Model, SheetLayout, Texts} from "./protocol" */
/** @import {Frame} from "./map_film.js" */
/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Box */

const REACH = 12; // pixels from the pointer within which a point is found

export const corners = ({x0, y0, x1, y1}) => [
  [x0, y0],
  [x1, y0],
  [x1, y1],
  [x0, y1],
];

/** Whether a point is inside a polygon [[x, y], ...] (even-odd rule). */
export function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

export class MapView {
  /**
   * @param {Model<"map">} model
   * @param {Texts} t
   */
  constructor(model, t) {
    this.model = model;
    this.t = t;
    this.film = new Film();
    this.motion = new Motion();
    this.camera = {x: 0, y: 0, zoom: 1, unit: 1}; // unit: pixels per unit of a coordinate
    this.follow = true; // the newest map is shown as soon as it comes
    /** @type {Set<number>} groups that are picked out; none: all */
    this.lit = new Set();
    /** @type {Set<number>} rows of the sample */
    this.selected = new Set();
    this.current = -1; // the point pointed at
    /** @type {Box | null} drawn with the keys */
    this.box = null;
    /** @type {(SheetLayout & {bitmap: ImageBitmap}) | null} */
    this.sheet = null;
    this.screen = new Float32Array(0); // x, y of each point in pixels
    this.styles = new Uint8Array(0); // number in the table of marks
  }

  get method() {
    return this.model.get("method");
  }
  get mode() {
    return this.model.get("color_by");
  }
  get frames() {
    return this.film.maps[this.method];
  }
  get stride() {
    return this.film.strides[this.method] ?? 1;
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  clusterName(k) {
    const number = this.t("cluster_n", {k});
    return this.film.name(k) === null ? number : `${number} (${this.film.name(k)})`;
  }

  /** The cluster or class that colours a row of the sample. */
  group(row) {
    if (this.mode === "class") return this.film.labels?.[row] ?? 0;
    const frame = this.mode === "last" ? this.frames.at(-1) : this.motion.frame;
    return /** @type {Frame} */ (frame).cluster[row];
  }

  /** Of each point: 2 if it is selected, 1 if others are picked out, else 0. */
  states() {
    const {stride, lit, mode} = this;
    return Uint8Array.from(this.styles, (_, i) => {
      if (this.selected.has(i * stride)) return 2;
      return lit.size && mode !== "confidence" && !lit.has(this.group(i * stride)) ? 1 : 0;
    });
  }

  /** Give each point the number of its mark. */
  dress() {
    const {motion, stride, mode} = this;
    if (!motion.frame) return;
    const {confidence, xy} = motion.frame;
    const byConfidence = i => PAIRS + levelOf(confidence[i * stride]);
    const byGroup = i => this.group(i * stride) % PAIRS;
    const style = mode === "confidence" ? byConfidence : byGroup;
    this.styles = Uint8Array.from({length: xy.length / 2}, (_, i) => style(i));
  }

  /** Let a frame be the one that is shown. */
  show(frame, glide) {
    const same = this.motion.frame?.id === frame.id && this.motion.frame?.xy === frame.xy;
    if (!same) this.motion.go(frame, glide && !calm(), performance.now());
    this.dress();
  }

  /** The point next to a place; ten thousand distances take 0.02 ms, so no index is needed. */
  nearest(x, y, reach = REACH) {
    let best = -1;
    let least = reach * reach;
    for (let i = 0; 2 * i < this.screen.length; i++) {
      const distance = (this.screen[2 * i] - x) ** 2 + (this.screen[2 * i + 1] - y) ** 2;
      if (distance <= least) {
        least = distance;
        best = i;
      }
    }
    return best;
  }

  /** The next point in a direction, seen from the current one. */
  neighbour(dx, dy) {
    const [x, y] = this.placeOf(this.current);
    let best = this.current;
    let least = Infinity;
    for (let i = 0; 2 * i < this.screen.length; i++) {
      const [u, v] = [this.screen[2 * i] - x, this.screen[2 * i + 1] - y];
      const along = u * dx + v * dy;
      const cost = along + 3 * Math.abs(u * dy - v * dx);
      if (i !== this.current && along > 0.5 && cost < least) {
        least = cost;
        best = i;
      }
    }
    return best;
  }

  placeOf(i) {
    return [this.screen[2 * i], this.screen[2 * i + 1]];
  }

  /** Rows of the sample inside a polygon on the screen. */
  rowsIn(area) {
    const rows = [];
    for (let i = 0; 2 * i < this.screen.length; i++) {
      if (isInside(area, this.screen[2 * i], this.screen[2 * i + 1])) rows.push(i * this.stride);
    }
    return rows;
  }

  /** Rows of the sample that are in this map. */
  get rows() {
    return Array.from(this.styles, (_, i) => i * this.stride);
  }

  /** Select rows of the sample: Python hears of it, and all views follow. */
  select(rows, add = false) {
    const all = [...new Set(add ? [...this.selected, ...rows] : rows)].sort((a, b) => a - b);
    this.set(
      "selection",
      all.map(row => this.film.indices[row]),
    );
  }

  /** What is known about a row of the sample, line by line. */
  describe(row) {
    const {film, t} = this;
    const frame = /** @type {Frame} */ (this.motion.frame);
    const lines = [this.clusterName(frame.cluster[row])];
    if (film.labels) lines.push(`${t("class")}: ${film.className(film.labels[row])}`);
    lines.push(`${t("confidence")} ${(frame.confidence[row] / 255).toFixed(2)}`, `${t("image")} ${film.indices[row]}`);
    return lines;
  }

  /** The image of a row, in a square. */
  tile(row, size, attributes = {}) {
    const canvas = h("canvas", {width: size, height: size, class: "dcacn-tile", ...attributes});
    if (!this.sheet || row >= this.sheet.n) return canvas;
    const {bitmap, width, height, columns} = this.sheet;
    const context = pen(canvas);
    const scale = size / Math.max(width, height);
    const [left, top] = [(row % columns) * width, Math.floor(row / columns) * height];
    const [wide, tall] = [width * scale, height * scale];
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(bitmap, left, top, width, height, (size - wide) / 2, (size - tall) / 2, wide, tall);
    return canvas;
  }
}
