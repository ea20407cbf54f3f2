"""Integrity sweeps on real files: every kind of damage is found, hidden and repaired; a missing mount is not damage."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pandas as pd
import pytest

from fstore import ParquetSource
from fstore.errors import StorageUnavailable, StoreMismatch, UpkeepRefused
from fstore.storage.verify import Pace
from fstore.upkeep import api as upkeep
from fstore.upkeep.runner import Skipped
from fstore.upkeep.sweep import IntegrityReport, run_sweep
from tests.sample_features import scaled
from tests.support.shelf import HOUR, WEEK, Shelf, frame, key


@pytest.fixture
def shelf(house):
    return Shelf(house.store.resources)


def sweep(shelf, **options) -> IntegrityReport:
    report = run_sweep(shelf.resources, bytes_per_s=None, **options)
    assert isinstance(report, IntegrityReport)
    return report


def damage(shelf, path: str, change) -> None:
    target = shelf.root / path
    target.chmod(0o640)
    target.write_bytes(change(target.read_bytes()))


def flipped(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def test_a_store_in_order_is_found_so(shelf):
    """Every entry is read to its last byte, recorded as verified, and nothing is hidden."""
    sizes = [shelf.publish(f"e{i}", age=WEEK).file_size_bytes for i in range(5)]

    report = sweep(shelf)

    assert (report.checked, report.bytes_read, report.faults, report.complete) == (5, sum(sizes), [], True)
    assert shelf.sql("SELECT count(*) FROM manifest WHERE verified_ts > now() - interval '1 minute'") == [(5,)]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (flipped, "digest"),
        (lambda data: data[:-1], "size"),
        (lambda data: data + b"x", "size"),
        (lambda data: b"", "size"),
    ],
)
def test_each_damage_is_hidden(shelf, change, kind):
    """A changed, cut or grown file is told by its kind; its row is quarantined and the file moved aside."""
    wrong = shelf.publish("wrong", age=WEEK)
    right = shelf.publish("right", age=WEEK)
    damage(shelf, wrong.path, change)

    report = sweep(shelf)

    assert [(f.key, str(f.kind)) for f in report.faults] == [(key("wrong"), kind)]
    assert (shelf.state("wrong"), shelf.state("right")) == ("quarantined", "live")
    assert shelf.files() == {right.path, f"quarantine/{wrong.path.rpartition('/')[2]}"}
    assert report.as_dict()["integrity_ok"] is False


def test_a_lost_file_is_a_fault(shelf):
    """A file that is gone is found before anybody asks for it."""
    lost = shelf.publish("lost", age=WEEK)
    (shelf.root / lost.path).unlink()

    report = sweep(shelf)

    assert [str(f.kind) for f in report.faults] == ["missing"]
    assert (report.quarantined, shelf.state("lost")) == (1, "quarantined")


def test_a_file_that_never_was_parquet_is_unreadable(shelf):
    """Bytes that are exactly those written, but no Parquet, are told apart from bit rot."""
    written = shelf.publish("odd", age=WEEK)
    damage(shelf, written.path, lambda data: b"?" * len(data))
    from blake3 import blake3

    digest = blake3(b"?" * written.file_size_bytes).hexdigest()
    shelf.sql("UPDATE manifest SET content_digest = %(digest)s", digest=digest)

    assert [str(f.kind) for f in sweep(shelf).faults] == ["unreadable"]


def test_without_repair_faults_are_only_told(shelf):
    """A check that is asked not to repair leaves row and file as they are, and comes to an end."""
    wrong = shelf.publish("wrong", age=WEEK)
    damage(shelf, wrong.path, flipped)

    answer = upkeep.verify_entries(shelf.resources)

    assert (answer["integrity_ok"], answer["checked"], len(answer["issues"])) == (False, 1, 1)
    assert shelf.state("wrong") == "live"
    assert shelf.files() == {wrong.path}


def test_the_longest_unverified_come_first_within_the_budget(shelf):
    """With a byte budget of two files, the two that were verified longest ago are read, the others next time."""
    sizes = [shelf.publish(f"e{i}", age=timedelta(days=9 - i)).file_size_bytes for i in range(4)]

    first = sweep(shelf, byte_budget=sizes[0] + sizes[1])
    left = {k for (k,) in shelf.sql("SELECT key FROM manifest WHERE verified_ts < now() - interval '1 hour'")}
    second = sweep(shelf, byte_budget=10**9)

    assert (first.checked, first.complete) == (2, False)
    assert left == {key("e2"), key("e3")}
    assert (second.checked, second.complete) == (4, True)


def test_pages_are_read_to_the_end(shelf, monkeypatch):
    """More entries than a page holds, some verified at the same moment, are each read once."""
    monkeypatch.setattr("fstore.upkeep.sweep.PAGE", 3)
    for i in range(10):
        shelf.publish(f"e{i}", age=WEEK)
    shelf.sql("UPDATE manifest SET verified_ts = date_trunc('day', now()) - interval '1 day'")

    assert (report := sweep(shelf)).checked == 10
    assert report.complete


def test_a_missing_mount_is_not_damage(shelf):
    """When most files are missing at once, the sweep stops before it hides any of them."""
    for i in range(120):
        shelf.publish(f"e{i}", age=WEEK)
    shutil.move(shelf.root / "entries", shelf.root / "elsewhere")

    with pytest.raises(UpkeepRefused, match="have no file"):
        sweep(shelf)
    assert shelf.sql("SELECT count(*) FROM manifest WHERE state = 'live'") == [(120,)]

    (shelf.root / "STORE_ID").unlink()
    with pytest.raises(StoreMismatch):
        sweep(shelf)


def test_a_file_that_cannot_be_read_stops_no_sweep(shelf):
    """It is told of and stays what it was; all others are verified, also by runs whose budget it would use up."""
    bad = shelf.publish("bad", age=9 * WEEK, rows=5000)
    good = [shelf.publish(f"e{i}", age=WEEK) for i in range(3)]
    shelf.make_unreadable(bad.path)

    small = sweep(shelf, byte_budget=good[0].file_size_bytes)
    assert (small.checked, small.complete) == (1, False)
    report = sweep(shelf)

    assert (report.checked, report.complete, report.faults, report.quarantined) == (3, True, [], 0)
    told = report.as_dict()
    assert told["integrity_ok"] is False
    assert [(one["path"], one["kind"]) for one in told["issues"]] == [(bad.path, "unavailable")]
    recorded = upkeep.list_runs(shelf.resources, "sweep", limit=1)[0]["report"]
    assert recorded["error"] == "StorageUnavailable", "what is told apart by it is an alert"
    assert recorded["message"].startswith(f"not read though the store was there: 1 of the entries, first {bad.path}")
    assert shelf.state("bad") == "live"
    assert shelf.sql("SELECT count(*) FROM manifest WHERE verified_ts > now() - interval '1 minute'") == [(3,)]


def test_many_files_that_cannot_be_read_are_the_store_s_fault(shelf, monkeypatch):
    """A run does not go on over a failing disk."""
    monkeypatch.setattr("fstore.upkeep.sweep.MOST_UNREAD", 2)
    for i in range(3):
        shelf.make_unreadable(shelf.publish(f"e{i}", age=WEEK).path)

    with pytest.raises(StorageUnavailable):
        sweep(shelf)


def test_an_entry_condemned_meanwhile_has_no_fault(shelf, monkeypatch):
    """A file that goes because upkeep or a newer result took its place is not reported."""
    gone = shelf.publish("gone", age=WEEK)
    (shelf.root / gone.path).unlink()
    kind = type(shelf.resources.entries)
    inspect = kind.inspect

    def condemned_in_between(*args):
        shelf.condemn("gone", HOUR)
        return inspect(*args)

    monkeypatch.setattr(kind, "inspect", condemned_in_between)

    assert sweep(shelf).faults == []


def test_a_quarantined_entry_is_computed_again_from_its_source(house, shelf, tmp_path):
    """If the raw data are unchanged, a sweep registers the computation at once, for a worker to take."""
    frame().to_parquet(tmp_path / "ticks.parquet")
    entry = publish_from(house, shelf, tmp_path / "ticks.parquet")
    damage(shelf, entry.path, flipped)

    report = sweep(shelf)

    assert (report.quarantined, report.recomputing) == (1, 1)
    job = shelf.resources.jobs.find(entry.key)
    assert job is not None and job.request is not None
    assert (job.request["feature"], job.request["key"]) == ("tests.sample_features:scaled", entry.key)


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_changed_raw_data_are_not_computed_from(house, shelf, tmp_path, change):
    """If the raw data are gone or differ, the entry waits for somebody who asks with what there is now."""
    ticks = tmp_path / "ticks.parquet"
    frame().to_parquet(ticks)
    entry = publish_from(house, shelf, ticks)
    damage(shelf, entry.path, flipped)
    ticks.unlink()
    if change == "changed":
        frame(6).to_parquet(ticks)

    report = sweep(shelf, sources=True)

    assert (report.quarantined, report.recomputing) == (1, 0)
    assert shelf.resources.jobs.find(entry.key) is None


@pytest.mark.parametrize("knows", [True, False])
def test_sources_below_a_named_root_are_found_by_its_name(house, shelf, tmp_path, knows):
    """What stands as ``ticks:...`` in the manifest lies where this host's setting says; without the name that is told."""
    ticks = tmp_path / "ticks.parquet"
    frame().to_parquet(ticks)
    publish_from(house, shelf, ticks)
    source = '{"kind": "parquet", "path": "ticks:ticks.parquet"}'
    shelf.resources.database.query("UPDATE manifest SET source = %(source)s::json", {"source": source})
    with house.open(data_roots=f"ticks={tmp_path}" if knows else str(tmp_path)) as store:
        issues = upkeep.verify_entries(store.resources, sources=True)["source_issues"]
    unknown = {"path": "ticks:ticks.parquet", "reason": "below a root whose name this host does not know", "entries": 1}
    assert issues == ([] if knows else [unknown])


@pytest.mark.parametrize("change", ["gone", "changed"])
def test_sources_are_read_when_asked(house, shelf, tmp_path, change):
    """With sources, raw data in users' files that are gone or changed are told; the entry stays right for what was."""
    ticks = tmp_path / "ticks.parquet"
    frame().to_parquet(ticks)
    entry = publish_from(house, shelf, ticks)
    assert upkeep.verify_entries(shelf.resources, sources=True)["source_issues"] == []
    ticks.unlink()
    if change == "changed":
        frame(6).to_parquet(ticks)

    answer = upkeep.verify_entries(shelf.resources, sources=True)

    assert answer["source_issues"] == [{"path": str(ticks), "reason": change, "entries": 1}]
    assert answer["integrity_ok"]
    assert shelf.resources.manifest.find_live(entry.key) is not None


def test_a_check_does_not_wait_for_a_sweep(shelf):
    """While a sweep goes on, a second one is skipped, but a check that repairs nothing still answers."""
    shelf.publish("e", age=WEEK)
    with shelf.resources.runs.alone("sweep") as session:
        assert session is not None
        assert isinstance(run_sweep(shelf.resources), Skipped)
        assert upkeep.verify_entries(shelf.resources)["integrity_ok"] is True


def test_reading_keeps_to_its_pace():
    """Reading 300 kB at 1 MB/s takes at least three tenths of a second."""
    import time

    began = time.monotonic()
    pace = Pace(1_000_000)
    for _ in range(3):
        pace.took(100_000)

    assert time.monotonic() - began >= 0.3


def publish_from(house, shelf, path):
    """Publish an entry as a worker would, computed from a file of the user."""
    from fstore.broker.messages import parse_compute
    from fstore.compute.executor import execute

    request = parse_compute({"symbol": "AAPL", "raw_data": str(ParquetSource(path).path), "config": {"factor": 3}, "feature": "tests.sample_features:scaled"})  # fmt: skip
    outcome = execute(shelf.resources, request, phase=lambda _: None)
    entry = shelf.resources.manifest.find_entry(outcome.key)
    assert entry is not None
    pd.testing.assert_frame_equal(house.store.load(outcome.as_dict()), scaled(frame(), {"factor": 3}))
    return entry
