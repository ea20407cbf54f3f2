"""How each kind of fault is done to the world, and undone."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg2
import redis

from chaos import collector
from chaos.crew import Member, children_of
from chaos.schedule import Fault
from chaos.world import World
from fstore.errors import StorageUnavailable

STOP_WITHIN_S = 45.0

T = TypeVar("T")

Later = tuple[float, Callable[[], "Later | None"]]


def play(world: World, faults: tuple[Fault, ...]) -> None:
    """Do every fault when its time comes, undo those that last, and start again what ended; until the trainers end."""
    began, number = time.monotonic(), count()
    agenda: list[tuple[float, int, Callable[[], Later | None]]] = [
        (began + fault.at_s, next(number), partial(strike, world, fault)) for fault in faults
    ]
    while agenda or time.monotonic() < world.ends_at:
        world.look_after()
        if not agenda or agenda[0][0] > time.monotonic():
            time.sleep(0.05)
            continue
        later = heappop(agenda)[2]()
        if later is not None:
            heappush(agenda, (time.monotonic() + later[0], next(number), later[1]))


def strike(world: World, fault: Fault) -> Later | None:
    """Do one fault now, and return how and when to undo it."""
    kind, _, act = fault.kind.partition("_")
    skipped = ""
    later: Later | None = None
    try:
        match kind:
            case "worker" | "trainer" | "beat" | "collector":
                later = _strike_member(world, world.member(kind, fault.target), act, fault)
            case "child":
                later = _strike_child(world, world.member("worker", fault.target), act, fault)
            case "redis" | "postgres" | "objects":
                later = _SERVERS[fault.kind](world, fault)
            case _:
                _FILES_AND_LOCKS[fault.kind](world, fault)
    except (Nothing, psycopg2.Error, psutil.Error, redis.RedisError, OSError, StorageUnavailable) as error:
        skipped = f"{type(error).__name__}: {error}"[:200]
    world.journal.write(
        phase="fault",
        kind=fault.kind,
        target=fault.target,
        lasting_s=fault.lasting_s,
        planned_s=fault.at_s,
        skipped=skipped,
    )
    return later


class Nothing(Exception):
    """There is nothing right now that this fault could strike."""


def _strike_member(world: World, member: Member, act: str, fault: Fault) -> Later | None:
    if not member.is_alive() or member.expected_down:
        raise Nothing(f"{member.who} is down")
    life = member.life
    if act == "freeze":
        world.journal.write(phase="pause", member=member.who)
        member.signal(signal.SIGSTOP)
        return fault.lasting_s, lambda: _resume(world, member)
    member.expected_down = True
    if act == "kill":
        world.journal.write(phase="killed", member=member.who)
        member.signal(signal.SIGKILL)
    else:
        member.signal_main(signal.SIGTERM)
    told_at = time.monotonic()
    return fault.lasting_s, lambda: _start_again(world, member, life, told_at)


def _resume(world: World, member: Member) -> None:
    member.signal(signal.SIGCONT)
    world.journal.write(phase="resume", member=member.who)


def _start_again(world: World, member: Member, life: int, told_at: float) -> Later | None:
    if member.life != life:
        return None
    if member.is_alive():
        if time.monotonic() - told_at < STOP_WITHIN_S:
            return 0.5, lambda: _start_again(world, member, life, told_at)
        world.journal.write(phase="killed at stop", member=member.who)
        member.signal_main(signal.SIGKILL)
        member.wait(5)
    member.start()
    return None


def _strike_child(world: World, member: Member, act: str, fault: Fault) -> Later | None:
    children = children_of(member.pid) if member.is_alive() else []
    if not children:
        raise Nothing(f"{member.who} has no child")
    child = _chosen(children, fault)
    if act == "kill":
        child.kill()
        return None
    child.suspend()

    def resume() -> None:
        with suppress(psutil.Error):
            child.resume()

    return fault.lasting_s, resume


def _redis_flush(world: World, fault: Fault) -> None:
    with world.redis() as client:
        client.flushall()


def _redis_restart(world: World, fault: Fault) -> Later:
    data = Path(world.servers.redis.spec.cwd)
    world.servers.kill_redis()
    for path in data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return fault.lasting_s, world.servers.start_redis


def _postgres_restart(world: World, fault: Fault) -> Later:
    process = world.servers.postgres.process
    assert process is not None
    process.send_signal(signal.SIGQUIT)  # an immediate stop: no checkpoint, recovery at the start
    process.wait(20)
    return fault.lasting_s, world.servers.start_postgres


def _freeze_server(world: World, fault: Fault) -> Later:
    main = (world.servers.postgres if fault.kind.startswith("postgres") else world.servers.redis).pid
    stopped = [main, *(child.pid for child in children_of(main))]
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)

    def thaw() -> None:
        for pid in reversed(stopped):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return fault.lasting_s, thaw


def _postgres_terminate(world: World, fault: Fault) -> None:
    world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND application_name <> 'chaos/witness'"
    )


def _damage_entry(world: World, fault: Fault) -> None:
    paths = [path for (path,) in world.sql("SELECT path FROM manifest WHERE state = 'live' ORDER BY path")]
    path = _chosen(paths, fault)
    world.journal.write(phase="damage", path=path, how=fault.kind)
    if fault.kind == "entry_unlink":
        world.files.delete(str(path))
        return

    def damaged(data: bytes) -> bytes:
        at = int(fault.pick * len(data) * 7919) % len(data)
        if fault.kind == "entry_truncate":
            return data[:at]
        return data[:at] + bytes([data[at] ^ (1 << int(fault.pick * 8))]) + data[at + 1 :]

    world.files.damage(str(path), damaged)


def _unlink_staged(world: World, fault: Fault) -> None:
    staged = sorted(p for p in world.files.paths() if p.startswith("staging/raw/") and p.endswith(".arrow"))
    world.files.delete(_chosen(staged, fault))


def _freeze_objects(world: World, fault: Fault) -> Later:
    """Stop the object store without closing a connection."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one that ended and was not waited for yet
            words = " ".join(child.cmdline())
            found += [child] if "ministack" in words or words.startswith("radosgw ") else []
    server = _chosen(found, fault)
    server.suspend()
    return fault.lasting_s, server.resume


def _delete_locks(world: World, fault: Fault) -> None:
    with world.redis() as client:
        for name in client.scan_iter("fstore:dedup:*"):
            client.delete(name)


def _collect_again(world: World, fault: Fault) -> None:
    threading.Thread(target=collector.collect, args=(world.resources, world.journal), daemon=True).start()


def _chosen(things: Sequence[T], fault: Fault) -> T:
    if not things:
        raise Nothing("nothing to choose from")
    return things[int(fault.pick * len(things))]


_SERVERS: dict[str, Callable[[World, Fault], Later | None]] = {
    "redis_flush": _redis_flush,
    "redis_restart": _redis_restart,
    "redis_freeze": _freeze_server,
    "postgres_restart": _postgres_restart,
    "postgres_freeze": _freeze_server,
    "postgres_terminate": _postgres_terminate,
    "objects_freeze": _freeze_objects,
}
_FILES_AND_LOCKS: dict[str, Callable[[World, Fault], None]] = {
    "entry_flip": _damage_entry,
    "entry_truncate": _damage_entry,
    "entry_unlink": _damage_entry,
    "staged_unlink": _unlink_staged,
    "lock_delete": _delete_locks,
    "collect_again": _collect_again,
}
