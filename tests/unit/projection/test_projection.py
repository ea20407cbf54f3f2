"""A part of a result is read with every used byte verified, and is what the same part of the whole is."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from fstore.errors import InvalidRequest
from fstore.projection.chunk_digests import Tail, add_digests, with_digests
from fstore.projection.reading import DamagedFile, NoDigests, VerifiedFile
from fstore.projection.selection import (
    checked_columns,
    checked_range,
    fields_of,
    rows_between,
    time_field_of,
)
from fstore.results.codec import decode_result, encode_result
from fstore.results.likeness import frame_difference

NAMES = [f"c{i}" for i in range(12)]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    index = pd.date_range("2024-03-01", periods=3_000, freq="min", tz="America/New_York", name="time")
    frame = pd.DataFrame(rng.normal(size=(3_000, 12)), index, columns=NAMES)
    return frame.assign(**{"a.b": rng.choice(["x", "yy"], 3_000), "a": np.arange(3_000)})


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=1_000, write_page_checksum=True, **options)
    return sink.getvalue()


def opened(data: Any, tail: Tail) -> VerifiedFile:
    whole = memoryview(data)
    return VerifiedFile(lambda ranges: [whole[at : at + length] for at, length in ranges], len(whole), tail)


@pytest.fixture(scope="module")
def stored(frame: pd.DataFrame) -> tuple[bytes, Tail]:
    found = with_digests(parquet(encode_result(frame)))
    assert found is not None
    return found[0].to_pybytes(), found[1]


def test_a_file_with_digests_is_an_ordinary_parquet_file(frame: pd.DataFrame, stored: tuple[bytes, Tail]) -> None:
    """Other readers find nothing unusual, and all of it can be read verified."""
    data, tail = stored

    assert pq.read_table(pa.BufferReader(data)).equals(encode_result(frame), check_metadata=True)
    whole = opened(data, tail)
    assert frame_difference(frame, decode_result(whole.read())) is None
    assert whole.bytes_read == len(data) - 4


@pytest.mark.parametrize("columns", [["c3"], ["c11", "c0"], ["a"], ["a.b"], ["a.b", "a", "c1"], []])
def test_columns_come_in_the_order_asked_for_with_their_index(
    frame: pd.DataFrame, stored: tuple[bytes, Tail], columns: list[str]
) -> None:
    """A name may hold a dot, or be the beginning of another."""
    part = opened(*stored)
    names = fields_of(part.schema, checked_columns(columns))
    assert names is not None

    table = part.read(names).select(names)

    assert frame_difference(frame[columns], decode_result(table)) is None
    assert part.bytes_read < len(stored[0]) / 2


def test_a_range_of_time_reads_its_row_groups_alone(frame: pd.DataFrame, stored: tuple[bytes, Tail]) -> None:
    """Half-open; by the clock of the data where a bound has no zone."""
    part = opened(*stored)
    field = time_field_of(part.schema)
    wanted = checked_range(("2024-03-02 00:00", "2024-03-02 01:00"))
    groups = part.groups_within(field.name, *wanted.ticks(field.type.unit, field.type.tz), field.type.unit)

    table = rows_between(part.read(["c2", "time"], groups), field, wanted)

    assert groups == [1]
    expected = frame.loc["2024-03-02 00:00":"2024-03-02 00:59", ["c2"]]  # type: ignore[misc]
    assert frame_difference(expected, decode_result(table)) is None


def test_flipped_bits_are_seen_where_they_are_read_and_nowhere_else(
    frame: pd.DataFrame, stored: tuple[bytes, Tail]
) -> None:
    """1,000 flips anywhere in the file: none is ever served, none in a chunk that is not read disturbs."""
    data, tail = stored
    random_ = random.Random(3)
    names, groups = ["c3", "time"], [1]
    expected = opened(data, tail).read(names, groups)
    touched: list[tuple[int, int]] = []

    def noting(ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        touched.extend(ranges)
        return [memoryview(data)[offset : offset + length] for offset, length in ranges]

    VerifiedFile(noting, len(data), tail).read(names, groups)
    seen = {True: 0, False: 0}
    for _ in range(1_000):
        at = random_.choice([random_.randrange(len(data)), sum(random_.choice(touched)[:1]) + random_.randrange(40)])
        damaged = bytearray(data)
        damaged[at] ^= 1 << random_.randrange(8)
        is_used = any(offset <= at < offset + length for offset, length in touched)
        try:
            found = opened(damaged, tail).read(names, groups)
        except DamagedFile:
            assert is_used
        else:
            assert not is_used
            assert found.equals(expected)
        seen[is_used] += 1
    assert min(seen.values()) > 100


@pytest.mark.parametrize("cut", [1, 7, 8, 200, 5_000])
def test_a_file_cut_short_is_damaged(stored: tuple[bytes, Tail], cut: int) -> None:
    """Whatever is missing at its end."""
    with pytest.raises(DamagedFile):
        opened(stored[0][:-cut], stored[1])


def test_a_file_without_digests_says_so(frame: pd.DataFrame) -> None:
    """It can be verified whole, as before."""
    data = parquet(encode_result(frame))
    length = int.from_bytes(data[-8:-4], "little") + 8
    with pytest.raises(NoDigests):
        opened(data, Tail(length, blake3(data[-length:]).hexdigest()))


def test_a_file_on_disk_gets_the_same_tail(tmp_path: Path, frame: pd.DataFrame, stored: tuple[bytes, Tail]) -> None:
    """In place, before anybody reads it."""
    path = tmp_path / "result.parquet"
    path.write_bytes(parquet(encode_result(frame)))

    assert add_digests(path) == stored[1]
    assert path.read_bytes() == stored[0]


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"list": pa.array([[1, 2], None, []], pa.list_(pa.int32())), "n": pa.nulls(3)}),
        pa.table({"s": pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": "y"}]), "s.a": pa.array([1, 2, 3])}),
        pa.table(
            {"d": pa.array(["u", "v", "u"]).dictionary_encode(), "m": pa.array([[("k", 1)]] * 3, pa.map_("str", "i4"))}
        ),
    ],
    ids=["lists", "structs", "dictionaries"],
)
def test_all_leaves_of_nested_columns_are_verified(table: pa.Table) -> None:
    """A struct's fields, a list's values, the keys of a map."""
    found = with_digests(parquet(table))
    assert found is not None

    for name in table.schema.names:
        assert opened(*found).read([name]).equals(table.select([name]))


def test_names_and_ranges_that_mean_nothing_are_refused(stored: tuple[bytes, Tail]) -> None:
    """With what would be right."""
    schema = opened(*stored).schema
    with pytest.raises(InvalidRequest, match=r"no 'c33'; there is 'c3'"):
        fields_of(schema, ["c33"])
    for columns in ("c3", ["c3", "c3"], [3]):
        with pytest.raises(InvalidRequest, match="columns"):
            checked_columns(columns)
    for between in (
        "2024",
        ("2024",),
        ("x", None),
        ("2024-02", "2024-01"),
        (5, 6),
        ("2024", pd.Timestamp(0, tz="UTC")),
    ):
        with pytest.raises(InvalidRequest, match="between"):
            checked_range(between)
    with pytest.raises(InvalidRequest, match="has a time zone"):
        checked_range((pd.Timestamp(0, tz="UTC"), None)).ticks("ns", None)


def test_frames_with_notes_by_position_are_read_whole() -> None:
    """Labels that are no texts, objects: a part of the file would be taken for another frame."""
    odd = (
        pd.DataFrame({0: [1.0], 1: [2.0]}),
        pd.DataFrame({"a": pd.Series([1, None], dtype="object"), "b": 1}),
        pd.DataFrame({("a", "b"): [1.0]}),
    )
    for frame in odd:
        found = with_digests(parquet(encode_result(frame)))
        assert found is not None
        assert fields_of(opened(*found).schema, []) is None, frame


def test_a_file_that_chunks_do_not_cover_gets_no_digests(tmp_path: Path) -> None:
    """It is verified whole, as files without rows and files of other writers are."""
    path = tmp_path / "empty.parquet"
    path.write_bytes(parquet(pa.table({"x": pa.array([], pa.int64())})))
    before = path.read_bytes()

    assert add_digests(path) is None
    assert path.read_bytes() == before
    assert with_digests(parquet(pa.table({"x": [1, 2]}), write_page_index=True)) is None
