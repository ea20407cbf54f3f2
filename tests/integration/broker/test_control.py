"""Questions to workers: one that is not answered in time is asked again, over a connection that is open."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from fstore.broker.control import Control
from tests.conftest import House


def test_a_worker_whose_answer_is_late_is_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that computes is not taken for one that does nothing; nobody is asked twice where all of them answered."""
    asked: list[float] = []
    answers: dict[str, list[Any]] = {"one": [], "two": ["a computation"]}

    def late_for_one(_: Control, command: str, timeout_s: float) -> dict[str, Any]:
        asked.append(timeout_s)
        assert command == "active"
        return {"one": answers["one"]} if len(asked) == 1 else answers

    monkeypatch.setattr(Control, "_ask", late_for_one)
    broker = house.store.resources.broker

    assert broker.busy_workers({"one", "two"}) == {"one": 0, "two": 1}
    assert asked == [2.0, 6.0]
    assert broker.busy_workers({"one", "two"}) == {"one": 0, "two": 1}
    assert asked == [2.0, 6.0, 2.0]


def test_a_connection_that_was_closed_meanwhile_is_no_answer(house: House) -> None:
    """What Celery's applications of one process share may idle for long: Redis was started again, or closed it."""
    broker = house.store.resources.broker
    control = broker._commands()
    with control._app.connection_or_acquire() as shared:
        control._app.control.inspect(timeout=0.1, connection=shared).ping()
    with redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"]) as client:
        client.client_kill_filter(_type="normal", skipme=True)

    assert not any(broker.workers_by_queue(timeout_s=0.1).values())
    assert broker.busy_workers(timeout_s=0.1) == {}
