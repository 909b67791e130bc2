"""The most memory that this process holds while a block runs."""

import threading

import psutil

EVERY = 0.02  # seconds between two looks


class PeakMemory:
    "Resident bytes, the most so far: looked at from a thread of its own, so that what comes and goes in a step counts."

    def __init__(self) -> None:
        self.peak = 0
        self._process, self._end = psutil.Process(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dcacn-memory", daemon=True)

    def _watch(self) -> None:
        "Look until the end, and once at the start."
        while True:
            self.peak = max(self.peak, self._process.memory_info().rss)
            if self._end.wait(EVERY):
                return

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()
