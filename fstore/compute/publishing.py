"""From a result in memory to a row that answers for its key.

Write durably, read back, insert under the claim.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import pyarrow as pa

from fstore.broker import time_limits
from fstore.compute.planning import Computation
from fstore.compute.segments import segment_facts
from fstore.coordination import Notifier
from fstore.errors import NotPermitted
from fstore.increments import FORMAT, SegmentFacts, without_source
from fstore.model import Claim, ComputedFacts, EntryFacts, KeyParts, Locator
from fstore.postgres import Manifest
from fstore.resources import Resources
from fstore.results import check_faithful, encode_result, time_bounds
from fstore.runtime.counters import Recorder
from fstore.settings import Settings
from fstore.storage import (
    SMALL,
    EntryStore,
    Stored,
    check_written,
    decoded,
    has_small_form,
    is_small_form,
    result_bytes,
    small_bytes,
)

log = logging.getLogger("fstore.publishing")

BEFORE_THE_END_S = 1.0  # what a task has to say that publishing came to nothing, and to be sent again

T = TypeVar("T")


def publishing_ends_at(settings: Settings, own_limit_s: float | None = None) -> float:
    """Return until when a task that begins now may publish, on the monotonic clock.

    A feature may have a limit of its own.
    """
    hard_s = time_limits(settings, own_limit_s).get("time_limit", settings.compute_time_limit_s)
    return time.monotonic() + hard_s - min(BEFORE_THE_END_S, hard_s / 4)


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """A result whose file is complete and durable, and the claim under which it is to be published."""

    facts: EntryFacts
    claim: Claim
    segment: SegmentFacts | None = None


@dataclass(frozen=True, slots=True)
class SmallResult:
    """A result that is to share a file with others.

    The bytes, checked, and all that its row will say but where they lie.
    """

    facts: EntryFacts
    claim: Claim
    data: pa.Buffer
    segment: SegmentFacts | None = None


class Publisher:
    """Makes results answer for their keys, from whichever process computed them."""

    def __init__(self, manifest: Manifest, entries: EntryStore, notifier: Notifier, counters: Recorder) -> None:
        self._manifest = manifest
        self._entries = entries
        self._notifier = notifier
        self._counters = counters

    @classmethod
    def of(cls, resources: Resources) -> Publisher:
        """Return the publisher of a process."""
        return cls(resources.manifest, resources.entries, resources.notifier, resources.recorder)

    def publish(self, computation: Computation, claim: Claim, result: object, seconds: float) -> Locator | None:
        """Write the result durably, read it back, and insert its row if the claim still holds."""
        return self.insert([self.write(computation, claim, result, seconds)])[computation.key]

    def write(self, computation: Computation, claim: Claim, result: object, seconds: float) -> PendingEntry:
        """Write the result durably and read it back.

        Raises ``UnstorableResult`` when it would come back changed.
        """
        return self._write(computation, claim, result, encode_result(result), seconds)

    def prepare(
        self, computation: Computation, claim: Claim, result: object, seconds: float
    ) -> SmallResult | PendingEntry:
        """Encode a small result and check what would be read back, for ``write_together``.

        A large one is written at once.
        """
        table, parts = encode_result(result), computation.parts
        stored = as_stored(parts, table)
        is_plain = has_small_form(stored)
        if not is_plain and table.nbytes > SMALL:
            return self._write(computation, claim, result, table, seconds)
        data = small_bytes(stored) if is_plain else result_bytes(stored)
        check_written(data, lambda back: check_faithful(as_stored(parts, result), back))
        facts = entry_facts(computation.facts(seconds), stored, Stored("", data.size, ""))
        return SmallResult(facts, claim, data, segment_facts(parts, table))

    def write_together(self, results: Sequence[SmallResult]) -> list[PendingEntry]:
        """Write small results durably into one file; a single one has a file of its own, like any other."""
        if len(results) == 1:
            written = [self._write_alone(results[0])]
        else:
            written = self._entries.publish_together([(one.facts.key, one.data) for one in results])
        return [
            PendingEntry(
                replace(
                    one.facts,
                    path=stored.path,
                    file_size_bytes=stored.file_size_bytes,
                    content_digest=stored.content_digest,
                    tail_bytes=stored.tail_bytes,
                    tail_digest=stored.tail_digest,
                ),
                one.claim,
                one.segment,
            )
            for one, stored in zip(results, written, strict=True)
        ]

    def _write_alone(self, one: SmallResult) -> Stored:
        """Write what was checked as a Parquet file; written in another form, it is compared once more."""
        if not is_small_form(one.data):
            return self._entries.publish_bytes(one.facts.key, one.data)
        table = decoded(one.data)
        return self._entries.publish(one.facts.key, table, check=lambda back: check_faithful(table, back))

    def _write(
        self, computation: Computation, claim: Claim, result: object, table: pa.Table, seconds: float
    ) -> PendingEntry:
        key = computation.key
        parts = computation.facts(seconds).parts
        lasting = as_stored(parts, table)
        stored = self._entries.publish(key, lasting, check=lambda back: check_faithful(as_stored(parts, result), back))
        try:
            facts = entry_facts(computation.facts(seconds), lasting, stored)
            return PendingEntry(facts, claim, segment_facts(facts.parts, table))
        except BaseException:
            self._entries.discard(stored.path)
            raise

    def insert(self, pending: Sequence[PendingEntry]) -> dict[str, Locator | None]:
        """Insert the rows of durable files in one transaction, and return what answers for each key now.

        Waiters are told. A file that lost its claim is removed, and so is a segment that was
        copied from an entry which does not answer any more; of that one nobody has the claim then.
        """
        segments = {one.facts.key: one.segment for one in pending if one.segment is not None}
        try:
            outcomes = self._manifest.publish([(one.facts, one.claim) for one in pending], segments)
        except NotPermitted:  # a trainer's role reads only: nothing can have been committed
            for one in pending:
                self._entries.discard(one.facts.path)
            raise
        shared = next(iter(outcomes.values()))
        self._counters.took("lock_wait_seconds", shared.lock_wait_s)
        self._counters.took("lock_hold_seconds", shared.lock_hold_s)
        answering = {
            one.facts.key: one.facts.locator
            if outcomes[one.facts.key].live_path == one.facts.path
            else self._superseded(one, outcomes[one.facts.key].live_path)
            for one in pending
        }
        published = [one.facts.key for one in pending if answering[one.facts.key] == one.facts.locator]
        if published:
            self._notifier.announce(published, {"computed": len(published)})
        unanswered = [key for key, segment in segments.items() if segment.copied and answering[key] is None]
        if unanswered:  # what they were copied from was withdrawn meanwhile, and their jobs ended
            self._notifier.announce(unanswered, {})
        return answering

    def _superseded(self, one: PendingEntry, live_path: str | None) -> Locator | None:
        """Remove a file that stayed out, and return what answers in its place."""
        facts = one.facts
        log.info("superseded: key=%s attempt=%s live=%s", facts.key[:12], one.claim.attempt, live_path)
        found = self._manifest.find_entry(facts.key)
        if found is None or found.path != facts.path:  # a row that was hidden meanwhile takes its file along, later
            self._entries.discard(facts.path)
        return self._manifest.find_live(facts.key)


def entry_facts(computed: ComputedFacts, table: pa.Table, stored: Stored) -> EntryFacts:
    """Describe a durable file as the row it is to become."""
    start, end = time_bounds(table)
    return EntryFacts(
        **{each.name: getattr(computed, each.name) for each in fields(computed)},
        path=stored.path,
        rows=table.num_rows,
        file_size_bytes=stored.file_size_bytes,
        content_digest=stored.content_digest,
        tail_bytes=stored.tail_bytes,
        tail_digest=stored.tail_digest,
        start_ts=start,
        end_ts=end,
    )


def as_stored(parts: KeyParts, result: T) -> T:
    """Return a result as its file holds it: the table of a segment without what it was copied from."""
    is_segment = isinstance(result, pa.Table) and parts.fingerprint.startswith(f"{FORMAT}:")
    return without_source(result) if is_segment else result
