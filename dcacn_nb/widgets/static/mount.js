// @ts-check
// Views in the page: where they are put, how they are built again in another language, and when they end.
import {Cleanup, h, hasModifier, setText} from "./dom.js";
import {on, texts} from "./messages.js";
import {watchKernel} from "./kernel.js";

/** @import {AnyModel, View} from "./protocol" */
/** @typedef {(view: View<any>) => void} Render fills the root of a view; called again when the language changes */

const AWAY = 60_000; // JupyterLab takes cells out of the page that are out of sight, and puts them back
const CONTROLS = ":is(button, input, select, textarea):not([role=tab], :disabled)";
const FOCUSABLE = "button, input, select, textarea, a[href], [tabindex]:not([tabindex='-1'])";

/**
 * In JupyterLab arrow keys go from cell to cell, and letters are commands, unless the very element with the focus says
 * otherwise. Plain keys belong to the widget; those with Ctrl, Alt or Cmd stay JupyterLab's: the notebook can be saved
 * from here.
 */
function claimKeys(root, stop) {
  const claim = event => {
    if (root.contains(event.target)) event.target.toggleAttribute("data-lm-suppress-shortcuts", !hasModifier(event));
  };
  window.addEventListener("keydown", claim, true);
  stop.add(() => window.removeEventListener("keydown", claim, true));
}

/**
 * One view of a widget in an element.
 * @param {Render} render
 * @param {AnyModel} model
 * @param {Element} el
 * @returns {() => void} what ends it
 */
export function mount(render, model, el) {
  const root = h("section", {class: "dcacn"});
  const whole = new Cleanup();
  const kept = {}; // by `render`, from one language to the next
  let inner = new Cleanup();
  const build = () => {
    // A change of language from the keyboard must not lose the focus.
    const at = document.activeElement ? [...root.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement) : -1;
    inner.run();
    inner = new Cleanup();
    root.replaceChildren();
    root.lang = model.get("lang") === "zh" ? "zh-Hans" : "en";
    const t = texts(model);
    root.setAttribute("aria-label", t("title"));
    try {
      render({model, root, t, stop: inner, kept});
    } catch (error) {
      console.warn("a view failed", error);
      inner.run();
      root.replaceChildren(h("p", {class: "dcacn-kernel", role: "alert"}, t("broken", {error})));
    }
    if (at >= 0) /** @type {HTMLElement} */ (root.querySelectorAll(FOCUSABLE)[at])?.focus({preventScroll: true});
    // Python answers with all that the view has missed; throws if nothing can be sent
    model.send({kind: "hello", holds: document.querySelector(".jp-OutputArea") !== null});
  };
  const close = () => {
    inner.run();
    whole.run();
  };
  claimKeys(root, whole);
  el.append(root);
  whole.add(() => root.remove());
  model.on("change:words", build);
  whole.add(() => model.off("change:words", build));
  try {
    build();
  } catch (error) {
    close();
    throw error;
  }
  return close;
}

/**
 * A line above a widget that says so when no process holds its run, or when its kernel is gone or does not answer for
 * now. Without its kernel a widget is only to be looked at: its controls are off.
 * @param {AnyModel} model
 * @param {Element} el
 * @param {Cleanup} stop
 */
function noticeLine(model, el, stop) {
  const line = h("p", {class: "dcacn-kernel", role: "alert", hidden: true});
  let kernel = "here";
  const say = () => {
    const text = kernel === "here" ? model.get("notice") : texts(model)(`kernel_${kernel}`);
    line.hidden = !text;
    setText(line, text);
  };
  const heard = state => {
    kernel = state;
    say();
    if (state === "gone") switchOff(el, stop);
  };
  el.before(line);
  stop.add(() => line.remove());
  on(model, stop, "change:notice", say);
  on(model, stop, "change:words", say);
  watchKernel(model, stop, heard);
  say();
}

/**
 * Disable all controls but tabs, and those that appear later.
 * @param {Element} el
 * @param {Cleanup} stop
 */
function switchOff(el, stop) {
  const off = () => {
    for (const node of el.querySelectorAll(CONTROLS)) Object.assign(node, {disabled: true});
  };
  const observer = new MutationObserver(off);
  observer.observe(el, {subtree: true, childList: true, attributeFilter: ["disabled"]});
  stop.add(() => observer.disconnect());
  off();
}

/**
 * A widget in an element, below its line.
 * @param {Render} render
 * @param {AnyModel} model
 * @param {Element} el
 * @returns {() => void} what ends it
 */
function show(render, model, el) {
  const stop = new Cleanup();
  stop.add(mount(render, model, el));
  noticeLine(model, el, stop);
  return () => stop.run();
}

/** The two entry points of a widget, as anywidget expects them. */
export function live(render) {
  return {
    initialize: ({model}) => settle(render, model),
    render: ({model, el}) => show(render, model, el.appendChild(h("div"))),
  };
}

/**
 * In the notebook, Python soon replaces the widget by an empty place that names this model, and a picture below it,
 * which lasts. As long as the kernel lives, the widget continues in that place, and the picture is hidden. A notebook
 * that was closed and opened again brings a new model for the same place, while the old one still watches the page. So
 * a model mounts only where the place is empty, and one that cannot send mounts no more: each place holds one widget,
 * or none and its picture is seen. When the kernel is gone, the widget stays to be looked at, unless the run had ended:
 * then its picture shows the same.
 * @param {Render} render
 * @param {AnyModel} model
 */
function settle(render, model) {
  const key = model.get("key");
  const hiding = h("style", {}, `.dcacn-last[data-dcacn="${key}"] {display: none}`);
  /** @type {Map<Element, {end: () => void, left: number}>} left: when the place was last seen to leave the page */
  const living = new Map();
  const stop = new Cleanup();
  let asked = 0;
  let ended = false;
  const close = place => {
    living.get(place)?.end();
    living.delete(place);
    if (!living.size) hiding.remove();
  };
  const closeAll = () => [...living.keys()].forEach(close);
  const closeLeft = () => {
    for (const [place, view] of living) {
      if (place.isConnected) view.left = 0;
      else if (!view.left) {
        view.left = Date.now();
        setTimeout(closeLeft, AWAY);
      } else if (Date.now() - view.left >= AWAY) close(place);
    }
  };
  const look = () => {
    asked = 0;
    closeLeft();
    for (const place of document.querySelectorAll(`.dcacn-place[data-dcacn="${key}"]`)) {
      if (place.hasChildNodes()) continue;
      if (ended) {
        // Opened again without its kernel: the places before will not come back, and here the picture is to be seen.
        [...living.keys()].filter(before => !before.isConnected).forEach(close);
        continue;
      }
      try {
        living.set(place, {end: show(render, model, place), left: 0});
        document.head.append(hiding);
      } catch (error) {
        console.warn("the widget cannot continue here; its picture stays", error);
        ended = true;
      }
    }
  };
  const observer = new MutationObserver(() => {
    asked ||= window.setTimeout(look, 50);
  });
  observer.observe(document.body, {childList: true, subtree: true});
  stop.add(() => observer.disconnect());
  stop.add(() => clearTimeout(asked));
  watchKernel(model, stop, state => {
    if (state !== "gone") return;
    ended = true;
    if (!model.get("settled")) return;
    for (const place of living.keys()) place.before(h("p", {class: "dcacn-kernel"}, texts(model)("kernel_gone")));
    closeAll();
  });
  look();
  return () => {
    stop.run();
    closeAll();
  };
}
