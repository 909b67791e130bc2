"""One driver that logs, saves, pauses, stops and resumes, and knows nothing of how training works.

Training is a generator: it yields an event where there is something to report, and None at every moment at which
nothing is half done. Only there, between two steps, does the driver act: it may save, hold for an hour, or end."""

import asyncio
import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from dcacn_nb.core.checks import check_in
from dcacn_nb.core.events import REASONS, Evaluated, Event, RunFinished, RunStarted
from dcacn_nb.core.text import logger
from dcacn_nb.method.step import TrainState, encode
from dcacn_nb.runs.folder import FolderGone, RunFolder, given_back
from dcacn_nb.runs.log import notify
from dcacn_nb.runs.threads import Neighbours, release_after_cells, release_threads
from dcacn_nb.runs.together import agree

log = logger(__name__)
STILL_HOLDING = 60.0  # seconds after which a run that is paused tells its other processes so


class Run:
    "A training run: what `fit` returns. Awaitable; `pause`, `resume` and `stop` may be called from any thread."

    def __init__(
        self,
        steps: "Generator[Event | None]",  # the training: events, and None at every consistent moment
        state: TrainState,  # what the training changes
        images: Tensor,  # (N,C,H,W) uint8 or features (N,D): what is clustered
        folder: "RunFolder | None" = None,  # where log and checkpoints go; closed at the end
        observers: "Sequence[Callable[[Event], None]]" = (),  # each gets every event, a resumed run's earlier ones too
        labels: "np.ndarray | None" = None,  # (N,) classes, kept for what shows the run
        report: "Callable[[Run], object] | None" = None,  # called at the very end, if there is a folder
        source: object = None,  # the ImageSet or FeatureSet: paths and pictures for what shows the run
    ):
        self.source = images if source is None else source
        self.images, self.labels, self.state, self.model, self.config = images, labels, state, state.model, state.config
        self.folder: Path | None = folder.path if folder else None
        self.status = "ready"  # ready, running, paused, completed, stopped, interrupted, failed
        self.error: BaseException | None = None  # why a failed run failed
        self.health: dict = {}  # label-free figures of the last evaluation
        self.scores: dict | None = None  # ACC, NMI, ARI of the last evaluation, if labels were given
        self._steps, self._disk, self._observers, self._write_report = steps, folder, list(observers), report
        self._thread: threading.Thread | None = None
        self._begun = threading.Lock()  # taken by the call that starts the run, never released: it starts once
        self._go, self._stop, self._done = threading.Event(), "", threading.Event()
        self._go.set()
        self._best, self._saved = -math.inf, time.monotonic()
        self._first: RunStarted | None = None  # for observers that subscribe later
        self._last: RunFinished | None = None
        self._notifying = threading.RLock()  # no thread subscribes in the middle of an event
        self._replay()

    def _replay(self) -> None:
        "Give every observer the events of a resumed run so far."
        if self._disk is None:
            return
        with given_back(self._disk):
            for event in self._disk.past():
                self._note(event)
                notify(self._observers, event)
            self._disk.begin()

    # ---- what a user sees and does
    def start(self) -> "Run":
        "Begin training in a daemon thread, if it has not begun; returns at once."
        if self._begun.acquire(blocking=False):
            release_threads()
            release_after_cells(self._done.is_set)
            self._thread = threading.Thread(target=self._drive, name="dcacn-train", daemon=True)
            self._thread.start()
        return self

    def drive(self) -> "Run":
        "Train here and return at the end. Ctrl-C ends the run after the step in progress, and is raised then."
        if not self._begun.acquire(blocking=False):
            raise RuntimeError("this run has already been started; wait() waits for its end")
        with _stop_on_ctrl_c(self):
            self._drive()
        if self.status == "interrupted":
            raise self._interrupted(KeyboardInterrupt())
        return self.wait()

    def subscribe(self, observer: "Callable[[Event], None]") -> None:
        "Give `observer` every event from now on, after RunStarted if that has passed; earlier ones are in the folder."
        with self._notifying:
            new = [observer]  # empty once it has raised
            for passed in (self._first, self._last):
                if passed is not None:
                    notify(new, passed)
            self._observers += new

    def unsubscribe(self, observer: "Callable[[Event], None]") -> None:
        "Give `observer` no more events; does nothing if it gets none."
        with self._notifying:
            if observer in self._observers:
                self._observers.remove(observer)

    @property
    def asked(self) -> str:
        'What was asked for and may not have happened yet: "pause", "stop" or nothing.'
        return "stop" if self._stop else "" if self._go.is_set() else "pause"

    def pause(self) -> None:
        "Hold after the step in progress, with a checkpoint if the run has a folder. Too late once it is to stop."
        if not self._stop:
            self._go.clear()

    def resume(self) -> None:
        "Continue after a pause."
        self._go.set()

    def stop(self, reason: str = "stopped") -> None:
        "End after the step in progress, with a checkpoint if there is a folder; before the first step if not started."
        check_in("reason", reason, ("stopped", "interrupted"))
        self._stop = reason
        self._go.set()
        self.start()

    def wait(self, timeout: "float | None" = None) -> "Run":
        """Block until the run has ended (or `timeout` seconds); a failed run raises its error here.

        In a notebook, `await run` instead: widgets stay alive, and it also waits for a button that starts the run."""
        if not self._begun.locked():
            raise RuntimeError("this run has not been started; start() or drive() does that")
        with _stop_on_ctrl_c(self) as pressed:
            self._done.wait(timeout)
            if pressed:
                self._done.wait()  # the step in progress, and its checkpoint
        if self.error is not None:
            raise self.error
        if pressed:
            raise self._interrupted(KeyboardInterrupt())
        return self

    def __await__(self):
        return self._watch().__await__()

    async def _watch(self) -> "Run":
        "Wait for the start and for the end. Cancelling this wait stops the run, as `asyncio.wait_for` does."
        try:
            while not self._done.is_set():
                await asyncio.sleep(0.05)
        except asyncio.CancelledError as cancelled:  # the kernel was interrupted
            self.stop("interrupted")
            while not self._done.is_set():  # the step in progress; a second interrupt ends the waiting
                await asyncio.sleep(0.05)
            self._interrupted(cancelled)
            raise
        return self.wait()

    def _interrupted(self, error: BaseException) -> BaseException:
        "`error`, saying how to resume; a notebook shows that one sentence instead of a traceback."
        where, step, stopped = self.folder, self.state.step, self.status == "interrupted"
        sentence = f"The run was stopped at step {step}" if stopped else f"Interrupted; the run is {self.status}"
        if where and self.status != "completed":
            sentence += f"; to resume it, call fit again with resume=True, run_dir={str(where)!r}"
        elif stopped:
            sentence += "; it has no folder to resume from: pass run_dir= next time"
        error.args = (sentence,)
        error._render_traceback_ = lambda: [sentence]  # type: ignore[attr-defined]  # IPython asks for it
        return error

    @property
    def probabilities(self) -> Tensor:
        "(N,K) soft assignments of all images by the network as it is; before the end, as of its last evaluation."
        state = self.state
        if self.status in REASONS and state.assigned_at != state.step:  # over: nothing changes the network any more
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
            self.error = error = self._without_folder(error)
            message = f"{type(error).__name__}: {error}"
            if self._thread is not None:  # nothing may ever wait for this run
                log.error("the run failed at step %d: %s", self.state.step, message)
        finally:
            try:
                self.model.eval()
                seconds = time.perf_counter() - started
                self._finish(RunFinished(reason, self.state.step, self.state.epoch, message, seconds=seconds))
            finally:
                self._done.set()

    def _without_folder(self, error: BaseException) -> BaseException:
        "FolderGone, if a file could not be written because the folder is not there any more; else the error itself."
        try:
            if self._disk and isinstance(error, OSError):
                self._disk.check()
        except FolderGone as gone:
            return gone
        return error

    def _follow(self) -> str:
        "Take what the generator yields: pass events on, and at each None pause, stop or save. Returns why it ended."
        with Neighbours():
            for event in self._steps:
                if event is None:
                    if self._stopped():
                        return self._stop
                    if time.monotonic() - self._saved >= self.config.checkpoint_seconds:
                        self._save()
                elif not isinstance(event, RunFinished):  # that one comes last, from `_finish`
                    self._pass_on(event)
        return "completed"

    def _stopped(self) -> bool:
        "Hold while paused; then, whether the run is to end. Several processes decide it together."
        if not self._go.is_set() and not self._stop:
            self._save()  # the process may be about to be closed
            self.status, began = "paused", time.perf_counter()
            while not self._go.wait(STILL_HOLDING):
                if (asked := agree("pause")) != "pause":
                    self.stop(asked)
            held = time.perf_counter() - began
            since, step = self.state.clock
            self.status = "running"
            self.state.clock = (since + held, step)  # a pause is not slowness
            self.state.epoch_began += held
        self._stop = agree(self._stop)
        return bool(self._stop)

    def _pass_on(self, event: Event) -> None:
        "Keep the best weights, write the event into the log, then give it to every observer."
        if isinstance(event, Evaluated):
            self._keep_best(event)
        if self._disk:
            self._disk.log(event)
        with self._notifying:
            self._note(event)
            notify(self._observers, event)

    def _note(self, event: Event) -> None:
        "Remember the start and the last evaluation. The untrained network (epoch 0) never counts as the best."
        if isinstance(event, RunStarted):
            self._first = event
        if isinstance(event, Evaluated):
            self.health, self.scores = event.health, event.scores
            if event.epoch:
                self._best = max(self._best, label_free_score(event))

    def _save(self) -> None:
        "Write a checkpoint of this consistent moment."
        self._saved = time.monotonic()
        if self._disk:
            self._disk.save()

    def _keep_best(self, event: Evaluated) -> None:
        "Keep the weights with the highest label-free score beside the last ones."
        score = label_free_score(event)
        if self._disk and event.epoch and score > self._best:
            self._disk.save_best(step=event.step, epoch=event.epoch, view_information=score)

    def _finish(self, event: RunFinished) -> None:
        "The last event, the report, the lock: none of them can lose what the run has done."
        self.status = event.reason
        try:
            self._log_end(event)
            with self._notifying:
                self._last = event
                notify(self._observers, event)
            self._report(event)
        finally:  # also if a Ctrl-C comes in between
            if self._disk:
                self._disk.close()

    def _log_end(self, event: RunFinished) -> None:
        "Write the last event."
        try:
            if self._disk and self._disk.is_there:  # nothing takes the place of a folder that is gone
                self._disk.log(event)
        except Exception as error:
            log.error("the end of the run could not be written into its log: %s", error, exc_info=_is_bug(error))

    def _report(self, event: RunFinished) -> None:
        "Write the report; not after Ctrl-C, when the user does not want to wait for pictures."
        try:
            there = self._disk is not None and self._disk.is_there
            if there and self._write_report and event.reason != "interrupted":
                self._write_report(self)
        except Exception as error:
            text = "the run is %s, but its report could not be written; write_report(%r) tries again: %s"
            log.error(text, event.reason, str(self.folder), error, exc_info=_is_bug(error))


def _is_bug(error: Exception) -> bool:
    "Whether a traceback helps: a full disk needs none."
    return not isinstance(error, OSError)


def label_free_score(
    event: Evaluated,
) -> float:  # -inf without one: no weights are kept then
    "The figure by which the best weights of a run are chosen."
    score = event.health.get("view_information", event.health.get("neighbour_information", -math.inf))
    return score if isinstance(score, (int, float)) and not math.isnan(score) else -math.inf  # a log may be damaged


@contextlib.contextmanager
def _stop_on_ctrl_c(run: Run) -> "Iterator[list]":
    "In the main thread, Ctrl-C (a kernel's interrupt) stops the run after its step; a second one does as always."
    pressed: list[bool] = []  # not empty once Ctrl-C was pressed
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield pressed
        return

    def stop(*_):
        signal.signal(signal.SIGINT, before)
        pressed.append(True)
        run.stop("interrupted")

    before = signal.signal(signal.SIGINT, stop) or signal.SIG_DFL
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
