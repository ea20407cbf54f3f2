"""What a schema says is found once for all tables that read alike, and never for others."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from fstore.frames import description


def test_schemas_that_read_alike_are_described_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table has a schema object of its own: what was found of one holds for the next."""
    described: list[pa.Schema] = []
    describe = description._described

    def counted(schema: pa.Schema) -> description.Description:
        described.append(schema)
        return describe(schema)

    monkeypatch.setattr(description, "_described", counted)
    table = pa.Table.from_pandas(pd.DataFrame({"only in this test": [1.5]}))
    found = [description.describe(table.schema) for _ in range(3)]

    assert len(described) == 1
    assert found[0] == found[1] == found[2] == describe(table.schema)


@pytest.mark.parametrize(
    "other",
    [
        pd.DataFrame({"a": pd.Series([1], dtype="Int64")}),
        pd.DataFrame({"a": [1]}, index=pd.Index([5], name="i")),
        pd.DataFrame({"a": pd.Series(["x"], dtype="category")}),
        pd.DataFrame({"b": [1]}),
    ],
    ids=["dtype", "index", "categories", "name"],
)
def test_what_differs_in_anything_is_described_anew(other: pd.DataFrame) -> None:
    """What pandas makes of a column counts, as well as the column's type."""
    one, two = pa.Table.from_pandas(pd.DataFrame({"a": [1]})), pa.Table.from_pandas(other)

    assert description.describe(one.schema).text != description.describe(two.schema).text
    assert description.describe(two.schema) == description._described(two.schema)
