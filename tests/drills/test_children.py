"What the drills rely on: a child that breaks a rule is caught, killed where it should be, and ended where it hangs."

import os
import random
import signal
import sys
import time

import pytest
from project import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the drills fork, mount and set limits as Linux does")
pytest.importorskip("resource", reason="the drills set limits as Linux does")
sys.path.append(str(ROOT / "tools"))  # the drills are no part of the package

from drills.children import Rules, mark, run  # noqa: E402
from drills.kills import Scenario, _kill_one  # noqa: E402
from drills.rows import Row, Violation  # noqa: E402


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_what_a_child_returns_and_raises(home):
    done = run(lambda: {"a": [1, None]}, home)
    assert (done.how, done.value, done.outside) == ("done", {"a": [1, None]}, [])
    failed = run(lambda: [][1], home)
    assert (failed.how, failed.error) == ("raised", "IndexError") and "test_children.py" in failed.text
    assert run(lambda: sys.exit(2), home).value == 2
    assert run(lambda: print("said", flush=True), home).output == "said\n"
    crashed = run(lambda: os.kill(os.getpid(), signal.SIGSEGV), home)
    assert crashed.how == "crashed" and str(int(signal.SIGSEGV)) in crashed.text


def test_changes_outside_are_seen(home, tmp_path):
    "Also through links, by relative paths, and by what only deletes, renames or makes folders."
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_text("a")
    (home / "link").symlink_to(tmp_path / "outside")
    (home / "file-link").symlink_to(tmp_path / "outside" / "a")
    for wrong in (
        lambda: open("../outside/a", "a").close(),
        lambda: (home / "link" / "new").touch(),
        lambda: (home / "file-link").write_text("b"),
        lambda: (home / "link" / "a").unlink(),
        lambda: os.mkdir(tmp_path / "outside" / "folder"),
        lambda: os.replace(home / ".home", home / "link" / "moved"),
        lambda: os.system("true"),
    ):
        assert run(wrong, home, Rules(allowed=(home,))).outside
    for right in (
        lambda: (tmp_path / "outside" / "folder").exists(),
        lambda: (home / "new").write_text("x"),
        lambda: (home / "file-link").unlink(),
        lambda: open(os.devnull, "w").close(),
    ):
        child = run(right, home, Rules(allowed=(home,)))
        assert (child.how, child.outside) == ("done", [])


def test_killed_before_the_nth_file_operation(home):
    "Of five files, those before the kill are there."

    def work():
        for i in range(5):
            (home / f"{i}").write_text("x")

    assert run(work, home, Rules(kill_before=10**9)).operations == 5
    for path in home.glob("?"):
        path.unlink()
    assert run(work, home, Rules(kill_before=3)).how == "killed"
    assert sorted(path.name for path in home.glob("?")) == ["0", "1"]
    late = run(lambda: time.sleep(60), home, Rules(kill_after=0.3))
    assert late.how == "killed" and late.seconds < 20


def test_hangs_and_memory_end(home):
    hang = run(lambda: (mark("asleep"), time.sleep(60)), home, Rules(limit=0.5))
    assert (hang.how, hang.mark) == ("hang", "asleep") and hang.seconds < 20
    greedy = run(lambda: bytearray(1 << 30), home, Rules(memory=1 << 28))
    assert (greedy.how, greedy.error) == ("raised", "MemoryError")


def _half_written(folder):
    "Work as it must not be: a file written in place, in two parts."
    with open(folder / "result", "w") as file:
        file.write("first")
        file.flush()
        os.mkdir(folder / "between")
        file.write("second")


def test_the_kills_catch_work_that_is_not_atomic(tmp_path, monkeypatch):
    "What a kill breaks is found, with the point at which it was killed; what survives is counted."
    monkeypatch.setattr("drills.kills.plain_pictures", lambda: None)
    (tmp_path / "inputs").mkdir()
    resumed = lambda folder: None if (folder / "result").exists() else _half_written(folder)
    bad = Scenario("half", _half_written, resumed, lambda folder: (folder / "result").read_text())
    row = Row("kills", 3)
    row.attempt()
    with pytest.raises(Violation, match=r"kills, --seed 3, attempt .*half .*kill_before.*first"):
        _kill_one(row, random.Random(0), bad, tmp_path / "killed", tmp_path / "inputs", 6)
    assert row.lost == 1 and row.survived == row.tried - 1
