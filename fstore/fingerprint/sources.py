"""The kinds of raw data, each a class: how they are digested, read, and given to functions.

``open_raw`` makes one of them of what a user handed in, once a request. A new kind of input is one more class here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from fstore.errors import InvalidRequest, SourceChanged, UnhashableInput
from fstore.fingerprint import stamps
from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.columns import columns_of
from fstore.fingerprint.footer import ContentHasher, Progress, footer_of, table_footer
from fstore.fingerprint.one_form import dataset_of_source, table_in_form, table_of_frame
from fstore.fingerprint.parquet_limits import USUAL, ParquetLimits
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.fingerprint.quick.number_tables import number_table_digest
from fstore.fingerprint.quick.plain_numbers import plain_numbers_digest, plain_numbers_table
from fstore.fingerprint.raw_input import Digested, Origin, RawInput, meant, typed_refusals
from fstore.fingerprint.seal import read_seal
from fstore.fingerprint.stamps import SourceMemo, SourceWatch
from fstore.fingerprint.tail import frame_tail, source_tail, table_tail
from fstore.frames import FrameLook, batches_of, look_at, refuse_objects
from fstore.model import ObjectUrl, ParquetSource

if TYPE_CHECKING:
    from fstore.settings import Settings


class FrameInput(RawInput):
    """A pandas frame."""

    accepts = (pd.DataFrame,)

    def __init__(self, raw: pd.DataFrame, limits: ParquetLimits = USUAL) -> None:
        del limits
        self.frame = raw
        self._look: FrameLook | None = None
        self._schema: pa.Schema | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameInput, (self.frame,)  # what is found again need not be carried

    @property
    def schema(self) -> pa.Schema:
        return self.look.schema

    @property
    def look(self) -> FrameLook:
        """What the frame is besides its values, found once.

        Parts that hold a copy are not kept: they double a batch, and do not show what is written to the frame.
        """
        if self._look is None or self._look.is_copy:
            self._look = look_at(self.frame, self._schema)
            self._schema = self._look.schema
        return self._look

    @property
    def nbytes(self) -> int:
        return int(self.frame.memory_usage(deep=False).sum())

    @property
    def cells(self) -> int:
        return self.frame.shape[0] * self.frame.shape[1]

    def batches(self) -> Iterator[pa.RecordBatch]:
        return batches_of(self.look)

    def scan(self, progress: Progress | None = None) -> Digested:
        with typed_refusals:
            if progress is None and (quick := plain_numbers_digest(self.frame)) is not None:
                self._schema = quick[2]
                return Digested(quick[0], Origin.SCAN, quick[1])
            columns = columns_of(look := self.look)
            return Digested(footer_of(look, columns, progress).root, Origin.SCAN, sum(c.data_bytes for c in columns))

    def tail(self) -> Digested:
        return Digested(frame_tail(self.frame), Origin.TAIL, self.nbytes)

    def table(self) -> pa.Table:
        with typed_refusals:
            quick = plain_numbers_table(self.frame)
            return table_of_frame(self.look) if quick is None else quick

    def held(self) -> FrameInput:
        try:
            return FrameInput(pd.DataFrame.copy(self.frame, deep=False))
        except Exception:  # attrs that cannot be copied, for one: the fingerprint says what is wrong with them
            return self


class TableInput(RawInput):
    """An Arrow table, or a record batch as one."""

    accepts = (pa.Table, pa.RecordBatch)

    def __init__(self, raw: pa.Table | pa.RecordBatch, limits: ParquetLimits = USUAL) -> None:
        del limits
        self._table = pa.Table.from_batches([raw]) if isinstance(raw, pa.RecordBatch) else raw

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    @property
    def nbytes(self) -> int:
        return int(self._table.nbytes)

    @property
    def cells(self) -> int:
        return int(self._table.num_rows * self._table.num_columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        return iter(self._table.to_batches(max_chunksize=BLOCK_ROWS))

    def scan(self, progress: Progress | None = None) -> Digested:
        with typed_refusals:
            if progress is None and (quick := number_table_digest(self._table)) is not None:
                width = sum([kind.bit_width for kind in self._table.schema.types]) // 8  # Arrow takes longer to tell
                return Digested(quick, Origin.SCAN, width * self._table.num_rows)
            return Digested(table_footer(self._table, progress).root, Origin.SCAN, self.nbytes)

    def tail(self) -> Digested:
        table = self.table()
        return Digested(table_tail(table), Origin.TAIL, int(table.nbytes))

    def table(self) -> pa.Table:
        with typed_refusals:
            return table_in_form(self._table)


class ParquetInput(RawInput):
    """A Parquet file on shared storage, or a folder of them."""

    accepts = (ParquetSource,)

    def __init__(self, raw: ParquetSource, limits: ParquetLimits = USUAL) -> None:
        self.reader = ParquetReader(raw, limits)
        self.path: Path = self.reader.path

    @property
    def schema(self) -> pa.Schema:
        return self.reader.schema()

    @property
    def nbytes(self) -> int:
        return self.reader.stated_bytes()

    @property
    def cells(self) -> int:
        return 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self.reader.batches()

    def scan(self, progress: Progress | None = None) -> Digested:
        with typed_refusals:
            return _hashed(self.reader.schema(), self.reader.batches(), progress)

    def digest(self, memo: SourceMemo | None, progress: Progress | None) -> Digested:
        files = self.reader.files()
        if len(files) == 1 and (found := read_seal(files[0])) and found.root is not None:
            return Digested(found.root, Origin.FOOTER, found.data_bytes)
        memo = memo if stamps.CHANGES_SHOW else None
        watch, stated_bytes = SourceWatch(self.reader), self.reader.stated_bytes()
        if memo and (digest := memo.recall(watch.before)):
            return Digested(digest, Origin.MEMO, stated_bytes)
        digest = self.scan(progress).digest
        if not watch.is_same():
            raise SourceChanged(str(self.path), "it changed while it was being read; ask again when its writer is done")
        if memo and watch.is_settled:
            memo.remember(watch.before, digest)
        return Digested(digest, Origin.SCAN, stated_bytes)

    def tail(self) -> Digested:
        return Digested(source_tail(self.reader), Origin.TAIL, self.reader.stated_bytes())

    def table(self) -> pa.Table:
        with typed_refusals:
            return table_in_form(self.reader.table())

    def dataset(self) -> ds.Dataset:
        with typed_refusals:
            return dataset_of_source(self.reader)

    def resolved(self) -> ParquetInput:
        """Follow links once, so that all of it is read from one place."""
        return ParquetInput(ParquetSource(self.path.resolve()), self.reader.limits)


class StreamInput(RawInput):
    """Anything with ``__arrow_c_stream__``, as of polars and duckdb; read once for all by ``held``."""

    def __init__(self, raw: Any, limits: ParquetLimits = USUAL) -> None:
        del limits
        self._raw = raw
        self._opened: pa.RecordBatchReader | None = None

    @property
    def schema(self) -> pa.Schema:
        self._opened = self._opened or self._open()
        return self._opened.schema

    @property
    def nbytes(self) -> int:
        return int(getattr(self._raw, "nbytes", 0))

    def batches(self) -> Iterator[pa.RecordBatch]:
        reader, self._opened = self._opened or self._open(), None  # a query that is run again may answer otherwise
        with reader:
            for batch in reader:
                for start in range(0, batch.num_rows, BLOCK_ROWS):
                    yield batch.slice(start, BLOCK_ROWS)

    def scan(self, progress: Progress | None = None) -> Digested:
        with typed_refusals, self._open() as reader:
            return _hashed(reader.schema, reader, progress)

    def tail(self) -> Digested:
        return self.held().tail()

    def table(self) -> pa.Table:
        with typed_refusals:
            return table_in_form(self._open().read_all())

    def held(self) -> TableInput:
        return TableInput(self.table())

    def _open(self) -> pa.RecordBatchReader:
        refuse_objects(self._raw)
        try:
            return pa.RecordBatchReader.from_stream(self._raw)
        except (pa.ArrowException, TypeError, ValueError) as exc:
            raise UnhashableInput(
                "raw_data", f"{type(self._raw).__name__} is no table ({exc}); pass a frame or a table"
            ) from exc


KINDS: tuple[type[RawInput], ...] = (FrameInput, TableInput, ParquetInput)
_EXACT = {accepted: kind for kind in KINDS for accepted in kind.accepts}


def open_raw(
    raw: object, limits: ParquetLimits = USUAL, *, settings: Settings | None = None, version: str | None = None
) -> RawInput:
    """Find out what kind of raw data these are; raises ``UnhashableInput`` for what is none.

    ``RawInput`` stay what they are. What lies in a bucket is read with the ``settings`` of a store, of the
    ``version`` if one is named.
    """
    exact = _EXACT.get(type(raw))
    if exact is not None and not (exact is ParquetInput and isinstance(raw.path, ObjectUrl)):  # type: ignore[attr-defined]
        return exact(raw, limits)
    if isinstance(raw, RawInput):
        return raw
    if isinstance(raw, ParquetSource) and isinstance(raw.path, ObjectUrl):
        return _open_object(raw, limits, settings, version)
    for kind in KINDS:
        if isinstance(raw, kind.accepts):
            return kind(raw, limits)
    if isinstance(raw, pa.RecordBatchReader):
        raise UnhashableInput("raw_data", "a RecordBatchReader can be read only once; pass reader.read_all()")
    if isinstance(raw, pd.Series):
        raise UnhashableInput("raw_data", "a Series has no column name to hash; pass series.to_frame()")
    if isinstance(raw, type):  # it has the methods of its instances
        raise UnhashableInput("raw_data", f"the class {raw.__name__} holds no data; pass an object of it")
    if not hasattr(raw, "__arrow_c_stream__"):
        raise UnhashableInput(
            "raw_data",
            f"{type(raw).__name__} is neither a DataFrame, an Arrow table, an Arrow stream nor a ParquetSource{meant(raw)}",
        )
    return StreamInput(raw, limits)


def _open_object(raw: ParquetSource, limits: ParquetLimits, settings: Settings | None, version: str | None) -> RawInput:
    if settings is None:
        raise InvalidRequest(
            "raw_data", f"{raw.path} is read by a store, which has the keys to it; ask fstore.connect()"
        )
    try:
        from fstore.fingerprint.remote.source import ObjectInput  # noqa: PLC0415 - loads what only buckets need
        from fstore.s3 import buckets_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InvalidRequest("raw_data", f"{raw.path} needs {error.name}; pip install 'intraday-fstore[s3]'") from error
    return ObjectInput(raw, limits, buckets_of(settings), version=version)


def _hashed(schema: pa.Schema, batches: Iterable[pa.RecordBatch], progress: Progress | None) -> Digested:
    hasher = ContentHasher(schema, progress)
    for batch in batches:
        hasher.update(batch)
    return Digested(hasher.digest(), Origin.SCAN, hasher.data_bytes)
