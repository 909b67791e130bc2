"Words for people, one JSON object for machines, and for errors one line and an exit code."

import contextlib
import io
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dcacn_nb.cli.app import app as whole_program
from dcacn_nb.cli.output import BadInput, answer, call, checking, complain, guarded, rows_table, say


@pytest.fixture(autouse=True)
def quiet_call(monkeypatch):
    "No test leaves its switches to the next one."
    monkeypatch.setattr(call, "debug", False)
    monkeypatch.setattr(call, "json", False)


def heard(function, as_json=False):
    "What a function writes to the two streams."
    call.json = as_json
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        function()
    return out.getvalue(), err.getvalue()


def strictly(text):
    "Parse JSON as the standard defines it."

    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_two_readers():
    "A table for people on standard output; with --json, one object there and the table on standard error."
    rows = [{"name": "digits", "images": 1797}, {"name": "cifar10", "images": 60000}]

    def listing():
        complain("Looking ...")
        say(rows_table(rows, name="source", images="images"))
        answer({"sources": rows})

    out, err = heard(listing)
    assert err == "Looking ...\n" and "source" in out and "60000" in out and "{" not in out
    out, err = heard(listing, as_json=True)
    assert json.loads(out) == {"sources": rows} and "source" in err and err.startswith("Looking ...\n")


def test_json_is_strict():
    "No NaN, no NumPy numbers, no paths; the wrong variant, Python's own json, writes NaN."
    result = {
        "acc": np.float32(0.5),
        "n": np.int64(3),
        "loss": float("nan"),
        "path": Path("runs") / "a",
        "sizes": [np.int32(1), math.inf],
        7: ("x", None, True),
    }
    out, err = heard(lambda: (say("some words"), answer(result)), as_json=True)
    expected = {"acc": 0.5, "n": 3, "loss": None, "path": str(Path("runs") / "a"), "sizes": [1, None]}
    assert strictly(out) == expected | {"7": ["x", None, True]}
    assert out.count("\n") == 1 and err == "some words\n"
    with pytest.raises(ValueError, match="NaN is not JSON"):
        strictly(json.dumps({"loss": float("nan")}))


def failing(kind: str) -> None:
    "Fail in a certain way."
    with checking():
        if kind == "input":
            raise ValueError("b.png cannot be read; on_error='skip' skips it")
        if kind == "file":
            raise FileNotFoundError(2, "No such file or directory", "pictures")
    if kind == "later":
        raise RuntimeError("the disk is on fire")
    if kind == "interrupt":
        raise KeyboardInterrupt
    say("done")


def program(command):
    "A program with one command."
    app = typer.Typer()
    app.command()(command)
    return app


@pytest.mark.parametrize(
    "kind, code, message",
    [
        ("well", 0, "done"),
        ("input", 2, "Error: b.png cannot be read; --on-error skip skips it"),
        ("file", 2, "Error: pictures: No such file or directory"),
        ("later", 1, "Failed: RuntimeError: the disk is on fire\n(--debug shows where)"),
        ("interrupt", 130, "Interrupted."),
    ],
)
def test_exit_codes(kind, code, message):
    "Every way to end, with one line and no traceback."
    result = CliRunner().invoke(program(guarded(failing)), [kind])
    assert result.exit_code == code and result.output.strip() == message


def test_unguarded_commands_end_with_a_traceback():
    "The wrong variant: bad input ends with 1."
    result = CliRunner().invoke(program(failing), ["input"])
    assert isinstance(result.exception, BadInput) and result.exit_code == 1


def test_debug_hides_nothing():
    "The exception is raised as it is, with its cause."
    call.debug = True
    result = CliRunner().invoke(program(guarded(failing)), ["input"])
    assert isinstance(result.exception, BadInput) and isinstance(result.exception.__cause__, ValueError)


def test_json_holds_for_one_call():
    "A call with --json leaves no trace in the next one."

    def both(as_json: bool = False) -> None:
        say("words")
        answer({"done": True})

    app = program(guarded(both))
    assert CliRunner().invoke(app, ["--as-json"]).stdout == '{"done": true}\n'
    assert CliRunner().invoke(app, []).stdout == "words\n"


def test_long_lines_stay_whole():
    "A path can be copied, and square brackets are not taken for colours."
    path = "/" + "a" * 200 + "/[red]"
    assert heard(lambda: say(f"Run folder: {path}"))[0] == f"Run folder: {path}\n"


def test_what_a_terminal_would_obey_is_shown_as_an_escape():
    "In lines, in tables, in messages of the log, and in complaints about options."

    def hostile():
        say("a\x1b[31mb")
        complain("\x9b2J")
        say(rows_table([{"name": "x\x1b]0;y\x07"}], name="file"))

    out, err = heard(hostile)
    assert r"a\x1b[31mb" in out and r"x\x1b]0;y\x07" in out and err == "\\x9b2J\n" and "\x1b" not in out
    for line in (["report", "a\x1bb"], ["report", "--\x1bb"], ["\x1bb"], ["fit", "digits", "--split", "\x1bb"]):
        result = CliRunner().invoke(whole_program, line)
        assert result.exit_code == 2 and "\x1b" not in result.output and "x1bb" in result.output

    def logged(run_dir: str) -> None:
        logging.getLogger("dcacn_nb.test").warning("%s was skipped", run_dir)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.cli.apply.in_words", logged)
        patch.setattr("dcacn_nb.report.page.write_report", lambda folder: None)
        Path("log\x1b").mkdir()
        Path("log\x1b", "events.jsonl").touch()
        assert "WARNING: log\\x1b was skipped" in CliRunner().invoke(whole_program, ["report", "log\x1b"]).stderr


@pytest.mark.parametrize("charset", ["cp1252", "ascii", "utf-8"])
def test_a_stream_that_lacks_characters(charset):
    "Names in any writing, and names that are not text, end no command."
    runner = CliRunner(charset=charset)
    for name in ("照片", "🏖", "caf\udce9"):
        result = runner.invoke(whole_program, ["report", name])
        assert result.exit_code == 2 and "holds no run log" in result.stderr, result.exception
    assert runner.invoke(whole_program, ["data", "list"]).exit_code == 0
