// The dashboard: controls and progress of a run, and all other widgets in tabs. Each tab's widget is a model of its own, drawn by its own file.

const DASHBOARD_VIEWS = {curves: renderCurves, health: renderHealth, map: renderMap, attention: renderAttention, crops: renderCrops, clusters: renderClusters};
const DASHBOARD_FORMATS = [["png", "PNG"], ["svg", "SVG"], ["pdf", "PDF"]];
const DASHBOARD_TYPES = {png: "image/png", svg: "image/svg+xml", pdf: "application/pdf"};
let dashboardCount = 0; // ids must be unique in a page, and a dashboard may be in it twice

// "45 s", "3 min 20 s", "2 h 5 min"
function dashboardTime(seconds, t) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} ${t("s")}`;
  return s < 3600 ? `${Math.floor(s / 60)} ${t("min")} ${s % 60} ${t("s")}` : `${Math.floor(s / 3600)} ${t("h")} ${Math.floor(s % 3600 / 60)} ${t("min")}`;
}

// How far the run is, in one line.
function dashboardPlace(state, t) {
  const parts = [];
  if (state.planned) parts.push(t("place", {epoch: state.epoch, epochs: state.epochs, share: Math.floor(100 * state.done / state.planned)}));
  if (state.left !== null && state.status === "running") parts.push(t("left", {time: dashboardTime(state.left, t)}));
  return parts.join(" · ");
}

function dashboardControls(model, t, stop) {
  const ask = kind => () => model.send({kind});
  const buttons = {start: button(t("start"), ask("start")), hold: button(t("pause"), () => model.send({kind: model.get("state").status === "paused" ? "resume" : "pause"})),
                   stop: button(t("stop"), ask("stop"), {title: t("stop_hint")})};
  const status = h("strong", {role: "status", "aria-live": "polite", class: "dcacn-dashboard-status"}), place = h("span", {class: "dcacn-dashboard-place"});
  const bar = h("progress", {"aria-label": t("progress"), class: "dcacn-dashboard-bar", max: 1}), note = h("p", {class: "dcacn-note", role: "status"});
  const show = () => {
    const state = model.get("state"), held = state.status === "paused", going = held || state.status === "running" || state.status === "pausing";
    const word = t(`is_${state.status}`), had = document.activeElement;
    if (status.textContent !== word) status.textContent = word; // written only when it changes: screen readers read each change
    status.dataset.status = state.status;
    place.textContent = dashboardPlace(state, t);
    bar.value = state.planned ? state.done / state.planned : 0;
    buttons.start.disabled = !(state.controls && state.status === "ready");
    buttons.hold.textContent = held ? t("resume") : t("pause");
    buttons.hold.disabled = !(state.controls && going);
    buttons.stop.disabled = !(state.controls && (going || state.status === "ready"));
    if (had?.disabled && Object.values(buttons).includes(had)) Object.values(buttons).find(other => !other.disabled)?.focus(); // the keyboard must not lose its place
    if (note.textContent !== state.note) note.textContent = state.note;
    note.hidden = !state.note;
  };
  on(model, stop, "change:state", show);
  show();
  return h("div", {}, h("div", {class: "dcacn-row", role: "group", "aria-label": t("controls")}, Object.values(buttons), status, place), bar, note);
}

// Save the picture of the tab that is open: Python writes the file, and the page offers the same bytes.
function dashboardSaving(model, t, stop) {
  const format = choice({label: t("format"), options: DASHBOARD_FORMATS, value: "png", onchange: () => {}}), token = `${Date.now()}-${Math.random()}`; // the answer is for the view that asked
  const told = h("span", {role: "status", class: "dcacn-note"}), urls = [];
  let focused = false;
  const done = () => { save.disabled = false; if (focused && document.activeElement === document.body) save.focus(); };
  const save = button(t("save_figure"), () => {
    focused = document.activeElement === save;
    save.disabled = true;
    told.replaceChildren(t("saving"));
    model.send({kind: "save", part: model.get("tab"), format: format.select.value, token});
  });
  listen(model, stop, {
    saved({path, name, format: kind, token: asked}, [file]) {
      if (asked !== token) return;
      done();
      const url = URL.createObjectURL(new Blob([file], {type: DASHBOARD_TYPES[kind]}));
      urls.push(url);
      while (urls.length > 3) URL.revokeObjectURL(urls.shift());
      told.replaceChildren(t("saved", {path}), " ", h("a", {href: url, download: name}, t("download")));
    },
    failed({message, token: asked}) { if (asked !== token) return; done(); told.replaceChildren(message); },
  });
  stop.add(() => urls.forEach(url => URL.revokeObjectURL(url)));
  return h("div", {class: "dcacn-row"}, format.node, save, told);
}

function dashboardLanguage(model, t) {
  const tongue = choice({label: t("language"), options: [["en", "English"], ["zh", "中文"]], value: model.get("lang"),
                         onchange: value => { model.set("lang", value); model.save_changes(); }});
  return tongue.node;
}

// Tabs after the pattern of the WAI-ARIA guide: one of them in the order of Tab, the arrow keys go from one to the next.
function dashboardTabs(model, t, stop) {
  const id = `dcacn-dashboard-${++dashboardCount}`, names = Object.keys(model.get("parts")).filter(name => name in DASHBOARD_VIEWS);
  const tabs = {}, panels = {}, mounted = new Set();
  const mount = async name => {
    mounted.add(name);
    let child;
    try {
      child = await model.widget_manager.get_model(model.get("parts")[name].replace("IPY_MODEL_", ""));
    } catch (error) { // the kernel was restarted: this page is all that is left of the widget
      console.warn(error);
      mounted.delete(name);
      panels[name].replaceChildren(h("p", {role: "alert"}, t("gone")));
      return;
    }
    panels[name].replaceChildren();
    if (mounted.has(name)) stop.add(mountView(DASHBOARD_VIEWS[name], child, panels[name]));
  };
  const select = (name, focus) => {
    for (const other of names) {
      tabs[other].setAttribute("aria-selected", other === name);
      tabs[other].tabIndex = other === name ? 0 : -1;
      panels[other].hidden = other !== name;
    }
    if (!mounted.has(name)) mount(name);
    if (focus) tabs[name].focus();
    if (model.get("tab") !== name) { model.set("tab", name); model.save_changes(); }
  };
  const keys = {ArrowRight: i => i + 1, ArrowLeft: i => i - 1, Home: () => 0, End: () => names.length - 1};
  names.forEach((name, i) => {
    tabs[name] = h("button", {type: "button", role: "tab", id: `${id}-tab-${name}`, "aria-controls": `${id}-${name}`, class: "dcacn-dashboard-tab",
                              onclick: () => select(name), onkeydown(event) {
                                if (!(event.key in keys)) return;
                                event.preventDefault();
                                select(names[(keys[event.key](i) + names.length) % names.length], true);
                              }}, t(`tab_${name}`));
    panels[name] = h("div", {role: "tabpanel", id: `${id}-${name}`, "aria-labelledby": `${id}-tab-${name}`, class: "dcacn-dashboard-panel"});
  });
  on(model, stop, "change:tab", () => select(model.get("tab")));
  stop.add(() => mounted.clear());
  queueMicrotask(() => names.length && select(names.includes(model.get("tab")) ? model.get("tab") : names[0]));
  return h("div", {}, h("div", {role: "tablist", "aria-label": t("tabs"), class: "dcacn-dashboard-tabs"}, Object.values(tabs)), Object.values(panels));
}

function renderDashboard({model, root, t, stop}) {
  const head = h("h3", {}, t("title"), " ", h("span", {class: "dcacn-dashboard-name"}, model.get("name")));
  root.append(h("div", {class: "dcacn-row dcacn-dashboard-head"}, head, dashboardLanguage(model, t)), dashboardControls(model, t, stop), dashboardTabs(model, t, stop),
              dashboardSaving(model, t, stop));
}
