"""The quick ways to a fingerprint: what was looked at before is remembered by all that a frame shows, and by no less."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.errors import UnhashableInput
from fstore.fingerprint.columns import ArrowColumn, NumpyColumn, arrow_column, columns_of
from fstore.fingerprint.footer import footer_of, table_footer
from fstore.fingerprint.identification import content_digest, to_table
from fstore.frames.description import canonical_json
from fstore.frames.look import look_at
from tests.sample_frames import KINDS

TIMES = np.array([0, 1, 2], dtype="datetime64[us]")


def plain(**changes: Any) -> pd.DataFrame:
    """Make a frame of ones and zeros, whose numbers are the same in every dtype."""
    return pd.DataFrame(np.eye(3, 2), columns=["a", "b"]).astype(changes.pop("dtype", "float64")).set_axis(
        changes.get("index", pd.RangeIndex(3))
    ).set_axis(changes.get("labels", pd.Index(["a", "b"])), axis=1)  # fmt: skip


def with_attrs() -> pd.DataFrame:
    frame = plain()
    frame.attrs = {"source": "here"}
    return frame


# No two of them look alike to a feature function, though their numbers are equal.
DIFFERENT: dict[str, pd.DataFrame] = {
    **{
        f"of {dtype}": plain(dtype=dtype)
        for dtype in (
            *("float64", "float32", "int64", "int32", "uint8", "int8", "bool", "datetime64[us]", "datetime64[ns]"),
            *("timedelta64[s]", "Int64", "Float64", "boolean", "double[pyarrow]", "int64[pyarrow]", "str", "string"),
            *("category",),
        )
    },
    **{
        f"labels {number}": plain(labels=labels)
        for number, labels in enumerate(
            (
                pd.Index(["b", "a"]),
                pd.Index(["'a'", "b"]),
                pd.Index(["a", "b"], name="n"),
                pd.Index(["a", "b"], name="None"),
                pd.Index(["a", "b"], dtype=object),
                pd.Index(["a", "b"], dtype="string"),
                pd.Index(["a", "b"], dtype=pd.StringDtype("python", na_value=np.nan)),
                pd.Index([1, 2]),
                pd.Index(["1", "2"]),
                pd.MultiIndex.from_tuples([("a", "x"), ("b", "x")]),
            )
        )
    },
    **{
        f"index {number}": plain(index=index)
        for number, index in enumerate(
            (
                pd.RangeIndex(3, name="x"),
                pd.RangeIndex(3, name="None"),
                pd.RangeIndex(3, name='["str","x"]'),
                pd.RangeIndex(3, name='["int",1]'),
                pd.RangeIndex(3, name=1),
                pd.RangeIndex(3, name="1"),
                pd.RangeIndex(1, 4),
                pd.RangeIndex(0, 6, 2),
                pd.RangeIndex(0, -3, -1),
                pd.Index([0, 1, 2]),
                pd.Index([0, 1, 2], name="x"),
                pd.Index([0, 1, 2], dtype="int32"),
                pd.Index([0, 1, 2], dtype="Int64"),
                pd.Index([0.0, 1.0, 2.0]),
                pd.DatetimeIndex(TIMES),
                pd.DatetimeIndex(TIMES, name="x"),
                pd.DatetimeIndex(TIMES).as_unit("ns"),
                pd.DatetimeIndex(TIMES, tz="UTC"),
                pd.DatetimeIndex(TIMES, tz="+01:00"),
                pd.DatetimeIndex(TIMES, tz="Europe/London"),
                pd.TimedeltaIndex(TIMES.view("m8[us]")),
                pd.PeriodIndex(TIMES, freq="us"),
                pd.MultiIndex.from_tuples([(0, 0), (1, 0), (2, 0)]),
                pd.Index(["0", "1", "2"]),
            )
        )
    },
    "attrs": with_attrs(),
    "categories of texts": plain(dtype="str").astype("category"),
    "categories of whole numbers": plain(dtype="int64").astype("category"),
    "categories in order": plain(dtype="int64").astype(pd.CategoricalDtype([0, 1], ordered=True)),
    "more categories": plain(dtype="int64").astype(pd.CategoricalDtype([0, 1, 2])),
    "a label like an index": plain(labels=pd.Index(["a", "index 'x'"])),
    "one column": plain()[["a"]],
    "one column of Float64": plain(dtype="Float64")[["a"]],
    "one column of double[pyarrow]": plain(dtype="double[pyarrow]")[["a"]],
    "mixed": plain().astype({"a": "int64"}),
    "mixed the other way": plain().astype({"b": "int64"}),
}


def digest_or_refusal(name: str) -> str:
    """Return a frame's digest, or that it has none."""
    try:
        return content_digest(DIFFERENT[name])
    except UnhashableInput:
        return f"{name} was refused"


def test_whatever_was_looked_at_before_what_differs_differs() -> None:
    """Frames with equal numbers that show anything else differently have digests of their own, asked for in any order."""
    digests = {name: digest_or_refusal(name) for name in DIFFERENT}
    again = {name: digest_or_refusal(name) for name in reversed(DIFFERENT)}

    assert again == digests
    assert sum("refused" in digest for digest in digests.values()) < len(DIFFERENT) / 10
    seen: dict[str, str] = {}
    alike = [(name, seen[digest]) for name, digest in digests.items() if seen.setdefault(digest, name) != name]
    assert not alike


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_remembered_schema_is_that_of_the_frame(name: str) -> None:
    """A frame and the table made of it agree, whatever was remembered of others before."""
    for other in DIFFERENT:
        digest_or_refusal(other)
    digest = digest_or_refusal(name)
    assert "refused" in digest or digest == content_digest(to_table(DIFFERENT[name]))


def test_ranges_that_end_alike_differ() -> None:
    """Whatever range was seen before: start, end and step count, each by itself."""
    ranges = [
        pd.RangeIndex(0, 8),
        pd.RangeIndex(0, 8, 2),
        pd.RangeIndex(4),
        pd.RangeIndex(4, 8),
        pd.RangeIndex(8, 0, -1),
    ]
    frames = [pd.DataFrame(np.zeros((len(index), 1)), columns=["a"], index=index) for index in ranges]
    assert len({content_digest(frame) for frame in frames}) == len(frames)


def test_a_name_that_only_looks_like_a_text_is_not_taken_for_it() -> None:
    """What is remembered of a text is not said of an object that writes itself like one."""

    class Disguised(int):
        def __repr__(self) -> str:
            return "'x'"

    content_digest(plain(index=pd.DatetimeIndex(TIMES, name="x")))
    with pytest.raises(UnhashableInput):
        content_digest(plain(index=pd.DatetimeIndex(TIMES, name=Disguised(3))))


@pytest.mark.parametrize("rows", [40, 70_000])
def test_how_pandas_keeps_numbers_does_not_count(rows: int) -> None:
    """In one piece or in several, by rows or by columns, as a part of a larger frame: equal numbers are equal."""
    values = np.random.default_rng(3).standard_normal((rows, 4))
    names = list("abcd")
    whole = pd.DataFrame(values, columns=names)
    larger = pd.DataFrame(np.hstack([values, values]), columns=[*names, *"efgh"])
    kept = [
        whole,
        pd.DataFrame(np.asfortranarray(values), columns=names),
        pd.DataFrame({name: values[:, i].copy() for i, name in enumerate(names)}),
        larger[names],
        larger.iloc[:, :4],
        pd.concat([whole[["a"]], whole[["b", "c", "d"]]], axis=1),
        pd.DataFrame(values[::-1], columns=names).iloc[::-1].reset_index(drop=True),
    ]
    assert {content_digest(frame) for frame in kept} == {content_digest(to_table(whole))}


def test_a_footer_is_canonical_json() -> None:
    """It is put together from parts, and comes out as if it had been written at once."""
    checked = 0
    for frame in (*DIFFERENT.values(), *(make() for make in KINDS.values())):
        with suppress(UnhashableInput):
            look = look_at(frame)
            for footer in (footer_of(look, columns_of(look)), table_footer(to_table(frame))):
                assert footer.text == canonical_json(json.loads(footer.text))
                assert json.loads(footer.text)["rows"] == len(frame)
                checked += 1
    assert checked > 100


NUMBER_TYPES: tuple[pa.DataType, ...] = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.timestamp("us", "Asia/Tokyo")),
)
PIECES: tuple[Callable[[pa.Array], pa.ChunkedArray], ...] = (
    lambda array: pa.chunked_array([array]),
    lambda array: pa.chunked_array([array.slice(3, 11)]),
    lambda array: pa.chunked_array([array.slice(0, 5), array.slice(5)]),
    lambda array: pa.chunked_array([], array.type),
    lambda array: pa.chunked_array([pa.concat_arrays([array, pa.nulls(2, array.type)])]),
    lambda array: pa.chunked_array([pa.concat_arrays([array, pa.nulls(2, array.type)]).slice(1, 9)]),
)


@pytest.mark.parametrize("kind", NUMBER_TYPES, ids=str)
@pytest.mark.parametrize("cut", PIECES)
def test_numbers_read_through_numpy_are_those_read_through_arrow(
    kind: pa.DataType, cut: Callable[[pa.Array], pa.ChunkedArray]
) -> None:
    """Sliced, in pieces, empty or with nulls; a time with the bits of pandas' NaT is a time."""
    bits = np.array([0, 1, 2**63, *np.random.default_rng(5).integers(0, 2**63, 13)], dtype="u8")
    width = kind.bit_width // 8
    array = pa.Array.from_buffers(
        kind, len(bits), [None, pa.py_buffer(bits.view("u1").reshape(-1, 8)[:, -width:].tobytes())]
    )
    chunks = cut(array)
    quick, slow = arrow_column(chunks), ArrowColumn(chunks)

    assert quick.leaf(0, len(chunks)) == slow.leaf(0, len(chunks))
    assert quick.data_bytes in (slow.data_bytes, len(chunks) * width)
    assert isinstance(quick, NumpyColumn) == (chunks.num_chunks == 1 and not chunks.null_count)
