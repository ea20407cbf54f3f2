"""The invariant check can fail: each clause finds a violation that was planted, and a sound store passes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
import redis

from fstore import ComputeTimeout
from tests.conftest import House
from tests.faults.harness import invariants
from tests.faults.harness.calls import Call, Calls
from tests.faults.harness.invariants import check_invariants
from tests.support.shelf import Shelf, key


@pytest.fixture
def shelf(house: House) -> Shelf:
    """A store with one entry."""
    shelf = Shelf(house.store.resources)
    shelf.publish("a")
    return shelf


@pytest.fixture
def client(house: House) -> Iterator[redis.Redis]:
    """A client of the house's Redis."""
    with ExitStack() as stack:
        client = redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])
        stack.callback(client.close)
        yield client


def found(house: House, **more: object) -> str:
    """Return what the check finds."""
    with pytest.raises(AssertionError) as caught:
        check_invariants(house, **{"settle_s": 0.5, "next_request": lambda: None, **more})  # type: ignore[arg-type]
    return str(caught.value)


def test_a_sound_store_passes(house, shelf):
    """Nothing is found where nothing is wrong; a failure that was told and a dead job are ends, too."""
    shelf.claim("failed")
    shelf.sql("UPDATE jobs SET state = 'failed', finished_ts = now()")
    check_invariants(house, next_request=lambda: None)


def test_two_rows_of_one_key_are_found(house, shelf):
    """I1."""
    shelf.sql("ALTER TABLE manifest DROP CONSTRAINT manifest_pkey; INSERT INTO manifest SELECT * FROM manifest")
    assert "I1: 2 rows" in "\n".join(invariants.doubled_rows(house))


def test_different_answers_for_one_key_are_found(house, shelf):
    """I1, as callers see it."""
    calls = Calls()
    calls.made = [
        Call("one", 5, time.monotonic(), 1.0, pd.DataFrame({"x": [n]}), key="k") for n in (1, 1, 2)
    ]  # fmt: skip
    assert found(house, calls=calls).count("I1") == 1


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_file_that_is_not_what_its_row_says_is_found(house, shelf, damage):
    """I2, by the product's reading and by an independent one."""
    path = house.root / shelf.entry("a").path
    data = bytearray(path.read_bytes())
    path.unlink()
    data[100] ^= 1
    if damage != "gone":
        path.write_bytes(data[: -1 if damage == "cut" else None])
    text = "\n".join(invariants.unfit_files(house))
    assert text.count("I2") == 2
    assert "the product finds" in text


def test_a_call_past_its_deadline_is_found(house, shelf):
    """I3, whether it ended or still goes on."""
    calls = Calls()
    now = time.monotonic()
    calls.made = [
        Call("late", 2, now - 9, 3.2, error=ComputeTimeout("k", 3.2, "queued")),
        Call("open", 2, now - 9),
        Call("fine", 2, now - 9, 2.9),
    ]
    text = found(house, calls=calls)
    assert "I3: late is 1.20 s past" in text
    assert "I3: open" in text
    assert "fine" not in text


def test_too_many_starts_are_found(house, shelf, tmp_path):
    """I4, by the marks of the feature and by the job's count."""
    marks = tmp_path / "marks"
    marks.mkdir()
    for n in range(4):
        (marks / f"1-{n}").touch()
    shelf.claim("b")
    shelf.sql("UPDATE jobs SET state = 'dead', starts = 4")
    text = found(house, marks=[marks])
    assert "I4: 4 starts in marks" in text
    assert "counts 4 starts" in text
    assert "I4: 4 starts" in found(house, marks={marks: 3})
    assert "in marks" not in found(house, marks={marks: 4})


def test_a_stuck_job_is_found(house, shelf):
    """I5: nobody works on it, and no worker will."""
    shelf.claim("b")
    assert f"I5: the job of {key('b')} is still running" in found(house)


@pytest.mark.parametrize("path", ["entries/ab/.tmp-half", "staging/results/.tmp-half", "entries/ab/stranger"])
def test_a_file_that_survives_collection_is_found(house, shelf, path, monkeypatch):
    """I5: temporary or without a row."""
    monkeypatch.setattr(invariants, "collect", lambda _: None)
    file = house.root / path
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert path in found(house)


def test_an_orphan_is_collected_before_it_is_looked_for(house, shelf):
    """I5: what a killed worker left is fine as long as collection removes it."""
    orphan = shelf.write("orphan")
    assert (house.root / orphan.path).exists()
    check_invariants(house, next_request=lambda: None)
    assert not (house.root / orphan.path).exists()


def test_a_lock_that_does_not_lapse_is_found(house, shelf, client):
    """I5."""
    client.set("fstore:dedup:x:y", "token", px=1000)
    check_invariants(house, next_request=lambda: None)
    client.set("fstore:dedup:x:y", "token")
    assert "I5: the lock fstore:dedup:x:y" in found(house)


def test_a_request_that_fails_or_is_wrong_is_found(house, shelf):
    """I6: there is no worker here."""

    def ask() -> None:
        invariants.ask_anew(house, timeout=0.5)

    assert "I6: the next request failed: ComputeTimeout" in found(house, next_request=ask)


def test_the_site_brings_its_calls_and_marks(house, shelf, tmp_path: Path):
    """What a row recorded is checked without being named again."""
    house.calls = Calls()  # type: ignore[attr-defined]
    house.calls.made = [Call("late", 1, time.monotonic() - 9, 8.0)]  # type: ignore[attr-defined]
    house.marked = {tmp_path: -1}  # type: ignore[attr-defined]
    text = found(house)
    assert "I3: late" in text
    assert "I4" in text
