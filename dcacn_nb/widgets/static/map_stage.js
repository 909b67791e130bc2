// @ts-check
// The canvas of the map: how it is drawn, and what pointer and keys do on it.
import {outline, plot, spot} from "./canvas.js";
import {ARROWS, clamp, h, hasModifier} from "./dom.js";
import {Painter, markTable} from "./map_paint.js";
import {corners} from "./map_view.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {MapView} from "./map_view.js" */
/** @import {Pen, Theme} from "./canvas.js" */
/** @typedef {ReturnType<typeof stage>} Stage */

/**
 * @param {MapView} view
 * @param {Cleanup} stop
 * @param {{dragMode: () => string, arrived: () => void}} hooks arrived: a frame of the film is in place
 */
export function stage(view, stop, {dragMode, arrived}) {
  const {t, camera} = view;
  const points = stamped(view);
  const pointer = {drag: null}; // what is being dragged
  const draw = (context, width, height, colors) => {
    if (view.motion.from) points.change();
    const moving = view.motion.step(performance.now());
    points.draw(context, width, height, colors);
    overlay(view, context, colors, pointer.drag);
    if (moving) map.redraw();
    else if (view.motion.playing) arrived();
  };
  const attributes = {tabindex: 0, role: "application", "aria-roledescription": t("map"), "data-map": "map"};
  const map = plot({height: 420, label: t("map_label"), draw, stop, attributes});
  const tip = h("div", {class: "dcacn-tip", hidden: true});
  const spoken = h("p", {class: "dcacn-note dcacn-spoken", role: "status", "aria-live": "polite"});
  /** Show a point's image and words; -1: none. */
  const point = (i, aloud = false) => {
    view.current = i;
    map.redraw(); // the ring around it
    tip.hidden = i < 0 || !view.motion.frame;
    if (tip.hidden) return;
    const lines = fillTip(view, tip, i, map.node);
    if (aloud) spoken.textContent = lines.join(", ");
  };
  const leave = () => {
    view.box = null;
    point(-1);
  };
  const self = {
    node: map.node,
    tip,
    spoken,
    /** Points have changed. */
    redraw() {
      points.change();
      map.redraw();
    },
    /** Only what is drawn over the points has changed. */
    refresh: map.redraw,
    point,
    leave,
    zoom(factor, x = map.node.clientWidth / 2, y = map.node.clientHeight / 2) {
      zoomAt(camera, map.node, factor, x, y);
      leave();
      self.redraw();
    },
    home() {
      Object.assign(camera, {x: 0, y: 0, zoom: 1});
      leave();
      self.redraw();
    },
  };
  listenToPointer(view, self, pointer, dragMode);
  listenToKeys(view, self);
  return self;
}

// ---- drawing
/**
 * The picture of all points, kept until they change: what is drawn over them may change without them.
 * @param {MapView} view
 */
function stamped(view) {
  const painter = new Painter();
  let drawn = ""; // the size and the colours with which they were drawn
  return {
    change() {
      drawn = "";
    },
    draw(context, width, height, colors) {
      const look = [width, height, window.devicePixelRatio, colors.paper, colors.ink].join(" ");
      if (drawn !== look) {
        place(view, width, height);
        stamp(view, painter, context, colors);
        drawn = look;
      }
      context.putImageData(painter.image, 0, 0);
    },
  };
}

/** Where each point is on the screen. */
function place(view, width, height) {
  const {camera, motion} = view;
  const n = motion.now.length / 2;
  const reach = view.frames.reduce((most, frame) => Math.max(most, frame.reach), 0.1);
  camera.unit = (camera.zoom * Math.min(width, height)) / 2 / (1.06 * reach);
  if (view.screen.length !== 2 * n) view.screen = new Float32Array(2 * n);
  const [x0, y0] = [width / 2 - camera.x * camera.unit, height / 2 + camera.y * camera.unit];
  for (let i = 0; i < n; i++) {
    view.screen[2 * i] = x0 + motion.now[2 * i] * camera.unit;
    view.screen[2 * i + 1] = y0 - motion.now[2 * i + 1] * camera.unit;
  }
}

const SIZES = [
  [60_000, 1.3],
  [20_000, 1.7],
  [6000, 2.2],
  [2500, 2.8],
  [700, 3.5],
];

/** The radius of a mark: smaller where there are many on the screen. */
function radiusFor(view) {
  const n = view.motion.now.length / 2;
  const base = SIZES.find(([least]) => n > least)?.[1] ?? 4.5;
  const most = n > 20_000 ? 9 : 4; // of a crowd, few are left on the screen when it is zoomed in
  return Math.min(7, base * Math.sqrt(Math.min(view.camera.zoom, most)));
}

/**
 * All points.
 * @param {MapView} view
 * @param {Painter} painter
 * @param {Pen} context
 * @param {Theme} colors
 */
function stamp(view, painter, context, colors) {
  const scale = window.devicePixelRatio || 1;
  const radius = radiusFor(view) * scale;
  const {screen, styles, states, lit, selected} = view;
  const marks = markTable(radius);
  painter.begin(context.canvas.width, context.canvas.height, colors.paper);
  if (lit.size) painter.points(screen, scale, styles, states, 1, marks, true);
  painter.points(screen, scale, styles, states, 0, marks);
  if (!selected.size) return;
  painter.points(screen, scale, styles, states, 2, markTable(radius, 1.75 * scale, colors.ink));
  painter.points(screen, scale, styles, states, 2, marks);
}

/** The caption, a ring around the current point, and the area being drawn. */
function overlay(view, context, colors, drag) {
  const {motion, t, current, screen} = view;
  context.font = colors.font;
  context.fillStyle = colors.soft;
  if (motion.frame) {
    const {epoch, explained} = motion.frame;
    const share = explained === null ? "" : t("explained", {share: Math.round(100 * explained)});
    context.fillText([epoch === null ? "" : t("epoch_n", {epoch}), share].filter(Boolean).join(", "), 8, 16);
  }
  context.strokeStyle = colors.ink;
  context.lineWidth = 2;
  if (current >= 0 && 2 * current < screen.length) {
    context.beginPath();
    context.arc(screen[2 * current], screen[2 * current + 1], radiusFor(view) + 5, 0, 2 * Math.PI);
    context.stroke();
  }
  const area = drag?.area ?? (view.box && corners(view.box));
  if (area?.length > 1) drawArea(context, colors, area);
}

function drawArea(context, colors, area) {
  context.setLineDash([5, 4]);
  context.strokeStyle = colors.accent;
  context.beginPath();
  outline(context, area);
  context.stroke();
  context.globalAlpha = 0.12;
  context.fillStyle = colors.accent;
  context.fill();
  context.globalAlpha = 1;
  context.setLineDash([]);
}

/** A point's image and words, beside the point; returns the words. */
function fillTip(view, tip, i, node) {
  const {t} = view;
  const pictured = view.sheet !== null || view.film.asked !== null;
  const lines = view.describe(i);
  const [x, y] = view.placeOf(i);
  const words = lines.map(text => h("div", {}, text));
  const missing = pictured ? null : h("div", {class: "dcacn-note"}, t("no_image"));
  tip.replaceChildren(...(pictured ? [view.tile(i, 96, {"aria-hidden": "true"})] : []), h("div", {}, words, missing));
  const right = x > node.clientWidth / 2;
  const low = y > node.clientHeight / 2;
  Object.assign(tip.style, {
    left: right ? "" : `${x + 12}px`,
    right: right ? `${node.clientWidth - x + 12}px` : "",
    top: low ? "" : `${y + 12}px`,
    bottom: low ? `${node.clientHeight - y + 12}px` : "",
  });
  return lines;
}

// ---- what a person does
/** Zoom in or out; what is at (x, y) stays there. */
function zoomAt(camera, node, factor, x, y) {
  const [right, down] = [x - node.clientWidth / 2, y - node.clientHeight / 2];
  const zoom = clamp(camera.zoom * factor, 1, 40);
  const [before, after] = [camera.unit, (camera.unit * zoom) / camera.zoom];
  camera.zoom = zoom;
  if (zoom === 1) Object.assign(camera, {x: 0, y: 0});
  else {
    camera.x += right / before - right / after;
    camera.y -= down / before - down / after;
  }
}

/**
 * @param {MapView} view
 * @param {Stage} map
 * @param {{drag: any}} pointer
 * @param {() => string} dragMode
 */
function listenToPointer(view, map, pointer, dragMode) {
  const {node} = map;
  const zoom = event => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    map.zoom(Math.exp(-event.deltaY / 200), ...spot(event, node));
  };
  node.addEventListener("wheel", zoom, {passive: false});
  node.addEventListener("pointerdown", event => {
    if (event.button !== 0 || !view.motion.frame) return;
    node.setPointerCapture(event.pointerId);
    const at = spot(event, node);
    map.leave();
    const kind = event.altKey ? "move" : dragMode();
    pointer.drag = {kind, from: at, last: at, area: null, add: event.shiftKey, far: false, lasso: [at]};
  });
  node.addEventListener("pointermove", event => {
    const at = spot(event, node);
    if (pointer.drag) {
      dragTo(view.camera, pointer.drag, at);
      (pointer.drag.kind === "move" ? map.redraw : map.refresh)();
      return;
    }
    const found = view.nearest(...at);
    if (found !== view.current) map.point(found);
  });
  node.addEventListener("pointerup", () => {
    if (!pointer.drag) return;
    const drag = pointer.drag;
    pointer.drag = null;
    drop(view, drag);
    map.refresh();
  });
  node.addEventListener("pointercancel", () => {
    pointer.drag = null;
    map.refresh();
  });
  node.addEventListener("pointerleave", () => {
    if (!pointer.drag) map.point(-1);
  });
  node.addEventListener("blur", map.leave);
}

function dragTo(camera, drag, [x, y]) {
  drag.far ||= Math.hypot(x - drag.from[0], y - drag.from[1]) > 4;
  if (drag.kind === "move") {
    camera.x -= (x - drag.last[0]) / camera.unit;
    camera.y += (y - drag.last[1]) / camera.unit;
  } else if (drag.kind === "lasso") {
    if (drag.lasso.push([x, y]) > 2) drag.area = drag.lasso;
  } else drag.area = corners({x0: drag.from[0], y0: drag.from[1], x1: x, y1: y});
  drag.last = [x, y];
}

/** The end of a drag: select the area, or the point that was clicked. */
function drop(view, {kind, far, area, add, from}) {
  const one = view.nearest(...from);
  if (!far) view.select(one < 0 ? [] : [one], add);
  else if (kind !== "move" && area) view.select(view.rowsIn(area), add);
}

/**
 * @param {MapView} view
 * @param {Stage} map
 */
function listenToKeys(view, map) {
  const {node} = map;
  const middle = () => [node.clientWidth / 2, node.clientHeight / 2];
  const walk = (dx, dy) => {
    const none = view.current < 0 || 2 * view.current >= view.screen.length;
    const [x, y] = middle();
    map.point(none ? view.nearest(x, y, Infinity) : view.neighbour(dx, dy), true);
  };
  const grow = (dx, dy) => {
    if (!view.box && view.current < 0) walk(0, 0);
    const [x, y] = view.current < 0 ? middle() : view.placeOf(view.current);
    view.box = grown(view.box ?? {x0: x - 8, y0: y - 8, x1: x + 8, y1: y + 8}, dx, dy);
  };
  const keys = {
    Enter() {
      if (view.box) view.select(view.rowsIn(corners(view.box)));
      else if (view.current >= 0) view.select([view.current]);
      view.box = null;
    },
    Escape() {
      if (!view.box) view.select([]);
      view.box = null;
    },
    "+": () => map.zoom(1.4),
    "=": () => map.zoom(1.4),
    "-": () => map.zoom(1 / 1.4),
    0: map.home,
  };
  node.addEventListener("keydown", event => {
    if (hasModifier(event) || !view.motion.frame) return;
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (event.key in ARROWS) (event.shiftKey ? grow : walk)(dx, dy);
    else if (event.key in keys) keys[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
    map.refresh();
  });
}

/** A rectangle after an arrow key: right and down make it larger, left and up smaller. */
function grown({x0, y0, x1, y1}, dx, dy) {
  const box = {x0: x0 - 8 * dx, y0: y0 - 8 * dy, x1: x1 + 8 * dx, y1: y1 + 8 * dy};
  if (box.x1 < box.x0 + 4) box.x0 = box.x1 - 4;
  if (box.y1 < box.y0 + 4) box.y0 = box.y1 - 4;
  return box;
}
