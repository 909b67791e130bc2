// @ts-check
// First page of the loss lab: six points on a circle, two views of three images, and what the losses say to them.
import {line} from "./canvas.js";
import {button, slider} from "./controls.js";
import {h} from "./dom.js";
import {FORMS, arrowHead, fixed, lineSample, makeHandle, makeStage, makeTable} from "./loss_lab_stage.js";
import {brief} from "./numbers.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {asker} from "./messages.js" */
/** @import {PointsPage, Texts} from "./protocol" */
/** @typedef {{angles: number[], page: PointsPage | null}} State */

const RADIUS = 0.36; // of the circle
const ARC = 0.55; // radians of arrow for a slope of 1 / temperature
const POINTS = ["A1", "B1", "C1", "A2", "B2", "C2"];
const radians = angle => (angle * Math.PI) / 180;

/** The circle, and a dotted line between the two views of each image. */
function drawCircle(context, colors, turns, placeAt, radius) {
  Object.assign(context, {strokeStyle: colors.line, lineWidth: 1.5});
  context.beginPath();
  context.arc(...placeAt(0, 0), radius, 0, 2 * Math.PI);
  context.stroke();
  context.strokeStyle = colors.soft;
  context.setLineDash([2, 4]);
  for (let i = 0; i < 3; i++) line(context, ...placeAt(turns[i], radius), ...placeAt(turns[i + 3], radius));
}

/** An arrow along the circle: where a loss pushes a point. */
function drawPush(context, turn, way, r, placeAt, paper) {
  if (Math.abs(way) * r < 1.5) return; // too short to be seen
  const end = turn + way;
  const sign = Math.sign(way);
  context.beginPath();
  context.arc(...placeAt(0, 0), r, -turn, -end, way > 0); // a canvas turns clockwise
  context.stroke();
  arrowHead(context, ...placeAt(end, r), Math.atan2(-sign * Math.cos(end), -sign * Math.sin(end)), paper);
}

/** @param {State} state */
function draw(context, width, height, colors, state) {
  const {angles, page} = state;
  if (!page) return;
  const radius = RADIUS * width;
  const turns = angles.map(radians);
  const placeAt = (turn, r) => [width / 2 + r * Math.cos(turn), height / 2 - r * Math.sin(turn)];
  drawCircle(context, colors, turns, placeAt, radius);
  context.lineWidth = 2.5;
  for (const [form, {color, dash, side}] of Object.entries(FORMS)) {
    const r = radius + side * 24;
    const paper = form === "decoupled" ? colors.paper : null;
    context.strokeStyle = context.fillStyle = color;
    turns.forEach((turn, i) => {
      context.setLineDash(dash);
      drawPush(context, turn, (-ARC * page.temperature * page[`${form}_slope`][i] * radius) / r, r, placeAt, paper);
    });
  }
  context.setLineDash([]);
}

/** The losses, and for each point its angle, its multiplier and its slopes. */
function readings(t) {
  const outputs = {coupled: h("output", {}), decoupled: h("output", {})};
  const lines = Object.keys(FORMS).map(form => {
    const attributes = {class: "dcacn-losslab-value", "data-form": form};
    return h("div", attributes, lineSample(form), h("span", {}, t(`${form}_loss`)), outputs[form]);
  });
  const heads = ["anchor", "angle", "multiplier", "slope_coupled", "slope_decoupled"].map(key => t(key));
  const table = makeTable(t("anchors"), heads, POINTS);
  const bars = table.cells.map(([, cell]) => {
    const bar = h("span", {class: "dcacn-losslab-bar", "aria-hidden": "true"});
    const value = h("span");
    cell.append(value, h("span", {class: "dcacn-losslab-track"}, bar));
    return {bar, value};
  });
  return {
    node: h("div", {}, lines, table.node, h("p", {class: "dcacn-note"}, t("multiplier_says"))),
    /** @type {(page: PointsPage, angles: number[]) => void} */
    fill(page, angles) {
      for (const form of Object.keys(FORMS)) outputs[form].textContent = fixed(page[form]);
      table.cells.forEach(([angle, , coupled, decoupled], i) => {
        angle.textContent = t("degrees", {angle: Math.round(angles[i])});
        bars[i].value.textContent = brief(page.multiplier[i]);
        bars[i].bar.style.width = `${100 * page.multiplier[i]}%`;
        coupled.textContent = fixed(page.coupled_slope[i]);
        decoupled.textContent = fixed(page.decoupled_slope[i]);
      });
    },
  };
}

/**
 * @param {Texts} t
 * @param {Cleanup} stop
 * @param {ReturnType<typeof asker>} asking
 */
export function pointsPage(t, stop, asking) {
  /** @type {State} */
  const state = {angles: Array(6).fill(0), page: null};
  const values = readings(t);
  const turn = (i, angle) => {
    const tenths = Math.round(10 * angle) / 10; // to the nearest tenth of a degree
    state.angles[i] = ((tenths % 360) + 360) % 360;
    place();
    asking.ask({angles: [...state.angles]});
  };
  const handles = POINTS.map((name, i) => {
    const label = t("point", {name, image: name[0], view: name[1]});
    return makeHandle({
      name,
      kind: i < 3 ? "round" : "square",
      attributes: {role: "slider", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 360},
      drag: (x, y) => turn(i, (Math.atan2(0.5 - y, x - 0.5) * 180) / Math.PI),
      nudge: (x, y, small) => turn(i, state.angles[i] + (x - y) * (small ? 1 : 5)),
    });
  });
  const paint = (context, width, height, colors) => draw(context, width, height, colors, state);
  const stage = makeStage({label: t("circle"), stop, handles, draw: paint});
  const place = () => {
    handles.forEach(({node, put}, i) => {
      const turned = radians(state.angles[i]);
      const angle = Math.round(state.angles[i]);
      put([0.5 + RADIUS * Math.cos(turned), 0.5 - RADIUS * Math.sin(turned)]);
      node.setAttribute("aria-valuenow", String(angle));
      node.setAttribute("aria-valuetext", t("degrees", {angle}));
    });
    stage.redraw();
  };
  const heat = temperatureSlider(t, {min: 0.02, max: 1, step: 0.01, value: 0.5}, temperature => {
    asking.ask({temperature});
  });
  const descend = form => asking.act({kind: "downhill", decoupled: form === "decoupled"});
  const downhill = Object.keys(FORMS).map(form => button(t(`downhill_${form}`), () => descend(form)));
  const notes = ["arrows_points", "hint_points"].map(key => h("p", {class: "dcacn-note"}, t(key)));
  const columns = h("div", {class: "dcacn-losslab-columns"}, h("div", {}, stage.node, notes), values.node);
  return {
    node: h("div", {hidden: true}, h("div", {class: "dcacn-row"}, heat.node, downhill), columns),
    /** @param {PointsPage} page */
    fill(page) {
      state.page = page;
      if (!asking.more) {
        if (!handles.some(handle => handle.held)) state.angles = [...page.angles];
        heat.set(page.temperature, Math.max(1, page.temperature));
      }
      place();
      values.fill(page, state.angles);
    },
  };
}

export const temperatureSlider = (t, range, oninput) =>
  slider({label: t("temperature"), ...range, show: brief, oninput});
