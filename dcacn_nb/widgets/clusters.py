"""The surest and the most doubtful images of every cluster; and by hand: names, merges, splits, with undo, kept with the run."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import traitlets

from dcacn_nb.clusters.assigned import (
    AssignedImages,
    assigned_set,
    assigned_snapshots,
    assignments,
    csv_bytes,
    write_table,
)
from dcacn_nb.clusters.groups import LONGEST, Grouping, GroupingError, GroupingFile
from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import REASONS, Event, RunFinished, RunStarted, SnapshotTaken
from dcacn_nb.report.figures import plot_clusters
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.feed import History
from dcacn_nb.widgets.live import LiveWidget, sprite_sheet

WORDS = {  # key -> (English, Chinese)
    "title": ("Clusters", "聚类浏览"),
    "sort": ("sort by", "排序"),
    "by_number": ("number", "编号"),
    "by_size": ("size, largest first", "大小（从大到小）"),
    "by_name": ("name", "名称"),
    "by_confidence": ("confidence, lowest first", "置信度（从低到高）"),
    "per_cluster": ("images at each end", "两端图像数"),
    "redo": ("Redo", "重做"),
    "surest": ("surest", "最确定"),
    "doubtful": ("most doubtful", "最可疑"),
    "strip": (
        "{which} images of {name}. Arrow keys go from image to image, Space selects.",
        "{name}：{which}的图像。方向键切换图像，空格键选择。",
    ),
    "between": ("all", "全部"),
    "size": ("{size} images, {share}", "{size} 幅图像，{share}"),
    "mean": ("confidence {confidence}", "置信度 {confidence}"),
    "by_hand": ("{moved} moved by hand", "手动移入 {moved} 幅"),
    "empty": ("No images.", "没有图像。"),
    "new_n": ("new cluster {k}", "新簇 {k}"),
    "of_parts": ("clusters {parts}", "簇 {parts}"),
    "name_of": ("name of {name}", "{name}的名称"),
    "name_hint": ("name this cluster", "为此簇命名"),
    "tick": ("merge {name}", "合并{name}"),
    "merge": ("Merge", "合并"),
    "merge_n": ("Merge {n} clusters", "合并 {n} 个簇"),
    "selected": ("{n} selected", "已选 {n} 幅"),
    "split": ("Split off", "拆分为新簇"),
    "move_to": ("Move to", "移至"),
    "target": ("cluster to move to", "目标簇"),
    "clear": ("Clear", "清除选择"),
    "how": (
        "Tick clusters to merge them; select images to split them off or to move them.",
        "勾选簇以合并；选择图像以拆分或移动。",
    ),
    "point": ("Point at an image to see where the network puts it.", "将鼠标指向图像以查看网络的判断。"),
    "image_is": (
        "image {index}{file}: {name} {confidence}{second}{hand}",
        "图像 {index}{file}：{name} {confidence}{second}{hand}",
    ),
    "then": (", then {name} {confidence}", "，其次 {name} {confidence}"),
    "hand": (", moved by hand", "，手动移入"),
    "show_all": ("Show all {n}", "显示全部 {n} 幅"),
    "show_less": ("Show less", "收起"),
    "select_page": ("Select these", "选择这些"),
    "apart": ("Take apart", "取消合并"),
    "put_back": ("Put back", "放回原簇"),
    "page": ("{from} to {to} of {n}", "第 {from} 至 {to}，共 {n}"),
    "clusters_page": ("Clusters {from} to {to} of {n}", "簇 {from} 至 {to}，共 {n}"),
    "next": ("Next", "下一页"),
    "previous": ("Previous", "上一页"),
    "export": ("Write clusters.csv", "写入 clusters.csv"),
    "download": ("Download CSV", "下载 CSV"),
    "anew": ("Set the file aside and begin anew", "另存该文件并重新开始"),
    "did_rename": ("{before} is now called {name}.", "{before}现名为{name}。"),
    "did_unname": ("{before} has no name any more.", "{before}不再有名称。"),
    "did_merge": ("Merged into {name}.", "已合并为{name}。"),
    "did_split": ("Split off {n} image(s): {name}.", "已拆分 {n} 幅图像：{name}。"),
    "did_move": ("{n} image(s) moved to {name}.", "{n} 幅图像已移至{name}。"),
    "did_apart": ("{name} is taken apart.", "{name}已拆开。"),
    "did_undo": ("Undone.", "已撤销。"),
    "did_redo": ("Done again.", "已重做。"),
    "did_export": ("Written: {file}", "已写入：{file}"),
    "did_anew": ("The damaged file is now {file}.", "损坏的文件现为 {file}。"),
    "did_nothing": ("Nothing to change.", "无需更改。"),
    "reread": (
        "clusters.json was changed elsewhere; its content is shown now.",
        "clusters.json 已在别处更改，现显示其内容。",
    ),
    "too_large": (
        "The table is too large to send to the browser; use export() in Python.",
        "表格过大，无法发送到浏览器；请在 Python 中使用 export()。",
    ),
    "say_all": (
        "{n} images in {groups} clusters, {named} of them named",
        "{n} 幅图像分为 {groups} 个簇，其中 {named} 个已命名",
    ),
    "say_sample": (
        "Epoch {epoch}: {n} of {total} images (the sample) in {groups} clusters, {named} of them named",
        "第 {epoch} 轮：{total} 幅图像中的 {n} 幅（样本）分为 {groups} 个簇，其中 {named} 个已命名",
    ),
    "say_empty": (", {empty} empty", "，{empty} 个为空"),
    "say_ends": (
        ". Largest: {large}, {large_size} ({large_share}); smallest: {small}, {small_size} ({small_share}).",
        "。最大：{large}，{large_size} 幅（{large_share}）；最小：{small}，{small_size} 幅（{small_share}）。",
    ),
    "say_moved": (" {moved} images stay where they were put by hand.", "有 {moved} 幅图像保持在手动指定的簇中。"),
    "say_drifted": (
        " Of these the network has since moved {drifted} as well.",
        "其中 {drifted} 幅网络后来也改变了判断。",
    ),
    "say_kept": (
        " Names and edits are kept in clusters.json of the run.",
        "名称和编辑保存在该训练的 clusters.json 中。",
    ),
    "say_memory": (
        " There is no run folder: names and edits are kept in memory only.",
        "没有训练文件夹：名称和编辑仅保存在内存中。",
    ),
    "say_unsaved": (" Edits are NOT saved: {why}.", "编辑未保存：{why}。"),
}


logger = logging.getLogger(__name__)
ENDS = 24  # images at either end of a cluster that the browser is sent
PAGE = 60  # images between, a page
MOST = 256  # pictures in a message
TO_SEND = 20_000_000  # bytes of CSV sent to the browser


def _share(x: float) -> str:
    "A share in percent; small ones with a digit more."
    return f"{x:.0%}" if x >= 0.01 else f"{x:.1%}"


class ClusterBrowser(LiveWidget):
    "The images of each cluster, surest and most doubtful first; names, merges and splits by hand, kept with the run: an observer."

    NAMES = ("clusters",)
    WORDS = WORDS
    per_cluster = traitlets.Int(6).tag(sync=True)  # images at either end to begin with
    longest = traitlets.Int(LONGEST).tag(sync=True)  # signs of a name

    def __init__(
        self,
        run=None,  # a Run of this kernel, or None: events come by calling the widget
        *,
        images: object = None,  # a whole set instead: ImageSet, array or tensor (uint8 may be memory-mapped)
        probabilities: object = None,  # (N,K) soft assignments of these images
        per_cluster: int = 6,  # images shown at either end, 1 to 24
        history: "History | None" = None,  # kept by somebody else, who also calls `take`; None: kept here
        folder: "str | Path | None" = None,  # where clusters.json and clusters.csv belong; None: the run's own
        lang: str = "en",  # "en" or "zh"
    ):
        check_int("per_cluster", per_cluster, 1, ENDS)
        if (images is None) != (probabilities is None):
            raise ValueError("images and probabilities belong together: give both, or neither (a run has its own)")
        self._given = None if images is None else assigned_set(images, probabilities)
        self.pool: AssignedImages | None = None
        self.grouping: Grouping | None = None  # once it is known how many clusters there are
        self._file, self._trouble, self._damaged, self._whole, self._loader, self._token, self._by = (
            None,
            "",
            False,
            False,
            None,
            0,
            "",
        )
        super().__init__(run, history=history, folder=folder, lang=lang, per_cluster=per_cluster)

    # ---- where images come from
    def prepare(self) -> None:
        "What is there from the beginning: a given set, or what a history knows already."
        self._file = None if self.folder is None else GroupingFile(self.folder)
        if self._given is not None:
            self._whole = self._settled = (
                True  # no run will end: its picture is left in the notebook from the beginning, with the view in its place
            )
            self._look_at(self._given)
            return
        self._look_at(self._sample())
        if self.history.end is not None or (self.folder is None and getattr(self.run, "status", "") in REASONS):
            self._load_all()

    def update(self, event: Event) -> None:
        "A new snapshot is a new pool; at the end of a run of this kernel all its images are."
        if self._given is not None:
            return
        if isinstance(event, RunStarted):
            self._whole, self.pool = False, None
            self._show()
        elif isinstance(event, SnapshotTaken) and not self._whole:
            self._look_at(self._sample())
        elif isinstance(event, RunFinished):
            self._load_all()

    def _sample(self) -> "AssignedImages | None":
        "The images of the snapshots."
        return assigned_snapshots(self.history.snapshots, self.history.start.n_images if self.history.start else 0)

    def _load_all(self) -> None:
        "Get all images of a finished run, in a thread: it may have to encode them first."
        if hasattr(self.run, "images"):
            self._loader = threading.Thread(target=self._read_run, name="dcacn-clusters", daemon=True)
            self._loader.start()

    def _read_run(self) -> None:
        "What that thread does. If a run has no usable assignments, the sample stays."
        try:
            if callable(getattr(self.run, "wait", None)):
                self.run.wait(60)
        except Exception:  # a failed run raises here what it failed of; what it has done until then can be looked at
            logger.info("the run in the cluster browser has failed", exc_info=True)
        try:
            pool = assigned_set(self.run.images, self.run.probabilities)
        except Exception as error:
            logger.warning("the cluster browser shows the sample only, not all images: %s", error)
            return
        with self._lock:
            self._whole = True
            self._look_at(pool)
            self.summary = self.describe()

    def _look_at(self, pool: "AssignedImages | None") -> None:
        "Show other images, or the same ones elsewhere."
        if pool is None:
            return
        if self.pool is None or pool.images is not self.pool.images:
            self._token += 1  # pictures that a browser has belong to the old ones
        self.pool = pool
        if self.grouping is None or self.grouping.n_clusters != pool.n_clusters:
            self._read()
        self._arrange()
        self._show()

    def _arrange(self) -> None:
        "The rows of each group, the surest first."
        groups = self.grouping.assign(self.pool.indices, self.pool.clusters)
        order = np.lexsort((-self.pool.confidence, groups))
        numbers = self.grouping.groups()
        cuts = np.searchsorted(groups[order], numbers + [np.iinfo(np.int64).max])
        self._by_hand = np.zeros(len(order), bool)
        self._by_hand[self.pool.rows(list(self.grouping.moved))] = True
        self._members = {group: order[cuts[i] : cuts[i + 1]] for i, group in enumerate(numbers)}

    # ---- the file
    def _read(self) -> bool:
        "The books from the file; whether that worked."
        self.grouping = (
            self.grouping
            if self.grouping and self.grouping.n_clusters == self.pool.n_clusters
            else Grouping(self.pool.n_clusters)
        )
        try:
            self.grouping = self._file.read(self.pool.n_clusters) if self._file else self.grouping
            self._trouble, self._damaged = "", False
        except (GroupingError, OSError) as error:
            self._trouble, self._damaged = str(error), isinstance(error, GroupingError)
            logger.warning("%s", error)
        return not self._trouble

    def _refresh(self) -> str:
        "Read the file if somebody else has changed it; the words for it."
        try:
            if self._file is None or self.pool is None or self._damaged or not self._file.changed():
                return ""
        except OSError as error:  # writing will fail as well, and say so
            self._trouble = str(error)
            return ""
        read = self._read()
        self._arrange()
        return self.say("reread") if read else ""

    def _keep(self) -> None:
        "Write the file, if there is one."
        if self._file is not None and not self._damaged:
            try:
                self._file.write(self.grouping)
                self._trouble = ""
            except (GroupingError, OSError) as error:
                self._trouble = str(error)
                logger.warning("%s", error)

    # ---- edits
    def _edit(
        self, change: "Callable[[Grouping], object]", words: "Callable[[object], str]", focus: bool = False
    ) -> object:
        "One edit, kept and shown; what the books answer."
        with self._lock:
            if self.pool is None:
                raise ValueError("there are no clusters yet: they come with the first snapshot")
            reread = self._refresh()
            answer = change(self.grouping)
            if answer is not False:
                self._keep()
                self._arrange()
            said = words(answer) if answer is not False else self.say("did_nothing")
            self.summary = self.describe()
            self._show(" ".join(filter(None, (reread, said))), answer if focus else None)
            return answer

    def _clusters_of(self, images: "Sequence[int]") -> "list[int]":
        "The network's cluster of each image; images that are not here are refused."
        rows = self.pool.rows(images) if self.pool else []
        if self.pool and len(rows) != len(images):
            raise ValueError(
                f"images must be among the {len(self.pool.indices)} that are shown, got {len(images) - len(rows)} that are not"
            )
        return self.pool.clusters[rows].tolist() if self.pool else []

    def label(self, group: int) -> str:
        "What to call a group: its name, or its number."
        number = "cluster_n" if group < self.grouping.n_clusters else "new_n"
        return self.grouping.name(group) or self.say(number, k=group)

    def _called(self, group: object) -> str:
        "Its label before an edit; what is no group at all is refused by the books later."
        return self.label(group) if self.grouping and isinstance(group, (int, np.integer)) else str(group)

    def rename(self, group: int, name: str) -> None:
        "Name a group; an empty name takes its name away."
        before = self._called(group)
        self._edit(
            lambda books: books.rename(group, name),
            lambda _: self.say(
                "did_rename" if self.grouping.name(group) else "did_unname", before=before, name=self.label(group)
            ),
        )

    def merge(self, groups: "Sequence[int]") -> int:
        "Make one group of several; its number, the smallest among theirs."
        return self._edit(
            lambda books: books.merge(groups), lambda whole: self.say("did_merge", name=self.label(whole)), True
        )

    def split(self, images: "Sequence[int]", name: str = "") -> int:
        "Make a new group of some images (numbers in the set); its number."
        return self._edit(
            lambda books: books.split(images, self._clusters_of(images), name),
            lambda new: self.say("did_split", n=len(images), name=self.label(new)),
            True,
        )

    def move(self, images: "Sequence[int]", group: int) -> None:
        "Put images (numbers in the set) into a group."
        self._edit(
            lambda books: books.move(images, self._clusters_of(images), group),
            lambda _: self.say("did_move", n=len(images), name=self.label(group)),
        )

    def take_apart(self, group: int) -> None:
        "Undo the merges of a group; of one that was split off: put its images back."
        name = self._called(group)
        self._edit(lambda books: books.take_apart(group), lambda _: self.say("did_apart", name=name))

    def undo(self) -> None:
        "Take the last edit back."
        self._edit(lambda books: books.undo(), lambda _: self.say("did_undo"))

    def redo(self) -> None:
        "Do again what was taken back last."
        self._edit(lambda books: books.redo(), lambda _: self.say("did_redo"))

    def begin_anew(self) -> None:
        "Rename a clusters.json that was not understood, and write what is shown now in its place."
        if self._damaged:
            aside = self._file.set_aside()
            self._damaged = False
            self._edit(lambda books: True, lambda _: self.say("did_anew", file=aside.name))

    # ---- results
    def table(self) -> pd.DataFrame:  # columns index, path (if there are files), cluster, group, name, confidence
        "One row an image that is shown: the network's cluster, and the group and its name after all edits."
        if self._loader is not None:
            self._loader.join()
        with self._lock:
            return self._rows()

    def _rows(self) -> pd.DataFrame:
        "That table, as things are."
        if self.pool is None:
            raise ValueError("there are no clusters yet: they come with the first snapshot")
        names = {group: name for group in self.grouping.groups() if (name := self.grouping.name(group))}
        return assignments(self.pool, self.grouping.assign(self.pool.indices, self.pool.clusters), names)

    def export(
        self,
        path: "str | Path | None" = None,  # ends in .csv; None: clusters.csv in the run's folder
    ) -> Path:  # the file
        "Write the table as CSV; names that a spreadsheet would run as formulas get an apostrophe in front."
        if path is None and self.folder is None:
            raise ValueError("path must be given, because there is no run folder: export('clusters.csv')")
        return write_table(self.table(), self.folder / "clusters.csv" if path is None else path)

    # ---- messages
    def _show(self, said: str = "", made: "int | None" = None) -> None:
        "Tell all views how things are."
        if self._viewed:
            content, buffers = self._state()
            self.tell(content.pop("kind"), buffers, **content, said=said, by=self._by, made=made)

    def _state(self) -> "tuple[dict, list[bytes]]":
        "All groups with the images at their ends."
        if self.pool is None:
            return {
                "kind": "state",
                "token": self._token,
                "groups": [],
                "undo": 0,
                "redo": 0,
                "n": 0,
                "k": 0,
                "folder": self._file is not None,
                "damaged": False,
                "trouble": "",
            }, []
        rows, groups = [], []
        for group, members in self._members.items():
            first, last = members[:ENDS], members[ENDS:][::-1][:ENDS]
            if len(members) < 2 * ENDS:  # no image stands at both ends
                first, last = members[: (len(members) + 1) // 2], members[(len(members) + 1) // 2 :][::-1]
            rows += [first, last]
            groups.append(
                {
                    "id": group,
                    "name": self.grouping.name(group),
                    "parts": self.grouping.parts(group),
                    "size": len(members),
                    "ends": [len(first), len(last)],
                    "confidence": float(self.pool.confidence[members].mean()) if len(members) else None,
                    "moved": int(self._by_hand[members].sum()),
                }
            )
        content = {
            "kind": "state",
            "token": self._token,
            "groups": groups,
            "undo": self.grouping.can_undo,
            "redo": self.grouping.can_redo,
            "n": len(self.pool.indices),
            "k": self.pool.n_clusters,
            "folder": self._file is not None,
            "damaged": self._damaged,
            "trouble": self._trouble,
        }
        return content, self._pack(np.concatenate(rows))

    def _pack(self, rows: np.ndarray) -> "list[bytes]":
        "What is said about images: four whole numbers and two others each."
        second, at = self.pool.seconds(rows)
        whole = np.stack([self.pool.indices[rows], self.pool.clusters[rows], second, self._by_hand[rows]], 1)
        return [whole.astype("<i4").tobytes(), np.stack([self.pool.confidence[rows], at], 1).astype("<f4").tobytes()]

    def backlog(self):
        "How things are."
        said = self._refresh()
        content, buffers = self._state()
        yield {**content, "said": said, "by": "", "made": None}, buffers

    def on_message(self, content: dict, buffers: list) -> None:
        "What a person asks for; what cannot be done is said."
        asked = {
            "rename": lambda: self.rename(content["group"], content["name"]),
            "merge": lambda: self.merge(content["groups"]),
            "split": lambda: self.split(content["images"]),
            "move": lambda: self.move(content["images"], content["group"]),
            "apart": lambda: self.take_apart(content["group"]),
            "undo": self.undo,
            "redo": self.redo,
            "anew": self.begin_anew,
            "members": lambda: self._send_members(content["group"], content["start"]),
            "tiles": lambda: self._send_tiles(content["images"]),
            "export": self._write_csv,
            "download": self._send_csv,
        }.get(content.get("kind"))
        self._by = str(content.get("view", ""))
        try:
            if asked is not None:
                asked()
        except (ValueError, TypeError, KeyError, OSError) as error:
            self._show(str(error))
        finally:
            self._by = ""

    def _send_members(self, group: int, start: int) -> None:
        "One page of all images of a group."
        members = self._members.get(group, np.zeros(0, int)) if self.pool else np.zeros(0, int)
        start = max(0, min(check_int("start", start), (len(members) - 1) // PAGE * PAGE))
        rows = members[start : start + PAGE]
        if self.pool is not None:
            self.tell(
                "members",
                self._pack(rows),
                view=self._by,
                group=group,
                start=start,
                size=len(members),
                count=len(rows),
                page=PAGE,
            )

    def _send_tiles(self, images: "list[int]") -> None:
        "Pictures of some images."
        rows = self.pool.rows(images[:MOST]) if self.pool else []
        if len(rows):
            sheet, layout = sprite_sheet(self.pool.pixels(rows), 64)
            files = self.pool.files(rows)
            self.tell(
                "tiles",
                [sheet],
                token=self._token,
                images=self.pool.indices[rows].tolist(),
                files=files and [Path(file).name for file in files],
                layout=layout,
            )

    def _write_csv(self) -> None:
        "The table into the run's folder."
        if self.folder is not None:
            self._show(self.say("did_export", file=write_table(self._rows(), self.folder / "clusters.csv")))

    def _send_csv(self) -> None:
        "The table for the browser to save."
        data = csv_bytes(self._rows())
        if len(data) > TO_SEND:
            raise ValueError(self.say("too_large"))
        self.tell("csv", [data], view=self._by, file="clusters.csv")

    # ---- in words, and on paper
    def describe(self) -> str:
        "How many clusters, the largest and the smallest, what was done by hand, and where that is kept."
        with self._lock:  # all images of a run come in another thread
            return (
                self.say("nothing" if self.history.start is not None else "waiting")
                if self.pool is None
                else self._in_words()
            )

    def _in_words(self) -> str:
        "The same, once there are images."
        sizes, n = {group: len(members) for group, members in self._members.items()}, len(self.pool.indices)
        used = {group: size for group, size in sizes.items() if size}
        large, small = max(used, key=used.get), min(used, key=used.get)
        facts = {
            "n": f"{n:,}",
            "total": f"{self.pool.total:,}",
            "epoch": self.pool.epoch,
            "groups": len(sizes),
            "named": sum(bool(self.grouping.name(group)) for group in sizes),
        }
        parts = [
            self.say("say_all" if self.pool.epoch is None else "say_sample", **facts),
            self.say("say_empty", empty=len(sizes) - len(used)) if len(used) < len(sizes) else "",
        ]
        parts.append(
            self.say(
                "say_ends",
                large=self.label(large),
                large_size=f"{used[large]:,}",
                large_share=_share(used[large] / n),
                small=self.label(small),
                small_size=f"{used[small]:,}",
                small_share=_share(used[small] / n),
            )
        )
        drifted = self.grouping.drifted(self.pool.indices, self.pool.clusters)
        parts.append(self.say("say_moved", moved=f"{len(self.grouping.moved):,}") if self.grouping.moved else "")
        parts.append(self.say("say_drifted", drifted=f"{drifted:,}") if drifted else "")
        parts.append(
            self.say("say_unsaved", why=self._trouble.rstrip("."))
            if self._trouble
            else self.say("say_memory" if self._file is None else "say_kept")
        )
        return "".join(parts)

    def figure(self) -> Picture:
        "Both ends of every cluster, after all edits, with the names; of a large set, evenly spread images of it."
        with self._lock:
            return plot_clusters(self.history.events()) if self.pool is None else self._drawn(self.pool, self.grouping)

    def _drawn(self, pool: AssignedImages, grouping: Grouping) -> Picture:
        "The same, once there are images."
        most = max(50, min(1000, 32_000_000 // int(np.prod(pool.images.shape[1:]))))
        rows = np.unique(np.linspace(0, len(pool.indices) - 1, min(most, len(pool.indices))).round().astype(int))
        groups = grouping.assign(pool.indices[rows], pool.clusters[rows])
        p = np.zeros((len(rows), max(grouping.groups()) + 1), np.float32)
        p[np.arange(len(rows)), groups] = pool.confidence[rows]
        shown = SnapshotTaken(pool.epoch or 0, 0, pool.indices[rows], {"p": p, "images": pool.pixels(rows)})
        names = {group: name for group in grouping.groups() if (name := grouping.name(group))}
        picture = plot_clusters([shown], max_clusters=max(1, min(20, len(np.unique(groups)))), names=names)
        picture.alt += (
            f" These are {len(rows):,} of {len(pool.indices):,} images, evenly spread."
            if len(rows) < len(pool.indices)
            else ""
        )
        return picture

    def wait(self, timeout: "float | None" = 60) -> bool:
        "Wait until all that a finished run has told, and all its images, are in the picture (at most `timeout` seconds, each); whether that is so."
        done = super().wait(timeout)
        if self._loader is not None:
            self._loader.join(timeout)
        return done and not (self._loader is not None and self._loader.is_alive())
