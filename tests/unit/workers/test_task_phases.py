"""What Flower is shown about a task never fails it, and never delays it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from tests.waiting import awake_s, eventually
from workers import progress_events as phases
from workers import task_class as task
from workers.progress_events import PhaseBoard
from workers.task_class import FstoreTask

Act = Callable[[], None]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], list[str]]:
    """Make sending an event do something, and return the events that were tried."""
    monkeypatch.setattr(task, "board", PhaseBoard())
    monkeypatch.setattr(phases, "LASTS_S", 0.05)

    def sending(act: Act) -> list[str]:
        tried: list[str] = []

        def send_event(self: FstoreTask, name: str) -> None:
            tried.append(f"{name} of {self.request.id}")
            act()

        monkeypatch.setattr(FstoreTask, "send_event", send_event)
        return tried

    return sending


@pytest.fixture
def asked() -> FstoreTask:
    """A task with an id."""
    asked = FstoreTask()
    asked.bind(Celery("phases", set_as_current=False))
    asked.push_request(id="x1")
    return asked


def test_phases_that_last_are_shown(shown, asked):
    """One event for each, under the task's own id, though another thread sends it."""
    tried = shown(lambda: None)
    asked.phase("READING")
    eventually(lambda: tried == ["task-reading of x1"], seconds=5, what="the first phase")
    asked.phase("WRITING")
    eventually(lambda: tried == ["task-reading of x1", "task-writing of x1"], seconds=5, what="the second phase")


def test_a_phase_that_is_over_at_once_is_not_shown(shown, asked):
    """What nobody could look at costs no message."""
    tried = shown(lambda: None)
    for phase in ("READING", "COMPUTING", "WRITING"):
        asked.phase(phase)
    eventually(lambda: tried, seconds=5, what="the last phase")
    assert tried == ["task-writing of x1"]


def test_a_task_that_ended_shows_nothing_more(shown, asked):
    """Flower's last word about it stays the task's own state."""
    tried = shown(lambda: None)
    asked.phase("READING")
    task.board.clear()
    asked.phase("WRITING")
    eventually(lambda: tried, seconds=5, what="the next phase")
    assert tried == ["task-writing of x1"]


@pytest.mark.parametrize(
    "error", [OperationalError("timeout"), ConnectionRefusedError("refused"), RuntimeError("retry")]
)
def test_an_event_that_cannot_be_sent_is_let_go(shown, asked, error, caplog):
    """Redis is away: the computation goes on, and the next phases are not even tried for a while."""

    def fail() -> None:
        raise error

    tried = shown(fail)
    asked.phase("READING")
    eventually(lambda: "cannot show the phase READING" in caplog.text, seconds=5, what="the warning")
    asked.phase("WRITING")
    eventually(lambda: not task.board._changed.is_set(), seconds=5, what="the phase to be noted")
    assert tried == ["task-reading of x1"]


def test_an_event_that_takes_long_is_not_waited_for(shown, asked):
    """Redis is silent: neither the next phase nor the end of the task waits for it."""
    free = threading.Event()
    tried = shown(lambda: free.wait(30))
    asked.phase("READING")
    eventually(lambda: tried, seconds=5, what="the event")
    began = awake_s()
    asked.phase("WRITING")
    task.board.clear()
    assert awake_s() - began < 5
    free.set()
