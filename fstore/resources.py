"""The open adapters that every use case works with, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fstore.s3 import buckets_of

if TYPE_CHECKING:
    from fstore.broker import Broker
    from fstore.coordination import DedupLocks, Notifier, RedisServer, UsageBuffer
    from fstore.postgres import (
        Database,
        Figures,
        Jobs,
        Manifest,
        PostgresPartitionMemo,
        PostgresSourceMemo,
        UpkeepQueries,
        UpkeepRuns,
        Usage,
    )
    from fstore.runtime.counters import Recorder
    from fstore.settings import Settings
    from fstore.storage import EntryStore, LocalCache, StagingArea


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything open that a process of fstore needs; made by ``fstore.bootstrap``, one a process."""

    settings: Settings
    database: Database
    manifest: Manifest
    jobs: Jobs
    memo: PostgresSourceMemo
    partition_memo: PostgresPartitionMemo
    entries: EntryStore
    staging: StagingArea
    usage: Usage
    upkeep: UpkeepQueries
    runs: UpkeepRuns
    figures: Figures
    locks: DedupLocks
    notifier: Notifier
    usage_buffer: UsageBuffer
    redis_server: RedisServer
    broker: Broker
    recorder: Recorder
    local_cache: LocalCache | None = None

    def close(self) -> None:
        """Hand over what was noted and close every connection."""
        self.recorder.close()
        self.notifier.close()
        self.broker.close()
        self.redis_server.close()
        buckets_of(self.settings).close()
        self.database.close()
