"""Redis: usage and counters on their way to Postgres. All of it may be lost at any moment.

Whoever can write to Redis can write anything here. What is no note is set aside and
counted, and what stands beside it goes on: one bad field must not hold back those of
everybody.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fstore.coordination.link import PREFIX, RedisLink, ask_raw

log = logging.getLogger("fstore.usage")

USAGE = PREFIX + "usage"
COUNTERS = PREFIX + "counters"
FLUSHING = PREFIX + "flushing"
KNOWN_SINCE = PREFIX + "known-since"
SET_ASIDE = PREFIX + "set-aside"
SET_ASIDE_COUNTER = "notes_set_aside"
MOST_KEPT = 100  # of what was set aside last, for who wants to know where it comes from
MOST_SHOWN = 200
AHEAD_S = 86_400.0  # a mark further in the future than clocks are apart is none

_NAME = re.compile(rb"[ -~]{1,200}")
_NUMBER = re.compile(rb"[0-9]{1,16}")  # of one flush; a sum of many in Postgres stops at the largest bigint


@dataclass(frozen=True, slots=True)
class UsageSnapshot:
    """Usage and counters taken out of Redis, to be written to Postgres and then dropped."""

    hits: Mapping[str, int]
    counters: Mapping[str, int]


class _Note(NamedTuple):
    name: str
    field: str
    n: int


class UsageBuffer:
    """Notes what was used and counted until a flush takes it.

    Every method may raise ``BrokerUnavailable``.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def note(self, hits: Mapping[str, int], counters: Mapping[str, int]) -> None:
        """Add to the usage and counters that the next flush takes to Postgres, in one round trip.

        What cannot be added to, because somebody wrote something else there, is cleared away first.
        """
        notes = [_Note(USAGE, key, n) for key, n in hits.items()]
        notes += [_Note(COUNTERS, name, n) for name, n in counters.items()]

        def write(client: Any) -> None:
            refused = _add(client, notes)
            if refused:
                pipe = client.pipeline(transaction=False)
                for note, error in refused:
                    if "WRONGTYPE" in str(error):
                        pipe.delete(note.name)
                    else:
                        pipe.hdel(note.name, note.field)
                pipe.execute(raise_on_error=False)  # a trainer may not: then the next flush does, and these are lost
                spoiled = len({(note.name, "WRONGTYPE" in str(error) or note.field) for note, error in refused})
                _add(client, [*(note for note, _ in refused), _Note(COUNTERS, SET_ASIDE_COUNTER, spoiled)])

        self._link.call("noting usage", write)

    def take(self) -> UsageSnapshot:
        """Set the notes aside for a flush, and return them; unfinished earlier flushes are taken up first."""

        def take(client: Any) -> UsageSnapshot:
            found: dict[str, dict[str, int]] = {}
            spoiled = 0
            for name in (USAGE, COUNTERS):
                target = _moving(name)
                # "no such key": nothing was noted since the last flush. Any other refusal says nothing of what was, and
                # who went on would find none, and drop it.
                ask_raw(client, "RENAMENX", name, target)
                found[name], bad = _read(client, target)
                if bad is not None:
                    spoiled += _put_aside(client, target, bad)
            if spoiled:
                log.warning("%s notes of usage were no numbers and are set aside (%s in Redis)", spoiled, SET_ASIDE)
                counted = found[COUNTERS]
                counted[SET_ASIDE_COUNTER] = counted.get(SET_ASIDE_COUNTER, 0) + spoiled
            return UsageSnapshot(hits=found[USAGE], counters=found[COUNTERS])

        return self._link.call("taking notes of usage", take)

    def drop(self) -> None:
        """Forget the notes that were set aside, once Postgres has them."""
        names = [_moving(name) for name in (USAGE, COUNTERS)]
        self._link.call("dropping notes of usage", lambda client: client.delete(*names))

    def pending_counters(self) -> dict[str, int]:
        """Return the counters that Postgres does not have yet."""
        waiting, moving = self.counters()
        return {name: waiting.get(name, 0) + moving.get(name, 0) for name in waiting | moving}

    def counters(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the counters that wait for the next flush, and those on their way to Postgres just now."""

        def read(client: Any) -> tuple[dict[str, int], dict[str, int]]:
            return _read(client, COUNTERS)[0], _read(client, _moving(COUNTERS))[0]

        return self._link.call("reading counters", read)

    def known_for(self, now: float) -> float:
        """Return for how many seconds usage notes have been kept without a loss.

        The mark is set by whoever asks first after Redis lost its memory; upkeep condemns
        nothing by last access until the mark is old enough to have seen every trainer.
        """

        def read(client: Any) -> float:
            made = ask_raw(client, "HSETNX", KNOWN_SINCE, "at", repr(now))
            since = _moment(ask_raw(client, "HGET", KNOWN_SINCE, "at"))
            if isinstance(made, Exception) or since is None or not 0 < since <= now + AHEAD_S:
                client.delete(KNOWN_SINCE)
                client.hsetnx(KNOWN_SINCE, "at", repr(now))
                return 0.0
            return now - since

        return max(0.0, self._link.call("reading the age of the usage notes", read))


def _moving(name: str) -> str:
    return name.replace(PREFIX, FLUSHING + ":")


def _add(client: Any, notes: list[_Note]) -> list[tuple[_Note, Exception]]:
    """Add notes, all that can be, and return the others with the server's errors."""
    pipe = client.pipeline(transaction=True)
    for note in notes:
        pipe.hincrby(*note)
    answers = pipe.execute(raise_on_error=False)
    return [(note, answer) for note, answer in zip(notes, answers, strict=True) if isinstance(answer, Exception)]


def _read(client: Any, name: str) -> tuple[dict[str, int], dict[bytes, bytes] | None]:
    """Return the notes of a hash and what stands beside them that is none.

    An empty dict of these: the key itself is no hash.
    """
    found = ask_raw(client, "HGETALL", name)
    if isinstance(found, Exception):
        return {}, {}
    good: dict[str, int] = {}
    bad: dict[bytes, bytes] = {}
    for field, value in found.items():
        if _NAME.fullmatch(field) and _NUMBER.fullmatch(value):
            good[field.decode()] = int(value)
        else:
            bad[field] = value
    return good, bad or None


def _put_aside(client: Any, name: str, bad: Mapping[bytes, bytes]) -> int:
    """Clear away what is no note, keep a little of it for a look, and return how much it was."""
    if not bad:
        client.delete(name)
        return 1
    kept = {name.encode() + b":" + field[:MOST_SHOWN]: bad[field][:MOST_SHOWN] for field in list(bad)[:MOST_KEPT]}
    pipe = client.pipeline(transaction=True)
    pipe.delete(SET_ASIDE)
    pipe.hset(SET_ASIDE, mapping=kept)
    pipe.hdel(name, *bad)
    pipe.execute()
    return len(bad)


def _moment(text: object) -> float | None:
    try:
        found = float(text) if isinstance(text, bytes) else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None
