"""Child processes that are cheap, watched and limited: forked from one that has imported everything already."""

import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# audit events that change a file system -> positions of the paths that change, with those of their folders' descriptors
CHANGES = {
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.chmod": ((0, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
FOREIGN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")

OWN = "dcacn_nb.widgets.projector"  # the process that a dashboard starts for its map


@dataclass
class Outcome:
    "How a child ended."

    how: str  # "done", "raised", "killed" (as planned), "crashed" (by a signal of its own), "hang"
    value: object = None  # what the function returned
    error: str = ""  # class of the exception, e.g. "ValueError"
    text: str = ""  # its message, and where it was raised
    seconds: float = 0.0
    operations: int = 0  # file operations, as far as they were counted
    outside: "list[str]" = field(default_factory=list)  # changes outside the allowed folders, and foreign code
    output: str = ""  # standard output and error
    mark: str = ""  # the last thing that `mark` was called with

    def __str__(self):
        parts = [self.how, self.mark, self.error, self.text, *self.outside, self.output[-1500:]]
        return " | ".join(str(part) for part in parts if part)


@dataclass
class Rules:
    "What a child may do, and when it is killed."

    allowed: "Sequence[Path]" = ()  # folders that may change; nothing: not watched
    kill_before: "int | None" = None  # the number of the file operation before which SIGKILL comes, from 1
    kill_after: "float | None" = None  # seconds after which SIGKILL comes
    at: "tuple[int, Callable] | None" = None  # (number of a file operation, what is called before it)
    limit: float = 60.0  # seconds; then it hangs
    memory: "int | None" = None  # bytes of address space beyond what it starts with
    file_size: "int | None" = None  # bytes of the largest file it may write
    reads: bool = False  # opening a file to read counts as a file operation too


_pipe = None  # in a child: where it reports


def mark(what: str) -> None:
    "In a child: say what is being done, for the case that it never ends."
    if _pipe is not None:
        os.write(_pipe, json.dumps({"mark": what}).encode() + b"\n")


def run(
    function: "Callable[[], object]",  # called in the child; returns plain values
    folder: Path,  # the working folder; its `.home` takes caches and temporary files
    rules: "Rules | None" = None,
) -> Outcome:
    "Call a function in a forked child and wait for its end."
    return start(function, folder, rules or Rules()).wait()


def start(function: "Callable[[], object]", folder: Path, rules: Rules) -> "Child":
    "Call a function in a forked child; the caller waits for it later."
    read, write = os.pipe()
    output = tempfile.TemporaryFile()  # noqa: SIM115  closed by `wait`
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(function, folder, rules, write, output)
    os.close(write)
    return Child(pid, read, output, rules)


def _child(function, folder: Path, rules: Rules, pipe: int, output) -> None:
    "The whole life of a child."
    global _pipe
    _pipe, code = pipe, 0
    counter = Watch(rules)
    try:
        _settle(folder, rules, output)
        sys.addaudithook(counter)
        counter.on = True
        answer = {"value": function()}
    except SystemExit as end:
        answer = {"value": end.code or 0}
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-4:]
        places = "; ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in where)
        answer = {"error": type(error).__name__, "text": f"{str(error)[:1500]} [{places}]"}
    counter.on = False
    try:
        sys.stdout.flush(), sys.stderr.flush()
        answer |= {"operations": counter.count, "outside": counter.outside[:5]}
        os.write(pipe, json.dumps(answer, default=str).encode()[:60000] + b"\n")
    except BaseException:
        code = 70
    os._exit(code)


def _settle(folder: Path, rules: Rules, output) -> None:
    "Own session, own output, own caches, own limits."
    os.setsid()
    faulthandler.disable()  # pytest's, in a short form
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(output.fileno(), 1), os.dup2(output.fileno(), 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    os.environ |= {"HOME": str(home), "TMPDIR": str(home), "DCACN_CACHE": str(home / "cache"), "COLUMNS": "300"}
    tempfile.tempdir = None
    sys.dont_write_bytecode = True
    os.chdir(folder)
    random.seed()
    if rules.memory is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + rules.memory
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if rules.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (rules.file_size, resource.RLIM_INFINITY))
    if rules.kill_before is not None or rules.at is not None:
        _count_syncs()


def _count_syncs() -> None:
    "Let fsync be seen by the audit hook."
    sync = os.fsync

    def counted(descriptor):
        sys.audit("drill.fsync")
        sync(descriptor)

    os.fsync = counted


class Watch:
    "An audit hook that counts changes of the file system, kills before one of them, and notes those outside."

    def __init__(self, rules: Rules):
        self.rules, self.count, self.on, self.outside = rules, 0, False, []
        shared = [os.environ["NUMBA_CACHE_DIR"]] if rules.allowed and "NUMBA_CACHE_DIR" in os.environ else []
        self.allowed = [os.path.realpath(path) for path in (*rules.allowed, *shared)]

    def __call__(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        if event in FOREIGN and self.allowed and OWN not in str(args):
            self.outside.append(f"{event} {args[:2]!r}")
        if event == "open" and (self.rules.reads or isinstance(args[2], int) and args[2] & WRITES):
            self._changed(event, [(args[0], None, not args[2] & os.O_NOFOLLOW)], args[2] & WRITES)
        elif event in CHANGES:
            pairs = [(args[i], None if j is None else args[j], event == "os.truncate") for i, j in CHANGES[event]]
            self._changed(event, pairs, True)
        elif event == "drill.fsync":
            self._changed(event, [], True)

    def _changed(self, event: str, paths: "list[tuple]", writes: bool) -> None:
        "One file operation, which has not happened yet."
        self.on = False  # what follows here is ours
        try:
            self.count += 1
            if self.count == self.rules.kill_before:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.rules.at is not None and self.count == self.rules.at[0]:
                self.rules.at[1]()
            if self.allowed and writes:
                found = [_real(*path) for path in paths if not isinstance(path[0], int)]
                self.outside += [f"{event} {path}" for path in found if not self._inside(path)]
        finally:
            self.on = True

    def _inside(self, path: str) -> bool:
        "Whether a path may change."
        return (
            path.startswith("/dev/")
            and not path.startswith("/dev/shm/")
            or any(path == root or path.startswith(root + os.sep) for root in self.allowed)
        )


def _real(path, folder: "int | None", follow: bool) -> str:
    "Where a path really is; the last part is followed only where the call would do so."
    path = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0:
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
    path = os.path.abspath(path)
    return (
        os.path.realpath(path)
        if follow
        else os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    )


class Child:
    "A running child."

    def __init__(self, pid: int, pipe: int, output, rules: Rules):
        self.pid, self._pipe, self._output, self._rules, self._began = pid, pipe, output, rules, time.monotonic()
        self._heard = b""

    def wait(self) -> Outcome:
        "Wait for its end, for the planned kill, or for the limit."
        how = self._listen()
        if how != "ended":
            self.kill()
        _, status = os.waitpid(self.pid, 0)
        os.close(self._pipe)
        seconds = time.monotonic() - self._began
        if how == "ended" and os.WIFSIGNALED(status):
            planned = os.WTERMSIG(status) == signal.SIGKILL and self._rules.kill_before is not None
            how = "killed" if planned else "crashed"
        return self._outcome(how, status, seconds)

    def kill(self) -> None:
        "SIGKILL, also to what it started."
        for send, target in ((os.killpg, self.pid), (os.kill, self.pid)):
            try:
                send(target, signal.SIGKILL)
            except ProcessLookupError:  # it has ended, or has no session of its own yet
                continue

    def _listen(self) -> str:
        "Read what the child reports until it ends: `ended`, `killed` when that time has come, or `hang`."
        import select

        until = min(self._rules.limit, self._rules.kill_after if self._rules.kill_after is not None else 1e9)
        while True:
            left = self._began + until - time.monotonic()
            # what it said before the limit counts, though the caller was busy with another child until now
            if select.select([self._pipe], [], [], max(0.0, left))[0]:
                data = os.read(self._pipe, 1 << 16)
                if not data:
                    return "ended"
                self._heard += data
            elif left <= 0:
                return "killed" if self._rules.kill_after is not None else "hang"

    def _outcome(self, how: str, status: int, seconds: float) -> Outcome:
        "All that is known of it."
        self._output.seek(0)
        output = self._output.read().decode("utf-8", "replace")
        self._output.close()
        said: dict = {}
        for line in self._heard.splitlines():
            try:
                said |= json.loads(line)
            except ValueError:
                said |= {"error": "unreadable", "text": repr(line[:200])}
        if how == "ended":
            how = "raised" if "error" in said else "done"
        text = said.get("text", f"signal {os.WTERMSIG(status)}" if how == "crashed" else "")
        rest = {name: said[name] for name in ("value", "error", "operations", "outside", "mark") if name in said}
        return Outcome(how, text=text, seconds=seconds, output=output, **rest)
