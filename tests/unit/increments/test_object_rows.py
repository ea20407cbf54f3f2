"""Which objects rows can be read of by their numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from fstore.increments.remote.object_rows import rows_stand_alone

CATEGORY = pa.dictionary(pa.int8(), pa.string())


@pytest.mark.parametrize(("kind", "is_sealed", "stand"), [
    (pa.float64(), False, True),
    (CATEGORY, True, True),  # its footer tells all categories
    (CATEGORY, False, False),  # a row group holds a part of them
])  # fmt: skip
def test_rows_stand_alone_where_they_tell_all_categories(kind: pa.DataType, is_sealed: bool, stand: bool) -> None:
    """A day's frame has the categories of the whole source, which rows alone may not show."""
    part = SimpleNamespace(is_sealed=is_sealed, schema=pa.schema([("x", pa.int64()), ("venue", kind)]))

    assert rows_stand_alone(part) is stand  # type: ignore[arg-type]
