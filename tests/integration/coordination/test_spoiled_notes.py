"""Notes of usage that are none: written into Redis by whoever can; they are set aside, and the rest goes its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from fstore.coordination.usage_buffer import COUNTERS, FLUSHING, KNOWN_SINCE, SET_ASIDE, USAGE
from fstore.upkeep.usage import UsageFlush
from tests.conftest import House

KEY = "ab" * 32
BAD = [b"1e9", b"", b"-5", b"1.5", b"nan", b"9" * 16 + b"9", b"9223372036854775807", b"99999999999999999999", b"\xff\xfe", b"\0", b"0x10", b"\xd9\xa1", b"1 ", b"+1"]  # fmt: skip
HASHES = [USAGE, COUNTERS, f"{FLUSHING}:usage", f"{FLUSHING}:counters"]


@pytest.fixture
def link(house: House) -> redis.Redis:
    return redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])


def flushed(house: House) -> int:
    """Flush, and return how many notes were set aside by then."""
    UsageFlush.of(house.store.resources).move()
    return house.store.resources.usage.counters().get("notes_set_aside", 0)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", HASHES)
def test_a_bad_number_holds_nothing_back(house: House, link: redis.Redis, name: str, value: bytes) -> None:
    """What stands beside it is moved, it is counted once, and statistics go on meanwhile."""
    link.hset(name, "spoiled", value)
    link.hset(name, KEY if "usage" in name else "cache_hits", 3)
    assert house.store.get_cache_stats()["cache_hits"] in (0, 3)
    assert flushed(house) == 1
    usage = house.store.resources.usage
    assert (usage.of_entry(KEY) or (0,))[0] == (3 if "usage" in name else 0)
    assert usage.counters().get("cache_hits", 0) == (0 if "usage" in name else 3)
    assert flushed(house) == 1
    assert link.hlen(SET_ASIDE) == 1


@pytest.mark.parametrize("field", [b"\0", b"\xff\xfe", b"", b"x" * 5000, "ключ".encode()])
@pytest.mark.parametrize("name", HASHES)
def test_a_bad_name_holds_nothing_back(house: House, link: redis.Redis, name: str, field: bytes) -> None:
    """Postgres takes no zero bytes, and redis-py decodes no such text."""
    link.hset(name, field, 1)
    link.hset(name, "good", 1)
    house.store.get_cache_stats()
    assert flushed(house) == 1


MAKE: dict[str, Callable[[redis.Redis, str], object]] = {
    "text": lambda link, name: link.set(name, "x"),
    "list": lambda link, name: link.lpush(name, "x"),
    "set": lambda link, name: link.sadd(name, "x"),
    "sorted set": lambda link, name: link.zadd(name, {"x": 1}),
    "stream": lambda link, name: link.xadd(name, {"x": "1"}),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("name", [*HASHES, KNOWN_SINCE])
def test_a_key_of_another_type_holds_nothing_back(house: House, link: redis.Redis, name: str, kind: str) -> None:
    """It is cleared away, whoever meets it first: who notes, or the flush."""
    resources = house.store.resources
    MAKE[kind](link, name)
    house.store.get_cache_stats()
    resources.usage_buffer.note({KEY: 2}, {"cache_hits": 2})
    flushed(house)
    flushed(house)
    assert resources.usage.of_entry(KEY)[0] == 2
    assert resources.usage.counters()["cache_hits"] == 2
    assert name == KNOWN_SINCE or resources.usage.counters()["notes_set_aside"] == 1


@pytest.mark.parametrize("value", [b"1e9", b"9223372036854775807", b"\xff"])
def test_what_is_noted_is_not_counted_twice_beside_a_spoiled_field(
    house: House, link: redis.Redis, value: bytes
) -> None:
    """Adding to a field that is no number fails; the other notes were taken, and are not taken again."""
    recorder = house.store.resources.recorder
    link.hset(COUNTERS, "computed", value)
    recorder.count("computed", 5)
    recorder.count("cache_hits", 7)
    for _ in range(3):
        assert recorder.flush()
    flushed(house)
    counters = house.store.resources.usage.counters()
    assert (counters["cache_hits"], counters["computed"], counters["notes_set_aside"]) == (7, 5, 1)


def test_sums_stop_at_the_largest_number_of_postgres(house: House) -> None:
    """Many notes, each within its bounds, can pass it together."""
    usage = house.store.resources.usage
    for _ in range(3):
        usage.add({KEY: 2**62}, {"cache_hits": 2**62})
    assert usage.of_entry(KEY)[0] == usage.counters()["cache_hits"] == 2**63 - 1


@pytest.mark.parametrize("value", [b"x", b"", b"nan", b"inf", b"-inf", b"-1", b"1e300", b"\xff"])
def test_a_mark_that_is_no_time_is_set_anew(house: House, link: redis.Redis, value: bytes) -> None:
    """Or collections would rest for ever, or believe that usage was always known."""
    buffer = house.store.resources.usage_buffer
    link.hset(KNOWN_SINCE, "at", value)
    assert buffer.known_for(1_800_000_000.0) == 0.0
    assert buffer.known_for(1_800_000_060.0) == 60.0


def test_entries_in_use_are_known_beside_spoiled_notes(house: House, link: redis.Redis) -> None:
    """Collections go by usage: a spoiled field does not hide that of others."""
    link.hset(USAGE, "a" * 64, "1e9")
    house.store.resources.usage_buffer.note({KEY: 1}, {})
    assert UsageFlush.of(house.store.resources).bring_up_to_date() is None
    assert house.store.resources.usage.of_entry(KEY)[0] == 1
