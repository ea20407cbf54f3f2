"""Goes back to the raw data of an entry: to have it computed again, or to tell what became of them."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fstore.broker.messages import ComputeRequest, RawReference, parse_compute
from fstore.compute.raw_data import allowed_path
from fstore.errors import BrokerUnavailable, FeatureStoreError
from fstore.features.local_features import PREFIX as LOCAL_PREFIX
from fstore.fingerprint.identification import content_digest, identify
from fstore.fingerprint.parquet_limits import ParquetLimits, limits_of
from fstore.fingerprint.sources import open_raw
from fstore.model import Entry, EntryState, HashMethod, ParquetSource
from fstore.postgres.maintenance import Ledger
from fstore.resources import Resources
from fstore.upkeep.gc_plan import Progress, silent

log = logging.getLogger("fstore.recompute")


@dataclass(frozen=True, slots=True)
class SourceIssue:
    """Raw data that are no longer what live entries were computed from; the entries themselves stay right for what was."""

    path: str
    reason: str
    entries: int

    def as_dict(self) -> dict[str, Any]:
        """Return the issue as JSON."""
        return asdict(self)


def ask_again(resources: Resources, entry: Entry) -> bool:
    """Have a hidden entry computed again if its raw data are still there and still the same; return whether that was asked for.

    Never raises for a source that is gone or a broker that is away: the entry is
    then computed when somebody asks for it.
    """
    if entry.state is EntryState.LIVE or entry.source is None or entry.parts.feature.startswith(LOCAL_PREFIX):
        return False
    try:
        request = _request(entry)
        if not _is_unchanged(resources, request.raw_data, entry):
            return False
        registered = resources.jobs.enqueue({entry.key: request.wire()})
    except FeatureStoreError as error:
        log.info("not computed again: key=%s %s", entry.key[:12], error)
        return False
    if not registered:
        return False
    with suppress(BrokerUnavailable):  # the reconciler sends it later
        resources.broker.send_compute(request)
    return True


def check_sources(resources: Resources, *, progress: Progress = silent) -> list[SourceIssue]:
    """Read every Parquet source of users to the end, and return those that are gone or changed since they were used."""
    issues = []
    known: dict[str, str] = {}
    limits = limits_of(resources.settings)
    sources = Ledger(resources.database).live_sources()
    for done, (path, expected, method, entries) in enumerate(sources):
        progress("reading sources", done, len(sources))
        if not Path(path).exists():
            issues.append(SourceIssue(path, "gone", entries))
        elif HashMethod(method) is not HashMethod.TAIL:
            if path not in known:
                known[path] = _content_of(path, limits)
            if not expected.endswith(f":{known[path]}"):
                issues.append(SourceIssue(path, known[path] if " " in known[path] else "changed", entries))
    return issues


def _content_of(path: str, limits: ParquetLimits) -> str:
    try:
        return content_digest(open_raw(ParquetSource(path), limits))
    except FeatureStoreError as error:
        return f"unreadable: {error}"


def _request(entry: Entry) -> ComputeRequest:
    parts = entry.parts
    return parse_compute(
        {
            "symbol": parts.symbol,
            "feature": parts.feature,
            "feature_version": parts.feature_version,
            "raw_data": dict(entry.source or {}),
            "key": entry.key,
            "fingerprint": parts.fingerprint,
            "hash_method": entry.hash_method.value,
            "canonical_config": parts.config,
            "waits": False,
        }
    )


def _is_unchanged(resources: Resources, reference: RawReference, entry: Entry) -> bool:
    if reference.kind == "staged":
        return resources.files.inside(reference.path).exists()  # named by its content, checked when it is read
    if reference.kind != "parquet":
        return False
    source = ParquetSource(allowed_path(reference.path, resources.files, resources.settings))
    if not source.path.exists():
        return False
    found = identify(
        open_raw(source, limits_of(resources.settings)),
        threshold_bytes=resources.settings.threshold_bytes,
        policy="tail" if entry.hash_method is HashMethod.TAIL else "full",
        memo=resources.memo,
    )
    return str(found.fingerprint) == entry.parts.fingerprint
