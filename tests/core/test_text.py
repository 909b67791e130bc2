"Text of unknown origin, made safe to show."

import io

import pytest
from rich.console import Console

from dcacn_nb.cli.output import rows_table
from dcacn_nb.core.text import csv_cell, from_csv_cell, logger, one_line, printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain, 中文, é, 🏖, 👨\u200d👩\u200d👧", None),  # joined emoji stay
        ("two\nlines\tand a tab", None),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("over\rwritten\x08", r"over\rwritten\x08"),
        ("\x9b31m", r"\x9b31m"),  # the same as ESC [ in one character
        ("gnp.\u202egpj", r"gnp.\u202egpj"),
        ("\udce9t\udce9", r"\udce9t\udce9"),  # a Latin-1 name as Python reads it
        ("a\u2028b\x00", r"a\u2028b\x00"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == (text if shown is None else shown)
    assert printable(printable(text)) == printable(text)


def test_a_cell_of_a_table_keeps_its_row():
    assert one_line("two\nlines\tand a \x1b") == r"two\nlines\tand a \x1b"
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(rows_table([{"name": "a\nb"}, {"name": "c\td"}, {"name": ["first", "e\nf"]}], name="name"))
    shown = console.export_text()
    assert r"a\nb" in shown and r"c\td" in shown
    assert [line.strip("│ ") for line in shown.splitlines()[-3:-1]] == ["first", r"e\nf"], (
        "items of a list, a line each"
    )


@pytest.mark.parametrize(
    "text",
    [
        "/a/b.png",
        "=1+1",
        "+x",
        "-x",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        " =1",
        "＝1",
        "'=1",
        "''=1",
        "'plain",
        "file://x",
        "照片",
    ]
    + ["/srv/caf\udce9.png", "caf\udce9.png", "=\udce9", "/a/\udcff%41", "."],
)
def test_cells_of_tables(text):
    "Valid UTF-8, never a formula, and read back to the same text."
    cell = csv_cell(text)
    cell.encode("utf-8")
    assert cell.lstrip()[:1] not in tuple("=+-@＝") and cell[:1] not in ("\t", "\r", "\n")
    assert from_csv_cell(cell) == text


def test_messages_of_the_log_can_be_written_anywhere(caplog):
    log = logger("dcacn_nb.a_test")
    assert logger("dcacn_nb.a_test") is log and len(log.filters) == 1
    log.warning("skipped %s: %d", "caf\udce9\x1b[2J 照片", 3)
    (record,) = caplog.records
    assert record.getMessage() == "skipped caf\\udce9\\x1b[2J 照片: 3"
    record.getMessage().encode("utf-8")
