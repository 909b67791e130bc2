"Ctrl-C, SIGTERM and SIGHUP, in real processes: one line, the right exit code, no traceback, and a run to resume."

import os
import signal
import subprocess
import sys
import time

import pytest
from command import TINY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

WAITING = """
import time
from dcacn_nb.cli import output
import typer

@output.guarded
def wait() -> None:
    output.complain("waiting")
    try:
        time.sleep(30)
    except KeyboardInterrupt:
        if {convert}:
            raise ImportError("a half-imported library says so")
        raise

import sys, types
module = types.ModuleType("dcacn_nb.cli.app")
module.app = typer.Typer(pretty_exceptions_enable=False)
module.app.command()(wait)
sys.modules["dcacn_nb.cli.app"] = module
from dcacn_nb.cli import main
main()
"""


def ended(process, timeout=60):
    "What a process wrote to standard error, and how it ended."
    _, err = process.communicate(timeout=timeout)
    assert "Traceback" not in err and "Exception ignored" not in err, err
    return process.returncode, err


def begun(code, word="waiting", **options):
    "A process that has written a word to standard error."
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)
    line = process.stderr.readline()
    assert word in line, line
    return process


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("convert", [False, True])
def test_a_waiting_command_ends_with_one_line(name, code, convert):
    "Also where a library makes another error of the interrupt."
    process = begun(WAITING.format(convert=convert))
    process.send_signal(getattr(signal, name))
    assert ended(process) == (code, "Interrupted.\n")


def test_nohup_is_respected():
    "A signal that is ignored from the start stays ignored."
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = begun(ignoring + WAITING.format(convert=False))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "Interrupted.\n")


def test_nobody_listens_any_more():
    "A reader that has gone, as in `| head`, ends nothing and is not complained about."
    code = (
        "import sys; from dcacn_nb.cli.output import say\n"
        "sys.stdin.readline()\nfor i in range(3): say('x' * 70000)\nprint('done', file=sys.stderr)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    process.stdin.write("\n")
    process.stdin.close()
    err = process.stderr.read()
    assert process.wait(60) == 0 and err == "done\n"


def fit(tmp_path, *more):
    "A training in another process, once it trains."
    command = [sys.executable, "-m", "dcacn_nb", "fit", "digits", "--limit", "40", "--run-dir", str(tmp_path / "run")]
    command += ["--epochs", "100000", "--batch-size", "20", *TINY, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    log = tmp_path / "run" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size > 2000):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_run_is_saved_and_can_be_resumed(tmp_path, name, code):
    "Each signal stops a run after its step, with a checkpoint, and says how to go on."
    process = fit(tmp_path)
    process.send_signal(getattr(signal, name))
    status, err = ended(process)
    assert status == code and "everything so far is saved" in err and f"resume {tmp_path / 'run'}" in err
    assert list((tmp_path / "run" / "checkpoints").glob("step_*.safetensors"))


@pytest.mark.slow
def test_many_interrupts_show_no_traceback(tmp_path):
    "Whatever moment the second, the third and the fourth come at."
    process = fit(tmp_path)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    status, _ = ended(process)
    assert status in (130, -signal.SIGINT)
