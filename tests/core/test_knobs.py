"Settings that describe themselves: checks and words come from the same line as the default."

import json
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pytest

from dcacn_nb.core.knobs import allowed, check_knobs, knob


@dataclass(frozen=True)
class Settings:
    "One field of each kind."

    epochs: int = knob(3, "passes over the images", low=1)
    channels: int = knob(3, "grey or colour", choices=(1, 3))
    lr: float = knob(0.1, "learning rate", low=0, open_low=True, paper=0.3, source="CC", group="optimisation")
    hue: float = knob(0.1, "turns of the hue circle", low=0, high=0.5)
    area: "tuple[float, float]" = knob((0.5, 1.0), "share of the image", low=0, high=1, open_low=True)
    optimizer: str = knob("adam", "how weights move", choices=("adamw", "adam"))
    attention: "bool | str" = knob(True, "which half", choices=(True, False, "channel"))
    compile: bool = knob(False, "whether to compile")
    device: str = knob("auto", "'auto', 'cpu' or 'cuda:1'")

    def __post_init__(self):
        check_knobs(self)


@pytest.mark.parametrize(
    "wrong, kind, message",
    [
        ({"epochs": 0}, ValueError, "epochs must be >= 1, got 0"),
        ({"epochs": 1.5}, TypeError, r"epochs must be a whole number, got 1.5 \(float\)"),
        ({"channels": 4}, ValueError, "channels must be one of 1, 3, got 4"),
        ({"channels": True}, TypeError, "channels must be a whole number"),
        ({"channels": 3.0}, TypeError, "channels must be a whole number"),
        ({"lr": 0}, ValueError, "lr must be > 0, got 0"),
        ({"lr": float("nan")}, ValueError, "lr must be > 0, got nan"),
        ({"hue": 0.6}, ValueError, "hue must be >= 0 and <= 0.5, got 0.6"),
        ({"area": 0.5}, TypeError, r"area must be a pair \(smallest, largest\), got 0.5"),
        ({"area": (0, 1)}, ValueError, "area must be > 0 and <= 1, got 0"),
        ({"optimizer": "adamv"}, ValueError, "optimizer must be one of 'adamw', 'adam', got 'adamv'; did you mean"),
        ({"attention": "spatial"}, ValueError, "attention must be one of True, False, 'channel'"),
        ({"compile": "yes"}, ValueError, "compile must be one of True, False, got 'yes'"),
        ({"device": 1}, TypeError, "device must be a text, got 1; it is 'auto', 'cpu' or 'cuda:1'"),
    ],
)
def test_a_wrong_value_is_refused_with_the_fields_name_and_range(wrong, kind, message):
    with pytest.raises(kind, match=message):
        Settings(**wrong)
    with pytest.raises(kind, match=message):
        replace(Settings(), **wrong)


def test_numpy_values_become_plain_ones_that_json_can_hold():
    settings = Settings(
        epochs=np.int64(2), lr=np.float64(0.5), area=[np.float64(0.25), 1], compile=np.True_, attention=1
    )
    assert json.loads(json.dumps(asdict(settings))) == {
        "epochs": 2,
        "channels": 3,
        "lr": 0.5,
        "hue": 0.1,
        "area": [0.25, 1.0],
        "optimizer": "adam",
        "attention": True,
        "compile": True,
        "device": "auto",
    }
    assert settings.attention is True and settings.area == (0.25, 1.0) and type(settings.epochs) is int


def test_the_range_in_words_and_the_source_stand_in_the_field():
    described = {one.name: allowed(one) for one in fields(Settings)}
    assert described == {
        "epochs": ">= 1",
        "channels": "1, 3",
        "lr": "> 0",
        "hue": ">= 0 and <= 0.5",
        "area": "two numbers > 0 and <= 1",
        "optimizer": "'adamw', 'adam'",
        "attention": "True, False, 'channel'",
        "compile": "True, False",
        "device": "any text",
    }
    lr, hue = (one for one in fields(Settings) if one.name in ("lr", "hue"))
    assert (lr.metadata["paper"], lr.metadata["source"], lr.metadata["group"]) == (0.3, "CC", "optimisation")
    assert "paper" not in hue.metadata
