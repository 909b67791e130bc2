"""The typer application: its commands, and what all of them share."""

import logging
import sys
from typing import Annotated

import typer

from dcacn_nb.cli import apply, grids, sources, train
from dcacn_nb.cli.output import call, say

ABOUT = "Deep image clustering: decoupled contrastive learning with multi-crop views and attention."


class Group(typer.core.TyperGroup):
    "A group of commands that accepts `--debug` anywhere on the line."

    def parse_args(self, ctx, args: "list[str]"):
        "Move `--debug` to the front, where it belongs to the program and not to a command."
        rest = [arg for arg in args if arg != "--debug"]
        return super().parse_args(ctx, ["--debug"] * (len(rest) < len(args)) + rest)


app = typer.Typer(cls=Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=ABOUT)
for command in (
    train.demo,
    train.fit,
    train.resume,
    apply.evaluate,
    apply.predict,
    apply.report,
    grids.compare,
    grids.ablate,
):
    app.command()(command)
app.add_typer(sources.app, name="data")


def _version(wanted: bool) -> None:
    "Print the version and exit."
    if wanted:
        from dcacn_nb import __version__

        say(f"dcacn_nb {__version__}")
        raise typer.Exit()


@app.callback(help=ABOUT)
def start(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; anywhere on the line.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    "Prepare a call."
    call.debug, call.json = debug, False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger("dcacn_nb").handlers[:] = [handler]  # not the root: other libraries log too much
