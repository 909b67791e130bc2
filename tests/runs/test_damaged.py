"Every file of a run folder, damaged in many ways: the documented error, never another one, and never a hang."

import json
import os
import random
import shutil
from dataclasses import replace

import pytest

from dcacn_nb import fitting
from dcacn_nb.fitting import fit
from dcacn_nb.report.record import read_record
from dcacn_nb.report.run_files import read_confidence, read_groups, read_number, read_pictures, read_reference
from dcacn_nb.runs.description import read_about, read_reading
from dcacn_nb.runs.folder import load_run
from dcacn_nb.runs.log import follow_events, read_events

MUTATIONS = int(os.environ.get("DCACN_MUTATIONS", "40"))  # of each file; `make drill` asks for more
EXPECTED = (ValueError, OSError)  # what the functions say of damaged input; CheckpointError is a ValueError
NESTED = b"[" * 10**5
VALUES = [None, True, -1, 10**12, 10**400, 1e308, "", "x" * 1000, "../../x", [], {}, [[]], {"a": {}}]


def cut(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def flip(data, rng):
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 10, 1000])):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def splice(data, rng):
    "A part of the file in another place."
    start, end, place = sorted(rng.randrange(len(data) + 1) for _ in range(3))
    return data[:start] + data[end:place] + data[start:]


def replaced(data, rng):
    return rng.choice([b"", b"\n", NESTED, b'{"a":' * 10**5, b"\xff\xfe", b"null", b"3", b"[]", b"{}", b"\0" * 1000])


def other_value(data, rng):
    "Valid JSON, in one line of it, with one value of another type or size."
    lines = data.split(b"\n") if b"\n{" in data else [data]
    at = rng.randrange(len(lines))
    try:
        values = json.loads(lines[at])
    except ValueError:
        return flip(data, rng)
    place = values
    while isinstance(place, dict) and place:
        key = rng.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice(VALUES)
        break
    lines[at] = json.dumps(values).encode()
    return b"\n".join(lines)


HOW = [cut, flip, splice, replaced, other_value, other_value]


@pytest.fixture(scope="module")
def sound(digits, config, tmp_path_factory):
    "A finished run with every file that a folder may hold."
    folder = tmp_path_factory.mktemp("sound") / "run"
    small = replace(config, epochs=1, snapshot_every=1, keep_last=1, snapshot_size=10, width=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "write_report", lambda folder: None)
        fit(digits, small, labels=digits.labels, run_dir=folder)
    more = {
        "source.json": {"source": "digits", "limit": 120, "seed": 0, "labels": True, "then": {"baselines": True}},
        "groups.json": {
            "version": 1,
            "telling": {"0": [1, 2]},
            "duplicates": {"groups": [{"keep": 1, "copies": [2], "exact": [True]}]},
            "outliers": {"images": [3]},
            "merges": [{"into": 0, "cluster": 1}],
        },
        "number.json": {"sentence": "two", "clear": True},
        "clusters.json": {"names": {"0": "cats"}},
    }
    for name, values in more.items():
        (folder / name).write_text(json.dumps(values))
    (folder / "clusters.csv").write_text("path,cluster,confidence\na.png,0,0.5\nb.png,1,0.25\n")
    return folder


READERS = {
    "config.json": [read_about],
    "source.json": [read_reading],
    "events.jsonl": [read_events, read_record, lambda folder: list(follow_events(folder, stop=lambda: True))],
    "snapshots": [read_events, read_record],
    "checkpoints": [load_run],
    "groups.json": [read_groups],
    "number.json": [read_number],
    "clusters.json": [read_record],
    "clusters.csv": [read_confidence],
    "reference.json": [read_reference],
    "groups_images.safetensors": [read_pictures],
}


@pytest.mark.parametrize("name", [name for name in READERS if name != "groups_images.safetensors"])
def test_damage_gives_the_documented_error(sound, tmp_path, name):
    rng = random.Random(name)
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    for number in range(MUTATIONS):
        path = folder / name
        if path.is_dir():
            path = rng.choice(sorted(path.iterdir()))
        whole = path.read_bytes()
        how = rng.choice(HOW)
        path.write_bytes(how(whole, rng))
        for read in READERS[name]:
            try:
                read(folder)
            except EXPECTED:
                pass
            except Exception as error:
                kept = shutil.copy(path, tmp_path / f"culprit-{number}-{path.name}")
                raise AssertionError(f"{how.__name__} of {path.name}: {error!r}; kept as {kept}") from error
        path.write_bytes(whole)
