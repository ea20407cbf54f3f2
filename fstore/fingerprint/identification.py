"""Identity of raw data: the content digest, and the ways to obtain it.

The digest is the BLAKE3 root of the footer (``fstore.fingerprint.footer``), which holds a digest
of every (column, block of rows) over canonical value streams (``fstore.fingerprint.canonical``)
and a description of the schema (``fstore.frames.description``). What is hashed is what a
feature function will see, and what it will see is one form (``fstore.fingerprint.one_form``):

- All raw data of one digest become the same table, whatever they came in: frame, table,
  stream, Parquet file of anybody, staged copy. What a function could tell apart is
  counted, written in one way, or refused; ``docs/design.md`` has the list.
- A frame, the table ``to_table`` makes of it and the Parquet file ``ingest`` makes of
  it share one digest. So do a table without pandas metadata and the frame with a
  default RangeIndex that ``to_pandas`` makes of it, provided no value changes on the
  way: integers with nulls, for one, become floats, and differ.
- NaN is a value and null is the absence of one. pandas' own ``to_parquet`` turns NaN
  into null, so such a file differs from the frame it came from; an ingested one does not.
- dtypes count: ``int64`` and ``Int64``, ``object`` and ``str``, nanoseconds and
  microseconds, a RangeIndex and the integers it stands for are all different.
- Categories count, used or not, and always in their order: codes show it.
- Neither counted nor passed on: chunks, offsets, views, widths of offsets and codes,
  index ``freq``, nullability flags, schema metadata other than pandas', versions of
  libraries, unused levels, file layout.
- Refused with ``UnhashableInput``: objects that are not strings, sparse and complex
  columns, duplicate labels, labels that are neither str, int nor tuples, unknown
  extension types, unions, categories that Arrow does not restore, ``attrs`` that are
  not JSON, zones that their name does not stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from fstore.errors import SourceChanged, UnhashableInput
from fstore.fingerprint import parquet_source as sources
from fstore.fingerprint.footer import footer_of, table_footer
from fstore.fingerprint.frame_columns import columns_of
from fstore.fingerprint.one_form import dataset_of_source, dataset_of_table, table_in_form, table_of_frame
from fstore.fingerprint.parquet_source import SourceStamp, read_table
from fstore.fingerprint.seal import read_seal
from fstore.fingerprint.streaming import ContentHasher
from fstore.fingerprint.tail import frame_tail, source_tail, table_tail
from fstore.frames.dtypes import restore
from fstore.model import Fingerprint, HashMethod, ParquetSource

__all__ = [
    "ContentHasher",
    "Identified",
    "Origin",
    "SourceMemo",
    "SourceStamp",
    "content_digest",
    "identify",
    "read_table",
    "to_dataset",
    "to_frame",
    "to_table",
]

Progress = Callable[[int], None]
_FAULTS = (pa.ArrowException, NotImplementedError, TypeError, ValueError)


class Origin(StrEnum):
    """How a fingerprint was obtained."""

    SCAN = "scan"
    FOOTER = "footer"
    MEMO = "memo"
    TAIL = "tail"


@dataclass(frozen=True, slots=True)
class Identified:
    """A fingerprint, how it was come by, and the size of the data in memory (for a foreign file: as its footer states it)."""

    fingerprint: Fingerprint
    origin: Origin
    data_bytes: int


class SourceMemo(Protocol):
    """A memory of digests of foreign Parquet files, shared by all trainers."""

    def recall(self, stamp: SourceStamp) -> str | None:
        """Find the content digest, in hex, remembered for exactly this stamp."""
        ...

    def remember(self, stamp: SourceStamp, digest: str) -> None:
        """Keep a digest; called only for sources that had settled before they were read."""
        ...


def identify(
    raw: object,
    *,
    threshold_bytes: int,
    policy: Literal["full", "tail"] = "full",
    memo: SourceMemo | None = None,
    progress: Progress | None = None,
) -> Identified:
    """Fingerprint raw data in the cheapest way that is sound, or by its tail if ``policy`` says so.

    ``threshold_bytes`` only decides whether the method is called ``full`` or
    ``footer``; the digest is the same. ``progress`` is told the number of further
    bytes done, from any thread.
    """
    if policy == "tail":
        return _identify_tail(raw)
    if isinstance(raw, ParquetSource):
        return _identify_source(raw, threshold_bytes, memo, progress)
    digest, data_bytes = _scan(raw, progress)
    return _identified(digest, Origin.SCAN, data_bytes, threshold_bytes)


def content_digest(raw: object, *, progress: Progress | None = None) -> str:
    """Digest, in hex, all of what is really there; never believes a stored footer or a memo."""
    return _scan(raw, progress)[0]


def to_table(raw: object) -> pa.Table:
    """Convert raw data to the one table that stands for all with their fingerprint; ``to_frame`` restores them.

    A ``ParquetSource`` is read whole.
    """
    with _typed_refusals():
        return table_of_frame(raw) if isinstance(raw, pd.DataFrame) else table_in_form(_as_table(raw))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Convert a table to the frame it stands for, with the dtypes ``table.to_pandas()`` alone would lose.

    Raises ``UnhashableInput`` for values that Arrow has and pandas has not.
    """
    try:
        return restore(table)
    except MemoryError:
        raise
    except (*_FAULTS, OverflowError, LookupError, AttributeError) as exc:
        raise _no_frame(table) from exc


def to_dataset(raw: object) -> ds.Dataset:
    """Give raw data as a dataset; a ``ParquetSource`` is read when the dataset is, and not before."""
    with _typed_refusals():
        return dataset_of_source(raw) if isinstance(raw, ParquetSource) else dataset_of_table(to_table(raw))


def _as_table(raw: object) -> pa.Table:
    if isinstance(raw, ParquetSource):
        return read_table(raw)
    if isinstance(raw, pa.Table):
        return raw
    if isinstance(raw, pa.RecordBatch):
        return pa.Table.from_batches([raw])
    return _reader(raw).read_all()


def _no_frame(table: pa.Table) -> UnhashableInput:
    for at, field in enumerate(table.schema):
        try:
            table.select([at]).replace_schema_metadata(None).to_pandas()
        except (*_FAULTS, OverflowError):
            return UnhashableInput(
                repr(field.name),
                f"pandas has no values like some of its {field.type}, such as nanoseconds of a day, or categories "
                "that are null or repeated; cast it",
            )
    return UnhashableInput(
        "pandas metadata", "they cannot be applied; drop them with table.replace_schema_metadata(None)"
    )


@contextmanager
def _typed_refusals() -> Iterator[None]:
    try:
        yield
    except MemoryError:  # Arrow's own kind is one of its exceptions as well
        raise
    except _FAULTS as exc:
        raise UnhashableInput("raw_data", f"Arrow cannot read all of it ({exc}); convert it to plain columns") from exc


def _scan(raw: object, progress: Progress | None) -> tuple[str, int]:
    with _typed_refusals():
        return _digest_and_size(raw, progress)


def _digest_and_size(raw: object, progress: Progress | None) -> tuple[str, int]:
    if isinstance(raw, pd.DataFrame):
        schema, columns = columns_of(raw)
        data_bytes = sum(column.data_bytes for column in columns)
        return footer_of(schema, columns, len(raw), progress).root, data_bytes
    if isinstance(raw, pa.RecordBatch):
        raw = pa.Table.from_batches([raw])
    if isinstance(raw, pa.Table):
        return table_footer(raw, progress).root, int(raw.nbytes)
    if isinstance(raw, ParquetSource):
        hasher = ContentHasher(sources.schema_of_source(raw), progress)
        for batch in sources.batches(raw):
            hasher.update(batch)
        return hasher.digest(), hasher.data_bytes
    with _reader(raw) as reader:
        hasher = ContentHasher(reader.schema, progress)
        for batch in reader:
            hasher.update(batch)
    return hasher.digest(), hasher.data_bytes


def _reader(raw: object) -> pa.RecordBatchReader:
    if isinstance(raw, pa.RecordBatchReader):
        raise UnhashableInput("raw_data", "a RecordBatchReader can be read only once; pass reader.read_all()")
    if isinstance(raw, pd.Series):
        raise UnhashableInput("raw_data", "a Series has no column name to hash; pass series.to_frame()")
    if not hasattr(raw, "__arrow_c_stream__"):
        raise UnhashableInput(
            "raw_data",
            f"{type(raw).__name__} is neither a DataFrame, an Arrow table, an Arrow stream nor a ParquetSource",
        )
    try:
        return pa.RecordBatchReader.from_stream(raw)
    except (pa.ArrowException, TypeError, ValueError) as exc:
        raise UnhashableInput("raw_data", f"{type(raw).__name__} is no table ({exc}); pass a frame or a table") from exc


def _identify_source(
    source: ParquetSource, threshold_bytes: int, memo: SourceMemo | None, progress: Progress | None
) -> Identified:
    files = sources.files_of(source)
    if len(files) == 1 and (found := read_seal(files[0])) and found.root is not None:
        return _identified(found.root, Origin.FOOTER, found.data_bytes, threshold_bytes)
    started_ns = sources.now_ns()
    before = sources.stamp(source)
    stated_bytes = sources.estimated_bytes(source)
    if memo and (digest := memo.recall(before)):
        return _identified(digest, Origin.MEMO, stated_bytes, threshold_bytes)
    digest, _ = _scan(source, progress)
    if sources.stamp(source) != before:
        raise SourceChanged(str(source.path), "it changed while it was being read; ask again when its writer is done")
    if memo and before.is_settled(started_ns):
        memo.remember(before, digest)
    return _identified(digest, Origin.SCAN, stated_bytes, threshold_bytes)


def _identify_tail(raw: object) -> Identified:
    if isinstance(raw, ParquetSource):
        return Identified(Fingerprint(HashMethod.TAIL, source_tail(raw)), Origin.TAIL, sources.estimated_bytes(raw))
    if isinstance(raw, pd.DataFrame):
        data_bytes = int(raw.memory_usage(deep=False).sum())
        return Identified(Fingerprint(HashMethod.TAIL, frame_tail(raw)), Origin.TAIL, data_bytes)
    table = to_table(raw)
    return Identified(Fingerprint(HashMethod.TAIL, table_tail(table)), Origin.TAIL, int(table.nbytes))


def _identified(digest: str, origin: Origin, data_bytes: int, threshold_bytes: int) -> Identified:
    method = HashMethod.FULL if data_bytes <= threshold_bytes else HashMethod.FOOTER
    return Identified(Fingerprint(method, digest), origin, data_bytes)
