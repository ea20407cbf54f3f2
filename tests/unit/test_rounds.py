"""How often a question is asked anew: for each wrong entry, but not for ever, and never for what is no wrong entry."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fstore.client import answer
from fstore.client.fallback import Answer
from fstore.errors import EntryCorrupt, VersionMismatch
from fstore.model import Status


class Silent:
    """Takes note of nothing, and knows of no entry."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def questions(n: int) -> list[Any]:
    """Ask for one key from several processes' worth of sources."""
    features = (SimpleNamespace(source_digest=f"{i}", input="pandas") for i in range(n))
    return [SimpleNamespace(key="k", feature=feature) for feature in features]


def answered_by(monkeypatch: pytest.MonkeyPatch, give: Any) -> list[answer.Delivery]:
    class Flight:
        def __init__(self, resources: object, asked: Any, **_: object) -> None:
            self._asked = list(asked)

        def answers(self) -> Any:
            return iter([give(asked) for asked in self._asked])

    monkeypatch.setattr(answer, "Flight", Flight)
    return list(answer.deliver_many(SimpleNamespace(recorder=Silent(), manifest=Silent()), questions(5), seconds=5))  # type: ignore[arg-type]


def test_everybody_is_told_of_his_own_refusal(monkeypatch):
    """Five who share a key and no source are refused one by one, and nobody is told of a corrupt entry."""
    refusal = VersionMismatch("f", "1", "1")

    found = answered_by(monkeypatch, lambda asked: Answer(asked, Status.COALESCED, error=refusal))

    assert [delivery.error for delivery in found] == [refusal] * 5
    assert len({delivery.asked.feature.source_digest for delivery in found}) == 5


def test_an_entry_that_is_always_wrong_is_given_up(monkeypatch):
    """Three times in a row, and all who asked are told."""
    rounds = []

    def wrong(*_: object) -> None:
        rounds.append(1)

    monkeypatch.setattr(answer, "_read", wrong)

    found = answered_by(monkeypatch, lambda asked: Answer(asked, Status.COMPUTED))

    assert len(rounds) == 3
    assert [type(delivery.error) for delivery in found] == [EntryCorrupt] * 5
