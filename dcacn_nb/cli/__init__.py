"""The command `dcacn`."""

import atexit
import gc
import os
import sys


def main() -> None:
    "Entry point of the `dcacn` command."
    from dcacn_nb.cli.signals import catch_signals, exit_code, let_go

    _fill_closed_streams()
    catch_signals()
    atexit.register(gc.freeze)  # at its end Python would look for garbage among millions of objects, for seconds
    try:
        from dcacn_nb.cli.app import app

        app(prog_name="dcacn")
    except KeyboardInterrupt:  # before a command had begun
        sys.exit(exit_code())
    finally:
        let_go()


def _fill_closed_streams() -> None:
    "Of a stream that was closed before the start (`>&-`), nobody reads: a file opened later must not get its number."
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # open to the end
