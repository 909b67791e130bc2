"""Public names of a package that are imported when they are first used."""

import importlib
from collections.abc import Callable


def lazy_names(
    package: str,  # its __name__
    names: "dict[str, str]",  # public name -> module below the package that defines it
) -> "tuple[Callable[[str], object], Callable[[], list[str]]]":  # the package's __getattr__ and __dir__
    "Import a public name on first use: `__getattr__, __dir__ = lazy_names(__name__, {...})`."

    def load(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(sorted(names))}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return load, lambda: sorted(names)
