"""The command `dcacn`."""


def main() -> None:
    "Entry point of the `dcacn` command."
    from dcacn_nb.cli.app import app

    app(prog_name="dcacn")
