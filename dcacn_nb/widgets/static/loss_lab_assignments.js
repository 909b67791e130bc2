// @ts-check
// Second page of the loss lab: six images in two views between three clusters, and what the losses say to their
// assignments.
import {line, outline} from "./canvas.js";
import {button, choice, tick} from "./controls.js";
import {h} from "./dom.js";
import {temperatureSlider} from "./loss_lab_points.js";
import {FORMS, arrowHead, fixed, makeHandle, makeStage, makeTable} from "./loss_lab_stage.js";
import {brief} from "./numbers.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {asker} from "./messages.js" */
/** @import {AssignmentsPage, Texts} from "./protocol" */
/**
 * @typedef {ReturnType<typeof asker>} Asker
 * @typedef {{p: number[][][], page: AssignmentsPage | null, longest: number}} State longest: of the pushes
 */

const CORNERS = [
  [0.17, 0.8],
  [0.83, 0.8],
  [0.5, 0.8 - 0.33 * Math.sqrt(3)],
];
const IMAGES = ["A", "B", "C", "D", "E", "F"];
const EXAMPLES = ["balanced", "collapsed", "exact", "uniform"];
const NO_PUSH = 1e-9; // shorter than this, all losses are at rest

/** By how many pixels image i is beside its place. */
const beside = i => [25 * Math.cos((i * Math.PI) / 3), -25 * Math.sin((i * Math.PI) / 3)];
const percent = share => `${Math.round(100 * share)} %`;
const placeOf = shares => [0, 1].map(axis => shares.reduce((sum, share, k) => sum + share * CORNERS[k][axis], 0));

/** The probabilities of a place; what would be negative becomes none. */
function sharesAt(x, y) {
  const [[ax, ay], [bx, by], [cx, cy]] = CORNERS;
  const area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy);
  const a = ((by - cy) * (x - cx) + (cx - bx) * (y - cy)) / area;
  const b = ((cy - ay) * (x - cx) + (ax - cx) * (y - cy)) / area;
  const kept = [a, b, 1 - a - b].map(share => Math.max(0, share));
  const sum = kept[0] + kept[1] + kept[2];
  return kept.map(share => share / sum);
}

// ---- the triangle
function drawCorners(context, width, height, colors, t) {
  const places = CORNERS.map(([x, y]) => [x * width, y * height]);
  Object.assign(context, {strokeStyle: colors.line, lineWidth: 1.5});
  context.beginPath();
  outline(context, places);
  context.stroke();
  Object.assign(context, {fillStyle: colors.soft, font: colors.font, textAlign: "center", textBaseline: "middle"});
  places.forEach(([x, y], k) => context.fillText(t("cluster_n", {k}), x, y + (k === 2 ? -52 : 56)));
}

/** An arrow from the rim of a handle: where the losses push a view of an image. */
function drawPush(context, place, push, view, paper) {
  const [[x, y], [dx, dy]] = [place, push];
  if (Math.hypot(dx, dy) < 1.5) return; // too short to be seen
  const angle = Math.atan2(dy, dx);
  const rim = view ? 14 : 11;
  const from = [x + rim * Math.cos(angle), y + rim * Math.sin(angle)];
  const end = [from[0] + dx, from[1] + dy];
  context.setLineDash(view ? [5, 3] : []);
  line(context, from[0], from[1], end[0], end[1]);
  arrowHead(context, end[0], end[1], angle, view ? paper : null);
}

/** @param {State} state */
function draw(context, width, height, colors, state, t) {
  if (!state.page) return;
  drawCorners(context, width, height, colors, t);
  const onScreen = (row, i) => {
    const [[x, y], [dx, dy]] = [placeOf(row), beside(i)];
    return [x * width + dx, y * height + dy];
  };
  const places = state.p.map(view => view.map(onScreen));
  context.strokeStyle = colors.soft;
  places[0].forEach(([x, y], i) => line(context, x, y, places[1][i][0], places[1][i][1]));
  if (state.longest < NO_PUSH) return;
  const moves = state.page.moves.map(view => view.map(placeOf));
  const longest = Math.max(...moves.flat().map(([x, y]) => Math.hypot(x, y)));
  const scale = (0.13 * width) / longest;
  context.strokeStyle = context.fillStyle = FORMS.decoupled.color;
  context.lineWidth = 2.5;
  moves.forEach((view, v) => {
    view.forEach(([dx, dy], i) => drawPush(context, places[v][i], [dx * scale, dy * scale], v, colors.paper));
  });
  context.setLineDash([]);
}

// ---- the tables
/** Both tables of p in one, with the shares of the clusters under them. */
function probabilityTable(t) {
  const clusters = [0, 1, 2].map(k => t("cluster_n", {k}));
  const rows = [...IMAGES, t("mean")];
  const attributes = {class: "dcacn-losslab-table dcacn-losslab-matrix"};
  const table = makeTable(t("table"), ["", ...clusters, ...clusters], rows, attributes);
  table.group(
    [1, 2].map(i => t("view", {i})),
    3,
  );
  return {
    node: table.node,
    fill(p) {
      const means = p.map(view => [0, 1, 2].map(k => view.reduce((sum, row) => sum + row[k], 0) / view.length));
      const write = (cell, i, j) => {
        const view = Math.floor(j / 3);
        const share = (p[view][i] ?? means[view])[j % 3];
        cell.textContent = share.toFixed(2);
        cell.style.setProperty("--share", `${Math.round(55 * share)}%`); // no darker, so that the number stays readable
      };
      table.cells.forEach((row, i) => row.forEach((cell, j) => write(cell, i, j)));
    },
  };
}

/** The losses by rows and columns, coupled and decoupled, alone and with the balance term. */
function lossTable(t) {
  const heads = ["", t("coupled"), t("decoupled"), t("coupled"), t("decoupled")];
  const table = makeTable(t("losses"), heads, [t("by_rows"), t("by_columns")]);
  const balance = h("p", {class: "dcacn-note"});
  table.group(
    ["alone", "balance"].map(key => t(key)),
    2,
  );
  return {
    node: h("div", {}, table.node, h("p", {class: "dcacn-note"}, t("chosen")), balance),
    /** @param {AssignmentsPage} page */
    fill(page) {
      const [first, second] = page.balance;
      const write = (axis, row, column) => {
        const [decoupled, weighed] = [column % 2 === 1, column > 1];
        const chosen = axis === page.axis && decoupled === page.decoupled && weighed === page.weighed;
        const loss = page[`${axis}_${decoupled ? "decoupled" : "coupled"}`] + (weighed ? first + second : 0);
        const cell = table.cells[row][column];
        cell.textContent = `${chosen ? "▸ " : ""}${fixed(loss)}`;
        cell.classList.toggle("dcacn-losslab-chosen", chosen);
      };
      ["sample", "cluster"].forEach((axis, row) => [0, 1, 2, 3].forEach(column => write(axis, row, column)));
      const said = {first: fixed(first), second: fixed(second), most: Math.log(3).toFixed(3)};
      balance.textContent = t("balance_says", said);
    },
  };
}

/**
 * Buttons for the examples, and a table of the same examples at full size.
 * @param {Texts} t
 * @param {Asker} asking
 */
function exampleBar(t, asking) {
  const make = example => button(t(example), () => asking.act({kind: "show", example}), {"aria-pressed": "false"});
  const buttons = EXAMPLES.map(make);
  const heads = ["", t("by_columns"), t("by_balance"), t("by_rows")];
  const names = EXAMPLES.map(example => t(example));
  const table = makeTable("", heads, names);
  const attributes = {class: "dcacn-row", role: "group", "aria-label": t("examples")};
  return {
    bar: h("div", attributes, h("span", {}, t("examples")), buttons),
    node: h("div", {}, table.node, h("p", {class: "dcacn-note"}, t("here"))),
    /** @param {AssignmentsPage} page */
    fill({large, decoupled, temperature, example: shown}) {
      const form = t(decoupled ? "decoupled" : "coupled");
      table.title.textContent = t("large", {n: large.n, k: large.k, form, temperature: brief(temperature)});
      EXAMPLES.forEach((example, i) => {
        const here = shown === example;
        buttons[i].setAttribute("aria-pressed", String(here));
        table.marks[i].textContent = here ? "▸ " : "";
        table.lines[i].classList.toggle("dcacn-losslab-chosen", here);
        large.figures[example].forEach((value, j) => {
          table.cells[i][j].textContent = fixed(value);
        });
      });
    },
  };
}

/**
 * Which loss the arrows follow.
 * @param {Texts} t
 * @param {Asker} asking
 */
function choices(t, asking) {
  const axes = [
    ["sample", t("by_rows")],
    ["cluster", t("by_columns")],
  ];
  const forms = ["coupled", "decoupled"].map(key => [key, t(key)]);
  const setForm = value => asking.ask({decoupled: value === "decoupled"});
  const setAxis = value => asking.ask({axis: value});
  const axis = choice({label: t("loss_of_arrows"), options: axes, value: "sample", onchange: setAxis});
  const form = choice({label: t("form"), options: forms, value: "decoupled", onchange: setForm});
  const balance = tick({label: t("balance"), checked: false, onchange: on => asking.ask({balance: on})});
  const heat = temperatureSlider(t, {min: 0.1, max: 2, step: 0.05, value: 1}, value => {
    asking.ask({cluster_temperature: value});
  });
  return {
    nodes: [axis.node, form.node, balance.node, heat.node],
    /** @param {AssignmentsPage} page */
    set(page) {
      axis.select.value = page.axis;
      form.select.value = page.decoupled ? "decoupled" : "coupled";
      balance.input.checked = page.weighed;
      heat.set(page.temperature, Math.max(2, page.temperature));
    },
  };
}

/**
 * A handle for each view of each image: view 1 is above view 2, and smaller.
 * @param {State} state
 * @param {(view: number, i: number, x: number, y: number) => void} move
 */
function viewHandles(state, move) {
  return [1, 0].flatMap(view => {
    return IMAGES.map((image, i) => {
      const nudge = (x, y, small) => {
        const [left, top] = placeOf(state.p[view][i]);
        const step = small ? 0.005 : 0.03;
        move(view, i, left + step * x, top + step * y);
      };
      const [name, kind] = view ? ["", "frame"] : [image, "disc"];
      const attributes = {"data-point": `${image}${view + 1}`};
      return {handle: makeHandle({name, kind, attributes, drag: (x, y) => move(view, i, x, y), nudge}), view, i, image};
    });
  });
}

/** Which loss the arrows show, in words. */
function arrowText({axis, decoupled, weighed}, longest, t) {
  const parts = [t(axis === "sample" ? "sample" : "cluster_axis"), t(decoupled ? "decoupled" : "coupled")];
  if (weighed) parts.push(t("balance"));
  const key = longest < NO_PUSH ? "no_arrows" : "arrows_assignments";
  return t(key, {name: parts.join(t("joint")), longest: brief(longest)});
}

/**
 * @param {Texts} t
 * @param {Cleanup} stop
 * @param {Asker} asking
 */
export function assignmentsPage(t, stop, asking) {
  /** @type {State} */
  const state = {p: [], page: null, longest: 0};
  const matrix = probabilityTable(t);
  const losses = lossTable(t);
  const examples = exampleBar(t, asking);
  const chosen = choices(t, asking);
  const together = tick({label: t("together"), checked: false});
  const arrows = h("p", {class: "dcacn-note"});
  const move = (view, i, x, y) => {
    const row = sharesAt(x, y);
    const moves = v => v === view || together.input.checked;
    state.p = state.p.map((rows, v) => rows.map((old, j) => (j === i && moves(v) ? row : old)));
    place();
    asking.ask({p: state.p});
  };
  const handles = viewHandles(state, move);
  const stage = makeStage({
    label: t("triangle"),
    stop,
    handles: handles.map(({handle}) => handle),
    draw: (context, width, height, colors) => draw(context, width, height, colors, state, t),
  });
  const place = () => {
    for (const {handle, view, i, image} of handles) {
      const row = state.p[view][i];
      const shares = row.map((share, k) => t("share", {share: percent(share), k})).join(t("joint"));
      handle.put(placeOf(row), beside(i));
      handle.node.setAttribute("aria-label", t("placed", {image, view: view + 1, shares}));
    }
    matrix.fill(state.p);
    stage.redraw();
  };
  const downhill = button(t("downhill"), () => asking.act({kind: "downhill"}));
  const hint = h("p", {class: "dcacn-note"}, t("hint_assignments"));
  const left = h("div", {}, stage.node, together.node, arrows, hint);
  const right = h("div", {}, losses.node, matrix.node, examples.node);
  const row = h("div", {class: "dcacn-row"}, chosen.nodes, downhill);
  return {
    node: h("div", {hidden: true}, examples.bar, row, h("div", {class: "dcacn-losslab-columns"}, left, right)),
    /** @param {AssignmentsPage} page */
    fill(page) {
      const held = handles.some(({handle}) => handle.held);
      state.page = page;
      if (!asking.more) {
        if (!held) state.p = page.p;
        chosen.set(page);
      }
      state.longest = Math.max(...page.moves.flat().map(push => Math.hypot(...push)));
      arrows.textContent = arrowText(page, state.longest, t);
      losses.fill(page);
      examples.fill(page);
      place();
    },
  };
}
