"""How often a key is computed anew: for each wrong entry, but not for ever, and never for what is no wrong entry."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fstore.client import read_through
from fstore.client.request import Answer
from fstore.errors import EntryCorrupt, VersionMismatch
from fstore.model import Status


class Silent:
    """Takes note of nothing, and knows of no entry."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def requests(n: int) -> list[Any]:
    """Ask for one key from several processes' worth of sources."""
    features = (SimpleNamespace(source_digest=f"{i}", input="pandas") for i in range(n))
    return [
        SimpleNamespace(key="k", feature=feature, parts=SimpleNamespace(symbol="S", feature="f"))
        for feature in features
    ]


def answered_by(monkeypatch: pytest.MonkeyPatch, give: Any) -> list[Answer]:
    def answer_misses(resources: object, requests: Any, **_: object) -> Any:
        return iter([give(request) for request in list(requests)])

    monkeypatch.setattr(read_through, "answer_misses", answer_misses)
    resources = SimpleNamespace(recorder=Silent(), manifest=Silent())
    return list(read_through.answer_requests(resources, requests(5), seconds=5))  # type: ignore[arg-type]


def test_everybody_is_told_of_his_own_refusal(monkeypatch):
    """Five who share a key and no source are refused one by one, and nobody is told of a corrupt entry."""
    refusal = VersionMismatch("f", "1", "1")

    found = answered_by(monkeypatch, lambda request: Answer(request, Status.COALESCED, error=refusal))

    assert [answer.error for answer in found] == [refusal] * 5
    assert len({answer.request.feature.source_digest for answer in found}) == 5


def test_an_entry_that_is_always_wrong_is_given_up(monkeypatch):
    """Three times in a row, and all who asked are told."""
    rounds = []

    def wrong(*_: object) -> None:
        rounds.append(1)

    monkeypatch.setattr(read_through._ReadThrough, "_read", wrong)

    found = answered_by(monkeypatch, lambda request: Answer(request, Status.COMPUTED))

    assert len(rounds) == 3
    assert [type(answer.error) for answer in found] == [EntryCorrupt] * 5
