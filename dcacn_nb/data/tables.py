"""Images in tables: parquet files, and data sets of Hugging Face `datasets`. Read row by row, without the network.

`datasets` and `pyarrow` are optional, and imported only where such a source is given."""

import importlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dcacn_nb.data.image_file import Inside
from dcacn_nb.data.shards import MOST, classes_of

GROUP = 2**31  # bytes of images in a row group of a parquet file, at most: it is read as a whole
LABELS = ("label", "labels", "cls", "class", "target")  # names of columns that hold classes, unless one is typed so
_KEPT = 2  # row groups in memory


@dataclass(frozen=True)
class Rows:
    "Images as rows of tables."

    name: str  # what the images are called in messages
    read: "Callable[[int], Any]"  # row -> its value: bytes, or a dict with "bytes"
    numbers: np.ndarray  # (N,) int64 which rows
    version: str  # what changes when an image does

    def place(self, number: int) -> Inside:
        "Where an image is."
        row = int(self.numbers[number])
        return Inside(f"{self.name}/{row:07}", lambda: _bytes_of(self.read(row)))

    def stamp(self, number: int) -> str:
        "What changes when an image does."
        return self.version

    def subset(self, chosen: Sequence[int]) -> "Rows":
        "Some of the images, in the order given."
        return replace(self, numbers=self.numbers[np.asarray(chosen, np.int64)])


@dataclass(frozen=True)
class Table:
    "What a table holds: images and, if a column names them, classes."

    rows: Rows
    labels: "list[int] | None"
    class_names: "list[str] | None"
    note: str  # why there are no classes


def _bytes_of(value: Any) -> bytes:
    "The file in a cell."
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        path = value.get("path") if isinstance(value, dict) else None
        raise OSError(f"the row names a file, {path!r}, and does not hold it" if path else "the row is empty")
    if len(data) > MOST:
        raise OSError(f"too large: {len(data):,} bytes, an image in a table may have {MOST:,}")
    return data


def _optional(name: str) -> Any:
    "A library that is imported only when it is needed."
    try:
        return importlib.import_module(name)
    except ImportError as error:
        text = f"such a source needs the package {name.partition('.')[0]} ({error})"
        raise ImportError(f"{text}; install it: pip install 'dcacn_nb[datasets]'") from error


def is_dataset(source: Any) -> bool:
    "Whether a source is a data set of the library `datasets`; the library is not imported for that."
    kind = type(source)
    return kind.__module__.split(".")[0] == "datasets" and kind.__name__ in ("Dataset", "DatasetDict")


def is_saved(source: Any) -> bool:
    "Whether a source is a folder that `Dataset.save_to_disk` wrote."
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source).expanduser()
    names = ("dataset_dict.json",), ("state.json", "dataset_info.json")
    return path.is_dir() and any(all((path / name).is_file() for name in group) for group in names)


def table_files(source: Any) -> "list[Path]":  # empty if no parquet files are meant
    "The parquet files that a source names: one, or with * several."
    if not isinstance(source, (str, Path)) or not str(source).lower().endswith(".parquet"):
        return []
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    return sorted(path.parent.glob(path.name)) if "*" in path.name else []


def read_dataset(source: Any) -> Table:
    "A data set of the library `datasets`, or the folder of one."
    datasets = _optional("datasets")
    saved = isinstance(source, (str, Path))
    found = datasets.load_from_disk(str(Path(source).expanduser())) if saved else source
    if isinstance(found, datasets.DatasetDict):
        parts = list(found)
        if len(parts) != 1:
            remedy = f"give {os.path.join(source, parts[0])}" if saved and parts else "give one of them"
            raise ValueError(f"the data set has the parts {', '.join(parts) or '(none)'}; {remedy}")
        found = found[parts[0]]
    image, label = _columns(found.data.schema, found.features)
    images = found.select_columns([image]).with_format(None)
    if isinstance(found.features[image], datasets.Image):
        images = images.cast_column(image, datasets.Image(decode=False))
    name = str(source) if saved else "dataset"
    files = [file["filename"] for file in found.cache_files]
    version = "\0".join([str(found._fingerprint), image, *map(_stamp, files)])
    rows = Rows(name, lambda row: images[row][image], np.arange(len(found)), version)
    if label is None:
        return Table(rows, None, None, _several(found.data.schema, found.features))
    cells = found.select_columns([label]).with_format("arrow")[:].column(0).to_pylist()
    return _with_classes(rows, cells, label, getattr(found.features[label], "names", None))


def read_parquet(files: "list[Path]") -> Table:
    "Parquet files of one kind, one after another."
    parquet = _optional("pyarrow.parquet")
    try:
        opened = [parquet.ParquetFile(file, memory_map=True) for file in files]
    except Exception as error:  # of a damaged file pyarrow raises errors of many kinds
        raise ValueError(f"source {', '.join(map(str, files[:3]))} cannot be read ({error})") from error
    schema = opened[0].schema_arrow
    for file, one in zip(files, opened):
        if not one.schema_arrow.equals(schema, check_metadata=False):
            raise ValueError(f"source {str(file)!r} has other columns than {files[0].name}; load it by itself")
    image, label = _columns(schema, _features(schema))
    groups = _Groups(files, opened, image)
    version = "\0".join([image, *(_stamp(str(file.absolute())) for file in files)])
    rows = Rows(str(files[0] if len(files) == 1 else files[0].parent), groups, np.arange(len(groups)), version)
    if label is None:
        return Table(rows, None, None, _several(schema, _features(schema)))
    cells = [cell for one in opened for cell in one.read(columns=[label]).column(0).to_pylist()]
    return _with_classes(rows, cells, label, getattr(_features(schema).get(label), "names", None))


class _Groups:
    "Rows of parquet files. A row group is read as a whole; the last ones stay, since rows are asked for in order."

    def __init__(self, files: "list[Path]", opened: "list[Any]", column: str):
        self.files, self.opened, self.column = files, opened, column
        self.where = [(i, g) for i, one in enumerate(opened) for g in range(one.num_row_groups)]
        sizes = [opened[i].metadata.row_group(g).num_rows for i, g in self.where]
        self.ends = np.cumsum(sizes, dtype=np.int64)
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __call__(self, row: int) -> Any:
        "The value of a row."
        group = int(np.searchsorted(self.ends, row, side="right"))
        begin = int(self.ends[group - 1]) if group else 0
        with self._lock:
            if group not in self._kept:
                while len(self._kept) >= _KEPT:
                    self._kept.popitem(last=False)
                self._kept[group] = self._read(*self.where[group])
            cells = self._kept[group]
        return cells[row - begin].as_py()

    def _read(self, file: int, group: int) -> Any:
        "The images of a row group."
        about = self.opened[file].metadata.row_group(group)
        parts = [about.column(i) for i in range(about.num_columns)]
        own = [part for part in parts if part.path_in_schema.split(".")[0] == self.column]
        size = sum(part.total_uncompressed_size for part in own)
        if size > GROUP:
            text = f"{self.files[file].name} has {size:,} bytes of images in one row group, at most {GROUP:,} are read"
            raise OSError(f"{text}; write it again with smaller ones")
        return self.opened[file].read_row_group(group, columns=[self.column]).column(0)


@dataclass(frozen=True)
class _ClassLabel:
    "What the library `datasets` notes in a parquet file about a column of classes."

    names: "list[str]"


def _features(schema: Any) -> "dict[str, Any]":
    "Columns of classes, as far as the file says which."
    try:
        text = (schema.metadata or {}).get(b"huggingface", b"{}")
        noted = json.loads(text)["info"]["features"]
        classes = {name: about["names"] for name, about in noted.items() if about.get("_type") == "ClassLabel"}
        return {name: _ClassLabel([str(each) for each in names]) for name, names in classes.items()}
    except (ValueError, KeyError, TypeError, AttributeError):  # written by something else
        return {}


def _columns(schema: Any, features: Any) -> "tuple[str, str | None]":
    "The column of images, and that of classes if there is one."
    images = [field.name for field in schema if _holds_files(field.type)]
    if len(images) != 1:
        found = f"{len(images)} columns of images ({', '.join(images)})" if images else "no column of images"
        text = f"source has {found} among {', '.join(schema.names)}"
        raise ValueError(f"{text}; give a data set with one, e.g. dataset.select_columns(['image', 'label'])")
    labels = _label_columns(schema, features)
    return images[0], labels[0] if len(labels) == 1 else None


def _label_columns(schema: Any, features: Any) -> "list[str]":
    "The columns typed as classes; if there are none, those named so."
    typed = [name for name in schema.names if getattr(features.get(name), "names", None)]
    return typed or [name for name in schema.names if name.lower() in LABELS]


def _several(schema: Any, features: Any) -> str:
    "Why no column of classes was taken."
    labels = _label_columns(schema, features)
    return f"several columns name classes ({', '.join(labels)}): none is used; leave one of them" if labels else ""


def _holds_files(kind: Any) -> bool:
    "Whether cells of this type hold the bytes of files."
    inside = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)} if kind.num_fields else {}
    return str(inside.get("bytes", kind)) in ("binary", "large_binary", "binary_view")


def _with_classes(rows: Rows, cells: "list[Any]", column: str, names: "list[str] | None") -> Table:
    "The classes of a column: numbers that have names, or whatever the cells hold."
    if names and all(isinstance(cell, int) and 0 <= cell < len(names) for cell in cells):
        return Table(rows, cells, list(names), "")
    plain = lambda cell: "" if cell is None or (names and cell == -1) else str(cell)  # -1: a test set without classes
    labels, found, note = classes_of([plain(cell) for cell in cells], f"column {column}")
    return Table(rows, labels, found, note)


def _stamp(path: str) -> str:
    "Name, size and time of change of a file."
    found = os.stat(path)
    return f"{path}\0{found.st_size}\0{found.st_mtime_ns}"
