"MapViewer and its helper process, without a browser: what happens when something goes wrong, and what happens at once."

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from project import ROOT

from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.projector import Film, Projector


def snapshot(epoch, n=12, first=0, images=False):
    "A snapshot of n images on three spots."
    draw, cluster = np.random.default_rng(epoch), np.arange(n) % 3
    h = 5 * np.eye(3, dtype=np.float32)[cluster] + draw.normal(size=(n, 3)).astype(np.float32)
    arrays = {"h": h, "p": np.eye(3, dtype=np.float32)[cluster] * 0.9 + 0.03}
    if images:
        arrays["images"] = np.full((n, 1, 4, 4), 9, np.uint8)
    return SnapshotTaken(epoch, epoch, first + np.arange(n), arrays)


START = RunStarted("dcacn", {}, {}, 12, 20, 10)


class StandIn:
    "In place of the helper: a map at once, or when the gate opens; or an error."

    def __init__(self, gate=None, error=None):
        self.gate, self.error, self.calls = gate, error, []

    def map(self, method, h, start, steps):
        self.calls.append((method, len(h), start, steps))
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return h[:, :2].copy(), 0.5

    rests = 0

    def rest(self):
        "A process would end here."
        self.rests += 1

    def close(self):
        pass


@pytest.fixture
def make():
    "Views with a stand-in for the helper; closed at the end."
    from dcacn_nb.widgets.map import MapViewer

    views = []

    def build(helper=None, **kwargs):
        view = MapViewer(**kwargs)
        view.projector = helper or StandIn()
        views.append(view)
        return view

    yield build
    for view in views:
        view.close()


def sent(view):
    "What a view that says hello is sent."
    out = []
    view.send = lambda content, buffers=(): out.append((content, buffers))
    view._on_message(view, {"kind": "hello"}, [])
    del view.send
    return out


def alive(pid):
    "Whether a process runs."
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# ---- the helper process
SCRIPT = """
import os, sys, threading, time
import numpy as np
from dcacn_nb.widgets.projector import Projector
helper = Projector()
points, explained = helper.map("pca", np.eye(4))
assert points.shape == (4, 2)
threading.Thread(target=lambda: helper.map("tsne", np.random.default_rng(0).normal(size=(3000, 10))), daemon=True).start()
time.sleep(0.3)
print(helper.process.pid, flush=True)
{end}
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc to see processes")
@pytest.mark.parametrize("end", ["os._exit(1)", "sys.exit()", "os.kill(os.getpid(), 9)"])
def test_the_helper_dies_with_its_kernel(tmp_path, end):
    "A script without a __main__ guard gets its maps; however it ends, and in the middle of a map, the helper ends too."
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(end=end))
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    pid = int(done.stdout)
    until = time.monotonic() + 10
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid), f"the helper outlived a script that ended by {end}"


def test_close_ends_a_map_under_way():
    "close() kills the helper in the middle of a long map; whoever waits for it is told; nothing is left."
    helper, told = Projector(), []
    helper.map("pca", np.eye(4))
    process = helper.process

    def ask():
        try:
            helper.map("tsne", np.random.default_rng(0).normal(size=(4000, 10)))
        except RuntimeError as error:
            told.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    time.sleep(0.2)
    begin = time.monotonic()
    helper.close()
    waiting.join(10)
    assert time.monotonic() - begin < 5 and process.returncode is not None and len(told) == 1 and helper.process is None


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_the_stop_button_does_not_reach_the_helper():
    "Ctrl-C goes to the kernel's process group: the helper is not in it, and would not mind."
    helper = Projector()
    helper.map("pca", np.eye(4))
    pid = helper.process.pid
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGINT)
    assert helper.map("pca", np.eye(4))[0].shape == (4, 2) and helper.process.pid == pid
    helper.close()


# ---- the film
def test_waiting_features_are_counted_with_the_matrix_they_are_part_of():
    "Every tenth row holds the whole matrix in memory: the budget must see that."
    film = Film(("tsne",), budget=3 * 8 * 1000 * 10)
    for epoch in range(20):
        film.add(epoch, np.zeros((1000, 5))[::10], np.zeros((1000, 3))[::10])
    assert (
        sum(bool(film.lacks(frame)) for frame in film.frames) <= 4
        and film.dropped >= 16
        and film.lacks(film.frames.last)
    )


# ---- the widget
def test_the_training_thread_never_waits(make):
    "While a map takes for ever, two hundred snapshots are taken in at once, and a hello is answered."
    gate = threading.Event()
    view = make(StandIn(gate))
    view(START)
    begin = time.monotonic()
    for epoch in range(200):
        view(snapshot(epoch))
    kinds = [content["kind"] for content, _ in sent(view)]
    assert time.monotonic() - begin < 3 and kinds == ["start", "state"]
    gate.set()
    assert view.wait(30)
    epochs = [frame.epoch for frame in view.film.shown("tsne")]
    assert epochs == sorted(epochs) and epochs[-1] == 199 and len(epochs) > 100


def test_the_newest_goes_first(make):
    "Snapshots that came while a map was made: the newest is next."
    gate = threading.Event()
    view = make(helper := StandIn(gate))
    view(snapshot(0))
    while not helper.calls:
        time.sleep(0.01)
    for epoch in range(1, 9):
        view(snapshot(epoch))
    order, place = [], view.film.place
    view.film.place = lambda frame, method, *rest: (order.append((method, frame.epoch)), place(frame, method, *rest))
    gate.set()
    assert view.wait(30)
    assert [epoch for method, epoch in order if method == "tsne"][:3] == [0, 8, 4] and len(order) == 18


def test_a_new_run_and_other_images_begin_a_new_film(make):
    "RunStarted and a snapshot of other images each begin anew, and a map still under way for the old film is not shown."
    gate = threading.Event()
    view = make(helper := StandIn(gate))
    view(START)
    view(snapshot(0))
    while not helper.calls:
        time.sleep(0.01)
    view(START)
    assert view.summary == view.say("waiting_snapshot")
    gate.set()
    view(snapshot(3))
    assert view.wait(30) and [frame.epoch for frame in view.film.shown("tsne")] == [3]
    view.selection = [1, 2]
    view(snapshot(4, first=50))
    assert (
        view.wait(30)
        and [frame.epoch for frame in view.film.shown("tsne")] == [4]
        and view.indices[0] == 50
        and view.selection == []
    )


def test_samples_and_strides(make):
    "max_points thins the sample, tsne_points thins t-SNE further; the browser is told the stride."
    view = make(helper := StandIn(), max_points=50, tsne_points=15)
    view(snapshot(0, n=120))
    assert view.wait(30)
    assert [(method, n) for method, n, *_ in helper.calls] == [("pca", 40), ("tsne", 14)]
    messages = sent(view)
    assert messages[0][0]["strides"] == {"pca": 1, "tsne": 3} and messages[0][0]["n"] == 40
    assert np.frombuffer(messages[0][1][0], "<i4").tolist() == list(range(0, 120, 3))
    sizes = {
        content["method"]: [len(part) for part in buffers] for content, buffers in messages if content["kind"] == "map"
    }
    assert sizes == {"pca": [160, 80, 40], "tsne": [56, 80, 40]}
    assert "14 images" in view.summary


def test_pca_alone_until_somebody_asks(make):
    'method="pca" makes no t-SNE; choosing it makes that of the newest snapshot, and of all that follow.'
    view = make(helper := StandIn(), method="pca")
    for epoch in range(3):
        view(snapshot(epoch))
        assert view.wait(30)
    assert [call[0] for call in helper.calls] == ["pca"] * 3
    view.method = "tsne"
    assert view.wait(30)
    view(snapshot(3))
    assert (
        view.wait(30)
        and [frame.epoch for frame in view.film.shown("tsne")] == [2, 3]
        and view.summary.startswith("t-SNE of 12 images at epoch 3 (snapshot 4 of 4)")
    )


def test_a_helper_that_fails_is_named_and_pca_goes_on(make, caplog):
    "After two failures there is no t-SNE, in words; the plane is found in the kernel. A killed helper alone does no harm."
    view = make(StandIn(error=RuntimeError("no memory for a process")))
    for epoch in range(3):
        view(snapshot(epoch))
        assert view.wait(30)
    assert "no memory for a process" in view._state()["problem"] and "no t-SNE" in caplog.text
    assert len(view.film.shown("pca")) == 3 and not view.film.shown("tsne") and view.film.waiting == 0
    view.lang = "zh"
    assert "t-SNE 无法在此运行" in view._state()["problem"]

    killed = make(Projector())
    killed(snapshot(0))
    assert killed.wait(60)
    killed.projector.process.kill()
    killed(snapshot(1))
    assert (
        killed.wait(60)
        and killed._state()["problem"] == ""
        and [frame.epoch for frame in killed.film.shown("tsne")] == [0, 1]
    )


def test_the_picture_is_settled_again_when_the_last_map_comes(make):
    "The run ends before its maps are made: the picture in the notebook is replaced once more, and then shows the last map."
    gate, settled = threading.Event(), []
    view = make(StandIn(gate))

    class Handle:
        def update(self, bundle, raw):
            settled.append(bundle["text/plain"])

    view._handles.append(Handle())
    for event in (START, snapshot(0), snapshot(1), RunFinished("completed", 1, 1)):
        view(event)
    assert settled == ["The first map (t-SNE) is being made."]
    assert view.projector.rests == 0
    gate.set()
    assert view.wait(30) and view.projector.rests >= 1  # nothing more will come: the helper ends
    assert settled[-1] == "t-SNE of 12 images at epoch 1 (snapshot 2 of 2), coloured by 3 clusters."


def test_somebody_elses_history(make):
    "With history= the owner calls update; what it already holds is caught up with, and nothing is taken twice."
    history = History()
    for event in (START, snapshot(0, images=True), snapshot(1)):
        history(event)
    view = make(history=history)
    view.update(snapshot(1))
    view.update(snapshot(2))
    assert view.wait(30) and [frame.epoch for frame in view.film.shown("pca")] == [0, 1, 2]
    assert [content["kind"] for content, _ in sent(view)][:3] == ["start", "sheet", "state"]


def test_names_of_clusters_and_classes(make, tmp_path):
    "Names come from the run's folder; labels out of range are unknown, and never an error in the training thread."
    (tmp_path / "clusters.json").write_text('{"names": {"1": "cats & <dogs>"}}')
    view = make(folder=tmp_path, labels=[0, 1, 1, 0], class_names=["a", "b"], color_by="class")
    view(snapshot(0, first=2))
    assert view.wait(30)
    messages = sent(view)
    assert np.frombuffer(messages[0][1][1], "<u2").tolist() == [1, 0] + [65535] * 10 and messages[0][0]["classes"] == [
        "a",
        "b",
    ]
    assert [content["names"] for content, _ in messages if content["kind"] == "state"] == [{"1": "cats & <dogs>"}]
    assert "3 classes" in view.summary and view.figure().axes[-1].get_legend().get_title().get_text() == "class"


def test_the_selection_is_data_set_indices(make):
    "selected is an array of indices; observers hear of it; the summary counts it."
    view, heard = make(), []
    view.observe(lambda change: heard.append(change["new"]), "selection")
    view(snapshot(0, first=100))
    assert view.wait(30)
    view.selection = [103, 101]
    assert (
        heard == [[103, 101]]
        and view.selected.tolist() == [103, 101]
        and view.selected.dtype == np.int64
        and view.summary.endswith("; 2 images selected.")
    )


@pytest.mark.parametrize(
    "arrays", [{}, {"h": np.zeros((2, 3)), "p": np.ones((2, 2))}, {"h": np.zeros((4, 3, 1)), "p": np.ones((4, 2))}]
)
def test_snapshots_without_features_are_left_out(make, arrays):
    "No h, too few images, or a wrong shape: nothing is drawn, nothing is raised."
    view = make()
    view(SnapshotTaken(0, 0, np.arange(len(arrays.get("h", ()))), arrays))
    assert view.wait(5) and view.film.count == 0 and view.figure().alt == "Waiting for the first snapshot."


def test_every_cluster_is_in_the_printed_picture(make):
    "Even the sixth, a small plus, which vanishes if it is snapped to pixels."
    from PIL import Image

    from dcacn_nb.report.picture import COLORS

    cluster = np.arange(60) % 6
    view = make()
    view(
        SnapshotTaken(
            0,
            0,
            np.arange(60),
            {
                "h": np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32),
                "p": np.eye(6, dtype=np.float32)[cluster],
            },
        )
    )
    assert view.wait(30)
    figure = view.figure()
    figure.axes[0].get_legend().remove()
    ink = 255.0 - np.asarray(Image.open(io.BytesIO(figure.png(dpi=60))).convert("RGB")).reshape(
        -1, 3
    )  # what is taken off white: pale or not, its direction tells the colour
    ink = ink[ink.sum(1) > 80]
    for color in COLORS[:6]:
        own = np.array([255.0 - int(color[i : i + 2], 16) for i in (1, 3, 5)])
        assert (ink @ own / np.linalg.norm(ink, axis=1) / np.linalg.norm(own) > 0.995).sum() > 5, color
