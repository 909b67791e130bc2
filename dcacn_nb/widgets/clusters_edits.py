"""The edits of the cluster browser: names, merges, splits and moves, each saved and shown at once."""

from collections.abc import Callable, Sequence

import numpy as np

from dcacn_nb.clusters.groups import Grouping

NO_CLUSTERS = "there are no clusters yet: the first snapshot brings them"


class EditsByHand:
    "The part of ClusterBrowser that edits groups; the rest holds the images, the file and the views."

    @property
    def grouping(self) -> "Grouping | None":
        "The edits by hand; None until the number of clusters is known."
        return self._saved.grouping

    def _refresh(self) -> str:
        "Read the file if another program has changed it; the sentence that says so."
        if self.assigned is None or not self._saved.changed_elsewhere():
            return ""
        read = self._saved.read(self.assigned.n_clusters)
        self._arrange()
        return self.text("reread") if read else ""

    def _edit(
        self,
        change: "Callable[[Grouping], object]",  # returns False if it changed nothing
        sentence: "Callable[[object], str]",  # says what was done, from what `change` returned
        focus: bool = False,  # the view that asked moves its focus to the group returned
    ) -> object:  # what `change` returned
        "Make one edit, save it and show it."
        with self._lock:
            if self.assigned is None:
                raise ValueError(NO_CLUSTERS)
            reread = self._refresh()
            answer = change(self.grouping)
            if answer is not False:
                self._saved.write()
                self._arrange()
            done = sentence(answer) if answer is not False else self.text("did_nothing")
            self.summary = self.describe()
            self._publish(" ".join(filter(None, (reread, done))), answer if focus else None)
            return answer

    def _clusters_of(self, images: "Sequence[int]") -> "list[int]":
        "The network's cluster of each image; images that are not shown are refused."
        if self.assigned is None:
            return []
        rows = self.assigned.rows(images)
        if len(rows) != len(images):
            raise ValueError(
                f"images must be among the {len(self.assigned.indices)} that are shown, "
                f"got {len(images) - len(rows)} that are not"
            )
        return self.assigned.clusters[rows].tolist()

    def label(self, group: int) -> str:
        "What to call a group: its name, or its number."
        number = "cluster_n" if group < self.grouping.n_clusters else "new_n"
        return self.grouping.name(group) or self.text(number, k=group)

    def _label_before(self, group: object) -> str:
        "The label of a group before an edit; what is not a group is refused later, by the edit itself."
        return self.label(group) if self.grouping and isinstance(group, (int, np.integer)) else str(group)

    def rename(self, group: int, name: str) -> None:
        "Name a group; an empty name removes its name."
        before = self._label_before(group)

        def done(_) -> str:
            key = "did_rename" if self.grouping.name(group) else "did_unname"
            return self.text(key, before=before, name=self.label(group))

        self._edit(lambda grouping: grouping.rename(group, name), done)

    def merge(self, groups: "Sequence[int]") -> int:
        "Merge groups into one; its number, the smallest among theirs."
        return self._edit(
            lambda grouping: grouping.merge(groups),
            lambda merged: self.text("did_merge", name=self.label(merged)),
            focus=True,
        )

    def split(self, images: "Sequence[int]", name: str = "") -> int:
        "Make a new group of some images (indices in the set); its number."
        return self._edit(
            lambda grouping: grouping.split(images, self._clusters_of(images), name),
            lambda new: self.text("did_split", n=len(images), name=self.label(new)),
            focus=True,
        )

    def move(self, images: "Sequence[int]", group: int) -> None:
        "Put images (indices in the set) into a group."
        self._edit(
            lambda grouping: grouping.move(images, self._clusters_of(images), group),
            lambda _: self.text("did_move", n=len(images), name=self.label(group)),
        )

    def take_apart(self, group: int) -> None:
        "Undo the merges of a group; put the images of a group that was split off back."
        name = self._label_before(group)
        self._edit(lambda grouping: grouping.take_apart(group), lambda _: self.text("did_apart", name=name))

    def undo(self) -> None:
        "Undo the last edit."
        self._edit(lambda grouping: grouping.undo(), lambda _: self.text("did_undo"))

    def redo(self) -> None:
        "Redo the edit that was undone last."
        self._edit(lambda grouping: grouping.redo(), lambda _: self.text("did_redo"))

    def start_over(self) -> None:
        "Rename a clusters.json that was not understood, and write a new one with the present edits."
        if self._saved.damaged:
            aside = self._saved.set_aside()
            self._edit(lambda grouping: True, lambda _: self.text("did_start_over", file=aside.name))
