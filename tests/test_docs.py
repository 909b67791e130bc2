"The documentation site: links lead somewhere, formulas need no script, parameters are read from the source."

import importlib.util
import re
import subprocess
import sys

import pytest
from project import ROOT, copy_project

spec = importlib.util.spec_from_file_location("build_docs", ROOT / "docs" / "build.py")
docs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(docs)


@pytest.mark.slow
def test_the_site_builds_from_the_files_alone(tmp_path):
    "Every page is there, nothing is loaded from another server; a dead link, the only complaint, fails the build."
    folder = copy_project(tmp_path / "checkout")
    page = folder / "docs" / "limits.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[gone](results.md#no-such-place)\n", encoding="utf-8")
    build = [sys.executable, "docs/build.py"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    complaints = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]
    assert done.returncode != 0 and len(complaints) == 1 and "no-such-place" in complaints[0], said[-3000:]
    site = folder / "_docs" / "site"
    notebooks = {p.relative_to(ROOT / "nbs").with_suffix(".html") for p in (ROOT / "nbs").glob("*/*.ipynb")}
    assert {page for page in notebooks if not (site / page).exists()} == set()
    assert "<math" in (site / "method" / "05_losses.html").read_text(encoding="utf-8")
    assert 'src="http' not in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))], ids=lambda p: p.name
)
def test_a_page_cites_only_files_that_are_there(page):
    "A table or script of benchmarks/ that a page names exists; a command may name the table that it will write."
    lines = page.read_text(encoding="utf-8").splitlines()
    cited = {
        name for line in lines if "--output" not in line for name in re.findall(r"benchmarks/\w+\.(?:csv|py)", line)
    }
    assert {name for name in cited if not (ROOT / name).exists()} == set()


def test_links_become_links_between_pages():
    "A file with a page is linked there, one without is named, and a link in code is left alone."
    linked = docs.relink("[a](../../docs/results.md#x) `[b](c.md)`", "nbs/course/01_quickstart.ipynb")
    assert linked == "[a](../results.md#x) `[b](c.md)`"
    assert docs.relink("[licence](LICENSE)", "README.md") == "licence (`LICENSE`)"
    with pytest.raises(SystemExit, match="README.md: the link to gone.md leads nowhere"):
        docs.relink("[gone](gone.md)", "README.md")


def test_formulas_become_mathml():
    "Between dollar signs, but not in code and not where a dollar is a dollar."
    assert docs.mathml("$x^2$").startswith("<math") and "$" not in docs.mathml("$$a$$")
    for text in ("`$x$`", "costs 5 $ or 6 $", "```\n$x$\n```"):
        assert docs.mathml(text) == text


def test_parameters_are_read_from_comments():
    "Name, type, default and meaning of each parameter that has a comment."
    source = 'def f(\n    a: int,  # rows, >= 1\n    b: "str | None" = None,  # a name\n):\n    "Doc."\n'
    node = docs.ast.parse(source).body[0]
    assert docs.arguments(node, source.splitlines()) == [
        "| `a` | `int` |  | rows, >= 1 |",
        "| `b` | `str \\| None` | `None` | a name |",
    ]
