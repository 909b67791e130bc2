"settings.ini, setup.py, pyproject.toml and the package agree; importing is light; what is public is documented."

import ast
import json
import re
import subprocess
import sys
from email.parser import Parser

import pytest
from project import PACKAGE, ROOT, copy_project, made_by, module_name, modules, notebooks, setting_lines, settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest and nbdev on Python 3.10
EXTRAS = ("lab", "compare", "slurm", "track", "datasets", "photos")


def normal(requirement: str):
    "A requirement as name, sorted version bounds, and extra."
    name, bounds, extra = re.match(
        r"([\w.-]+)([^;]*)(?:; extra == [\"'](\w+)[\"'])?$", requirement.replace(" ;", ";")
    ).groups()
    return name.lower().replace("_", "-"), tuple(sorted(bounds.replace(" ", "").split(","))), extra


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    "The metadata setuptools builds, and the console scripts beside it, from a copy of the project."
    folder = copy_project(tmp_path_factory.mktemp("metadata"))
    code = "import setuptools.build_meta as b; print(b.prepare_metadata_for_build_wheel('out'))"
    (folder / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = folder / "out" / done.stdout.splitlines()[-1]
    return Parser().parsestr((made / "METADATA").read_text(encoding="utf-8")), (made / "entry_points.txt").read_text()


def test_metadata_agrees(metadata):
    "What pip will show is what settings.ini and the package say."
    built, scripts = metadata
    cfg = settings()
    init = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert "version" not in cfg
    assert built["Name"] == cfg["lib_name"] == PACKAGE.name
    assert built["Version"] == re.search(r'^__version__ = "(.+)"$', init, re.MULTILINE).group(1)
    assert built["Summary"] == cfg["description"] and built["Author"] == cfg["author"]
    assert built["License-Expression"] == cfg["license"] and built["License-File"] == "LICENSE"
    assert built["Requires-Python"] == f">={cfg['min_python']}"
    assert built["Keywords"].split(",") == cfg["keywords"].split()
    assert built.get_all("Classifier") == setting_lines("classifiers")
    assert [s.replace(" ", "") for s in scripts.splitlines()[1:] if s] == setting_lines("console_scripts")
    assert len(built.get_payload()) > 500, "README.md is missing from the description"


def test_requirements_agree(metadata):
    "Core requirements, and the extras, of which dev holds all others."
    core = setting_lines("requirements")
    extras = {name: setting_lines(f"{name}_requirements") for name in (*EXTRAS, "dev")}
    extras["dev"] = [requirement for part in extras.values() for requirement in part]
    expected = {normal(r) for r in core} | {normal(f"{r}; extra == '{e}'") for e, rs in extras.items() for r in rs}
    assert {normal(r) for r in metadata[0].get_all("Requires-Dist")} == expected
    assert set(metadata[0].get_all("Provides-Extra")) == set(extras)
    assert not any("==" in r for r in core + extras["dev"]), (
        "ranges only: an exact version clashes with what others need"
    )


def test_pyproject_agrees():
    "pyproject.toml repeats the name alone; nbdev finds the package and the notebooks where they are."
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    cfg = settings()
    assert project["project"]["name"] == cfg["lib_name"]
    assert set(project["project"]) == {"name", "dynamic"}
    assert project["tool"]["nbdev"]["lib_path"] == cfg["lib_name"] and project["tool"]["nbdev"]["nbs_path"] == "nbs"
    oldest = tuple(map(int, cfg["min_python"].split(".")))
    assert oldest == (3, 10) and f"Programming Language :: Python :: {cfg['min_python']}" in setting_lines(
        "classifiers"
    )
    assert f"sys.version_info >= {oldest}" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_console_script_exists():
    "The function behind the `dcacn` command is there."
    (script,) = setting_lines("console_scripts")
    module, function = script.split("=")[1].split(":")
    source = (ROOT / module.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    assert function in {getattr(n, "name", None) for n in ast.parse(source).body}


def test_every_dependency_is_explained():
    "CONTRIBUTING.md says of each dependency what it is for."
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").lower().replace("_", "-")  # names are normal
    lists = ["requirements", *(f"{name}_requirements" for name in (*EXTRAS, "dev"))]
    names = [normal(r)[0] for name in lists for r in setting_lines(name)]
    assert [n for n in names if f"`{n}`" not in text] == []


def test_every_floor_is_explained():
    "CONTRIBUTING.md says of each floor of the package what it is for."
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists() and f"`{p.name}/`" not in text} == set()


def test_the_package_says_what_it_is():
    "Its docstring starts with the description. Plain `nbdev-export` puts a list of modules there: use `make export`."
    docstring = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
    assert docstring.startswith(settings()["description"].split(":")[0])


def test_import_is_light():
    "`import dcacn_nb` brings the version, not PyTorch (five seconds)."
    code = """import dcacn_nb, json, sys
heavy = [name for name in ("torch", "numpy", "matplotlib") if name in sys.modules]
print(json.dumps([dcacn_nb.__version__, heavy]))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    version, heavy = json.loads(done.stdout)
    assert version and heavy == []


def undocumented(source: str) -> "list[str]":
    "Public functions, classes and methods without a docstring."
    missing, tree = [], ast.parse(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in (n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")):
        missing += [] if ast.get_docstring(node) else [node.name]
        if isinstance(node, ast.ClassDef):
            methods = [
                m
                for m in node.body
                if isinstance(m, kinds)
                and not m.name.startswith("_")
                and m.name != "forward"
                and not any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in m.decorator_list)
            ]
            missing += [f"{node.name}.{m.name}" for m in methods if not ast.get_docstring(m)]
    return missing


def test_everything_public_is_documented():
    "Modules, public functions, classes and methods have a docstring; `forward` and setters need none."
    assert undocumented(
        "def f(): pass\nclass A:\n    'x'\n    def g(self): pass\n    @g.setter\n    def g(self, x): pass"
    ) == ["f", "A.g"]
    assert {module_name(p): m for p in modules() if (m := undocumented(p.read_text(encoding="utf-8")))} == {}
    assert [module_name(p) for p in modules() if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))] == []


def test_generated_modules_have_their_notebook():
    "What is taught exports itself: method, baselines and heads are made by notebooks, each module by its own."
    exports = {}
    for path in notebooks():
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            match = re.search(r"^#\|\s*default_exp\s+(\S+)", "".join(cell["source"]), re.MULTILINE)
            if cell["cell_type"] == "code" and match:
                exports[match.group(1)] = path.relative_to(ROOT / "nbs").as_posix()
    sources = {module_name(p): made_by(p.read_text(encoding="utf-8")) for p in modules()}
    assert {name: notebook for name, notebook in sources.items() if notebook} == exports
    taught = {name for name in sources if name.startswith(("method.", "baselines.", "heads."))}
    assert taught == set(exports) and len(exports) < 40


def test_what_make_test_takes_from_one_folder_is_there():
    "It collects `tests/browser` alone for these marks: a test elsewhere that has one would never run."
    marked = [
        path
        for path in ROOT.glob("tests/**/test_*.py")
        if re.search(r"mark\.(browser|alone)\b", path.read_text("utf-8"))
    ]
    assert len(marked) > 5 and {path.parent.name for path in marked} == {"browser"}
    assert len(re.findall(r"pytest tests/browser -m ", (ROOT / "Makefile").read_text("utf-8"))) == 2
