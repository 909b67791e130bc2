"Every file of a run folder replaced by something else: each command ends with 0 or with one line that names a file."

import os
import shutil
import threading
import time

import numpy as np
import pytest
from command import dcacn, folder_of_images

pytest.importorskip("anywidget", reason="needs Jupyter's widgets")
from dcacn_nb.widgets import ClusterBrowser, ClusterHealth, Curves, MapViewer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs links and pipes")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    "A run on images and one on features, with every file that commands read; and the images."
    root = tmp_path_factory.mktemp("hostile")
    images = folder_of_images(root / "photos")
    np.savez(root / "rows.npz", features=np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32))
    settings = ("-k", 2, "--epochs", 1, "--set", "batch_size=8", "--set", "device=cpu", "--set", "snapshot_every=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcacn_nb.fitting.write_report", lambda folder: None)
        pixels = ("--encoder", "none", "--set", "width=2", "--set", "n_local=0")
        dcacn("fit", images, "--run-dir", root / "images", *pixels, *settings)
        dcacn("fit", root / "rows.npz", "--run-dir", root / "features", *settings)
    for kind in ("images", "features"):
        (root / kind / "clusters.json").write_text('{"version": 1, "clusters": 2, "names": {"0": "cats"}}')
        (root / kind / "report.html").touch()
    return root


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    "A report without drawings, which take most of its time."
    monkeypatch.setattr("dcacn_nb.report.picture.Picture.html", lambda self, *args, **options: "<figure></figure>")


def _unreadable(path):
    path.touch()
    path.chmod(0)


KINDS = {
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "empty": lambda path: path.touch(),
    "missing": lambda path: None,
    "unreadable": _unreadable,
}
FILES = {
    "images": [
        "config.json",
        "events.jsonl",
        "source.json",
        "clusters.csv",
        "pictures.json",
        "clusters.json",
        ".lock.1",
        "reference.json",
        "report.html",
        "checkpoints",
        "snapshots",
        "checkpoints/step",
        "checkpoints/best",
        "snapshots/",
    ],  # fmt: skip
    "features": ["config.json", "events.jsonl", "source.json", "groups.json", "checkpoints/step", "clusters.json"],
}
LINES = [
    ("resume", "run"),
    ("evaluate", "run"),
    ("predict", "run", "photos", "-o", "predicted.csv"),
    ("report", "run"),
    ("export", "run", "table.csv"),
    ("similar", "run", "0"),
    ("duplicates", "run"),
]
EVERY = [(kind, file, what) for kind, files in FILES.items() for file in files for what in KINDS]
# all of them take minutes, and `make drill` tries them too; 6 and the number of kinds have no common divisor
CHOSEN = EVERY if "DCACN_EVERY" in os.environ else EVERY[::6]


def _replaced(runs, here, kind, file, what):
    "A copy of a run whose file is something else."
    shutil.copytree(runs / kind, here / "run")
    place = here / "run" / file.partition("/")[0]
    path = next(place.glob(f"{file.partition('/')[2]}*")) if "/" in file else place
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    KINDS[what](path)
    return path


def _attached(widget, run):
    "A widget that follows the run, for a moment."
    options = {"method": "pca"} if widget is MapViewer else {}  # t-SNE would start a process of its own
    panel = widget.attach(run, **options)
    try:
        until = time.monotonic() + 0.3
        while panel.follower is not None and time.monotonic() < until:
            time.sleep(0.02)
        panel.figure() if widget is not MapViewer else panel.describe()
    finally:
        panel.close()


def _grid_of(run, folder):
    "A grid whose only cell is the run."
    (folder / "kmeans" / "default").mkdir(parents=True)
    (folder / "grid.json").write_text('{"protocol": {"source": "photos"}, "budget": "1 epoch"}')
    (folder / "kmeans" / "default" / "seed-0").symlink_to(run)


@pytest.mark.parametrize("kind, file, what", EVERY if "DCACN_EVERY" in os.environ else EVERY[::13])
def test_every_widget_and_table_ends_well(runs, tmp_path, kind, file, what, monkeypatch):
    "They say what is damaged, in the picture or in one of the documented errors; no thread of theirs breaks."
    if what == "unreadable" and not os.geteuid():
        pytest.skip("nothing is unreadable for root")
    broken = []
    monkeypatch.setattr(threading, "excepthook", lambda args: broken.append(args.exc_value))
    path = _replaced(runs, tmp_path, kind, file, what)
    for widget in (ClusterBrowser, MapViewer, ClusterHealth, Curves):
        try:
            _attached(widget, tmp_path / "run")
        except (ValueError, OSError) as error:
            assert path.name in str(error) or "run" in str(error), error
    _grid_of(tmp_path / "run", tmp_path / "grid")
    result = dcacn("grid", tmp_path / "grid", code=None)
    assert result.exit_code in (0, 2), result.stderr
    assert result.exit_code == 0 or "seed-0" in result.stderr
    assert not broken


@pytest.mark.parametrize("kind, file, what", CHOSEN)
def test_every_command_ends_well(runs, tmp_path, kind, file, what):
    if what == "unreadable" and not os.geteuid():
        pytest.skip("nothing is unreadable for root")
    for name in ("photos", "rows.npz"):
        (tmp_path / name).symlink_to(runs / name)
    for line in LINES:
        if line[0] == "predict" and kind == "features":  # nobody knows which encoder would give such features
            continue
        path = _replaced(runs, tmp_path, kind, file, what)
        result = dcacn(*line, code=None)
        assert result.exit_code in (0, 2), (line, result.stderr)
        if result.exit_code == 2 and what != "missing":
            assert path.name in result.stderr or file.partition("/")[0] in result.stderr, (line, result.stderr)
        shutil.rmtree(tmp_path / "run")
