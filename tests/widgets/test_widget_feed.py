"Thinned lists, the history of a run and the thread that follows a folder."

import math

import numpy as np
import pytest

from dcacn_nb.core.events import EpochDone, Evaluated, RunFinished, RunStarted, SnapshotTaken, StepDone
from dcacn_nb.runs.log import RunLog
from dcacn_nb.runs.thinned import ThinnedList
from dcacn_nb.widgets.feed import Follower, History


def events_of(epochs, per_epoch=28, every=10):
    "The events of a run, one second per epoch."
    yield RunStarted("dcacn", {}, {}, 1797, epochs * per_epoch, per_epoch, time=0.0)
    for epoch in range(1, epochs + 1):
        at = epoch * per_epoch
        for step in range((epoch - 1) * per_epoch + every, at + 1, every):
            yield StepDone(step, epoch, {"total": 1 / step}, 1e-3, 1.0, time=step / per_epoch)
        yield EpochDone(epoch, at, {"total": 1 / epoch}, time=float(epoch))
        yield Evaluated(epoch, at, {"view_information": 0.5}, time=float(epoch))
        if epoch % 5 == 1:
            yield SnapshotTaken(epoch, at, np.arange(3), {"h": np.zeros((3, 2), np.float32)}, time=float(epoch))


@pytest.fixture(scope="module")
def long_run():
    "The events of 1,000 epochs."
    return list(events_of(1000))


def kept_of(n, limit):
    "Numbers of the items that must be kept of n: every 2^k-th, with the smallest k that fits, and the newest."
    stride = 1
    while math.ceil(n / stride) > limit:
        stride *= 2
    return sorted({*range(0, n, stride), n - 1})


@pytest.mark.parametrize("limit", [2, 3, 8, 100])
def test_a_thinned_list_is_evenly_spaced_with_the_newest(limit):
    "Against the definition, for many lengths; a list that drops its oldest items would fail."
    for n in (1, 2, 3, 7, 8, 9, 64, 65, 257, 1000):
        kept = ThinnedList(limit)
        thinned = [kept.append(item) for item in range(n)]
        assert list(kept) == kept_of(n, limit) and len(kept) <= limit + 1
        assert sum(thinned) == round(math.log2(kept.stride)) and kept[-1] == n - 1 and kept.seen == n
    assert list(range(1000))[-limit:] != kept_of(1000, limit)


def test_the_stride_is_a_power_of_two():
    "100 of 1,000 items: a stride of 8 would leave 125, so 16 leaves 63 and the newest."
    kept = ThinnedList(100)
    for item in range(1000):
        kept.append(item)
    assert (kept.stride, len(kept)) == (16, 64)


def test_a_limit_below_two_is_refused():
    with pytest.raises(ValueError, match="limit must be >= 2, got 1"):
        ThinnedList(1)


def test_a_history_is_bounded_and_keeps_the_first_snapshot(long_run):
    history = History()
    for event in long_run:
        history(event)
    assert all(len(thinned) <= thinned.limit + 1 for thinned in history.kinds.values())
    assert history.epoch == 1000 and history.progress() == (28_000, 28_000) and history.snapshots[0].epoch == 1


def test_the_time_left_is_the_mean_pace_and_ignores_a_pause(long_run):
    "Half way through one second per epoch: 500 seconds; a pause of an hour does not count as slowness."
    half = History()
    for event in long_run:
        if getattr(event, "step", 0) <= 14_000:
            half(event)
    assert abs(half.seconds_left() - 500) < 1
    for step in (14_010, 14_020):
        half(StepDone(step, 501, {"total": 0.0}, 1e-3, 1.0, time=step / 28 + 3600))
    assert abs(half.seconds_left() - 500) < 1


def test_a_follower_passes_every_event_of_a_folder_to_all_observers(tmp_path):
    "The thread waits for the log to appear, and ends with the run."
    seen, history = [], History()
    follower = Follower(tmp_path / "run", [seen.append, history])
    log = RunLog(tmp_path / "run")
    for event in [*events_of(3), RunFinished("completed", 84, 3)]:
        log(event)
    assert follower.wait(10) and not follower.alive and follower.error is None
    assert len(seen) == 1 + 3 * (2 + 1 + 1) + 1 + 1 and history.end.reason == "completed"
    kinds = [type(event) for event in history.events()]
    assert kinds[0] is RunStarted and kinds[-1] is RunFinished


def test_a_damaged_log_ends_the_follower_with_the_reason(tmp_path, caplog):
    (tmp_path / "events.jsonl").write_text("no event\n")
    failed = []
    follower = Follower(tmp_path, [], failed.append)
    assert follower.wait(10) and "line 1 is damaged" in str(follower.error) and failed == [follower.error]
    assert "can no longer be followed" in caplog.text


def test_a_closed_follower_stops_though_the_run_goes_on(tmp_path):
    follower = Follower(tmp_path / "never", [])
    assert follower.alive and not follower.wait(0.3)
    follower.close()
    assert follower.wait(10)
