"""A caller that is interrupted, or ends, while it computes by itself: nobody waits for it afterwards."""

from __future__ import annotations

import decimal
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fstore import ComputeTimeout, Request, local
from tests.conftest import House
from tests.waiting import awake_s, eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 4.0]})

ENDS = """
import sys, time
import pandas as pd
import fstore

def slowly(raw, config):
    time.sleep(60)
    return raw

try:
    fstore.FeatureStore().get_or_compute(
        "E", pd.DataFrame({"price": [1.0]}), {}, fstore.local(slowly, version="1", name="ends"), timeout=1.0
    )
except fstore.ComputeTimeout:
    print("late")
"""


class Slow:
    """A function that waits for ever at its first call, and doubles at any other."""

    def __init__(self) -> None:
        self.started, self.let_go = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self, raw: pd.DataFrame, config: object) -> pd.DataFrame:
        """Tell that it began."""
        self.calls += 1
        if self.calls == 1:
            self.started.set()
            self.let_go.wait(60)
            return raw * -1
        return raw * 2


def interrupt_when(started: threading.Event) -> None:
    """Press Ctrl-C once the computation runs."""

    def press() -> None:
        started.wait(30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Hear Ctrl-C as a shell's foreground does: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("many", [False, True])
def test_an_interrupted_caller_leaves_nothing_to_wait_for(staffed: House, many: bool) -> None:
    """Ctrl-C in a notebook gives the claim back: the next run computes at once, and the broken-off one is not published."""
    slow, store = Slow(), staffed.store
    function = local(slow, version="1", name=f"interrupted-{many}")
    interrupt_when(slow.started)
    with pytest.raises(KeyboardInterrupt):
        if many:
            list(store.get_or_compute_many([Request("I", RAW, {}, function)], timeout=40))
        else:
            store.get_or_compute("I", RAW, {}, function, timeout=40)

    began = awake_s()
    again = store.get_or_compute("I", RAW, {}, function, timeout=40)

    assert awake_s() - began < 10
    slow.let_go.set()
    eventually(lambda: not any(t.name == "fstore-bounded" for t in threading.enumerate()), seconds=20, what="its end")
    assert again.equals(RAW * 2)
    assert store.get_or_compute("I", RAW, {}, function).equals(RAW * 2)


def test_starts_that_were_broken_off_are_not_held_against_it(staffed: House) -> None:
    """However often somebody presses Ctrl-C, the computation is not taken for one that kills its process."""
    for _ in range(4):
        slow = Slow()
        function = local(slow, version="1", name="often interrupted")
        interrupt_when(slow.started)
        with pytest.raises(KeyboardInterrupt):
            staffed.store.get_or_compute("I", RAW, {}, function, timeout=40)
        slow.let_go.set()

    assert staffed.store.get_or_compute("I", RAW, {}, function, timeout=40).equals(RAW * 2)


def test_a_process_that_ends_before_its_result_gives_its_claim_back(house: House, tmp_path: Path) -> None:
    """A script that was out of time ends, and its computation with it."""
    script = tmp_path / "ends.py"
    script.write_text(ENDS)

    run = subprocess.run(
        [sys.executable, script],
        env={**house.environment, "PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert run.stdout == "late\n", run.stderr
    assert house.store.resources.jobs.count_by_state() == {}


def test_a_computation_that_is_only_late_keeps_its_claim(staffed: House) -> None:
    """The caller's deadline is not the computation's: it goes on, and who asks again gets its result."""
    slow = Slow()
    function = local(slow, version="1", name="late")
    with pytest.raises(ComputeTimeout):
        staffed.store.get_or_compute("L", RAW, {}, function, timeout=0.5)
    threading.Timer(0.3, slow.let_go.set).start()

    assert staffed.store.get_or_compute("L", RAW, {}, function, timeout=40).equals(RAW * -1)
    assert slow.calls == 1


def test_it_sees_what_a_direct_call_would_see(staffed: House) -> None:
    """What numpy, decimal and anybody keeps in the caller's context holds for a function that runs on his behalf."""
    mine: ContextVar[str] = ContextVar("mine", default="nobody's")

    def told(raw: pd.DataFrame, config: object) -> pd.DataFrame:
        return pd.DataFrame(
            {"third": [str(decimal.Decimal(1) / 3)], "divide": [np.geterr()["divide"]], "mine": [mine.get()]}
        )

    mine.set("mine")
    with decimal.localcontext(prec=5), np.errstate(divide="ignore"):
        direct = told(RAW, {})
        found = staffed.store.get_or_compute("C", RAW, {}, local(told, version="1", name="told"), timeout=40)

    assert found.equals(direct)
    assert found["third"].tolist() == ["0.33333"]
