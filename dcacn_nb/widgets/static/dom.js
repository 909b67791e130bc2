// @ts-check
// Elements, and what ends with a view. Text from outside (class names, file names, messages) reaches the page through
// textContent alone, never as HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */

const PROPERTIES = new Set(["value", "checked", "disabled", "selected"]);

/**
 * An element: h("button", {class: "x", onclick: f, "aria-label": "y"}, "text", child). null and false leave an
 * attribute or a child out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[] | Child[][])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) Object.assign(node, {[name]: value});
    else node.setAttribute(name, value === true ? "" : value);
  }
  const shown = children.flat(2).filter(child => child !== null && child !== undefined && child !== false);
  node.append(...shown.map(child => (child instanceof Node ? child : String(child))));
  return node;
}

/** Functions to call when a view goes away, the last one first. */
export class Cleanup {
  constructor() {
    /** @type {(() => void)[]} */
    this.tasks = [];
  }
  add(task) {
    this.tasks.push(task);
    return task;
  }
  run() {
    for (const task of this.tasks.splice(0).reverse()) task();
  }
}

/**
 * An id for an element. Each widget loads its own modules, so a counter would give the same id twice in a page.
 * @param {string} name
 */
export const uniqueId = name => `dcacn-${name}-${Math.random().toString(36).slice(2)}`;

/**
 * Put `nodes` into `parent` in this order. Those in place stay where they are, so that neither focus nor text being
 * typed is lost.
 * @param {Element} parent
 * @param {Element[]} nodes
 */
export function arrange(parent, nodes) {
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
}

/** Change a text only if it differs: screen readers read each change aloud. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Where an arrow key leads: [to the right, down]. */
export const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

export const hasModifier = event => event.ctrlKey || event.altKey || event.metaKey;
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
