"Which process this is, by what launchers set in the environment."

import pytest

from dcacn_nb.core.launch import check_alone, launched, restarted, restarts


def put(monkeypatch, **values):
    "An environment with these variables alone."
    for name in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "values, expected",
    [
        ({}, (0, 1)),
        ({"RANK": "", "WORLD_SIZE": ""}, (0, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "3"}, (0, 1)),  # some batch systems number jobs that have nothing to do with one another
        ({"RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
    ],
)
def test_launched(monkeypatch, values, expected):
    "Without a launcher there is one process."
    put(monkeypatch, **values)
    assert launched() == expected


@pytest.mark.parametrize(
    "values, said", [({"WORLD_SIZE": "two"}, "got 'two'"), ({"RANK": "4", "WORLD_SIZE": "4"}, "got 4")]
)
def test_nonsense_is_refused(monkeypatch, values, said):
    "The message names the variable."
    put(monkeypatch, **values)
    with pytest.raises(ValueError, match=said):
        launched()


def test_what_each_would_do_for_itself_is_refused(monkeypatch):
    "One process is never refused."
    put(monkeypatch)
    check_alone("run_grid")
    put(monkeypatch, RANK="1", WORLD_SIZE="2")
    with pytest.raises(ValueError, match="run_grid works in one process, and 2 were started"):
        check_alone("run_grid")


def test_restarts(monkeypatch):
    "torchrun says how often it may start again, and how often it has."
    put(monkeypatch)
    assert not restarts() and not restarted()
    put(monkeypatch, TORCHELASTIC_MAX_RESTARTS="3", TORCHELASTIC_RESTART_COUNT="0")
    assert restarts() and not restarted()
    put(monkeypatch, TORCHELASTIC_MAX_RESTARTS="3", TORCHELASTIC_RESTART_COUNT="1")
    assert restarted()
