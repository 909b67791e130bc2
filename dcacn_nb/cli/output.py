"""Words for people, one JSON object for machines, and for errors one line and an exit code."""

import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import typer
from rich.console import Console
from rich.table import Table

options = SimpleNamespace(debug=False, json=False)  # of the call under way; set anew by every call


def say(*parts: object) -> None:
    "Text or a table for people: standard output, or standard error when a machine reads the former."
    _console(options.json).print(*parts)


def complain(text: str) -> None:
    "One message on standard error."
    _console(True).print(text)


def _console(stderr: bool) -> Console:
    "Plain output, in a notebook too; long lines are left to the terminal, so that paths and commands can be copied."
    return Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False, force_jupyter=False)


def answer(result: dict) -> None:
    "The one JSON object of a call, if it was asked for."
    if options.json:
        sys.stdout.write(json.dumps(_strict(result)) + "\n")


def _strict(value: object) -> object:
    "A copy that strict JSON can hold: no NaN, no NumPy numbers, no paths."
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def rows_table(
    rows: "list[dict]",  # one dictionary a row
    **titles: str,  # key -> the column's title, in the order of the columns
) -> Table:
    "Dictionaries as a table for `say`."
    table = Table()
    for title in titles.values():
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[key]) for key in titles))
    return table


class BadInput(Exception):
    "Input that cannot be used; its text says what would be right."


@contextmanager
def checking(
    *more: "type[Exception]",  # further errors that mean bad input here
) -> Iterator[None]:
    "Errors raised in here are about the input: exit code 2."
    try:
        yield
    except (ValueError, TypeError, OSError, *more) as error:
        raise BadInput(_in_plain_words(error)) from error


def _in_plain_words(error: Exception) -> str:
    "What an error says; of a file, its name first, and no number that only programmers know."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error).replace("on_error='skip'", "--on-error skip")  # as this program's commands call it


def guarded(command: Callable) -> Callable:
    "A command whose exceptions become one clear line and an exit code."

    @functools.wraps(command)
    def run(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            complain("Interrupted.")
            raise typer.Exit(130) from None
        except Exception as error:
            if options.debug:
                raise
            bad = isinstance(error, BadInput)
            complain(f"Error: {error}" if bad else f"Failed: {type(error).__name__}: {error}\n(--debug shows where)")
            raise typer.Exit(2 if bad else 1) from None

    return run
