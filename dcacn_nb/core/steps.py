"""Work in steps: a generator that yields None wherever its caller may pause it, and returns what it has come to."""

from collections.abc import Generator
from typing import Any


def run_through(
    steps: "Generator[Any, None, Any]",
) -> Any:  # what it returns
    "Do all the work at once, without a pause."
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value
