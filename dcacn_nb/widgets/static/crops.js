// One image with the boxes of its crops, the crops beside it at one scale, and all knobs. Everything is computed in Python; here it is shown.

const cropsColor = i => COLORS[i % COLORS.length];
const cropsInk = i => ["#E69F00", "#56B4E9", "#CC79A7", "#999999"].includes(cropsColor(i)) ? "#000" : "#fff"; // a number on a tag of that colour

// Ask Python for another state. One question at a time, the newest wishes together, so that a slider which is dragged never floods the kernel.
function cropsAsker(model, stop) {
  let waiting = 0, next = null;
  const go = () => { model.send(next); next = null; waiting = setTimeout(answered, 5000); };
  const answered = () => { clearTimeout(waiting); waiting = 0; if (next) go(); };
  stop.add(() => clearTimeout(waiting));
  return {
    answered,
    get more() { return next !== null; }, // whether the answer that comes is out of date already
    ask(wish) {
      next = {kind: "show", ...next, ...wish, knobs: {...next?.knobs, ...wish.knobs}};
      if (!waiting) go();
    },
    reset() { next = null; model.send({kind: "reset"}); },
  };
}

// Which crop is looked at: the one pointed at, else the one kept by a click; -1: none. Everything that shows it is told.
function cropsFocus() {
  let pointed = -1, kept = -1;
  const watchers = [], tell = () => watchers.forEach(watcher => watcher(focus.at, kept));
  const focus = {
    get at() { return pointed >= 0 ? pointed : kept; },
    get kept() { return kept; },
    watch(watcher) { watchers.push(watcher); },
    point(i) { if (i !== pointed) { pointed = i; tell(); } },
    keep(i) { kept = i === kept ? -1 : i; tell(); },
    limit(n) { if (pointed >= n) pointed = -1; if (kept >= n) kept = -1; tell(); },
  };
  return focus;
}

// ---- the image and its boxes
function cropsBox(context, place, crop, i, n, bold) {
  const [top, left, tall, wide] = crop.box, {unit, x, y} = place;
  const box = [x + left * unit, y + top * unit, wide * unit, tall * unit];
  context.setLineDash([]);
  context.strokeStyle = "rgba(0, 0, 0, .65)"; // a dark seam keeps the line visible on any image
  context.lineWidth = bold ? 6 : 4;
  context.strokeRect(...box);
  context.setLineDash(crop.global ? [] : [6, 4]);
  context.strokeStyle = cropsColor(i);
  context.lineWidth = bold ? 4 : 2;
  context.strokeRect(...box);
  context.setLineDash([]);
  // each number at another place of its upper edge: boxes with a common corner must not hide one another's
  const at = box[0] + box[2] * (i + 0.5) / n, size = 15;
  context.fillStyle = cropsColor(i);
  context.fillRect(at - size / 2, box[1] - size / 2, size, size);
  context.fillStyle = cropsInk(i);
  context.font = `bold 11px ${getComputedStyle(context.canvas).fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(i + 1, at, box[1] + 0.5);
  return box;
}

function cropsDraw(context, width, height, state, at) {
  if (!state.picture || !state.crops.length) return;
  const {about, picture, crops} = state, edge = 9; // room for the numbers at the upper edge
  const unit = Math.min((width - 2 * edge) / about.width, (height - 2 * edge) / about.height);
  const place = state.place = {unit, x: (width - about.width * unit) / 2, y: edge};
  context.imageSmoothingEnabled = about.width * unit < picture.width;
  context.drawImage(picture, place.x, place.y, about.width * unit, about.height * unit);
  context.globalAlpha = at >= 0 ? 0.35 : 1;
  crops.forEach((crop, i) => i !== at && cropsBox(context, place, crop, i, crops.length, false));
  context.globalAlpha = 1;
  if (at < 0 || !crops[at]) return;
  const [top, left, tall, wide] = crops[at].box;
  context.beginPath(); // all that this crop does not show gets dark
  context.rect(place.x, place.y, about.width * unit, about.height * unit);
  context.rect(place.x + left * unit, place.y + top * unit, wide * unit, tall * unit);
  context.fillStyle = "rgba(0, 0, 0, .55)";
  context.fill("evenodd");
  cropsBox(context, place, crops[at], at, crops.length, true);
}

// The smallest box around a point: a large one holds many small ones.
function cropsUnder(state, [x, y]) {
  if (!state.place) return -1;
  const column = (x - state.place.x) / state.place.unit, row = (y - state.place.y) / state.place.unit;
  let found = -1;
  state.crops.forEach(({box: [top, left, tall, wide]}, i) => {
    const inside = row >= top && row <= top + tall && column >= left && column <= left + wide;
    const size = found < 0 ? Infinity : state.crops[found].box[2] * state.crops[found].box[3];
    if (inside && tall * wide < size) found = i;
  });
  return found;
}

function cropsImage(t, stop, state, focus) {
  const view = plot({height: 300, label: t("boxes"), stop, attributes: {tabindex: 0, class: "dcacn-canvas dcacn-crops-image"},
                     draw: (context, width, height) => cropsDraw(context, width, height, state, focus.at)});
  const {node} = view, n = () => state.crops.length;
  node.addEventListener("pointermove", event => focus.point(cropsUnder(state, spot(event, node))));
  node.addEventListener("pointerleave", () => focus.point(-1));
  node.addEventListener("blur", () => focus.point(-1));
  node.addEventListener("click", event => { const i = cropsUnder(state, spot(event, node)); if (i >= 0) focus.keep(i); });
  node.addEventListener("keydown", event => {
    const turn = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (turn && n()) focus.point(((focus.at < 0 ? (turn > 0 ? -1 : 0) : focus.at) + turn + n()) % n());
    else if (event.key === "Enter" && focus.at >= 0) focus.keep(focus.at);
    else if (event.key === "Escape") { focus.point(-1); if (focus.kept >= 0) focus.keep(focus.kept); }
    else return;
    event.preventDefault();
  });
  focus.watch(view.redraw);
  return view;
}

// ---- the crops
function cropsTile(i, focus) {
  const canvas = h("canvas", {class: "dcacn-crop-pixels"}), name = h("span", {class: "dcacn-crop-name"}), caption = h("span", {class: "dcacn-crop-caption"});
  const node = h("button", {type: "button", class: "dcacn-crop", "aria-pressed": "false", onclick: () => focus.keep(i),
                            onpointerenter: () => focus.point(i), onpointerleave: () => focus.point(-1), onfocus: () => focus.point(i), onblur: () => focus.point(-1)},
                 canvas, name, caption);
  canvas.style.borderColor = cropsColor(i);
  return {node, fill(crop, sheet, at, columns) {
    canvas.width = canvas.height = crop.size;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(sheet, at % columns * crop.size, Math.floor(at / columns) * crop.size, crop.size, crop.size, 0, 0, crop.size, crop.size);
    canvas.style.borderStyle = crop.global ? "solid" : "dashed";
    canvas.style.width = canvas.style.height = `calc(${crop.size}px * var(--dcacn-crop-scale, 1) + 6px)`;
    name.textContent = `${i + 1} · ${crop.size} px · ${crop.share}`;
    caption.textContent = crop.caption;
    node.setAttribute("aria-label", crop.detail);
  }};
}

// Screen pixels for a pixel of a crop: a whole number, as large as lets two global crops stand side by side; less than 1 only if not even one fits.
function cropsScale(width, size) {
  const fit = Math.min((width - 30) / 2, 240) / size;
  return fit >= 1 ? Math.floor(fit) : Math.min(1, (width - 6) / size);
}

function cropsTiles(t, stop, state, focus) {
  const rows = [true, false].map(whole => ({title: h("p", {class: "dcacn-crops-kind"}, t(whole ? "global_crops" : "local_crops")), row: h("div", {class: "dcacn-crops-row"})}));
  const note = h("p", {class: "dcacn-note"}), node = h("div", {class: "dcacn-crops-tiles"}, rows.flatMap(({title, row}) => [title, row]), note);
  let tiles = [];
  const fit = () => {
    const size = state.crops[0]?.size, width = node.clientWidth;
    if (!size || !width) return;
    const scale = cropsScale(width, size), shrunk = state.about && state.about.shown[0] < state.about.width;
    node.style.setProperty("--dcacn-crop-scale", scale);
    note.textContent = [scale >= 1 ? t("scale", {n: scale}) : t("shrunk", {n: `${Math.round(100 * scale)} %`}),
                        shrunk && t("image_shrunk", {width: state.about.shown[0], height: state.about.shown[1]})].filter(Boolean).join(". ") + ".";
  };
  const size = new ResizeObserver(fit);
  size.observe(node);
  stop.add(() => size.disconnect());
  focus.watch((at, kept) => tiles.forEach(({node}, i) => {
    node.classList.toggle("dcacn-crop-lit", i === at);
    node.classList.toggle("dcacn-crop-dim", at >= 0 && i !== at);
    node.setAttribute("aria-pressed", String(i === kept));
  }));
  return {node, fill(sheets, columns) {
    const globals = state.crops.filter(crop => crop.global).length;
    while (tiles.length > state.crops.length) tiles.pop().node.remove();
    state.crops.forEach((crop, i) => {
      if (!tiles[i]) { tiles[i] = cropsTile(i, focus); rows[crop.global ? 0 : 1].row.append(tiles[i].node); }
      tiles[i].fill(crop, sheets[crop.global ? 0 : 1], crop.global ? i : i - globals, columns[crop.global ? 0 : 1]);
    });
    rows[1].title.textContent = t(state.crops.length > globals ? "local_crops" : "no_local");
    fit();
  }};
}

// ---- the controls
// A slider between two buttons, then what it says: the buttons stay where they are when the words get longer.
function cropsWalk({label, previous, next, show, oninput}) {
  const bar = slider({label, min: 0, max: 0, value: 0, show, oninput});
  const step = by => { const value = Math.min(Number(bar.input.max), Math.max(0, bar.value + by)); if (value !== bar.value) { bar.set(value); oninput(value); } };
  const node = h("span", {class: "dcacn-crops-walk"}, button("◀", () => step(-1), {"aria-label": previous, title: previous}), bar.node,
                 button("▶", () => step(1), {"aria-label": next, title: next}), bar.node.querySelector("output"));
  return {node, set: bar.set};
}

function cropsBar(t, asker, state) {
  const image = cropsWalk({label: t("image"), previous: t("previous_image"), next: t("next_image"), show: String, oninput: image => asker.ask({image})});
  const step = cropsWalk({label: t("step"), previous: t("previous_step"), next: t("next_step"), oninput: step => asker.ask({step}),
                          show: i => t("of", {i: i + 1, n: state.steps.length, name: state.steps[i] ?? ""})});
  const seed = h("input", {type: "number", min: 0, step: 1, value: 0, class: "dcacn-crops-seed", "aria-label": t("seed"),
                           oninput: () => { if (/^\d{1,15}$/.test(seed.value)) asker.ask({seed: Number(seed.value)}); },
                           onblur: () => { seed.value = state.seed; }});
  const again = button(t("draw_again"), () => { seed.value = Number(seed.value) + 1; asker.ask({seed: Number(seed.value)}); });
  return {nodes: [h("div", {class: "dcacn-row"}, image.node, again, h("label", {class: "dcacn-control"}, h("span", {}, t("seed")), seed)), h("div", {class: "dcacn-row"}, step.node)],
          set(told) { image.set(told.image, told.n_images - 1); step.set(told.step, told.steps.length - 1); if (document.activeElement !== seed) seed.value = told.seed; }}; // not while somebody types
}

let cropsViews = 0; // a number for each view

function cropsKnobs(t, asker) {
  const node = h("div", {class: "dcacn-crops-knobs"}), name = `dcacn-crops-${++cropsViews}`; // of one name only one group is open, so that the crops stay in sight
  let sliders = {};
  const control = knob => {
    const key = knob.idle ? "idle" : knob.end, label = key ? t(key, {name: t(knob.knob)}) : t(knob.knob);
    const bar = slider({label, min: knob.low, max: knob.high, step: knob.step, value: knob.low, show: brief, oninput: value => asker.ask({knobs: {[knob.name]: value}})});
    bar.node.title = knob.name; // the name in code
    sliders[knob.name] = Object.assign(bar, {idle: knob.idle});
    return bar.node;
  };
  const cells = knobs => knobs.map((knob, i) => { // both ends of a range in one cell, the lower one above
    if (!knob.end) return control(knob);
    return knob.end === "smallest" && h("div", {}, control(knob), control(knobs[i + 1]));
  });
  const build = groups => {
    const open = [...node.children].map(group => group.open);
    sliders = {};
    node.replaceChildren(...groups.map(({name: title, knobs}, i) => h("details", {name, open: open[i]}, h("summary", {}, t(title)), h("div", {class: "dcacn-crops-grid"}, cells(knobs)))));
  };
  return {node, set({groups, knobs}) {
    const held = ({name, idle, low, high}) => sliders[name]?.idle === idle && sliders[name].input.min <= low && sliders[name].input.max >= high;
    if (!groups.every(group => group.knobs.every(held))) build(groups); // only if need be: one of them may be in somebody's hand
    for (const [name, value] of Object.entries(knobs)) {
      if (!sliders[name]) continue;
      sliders[name].set(value);
      sliders[name].node.querySelector("output").textContent = brief(value); // the value itself, though the slider may round it
      sliders[name].input.setAttribute("aria-valuetext", brief(value));
    }
  }};
}

function renderCrops({model, root, t, stop}) {
  const state = {picture: null, about: null, crops: [], steps: [], place: null, seed: 0}, asker = cropsAsker(model, stop), focus = cropsFocus();
  const bar = cropsBar(t, asker, state), image = cropsImage(t, stop, state, focus), tiles = cropsTiles(t, stop, state, focus), knobs = cropsKnobs(t, asker);
  const detail = h("p", {class: "dcacn-crops-detail", "aria-live": "polite"}, t("hint")), problem = h("p", {class: "dcacn-crops-problem", role: "alert"});
  const body = h("div", {hidden: true}, bar.nodes, h("div", {class: "dcacn-crops-columns"}, h("div", {}, image.node, detail), tiles.node), problem, knobs.node,
                 h("div", {class: "dcacn-row"}, button(t("reset_knobs"), () => asker.reset())));
  const empty = h("p", {class: "dcacn-note"}, t("no_images"));
  focus.watch(at => { detail.textContent = state.crops[at]?.detail ?? t("hint"); });
  let newest = 0, newestImage = 0;
  stop.add(() => { newest = newestImage = -1; });
  listen(model, stop, {
    empty() { body.hidden = true; empty.hidden = false; },
    changed() { model.send({kind: "look"}); },
    async image(about, [png]) {
      const number = ++newestImage, picture = await bitmap(png);
      if (number !== newestImage) return;
      Object.assign(state, {about, picture});
      image.redraw();
    },
    async crops(told, pngs) {
      const number = ++newest, sheets = await Promise.all(pngs.map(bitmap));
      if (number !== newest) return;
      Object.assign(state, {crops: told.crops, steps: told.steps, seed: told.seed});
      body.hidden = false;
      empty.hidden = true;
      tiles.fill(sheets, told.columns);
      if (!asker.more) { bar.set(told); knobs.set(told); }
      problem.textContent = told.problem ? t("refused", {problem: told.problem}) : "";
      focus.limit(told.crops.length);
      asker.answered();
    },
  });
  root.append(h("h3", {}, t("title")), empty, body, summary(model, stop));
}
