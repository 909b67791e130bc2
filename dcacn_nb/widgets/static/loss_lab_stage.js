// @ts-check
// What the pages of the loss lab share: a stage with handles that a mouse, a finger or the arrow keys move; arrows;
// tables. Places on a stage are shares of its width and height, from its upper left corner.
import {outline, plot} from "./canvas.js";
import {ARROWS, h, hasModifier} from "./dom.js";
import {BLUE, RED} from "./palette.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Pen, Theme} from "./canvas.js" */
/** @typedef {ReturnType<typeof makeHandle>} Handle */

/** side: outside or inside the circle */
export const FORMS = {
  coupled: {color: BLUE, dash: [], side: 1},
  decoupled: {color: RED, dash: [5, 3], side: -1},
};
export const fixed = x => x.toFixed(3).replace("-", "−");

/**
 * A square canvas with handles on it.
 * @param {{label: string, draw: (context: Pen, width: number, height: number, colors: Theme) => void, stop: Cleanup,
 *   handles: Handle[]}} options
 */
export function makeStage({label, draw, stop, handles}) {
  const view = plot({label, draw, stop, attributes: {class: "dcacn-losslab-canvas", style: ""}});
  const nodes = handles.map(handle => handle.node);
  return {redraw: view.redraw, node: h("div", {class: "dcacn-losslab-stage"}, view.node, nodes)};
}

/**
 * Where a key leads: [right, down]. There is no first and no last place, but Home and End must not scroll the page
 * away.
 */
const KEYS = {...ARROWS, PageUp: [1, 0], PageDown: [-1, 0], Home: [0, 0], End: [0, 0]};

/**
 * One handle. drag(x, y): to where it is wanted. nudge(x, y, small): an arrow key was pressed.
 * @param {{name: string, kind: string, attributes: Record<string, any>, drag: (x: number, y: number) => void,
 *          nudge: (x: number, y: number, small: boolean) => void}} options
 */
export function makeHandle({name, kind, attributes, drag, nudge}) {
  const node = h("button", {type: "button", class: `dcacn-losslab-handle dcacn-losslab-${kind}`, ...attributes}, name);
  let at = [0, 0];
  /** @type {{pointer: number[], place: number[], size: number[]} | null} as it was when the handle was taken */
  let from = null;
  node.addEventListener("pointerdown", event => {
    const stage = node.parentElement?.getBoundingClientRect();
    if (event.button || !stage) return;
    from = {pointer: [event.clientX, event.clientY], place: at, size: [stage.width, stage.height]};
    node.setPointerCapture(event.pointerId);
    node.focus({preventScroll: true});
    event.preventDefault();
  });
  node.addEventListener("pointermove", event => {
    if (!from) return;
    const {pointer, place, size} = from;
    const moved = i => place[i] + ([event.clientX, event.clientY][i] - pointer[i]) / size[i];
    drag(moved(0), moved(1));
  });
  node.addEventListener("lostpointercapture", () => {
    from = null;
  });
  node.addEventListener("keydown", event => {
    if (!(event.key in KEYS) || hasModifier(event)) return;
    event.preventDefault();
    const [right, down] = KEYS[event.key];
    if (right || down) nudge(right, down, event.shiftKey || event.key.startsWith("Page"));
  });
  return {
    node,
    get held() {
      return from !== null;
    },
    /** @type {(place: number[], pixels?: number[]) => void} */
    put([x, y], [dx, dy] = [0, 0]) {
      at = [x, y];
      node.style.left = `calc(${100 * x}% + ${dx}px)`;
      node.style.top = `calc(${100 * y}% + ${dy}px)`;
    },
  };
}

/** The head of an arrow; filled, or open where paper is given. */
export function arrowHead(context, x, y, angle, paper) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const shape = [
    [8, 0],
    [-3, 5.5],
    [-3, -5.5],
  ];
  context.setLineDash([]);
  context.beginPath();
  outline(
    context,
    shape.map(([u, v]) => [x + u * cos - v * sin, y + u * sin + v * cos]),
  );
  if (!paper) {
    context.fill();
    return;
  }
  context.save();
  context.fillStyle = paper;
  context.fill();
  context.restore();
  context.stroke();
}

/** A piece of the line of a form. */
export const lineSample = form =>
  h("span", {class: `dcacn-losslab-rule dcacn-losslab-rule-${form}`, "aria-hidden": "true"});

/**
 * A table whose cells are filled later: cells[row][column], marks[row].
 * @param {string} caption
 * @param {string[]} heads
 * @param {string[]} rows
 */
export function makeTable(caption, heads, rows, attributes = {}) {
  const cells = rows.map(() => heads.slice(1).map(() => h("td")));
  const marks = rows.map(() => h("span", {class: "dcacn-losslab-mark", "aria-hidden": "true"}));
  const title = h("caption", {}, caption);
  const top = heads.map(head => h("th", {scope: "col"}, head));
  const lines = rows.map((row, i) => h("tr", {}, h("th", {scope: "row"}, marks[i], row), cells[i]));
  const head = h("thead", {}, h("tr", {}, top));
  const node = h("table", {class: "dcacn-losslab-table", ...attributes}, title, head, h("tbody", {}, lines));
  /** Heads above the heads, each over so many columns. */
  const group = (labels, colspan) => {
    const above = labels.map(label => h("th", {scope: "colgroup", colspan}, label));
    head.prepend(h("tr", {}, h("td"), above));
  };
  return {node, cells, marks, title, lines, group};
}
