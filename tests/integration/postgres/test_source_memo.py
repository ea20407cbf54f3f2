"""The memo of partition tables: all files of a folder asked for at once, and nothing lost when Postgres is away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fstore.fingerprint.stamps import SourceStamp
from fstore.postgres.pool import Database
from fstore.postgres.source_memo import PostgresPartitionMemo, PostgresSourceMemo

STAMPS = [SourceStamp(f"/data/ES/{n:03}.parquet", n, 5, 6, 7, "ab") for n in range(500)]


@pytest.fixture
def database(house):
    opened = Database(house.environment["FEATURE_STORE_POSTGRES_URL"], application_name="fstore/test", pool_size=3)
    yield opened
    opened.close()


def test_tables_are_found_by_exactly_their_stamp_and_cutting(database):
    """In the order asked for; what is remembered twice stays what it was; digests of content are another memory."""
    memo = PostgresPartitionMemo(database)
    assert memo.recall(STAMPS[:3], "day") == [None, None, None]
    memo.remember(dict.fromkeys(STAMPS[1:], b"{}\nAAAA"), "day")
    memo.remember({STAMPS[1]: b"other", STAMPS[0]: b"first"}, "day")

    assert memo.recall([STAMPS[2], STAMPS[0], STAMPS[1]], "day") == [b"{}\nAAAA", b"first", b"{}\nAAAA"]
    assert memo.recall(STAMPS, "day").count(None) == 0
    assert memo.recall(STAMPS[:2], "hour") == [None, None]
    for field in ("path", "size_bytes", "mtime_ns", "ctime_ns", "inode", "footer_digest"):
        other = replace(STAMPS[1], **{field: "x" if field in ("path", "footer_digest") else 99})
        assert memo.recall([other], "day") == [None]
    assert memo.recall([], "day") == []
    memo.remember({}, "day")
    assert PostgresSourceMemo(database).recall(STAMPS[1]) is None


def test_a_memo_that_cannot_be_reached_costs_a_scan(house):
    """And raises nothing."""
    away = Database("postgresql://nobody@127.0.0.1:1/none", application_name="fstore/test", pool_size=1)
    memo = PostgresPartitionMemo(away)

    memo.remember({STAMPS[0]: b"x"}, "day")
    assert memo.recall(STAMPS[:2], "day") == [None, None]
    away.close()
