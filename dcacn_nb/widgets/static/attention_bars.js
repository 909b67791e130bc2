// @ts-check
// Channel attention as bars, beside that of the first snapshot.
import {channelMeans, shortNumber} from "./attention_film.js";
import {mark, plot} from "./canvas.js";
import {tick} from "./controls.js";
import {clamp, h} from "./dom.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {Pen, Theme} from "./canvas.js" */
/** @import {Texts} from "./protocol" */

const MARGIN = {left: 30, right: 4, top: 12, bottom: 6};
const acrossOf = (i, n, width) => MARGIN.left + ((width - MARGIN.left - MARGIN.right) * i) / n;
const heightOf = (value, height) => MARGIN.top + (height - MARGIN.top - MARGIN.bottom) * (1 - value);

/** Lines at 0, 0.5 and 1 with their numbers. */
function drawScale(context, width, height, colors) {
  Object.assign(context, {font: colors.font, textAlign: "right", textBaseline: "middle"});
  for (const value of [0, 0.5, 1]) {
    const y = heightOf(value, height);
    context.fillStyle = colors.soft;
    context.fillText(String(value), MARGIN.left - 5, y);
    context.fillStyle = colors.line;
    context.fillRect(MARGIN.left, Math.round(y), width - MARGIN.left - MARGIN.right, 1);
  }
}

/**
 * @param {Pen} context
 * @param {number} width
 * @param {number} height
 * @param {Theme} colors
 * @param {{now: number[], before: number[] | null, order: number[], at: number | null}} bars order: of the channels;
 *   at: a place in it
 */
function drawBars(context, width, height, colors, {now, before, order, at}) {
  const x = i => acrossOf(i, order.length, width);
  const y = value => heightOf(value, height);
  const gap = x(1) - x(0) > 4 ? 1 : 0;
  order.forEach((c, i) => {
    context.fillStyle = i === at ? colors.ink : colors.accent;
    context.fillRect(x(i) + gap / 2, y(now[c]), x(i + 1) - x(i) - gap, y(0) - y(now[c]));
  });
  if (at !== null && order[at] !== undefined) mark(context, "down", (x(at) + x(at + 1)) / 2, 6, 4);
  if (before?.length !== now.length) return;
  Object.assign(context, {strokeStyle: colors.ink, lineWidth: 1.5});
  context.beginPath();
  order.forEach((c, i) => {
    context.lineTo(x(i), y(before[c]));
    context.lineTo(x(i + 1), y(before[c]));
  });
  context.stroke();
}

/**
 * The bars; `update` takes the frame shown, the first one, and the images to average over.
 * @param {{state: any, t: Texts, stop: Cleanup}} options
 */
export function channelBars({state, t, stop}) {
  const title = h("h4", {});
  const legend = h("span", {class: "dcacn-note"});
  const reading = h("p", {class: "dcacn-note dcacn-attention-reading", role: "status"});
  /** @type {{now: number[] | null, before: number[] | null, order: number[], epochs: any[]}} */
  const shown = {now: null, before: null, order: [], epochs: []};
  const say = () => {
    const {now, before, order, epochs} = shown;
    const channel = order[state.channel];
    const value = all => (all ? shortNumber(all[channel]) : "–");
    const said = () => t("bar", {channel, value: value(now), first: epochs[1], before: value(before)});
    reading.textContent = now && channel !== undefined ? said() : t("bars_hint");
  };
  const show = () => {
    say();
    chart.redraw();
  };
  const point = i => {
    state.channel = i === null ? null : clamp(i, 0, shown.order.length - 1);
    show();
  };
  const arrange = () => {
    const {now} = shown;
    shown.order = now ? now.map((_, c) => c) : [];
    if (now && state.sorted) shown.order.sort((a, b) => now[b] - now[a]);
  };
  const sort = checked => {
    Object.assign(state, {sorted: checked, channel: null});
    arrange();
    show();
  };
  const chart = barChart({state, t, stop}, shown, point);
  const sorted = tick({label: t("sorted"), checked: state.sorted, onchange: sort});
  const head = h("div", {class: "dcacn-row"}, title, legend, sorted.node);
  const node = h("div", {class: "dcacn-attention-part", role: "group"}, head, chart.node, reading);
  const none = h("p", {class: "dcacn-note"}, t("no_channel"));
  return {
    node: h("div", {}, node, none),
    update({frame, first, block, indices, known}) {
      [shown.now, shown.before] = [frame, first].map(one => channelMeans(one, block, indices));
      shown.epochs = [frame?.epoch, first?.epoch];
      node.hidden = !shown.now;
      none.hidden = Boolean(shown.now) || !known;
      title.textContent = t("bars", {block});
      legend.textContent = t("bars_legend", {epoch: shown.epochs[0], first: shown.epochs[1]});
      node.setAttribute("aria-label", title.textContent);
      arrange();
      show();
    },
  };
}

/** The canvas, with pointer and keys. */
function barChart({state, t, stop}, shown, point) {
  const draw = (context, width, height, colors) => {
    drawScale(context, width, height, colors);
    if (shown.now) drawBars(context, width, height, colors, {...shown, at: state.channel});
  };
  const at = event => {
    const box = chart.node.getBoundingClientRect();
    const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
    return Math.floor(share * shown.order.length);
  };
  const keys = {
    ArrowRight: i => i + 1,
    ArrowLeft: i => i - 1,
    Home: () => 0,
    End: () => shown.order.length - 1,
    Escape: () => null,
  };
  const attributes = {
    tabindex: 0,
    class: "dcacn-canvas dcacn-attention-bars",
    onpointermove: event => point(at(event)),
    onpointerdown: event => point(at(event)),
    onpointerleave: () => point(null),
    onkeydown(event) {
      if (!(event.key in keys) || !shown.now) return;
      event.preventDefault();
      point(keys[event.key](state.channel ?? -1));
    },
  };
  const chart = plot({height: 130, label: t("bars_label"), draw, stop, attributes});
  return chart;
}
