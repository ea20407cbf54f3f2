"""The open adapters that every use case works with, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from fstore.broker.client import Broker
from fstore.coordination.locks import DedupLocks
from fstore.coordination.notifications import Notifier
from fstore.coordination.server import RedisServer
from fstore.coordination.usage_buffer import UsageBuffer
from fstore.postgres.figures import Figures
from fstore.postgres.jobs import Jobs
from fstore.postgres.manifest import Manifest
from fstore.postgres.pool import Database
from fstore.postgres.runs import UpkeepRuns
from fstore.postgres.source_memo import PostgresSourceMemo
from fstore.postgres.upkeep_queries import UpkeepQueries
from fstore.postgres.usage import Usage
from fstore.runtime.counters import Recorder
from fstore.settings.schema import Settings
from fstore.storage.interface import EntryStore, StagingArea
from fstore.storage.local_cache import LocalCache


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything open that a process of fstore needs; made by ``fstore.bootstrap``, one a process."""

    settings: Settings
    database: Database
    manifest: Manifest
    jobs: Jobs
    memo: PostgresSourceMemo
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
        self.database.close()
