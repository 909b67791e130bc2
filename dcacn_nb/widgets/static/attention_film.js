// @ts-check
// What the attention viewer knows of a run: maps by snapshot, pictures by image.
import {bitmap, f32, u8} from "./messages.js";
import {h} from "./dom.js";
import {pen} from "./canvas.js";

/** @import {AttentionFrame, AttentionRun, SheetLayout} from "./protocol" */
/**
 * @typedef {{start: number, height: number, width: number, i: number}} Part where a map is in the bytes of an image,
 *   and its number in a frame
 * @typedef {{epoch: number, indices: number[], parts: Map<string, Part>, total: number, n: number, codes: Uint8Array,
 *   lows: Float32Array, highs: Float32Array}} Frame
 * @typedef {{height: number, width: number, low: number, high: number, codes: Uint8Array, value: (i: number) =>
 *   number}} AttentionMap
 * @typedef {{color: HTMLCanvasElement, grey: HTMLCanvasElement}} Picture
 */

/** What one run has sent: frames by number, pictures by index of the image. */
export class Run {
  token = -1;
  /** @type {Partial<AttentionRun>} */
  about = {};
  /** @type {Map<number, Frame>} */
  frames = new Map();
  /** @type {Map<number, Picture>} */
  pictures = new Map();

  keep(token, numbers) {
    if (token !== this.token) {
      this.frames.clear();
      this.pictures.clear();
      this.token = token;
    }
    const wanted = new Set(numbers);
    for (const number of this.frames.keys()) if (!wanted.has(number)) this.frames.delete(number);
  }

  /**
   * @param {AttentionFrame} content
   * @param {DataView[]} buffers
   */
  add(content, [codes, lows, highs]) {
    this.keep(content.token, content.keep);
    const {number, epoch, indices, block, note} = content;
    const parts = new Map();
    let total = 0;
    content.parts.forEach(([kind, name, height, width], i) => {
      parts.set(`${kind}.${name}`, {start: total, height, width, i});
      total += height * width;
    });
    const values = {codes: u8(codes), lows: f32(lows), highs: f32(highs)};
    this.frames.set(number, {epoch, indices, parts, total, n: content.parts.length, ...values});
    Object.assign(this.about, {block, note});
  }

  get ordered() {
    return [...this.frames].sort((a, b) => a[0] - b[0]).map(([, frame]) => frame);
  }

  /** The largest value of a block in any frame: the upper end of a scale that all frames share. */
  most(kind, block) {
    let most = 0;
    for (const frame of this.frames.values()) {
      const part = frame.parts.get(`${kind}.${block}`);
      if (!part) continue;
      for (const row of frame.indices.keys()) most = Math.max(most, frame.highs[row * frame.n + part.i] || 0);
    }
    return most;
  }
}

/**
 * The map of one image; null if the frame has none.
 * @param {Frame | null | undefined} frame
 * @param {string} kind
 * @param {string} block
 * @param {number} index
 * @returns {AttentionMap | null}
 */
export function mapOf(frame, kind, block, index) {
  const part = frame?.parts.get(`${kind}.${block}`);
  const row = frame ? frame.indices.indexOf(index) : -1;
  if (!frame || !part || row < 0) return null;
  const {height, width} = part;
  const low = frame.lows[row * frame.n + part.i];
  const high = frame.highs[row * frame.n + part.i];
  const from = row * frame.total + part.start;
  const codes = frame.codes.subarray(from, from + height * width);
  return {height, width, low, high, codes, value: i => low + (codes[i] * (high - low)) / 255};
}

/** The mean channel attention of some images; null if there is none. */
export function channelMeans(frame, block, indices) {
  const maps = indices.map(index => mapOf(frame, "channel", block, index)).filter(Boolean);
  if (!maps.length) return null;
  return Array.from(maps[0].codes, (_, c) => maps.reduce((sum, map) => sum + map.value(c), 0) / maps.length);
}

/** Blocks of the network that have maps in a frame. */
export const blocksOf = frame => [...new Set([...frame.parts.keys()].map(name => name.slice(name.indexOf(".") + 1)))];

/** The cell of a map at a place (shares of width and height). */
export function cellAt(map, {x, y}) {
  const row = Math.min(map.height - 1, Math.floor(y * map.height));
  const column = Math.min(map.width - 1, Math.floor(x * map.width));
  return {row, column, i: row * map.width + column};
}

/** A value with two decimals, or as many characters as it needs. */
export function shortNumber(x) {
  if (Number.isNaN(x)) return "NaN";
  if (x !== 0 && Math.abs(x) < 0.005) return x.toExponential(1);
  return Math.abs(x) >= 1000 ? x.toExponential(2) : x.toFixed(2);
}

/**
 * The tile of each image in the sheet, as it is and in grey.
 * @param {SheetLayout & {indices: number[]}} layout
 * @param {DataView} sheet
 */
export async function cutPictures({indices, width, height, columns}, sheet) {
  const whole = await bitmap(sheet);
  /** @type {Map<number, Picture>} */
  const pictures = new Map();
  indices.forEach((index, i) => {
    const [color, grey] = [h("canvas", {width, height}), h("canvas", {width, height})];
    const context = pen(color, {willReadFrequently: true});
    context.drawImage(whole, -(i % columns) * width, -Math.floor(i / columns) * height);
    const image = context.getImageData(0, 0, width, height);
    for (let p = 0; p < image.data.length; p += 4) {
      image.data.fill((image.data[p] + image.data[p + 1] + image.data[p + 2]) / 3, p, p + 3);
    }
    pen(grey).putImageData(image, 0, 0);
    pictures.set(index, {color, grey});
  });
  return pictures;
}
