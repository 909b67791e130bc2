"""Points and images to drag: what each loss says about them, and where it pushes them, at every move."""

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dcacn_nb.core.checks import check_float, check_in, check_int
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.live import STATIC, LiveWidget, widget_words
from dcacn_nb.widgets.loss_lab_losses import (
    AXES,
    EXAMPLES,
    IMAGES,
    LOGIT_RATE,
    POINTS,
    START,
    START_P,
    ClusterLoss,
    assignment_losses,
    descend_assignments,
    descend_points,
    example_assignments,
    example_figures,
    point_losses,
    pushes,
)
from dcacn_nb.widgets.loss_lab_plots import plot_assignments, plot_points

PAGES = ("points", "assignments")


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
        "Check all settings; take angles modulo 360, and rows to a sum of 1."
        angles, p = _numbers("angles", self.angles, (6,)) % 360, _numbers("p", self.p, (2, len(IMAGES), 3))
        off = (p.sum(-1, keepdim=True) - 1).abs()
        bad = p[(p.min(-1).values < 0) | (off[..., 0] > 1e-6)]
        if len(bad):
            raise ValueError(f"p must have rows of numbers >= 0 that sum to 1, got a row {bad[0].tolist()}")
        p = torch.where(off > 1e-12, p / p.sum(-1, keepdim=True), p)  # a valid row keeps its bits
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
def _page_values(state: LabState, page: str) -> dict:
    "The values of one page: the losses, and what explains them."
    if page == "points":
        return {
            "angles": state.angles,
            "temperature": state.temperature,
            **point_losses(state.angles, state.temperature),
        }
    examples = example_assignments(len(IMAGES), 3)
    example = next((name for name, p in examples.items() if np.allclose(state.p, p, atol=1e-9)), "")
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
    "Six points on a circle and six images between three clusters to drag, with all losses and their gradients."

    ESM = STATIC / "loss_lab.js"
    WORDS = widget_words("loss_lab")

    def __init__(
        self,
        lang: str = "en",  # "en" or "zh"
    ):
        self._state, self._problem = LabState(), ""
        super().__init__(lang=lang)

    # ---- what can be set
    @property
    def state(self) -> LabState:
        "All present settings."
        return self._state

    @property
    def losses(self) -> dict:
        "`point_losses` or `assignment_losses` of the page that is shown."
        s = self._state
        if s.page == "points":
            return point_losses(s.angles, s.temperature)
        return assignment_losses(s.p, s.cluster_temperature)

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
        "Set in code what can be dragged in the page; None leaves a setting as it is. An invalid call changes nothing."
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
        decoupled: bool = True,  # of the points; assignments descend on the loss of the arrows
        steps: int = 20,  # 1 to 200
    ) -> None:
        "Take steps of gradient descent on the page that is shown."
        check_int("steps", steps, 1, 200)
        check_in("decoupled", decoupled, (True, False))
        with self._lock:
            s = self._state
            if s.page == "points":
                self._set(replace(s, angles=descend_points(s.angles, s.temperature, decoupled, steps)))
            else:
                rate = LOGIT_RATE * min(1.0, s.cluster_temperature)
                self._set(replace(s, p=descend_assignments(s.p, s.loss, steps, rate)))

    def reset(self) -> None:
        "Reset the page that is shown."
        with self._lock:
            self._set(LabState(page=self._state.page))

    def _set(self, state: LabState) -> None:
        "Take over a state and show it."
        self._state, self._problem = state, ""
        self._publish()

    def _publish(self) -> None:
        "Send the page to all views, and renew the summary."
        self.summary = self.describe()
        self.post(**self._message(self._state.page))

    # ---- messages
    def on_message(self, content: dict, buffers: list) -> None:
        "Something was dragged, or a button was pressed."
        action = {"show": self.show, "downhill": self.descend, "reset": self.reset}.get(str(content.get("kind")))
        if action is None:
            return
        try:
            action(**{str(name): value for name, value in content.items() if name != "kind"})
        except (TypeError, ValueError) as error:  # the page shows the error and returns to the valid state
            self._problem = str(error)[:300]
            self._publish()

    def _on_message(self, widget, content: dict, buffers: list) -> None:
        "Leave a picture when first seen and when asked for: there is no run whose end would do it."
        super()._on_message(widget, content, buffers)
        if content.get("kind") == "keep" or (content.get("kind") == "hello" and not self.settled):
            self.settle()

    def backlog(self) -> "Iterable[tuple[dict, list[bytes]]]":
        "Both pages."
        return [(self._message(page), []) for page in PAGES]

    def _message(self, page: str) -> dict:
        "One page, as the browser gets it."
        return {"kind": page, "page": self._state.page, "problem": self._problem, **_page_values(self._state, page)}

    # ---- in words and in print
    def describe(self) -> str:
        "The losses of the page, and the numbers that explain them."
        s, values = self._state, _page_values(self._state, self._state.page)
        if s.page == "points":
            factors = sorted(zip(values["multiplier"], POINTS))
            (low, least), (high, largest) = factors[0], factors[-1]
            return self.text(
                "seen_points",
                temperature=s.temperature,
                coupled=values["coupled"],
                decoupled=values["decoupled"],
                low=low,
                least=least,
                high=high,
                largest=largest,
            )
        shares = self.text("joint").join(f"{share:.0%}" for share in np.mean(s.p[0], axis=0))
        return self.text("seen_assignments", **{**values, "balance": sum(values["balance"]), "shares": shares})

    def figure(self) -> Picture:
        "The page that is shown, for print."
        s = self._state
        return plot_points(s.angles, s.temperature) if s.page == "points" else plot_assignments(s.p, s.loss)
