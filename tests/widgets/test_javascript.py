"The browser halves of the widgets under the linter and the type checker, and the texts they ask for."

import json
import re
import shutil
import subprocess

import pytest
from project import ROOT

from dcacn_nb.widgets.live import COMMON_WORDS, STATIC, widget_words
from dcacn_nb.widgets.modules import IMPORT

NPM = shutil.which("npm")
checked = pytest.mark.skipif(
    NPM is None or not (ROOT / "node_modules" / ".bin" / "tsc").exists(),
    reason="the JavaScript checks are not installed: they need node, then `npm install` in the project's folder",
)
WIDGETS = ("attention", "clusters", "crops", "curves", "dashboard", "health", "loss_lab", "map")


def npm(*arguments, text=""):
    "Run a script of package.json, or a tool that it installs; (exit code, all that it says)."
    done = subprocess.run(
        [NPM, *arguments], cwd=ROOT, input=text, capture_output=True, text=True, encoding="utf-8", timeout=300
    )
    return done.returncode, done.stdout + done.stderr


@checked
def test_linter_and_format():
    code, said = npm("run", "--silent", "lint")
    assert code == 0, said


@checked
def test_types_of_messages():
    code, said = npm("run", "--silent", "types")
    assert code == 0, said


@checked
def test_the_linter_sees_what_is_wrong():
    "HTML from a text, a name hidden by another one, a function that is never called."
    text = "const a = 1;\nfunction unused(node) {\n  const a = 2;\n  node.innerHTML = a;\n}\n"
    file = str(STATIC / "x.js")
    code, said = npm("exec", "--", "eslint", "--stdin", "--stdin-filename", file, text=text)
    rules = ("no-restricted-properties", "no-shadow", "no-unused-vars")
    assert code == 1 and all(rule in said for rule in rules), said


@checked
def test_the_type_checker_knows_the_messages(tmp_path):
    "A message that Python does not know, and a field that it does not send."
    (tmp_path / "wrong.js").write_text(
        f'import {{listen}} from "{STATIC.as_posix()}/messages.js";\n'
        f'/** @param {{import("{STATIC.as_posix()}/protocol").View<"health">}} view */\n'
        "export function render({model, stop}) {\n"
        '  model.send({kind: "similarity", epoc: 3});\n'
        "  listen(model, stop, {reset: content => content.epoches, append() {}, snapshots() {}, similarity() {}});\n}\n"
    )
    settings = {"extends": (ROOT / "tsconfig.json").as_posix(), "include": ["wrong.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    code, said = npm("exec", "--", "tsc", "--project", str(tmp_path))
    assert code != 0 and "'epoc'" in said and "'epoches'" in said and said.count("error TS") == 2, said


def source_of(name, seen):
    "A widget's own modules as one text: without those of other widgets."
    text = (STATIC / f"{name}.js").read_text(encoding="utf-8")
    seen.add(name)
    for _, needed in IMPORT.findall(text):
        if needed not in seen and needed not in WIDGETS:
            text += source_of(needed, seen)
    return text


@pytest.mark.parametrize("name", WIDGETS)
def test_texts_exist(name):
    "Every text that a module asks for is there, in both languages."
    text = source_of(name, set())
    choices = " ".join(re.findall(r"\bt\(([^()]*\?[^()]*)\)", text))  # t(n === 1 ? "selected_1" : "selected_n", ...)
    asked = set(re.findall(r'\bt\(\s*"(\w+)"', text)) | set(re.findall(r'[?:] "(\w+)"', choices))
    assert len(asked) > 10 and "title" in asked
    for lang, words in widget_words(name).items():
        assert asked - set(words) - set(COMMON_WORDS[lang]) == set()
