"""A signature stands for one message, one set of keys and a time; whatever differs is noticed."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from fstore.broker import envelope, signing
from fstore.broker.envelope import MAX_MESSAGE_BYTES, MAX_OUTER_CONTAINERS, Refused, check_length
from fstore.broker.signing import CLOCK_SKEW_S, BadSignature, KeyRing
from fstore.settings.values import split_keys

OLD, NEW = "old-key-0123456789", "new-key-0123456789"
NOW = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
QUEUE = "fstore.compute"
CONTROL_QUEUE = "compute@host.celery.pidbox"

Message = dict[str, Any]


def task(**headers: object) -> Message:
    """Build a task as kombu hands it over before it is sent."""
    return {
        "body": json.dumps([[], {"request": {"symbol": "AAPL"}}, {"callbacks": None, "chain": None}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "fstore.get_or_compute", "id": "1", "retries": 0, "timelimit": [None, None], **headers},
        "properties": {
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "body_encoding": "base64",
        },
    }


def command() -> Message:
    """Build a remote-control command."""
    return {**task(), "headers": {"clock": 1}, "body": json.dumps({"method": "shutdown"})}


def sent(message: Message, secret: str = OLD, *, exchange: str = "", at: float = NOW) -> Message:
    """Sign a message and put it into the form in which it lies in Redis."""
    signature = signing.signed(message, exchange, KeyRing.of(secret), now=at)
    return {
        **message,
        "headers": {**message["headers"], signing.SIGNATURE: signature},
        "body": base64.b64encode(message["body"].encode()).decode(),
    }


def check(message: object, secret: str | None = OLD, *, queue: str = QUEUE, now: float = NOW) -> None:
    envelope.check(message, queue, KeyRing.of(secret) if secret else None, now=now)


def recoded(change: Callable[[Any], object]) -> Callable[[Message], None]:
    """Change the content of a message that lies in Redis."""

    def apply(message: Message) -> None:
        content = json.loads(base64.b64decode(message["body"]))
        change(content)
        message["body"] = base64.b64encode(json.dumps(content).encode()).decode()

    return apply


def test_what_was_signed_is_let_through() -> None:
    """A message is accepted by whoever has the key, and again when it is delivered twice."""
    message = sent(task())

    check(message)
    message["properties"]["delivery_info"]["redelivered"] = message["headers"]["redelivered"] = True
    check(message)


@pytest.mark.parametrize(
    "forge",
    [
        lambda m: m["headers"].update(task="fstore.publish"),
        lambda m: m["headers"].update(id="2"),
        lambda m: m["headers"].update(retries=1),
        lambda m: m["headers"].update(timelimit=[1, 1]),
        lambda m: m["headers"].update(eta="2030-01-01T00:00:00+00:00"),
        lambda m: m["headers"].update(expires="2030-01-01T00:00:00+00:00"),
        recoded(lambda content: content[1]["request"].update(symbol="MSFT")),
        recoded(lambda content: content[0].append(1)),
        recoded(lambda content: content[2].update(callbacks=[{"task": "fstore.publish"}])),
        recoded(lambda content: content[2].update(chain=[{"task": "fstore.publish"}])),
    ],
)
def test_every_part_that_decides_is_signed(forge: Callable[[Message], None]) -> None:
    """Another task, id, limit, time, argument or callback makes the signature wrong."""
    message = copy.deepcopy(sent(task()))
    forge(message)
    with pytest.raises(Refused, match="wrong signature"):
        check(message)


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (None, "not signed"),
        (7, "not a signature"),
        ("", "not a signature"),
        ("1.00000000.1.abc", "not a signature"),
        ("1.00000000.1." + "0" * 64, "unknown key"),
        ("2.00000000.1." + "0" * 64, "not a signature"),
        ("१.00000000.1." + "0" * 64, "not a signature"),
    ],
)
def test_what_is_no_signature_is_refused(signature: object, reason: str) -> None:
    """Nothing at all, the wrong type, another format and another key each have their own reason."""
    message = sent(task())
    message["headers"][signing.SIGNATURE] = signature
    with pytest.raises(Refused, match=reason):
        check(message)


def test_a_later_date_cannot_be_written_in() -> None:
    """The time a signature is good for is part of what is signed."""
    message = sent(task())
    form, name, last, digest = message["headers"][signing.SIGNATURE].split(".")
    message["headers"][signing.SIGNATURE] = f"{form}.{name}.{int(last) + 1}.{digest}"
    with pytest.raises(Refused, match="wrong signature"):
        check(message)


@pytest.mark.parametrize(
    ("headers", "lives_s"),
    [
        ({}, signing.TASK_LIVES_S),
        ({"expires": datetime.fromtimestamp(NOW + 60, UTC).isoformat()}, 60),
        ({"expires": "2099-01-01T00:00:00+00:00"}, signing.TASK_LIVES_S),
        ({"eta": datetime.fromtimestamp(NOW + 100, UTC).isoformat()}, 100 + signing.TASK_LIVES_S),
    ],
)
def test_an_old_message_is_refused(headers: dict[str, str], lives_s: float) -> None:
    """A task is good until it expires, a day at most after it could have started; clocks may differ by five minutes."""
    message = sent(task(**headers))

    check(message, now=NOW + lives_s + CLOCK_SKEW_S)
    with pytest.raises(Refused, match="too old"):
        check(message, now=NOW + lives_s + CLOCK_SKEW_S + 1)


def test_keys_are_changed_without_a_gap() -> None:
    """New second, then new first, then old dropped: at each step both neighbours understand each other."""
    steps = [OLD, f"{OLD},{NEW}", f"{NEW}\n{OLD}", NEW]
    for before, after in pairwise(steps):
        check(sent(task(), before), after)
        check(sent(task(), after), before)
    with pytest.raises(Refused, match="unknown key"):
        check(sent(task(), OLD), NEW)


def test_commands_are_signed_for_a_minute() -> None:
    """Remote control can stop workers, so it needs the key too; events and replies do not."""
    exchange = signing.CONTROL
    message = sent(command(), exchange=exchange)

    check(message, queue=CONTROL_QUEUE)
    with pytest.raises(Refused, match="too old"):
        check(message, queue=CONTROL_QUEUE, now=NOW + signing.COMMAND_LIVES_S + CLOCK_SKEW_S + 1)
    with pytest.raises(Refused, match=r"not a signature|not signed"):
        check(sent(command()), queue=CONTROL_QUEUE)
    assert signing.signed(command(), f"reply.{exchange}", KeyRing.of(OLD), now=NOW) is None
    check(sent(command()), queue=f"abc.reply.{exchange}")
    check(sent(command()), queue="celeryev.abc")


def test_a_command_is_no_task() -> None:
    """A signature made for one purpose does not serve the other."""
    message = sent(command(), exchange=signing.CONTROL)
    message["headers"].update(task()["headers"])
    with pytest.raises(Refused, match="not a task"):
        check(message)


def test_without_a_key_only_the_form_counts() -> None:
    """Signing is a choice; a worker without a key takes signed and unsigned messages alike."""
    check(sent(task()), None)
    unsigned = sent(task())
    del unsigned["headers"][signing.SIGNATURE]
    check(unsigned, None)


def test_keys_never_show() -> None:
    """What is printed of a ring names its keys without giving them away, and tells rings apart."""
    assert OLD not in repr(KeyRing.of(OLD))
    assert repr(KeyRing.of(OLD)) != repr(KeyRing.of(NEW))
    assert split_keys(f" {OLD},\n{NEW}\n") == [OLD, NEW]


def test_parts_do_not_run_together() -> None:
    """The same bytes cut in another place are another message."""
    ring = KeyRing.of(OLD)
    signature = ring.sign([b"ab", b"c"], until=NOW)
    ring.check(signature, [b"ab", b"c"], now=NOW)
    with pytest.raises(BadSignature):
        ring.check(signature, [b"a", b"bc"], now=NOW)


def _with(path: str, value: object) -> Callable[[Message], object]:
    """Return a change of one place of a message, written with dots."""

    def apply(message: Message) -> None:
        *parents, last = path.split(".")
        place = message
        for name in parents:
            place = place[name]
        place[last] = value

    return apply


@pytest.mark.parametrize(
    "spoil",
    [
        _with("body", None),
        _with("body", "%%%"),
        _with("body", base64.b64encode(b"no json").decode()),
        _with("body", base64.b64encode(b"[" * 100_000).decode()),
        _with("body", base64.b64encode(b"\x80\x04").decode()),
        recoded(lambda content: content[1].update(deep=json.loads("[" * 100 + "]" * 100))),
        _with("content-type", "application/x-python-serialize"),
        _with("content-type", "application/x-yaml"),
        _with("content-encoding", "binary"),
        _with("headers", None),
        _with("headers", []),
        _with("headers.task", ["unhashable"]),
        _with("headers.id", None),
        _with("headers.retries", -1),
        _with("headers.retries", "many"),
        _with("headers.timelimit", [1]),
        _with("headers.timelimit", "soon"),
        _with("headers.eta", "tomorrow"),
        _with("headers.expires", 12),
        _with("headers.compression", "application/x-bz2"),
        _with("properties", None),
        _with("properties.delivery_tag", 5),
        _with("properties.delivery_info", {}),
        _with("properties.body_encoding", "none"),
        recoded(lambda content: content.pop()),
        recoded(lambda content: content.__setitem__(1, [])),
    ],
)
@pytest.mark.parametrize("secret", [None, OLD])
def test_a_message_of_another_form_is_refused(spoil: Callable[[Message], object], secret: str | None) -> None:
    """With and without a key: wrong types, other contents, other encodings and missing parts never reach Celery."""
    message = copy.deepcopy(sent(task()))
    spoil(message)
    with pytest.raises(Refused) as caught:
        check(message, secret)
    assert "AAPL" not in str(caught.value)


@pytest.mark.parametrize("message", [None, 3, "text", [], {}, {"body": "x"}])
def test_what_is_no_message_is_refused(message: object) -> None:
    """Anything that JSON can say may lie in a queue."""
    with pytest.raises(Refused):
        check(message)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x" * (MAX_MESSAGE_BYTES + 1), "too long"), (b"x" * (MAX_MESSAGE_BYTES + 1), "too long"),
     ("[" * (MAX_OUTER_CONTAINERS + 1), "too many parts"), (b"{" * (MAX_OUTER_CONTAINERS + 1), "too many parts")],
)  # fmt: skip
def test_what_is_long_in_decoding_is_refused_by_its_length(text: bytes | str, reason: str) -> None:
    """Before anything is decoded: 100 MB of small lists held a worker for half a minute."""
    with pytest.raises(Refused, match=reason):
        check_length(text)
    check_length(text[: MAX_OUTER_CONTAINERS // 2])
