"Run the `dcacn` command in this process, and tiny data for it."

import json
import pickle

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from dcacn_nb.cli.app import app

SETTINGS = ["width=2", "n_local=0", "projection_dim=4", "snapshot_every=0", "warmup_epochs=0", "device=cpu"]
TINY = [part for setting in SETTINGS for part in ("--set", setting)]


def dcacn(*args, code=0):
    "Run a command in this process; its result, after its exit code was checked."
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert code is None or result.exit_code == code, (
        f"exit code {result.exit_code}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
    )
    assert "Traceback" not in result.output
    return result


def machine(*args, code=0):
    "The JSON object of a command, which must be all of its standard output."
    return json.loads(dcacn(*args, "--json", code=code).stdout)


def folder_of_images(root, classes=("dark", "light"), each=8, size=8):
    "A folder with a sub-folder of images for each class."
    for c, name in enumerate(classes):
        for i in range(each):
            pixels = np.random.default_rng(10 * c + i).integers(0, 100, (size, size), dtype=np.uint8) + 150 * c
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


def fake_cifar10(root, monkeypatch):
    "Files in CIFAR-10's layout, 12 images in all; their checksums are not verified."
    home = root / "cifar-10-batches-py"
    home.mkdir(parents=True)
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        pixels = np.random.default_rng(i).integers(0, 256, (2, 3072), dtype=np.uint8)
        (home / name).write_bytes(pickle.dumps({"data": pixels, "labels": [(2 * i) % 10, (2 * i + 1) % 10]}))
    (home / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
