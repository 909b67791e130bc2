"""What a command writes: words for people, one JSON object for machines, and for errors one line and an exit code.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | the input cannot be used: a wrong option, a missing folder, a damaged file; one line says what would be right |
| 1 | something failed that the user could not have known |
| 130 | Ctrl-C (128 + the number of the signal, as shells count; 143 after SIGTERM, 129 after SIGHUP) |

Everything that is written goes through this module, which makes it safe to show: see `printable`.
"""

import functools
import json
import math
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import typer
from rich.console import Console
from rich.table import Table

from dcacn_nb.cli import signals
from dcacn_nb.core.files import is_full_disk
from dcacn_nb.core.text import one_line, printable

# switches of the present call, the options given to it (argument -> as written), what an interrupted or failed call
# adds; every call sets them again
call = SimpleNamespace(debug=False, json=False, on_interrupt="", on_failure="", rank=0, given={}, lost="")


def steady_streams() -> None:
    "Let what a stream's encoding lacks be written as an escape: a Chinese name must not end a command on cp1252."
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(*parts: object) -> None:
    "Text or a table for people: standard output, or standard error when a machine reads the former."
    _print(call.json, *parts)


def say_text(text: str) -> None:
    "Sentences without a path or a command to copy: in a terminal, lines end between words."
    width = shutil.get_terminal_size().columns
    terminal = (sys.stderr if call.json else sys.stdout).isatty()
    say(textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False) if terminal else text)


def complain(text: str) -> None:
    "One message on standard error."
    _print(True, text)


def _print(stderr: bool, *parts: object) -> None:
    "Plain output, in a notebook too; long lines are left to the terminal, so that paths and commands can be copied."
    if call.rank:  # of several processes that do the same, the first speaks
        return
    console = Console(stderr=stderr, soft_wrap=True, markup=False, highlight=False, force_jupyter=False)
    shown = [printable(part) if isinstance(part, str) else part for part in parts]
    stream = sys.stderr if stderr else sys.stdout
    with _heard(stream):
        with console.capture() as text:  # rich would end the process where nobody listens
            console.print(*shown)
        stream.write(text.get())
        stream.flush()


def answer(result: dict) -> None:
    "The one JSON object of a call, if it was asked for."
    if call.json and not call.rank:
        with _heard(sys.stdout):
            sys.stdout.write(json.dumps(_strict(result)) + "\n")
            sys.stdout.flush()


@contextmanager
def _heard(stream: TextIO) -> Iterator[None]:
    "Write; if nobody listens any more, as after `| head` or in a closed terminal, the work goes on in silence."
    try:
        yield
    except OSError as error:
        if is_full_disk(error) and stream is sys.stdout:  # somebody wants it: said at the end, see `check_written`
            call.lost = error.strerror
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())  # or the interpreter would complain at its end


def check_written() -> int:  # exit code
    "At the end, say whether standard output was written."
    with _heard(sys.stdout):
        sys.stdout.flush()  # of what click has written itself
    if not call.lost:
        return 0
    complain(f"Failed: standard output: {call.lost}")
    return 1


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
    rows: "list[dict]",  # one dictionary per row; a list in it is a cell of several lines
    **titles: str,  # key -> the column's title, in the order of the columns
) -> Table:
    "Dictionaries as a table for `say`."
    table = Table()
    for title in titles.values():
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in titles))
    return table


def _cell(value: object) -> str:
    "A value as text; what it holds begins no new line, only the items of a list do."
    return "\n".join(map(one_line, value)) if isinstance(value, list) else one_line(str(value))


def resume_command(
    run_dir: Path,  # a run folder
) -> str:
    "The line that resumes a run; with the program's folder if that is not on the PATH, as after `make demo`."
    called, found = Path(sys.argv[0]), shutil.which("dcacn")
    on_path = called.stem != "dcacn" or (found and called.exists() and called.samefile(found))
    return f"{'dcacn' if on_path else shlex.quote(str(called))} resume {shlex.quote(str(run_dir))}"


class BadInput(Exception):
    "Input that cannot be used; its text says what would be right."


def refuse_idle(
    why: str,  # what the options are for, and that this is not there
    *names: str,  # of the command's arguments
) -> None:
    "Refuse options that were given and would do nothing: whoever gives one expects something of it."
    for name in names:
        if name in call.given:
            raise BadInput(f"{call.given[name]} is for {why}; leave it out")


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
    "What an error says; of a file, its name first, without the error number that means nothing to a user."
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error).replace("on_error='skip'", "--on-error skip")  # as the command line spells it


def guarded(command: Callable) -> Callable:
    "A command whose exceptions become one clear line and an exit code; its `--json` is noted for the whole call."

    @functools.wraps(command)
    def run(*args, **kwargs):
        call.json, call.on_interrupt, call.on_failure = kwargs.get("as_json", False), "", ""
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            raise _interrupted() from None
        except Exception as error:
            if signals.interrupted():  # a library made another error of it
                raise _interrupted() from None
            if call.debug:
                raise
            raise _failed(error) from None

    return run


def _interrupted() -> typer.Exit:
    "Say that a call was interrupted, and how to go on."
    signals.let_go()
    complain(f"Interrupted. {call.on_interrupt}".strip())
    return typer.Exit(signals.exit_code())


def _failed(error: Exception) -> typer.Exit:
    "Say what was wrong: in one line if the user can put it right, else with the way to find out more."
    bad = isinstance(error, BadInput)
    what = str(error) or "without a message"
    rank, call.rank = call.rank, 0  # an error may be that of one process alone
    text = f"Error: {what}" if bad else f"Failed: {type(error).__name__}: {what}\n(--debug shows where)"
    text = "\n".join(filter(None, [text, call.on_failure]))
    complain(f"[process {rank}] {text}" if rank else text)
    return typer.Exit(2 if bad else 1)
