"Pictures that have moved or changed since a run was trained on them; runs that go on for longer; folders of their own."

import shutil
from pathlib import Path

import pytest
from command import TINY, dcacn, folder_of_images, machine

import dcacn_nb as dc

FIT = ("--encoder", "none", "--epochs", 2, "--batch-size", 8, *TINY)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    "A run on a folder, and that folder."
    home = tmp_path_factory.mktemp("moved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        patch.setenv("DCACN_CACHE", str(home / "cache"))
        folder_of_images(home / "photos")
        dcacn("fit", home / "photos", "--run-dir", home / "run", *FIT)
    return home


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    "A copy of the run; its pictures are the first one's."
    monkeypatch.setenv("DCACN_CACHE", str(trained / "cache"))
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def test_moved_pictures_are_known_again(copy, trained):
    "By name for evaluate and resume; other pictures are not taken for them."
    photos, elsewhere = trained / "photos", trained / "elsewhere"
    other = folder_of_images(Path("other"), classes=("light", "dark"))
    photos.rename(elsewhere)
    try:
        for command in ("evaluate", "resume"):
            assert (
                f"not at {photos} any more; if they have moved, give --source NEW"
                in dcacn(command, copy, code=2).stderr
            )
        assert "16 images" in dcacn("evaluate", copy, "--source", elsewhere).stdout
        assert (
            "images: not the ones the run was started with" in dcacn("resume", copy, "--source", other, code=2).stderr
        )
        assert machine("resume", copy, "--source", elsewhere)["status"] == "completed"
        assert "16 images" in dcacn("evaluate", copy).stdout  # the new place is remembered
    finally:
        elsewhere.rename(photos)


def test_a_run_goes_on_for_longer(copy):
    "What is done stays, fewer epochs than that are refused, and what it means is said."
    assert "epochs must be >= 2" in dcacn("resume", copy, "--epochs", 1, code=2).stderr
    other, before = folder_of_images(Path("other"), classes=("light", "dark")), (copy / "config.json").read_bytes()
    assert "not the ones" in dcacn("resume", copy, "--epochs", 4, "--source", other, code=2).stderr
    assert (copy / "config.json").read_bytes() == before  # a refusal changes nothing
    result = dcacn("resume", copy, "--epochs", 4)
    assert "4 epochs instead of 2; 2 are done" in result.stdout and "resuming at step 4" in result.stdout
    assert "resuming at step 8" in dcacn("resume", copy).stdout


@pytest.mark.parametrize("how", ["copy", "hardlink", "link"])
def test_sorted_into_flat_folders(copy, how):
    "Files of the same name are kept apart; copies, hard links or symbolic links."
    dcacn("resume", copy, "--sort-into", "sorted", "--sort-how", how)
    files = [path for path in Path("sorted").rglob("*") if not path.is_dir()]
    assert len(files) == 16 and all(len(path.parts) == 3 for path in files)
    kinds = {"copy": {(False, 1)}, "link": {(True, 1)}}
    found = {(path.is_symlink(), path.lstat().st_nlink) for path in files}
    assert found == kinds[how] if how in kinds else all(not link and count > 1 for link, count in found)


def test_two_runs_take_two_folders(monkeypatch):
    "Both have found the same name free."
    from dcacn_nb.cli.running import claimed, new_run_dir

    first, second = new_run_dir(None, "digits", 0), new_run_dir(None, "digits", 0)
    assert first == second and claimed(first) != claimed(second)
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-0-1", "digits-0-2"]


def test_a_later_way_of_sorting_replaces_the_first(copy):
    dcacn("resume", copy, "--sort-into", "first", "--sort-how", "link")
    dcacn("resume", copy, "--sort-into", "second", "--sort-how", "copy")
    files = [path for path in Path("second").rglob("*") if not path.is_dir()]
    assert len(files) == 16 and not any(path.is_symlink() for path in files)


def test_a_run_from_python_with_a_part_of_a_folder_says_so(trained, tmp_path, monkeypatch):
    "Its protocol names the folder; the commands read all of it."
    monkeypatch.setenv("DCACN_CACHE", str(trained / "cache"))
    files = sorted((trained / "photos").rglob("*.png"))[4:12]
    settings = dict(epochs=1, batch_size=8, width=2, n_local=0, projection_dim=4, snapshot_every=0, device="cpu")
    dc.fit(dc.load_images(files), n_clusters=2, run_dir=tmp_path / "part", report=False, **settings)
    (tmp_path / "part" / "clusters.csv").unlink(missing_ok=True)
    for line in (["evaluate", "part"], ["similar", "part", "0"], ["duplicates", "part"], ["export", "part", "x.csv"]):
        assert "Note: 16 images now, 8 in training" in dcacn(*line).stderr, line
    assert "in training" not in dcacn("evaluate", "part", "--source", trained / "photos" / "dark").stderr
