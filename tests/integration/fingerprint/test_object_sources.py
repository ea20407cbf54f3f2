"""Raw data in buckets: one request for a sealed footer, one for what is remembered, and never a mixture of two versions."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fstore
from fstore.errors import InvalidRequest, SourceChanged, StorageFull
from fstore.fingerprint import RawInput, content_digest, identify, limits_of, open_raw
from fstore.model import ParquetSource
from fstore.s3 import S3Forbidden, S3Unavailable
from fstore.settings import Settings, gather_settings
from tests.faults.harness import http_faults as faults
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket, ObjectServer


class Memo:
    """Remembers in this process."""

    def __init__(self) -> None:
        self.known: dict[Any, str] = {}

    def recall(self, stamp: Any) -> str | None:
        return self.known.get(stamp)

    def remember(self, stamp: Any, digest: str) -> None:
        self.known[stamp] = digest


def frame(rows: int = 1000, start: int = 0) -> pd.DataFrame:
    index = pd.date_range("2024-01-02", periods=rows, freq="min", tz="UTC", name="ts")
    return pd.DataFrame({"close": [float(start + i) for i in range(rows)]}, index=index)


def foreign(rows: int = 1000, start: int = 0) -> bytes:
    """Write a Parquet file as others do."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame(rows, start)), sink)
    return bytes(sink.getvalue())


def sealed(folder: Path, rows: int = 1000, start: int = 0) -> bytes:
    """Write a Parquet file as ingest does."""
    path = folder / f"{rows}-{start}.parquet"
    from fstore.ingest import ingest

    ingest(frame(rows, start), path)
    return path.read_bytes()


@pytest.fixture
def proxy(object_server: ObjectServer) -> Iterator[HttpProxy]:
    with HttpProxy(object_server.address) as proxy:
        yield proxy


@pytest.fixture
def bucket(make_bucket: Callable[..., Bucket]) -> Bucket:
    return make_bucket()


def settings_of(bucket: Bucket, proxy: HttpProxy, scratch: Path, **given: Any) -> Settings:
    about = {**bucket.settings(endpoint=proxy.endpoint), "scratch": scratch, "object_timeout_s": 3}
    return gather_settings({**about, "data_roots": f"s3://{bucket.name}/raw", **given}, environ={})


@pytest.fixture
def opened(bucket: Bucket, proxy: HttpProxy, tmp_path: Path) -> Callable[..., RawInput]:
    """A way to open what lies below ``raw`` in the bucket, anew each time as a request does."""
    settings = settings_of(bucket, proxy, tmp_path / "scratch")

    def opened(key: str = "raw/a.parquet", version: str | None = None) -> RawInput:
        source = ParquetSource(f"s3://{bucket.name}/{key}")
        return open_raw(source, limits_of(settings), settings=settings, version=version)

    return opened


def fingerprint(raw: RawInput, memo: Memo | None = None) -> tuple[str, str]:
    found = identify(raw, threshold_bytes=0, memo=memo)
    return str(found.fingerprint), str(found.origin)


def expected(rows: int = 1000, start: int = 0) -> str:
    return str(identify(frame(rows, start), threshold_bytes=0).fingerprint)


def test_a_sealed_footer_is_read_by_one_request(bucket, proxy, opened, tmp_path):
    """And gives the fingerprint of the frame; the data stay where they are."""
    bucket.put("raw/a.parquet", sealed(tmp_path, 50_000))
    assert fingerprint(opened()) == (expected(50_000), "footer")
    assert [(one.method, one.header("range")) for one in proxy.requests] == [("GET", "bytes=-65536")]


def test_a_large_footer_takes_a_second_request_of_the_same_version(bucket, proxy, opened, tmp_path):
    """Which is pinned, and of the footer alone."""
    wide = pd.DataFrame({f"column-{n:05d}-{'x' * 40}": [1.0, 2.0] for n in range(1000)})
    from fstore.ingest import ingest

    ingest(wide, tmp_path / "wide.parquet")
    bucket.put("raw/a.parquet", (tmp_path / "wide.parquet").read_bytes())
    assert fingerprint(opened()) == (str(identify(wide, threshold_bytes=0).fingerprint), "footer")
    assert len(proxy.requests) <= 4
    assert all(one.header("if-match") for one in proxy.requests[1:])


def test_a_foreign_file_is_scanned_once_and_remembered(bucket, proxy, opened):
    """The next fingerprint costs one request; of another content it is another."""
    bucket.put("raw/a.parquet", foreign(200_000))
    memo = Memo()
    assert fingerprint(opened(), memo) == (expected(200_000), "scan")
    before = len(proxy.requests)
    assert fingerprint(opened(), memo) == (expected(200_000), "memo")
    assert len(proxy.requests) == before + 1
    bucket.put("raw/a.parquet", foreign(200_000, start=1))
    assert fingerprint(opened(), memo) == (expected(200_000, start=1), "scan")


def test_a_prefix_is_its_files_in_order(bucket, proxy, opened):
    """Known again by one listing; what is hidden or no Parquet file does not count, and one more file does."""
    for name, start in (("raw/d/10.parquet", 300), ("raw/d/9.parquet", 600), ("raw/d/1/x.parquet", 0)):
        bucket.put(name, foreign(300, start))
    for name in ("raw/d/.hidden/x.parquet", "raw/d/_README", "raw/d2.parquet", "raw/d/.x.parquet"):
        bucket.put(name, b"nothing")
    whole = pd.concat([frame(300, 0), frame(300, 300), frame(300, 600)])
    memo = Memo()
    assert fingerprint(opened("raw/d"), memo) == (str(identify(whole, threshold_bytes=0).fingerprint), "scan")
    before = len(proxy.requests)
    assert fingerprint(opened("raw/d/"), memo)[1] == "memo"
    assert [one.method for one in proxy.requests[before:]] == ["GET", "GET"]  # no such object; the listing
    bucket.put("raw/d/99.parquet", foreign(300, 900))
    more = pd.concat([whole, frame(300, 900)])
    assert fingerprint(opened("raw/d"), memo) == (str(identify(more, threshold_bytes=0).fingerprint), "scan")
    bucket.delete("raw/d/99.parquet")
    assert fingerprint(opened("raw/d"), memo)[1] == "memo"


def test_an_object_that_changes_while_it_is_read_is_no_mixture(bucket, proxy, opened):
    """Every range is of the version that was seen first, or the source changed."""
    bucket.put("raw/a.parquet", foreign(900_000))
    raw = opened()
    raw.digest(Memo(), None)  # seen, and a copy made
    assert content_digest(raw) == expected(900_000).partition(":")[2]
    again = opened()
    proxy.on("GET", "raw/a.parquet", skip=1, times=1, before=lambda: bucket.put("raw/a.parquet", foreign(900_000, 7)))
    with pytest.raises(SourceChanged, match="ask again"):
        fingerprint(again)
    assert fingerprint(opened()) == (expected(900_000, start=7), "scan")


@pytest.mark.parametrize("what", ["overwritten", "deleted", "cut short"])
def test_what_becomes_of_an_object_after_it_was_seen_is_told(bucket, opened, what):
    """Between its fingerprint and its being read."""
    bucket.put("raw/a.parquet", foreign())
    raw = opened()
    assert raw.version is None
    if what == "overwritten":
        bucket.put("raw/a.parquet", foreign(start=1))
    elif what == "deleted":
        bucket.delete("raw/a.parquet")
    else:
        bucket.put("raw/a.parquet", foreign()[:-100])
    with pytest.raises(SourceChanged, match=r"s3://.*/raw/a\.parquet"):
        raw.table()


def test_a_file_of_a_prefix_that_changed_or_went_is_told(bucket, opened):
    """And one that came after the source was seen is not read."""
    for number in range(3):
        bucket.put(f"raw/d/{number}.parquet", foreign(10, 10 * number))
    changed, gone, grown = opened("raw/d"), opened("raw/d"), opened("raw/d")
    for one in (changed, gone, grown):
        assert one.nbytes > 0
    bucket.put("raw/d/3.parquet", foreign(10, 30))
    assert grown.table().num_rows == 30
    bucket.put("raw/d/1.parquet", foreign(10, 99))
    with pytest.raises(SourceChanged, match=r"raw/d/1\.parquet"):
        changed.table()
    bucket.delete("raw/d/1.parquet")
    with pytest.raises(SourceChanged, match=r"raw/d/1\.parquet"):
        gone.table()


def test_a_version_is_read_whatever_was_written_since(radosgw, tmp_path):
    """In a bucket that keeps versions: what was fingerprinted is what is computed from, until that version is deleted.

    Not on ministack, which answers ranges of a version with all of it.
    """
    bucket = radosgw.new_bucket(versioned=True)
    settings = gather_settings({**bucket.settings(), "scratch": tmp_path}, environ={})

    def opened(version: str | None = None) -> RawInput:
        source = ParquetSource(f"s3://{bucket.name}/raw/a.parquet")
        return open_raw(source, limits_of(settings), settings=settings, version=version)

    bucket.put("raw/a.parquet", foreign())
    seen = opened()
    version = seen.version
    assert version
    bucket.put("raw/a.parquet", foreign(start=1))
    assert content_digest(seen) == expected().partition(":")[2]
    assert content_digest(opened(version)) == expected().partition(":")[2]
    assert content_digest(opened()) == expected(start=1).partition(":")[2]
    bucket.delete("raw/a.parquet")
    assert content_digest(opened(version)) == expected().partition(":")[2]
    with pytest.raises(SourceChanged, match="no such object"):
        opened().table()
    bucket.client.delete_object(Bucket=bucket.name, Key="raw/a.parquet", VersionId=version)
    with pytest.raises(SourceChanged, match="gone"):
        opened(version).table()


def test_a_version_that_ministack_gives_whole_is_not_taken_for_a_part(ministack, tmp_path):
    """A server that answers a range of a version with all of it is told of, not believed."""
    bucket = ministack.new_bucket(versioned=True)
    settings = gather_settings({**bucket.settings(), "scratch": tmp_path}, environ={})
    bucket.put("raw/a.parquet", foreign())
    with pytest.raises(SourceChanged, match="range"):
        open_raw(ParquetSource(f"s3://{bucket.name}/raw/a.parquet"), settings=settings).table()


@pytest.mark.parametrize("key", ["raw/none.parquet", "raw/none", "raw/empty/"])
def test_nothing_there_is_told(bucket, opened, key):
    """By an error that says what to look at."""
    bucket.put("raw/empty/_SUCCESS", b"")
    with pytest.raises(SourceChanged, match="no such object"):
        fingerprint(opened(key))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"hello", foreign()[:-9], foreign()[:-8] + b"\xff\xff\xff\x7fPAR1"])
def test_what_is_no_parquet_file_is_told(bucket, opened, data):
    """As for a file, by the name that it was asked for by."""
    bucket.put("raw/a.parquet", data)
    with pytest.raises((SourceChanged, InvalidRequest), match=r"s3://.*/raw/a\.parquet") as caught:
        fingerprint(opened())
    assert "scratch" not in str(caught.value)


@pytest.mark.parametrize("name", ["_old/b.parquet", "_b.parquet", "b.pq", "b.PARQUET"])
def test_what_others_read_or_leave_out_is_not_passed_over(bucket, opened, name):
    """It is named, as in a folder."""
    bucket.put("raw/days/a.parquet", foreign())
    bucket.put(f"raw/days/{name}", foreign())
    with pytest.raises(InvalidRequest, match=name):
        fingerprint(opened("raw/days"))


def test_folders_that_stand_for_a_column_are_refused(bucket, opened):
    """As for a folder: only what files hold is read."""
    bucket.put("raw/d/year=2024/a.parquet", foreign())
    with pytest.raises(InvalidRequest, match="year=2024"):
        fingerprint(opened("raw/d"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [(faults.denied(), S3Forbidden), (faults.missing_bucket(), S3Unavailable), (faults.slow_down(), S3Unavailable)],
    ids=["denied", "no bucket", "busy for ever"],
)
def test_a_store_that_says_no_says_nothing_of_the_data(bucket, proxy, opened, answer, error):
    """Never that they changed or are gone."""
    bucket.put("raw/a.parquet", foreign())
    proxy.on(answer=answer)
    with pytest.raises(error) as caught:
        fingerprint(opened())
    assert "secretive" not in str(caught.value)


@pytest.mark.parametrize("rewrite", [faults.part_as_whole, faults.whole_instead_of_part(b"x" * 100_000)])
def test_a_server_that_ignores_ranges_is_not_believed(bucket, proxy, opened, rewrite):
    """Its bytes are never taken for others."""
    bucket.put("raw/a.parquet", foreign())
    proxy.on("GET", "raw/a.parquet", rewrite_answer=rewrite)
    with pytest.raises(SourceChanged, match="range"):
        fingerprint(opened())


@pytest.mark.parametrize("rewrite", [faults.ok_with_error(), faults.page_of_somebody()], ids=["error", "page"])
def test_what_is_said_under_200_and_is_none_of_the_object_is_the_stores_fault(bucket, proxy, opened, rewrite):
    """Asked again, once is mended; for ever it says nothing of the data."""
    bucket.put("raw/a.parquet", foreign())
    proxy.on("GET", "a.parquet", times=1, rewrite_answer=rewrite)
    assert fingerprint(opened()) == (expected(), "scan")
    proxy.on("GET", "a.parquet", rewrite_answer=rewrite)
    with pytest.raises(S3Unavailable):
        fingerprint(opened())


def test_a_flipped_bit_is_found_where_it_counts(bucket, proxy, opened):
    """A copy is digested as it is, so its fingerprint is that of the copy, and not remembered wrongly for long."""
    bucket.put("raw/a.parquet", foreign(200_000))
    expected_digest = expected(200_000)
    proxy.on("GET", "raw/a.parquet", skip=1, times=1, rewrite_answer=faults.flipped_bit(1000))
    try:
        found, _ = fingerprint(opened())
    except SourceChanged:
        return  # a page's checksum told
    assert found != expected_digest
    assert fingerprint(opened())[0] == expected_digest


def test_copies_go_with_what_they_are_for(bucket, opened, tmp_path):
    """Nothing stays in the scratch folder, also of a process that was killed; a dataset keeps its copy until it is read."""
    bucket.put("raw/a.parquet", foreign())
    raw = opened()
    dataset = raw.dataset()
    home = next((tmp_path / "scratch").iterdir())
    assert home.stat().st_mode & 0o777 == 0o700
    assert len(list(home.iterdir())) == 1
    assert dataset.to_table().num_rows == 1000
    del raw, dataset
    gc.collect()
    assert list(home.iterdir()) == []
    program = "import os, sys, pathlib; from fstore.fingerprint.remote.scratch import Scratch; s = Scratch(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "scratch")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(home.iterdir())) == 1
    raw = opened()
    raw.table()
    assert len(list(home.iterdir())) == 1


def test_a_forked_child_leaves_its_parents_copies_alone(bucket, opened):
    """They go when the parent's object does."""
    bucket.put("raw/a.parquet", foreign())
    raw = opened()
    assert raw.table().num_rows == 1000
    if (child := os.fork()) == 0:
        raw = None  # type: ignore[assignment]
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert raw.table().num_rows == 1000


def test_a_source_larger_than_the_scratch_may_be_is_refused(bucket, proxy, tmp_path):
    """Before it is fetched, and with the setting to change; a full disk is told as such."""
    bucket.put("raw/a.parquet", foreign(200_000))
    source = ParquetSource(f"s3://{bucket.name}/raw/a.parquet")
    settings = settings_of(bucket, proxy, tmp_path, scratch_max_bytes=1000)
    with pytest.raises(InvalidRequest, match="SCRATCH_MAX_BYTES"):
        open_raw(source, settings=settings).table()
    assert len(proxy.requests) == 1
    full = settings_of(bucket, proxy, Path("/proc/none"))
    with pytest.raises((StorageFull, fstore.StorageUnavailable)):
        open_raw(source, settings=full).table()


def test_an_address_needs_a_store(bucket):
    """Which has the keys to it."""
    with pytest.raises(InvalidRequest, match=r"fstore\.connect"):
        identify(ParquetSource(f"s3://{bucket.name}/raw/a.parquet"), threshold_bytes=0)
