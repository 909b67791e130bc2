"""What a grid is made of: a method, a setting and a seed make a cell; a budget gives each cell its epochs."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import EpochDone
from dcacn_nb.data.feature_set import FeatureSet, training_tensor
from dcacn_nb.data.mirror import must_stay_upright
from dcacn_nb.fitting import method_for, settings_for
from dcacn_nb.method.config import TrainConfig, preset
from dcacn_nb.method.model import ClusterNet
from dcacn_nb.method.step import Method
from dcacn_nb.method.train import train
from dcacn_nb.methods import build_network

BUDGETS = ("epochs", "images", "seconds")
_UNFIT = '/\\:*?"<>|'  # characters that cannot be part of a folder's name everywhere
Changes = dict[str, object]  # field of TrainConfig, or "METHOD.option" -> value
Settings = dict[str, Changes]  # label -> changes


@dataclass(frozen=True)
class Cell:
    "One run of a grid: a method with its options, a setting, a seed."

    method: Method  # as find_method returns it, or a method of your own
    setting: str  # the setting's label; "default" where nothing is changed
    config: TrainConfig  # every setting, with the method's own changes, the seed and the epochs
    timed: bool = False  # whether the epochs come from a timing, which varies from day to day

    @property
    def folder(self) -> Path:
        "Path of the run within the grid's folder."
        return Path(self.method.name, self.setting, f"seed-{self.config.seed}")


def setting_name(
    changes: Changes,  # what the setting changes
) -> str:  # can be a folder's name
    '`attention=False,n_local=0`; "default" for no changes.'
    return ",".join(f"{name}={value}" for name, value in changes.items()) or "default"


def make_cell(
    images,  # ImageSet, FeatureSet or tensor: only size, colour and orientation are used
    n_clusters: int,  # K
    method: "str | Method",  # a name, or a method of your own
    setting: Changes,  # fields of TrainConfig and, as "METHOD.option", options of the method
    seed: int,
    *,
    label: str = "",  # name of the setting; made from the changes if empty
    upright: "bool | None" = None,  # as in `preset`
    **base,  # settings of all cells
) -> Cell:  # with the epochs of the preset, or of `base`
    "The cell of a method, a setting and a seed."
    if set(label) & set(_UNFIT) or label.startswith("."):
        raise ValueError(
            f"label must be usable as a folder's name, got {label!r}; leave out {' '.join(_UNFIT)} and a leading dot"
        )
    options, changes = _split_setting(method, setting)
    method = method_for(method, images, **options)
    config = settings_for(images, n_clusters, "default", upright, method, **(base | changes | {"seed": seed}))
    config = method.settings(config)
    for name, value in changes.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"setting {name}={value!r} is fixed by the method {method.name!r} at {getattr(config, name)!r}"
            )
    return Cell(method, label or setting_name(setting), config)


def _split_setting(method: "str | Method", setting: Changes) -> "tuple[Changes, Changes]":
    "Options of the method, and fields of TrainConfig."
    mark = f"{method}." if isinstance(method, str) else None
    dotted = [name for name in setting if "." in name]
    for name in dotted:
        if mark is None or not name.startswith(mark):
            owner = getattr(method, "name", method)
            raise ValueError(f"setting {name!r} is an option of another method than {owner!r}")
    options = {name.partition(".")[2]: setting[name] for name in dotted}
    return options, {name: value for name, value in setting.items() if "." not in name}


def seconds_per_epoch(
    cell: Cell,  # what to time
    images,  # (N,C,H,W) uint8 tensor, or features
) -> float:  # seconds of one epoch's steps, without its evaluation
    "Time a run of two epochs: of a method with phases, one epoch of each of the first two."
    config = dataclasses.replace(cell.config, epochs=2, log_every=1, eval_every=2, snapshot_every=0)
    config = cell.method.settings(config)
    model = cast(ClusterNet, build_network(cell.method, config))
    done = [event for event in train(model, images, config, method=cell.method) if isinstance(event, EpochDone)]
    return sum(event.seconds for event in done) / len(done)


def under_budget(
    cell: Cell,  # only its epochs change
    kind: str,  # "epochs", "images" or "seconds"
    amount: float,  # epochs; passes per image; or seconds
    images,  # (N,C,H,W) uint8 tensor
) -> Cell:  # at least one epoch
    "The cell with as many epochs as the budget allows."
    check_in("budget", kind, BUDGETS)
    if kind == "images":
        return _under_passes(cell, amount)
    cost = seconds_per_epoch(cell, images) if kind == "seconds" else 1
    return with_epochs(dataclasses.replace(cell, timed=kind == "seconds"), max(1, round(amount / cost)))


def total_passes(
    cell: Cell,
) -> int:
    "Images through the network per image in all epochs."
    return round(cell.method.passes(cell.config) * cell.config.epochs)


def _under_passes(cell: Cell, amount: float) -> Cell:
    "The epochs whose passes are nearest to `amount`; what an epoch costs may depend on their number."
    near = max(1, round(amount / cell.method.passes(cell.config)))
    tried = [with_epochs(cell, epochs) for epochs in range(max(1, near - 2), near + 3)]
    return min(tried, key=lambda one: (abs(total_passes(one) - amount), one.config.epochs))


def with_epochs(cell: Cell, epochs: int) -> Cell:
    "The cell with another number of epochs."
    return dataclasses.replace(cell, config=cell.method.settings(dataclasses.replace(cell.config, epochs=epochs)))


def default_amount(
    kind: str,  # "epochs" or "images"
    reference: TrainConfig,  # DCACN's preset
) -> float:
    "The budget that DCACN's preset uses: its epochs, or the passes per image in all of them."
    if kind == "seconds":
        raise ValueError("amount must be given for budget='seconds': the seconds of each run")
    return reference.epochs if kind == "epochs" else round(Method().passes(reference) * reference.epochs)


def make_grid(
    images,  # ImageSet, a uint8 tensor (N,C,H,W), or a FeatureSet: heads on the same features
    n_clusters: int,  # K
    methods: "Sequence[str | Method]" = ("dcacn",),  # names of method_names(), or methods of your own
    settings: "Settings | Sequence[Changes]" = ({},),  # changes of each setting, or label -> changes
    seeds: Sequence[int] = range(5),  # the same for all
    *,
    budget: str = "epochs",  # "epochs", "images" or "seconds"
    amount: "float | None" = None,  # of the budget; None: what DCACN's preset uses (not for seconds)
    upright: "bool | None" = None,  # as in `preset`
    **base,  # settings of all cells, e.g. width=8
) -> "list[Cell]":  # seed by seed, so that a stopped grid has whole seeds
    "The cells of methods × settings × seeds under one budget; heads on features keep their own, unless one is given."
    check_in("budget", budget, BUDGETS)
    own = isinstance(images, FeatureSet) and amount is None and "epochs" not in base
    if upright is None and not isinstance(images, FeatureSet):  # once, not in every cell
        upright = must_stay_upright(getattr(images, "images", images))[0]
    if amount is None and not own:
        amount = default_amount(budget, preset("default", images, n_clusters, upright=upright, **base))
    named = settings if isinstance(settings, dict) else {setting_name(changes): changes for changes in settings}
    tensor, cells, epochs = training_tensor(images), [], {}
    for seed, method, (label, changes) in itertools.product(seeds, methods, named.items()):
        cell = make_cell(images, n_clusters, method, changes, seed, label=label, upright=upright, **base)
        place = cell.folder.parent
        if own:
            cells.append(cell)
            continue
        if place not in epochs:  # one timing serves all seeds of a setting
            epochs[place] = under_budget(cell, budget, cast(float, amount), tensor).config.epochs
        cells.append(with_epochs(dataclasses.replace(cell, timed=budget == "seconds"), epochs[place]))
    return cells


FACTORS: "dict[str, Settings]" = {  # factor -> alternatives to the default, by label
    "multi-crop": {"2 local crops": {"n_local": 2}, "4 local crops": {"n_local": 4}},
    "attention": {
        "no attention": {"attention": False},
        "channel only": {"attention": "channel"},
        "spatial only": {"attention": "spatial"},
    },
    "decoupling": {
        "instance coupled": {"decoupled_instance": False},
        "cluster coupled": {"decoupled_cluster": False},
        "both coupled": {"decoupled_instance": False, "decoupled_cluster": False},
    },
    "cluster axis": {"columns": {"cluster_axis": "cluster"}},
    "balance": {"no balance term": {"balance_weight": 0.0}, "balance x 2": {"balance_weight": 2.0}},
    "head start": {"no head start": {"cluster_start": 0.0}},
}
NONE_OF_THE_THREE: Changes = {
    "n_local": 0,
    "attention": False,
    "decoupled_instance": False,
    "decoupled_cluster": False,
}


def one_at_a_time(
    factors: "dict[str, Settings]" = FACTORS,  # factor -> label -> changes
) -> Settings:  # the default first, all three ideas switched off last
    "The default, each alternative alone and, if all three are among the factors, none of the paper's ideas."
    settings: Settings = {"default": {}}
    for alternatives in factors.values():
        settings |= alternatives
    if {"multi-crop", "attention", "decoupling"} <= factors.keys():
        settings["none of the three"] = NONE_OF_THE_THREE
    return settings


def full_factorial(
    factors: "dict[str, Settings]" = FACTORS,  # factor -> label -> changes
) -> Settings:  # the default first
    "Every combination of the alternatives of all factors, the default of each among them."
    settings: Settings = {}
    unchanged: tuple[str, Changes] = ("", {})
    for choice in itertools.product(*([unchanged, *alternatives.items()] for alternatives in factors.values())):
        label = " + ".join(name for name, _ in choice if name) or "default"
        settings[label] = {name: value for _, changes in choice for name, value in changes.items()}
    return settings
