"""Signatures of messages: who has no key cannot ask the workers for anything.

Nor can anybody ask with an old message for ever. A signature is HMAC-SHA256 over what the message says and until
when it may be acted on. The first key signs, every key verifies: to change keys, put the new one second everywhere,
then first everywhere, then drop the old one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fstore.settings import split_keys

SIGNATURE = "fstore_signature"
TASK_LIVES_S = 86_400  # a task that waited for a worker for longer is dropped, unless it expires sooner by itself
COMMAND_LIVES_S = 60
CONTROL = "celery.pidbox"  # the exchange of remote control, and the end of its queues' names
REPLIES = "reply."
FORMAT = "1"
CLOCK_SKEW_S = 300  # clocks of hosts may differ by so much

_SIGNATURE = re.compile(r"1\.([0-9a-f]{8})\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)


class BadSignature(Exception):
    """A signature is missing or wrong; the text is one of few, and holds nothing of the message."""


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """The keys of one process; the first signs."""

    keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        # Rings must look different: see fstore.broker.transport.Guard.
        return f"KeyRing({', '.join(map(_name, self.keys))})"

    @classmethod
    def of(cls, secret: str) -> KeyRing:
        """Take the keys from the text of ``FEATURE_STORE_SIGNING_KEY``.

        One, or several with commas or line ends between them.
        """
        return cls(tuple(key.encode() for key in split_keys(secret)))

    def sign(self, parts: Iterable[bytes], *, until: float) -> str:
        """Return the signature of ``parts``, good until the time ``until`` in seconds since 1970."""
        key, last = self.keys[0], str(int(until))
        return f"{FORMAT}.{_name(key)}.{last}.{_digest(key, last, parts)}"

    def check(self, signature: object, parts: Iterable[bytes], *, now: float) -> None:
        """Raise ``BadSignature`` unless ``signature`` is that of ``parts``.

        It must be made with one of the keys, and not be too old at ``now``.
        """
        if signature is None:
            raise BadSignature("not signed")
        found = _SIGNATURE.fullmatch(signature) if isinstance(signature, str) else None
        if found is None:
            raise BadSignature("not a signature of this format")
        name, last, digest = found.groups()
        key = next((key for key in self.keys if _name(key) == name), None)
        if key is None:
            raise BadSignature("signed with an unknown key")
        if not hmac.compare_digest(_digest(key, last, parts), digest):
            raise BadSignature("wrong signature")
        if now > int(last) + CLOCK_SKEW_S:
            raise BadSignature("too old")


def signed(message: Mapping[str, Any], exchange: str, ring: KeyRing, *, now: float) -> str | None:
    """Return the signature for a message that is about to be sent.

    None for those that need none: events and replies.
    """
    headers, body = message["headers"], message["body"]
    body = body.encode() if isinstance(body, str) else bytes(body)
    if "task" in headers:
        return ring.sign(task_parts(headers, body), until=_last_moment(headers, now))
    if exchange.endswith(CONTROL) and not exchange.startswith(REPLIES):
        return ring.sign(command_parts(body), until=now + COMMAND_LIVES_S)
    return None


def task_parts(headers: Mapping[str, Any], body: bytes) -> list[bytes]:
    """Return all that decides what a worker does.

    The body holds the arguments and what follows on the task.
    """
    names = ("task", "id", "retries", "timelimit", "eta", "expires")
    return [b"task", json.dumps([headers.get(name) for name in names]).encode(), body]


def command_parts(body: bytes) -> list[bytes]:
    """Return all that decides what a command does."""
    return [b"command", body]


def _last_moment(headers: Mapping[str, Any], now: float) -> float:
    starts = max(now, _seconds(headers.get("eta")) or now)
    return min(_seconds(headers.get("expires")) or starts + TASK_LIVES_S, starts + TASK_LIVES_S)


def _seconds(time: object) -> float | None:
    return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else None


def _name(key: bytes) -> str:
    """Return what tells a key from others without giving it away."""
    return hmac.new(key, b"fstore key name", hashlib.sha256).hexdigest()[:8]


def _digest(key: bytes, last: str, parts: Iterable[bytes]) -> str:
    signed = hmac.new(key, f"fstore message {FORMAT} {last}\n".encode(), hashlib.sha256)
    for part in parts:
        signed.update(len(part).to_bytes(8, "big"))  # no two lists of parts read alike
        signed.update(part)
    return signed.hexdigest()
