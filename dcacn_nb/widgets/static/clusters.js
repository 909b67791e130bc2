// The images of each cluster, and what a person does with them. Python (widgets.clusters) sends all groups with the images at their ends; pictures are asked
// for when they are shown. Sorting, paging, ticks and the selection are this view's own; names, merges and moves are Python's, and come back to all views.

const CLUSTERS_CARDS = 12; // cards on a page
const CLUSTERS_TILES = 4000; // pictures kept
const clustersChosen = new Map(); // key of a widget -> what was last chosen in it: a view built anew (another language, the end of the run) goes on there
const clustersStores = new Map(); // key of a widget -> its pictures, shared by its views

// Pictures by index of the image, in the sheets in which they came; the oldest sheets go first.
class ClustersStore {
  constructor() { this.token = null; this.clear(); }
  clear() { for (const sheet of this.sheets ?? []) sheet.ready.then(() => sheet.bitmap.close()); this.sheets = []; this.tiles = new Map(); this.asked = new Set(); this.total = 0; }
  begin(token) { if (token !== this.token) { this.clear(); this.token = token; } }
  // Views share the pictures: the first to hear of a sheet takes it, the others wait until it can be drawn.
  async take({token, images, files, layout}, buffer) {
    if (token !== this.token) return;
    if (images.some(index => !this.tiles.has(index))) {
      const sheet = {images, bitmap: null};
      sheet.ready = bitmap(buffer).then(picture => { sheet.bitmap = picture; });
      images.forEach((index, i) => this.tiles.set(index, {sheet, x: i % layout.columns * layout.width, y: Math.floor(i / layout.columns) * layout.height,
                                                          width: layout.width, height: layout.height, file: files?.[i]}));
      this.sheets.push(sheet);
      this.total += images.length;
      while (this.total > CLUSTERS_TILES && this.sheets.length > 1) this.drop(this.sheets.shift());
    }
    await Promise.all(images.map(index => this.tiles.get(index)?.sheet.ready));
  }
  drop(sheet) {
    for (const index of sheet.images) if (this.tiles.get(index)?.sheet === sheet) { this.tiles.delete(index); this.asked.delete(index); }
    this.total -= sheet.images.length;
    sheet.ready.then(() => sheet.bitmap.close());
  }
  draw(index, canvas) {
    const tile = this.tiles.get(index);
    if (!tile?.sheet.bitmap) return false;
    canvas.width = tile.width;
    canvas.height = tile.height;
    canvas.getContext("2d").drawImage(tile.sheet.bitmap, tile.x, tile.y, tile.width, tile.height, 0, 0, tile.width, tile.height);
    canvas.classList.toggle("dcacn-clusters-coarse", tile.width < 40);
    return true;
  }
}

// What Python says about images: [{index, cluster, second, hand, confidence, at}, ...].
function clustersImages([whole, share]) {
  const numbers = typed(Int32Array, whole), shares = f32(share);
  return Array.from({length: shares.length / 2}, (_, i) => ({index: numbers[4 * i], cluster: numbers[4 * i + 1], second: numbers[4 * i + 2], hand: numbers[4 * i + 3] > 0,
                                                            confidence: shares[2 * i], at: shares[2 * i + 1]}));
}

const clustersShare = x => x.toFixed(2);

// What all parts of one view need.
class ClustersView {
  constructor(model, root, t) {
    Object.assign(this, {model, root, t, id: Math.random().toString(36).slice(2), state: null, ticked: new Set(), selected: new Map(), cards: new Map(), wanted: new Set(), asking: 0});
    const key = model.get("key");
    if (!clustersStores.has(key)) clustersStores.set(key, new ClustersStore());
    this.store = clustersStores.get(key);
    if (!clustersChosen.has(key)) clustersChosen.set(key, {sort: "number", page: 0, ends: model.get("per_cluster"), open: new Map()});
    this.chosen = clustersChosen.get(key);
    this.names = new Map();
  }
  send(kind, content = {}) { this.model.send({kind, view: this.id, ...content}); }
  group(id) { return this.state?.groups.find(group => group.id === id); }
  // What a cluster or group is called; a cluster of the network that was merged is called like the whole.
  label(id) { return this.names.get(id) || this.t(id < this.state.k ? "cluster_n" : "new_n", {k: id}); }
  take(state) {
    this.state = state;
    this.names = new Map(state.groups.flatMap(group => group.parts.map(part => [part, group.name])));
    if (this.token !== state.token) this.selected.clear();
    this.token = state.token;
    this.store.begin(state.token);
    for (const id of this.ticked) if (!this.group(id)) this.ticked.delete(id);
  }
  sorted() {
    const size = (a, b) => b.size - a.size, named = (a, b) => (a.name === "") - (b.name === "") || a.name.localeCompare(b.name, undefined, {numeric: true});
    const orders = {number: () => 0, size, name: named, confidence: (a, b) => (a.confidence ?? 2) - (b.confidence ?? 2)};
    return [...this.state.groups].sort((a, b) => orders[this.chosen.sort](a, b) || a.id - b.id);
  }
  words(image) {
    const {t} = this, file = this.store.tiles.get(image.index)?.file;
    const second = image.second >= 0 ? t("then", {name: this.label(image.second), confidence: clustersShare(image.at)}) : "";
    return t("image_is", {index: image.index, file: file ? ` (${file})` : "", name: this.label(image.cluster), confidence: clustersShare(image.confidence), second, hand: image.hand ? t("hand") : ""});
  }
  // A picture that is not here yet is asked for, together with others, once the view can be seen.
  want(index) {
    if (this.store.asked.has(index)) return;
    this.wanted.add(index);
    this.asking ||= requestAnimationFrame(() => { this.asking = 0; this.ask(); });
  }
  ask() {
    if (!this.root.isConnected || !this.root.getClientRects().length) return; // in a hidden tab: asked when it is seen
    const images = [...this.wanted].filter(index => !this.store.asked.has(index));
    this.wanted.clear();
    for (let i = 0; i < images.length; i += 256) this.model.send({kind: "tiles", images: images.slice(i, i + 256)});
    for (const index of images) this.store.asked.add(index);
  }
}

// A row of pictures: one stop of the Tab key, arrows within, each a button that is pressed when selected. {node, fill(images, label)}
function clustersStrip(view) {
  const node = h("div", {class: "dcacn-clusters-strip", role: "group"}), buttons = new Map();
  let shown = [], anchor = null;
  const rove = index => { for (const [other, button] of buttons) button.tabIndex = other === index ? 0 : -1; };
  const toggle = (image, range) => {
    const from = shown.findIndex(other => other.index === anchor), to = shown.indexOf(image), wish = !view.selected.has(image.index);
    const chosen = range && from >= 0 ? shown.slice(Math.min(from, to), Math.max(from, to) + 1) : [image];
    for (const one of chosen) if (wish) view.selected.set(one.index, one); else view.selected.delete(one.index);
    anchor = image.index;
    view.paint();
  };
  const key = (event, image) => {
    const at = shown.indexOf(image), next = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1, ArrowDown: at + perRow(), ArrowUp: at - perRow()}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    buttons.get(shown[Math.max(0, Math.min(shown.length - 1, next))].index).focus();
  };
  const perRow = () => { const tops = shown.map(({index}) => buttons.get(index).offsetTop); return Math.max(1, tops.filter(top => top === tops[0]).length); };
  const make = image => {
    const button = h("button", {type: "button", class: "dcacn-clusters-image", tabindex: -1}, h("canvas", {width: 1, height: 1}));
    const now = () => button.image;
    button.image = image;
    button.addEventListener("click", event => toggle(now(), event.shiftKey));
    button.addEventListener("keydown", event => key(event, now()));
    button.addEventListener("focus", () => { rove(now().index); view.point(now()); });
    button.addEventListener("pointerenter", () => view.point(now()));
    return button;
  };
  const fill = (images, label) => {
    node.setAttribute("aria-label", label);
    const had = node.contains(document.activeElement) ? document.activeElement : null;
    const kept = new Set(images.map(image => image.index));
    for (const [index, button] of buttons) if (!kept.has(index)) { button.remove(); buttons.delete(index); }
    shown = images;
    images.forEach((image, i) => {
      if (!buttons.has(image.index)) buttons.set(image.index, make(image));
      const button = buttons.get(image.index);
      button.image = image;
      button.classList.toggle("dcacn-clusters-hand", image.hand);
      if (node.children[i] !== button) node.insertBefore(button, node.children[i] ?? null);
    });
    if (had?.isConnected && document.activeElement !== had) had.focus({preventScroll: true});
    if (images.length && ![...buttons.values()].some(button => button.tabIndex === 0)) rove(images[0].index);
    paint();
  };
  const paint = () => {
    for (const [index, button] of buttons) {
      button.setAttribute("aria-pressed", String(view.selected.has(index)));
      button.setAttribute("aria-label", view.words(button.image));
      if (button.drawn === view.store.token || view.store.draw(index, button.firstChild)) button.drawn = view.store.token;
      else view.want(index);
    }
  };
  return {node, fill, paint};
}

// All images of a group, page by page: {node, toggle(), refresh(), take(message)}.
function clustersBetween(view, id) {
  const {t} = view, strip = clustersStrip(view), where = h("span", {class: "dcacn-note"});
  let page = {start: 0, size: 0, page: 60}, images = [];
  const ask = start => { view.chosen.open.set(id, start); view.send("members", {group: id, start}); };
  const previous = button(t("previous"), () => ask(Math.max(0, page.start - page.page))), next = button(t("next"), () => ask(page.start + page.page));
  const select = button(t("select_page"), () => { for (const image of images) view.selected.set(image.index, image); view.paint(); });
  const node = h("div", {class: "dcacn-clusters-between", hidden: true}, strip.node, h("div", {class: "dcacn-row"}, previous, where, next, select));
  const refresh = () => {
    node.hidden = !view.chosen.open.has(id);
    if (!node.hidden) ask(view.chosen.open.get(id));
  };
  return {
    node, refresh, paint: strip.paint,
    toggle() { if (view.chosen.open.has(id)) view.chosen.open.delete(id); else view.chosen.open.set(id, 0); refresh(); },
    take(message, parts) {
      images = clustersImages(parts);
      page = message;
      strip.fill(images, t("strip", {which: t("between"), name: view.label(id)}));
      where.textContent = t("page", {from: message.size ? message.start + 1 : 0, to: message.start + message.count, n: message.size});
      previous.disabled = message.start === 0;
      next.disabled = message.start + message.count >= message.size;
    },
  };
}

// The mark of a cluster, as in the other pictures.
function clustersMark(id) {
  const node = h("canvas", {class: "dcacn-clusters-mark", width: 32, height: 32, "aria-hidden": "true"}), context = node.getContext("2d");
  context.fillStyle = colorOf(id);
  mark(context, shapeOf(id), 16, 16, 9);
  return node;
}

// One group: {node, update(group, images), ...}.
function clustersCard(view, id) {
  const {t} = view, title = h("span", {class: "dcacn-clusters-number"}), facts = h("p", {class: "dcacn-clusters-facts dcacn-note"});
  const pick = h("input", {type: "checkbox", onchange: () => { if (pick.checked) view.ticked.add(id); else view.ticked.delete(id); view.paint(); }});
  const name = h("input", {type: "text", class: "dcacn-clusters-name", maxlength: view.model.get("longest"), placeholder: t("name_hint"), autocomplete: "off", spellcheck: "false"});
  let kept = "";
  name.addEventListener("change", () => { if (name.value.trim() !== kept) view.send("rename", {group: id, name: name.value}); });
  name.addEventListener("keydown", event => { if (event.key === "Escape") { name.value = kept; name.blur(); } else if (event.key === "Enter") name.blur(); });
  const strips = ["surest", "doubtful"].map(which => ({which, strip: clustersStrip(view), label: h("p", {class: "dcacn-note"}, t(which))}));
  const ends = h("div", {}, strips.map(({strip, label}) => h("div", {}, label, strip.node))), between = clustersBetween(view, id);
  const all = button("", () => { between.toggle(); dress(); }), apart = button("", () => view.send("apart", {group: id}));
  const node = h("article", {class: "dcacn-clusters-card"}, h("div", {class: "dcacn-clusters-head"}, pick, clustersMark(id), title, name), facts, ends, between.node,
                 h("div", {class: "dcacn-row"}, all, apart));
  let group = null;
  const dress = () => {
    const open = view.chosen.open.has(id);
    all.textContent = open ? t("show_less") : t("show_all", {n: group.size});
    all.setAttribute("aria-expanded", String(open));
    all.hidden = !open && group.size <= group.ends.reduce((sum, n) => sum + Math.min(n, view.chosen.ends), 0); // all are in sight already
    ends.hidden = open;
  };
  const update = (now, images, fresh) => {
    group = now;
    const label = view.label(id);
    node.setAttribute("aria-label", label);
    pick.setAttribute("aria-label", t("tick", {name: label}));
    title.textContent = group.parts.length > 1 ? t("of_parts", {parts: group.parts.join(" + ")}) : t(id < view.state.k ? "cluster_n" : "new_n", {k: id});
    name.setAttribute("aria-label", t("name_of", {name: title.textContent}));
    if (!name.matches(":focus") || name.value.trim() === kept) name.value = group.name;
    kept = group.name;
    facts.textContent = group.size ? [t("size", {size: group.size.toLocaleString("en"), share: `${(100 * group.size / view.state.n).toFixed(1)} %`}),
                                      t("mean", {confidence: clustersShare(group.confidence)}), ...(group.moved ? [t("by_hand", {moved: group.moved})] : [])].join(" · ") : t("empty");
    strips.forEach(({which, strip, label: line}, i) => {
      const some = images[i].slice(0, view.chosen.ends);
      line.hidden = !some.length;
      strip.fill(some, t("strip", {which: t(which), name: label}));
    });
    apart.textContent = group.parts.length > 1 ? t("apart") : t("put_back");
    apart.hidden = group.parts.length < 2 && id < view.state.k;
    dress();
    if (fresh) between.refresh();
    paint();
  };
  const paint = () => { pick.checked = view.ticked.has(id); node.classList.toggle("dcacn-clusters-ticked", pick.checked); strips.forEach(({strip}) => strip.paint()); between.paint(); };
  return {node, update, paint, take: between.take, focus: () => { name.focus(); name.select(); }, typing: () => name.matches(":focus")};
}

// What is done with ticked clusters and selected images: {node, paint()}.
function clustersTools(view) {
  const {t} = view, hint = h("span", {class: "dcacn-note"}, t("how")), count = h("span", {class: "dcacn-clusters-count"}), target = h("select", {"aria-label": t("target")});
  const images = () => [...view.selected.keys()];
  const done = () => { view.selected.clear(); view.paint(); };
  const merge = button(t("merge"), () => { view.send("merge", {groups: [...view.ticked]}); view.ticked.clear(); view.paint(); });
  const split = button(t("split"), () => { view.send("split", {images: images()}); done(); });
  const move = button(t("move_to"), () => { view.send("move", {images: images(), group: Number(target.value)}); done(); });
  const clear = button(t("clear"), () => { view.ticked.clear(); done(); });
  const node = h("div", {class: "dcacn-row dcacn-clusters-tools", role: "toolbar", "aria-label": t("how")}, merge, count, split, h("span", {class: "dcacn-control"}, move, target), clear, hint);
  let listed = "";
  const paint = () => {
    const n = view.selected.size, ticked = view.ticked.size, groups = view.state?.groups ?? [];
    merge.textContent = ticked > 1 ? t("merge_n", {n: ticked}) : t("merge");
    merge.disabled = ticked < 2;
    count.textContent = t("selected", {n});
    hint.hidden = n + ticked > 0;
    for (const control of [split, move, target]) control.disabled = !n;
    clear.disabled = !n && !ticked;
    const options = groups.map(group => [group.id, view.label(group.id)]), key = JSON.stringify(options);
    if (key === listed) return;
    const before = target.value;
    listed = key;
    target.replaceChildren(...options.map(([id, label]) => h("option", {value: id}, label)));
    if (groups.some(group => String(group.id) === before)) target.value = before;
  };
  return {node, paint};
}

// Undo, redo and the ways out: {node, paint()}.
function clustersBooks(view) {
  const {t} = view, undo = button(t("undo"), () => view.send("undo")), redo = button(t("redo"), () => view.send("redo"));
  const write = button(t("export"), () => view.send("export")), download = button(t("download"), () => view.send("download")), anew = button(t("anew"), () => view.send("anew"));
  const node = h("span", {class: "dcacn-row dcacn-clusters-books"}, undo, redo, write, download, anew);
  return {node, paint() {
    const {undo: back, redo: forth, n, folder, damaged} = view.state ?? {undo: 0, redo: 0, n: 0};
    undo.disabled = !back;
    redo.disabled = !forth;
    write.hidden = !folder;
    write.disabled = download.disabled = !n;
    anew.hidden = !damaged;
  }};
}

function clustersSave(file, buffer) {
  const link = h("a", {href: URL.createObjectURL(new Blob([buffer], {type: "text/csv"})), download: file});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function renderClusters({model, root, t, stop}) {
  root.classList.add("dcacn-clusters");
  const view = new ClustersView(model, root, t), {chosen} = view;
  const told = h("p", {class: "dcacn-clusters-told"}, t("point")), said = h("p", {class: "dcacn-clusters-said", role: "status"}), trouble = h("p", {class: "dcacn-clusters-trouble", role: "alert", hidden: true});
  const grid = h("div", {class: "dcacn-clusters-grid"}), nothing = h("p", {class: "dcacn-note"}, t("nothing")), where = h("span", {class: "dcacn-note"});
  const turn = by => { chosen.page += by; arrange(); };
  const previous = button(t("previous"), () => turn(-1)), next = button(t("next"), () => turn(1)), pager = h("div", {class: "dcacn-row"}, previous, where, next);
  const sort = choice({label: t("sort"), options: ["number", "size", "name", "confidence"].map(key => [key, t(`by_${key}`)]), value: chosen.sort, onchange: value => { chosen.sort = value; chosen.page = 0; arrange(); }});
  const ends = slider({label: t("per_cluster"), min: 1, max: 24, value: chosen.ends, oninput: value => { chosen.ends = value; arrange(); }});
  const tools = clustersTools(view), books = clustersBooks(view);
  let images = new Map();

  view.point = image => { told.textContent = view.words(image); };
  view.paint = () => { tools.paint(); books.paint(); for (const card of view.cards.values()) card.paint(); };
  // The cards of this page, in order; those that stay are not built anew, so that a name being typed, and the focus, stay.
  const arrange = (wanted = null, fresh = false) => {
    const groups = view.sorted(), pages = Math.max(1, Math.ceil(groups.length / CLUSTERS_CARDS));
    if (wanted !== null) chosen.page = Math.max(0, Math.floor(groups.findIndex(group => group.id === wanted) / CLUSTERS_CARDS));
    chosen.page = Math.min(Math.max(0, chosen.page), pages - 1);
    const page = groups.slice(chosen.page * CLUSTERS_CARDS, (chosen.page + 1) * CLUSTERS_CARDS), ids = new Set(page.map(group => group.id));
    const typing = [...view.cards.values()].some(card => card.typing()), focused = document.activeElement;
    for (const [id, card] of view.cards) if (!ids.has(id)) { card.node.remove(); view.cards.delete(id); }
    page.forEach((group, i) => {
      const made = !view.cards.has(group.id);
      if (made) view.cards.set(group.id, clustersCard(view, group.id));
      const card = view.cards.get(group.id);
      if (!card.node.isConnected || !typing && grid.children[i] !== card.node) grid.insertBefore(card.node, grid.children[i] ?? null);
      card.update(group, images.get(group.id), fresh || made);
    });
    if (grid.contains(focused) && document.activeElement !== focused) focused.focus({preventScroll: true});
    pager.hidden = pages < 2;
    nothing.hidden = groups.length > 0;
    where.textContent = t("clusters_page", {from: chosen.page * CLUSTERS_CARDS + 1, to: chosen.page * CLUSTERS_CARDS + page.length, n: groups.length});
    previous.disabled = chosen.page === 0;
    next.disabled = chosen.page >= pages - 1;
    view.paint();
  };

  listen(model, stop, {
    state(content, buffers) {
      view.take(content);
      const every = content.groups.length ? clustersImages(buffers) : [];
      let at = 0;
      images = new Map(content.groups.map(({id, ends: [a, b]}) => { const pair = [every.slice(at, at + a), every.slice(at + a, at + a + b)]; at += a + b; return [id, pair]; }));
      const mine = content.by === view.id;
      arrange(mine ? content.made : null, true);
      if (content.said) said.textContent = content.said;
      trouble.hidden = !content.trouble;
      trouble.textContent = content.trouble;
      if (mine && content.made !== null) { view.cards.get(content.made)?.node.scrollIntoView({block: "nearest"}); view.cards.get(content.made)?.focus(); }
    },
    members(content, buffers) { if (content.view === view.id) view.cards.get(content.group)?.take(content, buffers); },
    async tiles(content, [buffer]) { await view.store.take(content, buffer); for (const card of view.cards.values()) card.paint(); },
    csv(content, [buffer]) { if (content.view === view.id) clustersSave(content.file, buffer); },
  });
  const seen = new IntersectionObserver(() => view.ask());
  seen.observe(root);
  stop.add(() => { seen.disconnect(); cancelAnimationFrame(view.asking); });
  root.append(h("div", {class: "dcacn-row"}, sort.node, ends.node, books.node), h("div", {class: "dcacn-clusters-top"}, tools.node, told), trouble, said, nothing, grid, pager, summary(model, stop));
  tools.paint();
  books.paint();
  pager.hidden = true;
}
