"""Texts in several languages, kept in files: `words/en.json`, `words/zh.json` beside the code that shows them."""

import json
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")  # English, simplified Chinese


@cache
def load_words(
    folder: Path,  # holds one file per language, each {section: {key: text}}
    lang: str,  # one of LANGUAGES
) -> "dict[str, dict[str, str]]":  # section -> key -> text; {name} in a text is filled in by str.format
    "The texts of a part of the package in one language; read once."
    return json.loads((folder / f"{lang}.json").read_text(encoding="utf-8"))
