"""A notebook that goes on while its function is computed: what it binds meanwhile reaches nobody under the old key."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore import ComputeTimeout, FeatureNotRegistered
from fstore.client.local_compute import LocalComputing
from fstore.client.misses import CALLER_ONLY
from tests.conftest import House
from tests.waiting import eventually

RAW = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
NOTEBOOK = """
import functools, pathlib, time
FACTOR, TABLE, COUNT = 2, {"w": 2}, 0
def helper(): return 2
def pause(config):
    room = pathlib.Path(config["room"])
    (room / "started").touch()
    while not (room / "go").exists():
        time.sleep(0.01)
def make():
    inner = 2
    def feature(raw, config):
        pause(config)
        return raw * inner
    def bind(value):
        nonlocal inner
        inner = value
    return feature, bind
class Model:
    def __init__(self): self.w, self.calls = 2, 0
    def feature(self, raw, config):
        self.calls += 1
        pause(config)
        return raw * self.w
model = Model()
in_cell, bind = make()
def of_global(raw, config): pause(config); return raw * FACTOR
def of_helper(raw, config): pause(config); return raw * helper()
def of_table(raw, config): pause(config); return raw * TABLE["w"]
of_partial = functools.partial(lambda helper, raw, config: helper(raw, config), of_global)
def of_count(raw, config):
    global COUNT
    COUNT += 1
    pause(config)
    return raw * 2
"""
REBOUND = {
    "of_global": "FACTOR = 9",
    "of_helper": "def helper(): return 9",
    "in_cell": "bind(9)",
    "of_partial": "FACTOR = 9",
    "model.feature": "model.w = 9",
}


def defined(case: str, salt: str) -> tuple[dict[str, Any], Any]:
    """Run the cells that define everything, in a module of their own, and wrap one of the callables."""
    space = vars(types.ModuleType("__main__"))
    exec(NOTEBOOK, space)  # noqa: S102 our own text
    return space, fstore.local(eval(case, space), version=salt)  # noqa: S307 our own text


def told(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Call a function in a thread of its own, and keep what it returns or raises."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except Exception as error:  # the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


@pytest.mark.parametrize("case", REBOUND)
def test_what_is_bound_anew_while_it_runs_is_refused(staffed: House, tmp_path: Path, case: str) -> None:
    """Another thread waits for the result; it is told to ask again, and the key stays free."""
    space, feature = defined(case, "waited for")
    config = {"room": str(tmp_path)}
    key = staffed.store._prepare("M", RAW, config, feature).key
    thread, outcome = told(lambda: staffed.store.get_or_compute("M", RAW, config, feature, timeout=60))
    eventually((tmp_path / "started").exists, seconds=60, what="the function to run")
    exec(REBOUND[case], space)  # noqa: S102 our own text
    (tmp_path / "go").touch()
    thread.join(60)

    assert isinstance(outcome[0], FeatureNotRegistered), outcome
    assert "bound anew while it was computed; ask again" in str(outcome[0])
    assert staffed.store.resources.manifest.find_live(key) is None
    assert staffed.store.resources.jobs.look([key])[key].job is None
    assert staffed.store.get_or_compute("M", RAW, config, feature, timeout=60).equals(RAW * 9)


@pytest.mark.parametrize("case", REBOUND)
def test_what_was_submitted_is_not_computed_with_what_came_later(staffed: House, tmp_path: Path, case: str) -> None:
    """The next cell of the notebook runs while the computation does."""
    space, feature = defined(case, "submitted")
    ticket = staffed.store.submit("M", RAW, {"room": str(tmp_path)}, feature)
    eventually((tmp_path / "started").exists, seconds=60, what="the function to run")
    exec(REBOUND[case], space)  # noqa: S102 our own text
    (tmp_path / "go").touch()

    with pytest.raises(FeatureNotRegistered, match="ask again"):
        ticket.result(timeout=60)
    assert staffed.store.resources.manifest.find_live(ticket.key) is None


def test_what_is_bound_to_and_fro_is_seen_by_the_requests_in_between(staffed: House, tmp_path: Path) -> None:
    """A loop over settings that comes back to the first while that is computed."""
    space, feature = defined("of_global", "to and fro")
    ticket = staffed.store.submit("M", RAW, {"room": str(tmp_path)}, feature)
    eventually((tmp_path / "started").exists, seconds=60, what="the function to run")
    for factor in (9, 2):
        space["FACTOR"] = factor
        staffed.store.peek("M", RAW, {"room": "another"}, feature)
    (tmp_path / "go").touch()

    eventually(
        lambda: staffed.store.resources.jobs.look([ticket.key])[ticket.key].job is None,
        seconds=60,
        what="the claim given back",
    )
    assert staffed.store.resources.manifest.find_live(ticket.key) is None


def test_what_changed_before_it_ran_is_told_to_nobody_else(staffed: House, tmp_path: Path) -> None:
    """Whoever asks for the key in another process may hold what it stands for: no failure is noted for him."""
    (tmp_path / "go").touch()
    space, feature = defined("of_global", "before it ran")
    asked = staffed.store._prepare("M", RAW, {"room": str(tmp_path)}, feature)
    space["FACTOR"] = 9
    here = LocalComputing(staffed.store.resources)

    answer = here.stored(asked, CALLER_ONLY, by_worker=True, seconds=60)

    assert answer is not None
    assert "between the request and the computation" in str(answer.error)
    assert staffed.store.resources.jobs.look([asked.key])[asked.key].job is None
    space["FACTOR"] = 2
    assert staffed.store.get_or_compute("M", RAW, {"room": str(tmp_path)}, feature, timeout=60).equals(RAW * 2)


@pytest.mark.parametrize("case", ["of_count", "model.feature"])
def test_what_its_own_code_counts_is_its_own_affair(staffed: House, tmp_path: Path, case: str) -> None:
    """A function that counts its calls is stored as ever."""
    _, feature = defined(case, "counts")
    (tmp_path / "go").touch()
    config = {"room": str(tmp_path)}
    key = staffed.store._prepare("M", RAW, config, feature).key

    assert staffed.store.get_or_compute("M", RAW, config, feature, timeout=60).equals(RAW * 2)
    assert staffed.store.resources.manifest.find_live(key) is not None


@pytest.mark.parametrize("case", [*REBOUND, "of_table"])
def test_what_was_left_behind_at_a_deadline_does_not_publish_what_came_later(
    staffed: House, tmp_path: Path, case: str
) -> None:
    """Within a table too: nobody waits for it any more."""
    space, feature = defined(case, "left behind")
    config = {"room": str(tmp_path)}
    key = staffed.store._prepare("M", RAW, config, feature).key
    with pytest.raises(ComputeTimeout):
        staffed.store.get_or_compute("M", RAW, config, feature, timeout=1.5)
    eventually((tmp_path / "started").exists, seconds=60, what="the function to run")
    exec(REBOUND.get(case, "TABLE['w'] = 9"), space)  # noqa: S102 our own text
    (tmp_path / "go").touch()

    eventually(
        lambda: staffed.store.resources.jobs.look([key])[key].job is None, seconds=60, what="the claim given back"
    )
    assert staffed.store.resources.manifest.find_live(key) is None
