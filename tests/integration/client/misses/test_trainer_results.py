"""Results that a trainer computed, on their way through the publishing task: compared on disk, and never waited for in vain."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fstore
from fstore.broker.messages import claim_in
from fstore.client import local_compute, local_publish
from fstore.compute.executor import Outcome
from fstore.compute.raw_data import Taker
from fstore.compute.staged_results import publish_staged
from fstore.errors import (
    BrokerUnavailable,
    ComputeFailed,
    FeatureStoreError,
    InvalidRequest,
    ManifestUnavailable,
    NotPermitted,
    StorageFull,
)
from fstore.results.codec import UnstorableResult
from tests.waiting import eventually

RAW = pd.DataFrame({"x": [1.0, 2.0]})
_case = count()


class Panic(BaseException):
    """What libraries written in Rust raise."""


def plain(raw, config):
    return raw * 2


def here(function=plain):
    return fstore.local(function, version="1", name=f"tests:trainer-{next(_case)}")


@pytest.fixture
def publisher(house, monkeypatch):
    """Publish in a thread of this process whatever is sent, as a worker's task would; returns what became of each."""
    ends: list[BaseException | Outcome] = []
    before: list = []

    def send(request):
        def run():
            try:
                for act in before:
                    act(request)
                ends.append(publish_staged(house.store.resources, request))
            except BaseException as error:
                ends.append(error)

        threading.Thread(target=run, daemon=True).start()

    monkeypatch.setattr(house.store.resources.broker, "send_publish", send)
    return type("Publisher", (), {"ends": ends, "before": before})


def staged(house):
    return list((house.root / "staging" / "results").iterdir())


def entries(house):
    return [path for path in (house.root / "entries").glob("*/*") if path.is_file()]


def raising(error):
    def act(*_, **__):
        raise error

    return act


def failing(error: BaseException) -> SimpleNamespace:
    """Stand in for the publisher of the task alone: the trainer's own goes on working."""
    return SimpleNamespace(of=lambda _: SimpleNamespace(insert=raising(error)))


def spoil(house, monkeypatch, place: str, act) -> None:
    """Put something in the place of a name, or of a method of this store's own entries or staging area."""
    adapter, _, method = place.partition(".")
    if adapter in ("entries", "staging"):
        monkeypatch.setattr(type(getattr(house.store.resources, adapter)), method, act)
    else:
        monkeypatch.setattr(place, act)


INSERT = "fstore.compute.staged_results.Publisher"
FAULTS = [
    ("fstore.compute.staged_results.entry_facts", OverflowError("date value out of range"), ComputeFailed),
    ("fstore.compute.staged_results.entry_facts", Panic("index out of bounds"), ComputeFailed),
    (INSERT, RuntimeError("unknown"), ComputeFailed),
    (INSERT, MemoryError(), ComputeFailed),
    ("entries.publish_bytes", ValueError("odd"), ComputeFailed),
    (
        "staging.read_result",
        InvalidRequest("staged_path", "is not a staged result"),
        InvalidRequest,
    ),
    ("fstore.compute.staged_results.key_of", UnicodeError("odd"), ComputeFailed),
]


@pytest.mark.parametrize(("place", "error", "told"), FAULTS)
def test_whatever_fails_in_the_publishing_task_is_told_at_once(house, publisher, monkeypatch, place, error, told):
    """The one who computed and everybody who waits have the task's error in a moment, and nothing is left behind."""
    feature = here()
    asked = house.store._prepare("F", RAW, {}, feature)
    stand_in = failing(error) if place == INSERT else raising(error)
    publisher.before.append(lambda _: spoil(house, monkeypatch, place, stand_in))
    with house.open() as other:
        waiting: list[BaseException] = []

        def wait():
            try:
                other.get_or_compute("F", RAW, {}, feature, timeout=60)
            except FeatureStoreError as late:
                waiting.append(late)

        def slow(raw, config):
            thread.start()
            eventually(
                lambda: len(other.resources.notifier._waiting.get(asked.key, ())) > 0, seconds=20, what="a waiter"
            )
            return raw * 2

        thread = threading.Thread(target=wait, daemon=True)
        slowly = fstore.local(slow, version="1", name=feature.name.removeprefix("local:"))
        with pytest.raises(told) as caught:
            house.store.get_or_compute("F", RAW, {}, slowly, timeout=20)
        thread.join(20)

    assert str(error) in str(caught.value)
    assert [type(late) for late in waiting] == [told]
    eventually(lambda: staged(house) == [], seconds=20, what="the staged file to go")  # a moment after the waiters hear
    if place != INSERT:  # whose file may have its row: upkeep finds out
        assert entries(house) == []


def test_a_folder_that_is_full_for_the_worker_only_costs_the_storing(house, publisher, monkeypatch):
    """Who has the result in hand gets it."""
    publisher.before.append(
        lambda _: spoil(house, monkeypatch, "entries.publish_bytes", raising(StorageFull("entries", "full")))
    )

    assert house.store.get_or_compute("F", RAW, {}, here(), timeout=20).equals(RAW * 2)
    # Who waits is told as soon as the job failed; the publisher tidies up after that.
    eventually(lambda: staged(house) == [], seconds=10, what="the staged result to go")


def damaged(house, request):
    path = house.root / request.staged_path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swapped(house, request):
    other = house.store.resources.staging.write_result(request.key, pa.table({"x": [9.0, 9.0]}))
    (house.root / other).rename(house.root / request.staged_path)


def lost(house, request):
    (house.root / request.staged_path).unlink()


@pytest.mark.parametrize("harm", [damaged, swapped, lost])
def test_only_the_bytes_that_were_compared_are_published(house, publisher, harm):
    """A staged file that was damaged, exchanged or lost on its way fails the job; nothing of it is served."""
    publisher.before.append(lambda request: harm(house, request))
    feature = here()

    with pytest.raises(InvalidRequest):
        house.store.get_or_compute("F", RAW, {}, feature, timeout=20)

    assert house.store.peek("F", RAW, {}, feature) is None
    assert entries(house) == []


def test_what_is_published_are_the_bytes_that_were_staged(house, publisher):
    """A worker does not write a trainer's result again, which might change it."""
    seen = []
    publisher.before.append(lambda request: seen.append((house.root / request.staged_path).read_bytes()))

    house.store.get_or_compute("F", RAW, {}, here(), timeout=20)

    (path,) = entries(house)
    assert seen == [path.read_bytes()]
    assert not isinstance(path, Path) or path.stat().st_mode & 0o777 == 0o440


def test_publishing_twice_is_harmless(house, publisher):
    """A task that is delivered again finds its work done."""
    sent = []
    publisher.before.append(sent.append)
    house.store.get_or_compute("F", RAW, {}, here(), timeout=20)
    before = house.store.get_cache_stats().get("failed", 0)

    again = publish_staged(house.store.resources, sent[0])

    assert again.locator is not None
    assert house.store.get_cache_stats().get("failed", 0) == before


def test_without_anybody_to_publish_the_trainer_does_it(house, monkeypatch):
    """A queue that no worker serves costs a bounded wait."""
    monkeypatch.setattr(local_publish, "PUBLISHED_WITHIN_S", 0.3)
    feature = here()

    assert house.store.get_or_compute("F", RAW, {}, feature, timeout=20).equals(RAW * 2)

    assert house.store.peek("F", RAW, {}, feature) is not None
    assert staged(house) == []


@pytest.mark.parametrize("error", [NotPermitted("publish", "read only"), StorageFull("entries", "read-only")])
def test_who_may_not_publish_either_gets_the_result_unstored(house, monkeypatch, error):
    """A trainer that may only read computed it all the same."""
    monkeypatch.setattr(local_publish, "PUBLISHED_WITHIN_S", 0.3)
    refusing = SimpleNamespace(of=lambda _: SimpleNamespace(publish=raising(error)))
    monkeypatch.setattr(local_publish, "Publisher", refusing)

    assert house.store.get_or_compute("F", RAW, {}, here(), timeout=20).equals(RAW * 2)


@pytest.mark.parametrize("error", [ManifestUnavailable("publish", "away"), BrokerUnavailable("announce", "away")])
def test_servers_that_are_away_are_left_to_the_tasks_retries(house, publisher, monkeypatch, error):
    """No note is left, and the staged file stays for the next try."""
    monkeypatch.setattr(local_publish, "PUBLISHED_WITHIN_S", 0.5)
    publisher.before.append(lambda request: monkeypatch.setattr(INSERT, failing(error)))

    assert house.store.get_or_compute("F", RAW, {}, here(), timeout=20).equals(RAW * 2)
    assert publisher.ends == [error]


def test_a_message_of_another_version_names_its_claim():
    """Whatever else it holds."""
    claim = claim_in({"key": "k", "attempt": 3, "owner": "o", "format": 9, "more": []})

    assert claim is not None
    assert (claim.key, claim.attempt, claim.owner) == ("k", 3, "o")
    assert [claim_in(message) for message in (None, {}, {"key": 1, "attempt": 1, "owner": "o"})] == [None] * 3


def test_a_message_that_a_worker_does_not_understand_fails_its_job(staffed, monkeypatch):
    """A half-updated fleet gives an error that says so, in a moment."""
    broker = staffed.store.resources.broker

    def send(request):
        message = request.model_dump(mode="json") | {"from_the_future": True}
        broker._send("fstore.publish", {"request": message}, "{}", queue="fstore.write")

    monkeypatch.setattr(broker, "send_publish", send)

    with pytest.raises(InvalidRequest, match="from_the_future"):
        staffed.store.get_or_compute("F", RAW, {}, here(), timeout=20)


def test_a_real_worker_tells_what_it_cannot_publish(staffed):
    """A time beyond what dates can say."""

    def far(raw, config):
        return pd.DataFrame({"expiry": np.array(["10000-01-01"], "M8[us]")})

    for _ in range(2):
        try:
            frame = staffed.store.get_or_compute("F", RAW, {}, here(far), timeout=10)
        except ComputeFailed as error:
            assert "out of range" in str(error)
        else:
            assert frame.equals(far(None, None))


AWKWARD = {
    "categories of ints": lambda: pd.DataFrame({"x": pd.Categorical([3, 1, 3])}),
    "categories of floats": lambda: pd.DataFrame({"x": pd.Categorical([0.5, 0.25])}),
    "categories of bools": lambda: pd.DataFrame({"x": pd.Categorical([True, False])}),
    "categories of times": lambda: pd.DataFrame({"x": pd.Categorical(pd.to_datetime(["2024-01-02", "2024-01-01"]))}),
    "seconds": lambda: pd.DataFrame({"x": np.array(["2024-01-02"], "M8[s]")}),
    "second index": lambda: pd.DataFrame({"x": [1]}, index=pd.DatetimeIndex(np.array(["2024-01-02"], "M8[s]"))),
    "no rows": lambda: pd.DataFrame({"x": pd.Categorical(["a", "b"])}).iloc[:0],
}


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("degraded", [False, True])
def test_a_local_result_comes_back_as_it_was_or_is_refused(house, publisher, monkeypatch, kind, degraded):
    """What Parquet would change is no result, wherever it was computed and whether or not it can be stored."""
    feature, expected = here(lambda raw, config: AWKWARD[kind]()), AWKWARD[kind]()
    if degraded:
        spoil(house, monkeypatch, "staging.write_result", raising(StorageFull("staging", "full")))
        spoil(house, monkeypatch, "entries.publish", raising(StorageFull("staging", "full")))
    try:
        frame = house.store.get_or_compute("F", RAW, {}, feature, timeout=20)
        again = house.store.get_or_compute("F", RAW, {}, feature, timeout=20)
    except (ComputeFailed, UnstorableResult) as error:
        assert "would come back changed" in str(error)
    else:
        pd.testing.assert_frame_equal(frame, expected, check_freq=False)
        pd.testing.assert_frame_equal(again, expected, check_freq=False)
    assert staged(house) == []


def test_what_cannot_be_stored_is_no_result_of_a_store_that_is_away_either(house, publisher):
    """A feature does not begin to fail when servers are back."""
    asked = house.store._prepare(
        "F", RAW, {}, here(lambda raw, config: pd.DataFrame({"x": pd.Categorical([0.5, 0.25])}))
    )
    try:
        found = local_compute.compute_only(asked, Taker(), seconds=20)
    except ComputeFailed as error:
        with pytest.raises(ComputeFailed, match="changed"):
            house.store.get_or_compute("F", RAW, {}, asked.feature, timeout=20)
        assert "changed" in str(error)
    else:
        assert house.store.get_or_compute("F", RAW, {}, asked.feature, timeout=20).equals(found)


def test_nobody_waits_for_a_missing_publisher_for_longer_than_for_the_dead():
    """Forty-five seconds, all in all."""
    assert local_publish.PUBLISHED_WITHIN_S <= 45


@pytest.mark.parametrize("kind", ["frame", "table"])
@pytest.mark.parametrize("degraded", [False, True])
def test_a_function_may_fill_the_same_result_again(house, publisher, monkeypatch, kind, degraded):
    """Results of several requests are apart, also where they are not stored."""
    numbers = np.zeros(2)
    frame = pd.DataFrame({"x": numbers}, copy=False)
    table = pa.table({"x": pa.array(numbers)})

    def refill(raw, config):
        numbers[:] = config["n"]
        return frame if kind == "frame" else table

    if degraded:
        spoil(house, monkeypatch, "staging.write_result", raising(StorageFull("staging", "full")))
        spoil(house, monkeypatch, "entries.publish", raising(StorageFull("staging", "full")))
    feature = here(refill)

    answers = list(house.store.get_or_compute_many([fstore.Request("F", RAW, {"n": n}, feature) for n in range(3)]))

    assert sorted(answer["x"].tolist() for _, answer in answers) == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
