// @ts-check
// Views in the page: where they are put, how they are built again in another language, and when they end.
import {Cleanup, h, hasModifier} from "./dom.js";
import {texts} from "./messages.js";
import {watchKernel} from "./kernel.js";

/** @import {AnyModel, View} from "./protocol" */
/** @typedef {(view: View<any>) => void} Render fills the root of a view; called again when the language changes */

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
    render({model, root, t, stop: inner, kept});
    if (at >= 0) /** @type {HTMLElement} */ (root.querySelectorAll(FOCUSABLE)[at])?.focus({preventScroll: true});
    model.send({kind: "hello"}); // Python answers with all that the view has missed; throws if nothing can be sent
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
 * A line above a widget that says so when its kernel is gone, or does not answer for now.
 * @param {AnyModel} model
 * @param {Element} el
 * @param {Cleanup} stop
 */
function kernelNotice(model, el, stop) {
  const line = h("p", {class: "dcacn-kernel", role: "alert", hidden: true});
  el.prepend(line);
  stop.add(() => line.remove());
  watchKernel(model, stop, state => {
    line.hidden = state === "here";
    line.textContent = line.hidden ? "" : texts(model)(`kernel_${state}`);
  });
}

/** A widget in the output of a cell. */
function show(render, model, el) {
  const stop = new Cleanup();
  stop.add(mount(render, model, el));
  kernelNotice(model, el, stop);
  return () => stop.run();
}

/** The two entry points of a widget, as anywidget expects them. */
export function live(render) {
  return {
    initialize: ({model}) => settle(render, model),
    render: ({model, el}) => show(render, model, el),
  };
}

/**
 * When a run ends, Python replaces the widget in the notebook by a picture, which lasts; before it is an empty place
 * that names this model. As long as the kernel lives, the widget continues in that place, and the picture is hidden. A
 * notebook that was closed and opened again brings a new model for the same place, while the old one still watches the
 * page. So a model mounts only where the place is empty, and one that cannot send ends for good: each place holds one
 * widget, or none and its picture is seen.
 * @param {Render} render
 * @param {AnyModel} model
 */
function settle(render, model) {
  const selector = `.dcacn-place[data-dcacn="${model.get("key")}"]`;
  /** @type {Map<Element, () => void>} */
  const living = new Map();
  const stop = new Cleanup();
  let asked = 0;
  let ended = false;
  const end = () => {
    ended = true;
    stop.run();
    for (const close of living.values()) close();
    living.clear();
  };
  const look = () => {
    asked = 0;
    for (const [place, close] of living) {
      if (place.isConnected) continue;
      close();
      living.delete(place);
    }
    for (const place of document.querySelectorAll(selector)) {
      if (ended || place.hasChildNodes()) continue;
      try {
        living.set(place, mount(render, model, place));
      } catch (error) {
        console.warn("the widget cannot continue here; its picture stays", error);
        end();
      }
    }
  };
  const observer = new MutationObserver(() => {
    asked ||= window.setTimeout(look, 50);
  });
  observer.observe(document.body, {childList: true, subtree: true});
  stop.add(() => observer.disconnect());
  stop.add(() => clearTimeout(asked));
  watchKernel(model, stop, state => state === "gone" && end());
  look();
  return end;
}
