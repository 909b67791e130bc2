// LossLab: six points on a circle, and six images in a triangle of three clusters. A hand moves a point, Python computes the losses, the answer is drawn here.
// Places on a stage are shares of its width and height, from its upper left corner. No loss is computed here.

const LOSSLAB_FORMS = {coupled: {color: "#0072B2", dash: [], side: 1}, decoupled: {color: "#D55E00", dash: [5, 3], side: -1}}; // side: outside or inside the circle
const LOSSLAB_RADIUS = 0.36; // of the circle
const LOSSLAB_ARC = 0.55; // radians of arrow for a slope of 1 / temperature
const LOSSLAB_CORNERS = [[0.17, 0.8], [0.83, 0.8], [0.5, 0.8 - 0.33 * Math.sqrt(3)]];
const LOSSLAB_POINTS = ["A1", "B1", "C1", "A2", "B2", "C2"], LOSSLAB_IMAGES = ["A", "B", "C", "D", "E", "F"];
const LOSSLAB_EXAMPLES = ["balanced", "collapsed", "exact", "uniform"];
const losslabBeside = i => [25 * Math.cos(i * Math.PI / 3), -25 * Math.sin(i * Math.PI / 3)]; // pixels by which image i stands beside its place
const losslabPercent = share => `${Math.round(100 * share)} %`;
const losslabFixed = x => x.toFixed(3).replace("-", "−");

// Ask Python. One question at a time, the newest wishes together, so that a drag never floods the kernel.
function losslabAsker(model, stop) {
  let waiting = 0, next = null;
  const go = () => { model.send(next); next = null; waiting = setTimeout(answered, 5000); };
  const answered = () => { clearTimeout(waiting); waiting = 0; if (next) go(); };
  stop.add(() => clearTimeout(waiting));
  return {
    answered,
    get more() { return next !== null; }, // whether the answer that comes is out of date already
    ask(wish) { next = {kind: "show", ...next, ...wish}; if (!waiting) go(); },
    act(message) { if (next) model.send(next); next = null; model.send(message); },
  };
}

// ---- what can be dragged
// A stage: a square canvas with buttons on it, which a mouse, a finger or the arrow keys move.
function losslabStage({label, draw, stop, handles}) {
  const view = plot({label, draw, stop, attributes: {class: "dcacn-losslab-canvas", style: ""}});
  return {...view, node: h("div", {class: "dcacn-losslab-stage"}, view.node, handles.map(handle => handle.node))};
}

// One handle. drag(x, y): to where it is wanted. nudge(x, y, small): an arrow key was pressed.
function losslabHandle({name, kind, attributes, drag, nudge}) {
  const node = h("button", {type: "button", class: `dcacn-losslab-handle dcacn-losslab-${kind}`, ...attributes}, name);
  let from = null; // where the pointer and the handle were when it was taken
  node.addEventListener("pointerdown", event => {
    if (event.button) return;
    const stage = node.parentElement.getBoundingClientRect();
    from = {pointer: [event.clientX, event.clientY], place: [parseFloat(node.dataset.x), parseFloat(node.dataset.y)], size: [stage.width, stage.height]};
    node.setPointerCapture(event.pointerId);
    node.focus({preventScroll: true});
    event.preventDefault();
  });
  node.addEventListener("pointermove", event => {
    if (from) drag(...[event.clientX, event.clientY].map((at, i) => from.place[i] + (at - from.pointer[i]) / from.size[i]));
  });
  node.addEventListener("lostpointercapture", () => { from = null; });
  node.addEventListener("keydown", event => {
    const way = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [1, 0], PageDown: [-1, 0],
      Home: [0, 0], End: [0, 0]}[event.key]; // there is no first and no last place; but the page must not scroll away
    if (!way || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (way.some(Boolean)) nudge(...way, event.shiftKey || event.key.startsWith("Page"));
  });
  return {node, get held() { return from !== null; }, put([x, y], [dx, dy] = [0, 0]) {
    Object.assign(node.dataset, {x, y});
    node.style.left = `calc(${100 * x}% + ${dx}px)`;
    node.style.top = `calc(${100 * y}% + ${dy}px)`;
  }};
}

function losslabHead(context, x, y, angle, paper) { // the head of an arrow; filled, or open where paper is given
  const cos = Math.cos(angle), sin = Math.sin(angle);
  context.setLineDash([]);
  context.beginPath();
  [[8, 0], [-3, 5.5], [-3, -5.5]].forEach(([u, v], i) => context[i ? "lineTo" : "moveTo"](x + u * cos - v * sin, y + u * sin + v * cos));
  context.closePath();
  if (paper) { context.save(); context.fillStyle = paper; context.fill(); context.restore(); context.stroke(); } else context.fill();
}

// ---- the readings
const losslabRule = form => h("span", {class: `dcacn-losslab-rule dcacn-losslab-rule-${form}`, "aria-hidden": "true"});

// A table whose cells are filled later: {node, cells[row][column], marks[row]}.
function losslabTable(caption, heads, rows, attributes = {}) {
  const cells = rows.map(() => heads.slice(1).map(() => h("td"))), marks = rows.map(() => h("span", {class: "dcacn-losslab-mark", "aria-hidden": "true"}));
  const title = h("caption", {}, caption);
  const node = h("table", {class: "dcacn-losslab-table", ...attributes}, title, h("thead", {}, h("tr", {}, heads.map(head => h("th", {scope: "col"}, head)))),
                 h("tbody", {}, rows.map((row, i) => h("tr", {}, h("th", {scope: "row"}, marks[i], row), cells[i]))));
  return {node, cells, marks, title};
}

// ---- page 1: points on a circle
function losslabCircle(context, width, height, colours, state) {
  if (!state.told) return;
  const [x, y] = [width / 2, height / 2], radius = LOSSLAB_RADIUS * width, turns = state.angles.map(angle => angle * Math.PI / 180);
  const place = (turn, r) => [x + r * Math.cos(turn), y - r * Math.sin(turn)];
  context.strokeStyle = colours.line;
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
  context.strokeStyle = colours.soft;
  context.setLineDash([2, 4]);
  for (let i = 0; i < 3; i++) { // the two views of one image
    context.beginPath();
    context.moveTo(...place(turns[i], radius));
    context.lineTo(...place(turns[i + 3], radius));
    context.stroke();
  }
  context.lineWidth = 2.5;
  for (const [form, {color, dash, side}] of Object.entries(LOSSLAB_FORMS)) {
    context.strokeStyle = context.fillStyle = color;
    const r = radius + side * 24;
    turns.forEach((turn, i) => {
      const way = -LOSSLAB_ARC * state.told.temperature * state.told[`${form}_slope`][i] * radius / r, end = turn + way, sign = Math.sign(way);
      if (Math.abs(way) * r < 1.5) return; // too short to be seen
      context.setLineDash(dash);
      context.beginPath();
      context.arc(x, y, r, -turn, -end, way > 0); // a canvas turns clockwise
      context.stroke();
      losslabHead(context, ...place(end, r), Math.atan2(-sign * Math.cos(end), -sign * Math.sin(end)), form === "decoupled" && colours.paper);
    });
  }
  context.setLineDash([]);
}

function losslabReadings(t) {
  const value = {}, lines = Object.keys(LOSSLAB_FORMS).map(form => h("div", {class: "dcacn-losslab-value", "data-form": form}, losslabRule(form), h("span", {}, t(`${form}_loss`)), value[form] = h("output", {})));
  const table = losslabTable(t("anchors"), ["anchor", "angle", "multiplier", "slope_coupled", "slope_decoupled"].map(key => t(key)), LOSSLAB_POINTS);
  const bars = table.cells.map(row => { const bar = h("span", {class: "dcacn-losslab-bar", "aria-hidden": "true"}), figure = h("span"); row[1].append(figure, h("span", {class: "dcacn-losslab-track"}, bar)); return {bar, figure}; });
  return {node: h("div", {}, lines, table.node, h("p", {class: "dcacn-note"}, t("multiplier_says"))), fill(told, angles) {
    for (const form of Object.keys(LOSSLAB_FORMS)) value[form].textContent = losslabFixed(told[form]);
    table.cells.forEach((row, i) => {
      row[0].textContent = t("degrees", {angle: Math.round(angles[i])});
      bars[i].figure.textContent = brief(told.multiplier[i]);
      bars[i].bar.style.width = `${100 * told.multiplier[i]}%`;
      row[2].textContent = losslabFixed(told.coupled_slope[i]);
      row[3].textContent = losslabFixed(told.decoupled_slope[i]);
    });
  }};
}

function losslabPoints(t, stop, asker) {
  const state = {angles: Array(6).fill(0), told: null}, readings = losslabReadings(t);
  const turn = (i, angle) => { // to the nearest tenth of a degree
    state.angles[i] = (Math.round(10 * angle) / 10 % 360 + 360) % 360;
    place();
    asker.ask({angles: [...state.angles]});
  };
  const handles = LOSSLAB_POINTS.map((name, i) => losslabHandle({
    name, kind: i < 3 ? "round" : "square",
    attributes: {role: "slider", "aria-label": t("point", {name, image: name[0], view: name[1]}), "aria-valuemin": 0, "aria-valuemax": 360},
    drag: (x, y) => turn(i, Math.atan2(0.5 - y, x - 0.5) * 180 / Math.PI),
    nudge: (x, y, small) => turn(i, state.angles[i] + (x - y) * (small ? 1 : 5)),
  }));
  const stage = losslabStage({label: t("circle"), stop, handles, draw: (context, width, height, colours) => losslabCircle(context, width, height, colours, state)});
  const place = () => {
    handles.forEach((handle, i) => {
      const turned = state.angles[i] * Math.PI / 180;
      handle.put([0.5 + LOSSLAB_RADIUS * Math.cos(turned), 0.5 - LOSSLAB_RADIUS * Math.sin(turned)]);
      handle.node.setAttribute("aria-valuenow", Math.round(state.angles[i]));
      handle.node.setAttribute("aria-valuetext", t("degrees", {angle: Math.round(state.angles[i])}));
    });
    stage.redraw();
  };
  const heat = slider({label: t("temperature"), min: 0.02, max: 1, step: 0.01, value: 0.5, show: brief, oninput: temperature => asker.ask({temperature})});
  const downhill = Object.keys(LOSSLAB_FORMS).map(form => button(t(`downhill_${form}`), () => asker.act({kind: "downhill", decoupled: form === "decoupled"})));
  const node = h("div", {hidden: true}, h("div", {class: "dcacn-row"}, heat.node, downhill), h("div", {class: "dcacn-losslab-columns"},
                 h("div", {}, stage.node, h("p", {class: "dcacn-note"}, t("arrows_points")), h("p", {class: "dcacn-note"}, t("hint_points"))), readings.node));
  return {node, fill(told) {
    state.told = told;
    if (!asker.more) {
      if (!handles.some(handle => handle.held)) state.angles = [...told.angles];
      heat.set(told.temperature, Math.max(1, told.temperature));
    }
    place();
    readings.fill(told, state.angles);
  }};
}

// ---- page 2: images between clusters
const losslabPlace = shares => [0, 1].map(axis => shares.reduce((sum, share, k) => sum + share * LOSSLAB_CORNERS[k][axis], 0));

function losslabShares(x, y) { // the nearest rows of probabilities: what would be negative is none
  const [[ax, ay], [bx, by], [cx, cy]] = LOSSLAB_CORNERS, area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy);
  const a = ((by - cy) * (x - cx) + (cx - bx) * (y - cy)) / area, b = ((cy - ay) * (x - cx) + (ax - cx) * (y - cy)) / area;
  const kept = [a, b, 1 - a - b].map(share => Math.max(0, share)), sum = kept[0] + kept[1] + kept[2];
  return kept.map(share => share / sum);
}

function losslabTriangle(context, width, height, colours, state, t) {
  if (!state.told) return;
  const corners = LOSSLAB_CORNERS.map(([x, y]) => [x * width, y * height]);
  context.strokeStyle = colours.line;
  context.lineWidth = 1.5;
  context.beginPath();
  corners.forEach(corner => context.lineTo(...corner));
  context.closePath();
  context.stroke();
  context.fillStyle = colours.soft;
  context.font = colours.font;
  context.textAlign = "center";
  context.textBaseline = "middle";
  corners.forEach(([x, y], k) => context.fillText(t("cluster_n", {k}), x, y + (k === 2 ? -52 : 56)));
  const places = state.p.map(view => view.map((row, i) => losslabPlace(row).map((share, axis) => share * [width, height][axis] + losslabBeside(i)[axis])));
  context.strokeStyle = colours.soft;
  places[0].forEach((from, i) => { context.beginPath(); context.moveTo(...from); context.lineTo(...places[1][i]); context.stroke(); });
  const moves = state.told.moves.map(view => view.map(row => losslabPlace(row))), longest = Math.max(...moves.flat().map(([x, y]) => Math.hypot(x, y)));
  if (state.longest < 1e-9) return;
  context.strokeStyle = context.fillStyle = LOSSLAB_FORMS.decoupled.color;
  context.lineWidth = 2.5;
  moves.forEach((view, v) => view.forEach(([dx, dy], i) => {
    const [x, y] = places[v][i], scale = 0.13 * width / longest, start = v ? 14 : 11, length = Math.hypot(dx, dy), angle = Math.atan2(dy, dx);
    if (length * scale < 1.5) return;
    const from = [x + start * Math.cos(angle), y + start * Math.sin(angle)], end = [from[0] + dx * scale, from[1] + dy * scale]; // from the rim of the handle
    context.setLineDash(v ? [5, 3] : []);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...end);
    context.stroke();
    losslabHead(context, ...end, angle, v && colours.paper);
  }));
  context.setLineDash([]);
}

function losslabMatrix(t) { // both tables of p in one, with the shares of the clusters under them
  const heads = ["", ...[0, 1].flatMap(() => [0, 1, 2].map(k => t("cluster_n", {k})))], table = losslabTable(t("table"), heads, [...LOSSLAB_IMAGES, t("mean")], {class: "dcacn-losslab-table dcacn-losslab-matrix"});
  table.node.querySelector("thead").prepend(h("tr", {}, h("td"), [1, 2].map(i => h("th", {scope: "colgroup", colspan: 3}, t("view", {i})))));
  return {node: table.node, fill(p) {
    const means = p.map(view => [0, 1, 2].map(k => view.reduce((sum, row) => sum + row[k], 0) / view.length));
    table.cells.forEach((row, i) => row.forEach((cell, j) => {
      const share = (p[Math.floor(j / 3)][i] ?? means[Math.floor(j / 3)])[j % 3];
      cell.textContent = share.toFixed(2);
      cell.style.setProperty("--share", `${Math.round(55 * share)}%`); // no darker, so that the figure stays readable
    }));
  }};
}

function losslabLosses(t) {
  const table = losslabTable(t("losses"), ["", t("coupled"), t("decoupled"), t("coupled"), t("decoupled")], [t("by_rows"), t("by_columns")]), balance = h("p", {class: "dcacn-note"});
  table.node.querySelector("thead").prepend(h("tr", {}, h("td"), ["alone", "balance"].map(key => h("th", {scope: "colgroup", colspan: 2}, t(key)))));
  return {node: h("div", {}, table.node, h("p", {class: "dcacn-note"}, t("chosen")), balance), fill(told) {
    const added = told.balance[0] + told.balance[1];
    ["sample", "cluster"].forEach((axis, row) => [0, 1, 2, 3].forEach(column => {
      const chosen = axis === told.axis && (column % 2 === 1) === told.decoupled && (column > 1) === told.weighed, cell = table.cells[row][column];
      cell.textContent = `${chosen ? "▸ " : ""}${losslabFixed(told[`${axis}_${column % 2 ? "decoupled" : "coupled"}`] + (column > 1 ? added : 0))}`;
      cell.classList.toggle("dcacn-losslab-chosen", chosen);
    }));
    balance.textContent = t("balance_says", {first: losslabFixed(told.balance[0]), second: losslabFixed(told.balance[1]), most: Math.log(3).toFixed(3)});
  }};
}

function losslabExamples(t, asker) {
  const buttons = LOSSLAB_EXAMPLES.map(example => button(t(example), () => asker.act({kind: "show", example}), {"aria-pressed": "false"}));
  const table = losslabTable("", ["", t("by_columns"), t("by_balance"), t("by_rows")], LOSSLAB_EXAMPLES.map(example => t(example)));
  return {bar: h("div", {class: "dcacn-row", role: "group", "aria-label": t("examples")}, h("span", {}, t("examples")), buttons), node: h("div", {}, table.node, h("p", {class: "dcacn-note"}, t("here"))), fill(told) {
    table.title.textContent = t("large", {n: told.large.n, k: told.large.k, form: t(told.decoupled ? "decoupled" : "coupled"), temperature: brief(told.temperature)});
    LOSSLAB_EXAMPLES.forEach((example, i) => {
      const here = told.example === example;
      buttons[i].setAttribute("aria-pressed", String(here));
      table.marks[i].textContent = here ? "▸ " : "";
      table.node.tBodies[0].rows[i].classList.toggle("dcacn-losslab-chosen", here);
      told.large.figures[example].forEach((figure, j) => { table.cells[i][j].textContent = losslabFixed(figure); });
    });
  }};
}

function losslabChoices(t, asker) {
  const axis = choice({label: t("loss_of_arrows"), options: [["sample", t("by_rows")], ["cluster", t("by_columns")]], value: "sample", onchange: axis => asker.ask({axis})});
  const form = choice({label: t("form"), options: [["coupled", t("coupled")], ["decoupled", t("decoupled")]], value: "decoupled", onchange: form => asker.ask({decoupled: form === "decoupled"})});
  const balance = tick({label: t("balance"), checked: false, onchange: balance => asker.ask({balance})});
  const heat = slider({label: t("temperature"), min: 0.1, max: 2, step: 0.05, value: 1, show: brief, oninput: cluster_temperature => asker.ask({cluster_temperature})});
  return {nodes: [axis.node, form.node, balance.node, heat.node], set(told) {
    axis.select.value = told.axis;
    form.select.value = told.decoupled ? "decoupled" : "coupled";
    balance.input.checked = told.weighed;
    heat.set(told.temperature, Math.max(2, told.temperature));
  }};
}

function losslabAssignments(t, stop, asker) {
  const state = {p: null, told: null, longest: 0}, matrix = losslabMatrix(t), losses = losslabLosses(t), examples = losslabExamples(t, asker), choices = losslabChoices(t, asker);
  const together = tick({label: t("together"), checked: false, onchange: () => {}}), arrows = h("p", {class: "dcacn-note"});
  const move = (view, i, x, y) => {
    const row = losslabShares(x, y);
    state.p = state.p.map((rows, v) => rows.map((old, j) => j === i && (v === view || together.input.checked) ? row : old));
    place();
    asker.ask({p: state.p});
  };
  const handles = [1, 0].flatMap(view => LOSSLAB_IMAGES.map((name, i) => { // view 1 lies above view 2, and is smaller
    const handle = losslabHandle({
      name: view ? "" : name, kind: view ? "frame" : "disc", attributes: {"data-point": `${name}${view + 1}`},
      drag: (x, y) => move(view, i, x, y),
      nudge: (x, y, small) => { const [left, top] = losslabPlace(state.p[view][i]), step = small ? 0.005 : 0.03; move(view, i, left + step * x, top + step * y); },
    });
    return {...handle, get held() { return handle.held; }, view, i, image: name};
  }));
  const stage = losslabStage({label: t("triangle"), stop, handles, draw: (context, width, height, colours) => losslabTriangle(context, width, height, colours, state, t)});
  const place = () => {
    for (const {node, put, view, i, image} of handles) {
      const row = state.p[view][i];
      put(losslabPlace(row), losslabBeside(i));
      node.setAttribute("aria-label", t("placed", {image, view: view + 1, shares: row.map((share, k) => t("share", {share: losslabPercent(share), k})).join(t("joint"))}));
    }
    matrix.fill(state.p);
    stage.redraw();
  };
  const node = h("div", {hidden: true}, examples.bar, h("div", {class: "dcacn-row"}, choices.nodes, button(t("downhill"), () => asker.act({kind: "downhill"}))), h("div", {class: "dcacn-losslab-columns"},
                 h("div", {}, stage.node, together.node, arrows, h("p", {class: "dcacn-note"}, t("hint_assignments"))), h("div", {}, losses.node, matrix.node, examples.node)));
  return {node, fill(told) {
    state.told = told;
    if (!asker.more) {
      if (!handles.some(handle => handle.held)) state.p = told.p;
      choices.set(told);
    }
    state.longest = Math.max(...told.moves.flat().map(row => Math.hypot(...row)));
    const name = [t(told.axis === "sample" ? "sample" : "cluster_axis"), t(told.decoupled ? "decoupled" : "coupled"), told.weighed && t("balance")].filter(Boolean).join(t("joint"));
    arrows.textContent = t(state.longest < 1e-9 ? "no_arrows" : "arrows_assignments", {name, longest: brief(state.longest)});
    losses.fill(told);
    examples.fill(told);
    place();
  }};
}

function renderLossLab({model, root, t, stop}) {
  const asker = losslabAsker(model, stop), pages = {points: losslabPoints(t, stop, asker), assignments: losslabAssignments(t, stop, asker)};
  const tabs = Object.fromEntries(Object.keys(pages).map(page => [page, button(t(`page_${page}`), () => { open(page); asker.ask({page}); }, {"aria-pressed": "false"})]));
  const problem = h("p", {class: "dcacn-crops-problem", role: "alert"});
  const open = shown => {
    for (const page of Object.keys(pages)) {
      pages[page].node.hidden = page !== shown;
      tabs[page].setAttribute("aria-pressed", String(page === shown));
    }
  };
  const answer = told => {
    pages[told.kind].fill(told);
    if (!asker.more) open(told.page);
    problem.textContent = told.problem ? t("refused", {problem: told.problem}) : "";
    asker.answered();
  };
  listen(model, stop, {points: answer, assignments: answer});
  root.append(h("div", {class: "dcacn-losslab"}, h("h3", {}, t("title")), h("div", {class: "dcacn-row", role: "group", "aria-label": t("pages")}, Object.values(tabs)), problem,
                Object.values(pages).map(page => page.node),
                h("div", {class: "dcacn-row"}, button(t("reset"), () => asker.act({kind: "reset"})), button(t("keep"), () => asker.act({kind: "keep"})))), summary(model, stop));
}
