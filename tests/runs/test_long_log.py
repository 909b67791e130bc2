"A log of hundreds of thousands of lines: read in bounded memory and time, with what its readers need of it."

import json
import subprocess
import sys

import pytest

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, StepDone, to_dict
from dcacn_nb.report import record as record_module
from dcacn_nb.report.record import read_record
from dcacn_nb.runs.log import each_event, read_events

READERS = {
    "record": "from dcacn_nb.report.record import read_record as read",
    "finished": "from dcacn_nb.compare.grid import finished as read",
    "dashboard": """
from dcacn_nb.runs.log import follow_events
from dcacn_nb.widgets.feed import History
def read(folder):
    history = History()
    for event in follow_events(folder, stop=lambda: True):
        history(event)
    return history.end
""",
}
MEASURE = """
import sys, time, resource
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
before, began = peak(), time.process_time()
assert read(sys.argv[1])
print(peak() - before, time.process_time() - began)
"""


def write_log(folder, steps, every=10):
    "Lines as a run writes them, without the time that a million events take to make."
    folder.mkdir()
    losses = {"total": 0.125, "instance": 0.5, "cluster": 0.25}
    line = json.dumps(to_dict(StepDone(0, 0, losses, 0.5, 1.0, 9.0, 1.0)))
    head, tail = line.split('"step": 0, "epoch": 0')
    with open(folder / "events.jsonl", "w") as file:
        put = lambda event: print(json.dumps(to_dict(event)), file=file)
        put(RunStarted("dcacn", {}, {}, 100, steps, every))
        for step in range(1, steps + 1):
            epoch = (step - 1) // every + 1
            file.write(f'{head}"step": {step}, "epoch": {epoch}{tail}\n')
            if step % every == 0 and (steps < 10**5 or epoch % 100 == 0):
                put(EpochDone(epoch, step, losses, 0.5))
                put(Evaluated(epoch, step, {"balance_entropy": 1.0}, {"acc": 0.5}))
        put(RunFinished("completed", steps, steps // every))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "lines"), [("record", 3 * 10**5), ("finished", 10**5), ("dashboard", 10**5)])
def test_memory_and_time_are_bounded(tmp_path, reader, lines):
    "As a list, 100,000 events take 100 MB, and a million 1 GB; nothing here grows with their number."
    pytest.importorskip("resource")
    folder = write_log(tmp_path / "long", lines)
    work = [sys.executable, "-c", READERS[reader] + MEASURE, str(folder)]
    done = subprocess.run(work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    megabytes, seconds = map(float, done.stdout.split())
    assert megabytes < 80 and seconds < lines * 1e-4, (megabytes, seconds)


def test_a_long_list_is_thinned_and_an_ordinary_one_is_whole(tmp_path, monkeypatch):
    "Sums are of all events; the newest of each kind is there; lists of events give the same as their log."
    folder = write_log(tmp_path / "run", 90)
    events, whole = read_events(folder), read_record(folder)
    assert events == list(each_event(folder)) and len(events) == 1 + 90 + 9 + 9 + 1
    for name, kind in (("steps", StepDone), ("epochs", EpochDone), ("evaluations", Evaluated)):
        assert getattr(whole, name) == [event for event in events if isinstance(event, kind)]
    monkeypatch.setattr(record_module, "KEPT", 8)
    for source in (folder, events, events[:40] + events):
        thinned = read_record(source)
        assert thinned.start == events[0] and thinned.end == events[-1]
        assert thinned.seconds == whole.seconds == 4.5
        steps = [event.step for event in thinned.steps]
        assert len(steps) <= 9 and steps[-1] == 90 and steps[:3] == [1, 17, 33]
        assert thinned.epochs[-1] == whole.epochs[-1] and len(thinned.epochs) <= 9
