"Images in parquet files and data sets of Hugging Face `datasets`: the same pixels and classes, without the network."

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from fake_encoder import FakeEncoder
from pictures import load, noise
from PIL import Image

from dcacn_nb.data import tables
from dcacn_nb.encoders import embed

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'dcacn_nb[datasets]'")
parquet = pytest.importorskip("pyarrow.parquet")
datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'dcacn_nb[datasets]'")


def png(seed):
    file = io.BytesIO()
    Image.fromarray(noise(8, 8, seed=seed)).save(file, "png")
    return file.getvalue()


def wanted(numbers):
    return torch.from_numpy(np.stack([noise(8, 8, seed=i).transpose(2, 0, 1) for i in numbers]))


def dataset(numbers=range(10), names=("ant", "bee")):
    cells = {"image": [{"bytes": png(i), "path": None} for i in numbers], "label": [i % 2 for i in numbers]}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    return datasets.Dataset.from_dict(cells, features=kinds)


def write(path, numbers, size=3, **columns):
    "A parquet file that is not of `datasets`."
    columns = {"image": [png(i) for i in numbers]} | columns
    parquet.write_table(pa.table(columns), path, row_group_size=size)
    return path


@pytest.mark.parametrize("kind", ["object", "saved", "dict", "parquet"])
def test_a_data_set_gives_its_images_and_classes(tmp_path, kind, own_cache):
    source = dataset()
    if kind == "saved":
        source.save_to_disk(tmp_path / "x")
        source = tmp_path / "x"
    elif kind == "dict":
        source = datasets.DatasetDict({"train": source})
    elif kind == "parquet":
        source.to_parquet(tmp_path / "x.parquet")
        source = str(tmp_path / "x.parquet")
    images = load(source)
    assert torch.equal(images.images, wanted(range(10))) and images.labels.tolist() == [0, 1] * 5
    assert images.class_names == ["ant", "bee"] and images.paths[3].endswith("0000003")
    some = load(source, limit=4, seed=2)
    assert torch.equal(some.images, load(source, limit=4, seed=2, cache=False).images)
    assert len(list(own_cache.glob("*.npy"))) == 2, "found again"
    found = embed(source, FakeEncoder(), progress=False)
    assert torch.allclose(found.features, embed(images, FakeEncoder(), progress=False, cache=False).features)


def test_another_choice_of_rows_is_another_entry(own_cache):
    "The order of a data set, and which rows it has."
    whole = dataset()
    mixed = whole.shuffle(seed=1)
    order = [next(i for i in range(10) if png(i) == cell["bytes"]) for cell in _cells(mixed)]
    assert order != sorted(order)
    for source, numbers in ((whole, range(10)), (mixed, order), (whole.select([7, 2]), [7, 2])):
        for _ in range(2):
            images = load(source)
            assert torch.equal(images.images, wanted(numbers)) and images.labels.tolist() == [i % 2 for i in numbers]
    assert len(list(own_cache.glob("*.npy"))) == 3


def _cells(source):
    return source.cast_column("image", datasets.Image(decode=False))["image"]


def test_parquet_files_of_anyone_follow_each_other(tmp_path):
    for part in range(3):
        names = [["tulip", "rose"][i % 2] for i in range(5)]
        write(tmp_path / f"p{part}.parquet", range(5 * part, 5 * part + 5), kind=list(range(5)), label=names)
    images = load(str(tmp_path / "p*.parquet"))
    assert torch.equal(images.images, wanted(range(15))) and images.class_names == ["rose", "tulip"]
    assert images.labels.tolist() == [1, 0, 1, 0, 1] * 3


def test_a_row_group_is_read_once_and_the_last_ones_stay(tmp_path, monkeypatch):
    "So memory holds a few groups, whatever the file has."
    source, read = write(tmp_path / "x.parquet", range(12), size=2), []
    true_read = tables._Groups._read
    monkeypatch.setattr(tables._Groups, "_read", lambda self, *where: read.append(where) or true_read(self, *where))
    groups = tables.read_parquet([source]).rows.read
    assert [groups(i) == png(i) for i in range(12)] == [True] * 12
    assert read == [(0, g) for g in range(6)] and len(groups._kept) == 2
    assert groups(0) == png(0) and len(read) == 7


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_row_without_an_image_is_named(tmp_path, on_error):
    "One is empty, one no image, one names a file of this computer: that is not read."
    (tmp_path / "secret.png").write_bytes(png(9))
    cells = [
        {"bytes": png(0), "path": None},
        {"bytes": None, "path": None},
        {"bytes": b"text", "path": "a.png"},
        {"bytes": None, "path": str(tmp_path / "secret.png")},
        {"bytes": png(4), "path": "../../b.png"},
    ]
    parquet.write_table(pa.table({"image": cells}), tmp_path / "x.parquet")
    if on_error == "raise":
        with pytest.raises(ValueError, match=r"cannot read image .*x\.parquet/0000001 \(OSError: the row is empty\)"):
            load(tmp_path / "x.parquet")
        return
    images = load(tmp_path / "x.parquet", on_error="skip")
    skipped = images.protocol["skipped"]
    assert torch.equal(images.images, wanted([0, 4])) and list(skipped) == ["0000001", "0000002", "0000003"]
    assert "names a file" in skipped["0000003"]


@pytest.mark.parametrize(
    "columns, says",
    [
        ({"image": [1, 2]}, "no column of images among image"),
        ({"other": [b"x", b"y"]}, "2 columns of images .image, other. among .*select_columns"),
        ({"image": pa.array([], pa.binary())}, "holds no images: it has no rows"),
    ],
)
def test_a_table_must_have_one_column_of_images(tmp_path, columns, says):
    with pytest.raises(ValueError, match=says):
        load(write(tmp_path / "x.parquet", range(2), **columns))


@pytest.mark.parametrize("kind", ["none", "two", "gaps", "one"])
def test_classes_that_are_unclear_are_not_used(tmp_path, kind, caplog):
    labels = {"two": {"label": [0, 1], "cls": [1, 0]}, "gaps": {"label": ["a", None]}, "one": {"label": [5, 5]}}
    images = load(write(tmp_path / "x.parquet", range(2), **labels.get(kind, {"height": [3, 4]})))
    says = {"two": "several columns name classes (label, cls)", "gaps": "1 of 2 images have no label (column label)"}
    assert images.labels is None and says.get(kind, "the same label" if kind == "one" else "") in caplog.text


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(ValueError, match=r"bad\.parquet cannot be read"):
        load(tmp_path / "bad.parquet")
    write(tmp_path / "a.parquet", range(2)), write(tmp_path / "b.parquet", range(2), more=[1, 2])
    with pytest.raises(ValueError, match=r"b\.parquet' has other columns than a\.parquet"):
        load([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    with pytest.raises(ValueError, match="has the parts train, test; give one of them"):
        load(datasets.DatasetDict({"train": dataset(), "test": dataset()}))
    datasets.DatasetDict({"train": dataset(), "test": dataset()}).save_to_disk(tmp_path / "both")
    with pytest.raises(ValueError, match=r"has the parts train, test; give .*both/train"):
        load(tmp_path / "both")
    assert len(load(tmp_path / "both" / "test")) == 10
    monkeypatch.setattr(tables, "GROUP", 100)
    with pytest.raises(ValueError, match="bytes of images in one row group, at most 100 are read"):
        load(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"needs the package pyarrow .*dcacn_nb\[datasets\]"):
        load(tmp_path / "a.parquet")


def test_the_library_is_not_loaded_for_other_sources():
    line = "import sys; from dcacn_nb.data.loading import load_images; load_images('digits', limit=4); "
    line += "assert 'datasets' not in sys.modules"  # pandas loads pyarrow by itself
    subprocess.run([sys.executable, "-c", line], check=True, timeout=120)
