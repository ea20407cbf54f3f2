"""Goes back to the raw data of an entry: to have it computed again, or to tell what became of them."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fstore.broker import Broker, ComputeRequest, RawReference, parse_compute
from fstore.compute import source_of
from fstore.errors import BrokerUnavailable, FeatureStoreError
from fstore.features import LOCAL_PREFIX
from fstore.fingerprint import content_digest, identify, limits_of, open_raw
from fstore.increments import FORMAT as PARTITIONS
from fstore.model import Entry, EntryState, HashMethod, ObjectUrl, ParquetSource
from fstore.postgres import Jobs, PostgresSourceMemo, UpkeepQueries
from fstore.settings import Settings, path_here
from fstore.storage import StagingArea
from fstore.upkeep.runner import Progress, silent

log = logging.getLogger("fstore.recompute")


@dataclass(frozen=True, slots=True)
class SourceIssue:
    """Raw data that are no longer what live entries were computed from.

    The entries themselves stay right for what was.
    """

    path: str
    reason: str
    entries: int

    def as_dict(self) -> dict[str, Any]:
        """Return the issue as JSON."""
        return asdict(self)


class Recomputer:
    """Has hidden entries computed again."""

    def __init__(
        self, jobs: Jobs, broker: Broker, staging: StagingArea, memo: PostgresSourceMemo, settings: Settings
    ) -> None:
        self._jobs, self._broker, self._staging = jobs, broker, staging
        self._memo, self._settings = memo, settings

    def ask_again(self, entry: Entry) -> bool:
        """Have an entry computed again if its raw data are still there and still the same.

        Returns whether that was asked for. Never raises for a source that is gone or a broker that is away: the
        entry is then computed when somebody asks for it.
        """
        if entry.state is EntryState.LIVE or entry.source is None or entry.parts.feature.startswith(LOCAL_PREFIX):
            return False
        if entry.parts.fingerprint.startswith(f"{PARTITIONS}:"):
            return False  # only who asks knows which rows of its source a segment is made of
        try:
            request = _request(entry)
            if not self._is_unchanged(request.raw_data, entry):
                return False
            registered = self._jobs.enqueue({entry.key: request.wire()})
        except FeatureStoreError as error:
            log.info("not computed again: key=%s %s", entry.key[:12], error)
            return False
        if not registered:
            return False
        with suppress(BrokerUnavailable):  # the reconciler sends it later
            self._broker.send_compute(request)
        return True

    def _is_unchanged(self, reference: RawReference, entry: Entry) -> bool:
        if reference.kind == "staged":
            return self._staging.exists(reference.path)  # named by its content, checked when it is read
        if reference.kind != "parquet":
            return False
        found = identify(
            source_of(reference, self._staging, self._settings),
            threshold_bytes=self._settings.threshold_bytes,
            policy="tail" if entry.hash_method is HashMethod.TAIL else "full",
            memo=self._memo,
        )
        return str(found.fingerprint) == entry.parts.fingerprint


def check_sources(queries: UpkeepQueries, settings: Settings, *, progress: Progress = silent) -> list[SourceIssue]:
    """Read every Parquet source of users to the end.

    Returns those that are gone or changed since they were used.
    """
    issues = []
    known: dict[str, str] = {}
    sources = queries.live_sources()
    for done, (path, expected, method, entries) in enumerate(sources):
        progress("reading sources", done, len(sources))
        here = Path(path) if ObjectUrl.is_url(path) else path_here(path, settings.data_roots)
        if here is None:
            issues.append(SourceIssue(path, "below a root whose name this host does not know", entries))
        elif not ObjectUrl.is_url(path) and not here.exists():
            issues.append(SourceIssue(path, "gone", entries))
        elif HashMethod(method) is not HashMethod.TAIL:
            if path not in known:
                known[path] = _content_of(path if ObjectUrl.is_url(path) else str(here), settings)
            if not expected.endswith(f":{known[path]}"):
                issues.append(SourceIssue(path, known[path] if " " in known[path] else "changed", entries))
    return issues


def _content_of(path: str, settings: Settings) -> str:
    try:
        return content_digest(open_raw(ParquetSource(path), limits_of(settings), settings=settings))
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
