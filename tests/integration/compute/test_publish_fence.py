"""Only the current claim publishes, and publishing twice is the same as once."""

from __future__ import annotations

import json
import threading

import pytest

from fstore.compute.publishing import PendingEntry, Publisher
from fstore.errors import EntryCorrupt, ManifestUnavailable
from fstore.model import Claim, Entry, EntryFacts, EntryState, HashMethod, JobState, KeyParts
from fstore.postgres.manifest import Published
from fstore.records import flat, flat_names
from fstore.runtime import deadline
from tests.support.shelf import HOUR, Shelf, key
from tests.waiting import eventually


@pytest.fixture
def shelf(house):
    return Shelf(house.store.resources)


def offer(shelf, name, locator, claim):
    """Offer a file that is durable for publication, as a worker does."""
    return Publisher.of(shelf.resources).insert([PendingEntry(new_entry(name, locator), claim)])[key(name)]


def new_entry(name, locator):
    return EntryFacts(
        key=key(name), parts=KeyParts(name, "m:f", "1", "{}", "b3m1:" + "0" * 64), hash_method=HashMethod.FULL,
        source_digest="", path=locator.path, rows=locator.rows, file_size_bytes=locator.file_size_bytes,
        content_digest=locator.content_digest, start_ts=None, end_ts=None, compute_seconds=0.1, library_versions={},
    )  # fmt: skip


def rows(shelf):
    return shelf.sql("SELECT key, path, state, attempt FROM manifest")


def lapse(shelf):
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second'")


def test_a_claim_publishes_once_and_ends_its_job(shelf):
    """The row and the end of the job are one transaction."""
    claim, written = shelf.claim("a"), shelf.write("a")

    assert offer(shelf, "a", written, claim) == written

    assert rows(shelf) == [(key("a"), written.path, "live", 1)]
    assert shelf.resources.jobs.find(key("a")) is None


def test_publishing_again_after_a_lost_answer_is_a_success(shelf):
    """Whoever did not hear that the commit went through repeats it: same answer, one row, file kept."""
    claim, written = shelf.claim("a"), shelf.write("a")

    first = offer(shelf, "a", written, claim)
    second = offer(shelf, "a", written, claim)

    assert first == second == written
    assert len(rows(shelf)) == 1
    assert shelf.resources.entries.read(written).num_rows == written.rows


def test_an_entry_that_was_hidden_before_its_publisher_heard_of_it_keeps_its_file(shelf):
    """Whoever opened it in between may read on; row and file go together, after the grace period."""
    claim, written = shelf.claim("a"), shelf.write("a")
    offer(shelf, "a", written, claim)
    shelf.resources.manifest.condemn(key=key("a"))

    assert offer(shelf, "a", written, claim) is None

    assert (shelf.root / written.path).exists()


def test_a_late_worker_is_fenced_off_by_its_replacement(shelf):
    """The claim that lapsed and was taken over publishes nothing, before or after the new one; its file goes."""
    late = shelf.claim("a")
    lapse(shelf)
    current = shelf.claim("a")
    early_file, late_file, right_file = shelf.write("a"), shelf.write("a"), shelf.write("a")

    before = offer(shelf, "a", early_file, late)
    published = offer(shelf, "a", right_file, current)
    after = offer(shelf, "a", late_file, late)

    assert (before, published, after) == (None, right_file, right_file)
    assert rows(shelf) == [(key("a"), right_file.path, "live", 2)]
    assert not (shelf.root / early_file.path).exists()
    assert not (shelf.root / late_file.path).exists()


def test_a_lapsed_claim_that_nobody_took_over_still_publishes(shelf):
    """The fence is the attempt, not the clock: work that is done is not thrown away."""
    claim, written = shelf.claim("a"), shelf.write("a")
    lapse(shelf)

    assert offer(shelf, "a", written, claim) == written


def test_the_owner_is_part_of_the_fence(shelf):
    """After the job was forgotten and begun anew, attempt 1 of the past is not attempt 1 of today."""
    old = shelf.claim("a")
    shelf.sql("DELETE FROM jobs")
    new = shelf.claim("a")
    assert (old.attempt, new.attempt) == (1, 1)

    assert offer(shelf, "a", shelf.write("a"), old) is None

    assert rows(shelf) == []
    assert shelf.resources.jobs.renew([new])


@pytest.mark.parametrize("state", ["failed", "dead", "queued"])
def test_a_job_that_is_not_running_publishes_nothing(shelf, state):
    """A job that was ended or given back meanwhile keeps the late result out."""
    claim, written = shelf.claim("a"), shelf.write("a")
    shelf.sql(f"UPDATE jobs SET state = '{state}'")

    assert offer(shelf, "a", written, claim) is None

    assert rows(shelf) == []
    assert not (shelf.root / written.path).exists()


def test_a_live_row_is_never_replaced(shelf):
    """The first publisher's file is the answer, even for a claim that came by later."""
    first, claim = shelf.write("a"), shelf.claim("a")
    offer(shelf, "a", first, claim)
    shelf.sql(
        "INSERT INTO jobs (key, state, attempt, starts, owner, lease_until, request, requested_ts) "
        f"VALUES ('{key('a')}', 'running', 9, 1, 'x', now() + interval '1 minute', '{{}}', now())"
    )
    second = shelf.write("a")

    answered = offer(shelf, "a", second, Claim(key("a"), 9, "x"))

    assert answered == first
    assert rows(shelf)[0][1] == first.path
    assert not (shelf.root / second.path).exists()


@pytest.mark.parametrize("state", [EntryState.CONDEMNED, EntryState.QUARANTINED])
def test_a_hidden_row_is_replaced(shelf, state):
    """A new result takes the place of an entry that is not served any more; one row a key remains."""
    old = shelf.write("a")
    offer(shelf, "a", old, shelf.claim("a"))
    shelf.sql(f"UPDATE manifest SET state = '{state}', condemned_ts = now()")
    new, claim = shelf.write("a"), shelf.claim("a")

    assert offer(shelf, "a", new, claim) == new

    assert rows(shelf) == [(key("a"), new.path, "live", 1)]


def test_a_hidden_row_is_not_replaced_by_a_fenced_claim(shelf):
    """The fence holds for replacements too."""
    old = shelf.write("a")
    offer(shelf, "a", old, shelf.claim("a"))
    shelf.sql("UPDATE manifest SET state = 'quarantined', condemned_ts = now()")
    late = shelf.claim("a")
    lapse(shelf)
    shelf.claim("a")

    assert offer(shelf, "a", shelf.write("a"), late) is None

    assert rows(shelf)[0][1:3] == (old.path, "quarantined")


def test_quarantine_hides_only_the_file_that_was_found_wrong(shelf):
    """A row that points to another file by now is left alone."""
    old, manifest = shelf.write("a"), shelf.resources.manifest
    offer(shelf, "a", old, shelf.claim("a"))
    manifest.quarantine(key("a"), old.path)
    new = shelf.write("a")
    offer(shelf, "a", new, shelf.claim("a"))

    assert not manifest.quarantine(key("a"), old.path)
    assert manifest.find_live(key("a")) == new


def test_many_publishers_of_one_key_leave_one_row_and_one_file(shelf):
    """Whoever races, the claim decides: one row, and no file without one."""
    claim = shelf.claim("a")
    written = [shelf.write("a") for _ in range(8)]
    answers = []

    def publish(locator):
        answers.append(offer(shelf, "a", locator, claim))

    threads = [threading.Thread(target=publish, args=(locator,)) for locator in written]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ((_, path, _, _),) = rows(shelf)
    assert {answer.path for answer in answers} == {path}
    files = [file for file in (shelf.root / "entries").rglob("*") if file.is_file()]
    assert [str(file.relative_to(shelf.root)) for file in files] == [path]


def test_several_results_are_published_in_one_transaction(shelf):
    """Each offer is judged for itself: fenced ones stay out, the others get in."""
    good, bad = shelf.claim("a"), shelf.claim("b")
    lapse(shelf)
    shelf.claim("b")
    outcome = shelf.resources.manifest.publish(
        [(new_entry("a", shelf.write("a")), good), (new_entry("b", shelf.write("b")), bad)]
    )

    assert not outcome[key("a")].fenced
    assert outcome[key("b")] == Published(key("b"), fenced=True, live_path=None)
    assert [row[0] for row in rows(shelf)] == [key("a")]


def test_publishing_takes_the_whole_table_first(shelf):
    """A publisher waits for every other writer before it touches a row: whoever locks rows there holds it up."""
    claim, written = shelf.claim("a"), shelf.write("a")
    with shelf.resources.database.session() as session:
        session.query("BEGIN")
        session.query("LOCK TABLE manifest IN ROW SHARE MODE")
        with deadline.within(0.5), pytest.raises(ManifestUnavailable):
            offer(shelf, "a", written, claim)
        assert rows(shelf) == []
        assert shelf.resources.jobs.renew([claim])
        session.query("ROLLBACK")


def test_an_unknown_outcome_never_removes_the_file(shelf):
    """A publisher that gave up waiting may still be committed by the server: the file stays, whether a row comes or not."""
    claim, written = shelf.claim("a"), shelf.write("a")
    with shelf.resources.database.session() as session:
        session.query("BEGIN")
        session.query("LOCK TABLE manifest IN EXCLUSIVE MODE")
        with deadline.within(0.5), pytest.raises(ManifestUnavailable):
            offer(shelf, "a", written, claim)
        session.query("ROLLBACK")

    eventually(lambda: rows(shelf) or shelf.resources.jobs.find(key("a")), seconds=5, what="the server to decide")
    assert shelf.resources.entries.read(written).num_rows == written.rows


def test_claiming_again_after_a_lost_answer_is_the_same_claim(shelf, monkeypatch):
    """A worker whose connection broke after the commit does not lock itself out, and no start is counted twice."""
    query = shelf.resources.database.query

    def twice(sql, params=None):
        query(sql, params)
        return query(sql, params)

    with monkeypatch.context() as broken:
        broken.setattr(shelf.resources.database, "query", twice)
        first = shelf.claim("a")
        lapse(shelf)
        second = shelf.claim("a")

    job = shelf.resources.jobs.find(key("a"))
    assert (first.attempt, second.attempt) == (1, 2)
    assert (job.attempt, job.starts, job.owner) == (2, 2, second.shown_owner)


def test_the_third_start_without_an_end_is_the_last(shelf):
    """Claims are given three times; then the job is dead, for workers and for upkeep alike."""
    claims = []
    for _ in range(3):
        claims.append(shelf.claim("a"))
        lapse(shelf)
    jobs = shelf.resources.jobs

    assert jobs.claim(key("a"), {}) is None
    assert [claim.attempt for claim in claims] == [1, 2, 3]
    assert jobs.bury([key("a")]) == [key("a")]
    assert jobs.find(key("a")).state is JobState.DEAD
    assert jobs.claim(key("a"), {}) is None
    assert jobs.enqueue({key("a"): {}}) == set()
    assert jobs.reset(key("a"))
    assert jobs.enqueue({key("a"): {}}) == {key("a")}


def test_a_read_after_the_file_was_swapped_is_refused(shelf):
    """A file under the right name with other bytes is not the entry."""
    a, b = shelf.write("a"), shelf.write("b", rows=4)
    (shelf.root / a.path).unlink()
    (shelf.root / b.path).rename(shelf.root / a.path)

    with pytest.raises(EntryCorrupt):
        shelf.resources.entries.read(a)


def test_a_new_column_needs_no_list_of_columns(shelf):
    """A migration adds it and lets ``fstore_move`` be written again: offers of both versions are published meanwhile."""
    shelf.sql("ALTER TABLE manifest ADD COLUMN peak_mb bigint; SELECT 1")
    shelf.sql("ALTER TABLE manifest ADD COLUMN machine text NOT NULL DEFAULT 'unknown'; SELECT fstore_make_move()")
    offered = {}
    for name, more in {"new": {"peak_mb": 7, "machine": "m1"}, "old": {}}.items():
        claim, written = shelf.claim(name), shelf.write(name)
        facts = {**flat(new_entry(name, written)), "attempt": claim.attempt, "owner": claim.owner}
        offered[name] = {**facts, **more, "nobody_knows": 1}

    published = shelf.sql("SELECT * FROM fstore_publish(%(offers)s::jsonb)", offers=json.dumps(list(offered.values())))

    assert {(found[0], found[1]) for found in published} == {(o["key"], o["path"]) for o in offered.values()}
    kept = dict(shelf.sql("SELECT symbol, (peak_mb, machine)::text FROM manifest"))
    assert kept == {"new": "(7,m1)", "old": "(,unknown)"}
    shelf.condemn("new", HOUR)
    claim, written = shelf.claim("new"), shelf.write("new")
    offer(shelf, "new", written, claim)  # by this version, which knows nothing of the columns
    assert shelf.sql("SELECT path, state, peak_mb, machine FROM manifest WHERE symbol = 'new'") == [
        (written.path, "live", None, "unknown")
    ]


def test_the_move_that_is_written_has_the_columns_of_the_entry(shelf):
    """Whatever a record of the model names is a column, and the other way round, but for what only upkeep sets."""
    columns = {
        name
        for (name,) in shelf.sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'manifest'::regclass AND attnum > 0 AND NOT attisdropped"
        )
    }

    # Pins stand in a table of their own, for trainers may write it.
    assert columns - {"withdrawn"} == set(flat_names(Entry)) - {"pinned_ts"}
