"The report page: well-formed, self-contained, safe against hostile names, and true when half a run is missing."

import html
import json
import re

import numpy as np
import pytest
from pages import Reader, checked, headings, of_kind, written

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.report import page
from dcacn_nb.report.page import write_report

EVIL = "<script>alert('1')</script> & \" $x_1$"


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    "Most pages need not be pretty: pictures of few pixels are drawn faster."
    monkeypatch.setattr(page, "DPI", 30)


@pytest.fixture(scope="module")
def report(made_up, tmp_path_factory):
    "The report of a run that went well: its events and its path."
    events = made_up()
    folder = tmp_path_factory.mktemp("reports") / "digits of 2026"
    return events, write_report(written(folder, events))


def test_scores_and_settings(report):
    "The last scores, the moment of the start, and settings in plain words, not as Python writes them."
    events, path = report
    text = checked(path)
    final = of_kind(events, Evaluated)[-1].scores
    assert all(f"{final[key]:.3f}" in text for key in ("acc", "nmi", "ari")) and "21 September 2026, 14:13 UTC" in text
    assert "train: 200; test: 100" in text and "8, 8" in text and "limit none" in " ".join(text.split())
    assert "{'" not in text and "None" not in text and "8.0 s" in text


def test_the_order_of_the_page(report):
    "What was sorted is the title; then the verdict, the groups, how sure, map, labels, words; at the end the training."
    text = report[1].read_text(encoding="utf-8")
    title = "digits: 300 images in 10 groups"
    assert f"<title>{title}</title>" in text and f"<h1>{title}</h1>" in text
    assert "Run digits of 2026 · method dcacn" in " ".join(checked(report[1]).split())
    top = ["The groups", "How sure?", "Map", "Compared with the labels", "Words explained", "How it was trained"]
    assert headings(report[1]) == [*top, "The run", "Images and protocol", "How this report was made"]
    assert re.findall("<h3>([A-Z][a-z]+)</h3>", text) == ["Curves", "Health", "Features", "Attention", "Views"]
    assert text.count("<figure>") == 6 and text.index('class="verdict good"') < text.index("<h2>")


def test_what_is_not_among_the_images(report, tmp_path):
    "Notes, and the first of the files that could not be read, with reasons; no dictionaries in the protocol."
    events, _ = report
    start = events[0]
    skipped = {f"{i}.png": f"torn at {i}" for i in range(60)} | {EVIL: "odd"}
    known = dict(start.protocol, skipped=skipped, notes=["3 files left out (.xyz 3)"], ignored={".xyz": 3})
    folder = written(tmp_path / "run", [RunStarted("dcacn", {}, known, 300, 10, 5), *events[1:]])
    for listed in (False, True):
        text = " ".join(checked(write_report(folder)).split())
        assert "3 files left out (.xyz 3) 61 of 361 files could not be read." in text and "torn at 49" in text
        assert "And 11 more." in text and "torn at 50" not in text and "skipped" not in text
        assert ("All are in unreadable.csv" in text) is listed
        (folder / "unreadable.csv").touch()
    assert "Not among the images" not in headings(report[1])


def test_strips_are_the_clusters(report):
    "The photos of a cluster's strip are images of that cluster, the surest first, as the last snapshot has them."
    events, path = report
    p = of_kind(events, SnapshotTaken)[-1].arrays["p"]
    sections = re.findall(r"<h3>Cluster (\d+)(.*?)</section>", path.read_text(encoding="utf-8"), re.S)
    assert [int(number) for number, _ in sections] == list(range(10))
    for number, section in sections:
        left, right = section.split('class="split"')
        first, last = ([int(i) for i in re.findall(r'alt="image (\d+)', part)] for part in (left, right))
        members = sorted(np.flatnonzero(p.argmax(1) == int(number)), key=lambda i: (-p[i].max(), i))
        assert first == members[: len(first)] and last == members[::-1][: len(last)] and len(first) > len(last) > 0


def test_how_sure_is_a_count(report):
    "The share of sure images, over all and in each cluster, counted again."
    events, path = report
    p = of_kind(events, SnapshotTaken)[-1].arrays["p"]
    text = " ".join(checked(path).split())
    sure = (p.max(1) >= 0.9).mean()
    assert f"Of 300 images (the sample of the snapshots), {sure:.0%} are sure" in text
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>(.*?)</tr>', path.read_text(encoding="utf-8"), re.S)
    assert len(rows) == 10
    for number, row in rows:
        own = p[p.argmax(1) == int(number)].max(1)
        cells = re.findall(r'<td class="n">(.*?)</td>', row)
        assert cells[0] == str(len(own)) and cells[2:] == [f"{(own >= 0.9).mean():.0%}", f"{np.median(own):.2f}"]


def test_hostile_names(report, tmp_path):
    "A name in markup stays a name, through every door; the page with its escapes undone is caught."
    events, _ = report
    first = RunStarted(EVIL, {EVIL: EVIL}, {"source": EVIL}, 300, 10, 5, versions={EVIL: EVIL})
    scored = Evaluated(1, 5, of_kind(events, Evaluated)[-1].health, {"acc": 0.5, "nmi": 0.5, "ari": -0.1})
    snapshot, end = of_kind(events, SnapshotTaken)[0], RunFinished("failed", 5, 1, f"ValueError: {EVIL}")
    folder = tmp_path / EVIL.replace("/", "|")
    written(folder, [first, StepDone(1, 1, {EVIL: 1.0}, 0.1, 1.0), scored, snapshot, end])
    (folder / "clusters.json").write_text(json.dumps({"names": {"0": EVIL}}))
    path = write_report(folder)
    text = path.read_text(encoding="utf-8")
    assert checked(path).count(EVIL) >= 6 and folder.name in checked(path)
    assert text.count(html.escape(f"cluster 0 ({EVIL})")) > 3, "the name is in the words of the photos"
    with pytest.raises(AssertionError):
        assert "script" not in Reader(text.replace("&lt;", "<").replace("&gt;", ">")).tags


def cases(made_up) -> dict:
    "Runs of which something is missing, and what their page must say."
    events = made_up()
    steps, snapshots = of_kind(events, StepDone), of_kind(events, SnapshotTaken)
    not_finite = dict.fromkeys(("cluster_share", "cluster_mass"), [float("nan")] * 10)
    nan = of_kind(events, Evaluated)[-1].health | not_finite
    pictures = snapshots[0].arrays["images"]
    one_point = lambda e: {"h": np.ones((9, 4)), "p": np.eye(3)[[0] * 9], "images": pictures[:9]}
    failed = RunFinished("failed", 3, 0, "TrainingDiverged: the loss is not finite")
    return {
        "only started": (events[:1], "has not been evaluated"),
        "no labels": (made_up(scored=False, snapshots=False), "No scores"),
        "no snapshots": ([e for e in events if not isinstance(e, SnapshotTaken)], "ACC"),
        "stopped": ([events[0], *steps[:10], RunFinished("stopped", 10, 2)], "stopped by the user"),
        "killed": (events[:20], "still running, or killed"),
        "failed": ([events[0], *steps[:3], failed], failed.message),
        "diverged": (
            [events[0], StepDone(1, 1, {"total": float("nan")}, 0.1, float("inf")), Evaluated(1, 5, nan)],
            "diverged",
        ),
        "other method": (
            [RunStarted("kmeans", {}, {}, 300, 1, 1), Evaluated(1, 1, {"cluster_mass": [0.5, 0.5]}, {"acc": 0.2})],
            "kmeans",
        ),
        "no images": ([events[0], *snapshots[1:]], "has not been evaluated"),
        "collapsed": ([SnapshotTaken(e, e, np.arange(9), one_point(e)) for e in range(2)], "unknown method"),
    }


CASES = [
    "only started",
    "no labels",
    "no snapshots",
    "stopped",
    "killed",
    "failed",
    "diverged",
    "other method",
    "no images",
    "collapsed",
]


@pytest.mark.parametrize("case", CASES)
def test_half_a_run(case, made_up, tmp_path):
    "A report is wanted most when something went wrong: each page is whole, and says what is missing."
    events, words = cases(made_up)[case]
    text = checked(write_report(written(tmp_path / case, events)))
    assert words in text and (case != "no labels" or "ACC" not in text)


def test_every_case_is_tested(made_up):
    "The list of names is the list of cases."
    assert list(cases(made_up)) == CASES


def test_empty_log(tmp_path):
    "A log without a line."
    (tmp_path / "events.jsonl").write_bytes(b"")
    assert "has not been evaluated" in checked(write_report(tmp_path))


def test_damaged_snapshot(report, tmp_path):
    "It costs the pictures of the snapshots, not the report."
    events, _ = report
    kept = [events[0], *of_kind(events, StepDone)[:3], of_kind(events, SnapshotTaken)[0]]
    next((written(tmp_path / "damaged", kept) / "snapshots").iterdir()).write_bytes(b"PK not an archive")
    assert "could not be read" in checked(write_report(tmp_path / "damaged"))


def test_no_log(tmp_path):
    "A folder without a run is refused."
    with pytest.raises(FileNotFoundError, match="no run log at"):
        write_report(tmp_path / "nowhere")


def test_a_picture_that_fails(report, tmp_path, monkeypatch, caplog):
    "The end of a long training must not fail over a picture: the page says so, and the log says why."

    def broken(record):
        raise RuntimeError("no ink")

    monkeypatch.setattr("dcacn_nb.report.figures.curves.plot_curves", broken)
    text = write_report(written(tmp_path / "run", report[0][:20])).read_text(encoding="utf-8")
    assert text.count("could not be drawn") == 1 and "no ink" not in text and "no ink" in caplog.text
    Reader(text)


def times(seconds: float, began: float, epochs: "list[float]") -> "list":
    "A run that ended `seconds` after its last start, `began` seconds after its first."
    first = RunStarted("dcacn", {}, {}, 10, 4, 1, time=1e9)
    done = [EpochDone(i + 1, i + 1, {}, seconds=s) for i, s in enumerate(epochs)]
    return [first, *done, RunFinished("completed", 4, 4, seconds=seconds, time=1e9 + began + seconds)]


@pytest.mark.parametrize(
    "events, words",
    [
        (times(125, 0, [60, 60]), "2 min 5 s"),
        (times(65, 7200, [60, 3700, 60]), "1 h 3 min of training; 1 min 5 s since it was last resumed"),
        (times(65, 0, [60, 60])[:-1], "2 min 0 s so far"),
        (times(float("nan"), 0, []), "unknown"),
        ([], "unknown"),
    ],
    ids=["one life", "resumed", "no end", "not measured", "nothing"],
)
def test_duration_is_of_the_whole_run(events, words, tmp_path):
    "The end of a resumed run knows only its last part."
    (tmp_path / "events.jsonl").write_bytes(b"")
    facts = page._facts(page.read_record(events))
    assert facts["Duration"] == words
