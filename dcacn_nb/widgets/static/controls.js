// @ts-check
// Controls: the browser's own, so that keyboard and screen readers work.
import {calm} from "./canvas.js";
import {h, setText} from "./dom.js";
import {on} from "./messages.js";

/** @import {Child} from "./dom.js" */
/** @import {Cleanup} from "./dom.js" */
/** @import {AnyModel, Texts} from "./protocol" */

/** @param {Child} content */
export const button = (content, onclick, attributes = {}) =>
  h("button", {type: "button", class: "dcacn-button", onclick, ...attributes}, content);

const labelled = (label, ...parts) => h("label", {class: "dcacn-control"}, h("span", {}, label), ...parts);

/**
 * @typedef {ReturnType<typeof slider>} Slider
 * @param {{label: string, min: number, max: number, step?: number, value: number, oninput: (value: number) => void,
 *          show?: (value: number) => string}} options
 */
export function slider({label, min, max, step = 1, value, oninput, show = String}) {
  const output = h("output", {}, show(value));
  const attributes = {type: "range", min, max, step, value, "aria-label": label, "aria-valuetext": show(value)};
  const input = h("input", attributes);
  const say = (text = show(Number(input.value))) => {
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => {
    say();
    oninput(Number(input.value));
  });
  return {
    node: labelled(label, input, output),
    input,
    output,
    say,
    get value() {
      return Number(input.value);
    },
    /** @type {(next: number, most?: number) => void} */
    set(next, most) {
      if (most !== undefined) input.max = String(most);
      input.value = String(next);
      say();
    },
  };
}

/**
 * @param {{label: string, options: string[][], value?: string, onchange?: (value: string) => void}} options as
 *   [[value, text], ...]
 */
export function choice({label, options, value, onchange = () => {}}) {
  const choices = options.map(([key, text]) => h("option", {value: key, selected: key === value}, text));
  const select = h("select", {"aria-label": label, onchange: () => onchange(select.value)}, choices);
  return {node: labelled(label, select), select};
}

/** @param {{label: string, checked: boolean, onchange?: (checked: boolean) => void}} options */
export function tick({label, checked, onchange = () => {}}) {
  const input = h("input", {type: "checkbox", checked, onchange: () => onchange(input.checked)});
  return {node: h("label", {class: "dcacn-control"}, input, h("span", {}, label)), input};
}

/**
 * A button that plays a film: `step` is called again and again until it returns false.
 * @param {{t: Texts, stop: Cleanup, start: () => boolean, step: () => boolean, wait: () => number, changed?: (plays:
 *   boolean) => void}} options
 */
export function player({t, stop, start, step, wait, changed = () => {}}) {
  let timer = 0;
  const pause = () => {
    clearInterval(timer);
    timer = 0;
    node.textContent = t("play");
  };
  const node = button(t("play"), () => {
    if (timer) pause();
    else if (start()) {
      timer = window.setInterval(() => step() || pause(), calm() ? 2000 : wait());
      node.textContent = t("pause");
    } else return;
    changed(timer !== 0);
  });
  stop.add(() => clearInterval(timer));
  return {
    node,
    pause,
    get plays() {
      return timer !== 0;
    },
  };
}

/**
 * The picture in words, kept up to date under it. It may change four times a second, so screen readers are given a copy
 * that changes at once, and then not again for ten seconds.
 * @param {AnyModel} model
 * @param {Cleanup} stop
 */
export function summary(model, stop) {
  const shown = h("p", {class: "dcacn-summary", "aria-hidden": "true"}, model.get("summary"));
  const heard = h("span", {class: "dcacn-heard", role: "status"}, model.get("summary"));
  let waiting = 0;
  const speak = () => setText(heard, model.get("summary"));
  on(model, stop, "change:summary", () => {
    shown.textContent = model.get("summary");
    if (waiting) return;
    speak();
    waiting = window.setTimeout(() => {
      waiting = 0;
      speak();
    }, 10_000);
  });
  stop.add(() => clearTimeout(waiting));
  return h("div", {}, shown, heard);
}
