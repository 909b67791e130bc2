"`dcacn cache`: what is kept, and room; and what is said where pictures changed."

import errno
import json

import pytest
from fake_encoder import FakeEncoder
from pictures import class_tree, load
from typer.testing import CliRunner

from dcacn_nb.cli.app import app
from dcacn_nb.cli.which import NOTE, pictures_note, say_changes
from dcacn_nb.encoders import embed


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    root = class_tree(tmp_path / "photos")
    load(root), embed(root, FakeEncoder(), progress=False)
    return tmp_path / "cache"


def call(*args, **options):
    return CliRunner().invoke(app, ["cache", *args], **options)


def test_the_cache_is_listed(cache, tmp_path):
    found = call()
    assert found.exit_code == 0 and "decoded images" in found.output and "features" in found.output
    assert str(tmp_path / "photos") in found.output.replace("\n", "") and "2 entries" in found.output
    facts = json.loads(call("--json").stdout)
    assert len(facts["entries"]) == 2 and facts["bytes"] == sum(entry["bytes"] for entry in facts["entries"])


def test_the_cache_is_cleared_when_asked(cache):
    assert "Nothing to delete" in call("clear", "--older-than", "3", "--yes").output
    assert call("clear", input="n\n").exit_code == 1 and len(list(cache.iterdir())) == 4
    found = call("clear", input="y\n")
    assert found.exit_code == 0 and "2 deleted" in found.output and [path.name for path in cache.iterdir()] == ["key"]
    assert "0 entries" in call().output


def test_what_cannot_be_deleted_is_said(cache, monkeypatch):
    "Without permission, or on a disk that is read-only, nothing is in use; the reason is said, and the call failed."

    def refused(path, missing_ok=False):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.unlink", refused)
    found = call("clear", "--yes", "--json")
    assert found.exit_code == 1 and "0 deleted, 0 B freed; 2 kept (Permission denied)" in found.stderr, found.stderr
    assert json.loads(found.stdout)["in_use"] == 0 and json.loads(found.stdout)["failed"] == 2


def test_changed_pictures_are_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DCACN_CACHE", str(tmp_path / "cache"))
    root, run = class_tree(tmp_path / "photos"), tmp_path / "run"
    run.mkdir()
    about = {"config": {}, "method": "dcacn", "fingerprint": "x", "protocol": {"count": len(load(root))}}
    (run / "config.json").write_text(json.dumps(about))
    assert say_changes(load(root), run) is None and capsys.readouterr().err == ""
    for name, data in pictures_note(load(root)).items():
        (run / name).write_bytes(data)
    assert say_changes(load(root), run) == {"added": 0, "removed": 0, "changed": 0}
    (root / "ant" / "0.png").unlink()
    assert say_changes(load(root), run)["removed"] == 1
    assert "pictures changed since training: 1 removed (e.g. ant/0.png)" in capsys.readouterr().err
    assert say_changes(load(root), run, others=True)["removed"] == 1
    assert "1 removed" in capsys.readouterr().err, "the same pictures at another place, but for one"
    assert say_changes(load(class_tree(tmp_path / "strangers", names=("cat", "dog"))), run, others=True) is None
    assert capsys.readouterr().err == ""
    for damage in ("", "{", "[]", '{"files": 3}'):
        (run / NOTE).write_text(damage)
        assert say_changes(load(root), run) is None
        number, said = len(load(root)), capsys.readouterr().err
        assert f"{number} images now, {number + 1} in training" in said and f"{run / NOTE} is damaged" in said
