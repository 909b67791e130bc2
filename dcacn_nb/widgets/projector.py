"""Maps of features: made in a helper process, and in which order."""

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

import numpy as np


def next_map(
    method: str,  # "pca" or "tsne"
    h: np.ndarray,  # (N,D) features, N >= 3
    start: "np.ndarray | None" = None,  # (N,2) an earlier map of the same images; None: from scratch
    n_iter: "int | None" = None,  # steps of t-SNE; None: its own choice
    fitted: "int | None" = None,  # rows that t-SNE is fitted to at most, the others placed among them; None: all
) -> "tuple[np.ndarray, float | None]":  # (N,2) float32, zeros if all rows are alike; PCA: share of the variance
    "One map, computed from `start`. It is in t-SNE's own unit, so that it can be the next start."
    from dcacn_nb.report.maps import MapSequence  # imported here: the helper process lowers its priority first

    sequence = MapSequence(method, start=start, fitted=fitted)
    shown = sequence.add(h, n_iter=n_iter)
    return (sequence.raw if shown.any() else shown), sequence.explained


def unit_map(points: np.ndarray) -> np.ndarray:
    "The map scaled to a spread (root mean square distance from the centre) of 1."
    spread = float(np.sqrt((points.astype(np.float64) ** 2).sum(1).mean()))
    return points / spread if spread > 0 else np.zeros_like(points)


def quantised(
    points: np.ndarray,  # (N,2)
) -> "tuple[bytes, float]":  # N pairs of int16; the coordinate that 32767 means
    "A map of spread 1, in four bytes per point."
    unit = unit_map(points)
    scale = float(np.abs(unit).max()) or 1.0
    return np.round(unit * (32767 / scale)).astype("<i2").tobytes(), scale


def _send(pipe, *parts: bytes) -> None:
    "Write frames: eight bytes of length, then the content."
    for part in parts:
        pipe.write(len(part).to_bytes(8, "little") + part)
    pipe.flush()


def _receive(pipe) -> bytes:
    "The content of the next frame; EOFError if there is none or only a part of it."
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
    "The reply to a request (settings, h, start): the error or None, and the map."
    try:
        settings, h, start = json.loads(request[0]), _unpack(request[1]), _unpack(request[2])
        points, explained = next_map(settings.pop("method"), h, start, **settings)
        return json.dumps({"error": None, "explained": explained}).encode(), _pack(points)
    except Exception as error:  # raised again in the kernel
        return json.dumps({"error": str(error), "type": type(error).__name__}).encode(), b""


def _listen(pipe, requests: queue.SimpleQueue) -> None:
    "Receive requests until the kernel is gone; then end this process at once."
    try:
        while True:
            requests.put([_receive(pipe) for _ in range(3)])
    except (EOFError, OSError):
        os._exit(0)


def main() -> None:
    "The work of the helper process."
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the Stop button is for the kernel, not for this process
    if hasattr(os, "nice"):
        os.nice(10)  # training goes first; beside two busy threads a map still takes its tenth of a core
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
    "Makes maps in a helper process of low priority. `map` blocks until one is ready: call it from a thread."

    def __init__(self):
        self.process: subprocess.Popen | None = None
        self._one, self._closed, self._finalizer = threading.Lock(), False, None

    def map(
        self,
        method: str,  # "pca" or "tsne"
        h: np.ndarray,  # (N,D) features, N >= 3
        start: "np.ndarray | None" = None,  # (N,2) an earlier map of the same images; None: from scratch
        n_iter: "int | None" = None,  # steps of t-SNE; None: its own choice
        fitted: "int | None" = None,  # rows that t-SNE is fitted to at most
    ) -> "tuple[np.ndarray, float | None]":  # as `next_map`
        "`next_map` in the helper. ValueError: these features have no map; RuntimeError: the helper ended."
        with self._one:
            process = self._running()
            try:
                settings = json.dumps({"method": method, "n_iter": n_iter, "fitted": fitted}).encode()
                _send(process.stdin, settings, _pack(h), _pack(start))
                reply, points = json.loads(_receive(process.stdout)), _receive(process.stdout)
            except (EOFError, OSError) as error:
                raise RuntimeError(f"the helper process for maps has ended: {self._last_output()}") from error
        if reply["error"] is not None:
            kind = {"ValueError": ValueError, "TypeError": TypeError}.get(reply["type"], RuntimeError)
            raise kind(reply["error"] if kind is not RuntimeError else f"{reply['type']}: {reply['error']}")
        return _unpack(points), reply["explained"]

    def _running(self) -> subprocess.Popen:
        "The helper, started if there is none."
        if self._closed:
            raise RuntimeError("this Projector is closed; make a new one")
        if self.process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - stays open as long as the helper
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _COMMAND, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    env={**os.environ, **_ONE_THREAD},
                    start_new_session=os.name == "posix",
                )  # outside the kernel's group, so that the Stop button does not reach it
            except OSError as error:
                raise RuntimeError(f"the helper process for maps could not be started: {error}") from error
            self._finalizer = weakref.finalize(self, _end, self.process)
        return self.process

    def _last_output(self) -> str:
        "Clean up after a helper that has ended; the last line it wrote, or its exit code."
        self._finalizer()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        for file in (self._errors, self.process.stdout):
            file.close()
        code, self.process = self.process.returncode, None
        return lines[-1] if lines else f"exit code {code}"

    def rest(self) -> None:
        "End the helper; the next map starts another one."
        with self._one:
            if self.process is not None:
                self._last_output()

    def close(self) -> None:
        "End the helper at once, even in the middle of a map."
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()
            with self._one:  # a call that waited for it has raised its error by now
                if self.process is not None:
                    self._last_output()
