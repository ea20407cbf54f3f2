"""Results of a chunk wait for one another; what goes wrong with one file is told to each that was to lie in it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from fstore.compute.batches import groups
from fstore.compute.batches.groups import Group
from fstore.compute.publishing import PendingEntry, SmallResult
from fstore.errors import ManifestUnavailable, StorageFull


class Publisher:
    """Writes and inserts nothing, and tells what it was asked for."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.inserted: list[list[str]] = []
        self.writing: BaseException | None = None
        self.inserting: BaseException | None = None

    def write_together(self, results: list[SmallResult]) -> list[PendingEntry]:
        """Give each a row to be."""
        if self.writing is not None:
            raise self.writing
        self.written.append([one.facts.key for one in results])
        return [PendingEntry(one.facts, one.claim) for one in results]

    def insert(self, pending: list[PendingEntry]) -> dict[str, str]:
        """Answer each key by its name."""
        if self.inserting is not None:
            raise self.inserting
        self.inserted.append([one.facts.key for one in pending])
        return {one.facts.key: f"at {one.facts.key}" for one in pending}


class Told:
    """What a group told its chunk."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.published: list[tuple[str, Any]] = []
        self.failed: list[tuple[str, BaseException]] = []
        self.group = Group(
            self.publisher,  # type: ignore[arg-type]
            lambda one, found: self.published.append((one.facts.key, found)),
            lambda one, error: self.failed.append((one.facts.key, error)),
        )


@pytest.fixture
def told() -> Told:
    return Told()


def small(key: str, size: int = 10) -> SmallResult:
    """Return a small result of some bytes."""
    return SmallResult(SimpleNamespace(key=key), SimpleNamespace(key=key), pa.py_buffer(b"x" * size))  # type: ignore[arg-type]


def large(key: str) -> PendingEntry:
    """Return a result that has its file."""
    return PendingEntry(SimpleNamespace(key=key), SimpleNamespace(key=key))  # type: ignore[arg-type]


def test_small_results_share_a_file_and_all_a_transaction(told):
    """Large ones have theirs already."""
    for one in (small("a"), large("b"), small("c")):
        told.group.add(one)
    told.group.publish(older_than_s=3600)
    assert told.published == []
    told.group.publish()
    assert told.publisher.written == [["a", "c"]]
    assert [sorted(keys) for keys in told.publisher.inserted] == [["a", "b", "c"]]
    assert sorted(told.published) == [("a", "at a"), ("b", "at b"), ("c", "at c")]
    told.group.publish()
    assert len(told.publisher.inserted) == 1


def test_many_and_heavy_ones_do_not_wait(told, monkeypatch):
    """By their number, or by the memory that they take."""
    for number in range(groups.GROUP):
        told.group.add(small(str(number)))
    assert len(told.published) == groups.GROUP
    monkeypatch.setattr(groups, "GROUP_BYTES", 100)
    told.group.add(small("light"))
    told.group.add(small("heavy", 99))
    assert told.publisher.written[1:] == [["light", "heavy"]]


def test_what_cannot_be_written_is_told_to_each(told):
    """Those with a file of their own are published all the same, and so are the next."""
    told.publisher.writing = StorageFull("disk", "no room")
    for one in (small("a"), large("b"), small("c")):
        told.group.add(one)
    told.group.publish()
    assert [key for key, _ in told.failed] == ["a", "c"]
    assert told.published == [("b", "at b")]
    told.publisher.writing = None
    told.group.add(small("d"))
    told.group.publish()
    assert told.published[1:] == [("d", "at d")]


def test_rows_that_cannot_be_inserted_now_are_offered_again(told):
    """Their file is not written a second time."""
    told.publisher.inserting = ManifestUnavailable("Postgres", "away")
    told.group.add(small("a"))
    with pytest.raises(ManifestUnavailable):
        told.group.publish()
    told.publisher.inserting = None
    told.group.publish()
    assert (told.publisher.written, told.published, told.failed) == ([["a"]], [("a", "at a")], [])


def test_a_stop_is_no_failure(told):
    """It ends the chunk, and what waits is published by whoever ends it."""
    told.publisher.writing = SystemExit()
    told.group.add(small("a"))
    with pytest.raises(SystemExit):
        told.group.publish()
    told.publisher.writing = None
    told.group.publish()
    assert (told.published, told.failed) == ([("a", "at a")], [])


def test_nobody_thinks_it_done_before_it_is(told, monkeypatch):
    """What another thread publishes just now is waited for, by who asks for all and by who adds one more."""
    entered, go_on = threading.Event(), threading.Event()
    insert = told.publisher.insert

    def slowly(pending):
        entered.set()
        assert go_on.wait(20)
        return insert(pending)

    monkeypatch.setattr(told.publisher, "insert", slowly)
    told.group.add(small("a"))
    publishing = threading.Thread(target=told.group.publish)
    publishing.start()
    assert entered.wait(20)
    others = [
        threading.Thread(target=told.group.publish),
        threading.Thread(target=lambda: told.group.add(small("b"))),
    ]
    for other in others:
        other.start()
    for other in others:
        other.join(0.05)
        assert other.is_alive()
    go_on.set()
    for thread in (publishing, *others):
        thread.join(20)
    told.group.publish()

    assert sorted(key for keys in told.publisher.inserted for key in keys) == ["a", "b"]
    assert sorted(told.published) == [("a", "at a"), ("b", "at b")]


def test_results_that_failed_take_no_room(told, monkeypatch):
    """Else each that comes after them would have a file of its own."""
    monkeypatch.setattr(groups, "GROUP_BYTES", 100)
    told.publisher.writing = StorageFull("disk", "no room")
    told.group.add(small("a", 100))
    assert [key for key, _ in told.failed] == ["a"]
    told.publisher.writing = None
    for key in "bc":
        told.group.add(small(key))
    told.group.publish()
    assert told.publisher.written == [["b", "c"]]
