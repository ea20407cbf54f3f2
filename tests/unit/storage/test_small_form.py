"""Small results that share a file: what has their form, what comes back, and that nothing else passes for it."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from blake3 import blake3

from fstore.errors import EntryCorrupt, InvalidRequest
from fstore.model import Locator
from fstore.results import encode_result
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.packed.small_form import MARK, has_small_form, is_small_form, small_bytes
from fstore.storage.parquet import result_bytes
from fstore.storage.verify import UNREADABLE, Pace, decoded, inspect_file, result_in

KEY = "ab" * 32
FRAME = pd.DataFrame(np.random.default_rng(3).standard_normal((50, 3)), columns=list("abc"))


def table() -> pa.Table:
    return encode_result(FRAME)


def test_a_table_comes_back_with_its_metadata() -> None:
    """In no more bytes than Parquet takes."""
    data = small_bytes(table())
    assert decoded(data).equals(table(), check_metadata=True)
    assert decoded(result_bytes(table())).equals(table(), check_metadata=True)
    assert data.size < result_bytes(table()).size


def test_a_table_in_pieces_is_one_again() -> None:
    """As a file gives it back."""
    pieces = pa.concat_tables([table().slice(0, 20), table().slice(20)])
    back = decoded(small_bytes(pieces))
    assert back.equals(table())
    assert back.column(0).num_chunks == 1


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"x": ["text"]}),
        pa.table({"x": [True]}),
        pa.table({"x": [date(2026, 1, 5)]}),
        pa.table({"x": pa.array([1], pa.timestamp("s"))}),
        pa.table({"x": pa.array([1], pa.duration("ns"))}),
        pa.table({"x": pa.array([1.0], pa.float16())}),
        pa.table({"x": pa.array([1, None], pa.int64())}, schema=pa.schema([pa.field("x", pa.int64(), nullable=False)])),
        pa.table([pa.array([1])], schema=pa.schema([pa.field("x", pa.int64(), metadata={"PARQUET:field_id": "7"})])),
        pa.table({"x": pa.array([], pa.int64())}),
        pa.table({}),
        pa.table({"x": [1]}).replace_schema_metadata({b"fstore.table": b"x"}),
        pa.table({"x": np.zeros(200_000)}),
    ],
    ids=str,
)
def test_what_parquet_has_a_word_to_say_of_stays_parquet(other: pa.Table) -> None:
    """So that nothing is refused, or changed, by whether a result was published alone."""
    assert not has_small_form(other)


@pytest.mark.parametrize("kind", [pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("us"), pa.int8(), pa.float32()])
def test_numbers_and_times_have_it(kind: pa.DataType) -> None:
    """Missing ones as well."""
    held = pa.table({"x": pa.array([1, None, 3], pa.int64()).cast(kind)})
    assert has_small_form(held)
    assert decoded(small_bytes(held)).equals(held)
    assert decoded(result_bytes(held)).equals(held)


def test_both_forms_lie_in_one_pack_and_are_judged_alike(tmp_path: Path) -> None:
    """Reads, sweeps and damage."""
    entries = FolderEntries(tmp_path)
    text = pa.table({"side": ["buy", "sell"]})
    stored = entries.publish_together([(KEY, small_bytes(table())), ("cd" * 32, result_bytes(text))])
    for one, held, key in zip(stored, (table(), text), (KEY, "cd" * 32), strict=True):
        found = Locator(key, one.path, held.num_rows, one.file_size_bytes, one.content_digest)
        assert entries.read(found).equals(held)
        assert entries.inspect(found, Pace(None))[0] is None
        wrong = replace(found, rows=held.num_rows + 1)
        assert str(entries.inspect(wrong, Pace(None))[0]).startswith("unreadable")
        with pytest.raises(EntryCorrupt, match="rows"):
            entries.read(wrong)


@pytest.mark.parametrize("at", [8, 12, 15, 16, 20, 40, 200, -1, -9, -30])
@pytest.mark.parametrize("cut", [False, True])
def test_bytes_that_only_begin_like_it_are_a_fault_and_no_crash(at: int, *, cut: bool) -> None:
    """Even under a digest of their own, and for reads and sweeps alike."""
    data = bytearray(small_bytes(table()).to_pybytes())
    if cut:
        del data[at:]
    else:
        data[at] ^= 0xFF
    spoilt = pa.py_buffer(bytes(data))
    found = Locator(KEY, "x", FRAME.shape[0], spoilt.size, blake3(spoilt).hexdigest())
    try:
        back = decoded(spoilt)
    except UNREADABLE:
        assert inspect_file(found, io.BytesIO(bytes(data)), spoilt.size, Pace(None))[0] is not None
    else:
        back.validate(full=True)


def test_no_more_memory_is_asked_for_than_a_small_result_takes() -> None:
    """Eight bytes of damage may say any size."""
    data = MARK + (65 << 20).to_bytes(8, "little") + small_bytes(table()).to_pybytes()[len(MARK) + 8 :]
    before = pa.total_allocated_bytes()
    with pytest.raises(ValueError, match="says that it holds"):
        decoded(pa.py_buffer(data))
    assert pa.total_allocated_bytes() <= before


def test_a_staged_result_is_parquet() -> None:
    """What a trainer stages is published as it is, alone, as a file that anybody opens."""
    assert is_small_form(small_bytes(table()))
    with pytest.raises(InvalidRequest):
        result_in(small_bytes(table()), None)


def test_parquet_never_begins_like_it() -> None:
    """Nor does what is too short to be anything."""
    assert not is_small_form(result_bytes(table()))
    assert not is_small_form(pa.py_buffer(MARK))
