"Argument checks: good values come back as plain ones, bad ones are refused by name."

import numpy as np
import pytest
import torch

from dcacn_nb.core.checks import check_features, check_float, check_in, check_int, describe


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


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, lambda rows: torch.from_numpy(rows).bfloat16()])
def test_check_features_names_the_rows(make):
    "NaN and infinity, then values too large or small; views are looked at, zeros are taken."
    rows = np.ones((3000, 2, 4), np.float32)
    check_features(make(rows)), check_features(make(rows * 0))
    for value, says in [(np.nan, "row 2999"), (-np.inf, "row 2999"), (-(2.0**60), r"got 1\.15292e\+18 in row 2999")]:
        rows[2999, 1, 3] = value
        with pytest.raises(ValueError, match=says):
            check_features(make(rows))
    with pytest.raises(ValueError, match="finite, got NaN or infinity in 1 of 2 rows"):
        check_features(np.ma.masked_invalid([[1.0, 2.0], [np.inf, 3.0]]))
