// Curves over the epochs: one panel a quantity, all on one axis; colour and mark say what a line shows, its dashes say of which run.
// Python sends rows of numbers (Rows in widgets/curves.py): steps are (epoch, learning rate, images a second, gradient norm, loss terms ...), scores are
// (epoch, ACC, NMI, ARI). What a person has chosen (part of the axis, lines put out) is kept on `root`, so that it survives a change of language.

const CURVES_DASHES = [[], [6, 3], [1.5, 2.5], [9, 3, 1.5, 3], [14, 4], [4, 2, 1, 2, 1, 2], [3, 5], [14, 3, 5, 3]];
const CURVES_SCORES = [["ACC", "#D55E00", "circle"], ["NMI", "#0072B2", "square"], ["ARI", "#009E73", "triangle"]]; // as dcacn_nb.picture.SCORES: red, blue, green
const CURVES_MARGIN = {left: 50, right: 12, top: 8, bottom: 36};

// ---- what Python tells
function curvesTake(part, width, {anew, kept}, values) { // the last row may stand in for those between two kept ones: it goes when the next message comes
  if (anew) Object.assign(part, {columns: Array.from({length: width}, () => []), kept: 0});
  part.columns.forEach((column, c) => {
    column.length = part.kept;
    for (let i = c; i < values.length; i += width) column.push(values[i]);
  });
  part.kept += kept;
}

function curvesPanels(t, runs) { // lines: {key, text, color, shape, column(run)}
  const one = (key, column, color) => [{key, text: t(key), color, shape: "circle", column: () => column}];
  const terms = [...new Set(runs.flatMap(run => run.terms))];
  return [
    {key: "scores", part: "scores", most: 1, lines: CURVES_SCORES.map(([text, color, shape], i) => ({key: text, text, color, shape, column: () => i + 1}))},
    {key: "losses", part: "steps", log: true, lines: terms.map((term, i) => ({key: term, text: curvesTerm(t, term), color: colorOf(i), shape: shapeOf(i),
                                                                              column: run => run.terms.indexOf(term) + (run.terms.includes(term) ? 4 : 1e9)}))},
    {key: "rate", part: "steps", zero: true, lines: one("rate", 1, colorOf(5))},
    {key: "speed", part: "steps", zero: true, lines: one("speed", 2, colorOf(4))},
    {key: "gradient", part: "steps", log: true, lines: one("gradient", 3, colorOf(6))},
  ];
}

const curvesTerm = (t, term) => t(`term_${term}`).replace(/^term_/, ""); // a term that the widget does not know goes by its own name

// ---- numbers
const curvesScale = (low, high, from, to) => value => from + (value - low) / (high - low) * (to - from);
const curvesNumber = (x, digits = 3) => { // as people write it, as far as that is short
  const size = Math.abs(x);
  return size === 0 || (size >= 1e-5 && size < 1e6) ? String(Number(x.toPrecision(Math.max(digits, Math.ceil(Math.log10(size || 1)))))) : x.toExponential(1);
};
const curvesEpoch = x => String(Number(x.toFixed(2)));

function curvesLower(xs, x) { // the first place whose number is not below x; xs rise
  let [a, b] = [0, xs.length];
  while (a < b) { const middle = (a + b) >> 1; if (xs[middle] < x) a = middle + 1; else b = middle; }
  return a;
}

function curvesNear(xs, x) { // the place nearest to x, the last one for null; -1 where the run has nothing there
  const n = xs.length;
  if (!n || x === null) return n - 1;
  const i = curvesLower(xs, x), j = i === n || (i > 0 && x - xs[i - 1] <= xs[i] - x) ? i - 1 : i;
  return x > xs[n - 1] + (n > 1 ? xs[n - 1] - xs[n - 2] : 1) ? -1 : j;
}

// ---- what is seen
function curvesLines(panel, runs, hidden) {
  const seen = [];
  runs.forEach((run, r) => panel.lines.forEach((line, l) => {
    const columns = run[panel.part].columns, ys = columns[line.column(run)];
    if (ys?.length && !hidden.has(`run ${run.label}`) && !hidden.has(`${panel.key} ${line.key}`)) seen.push({line, l, run, r, xs: columns[0], ys});
  }));
  return seen;
}

function curvesEnd(runs, hidden) { // where the axis of epochs ends
  const ends = runs.filter(run => !hidden.has(`run ${run.label}`)).flatMap(run => [run.steps, run.scores].map(({columns}) => columns[0]?.at(-1) ?? 0));
  return Math.max(0, ...ends) || 1;
}

function curvesHeights(lines, [a, b], panel, {log, near}) { // lowest and highest value in sight (their logarithms, if so drawn); a little air
  let [low, high] = [Infinity, -Infinity];
  for (const {xs, ys} of lines) {
    for (let i = curvesLower(xs, a); i < xs.length && xs[i] <= b; i++) {
      const y = log ? Math.log10(ys[i]) : ys[i];
      if (Number.isFinite(y)) { low = Math.min(low, y); high = Math.max(high, y); }
    }
  }
  if (low > high) [low, high] = log ? [-1, 0] : [0, 1];
  if (!log && (panel.zero || (panel.most && !near))) low = Math.min(low, 0);
  if (panel.most && !near) high = Math.max(high, panel.most);
  const air = (high - low || Math.abs(high) || 1) * 0.05;
  return [low === 0 ? 0 : low - air, high + air];
}

function curvesMarks(low, high, log, room) { // [height, text] along the upright axis
  if (!log) return ticks(low, high, Math.max(2, room / 30)).map(y => [y, curvesNumber(y, 6)]);
  if (high - low < 1) return ticks(10 ** low, 10 ** high, 5).map(value => [Math.log10(value), curvesNumber(value, 6)]); // less than from 1 to 10: round numbers
  const found = [], fine = high - low < 2 ? [1, 2, 5] : [1], every = Math.ceil((high - low) / Math.max(2, room / 30));
  for (let power = Math.floor(low); power <= high; power += every) for (const m of fine) found.push([power + Math.log10(m), curvesNumber(Number(`${m}e${power}`))]);
  return found.filter(([y]) => y >= low && y <= high);
}

// ---- drawing
function curvesAxes(context, box, colors, range, heights, log, t) {
  const x = curvesScale(...range, box.left, box.right), y = curvesScale(...heights, box.bottom, box.top);
  Object.assign(context, {font: colors.font, fillStyle: colors.soft, strokeStyle: colors.line, lineWidth: 1, textBaseline: "middle", textAlign: "right"});
  context.beginPath();
  for (const [value, text] of curvesMarks(...heights, log, box.bottom - box.top)) {
    context.moveTo(box.left, y(value));
    context.lineTo(box.right, y(value));
    context.fillText(text, box.left - 6, y(value));
  }
  context.textAlign = "center";
  for (const value of ticks(...range, Math.max(2, (box.right - box.left) / 70))) {
    context.moveTo(x(value), box.bottom);
    context.lineTo(x(value), box.bottom + 4);
    context.fillText(curvesNumber(value, 6), x(value), box.bottom + 12);
  }
  context.fillText(t("epoch"), (box.left + box.right) / 2, box.bottom + 27);
  context.stroke();
  return [x, y];
}

// One line with gaps where there is no value. Marks stand at every 2^n-th point, so that they keep their places while the run goes on.
function curvesLine(context, {line, l, r, xs, ys}, x, y, [a, b]) {
  const from = Math.max(0, curvesLower(xs, a) - 1), to = Math.min(xs.length - 1, curvesLower(xs, b)), points = [];
  for (let i = from; i <= to; i++) points.push([x(xs[i]), y(ys[i])]);
  const known = i => i >= 0 && i < points.length && Number.isFinite(points[i][1]);
  Object.assign(context, {strokeStyle: line.color, fillStyle: line.color, lineWidth: r ? 1.5 : 2, lineJoin: "bevel"});
  context.setLineDash(CURVES_DASHES[r]);
  context.beginPath();
  points.forEach(([px, py], i) => { if (known(i)) context[known(i - 1) ? "lineTo" : "moveTo"](px, py); });
  context.stroke();
  context.setLineDash([]);
  const wide = points.length > 1 ? (points.at(-1)[0] - points[0][0]) / (points.length - 1) : 99;
  const every = 2 ** Math.max(0, Math.ceil(Math.log2(45 / Math.max(wide, 0.01)))), first = Math.floor(l * every / 3) % every; // each line at places of its own
  points.forEach(([px, py], i) => {
    const alone = !known(i - 1) && !known(i + 1);
    if (known(i) && (alone || (from + i) % every === first)) mark(context, line.shape, px, py, 3.5);
  });
}

function curvesCross(context, box, colors, lines, x, y, at) { // the upright line, and the points whose values are told
  Object.assign(context, {strokeStyle: colors.ink, lineWidth: 1});
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x(at), box.top);
  context.lineTo(x(at), box.bottom);
  context.stroke();
  context.setLineDash([]);
  for (const {line, xs, ys} of lines) {
    const i = curvesNear(xs, at), py = i < 0 ? NaN : y(ys[i]);
    if (!Number.isFinite(py)) continue;
    context.fillStyle = colors.paper;
    mark(context, line.shape, x(xs[i]), py, 6.5);
    context.fillStyle = line.color;
    mark(context, line.shape, x(xs[i]), py, 4.5);
  }
}

function curvesLayer({width, height, scale, colors, range, log}, panel, lines, t) { // axes and lines, on a canvas of their own
  const node = h("canvas", {width: Math.round(width * scale), height: Math.round(height * scale)});
  const context = node.getContext("2d");
  const box = {left: CURVES_MARGIN.left, right: width - CURVES_MARGIN.right, top: CURVES_MARGIN.top, bottom: height - CURVES_MARGIN.bottom};
  context.scale(scale, scale);
  const [x, level] = curvesAxes(context, box, colors, range.span, curvesHeights(lines, range.span, panel, {log, near: range.near}), log, t);
  const y = value => level(log ? Math.log10(value) : value); // not finite for what has no logarithm: a gap
  context.beginPath();
  context.rect(box.left - 5, 0, box.right - box.left + 10, box.bottom + 5); // room for marks at the ends
  context.clip();
  for (const line of [...lines].reverse()) curvesLine(context, line, x, y, range.span); // the first run on top
  return {node, box, x, y};
}

// Lines are drawn anew only when they have changed: while the pointer moves, the layer stays and the cross alone is drawn.
function curvesDraw(context, width, height, colors, panel, {runs, state, t, version}) {
  const range = {span: state.range ?? [0, curvesEnd(runs, state.hidden)], near: state.range !== null}, lines = curvesLines(panel, runs, state.hidden);
  const look = {width, height, scale: window.devicePixelRatio || 1, colors, range, log: state.log.has(panel.key), hidden: [...state.hidden], version}, key = JSON.stringify(look);
  if (panel.layer?.key !== key) panel.layer = {key, ...curvesLayer(look, panel, lines, t)};
  const {node, box, x, y} = panel.layer;
  context.drawImage(node, 0, 0, width, height);
  if (state.band) {
    Object.assign(context, {fillStyle: colors.accent, globalAlpha: 0.2});
    context.fillRect(x(state.band[0]), box.top, x(state.band[1]) - x(state.band[0]), box.bottom - box.top);
    context.globalAlpha = 1;
  }
  const [from, to] = range.span;
  if (state.at !== null && state.at >= from && state.at <= to) curvesCross(context, box, colors, lines, x, y, state.at);
}

function curvesSwatch({color, shape}) { // a piece of a line, for legends: its colour is the same on any paper
  const scale = window.devicePixelRatio || 1, node = h("canvas", {width: 30 * scale, height: 14 * scale, class: "dcacn-curves-swatch", "aria-hidden": "true"});
  const context = node.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = color;
  context.fillRect(0, 6, 30, 2);
  mark(context, shape, 15, 7, 4);
  return node;
}

function curvesDash(r) { // the dashes of a run, in the colour of the text around
  const [picture, line] = ["svg", "line"].map(name => document.createElementNS("http://www.w3.org/2000/svg", name));
  Object.entries({class: "dcacn-curves-swatch", "aria-hidden": "true"}).forEach(pair => picture.setAttribute(...pair));
  Object.entries({x1: 0, x2: 40, y1: 7, y2: 7, stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": CURVES_DASHES[r].join(" ")}).forEach(pair => line.setAttribute(...pair));
  picture.append(line);
  return picture;
}

// ---- values in words
function curvesValue(panel, line, run, at) { // "0.912"; "–" where there is none
  const {columns} = run[panel.part], i = columns.length ? curvesNear(columns[0], at) : -1, value = columns[line.column(run)]?.[i];
  return Number.isFinite(value) ? panel.most ? value.toFixed(3) : curvesNumber(value) : "–";
}

function curvesSaid(panel, {runs, state, t}) { // "epoch 12: ACC 0.912, NMI 0.870": what a screen reader says of a panel
  const at = state.at ?? Math.max(...runs.map(run => run[panel.part].columns[0]?.at(-1) ?? 0));
  const told = runs.filter(run => !state.hidden.has(`run ${run.label}`)).map(run => (runs.length > 1 ? `${run.label}: ` : "")
    + panel.lines.filter(line => !state.hidden.has(`${panel.key} ${line.key}`)).map(line => `${line.text} ${curvesValue(panel, line, run, state.at)}`).join(", "));
  return `${t("epoch_n", {epoch: curvesEpoch(at)})}: ${told.join("; ")}`;
}

function curvesTable(view) { // quantities down, runs across; returns what writes the values in
  const {runs, panels, t} = view, cells = [], caption = h("caption");
  const head = runs.map((run, r) => h("th", {scope: "col"}, run.label, runs.length > 1 ? curvesDash(r) : null));
  const rows = panels.flatMap(panel => panel.lines.map(line => {
    const name = panel.key === "losses" ? `${t("loss")}: ${line.text}` : line.text;
    const values = runs.map(run => { const cell = h("td"); cells.push([cell, panel, line, run]); return cell; });
    return h("tr", {}, h("th", {scope: "row"}, curvesSwatch(line), name), values);
  }));
  const table = h("table", {class: "dcacn-curves-values"}, caption, runs.length > 1 ? h("thead", {}, h("tr", {}, h("td"), head)) : null, h("tbody", {}, rows));
  const write = () => {
    caption.textContent = view.state.at === null ? t("values_last") : t("values_at", {epoch: curvesEpoch(view.state.at)});
    for (const [cell, panel, line, run] of cells) cell.textContent = curvesValue(panel, line, run, view.state.at);
  };
  return {table, write};
}

// ---- what a person does
function curvesZoom(view, factor) { // about the cross, or the middle
  const full = [0, curvesEnd(view.runs, view.state.hidden)], [a, b] = view.state.range ?? full, centre = view.state.at ?? (a + b) / 2;
  const span = Math.min(full[1], Math.max(full[1] / 2000, (b - a) * factor)), share = (centre - a) / (b - a);
  curvesShow(view, Math.max(0, centre - share * span), span);
}

function curvesShow(view, from, span) { // that part of the axis, as far as there is one
  const end = curvesEnd(view.runs, view.state.hidden), start = Math.max(0, Math.min(from, end - span));
  view.state.range = span >= end * 0.999 ? null : [start, start + span];
  view.refresh();
}

function curvesStep(view, panel, move) { // the cross goes to another point of the panel's first line; the axis follows
  const {at, range} = view.state, xs = curvesLines(panel, view.runs, view.state.hidden)[0]?.xs;
  if (!xs) return;
  const last = xs.length - 1, i = curvesNear(xs, Math.min(at ?? range?.[1] ?? Infinity, xs[last]));
  view.state.at = xs[Math.max(0, Math.min(last, i + move))];
  if (range && (view.state.at < range[0] || view.state.at > range[1])) curvesShow(view, view.state.at - (range[1] - range[0]) / 2, range[1] - range[0]);
  else view.refresh();
}

function curvesKeys(view, panel) {
  const step = (event, sign) => curvesStep(view, panel, sign * (event.shiftKey ? 10 : 1));
  const keys = {ArrowRight: event => step(event, 1), ArrowLeft: event => step(event, -1), Home: () => curvesStep(view, panel, -1e9), End: () => curvesStep(view, panel, 1e9),
                "+": () => curvesZoom(view, 0.5), "=": () => curvesZoom(view, 0.5), "-": () => curvesZoom(view, 2), "0": () => curvesReset(view),
                Escape: () => { view.state.at = null; view.refresh(); }};
  return event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key](event);
  };
}

function curvesReset(view) {
  Object.assign(view.state, {range: null, band: null});
  view.refresh();
}

function curvesPointer(view, panel) { // hover reads values, a drag along the axis zooms
  let start = null;
  const {state} = view, place = event => { // the epoch under the pointer
    const [a, b] = state.range ?? [0, curvesEnd(view.runs, state.hidden)];
    return panel.layer ? Math.max(a, Math.min(b, curvesScale(panel.layer.box.left, panel.layer.box.right, a, b)(spot(event, panel.node)[0]))) : a;
  };
  const read = event => {
    const xs = curvesLines(panel, view.runs, state.hidden)[0]?.xs, i = xs ? curvesNear(xs, place(event)) : -1;
    state.at = i < 0 ? (xs?.at(-1) ?? null) : xs[i];
    view.refresh();
  };
  const leave = () => { start = null; Object.assign(state, {band: null, at: null}); view.refresh(); };
  return {
    onpointerdown(event) { if (event.button === 0) { start = [event.clientX, place(event)]; panel.node.setPointerCapture(event.pointerId); } },
    onpointermove(event) {
      if (start && Math.abs(event.clientX - start[0]) > 4) state.band = [start[1], place(event)].sort((a, b) => a - b);
      read(event);
    },
    onpointerup(event) {
      const band = state.band;
      Object.assign(state, {band: null});
      start = null;
      if (band && band[1] > band[0]) curvesShow(view, band[0], Math.max(band[1] - band[0], curvesEnd(view.runs, state.hidden) / 2000));
      else read(event);
    },
    onpointerleave: leave, onpointercancel: leave, ondblclick: () => curvesReset(view),
  };
}

function curvesToggle(view, key, label, ...children) { // a legend entry that puts a line (or a run) out and in again
  const node = h("button", {type: "button", class: "dcacn-curves-key", "aria-pressed": String(!view.state.hidden.has(key)), "aria-label": label, onclick() {
    if (!view.state.hidden.delete(key)) view.state.hidden.add(key);
    node.setAttribute("aria-pressed", String(!view.state.hidden.has(key)));
    view.refresh();
  }}, children);
  return node;
}

// ---- the parts of the view
function curvesPanel(view, panel, stop) {
  const {t, state} = view, title = t(panel.key), single = panel.lines.length === 1;
  const canvas = plot({height: 210, label: t("by_epoch", {what: title}), stop, draw: (...place) => curvesDraw(...place, panel, view),
                       attributes: {tabindex: 0, role: "slider", "aria-valuemin": 0, onkeydown: curvesKeys(view, panel), ...curvesPointer(view, panel)}});
  const values = panel.lines.map(() => h("span", {class: "dcacn-curves-value", "aria-hidden": "true"}));
  const legend = single ? values : panel.lines.map((line, i) => curvesToggle(view, `${panel.key} ${line.key}`, line.text, curvesSwatch(line), line.text, values[i]));
  const scale = panel.log ? tick({label: t("log"), checked: state.log.has(panel.key), onchange(checked) { state.log[checked ? "add" : "delete"](panel.key); view.refresh(); }}) : null;
  scale?.input.setAttribute("aria-label", `${title}: ${t("log")}`);
  const note = h("p", {class: "dcacn-note"}), keys = h("div", {class: "dcacn-curves-legend"}, legend, scale?.node);
  Object.assign(panel, canvas, {show() {
    const lines = panel.lines.flatMap(line => view.runs.map(run => run[panel.part].columns[line.column(run)] ?? [])), empty = !lines.some(ys => ys.some(Number.isFinite));
    const below = state.log.has(panel.key) && curvesLines(panel, view.runs, state.hidden).some(({ys}) => ys.some(y => y <= 0));
    const unlabelled = panel.key === "scores" && view.runs.some(run => run.scores.columns[0]?.length);
    note.textContent = empty ? t(unlabelled ? "no_scores" : "untold") : below ? t("no_log") : "";
    note.hidden = !note.textContent;
    canvas.node.hidden = keys.hidden = empty;
    panel.lines.forEach((line, i) => { values[i].textContent = view.runs.length > 1 ? "" : curvesValue(panel, line, view.runs[0], state.at); });
    const now = state.at ?? curvesEnd(view.runs, state.hidden);
    for (const [name, value] of [["now", now], ["max", curvesEnd(view.runs, new Set())], ["text", curvesSaid(panel, view)]]) canvas.node.setAttribute(`aria-value${name}`, value);
    canvas.redraw();
  }});
  return h("div", {class: "dcacn-curves-panel", role: "group", "aria-label": title}, h("div", {class: "dcacn-curves-head"}, h("strong", {}, title), keys), canvas.node, note);
}

function curvesTools(view) { // what concerns all panels: the part of the axis, and which runs are seen
  const {t, runs} = view, reset = button(t("reset_view"), () => curvesReset(view)), zoom = (sign, factor, name) => button(sign, () => curvesZoom(view, factor), {"aria-label": name, title: name});
  view.tools = () => { reset.disabled = view.state.range === null; };
  const keys = runs.length > 1 ? h("div", {class: "dcacn-curves-legend", role: "group", "aria-label": t("runs")}, h("strong", {}, t("runs")),
    runs.map((run, r) => curvesToggle(view, `run ${run.label}`, run.label, curvesDash(r), run.label))) : null;
  return h("div", {class: "dcacn-row"}, zoom("+", 0.5, t("zoom_in")), zoom("−", 2, t("zoom_out")), reset, keys);
}

function curvesBuild(view) { // everything that depends on which runs and which lines there are
  view.inner.run();
  view.panels = curvesPanels(view.t, view.runs);
  const panels = view.panels.map(panel => curvesPanel(view, panel, view.inner)), {table, write} = curvesTable(view);
  view.write = write;
  view.place.replaceChildren(curvesTools(view), h("div", {class: "dcacn-columns dcacn-curves"}, panels, h("div", {class: "dcacn-curves-panel dcacn-curves-told"}, table)),
                             h("p", {class: "dcacn-note"}, view.t("hint")));
}

function renderCurves({model, root, t, stop}) {
  const state = root.curves ??= {range: null, band: null, at: null, hidden: new Set(), log: new Set()}, all = [];
  const waiting = h("p", {class: "dcacn-note"}, t("waiting")), place = h("div");
  const view = {root, t, state, place, inner: new Cleanup(), runs: [], panels: [], version: 0, refresh() {
    if (state.range && state.range[0] >= curvesEnd(view.runs, state.hidden)) state.range = null; // the run began anew
    waiting.hidden = view.runs.length > 0;
    place.hidden = !waiting.hidden;
    if (!view.runs.length) return;
    view.panels.forEach(panel => panel.show());
    view.write();
    view.tools();
  }};
  stop.add(() => view.inner.run());
  listen(model, stop, {
    run({run, label, terms, begun}) {
      const one = all[run] ??= {};
      if (one.terms?.join("\n") !== terms.join("\n")) Object.assign(one, {steps: {columns: [], kept: 0}, scores: {columns: [], kept: 0}});
      Object.assign(one, {label, terms, begun});
      view.runs = all.filter(run => run?.begun);
      const parts = JSON.stringify(view.runs.map(run => [run.label, run.terms]));
      if (view.runs.length && parts !== view.parts) curvesBuild(view); // a message that changes nothing must not take the focus away
      view.parts = parts;
      view.version++;
      view.refresh();
    },
    rows({run, part, ...content}, [buffer]) {
      const one = all[run];
      curvesTake(one[part], part === "steps" ? 4 + one.terms.length : 4, content, f32(buffer));
      view.version++;
      view.refresh();
    },
  });
  root.append(waiting, place, summary(model, stop));
}
