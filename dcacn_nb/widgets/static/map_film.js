// @ts-check
// What a map shows: the sample with its maps by method, and the motion from one map to the next. All arrays are typed;
// a map is 4 bytes per point.
import {typed, u8} from "./messages.js";

/** @import {MapFrame, MapState, Method, Received} from "./protocol" */
/**
 * @typedef {{id: number, epoch: number | null, explained: number | null, unit: number, reach: number, xy: Int16Array,
 *   cluster: Uint16Array, confidence: Uint8Array}} Frame unit: of a coordinate; reach: the largest coordinate
 */

/** What Python has sent: the sample, and maps by method, in the order of the run. */
export class Film {
  n = 0;
  /** @type {string[]} */
  classes = [];
  /** @type {number | null} the token of pictures that are asked for, because there are too many; null: they come */
  asked = null;
  indices = new Int32Array(0);
  /** @type {Uint16Array | null} */
  labels = null;
  /** @type {Map<number, number>} */
  rowOf = new Map();
  /** @type {Record<Method, Frame[]>} */
  maps = {tsne: [], pca: []};
  /** @type {Map<number, {cluster: Uint16Array, confidence: Uint8Array}>} by snapshot, shared by both methods */
  assigned = new Map();
  /** @type {MapState} */
  state = {waiting: 0, making: null, dropped: 0, problem: "", names: {}};

  /**
   * @param {Received<"map">["start"]} content
   * @param {DataView[]} buffers
   */
  start(content, buffers) {
    this.n = content.n;
    this.classes = content.classes;
    this.asked = content.asked;
    this.indices = buffers[0] ? typed(Int32Array, buffers[0]) : new Int32Array(0);
    this.labels = buffers[1] ? typed(Uint16Array, buffers[1]) : null;
    this.rowOf = new Map([...this.indices].map((index, row) => [index, row]));
    this.maps = {tsne: [], pca: []};
    this.assigned = new Map();
    this.state = {waiting: 0, making: null, dropped: 0, problem: "", names: {}};
  }

  /**
   * @param {MapFrame} content
   * @param {DataView[]} buffers
   */
  add(content, [xy, cluster, confidence]) {
    const {id, epoch, explained, scale} = content;
    const kept = new Set(content.keep);
    const frames = this.maps[content.method].filter(frame => kept.has(frame.id) && frame.id !== id);
    const assigned = {cluster: typed(Uint16Array, cluster), confidence: u8(confidence)};
    this.assigned.set(id, assigned);
    frames.push({id, epoch, explained, unit: scale / 32767, reach: scale, xy: typed(Int16Array, xy), ...assigned});
    this.maps[content.method] = frames.sort((a, b) => a.id - b.id);
    const used = new Set([...this.maps.tsne, ...this.maps.pca].map(frame => frame.id));
    for (const known of this.assigned.keys()) if (!used.has(known)) this.assigned.delete(known);
  }

  name(k) {
    return this.state.names[k] ?? null;
  }
  className(k) {
    return this.classes[k] ?? String(k);
  }
}

/** Which frame is shown and where its points are just now: at rest, on their way to another frame, or playing. */
export class Motion {
  /** @type {Frame | null} */
  frame = null;
  now = new Float32Array(0);
  /** @type {Float32Array | null} */
  from = null;
  /** @type {{duration: number} | null} */
  playing = null;
  began = 0;
  last = 0;

  clear() {
    Object.assign(this, {frame: null, now: new Float32Array(0), from: null, playing: null});
  }

  /**
   * Go to a frame: gliding from where the points are, or at once.
   * @param {Frame} frame
   * @param {boolean} glide
   * @param {number} time
   */
  go(frame, glide, time) {
    const size = frame.xy.length;
    const still = this.now.length !== size || !glide;
    this.from = still ? null : this.now.slice();
    if (still) this.now = new Float32Array(size);
    this.frame = frame;
    this.began = this.last = time;
    if (still) this.mix(this.now, 1);
  }

  /** A share w of the way from there to the frame. */
  mix(from, w) {
    const {xy, unit} = /** @type {Frame} */ (this.frame);
    const now = this.now;
    for (let i = 0; i < now.length; i++) now[i] = from[i] + w * (xy[i] * unit - from[i]);
  }

  /**
   * One step further; whether the points still move. In a film they go straight; else they approach the frame from
   * wherever they are, so that one may scrub as fast as one likes.
   */
  step(time) {
    if (this.from === null) return false;
    const passed = time - this.began;
    const end = passed >= (this.playing?.duration ?? 400);
    if (end) this.mix(this.now, 1);
    else if (this.playing) this.mix(this.from, passed / this.playing.duration);
    else this.mix(this.now, 1 - Math.exp((this.last - time) / 70));
    this.last = time;
    if (end) this.from = null;
    return !end;
  }
}
