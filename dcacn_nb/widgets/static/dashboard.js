// @ts-check
// The dashboard: controls and progress of a run, and all other widgets in tabs. Each tab's widget is a model of its
// own, drawn by its own module.
import {render as renderAttention} from "./attention.js";
import {render as renderClusters} from "./clusters.js";
import {render as renderCrops} from "./crops.js";
import {render as renderCurves} from "./curves.js";
import {render as renderHealth} from "./health.js";
import {render as renderMap} from "./map.js";
import {button, choice} from "./controls.js";
import {h, setText, uniqueId} from "./dom.js";
import {watchKernel} from "./kernel.js";
import {listen, on} from "./messages.js";
import {live, mount} from "./mount.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Render} from "./mount.js" */
/** @import {Model, RunState, Texts, View} from "./protocol" */
/** @typedef {{model: Model<"dashboard">, t: Texts, stop: Cleanup}} Shared */

/** @type {Record<string, Render>} */
const VIEWS = {
  curves: renderCurves,
  health: renderHealth,
  map: renderMap,
  attention: renderAttention,
  crops: renderCrops,
  clusters: renderClusters,
};
const TYPES = {png: "image/png", svg: "image/svg+xml", pdf: "application/pdf"};

/** "45 s", "3 min 20 s", "2 h 5 min" */
function duration(seconds, t) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} ${t("s")}`;
  if (s < 3600) return `${Math.floor(s / 60)} ${t("min")} ${s % 60} ${t("s")}`;
  return `${Math.floor(s / 3600)} ${t("h")} ${Math.floor((s % 3600) / 60)} ${t("min")}`;
}

/**
 * How far the run is, in one line.
 * @param {RunState} state
 * @param {Texts} t
 */
function progressText({planned, done, epoch, epochs, left, status}, t) {
  const parts = [];
  if (planned) parts.push(t("place", {epoch, epochs, share: Math.floor((100 * done) / planned)}));
  if (left !== null && status === "running") parts.push(t("left", {time: duration(left, t)}));
  return parts.join(" · ");
}

/** Buttons that start, pause and stop the run; `update` takes its state, and whether the kernel is there. */
function runButtons({model, t}) {
  const held = () => model.get("state").status === "paused";
  const start = button(t("start"), () => model.send({kind: "start"}));
  const hold = button(t("pause"), () => model.send({kind: held() ? "resume" : "pause"}));
  const end = button(t("stop"), () => model.send({kind: "stop"}), {title: t("stop_hint")});
  const nodes = [start, hold, end];
  const update = (state, here) => {
    const {status} = state;
    const focused = document.activeElement;
    const going = ["running", "pausing", "paused"].includes(status);
    const usable = state.controls && here;
    start.disabled = !(usable && status === "ready");
    hold.textContent = held() ? t("resume") : t("pause");
    hold.disabled = !(usable && going);
    end.disabled = !(usable && (going || status === "ready"));
    const lost = nodes.find(node => node === focused && node.disabled);
    if (lost) nodes.find(node => !node.disabled)?.focus(); // the keyboard must not lose its place
  };
  return {nodes, update};
}

/**
 * Controls and progress. Without its kernel the run cannot be controlled: the buttons are off, and a line says why.
 * @param {Shared} shared
 */
function controls({model, t, stop}) {
  const buttons = runButtons({model, t});
  const status = h("strong", {role: "status", "aria-live": "polite", class: "dcacn-dashboard-status"});
  const place = h("span", {class: "dcacn-dashboard-place"});
  const bar = h("progress", {"aria-label": t("progress"), class: "dcacn-dashboard-bar", max: 1});
  const note = h("p", {class: "dcacn-note", role: "status"});
  let here = true;
  const show = () => {
    const state = model.get("state");
    setText(status, t(`is_${state.status}`));
    status.dataset.status = state.status;
    place.textContent = progressText(state, t);
    bar.value = state.planned ? state.done / state.planned : 0;
    buttons.update(state, here);
    setText(note, state.note);
    note.hidden = !state.note;
  };
  on(model, stop, "change:state", show);
  watchKernel(model, stop, kernel => {
    here = kernel === "here";
    show();
  });
  show();
  const row = h("div", {class: "dcacn-row", role: "group", "aria-label": t("controls")}, buttons.nodes, status, place);
  return h("div", {}, row, bar, note);
}

/**
 * Save the picture of the tab that is open: Python writes the file, and the page offers the same bytes.
 * @param {Shared} shared
 */
function saving({model, t, stop}) {
  const formats = Object.keys(TYPES).map(name => [name, name.toUpperCase()]);
  const format = choice({label: t("format"), options: formats, value: "png"});
  const token = `${Date.now()}-${Math.random()}`; // an answer is for the view that asked
  const answer = h("span", {role: "status", class: "dcacn-note"});
  /** @type {string[]} */
  const urls = [];
  let focused = false;
  const save = button(t("save_figure"), () => {
    focused = document.activeElement === save;
    save.disabled = true;
    answer.replaceChildren(t("saving"));
    model.send({kind: "save", part: model.get("tab"), format: format.select.value, token});
  });
  const done = (...content) => {
    save.disabled = false;
    if (focused && document.activeElement === document.body) save.focus();
    answer.replaceChildren(...content);
  };
  listen(model, stop, {
    saved({path, name, format: kind, token: asked}, [file]) {
      if (asked !== token) return;
      const url = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (file)], {type: TYPES[kind]}));
      urls.push(url);
      for (const old of urls.splice(0, urls.length - 3)) URL.revokeObjectURL(old);
      done(t("saved", {path}), " ", h("a", {href: url, download: name}, t("download")));
    },
    failed({message, token: asked}) {
      if (asked === token) done(message);
    },
  });
  stop.add(() => urls.forEach(url => URL.revokeObjectURL(url)));
  return h("div", {class: "dcacn-row"}, format.node, save, answer);
}

/** @param {Shared} shared */
function language({model, t}) {
  const tongues = [
    ["en", "English"],
    ["zh", "中文"],
  ];
  const speak = value => {
    model.set("lang", value);
    model.save_changes();
  };
  return choice({label: t("language"), options: tongues, value: model.get("lang"), onchange: speak}).node;
}

/**
 * Tabs after the pattern of the WAI-ARIA guide: one of them is in the order of Tab, the arrow keys go from one to the
 * next. A tab's widget is mounted when the tab is first opened.
 * @param {Shared} shared
 */
function tabPanels({model, t, stop}) {
  const names = Object.keys(model.get("parts")).filter(name => name in VIEWS);
  const mounted = new Set();
  const fill = async name => {
    mounted.add(name);
    const {panel} = parts[name];
    const id = model.get("parts")[name].replace("IPY_MODEL_", "");
    try {
      const child = await model.widget_manager.get_model(id);
      panel.replaceChildren();
      if (mounted.has(name)) stop.add(mount(VIEWS[name], child, panel));
    } catch (error) {
      console.warn(error); // the kernel was restarted: this page is all that is left of the widget
      mounted.delete(name);
      panel.replaceChildren(h("p", {role: "alert"}, t("gone")));
    }
  };
  const select = (name, focus = false) => {
    for (const other of names) {
      const {tab, panel} = parts[other];
      tab.setAttribute("aria-selected", String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
      panel.hidden = other !== name;
    }
    if (!mounted.has(name)) fill(name);
    if (focus) parts[name].tab.focus();
    if (model.get("tab") === name) return;
    model.set("tab", name);
    model.save_changes();
  };
  const parts = tabParts(names, t, select);
  on(model, stop, "change:tab", () => select(model.get("tab")));
  stop.add(() => mounted.clear());
  const first = names.includes(model.get("tab")) ? model.get("tab") : names[0];
  queueMicrotask(() => first && select(first));
  const all = names.map(name => parts[name]);
  const attributes = {role: "tablist", "aria-label": t("tabs"), class: "dcacn-dashboard-tabs"};
  const list = h(
    "div",
    attributes,
    all.map(({tab}) => tab),
  );
  return h(
    "div",
    {},
    list,
    all.map(({panel}) => panel),
  );
}

/**
 * A tab and a panel for each name.
 * @param {string[]} names
 * @param {Texts} t
 * @param {(name: string, focus?: boolean) => void} select
 * @returns {Record<string, {tab: HTMLButtonElement, panel: HTMLDivElement}>}
 */
function tabParts(names, t, select) {
  const id = uniqueId("dashboard");
  const keys = {ArrowRight: i => i + 1, ArrowLeft: i => i - 1, Home: () => 0, End: () => names.length - 1};
  const make = (name, i) => {
    const onkeydown = event => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      select(names[(keys[event.key](i) + names.length) % names.length], true);
    };
    const [own, other] = [`${id}-tab-${name}`, `${id}-${name}`];
    const hands = {onclick: () => select(name), onkeydown};
    const tabbed = {type: "button", role: "tab", id: own, "aria-controls": other, class: "dcacn-dashboard-tab"};
    const tab = h("button", {...tabbed, ...hands}, t(`tab_${name}`));
    const about = {role: "tabpanel", id: other, "aria-labelledby": own, class: "dcacn-dashboard-panel"};
    return [name, {tab, panel: h("div", about)}];
  };
  return Object.fromEntries(names.map(make));
}

/** @param {View<"dashboard">} view */
export function render({model, root, t, stop}) {
  const shared = {model, t, stop};
  const name = h("span", {class: "dcacn-dashboard-name"}, model.get("name"));
  const head = h(
    "div",
    {class: "dcacn-row dcacn-dashboard-head"},
    h("h3", {}, t("title"), " ", name),
    language(shared),
  );
  root.append(head, controls(shared), tabPanels(shared), saving(shared));
}

export default live(render);
