"""All tables of one digest become one table: that is what is staged and what functions are given."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore.errors import InvalidRequest, UnhashableInput
from fstore.fingerprint import one_form
from fstore.fingerprint.identification import content_digest, identify, to_dataset, to_table
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.model import ParquetSource
from tests.unit.fingerprint.inputs import fingerprint_cases, fingerprint_frames, fingerprint_layouts
from tests.unit.fingerprint.inputs.fingerprint_staging import assert_one_table, chunking, staged

WORDS = ["a", None, "b", "a"]


class Stream:
    """An object that exports a stream of its table, as frames of other libraries do."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def dictionary(codes: list[int | None], values: list[Any], width: Any = "int32", kind: Any = None) -> pa.Array:
    """Make a dictionary array of these codes."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, width), pa.array(values, kind))


LAYOUTS: dict[str, list[Any]] = {
    "text": [pa.array(WORDS, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())]
    + [pc.run_end_encode(pa.array(WORDS)), pa.chunked_array([WORDS[:1], [], WORDS[1:]])],
    "binary": [
        pa.array([b"a", None], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())
    ],
    "lists": [
        pa.array([WORDS, None], kind)
        for kind in (
            pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_view(pa.string()),
            pa.large_list_view(pa.string_view()), pa.list_(pa.field("element", pa.string())),
        )
    ]
    + [pa.ListArray.from_arrays(
            pa.array([0, 4, 4], "int32"), dictionary([1, None, 0, 1], ["b", "a"]), mask=pa.array([False, True])
        )],
    "structs": [
        pa.array([{"p": "x", "q": [1]}, None], pa.struct([("p", text), ("q", lists)]))
        for text, lists in ((pa.string(), pa.list_(pa.int8())), (pa.string_view(), pa.large_list(pa.int8())))
    ],
    "maps": [
        pa.array([[("k", "v")], None], kind)
        for kind in (
            pa.map_(pa.string(), pa.string()),
            pa.map_(pa.field("kk", pa.large_string(), nullable=False), pa.field("vv", pa.large_string())),
        )
    ],
    "dictionary": [
        dictionary([1, None, 0, 1], ["b", "a"]),
        dictionary([1, None, 0, 1], ["b", "a"], "int8"),
        dictionary([1, None, 0, 1], ["b", "a"], kind=pa.string_view()),
        dictionary([1, 2, 0, 1], ["b", "a", None]),
        dictionary([3, None, 0, 1], ["b", "a", "b", "a"]),
        pa.chunked_array([dictionary([], ["b"]), dictionary([0, None], ["a"]), dictionary([1, 0], ["a", "b"])]),
        pa.chunked_array([dictionary([1, None], ["b", "a"]), dictionary([0, 1], ["b", "a"])]),
    ],
    "dictionary of numbers": [
        dictionary([1, 0], [5, 3]),
        dictionary([1, 2], [5, 3, 5]),
        pa.chunked_array([dictionary([], [5]), dictionary([0, 1], [3, 5])]),
    ],
    "integers": [pa.array([1, None, 3]), pa.chunked_array([[1], [None], [3]]), pa.array([9, 1, None, 3]).slice(1)],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_one_content_become_one_table(name: str, tmp_path: Path) -> None:
    """Offsets, views, item names, codes, chunks, nullability, order and metadata: whoever stages first decides nothing."""
    tables = [pa.table({"x": array}) for array in LAYOUTS[name]]
    noisy = pa.schema(
        [pa.field("x", tables[0].schema.field(0).type, metadata={"unit": "USD"})], metadata={"scale": "100"}
    )
    tables.append(tables[0].cast(noisy))
    doors: list[Any] = [*tables, *map(Stream, tables)]

    digests = {content_digest(raw) for raw in doors}
    assert len(digests) == 1
    copies = [staged(raw, tmp_path / str(at)) for at, raw in enumerate(doors)]
    assert_one_table([*copies, *map(to_table, doors)])
    assert all(copy.schema.metadata.keys() <= {b"pandas", b"fstore.dtypes"} for copy in copies)


@pytest.mark.parametrize("rows", [0, 5])
def test_all_doors_give_one_table(rows: int, tmp_path: Path) -> None:
    """Frame, table, batch, stream, ingested file, foreign file and staged copy, of no rows as well."""
    frame = pd.DataFrame(
        {
            "price": np.arange(5.0),
            "venue": pd.Categorical.from_codes([1, 0, 1, -1, 1], ["N", "A", "unused"]),
            "grade": pd.Categorical.from_codes([1, 0, 1, 1, 1], [3, 1]),
            "word": ["a", "b", None, "", "c"],
        },
        index=pd.date_range("2024-01-02", periods=5, tz="Europe/Paris", unit="s", name="time"),
    ).iloc[:rows]
    table = to_table(frame)
    columns = table.select(["time", "price", "word", "venue", "grade"]).select([1, 3, 4, 2, 0])
    doors: list[Any] = [
        frame, table, columns.replace_schema_metadata(table.schema.metadata), Stream(table),
        pa.RecordBatch.from_arrays([c.chunk(0) for c in table.columns], schema=table.schema), ingest(frame, tmp_path / "x.parquet"), to_frame(table), staged(table, tmp_path),
    ]  # fmt: skip

    if not rows:  # a stream without batches carries no categories
        doors = [door for door in doors if not isinstance(door, Stream)]

    assert len({content_digest(raw) for raw in doors}) == 1
    assert_one_table([to_table(raw) for raw in doors])
    sets = [to_dataset(raw) for raw in doors]
    assert all(found.schema.equals(sets[0].schema, check_metadata=True) for found in sets)
    assert all(found.to_table().equals(sets[0].to_table()) for found in sets)
    assert_frame(to_frame(to_table(doors[-1])), frame)


def test_the_place_of_an_index_among_the_fields_does_not_count() -> None:
    """A table that keeps it in front is the same table."""
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index([5, 7], name="i"))
    behind = pa.Table.from_pandas(frame)
    front = behind.select(["i", "x"])

    assert content_digest(front) == content_digest(behind) == content_digest(frame)
    assert_one_table([to_table(front), to_table(behind), to_table(frame)])


def test_metadata_of_other_writers_are_written_anew() -> None:
    """Versions, notes of their own and types that pandas once had for the same look are left out."""
    frame = pd.DataFrame({"x": [1.0], "word": ["a"]})
    table = pa.Table.from_pandas(frame)
    said = table.schema.metadata[b"pandas"].replace(b'"str"', b'"object"').replace(b"26.", b"9.")
    old = table.replace_schema_metadata({b"pandas": said, b"fstore.index_freq": b"s", b"scale": b"100"})

    assert content_digest(old) == content_digest(frame)
    assert_one_table([to_table(old), to_table(frame), to_table(table)])
    assert b"creator" not in to_table(table).schema.metadata[b"pandas"]


@pytest.mark.parametrize("dtype", ["str", "string", "Int64"])
def test_dtypes_that_a_foreign_file_names_are_kept(dtype: str, tmp_path: Path) -> None:
    """What pandas wrote without a note of fstore's comes back as that dtype."""
    frame = pd.DataFrame({"x": pd.array([1, None, 2], dtype="Int64").astype(dtype)})
    frame.to_parquet(tmp_path / "x.parquet")
    source = ParquetSource(tmp_path / "x.parquet")

    found = to_frame(to_table(source))
    assert found.dtypes.tolist() == frame.dtypes.tolist()
    assert content_digest(source) == content_digest(found)


def test_rows_lie_in_stretches_of_one_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However they were cut before."""
    monkeypatch.setattr(one_form, "STRETCH_ROWS", 4)
    whole = pa.table({"x": range(10), "d": pa.array([*"abcabcabca"]).dictionary_encode()})
    cut = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 5), whole.slice(8)])
    frame = to_frame(whole)

    assert [chunking(to_table(raw)) for raw in (whole, cut, frame)] == [[[4, 4, 2]] * 2] * 3
    assert_one_table([to_table(whole), to_table(cut), staged(cut, tmp_path)])


@pytest.mark.parametrize("seed", range(40))
def test_random_tables_are_one_table_in_every_layout(seed: int, tmp_path: Path) -> None:
    """Whatever types they have, what is read from the stage is the same."""
    rng = random.Random(seed)
    columns = fingerprint_cases.random_columns(rng)
    first = to_table(fingerprint_cases.table(columns))

    for name, other in fingerprint_layouts.layouts(rng, columns):
        found = staged(other, tmp_path / name.replace(" ", "-"))
        assert found.schema.equals(first.schema, check_metadata=True)
        assert chunking(found) == chunking(first)
        assert content_digest(found) == content_digest(first)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_random_frames_come_back_to_the_bit_or_are_refused(seed: int) -> None:
    """Through the one form, in every layout of theirs."""
    rng = random.Random(seed)
    frame = fingerprint_frames.random_spec(rng).frame()
    try:
        table = to_table(frame)
    except UnhashableInput:
        return

    assert_frame(to_frame(table), frame)
    for _, other in fingerprint_frames.layouts(rng, frame):
        assert_one_table([to_table(other).slice(0, 0), table.slice(0, 0)])
        assert chunking(to_table(other)) == chunking(table)


def test_a_dataset_over_a_file_and_one_over_a_frame_look_alike(tmp_path: Path) -> None:
    """Both show the values of categories, not their codes: a file does not hold all of them."""
    frame = pd.DataFrame({"c": pd.Categorical(["a", "b"], ["b", "a", "z"]), "n": pd.Categorical([3, 1], [3, 1])})
    frame["o"] = pd.Categorical(["x", "y"], pd.Index(["x", "y"], dtype=object))
    source = ingest(frame, tmp_path / "x.parquet")

    found = [to_dataset(raw) for raw in (frame, source)]
    assert [str(f.type) for f in found[0].schema] == ["large_string", "int64", "large_string"]
    assert found[0].schema.equals(found[1].schema, check_metadata=True)
    assert found[0].to_table().equals(found[1].to_table())
    assert found[1].to_table(filter=ds.field("c") == "b")["n"].to_pylist() == [1]


@pytest.mark.parametrize("make", [pa.list_view, pa.large_list_view])
def test_list_views_with_nulls_become_the_lists_they_are(make: Any, tmp_path: Path) -> None:
    """Arrow's own cast gives others; nested, in a file, and in a folder beside a file of lists as well."""
    rows = [[1, 2], None, [], [3]]
    nested = [[row] for row in rows]
    tables = [
        pa.table({"x": pa.array(rows, kind), "y": pa.array(nested, pa.list_(kind))})
        for kind in (pa.list_(pa.int64()), make(pa.int64()))
    ]
    for at, table in enumerate(tables):
        pq.write_table(table, tmp_path / f"{at}.parquet")
    raws: list[Any] = [*tables, ParquetSource(tmp_path / "0.parquet"), ParquetSource(tmp_path / "1.parquet")]

    assert len({content_digest(raw) for raw in raws}) == 1
    assert [to_table(raw).to_pydict() for raw in raws] == [{"x": rows, "y": nested}] * 4
    assert [to_dataset(raw).to_table().to_pydict() for raw in raws] == [{"x": rows, "y": nested}] * 4
    assert to_table(ParquetSource(tmp_path)).to_pydict() == {"x": rows * 2, "y": nested * 2}


@pytest.mark.parametrize("read", [content_digest, to_table, to_dataset, lambda s: identify(s, threshold_bytes=0)])
def test_folders_that_stand_for_values_are_refused(read: Callable[[Any], object], tmp_path: Path) -> None:
    """No file holds the column that ``date=...`` stands for, so a renamed partition would go unseen."""
    folder = tmp_path / "ticks" / "date=2024-01-09"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"p": [1.0]}), folder / "part.parquet")

    with pytest.raises(InvalidRequest, match=r"date=2024-01-09.*partitioning"):
        read(ParquetSource(tmp_path / "ticks"))
    content_digest(ParquetSource(folder))
    content_digest(ParquetSource(folder / "part.parquet"))


def test_polars_and_pandas_share_categories_in_their_order() -> None:
    """A categorical of polars has the digest of the frame that its Arrow table stands for."""
    words = pl.DataFrame({"c": pl.Series(["N", "A", "N"], dtype=pl.Enum(["N", "A"]))})
    frame = to_frame(to_table(words))

    assert frame["c"].cat.categories.tolist() == ["N", "A"]
    assert content_digest(words) == content_digest(frame)


def assert_frame(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Compare what a function sees, freq aside."""
    pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_freq=False)
    for name in wanted:
        if isinstance(wanted[name].dtype, pd.CategoricalDtype):
            assert found[name].cat.categories.tolist() == wanted[name].cat.categories.tolist()
            assert found[name].cat.codes.tolist() == wanted[name].cat.codes.tolist()
    for one, other in zip(_floats(found), _floats(wanted), strict=True):
        assert one.tobytes() == other.tobytes()


def _floats(frame: pd.DataFrame) -> Iterator[np.ndarray[Any, Any]]:
    return (column.to_numpy() for _, column in frame.items() if column.dtype == np.float64)
