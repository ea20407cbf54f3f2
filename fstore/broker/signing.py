"""Signatures of messages: who has no key cannot ask the workers for anything, and nobody can ask with an old message for ever.

A signature is HMAC-SHA256 over what the message says and until when it may be acted
on. The first key signs, every key verifies: to change keys, put the new one second
everywhere, then first everywhere, then drop the old one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fstore.settings import split_keys

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
        """Take the keys from the text of ``FEATURE_STORE_SIGNING_KEY``: one, or several with commas or line ends between them."""
        return cls(tuple(key.encode() for key in split_keys(secret)))

    def sign(self, parts: Iterable[bytes], *, until: float) -> str:
        """Return the signature of ``parts``, good until the time ``until`` in seconds since 1970."""
        key, last = self.keys[0], str(int(until))
        return f"{FORMAT}.{_name(key)}.{last}.{_digest(key, last, parts)}"

    def check(self, signature: object, parts: Iterable[bytes], *, now: float) -> None:
        """Raise ``BadSignature`` unless ``signature`` is that of ``parts``, made with one of the keys and not too old at ``now``."""
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


def _name(key: bytes) -> str:
    """Return what tells a key from others without giving it away."""
    return hmac.new(key, b"fstore key name", hashlib.sha256).hexdigest()[:8]


def _digest(key: bytes, last: str, parts: Iterable[bytes]) -> str:
    signed = hmac.new(key, f"fstore message {FORMAT} {last}\n".encode(), hashlib.sha256)
    for part in parts:
        signed.update(len(part).to_bytes(8, "big"))  # no two lists of parts read alike
        signed.update(part)
    return signed.hexdigest()
