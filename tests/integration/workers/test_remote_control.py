"""Every command by which operators and dashboards ask a worker about itself is answered, and costs nobody a request."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import psutil
import pytest
import redis
from celery import Celery

from fstore.broker.configuration import celery_config
from fstore.broker.tasks import GET_OR_COMPUTE
from tests import sample_features
from tests.conftest import House, Servers, build_house
from tests.waiting import eventually

# What Celery's inspection offers, beside the dumps of memory that need further libraries.
COMMANDS = (
    "ping", "clock", "stats", "active", "reserved", "scheduled", "revoked", "registered", "active_queues", "conf",
    "report", "memsample",
)  # fmt: skip


@pytest.fixture
def worker(house: House, tmp_path: Path) -> Celery:
    """A worker that has replaced its child since it began, and an application that asks it."""
    house.start(concurrency=1, FEATURE_STORE_WORKER_MAX_TASKS_PER_CHILD="2")
    for n in range(5):
        ask(house, n)
    app = Celery("operator", set_as_current=False)
    app.conf.update(celery_config(house.settings))
    return app


def ask(house: House, n: int) -> None:
    house.store.get_or_compute("S", pd.DataFrame({"x": [float(n)]}), {}, sample_features.scaled, timeout=15)


def inspected(app: Celery, command: str) -> object:
    """Ask over a connection of its own: what idles in Celery's pool, which is the whole process's, others may have closed."""
    with app.connection_for_write() as connection:
        return getattr(app.control.inspect(timeout=60, limit=1, connection=connection), command)()


def test_a_worker_answers_whatever_it_is_asked(house: House, worker: Celery, tmp_path: Path) -> None:
    """Also after a child was replaced; the next computations are taken, and the options it shows hold no key."""
    answers = {command: inspected(worker, command) for command in COMMANDS}
    for n in range(100, 103):
        ask(house, n)

    assert [command for command, answer in answers.items() if not answer] == []
    (shown,) = answers["stats"].values()
    assert shown["broker"]["transport_options"]["fstore_guard"] == "unsigned"
    logs = [path.read_text() for path in tmp_path.glob("worker-*.log")]
    assert logs and not any("Control command error" in text for text in logs)


def test_a_command_that_cannot_be_answered_costs_nobody_a_request(servers: Servers, tmp_path: Path) -> None:
    """Whatever fails in a command, the worker goes on reading where messages arrive, also after it replaced children."""
    with ExitStack() as stack:
        house = build_house(servers, tmp_path, stack, feature_modules="tests.sample_features,tests.odd_commands")
        house.start(concurrency=1, FEATURE_STORE_WORKER_MAX_TASKS_PER_CHILD="2")
        for n in range(5):
            ask(house, n)
        app = Celery("operator", set_as_current=False)
        app.conf.update(celery_config(house.settings))

        for round_ in range(3):
            with app.connection_for_write() as connection:
                assert app.control.broadcast("unanswerable", reply=True, timeout=1, connection=connection) == []
            for n in range(4):
                ask(house, 100 + 10 * round_ + n)  # within its deadline

        assert inspected(app, "stats")
        (log,) = [path.read_text() for path in tmp_path.glob("worker-*.log")]
        assert log.count("Control command error") == 3
        assert log.count("remote control goes on") == 3


@pytest.mark.parametrize("command", ["stats", "unanswerable"])
def test_misses_go_on_over_the_same_connections(servers: Servers, tmp_path: Path, command: str) -> None:
    """Asked between two rows of misses, and again after its child was replaced, a worker reads where it has read before.

    Every message reached it once and at the first try: none waited to be sent or delivered again.
    """
    with ExitStack() as stack:
        house = build_house(servers, tmp_path, stack, feature_modules="tests.sample_features,tests.odd_commands")
        worker = psutil.Process(house.start(concurrency=1, FEATURE_STORE_WORKER_MAX_TASKS_PER_CHILD="4").pid)
        app = Celery("operator", set_as_current=False)
        app.conf.update(celery_config(house.settings))
        ask(house, 0)
        before, asked = connections(house, worker), 1
        for _ in range(2):
            children = worker.children()
            for _ in range(6):  # at least one child more than its four tasks
                ask(house, asked)
                asked += 1
            assert set(children) - set(worker.children())
            patience_s = 60 if command == "stats" else 1
            with app.connection_for_write() as connection:
                answers = app.control.broadcast(command, reply=True, limit=1, timeout=patience_s, connection=connection)
            assert bool(answers) is (command == "stats")
            for _ in range(3):
                ask(house, asked)
                asked += 1

        assert connections(house, worker) == before
        (totals,) = [answer["total"] for answer in (inspected(app, "stats") or {}).values()]
        assert totals[GET_OR_COMPUTE] == asked
        with redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"]) as client:
            eventually(lambda: client.hlen("unacked") == 0, seconds=30, what="the last message to be done with")


def connections(house: House, worker: psutil.Process) -> dict[str, set[str]]:
    """Return on which connections of its main process a worker hears commands, and on which it waits for messages."""
    found: dict[str, set[str]] = {}

    def at_rest() -> bool:
        ports = {each.laddr.port for each in worker.net_connections(kind="tcp")}
        with redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"]) as client:
            own = [each for each in client.client_list() if int(each["addr"].rpartition(":")[2]) in ports]
        found["commands"] = {each["id"] for each in own if "P" in each["flags"]}
        found["messages"] = {each["id"] for each in own if "b" in each["flags"]}
        return bool(found["commands"] and found["messages"])

    eventually(at_rest, seconds=30, what="the worker to wait for messages and commands")
    return found
