"The files for Docker, which no test builds: what they name is there, and nobody gets in without the token."

import re

import pytest
from project import ROOT, setting_lines

yaml = pytest.importorskip("yaml")
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))


def instructions(word):
    "The arguments of every instruction of that name."
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]


def test_what_is_copied_exists_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [path for line in instructions("COPY") for path in line.split()[:-1]]
    assert len(sources) >= 5
    for path in sources:
        assert (ROOT / path).exists() and path not in ignored, path


def test_what_setup_needs_is_copied():
    "setup.py reads the settings, the version and the README."
    first = " ".join(instructions("COPY")[:2]).split()
    assert {"settings.ini", "setup.py", "pyproject.toml", "README.md", "dcacn_nb"} <= set(first)


def test_extras_exist():
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', DOCKERFILE)
    assert all(setting_lines(f"{extra}_requirements") for extra in extras.split(","))


def test_the_python_is_one_that_the_project_supports():
    (version,) = re.findall(r"^FROM python:(\d\.\d+)", DOCKERFILE, re.MULTILINE)
    assert f"Programming Language :: Python :: {version}" in setting_lines("classifiers")


def test_the_compose_file_names_what_there_is():
    (lab,) = COMPOSE["services"].values()
    build = ROOT / "docker" / lab["build"]["context"]
    assert (build / lab["build"]["dockerfile"]).resolve() == ROOT / "docker" / "Dockerfile"
    for volume in lab["volumes"]:
        name = volume.split(":")[0]
        assert name.startswith("${") or name in COMPOSE["volumes"]
    inside = {re.search(r":(/\w+)", volume)[1] for volume in lab["volumes"]}
    assert inside == {"/runs", "/images", "/cache"} and "DCACN_CACHE=/cache" in DOCKERFILE
    assert lab["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_nobody_gets_in_without_the_token():
    "The server does not start without one, and is bound to this machine alone; it does not run as root."
    (lab,) = COMPOSE["services"].values()
    assert "${JUPYTER_TOKEN:?" in lab["environment"]["JUPYTER_TOKEN"]
    assert "token=${JUPYTER_TOKEN:?" in instructions("CMD")[0] and "token=''" not in DOCKERFILE
    assert [port.rsplit(":", 2)[0] for port in lab["ports"]] == ["127.0.0.1"]
    assert instructions("USER") == ["student"] and DOCKERFILE.index("USER student") < DOCKERFILE.index("CMD ")
    assert lab["ports"][0].endswith(":8888") and "8888" in instructions("EXPOSE")[0]
