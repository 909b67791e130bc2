// @ts-check
// Pictures that are asked for when they are shown: a set may have a hundred thousand.
import {pen} from "./canvas.js";
import {bitmap} from "./messages.js";

/** @import {Tiles} from "./protocol" */
/**
 * @typedef {{images: number[], picture: ImageBitmap | null, ready: Promise<void>}} Sheet
 * @typedef {{sheet: Sheet, x: number, y: number, width: number, height: number, file: string | undefined}} Tile
 */

const TILES_KEPT = 4000;

/** Pictures by index of the image, in the sheets in which they came; the oldest sheets go first. */
export class TileStore {
  token = -1;
  /** @type {Sheet[]} */
  sheets = [];
  /** @type {Map<number, Tile>} */
  tiles = new Map();
  /** @type {Set<number>} */
  asked = new Set();
  total = 0;

  /** Pictures belong to the images of one run. */
  begin(token) {
    if (token === this.token) return;
    for (const sheet of this.sheets) this.close(sheet);
    Object.assign(this, {token, sheets: [], tiles: new Map(), asked: new Set(), total: 0});
  }

  /**
   * Views share the pictures: the first to hear of a sheet takes it, the others wait until it can be drawn.
   * @param {Tiles} content
   * @param {DataView} buffer
   */
  async take(content, buffer) {
    const {token, images} = content;
    if (token !== this.token) return;
    if (images.some(index => !this.tiles.has(index))) this.add(content, buffer);
    await Promise.all(images.map(index => this.tiles.get(index)?.sheet.ready));
  }

  /**
   * @param {Tiles} content
   * @param {DataView} buffer
   */
  add({images, files, layout: {width, height, columns}}, buffer) {
    /** @type {Sheet} */
    const sheet = {images, picture: null, ready: Promise.resolve()};
    sheet.ready = bitmap(buffer).then(picture => {
      sheet.picture = picture;
    });
    images.forEach((index, i) => {
      const place = {x: (i % columns) * width, y: Math.floor(i / columns) * height};
      this.tiles.set(index, {sheet, ...place, width, height, file: files?.[i]});
    });
    this.sheets.push(sheet);
    this.total += images.length;
    while (this.total > TILES_KEPT && this.sheets.length > 1) this.drop(this.sheets[0]);
  }

  /** @param {Sheet} sheet */
  drop(sheet) {
    this.sheets.splice(this.sheets.indexOf(sheet), 1);
    for (const index of sheet.images) {
      if (this.tiles.get(index)?.sheet !== sheet) continue;
      this.tiles.delete(index);
      this.asked.delete(index);
    }
    this.total -= sheet.images.length;
    this.close(sheet);
  }

  /** @param {Sheet} sheet */
  close(sheet) {
    sheet.ready.then(() => sheet.picture?.close());
  }

  /** Draw a picture; whether it is here. */
  draw(index, canvas) {
    const tile = this.tiles.get(index);
    if (!tile?.sheet.picture) return false;
    const {x, y, width, height} = tile;
    Object.assign(canvas, {width, height});
    pen(canvas).drawImage(tile.sheet.picture, x, y, width, height, 0, 0, width, height);
    canvas.classList.toggle("dcacn-clusters-coarse", width < 40);
    return true;
  }
}
