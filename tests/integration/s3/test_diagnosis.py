"""Doctor tries what must hold of an object store, and says what does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from fstore.settings import gather_settings
from fstore.storage import open_storage
from fstore.storage.interface import Condition
from tests.faults.harness.http_messages import Message
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket, ObjectServer


@pytest.fixture
def behind(object_server: ObjectServer) -> Iterator[tuple[Bucket, HttpProxy]]:
    """Give a new bucket on each of the servers, and a proxy before it."""
    with HttpProxy(object_server.address) as proxy:
        yield object_server.new_bucket(), proxy


def told(behind: tuple[Bucket, HttpProxy]) -> list[Condition]:
    """Return what doctor is told of a store there."""
    bucket, proxy = behind
    settings = gather_settings({**bucket.settings(endpoint=proxy.endpoint), "object_timeout_s": 5}, environ={})
    return list(open_storage(settings).entries.diagnose())


def test_a_store_that_keeps_its_word(behind: tuple[Bucket, HttpProxy]) -> None:
    """No fault is told, both are tried, and nothing stays."""
    found = told(behind)
    assert [one.detail for one in found if one.severity == "fault"] == []
    details = {one.detail for one in found}
    assert {"another content of an object has another ETag", "it lists in order, page by page"} <= details
    assert behind[0].keys() == []


def _same_etag(answer: Message) -> None:
    if answer.header("ETag"):
        answer.set("ETag", '"00000000000000000000000000000000"')


def _weak_etag(answer: Message) -> None:
    if etag := answer.header("ETag"):
        answer.set("ETag", f"W/{etag}")


def _one_page(answer: Message) -> None:
    if b"<IsTruncated>true" in answer.body:
        answer.body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", answer.body)
        answer.body = answer.body.replace(b"<IsTruncated>true", b"<IsTruncated>false")


def _one_key(answer: Message) -> None:
    answer.body = re.sub(rb"(probe(?:/|%2F))[0-9a-f]{16}(?=</Key>)", rb"\g<1>" + b"0" * 16, answer.body)


@pytest.mark.parametrize(
    ("part", "rewrite", "says"),
    [
        ("probe/", _same_etag, "the same ETag"),
        ("probe/", _weak_etag, "or a weak one"),
        ("max-keys=1&", _one_page, "leave objects out"),
        ("max-keys=1&", _one_key, "not in order"),
    ],
    ids=["one ETag for all", "weak ETags", "a page left out", "a page twice"],
)
def test_a_store_that_does_not(
    behind: tuple[Bucket, HttpProxy], part: str, rewrite: Callable[[Message], None], says: str
) -> None:
    """Each is a fault of its own."""
    behind[1].on("GET", part, rewrite_answer=rewrite)
    (fault,) = [one for one in told(behind) if one.severity == "fault"]
    assert says in fault.detail
    assert behind[0].keys() == []
