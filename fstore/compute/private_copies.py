"""Tables in memory that nobody else can write to."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def private_copy(table: pa.Table) -> pa.Table:
    """Return an equal table in memory of its own.

    Arrow tables are immutable, yet one made of numpy arrays or received over Arrow's C
    interface lies in memory that others may write to at any moment.
    """
    if not table.num_rows:  # nothing to protect, and a stream without batches would lose its dictionaries
        return table
    measured = pa.MockOutputStream()
    _write(table, measured)
    memory = pa.allocate_buffer(measured.size())
    with pa.FixedSizeBufferWriter(memory) as sink:
        _write(table, sink)
    return pa.ipc.open_stream(pa.BufferReader(memory)).read_all()


def _write(table: pa.Table, sink: Any) -> None:
    # A stream, for a file holds one dictionary a column, and chunks may have one each.
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
