"""Redis: the dedup lock of each key, so that of many who miss only one registers a computation."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fstore.coordination.link import PREFIX, RedisLink, Wire
from fstore.errors import BrokerUnavailable
from fstore.runtime.heartbeat import heartbeat

TRIES_WHILE_CHANGED = 3


def lock_name(fingerprint: str, key: str) -> str:
    """Return the dedup lock's name: fingerprint first, so that all work on one data set sorts together."""
    return f"{PREFIX}dedup:{fingerprint}:{key}"


@dataclass(frozen=True, slots=True)
class DedupLock:
    """The dedup lock of one key, held under a token nobody else has."""

    name: str
    token: str


class DedupLocks:
    """Takes and gives back dedup locks, many in a round trip.

    Every method may raise ``BrokerUnavailable``. They may be lost at any moment; only time is lost with them.
    """

    def __init__(self, link: RedisLink, *, lock_s: float) -> None:
        self._link = link
        self._lock_ms = round(lock_s * 1000)

    def take(self, fingerprint: str, key: str) -> DedupLock | None:
        """Take the dedup lock of ``key``, or return None when somebody else leads."""
        return self.take_many({key: fingerprint}).get(key)

    def take_many(self, fingerprint_by_key: Mapping[str, str]) -> dict[str, DedupLock]:
        """Take the dedup locks of many keys in one round trip, and return those that were free."""
        locks = {
            key: DedupLock(lock_name(fingerprint, key), uuid.uuid4().hex)
            for key, fingerprint in fingerprint_by_key.items()
        }

        tries = [("SET", lock.name, lock.token, "NX", "PX", str(self._lock_ms)) for lock in locks.values()]
        won = self._link.talk("taking dedup locks", lambda wire: wire.exchange(*tries))
        return {key: lock for (key, lock), mine in zip(locks.items(), won, strict=True) if mine}

    def renew(self, lock: DedupLock) -> bool:
        """Prolong a lock that is still ours; False when it lapsed."""

        def renew(wire: Wire) -> bool:
            if wire.exchange(("WATCH", lock.name), ("GET", lock.name))[1] != lock.token.encode():
                wire.exchange(("UNWATCH",))
                return False
            done = wire.exchange(("MULTI",), ("PEXPIRE", lock.name, str(self._lock_ms)), ("EXEC",))[2]
            return done is not None and bool(done[0])

        return self._link.talk("renewing a dedup lock", renew)

    def release(self, lock: DedupLock) -> None:
        """Give a lock up if it is still ours."""
        self.release_many([lock])

    def release_many(self, locks: Sequence[DedupLock]) -> None:
        """Give up those locks that are still ours, in a few round trips.

        When somebody interferes, they are left to lapse.
        """
        # A plain DEL after a pause would hit the next holder's lock. It is no script, so that trainers need no
        # right to run code in Redis.
        names = [lock.name for lock in locks]

        def release(wire: Wire) -> None:
            for _ in range(TRIES_WHILE_CHANGED):
                _, held = wire.exchange(("WATCH", *names), ("MGET", *names))
                mine = [lock.name for lock, token in zip(locks, held, strict=True) if token == lock.token.encode()]
                if not mine:
                    wire.exchange(("UNWATCH",))
                    return
                if wire.exchange(("MULTI",), ("DEL", *mine), ("EXEC",))[2] is not None:
                    return

        if names:
            self._link.talk("releasing dedup locks", release)

    @contextlib.contextmanager
    def holding(self, locks: Sequence[DedupLock], *, renewed: bool = True) -> Iterator[None]:
        """Release locks when the block ends; ``renewed`` keeps them alive in a block that may outlast them.

        A lock that cannot be renewed or released is left to lapse: it saves work, it
        protects nothing.
        """
        try:
            with (
                heartbeat("fstore-dedup-lock", self._lock_ms / 3000, lambda: sum(map(self.renew, locks)) > 0)
                if renewed
                else contextlib.nullcontext()
            ):
                yield
        finally:
            with contextlib.suppress(BrokerUnavailable):
                self.release_many(locks)
