"Known sources: read as published, in the published order; what is missing or damaged is named, with the way to get it."

import gzip
import os
import pickle
import struct
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import class_tree, load
from torchvision import datasets as tv

from dcacn_nb.data import catalogue, sources
from dcacn_nb.data.batching import fetch

FASHION = Path("/usr/share/datasets/fashion-mnist")


# coarse label of each fine label, as in the archive
PUBLISHED = """
4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7
6 13 15 3 15 0 11 1 10 12 14 16 9 11 5 5 19 8 8 15 13 14 17 18 10
16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 16
12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13
"""


def test_superclasses_are_complete():
    "The wrong variant numbers the groups by their first appearance among the fine classes."
    table = catalogue.superclass_of()
    assert len(table) == 100 and np.bincount(list(table.values())).tolist() == [5] * 20
    assert [table[name] for name in sorted(table)] == list(map(int, PUBLISHED.split()))
    slip = {}
    for fine in sorted(table):
        slip.setdefault(table[fine], len(slip))
    assert [slip[table[fine]] for fine in sorted(table)] != [table[fine] for fine in sorted(table)]
    assert [table[fine] for fine in ("apple", "aquarium_fish", "baby", "wolf", "worm")] == [4, 1, 14, 8, 13]


def test_the_tables_are_complete():
    rows = catalogue.known_sources()
    assert [row["name"] for row in rows] == list(catalogue.SOURCES)
    assert set(rows[0]) == {"name", "images", "classes", "px", "licence", "how"}
    ten, dogs = catalogue.SYNSETS["imagenet10"], catalogue.SYNSETS["imagenet_dogs"]
    assert set(catalogue.SYNSETS) == {"imagenet10", "imagenet_dogs"} and (len(ten), len(dogs)) == (10, 15)
    assert [ten[synset] for synset in set(ten) & set(dogs)] == ["Maltese dog"] and len(set(ten) | set(dogs)) == 24


@pytest.mark.parametrize("source", ["fashion_mnist", "cifar10", "cifar100_20", "stl10"])
def test_absent_files_say_how_to_get_them(tmp_path, source, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=rf"load_images\('{source}', root=.*download=True.*By hand: fetch http"
    ) as caught:
        load(source, root=tmp_path / "data")
    assert str(tmp_path / "data") in str(caught.value)

    def unplugged(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    with pytest.raises(FileNotFoundError, match="download failed.*By hand: fetch http"):
        load(source, root=tmp_path / "data", download=True)


def write_idx(path, array, pack=gzip.compress):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()))


def fake_fashion(root, suffix=".gz"):
    pack = gzip.compress if suffix else bytes
    for part, count in [("train", 6), ("t10k", 4)]:
        write_idx(
            root / f"{part}-images-idx3-ubyte{suffix}",
            np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8),
            pack,
        )
        write_idx(root / f"{part}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8), pack)


@pytest.mark.parametrize("place", [".", "FashionMNIST/raw", "fashion_mnist"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_mnist_from_any_folder(tmp_path, place, suffix):
    fake_fashion(tmp_path / place, suffix)
    images = load("fashion_mnist", root=tmp_path)
    assert images.images.shape == (10, 1, 28, 28) and images.labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert (
        images.protocol["splits"] == {"train": 6, "test": 4}
        and len(load("fashion_mnist", root=tmp_path, split="test")) == 4
    )
    reference = tv.mnist.read_image_file(str(tmp_path / place / "t10k-images-idx3-ubyte")) if not suffix else None
    assert reference is None or torch.equal(images.images[6:, 0], reference)


def test_sizes_in_idx_files_are_big_endian(tmp_path):
    "The wrong variant, little-endian, does not agree with the length of the file."
    fake_fashion(tmp_path, suffix="")
    raw = (tmp_path / "t10k-images-idx3-ubyte").read_bytes()
    right, wrong = (np.frombuffer(raw, order, 3, 4).tolist() for order in (">u4", "<u4"))
    assert right == [4, 28, 28] and np.prod(right) == len(raw) - 16 != np.prod(wrong)
    assert load("fashion_mnist", root=tmp_path, split="test").images.shape == (4, 1, 28, 28)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(raw[:-1])
    with pytest.raises(ValueError, match=r"t10k-images.* is not a complete IDX file .*header 00000803, shape \(4, 28"):
        load("fashion_mnist", root=tmp_path, split="test")


def test_damaged_and_confused_idx_files_are_named(tmp_path):
    fake_fashion(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content in (
        whole[:-20],
        whole[:15] + bytes(byte ^ 255 for byte in whole[15:]),
        b"not gzip",
        gzip.compress(b"\0\0\x08\x03"),
        gzip.compress(gzip.decompress(whole)[:-1]),
        b"",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="train-images"):
            load("fashion_mnist", root=tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").rename(tmp_path / "hidden")
    assert [row["status"] for row in sources.verify("fashion_mnist", tmp_path)] == [
        "damaged",
        "6 of 60000",
        "4 of 10000",
        "missing",
    ]
    (tmp_path / "hidden").rename(tmp_path / "t10k-labels-idx1-ubyte.gz")
    path.write_bytes(whole)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(5, dtype=np.uint8))
    with pytest.raises(ValueError, match="do not belong together"):
        load("fashion_mnist", root=tmp_path)
    write_idx(path, np.zeros((10, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], np.uint8))
    with pytest.raises(ValueError, match="MNIST's handwritten digits"):
        load("fashion_mnist", root=tmp_path)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_real_fashion_mnist():
    images = load("fashion_mnist", root=FASHION)
    assert images.images.shape == (70000, 1, 28, 28) and np.bincount(images.labels).tolist() == [7000] * 10
    assert images.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert [row["status"] for row in sources.verify("fashion_mnist", FASHION)] == ["ok"] * 4


def fake_cifar(root, kind, names, key, monkeypatch):
    home, rng = root / kind.base_folder, np.random.default_rng(0)
    home.mkdir(parents=True)
    for name, _ in [*kind.train_list, *kind.test_list]:
        batch = {"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), key: rng.integers(0, len(names), 4).tolist()}
        (home / name).write_bytes(pickle.dumps(batch))
    (home / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: list(names)}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a, **k: True)
    return home


def test_cifar10_order_and_splits(tmp_path, monkeypatch):
    names = [f"class{i}" for i in range(10)]
    home = fake_cifar(tmp_path / "data", tv.CIFAR10, names, "labels", monkeypatch)
    images = load("cifar10", root=tmp_path / "data")
    assert (
        images.images.shape == (24, 3, 32, 32)
        and images.protocol["splits"] == {"train": 20, "test": 4}
        and images.class_names == names
    )
    last = pickle.loads((home / "test_batch").read_bytes())
    np.testing.assert_array_equal(images.images[-4:].numpy().reshape(4, -1), last["data"])
    assert images.labels[-4:].tolist() == last["labels"]
    assert len(load("cifar10", root=home, split="train")) == 20  # the inner folder itself is understood too
    (tmp_path / "other").mkdir()
    (tmp_path / "data").rename(tmp_path / "other" / "cifar10")
    assert len(load("cifar10", root=tmp_path / "other")) == 24
    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a, **k: False)
        with pytest.raises(FileNotFoundError, match="incomplete or damaged"):
            load("cifar10", root=tmp_path / "other")
    rows = sources.verify("cifar10", tmp_path / "other")
    assert {row["status"] for row in rows} == {"damaged"} and len(rows) == 6
    assert {row["status"] for row in sources.verify("cifar10", tmp_path / "none")} == {"missing"}


def test_cifar100_is_read_as_superclasses(tmp_path, monkeypatch):
    names = sorted(catalogue.superclass_of())
    home = fake_cifar(tmp_path, tv.CIFAR100, names, "fine_labels", monkeypatch)
    images = load("cifar100_20", root=tmp_path, split="test")
    fine = pickle.loads((home / "test").read_bytes())["fine_labels"]
    assert images.labels.tolist() == [catalogue.superclass_of()[names[i]] for i in fine]
    assert len(images.class_names) == 20 and images.class_names[14] == "people"


def fake_stl(root, unlabeled=5):
    home = root / "stl10_binary"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in [("train", 4), ("test", 3), ("unlabeled", unlabeled)]:
        rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(home / f"{part}_X.bin")
        if part != "unlabeled":
            (np.arange(count, dtype=np.uint8) % 10 + 1).tofile(home / f"{part}_y.bin")
    return home


def test_stl10_agrees_with_torchvision_and_maps_the_unlabelled(tmp_path, monkeypatch, caplog):
    home = fake_stl(tmp_path)
    images = load("stl10", root=tmp_path)
    assert (
        images.images.shape == (7, 3, 96, 96)
        and images.labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
        and images.protocol["extra_unlabeled"] == 5
    )
    monkeypatch.setattr(tv.STL10, "_check_integrity", lambda self: True)
    assert (tv.STL10(tmp_path, split="test").data == images.images[4:].numpy()).all()
    assert (tv.STL10(tmp_path, split="unlabeled").data == images.extra.images.numpy()).all()
    assert images.extra.labels is None and images.extra.extra is None
    assert torch.equal(fetch(images.extra, [4, 0]), images.extra.images[[4, 0]])  # transposed, mapped from a file
    assert load("stl10", root=tmp_path, image_size=32, limit=2).extra.images.shape == (5, 3, 32, 32)
    assert load("stl10", root=home, split="train").images.shape == (4, 3, 96, 96)
    (home / "unlabeled_X.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match="unlabeled_X.bin.*cut short"):
        load("stl10", root=tmp_path)
    (home / "unlabeled_X.bin").unlink()
    assert load("stl10", root=tmp_path).extra is None and "no extra unlabelled" in caplog.text
    (home / "test_y.bin").write_bytes(b"\1")
    with pytest.raises(ValueError, match="holds 3 images, test_y.bin 1 labels"):
        load("stl10", root=tmp_path)
    (home / "test_y.bin").unlink()
    with pytest.raises(FileNotFoundError, match="test_y.bin"):
        load("stl10", root=tmp_path)


STREAM = """
import sys, resource, numpy as np, torch
from dcacn_nb.data.batching import fetch
from dcacn_nb.data.sources import _stl_images
from pathlib import Path
images = _stl_images(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(3):
    assert fetch(images, [0, len(images) // 2, len(images) - 1]).shape == (3, 3, 96, 96)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files and ru_maxrss in KB")
def test_a_mapped_file_larger_than_needed_is_not_read_whole(tmp_path):
    path = tmp_path / "unlabeled_X.bin"
    with open(path, "wb") as file:
        file.truncate(27648 * 100_000)  # 2.7 GB that take no room
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200, f"{done.stdout} MB were touched for three images"


def test_imagenet10_wherever_the_synsets_are(tmp_path, caplog):
    names = list(catalogue.SYNSETS["imagenet10"])
    train = class_tree(tmp_path / "imagenet" / "ILSVRC" / "train", names[::-1] + ["n01440764"], each=2)
    class_tree(tmp_path / "imagenet" / "ILSVRC" / "val", names, each=1)
    for root in (train, train.parent, tmp_path, str(tmp_path)):
        images = load("imagenet10", root=root)
        assert (
            len(images) == 20
            and images.labels.tolist() == sorted(list(range(10)) * 2)
            and images.protocol["notes"] == []
        )
        assert images.class_names[0] == "king penguin" and names[0] in images.paths[0] and "train" in images.paths[0]
    with pytest.raises(FileNotFoundError, match="single synset folder; give the folder above"):
        load("imagenet10", root=train / names[0])
    for file in (train / names[3]).iterdir():
        file.unlink()
    images = load("imagenet10", root=tmp_path)
    assert (
        len(images.class_names) == 9
        and "n02690373 (airliner)" in images.protocol["notes"][0]
        and "1 of 10 synsets" in caplog.text
    )
    status = {row["name"]: row["status"] for row in sources.verify("imagenet10", tmp_path)}
    assert status["n02690373 airliner"] == "missing" and status["n07747607 orange"] == "2 images"
    with pytest.raises(ValueError, match="split"):
        load("imagenet10", root=tmp_path, split="test")
    with pytest.raises(ValueError, match="download"):
        load("imagenet10", root=tmp_path, download=True)
    with pytest.raises(FileNotFoundError, match="fewer than two of 15"):  # Maltese dog is in both subsets
        load("imagenet_dogs", root=tmp_path)
    class_tree(tmp_path / "b" / "x")
    for root in (tmp_path / "b", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="image-net.org"):
            load("imagenet10", root=root)


def test_verify_counts_folders_and_knows_digits(tmp_path):
    assert sources.verify(class_tree(tmp_path / "x")) == [
        {"name": "ant", "status": "3 images"},
        {"name": "bee", "status": "3 images"},
    ]
    assert sources.verify(str(class_tree(tmp_path / "y", (".",))))[0]["status"] == "3 images"
    assert sources.verify("digits")[0]["status"] == "ok"
