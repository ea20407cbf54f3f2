"""Every door by which a message comes in looks at its length before anything decodes it: 100 MB of small lists held a worker for half a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu.transport import redis

from fstore.broker import delivered
from fstore.broker.envelope import MAX_OUTER_CONTAINERS, Refused
from fstore.broker.transport import Channel

LONG = b"[" + b"[]," * MAX_OUTER_CONTAINERS + b"[]]"


class Client:
    """Keeps what is to be done with an answer."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[Any], Any]] = {}

    def set_response_callback(self, command: str, callback: Callable[[Any], Any]) -> None:
        """Note it as Redis' client does."""
        self.callbacks[command] = callback


def test_what_is_taken_from_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """By waiting for it, or by a look."""
    monkeypatch.setattr(redis.Channel, "_create_client", lambda *_: Client())
    callbacks = Channel.__new__(Channel)._create_client().callbacks

    with pytest.raises(Refused, match="too many parts"):
        callbacks["BRPOP"]([b"fstore.compute", LONG])
    with pytest.raises(Refused, match="too many parts"):
        callbacks["RPOP"](LONG)
    assert callbacks["BRPOP"]([b"fstore.compute", b"{}"]) == (b"fstore.compute", b"{}")
    assert callbacks["BRPOP"](None) is None
    assert callbacks["RPOP"](None) is None


def test_what_is_told_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dropped, and what is short goes on."""
    dropped: list[tuple[str, str]] = []
    monkeypatch.setattr(redis.Channel, "_handle_message", lambda _, client, answer: {"data": answer})
    channel = Channel.__new__(Channel)
    monkeypatch.setattr(channel, "drop", lambda *what: dropped.append(what), raising=False)

    assert channel._handle_message(None, LONG)["data"] is None
    assert dropped == [("broadcasts", "it has too many parts")]
    assert channel._handle_message(None, b"{}")["data"] == b"{}"


def test_what_was_kept_until_it_is_acknowledged() -> None:
    """What another process put there was never looked at."""
    with pytest.raises(Refused, match="too many parts"):
        delivered._parts(LONG)
