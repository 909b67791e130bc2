"What all widgets share: languages, messages, tiles, the lasting picture, and folders."

import io
import re
import time
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from dcacn_nb.core.events import EpochDone, RunFinished, RunStarted, StepDone
from dcacn_nb.core.locks import lock
from dcacn_nb.report.figures.curves import plot_curves
from dcacn_nb.runs.log import RunLog
from dcacn_nb.widgets.curves import Curves
from dcacn_nb.widgets.live import COMMON_WORDS, LiveWidget, shown_name, sprite_sheet


class LastLoss(LiveWidget):
    "Shows the last loss."

    WORDS = {
        "en": {"title": "Last loss", "loss": "The loss is {loss:.3f}."},
        "zh": {"title": "最新损失", "loss": "损失为 {loss:.3f}。"},
    }
    _esm = "export default {render({el}) { el.textContent = 'loss'; }}"

    def update(self, event):
        if isinstance(event, StepDone):
            self.post("loss", loss=event.losses["total"])

    def backlog(self):
        yield {"kind": "loss", "loss": self.history.steps.last.losses["total"]}, []

    def describe(self):
        last = self.history.steps.last
        return self.text("loss", loss=last.losses["total"]) if last else self.text("nothing")

    def figure(self):
        return plot_curves(self.history.events())


class Forgetful(LastLoss):
    "Wrong: has no backlog."

    def backlog(self):
        return ()


EVENTS = [
    RunStarted("dcacn", {}, {}, 100, 20, 10),
    *(StepDone(step, 1 + step // 11, {"total": 1 / step}, 1e-3, 1.0) for step in range(5, 21, 5)),
    EpochDone(2, 20, {"total": 1 / 16}),
]


def fed(cls=LastLoss, **kwargs):
    "A widget that has received all events."
    widget = cls(**kwargs)
    for event in EVENTS:
        widget(event)
    return widget


def test_the_summary_and_the_texts_follow_the_language():
    widget, chinese = fed(), fed(lang="zh")
    assert (widget.summary, chinese.summary) == ("The loss is 0.050.", "损失为 0.050。")
    widget.lang = "zh"
    assert widget.summary == chinese.summary and widget.words["title"] == "最新损失"
    assert widget.words["undo"] == COMMON_WORDS["zh"]["undo"]  # texts of all widgets are there as well
    widget.lang = "en"
    assert widget.summary == "The loss is 0.050." and widget.words["title"] == "Last loss"


def sent_to_a_view(cls, after, monkeypatch):
    "The losses that the browser gets when its view appears after so many events."
    widget, sent = cls(), []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append(content["loss"]))
    for i, event in enumerate(EVENTS):
        if i == after:
            widget._on_message(widget, {"kind": "hello"}, [])
        widget(event)
    return sent


def test_nothing_is_sent_without_a_view_and_a_late_view_misses_nothing(monkeypatch):
    "A widget without a backlog leaves a late view empty."
    assert sent_to_a_view(LastLoss, 99, monkeypatch) == []
    assert sent_to_a_view(LastLoss, 3, monkeypatch) == [1 / 10, 1 / 15, 1 / 20]
    assert sent_to_a_view(Forgetful, 3, monkeypatch) == [1 / 15, 1 / 20]


def test_the_sheet_of_tiles_holds_every_image_bit_by_bit():
    images = np.random.default_rng(0).integers(0, 256, (11, 3, 6, 5), dtype=np.uint8)
    png, layout = sprite_sheet(images)
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    for i, image in enumerate(images):
        y, x = i // layout["columns"] * layout["height"], i % layout["columns"] * layout["width"]
        assert (sheet[y : y + 6, x : x + 5] == image.transpose(1, 2, 0)).all()


def test_large_images_are_shrunk_in_the_sheet():
    layout = sprite_sheet(np.zeros((2, 1, 200, 100), np.uint8))[1]
    assert layout == {"n": 2, "columns": 2, "width": 32, "height": 64}


def test_names_from_outside_are_escaped_in_the_lasting_form():
    class Rude(LastLoss):
        "A summary with markup in it."

        def describe(self):
            return "<script>alert(1)</script> & co"

    last = Rude()._lasting_bundle()
    assert "<script>" not in last["text/html"] and "&lt;script&gt;" in last["text/html"]
    assert last["text/plain"].startswith("<script>")


def test_a_picture_that_cannot_be_drawn_leaves_the_summary(caplog):
    class Broken(LastLoss):
        "A picture that cannot be drawn."

        def figure(self):
            raise ZeroDivisionError

    assert Broken()._lasting_bundle()["text/html"].endswith("<p>Nothing to show yet.</p></div>")
    assert "could not be drawn" in caplog.text


class Output:
    "An output of a cell: what `display` returns."

    def __init__(self, bundle=None):
        self.bundles = [bundle]

    def update(self, bundle, raw):
        self.bundles.append(bundle)

    @property
    def html(self):
        return self.bundles[-1].get("text/html")


@pytest.fixture
def outputs(monkeypatch):
    "The outputs that a shown widget makes."
    made = []

    def display(bundle, **_):
        made.append(Output(bundle))
        return made[-1]

    monkeypatch.setattr("dcacn_nb.widgets.live.display", display)
    return made


def test_the_lasting_form_is_renewed_at_the_end_of_the_run(outputs):
    "One output gets an element in which the live widget continues, the other one picture and summary."
    widget = fed()
    widget._ipython_display_()
    place, picture = outputs
    assert "application/vnd.jupyter.widget-view+json" in place.bundles[0] and picture.html == ""
    widget(RunFinished("completed", 20, 2))
    assert place.html == f'<div class="dcacn-place" data-dcacn="{widget.key}"></div>' and len(place.bundles) == 2
    assert f'class="dcacn-last" data-dcacn="{widget.key}"' in picture.html and "<img" in picture.html
    assert picture.bundles[-1]["text/plain"] == "The loss is 0.050."
    widget.settle()
    assert len(place.bundles) == 2  # a place that is filled again would build the widget again
    widget._ipython_display_()  # a second time, after the end
    assert (outputs[2].html, outputs[3].html) == (place.html, picture.html)


def until(condition, seconds=30):
    "Wait for something that another thread does."
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def soon(monkeypatch):
    "Pictures of a run in progress come at once."
    monkeypatch.setattr(LastLoss, "lasting_html", lambda self: self.summary)  # drawing takes long, the next one waits
    monkeypatch.setattr("dcacn_nb.widgets.live.FIRST_PICTURE", 0.0)
    monkeypatch.setattr("dcacn_nb.widgets.live.NEXT_PICTURE", 0.0)


def test_a_page_that_holds_places_gets_one_and_a_picture_of_each_state(outputs, soon):
    "In mid-run the notebook names no widget any more, and its picture follows the run."
    widget = fed()
    widget._ipython_display_()
    widget._on_message(widget, {"kind": "hello", "holds": True}, [])
    place, picture = outputs
    assert "dcacn-place" in place.html and "application/vnd.jupyter.widget-view+json" not in place.bundles[-1]
    assert until(lambda: "The loss is 0.050." in picture.html)
    widget._described_at = 0.0
    widget(StepDone(21, 3, {"total": 9.0}, 1e-3, 1.0))
    assert until(lambda: "The loss is 9.000." in picture.html)
    assert not widget.settled and len(place.bundles) == 2


def test_another_page_keeps_the_widget_itself_until_the_end(outputs, soon):
    "It may not find places: Colab, VS Code."
    widget = fed()
    widget._ipython_display_()
    widget._on_message(widget, {"kind": "hello", "holds": False}, [])
    widget(StepDone(21, 3, {"total": 9.0}, 1e-3, 1.0))
    time.sleep(0.1)
    assert [len(output.bundles) for output in outputs] == [1, 1]
    widget(RunFinished("completed", 20, 2))
    assert "dcacn-place" in outputs[0].html and "dcacn-last" in outputs[1].html


def test_pictures_of_a_run_in_progress_take_a_fiftieth_of_the_time(outputs, soon, monkeypatch):
    monkeypatch.setattr(LastLoss, "lasting_html", lambda self: time.sleep(0.1) or "drawn")
    widget = fed()
    widget._ipython_display_()
    widget._on_message(widget, {"kind": "hello", "holds": True}, [])
    assert until(lambda: "drawn" in outputs[1].html)
    for _ in range(3):
        widget(StepDone(21, 3, {"total": 9.0}, 1e-3, 1.0))
    time.sleep(0.3)
    assert len(outputs[1].bundles) == 2 and widget._picture_due - time.monotonic() > 4


def test_a_run_that_no_process_holds_is_reported_and_taken_up_again(tmp_path):
    "The lock tells: a killed run leaves no last event. Once it is resumed, the line goes."
    folder = tmp_path / "a run"
    log = RunLog(folder)
    for event in EVENTS:
        log(event)
    (folder / ".lock.1").write_text('{"released": true}')
    widget = LastLoss.attach(folder)
    assert until(lambda: widget.notice, 5)
    assert (
        widget.notice.startswith("No process holds this run any more") and f"dcacn resume '{folder}'" in widget.notice
    )
    assert widget.notice in widget._lasting_bundle()["text/html"].replace("&#x27;", "'")
    with lock(folder / ".lock"):
        assert until(lambda: not widget.notice, 5)
        log(RunFinished("completed", 20, 2))
        assert widget.wait(10)
    assert not widget.notice
    widget.close()


@pytest.mark.parametrize("state", ["held", "ended", "not begun"])
def test_a_run_that_is_in_order_is_not_reported_as_lost(tmp_path, state):
    folder = tmp_path / "run"
    log = RunLog(folder)
    for event in [*EVENTS, RunFinished("completed", 20, 2)] if state == "ended" else EVENTS:
        log(event)
    if state != "not begun":
        (folder / ".lock.1").write_text('{"released": true}')
    with lock(folder / ".lock") if state == "held" else nullcontext():
        widget = LastLoss.attach(folder)
        assert not until(lambda: widget.notice, 3)
    widget.close()


@pytest.mark.parametrize(
    "name",
    ["<img src=x onerror=alert(1)>", "\x1b[31mred\x1b[0m", "x" * 10_000, "\u202egnp.exe", "שלום", "a\x00b", "\"'&"],
    ids=["html", "escape", "long", "override", "rtl", "null", "quotes"],
)
def test_names_from_anywhere_keep_the_stored_form_small_and_harmless(name):
    "Of clusters, classes and files: the picture, its caption and the line above it."

    class Named(LastLoss):
        "A summary with a name in it."

        WORDS = {"en": {"largest": "Cluster {name} is the largest."}}

        def describe(self):
            return self.text("largest", name=name)

    widget = Named(folder=name if "\x00" not in name else "run")
    widget.follow_lost(True)
    text = widget._lasting_bundle()["text/html"]
    assert len(shown_name(name)) <= 60 and "\x1b" not in shown_name(name)
    assert "<img src=x" not in text and "onerror=alert(1)>" not in text and len(text) < 60_000
    assert not any(sign in text for sign in "\x1b\x00\u202e")


def test_a_folder_feeds_a_widget_and_its_picture_can_be_saved(tmp_path):
    log = RunLog(tmp_path / "run")
    for event in [*EVENTS, RunFinished("completed", 20, 2)]:
        log(event)
    attached = LastLoss.attach(tmp_path / "run")
    assert attached.wait(10) and attached.summary == "The loss is 0.050."
    assert attached.history.end.reason == "completed"
    assert attached.save_figure(tmp_path / "loss.pdf").read_bytes().startswith(b"%PDF")


def test_a_closed_widget_takes_no_more_events():
    widget = fed()
    widget.close()
    widget(StepDone(21, 3, {"total": 9.0}, 1e-3, 1.0))
    assert widget.history.steps.last.step == 20


def test_bad_arguments_are_refused(tmp_path):
    (tmp_path / "events.jsonl").write_text("")
    with pytest.raises(ValueError, match="lang must be one of 'en', 'zh'"):
        LastLoss(lang="fr")
    with pytest.raises(ValueError, match="folder must be the folder of a run, got the file"):
        LastLoss.attach(tmp_path / "events.jsonl")
    with pytest.raises(ValueError, match="gif"):
        fed().save_figure(tmp_path / "loss.gif")
    with pytest.raises(NotImplementedError, match="LiveWidget has no printed picture"):
        LiveWidget().figure()


def test_a_browser_half_as_text_may_import_from_the_packages_files():
    "A widget written in a notebook; what does not exist is refused when the class is made."

    class Small(LiveWidget):
        ESM = """import {live} from "./mount.js";
import {h} from "./dom.js";
const render = ({root}) => root.append(h("p"));
export default live(render);
"""

    assert not re.search("^import ", Small._esm, re.MULTILINE) and Small._esm.count("\nexport default ") == 1
    assert "function mount(" in Small._esm and "function mark(" not in Small._esm  # what is needed, and no more
    assert Small._css == Curves._css and Curves._esm != Small._esm
    with pytest.raises(FileNotFoundError, match="needs nowhere.js"):

        class Wrong(LiveWidget):
            ESM = 'import {live} from "./nowhere.js";\nexport default live(render);'
