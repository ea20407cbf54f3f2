"""The end of a chaos run: let everything come to rest, ask once more, collect, stop, and see what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from signal import SIGKILL, SIGTERM

from blake3 import blake3

from chaos.asks import hot_asks
from chaos.checker import Change, EndedRow
from chaos.collector import collect
from chaos.crew import Member
from chaos.trainer import ask_all
from chaos.world import GRACE_S, World
from fstore.stack import carrying
from fstore.storage import file_of

TRAINERS_END_WITHIN_S = 60.0
REST_WITHIN_S = 60.0
STOP_WITHIN_S = 40.0
CLOSING = "closing"


def come_to_rest(world: World) -> list[str]:
    """Let trainers end, jobs finish, a last trainer ask, garbage go; return whatever did not."""
    trainers = [member for name, member in world.members.items() if name.startswith("trainer")]
    ends_at = time.monotonic() + TRAINERS_END_WITHIN_S
    left = [
        f"{trainer.who} still runs {TRAINERS_END_WITHIN_S:g} s after its end"
        for trainer in trainers
        if not trainer.wait(ends_at - time.monotonic())
    ]
    left += _waited(world, "before the last questions")
    last = Member(CLOSING, lambda _: world.forkery.start(ask_all, world.environment, hot_asks(), CLOSING))
    last.start()
    if not last.wait(120):
        last.signal(SIGKILL)
        left.append("the last trainer did not end within 120 s")
    left += _waited(world, "after the last questions")
    return left + _collected(world)


def stop(world: World) -> list[str]:
    """Stop workers, Beats and the collector as a service manager would; return every process that is left."""
    world.members["collector"].signal(SIGKILL)
    crew = [member for member in world.members.values() if member.is_supervised]
    for member in crew:
        member.expected_down = True
        member.signal_main(SIGTERM)
    ends_at = time.monotonic() + STOP_WITHIN_S
    for member in crew:
        if not member.wait(ends_at - time.monotonic()):
            world.journal.write(phase="killed at stop", member=member.who)
            member.signal_main(SIGKILL)
    _until(lambda: not carrying(world.token), 5)
    return [f"process {process.pid}: {' '.join(process.cmdline())[:200]}" for process in carrying(world.token)]


def dead_threads(world: World) -> list[str]:
    """Return every thread of a worker or Beat that died of an error, as their logs tell."""
    return [
        f"{log.name}: {line}"
        for log in sorted(world.logs.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if line.startswith("Exception in thread")
    ]


def changes(world: World) -> list[Change]:
    """Return every change of the manifest, in the order it was made."""
    rows = world.sql(
        "SELECT extract(epoch FROM at)::float8, key, path, symbol, was, state, withdrawn, content_digest,"
        " extract(epoch FROM created_ts)::float8, extract(epoch FROM condemned_ts)::float8 FROM chaos_changes ORDER BY id"
    )
    return [Change(*row) for row in rows]


def ended_rows(world: World) -> list[EndedRow]:
    """Return every row of the manifest with the digest of its file as it lies there now."""
    rows = world.sql("SELECT key, path, state, content_digest FROM manifest ORDER BY key")
    return [EndedRow(key, path, state, written, _digest(world, path)) for key, path, state, written in rows]


def _waited(world: World, when: str) -> list[str]:
    """Wait until no job is under way and no lock is held; tell what still is."""
    _until(lambda: not _unrest(world), REST_WITHIN_S)
    return [f"{what} {when}" for what in _unrest(world)]


def _unrest(world: World) -> list[str]:
    jobs = world.sql("SELECT 'job ' || key || ' is ' || state FROM jobs WHERE state IN ('queued', 'running')")
    with world.redis() as client:
        names = list(client.scan_iter("fstore:dedup:*"))
    return [text for (text,) in jobs] + [f"lock {name}" for name in names]


def _collected(world: World) -> list[str]:
    """Collect until only files of rows are left, and tell what is left beside them."""

    strays: list[str] = []

    def settled() -> bool:
        collect(world.resources, world.journal)
        strays[:] = _strays(world)
        return not strays

    # Seen once without is without: the collector goes on, and puts a probe into a bucket each time.
    _until(settled, GRACE_S + REST_WITHIN_S, every_s=2)
    locks = world.sql(
        "SELECT 'advisory lock of ' || a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND a.state_change < now() - interval '20 seconds'"
    )
    return [*strays, *(text for (text,) in locks)]


def _strays(world: World) -> list[str]:
    named = {file_of(path) for (path,) in world.sql("SELECT path FROM manifest")}
    found = (path for path in world.files.paths() if path != "STORE_ID" and not path.startswith("quarantine/"))
    return [f"file {path}" for path in found if path not in named]


def _digest(world: World, path: str) -> str | None:
    data = world.files.read(path)
    return None if data is None else str(blake3(data).hexdigest())


def _until(condition: Callable[[], bool], seconds: float, *, every_s: float = 0.2) -> bool:
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(every_s)
    return True
