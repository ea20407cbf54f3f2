"""Rows from the last to the first, in bounded memory.

They go through a file beside the destination that nobody sees.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fstore.storage import translated


def backwards(batches: Iterable[pa.RecordBatch], folder: Path) -> Iterator[pa.RecordBatch]:
    """Read all batches, then give them and their rows in the opposite order."""
    with translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        spill = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 closed below, where its own errors are not the disk's
    with spill:
        writer = None
        with translated(folder):
            for batch in batches:
                writer = writer or pa.ipc.new_file(pa.PythonFile(spill, "w"), batch.schema)
                writer.write_batch(batch)
            if writer is None:
                return
            writer.close()
            spill.flush()
        spill.seek(0)
        reader = pa.ipc.open_file(pa.PythonFile(spill, "r"))
        for at in reversed(range(reader.num_record_batches)):
            batch = reader.get_batch(at)
            yield batch.take(pa.array(np.arange(batch.num_rows)[::-1]))
