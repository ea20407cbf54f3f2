"""What days are copied from is hidden at the last moment, after the last look at it and before the commit: nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fstore.broker import Broker, parse_compute
from fstore.compute import execute_batch
from fstore.errors import BrokerUnavailable
from fstore.increments import contents_of
from fstore.postgres import Manifest
from fstore.store import FeatureStore
from tests import partitioned_features as features
from tests.conftest import House
from tests.integration.increments.test_random_edits import inline
from tests.integration.increments.test_segments import history, whole

__all__ = ["inline"]

DAYS = 6
RAW = history(DAYS)
YESTERDAY = RAW.iloc[:-12]

Hide = Callable[[FeatureStore, str, str], object]
HIDE: dict[str, Hide] = {
    "invalidated": lambda store, key, path: store.invalidate(key=key),
    "quarantined": lambda store, key, path: store.resources.manifest.quarantine(key, path),
}


def hide_before_publishing(house: House, hide: Hide, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have what is there hidden when the next rows are on their way to Postgres; the list tells of it."""
    (entry,) = house.store.resources.manifest.list_entries()
    hidden: list[str] = []
    publish = Manifest.publish

    def late(self: Manifest, *given: Any) -> Any:
        if not hidden:
            hidden.append(entry.key)
            hide(house.store, entry.key, entry.path)
        return publish(self, *given)

    monkeypatch.setattr(Manifest, "publish", late)
    return hidden


def _many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a chunk computed in one task."""

    def send(_: Broker, many: Any) -> None:
        execute_batch(house.store.resources, [parse_compute(each.wire()) for each in many], phase=lambda phase: None)

    monkeypatch.setattr(Broker, "send_compute_many", send)
    monkeypatch.setattr(Broker, "send_compute", lambda self, request: send(self, [request]))


def _here(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the trainer publish what it computed for itself."""

    def send(_: Broker, request: Any) -> None:
        raise BrokerUnavailable("publishing", "stopped by a test")

    monkeypatch.setattr(Broker, "send_publish", send)


@pytest.mark.parametrize("hide", list(HIDE.values()), ids=list(HIDE))
@pytest.mark.parametrize("way", [None, _many, _here])
def test_nothing_is_published_that_was_copied_from_what_is_hidden(
    inline: House, tmp_path: Path, hide: Hide, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the commit: the transaction asks once more, and all days are computed."""
    config = {"window": 4, "marks": str(tmp_path / "marks")}
    feature = features.own_spread if way is _here else features.spread
    if way is not None:
        way(inline, monkeypatch)
    inline.store.get_or_compute("S", YESTERDAY, config, feature)
    hidden = hide_before_publishing(inline, hide, monkeypatch)

    found = inline.store.get_or_compute("S", RAW, config, feature, timeout=30)

    assert hidden
    pd.testing.assert_frame_equal(found, whole(features.spread, RAW, {"window": 4}), check_exact=True)
    (answering,) = (e for e in inline.store.resources.manifest.list_entries() if e.state == "live")
    contents = contents_of(inline.store.resources.entries.read(answering.locator))
    assert contents is not None and contents.copied is None
    assert features.marks(tmp_path / "marks").count("2024-01-01") == 2, "once for each day's entry that may answer"
    assert inline.store.resources.jobs.count_by_state() == {}


@pytest.mark.parametrize("way", [None, _many, _here])
def test_a_copy_of_what_still_answers_has_the_bytes_of_a_full_compute(
    inline: House, tmp_path: Path, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file does not tell what it was copied from: one key, one content."""
    config = {"window": 4, "marks": str(tmp_path / "marks")}
    feature = features.own_spread if way is _here else features.spread
    if way is not None:
        way(inline, monkeypatch)
    manifest = inline.store.resources.manifest
    inline.store.get_or_compute("S", YESTERDAY, config, feature)
    (entry,) = manifest.list_entries()
    inline.store.get_or_compute("S", RAW, config, feature, timeout=30)
    (longer,) = (e for e in manifest.list_entries() if e.key != entry.key)
    assert features.marks(tmp_path / "marks").count("2024-01-01") == 1

    inline.store.invalidate(symbol="S")
    inline.store.get_or_compute("S", RAW, config, feature, timeout=30)
    (again,) = (e for e in manifest.list_entries() if e.state == "live")
    assert features.marks(tmp_path / "marks").count("2024-01-01") == 2
    assert again.path != longer.path
    assert again.content_digest == longer.content_digest


def test_what_nobody_waits_for_is_computed_again_at_once(
    inline: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker does not leave a key that lost its relative without a job and without an entry."""
    config = {"window": 4, "marks": str(tmp_path / "marks")}
    inline.store.get_or_compute("S", YESTERDAY, config, features.spread)
    hide_before_publishing(inline, HIDE["invalidated"], monkeypatch)
    ticket = inline.store.submit("S", RAW, config, features.spread)
    assert ticket.status() == "live"


def test_only_what_another_holds_all_of_is_marked(inline: House) -> None:
    """Whichever came first; equals and what only overlaps are not."""
    query = inline.store.resources.database.query

    def add(key: str, names: str, series: str = "aa") -> None:
        array = ", ".join(f"'\\x{ord(name):02x}'::bytea" for name in names)
        query(
            "INSERT INTO segments (key, series, period, names, created_ts) "
            f"VALUES ('{key}', '\\x{series}', '2024-01', ARRAY[{array}], now()) "
            "ON CONFLICT (key) DO UPDATE SET names = EXCLUDED.names"
        )

    def held() -> set[str]:
        return {key for (key,) in query("SELECT key FROM segments WHERE is_held")}

    add("long", "abcd")
    add("short", "abc")  # the later, and held
    add("other", "xbc")
    add("elsewhere", "ab", series="bb")
    assert held() == {"short"}
    add("same", "abcd")
    assert held() == {"short"}
    add("longest", "abcdx")
    assert held() == {"short", "long", "same", "other"}
    add("short", "abcdxy")  # published again, with more
    assert held() == {"long", "same", "other", "longest"}


def test_looking_for_held_segments_reads_no_others(inline: House) -> None:
    """By an index of those that are marked, however many there are."""
    query = inline.store.resources.database.query
    query(
        "INSERT INTO segments (key, series, period, names, created_ts) SELECT 'k' || n, decode(md5(n::text), 'hex'), "
        "'2024-01', ARRAY['\\x01'::bytea], now() FROM generate_series(1, 5000) AS n"
    )
    query("ANALYZE segments")
    text = inline.store.resources.upkeep._sql["superseded"]
    plan = "\n".join(line for (line,) in query("EXPLAIN " + text, {"limit": 50_000}))
    assert "segments_held" in plan
    assert "Seq Scan on segments" not in plan
    assert plan.count(" on manifest") == 1, "whoever holds is one of those that were read already"


def test_who_is_superseded_is_asked_of_those_that_answer_now(inline: House) -> None:
    """Marks stay when who held all of it is hidden; equals hold each other, and both stay; pinned ones stay."""
    resources = inline.store.resources
    query = resources.database.query
    for days in (2, 3, 4):
        inline.store.get_or_compute("S", RAW.iloc[: days * 12], {"window": 4}, features.spread)
    two, three, four = (key for (key,) in query("SELECT key FROM segments ORDER BY cardinality(names)"))

    def found() -> set[str]:
        return {key for key, *_ in resources.upkeep.superseded(limit=10)}

    assert found() == {two, three}
    query(f"INSERT INTO pins (key) VALUES ('{two}')")
    assert found() == {three}
    query("DELETE FROM pins")
    query(f"UPDATE manifest SET state = 'condemned', condemned_ts = now() WHERE key = '{four}'")
    assert found() == {two}
    query(f"UPDATE segments SET names = (SELECT names FROM segments WHERE key = '{three}') WHERE key = '{two}'")
    query("UPDATE segments SET is_held = true")
    assert found() == set()
    query(f"UPDATE manifest SET state = 'live' WHERE key = '{four}'")
    assert found() == {two, three}
    assert len(resources.upkeep.superseded(limit=1)) == 1
