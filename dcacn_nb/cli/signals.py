"""Ctrl-C, SIGTERM and SIGHUP end a command alike: the first in order, the next at once, none with a traceback."""

import signal
from types import FrameType

REQUESTS = ("SIGTERM", "SIGHUP", "SIGBREAK")  # to end: from a batch system, a closed terminal, a Windows console
_caught: "list[int]" = []  # signals that are caught
_raised: "list[int]" = []  # those that have raised KeyboardInterrupt
_asked: "list[int]" = []  # requests other than Ctrl-C so far


def catch_signals() -> None:
    "From now on, a request to end does what Ctrl-C does: it stops a run after its step, or raises KeyboardInterrupt."
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a job in the background of a script ignores it
        signal.signal(signal.SIGINT, _interrupt)
        _caught.append(signal.SIGINT)
    for number in (getattr(signal, name) for name in REQUESTS if hasattr(signal, name)):
        if signal.getsignal(number) == signal.SIG_DFL:  # `nohup` has SIGHUP ignored: so be it
            signal.signal(number, _request)
            _caught.append(number)


def let_go() -> None:
    "From now on, a signal ends the process at once: there is nothing left to save, and no traceback to show."
    for number in _caught:
        signal.signal(number, signal.SIG_DFL)


def interrupted() -> bool:
    "Whether KeyboardInterrupt was raised: a library in the middle of its import may have made another error of it."
    return bool(_raised)


def exit_code() -> int:
    "Of an interrupted command: 128 + the number of the signal."
    return 128 + [*_asked, signal.SIGINT][0]


def _interrupt(number: int, frame: "FrameType | None") -> None:
    "Raise KeyboardInterrupt; the second time, end the process."
    if _raised:
        let_go()
        signal.raise_signal(number)
    _raised.append(number)
    raise KeyboardInterrupt


def _request(number: int, frame: "FrameType | None") -> None:
    "Do what Ctrl-C would do now: a run in the foreground has its own way to stop."
    _asked.append(number)
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    (on_ctrl_c if callable(on_ctrl_c) else _interrupt)(number, frame)
