// What every widget shares. Python joins this file with those of the widgets (widgets.live.esm), so names at the top level must be unique among all of them.
// Text from outside (class names, file names, messages) goes into the page through textContent alone, never as HTML.

// Okabe and Ito's colours, as in dcacn_nb.picture; each cluster also has a shape, so that colour is never the only cue.
const COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#999999"];
const SHAPES = ["circle", "square", "triangle", "diamond", "down", "plus", "cross", "star"];
const colorOf = k => COLORS[k % COLORS.length];
const shapeOf = k => SHAPES[k % SHAPES.length];

// An element: h("button", {class: "x", onclick: f, "aria-label": "y"}, "text", child). null and false leave an attribute or a child out.
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

// Functions to call when a view goes away.
class Cleanup {
  constructor() { this.tasks = []; }
  add(task) { this.tasks.push(task); return task; }
  run() { for (const task of this.tasks.splice(0).reverse()) task(); }
}

// Text of the interface: t("pause"), t("epoch_of", {epoch: 3}) fills {epoch} in. Python sends the texts in the language asked for (trait `words`).
function texts(model) {
  return (key, values = {}) => (model.get("words")[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => name in values ? String(values[name]) : all);
}

// Subscribe to a model for as long as a view lives.
function on(model, stop, name, callback) {
  model.on(name, callback);
  stop.add(() => model.off(name, callback));
}

// Messages from Python by kind: listen(model, stop, {reset(content, buffers) {...}, append(content) {...}}).
function listen(model, stop, handlers) {
  on(model, stop, "msg:custom", (content, buffers) => handlers[content.kind]?.(content, buffers ?? []));
}

// A buffer from Python as a typed array (copied: its start need not be aligned).
function typed(Type, buffer) {
  const bytes = buffer instanceof DataView ? buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) : buffer.slice(0);
  return new Type(bytes);
}
const f32 = buffer => typed(Float32Array, buffer);
const u8 = buffer => typed(Uint8Array, buffer);

// A PNG from Python as something a canvas can draw.
const bitmap = buffer => createImageBitmap(new Blob([buffer], {type: "image/png"}));

// The colours of the page around: JupyterLab's variables in its light and dark themes, the system's elsewhere.
function theme(node) {
  const style = getComputedStyle(node), read = name => style.getPropertyValue(name).trim();
  return {ink: read("--dcacn-ink"), soft: read("--dcacn-soft"), line: read("--dcacn-line"), paper: read("--dcacn-paper"), accent: read("--dcacn-accent"),
          font: `12px ${style.fontFamily || "sans-serif"}`};
}

// A canvas that is as wide as its parent, sharp on any screen, and drawn anew at most once a frame: draw(context, width, height, colours).
// Hidden ones (in another tab) are not drawn until they are seen. Returns {node, redraw}.
function plot({height = 220, label, draw, stop, attributes = {}}) {
  const node = h("canvas", {class: "dcacn-canvas", role: "img", "aria-label": label, style: `height: ${height}px`, ...attributes});
  let asked = 0;
  const paint = () => {
    asked = 0;
    const width = node.clientWidth, tall = node.clientHeight, scale = window.devicePixelRatio || 1;
    if (!width || !tall || !node.isConnected) return;
    if (node.width !== Math.round(width * scale) || node.height !== Math.round(tall * scale)) {
      node.width = Math.round(width * scale);
      node.height = Math.round(tall * scale);
    }
    const context = node.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, tall);
    draw(context, width, tall, theme(node));
  };
  const redraw = () => { asked ||= requestAnimationFrame(paint); };
  const size = new ResizeObserver(redraw), dress = new MutationObserver(redraw);
  size.observe(node);
  dress.observe(document.body, {attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"]});
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);
  stop.add(() => { cancelAnimationFrame(asked); size.disconnect(); dress.disconnect(); dark.removeEventListener("change", redraw); });
  return {node, redraw};
}

// Where on a canvas the pointer is, in its own pixels.
function spot(event, node) {
  const box = node.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

// One mark of a scatter plot or a legend; the path is filled by the caller's fillStyle.
function mark(context, shape, x, y, r) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
  else if (shape === "plus" || shape === "cross") {
    const [a, b] = [r * 1.15, r * 0.4], turn = shape === "cross" ? Math.PI / 4 : 0, c = Math.cos(turn), s = Math.sin(turn);
    const corners = [[-b, -a], [b, -a], [b, -b], [a, -b], [a, b], [b, b], [b, a], [-b, a], [-b, b], [-a, b], [-a, -b], [-b, -b]];
    corners.forEach(([u, v], i) => context[i ? "lineTo" : "moveTo"](x + c * u - s * v, y + s * u + c * v));
    context.closePath();
  } else {
    const corners = {triangle: 3, down: 3, diamond: 4, star: 10}[shape], start = shape === "down" ? Math.PI / 2 : -Math.PI / 2;
    for (let i = 0; i < corners; i++) {
      const reach = shape === "star" && i % 2 ? r * 0.55 : r * 1.25, angle = start + i * 2 * Math.PI / corners;
      context[i ? "lineTo" : "moveTo"](x + reach * Math.cos(angle), y + reach * Math.sin(angle));
    }
    context.closePath();
  }
  context.fill();
}

// Controls: the browser's own, so that keyboard and screen readers work.
const button = (text, onclick, attributes = {}) => h("button", {type: "button", class: "dcacn-button", onclick, ...attributes}, text);

function slider({label, min, max, step = 1, value, oninput, show = String}) {
  const output = h("output", {}, show(value));
  const input = h("input", {type: "range", min, max, step, value, "aria-label": label, "aria-valuetext": show(value)});
  const say = () => { output.textContent = show(Number(input.value)); input.setAttribute("aria-valuetext", output.textContent); };
  input.addEventListener("input", () => { say(); oninput(Number(input.value)); });
  const node = h("label", {class: "dcacn-control"}, h("span", {}, label), input, output);
  return {node, input, get value() { return Number(input.value); },
          set(value, max = null) { if (max !== null) input.max = max; input.value = value; say(); }};
}

function choice({label, options, value, onchange}) { // options: [[value, text], ...]
  const select = h("select", {"aria-label": label, onchange: () => onchange(select.value)}, options.map(([key, text]) => h("option", {value: key, selected: key === value}, text)));
  return {node: h("label", {class: "dcacn-control"}, h("span", {}, label), select), select};
}

function tick({label, checked, onchange}) {
  const input = h("input", {type: "checkbox", checked, onchange: () => onchange(input.checked)});
  return {node: h("label", {class: "dcacn-control"}, input, h("span", {}, label)), input};
}

// The picture in words, kept up to date under it. It may change four times a second, so screen readers are given a copy that changes at once,
// and then not again for ten seconds.
function summary(model, stop) {
  const line = h("p", {class: "dcacn-summary", "aria-hidden": "true"}, model.get("summary")), heard = h("span", {class: "dcacn-heard", role: "status"}, model.get("summary"));
  let waiting = 0;
  const speak = () => { if (heard.textContent !== model.get("summary")) heard.textContent = model.get("summary"); };
  on(model, stop, "change:summary", () => {
    line.textContent = model.get("summary");
    if (waiting) return;
    speak();
    waiting = setTimeout(() => { waiting = 0; speak(); }, 10_000);
  });
  stop.add(() => clearTimeout(waiting));
  return h("div", {}, line, heard);
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Round numbers for an axis, about n of them.
function ticks(low, high, n = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / n, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

function brief(x) { // a number in a few signs
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return x.toExponential(1);
  return String(Number(x.toPrecision(3)));
}

const FOCUSABLE = "button, input, select, textarea, a[href], [tabindex]:not([tabindex='-1'])";

// One view of a widget in an element: render({model, root, t, stop}) fills root; it is called anew when the language changes. Returns the function that ends it.
function mountView(render, model, el) {
  const root = h("section", {class: "dcacn"});
  let stop = new Cleanup();
  const build = () => {
    const at = [...root.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement); // who changed the language from the keyboard stays where he was
    stop.run();
    root.replaceChildren();
    root.lang = model.get("lang") === "zh" ? "zh-Hans" : "en";
    stop = new Cleanup();
    const t = texts(model);
    root.setAttribute("aria-label", t("title"));
    render({model, root, t, stop});
    if (at >= 0) root.querySelectorAll(FOCUSABLE)[at]?.focus({preventScroll: true});
    model.send({kind: "hello"}); // Python answers with all that the view has missed
  };
  // In JupyterLab arrow keys go from cell to cell, and letters are commands, unless the very element with the focus says otherwise. Plain keys belong to the
  // widget; those with Ctrl, Alt or Cmd stay JupyterLab's: one can save the notebook from here.
  const keys = event => {
    if (root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.altKey || event.metaKey));
  };
  window.addEventListener("keydown", keys, true);
  el.append(root);
  build();
  model.on("change:words", build);
  return () => { window.removeEventListener("keydown", keys, true); model.off("change:words", build); stop.run(); root.remove(); };
}

// The two entry points of a widget.
function live(render) {
  const mount = (model, el) => mountView(render, model, el);
  return {initialize: ({model}) => settle(model, mount), render: ({model, el}) => mount(model, el)};
}

// When a run ends, Python replaces the widget in the notebook by a picture, which lasts; inside it is an empty place that names this model. As long as
// the kernel lives, the widget goes on in that place, and the picture is hidden.
function settle(model, mount) {
  const selector = `.dcacn-place[data-dcacn="${model.get("key")}"]`, living = new Map();
  const look = () => {
    for (const [place, close] of living) if (!place.isConnected) { close(); living.delete(place); }
    for (const place of document.querySelectorAll(selector)) if (!living.has(place)) living.set(place, mount(model, place));
  };
  let asked = 0;
  const observer = new MutationObserver(() => { asked ||= setTimeout(() => { asked = 0; look(); }, 50); });
  observer.observe(document.body, {childList: true, subtree: true});
  look();
  return () => { clearTimeout(asked); observer.disconnect(); for (const close of living.values()) close(); };
}
