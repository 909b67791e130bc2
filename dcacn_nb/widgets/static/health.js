// Health of the clusters: how large each is, how that came about, figures that need no labels, and which clusters are alike; with a diagnosis in words.
// Python sends one row of numbers an evaluation: masses (K), shares of the images (K), figures in [0, 1] (F), number of empty clusters; NaN where unknown.
// The likeness of the clusters is asked for when a snapshot comes into sight. The epoch chosen is kept on `root`, so that it survives a change of language.

const HEALTH_SHADES = ["#00224e", "#083370", "#35456c", "#4f576c", "#666970", "#7d7c78", "#948e77", "#aea371", "#c8b866", "#e5cf52", "#fee838"]; // cividis: even in lightness
const HEALTH_DASHES = [[], [7, 3], [2, 2.5], [9, 3, 2, 3]];
const HEALTH_ICONS = {bad: "✕", warning: "!", note: "i", good: "✓"};
const HEALTH_BAD = "#D55E00", HEALTH_MOST = 3; // the heat map ends at three even shares: a collapse must not hide all else
let healthCount = 0;

const healthPercent = x => !Number.isFinite(x) ? "–" : x > 0 && x < 1e-4 ? "<0.01 %" : `${Number((100 * x).toPrecision(3))} %`;
const healthFixed = x => Number.isFinite(x) ? x.toFixed(2) : "–";

function healthShade(x) { // 0..1 -> [r, g, b]
  const place = Math.min(1, Math.max(0, x)) * (HEALTH_SHADES.length - 1), i = Math.min(HEALTH_SHADES.length - 2, Math.floor(place)), part = place - i;
  const channel = (shade, at) => parseInt(shade.slice(1 + 2 * at, 3 + 2 * at), 16);
  return [0, 1, 2].map(at => Math.round(channel(HEALTH_SHADES[i], at) * (1 - part) + channel(HEALTH_SHADES[i + 1], at) * part));
}

function healthImage(width, height, value, top) { // a small canvas, one pixel a value; transparent where there is none
  const node = h("canvas", {width, height}), context = node.getContext("2d"), image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const v = value(x, y);
      if (Number.isFinite(v)) image.data.set([...healthShade(v / top), 255], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
  return node;
}

// ---- what Python has told, and what is pointed at
function healthState(root, t) {
  const s = {k: 0, figures: [], epochs: [], rows: [], found: [], names: {}, snapshots: [], alike: new Map(), emptyBelow: 0, largeAbove: 1, version: 0,
             at: -1, cluster: null, pair: null, over: null, playing: false};
  s.mass = (i, k) => s.rows[i][k];
  s.share = (i, k) => s.rows[i][s.k + k];
  s.figure = (i, f) => s.rows[i][2 * s.k + f];
  s.empty = i => s.rows[i][2 * s.k + s.figures.length];
  s.state = (i, k) => s.share(i, k) < s.emptyBelow ? "empty" : s.share(i, k) > s.largeAbove ? "large" : "";
  s.name = k => s.names[k] ? t("cluster_named", {k, name: s.names[k]}) : t("cluster_n", {k});
  s.choose = i => { // -1 follows the newest
    const last = s.epochs.length - 1;
    root.dcacnHealthEpoch = i < 0 || i >= last ? null : s.epochs[i];
    s.at = i < 0 ? last : Math.min(i, last);
  };
  s.settle = () => { // after rows have come or gone: the same epoch, or the newest
    const epoch = root.dcacnHealthEpoch ?? null;
    s.at = epoch === null ? s.epochs.length - 1 : healthNearest(s.epochs, epoch);
    s.version++;
  };
  s.snapshot = () => s.snapshots.filter(epoch => s.at >= 0 && epoch <= s.epochs[s.at]).at(-1) ?? null;
  s.likeness = () => s.alike.get(s.snapshot()) ?? null;
  return s;
}

function healthNearest(epochs, epoch) {
  let best = 0;
  epochs.forEach((e, i) => { if (Math.abs(e - epoch) <= Math.abs(epochs[best] - epoch)) best = i; });
  return epochs.length ? best : -1;
}

// ---- a panel: a canvas that pointer and arrow keys can read, and a line that says what is pointed at
function healthPanel({title, height, label, draw, point, press, arrow, say, key, stop}) {
  const id = `dcacn-health-${++healthCount}`, head = h("h3", {}, title);
  const reading = h("p", {class: "dcacn-health-reading", id}), view = plot({height, label, draw, stop, attributes: {tabindex: 0, "aria-describedby": id}});
  const {node} = view, arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  for (const kind of ["pointermove", "pointerdown"]) node.addEventListener(kind, event => point(...spot(event, node)));
  node.addEventListener("pointerleave", () => point(null));
  node.addEventListener("click", event => press?.(...spot(event, node)));
  node.addEventListener("keydown", event => {
    if (event.key in arrows) { event.preventDefault(); arrow(...arrows[event.key]); }
  });
  node.addEventListener("focus", () => reading.setAttribute("aria-live", "polite"));
  node.addEventListener("blur", () => { reading.removeAttribute("aria-live"); point(null); });
  const text = h("p", {class: "dcacn-note dcacn-health-key"});
  return {node: h("section", {class: "dcacn-health-panel"}, head, node, reading, text), head, redraw() { reading.textContent = say(); text.textContent = key(); view.redraw(); }};
}

function healthText(context, colors, text, x, y, align = "left", base = "middle", color = colors.soft) {
  Object.assign(context, {fillStyle: color, textAlign: align, textBaseline: base, font: colors.font});
  context.fillText(text, x, y);
}

const healthStep = (n, room, each) => { // label every how many of n places, so that each label has `each` pixels
  const least = Math.ceil(n * each / Math.max(1, room)), power = 10 ** Math.floor(Math.log10(least));
  return least <= 1 ? 1 : [1, 2, 5, 10].map(m => m * power).find(step => step >= least);
};
const healthMove = (value, by, n) => Math.min(n - 1, Math.max(0, (value ?? (by > 0 ? -1 : n)) + by));

// ---- how large each cluster is at the epoch chosen
function healthBars(s, t, stop, changed) {
  let box = {left: 46, pitch: 1};
  const top = () => Math.max(2 / s.k, ...Array.from({length: 2 * s.k}, (_, j) => s.rows[s.at][j] || 0)) * 1.05;
  const draw = (c, width, height, colors) => {
    if (s.at < 0 || !s.k) return healthText(c, colors, t("nothing"), width / 2, height / 2, "center");
    const [left, right, low, high, most] = [46, width - 30, height - 34, 18, top()], pitch = (right - left) / s.k, y = v => low - v / most * (low - high);
    box = {left, pitch};
    healthRules(c, colors, ticks(0, most, 4), v => healthPercent(v), y, left, right);
    for (let k = 0; k < s.k; k++) healthBar(c, colors, s, k, {x: left + k * pitch, pitch, y, low, t});
    c.strokeStyle = colors.ink;
    c.setLineDash([6, 4]);
    c.beginPath(); c.moveTo(left, y(1 / s.k)); c.lineTo(right, y(1 / s.k)); c.stroke();
    c.setLineDash([]);
    healthText(c, colors, "1/K", right + 4, y(1 / s.k), "left", "middle", colors.ink);
    healthNumbers(c, colors, s, {left, right, pitch, low});
    healthText(c, colors, t("cluster"), (left + right) / 2, height - 6, "center");
  };
  const say = () => {
    if (s.at < 0 || !s.k) return "";
    if (s.cluster !== null) {
      const [mass, share] = [s.mass(s.at, s.cluster), s.share(s.at, s.cluster)], state = s.state(s.at, s.cluster);
      return t("bar_says", {name: s.name(s.cluster), mass: healthPercent(mass), share: healthPercent(share), times: healthFixed(mass * s.k)}) + (state ? t(`is_${state}`) : "");
    }
    const order = Array.from({length: s.k}, (_, k) => k).filter(k => Number.isFinite(s.mass(s.at, k))).sort((a, b) => s.mass(s.at, a) - s.mass(s.at, b));
    if (!order.length) return t("unknown_masses");
    return t("bars_say", {low: healthPercent(s.mass(s.at, order[0])), least: s.name(order[0]), high: healthPercent(s.mass(s.at, order.at(-1))),
                          largest: s.name(order.at(-1)), even: healthPercent(1 / s.k)});
  };
  const point = x => { s.cluster = x === null || x < box.left || x >= box.left + box.pitch * s.k ? null : Math.floor((x - box.left) / box.pitch); changed(); };
  const arrow = (across, down) => { if (s.k) { s.cluster = healthMove(s.cluster, across - down, s.k); changed(); } };
  return healthPanel({title: t("masses"), height: 240, label: t("masses"), draw, point, arrow, say, key: () => t("bars_key"), stop});
}

function healthRules(c, colors, values, show, y, left, right) { // horizontal lines with their values
  c.strokeStyle = colors.line;
  c.lineWidth = 1;
  c.beginPath();
  for (const v of values) { c.moveTo(left, y(v)); c.lineTo(right, y(v)); healthText(c, colors, show(v), left - 6, y(v), "right"); }
  c.stroke();
}

function healthBar(c, colors, s, k, {x, pitch, y, low, t}) { // one bar, its short line, its letter
  const wide = Math.max(1, pitch - Math.max(0.5, Math.min(6, 0.25 * pitch))), state = s.state(s.at, k), top = y(s.mass(s.at, k) || 0), share = y(s.share(s.at, k) || 0);
  if (k === s.cluster) { c.fillStyle = colors.line; c.fillRect(x, 4, pitch, low - 4); }
  c.fillStyle = state === "large" ? HEALTH_BAD : colors.accent;
  c.fillRect(x + (pitch - wide) / 2, top, wide, low - top);
  if (state === "large" && wide >= 5) healthHatch(c, colors.paper, x + (pitch - wide) / 2, top, wide, low - top);
  c.fillStyle = colors.ink;
  if (pitch >= 5) c.fillRect(x + 0.5, share - 1, pitch - 1, 2);
  if (!state) return;
  const above = Math.min(top, share) - 3;
  if (pitch >= 9) healthText(c, {...colors, font: colors.font.replace("12px", "bold 12px")}, t(`letter_${state}`), x + pitch / 2, above, "center", "bottom", colors.ink);
  else c.fillRect(x, state === "empty" ? low + 1 : above - 5, Math.max(1.5, pitch * 0.7), 5); // too narrow for letters: a notch below the axis, or above the bar
}

function healthHatch(c, color, x, y, width, height) { // oblique lines: seen without colour
  c.save();
  c.beginPath(); c.rect(x, y, width, height); c.clip();
  c.strokeStyle = color;
  c.lineWidth = 1.5;
  c.beginPath();
  for (let i = -height; i < width; i += 7) { c.moveTo(x + i, y + height); c.lineTo(x + i + height, y); }
  c.stroke();
  c.restore();
}

function healthNumbers(c, colors, s, {left, right, pitch, low}) { // numbers of the clusters, as many as there is room for; names where they fit
  const step = healthStep(s.k, right - left, 26), named = Object.keys(s.names).length && pitch >= 44;
  for (let k = 0; k < s.k; k += step) {
    let text = named && s.names[k] ? `${k} ${s.names[k]}` : String(k);
    c.font = colors.font;
    while (text.length > 2 && c.measureText(text).width > pitch - 4 && named) text = `${text.slice(0, -2)}…`;
    healthText(c, colors, text, left + (k + 0.5) * pitch, low + 12, "center");
  }
}

// ---- the axis of epochs that two panels share
function healthEpochs(s, left, right) {
  const e = s.epochs, n = e.length, gap = n > 1 ? Math.max(...e.slice(1).map((x, i) => x - e[i])) / 2 || 0.5 : 0.5;
  const [first, last] = [e[0] - gap, e[n - 1] + gap], x = epoch => left + (epoch - first) / (last - first) * (right - left);
  return {x, edge: i => i <= 0 ? left : i >= n ? right : x((e[i - 1] + e[i]) / 2), at: px => healthNearest(e, first + (px - left) / (right - left) * (last - first)),
          inside: px => px !== null && px >= left && px <= right};
}

function healthEpochTicks(c, colors, s, axis, left, right, y, t) {
  for (const epoch of ticks(s.epochs[0], s.epochs.at(-1), Math.max(2, (right - left) / 60))) {
    if (Number.isInteger(Number(epoch.toFixed(6)))) healthText(c, colors, String(Math.round(epoch)), axis.x(epoch), y + 10, "center");
  }
  healthText(c, colors, t("epoch"), (left + right) / 2, y + 26, "center");
}

function healthCursor(c, colors, x, top, low) { // where the epoch chosen is
  for (const [color, width] of [[colors.paper, 4], [colors.ink, 1.5]]) {
    Object.assign(c, {strokeStyle: color, lineWidth: width});
    c.beginPath(); c.moveTo(x, top); c.lineTo(x, low); c.stroke();
  }
  c.fillStyle = colors.ink;
  mark(c, "down", x, top - 3, 4);
}

// ---- clusters over the epochs
function healthTime(s, t, stop, changed) {
  let axis = null, box = null, image = null, drawn = -1, cell = null;
  const draw = (c, width, height, colors) => {
    if (s.at < 0 || !s.k) return healthText(c, colors, t("nothing"), width / 2, height / 2, "center");
    const [left, right, top, low] = [34, width - 46, 12, height - 34], tall = (low - top) / s.k;
    box = {top, tall};
    axis = healthEpochs(s, left, right);
    if (drawn !== s.version) { image = healthImage(s.rows.length, s.k, (i, k) => s.mass(i, k) * s.k, HEALTH_MOST); drawn = s.version; }
    c.imageSmoothingEnabled = false;
    for (let i = 0; i < s.rows.length; i++) c.drawImage(image, i, 0, 1, s.k, axis.edge(i), top, axis.edge(i + 1) - axis.edge(i) + 0.5, low - top);
    healthDead(c, s, axis, top, tall);
    const step = healthStep(s.k, low - top, 15);
    for (let k = 0; k < s.k; k += step) healthText(c, colors, String(k), left - 6, top + (k + 0.5) * tall, "right");
    if (s.cluster !== null) { Object.assign(c, {strokeStyle: HEALTH_BAD, lineWidth: 2}); c.strokeRect(left, top + s.cluster * tall - 1, right - left, Math.max(3, tall) + 1); }
    healthEpochTicks(c, colors, s, axis, left, right, low, t);
    healthCursor(c, colors, axis.x(s.epochs[s.at]), top - 2, low + 3);
    healthScale(c, colors, right + 10, top, low, HEALTH_MOST, v => v === HEALTH_MOST ? `≥${v}` : String(v));
  };
  const say = () => {
    if (s.at < 0 || !s.k) return "";
    const [i, k] = cell ?? [s.at, s.cluster];
    if (k === null || i >= s.rows.length) return t("time_says", {n: s.rows.length, empty: Number.isFinite(s.empty(s.at)) ? s.empty(s.at) : "–", epoch: s.epochs[s.at]});
    return t("cell_says", {epoch: s.epochs[i], name: s.name(k), times: healthFixed(s.mass(i, k) * s.k), mass: healthPercent(s.mass(i, k))}) + (s.state(i, k) ? t(`is_${s.state(i, k)}`) : "");
  };
  const point = (x, y) => {
    const inside = axis?.inside(x ?? null) && y >= box.top && y < box.top + box.tall * s.k;
    s.cluster = inside ? Math.floor((y - box.top) / box.tall) : null;
    cell = inside ? [axis.at(x), s.cluster] : null;
    changed();
  };
  const press = x => { if (axis?.inside(x)) { s.choose(axis.at(x)); changed(); } };
  const arrow = (across, down) => {
    cell = null;
    if (down && s.k) s.cluster = healthMove(s.cluster, down, s.k);
    if (across && s.at >= 0) s.choose(healthMove(s.at, across, s.epochs.length));
    changed();
  };
  return healthPanel({title: t("over_time"), height: 240, label: t("over_time"), draw, point, press, arrow, say, key: () => t("time_key"), stop});
}

function healthDead(c, s, axis, top, tall) { // a light line through a row for as long as the cluster is empty
  if (tall < 4) return;
  Object.assign(c, {strokeStyle: "#ffffff", lineWidth: 1});
  c.setLineDash([3, 3]);
  c.beginPath();
  for (let k = 0; k < s.k; k++) {
    for (let i = 0; i < s.rows.length; i++) {
      if (s.state(i, k) === "empty") { c.moveTo(axis.edge(i), top + (k + 0.5) * tall); c.lineTo(axis.edge(i + 1), top + (k + 0.5) * tall); }
    }
  }
  c.stroke();
  c.setLineDash([]);
}

function healthScale(c, colors, x, top, low, most, show) { // the key to the shades
  for (let y = top; y < low; y++) {
    const [r, g, b] = healthShade((low - y) / (low - top));
    c.fillStyle = `rgb(${r},${g},${b})`;
    c.fillRect(x, y, 9, 1.5);
  }
  for (const v of most === 1 ? [0, 0.5, 1] : [0, 1, 2, 3]) healthText(c, colors, show(v), x + 13, Math.min(low - 5, Math.max(top + 5, low - v / most * (low - top))));
}

// ---- figures that need no labels
function healthFigures(s, t, stop, changed) {
  let axis = null;
  const known = () => s.figures.map((name, f) => ({name, f})).filter(({f}) => s.rows.some((_, i) => Number.isFinite(s.figure(i, f))));
  const counted = () => s.rows.some((_, i) => Number.isFinite(s.empty(i)));
  const shown = () => s.over ?? s.at;
  const draw = (c, width, height, colors) => {
    if (s.at < 0) return healthText(c, colors, t("nothing"), width / 2, height / 2, "center");
    const lines = known(), legend = healthLegend(c, colors, s, t, lines, shown(), width), strip = counted() ? 46 : 0;
    const [left, right, top, low] = [38, width - 10, legend + 10, height - 34 - strip], y = v => low - v * (low - top);
    axis = healthEpochs(s, left, right);
    healthRules(c, colors, low - top > 90 ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1], String, y, left, right);
    for (const {f} of lines) healthLine(c, f, s.rows.map((_, i) => [axis.x(s.epochs[i]), y(s.figure(i, f))]));
    if (strip) healthStrip(c, colors, s, t, axis, left, right, low + 10, low + strip - 2);
    healthEpochTicks(c, colors, s, axis, left, right, low + strip, t);
    if (s.over !== null) { c.strokeStyle = colors.soft; c.lineWidth = 1; c.beginPath(); c.moveTo(axis.x(s.epochs[s.over]), top); c.lineTo(axis.x(s.epochs[s.over]), low + strip); c.stroke(); }
    healthCursor(c, colors, axis.x(s.epochs[s.at]), top - 1, low + strip);
  };
  const say = () => {
    if (s.at < 0) return "";
    const i = shown(), told = known().filter(({f}) => Number.isFinite(s.figure(i, f))).map(({name, f}) => `${t(name)} ${healthFixed(s.figure(i, f))}`);
    if (Number.isFinite(s.empty(i))) told.push(t("n_empty", {n: s.empty(i)}));
    return t("figures_say", {epoch: s.epochs[i], told: told.join(t("comma"))});
  };
  const point = x => { s.over = s.at >= 0 && axis?.inside(x) ? axis.at(x) : null; changed(); };
  const press = x => { if (axis?.inside(x)) { s.choose(axis.at(x)); changed(); } };
  const arrow = across => { if (across && s.at >= 0) { s.over = null; s.choose(healthMove(s.at, across, s.epochs.length)); changed(); } };
  const key = () => { // what is good, of the figures that there are
    const parts = known().map(({name}) => t(name === "assignment_entropy" ? "low" : "high", {name: t(name)}));
    if (counted()) parts.push(t("none_empty"));
    return parts.length ? t("figures_key", {parts: parts.join(t("comma"))}) : "";
  };
  return healthPanel({title: t("figures"), height: 300, label: t("figures"), draw, point, press, arrow, say, key, stop});
}

function healthLegend(c, colors, s, t, lines, i, width) { // names, dashes, marks and values; returns its height
  const columns = width > 430 ? 2 : 1;
  lines.forEach(({name, f}, j) => {
    const x = 34 + (j % columns) * (width - 40) / columns, y = 10 + Math.floor(j / columns) * 17;
    healthLine(c, f, [[x, y], [x + 15, y], [x + 30, y]], 1);
    healthText(c, colors, `${t(name)} ${healthFixed(s.figure(i, f))}`, x + 37, y, "left", "middle", colors.ink);
  });
  return Math.ceil(lines.length / columns) * 17 + 4;
}

function healthLine(c, f, points, phase = 0) { // gaps where a value is unknown; about ten marks
  const every = phase ? 3 : Math.max(1, Math.floor(points.length / 10)), known = point => point && Number.isFinite(point[1]);
  Object.assign(c, {strokeStyle: colorOf(f), fillStyle: colorOf(f), lineWidth: 2});
  c.setLineDash(HEALTH_DASHES[f % 4]);
  c.beginPath();
  points.forEach((point, i) => { if (known(point)) c[known(points[i - 1]) ? "lineTo" : "moveTo"](...point); });
  c.stroke();
  c.setLineDash([]);
  points.forEach((point, i) => { if (i % every === phase % every && known(point)) mark(c, shapeOf(f), ...point, 3.5); });
}

function healthStrip(c, colors, s, t, axis, left, right, top, low) { // number of empty clusters, as steps
  const most = Math.max(1, ...s.rows.map((_, i) => s.empty(i) || 0)), y = v => low - v / most * (low - top - 14);
  healthRules(c, colors, most > 0 ? [0, most] : [0], String, y, left, right);
  healthText(c, colors, t("empty_clusters"), left + 2, top + 5);
  Object.assign(c, {strokeStyle: HEALTH_BAD, lineWidth: 2});
  c.beginPath();
  s.rows.forEach((_, i) => { if (Number.isFinite(s.empty(i))) { c[i && Number.isFinite(s.empty(i - 1)) ? "lineTo" : "moveTo"](axis.edge(i), y(s.empty(i))); c.lineTo(axis.edge(i + 1), y(s.empty(i))); } });
  c.stroke();
}

// ---- which clusters are alike
function healthAlike(s, t, stop, changed) {
  let box = null, image = null, drawn = null;
  const draw = (c, width, height, colors) => {
    const known = s.likeness();
    box = null;
    if (!known) return healthText(c, colors, t(s.snapshot() === null ? "no_snapshot" : "asked"), width / 2, height / 2, "center");
    const {k, values, pair} = known, side = Math.min(width - 80, height - 44), left = Math.max(34, (width - side - 46) / 2), top = 6, size = side / k;
    box = {left, top, size, k};
    if (drawn !== known) { image = healthImage(k, k, (x, y) => values[y * k + x], 1); drawn = known; }
    c.imageSmoothingEnabled = false;
    c.drawImage(image, left, top, side, side);
    const step = healthStep(k, side, 22);
    for (let i = 0; i < k; i += step) {
      healthText(c, colors, String(i), left - 6, top + (i + 0.5) * size, "right");
      healthText(c, colors, String(i), left + (i + 0.5) * size, top + side + 10, "center");
    }
    healthText(c, colors, t("cluster"), left + side / 2, top + side + 26, "center");
    healthScale(c, colors, left + side + 10, top, top + side, 1, String);
    const [i, j] = s.pair ?? pair;
    for (const [x, y] of [[j, i], [i, j]]) healthRing(c, left + x * size, top + y * size, size);
  };
  const say = () => {
    const known = s.likeness();
    if (!known) return "";
    const [i, j] = s.pair ?? known.pair;
    return t(s.pair ? "pair_says" : "alike_says", {first: s.name(i), second: s.name(j), likeness: healthFixed(known.values[i * known.k + j])});
  };
  const point = (x, y) => {
    const at = v => Math.floor(v / (box?.size ?? 1)), [j, i] = box && x !== null ? [at(x - box.left), at(y - box.top)] : [-1, -1];
    s.pair = box && i >= 0 && j >= 0 && i < box.k && j < box.k ? [i, j] : null;
    s.cluster = s.pair ? i : null;
    changed();
  };
  const arrow = (across, down) => {
    const known = s.likeness();
    if (!known) return;
    const [i, j] = s.pair ?? known.pair;
    s.pair = [Math.min(known.k - 1, Math.max(0, i + down)), Math.min(known.k - 1, Math.max(0, j + across))];
    s.cluster = s.pair[0];
    changed();
  };
  const panel = healthPanel({title: t("alike"), height: 300, label: t("alike"), draw, point, arrow, say, key: () => t("alike_key"), stop});
  const redraw = panel.redraw;
  panel.redraw = () => { panel.head.textContent = s.snapshot() === null ? t("alike") : t("alike_at", {epoch: s.snapshot()}); redraw(); };
  return panel;
}

function healthRing(c, x, y, size) { // a frame that is seen on light and on dark shades
  const grow = Math.max(0, 4 - size / 2);
  for (const [color, width] of [["#000000", 4], ["#ffffff", 2]]) {
    Object.assign(c, {strokeStyle: color, lineWidth: width});
    c.strokeRect(x - grow, y - grow, size + 2 * grow, size + 2 * grow);
  }
}

// ---- the diagnosis
function healthDiagnosis(s, t) {
  const list = h("ul", {class: "dcacn-health-list"}), node = h("div", {role: "status", "aria-live": "polite", "aria-label": t("diagnosis")}, list);
  let said = "";
  return {node, redraw() {
    const twins = s.likeness()?.found ?? [], own = s.at < 0 ? [["note", t("waiting")]] : s.found[s.at];
    const found = [...own.filter(([severity]) => !twins.length || severity !== "good"), ...twins], text = JSON.stringify(found);
    node.setAttribute("aria-live", s.playing ? "off" : "polite");
    // what is below must not jump while one goes through the epochs
    list.style.minHeight = s.at === s.epochs.length - 1 && !s.playing ? "" : `${list.offsetHeight}px`;
    if (text === said) return;
    said = text;
    list.replaceChildren(...found.map(([severity, sentence]) => h("li", {class: `dcacn-health-${severity}`},
      h("span", {class: "dcacn-health-badge"}, h("span", {"aria-hidden": "true"}, HEALTH_ICONS[severity]), ` ${t(`severity_${severity}`)}`), h("span", {}, sentence))));
  }};
}

// ---- the epoch
function healthPlayer(s, t, stop, changed) {
  let timer = 0;
  const pause = () => { clearInterval(timer); timer = 0; s.playing = false; play.textContent = t("play"); };
  const step = () => { if (s.at >= s.epochs.length - 1) pause(); else s.choose(s.at + 1); changed(); };
  const play = button(t("play"), () => {
    if (timer) { pause(); changed(); return; }
    if (s.epochs.length < 2) return;
    if (s.at >= s.epochs.length - 1) s.choose(0);
    s.playing = true;
    timer = setInterval(step, calm() ? 1500 : Math.min(600, Math.max(60, 10_000 / s.epochs.length)));
    play.textContent = t("pause");
    changed();
  });
  const bar = slider({label: t("epoch"), min: 0, max: 0, value: 0, oninput: i => { pause(); s.choose(i); changed(); }, show: i => s.epochs.length ? t("epoch_n", {epoch: s.epochs[i] ?? ""}) : "–"});
  const note = h("span", {class: "dcacn-note"});
  stop.add(pause);
  return {node: h("div", {class: "dcacn-row dcacn-health-player"}, play, bar.node, note), redraw() {
    const n = s.epochs.length;
    bar.set(Math.max(0, s.at), Math.max(0, n - 1));
    bar.input.disabled = play.disabled = n < 2;
    note.textContent = n && s.at === n - 1 ? t("newest") : "";
  }};
}

// ---- all of it
function renderHealth({model, root, t, stop}) {
  const s = healthState(root, t), parts = [];
  const changed = () => {
    if (s.at >= 0 && s.snapshot() !== null && !s.alike.has(s.snapshot())) {
      s.alike.set(s.snapshot(), null); // asked for once
      model.send({kind: "alike", epoch: s.snapshot()});
    }
    for (const part of parts) part.redraw();
  };
  const panels = [healthBars, healthTime, healthFigures, healthAlike].map(make => make(s, t, stop, changed));
  const [player, diagnosis] = [healthPlayer(s, t, stop, changed), healthDiagnosis(s, t)];
  parts.push(player, diagnosis, ...panels);
  root.append(player.node, diagnosis.node, h("div", {class: "dcacn-columns dcacn-health-panels"}, panels.map(panel => panel.node)), summary(model, stop));
  const taken = () => { s.settle(); if (s.over >= s.rows.length) s.over = null; changed(); };
  listen(model, stop, {
    reset(content, [buffer]) {
      const {k, figures, epochs, found, names, snapshots, emptyBelow, largeAbove} = content, values = f32(buffer), width = 2 * k + figures.length + 1;
      Object.assign(s, {k, figures, epochs, found, names, snapshots, emptyBelow, largeAbove, rows: epochs.map((_, i) => values.subarray(i * width, (i + 1) * width)),
                        alike: new Map(), cluster: null, pair: null, over: null});
      taken();
    },
    append({halve, at, epoch, found}, [buffer]) { // as in feed.Thinned: every other row goes when there are too many, and the last one may only stand in
      for (const list of [s.epochs, s.rows, s.found]) {
        if (halve) list.splice(0, list.length, ...list.filter((_, i) => i % 2 === 0));
        list.length = Math.min(list.length, at);
      }
      s.epochs.push(epoch); s.rows.push(f32(buffer)); s.found.push(found);
      taken();
    },
    snapshots({epochs}) {
      s.snapshots = epochs;
      for (const epoch of s.alike.keys()) if (!epochs.includes(epoch)) s.alike.delete(epoch);
      changed();
    },
    alike({epoch, k, pair, found, names}, [buffer]) {
      s.names = names;
      if (s.snapshots.includes(epoch)) s.alike.set(epoch, {k, pair, found, values: f32(buffer)});
      changed();
    },
  });
  changed();
}
