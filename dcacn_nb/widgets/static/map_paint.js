// @ts-check
// Points stamped into one pixel buffer: a thousand calls of drawImage would be slower.
import {mark, pen} from "./canvas.js";
import {h} from "./dom.js";
import {COLORS, SHAPES, colorOf, shapeOf} from "./palette.js";

/** @typedef {{shape: string, rgb: [number, number, number], radius: number}} Style */

export const PAIRS = COLORS.length * SHAPES.length; // marks of clusters and classes; 40 of them differ
/** Confidence from low (violet, small) to high (yellow, large); all show on light and on dark. */
export const LEVELS = ["#6A4BA3", "#3F6FB0", "#23929A", "#3FA866", "#8FAE2E", "#E0A100"];
export const levelOf = confidence => Math.min(LEVELS.length - 1, Math.floor((confidence / 256) * LEVELS.length));
export const levelSize = level => 0.65 + 0.13 * level;

const known = new Map();

/** A colour as numbers, read from a canvas so that any CSS colour will do. */
function rgbOf(color) {
  if (!known.has(color)) {
    const context = pen(h("canvas", {width: 1, height: 1}), {willReadFrequently: true});
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    known.set(color, [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]);
  }
  return known.get(color);
}

/**
 * The marks: pairs of colour and shape for clusters and classes, then the levels of confidence, in which brightness
 * and size go together.
 * @param {number} radius
 * @param {number} extra more radius, for a rim
 * @param {string | null} ink one colour for all
 * @returns {Style[]}
 */
export function markTable(radius, extra = 0, ink = null) {
  const rgb = color => rgbOf(ink ?? color);
  const round = r => Math.round(4 * r) / 4;
  const pairs = Array.from({length: PAIRS}, (_, k) => {
    return {shape: shapeOf(k), rgb: rgb(colorOf(k)), radius: round(radius + extra)};
  });
  const levels = LEVELS.map((color, level) => {
    return {shape: "circle", rgb: rgb(color), radius: round(radius * levelSize(level) + extra)};
  });
  return [...pairs, ...levels];
}

/**
 * Stamps marks into a pixel buffer. A stamp is made once for each shape, size and quarter of a pixel, so that slow
 * points glide.
 */
export class Painter {
  constructor() {
    this.stamps = new Map();
    this.image = new ImageData(1, 1);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  stamp(shape, radius, quarter, width) {
    const key = `${shape} ${radius} ${quarter} ${width}`;
    if (this.stamps.has(key)) return this.stamps.get(key);
    const half = Math.ceil(radius * 1.4) + 1;
    const side = 2 * half + 1;
    const context = pen(h("canvas", {width: side, height: side}), {willReadFrequently: true});
    mark(context, shape, half + (quarter % 4) / 4, half + Math.floor(quarter / 4) / 4, radius);
    const pixels = context.getImageData(0, 0, side, side).data;
    const places = [];
    const alphas = [];
    for (let i = 0; i < side * side; i++) {
      if (!pixels[4 * i + 3]) continue;
      places.push((Math.floor(i / side) - half) * width + (i % side) - half);
      alphas.push(pixels[4 * i + 3] + 1);
    }
    const stamp = {half, places: Int32Array.from(places), alphas: Uint16Array.from(alphas)};
    this.stamps.set(key, stamp);
    return stamp;
  }

  begin(width, height, paper) {
    if (this.image.width !== width || this.image.height !== height) {
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.stamps.clear();
    }
    const [r, g, b] = rgbOf(paper);
    this.pixels.fill((255 << 24) | (b << 16) | (g << 8) | r);
  }

  /**
   * Points whose state is `wanted`.
   * @param {Float32Array} places x, y of each point in device pixels
   * @param {Uint8Array} styles number in the table, of each point
   * @param {Uint8Array} states
   * @param {number} wanted
   * @param {Style[]} table
   * @param {number} cover how strongly a point covers what is below, 0 to 1
   */
  points(places, styles, states, wanted, table, cover = 1) {
    const {width, height} = this.image;
    const found = table.map(() => new Array(16));
    for (let i = 0; i < styles.length; i++) {
      if (states[i] !== wanted) continue;
      const [x, y] = [places[2 * i], places[2 * i + 1]];
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const quarter = Math.floor(4 * (x - left)) + 4 * Math.floor(4 * (y - top));
      const style = table[styles[i]];
      const stamp = (found[styles[i]][quarter] ??= this.stamp(style.shape, style.radius, quarter, width));
      const half = stamp.half;
      if (!(left >= half && top >= half && left < width - half && top < height - half)) continue; // NaN fails, too
      this.press(stamp, top * width + left, style.rgb, cover);
    }
  }

  press({places, alphas}, start, [red, green, blue], cover) {
    const pixels = this.pixels;
    for (let j = 0; j < places.length; j++) {
      const at = start + places[j];
      const below = pixels[at];
      const a = alphas[j] * cover;
      const r = below & 255;
      const g = (below >> 8) & 255;
      const b = (below >> 16) & 255;
      pixels[at] =
        (255 << 24) |
        ((b + (((blue - b) * a) >> 8)) << 16) |
        ((g + (((green - g) * a) >> 8)) << 8) |
        (r + (((red - r) * a) >> 8));
    }
  }
}
