"Argument checks: good values come back as plain ones, bad ones are refused by name."

import numpy as np
import pytest

from dcacn_nb.core.checks import check_float, check_in, check_int, describe


@pytest.mark.parametrize(
    "check, arguments, options, error, words",
    [
        (check_int, ("n_clusters", 1), {"low": 2}, ValueError, r"n_clusters must be >= 2, got 1"),
        (check_int, ("n_clusters", 9), {"low": 2, "high": 8}, ValueError, r"n_clusters must be >= 2 and <= 8, got 9"),
        (check_int, ("n_clusters", True), {"low": 2}, TypeError, r"must be a whole number, got True \(bool\)"),
        (check_int, ("n_clusters", 2.0), {}, TypeError, r"must be a whole number, got 2.0 \(float\)"),
        (
            check_float,
            ("temperature", -1.0),
            {"low": 0, "open_low": True},
            ValueError,
            "temperature must be > 0, got -1.0",
        ),
        (check_float, ("temperature", 0), {"low": 0, "open_low": True}, ValueError, "temperature must be > 0, got 0"),
        (check_float, ("temperature", float("nan")), {}, ValueError, "temperature must be finite, got nan"),
        (check_float, ("temperature", False), {}, TypeError, r"temperature must be a number, got False \(bool\)"),
        (check_in, ("source", "cifar-10", ["digits", "cifar10"]), {}, ValueError, "did you mean 'cifar10'"),
        (
            check_in,
            ("split", "xyz", ["all", "train"]),
            {},
            ValueError,
            "split must be one of 'all', 'train', got 'xyz'$",
        ),
    ],
)
def test_bad_values_are_refused_by_name(check, arguments, options, error, words):
    with pytest.raises(error, match=words):
        check(*arguments, **options)


def test_a_hint_stands_before_a_long_list():
    "Of many valid values, the nearest come first: at the end they would not be seen."
    with pytest.raises(ValueError, match="13 known ones, got 'ab'; did you mean 'b' or 'a'[?]$"):
        check_in("letter", "ab", list("abcdefghijklm"))


def test_good_values_come_back_as_plain_ones():
    assert check_int("k", np.int64(3), low=2) == 3 and type(check_int("k", np.int64(3))) is int
    assert check_float("x", 0, low=0) == 0.0 and type(check_float("x", np.float32(1))) is float
    assert check_in("split", "all", ("all", "train")) == "all"


def test_values_are_described_for_messages():
    assert describe(np.zeros((2, 3), np.uint8)) == "ndarray (2, 3) uint8"
    assert describe([1, 2]) == "list of length 2" and describe(3) == "int"
