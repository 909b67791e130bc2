"What lies below a folder: every layout is taken, nothing twice, and what is left out is counted."

import os
import socket

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from pictures import class_tree, load, noise, save
from PIL import Image

from dcacn_nb.data.listing import list_files, list_images
from dcacn_nb.data.tree import SYSTEM_FOLDERS
from dcacn_nb.data.unread import unread_in_words
from dcacn_nb.encoders import embed


def names(listing):
    return sorted(listing.files)


# --- layouts ------------------------------------------------------------------------------------------------------
def test_loose_photos_beside_folders_are_all_taken(tmp_path):
    root = class_tree(tmp_path / "tree", ("2019/summer", "2020"))
    save(root / "loose.png", noise(8, 8, seed=50))
    found = list_images(root)
    assert len(found.files) == 7 and found.labels is None and found.files[0] == "loose.png"
    assert "1 image (e.g. loose.png) beside 2 sub-folders with images (e.g. 2019): all are taken" in found.no_labels
    assert len(embed(root, FakeEncoder(), progress=False)) == 7


def test_train_and_test_are_taken_without_labels(tmp_path):
    root = class_tree(tmp_path / "splits", ("train/a", "train/b", "test/a"))
    found = list_images(root)
    assert len(found.files) == 9 and found.labels is None
    assert found.notes[0].startswith("test, train are splits, not classes: all images are taken")
    assert str(root / "test") in found.notes[0]
    assert list_images(root / "train").class_names == ["a", "b"]


@pytest.mark.parametrize("wrap", ["images", "a/b/c"])
def test_the_folder_that_holds_the_classes_is_found_and_named(tmp_path, wrap):
    class_tree(tmp_path / "x" / wrap)
    found = list_images(tmp_path / "x")
    assert found.class_names == ["ant", "bee"] and found.labels == [0, 0, 0, 1, 1, 1]
    assert f"the class folders are in {tmp_path / 'x' / wrap}: ant, bee" in found.notes[0]


def test_folders_of_systems_and_programs_are_left_out_and_counted(tmp_path):
    root = class_tree(tmp_path / "nas", (".",))
    patterns = [pattern for pattern in SYSTEM_FOLDERS if not set("*[") & set(pattern)]
    junk = [*patterns, "@eaDir", "$RECYCLE.BIN", "Previews.lrdata", "System Volume Information", "FOUND.000"]
    for i, name in enumerate(junk):
        save(root / name / "deep" / "a.png", noise(8, 8, seed=i))
        save(root / "sub" / name / "a.png", noise(8, 8, seed=i))
    found = list_images(root)
    assert names(found) == ["0.png", "1.png", "2.png"]
    save(root / ".mine" / "a.png", noise(8, 8))
    found = list_images(root)
    assert names(found) == ["0.png", "1.png", "2.png"]
    assert f"{2 * len(junk) + 1} system or hidden folders left out" in " ".join(found.notes)
    assert len(list_images(root / "@eaDir").files) == 1, "unless one is asked for itself"


def test_a_class_that_is_named_like_a_suffix(tmp_path):
    root = class_tree(tmp_path / "x", ("a.png", "b.jpg"))
    assert load(root).class_names == ["a.png", "b.jpg"] and len(load(root)) == 6


def test_a_very_deep_tree(tmp_path):
    deep = tmp_path.joinpath("x", *["d"] * 400)
    save(deep / "a.png", noise(8, 8))
    assert names(list_images(tmp_path / "x")) == ["d/" * 400 + "a.png"]


# --- nothing without a word ---------------------------------------------------------------------------------------
def test_all_that_pillow_reads_is_taken_and_the_rest_counted(tmp_path, caplog):
    root = tmp_path / "x"
    root.mkdir()
    picture = Image.fromarray(noise(40, 40))
    kinds = dict(jfif="JPEG", jpe="JPEG", jp2="JPEG2000", tga="TGA", pcx="PCX", qoi="QOI", pnm="PPM", ico="ICO")
    for suffix, kind in kinds.items():
        picture.save(root / f"a.{suffix}", kind)
    for i in range(2):
        picture.save(root / f"IMG_{i}", "JPEG")
    picture.save(root / "stack.tif", save_all=True, append_images=[picture] * 7)
    picture.save(root / "moving.gif", save_all=True, append_images=[Image.fromarray(noise(40, 40, seed=9))])
    picture.save(root / "moving.png", save_all=True, append_images=[Image.fromarray(noise(40, 40, seed=9))])
    for i in range(10):
        (root / f"b{i}.xyz").write_bytes(b"something")
    (root / "README").write_text("P1 is no picture")
    (root / "film.mpg").write_bytes(b"\0\0\1\xb3")
    images = load(root)
    assert len(images) == len(kinds) + 5
    assert images.protocol["ignored"] == {".xyz": 10, "(no suffix)": 1, ".mpg": 1}
    assert "12 files left out (.xyz 10, (no suffix) 1, .mpg 1)" in caplog.text
    assert "9 pages or frames not read (stack.tif 7, moving.gif 1, moving.png 1)" in caplog.text
    caplog.clear()
    assert len(embed(root, FakeEncoder(), progress=False)) == len(images)
    assert "12 files left out" in caplog.text and "9 pages or frames not read" in caplog.text


def test_special_files_are_counted_and_never_opened(tmp_path, monkeypatch):
    root = class_tree(tmp_path / "x", (".",))
    os.mkfifo(root / "z.png")
    os.mkfifo(root / "pipe")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(root)  # the name of a socket must be short
    server.bind("s.jpg")
    (root / "null.png").symlink_to("/dev/zero")
    (root / "gone.png").symlink_to(root / "nowhere")
    (root / "self.png").symlink_to(root / "self.png")
    found = list_images(root)
    server.close()
    assert names(found) == ["0.png", "1.png", "2.png"]
    assert found.ignored == {"(not a regular file)": 4, "(broken link)": 2}


def test_a_pipe_that_is_named_itself_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "z.png")
    with pytest.raises(ValueError, match="z.png.*not an image"):
        load(tmp_path / "z.png")
    with pytest.raises(ValueError, match=r"z.png \(OSError: not a regular file\)"):
        load([tmp_path / "z.png"])


# --- links --------------------------------------------------------------------------------------------------------
def test_links_that_lead_upward_count_nothing_twice(tmp_path):
    root = class_tree(tmp_path / "home" / "photos", ("2019", "2020"))
    for place, target in [
        ("2019/up", root),
        ("2020/up", ".."),
        ("above", tmp_path / "home"),
        ("all", "/"),
        ("again", root / "2019"),
    ]:
        (root / place).symlink_to(target)
    found = list_images(root)
    assert len(found.files) == 6
    assert found.ignored == {"(link to a folder above)": 4, "(link to a folder taken already)": 1}
    assert found.class_names == ["2019", "2020"]


def test_folders_elsewhere_are_entered_once(tmp_path):
    out = class_tree(tmp_path / "out", ("a", "b"))
    root = class_tree(tmp_path / "x", ("own",))
    (root / "one").symlink_to(out / "a")
    (root / "two").symlink_to(out)
    (root / "three").symlink_to(out)
    (out / "b" / "back").symlink_to(root)
    found = list_images(root)
    real = [os.path.realpath(root / name) for name in found.files]
    assert len(set(real)) == 9


def test_a_link_to_an_image_that_is_taken_already_is_left_out(tmp_path):
    root = class_tree(tmp_path / "x", ("all",))
    (root / "best").mkdir()
    (root / "best" / "one.png").symlink_to(root / "all" / "0.png")
    save(tmp_path / "else.png", noise(8, 8, seed=77))
    (root / "best" / "other.png").symlink_to(tmp_path / "else.png")
    found = list_images(root)
    assert names(found) == ["all/0.png", "all/1.png", "all/2.png", "best/other.png"]
    assert found.ignored == {"(link to an image taken already)": 1}


# --- what cannot be entered ---------------------------------------------------------------------------------------
def test_a_folder_that_cannot_be_entered_follows_on_error(tmp_path, monkeypatch, caplog):
    root, true_scan = class_tree(tmp_path / "x"), os.scandir
    (root / "closed").mkdir()

    def scandir(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return true_scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for read in (load, lambda *a, **o: embed(*a, FakeEncoder(), progress=False, **o)):
        with pytest.raises(ValueError, match=r"cannot read folder .*closed \(PermissionError.*on_error='skip'"):
            read(root)
        caplog.clear()
        assert len(read(root, on_error="skip")) == 6
        assert f"skipped {root / 'closed'} (PermissionError" in caplog.text
        protocol = read(root, on_error="skip").protocol
        assert list(protocol["skipped"]) == ["closed/"] and "Permission denied" in protocol["skipped"]["closed/"]
        assert unread_in_words(protocol, 6) == ["1 folder could not be read"]


# --- names --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    ["-rf.png", "照片.png", "a\nb.png", "\x1b[31m.png", "'\"$(x).png", "x" * 250 + ".png", "caf\udce9.png", "=1+1.png"],
)
def test_any_name_will_do(tmp_path, name):
    root = tmp_path / "x"
    root.mkdir()
    path = os.path.join(root, name)
    Image.fromarray(noise(8, 8)).save(path)
    for _ in range(2):
        images = load(root)
        assert images.paths == [path]
        features = embed(root, FakeEncoder(), progress=False)
        assert features.paths == [path]
    with open(path, "wb"):
        pass
    save(root / "good.png", noise(8, 8))
    for _ in range(2):
        assert list(load(root, on_error="skip").protocol["skipped"]) == [name]
        assert list(embed(root, FakeEncoder(), progress=False, on_error="skip").protocol["skipped"]) == [name]


# --- lists and single files ---------------------------------------------------------------------------------------
def test_lists_of_paths_are_taken_wherever_a_folder_is(tmp_path):
    root = class_tree(tmp_path / "x", each=3)
    files = [root / "bee" / "2.png", str(root / "ant" / "0.png"), root / "bee" / "2.png"]
    images = load(files)
    assert images.paths == [str(path) for path in files] and images.labels is None
    np.testing.assert_array_equal(images.images[0].numpy(), images.images[2].numpy())
    np.testing.assert_array_equal(images.images[1].numpy(), noise(8, 8, seed=0).transpose(2, 0, 1))
    features = embed(files, FakeEncoder(), progress=False)
    assert features.paths == images.paths and features.features[0].tolist() == features.features[2].tolist()
    assert len(load([root / "ant", root / "bee" / "0.png"])) == 4
    with pytest.raises(ValueError, match=r"gone.png \(FileNotFoundError"):
        load([*files, root / "gone.png"])
    assert len(load([*files, root / "gone.png"], on_error="skip")) == 3


def test_one_picture_is_a_source(tmp_path):
    path = save(tmp_path / "photo.jpg", noise(20, 30))
    assert load(path).paths == load(str(path)).paths == [str(path)] and load(path).images.shape == (1, 3, 20, 30)
    assert embed(path, FakeEncoder(), progress=False).features.shape == (1, 12)
    other = path.rename(tmp_path / "photo")
    assert len(load(other)) == 1


# --- which is meant -----------------------------------------------------------------------------------------------
def test_a_folder_named_like_a_known_source(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    class_tree(tmp_path / "digits", (".",))
    assert len(load("digits", limit=20)) == 20
    assert "'digits' means the known source" in caplog.text and "for the folder, give './digits'" in caplog.text
    assert len(load("./digits")) == len(load(tmp_path / "digits")) == 3


def test_a_list_of_folders_says_what_a_folder_says(tmp_path):
    root = class_tree(tmp_path / "x", (".",))
    save(root / ".hidden" / "a.png", noise(8, 8))
    (root / "notes.txt").write_text("x")
    notes = list_images(root).notes
    assert "1 system or hidden folder left out" in notes[1] and list_files([root]).notes == notes
