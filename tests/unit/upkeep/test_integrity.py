"""Rows against files: what is lost or orphaned, and when that looks like the wrong folder."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fstore.storage.layout import FoundFile, key_of, shard_of
from fstore.upkeep.collection.shard import compare
from fstore.upkeep.safety import looks_wrong

NAMES = st.integers(0, 40).map(lambda i: f"entries/ab/ab{i:04d}.t.parquet")


class Row(NamedTuple):
    key: str
    path: str
    size_bytes: int


def row(path, size_bytes=10):
    return Row(key_of(path), path, size_bytes)


def file(path, size_bytes=10):
    return FoundFile(path, size_bytes, modified_ns=0)


def test_a_store_in_order_has_no_faults():
    """Rows and files that match leave nothing to report."""
    result = compare([row("entries/ab/ab1.t.parquet")], [file("entries/ab/ab1.t.parquet")])

    assert (result.rows, result.files) == (1, 1)
    assert (result.lost, result.orphans) == ((), ())


def test_each_kind_of_difference_is_told_apart():
    """A row without file is lost, a file without row is an orphan; a size is no matter of listings."""
    rows = [row("entries/ab/ab1.t.parquet"), row("entries/ab/ab2.t.parquet", 10)]
    found = [file("entries/ab/ab2.t.parquet", 7), file("entries/ab/ab3.t.parquet")]

    result = compare(rows, found)

    assert result.lost == (rows[0],)
    assert result.orphans == (found[1],)


def test_another_attempt_of_the_same_key_is_an_orphan():
    """The file of a loser is garbage even while the winner's file is live: names carry the attempt."""
    result = compare(
        [row("entries/ab/ab1.winner.parquet")],
        [file("entries/ab/ab1.winner.parquet"), file("entries/ab/ab1.loser.parquet")],
    )

    assert [orphan.path for orphan in result.orphans] == ["entries/ab/ab1.loser.parquet"]


def test_names_tell_key_and_shard():
    """A file's key is its name up to the first dot, its shard the key's first two digits."""
    assert key_of("entries/ab/abcdef.1-token.parquet") == "abcdef"
    assert shard_of("abcdef") == "ab"


@settings(
    suppress_health_check=[HealthCheck.too_slow], deadline=None
)  # the first draw waits for its turn on a busy machine
@given(st.dictionaries(NAMES, st.integers(0, 2)), st.dictionaries(NAMES, st.integers(0, 2)))
def test_comparison_is_set_arithmetic(rows, files):
    """Lost and orphaned are exactly the differences of the two sets, in the order of their paths."""
    result = compare((row(p, s) for p, s in rows.items()), (file(p, s) for p, s in files.items()))

    assert [r.path for r in result.lost] == sorted(rows.keys() - files.keys())
    assert [f.path for f in result.orphans] == sorted(files.keys() - rows.keys())
    assert (result.rows, result.files) == (len(rows), len(files))


@pytest.mark.parametrize(
    ("orphans", "lost", "rows", "files", "words"),
    [
        (0, 0, 0, 0, None),
        (100, 100, 100, 100, None),
        (101, 0, 10_000, 10_101, None),
        (101, 0, 1_900, 2_001, "101 of 2001 files have no row"),
        (5_000, 0, 0, 5_000, "the database may be empty"),
        (0, 5_000, 5_000, 0, "the folder may be unmounted"),
        (0, 101, 2_020, 1_919, None),
        (0, 102, 2_020, 1_918, "102 of 2020 entries have no file"),
    ],
)
def test_only_many_and_a_large_share_look_wrong(orphans, lost, rows, files, words):
    """More than a hundred and more than a twentieth together are suspicious; either alone is garbage."""
    reason = looks_wrong(orphans=orphans, lost=lost, total_rows=rows, total_files=files)

    assert reason is None if words is None else words in reason
