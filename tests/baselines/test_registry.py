"Methods are found by their names, and a wrong name is refused before anything is trained."

import pytest

from dcacn_nb.method.step import Method
from dcacn_nb.methods import find_method, method_names


def test_every_method_is_found_by_its_name():
    names = method_names()
    assert names[0] == "dcacn" and names[1:] == sorted(names[1:]) and {"kmeans", "cc", "propos"} <= set(names)
    assert [find_method(name).name for name in names] == names


def test_dcacn_is_the_method_without_arguments():
    assert find_method("dcacn") == Method()


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("dcac", {}, "method must be one of .* got 'dcac'; did you mean 'dcacn'"),
        ("_parts", {}, "method must be one of"),  # what baselines share is not a method
        ("dcacn", {"heads": 5}, "dcacn has no options, got heads"),
    ],
)
def test_a_wrong_name_or_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        find_method(name, **options)
