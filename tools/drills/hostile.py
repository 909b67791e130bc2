"""Run folders that are damaged or from a stranger: documented errors, no write outside, no hang, little memory."""

import io
import json
import os
import pickle
import random
import shutil
import socket
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from drills.children import Rules, mark, run, start
from drills.fuzz import FOREIGN
from drills.mutate import mutate_bytes, mutate_json
from drills.rows import Row
from drills.worlds import TINY, command, features, photos, plain_pictures, tree

MEMORY, LIMIT = 3 << 30, 40.0  # bytes beyond the start, seconds for all commands on one folder
SPARSE = 100 * 2**30  # bytes that a sparse file says it has
# files whose loss costs only themselves: a run with a damaged one must still be resumed
SPARE = ("snapshots/", "report.html", "clusters.csv", "reference.json", "groups", "number.json", "clusters.json", ".:")


@dataclass(frozen=True)
class Attack:
    "What is done to a run folder."

    name: str
    file: str  # the file or folder that it is about
    do: "Callable[[Path, Path, random.Random], object]"  # (run folder, folder outside, generator)


def drill(scratch: Path, seed: int, size: int, keep_going: bool = False) -> Row:
    "About `size` attacks, each followed by every command that touches what was attacked."
    row, rng = Row("hostile folders", seed, keep_going), random.Random(seed)
    made = run(lambda: _build(scratch), scratch, Rules(limit=240))
    if made.how != "done":
        raise RuntimeError(f"the folders could not be made: {made}")
    for kind in ("run", "frozen"):
        attacks = list(attacks_on(scratch / "whole" / kind))
        share = len(attacks) if size >= 2 * len(attacks) else max(1, size // 2)
        for attack in rng.sample(attacks, share):
            _attack(row, scratch, kind, attack)
    return row.done("every file and folder of a run, of images and of features; then all commands that read it")


def _build(scratch: Path) -> None:
    "A run of images and one of features, both whole; photos; and a folder outside with canaries."
    photos(scratch / "photos", bad=False), features(scratch / "features.npz")
    plain_pictures()
    whole = scratch / "whole"
    line = ("--encoder", "none", "--epochs", 2, "--run-dir", whole / "run", "--set", "keep_last=3", *TINY)
    codes = [command("fit", scratch / "photos", "-k", 2, *line)]
    settings = ("--set", "batch_size=8", "--set", "device=cpu", "--set", "checkpoint_seconds=0")
    codes += [
        command("fit", scratch / "features.npz", "-k", 2, "--epochs", 2, "--run-dir", whole / "frozen", *settings)
    ]
    if codes != [0, 0]:
        raise RuntimeError(f"exit codes {codes}")
    for name in ("run", "frozen"):
        (whole / name / "clusters.json").write_text('{"version": 1, "clusters": 2, "names": {"0": "cats"}}')
        (whole / name / "report.html").touch()
    canaries(scratch / "outside")


def canaries(folder: Path) -> None:
    "Files that must never change, with the names that a run folder's own housekeeping deletes."
    for name in ("canary.txt", "epoch_00000_0000000.npz", "step_00000001.safetensors", ".events.jsonl.abcdefgh.tmp",
                 ".config.json.abcdefgh.tmp", ".step_00000001.safetensors.abcdefgh.tmp", "clusters.csv"):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"canary " + name.encode())
        os.utime(path, (1e9, 1e9))


def attacks_on(whole: Path) -> "Iterator[Attack]":
    "Every attack on a run folder like this one."
    names = [path.relative_to(whole).as_posix() for path in sorted(whole.rglob("*")) if path.is_file()]
    names = [name for name in names if name not in (".lock.1", "report.html")]
    for name in names:
        for kind, do in {**DAMAGE, **REPLACED, **FORGED.get(Path(name).suffix, {})}.items():
            yield Attack(f"{name}: {kind}", name, _on(name, do))
    for name in (".lock.1", "report.html"):
        for kind, do in REPLACED.items():
            yield Attack(f"{name}: {kind}", name, _on(name, do))
    for name in ("snapshots", "checkpoints"):
        for kind, do in FOLDERS.items():
            yield Attack(f"{name}: {kind}", f"{name}/" if kind == "deleted" else name, _on(name, do))
    for kind, do in STRANGER.items():
        yield Attack(kind, kind.partition(":")[0], do)


def _on(name: str, do: Callable) -> Callable:
    return lambda home, outside, rng: do(home / name, outside, rng)


# ---- what is done to a file
def _rewrite(change: "Callable[[bytes, random.Random], bytes]") -> Callable:
    return lambda path, outside, rng: path.write_bytes(change(path.read_bytes(), rng))


def _instead(make: "Callable[[Path, Path], object]") -> Callable:
    "Something else in the file's place."

    def do(path: Path, outside: Path, rng: random.Random) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path, outside)

    return do


def _socket(path: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # the names of sockets are short
        server.bind(path.name)
        os.chdir(here)


def _sparse(path: Path, outside: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(SPARSE)


DAMAGE = {
    "emptied": _rewrite(lambda data, rng: b""),
    "halved": _rewrite(lambda data, rng: data[: len(data) // 2]),
    "last byte cut": _rewrite(lambda data, rng: data[:-1]),
    "bits flipped": _rewrite(lambda data, rng: mutate_bytes(mutate_bytes(data, rng), rng)),
    "zeros": _rewrite(lambda data, rng: bytes(len(data))),
    "deleted": lambda path, outside, rng: path.unlink(),
}
REPLACED = {
    "a named pipe": _instead(lambda path, outside: os.mkfifo(path)),
    "a folder": _instead(lambda path, outside: path.mkdir()),
    "a link to a file outside": _instead(lambda path, outside: path.symlink_to(outside / "canary.txt")),
    "a link to nothing outside": _instead(lambda path, outside: path.symlink_to(outside / "new.txt")),
    "a link to itself": _instead(lambda path, outside: path.symlink_to(path.name)),
    "a link to /dev/zero": _instead(lambda path, outside: path.symlink_to("/dev/zero")),
    "a socket": _instead(_socket),
    "100 GB of nothing": _instead(_sparse),
}
FOLDERS = {
    "a link to a folder outside": _instead(lambda path, outside: path.symlink_to(outside)),
    "a link to nothing outside": _instead(lambda path, outside: path.symlink_to(outside / "new")),
    "a link to the folder above": _instead(lambda path, outside: path.symlink_to("..")),
    "a file": _instead(lambda path, outside: path.write_bytes(b"x")),
    "a named pipe": _instead(lambda path, outside: os.mkfifo(path)),
    "deleted": lambda path, outside, rng: shutil.rmtree(path),
}


# ---- forged content
_RAN = os.path.join(tempfile.gettempdir(), "dcacn-drill-pickle-ran")


class _Code:
    "Runs code when it is unpickled."

    def __reduce__(self):
        return os.system, (f"touch {_RAN}",)


def _npz(members: "dict[str, bytes]", packed: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _npy(shape: tuple, dtype: str = "<f4", data: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def _bomb(data: bytes, rng: random.Random) -> bytes:
    "A few hundred kilobytes that unpack to gigabytes."
    size = 6 * 2**30
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("indices.npy", _npy((2,), "<i8", bytes(16)))
        with archive.open("array:h.npy", "w", force_zip64=True) as member:
            member.write(_npy((size // 4,)))
            block = bytes(2**24)
            for _ in range(24):  # less than the header says: to unpack it is enough
                member.write(block)
    return file.getvalue()


def _with_code(data: bytes, rng: random.Random) -> bytes:
    file = io.BytesIO()
    np.savez(file, indices=np.arange(2), **{"array:h": np.array([_Code(), None], object)})
    return file.getvalue()


def _safetensors_header(header: dict, data: bytes = b"", length: "int | None" = None) -> bytes:
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def _resealed(change: "Callable[[dict], dict]") -> Callable:
    "A checkpoint with another description and a right checksum."

    def forge(path: Path, outside: Path, rng: random.Random) -> None:
        from dcacn_nb.runs.checkpoint import load_checkpoint, save_checkpoint

        tensors, meta = load_checkpoint(path)
        save_checkpoint(path, tensors, change(meta))

    return forge


def _config(**changes) -> Callable:
    return _resealed(lambda meta: meta | {"config": meta["config"] | changes})


def _json(value: object) -> Callable:
    return _rewrite(lambda data, rng: json.dumps(value).encode())


def _json_changed(**changes) -> Callable:
    return _rewrite(lambda data, rng: json.dumps(json.loads(data) | changes).encode())


def _settings(**changes) -> Callable:
    "A config.json with other settings."
    return _rewrite(
        lambda data, rng: json.dumps(
            (about := json.loads(data)) | {"config": about.get("config", {}) | changes}
        ).encode()
    )


def _snapshot(**arrays: bytes) -> Callable:
    "A snapshot of two images with other arrays."
    members = {"indices.npy": _npy((2,), "<i8", bytes(16))} | {
        f"array:{name}.npy": data for name, data in arrays.items()
    }
    return _rewrite(lambda data, rng: _npz(members))


HUGE = {"model.w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
FORGED: dict = {
    ".json": {
        "null": _json(None),
        "a list": _json([]),
        "an empty object": _json({}),
        "a text": _json("x"),
        "nested 100,000 deep": _rewrite(lambda data, rng: b"[" * 10**5 + b"]" * 10**5),
        "a number of 100,000 digits": _rewrite(lambda data, rng: b"1" * 10**5),
        "not UTF-8": _rewrite(lambda data, rng: data[:5] + b"\xff\xfe\x80" + data[5:]),
        "a value changed": _rewrite(mutate_json),
        "another value changed": _rewrite(mutate_json),
        "two values changed": _rewrite(lambda data, rng: mutate_json(mutate_json(data, rng), rng)),
        "width 10**6": _settings(width=10**6),
        "image_size 10**6": _settings(image_size=10**6, global_size=10**6),
        "n_clusters 10**9": _settings(n_clusters=10**9),
        "method __import__": _json_changed(method="__import__"),
        "method a path": _json_changed(method="../../x", options={"x": 1}),
        "epochs a text": _settings(epochs="2"),
    },
    ".jsonl": {
        "a snapshot elsewhere": _rewrite(lambda data, rng: data + _snapshot_line("../../outside/canary.txt")),
        "a snapshot at /dev/zero": _rewrite(lambda data, rng: data + _snapshot_line("/dev/zero")),
        "a snapshot that is a number": _rewrite(lambda data, rng: data + _snapshot_line(7)),
        "a value changed": _rewrite(mutate_json),
        "another value changed": _rewrite(mutate_json),
        "two values changed": _rewrite(lambda data, rng: mutate_json(mutate_json(data, rng), rng)),
        "nested 100,000 deep": _rewrite(lambda data, rng: data + b"[" * 10**5 + b"\n"),
        "an unfinished line of 30 MB": _rewrite(lambda data, rng: data + b"x" * 30_000_000),
        "100,000 lines": _rewrite(lambda data, rng: data + data.splitlines(True)[2] * 100_000),
        "a thousand starts": _rewrite(lambda data, rng: data + data.splitlines(True)[0] * 1000),
    },
    ".npz": {
        "a zip bomb": _rewrite(_bomb),
        "10**12 elements": _snapshot(h=_npy((10**12,))),
        "negative shape": _snapshot(h=_npy((-5, 3))),
        "code in a pickle": _rewrite(_with_code),
        "no arrays": _rewrite(lambda data, rng: _npz({})),
        "other shapes": _snapshot(h=_npy((3, 1), "<f4", bytes(12)), p=_npy((1, 2, 3), "<f4", bytes(24))),
        "other kinds": _snapshot(p=_npy((2, 2), "<M8[s]", bytes(32)), images=_npy((2, 2), "|u1", bytes(4))),
        "a bare pickle": _rewrite(lambda data, rng: pickle.dumps(_Code())),
    },
    ".safetensors": {
        "a bare pickle": _rewrite(lambda data, rng: pickle.dumps(_Code())),
        "a header of 2**60 bytes": _rewrite(lambda data, rng: (2**60).to_bytes(8, "little") + data[8:]),
        "10**12 elements": _rewrite(lambda data, rng: _safetensors_header(HUGE)),
        "no tensors": _rewrite(lambda data, rng: _safetensors_header({})),
        "a header that is a list": _rewrite(lambda data, rng: _safetensors_header([])),
        "resealed, width 10**6": _config(width=10**6),
        "resealed, image_size 10**6": _config(image_size=10**6),
        "resealed, epochs a text": _config(epochs="2"),
        "resealed, an unknown setting": _config(colour="red"),
        "resealed, no config": _resealed(lambda meta: {name: meta[name] for name in meta if name != "config"}),
        "resealed, config a list": _resealed(lambda meta: meta | {"config": []}),
        "resealed, method __import__": _resealed(lambda meta: meta | {"method": "__import__"}),
        "resealed, options code": _resealed(lambda meta: meta | {"options": {"features": 10**12, "loss": "os.system"}}),
        "resealed, events a text": _resealed(lambda meta: meta | {"events": "../..", "step": -1}),
    },
    ".csv": {
        "binary": _rewrite(lambda data, rng: bytes(range(256)) * 50),
        "other columns": _rewrite(lambda data, rng: b"a,b\n1,2\n"),
        "clusters of text": _rewrite(lambda data, rng: data.replace(b",0,", b",zero,").replace(b",1,", b",one,")),
        "a cluster of 10**18": _rewrite(lambda data, rng: data.replace(b",0,", b",1000000000000000000,")),
        "a quote without end": _rewrite(lambda data, rng: data + b'"' + b"x" * 200_000),
        "columns repeated": _rewrite(lambda data, rng: b"path,path,cluster,confidence\n" + data),
    },
}  # fmt: skip


def _snapshot_line(file: object) -> bytes:
    return json.dumps({"event": "SnapshotTaken", "epoch": 2, "step": 4, "time": 1.0, "file": file}).encode() + b"\n"


def _source(**changes) -> Callable:
    "A source.json that leads elsewhere."

    def forge(home: Path, outside: Path, rng: random.Random) -> None:
        path = home / "source.json"
        known = {
            name: str(value).replace("OUTSIDE", str(outside)) if isinstance(value, str) else value
            for name, value in changes.items()
        }
        for name, value in known.items():
            if isinstance(value, dict):
                known[name] = {k: str(v).replace("OUTSIDE", str(outside)) for k, v in value.items()}
        path.write_text(json.dumps(json.loads(path.read_text()) | known))

    return forge


def _extra_link(name: str) -> Callable:
    "A link under a name that the product will write to."
    return lambda home, outside, rng: _instead(lambda path, out: path.symlink_to(out / "canary.txt"))(
        home / name, outside, rng
    )


STRANGER = {
    "source.json: sorted copies elsewhere": _source(then={"sort_into": "OUTSIDE/copies"}),
    "source.json: a cache elsewhere": _source(cache="OUTSIDE"),
    "source.json: a download": _source(source="cifar10", download=True, root="OUTSIDE"),
    "source.json: an encoder to fetch": _source(encoder="timm:resnet18", download=True),
    "source.json: an encoder file": _source(encoder="OUTSIDE/canary.txt.onnx"),
    "source.json: pictures of the whole machine": _source(source="/"),
    "source.json: unknown keys": _source(observer="print", batch_size=-1),
    ".: cost.json as a link": _extra_link("cost.json"),
    ".: groups.json as a link": _extra_link("groups.json"),
    ".: number.json as a link": _extra_link("number.json"),
    ".: a checkpoint of the future as a link": _extra_link("checkpoints/step_99999999.safetensors"),
    ".: a temporary file as a link": _extra_link(".config.json.abcdefgh.tmp"),
}


# ---- the attack
def _attack(row: Row, scratch: Path, kind: str, attack: Attack) -> None:
    "One attack: the commands that read, and resume, at once, each on a fresh copy of the folder."
    row.attempt()
    folders = {"reading": scratch / "attacked-1", "resume": scratch / "attacked-2"}
    before = {}
    for step, folder in folders.items():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scratch / "whole" / kind, folder / "run")
        (folder / ".home" / "cache").mkdir(parents=True)
        shutil.copy(scratch / ".home" / "cache" / "key", folder / ".home" / "cache")  # the run is the user's own
        with suppress(FileNotFoundError):
            attack.do(folder / "run", scratch / "outside", random.Random(f"{row.seed}/{kind}/{attack.name}"))
        before[step] = tree(folder / "run")
    watched, children = _watched(scratch), []
    for work, folder in zip((_reading, _resuming), folders.values()):
        rules = Rules((folder,), limit=LIMIT, memory=MEMORY)
        children.append(start(partial(work, folder, scratch, attack.file), folder, rules))
    for (step, folder), child in zip(folders.items(), [child.wait() for child in children]):
        _judge(row, child, f"{kind}, {attack.name}, {step}")
        if step == "resume":
            _judge_resume(row, child, f"{kind}, {attack.name}, resume", attack, before[step], tree(folder / "run"))
    if _watched(scratch) != watched:
        row.violation("outside", f"{kind}, {attack.name}: files outside the folder changed")
        canaries(scratch / "outside")


def _watched(scratch: Path) -> dict:
    "Everything outside the attacked folder: what it is, and when it was changed."
    found = {}
    for folder in (scratch / "outside", scratch / "photos", scratch / "whole"):
        found |= {
            f"{folder.name}/{name}": (digest, (folder / name).lstat().st_mtime_ns)
            for name, digest in tree(folder).items()
        }
    return found | {"pickle": os.path.exists(_RAN)}


def _judge(row: Row, child, at: str) -> None:
    "Hangs, crashes, undocumented errors, writes outside."
    if child.how == "hang":
        row.violation("hangs", f"{at}: {child.mark}")
    elif child.how != "done":
        row.violation("raw", f"{at}: {child}")
    for text in child.outside:
        row.violation("outside", f"{at}: {text}")
    for name, wrong in (child.value or {}).items() if isinstance(child.value, dict) else ():
        if wrong and name != "code":
            row.violation("raw", f"{at}, {name}: {wrong}")


def _judge_resume(row: Row, child, at: str, attack: Attack, before: dict, after: dict) -> None:
    "A run with a file less is resumed; one that is refused stays as it is."
    code = (child.value or {}).get("code") if isinstance(child.value, dict) else None
    if code == 2 and f"{attack.file}:".startswith(SPARE):
        row.violation("lost", f"{at}: refused, though only {attack.file} is damaged: {child.output[-400:]}")
    kept = ("config.json", "events.jsonl", "checkpoints/")
    gone = [name for name in before if name.startswith(kept) and ".tmp" not in name and before[name] != after.get(name)]
    if code == 2 and gone:
        row.violation("lost", f"{at}: refused, but changed {gone}")


def _reading(folder: Path, scratch: Path, file: str) -> dict:
    "Every command and function that reads a run; name -> what is wrong with its error."
    import logging

    from dcacn_nb import load_run, predict, read_events, write_report
    from dcacn_nb.compare import grid
    from dcacn_nb.report.diagnosis import diagnose

    plain_pictures()
    logging.disable(logging.CRITICAL)
    home = folder / "run"
    library: dict = {
        "read_events": lambda: read_events(home),
        "diagnose": lambda: diagnose(read_events(home, arrays=False)),
        "write_report": lambda: write_report(home),
        "attach": lambda: _attached(home),
        "attach clusters": lambda: _attached(home, "ClusterBrowser"),
        "attach map": lambda: _attached(home, "MapViewer"),
        "finished": lambda: grid.finished(home),
    }
    if file.startswith(("checkpoints", "config", "source", ".", "events")):
        library |= {
            "load_run": lambda: load_run(home),
            "load_run best": lambda: load_run(home, "best"),
            "predict": lambda: predict(home, _inputs(home, scratch), **({} if "frozen" in str(file) else {})),
        }
    wrong = {}
    for name, function in library.items():
        mark(name)
        wrong[name] = _error_of(function, home)
    lines = {
        "grid": ("grid", _grid_of(home, folder / "grid")),
        "report": ("report", home),
        "export": ("export", home, folder / "out.csv"),
    }
    if file.startswith(("checkpoints", "config", "source", ".", "events")):
        lines |= {"evaluate": ("evaluate", home), "similar": ("similar", home, "0"), "duplicates": ("duplicates", home)}
        lines |= {"predict": ("predict", home, scratch / "photos", "-o", folder / "p.csv")}
    for name, line in lines.items():
        mark(f"dcacn {name}")
        wrong[f"dcacn {name}"] = "" if (code := command(*line)) in (0, 2) else f"exit code {code}"
    return {name: text for name, text in wrong.items() if text}


def _inputs(home: Path, scratch: Path):
    "New images for a run, or new features."
    return (
        np.zeros((3, 6), np.float32) + np.arange(3)[:, None] if (home / "groups.json").exists() else scratch / "photos"
    )


def _attached(home: Path, name: str = "Dashboard") -> None:
    "A widget that follows the folder, and is closed again."
    from dcacn_nb import widgets

    options = {} if name == "ClusterBrowser" else {"method": "pca"}  # t-SNE would start a process of its own
    panel = getattr(widgets, name).attach(home, **options)
    time.sleep(0.3)
    panel.close()


def _grid_of(home: Path, grid: Path) -> Path:
    "A grid whose only cell is the run."
    (grid / "kmeans" / "default").mkdir(parents=True, exist_ok=True)
    (grid / "grid.json").write_text('{"protocol": {"source": "photos"}, "budget": "2 epochs"}')
    with suppress(FileExistsError):
        (grid / "kmeans" / "default" / "seed-0").symlink_to(home)
    return grid


def _resuming(folder: Path, scratch: Path, file: str) -> dict:
    "Resume the run; if what it says of its images is not believed, with the place where they are."
    plain_pictures()
    mark("dcacn resume")
    codes = [command("resume", folder / "run")]
    if codes == [2] and file.startswith(("source", "config")):
        images = scratch / ("features.npz" if (folder / "run" / "groups.json").exists() else "photos")
        codes.append(command("resume", folder / "run", "--source", images))
    wrong = [code for code in codes if code not in (0, 2)]
    return {"code": codes[-1], "dcacn resume": f"exit code {wrong[0]}" if wrong else ""}


def _error_of(function: "Callable[[], object]", home: Path) -> str:
    "What is wrong with the error that a function raises; empty if there is none, or a documented one that says where."
    try:
        function()
        return ""
    except (ValueError, OSError) as error:
        text = f"{error} {getattr(error, 'filename', '')}"
        if type(error).__name__ in FOREIGN:
            return f"{type(error).__name__}: {str(error)[:300]}"
        names = {home.name, *(path.name for path in home.rglob("*"))}
        return (
            "" if any(name in text for name in names) else f"{type(error).__name__} names no file: {str(error)[:300]}"
        )
    except Exception as error:
        import traceback

        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:300]} [{Path(frame.filename).name}:{frame.lineno} {frame.name}]"
