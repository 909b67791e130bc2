"Can an image be told from its mirror image? Then a mirror image is something else, and views must not be mirrored."

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

TOLD = 0.7  # share from which images are not mirrored; chosen on hand signs, clothes, rubbish, CIFAR-10, Fashion-MNIST
FEWEST = 40  # images below which nothing is known
MOST = 1000  # images looked at
SIDE = 32  # pixels, the size they are looked at
FOLDS = 4


def told_apart(
    images: Tensor,  # (N,C,H,W) uint8
) -> float:  # 0 to 1: right answers on images that were not learned from; 0.5 is chance
    """How often a small classifier knows which of an image and its mirror image is the true one; no labels are used.

    Its features are means of 64 random filters over a grid of 4 x 4; it is linear in the *difference* of the features
    of image and mirror image, so that both always count together (ridge regression, four folds)."""
    draws = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(images), generator=draws)[:MOST]
    grey = torch.cat([_grey(images[piece]) for piece in rows.split(128)])
    key = hashlib.sha256(grey.numpy().tobytes()).digest()
    if key not in _known:
        _known[key] = _right(grey, torch.randn(64, 1, 5, 5, generator=draws))
    return _known[key]


_known: "dict[bytes, float]" = {}  # settings are made several times for the same images


def _right(grey: Tensor, filters: Tensor) -> float:
    "The share of right answers, by cross-validation: an image and its mirror image are always in the same fold."
    differences = _means(grey, filters) - _means(grey.flip(3), filters)
    products = differences @ differences.T
    products /= products.diagonal().mean().clamp_min(1e-12)
    fold, right = torch.arange(len(grey)) % FOLDS, torch.zeros(len(grey))
    for k in range(FOLDS):
        learned, asked = fold != k, fold == k
        ridge = products[learned][:, learned] + 0.1 * torch.eye(int(learned.sum()))
        answers = products[asked][:, learned] @ torch.linalg.solve(ridge, torch.ones(len(ridge)))
        right[asked] = (answers.sign() + 1) / 2  # an image that is its own mirror image: half right
    return right.mean().item()


def _grey(images: Tensor) -> Tensor:
    "(n,1,32,32) float, each image with mean 0 and spread 1."
    grey = F.interpolate(images.cpu().float().mean(1, True), (SIDE, SIDE), mode="area")
    return (grey - grey.mean((1, 2, 3), True)) / grey.std((1, 2, 3), keepdim=True).clamp_min(1)


def _means(grey: Tensor, filters: Tensor) -> Tensor:
    "(n,1024): how strongly each filter answers in each part of the image."
    filters = filters - filters.mean((2, 3), True)
    return torch.cat([F.adaptive_avg_pool2d(F.conv2d(p, filters).relu(), 4).flatten(1) for p in grey.split(256)])


def must_stay_upright(
    images: Tensor,  # (N,C,H,W) uint8
) -> "tuple[bool, str]":  # whether views must not be mirrored; why, in one line
    "Whether mirror images are something else, found from the images alone: the same images give the same answer."
    if len(images) < FEWEST:
        return False, f"too few images ({len(images)}) to see whether mirror images differ: mirrored"
    share = told_apart(images)
    found = f"mirror images are told apart in {share:.0%}"
    if share >= TOLD:
        return True, f"{found}: not mirrored; upright=False mirrors them"
    return False, f"{found}: mirrored; upright=True forbids it"
