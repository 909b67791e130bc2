// MapViewer: maps of the same images, snapshot after snapshot. Points are stamped into one pixel buffer (a thousand drawImage calls would be slower),
// and move from map to map. All arrays are typed; a map is 4 bytes a point.

const EMBEDDING_REACH = 12; // pixels from the pointer within which a point is found
const EMBEDDING_GALLERY = 200; // images shown of a selection
const EMBEDDING_PAIRS = COLORS.length * SHAPES.length; // 56 pairs of colour and shape before one comes again
const EMBEDDING_LEVELS = ["#6A4BA3", "#3F6FB0", "#23929A", "#3FA866", "#8FAE2E", "#E0A100"]; // confidence from low (violet, small) to high (yellow, large); all show on light and on dark
const embeddingLevel = confidence => Math.min(EMBEDDING_LEVELS.length - 1, Math.floor(confidence / 256 * EMBEDDING_LEVELS.length));
const embeddingLevelSize = level => 0.65 + 0.13 * level;

// What Python has sent: the sample, and maps by method, in the order of the run.
class EmbeddingFilm {
  constructor() { this.start({n: 0, strides: {}, classes: []}, []); }

  start(content, buffers) {
    this.n = content.n;
    this.strides = content.strides; // point i of a map is row i * stride of the sample
    this.classes = content.classes;
    this.indices = buffers[0] ? new Int32Array(typed(Int32Array, buffers[0])) : new Int32Array(0);
    this.labels = buffers[1] ? typed(Uint16Array, buffers[1]) : null;
    this.rowOf = new Map([...this.indices].map((index, row) => [index, row]));
    this.maps = {tsne: [], pca: []};
    this.looks = new Map(); // frame id -> its clusters and confidences, shared by both methods
    this.state = {waiting: 0, problem: "", names: {}};
  }

  map(content, [xy, cluster, confidence]) {
    const kept = new Set(content.keep), frames = this.maps[content.method].filter(frame => kept.has(frame.id) && frame.id !== content.id);
    this.looks.set(content.id, {cluster: typed(Uint16Array, cluster), confidence: u8(confidence)});
    frames.push({id: content.id, epoch: content.epoch, explained: content.explained, unit: content.scale / 32767, reach: content.scale, xy: typed(Int16Array, xy), ...this.looks.get(content.id)});
    this.maps[content.method] = frames.sort((a, b) => a.id - b.id);
    const used = new Set(Object.values(this.maps).flat().map(frame => frame.id));
    for (const id of this.looks.keys()) if (!used.has(id)) this.looks.delete(id);
  }

  name(k) { return this.state.names[k] ?? null; }
  className(k) { return this.classes[k] ?? String(k); }
}

// Colours as numbers, read from a canvas so that any CSS colour will do.
const embeddingColors = new Map();
function embeddingRGB(color) {
  if (!embeddingColors.has(color)) {
    const canvas = h("canvas", {width: 1, height: 1}), context = canvas.getContext("2d", {willReadFrequently: true});
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    embeddingColors.set(color, [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]);
  }
  return embeddingColors.get(color);
}

// Stamps marks into a pixel buffer. A stamp is made once for each shape, size and quarter of a pixel, so that slow points glide.
class EmbeddingPainter {
  constructor() { this.stamps = new Map(); }

  stamp(shape, radius, quarter, width) {
    const key = `${shape} ${radius} ${quarter} ${width}`;
    if (!this.stamps.has(key)) {
      const half = Math.ceil(radius * 1.4) + 1, side = 2 * half + 1, canvas = h("canvas", {width: side, height: side}), context = canvas.getContext("2d", {willReadFrequently: true});
      mark(context, shape, half + (quarter % 4) / 4, half + Math.floor(quarter / 4) / 4, radius);
      const pixels = context.getImageData(0, 0, side, side).data, places = [], alphas = [];
      for (let i = 0; i < side * side; i++) if (pixels[4 * i + 3]) { places.push((Math.floor(i / side) - half) * width + i % side - half); alphas.push(pixels[4 * i + 3] + 1); }
      this.stamps.set(key, {half, places: Int32Array.from(places), alphas: Uint16Array.from(alphas)});
    }
    return this.stamps.get(key);
  }

  begin(width, height, paper) {
    if (!this.image || this.image.width !== width || this.image.height !== height) {
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.stamps.clear();
    }
    const [r, g, b] = embeddingRGB(paper);
    this.pixels.fill(255 << 24 | b << 16 | g << 8 | r);
  }

  // Points whose state is `wanted`: their places (device pixels), style numbers, and how strongly they cover what is below (0 to 1).
  points(places, styles, states, wanted, table, cover = 1) {
    const {width, height} = this.image, pixels = this.pixels, found = table.map(() => new Array(16));
    for (let i = 0; i < styles.length; i++) {
      if (states[i] !== wanted) continue;
      const x = places[2 * i], y = places[2 * i + 1], left = Math.floor(x), top = Math.floor(y), quarter = Math.floor(4 * (x - left)) + 4 * Math.floor(4 * (y - top));
      const style = table[styles[i]], stamp = found[styles[i]][quarter] ??= this.stamp(style.shape, style.radius, quarter, width), half = stamp.half;
      if (!(left >= half && top >= half && left < width - half && top < height - half)) continue; // NaN fails, too
      const [red, green, blue] = style.rgb, start = top * width + left, {places: steps, alphas} = stamp;
      for (let j = 0; j < steps.length; j++) {
        const at = start + steps[j], below = pixels[at], a = alphas[j] * cover, r = below & 255, g = below >> 8 & 255, b = below >> 16 & 255;
        pixels[at] = 255 << 24 | b + ((blue - b) * a >> 8) << 16 | g + ((green - g) * a >> 8) << 8 | r + ((red - r) * a >> 8);
      }
    }
  }
}

// The marks: 56 pairs of colour and shape for clusters and classes, then the levels of confidence, in which brightness and size go together.
function embeddingTable(radius, extra = 0, ink = null) {
  const rgb = color => embeddingRGB(ink ?? color), round = r => Math.round(4 * r) / 4;
  const pairs = Array.from({length: EMBEDDING_PAIRS}, (_, k) => ({shape: shapeOf(k), rgb: rgb(colorOf(k)), radius: round(radius + extra)}));
  return [...pairs, ...EMBEDDING_LEVELS.map((color, level) => ({shape: "circle", rgb: rgb(color), radius: round(radius * embeddingLevelSize(level) + extra)}))];
}

// Whether a point lies inside a polygon [[x, y], ...] (even-odd rule).
function embeddingInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < (xj - xi) * (y - yi) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

// Which frame is shown and where its points are just now: at rest, on their way to another frame, or playing.
class EmbeddingMotion {
  constructor() { this.clear(); }
  clear() { this.frame = null; this.now = new Float32Array(0); this.from = null; this.playing = null; }

  // Go to a frame: gliding from where the points are, or at once.
  go(frame, glide, time) {
    const size = frame.xy.length, still = this.now.length !== size || !glide;
    this.from = still ? null : this.now.slice();
    if (still) this.now = new Float32Array(size);
    this.frame = frame;
    this.began = this.last = time;
    if (still) this.mix(this.now, 1);
  }

  mix(from, w) { // a share w of the way from there to the frame
    const {xy, unit} = this.frame, now = this.now;
    for (let i = 0; i < now.length; i++) now[i] = from[i] + w * (xy[i] * unit - from[i]);
  }

  // Move on; whether the points still move. In a film they go straight; else they approach the frame, wherever they are, so that one may scrub as fast as one likes.
  step(time) {
    if (this.from === null) return false;
    const passed = time - this.began, end = passed >= (this.playing?.duration ?? 400);
    if (end) this.mix(this.now, 1);
    else if (this.playing) this.mix(this.from, passed / this.playing.duration);
    else this.mix(this.now, 1 - Math.exp((this.last - time) / 70));
    this.last = time;
    if (end) this.from = null;
    return !end;
  }
}

function renderMap({model, root, t, stop}) {
  const film = new EmbeddingFilm(), motion = new EmbeddingMotion(), painter = new EmbeddingPainter();
  const camera = {x: 0, y: 0, zoom: 1}, lit = new Set();
  let sheet = null, follow = true, selected = new Set(), current = -1, drag = null, box = null, screen = new Float32Array(0), styles = new Uint8Array(0), radius = 3, timer = 0, later = 0;

  // ---- what is shown
  const method = () => model.get("method"), frames = () => film.maps[method()], stride = () => film.strides[method()] ?? 1;
  const mode = () => model.get("color_by");
  const clusterWords = k => film.name(k) === null ? t("cluster_n", {k}) : `${t("cluster_n", {k})} (${film.name(k)})`;
  const group = (row, frame = motion.frame) => mode() === "class" ? film.labels?.[row] ?? 0 : (mode() === "last" ? frames().at(-1) : frame).cluster[row];
  const states = () => Uint8Array.from(styles, (_, i) => selected.has(i * stride()) ? 2 : lit.size && mode() !== "confidence" && !lit.has(group(i * stride())) ? 1 : 0);

  function dress() { // the style number of each point
    if (!motion.frame) return;
    const step = stride(), confidence = motion.frame.confidence;
    styles = Uint8Array.from({length: motion.frame.xy.length / 2}, (_, i) => mode() === "confidence" ? EMBEDDING_PAIRS + embeddingLevel(confidence[i * step]) : group(i * step) % EMBEDDING_PAIRS);
  }

  function show(frame, glide = true) {
    const same = motion.frame && frame.id === motion.frame.id && frame.xy === motion.frame.xy;
    if (!same) motion.go(frame, glide && !calm(), performance.now());
    dress();
    tip.hidden = true; // it would stay where the point was
    map.redraw();
    later ||= setTimeout(() => { later = 0; tell(); }, 120); // words need not follow every frame of a film
  }

  function settleFrames() { // after a change of the film or of the method
    const all = frames();
    if (!all.length) { motion.clear(); styles = new Uint8Array(0); map.redraw(); tell(); return; }
    const place = follow || !motion.frame ? all.length - 1 : Math.max(0, all.findLastIndex(frame => frame.id <= motion.frame.id));
    scrubber.set(place, all.length - 1);
    show(all[place]);
  }

  // ---- the map
  const toScreen = (x, y, width, height) => { const unit = camera.unit; return [width / 2 + (x - camera.x) * unit, height / 2 - (y - camera.y) * unit]; };

  function draw(context, width, height, colors) {
    const moving = motion.step(performance.now()), scale = window.devicePixelRatio || 1, n = motion.now.length / 2;
    camera.unit = camera.zoom * Math.min(width, height) / 2 / (1.06 * frames().reduce((most, frame) => Math.max(most, frame.reach), 0.1));
    if (screen.length !== 2 * n) screen = new Float32Array(2 * n);
    const [x0, y0] = toScreen(0, 0, width, height), unit = camera.unit;
    const places = new Float32Array(2 * n);
    for (let i = 0; i < n; i++) {
      screen[2 * i] = x0 + motion.now[2 * i] * unit;
      screen[2 * i + 1] = y0 - motion.now[2 * i + 1] * unit;
      places[2 * i] = screen[2 * i] * scale;
      places[2 * i + 1] = screen[2 * i + 1] * scale;
    }
    radius = Math.min(7, (n > 6000 ? 2.2 : n > 2500 ? 2.8 : n > 700 ? 3.5 : 4.5) * Math.sqrt(Math.min(camera.zoom, 4)));
    painter.begin(context.canvas.width, context.canvas.height, colors.paper);
    const marks = embeddingTable(radius * scale), state = states();
    painter.points(places, styles, state, 1, marks, 0.2);
    painter.points(places, styles, state, 0, marks, 0.9);
    painter.points(places, styles, state, 2, embeddingTable(radius * scale, 1.75 * scale, colors.ink));
    painter.points(places, styles, state, 2, marks);
    context.putImageData(painter.image, 0, 0);
    overlay(context, width, height, colors);
    if (moving) map.redraw();
    else if (motion.playing) advance();
  }

  function overlay(context, width, height, colors) { // the caption, the point, the area
    context.font = colors.font;
    context.fillStyle = colors.soft;
    if (motion.frame) {
      const share = motion.frame.explained === null ? "" : t("explained", {share: Math.round(100 * motion.frame.explained)});
      context.fillText([t("epoch_n", {epoch: motion.frame.epoch}), share].filter(Boolean).join(", "), 8, 16);
    }
    context.strokeStyle = colors.ink;
    context.lineWidth = 2;
    if (current >= 0 && 2 * current < screen.length) {
      context.beginPath();
      context.arc(screen[2 * current], screen[2 * current + 1], radius + 5, 0, 2 * Math.PI);
      context.stroke();
    }
    const area = drag?.area ?? (box && embeddingCorners(box));
    if (area?.length > 1) {
      context.setLineDash([5, 4]);
      context.strokeStyle = colors.accent;
      context.beginPath();
      area.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x, y));
      context.closePath();
      context.stroke();
      context.globalAlpha = 0.12;
      context.fillStyle = colors.accent;
      context.fill();
      context.globalAlpha = 1;
      context.setLineDash([]);
    }
  }

  const map = plot({height: 420, label: t("map_label"), draw, stop, attributes: {tabindex: 0, role: "application", "aria-roledescription": t("map"), "data-map": "map"}});
  const tip = h("div", {class: "dcacn-tip", hidden: true}), spoken = h("p", {class: "dcacn-note dcacn-spoken", role: "status", "aria-live": "polite"});

  // ---- one point
  function nearest(x, y, reach = EMBEDDING_REACH) { // ten thousand distances take 0.02 ms: no index is needed
    let best = -1, least = reach * reach;
    for (let i = 0; 2 * i < screen.length; i++) {
      const distance = (screen[2 * i] - x) ** 2 + (screen[2 * i + 1] - y) ** 2;
      if (distance <= least) { least = distance; best = i; }
    }
    return best;
  }

  function words(row) {
    const frame = motion.frame, lines = [clusterWords(frame.cluster[row])];
    if (film.labels) lines.push(`${t("class")}: ${film.className(film.labels[row])}`);
    lines.push(`${t("confidence")} ${(frame.confidence[row] / 255).toFixed(2)}`, `${t("image")} ${film.indices[row]}`);
    return lines;
  }

  function tile(row, size, attributes = {}) {
    const canvas = h("canvas", {width: size, height: size, class: "dcacn-tile", ...attributes});
    if (sheet && row < sheet.n) {
      const context = canvas.getContext("2d"), {width, height, columns} = sheet, scale = size / Math.max(width, height);
      context.imageSmoothingEnabled = scale < 1;
      context.drawImage(sheet.bitmap, row % columns * width, Math.floor(row / columns) * height, width, height, (size - width * scale) / 2, (size - height * scale) / 2, width * scale, height * scale);
    }
    return canvas;
  }

  function point(i, aloud = false) { // show a point's image and words; -1: none
    current = i;
    map.redraw();
    tip.hidden = i < 0 || !motion.frame;
    if (tip.hidden) return;
    const row = i * stride(), lines = words(row), [x, y] = [screen[2 * i], screen[2 * i + 1]];
    tip.replaceChildren(...(sheet ? [tile(row, 96, {"aria-hidden": "true"})] : []), h("div", {}, lines.map(line => h("div", {}, line)), sheet ? null : h("div", {class: "dcacn-note"}, t("no_image"))));
    const right = x > map.node.clientWidth / 2, low = y > map.node.clientHeight / 2;
    Object.assign(tip.style, {left: right ? "" : `${x + 12}px`, right: right ? `${map.node.clientWidth - x + 12}px` : "", top: low ? "" : `${y + 12}px`, bottom: low ? `${map.node.clientHeight - y + 12}px` : ""});
    if (aloud) spoken.textContent = lines.join(", ");
  }

  function walk(dx, dy) { // to the next point in a direction
    if (current < 0 || 2 * current >= screen.length) return point(nearest(map.node.clientWidth / 2, map.node.clientHeight / 2, Infinity), true);
    const [x, y] = [screen[2 * current], screen[2 * current + 1]];
    let best = current, least = Infinity;
    for (let i = 0; 2 * i < screen.length; i++) {
      const u = screen[2 * i] - x, v = screen[2 * i + 1] - y, along = u * dx + v * dy, cost = along + 3 * Math.abs(u * dy - v * dx);
      if (i !== current && along > 0.5 && cost < least) { least = cost; best = i; }
    }
    point(best, true);
  }

  // ---- an area
  function choose(rows, add = false) { // rows of the sample, to Python and to the gallery
    const all = [...new Set(add ? [...selected, ...rows] : rows)].sort((a, b) => a - b);
    set("selection", all.map(row => film.indices[row]));
  }

  function inArea(area) {
    const rows = [];
    for (let i = 0; 2 * i < screen.length; i++) if (embeddingInside(area, screen[2 * i], screen[2 * i + 1])) rows.push(i * stride());
    return rows;
  }

  const rowsOf = test => Array.from(styles, (_, i) => i * stride()).filter(test);

  // ---- pointer and keys
  function zoom(factor, x = map.node.clientWidth / 2, y = map.node.clientHeight / 2) {
    const wide = map.node.clientWidth / 2, tall = map.node.clientHeight / 2, worldX = camera.x + (x - wide) / camera.unit, worldY = camera.y - (y - tall) / camera.unit;
    const next = Math.min(40, Math.max(1, camera.zoom * factor)), unit = camera.unit * next / camera.zoom;
    camera.zoom = next;
    [camera.x, camera.y] = next === 1 ? [0, 0] : [worldX - (x - wide) / unit, worldY + (y - tall) / unit];
    leave();
  }
  const home = () => { Object.assign(camera, {x: 0, y: 0, zoom: 1}); leave(); };
  const leave = () => { box = null; point(-1); };

  map.node.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200), ...spot(event, map.node));
  }, {passive: false});
  map.node.addEventListener("pointerdown", event => {
    if (event.button !== 0 || !motion.frame) return;
    map.node.setPointerCapture(event.pointerId);
    const at = spot(event, map.node);
    leave();
    drag = {kind: event.altKey ? "move" : dragMode.select.value, from: at, last: at, area: null, add: event.shiftKey, far: false, lasso: [at]};
  });
  map.node.addEventListener("pointermove", event => {
    const at = spot(event, map.node);
    if (!drag) { const found = nearest(...at); if (found !== current) point(found); return; }
    drag.far ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) > 4;
    if (drag.kind === "move") { camera.x -= (at[0] - drag.last[0]) / camera.unit; camera.y += (at[1] - drag.last[1]) / camera.unit; }
    else if (drag.kind === "lasso") { if (drag.lasso.push(at) > 2) drag.area = drag.lasso; }
    else drag.area = embeddingCorners({x0: drag.from[0], y0: drag.from[1], x1: at[0], y1: at[1]});
    drag.last = at;
    map.redraw();
  });
  map.node.addEventListener("pointerup", event => {
    if (!drag) return;
    const {kind, far, area, add, from} = drag, one = nearest(...from);
    drag = null;
    if (!far) choose(one < 0 ? [] : [one * stride()], add);
    else if (kind !== "move" && area) choose(inArea(area), add);
    map.redraw();
  });
  map.node.addEventListener("pointercancel", () => { drag = null; map.redraw(); });
  map.node.addEventListener("pointerleave", () => { if (!drag) point(-1); });
  map.node.addEventListener("blur", leave);
  map.node.addEventListener("keydown", event => {
    const arrow = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !motion.frame) return;
    if (arrow && event.shiftKey) grow(...arrow);
    else if (arrow) walk(...arrow);
    else if (event.key === "Enter") { if (box) choose(inArea(embeddingCorners(box))); else if (current >= 0) choose([current * stride()]); box = null; }
    else if (event.key === "Escape") { if (box) box = null; else choose([]); }
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") home();
    else return;
    event.preventDefault();
    event.stopPropagation();
    map.redraw();
  });
  function grow(dx, dy) { // a rectangle with the keys, from the present point on: right and down make it larger, left and up smaller
    if (!box) {
      if (current < 0) walk(0, 0);
      const [x, y] = current < 0 ? [map.node.clientWidth / 2, map.node.clientHeight / 2] : [screen[2 * current], screen[2 * current + 1]];
      box = {x0: x - 8, y0: y - 8, x1: x + 8, y1: y + 8};
    }
    box.x0 -= 8 * dx; box.x1 += 8 * dx;
    box.y0 -= 8 * dy; box.y1 += 8 * dy;
    if (box.x1 < box.x0 + 4) box.x0 = box.x1 - 4;
    if (box.y1 < box.y0 + 4) box.y0 = box.y1 - 4;
  }

  // ---- controls
  const scrubber = slider({label: t("snapshot"), min: 0, max: 0, value: 0, show: place => frames()[place] ? t("place", {epoch: frames()[place].epoch, i: place + 1, n: frames().length}) : "–",
                           oninput(place) { pause(); follow = place === frames().length - 1; if (frames()[place]) show(frames()[place]); }});
  scrubber.node.classList.add("dcacn-wide");
  const playing = button(t("play"), () => motion.playing ? pause() : play());
  function play() {
    const all = frames();
    if (all.length < 2) return;
    if (scrubber.value >= all.length - 1) { scrubber.set(0); show(all[0], false); }
    motion.playing = {duration: Math.min(900, Math.max(60, 15000 / all.length))};
    follow = false;
    playing.textContent = t("pause");
    advance();
  }
  function pause() {
    clearTimeout(timer);
    motion.playing = null;
    playing.textContent = t("play");
  }
  function advance() { // the next frame of the film
    const all = frames(), next = scrubber.value + 1;
    if (next >= all.length) { pause(); follow = true; map.redraw(); return; }
    const go = () => { scrubber.set(next); show(all[next]); };
    clearTimeout(timer);
    if (calm()) timer = setTimeout(() => { if (motion.playing) go(); }, 700); // steps instead of motion
    else go();
  }
  stop.add(() => { clearTimeout(timer); clearTimeout(later); });

  const set = (name, value) => { model.set(name, value); model.save_changes(); };
  const methods = choice({label: t("method"), options: [["tsne", t("tsne")], ["pca", t("pca")]], value: method(), onchange: value => set("method", value)});
  const colored = choice({label: t("color_by"), options: [["cluster", t("by_cluster")], ["last", t("by_last")], ["class", t("by_class")], ["confidence", t("by_confidence")]], value: mode(), onchange: value => set("color_by", value)});
  const dragMode = choice({label: t("drag"), options: ["area", "lasso", "move"].map(key => [key, t(`drag_${key}`)]), value: "area", onchange() {}});
  const picker = choice({label: t("select"), options: [["", t("select_none")]], value: "", onchange(k) { choose(k === "" ? [] : rowsOf(row => motion.frame.cluster[row] === Number(k))); }});
  const state = h("p", {class: "dcacn-note"}), legend = h("div", {class: "dcacn-legend", role: "group", "aria-label": t("legend")}), chosen = h("div", {});

  function counts() { // how many points of each group
    const found = new Map();
    for (let i = 0; i < styles.length; i++) { const k = group(i * stride()); found.set(k, (found.get(k) ?? 0) + 1); }
    return [...found].sort((a, b) => a[0] - b[0]);
  }

  function swatch(shape, color, r) {
    const canvas = h("canvas", {width: 32, height: 32, class: "dcacn-swatch", "aria-hidden": "true"}), context = canvas.getContext("2d");
    context.fillStyle = color;
    mark(context, shape, 16, 16, r);
    return canvas;
  }

  function tell() { // legend, choice of clusters and state of things
    const busy = document.activeElement, kept = legend.contains(busy) ? busy.dataset.k : null;
    if (!motion.frame) legend.replaceChildren();
    else if (mode() === "confidence") {
      legend.replaceChildren(...EMBEDDING_LEVELS.map((color, level) => h("span", {class: "dcacn-control"}, swatch("circle", color, 10 * embeddingLevelSize(level)), `≥ ${(level / EMBEDDING_LEVELS.length).toFixed(2)}`)));
    } else {
      const name = k => mode() === "class" ? film.className(k) : film.name(k) === null ? String(k) : `${k} ${film.name(k)}`;
      legend.replaceChildren(...counts().map(([k, n]) => h("button", {type: "button", class: "dcacn-button", "data-k": k, "aria-pressed": String(lit.has(k)), onclick: () => light(k)},
        swatch(shapeOf(k), colorOf(k), 10), h("span", {class: "dcacn-name"}, name(k)), h("span", {class: "dcacn-count"}, String(n)))));
      if (kept !== null) legend.querySelector(`[data-k="${kept}"]`)?.focus();
    }
    const clusters = motion.frame ? [...new Set(rowsOf(() => true).map(row => motion.frame.cluster[row]))].sort((a, b) => a - b) : [];
    picker.select.replaceChildren(h("option", {value: ""}, t("select_none")), ...clusters.map(k => h("option", {value: k}, clusterWords(k))));
    colored.select.querySelector("[value=class]").hidden = colored.select.querySelector("[value=class]").disabled = !film.labels;
    playing.disabled = scrubber.input.disabled = frames().length < 2;
    report();
  }

  function light(k) {
    if (!lit.delete(k)) lit.add(k);
    for (const item of legend.children) item.setAttribute("aria-pressed", String(lit.has(Number(item.dataset.k))));
    map.redraw();
  }

  function report() { // what is being made, what went wrong
    const {waiting, problem, dropped, making} = film.state, lines = [];
    if (!film.n) lines.push(t("waiting_snapshot"));
    else if (!motion.frame && !problem) lines.push(t("first_map", {method: t(method())}));
    else if (waiting && making) lines.push(t("making", {method: t(making.method), epoch: making.epoch, waiting}));
    if (dropped) lines.push(t("dropped", {n: dropped}));
    const told = [...lines, problem, method()].join("|");
    if (told === state.dataset.told) return; // an alert that is put there anew is read aloud anew
    state.dataset.told = told;
    state.replaceChildren(lines.join(" "), problem ? h("span", {class: "dcacn-problem", role: "alert"}, ` ${problem} `) : "", problem && method() === "tsne" ? button(t("show_pca"), () => set("method", "pca")) : "");
  }

  function gallery() {
    const rows = [...selected].sort((a, b) => a - b), seen = rows.slice(0, EMBEDDING_GALLERY), n = rows.length, counted = t(n === 1 ? "selected_1" : "selected_n", {n});
    if (!n) { chosen.replaceChildren(h("p", {class: "dcacn-note"}, t("select_hint"))); return; }
    const item = row => h("li", {}, tile(row, 40, {role: "img", "aria-label": words(row).join(", "), title: words(row).join("\n"), onpointerenter: () => point(row % stride() ? -1 : row / stride()), onpointerleave: () => point(-1)}));
    chosen.replaceChildren(
      h("div", {class: "dcacn-row"}, h("strong", {}, counted), n > seen.length ? h("span", {class: "dcacn-note"}, t("first_n", {n: seen.length})) : null, button(t("clear"), () => choose([]))),
      h("ul", {class: "dcacn-gallery", tabindex: 0, "aria-label": counted}, motion.frame ? seen.map(item) : []));
  }

  // ---- Python
  function take() { selected = new Set(model.get("selection").map(index => film.rowOf.get(index)).filter(row => row !== undefined)); gallery(); map.redraw(); }
  listen(model, stop, {
    start(content, buffers) { pause(); film.start(content, buffers); sheet = null; follow = true; motion.clear(); lit.clear(); home(); settleFrames(); take(); },
    async sheet(content, buffers) { const image = await bitmap(buffers[0]); sheet = {...content, bitmap: image}; gallery(); },
    map(content, buffers) { film.map(content, buffers); if (content.method !== method()) return; if (motion.playing) scrubber.set(frames().findIndex(frame => frame.id >= motion.frame.id), frames().length - 1); else settleFrames(); },
    state(content) { film.state = content; if (motion.frame) tell(); else report(); },
  });
  on(model, stop, "change:method", () => { methods.select.value = method(); pause(); motion.clear(); home(); settleFrames(); });
  on(model, stop, "change:color_by", () => { colored.select.value = mode(); lit.clear(); dress(); map.redraw(); tell(); });
  on(model, stop, "change:selection", take);

  root.append(
    h("div", {class: "dcacn-row"}, playing, scrubber.node, methods.node, colored.node),
    h("div", {class: "dcacn-columns dcacn-map"},
      h("div", {}, h("div", {class: "dcacn-map"}, map.node, tip), spoken,
        h("div", {class: "dcacn-row"}, dragMode.node, button("+", () => zoom(1.4), {"aria-label": t("zoom_in"), title: t("zoom_in")}), button("−", () => zoom(1 / 1.4), {"aria-label": t("zoom_out"), title: t("zoom_out")}), button(t("reset_view"), home))),
      h("div", {}, legend, h("div", {class: "dcacn-row"}, picker.node), chosen)),
    state, summary(model, stop));
  gallery();
  tell();
}

// The corners of a rectangle.
const embeddingCorners = ({x0, y0, x1, y1}) => [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
