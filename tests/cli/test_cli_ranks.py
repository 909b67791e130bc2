"Commands started by torchrun: what many processes cannot share is refused before any work; one of them speaks."

import pytest
from command import TINY, dcacn, folder_of_images


def launched(monkeypatch, rank=0, world=2, **more):
    "What torchrun sets."
    for name, value in {"RANK": rank, "WORLD_SIZE": world, **more}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("command", ["demo", "compare", "ablate", "predict", "embed", "data", "cache"])
def test_commands_for_one_process(monkeypatch, command):
    "They say so, and which commands many processes may run."
    launched(monkeypatch)
    assert f"`dcacn {command}` works in one process, and 2 were started" in dcacn(command, "x", code=2).stderr
    launched(monkeypatch, rank=1)
    assert "start it without torchrun" in dcacn(command, "x", code=2).stderr


def test_an_encoder_is_for_one_process(monkeypatch, tmp_path):
    "A head on features needs no second process: said before anything is encoded."
    launched(monkeypatch)
    folder = folder_of_images(tmp_path / "photos")
    said = dcacn("fit", folder, "--encoder", "lite0", "--run-dir", tmp_path / "run", code=2).stderr
    assert "features of lite0" in said and "--encoder none" in said and not (tmp_path / "run").exists()


def test_restarts_need_a_named_folder(monkeypatch):
    "Each start would begin another run."
    launched(monkeypatch, TORCHELASTIC_MAX_RESTARTS=3)
    assert "torchrun --max-restarts needs --run-dir" in dcacn("fit", "digits", code=2).stderr


def test_a_restarted_fit_resumes(monkeypatch, tmp_path):
    "The same command, started again by torchrun, continues the run that it began."
    run_dir, options = tmp_path / "run", [*TINY, "--limit", 40, "--batch-size", 20, "--epochs", 1]
    dcacn("fit", "digits", "--run-dir", run_dir, *options)
    assert "already holds a run" in dcacn("fit", "digits", "--run-dir", run_dir, *options, code=2).stderr
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "resuming at step 2" in dcacn("fit", "digits", "--run-dir", run_dir, *options).stdout


@pytest.mark.parametrize("rank, said", [(0, "Error: "), (1, "[process 1] Error: ")])
def test_every_process_reports_its_error(monkeypatch, rank, said):
    "With its number, since it may be the only one that fails."
    launched(monkeypatch, rank)
    assert dcacn("fit", "nowhere", code=2).stderr.startswith(said)


def test_nonsense_in_the_environment(monkeypatch):
    "One line, no traceback."
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert "WORLD_SIZE in the environment must be a whole number" in dcacn("fit", "digits", code=2).stderr
