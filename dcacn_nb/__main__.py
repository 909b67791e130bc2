"""`python -m dcacn_nb` is the command `dcacn`."""

from dcacn_nb.cli import main

if __name__ == "__main__":
    main()
