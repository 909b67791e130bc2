"Files that are whole or absent, and are what they should be."

import errno
import os
import socket
import subprocess
import sys

import pytest

from dcacn_nb.core.files import (
    NotAFile,
    atomic_write,
    inside,
    open_regular,
    read_json,
    read_regular,
    sweep,
)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    target = atomic_write(tmp_path / "new" / "report.txt", b"first")
    with pytest.raises(TypeError, match="bytes-like"):
        atomic_write(target, lambda file: file.write("not bytes"))
    assert target.read_bytes() == b"first" and list(target.parent.iterdir()) == [target]
    assert atomic_write(target, b"second").read_bytes() == b"second"
    assert atomic_write(str(target), lambda file: file.write(b"third")).read_bytes() == b"third"


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "report.txt", interrupted)
    assert not list(tmp_path.iterdir())


def test_an_error_names_the_file_and_not_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as found:
        atomic_write(tmp_path / "folder", b"x")
    assert found.value.filename == str(tmp_path / "folder") and len(list(tmp_path.iterdir())) == 1

    def refused(**_):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".x.abcdefgh.tmp"))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    with pytest.raises(PermissionError) as found:
        atomic_write(tmp_path / "x", b"x")
    assert found.value.filename == str(tmp_path / "x")


def test_a_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    assert atomic_write(tmp_path / "x", b"").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


# --- what is no ordinary file -------------------------------------------------------------------------------------
def make(kind, path):
    "Something that stands where a file should be."
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as new:
            new.bind(os.path.relpath(path))  # the path of a socket must be short
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)


ODD = ["pipe", "socket", "folder", "/dev/zero", "/dev/tty", "/"]


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices")
@pytest.mark.parametrize("kind", ODD)
def test_nothing_waits_for_what_is_no_file(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(kind, tmp_path / "odd")
    for read in (open_regular, read_regular, read_json):
        with pytest.raises(OSError, match="where an ordinary file should be") as caught:
            read(tmp_path / "odd")
        assert isinstance(caught.value, ValueError) and caught.value.filename == str(tmp_path / "odd")


def test_a_link_to_a_file_is_read_and_a_missing_file_is_missing(tmp_path):
    (tmp_path / "real").write_bytes(b"{}")
    (tmp_path / "link").symlink_to("real")
    assert read_json(tmp_path / "link") == {}
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "missing")


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10**11)
    with pytest.raises(NotAFile, match="holds 100,000,000,000 bytes, and should hold at most"):
        read_json(tmp_path / "sparse")


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 10**5, b"\xff\xfe\xff", b'{"a": ' * 10**4, b"1" * 10**5])
def test_a_damaged_json_file_is_named(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.json' is damaged .*; restore it"):
        read_json(tmp_path / "x.json")


# --- nothing leaves its folder ------------------------------------------------------------------------------------
@pytest.fixture
def elsewhere(tmp_path):
    "A folder `home` with a link that leads out of it, to a folder with a file."
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("precious")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "out").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


@pytest.mark.parametrize("name", ["out/x", "out/new/x", "../elsewhere/x", "out/../x", "dangling/x", "new/../../x"])
def test_no_link_leads_out_of_a_folder(tmp_path, elsewhere, name):
    home = tmp_path / "home"
    (home / "dangling").symlink_to(tmp_path / "nowhere")
    for write in (lambda: inside(home, home / name), lambda: atomic_write(home / name, b"", home=home)):
        with pytest.raises(OSError, match="leads out of"):
            write()
    assert [path.name for path in elsewhere.iterdir()] == ["x"] and (elsewhere / "x").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "home"]


def test_a_folder_that_is_itself_reached_through_a_link_is_fine(tmp_path, elsewhere):
    home = tmp_path / "home" / "out"
    assert atomic_write(home / "a" / "b" / "y", b"new", home=home).read_bytes() == b"new"
    assert inside(home, home / "x") == home / "x"


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path, elsewhere):
    home = tmp_path / "home"
    (home / "y").symlink_to(elsewhere / "x")
    os.link(elsewhere / "x", home / "z")
    for name in "yz":
        atomic_write(home / name, b"new", home=home)
    assert (elsewhere / "x").read_text() == "precious" and (home / "y").read_bytes() == b"new"


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder is gone"):
        atomic_write(tmp_path / "home" / "sub" / "x", b"", home=tmp_path / "home")
    assert not list(tmp_path.iterdir())


# --- what killed processes leave ----------------------------------------------------------------------------------
WRITER = """
import sys, time
from dcacn_nb.core.files import atomic_write
def slowly(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
atomic_write(sys.argv[1], slowly)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps open files itself")
def test_only_the_temporary_files_of_processes_that_are_dead_are_swept(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "x.bin")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    others = [".x.bin.tmp", "x.tmp", ".notes.txt", ".x.bin.ABCDEFGH.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".link.abcdefgh.tmp").symlink_to(tmp_path / "x.tmp")
    os.mkfifo(tmp_path / ".pipe.abcdefgh.tmp")
    assert sweep(tmp_path) == []
    process.kill()
    process.communicate()
    assert [path.name[:7] for path in sweep(tmp_path)] == [".x.bin."]
    kept = {*others, ".link.abcdefgh.tmp", ".pipe.abcdefgh.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == kept and sweep(tmp_path / "nowhere") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps open files itself")
def test_writing_a_file_again_removes_what_a_killed_process_left_of_it(tmp_path):
    "Nobody else sweeps where a person had one file written; other files' leftovers are not its business."
    mine, another = tmp_path / ".x[1].bin.abcdefgh.tmp", tmp_path / ".x1.bin.abcdefgh.tmp"
    mine.write_bytes(b"half"), another.write_bytes(b"half")
    target = atomic_write(tmp_path / "x[1].bin", b"whole")
    assert sorted(tmp_path.iterdir()) == [another, target] and target.read_bytes() == b"whole"
