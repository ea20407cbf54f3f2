"""One act again and again while a block runs, in a thread that only long blocks start."""

from __future__ import annotations

import os
import threading

import pytest

from fstore.errors import ManifestUnavailable
from fstore.runtime.heartbeat import heartbeat

NAME = "fstore-test-beat"


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == NAME]


def test_a_block_that_ends_before_its_first_beat_starts_no_thread() -> None:
    """Thousands of short computations cost no thread each, and leave nothing that would act later."""
    acted: list[int] = []
    for _ in range(100):
        with heartbeat(NAME, 0.02, lambda: not acted.append(1)):
            pass
        assert threads() == []

    with heartbeat(NAME, 0.05, lambda: True):
        threading.Event().wait(0.2)  # the others' first beats would have been due meanwhile

    assert acted == []


def test_a_long_block_beats_until_its_end_and_not_after() -> None:
    """Each beat has a thread of its own, so that one that waits for a server stops no other."""
    acted, again, slow = [], threading.Event(), threading.Event()

    def act() -> bool:
        acted.append(threading.current_thread().name)
        if len(acted) >= 3:
            again.set()
        return True

    with heartbeat("fstore-test-slow", 0.01, lambda: slow.wait(5)), heartbeat(NAME, 0.01, act):
        assert again.wait(5)
        slow.set()

    assert set(acted) == {NAME}
    count = len(acted)
    threading.Event().wait(0.05)
    assert len(acted) == count
    assert threads() == []


def test_an_error_is_tried_again_and_false_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be renewed now may be a period later; what is lost is not renewed."""
    answers = iter([ManifestUnavailable("renewing", "away"), True, False])
    done = threading.Event()

    def act() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        if not answer:
            done.set()
        return answer

    with heartbeat(NAME, 0.01, act):
        assert done.wait(5)
        threading.Event().wait(0.05)  # a further act would find no answer, and say so

    assert "away" in caplog.text
    assert next(answers, None) is None


def test_a_sooner_beat_is_not_kept_waiting_by_a_later_one() -> None:
    """A lock's beat comes long before that of a lease that was there first."""
    soon = threading.Event()
    with heartbeat(NAME, 60, lambda: True), heartbeat(NAME, 0.01, lambda: not soon.set()):
        assert soon.wait(5)


def test_a_forked_child_beats_too() -> None:
    """It has neither the parent's thread nor its beats."""
    with heartbeat(NAME, 60, lambda: True):
        child = os.fork()
        if child == 0:
            beaten = threading.Event()
            with heartbeat(NAME, 0.01, lambda: not beaten.set()):
                os._exit(0 if beaten.wait(5) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_without_threads_to_spare_beats_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thread that starts all beats outlives it: else every lease of the process would lapse from then on."""
    refused, beaten = threading.Event(), threading.Event()
    start = threading.Thread.start

    def sparing(thread: threading.Thread) -> None:
        if thread.name == "scarce" and not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", sparing)
    with heartbeat("scarce", 0.01, lambda: beaten.set() or True):
        assert refused.wait(10)
        assert beaten.wait(10)
