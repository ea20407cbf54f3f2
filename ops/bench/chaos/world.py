"""Everything that runs in a chaos run: servers, workers, Beats, trainers, a collector; and a witness in Postgres."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from harness.stand import BENCH
from harness.store_files import files_of
from redis import Redis

from chaos import collector, features, trainer
from chaos.crew import START_WITHIN_S, Forkery, Member, beat, worker
from chaos.history import Journal
from chaos.schedule import BEATS, TRAINERS, WORKERS
from fstore.cli.demo.object_store import demo_object_store
from fstore.stack import TOKEN_VARIABLE, EmbeddedServers
from fstore.testing import RunningStore, running_store

GRACE_S, RETENTION_S, MOST_BYTES = 15.0, 60.0, 6_000_000
SETTINGS = {
    # Leases, locks and memories of seconds, so that a short run sees many of them end.
    "lease_seconds": 6, "lock_seconds": 6, "renew_seconds": 2, "failure_memory_s": 5, "compute_time_limit_s": 20,
    "reconcile_period_s": 5, "flush_period_s": 3, "gc_schedule": "* * * * *", "integrity_schedule": "* * * * *",
    "gc_grace_hours": GRACE_S / 3600, "gc_grace_unsafe": "true", "gc_retention_weeks": RETENTION_S / 604_800,
    "gc_max_bytes": MOST_BYTES, "max_workers": 4, "log_level": "INFO",
}  # fmt: skip

WITNESS = """
CREATE TABLE chaos_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    key text, path text, symbol text, was text, state text, withdrawn boolean, content_digest text,
    created_ts timestamptz, condemned_ts timestamptz, who text DEFAULT current_setting('application_name'));
CREATE FUNCTION chaos_witness() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    was text := CASE WHEN TG_OP <> 'INSERT' THEN OLD.state END;
    r manifest := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF TG_OP <> 'UPDATE' OR (OLD.state, OLD.path, OLD.withdrawn) IS DISTINCT FROM (NEW.state, NEW.path, NEW.withdrawn) THEN
        INSERT INTO chaos_changes (key, path, symbol, was, state, withdrawn, content_digest, created_ts, condemned_ts)
        VALUES (r.key, r.path, r.symbol, was, CASE WHEN TG_OP <> 'DELETE' THEN NEW.state END,
            r.withdrawn, r.content_digest, r.created_ts, r.condemned_ts);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_witness AFTER INSERT OR UPDATE OR DELETE ON manifest FOR EACH ROW EXECUTE FUNCTION chaos_witness();
"""


class World:
    """One run's processes and folders."""

    def __init__(self, running: RunningStore, seed: int) -> None:
        assert isinstance(running.servers, EmbeddedServers)
        self.folder, self.servers, self.seed = running.folder, running.servers, seed
        self.files, self.history, self.logs = (
            files_of(running.settings),
            running.folder / "history",
            running.folder / "logs",
        )
        for made in (self.history, self.logs):
            made.mkdir()
        self.journal = Journal(self.history, "chaos")
        self.token = f"chaos-{os.getpid()}-{seed}"
        self.environment = {**running.environment, features.FOLDER: str(self.history), features.ROLE: "trainer"}
        own = {features.FOLDER: str(self.history), features.ROLE: "worker", TOKEN_VARIABLE: self.token}
        self._celery_environment = running.child_environment(**own)
        os.environ.update(self.environment)
        self.resources = running.store.resources
        self.forkery = Forkery()
        self.ends_at = 0.0
        self.members: dict[str, Member] = {}
        self.complaints: list[str] = []

    def start(self, seconds: float) -> None:
        """Start everything; trainers begin at once and end ``seconds`` after the last worker is ready."""
        self.sql(WITNESS)
        celery = self._celery_environment
        crew = [worker(i, celery, self.logs) for i in range(WORKERS)] + [
            beat(i, celery, self.logs) for i in range(BEATS)
        ]
        for member in crew:
            self.members[member.name] = member
            member.start()
        self._wait_ready(crew)
        self.ends_at = time.monotonic() + seconds
        crew = [self._trainer(i) for i in range(TRAINERS)]
        crew.append(Member("collector", lambda life: self.forkery.start(collector.run, self.environment, life)))
        for member in crew:
            self.members[member.name] = member
            member.start()

    def member(self, kind: str, number: int) -> Member:
        """Return one process by kind and number."""
        names = {"trainer": f"trainer{number:02d}", "collector": "collector"}
        return self.members[names.get(kind, f"{kind}{number}")]

    def look_after(self) -> None:
        """Note every process that ended though nobody struck it, and start it again."""
        for member in self.members.values():
            if member.expected_down or member.is_alive():
                continue
            if (
                member.name.startswith("trainer")
                and time.monotonic() > self.ends_at - 10
                and member.process.exitcode == 0
            ):
                member.expected_down = True
                continue
            self.journal.write(phase="ended by itself", member=member.who)
            if not member.is_supervised:
                self.complaints.append(f"{member.who} ended by itself")
            member.start()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; raises ``psycopg2.Error`` when Postgres is away."""
        connection = psycopg2.connect(self.servers.postgres_url, connect_timeout=3, application_name="chaos/witness")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def redis(self) -> Redis:
        """Return a client of the run's Redis, to be closed by ``with``."""
        return Redis.from_url(self.servers.redis_url, decode_responses=True, socket_timeout=3)

    def close(self) -> None:
        """End every process by force, whatever state it is in."""
        for member in self.members.values():
            if member.is_alive():
                member.signal(signal.SIGKILL)
                member.wait(10)

    def _trainer(self, number: int) -> Member:
        def begin(life: int) -> Any:
            return self.forkery.start(trainer.run, self.environment, self.seed, number, life, self.ends_at)

        return Member(f"trainer{number:02d}", begin)

    def _wait_ready(self, crew: list[Member]) -> None:
        ends_at = time.monotonic() + START_WITHIN_S
        while not all(member.is_ready() for member in crew):
            ended = [member.name for member in crew if not member.is_alive()]
            if ended or time.monotonic() > ends_at:
                raise RuntimeError(f"{ended or 'the workers'} did not come up; see {self.logs}")
            time.sleep(0.05)


@contextmanager
def world(folder: Path, seed: int, *, object_store: str | None = None) -> Iterator[World]:
    """Lend a world with running servers and nothing else; everything in it ends with the block."""
    with ExitStack() as stack:
        bucket = {}
        if object_store is not None:
            lend = demo_object_store if object_store == "ministack" else _radosgw
            bucket = stack.enter_context(lend(folder))
        running = stack.enter_context(
            running_store(["chaos.features"], concurrency=0, folder=folder, **SETTINGS, **bucket)
        )
        made = World(running, seed)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def _radosgw(_: Path) -> Iterator[dict[str, str]]:
    """Run Ceph's gateway, which only a checkout knows how to, and give the settings of a store in a new bucket there."""
    sys.path.insert(0, str(BENCH.parents[1]))
    from tests.object_servers import running_radosgw  # noqa: PLC0415 - only benchmarks of a checkout run servers

    with running_radosgw() as server:
        yield server.new_bucket().settings()
