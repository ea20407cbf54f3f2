"""Collections and sweeps of entries that share a file, over a folder and over a store that is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from fstore.errors import StorageUnavailable
from fstore.model import Locator, ShardRow
from fstore.postgres import UpkeepQueries
from fstore.storage import file_of
from fstore.upkeep.collection import plan as gc_plan
from fstore.upkeep.collection.report import GarbageReport
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.sweep import run_sweep
from tests.integration.upkeep.test_other_backend import MemoryShelf
from tests.memory_storage import Objects, memory_storage
from tests.support.shelf import HOUR, RULES, WEEK, Shelf, key


@pytest.fixture(params=["folder", "memory"])
def shelf(request, house):
    if request.param == "folder":
        return Shelf(house.store.resources)
    objects = Objects()
    storage = memory_storage(objects)
    storage.entries.create(house.store.resources.manifest.store_identity()[0])
    made = MemoryShelf(replace(house.store.resources, entries=storage.entries, staging=storage.staging))
    made.objects = objects
    return made


def publish(shelf: Shelf, names: Sequence[str], *, age: timedelta = timedelta(0)) -> list[Locator]:
    """Publish entries in one file, made some time ago."""
    claims = [shelf.claim(name) for name in names]
    written = shelf.write_together(names)
    for name, claim, one in zip(names, claims, written, strict=True):
        assert shelf.insert(name, claim, one)
    shelf.sql("UPDATE manifest SET created_ts = now() - %(age)s WHERE key = ANY(%(keys)s)", age=age, keys=[w.key for w in written])  # fmt: skip
    shelf.age_file(file_of(written[0].path), age)
    return written


def packs(shelf: Shelf) -> set[str]:
    """Return the files that hold several entries."""
    return {file.path for listing in shelf.resources.entries.list_packs() for file in listing.files}


def collect(shelf: Shelf) -> GarbageReport:
    """Collect garbage, and find nothing strange."""
    report = run_collection(shelf.resources, RULES)
    assert isinstance(report, GarbageReport)
    assert report.faults == []
    assert report.plan is not None
    assert report.plan.totals.lost == 0
    return report


def test_a_pack_goes_with_its_last_row(shelf):
    """While one entry of it lives, or is only hidden, all bytes stay; then the file goes in the same run."""
    first, second = publish(shelf, ["first", "second"], age=2 * WEEK)
    shelf.condemn("first", 30 * HOUR)

    report = collect(shelf)

    assert (shelf.state("first"), shelf.state("second")) == (None, "live")
    assert packs(shelf) == {file_of(second.path)}
    assert shelf.resources.entries.read(second).num_rows == 3
    assert report.files_deleted == 0

    found = collect(shelf).plan.totals
    assert (found.packs, found.rows, found.live_entries) == (1, 1, 1)
    assert found.dead_pack_bytes == found.pack_bytes - second.file_size_bytes >= first.file_size_bytes

    shelf.condemn("second", HOUR)
    collect(shelf)
    assert packs(shelf) == {file_of(second.path)}

    shelf.condemn("second", 30 * HOUR)
    report = collect(shelf)
    assert packs(shelf) == set()
    assert (report.files_deleted, report.bytes_freed) == (1, found.pack_bytes)


@pytest.mark.parametrize("state", ["condemned", "quarantined"])
def test_a_pack_stays_for_an_entry_that_is_only_hidden(shelf, state):
    """It can be taken back, or looked at, until its own grace is over; others of the pack that are due go before it."""
    _, hidden = publish(shelf, ["due", "hidden"], age=2 * WEEK)
    shelf.condemn("due", 30 * HOUR)
    shelf.condemn("hidden", HOUR)
    shelf.sql("UPDATE manifest SET state = %(state)s WHERE key = %(key)s", state=state, key=hidden.key)

    collect(shelf)

    assert (shelf.state("due"), shelf.state("hidden")) == (None, state)
    assert packs(shelf) == {file_of(hidden.path)}
    if state == "condemned":
        assert shelf.resources.manifest.revive(hidden.key, youngest_s=12 * 3600) == hidden
        assert shelf.resources.entries.read(hidden).num_rows == 3


def test_a_pack_without_rows_stays_as_long_as_somebody_may_need_it(shelf):
    """Young, or of a key that is being computed, or whose keys were replaced within the grace: it stays."""
    (young, *_), (working, *_) = shelf.write_together(["young", "y2"]), shelf.write_together(["working", "w2"])
    replaced, _ = publish(shelf, ["replaced", "r2"], age=2 * WEEK)
    (gone, *_) = shelf.write_together(["gone", "g2"])
    for one in (working, gone):
        shelf.age_file(file_of(one.path), 30 * HOUR)
    shelf.claim("w2")
    for name in ("replaced", "r2"):
        shelf.condemn(name, 2 * HOUR)
        assert shelf.insert(name, shelf.claim(name), shelf.write(name))

    collect(shelf)
    assert packs(shelf) == {file_of(one.path) for one in (young, working, replaced)}

    shelf.sql("UPDATE manifest SET created_ts = now() - interval '30 hours'")
    report = collect(shelf)
    assert packs(shelf) == {file_of(one.path) for one in (young, working)}
    assert [str(one.why) for one in report.plan.leftovers] == ["superseded"]


def test_a_lost_pack_hides_what_lay_in_it(shelf):
    """Each of its live entries, and nothing else."""
    inside, kept = publish(shelf, ["a", "b"], age=WEEK), publish(shelf, ["c", "d"], age=WEEK)
    assert shelf.resources.entries.delete(file_of(inside[0].path))

    report = run_collection(shelf.resources, RULES)

    assert isinstance(report, GarbageReport)
    assert report.phases["lost"].count == 2
    assert [shelf.state(name) for name in "abcd"] == ["quarantined"] * 2 + ["live"] * 2
    assert packs(shelf) == {file_of(kept[0].path)}


def test_a_sweep_reads_each_entry_of_a_pack(shelf):
    """And finds nothing wrong with what is right."""
    inside = publish(shelf, ["a", "b"], age=WEEK)
    report = run_sweep(shelf.resources)
    assert (report.checked, report.faults) == (2, [])
    assert report.bytes_read == sum(one.file_size_bytes for one in inside)


def test_a_pack_is_given_up_whole_or_not_at_all(shelf):
    """Its bytes go with its last entry, so the least recently used pack goes: by the last use of any of its entries."""
    publish(shelf, ["a", "b"], age=10 * HOUR)
    publish(shelf, ["c", "d"], age=20 * HOUR)
    shelf.used("d", HOUR * 5)
    both = sum(file.size_bytes for listing in shelf.resources.entries.list_packs() for file in listing.files)

    report = run_collection(shelf.resources, replace(RULES, max_bytes=both - 1, low_watermark_bytes=both - 1))

    assert isinstance(report, GarbageReport)
    assert [shelf.state(name) for name in "abcd"] == ["condemned"] * 2 + ["live"] * 2


def test_dead_bytes_of_a_pack_count_against_the_budget(shelf):
    """One entry that is used keeps the bytes of its neighbours; a budget that they exceed lets the pack go."""
    inside = publish(shelf, ["a", "b"], age=40 * HOUR)
    shelf.condemn("a", 30 * HOUR)
    collect(shelf)
    assert shelf.state("b") == "live"
    budget = inside[1].file_size_bytes + 1

    run_collection(shelf.resources, replace(RULES, max_bytes=budget, low_watermark_bytes=budget))

    assert shelf.state("b") == "condemned"


def test_a_pinned_entry_keeps_its_pack(shelf):
    """And the others in it: what would be gained by hiding them?"""
    publish(shelf, ["a", "b"], age=30 * WEEK)
    shelf.resources.manifest.pin([key("a")])
    collect(shelf)
    assert [shelf.state(name) for name in "ab"] == ["live"] * 2


class Meanwhile(UpkeepQueries):
    """The statements of upkeep, and what somebody does just before it is asked which entries lie in a pack, or who works on them."""

    def __init__(
        self, shelf: Shelf, act: Callable[[], object] = lambda: None, *, at_jobs: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(shelf.resources.database)
        self.act, self.at_jobs, self.asked = act, at_jobs, list[int]()

    def unsettled_keys(self, keys: Sequence[str], *, grace: timedelta) -> set[str]:
        self.at_jobs()
        return super().unsettled_keys(keys, grace=grace)

    def rows_of_packs(self, packs: Sequence[str]) -> list[ShardRow]:
        self.act()
        self.asked.append(len(packs))
        return super().rows_of_packs(packs)


@pytest.mark.parametrize("how", ["used", "pinned"])
def test_a_pack_that_was_chosen_stays_if_somebody_needs_it_by_then(shelf, how):
    """Used or pinned since it was chosen: all of it stays, for hiding the others would free nothing."""
    publish(shelf, ["a", "b"], age=30 * WEEK)
    publish(shelf, ["c", "d"], age=30 * WEEK)
    acts = {
        "used": lambda: shelf.used("a", timedelta(0)),
        "pinned": lambda: shelf.resources.manifest.pin([key("a")]),
    }
    shelf.resources = replace(shelf.resources, upkeep=Meanwhile(shelf, acts[how]))

    report = run_collection(shelf.resources, RULES)

    assert isinstance(report, GarbageReport)
    assert [shelf.state(name) for name in "abcd"] == ["live"] * 2 + ["condemned"] * 2
    assert report.plan is not None
    assert {one.candidate.key for one in report.plan.evictions} == {key("c"), key("d")}


def test_a_plan_holds_no_more_entries_of_packs_than_a_run_hides(shelf, monkeypatch):
    """However many packs are due: rows are asked for in batches, and no longer than there is room for them."""
    for number in range(5):
        publish(shelf, [f"{number}a", f"{number}b"], age=30 * WEEK)
    monkeypatch.setattr(gc_plan, "PACKS_AT_ONCE", 2)
    monkeypatch.setattr(gc_plan, "AT_MOST", 3)
    queries = Meanwhile(shelf)
    shelf.resources = replace(shelf.resources, upkeep=queries)

    run_collection(shelf.resources, RULES)

    assert queries.asked == [2]
    assert shelf.sql("SELECT count(*) FROM manifest WHERE state = 'condemned'") == [(3,)]
    for _ in range(4):
        run_collection(shelf.resources, RULES)
    assert shelf.sql("SELECT count(*) FROM manifest WHERE state = 'live'") == [(0,)]


def test_a_pack_that_cannot_be_read_stops_no_collection(shelf, monkeypatch):
    """A bad sector under one file: it stays and is told of, everything else goes."""
    (bad, *_), (gone, *_) = shelf.write_together(["x1", "x2"]), shelf.write_together(["y1", "y2"])
    for one in (bad, gone):
        shelf.age_file(file_of(one.path), 30 * HOUR)
    inside = publish(shelf, ["a", "b"], age=2 * WEEK)
    for name in ("a", "b"):
        shelf.condemn(name, 30 * HOUR)
    broken = {file_of(bad.path), file_of(inside[0].path)}
    read = type(shelf.resources.entries).keys_in

    def keys_in(entries, pack):
        if pack in broken:
            raise StorageUnavailable(pack, "Input/output error")
        return read(entries, pack)

    monkeypatch.setattr(type(shelf.resources.entries), "keys_in", keys_in)
    report = run_collection(shelf.resources, RULES)

    assert isinstance(report, GarbageReport)
    assert packs(shelf) == broken
    assert [shelf.state(name) for name in "ab"] == [None, None]
    assert (report.phases["plan"].failed, report.phases["reap"].failed) == (1, 1)
    assert sorted(report.faults) == sorted(f"cannot use {pack}: Input/output error" for pack in broken)
    monkeypatch.undo()
    collect(shelf)
    assert packs(shelf) == set()


@pytest.mark.parametrize("grace", [RULES.grace, timedelta(0)])
def test_rows_that_come_between_two_looks_keep_their_pack(shelf, grace):
    """Their publisher's job ends with them: who looked for rows first and for jobs then saw neither."""
    claims = {name: shelf.claim(name) for name in "ab"}
    written = dict(zip("ab", shelf.write_together("ab"), strict=True))
    shelf.age_file(file_of(written["a"].path), 30 * HOUR)
    waiting = {name: (claims[name], written[name]) for name in "ab"}

    def publish_now() -> None:
        if waiting:
            assert shelf.insert_together(waiting) == {"a", "b"}
            waiting.clear()

    shelf.resources = replace(shelf.resources, upkeep=Meanwhile(shelf, at_jobs=publish_now))
    run_collection(shelf.resources, replace(RULES, grace=grace), force=True)

    assert waiting == {}
    assert packs(shelf) == {file_of(written["a"].path)}
    assert [shelf.state(name) for name in "ab"] == ["live"] * 2
    assert shelf.resources.entries.read(written["b"]).num_rows == 3
