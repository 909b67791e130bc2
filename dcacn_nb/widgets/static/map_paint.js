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

const FAINT = 51; // of 256: how much a faint point covers

const packed = ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red;

/** A pixel, covered by a colour; a: how much of it, of 256. */
function blended(below, red, green, blue, a) {
  const r = below & 255;
  const g = (below >> 8) & 255;
  const b = (below >> 16) & 255;
  const mixed = ((b + (((blue - b) * a) >> 8)) << 16) | ((g + (((green - g) * a) >> 8)) << 8);
  return (255 << 24) | mixed | (r + (((red - r) * a) >> 8));
}

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
 * points glide. A hundred thousand marks take about 15 ms, and need no graphics card: WebGL drawn by software took 400.
 */
export class Painter {
  constructor() {
    this.stamps = new Map();
    this.image = new ImageData(1, 1);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.pen = pen(h("canvas"), {willReadFrequently: true});
  }

  /** A mark as pixels around its centre: those that it covers, then its edge with how much of each it covers. */
  stamp(shape, radius, quarter, width) {
    const key = `${shape} ${radius} ${quarter} ${width}`;
    if (this.stamps.has(key)) return this.stamps.get(key);
    const half = Math.ceil(radius * 1.4) + 1;
    const side = 2 * half + 1;
    Object.assign(this.pen.canvas, {width: side, height: side}); // which also clears it
    mark(this.pen, shape, half + (quarter % 4) / 4, half + Math.floor(quarter / 4) / 4, radius);
    const pixels = this.pen.getImageData(0, 0, side, side).data;
    const whole = [];
    const edge = [];
    const alphas = [];
    for (let i = 0; i < side * side; i++) {
      const alpha = pixels[4 * i + 3];
      const place = (Math.floor(i / side) - half) * width + (i % side) - half;
      if (alpha === 255) whole.push(place);
      else if (alpha) {
        edge.push(place);
        alphas.push(alpha + 1);
      }
    }
    const stamp = {half, whole: Int32Array.from(whole), edge: Int32Array.from(edge), alphas: Uint16Array.from(alphas)};
    this.stamps.set(key, stamp);
    return stamp;
  }

  begin(width, height, paper) {
    if (this.image.width !== width || this.image.height !== height) {
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.stamps.clear();
    }
    this.pixels.fill(packed(rgbOf(paper)));
  }

  /**
   * Points whose state is `wanted`.
   * @param {Float32Array} places x, y of each point on the screen
   * @param {number} scale device pixels to a pixel of the screen
   * @param {Uint8Array} styles number in the table, of each point
   * @param {Uint8Array} states
   * @param {number} wanted
   * @param {Style[]} table
   * @param {boolean} faint whether a point lets through most of what is below
   */
  points(places, scale, styles, states, wanted, table, faint = false) {
    const {width, height} = this.image;
    const found = table.map(() => new Array(16));
    for (let i = 0; i < styles.length; i++) {
      if (states[i] !== wanted) continue;
      const x = places[2 * i] * scale;
      const y = places[2 * i + 1] * scale;
      const left = Math.floor(x);
      const top = Math.floor(y);
      if (!(left >= 0 && top >= 0 && left < width && top < height)) continue; // NaN fails, too
      const quarter = Math.floor(4 * (x - left)) + 4 * Math.floor(4 * (y - top));
      const style = table[styles[i]];
      const stamp = (found[styles[i]][quarter] ??= this.stamp(style.shape, style.radius, quarter, width));
      const half = stamp.half;
      if (left < half || top < half || left >= width - half || top >= height - half) continue;
      this.press(stamp, top * width + left, style.rgb, faint);
    }
  }

  press({whole, edge, alphas}, start, rgb, faint) {
    const pixels = this.pixels;
    const [red, green, blue] = rgb;
    const color = packed(rgb);
    for (let j = 0; j < whole.length; j++) {
      const at = start + whole[j];
      pixels[at] = faint ? blended(pixels[at], red, green, blue, FAINT) : color;
    }
    for (let j = 0; j < edge.length; j++) {
      const at = start + edge[j];
      pixels[at] = blended(pixels[at], red, green, blue, faint ? (alphas[j] * FAINT) >> 8 : alphas[j]);
    }
  }
}
