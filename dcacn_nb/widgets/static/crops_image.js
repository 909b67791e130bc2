// @ts-check
// The image with the boxes of its crops, and the crops themselves at one scale.
import {pen, plot, spot} from "./canvas.js";
import {ARROWS, h} from "./dom.js";
import {colorOf, inkOn} from "./palette.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Crop, CropImage, Texts} from "./protocol" */
/**
 * @typedef {{unit: number, x: number, y: number}} Place where the image is on its canvas; unit: screen pixels per pixel
 * @typedef {{picture: ImageBitmap | null, about: CropImage | null, crops: Crop[], steps: string[], place: Place |
 *   null, seed: number}} State
 * @typedef {ReturnType<typeof cropFocus>} Focus
 */

/**
 * Which crop is in focus: the one pointed at, else the one kept by a click; -1: none. Everything that shows it
 * watches.
 */
export function cropFocus() {
  let pointed = -1;
  let kept = -1;
  /** @type {((at: number, kept: number) => void)[]} */
  const watchers = [];
  const notify = () => watchers.forEach(watcher => watcher(focus.at, kept));
  const focus = {
    get at() {
      return pointed >= 0 ? pointed : kept;
    },
    get kept() {
      return kept;
    },
    /** @param {(at: number, kept: number) => void} watcher */
    watch(watcher) {
      watchers.push(watcher);
    },
    point(i) {
      if (i === pointed) return;
      pointed = i;
      notify();
    },
    keep(i) {
      kept = i === kept ? -1 : i;
      notify();
    },
    limit(n) {
      if (pointed >= n) pointed = -1;
      if (kept >= n) kept = -1;
      notify();
    },
  };
  return focus;
}

// ---- the image and its boxes
/** The number of a crop on the upper edge of its box; boxes with a common corner must not hide one another's. */
function drawNumber(context, i, x, y) {
  const size = 15;
  context.fillStyle = colorOf(i);
  context.fillRect(x - size / 2, y - size / 2, size, size);
  context.fillStyle = inkOn(colorOf(i));
  context.font = `bold 11px ${getComputedStyle(context.canvas).fontFamily}`;
  Object.assign(context, {textAlign: "center", textBaseline: "middle"});
  context.fillText(i + 1, x, y + 0.5);
}

function drawBox(context, {unit, x, y}, crop, i, n, bold) {
  const [top, left, tall, wide] = crop.box;
  const box = [x + left * unit, y + top * unit, wide * unit, tall * unit];
  context.setLineDash([]);
  // A dark seam keeps the line visible on any image.
  Object.assign(context, {strokeStyle: "rgba(0, 0, 0, .65)", lineWidth: bold ? 6 : 4});
  context.strokeRect(...box);
  context.setLineDash(crop.global ? [] : [6, 4]);
  Object.assign(context, {strokeStyle: colorOf(i), lineWidth: bold ? 4 : 2});
  context.strokeRect(...box);
  context.setLineDash([]);
  drawNumber(context, i, box[0] + (box[2] * (i + 0.5)) / n, box[1]);
}

/**
 * The image, all boxes, and around the crop in focus a shadow over what it does not show.
 * @param {State} state
 */
function drawBoxes(context, width, height, state, at) {
  const {about, picture, crops} = state;
  if (!picture || !about || !crops.length) return;
  const edge = 9; // room for the numbers at the upper edge
  const unit = Math.min((width - 2 * edge) / about.width, (height - 2 * edge) / about.height);
  const [wide, tall] = [about.width * unit, about.height * unit];
  const place = {unit, x: (width - wide) / 2, y: edge};
  state.place = place;
  context.imageSmoothingEnabled = wide < picture.width;
  context.drawImage(picture, place.x, place.y, wide, tall);
  context.globalAlpha = at >= 0 ? 0.35 : 1;
  crops.forEach((crop, i) => i !== at && drawBox(context, place, crop, i, crops.length, false));
  context.globalAlpha = 1;
  if (at < 0 || !crops[at]) return;
  const [top, left, boxTall, boxWide] = crops[at].box;
  context.beginPath();
  context.rect(place.x, place.y, wide, tall);
  context.rect(place.x + left * unit, place.y + top * unit, boxWide * unit, boxTall * unit);
  context.fillStyle = "rgba(0, 0, 0, .55)";
  context.fill("evenodd");
  drawBox(context, place, crops[at], at, crops.length, true);
}

/**
 * The smallest box around a point: a large one holds many small ones.
 * @param {State} state
 * @param {[number, number]} spot
 */
function cropUnder({place, crops}, [x, y]) {
  if (!place) return -1;
  const column = (x - place.x) / place.unit;
  const row = (y - place.y) / place.unit;
  const area = i => (i < 0 ? Infinity : crops[i].box[2] * crops[i].box[3]);
  return crops.reduce((best, {box: [top, left, tall, wide]}, i) => {
    const inside = row >= top && row <= top + tall && column >= left && column <= left + wide;
    return inside && area(i) < area(best) ? i : best;
  }, -1);
}

/**
 * @param {Texts} t
 * @param {Cleanup} stop
 * @param {State} state
 * @param {Focus} focus
 */
export function imageView(t, stop, state, focus) {
  const attributes = {tabindex: 0, class: "dcacn-canvas dcacn-crops-image"};
  const draw = (context, width, height) => drawBoxes(context, width, height, state, focus.at);
  const view = plot({height: 300, label: t("boxes"), stop, attributes, draw});
  const {node} = view;
  const under = event => cropUnder(state, spot(event, node));
  const walk = by => {
    const n = state.crops.length;
    const from = by > 0 ? -1 : 0; // where a walk begins if no crop is in focus
    if (n) focus.point(((focus.at < 0 ? from : focus.at) + by + n) % n);
  };
  const letGo = () => {
    focus.point(-1);
    if (focus.kept >= 0) focus.keep(focus.kept);
  };
  node.addEventListener("pointermove", event => focus.point(under(event)));
  node.addEventListener("pointerleave", () => focus.point(-1));
  node.addEventListener("blur", () => focus.point(-1));
  node.addEventListener("click", event => under(event) >= 0 && focus.keep(under(event)));
  node.addEventListener("keydown", event => {
    if (event.key in ARROWS) walk(ARROWS[event.key][0] + ARROWS[event.key][1]);
    else if (event.key === "Enter" && focus.at >= 0) focus.keep(focus.at);
    else if (event.key === "Escape") letGo();
    else return;
    event.preventDefault();
  });
  focus.watch(view.redraw);
  return view;
}

// ---- the crops
/**
 * One crop, as a button that keeps it in focus.
 * @param {number} i
 * @param {Focus} focus
 */
function cropTile(i, focus) {
  const canvas = h("canvas", {class: "dcacn-crop-pixels"});
  const name = h("span", {class: "dcacn-crop-name"});
  const caption = h("span", {class: "dcacn-crop-caption"});
  const hands = {
    onclick: () => focus.keep(i),
    onpointerenter: () => focus.point(i),
    onpointerleave: () => focus.point(-1),
    onfocus: () => focus.point(i),
    onblur: () => focus.point(-1),
  };
  const attributes = {type: "button", class: "dcacn-crop", "aria-pressed": "false", ...hands};
  const node = h("button", attributes, canvas, name, caption);
  canvas.style.borderColor = colorOf(i);
  return {
    node,
    /** Tile `at` of a sheet with so many columns. */
    fill({global, size, share, caption: words, detail}, sheet, at, columns) {
      canvas.width = canvas.height = size;
      const context = pen(canvas);
      const [left, top] = [(at % columns) * size, Math.floor(at / columns) * size];
      context.imageSmoothingEnabled = false;
      context.drawImage(sheet, left, top, size, size, 0, 0, size, size);
      canvas.style.borderStyle = global ? "solid" : "dashed";
      canvas.style.width = canvas.style.height = `calc(${size}px * var(--dcacn-crop-scale, 1) + 6px)`;
      name.textContent = `${i + 1} · ${size} px · ${share}`;
      caption.textContent = words;
      node.setAttribute("aria-label", detail);
    },
  };
}

/**
 * Screen pixels for a pixel of a crop: a whole number, as large as lets two global crops stand side by side; less than
 * 1 only if not even one fits.
 */
function cropScale(width, size) {
  const fit = Math.min((width - 30) / 2, 240) / size;
  return fit >= 1 ? Math.floor(fit) : Math.min(1, (width - 6) / size);
}

/** At which scale the crops are shown, in words. */
function scaleText(scale, about, t) {
  const crops = scale >= 1 ? t("scale", {n: scale}) : t("shrunk", {n: `${Math.round(100 * scale)} %`});
  if (!about || about.shown[0] >= about.width) return `${crops}.`;
  return `${crops}. ${t("image_shrunk", {width: about.shown[0], height: about.shown[1]})}.`;
}

/**
 * All crops, the global ones above.
 * @param {Texts} t
 * @param {Cleanup} stop
 * @param {State} state
 * @param {Focus} focus
 */
export function cropTiles(t, stop, state, focus) {
  const rows = ["global_crops", "local_crops"].map(key => ({
    title: h("p", {class: "dcacn-crops-kind"}, t(key)),
    row: h("div", {class: "dcacn-crops-row"}),
  }));
  const note = h("p", {class: "dcacn-note"});
  const titled = rows.flatMap(({title, row}) => [title, row]);
  const node = h("div", {class: "dcacn-crops-tiles"}, titled, note);
  /** @type {ReturnType<typeof cropTile>[]} */
  const tiles = [];
  const fit = () => {
    const size = state.crops[0]?.size;
    if (!size || !node.clientWidth) return;
    const scale = cropScale(node.clientWidth, size);
    node.style.setProperty("--dcacn-crop-scale", String(scale));
    note.textContent = scaleText(scale, state.about, t);
  };
  const observer = new ResizeObserver(fit);
  observer.observe(node);
  stop.add(() => observer.disconnect());
  focus.watch((at, kept) => {
    tiles.forEach(({node: tile}, i) => {
      tile.classList.toggle("dcacn-crop-lit", i === at);
      tile.classList.toggle("dcacn-crop-dim", at >= 0 && i !== at);
      tile.setAttribute("aria-pressed", String(i === kept));
    });
  });
  return {
    node,
    fill(sheets, columns) {
      const globals = state.crops.filter(crop => crop.global).length;
      for (const {node: spare} of tiles.splice(state.crops.length)) spare.remove();
      state.crops.forEach((crop, i) => {
        const kind = crop.global ? 0 : 1;
        if (!tiles[i]) {
          tiles[i] = cropTile(i, focus);
          rows[kind].row.append(tiles[i].node);
        }
        tiles[i].fill(crop, sheets[kind], crop.global ? i : i - globals, columns[kind]);
      });
      rows[1].title.textContent = t(state.crops.length > globals ? "local_crops" : "no_local");
      fit();
    },
  };
}
