"The loader that joins the ES modules of a widget: order, scopes, and what it refuses."

import re
import shutil
import subprocess

import pytest

from dcacn_nb.report.palette import COLORS, SCORES
from dcacn_nb.widgets.live import STATIC, stylesheet
from dcacn_nb.widgets.modules import bundle

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed: the joined modules cannot be run")
WIDGETS = sorted(p.stem for p in STATIC.glob("*.js") if "export default" in p.read_text(encoding="utf-8"))


def write(folder, **modules):
    "A folder of modules: name=text."
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder


def run(text):
    "What the joined text writes to its console."
    done = subprocess.run(
        [NODE, "--input-type=module", "-"], input=text, capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_each_module_once_after_what_it_needs(tmp_path):
    write(
        tmp_path,
        top='import {left} from "./left.js";\nimport {right} from "./right.js";\nexport default left + right;\n',
        left='import {base} from "./base.js";\nexport const left = base;\n',
        right='import {base} from "./base.js";\nexport const right = base;\n',
        base="export const base = 1;\n",
        unused="this is not even JavaScript",
    )
    text = bundle(tmp_path, "top")
    assert re.findall(r"^const \$(\w+) = \(", text, re.MULTILINE) == ["base", "left", "right", "top"]
    assert text.endswith("export default $top.default;\n") and not re.search(r"^import", text, re.MULTILINE)


@needs_node
def test_names_stay_in_their_module(tmp_path):
    write(
        tmp_path,
        one='const secret = "one";\nexport function say() { return secret; }\n',
        two='import {\n  say as ask,\n} from "./one.js";\nconst secret = "two";\n'
        "export class Say { ask() { return ask() + secret; } }\n",
        top='import {say} from "./one.js";\nimport {Say} from "./two.js";\nconst secret = [say(), new Say().ask()];\n'
        "console.log(secret.join(' '));\nexport default secret;\n",
    )
    assert run(bundle(tmp_path, "top")) == ["one", "onetwo"]


def test_lines_keep_their_numbers(tmp_path):
    "An error of the browser names a line of the joined text; the module's first line is known from its comment."
    write(tmp_path, base="export const a = 1;\n", top='import {\n  a,\n} from "./base.js";\n\nexport default a;\n')
    lines = bundle(tmp_path, "top").splitlines()
    assert lines[lines.index("const $top = (() => { // top.js") + 5] == "const $default = a;"


def test_a_circle_is_refused(tmp_path):
    write(
        tmp_path,
        a='import {b} from "./b.js";\nexport const a = 1;\nexport default a;\n',
        b='import {c} from "./c.js";\nexport const b = 1;\n',
        c='import {a} from "./a.js";\nexport const c = 1;\n',
    )
    with pytest.raises(ValueError, match="must not import each other in a circle: a -> b -> c -> a"):
        bundle(tmp_path, "a")


@pytest.mark.parametrize(
    "line",
    [
        'import thing from "./base.js";',
        'import * as all from "./base.js";',
        'import "./base.js";',
        'import {a} from "https://example.org/base.js";',
        "import {a} from './base.js';",
        'const later = await import("./base.js");',
        "export let a = 1;",
        "export const {a, b} = thing;",
        "export {a};",
        'export * from "./base.js";',
        "export default function () {}",
    ],
)
def test_other_forms_are_refused(tmp_path, line):
    write(tmp_path, base="export const a = 1;\n", top=f"const first = 1;\n{line}\nexport default first;\n")
    with pytest.raises(ValueError, match=r"top.js, line 2: cannot join .*; known forms: import \{a, b as c\}"):
        bundle(tmp_path, "top")


def test_what_is_missing_is_named(tmp_path):
    write(
        tmp_path,
        base="export const a = 1;\n",
        typo='import {b} from "./base.js";\nexport default b;\n',
        nowhere='import {a} from "./bass.js";\nexport default a;\n',
    )
    with pytest.raises(ValueError, match=r"typo.js imports 'b', but base.js exports only \['a'\]"):
        bundle(tmp_path, "typo")
    with pytest.raises(FileNotFoundError, match="nowhere needs bass.js, which is not in"):
        bundle(tmp_path, "nowhere")
    with pytest.raises(ValueError, match="base.js must end with `export default <expression>;`"):
        bundle(tmp_path, "base")


def test_types_in_comments_are_not_imports(tmp_path):
    write(
        tmp_path, top='/** @import {A} from "./base.js" */\n/** @type {import("./base.js").A} */\nexport default 1;\n'
    )
    assert "$default = 1;" in bundle(tmp_path, "top")


@needs_node
@pytest.mark.parametrize("name", WIDGETS)
def test_every_widget_parses(tmp_path, name):
    path = tmp_path / f"{name}.mjs"
    path.write_text(bundle(STATIC, name), encoding="utf-8")
    done = subprocess.run([NODE, "--check", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_module_is_used():
    used = set().union(*(re.findall(r"// (\w+)\.js$", bundle(STATIC, name), re.MULTILINE) for name in WIDGETS))
    assert used == {p.stem for p in STATIC.glob("*.js")} and len(WIDGETS) == 8


def test_colours_are_those_of_the_printed_pictures():
    palette = (STATIC / "palette.js").read_text(encoding="utf-8")
    assert tuple(re.findall(r'"(#\w{6})"', palette.split("COLORS = [")[1].split("]")[0])) == COLORS
    scores = re.findall(r'\["(\w+)", (\w+), "\w+"\]', (STATIC / "curves_data.js").read_text(encoding="utf-8"))
    number = {name: int(i) for name, i in re.findall(r"export const (\w+) = COLORS\[(\d)\]", palette)}
    assert {name: COLORS[number[color]] for name, color in scores} == {
        name: color for name, color, *_ in SCORES.values()
    }
    named = dict(re.findall(r"--dcacn-(blue|orange|green|red|sky): (#\w{6});", stylesheet()))
    assert len(named) == 5 and {color.upper() for color in named.values()} <= set(COLORS)
