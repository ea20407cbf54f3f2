"""The policies in ops/s3 against what each role really asks for: a proxy that refuses what a policy does not allow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from fstore.errors import EntryCorrupt, StorageUnavailable
from fstore.model import Locator
from fstore.settings import gather_settings
from fstore.storage import ByteRange, Pace, Storage, open_storage
from fstore.testing.storage_backend import KEY, some_table
from tests.faults.harness.http_faults import denied
from tests.faults.harness.http_messages import Message
from tests.faults.harness.http_proxy import HttpProxy
from tests.faults.harness.http_rules import Rule
from tests.faults.objects.conftest import numbers
from tests.object_servers import Bucket

POLICIES = Path(__file__).parents[3] / "ops" / "s3"
PREFIX = "team/fstore"
SETUP = {"versioning": "s3:GetBucketVersioning", "lifecycle": "s3:GetLifecycleConfiguration",
         "object-lock": "s3:GetBucketObjectLockConfiguration"}  # fmt: skip


@dataclass
class Enforced(Rule):
    """Refuses what a role's policy does not allow, as AWS would, and notes it."""

    is_there: Callable[[str], bool] = lambda _: True
    statements: list[dict[str, Any]] = field(default_factory=list)
    asked: set[tuple[str, str]] = field(default_factory=set)
    refused: set[tuple[str, str]] = field(default_factory=set)

    def fits(self, request: Message) -> bool:
        needed = list(_needed(request, self.is_there))
        lacking = {
            (action, resource) for action, resource, prefix in needed if not self._allows(action, resource, prefix)
        }
        self.asked |= {(action, resource) for action, resource, _ in needed}
        self.refused |= lacking
        return bool(lacking)

    def _allows(self, action: str, resource: str, prefix: str | None) -> bool:
        return any(
            action in _all(one["Action"])
            and any(fnmatchcase(f"arn:aws:s3:::{resource}", pattern) for pattern in _all(one["Resource"]))
            and all(
                prefix is None
                if kind == "Null"
                else prefix is not None and any(fnmatchcase(prefix, pattern) for pattern in _all(wanted["s3:prefix"]))
                for kind, wanted in one.get("Condition", {}).items()
            )
            for one in self.statements
        )


def _all(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _needed(request: Message, is_there: Callable[[str], bool]) -> Iterator[tuple[str, str, str | None]]:
    """Give the actions that AWS wants for a request, with what they are done to, and the prefix of a listing.

    That an object is not there is told only to whom the bucket may be listed; others are refused.
    """
    parts = urlsplit(request.target)
    bucket, _, key = unquote(parts.path).strip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    resource = f"{bucket}/{key}" if key else bucket
    if not key:
        setup = next((action for name, action in SETUP.items() if name in query), None)
        listing = "s3:ListBucketMultipartUploads" if "uploads" in query else "s3:ListBucket"
        yield (setup or listing), resource, query.get("prefix")
        return
    if request.method == "DELETE":
        yield ("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"), resource, None
        return
    if request.method in {"PUT", "POST"}:
        yield "s3:PutObject", resource, None
        if source := request.header("x-amz-copy-source"):
            yield "s3:GetObject", unquote(source).lstrip("/").partition("?")[0], None
        return
    yield "s3:GetObject", resource, None
    if not is_there(key):
        yield "s3:ListBucket", bucket, None


@dataclass
class Role:
    """A store as one role reaches it."""

    storage: Storage
    rule: Enforced

    def below(self) -> set[tuple[str, str]]:
        """Return what was refused, by action and the part of the store."""
        return {
            (action.removeprefix("s3:"), resource.partition(f"{PREFIX}/")[2].partition("/")[0])
            for action, resource in self.rule.refused
        }


@pytest.fixture
def make_role(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Role]]:
    """A way to be one of the roles, with what its policy allows."""
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 1 << 20)
    with ExitStack() as stack:

        def make(name: str) -> Role:
            text = (POLICIES / f"{name}.json").read_text().replace("BUCKET", bucket.name).replace("PREFIX", PREFIX)
            proxy = stack.enter_context(HttpProxy(bucket.server.address))
            rule = Enforced(
                answer=denied(), statements=json.loads(text)["Statement"], is_there=lambda key: key in bucket.keys(key)
            )
            proxy._rules.append(rule)
            given = {**bucket.settings(PREFIX, proxy.endpoint), "object_part_bytes": 5 << 20, "object_timeout_s": 10}
            return Role(open_storage(gather_settings(given, environ={})), rule)

        yield make


def published(storage: Storage, rows: int) -> Locator:
    stored = storage.entries.publish(KEY, numbers(rows))
    return Locator(KEY, stored.path, rows, stored.file_size_bytes, stored.content_digest)


def test_each_role_may_do_what_it_does(make_role):
    """A miss, hits, a damaged entry, a result of a trainer's own, a collection, a sweep and doctor: nothing needed is refused."""
    trainer, worker, upkeep = (make_role(name) for name in ("trainer", "worker", "upkeep"))
    upkeep.storage.entries.create("id")
    for role in (trainer, worker, upkeep):
        role.storage.entries.check_identity("id")
        gone = Locator(KEY, f"entries/{KEY[:2]}/{KEY}.gone.parquet", 1, 1, "0" * 64)
        with pytest.raises(EntryCorrupt, match="missing"):
            role.storage.entries.read(gone)

    digest = "d" * 64
    assert trainer.storage.staging.reserve(digest) is None
    raw = trainer.storage.staging.write(digest, numbers(300_000))
    assert trainer.storage.staging.reserve(digest) == raw
    assert worker.storage.staging.read(raw).num_rows == 300_000
    assert worker.storage.staging.exists(raw)
    own = trainer.storage.staging.write_result(KEY, some_table())
    result = worker.storage.staging.read_result(own)
    worker.storage.entries.publish_bytes(KEY, result.data)
    worker.storage.staging.discard(own)
    worker.storage.staging.discard(raw)

    small, large = published(worker.storage, 100), published(worker.storage, 2_500_000)
    assert trainer.storage.entries.read(small).num_rows == 100
    assert trainer.storage.entries.read(large).num_rows == 2_500_000
    assert trainer.storage.entries.read_ranges(large, [ByteRange(0, 10)])
    assert trainer.storage.entries.exists(small.path)
    assert worker.storage.entries.quarantine(large) is not None
    worker.storage.entries.discard(published(worker.storage, 10).path)

    assert upkeep.storage.entries.inspect(small, Pace(None))[0] is None
    assert upkeep.storage.entries.now_ns() > 0
    assert sum(len(one.files) for one in upkeep.storage.entries.list_shards()) == 2
    assert len(upkeep.storage.entries.list_quarantine().files) == 1
    kept = trainer.storage.staging.write(digest, numbers(10))
    staged = [file for one in upkeep.storage.staging.list_staged() for file in one.files]
    assert [file.path for file in staged] == [kept]
    assert upkeep.storage.staging.drop_unless_reserved(staged[0])
    assert upkeep.storage.entries.quarantine(small) is not None
    for file in upkeep.storage.entries.list_quarantine().files:
        upkeep.storage.entries.delete(file.path)
    assert [one.detail for one in upkeep.storage.entries.diagnose() if one.severity == "fault"] == []

    assert (trainer.below(), worker.below(), upkeep.below()) == (set(), set(), set())


def test_a_trainer_may_not_touch_what_others_read(make_role):
    """What is refused is told as that, and hides, moves and deletes nothing."""
    trainer, worker = make_role("trainer"), make_role("worker")
    found = published(worker.storage, 100)
    with pytest.raises(StorageUnavailable, match="may not do that"):
        published(trainer.storage, 100)
    with pytest.raises(StorageUnavailable, match="may not do that"):
        trainer.storage.entries.delete(found.path)
    trainer.storage.entries.discard(found.path)
    assert trainer.storage.entries.quarantine(found) is None
    assert worker.storage.entries.read(found).num_rows == 100
    assert trainer.below() == {("PutObject", "entries"), ("DeleteObject", "entries"), ("PutObject", "quarantine")}


@pytest.mark.parametrize("role", ["trainer", "worker"])
def test_doctor_of_a_role_that_writes_no_probe(make_role, role):
    """It is told that this is as it should be."""
    upkeep, made = make_role("upkeep"), make_role(role)
    upkeep.storage.entries.create("id")
    assert [one.severity for one in made.storage.entries.diagnose()] == ["ok"]


@pytest.mark.parametrize("role", ["trainer", "worker", "upkeep"])
def test_doctor_notices_who_cannot_tell_what_is_missing(make_role, role):
    """A role that is refused what is not there would compute for ever what was lost; the policy that does so is named."""
    upkeep, made = make_role("upkeep"), make_role(role)
    upkeep.storage.entries.create("id")
    made.rule.statements = [one for one in made.rule.statements if one["Sid"] != "TellMissing"]
    (told,) = [one for one in made.storage.entries.diagnose() if one.severity == "warning" and "403" in one.detail]
    assert "TellMissing" in told.advice
