"""The footer: what a data set is, with a digest for every column; its own digest is the content digest.

The digest of a column is that of the digests of its blocks, so this is a tree of fixed
depth (root, columns, blocks), whose shape follows from the row count. The text form is
canonical JSON, so that equal content has one text on every machine::

    {"format":"b3m2","block_rows":131072,"rows":...,"schema":{...},"range":...,
     "bounds":[...],"columns":[{"blocks":"<hex>","categories":"<hex>"|null}, ...]}

``range`` is the RangeIndex, ``bounds`` the digests of the first and last value of every
index level. ``categories`` covers the whole dictionary of a categorical column, used or
not, in its order, ordered or not: codes, sorting and grouping show it. The text grows
with the columns, not with the rows, so a file's footer is read in no time at any size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import pyarrow as pa
from blake3 import blake3

from fstore.fingerprint.canonical import BLOCK_ROWS, leaf
from fstore.fingerprint.columns import Column, arrow_column, union_of_categories
from fstore.frames.arrow_types import plain_storage
from fstore.frames.description import Description, canonical_json, describe, range_index
from fstore.model import Fingerprint

PARALLEL_BYTES = 16 << 20  # below, starting threads costs more than they bring
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Footer:
    """Summary of a data set; ``text`` is what is hashed and stored."""

    text: str

    @property
    def root(self) -> str:
        """The content digest, in hex."""
        return blake3(self.text.encode()).hexdigest()


def compose(
    schema: pa.Schema,
    rows: int,
    leaves: Sequence[bytes],
    bounds: Sequence[tuple[str, str]],
    categories: Sequence[pa.Array | None],
) -> Footer:
    """Write the footer from the concatenated block digests of each column, in the order of the description."""
    description = describe(schema)
    # Put together in the order of canonical JSON, for the schema's text, the longest part, is canonical already.
    columns = ",".join(
        f'{{"blocks":"{blake3(blocks).hexdigest()}","categories":'
        + ("null}" if known is None else f'"{categories_digest(known)}"}}')
        for blocks, known in zip(leaves, categories, strict=True)
    )
    return Footer(
        f'{{"block_rows":{BLOCK_ROWS},"bounds":{canonical_json(list(bounds)) if bounds else "[]"},"columns":[{columns}],'
        f'"format":"{Fingerprint.FORMAT}","range":{canonical_json(range_index(schema, rows))},"rows":{rows},'
        f'"schema":{description.text}}}'
    )


def footer_of(schema: pa.Schema, columns: Sequence[Column], rows: int, progress: Progress | None = None) -> Footer:
    """Hash columns that are in memory, block-parallel; ``columns`` are in the order of the schema's fields."""
    description = describe(schema)
    ordered = [columns[i] for i in description.order]
    starts = range(0, rows, BLOCK_ROWS)
    blocks = [(column, start, min(start + BLOCK_ROWS, rows)) for start in starts for column in ordered]
    digests = hash_blocks(blocks, sum(column.data_bytes for column in ordered), progress)
    width = len(ordered)
    return compose(
        schema,
        rows,
        [b"".join(digests[i::width]) for i in range(width)],
        bounds_of(ordered, description, rows),
        [column.extra() for column in ordered],
    )


def bounds_of(ordered: Sequence[Column], description: Description, rows: int) -> list[tuple[str, str]]:
    """Digest the first and last value of each index level."""
    if not rows:
        return []
    levels = ordered[len(ordered) - description.levels :]
    return [(level.leaf(0, 1).hex(), level.leaf(rows - 1, rows).hex()) for level in levels]


def hash_blocks(
    blocks: Sequence[tuple[Column, int, int]], data_bytes: int, progress: Progress | None = None
) -> list[bytes]:
    """Compute the leaves of all blocks, with as many threads as there are cores up to eight.

    The threads live no longer than this call, so nothing of them is inherited by a fork.
    """
    digests = [b""] * len(blocks)
    cells = sum(stop - start for _, start, stop in blocks) or 1
    tickets = count()

    def work() -> None:
        while (at := next(tickets)) < len(blocks):
            column, start, stop = blocks[at]
            digests[at] = column.leaf(start, stop)
            if progress:
                progress(data_bytes * (stop - start) // cells)

    threads = min(os.cpu_count() or 1, 8, len(blocks)) if data_bytes >= PARALLEL_BYTES else 1
    if threads < 2:
        work()
        return digests
    with ThreadPoolExecutor(threads, thread_name_prefix="fstore-hash") as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
    return digests


def table_footer(table: pa.Table, progress: Progress | None = None) -> Footer:
    """Hash a table in memory."""
    columns = [arrow_column(column) for column in table.columns]
    return footer_of(table.schema, columns, table.num_rows, progress)


def categories_digest(categories: pa.Array) -> str:
    """Digest the values of a dictionary, in their order."""
    values = plain_storage(union_of_categories([categories]))
    hasher = blake3()
    for start in range(0, len(values), BLOCK_ROWS):
        hasher.update(leaf([values.slice(start, BLOCK_ROWS)]))
    return hasher.hexdigest()
