// @ts-check
// Maps over images, in columns by run and kind, and the place that is marked in all of them.
import {cellAt, mapOf, shortNumber} from "./attention_film.js";
import {pen, raster} from "./canvas.js";
import {ARROWS, arrange, clamp, h} from "./dom.js";

/** @import {AttentionMap, Frame, Picture, Run} from "./attention_film.js" */
/** @import {Texts} from "./protocol" */
/**
 * @typedef {{side: number, kind: string, run: Run, frame: Frame}} Column
 * @typedef {{x: number, y: number}} Place shares of width and height
 * @typedef {{state: any, t: Texts, colors: Uint8Array}} Shared state: what a person chose; colors: 256 times RGB
 * @typedef {{indices: number[], pictures: Map<number, Picture>, comparing: boolean}} Shown
 */

const SIDE = 256; // pixels of the drawing of one map; the page scales it

/** The size of a drawing: its longer side has SIDE pixels. */
function fitted({width, height}) {
  const larger = Math.max(width, height);
  return {width: Math.round((SIDE * width) / larger), height: Math.round((SIDE * height) / larger)};
}

/**
 * Draw an image, a map over it, and a mark at a place.
 * @param {HTMLCanvasElement} canvas
 * @param {Picture | undefined} picture
 * @param {AttentionMap | null} map
 * @param {{scale?: number[], strength?: number, smooth?: boolean, place?: Place | null, colors?: Uint8Array}} options
 */
export function drawMap(canvas, picture, map, {scale = [0, 1], strength = 1, smooth = false, place, colors} = {}) {
  const shape = picture?.grey ?? map ?? {width: 1, height: 1};
  const {width, height} = fitted(shape);
  const context = pen(canvas);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  context.globalAlpha = 1;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = Math.max(shape.width, shape.height) > 64;
  if (picture) context.drawImage(map ? picture.grey : picture.color, 0, 0, width, height);
  if (!map || !colors || Number.isNaN(map.low)) return;
  context.imageSmoothingEnabled = smooth;
  context.globalAlpha = strength;
  context.drawImage(paint(map, scale, colors), 0, 0, width, height);
  if (place) markCell(context, map, place, width, height);
}

/** A map as a small picture, one pixel per cell, in the colours of the scale from `low` to `high`. */
function paint(map, scale, colors) {
  const [low, high] = scale;
  return raster(map.width, map.height, i => {
    const at = 3 * Math.round(255 * clamp((map.value(i) - low) / (high - low) || 0, 0, 1));
    return colors.subarray(at, at + 3);
  });
}

/**
 * A frame around the cell at a place, and its value in the corner farther off. Dark and light lines: seen on any
 * colour.
 */
function markCell(context, map, place, width, height) {
  const {row, column, i} = cellAt(map, place);
  const [wide, tall] = [width / map.width, height / map.height];
  const rims = /** @type {[string, number][]} */ (Object.entries({"#000": 8, "#fff": 4}));
  context.globalAlpha = 1;
  for (const [strokeStyle, lineWidth] of rims) {
    Object.assign(context, {strokeStyle, lineWidth});
    context.strokeRect(column * wide + 2, row * tall + 2, Math.max(2, wide - 4), Math.max(2, tall - 4));
  }
  const text = shortNumber(map.value(i));
  context.font = "bold 34px sans-serif";
  const long = context.measureText(text).width + 12;
  const [x, y] = [place.x < 0.5 ? width - long : 0, place.y < 0.5 ? height - 42 : 0];
  context.fillStyle = "rgba(0, 0, 0, 0.75)";
  context.fillRect(x, y, long, 42);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 22);
}

/** "this run · with CBAM" */
function runLabel(run, side, t) {
  const keys = {true: "with", false: "without", channel: "half_channel", spatial: "half_spatial"};
  const key = keys[String(run.about.attention)];
  return t(side ? "other_run" : "this_run") + (key ? ` · ${t(key)}` : "");
}

/** The colours with their ends. */
function colorBar(colors) {
  const bar = raster(256, 1, i => colors.subarray(3 * i, 3 * i + 3));
  bar.setAttribute("aria-hidden", "true");
  const [low, high] = [h("span", {}), h("span", {})];
  return {node: h("div", {class: "dcacn-attention-scale"}, low, bar, high), low, high};
}

/** One image of a column: {figure, canvas, words}. */
function imageFigure(index, point) {
  const canvas = h("canvas", {role: "img"});
  const words = h("figcaption", {});
  const where = event => {
    const box = canvas.getBoundingClientRect();
    point({x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height});
  };
  canvas.addEventListener("pointermove", where);
  canvas.addEventListener("pointerdown", where);
  canvas.addEventListener("pointerleave", () => point(null));
  return {figure: h("figure", {"data-image": index}, canvas, words), canvas, words};
}

/**
 * The maps of one run and one kind: heading, colours, one drawing per image.
 * @param {Shared} shared
 * @param {(place: Place | null) => void} point
 */
function mapColumn({state, t, colors}, point) {
  const title = h("h4", {});
  const sub = h("span", {class: "dcacn-note"});
  const bar = colorBar(colors);
  const cells = h("div", {class: "dcacn-attention-cells"});
  const head = h("div", {class: "dcacn-attention-head"}, title, sub);
  const node = h("div", {class: "dcacn-attention-part", role: "group"}, head, bar.node, cells);
  /** @type {Map<number, ReturnType<typeof imageFigure>>} by index of the image */
  const figures = new Map();
  const fill = ({canvas, words}, index, {kind, frame}, pictures, shared) => {
    const {block, stretch, strength, smooth, place} = state;
    const map = mapOf(frame, kind, block, index);
    const scale = map && stretch ? [map.low, map.high] : shared;
    drawMap(canvas, pictures.get(index), map, {scale, strength, smooth, place, colors});
    const ends = map && {low: shortNumber(map.low), high: shortNumber(map.high)};
    words.textContent = ends ? t("range", ends) : t("not_mapped");
    const about = {kind: t(kind), index, block, epoch: frame.epoch, ...ends};
    canvas.setAttribute("aria-label", ends ? t("map_label", about) : t("not_mapped"));
  };
  return {
    node,
    /** @type {(column: Column, shown: Shown) => void} */
    update(column, {indices, pictures, comparing}) {
      const {side, kind, run, frame} = column;
      const parts = [comparing ? runLabel(run, side, t) : null, t("epoch_n", {epoch: frame.epoch})];
      title.textContent = t(kind);
      sub.textContent = parts.filter(Boolean).join(" · ");
      node.setAttribute("aria-label", `${title.textContent}, ${sub.textContent}`);
      const shared = kind === "spatial" ? [0, 1] : [0, run.most(kind, state.block)];
      const highest = kind === "spatial" ? "1" : shortNumber(shared[1]);
      bar.low.textContent = state.stretch ? t("lowest") : "0";
      bar.high.textContent = state.stretch ? t("highest") : highest;
      cells.style.setProperty("--n", String(Math.max(1, indices.length)));
      const figureOf = index => keep(figures, index, () => imageFigure(index, point));
      prune(figures, indices, ({figure}) => figure.remove());
      arrange(
        cells,
        indices.map(index => figureOf(index).figure),
      );
      for (const index of indices) fill(figureOf(index), index, column, pictures, shared);
    },
  };
}

/** The value of a key, made if it is not there. */
function keep(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

/** Drop what is not among the keys wanted. */
function prune(map, wanted, drop) {
  for (const [key, value] of map) {
    if (wanted.includes(key)) continue;
    drop(value);
    map.delete(key);
  }
}

/** What the marked place says: "row 2 of 4, column 3 of 4 · attention 0.52, 0.61". */
function placeText({state, t}, grid, columns, indices) {
  const cell = cellAt(grid, state.place);
  const two = columns.some(column => column.side);
  const value = ({kind, frame}, index) => {
    const map = mapOf(frame, kind, state.block, index);
    return map ? shortNumber(map.value(cellAt(map, state.place).i)) : "–";
  };
  const values = columns.map(column => {
    const run = two ? `${t(column.side ? "other_run" : "this_run")}, ` : "";
    return `${run}${t(column.kind)} ${indices.map(index => value(column, index)).join(", ")}`;
  });
  const where = {row: cell.row + 1, rows: grid.height, column: cell.column + 1, columns: grid.width};
  return [t("place", where), ...values].join(" · ");
}

/**
 * All columns, and the place that is marked in all of them.
 * @param {Shared} shared
 * @param {() => void} redraw
 */
export function mapGrid(shared, redraw) {
  const {state, t} = shared;
  const attributes = {class: "dcacn-columns dcacn-attention-maps", tabindex: 0, role: "group"};
  const node = h("div", {...attributes, "aria-label": t("maps_label")});
  const reading = h("p", {class: "dcacn-note dcacn-attention-reading", role: "status"});
  const scale = h("p", {class: "dcacn-note"});
  const parts = new Map();
  /** @type {AttentionMap | null} whose cells the arrow keys go through */
  let grid = null;
  const point = place => {
    state.place = place;
    redraw();
  };
  node.addEventListener("keydown", event => {
    if (event.key === "Escape") point(null);
    if (!(event.key in ARROWS) || !grid) return;
    event.preventDefault();
    point(nextPlace(grid, state.place, ARROWS[event.key]));
  });
  return {
    node: h("div", {}, node, h("div", {class: "dcacn-attention-words"}, scale, reading)),
    /** @type {(columns: Column[], shown: Shown) => void} */
    update(columns, shown) {
      const {indices} = shown;
      const names = columns.map(({side, kind}) => `${side}${kind}`);
      const partOf = name => keep(parts, name, () => mapColumn(shared, point));
      node.style.setProperty("--n", String(Math.max(1, columns.length)));
      prune(parts, names, part => part.node.remove());
      arrange(
        node,
        names.map(name => partOf(name).node),
      );
      columns.forEach((column, i) => partOf(names[i]).update(column, shown));
      const [first] = columns;
      grid = first && indices.length ? mapOf(first.frame, first.kind, state.block, indices[0]) : null;
      scale.textContent = t(state.stretch ? "own_scale" : "same_scale");
      reading.textContent = state.place && grid ? placeText(shared, grid, columns, indices) : t("maps_hint");
    },
  };
}

/** The middle of the cell to which an arrow key leads; the first one leads to the middle of the map. */
function nextPlace(grid, place, [dx, dy]) {
  const middle = {row: Math.floor(grid.height / 2) - dy, column: Math.floor(grid.width / 2) - dx};
  const {row, column} = place ? cellAt(grid, place) : middle;
  const inside = (i, n) => (clamp(i, 0, n - 1) + 0.5) / n;
  return {x: inside(column + dx, grid.width), y: inside(row + dy, grid.height)};
}
