"""One driver that listens, saves, pauses, stops and resumes, and knows nothing of how training works."""

import asyncio
import contextlib
import ctypes
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info
from torch import Tensor

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import Evaluated, Event, RunFinished, RunStarted
from dcacn_nb.method.step import TrainState, encode
from dcacn_nb.runs.folder import RunFolder
from dcacn_nb.runs.log import tell

log = logging.getLogger(__name__)


@lru_cache(1)
def _openmp() -> "list[ctypes.CDLL]":
    "The copies of GNU's OpenMP that were loaded by the time of the first call and can give threads back (those of GCC 9 and later)."
    copies = [ctypes.CDLL(library["filepath"]) for library in threadpool_info() if library["prefix"] == "libgomp"]
    return [copy for copy in copies if hasattr(copy, "omp_pause_resource_all")]


def release_threads() -> None:
    "Give back the OpenMP threads which the calling thread keeps from earlier computations (OpenMP 5.0, omp_pause_soft)."
    for library in _openmp():
        library.omp_pause_resource_all(1)


def _release_after_cells(run: "Run") -> None:
    "In a notebook, do so after every cell and every message of a widget, until the run has ended."
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return

    def release():
        release_threads()
        if run._done.is_set():
            shell.events.unregister("post_execute", release)

    shell.events.register("post_execute", release)


class Run:
    "A training run: what `fit` returns. Awaitable; `pause`, `resume` and `stop` may be called from any thread."

    def __init__(
        self,
        steps: "Generator[Event | None]",  # the training, a generator: events, and None at every consistent moment
        state: TrainState,  # what the training changes
        images: Tensor,  # (N,C,H,W) uint8, what is clustered
        folder: "RunFolder | None" = None,  # where log and checkpoints go; closed at the end
        observers: "Sequence[Callable[[Event], None]]" = (),  # each is called with every event, those of a resumed run's past included
        labels: "np.ndarray | None" = None,  # (N,) classes, kept for whoever shows the run
        report: "Callable[[Path], object] | None" = None,  # called with the run's folder once every observer knows that the run has ended
    ):
        self.images, self.labels, self.state, self.model, self.config = images, labels, state, state.model, state.config
        self.folder = folder.path if folder else None
        self.status = "ready"  # ready, running, paused, completed, stopped, interrupted, failed
        self.error: "BaseException | None" = None  # what a failed run failed of
        self.health: dict = {}  # label-free figures of the last evaluation
        self.scores: "dict | None" = None  # ACC, NMI, ARI of the last evaluation, if labels were given
        self._steps, self._disk, self._observers, self._thread, self._write_report = (
            steps,
            folder,
            list(observers),
            None,
            report,
        )
        self._begun = threading.Lock()  # taken by whoever starts the run, and never given back: nobody starts it twice
        self._go, self._stop, self._done = threading.Event(), "", threading.Event()
        self._go.set()
        self._best, self._saved = -math.inf, time.monotonic()
        self._start: "RunStarted | None" = None  # for observers that come later
        self._end: "RunFinished | None" = None
        self._telling = (
            threading.RLock()
        )  # nobody subscribes in the middle of an event, but for an observer that is hearing it
        self._replay()

    def _replay(self) -> None:
        "Every observer hears the events of a resumed run so far."
        if self._disk is None:
            return
        try:
            for event in self._disk.past():
                self._note(event)
                tell(self._observers, event)
        except BaseException:  # e.g. a damaged log: the folder must not stay locked
            self._disk.close()
            raise

    # ---- what a user sees and does
    def start(self) -> "Run":
        "Begin training in a daemon thread, if that has not been done; returns at once."
        if self._begun.acquire(blocking=False):
            release_threads()
            _release_after_cells(self)
            self._thread = threading.Thread(target=self._drive, name="dcacn-train", daemon=True)
            self._thread.start()
        return self

    def drive(self) -> "Run":
        "Train here and return at the end. Ctrl-C ends the run after the step under way, and is raised then."
        if not self._begun.acquire(blocking=False):
            raise RuntimeError("this run has been started already; wait() waits for its end")
        with _interruptible(self):
            self._drive()
        if self.status == "interrupted":
            raise KeyboardInterrupt(
                f"stopped at step {self.state.step}"
                + (f"; go on with resume=True, run_dir={str(self.folder)!r}" if self.folder else "")
            )
        return self.wait()

    def subscribe(self, observer: "Callable[[Event], None]") -> None:
        "Hand `observer` every event from now on, after RunStarted if that has passed. All events so far are in the run's folder, if it has one."
        with self._telling:
            new = [observer]  # empty once it has raised
            for passed in (self._start, self._end):
                if passed is not None:
                    tell(new, passed)
            self._observers += new

    def unsubscribe(self, observer: "Callable[[Event], None]") -> None:
        "Hand `observer` no more events; nothing happens if it gets none."
        with self._telling:
            if observer in self._observers:
                self._observers.remove(observer)

    @property
    def asked(self) -> str:
        'What was asked for and may not have happened yet: "pause", "stop" or nothing.'
        return "stop" if self._stop else "" if self._go.is_set() else "pause"

    def pause(self) -> None:
        "Hold after the step under way, with a checkpoint if the run has a folder. Too late once it is to stop."
        if not self._stop:
            self._go.clear()

    def resume(self) -> None:
        "Go on after a pause."
        self._go.set()

    def stop(self, reason: str = "stopped") -> None:
        "End after the step under way, with a checkpoint if the run has a folder; a run that was never started ends before its first step."
        self._stop = check_in("reason", reason, ("stopped", "interrupted"))
        self._go.set()
        self.start()

    def wait(self, timeout: "float | None" = None) -> "Run":
        "Block until the run has ended (or `timeout` seconds); a failed run raises its error here. In a notebook, `await run` instead: it also waits for the button that starts the run."
        if not self._begun.locked():
            raise RuntimeError("this run has not been started; start() or drive() does that")
        try:
            self._done.wait(timeout)
        except KeyboardInterrupt:
            self.stop("interrupted")
            self._done.wait()
            raise
        if self.error is not None:
            raise self.error
        return self

    def __await__(self):
        return self._watch().__await__()

    async def _watch(self) -> "Run":
        "Wait for the end, before it for somebody to start the run; whoever cancels this, as `asyncio.wait_for` does when its time is up, stops the run."
        try:
            while not self._done.is_set():
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:  # the kernel was interrupted
            self.stop("interrupted")
            self._done.wait()
            raise
        return self.wait()

    @property
    def probabilities(self) -> Tensor:
        "(N,K) soft assignments of all images: by the network as it is; while the run goes on, as of its last evaluation."
        state = self.state
        if self._done.is_set() and state.assigned_at != state.step:
            state.probabilities, state.assigned_at = encode(self.model, self.images, self.config), state.step
        if state.probabilities is None:
            raise RuntimeError(
                f"the run has not evaluated yet (step {state.step}); try again after its first Evaluated event"
            )
        return state.probabilities

    @property
    def assignments(self) -> np.ndarray:
        "(N,) the cluster of every image: the argmax of the cluster head."
        return self.probabilities.argmax(1).numpy()

    def __repr__(self):
        parts = [f"{self.status}: epoch {self.state.epoch}/{self.config.epochs}, step {self.state.step}"]
        parts += [" ".join(f"{name.upper()} {value:.3f}" for name, value in self.scores.items())] if self.scores else []
        parts += [f"in {str(self.folder)!r}"] if self.folder else []
        parts += [f"{type(self.error).__name__}: {self.error}"] if self.error else []
        return f"<Run {', '.join(parts)}>"

    # ---- how it runs
    def _drive(self) -> None:
        "Drive the generator to its end, whatever happens on the way. The one place that cleans up."
        started, reason, message = time.perf_counter(), "failed", ""
        self.status = "running"
        try:
            with contextlib.closing(self._steps):
                reason = self._follow()
                self._save()
        except BaseException as error:
            reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.error, message = error, f"{type(error).__name__}: {error}"
            if self._thread is not None:  # nobody may ever wait for it
                log.error("the run failed at step %d: %s", self.state.step, message)
        finally:
            try:
                self.model.eval()
                self._finish(
                    RunFinished(
                        reason, self.state.step, self.state.epoch, message, seconds=time.perf_counter() - started
                    )
                )
            finally:
                self._done.set()

    def _follow(self) -> str:
        "Take what the generator yields: hand events on, and at each None pause, stop or save. Returns why it ended."
        for event in self._steps:
            if event is None:
                if self._stopped():
                    return self._stop
                if time.monotonic() - self._saved >= self.config.checkpoint_seconds:
                    self._save()
            elif not isinstance(event, RunFinished):  # that one comes last, from `_finish`
                self._tell(event)
        return "completed"

    def _stopped(self) -> bool:
        "Hold while paused; then, whether the run is to end."
        if not self._go.is_set() and not self._stop:
            self._save()  # who pauses may be about to leave
            self.status, held = "paused", time.perf_counter()
            self._go.wait()
            (since, step), held = self.state.clock, time.perf_counter() - held
            self.status, self.state.clock, self.state.epoch_began = (
                "running",
                (since + held, step),
                self.state.epoch_began + held,
            )  # a pause is not slowness
        return bool(self._stop)

    def _tell(self, event: Event) -> None:
        "Keep the best weights, write the event, then hand it to every observer."
        if isinstance(event, Evaluated):
            self._keep_best(event)
        if self._disk:
            self._disk.log(event)
        with self._telling:
            self._note(event)
            tell(self._observers, event)

    def _note(self, event: Event) -> None:
        "Remember how the run started, and the figures of its last evaluation. The untrained network (epoch 0) never counts as the best."
        if isinstance(event, RunStarted):
            self._start = event
        if isinstance(event, Evaluated):
            self.health, self.scores = event.health, event.scores
            if event.epoch:
                self._best = max(self._best, _score(event))

    def _save(self) -> None:
        "Write a checkpoint of this consistent moment."
        self._saved = time.monotonic()
        if self._disk:
            self._disk.save()

    def _keep_best(self, event: Evaluated) -> None:
        "Keep the weights with the highest label-free score beside the last ones."
        score = _score(event)
        if self._disk and event.epoch and score > self._best:
            self._disk.save_best(step=event.step, epoch=event.epoch, view_information=score)

    def _finish(self, event: RunFinished) -> None:
        "The last event, the report, the lock: none of them can lose what the run has done."
        self.status = event.reason
        try:
            self._log_end(event)
            with self._telling:
                self._end = event
                tell(self._observers, event)
            self._report(event)
        finally:  # also if a Ctrl-C comes in between
            if self._disk:
                self._disk.close()

    def _log_end(self, event: RunFinished) -> None:
        "Write the last event."
        try:
            if self._disk:
                self._disk.log(event)
        except Exception:
            log.exception("the end of the run could not be written into its log")

    def _report(self, event: RunFinished) -> None:
        "Write the report; who presses Ctrl-C does not want to wait for pictures."
        try:
            if self._disk and self._write_report and event.reason != "interrupted":
                self._write_report(self.folder)
        except Exception:
            log.exception(
                "the run is %s, but its report could not be written; write_report(%r) tries again",
                event.reason,
                str(self.folder),
            )


def _score(event: Evaluated) -> float:
    "The label-free figure the best weights are kept by; of a training that does not tell it, no weights are kept."
    score = event.health.get("view_information", -math.inf)
    return -math.inf if math.isnan(score) else score


class _interruptible:
    "In the main thread, Ctrl-C asks the run to stop after its step; a second Ctrl-C does what it always does."

    def __init__(self, run: Run):
        self.run, self.main = run, threading.current_thread() is threading.main_thread()

    def __enter__(self):
        if self.main:
            self.before = signal.signal(signal.SIGINT, self._interrupt) or signal.SIG_DFL

    def _interrupt(self, *_):
        signal.signal(signal.SIGINT, self.before)
        self.run.stop("interrupted")

    def __exit__(self, *_):
        if self.main:
            signal.signal(signal.SIGINT, self.before)
