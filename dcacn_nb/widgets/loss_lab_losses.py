"""The losses of the loss lab: six points on a circle, and images between clusters, with slopes and descent."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcacn_nb.method.losses import balance_penalty, cluster_contrast, decoupled_info_nce, info_nce

POINTS = ("A1", "B1", "C1", "A2", "B2", "C2")  # three images in view 1, then the same in view 2
FORMS = {"coupled": info_nce, "decoupled": decoupled_info_nce}
START = (10.0, 165.0, 255.0, 80.0, 180.0, 300.0)  # degrees
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
EXAMPLES = ("balanced", "collapsed", "exact", "uniform")
POINT_RATE, LOGIT_RATE = 0.3, 6.0  # step lengths: times the temperature, in radians; in logits


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
    negatives = similarity.masked_fill(same_image, -torch.inf).logsumexp(1)
    return (negatives - positive).sigmoid()  # exact even where it is tiny


def point_losses(
    angles: "Iterable[float]",  # six angles in degrees, in the order of POINTS
    temperature: float = 0.5,  # > 0
) -> dict:  # "coupled" and "decoupled": losses; "coupled_slope" and "decoupled_slope": per radian; "multiplier"
    "Both instance losses of six points on a circle, their slopes by angle, and the factor of coupling."
    radians = torch.deg2rad(torch.as_tensor(angles, dtype=torch.float64)).requires_grad_()
    z1, z2 = torch.stack([radians.cos(), radians.sin()], 1).chunk(2)
    losses = {"multiplier": multipliers(z1.detach(), z2.detach(), temperature).tolist()}
    for form, loss in FORMS.items():
        value = loss(z1, z2, temperature)
        (slope,) = torch.autograd.grad(value, radians, retain_graph=True)
        losses[form], losses[f"{form}_slope"] = value.item(), slope.tolist()
    return losses


def assignment_losses(
    p: "Tensor | tuple",  # (2,N,K) assignments, two views, rows summing to 1
    temperature: float = 1.0,  # > 0
) -> dict:  # "sample_coupled", "sample_decoupled", "cluster_coupled", "cluster_decoupled"; "balance": one per view
    "All variants of the cluster contrast, and the balance term of each view."
    p = torch.as_tensor(p, dtype=torch.float64)
    losses = {
        f"{axis}_{form}": cluster_contrast(p[0], p[1], temperature, axis, form == "decoupled").item()
        for axis in AXES
        for form in FORMS
    }
    return {**losses, "balance": [balance_penalty(view).item() for view in p]}


def _through_softmax(p: Tensor, change: Tensor) -> Tensor:
    "The Jacobian of a softmax with values p, times a vector; it is symmetric, so it serves gradients too."
    return p * (change - (p * change).sum(-1, keepdim=True))


class ClusterLoss(NamedTuple):
    "One variant of the cluster loss, a function of the assignments of two views (2,N,K)."

    axis: str = "sample"  # "sample": contrast of rows; "cluster": of columns
    decoupled: bool = True  # False: InfoNCE
    balance: bool = False  # whether the balance terms of both views are added, as in CC
    temperature: float = 1.0  # > 0

    def __call__(self, p: Tensor) -> Tensor:  # 0-dim
        loss = cluster_contrast(p[0], p[1], self.temperature, self.axis, self.decoupled)
        return loss + balance_penalty(p[0]) + balance_penalty(p[1]) if self.balance else loss


ROWS_DECOUPLED = ClusterLoss()


def logit_slopes(
    p: "Tensor | tuple",  # (2,N,K) assignments
    loss: "Callable[[Tensor], Tensor]" = ROWS_DECOUPLED,  # of p
) -> Tensor:  # (2,N,K)
    "Gradient of a loss with respect to the logits behind p."
    p = torch.as_tensor(p, dtype=torch.float64).clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(p), p)
    return _through_softmax(p.detach(), slope)


def pushes(
    p: "Tensor | tuple",  # (2,N,K) assignments
    loss: "Callable[[Tensor], Tensor]" = ROWS_DECOUPLED,  # of p
) -> Tensor:  # (2,N,K), rows summing to 0
    "Where a small step of gradient descent on the logits moves p, for a step of length 1."
    return -_through_softmax(torch.as_tensor(p, dtype=torch.float64), logit_slopes(p, loss))


def example_assignments(
    n: int = 250,  # images; image i belongs to cluster i modulo K
    n_clusters: int = 10,  # K
) -> "dict[str, Tensor]":  # name -> (n,K)
    "Assignments to judge a loss by: the ideal, two collapses, and a uniform one."
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
    "Three losses of each example, with two identical views."
    return {
        name: (
            cluster_contrast(p, p, temperature, "cluster", decoupled).item(),
            balance_penalty(p).item(),
            cluster_contrast(p, p, temperature, "sample", decoupled).item(),
        )
        for name, p in example_assignments(n, n_clusters).items()
    }


def descend_points(
    angles: "Iterable[float]",  # six angles in degrees
    temperature: float = 0.5,  # > 0
    decoupled: bool = True,  # False: InfoNCE
    steps: int = 20,  # >= 1
) -> "tuple[float, ...]":  # six angles in degrees
    "Gradient descent of six points on one of the instance losses."
    angles, form = np.asarray(angles, dtype=float), "decoupled" if decoupled else "coupled"
    for _ in range(steps):
        angles = angles - np.rad2deg(
            POINT_RATE * temperature * np.asarray(point_losses(angles, temperature)[f"{form}_slope"])
        )
    return tuple(angles.tolist())


def descend_assignments(
    p: "Tensor | tuple",  # (2,N,K) assignments
    loss: "Callable[[Tensor], Tensor]" = ROWS_DECOUPLED,  # of p
    steps: int = 20,  # >= 1
    rate: float = LOGIT_RATE,  # change of a logit for a slope of 1; small temperatures need a small rate
) -> Tensor:  # (2,N,K)
    "Gradient descent of assignments on a loss, by steps on their logits."
    p = torch.as_tensor(p, dtype=torch.float64)
    for _ in range(steps):
        p = (p.log() - rate * logit_slopes(p, loss)).softmax(-1)
    return p
