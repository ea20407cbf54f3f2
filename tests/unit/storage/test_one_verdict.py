"""Reads, sweeps, publishing and the local cache judge bytes alike, because they ask the same functions."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore import errors
from fstore.model import Locator
from fstore.results.codec import encode_result
from fstore.results.stored_tables import UnstorableResult
from fstore.storage import verify
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.local_cache import LocalCache
from fstore.storage.verify import Pace, inspect_file, verified_table
from tests.awkward_tables import TABLES

KEY = "ab" * 32
STORAGE = Path(verify.__file__).parent


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> FolderEntries:
    made = FolderEntries(tmp_path_factory.mktemp("store"))
    made.create("verdicts")
    return made


def published(entries: FolderEntries, table: pa.Table) -> tuple[Locator, bytes]:
    stored = entries.publish(KEY, table)
    found = Locator(KEY, stored.path, table.num_rows, stored.file_size_bytes, stored.content_digest)
    return found, entries.read_bytes(found).to_pybytes()


def by_read(found: Locator, data: bytes) -> str | None:
    try:
        verified_table(found, pa.py_buffer(data))
    except errors.EntryCorrupt as error:
        return error.fault.partition(":")[0]
    return None


def by_sweep(found: Locator, data: bytes) -> str | None:
    fault, _ = inspect_file(found, io.BytesIO(data), len(data), Pace(None))
    return None if fault is None else str(fault.kind)


def some_table() -> pa.Table:
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"x": rng.normal(size=500), "side": pd.Categorical(rng.choice(["a", "b"], 500))})
    return encode_result(frame)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 2_000), how=st.sampled_from(["cut", "bit", "tail", "twice"]))
def test_whatever_is_done_to_a_file_all_readers_say_the_same(entries: FolderEntries, at: int, how: str) -> None:
    """Nothing passes one reader and not the other."""
    found, right = published(entries, some_table())
    changed = {
        "cut": right[:at],
        "bit": right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :],
        "tail": right[at + 1 :],
        "twice": right + right,
    }[how]

    assert by_read(found, changed) == by_sweep(found, changed)
    assert by_read(found, changed) in ("size", "digest")


FORGED = {
    "no Parquet": lambda data: b"no Parquet",
    "cut in the middle": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-1],
    "without its beginning": lambda data: data[1:],
    "notes that mean nothing": lambda data: data.replace(b"fstore.table\x18", b"fstore.table\x19"),
    "a schema that is none": lambda data: data.replace(b"/////", b"!!!!!"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_bytes_that_a_row_vouches_for_are_decoded_by_all(entries: FolderEntries, kind: str) -> None:
    """Where the digest is right and the form is not, a sweep finds what a read would find."""
    found, right = published(entries, some_table())
    changed = FORGED[kind](right)
    assert changed != right
    found = replace(found, file_size_bytes=len(changed), content_digest=blake3(changed).hexdigest())

    assert by_read(found, changed) == by_sweep(found, changed) == "unreadable"


@pytest.mark.parametrize("error", [MemoryError("no memory"), pa.lib.ArrowMemoryError("no memory")])
def test_a_process_without_memory_finds_no_fault(
    entries: FolderEntries, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Quarantining what this process has no room for would cost everybody the entry."""
    found, data = published(entries, some_table())

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(verify, "meant_form", refuse)
    for judge in (by_read, by_sweep):
        with pytest.raises(MemoryError):
            judge(found, data)


@pytest.mark.parametrize("kind", TABLES)
def test_every_form_of_result_is_right_for_all(entries: FolderEntries, kind: str) -> None:
    """A sweep finds nothing wrong with what a read takes, and counts the same rows."""
    found, data = published(entries, TABLES[kind]())

    assert (by_read(found, data), by_sweep(found, data)) == (None, None)
    other = replace(found, rows=found.rows + 1)
    assert by_read(other, data) == by_sweep(other, data) == "unreadable"


def test_what_batches_cannot_give_is_judged_by_the_whole(
    entries: FolderEntries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of reading piece by piece costs nobody a right entry."""
    found, data = published(entries, some_table())

    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("nested")

    monkeypatch.setattr(pa.parquet.ParquetFile, "iter_batches", refuse)
    assert by_sweep(found, data) is None


def test_a_disk_that_fails_is_no_fault_of_the_entry(entries: FolderEntries) -> None:
    """An error while a sweep reads is the store's, whichever part of the file it meets."""
    found, data = published(entries, some_table())

    class Failing(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        inspect_file(found, Failing(data), len(data), Pace(None))


def test_publishing_asks_the_same_function(entries: FolderEntries, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no reader could decode is never published."""

    def refuse(*_: object, **__: object) -> None:
        raise pa.ArrowInvalid("odd")

    monkeypatch.setattr("fstore.storage.verify.decoded", refuse)
    with pytest.raises(UnstorableResult, match="odd"):
        entries.publish(KEY, some_table())


def files_in(entries: FolderEntries) -> set[str]:
    """Name all files of entries, finished or not."""
    listings = [*entries.list_packs(), *entries.list_shards()]
    return {file.path for listing in listings for file in (*listing.files, *listing.temporary)}


@pytest.mark.parametrize(
    "spoil", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"R" + d[1:], lambda d: d[:20] + b"?" + d[21:]]
)
def test_a_file_that_reads_back_otherwise_is_not_published(
    entries: FolderEntries, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[bytes], bytes]
) -> None:
    """Bytes that were checked before are compared with what lies on disk: the digest would vouch for the wrong ones."""

    def write(path: Path, pieces: list[memoryview]) -> None:
        path.write_bytes(spoil(b"".join(pieces)))

    before = files_in(entries)
    monkeypatch.setattr("fstore.storage.folder.entries.write_pieces", write)
    right, other = pa.py_buffer(b"right" * 5), pa.py_buffer(b"others" * 5)
    with pytest.raises(errors.StorageUnavailable, match="just written"):
        entries.publish_bytes(KEY, right)
    with pytest.raises(errors.StorageUnavailable, match="just written"):
        entries.publish_together([(KEY, right), ("cd" * 32, other)])
    assert files_in(entries) == before


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_the_local_cache_gives_nothing_that_is_not_the_entry(entries: FolderEntries, tmp_path: Path, cut: int) -> None:
    """Damage of its own files, another digest and another number of rows are all misses."""
    found, _ = published(entries, some_table())
    cache = LocalCache(tmp_path, max_bytes=10**9)
    assert cache.promote(found, some_table()) is not None
    assert LocalCache(tmp_path, max_bytes=10**9).find(replace(found, rows=1)) is None

    cache.add(found, some_table())
    (file,) = tmp_path.rglob("*.arrow")
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-cut] + bytes([data[-cut] ^ 1]) + data[len(data) - cut + 1 :])
    assert LocalCache(tmp_path, max_bytes=10**9).find(found) is None


def test_digests_are_compared_in_one_place() -> None:
    """No other module of storage knows what a row's digest, size or rows mean."""
    comparing = {
        path.relative_to(STORAGE).as_posix()
        for path in STORAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        for side in ast.walk(node)
        if isinstance(side, ast.Attribute) and side.attr in ("content_digest", "rows")
    }
    assert comparing == {"verify.py"}
