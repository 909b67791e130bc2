"Names, merges, splits and moves against a plain list of groups; undo and redo; the file that keeps them."

import json
import random
import time

import numpy as np
import pytest

from dcacn_nb.clusters.groups import (
    MAX_UNDO,
    Grouping,
    GroupingError,
    GroupingFile,
    clean_name,
    from_dict,
    to_dict,
)

CLUSTERS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


# --- names --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "typed, kept",
    [
        ("  cats\tand\n dogs ", "cats and dogs"),
        (" \u200b ", ""),
        ("a\u202eb\x07", "ab"),  # characters that turn the line around could make one name look like another
        ("猫 $x$ <b>", "猫 $x$ <b>"),  # Chinese, formulas and HTML are just text
    ],
)
def test_names_are_one_line(typed, kept):
    "White space is tidied up, invisible characters go."
    assert clean_name(typed) == kept


@pytest.mark.parametrize("wrong, error", [(7, TypeError), (None, TypeError), ("x" * 61, ValueError)])
def test_names_refused(wrong, error):
    "Text of at most 60 characters."
    with pytest.raises(error, match="name must"):
        clean_name(wrong)


# --- edits --------------------------------------------------------------------------------------------------------
def test_smallest_case():
    "Clusters 0 and 2 merged, images 3 and 7 split off."
    grouping = Grouping(4)
    grouping.rename(0, "cats")
    grouping.merge([0, 2])
    new = grouping.split([3, 7], CLUSTERS[[3, 7]], "odd ones")
    assert grouping.assign(np.arange(8), CLUSTERS).tolist() == [0, 0, 1, 4, 0, 0, 3, 4]
    assert grouping.groups() == [0, 1, 3, 4] and new == 4 and grouping.name(4) == "odd ones"
    assert grouping.cluster_names() == {0: "cats", 2: "cats"}, "what was merged shares its name"


def test_parts_keep_their_names():
    "Merging, renaming the whole, taking it apart; then everything undone."
    grouping = Grouping(3)
    grouping.rename(0, "sevens")
    grouping.rename(2, "sevens with a bar")
    grouping.merge([2, 0])
    assert grouping.name(0) == "sevens + sevens with a bar" == grouping.name(2) and grouping.name(1) == ""
    grouping.rename(0, "all sevens")
    grouping.take_apart(0)
    assert [grouping.name(k) for k in range(3)] == ["sevens", "", "sevens with a bar"]
    while grouping.undo():
        pass
    assert not grouping.names and not grouping.merged and not grouping.joint and grouping.can_redo == 5
    assert grouping.redo() and grouping.names == {0: "sevens"}


class Walk:
    "Random edits of a grouping and of a plain list with the group of every image, copied before each edit."

    def __init__(self, kind, seed, n=60, k=6):
        self.draw = random.Random(seed)
        self.clusters = [self.draw.randrange(k) for _ in range(n)]
        self.grouping, self.plain, self.past, self.future, self.k = kind(k), list(self.clusters), [], [], k

    def merge(self, images):
        groups = self.grouping.groups()
        if len(groups) > 2:
            chosen = self.draw.sample(groups, self.draw.choice([2, 2, 3]) if len(groups) > 3 else 2)
            self.grouping.merge(chosen)
            self.plain = [min(chosen) if group in chosen else group for group in self.plain]

    def split(self, images):
        if len(self.grouping.groups()) < 12:
            new = self.grouping.split(images, [self.clusters[i] for i in images])
            self.plain = [new if i in images else group for i, group in enumerate(self.plain)]

    def move(self, images):
        target = self.draw.choice(self.grouping.groups())
        if self.grouping.move(images, [self.clusters[i] for i in images], target):
            self.plain = [target if i in images else group for i, group in enumerate(self.plain)]

    def back(self, what, source, other) -> bool:
        "Undo or redo in both; whether they agree that there was something to."
        if getattr(self.grouping, what)() != bool(source):
            return False
        if source:
            other.append(self.plain)
            self.plain = source.pop()
        return True

    def step(self) -> bool:
        "One random edit; whether both still have the same groups."
        what = self.draw.choice(["merge", "split", "move", "undo", "redo", "undo", "file"])
        before, images = list(self.plain), self.draw.sample(range(len(self.plain)), self.draw.randint(1, 4))
        if what in ("merge", "split", "move"):
            getattr(self, what)(images)
            if self.grouping.can_undo > len(self.past):
                self.past, self.future = [*self.past, before], []
        elif what == "file":
            if not self.past and not self.future:
                self.grouping = from_dict(json.loads(json.dumps(to_dict(self.grouping))), self.k)
        else:
            piles = (self.past, self.future) if what == "undo" else (self.future, self.past)
            if not self.back(what, *piles):
                return False
        return self.grouping.assign(range(len(self.plain)), self.clusters).tolist() == self.plain


class Forgetful(Grouping):
    "Wrong: a merge leaves the parts of its parts behind."

    def parts(self, group):
        return [group]


def agrees(kind, seed, edits=300) -> bool:
    "Whether a whole walk does."
    walk = Walk(kind, seed)
    return all(walk.step() for _ in range(edits))


def test_random_edits():
    "Twenty walks of 300 edits, with undo, redo and the file among them; the wrong variant is caught."
    assert [seed for seed in range(20) if not agrees(Grouping, seed)] == []
    assert sum(not agrees(Forgetful, seed) for seed in range(20)) >= 15


def random_edit(draw: random.Random, grouping: Grouping) -> None:
    "A rename, a merge, a merge undone, or a split; it may change nothing."
    if draw.random() < 0.5:
        grouping.rename(draw.choice(grouping.groups()), draw.choice(["cats", "dogs", "猫", "", "ships"]))
    elif draw.random() < 0.4 and len(grouping.groups()) > 3:
        grouping.merge(draw.sample(grouping.groups(), 2))
    elif draw.random() < 0.5:
        grouping.take_apart(draw.choice(grouping.groups()))
    else:
        images = draw.sample(range(40), 3)
        grouping.split(images, [i % 8 for i in images], draw.choice(["", "odd"]))


def test_undo_and_redo_everything():
    "Two hundred edits with names, back to nothing and forward again, to the last character of the file."
    draw, grouping, seen = random.Random(1), Grouping(8), []
    for _ in range(200):
        seen.append(json.dumps(to_dict(grouping)))
        before = grouping.can_undo
        while grouping.can_undo == before:
            random_edit(draw, grouping)
    seen.append(json.dumps(to_dict(grouping)))
    for state in seen[-2::-1]:
        assert grouping.undo() and json.dumps(to_dict(grouping)) == state
    for state in seen[1:]:
        assert grouping.redo() and json.dumps(to_dict(grouping)) == state
    assert len(set(seen)) > 100


def test_the_network_is_trained_on():
    "Names belong to clusters, moved images stay where they were put; those the network moved too are counted."
    grouping = Grouping(4)
    grouping.rename(1, "dogs")
    new = grouping.split([3, 7], CLUSTERS[[3, 7]], "odd ones")
    later = np.array([0, 1, 1, 2, 2, 2, 3, 3])  # images 1 and 3 are elsewhere now
    assert grouping.assign(range(8), later).tolist() == [0, 1, 1, new, 2, 2, 3, new] and grouping.name(1) == "dogs"
    assert grouping.drifted(range(8), CLUSTERS) == 0 and grouping.drifted(range(8), later) == 1
    assert grouping.assign(range(4, 8), later[4:]).tolist() == [2, 2, 3, new], "a part of the images"


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda g: Grouping(0), "n_clusters must be a whole number >= 1, got 0"),
        (lambda g: g.rename(9, "x"), "group must be one of 0, 2, 3, got 9"),
        (lambda g: g.rename(1, "x"), "got 1; it was merged into 0"),
        (lambda g: g.merge([2, 2]), "at least two different groups"),
        (lambda g: g.split([], []), "at least one image to split off"),
        (lambda g: g.move([3], [4], 0), r"clusters must be in 0..3, got 4..4"),
        (lambda g: g.move([3, 4], [1], 0), "one number per image, got 1 for 2 images"),
        (lambda g: g.split([-1], [0]), "images must be a whole number >= 0, got -1"),
    ],
)
def test_refused(edit, message):
    "What cannot be meant, with words."
    grouping = Grouping(4)
    grouping.merge([0, 1])
    with pytest.raises(ValueError, match=message):
        edit(grouping)


def test_undo_is_bounded():
    "By 1,000 edits and by 300,000 entries; the newest edit can always be undone. Assigning stays fast."
    grouping, n = Grouping(10), 200_000
    for step in range(1200):
        grouping.rename(step % 10, f"name {step}")
    assert grouping.can_undo == MAX_UNDO
    large = np.random.default_rng(0).integers(0, 10, n)
    for _ in range(3):
        grouping.split(range(n), large)
    assert grouping.can_undo == 1 and grouping.undo()
    started = time.perf_counter()
    grouping.assign(np.arange(n), large)
    assert time.perf_counter() - started < 5


# --- the file -----------------------------------------------------------------------------------------------------
def test_the_file_keeps_everything(tmp_path):
    "Groups, and the names of the parts of a merged one; there is nothing to undo after reading."
    kept = GroupingFile(tmp_path)
    grouping = kept.read(4)  # no file yet: no edits
    grouping.rename(0, '猫 "cats"')
    grouping.rename(2, "kittens")
    grouping.merge([0, 2])
    grouping.split([3, 7], CLUSTERS[[3, 7]], "odd ones")
    kept.write(grouping)
    again = GroupingFile(tmp_path).read(4)
    assert to_dict(again) == to_dict(grouping) and again.can_undo == 0
    again.take_apart(0)
    assert again.name(0) == '猫 "cats"' and again.name(2) == "kittens"
    assert "猫" in kept.path.read_text(encoding="utf-8"), "a person can read it"


BROKEN = {
    "half a file": '{"names": {"0": "ca',
    "no names": '{"cats": 0}',
    "not text for numbers": '{"names": {"zero": "cats"}}',
    "newer": '{"version": 2, "names": {}}',
    "other K": '{"clusters": 7, "names": {}}',
    "an image twice": '{"names": {}, "moved": [{"from": 0, "to": 4, "images": [1]}, '
    '{"from": 1, "to": 5, "images": [1]}]}',
    "a chain of merges": '{"names": {}, "merged": [{"into": 1, "groups": [2]}, {"into": 0, "groups": [1]}]}',
    "too large": '{"names": {}, "moved": [{"from": 0, "to": 4, "images": [99999999999999999999]}]}',
    "lacks from": '{"names": {}, "moved": [{"to": 4, "images": [1]}]}',
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_never_overwritten(what, tmp_path):
    "It is refused, stays as it was, and can be set aside."
    kept = GroupingFile(tmp_path)
    kept.path.write_text(BROKEN[what])
    for attempt in (lambda: kept.read(4), lambda: kept.write(Grouping(4))):
        with pytest.raises(GroupingError, match="was not understood"):
            attempt()
    assert kept.path.read_text() == BROKEN[what]
    assert kept.set_aside().name == "clusters.damaged-1.json" and not kept.path.exists()
    kept.write(Grouping(4))


def test_a_file_that_changed_meanwhile(tmp_path):
    "It must be read again first; entries that this version does not know are kept."
    kept = GroupingFile(tmp_path)
    kept.write(kept.read(4))
    kept.path.write_text('{"names": {"1": "dogs"}, "made_by": "hand"}')
    with pytest.raises(GroupingError, match="was changed by another program; read it again first"):
        kept.write(Grouping(4))
    grouping = kept.read(4)
    grouping.rename(0, "cats")
    kept.write(grouping)
    found = json.loads(kept.path.read_text())
    assert found["names"] == {"0": "cats", "1": "dogs"} and found["made_by"] == "hand"
