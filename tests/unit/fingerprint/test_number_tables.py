"""The quick way to a table's digest and form says what the long way says, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.compute import provenance
from fstore.features import resolve_feature
from fstore.fingerprint import content_digest, one_form, sources, to_table
from fstore.fingerprint.footer import table_footer
from fstore.fingerprint.quick import number_tables
from fstore.fingerprint.quick.number_tables import number_table_digest, number_table_in_form
from fstore.storage.parquet import arrow_bytes
from tests.sample_features import scaled
from tests.unit.fingerprint.test_plain_numbers import PLAIN, ROWS, numbers, times


def as_sent(table: pa.Table) -> pa.Table:
    """Return a table as a worker reads it: with a schema object of its own."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_file(pa.BufferReader(sink.getvalue())).read_all()


TABLES: dict[str, Callable[[int], pa.Table]] = {
    **{
        f"frame: {name}": lambda seed, make=make: as_sent(to_table(make(seed)))  # type: ignore[misc]
        for name, make in PLAIN.items()
        if name != "float16"
    },
    "no metadata": lambda seed: pa.table({"a": np.arange(ROWS) + seed, "b": np.ones(ROWS, dtype="float32")}),
    "a slice": lambda seed: as_sent(to_table(numbers(seed, index=times(name="time")))).slice(7, 20),
    "metadata of a range that does not fit": lambda seed: as_sent(to_table(numbers(seed))).slice(5),
    "an index in levels": lambda seed: as_sent(
        to_table(numbers(seed, index=pd.MultiIndex.from_arrays([np.arange(ROWS) // 7, times()], names=["n", "t"])))
    ),
    "other metadata": lambda seed: pa.table({"a": np.arange(ROWS) + seed}).replace_schema_metadata({"who": "me"}),
    "fields without nulls": lambda seed: pa.table(
        [np.arange(ROWS) + seed], schema=pa.schema([pa.field("a", pa.int64(), nullable=False)])
    ),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_the_quick_way_says_what_the_long_way_says(
    make: Callable[[int], pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):  # the first of a shape is described, later ones find what was said of it
        table = make(seed)
        assert number_table_digest(table) == table_footer(table).root
        quick = to_table(table)
        assert number_table_in_form(table) is not None
        with monkeypatch.context() as patch:
            patch.setattr(one_form, "number_table_in_form", lambda _: None)
            slow = to_table(table)
        assert arrow_bytes(quick) == arrow_bytes(slow)  # NaN included, and every word of the schema
        assert [column.num_chunks for column in quick.columns] == [column.num_chunks for column in slow.columns]


LONG: dict[str, Callable[[], pa.Table]] = {
    "no rows": lambda: pa.table({"a": pa.array([], pa.int64())}),
    "no columns": lambda: to_table(numbers()[[]]),
    "a null": lambda: pa.table({"a": [1, None, 3]}),
    "pieces": lambda: pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]),
    "texts": lambda: pa.table({"a": ["x", "y"]}),
    "truth": lambda: pa.table({"a": [True, False]}),
    "days": lambda: pa.table({"a": pa.array([1, 2], pa.date32())}),
    "decimals": lambda: pa.table({"a": pa.array([1, 2], pa.decimal128(5))}),
    "categories": lambda: pa.table({"a": pa.array(["x", "y"]).dictionary_encode()}),
    "columns after the index": lambda: to_table(numbers(index=times(name="t"))).select(["t", "open", "close", "size"]),
    "more than a block": lambda: pa.table({"a": np.zeros(131_073)}),
}


@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
def test_whatever_else_goes_the_long_way(make: Callable[[], pa.Table]) -> None:
    table = make()
    assert number_table_digest(table) is None
    assert number_table_in_form(table) is None
    assert content_digest(table) == table_footer(table).root


def test_one_value_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's check of what it read goes this way: it must hash the values, whatever it remembers of their shape."""
    monkeypatch.setattr(sources, "table_footer", None)  # so that the long way would be an error
    table = as_sent(to_table(numbers()))
    values = table.column("close").to_numpy().copy()
    values[-1] = np.nextafter(values[-1], np.inf)
    assert content_digest(table) != content_digest(table.set_column(1, "close", pa.array(values)))


class _Forgetful(dict[Any, Any]):
    """What another thread clears as soon as something is in it."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self.clear()


def test_what_is_known_may_be_forgotten_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread that meets many shapes makes room for its own."""
    table = as_sent(to_table(numbers(1)))
    monkeypatch.setattr(number_tables, "_shapes", _Forgetful())
    assert number_table_digest(table) == content_digest(table)

    monkeypatch.setattr(provenance, "_known", _Forgetful())
    assert "pandas" in provenance.versions_of(resolve_feature(scaled))
