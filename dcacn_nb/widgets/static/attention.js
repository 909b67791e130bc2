// Where the network looks: maps over images, channels as bars, a slider over epochs, one run or two. Python sends every snapshot in bytes (widgets.attention);
// all that a person changes here is drawn from what has been sent, without asking Python.

const ATTENTION_SIDE = 256; // pixels of the drawing of one map; the page scales it
const attentionChosen = new Map(); // key of a widget -> what was last chosen in it: a view built anew (another language, the end of the run) goes on there

// What one run has told: frames by number, pictures by index of the image.
class AttentionRun {
  constructor() { this.token = null; this.about = {}; this.frames = new Map(); this.pictures = new Map(); }
  keep(token, numbers) {
    if (token !== this.token) { this.frames.clear(); this.pictures.clear(); this.token = token; }
    const wanted = new Set(numbers);
    for (const number of this.frames.keys()) if (!wanted.has(number)) this.frames.delete(number);
  }
  take(content, [codes, lows, highs]) {
    this.keep(content.token, content.keep);
    const parts = new Map();
    let start = 0;
    content.parts.forEach(([kind, block, height, width], i) => { parts.set(`${kind}.${block}`, {start, height, width, i}); start += height * width; });
    this.frames.set(content.number, {epoch: content.epoch, indices: content.indices, parts, total: start, n: content.parts.length, codes: u8(codes), lows: f32(lows), highs: f32(highs)});
    Object.assign(this.about, {block: content.block, note: content.note});
  }
  get ordered() { return [...this.frames].sort((a, b) => a[0] - b[0]).map(([, frame]) => frame); }
  nearest(epoch) {
    return this.ordered.reduce((best, frame) => !best || Math.abs(frame.epoch - epoch) < Math.abs(best.epoch - epoch) ? frame : best, null);
  }
  // The largest value of a block in any frame: the upper end of a scale that all frames share.
  most(kind, block) {
    let found = 0;
    for (const frame of this.frames.values()) {
      const part = frame.parts.get(`${kind}.${block}`);
      if (part) frame.indices.forEach((_, row) => { found = Math.max(found, frame.highs[row * frame.n + part.i] || 0); });
    }
    return found;
  }
}

// The map of one image: {height, width, low, high, codes, value(i)}; null if the frame has none.
function attentionMap(frame, kind, block, index) {
  const part = frame?.parts.get(`${kind}.${block}`), row = frame ? frame.indices.indexOf(index) : -1;
  if (!part || row < 0) return null;
  const low = frame.lows[row * frame.n + part.i], high = frame.highs[row * frame.n + part.i], from = row * frame.total + part.start;
  const codes = frame.codes.subarray(from, from + part.height * part.width);
  return {height: part.height, width: part.width, low, high, codes, value: i => low + codes[i] * (high - low) / 255};
}

// A value in two digits after the point, or as many signs as it needs.
const attentionNumber = x => Number.isNaN(x) ? "NaN" : x !== 0 && Math.abs(x) < 0.005 ? x.toExponential(1) : Math.abs(x) >= 1000 ? x.toExponential(2) : x.toFixed(2);

// A map as a small picture, one pixel a cell, in the colours of the scale from `a` to `b`.
function attentionPaint(map, [a, b], colours) {
  const canvas = new OffscreenCanvas(map.width, map.height), context = canvas.getContext("2d"), image = context.createImageData(map.width, map.height);
  map.codes.forEach((_, i) => {
    const share = (map.value(i) - a) / (b - a), c = 3 * Math.round(255 * Math.min(1, Math.max(0, share || 0)));
    image.data.set([colours[c], colours[c + 1], colours[c + 2], 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

// The tile of an image in the sheet, as it is and in grey.
async function attentionPictures(layout, sheet) {
  const whole = await bitmap(sheet), pictures = new Map();
  layout.indices.forEach((index, i) => {
    const colour = new OffscreenCanvas(layout.width, layout.height), context = colour.getContext("2d", {willReadFrequently: true});
    context.drawImage(whole, -(i % layout.columns) * layout.width, -Math.floor(i / layout.columns) * layout.height);
    const pixels = context.getImageData(0, 0, layout.width, layout.height), grey = new OffscreenCanvas(layout.width, layout.height);
    for (let p = 0; p < pixels.data.length; p += 4) pixels.data.fill((pixels.data[p] + pixels.data[p + 1] + pixels.data[p + 2]) / 3, p, p + 3);
    grey.getContext("2d").putImageData(pixels, 0, 0);
    pictures.set(index, {colour, grey});
  });
  return pictures;
}

// One canvas with an image, a map over it, and a mark at a place.
function attentionDraw(canvas, picture, map, {scale, strength, smooth, place, colours}) {
  const shape = picture?.grey ?? map ?? {width: 1, height: 1}, larger = Math.max(shape.width, shape.height);
  const width = Math.round(ATTENTION_SIDE * shape.width / larger), height = Math.round(ATTENTION_SIDE * shape.height / larger), context = canvas.getContext("2d");
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context.globalAlpha = 1;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = Math.max(shape.width, shape.height) > 64;
  if (picture) context.drawImage(map ? picture.grey : picture.colour, 0, 0, width, height);
  if (!map || Number.isNaN(map.low)) return;
  context.imageSmoothingEnabled = smooth;
  context.globalAlpha = strength;
  context.drawImage(attentionPaint(map, scale, colours), 0, 0, width, height);
  if (!place) return;
  attentionMark(context, map, place, width, height);
}

// A frame around the cell at a place, and its value in the corner farther off. Dark and light lines: seen on any colour.
function attentionMark(context, map, place, width, height) {
  const {row, column, i} = attentionCell(map, place), w = width / map.width, h = height / map.height, text = attentionNumber(map.value(i));
  context.globalAlpha = 1;
  for (const [colour, line] of [["#000", 8], ["#fff", 4]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(column * w + 2, row * h + 2, Math.max(2, w - 4), Math.max(2, h - 4));
  }
  context.font = "bold 34px sans-serif";
  const long = context.measureText(text).width + 12, x = place.x < 0.5 ? width - long : 0, y = place.y < 0.5 ? height - 42 : 0;
  context.fillStyle = "rgba(0, 0, 0, 0.75)";
  context.fillRect(x, y, long, 42);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 22);
}

// The cell of a map at a place (shares of width and height).
function attentionCell(map, {x, y}) {
  const row = Math.min(map.height - 1, Math.floor(y * map.height)), column = Math.min(map.width - 1, Math.floor(x * map.width));
  return {row, column, i: row * map.width + column};
}

// The columns of maps to show: which run, which kind. The other run shows the kinds it has; without CBAM that is activation.
function attentionColumns(runs, frames, state, comparing) {
  const has = (frame, kind) => frame?.parts.has(`${kind}.${state.block}`), wanted = state.kind === "both" ? ["spatial", "activation"] : [state.kind];
  const columns = [];
  for (const side of comparing ? [0, 1] : [0]) {
    const kinds = wanted.filter(kind => has(frames[side], kind));
    for (const kind of kinds.length || !has(frames[side], "activation") ? kinds : ["activation"]) columns.push({side, kind, run: runs[side], frame: frames[side]});
  }
  return columns;
}

// "this run · with CBAM"
function attentionLabel(run, side, t) {
  const key = {true: "with", false: "without", channel: "half_channel", spatial: "half_spatial"}[run.about.attention];
  return t(side ? "other_run" : "this_run") + (key ? ` · ${t(key)}` : "");
}

// The mean channel attention of some images; null if there is none.
function attentionChannels(frame, block, indices) {
  const rows = indices.map(index => attentionMap(frame, "channel", block, index)).filter(Boolean);
  return rows.length ? Array.from(rows[0].codes, (_, c) => rows.reduce((sum, row) => sum + row.value(c), 0) / rows.length) : null;
}

// The bars: {node, update({frame, first, block, indices})}.
function attentionBars({state, t, stop}) {
  const title = h("h4", {}), legend = h("span", {class: "dcacn-note"}), told = h("p", {class: "dcacn-note dcacn-attention-told", role: "status"});
  let now = null, before = null, order = [], epochs = [0, 0];
  const margin = {left: 30, right: 4, top: 12, bottom: 6};
  const say = () => {
    const c = order[state.channel];
    told.textContent = now && c !== undefined ? t("bar", {channel: c, value: attentionNumber(now[c]), first: epochs[1], before: before ? attentionNumber(before[c]) : "–"}) : t("bars_hint");
  };
  const point = i => { state.channel = i === null ? null : Math.max(0, Math.min(order.length - 1, i)); say(); chart.redraw(); };
  const draw = (context, width, height, look) => {
    const x = i => margin.left + (width - margin.left - margin.right) * i / order.length, y = v => margin.top + (height - margin.top - margin.bottom) * (1 - v);
    context.font = look.font;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const v of [0, 0.5, 1]) {
      context.fillStyle = look.soft;
      context.fillText(String(v), margin.left - 5, y(v));
      context.fillStyle = look.line;
      context.fillRect(margin.left, Math.round(y(v)), width - margin.left - margin.right, 1);
    }
    if (!now) return;
    const gap = x(1) - x(0) > 4 ? 1 : 0;
    order.forEach((c, i) => {
      context.fillStyle = i === state.channel ? look.ink : look.accent;
      context.fillRect(x(i) + gap / 2, y(now[c]), x(i + 1) - x(i) - gap, y(0) - y(now[c]));
    });
    if (order[state.channel] !== undefined) mark(context, "down", (x(state.channel) + x(state.channel + 1)) / 2, 6, 4);
    if (!before || before.length !== now.length) return;
    context.strokeStyle = look.ink;
    context.lineWidth = 1.5;
    context.beginPath();
    order.forEach((c, i) => { context.lineTo(x(i), y(before[c])); context.lineTo(x(i + 1), y(before[c])); });
    context.stroke();
  };
  const at = event => {
    const box = chart.node.getBoundingClientRect();
    return Math.floor((event.clientX - box.left - margin.left) / (box.width - margin.left - margin.right) * order.length);
  };
  const keys = {ArrowRight: i => i + 1, ArrowLeft: i => i - 1, Home: () => 0, End: () => order.length - 1, Escape: () => null};
  const chart = plot({height: 130, label: t("bars_label"), draw, stop, attributes: {tabindex: 0, class: "dcacn-canvas dcacn-attention-bars",
    onpointermove: event => point(at(event)), onpointerdown: event => point(at(event)), onpointerleave: () => point(null),
    onkeydown(event) {
      if (!(event.key in keys) || !now) return;
      event.preventDefault();
      point(keys[event.key](state.channel ?? -1));
    }}});
  const arrange = () => { order = now ? now.map((_, c) => c) : []; if (now && state.sorted) order.sort((a, b) => now[b] - now[a]); };
  const sorted = tick({label: t("sorted"), checked: state.sorted, onchange: on => { state.sorted = on; state.channel = null; arrange(); say(); chart.redraw(); }});
  const node = h("div", {class: "dcacn-attention-part", role: "group"}, h("div", {class: "dcacn-row"}, title, legend, sorted.node), chart.node, told);
  const none = h("p", {class: "dcacn-note"}, t("no_channel"));
  return {node: h("div", {}, node, none), update({frame, first, block, indices, known}) {
    [now, before] = [frame, first].map(one => attentionChannels(one, block, indices));
    epochs = [frame?.epoch, first?.epoch];
    node.hidden = !now;
    none.hidden = Boolean(now) || !known;
    title.textContent = t("bars", {block});
    legend.textContent = t("bars_legend", {epoch: epochs[0], first: epochs[1]});
    node.setAttribute("aria-label", title.textContent);
    arrange();
    say();
    chart.redraw();
  }};
}

// The images to choose from, as buttons that stay pressed: {node, update(indices, pictures)}.
function attentionThumbs({state, t, changed}) {
  const node = h("div", {class: "dcacn-row", role: "group", "aria-label": t("images")});
  let shown = "";
  return {node, update(indices, pictures) {
    // nothing chosen yet, or images of a run before this one
    if (!state.images || state.images.size && !indices.some(index => state.images.has(index))) state.images = new Set(indices.slice(0, 4));
    const all = `${indices}/${[...pictures.keys()]}`;
    if (all === shown) return;
    shown = all;
    node.replaceChildren(...indices.map(index => {
      const canvas = h("canvas", {"aria-hidden": "true"});
      attentionDraw(canvas, pictures.get(index), null, {});
      const press = button(canvas, () => {
        if (!state.images.delete(index)) state.images.add(index);
        press.setAttribute("aria-pressed", state.images.has(index));
        changed();
      }, {"aria-pressed": String(state.images.has(index)), class: "dcacn-button dcacn-attention-thumb", "aria-label": t("image_n", {index}), title: t("image_n", {index})});
      press.append(h("span", {}, String(index)));
      return press;
    }));
  }};
}

// A column of maps of one run and one kind: heading, colour bar with its ends, one drawing an image. {node, update(column)}.
function attentionPart({state, t, colours, point}) {
  const title = h("h4", {}), sub = h("span", {class: "dcacn-note"}), low = h("span", {}), high = h("span", {}), bar = h("canvas", {width: 256, height: 1, "aria-hidden": "true"});
  const strip = bar.getContext("2d").createImageData(256, 1), cells = h("div", {class: "dcacn-attention-cells"});
  for (let i = 0; i < 256; i++) strip.data.set([...colours.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  bar.getContext("2d").putImageData(strip, 0, 0);
  const node = h("div", {class: "dcacn-attention-part", role: "group"}, h("div", {class: "dcacn-attention-head"}, title, sub), h("div", {class: "dcacn-attention-scale"}, low, bar, high), cells);
  const drawings = new Map(); // index of an image -> {figure, canvas, words}
  const drawing = index => {
    const canvas = h("canvas", {role: "img"}), words = h("figcaption", {}), figure = h("figure", {"data-image": index}, canvas, words);
    const where = event => { const box = canvas.getBoundingClientRect(); point({x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height}); };
    canvas.addEventListener("pointermove", where);
    canvas.addEventListener("pointerdown", where);
    canvas.addEventListener("pointerleave", () => point(null));
    return {figure, canvas, words};
  };
  return {node, update({side, kind, run, frame}, indices, pictures, comparing) {
    title.textContent = t(kind);
    sub.textContent = [comparing ? attentionLabel(run, side, t) : null, t("epoch_n", {epoch: frame.epoch})].filter(Boolean).join(" · ");
    node.setAttribute("aria-label", `${title.textContent}, ${sub.textContent}`);
    const shared = kind === "spatial" ? [0, 1] : [0, run.most(kind, state.block)];
    [low.textContent, high.textContent] = state.stretch ? [t("lowest"), t("highest")] : [String(shared[0]), kind === "spatial" ? "1" : attentionNumber(shared[1])];
    cells.style.setProperty("--n", Math.max(1, indices.length));
    for (const [index, {figure}] of drawings) if (!indices.includes(index)) { figure.remove(); drawings.delete(index); }
    for (const index of indices) {
      if (!drawings.has(index)) drawings.set(index, drawing(index));
      const {figure, canvas, words} = drawings.get(index), map = attentionMap(frame, kind, state.block, index);
      if (cells.children[indices.indexOf(index)] !== figure) cells.insertBefore(figure, cells.children[indices.indexOf(index)] ?? null);
      const place = state.place, scale = map && state.stretch ? [map.low, map.high] : shared;
      attentionDraw(canvas, pictures.get(index), map, {scale, strength: state.strength, smooth: state.smooth, place, colours});
      const ends = map ? {low: attentionNumber(map.low), high: attentionNumber(map.high)} : {};
      words.textContent = !map ? t("not_mapped") : t("range", ends);
      canvas.setAttribute("aria-label", map ? t("map_label", {kind: t(kind), index, block: state.block, epoch: frame.epoch, ...ends}) : t("not_mapped"));
    }
  }};
}

// All columns, and the place that is marked in all of them: {node, update(columns, indices, pictures, comparing)}.
function attentionMaps({state, t, colours, redraw}) {
  const columns = h("div", {class: "dcacn-columns dcacn-attention-maps", tabindex: 0, role: "group", "aria-label": t("maps_label")});
  const told = h("p", {class: "dcacn-note dcacn-attention-told", role: "status"}), scale = h("p", {class: "dcacn-note"}), parts = new Map();
  const point = place => { state.place = place; redraw(); };
  let grid = null; // the map whose cells the arrow keys go through
  const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  columns.addEventListener("keydown", event => {
    if (event.key === "Escape") { point(null); return; }
    if (!(event.key in moves) || !grid) return;
    event.preventDefault();
    const [dx, dy] = moves[event.key], {row, column} = state.place ? attentionCell(grid, state.place) : {row: Math.floor(grid.height / 2) - dy, column: Math.floor(grid.width / 2) - dx};
    const inside = (i, n) => (Math.max(0, Math.min(n - 1, i)) + 0.5) / n;
    point({x: inside(column + dx, grid.width), y: inside(row + dy, grid.height)});
  });
  const say = (shown, indices) => {
    if (!state.place || !grid) { told.textContent = t("maps_hint"); return; }
    const {row, column} = attentionCell(grid, state.place);
    const values = shown.map(({kind, frame, side}) => `${shown.some(other => other.side) ? `${t(side ? "other_run" : "this_run")}, ` : ""}${t(kind)} ` + indices.map(index => {
      const map = attentionMap(frame, kind, state.block, index);
      return map ? attentionNumber(map.value(attentionCell(map, state.place).i)) : "–";
    }).join(", "));
    told.textContent = [t("place", {row: row + 1, rows: grid.height, column: column + 1, columns: grid.width}), ...values].join(" · ");
  };
  return {node: h("div", {}, columns, h("div", {class: "dcacn-attention-words"}, scale, told)), update(shown, indices, pictures, comparing) {
    const names = shown.map(({side, kind}) => `${side}${kind}`);
    columns.style.setProperty("--n", Math.max(1, shown.length));
    for (const [name, part] of parts) if (!names.includes(name)) { part.node.remove(); parts.delete(name); }
    shown.forEach((column, i) => {
      if (!parts.has(names[i])) parts.set(names[i], attentionPart({state, t, colours, point}));
      const part = parts.get(names[i]);
      if (columns.children[i] !== part.node) columns.insertBefore(part.node, columns.children[i] ?? null);
      part.update(column, indices, pictures, comparing);
    });
    grid = shown.length && indices.length ? attentionMap(shown[0].frame, shown[0].kind, state.block, indices[0]) : null;
    scale.textContent = t(state.stretch ? "own_scale" : "same_scale");
    say(shown, indices);
  }};
}

// A slider over the snapshots and a button that plays them: {node, update(frames)}; state.epoch is null as long as the newest is followed.
function attentionTime({state, t, stop, changed}) {
  let frames = [], timer = 0;
  const at = () => state.epoch === null ? frames.length - 1 : frames.reduce((best, frame, i) => Math.abs(frame.epoch - state.epoch) < Math.abs(frames[best].epoch - state.epoch) ? i : best, 0);
  const go = (i, playing) => { state.epoch = i >= frames.length - 1 ? null : frames[i].epoch; changed(!playing); };
  const control = slider({label: t("epoch"), min: 0, max: 0, value: 0, oninput: i => { halt(); go(i); }, show: i => String(frames[i]?.epoch ?? "–")});
  const halt = () => { clearInterval(timer); timer = 0; play.textContent = t("play"); };
  const next = () => {
    const i = at() + 1;
    if (i >= frames.length - 1) halt();
    go(Math.min(i, frames.length - 1), timer);
  };
  const play = button(t("play"), () => {
    if (timer) { halt(); changed(true); return; }
    if (at() >= frames.length - 1) go(0, true);
    play.textContent = t("pause");
    timer = setInterval(next, calm() ? 2000 : 700);
  });
  stop.add(() => clearInterval(timer));
  return {node: h("div", {class: "dcacn-row"}, control.node, play), update(found) {
    frames = found;
    play.disabled = control.input.disabled = frames.length < 2;
    control.set(Math.max(0, frames.length && at()), Math.max(0, frames.length - 1));
    return frames[at()] ?? null;
  }};
}

// What stands below: what is missing from a comparison, and how to get one.
function attentionNotes(t) {
  const lines = h("div", {}), code = h("code", {}), more = h("details", {class: "dcacn-note dcacn-attention-code", hidden: true}, h("summary", {}, t("compare")), h("pre", {}, code));
  return {node: h("div", {}, lines, more), update(found, text) {
    const texts = found.filter(Boolean);
    if (lines.textContent !== texts.join("")) lines.replaceChildren(...texts.map(text => h("p", {class: "dcacn-note", role: "status"}, text)));
    more.hidden = !text;
    if (code.textContent !== text) code.textContent = text;
  }};
}

function attentionControls({state, t, changed}) {
  const block = choice({label: t("block"), options: [], onchange: value => { state.block = value; changed(true); }});
  const kind = choice({label: t("shown"), value: state.kind, options: ["both", "spatial", "activation"].map(key => [key, t(key)]), onchange: value => { state.kind = value; changed(); }});
  const strength = slider({label: t("strength"), min: 0, max: 100, step: 5, value: Math.round(100 * state.strength), show: x => `${x}%`, oninput: x => { state.strength = x / 100; changed(); }});
  const stretch = tick({label: t("stretch"), checked: state.stretch, onchange: on => { state.stretch = on; changed(); }});
  const smooth = tick({label: t("smooth"), checked: state.smooth, onchange: on => { state.smooth = on; changed(); }});
  let listed = "";
  return {node: h("div", {class: "dcacn-row"}, block.node, kind.node, strength.node, stretch.node, smooth.node), update(blocks, kinds) {
    kind.node.hidden = kinds < 2;
    if (`${blocks}` !== listed) block.select.replaceChildren(...blocks.map(name => h("option", {value: name}, name)));
    listed = `${blocks}`;
    block.select.value = state.block ?? "";
  }};
}

function renderAttention({model, root, t, stop}) {
  const key = model.get("key"), colours = u8(model.get("colours")), runs = [new AttentionRun(), new AttentionRun()];
  if (!attentionChosen.has(key)) attentionChosen.set(key, {block: null, kind: "both", images: null, strength: 0.65, stretch: false, smooth: false, sorted: false, epoch: null, place: null, channel: null});
  const state = attentionChosen.get(key);
  state.place = state.channel = null;
  let asked = 0, telling = 0;
  const redraw = () => { asked ||= requestAnimationFrame(refresh); };
  const changed = tell => {
    redraw();
    if (!tell) return;
    clearTimeout(telling);
    telling = setTimeout(() => model.send({kind: "look", block: state.block, epoch: state.epoch}), 150);
  };
  stop.add(() => { cancelAnimationFrame(asked); clearTimeout(telling); });
  const controls = attentionControls({state, t, changed}), time = attentionTime({state, t, stop, changed}), thumbs = attentionThumbs({state, t, changed});
  const maps = attentionMaps({state, t, colours, redraw}), bars = attentionBars({state, t, stop}), notes = attentionNotes(t);
  const body = h("div", {hidden: true}, controls.node, time.node, thumbs.node, maps.node, bars.node);

  function refresh() {
    asked = 0;
    const [mine, other] = runs, comparing = Boolean(mine.about.comparing), frame = time.update(mine.ordered);
    body.hidden = !frame;
    if (!frame) { notes.update([], ""); return; } // the summary says why
    const blocks = [...new Set([...frame.parts.keys()].map(name => name.slice(name.indexOf(".") + 1)))];
    if (!blocks.includes(state.block)) state.block = mine.about.block;
    const pictures = mine.pictures.size ? mine.pictures : other.pictures, beside = comparing ? other.nearest(frame.epoch) : null;
    thumbs.update(frame.indices, pictures);
    const indices = frame.indices.filter(index => state.images.has(index)), block = state.block;
    const columns = attentionColumns(runs, [frame, beside], state, comparing);
    controls.update(blocks, [...frame.parts.keys()].filter(name => name.endsWith(`.${block}`) && !name.startsWith("channel")).length);
    maps.update(columns, indices, pictures, comparing);
    bars.update({frame, first: mine.ordered[0], block, indices, known: indices.length && mine.about.note !== "no_attention"});
    notes.update([indices.length ? null : t("choose"), comparing && attentionBeside(other, beside, frame, block, t)], mine.about.code);
  }

  listen(model, stop, {
    run(content, buffers) {
      const run = runs[content.side];
      run.keep(content.token, content.keep);
      run.about = content;
      if (content.images) attentionPictures(content.images, buffers[0]).then(found => { if (run.token === content.token) { run.pictures = found; redraw(); } });
      redraw();
    },
    frame(content, buffers) { runs[content.side].take(content, buffers); redraw(); },
  });
  root.append(h("h3", {}, t("title")), body, notes.node, summary(model, stop));
}

// Why the other run shows less than it could.
function attentionBeside(other, beside, frame, block, t) {
  if (!beside) return other.about.note ? t(other.about.note) : t("other_waiting");
  if (!beside.parts.has(`activation.${block}`)) return t("other_block", {block});
  return frame.indices.some(index => beside.indices.includes(index)) ? null : t("other_images");
}
