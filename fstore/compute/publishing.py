"""From a result in memory to a row that answers for its key: write durably, read back, insert under the claim."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from fstore.broker.messages import ComputeRequest
from fstore.errors import BrokerUnavailable, EntryCorrupt, NotPermitted
from fstore.features.coverage import imported_libraries
from fstore.features.libraries import version_here
from fstore.features.registry import Feature
from fstore.features.source.digest import source_format
from fstore.model import Claim, Entry, HashMethod, KeyParts, Locator, NewEntry
from fstore.resources import Resources
from fstore.results.codec import UnstorableResult, check_faithful, encode_result, time_bounds
from fstore.runtime.versions import library_versions
from fstore.storage.folder import Stored

log = logging.getLogger("fstore.publishing")

FORMAT_FIELD = "source_format"
_FIRST_FORMAT = "fstore-source-1"  # of entries that do not say


@dataclass(frozen=True, slots=True)
class Offer:
    """A result whose file is complete and durable, and the claim under which it is to be published."""

    entry: NewEntry
    claim: Claim

    @property
    def locator(self) -> Locator:
        """Where the entry will lie."""
        entry = self.entry
        return Locator(
            entry.key, entry.path, entry.rows, entry.file_size_bytes, entry.content_digest, entry.source_digest
        )


def publish_result(
    resources: Resources, request: ComputeRequest, feature: Feature, claim: Claim, result: object, seconds: float
) -> Locator | None:
    """Write the result durably, read it back, and insert its row if the claim still holds."""
    offer = write_result(resources, request, feature, claim, result, seconds)
    return insert(resources, [offer])[offer.entry.key]


def write_result(
    resources: Resources, request: ComputeRequest, feature: Feature, claim: Claim, result: object, seconds: float
) -> Offer:
    """Write the result durably and read it back; raises ``UnstorableResult`` when it would come back changed."""
    key = request.known_key
    table = encode_result(result)
    stored = resources.files.publish(key, table)
    try:
        found = Locator(key, stored.path, table.num_rows, stored.file_size_bytes, stored.content_digest)
        check_faithful(result, _read_back(resources, found))
    except BaseException:
        resources.files.discard(stored.path)
        raise
    versions = versions_of(feature)
    return Offer(new_entry(request, feature.source_digest, table, stored, seconds, versions), claim)


def _read_back(resources: Resources, found: Locator) -> pa.Table:
    try:
        return resources.files.read(found)
    except EntryCorrupt as error:
        if error.fault.startswith("unreadable"):  # its bytes are those that were written
            raise UnstorableResult(
                f"what the feature function returned cannot be read back from Parquet ({error.fault}); "
                "convert its columns to plain dtypes"
            ) from error
        raise


def insert(resources: Resources, offers: Sequence[Offer]) -> dict[str, Locator | None]:
    """Insert the rows of durable files in one transaction and tell the waiters; return what answers for each key now.

    A file that lost its claim is removed.
    """
    try:
        outcomes = resources.manifest.publish((offer.entry, offer.claim) for offer in offers)
    except NotPermitted:  # a trainer's role reads only: nothing can have been committed
        for offer in offers:
            resources.files.discard(offer.entry.path)
        raise
    shared = next(iter(outcomes.values()))
    resources.recorder.took("lock_wait_seconds", shared.lock_wait_s)
    resources.recorder.took("lock_hold_seconds", shared.lock_hold_s)
    answering: dict[str, Locator | None] = {}
    for offer in offers:
        entry, outcome = offer.entry, outcomes[offer.entry.key]
        if outcome.live_path == entry.path:
            answering[entry.key] = offer.locator
            continue
        log.info("superseded: key=%s attempt=%s live=%s", entry.key[:12], offer.claim.attempt, outcome.live_path)
        found = resources.manifest.find_entry(entry.key)
        if found is None or found.path != entry.path:  # a row that was hidden meanwhile takes its file along, later
            resources.files.discard(entry.path)
        answering[entry.key] = resources.manifest.find_live(entry.key)
    published = [offer.entry.key for offer in offers if answering[offer.entry.key] == offer.locator]
    if published:
        announce(resources, *published, computed=len(published))
    return answering


def new_entry(
    request: ComputeRequest,
    source_digest: str,
    table: pa.Table,
    stored: Stored,
    seconds: float,
    versions: Mapping[str, str],
) -> NewEntry:
    """Describe a durable file as the row it is to become; ``versions`` are those of whoever computed it."""
    start, end = time_bounds(table)
    return NewEntry(
        key=request.known_key,
        parts=KeyParts(
            request.symbol,
            request.feature,
            request.feature_version or "",
            request.canonical_config or "{}",
            request.fingerprint or "",
        ),
        hash_method=HashMethod(request.hash_method or HashMethod.FULL),
        source_digest=source_digest,
        path=stored.path,
        rows=table.num_rows,
        file_size_bytes=stored.file_size_bytes,
        content_digest=stored.content_digest,
        start_ts=start,
        end_ts=end,
        compute_seconds=seconds,
        library_versions=versions,
        source=request.raw_data.model_dump(),
    )


def versions_of(feature: Feature) -> Mapping[str, str]:
    """Return what computes this feature here: the same, what its module imports, and the format of its source digest."""
    return {**imported_libraries(feature.func, feature.source), **library_versions(), FORMAT_FIELD: source_format()}


def format_of(entry: Entry) -> str:
    """Return the format of an entry's source digest: digests of different formats cannot be compared."""
    return entry.library_versions.get(FORMAT_FIELD, _FIRST_FORMAT)


def are_comparable(digest: str, other: str) -> bool:
    """Tell whether two source digests are known and of one kind: what stands before a colon names another than the usual."""
    return bool(digest and other) and digest.rpartition(":")[0] == other.rpartition(":")[0]


def differing_versions(entry: Entry) -> dict[str, tuple[str, str | None]]:
    """Return the libraries that an entry was computed by in other versions than are here, with both; None is not installed."""
    recorded = {name: found for name, found in entry.library_versions.items() if name != FORMAT_FIELD}
    here = {name: library_versions().get(name) or version_here(name) for name in recorded}
    return {name: (found, here[name]) for name, found in recorded.items() if found != here[name]}


def announce(resources: Resources, *keys: str, **counters: int) -> None:
    """Count what was done and tell waiters that keys are settled, if Redis is there; they poll anyway."""
    try:
        resources.coordination.announce(keys, counters)
    except BrokerUnavailable:
        for name, n in counters.items():
            resources.recorder.count(name, n)
