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

from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from fstore.fingerprint.footer import Progress
from fstore.fingerprint.raw_input import Origin
from fstore.fingerprint.sources import open_raw
from fstore.fingerprint.stamps import SourceMemo
from fstore.model import Fingerprint, HashMethod

__all__ = ["Identified", "Origin", "content_digest", "identify", "to_dataset", "to_table"]


class Identified(NamedTuple):
    """A fingerprint, how it was come by, and the size of the data in memory.

    For a foreign file the size is as its footer states it.
    """

    fingerprint: Fingerprint
    origin: Origin
    data_bytes: int


def identify(
    raw: object,
    *,
    threshold_bytes: int,
    policy: Literal["full", "tail"] = "full",
    memo: SourceMemo | None = None,
    progress: Progress | None = None,
) -> Identified:
    """Fingerprint raw data in the cheapest way that is sound, or by its tail if ``policy`` says so.

    ``raw`` is whatever ``open_raw`` takes. ``threshold_bytes`` only decides whether the
    method is called ``full`` or ``footer``; the digest is the same. ``progress`` is told the
    number of further bytes done, from any thread.
    """
    data = open_raw(raw)
    digest, origin, data_bytes = data.tail() if policy == "tail" else data.digest(memo, progress)
    if policy == "tail":
        method = HashMethod.TAIL
    else:
        method = HashMethod.FULL if data_bytes <= threshold_bytes else HashMethod.FOOTER
    return Identified(Fingerprint(method, digest), origin, data_bytes)


def content_digest(raw: object, *, progress: Progress | None = None) -> str:
    """Digest, in hex, all of what is really there; never believes a stored footer or a memo."""
    return open_raw(raw).scan(progress).digest


def to_table(raw: object) -> pa.Table:
    """Convert raw data to the one table that stands for all with their fingerprint.

    ``to_frame`` restores them. A ``ParquetSource`` is read whole.
    """
    return open_raw(raw).table()


def to_dataset(raw: object) -> ds.Dataset:
    """Give raw data as a dataset; a ``ParquetSource`` is read when the dataset is, and not before."""
    return open_raw(raw).dataset()
