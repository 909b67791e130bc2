"""Whether weights may be fetched: not because a run folder, which may come from a stranger, asks for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_refused: "ContextVar[bool]" = ContextVar("refused", default=False)


@contextmanager
def no_downloads(
    refused: bool = True,  # False: downloads are allowed as always
) -> "Iterator[None]":
    "In this block, `check_download` refuses."
    token = _refused.set(refused)
    try:
        yield
    finally:
        _refused.reset(token)


def check_download(
    what: str,  # e.g. "the weights of encoder 'resnet50'"
    remedy: str,  # how a user asks for the download
) -> None:
    "Called before any download of weights; an error where only a run folder asks for it."
    if _refused.get():
        raise ValueError(f"{what} are not on this computer, and a run folder alone starts no download; {remedy}")
