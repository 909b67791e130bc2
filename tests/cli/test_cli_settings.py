"Settings and seeds from text."

import pytest
from command import dcacn

from dcacn_nb.cli.settings import check_settings, parse_seeds, parse_settings


def test_text_becomes_what_the_default_is():
    found = parse_settings(["epochs=3", "lr=1e-3", "compile=no", "global_scale=0.3,1", "attention=spatial"])
    assert found == {
        "epochs": 3,
        "lr": 0.001,
        "compile": False,
        "global_scale": (0.3, 1.0),
        "attention": "spatial",
    }
    assert type(found["epochs"]) is int and type(parse_settings(["flip=0"])["flip"]) is float
    assert parse_settings(["attention=no"]) == {"attention": False}
    assert parse_settings(None) == parse_settings([]) == {}


@pytest.mark.parametrize(
    "text, message",
    [
        ("lr=fast", "--set lr=fast: lr must be a number"),
        ("lr", "--set lr: write NAME=VALUE"),
        ("learning_rate=1", "setting must be one of"),
        ("epochs=1e3", "--set epochs=1e3: epochs must be a whole number"),
        ("epochs=1_0", "--set epochs=1_0: epochs must be a whole number"),
        ("lr=1_0.5", "lr must be a number"),
        ("n_local=2.0", "--set n_local=2.0: n_local must be a whole number"),
        ("compile=maybe", "--set compile=maybe: compile must be true or false"),
        ("ratio=wide", "--set ratio=wide: ratio must be two numbers with a comma, such as 0.5,1"),
    ],
)
def test_wrong_settings_are_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_settings([text])


def test_settings_are_checked_without_images():
    "Crop sizes wait for the images, since they must fit together."
    check_settings({"epochs": 3, "global_size": 999}, 2, "cc")
    for changes, clusters, method, message in [
        ({"epochs": 0}, 2, "cc", "epochs must be >= 1"),
        ({}, 1, "cc", "-k must be >= 2"),
        ({}, 2, "ccc", "did you mean 'cc'"),
        ({"device": "gpu"}, 2, "cc", "device must be"),
    ]:
        with pytest.raises((ValueError, RuntimeError), match=message):
            check_settings(changes, clusters, method)


def test_seeds():
    assert parse_seeds("0-4") == [0, 1, 2, 3, 4] and parse_seeds("0,3,7") == [0, 3, 7] and parse_seeds("5") == [5]


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,1", "0-"])
def test_wrong_seeds_are_refused(text):
    with pytest.raises(ValueError, match=f"--seeds {text}: "):
        parse_seeds(text)


@pytest.mark.parametrize(
    "line, message",
    [
        ("-k 2 --set n_clusters=3", "--set n_clusters=3: n_clusters is given as 2 too; give it once"),
        ("-k auto --set n_clusters=3", "given as auto too"),
        ("--epochs 1 --set epochs=4", "given as 1 too"),
        ("--seed 1 --set seed=2", "given as 1 too"),
        ("--image-size 8 --set image_size=16", "given as 8 too"),
    ],
)
def test_contradictions_are_refused(line, message):
    "An option and --set that say different things."
    assert message in dcacn("fit", "digits", *line.split(), code=2).stderr


def test_what_is_said_twice_alike_is_no_contradiction():
    "A default value, such as that of --seed, is not given; of two --set the last counts."
    assert parse_settings(["epochs=4", "epochs=5"]) == {"epochs": 5}
    assert parse_settings(["epochs=4", "epochs=4"], epochs=4, n_clusters=None) == {"epochs": 4}
    said = dcacn("fit", "digits", "--set", "seed=2", "--set", "epochs=0", code=2).stderr
    assert "epochs must be >= 1" in said
