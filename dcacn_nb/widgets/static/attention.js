// @ts-check
// Where the network looks: maps over images, channels as bars, a slider over epochs, one run or two. Python sends every
// snapshot in bytes; all that a person changes here is drawn from what has been sent, without asking Python.
import {Run, blocksOf, cutPictures} from "./attention_film.js";
import {channelBars} from "./attention_bars.js";
import {drawMap, mapGrid} from "./attention_maps.js";
import {button, choice, player, slider, summary, tick} from "./controls.js";
import {h} from "./dom.js";
import {listen, remember, u8} from "./messages.js";
import {live} from "./mount.js";
import {nearestIndex} from "./numbers.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Texts, View} from "./protocol" */
/** @typedef {(look?: boolean) => void} Changed look: Python is to speak of what is seen now */

const chosen = new Map();
const firstChoice = () => ({
  block: null,
  kind: "both",
  images: null,
  strength: 0.65,
  stretch: false,
  smooth: false,
  sorted: false,
  epoch: null,
  place: null,
  channel: null,
});

/**
 * The columns of maps to show: which run, which kind. The other run shows the kinds it has; without CBAM that is
 * activation.
 */
function columnsOf(runs, frames, state, comparing) {
  const has = (frame, kind) => frame?.parts.has(`${kind}.${state.block}`);
  const wanted = state.kind === "both" ? ["spatial", "activation"] : [state.kind];
  return (comparing ? [0, 1] : [0]).flatMap(side => {
    const found = wanted.filter(kind => has(frames[side], kind));
    const kinds = found.length || !has(frames[side], "activation") ? found : ["activation"];
    return kinds.map(kind => ({side, kind, run: runs[side], frame: frames[side]}));
  });
}

/** The images to choose from, as buttons that stay pressed. */
function thumbnails({state, t, changed}) {
  const node = h("div", {class: "dcacn-row", role: "group", "aria-label": t("images")});
  let shown = "";
  const thumbnail = (index, pictures) => {
    const canvas = h("canvas", {"aria-hidden": "true"});
    drawMap(canvas, pictures.get(index), null);
    const press = () => {
      if (!state.images.delete(index)) state.images.add(index);
      pressed.setAttribute("aria-pressed", String(state.images.has(index)));
      changed();
    };
    const label = t("image_n", {index});
    const attributes = {"aria-label": label, title: label, class: "dcacn-button dcacn-attention-thumb"};
    const pressed = button(canvas, press, {...attributes, "aria-pressed": String(state.images.has(index))});
    pressed.append(h("span", {}, index));
    return pressed;
  };
  return {
    node,
    update(indices, pictures) {
      const others = state.images?.size && !indices.some(index => state.images.has(index)); // of a run before this one
      if (!state.images || others) state.images = new Set(indices.slice(0, 4));
      const all = `${indices}/${[...pictures.keys()]}`;
      if (all === shown) return;
      shown = all;
      node.replaceChildren(...indices.map(index => thumbnail(index, pictures)));
    },
  };
}

/** A slider over the snapshots and a button that plays them; state.epoch is null as long as the newest is followed. */
function timeline({state, t, stop, changed}) {
  let frames = [];
  const epochs = () => frames.map(frame => frame.epoch);
  const at = () => (state.epoch === null ? frames.length - 1 : nearestIndex(epochs(), state.epoch));
  const go = (i, look) => {
    state.epoch = i >= frames.length - 1 ? null : frames[i].epoch;
    changed(look);
  };
  const drag = i => {
    film.pause();
    go(i, true);
  };
  const show = i => String(frames[i]?.epoch ?? "–");
  const bar = slider({label: t("epoch"), min: 0, max: 0, value: 0, oninput: drag, show});
  const film = player({
    t,
    stop,
    wait: () => 700,
    start() {
      if (at() >= frames.length - 1) go(0, false);
      return true;
    },
    step() {
      const next = at() + 1;
      const last = next >= frames.length - 1;
      go(Math.min(next, frames.length - 1), last);
      return !last;
    },
    changed: plays => plays || changed(true),
  });
  return {
    node: h("div", {class: "dcacn-row"}, bar.node, film.node),
    update(found) {
      frames = found;
      film.node.disabled = bar.input.disabled = frames.length < 2;
      bar.set(Math.max(0, at()), Math.max(0, frames.length - 1));
      return frames[at()] ?? null;
    },
  };
}

/** Below the maps: what is missing from a comparison, and how to get one. */
function notesBelow(t) {
  const lines = h("div", {});
  const code = h("code", {});
  const attributes = {class: "dcacn-note dcacn-attention-code", hidden: true};
  const more = h("details", attributes, h("summary", {}, t("compare")), h("pre", {}, code));
  return {
    node: h("div", {}, lines, more),
    update(found, text) {
      const texts = found.filter(Boolean);
      const fill = () =>
        lines.replaceChildren(...texts.map(line => h("p", {class: "dcacn-note", role: "status"}, line)));
      if (lines.textContent !== texts.join("")) fill();
      more.hidden = !text;
      if (code.textContent !== text) code.textContent = text;
    },
  };
}

/** @param {{state: any, t: Texts, changed: Changed}} options */
function controls({state, t, changed}) {
  const set = (name, look = false) => {
    return value => {
      state[name] = value;
      changed(look);
    };
  };
  const kinds = ["both", "spatial", "activation"].map(key => [key, t(key)]);
  const block = choice({label: t("block"), options: [], onchange: set("block", true)});
  const kind = choice({label: t("shown"), value: state.kind, options: kinds, onchange: set("kind")});
  const percent = Math.round(100 * state.strength);
  const setStrength = set("strength");
  const strength = slider({
    label: t("strength"),
    min: 0,
    max: 100,
    step: 5,
    value: percent,
    show: x => `${x}%`,
    oninput: x => setStrength(x / 100),
  });
  const ticks = ["stretch", "smooth"].map(name => tick({label: t(name), checked: state[name], onchange: set(name)}));
  let listed = "";
  return {
    node: h(
      "div",
      {class: "dcacn-row"},
      block.node,
      kind.node,
      strength.node,
      ticks.map(({node}) => node),
    ),
    update(blocks, n) {
      kind.node.hidden = n < 2;
      if (`${blocks}` !== listed) block.select.replaceChildren(...blocks.map(name => h("option", {value: name}, name)));
      listed = `${blocks}`;
      block.select.value = state.block ?? "";
    },
  };
}

/** Why the other run shows less than it could; null if it shows all. */
function missing(other, beside, frame, block, t) {
  if (!beside) return other.about.note ? t(other.about.note) : t("other_waiting");
  if (!beside.parts.has(`activation.${block}`)) return t("other_block", {block});
  return frame.indices.some(index => beside.indices.includes(index)) ? null : t("other_images");
}

/** Show one frame in all parts of the view. */
function showFrame(frame, runs, state, t, parts) {
  const [mine, other] = runs;
  const comparing = Boolean(mine.about.comparing);
  const blocks = blocksOf(frame);
  if (!blocks.includes(state.block)) state.block = mine.about.block;
  const {block} = state;
  const pictures = mine.pictures.size ? mine.pictures : other.pictures;
  const others = comparing ? other.ordered : [];
  const beside =
    others[
      nearestIndex(
        others.map(one => one.epoch),
        frame.epoch,
      )
    ] ?? null;
  parts.thumbs.update(frame.indices, pictures);
  const indices = frame.indices.filter(index => state.images.has(index));
  const kinds = [...frame.parts.keys()].filter(name => name.endsWith(`.${block}`) && !name.startsWith("channel"));
  parts.controls.update(blocks, kinds.length);
  const columns = columnsOf(runs, [frame, beside], state, comparing);
  parts.maps.update(columns, {indices, pictures, comparing});
  const known = indices.length > 0 && mine.about.note !== "no_attention";
  parts.bars.update({frame, first: mine.ordered[0], block, indices, known});
  const why = comparing && missing(other, beside, frame, block, t);
  parts.notes.update([indices.length ? null : t("choose"), why], mine.about.code);
}

/** @param {View<"attention">} view */
export function render({model, root, t, stop}) {
  const colors = u8(model.get("colours"));
  const runs = [new Run(), new Run()];
  const state = remember(chosen, model, firstChoice);
  state.place = state.channel = null;
  let asked = 0;
  let looking = 0;
  const redraw = () => {
    asked ||= requestAnimationFrame(refresh);
  };
  const look = () => state.block !== null && model.send({kind: "look", block: state.block, epoch: state.epoch});
  /** @type {Changed} */
  const changed = seen => {
    redraw();
    if (!seen) return;
    clearTimeout(looking);
    looking = window.setTimeout(look, 150);
  };
  stop.add(() => {
    cancelAnimationFrame(asked);
    clearTimeout(looking);
  });
  const shared = {state, t, stop, changed, colors};
  const parts = {
    controls: controls(shared),
    time: timeline(shared),
    thumbs: thumbnails(shared),
    maps: mapGrid(shared, redraw),
    bars: channelBars(shared),
    notes: notesBelow(t),
  };
  const shown = [parts.controls, parts.time, parts.thumbs, parts.maps, parts.bars].map(({node}) => node);
  const body = h("div", {hidden: true}, shown);
  function refresh() {
    asked = 0;
    const frame = parts.time.update(runs[0].ordered);
    body.hidden = !frame;
    if (frame) showFrame(frame, runs, state, t, parts);
    else parts.notes.update([], ""); // the summary says why
  }
  listenToPython(model, stop, runs, redraw);
  root.append(h("h3", {}, t("title")), body, parts.notes.node, summary(model, stop));
}

/**
 * @param {View<"attention">["model"]} model
 * @param {Cleanup} stop
 * @param {Run[]} runs
 * @param {() => void} redraw
 */
function listenToPython(model, stop, runs, redraw) {
  listen(model, stop, {
    async run(content, [sheet]) {
      const run = runs[content.side];
      run.keep(content.token, content.keep);
      run.about = content;
      redraw();
      if (!content.images) return;
      const pictures = await cutPictures(content.images, sheet);
      if (run.token === content.token) run.pictures = pictures;
      redraw();
    },
    frame(content, buffers) {
      runs[content.side].add(content, buffers);
      redraw();
    },
  });
}

export default live(render);
