// @ts-check
// What one view of the clusters knows: groups, images, pictures, and what a person chose.
import {f32, remember, typed} from "./messages.js";
import {TileStore} from "./tiles.js";

/** @import {ClusterGroup, ClusterState, Model, Texts} from "./protocol" */
/**
 * @typedef {{index: number, cluster: number, second: number, hand: boolean, confidence: number, at: number}} Image
 *   second: the cluster that comes next, -1: none; hand: moved by a person; at: the confidence in the second
 * @typedef {"number" | "size" | "name" | "confidence"} Order
 * @typedef {{sort: Order, page: number, ends: number, open: Map<number, number>}} Choice ends: images shown at either
 *   end; open: the groups of which all images are shown, with the first one
 */

/** @type {Map<string, Choice>} */
const choices = new Map();
/** @type {Map<string, TileStore>} pictures, shared by the views of a widget */
const stores = new Map();

/**
 * What Python says about images.
 * @param {DataView[]} buffers
 * @returns {Image[]}
 */
export function imagesFrom([whole, share]) {
  const numbers = typed(Int32Array, whole);
  const shares = f32(share);
  return Array.from({length: shares.length / 2}, (_, i) => ({
    index: numbers[4 * i],
    cluster: numbers[4 * i + 1],
    second: numbers[4 * i + 2],
    hand: numbers[4 * i + 3] > 0,
    confidence: shares[2 * i],
    at: shares[2 * i + 1],
  }));
}

export const twoDigits = x => x.toFixed(2);

/** How groups can be sorted. @type {Record<Order, (a: ClusterGroup, b: ClusterGroup) => number>} */
const ORDERS = {
  number: () => 0,
  size: (a, b) => b.size - a.size,
  name: (a, b) => Number(!a.name) - Number(!b.name) || a.name.localeCompare(b.name, undefined, {numeric: true}),
  confidence: (a, b) => (a.confidence ?? 2) - (b.confidence ?? 2),
};

const nothingYet = {
  groups: [],
  k: 0,
  n: 0,
  undo: 0,
  redo: 0,
  folder: false,
  features: false,
  files: false,
  damaged: false,
  trouble: "",
};

/** What all parts of one view share. */
export class ClustersView {
  id = Math.random().toString(36).slice(2);
  token = -1;
  /** @type {Pick<ClusterState, keyof typeof nothingYet>} */
  state = nothingYet;
  /** @type {Map<number, string>} names of clusters; one that was merged is called like the whole */
  names = new Map();
  /** @type {Set<number>} groups */
  ticked = new Set();
  /** @type {Map<number, Image>} by index */
  selected = new Map();
  /** @type {Set<number>} pictures to ask for */
  wanted = new Set();
  asking = 0;
  /** Show an image in words. @type {(image: Image) => void} */
  point = () => {};
  /** Bring ticks, selection and pictures up to date. */
  paint = () => {};

  /**
   * @param {Model<"clusters">} model
   * @param {Element} root
   * @param {Texts} t
   */
  constructor(model, root, t) {
    this.model = model;
    this.root = root;
    this.t = t;
    this.store = remember(stores, model, () => new TileStore());
    const ends = model.get("per_cluster");
    this.chosen = remember(choices, model, () => ({sort: "number", page: 0, ends, open: new Map()}));
  }

  send(kind, content = {}) {
    this.model.send({kind, view: this.id, ...content});
  }
  group(id) {
    return this.state.groups.find(group => group.id === id);
  }
  label(id) {
    return this.names.get(id) || this.t(id < this.state.k ? "cluster_n" : "new_n", {k: id});
  }

  /** @param {ClusterState} state */
  take(state) {
    this.state = state;
    this.names = new Map(state.groups.flatMap(group => group.parts.map(part => [part, group.name])));
    if (this.token !== state.token) this.selected.clear();
    this.token = state.token;
    this.store.begin(state.token);
    for (const id of this.ticked) if (!this.group(id)) this.ticked.delete(id);
  }
  sorted() {
    const order = ORDERS[this.chosen.sort];
    return [...this.state.groups].sort((a, b) => order(a, b) || a.id - b.id);
  }

  /** @param {Image} image */
  words({index, cluster, second, hand, confidence, at}) {
    const {t} = this;
    const file = this.store.tiles.get(index)?.file;
    const then = second >= 0 ? t("then", {name: this.label(second), confidence: twoDigits(at)}) : "";
    return t("image_is", {
      index,
      file: file ? ` (${file})` : "",
      name: this.label(cluster),
      confidence: twoDigits(confidence),
      second: then,
      hand: hand ? t("hand") : "",
    });
  }

  /** A picture that is not here yet is asked for, together with others, once the view can be seen. */
  want(index) {
    if (this.store.asked.has(index)) return;
    this.wanted.add(index);
    this.asking ||= requestAnimationFrame(() => this.ask());
  }
  ask() {
    this.asking = 0;
    if (!this.root.isConnected || !this.root.getClientRects().length) return; // in a hidden tab: asked when it is seen
    const images = [...this.wanted].filter(index => !this.store.asked.has(index));
    this.wanted.clear();
    for (let i = 0; i < images.length; i += 256) this.model.send({kind: "tiles", images: images.slice(i, i + 256)});
    for (const index of images) this.store.asked.add(index);
  }
}
