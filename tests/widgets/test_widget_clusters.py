"The cluster browser without a browser: what it shows, edits from messages, the file, threads, the table."

import base64
import io
import json
import re
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dcacn_nb.clusters import assigned as pool
from dcacn_nb.clusters import groups as books
from dcacn_nb.core.events import RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report.figures.clusters import plot_clusters
from dcacn_nb.report.record import cluster_names
from dcacn_nb.widgets.clusters import ClusterBrowser

K = 5


def probabilities(n=80, k=K, seed=0):
    "Rows that sum to one."
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.4), n).astype(np.float32)


def pictures(n=80, seed=0):
    "Small colour images."
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 6, 6), np.uint8)


def snapshot(epoch, n=80, k=K, indices=None):
    "A snapshot as training takes it: images in the first one only."
    arrays = {"p": probabilities(n, k, epoch), "h": np.zeros((n, 2), np.float32)}
    return SnapshotTaken(
        epoch,
        10 * epoch,
        np.arange(n) * 3 if indices is None else indices,
        arrays | ({"images": pictures(n)} if epoch == 0 else {}),
    )


START, END = RunStarted("dcacn", {}, {}, 240, 100, 10), RunFinished("completed", 100, 10)


def watched(*events, **kwargs):
    "A browser with one view, and the list of what the view hears."
    widget, heard = ClusterBrowser(**kwargs), []
    widget.send = lambda content, buffers=None: heard.append((content, list(buffers or [])))
    widget._on_message(None, {"kind": "hello"}, [])
    for event in events:
        widget(event)
    return widget, heard


def ask(widget, kind, **content):
    "A message from a view."
    widget._on_message(None, {"kind": kind, "view": "v1", **content}, [])


def whole_set(**kwargs):
    "A browser of a whole set, with a view."
    return watched(images=pictures(), probabilities=probabilities(), **kwargs)


def ends(content, buffers):
    "Group -> (surest, doubtful), images by index; and all whole numbers of the message."
    numbers, at, result = np.frombuffer(buffers[0], "<i4").reshape(-1, 4), 0, {}
    for group in content["groups"]:
        a, b = group["ends"]
        result[group["id"]] = numbers[at : at + a, 0].tolist(), numbers[at + a : at + a + b, 0].tolist()
        at += a + b
    assert at == len(numbers) == len(buffers[1]) // 8
    return result, numbers


def test_a_snapshot_shows_its_own_images():
    "Numbers are those of the set, pictures those of the images, whatever the order of the indices."
    mixed = np.random.default_rng(3).permutation(240)[:80]
    widget, heard = watched(START, snapshot(0, indices=mixed))
    content, buffers = heard[-1]
    found, numbers = ends(content, buffers)
    p = {int(i): row for i, row in zip(mixed, probabilities())}
    for k, (surest, doubtful) in found.items():
        members = sorted((i for i in p if p[i].argmax() == k), key=lambda i: -p[i].max())
        assert surest + doubtful[::-1] == members  # fewer than 48: all of them, none twice
    assert all(
        p[i].argmax() == cluster and np.argsort(p[i])[-2] == second for i, cluster, second, _ in numbers.tolist()
    )
    ask(widget, "tiles", images=[int(mixed[7]), int(mixed[0]), 999])
    import io

    from PIL import Image

    content, [sheet] = heard[-1]
    assert content["images"] == [int(mixed[7]), int(mixed[0])] and content["files"] is None
    tiles = np.asarray(Image.open(io.BytesIO(sheet))).transpose(2, 0, 1)
    assert (tiles[:, :6, :6] == pictures()[7]).all() and (tiles[:, :6, 6:12] == pictures()[0]).all()


def test_large_groups_send_their_ends_only_and_pages_between():
    "48 images at most for each group; the pages hold all of them once, the surest first."
    n = 700
    widget, heard = watched(images=pictures(n), probabilities=probabilities(n))
    content, buffers = heard[0]
    assert all(group["ends"] == [24, 24] for group in content["groups"])
    group, seen = content["groups"][2], []
    for start in range(0, group["size"], 60):
        ask(widget, "members", group=2, start=start)
        page, parts = heard[-1]
        numbers = np.frombuffer(parts[0], "<i4").reshape(-1, 4)[:, 0].tolist()
        assert (
            page["kind"] == "members"
            and page["view"] == "v1"
            and page["start"] == start
            and page["count"] == len(numbers) <= 60
        )
        seen += numbers
    p = probabilities(n)
    assert sorted(seen) == np.flatnonzero(p.argmax(1) == 2).tolist() and (np.diff(p[seen].max(1)) <= 0).all()
    ask(widget, "members", group=2, start=10_000)
    assert heard[-1][0]["start"] == (group["size"] - 1) // 60 * 60  # a page that is no more: the last one
    ask(widget, "members", group=77, start=0)
    assert heard[-1][0]["size"] == 0


def test_edits_from_a_view_reach_all_views_and_the_file(tmp_path):
    "Each message changes groups, file and summary; who asked is said, so that only that view moves its focus."
    widget, heard = whole_set(folder=tmp_path)
    p = probabilities()
    ask(widget, "rename", group=1, name=" <b>cats</b> ")
    assert heard[-1][0]["groups"][1]["name"] == "<b>cats</b>" and cluster_names(tmp_path) == {1: "<b>cats</b>"}
    ask(widget, "merge", groups=[3, 1])
    content = heard[-1][0]
    assert (
        content["made"] == 1 and content["by"] == "v1" and [group["id"] for group in content["groups"]] == [0, 1, 2, 4]
    )
    assert (
        content["groups"][1]["parts"] == [1, 3] and content["groups"][1]["size"] == np.isin(p.argmax(1), [1, 3]).sum()
    )
    ask(widget, "split", images=[4, 9])
    content = heard[-1][0]
    assert content["made"] == K and content["groups"][-1]["size"] == 2 and content["groups"][-1]["moved"] == 2
    ask(widget, "move", images=[4], group=0)
    assert widget.table().loc[4, "group"] == 0 and widget.table().loc[9, "group"] == K
    ask(widget, "apart", group=1)
    assert [group["id"] for group in heard[-1][0]["groups"]] == [0, 1, 2, 3, 4, K]
    for _ in range(5):
        ask(widget, "undo")
    assert (
        widget.table()["group"].tolist() == p.argmax(1).tolist()
        and cluster_names(tmp_path) == {}
        and heard[-1][0]["undo"] == 0
    )
    ask(widget, "redo")
    assert cluster_names(tmp_path) == {1: "<b>cats</b>"} and heard[-1][0]["redo"] == 4
    ask(widget, "undo")
    ask(widget, "undo")
    assert heard[-1][0]["said"] == "Nothing to change."


@pytest.mark.parametrize(
    "kind, content, words",
    [
        ("rename", {"group": 0, "name": "x" * 61}, "at most 60 characters"),
        ("rename", {"group": 9, "name": "x"}, "group must be one of"),
        ("rename", {"group": "0", "name": "x"}, "whole number"),
        ("merge", {"groups": [1]}, "two different"),
        ("split", {"images": []}, "at least one image"),
        ("split", {"images": [5, 5000]}, "1 that are not"),
        ("move", {"images": [1], "group": -1}, "whole number"),
        ("rename", {}, "group"),
        ("apart", {"group": None}, "whole number"),
    ],
)
def test_invalid_requests_are_answered_and_change_nothing(kind, content, words, tmp_path):
    "Nonsense from a view is answered in words; nothing is written."
    widget, heard = whole_set(folder=tmp_path)
    ask(widget, kind, **content)
    assert words in heard[-1][0]["said"] and heard[-1][0]["undo"] == 0 and not list(tmp_path.iterdir())


def test_unknown_messages_and_early_ones_do_no_harm():
    "An unknown message, and edits before there is anything."
    widget, heard = watched()
    ask(widget, "dance")
    ask(widget, "undo")
    ask(widget, "tiles", images=[1])
    ask(widget, "members", group=0, start=0)
    ask(widget, "download")
    assert (
        all(content["kind"] == "state" and content["groups"] == [] for content, _ in heard)
        and "first snapshot" in heard[-1][0]["said"]
    )


def test_edits_survive_and_two_widgets_do_not_overwrite_each_other(tmp_path):
    "A second widget finds the edits; each sees the other's before it writes."
    first, heard = whole_set(folder=tmp_path)
    first.rename(0, "cats")
    first.split([1, 2, 3], "odd")
    second, _ = whole_set(folder=tmp_path)
    assert second.table().equals(first.table()) and second.grouping.can_undo == 0
    second.rename(1, "dogs")
    first.rename(2, "ships")
    assert cluster_names(tmp_path) == {0: "cats", 1: "dogs", 2: "ships", K: "odd"}
    assert "changed elsewhere" in heard[-1][0]["said"]
    second._on_message(None, {"kind": "hello"}, [])
    assert second.label(2) == "ships"  # a view that opens looks at the file, too


def test_a_damaged_file_is_never_written_over(tmp_path, caplog):
    "It is said, edits stay in memory, and only when asked is it set aside."
    path = tmp_path / "clusters.json"
    path.write_text('{"names": {"0": "precious')
    widget, heard = whole_set(folder=tmp_path)
    assert heard[0][0]["damaged"] and "stays as it is" in heard[0][0]["trouble"] and "NOT saved" in widget.summary
    widget.rename(0, "new")
    widget.undo()
    widget.redo()
    assert path.read_text() == '{"names": {"0": "precious' and widget.label(0) == "new"
    ask(widget, "start_over")
    assert (tmp_path / "clusters.damaged-1.json").read_text() == '{"names": {"0": "precious' and cluster_names(
        tmp_path
    ) == {0: "new"}
    assert not heard[-1][0]["damaged"] and heard[-1][0]["trouble"] == "" and "kept in clusters.json" in widget.summary


def test_a_file_of_another_number_of_clusters_is_left_alone(tmp_path):
    "The names of ten clusters say nothing about five."
    books.GroupingFile(tmp_path).write(books.Grouping(10))
    before = (tmp_path / "clusters.json").read_bytes()
    widget, heard = whole_set(folder=tmp_path)
    widget.rename(0, "x")
    assert (
        "belongs to 10 clusters, these are 5" in widget.summary and (tmp_path / "clusters.json").read_bytes() == before
    )


def test_a_disk_that_fails_is_said_and_the_next_edit_saves(tmp_path, monkeypatch):
    "The edit stands in memory; once the disk works again, everything is saved."
    widget, heard = whole_set(folder=tmp_path)

    def full(path, write):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(books, "atomic_write", full)
        widget.rename(0, "cats")
    assert "No space left" in heard[-1][0]["trouble"] and widget.label(0) == "cats" and not list(tmp_path.iterdir())
    widget.rename(1, "dogs")
    assert heard[-1][0]["trouble"] == "" and cluster_names(tmp_path) == {0: "cats", 1: "dogs"}


def test_without_a_folder_it_says_so():
    "Edits live in memory; the CSV needs a path."
    widget, _ = whole_set()
    widget.rename(0, "cats")
    assert "in memory only" in widget.summary
    with pytest.raises(ValueError, match="path must be given"):
        widget.export()


def test_table_and_csv(tmp_path):
    "The table is what a loop makes; the file reads back; names of a formula's shape are text in it."
    import torch

    from dcacn_nb.data.image_set import ImageSet

    images = ImageSet(torch.from_numpy(pictures()), paths=[f"a/{i}.png" for i in range(80)])
    widget = ClusterBrowser(images=images, probabilities=torch.from_numpy(probabilities()), folder=tmp_path)
    widget.rename(2, "=1+1")
    widget.merge([0, 4])
    widget.split([7], "猫")
    p, table = probabilities(), widget.table()
    for i, row in table.iterrows():
        k = int(p[i].argmax())
        group = K if i == 7 else 0 if k == 4 else k
        assert (
            row.tolist()[:5] == [i, f"a/{i}.png", k, group, {2: "=1+1", K: "猫"}.get(group, "")]
            and row["confidence"] == p[i].max()
        )
    back = pd.read_csv(widget.export(), keep_default_na=False)
    assert (
        list(back.columns) == ["index", "path", "cluster", "group", "name", "confidence"]
        and back["group"].tolist() == table["group"].tolist()
    )
    assert set(back["name"]) == {"'=1+1", "猫", ""} and widget.export(tmp_path / "x" / "y.csv").exists()
    assert (tmp_path / "clusters.csv").read_bytes().startswith(b"\xef\xbb\xbf") and not list(tmp_path.glob(".*"))


def test_download_is_the_file_and_only_for_who_asked():
    "The browser gets the same bytes."
    widget, heard = whole_set()
    ask(widget, "download")
    content, [data] = heard[-1]
    assert content == {"kind": "csv", "view": "v1", "file": "clusters.csv"} and data == pool.csv_bytes(widget.table())


def test_a_finished_run_of_this_kernel_shows_all_images(tmp_path):
    "The sample while it goes on, everything at its end; a run without usable assignments keeps the sample."
    run = SimpleNamespace(
        images=pictures(240),
        probabilities=probabilities(240),
        folder=None,
        status="running",
        subscribe=lambda observer: None,
    )
    widget = ClusterBrowser(run)
    widget(START)
    widget(snapshot(0))
    assert len(widget.table()) == 80 and "80 of 240" in widget.summary
    widget.split([3, 6], "odd")
    widget(END)
    assert widget.wait(10) and len(widget.table()) == 240 and widget.summary.startswith("240 images in 6 clusters")
    assert widget.table().loc[[3, 6], "name"].tolist() == ["odd", "odd"]  # the same images, by their number in the set
    late = ClusterBrowser(SimpleNamespace(**{**vars(run), "status": "completed"}))
    assert late.wait(10) and len(late.table()) == 240
    for bad in (np.full((240, K), np.nan, np.float32), probabilities(7)):
        broken = ClusterBrowser(SimpleNamespace(**{**vars(run), "probabilities": bad}))
        for event in (START, snapshot(0), END):
            broken(event)
        assert broken.wait(10) and len(broken.table()) == 80


def test_other_images_make_a_browser_forget_its_pictures():
    "The same images at the next snapshot keep their token; another run's do not."
    widget, heard = watched(START, snapshot(0), snapshot(1))
    tokens = [content["token"] for content, _ in heard if content["groups"]]
    for event in (START, snapshot(0)):
        widget(event)
    assert tokens[0] == tokens[1] != heard[-1][0]["token"]
    ask(widget, "tiles", images=[0])
    assert heard[-1][0]["token"] == heard[-2][0]["token"]


def test_the_summary_waits_for_images_that_are_being_put_in_place():
    "The thread that reads a run's images holds the lock meanwhile; half of the new state must not be described."
    widget, _ = whole_set()
    words = threading.Thread(target=widget.describe, daemon=True)
    with widget._lock:
        words.start()
        words.join(0.2)
        assert words.is_alive()
    words.join(10)
    assert not words.is_alive()


def test_export_while_a_run_is_being_read_does_not_hang(monkeypatch):
    "A message is handled under the lock which the reading thread needs as well."
    gate = threading.Event()
    run = SimpleNamespace(
        images=pictures(240),
        probabilities=probabilities(240),
        folder=None,
        status="running",
        subscribe=lambda observer: None,
        wait=lambda seconds: gate.wait(10),
    )
    widget, heard = watched(START, snapshot(0), END, run=run)
    ask(widget, "download")
    assert heard[-1][0]["kind"] == "csv" and heard[-1][1][0].count(b"\n") == 81
    gate.set()
    assert widget.wait(10) and len(widget.table()) == 240


def test_a_diverged_snapshot_is_passed_over():
    "NaN in a snapshot: the view stays as it was, and nothing breaks."
    widget, _ = watched(START, snapshot(0))
    before = widget.table()
    broken = snapshot(1)
    broken.arrays["p"][3] = np.nan
    widget(broken)
    assert widget.table().equals(before)


def test_a_shared_history(tmp_path):
    "In a dashboard the history comes from outside, with what it knows already."
    from dcacn_nb.widgets.feed import History

    history = History()
    for event in (START, snapshot(0), snapshot(1)):
        history(event)
    widget = ClusterBrowser(history=history, folder=tmp_path)
    assert widget.assigned.epoch == 1 and widget.table()["cluster"].tolist() == probabilities(seed=1).argmax(1).tolist()
    history(snapshot(2))
    widget.handle(snapshot(2))
    assert widget.assigned.epoch == 2 and "Epoch 2" in widget.summary


def test_moved_images_stay_when_the_network_changes_its_mind():
    "Names by cluster, moves by image; what the network now sees otherwise is counted."
    widget, _ = watched(START, snapshot(0))
    widget.rename(0, "zero")
    taken = [0, 3, 6, 9, 12, 15]
    widget.split(taken, "mine")
    widget(snapshot(1))
    table = widget.table()
    assert table.loc[table["name"] == "mine", "index"].tolist() == taken
    assert set(table.loc[(table["cluster"] == 0) & ~table["index"].isin(taken), "name"]) == {"zero"}
    changed = (probabilities(seed=0).argmax(1) != probabilities(seed=1).argmax(1))[:6].sum()
    assert changed and f"changed its own assignment of {changed} of them" in widget.summary


def test_figure_is_plot_clusters_and_follows_the_edits():
    "Without edits the same picture as from the events; with them the groups, under their names."
    widget, _ = watched(START, snapshot(0))
    plain = plot_clusters([START, snapshot(0)])
    assert (
        widget.figure().alt == plain.alt
        and (widget.figure().axes[0].images[0].get_array() == plain.axes[0].images[0].get_array()).all()
    )
    widget.rename(1, "cats")
    widget.merge([1, 2])
    widget.split([0, 3, 6], "odd")
    alt, table = widget.figure().alt, widget.table()
    for group, name in ((1, "cats"), (K, "odd")):
        assert f"cluster {group} ({name}) {(table['group'] == group).sum()}" in alt
    assert "cluster 2" not in alt


def test_memory_maps_are_not_read_as_a_whole(tmp_path):
    "A set on disk: building, editing and showing two pictures read two pictures."
    np.save(tmp_path / "images.npy", pictures(500))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    widget, heard = watched(images=mapped, probabilities=probabilities(500))
    read = []

    class Watched:
        shape = (500, 3, 6, 6)

        def __getitem__(self, rows):
            read.extend(rows)
            return mapped[rows]

    widget.assigned = type(widget.assigned)(**{**vars(widget.assigned), "images": Watched()})
    widget.merge([0, 1])
    ask(widget, "members", group=0, start=0)
    assert read == []
    ask(widget, "tiles", images=[400, 3])
    assert sorted(read) == [3, 400]
    ask(widget, "tiles", images=list(range(500)))
    assert len(read) == 2 + 256  # however many are asked for


def test_a_set_at_rest_leaves_its_picture_from_the_beginning(monkeypatch):
    "No run ends here, so the cell's outputs are a place and the picture at once; a run that goes on shows the view."
    shown = []
    monkeypatch.setattr("dcacn_nb.widgets.live.display", lambda data, **options: shown.append(data))
    whole_set()[0]._ipython_display_()
    watched(START, snapshot(0))[0]._ipython_display_()
    assert "dcacn-place" in shown[0]["text/html"] and "data:image/webp;base64" in shown[1]["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in shown[2] and shown[3]["text/html"] == ""


def test_photographs_take_little_room_in_a_notebook():
    "The worst case, noise of many colours in ten clusters: under 50 kB, and wide enough to be read."
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 64, 64), dtype=np.uint8)
    p = np.random.default_rng(1).dirichlet(np.ones(10), 300)
    stored = ClusterBrowser(images=images, probabilities=p)._lasting_bundle()["text/html"]
    file = base64.b64decode(re.search('data:image/webp;base64,([^"]+)', stored)[1])
    assert len(stored) < 50_000 and Image.open(io.BytesIO(file)).width > 250


def test_two_hundred_clusters_and_one():
    "The extremes of K."
    widget, heard = watched(images=pictures(1000), probabilities=probabilities(1000, 200))
    content, buffers = heard[0]
    assert (
        len(content["groups"]) == 200 and sum(map(len, buffers)) <= 200 * 48 * 24 and len(json.dumps(content)) < 60_000
    )
    single, heard = watched(images=pictures(), probabilities=np.ones((80, 1), np.float32))
    assert set(ends(*heard[0])[1][:, 2].tolist()) == {-1} and "Largest: cluster 0, 80 (100%)" in single.summary


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"images": pictures()}, "belong together"),
        ({"images": pictures(), "probabilities": probabilities(9)}, "one row for each of 80"),
        ({"images": pictures(), "probabilities": [1, 2]}, "one row for each"),
        ({"images": pictures(), "probabilities": np.full((80, 3), np.nan)}, "diverged"),
        ({"per_cluster": 0}, "per_cluster"),
        ({"per_cluster": 25}, "per_cluster"),
        ({"lang": "fr"}, "lang"),
    ],
)
def test_bad_arguments(kwargs, words):
    "Each names the argument."
    with pytest.raises(ValueError, match=words):
        ClusterBrowser(**kwargs)


def test_probabilities_in_pieces(monkeypatch):
    "Walking through them piece by piece gives what one look gives."
    monkeypatch.setattr("dcacn_nb.clusters.assigned.PIECE", 7)
    looked = pool.assigned_set(pictures(), probabilities())
    assert (looked.clusters == probabilities().argmax(1)).all() and (looked.confidence == probabilities().max(1)).all()
    bad = probabilities()
    bad[60, 1] = np.inf
    with pytest.raises(ValueError, match="1 rows"):
        pool.assigned_set(pictures(), bad)


def test_chinese():
    "Summary and what was done, in Chinese."
    widget, heard = whole_set(lang="zh")
    widget.rename(0, "猫")
    assert "簇 0现名为猫" in heard[-1][0]["said"] and "仅保存在内存中" in widget.summary
    widget.lang = "en"
    assert widget.summary.startswith("80 images")


# --- a real run
@pytest.fixture
def browser(run, run_copy):
    "All images of a finished run, with a folder that may be changed."
    widget = ClusterBrowser(images=run.images, probabilities=run.probabilities, folder=run_copy)
    return widget


def test_edits_of_a_real_run_back_and_forth(browser):
    "A name for the largest cluster, the next two merged, three doubtful images split off; then undo and redo."
    table = browser.table()
    sizes = np.bincount(table["group"], minlength=10)
    largest, *pair = np.argsort(-sizes, kind="stable")[:3].tolist()
    browser.rename(largest, "big one")
    whole = browser.merge(pair)
    doubtful = table[table["group"] == largest].sort_values("confidence")["index"].tolist()[:3]
    new = browser.split(doubtful, "not sure")
    browser.undo()
    assert new not in set(browser.table()["group"])
    browser.redo()
    after = browser.table()
    assert set(after.loc[after["group"] == new, "index"]) == set(doubtful)
    assert (after["cluster"] == table["cluster"]).all() and (after["group"] == whole).sum() == sizes[pair].sum()
    names = cluster_names(browser.folder)
    assert names[largest] == "big one" and names[new] == "not sure"


def test_a_second_widget_of_a_real_run_sees_the_edits_and_keeps_them(browser):
    "It has the folder alone, so it knows the sample; edits made there are read before the next edit here."
    new = browser.split(browser.table()["index"].tolist()[:3], "not sure")
    other = ClusterBrowser.attach(browser.folder)
    assert other.wait() and other.label(new) == "not sure" and len(other.table()) == 120
    other.rename(new, "from elsewhere")
    browser.rename(0, "large one")
    assert browser.label(new) == "from elsewhere" and browser.label(0) == "large one"
    assert json.loads((browser.folder / "clusters.json").read_text())["names"][str(new)] == "from elsewhere"


def test_a_run_of_this_kernel_is_shown_whole_and_exported(run, tmp_path):
    widget = ClusterBrowser(run)
    assert widget.wait() and len(widget.table()) == 200
    back = pd.read_csv(widget.export(tmp_path / "clusters.csv"), keep_default_na=False)
    assert back["group"].tolist() == widget.table()["group"].tolist() and len(back) == 200


def unpacked(message):
    "Groups with their ends as lists of (index, cluster, second, confidence)."
    content, (whole, share) = message
    whole, share = np.frombuffer(whole, "<i4").reshape(-1, 4), np.frombuffer(share, "<f4").reshape(-1, 2)
    rows, at, result = [(*w[:3].tolist(), s[0].item()) for w, s in zip(whole, share)], 0, {}
    for group in content["groups"]:
        a, b = group["ends"]
        result[group["id"]] = rows[at : at + a], rows[at + a : at + a + b], group
        at += a + b
    return result


def wrong_ends(message, p, group_of):
    "Groups whose ends are not as plain sorting has them."
    wrong = []
    for k, (first, last, about) in unpacked(message).items():
        members = sorted((i for i in range(len(p)) if group_of[i] == k), key=lambda i: (-max(p[i]), i))
        surest = members[:24] if len(members) >= 48 else members[: (len(members) + 1) // 2]
        doubtful = [i for i in reversed(members) if i not in surest][:24]
        seconds = all(
            p[i][second] == sorted(p[i])[-2] and p[i][cluster] == max(p[i]) for i, cluster, second, _ in first + last
        )
        mean = np.mean([max(p[i]) for i in members]) if members else None
        sound = about["size"] == len(members) and (not members or np.isclose(about["confidence"], mean, atol=1e-5))
        if [one[0] for one in first] != surest or [one[0] for one in last] != doubtful or not (seconds and sound):
            wrong.append(k)
    return wrong


def turned(message):
    "Wrong: the doubtful end the other way round."
    content, (whole, share) = message
    whole, share, at = (
        np.frombuffer(whole, "<i4").reshape(-1, 4).copy(),
        np.frombuffer(share, "<f4").reshape(-1, 2).copy(),
        0,
    )
    for a, b in (group["ends"] for group in content["groups"]):
        part = slice(at + a, at + a + b)
        whole[part], share[part], at = whole[part][::-1], share[part][::-1], at + a + b
    return content, [whole.tobytes(), share.tobytes()]


def test_the_ends_of_real_clusters_are_as_plain_sorting_has_them(run, browser):
    "After an edit, too; doubtful images in the wrong order are noticed."
    browser.merge([0, 1])
    p, groups = run.probabilities.numpy().tolist(), browser.table()["group"].tolist()
    assert wrong_ends(browser._state(), p, groups) == []
    several = [k for k, (_, last, _) in unpacked(browser._state()).items() if len(last) > 1]
    assert wrong_ends(turned(browser._state()), p, groups) == several and len(several) >= 2


def test_memory_is_bounded_over_a_thousand_snapshots():
    "Of a thousand snapshots the images of the first and the probabilities of the last are kept."
    widget = ClusterBrowser()
    widget(START)
    for epoch in range(1000):
        widget(snapshot(epoch, n=60))
    assert widget.assigned.epoch == 999 and len(widget.assigned.indices) == 60 and len(widget.history.snapshots) <= 10


def test_a_file_is_not_a_folder(run):
    with pytest.raises(ValueError, match="folder must be the folder of a run, got the file"):
        ClusterBrowser.attach(run.folder / "events.jsonl")


def test_python_refuses_what_a_view_is_refused():
    "No clusters yet; a group that does not exist; an image that is not shown; no folder to export to."
    widget, _ = whole_set()
    for call, text in (
        (lambda: ClusterBrowser().rename(0, "cats"), "there are no clusters yet"),
        (lambda: widget.rename(99, "cats"), "group must be one of"),
        (lambda: widget.split([100_000]), "1 that are not"),
        (lambda: ClusterBrowser().export(), "path must be given"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
