"""Segments where servers are away, in collections, in tickets that travel, in commands, and in messages that do not fit."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.broker import ComputeRequest, RawReference
from fstore.broker.messages import parse_compute
from fstore.client.enqueue import _lanes
from fstore.compute import execute
from fstore.increments.contents import CONTENTS_KEY
from fstore.stack import EmbeddedServers, temporary_servers
from fstore.upkeep.collection.policy import GarbagePolicy
from fstore.upkeep.collection.run import run_collection
from tests import partitioned_features as features
from tests.conftest import House, Servers, build_house
from tests.integration.increments.test_random_edits import inline
from tests.integration.increments.test_segments import CONFIG, history, whole
from tests.support.commands import fstore as command

__all__ = ["inline"]

RAW = history(40)
NO_GRACE = GarbagePolicy(retention=timedelta(weeks=4), grace=timedelta())
MODULES = "tests.partitioned_features,tests.sample_features"


def right(found: pd.DataFrame, raw: pd.DataFrame = RAW) -> None:
    pd.testing.assert_frame_equal(found, whole(features.spread, raw, dict(CONFIG)), check_exact=True)


@pytest.fixture(scope="module")
def machine() -> Iterator[EmbeddedServers]:
    """Servers that these tests stop and start again."""
    with temporary_servers() as running:
        yield running


@pytest.fixture
def away(machine: EmbeddedServers, tmp_path: Path) -> Iterator[House]:
    """A store whose servers may be stopped."""
    with ExitStack() as stack:
        house = build_house(
            Servers(machine.postgres_url, machine.redis_url),
            tmp_path,
            stack,
            feature_modules=MODULES,
            trust_staged_results="true",
        )
        stack.callback(machine.start_redis)
        stack.callback(machine.start_postgres)
        yield house


def test_without_redis_segments_are_computed_here_and_published(away: House, machine: EmbeddedServers) -> None:
    """Each under its own lease; a day that is appended then is one day, for the months are there."""
    machine.kill_redis()
    right(away.store.get_or_compute("S", RAW.iloc[:-12], CONFIG, features.spread), RAW.iloc[:-12])
    right(away.store.get_or_compute("S", RAW, CONFIG, features.spread))

    rows = sorted(each.rows for each in away.store.resources.manifest.list_entries(symbol="S"))
    assert rows == [8 * 12, 9 * 12, 31 * 12]
    assert away.store.resources.jobs.count_by_state() == {}


def test_without_postgres_segments_are_computed_here_and_kept_nowhere(away: House, machine: EmbeddedServers) -> None:
    """The answer is that of the definition all the same, also a part of it, and of a local feature."""
    machine.kill_postgres()
    right(away.store.get_or_compute("S", RAW, CONFIG, features.spread, timeout=20))
    found = away.store.get_or_compute("S", RAW, CONFIG, features.own_spread, timeout=20, between=("2024-02-01", None))
    expected = whole(features.spread, RAW, dict(CONFIG)).loc["2024-02-01":]
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_freq=False)


def test_what_others_hold_all_of_is_collected(inline: House) -> None:
    """Of a month that grew day by day the last stays; nothing else is touched, and whoever asks for less is answered."""
    store = inline.store
    for days in range(1, 6):
        right(store.get_or_compute("S", RAW.iloc[: days * 12], CONFIG, features.spread), RAW.iloc[: days * 12])
    store.get_or_compute("OTHER", RAW, CONFIG, features.spread)
    corrected = RAW.iloc[: 5 * 12].assign(bid=RAW["bid"].iloc[: 5 * 12].where(RAW.index[: 5 * 12].day != 3, 1.0))
    store.get_or_compute("S", corrected, CONFIG, features.spread)
    store.resources.recorder.flush()

    plan = run_collection(store.resources, NO_GRACE, dry_run=True, force=True)
    assert plan.as_dict()["plan"]["condemn"]["by_reason"]["superseded"]["count"] == 4
    store.resources.database.query("INSERT INTO segments VALUES ('gone', '', '2024-01', '{}', now())")
    run_collection(store.resources, NO_GRACE, force=True)

    assert sorted(each.rows for each in store.resources.manifest.list_entries(symbol="S")) == [60, 60]
    assert len(store.resources.database.query("SELECT key FROM segments")) == 2 + 2
    assert len(store.resources.manifest.list_entries(symbol="OTHER")) == 2
    before = store.get_cache_stats()["computed"]
    right(store.get_or_compute("S", RAW.iloc[: 3 * 12], CONFIG, features.spread), RAW.iloc[: 3 * 12])
    store.resources.recorder.flush()
    assert store.get_cache_stats()["computed"] == before


def test_a_ticket_travels_with_its_segments(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their rows, should they have to be computed again."""
    for name, value in inline.environment.items():
        monkeypatch.setenv(name, value)
    with inline.open() as store:
        ticket = store.submit("T", RAW, CONFIG, features.spread)
        travelled = pickle.loads(pickle.dumps(ticket))
    inline.store.invalidate(symbol="T")
    try:
        assert travelled.key == ticket.key
        assert travelled.status() == "unknown"
        right(travelled.result())
        assert travelled.done() and travelled.status() == "live"
    finally:
        travelled._store.close()


def test_commands_speak_of_partitions(inline: House, tmp_path: Path) -> None:
    """``explain`` says which are missing and why, ``show`` what an entry holds, ``get`` gets."""
    path = inline.folder / "raw.parquet"
    RAW.iloc[:-12].to_parquet(path)
    name = f"{features.__name__}:spread"
    asked = ("S", path, "--feature", name, "--config", '{"window": 4}')
    assert (
        command(
            inline, "get", *asked, FEATURE_STORE_FEATURE_MODULES=MODULES, FEATURE_STORE_ON_UNAVAILABLE="compute"
        ).code
        == 0
    )
    entry = inline.store.resources.manifest.list_entries(symbol="S")[0]
    shown = command(inline, "show", entry.key, "--json").json
    assert shown["segment"]["period"] in ("2024-01", "2024-02")
    RAW.to_parquet(path)

    told = command(inline, "explain", *asked, FEATURE_STORE_FEATURE_MODULES=MODULES)

    assert "39 of 40 partitions hit, 1 to compute, 1 of 2 segments hit" in told.out
    assert "2024-02-09  it is new" in told.out
    assert command(inline, "explain", *asked, "--json").json["partitions"]["missing"][0]["why"] == "new"
    others = (*asked[:-1], '{"window": 5}')
    told = command(inline, "explain", *others, FEATURE_STORE_FEATURE_MODULES=MODULES)
    assert "2024-01-01 to 2024-02-09  40 partitions, of each: it is new" in told.out
    assert "differs in: config" in told.out


def test_looks_at_the_store_speak_of_partitions(inline: House, tmp_path: Path) -> None:
    """``ls`` tells entries of one request apart, ``overview`` and ``report`` count what they hold and took."""
    inline.store.get_or_compute("S", RAW, CONFIG, features.spread)
    inline.store.resources.recorder.flush()
    listed = command(inline, "ls", "--wide")
    assert {"2024-01", "2024-02", "period", "partitions"} <= set(listed.out.split())
    told = {
        each["segment"]["period"]: each["segment"]["partitions"]
        for each in command(inline, "ls", "--json").json["entries"]
    }
    assert told == {"2024-01": 31, "2024-02": 9}
    assert "2, 40 partitions" in command(inline, "overview").out
    assert command(inline, "overview", "--json").json["segments"] == {"entries": 2, "partitions": 40}
    assert "40 computed, 0 copied, 0 segments answered by others" in command(inline, "report").out
    page = tmp_path / "report.html"
    assert command(inline, "report", "--html", page).code == 0
    assert "partitions computed, 0 copied" in page.read_text()


def message(house: House, **changes: Any) -> ComputeRequest:
    request = house.store._prepare("S", RAW, CONFIG, features.spread).segments[0]
    return request.message(RawReference(kind="staged", path=f"staging/raw/ab/{'ab' * 32}.arrow")).model_copy(
        update=changes
    )


def test_messages_that_do_not_fit_are_refused(inline: House) -> None:
    """One without segments, for another declaration, with names that are not those of its key, or that hang not together."""
    asked = message(inline)
    segment = asked.segment
    assert segment is not None
    for wrong, said in (
        (message(inline, segment=None), "is computed by partitions"),
        (message(inline, segment=segment.model_copy(update={"declared": "{}"})), "declares other partitions"),
        (message(inline, segment=segment.model_copy(update={"names": "AAAA"})), "whole names"),
        (message(inline, segment=segment.model_copy(update={"at": 400})), "do not fit together"),
        (message(inline, feature="tests.sample_features:scaled", source_digest=None), "declares no partition="),
    ):
        with pytest.raises(fstore.InvalidRequest, match=said):
            execute(inline.store.resources, parse_compute(wrong.wire()), phase=lambda _: None)
    with pytest.raises(fstore.InvalidRequest):
        parse_compute({**asked.wire(), "segments": {}})


def test_a_plain_celery_call_is_told_to_use_the_store(inline: House) -> None:
    """It names a file, and nobody who knows its days."""
    path = inline.folder / "raw.parquet"
    RAW.to_parquet(path)
    plain = {"symbol": "S", "raw_data": str(path), "config": CONFIG, "feature": f"{features.__name__}:spread"}
    with pytest.raises(fstore.InvalidRequest, match="get_or_compute"):
        execute(inline.store.resources, parse_compute(plain), phase=lambda _: None)


def test_a_segment_is_registered_only_as_what_its_key_commits_to(inline: House) -> None:
    """A note that speaks of other partitions registers nothing: nobody can offer days to another feature's series."""
    from fstore.compute.segments import segment_facts

    store = inline.store
    store.get_or_compute("S", RAW, CONFIG, features.spread)
    entry = store.resources.manifest.list_entries(symbol="S")[0]
    table = store.resources.entries.read(entry.locator)
    facts = segment_facts(entry.parts, table)
    assert facts == store.resources.manifest.find_segment(entry.key)
    lying = table.schema.metadata[CONTENTS_KEY].replace(facts.names[0].hex().encode(), b"00" * len(facts.names[0]), 1)
    assert (
        segment_facts(entry.parts, table.replace_schema_metadata({**table.schema.metadata, CONTENTS_KEY: lying}))
        is None
    )


def test_segments_of_one_request_travel_apart(inline: House) -> None:
    """However quick they are expected to be; those of many requests share messages."""
    one = message(inline)
    months = _lanes([one.model_copy(update={"key": f"{at:064x}"}) for at in range(20)])
    assert sorted(len(lane) for lane in months) == [2] * 4 + [3] * 4
    symbols = _lanes([one.model_copy(update={"symbol": str(at)}) for at in range(20)])
    assert [len(lane) for lane in symbols] == [20]
