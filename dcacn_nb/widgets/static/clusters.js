// @ts-check
// The images of each cluster, and what a person does with them. Python sends all groups with the images at their ends;
// pictures are asked for when they are shown. Sorting, paging, ticks and the selection are this view's own; names,
// merges and moves are Python's, and come back to all views.
import {clusterCard} from "./clusters_cards.js";
import {finder} from "./clusters_found.js";
import {ClustersView, imagesFrom} from "./clusters_store.js";
import {button, choice, slider, summary} from "./controls.js";
import {arrange, h} from "./dom.js";
import {listen} from "./messages.js";
import {live} from "./mount.js";

/** @import {Card} from "./clusters_cards.js" */
/** @import {Image, Order} from "./clusters_store.js" */
/** @import {Cleanup} from "./dom.js" */
/** @import {ClusterState, View} from "./protocol" */

const CARDS_PER_PAGE = 12;

/**
 * What is done with ticked clusters and selected images.
 * @param {ClustersView} view
 */
function toolbar(view) {
  const {t} = view;
  const hint = h("span", {class: "dcacn-note"}, t("how"));
  const count = h("span", {class: "dcacn-clusters-count"});
  const target = h("select", {"aria-label": t("target")});
  const act = (kind, content, used) => {
    view.send(kind, content);
    used.clear();
    view.paint();
  };
  const images = () => [...view.selected.keys()];
  const merge = button(t("merge"), () => act("merge", {groups: [...view.ticked]}, view.ticked));
  const split = button(t("split"), () => act("split", {images: images()}, view.selected));
  const moved = () => ({images: images(), group: Number(target.value)});
  const move = button(t("move_to"), () => act("move", moved(), view.selected));
  const clear = button(t("clear"), () => {
    view.ticked.clear();
    view.selected.clear();
    view.paint();
  });
  const attributes = {class: "dcacn-row dcacn-clusters-tools", role: "toolbar", "aria-label": t("how")};
  const moving = h("span", {class: "dcacn-control"}, move, target);
  let listed = "";
  const list = () => {
    const options = view.state.groups.map(({id}) => ({value: id, label: view.label(id)}));
    if (JSON.stringify(options) === listed) return;
    listed = JSON.stringify(options);
    const before = target.value;
    target.replaceChildren(...options.map(({value, label}) => h("option", {value}, label)));
    if (options.some(({value}) => String(value) === before)) target.value = before;
  };
  const paint = () => {
    const n = view.selected.size;
    const ticked = view.ticked.size;
    merge.textContent = ticked > 1 ? t("merge_n", {n: ticked}) : t("merge");
    merge.disabled = ticked < 2;
    count.textContent = t("selected", {n});
    hint.hidden = n + ticked > 0;
    for (const control of [split, move, target]) control.disabled = !n;
    clear.disabled = !n && !ticked;
    list();
  };
  return {node: h("div", attributes, merge, count, split, moving, clear, hint), paint};
}

/**
 * Undo, redo, and the ways out.
 * @param {ClustersView} view
 */
function historyButtons(view) {
  const {t} = view;
  const make = kind => button(t(kind), () => view.send(kind));
  const [undo, redo, write, download, startOver] = ["undo", "redo", "export", "download", "start_over"].map(make);
  const node = h("span", {class: "dcacn-row dcacn-clusters-history"}, undo, redo, write, download, startOver);
  const paint = () => {
    const {undo: back, redo: forth, n, folder, damaged} = view.state;
    undo.disabled = !back;
    redo.disabled = !forth;
    write.hidden = !folder;
    write.disabled = download.disabled = !n;
    startOver.hidden = !damaged;
  };
  return {node, paint};
}

/** Offer a file for download. */
function offer(file, buffer) {
  const link = h("a", {href: URL.createObjectURL(new Blob([buffer], {type: "text/csv"})), download: file});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * The cards of one page, in order. Those that stay are not built again, so that a name being typed, and the focus,
 * stay.
 * @param {ClustersView} view
 */
function cardGrid(view) {
  const node = h("div", {class: "dcacn-clusters-grid"});
  /** @type {Map<number, Card>} by id of the group */
  const cards = new Map();
  const refocus = focused => {
    if (node.contains(focused) && document.activeElement !== focused) focused.focus({preventScroll: true});
  };
  return {
    node,
    cards,
    /** @type {(page: ClusterState["groups"], images: Map<number, Image[][]>, fresh: boolean) => void} */
    fill(page, images, fresh) {
      const typing = [...cards.values()].some(card => card.typing());
      const focused = document.activeElement;
      for (const [id, card] of cards) {
        if (page.some(group => group.id === id)) continue;
        card.node.remove();
        cards.delete(id);
      }
      for (const group of page) {
        const card = cards.get(group.id) ?? clusterCard(view, group.id);
        const made = !cards.has(group.id);
        cards.set(group.id, card);
        if (made) node.append(card.node);
        card.update(group, images.get(group.id) ?? [[], []], fresh || made);
      }
      if (!typing) arrange(node, /** @type {Element[]} */ (page.map(({id}) => cards.get(id)?.node)));
      refocus(focused);
    },
  };
}

/**
 * From page to page.
 * @param {ClustersView} view
 * @param {(by: number) => void} turn
 */
function pager({t, chosen}, turn) {
  const where = h("span", {class: "dcacn-note"});
  const previous = button(t("previous"), () => turn(-1));
  const next = button(t("next"), () => turn(1));
  const node = h("div", {class: "dcacn-row", hidden: true}, previous, where, next);
  const update = (shown, n) => {
    const first = chosen.page * CARDS_PER_PAGE;
    node.hidden = n <= CARDS_PER_PAGE;
    where.textContent = t("clusters_page", {from: first + 1, to: first + shown, n});
    previous.disabled = chosen.page === 0;
    next.disabled = first + CARDS_PER_PAGE >= n;
  };
  return {node, update};
}

/** The images at the ends of each group, from one list of all. */
function endsByGroup(groups, all) {
  let at = 0;
  const take = n => all.slice(at, (at += n));
  return new Map(groups.map(({id, ends: [a, b]}) => [id, [take(a), take(b)]]));
}

/**
 * The choices above the cards.
 * @param {ClustersView} view
 * @param {() => void} changed
 */
function choices({t, chosen}, changed) {
  const orders = ["number", "size", "name", "confidence"].map(key => [key, t(`by_${key}`)]);
  const setOrder = value => {
    Object.assign(chosen, {sort: /** @type {Order} */ (value), page: 0});
    changed();
  };
  const setEnds = value => {
    chosen.ends = value;
    changed();
  };
  const sort = choice({label: t("sort"), options: orders, value: chosen.sort, onchange: setOrder});
  const ends = slider({label: t("per_cluster"), min: 1, max: 24, value: chosen.ends, oninput: setEnds});
  return [sort.node, ends.node];
}

/** @param {View<"clusters">} given */
export function render({model, root, t, stop}) {
  root.classList.add("dcacn-clusters");
  const view = new ClustersView(model, root, t);
  const {chosen} = view;
  const reading = h("p", {class: "dcacn-clusters-reading"}, t("point"));
  const nothing = h("p", {class: "dcacn-note"}, t("nothing"));
  const tools = toolbar(view);
  const past = historyButtons(view);
  const find = finder(view);
  const grid = cardGrid(view);
  const turning = pager(view, by => {
    chosen.page += by;
    show();
  });
  /** @type {Map<number, Image[][]>} at the ends of each group */
  let images = new Map();
  view.point = image => {
    reading.textContent = view.words(image);
  };
  view.paint = () => {
    for (const part of [tools, past, find]) part.paint();
    for (const card of grid.cards.values()) card.paint();
  };
  const show = (wanted = -1, fresh = false) => {
    const groups = view.sorted();
    const place = groups.findIndex(group => group.id === wanted);
    if (place >= 0) chosen.page = Math.floor(place / CARDS_PER_PAGE);
    const last = Math.max(0, Math.ceil(groups.length / CARDS_PER_PAGE) - 1);
    chosen.page = Math.min(Math.max(0, chosen.page), last);
    const page = groups.slice(chosen.page * CARDS_PER_PAGE, (chosen.page + 1) * CARDS_PER_PAGE);
    grid.fill(page, images, fresh);
    nothing.hidden = groups.length > 0;
    turning.update(page.length, groups.length);
    view.paint();
  };
  const said = h("p", {class: "dcacn-clusters-said", role: "status"});
  const trouble = h("p", {class: "dcacn-clusters-trouble", role: "alert", hidden: true});
  /** @type {(content: ClusterState, buffers: DataView[]) => void} */
  const takeState = (content, buffers) => {
    view.take(content);
    images = endsByGroup(content.groups, content.groups.length ? imagesFrom(buffers) : []);
    const made = content.by === view.id ? content.made : null;
    show(made ?? -1, true);
    if (content.said) said.textContent = content.said;
    if (content.said && content.by === view.id) find.answered();
    trouble.hidden = !content.trouble;
    trouble.textContent = content.trouble;
    const card = grid.cards.get(made ?? -1);
    card?.node.scrollIntoView({block: "nearest"});
    card?.focus();
  };
  listenToPython(model, stop, view, grid, find, takeState);
  whenSeen(root, stop, () => view.ask());
  stop.add(() => cancelAnimationFrame(view.asking));
  const top = h("div", {class: "dcacn-clusters-top"}, tools.node, reading);
  const first = h("div", {class: "dcacn-row"}, choices(view, show), past.node);
  root.append(first, find.node, top, trouble, said, nothing, find.panel, grid.node, turning.node, summary(model, stop));
  for (const part of [tools, past, find]) part.paint();
}

/** Call `seen` whenever an element comes into sight or goes out of it. */
function whenSeen(root, stop, seen) {
  const observer = new IntersectionObserver(seen);
  observer.observe(root);
  stop.add(() => observer.disconnect());
}

/**
 * @param {View<"clusters">["model"]} model
 * @param {Cleanup} stop
 * @param {ClustersView} view
 * @param {ReturnType<typeof cardGrid>} grid
 * @param {ReturnType<typeof finder>} find
 * @param {(content: ClusterState, buffers: DataView[]) => void} takeState
 */
function listenToPython(model, stop, view, grid, find, takeState) {
  listen(model, stop, {
    state: takeState,
    members(content, buffers) {
      if (content.view === view.id) grid.cards.get(content.group)?.take(content, buffers);
    },
    async tiles(content, [buffer]) {
      await view.store.take(content, buffer);
      for (const card of grid.cards.values()) card.paint();
      find.paint();
    },
    found(content, buffers) {
      if (!content.view || content.view === view.id) find.take(content, buffers);
    },
    csv(content, [buffer]) {
      if (content.view === view.id) offer(content.file, buffer);
    },
  });
}

export default live(render);
