"Which pictures: what is noted of the files of a set, and what is said when they changed."

from types import SimpleNamespace

import pytest
from pictures import class_tree, load, noise, save

from dcacn_nb.data import pictures as pictures_module
from dcacn_nb.data.pictures import picture_changes, picture_record


def test_added_removed_and_changed_files_are_named(tmp_path):
    root = class_tree(tmp_path / "x")
    before = picture_record(load(root))
    assert before["count"] == 6 and not picture_changes(before, picture_record(load(root)))
    save(root / "ant" / "new.png", noise(8, 8, seed=70)), save(root / "ant" / "new2.png", noise(8, 8, seed=71))
    (root / "bee" / "0.png").unlink()
    save(root / "bee" / "1.png", noise(9, 9, seed=72))
    found = picture_changes(before, picture_record(load(root)))
    assert found.in_words() == (
        "pictures changed since training: 2 added (e.g. ant/new.png), 1 removed (e.g. bee/0.png), "
        "1 changed (e.g. bee/1.png)"
    )


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 6, 7])
def test_of_very_many_files_the_first_are_compared_and_the_rest_counted(tmp_path, monkeypatch, most):
    "What moves over the end of the record was neither added nor removed."
    monkeypatch.setattr(pictures_module, "MANY", most)
    root = class_tree(tmp_path / "x")
    before = picture_record(load(root))
    assert len(before["files"]) == min(most, 6) and not picture_changes(before, picture_record(load(root)))
    first, last = root / "ant" / "0.png", root / "bee" / "9.png"
    kept = first.read_bytes()
    first.unlink()
    gone = picture_changes(before, picture_record(load(root)))
    assert (gone.added, gone.removed, gone.changed, gone.beyond) == ([], ["ant/0.png"], [], 0)
    first.write_bytes(kept)
    save(last, noise(8, 8, seed=70))
    more = picture_changes(before, picture_record(load(root)))
    assert (more.added, more.removed) == ((["bee/9.png"], []) if most > 6 else ([], [])) and more
    assert more.beyond == (0 if most > 6 else 1) and ("1 more beyond the first" in more.in_words()) == (most <= 6)


def test_files_of_one_size_that_were_exchanged_have_changed(tmp_path):
    "Uncompressed pictures of one shape are all of one size; a record of an earlier release has sizes alone."
    root = class_tree(tmp_path / "x")
    one, two = root / "ant" / "0.bmp", root / "bee" / "0.bmp"
    save(one, noise(40, 40, seed=1)), save(two, noise(40, 40, seed=2))
    before = picture_record(load(root))
    assert one.stat().st_size == two.stat().st_size
    one.rename(root / "x"), two.rename(one), (root / "x").rename(two)
    after = picture_record(load(root))
    assert picture_changes(before, after).changed == ["ant/0.bmp", "bee/0.bmp"]
    sizes = before | {"files": {name: size for name, (size, _) in before["files"].items()}}
    assert not picture_changes(sizes, after)
    one.rename(tmp_path / "kept.bmp")
    gone = picture_changes(before, picture_record(SimpleNamespace(paths=load(root).paths + [str(one)])))
    assert gone.removed == ["ant/0.bmp"] and gone.changed == ["bee/0.bmp"]
    (tmp_path / "kept.bmp").rename(one)
    two.write_bytes(two.read_bytes() + b"\0")
    assert picture_changes(
        sizes,
        picture_record(
            load(root),
        ),
    ).changed == ["bee/0.bmp"]


def test_a_folder_that_moved_is_the_same(tmp_path):
    root = class_tree(tmp_path / "x")
    before = picture_record(load(root))
    assert not picture_changes(before, picture_record(load(root.rename(tmp_path / "y"))))


@pytest.mark.parametrize("record", [None, [], 3, {}, {"files": [1]}, {"files": None}])
def test_a_record_of_any_shape_does_no_harm(tmp_path, record):
    assert picture_changes(record, picture_record(load(class_tree(tmp_path / "x", each=1)))) is None


def test_images_that_are_not_files_have_no_record():
    assert picture_record(load(noise(8, 8)[None].repeat(3, 0))) is None
