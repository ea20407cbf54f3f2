"""What of a batch is begun while its requests are still taken: in numbers, once each, and no further after trouble."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.client.batches import ahead
from fstore.client.batches.ahead import FIRST, LATER, MOST_BEGUN, Ahead, Begun
from fstore.client.enqueue import QUICK_TO_STAGE_CELLS, Enqueued
from fstore.client.miss_events import Admitted, ComputeHere, Give, Look, Register, Viewed
from fstore.client.miss_rules import MissRules
from fstore.client.request import KeyedRequest
from fstore.client.singleflight import SingleFlight
from fstore.errors import BrokerUnavailable, ManifestUnavailable, StorageFull
from fstore.features.declarations import Feature
from fstore.fingerprint.sources import open_raw
from fstore.model import Fingerprint, HashMethod, KeyParts, KeyStatus, Locator, Status

RAW, LARGE = pd.DataFrame({"x": [1.0]}), pd.DataFrame({"x": range(QUICK_TO_STAGE_CELLS + 1)})
AWAY = BrokerUnavailable("send", "away")


def key_of(n: int) -> str:
    return f"{n:064x}"


def unchanged(raw: Any, config: Any) -> Any:
    return raw


def request(n: int, *, raw: Any = RAW, local: bool = False, **parts: Any) -> KeyedRequest:
    feature = (
        fstore.local(unchanged, version="1", name="tests:ahead") if local else Feature("m:f", unchanged, "1", "d", True)
    )
    said = KeyParts("S", "m:f", "1", "{}", f"b3m2:{'aa' * 32}")
    return KeyedRequest(key_of(n), said, feature, open_raw(raw), Fingerprint(HashMethod.FULL, "aa" * 32), **parts)


class Servers:
    """A manifest and an enqueuer that note what they are asked, and answer as a test wants."""

    def __init__(self) -> None:
        self.looked: list[list[str]] = []
        self.asked: list[list[str]] = []
        self.live: dict[str, Locator] = {}
        self.outcome: Any = None
        self.fault: Exception | None = None
        self.resources: Any = SimpleNamespace(manifest=self)

    def find_live_many(self, keys: list[str]) -> dict[str, Locator]:
        self.looked.append(keys)
        if self.fault is not None:
            raise self.fault
        return {key: self.live[key] for key in keys if key in self.live}

    def enqueue(self, requests: list[KeyedRequest]) -> Enqueued:
        self.asked.append([one.key for one in requests])
        return self.outcome or Enqueued(made=frozenset(one.key for one in requests))


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    found = Servers()
    monkeypatch.setattr(ahead, "enqueuer_of", lambda _: found)
    return found


def taken(servers: Servers, *requests: KeyedRequest) -> Begun:
    taking = Ahead(servers.resources)
    for one in requests:
        taking.add(one)
    return taking.begun


def test_few_are_begun_at_first_and_many_later(servers: Servers) -> None:
    """Before the last request is there; what is left over waits for those who answer."""
    begun = taken(servers, *map(request, range(FIRST + FIRST + 1 + LATER + 5)))
    assert [len(keys) for keys in servers.asked] == [FIRST, FIRST + 1, LATER]
    assert begun.made == begun.looked == {key for keys in servers.asked for key in keys}
    assert begun.enqueuer is servers


def test_a_small_batch_is_looked_for_in_one_go(servers: Servers) -> None:
    """As before: nothing is asked twice."""
    begun = taken(servers, *map(request, range(FIRST - 1)))
    assert servers.looked == servers.asked == []
    assert begun.find(servers, [key_of(1)]) == {}  # type: ignore[arg-type]
    assert servers.looked == [[key_of(1)]]


def test_a_key_is_begun_once(servers: Servers) -> None:
    """However often and wherever in the batch it is asked for."""
    taken(servers, *map(request, range(FIRST)), *map(request, range(FIRST)), *map(request, range(FIRST * 2 + 1)))
    everything = [key for keys in servers.asked for key in keys]
    assert len(everything) == len(set(everything)) == FIRST * 2 + 1


def test_what_is_there_is_not_begun_and_not_looked_for_again(servers: Servers) -> None:
    """Nor are local features, large data and parts."""
    servers.live = {key_of(n): Locator(key_of(n), "p", 1, 1, "d") for n in (0, FIRST)}
    others = [request(1, local=True), request(2, raw=LARGE), request(99, segments=(request(98),))]
    begun = taken(servers, request(0), *others, *map(request, range(3, FIRST)))
    assert servers.asked == [[key_of(n) for n in range(3, FIRST)]]
    assert begun.looked == {key_of(n) for n in range(FIRST)}
    assert begun.find(servers, [key_of(n) for n in range(FIRST + 1)]) == servers.live  # type: ignore[arg-type]
    assert servers.looked[1:] == [[key_of(FIRST)]]


def test_a_bounded_number_is_begun(servers: Servers) -> None:
    """Whose results nobody collects yet."""
    begun = taken(servers, *map(request, range(MOST_BEGUN * 2)))
    assert MOST_BEGUN <= len(begun.made) < MOST_BEGUN + LATER


@pytest.mark.parametrize("trouble", ["postgres", "redis", "disk"])
def test_trouble_ends_it(servers: Servers, trouble: str) -> None:
    """What follows a miss decides then."""
    if trouble == "postgres":
        servers.fault = ManifestUnavailable("look", "away")
    elif trouble == "redis":
        servers.outcome = Enqueued(frozenset({key_of(3)}), {}, AWAY)
    else:
        servers.outcome = Enqueued(frozenset({key_of(3)}), {key_of(4): StorageFull("e", "full")})
    begun = taken(servers, *map(request, range(LATER * 3)))
    assert len(servers.looked) == 1
    assert begun.made == (set() if trouble == "postgres" else {key_of(3)})
    assert begun.unheard == (begun.made if trouble == "redis" else frozenset())


def flight(begun: Begun, *keys: int) -> tuple[SingleFlight, list[Any]]:
    rules = MissRules(may_compute_here=True, resend_every_s=3)
    made = SingleFlight(map(request, keys), rules=rules, now=0, seconds=60, known_missing=True, begun=begun)
    opened = made.admit()
    return made, made.observe(Admitted(opened, frozenset(opened)), now=0)


def test_what_was_begun_is_looked_at_and_led() -> None:
    """It was announced perhaps before anybody listened; its entry is this call's own work."""
    made, actions = flight(Begun(made={key_of(1)}), 1, 2)
    assert actions == [Register((key_of(2),), unseen=True, then_look=(key_of(1),))]
    entry = Locator(key_of(1), "p", 1, 1, "d")
    (give,) = made.observe(Viewed({key_of(1): KeyStatus(key_of(1), entry, False, None)}), now=1)
    assert isinstance(give, Give)
    assert give.answer.status is Status.COMPUTED


def test_what_no_worker_hears_of_is_computed_here() -> None:
    """At once, under the job that this call made."""
    begun = Begun(made={key_of(1), key_of(3)}, unheard=frozenset({key_of(1)}), unsent=AWAY)
    _, actions = flight(begun, 1, 2, 3)
    assert actions[0] == ComputeHere((key_of(1),), AWAY)
    assert actions[1:] == [Register((key_of(2),), unseen=True, then_look=(key_of(3),))]
    assert flight(Begun(made={key_of(1)}), 1)[1] == [Look((key_of(1),))]
