"What could not be read: a table with reasons, and one sentence."

import csv
import io

import pytest
from PIL import Image

from dcacn_nb.core.text import from_csv_cell
from dcacn_nb.data.loading import load_images
from dcacn_nb.data.unread import keep_unread, unread, unread_csv, unread_in_words


def rows(data):
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_every_file_has_its_row_whatever_it_is_called(tmp_path, caplog):
    names = ["=1+1.png", "a\nb.png", *(f"{i:02d}.png" for i in range(12))]
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    images = load_images(tmp_path, on_error="skip", cache=False, progress=False)
    head, *found = rows(unread_csv(images.protocol))
    assert head == ["path", "reason"] and len(found) == 14
    assert sorted(from_csv_cell(path) for path, _ in found) == sorted(str(tmp_path / name) for name in names)
    assert all(why.startswith("UnidentifiedImageError") for _, why in found)
    assert unread_in_words(images.protocol, len(images), "x.csv") == [
        "14 of 15 files could not be read: listed in x.csv"
    ]
    assert caplog.text.count("skipped ") == 10 and caplog.text.count("not named here") == 1


def test_a_list_of_an_earlier_call_does_not_stay(tmp_path):
    path = tmp_path / "list.csv"
    assert keep_unread({"source": "x", "skipped": {"a.png": "torn"}}, path) == path
    assert rows(path.read_bytes()) == [["path", "reason"], ["a.png", "torn"]]
    assert keep_unread({"source": "x", "skipped": {}}, path) is None and not path.exists()
    assert keep_unread({"source": "x"}, path) is None


@pytest.mark.parametrize("protocol", [None, [], {}, {"skipped": None}, {"skipped": ["a"]}, {"skipped": 7}])
def test_a_protocol_from_a_strange_file_says_nothing(protocol):
    assert unread(protocol) == {} and unread_in_words(protocol, 3) == []


def test_folders_are_counted_apart():
    skipped = {"closed/": "no", "other/": "no", "a.png": "torn"}
    assert unread_in_words({"skipped": skipped}, 2999) == ["1 of 3,000 files and 2 folders could not be read"]
