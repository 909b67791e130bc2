"""The command `dcacn`."""

import atexit
import gc
import sys


def main() -> None:
    "Entry point of the `dcacn` command."
    from dcacn_nb.cli.signals import catch_signals, exit_code, let_go

    catch_signals()
    atexit.register(gc.freeze)  # at its end Python would look for garbage among millions of objects, for seconds
    try:
        from dcacn_nb.cli.app import app

        app(prog_name="dcacn")
    except KeyboardInterrupt:  # before a command had begun
        sys.exit(exit_code())
    finally:
        let_go()
