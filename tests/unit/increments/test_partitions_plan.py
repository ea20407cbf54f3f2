"""Names, segments, plans with their reasons, and how results of partitions are put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.errors import InvalidRequest, SourceChanged
from fstore.features.keys import key_of
from fstore.features.partitioning import Declaration, partitions
from fstore.increments import contents
from fstore.increments.data import PartitionedData
from fstore.increments.execution import Copies, Made, PartitionFailed, composed, make_segment, whole_result
from fstore.increments.naming import Segment, fingerprint_of, series_of
from fstore.increments.numerics import numeric_environment
from fstore.increments.planning import Plan, Relative, Unlike, plan, superseded
from fstore.model import KeyParts
from fstore.results.codec import UnstorableResult, decode_result
from tests.unit.increments.partition_world import MemoryStore, partition_declared, quotes, spread_mean, ticks

CONFIG = {"window": 3}
LOOKBACK = partition_declared("day", lookback=2)
BOTH = partition_declared("day", lookback=1, lookahead=1)


@pytest.fixture
def raw() -> pd.DataFrame:
    """Six days of six rows each, over the end of a month."""
    days = pd.date_range("2024-02-27", periods=6, tz="UTC")
    index = pd.DatetimeIndex([day + pd.Timedelta(hours=4 * i) for day in days for i in range(6)], name="time")
    return quotes(index, np.random.default_rng(4))


def asked(store: MemoryStore, raw: pd.DataFrame, declared: Declaration = LOOKBACK) -> Plan:
    return store.ask("f", spread_mean, raw, CONFIG, declared)[1]


def corrected(raw: pd.DataFrame, day: str) -> pd.DataFrame:
    changed = raw.copy()
    changed.loc[day, "bid"] += 0.5
    return changed


def test_names_and_fingerprints_are_fixed() -> None:
    """Whoever changes these changes every key of features with partitions."""
    index = pd.DatetimeIndex(["2024-03-01 10:00", "2024-03-02 10:00"], name="time").as_unit("us").tz_localize("UTC")
    data = PartitionedData(pd.DataFrame({"x": [1.5, 2.5]}, index), partition_declared("day", lookback=1))

    (segment,) = data.segments()

    assert [part.label for part in segment.parts] == ["2024-03-01", "2024-03-02"]
    assert [part.digest.hex()[:16] for part in segment.parts] == GOLDEN_DIGESTS
    assert [name.hex()[:16] for name in segment.names] == GOLDEN_NAMES
    assert segment.fingerprint == GOLDEN_FINGERPRINT
    assert fingerprint_of(()) != fingerprint_of((b"",))


GOLDEN_DIGESTS = ["d25472e1990d0906", "e43e756a47bb8945"]
GOLDEN_NAMES = ["b6dba504e458cb6a", "17bb080c5313d7d7"]
GOLDEN_FINGERPRINT = "b3p1:9bf8e32e6d3544615ffb4c674dec8384b7be6e6d8f8de523defad6729e72135a"


def test_what_counts_for_a_name(raw: pd.DataFrame) -> None:
    """Reach, bounds, neighbours, numerics if wanted; and not what lies beyond the neighbours."""
    data = PartitionedData(raw, LOOKBACK)
    names = [part.name for part in data.parts()]

    def changed(other: pd.DataFrame, declared: Declaration = LOOKBACK) -> list[int]:
        others = {part.span: part.name for part in PartitionedData(other, declared).parts()}
        return [at for at, part in enumerate(data.parts()) if others.get(part.span, part.name) != part.name]

    assert changed(raw) == []
    assert changed(corrected(raw, "2024-02-28")) == [1, 2]
    assert changed(raw.iloc[:-6]) == []
    assert changed(raw.iloc[6:]) == [1]
    assert changed(raw, partition_declared("day", lookback=3)) == list(range(6))
    assert changed(raw, partition_declared("day", lookback=2, segment="year")) == []
    assert changed(raw.rename(columns={"size": "volume"})) == list(range(6))
    assert not set(names) & {part.name for part in data.parts(numerics="avx512")}


def test_an_appended_day_is_one_partition(raw: pd.DataFrame) -> None:
    """The rest is copied or hit."""
    store = MemoryStore()
    asked(store, raw.iloc[:30])

    planned = asked(store, raw)

    assert str(planned) == "5 of 6 partitions hit, 1 to compute, 1 of 2 segments hit\n  2024-03-03  it is new"
    assert (planned.copied, planned.hits, planned.total) == (2, 3, 6)


def test_what_is_missing_for_one_reason_is_told_in_one_line(raw: pd.DataFrame) -> None:
    """Histories have thousands of days; after forty lines the rest is counted."""
    data = PartitionedData(raw, LOOKBACK)
    segments = data.segments()
    planned = plan(segments, [each.period for each in segments], (), data.table())
    parts = [part for segment in segments for part in segment.parts]
    assert len(planned.missing) == len(parts) > 3
    assert str(planned).splitlines()[1:] == [
        f"  {parts[0].label} to {parts[-1].label}  {len(parts)} partitions, of each: it is new"
    ]
    apart = replace(planned, missing=planned.missing[::2] * 30)
    lines = str(apart).splitlines()
    assert len(lines) == 1 + 40 + 1
    assert lines[-1] == f"  ... and {len(apart.missing) - 40} lines more, all in the JSON form"


def test_a_corrected_day_makes_its_neighbours_anew(raw: pd.DataFrame) -> None:
    """And each is told why."""
    store = MemoryStore()
    asked(store, raw, BOTH)

    planned = asked(store, corrected(raw, "2024-03-01"), BOTH)

    assert str(planned).splitlines()[1:] == [
        "  2024-02-29  its lookahead reaches into 2024-03-01",
        "  2024-03-01  its rows changed",
        "  2024-03-02  its lookback reaches into 2024-03-01",
    ]


def test_rows_that_are_gone_and_days_that_are_new_between_others(raw: pd.DataFrame) -> None:
    """A day without rows is no partition: what was within reach of it reaches further."""
    store = MemoryStore()
    asked(store, raw)

    planned = asked(store, raw[raw.index.normalize() != pd.Timestamp("2024-03-01", tz="UTC")])
    assert str(planned).splitlines()[1:] == ["  2024-03-02  its lookback reaches into 2024-03-01, which is gone"]
    store = MemoryStore()
    asked(store, raw[raw.index.normalize() != pd.Timestamp("2024-03-01", tz="UTC")])
    assert str(asked(store, raw)).splitlines()[1:] == [
        "  2024-03-01  it is new",
        "  2024-03-02  its lookback reaches into 2024-03-01",
    ]


def test_other_columns_or_categories_make_everything_new(raw: pd.DataFrame) -> None:
    """Every day's frame has them."""
    store = MemoryStore()
    asked(store, raw)

    planned = asked(store, raw.assign(side=raw["side"].cat.add_categories(["X"])))

    assert {each.why.value for each in planned.missing} == {"schema"}
    assert len(planned.missing) == 6


def test_what_lies_in_two_segments_is_copied_from_one(raw: pd.DataFrame) -> None:
    """From the one that holds more; of the rest it is told that another segment has it."""
    store, declared = MemoryStore(), partition_declared("day")
    asked(store, raw.iloc[:30], declared)
    asked(store, corrected(raw, "2024-03-01"), declared)

    planned = asked(store, raw, declared)

    assert str(planned).splitlines()[1:] == [
        "  2024-03-01  another segment has it than the one that most are copied from"
    ]


def test_what_other_source_computed_answers_whole_and_is_not_copied(raw: pd.DataFrame) -> None:
    """And what was computed under another declaration, or not looked at, is told as that."""
    data = PartitionedData(raw, LOOKBACK)
    february, march = data.segments()
    others = [
        Relative("f", february.period, february.names, is_own=False),
        Relative("m", march.period, march.names[:-1], is_own=False),
    ]
    planned = plan(data.segments(), ["a", "b"], (), data.table(), others)
    assert [each.answered_by for each in planned.segments] == ["f", None]
    assert (planned.copied, [each.why.value for each in planned.missing]) == (0, ["source", "source", "new"])

    ends = float(march.parts[0].span.end - 1)
    unlike = Unlike(declared=((0.0, ends, ""),), unread=frozenset({february.period}))
    planned = plan(data.segments(), ["a", "b"], (), data.table(), unlike=unlike)
    assert [each.why.value for each in planned.missing] == ["unread"] * 3 + ["declaration", "new", "new"]


def test_a_larger_segment_answers_for_a_part_of_it(raw: pd.DataFrame) -> None:
    """A trainer with last week's data, or with a later start, computes nothing but what reached before its start."""
    store = MemoryStore()
    asked(store, raw)

    earlier = asked(store, raw.iloc[:30])
    assert earlier.missing == ()
    assert [each.is_covered for each in earlier.segments] == [False, True]
    assert [each.part.label for each in asked(store, raw.iloc[6:]).missing] == ["2024-02-28"]
    assert superseded([b"a"], [[b"a", b"b"]])
    assert not superseded([b"a", b"c"], [[b"a", b"b"]])


def test_reasons_need_records_and_plans_do_not(raw: pd.DataFrame) -> None:
    """Without the records of files everything is new, and is copied all the same."""
    data = PartitionedData(raw, LOOKBACK)
    segments = data.segments()
    relatives = [Relative("k", segment.period, segment.names[:-1]) for segment in segments]

    planned = plan(segments, ["a", "b"], {"a"}, data.table(), relatives)

    assert [each.answered_by for each in planned.segments] == ["a", None]
    assert [each.part.label for each in planned.missing] == ["2024-03-03"]
    assert planned.segments[1].source == "k"


def test_a_segment_of_too_many_partitions_is_refused() -> None:
    """It would be no small file."""
    index = pd.date_range("2022-01-01", periods=367, tz="UTC")
    data = PartitionedData(pd.DataFrame({"x": 1.0}, index), partition_declared("day", segment="all"))

    with pytest.raises(InvalidRequest, match="would hold 367 partitions"):
        data.segments()


def test_series_tell_apart_what_has_no_partition_in_common() -> None:
    """Other symbols, features, versions, configs, reaches; not other data."""
    parts = KeyParts("ES", "m:f", "1", "{}", "b3p1:00")

    series = series_of(parts, LOOKBACK.text)

    assert series == series_of(replace(parts, fingerprint="b3p1:11"), LOOKBACK.text)
    others = [replace(parts, **{name: "x"}) for name in ("symbol", "feature", "feature_version", "config")]
    assert series not in {series_of(each, LOOKBACK.text) for each in others} | {series_of(parts, BOTH.text)}


def test_a_worker_finds_the_partitions_of_a_segment_in_a_run_of_rows(raw: pd.DataFrame) -> None:
    """And refuses rows that are not those that were named, be it one cell of a neighbour."""
    data = PartitionedData(raw, LOOKBACK)
    march = data.segments()[1]
    run = data.run(march)
    assert run.num_rows == 4 * 6  # three days, and the one that they reach into

    worker = PartitionedData(run, LOOKBACK)

    again = worker.segment(march.period, march.names, "staged")
    assert again.fingerprint == march.fingerprint
    made = make_segment(spread_mean, again, worker, lambda: CONFIG)
    assert made.table.equals(make_segment(spread_mean, march, data, lambda: CONFIG).table)
    for wrong in (PartitionedData(corrected(raw, "2024-02-29"), LOOKBACK), PartitionedData(run.slice(6), LOOKBACK)):
        with pytest.raises(SourceChanged, match="of 3 partitions of 2024-03 are not what was asked for"):
            wrong.segment(march.period, march.names, "staged")


def segment_of(raw: pd.DataFrame, func: Any, declared: Declaration = LOOKBACK, **how: Any) -> Made:
    data = PartitionedData(raw, declared)
    return make_segment(func, data.segments()[0], data, lambda: dict(CONFIG), **how)


def test_records_say_what_lies_where(raw: pd.DataFrame) -> None:
    """In a note of the file; a note that does not fit its file is none."""
    made = segment_of(raw, spread_mean, numerics="avx2")
    note = contents.packed(made.records)

    assert contents.unpacked(note, made.table.num_rows) == made.records
    assert contents.offsets_of(made.records)[made.records[1].name] == (6, 6)
    assert contents.unpacked(note, 5) == contents.unpacked(None, 0) == contents.unpacked(b"{}", 0) == ()
    assert contents.mixed_numerics(made.records) == ()
    mixed = (*made.records, replace(made.records[0], numerics="avx512"))
    assert contents.mixed_numerics(mixed) == ("avx2", "avx512")


def test_copies_are_taken_by_name_and_all_else_is_computed(raw: pd.DataFrame) -> None:
    """Which is told as it is done."""
    made = segment_of(raw, spread_mean)
    kept = Copies(made.table.slice(0, 12), made.records[:2])
    done: list[str] = []

    again = segment_of(raw, spread_mean, copies=kept, on_done=lambda part: done.append(part.label))

    assert again.table.equals(made.table)
    assert (again.copied, again.computed, done) == (2, 1, ["2024-02-29"])


def test_a_day_that_raises_is_named(raw: pd.DataFrame) -> None:
    """With its month and the error."""

    def func(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
        if pd.Timestamp("2024-02-28 04:00", tz="UTC") in raw.index:
            raise ValueError("no such thing")
        return raw

    with pytest.raises(PartitionFailed) as raised:
        segment_of(raw, func, partition_declared("day"))

    assert str(raised.value) == "partition 2024-02-28 of 2024-02: ValueError: no such thing"
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("func", "said"),
    [
        (lambda raw, config: raw.assign(size=raw["size"] / (1 if raw.index[0].day == 27 else 2)), None),
        (lambda raw, config: raw.astype({"size": "f8"}) if raw.index[-1].day == 28 else raw, "'size' is int64 in one and double"),
        (lambda raw, config: raw[["bid"]] if raw.index[-1].day == 28 else raw, "'ask' is in one of them alone"),
        (lambda raw, config: raw[["ask", "bid"]] if raw.index[-1].day == 28 else raw[["bid", "ask"]], "another order"),
        (lambda raw, config: raw.assign(side=raw["side"].cat.remove_unused_categories().cat.add_categories([str(raw.index[-1].day)])), "'side' has other categories"),
        (lambda raw, config: raw.astype({"bid": pd.Float64Dtype()} if raw.index[-1].day == 28 else {}), "what pandas makes of"),
        (lambda raw, config: raw.reset_index(drop=True), "partition 2024-02-27: it has an index of RangeIndex"),
        (lambda raw, config: raw[::-1], "partition 2024-02-27: its times go back"),
        (lambda raw, config: raw.tz_localize(None), "the raw data's times have a zone"),
        (lambda raw, config: 5, "partition 2024-02-27: the feature function returned int"),
        (lambda raw, config: pa.table({"x": [1]}), "partition 2024-02-27: it has no times"),
        (lambda raw, config: pa.table({"time": pa.array([None], pa.timestamp("ns", "UTC"))}), "it has no times"),
    ],
)  # fmt: skip
def test_results_that_do_not_fit_together_name_two_days(raw: pd.DataFrame, func: Any, said: str | None) -> None:
    """Nothing is promoted: a day's dtype would depend on other days."""
    declared = partition_declared("day")
    if said is None:
        segment_of(raw, func, declared)
        return
    with pytest.raises(UnstorableResult, match=said) as raised:
        segment_of(raw, func, declared)
    assert "2024-02-2" in str(raised.value)


def test_segments_that_do_not_fit_together_are_named(raw: pd.DataFrame) -> None:
    """When they are put together, by whoever asked."""
    with pytest.raises(UnstorableResult, match=r"segment 2024-02 and segment 2024-03 .* 'size' is int64"):
        whole_result(
            lambda raw, config: raw.astype({"size": "f8"} if raw.index[0].month == 3 else {}),
            raw,
            dict,
            partition_declared("day"),
        )
    with pytest.raises(InvalidRequest, match="no partition has rows"):
        composed([])


def test_a_result_keeps_its_index_and_loses_a_frequency_that_is_said_of_a_whole(raw: pd.DataFrame) -> None:
    """Name, zone and unit as the function returned them; rows of other times, fewer or more of them."""

    def halves(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
        return raw[["bid"]].resample("8h").mean().tz_convert("Asia/Tokyo").rename_axis("when")

    found = decode_result(whole_result(halves, raw, dict, partition_declared("day")))

    assert isinstance(found.index, pd.DatetimeIndex)
    assert (found.index.name, str(found.index.tz), found.index.freq) == ("when", "Asia/Tokyo", None)
    assert len(found) == 18


@pytest.mark.parametrize("kind", ["arrow", "dataset"])
def test_functions_of_tables_and_datasets(raw: pd.DataFrame, kind: str) -> None:
    """Are given the window as such, and return the column that holds the times."""
    table = pa.Table.from_pandas(raw.reset_index(), preserve_index=False)
    declared = partition_declared("day", time="time", lookback=partitions(1))

    def func(given: Any, config: Mapping[str, Any]) -> pa.Table:
        return (given if kind == "arrow" else given.to_table()).select(["bid", "time"])

    found = whole_result(func, table, dict, declared, kind=kind)

    assert found.select(["bid", "time"]).equals(table.select(["bid", "time"]), check_metadata=False)


def test_the_data_of_a_window_are_nobody_elses(raw: pd.DataFrame) -> None:
    """What a function writes into its input neither reaches other days nor the caller."""

    def func(raw: pd.DataFrame, config: dict[str, Any]) -> pd.DataFrame:
        raw["bid"] = 0.0
        config["window"] = 99
        return raw[["bid", "ask"]]

    before = raw.copy()
    found = decode_result(whole_result(func, raw, lambda: dict(CONFIG), LOOKBACK))

    assert raw.equals(before)
    assert found["ask"].equals(raw["ask"])


def test_only_partitions_that_a_range_overlaps_are_named() -> None:
    """Their segments hold no others."""
    data = PartitionedData(ticks(40, "UTC", np.random.default_rng(3)), LOOKBACK)

    segments: list[Segment] = data.segments([10, 11])

    assert [part.window.at for segment in segments for part in segment.parts] == [10, 11]


def test_what_computes_here_is_told_by_libraries_and_processor() -> None:
    """In a text that is the same throughout a process."""
    said = json.loads(numeric_environment())

    assert {"numpy", "pandas", "python", "blas", "processor"} <= set(said)
    assert "fstore" not in said
    assert numeric_environment() is numeric_environment()


def test_keys_of_segments_stay_what_they_are() -> None:
    """To the letter: a release that changes one computes all histories of its users again."""
    index = pd.date_range("2024-01-30", periods=6, freq="12h", tz="UTC", name="time", unit="us")
    raw = pd.DataFrame({"bid": [1.0, -0.0, 2.5, np.nan, 4.0, 5.0]}, index)
    data = PartitionedData(raw, LOOKBACK)

    found = {segment.period: segment.fingerprint for segment in data.segments()}

    assert found == GOLDEN
    parts = KeyParts("ES", "m:f", "1", '{"window":3}', GOLDEN["2024-01"])
    assert key_of(parts) == GOLDEN_KEY


GOLDEN = {
    "2024-01": "b3p1:7ab2265a03e8deab26aba8ccac744e65fbdcc1ac518e14bc3c0960e5ccb9a55a",
    "2024-02": "b3p1:59c54a7ff20385d6be2df4ffbe5d8b68707df808cb310c625ef4858d21ae2010",
}
GOLDEN_KEY = "1cdc242bc672de53dfe6f6b790220e70173454426dab535752d47c68f29042da"
