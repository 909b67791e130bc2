// @ts-check
// One image with the boxes of its crops, the crops beside it at one scale, and all knobs. Everything is computed in
// Python; here it is shown.
import {button, slider, summary} from "./controls.js";
import {cropFocus, cropTiles, imageView} from "./crops_image.js";
import {clamp, h, uniqueId} from "./dom.js";
import {asker, bitmap, listen} from "./messages.js";
import {live} from "./mount.js";
import {brief} from "./numbers.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {State} from "./crops_image.js" */
/** @import {CropState, Knob, Texts, View} from "./protocol" */
/** @import {Slider} from "./controls.js" */
/** @typedef {ReturnType<typeof asker>} Asker */

/** A slider between two buttons, then its value: the buttons stay where they are when the words get longer. */
function walker({label, previous, next, oninput, show = i => String(i)}) {
  const bar = slider({label, min: 0, max: 0, value: 0, show, oninput});
  const step = by => {
    const value = clamp(bar.value + by, 0, Number(bar.input.max));
    if (value === bar.value) return;
    bar.set(value);
    oninput(value);
  };
  const back = button("◀", () => step(-1), {"aria-label": previous, title: previous});
  const forth = button("▶", () => step(1), {"aria-label": next, title: next});
  return {node: h("span", {class: "dcacn-crops-walk"}, back, bar.node, forth, bar.output), set: bar.set};
}

/** A field for the seed of the draws, and a button that draws again. */
function seedField(t, ask, state) {
  const typed = () => {
    if (/^\d{1,15}$/.test(field.value)) ask({seed: Number(field.value)});
  };
  const restore = () => {
    field.value = String(state.seed);
  };
  const attributes = {type: "number", min: 0, step: 1, value: 0, class: "dcacn-crops-seed", "aria-label": t("seed")};
  const field = h("input", {...attributes, oninput: typed, onblur: restore});
  const again = button(t("draw_again"), () => {
    field.value = String(Number(field.value) + 1);
    typed();
  });
  return {nodes: [again, h("label", {class: "dcacn-control"}, h("span", {}, t("seed")), field)], field};
}

/**
 * Which image, which draws, which step.
 * @param {Texts} t
 * @param {Asker} asking
 * @param {State} state
 */
function topBar(t, asking, state) {
  const image = walker({
    label: t("image"),
    previous: t("previous_image"),
    next: t("next_image"),
    oninput: i => asking.ask({image: i}),
  });
  const step = walker({
    label: t("step"),
    previous: t("previous_step"),
    next: t("next_step"),
    oninput: i => asking.ask({step: i}),
    show: i => t("of", {i: i + 1, n: state.steps.length, name: state.steps[i] ?? ""}),
  });
  const seed = seedField(t, asking.ask, state);
  return {
    nodes: [h("div", {class: "dcacn-row"}, image.node, seed.nodes), h("div", {class: "dcacn-row"}, step.node)],
    /** @param {CropState} now */
    set(now) {
      image.set(now.image, now.n_images - 1);
      step.set(now.step, now.steps.length - 1);
      const typing = document.activeElement === seed.field;
      if (!typing) seed.field.value = String(now.seed);
    },
  };
}

/**
 * The sliders of all settings, in groups of which one is open, so that the crops stay in sight.
 * @param {Texts} t
 * @param {Asker} asking
 */
function knobPanel(t, asking) {
  const node = h("div", {class: "dcacn-crops-knobs"});
  const name = uniqueId("crops");
  /** @type {Map<string, {bar: Slider, idle: boolean}>} by name of the knob */
  const sliders = new Map();
  /** @param {Knob} knob */
  const control = ({name: knob, knob: key, end, idle, low, high, step}) => {
    const label = idle || end ? t(idle ? "idle" : end, {name: t(key)}) : t(key);
    const oninput = value => asking.ask({knobs: {[knob]: value}});
    const bar = slider({label, min: low, max: high, step, value: low, show: brief, oninput});
    bar.node.title = knob; // the name in code
    sliders.set(knob, {bar, idle});
    return bar.node;
  };
  /** Both ends of a range are in one cell, the lower one above. */
  const cell = (knob, i, knobs) => {
    if (!knob.end) return control(knob);
    return knob.end === "smallest" && h("div", {}, control(knob), control(knobs[i + 1]));
  };
  const build = groups => {
    const open = [...node.querySelectorAll("details")].map(group => group.open);
    sliders.clear();
    const group = ({name: title, knobs}, i) => {
      const grid = h("div", {class: "dcacn-crops-grid"}, knobs.map(cell));
      return h("details", {name, open: open[i]}, h("summary", {}, t(title)), grid);
    };
    node.replaceChildren(...groups.map(group));
  };
  /** @param {Knob} knob */
  const fits = ({name: knob, idle, low, high}) => {
    const known = sliders.get(knob);
    return known?.idle === idle && Number(known.bar.input.min) <= low && Number(known.bar.input.max) >= high;
  };
  return {
    node,
    /** @param {CropState} now */
    set({groups, knobs}) {
      if (!groups.every(group => group.knobs.every(fits))) build(groups); // only if need be: one may be held just now
      for (const [knob, value] of Object.entries(knobs)) {
        sliders.get(knob)?.bar.set(value);
        sliders.get(knob)?.bar.say(brief(value)); // the value itself, though the slider may round it
      }
    },
  };
}

const withKnobs = (before, wish) => ({...before, ...wish, knobs: {...before.knobs, ...wish.knobs}});

/** @param {View<"crops">} view */
export function render({model, root, t, stop}) {
  /** @type {State} */
  const state = {picture: null, about: null, crops: [], steps: [], place: null, seed: 0};
  const asking = asker(model, stop, withKnobs);
  const focus = cropFocus();
  const bar = topBar(t, asking, state);
  const image = imageView(t, stop, state, focus);
  const tiles = cropTiles(t, stop, state, focus);
  const knobs = knobPanel(t, asking);
  const detail = h("p", {class: "dcacn-crops-detail", "aria-live": "polite"}, t("hint"));
  const problem = h("p", {class: "dcacn-crops-problem", role: "alert"});
  const columns = h("div", {class: "dcacn-crops-columns"}, h("div", {}, image.node, detail), tiles.node);
  const reset = button(t("reset_knobs"), () => asking.act({kind: "reset"}));
  const last = h("div", {class: "dcacn-row"}, reset);
  const body = h("div", {hidden: true}, bar.nodes, columns, problem, knobs.node, last);
  const empty = h("p", {class: "dcacn-note"}, t("no_images"));
  focus.watch(at => {
    detail.textContent = state.crops[at]?.detail ?? t("hint");
  });
  /** @param {CropState} now */
  const show = (now, sheets) => {
    Object.assign(state, {crops: now.crops, steps: now.steps, seed: now.seed});
    body.hidden = false;
    empty.hidden = true;
    tiles.fill(sheets, now.columns);
    if (!asking.more) {
      bar.set(now);
      knobs.set(now);
    }
    problem.textContent = now.problem ? t("refused", {problem: now.problem}) : "";
    focus.limit(now.crops.length);
    asking.answered();
  };
  const newestImage = newestOf(stop);
  const newestCrops = newestOf(stop);
  listen(model, stop, {
    empty() {
      body.hidden = true;
      empty.hidden = false;
    },
    changed: () => model.send({kind: "look"}),
    async image(about, [png]) {
      const picture = await newestImage(bitmap(png));
      if (!picture) return;
      Object.assign(state, {about, picture});
      image.redraw();
    },
    async crops(now, pngs) {
      const sheets = await newestCrops(Promise.all(pngs.map(bitmap)));
      if (sheets) show(now, sheets);
    },
  });
  root.append(h("h3", {}, t("title")), empty, body, summary(model, stop));
}

/**
 * Of several things that are being decoded, the newest alone: the others become null, and so do all after the end of
 * the view.
 * @param {Cleanup} stop
 */
function newestOf(stop) {
  let newest = 0;
  stop.add(() => {
    newest = -1;
  });
  return async promise => {
    const number = ++newest;
    const result = await promise;
    return number === newest ? result : null;
  };
}

export default live(render);
