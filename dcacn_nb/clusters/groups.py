"""What a person makes of a network's clusters: names, merges, images moved by hand; every edit can be undone."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dcacn_nb.core.files import atomic_write, read_regular, user_path

LONGEST = 60  # characters of a name
MAX_UNDO = 1000  # edits that can be undone
MAX_CHANGES = 300_000  # entries that these edits may have changed in total
MAX_NUMBER = 2**62  # of a group or an image: they are kept as int64


class GroupingError(ValueError):
    "A clusters.json that cannot be used, or must not be overwritten."


def clean_name(
    name: object,  # as it was typed
) -> str:  # one line; "" means: no name
    "A name as it is kept: one line without invisible characters."
    if not isinstance(name, str):
        raise TypeError(f"name must be text, got {name!r} ({type(name).__name__})")
    line = " ".join(name.split())  # the two joiners stay: they are part of some scripts and of emoji
    line = "".join(
        sign
        for sign in line
        if sign in "\u200c\u200d" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    ).strip()
    if len(line) > LONGEST:
        raise ValueError(f"name must have at most {LONGEST} characters, got {len(line)}: {line!r}")
    return line


class Grouping:
    "Names, merges and moves on top of a network's clusters."

    def __init__(
        self,
        n_clusters: int,  # K: clusters of the network, >= 1
    ):
        self.n_clusters = _whole("n_clusters", n_clusters, 1)
        self.names: dict[int, str] = {}  # group -> its own name
        self.merged: dict[int, int] = {}  # group -> the group it is part of
        self.joint: dict[int, str] = {}  # group with parts -> the name of the whole
        self.moved: dict[int, tuple[int, int]] = {}  # image -> (its cluster then, the group it was put into)
        self._done, self._undone = [], []

    # ---- what there is
    def root(self, group: int) -> int:
        "The group it is part of; itself if it was not merged."
        return self.merged.get(group, group)

    def name(self, group: int) -> str:
        "What a group is called; empty if it has no name."
        group = self.root(group)
        return (self.joint if group in self.merged.values() else self.names).get(group, "")

    def groups(self) -> "list[int]":
        "All groups, the network's first."
        made = {group for _, group in self.moved.values() if group >= self.n_clusters}
        return sorted({self.root(group) for group in (*range(self.n_clusters), *made, *self.merged.values())})

    def parts(self, group: int) -> "list[int]":
        "The groups that were merged into one, itself among them."
        return sorted([group, *(part for part, whole in self.merged.items() if whole == group)])

    def cluster_names(self) -> "dict[int, str]":
        "For each of the network's clusters the name of the group it is in; those without a name are left out."
        return {k: name for k in range(self.n_clusters) if (name := self.name(k))}

    def assign(
        self,
        images: "Sequence[int] | np.ndarray",  # (n,) which images of the set
        clusters: "Sequence[int] | np.ndarray",  # (n,) the network's cluster of each
    ) -> np.ndarray:  # (n,) int64
        "The group of every image."
        result = np.array([self.root(k) for k in range(self.n_clusters)])[self._clusters(clusters)]
        rows, _, targets = self._moved_among(images)
        result[rows] = targets
        return result

    def drifted(
        self,
        images: "Sequence[int] | np.ndarray",  # (n,) which images of the set
        clusters: "Sequence[int] | np.ndarray",  # (n,) the network's cluster of each, now
    ) -> int:
        "How many images moved by hand are in another cluster now than when they were moved."
        rows, before, _ = self._moved_among(images)
        return int((self._clusters(clusters)[rows] != before).sum())

    def _moved_among(self, images) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
        "Of the images moved by hand that are among these: their rows, clusters at that time, and groups."
        images = np.asarray(images, np.int64)
        table = np.array([(image, k, self.root(group)) for image, (k, group) in self.moved.items()], np.int64).reshape(
            -1, 3
        )
        if not len(table) or not len(images):
            return tuple(np.zeros((3, 0), np.int64))
        order = np.argsort(images, kind="stable")
        rows = order[np.minimum(np.searchsorted(images, table[:, 0], sorter=order), len(images) - 1)]
        there = images[rows] == table[:, 0]
        return rows[there], table[there, 1], table[there, 2]

    # ---- edits: each returns whether it changed anything, or the group it made
    def rename(self, group: int, name: str) -> bool:
        "Name a group; an empty name removes its name."
        table = "joint" if self._known(group) in self.merged.values() else "names"
        return self._edit([(table, group, clean_name(name) or None)])

    def merge(self, groups: "Iterable[int]") -> int:
        "Make one group of several, under the smallest number among them; that number."
        groups = sorted({self._known(group) for group in groups})
        if len(groups) < 2:
            raise ValueError(f"groups must name at least two different groups, got {groups}")
        whole, names = groups[0], list(dict.fromkeys(filter(None, map(self.name, groups))))
        inside = [part for group in groups for part in self.parts(group) if part != whole]
        title = " + ".join(names)
        title = title if len(title) <= LONGEST else title[: LONGEST - 1] + "…"
        self._edit(
            [
                *(("merged", part, whole) for part in inside),
                *(("joint", group, None) for group in groups[1:]),
                ("joint", whole, title or None),
            ]
        )
        return whole

    def take_apart(self, group: int) -> bool:
        "Undo the merges of a group; put the images of a group that was split off, and has no parts, back."
        inside = [part for part in self.parts(self._known(group)) if part != group]
        if not inside:
            return self._edit(
                [
                    ("moved", image, None)
                    for image, (_, target) in self.moved.items()
                    if target == group >= self.n_clusters
                ]
            )
        return self._edit([*(("merged", part, None) for part in inside), ("joint", group, None)])

    def move(
        self,
        images: "Sequence[int]",  # which images of the set
        clusters: "Sequence[int]",  # the network's cluster of each
        group: int,  # where they go
    ) -> bool:
        "Put images into a group. In the group that their cluster is in anyway, they no longer count as moved."
        return self._edit(self._moves(images, clusters, self._known(group)))

    def split(
        self,
        images: "Sequence[int]",  # which images of the set, at least one
        clusters: "Sequence[int]",  # the network's cluster of each
        name: str = "",  # of the new group
    ) -> int:  # the new group
        "Make a new group of some images."
        used = [
            self.n_clusters - 1,
            *self.names,
            *self.merged,
            *self.merged.values(),
            *(group for _, group in self.moved.values()),
        ]
        new, name = max(used) + 1, clean_name(name)
        moves = self._moves(images, clusters, new)
        if not moves:
            raise ValueError("images must hold at least one image to split off, got none")
        self._edit([*moves, *([("names", new, name)] if name else [])])
        return new

    # ---- back and forth
    @property
    def can_undo(self) -> int:
        "How many edits can be undone."
        return len(self._done)

    @property
    def can_redo(self) -> int:
        "How many undone edits can be done again."
        return len(self._undone)

    def undo(self) -> bool:
        "Undo the last edit; False if there is none."
        return self._turn(self._done, self._undone)

    def redo(self) -> bool:
        "Do again what was undone last; False if there is nothing."
        return self._turn(self._undone, self._done)

    def _turn(self, source: list, other: list) -> bool:
        "Apply the newest changes of one stack; their opposite goes onto the other."
        if source:
            other.append(self._apply(source.pop()))
            return True
        return False

    def _edit(self, changes: list) -> bool:
        "Apply what differs from how things are, and remember the way back, within bounds."
        changes = [(table, key, value) for table, key, value in changes if getattr(self, table).get(key) != value]
        if not changes:
            return False
        self._done.append(self._apply(changes))
        self._undone.clear()
        while len(self._done) > 1 and (len(self._done) > MAX_UNDO or sum(map(len, self._done)) > MAX_CHANGES):
            del self._done[0]
        return True

    def _apply(self, changes: list) -> list:
        "Set or delete entries; the changes that lead back."
        back = []
        for table, key, value in changes:
            entries = getattr(self, table)
            back.append((table, key, entries.get(key)))
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
        return back[::-1]

    def _moves(self, images, clusters, group: int) -> list:
        "The changes that put images into a group."
        images, clusters = [_whole("images", i) for i in images], self._clusters(clusters).tolist()
        if len(images) != len(clusters):
            raise ValueError(f"clusters must hold one number per image, got {len(clusters)} for {len(images)} images")
        return [("moved", image, None if self.root(k) == group else (k, group)) for image, k in zip(images, clusters)]

    def _clusters(self, clusters) -> np.ndarray:
        "The network's clusters, checked."
        clusters = np.asarray(clusters, np.int64)
        if clusters.size and not 0 <= clusters.min() <= clusters.max() < self.n_clusters:
            raise ValueError(f"clusters must be in 0..{self.n_clusters - 1}, got {clusters.min()}..{clusters.max()}")
        return clusters

    def _known(self, group: object) -> int:
        "A group that exists."
        group = _whole("group", group)
        if group not in self.groups():
            into = f"; it was merged into {self.merged[group]}" if group in self.merged else ""
            raise ValueError(f"group must be one of {_listed(self.groups())}, got {group}{into}")
        return group


def _whole(name: str, value: object, low: int = 0) -> int:
    "A whole number from `low` on, as JSON or a browser may send it."
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value < MAX_NUMBER:
        raise ValueError(f"{name} must be a whole number >= {low}, got {value!r}")
    return int(value)


def _listed(numbers: "list[int]") -> str:
    "Numbers in a few characters."
    return (
        ", ".join(map(str, numbers)) if len(numbers) <= 12 else f"{', '.join(map(str, numbers[:10]))}, … {numbers[-1]}"
    )


VERSION = 1
FILE = "clusters.json"


def to_dict(grouping: Grouping) -> dict:
    "The edits as plain values for JSON."
    own = {
        group: name
        for group, name in grouping.names.items()
        if group in grouping.merged or group in grouping.merged.values()
    }
    moved, alive = {}, grouping.groups()
    for image, pair in grouping.moved.items():
        moved.setdefault(pair, []).append(image)
    names = grouping.cluster_names() | {group: name for group in alive if (name := grouping.name(group))}
    wholes = sorted(set(grouping.merged.values()))
    return {
        "version": VERSION,
        "clusters": grouping.n_clusters,
        "names": {str(group): name for group, name in sorted(names.items())},
        "merged": [
            {
                "into": whole,
                "groups": [part for part in grouping.parts(whole) if part != whole],
                "own_names": {str(part): own[part] for part in grouping.parts(whole) if part in own},
            }
            for whole in wholes
        ],
        "moved": [{"from": k, "to": group, "images": sorted(images)} for (k, group), images in sorted(moved.items())],
    }


def from_dict(
    values: dict,  # as `to_dict` makes it; at least {"names": {}}
    n_clusters: int,  # clusters of the network
) -> Grouping:  # with nothing to undo
    "The edits from plain values; what does not fit is an error."
    _check_head(values, n_clusters)
    grouping = Grouping(n_clusters)
    names = {int(group): clean_name(str(name)) for group, name in values["names"].items()}
    for entry in values.get("moved", []):
        pair = _whole("from", entry["from"]), _whole("to", entry["to"])
        if pair[0] >= n_clusters or any(image in grouping.moved for image in entry["images"]):
            raise ValueError(f"the moves from {pair[0]} to {pair[1]} name an unknown cluster, or an image twice")
        grouping.moved.update({_whole("images", image): pair for image in entry["images"]})
    for entry in values.get("merged", []):
        parts = [_whole("groups", part) for part in entry["groups"]]
        whole = _whole("into", entry["into"])
        grouping.merged.update(dict.fromkeys(parts, whole))
        grouping.joint.update({whole: names[whole]} if names.get(whole) else {})
        names |= {part: clean_name(entry.get("own_names", {}).get(str(part), "")) for part in (whole, *parts)}
    if set(grouping.merged) & set(grouping.merged.values()):
        raise ValueError("a group is merged into one that is itself merged into another")
    grouping.names = {group: name for group, name in names.items() if name}
    return grouping


def _check_head(values: object, n_clusters: int) -> None:
    "Refuse what has no names, was written by a newer version, or belongs to another number of clusters."
    if not isinstance(values, dict) or not isinstance(values.get("names"), dict):
        raise ValueError('it must look like {"names": {"0": "cats"}}')
    if values.get("version", VERSION) != VERSION:
        raise ValueError(
            f"it has version {values['version']!r}, this program knows {VERSION}; a newer one may have written it"
        )
    if values.get("clusters", n_clusters) != n_clusters:
        raise ValueError(f"it belongs to {values['clusters']!r} clusters, these are {n_clusters}")


class GroupingFile:
    "The clusters.json of a run's folder."

    def __init__(
        self,
        folder: "str | Path",  # of the run; may not exist yet
    ):
        self.path = user_path(folder) / FILE
        self._known: bytes | None = None  # what was last read or written
        self._rest, self._sound = {}, True

    def _bytes(self) -> "bytes | None":
        "What the file holds; None if there is none."
        try:
            return read_regular(self.path)
        except FileNotFoundError:
            return None

    def changed(self) -> bool:
        "Whether another program has written the file since. (A file that is gone is simply written again.)"
        return self._bytes() not in (None, self._known)

    def read(self, n_clusters: int) -> Grouping:
        "The edits; none if there is no file yet."
        self._sound = False
        try:
            data = self._bytes()
            values = {"names": {}} if data is None else json.loads(data.decode("utf-8"))
            grouping = from_dict(values, n_clusters)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise GroupingError(
                f"{self.path} was not understood, and stays as it is: {why}. Fix it, or set it aside"
            ) from error
        self._known, self._sound = data, True
        self._rest = {
            key: value
            for key, value in values.items()
            if key not in ("version", "clusters", "names", "merged", "moved")
        }
        return grouping

    def write(self, grouping: Grouping) -> None:
        "Write the edits, unless that would destroy what was not understood or not read."
        if not self._sound:
            raise GroupingError(f"{self.path} was not understood, and is not overwritten; fix it, or set it aside")
        if self.changed():
            raise GroupingError(f"{self.path} was changed by another program; read it again first")
        lines = [
            f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in (to_dict(grouping) | self._rest).items()
        ]
        data = ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.path, data)
        self._known = data

    def set_aside(self) -> Path:
        "Rename a file that was not understood, so that a new one can be written; its new name."
        numbers = range(1, 10_000)
        aside = next(path for n in numbers if not (path := self.path.with_name(f"clusters.damaged-{n}.json")).exists())
        self.path.rename(aside)
        self._known, self._rest, self._sound = None, {}, True
        return aside
