"Cells, budgets and ablations: what a grid is made of."

import dataclasses

import pytest

from dcacn_nb.compare.cells import (
    FACTORS,
    NONE_OF_THE_THREE,
    full_factorial,
    make_cell,
    make_grid,
    one_at_a_time,
)
from dcacn_nb.data.loading import load_images
from dcacn_nb.method.config import preset
from dcacn_nb.methods import find_method

QUICK = dict(epochs=2, width=4, batch_size=60, lr=0.01, snapshot_every=0, snapshot_size=60, eval_every=1, device="cpu")


def epochs_of(cells):
    "Epochs by method."
    return {cell.method.name: cell.config.epochs for cell in cells}


def test_a_cell_is_the_preset_with_its_changes(digits):
    cell = make_cell(digits, 10, "dcacn", {"attention": False}, 3, **QUICK)
    assert cell.config == dataclasses.replace(preset("default", digits, 10, **QUICK), attention=False, seed=3)
    assert cell.folder.as_posix() == "dcacn/attention=False/seed-3"
    assert cell.method.passes(dataclasses.replace(cell.config, cluster_start=0.0)) == 2 + cell.config.n_local
    assert make_cell(digits, 10, "dcacn", {}, 0, label="as it is", **QUICK).folder.parts[1] == "as it is"
    assert make_cell(digits, 10, "cc", {}, 0, **QUICK).setting == "default"


def test_options_of_methods_are_given_with_a_dot(digits):
    cell = make_cell(digits, 10, "iic", {"iic.heads": 2, "width": 6}, 0, **QUICK)
    assert cell.method.options["heads"] == 2 and cell.config.width == 6 and cell.setting == "iic.heads=2,width=6"
    own = dataclasses.replace(find_method("cc"), name="mine")
    assert make_cell(digits, 10, own, {}, 0, **QUICK).folder.parts[0] == "mine"


def test_budget_of_images(digits):
    "With a pencil: two epochs with two local crops are eight passes; CC has two views; K-Means is fitted once."
    both = dict(n_local=2, cluster_start=0.0)
    cells = make_grid(digits, 10, ["dcacn", "cc", "kmeans"], seeds=[0], budget="images", **both, **QUICK)
    assert epochs_of(cells) == {"dcacn": 2, "cc": 4, "kmeans": 1} and not any(cell.timed for cell in cells)


@pytest.mark.parametrize("amount, epochs, plain", [(40, 16, 10), (80, 33, 20), (120, 50, 30), (6, 2, 1), (4, 1, 1)])
def test_local_crops_cost_once_they_have_begun(digits, amount, epochs, plain):
    "40 views: 12 epochs of 2 and 4 of 4; without a head start, 10 of 4. The nearest number counts, then the lower."
    options = dict(
        seeds=[0], budget="images", amount=amount, n_local=2, **{k: v for k, v in QUICK.items() if k != "epochs"}
    )
    (cell,) = make_grid(digits, 10, ["dcacn"], [{"cluster_start": 0.8}], **options)
    assert cell.config.epochs == epochs
    (cell,) = make_grid(digits, 10, ["dcacn"], [{"cluster_start": 0.0}], **options)
    assert cell.config.epochs == plain


def test_budget_of_seconds(digits, monkeypatch):
    "Four seconds at one second per epoch are four epochs; each setting is timed once, for all its seeds."
    timed = []
    monkeypatch.setattr("dcacn_nb.compare.cells.seconds_per_epoch", lambda cell, images: timed.append(cell) or 1.0)
    cells = make_grid(digits, 10, ["dcacn", "cc"], seeds=[0, 1], budget="seconds", amount=4.0, n_local=2, **QUICK)
    assert [cell.config.epochs for cell in cells] == [4] * 4 and all(cell.timed for cell in cells)
    assert [cell.method.name for cell in timed] == ["dcacn", "cc"]


def test_an_epoch_is_timed_with_a_network_of_its_own(digits):
    "A real timing: at least one epoch, however little time is given."
    cells = make_grid(digits, 10, ["dcacn", "cc"], seeds=[0], budget="seconds", amount=0.001, n_local=0, **QUICK)
    assert epochs_of(cells) == {"dcacn": 1, "cc": 1}
    cells = make_grid(digits, 10, ["cc"], seeds=[0], budget="seconds", amount=1000.0, **QUICK)
    assert cells[0].config.epochs > 100


def test_seeds_come_first(digits):
    "A stopped grid has whole seeds."
    cells = make_grid(digits, 10, ["dcacn", "cc"], [{}, {"lr": 0.1}], [0, 1], **QUICK)
    assert [(c.config.seed, c.method.name, c.setting) for c in cells[:4]] == [
        (0, "dcacn", "default"),
        (0, "dcacn", "lr=0.1"),
        (0, "cc", "default"),
        (0, "cc", "lr=0.1"),
    ]
    assert len(cells) == 8 and {c.config.seed for c in cells[4:]} == {1}


def test_ablations():
    alone, every = one_at_a_time(), full_factorial()
    assert len(alone) == 1 + 2 + 3 + 3 + 1 + 2 + 1 + 1 and len(every) == 3 * 4 * 4 * 2 * 3 * 2
    assert list(alone)[0] == list(every)[0] == "default" and list(alone)[-1] == "none of the three"
    assert every["no attention + both coupled"] | {"n_local": 0} == NONE_OF_THE_THREE
    assert every["2 local crops + no head start"] == {"n_local": 2, "cluster_start": 0.0}
    assert "none of the three" not in one_at_a_time({"balance": FACTORS["balance"]})


def test_more_views_get_fewer_epochs():
    "120 views: of two, 60 epochs; with two local crops in the last fifth 40 x 2 + 10 x 4, or 30 of 4 without a start."
    crops = one_at_a_time({"multi-crop": FACTORS["multi-crop"]}) | {"as before": {"n_local": 2, "cluster_start": 0.0}}
    cells = make_grid(load_images("digits"), 10, ["dcacn"], crops, [0], budget="images")
    found = {c.setting: c.config.epochs for c in cells}
    assert found == {"default": 60, "2 local crops": 50, "4 local crops": 42, "as before": 30}
    for epochs, local in ((50, 2), (42, 4)):
        late = epochs - int(0.8 * epochs)
        assert abs(2 * epochs + local * late - 120) < 2 + local


def test_the_presets_epochs_are_equal_views():
    "The preset's own epochs: CC and SimCLR see each image as often as DCACN does."
    cells = make_grid(load_images("digits"), 10, ["dcacn", "cc", "simclr"], seeds=[0])
    assert epochs_of(cells) == {"dcacn": 60, "cc": 60, "simclr": 60}
    assert {round(cell.method.passes(cell.config) * cell.config.epochs) for cell in cells} == {120}


@pytest.mark.parametrize(
    "method, setting, options, message",
    [
        ("dcac", {}, {}, "did you mean 'dcacn'"),
        ("dcacn", {"atention": False}, {}, "atention"),
        ("cc", {"attention": True}, {}, "setting attention=True is fixed by the method 'cc' at False"),
        ("cc", {"iic.heads": 2}, {}, "setting 'iic.heads' is an option of another method than 'cc'"),
        (find_method("cc"), {"cc.heads": 2}, {}, "setting 'cc.heads' is an option of another method than 'cc'"),
        ("dcacn", {}, {"label": "a/b"}, "label must be usable as a folder's name, got 'a/b'"),
        ("dcacn", {}, {"label": ".hidden"}, "label must be usable as a folder's name, got '.hidden'"),
    ],
)
def test_wrong_cells_are_refused(digits, method, setting, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make_cell(digits, 10, method, setting, 0, **options)


def test_wrong_budgets_are_refused(digits):
    with pytest.raises(ValueError, match="budget must be one of 'epochs', 'images', 'seconds', got 'steps'"):
        make_grid(digits, 10, budget="steps")
    with pytest.raises(ValueError, match="amount must be given for budget='seconds'"):
        make_grid(digits, 10, budget="seconds")
