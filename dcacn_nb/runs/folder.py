"""Settings, events and checkpoints: what a run keeps on the disk, so that it may be killed at any instant and resumed.

| file | holds |
|---|---|
| `config.json` | the method with its options, the settings, a fingerprint of the images, and where they come from |
| `events.jsonl`, `snapshots/` | everything that happened, one event per line |
| `checkpoints/step_00001234.safetensors` | the state after 1,234 steps; the last `keep_last` are kept |
| `checkpoints/best.safetensors` | the weights with the best label-free score |
| `report.html` | the run as one page |
| `.lock` | nothing; it is held while a run is in progress |

A checkpoint knows how many events were written before it. A kill leaves a log that is longer than the last checkpoint:
on resuming it is cut back to that number, and what follows is computed and reported again."""

import dataclasses
import hashlib
import json
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from dcacn_nb.baselines import find_method
from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Event
from dcacn_nb.core.files import Busy, atomic_write, lock
from dcacn_nb.method.config import TrainConfig, from_dict
from dcacn_nb.method.step import Method, TrainState, place
from dcacn_nb.runs.checkpoint import (
    checkpoint_path,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from dcacn_nb.runs.log import RunLog, read_events


class FolderInUse(RuntimeError):
    "A run that has not ended holds the folder."


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
    *image_sets: "Tensor | None",  # (N,C,H,W) uint8 each: all that is trained on
) -> dict:  # method, options, config, fingerprint
    "What identifies a run: it can be resumed only where this is the same."
    return {
        "method": method.name,
        "options": method.options,
        "config": dataclasses.asdict(config),
        "fingerprint": fingerprint(*image_sets),
    }


def check_same_run(
    before: dict,  # of the run: its config.json, or the meta data of a checkpoint
    now: dict,  # describe_run(...) of what is to resume it
    where: Path,  # where `before` was read, for the message
) -> None:
    "Refuse to resume with another method, other settings or other images, listing each difference."
    now = json.loads(json.dumps(now))  # tuples become lists, as in the file
    old, new = before.get("config", {}), now["config"]
    changed = [
        f"{k}: {old.get(k)!r} in the run, {new.get(k)!r} now"
        for k in sorted(old.keys() | new.keys())
        if k not in FREE_TO_CHANGE and old.get(k) != new.get(k)
    ]
    for part, missing in (("options", {}), ("method", None)):  # runs of earlier versions have no options
        if before.get(part, missing) != now[part]:
            changed.insert(0, f"{part}: {before.get(part, missing)!r} in the run, {now[part]!r} now")
    if before.get("fingerprint") != now["fingerprint"]:
        changed.append("images: not the ones the run was started with")
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
    ):
        self.path, self.state, self.about = Path(path), state, about
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self.path / ".lock")  # two runs in one folder would spoil each other
        except Busy:
            text = f"run_dir {str(path)!r} is in use by a run that has not ended; stop that one first"
            raise FolderInUse(f"{text}, or choose another folder") from None
        except OSError as error:
            text = f"run_dir cannot be written to ({error.strerror}); choose another folder"
            raise OSError(error.errno, text, str(path)) from error
        try:
            self.log = self._open(protocol or {}, resume)
        except BaseException:
            self.close()
            raise

    def _open(self, protocol: dict, resume: bool) -> RunLog:
        "The log of a new run, or that of the old one, cut back to its last checkpoint."
        about = self.path / "config.json"
        if not about.exists():
            for stray in self.path.glob(".config.json.*.tmp"):  # of a start that was killed here
                stray.unlink(missing_ok=True)
            new = RunLog(self.path)
            atomic_write(about, json.dumps(self.about | {"protocol": protocol}, indent=1, default=str).encode())
            return new
        if not resume:
            text = f"run_dir {str(self.path)!r} already holds a run"
            raise FileExistsError(f"{text}; resume it with resume=True, or choose another folder")
        check_same_run(read_about(self.path), self.about, self.path)
        return RunLog(self.path, resume_count=self._go_back())

    def _go_back(self) -> int:
        "Restore the last checkpoint; the number of events that belong to it."
        if not list_checkpoints(self.path / "checkpoints"):
            return 0
        newest = latest_checkpoint(self.path / "checkpoints")
        tensors, meta = load_checkpoint(newest)
        check_same_run(meta, self.about, newest)
        place(self.state.model, self.state.config)
        self.state.restore(tensors, meta)
        return meta["events"]

    def past(self) -> "list[Event]":
        "The events of the run up to the point at which it resumes; none in a new run."
        return read_events(self.path) if self.log.count else []

    def save(self) -> None:
        "Write a checkpoint of this consistent moment, and drop old ones; before the first step there is none."
        state = self.state
        if state.step == 0:
            return
        meta = state.meta() | self.about | {"events": self.log.count}
        save_checkpoint(checkpoint_path(self.path / "checkpoints", state.step), state.finite_tensors(), meta)
        prune_checkpoints(self.path / "checkpoints", state.config.keep_last)

    def save_best(self, **figures) -> None:
        "Keep the weights as they are beside the last ones, with the figures for which they were chosen."
        weights = {f"model.{name}": value for name, value in self.state.model.state_dict().items()}
        save_checkpoint(self.path / "checkpoints" / "best.safetensors", weights, self.about | figures)

    def close(self) -> None:
        "Let other runs use the folder."
        self._lock.release()


def read_about(
    folder: "str | Path",  # a run folder
) -> dict:  # method, options, config, fingerprint, protocol
    "A run's config.json."
    path = Path(folder) / "config.json"
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        text = f"{str(path)!r} is damaged ({error}); restore it, or start again in another folder"
        raise ValueError(text) from None


def trained_shape(
    folder: "str | Path",  # a run folder, or one checkpoint file in it
    config: TrainConfig,  # the run's settings
) -> "tuple[int, int, int]":  # (C,H,W); a square where the folder does not say
    "The shape of the images that a run was trained on."
    folder = Path(folder)
    folder = folder.parent.parent if folder.is_file() else folder
    protocol = read_about(folder)["protocol"] if (folder / "config.json").exists() else {}
    height, width = protocol.get("image_size", [config.image_size] * 2)
    return config.channels, height, width


def load_run(
    folder: "str | Path",  # a run folder, or one checkpoint file
    which: str = "last",  # "last", or "best" by the label-free score
    method: "Method | None" = None,  # needed only for your own method; those of this package are found by name
) -> "tuple[nn.Module, TrainConfig]":  # on the CPU; a ClusterNet, or a baseline's module with the same outputs
    "The trained network of a run in evaluation mode, and its settings."
    check_in("which", which, ("last", "best"))
    path = Path(folder)
    if not path.is_file():
        kept = path / "checkpoints"
        path = kept / "best.safetensors" if which == "best" else latest_checkpoint(kept)
    tensors, meta = load_checkpoint(path)
    config = from_dict(meta["config"])
    model = (method or find_method(meta["method"], **meta.get("options", {}))).network(config)
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    place(model, replace(config, device="cpu"))  # the same memory layout gives the same bits
    return model.eval(), config
