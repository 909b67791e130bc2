"The loss lab without a browser: its values against the losses and finite differences, and what a page may send."

import itertools
import json
import math

import numpy as np
import pytest
import torch

from dcacn_nb.method.losses import balance_penalty, cluster_contrast, decoupled_info_nce, info_nce
from dcacn_nb.widgets.loss_lab import LabState, LossLab
from dcacn_nb.widgets.loss_lab_losses import (
    EXAMPLES,
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
    logit_slopes,
    multipliers,
    point_losses,
    pushes,
)
from dcacn_nb.widgets.loss_lab_plots import plot_assignments, plot_points

CLUSTER_LOSSES = list(
    itertools.starmap(ClusterLoss, itertools.product(("sample", "cluster"), (True, False), (True, False), (0.3, 1.0)))
)


def overhear(lab):
    "A list of all messages that the browser gets from now on, once it has said hello."
    sent = []
    lab.send = lambda content, buffers=(): sent.append(content)
    lab._on_message(lab, {"kind": "hello"}, [])
    return sent


def answer_to(lab, sent, **content):
    "The answer to a message."
    before = len(sent)
    lab._on_message(lab, content, [])
    assert len(sent) == before + 1
    return sent[-1]


def on_circle(degrees):
    "Two views of three images."
    turns = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    return torch.stack([turns.cos(), turns.sin()], 1).split(3)


def slopes(function, values, step=1e-5):
    "Central differences."
    values, found = np.asarray(values, dtype=float), np.zeros(np.shape(values))
    for i in np.ndindex(values.shape):
        bump = np.zeros(values.shape)
        bump[i] = step
        found[i] = (function(values + bump) - function(values - bump)) / (2 * step)
    return found


# --- figures
@pytest.mark.parametrize("temperature", [0.05, 0.2, 0.5, 2.0])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_points_have_the_values_and_slopes_of_the_losses(seed, temperature):
    "Values from the loss functions themselves, slopes from central differences of them."
    angles = START if seed is None else np.random.default_rng(seed).uniform(0, 360, 6)
    found = point_losses(angles, temperature)
    for form, loss in (("coupled", info_nce), ("decoupled", decoupled_info_nce)):
        value = lambda turns, loss=loss: loss(*on_circle(np.rad2deg(turns)), temperature).item()
        assert found[form] == pytest.approx(value(np.deg2rad(angles)), abs=1e-12)
        np.testing.assert_allclose(found[f"{form}_slope"], slopes(value, np.deg2rad(angles)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_multipliers_are_what_the_positive_leaves(temperature):
    "One minus the positive's share of the softmax, by definition; any number of images, any width; exact where tiny."
    g = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, 5, 4, generator=g, dtype=torch.float64)
    rows = [row / row.norm() for row in (*z1, *z2)]
    for a, found in enumerate(multipliers(z1, z2, temperature)):
        weights = [math.exp(float(rows[a] @ rows[b]) / temperature) if a != b else 0.0 for b in range(10)]
        assert found.item() == pytest.approx(1 - weights[(a + 5) % 10] / sum(weights), abs=1e-12)
    tiny = multipliers(*on_circle((0, 120, 240) * 2), 0.02)[0].item()
    assert tiny == pytest.approx(4 * math.exp(-1.5 / 0.02), rel=1e-6) and tiny > 0


def test_easy_pairs_are_turned_down_most():
    "B is the easy pair and A the hard one."
    a, b, c = np.array(point_losses(START)["multiplier"]).reshape(2, 3).T
    assert max(b) < min(c) < max(c) < min(a)


@pytest.mark.parametrize("loss", CLUSTER_LOSSES, ids=str)
def test_assignments_have_the_values_and_slopes_of_the_losses(loss):
    "Values from the loss functions, slopes from central differences of logits, arrows from a small step."
    logits = torch.tensor(np.random.default_rng(3).standard_normal((2, 5, 4)))
    p = logits.softmax(-1)

    def value(x):
        "Straight from `losses`."
        p1, p2 = torch.as_tensor(x).softmax(-1)
        contrast = cluster_contrast(p1, p2, loss.temperature, loss.axis, loss.decoupled)
        return (contrast + loss.balance * (balance_penalty(p1) + balance_penalty(p2))).item()

    found = assignment_losses(p, loss.temperature)
    form = "decoupled" if loss.decoupled else "coupled"
    assert (
        found[f"{loss.axis}_{form}"] + loss.balance * sum(found["balance"])
        == pytest.approx(value(logits), abs=1e-12)
        == pytest.approx(loss(p).item(), abs=1e-12)
    )
    slope = slopes(value, logits.numpy())
    np.testing.assert_allclose(logit_slopes(p, loss), slope, atol=1e-8)
    moved = ((logits - 1e-6 * torch.tensor(slope)).softmax(-1) - p) / 1e-6
    torch.testing.assert_close(pushes(p, loss), moved, rtol=1e-4, atol=1e-6)
    assert pushes(p, loss).sum(-1).abs().max() < 1e-12  # so no image leaves its triangle
    leaf = p.clone().requires_grad_()
    (wrong,) = torch.autograd.grad(loss(leaf), leaf)  # with respect to p instead of the logits
    assert np.abs(wrong.numpy() - slope).max() > 1e-2


def test_examples_have_the_figures_of_the_text():
    "250 images, 10 clusters: balance sees collapse in size, contrast of columns sees uniformity."
    figures = example_figures()
    assert tuple(figures) == EXAMPLES
    for name, wanted in {
        "balanced": (1.890, 0, 5.364),
        "collapsed": (1.958, 2.231, 6.211),
        "exact": (2.790, 2.303, 6.211),
        "uniform": (2.890, 0, 6.211),
    }.items():
        np.testing.assert_allclose(figures[name], wanted, atol=6e-4)
    assert figures["balanced"][0] == pytest.approx(math.log(18) - 1) and figures["exact"][1] == pytest.approx(
        math.log(10)
    )
    for n, k in ((6, 3), (250, 10)):
        examples = example_assignments(n, k)
        assert all(
            p.shape == (n, k) and torch.allclose(p.sum(1), torch.ones(n, dtype=torch.float64))
            for p in examples.values()
        )
        assert (examples["collapsed"].argmax(1) == 0).all() and (examples["balanced"].sum(0) >= n // k).all()


def test_downhill_goes_down():
    "Every loss falls, and only the assignment with balance leaves a collapse."
    for temperature, decoupled in itertools.product((0.1, 0.5, 1.0), (True, False)):
        form = "decoupled" if decoupled else "coupled"
        values = [point_losses(START, temperature)[form]] + [
            point_losses(descend_points(START, temperature, decoupled, n), temperature)[form] for n in (1, 20)
        ]
        assert values == sorted(values, reverse=True)
    start = torch.tensor(START_P, dtype=torch.float64)
    assert all(loss(descend_assignments(start, loss, 5, 6 * loss.temperature)) < loss(start) for loss in CLUSTER_LOSSES)
    collapsed = torch.stack([example_assignments(6, 3)["collapsed"]] * 2)
    clusters = lambda p: p[0].argmax(1).unique().numel()
    assert (
        clusters(descend_assignments(collapsed, ClusterLoss("cluster"), 30)) == 1
        and clusters(descend_assignments(collapsed, ClusterLoss("cluster", balance=True), 30)) == 3
    )
    exact = torch.stack([example_assignments(6, 3)["exact"]] * 2)
    assert torch.equal(
        descend_assignments(exact, ClusterLoss("cluster", balance=True), 5), exact
    )  # saturated: nothing passes


# --- what can be set
def test_the_state_is_checked_and_kept_to_the_bit():
    "Angles are taken modulo 360, rows to a sum of 1; what is right stays the same to the last bit."
    state = LabState(angles=[-350, 525, 255, 80, 180, 300], p=torch.tensor(START_P))  # float32
    assert state.angles == START and LabState(p=LabState().p) == LabState() and hash(state)
    assert all(sum(row) == pytest.approx(1, abs=1e-12) for view in state.p for row in view)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"angles": [1, 2, 3]}, "angles must be finite numbers of shape (6,), got [1, 2, 3]"),
        ({"angles": [1, 2, 3, 4, 5, "north"]}, "angles must be finite numbers"),
        ({"angles": [1, 2, 3, 4, 5, math.inf]}, "angles must be finite numbers"),
        ({"angles": {"a": 1}}, "angles must be finite numbers"),
        ({"angles": [10**400] * 6}, "angles must be finite numbers"),
        ({"angles": [[1, 2, 3]] * 2}, "angles must be finite numbers"),
        ({"angles": list(range(100_000))}, "angles must be finite numbers"),
        ({"p": [[[1, 0, 0]] * 6]}, "p must be finite numbers of shape (2, 6, 3)"),
        ({"p": [[[1, 0, None]] * 6] * 2}, "p must be finite numbers"),
        (
            {"p": [[[1, 0, 0]] * 6, [[1.2, -0.2, 0]] * 6]},
            "p must have rows of numbers >= 0 that sum to 1, got a row [1.2, -0.2, 0.0]",
        ),
        ({"p": [[[0.5, 0.4, 0]] * 6] * 2}, "that sum to 1, got a row [0.5, 0.4, 0.0]"),
        ({"temperature": 20}, "temperature must be >= 0.01 and <= 10, got 20"),
        ({"temperature": 0}, "temperature must be >= 0.01 and <= 10, got 0"),
        ({"temperature": "hot"}, "temperature must be a number, got 'hot'"),
        ({"cluster_temperature": math.nan}, "cluster_temperature must be"),
        ({"page": "losses"}, "page must be one of 'points', 'assignments'"),
        ({"page": "x" * 100_000}, "page must be one of"),
        ({"axis": ["sample"]}, "axis must be one of"),
        ({"decoupled": "yes"}, "decoupled must be one of True, False"),
        ({"balance": 2}, "balance must be one of"),
        ({"example": "collapse"}, "did you mean 'collapsed'"),
        ({"speed": 3}, "speed"),
        ({"angles": list(START[:5]) + [0], "axis": "rows"}, "axis must be one of"),
    ],
)
def test_invalid_settings_are_refused_in_words_and_change_nothing(settings, said):
    "From code by an exception, from a page by a message, which is short whatever was sent."
    lab = LossLab()
    with pytest.raises((TypeError, ValueError)) as error:
        lab.show(**settings)
    assert said in str(error.value)
    sent = overhear(lab)
    answer = answer_to(lab, sent, kind="show", **settings)
    assert lab.state == LabState() and said in answer["problem"] and len(json.dumps(answer)) < 4000
    assert answer_to(lab, sent, kind="show", temperature=0.4)["problem"] == "" and lab.state.temperature == 0.4


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "downhill", "steps": 10**9},
        {"kind": "downhill", "steps": 0},
        {"kind": "downhill", "steps": 2.5},
        {"kind": "downhill", "decoupled": "both"},
        {"kind": "downhill", "rate": 3},
        {"kind": "reset", "all": 1},
    ],
)
def test_bad_actions_are_refused(content):
    "A page cannot keep the kernel busy."
    lab = LossLab()
    assert answer_to(lab, overhear(lab), **content)["problem"] and lab.state == LabState()


@pytest.mark.parametrize("content", [{"kind": "explode"}, {"kind": ["show"]}, {"kind": None}, {}])
def test_unknown_messages_are_ignored(content):
    "Neither an answer nor an error."
    lab = LossLab()
    sent = overhear(lab)
    lab._on_message(lab, content, [])
    assert len(sent) == 2 and lab.state == LabState()


# --- the widget
def test_what_reaches_the_browser():
    "Both pages for a view that appears; every move is answered with the figures of the losses."
    lab = LossLab()
    lab.show(temperature=0.2)
    sent = overhear(lab)
    assert [(content["kind"], content["page"]) for content in sent] == [("points", "points"), ("assignments", "points")]
    answer = answer_to(lab, sent, kind="show", angles=[20, 100, 180, 30, 110, 300])
    found = point_losses([20, 100, 180, 30, 110, 300], 0.2)
    assert {name: answer[name] for name in found} == found == lab.losses and answer["temperature"] == 0.2
    answer = answer_to(
        lab,
        sent,
        kind="show",
        page="assignments",
        p=START_P[::-1],
        axis="cluster",
        decoupled=False,
        balance=True,
        cluster_temperature=0.5,
    )
    swapped = torch.tensor(START_P[::-1], dtype=torch.float64)
    assert answer["page"] == "assignments" == lab.state.page and lab.losses == assignment_losses(swapped, 0.5)
    assert {name: answer[name] for name in lab.losses} == lab.losses
    np.testing.assert_allclose(answer["moves"], pushes(swapped, ClusterLoss("cluster", False, True, 0.5)), atol=1e-12)
    assert (
        answer["large"] == {"n": 250, "k": 10, "figures": example_figures(250, 10, 0.5, False)}
        and answer["example"] == ""
    )
    assert (
        json.loads(json.dumps(answer))["p"] == [list(map(list, view)) for view in answer["p"]]
        and len(json.dumps(answer)) < 4000
    )


def test_examples_and_actions():
    "The buttons: an example is known again, downhill goes down, reset brings the page back as it was."
    lab = LossLab()
    sent = overhear(lab)
    for example in EXAMPLES:
        assert answer_to(lab, sent, kind="show", page="assignments", example=example)["example"] == example
        torch.testing.assert_close(
            torch.tensor(lab.state.p, dtype=torch.float64)[1], example_assignments(6, 3)[example]
        )
    assert (
        np.abs(answer_to(lab, sent, kind="show", example="uniform")["moves"]).max() < 1e-12
    )  # no direction is better than another
    lab.reset()
    before = lab.state.loss(torch.tensor(lab.state.p, dtype=torch.float64))
    answer_to(lab, sent, kind="downhill")
    assert lab.state.loss(torch.tensor(lab.state.p, dtype=torch.float64)) < before and lab.state.angles == START
    answer_to(lab, sent, kind="show", page="points")
    for form in ("coupled", "decoupled"):
        lab.reset()
        assert lab.state == LabState()
        assert answer_to(lab, sent, kind="downhill", decoupled=form == "decoupled")[form] < point_losses(START)[form]
        assert lab.state.angles == tuple(angle % 360 for angle in descend_points(START, 0.5, form == "decoupled"))


def test_nothing_is_sent_without_a_view():
    "Code may turn everything before a page exists."
    lab = LossLab()
    lab.send = lambda *args, **kwargs: pytest.fail("sent without a view")
    lab.show(temperature=0.1)
    lab.descend()
    lab.reset()


def test_words_and_pictures():
    "Summary in two languages with the values; the pictures for print have them, too."
    lab = LossLab()
    found = point_losses(START)
    figures = f"InfoNCE {found['coupled']:.3f}, decoupled {found['decoupled']:.3f}"
    least = POINTS[int(np.argmin(found["multiplier"]))]
    assert figures in lab.summary and f"({least})" in lab.summary and figures in lab.figure().alt
    lab.lang = "zh"
    assert f"解耦 {found['decoupled']:.3f}" in lab.summary
    lab.show(page="assignments", example="collapsed")
    assert "99%" in lab.summary and f"{lab.losses['cluster_decoupled']:.3f}（解耦）" in lab.summary
    assert (
        f"columns {lab.losses['cluster_coupled']:.3f} coupled" in lab.figure().alt
        and "Arrows of: rows, decoupled." in lab.figure().alt
    )
    assert "columns, coupled, with balance" in plot_assignments(START_P, ClusterLoss("cluster", False, True)).alt
    assert (
        min(
            len(figure.png(theme, dpi=40))
            for figure in (plot_points(), plot_assignments())
            for theme in ("light", "dark")
        )
        > 1000
    )


def test_a_picture_stays_and_is_renewed_when_asked_for():
    "Once when first seen, and at each press of the button; never in between: the keyboard would lose its focus."

    class Handle:
        "What display gives."

        bundles = []

        def update(self, bundle, raw):
            self.bundles.append(bundle)

    lab = LossLab()
    lab._handles.append(Handle())
    overhear(lab)
    lab._on_message(lab, {"kind": "hello"}, [])
    lab._on_message(lab, {"kind": "show", "temperature": 0.1}, [])
    assert (
        len(Handle.bundles) == 1
        and lab.key in Handle.bundles[0]["text/html"]
        and "<img" in Handle.bundles[0]["text/html"]
    )
    lab._on_message(lab, {"kind": "keep"}, [])
    assert (
        len(Handle.bundles) == 2
        and "temperature 0.1" in Handle.bundles[1]["text/plain"]
        and Handle.bundles[1]["text/plain"] == lab.summary
    )


def test_it_is_found_by_its_name():
    "The package hands it out like the others, and refuses unknown languages by name."
    import dcacn_nb.widgets

    assert dcacn_nb.widgets.LossLab is LossLab and "LossLab" in dcacn_nb.widgets.__all__
    with pytest.raises(ValueError, match="lang must be one of 'en', 'zh'"):
        LossLab(lang="fr")


# --- against formulas written as loops
def loops(angles, temperature, decoupled):
    "Eq. 5 or Eq. 6 over points on a circle, where a cosine is the cosine of a difference of angles."
    turns, total = np.deg2rad(angles), 0.0
    for a in range(6):
        positive = math.cos(turns[a] - turns[(a + 3) % 6]) / temperature
        negatives = [b for b in range(6) if b != a and not (decoupled and b == (a + 3) % 6)]
        others = [math.exp(math.cos(turns[a] - turns[b]) / temperature) for b in negatives]
        total += -positive + math.log(sum(others))
    return total / 6


def plain_factor(angles, temperature, with_itself=False):
    "1 - exp(s+) / sum of exp(s), by its definition; wrong with the anchor itself in the sum."
    turns, found = np.deg2rad(angles), []
    for a in range(6):
        scores = [math.exp(math.cos(turns[a] - turns[b]) / temperature) for b in range(6)]
        weights = [score if with_itself or b != a else 0.0 for b, score in enumerate(scores)]
        found.append(1 - weights[(a + 3) % 6] / sum(weights))
    return found


RANDOM = [(np.random.default_rng(i).uniform(0, 360, 6), t) for i, t in enumerate((0.1, 0.2, 0.5, 1.0, 2.0))]


@pytest.mark.parametrize("angles, temperature", [(START, 0.5), *RANDOM], ids=str)
def test_points_have_the_values_slopes_and_factors_of_the_formulas(angles, temperature):
    "Both losses follow from the factors: the mean of d, and of log(1 + exp(d)), with factor = sigmoid(d)."
    found = point_losses(angles, temperature)
    for form in ("coupled", "decoupled"):
        value = lambda turned, form=form: loops(np.rad2deg(turned), temperature, form == "decoupled")
        np.testing.assert_allclose(found[form], value(np.deg2rad(angles)), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[f"{form}_slope"], slopes(value, np.deg2rad(angles)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found["multiplier"], plain_factor(angles, temperature), atol=1e-12)
    terms = torch.tensor(found["multiplier"], dtype=torch.float64).logit()
    losses = terms.mean(), torch.nn.functional.softplus(terms).mean()
    np.testing.assert_allclose(losses, (found["decoupled"], found["coupled"]), rtol=1e-7)
    wrong = plain_factor(angles, temperature, with_itself=True)
    assert not np.allclose(wrong, found["multiplier"], atol=1e-3)


def test_a_tiny_factor_is_exact_where_the_definition_rounds_it_away():
    angles = (0, 120, 240, 0, 120, 240)
    assert 0 < point_losses(angles, 0.03)["multiplier"][0] < 1e-20 and plain_factor(angles, 0.03)[0] == 0


def test_examples_by_counting():
    "One-hot images in K equal clusters: each row meets 2(B/K-1) negatives like itself and 2(B-B/K) at right angles."
    figures, e = example_figures(), math.e
    np.testing.assert_allclose(
        figures["balanced"], (math.log(18) - 1, 0, math.log(2 * 24 * e + 2 * 225) - 1), atol=1e-12
    )
    np.testing.assert_allclose(figures["uniform"], (math.log(18), 0, math.log(498)), atol=1e-12)
    columns = (math.log(18) - 1 + 9 * math.log(18)) / 10
    np.testing.assert_allclose(figures["exact"], (columns, math.log(10), math.log(498)), atol=1e-7)


def test_rows_break_clusters_apart_at_a_low_temperature_and_columns_do_not():
    "Three clusters of two images whose rows agree only roughly; at 0.2 an anchor meets the images of its own cluster."
    near = [(0.80, 0.15, 0.05), (0.05, 0.80, 0.15), (0.15, 0.05, 0.80)]
    far = [(0.80, 0.05, 0.15), (0.15, 0.80, 0.05), (0.05, 0.15, 0.80)]
    loose = torch.tensor([near + far] * 2, dtype=torch.float64)
    agreement = lambda p: torch.cosine_similarity(p[:, :3], p[:, 3:], dim=2).mean().item()
    after = {
        (axis, t): agreement(descend_assignments(loose, ClusterLoss(axis, temperature=t), 120, LOGIT_RATE * t))
        for axis in ("sample", "cluster")
        for t in (1.0, 0.2)
    }
    assert after.pop(("sample", 0.2)) < agreement(loose) - 0.05 and min(after.values()) > 0.999


def test_a_corner_passes_nothing_on():
    "At an exact collapse the softmax is saturated: no push, whatever the loss."
    exact = torch.stack([example_assignments(6, 3)["exact"]] * 2)
    assert pushes(exact, ClusterLoss("cluster", balance=True)).abs().max() == 0
