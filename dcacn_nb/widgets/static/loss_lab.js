// @ts-check
// LossLab: six points on a circle, and six images in a triangle of three clusters. A hand moves a point, Python
// computes the losses, the answer is drawn here: no loss is computed in the browser.
import {button, summary} from "./controls.js";
import {h} from "./dom.js";
import {assignmentsPage} from "./loss_lab_assignments.js";
import {pointsPage} from "./loss_lab_points.js";
import {asker, listen} from "./messages.js";
import {live} from "./mount.js";

/** @import {AssignmentsPage, PointsPage, View} from "./protocol" */

/** @param {View<"loss_lab">} view */
export function render({model, root, t, stop}) {
  const asking = asker(model, stop);
  const pages = {points: pointsPage(t, stop, asking), assignments: assignmentsPage(t, stop, asking)};
  const names = /** @type {("points" | "assignments")[]} */ (Object.keys(pages));
  const choose = page => {
    open(page);
    asking.ask({page});
  };
  const tabs = names.map(page => button(t(`page_${page}`), () => choose(page), {"aria-pressed": "false"}));
  const problem = h("p", {class: "dcacn-crops-problem", role: "alert"});
  const open = shown => {
    names.forEach((page, i) => {
      pages[page].node.hidden = page !== shown;
      tabs[i].setAttribute("aria-pressed", String(page === shown));
    });
  };
  /** @param {PointsPage | AssignmentsPage} page */
  const show = page => {
    if (!asking.more) open(page.page);
    problem.textContent = page.problem ? t("refused", {problem: page.problem}) : "";
    asking.answered();
  };
  listen(model, stop, {
    points(page) {
      pages.points.fill(page);
      show(page);
    },
    assignments(page) {
      pages.assignments.fill(page);
      show(page);
    },
  });
  const act = kind => button(t(kind), () => asking.act({kind}));
  const row = h("div", {class: "dcacn-row", role: "group", "aria-label": t("pages")}, tabs);
  const nodes = names.map(page => pages[page].node);
  const last = h("div", {class: "dcacn-row"}, act("reset"), act("keep"));
  const all = h("div", {class: "dcacn-losslab"}, h("h3", {}, t("title")), row, problem, nodes, last);
  root.append(all, summary(model, stop));
}

export default live(render);
