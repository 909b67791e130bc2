"The attention viewer without a browser: bytes and their error, thinning, messages, words, two runs."

import re
import time

import matplotlib
import numpy as np
import pytest

from dcacn_nb.core.events import EpochDone, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report.figures.attention import plot_attention
from dcacn_nb.runs.log import RunLog, read_events
from dcacn_nb.widgets.attention import AttentionViewer, colour_table
from dcacn_nb.widgets.attention_maps import BUDGET, KINDS, RunMaps, encode_maps, quantise, restore
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.live import STATIC

BLOCKS = [("layer1.0", 8, 6), ("layer1.1", 8, 6), ("layer2.0", 4, 12)]


def start(attention=True, **config):
    return RunStarted("dcacn", {"attention": attention, **config}, {}, 8, 100, 10)


def snapshot(epoch, kinds=("spatial", "activation", "channel"), n=4, side=8, seed=0, first=0, extra_axis=False):
    "Random maps of the first n of n + 2 images; at epoch 0 the images, too."
    draw, arrays = np.random.default_rng([seed, epoch]), {}
    for block, part, channels in BLOCKS:
        size = part * side // 8
        maps = {
            "spatial": draw.uniform(0, 1, (n, 1, size, size) if extra_axis else (n, size, size)),
            "activation": draw.gamma(2, 3, (n, size, size)),
            "channel": draw.uniform(0.4, 0.6, (n, channels)),
        }
        arrays |= {KINDS[kind] + block: maps[kind].astype(np.float32) for kind in kinds}
    if epoch == 0:
        arrays["images"] = draw.integers(0, 256, (n + 2, 3, 10, 12)).astype(np.uint8)
    return SnapshotTaken(epoch, 10 * epoch, first + np.arange(n + 2), arrays)


def fed(*events, **kwargs):
    widget = AttentionViewer(**kwargs)
    for event in events:
        widget(event)
    return widget


class Browser:
    "What a page holds: it takes messages as `attention.js` does."

    def __init__(self, widget):
        self.runs, self.widget = [{"token": None, "frames": {}}, {"token": None, "frames": {}}], widget
        widget.send = lambda content, buffers=None: self.take(content, buffers)
        widget._on_message(widget, {"kind": "hello"}, [])

    def take(self, content, buffers):
        run = self.runs[content["side"]]
        if content["token"] != run["token"]:
            run.update(token=content["token"], frames={})
        run["frames"] = {number: frame for number, frame in run["frames"].items() if number in content["keep"]}
        if content["kind"] == "frame":
            run["frames"][content["number"]] = (content, buffers)
        else:
            run["about"] = content

    def epochs(self, side=0):
        return [content["epoch"] for _, (content, _) in sorted(self.runs[side]["frames"].items())]

    def value(self, side, number, kind, block, image, cell):
        "One value, from the bytes alone."
        content, (codes, lows, highs) = self.runs[side]["frames"][number]
        begin = 0
        for part, (found, name, height, width) in enumerate(content["parts"]):  # noqa: B007 - used below
            if (found, name) == (kind, block):
                break
            begin += height * width
        n, parts = len(content["indices"]), len(content["parts"])
        total = len(codes) // n
        low, high = (np.frombuffer(ends, "<f4")[image * parts + part] for ends in (lows, highs))
        return low + codes[image * total + begin + cell] * (high - low) / 255


# --- bytes
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1, 1e4, 1e30])
def test_error_is_at_most_half_a_step(scale):
    draw, lengths = np.random.default_rng(3), [1, 2, 5, 64]
    values = (scale * draw.normal(size=(6, sum(lengths)))).astype(np.float32)
    codes, lows, highs = quantise(values, lengths)
    begin = 0
    for part, length in enumerate(lengths):
        true = values[:, begin : begin + length].astype(np.float64)
        assert np.array_equal(lows[:, part], true.min(1).astype(np.float32)) and np.array_equal(
            highs[:, part], true.max(1).astype(np.float32)
        )
        back = restore(codes[:, begin : begin + length], lows[:, part], highs[:, part])
        assert (
            np.abs(back - true) <= 1.0001 * np.ptp(true, axis=1, keepdims=True) / 510 + 1e-6 * np.abs(true).max()
        ).all()
        begin += length
    assert codes[:, 3:].max() == 255 and codes[:, 3:].min() == 0  # the whole byte is used


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_stay_in_their_map(bad):
    values = np.tile(np.array([0, 0.4, 1], np.float32), (2, 2))
    values[0, 1] = bad
    with np.errstate(all="raise"):
        codes, lows, highs = quantise(values, [3, 3])
    assert np.isnan(lows[0, 0]) and np.isnan(highs[0, 0]) and codes[0, :3].tolist() == [0, 0, 0]
    assert np.isfinite(lows).sum() == 3 and codes[0, 3:].tolist() == codes[1, :3].tolist() == [0, 102, 255]
    assert np.isnan(restore(codes[:, :3], lows[:, 0], highs[:, 0])[0]).all()


def test_an_even_map_comes_back_as_it_is():
    codes, lows, highs = quantise(np.full((2, 4), 0.3, np.float32), [4])
    assert (restore(codes, lows[:, 0], highs[:, 0]) == np.float32(0.3)).all()


def test_the_smallest_case_by_hand():
    "Two images with a map of three cells and one of two; 0.2001 is nearer to step 0 than to step 1."
    small = np.array([[0.0, 0.5, 1.0, 0.3, 0.3], [0.2, 0.2001, 0.3, np.nan, 1.0]], np.float32)
    codes, lows, _ = quantise(small, [3, 2])
    assert codes.tolist() == [[0, 128, 255, 0, 0], [0, 0, 255, 0, 0]]
    assert np.array_equal(lows, np.array([[0, 0.3], [0.2, np.nan]], np.float32), equal_nan=True)


def half_steps(quantiser, n=5, lengths=(1, 2, 49, 300), seed=0):
    "The largest error in half steps of each map, by plain loops: 1 is the bound."
    draw, worst = np.random.default_rng(seed), 0.0
    parts = [draw.normal(scale=10.0 ** draw.integers(-3, 4), size=(n, length)) for length in lengths]
    values = np.concatenate(parts, 1).astype(np.float32)
    codes, lows, highs = quantiser(values, list(lengths))
    for i in range(n):
        start = 0
        for part, length in enumerate(lengths):
            row = values[i, start : start + length]
            a, b = float(min(row)), float(max(row))
            assert (lows[i, part], highs[i, part]) == (np.float32(a), np.float32(b))
            for v, code in zip(row, codes[i, start : start + length]):
                if b > a:
                    worst = max(worst, abs(float(v) - (a + int(code) * (b - a) / 255)) / ((b - a) / 510))
            start += length
    return worst


def truncated(values, lengths):
    "Wrong: cuts the fraction off instead of rounding it."
    _, lows, highs = quantise(values, lengths)
    parts = np.split(values, np.cumsum(lengths)[:-1], axis=1)
    exact = [255 * (p - p.min(1, keepdims=True)) / np.maximum(np.ptp(p, axis=1, keepdims=True), 1e-30) for p in parts]
    return np.floor(np.concatenate(exact, 1) + 1e-3).astype(np.uint8), lows, highs


def test_rounding_is_needed():
    "Truncated codes stay within a whole step, but not within half of one."
    assert half_steps(quantise) <= 1.0001 and half_steps(truncated) > 1.9


@pytest.mark.parametrize("extra_axis", [False, True])
def test_frame_gives_back_every_map(extra_axis):
    taken = snapshot(0, extra_axis=extra_axis)
    frame = encode_maps(taken, 7)
    assert (frame.number, frame.epoch, frame.indices, frame.blocks()) == (
        7,
        0,
        [0, 1, 2, 3],
        [name for name, _, _ in BLOCKS],
    )
    for kind, prefix in KINDS.items():
        for block, _, _ in BLOCKS:
            true, back = taken.arrays[prefix + block], frame.values(kind, block)
            true = true[:, 0] if true.ndim == 4 else true
            assert back.shape == true.shape and np.abs(back - true).max() <= 1.001 * np.ptp(true) / 510
            assert np.abs(back - np.roll(true, 1, axis=0)).max() > np.ptp(true) / 100  # image for image
    assert frame.values("spatial", "layer9.9") is None


def test_maps_of_unequal_number_are_cut_to_the_common_images():
    taken = snapshot(0)
    taken.arrays["activation.layer1.1"] = taken.arrays["activation.layer1.1"][:3]
    frame = encode_maps(taken, 0)
    assert frame.indices == [0, 1, 2] and np.allclose(
        frame.values("spatial", "layer2.0"), taken.arrays["spatial_attention.layer2.0"][:3], atol=0.002
    )
    assert encode_maps(SnapshotTaken(0, 0, np.arange(3), {"h": np.zeros((3, 2), np.float32)}), 0) is None


# --- thinning
def test_maps_belong_to_the_images_that_the_snapshot_names(run):
    "In a sorted folder the first images are all of one class: a run maps images all over its sample."
    event = snapshot(0)
    spread = SnapshotTaken(0, 0, event.indices, event.arrays | {"mapped": np.array([0, 2, 3, 5])})
    maps = RunMaps()
    frame = maps.add(spread)
    assert frame.indices == maps.indices == [0, 2, 3, 5]
    assert (maps.images == event.arrays["images"][[0, 2, 3, 5]]).all()
    trained = next(event for event in read_events(run.folder) if isinstance(event, SnapshotTaken))
    mapped, last = trained.arrays["mapped"], len(trained.indices) - 1
    assert len(mapped) == 8 and (mapped[0], mapped[-1]) == (0, last) and (np.diff(mapped) >= last // 7).all()


@pytest.mark.parametrize("mapped", [[], [0, 1], [0, 1, 2, 99], [-1, 0, 1, 2], [0.0, 1, 2, 3], [[0, 1, 2, 3]]])
def test_rows_that_cannot_be_are_the_first_ones(mapped):
    "As in runs of earlier versions, which name none."
    event = snapshot(0)
    damaged = SnapshotTaken(0, 0, event.indices, event.arrays | {"mapped": np.array(mapped)})
    assert encode_maps(damaged, 0).indices == encode_maps(event, 0).indices == [0, 1, 2, 3]


def test_thinning_is_bounded_and_the_browser_keeps_the_same_frames():
    widget = fed(start(), limit=5)
    page = Browser(widget)
    for epoch in range(120):
        widget(snapshot(epoch, n=2))
        assert page.epochs() == [frame.epoch for frame in widget.maps.frames]
        assert len(page.epochs()) <= 6 and page.epochs()[0] == 0 and page.epochs()[-1] == epoch
    late = Browser(widget)  # a view that appears now gets the same
    assert late.epochs() == page.epochs()
    assert late.runs[0]["about"]["images"]["indices"] == [0, 1] and late.runs[0]["about"]["images"]["n"] == 2


def test_a_long_run_is_thinned_evenly():
    "Of 1,000 snapshots at most 40 and the newest, at equal distances, the first among them."
    maps = RunMaps()
    for epoch in range(1000):
        maps.add(snapshot(epoch, n=1))
    epochs = [frame.epoch for frame in maps.frames]
    assert len(epochs) <= 41 and (epochs[0], epochs[-1]) == (0, 999) and len(set(np.diff(epochs)[:-1].tolist())) == 1


def test_large_frames_are_kept_in_smaller_number():
    maps, taken = RunMaps(40), snapshot(0, side=512, kinds=("spatial", "activation"))
    size = maps.add(taken).codes.nbytes
    for _ in range(11):
        maps.add(taken)
    assert 12 * size > BUDGET and len(maps.frames) >= 2 and size * (len(maps.frames) - 1) <= BUDGET


def test_a_second_run_starts_over():
    widget = fed(start(), snapshot(0), snapshot(1))
    page = Browser(widget)
    token = page.runs[0]["token"]
    widget(start())
    assert page.epochs() == [] and page.runs[0]["token"] != token and widget.maps.images is None
    widget(snapshot(0, first=50))
    assert page.epochs() == [0] and page.runs[0]["about"]["images"]["indices"] == [50, 51, 52, 53]


# --- messages
def read_message(content, buffers):
    "A snapshot's maps from the bytes alone, by plain loops: (kind, block) -> a flat list of values per image."
    codes, lows, highs = (np.frombuffer(part, kind) for part, kind in zip(buffers, (np.uint8, "<f4", "<f4")))
    n, parts, found, start = len(content["indices"]), content["parts"], {}, 0
    total = len(codes) // n
    for part, (kind, block, height, width) in enumerate(parts):
        found[kind, block] = []
        for image in range(n):
            low, high = lows[image * len(parts) + part], highs[image * len(parts) + part]
            first = image * total + start
            values = [low + code * (high - low) / 255 for code in codes[first : first + height * width]]
            found[kind, block].append(values)
        start += height * width
    return found


def differs(taken, found):
    "Whether any value is farther from the snapshot's than half a step of its map."
    return any(
        np.abs(np.array(row) - true).max() > 1.001 * np.ptp(true) / 510
        for (kind, block), rows in found.items()
        for row, true in zip(rows, taken.arrays[KINDS[kind] + block].reshape(len(rows), -1))
    )


def test_messages_hold_every_value_in_the_order_they_say():
    "Parts listed in another order than their bytes, and another epoch, are noticed."
    widget = fed(start(), *map(snapshot, range(3)), RunFinished("completed", 30, 3))
    sent = [message for message in widget.backlog() if message[0]["kind"] == "frame" and message[0]["side"] == 0]
    assert [content["epoch"] for content, _ in sent] == [0, 1, 2] and len(read_message(*sent[0])) == 9
    assert not any(differs(snapshot(epoch), read_message(*message)) for epoch, message in enumerate(sent))
    shuffled = {**sent[0][0], "parts": sent[0][0]["parts"][::-1]}
    assert differs(snapshot(0), read_message(shuffled, sent[0][1])) and differs(snapshot(1), read_message(*sent[0]))


def test_values_in_the_browser_are_those_of_the_snapshot():
    widget = fed(start(), snapshot(0))
    page = Browser(widget)
    widget(snapshot(1))
    for kind in KINDS:
        true = snapshot(1).arrays[KINDS[kind] + "layer1.1"].reshape(4, -1)
        for image, cell in [(0, 0), (3, 5), (2, true.shape[1] - 1)]:
            assert (
                abs(page.value(0, 1, kind, "layer1.1", image, cell) - true[image, cell])
                <= 1.001 * np.ptp(true[image]) / 510
            )


def test_no_message_is_made_without_a_view():
    widget = fed(start())
    widget._frame_message = widget._run_message = None  # would raise if called
    widget(snapshot(0))
    assert len(widget.maps.frames) == 1


def test_a_shared_history():
    history = History()
    for event in (start(), snapshot(0), snapshot(1)):
        history(event)
    widget = AttentionViewer(history=history)
    assert [frame.epoch for frame in widget.maps.frames] == [0, 1] and widget.summary.startswith(
        "Epoch 1, block layer1.1"
    )
    history(snapshot(2))
    widget.handle(snapshot(2))
    assert widget.maps.frames.last.epoch == 2 and widget.summary.startswith("Epoch 2") and len(history.snapshots) == 3
    assert plot_attention(history.events()).alt == widget.figure().alt


def test_other_events_change_nothing():
    widget = fed(start(), snapshot(0))
    page = Browser(widget)
    before = page.runs[0]["frames"]
    widget(EpochDone(1, 10, {"total": 1.0}))
    assert page.runs[0]["frames"] is before


@pytest.mark.parametrize(
    "junk",
    [
        {"kind": "look"},
        {"kind": "look", "block": 3},
        {"kind": "look", "block": "x", "epoch": "y"},
        {"kind": "other", "block": "layer2.0"},
        {"kind": "look", "block": None, "epoch": [1]},
    ],
)
def test_junk_from_a_page_is_ignored(junk):
    widget = fed(start(), snapshot(0))
    before = widget.summary
    widget._on_message(widget, junk, [])
    assert widget.summary == before


# --- words
def test_summary_in_figures():
    widget = fed(start(), snapshot(0), snapshot(1), snapshot(2))
    widget._on_message(widget, {"kind": "look", "block": "layer2.0", "epoch": 1}, [])
    maps, channels = (snapshot(1).arrays[KINDS[kind] + "layer2.0"] for kind in ("spatial", "channel"))
    assert widget.summary == (
        f"Epoch 1, block layer2.0: spatial attention of 4 images from {maps.min():.2f} to {maps.max():.2f}; "
        f"12 channels, the strongest {channels.mean(0).max():.2f} (channel {channels.mean(0).argmax()})."
    )
    widget.lang = "zh"
    assert widget.summary.startswith("第 1 轮，模块 layer2.0：4 幅图像的空间注意力为") and not re.search(
        "[a-z]{4,} ", widget.summary.replace("layer", "")
    )
    widget._on_message(widget, {"kind": "look", "block": "gone", "epoch": None}, [])
    assert "第 2 轮，模块 layer1.1" in widget.summary


@pytest.mark.parametrize(
    "events, text",
    [
        ([], "Waiting for the run to begin."),
        ([start()], "Nothing to show yet."),
        ([start(snapshot_every=0)], "This run takes no snapshots (snapshot_every=0), so there are no maps."),
        ([start(), snapshot(0, kinds=())], "hold no maps"),
        ([start(False), snapshot(0, kinds=("activation",))], "This run has no attention (attention=False)"),
        ([start("spatial"), snapshot(0, kinds=("activation", "spatial"))], "spatial attention of 4 images"),
        ([start("channel"), snapshot(0, kinds=("activation", "channel"))], "activation strength of 4 images"),
    ],
)
def test_the_summary_says_what_is_missing(events, text):
    widget = fed(*events)
    assert text in widget.summary and ("has no attention " in widget.summary) == ("has no attention " in text)
    assert Browser(widget).runs[0]["about"]["note"] == widget._note(widget.maps)


def test_no_text_becomes_markup_in_the_browser():
    script = (STATIC / "attention.js").read_text(encoding="utf-8")
    assert "innerHTML" not in script and "outerHTML" not in script and "insertAdjacent" not in script


def test_first_block_still_tells_places_apart():
    coarse = RunMaps()
    coarse.add(snapshot(0, side=4))  # no map of six cells a side
    fine, mixed = RunMaps(), RunMaps()
    fine.add(snapshot(0, side=16))
    mixed.add(snapshot(0))
    assert (coarse.first_block(), mixed.first_block(), fine.first_block(), RunMaps().first_block()) == (
        "layer1.0",
        "layer1.1",
        "layer2.0",
        None,
    )


def test_colours_are_matplotlibs_and_rise_in_lightness():
    table = np.frombuffer(colour_table(), np.uint8).reshape(256, 3)
    assert np.abs(table - 255 * matplotlib.colormaps["viridis"](np.arange(256))[:, :3]).max() <= 1
    grey = (table / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey[::4]) > 0).all() and AttentionViewer().colours == table.tobytes()


def lightness(name):
    "Lightness L* (CIE 1976) of the 256 colours, 0 to 100: 116 Y^(1/3) - 16 in linear light."
    rgb = np.frombuffer(colour_table(name), np.uint8).reshape(256, 3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


def test_viridis_can_be_read_without_colour_and_jet_cannot():
    "Lightness rises evenly; that of the rainbow map goes up and down."
    assert np.diff(lightness("viridis")).min() > -0.15 and np.diff(lightness("viridis")[::8]).min() > 1
    assert np.diff(lightness("jet")).min() < -0.5


# --- two runs
class Stub:
    "A run of this kernel that keeps no folder."

    folder = None

    def subscribe(self, observer):
        self.send = observer


def test_two_runs_side_by_side():
    other = Stub()
    widget = fed(start(), snapshot(0), snapshot(4), snapshot(8), without=other)
    page = Browser(widget)
    for event in (start(False), *(snapshot(epoch, kinds=("activation",), seed=1) for epoch in (0, 5))):
        other.send(event)
    assert (
        page.epochs(1) == [0, 5]
        and page.runs[1]["about"]["attention"] is False
        and page.runs[0]["about"]["comparing"] is True
    )
    true = snapshot(5, kinds=("activation",), seed=1).arrays["activation.layer1.1"]
    assert (
        f"Other run, without CBAM, epoch 5: activation strength of 4 images from {true.min():.2f} to {true.max():.2f}."
        in widget.summary
    )
    assert abs(page.value(1, 1, "activation", "layer1.1", 2, 9) - true[2].ravel()[9]) <= 1.001 * np.ptp(true[2]) / 510
    widget._on_message(widget, {"kind": "look", "block": "layer1.1", "epoch": 0}, [])
    assert "Other run, without CBAM, epoch 0" in widget.summary
    assert [frame.epoch for frame in widget.maps.frames] == [0, 4, 8]  # neither changes the other


def test_the_other_run_may_be_a_folder_and_may_end_last(tmp_path):
    log = RunLog(tmp_path / "other")
    for event in (start(False), snapshot(0, kinds=("activation",))):
        log(event)
    widget = fed(start(), snapshot(0), without=tmp_path / "other")
    shown = []
    widget._handles.append(type("Handle", (), {"update": lambda self, bundle, raw: shown.append(bundle)})())
    widget(RunFinished("completed", 100, 10))
    assert widget.wait(0.01) is False
    log(snapshot(3, kinds=("activation",)))
    log(RunFinished("completed", 100, 10))
    assert widget.wait(20) and "epoch 0" in widget.summary  # nearest to epoch 0
    assert len(shown) == 2 and "Other run, without CBAM" in shown[1]["text/html"]
    widget.close()


def test_close_ends_the_following_of_both_runs(tmp_path):
    widget = AttentionViewer.attach(tmp_path / "a", without=tmp_path / "b")
    assert widget.follower.alive and widget._second.alive
    widget.close()
    assert widget.wait(10) and not widget._second.alive


@pytest.mark.parametrize(
    "error, text, arguments",
    [
        (ValueError, "limit must be >= 2, got 1", {"limit": 1}),
        (TypeError, "limit must be a whole number", {"limit": "many"}),
        (TypeError, "without must be a run, or the folder of one, got 42", {"without": 42}),
        (ValueError, "lang must be one of", {"lang": "fr"}),
    ],
)
def test_bad_arguments(error, text, arguments):
    with pytest.raises(error, match=re.escape(text)):
        AttentionViewer(**arguments)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "events.jsonl").write_text("")
    with pytest.raises(ValueError, match="without must be the folder of a run"):
        AttentionViewer(without=tmp_path / "events.jsonl")


class KnownRun(Stub):
    "A run with its images and settings, as `fit` returns it."

    images, config = None, None


@pytest.mark.parametrize(
    "attention, kwargs, last",
    [
        (True, {"run": KnownRun()}, "AttentionViewer(run, without=other)"),
        (False, {"run": KnownRun()}, "AttentionViewer(other, without=run)"),
        (True, {"folder": "runs/a b"}, "AttentionViewer.attach('runs/a b', without=other)"),
        (False, {"folder": "runs/it's"}, 'AttentionViewer(other, without="runs/it\'s")'),
        (True, {}, "AttentionViewer(run, without=other)"),
    ],
)
def test_code_for_a_comparison(attention, kwargs, last):
    code = fed(start(attention), **kwargs).comparison_code()
    compile(code, "code", "exec")
    assert code.splitlines()[-1] == last and f"attention={not attention})" in code
    assert ("run.images, replace(run.config" in code) == ("run" in kwargs) and ("load_run(" in code) == (
        "folder" in kwargs
    )
    assert AttentionViewer(without=Stub()).comparison_code() == ""


def test_an_update_is_cheap():
    "The best of some tries: 10 ms at most, a tenth of it usually; the training thread waits for it."
    widget, taken, best = fed(start()), snapshot(1, side=32), 9.0
    for _ in range(20):
        began = time.perf_counter()
        widget(taken)
        best = min(best, time.perf_counter() - began)
    assert best < 0.01


# --- real runs
def spread(values):
    "Width of the middle half of the values."
    low, high = np.percentile(values, [25, 75])
    return high - low


@pytest.fixture(scope="module")
def pair(run, plain_run):
    "A real run with attention, and one without beside it."
    widget = AttentionViewer(run, without=plain_run)
    assert widget.wait()
    return widget


def test_the_maps_of_a_real_run_are_those_of_its_log(pair, run):
    "The spread of attention at each epoch, from the bytes and from the log."
    block = pair.maps.first_block()
    snapshots = {event.epoch: event for event in read_events(run.folder) if isinstance(event, SnapshotTaken)}
    assert sorted(snapshots) == [frame.epoch for frame in pair.maps.frames]
    for frame in pair.maps.frames:
        for kind in ("spatial", "channel"):
            true = spread(snapshots[frame.epoch].arrays[KINDS[kind] + block])
            assert abs(true - spread(frame.values(kind, block))) < 1 / 255  # half a step on either side


def test_two_real_runs(pair, run):
    assert (pair.maps.attention, pair.other.attention) == (True, False)
    assert "Other run, without CBAM, epoch 3" in pair.summary
    assert pair.figure().alt == plot_attention(run.folder).alt


def test_the_code_for_a_comparison_runs_and_shows_the_pair_in_the_right_order(plain_run, tmp_path):
    alone = AttentionViewer(plain_run)
    assert alone.wait() and "has no attention" in alone.summary
    code = alone.comparison_code().replace("attention=True)", "attention=True, epochs=1)")  # one epoch is enough here
    code = code.replace("run_dir='", f"run_dir='{tmp_path}/").replace("AttentionViewer(", "shown = AttentionViewer(")
    names = {"run": plain_run, "AttentionViewer": AttentionViewer}
    exec(code, names)
    assert names["shown"].wait() and names["shown"].maps.attention is True and names["shown"].other.attention is False


def test_a_diverged_run_keeps_its_nan_in_their_maps():
    "The other images and kinds stay finite, and the summary still comes."
    broken = snapshot(0)
    broken.arrays["spatial_attention.layer1.0"][1] = np.nan
    frame = encode_maps(broken, 0)
    spatial = frame.values("spatial", "layer1.0")
    assert np.isnan(spatial[1]).all() and np.isfinite(spatial[[0, 2, 3]]).all()
    assert np.isfinite(frame.values("activation", "layer1.0")).all()
    widget = fed(start(), broken)
    widget._on_message(widget, {"kind": "look", "block": "layer1.0", "epoch": None}, [])
    assert "spatial attention of 4 images from nan to nan" in widget.summary
