"""fstore: a shared, verified feature cache for people who train models on intraday market data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fstore.client.explanation import Explanation
from fstore.client.ticket import Ticket
from fstore.earlier_names import DiskGarbageCollector, OptimizedFeatureStore
from fstore.errors import (
    BrokerUnavailable,
    ComputeDead,
    ComputeFailed,
    ComputeTimeout,
    ConfigurationError,
    EntryCorrupt,
    FeatureNotRegistered,
    FeatureStoreError,
    InvalidRequest,
    ManifestBusy,
    ManifestUnavailable,
    NotPermitted,
    SourceChanged,
    SourceNotAllowed,
    StorageFull,
    StorageUnavailable,
    StoreMismatch,
    UnhashableInput,
    UpkeepRefused,
    VersionMismatch,
)
from fstore.features.local_features import local
from fstore.features.registry import feature
from fstore.model import Entry, Fingerprint, ParquetSource, Request
from fstore.store import FeatureStore, connect

__all__ = [
    "connect",
    "feature",
    "local",
    "load",
    "FeatureStore",
    "Request",
    "ParquetSource",
    "Ticket",
    "Entry",
    "Explanation",
    "Fingerprint",
    "FeatureStoreError",
    "ConfigurationError",
    "InvalidRequest",
    "UnhashableInput",
    "FeatureNotRegistered",
    "VersionMismatch",
    "SourceNotAllowed",
    "SourceChanged",
    "ComputeFailed",
    "ComputeDead",
    "ComputeTimeout",
    "BrokerUnavailable",
    "ManifestUnavailable",
    "ManifestBusy",
    "NotPermitted",
    "StorageUnavailable",
    "StorageFull",
    "EntryCorrupt",
    "StoreMismatch",
    "UpkeepRefused",
    "OptimizedFeatureStore",
    "DiskGarbageCollector",
]


def load(answer: Mapping[str, Any], **settings: Any) -> Any:
    """Read the frame that a plain Celery call of ``fstore.get_or_compute`` answered with.

    Opens the store that ``connect`` would open; ``FeatureStore.load`` does the same
    on a store that is open already.
    """
    with connect(**settings) as store:
        return store.load(answer)
