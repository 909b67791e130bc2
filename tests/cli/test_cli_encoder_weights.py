"`--encoder-weights FILE`: a network of a user's own, from the first run to its use on new photos."

import json
import pickle

import pytest
import timm
import torch
from command import dcacn, folder_of_images, machine
from safetensors.torch import save_file

QUICK = ["--epochs", "1", "--set", "snapshot_every=0", "--device", "cpu"]
OWN = ["--encoder", "test_vit", "--encoder-weights"]


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return timm.create_model("test_vit").state_dict()


@pytest.mark.slow
def test_from_a_folder_to_new_photos(state, tmp_path):
    "fit, evaluate, predict, similar, resume and compare use the file; where it has moved, they ask for it."
    album, file = folder_of_images(tmp_path / "album", size=40), tmp_path / "own.safetensors"
    save_file(state, file)
    answer = machine("fit", album, "-k", 2, *OWN, file, "--run-dir", tmp_path / "run", *QUICK)
    assert sum(answer["cluster_sizes"]) == 16
    about = json.loads((tmp_path / "run" / "config.json").read_text())
    assert about["encoder"]["name"] == "test_vit" and len(about["encoder"]["weights"]) == 64
    assert about["protocol"]["encoder"]["weights_file"] == str(file)
    assert json.loads((tmp_path / "run" / "source.json").read_text())["encoder_weights"] == str(file)
    before = [line.split(",")[1] for line in (tmp_path / "run" / "clusters.csv").read_text().splitlines()]

    moved = file.rename(tmp_path / "moved.safetensors")
    now = ["--encoder-weights", moved]
    for command in (["evaluate", tmp_path / "run"], ["similar", tmp_path / "run", "0"], ["resume", tmp_path / "run"]):
        out = dcacn(*command, code=2)
        assert f"weights are not at {file} any more; if they have moved, give --encoder-weights NEW" in out.stderr
        dcacn(*command, *now)
    assert json.loads((tmp_path / "run" / "source.json").read_text())["encoder_weights"] == str(moved)
    dcacn("evaluate", tmp_path / "run")  # resume has noted the new place
    out = dcacn("predict", tmp_path / "run", album, "-o", tmp_path / "new.csv", code=2)
    assert "--encoder-weights NEW" in out.stderr
    dcacn("predict", tmp_path / "run", album, "-o", tmp_path / "new.csv", *now)
    assert [line.split(",")[1] for line in (tmp_path / "new.csv").read_text().splitlines()] == before

    torch.manual_seed(1)
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), other)
    out = dcacn("predict", tmp_path / "run", album, "-o", tmp_path / "x.csv", "--encoder-weights", other, code=2)
    assert "features must come from the encoder of the run, test_vit with weights" in out.stderr
    dcacn("compare", album, *OWN, moved, "--methods", "kmeans", "--seeds", "0", "--folder", tmp_path / "grid")
    assert machine("embed", album, *OWN, moved, "-o", tmp_path / "f.npz")["encoded"] == 0  # all from the cache


def bad_files(home, state):
    "Weights files that cannot be used, with what is said about each."
    save_file(state, home / "whole.safetensors")
    torch.save(state, home / "whole.pth")
    for suffix in ("safetensors", "pth"):
        data = (home / f"whole.{suffix}").read_bytes()
        (home / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
    (home / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    torch.save(timm.create_model("test_vit"), home / "module.pth")
    save_file(timm.create_model("test_resnet").state_dict(), home / "resnet.safetensors")
    return {
        "none.safetensors": "none.safetensors' does not exist",
        "cut.safetensors": "is cut short or damaged: copy or download it again",
        "cut.pth": "is cut short or damaged: copy or download it again",
        "plain.pth": "weights file",
        "module.pth": "could run code, or is damaged; they are not loaded: save the tensors alone: safetensors",
        "resnet.safetensors": "is for another architecture",
        "weights.pkl": "must end in .safetensors or .pth or .pt; save the tensors alone: safetensors",
    }


def test_bad_files_are_refused(state, tmp_path):
    "One clear line each, exit code 2, no run folder."
    album = folder_of_images(tmp_path / "album", each=2)
    for name, words in bad_files(tmp_path, state).items():
        out = dcacn("fit", album, "-k", 2, *OWN, tmp_path / name, "--run-dir", tmp_path / "run", code=2)
        assert words in out.stderr and len(out.stderr.strip().splitlines()) == 1, (name, out.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        ([], "needs --encoder NAME, the architecture of the weights, such as --encoder resnet50"),
        (["--encoder", "none"], "needs --encoder NAME"),
        (["--encoder", "lite0"], "encoder 'lite0' comes with its weights"),
        (["--encoder", "test_vitt"], "did you mean"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "compare"])
def test_weights_need_their_architecture(command, options, words, state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    album = folder_of_images(tmp_path / "album", each=2)
    out = dcacn(command, album, "-k", 2, *options, "--encoder-weights", tmp_path / "w.safetensors", code=2)
    assert words in out.stderr


def test_a_run_on_pixels_has_no_weights_file(finished, state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    own = ["--encoder-weights", tmp_path / "w.safetensors"]
    assert "was not loaded from a file; leave it out" in dcacn("evaluate", finished, *own, code=2).stderr
    out = dcacn("predict", finished, folder_of_images(tmp_path / "a"), *own, code=2)
    assert "weights must be None: the network was trained on images" in out.stderr


def test_finetune_takes_the_file_itself(tmp_path):
    "Weights for the preset that tunes a network become the method's own; wrong ones are refused."
    album = folder_of_images(tmp_path / "album", each=2)
    out = dcacn("fit", album, "-k", 2, "--preset", "finetune", "--encoder-weights", tmp_path / "w.pth", code=2)
    assert "w.pth' does not exist" in out.stderr
