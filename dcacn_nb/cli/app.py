"""The typer application: its commands, and what all of them share."""

import difflib
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from dcacn_nb.cli import apply, cache, duplicates, embed, export, grids, plan, similar, sources, track, train
from dcacn_nb.cli.command import Command, Commands
from dcacn_nb.cli.output import call, check_written, complain, say, steady_streams
from dcacn_nb.core.files import is_full_disk
from dcacn_nb.core.launch import check_alone, launched
from dcacn_nb.core.text import printable

ABOUT = "Deep image clustering: decoupled contrastive learning with multi-crop views and attention."
TOGETHER = ("fit", "resume")  # commands that several processes may run as one
UsageError = typer.BadParameter.__base__  # Click's; typer brings a Click of its own or not, by its version


@contextmanager
def _printable_errors() -> Iterator[None]:
    "Wrong options are quoted in messages: make these safe to show."
    try:
        yield
    except UsageError as error:
        error.message = printable(error.message.replace("Value error, ", "") + _near_choice(error.message))
        raise


def _near_choice(message: str) -> str:
    "Of a misspelt word, the one that may have been meant."
    word, found, rest = message.partition(" is not one of ")
    names = re.findall(r"'([^']*)'", rest) if found else []
    near = difflib.get_close_matches(word.rpartition(" ")[2].strip("'"), names, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


class _Formatter(logging.Formatter):
    "Messages of the log, which may name files."

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class Group(Commands):
    "A group of commands that accepts `--debug` anywhere on the line, and shows what is safe to show alone."

    def main(self, *args, **kwargs):
        "Run the program."
        steady_streams()
        call.debug, call.lost = False, ""
        try:
            return super().main(*args, **kwargs)
        except SystemExit as end:
            raise SystemExit(check_written() or end.code) from None
        except OSError as error:  # the help that click writes
            if call.debug or not is_full_disk(error):
                raise
            call.lost = error.strerror
            raise SystemExit(check_written()) from None

    def make_context(self, *args, **kwargs):
        "Parse the line up to the name of a command."
        with _printable_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx):
        "Parse the rest of the line, and call the command."
        with _printable_errors():
            return super().invoke(ctx)

    def parse_args(self, ctx, args: "list[str]"):
        "Move `--debug` to the front, where it belongs to the program and not to a command."
        rest = [arg for arg in args if arg != "--debug"]
        return super().parse_args(ctx, ["--debug"] * (len(rest) < len(args)) + rest)


app = typer.Typer(cls=Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=ABOUT)
for command in (
    train.demo,
    train.fit,
    train.resume,
    plan.plan,
    apply.evaluate,
    apply.predict,
    apply.report,
    embed.embed,
    similar.similar,
    duplicates.duplicates,
    export.export,
    track.track,
    grids.compare,
    grids.ablate,
    grids.grid,
):
    app.command(cls=Command)(command)
app.add_typer(sources.app, name="data")
app.add_typer(cache.app, name="cache")


def _version(wanted: bool) -> None:
    "Print the version and exit."
    if wanted:
        from dcacn_nb import __version__

        say(f"dcacn_nb {__version__}")
        raise typer.Exit()


def _take_place(command: "str | None") -> None:
    "Of several processes that were started together, note which one this is; most commands are for one alone."
    call.rank = 0
    try:
        rank = launched()[0]
        if command not in TOGETHER:
            check_alone(f"`dcacn {command}`")
    except ValueError as error:
        complain(f"Error: {error}")
        raise typer.Exit(2) from None
    call.rank = rank


@app.callback(help=ABOUT)
def start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; anywhere on the line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    "Prepare a call."
    call.debug, call.json = debug, False
    try:
        os.getcwd()
    except OSError as error:
        complain(f"Error: the current folder cannot be used ({error.strerror}); change to one that is there")
        raise typer.Exit(2) from None
    _take_place(context.invoked_subcommand)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR if call.rank else logging.NOTSET)
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.getLogger("dcacn_nb").handlers[:] = [handler]  # not the root: other libraries log too much
