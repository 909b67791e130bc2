"The helper process that makes maps, and the order in which the film has them made."

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from project import ROOT

from dcacn_nb.report.maps import MapSequence
from dcacn_nb.widgets.map_film import Film
from dcacn_nb.widgets.projector import Projector, next_map


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
features = np.random.default_rng(0).normal(size=(3000, 10))
threading.Thread(target=lambda: helper.map("tsne", features), daemon=True).start()
time.sleep(0.3)
print(helper.process.pid, flush=True)
{end}
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc to see processes")
@pytest.mark.parametrize("end", ["os._exit(1)", "sys.exit()", "os.kill(os.getpid(), 9)"])
def test_the_helper_dies_with_its_kernel(tmp_path, end):
    "A script without a __main__ guard gets its maps; however it ends, the helper ends too, also in mid-map."
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(end=end))
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=300,  # at its low priority, the helper may wait long beside other work
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    pid = int(done.stdout)
    until = time.monotonic() + 10
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pid), f"the helper outlived a script that ended by {end}"


def test_close_ends_a_map_under_way():
    "close() kills the helper in the middle of a long map; a thread that waits gets an error; nothing is left."
    helper, errors = Projector(), []
    helper.map("pca", np.eye(4))
    process = helper.process

    def ask():
        try:
            helper.map("tsne", np.random.default_rng(0).normal(size=(4000, 10)))
        except RuntimeError as error:
            errors.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    time.sleep(0.2)
    begin = time.monotonic()
    helper.close()
    waiting.join(10)
    assert (
        time.monotonic() - begin < 5 and process.returncode is not None and len(errors) == 1 and helper.process is None
    )


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


@pytest.fixture(scope="module")
def helper():
    "A helper process, shared by the tests that do not end it."
    helper = Projector()
    yield helper
    helper.close()


def test_a_turned_triangle_keeps_its_map(helper):
    "The smallest case: the second map starts from the first, so nothing moves; both are those of MapSequence."
    triangle = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0]])
    turned = triangle @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    first, _ = helper.map("pca", triangle)
    second, _ = helper.map("pca", turned, first)
    assert np.abs(first - second).max() < 1e-5 and np.abs(first - MapSequence("pca").add(triangle)).max() < 1e-6


@pytest.fixture(scope="module")
def moving():
    "Features of 300 digits at 9 times, from noisy pixels towards the mean of their class; and their assignments."
    from sklearn.datasets import load_digits

    digits, n, rng = load_digits(), 300, np.random.default_rng(0)
    label, pixels = digits.target[:n], digits.data[:n] / 16
    mean_of = np.stack([pixels[label == k].mean(0) for k in range(10)])[label]
    noise = 0.3 * rng.normal(size=pixels.shape)

    def features(t):
        "Features at time t in [0, 1], in axes of their own."
        axes = np.linalg.qr(np.random.default_rng(int(100 * t)).normal(size=(64, 64)))[0]
        return (((1 - t) * (pixels + noise) + t * (0.3 * pixels + 0.7 * mean_of)) @ axes).astype(np.float32)

    return [features(t / 8) for t in range(9)], np.eye(10, dtype=np.float32)[label]


def make(film, maker):
    "Make all maps of a film; the order in which they were made."
    order = []
    while (frame := film.next_frame()) is not None:
        order.append(frame.number)
        frame.assign(frame.p)
        for method in film.missing(frame):
            film.add_map(frame, method, *maker(method, frame.h, *film.start_of(frame, method)))
    return order


@pytest.fixture(scope="module")
def film(helper, moving):
    "All nine snapshots, mapped; the order in which they were."
    film = Film(("tsne",))
    for t, h in enumerate(moving[0]):
        film.add(5 * t, h, moving[1])
    film.order = make(film, helper.map)
    return film


def test_the_helper_makes_the_same_maps_without_torch_and_with_low_priority(helper, film):
    "Bit by bit those that this process makes."
    h, start = film.frames.last.h, film.frames[4].maps["tsne"]
    for method in ("pca", "tsne"):
        for args in ((h,), (h, start, 50)):
            (here, shares), (there, explained) = next_map(method, *args), helper.map(method, *args)
            assert np.array_equal(here, there) and shares == explained, method
    pid = helper.process.pid
    if os.path.exists(f"/proc/{pid}/status"):
        with open(f"/proc/{pid}/maps") as file:
            assert "libtorch" not in file.read()
        lowest = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        assert os.getpriority(os.PRIO_PROCESS, pid) >= lowest
    assert pid != os.getpid()


def moved(film):
    "Mean distance that a point covers from map to map, in units of the spread."
    maps = [m / np.sqrt((m**2).sum(1).mean()) for m in (frame.maps["tsne"] for frame in film.mapped("tsne"))]
    return [float(np.linalg.norm(b - a, axis=1).mean()) for a, b in zip(maps, maps[1:])]


class FromScratch(Film):
    "Wrong: every map from scratch."

    def start_of(self, frame, method):
        return None, None


def test_points_move_and_do_not_jump_though_maps_are_made_out_of_order(helper, film, moving):
    assert film.order == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    wrong = FromScratch(("tsne",))
    for t in range(9):
        wrong.add(5 * t, moving[0][t], moving[1])
    make(wrong, helper.map)
    assert max(moved(film)) < 0.3 and np.mean(moved(wrong)) > 3 * np.mean(moved(film))


def test_bad_features_are_refused_and_the_helper_lives_on():
    "A helper that dies is noticed at once, and the next request starts another; after close() there is none."
    helper, pixels = Projector(), np.random.default_rng(0).random((30, 6))
    helper.map("pca", pixels)
    pid = helper.process.pid
    for arguments in (("pca", np.full((5, 3), np.nan)), ("umap", pixels), ("tsne", pixels, np.zeros((4, 2)))):
        with pytest.raises(ValueError):
            helper.map(*arguments)
    assert helper.process.pid == pid
    helper.process.kill()
    with pytest.raises(RuntimeError, match="the helper process for maps has ended"):
        helper.map("pca", pixels)
    assert np.array_equal(helper.map("pca", pixels)[0], next_map("pca", pixels)[0]) and helper.process.pid != pid
    last = helper.process
    helper.close()
    assert last.returncode is not None
    with pytest.raises(RuntimeError, match="closed"):
        helper.map("pca", pixels)


# ---- the film
def paced(film, n, pace, D=8):
    "Feed n snapshots, with one map after each `pace` of them: (snapshot made, newest then), and most bytes waiting."
    made, most, points = [], 0, np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    for t in range(n):
        film.add(t, np.ones((20, D), np.float32), np.ones((20, 3), np.float32))
        if t % pace == 0:
            frame = film.next_frame()
            made.append((frame.number, film.frames.last.number))
            for method in film.missing(frame):
                film.add_map(frame, method, points)
        most = max(most, sum(0 if frame.h is None else frame.h.nbytes + frame.p.nbytes for frame in film.frames))
    return made, most


def test_the_newest_snapshot_is_first_and_gaps_are_filled_later():
    film = Film(("tsne",))
    made, _ = paced(film, 31, 3)
    assert all(number == newest for number, newest in made)
    rest = make(film, lambda method, h, start, steps: (np.ones((20, 2), np.float32) * [[1, -1]], None))
    assert sorted([*rest, *(number for number, _ in made)]) == list(range(31))


def test_memory_is_bounded_over_a_thousand_snapshots():
    "Frames, and bytes of features that wait: ten snapshots may."
    film = Film(("tsne",), limit=50, budget=10 * 20 * 11 * 4)
    _, most = paced(film, 1000, 10)
    assert len(film.frames) <= 51 and film.frames.last.number == 999
    assert most <= film.budget + 20 * 11 * 4 and film.dropped > 0


def test_between_two_maps_the_start_lies_between_them():
    "In proportion; `every` leaves t-SNE of some snapshots out; features go when their maps are made."
    film = Film(every=2)
    frames = [film.add(t, np.ones((4, 2), np.float32), np.eye(4, dtype=np.float32)) for t in range(5)]
    a, b = np.arange(8.0).reshape(4, 2), np.full((4, 2), 3.0) * [[1], [2], [3], [4]]
    film.add_map(frames[0], "tsne", a)
    film.add_map(frames[4], "tsne", b)
    start, steps = film.start_of(frames[1], "tsne")
    np.testing.assert_allclose(start, 0.75 * a + 0.25 * b)
    assert steps == 100 and film.start_of(frames[2], "tsne")[1] == 200
    assert film.start_of(frames[1], "pca") == (None, None)
    assert [film.missing(frame) for frame in frames] == [["pca"], ["pca"], ["pca", "tsne"], ["pca"], ["pca"]]
    for frame in frames:
        film.add_map(frame, "pca", a)
    film.add_map(frames[2], "tsne", a)
    assert [frame.h is None for frame in frames] == [True, True, True, True, False] and film.next_frame() is None


def test_waiting_features_are_counted_with_the_matrix_they_are_part_of():
    "Every tenth row holds the whole matrix in memory: the budget must see that."
    film = Film(("tsne",), budget=3 * 8 * 1000 * 10)
    for epoch in range(20):
        film.add(epoch, np.zeros((1000, 5))[::10], np.zeros((1000, 3))[::10])
    assert (
        sum(bool(film.missing(frame)) for frame in film.frames) <= 4
        and film.dropped >= 16
        and film.missing(film.frames.last)
    )
