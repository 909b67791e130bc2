"""Images arranged by group, the most confident first: as messages for the browser and as a picture."""

from pathlib import Path

import numpy as np

from dcacn_nb.clusters.assigned import AssignedImages
from dcacn_nb.clusters.groups import Grouping
from dcacn_nb.core.checks import check_int
from dcacn_nb.core.events import SnapshotTaken
from dcacn_nb.report.figures.clusters import plot_clusters
from dcacn_nb.report.picture import Picture
from dcacn_nb.widgets.live import shown_name, sprite_sheet

ENDS = 24  # images sent from either end of a group
PAGE = 60  # images on a page of all images of a group
MOST = 256  # pictures in one message


class Arrangement:
    "The rows of each group after all edits, the most confident first."

    def __init__(
        self,
        images: AssignedImages,
        grouping: Grouping,
    ):
        self.images, self.grouping = images, grouping
        groups = grouping.assign(images.indices, images.clusters)
        order, numbers = np.lexsort((-images.confidence, groups)), grouping.groups()
        cuts = np.searchsorted(groups[order], numbers + [np.iinfo(np.int64).max])
        self.members = {group: order[cuts[i] : cuts[i + 1]] for i, group in enumerate(numbers)}
        self.by_hand = np.zeros(len(order), bool)
        self.by_hand[images.rows(list(grouping.moved))] = True

    # ---- messages
    def state(self) -> "tuple[dict, list[bytes]]":
        "All groups, and the images at both ends of each."
        rows, groups = [], []
        for group, members in self.members.items():
            first, last = members[:ENDS], members[ENDS:][::-1][:ENDS]
            if len(members) < 2 * ENDS:  # no image appears at both ends
                first, last = members[: (len(members) + 1) // 2], members[(len(members) + 1) // 2 :][::-1]
            rows += [first, last]
            groups.append(self._group(group, members, [len(first), len(last)]))
        content = {
            "groups": groups,
            "undo": self.grouping.can_undo,
            "redo": self.grouping.can_redo,
            "n": len(self.images.indices),
            "k": self.images.n_clusters,
        }
        return content, self.pack(np.concatenate(rows))

    def _group(self, group: int, members: np.ndarray, ends: "list[int]") -> dict:
        "What the browser shows of a group as a whole."
        return {
            "id": group,
            "name": self.grouping.name(group),
            "parts": self.grouping.parts(group),
            "size": len(members),
            "ends": ends,
            "confidence": float(self.images.confidence[members].mean()) if len(members) else None,
            "moved": int(self.by_hand[members].sum()),
        }

    def pack(
        self,
        rows: np.ndarray,  # (n,) of the images
    ) -> "list[bytes]":
        "Per image: index, cluster, second cluster, moved by hand (int32); both probabilities (float32)."
        second, share = self.images.seconds(rows)
        whole = [self.images.indices[rows], self.images.clusters[rows], second, self.by_hand[rows]]
        shares = [self.images.confidence[rows], share]
        return [np.stack(whole, 1).astype("<i4").tobytes(), np.stack(shares, 1).astype("<f4").tobytes()]

    def page(
        self,
        group: int,
        start: int,  # first image of the page; too large: the last page
    ) -> "tuple[dict, list[bytes]]":
        "One page of all images of a group."
        members = self.members.get(group, np.zeros(0, int))
        start = max(0, min(check_int("start", start), (len(members) - 1) // PAGE * PAGE))
        rows = members[start : start + PAGE]
        content = {"group": group, "start": start, "size": len(members), "count": len(rows), "page": PAGE}
        return content, self.pack(rows)

    def tiles(
        self,
        indices: "list[int]",  # which images of the set
    ) -> "tuple[dict, list[bytes]] | None":  # None: none of them is here
        "The pictures of some images, and the names of their files."
        rows = self.images.rows(indices[:MOST])
        if not len(rows):
            return None
        sheet, layout = sprite_sheet(self.images.pixels(rows), 64)
        files = self.images.files(rows)
        names = files and [shown_name(Path(file).name) for file in files]
        return {"images": self.images.indices[rows].tolist(), "files": names, "layout": layout}, [sheet]

    # ---- for print
    def picture(
        self,
        names: "dict[int, str]",  # group -> name
    ) -> Picture:
        "Both ends of every group; of a large set, evenly spaced images of it."
        images, total = self.images, len(self.images.indices)
        most = max(50, min(1000, 32_000_000 // int(np.prod(images.images.shape[1:]))))
        rows = np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int))
        groups = self.grouping.assign(images.indices[rows], images.clusters[rows])
        p = np.zeros((len(rows), max(self.grouping.groups()) + 1), np.float32)
        p[np.arange(len(rows)), groups] = images.confidence[rows]
        shown = SnapshotTaken(images.epoch or 0, 0, images.indices[rows], {"p": p, "images": images.pixels(rows)})
        picture = plot_clusters([shown], max_clusters=max(1, min(20, len(np.unique(groups)))), names=names)
        if len(rows) < total:
            picture.alt += f" These are {len(rows):,} of {total:,} images, evenly spaced."
        return picture
