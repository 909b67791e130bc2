"""Join the ES modules of a widget into the one text that anywidget takes.

A browser loads a widget from a blob, in which `import ... from "./x.js"` leads nowhere. So the modules of `static/` are
joined when a widget class is made: no build step, no generated file. Each module keeps a scope of its own: it becomes a
function that returns its exports.
"""

import re
from pathlib import Path

IMPORT = re.compile(r'^import \{([^{}]*)\} from "\./([\w-]+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) ([A-Za-z_$][\w$]*))", re.MULTILINE)
DEFAULT = re.compile(r"^export default (?=[^;{}]+;$)", re.MULTILINE)
# What is left of imports and exports, and an import while the code runs; in JSDoc types, `import(` follows a brace.
UNKNOWN = re.compile(r"^\s*(?:import|export)\b.*|(?<![{@\w])import ?\(.*", re.MULTILINE)
NAME = re.compile(r"([A-Za-z_$][\w$]*)(?: as ([A-Za-z_$][\w$]*))?")
KNOWN = 'import {a, b as c} from "./file.js"; export function, class or const; one export default with an expression'


def bundle(
    folder: Path,  # that holds the modules
    entry: str,  # the module whose default export the browser gets, without .js
    source: "str | None" = None,  # its text, if it is not in the folder: a widget written in a notebook
) -> str:  # one ES module
    "The module `entry` and all that it imports; each stands after those that it needs."
    scopes: dict[str, str] = {}
    exports: dict[str, list[str]] = {}

    def add(name: str, above: "tuple[str, ...]") -> None:
        if name in above:
            raise ValueError(f"modules must not import each other in a circle: {' -> '.join([*above, name])}")
        if name in scopes:
            return
        text = source if source is not None and not above else _read(folder, name, above)
        for _, needed in IMPORT.findall(text):
            add(needed, (*above, name))
        exports[name] = EXPORT.findall(text) + ["default"] * bool(DEFAULT.search(text))
        scopes[name] = _scope(name, text, exports)

    add(entry, ())
    if "default" not in exports[entry]:
        raise ValueError(f"{entry}.js must end with `export default <expression>;`, or the browser gets nothing")
    return "\n".join([*scopes.values(), f"export default {_variable(entry)}.default;\n"])


def _read(folder: Path, name: str, above: "tuple[str, ...]") -> str:
    "The text of a module of the folder."
    path = folder / f"{name}.js"
    if not path.is_file():
        raise FileNotFoundError(f"{above[-1] if above else 'a widget'} needs {name}.js, which is not in {folder}")
    return path.read_text(encoding="utf-8")


def _scope(name: str, source: str, exports: "dict[str, list[str]]") -> str:
    "One module as a function that is called once; line numbers stay, counted from its first line."
    body = IMPORT.sub(lambda found: _take(name, found, exports), source)
    body = DEFAULT.sub("const $default = ", EXPORT.sub("", body), count=1)
    if unknown := UNKNOWN.search(body):
        line = body[: unknown.start()].count("\n") + 1
        raise ValueError(f"{name}.js, line {line}: cannot join {unknown[0].strip()!r}; known forms: {KNOWN}")
    returned = ", ".join("default: $default" if one == "default" else one for one in exports[name])
    return f"const {_variable(name)} = (() => {{ // {name}.js\n{body}return {{{returned}}};\n}})();"


def _take(name: str, found: re.Match, exports: "dict[str, list[str]]") -> str:
    "An import as `const {a, b: c} = $module;`, on as many lines as before."
    parts = [part.strip() for part in found[1].split(",") if part.strip()]
    for part in parts:
        match = NAME.fullmatch(part)
        if match is None or match[1] not in exports[found[2]] or match[1] == "default":
            raise ValueError(f"{name}.js imports {part!r}, but {found[2]}.js exports only {exports[found[2]]}")
    return f"const {{{found[1].replace(' as ', ': ')}}} = {_variable(found[2])};"


def _variable(name: str) -> str:
    "The name of a module's exports in the joined text; modules themselves use no such names."
    return "$" + name.replace("-", "_")
