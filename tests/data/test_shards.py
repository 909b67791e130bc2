"Images in tar files: the same as in a folder, read where they are; and what strangers may put into an archive."

import io
import os
import tarfile

import numpy as np
import pytest
import torch
from fake_encoder import FakeEncoder
from pictures import class_tree, load, noise
from PIL import Image

from dcacn_nb.data import shards
from dcacn_nb.data.listing import list_source
from dcacn_nb.encoders import embed


def png(seed, side=8):
    file = io.BytesIO()
    Image.fromarray(noise(side, side, seed=seed)).save(file, "png")
    return file.getvalue()


def pack(path, members, **options):
    "A tar file of (name, bytes) or of (TarInfo, bytes)."
    with tarfile.open(path, "w", **options) as packed:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(name, tarfile.TarInfo):
                info.size = len(data)
            packed.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def samples(numbers, label=lambda i: str(i % 3)):
    "WebDataset's convention: the image, its class, and other files of the same key."
    for i in numbers:
        yield f"{i:04}.png", png(i)
        yield f"{i:04}.cls", label(i).encode()
        yield f"{i:04}.json", b"{}"


@pytest.fixture
def three(tmp_path):
    "Three shards of four samples."
    for part in range(3):
        pack(tmp_path / f"shard-{part:03}.tar", samples(range(4 * part, 4 * part + 4)))
    return tmp_path


def wanted(numbers):
    return torch.from_numpy(np.stack([noise(8, 8, seed=i).transpose(2, 0, 1) for i in numbers]))


@pytest.mark.parametrize("kind", ["range", "star", "list"])
def test_shards_are_one_set(three, kind):
    given = {"range": str(three / "shard-{000..002}.tar"), "star": three / "shard-*.tar"}
    source = given.get(kind, [three / f"shard-{i:03}.tar" for i in range(3)])
    images = load(source)
    assert torch.equal(images.images, wanted(range(12))) and images.labels.tolist() == [i % 3 for i in range(12)]
    assert images.class_names == ["0", "1", "2"] and images.paths[5] == str(three / "shard-001.tar" / "0005.png")
    assert images.protocol["ignored"] == {".json": 12}
    assert sorted(path.name for path in three.iterdir() if path.name != "cache") == [
        f"shard-00{i}.tar" for i in range(3)
    ]


def test_images_are_found_in_the_cache_until_a_shard_changes(three, own_cache):
    source = str(three / "shard-{000..002}.tar")
    load(source), load(source)
    assert len(list(own_cache.glob("*.npy"))) == 1
    some, again = load(source, limit=5, seed=1), load(source, limit=5, seed=1, cache=False)
    assert len(some) == 5 and torch.equal(some.images, again.images) and np.array_equal(some.labels, again.labels)
    pack(three / "shard-001.tar", samples([90, 5, 6, 7]))
    os.utime(three / "shard-001.tar", ns=(1, 1))
    assert torch.equal(load(source).images, wanted([0, 1, 2, 3, 90, 5, 6, 7, 8, 9, 10, 11]))


def test_a_packed_folder_is_that_folder(tmp_path):
    root = class_tree(tmp_path / "x", names=("ant", "bee"), each=4)
    with tarfile.open(tmp_path / "x.tar", "w") as packed:
        packed.add(root, "./photos")
    folder, archive = load(root), load(tmp_path / "x.tar")
    order = [archive.paths.index(str(tmp_path / "x.tar" / "photos" / os.path.relpath(p, root))) for p in folder.paths]
    assert torch.equal(archive.images[order], folder.images) and archive.class_names == folder.class_names
    assert archive.labels[order].tolist() == folder.labels.tolist()


def test_embed_reads_shards(three):
    source = str(three / "shard-*.tar")
    found = embed(source, FakeEncoder(), progress=False)
    same = embed(load(source), FakeEncoder(), progress=False, cache=False)
    assert torch.allclose(found.features, same.features) and found.labels.tolist() == [i % 3 for i in range(12)]


@pytest.mark.parametrize(
    "label, names, why",
    [
        (lambda i: ["tulip", "rose"][i % 2], ["rose", "tulip"], ""),
        (lambda i: str(9 + i % 2), ["9", "10"], ""),
        (lambda i: "x" * 201 if i == 2 else "a", None, "1 of 4 images have no label (.cls)"),
        (lambda i: "7", None, "all images have the same label"),
    ],
)
def test_classes_are_what_the_labels_say(tmp_path, label, names, why):
    listing = list_source(pack(tmp_path / "a.tar", samples(range(4), label)))
    assert listing.class_names == names and why in listing.no_labels
    assert names is None or [names[i] for i in listing.labels] == [label(i) for i in range(4)]


def special(name, kind, **facts):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in facts.items():
        setattr(info, key, value)
    return info, b""


def test_what_is_no_image_of_the_archive_is_left_out_and_counted(tmp_path, caplog):
    (tmp_path / "secret.png").write_bytes(png(99))
    found = load(
        pack(
            tmp_path / "a.tar",
            [
                ("good.png", png(1)),
                special("link.png", tarfile.SYMTYPE, linkname=str(tmp_path / "secret.png")),
                special("hard.png", tarfile.LNKTYPE, linkname="/etc/passwd"),
                special("disk.png", tarfile.CHRTYPE, devmajor=1, devminor=5),
                special("pipe.png", tarfile.FIFOTYPE),
                ("/absolute.png", png(2)),
                ("../../climbs.png", png(3)),
                ("a/../../b.png", png(3)),
                ("C:\\windows.png", png(4)),
                (f"{'long' * 300}.png", png(4)),
                (".hidden.png", png(5)),
                ("good.png", png(6)),
                ("note.txt", b"text"),
                ("other.png", png(7)),
            ],
        )
    )
    assert torch.equal(found.images, wanted([1, 7]))
    assert found.protocol["ignored"] == {
        "(not a regular file)": 4,
        shards.BAD_NAME: 5,
        "(hidden)": 1,
        "(name that was there before)": 1,
        ".txt": 1,
    }
    assert "12 files left out" in caplog.text
    assert list(tmp_path.rglob("*.png")) == [tmp_path / "secret.png"], "nothing is unpacked"


def cut(data):  # in the middle of the third image
    return data[: data.index(b"0002.png") + 560]


def huge(data):  # the third image says that it has 8 GB
    info = tarfile.TarInfo("0002.png")
    info.size = 2**33
    place = data.index(b"0002.png")
    return data[:place] + info.tobuf() + data[place + 512 :]


def negative(data):  # a size that leads back to the beginning
    place = data.index(b"0002.json")
    header = bytearray(data[place : place + 512])
    header[124:136] = (-5120).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:place] + bytes(header) + data[place + 512 :]


def flipped(data):  # a damaged header, at which tarfile stops in silence
    place = data.index(b"0002.json")
    return data[:place] + b"X" + data[place + 1 :]


def bloated(data):  # a name of two megabytes
    info = tarfile.TarInfo("n" * 2**21)
    return data[: data.index(b"0002.png")] + info.tobuf(tarfile.PAX_FORMAT) + data[data.index(b"0002.png") :]


@pytest.mark.parametrize("damage", [cut, huge, negative, flipped, bloated])
def test_a_damaged_shard_is_refused_or_read_as_far_as_it_goes(three, damage):
    path = three / "shard-000.tar"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"cannot read file .*shard-000\.tar \(.*on_error='skip'"):
        load(three / "shard-*.tar")
    found = load(three / "shard-*.tar", on_error="skip")
    before = [0, 1, 2] if damage in (negative, flipped) else [0, 1]
    assert torch.equal(found.images, wanted([*before, *range(4, 12)]))
    assert list(found.protocol["skipped"]) == ["shard-000.tar"], "a file, not a folder"


@pytest.mark.parametrize(
    "bad", ["no tar", "empty", "gzip", "no images", "pipe", "missing", "backwards", "mixed", "gone"]
)
def test_what_cannot_be_read_is_said(three, bad):
    path, says = three / "bad.tar", "holds no images"
    if bad == "no tar":
        path.write_bytes(b"text" * 1000)
    elif bad == "empty":
        path.write_bytes(b"")
    elif bad == "gzip":
        with tarfile.open(path, "w:gz") as packed:
            packed.addfile(tarfile.TarInfo("a.png"))
        says = "it is compressed .gzip.*decompress it"
    elif bad == "no images":
        pack(path, [("a.txt", b"x")])
        says = "holds no images; 1 file left out"
    elif bad == "pipe":
        os.mkfifo(path)
        says = "is a named pipe"
    (three / "a.png").write_bytes(png(0))
    source = {
        "missing": str(three / "shard-{000..004}.tar"),
        "backwards": str(three / "shard-{004..000}.tar"),
        "mixed": [three / "shard-000.tar", three / "a.png"],
        "gone": [three / "shard-000.tar", three / "shard-009.tar"],
    }.get(bad, path)
    says = {
        "missing": "2 of its files are missing, e.g. .*shard-003.tar",
        "backwards": "must count up",
        "mixed": "tar files alone, or none, got .*a.png",
        "gone": "does not exist: .*shard-009.tar",
    }.get(bad, says)
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        load(source)


def test_a_bad_image_in_a_shard_is_named(tmp_path):
    pack(tmp_path / "a.tar", [("a.png", png(0)), ("b.png", b"no image"), ("c.png", png(2))])
    with pytest.raises(ValueError, match=r"cannot read image .*a\.tar/b\.png"):
        load(tmp_path / "a.tar")
    found = load(tmp_path / "a.tar", on_error="skip")
    assert torch.equal(found.images, wanted([0, 2])) and found.protocol["skipped"] == {
        "a.tar/b.png": "UnidentifiedImageError: not an image of a known kind"
    }, "the same words in every process"


def test_an_image_too_large_for_memory_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MOST", 100)
    pack(tmp_path / "a.tar", [("a.png", png(0))])
    with pytest.raises(ValueError, match="too large: .* bytes, an image in an archive may have 100"):
        load(tmp_path / "a.tar")


def test_a_folder_of_shards_says_how_to_name_them(three):
    with pytest.raises(ValueError, match=r"found 3 \.tar .*give '.*/\*\.tar'"):
        load(three)


def test_system_folders_in_an_archive_are_left_out_as_in_a_folder(tmp_path):
    "The same images, classes and counts as of the folder that was packed."
    root = class_tree(tmp_path / "x", names=("ant", "bee"), each=2)
    for place in ("@eaDir", ".git/deep", "__MACOSX/ant", "ant/.hidden", "bee/@eaDir"):
        (root / place).mkdir(parents=True)
        (root / place / "a.png").write_bytes(png(0))
    with tarfile.open(tmp_path / "x.tar", "w") as packed:
        packed.add(root, ".")
    pack(tmp_path / "y.tar", [(os.path.relpath(p, root), p.read_bytes()) for p in sorted(root.rglob("*.png"))])
    folder = list_source(root)
    note = "5 system or hidden folders left out (@eaDir 2, .git 1, .hidden 1, __MACOSX 1)"
    for listing in (folder, list_source(tmp_path / "x.tar"), list_source(tmp_path / "y.tar")):
        assert len(listing.files) == 4 and listing.class_names == ["ant", "bee"] and listing.notes == (note,)


def test_two_labels_of_one_key_are_refused(tmp_path):
    "Names with dots: neither label is taken for both images. The same label twice is one."
    members = [("img.0.png", png(0)), ("img.0.cls", b"3"), ("img.1.png", png(1)), ("img.1.cls", b"4")]
    with pytest.raises(ValueError, match=r"a\.tar: the files of key 'img' must have one label, got '3' and '4'"):
        load(pack(tmp_path / "a.tar", members), on_error="skip")
    same = [*members[:3], ("img.1.cls", b"3"), *samples([2])]
    assert load(pack(tmp_path / "b.tar", same)).labels.tolist() == [1, 1, 0]


def test_a_folder_may_be_called_as_a_tar_file_is(tmp_path):
    root = class_tree(tmp_path / "x", names=("ant", "bee"), each=2)
    root = root.rename(tmp_path / "photos.tar")
    assert list_source(root).class_names == ["ant", "bee"] and list_source([root]).files == list_source(root).files
