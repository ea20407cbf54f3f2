"""How raw data are identified: what counts, and by which of the ways the digest is obtained."""

from __future__ import annotations

import multiprocessing
import tracemalloc
import warnings
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fstore.errors import UnhashableInput
from fstore.fingerprint.footer import ContentHasher
from fstore.fingerprint.identification import Origin, content_digest, identify, to_table
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.model import HashMethod
from tests.unit.fingerprint.inputs.fingerprint_ticks import foreign, of, ticks


def test_frame_table_and_ingested_file_share_one_fingerprint(tmp_path: Path) -> None:
    """The same data give the same text, whatever they come in."""
    frame = ticks()
    forms = [frame, to_table(frame), to_frame(to_table(frame)), ingest(frame, tmp_path / "ticks.parquet")]

    assert len({str(of(form).fingerprint) for form in forms}) == 1


def test_a_plain_table_is_the_frame_it_becomes() -> None:
    """Without pandas metadata a table equals the frame of ``to_pandas``, as long as no value changes on the way."""
    kept = pa.table({"x": [1, 2], "y": ["a", None], "z": [0.5, float("nan")]})
    changed = pa.table({"x": [1, None]})

    assert content_digest(kept) == content_digest(kept.to_pandas())
    assert content_digest(changed) != content_digest(changed.to_pandas())


def test_any_arrow_stream_is_taken() -> None:
    """A polars frame has the digest of the Arrow table it exports."""
    frame = pl.DataFrame(
        {"x": [1, 2, None], "y": ["a", "b", ""], "c": pl.Series(["u", "v", "u"], dtype=pl.Categorical)}
    )

    assert content_digest(frame) == content_digest(frame.to_arrow())


def test_method_follows_the_threshold_and_the_digest_does_not() -> None:
    """Above the threshold the method is called footer, yet it is the same key."""
    table = to_table(ticks())
    small = identify(table, threshold_bytes=table.nbytes).fingerprint
    large = identify(table, threshold_bytes=table.nbytes - 1).fingerprint

    assert (small.method, large.method) == (HashMethod.FULL, HashMethod.FOOTER)
    assert str(small) == str(large)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pd.Series([1, 2]), pd.Series([1, 2], dtype="Int64")),
        (pd.Series(["a"], dtype="str"), pd.Series(["a"], dtype=object)),
        (pd.Series([None, "a"], dtype=object), pd.Series([float("nan"), "a"], dtype=object)),
        (pd.Series(["a"], dtype="str"), pd.Series(["a"], dtype="string")),
        (pd.Series(["a"], dtype="str"), pd.Series(["a"], dtype="category")),
        (pd.Series([0.0]), pd.Series([-0.0])),
        (pd.Series([1.0, None], dtype="Float64"), pd.Series([1.0, None], dtype="float64")),
        (pd.Series(pd.Categorical(["a"], ["a", "b"])), pd.Series(pd.Categorical(["a"], ["a"]))),
        (pd.Series(pd.Categorical(["a"], ["a", "b"])), pd.Series(pd.Categorical(["a"], ["b", "a"]))),
        (pd.Series(pd.Categorical(["a"], ["a", "b"], ordered=True)), pd.Series(pd.Categorical(["a"], ["b", "a"], ordered=True))),
    ],
)  # fmt: skip
def test_look_alikes_differ(left: pd.Series, right: pd.Series) -> None:
    """What a feature could tell apart has different digests, and each survives the way through Arrow."""
    frames = [left.to_frame("x"), right.to_frame("x")]

    assert content_digest(frames[0]) != content_digest(frames[1])
    for frame in frames:
        pd.testing.assert_frame_equal(to_frame(to_table(frame)), frame)


def test_an_index_frequency_does_not_count() -> None:
    """``freq`` is a hint, which functions are not shown."""
    frame = ticks(50)
    without = frame.set_axis(pd.DatetimeIndex(frame.index, freq=None))

    assert content_digest(frame) == content_digest(without)


def test_a_slice_with_stale_metadata_is_what_pandas_makes_of_it() -> None:
    """A slice of a table keeps metadata of a range it no longer has; its digest is that of its own frame."""
    part = to_table(pd.DataFrame({"x": range(10)})).slice(3, 4)

    assert content_digest(part) == content_digest(part.to_pandas()) == content_digest(pd.DataFrame({"x": range(3, 7)}))


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (pd.DataFrame({"odd": pd.Series(["a", 1], dtype=object)}), "odd"),
        (pd.DataFrame({"odd": pd.Series([b"a"], dtype=object)}), "odd"),
        (pd.DataFrame({"odd": pd.Series([[1], None], dtype=object)}), "odd"),
        (pd.DataFrame({"odd": pd.Series(["a", None, float("nan")], dtype=object)}), "odd"),
        (pd.DataFrame({"odd": [1j]}), "odd"),
        (pd.DataFrame({"odd": pd.array([0, 1], dtype="Sparse[int]")}), "odd"),
        (pd.DataFrame({"odd": pd.cut([1.0, 2.0], 2)}), "odd"),
        (pd.DataFrame([[1, 2]], columns=["odd", "odd"]), "odd"),
        (pd.DataFrame({pd.Timestamp(0): [1]}), "1970"),
        (pd.DataFrame({"x": [1]}, index=pd.Index([1], name=3)), "index"),
        (pd.DataFrame({"x": [1]}, index=pd.RangeIndex(1, name=("x",))), "index"),
        (pd.DataFrame({"x": np.array([1.0], dtype=">f8")}), "x"),
        (pd.DataFrame({"odd": pd.DatetimeIndex([0], tz=timezone(timedelta(hours=1), "UTC"))}), "odd"),
        (pd.DataFrame({"x": [1]}, index=pd.DatetimeIndex([0], tz=timezone(timedelta(hours=1), "UTC"))), "index"),
    ],
)  # fmt: skip
def test_what_has_no_faithful_digest_is_refused(frame: pd.DataFrame, named: str) -> None:
    """The error names the column; nothing is guessed or left out."""
    with pytest.raises(UnhashableInput) as caught:
        content_digest(frame)

    assert named in caught.value.where
    assert len(caught.value.reason) > 20


@pytest.mark.parametrize(
    "zone", ["UTC", "Etc/UTC", "Europe/Paris", UTC, ZoneInfo("America/New_York"), timezone(timedelta(minutes=330))]
)
def test_zones_that_their_names_stand_for_are_taken(zone: Any) -> None:
    """Before and after a false one was refused: what is remembered of either is not used for the other."""
    frame = pd.DataFrame({"t": pd.DatetimeIndex([0], tz=zone)})
    false = pd.DataFrame({"t": pd.DatetimeIndex([0], tz=timezone(timedelta(hours=1), "UTC"))})
    digest = content_digest(frame)

    with pytest.raises(UnhashableInput):
        content_digest(false)
    assert content_digest(frame) == digest


def test_names_of_ranges_count_by_what_they_are() -> None:
    """Not by how they print, for anybody may say how his text prints."""

    class Name(str):
        __slots__ = ()

        def __repr__(self) -> str:
            return "the same"

    frames = [pd.DataFrame({"x": [1.0]}, index=pd.RangeIndex(1, name=Name(name))) for name in ("a", "b")]

    assert content_digest(frames[0]) != content_digest(frames[1])
    assert [to_frame(to_table(frame)).index.name for frame in frames] == ["a", "b"]


def test_attrs_count_or_are_refused() -> None:
    """A frame's attrs travel with it, so they are part of its identity; what is not JSON is refused."""
    plain, marked, odd = ticks(3), ticks(3), ticks(3)
    marked.attrs = {"venue": "XNAS"}
    odd.attrs = {"venue": object()}

    assert content_digest(plain) != content_digest(marked) == content_digest(to_table(marked))
    with pytest.raises(UnhashableInput, match="attrs"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content_digest(odd)


@pytest.mark.parametrize(
    "raw",
    [
        pd.Series([1]),
        pl.Series([1]),
        pa.chunked_array([[1]]),
        pa.table({"x": [1]}).to_reader(),
        [1, 2],
        pa.table([pa.array([1]), pa.array([2])], names=["x", "x"]),
        pa.table({"x": pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])}),
        pa.table({"x": pa.array([b"0" * 16], pa.uuid())}),
        pd.DataFrame,
        pa.Table,
        pl.DataFrame,
        pa.RecordBatchReader,
    ],
    ids=["series", "polars series", "chunked array", "reader", "list", "duplicate names", "union", "extension",
         "class of frames", "class of tables", "class of polars", "class of readers"],
)  # fmt: skip
def test_other_inputs_are_refused_with_advice(raw: object) -> None:
    """A one-shot stream, a Series or a foreign type is not taken for data."""
    with pytest.raises(UnhashableInput):
        content_digest(raw)


def test_tail_is_a_key_space_of_its_own_and_blind_to_the_interior(tmp_path: Path) -> None:
    """It sees the last 1000 rows, the count and the first index value, in any form of the data, and nothing else."""
    frame = ticks()
    interior, recent, start = frame.copy(), frame.copy(), frame.copy()
    interior.iloc[2500, 0] += 1
    recent.iloc[-1000, 0] += 1
    start.index = start.index.where(start.index != start.index[0], start.index[0] - pd.Timedelta(1, "s"))
    forms = [
        frame,
        interior,
        to_table(frame),
        ingest(frame, tmp_path / "1.parquet"),
        foreign(frame, tmp_path / "2.parquet"),
    ]
    found = [of(form, policy="tail") for form in forms]

    assert len({str(one.fingerprint) for one in found}) == 1
    assert str(found[0].fingerprint).startswith("b3m2-tail:")
    assert {one.origin for one in found} == {Origin.TAIL}
    assert len({str(of(form, policy="tail").fingerprint) for form in (frame, recent, start, frame[1:])}) == 4


def test_batches_of_any_size_stream_to_the_digest_of_the_table() -> None:
    """A dataset that passes by once is digested like the table in memory; a batch of another schema is refused."""
    table = to_table(ticks(300_000))
    hasher = ContentHasher(table.schema)
    for size, start in ((7, 0), (200_000, 7), (99_993, 200_007)):
        for batch in table.slice(start, size).to_batches():
            hasher.update(batch)

    assert hasher.digest() == content_digest(table)
    with pytest.raises(UnhashableInput, match="batch"):
        ContentHasher(table.schema).update(pa.record_batch({"price": [1]}))


def test_a_forked_process_digests_like_its_parent() -> None:
    """Threads used before a fork leave nothing behind that a child would wait for."""
    frame = ticks(1_000_000)
    expected = content_digest(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of every fork beside threads, which is what is tried here
        pool = multiprocessing.get_context("fork").Pool(2)
        found = pool.map_async(content_digest, [frame] * 4).get(60)
        pool.close()  # told to end, not killed: what a signal does in a child depends on tests that ran here before
        pool.join()

    assert found == [expected] * 4


def test_a_digest_needs_no_copy_of_the_data() -> None:
    """The extra memory is a few blocks, whatever the size and the order in memory."""
    rows = np.random.default_rng(3).random((1_500_000, 8))
    frames = [pd.DataFrame(rows), pd.DataFrame(rows, copy=False)]
    tracemalloc.start()
    try:
        digests = [content_digest(frame) for frame in frames]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert digests[0] == digests[1]
    assert peak < 24 << 20


def test_progress_adds_up_to_the_data() -> None:
    """Progress is reported in bytes, all of them once."""
    frame = ticks(700_000)
    done: list[int] = []
    found = of(frame, progress=done.append)

    assert 0.95 <= sum(done) / found.data_bytes <= 1.05
    assert len(done) > 10
