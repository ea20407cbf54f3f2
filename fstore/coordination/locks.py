"""Redis: dedup locks, hints, usage and counters. All of it may be lost at any moment; only time is lost with it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fstore.coordination.link import RedisLink
from fstore.errors import BrokerUnavailable
from fstore.runtime.heartbeat import heartbeat

PREFIX = "fstore:"
USAGE = PREFIX + "usage"
COUNTERS = PREFIX + "counters"
FLUSHING = PREFIX + "flushing"
KNOWN_SINCE = PREFIX + "known-since"


def lock_name(fingerprint: str, key: str) -> str:
    """Return the dedup lock's name: fingerprint first, so that all work on one data set sorts together."""
    return f"{PREFIX}dedup:{fingerprint}:{key}"


def hint_channel(key: str) -> str:
    """Return the channel on which the end of ``key``'s computation is announced."""
    return f"{PREFIX}done:{key}"


def key_of_channel(channel: str) -> str:
    """Return the key that a hint's channel is about."""
    return channel.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Lead:
    """The dedup lock of one key, held under a token nobody else has."""

    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Notes:
    """Usage and counters taken out of Redis, to be written to Postgres and then dropped."""

    hits: Mapping[str, int]
    counters: Mapping[str, int]


class Coordination:
    """What trainers and workers tell each other through Redis; every method may raise ``BrokerUnavailable``."""

    def __init__(self, link: RedisLink, *, lock_s: float) -> None:
        self._link = link
        self._lock_ms = round(lock_s * 1000)

    def lead(self, fingerprint: str, key: str) -> Lead | None:
        """Take the dedup lock of ``key``, or return None when somebody else leads."""
        return self.lead_many({key: fingerprint}).get(key)

    def lead_many(self, fingerprint_by_key: Mapping[str, str]) -> dict[str, Lead]:
        """Take the dedup locks of many keys in one round trip, and return those that were free."""
        leads = {
            key: Lead(lock_name(fingerprint, key), uuid.uuid4().hex) for key, fingerprint in fingerprint_by_key.items()
        }

        def take(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for lead in leads.values():
                pipe.set(lead.name, lead.token, nx=True, px=self._lock_ms)
            taken: list[Any] = pipe.execute()
            return taken

        won = self._link.call("taking dedup locks", take)
        return {key: lead for (key, lead), mine in zip(leads.items(), won, strict=True) if mine}

    def renew(self, lead: Lead) -> bool:
        """Prolong a lock that is still ours; False when it lapsed."""
        return self._link.call_if_held(
            "renewing a dedup lock", lead.name, lead.token, lambda pipe: pipe.pexpire(lead.name, self._lock_ms)
        )

    def release(self, lead: Lead) -> None:
        """Give a lock up if it is still ours."""
        self.release_many([lead])

    def release_many(self, leads: Sequence[Lead]) -> None:
        """Give up those locks that are still ours, in a few round trips; when somebody interferes, they are left to lapse."""
        tokens = {lead.name: lead.token for lead in leads}
        self._link.delete_if_held("releasing dedup locks", tokens)

    @contextlib.contextmanager
    def holding(self, leads: Sequence[Lead], *, renewed: bool = True) -> Iterator[None]:
        """Release locks when the block ends; ``renewed`` keeps them alive in a block that may outlast them.

        A lock that cannot be renewed or released is left to lapse: it saves work, it
        protects nothing.
        """
        try:
            with (
                heartbeat("fstore-dedup-lock", self._lock_ms / 3000, lambda: sum(map(self.renew, leads)) > 0)
                if renewed
                else contextlib.nullcontext()
            ):
                yield
        finally:
            with contextlib.suppress(BrokerUnavailable):
                self.release_many(leads)

    def announce(self, keys: Sequence[str], counters: Mapping[str, int]) -> None:
        """Count what was done and tell waiters that these keys are settled, in that order and one round trip."""

        def publish(client: Any) -> None:
            pipe = client.pipeline(transaction=False)
            for name, n in counters.items():
                pipe.hincrby(COUNTERS, name, n)
            for key in keys:
                pipe.publish(hint_channel(key), "settled")
            pipe.execute()

        self._link.call("announcing results", publish)

    def note(self, hits: Mapping[str, int], counters: Mapping[str, int]) -> None:
        """Add to the usage and counters that the next flush takes to Postgres, in one round trip."""

        def write(client: Any) -> None:
            pipe = client.pipeline(transaction=True)
            for key, n in hits.items():
                pipe.hincrby(USAGE, key, n)
            for name, n in counters.items():
                pipe.hincrby(COUNTERS, name, n)
            pipe.execute()

        self._link.call("noting usage", write)

    def take_notes(self) -> Notes:
        """Set the notes aside for a flush, and return them; unfinished earlier flushes are taken up first."""

        def take(client: Any) -> Notes:
            aside = {}
            for name in (USAGE, COUNTERS):
                target = name.replace(PREFIX, FLUSHING + ":")
                with contextlib.suppress(Exception):  # "no such key": nothing was noted since the last flush
                    client.renamenx(name, target)
                aside[name] = {k: int(v) for k, v in client.hgetall(target).items()}
            return Notes(hits=aside[USAGE], counters=aside[COUNTERS])

        return self._link.call("taking notes of usage", take)

    def drop_notes(self) -> None:
        """Forget the notes that were set aside, once Postgres has them."""
        names = [name.replace(PREFIX, FLUSHING + ":") for name in (USAGE, COUNTERS)]
        self._link.call("dropping notes of usage", lambda client: client.delete(*names))

    def pending_counters(self) -> dict[str, int]:
        """Return the counters that Postgres does not have yet."""
        waiting, moving = self.noted_counters()
        return {name: waiting.get(name, 0) + moving.get(name, 0) for name in waiting | moving}

    def noted_counters(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the counters that wait for the next flush, and those that a flush is moving to Postgres just now."""

        def read(client: Any) -> list[dict[str, str]]:
            pipe = client.pipeline(transaction=True)
            for name in (COUNTERS, COUNTERS.replace(PREFIX, FLUSHING + ":")):
                pipe.hgetall(name)
            found: list[dict[str, str]] = pipe.execute()
            return found

        waiting, moving = self._link.call("reading counters", read)
        return {name: int(n) for name, n in waiting.items()}, {name: int(n) for name, n in moving.items()}

    def usage_known_for(self, now: float) -> float:
        """Return for how many seconds usage notes have been kept without a loss.

        The mark is set by whoever asks first after Redis lost its memory; upkeep condemns
        nothing by last access until the mark is old enough to have seen every trainer.
        """

        def read(client: Any) -> float:
            client.hsetnx(KNOWN_SINCE, "at", repr(now))
            return now - float(client.hget(KNOWN_SINCE, "at"))

        return max(0.0, self._link.call("reading the age of the usage notes", read))

    def queue_length(self, queue: str) -> int:
        """Return how many messages wait in a Celery queue."""
        return int(self._link.call("reading a queue's length", lambda client: client.llen(PREFIX + queue)))

    def is_drained(self, queue: str) -> bool:
        """Return whether no message waits in a Celery queue; False when Redis cannot say."""
        with contextlib.suppress(BrokerUnavailable):
            return self.queue_length(queue) == 0
        return False

    def is_up(self) -> bool:
        """Return whether Redis answers now."""
        return self._link.is_up()

    def server(self) -> tuple[Mapping[str, Any], float]:
        """Return what Redis says about itself (``INFO``) and its time, in seconds since 1970."""

        def ask(client: Any) -> tuple[Mapping[str, Any], float]:
            seconds, microseconds = client.time()
            return client.info(), seconds + microseconds / 1e6

        return self._link.call("asking Redis about itself", ask)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()
