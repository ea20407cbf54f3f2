"""What a raw Parquet file may ask of the process that opens it, judged before its data are read.

The footer's length stands in the last eight bytes and is judged before anything is
parsed; how long its lists and texts may be is judged by the parser; rows, columns,
row groups and the size of the decoded data are judged from the parsed footer. The
limits are a store's own, and come with whatever it reads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fstore.errors import InvalidRequest, SourceChanged
from fstore.settings import Settings

GIB = 1 << 30
_TAIL = 8
_MAGIC = b"PAR1"
_BYTES = {"BOOLEAN": 0.125, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}


class ParquetLimits(NamedTuple):
    """The bounds of one file.

    ``expansion`` is decoded bytes for each byte of the file, and counts from 1 GiB on.
    """

    rows: int = 10_000_000_000
    columns: int = 20_000
    row_groups: int = 100_000
    footer_bytes: int = 64 * 1024 * 1024  # of one that ingest writes, a digest for each block of each column is a part
    expansion: int = 1_000


USUAL: ParquetLimits = ParquetLimits()


def limits_of(settings: Settings) -> ParquetLimits:
    """Return the limits that a store's settings name."""
    return ParquetLimits(
        settings.raw_max_rows,
        settings.raw_max_columns,
        settings.raw_max_row_groups,
        settings.raw_max_footer_bytes,
        settings.raw_max_expansion,
    )


def open_bounded(path: Path, limits: ParquetLimits) -> pq.ParquetFile:
    """Open a file for streaming with bounded memory, page checksums verified.

    Raises ``InvalidRequest`` for a file beyond the limits, ``SourceChanged`` for what
    is no readable Parquet file.
    """
    return _opened(str(path), path, limits, lambda: check_tail(path, limits), pre_buffer=False, buffer_size=1 << 20)


def open_ranges(file: BinaryIO, name: str, limits: ParquetLimits) -> pq.ParquetFile:
    """Do the same for an open file of which each read is a request: what lies together is read at once."""
    return _opened(file, name, limits, lambda: judge_tail(file, name, limits), pre_buffer=True)


def _opened(
    where: str | BinaryIO, path: Path | str, limits: ParquetLimits, judge: Callable[[], int], **how: Any
) -> pq.ParquetFile:
    try:
        size = judge()
        opened = pq.ParquetFile(
            where,
            **how,
            page_checksum_verification=True,
            thrift_string_size_limit=limits.footer_bytes,
            thrift_container_size_limit=max(4 * limits.columns, limits.row_groups) + 1,
        )
    except FileNotFoundError as exc:
        raise SourceChanged(str(path), "there is no such file; check the path") from exc
    except MemoryError as exc:
        raise out_of_memory(path) from exc
    except (pa.ArrowException, OSError) as exc:
        raise _unreadable(path, str(exc)) from exc
    _check_contents(path, size, opened, limits)
    return opened


def out_of_memory(path: Path | str) -> InvalidRequest:
    """Return the error for a file whose data do not fit into what this process may use."""
    return _beyond(
        path,
        "needs more memory than this process may use: split it, ask for a feature with input='dataset', which streams, "
        "or raise FEATURE_STORE_WORKER_MEMORY_LIMIT_MB",
    )


def check_tail(path: Path, limits: ParquetLimits) -> int:
    """Judge a file by its last eight bytes and return its size.

    Raises what ``open_bounded`` raises, and ``OSError``.
    """
    with path.open("rb") as file:
        return judge_tail(file, str(path), limits)


def judge_tail(file: BinaryIO, path: str, limits: ParquetLimits) -> int:
    """Do the same for an open file; ``path`` is its name in errors."""
    most = limits.footer_bytes
    size = file.seek(0, 2)
    file.seek(max(size - _TAIL, 0))
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - _TAIL - len(_MAGIC):
        raise SourceChanged(str(path), "is not a Parquet file, or is cut short")
    if length > most:
        raise _beyond(path, _more("a footer of", length, "bytes", most, "FOOTER_BYTES"))
    return size


def _check_contents(path: Path | str, size: int, opened: pq.ParquetFile, limits: ParquetLimits) -> None:
    about = opened.metadata
    if about.num_columns > limits.columns:
        raise _beyond(path, _more("", about.num_columns, "columns", limits.columns, "COLUMNS"))
    if about.num_row_groups > limits.row_groups:
        raise _beyond(path, _more("", about.num_row_groups, "row groups", limits.row_groups, "ROW_GROUPS"))
    groups = [about.row_group(n) for n in range(about.num_row_groups)]
    counts = [about.num_rows, *(group.num_rows for group in groups)]
    if min(counts) < 0 or counts[0] != sum(counts[1:]):
        raise SourceChanged(str(path), "its footer contradicts itself about the number of rows")
    if about.num_rows > limits.rows:
        raise _beyond(path, _more("", about.num_rows, "rows", limits.rows, "ROWS"))
    declared = sum(group.total_byte_size for group in groups)
    decoded = max(declared, int(about.num_rows * sum(_width(about, n) for n in range(about.num_columns))))
    if decoded > GIB and decoded > limits.expansion * size:
        raise _beyond(
            path,
            f"expands {decoded // size} times, from {size} bytes to {decoded}, and at most {limits.expansion} times "
            "is taken; if it is no decompression bomb, raise FEATURE_STORE_RAW_MAX_EXPANSION",
        )


def _width(about: pq.FileMetaData, column: int) -> float:
    leaf = about.schema.column(column)
    return leaf.length if leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" else _BYTES.get(leaf.physical_type, 4)


def _unreadable(path: Path | str, text: str) -> InvalidRequest | SourceChanged:
    if "nested" in text and "limit" in text:
        return _beyond(path, "nests its columns deeper than 100 levels; flatten it")
    if "size limit" in text:
        return _beyond(path, "has a longer schema or longer texts in its footer than FEATURE_STORE_RAW_MAX_* allow")
    return SourceChanged(str(path), f"is not a readable Parquet file ({text.strip()})")


def _more(what: str, found: int, unit: str, most: int, setting: str) -> str:
    counted = f"{what} {found} {unit}".strip()
    return f"has {counted}, and at most {most} are read; raise FEATURE_STORE_RAW_MAX_{setting} if it is meant to be so"


def _beyond(path: Path | str, reason: str) -> InvalidRequest:
    return InvalidRequest("raw_data", f"{path} {reason}")
