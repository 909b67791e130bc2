// @ts-check
// MapViewer: maps of the same images, snapshot after snapshot; points move from map to map.
import {bitmap, listen, on} from "./messages.js";
import {button, choice, slider, summary} from "./controls.js";
import {calm} from "./canvas.js";
import {gallery, legend, status} from "./map_side.js";
import {h} from "./dom.js";
import {live} from "./mount.js";
import {MapView} from "./map_view.js";
import {stage} from "./map_stage.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Frame} from "./map_film.js" */
/** @import {Model} from "./protocol" */
/** @import {View} from "./protocol" */

/**
 * The film: a button that plays it, and a slider over its frames.
 * @param {MapView} view
 * @param {Cleanup} stop
 * @param {(frame: Frame, glide?: boolean) => void} show
 */
function filmPlayer(view, stop, show) {
  const {t, motion} = view;
  let timer = 0;
  const place = i => {
    const frame = view.frames[i];
    return frame && frame.epoch !== null ? t("place", {epoch: frame.epoch, i: i + 1, n: view.frames.length}) : "–";
  };
  const scrub = i => {
    pause();
    view.follow = i === view.frames.length - 1;
    if (view.frames[i]) show(view.frames[i]);
  };
  const bar = slider({label: t("snapshot"), min: 0, max: 0, value: 0, show: place, oninput: scrub});
  bar.node.classList.add("dcacn-wide");
  const pause = () => {
    clearTimeout(timer);
    motion.playing = null;
    playing.textContent = t("play");
  };
  const play = () => {
    const all = view.frames;
    if (all.length < 2) return;
    if (bar.value >= all.length - 1) {
      bar.set(0);
      show(all[0], false);
    }
    motion.playing = {duration: Math.min(900, Math.max(60, 15000 / all.length))};
    view.follow = false;
    playing.textContent = t("pause");
    advance();
  };
  const playing = button(t("play"), () => (motion.playing ? pause() : play()));
  const step = next => {
    if (!motion.playing) return;
    bar.set(next);
    show(view.frames[next]);
  };
  /** To the next frame of the film; with reduced motion, after a rest. Returns whether there was one. */
  const advance = () => {
    const next = bar.value + 1;
    if (next >= view.frames.length) {
      pause();
      view.follow = true;
      return false;
    }
    clearTimeout(timer);
    if (calm()) timer = window.setTimeout(() => step(next), 700);
    else step(next);
    return true;
  };
  stop.add(() => clearTimeout(timer));
  const update = () => {
    playing.disabled = bar.input.disabled = view.frames.length < 2;
  };
  return {nodes: [playing, bar.node], bar, update, pause, advance};
}

/**
 * The choices above and beside the map.
 * @param {MapView} view
 */
function choices(view) {
  const {t} = view;
  const options = pairs => pairs.map(([value, key]) => [value, t(key)]);
  const methods = choice({
    label: t("method"),
    options: options(["tsne", "pca"].map(key => [key, key])),
    value: view.method,
    onchange: value => view.set("method", value),
  });
  const colors = choice({
    label: t("color_by"),
    options: options(["cluster", "last", "class", "confidence"].map(key => [key, `by_${key}`])),
    value: view.mode,
    onchange: value => view.set("color_by", value),
  });
  const drags = choice({
    label: t("drag"),
    options: options(["area", "lasso", "move"].map(key => [key, `drag_${key}`])),
    value: "area",
  });
  const picker = choice({
    label: t("select"),
    options: [["", t("select_none")]],
    value: "",
    onchange: k => view.select(k === "" ? [] : view.rowsOf(Number(k))),
  });
  const update = () => {
    const frame = view.motion.frame;
    const named = (frame ? view.tally(frame.cluster) : []).map(([k]) => h("option", {value: k}, view.clusterName(k)));
    picker.select.replaceChildren(h("option", {value: ""}, t("select_none")), ...named);
    const byClass = /** @type {HTMLOptionElement} */ (colors.select.querySelector("[value=class]"));
    byClass.hidden = byClass.disabled = !view.film.labels;
  };
  return {methods, colors, drags, picker, update};
}

/**
 * After a change of the film or of the method: the newest frame if it is followed, else the one that was shown.
 * @param {MapView} view
 */
function frameToShow({frames, follow, motion}) {
  const shown = motion.frame;
  if (follow || !shown) return frames.length - 1;
  return Math.max(
    0,
    frames.findLastIndex(frame => frame.id <= shown.id),
  );
}

/** @param {View<"map">} view */
export function render({model, root, t, stop}) {
  const view = new MapView(model, t);
  const chooser = choices(view);
  const arrived = () => player.advance() || map.redraw();
  const map = stage(view, stop, {dragMode: () => chooser.drags.select.value, arrived});
  const light = () => {
    view.dress();
    map.redraw();
  };
  const parts = {marks: legend(view, light), state: status(view), images: gallery(view, map.point)};
  let later = 0;
  const describe = () => {
    later = 0;
    parts.marks.update();
    chooser.update();
    player.update();
    parts.state.update();
  };
  const show = (frame, glide = true) => {
    view.show(frame, glide);
    map.tip.hidden = true; // it would stay where the point was
    map.redraw();
    later ||= window.setTimeout(describe, 120); // words need not follow every frame of a film
  };
  const player = filmPlayer(view, stop, show);
  stop.add(() => clearTimeout(later));
  const settle = () => {
    if (view.frames.length) {
      const i = frameToShow(view);
      player.bar.set(i, view.frames.length - 1);
      show(view.frames[i]);
      return;
    }
    view.motion.clear();
    view.styles = view.states = new Uint8Array(0);
    map.redraw();
    describe();
  };
  const controls = {map, player, chooser, parts, describe, settle};
  listenToPython(model, stop, view, controls);
  root.append(...layout(view, controls), summary(model, stop));
  parts.images.update();
  describe();
}

/** The elements of the view, from top to bottom. */
function layout({t}, {map, player, chooser, parts}) {
  const zoom = (sign, factor, name) => button(sign, () => map.zoom(factor), {"aria-label": name, title: name});
  const tools = [zoom("+", 1.4, t("zoom_in")), zoom("−", 1 / 1.4, t("zoom_out")), button(t("reset_view"), map.home)];
  const left = h(
    "div",
    {},
    h("div", {class: "dcacn-map"}, map.node, map.tip),
    map.spoken,
    h("div", {class: "dcacn-row"}, chooser.drags.node, tools),
  );
  const picker = h("div", {class: "dcacn-row"}, chooser.picker.node);
  const right = h("div", {}, parts.marks.node, picker, parts.images.node);
  return [
    h("div", {class: "dcacn-row"}, player.nodes, chooser.methods.node, chooser.colors.node),
    h("div", {class: "dcacn-columns dcacn-map-columns"}, left, right),
    parts.state.node,
  ];
}

/**
 * @param {Model<"map">} model
 * @param {Cleanup} stop
 * @param {MapView} view
 */
function listenToPython(model, stop, view, {map, player, chooser, parts, describe, settle}) {
  const {film, motion} = view;
  const takeSelection = () => {
    const rows = model.get("selection").map(index => film.rowOf.get(index));
    view.selected = new Set(rows.filter(row => row !== undefined));
    view.dress();
    parts.images.update();
    map.redraw();
  };
  const startAgain = () => {
    player.pause();
    motion.clear();
    map.home();
    settle();
  };
  listen(model, stop, {
    start(content, buffers) {
      view.start(content, buffers);
      startAgain();
      takeSelection();
    },
    async sheet(content, [png]) {
      view.sheet = {...content, bitmap: await bitmap(png)};
      parts.images.update();
    },
    async tiles(content, [png]) {
      await view.store.take(content, png);
      parts.images.update();
      map.point(view.current);
    },
    map(content, buffers) {
      film.add(content, buffers);
      if (content.method !== view.method) return;
      const shown = motion.frame;
      if (!motion.playing || !shown) settle();
      else {
        const i = view.frames.findIndex(frame => frame.id >= shown.id);
        player.bar.set(i, view.frames.length - 1);
      }
    },
    state(content) {
      film.state = content;
      if (motion.frame) describe();
      else parts.state.update();
    },
  });
  on(model, stop, "change:method", () => {
    chooser.methods.select.value = view.method;
    startAgain();
  });
  on(model, stop, "change:color_by", () => {
    chooser.colors.select.value = view.mode;
    view.lit.clear();
    view.dress();
    map.redraw();
    describe();
  });
  on(model, stop, "change:selection", takeSelection);
}

export default live(render);
