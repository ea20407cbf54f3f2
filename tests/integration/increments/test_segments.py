"""Features with partitions, asked for as any other, computed by real workers segment by segment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.increments.execution import whole_result
from fstore.results.codec import decode_result
from fstore.stack import temporary_servers
from tests import partitioned_features as features
from tests.conftest import House, Servers, build_house
from tests.unit.increments import partition_world as world

CONFIG = {"window": 4}


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A store with a worker that knows features with partitions."""
    with temporary_servers() as running, ExitStack() as stack:
        servers = Servers(running.postgres_url, running.redis_url)
        modules = "tests.partitioned_features"
        house = build_house(servers, tmp_path_factory.mktemp("segments"), stack, feature_modules=modules)
        house.start()
        yield house


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A folder in which calls of features leave marks."""
    return tmp_path / "marks"


def history(days: int, rows: int = 12, start: str = "2024-01-01", seed: int = 5) -> pd.DataFrame:
    """Days of ticks, some rows each."""
    seconds = np.arange(rows) * (420 if rows < 100 else 15) + 36_000
    stamps = [day + pd.to_timedelta(seconds, unit="s") for day in pd.date_range(start, periods=days, freq="D")]
    index = stamps[0].append(stamps[1:]).rename("time").tz_localize("UTC")
    return world.quotes(index, np.random.default_rng(seed))


def whole(feature: Any, raw: Any, config: dict[str, Any]) -> pd.DataFrame:
    """Compute by the definition, without a store."""
    found = fstore.features.resolve_feature(feature)
    declared = found.partitioning.evaluated(config)
    return decode_result(whole_result(found.func, raw, lambda: dict(config), declared, kind=found.input))


def symbol() -> str:
    return f"S-{uuid4().hex[:12]}"


def test_a_request_is_its_segments(staffed: House, marks: Path) -> None:
    """Computed once, one entry a month; the second time nothing is computed; the frame is the concatenation."""
    raw, name = history(70), symbol()
    config = {**CONFIG, "marks": str(marks)}
    found = staffed.store.get_or_compute(name, raw, config, features.spread)

    pd.testing.assert_frame_equal(found, whole(features.spread, raw, dict(CONFIG)), check_exact=True, check_freq=True)
    assert len(features.marks(marks)) == 70
    again = staffed.store.get_or_compute(name, raw, config, features.spread)
    pd.testing.assert_frame_equal(again, found, check_exact=True)
    assert len(features.marks(marks)) == 70
    entries = staffed.store.resources.manifest.list_entries(symbol=name)
    assert sorted(each.rows for each in entries) == [10 * 12, 29 * 12, 31 * 12]


def asked(house: House, name: str, raw: Any, marks: Path, feature: Any = features.spread, **part: Any) -> list[str]:
    """Ask, hold the answer against the definition, and list the days that were computed for it."""
    before = features.marks(marks)
    config = {**CONFIG, "marks": str(marks)}
    found = house.store.get_or_compute(name, raw, config, feature, **part)
    if not part:
        data = raw if isinstance(raw, pd.DataFrame) else pd.read_parquet(raw.path)
        pd.testing.assert_frame_equal(found, whole(feature, data, dict(CONFIG)), check_exact=True)
    after = features.marks(marks)
    for day in before:
        after.remove(day)
    return after


def test_what_other_source_code_computed_is_not_copied(staffed: House, marks: Path) -> None:
    """Under one version, too: an entry says by whose code all of it was computed."""
    raw, name = history(20), symbol()
    asked(staffed, name, raw.iloc[:-12], marks)
    staffed.store.resources.database.transact(
        "UPDATE manifest SET source_digest = 'of other code' WHERE symbol = %(symbol)s RETURNING key", {"symbol": name}
    )

    assert len(asked(staffed, name, raw, marks)) == 20


def with_value(raw: pd.DataFrame, row: int, value: float) -> pd.DataFrame:
    changed = raw.copy()
    changed.iloc[row, 0] = value
    return changed


def edits(raw: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, list[str]]]:
    """Histories of 500 days and more, each after an edit, and the days that are computed for it."""
    late = raw.iloc[[100 * 12]].set_axis(raw.index[[100 * 12]] + pd.Timedelta(seconds=1))
    return {
        "appended": (raw, ["2025-05-14"]),
        "corrected": (with_value(raw.iloc[:-12], 100 * 12 + 5, 7.5), ["2024-04-10", "2024-04-11"]),
        "a row inserted": (pd.concat([raw.iloc[:-12], late]).sort_index(), ["2024-04-10", "2024-04-11"]),
        "a row deleted": (raw.iloc[:-12].drop(raw.index[[200 * 12 + 11]]), ["2024-07-19", "2024-07-20"]),
        "a day is missing": (raw.iloc[:-12].drop(raw.index[300 * 12 : 301 * 12]), ["2024-10-28"]),
        "the window moved": (raw.iloc[12:], ["2024-01-02"]),
        "both ends cut": (raw.iloc[40 * 12 : -40 * 12], ["2024-02-10"]),
    }


def test_an_edit_computes_the_days_within_reach(staffed: House, marks: Path, tmp_path: Path) -> None:
    """Of 500 days never more than three, all others copied or hit; whatever is edited the answer is that of a whole compute."""
    name, raw = symbol(), history(500)
    base = raw.iloc[:-12]
    assert len(asked(staffed, name, base, marks)) == 499

    for what, (changed, days) in edits(raw).items():
        explained = staffed.store.explain(name, changed, {**CONFIG, "marks": str(marks)}, features.spread)
        assert [each.part.label for each in explained.partitions.missing] == days, what
        assert asked(staffed, name, changed, marks) == days, what
        assert asked(staffed, name, changed, marks) == [], f"{what}, again"
        explained = staffed.store.explain(name, changed, {**CONFIG, "marks": str(marks)}, features.spread)
        assert explained.hit

    earlier = pd.concat([history(1, start="2023-12-31", seed=9), base])
    assert asked(staffed, name, earlier, marks) == ["2023-12-31", "2024-01-01"]


@pytest.mark.parametrize("kind", ["file", "folder", "numbers", "ingested"])
def test_of_a_source_rows_of_the_changed_days_are_read(staffed: House, marks: Path, tmp_path: Path, kind: str) -> None:
    """A file of row groups, or a folder of daily files, asked for again when a day was added."""
    raw, name = history(40), symbol()
    place = staffed.folder / f"raw-{kind}-{name}"

    if kind in ("numbers", "ingested"):  # whose categories need not be gathered from all of the file
        raw = raw[["bid", "ask", "size"]]

    def write(rows: pd.DataFrame) -> fstore.ParquetSource:
        if kind == "ingested":
            place.unlink(missing_ok=True)
            return staffed.store.ingest(rows, place, partition="day")
        if kind in ("file", "numbers"):
            rows.to_parquet(place, row_group_size=12)
        else:
            place.mkdir(exist_ok=True)
            for day, of_day in rows.groupby(rows.index.date):
                if not (file := place / f"{day}.parquet").exists():
                    of_day.to_parquet(file)
        return fstore.ParquetSource(place)

    assert len(asked(staffed, name, write(raw.iloc[:-12]), marks)) == 39
    assert asked(staffed, name, write(raw), marks) == ["2024-02-09"]
    assert asked(staffed, name, raw, marks) == [], "a frame of the same rows is the same request"


def test_part_of_a_result_touches_the_segments_it_lies_in(staffed: House, marks: Path) -> None:
    """Only February is computed; columns and rows are those of the whole; beyond the data there is nothing of it."""
    raw, name = history(90), symbol()
    config = {**CONFIG, "marks": str(marks)}
    bounds = ("2024-02-10", "2024-02-12")
    found = staffed.store.get_or_compute(name, raw, config, features.spread, between=bounds, columns=["spread"])

    expected = whole(features.spread, raw, dict(CONFIG))
    pd.testing.assert_frame_equal(found, expected.loc["2024-02-10":"2024-02-11"], check_exact=True, check_freq=False)
    assert len(features.marks(marks)) == 29 and {day[:7] for day in features.marks(marks)} == {"2024-02"}
    nothing = staffed.store.get_or_compute(name, raw, config, features.spread, between=("2031-01-01", None))
    assert nothing.dtypes.equals(expected.dtypes) and nothing.index.dtype == expected.index.dtype and not len(nothing)
    with pytest.raises(fstore.InvalidRequest, match="there is no 'spraed'"):
        staffed.store.get_or_compute(name, raw, config, features.spread, columns=["spraed"])
    ticket = staffed.store.submit(name, raw, config, features.spread)
    pd.testing.assert_frame_equal(
        ticket.result(between=(None, "2024-01-02")), expected.iloc[:12], check_exact=True, check_freq=False
    )
    pd.testing.assert_frame_equal(ticket.result(), expected, check_exact=True)
    assert (ticket.status(), ticket.done(), ticket.exception()) == ("live", True, None)
    assert len(features.marks(marks)) == 90
    peeked = staffed.store.peek(name, raw, config, features.spread)
    assert (peeked.partitions, peeked.rows, len(peeked.entries)) == (90, 90 * 12, 3)
    arrow = staffed.store.get_or_compute(name, raw, config, features.spread, returns="arrow")
    assert [key for key in arrow.schema.metadata if key.startswith(b"fstore.segment")] == []


def test_who_asks_for_less_is_answered_by_who_holds_more(staffed: House, marks: Path) -> None:
    """Data that end earlier, and a later start of a feature that does not look back: nothing is computed, nothing written."""
    raw, name = history(45), symbol()
    assert len(asked(staffed, name, raw, marks)) == 45
    entries = len(staffed.store.resources.manifest.list_entries(symbol=name))

    assert asked(staffed, name, raw.iloc[: -5 * 12], marks) == []
    assert len(staffed.store.resources.manifest.list_entries(symbol=name)) == entries
    peeked = staffed.store.peek(name, raw.iloc[: -5 * 12], {**CONFIG, "marks": str(marks)}, features.spread)
    assert peeked is not None and len(peeked.entries) == 2


def test_a_day_that_raises_is_named_and_the_others_are_published(staffed: House) -> None:
    """January has its entry; February says which day."""
    raw, name = history(50), symbol()
    with pytest.raises(fstore.ComputeFailed, match="partition 2024-02-03 of 2024-02: no price in row 17") as raised:
        staffed.store.get_or_compute(name, raw, {"day": "2024-02-03"}, features.failing)
    assert raised.value.error_type == "ValueError"
    (entry,) = staffed.store.resources.manifest.list_entries(symbol=name)
    assert entry.rows == 31 * 12
    with pytest.raises(fstore.ComputeFailed, match="do not fit together"):
        staffed.store.get_or_compute(name, raw, {"day": "2024-01-31"}, features.uneven)
    with pytest.raises(fstore.ComputeFailed, match="partition 2024-01-01 and partition 2024-01-02 do not fit"):
        staffed.store.get_or_compute(name, raw, {"day": "2024-01-01"}, features.uneven)


def test_a_first_compute_is_shared_by_all_workers(staffed: House, marks: Path) -> None:
    """Asked for twice at once, each day is computed once, and both processes take part."""
    raw, name = history(120, rows=2), symbol()
    config = {**CONFIG, "marks": str(marks), "seconds": 0.05}
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(staffed.store.get_or_compute, name, raw, config, features.slow) for _ in range(2)]
        for answer in answers:
            pd.testing.assert_frame_equal(answer.result(), whole(features.slow, raw, dict(CONFIG)), check_exact=True)

    assert len(features.marks(marks)) == 120
    assert len(list(marks.iterdir())) == 2


def test_many_requests_and_tables_and_sessions(staffed: House) -> None:
    """In one call, with some that declare nothing among them; equal requests share their segments."""
    raw = history(33)
    names = [symbol() for _ in range(3)]
    wanted = [fstore.Request(name, raw, CONFIG, features.spread) for name in (*names, names[0])]
    wanted += [fstore.Request(names[0], raw, {}, features.close), fstore.Request(names[0], raw, {}, features.doubled)]

    found = list(staffed.store.get_or_compute_many(wanted))

    assert len(found) == len(wanted)
    for request, frame in found:
        pd.testing.assert_frame_equal(frame, whole(request.feature, raw, dict(request.config)), check_exact=True)
    assert all(entry is not None for _, entry in staffed.store.peek_many(wanted))


def test_a_local_feature_is_cut_alike(staffed: House, marks: Path) -> None:
    """Computed by its caller day by day, published by a worker, copied from when a day is appended."""
    raw, name = history(33), symbol()
    assert len(asked(staffed, name, raw.iloc[:-12], marks, features.own_spread)) == 32
    assert asked(staffed, name, raw, marks, features.own_spread) == ["2024-02-02"]
    assert asked(staffed, name, raw, marks, features.own_spread) == []
    longer = history(34)
    ticket = staffed.store.submit(name, longer, {**CONFIG, "marks": str(marks)}, features.own_spread)
    pd.testing.assert_frame_equal(ticket.result(), whole(features.own_spread, longer, dict(CONFIG)), check_exact=True)


def test_segments_lie_in_the_local_tier(staffed: House, tmp_path: Path) -> None:
    """Each by itself: taken from there whole, in part, and for who asks for less."""
    raw, name = history(40, rows=2500), symbol()
    with staffed.open(local_cache=str(tmp_path / "cache")) as store:
        expected = whole(features.spread, raw, dict(CONFIG))
        for _ in range(3):
            found = store.get_or_compute(name, raw, CONFIG, features.spread)
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
            found.iloc[:] = 0.0
        less = store.get_or_compute(name, raw.iloc[: 35 * 2500], CONFIG, features.spread)
        pd.testing.assert_frame_equal(less, expected.iloc[: 35 * 2500], check_exact=True)
        part = store.get_or_compute(name, raw, CONFIG, features.spread, between=("2024-02-01", "2024-02-02"))
        pd.testing.assert_frame_equal(part, expected.loc["2024-02-01":"2024-02-01"], check_exact=True, check_freq=False)
        with pytest.raises(fstore.InvalidRequest, match="there is no"):
            store.get_or_compute(name, raw.iloc[: 33 * 2500], CONFIG, features.spread, columns=["none"])


def test_bad_data_are_refused_before_anything_is_asked_for(staffed: House) -> None:
    """Unsorted rows, times that are missing, data without times or rows, each with what to do."""
    raw = history(3)
    for wrong, said in (
        (raw.iloc[::-1], "sort them"),
        (raw.reset_index(drop=True), "one index of times"),
        (raw.iloc[:0], "no rows"),
        (raw.set_axis(raw.index.where(np.arange(len(raw)) != 4)), "NaT"),
    ):
        with pytest.raises(fstore.FeatureStoreError, match=said):
            staffed.store.get_or_compute("X", wrong, CONFIG, features.spread)
