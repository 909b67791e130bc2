// @ts-check
// One card per group: its name, its images at either end, and on request all of them.
import {clusterSwatch} from "./canvas.js";
import {imagesFrom, twoDigits} from "./clusters_store.js";
import {button} from "./controls.js";
import {arrange, clamp, h} from "./dom.js";

/** @import {ClustersView, Image} from "./clusters_store.js" */
/** @import {ClusterGroup} from "./protocol" */
/** @typedef {ReturnType<typeof clusterCard>} Card */

const ENDS = ["surest", "doubtful"];

/**
 * A row of pictures: one stop of the Tab key, arrows within, each a button that is pressed when selected.
 * @param {ClustersView} view
 */
export function imageStrip(view) {
  const node = h("div", {class: "dcacn-clusters-strip", role: "group"});
  /** @type {Map<number, ReturnType<typeof imageButton>>} by index of the image */
  const buttons = new Map();
  /** @type {Image[]} */
  let shown = [];
  const nodeOf = i => buttons.get(shown[i].index)?.node;
  const rove = index => {
    for (const [other, {node: one}] of buttons) one.tabIndex = other === index ? 0 : -1;
  };
  const toggle = selector(view, () => shown);
  const perRow = () => {
    const tops = shown.map((_, i) => nodeOf(i)?.offsetTop);
    return Math.max(1, tops.filter(top => top === tops[0]).length);
  };
  const key = (event, image) => {
    const at = shown.indexOf(image);
    const next = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      Home: () => 0,
      End: () => shown.length - 1,
      ArrowDown: () => at + perRow(),
      ArrowUp: () => at - perRow(),
    }[event.key];
    if (!next) return;
    event.preventDefault();
    nodeOf(clamp(next(), 0, shown.length - 1))?.focus();
  };
  const paint = () => {
    for (const one of buttons.values()) one.paint();
  };
  /** Show these images; buttons of images that stay are kept, and so is the focus. */
  const fill = (images, label) => {
    node.setAttribute("aria-label", label);
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const had = node.contains(focused);
    const kept = new Set(images.map(image => image.index));
    for (const [index, one] of buttons) {
      if (kept.has(index)) continue;
      one.node.remove();
      buttons.delete(index);
    }
    shown = images;
    for (const image of images) {
      const one = buttons.get(image.index) ?? imageButton(view, {toggle, key, rove});
      buttons.set(image.index, one);
      one.set(image);
    }
    arrange(node, /** @type {Element[]} */ (images.map((_, i) => nodeOf(i))));
    if (had && focused.isConnected && document.activeElement !== focused) focused.focus({preventScroll: true});
    if (images.length && ![...buttons.values()].some(one => one.node.tabIndex === 0)) rove(images[0].index);
    paint();
  };
  return {node, fill, paint};
}

/**
 * Select or deselect an image; with Shift, all from the last one.
 * @param {ClustersView} view
 * @param {() => Image[]} shown
 */
function selector(view, shown) {
  let anchor = -1; // index of an image
  return (image, range) => {
    const all = shown();
    const from = all.findIndex(other => other.index === anchor);
    const to = all.indexOf(image);
    const wish = !view.selected.has(image.index);
    const chosen = range && from >= 0 ? all.slice(Math.min(from, to), Math.max(from, to) + 1) : [image];
    for (const one of chosen) {
      if (wish) view.selected.set(one.index, one);
      else view.selected.delete(one.index);
    }
    anchor = image.index;
    view.paint();
  };
}

/**
 * One picture of a strip.
 * @param {ClustersView} view
 */
function imageButton(view, {toggle, key, rove}) {
  /** @type {Image} */
  let image;
  let drawn = -1; // the token of the pictures
  const canvas = h("canvas", {width: 1, height: 1});
  const hands = {
    onclick: event => toggle(image, event.shiftKey),
    onkeydown: event => key(event, image),
    onfocus() {
      rove(image.index);
      view.point(image);
    },
    onpointerenter: () => view.point(image),
  };
  const node = h("button", {type: "button", class: "dcacn-clusters-image", tabindex: -1, ...hands}, canvas);
  return {
    node,
    set(next) {
      image = next;
      node.classList.toggle("dcacn-clusters-hand", image.hand);
    },
    paint() {
      node.setAttribute("aria-pressed", String(view.selected.has(image.index)));
      node.setAttribute("aria-label", view.words(image));
      if (drawn === view.store.token) return;
      if (view.store.draw(image.index, canvas)) drawn = view.store.token;
      else view.want(image.index);
    },
  };
}

/**
 * All images of a group, page by page.
 * @param {ClustersView} view
 * @param {number} id
 */
function allImages(view, id) {
  const {t} = view;
  const {open} = view.chosen;
  const strip = imageStrip(view);
  const where = h("span", {class: "dcacn-note"});
  let page = {start: 0, size: 0, page: 60};
  /** @type {Image[]} */
  let images = [];
  const ask = start => {
    open.set(id, start);
    view.send("members", {group: id, start});
  };
  const selectPage = () => {
    for (const image of images) view.selected.set(image.index, image);
    view.paint();
  };
  const previous = button(t("previous"), () => ask(Math.max(0, page.start - page.page)));
  const next = button(t("next"), () => ask(page.start + page.page));
  const row = h("div", {class: "dcacn-row"}, previous, where, next, button(t("select_page"), selectPage));
  const node = h("div", {class: "dcacn-clusters-between", hidden: true}, strip.node, row);
  const refresh = () => {
    const start = open.get(id);
    node.hidden = start === undefined;
    if (start !== undefined) ask(start);
  };
  return {
    node,
    refresh,
    paint: strip.paint,
    toggle() {
      if (!open.delete(id)) open.set(id, 0);
      refresh();
    },
    take(message, parts) {
      const {start, count, size} = message;
      images = imagesFrom(parts);
      page = message;
      strip.fill(images, t("strip", {which: t("between"), name: view.label(id)}));
      where.textContent = t("page", {from: size ? start + 1 : 0, to: start + count, n: size});
      previous.disabled = start === 0;
      next.disabled = start + count >= size;
    },
  };
}

/**
 * The name of a group, to be typed.
 * @param {ClustersView} view
 * @param {number} id
 */
function nameField(view, id) {
  let kept = "";
  const send = () => {
    if (node.value.trim() !== kept) view.send("rename", {group: id, name: node.value});
  };
  const key = event => {
    if (event.key === "Escape") node.value = kept;
    if (event.key === "Escape" || event.key === "Enter") node.blur();
  };
  const attributes = {class: "dcacn-clusters-name", placeholder: view.t("name_hint"), onchange: send, onkeydown: key};
  const plain = {type: "text", autocomplete: "off", spellcheck: "false"};
  const node = h("input", {...plain, maxlength: view.model.get("longest"), ...attributes});
  const typing = () => node.matches(":focus");
  return {
    node,
    typing,
    focus() {
      node.focus();
      node.select();
    },
    /** A name from Python; one that is being typed stays. */
    set(name, label) {
      node.setAttribute("aria-label", label);
      if (!typing() || node.value.trim() === kept) node.value = name;
      kept = name;
    },
  };
}

/** "140 images, 10.0 % · mean confidence 0.91 · 3 moved by hand" */
function factsOf(group, {t, state}) {
  if (!group.size) return t("empty");
  const share = `${((100 * group.size) / state.n).toFixed(1)} %`;
  const parts = [
    t("size", {size: group.size.toLocaleString("en"), share}),
    t("mean", {confidence: twoDigits(group.confidence)}),
  ];
  if (group.moved) parts.push(t("by_hand", {moved: group.moved}));
  return parts.join(" · ");
}

/**
 * The images at either end of a group.
 * @param {ClustersView} view
 */
function endStrips(view) {
  const {t} = view;
  const strips = ENDS.map(key => ({key, strip: imageStrip(view), label: h("p", {class: "dcacn-note"}, t(key))}));
  const rows = strips.map(({strip, label}) => h("div", {}, label, strip.node));
  return {
    node: h("div", {}, rows),
    paint: () => strips.forEach(({strip}) => strip.paint()),
    fill(images, name) {
      strips.forEach(({key, strip, label}, i) => {
        const some = images[i].slice(0, view.chosen.ends);
        label.hidden = !some.length;
        strip.fill(some, t("strip", {which: t(key), name}));
      });
    },
  };
}

/**
 * @param {ClustersView} view
 * @param {number} id
 */
export function clusterCard(view, id) {
  const {t} = view;
  const title = h("span", {class: "dcacn-clusters-number"});
  const facts = h("p", {class: "dcacn-clusters-facts dcacn-note"});
  const tickThis = () => {
    if (pick.checked) view.ticked.add(id);
    else view.ticked.delete(id);
    view.paint();
  };
  const pick = h("input", {type: "checkbox", onchange: tickThis});
  const name = nameField(view, id);
  const ends = endStrips(view);
  const between = allImages(view, id);
  const all = button("", () => {
    between.toggle();
    dress();
  });
  const apart = button("", () => view.send("apart", {group: id}));
  const head = h("div", {class: "dcacn-clusters-head"}, pick, clusterSwatch(id, 9), title, name.node);
  const last = h("div", {class: "dcacn-row"}, all, apart);
  const node = h("article", {class: "dcacn-clusters-card"}, head, facts, ends.node, between.node, last);
  /** @type {ClusterGroup} */
  let group;
  const dress = () => {
    const open = view.chosen.open.has(id);
    const inSight = group.ends.reduce((sum, n) => sum + Math.min(n, view.chosen.ends), 0);
    all.textContent = open ? t("show_less") : t("show_all", {n: group.size});
    all.setAttribute("aria-expanded", String(open));
    all.hidden = !open && group.size <= inSight;
    ends.node.hidden = open;
  };
  const paint = () => {
    pick.checked = view.ticked.has(id);
    node.classList.toggle("dcacn-clusters-ticked", pick.checked);
    ends.paint();
    between.paint();
  };
  const heading = ({parts}) => {
    if (parts.length > 1) return t("of_parts", {parts: parts.join(" + ")});
    return t(id < view.state.k ? "cluster_n" : "new_n", {k: id});
  };
  /** @type {(now: ClusterGroup, images: Image[][], fresh: boolean) => void} fresh: other images may be in the group */
  const update = (now, images, fresh) => {
    group = now;
    const label = view.label(id);
    node.setAttribute("aria-label", label);
    pick.setAttribute("aria-label", t("tick", {name: label}));
    title.textContent = heading(group);
    name.set(group.name, t("name_of", {name: title.textContent}));
    facts.textContent = factsOf(group, view);
    ends.fill(images, label);
    apart.textContent = group.parts.length > 1 ? t("apart") : t("put_back");
    apart.hidden = group.parts.length < 2 && id < view.state.k;
    dress();
    if (fresh) between.refresh();
    paint();
  };
  return {node, update, paint, take: between.take, focus: name.focus, typing: name.typing};
}
