"""No edit of the content may go unseen, and no other layout of it may look like an edit.

Together the first four tests make 10,000 edits, the next three 2,000 re-layouts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.identification import content_digest, identify, to_table
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.model import ParquetSource
from tests.unit.fingerprint.inputs import fingerprint_cases as tables
from tests.unit.fingerprint.inputs import fingerprint_frames as frames
from tests.unit.fingerprint.inputs import fingerprint_layouts


def test_every_edit_of_a_table_is_seen() -> None:
    """A table of any supported types has another digest after any one edit of it."""
    rng = random.Random(31)
    unseen = []
    for _ in range(810):
        columns = tables.random_columns(rng)
        digest = content_digest(tables.table(columns))
        for _ in range(10):
            name, edited = tables.random_edit(rng, columns)
            if content_digest(tables.table(edited)) == digest:
                unseen.append((name, columns, edited))
    assert not unseen, unseen[:3]


def test_every_edit_of_a_frame_is_seen() -> None:
    """A frame of any supported dtypes and index has another digest after any one edit of it."""
    rng = random.Random(32)
    unseen = []
    for _ in range(140):
        spec = frames.random_spec(rng)
        digest = content_digest(spec.frame())
        for _ in range(10):
            name, edited = frames.random_edit(rng, spec)
            if content_digest(edited.frame()) == digest:
                unseen.append((name, spec, edited))
    assert not unseen, unseen[:3]


def test_every_edit_of_a_file_is_seen(tmp_path: Path) -> None:
    """A Parquet file has another fingerprint after any one edit, whether its footer is fstore's or not."""
    rng = random.Random(33)
    unseen = []
    for _ in range(50):
        columns = tables.random_columns(rng)
        kept = {
            write: write(tables.table(columns), tmp_path / f"{write.__name__}.parquet")
            for write in (_ingested, _foreign)
        }
        for _ in range(5):
            name, edited = tables.random_edit(rng, columns)
            for write, digest in kept.items():
                if write is _foreign and "recast" in name:
                    continue  # Parquet itself cannot tell seconds from milliseconds
                if write(tables.table(edited), tmp_path / "edited.parquet") == digest:
                    unseen.append((name, write, columns, edited))
    assert not unseen, unseen[:3]


def test_an_edit_of_one_cell_among_many_blocks_is_seen() -> None:
    """In a frame of several blocks one corrected price, at any place, gives another digest."""
    rng = random.Random(34)
    rows = 2 * BLOCK_ROWS + 77
    prices = np.random.default_rng(5).normal(100, 1, rows)
    frame = pd.DataFrame({"price": prices, "size": np.arange(rows, dtype=np.int32)})
    seen = {content_digest(frame)}
    places = [0, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS, rows - 1, *(rng.randrange(rows) for _ in range(95))]
    for at in places:
        changed = prices.copy()
        changed[at] *= 1.0001
        seen.add(content_digest(frame.assign(price=changed)))
    assert len(seen) == 1 + len(set(places))


def test_the_layout_of_a_table_does_not_count() -> None:
    """Chunks, offsets, slack, bitmaps, codes of a dictionary and offset widths leave the digest as it is."""
    rng = random.Random(35)
    differing = []
    for _ in range(250):
        columns = tables.random_columns(rng)
        digest = content_digest(tables.table(columns))
        differing += [
            (name, columns)
            for name, other in fingerprint_layouts.layouts(rng, columns)
            if content_digest(other) != digest
        ]
    assert not differing, differing[:3]


def test_the_layout_of_a_frame_does_not_count() -> None:
    """Memory order, views, consolidation and the way through Arrow leave the digest as it is, and lose nothing."""
    rng = random.Random(36)
    differing = []
    for _ in range(60):
        frame = frames.random_spec(rng).frame()
        digest = content_digest(frame)
        through_arrow = to_table(frame)
        pd.testing.assert_frame_equal(to_frame(through_arrow), frame, check_freq=False)
        others = [("arrow", through_arrow), ("and back", to_frame(through_arrow)), *frames.layouts(rng, frame)]
        differing += [(name, frame) for name, other in others if content_digest(other) != digest]
    assert not differing, differing[:3]


def test_the_layout_of_a_file_does_not_count(tmp_path: Path) -> None:
    """Compression, row groups, pages and dictionary pages leave the digest of a file as it is, and ingest keeps it."""
    rng = random.Random(37)
    differing = []
    for _ in range(40):
        columns = tables.random_columns(rng)
        table = tables.table(columns)
        path = tmp_path / "layout.parquet"
        foreign = _foreign(table, path)
        for options in _parquet_layouts(rng, table.num_rows):
            pq.write_table(table, path, **options)
            if content_digest(ParquetSource(path)) != foreign:
                differing.append((options, columns))
        if _ingested(table, path) != content_digest(table) or content_digest(ParquetSource(path)) != content_digest(
            table
        ):
            differing.append(("ingested", columns))
    assert not differing, differing[:3]


_cells = st.one_of(st.none(), st.floats(allow_nan=True, width=64))
_words = st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["", "a", "aa", "\0"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_cells, _words), max_size=5), st.lists(st.tuples(_cells, _words), max_size=5))
def test_digests_are_equal_exactly_when_the_rows_are(
    left: list[tuple[object, object]], right: list[tuple[object, object]]
) -> None:
    """Two tables of one schema share a digest if and only if they hold the same values, bit for bit."""
    same = len(left) == len(right) and all(
        all(map(tables.same, one, other)) for one, other in zip(left, right, strict=True)
    )

    assert (_digest_of_rows(left) == _digest_of_rows(right)) is same


def _digest_of_rows(rows: list[tuple[object, object]]) -> str:
    cells, words = [row[0] for row in rows], [row[1] for row in rows]
    columns = [tables.Column("x", pa.float64(), tuple(cells)), tables.Column("y", pa.string(), tuple(words))]
    return content_digest(tables.table(columns))


def _ingested(table: pa.Table, path: Path) -> str:
    return identify(ingest(table, path), threshold_bytes=0).fingerprint.digest


def _foreign(table: pa.Table, path: Path) -> str:
    pq.write_table(table, path)
    return identify(ParquetSource(path), threshold_bytes=0).fingerprint.digest


def _parquet_layouts(rng: random.Random, rows: int) -> Iterator[dict[str, object]]:
    for compression in ("none", "snappy", "zstd"):
        yield {
            "compression": compression,
            "row_group_size": rng.randint(1, rows),
            "use_dictionary": rng.random() < 0.5,
            "data_page_size": rng.choice([64, 1 << 20]),
            "write_page_checksum": rng.random() < 0.5,
            "data_page_version": rng.choice(["1.0", "2.0"]),
        }
