"""Maps of features, made in a process of its own, and the order in which they are made."""

import io
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import dataclass, field

import numpy as np

from dcacn_nb.widgets.feed import Thinned


def next_map(
    method: str,  # "pca" or "tsne"
    h: np.ndarray,  # (N,D) features, N >= 3
    start: "np.ndarray | None" = None,  # (N,2) an earlier map of the same images; None: from scratch
    n_iter: "int | None" = None,  # steps of t-SNE; None: its own choice
) -> "tuple[np.ndarray, float | None]":  # (N,2) float32, zeros if all rows are alike; PCA: share of the variance
    "The map that goes on from `start`, in t-SNE's own unit: it can be the next one's start."
    from dcacn_nb.report.maps import MapSequence  # imported here: the helper process lowers its priority first

    sequence = MapSequence(method, start=start)
    shown = sequence.add(h, n_iter=n_iter)
    return (sequence.raw if shown.any() else shown), sequence.explained


def unit_map(points: np.ndarray) -> np.ndarray:
    "A map with a spread (root mean square distance from the centre) of 1."
    spread = float(np.sqrt((points.astype(np.float64) ** 2).sum(1).mean()))
    return points / spread if spread > 0 else np.zeros_like(points)


def quantised(
    points: np.ndarray,  # (N,2)
) -> "tuple[bytes, float]":  # N pairs of int16; what 32767 stands for
    "A map of spread 1, in four bytes a point."
    unit = unit_map(points)
    scale = float(np.abs(unit).max()) or 1.0
    return np.round(unit * (32767 / scale)).astype("<i2").tobytes(), scale


def _send(pipe, *parts: bytes) -> None:
    "Write frames: eight bytes of length, then the content."
    for part in parts:
        pipe.write(len(part).to_bytes(8, "little") + part)
    pipe.flush()


def _receive(pipe) -> bytes:
    "The content of the next frame; EOFError if there is none, or half of one."
    head = pipe.read(8)
    length = int.from_bytes(head, "little")
    body = pipe.read(length) if len(head) == 8 else b""
    if len(head) < 8 or len(body) < length:
        raise EOFError("the other end of the pipe is closed")
    return body


def _pack(array: "np.ndarray | None") -> bytes:
    "An array in NumPy's format; nothing for None."
    file = io.BytesIO()
    if array is not None:
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _unpack(data: bytes) -> "np.ndarray | None":
    "The inverse of `_pack`."
    return np.load(io.BytesIO(data), allow_pickle=False) if data else None


def _answer(request: "list[bytes]") -> "tuple[bytes, bytes]":
    "The reply to a request (settings, h, start): what went wrong or None, and the map."
    try:
        settings, h, start = json.loads(request[0]), _unpack(request[1]), _unpack(request[2])
        points, explained = next_map(settings["method"], h, start, settings["n_iter"])
        return json.dumps({"error": None, "explained": explained}).encode(), _pack(points)
    except Exception as error:  # it is raised again in the kernel
        return json.dumps({"error": str(error), "type": type(error).__name__}).encode(), b""


def _listen(pipe, requests: queue.SimpleQueue) -> None:
    "Take requests in until the kernel is gone; then end this process at once."
    try:
        while True:
            requests.put([_receive(pipe) for _ in range(3)])
    except (EOFError, OSError):
        os._exit(0)


def main() -> None:
    "What the helper process does."
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the Stop button means the kernel, not this
    if hasattr(os, "nice"):
        os.nice(15)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    while True:
        _send(replies, *_answer(requests.get()))


_COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dcacn_nb.widgets.projector import main; main()"
)
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def _end(process: subprocess.Popen) -> None:
    "Kill a helper and wait for its end."
    process.kill()
    process.wait()


class Projector:
    "Has maps made by a helper process of low priority. Its `map` waits for them, so call it from a thread that may wait."

    def __init__(self):
        self.process: subprocess.Popen | None = None
        self._one, self._closed, self._finalizer = threading.Lock(), False, None

    def map(
        self,
        method: str,  # "pca" or "tsne"
        h: np.ndarray,  # (N,D) features, N >= 3
        start: "np.ndarray | None" = None,  # (N,2) an earlier map of the same images; None: from scratch
        n_iter: "int | None" = None,  # steps of t-SNE; None: its own choice
    ) -> "tuple[np.ndarray, float | None]":  # as `next_map`
        "`next_map`, made by the helper. ValueError: these features have no map; RuntimeError: the helper did not live to answer."
        with self._one:
            process = self._running()
            try:
                _send(process.stdin, json.dumps({"method": method, "n_iter": n_iter}).encode(), _pack(h), _pack(start))
                reply, points = json.loads(_receive(process.stdout)), _receive(process.stdout)
            except (EOFError, OSError) as error:
                raise RuntimeError(f"the helper process for maps has ended: {self._last_words()}") from error
        if reply["error"] is not None:
            kind = {"ValueError": ValueError, "TypeError": TypeError}.get(reply["type"], RuntimeError)
            raise kind(reply["error"] if kind is not RuntimeError else f"{reply['type']}: {reply['error']}")
        return _unpack(points), reply["explained"]

    def _running(self) -> subprocess.Popen:
        "The helper, started if there is none."
        if self._closed:
            raise RuntimeError("this Projector is closed; make a new one")
        if self.process is None:
            self._errors = tempfile.TemporaryFile()
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _COMMAND, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env={**os.environ, **_ONE_THREAD},
                    start_new_session=os.name == "posix",
                )  # apart from the kernel's group: the Stop button does not reach it
            except OSError as error:
                raise RuntimeError(f"the helper process for maps could not be started: {error}") from error
            self._finalizer = weakref.finalize(self, _end, self.process)
        return self.process

    def _last_words(self) -> str:
        "Clear away a helper that has ended; the last line it wrote, or how it ended."
        self._finalizer()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        for file in (self._errors, self.process.stdout):
            file.close()
        code, self.process = self.process.returncode, None
        return lines[-1] if lines else f"exit code {code}"

    def rest(self) -> None:
        "End the helper until it is needed again."
        with self._one:
            if self.process is not None:
                self._last_words()

    def close(self) -> None:
        "End the helper at once, whatever it is doing."
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()
            with self._one:  # a call that waited for it has been told by now
                if self.process is not None:
                    self._last_words()


@dataclass(eq=False)
class Frame:
    "A snapshot and its maps."

    number: int  # of the snapshot in the run, from 0
    epoch: int
    h: "np.ndarray | None"  # (N,D) features, until they are no longer needed
    p: "np.ndarray | None"  # (N,K) assignments, likewise
    cluster: "np.ndarray | None" = None  # (N,) uint16
    confidence: "np.ndarray | None" = None  # (N,) float32, the largest p of each row
    maps: "dict[str, np.ndarray]" = field(default_factory=dict)  # method -> points (N,2)
    explained: "float | None" = None  # PCA: share of the variance
    failed: "set[str]" = field(default_factory=set)  # methods that have no map of these features

    def look(
        self,
        p: np.ndarray,  # (N,K) assignments
    ) -> None:
        "Note clusters and confidences."
        p = np.nan_to_num(p)
        self.cluster, self.confidence = p.argmax(1).astype(np.uint16), p.max(1).astype(np.float32)


def _bytes(frame: Frame) -> int:
    "Memory that a frame's features hold; every n-th row of a matrix holds the whole matrix."
    return sum((array if array.base is None else array.base).nbytes for array in (frame.h, frame.p))


class Film:
    "The snapshots of a run and their maps, in bounded memory; says which map is to be made next."

    def __init__(
        self,
        methods: "tuple[str, ...]" = ("pca", "tsne"),  # maps to make of a frame, in this order
        every: int = 1,  # t-SNE of every n-th snapshot only, >= 1
        limit: int = 200,  # frames kept, evenly spread, beside the newest
        budget: int = 128 << 20,  # bytes of features that may wait
    ):
        self.methods, self.every, self.budget = methods, every, budget
        self.frames, self.count, self.dropped = Thinned(limit), 0, 0

    def add(
        self,
        epoch: int,  # epochs done
        h: np.ndarray,  # (N,D) features; kept as they are, not copied
        p: np.ndarray,  # (N,K) assignments
    ) -> Frame:
        "Take in a snapshot."
        last = self.frames.last
        frame = Frame(self.count, epoch, h, p)
        self.frames.append(frame)
        self.count += 1
        if last is not None:
            self._release(last)
        self._thin()
        return frame

    def lacks(self, frame: Frame) -> "list[str]":
        "The maps that are to be made of a frame."
        due = [
            m
            for m in self.methods
            if m not in frame.maps and m not in frame.failed and (m != "tsne" or frame.number % self.every == 0)
        ]
        return due if frame.h is not None else []

    def _release(self, frame: Frame) -> None:
        "Let features go that no map needs; the newest frame's stay, in case another method is asked for."
        if frame is not self.frames.last and not self.lacks(frame):
            frame.h = frame.p = None

    def _thin(self) -> None:
        "Drop every second waiting frame, never the newest, until the rest fits."
        while True:
            waiting = [frame for frame in self.frames if frame is not self.frames.last and self.lacks(frame)]
            if not waiting or sum(map(_bytes, waiting)) <= self.budget:
                return
            for frame in waiting[len(waiting) % 2 == 0 :: 2]:
                frame.h = frame.p = None
                self.dropped += 1

    def job(self) -> "Frame | None":
        "The frame to make maps of next: the newest; then the middle of the widest gap; None if all is done."
        frames = list(self.frames)
        todo, made = [frame for frame in frames if self.lacks(frame)], [frame.number for frame in frames if frame.maps]
        if not todo or not made or todo[-1] is frames[-1]:
            return None if not todo else todo[-1] if made else todo[0]
        distance = np.abs(np.subtract.outer([frame.number for frame in todo], made)).min(1)
        return todo[int(distance.argmax())]

    def start(
        self,
        frame: Frame,  # about to get a map
        method: str,  # "pca" or "tsne"
    ) -> "tuple[np.ndarray | None, int | None]":  # where its map starts, and steps of t-SNE; None: from scratch
        "The map before it; or, between two, the place between them. Farther from them, more steps."
        placed = [
            other
            for other in self.frames
            if other is not frame and method in other.maps and np.ptp(other.maps[method]) > 0
        ]
        before = [other for other in placed if other.number < frame.number][-1:]
        after = [other for other in placed if other.number > frame.number][:1]
        near = before + after
        if not near:
            return None, None
        steps = 100 * min([3, *(abs(other.number - frame.number) for other in near)])
        w = (frame.number - near[0].number) / (near[-1].number - near[0].number) if len(near) == 2 else 0
        return (1 - w) * near[0].maps[method] + w * near[-1].maps[method], steps

    def place(
        self,
        frame: Frame,  # of this film
        method: str,  # "pca" or "tsne"
        points: "np.ndarray | None",  # (N,2); None: there is no map of these features
        explained: "float | None" = None,  # PCA: share of the variance
    ) -> None:
        "Note a map that has been made."
        if points is None:
            frame.failed.add(method)
        else:
            frame.maps[method] = points
            frame.explained = explained if method == "pca" else frame.explained
        self._release(frame)

    def shown(self, method: str) -> "list[Frame]":
        "The frames that have a map, in the order of the run."
        return [frame for frame in self.frames if method in frame.maps]

    @property
    def waiting(self) -> int:
        "How many frames still lack a map."
        return sum(bool(self.lacks(frame)) for frame in self.frames)
