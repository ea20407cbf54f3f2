"""Rows of a Parquet file in a bucket, read by ranges of the version that was seen.

Whoever needs a day reads a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from fstore.errors import SourceChanged
from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.parquet_limits import open_ranges, out_of_memory
from fstore.fingerprint.parquet_source import plain_schema
from fstore.fingerprint.parquet_types import INTENT_KEY, Intention
from fstore.fingerprint.remote.objects import Pinned, RemoteFiles
from fstore.fingerprint.seal import Seal, seal_in


class ObjectRows:
    """Reads rows of one object by their numbers.

    Nothing is believed of them that is not digested afterwards.
    """

    def __init__(
        self, remote: RemoteFiles, seen: Pinned, about: pq.FileMetaData, schema: pa.Schema, seal: Seal | None
    ) -> None:
        self._remote, self._seen, self._about = remote, seen, about
        notes: Mapping[bytes, bytes] = about.metadata or {}
        self.is_sealed = seal is not None and seal.root is not None
        self.notes: Mapping[bytes, bytes] = notes if self.is_sealed else {}
        # The notes of a file that somebody else wrote anew need not fit its data.
        trusted = notes if INTENT_KEY in notes and seal is not None else {}
        self._own = Intention(plain_schema(schema), trusted)
        self.schema: pa.Schema = plain_schema(self._own.schema)

    @classmethod
    def of(cls, remote: RemoteFiles, seen: Pinned) -> ObjectRows:
        """Open one object by its end, which is asked for unless it is there."""
        seen = remote.with_tail(seen)
        with remote.open(seen) as file:
            seal = seal_in(file)
            opened = open_ranges(file, str(remote.url), remote.limits)
            return cls(remote, seen, opened.metadata, opened.schema_arrow, seal)

    @property
    def count(self) -> int:
        """How many rows it has."""
        return int(self._about.num_rows)

    def read(self, first: int, stop: int) -> pa.Table:
        """Read the rows from ``first`` to ``stop``; raises ``SourceChanged`` where they cannot be read."""
        chosen: list[int] = []
        start = at = 0  # the first row of all row groups read, and of the one looked at
        for group in range(self._about.num_row_groups):
            rows = self._about.row_group(group).num_rows
            if at < stop and at + rows > first and rows:
                start = start if chosen else at
                chosen.append(group)
            at += rows
        if not chosen:
            return self.schema.empty_table()
        table = pa.Table.from_batches(self._batches(chosen), schema=self.schema)
        return table.slice(first - start, stop - first)

    def _batches(self, groups: list[int]) -> Iterator[pa.RecordBatch]:
        url = str(self._remote.url)
        with self._remote.open(self._seen) as file, _typed(url):
            opened = open_ranges(file, url, self._remote.limits)
            for read in opened.iter_batches(BLOCK_ROWS, row_groups=groups):
                yield self._own.restore(read).replace_schema_metadata(self.schema.metadata)


@contextmanager
def _typed(url: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as exc:
        raise out_of_memory(url) from exc
    except (pa.ArrowException, OSError) as exc:
        raise SourceChanged(url, f"cannot be read to the end ({exc}); restore it") from exc
