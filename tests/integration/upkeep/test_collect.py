"""Garbage collection on a real Postgres, Redis and folder: what goes, what stays, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from fstore.errors import StoreMismatch, UpkeepRefused
from fstore.upkeep import api as upkeep
from fstore.upkeep.collection.policy import GarbagePolicy
from fstore.upkeep.collection.report import GarbageReport, details
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.runner import Skipped
from tests.support.shelf import HOUR, RULES, WEEK, Shelf, key


@pytest.fixture
def shelf(house):
    return Shelf(house.store.resources)


def collect(shelf, rules=RULES, **options) -> GarbageReport:
    report = run_collection(shelf.resources, rules, **options)
    assert isinstance(report, GarbageReport)
    return report


def test_retention_is_by_last_use(shelf):
    """Made ten weeks ago and read today survives four weeks of retention; unused for five weeks is condemned."""
    shelf.publish("read today", age=10 * WEEK, unused=2 * HOUR)
    shelf.publish("forgotten", age=10 * WEEK, unused=5 * WEEK)
    shelf.publish("never read", age=5 * WEEK)

    report = collect(shelf)

    assert (shelf.state("read today"), shelf.state("forgotten"), shelf.state("never read")) == (
        "live",
        "condemned",
        "condemned",
    )
    assert report.as_dict()["summary"]["entries_condemned"] == 2
    assert len(shelf.files()) == 3


def test_use_noted_in_redis_a_moment_ago_protects(shelf):
    """A hit that only Redis knows of yet keeps its entry."""
    shelf.publish("just read", age=10 * WEEK)
    shelf.resources.usage_buffer.note({key("just read"): 1}, {})

    collect(shelf)

    assert shelf.state("just read") == "live"


def test_nothing_is_condemned_right_after_redis_lost_its_notes(shelf):
    """When Redis was emptied, the run waits an hour before it trusts that nobody used an entry."""
    shelf.publish("maybe read", age=10 * WEEK)
    shelf.sql("SELECT 1")
    shelf.resources.redis_server._link.call("wiping", lambda client: client.flushall())

    report = collect(shelf)

    assert shelf.state("maybe read") == "live"
    assert "usage is known for" in report.as_dict()["plan"]["postponed"]


def test_nothing_is_condemned_while_use_cannot_be_brought_up_to_date(shelf, monkeypatch):
    """While another flush hangs, or when Redis goes away after the plan was made, entries stay and the report says why."""
    shelf.publish("maybe read", age=10 * WEEK)
    monkeypatch.setattr("fstore.upkeep.usage.FLUSH_PATIENCE_S", 0.1)
    with shelf.resources.runs.alone("flush"):
        assert "another flush" in str(collect(shelf).as_dict()["plan"]["postponed"])

    notes = [True, False]
    monkeypatch.setattr("fstore.upkeep.usage.UsageFlush.move_in_turn", lambda _: notes.pop(0))
    report = collect(shelf)

    assert shelf.state("maybe read") == "live"
    assert report.phases["condemn"].failed == 1
    assert "does not end" in report.faults[0]


def test_condemned_goes_after_the_grace_row_and_file(shelf):
    """Past the grace the row and the file are gone; within it both are still there."""
    old, fresh = shelf.publish("old", age=WEEK), shelf.publish("fresh", age=WEEK)
    shelf.condemn("old", 25 * HOUR)
    shelf.condemn("fresh", 23 * HOUR)

    report = collect(shelf)

    assert (shelf.state("old"), shelf.state("fresh")) == (None, "condemned")
    assert shelf.files() == {fresh.path}
    assert (report.files_deleted, report.bytes_freed) == (1, old.file_size_bytes)


def test_condemned_and_used_meanwhile_is_revived(shelf):
    """Use after the condemnation takes the entry back, however old the condemnation is."""
    shelf.publish("wanted", age=10 * WEEK)
    shelf.condemn("wanted", 30 * HOUR)
    shelf.used("wanted", 2 * HOUR)

    collect(shelf)

    assert shelf.state("wanted") == "live"


def test_budget_condemns_the_least_recently_used(shelf):
    """Above the byte budget the longest unused go until nine tenths of it are left."""
    sizes = [shelf.publish(f"e{i}", age=timedelta(days=10 - i)).file_size_bytes for i in range(5)]

    collect(shelf, replace(RULES, max_bytes=sum(sizes) - 1))

    assert [shelf.state(f"e{i}") for i in range(5)] == ["condemned", "live", "live", "live", "live"]


def test_orphans_wait_for_the_grace_and_for_jobs(shelf):
    """A file without a row goes after the grace, unless a job may still insert its row."""
    orphan, young, working = shelf.write("orphan"), shelf.write("young"), shelf.write("working")
    shelf.claim("working")
    for written in (orphan, working):
        shelf.age_file(written.path, 25 * HOUR)

    collect(shelf)

    assert shelf.files() == {young.path, working.path}


def test_a_writer_frozen_before_its_insert_still_publishes(shelf):
    """A writer stopped between rename and insert for longer than the grace finds its file when it goes on."""
    claim = shelf.claim("frozen")
    written = shelf.write("frozen")
    shelf.age_file(written.path, 48 * HOUR)
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '2 days'")

    collect(shelf)

    assert shelf.insert("frozen", claim, written)
    assert shelf.resources.entries.read(shelf.resources.manifest.find_live(key("frozen"))).num_rows == 3


def test_a_replaced_file_goes_a_grace_after_its_replacement(shelf):
    """The old file of an entry computed anew stays while a reader may hold its path, then goes."""
    old = shelf.publish("twice", age=3 * WEEK)
    shelf.condemn("twice", HOUR)
    new = shelf.publish("twice")

    collect(shelf)
    assert shelf.files() == {old.path, new.path}

    shelf.age("twice", 25 * HOUR)
    collect(shelf)
    assert shelf.files() == {new.path}


def test_unfinished_and_staged_leftovers_go(shelf):
    """Temporary files and staged data that no job needs go after the grace; those in use stay."""
    shelf.publish("kept")
    needed = shelf.request("waiting").raw_data.path.replace("waiting", f"ab/{key('raw')}.arrow")
    shelf.resources.jobs.enqueue(
        {key("waiting"): shelf.request("waiting").wire() | {"raw_data": {"kind": "staged", "path": needed}}}
    )
    stale = [
        "entries/ab/.tmp-1234", ".tmp-5678", f"staging/raw/ab/{key('stale raw')}.arrow",
        f"staging/results/{key('nobody')}.token.parquet", f"staging/results/.tmp-{key('nobody')}.token.parquet",
    ]  # fmt: skip
    kept = [needed, f"staging/results/{key('waiting')}.token.parquet", "entries/ab/notes-of-a-stranger.txt"]
    for path in (*stale, *kept, "entries/ab/.tmp-young"):
        (shelf.root / path).parent.mkdir(parents=True, exist_ok=True)
        (shelf.root / path).write_bytes(b"x" * 10)
        if "young" not in path:
            shelf.age_file(path, 25 * HOUR)

    report = collect(shelf)

    assert shelf.files() == {*kept, "entries/ab/.tmp-young", shelf.entry("kept").path}
    assert report.bytes_freed == 10 * len(stale)


def test_lost_files_are_hidden(shelf):
    """An entry whose file is gone is quarantined, so that the next request computes it."""
    lost = shelf.publish("lost")
    (shelf.root / lost.path).unlink()

    report = collect(shelf)

    assert shelf.state("lost") == "quarantined"
    assert report.as_dict()["summary"]["entries_lost"] == 1


def test_the_dry_run_is_what_the_next_run_does(shelf):
    """Entry by entry and file by file, a dry run names what the real run then does, and changes nothing itself."""
    for i in range(6):
        shelf.publish(f"expired{i}", age=(5 + i) * WEEK)
    shelf.publish("condemned", age=WEEK)
    shelf.condemn("condemned", 30 * HOUR)
    shelf.age_file(shelf.write("orphan").path, 30 * HOUR)
    before = shelf.files(), shelf.sql("SELECT key, state FROM manifest ORDER BY 1")

    planned = collect(shelf, dry_run=True)
    assert (shelf.files(), shelf.sql("SELECT key, state FROM manifest ORDER BY 1")) == before
    assert planned.files_deleted == 0

    done = collect(shelf)
    assert details(done.plan) == details(planned.plan)
    named = details(planned.plan)
    assert shelf.files() == before[0] - {e["path"] for e in named["reap"]} - {e["path"] for e in named["strays"]}
    assert {k for (k,) in shelf.sql("SELECT key FROM manifest WHERE state = 'condemned'")} == {
        e["key"] for e in named["condemn"]
    }
    assert done.as_dict()["summary"]["total_files_deleted"] == 2


def test_another_stores_folder_is_refused(shelf, house, tmp_path):
    """With a folder that carries another id, or none, nothing is looked at, let alone deleted."""
    shelf.publish("mine", age=10 * WEEK)
    (shelf.root / "STORE_ID").chmod(0o640)
    for strange in ("0123456789abcdef0123456789abcdef", ""):
        (shelf.root / "STORE_ID").write_text(strange)
        with pytest.raises(StoreMismatch, match="belong to different stores"):
            collect(shelf, force=True)
    shutil.rmtree(shelf.root)
    shelf.root.mkdir()
    with pytest.raises(StoreMismatch):
        collect(shelf)
    assert shelf.state("mine") == "live"


def test_a_suspicious_number_of_orphans_or_lost_files_is_refused(shelf):
    """When most files have no row, or most rows no file, nothing is touched until somebody forces it."""
    for i in range(105):
        shelf.publish(f"e{i}")
    paths = sorted(shelf.files())
    for path in paths:
        shelf.age_file(path, 30 * HOUR)
    shelf.sql("CREATE TABLE saved AS SELECT * FROM manifest")
    shelf.sql("DELETE FROM manifest")

    with pytest.raises(UpkeepRefused, match="105 of 105 files have no row"):
        collect(shelf)
    assert sorted(shelf.files()) == paths

    shelf.sql("INSERT INTO manifest SELECT * FROM saved")
    shutil.move(shelf.root / "entries", shelf.root / "elsewhere")
    with pytest.raises(UpkeepRefused, match="105 of 105 entries have no file"):
        collect(shelf)
    assert shelf.sql("SELECT count(*) FROM manifest WHERE state = 'live'") == [(105,)]
    assert collect(shelf, force=True).as_dict()["summary"]["entries_lost"] == 105


def test_a_mass_invalidation_is_not_suspicious(shelf):
    """Replacing every entry leaves many old files, each of whose keys is known: that is no reason to refuse."""
    for i in range(110):
        shelf.publish(f"e{i}", age=2 * WEEK)
    shelf.sql("UPDATE manifest SET state = 'condemned', condemned_ts = now() - interval '2 days'")
    for i in range(110):
        shelf.publish(f"e{i}", age=2 * timedelta(days=1))

    assert collect(shelf).files_deleted == 110


def test_a_grace_that_could_hurt_is_refused(shelf):
    """A grace below one hour, or below twice the compute limit, needs force."""
    with pytest.raises(UpkeepRefused, match="shorter than 1:00:00"):
        collect(shelf, replace(RULES, grace=HOUR / 2))
    assert collect(shelf, replace(RULES, grace=HOUR / 2), force=True).files_deleted == 0


def test_one_run_at_a_time(shelf):
    """While one run holds the lock, a second one says so and does nothing."""
    with shelf.resources.runs.alone("gc") as session:
        assert session is not None
        assert run_collection(shelf.resources, RULES) == Skipped("gc", "another run is going on")
        assert upkeep.collect_garbage(shelf.resources)["summary"] == {"total_files_deleted": 0, "total_bytes_freed": 0}
    assert isinstance(run_collection(shelf.resources, RULES), GarbageReport)


def test_two_schedulers_do_one_run(shelf):
    """A scheduled run right after another one is skipped; a dry run or a run by hand is not in its way."""
    collect(shelf, dry_run=True)
    assert isinstance(run_collection(shelf.resources, RULES, unless_within_s=45), GarbageReport)
    assert isinstance(run_collection(shelf.resources, RULES, unless_within_s=45), Skipped)
    assert isinstance(run_collection(shelf.resources, RULES), GarbageReport)


def test_every_run_is_remembered(shelf):
    """History tells finished runs with their reports, and refused ones with their reason."""
    collect(shelf)
    (shelf.root / "entries" / "ab").mkdir(exist_ok=True)
    with pytest.raises(UpkeepRefused):
        shelf.sql("INSERT INTO manifest SELECT md5(i::text)||md5(i::text), 's', 'f', '1', '', '{}', 'x', 'full', NULL, 'entries/00/' || i, NULL, NULL, 1, 1, 'x', 'live', now(), NULL, now(), 1, 1, '{}' FROM generate_series(1, 200) i")  # fmt: skip
        collect(shelf)

    last, first = shelf.resources.runs.list_runs("gc")

    assert first.report["summary"]["total_files_deleted"] == 0
    assert last.report["error"] == "UpkeepRefused"
    assert first.finished_at is not None


def test_vacuum_leaves_no_setting_behind(shelf):
    """Vacuuming runs on its own connection and gives it back with the usual statement timeout."""
    report = collect(shelf)

    assert set(report.vacuum.values()) <= {
        "done",
        "left to autovacuum after 0.5 s",
        "left to autovacuum behind a pooler",
    }
    for _ in range(5):
        assert shelf.sql("SHOW statement_timeout") == [("10s",)]


def test_rules_come_from_settings_unless_given(house):
    """Retention, budget and grace are those of the settings; a caller may replace the first two."""
    settings = house.settings

    assert GarbagePolicy.from_settings(settings) == RULES
    assert GarbagePolicy.from_settings(settings, retention_weeks=1, max_bytes=7) == replace(
        RULES, retention=WEEK, max_bytes=7
    )
