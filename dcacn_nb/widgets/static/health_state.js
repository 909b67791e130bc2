// @ts-check
// What Python has sent about the health of the clusters, and what is pointed at. One row of numbers per evaluation:
// masses (K), shares of the images (K), figures in [0, 1] (F), number of empty clusters; NaN where unknown.
import {f32} from "./messages.js";
import {nearestIndex} from "./numbers.js";

/** @import {Finding, HealthState, Names, Texts, View} from "./protocol" */
/**
 * @typedef {{k: number, pair: [number, number], found: Finding[], values: Float32Array}} Similarity of the clusters
 *   in a snapshot
 */

export class State {
  k = 0;
  /** @type {string[]} */
  figures = [];
  /** @type {number[]} */
  epochs = [];
  /** @type {Float32Array[]} */
  rows = [];
  /** @type {Finding[][]} */
  found = [];
  /** @type {Names} */
  names = {};
  /** @type {number[]} epochs with a comparable snapshot */
  snapshots = [];
  /** @type {Map<number, Similarity | null>} by epoch; null: asked for */
  similarities = new Map();
  emptyBelow = 0;
  largeAbove = 1;
  version = 0; // of the rows
  at = -1; // the evaluation shown
  /** @type {number | null} pointed at */
  cluster = null;
  /** @type {[number, number] | null} pointed at */
  pair = null;
  /** @type {number | null} an evaluation pointed at */
  over = null;
  playing = false;

  /**
   * @param {View<"health">["kept"]} kept `epoch` of it is the one chosen: it survives a change of language
   * @param {Texts} t
   */
  constructor(kept, t) {
    this.kept = kept;
    this.t = t;
  }

  mass(i, k) {
    return this.rows[i][k];
  }
  share(i, k) {
    return this.rows[i][this.k + k];
  }
  figure(i, f) {
    return this.rows[i][2 * this.k + f];
  }
  empty(i) {
    return this.rows[i][2 * this.k + this.figures.length];
  }
  /** "empty", "large", or "" for neither. */
  sizeOf(i, k) {
    if (this.share(i, k) < this.emptyBelow) return "empty";
    return this.share(i, k) > this.largeAbove ? "large" : "";
  }
  name(k) {
    return this.names[k] ? this.t("cluster_named", {k, name: this.names[k]}) : this.t("cluster_n", {k});
  }
  get last() {
    return this.epochs.length - 1;
  }

  /** Show evaluation i; -1 follows the newest. */
  choose(i) {
    this.kept.epoch = i < 0 || i >= this.last ? null : this.epochs[i];
    this.at = i < 0 ? this.last : Math.min(i, this.last);
  }
  /** After rows have come or gone: the same epoch, or the newest. */
  settle() {
    const epoch = this.kept.epoch ?? null;
    this.at = epoch === null ? this.last : nearestIndex(this.epochs, epoch);
    this.version++;
    if (this.over !== null && this.over >= this.rows.length) this.over = null;
  }

  /** The epoch of the last snapshot before the evaluation shown. */
  snapshot() {
    return this.snapshots.filter(epoch => this.at >= 0 && epoch <= this.epochs[this.at]).at(-1) ?? null;
  }
  similarity() {
    return this.similarities.get(this.snapshot() ?? NaN) ?? null;
  }

  /**
   * @param {HealthState} content
   * @param {DataView} buffer
   */
  reset(content, buffer) {
    const {k, figures, epochs} = content;
    const values = f32(buffer);
    const width = 2 * k + figures.length + 1;
    const rows = epochs.map((_, i) => values.subarray(i * width, (i + 1) * width));
    Object.assign(this, content, {rows, similarities: new Map(), cluster: null, pair: null, over: null});
    this.settle();
  }
  /**
   * One more evaluation. As in feed.Thinned: every other row goes when there are too many, and the last one may only
   * stand in.
   */
  append({halve, at, epoch, found}, buffer) {
    for (const list of [this.epochs, this.rows, this.found]) {
      if (halve) list.splice(0, list.length, .../** @type {any[]} */ (list).filter((_, i) => i % 2 === 0));
      list.length = Math.min(list.length, at);
    }
    this.epochs.push(epoch);
    this.rows.push(f32(buffer));
    this.found.push(found);
    this.settle();
  }
}
