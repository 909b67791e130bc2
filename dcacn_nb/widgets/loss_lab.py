"""Six points to drag on a circle, six images to drag between three clusters: what each loss says, and where it wants to go, at every move."""

import math
import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcacn_nb.core.checks import check_float, check_in, check_int
from dcacn_nb.method.losses import balance_penalty, cluster_contrast, decoupled_info_nce, info_nce
from dcacn_nb.report.picture import COLORS, OWN_COLOR, Picture
from dcacn_nb.widgets.live import LiveWidget

POINTS = ("A1", "B1", "C1", "A2", "B2", "C2")  # three images in view 1, then the same in view 2
FORMS = {"coupled": info_nce, "decoupled": decoupled_info_nce}
START = (10.0, 165.0, 255.0, 80.0, 180.0, 300.0)  # degrees


def multipliers(
    z1: Tensor,  # (B,P) projections of view 1
    z2: Tensor,  # (B,P) projections of view 2
    temperature: float = 0.5,  # > 0
) -> Tensor:  # (2B,) between 0 and 1: view 1, then view 2
    "The factor of each anchor's gradient in InfoNCE: one minus the positive's share of the softmax (Yeh et al. 2022)."
    rows, n = F.normalize(torch.cat([z1, z2]), dim=1), len(z1)
    similarity = rows @ rows.T / temperature
    positive = torch.cat([similarity.diagonal(n), similarity.diagonal(-n)])
    same_image = torch.eye(n, dtype=torch.bool).repeat(2, 2)
    return (
        similarity.masked_fill(same_image, -torch.inf).logsumexp(1) - positive
    ).sigmoid()  # exact even where it is tiny


def point_losses(
    angles: "Iterable[float]",  # six angles in degrees, in the order of POINTS
    temperature: float = 0.5,  # > 0
) -> (
    dict
):  # "coupled" and "decoupled": the losses; "coupled_slope" and "decoupled_slope": by angle, per radian; "multiplier"
    "Both instance losses of six points on a circle, what a turn of each point does to them, and the factor of coupling."
    radians = torch.deg2rad(torch.as_tensor(angles, dtype=torch.float64)).requires_grad_()
    z1, z2 = torch.stack([radians.cos(), radians.sin()], 1).chunk(2)
    told = {"multiplier": multipliers(z1.detach(), z2.detach(), temperature).tolist()}
    for form, loss in FORMS.items():
        value = loss(z1, z2, temperature)
        (slope,) = torch.autograd.grad(value, radians, retain_graph=True)
        told[form], told[f"{form}_slope"] = value.item(), slope.tolist()
    return told


IMAGES = "ABCDEF"
AXES = ("sample", "cluster")  # contrast of rows, contrast of columns
START_P = (
    (
        (0.80, 0.15, 0.05),
        (0.10, 0.70, 0.20),
        (0.15, 0.15, 0.70),
        (0.60, 0.25, 0.15),
        (0.30, 0.55, 0.15),
        (0.20, 0.25, 0.55),
    ),
    (
        (0.70, 0.20, 0.10),
        (0.20, 0.60, 0.20),
        (0.10, 0.20, 0.70),
        (0.50, 0.20, 0.30),
        (0.25, 0.65, 0.10),
        (0.30, 0.20, 0.50),
    ),
)


def assignment_losses(
    p: "Tensor | tuple",  # (2,N,K) assignments, two views, rows summing to 1
    temperature: float = 1.0,  # > 0
) -> dict:  # "sample_coupled", "sample_decoupled", "cluster_coupled", "cluster_decoupled", and "balance": one number for each view
    "All readings of the cluster contrast, and the balance term of each view."
    p = torch.as_tensor(p, dtype=torch.float64)
    told = {
        f"{axis}_{form}": cluster_contrast(p[0], p[1], temperature, axis, form == "decoupled").item()
        for axis in AXES
        for form in FORMS
    }
    return {**told, "balance": [balance_penalty(view).item() for view in p]}


def _through_softmax(p: Tensor, change: Tensor) -> Tensor:
    "The derivative of a softmax, whose values are p, applied to a change of its logits; being symmetric, also to a gradient."
    return p * (change - (p * change).sum(-1, keepdim=True))


class ClusterLoss(NamedTuple):
    "One reading of the cluster loss, to be called with assignments of two views (2,N,K)."

    axis: str = "sample"  # "sample": contrast of rows; "cluster": of columns
    decoupled: bool = True  # False: InfoNCE
    balance: bool = False  # whether the balance terms of both views are added, as in CC
    temperature: float = 1.0  # > 0

    def __call__(self, p: Tensor) -> Tensor:  # 0-dim
        loss = cluster_contrast(p[0], p[1], self.temperature, self.axis, self.decoupled)
        return loss + balance_penalty(p[0]) + balance_penalty(p[1]) if self.balance else loss


def logit_slopes(
    p: "Tensor | tuple",  # (2,N,K) assignments
    loss: "Callable[[Tensor], Tensor]" = ClusterLoss(),  # of p
) -> Tensor:  # (2,N,K)
    "Gradient of a loss with respect to the logits behind p."
    p = torch.as_tensor(p, dtype=torch.float64).clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(p), p)
    return _through_softmax(p.detach(), slope)


def pushes(
    p: "Tensor | tuple",  # (2,N,K) assignments
    loss: "Callable[[Tensor], Tensor]" = ClusterLoss(),  # of p
) -> Tensor:  # (2,N,K), rows summing to 0
    "Where a small step of gradient descent on the logits moves p, for a step of length 1."
    return -_through_softmax(torch.as_tensor(p, dtype=torch.float64), logit_slopes(p, loss))


EXAMPLES = ("balanced", "collapsed", "exact", "uniform")


def example_assignments(
    n: int = 250,  # images; image i belongs to cluster i modulo K
    n_clusters: int = 10,  # K
) -> "dict[str, Tensor]":  # name -> (n,K)
    "Assignments on which a loss can be judged: the ideal, two collapses in size, and indecision."
    own = F.one_hot(torch.arange(n) % n_clusters, n_clusters).double()
    first = F.one_hot(torch.zeros(n, dtype=torch.long), n_clusters).double()
    return dict(zip(EXAMPLES, (own, 0.99 * first + 0.01 * own, first, torch.full_like(own, 1 / n_clusters))))


@lru_cache(maxsize=16)
def example_figures(
    n: int = 250,  # images
    n_clusters: int = 10,  # K
    temperature: float = 1.0,  # > 0
    decoupled: bool = True,  # False: InfoNCE
) -> "dict[str, tuple[float, float, float]]":  # name -> contrast of columns, balance term of one view, contrast of rows
    "What three losses say about each example, two identical views."
    return {
        name: (
            cluster_contrast(p, p, temperature, "cluster", decoupled).item(),
            balance_penalty(p).item(),
            cluster_contrast(p, p, temperature, "sample", decoupled).item(),
        )
        for name, p in example_assignments(n, n_clusters).items()
    }


POINT_RATE, LOGIT_RATE = 0.3, 6.0  # step lengths: times the temperature, in radians; in logits


def descend_points(
    angles: "Iterable[float]",  # six angles in degrees
    temperature: float = 0.5,  # > 0
    decoupled: bool = True,  # False: InfoNCE
    steps: int = 20,  # >= 1
) -> "tuple[float, ...]":  # six angles in degrees
    "Let six points roll down one of the instance losses."
    angles, form = np.asarray(angles, dtype=float), "decoupled" if decoupled else "coupled"
    for _ in range(steps):
        angles = angles - np.rad2deg(
            POINT_RATE * temperature * np.asarray(point_losses(angles, temperature)[f"{form}_slope"])
        )
    return tuple(angles.tolist())


def descend_assignments(
    p: "Tensor | tuple",  # (2,N,K) assignments
    loss: "Callable[[Tensor], Tensor]" = ClusterLoss(),  # of p
    steps: int = 20,  # >= 1
    rate: float = LOGIT_RATE,  # logits for a slope of 1; small temperatures need a small one
) -> Tensor:  # (2,N,K)
    "Let assignments roll down a loss, by steps on their logits."
    p = torch.as_tensor(p, dtype=torch.float64)
    for _ in range(steps):
        p = (p.log() - rate * logit_slopes(p, loss)).softmax(-1)
    return p


_STYLE = {
    "coupled": ("InfoNCE", COLORS[0], "-", 1.14),
    "decoupled": ("decoupled", COLORS[3], "--", 0.86),
}  # name, colour, dashes, radius of the arrows
_ARC = 0.55  # radians of arrow for a slope of 1 / temperature
_DARK = {"color": "white", "fontsize": 8, "ha": "center", "va": "center", "gid": OWN_COLOR}
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(0.75)]])  # of the triangle
_BESIDE = 0.07 * np.array(
    [[math.cos(i * math.pi / 3), math.sin(i * math.pi / 3)] for i in range(6)]
)  # each letter beside its place, so that none covers another


def _draw_circle(axis, turns: np.ndarray, temperature: float, told: dict) -> None:
    "The circle, its pairs, two arrows at each point."
    around = np.linspace(0, 2 * math.pi, 200)
    axis.plot(np.cos(around), np.sin(around), color="#888888", lw=1)
    for i in range(3):
        axis.plot(np.cos(turns[[i, i + 3]]), np.sin(turns[[i, i + 3]]), ":", color="#888888")
    for form, (name, color, dash, radius) in _STYLE.items():
        axis.plot([], [], dash, color=color, label=f"{name} {told[form]:.3f}")
        for start, slope in zip(turns, told[f"{form}_slope"]):
            arc = np.linspace(start, start - _ARC * temperature * slope / radius, 20)
            axis.plot(radius * np.cos(arc), radius * np.sin(arc), dash, color=color, lw=1.6)
            head = (
                3,
                0,
                math.degrees(arc[-1]) + (180 if slope > 0 else 0),
            )  # a triangle, turned to where the arrow goes
            axis.plot(
                radius * math.cos(arc[-1]),
                radius * math.sin(arc[-1]),
                marker=head,
                color=color,
                ms=6,
                fillstyle="full" if form == "coupled" else "none",
            )
    for name, turn in zip(POINTS, turns):
        box = {"boxstyle": "circle" if name[1] == "1" else "square", "facecolor": "#555555", "edgecolor": "#888888"}
        axis.text(math.cos(turn), math.sin(turn), name, bbox=box, **_DARK)
    axis.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.25), aspect="equal", title=f"temperature {temperature:g}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0.04), ncols=2, fontsize=8, frameon=False)
    axis.axis("off")


def plot_points(
    angles: "Iterable[float]" = START,  # six angles in degrees
    temperature: float = 0.5,  # > 0
) -> Picture:  # left: the circle; right: the factor of each anchor
    "Six points on a circle, where two losses push them, and the factor between the losses."
    told, figure = point_losses(angles, temperature), Picture(figsize=(6, 3.1), layout="constrained")
    circle, bars = figure.subplots(1, 2, width_ratios=(1.2, 1))
    _draw_circle(circle, np.deg2rad(np.asarray(angles, dtype=float)), temperature, told)
    bars.barh(POINTS, told["multiplier"], color="#888888")
    for row, factor in enumerate(told["multiplier"]):
        bars.text(factor + 0.02, row, f"{factor:.3g}", va="center", fontsize=8)
    bars.set(xlim=(0, 1.2), xticks=(0, 0.5, 1), title="1 − share of the positive")
    bars.invert_yaxis()
    factors = ", ".join(f"{name} {factor:.2g}" for name, factor in zip(POINTS, told["multiplier"]))
    figure.alt = (
        f"Six points on a circle at {', '.join(f'{name} {angle:.0f}°' for name, angle in zip(POINTS, angles))}, temperature {temperature:g}: "
        f"InfoNCE {told['coupled']:.3f}, decoupled {told['decoupled']:.3f}. One minus the share of the positive: {factors}."
    )
    return figure


def _draw_triangle(axis, p: np.ndarray, moves: np.ndarray) -> None:
    "The triangle, both views of each image, and an arrow at each."
    axis.plot(*CORNERS[[0, 1, 2, 0]].T, color="#888888", lw=1)
    for k, (x, y) in enumerate(CORNERS):
        axis.text(x, y + (0.2 if k == 2 else -0.23), f"cluster {k}", ha="center", fontsize=8)
    places, longest = p @ CORNERS + _BESIDE, np.linalg.norm(moves @ CORNERS, axis=-1).max()
    for i, letter in enumerate(IMAGES):
        axis.plot(*places[:, i].T, "-", color="#888888", lw=1)
        axis.plot(*places[1, i], "s", mfc="none", mec="#888888", ms=13)
        axis.text(
            *places[0, i],
            letter,
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": "#555555", "edgecolor": "none"},
            **_DARK,
        )
    if longest > 1e-9:
        arrows = 0.25 * (moves @ CORNERS).reshape(-1, 2) / longest
        axis.quiver(
            *places.reshape(-1, 2).T, *arrows.T, angles="xy", scale_units="xy", scale=1, color=COLORS[3], width=0.008
        )
    axis.set(xlim=(-0.2, 1.2), ylim=(-0.28, 1.2), aspect="equal")
    axis.axis("off")


def plot_assignments(
    p: "Tensor | tuple" = START_P,  # (2,6,3) assignments
    loss: ClusterLoss = ClusterLoss(),  # whose arrows are drawn
) -> Picture:  # left: the triangle; right: both tables
    "Six images between three clusters, where one of the losses pushes them, and what all of them say."
    p, told = torch.as_tensor(p, dtype=torch.float64), assignment_losses(p, loss.temperature)
    moves, figure = pushes(p, loss), Picture(figsize=(6.4, 3.3), layout="constrained")
    triangle, *tables = figure.subplots(1, 3, width_ratios=(2.6, 1, 1))
    _draw_triangle(triangle, p.numpy(), moves.numpy())
    for view, table in enumerate(tables):
        table.imshow(p[view].numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
        for (i, k), value in np.ndenumerate(p[view].numpy()):
            table.text(k, i, f"{value:.2f}", **{**_DARK, "color": "white" if value > 0.5 else "black"})
        table.set(title=f"view {view + 1}", xticks=range(3), yticks=range(6), yticklabels=IMAGES, xlabel="cluster")
    name = f"{'rows' if loss.axis == 'sample' else 'columns'}, {'decoupled' if loss.decoupled else 'coupled'}{', with balance' if loss.balance else ''}"
    triangle.set_title(f"arrows: {name};\nthe longest is {moves.norm(dim=-1).max():.1g}", fontsize=8)
    said = (
        f"rows {told['sample_coupled']:.3f} coupled, {told['sample_decoupled']:.3f} decoupled; "
        f"columns {told['cluster_coupled']:.3f} coupled, {told['cluster_decoupled']:.3f} decoupled; balance {sum(told['balance']):.3f}"
    )
    figure.suptitle(said, fontsize=7.5)
    figure.alt = (
        f"Six images between three clusters, two views, temperature {loss.temperature:g}: {said}. Arrows of: {name}."
    )
    return figure


PAGES = ("points", "assignments")
WORDS = {  # key -> (English, Chinese)
    "title": ("Loss lab", "损失实验室"),
    "pages": ("Page", "页面"),
    "page_points": ("Six points on a circle", "圆上的六个点"),
    "page_assignments": ("Six images, three clusters", "六幅图像，三个簇"),
    "refused": ("Refused: {problem}", "已拒绝：{problem}"),
    "reset": ("Back to the start", "恢复初始状态"),
    "keep": ("Keep this picture", "保留此图"),
    "temperature": ("temperature τ", "温度 τ"),
    "joint": (", ", "，"),
    "circle": ("Circle with six points: three images A, B, C in two views", "圆上的六个点：图像 A、B、C，各两个视图"),
    "hint_points": (
        "Drag a point; or choose one with Tab and turn it with the arrow keys (Shift: in small steps). Round: view 1, square: view 2.",
        "拖动一个点；或用 Tab 选点，再用方向键转动（按住 Shift 为小步）。圆形：视图 1，方形：视图 2。",
    ),
    "arrows_points": (
        "Arrows: where a step downhill moves the point. Outside, solid, filled head: InfoNCE. Inside, dashed, open head: decoupled.",
        "箭头：沿梯度下降时该点的移动方向。外侧、实线、实心箭头：InfoNCE；内侧、虚线、空心箭头：解耦。",
    ),
    "point": ("{name}: image {image}, view {view}", "{name}：图像 {image}，视图 {view}"),
    "degrees": ("{angle}°", "{angle}°"),
    "coupled_loss": ("InfoNCE", "InfoNCE"),
    "decoupled_loss": ("decoupled InfoNCE", "解耦 InfoNCE"),
    "anchors": ("Each point as the anchor", "以各点为锚点"),
    "anchor": ("point", "点"),
    "angle": ("angle", "角度"),
    "multiplier": ("1 − q₊", "1 − q₊"),
    "slope_coupled": ("slope, InfoNCE", "斜率，InfoNCE"),
    "slope_decoupled": ("slope, decoupled", "斜率，解耦"),
    "multiplier_says": (
        "q₊: share of the positive in the softmax. InfoNCE's gradient is the decoupled one, anchor by anchor, times 1 − q₊. Slope: per radian.",
        "q₊：正样本在 softmax 中所占的份额。逐锚点看，InfoNCE 的梯度等于解耦梯度乘以 1 − q₊。斜率：每弧度。",
    ),
    "downhill_coupled": ("Downhill: InfoNCE", "下降：InfoNCE"),
    "downhill_decoupled": ("Downhill: decoupled", "下降：解耦"),
    "downhill": ("Downhill", "下降"),
    "triangle": ("Triangle of three clusters with six images in two views", "三个簇构成的三角形，六幅图像各两个视图"),
    "hint_assignments": (
        "Drag an image; or choose one with Tab and move it with the arrow keys (Shift: in small steps). Round: view 1, square: view 2. Each stands a little beside its place, so that none covers another.",
        "拖动图像；或用 Tab 选择，再用方向键移动（按住 Shift 为小步）。圆形：视图 1，方形：视图 2。各点略偏离其真实位置，以免相互遮挡。",
    ),
    "arrows_assignments": (
        "Arrows: {name}. Where a step downhill on the logits moves the image; the longest stands for {longest}.",
        "箭头：{name}。沿 logit 梯度下降时图像的移动方向；最长的表示 {longest}。",
    ),
    "no_arrows": (
        "No arrows: here {name} has no slope (a saturated softmax passes nothing on, or all directions are alike).",
        "没有箭头：此处“{name}”的斜率为零（softmax 已饱和，或各方向等同）。",
    ),
    "placed": ("{image}, view {view}: {shares}", "{image}，视图 {view}：{shares}"),
    "share": ("{share} cluster {k}", "簇 {k} {share}"),
    "together": ("both views move together", "两个视图一起移动"),
    "loss_of_arrows": ("arrows of", "箭头所示"),
    "form": ("form", "形式"),
    "sample": ("rows (images)", "行（图像）"),
    "cluster_axis": ("columns (clusters)", "列（簇）"),
    "coupled": ("coupled", "耦合"),
    "decoupled": ("decoupled", "解耦"),
    "balance": ("with balance", "含平衡项"),
    "alone": ("contrast alone", "仅对比"),
    "losses": ("Losses", "损失"),
    "chosen": ("▸ = shown by the arrows", "▸ = 箭头所示"),
    "balance_says": (
        "Balance: {first} (view 1) + {second} (view 2); 0 at equal shares, at most {most} each.",
        "平衡项：{first}（视图 1）+ {second}（视图 2）；份额相等时为 0，每个视图至多 {most}。",
    ),
    "table": ("Assignments p", "分配概率 p"),
    "view": ("view {i}", "视图 {i}"),
    "mean": ("share", "份额"),
    "examples": ("Examples", "示例"),
    "balanced": ("Balanced, one-hot", "均衡（独热）"),
    "collapsed": ("Collapsed, 1 % left", "坍缩（余 1 %）"),
    "exact": ("Collapsed, exactly", "完全坍缩"),
    "uniform": ("Uniform", "均匀"),
    "large": (
        "The same with {n} images and {k} clusters ({form}, τ = {temperature})",
        "同样的示例：{n} 幅图像，{k} 个簇（{form}，τ = {temperature}）",
    ),
    "by_columns": ("columns", "列"),
    "by_balance": ("balance, one view", "平衡项（单视图）"),
    "by_rows": ("rows", "行"),
    "here": ("▸ = shown above", "▸ = 上方所示"),
    "seen_points": (
        "Six points at temperature {temperature:g}: InfoNCE {coupled:.3f}, decoupled {decoupled:.3f}. The factor 1 − q₊ goes from {low:.2g} ({least}) to {high:.2g} ({largest}).",
        "六个点，温度 {temperature:g}：InfoNCE {coupled:.3f}，解耦 {decoupled:.3f}。系数 1 − q₊ 从 {low:.2g}（{least}）到 {high:.2g}（{largest}）。",
    ),
    "seen_assignments": (
        "Six images, three clusters, temperature {temperature:g}: rows {sample_coupled:.3f} coupled, {sample_decoupled:.3f} decoupled; columns {cluster_coupled:.3f} coupled, {cluster_decoupled:.3f} decoupled; "
        "balance {balance:.3f} (both views). Shares of the clusters in view 1: {shares}.",
        "六幅图像，三个簇，温度 {temperature:g}：行 {sample_coupled:.3f}（耦合）、{sample_decoupled:.3f}（解耦）；列 {cluster_coupled:.3f}（耦合）、{cluster_decoupled:.3f}（解耦）；"
        "平衡项 {balance:.3f}（两个视图）。视图 1 中各簇份额：{shares}。",
    ),
}


def _numbers(name: str, values: object, shape: "tuple[int, ...]") -> Tensor:
    "A tensor of finite numbers of a given shape, or a refusal."
    try:
        found = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = None
    if found is None or tuple(found.shape) != shape or not found.isfinite().all():
        raise ValueError(f"{name} must be finite numbers of shape {shape}, got {reprlib.repr(values)}")
    return found


@dataclass(frozen=True)
class LabState:
    "All that can be set in a LossLab."

    page: str = "points"  # or "assignments"
    angles: "tuple[float, ...]" = START  # (6,) degrees, in the order of POINTS
    temperature: float = 0.5  # of the points, 0.01 to 10
    p: "tuple" = START_P  # (2,6,3) assignments, rows summing to 1
    cluster_temperature: float = 1.0  # of the assignments, 0.01 to 10
    axis: str = "sample"  # whose arrows: "sample" (rows) or "cluster" (columns)
    decoupled: bool = True  # False: InfoNCE
    balance: bool = False  # whether the arrows are those of contrast and balance together

    def __post_init__(self):
        "Refuse what cannot be; angles to 0 ... 360, rows to a sum of 1."
        angles, p = _numbers("angles", self.angles, (6,)) % 360, _numbers("p", self.p, (2, len(IMAGES), 3))
        off = (p.sum(-1, keepdim=True) - 1).abs()
        bad = p[(p.min(-1).values < 0) | (off[..., 0] > 1e-6)]
        if len(bad):
            raise ValueError(f"p must have rows of numbers >= 0 that sum to 1, got a row {bad[0].tolist()}")
        p = torch.where(off > 1e-12, p / p.sum(-1, keepdim=True), p)  # a row that is right stays as it is, to the bit
        check_in("page", self.page, PAGES)
        check_in("axis", self.axis, AXES)
        checked = {"angles": tuple(angles.tolist()), "p": tuple(tuple(map(tuple, view)) for view in p.tolist())}
        checked |= {
            name: check_float(name, getattr(self, name), 0.01, 10) for name in ("temperature", "cluster_temperature")
        }
        checked |= {name: bool(check_in(name, getattr(self, name), (True, False))) for name in ("decoupled", "balance")}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def loss(self) -> ClusterLoss:
        "The loss of the arrows in the triangle."
        return ClusterLoss(self.axis, self.decoupled, self.balance, self.cluster_temperature)


@lru_cache(maxsize=4)
def _told(state: LabState, page: str) -> dict:
    "What is known about one page: the losses, and what belongs to them."
    if page == "points":
        return {
            "angles": state.angles,
            "temperature": state.temperature,
            **point_losses(state.angles, state.temperature),
        }
    example = next(
        (name for name, p in example_assignments(len(IMAGES), 3).items() if np.allclose(state.p, p, atol=1e-9)), ""
    )
    large = {"n": 250, "k": 10, "figures": example_figures(250, 10, state.cluster_temperature, state.decoupled)}
    return {
        "p": state.p,
        "temperature": state.cluster_temperature,
        "axis": state.axis,
        "decoupled": state.decoupled,
        "weighed": state.balance,
        **assignment_losses(state.p, state.cluster_temperature),
        "moves": pushes(state.p, state.loss).tolist(),
        "example": example,
        "large": large,
    }


class LossLab(LiveWidget):
    "Six points on a circle and six images between three clusters to drag, with what all losses say to them and where they push."

    NAMES = ("loss_lab",)
    WORDS = WORDS

    def __init__(
        self,
        lang: str = "en",  # "en" or "zh"
    ):
        self._state, self._problem = LabState(), ""
        super().__init__(lang=lang)

    # ---- what can be set
    @property
    def state(self) -> LabState:
        "All that is set just now."
        return self._state

    @property
    def losses(self) -> dict:
        "What `point_losses` or `assignment_losses` says to the page that is shown."
        s = self._state
        return (
            point_losses(s.angles, s.temperature)
            if s.page == "points"
            else assignment_losses(s.p, s.cluster_temperature)
        )

    def show(
        self,
        *,
        page: "str | None" = None,  # "points" or "assignments"
        angles: "Iterable[float] | None" = None,  # six angles in degrees, in the order of POINTS
        temperature: "float | None" = None,  # of the points, 0.01 to 10
        p: "Tensor | tuple | None" = None,  # (2,6,3) assignments
        example: "str | None" = None,  # one of EXAMPLES, instead of p
        cluster_temperature: "float | None" = None,  # of the assignments, 0.01 to 10
        axis: "str | None" = None,  # whose arrows: "sample" or "cluster"
        decoupled: "bool | None" = None,  # and of which form
        balance: "bool | None" = None,  # with or without the balance term
    ) -> None:
        "Do in code what a hand does in the page; None leaves a thing as it is. What is not possible is refused, and nothing changes."
        if example is not None:
            p = torch.stack([example_assignments(len(IMAGES), 3)[check_in("example", example, EXAMPLES)]] * 2)
        wanted = {
            "page": page,
            "angles": angles,
            "temperature": temperature,
            "p": p,
            "cluster_temperature": cluster_temperature,
            "axis": axis,
            "decoupled": decoupled,
            "balance": balance,
        }
        with self._lock:
            self._set(replace(self._state, **{name: value for name, value in wanted.items() if value is not None}))

    def descend(
        self,
        decoupled: bool = True,  # of the points; of assignments, it is the loss of the arrows
        steps: int = 20,  # 1 to 200
    ) -> None:
        "Go downhill on the page that is shown."
        check_int("steps", steps, 1, 200)
        check_in("decoupled", decoupled, (True, False))
        with self._lock:
            s = self._state
            if s.page == "points":
                self._set(replace(s, angles=descend_points(s.angles, s.temperature, decoupled, steps)))
            else:
                self._set(
                    replace(s, p=descend_assignments(s.p, s.loss, steps, LOGIT_RATE * min(1.0, s.cluster_temperature)))
                )

    def reset(self) -> None:
        "Back to the start, on the page that is shown."
        with self._lock:
            self._set(LabState(page=self._state.page))

    def _set(self, state: LabState) -> None:
        "Take over a state, tell the views, and renew the words."
        self._state, self._problem = state, ""
        self._publish()

    def _publish(self) -> None:
        "Tell the views, and renew the words."
        self.summary = self.describe()
        self.tell(**self._message(self._state.page))

    # ---- messages
    def on_message(self, content: dict, buffers: list) -> None:
        "A hand has moved something, wants to go downhill or back to the start."
        action = {"show": self.show, "downhill": self.descend, "reset": self.reset}.get(str(content.get("kind")))
        if action is None:
            return
        try:
            action(**{str(name): value for name, value in content.items() if name != "kind"})
        except (TypeError, ValueError) as error:  # the page is told, and goes back to what is true
            self._problem = str(error)[:300]
            self._publish()

    def _on_message(self, widget, content: dict, buffers: list) -> None:
        "No run ends here: the picture takes the widget's place in the file when it is first seen, and is renewed when somebody asks for it."
        super()._on_message(widget, content, buffers)
        if content.get("kind") == "keep" or (content.get("kind") == "hello" and not self._settled):
            self.settle()

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "Both pages."
        return [(self._message(page), []) for page in PAGES]

    def _message(self, page: str) -> dict:
        "One page, as the browser gets it."
        return {"kind": page, "page": self._state.page, "problem": self._problem, **_told(self._state, page)}

    # ---- in words and in print
    def describe(self) -> str:
        "The losses of the page, and the figures that explain them."
        s, told = self._state, _told(self._state, self._state.page)
        if s.page == "points":
            factors = sorted(zip(told["multiplier"], POINTS))
            (low, least), (high, largest) = factors[0], factors[-1]
            return self.say(
                "seen_points",
                temperature=s.temperature,
                coupled=told["coupled"],
                decoupled=told["decoupled"],
                low=low,
                least=least,
                high=high,
                largest=largest,
            )
        shares = self.say("joint").join(f"{share:.0%}" for share in np.mean(s.p[0], axis=0))
        return self.say("seen_assignments", **{**told, "balance": sum(told["balance"]), "shares": shares})

    def figure(self) -> Picture:
        "The page that is shown, for print."
        s = self._state
        return plot_points(s.angles, s.temperature) if s.page == "points" else plot_assignments(s.p, s.loss)
