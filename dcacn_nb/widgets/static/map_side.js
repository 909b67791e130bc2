// @ts-check
// Beside and below the map: the legend, the selected images, and what is being made.
import {clusterSwatch, swatch} from "./canvas.js";
import {button} from "./controls.js";
import {h} from "./dom.js";
import {LEVELS, levelSize} from "./map_paint.js";

/** @import {MapView} from "./map_view.js" */

const GALLERY = 200; // images shown of a selection

/**
 * Groups with their marks, each a button that picks its points out.
 * @param {MapView} view
 * @param {() => void} changed
 */
export function legend(view, changed) {
  const {t, film, lit} = view;
  const node = h("div", {class: "dcacn-legend", role: "group", "aria-label": t("legend")});
  const name = k => {
    if (view.mode === "class") return film.className(k);
    return film.name(k) === null ? String(k) : `${k} ${film.name(k)}`;
  };
  const light = k => {
    if (!lit.delete(k)) lit.add(k);
    for (const item of /** @type {Iterable<HTMLElement>} */ (/** @type {any} */ (node.children))) {
      item.setAttribute("aria-pressed", String(lit.has(Number(item.dataset.k))));
    }
    changed();
  };
  const level = (color, i) => {
    const least = `≥ ${(i / LEVELS.length).toFixed(2)}`;
    return h("span", {class: "dcacn-control"}, swatch("circle", color, 10 * levelSize(i)), least);
  };
  const group = ([k, n]) => {
    const label = h("span", {class: "dcacn-name"}, name(k));
    const count = h("span", {class: "dcacn-count"}, String(n));
    const attributes = {"data-k": k, "aria-pressed": String(lit.has(k))};
    const item = button(clusterSwatch(k), () => light(k), attributes);
    item.append(label, count);
    return item;
  };
  return {
    node,
    update() {
      const focused = /** @type {HTMLElement | null} */ (document.activeElement);
      const k = focused && node.contains(focused) ? focused.dataset.k : undefined;
      const all = () => (view.mode === "confidence" ? LEVELS.map(level) : view.tally(view.groups).map(group));
      node.replaceChildren(...(view.motion.frame ? all() : []));
      if (k !== undefined) /** @type {HTMLElement | null} */ (node.querySelector(`[data-k="${k}"]`))?.focus();
    },
  };
}

/**
 * What is being made, and what went wrong.
 * @param {MapView} view
 */
export function status(view) {
  const {t} = view;
  const node = h("p", {class: "dcacn-note"});
  let shown = "";
  const lines = ({waiting, problem, dropped, making}) => {
    const found = [];
    if (!view.film.n) found.push(t("waiting_snapshot"));
    else if (!view.motion.frame && !problem) found.push(t("first_map", {method: t(view.method)}));
    else if (making?.epoch === null) found.push(t("making_set", {method: t(making.method)}));
    else if (waiting && making) found.push(t("making", {method: t(making.method), epoch: making.epoch, waiting}));
    if (dropped) found.push(t("dropped", {n: dropped}));
    return found;
  };
  return {
    node,
    update() {
      const {problem} = view.film.state;
      const found = lines(view.film.state);
      const key = [...found, problem, view.method].join("|");
      if (key === shown) return; // an alert that is put there again is read aloud again
      shown = key;
      node.replaceChildren(
        found.join(" "),
        problem ? h("span", {class: "dcacn-problem", role: "alert"}, ` ${problem} `) : "",
        problem && view.method === "tsne" ? button(t("show_pca"), () => view.set("method", "pca")) : "",
      );
    },
  };
}

/**
 * The images that are selected.
 * @param {MapView} view
 * @param {(i: number) => void} point show a point of the map; -1: none
 */
export function gallery(view, point) {
  const {t} = view;
  const node = h("div", {});
  const item = row => {
    const lines = view.describe(row);
    const attributes = {
      role: "img",
      "aria-label": lines.join(", "),
      title: lines.join("\n"),
      onpointerenter: () => point(row),
      onpointerleave: () => point(-1),
    };
    return h("li", {}, view.tile(row, 40, attributes));
  };
  return {
    node,
    update() {
      const rows = [...view.selected].sort((a, b) => a - b);
      const n = rows.length;
      if (!n) {
        node.replaceChildren(h("p", {class: "dcacn-note"}, t("select_hint")));
        return;
      }
      const counted = t(n === 1 ? "selected_1" : "selected_n", {n});
      const first = n > GALLERY ? h("span", {class: "dcacn-note"}, t("first_n", {n: GALLERY})) : null;
      const clear = button(t("clear"), () => view.select([]));
      const images = view.motion.frame ? rows.slice(0, GALLERY).map(item) : [];
      node.replaceChildren(
        h("div", {class: "dcacn-row"}, h("strong", {}, counted), first, clear),
        h("ul", {class: "dcacn-gallery", tabindex: 0, "aria-label": counted}, images),
      );
    },
  };
}
