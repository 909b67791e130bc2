"""The house rules, read from the source: floors of imports, and what may never be in the project.

Each rule is a function from text to a list of complaints, and each is shown a bad snippet it must complain about."""

import ast
import json
import re
import shutil
import subprocess
import sys

import pytest
from project import PACKAGE, ROOT, module_name, notebooks, project_files

MAX_NOTEBOOK_BYTES = 200_000
MAX_CELL_LINES = 40
MAX_ROOT_MODULES = 6
WITHOUT_TORCH = (
    "dcacn_nb",
    "dcacn_nb.core.checks",
    "dcacn_nb.core.files",
    "dcacn_nb.core.events",
    "dcacn_nb.core.words",
    "dcacn_nb.core.lazy",
    "dcacn_nb.method.metrics",
    "dcacn_nb.runs.log",
    "dcacn_nb.report.maps",
    "dcacn_nb.clusters.groups",
    "dcacn_nb.cli.app",
)
WITHOUT_MATPLOTLIB = ("dcacn_nb.method.train", "dcacn_nb.baselines", "dcacn_nb.runs.driver", "dcacn_nb.fitting")


# --- floors -------------------------------------------------------------------------------------------------------
def lint_imports(root) -> "subprocess.CompletedProcess":
    "Check the one import contract of pyproject.toml in a checkout."
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=None)


def test_floors():
    "Every module imports from the floors below it: the contract in pyproject.toml is kept."
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "floor, line",
    [
        ("core/checks.py", "from dcacn_nb.method.train import train"),
        ("data/image_set.py", "def f():\n    import dcacn_nb.fitting"),
        ("baselines/cc.py", "from ..runs.driver import Run"),
        ("clusters/groups.py", "from dcacn_nb.report.page import write_report"),
        ("widgets/curves.py", "from ..fitting import fit"),
    ],
)
def test_floors_can_fail(floor, line, tmp_path):
    "An import upwards or sideways breaks the contract, also inside a function and with dots."
    shutil.copytree(PACKAGE, tmp_path / "dcacn_nb", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    module = tmp_path / "dcacn_nb" / floor
    module.write_text(module.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = lint_imports(tmp_path)
    assert done.returncode == 1 and "BROKEN" in done.stdout, done.stdout + done.stderr


def loaded(*names: str) -> "set[str]":
    "Heavy libraries that importing these modules loads, in a fresh interpreter."
    code = f"import {', '.join(names)}, sys; print(*{{'torch', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_light_imports():
    "What is to be light loads no PyTorch, what trains no matplotlib; the same look finds both where they are."
    assert "torch" not in loaded(*WITHOUT_TORCH)
    assert loaded(*WITHOUT_MATPLOTLIB) == {"torch"}
    assert "matplotlib" in loaded("dcacn_nb.report.style")


def test_few_modules_at_the_root():
    "The root of the package holds the front doors alone."
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_ROOT_MODULES


@pytest.mark.parametrize("name", ["config", "train", "losses", "metrics", "views", "events", "runlog", "steps"])
def test_modules_that_have_moved_say_where_they_are(name):
    "An import path of the flat package fails with the new one in the message."
    with pytest.raises(ImportError, match=rf"dcacn_nb\.{name} has moved: import from dcacn_nb\."):
        __import__(f"dcacn_nb.{name}")
    if name != "train":  # a public name now
        with pytest.raises(ImportError, match="has moved"):
            exec(f"from dcacn_nb import {name}")


def test_what_has_moved_is_there():
    "Every new path that such a message names exists."
    from importlib.util import find_spec

    from dcacn_nb import _MOVED

    assert {name for name, new in _MOVED.items() if find_spec(f"dcacn_nb.{new.split()[0]}") is None} == set()


def test_public_names():
    "Every public name of the package and of its lazy floors is there, and no other; a misspelt one lists them."
    import importlib

    import dcacn_nb

    for package in ("dcacn_nb", "dcacn_nb.data", "dcacn_nb.report", "dcacn_nb.compare", "dcacn_nb.widgets"):
        module = importlib.import_module(package)
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'load_image'; it has .*load_images"):
        dcacn_nb.load_image  # noqa: B018


# --- what exported code may not hold ------------------------------------------------------------------------------
def star_import(source):
    "No `import *`: go-to-definition must work."
    return [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]


def fastcore_magic(source):
    "No `@patch`, `store_attr`, `delegates`: a class is written in one place, in plain Python."
    tree = ast.parse(source)
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {
        a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    return sorted(names & {"patch", "patch_to", "store_attr", "delegates"})


def unsafe_loading(source):
    "No pickle, by whatever name: a data file must never run code."
    bad = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (
                {a.name.split(".")[0] for a in node.names}
                if isinstance(node, ast.Import)
                else {(node.module or "").split(".")[0]}
            )
            bad += names & {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}
            bad += {a.name for a in node.names} & {"load", "dump"} if names == {"joblib"} else set()
        if isinstance(node, ast.Call):
            keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            bad += ["allow_pickle"] if keywords.get("allow_pickle") is True else []
            bad += [ast.unparse(node.func)] if ast.unparse(node.func) in ("joblib.load", "joblib.dump") else []
            if ast.unparse(node.func) == "torch.load" and keywords.get("weights_only") is not True:
                bad.append("torch.load without weights_only=True")
    return bad


def printing(source):
    "No `print`: libraries log, emit events, or return text."
    return [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]


def bare_except(source):
    "No bare `except`: it would swallow the Stop button."
    return [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ExceptHandler) and n.type is None]


def defined_twice(source):
    "No second definition of a top-level name."
    names = [
        n.name for n in ast.parse(source).body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]
    return sorted({n for n in names if names.count(n) > 1})


def newer_syntax(source):
    "Nothing that Python 3.10 cannot read."
    try:
        ast.parse(source, feature_version=(3, 10))
    except SyntaxError as error:
        return [str(error)]
    newer = {"tomllib", "wsgiref.types", "asyncio.taskgroups"}
    names = {"Self", "assert_never", "StrEnum", "override", "batched", "ExceptionGroup", "reveal_type"}
    bad = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            bad += [a.name for a in node.names if a.name in newer]
        if isinstance(node, ast.ImportFrom) and node.module in ("typing", "enum", "itertools", *newer):
            bad += [node.module] if node.module in newer else [a.name for a in node.names if a.name in names]
    return bad


CODE_RULES = {  # rule: (bad snippets, a good one)
    star_import: (["from torch import *"], "from torch import nn"),
    fastcore_magic: (
        ["@patch\ndef f(self: int): pass", "from fastcore.all import store_attr", "@delegates(int)\ndef f(): pass"],
        "import unittest",
    ),
    unsafe_loading: (
        [
            "import pickle",
            "from joblib import load",
            "import joblib\njoblib.load(p)",
            "np.load(p, allow_pickle=True)",
            "torch.load(p)",
            "torch.load(p, weights_only=False)",
        ],
        "import joblib\nnp.load(p, allow_pickle=False)\ntorch.load(p, weights_only=True)\njoblib.Parallel()",
    ),
    printing: (["def f(): print('x')"], "log.info('print')"),
    bare_except: (["try: f()\nexcept: pass"], "try: f()\nexcept ValueError: pass"),
    defined_twice: (
        ["def f(): pass\ndef f(): pass"],
        "class A:\n    def f(self): pass\nclass B:\n    def f(self): pass",
    ),
    newer_syntax: (
        ["try: f()\nexcept* ValueError: pass", "import tomllib", "from typing import Self", "type A = int"],
        "match x:\n    case 1: pass",
    ),
}


@pytest.mark.parametrize("rule", CODE_RULES, ids=lambda r: r.__name__)
def test_code_rule(rule):
    "Modules keep the rule; and the rule finds its bad snippets, and only those."
    bad, good = CODE_RULES[rule]
    assert all(rule(snippet) for snippet in bad) and not rule(good)
    found = {module_name(p): rule(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_tests_and_setup_read_on_python_3_10():
    "The files outside the package, too, keep to Python 3.10."
    files = [p for p in project_files() if p.suffix == ".py" and not p.is_relative_to(PACKAGE)]
    assert {
        p.name for p in files if newer_syntax(p.read_text(encoding="utf-8")) and p.name != "test_package.py"
    } == set()


# --- notebooks ----------------------------------------------------------------------------------------------------
def cells(notebook: dict, kind="code"):
    "Sources of the cells of one kind."
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


def never_run(notebook):
    "No `eval: false`: a broken cell may not hide."
    return [s for s in cells(notebook) if re.search(r"^#\|\s*eval:\s*false", s, re.MULTILINE)]


def large(notebook):
    "A notebook, its stored outputs included, stays small enough to review."
    size = len(json.dumps(notebook, ensure_ascii=False))
    return [f"{size} bytes"] if size > MAX_NOTEBOOK_BYTES else []


def long_cells(notebook):
    "A cell fits a page of a projector."
    return [f"{n} lines" for s in cells(notebook) if (n := len(s.splitlines())) > MAX_CELL_LINES]


def test_plumbing(notebook):
    "No lesson asks whether a test runs it; what a test shortens is a cell of parameters."
    return [s for s in cells(notebook) if "DCACN_QUICK" in s]


test_plumbing.__test__ = False


def stored_errors(notebook):
    "No traceback is stored: errors that teach are caught and shown."
    return [o["ename"] for c in notebook["cells"] for o in c.get("outputs", []) if o["output_type"] == "error"]


def widget_state(notebook):
    "No state of widgets is stored: it is large, and the pictures that widgets leave say the same."
    return ["widget state"] if "widgets" in notebook.get("metadata", {}) else []


def no_title(notebook):
    "The first cell is a title and one sentence under it."
    first = notebook["cells"][0]
    return (
        []
        if first["cell_type"] == "markdown" and re.match(r"# .+\n+> .+", "".join(first["source"]))
        else ["no `# title` and `> subtitle`"]
    )


def book(source="1", outputs=(), title="# T\n\n> s"):
    "A notebook of a title and one code cell, for the self-tests."
    return {
        "cells": [
            {"cell_type": "markdown", "source": title},
            {"cell_type": "code", "source": source, "outputs": list(outputs)},
        ]
    }


NOTEBOOK_RULES = {
    never_run: book("#| eval: false\n1/0"),
    large: book(outputs=[{"output_type": "stream", "text": "x" * (MAX_NOTEBOOK_BYTES + 1)}]),
    long_cells: book("x\n" * (MAX_CELL_LINES + 1)),
    test_plumbing: book('import os\nif "DCACN_QUICK" in os.environ: pass'),
    stored_errors: book(outputs=[{"output_type": "error", "ename": "ValueError"}]),
    widget_state: book() | {"metadata": {"widgets": {}}},
    no_title: book(title="Hello"),
}


@pytest.mark.parametrize("rule", NOTEBOOK_RULES, ids=lambda r: r.__name__)
def test_notebook_rule(rule):
    "Notebooks keep the rule, and the rule finds its bad notebook."
    assert rule(NOTEBOOK_RULES[rule]) and not rule(book())
    found = {p.name: rule(json.loads(p.read_text(encoding="utf-8"))) for p in notebooks()}
    assert {name: hits for name, hits in found.items() if hits} == {}


# --- every file ---------------------------------------------------------------------------------------------------
MACHINE_PATH = re.compile(r"(?<![\w.~:/-])/(?:work|tmp|root|home|Users|farm)/[\w.-]")
PRIVATE = re.compile(r"(?<![\w/-])shared[/]|\bissues? #?\d")


@pytest.mark.parametrize(
    "rule, bad, good",
    [
        (MACHINE_PATH, "open('/" + "tmp/x')", "see ~/data and https://example.org/home/x"),
        (PRIVATE, "read shared" + "/house", "one shared MLP"),
        (PRIVATE, "see issue" + " #12", "an issue of taste"),
        (PRIVATE, "its issue" + " 12", "an issue of 12 pages"),
    ],
    ids=["machine path", "private folder", "issue number", "bare issue number"],
)
def test_no_traces_of_one_machine(rule, bad, good):
    "No file names a place that exists on one machine only, or a discussion readers cannot see."
    assert rule.search(bad) and not rule.search(good)
    texts = [
        p
        for p in project_files()
        if p.suffix in {".py", ".ipynb", ".md", ".ini", ".toml", ".js", ".in", ""} and p.name != "LICENSE"
    ]
    assert {
        str(p.relative_to(ROOT)): m.group() for p in texts if (m := rule.search(p.read_text(encoding="utf-8")))
    } == {}


LINK = re.compile(r"\]\((?!https?:|#|mailto:|attachment:)([^)\s#]+)")


def dead_links(text: str, folder) -> "list[str]":
    "Relative links of a Markdown text that lead to no file."
    return [target for target in LINK.findall(text) if not (folder / target).exists()]


def test_links_lead_somewhere(tmp_path):
    "Links between notebooks, and those of README, CONTRIBUTING and CHANGELOG, lead to files."
    assert dead_links("[a](b.md) [c](https://x.org) [d](#e)", tmp_path) == ["b.md"]
    texts = {p: p.read_text(encoding="utf-8") for p in ROOT.glob("*.md")}
    texts |= {p: "\n".join(cells(json.loads(p.read_text(encoding="utf-8")), "markdown")) for p in notebooks()}
    assert {p.name: found for p, text in texts.items() if (found := dead_links(text, p.parent))} == {}
