"""The open adapters that every use case works with, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from fstore.broker import Broker
from fstore.coordination import Coordination
from fstore.database import Database
from fstore.files import Files
from fstore.hints import Hints
from fstore.jobs import Jobs
from fstore.local_tier import LocalTier
from fstore.manifest import Manifest
from fstore.recorder import Recorder
from fstore.settings import Settings
from fstore.source_memo import PostgresSourceMemo


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything open that a process of fstore needs; made by ``fstore.bootstrap``, one a process."""

    settings: Settings
    database: Database
    manifest: Manifest
    jobs: Jobs
    memo: PostgresSourceMemo
    files: Files
    coordination: Coordination
    hints: Hints
    broker: Broker
    recorder: Recorder
    local_tier: LocalTier | None = None

    def close(self) -> None:
        """Hand over what was noted and close every connection."""
        self.recorder.close()
        self.hints.close()
        self.broker.close()
        self.coordination.close()
        self.database.close()
