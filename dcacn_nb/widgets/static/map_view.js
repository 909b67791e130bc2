// @ts-check
// The state of one view of the map, and what can be asked of it.
import {calm, pen} from "./canvas.js";
import {h} from "./dom.js";
import {Film, Motion} from "./map_film.js";
import {PAIRS, levelOf} from "./map_paint.js";
import {TileStore} from "./tiles.js";

/** @import {Model, Received, SheetLayout, Texts} from "./protocol" */
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
    this.states = new Uint8Array(0); // 2: selected, 1: others are picked out, 0: neither
    this.store = new TileStore(); // of a set too large for a sheet
    /** @type {Set<number>} images whose pictures are to be asked for */
    this.wanted = new Set();
    this.asking = 0;
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

  /**
   * Other images: nothing that was known of the old ones holds.
   * @param {Received<"map">["start"]} content
   * @param {DataView[]} buffers
   */
  start(content, buffers) {
    this.film.start(content, buffers);
    this.sheet = null;
    this.store.begin(content.asked ?? -1);
    this.follow = true;
    this.lit.clear();
  }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  clusterName(k) {
    const number = this.t("cluster_n", {k});
    return this.film.name(k) === null ? number : `${number} (${this.film.name(k)})`;
  }

  /** The cluster or class that colours each row of the sample. */
  get groups() {
    const frame = /** @type {Frame} */ (this.mode === "last" ? this.frames.at(-1) : this.motion.frame);
    if (this.mode !== "class") return frame.cluster;
    return this.film.labels ?? new Uint16Array(frame.cluster.length);
  }

  /** How many points each of some groups has: [[group, points], ...]. */
  tally(groups) {
    const counts = new Uint32Array(65536);
    for (let i = 0; i < this.styles.length; i++) counts[groups[i]]++;
    const found = [];
    counts.forEach((n, k) => n && found.push([k, n]));
    return found;
  }

  /** Give each point the number of its mark, and its state. */
  dress() {
    const {motion, mode, lit} = this;
    if (!motion.frame) return;
    const {confidence, xy} = motion.frame;
    const groups = this.groups;
    const styles = new Uint8Array(xy.length / 2);
    const states = new Uint8Array(styles.length);
    const byConfidence = mode === "confidence";
    const picking = lit.size > 0 && !byConfidence;
    for (let row = 0; row < styles.length; row++) {
      styles[row] = byConfidence ? PAIRS + levelOf(confidence[row]) : groups[row] % PAIRS;
      if (picking && !lit.has(groups[row])) states[row] = 1;
    }
    for (const row of this.selected) states[row] = 2;
    Object.assign(this, {styles, states});
  }

  /** Let a frame be the one that is shown. */
  show(frame, glide) {
    const same = this.motion.frame?.id === frame.id && this.motion.frame?.xy === frame.xy;
    if (!same) this.motion.go(frame, glide && !calm(), performance.now());
    this.dress();
  }

  /** The point next to a place; a hundred thousand distances take 0.2 ms, so no index is needed. */
  nearest(x, y, reach = REACH) {
    const screen = this.screen;
    let best = -1;
    let least = reach * reach;
    for (let i = 0; 2 * i < screen.length; i++) {
      const across = screen[2 * i] - x;
      const down = screen[2 * i + 1] - y;
      const distance = across * across + down * down;
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
    const screen = this.screen;
    const [left, top] = [0, 1].map(axis => Math.min(...area.map(corner => corner[axis])));
    const [right, bottom] = [0, 1].map(axis => Math.max(...area.map(corner => corner[axis])));
    const rows = [];
    for (let i = 0; 2 * i < screen.length; i++) {
      const [x, y] = [screen[2 * i], screen[2 * i + 1]];
      if (x < left || x > right || y < top || y > bottom) continue; // most points are not even near
      if (isInside(area, x, y)) rows.push(i);
    }
    return rows;
  }

  /** Rows of the sample in a cluster. */
  rowsOf(k) {
    return Array.from(this.styles.keys()).filter(row => this.motion.frame?.cluster[row] === k);
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

  /** Where the picture of a row is; null: not here. One of many pictures is asked for. */
  pictureOf(row) {
    if (this.sheet && row < this.sheet.n) {
      const {bitmap, width, height, columns} = this.sheet;
      return {bitmap, x: (row % columns) * width, y: Math.floor(row / columns) * height, width, height};
    }
    const index = this.film.indices[row];
    const tile = this.store.tiles.get(index);
    if (tile?.sheet.picture) return {...tile, bitmap: tile.sheet.picture};
    if (this.film.asked !== null) this.want(index);
    return null;
  }

  /** Ask for a picture, together with others. */
  want(index) {
    if (this.store.asked.has(index)) return;
    this.store.asked.add(index);
    this.wanted.add(index);
    this.asking ||= requestAnimationFrame(() => {
      this.model.send({kind: "look", images: [...this.wanted]});
      this.wanted.clear();
      this.asking = 0;
    });
  }

  /** The image of a row, in a square. */
  tile(row, size, attributes = {}) {
    const canvas = h("canvas", {width: size, height: size, class: "dcacn-tile", ...attributes});
    const picture = this.pictureOf(row);
    if (!picture) return canvas;
    const {bitmap, x, y, width, height} = picture;
    const context = pen(canvas);
    const scale = size / Math.max(width, height);
    const [wide, tall] = [width * scale, height * scale];
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(bitmap, x, y, width, height, (size - wide) / 2, (size - tall) / 2, wide, tall);
    return canvas;
  }
}
