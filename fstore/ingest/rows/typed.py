"""Columns in the types that the caller says, value by value or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest
from fstore.ingest.inputs import Input
from fstore.ingest.rows.cells import Text, cast_each, kind_named, none_of, without_missing
from fstore.ingest.rows.refusals import Refusals, is_not
from fstore.ingest.time_texts import is_text


class TypedInput:
    """Raw data with some columns cast: text is parsed, anything else is cast if no value changes."""

    def __init__(
        self, given: Input, dtypes: Mapping[str, str], *, decimal: str, name: Path, refusals: Refusals
    ) -> None:
        self._given, self._name, self._refusals = given, name, refusals
        self._kinds = {column: kind_named(dtype, decimal) for column, dtype in dtypes.items()}
        schema = given.schema
        for column, kind in self._kinds.items():
            if column not in schema.names:
                raise InvalidRequest("dtype", f"there is no column {column!r}, but {', '.join(schema.names)}")
            at = schema.get_field_index(column)
            if at < 0:
                raise InvalidRequest("dtype", f"there are several columns {column!r}; rename all but one")
            schema = schema.set(at, pa.field(column, kind.type))
        # What pandas noted of the columns is no longer so.
        self.schema = schema.remove_metadata() if self._kinds else schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the rows."""
        row = 1
        for batch in self._given.batches():
            arrays, refused = list(batch.columns), none_of(batch.column(0))
            for column, kind in self._kinds.items():
                at = self.schema.get_field_index(column)
                cells = arrays[at]
                if is_text(cells.type):
                    texts = cells.cast(pa.string())
                    if isinstance(kind, Text):
                        values, bad = texts, none_of(texts)
                    else:
                        parsed = kind.parse(without_missing(pc.utf8_trim(texts, " \t")))
                        values, bad = parsed.values, parsed.bad
                else:
                    values = cast_each(cells, lambda part, kind=kind: part.cast(kind.type))  # type: ignore[misc]
                    bad = pc.and_(cells.is_valid(), values.is_null())
                for place in pc.indices_nonzero(pc.and_(bad, pc.invert(refused))).to_pylist():
                    reason = is_not(column, str(cells[place].as_py()), kind.wants)
                    self._refusals.add(self._name, row + place, reason)
                refused = pc.or_(refused, bad)
                arrays[at] = values
            made = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
            yield made.filter(pc.invert(refused)) if pc.any(refused).as_py() else made
            row += batch.num_rows
