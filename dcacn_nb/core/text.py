"""Text of unknown origin, made safe to show: a file name may hold what moves a terminal's cursor or reverses a line."""

import logging
import os
import re
from urllib.parse import quote, unquote_to_bytes

# Control characters but tab and newline, directions of writing, line separators, halves of surrogate pairs.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(
    text: str,  # may hold file names, and words from files of others
) -> str:
    "The text with every character that a terminal would obey or cannot show as a visible escape, such as `\\x1b`."
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(
    text: str,  # a file name, or words of others
) -> str:
    "As `printable`, with tabs and newlines escaped as well: a cell of a table keeps its row."
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


class _Printable(logging.Filter):
    "Messages as a stream can take them, whatever names they hold."

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), ()
        return True


def logger(
    name: str,  # of the module
) -> logging.Logger:
    "A module's logger; a file name in its messages can neither move a cursor nor fail to be encoded."
    log = logging.getLogger(name)
    if not log.filters:
        log.addFilter(_Printable())
    return log


# What a spreadsheet would run: the signs that begin a formula, also in their wide forms and after spaces; and what it
# would break a cell at. An apostrophe before such a text counts, so that taking one away gives the text back.
_FORMULA = re.compile("'*(\\s*[=+\\-@＝＋－＠]|[\t\r\n])")
_URI = "file://"


def csv_cell(
    text: str,  # may be a path with bytes that are no text, as Python reads it
) -> str:  # can be encoded as UTF-8
    "A text as a cell of a CSV file that no spreadsheet runs; a path that is no text becomes a file:// address."
    if any("\ud800" <= c <= "\udfff" for c in text):
        return _URI + quote(os.fsencode(text)) if os.path.isabs(text) else _URI + "./" + quote(os.fsencode(text))
    return "'" + text if _FORMULA.match(text) or text.startswith(_URI) else text


def from_csv_cell(
    cell: str,  # as csv_cell made it
) -> str:
    "The text of a cell; a path names the same file again."
    if cell.startswith(_URI):
        return os.fsdecode(unquote_to_bytes(cell.removeprefix(_URI).removeprefix("./")))
    own = cell.startswith("'") and (_FORMULA.match(cell[1:]) or cell[1:].startswith(_URI))
    return cell[1:] if own else cell
