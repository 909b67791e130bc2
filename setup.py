"Hand the metadata of settings.ini, and the version of dcacn_nb/__init__.py, to setuptools."

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def lines(text: str) -> list[str]:
    "The non-empty lines of a multi-line setting."
    return [line.strip() for line in text.splitlines() if line.strip()]


def version(lib_name: str) -> str:
    "The version as written in the package, read without importing it."
    source = (ROOT / lib_name / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE).group(1)


parser = ConfigParser(interpolation=None)
parser.read(ROOT / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
lib_name = cfg["lib_name"]
names = ("lab", "compare", "slurm", "track", "datasets", "photos", "dev")
extras = {name: lines(cfg[f"{name}_requirements"]) for name in names}
extras["dev"] = sum(extras.values(), [])  # holds all others
readme = ROOT / "README.md"

setup(
    name=lib_name,
    version=version(lib_name),
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else cfg["description"],
    long_description_content_type="text/markdown",
    author=cfg["author"],
    license_expression=cfg["license"],
    keywords=cfg["keywords"].split(),
    classifiers=lines(cfg["classifiers"]),
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=[lib_name, f"{lib_name}.*"]),
    package_data={
        f"{lib_name}.widgets": ["static/*.js", "static/*.css", "words/*.json"],
        f"{lib_name}.report": ["page.html", "words/*.json"],
        f"{lib_name}.compare": ["results/*.csv"],
    },
    include_package_data=False,
    install_requires=lines(cfg["requirements"]),
    extras_require=extras,
    entry_points={"console_scripts": lines(cfg["console_scripts"])},
    zip_safe=False,
)
