// @ts-check
// Health of the clusters: how large each is, how that came about, figures that need no labels, and which clusters are
// alike; with a diagnosis in words. The similarity of the clusters is asked for when a snapshot comes into sight.
import {player, slider, summary} from "./controls.js";
import {h} from "./dom.js";
import {similarityPanel, figurePanel, massPanel, timePanel} from "./health_panels.js";
import {State} from "./health_state.js";
import {f32, listen} from "./messages.js";
import {live} from "./mount.js";

/** @import {Shared} from "./health_panels.js" */
/** @import {Finding, View} from "./protocol" */

const ICONS = {bad: "✕", warning: "!", note: "i", good: "✓"};

/**
 * What is found, in words.
 * @param {State} s
 */
function diagnosis(s) {
  const {t} = s;
  const list = h("ul", {class: "dcacn-health-list"});
  const node = h("div", {role: "status", "aria-live": "polite", "aria-label": t("diagnosis")}, list);
  let said = "";
  /** @param {Finding} finding */
  const item = ([severity, sentence]) => {
    const icon = h("span", {"aria-hidden": "true"}, ICONS[severity]);
    const badge = h("span", {class: "dcacn-health-badge"}, icon, ` ${t(`severity_${severity}`)}`);
    return h("li", {class: `dcacn-health-${severity}`}, badge, h("span", {}, sentence));
  };
  return {
    node,
    redraw() {
      const twins = s.similarity()?.found ?? [];
      /** @type {Finding[]} */
      const own = s.at < 0 ? [["note", t("waiting")]] : s.found[s.at];
      const found = [...own.filter(([severity]) => !twins.length || severity !== "good"), ...twins];
      node.setAttribute("aria-live", s.playing ? "off" : "polite");
      // What is below must not jump while the epochs go by.
      list.style.minHeight = s.at === s.last && !s.playing ? "" : `${list.offsetHeight}px`;
      const text = JSON.stringify(found);
      if (text === said) return;
      said = text;
      list.replaceChildren(...found.map(item));
    },
  };
}

/**
 * The epoch: a button that plays all, and a slider.
 * @param {Shared} shared
 */
function epochPlayer({s, stop, changed}) {
  const {t} = s;
  const film = player({
    t,
    stop,
    wait: () => Math.min(600, Math.max(60, 10_000 / s.epochs.length)),
    start() {
      if (s.at >= s.last) s.choose(0);
      return true;
    },
    step() {
      s.choose(s.at + 1);
      s.playing = s.at < s.last;
      changed();
      return s.playing;
    },
    changed(plays) {
      s.playing = plays;
      changed();
    },
  });
  const drag = i => {
    film.pause();
    s.playing = false;
    s.choose(i);
    changed();
  };
  const show = i => (s.epochs.length ? t("epoch_n", {epoch: s.epochs[i] ?? ""}) : "–");
  const bar = slider({label: t("epoch"), min: 0, max: 0, value: 0, oninput: drag, show});
  const note = h("span", {class: "dcacn-note"});
  return {
    node: h("div", {class: "dcacn-row dcacn-health-player"}, film.node, bar.node, note),
    redraw() {
      const n = s.epochs.length;
      bar.set(Math.max(0, s.at), Math.max(0, n - 1));
      bar.input.disabled = film.node.disabled = n < 2;
      note.textContent = n && s.at === s.last ? t("newest") : "";
    },
  };
}

/** @param {View<"health">} view */
export function render({model, root, t, stop, kept}) {
  const s = new State(kept, t);
  const changed = () => {
    const epoch = s.snapshot();
    if (s.at >= 0 && epoch !== null && !s.similarities.has(epoch)) {
      s.similarities.set(epoch, null); // asked for once
      model.send({kind: "similarity", epoch});
    }
    for (const part of parts) part.redraw();
  };
  const shared = {s, stop, changed};
  const panels = [massPanel, timePanel, figurePanel, similarityPanel].map(make => make(shared));
  const [time, said] = [epochPlayer(shared), diagnosis(s)];
  const parts = [time, said, ...panels];
  const nodes = panels.map(panel => panel.node);
  root.append(
    time.node,
    said.node,
    h("div", {class: "dcacn-columns dcacn-health-panels"}, nodes),
    summary(model, stop),
  );
  listen(model, stop, {
    reset(content, [buffer]) {
      s.reset(content, buffer);
      changed();
    },
    append(content, [buffer]) {
      s.append(content, buffer);
      changed();
    },
    snapshots({epochs}) {
      s.snapshots = epochs;
      for (const epoch of s.similarities.keys()) if (!epochs.includes(epoch)) s.similarities.delete(epoch);
      changed();
    },
    similarity({epoch, k, pair, found, names}, [buffer]) {
      s.names = names;
      if (s.snapshots.includes(epoch)) s.similarities.set(epoch, {k, pair, found, values: f32(buffer)});
      changed();
    },
  });
  changed();
}

export default live(render);
