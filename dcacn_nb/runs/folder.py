"""Settings, events and checkpoints: what a run keeps on the disk, so that it may be killed at any instant and resumed.

| file | holds |
|---|---|
| `config.json` | the method with its options, the settings, a fingerprint of the images, and where they come from |
| `events.jsonl`, `snapshots/` | everything that happened, one event per line |
| `checkpoints/step_00001234.safetensors` | the state after 1,234 steps; the last `keep_last` are kept |
| `checkpoints/best.safetensors` | the weights with the best label-free score |
| `source.json` | of a run of the command: how the images were read, and what follows the run |
| `report.html` | the run as one page |
| `.lock.1`, `.lock.2`, ... | which process holds the run while it is in progress, see `core.locks` |

A checkpoint knows how many events were written before it. A kill leaves a log that is longer than the last checkpoint:
on resuming it is cut back to that number, and what follows is computed and reported again.

The folder is known by its whole path from the start, and by its identity: if it is moved or deleted in mid-run, the run
stops and says so, and nothing is written in its place."""

import dataclasses
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from dcacn_nb.core.checks import check_in, check_int
from dcacn_nb.core.events import EpochDone, Event
from dcacn_nb.core.files import atomic_write, inside, sweep, user_path
from dcacn_nb.core.locks import STALE, Busy, lock
from dcacn_nb.core.text import logger
from dcacn_nb.method.config import TrainConfig, completed, from_dict
from dcacn_nb.method.step import Method, TrainState, place
from dcacn_nb.methods import build_network, find_method
from dcacn_nb.runs.checkpoint import (
    CheckpointError,
    checkpoint_path,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from dcacn_nb.runs.description import CONFIG, check_about, check_complete, read_about, seal
from dcacn_nb.runs.log import EVENTS, RunLog, each_event, read_chosen

log = logger(__name__)
REPLAYED = 8  # snapshots of a resumed run that its observers are given again: all of them may be gigabytes


class FolderInUse(RuntimeError):
    "A run that has not ended holds the folder."


class FolderGone(RuntimeError):
    "The folder of a run was moved or deleted while the run was in progress."


# settings that a resumed run may change: they do not affect the result
FREE_TO_CHANGE = ("device", "compile", "cuda_graphs", "checkpoint_seconds", "keep_last")


def fingerprint(
    *image_sets: "Tensor | None",  # (N,C,H,W) uint8 each
) -> str:  # 16 hexadecimal digits
    "A short digest of shapes and of up to 257 evenly spaced images each: recognises other data at no cost."
    sha = hashlib.sha256()
    for images in image_sets:
        if images is not None:
            chosen = images[:: max(1, len(images) // 256)]
            sha.update(repr(tuple(images.shape)).encode() + chosen.numpy(force=True).tobytes())
    return sha.hexdigest()[:16]


def describe_run(
    method: Method,  # its name and options are written down
    config: TrainConfig,  # every setting
    *image_sets: "Tensor | None",  # images (N,C,H,W) uint8 or features each: all that is trained on
    encoder: "dict | None" = None,  # what computed the features, as Encoder.about() says
) -> dict:  # method, options, config, fingerprint, encoder
    "What identifies a run: it can be resumed only where this is the same."
    return {
        "method": method.name,
        "options": method.options,
        "config": dataclasses.asdict(config),
        "fingerprint": fingerprint(*image_sets),
        "encoder": encoder and {part: encoder.get(part) for part in ("name", "weights", "size")},
    }


def check_same_run(
    before: dict,  # of the run: its config.json, or the meta data of a checkpoint
    now: dict,  # describe_run(...) of what is to resume it
    where: Path,  # where `before` was read, for the message
    free: "tuple[str, ...]" = FREE_TO_CHANGE,  # settings that may differ
) -> None:
    "Refuse to resume with another method, other settings or other images, listing each difference."
    now = json.loads(json.dumps(now))  # tuples become lists, as in the file
    old, new = completed(before.get("config", {})), now["config"]
    changed = [
        f"{k}: {old.get(k)!r} in the run, {new.get(k)!r} now"
        for k in sorted(old.keys() | new.keys())
        if k not in free and old.get(k) != new.get(k)
    ]
    # runs of earlier versions have no options and no encoder
    for part, missing in (("encoder", None), ("options", {}), ("method", None)):
        if before.get(part, missing) != now[part]:
            changed.insert(0, f"{part}: {before.get(part, missing)!r} in the run, {now[part]!r} now")
    if before.get("fingerprint") != now["fingerprint"]:
        what = "features" if "features" in now["options"] else "images"
        changed.append(f"{what}: not the ones the run was started with")
    if changed:
        raise ValueError(f"cannot resume {str(where)!r}, these differ:\n  " + "\n  ".join(changed))


class RunFolder:
    "What a run keeps on the disk. Locked against a second run until it is closed."

    def __init__(
        self,
        path: "str | Path",  # the folder; made if it is missing
        state: TrainState,  # what checkpoints hold; set back to the last one when a run is resumed
        about: dict,  # describe_run(...)
        protocol: "dict | None" = None,  # where the images come from, for the record
        resume: bool = False,  # resume the run that is there; with no checkpoint yet, it starts over
        notes: "dict[str, bytes] | None" = None,  # further files, by name: written before the folder becomes a run
    ):
        self.path, self.state, self.about = user_path(path, "run_dir").absolute(), state, about
        self.checkpoints = self.path / "checkpoints"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self.path / ".lock")  # two runs in one folder would spoil each other
        except Busy as busy:
            text = f"run_dir {str(path)!r} is in use by a run that has not ended; stop that one first"
            raise FolderInUse(f"{text}, or choose another folder ({busy})") from None
        except OSError as error:
            name = Path(str(error.filename)).name
            which = f"{name} in it: " if name.startswith(".lock") else ""
            text = f"run_dir cannot be written to ({which}{error.strerror}); choose another folder"
            raise OSError(error.errno, text, str(path)) from error
        self._identity, self._notes, self._kept = _identity(self.path), dict(notes or {}), 0
        self._log: RunLog | None = None
        with given_back(self):
            self._open(protocol or {}, resume)

    def _open(self, protocol: dict, resume: bool) -> None:
        "Make the folder a run; or restore the last checkpoint of the run that is there, and change nothing yet."
        about = self.path / CONFIG
        old = os.path.lexists(about)
        if old and not resume:
            text = f"run_dir {str(self.path)!r} already holds a run"
            raise FileExistsError(f"{text}; resume it with resume=True, or choose another folder")
        if old:
            noted = self._notes.get(CONFIG)  # as `with_epochs` makes it
            known = read_about(self.path) if noted is None else check_complete(json.loads(noted), about)
            check_same_run(known, self.about, self.path)
        for home in self._homes():
            _check_home(self.path, home)
        if old:
            self._kept = self._go_back()
            self._check_free()
            return
        new = RunLog(self.path)
        text = json.dumps(self.about | {"protocol": protocol, "seal": seal(protocol)}, indent=1, default=str)
        self._notes |= {CONFIG: text.encode()}  # the last one: it makes the folder a run
        self._write_notes()
        self._log = new

    def _homes(self) -> "list[Path]":
        "The folders that the run writes into."
        return [self.path, self.checkpoints, self.path / "snapshots"]

    def _check_free(self) -> None:
        "Refuse a folder in the place of a file that is still to be written."
        _, checkpoints, snapshots = self._homes()
        numbered = [(checkpoints, r"step_(\d+)\.safetensors", self.state.step)]
        numbered += [(snapshots, r"epoch_\d+_(\d+)\.npz", self._kept)]
        taken = [checkpoints / "best.safetensors"]
        for home, name, first in numbered:
            for path in home.iterdir() if home.is_dir() else ():
                taken += [path] if (found := re.fullmatch(name, path.name)) and int(found[1]) >= first else []
        for path in taken:
            if path.is_dir() and not path.is_symlink():
                raise IsADirectoryError(errno.EISDIR, "is a folder in the place of a file; remove it", str(path))

    def _write_notes(self) -> None:
        "Remove what killed processes left, and write what was given to be kept beside the run."
        for home in self._homes():
            sweep(home)
        for name, data in self._notes.items():
            atomic_write(self.path / name, data, home=self.path)

    def begin(self) -> RunLog:
        """Cut the log of a resumed run back to its last checkpoint; of a new run it is as it should be.

        Until then nothing in the folder is changed: whatever may refuse it, `past` too, comes before."""
        if self._log is None:
            self._write_notes()
            self._log = RunLog(self.path, resume_count=self._kept)
        return self._log

    def _go_back(self) -> int:
        "Restore the last checkpoint; the number of events that belong to it."
        if not list_checkpoints(self.checkpoints):
            return 0
        newest = latest_checkpoint(self.checkpoints)
        tensors, meta = load_checkpoint(newest)
        check_about(meta, newest)
        # how many epochs are wanted is decided in config.json, see `with_epochs`
        check_same_run(meta, self.about, newest, (*FREE_TO_CHANGE, "epochs"))
        place(self.state.model, self.state.config)
        with _fitting(newest):
            events, step, epoch = (check_int(name, meta[name], low=0) for name in ("events", "step", "epoch"))
            self.state.restore(tensors, meta | {"step": step, "epoch": epoch})
        return events

    def past(self) -> "Iterable[Event]":
        "The events of the run up to the point at which it resumes, with a few of its snapshots; none in a new run."
        there = self._log is None and os.path.lexists(self.path / EVENTS)
        return read_chosen(self.path, _spread, self._kept) if there and self._kept else []

    def log(self, event: Event) -> None:
        "Write one event into the log."
        self._check_lock()
        self.begin()(event)

    def save(self) -> None:
        "Write a checkpoint of this consistent moment, and drop old ones; before the first step there is none."
        self.check()
        state = self.state
        if state.step == 0:
            return
        log_file = self.begin()
        meta = state.meta() | self.about | {"events": log_file.count}
        tensors = state.finite_tensors()
        log_file.sync()  # a checkpoint must not count on events that a power cut may still take away
        save_checkpoint(checkpoint_path(self.checkpoints, state.step), tensors, meta, home=self.path)
        prune_checkpoints(self.checkpoints, state.config.keep_last)

    def save_best(self, **figures) -> None:
        "Keep the weights as they are beside the last ones, with the figures for which they were chosen."
        weights = {f"model.{name}": value for name, value in self.state.model.state_dict().items()}
        save_checkpoint(self.checkpoints / "best.safetensors", weights, self.about | figures, home=self.path)

    @property
    def is_there(self) -> bool:
        "Whether the folder is the one in which the run began, still holds it, and is this process's own."
        there = _identity(self.path) == self._identity and (self.path / CONFIG).exists()
        return there and self._lock.is_mine()

    def _check_lock(self) -> None:
        "FolderGone, if another process took the run over: two of them would spoil it."
        if not self._lock.is_mine():
            text = f"the run's folder {str(self.path)!r} was taken over by another process, which continues the run"
            raise FolderGone(f"{text}, because this one gave no sign of life for {STALE:.0f} seconds")

    def check(self) -> None:
        "FolderGone, with the place where the state was saved instead, if the folder was moved or deleted."
        if self.is_there:
            return
        if _identity(self.path) == self._identity:
            self._check_lock()
        text = f"the run's folder {str(self.path)!r} is gone: it was moved or deleted while the run was in progress"
        kept = self._rescue()
        text += f". The network after step {self.state.step} is in {str(kept)!r} (load_run reads it)" if kept else ""
        raise FolderGone(f"{text}. If the folder was moved, resume the run in its new place")

    def _rescue(self) -> "Path | None":
        "A checkpoint outside the folder that is gone; None if there is nothing to save, or it cannot be saved."
        if self.state.step == 0:
            return None
        try:
            path = checkpoint_path(tempfile.mkdtemp(prefix="dcacn-rescued-"), self.state.step)
            meta = self.state.meta() | self.about | {"events": self._log.count if self._log else self._kept}
            return save_checkpoint(path, self.state.finite_tensors(), meta)
        except (OSError, RuntimeError) as error:  # also a network that is not finite
            log.warning("the network could not be saved elsewhere (%s)", error)
            return None

    def close(self) -> None:
        "Let other runs use the folder."
        self._lock.release()


@contextmanager
def given_back(folder: "RunFolder | None") -> "Iterator[None]":
    "Let other runs use the folder if what is done here fails, e.g. on a damaged log."
    try:
        yield
    except BaseException:
        if folder is not None:
            folder.close()
        raise


def _check_home(run_dir: Path, home: Path) -> None:
    "Refuse a folder that a run cannot write into: it is none, or leads elsewhere."
    if os.path.lexists(home) and not home.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder; remove it, and resume again", str(home))
    inside(run_dir, home / "x")


def _identity(path: Path) -> "tuple[int, int] | None":
    "Device and number of a folder; None if there is none."
    try:
        found = os.stat(path)
        return found.st_dev, found.st_ino
    except OSError:
        return None


def _spread(epochs: "Sequence[int]") -> "list[int]":
    "The places of at most REPLAYED snapshots, evenly spread, the first and the last among them."
    gaps = max(1, min(len(epochs), REPLAYED) - 1)
    return sorted({round(i * (len(epochs) - 1) / gaps) for i in range(gaps + 1)}) if len(epochs) else []


@contextmanager
def _fitting(path: Path) -> "Iterator[None]":
    "What a checkpoint that is whole, but not one of these settings or this version, does to its reader."
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, MemoryError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)[:500]
        raise CheckpointError(f"{path} does not hold a run as this version writes it: {why}") from error


def with_epochs(
    folder: "str | Path",  # a run folder
    epochs: int,  # at least those that are done
) -> "tuple[dict[str, bytes], int, int]":  # `notes` for the resumed run; epochs planned before, and epochs done
    "Let a run end after another number of epochs when it is resumed; what is done stays."
    about = read_about(folder)
    done = max((event.epoch for event in each_event(folder) if isinstance(event, EpochDone)), default=0)
    before = about["config"]["epochs"]
    about["config"]["epochs"] = check_int("epochs", epochs, low=max(1, done))
    return {CONFIG: json.dumps(about, indent=1).encode()}, before, done


def about_run(
    folder: "str | Path",  # a run folder, or one checkpoint file, in it or elsewhere
) -> dict:  # as `read_about` gives it
    "What a run says about itself in its config.json; without one, what its checkpoint says."
    path = user_path(folder)
    home = path
    if path.is_file():
        home = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    if os.path.lexists(home / CONFIG):
        return read_about(home)
    path = path if path.is_file() else latest_checkpoint(home / "checkpoints")
    return check_complete(load_checkpoint(path)[1] | {"protocol": None}, path)


def trained_shape(
    folder: "str | Path",  # a run folder, or one checkpoint file
    config: TrainConfig,  # the run's settings
) -> "tuple[int, int, int]":  # (C,H,W); a square where the folder does not say
    "The shape of the images that a run was trained on."
    height, width = about_run(folder)["protocol"].get("image_size", [config.image_size] * 2)
    return config.channels, height, width


def checkpoint_of(
    folder: "str | Path",  # a run folder, or one checkpoint file
    which: str = "last",  # "last", or "best" by the label-free score
) -> Path:
    "The file of the run's last network, or of the best one; a file is itself."
    check_in("which", which, ("last", "best"))
    if (path := user_path(folder)).is_file():
        return path
    kept = path / "checkpoints"
    return kept / "best.safetensors" if which == "best" else latest_checkpoint(kept)


def load_run(
    folder: "str | Path",  # a run folder, or one checkpoint file
    which: str = "last",  # "last", or "best" by the label-free score
    method: "Method | None" = None,  # needed only for your own method; those of this package are found by name
) -> "tuple[nn.Module, TrainConfig]":  # on the CPU; a ClusterNet, or a baseline's module with the same outputs
    "The trained network of a run in evaluation mode, and its settings."
    path = checkpoint_of(folder, which)
    tensors, meta = load_checkpoint(path)
    with _fitting(path):
        config = from_dict(meta["config"])
        chosen = method or find_method(meta["method"], **meta.get("options", {}))
        model = build_network(chosen, config)
        model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    place(model, replace(config, device="cpu"))  # the same memory layout gives the same bits
    return model.eval(), config
