// @ts-check
// The four pictures of the clusters' health, each a canvas that pointer and arrow keys can read, with a line that says
// what is pointed at.
import {line, plot, spot} from "./canvas.js";
import {ARROWS, clamp, h, uniqueId} from "./dom.js";
import {labelStep, ticks} from "./numbers.js";
import {RED} from "./palette.js";
import {drawBar, drawCursor, drawEmpty, drawEmptyCount, drawEpochs, drawFigure, drawLegend} from "./health_draw.js";
import {drawNumbers, drawRing, drawRules, drawShades} from "./health_draw.js";
import {epochAxis, fixed, percent, shadeImage, write, writeInstead} from "./health_draw.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Axis} from "./health_draw.js" */
/** @import {State} from "./health_state.js" */
/**
 * @typedef {{s: State, stop: Cleanup, changed: () => void}} Shared
 * @typedef {{node: HTMLElement, redraw: () => void}} Panel
 */

const MOST = 3; // the heat map ends at three even shares: a collapse must not hide all else
const moveBy = (value, by, n) => clamp((value ?? (by > 0 ? -1 : n)) + by, 0, n - 1);

/**
 * @param {{title: () => string, height: number, draw: any, point: (x: number | null, y?: number) => void, press?: (x:
 *   number, y: number) => void, arrow: (across: number, down: number) => void, say: () => string, key: () => string,
 *   stop: Cleanup}} options
 * @returns {Panel}
 */
function makePanel({title, height, draw, point, press, arrow, say, key, stop}) {
  const id = uniqueId("health");
  const head = h("h3", {}, title());
  const reading = h("p", {class: "dcacn-health-reading", id});
  const about = h("p", {class: "dcacn-note dcacn-health-key"});
  const view = plot({height, label: title(), draw, stop, attributes: {tabindex: 0, "aria-describedby": id}});
  const {node} = view;
  node.addEventListener("pointermove", event => point(...spot(event, node)));
  node.addEventListener("pointerdown", event => point(...spot(event, node)));
  node.addEventListener("pointerleave", () => point(null));
  node.addEventListener("click", event => press?.(...spot(event, node)));
  node.addEventListener("keydown", event => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    const [across, down] = ARROWS[event.key];
    arrow(across, down);
  });
  node.addEventListener("focus", () => reading.setAttribute("aria-live", "polite"));
  node.addEventListener("blur", () => {
    reading.removeAttribute("aria-live");
    point(null);
  });
  const redraw = () => {
    head.textContent = title();
    reading.textContent = say();
    about.textContent = key();
    view.redraw();
  };
  return {node: h("section", {class: "dcacn-health-panel"}, head, node, reading, about), redraw};
}

// ---- how large each cluster is
/** What the bars say: of the cluster pointed at, or of the smallest and the largest. */
function massText(s) {
  const {t, at, k, cluster} = s;
  if (at < 0 || !k) return "";
  if (cluster !== null) {
    const [mass, share] = [s.mass(at, cluster), s.share(at, cluster)];
    const times = fixed(mass * k);
    const said = t("bar_says", {name: s.name(cluster), mass: percent(mass), share: percent(share), times});
    return said + sizeText(s, at, cluster);
  }
  const known = Array.from({length: k}, (_, i) => i).filter(i => Number.isFinite(s.mass(at, i)));
  const order = known.sort((a, b) => s.mass(at, a) - s.mass(at, b));
  if (!order.length) return t("unknown_masses");
  const [least, largest] = [order[0], order[order.length - 1]];
  return t("bars_say", {
    low: percent(s.mass(at, least)),
    least: s.name(least),
    high: percent(s.mass(at, largest)),
    largest: s.name(largest),
    even: percent(1 / k),
  });
}

const sizeText = (s, i, k) => (s.sizeOf(i, k) ? s.t(`is_${s.sizeOf(i, k)}`) : "");

/**
 * Bars at the epoch shown.
 * @param {Shared} shared
 */
export function massPanel({s, stop, changed}) {
  const {t} = s;
  const left = 46;
  let pitch = 1;
  const draw = (c, width, height, colors) => {
    if (s.at < 0 || !s.k) return writeInstead(c, colors, t("nothing"), width, height);
    const [right, low, high] = [width - 30, height - 34, 18];
    const most = Math.max(2 / s.k, ...Array.from({length: 2 * s.k}, (_, j) => s.rows[s.at][j] || 0)) * 1.05;
    const y = v => low - (v / most) * (low - high);
    pitch = (right - left) / s.k;
    drawRules(c, colors, ticks(0, most, 4), percent, y, left, right);
    for (let k = 0; k < s.k; k++) drawBar(c, colors, s, k, {x: left + k * pitch, pitch, y, low});
    c.strokeStyle = colors.ink;
    c.setLineDash([6, 4]);
    line(c, left, y(1 / s.k), right, y(1 / s.k));
    c.setLineDash([]);
    write(c, colors, "1/K", right + 4, y(1 / s.k), {fillStyle: colors.ink});
    drawNumbers(c, colors, s, {left, right, pitch, low});
    write(c, colors, t("cluster"), (left + right) / 2, height - 6, {textAlign: "center"});
  };
  const point = x => {
    s.cluster = x === null || x < left || x >= left + pitch * s.k ? null : Math.floor((x - left) / pitch);
    changed();
  };
  const arrow = (across, down) => {
    if (!s.k) return;
    s.cluster = moveBy(s.cluster, across - down, s.k);
    changed();
  };
  const [title, say, key] = [() => t("masses"), () => massText(s), () => t("bars_key")];
  return makePanel({title, height: 240, draw, point, arrow, say, key, stop});
}

// ---- clusters over the epochs
/** What the heat map says: of the cell pointed at, or how many clusters are empty. */
function timeText(s, cell) {
  const {t} = s;
  if (s.at < 0 || !s.k) return "";
  const [i, k] = cell ?? [s.at, s.cluster];
  if (k === null || i >= s.rows.length) {
    const empty = Number.isFinite(s.empty(s.at)) ? s.empty(s.at) : "–";
    return t("time_says", {n: s.rows.length, empty, epoch: s.epochs[s.at]});
  }
  const mass = s.mass(i, k);
  const said = {epoch: s.epochs[i], name: s.name(k), times: fixed(mass * s.k), mass: percent(mass)};
  return t("cell_says", said) + sizeText(s, i, k);
}

/** The heat map with its axes; returns the axis of epochs. */
function drawTime(c, colors, s, image, box) {
  const {left, right, top, low, tall} = box;
  const axis = epochAxis(s, left, right);
  c.imageSmoothingEnabled = false;
  for (let i = 0; i < s.rows.length; i++) {
    const wide = axis.edge(i + 1) - axis.edge(i) + 0.5;
    c.drawImage(image, i, 0, 1, s.k, axis.edge(i), top, wide, low - top);
  }
  drawEmpty(c, s, axis, top, tall);
  const step = labelStep(s.k, low - top, 15);
  for (let k = 0; k < s.k; k += step) {
    write(c, colors, String(k), left - 6, top + (k + 0.5) * tall, {textAlign: "right"});
  }
  if (s.cluster !== null) {
    Object.assign(c, {strokeStyle: RED, lineWidth: 2});
    c.strokeRect(left, top + s.cluster * tall - 1, right - left, Math.max(3, tall) + 1);
  }
  drawEpochs(c, colors, s, axis, left, right, low);
  drawCursor(c, colors, axis.x(s.epochs[s.at]), top - 2, low + 3);
  drawShades(c, colors, right + 10, top, low, [0, 1, 2, MOST], v => (v === MOST ? `≥${v}` : String(v)));
  return axis;
}

/**
 * The masses of all clusters over the epochs, as a heat map.
 * @param {Shared} shared
 */
export function timePanel({s, stop, changed}) {
  const {t} = s;
  /** @type {Axis | null} */
  let axis = null;
  let box = {left: 34, right: 0, top: 12, low: 0, tall: 1};
  let image = null;
  let drawn = -1; // the version of the rows in the image
  /** @type {[number, number] | null} */
  let cell = null;
  const draw = (c, width, height, colors) => {
    if (s.at < 0 || !s.k) return writeInstead(c, colors, t("nothing"), width, height);
    const low = height - 34;
    box = {...box, right: width - 46, low, tall: (low - box.top) / s.k};
    if (drawn !== s.version) image = shadeImage(s.rows.length, s.k, (i, k) => s.mass(i, k) * s.k, MOST);
    drawn = s.version;
    axis = drawTime(c, colors, s, image, box);
  };
  const point = (x, y) => {
    const row = Math.floor((y - box.top) / box.tall);
    cell = axis?.inside(x) && row >= 0 && row < s.k ? [axis.at(x), row] : null;
    s.cluster = cell ? row : null;
    changed();
  };
  const press = x => {
    if (!axis?.inside(x)) return;
    s.choose(axis.at(x));
    changed();
  };
  const arrow = (across, down) => {
    cell = null;
    if (down && s.k) s.cluster = moveBy(s.cluster, down, s.k);
    if (across && s.at >= 0) s.choose(moveBy(s.at, across, s.epochs.length));
    changed();
  };
  const [title, say, key] = [() => t("over_time"), () => timeText(s, cell), () => t("time_key")];
  return makePanel({title, height: 240, draw, point, press, arrow, say, key, stop});
}

// ---- figures that need no labels
const isCounted = s => s.rows.some((_, i) => Number.isFinite(s.empty(i)));
const knownFigures = s => {
  const known = f => s.rows.some((_, i) => Number.isFinite(s.figure(i, f)));
  return s.figures.map((name, f) => ({name, f})).filter(({f}) => known(f));
};

/** The figures at an evaluation. */
function figureText(s, i) {
  const {t} = s;
  if (s.at < 0) return "";
  const known = knownFigures(s).filter(({f}) => Number.isFinite(s.figure(i, f)));
  const parts = known.map(({name, f}) => `${t(name)} ${fixed(s.figure(i, f))}`);
  if (Number.isFinite(s.empty(i))) parts.push(t("n_empty", {n: s.empty(i)}));
  return t("figures_say", {epoch: s.epochs[i], values: parts.join(t("comma"))});
}

/** What is good, of the figures that there are. */
function figureKey(s) {
  const {t} = s;
  const good = name => t(name === "assignment_entropy" ? "low" : "high", {name: t(name)});
  const parts = knownFigures(s).map(({name}) => good(name));
  if (isCounted(s)) parts.push(t("none_empty"));
  return parts.length ? t("figures_key", {parts: parts.join(t("comma"))}) : "";
}

/** Lines and, if it is known, the number of empty clusters below them; returns the axis of epochs. */
function drawFigures(c, width, height, colors, s) {
  const figures = knownFigures(s);
  const strip = isCounted(s) ? 46 : 0;
  const [left, right] = [38, width - 10];
  const top = drawLegend(c, colors, s, figures, s.over ?? s.at, width) + 10;
  const low = height - 34 - strip;
  const y = v => low - v * (low - top);
  const axis = epochAxis(s, left, right);
  drawRules(c, colors, low - top > 90 ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1], String, y, left, right);
  const every = Math.max(1, Math.floor(s.rows.length / 10)); // about ten marks
  for (const {f} of figures) {
    const points = s.rows.map((_, i) => [axis.x(s.epochs[i]), y(s.figure(i, f))]);
    drawFigure(c, f, points, every);
  }
  if (strip) drawEmptyCount(c, colors, s, axis, left, right, low + 10, low + strip - 2);
  drawEpochs(c, colors, s, axis, left, right, low + strip);
  if (s.over !== null) {
    const x = axis.x(s.epochs[s.over]);
    Object.assign(c, {strokeStyle: colors.soft, lineWidth: 1});
    line(c, x, top, x, low + strip);
  }
  drawCursor(c, colors, axis.x(s.epochs[s.at]), top - 1, low + strip);
  return axis;
}

/**
 * The figures over the epochs.
 * @param {Shared} shared
 */
export function figurePanel({s, stop, changed}) {
  const {t} = s;
  /** @type {Axis | null} */
  let axis = null;
  const draw = (c, width, height, colors) => {
    if (s.at < 0) return writeInstead(c, colors, t("nothing"), width, height);
    axis = drawFigures(c, width, height, colors, s);
  };
  const point = x => {
    s.over = s.at >= 0 && axis?.inside(x) ? axis.at(x) : null;
    changed();
  };
  const press = x => {
    if (!axis?.inside(x)) return;
    s.choose(axis.at(x));
    changed();
  };
  const arrow = across => {
    if (!across || s.at < 0) return;
    s.over = null;
    s.choose(moveBy(s.at, across, s.epochs.length));
    changed();
  };
  const [title, say, key] = [() => t("figures"), () => figureText(s, s.over ?? s.at), () => figureKey(s)];
  return makePanel({title, height: 300, draw, point, press, arrow, say, key, stop});
}

// ---- which clusters are alike
/** The matrix with its numbers, key and rings; returns where its cells are. */
function drawSimilarity(c, width, height, colors, s, {k, pair}, image) {
  const side = Math.min(width - 80, height - 44);
  const [left, top, size] = [Math.max(34, (width - side - 46) / 2), 6, side / k];
  c.imageSmoothingEnabled = false;
  c.drawImage(image, left, top, side, side);
  const step = labelStep(k, side, 22);
  for (let i = 0; i < k; i += step) {
    write(c, colors, String(i), left - 6, top + (i + 0.5) * size, {textAlign: "right"});
    write(c, colors, String(i), left + (i + 0.5) * size, top + side + 10, {textAlign: "center"});
  }
  write(c, colors, s.t("cluster"), left + side / 2, top + side + 26, {textAlign: "center"});
  drawShades(c, colors, left + side + 10, top, top + side, [0, 0.5, 1], String);
  const [i, j] = s.pair ?? pair;
  drawRing(c, left + j * size, top + i * size, size);
  drawRing(c, left + i * size, top + j * size, size);
  return {left, top, size, k};
}

/**
 * How alike the clusters are in the last snapshot, as a matrix.
 * @param {Shared} shared
 */
export function similarityPanel({s, stop, changed}) {
  const {t} = s;
  let box = null;
  let image = null;
  let drawn = null; // the one in the image
  const draw = (c, width, height, colors) => {
    const known = s.similarity();
    box = null;
    if (!known) return writeInstead(c, colors, t(s.snapshot() === null ? "no_snapshot" : "asked"), width, height);
    if (drawn !== known) image = shadeImage(known.k, known.k, (x, y) => known.values[y * known.k + x], 1);
    drawn = known;
    box = drawSimilarity(c, width, height, colors, s, known, image);
  };
  const say = () => {
    const known = s.similarity();
    if (!known) return "";
    const [i, j] = s.pair ?? known.pair;
    const names = {first: s.name(i), second: s.name(j)};
    return t(s.pair ? "pair_says" : "similarity_says", {...names, similarity: fixed(known.values[i * known.k + j])});
  };
  const point = (x, y) => {
    const [j, i] = box && x !== null ? [x - box.left, y - box.top].map(v => Math.floor(v / box.size)) : [-1, -1];
    s.pair = box && Math.min(i, j) >= 0 && Math.max(i, j) < box.k ? [i, j] : null;
    s.cluster = s.pair ? i : null;
    changed();
  };
  const arrow = (across, down) => {
    const known = s.similarity();
    if (!known) return;
    const [i, j] = s.pair ?? known.pair;
    s.pair = [clamp(i + down, 0, known.k - 1), clamp(j + across, 0, known.k - 1)];
    s.cluster = s.pair[0];
    changed();
  };
  const title = () => (s.snapshot() === null ? t("similarity") : t("similarity_at", {epoch: s.snapshot()}));
  return makePanel({title, height: 300, draw, point, arrow, say, key: () => t("similarity_key"), stop});
}
