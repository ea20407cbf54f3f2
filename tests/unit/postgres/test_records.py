"""What follows from the fields of a record: columns, rows, JSON and messages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import pyarrow as pa

from fstore.broker.messages import PublishRequest, parse_publish
from fstore.compute.publishing import entry_facts
from fstore.model import (
    Claim,
    ComputedFacts,
    Entry,
    EntryFacts,
    EntryState,
    FailureNote,
    HashMethod,
    Job,
    JobState,
    KeyParts,
)
from fstore.postgres.queries import ENTRY, JOB, JOB_STATUS, LOCATOR, READ_AS, Columns, statements
from fstore.records import flat, flat_names, unflat
from fstore.storage.interface import Stored

KEY = "ab" * 32
COMPUTED = ComputedFacts(
    key=KEY, parts=KeyParts("EURUSD", "m:f", "1", '{"n":1.0}', "b3m2:" + "0" * 64), hash_method=HashMethod.FOOTER,
    source_digest="s", source={"kind": "staged", "path": "staging/x"}, compute_seconds=0.25, library_versions={"pandas": "3"},
)  # fmt: skip
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ENTRY_ROW = Entry(
    **{each.name: getattr(COMPUTED, each.name) for each in fields(COMPUTED)}, path="entries/x", rows=1, file_size_bytes=2,
    content_digest="c", start_ts=NOON, end_ts=None, state=EntryState.LIVE, attempt=3, created_ts=NOON, condemned_ts=None,
    verified_ts=NOON,
)  # fmt: skip


def test_a_row_is_read_as_the_record_it_was_made_of() -> None:
    """As Postgres gives it: enumerations as text, the parts of a record within it among the others."""
    row = tuple(
        {**flat(ENTRY_ROW), "start_ts": NOON, "created_ts": NOON, "verified_ts": NOON}[name] for name in ENTRY.names
    )

    found = ENTRY.read(row)

    assert found == ENTRY_ROW
    assert type(found.hash_method) is HashMethod
    assert type(found.state) is EntryState


def test_a_record_is_plain_json() -> None:
    """What is offered to Postgres and shown by commands needs no encoder of its own."""
    plain = flat(ENTRY_ROW)

    assert json.loads(json.dumps(plain)) == plain
    assert plain["start_ts"] == "2026-11-29T12:00:00+00:00"
    assert (plain["symbol"], plain["config"], plain["state"]) == ("EURUSD", '{"n":1.0}', "live")


def test_a_field_is_a_column_an_offer_and_part_of_the_json() -> None:
    """Nothing else names it: a column costs a migration, its field, and the place where its value is found."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Measured(Entry):
        peak_mb: int | None = None

    measured = Measured(**{each.name: getattr(ENTRY_ROW, each.name) for each in fields(ENTRY_ROW)}, peak_mb=7)
    columns = Columns(Measured, read_as=READ_AS)

    assert columns.selected == ENTRY.selected + ", peak_mb"
    assert flat(measured) == {**flat(ENTRY_ROW), "peak_mb": 7}
    assert columns.read((*(getattr(ENTRY_ROW.parts, name, None) or getattr(ENTRY_ROW, name, None) for name in ENTRY.names), 7)) == measured  # fmt: skip


def test_a_job_is_read_with_and_without_its_request() -> None:
    """Waiters look often, and a request may be long; the failure note is JSON in one column."""
    job = Job(
        KEY,
        JobState.FAILED,
        2,
        1,
        "o",
        False,
        True,
        NOON,
        NOON,
        NOON,
        FailureNote("ValueError", "odd"),
        {"symbol": "S"},
        4,
    )
    row = (KEY, "failed", 2, 1, "o", False, True, NOON, NOON, NOON, {"error_type": "ValueError", "detail": "odd"})

    assert JOB.read((*row, {"symbol": "S"}, 4)) == job
    assert JOB_STATUS.read((*row, 0)).request is None
    assert JOB_STATUS.read((*row[:-1], None, 0)).failure is None


def test_statements_select_what_is_read() -> None:
    """No statement is left with a place for columns that nothing fills."""
    for name in ("manifest", "jobs", "usage", "runs", "upkeep", "figures", "sources"):
        assert not [text for text in statements(name).values() if re.search(r"{(?!column})\w+}", text)]
    assert statements("manifest")["find_live"].startswith(f"SELECT {LOCATOR.selected}")


def test_what_its_computer_knows_travels_with_a_staged_result() -> None:
    """Every field has its place in the message, with a limit, and comes out again; where the data lay is the staged file."""
    sent = PublishRequest.of(COMPUTED, Claim(KEY, 2, "owner"), staged_path="staging/r", staged_digest="cd" * 32)

    received = parse_publish(json.loads(json.dumps(sent.wire())))

    assert received.claim == Claim(KEY, 2, "owner")
    assert flat(received.facts()) == {**flat(COMPUTED), "source": {"kind": "staged", "path": "staging/r"}}
    assert set(flat_names(ComputedFacts)) - {"source", "config"} <= set(PublishRequest.model_fields)


def test_the_facts_of_a_file_are_added_to_those_of_its_computer() -> None:
    """One row: what was computed, and what lies on the disk."""

    made = entry_facts(COMPUTED, pa.table({"x": [1, 2]}), Stored("entries/y", 10, "digest"))

    assert isinstance(made, EntryFacts)
    assert unflat(ComputedFacts, {**flat(made)}) == COMPUTED
    assert (made.path, made.rows, made.file_size_bytes, made.content_digest) == ("entries/y", 2, 10, "digest")
