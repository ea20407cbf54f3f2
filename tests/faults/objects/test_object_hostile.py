"""Object stores that say one thing and mean another, and neighbours in one bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fstore.errors import EntryCorrupt, StorageUnavailable
from fstore.s3 import S3Forbidden, buckets_of
from fstore.settings import gather_settings
from fstore.storage import SHARDS, Pace, open_storage
from tests.faults.harness import http_faults as faults
from tests.faults.harness.http_messages import Message
from tests.faults.objects.conftest import Depot, close_breaker, key_of, numbers
from tests.faults.rows import row
from tests.object_servers import KEY, SECRET

REGION = "eu-elsewhere-7"


@row(
    86,
    fault="an object store says 200 over a body that is cut, is an error's, or has another length than it says",
    promise="read again; then the store's fault where it can be told, and never a wrong answer",
    seconds=15,
)
@pytest.mark.parametrize("times", [1, 1000])
@pytest.mark.parametrize("what", ["cut", "error", "longer than told", "somebody's page"])
def test_row_86_bodies_that_are_none(depot, what, times):
    """Once is mended; for ever is an error, of the entry only where its bytes say so."""

    def rewrite(answer: Message) -> None:
        if what == "cut":
            answer.body = answer.body[:-100]
        elif what == "error":
            faults.ok_with_error()(answer)
        elif what == "somebody's page":
            faults.page_of_somebody()(answer)
        else:
            answer.body += b"more"

    found = depot.publish()
    depot.proxy.on("GET", found.path, times=times, rewrite_answer=rewrite)
    if times == 1:
        assert depot.entries.read(found).equals(numbers(found.rows))
        depot.proxy.on("GET", found.path, times=times, rewrite_answer=rewrite)
        assert depot.entries.inspect(found, Pace(None))[0] is None
        return
    before = depot.proxy.count()
    kind = EntryCorrupt if what in {"cut", "longer than told"} else StorageUnavailable
    with pytest.raises(kind):
        depot.entries.read(found)
    assert depot.proxy.count() - before <= 8
    close_breaker(depot)
    if kind is EntryCorrupt:
        fault, _ = depot.entries.inspect(found, Pace(None))
        assert fault is not None
    else:
        with pytest.raises(StorageUnavailable):  # or a sweep would hide the entry
            depot.entries.inspect(found, Pace(None))
    depot.proxy.forward()
    close_breaker(depot)
    assert depot.entries.read(found).equals(numbers(found.rows))


@row(
    87,
    fault="an object store redirects: the bucket is in another region, or served elsewhere",
    promise="a typed error that says what to set, at once",
    seconds=6,
)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            faults.error(301, "PermanentRedirect", x_amz_bucket_region=REGION),
            f"region {REGION}; set FEATURE_STORE_S3_REGION",
        ),
        (faults.redirect(), "served elsewhere; set FEATURE_STORE_S3_REGION"),
        (Message("HTTP/1.1 302 Found", [("Location", "http://127.0.0.1:9/login")], b"<html>"), "served elsewhere"),
    ],
    ids=["permanent", "temporary", "a page of its own"],
)
def test_row_87_redirects(depot, answer, says):
    """Nobody follows one: what was signed was signed for this server."""
    found = depot.publish()
    depot.proxy.on(answer=answer)
    for act in (
        lambda: depot.entries.read(found),
        lambda: depot.publish(name="two"),
        lambda: list(depot.entries.list_shards(SHARDS[:1])),
    ):
        before = depot.proxy.count()
        with pytest.raises(StorageUnavailable, match=says):
            act()
        assert depot.proxy.count() - before == 1


@row(
    88,
    fault="keys are written anew into their files while processes run, the id before its secret; a token expires; a clock is off for good",
    promise="the next request has the new keys, once each; then a typed error that says what to do",
    seconds=10,
)
@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", ""])
def test_row_88_keys_written_anew(behind, monkeypatch, tmp_path: Path, code):
    """Read again when the store refuses them, also by an answer without a body, as to HEAD."""
    files = {}
    for name, value in (("access_key_id", KEY), ("secret_access_key", SECRET), ("session_token", "old-token")):
        files[name] = tmp_path / name
        files[name].write_text(value)
    given = {name: value for name, value in behind.settings.items() if not name.endswith(("key_id", "access_key"))}
    environ = {f"FEATURE_STORE_S3_{name.upper()}_FILE": str(path) for name, path in files.items()}
    for name, path in environ.items():
        monkeypatch.setenv(name, path)
    chosen = gather_settings({**given, "object_timeout_s": 5}, environ=environ)
    depot = Depot(behind, chosen, open_storage(chosen))
    found = depot.publish()
    status = 403 if code != "ExpiredToken" else 400
    refusal = faults.error(status, code) if code else Message("HTTP/1.1 403 Forbidden", [("Content-Length", "0")], b"")
    rule = depot.proxy.on("HEAD" if not code else "GET", "entries/", answer=refusal, times=1,
                          before=lambda: files["session_token"].write_text("new-token"))  # fmt: skip
    if code:
        assert depot.entries.read(found).equals(numbers(found.rows))
    else:
        assert depot.entries.exists(found.path)
    assert rule.happened == 1
    last = depot.proxy.requests[-1]
    assert last.header("x-amz-security-token") == "new-token"

    depot.proxy.on("GET", "entries/", answer=refusal if code else faults.denied())
    before = depot.proxy.count()
    with pytest.raises(StorageUnavailable) as caught:
        depot.entries.read(found)
    assert depot.proxy.count() - before <= 2
    assert not {"new-token", "old-token", SECRET} & set(str(caught.value).split())


@row(
    88,
    fault="keys are written anew into their files while processes run, the id before its secret; a token expires; a clock is off for good",
    promise="the next request has the new keys, once each; then a typed error that says what to do",
)
def test_row_88_a_clock_that_stays_off(depot):
    """The store's time is taken once."""
    found = depot.publish()
    date = datetime.now(UTC) + timedelta(hours=3)
    depot.proxy.on("GET", "entries/", answer=faults.error(403, "RequestTimeTooSkewed", date=date))
    before = depot.proxy.count()
    with pytest.raises(S3Forbidden, match="set both by NTP"):
        depot.entries.read(found)
    assert depot.proxy.count() - before == 2


@row(
    89,
    fault="two stores share a bucket, one below the other's prefix, beside objects and uploads of others; prefixes have odd characters",
    promise="each sees, judges and deletes what is its own, and nothing else",
    seconds=20,
)
@pytest.mark.parametrize("outer", ["team", "a b+c%20d", "ünï/=&;:@,~*'()!"])
@pytest.mark.parametrize("below", ["entries", "staging", "staging/raw", "probe", "quarantine", "inner"])
def test_row_89_neighbours(behind, outer, below):
    """What is listed for one is never the other's."""
    client = behind.bucket.client
    stores = {}
    for prefix in (outer, f"{outer}/{below}"):
        given = {**behind.settings, "path": f"s3://{behind.bucket.name}/{prefix}"}
        stores[prefix] = open_storage(gather_settings(given, environ={}))
        stores[prefix].entries.create(f"id of {below}")
    published = {}
    for prefix, storage in stores.items():
        stored = storage.entries.publish(key_of(prefix), numbers(10, prefix))
        published[prefix] = {stored.path}
        published[prefix].add(storage.staging.write("e" * 64, numbers(10)))
    foreign = [
        f"{outer}/{below}/notes.txt",
        f"{outer}/entries/ab/notes.txt",
        *(f"{outer}/entries/{key_of(prefix)[:2]}-old/notes.txt" for prefix in stores),
        *(f"{prefix}/entries/{key_of(prefix)[:2]}.bak" for prefix in stores),
        f"{outer}/probe/abc",
        f"{outer}/staging/raw/ab/x",
    ]
    for key in foreign:
        behind.bucket.put(key, b"somebody else's")
    uploads = [f"{outer}/entries/big.bin", f"{outer}/staging/big.bin", f"{outer}/{below}/entries/ab/big"]
    for key in uploads:
        client.create_multipart_upload(Bucket=behind.bucket.name, Key=key)

    for prefix, storage in stores.items():
        listings = list(storage.entries.list_shards())
        staged = list(storage.staging.list_staged())
        assert {f.path for one in listings + staged for f in one.files} == published[prefix]
        assert [f.path for one in listings + staged for f in one.temporary] == []
        assert storage.entries.list_quarantine().files == []
        for one in listings:
            for file in one.files:
                assert storage.entries.delete(file.path)
    left = set(behind.bucket.keys())
    assert left >= set(foreign)
    assert len([key for key in left if key.endswith("STORE_ID")]) == 2
    assert sorted(behind.bucket.uploads()) == sorted(uploads)


@row(
    90,
    fault="the bucket keeps versions: what was deleted or overwritten is still there",
    promise="nothing is served of it; upkeep and quarantine work as elsewhere",
    seconds=10,
)
def test_row_90_versions(behind, make_depot, object_server):
    """A deleted entry is missing, a quarantined one moved, and a read is of one version."""
    behind.bucket.client.put_bucket_versioning(Bucket=behind.bucket.name, VersioningConfiguration={"Status": "Enabled"})
    depot = make_depot()
    found, large = depot.publish(), depot.publish(2_500_000, "large")
    other = behind.bucket.get(f"team/fstore/{large.path}")[::-1]
    if object_server.kind == "radosgw":  # ministack answers a range of a version with all of it
        assert depot.entries.read(large).num_rows == 2_500_000
        depot.proxy.on("GET", large.path, times=1, after=lambda: behind.bucket.put(f"team/fstore/{large.path}", other))
        assert depot.entries.read(large).equals(numbers(2_500_000, "large"))  # of the version that was begun
        with pytest.raises(EntryCorrupt, match="digest"):
            depot.entries.read(large)
    moved = depot.entries.quarantine(large)
    assert [file.path for file in depot.entries.list_quarantine().files] == [moved]
    depot.entries.delete(found.path)
    assert not depot.entries.exists(found.path)
    with pytest.raises(EntryCorrupt, match="missing"):
        depot.entries.read(found)
    assert [file for one in depot.entries.list_shards() for file in one.files] == []


@row(
    91,
    fault="the bucket locks what is put into it, or refuses a PUT without a checksum since it does",
    promise="doctor says that it is the lock; a publish fails in words and leaves no row",
    seconds=6,
)
def test_row_91_locks(depot):
    """What AWS answers where objects are kept for a time."""
    locked = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
    depot.proxy.on("PUT", "", answer=faults.error(400, "InvalidRequest", message="Content-MD5 is required"))
    depot.proxy.on("GET", "object-lock", answer=Message("HTTP/1.1 200 OK", [], locked))
    with pytest.raises(StorageUnavailable, match="400 InvalidRequest"):
        depot.publish()
    told = [one for one in depot.entries.diagnose() if one.severity == "fault"]
    assert any("locks objects" in one.detail for one in told)
    assert buckets_of(depot.settings).client(depot.behind.bucket.name).counts["object_retries"] == 0
