"The texts of the widgets: both languages complete, and every text that the code asks for is there."

import re
import string

import pytest
from project import PACKAGE

from dcacn_nb.core.words import LANGUAGES, load_words

FOLDER = PACKAGE / "widgets"
WORDS = {lang: load_words(FOLDER / "words", lang) for lang in LANGUAGES}
SECTIONS = list(WORDS["en"])
ASKED = re.compile(r'(?<![\w.])t\(\s*"(\w+)"')  # t("key") in a browser half


def fields(text):
    "Names to be filled in."
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def differences(english, other):
    "What two sections do not have in common: keys, and places to fill in."
    return set(english) ^ set(other) | {
        key for key in english if key in other and fields(english[key]) != fields(other[key])
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_both_languages_have_the_same_texts_with_the_same_places(section):
    assert list(WORDS["zh"]) == SECTIONS
    assert differences(WORDS["en"][section], WORDS["zh"][section]) == set()
    assert all(all(texts.values()) for texts in (WORDS["en"][section], WORDS["zh"][section]))


def test_a_missing_text_and_a_missing_place_are_found():
    english = {"a": "one {n}", "b": "two"}
    assert differences(english, {"a": "一 {n}", "b": "二"}) == set()
    assert differences(english, {"a": "一 {n}"}) == {"b"} and differences(english, {"a": "一", "b": "二"}) == {"a"}


def test_chinese_texts_are_chinese():
    "Longer texts without a single Chinese sign were forgotten."
    forgotten = {
        (section, key)
        for section in SECTIONS
        for key, text in WORDS["zh"][section].items()
        if len(re.sub(r"\{.*?\}", "", text)) > 12 and not re.search("[\u4e00-\u9fff]", text)
    }
    assert forgotten == set()


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "common"])
def test_the_browser_half_asks_for_texts_that_exist(section):
    "The files of a widget are named after it; files that several widgets share may ask for common texts alone."
    files = [path for path in (FOLDER / "static").glob("*.js") if re.fullmatch(rf"{section}(_\w+)?", path.stem)]
    asked = {key for path in files for key in ASKED.findall(path.read_text(encoding="utf-8"))}
    assert len(asked) > 5 and asked <= {*WORDS["en"][section], *WORDS["en"]["common"]}


def test_shared_browser_files_ask_for_common_texts_alone():
    own = [
        path
        for path in (FOLDER / "static").glob("*.js")
        if path.stem.split("_")[0] not in {s.split("_")[0] for s in SECTIONS}
    ]
    asked = {key for path in own for key in ASKED.findall(path.read_text(encoding="utf-8"))}
    assert own and asked <= {
        *WORDS["en"]["common"],
        *WORDS["en"]["dashboard"],
    }  # the dashboard sets the language of all


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "common"])
def test_the_python_half_asks_for_texts_that_exist(section):
    sources = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob(f"{section}*.py"))
    asked = set(re.findall(r'self\.text\(\s*"(\w+)"', sources))
    assert asked and asked <= {*WORDS["en"][section], *WORDS["en"]["common"]}


def test_no_text_is_forgotten():
    "Every key is named somewhere, as a whole or by its beginning (`step_{name}`)."
    code = "".join(
        path.read_text(encoding="utf-8") for path in [*FOLDER.glob("*.py"), *(FOLDER / "static").glob("*.js")]
    )
    stems = set(re.findall(r"[\"'`f](\w+_)(?:\$?\{)", code))
    tails = set(re.findall(r"\}(_\w+)[\"'`]", code))
    names = set(re.findall(r"\w+", code))
    unused = {
        f"{section}.{key}"
        for section in SECTIONS
        for key in WORDS["en"][section]
        if key not in names
        and not any(key.startswith(stem) for stem in stems)
        and not any(key.endswith(tail) for tail in tails)
    }
    assert unused == set()
