"""Keys of the transport with anything in them: a worker that meets it lives, and one that starts on it starts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.conftest import stop_group
from tests.support.hostile_site import QUEUES, Site, answer, guarded_worker, message, push, task_body
from tests.waiting import awake_s, eventually

KINDS: dict[str, Callable[[redis.Redis, str], object]] = {
    "text": lambda link, name: link.set(name, "x"),
    "list": lambda link, name: link.lpush(name, "x"),
    "set": lambda link, name: link.sadd(name, "x"),
    "sorted set": lambda link, name: link.zadd(name, {"x": 1}),
    "hash": lambda link, name: link.hset(name, "x", "y"),
    "stream": lambda link, name: link.xadd(name, {"x": "1"}),
}
STEPS = ["", "\x06\x163", "\x06\x166", "\x06\x169"]
KEYS = [
    *(f"fstore:{queue}{step}" for queue in QUEUES for step in STEPS),
    "fstore:unacked", "fstore:unacked_index", "fstore:unacked_mutex",
    "fstore:_kombu.binding.celeryev", "fstore:_kombu.binding.celery.pidbox", "fstore:_kombu.binding_deadlines",
    "fstore:_kombu.binding.reply.celery.pidbox", "fstore:_kombu.binding_permanent.celeryev",
    *(f"fstore:_kombu.binding.{queue}" for queue in QUEUES),
]  # fmt: skip
GARBAGE = [
    b"", b"\x00" * 100, b"\xff\xfe", b"garbage", b"null", b"3", b"[]", b"{}", b"[1,2]", b"[1,2,3]", b"[[],[],[]]", b'[{},"",""]',
    b'[{"headers": 1}, "", "fstore.compute"]', b'[{"headers": {}, "properties": {"delivery_info": {}}}, "", "usage"]',
    b'[{"headers": {}, "properties": {"delivery_info": {}}}, {}, []]', b"[" * 200_000, b"[" + b"[]," * 400_000 + b"0]",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with guarded_worker(tmp_path_factory.mktemp("spoiled")) as made:
        yield made


def spoil(site: Site, kind: str) -> None:
    """Give every key of the transport to another kind of value, whatever lay there."""
    for name in KEYS:
        site.link.delete(name)
        KINDS[kind](site.link, name)


def keep(site: Site, garbage: list[bytes]) -> None:
    """Write texts among the messages that were delivered and not acknowledged, hours ago."""
    site.link.delete("fstore:unacked", "fstore:unacked_index")
    for n, item in enumerate(garbage):
        site.link.hset("fstore:unacked", f"tag-{n}", item)
        site.link.zadd("fstore:unacked_index", {f"tag-{n}": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_outlives_keys_of_other_types(site: Site, kind: str) -> None:
    """Whichever key it is, at work; the next request is served."""
    spoil(site, kind)
    site.goes_on()


def test_a_worker_starts_on_keys_of_other_types(site: Site) -> None:
    """And on garbage among the messages that nobody acknowledged, and on a lock that never lapses."""
    before = site.rejected()
    stop_group(site.worker)
    for kind in KINDS:
        spoil(site, kind)
        site.worker = site.house.start()
        site.goes_on()
        stop_group(site.worker)
    keep(site, GARBAGE)
    site.link.delete("fstore:unacked_mutex")
    site.worker = site.house.start()
    site.goes_on()
    eventually(lambda: not site.link.hlen("fstore:unacked"), seconds=30, what="the garbage to be dropped")
    eventually(lambda: site.rejected() >= before + len(GARBAGE), seconds=10, what="the counter")
    assert site.link.hkeys("fstore:usage") != [b"x"]


def test_garbage_among_delivered_messages_is_dropped_at_work(site: Site) -> None:
    """The look for lost messages goes on past it: a good one beside it comes back and is computed."""
    sent = message(task_body(site.marked(uuid.uuid4().hex)))
    keep(site, GARBAGE)
    site.link.hset("fstore:unacked", "good", json.dumps([sent, "", "fstore.compute"]))
    site.link.zadd("fstore:unacked_index", {"good": 2})
    assert answer(site, sent)["result"]["status"] == "computed"
    eventually(lambda: not site.link.hlen("fstore:unacked"), seconds=30, what="the garbage to be dropped")
    site.goes_on()


def test_a_lock_that_never_lapses_does_not_stop_the_look(site: Site) -> None:
    """It gets the time that kombu gives it."""
    site.link.set("fstore:unacked_mutex", "nobody")
    eventually(lambda: site.link.ttl("fstore:unacked_mutex") > 0, seconds=25, what="the lock to have an end")
    site.link.delete("fstore:unacked_mutex")


def many_lists(size: int) -> bytes:
    return b"[" + b"[]," * (size // 3) + b"0]"


@pytest.mark.parametrize(
    "make",
    [
        lambda: many_lists(100_000_000),
        lambda: many_lists(7_000_000),
        lambda: b'{"body": "", "headers": ' + many_lists(20_000_000) + b"}",
        lambda: json.dumps(message(many_lists(30_000_000))).encode(),
        lambda: json.dumps(message(many_lists(6_000_000))).encode(),
        lambda: json.dumps(message(many_lists(6_000_000), key=None)).encode(),
        lambda: b'"' + b"x" * 60_000_000 + b'"',
    ],
    ids=["100 MB", "7 MB", "headers", "signed 30 MB", "signed 6 MB", "unsigned 6 MB", "text"],
)
def test_a_long_message_holds_nobody_up(site: Site, make: Callable[[], bytes]) -> None:
    """It is refused by its length, or by how many parts it has, before it is decoded."""
    before, item = site.rejected(), make()
    site.goes_on()
    push(site, item)
    began = awake_s()
    site.goes_on()
    assert awake_s() - began < 5  # 35 s for the longest, were it decoded
    eventually(lambda: site.rejected() == before + 1, seconds=10, what="the counter")


def test_a_long_broadcast_holds_nobody_up(site: Site) -> None:
    """The same on the channel of orders."""
    before = site.rejected()
    site.link.publish("fstore:/0.celery.pidbox", many_lists(20_000_000))
    eventually(lambda: site.rejected() >= before + 1, seconds=10, what="the counter")
    site.goes_on()


def test_compressed_content_is_not_undone(site: Site) -> None:
    """A small text may stand for a large one: fstore compresses nothing, and refuses what is."""
    before = site.rejected()
    sent: dict[str, Any] = message(task_body(site.marked("compressed")), headers={"compression": "application/x-gzip"})
    push(site, sent)
    eventually(lambda: site.rejected() == before + 1, seconds=10, what="the counter")
    site.goes_on()
