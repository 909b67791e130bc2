"""Build the documentation site from README, notebooks, docs/*.md and docstrings, without a network: `make docs`.

Everything is written to _docs/: Markdown pages in _docs/pages, the site in _docs/site.
A link that leads nowhere fails the build."""

import ast
import json
import logging
import posixpath
import re
import shutil
from pathlib import Path

import nbformat
import yaml
from latex2mathml.converter import convert
from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "_docs" / "pages"
FOLDERS = {  # folder of nbs -> title, and what it holds
    "course": ("Course", "Lessons in order: use the package, watch it learn, compare, read the paper."),
    "method": ("Method", "The method, one notebook per part. The package is exported from these notebooks."),
    "baselines": ("Baselines", "The methods to compare with, one notebook each, and the parts that several share."),
    "heads": ("Heads", "Methods on the features of a frozen encoder: each in a notebook that explains and checks it."),
}
FLOORS = (
    "fitting",
    "estimator",
    "core",
    "data",
    "method",
    "baselines",
    "heads",
    "encoders",
    "methods",
    "runs",
    "report",
    "clusters",
    "compare",
    "widgets",
)
PAGES_OF = {  # a file or folder of the project -> its page
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/results.md": "results.md",
    "docs/processes.md": "processes.md",
    "docs/limits.md": "limits.md",
    "docs/scale.md": "scale.md",
    "SCALE.md": "million.md",
    "docs/benchmarks.md": "benchmarks.md",
    **{f"nbs/{folder}": f"{folder}/index.md" for folder in FOLDERS},
}
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|#|mailto:|data:)([^)\s#]+)([^)]*\))")
CODE = re.compile(r"(```.*?```|~~~.*?~~~|`[^`\n]+`)", re.DOTALL)
MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$(?!\s)([^$\n]+?)(?<!\s)\$", re.DOTALL)


def page_of(path: str) -> "str | None":
    "The page that shows a file of the project, or None where it has none."
    if path in PAGES_OF:
        return PAGES_OF[path]
    if path.startswith("nbs/") and path.endswith(".ipynb"):
        return path[len("nbs/") :].removesuffix(".ipynb") + ".md"
    return path.removeprefix("nbs/") if path.startswith("nbs/images/") else None


def relink(text: str, source: str) -> str:
    "Links between files of the project become links between pages; a file without a page is named, not linked."
    here = posixpath.dirname(page_of(source) or source)

    def target(match: "re.Match") -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        page = page_of(path)
        if page is not None:
            return match[1] + posixpath.relpath(page, here or ".") + match[3]
        if not (ROOT / path).exists():
            raise SystemExit(f"{source}: the link to {match[2]} leads nowhere")
        return f"{match[1].strip('![(]')} (`{path}`)"

    return outside_code(LINK, target, text)


def outside_code(pattern: "re.Pattern", replace, text: str) -> str:
    "Replace what a pattern finds in a Markdown text; code is left alone."
    return "".join(part if i % 2 else pattern.sub(replace, part) for i, part in enumerate(CODE.split(text)))


def mathml(text: str) -> str:
    "Formulas between dollar signs as MathML, which browsers draw without a script; code is left alone."

    def formula(match: "re.Match") -> str:
        display = match[1] is not None
        made = convert((match[1] or match[2]).strip(), display="block" if display else "inline")
        return f"\n\n<div>{made}</div>\n\n" if display else made

    return outside_code(MATH, formula, text)


def write(page: str, text: str) -> None:
    "Write one page."
    path = PAGES / page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def title_of(notebook: Path) -> "tuple[str, str]":
    "Title and subtitle of a notebook, from its first cell."
    first = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])
    match = re.match(r"# (.+)\n+> (.+)", first)
    if match is None:
        raise SystemExit(f"{notebook}: the first cell must be a title (`# ...`) and one sentence (`> ...`)")
    return match[1], match[2]


def notebook_page(notebook: Path) -> str:
    "Turn a notebook with its stored outputs into a page; returns the page's path."
    source = notebook.relative_to(ROOT).as_posix()
    page = page_of(source)
    removed = {"remove_cell_tags": ["hide"], "remove_input_tags": ["hide-input"], "enabled": True}
    exporter = MarkdownExporter(config=Config({"TagRemovePreprocessor": removed}))
    read = nbformat.read(notebook, 4)
    for cell in read.cells:  # what is folded in JupyterLab shows its output alone here
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", ()), "hide-input"]
    folder = f"{notebook.stem}_files"
    text, resources = exporter.from_notebook_node(read, resources={"output_files_dir": folder})
    text = re.sub(r"^#\|.*\n", "", text, flags=re.MULTILINE)  # nbdev's marks
    for name, data in resources["outputs"].items():
        picture = PAGES / posixpath.dirname(page) / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(data)
    stored = re.compile(rf"(!\[[^\]]*\]\({re.escape(folder)}/)")  # these links are right already
    parts = re.split(rf"(!\[[^\]]*\]\({re.escape(folder)}/[^)]*\))", text)
    text = "".join(part if stored.match(part) else relink(part, source) for part in parts)
    write(page, mathml(text))
    return page


def notebook_pages(folder: str) -> "list[dict]":
    "All notebooks of a folder, and a page that lists them; returns their part of the menu."
    title, sentence = FOLDERS[folder]
    menu, lines = [{title: f"{folder}/index.md"}], [f"# {title}\n\n{sentence}\n"]
    for notebook in sorted((ROOT / "nbs" / folder).rglob("*.ipynb")):
        if ".ipynb_checkpoints" in notebook.parts:
            continue
        page, (name, subtitle) = notebook_page(notebook), title_of(notebook)
        menu.append({name: page})
        lines.append(f"- [{name}]({posixpath.relpath(page, folder)}): {subtitle}")
    write(f"{folder}/index.md", "\n".join(lines) + "\n")
    return menu


def arguments(node: "ast.FunctionDef | ast.AsyncFunctionDef", source: "list[str]") -> "list[str]":
    "The parameters of a function that have a comment, as rows of a table: name, type, default, meaning."
    defaults = dict(zip(reversed(node.args.posonlyargs + node.args.args), reversed(node.args.defaults)))
    defaults |= {a: d for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults) if d is not None}
    rows = []
    extra = [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
    for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, *extra]:
        line = source[getattr(defaults.get(a), "end_lineno", a.end_lineno) - 1]
        comment = line.partition("  # ")[2]
        if comment:
            kind = ast.unparse(a.annotation).strip("'\"") if a.annotation else ""
            value = ast.unparse(defaults[a]) if a in defaults else ""
            cells = (f"`{a.arg}`", f"`{kind}`" if kind else "", f"`{value}`" if value else "", comment)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def describe(node: ast.AST, source: "list[str]", level: int = 3) -> str:
    "A public function or class as Markdown: name, docstring, parameters, methods."
    parts = [f"{'#' * level} `{node.name}`", ast.get_docstring(node) or ""]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    made = node if isinstance(node, functions) else None
    if isinstance(node, ast.ClassDef):
        made = next((m for m in node.body if isinstance(m, functions) and m.name == "__init__"), None)
    if made is not None and (rows := arguments(made, source)):
        parts.append("\n".join(["| parameter | type | default | meaning |", "|---|---|---|---|", *rows]))
    if isinstance(node, ast.ClassDef):
        public = (m for m in node.body if isinstance(m, functions) and not m.name.startswith("_"))
        parts += [describe(m, source, level + 1) for m in public]
    return "\n\n".join(part for part in parts if part)


def module_text(path: Path) -> str:
    "What a module defines publicly, from its source: nothing is imported."
    text = path.read_text(encoding="utf-8")
    tree, source = ast.parse(text), text.splitlines()
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    parts = [f"## {name}", ast.get_docstring(tree) or "", *(describe(n, source) for n in public)]
    return "\n\n".join(part for part in parts if part)


def api_pages() -> "list[dict]":
    "One page for each floor of the package; returns their part of the menu."
    menu, lines = (
        [],
        ["# Reference\n\nThe public names of `import dcacn_nb as dc` come first; then every floor of the package.\n"],
    )
    for floor in FLOORS:
        at = ROOT / "dcacn_nb" / floor
        files = sorted(at.rglob("*.py")) if at.is_dir() else [at.with_suffix(".py")]
        texts = [module_text(path) for path in files if "static" not in path.parts]
        write(f"reference/{floor}.md", f"# {floor}\n\n" + "\n\n".join(texts) + "\n")
        menu.append({floor: f"reference/{floor}.md"})
        lines.append(f"- [{floor}]({floor}.md): {ast.get_docstring(ast.parse(files[0].read_text(encoding='utf-8')))}")
    write("reference/index.md", "\n".join(lines) + "\n")
    return [{"Reference": "reference/index.md"}, *menu]


def main() -> None:
    "Write all pages, then build the site; a warning is an error."
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    shutil.rmtree(ROOT / "_docs", ignore_errors=True)
    for source in (path for path in PAGES_OF if path.endswith(".md")):
        write(PAGES_OF[source], mathml(relink((ROOT / source).read_text(encoding="utf-8"), source)))
    shutil.copytree(ROOT / "nbs" / "images", PAGES / "images")
    nav = [{"Start": "index.md"}, *({FOLDERS[f][0]: notebook_pages(f)} for f in FOLDERS), {"Reference": api_pages()}]
    nav += [
        {"Scale": "scale.md"},
        {"A million images": "million.md"},
        {"Results": "results.md"},
        {"Benchmarks": "benchmarks.md"},
        {"Many processes": "processes.md"},
        {"Limits": "limits.md"},
        {"Contributing": "contributing.md"},
        {"Changelog": "changelog.md"},
    ]
    settings = yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"))
    made = ROOT / "_docs" / "mkdocs.yml"
    made.write_text(yaml.safe_dump(settings | {"nav": nav}, allow_unicode=True, sort_keys=False), encoding="utf-8")
    config = load_config(str(made), docs_dir=str(PAGES), site_dir=str(ROOT / "_docs" / "site"), strict=True)
    build(config)
    print(f"the site is in {config.site_dir}; open its index.html")


if __name__ == "__main__":
    main()
