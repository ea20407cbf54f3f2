"""Redis: usage and counters on their way to Postgres. All of it may be lost at any moment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fstore.coordination.link import PREFIX, RedisLink

USAGE = PREFIX + "usage"
COUNTERS = PREFIX + "counters"
FLUSHING = PREFIX + "flushing"
KNOWN_SINCE = PREFIX + "known-since"


@dataclass(frozen=True, slots=True)
class UsageSnapshot:
    """Usage and counters taken out of Redis, to be written to Postgres and then dropped."""

    hits: Mapping[str, int]
    counters: Mapping[str, int]


class UsageBuffer:
    """Notes what was used and counted until a flush takes it; every method may raise ``BrokerUnavailable``."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

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

    def take(self) -> UsageSnapshot:
        """Set the notes aside for a flush, and return them; unfinished earlier flushes are taken up first."""

        def take(client: Any) -> UsageSnapshot:
            aside = {}
            for name in (USAGE, COUNTERS):
                target = name.replace(PREFIX, FLUSHING + ":")
                with contextlib.suppress(Exception):  # "no such key": nothing was noted since the last flush
                    client.renamenx(name, target)
                aside[name] = {k: int(v) for k, v in client.hgetall(target).items()}
            return UsageSnapshot(hits=aside[USAGE], counters=aside[COUNTERS])

        return self._link.call("taking notes of usage", take)

    def drop(self) -> None:
        """Forget the notes that were set aside, once Postgres has them."""
        names = [name.replace(PREFIX, FLUSHING + ":") for name in (USAGE, COUNTERS)]
        self._link.call("dropping notes of usage", lambda client: client.delete(*names))

    def pending_counters(self) -> dict[str, int]:
        """Return the counters that Postgres does not have yet."""
        waiting, moving = self.counters()
        return {name: waiting.get(name, 0) + moving.get(name, 0) for name in waiting | moving}

    def counters(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the counters that wait for the next flush, and those that a flush is moving to Postgres just now."""

        def read(client: Any) -> list[dict[str, str]]:
            pipe = client.pipeline(transaction=True)
            for name in (COUNTERS, COUNTERS.replace(PREFIX, FLUSHING + ":")):
                pipe.hgetall(name)
            found: list[dict[str, str]] = pipe.execute()
            return found

        waiting, moving = self._link.call("reading counters", read)
        return {name: int(n) for name, n in waiting.items()}, {name: int(n) for name, n in moving.items()}

    def known_for(self, now: float) -> float:
        """Return for how many seconds usage notes have been kept without a loss.

        The mark is set by whoever asks first after Redis lost its memory; upkeep condemns
        nothing by last access until the mark is old enough to have seen every trainer.
        """

        def read(client: Any) -> float:
            client.hsetnx(KNOWN_SINCE, "at", repr(now))
            return now - float(client.hget(KNOWN_SINCE, "at"))

        return max(0.0, self._link.call("reading the age of the usage notes", read))
