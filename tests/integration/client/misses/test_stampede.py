"""Many trainers, one key: one computation, and everybody has its result or its error."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from fstore import ComputeFailed, FeatureStore
from fstore.coordination.notifications import hint_channel
from tests import sample_features
from tests.trainers import crowd
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(1000)]})


def ask(store: FeatureStore, function: object, config: dict[str, object], timeout: float = 60) -> pd.DataFrame:
    return store.get_or_compute("RUSH", RAW, config, function, timeout=timeout)


def starts(folder: Path) -> int:
    return len(list(folder.iterdir()))


def test_a_hundred_callers_share_one_computation(staffed, tmp_path):
    """Twenty processes with five threads each ask at one moment: one start, one hundred right frames, one row."""
    here, let_go = tmp_path / "here", tmp_path / "let go"
    here.mkdir()
    config = {"after": str(let_go), "marks": str(tmp_path / "marks")}
    key = staffed.store._prepare("RUSH", RAW, config, sample_features.after_another).key
    link = staffed.store.resources.redis_server._link
    before = staffed.store.get_cache_stats()

    def let_go_when_all_wait() -> None:
        def do_all_wait() -> bool:
            ((_, listening),) = link.call("counting", lambda client: client.pubsub_numsub(hint_channel(key)))
            return starts(here) == 100 and listening == 20

        eventually(do_all_wait, seconds=20, what="all callers to wait")
        let_go.touch()

    releasing = threading.Thread(target=let_go_when_all_wait)
    releasing.start()
    outcomes = crowd(staffed.environment, partial(arrive, here=here, config=config), processes=20, threads=5)
    releasing.join()

    assert Counter(type(outcome.error) for outcome in outcomes) == {type(None): 100}
    assert all(outcome.value.equals(RAW.head(2)) for outcome in outcomes)
    assert starts(tmp_path / "marks") == 1
    after = staffed.store.get_cache_stats()
    assert after["computed"] - before["computed"] == 1
    assert after["cache_misses"] - before["cache_misses"] == 100
    assert after["coalesced"] - before["coalesced"] == 99


def arrive(store: FeatureStore, here: Path, config: dict[str, object]) -> pd.DataFrame:
    (here / uuid.uuid4().hex).touch()
    return ask(store, sample_features.after_another, config)


def test_a_hundred_callers_share_one_error(staffed, tmp_path):
    """A function that raises is started once; everybody is told the worker's error with its traceback."""
    config = {"seconds": 1.0, "marks": str(tmp_path)}

    outcomes = crowd(
        staffed.environment, partial(ask, function=sample_features.failing, config=config), processes=10, threads=10
    )

    assert Counter(type(outcome.error) for outcome in outcomes) == {ComputeFailed: 100}
    assert {outcome.error.error_type for outcome in outcomes} == {"ValueError"}
    assert all("no price in row 17" in outcome.error.detail for outcome in outcomes)
    assert all("sample_features.py" in outcome.error.traceback_text for outcome in outcomes)
    assert starts(tmp_path) == 1


def test_a_remembered_error_answers_at_once_and_is_tried_again_later(staffed, tmp_path):
    """Within the memory of a failure nothing is started; after it, the next caller starts anew."""
    config = {"marks": str(tmp_path)}
    for _ in range(3):
        with pytest.raises(ComputeFailed):
            ask(staffed.store, sample_features.failing, config)
    assert starts(tmp_path) == 1

    staffed.store.resources.database.query("UPDATE jobs SET finished_ts = finished_ts - interval '31 seconds'")
    with pytest.raises(ComputeFailed):
        ask(staffed.store, sample_features.failing, config)

    assert starts(tmp_path) == 2


def test_without_a_memory_of_failures_whoever_waited_is_still_told(staffed, tmp_path):
    """A waiter takes the end of the computation it waited for as its answer, and does not start another one."""
    config = {"marks": str(tmp_path), "seconds": 0.2}

    with staffed.open(failure_memory_s=0) as forgetful, pytest.raises(ComputeFailed):
        ask(forgetful, sample_features.failing, config, timeout=20)

    assert starts(tmp_path) == 1


def test_waiters_hold_no_slot(staffed, tmp_path):
    """With two slots and a hundred identical requests, another key is done while they wait: what they wait for waits for it."""
    busy = {"after": str(tmp_path / "other"), "marks": str(tmp_path / "busy")}
    other = {"seconds": 0.1, "marks": str(tmp_path / "other")}

    outcomes = crowd(staffed.environment, partial(mixed, busy=busy, other=other), processes=10, threads=10)

    assert Counter(type(outcome.error) for outcome in outcomes) == {type(None): 100}
    assert starts(tmp_path / "busy") == starts(tmp_path / "other") == 1
    assert Counter(outcome.value for outcome in outcomes) == {"busy, 2 rows": 99, "other": 1}


def mixed(store: FeatureStore, busy: dict[str, object], other: dict[str, object]) -> str:
    folder = Path(str(other["marks"]))
    folder.parent.mkdir(exist_ok=True)
    try:
        (folder.parent / "chosen").touch(exist_ok=False)
    except FileExistsError:
        return f"busy, {len(ask(store, sample_features.after_another, busy))} rows"
    ask(store, sample_features.slow, other)
    return "other"
