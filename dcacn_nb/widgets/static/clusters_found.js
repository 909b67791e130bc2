// @ts-check
// Looking for images by their features, and exports: the buttons, and above the clusters what was found.
import {imageStrip} from "./clusters_cards.js";
import {imagesFrom} from "./clusters_store.js";
import {button, choice} from "./controls.js";
import {h, setText} from "./dom.js";

/** @import {ClustersView, Image} from "./clusters_store.js" */
/** @import {ClustersFound} from "./protocol" */

const WHAT = ["similar", "copies", "outliers", "merges"];
const AS = [
  ["links", "as_links"],
  ["copies", "as_copies"],
  ["label-studio", "as_label_studio"],
];

/**
 * What is exported: the selected images, or all.
 * @param {ClustersView} view
 */
function exporter(view) {
  const {t} = view;
  const form = choice({label: t("export_as"), options: AS.map(([key, text]) => [key, t(text)])});
  const send = () => view.send("export_as", {to: form.select.value, images: [...view.selected.keys()]});
  const go = button(t("export_all"), send);
  form.node.append(go);
  const paint = () => {
    const n = view.selected.size;
    setText(go, n ? t("export_selected", {n}) : t("export_all"));
    form.node.hidden = !view.state.files || !view.state.folder;
  };
  return {node: form.node, paint};
}

/**
 * One row of what was found: images, and for a pair of clusters a button that merges them.
 * @param {ClustersView} view
 * @param {ClustersFound["rows"][number]} row
 * @param {Image[]} images
 */
function foundRow(view, {label, groups}, images) {
  const {t} = view;
  const strip = imageStrip(view);
  strip.fill(images, t("strip", {which: t("found"), name: label}));
  const merge = button(t("merge_pair", {name: label}), () => view.send("merge", {groups}));
  const head = groups.length ? merge : h("p", {class: "dcacn-note", hidden: !label}, label);
  const node = h("div", {}, head, strip.node);
  const paint = () => {
    strip.paint();
    node.hidden = groups.some(id => !view.group(id)); // merged since
  };
  return {node, paint};
}

/** @param {ClustersView} view */
export function finder(view) {
  const {t} = view;
  const ask = what => {
    waiting = true;
    title.textContent = t("looking");
    rows.replaceChildren();
    panel.hidden = false;
    view.send("find", {what, images: [...view.selected.keys()]});
  };
  const buttons = WHAT.map(what => button(t(`find_${what}`), () => ask(what)));
  const look = h("span", {class: "dcacn-row", role: "group", "aria-label": t("find")}, t("find"), buttons);
  const out = exporter(view);
  const node = h("div", {class: "dcacn-row dcacn-clusters-find"}, look, out.node);
  const title = h("p", {role: "status"});
  const rows = h("div", {class: "dcacn-clusters-rows"});
  /** @type {Image[]} */
  let selectable = [];
  /** @type {ReturnType<typeof foundRow>[]} */
  let shown = [];
  let waiting = false;
  const select = button(t("select_found"), () => {
    for (const image of selectable) view.selected.set(image.index, image);
    view.paint();
  });
  const close = button(t("close"), () => {
    panel.hidden = true;
    buttons[0].focus();
  });
  const attributes = {class: "dcacn-clusters-found", "aria-label": t("found"), hidden: true};
  const panel = h("section", attributes, title, rows, h("div", {class: "dcacn-row"}, select, close));
  const paint = () => {
    look.hidden = !view.state.features;
    buttons[0].disabled = !view.selected.size;
    for (const one of buttons.slice(1)) one.disabled = !view.state.n;
    out.paint();
    node.hidden = look.hidden && out.node.hidden;
    if (panel.hidden) return;
    for (const row of shown) row.paint();
  };
  /** @type {(content: ClustersFound, buffers: DataView[]) => void} */
  const take = (content, buffers) => {
    waiting = false;
    const all = imagesFrom(buffers);
    let at = 0;
    const parts = content.rows.map(({count}) => all.slice(at, (at += count)));
    const copies = content.what === "copies";
    shown = content.rows.map((row, i) => foundRow(view, row, parts[i]));
    selectable = parts.flatMap(part => (copies ? part.slice(1) : part)); // not the one to keep
    select.textContent = t(copies ? "select_copies" : "select_found");
    title.textContent = content.title;
    rows.replaceChildren(...shown.map(row => row.node));
    select.hidden = !selectable.length || content.what === "merges";
    panel.hidden = false;
    view.paint();
  };
  /** Python has answered in words: nothing was found. */
  const answered = () => {
    if (waiting) panel.hidden = true;
    waiting = false;
  };
  return {node, panel, paint, take, answered};
}
