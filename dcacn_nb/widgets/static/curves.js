// @ts-check
// Curves over the epochs: one panel per quantity, all on one axis; colour and mark say what a line shows, its dashes of
// which run.
import {formatEpoch, lastEpoch, panelText, panelsOf, takeRows, valueText, visibleLines} from "./curves_data.js";
import {dashSwatch, drawPanel, lineSwatch} from "./curves_draw.js";
import {keyHandler, pointerHandlers, resetView, zoomBy} from "./curves_hands.js";
import {button, summary, tick} from "./controls.js";
import {plot} from "./canvas.js";
import {Cleanup, h} from "./dom.js";
import {f32, listen} from "./messages.js";
import {live} from "./mount.js";

/** @import {Layer} from "./curves_draw.js" */
/** @import {Panel, Run} from "./curves_data.js" */
/** @import {Plot} from "./canvas.js" */
/** @import {Texts, View} from "./protocol" */
/**
 * @typedef {Panel & Plot & {layer?: Layer, show: () => void}} ShownPanel
 * @typedef {{range: number[] | null, band: number[] | null, at: number | null, hidden: Set<string>, log:
 *   Set<string>}} State range: the part of the axis in sight; band: being dragged; at: the cross; hidden: lines and
 *   runs put out
 * @typedef {{t: Texts, state: State, runs: Run[], version: number, refresh: () => void}} CurvesView
 */

/** A legend entry that puts a line (or a run) out and in again. */
function legendToggle(view, key, label, ...children) {
  const {hidden} = view.state;
  const press = () => {
    if (!hidden.delete(key)) hidden.add(key);
    node.setAttribute("aria-pressed", String(!hidden.has(key)));
    view.refresh();
  };
  const attributes = {"aria-pressed": String(!hidden.has(key)), "aria-label": label, onclick: press};
  const node = h("button", {type: "button", class: "dcacn-curves-key", ...attributes}, children);
  return node;
}

/** The legend of a panel, with the values at the cross. */
function panelLegend(view, panel) {
  const {t, state} = view;
  const values = panel.lines.map(() => h("span", {class: "dcacn-curves-value", "aria-hidden": "true"}));
  const entry = (line, i) =>
    legendToggle(view, `${panel.key} ${line.key}`, line.text, lineSwatch(line), line.text, values[i]);
  const scale = checked => {
    state.log[checked ? "add" : "delete"](panel.key);
    view.refresh();
  };
  const log = panel.log ? tick({label: t("log"), checked: state.log.has(panel.key), onchange: scale}) : null;
  log?.input.setAttribute("aria-label", `${t(panel.key)}: ${t("log")}`);
  const entries = panel.lines.length === 1 ? values : panel.lines.map(entry);
  return {node: h("div", {class: "dcacn-curves-legend"}, entries, log?.node), values};
}

/** Why a panel shows nothing, or not all; "" if it shows all. */
function noteOf(panel, {t, state, runs}, empty) {
  const unlabelled = panel.key === "scores" && runs.some(run => run.scores.columns[0]?.length);
  if (empty) return t(unlabelled ? "no_scores" : "not_reported");
  const lines = state.log.has(panel.key) ? visibleLines(panel, runs, state.hidden) : [];
  return lines.some(({ys}) => ys.some(y => y <= 0)) ? t("no_log") : "";
}

/**
 * One panel: heading, legend, canvas, note. `panel.show` brings it up to date.
 * @param {CurvesView} view
 * @param {ShownPanel} panel
 * @param {Cleanup} stop
 */
function panelView(view, panel, stop) {
  const {t, state} = view;
  const title = t(panel.key);
  const hands = {onkeydown: keyHandler(view, panel), ...pointerHandlers(view, panel)};
  const canvas = plot({
    height: 210,
    label: t("by_epoch", {what: title}),
    stop,
    draw: (context, width, height, colors) => drawPanel(context, width, height, colors, panel, view),
    attributes: {tabindex: 0, role: "slider", "aria-valuemin": 0, ...hands},
  });
  const legend = panelLegend(view, panel);
  const note = h("p", {class: "dcacn-note"});
  const show = () => {
    const columns = panel.lines.flatMap(line => view.runs.map(run => run[panel.part].columns[line.column(run)] ?? []));
    const empty = !columns.some(ys => ys.some(Number.isFinite));
    note.textContent = noteOf(panel, view, empty);
    note.hidden = !note.textContent;
    canvas.node.hidden = legend.node.hidden = empty;
    panel.lines.forEach((line, i) => {
      const value = view.runs.length > 1 ? "" : valueText(panel, line, view.runs[0], state.at);
      legend.values[i].textContent = value;
    });
    canvas.node.setAttribute("aria-valuenow", String(state.at ?? lastEpoch(view.runs, state.hidden)));
    canvas.node.setAttribute("aria-valuemax", String(lastEpoch(view.runs, new Set())));
    canvas.node.setAttribute("aria-valuetext", panelText(panel, view));
    canvas.redraw();
  };
  Object.assign(panel, canvas, {show});
  const head = h("div", {class: "dcacn-curves-head"}, h("strong", {}, title), legend.node);
  const attributes = {class: "dcacn-curves-panel", role: "group", "aria-label": title};
  return h("div", attributes, head, canvas.node, note);
}

/** All values at the cross: quantities down, runs across. */
function valueTable(view, panels) {
  const {runs, t} = view;
  const cells = [];
  const caption = h("caption");
  const head = runs.map((run, r) => h("th", {scope: "col"}, run.label, runs.length > 1 ? dashSwatch(r) : null));
  const cell = (panel, line, run) => {
    const node = h("td");
    cells.push({node, panel, line, run});
    return node;
  };
  const row = (panel, line) => {
    const name = panel.key === "losses" ? `${t("loss")}: ${line.text}` : line.text;
    const values = runs.map(run => cell(panel, line, run));
    return h("tr", {}, h("th", {scope: "row"}, lineSwatch(line), name), values);
  };
  const rows = panels.flatMap(panel => panel.lines.map(line => row(panel, line)));
  const heads = runs.length > 1 ? h("thead", {}, h("tr", {}, h("td"), head)) : null;
  const node = h("table", {class: "dcacn-curves-values"}, caption, heads, h("tbody", {}, rows));
  const write = () => {
    const {at} = view.state;
    caption.textContent = at === null ? t("values_last") : t("values_at", {epoch: formatEpoch(at)});
    for (const {node: td, panel, line, run} of cells) td.textContent = valueText(panel, line, run, at);
  };
  return {node, write};
}

/** What concerns all panels: the part of the axis, and which runs are seen. */
function tools(view) {
  const {t, runs} = view;
  const reset = button(t("reset_view"), () => resetView(view));
  const zoom = (sign, factor, name) => button(sign, () => zoomBy(view, factor), {"aria-label": name, title: name});
  const toggle = (run, r) => legendToggle(view, `run ${run.label}`, run.label, dashSwatch(r), run.label);
  const attributes = {class: "dcacn-curves-legend", role: "group", "aria-label": t("runs")};
  const keys = runs.length > 1 ? h("div", attributes, h("strong", {}, t("runs")), runs.map(toggle)) : null;
  const node = h("div", {class: "dcacn-row"}, zoom("+", 0.5, t("zoom_in")), zoom("−", 2, t("zoom_out")), reset, keys);
  const update = () => {
    reset.disabled = view.state.range === null;
  };
  return {node, update};
}

/** Everything that depends on which runs and which lines there are: {nodes, update}. */
function buildParts(view, stop) {
  const panels = /** @type {ShownPanel[]} */ (panelsOf(view.t, view.runs));
  const views = panels.map(panel => panelView(view, panel, stop));
  const table = valueTable(view, panels);
  const bar = tools(view);
  const values = h("div", {class: "dcacn-curves-panel dcacn-curves-table"}, table.node);
  const columns = h("div", {class: "dcacn-columns dcacn-curves"}, views, values);
  const update = () => {
    for (const panel of panels) panel.show();
    table.write();
    bar.update();
  };
  return {nodes: [bar.node, columns, h("p", {class: "dcacn-note"}, view.t("hint"))], update};
}

/** @returns {State} */
const firstState = () => ({range: null, band: null, at: null, hidden: new Set(), log: new Set()});
const noRows = () => ({columns: [], kept: 0});

/** @param {View<"curves">} view */
export function render({model, root, t, stop, kept}) {
  const state = (kept.state ??= firstState());
  /** @type {Run[]} by number; some may be missing */
  const all = [];
  const waiting = h("p", {class: "dcacn-note"}, t("waiting"));
  const place = h("div");
  let inner = new Cleanup();
  /** @type {{nodes: Element[], update: () => void}} */
  let parts = {nodes: [], update: () => {}};
  let built = ""; // for which runs and terms
  /** @type {CurvesView} */
  const view = {t, state, runs: [], version: 0, refresh};
  function refresh() {
    if (state.range && state.range[0] >= lastEpoch(view.runs, state.hidden)) state.range = null; // the run began again
    waiting.hidden = view.runs.length > 0;
    place.hidden = !waiting.hidden;
    if (view.runs.length) parts.update();
  }
  const build = () => {
    const now = JSON.stringify(view.runs.map(run => [run.label, run.terms]));
    if (now === built) return; // a message that changes nothing must not take the focus away
    built = now;
    inner.run();
    inner = new Cleanup();
    parts = buildParts(view, inner);
    place.replaceChildren(...parts.nodes);
  };
  const changed = () => {
    view.version++;
    refresh();
  };
  stop.add(() => inner.run());
  listen(model, stop, {
    run({run, label, terms, begun, head}) {
      const known = all[run];
      const same = known?.terms.join("\n") === terms.join("\n");
      const rows = same ? {steps: known.steps, scores: known.scores} : {steps: noRows(), scores: noRows()};
      all[run] = Object.assign(known ?? {}, {label, terms, begun, head, ...rows});
      view.runs = all.filter(one => one?.begun);
      if (view.runs.length) build();
      changed();
    },
    rows({run, part, restart, kept: count}, [buffer]) {
      const width = part === "steps" ? 4 + all[run].terms.length : 4;
      takeRows(all[run][part], width, {restart, kept: count}, f32(buffer));
      changed();
    },
  });
  root.append(waiting, place, summary(model, stop));
}

export default live(render);
