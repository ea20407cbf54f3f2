"""The time for publishing: no soft limit strikes there, and it ends before the hard one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from fstore.compute.publishing import publishing_ends_at
from fstore.runtime import deadline
from fstore.runtime.finishing import finishing
from fstore.settings import gather_settings


class Struck(Exception):
    """What a worker's process raises at its soft limit."""


def strike(number: int, frame: FrameType | None) -> None:
    raise Struck


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """A process that a soft limit may strike."""
    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_soft_limit_strikes_no_publishing() -> None:
    """And strikes again behind it, also where publishing failed."""
    with finishing(time.monotonic() + 60):
        os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(Struck):
        os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(ValueError, match="no room"), finishing(time.monotonic() + 60):
        raise ValueError("no room")
    assert signal.getsignal(signal.SIGUSR1) is strike


def test_who_has_no_limits_is_told_by_the_signal() -> None:
    """A trainer's scheduler may say by it that the machine is wanted back, while it computes for itself."""
    with pytest.raises(Struck), finishing(None):
        os.kill(os.getpid(), signal.SIGUSR1)


def test_other_threads_and_processes_without_a_limit_are_left_alone() -> None:
    """Handlers belong to the main thread, and what nobody set is not ours."""
    found: list[object] = []

    def look() -> None:
        with finishing(time.monotonic() + 60):
            found.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    look()
    assert found == [strike, signal.SIG_IGN]


def test_waits_of_publishing_are_bounded() -> None:
    """By the end it is given, or not at all."""
    with finishing(time.monotonic() + 5):
        assert deadline.remaining(1000) <= 5
    with finishing(time.monotonic() - 5):
        assert deadline.is_due()
    with finishing(None):
        assert deadline.remaining(1000) == 1000


@pytest.mark.parametrize(("own_s", "hard_s"), [(None, 100), (1.0, 6), (50.0, 55), (95.0, 100)])
def test_publishing_ends_before_the_hard_limit(own_s: float | None, hard_s: float) -> None:
    """That of all, or of a feature's own limit and what is added to end in order."""
    settings = gather_settings({"path": "/nowhere", "compute_time_limit_s": 100}, environ={})
    before = time.monotonic()
    found = publishing_ends_at(settings, own_s)
    assert before + hard_s - 1 <= found <= time.monotonic() + hard_s - 1
